"""Draws docs/plots/leaderboard-ranks.svg: one board's members under each way of ranking ties.

    python docs/plots/leaderboard_ranks.py

The ranks are read from a server in memory, so the picture is what the library does; a test compares it.
"""

from __future__ import annotations

from pathlib import Path

from redis_patterns import Entry, Leaderboard
from redis_patterns.testing.memory import Server

PICTURE = Path(__file__).with_name("leaderboard-ranks.svg")
SCORES = {"ann": 90, "zoe": 70, "bob": 70, "max": 70, "cy": 40, "dan": 40, "eve": 10}
BOARDS = [
    ("ordinal", "by their names' bytes", Leaderboard("x")),
    ("ordinal", "who came first is ahead", Leaderboard("x", part="1", first_come=True)),
    ("competition", "1 2 2 2 5", Leaderboard("x", part="2", ties="competition", first_come=True)),
    ("dense", "1 2 2 2 3", Leaderboard("x", part="3", ties="dense", first_come=True)),
]
COLORS = {90: "#1a73e8", 70: "#34a853", 40: "#f9ab00", 10: "#9aa0a6"}


def standings() -> list[list[Entry]]:
    """Give the rows of each board; all got the scores in the order above."""
    with Server().sync() as redis:
        for _, _, board in BOARDS:
            redis.run(board.submit_many(SCORES))
        return [redis.run(board.top()) for _, _, board in BOARDS]


def draw() -> str:
    """Give the picture."""
    column, row, head, left = 180, 26, 52, 10
    width, height = left * 2 + column * len(BOARDS), head + row * len(SCORES) + 12
    size = f'width="{width}" height="{height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    for number, ((ties, how, _), rows) in enumerate(zip(BOARDS, standings(), strict=True)):
        x = left + column * number
        lines.append(f'<text x="{x}" y="20" fill="#202124" font-weight="bold">{ties}</text>')
        lines.append(f'<text x="{x}" y="38" fill="#5f6368" font-size="11">{how}</text>')
        for place, entry in enumerate(rows):
            y = head + row * place
            color = COLORS[int(entry.score)]
            lines.append(f'<rect x="{x}" y="{y}" width="{column - 24}" height="{row - 4}" fill="{color}" rx="3"/>')
            lines.append(f'<text x="{x + 8}" y="{y + 16}" fill="#ffffff" font-weight="bold">{entry.rank}</text>')
            lines.append(f'<text x="{x + 34}" y="{y + 16}" fill="#ffffff">{entry.member}</text>')
            lines.append(
                f'<text x="{x + column - 32}" y="{y + 16}" fill="#ffffff" text-anchor="end">{entry.score:g}</text>'
            )
    return "\n".join([*lines, "</svg>"]) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(draw())
