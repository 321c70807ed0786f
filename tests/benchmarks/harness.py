"""How to measure: contenders take turns, and each is compared with a floor of the same round.

Machines are busy and change their pace while one measures. What is compared has to happen side by side, so every round
gives each contender one slice, in an order that rotates from round to round; a ratio is the median over the rounds of
(contender in this round / floor in this round), and not a quotient of two medians, which were taken at other moments.

    trouble: dict[str, str] = {}
    async with contextlib.AsyncExitStack() as stack:
        works = await open_all(contenders, stack, trouble)
        samples = await measure(works, settings, trouble)
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

__all__ = [
    "Case",
    "Contender",
    "Samples",
    "Settings",
    "Work",
    "measure",
    "noted",
    "open_all",
    "schedule",
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
        name: of its table.
        title: what an operation is, in words.
        floor: the contender that does the least; empty where there is none.
        contenders: in the order of the table; those of ours have names that start so.
        loop: ``asyncio`` or ``trio``, which all contenders run on; synchronous ones do not mind.
        tasks: how many tasks do the operation at the same time.
        cores: where client and server run: ``same``, ``apart`` or ``free``.
        ours: the contender that the peers are compared with.
    """

    name: str
    title: str
    floor: str
    contenders: Sequence[Contender]
    loop: str = "asyncio"
    tasks: int = 1
    cores: str = "same"
    ours: str = "ours"


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


@dataclass
class Samples:
    """What one contender took: microseconds of an operation, one number for each round."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def schedule(names: Sequence[str], rounds: int) -> Iterator[list[str]]:
    """Give the order of each round, rotated by one each time, so that nobody is always the first."""
    for turn in range(rounds):
        start = turn % len(names) if names else 0
        yield [*names[start:], *names[:start]]


async def open_all(
    contenders: Sequence[Contender], stack: contextlib.AsyncExitStack, trouble: dict[str, str]
) -> dict[str, Work]:
    """Open the contenders that are present; the stack closes them. Why a peer could not be opened goes to `trouble`."""
    works: dict[str, Work] = {}
    for contender in contenders:
        if contender.absent or contender.opening is None:
            trouble[contender.name] = contender.absent or "not measured"
            continue
        with noted(contender.name, trouble):
            works[contender.name] = await stack.enter_async_context(contender.opening())
    return works


@contextlib.contextmanager
def noted(name: str, trouble: dict[str, str]) -> Generator[None]:
    """Note an error of a peer in `trouble` instead of raising it; those of ours are raised."""
    try:
        yield
    except Exception as error:
        if name.startswith("ours"):
            raise
        trouble[name] = f"{type(error).__name__}: {error}"[:200]


async def measure(
    works: Mapping[str, Work],
    settings: Settings,
    trouble: dict[str, str],
    *,
    tasks: int = 1,
    wall: Callable[[], float] = time.perf_counter,
    cpu: Callable[[], float] = time.process_time,
) -> dict[str, Samples]:
    """Give each work one slice in each round.

    Parameters:
        works: by contender.
        settings: how long.
        trouble: why a peer cannot do its work goes in here; ours raise.
        tasks: a slice has at least four operations for each of them.
        wall, cpu: the clocks, in seconds.

    Returns:
        As many samples for each as rounds were begun: fewer than wanted when the budget was used up, never none.
    """
    least = max(-(-settings.least // tasks), 4) * tasks if tasks > 1 else settings.least
    counts: dict[str, int] = {}
    for name, work in works.items():
        with noted(name, trouble):
            counts[name] = await _calibrated(work, settings.slice_seconds, least, tasks, wall)
    samples = {name: Samples() for name in counts}
    # What is there by now stays; without this, each collection below would go through all modules.
    gc.collect()
    gc.freeze()
    ends_at = wall() + settings.budget
    try:
        for order in schedule(list(counts), settings.rounds):
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
