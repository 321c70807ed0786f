"""Rate limits on a real server: all numbers against a model by the server's time, and crowds of several processes."""

from __future__ import annotations

import os
import random
import secrets
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import redis_patterns
import redis_patterns_core
from redis_patterns import (
    GCRA,
    AllOf,
    ConfigurationError,
    FixedWindow,
    Limit,
    Plan,
    RateLimited,
    SlidingCounter,
    SlidingLog,
    TokenBucket,
)
from redis_patterns._async import AsyncDriver
from redis_patterns.asyncio import Driver as AsyncioDriver
from redis_patterns.sync import Driver
from redis_patterns.testing import Server, server
from redis_patterns.testing.memory import Server as Memory
from redis_patterns.trio import Driver as TrioDriver
from tests.core.limit_models import SECOND, Bucket, Counter, Fixed, Log, Model
from tests.drivers.plans import reads

MODELS: dict[str, tuple[Limit, Callable[[], Model]]] = {
    "fixed": (FixedWindow("x", limit=40, per=0.02), lambda: Fixed(40, 20_000)),
    "log": (SlidingLog("x", limit=40, per=0.02), lambda: Log(40, 20_000)),
    "counter": (SlidingCounter("x", limit=40, per=0.02), lambda: Counter(40, 20_000)),
    "bucket": (TokenBucket("x", capacity=40, refill_rate=3000), lambda: Bucket(40, Fraction(3000, SECOND))),
    "gcra": (GCRA("x", limit=7000, per=3, burst=9), lambda: Bucket(9, Fraction(7000, 3 * SECOND))),
}


def raw(plan: Plan[Any]) -> Plan[Any]:
    return Plan(plan.name, plan.commands, lambda answers: answers[0])


@pytest.mark.parametrize("name", MODELS)
def test_every_number_is_the_models_by_the_servers_time(name: str, redis_server: Server) -> None:
    """Ten thousand hits as fast as they go: each answer tells when it was decided, and the model agrees about it."""
    limit, make = MODELS[name]
    model, chance, refused = make(), random.Random(name), 0
    id = secrets.token_hex(8)
    with Driver.connect(redis_server.url) as redis:
        for _ in range(10_000):
            cost = chance.choice([1, 1, 1, 2, chance.randint(1, limit.most)])
            allowed, remaining, retry, reset, next_, now, *_ = redis.run(raw(limit.hit(id, cost)))
            assert (allowed == 1, remaining, retry, reset, next_) == model.take(now, cost)
            refused += not allowed
        redis.run(limit.reset(id))
    # How many depends on how fast they go; there are some of both.
    assert 50 < refused < 9950


CROWD = """
import sys, threading
from redis_patterns import FixedWindow, GCRA, SlidingCounter, SlidingLog, TokenBucket
from redis_patterns.sync import Driver

limits = [
    FixedWindow("x", limit=500, per=1e9),
    SlidingLog("x", limit=500, per=1e6),
    SlidingCounter("x", limit=500, per=1e9),
    TokenBucket("x", capacity=500, refill_rate=1e-6),
]
admitted = [0] * len(limits)
lock = threading.Lock()

def client():
    mine = [0] * len(limits)
    for _ in range(15):
        for place, limit in enumerate(limits):
            mine[place] += redis.run(limit.hit(sys.argv[2])).allowed
    with lock:
        for place, count in enumerate(mine):
            admitted[place] += count

with Driver.connect(sys.argv[1]) as redis:
    threads = [threading.Thread(target=client) for _ in range(16)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
print(*admitted)
"""


def test_a_crowd_from_four_processes_gets_exactly_the_limit(redis_server: Server) -> None:
    """64 clients in four processes hit one id 960 times: of each limit 500 are let in."""
    id = secrets.token_hex(8)
    command = [sys.executable, "-c", CROWD, redis_server.url, id]
    folders = [str(Path(file).parent.parent) for file in (redis_patterns.__file__, redis_patterns_core.__file__)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    crowd = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) for _ in range(4)]
    counts = [[int(number) for number in process.communicate(timeout=60)[0].split()] for process in crowd]
    assert [sum(column) for column in zip(*counts, strict=True)] == [500, 500, 500, 500]


def test_a_hit_is_one_round_trip(redis_server: Server) -> None:
    """Counted by the server: one EVALSHA for each hit, whatever the number of limits."""
    with server() as own, Driver.connect(own.url) as redis:
        limit = AllOf(FixedWindow("a", limit=5, per=1e9), SlidingLog("b", limit=5, per=1e6))
        redis.run(limit.hit("ann"))
        redis.run(Plan("reset", reads("CONFIG", "RESETSTAT").commands, len))
        for _ in range(20):
            redis.run(limit.hit("ann"))
        info = redis.run(reads("INFO", "commandstats"))
    assert isinstance(info, bytes)
    assert b"cmdstat_evalsha:calls=20," in info
    assert b"cmdstat_eval:" not in info


# The decorator


def decorated_sync(redis: Driver, limit: Limit) -> list[object]:
    called: list[str] = []

    @redis.limited(limit, lambda name: name)
    def greet(name: str) -> str:
        """Say hello."""
        called.append(name)
        return f"hello {name}"

    assert greet.__doc__ == "Say hello."
    outcomes: list[object] = [greet("ann"), greet("bob")]
    with pytest.raises(RateLimited) as caught:
        greet("ann")
    return [*outcomes, caught.value.decision.refused_by, called]


EXPECTED = ["hello ann", "hello bob", ("greet",), ["ann", "bob"]]


def test_limited_functions() -> None:
    """A call that is refused raises, and does not call; coroutine functions are refused at once."""
    memory = Memory()
    with memory.sync() as redis:
        assert decorated_sync(redis, FixedWindow("greet", limit=1, per=60)) == EXPECTED
        with pytest.raises(ConfigurationError, match="function must not be a coroutine function"):

            @redis.limited(FixedWindow("greet", limit=1, per=60), "all")
            async def never() -> None: ...

        @redis.limited(SlidingLog("slow", limit=1, per=60), "all", wait=100)
        def slow() -> float:
            return memory.clock()

        assert slow() == 0
        assert slow() == 60


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
def test_limited_coroutine_functions(kind: str, redis_server: Server) -> None:
    """The same for coroutine functions; others are refused at once."""

    async def main() -> list[object]:
        connect: Callable[[str], AsyncDriver] = AsyncioDriver.connect if kind == "asyncio" else TrioDriver.connect
        async with connect(redis_server.url) as redis:
            called: list[str] = []
            limit = FixedWindow("greet", limit=1, per=1e9, namespace=secrets.token_hex(8))

            @redis.limited(limit, lambda name: name)
            async def greet(name: str) -> str:
                called.append(name)
                await anyio.lowlevel.checkpoint()
                return f"hello {name}"

            outcomes: list[object] = [await greet("ann"), await greet("bob")]
            with pytest.raises(RateLimited) as caught:
                await greet("ann")
            with pytest.raises(ConfigurationError, match="function must be a coroutine function"):
                redis.limited(limit, "all")(len)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            return [*outcomes, caught.value.decision.refused_by, called]

    assert anyio.run(main, backend=kind) == EXPECTED
