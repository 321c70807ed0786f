"""Rate limits: one hit, by each algorithm, against other libraries' same or nearest one.

Each contender goes round the same 1024 ids, so that no hit is refused: a refusal is another, cheaper, path.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

import redis
import redis.asyncio

import redis_patterns.asyncio
from redis_patterns import GCRA, FixedWindow, Limit, SlidingCounter, SlidingLog, TokenBucket
from redis_patterns.sync import Driver
from tests.benchmarks import peers
from tests.benchmarks.bench_sync import BARE
from tests.benchmarks.floors import Bare, JoinedAsyncio, Words
from tests.benchmarks.harness import Case, Contender, Work
from tests.benchmarks.lab import Group
from tests.benchmarks.workload import awaiting_built, calling_built

__all__ = ["GROUP", "in_tasks"]

JOINED = "bare joined connection"
IDS = [f"user-{number}" for number in range(1024)]
# Ten thousand hits a second and id: none is refused, and the log stays short.
PER_SECOND = 10_000


@dataclass(frozen=True)
class _Algorithm:
    """One of ours, and what the others call theirs.

    Parameters:
        ours: the limit.
        limits: its strategy in limits.
        throttled: the name of its algorithm in throttled-py.
        pyrate: whether pyrate-limiter's, which is a log, is the same.
    """

    ours: Limit
    limits: str = ""
    throttled: str = ""
    pyrate: bool = False


ALGORITHMS = {
    "fixed": _Algorithm(FixedWindow("b", limit=PER_SECOND, per=1), "FixedWindowRateLimiter", "fixed_window"),
    "log": _Algorithm(SlidingLog("b", limit=PER_SECOND, per=1), "MovingWindowRateLimiter", "", pyrate=True),
    "counter": _Algorithm(
        SlidingCounter("b", limit=PER_SECOND, per=1), "SlidingWindowCounterRateLimiter", "sliding_window"
    ),
    "bucket": _Algorithm(TokenBucket("b", capacity=PER_SECOND, refill_rate=PER_SECOND), "", "token_bucket"),
    "gcra": _Algorithm(GCRA("b", limit=PER_SECOND, per=1, burst=PER_SECOND), "", "gcra"),
}


def _cases(path: str) -> list[Case]:
    """Give the cases, for the server on a unix socket."""
    found: list[Case] = []
    for name, algorithm in ALGORITHMS.items():
        title = f"one hit of a {type(algorithm.ours).__name__}"
        rows = [_bare(path, algorithm), _ours(path, algorithm), *_sync_peers(path, algorithm)]
        found.append(Case(f"limits-sync-{name}", f"{title}, in synchronous code", BARE, rows))
        for tasks in (1, 64):
            floor = _bare(path, algorithm) if tasks == 1 else _joined(path, algorithm)
            rows = [floor, _ours_async(path, algorithm), *_async_peers(path, algorithm, tasks)]
            if tasks > 1:
                rows = [in_tasks(row, tasks) for row in rows]
            by = f"{title}, {tasks} task{'' if tasks == 1 else 's'} of asyncio"
            where = "same" if tasks == 1 else "apart"
            found.append(Case(f"limits-asyncio-{name}-{tasks}", by, floor.name, rows, "asyncio", tasks, where))
    return found


def _hits(limit: Limit) -> Callable[[], Any]:
    ids = itertools.cycle(IDS)
    return lambda: limit.hit(next(ids))


def _words(limit: Limit) -> Callable[[], Words]:
    made = itertools.cycle([limit.hit(id).commands[0].args for id in IDS])
    return made.__next__


def _script(limit: Limit) -> str:
    script = limit.hit("x").commands[0].script
    if script is None:
        raise TypeError("a hit calls no script")
    return script.source


def _allowed(result: Any) -> None:
    """See to it that a hit was allowed, whoever said so."""
    if isinstance(result, list):
        result = result[0]
    if not getattr(result, "allowed", not getattr(result, "limited", not result)):
        raise AssertionError(f"a hit was refused: {result!r}")


def _bare(path: str, algorithm: _Algorithm) -> Contender:
    @contextlib.asynccontextmanager
    async def opening() -> AsyncGenerator[Work]:
        sock = Bare(path)
        try:
            sock.ask(("SCRIPT", "LOAD", _script(algorithm.ours)))
            _allowed(sock.ask(_words(algorithm.ours)()))
            yield calling_built(sock.ask, _words(algorithm.ours))
        finally:
            sock.close()

    return Contender(BARE, opening)


def _ours(path: str, algorithm: _Algorithm) -> Contender:
    @contextlib.asynccontextmanager
    async def opening() -> AsyncGenerator[Work]:
        with Driver.connect(f"unix://{path}") as driver:
            _allowed(driver.run(algorithm.ours.hit("x")))
            yield calling_built(driver.run, _hits(algorithm.ours))

    return Contender("ours", opening)


def _sync_peers(path: str, algorithm: _Algorithm) -> list[Contender]:
    limits: Any = peers.optional("limits")
    throttled: Any = peers.optional("throttled")
    pyrate: Any = peers.optional("pyrate_limiter")
    ids = itertools.cycle(IDS).__next__

    @contextlib.asynccontextmanager
    async def by_limits() -> AsyncGenerator[Work]:
        storage = limits.storage.storage_from_string(f"redis+unix://{path}")
        limiter = getattr(importing("limits.strategies"), algorithm.limits)(storage)
        item = limits.parse(f"{PER_SECOND}/second")
        _allowed(limiter.hit(item, algorithm.limits))
        yield calling_built(lambda user: limiter.hit(item, algorithm.limits, user), ids)

    @contextlib.asynccontextmanager
    async def by_throttled() -> AsyncGenerator[Work]:
        quota = throttled.rate_limiter.per_sec(PER_SECOND, burst=PER_SECOND)
        store = throttled.store.RedisStore(server=f"unix://{path}")
        limiter = throttled.Throttled(using=algorithm.throttled, quota=quota, store=store)
        _allowed(limiter.limit("x"))
        yield calling_built(limiter.limit, ids)

    @contextlib.asynccontextmanager
    async def by_pyrate() -> AsyncGenerator[Work]:
        with redis.Redis(unix_socket_path=path) as client:
            rates = [pyrate.Rate(PER_SECOND, pyrate.Duration.SECOND)]
            buckets = {id: pyrate.RedisBucket.init(rates, client, f"pyrate:{id}") for id in IDS}

            def hit(id: str) -> bool:
                put: bool = buckets[id].put(pyrate.RateItem(id, time.time_ns() // 1_000_000, weight=1))
                return put

            _allowed(hit(IDS[0]))
            yield calling_built(hit, ids)

    return _peers(algorithm, by_limits, by_throttled, by_pyrate)


def _joined(path: str, algorithm: _Algorithm) -> Contender:
    @contextlib.asynccontextmanager
    async def opening() -> AsyncGenerator[Work]:
        connection = await JoinedAsyncio.open(path)
        try:
            await connection.ask(("SCRIPT", "LOAD", _script(algorithm.ours)))
            yield awaiting_built(connection.ask, _words(algorithm.ours))
        finally:
            connection.close()

    return Contender(JOINED, opening)


def _ours_async(path: str, algorithm: _Algorithm) -> Contender:
    @contextlib.asynccontextmanager
    async def opening() -> AsyncGenerator[Work]:
        async with redis_patterns.asyncio.Driver.connect(f"unix://{path}") as driver:
            _allowed(await driver.run(algorithm.ours.hit("x")))
            yield awaiting_built(driver.run, _hits(algorithm.ours))

    return Contender("ours", opening)


def _async_peers(path: str, algorithm: _Algorithm, tasks: int) -> list[Contender]:
    limits: Any = peers.optional("limits")
    throttled: Any = peers.optional("throttled.asyncio")
    pyrate: Any = peers.optional("pyrate_limiter")
    ids = itertools.cycle(IDS).__next__

    @contextlib.asynccontextmanager
    async def by_limits() -> AsyncGenerator[Work]:
        storage = limits.storage.storage_from_string(
            f"async+redis+unix://{path}", implementation="redispy", max_connections=tasks + 1
        )
        limiter = getattr(importing("limits.aio.strategies"), algorithm.limits)(storage)
        item = limits.parse(f"{PER_SECOND}/second")
        _allowed(await limiter.hit(item, algorithm.limits))
        yield awaiting_built(lambda user: limiter.hit(item, algorithm.limits, user), ids)

    @contextlib.asynccontextmanager
    async def by_throttled() -> AsyncGenerator[Work]:
        quota = throttled.rate_limiter.per_sec(PER_SECOND, burst=PER_SECOND)
        store = throttled.store.RedisStore(server=f"unix://{path}")
        limiter = throttled.Throttled(using=algorithm.throttled, quota=quota, store=store)
        _allowed(await limiter.limit("x"))
        yield awaiting_built(limiter.limit, ids)

    @contextlib.asynccontextmanager
    async def by_pyrate() -> AsyncGenerator[Work]:
        async with redis.asyncio.Redis(unix_socket_path=path, max_connections=tasks + 1) as client:
            rates = [pyrate.Rate(PER_SECOND, pyrate.Duration.SECOND)]
            buckets = {id: await pyrate.RedisBucket.init(rates, client, f"pyrate:{id}") for id in IDS}

            async def hit(id: str) -> bool:
                put: bool = await buckets[id].put(pyrate.RateItem(id, time.time_ns() // 1_000_000, weight=1))
                return put

            _allowed(await hit(IDS[0]))
            yield awaiting_built(hit, ids)

    return _peers(algorithm, by_limits, by_throttled, by_pyrate)


def _peers(algorithm: _Algorithm, by_limits: Any, by_throttled: Any, by_pyrate: Any) -> list[Contender]:
    rows = [
        ("limits", algorithm.limits, by_limits),
        ("throttled-py", algorithm.throttled, by_throttled),
        ("pyrate-limiter", algorithm.pyrate, by_pyrate),
    ]
    return [Contender(name, opening, peers.absent(name)) for name, has, opening in rows if has]


def in_tasks(row: Contender, tasks: int) -> Contender:
    """Give a contender whose work is done by so many tasks of asyncio at the same time."""

    @contextlib.asynccontextmanager
    async def opening() -> AsyncGenerator[Work]:
        if row.opening is None:
            raise LookupError(row.absent)
        async with row.opening() as work:

            async def spread(count: int) -> None:
                await asyncio.gather(*[work(count // tasks) for _ in range(tasks)])

            yield spread

    return Contender(row.name, opening, row.absent)


def importing(name: str) -> Any:
    """Import a peer's module that is there."""
    return peers.optional(name)


GROUP = Group(
    "limits",
    "Rate limits",
    "One hit that is allowed, by each algorithm, against the same or the nearest one of other libraries; 1,024 ids in "
    "turn, and our plan is built for each hit. The floor sends the same script on a bare socket, or on one connection "
    "that all tasks share.",
    lambda lab: lab.measure(_cases(lab.server.socket_path)),
)
