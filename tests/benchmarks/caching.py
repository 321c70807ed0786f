"""Caches: hits, and a crowd of processes that all miss one key at the same time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import redis
import redis.asyncio

import redis_patterns.asyncio
from redis_patterns import Cache
from redis_patterns.sync import Driver
from tests.benchmarks import peers
from tests.benchmarks.harness import Case, Contender, Work, noted
from tests.benchmarks.lab import Group, Lab
from tests.benchmarks.tables import Table, tabulate
from tests.benchmarks.workload import calling

__all__ = ["GROUP"]

PROCESSES, TASKS, LOADER = 4, 50, 0.05
VALUE = {"id": 7, "name": "Ann", "tags": ["a", "b"], "score": 1.5}

AsyncHit = Callable[[int], Awaitable[Any]]
"""Gets the value of a key, which is a number."""
BARE = "bare GET, redis-py"
KINDS = {"ours": "", "cashews": "cashews", "cashews, locked": "cashews"} | {
    "aiocache": "aiocache",
    "aiocache, stampede": "aiocache",
}
"""Each with the package that it takes."""


async def opened(kind: str, url: str, load: Callable[[], Awaitable[Any]], stack: AsyncExitStack) -> AsyncHit:
    """Give what gets one cached value by a library."""
    if kind == "ours":
        driver = await stack.enter_async_context(redis_patterns.asyncio.Driver.connect(url))
        cache: Cache[Any] = Cache("bench", ttl=60)
        return lambda number: driver.run(cache.load(f"key-{number}", load))

    async def read(number: int) -> Any:
        del number
        return await load()

    if kind.startswith("cashews"):
        theirs = peers.optional("cashews").Cache()
        theirs.setup(url)
        await theirs.init()
        stack.push_async_callback(theirs.close)
        made: AsyncHit = theirs(ttl="60s", key=f"bench-{kind[7:]}-{{number}}", lock=kind.endswith("locked"))(read)
        return made
    aiocache: Any = peers.optional("aiocache")
    host, _, port = url.removeprefix("redis://").rstrip("/0").partition(":")
    options: dict[str, Any] = {
        "ttl": 60,
        "cache": aiocache.Cache.REDIS,
        "key_builder": lambda _, number: f"bench-{kind}-{number}",
        "endpoint": host,
        "port": int(port.partition("/")[0]),
        "serializer": peers.optional("aiocache.serializers").JsonSerializer(),
        "pool_max_size": 100,
    }
    stampede = kind.endswith("stampede")
    decorated: AsyncHit = (aiocache.cached_stampede(lease=5, **options) if stampede else aiocache.cached(**options))(
        read
    )
    return decorated


def _hits(url: str, tasks: int) -> Case:
    """Give the case of a hit by so many tasks at once, each with a key of its own."""

    async def load() -> Any:
        return VALUE

    def contender(name: str, package: str) -> Contender:
        @contextlib.asynccontextmanager
        async def opening() -> AsyncGenerator[Work]:
            async with AsyncExitStack() as stack:
                if name == BARE:
                    client = await stack.enter_async_context(redis.asyncio.Redis.from_url(url))
                    await client.set("plain", json.dumps(VALUE))
                    hit: AsyncHit = lambda _: client.get("plain")  # noqa: E731  one of two ways to make it
                else:
                    hit = await opened(name, url, load, stack)

                async def some(count: int, number: int) -> None:
                    for _ in range(count):
                        await hit(number)

                async def work(count: int) -> None:
                    await asyncio.gather(*[some(count // tasks, number) for number in range(tasks)])

                await work(tasks)
                yield work

        return Contender(name, opening, peers.absent(package) if package else "")

    rows = [contender(BARE, ""), *(contender(name, package) for name, package in KINDS.items())]
    title = f"a hit of a cache, {tasks} task{'s' if tasks > 1 else ''} of asyncio"
    return Case(f"hit-asyncio-{tasks}", title, BARE, rows, "asyncio", tasks, "same" if tasks == 1 else "apart")


def _sync_hits(url: str) -> Case:
    @contextlib.asynccontextmanager
    async def plain() -> AsyncGenerator[Work]:
        with redis.Redis.from_url(url) as client:
            client.set("plain", json.dumps(VALUE))
            yield calling(client.get, "plain")

    @contextlib.asynccontextmanager
    async def ours() -> AsyncGenerator[Work]:
        with Driver.connect(url) as driver:
            cache: Cache[Any] = Cache("bench-sync", ttl=60)
            yield calling(lambda: driver.run(cache.load("key", lambda: VALUE)))

    @contextlib.asynccontextmanager
    async def dogpile() -> AsyncGenerator[Work]:
        region = peers.optional("dogpile.cache").make_region()
        region.configure("dogpile.cache.redis", 60, arguments={"url": url})
        yield calling(region.get_or_create, "key", lambda: VALUE)

    rows = [
        Contender(BARE, plain),
        Contender("ours", ours),
        Contender("dogpile.cache", dogpile, peers.absent("dogpile.cache")),
    ]
    return Case("hit-sync", "a hit of a cache, in synchronous code", BARE, rows)


async def _member(kind: str, url: str, log: str) -> None:
    """Be one process of the crowd: wait for a line, then let all tasks want the key."""

    def note() -> None:
        with Path(log).open("a") as file:
            file.write("x")

    async def load() -> Any:
        note()
        await asyncio.sleep(LOADER)
        return VALUE

    async with AsyncExitStack() as stack:
        get = await opened(kind, url, load, stack)
        await asyncio.sleep(0.1)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        waits: list[float] = []

        async def want() -> None:
            began = time.perf_counter()
            await get(0)
            waits.append(time.perf_counter() - began)

        await asyncio.gather(*[want() for _ in range(TASKS)])
        print(f"{max(waits) * 1000:.1f}", flush=True)


def _crowd(lab: Lab) -> Table:
    """Let a crowd miss, by each library: the longest wait, how often the loader ran, the commands."""
    samples: dict[str, list[float]] = {}
    counted: dict[str, dict[str, list[float]]] = {}
    absent = {kind: why for kind, package in KINDS.items() if package and (why := peers.absent(package))}
    for _ in range(lab.of(7, 1)):
        for kind in KINDS:
            if kind not in absent:
                with noted(kind, absent):
                    worst, loads, commands = _missed(kind, lab)
                    samples.setdefault(kind, []).append(worst)
                    beside = counted.setdefault(kind, {"loads": [], "commands": []})
                    beside["loads"].append(loads)
                    beside["commands"].append(commands)
    return tabulate(
        "crowd",
        f"the longest wait of {PROCESSES} processes, {TASKS} tasks each, that miss one key; loading takes "
        f"{LOADER * 1000:g} ms",
        samples,
        ours="ours",
        unit="ms",
        counted={kind: {what: max(seen) for what, seen in own.items()} for kind, own in counted.items()},
        absent=absent,
    )


def _missed(kind: str, lab: Lab) -> tuple[float, int, int]:
    with redis.Redis.from_url(lab.server.tcp_url) as client, tempfile.TemporaryDirectory() as folder:
        client.flushall()
        log = Path(folder) / "log"
        members = [peers.start("", "caching", kind, lab.server.tcp_url, str(log)) for _ in range(PROCESSES)]
        try:
            for one in members:
                if one.stdout is None or one.stdin is None or one.stdout.readline().strip() != "ready":
                    raise RuntimeError("a process of the crowd did not begin")
            before: Any = client.info("stats")
            for one in members:
                if one.stdin is not None:
                    one.stdin.write("\n")
                    one.stdin.flush()
            worst = max(peers.said(one, 30) for one in members)
            after: Any = client.info("stats")
        finally:
            for one in members:
                one.kill()
                one.wait()
        commands = after["total_commands_processed"] - before["total_commands_processed"] - 1
        return worst, len(log.read_text()), commands


def _tables(lab: Lab) -> Iterator[Table]:
    yield from lab.measure(
        [_sync_hits(lab.server.tcp_url), _hits(lab.server.tcp_url, 1), _hits(lab.server.tcp_url, 64)]
    )
    yield _crowd(lab)


GROUP = Group(
    "caching",
    "Caching",
    "A hit, over TCP, against a bare GET of the same bytes by redis-py; then a crowd of processes that want one "
    "missing key at the same moment: how long the last one waits, the most that the loader ran and the commands that "
    "all sent.",
    _tables,
)


if __name__ == "__main__":
    asyncio.run(_member(*sys.argv[1:]))
