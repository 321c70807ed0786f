"""Fair, reentrant and read-write locks, semaphores, several locks, and leading, through every driver."""

from __future__ import annotations

import contextlib
import re
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from redis_patterns import (
    FairLock,
    Held,
    Leasable,
    Lock,
    LockLost,
    LockNotAcquired,
    MultiLock,
    ReadWriteLock,
    ReentrantLock,
    Semaphore,
    batch,
)
from redis_patterns._async import AsyncDriver
from redis_patterns.asyncio import Driver as AsyncioDriver
from redis_patterns.sync import Driver
from redis_patterns.testing import Server, server
from redis_patterns.trio import Driver as TrioDriver
from redis_patterns_core.queued import Queued
from tests.drivers.conftest import Connect
from tests.drivers.faces import Face
from tests.drivers.plans import once, reads

pytestmark = pytest.mark.anyio

EXCLUSIVE: dict[str, Callable[[str], Leasable]] = {
    "fair": lambda namespace: FairLock("x", ttl=30, namespace=namespace),
    "write": lambda namespace: ReadWriteLock("x", ttl=30, namespace=namespace).write(),
    "reentrant": lambda namespace: ReentrantLock("x", owner=secrets.token_hex(4), ttl=30, namespace=namespace),
    "all permits": lambda namespace: Semaphore("x", limit=3, weight=3, ttl=30, namespace=namespace),
    "several": lambda namespace: MultiLock(
        Lock("x", ttl=30, namespace=namespace), FairLock("y", ttl=30, namespace=namespace)
    ),
}


@pytest.mark.renews
@pytest.mark.parametrize("name", EXCLUSIVE)
async def test_one_at_a_time(redis: Face, namespace: str, name: str) -> None:
    """Everybody comes in, alone, and nothing is left behind but what says which fence was the last."""
    inside, done, fences = [0], [0], list[int]()

    async def work() -> None:
        lock = EXCLUSIVE[name](namespace)
        for _ in range(3):
            async with redis.hold(lock, wait=60) as held:
                inside[0] += 1
                assert inside == [1]
                await anyio.lowlevel.checkpoint()
                held.check()
                fences.append(held.lease.fence)
                inside[0] -= 1
            done[0] += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(work)
    assert done == [12]
    grows = [0] * 12 if name in {"all permits", "several"} else sorted(set(fences))
    assert fences == grows


@pytest.mark.renews
async def test_readers_and_writers(redis: Face, namespace: str) -> None:
    """Readers at the same time; with a writer nobody."""
    lock = ReadWriteLock("x", ttl=30, namespace=namespace)
    async with redis.hold(lock.read()), redis.hold(lock.read()):
        now = await redis.run(lock.read().inspect())
        assert (len(now.holders), now.waiting) == (2, 0)
        with pytest.raises(LockNotAcquired, match="write lock 'x'"):
            async with redis.hold(lock.write(), wait=0):
                pass
    async with redis.hold(lock.write(), wait=0) as held:
        assert held.lease.fence > 0
        with pytest.raises(LockNotAcquired, match="read lock 'x'"):
            async with redis.hold(lock.read(), wait=0):
                pass


@pytest.mark.renews
async def test_an_owner_comes_in_again(redis: Face, namespace: str) -> None:
    """It is free for others when the outermost block ends."""
    mine = ReentrantLock("x", owner="me", namespace=namespace)
    others = ReentrantLock("x", owner="you", namespace=namespace)
    async with redis.hold(mine, wait=0) as outer:
        async with redis.hold(mine, wait=0) as inner:
            assert inner.lease.fence == outer.lease.fence
        with pytest.raises(LockNotAcquired):
            async with redis.hold(others, wait=0):
                pass
    async with redis.hold(others, wait=0):
        pass


@pytest.mark.renews
async def test_permits(redis: Face, namespace: str) -> None:
    """As many as there are, in portions."""
    gpus = Semaphore("x", limit=4, namespace=namespace)
    async with redis.hold(gpus.permits(3), wait=0), redis.hold(gpus, wait=0):
        with pytest.raises(LockNotAcquired, match="semaphore 'x'"):
            async with redis.hold(gpus, wait=0):
                pass
        assert sorted([holder.weight for holder in (await redis.run(gpus.inspect())).holders]) == [1, 3]
    assert (await redis.run(gpus.inspect())).holders == ()


@pytest.mark.renews
async def test_philosophers(redis: Face, namespace: str) -> None:
    """Five who want the forks beside them, each from its left: nobody waits for ever, no fork is in two hands."""
    forks = [Lock(f"fork {number}", ttl=30, namespace=namespace) for number in range(5)]
    used = set[str]()

    async def dine(number: int) -> None:
        both = forks[number], forks[(number + 1) % 5]
        for _ in range(2):
            async with redis.hold(MultiLock(*both), wait=60) as held:
                names = {lock.name for lock in both}
                assert not names & used
                used.update(names)
                assert [part.fence > 0 for part in held.lease.parts] == [True, True]
                await anyio.lowlevel.checkpoint()
                used.difference_update(names)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(dine, number)


@pytest.mark.served
async def test_the_order_of_arrival(redis: Face, namespace: str) -> None:
    """Those who wait get it in the order in which they came, however often it is looked for meanwhile."""
    lock = FairLock("x", ttl=30, namespace=namespace)
    order: list[int] = []

    async def work(number: int) -> None:
        async with redis.hold(lock, wait=60):
            order.append(number)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks, redis.hold(lock, wait=0):
            for number in range(8):
                tasks.start_soon(work, number)
                while (await redis.run(lock.inspect())).waiting <= number:
                    await anyio.sleep(0.002)
            for _ in range(3):
                with pytest.raises(LockNotAcquired):
                    async with redis.hold(lock, wait=0.01):
                        pass
    assert order == list(range(8))


# Leading


@pytest.mark.served
async def test_one_leads_at_a_time(connect: Connect, namespace: str) -> None:
    """The next one leads when the first resigns; who loses the lock is stopped, and campaigns again."""
    lock = Lock("scheduler", ttl=0.9, namespace=namespace)
    terms = list[tuple[str, int]]()

    async with connect() as redis:

        async def work(name: str, held: Held) -> str:
            terms.append((name, held.lease.fence))
            if len(terms) == 1:
                await redis.run(once("DEL", lock.key))  # as if it had not renewed it for long
                while not held.lost:
                    await anyio.sleep(0.005)
                held.check()
            return f"{name} resigns"

        said = list[str]()

        async def candidate(name: str) -> None:
            said.append(await redis.lead(lock, lambda held: work(name, held)))

        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                for name in ("a", "b"):
                    tasks.start_soon(candidate, name)
        first = terms[0][0]
        assert len(terms) == 3
        assert sorted(said) == ["a resigns", "b resigns"]
        assert [name for name, _ in terms].count(first) == 2
        fences = [fence for _, fence in terms]
        assert fences == sorted(set(fences))
        async with redis.hold(lock, wait=0):
            with pytest.raises(LockNotAcquired):
                await redis.lead(lock, lambda held: work("c", held), wait=0.01)


@pytest.mark.served
async def test_what_ends_a_term(connect: Connect, namespace: str) -> None:
    """An error of the work does, and also that another lock was lost in it."""
    lock = Lock("scheduler", namespace=namespace)
    async with connect() as redis:
        for error in (ValueError("mine"), LockLost("another's")):

            async def work(_: Held, error: Exception = error) -> None:
                raise error

            with pytest.raises(type(error), match=str(error)):
                await redis.lead(lock, work)
            assert (await redis.run(lock.inspect())).holders == ()


# Those who wait


@pytest.mark.parametrize("kind", [Lock, FairLock])
def test_who_waits_asks_for_nothing(kind: Any) -> None:
    """Twenty that wait for a second send next to nothing; commands are counted by the server."""
    with server() as running, Driver.connect(running.url) as redis:
        lock = kind("x", ttl=60)

        def commands() -> int:
            said = redis.run(reads("INFO", "commandstats"))
            return sum(int(calls) for calls in re.findall(r"cmdstat_(?:evalsha|blpop):calls=(\d+)", str(said)))

        lease = redis.run(lock.acquire())
        threads = [threading.Thread(target=wait, args=(redis, lock)) for _ in range(20)]
        for thread in threads:
            thread.start()
        while redis.run(lock.inspect()).waiting < 20:
            time.sleep(0.005)
        time.sleep(0.1)  # until the last of them is blocked
        before = commands()
        time.sleep(1)
        assert commands() - before <= 8, "the second in line of a fair lock looks once a second"
        redis.run(lock.release(lease))
        for thread in threads:
            thread.join()


def wait(redis: Driver, lock: Any) -> None:
    with redis.hold(lock, wait=60, renew=False):
        pass


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
@pytest.mark.parametrize("name", ["fair", "write", "read and write", "reentrant", "all permits"])
def test_a_crowd_in_one_driver(kind: str, name: str, redis_server: Server, namespace: str) -> None:
    """Two hundred tasks come in while few of them stand at Redis, in their order where they came in one."""
    together = ReadWriteLock("x", ttl=30, namespace=namespace)
    order: list[int] = []
    most = [0]

    def wanted(number: int) -> Leasable:
        if name == "read and write":
            return together.read() if number % 10 else together.write()
        return EXCLUSIVE[name](namespace)

    async def main() -> None:
        connect: Callable[[str], AsyncDriver] = AsyncioDriver.connect if kind == "asyncio" else TrioDriver.connect
        async with connect(redis_server.url) as redis:
            lock = wanted(0)
            assert isinstance(lock, Queued)

            async def work(number: int) -> None:
                async with redis.hold(wanted(number), wait=60):
                    order.append(number)

            async with anyio.create_task_group() as tasks, redis.hold(lock, wait=0):
                for number in range(200):
                    tasks.start_soon(work, number)
                    await anyio.lowlevel.checkpoint()
                with anyio.fail_after(10):
                    while most[0] < 16:
                        most[0] = (await redis.run(lock.inspect())).waiting
                        await anyio.sleep(0.002)
                await anyio.sleep(0.05)
                most[0] = (await redis.run(lock.inspect())).waiting

    anyio.run(main, backend=kind)
    if name == "reentrant":  # each owner has a line of its own
        assert most[0] >= 16
    else:
        assert most[0] == 16
    assert sorted(order) == list(range(200))
    if name in {"fair", "write", "all permits"} and kind == "asyncio":  # trio begins tasks in any order
        assert order == list(range(200))


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
def test_an_owner_comes_in_again_before_a_crowd(kind: str, redis_server: Server, namespace: str) -> None:
    """However many others stand in line in its driver."""

    async def main() -> None:
        connect: Callable[[str], AsyncDriver] = AsyncioDriver.connect if kind == "asyncio" else TrioDriver.connect
        mine = ReentrantLock("x", owner="me", ttl=30, namespace=namespace)
        others = ReentrantLock("x", owner="you", ttl=30, namespace=namespace)
        async with connect(redis_server.url) as redis, anyio.create_task_group() as tasks:

            async def want() -> None:
                async with redis.hold(others, wait=60):
                    pass

            async with redis.hold(mine, wait=0):
                for _ in range(40):
                    tasks.start_soon(want)
                while (await redis.run(others.inspect())).waiting < 16:
                    await anyio.sleep(0.002)
                async with redis.hold(mine, wait=5):
                    pass

    anyio.run(main, backend=kind)


# Those who give up


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
@pytest.mark.parametrize("lock", ["plain", "fair", "semaphore"])
def test_a_thousand_who_are_cancelled_leave_nothing(kind: str, lock: str, redis_server: Server) -> None:
    """No key, no connection, no wake-up, no place in line."""
    name = secrets.token_hex(8)
    kinds: dict[str, Any] = {
        "plain": Lock(name, ttl=60),
        "fair": FairLock(name, ttl=60),
        "semaphore": Semaphore(name, limit=1, ttl=60),
    }
    wanted = kinds[lock]

    async def main() -> None:
        connect: Callable[[str], AsyncDriver] = AsyncioDriver.connect if kind == "asyncio" else TrioDriver.connect
        async with connect(redis_server.url) as redis:

            async def state() -> tuple[set[str], int]:
                keys, clients = await redis.run(batch(reads("KEYS", f"*{name}*"), reads("CLIENT", "LIST")))
                assert isinstance(keys, list)
                return {bytes(key).decode() for key in keys if isinstance(key, bytes)}, str(clients).count(" fd=")

            lease = await redis.run(wanted.acquire())
            before = await state()

            async def want(scope: anyio.CancelScope) -> None:
                with scope:
                    async with redis.hold(wanted, wait=60):
                        raise AssertionError("it is held")

            for _ in range(50):
                scopes = [anyio.CancelScope() for _ in range(20)]
                async with anyio.create_task_group() as tasks:
                    for scope in scopes:
                        tasks.start_soon(want, scope)
                    with anyio.fail_after(10):
                        while not (await redis.run(wanted.inspect())).waiting:
                            await anyio.lowlevel.checkpoint()
                    for scope in scopes:
                        scope.cancel()
            with anyio.fail_after(10):
                while (now := await state())[1] > before[1]:  # those that are closed are gone in a moment
                    await anyio.sleep(0.005)
            left = now[0] - before[0]
            if isinstance(wanted, Queued):
                # Who left said so to the one behind it, which had left too: this ends by itself.
                left = {key for key in left if not key.startswith(f"{wanted.wake_key}:")}
            assert left == set()
            assert await redis.run(wanted.release(lease)) is True
            with contextlib.suppress(LockNotAcquired):
                async with redis.hold(wanted, wait=0):
                    return
            raise AssertionError("it is not free")

    anyio.run(main, backend=kind)
