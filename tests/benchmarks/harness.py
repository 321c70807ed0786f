"""How to measure: contenders take turns, and each is compared with a floor of the same round.

Machines are busy and change their pace while one measures. What is compared has to happen side by side, so every round
gives each contender one slice, in an order that rotates from round to round; a ratio is the median over the rounds of
(contender in this round / floor in this round), and not a quotient of two medians, which were taken at other moments.

    async with contextlib.AsyncExitStack() as stack:
        works = await open_all(contenders, stack)
        samples = await measure(works, settings)
    rows = summarize(samples, floor="bare")
"""

from __future__ import annotations

import contextlib
import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

__all__ = [
    "Case",
    "Contender",
    "Row",
    "Samples",
    "Settings",
    "Spread",
    "Work",
    "measure",
    "open_all",
    "schedule",
    "summarize",
]

Work: TypeAlias = Callable[[int], Awaitable[None]]
"""Does so many operations, one after the other or in as many tasks as the case has."""

Opening: TypeAlias = Callable[[], contextlib.AbstractAsyncContextManager[Work]]


@dataclass(frozen=True)
class Contender:
    """One way to do a case's operation.

    Parameters:
        name: its row in the table.
        opening: connects, does the operation once and checks its result, gives the work; closes at the end.
        absent: why it cannot be measured here, such as a package that is not installed.
    """

    name: str
    opening: Opening | None
    absent: str = ""


@dataclass(frozen=True)
class Case:
    """One operation, and the contenders that do it.

    Parameters:
        name: what ``--only`` selects.
        title: what an operation is, in words.
        floor: the contender that the others are compared with.
        contenders: in the order of the table.
        loop: ``asyncio`` or ``trio``, which all contenders run on; synchronous ones do not mind.
        tasks: how many tasks do the operation at the same time.
        cores: where client and server run unless the command line says otherwise: ``same`` or ``apart``.
    """

    name: str
    title: str
    floor: str
    contenders: Sequence[Contender]
    loop: str = "asyncio"
    tasks: int = 1
    cores: str = "same"


@dataclass(frozen=True)
class Settings:
    """How long to measure.

    Parameters:
        rounds: slices of each contender.
        slice_seconds: what a slice is meant to take; the number of its operations is chosen for that.
        budget: seconds after which a case begins no further round.
        least: operations of a slice, at least; each of many tasks should have a few.
    """

    rounds: int = 11
    slice_seconds: float = 0.1
    budget: float = 60.0
    least: int = 20


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


@dataclass
class Samples:
    """What one contender took: microseconds of an operation, one number for each round."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Row:
    """One contender's result.

    Parameters:
        name: the contender.
        wall: microseconds of an operation.
        cpu: microseconds of this process's processor time in an operation; the server's is not in it.
        ratio: times the floor's wall time of the same round.
        cpu_ratio: times the floor's processor time of the same round.
        absent: why there are no numbers; empty where there are.
    """

    name: str
    wall: Spread | None = None
    cpu: Spread | None = None
    ratio: Spread | None = None
    cpu_ratio: Spread | None = None
    absent: str = ""

    @property
    def per_second(self) -> float:
        """Operations in a second, at the median."""
        return 1e6 / self.wall.median if self.wall and self.wall.median else 0.0


def schedule(names: Sequence[str], rounds: int) -> Iterator[list[str]]:
    """Give the order of each round, rotated by one each time, so that nobody is always the first."""
    for turn in range(rounds):
        start = turn % len(names) if names else 0
        yield [*names[start:], *names[:start]]


async def open_all(contenders: Sequence[Contender], stack: contextlib.AsyncExitStack) -> dict[str, Work]:
    """Open the contenders that are present; the stack closes them."""
    works: dict[str, Work] = {}
    for contender in contenders:
        if contender.opening is not None and not contender.absent:
            works[contender.name] = await stack.enter_async_context(contender.opening())
    return works


async def measure(
    works: Mapping[str, Work],
    settings: Settings,
    *,
    tasks: int = 1,
    wall: Callable[[], float] = time.perf_counter,
    cpu: Callable[[], float] = time.process_time,
) -> dict[str, Samples]:
    """Give each work one slice in each round.

    Parameters:
        works: by contender.
        settings: how long.
        tasks: a slice has at least four operations for each of them.
        wall, cpu: the clocks, in seconds.

    Returns:
        As many samples for each as rounds were begun: fewer than wanted when the budget was used up, never none.
    """
    least = max(-(-settings.least // tasks), 4) * tasks if tasks > 1 else settings.least
    counts = {name: await _calibrated(work, settings.slice_seconds, least, tasks, wall) for name, work in works.items()}
    samples = {name: Samples() for name in works}
    # What is there by now stays; without this, each collection below would go through all modules.
    gc.collect()
    gc.freeze()
    ends_at = wall() + settings.budget
    try:
        for order in schedule(list(works), settings.rounds):
            for name in order:
                gc.collect()  # nobody pays for what another has left
                work, count = works[name], counts[name]
                cpu_before = cpu()
                before = wall()
                await work(count)
                took = wall() - before
                cpu_took = cpu() - cpu_before
                samples[name].wall.append(took / count * 1e6)
                samples[name].cpu.append(cpu_took / count * 1e6)
            if wall() >= ends_at:
                break
    finally:
        gc.unfreeze()
    return samples


async def _calibrated(work: Work, seconds: float, least: int, tasks: int, wall: Callable[[], float]) -> int:
    """Find out how many operations take so long, the same number for each task; the first only warm up."""
    await work(least)
    before = wall()
    await work(least)
    took = wall() - before
    wanted = int(least * seconds / took) if took > 0 else least
    return max(least, wanted - wanted % tasks)


def summarize(samples: Mapping[str, Samples], floor: str, contenders: Sequence[Contender] = ()) -> list[Row]:
    """Give the rows of a table.

    Parameters:
        samples: of each contender that was measured.
        floor: the one that the ratios are to; without samples of it there are no ratios.
        contenders: those that belong in the table too, with the reason why they are absent.
    """
    names = [contender.name for contender in contenders] or list(samples)
    absent = {contender.name: contender.absent or "not measured" for contender in contenders}
    base = samples.get(floor)
    rows: list[Row] = []
    for name in names:
        own = samples.get(name)
        if own is None or not own.wall:
            rows.append(Row(name, absent=absent.get(name, "not measured")))
            continue
        rows.append(
            Row(
                name,
                wall=Spread.of(own.wall),
                cpu=Spread.of(own.cpu),
                ratio=_ratios(own.wall, base.wall) if base else None,
                cpu_ratio=_ratios(own.cpu, base.cpu) if base else None,
            )
        )
    return rows


def _ratios(own: Sequence[float], base: Sequence[float]) -> Spread | None:
    """Compare round by round; a clock too coarse to see the floor at all gives no ratio."""
    ratios = [mine / theirs for mine, theirs in zip(own, base, strict=True) if theirs > 0]
    return Spread.of(ratios) if ratios else None
