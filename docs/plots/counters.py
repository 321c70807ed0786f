"""Draws docs/plots/counters.svg: for how long a bucket takes counts, and for how long it can be read.

    python docs/plots/counters.py

Each moment is tried against a server in memory, so the picture is the same each time; a test compares it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from redis_patterns import HOUR, MINUTE, BucketedCounter, Every, NotCounted, Period
from redis_patterns.testing.memory import Server

PICTURE = Path(__file__).with_name("counters.svg")
MINUTES = 190
EVENT = datetime(2023, 11, 14, 23, 35, tzinfo=UTC)
ROWS: list[tuple[Period, str, int]] = [
    (MINUTE, "MINUTE, kept for half an hour", 30),
    (Every(900), "Every(900), kept for an hour", 60),
    (HOUR, "HOUR, kept for an hour and a half", 90),
]


def kept(period: Period, keep: int) -> tuple[list[bool], list[bool]]:
    """Tell for each minute after an event whether it is still counted, and whether what was counted is there."""
    counted: list[bool] = []
    there: list[bool] = []
    for minute in range(MINUTES):
        server = Server()
        counter = BucketedCounter("c", keep={period: timedelta(minutes=keep)}, clock=lambda: EVENT)
        server.clock.advance(EVENT.timestamp() - server.time())
        server.run(counter.add())
        server.clock.advance(60 * minute)
        there.append(server.run(counter.total(period, EVENT)) == 1)
        try:
            server.run(counter.add())
        except NotCounted:
            counted.append(False)
        else:
            counted.append(True)
    return counted, there


def draw() -> str:
    """Give the picture."""
    left, step, height = 240, 2.6, 54
    size = f'width="760" height="{height * len(ROWS) + 60}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="8" y="18" fill="#202124">an event at {EVENT:%H:%M} UTC</text>',
    ]
    for row, (period, name, keep) in enumerate(ROWS):
        top = 30 + height * row
        counted, there = kept(period, keep)
        open_for = (period.following(period.start(EVENT)) - EVENT) // timedelta(minutes=1)
        lines.append(f'<text x="8" y="{top + 24}" fill="#202124">{name}</text>')
        for first, ends, color, text in (
            (0, sum(there), "#e8eaed", ""),
            (0, sum(counted), "#aecbfa", f"counted when told until {_at(sum(counted))}"),
            (0, open_for, "#1a73e8", ""),
        ):
            x, width = round(left + step * first, 1), round(step * (ends - first), 1)
            lines.append(f'<rect x="{x}" y="{top + 8}" width="{width}" height="22" fill="{color}"/>')
            if text:
                lines.append(
                    f'<text x="{x}" y="{top + 44}" fill="#5f6368">{text}, its bucket ends at {_at(open_for)}</text>'
                )
    bottom = 30 + height * len(ROWS)
    for minute in range(0, MINUTES, 30):
        x = round(left + step * minute, 1)
        lines.append(f'<line x1="{x}" y1="30" x2="{x}" y2="{bottom}" stroke="#dadce0" stroke-dasharray="2 3"/>')
        lines.append(f'<text x="{x}" y="{bottom + 18}" fill="#5f6368" text-anchor="middle">{_at(minute)}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _at(minute: int) -> str:
    return f"{EVENT + timedelta(minutes=minute):%H:%M}"


if __name__ == "__main__":
    PICTURE.write_text(draw())
