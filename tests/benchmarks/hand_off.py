"""Measure how a lock goes from one holder to the next, against other libraries' locks.

    python tests/benchmarks/hand_off.py

Eight workers want one lock again and again, and hold it for a moment. A hand-over is the time from when the holder
begins to give it back until the next one has it. It starts a private server, and ends by itself. Peers that are not
installed are left out; they come with ``pip install -r tests/benchmarks/requirements.txt``.
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
from pathlib import Path
from typing import Any

import redis
import redis.asyncio

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import redis_patterns.asyncio
from redis_patterns import Lock
from redis_patterns.sync import Driver
from redis_patterns.testing import server
from tests.benchmarks.workload import optional

WORKERS = 8
TURNS = 12
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


def in_threads(hold: Callable[[], contextlib.AbstractContextManager[object]]) -> Turns:
    """Let threads take turns; what `hold` makes is entered to acquire, and left to release."""
    turns, ready = Turns(), threading.Barrier(WORKERS + 1)

    def work() -> None:
        ready.wait()
        for _ in range(TURNS):
            wanted = time.perf_counter()
            with hold():
                turns.taken(wanted)
                time.sleep(HELD)
                turns.gives_back()

    workers = [threading.Thread(target=work) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    ready.wait()
    began = time.perf_counter()
    for worker in workers:
        worker.join(120)
    turns.took = time.perf_counter() - began
    return turns


async def in_tasks(hold: Callable[[], contextlib.AbstractAsyncContextManager[object]]) -> Turns:
    """Let tasks take turns."""
    turns = Turns()

    async def work() -> None:
        for _ in range(TURNS):
            wanted = time.perf_counter()
            async with hold():
                turns.taken(wanted)
                await asyncio.sleep(HELD)
                turns.gives_back()

    began = time.perf_counter()
    await asyncio.gather(*[work() for _ in range(WORKERS)])
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


def show(name: str, turns: Turns, microseconds: float | None) -> None:
    """Print a contender's row."""
    ideal = WORKERS * TURNS * HELD
    middle = statistics.median(turns.hand_overs) * 1000
    lone = "" if microseconds is None else f"{microseconds:9.0f} us"
    waited, total = max(turns.waits) * 1000, turns.took / ideal
    print(f"{name:24}{middle:10.2f} ms{waited:12.0f} ms{total:10.2f} x{lone:>14}", flush=True)


def main() -> None:
    """Run all contenders."""
    peer: Any = optional("redis_lock")
    pottery: Any = optional("pottery")
    print(f"{WORKERS} workers, {TURNS} turns each, {HELD * 1000:g} ms held")
    print(f"{'':24}{'hand-over':>13}{'worst wait':>15}{'of ideal':>12}{'alone':>14}")
    with server() as running, redis.Redis(unix_socket_path=running.socket_path) as client:
        with Driver.connect(running.url) as driver:
            lock = Lock("hand-over")
            hold = lambda: driver.hold(lock, wait=60)  # noqa: E731  it is told below too, without renewal
            show("ours, sync", in_threads(hold), alone(lambda: driver.hold(lock, wait=60, renew=False)))
        show(
            "redis-py",
            in_threads(lambda: client.lock("redis-py", timeout=10)),
            alone(lambda: client.lock("redis-py", timeout=10)),
        )
        if peer is not None:
            ours = lambda: peer.Lock(client, "python-redis-lock", expire=10)  # noqa: E731  for both columns
            show("python-redis-lock", in_threads(ours), alone(ours))
        if pottery is not None:

            @contextlib.contextmanager
            def redlock() -> Generator[None]:
                with pottery.Redlock(key="pottery", masters={client}, auto_release_time=10):
                    yield

            show("pottery", in_threads(redlock), alone(redlock))
        asyncio.run(_asyncio(running.socket_path))


async def _asyncio(path: str) -> None:
    async with redis_patterns.asyncio.Driver.connect(f"unix://{path}") as driver:
        lock = Lock("hand-over-asyncio")
        show("ours, asyncio", await in_tasks(lambda: driver.hold(lock, wait=60)), None)
    async with redis.asyncio.Redis(unix_socket_path=path) as client:
        show("redis.asyncio", await in_tasks(lambda: client.lock("redis-asyncio", timeout=10)), None)


if __name__ == "__main__":
    main()
