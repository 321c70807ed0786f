"""What a run tells: a table for each case on the terminal, everything in a JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.benchmarks.harness import Case, Row, Samples, Settings, Spread

__all__ = ["Result", "table", "write"]


@dataclass(frozen=True)
class Result:
    """A case that was measured.

    Parameters:
        case: which one.
        cores: where client and server ran, in words.
        rows: the table.
        samples: what it was made of.
    """

    case: Case
    cores: str
    rows: Sequence[Row]
    samples: Mapping[str, Samples]


def table(result: Result) -> str:
    """Give a case's table.

    The spread is that of the times: the least, and the quartiles between which half of the rounds lie. ``cpu`` is this
    process's processor time, as a multiple of the floor's.
    """
    rounds = max((len(samples.wall) for samples in result.samples.values()), default=0)
    width = max([24, *(len(row.name) for row in result.rows)])
    columns = f"{'ops/s':>9} {'us/op':>9} {'ratio':>7} {'cpu':>7}   {'us/op: min, quartiles':<28} ratio: quartiles"
    lines = [f"{result.case.name}: {result.case.title}; {result.cores}, {rounds} rounds", f"{'':{width}} {columns}"]
    for row in result.rows:
        if row.wall is None:
            lines.append(f"{row.name:{width}} absent: {row.absent}")
            continue
        wall = row.wall
        spread = f"{wall.least:.1f}, {wall.lower:.1f}-{wall.upper:.1f}"
        quartiles = f"{row.ratio.lower:.2f}-{row.ratio.upper:.2f}" if row.ratio else "-"
        lines.append(
            f"{row.name:{width}} {row.per_second:>9,.0f} {wall.median:>9.2f} {_times(row.ratio):>7} "
            f"{_times(row.cpu_ratio):>7}   {spread:<28} {quartiles}"
        )
    lines.append(f"ratio: to {result.case.floor}, in the same round")
    return "\n".join(lines) + "\n"


def _times(ratio: Spread | None) -> str:
    return f"x{ratio.median:.2f}" if ratio else "-"


def write(path: Path, about: Mapping[str, object], settings: Settings, results: Sequence[Result]) -> None:
    """Write all there is to know, each round's sample included."""
    cases: list[dict[str, object]] = []
    for result in results:
        case = result.case
        cases.append(
            {
                "name": case.name,
                "title": case.title,
                "floor": case.floor,
                "loop": case.loop,
                "tasks": case.tasks,
                "cores": result.cores,
                "contenders": [_entry(row, result.samples.get(row.name)) for row in result.rows],
            }
        )
    whole = {"about": dict(about), "settings": asdict(settings), "unit": "microseconds per operation", "cases": cases}
    path.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def _entry(row: Row, samples: Samples | None) -> dict[str, object]:
    if row.wall is None or samples is None:
        return {"name": row.name, "absent": row.absent}
    return {
        **{name: value for name, value in asdict(row).items() if name != "absent"},
        "ops_per_second": row.per_second,
        "samples": asdict(samples),
    }
