"""Functions that run under a lock."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from redis_patterns import Cache, ConfigurationError, FixedWindow, Lock, LockNotAcquired, Plan, RateLimited
from redis_patterns._async import AsyncDriver
from redis_patterns.asyncio import Driver as AsyncioDriver
from redis_patterns.sync import Driver
from redis_patterns.testing import Server
from redis_patterns.testing.memory import Server as Memory
from redis_patterns.trio import Driver as TrioDriver
from tests.drivers.plans import reads


def test_functions(redis_server: Server) -> None:
    """The lock is named by the call, held while it runs and free afterwards, also when it fails."""
    namespace = secrets.token_hex(8)
    with Driver.connect(redis_server.url) as redis:
        held: list[bool] = []

        @redis.locked("order:{order}", wait=0, namespace=namespace)
        def ship(order: int, *, fail: bool = False) -> str:
            """Ship it."""
            held.append(bool(redis.run(Lock(f"order:{order}", namespace=namespace).inspect()).holders))
            with pytest.raises(LockNotAcquired):
                ship(order)
            if order == 1:
                ship(2)
            if fail:
                raise ValueError(order)
            return f"shipped {order}"

        assert ship.__doc__ == "Ship it."
        assert ship(1) == "shipped 1"
        with pytest.raises(ValueError, match="3"):
            ship(3, fail=True)
        assert ship(order=3) == "shipped 3"
        assert held == [True] * 4
        with pytest.raises(ConfigurationError, match="function must not be a coroutine function"):

            @redis.locked("x")
            async def never() -> None: ...


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
def test_coroutine_functions(kind: str, redis_server: Server) -> None:
    """The same; calls of the same name come one after the other."""
    namespace = secrets.token_hex(8)

    async def main() -> list[str]:
        connect: Callable[[str], AsyncDriver] = AsyncioDriver.connect if kind == "asyncio" else TrioDriver.connect
        async with connect(redis_server.url) as redis:
            seen: list[str] = []

            @redis.locked("order:{order}", wait=30, namespace=namespace)
            async def ship(order: int) -> None:
                seen.append(f"begin {order}")
                await anyio.sleep(0.01)
                seen.append(f"end {order}")

            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(ship, 7)
            with pytest.raises(ConfigurationError, match="function must be a coroutine function"):
                redis.locked("x")(len)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            return seen

    assert anyio.run(main, backend=kind) == ["begin 7", "end 7"] * 3


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
def test_decorators_around_each_other(kind: str, redis_server: Server) -> None:
    """A lock and a limit around what is cached, caches around each other, and around an object with ``__call__``."""
    name = secrets.token_hex(8)
    calls: list[int] = []

    class Double:
        async def __call__(self, number: int) -> int:
            calls.append(number)
            return 2 * number

    async def main() -> list[int]:
        connect: Callable[[str], AsyncDriver] = AsyncioDriver.connect if kind == "asyncio" else TrioDriver.connect
        async with connect(redis_server.url) as redis:
            first: Cache[int] = Cache(f"{name}-inner", ttl=60)
            second: Cache[int] = Cache(f"{name}-outer", ttl=60)
            inner = redis.cached(first, "n:{number}")(Double())
            outer = redis.cached(second, "n:{number}")(inner)
            limited = redis.limited(FixedWindow(name, limit=2, per=3600), "all")(outer)
            locked = redis.locked("n:{number}", namespace=name)(limited)
            got = [await locked(3), await locked(3)]
            with pytest.raises(RateLimited):
                await locked(3)
            assert await outer.invalidate(3)
            got.append(await outer(3))
            assert [await inner.invalidate(3), await outer.invalidate(3)] == [True, True]
            return [*got, await outer(3)]

    assert anyio.run(main, backend=kind) == [6, 6, 6, 6]
    assert calls == [3, 3]


# Many tasks that want one lock


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
def test_a_crowd_needs_no_crowd_of_connections(kind: str, redis_server: Server) -> None:
    """Of three hundred tasks one at a time waits at Redis; they come in their order, and nobody is forgotten."""

    async def main() -> tuple[list[int], int]:
        connect: Callable[[str], AsyncDriver] = AsyncioDriver.connect if kind == "asyncio" else TrioDriver.connect
        async with connect(redis_server.url) as redis:
            lock, order, most = Lock(secrets.token_hex(8)), list[int](), 0
            before = await redis.run(clients())

            async def work(number: int) -> None:
                nonlocal most
                async with redis.hold(lock, wait=60):
                    order.append(number)
                    if number % 50 == 0:
                        most = max(most, await redis.run(clients()) - before)

            lease = await redis.run(lock.acquire())
            assert lease is not None
            async with anyio.create_task_group() as tasks:
                for number in range(300):
                    tasks.start_soon(work, number)
                with anyio.fail_after(30):
                    while (await redis.run(lock.inspect())).waiting != 1:
                        await anyio.sleep(0.005)
                await redis.run(lock.release(lease))
            return order, most

    order, most = anyio.run(main, backend=kind)
    assert sorted(order) == list(range(300))
    assert most <= 2


def clients() -> Plan[int]:
    """Give the plan that counts the server's connections."""
    return reads("CLIENT", "LIST").map(lambda reply: str(reply).count(" fd="))


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
def test_leaving_the_line(kind: str) -> None:
    """Whoever gives up, by a timeout or a cancellation, lets the others go on, in their order."""
    memory = Memory()
    lock, seen = Lock("x", ttl=60), list[str]()

    async def main() -> None:
        made: Any = memory.asyncio() if kind == "asyncio" else memory.trio()
        async with made as redis, anyio.create_task_group() as tasks:

            async def want(name: str, wait: float, scope: anyio.CancelScope | None = None) -> None:
                with scope or anyio.CancelScope():
                    try:
                        async with redis.hold(lock, wait=wait):
                            seen.append(f"{name} at {memory.clock():g}")
                    except LockNotAcquired:
                        seen.append(f"{name} gives up at {memory.clock():g}")

            lease = await redis.run(lock.acquire())
            cancelled = [anyio.CancelScope(), anyio.CancelScope()]
            for name, wait, scope in (
                ("first", 50.0, cancelled[0]),
                ("hasty", 2.0, None),
                ("second", 50.0, cancelled[1]),
                ("third", 50.0, None),
                ("fourth", 50.0, None),
            ):
                tasks.start_soon(want, name, wait, scope)
                await memory.clock.elapse(0)
            await memory.clock.elapse(5)
            cancelled[1].cancel()  # in the middle of the line
            await memory.clock.elapse(1)
            cancelled[0].cancel()  # at Redis
            await memory.clock.elapse(1)
            await redis.run(lock.release(lease))
            await memory.clock.elapse(1)

    anyio.run(main, backend=kind)
    assert seen == ["hasty gives up at 2", "third at 7", "fourth at 7"]
