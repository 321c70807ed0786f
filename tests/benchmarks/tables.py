"""What was measured, in one shape for all groups: a table of rows, of which less is always better.

A row is of a floor, the least code that does the same; of ours; or of a peer. Its ratios are medians of the rounds'
ratios, as in `harness`, and not quotients of medians.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

__all__ = ["Kind", "Row", "Spread", "Table", "number", "tabulate"]

Kind: TypeAlias = Literal["floor", "ours", "peer"]


@dataclass(frozen=True)
class Spread:
    """Where the middle of some samples is, and how far apart they are."""

    median: float
    least: float
    lower: float
    upper: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Spread:
        """Summarize samples, one at least."""
        # A single sample has no quartiles; it is all there is.
        several = list(samples) if len(samples) > 1 else [samples[0]] * 2
        lower, median, upper = statistics.quantiles(several, n=4, method="inclusive")
        return cls(median, min(samples), lower, upper)


@dataclass(frozen=True)
class Row:
    """One subject's result.

    Parameters:
        subject: whose.
        kind: what the subject is.
        value: what was measured, in the table's unit; ``None`` where the subject is absent.
        of_floor: times the floor's of the same round, where there is a floor.
        of_ours: times that of the table's row of ours of the same round.
        counted: what was counted beside, for each operation: round trips, commands.
        note: what else there is to say; of a subject that is absent, why.
    """

    subject: str
    kind: Kind
    value: Spread | None = None
    of_floor: Spread | None = None
    of_ours: Spread | None = None
    counted: Mapping[str, float] = field(default_factory=dict[str, float])
    note: str = ""


@dataclass(frozen=True)
class Table:
    """One comparison.

    Parameters:
        name: short, and no other table's.
        what: what an operation is, in words.
        unit: of the values.
        where: on which cores it ran, in words; empty where the system put it where it liked.
        rounds: samples of each row, at most.
        ours: the row that ``of_ours`` is the ratio to.
        rows: the floor, ours and the peers, in the order in which they were given.
    """

    name: str
    what: str
    unit: str
    where: str
    rounds: int
    ours: str
    rows: Sequence[Row]

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> Table:
        """Make a table of what `dataclasses.asdict` made of one."""

        def spread(one: dict[str, float] | None) -> Spread | None:
            return None if one is None else Spread(**one)

        rows: list[Row] = []
        for row in written["rows"]:
            spreads = {name: spread(row[name]) for name in ("value", "of_floor", "of_ours")}
            values: dict[str, Any] = {**row, **spreads}
            rows.append(Row(**values))
        whole: dict[str, Any] = {**written, "rows": rows}
        return cls(**whole)


def tabulate(
    name: str,
    what: str,
    samples: Mapping[str, Sequence[float]],
    *,
    ours: str,
    floor: str = "",
    unit: str = "us",
    where: str = "",
    counted: Mapping[str, Mapping[str, float]] | None = None,
    notes: Mapping[str, str] | None = None,
    absent: Mapping[str, str] | None = None,
    paired: bool = True,
) -> Table:
    """Make a table of samples.

    Parameters:
        name, what, unit, where, ours: see `Table`.
        samples: of each subject, those that start with "ours" being ours; one for each round, none of one that failed.
        floor: which subject is the floor; empty where there is none.
        counted, notes: see `Row`, by subject.
        absent: why a subject was not measured; those without samples come after the others.
        paired: whether samples of the same place belong together; else a ratio is that of the medians.
    """
    taken = {subject: own for subject, own in samples.items() if own}
    gone = {**{subject: "it gave no result" for subject in samples if subject not in taken}, **(absent or {})}

    def kind(subject: str) -> Kind:
        return "floor" if subject == floor else "ours" if subject.startswith("ours") else "peer"

    def ratio(subject: str, other: str) -> Spread | None:
        base = taken.get(other)
        if base is None:
            return None
        return _paired(taken[subject], base) if paired else _medians(taken[subject], base)

    rows = [
        Row(
            subject,
            kind(subject),
            Spread.of(own),
            ratio(subject, floor),
            ratio(subject, ours),
            dict((counted or {}).get(subject, {})),
            (notes or {}).get(subject, ""),
        )
        for subject, own in taken.items()
    ]
    rows += [Row(subject, kind(subject), note=why) for subject, why in gone.items() if subject not in taken]
    rounds = max((len(own) for own in taken.values()), default=0)
    return Table(name, what, unit, where, rounds, ours, rows)


def number(value: float) -> str:
    """Write a number with three digits, and whole where it has more."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _paired(own: Sequence[float], base: Sequence[float]) -> Spread | None:
    """Compare round by round; a clock too coarse to see the other at all gives no ratio."""
    ratios = [mine / theirs for mine, theirs in zip(own, base, strict=True) if theirs > 0]
    return Spread.of(ratios) if ratios else None


def _medians(own: Sequence[float], base: Sequence[float]) -> Spread | None:
    middle = statistics.median(base)
    return Spread.of([statistics.median(own) / middle]) if middle > 0 else None
