"""Text for people: what fits a terminal, colours, sizes, times, and nothing that a terminal would take for its own."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

__all__ = ["columns", "escaped", "facts", "fit", "painted", "size"]

_WIDTH = 80
_COLORS = {"title": "1", "python": "33", "command": "36", "quiet": "2", "right": "32", "wrong": "1;31"}
_INDENT = "  "
_LONGEST = 40
_LEAST = 20
"""Characters that the last column has at least."""


def escaped(text: str | bytes) -> str:
    r"""Write what is not printable, such as an escape sequence, as ``\x1b``."""
    given = text.decode(errors="backslashreplace") if isinstance(text, bytes) else text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "backslashreplace").decode()
        for letter in given
    )


def painted(text: str, color: str) -> str:
    """Colour a text; without a color it stays as it is."""
    return f"\x1b[{_COLORS[color]}m{text}\x1b[0m" if color and text else text


def fit(text: str, indent: str = "") -> str:
    """Break a text into lines that fit a terminal, the later ones indented a little more."""
    return "\n".join(
        textwrap.fill(
            line,
            _WIDTH,
            initial_indent=indent,
            subsequent_indent=f"{' ' * len(indent)}  ",
            break_on_hyphens=False,
        )
        for line in text.split("\n")
    )


def size(count: int | None) -> str:
    """Write a number of bytes; ``None`` is not known."""
    if count is None:
        return "?"
    number, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024 or unit == "GiB":
            break
        number /= 1024
    return f"{count} B" if unit == "B" else f"{number:.1f} {unit}"


def columns(rows: Sequence[Sequence[str]], *, right: Collection[int] = (), indent: str = "") -> list[str]:
    """Write rows in columns, the last of which is broken where it does not fit.

    Parameters:
        rows: all of one length; escaped already.
        right: the numbers of the columns that are flush right.
        indent: before each line.

    Returns:
        A text for each row, of more than one line where it was broken.
    """
    cut = [[cell if len(cell) <= _LONGEST else f"{cell[: _LONGEST - 3]}..." for cell in row[:-1]] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cut, strict=True)]
    room = max(_LEAST, _WIDTH - len(indent) - sum(widths) - 2 * len(widths))
    # The last one is flush right too where it is one of numbers.
    last_width = max((len(row[-1]) for row in rows), default=0) if len(widths) in right else 0
    lines: list[str] = []
    for row, cells in zip(rows, cut, strict=True):
        padded = [
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        head = "".join(f"{cell}  " for cell in padded)
        broken = textwrap.wrap(row[-1].rjust(last_width), room, drop_whitespace=False) or [""]
        starts = [indent + head] + [" " * len(indent + head)] * (len(broken) - 1)
        lines.append("\n".join((start + line).rstrip() for start, line in zip(starts, broken, strict=True)))
    return lines


def facts(view: Mapping[str, Any]) -> list[str]:
    """Write what is known of something: single values line by line, then a table for each list."""
    single = [(_title(name), _shown(name, held)) for name, held in view.items() if not isinstance(held, list)]
    lines = columns(single) if single else []
    for name, held in view.items():
        if isinstance(held, list):
            rows = cast("list[dict[str, Any]]", held)
            lines += ["", f"{_title(name)}:" if rows else f"{_title(name)}: none"]
            lines += _table(rows) if rows else []
    return lines


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    cells = [[_shown(*pair) for pair in row.items()] for row in rows]
    titles = [_title(name) for name in rows[0]]
    numbers = {
        place
        for place, name in enumerate(rows[0])
        if all(row[name] is None or type(row[name]) in {int, float} for row in rows) and not _is_time(name)
    }
    lines = columns([titles, *cells], right=numbers, indent=_INDENT)
    if max(len(line) for text in lines for line in text.splitlines()) <= _WIDTH:
        return lines
    # Too wide for a table: each row by itself.
    blocks = [columns(list(zip(titles, row, strict=True)), indent=_INDENT) for row in cells]
    return [line for place, block in enumerate(blocks) for line in ([""] if place else []) + block]


def _title(name: str) -> str:
    return name.replace("_", " ")


def _is_time(name: str) -> bool:
    return name.endswith("_at") or name == "since"


def _shown(name: str, held: object) -> str:
    if held is None:
        return "-"
    if isinstance(held, bool):
        return "yes" if held else "no"
    if isinstance(held, (int, float)) and _is_time(name):
        return f"{datetime.fromtimestamp(held, UTC):%Y-%m-%d %H:%M:%SZ}"
    if isinstance(held, float):
        seconds = " s" if name.endswith(("_in", "_after", "_for")) else ""
        return f"{held:.3f}".rstrip("0").rstrip(".") + seconds
    if isinstance(held, dict):
        pairs = cast("dict[str, object]", held)
        return escaped(", ".join(f"{key} {value}" for key, value in pairs.items())) or "-"
    return escaped(str(held)) or "-"
