"""Callers that leave: at every point where they can, in crowds, and while blocked."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, Protocol

import anyio
import anyio.lowlevel
import pytest
from redis.asyncio.connection import AbstractConnection

from redis_patterns import (
    Cache,
    DriverClosed,
    Lock,
    LockNotAcquired,
    OutcomeUnknown,
    Plan,
    Unreachable,
    Write,
    WriteBehind,
    batch,
)
from redis_patterns.sync import Driver
from redis_patterns.testing import Server
from tests.drivers.faces import KINDS, Face, Kind
from tests.drivers.plans import blocks, counts, echoes, once, reads, sets
from tests.faults.conftest import Connect
from tests.faults.proxy import Delay, Proxy, Silence
from tests.faults.tally import COUNTS

pytestmark = pytest.mark.anyio

ASYNC = [kind for kind in KINDS if not kind.memory and not kind.name.startswith("sync")]


@pytest.fixture(params=ASYNC, ids=[kind.name for kind in ASYNC])
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


@pytest.fixture
async def redis(connect: Connect) -> AsyncIterator[Face]:
    async with connect() as redis:
        yield redis


class Cancellable(Protocol):
    def cancel(self) -> None: ...


class Countdown:
    """Cancels a scope at its k-th checkpoint, whichever that is.

    The loop's own scheduling is watched through the awaitable that runs under it: each time it hands control back, one
    more checkpoint has been reached.
    """

    def __init__(self, scope: Cancellable, left: int) -> None:
        self.scope = scope
        self.left = left

    async def drive(self, awaitable: Awaitable[Any]) -> Any:
        return await _Watched(awaitable, self)


class _Watched:
    def __init__(self, awaitable: Awaitable[Any], countdown: Countdown) -> None:
        self._inner = awaitable.__await__()
        self._countdown = countdown

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> _Watched:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        yielded = self._inner.send(value)
        self._countdown.left -= 1
        if self._countdown.left == 0:
            self._countdown.scope.cancel()
        return yielded

    def throw(self, *error: Any) -> Any:
        return self._inner.throw(*error)

    def close(self) -> None:
        self._inner.close()


async def at_every_checkpoint(do: Callable[[], Awaitable[Any]], check: Callable[[], Awaitable[None]]) -> int:
    """Run something again and again, cancelled one checkpoint later each time, until it is not cancelled any more."""
    for k in range(1, 200):
        with anyio.CancelScope() as scope:
            await Countdown(scope, k).drive(do())
        await check()
        COUNTS["schedules cancelled at a checkpoint"] += 1
        if not scope.cancelled_caught:
            return k
    raise AssertionError("it never ended by itself")


async def before_the_answer(do: Callable[[], Coroutine[Any, Any, Any]], done: Callable[[], bool]) -> None:
    """Run something, cancelled when Redis has done what it asked for, and before it can read the answer."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(do)
        while not done():  # asked in this thread, which reads nothing else meanwhile
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()


async def test_a_plan_cancelled_at_every_checkpoint(redis: Face, key: str, beside: Driver) -> None:
    """However far it came: the next command gets its own reply, and the counter counts what ran, at most once each."""
    tried = 0

    async def check() -> None:
        nonlocal tried
        tried += 1
        assert await redis.run(echoes("next", str(tried))) == [b"next", str(tried).encode()]

    rounds = await at_every_checkpoint(lambda: redis.run(counts(key)), check)
    rounds += await at_every_checkpoint(lambda: redis.run(batch(counts(key), once("INCR", key))), check)
    counted = beside.run(reads("GET", key))
    assert isinstance(counted, bytes)
    assert 3 <= int(counted) <= 2 * rounds
    assert rounds >= 2


async def test_the_first_plan_cancelled_at_every_checkpoint(connect: Connect) -> None:
    """The same while the connection is still being opened: another caller is not disturbed by it."""
    for k in range(1, 40):
        got: list[object] = []
        scope = anyio.CancelScope()
        async with connect() as redis, anyio.create_task_group() as tasks:

            async def neighbour(driver: Face = redis, got: list[object] = got) -> None:
                got.append(await driver.run(reads("ECHO", "neighbour")))

            tasks.start_soon(neighbour)
            with scope:
                await Countdown(scope, k).drive(redis.run(reads("PING")))
        assert got == [b"neighbour"]
        if not scope.cancelled_caught:
            return
    raise AssertionError("it never ended by itself")


async def test_hold_cancelled_at_every_checkpoint(redis: Face, key: str, beside: Driver) -> None:
    """Wherever it is cancelled, waiting, holding or releasing: afterwards nobody holds the lock."""
    lock = Lock(key, ttl=60)

    async def hold() -> None:
        async with redis.hold(lock) as held:
            await anyio.lowlevel.checkpoint()
            held.check()

    async def check() -> None:
        assert beside.run(reads("EXISTS", lock.key)) == 0

    assert await at_every_checkpoint(hold, check) > 2


async def test_waiting_for_a_lock_cancelled_at_every_checkpoint(redis: Face, key: str, beside: Driver) -> None:
    """A waiter that leaves takes nothing with it: the holder's lock stays, and is free after its release."""
    lock = Lock(key, ttl=60)
    theirs = beside.run(lock.acquire())
    assert theirs is not None
    tried = 0

    async def check() -> None:
        nonlocal tried
        tried += 1
        assert beside.run(reads("GET", lock.key)) == theirs.token.encode()

    async def wait() -> None:
        with contextlib.suppress(TimeoutError):
            async with redis.hold(lock, wait=0.1):
                raise AssertionError("two hold it")

    await at_every_checkpoint(wait, check)
    assert beside.run(lock.release(theirs)) is True
    assert tried > 3


@pytest.mark.parametrize("what", ["load", "take over", "refresh", "load_many", "write"])
async def test_a_cache_cancelled_at_every_checkpoint(redis: Face, key: str, beside: Driver, what: str) -> None:
    """Whoever began to load or to write leaves no lease behind for which others would have to wait."""
    cache: Cache[int] = Cache(key, ttl=60, stale_for=60, serve_stale="on_error", lock_ttl=60)
    tried = 0

    def prepare(name: str) -> None:
        if what == "take over":  # from one that is dead
            assert beside.run(replace(cache, lock_ttl=0.001)._acquire(name, 60_000, ())).what == "load"
        elif what == "refresh":
            beside.run(cache.set(name, 0))
            beside.run(cache.invalidate(name, soft=True))

    async def loader() -> int:
        await anyio.lowlevel.checkpoint()
        return 1

    async def many(names: Sequence[str]) -> dict[str, int]:
        return dict.fromkeys(names, await loader())

    async def save(_: int) -> None:
        await loader()

    async def do() -> None:
        name = str(tried)
        if what == "load_many":
            await redis.run(cache.load_many([name, "more"], many))
        elif what == "write":
            await redis.run(cache.write(name, 1, save))
        else:
            await redis.run(cache.load(name, loader))

    async def check() -> None:
        nonlocal tried
        for name in (str(tried), "more"):
            there = beside.run(reads("GET", cache.key(name)))
            # Nothing, one that was given up, or one that may be loaded: at once, or after `retry_after`.
            if isinstance(there, bytes) and there[:1] != b"F":
                assert there[:1] != b"X"
                assert int(there[17:30]) <= (time.time() + 2) * 1000
        tried += 1
        prepare(str(tried))
        beside.run(cache.invalidate("more"))

    def taken() -> bool:
        name = cache.key(str(tried))
        return beside.run(reads("EXISTS", name if what not in {"take over", "refresh"} else f"{name}:loader")) == 1

    prepare("0")
    assert await at_every_checkpoint(do, check) > 2
    await before_the_answer(do, taken)
    await check()


async def test_saving_cancelled_at_every_checkpoint(redis: Face, key: str, beside: Driver) -> None:
    """What was taken to be saved, and was not, can be saved by somebody else before its lease is over."""
    behind: WriteBehind[int] = WriteBehind(
        key, ttl=60, delay=0, retry_after=0.001, most_retry=0.001, tries=1000, lease=60
    )

    async def save(writes: Sequence[Write[int]]) -> None:
        await anyio.lowlevel.checkpoint()

    async def check() -> None:
        assert beside.run(reads("HLEN", f"behind:{{{key}:0}}:saving")) == 0
        beside.run(behind.put("a", 1))

    async def flush() -> None:
        await redis.run(behind.flush(save))

    await check()
    assert await at_every_checkpoint(flush, check) > 2
    await before_the_answer(flush, lambda: beside.run(reads("HLEN", f"behind:{{{key}:0}}:saving")) == 1)
    await check()


async def test_cancel_storms(redis: Face, proxy: Proxy, key: str, beside: Driver) -> None:
    """Crowds whose members leave at random moments: no reply reaches another, and nothing is left behind."""
    chance = random.Random(11)
    await redis.run(reads("PING"))
    proxy.plan(Delay(0.001), when=b"*", times=1_000_000)
    answered = left = 0

    async def ask(number: int) -> None:
        nonlocal answered, left
        with anyio.move_on_after(chance.random() * 0.01):
            answer = await redis.run(echoes("storm", str(number)))
            assert answer == [b"storm", str(number).encode()]
            answered += 1
            return
        left += 1

    for first in range(0, 640, 64):
        async with anyio.create_task_group() as tasks:
            for number in range(first, first + 64):
                tasks.start_soon(ask, number)
        assert await redis.run(reads("ECHO", first)) == str(first).encode()
    COUNTS["callers that left in storms"] += left
    assert answered + left == 640
    assert left > 0
    assert answered > 0


async def test_blocked_pops_cancelled(kind: Kind, redis_server: Server, key: str, beside: Driver) -> None:
    """A hundred that leave: no slot is lost, and no ghost stays on the server to which a later push would go."""
    async with kind.make(redis_server.url, {}) as redis:  # past the proxy, which would learn of it later
        await redis.run(reads("PING"))
        before = clients(beside)
        for _ in range(100):
            with anyio.move_on_after(0.001):
                await redis.run(blocks(30, "BLPOP", key))
        with anyio.fail_after(5):
            while clients(beside) > before:
                await anyio.sleep(0.005)
        await redis.run(once("RPUSH", key, "last"))
        assert await redis.run(blocks(5, "BLPOP", key)) == [key.encode(), b"last"]


def clients(beside: Driver) -> int:
    listed = beside.run(reads("CLIENT", "LIST"))
    assert isinstance(listed, bytes)
    return len(listed.splitlines())


async def test_more_blocked_than_there_are_connections_for(connect: Connect, key: str, beside: Driver) -> None:
    """Further ones wait for their turn, and all get something."""
    async with connect(blocking_connections=64) as redis:
        await pop_more_than_there_are_connections_for(redis, key)
    beside.run(sets("DEL", key))


async def pop_more_than_there_are_connections_for(redis: Face, key: str) -> None:
    got: list[object] = []

    async def pop() -> None:
        got.append(await redis.run(blocks(20, "BLPOP", key)))

    async with anyio.create_task_group() as tasks:
        for _ in range(80):
            tasks.start_soon(pop)
        while len(got) < 80:
            await redis.run(once("RPUSH", key, *range(16)))
            await anyio.sleep(0.01)
    assert len(got) == 80


async def test_no_turn_to_block(connect: Connect, key: str, beside: Driver) -> None:
    """Who waits for a connection does not wait for longer than it wants to block; nothing was sent, and it is told.

    A lock is waited for to the end, and what does not block goes on.
    """
    lock = Lock(key, ttl=60)
    async with connect(blocking_connections=2) as redis, anyio.create_task_group() as tasks:
        for number in range(2):
            tasks.start_soon(redis.run, blocks(0, "BLPOP", f"{key}-inbox-{number}"))
        while clients_blocked(beside) < 2:
            await anyio.sleep(0.005)
        await redis.run(once("RPUSH", key, "item"))
        begun = anyio.current_time()
        with pytest.raises(Unreachable, match=r"all 2 connections for plans that block were in use for 0.2 s"):
            await redis.run(blocks(0.2, "BLPOP", key))
        assert 0.19 <= anyio.current_time() - begun < 1.5
        with pytest.raises(Unreachable, match=r"not over within 0.05 s"):
            await redis.run(blocks(30, "BLPOP", key), timeout=0.05)
        assert await redis.run(reads("LLEN", key)) == 1
        assert beside.run(lock.acquire()) is not None
        begun = anyio.current_time()
        with pytest.raises(LockNotAcquired):
            async with redis.hold(lock, wait=0.3):
                raise AssertionError("two hold it")
        assert 0.29 <= anyio.current_time() - begun < 2
        await redis.run(once("RPUSH", f"{key}-inbox-0", "mail"))  # and there is a turn again
        assert await redis.run(blocks(5, "BLPOP", key)) == [key.encode(), b"item"]
        tasks.cancel_scope.cancel()
    beside.run(sets("DEL", lock.key, f"{lock.key}:fence"))


async def test_many_that_block(connect: Connect, kind: Kind, key: str, beside: Driver) -> None:
    """A hundred that wait are in nobody's way; of a client's own pool of a hundred fifty are used at most."""
    many = 49 if kind.name == "asyncio-embedded" else 100
    async with connect() as redis, anyio.create_task_group() as tasks:
        for _ in range(many):
            tasks.start_soon(redis.run, blocks(0, "BLPOP", f"{key}-inbox"))
        while clients_blocked(beside) < many:
            await anyio.sleep(0.01)
        await redis.run(once("RPUSH", key, "item"))
        assert await redis.run(blocks(5, "BLPOP", key)) == [key.encode(), b"item"]
        tasks.cancel_scope.cancel()


# One cancellation, that of a task


@pytest.mark.parametrize(
    "kind", [kind for kind in ASYNC if kind.name.startswith("asyncio")], ids=lambda kind: kind.name
)
async def test_a_task_cancelled_once_while_it_dials(kind: Kind, redis_server: Server, key: str, beside: Driver) -> None:
    """At whatever checkpoint, even if what it waits for comes in the same turn: it ends, and is not left at Redis."""
    before = clients(beside)
    loop = asyncio.get_running_loop()
    for k in range(1, 40):
        async with kind.make(redis_server.url, {}) as redis:
            canceller = Cancel()
            countdown = Countdown(canceller, k)
            task = loop.create_task(countdown.drive(redis.run(blocks(20, "BLPOP", key))))
            canceller.task = task
            while not task.done() and clients_blocked(beside) == 0:
                await anyio.sleep(0.001)
            reached_redis = countdown.left > 0
            if reached_redis:
                task.cancel()
            await asyncio.wait([task], timeout=5)
            assert task.cancelled()
        with anyio.fail_after(5):
            while clients(beside) > before:
                await anyio.sleep(0.005)
        if reached_redis:
            return
    raise AssertionError("it never came to Redis")


class Cancel:
    """Cancels a task once, in the next turn of the loop: what the task waits for may come in the same one."""

    task: asyncio.Task[Any]

    def cancel(self) -> None:
        asyncio.get_running_loop().call_soon(self.task.cancel)


@pytest.mark.parametrize(
    "kind", [kind for kind in ASYNC if kind.name == "asyncio-embedded"], ids=lambda kind: kind.name
)
@pytest.mark.parametrize("native", [True, False])
async def test_a_cancellation_that_redis_py_loses(
    kind: Kind, redis_server: Server, key: str, monkeypatch: pytest.MonkeyPatch, *, native: bool
) -> None:
    """It is not lost for the caller, a task's own no more than that of a scope: the plan is not sent."""
    connect: Callable[[Any], Awaitable[None]] = AbstractConnection.connect

    async def losing(self: Any) -> None:
        await connect(self)
        with contextlib.suppress(asyncio.CancelledError):
            cancel()
            await asyncio.sleep(0)

    async with kind.make(redis_server.url, {}) as redis:
        await redis.run(reads("PING"))
        monkeypatch.setattr(AbstractConnection, "connect", losing)
        scope = anyio.CancelScope()

        async def run() -> None:
            with scope:
                await redis.run(blocks(20, "BLPOP", key))

        task = asyncio.get_running_loop().create_task(run())
        cancel = task.cancel if native else scope.cancel
        await asyncio.wait([task])
        assert task.cancelled() == native
        assert scope.cancelled_caught != native
        monkeypatch.undo()
        await redis.run(once("RPUSH", key, "kept"))
        assert await redis.run(blocks(5, "BLPOP", key)) == [key.encode(), b"kept"]


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind.name in {"asyncio-memory", "asyncio-own"}], ids=lambda kind: kind.name
)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_task_cancelled_once_at_any_moment(kind: Kind) -> None:
    """It ends: whoever stops a task of the background cancels it once, and waits for its end.

    On fakeredis redis-py writes through ``asyncio.wait_for``, which before Python 3.12 takes a cancellation for done
    that comes when it is.
    """
    async with kind.make("", {}) as redis:
        await redis.run(sets("SET", "key", 1))
        caught = 0
        for turns in range(20):
            task = asyncio.ensure_future(redis.run(sets("SET", "key", turns)))
            for _ in range(turns):
                await asyncio.sleep(0)
            if task.cancel():
                await asyncio.wait([task])
                assert task.cancelled()
                caught += 1
        assert 1 <= caught < 20
        assert await redis.run(reads("GET", "key")) == b"19", "the connection is in step"


def clients_blocked(beside: Driver) -> int:
    listed = beside.run(reads("CLIENT", "LIST"))
    assert isinstance(listed, bytes)
    return listed.count(b"cmd=blpop")


# Crowds


async def test_ten_thousand_tasks(redis: Face, key: str) -> None:
    """They share what connections there are, and each gets its own answer."""
    wrong = 0

    async def ask(number: int) -> None:
        nonlocal wrong
        wrong += await redis.run(reads("ECHO", number)) != str(number).encode()

    async with anyio.create_task_group() as tasks:
        for number in range(10_000):
            tasks.start_soon(ask, number)
    assert wrong == 0


async def test_a_huge_value_next_to_small_ones(redis: Face, key: str) -> None:
    """64 MB on its way, out and back, and neighbours' replies are theirs."""
    value = b"0123456789abcdef" * 2**22

    async def ask(number: int) -> None:
        for turn in range(10):
            assert await redis.run(reads("ECHO", f"{number}-{turn}")) == f"{number}-{turn}".encode()

    async with anyio.create_task_group() as tasks:
        for number in range(32):
            tasks.start_soon(ask, number)
        await redis.run(sets("SET", key, value))
        assert await redis.run(reads("GET", key)) == value


async def test_memory_stays_bounded_when_nothing_comes_back(redis: Face, proxy: Proxy) -> None:
    """Behind a server that takes nothing, callers wait outside: the bytes queued stay below their bound."""
    from redis_patterns._multiplex import MOST_BYTES, MOST_REQUESTS

    await redis.run(reads("PING"))
    transport: Any = getattr(redis, "_transport")  # noqa: B009  what every asynchronous driver has
    proxy.stall()
    value = b"x" * 100_000
    most = 0
    async with anyio.create_task_group() as tasks:

        async def ask() -> None:
            with contextlib.suppress(OutcomeUnknown, ConnectionError):
                await redis.run(sets("SET", "never", value))

        for _ in range(2000):  # 200 MB in all
            tasks.start_soon(ask)
        for _ in range(20):
            await anyio.sleep(0.005)
            wire = transport._connection.wire
            queued = sum(len(request.data) for request in wire.waiting() if not request.sent)
            most = max(most, queued)
            assert len(wire) <= MOST_REQUESTS
        tasks.cancel_scope.cancel()
    assert most <= MOST_BYTES + len(value) + 1000
    proxy.stall(False)


async def test_a_server_killed_under_load(kind: Kind, key: str) -> None:
    """SIGKILL and a restart under 64 tasks: each call ends with its own answer or says that it cannot know."""
    from redis_patterns.testing import server

    answered: dict[str, list[int]] = {"before": [], "after": []}
    unknown = runs = 0
    with server() as mortal:
        async with kind.make(mortal.url, {"retry_for": 20}) as redis:
            phase = "before"

            async def work() -> None:
                nonlocal unknown, runs
                left = 10
                while left:
                    left -= phase == "after"
                    runs += 1
                    try:
                        counted = await redis.run(counts(key))
                    except OutcomeUnknown:
                        unknown += 1
                    else:
                        assert isinstance(counted, int)
                        answered[phase].append(counted)
                    await anyio.lowlevel.checkpoint()

            async with anyio.create_task_group() as tasks:
                for _ in range(64):
                    tasks.start_soon(work)
                await anyio.sleep(0.02)
                mortal.kill()
                phase = "after"
                mortal.restart()
            total = await redis.run(reads("GET", key))
    assert len(answered["before"]) + len(answered["after"]) + unknown == runs
    assert isinstance(total, bytes)
    # The restarted server is empty, so its count is that of the runs after: none of them twice.
    assert len(answered["after"]) - 64 <= int(total) <= len(answered["after"]) + unknown


async def test_a_server_that_pauses(redis: Face, beside: Driver, key: str) -> None:
    """CLIENT PAUSE holds replies back; they come to those who asked."""
    await redis.run(reads("PING"))
    beside.run(once("CLIENT", "PAUSE", 50))

    async def ask(number: int) -> None:
        assert await redis.run(echoes(key, str(number))) == [key.encode(), str(number).encode()]

    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(ask, number)


async def test_connections_killed_under_load(redis: Face, beside: Driver, key: str) -> None:
    """CLIENT KILL again and again: nothing counts twice."""
    answers: list[int] = []
    unknown = 0

    async def work() -> None:
        nonlocal unknown
        for _ in range(20):
            try:
                counted = await redis.run(counts(key))
            except OutcomeUnknown:
                unknown += 1
            else:
                assert isinstance(counted, int)
                answers.append(counted)

    async with anyio.create_task_group() as tasks:
        for _ in range(32):
            tasks.start_soon(work)
        for _ in range(10):
            await anyio.sleep(0.003)
            beside.run(once("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))
    assert len(set(answers)) == len(answers)
    assert len(answers) + unknown == 640


# What is left behind


async def test_nothing_is_left_after_close(kind: Kind, redis_server: Server) -> None:
    """No task, socket or timer of the driver outlives it, closed in peace or in the middle of things."""
    for seconds in (None, 0.003):
        async with kind.make(redis_server.url, {}) as redis:
            with anyio.move_on_after(seconds or 10):
                async with anyio.create_task_group() as tasks:
                    for number in range(20):
                        tasks.start_soon(redis.run, reads("ECHO", number))
                    if seconds is not None:
                        tasks.start_soon(redis.run, blocks(30, "BLPOP", "left-behind"))
    if kind.name.startswith("asyncio"):
        import asyncio

        await asyncio.sleep(0)
        ours = [task for task in asyncio.all_tasks() if "redis-patterns" in task.get_name()]
        assert ours == []
    assert sys.exc_info() == (None, None, None)


async def test_close_waits_for_answers_that_are_due(connect: Connect, proxy: Proxy, beside: Driver, key: str) -> None:
    """What is under way when the driver closes gets its answer if that comes within the grace."""
    got: list[object] = []
    async with connect() as redis:
        await redis.run(reads("PING"))
        proxy.plan(Delay(0.05), when=b"INCR", times=10)

        async def ask() -> None:
            got.append(await redis.run(once("INCR", key)))

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(ask)
            while beside.run(reads("GET", key)) != b"3":
                await anyio.sleep(0.002)
            await redis.close(5)
    assert sorted(got, key=str) == [1, 2, 3]


async def test_close_fails_what_is_not_answered(connect: Connect, proxy: Proxy, key: str) -> None:
    """After the grace, what may have happened ends as unknown, and what would be sent again as closed."""
    ended: list[str] = []
    async with connect() as redis:
        await redis.run(reads("PING"))
        proxy.plan(Silence(), when=b"INCR")

        async def ask(plan: Plan[object]) -> None:
            try:
                await redis.run(plan)
            except (OutcomeUnknown, DriverClosed) as error:
                ended.append(f"{plan.name} {type(error).__name__}")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, once("INCR", key))
            while not proxy.done:
                await anyio.sleep(0.002)
            tasks.start_soon(ask, reads("GET", key))
            tasks.start_soon(ask, blocks(30, "BLPOP", f"{key}list"))
            await anyio.sleep(0.05)
            await redis.close(0.05)
    assert sorted(ended) == ["blpop OutcomeUnknown", "get DriverClosed", "incr OutcomeUnknown"]
