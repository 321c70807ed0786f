"""Measure how a lock goes from one holder to the next, against other libraries' locks.

    python tests/benchmarks/hand_off.py

Workers want one lock again and again, and hold it for a moment: eight, then twenty. A hand-over is the time from when
the holder begins to give it back until the next one has it; it is printed also as a multiple of a bare round trip,
a PING that a client sends after being idle for as long as the lock is held. ``alone`` is taking and giving back with
nobody else there, ``asked`` the commands for each turn. It starts a private server, and ends by itself. Peers that are
not installed are left out; they come with ``pip install -r tests/benchmarks/requirements.txt``.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import redis
import redis.asyncio

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import redis_patterns.asyncio
from redis_patterns import FairLock, Lock
from redis_patterns.sync import Driver
from redis_patterns.testing import server
from tests.benchmarks.workload import optional

CROWDS = ((8, 12), (20, 10))
"""How many workers, and how many turns each."""
HELD = 0.005  # seconds
ALONE = 2000


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


def alone(hold: Callable[[], contextlib.AbstractContextManager[object]]) -> float:
    """Give the median of microseconds for taking and giving back with nobody else there."""
    times: list[float] = []
    for _ in range(ALONE):
        began = time.perf_counter()
        with hold():
            pass
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6


async def alone_in_a_task(hold: Callable[[], contextlib.AbstractAsyncContextManager[object]]) -> float:
    """Give the same for a task."""
    times: list[float] = []
    for _ in range(ALONE):
        began = time.perf_counter()
        async with hold():
            pass
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6


@dataclass
class Table:
    """Prints the rows of a crowd.

    Parameters:
        server: what is asked for its count of commands.
        crowd, rounds: how many workers, and how many turns each.
    """

    server: redis.Redis
    crowd: int
    rounds: int
    bare: float = 0.0

    def begin(self) -> None:
        """Measure the bare round trip, and print the head."""
        times: list[float] = []
        for _ in range(100):
            time.sleep(HELD)
            began = time.perf_counter()
            self.server.ping()
            times.append(time.perf_counter() - began)
        self.bare = statistics.median(times)
        print(f"\n{self.crowd} workers, {self.rounds} turns each, {HELD * 1000:g} ms held")
        print(f"a bare round trip after so long: {self.bare * 1e6:.0f} us")
        print(f"{'':20}{'hand-over':>13}{'of bare':>10}{'worst wait':>13}{'of ideal':>11}{'asked':>8}{'alone':>11}")

    def commands(self) -> int:
        """Give how many commands the server has run."""
        said: Any = self.server.info("stats")
        return int(said["total_commands_processed"])

    def show(self, name: str, turns: Turns, asked: int, microseconds: float) -> None:
        """Print a contender's row."""
        ideal = self.crowd * self.rounds * HELD
        middle = statistics.median(turns.hand_overs)
        print(
            f"{name:20}{middle * 1000:10.2f} ms{middle / self.bare:8.1f} x{max(turns.waits) * 1000:10.0f} ms"
            f"{turns.took / ideal:9.2f} x{asked / self.crowd / self.rounds:8.1f}{microseconds:8.0f} us",
            flush=True,
        )

    def threads(self, name: str, hold: Callable[[], contextlib.AbstractContextManager[object]]) -> None:
        """Run a contender in threads."""
        before = self.commands()
        turns = in_threads(hold, self.crowd, self.rounds)
        self.show(name, turns, self.commands() - before - 1, alone(hold))

    async def tasks(self, name: str, hold: Callable[[], contextlib.AbstractAsyncContextManager[object]]) -> None:
        """Run a contender in tasks."""
        before = self.commands()
        turns = await in_tasks(hold, self.crowd, self.rounds)
        self.show(name, turns, self.commands() - before - 1, await alone_in_a_task(hold))


def main() -> None:
    """Run all contenders."""
    peer: Any = optional("redis_lock")
    pottery: Any = optional("pottery")
    with server() as running, redis.Redis(unix_socket_path=running.socket_path) as client:
        for crowd, rounds in CROWDS:
            table = Table(client, crowd, rounds)
            table.begin()
            with Driver.connect(running.url) as driver:
                for lock in (Lock("hand-over"), FairLock("hand-over")):
                    table.threads(f"ours, {type(lock).__name__}, sync", partial(driver.hold, lock, wait=60))
            table.threads("redis-py", lambda: client.lock("redis-py", timeout=10))
            if peer is not None:
                table.threads("python-redis-lock", lambda: peer.Lock(client, "python-redis-lock", expire=10))
            if pottery is not None:

                @contextlib.contextmanager
                def redlock() -> Generator[None]:
                    with pottery.Redlock(key="pottery", masters={client}, auto_release_time=10):
                        yield

                table.threads("pottery", redlock)
            asyncio.run(_asyncio(running.socket_path, table))


async def _asyncio(path: str, table: Table) -> None:
    async with redis_patterns.asyncio.Driver.connect(f"unix://{path}") as driver:
        for lock in (Lock("hand-over-asyncio"), FairLock("hand-over-asyncio")):
            await table.tasks(f"ours, {type(lock).__name__}, aio", partial(driver.hold, lock, wait=60))
    async with redis.asyncio.Redis(unix_socket_path=path) as client:
        await table.tasks("redis.asyncio", lambda: client.lock("redis-asyncio", timeout=10))


if __name__ == "__main__":
    main()
