"""Where groups are measured: on one server, each comparison in turn, as long as the run is meant to take."""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
import statistics
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import trio

from redis_patterns.testing import Server
from tests.benchmarks.harness import Case, Samples, Settings, measure, open_all
from tests.benchmarks.machine import pinned
from tests.benchmarks.tables import Table, tabulate

__all__ = ["Group", "Lab"]

T = TypeVar("T")

SHORT = Settings(rounds=2, slice_seconds=0.01, budget=3.0, least=5)
CASE_LIMIT = 120.0
"""Seconds after which a case is given up; its rounds have their own, smaller, budget."""
BLOCKED_LIMIT = CASE_LIMIT + 10.0
"""The same for a case that does not even let its event loop go on."""


@dataclass(frozen=True)
class Group:
    """Comparisons that belong together.

    Parameters:
        name: what ``--only`` selects.
        title: its heading.
        how: what is measured and how, in a sentence or two.
        tables: measures them, one after another.
    """

    name: str
    title: str
    how: str
    tables: Callable[[Lab], Iterable[Table]]


@dataclass(frozen=True)
class Lab:
    """The server of a run, and how long the run is meant to take.

    Parameters:
        server: with a unix socket and a port.
        short: whether to see only that all works.
        loop: makes asyncio's loop.
    """

    server: Server
    short: bool = False
    loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop

    def of(self, full: T, short: T) -> T:
        """Choose a number by the length of the run."""
        return short if self.short else full

    def measure(
        self, cases: Sequence[Case], counted: Mapping[str, Mapping[str, Mapping[str, float]]] | None = None
    ) -> Iterator[Table]:
        """Measure cases; what was counted is by case, then by contender."""
        for case in cases:
            trouble: dict[str, str] = {}
            with pinned(self.server.pid, case.cores) as where, _limited(BLOCKED_LIMIT):
                samples = self._samples(case, trouble)
            beside = {name: dict(own) for name, own in (counted or {}).get(case.name, {}).items()}
            floor = samples.get(case.floor)
            for name, own in samples.items():
                if floor and statistics.median(floor.cpu) > 0:
                    share = statistics.median(own.cpu) / statistics.median(floor.cpu)
                    beside.setdefault(name, {})["client's CPU, of the floor's"] = share
            yield tabulate(
                case.name,
                case.title,
                {name: own.wall for name, own in samples.items()},
                ours=case.ours,
                floor=case.floor,
                where=where,
                counted=beside,
                absent=trouble,
            )

    def _samples(self, case: Case, trouble: dict[str, str]) -> dict[str, Samples]:
        async def whole() -> dict[str, Samples]:
            async with contextlib.AsyncExitStack() as stack:
                works = await open_all(case.contenders, stack, trouble)
                return await measure(works, SHORT if self.short else Settings(), trouble, tasks=case.tasks)

        async def on_trio() -> dict[str, Samples]:
            with trio.fail_after(CASE_LIMIT):
                return await whole()

        async def on_asyncio() -> dict[str, Samples]:
            async with asyncio.timeout(CASE_LIMIT):
                return await whole()

        if case.loop == "trio":
            return trio.run(on_trio)
        with asyncio.Runner(loop_factory=self.loop) as runner:
            return runner.run(on_asyncio())


@contextlib.contextmanager
def _limited(seconds: float) -> Generator[None]:
    """Raise TimeoutError in a block that hangs in a blocking call, so that the server is stopped all the same."""

    def give_up(*_: object) -> None:
        raise TimeoutError(f"a case took longer than {seconds:g} s")

    if sys.platform == "win32":
        raise OSError("the benchmarks use unix sockets, and signals to end by themselves")
    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(math.ceil(seconds))
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
