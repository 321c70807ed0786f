"""Charts of ratios, as SVG: to the right of a line whoever takes longer than ours, to the left whoever takes less."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from tests.benchmarks.tables import Row, Table, number

__all__ = ["SUMMARY", "chart", "summary"]

SUMMARY = (
    "sync-get",
    "asyncio-get-64",
    "limits-sync-fixed",
    "limits-asyncio-log-64",
    "hit-asyncio-64",
    "hand-over-threads-8",
    "starlette-writes-1",
    "put",
    "drain",
    "competition-around",
)
"""The tables of the one chart that stands for all."""

WIDTH, LEFT, RIGHT, LINE = 760, 290, 660, 17
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
COLORS = {"floor": "#bdc1c6", "ours": "#1a73e8", "peer": "#80868b"}


def chart(title: str, tables: Sequence[Table]) -> str:
    """Draw all rows of some tables, those with ratios."""
    return _draw(title, [(table, list(table.rows)) for table in tables])


def summary(tables: Sequence[Table]) -> str:
    """Draw, of the tables that tell most, the row of ours and the peers."""
    named = {table.name: table for table in tables}
    chosen = [named[name] for name in SUMMARY if name in named]
    rows = [(table, [row for row in table.rows if row.kind == "peer" or row.subject == table.ours]) for table in chosen]
    return _draw("Times as long as redis-patterns", rows)


def _draw(title: str, tables: Sequence[tuple[Table, Sequence[Row]]]) -> str:
    shown = [(table, rows) for table, rows in tables if any(row.of_ours for row in rows)]
    ratios = [row.of_ours.median for _, rows in shown for row in rows if row.of_ours and row.of_ours.median > 0]
    # A little room at both ends, so that the longest bar ends inside.
    scale = _Scale(min([0.5, *ratios]) / 1.1, max([2.0, *ratios]) * 1.1)
    body: list[str] = []
    y = 44
    for table, rows in shown:
        y += 24
        body.append(_text(8, y, table.what, "#202124", weight="bold"))
        for row in rows:
            y += LINE
            body += _bar(table, row, y, scale)
    bottom = y + 10
    size = f'viewBox="0 0 {WIDTH} {bottom + 40}" width="{WIDTH}" height="{bottom + 40}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        _text(8, 22, title, "#202124", weight="bold", size=14),
        _text(8, 40, "Bars to the right: takes longer than ours; to the left: takes less. Logarithmic.", "#5f6368"),
    ]
    for tick in TICKS:
        if scale.least <= tick <= scale.most:
            x = scale.at(tick)
            dashes = "" if tick == 1 else ' stroke-dasharray="2 3"'
            color = "#1a73e8" if tick == 1 else "#dadce0"
            lines.append(f'<line x1="{x}" y1="50" x2="{x}" y2="{bottom}" stroke="{color}"{dashes}/>')
            lines.append(_text(x, bottom + 18, f"x{tick:g}", "#5f6368", anchor="middle"))
    return "\n".join([*lines, *body, "</svg>"]) + "\n"


class _Scale:
    """Where a ratio is between the sides, logarithmically."""

    def __init__(self, least: float, most: float) -> None:
        self.least, self.most = least, most

    def at(self, ratio: float) -> float:
        share = math.log(ratio / self.least) / math.log(self.most / self.least)
        return round(LEFT + share * (RIGHT - LEFT), 1)


def _bar(table: Table, row: Row, y: int, scale: _Scale) -> Iterator[str]:
    name = row.subject if len(row.subject) <= 44 else f"{row.subject[:43]}…"
    yield _text(20, y, name, "#1a73e8" if row.kind == "ours" else "#3c4043")
    if row.value is None:
        yield _text(WIDTH - 8, y, "absent", "#5f6368", anchor="end")
        return
    if row.subject == table.ours:
        yield _text(WIDTH - 8, y, f"{number(row.value.median)} {table.unit}", "#1a73e8", anchor="end")
        return
    if row.of_ours is None or row.of_ours.median <= 0:
        return
    one, own = scale.at(1), scale.at(row.of_ours.median)
    yield (
        f'<rect x="{min(one, own)}" y="{y - 10}" width="{max(1.0, round(abs(own - one), 1))}" height="12" '
        f'fill="{COLORS[row.kind]}"/>'
    )
    yield _text(WIDTH - 8, y, f"x{row.of_ours.median:.2f}", "#3c4043", anchor="end")


def _text(
    x: float, y: float, said: str, color: str, *, anchor: str = "start", weight: str = "normal", size: int = 12
) -> str:
    return (
        f'<text x="{x}" y="{y}" fill="{color}" text-anchor="{anchor}" font-weight="{weight}" font-size="{size}" '
        f'stroke="#ffffff" stroke-width="4" paint-order="stroke">'
        f"{escape(said)}</text>"
    )
