"""Draws docs/plots/rollouts.svg: a hundred users, and who of them has which flag as its percentage grows.

    python docs/plots/rollouts.py

Who has a flag depends on nothing but the flag, the percentage and the user, so the picture is the same each time; a
test compares it.
"""

from __future__ import annotations

from pathlib import Path

from redis_patterns import Flag, FlagSnapshot

PICTURE = Path(__file__).with_name("rollouts.svg")
FLAGS = ["new-ui", "checkout", "search"]
PERCENTAGES = [5, 20, 50, 80, 100]
USERS = [f"user-{number}" for number in range(100)]
SIDE = 10


def within(name: str, percentage: float) -> list[bool]:
    """Tell of each user whether they have a flag."""
    snapshot = FlagSnapshot([Flag(name, percentage=percentage)])
    return [snapshot.is_enabled(name, user) for user in USERS]


def squares(places: list[int], left: int, top: int) -> str:
    """Give the path of the squares of some users."""
    corners = [(left + SIDE * (place % 10), top + SIDE * (place // 10)) for place in places]
    return "".join(f"M{x} {y}h8v8h-8z" for x, y in corners)


def draw() -> str:
    """Give the picture: what is new at a percentage is darker than what was there before."""
    left, top, across, down = 84, 40, 124, 124
    width, height = left + across * len(PERCENTAGES), top + down * len(FLAGS)
    size = f'width="{width}" height="{height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    for column, percentage in enumerate(PERCENTAGES):
        x = left + across * column
        lines.append(f'<text x="{x}" y="24" fill="#202124">{percentage} %</text>')
    for row, name in enumerate(FLAGS):
        y = top + down * row
        lines.append(f'<text x="8" y="{y + 56}" fill="#202124">{name}</text>')
        before = [False] * len(USERS)
        for column, percentage in enumerate(PERCENTAGES):
            x, now = left + across * column, within(name, percentage)
            kinds = [
                ("#e8eaed", [place for place, has in enumerate(now) if not has]),
                ("#8ab4f8", [place for place, has in enumerate(now) if has and before[place]]),
                ("#1a73e8", [place for place, has in enumerate(now) if has and not before[place]]),
            ]
            lines += [f'<path fill="{color}" d="{squares(places, x, y)}"/>' for color, places in kinds if places]
            before = now
    return "\n".join([*lines, "</svg>"]) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(draw())
