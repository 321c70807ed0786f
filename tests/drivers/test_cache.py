"""Caches through every driver, and what only a real server with several processes shows."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import redis_patterns
import redis_patterns_core
from redis_patterns import MISS, Cache, ConfigurationError, Sleep, Steps, flow
from redis_patterns._async import AsyncDriver
from redis_patterns.asyncio import Driver as AsyncioDriver
from redis_patterns.sync import Driver
from redis_patterns.testing import Server, server
from redis_patterns.testing.memory import Server as Memory
from redis_patterns.trio import Driver as TrioDriver
from redis_patterns_core.keys import escape_glob
from tests.drivers.conftest import Connect
from tests.drivers.faces import Face
from tests.drivers.plans import reads, sets

pytestmark = pytest.mark.anyio


class Source:
    """A database that counts how often it was asked."""

    def __init__(self, value: Any = 1) -> None:
        self.value = value
        self.asked = 0

    def read(self) -> Any:
        self.asked += 1
        return self.value


async def test_values_are_values(redis: Face, namespace: str) -> None:
    """None, False, 0 and "" are found again, each by its own type, in one command with their TTL."""
    cache: Cache[Any] = Cache("x", ttl=60, namespace=namespace)
    values: list[Any] = [None, False, 0, "", [], {}, -5, "123", 1.5, {"a": [1, None]}]
    for number, value in enumerate(values):
        source = Source(value)
        for _ in range(2):
            got = await redis.run(cache.load(f"k{number}", source.read))
            assert got == value
            assert type(got) is type(value)
        assert source.asked == 1
        assert await redis.run(cache.get(f"k{number}")) == value
    assert await redis.run(cache.get("nothing")) is MISS
    assert await redis.run(cache.ttl_of("nothing")) is None
    left = await redis.run(cache.ttl_of("k0"))
    assert left is not None
    assert 50 < left <= 60


async def test_setting_and_forgetting(redis: Face, namespace: str) -> None:
    """One and several, with another TTL, prolonged, and removed."""
    cache: Cache[int] = Cache("x", ttl=60, namespace=namespace)
    await redis.run(cache.set_many({"a": 1, "b": 2}))
    await redis.run(cache.set("c", 3, ttl=5))
    assert await redis.run(cache.get_many(["a", "b", "c", "d"])) == {"a": 1, "b": 2, "c": 3}
    assert await redis.run(cache.touch("c", 100)) is True
    assert await redis.run(cache.touch("d")) is False
    assert 90 < (await redis.run(cache.ttl_of("c")) or 0) <= 100
    await redis.run(cache.set("e", 5, ttl=5, tags=["t", "u"]))
    assert await redis.run(cache.touch("e", 100)) is True
    await redis.run(cache.invalidate_tags("u"))
    assert await redis.run(cache.touch("e", 100)) is False
    assert await redis.run(cache.invalidate("a", "c", "d")) == 2
    assert await redis.run(cache.get_many(["a", "b", "c"])) == {"b": 2}
    assert await redis.run(cache.refresh("b", lambda: 7)) == 7
    assert await redis.run(cache.get("b")) == 7
    await redis.run(cache.set_many({}))
    assert await redis.run(cache.get_many([])) == {}


async def test_many_are_loaded_in_one_call(redis: Face, namespace: str) -> None:
    """Those that are missing, once each; those that there are none of are not stored."""
    cache: Cache[str] = Cache("x", ttl=60, namespace=namespace)
    calls: list[list[str]] = []

    def load(keys: Any) -> dict[str, str]:
        calls.append(list(keys))
        return {key: key.upper() for key in keys if key != "none"}

    await redis.run(cache.set("b", "old"))
    for _ in range(2):
        got = await redis.run(cache.load_many(["a", "b", "none", "c", "a"], load))
        assert got == {"a": "A", "b": "old", "c": "C"}
    assert calls == [["a", "none", "c"], ["none"]]


async def test_tags_and_clearing(redis: Face, namespace: str) -> None:
    """A tag forgets what was stored with it, in any cache of the namespace; a cache forgets all at once."""
    users: Cache[int] = Cache("users", ttl=60, namespace=namespace)
    pages: Cache[int] = Cache("pages", ttl=60, namespace=namespace, clearable=True)
    await redis.run(users.set("ann", 1, tags=["user:ann"]))
    await redis.run(users.set("bob", 2, tags=["user:bob"]))
    await redis.run(pages.load("front", lambda: 3, tags=["user:ann", "user:bob"]))
    assert await redis.run(users.get_many(["ann", "bob"])) == {"ann": 1, "bob": 2}
    assert await redis.run(pages.get("front")) == 3
    await redis.run(users.invalidate_tags("user:ann"))
    assert await redis.run(users.get_many(["ann", "bob"])) == {"bob": 2}
    assert await redis.run(pages.get("front")) is MISS
    assert await redis.run(pages.load("front", lambda: 4, tags=["user:ann"])) == 4
    assert await redis.run(pages.load("front", lambda: 5, tags=["user:ann"])) == 4
    await redis.run(pages.clear())
    assert await redis.run(pages.load("front", lambda: 6)) == 6
    assert await redis.run(users.get("bob")) == 2


async def test_what_was_loaded_before_an_invalidation_is_not_stored(redis: Face, namespace: str) -> None:
    """Its caller gets it; the next one gets what is there now. By key, by tag, by storing, and by clearing."""
    cache: Cache[int] = Cache("x", ttl=60, namespace=namespace, clearable=True)
    ways: list[Callable[[], Any]] = [
        lambda: cache.invalidate("k"),
        lambda: cache.invalidate_tags("t"),
        cache.clear,
        lambda: cache.set("k", 2, tags=["t"]),
    ]
    for way in ways:
        await redis.run(cache.invalidate("k"))
        assert await redis.run(cache.load("k", _meanwhile(redis, way), tags=["t"])) == 1
        assert await redis.run(cache.load("k", lambda: 2, tags=["t"])) == 2
        assert await redis.run(cache.get("k")) == 2


def _meanwhile(redis: Face, way: Callable[[], Any]) -> Any:
    """Give a loader during which something happens."""

    def steps() -> Any:
        yield from way()
        return 1

    return redis_patterns.Flow("loader", steps)


async def test_by_pattern(redis: Face, namespace: str) -> None:
    """All that match, on every node of a cluster, whatever else there is; a user's text matches itself only."""
    cache: Cache[int] = Cache("x*", ttl=60, namespace=f"{namespace}[a]")
    other: Cache[int] = Cache("xy", ttl=60, namespace=f"{namespace}[a]")
    keys = [f"user:{number}" for number in range(600)]
    await redis.run(cache.set_many(dict.fromkeys(keys, 1)))
    await redis.run(cache.set_many({"team:1": 2, "user*": 3, "{user}": 4}))
    await redis.run(other.set("user:1", 5))
    assert await redis.run(cache.invalidate_matching(escape_glob("user*"))) == 1
    assert await redis.run(cache.invalidate_matching("{*}")) == 1
    assert await redis.run(cache.invalidate_matching("user:*")) == 600
    assert await redis.run(cache.get_many([*keys, "team:1", "user*"])) == {"team:1": 2}
    assert await redis.run(other.get("user:1")) == 5
    await redis.run(cache.set_many({"user:1": 1, "user:1:page": 2, "feed": 3, "user:2": 4}, tags=["a"]))
    await redis.run(cache.set("friends", 5, tags=["user:1"]))
    await redis.run(cache.forget("user:1", "feed", tags=["user:1"], matching=["user:1:*"]))
    assert await redis.run(cache.get_many(["user:1", "user:1:page", "feed", "friends", "user:2"])) == {"user:2": 4}


async def test_writing_through(redis: Face, namespace: str) -> None:
    """Saved first, and stored then; nothing is stored where saving fails, or others write or read at the same time."""
    cache: Cache[Any] = Cache("x", ttl=60, namespace=namespace, clearable=True)
    saved: list[Any] = []
    assert await redis.run(cache.write("k", 1, saved.append, tags=["t"])) is True
    assert await redis.run(cache.get("k")) == 1

    def fail(_: object) -> None:
        raise OSError("the database is away")

    with pytest.raises(OSError, match="database"):
        await redis.run(cache.write("k", 2, fail))
    assert await redis.run(cache.get("k")) is MISS

    def meanwhile(what: Any) -> Callable[[Any], Any]:
        def save(value: Any) -> Any:
            def steps() -> Any:
                yield from what()
                saved.append(value)

            return redis_patterns.Flow("save", steps)

        return save

    others: list[tuple[Any, bool]] = [
        (lambda: cache.load("k", lambda: 0), True),
        (lambda: cache.write("k", 4, saved.append), False),
        (lambda: cache.invalidate("k"), False),
        (lambda: cache.set("k", 0), False),
    ]
    for what, stored in others:
        assert await redis.run(cache.write("k", 3, meanwhile(what))) is stored
        assert await redis.run(cache.get("k")) == (3 if stored else MISS)
    assert await redis.run(cache.write("k", MISS, saved.append)) is False
    assert await redis.run(cache.get("k")) is MISS
    assert saved == [1, 3, 4, 3, 3, 3, MISS]
    await redis.run(cache.write("k", 5, saved.append, tags=["t"]))
    await redis.run(cache.invalidate_tags("t"))
    assert await redis.run(cache.get("k")) is MISS


async def test_a_loader_that_fails(redis: Face, namespace: str) -> None:
    """Its error is the caller's, and nothing is left that would keep the next one waiting."""
    cache: Cache[int] = Cache("x", ttl=60, namespace=namespace)

    def fail() -> int:
        raise ValueError("the database is away")

    for _ in range(2):
        with pytest.raises(ValueError, match="database"):
            await redis.run(cache.load("k", fail))
    assert await redis.run(cache.load("k", lambda: 1)) == 1


async def test_bytes_that_cannot_be_read(redis: Face, namespace: str) -> None:
    """They are a miss, counted, and are stored over."""
    told = list[str]()
    cache: Cache[Any] = Cache("x", ttl=60, namespace=namespace, on_event=lambda event, _: told.append(event))
    await redis.run(cache.set("k", 1))
    entry = await redis.run(reads("GET", cache.key("k")))
    assert isinstance(entry, bytes)
    broken = [b"garbage", b"", entry[:20], entry[:-1] + b"}", entry.replace(b"json", b"what"), b"V" + entry[1:40]]
    for data in broken:
        await redis.run(sets("SET", cache.key("k"), data, "PX", 60_000))
        assert await redis.run(cache.get("k")) is MISS
        assert await redis.run(cache.load("k", lambda: 2)) == 2
        assert await redis.run(cache.get("k")) == 2
    assert told.count("unreadable") >= len(broken)


@pytest.mark.renews
async def test_a_crowd_loads_once(redis: Face, namespace: str) -> None:
    """Many who want the same at the same time share one loader, which is not asked a second time."""
    cache: Cache[int] = Cache("x", ttl=60, namespace=namespace)
    source, got = Source(7), list[int]()

    async def want() -> None:
        got.append(await redis.run(cache.load("k", source.read)))

    async with anyio.create_task_group() as tasks:
        for _ in range(30):
            tasks.start_soon(want)
    assert got == [7] * 30
    assert source.asked == 1


@pytest.mark.renews
async def test_nobody_waits_for_a_loader_without_a_bound(redis: Face, namespace: str) -> None:
    """In one process too: who has waited for `wait` loads for itself, and that is not stored."""
    told = list[str]()
    cache: Cache[str] = Cache(namespace, ttl=60, wait=0.02, on_event=lambda event, _: told.append(event))
    begun, done, got = list[int](), list[int](), list[str]()

    @flow
    def slow() -> Steps[str]:
        begun.append(1)
        while not done:
            yield from Sleep(0.005)
        return "slow"

    async def load() -> None:
        got.append(await redis.run(cache.load("k", slow())))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(load)
        while not begun:
            await anyio.sleep(0.001)
        assert await redis.run(cache.load("k", lambda: "fast")) == "fast"
        done.append(1)
    assert got == ["slow"]
    assert await redis.run(cache.get("k")) == "slow"
    assert told == ["miss", "gave_up_waiting", "hit"]


@pytest.mark.renews
async def test_loaders_that_want_each_others_keys(redis: Face, namespace: str) -> None:
    """They do not wait for each other for ever."""
    cache: Cache[str] = Cache(namespace, ttl=60, wait=0.02)
    begun, got = list[str](), list[str]()

    @flow
    def loader(key: str, other: str) -> Steps[str]:
        begun.append(key)
        while len(begun) < 2:
            yield from Sleep(0.005)
        return key + (yield from cache.load(other, lambda: f"({other} alone)"))

    async def load(key: str, other: str) -> None:
        got.append(await redis.run(cache.load(key, loader(key, other))))

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(load, "a", "b")
            tasks.start_soon(load, "b", "a")
    # One of them may be done when the other looks again.
    assert {"a(b alone)", "b(a alone)"} & set(got)
    assert len(got) == 2


async def test_stale_values(connect: Connect, namespace: str) -> None:
    """Served while one loads behind it; softly invalidated ones too; never once they are gone."""
    cache: Cache[int] = Cache("x", ttl=60, stale_for=60, namespace=namespace)
    source = Source(1)
    async with connect() as redis:
        await redis.run(cache.load("k", source.read))
        assert await redis.run(cache.invalidate("k", soft=True)) == 1
        assert await redis.run(cache.ttl_of("k")) == 0
        source.value = 2
        assert await redis.run(cache.load("k", source.read)) == 1
        with anyio.fail_after(10):
            while (await redis.run(cache.ttl_of("k"))) == 0:
                await anyio.sleep(0.001)
        assert await redis.run(cache.load("k", source.read)) == 2
        assert source.asked == 2
        assert await redis.run(cache.invalidate("k")) == 1
        assert await redis.run(cache.get("k")) is MISS


async def test_stale_values_only_on_errors(redis: Face, namespace: str) -> None:
    """Loaded first, and served only where that fails; then it is not asked again for a while."""
    cache: Cache[int] = Cache("x", ttl=60, stale_for=60, serve_stale="on_error", retry_after=60, namespace=namespace)
    source, failing = Source(2), [0]

    def fail() -> int:
        failing[0] += 1
        raise OSError("the database is away")

    await redis.run(cache.load("k", lambda: 1))
    await redis.run(cache.invalidate("k", soft=True))
    for _ in range(3):
        assert await redis.run(cache.load("k", fail)) == 1
    assert failing == [1]
    await redis.run(cache.invalidate("k", soft=True))
    assert await redis.run(cache.load("k", source.read)) == 2


def test_stale_values_end_when_they_should() -> None:
    """By the server's clock: fresh for the TTL, stale for its time, then gone; failing loaders prolong nothing."""
    memory = Memory()
    told = Counter[str]()
    cache: Cache[int] = Cache("x", ttl=10, stale_for=5, retry_after=2, on_event=lambda event, _: told.update([event]))
    source = Source(1)

    def fail() -> int:
        source.asked += 1
        raise OSError

    with memory.sync(on_background_error=lambda *_: None) as redis:
        redis.run(cache.load("k", source.read))
        memory.clock.advance(9.9)
        assert redis.run(cache.load("k", source.read)) == 1
        assert source.asked == 1
        for step in range(10):
            memory.clock.advance(0.49)
            assert redis.run(cache.load("k", fail)) == 1
            for thread in threading.enumerate():
                if thread.name == "redis-patterns-cache.load_and_store":
                    thread.join()
            assert source.asked <= 2 + step // 4, "not more than once in two seconds"
        memory.clock.advance(0.3)
        with pytest.raises(OSError):
            redis.run(cache.load("k", fail))
    assert told["stale"] == 10


def test_jitter_only_shortens() -> None:
    """What is stored together does not expire together, and nothing later than it was to."""
    memory = Memory()
    cache: Cache[int] = Cache("x", ttl=100, jitter=0.5)
    with memory.sync() as redis:
        redis.run(cache.set_many({str(number): number for number in range(200)}))
        left = [redis.run(cache.ttl_of(str(number))) or 0 for number in range(200)]
    assert 50 <= min(left) < 60
    assert 90 < max(left) <= 100


def test_early_loading_follows_the_formula() -> None:
    """A fresh value is loaded early with the probability of the paper: exp(-left / (cost * beta))."""
    memory = Memory()
    cache: Cache[int] = Cache("x", ttl=10, early=1)
    with memory.sync() as redis:

        def slow() -> int:
            memory.clock.advance(2)
            return 1

        redis.run(cache.load("k", slow))
        memory.clock.advance(6)  # four seconds are left, it cost two: exp(-2) = 0.135
        loads = list[float]()
        for chance in (number / 1000 for number in range(1000)):
            seen = cache.load("k", lambda: 1, chance=partial(float, chance)).steps()
            plan = next(seen)
            assert isinstance(plan, redis_patterns.Plan)
            with contextlib.suppress(StopIteration):
                seen.send(redis.run(plan))
                loads.append(chance)  # it goes on to load
        assert min(loads) == pytest.approx(1 - 0.135, abs=0.003)
        assert len(loads) == pytest.approx(135, abs=3)


# Several processes

_WORKER = """
import sys, time, threading
from redis_patterns import Cache
from redis_patterns.sync import Driver
url, name, path, count = sys.argv[1:]
cache = Cache(name, ttl=60)
def load():
    with open(path, "a") as log:
        log.write("x")
    time.sleep(0.05)
    return 7
with Driver.connect(url) as redis:
    redis.run(cache.get("warm"))
    print("ready", flush=True)
    sys.stdin.readline()
    got = []
    threads = [threading.Thread(target=lambda: got.append(redis.run(cache.load("k", load)))) for _ in range(int(count))]
    began = time.perf_counter()
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert got == [7] * int(count), got
    print(time.perf_counter() - began, flush=True)
"""


def test_one_loader_for_several_processes(tmp_path: Path) -> None:
    """Four processes with fifty threads each: one loads, and the others wait without asking again and again."""
    path, name = tmp_path / "log", secrets.token_hex(8)
    packages = [str(Path(one.__path__[0]).parent) for one in (redis_patterns, redis_patterns_core)]
    with server() as running, Driver.connect(running.url) as redis:
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", _WORKER, running.url, name, str(path), "50"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(packages)},
                text=True,
            )
            for _ in range(4)
        ]
        try:
            for worker in workers:
                assert worker.stdout is not None
                assert worker.stdout.readline() == "ready\n"
            before = _commands(redis)
            for worker in workers:
                assert worker.stdin is not None
                worker.stdin.write("go\n")
                worker.stdin.flush()
            took = [float(worker.communicate(timeout=30)[0]) for worker in workers]
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
        after = _commands(redis)
    assert path.read_text() == "x"
    assert max(took) < 5
    asked = {name: count - before.get(name, 0) for name, count in after.items()}
    # Each thread looks once, and each process asks for the lease, waits, and asks again.
    assert asked["get"] <= 200 + 60, "a few look twice"
    assert asked.get("blmove", 0) <= 12
    assert asked["evalsha"] + asked.get("eval", 0) <= 24


def _commands(redis: Driver) -> Counter[str]:
    said = redis.run(reads("INFO", "commandstats"))
    text = said.decode() if isinstance(said, bytes) else str(said)
    counts: Counter[str] = Counter()
    for line in text.splitlines():
        if line.startswith("cmdstat_"):
            name, _, rest = line.removeprefix("cmdstat_").partition(":calls=")
            counts[name] = int(rest.split(",")[0])
    return counts


def test_a_loader_that_is_killed(redis_server: Server, tmp_path: Path) -> None:
    """Somebody else loads when its lease is over, and no key is left without a TTL."""
    name = secrets.token_hex(8)
    program = (
        "import sys, time, os, signal\n"
        "from redis_patterns import Cache\n"
        "from redis_patterns.sync import Driver\n"
        "def load():\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "with Driver.connect(sys.argv[1]) as redis:\n"
        "    redis.run(Cache(sys.argv[2], ttl=60, lock_ttl=0.3).load('k', load))\n"
    )
    packages = [str(Path(one.__path__[0]).parent) for one in (redis_patterns, redis_patterns_core)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(packages)}
    died = subprocess.run([sys.executable, "-c", program, redis_server.url, name], check=False, env=environment)
    assert died.returncode == -9
    told = list[str]()
    cache: Cache[int] = Cache(name, ttl=60, lock_ttl=0.3, on_event=lambda event, _: told.append(event))
    with Driver.connect(redis_server.url) as redis:
        ttl = redis.run(reads("PTTL", cache.key("k")))
        assert isinstance(ttl, int)
        assert ttl > 0
        began = time.monotonic()
        assert redis.run(cache.load("k", lambda: 7)) == 7
        assert time.monotonic() - began < 3
        assert redis.run(cache.get("k")) == 7
    assert "takeover" in told


def test_a_loader_keeps_its_lease(redis_server: Server) -> None:
    """However long it takes: others wait for it, and it is not loaded twice."""
    cache: Cache[int] = Cache(secrets.token_hex(8), ttl=60, lock_ttl=0.15)
    source = Source(7)

    def slow() -> int:
        time.sleep(0.5)
        return int(source.read())

    with Driver.connect(redis_server.url) as first, Driver.connect(redis_server.url) as second:
        thread = threading.Thread(target=lambda: first.run(cache.load("k", slow)))
        thread.start()
        while redis_get(second, cache) is None:
            time.sleep(0.001)
        assert second.run(cache.load("k", source.read)) == 7
        thread.join()
    assert source.asked == 1


def redis_get(redis: Driver, cache: Cache[int]) -> object:
    return redis.run(reads("GET", cache.key("k")))


def test_redis_that_is_away() -> None:
    """What was loaded is given to its caller, whatever Redis does before and afterwards."""
    told = list[Any]()
    cache: Cache[int] = Cache("x", ttl=60, on_event=lambda event, _: told.append(event))
    with server() as running, Driver.connect(running.url, retry_for=0.05) as redis:

        def load() -> int:
            running.kill()
            return 7

        assert redis.run(cache.load("k", load)) == 7
        assert redis.run(cache.load("k", lambda: 8)) == 8
        assert redis.run(cache.load_many(["k", "l"], lambda keys: dict.fromkeys(keys, 9))) == {"k": 9, "l": 9}
        with pytest.raises(redis_patterns.Unreachable):
            redis.run(cache.write("k", 7, told.append))
    assert told.count("redis_error") == 5
    assert 7 in told, "it was saved, and the caller knows that the cache was not told"


# Functions


def test_cached_functions(redis_server: Server) -> None:
    """Called like the function; keys by the arguments' values, and each result can be forgotten or loaded anew."""
    cache: Cache[str] = Cache(secrets.token_hex(8), ttl=60)
    calls: list[tuple[object, ...]] = []
    with Driver.connect(redis_server.url) as redis:

        @redis.cached(cache, "user:{user_id}:{how}", tags=["org:{org}"])
        def name_of(user_id: int, how: str = "short", *, org: str = "a") -> str:
            """Name it."""
            calls.append((user_id, how, org))
            return f"{user_id} {how} {len(calls)}"

        assert name_of.__doc__ == "Name it."
        assert [name_of(1), name_of(1), name_of(user_id=1), name_of(1, "short")] == ["1 short 1"] * 4
        assert name_of(1, "long") == "1 long 2"
        assert name_of.key(1, "a:b") == "user:1:a%3Ab"
        assert name_of.invalidate(1) is True
        assert name_of.invalidate(1) is False
        assert name_of(1) == "1 short 3"
        assert name_of.refresh(1) == "1 short 4"
        assert name_of(1) == "1 short 4"
        redis.run(cache.invalidate_tags("org:a"))
        assert name_of(1) == "1 short 5"
        with pytest.raises(ConfigurationError, match="unlike 'id'"):
            redis.cached(cache, "x:{id}")(str.lower)
        with pytest.raises(ConfigurationError, match="must not be a coroutine function"):

            @redis.cached(cache, "x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            async def never() -> str:
                return ""

        class Repository:
            @redis.cached(cache, "thing:{number}")
            def thing(self, number: int) -> str:
                calls.append((number,))
                return f"thing {number}"

        repository = Repository()
        before = len(calls)
        assert [repository.thing(1), repository.thing(1)] == ["thing 1"] * 2
        assert len(calls) == before + 1


wanted_by: ContextVar[int] = ContextVar("wanted_by", default=-1)


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
def test_cached_coroutine_functions(kind: str, redis_server: Server) -> None:
    """The same; tasks that want one thing at the same time have it loaded once, also when the first is cancelled."""
    cache: Cache[int] = Cache(secrets.token_hex(8), ttl=60)

    async def main() -> None:
        connect: Callable[[str], AsyncDriver] = AsyncioDriver.connect if kind == "asyncio" else TrioDriver.connect
        async with connect(redis_server.url) as redis:
            began, got = list[int](), list[int]()
            gate = anyio.Event()

            @redis.cached(cache, "n:{number}")
            async def twice(number: int) -> int:
                began.append(wanted_by.get())
                await gate.wait()
                return 2 * number

            async def want(scope: anyio.CancelScope, number: int) -> None:
                wanted_by.set(number)
                with scope:
                    got.append(await twice(4))

            scopes = [anyio.CancelScope() for _ in range(10)]
            async with anyio.create_task_group() as tasks:
                for number, scope in enumerate(scopes):
                    tasks.start_soon(want, scope, number)
                with anyio.fail_after(10):
                    while not began:
                        await anyio.lowlevel.checkpoint()
                    scopes[began[0]].cancel()
                    while len(began) < 2:
                        await anyio.lowlevel.checkpoint()
                gate.set()
            assert got == [8] * 9
            assert len(set(began)) == len(began) == 2
            assert await twice.invalidate(4) is True
            assert await twice.refresh(4) == 8
            with pytest.raises(ConfigurationError, match="function must be a coroutine function"):
                redis.cached(cache, "x")(len)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    anyio.run(main, backend=kind)
