"""Measure caches against other libraries': hits, and a crowd of processes that all miss.

    python tests/benchmarks/caching.py

It starts a private server on the loopback interface, and ends by itself. Hits are medians of rounds that take turns,
also as multiples of a bare ``GET`` by redis-py. The crowd is four processes with fifty tasks each that want one missing
key at the same time, whose loader takes 50 ms. Peers that are not installed are left out; they come with
``pip install -r tests/benchmarks/requirements.txt``.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import redis
import redis.asyncio

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import redis_patterns.asyncio
from redis_patterns import Cache
from redis_patterns.sync import Driver
from redis_patterns.testing import server
from tests.benchmarks.workload import optional

ROUNDS = 9
CALLS = 1500
PROCESSES, TASKS, LOADER = 4, 50, 0.05
VALUE = {"id": 7, "name": "Ann", "tags": ["a", "b"], "score": 1.5}

AsyncHit = Callable[[int], Awaitable[Any]]
"""Gets the value of a key, which is a number."""
KINDS = ["ours", "cashews", "cashews, locked", "aiocache", "aiocache, stampede"]


async def opened(kind: str, url: str, load: Callable[[], Awaitable[Any]], stack: AsyncExitStack) -> AsyncHit | None:
    """Give what gets one cached value by a library, or nothing where that is not installed."""
    cashews: Any = optional("cashews")
    aiocache: Any = optional("aiocache")
    if kind == "ours":
        driver = await stack.enter_async_context(redis_patterns.asyncio.Driver.connect(url))
        cache: Cache[Any] = Cache("bench", ttl=60)
        return lambda number: driver.run(cache.load(f"key-{number}", load))
    if kind.startswith("cashews") and cashews is not None:
        theirs = cashews.Cache()
        theirs.setup(url)
        await theirs.init()
        stack.push_async_callback(theirs.close)

        async def get(number: int) -> Any:
            del number
            return await load()

        made: AsyncHit = theirs(ttl="60s", key=f"bench-{kind[7:]}-{{number}}", lock=kind.endswith("locked"))(get)
        return made
    if kind.startswith("aiocache") and aiocache is not None:
        host, _, port = url.removeprefix("redis://").rstrip("/0").partition(":")
        serializer = __import__("aiocache.serializers", fromlist=["JsonSerializer"]).JsonSerializer()
        options: dict[str, Any] = {
            "ttl": 60,
            "cache": aiocache.Cache.REDIS,
            "key_builder": lambda _, number: f"bench-{kind}-{number}",
            "endpoint": host,
            "port": int(port.partition("/")[0]),
            "serializer": serializer,
            "pool_max_size": 100,
        }

        async def read(number: int) -> Any:
            del number
            return await load()

        stampede = kind.endswith("stampede")
        decorated: AsyncHit = (
            aiocache.cached_stampede(lease=5, **options) if stampede else aiocache.cached(**options)
        )(read)
        return decorated
    return None


async def hits(url: str, crowd: int) -> None:
    """Print how long a hit takes, of so many tasks at once, each with a key of its own."""

    async def load() -> Any:
        return VALUE

    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(redis.asyncio.Redis.from_url(url))
        await client.set("plain", json.dumps(VALUE))
        contenders: dict[str, AsyncHit] = {"bare GET, redis.asyncio": lambda _: client.get("plain")}
        for kind in KINDS:
            made = await opened(kind, url, load, stack)
            if made is not None:
                contenders[kind] = made
        for hit in contenders.values():
            for number in range(64):
                await hit(number)
        times: dict[str, list[float]] = {name: [] for name in contenders}

        async def some(hit: AsyncHit, count: int, number: int) -> None:
            for _ in range(count):
                await hit(number)

        for _ in range(ROUNDS):
            for name, hit in contenders.items():
                began = time.perf_counter()
                await asyncio.gather(
                    *[some(hit, CALLS // crowd // (1 if crowd > 1 else 3), number) for number in range(crowd)]
                )
                calls = crowd * (CALLS // crowd // (1 if crowd > 1 else 3))
                times[name].append((time.perf_counter() - began) / calls)
    show(f"asyncio, {crowd} task{'s' if crowd > 1 else ''}: a hit", times)


def sync_hits(url: str) -> None:
    """Print how long a hit takes in synchronous code."""
    dogpile: Any = optional("dogpile.cache")
    with Driver.connect(url) as driver, redis.Redis.from_url(url) as client:
        cache: Cache[Any] = Cache("bench-sync", ttl=60)
        client.set("plain", json.dumps(VALUE))
        contenders: dict[str, Callable[[], Any]] = {
            "bare GET, redis-py": lambda: client.get("plain"),
            "ours": lambda: driver.run(cache.load("key", lambda: VALUE)),
        }
        if dogpile is not None:
            region = dogpile.make_region().configure("dogpile.cache.redis", 60, arguments={"url": url})
            contenders["dogpile.cache"] = lambda: region.get_or_create("key", lambda: VALUE)
        for hit in contenders.values():
            hit()
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(ROUNDS):
            for name, hit in contenders.items():
                began = time.perf_counter()
                for _ in range(CALLS // 3):
                    hit()
                times[name].append((time.perf_counter() - began) / (CALLS // 3))
    show("sync: a hit", times)


def show(title: str, times: dict[str, list[float]]) -> None:
    """Print medians, and multiples of the first."""
    print(f"\n{title}")
    bare = statistics.median(next(iter(times.values())))
    for name, taken in times.items():
        middle = statistics.median(taken)
        print(f"  {name:26}{middle * 1e6:8.1f} us{middle / bare:8.2f} x", flush=True)


async def member(kind: str, url: str, log: str) -> None:
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
        if get is None:
            print("absent", flush=True)
            return
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


def crowd(kind: str) -> None:
    """Print what a crowd that misses costs by a library."""
    with server(tcp=True) as running, tempfile.TemporaryDirectory() as folder:
        assert running.tcp_url is not None
        log = Path(folder) / "log"
        members = [
            subprocess.Popen(
                [sys.executable, __file__, "--member", kind, running.tcp_url, str(log)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(PROCESSES)
        ]
        try:
            said = [str(one.stdout and one.stdout.readline()).strip() for one in members]
            if "ready" not in said:
                print(f"  {kind:26}absent")
                return
            with redis.Redis.from_url(running.tcp_url) as client:
                before: Any = client.info("stats")
                for one in members:
                    assert one.stdin is not None
                    one.stdin.write("\n")
                    one.stdin.flush()
                worst = max(float(one.communicate(timeout=30)[0]) for one in members)
                after: Any = client.info("stats")
        finally:
            for one in members:
                one.kill()
                one.wait()
        asked = after["total_commands_processed"] - before["total_commands_processed"] - 1
        print(f"  {kind:26}{len(log.read_text()):3} loads, all within {worst:6.1f} ms, {asked:5} commands", flush=True)


def main() -> None:
    """Run everything."""
    with server(tcp=True) as running:
        assert running.tcp_url is not None
        sync_hits(running.tcp_url)
        for tasks in (1, 64):
            asyncio.run(hits(running.tcp_url, tasks))
    print(f"\n{PROCESSES} processes with {TASKS} tasks each miss one key; the loader takes {LOADER * 1000:g} ms")
    for kind in KINDS:
        for _ in range(3):
            crowd(kind)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--member"]:
        asyncio.run(member(*sys.argv[2:]))
    else:
        main()
