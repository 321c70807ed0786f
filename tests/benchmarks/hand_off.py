"""Locks: how one goes from a holder to the next, against other libraries' locks.

Workers want one lock again and again, and hold it for a moment: eight, then twenty. A hand-over is the time from when
the holder begins to give it back until the next one has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import redis
import redis.asyncio

import redis_patterns.asyncio
from redis_patterns import FairLock, Lock
from redis_patterns.sync import Driver
from tests.benchmarks import peers
from tests.benchmarks.harness import noted
from tests.benchmarks.lab import Group, Lab
from tests.benchmarks.tables import Table, tabulate

__all__ = ["GROUP"]

HELD = 0.005  # seconds
BARE = "bare PING after so long"
BARE_ALONE = "bare PING"


@dataclass
class Turns:
    """What was seen of one contender.

    Parameters:
        hand_overs: seconds each.
        waits: seconds from when a worker wanted it until it had it.
        took: seconds for all.
    """

    hand_overs: list[float] = field(default_factory=list[float])
    waits: list[float] = field(default_factory=list[float])
    took: float = 0.0
    given_back: float | None = None

    def taken(self, wanted: float) -> None:
        """Note that somebody has it now."""
        now = time.perf_counter()
        self.waits.append(now - wanted)
        if self.given_back is not None and wanted < self.given_back:
            self.hand_overs.append(now - self.given_back)

    def gives_back(self) -> None:
        """Note that its holder begins to give it back."""
        self.given_back = time.perf_counter()


def in_threads(hold: Callable[[], contextlib.AbstractContextManager[object]], crowd: int, rounds: int) -> Turns:
    """Let threads take turns; what `hold` makes is entered to acquire, and left to release."""
    turns, ready = Turns(), threading.Barrier(crowd + 1)

    def work() -> None:
        ready.wait()
        for _ in range(rounds):
            wanted = time.perf_counter()
            with hold():
                turns.taken(wanted)
                time.sleep(HELD)
                turns.gives_back()

    workers = [threading.Thread(target=work) for _ in range(crowd)]
    for worker in workers:
        worker.start()
    ready.wait()
    began = time.perf_counter()
    for worker in workers:
        worker.join(120)
    turns.took = time.perf_counter() - began
    return turns


async def in_tasks(
    hold: Callable[[], contextlib.AbstractAsyncContextManager[object]], crowd: int, rounds: int
) -> Turns:
    """Let tasks take turns."""
    turns = Turns()

    async def work() -> None:
        for _ in range(rounds):
            wanted = time.perf_counter()
            async with hold():
                turns.taken(wanted)
                await asyncio.sleep(HELD)
                turns.gives_back()

    began = time.perf_counter()
    await asyncio.gather(*[work() for _ in range(crowd)])
    turns.took = time.perf_counter() - began
    return turns


def alone(hold: Callable[[], contextlib.AbstractContextManager[object]], count: int) -> list[float]:
    """Give microseconds for taking and giving back with nobody else there."""
    times: list[float] = []
    for _ in range(count):
        began = time.perf_counter()
        with hold():
            pass
        times.append((time.perf_counter() - began) * 1e6)
    return times


async def alone_in_a_task(
    hold: Callable[[], contextlib.AbstractAsyncContextManager[object]], count: int
) -> list[float]:
    """Give the same for a task."""
    times: list[float] = []
    for _ in range(count):
        began = time.perf_counter()
        async with hold():
            pass
        times.append((time.perf_counter() - began) * 1e6)
    return times


class Crowd:
    """Measures contenders with so many workers that take so many turns each, and one worker alone.

    Parameters:
        server: what is asked for its count of commands, and for bare round trips.
        kind: what the workers are: threads, or tasks of asyncio.
        workers, rounds: how many, and how many turns each.
        count: how often a worker takes it that is alone.
    """

    def __init__(self, server: redis.Redis, kind: str, workers: int, rounds: int, count: int) -> None:
        self.server, self.kind, self.workers, self.rounds, self.count = server, kind, workers, rounds, count
        self.hand_overs: dict[str, list[float]] = {BARE: []}
        self.alone: dict[str, list[float]] = {BARE_ALONE: []}
        self.counted: dict[str, dict[str, float]] = {}
        self.absent: dict[str, str] = {}
        for pause, times in ((HELD, self.hand_overs[BARE]), (0.0, self.alone[BARE_ALONE])):
            for _ in range(100):
                time.sleep(pause)
                began = time.perf_counter()
                server.ping()
                times.append((time.perf_counter() - began) * 1e6)

    def commands(self) -> int:
        """Give how many commands the server has run."""
        said: Any = self.server.info("stats")
        return int(said["total_commands_processed"])

    def _note(self, name: str, turns: Turns, asked: int, alone: list[float]) -> None:
        self.hand_overs[name] = [seconds * 1e6 for seconds in turns.hand_overs]
        self.alone[name] = alone
        self.counted[name] = {
            "worst wait, ms": max(turns.waits) * 1000,
            "time of all, of the ideal": turns.took / (self.workers * self.rounds * HELD),
            "commands": asked / self.workers / self.rounds,
        }

    def threads(self, name: str, hold: Callable[[], contextlib.AbstractContextManager[object]]) -> None:
        """Run a contender in threads."""
        before = self.commands()
        turns = in_threads(hold, self.workers, self.rounds)
        self._note(name, turns, self.commands() - before - 1, alone(hold, self.count))

    async def tasks(self, name: str, hold: Callable[[], contextlib.AbstractAsyncContextManager[object]]) -> None:
        """Run a contender in tasks."""
        before = self.commands()
        turns = await in_tasks(hold, self.workers, self.rounds)
        self._note(name, turns, self.commands() - before - 1, await alone_in_a_task(hold, self.count))

    def tables(self) -> Iterator[Table]:
        """Give what was measured."""
        yield tabulate(
            f"hand-over-{self.kind}-{self.workers}",
            f"a hand-over of a lock among {self.workers} {self.kind} that hold it for {HELD * 1000:g} ms",
            self.hand_overs,
            ours="ours, Lock",
            floor=BARE,
            counted=self.counted,
            absent=self.absent,
            paired=False,
        )
        if self.count:
            yield tabulate(
                f"alone-{self.kind}",
                f"taking and giving back a lock with nobody else there, {self.kind}",
                self.alone,
                ours="ours, Lock",
                floor=BARE_ALONE,
                absent=self.absent,
                paired=False,
            )


def _tables(lab: Lab) -> Iterator[Table]:
    crowds = lab.of(((8, 12, 2000), (20, 10, 0)), ((8, 3, 20), (20, 2, 0)))
    with redis.Redis(unix_socket_path=lab.server.socket_path) as client:
        for workers, rounds, count in crowds:
            crowd = Crowd(client, "threads", workers, rounds, count)
            with Driver.connect(lab.server.url) as driver:
                for lock in (Lock("hand-over"), FairLock("hand-over")):
                    crowd.threads(f"ours, {type(lock).__name__}", partial(driver.hold, lock, wait=60))
            crowd.threads("redis-py", lambda: client.lock("redis-py", timeout=10))
            for name, hold in _peers(client).items():
                if why := peers.absent(name):
                    crowd.absent[name] = why
                    continue
                with noted(name, crowd.absent):
                    crowd.threads(name, hold)
            yield from crowd.tables()
            crowd = Crowd(client, "tasks", workers, rounds, count)
            asyncio.run(_asyncio(lab.server.socket_path, crowd))
            yield from crowd.tables()


def _peers(client: redis.Redis) -> dict[str, Callable[[], contextlib.AbstractContextManager[object]]]:
    @contextlib.contextmanager
    def redlock() -> Generator[None]:
        with peers.optional("pottery").Redlock(key="pottery", masters={client}, auto_release_time=10):
            yield

    def redis_lock() -> contextlib.AbstractContextManager[object]:
        made: contextlib.AbstractContextManager[object] = peers.optional("redis_lock").Lock(
            client, "python-redis-lock", expire=10
        )
        return made

    return {"python-redis-lock": redis_lock, "pottery": redlock}


async def _asyncio(path: str, crowd: Crowd) -> None:
    async with redis_patterns.asyncio.Driver.connect(f"unix://{path}") as driver:
        for lock in (Lock("hand-over-asyncio"), FairLock("hand-over-asyncio")):
            await crowd.tasks(f"ours, {type(lock).__name__}", partial(driver.hold, lock, wait=60))
    async with redis.asyncio.Redis(unix_socket_path=path) as client:
        await crowd.tasks("redis-py", lambda: client.lock("redis-asyncio", timeout=10))


GROUP = Group(
    "locks",
    "Locks",
    "Workers want one lock again and again. A hand-over is the time from when the holder begins to give it back until "
    "the next one has it; it has a round trip in it at least, which is the floor. Commands are those of a turn.",
    _tables,
)
