"""Draws docs/plots/rate-limits.svg: what each algorithm lets through of the same requests, second by second.

    python docs/plots/rate_limits.py

The requests are played against a server in memory, so the picture is the same each time; a test compares it.
"""

from __future__ import annotations

import math
from pathlib import Path

from redis_patterns import GCRA, FixedWindow, LeakyBucket, Limit, SlidingCounter, SlidingLog, TokenBucket
from redis_patterns.testing.memory import Server

PICTURE = Path(__file__).with_name("rate-limits.svg")
SECONDS = 45
LIMITS: list[tuple[str, Limit]] = [
    ("FixedWindow, 10 per 10 s", FixedWindow("x", limit=10, per=10)),
    ("SlidingLog, 10 per 10 s", SlidingLog("x", limit=10, per=10)),
    ("SlidingCounter, 10 per 10 s", SlidingCounter("x", limit=10, per=10)),
    ("TokenBucket, 10 at once, 1 per s", TokenBucket("x", capacity=10, refill_rate=1)),
    ("GCRA, 10 per 10 s, 2 at once", GCRA("x", limit=10, per=10, burst=2)),
    ("LeakyBucket, 10 waiting, 1 per s", LeakyBucket("x", capacity=10, leak_rate=1)),
]


def requests() -> list[float]:
    """Give the times of the requests: two bursts around a window's turn, then more than the limit for a while."""
    bursts = [8.5 + number / 40 for number in range(15)] + [10.5 + number / 40 for number in range(15)]
    steady = [22 + number / 3 for number in range(36)]
    return sorted([*bursts, *steady])


def admitted(limit: Limit) -> list[float]:
    """Give the times at which requests go ahead."""
    server, times = Server(), []
    with server.sync() as redis:
        for moment in requests():
            server.clock.advance(moment - server.clock())
            decision = redis.run(limit.hit("all"))
            if decision.allowed:
                times.append(moment + decision.delay)
    return times


def per_second(times: list[float]) -> list[int]:
    """Count times by the second."""
    return [sum(1 for moment in times if math.floor(moment) == second) for second in range(SECONDS)]


def draw() -> str:
    """Give the picture."""
    rows = [("requests", per_second(requests())), *((name, per_second(admitted(limit))) for name, limit in LIMITS)]
    width, height, left, step, unit = 760, 64, 220, 12, 2.8
    size = f'width="{width}" height="{height * len(rows) + 40}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    for row, (name, counts) in enumerate(rows):
        base = height * (row + 1)
        color = "#9aa0a6" if row == 0 else "#1a73e8"
        lines.append(f'<text x="8" y="{base - 4}" fill="#202124">{name}</text>')
        lines.append(
            f'<text x="8" y="{base - 20}" fill="#5f6368">{sum(counts)} in all, at most {max(counts)} a second</text>'
        )
        lines.append(f'<line x1="{left}" y1="{base}" x2="{left + step * SECONDS}" y2="{base}" stroke="#dadce0"/>')
        for second, count in enumerate(counts):
            if count:
                x, high = left + step * second + 1, round(count * unit, 1)
                lines.append(
                    f'<rect x="{x}" y="{round(base - high, 1)}" width="{step - 2}" height="{high}" fill="{color}"/>'
                )
    bottom = height * len(rows)
    for second in range(0, SECONDS + 1, 10):
        x = left + step * second
        lines.append(f'<line x1="{x}" y1="20" x2="{x}" y2="{bottom}" stroke="#dadce0" stroke-dasharray="2 3"/>')
        lines.append(f'<text x="{x}" y="{bottom + 18}" fill="#5f6368" text-anchor="middle">{second} s</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(draw())
