"""What a run tells: each table on the terminal, and a JSON file, a page and charts for the documentation.

The page and the charts are made of the JSON file alone, so that a test can compare them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.charts import chart, summary
from tests.benchmarks.tables import Row, Spread, Table, number

__all__ = ["Measured", "Results", "files", "text"]

DATA = "benchmarks.json"
PAGE = "benchmarks.md"
_INTRODUCTION = (
    "All comparisons, measured by `nox -s bench` in one run on a server of its own; it writes this page. Less is "
    "better everywhere. Contenders take turns, and a ratio is the median of the ratios of the rounds: look at these, "
    "as times are those of one machine at one moment. Where the round trip waits for another core, a slow client hides "
    "in the waiting; so one caller and its server share a core where a table says so. A floor is the least code that "
    "does the same; it stands first, and the others by their medians, whoever is ahead."
)


@dataclass(frozen=True)
class Measured:
    """A group that was measured; see `lab.Group`."""

    name: str
    title: str
    how: str
    tables: Sequence[Table]


@dataclass(frozen=True)
class Results:
    """A run.

    Parameters:
        about: where and on what it was measured.
        peers: their versions, or why they are absent.
        short: whether it was only tried.
        groups: what was measured.
    """

    about: Mapping[str, str]
    peers: Mapping[str, str]
    short: bool
    groups: Sequence[Measured]

    @classmethod
    def read(cls, text: str) -> Results:
        """Read what `written` gave."""
        whole: dict[str, Any] = json.loads(text)
        whole["groups"] = [_group(one) for one in whole["groups"]]
        return cls(**whole)

    def written(self) -> str:
        """Give it as JSON."""
        indented = json.dumps(_rounded(asdict(self)), indent=1, ensure_ascii=False)
        # What has nothing inside stands on one line, or there would be thousands.
        return re.sub(r"\{[^{}\[\]]*\}", lambda flat: re.sub(r"\n *", " ", flat[0]), indented) + "\n"


def _group(written: dict[str, Any]) -> Measured:
    values: dict[str, Any] = {**written, "tables": [Table.read(table) for table in written["tables"]]}
    return Measured(**values)


def _rounded(value: Any) -> Any:
    """Keep four digits of each number: more would be noise."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, (list, tuple)) else value


def files(written: str) -> dict[str, str]:
    """Give the files of a run's JSON, by their paths in the documentation's folder."""
    results = Results.read(written)
    found = {DATA: written, PAGE: page(results)}
    for group in results.groups:
        found[f"plots/bench-{group.name}.svg"] = chart(group.title, group.tables)
    found["plots/bench-summary.svg"] = summary([table for group in results.groups for table in group.tables])
    return found


def page(results: Results) -> str:
    """Write the page."""
    lines = [
        "# Benchmarks",
        "",
        _INTRODUCTION,
        "",
    ]
    if results.short:
        lines += ["**These figures are those of a short run, which shows that all works, and not how fast it is.**", ""]
    lines += ["| Measured on | |", "|---|---|", *(f"| {name} | {said} |" for name, said in results.about.items()), ""]
    lines += ["| Peer | Version |", "|---|---|", *(f"| {name} | {said} |" for name, said in results.peers.items()), ""]
    for group in results.groups:
        picture = f"![{group.title}: times of ours](plots/bench-{group.name}.svg)"
        lines += [f"## {group.title}", "", group.how, "", picture, ""]
        for table in group.tables:
            lines += _section(table)
    return "\n".join(lines).rstrip() + "\n"


def _section(table: Table) -> list[str]:
    counted = list(dict.fromkeys(name for row in table.rows for name in row.counted))
    floor = any(row.of_floor for row in table.rows)
    heads = ["", table.unit, "quartiles", *(["of the floor"] if floor else []), "of ours", *counted]
    beside = [f"{table.rounds} samples", *([table.where] if table.where else [])]
    title = f"{table.what[0].upper()}{table.what[1:]}"
    lines = [f"### {title}", "", f"`{table.name}`, {', '.join(beside)}; of ours: of the row “{table.ours}”.", ""]
    lines += [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}"]
    for row in ordered(table.rows):
        note = f" ({row.note})" if row.note and row.value else ""
        cells = [row.subject + note]
        if row.value is None:
            cells += [f"absent: {row.note}", *[""] * (len(heads) - 2)]
        else:
            cells += [number(row.value.median), f"{number(row.value.lower)} to {number(row.value.upper)}"]
            cells += [_times(row.of_floor)] if floor else []
            cells += [
                _times(row.of_ours),
                *(number(row.counted[name]) if name in row.counted else "" for name in counted),
            ]
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return [*lines, ""]


def ordered(rows: Sequence[Row]) -> list[Row]:
    """Put the floor first, then all by their medians, then those that are absent."""

    def place(row: Row) -> tuple[bool, bool, float]:
        return row.value is None, row.kind != "floor", row.value.median if row.value else 0.0

    return sorted(rows, key=place)


def _times(ratio: Spread | None) -> str:
    return f"x{ratio.median:.2f}" if ratio else ""


def text(table: Table) -> str:
    """Give a table for the terminal."""
    width = max([24, *(len(row.subject) for row in table.rows)])
    lines = [
        f"{table.name}: {table.what}; {table.where or 'not pinned'}, {table.rounds} samples",
        f"{'':{width}} {table.unit:>10} {'quartiles':>20} {'of floor':>9} {'of ours':>9}",
    ]
    for row in ordered(table.rows):
        if row.value is None:
            lines.append(f"{row.subject:{width}} absent: {row.note}")
            continue
        quartiles = f"{number(row.value.lower)} to {number(row.value.upper)}"
        beside = [f"{name} {number(count)}" for name, count in row.counted.items()] + [row.note] * bool(row.note)
        lines.append(
            f"{row.subject:{width}} {number(row.value.median):>10} {quartiles:>20} {_times(row.of_floor):>9} "
            f"{_times(row.of_ours):>9}  {', '.join(beside)}".rstrip()
        )
    return "\n".join(lines) + "\n"


def write(written: str, folder: Path) -> None:
    """Write all files of a run's JSON into a folder, and take away charts that it has not."""
    wanted = files(written)
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    for old in folder.glob("plots/bench-*.svg"):
        if f"plots/{old.name}" not in wanted:
            old.unlink()
    for path, said in wanted.items():
        (folder / path).write_text(said, encoding="utf-8")
