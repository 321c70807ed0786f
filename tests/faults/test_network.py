"""What becomes of a plan when the network fails at the worst moment, in every driver."""

from __future__ import annotations

import random

import anyio
import pytest

from redis_patterns import CommandFailed, OutcomeUnknown, Unreachable, batch
from redis_patterns.sync import Driver
from tests.drivers.plans import blocks, counts, once, reads, sets
from tests.faults.conftest import Connect
from tests.faults.proxy import Delay, Fault, Garbage, Half, Lose, Proxy, Silence, Split

pytestmark = pytest.mark.anyio

FATAL: list[tuple[Fault, int]] = [
    # with what the server has then executed
    (Lose(), 1),
    (Lose(keep=1), 1),
    (Half(0), 0),
    (Half(9), 0),
    (Garbage(), 1),
    (Garbage(b"%1\r\n*0\r\n+a map cannot have a list for a key\r\n"), 1),
]
_NAMES = ["lost", "lost-but-a-byte", "unsent", "half-sent", "garbage", "garbage-that-hashes"]


@pytest.mark.parametrize("case", FATAL, ids=_NAMES)
async def test_once_is_never_twice(
    connect: Connect, proxy: Proxy, beside: Driver, key: str, case: tuple[Fault, int]
) -> None:
    """A plan of effect ONCE whose answer is lost raises `OutcomeUnknown`, and ran once at most."""
    fault, executed = case
    async with connect() as redis:
        await redis.run(reads("PING"))
        proxy.plan(fault, when=b"RPUSH")
        with pytest.raises(OutcomeUnknown, match="rpush"):
            await redis.run(once("RPUSH", key, "x"))
        assert beside.run(reads("LLEN", key)) == executed
        assert proxy.done == [fault]
        assert await redis.run(once("RPUSH", key, "y")) == executed + 1


@pytest.mark.parametrize("fault", [fault for fault, _ in FATAL], ids=_NAMES)
async def test_what_may_be_repeated_is(connect: Connect, proxy: Proxy, key: str, fault: Fault) -> None:
    """READS and IDEMPOTENT are sent again, on a new connection, and give their result."""
    async with connect() as redis:
        await redis.run(reads("PING"))
        proxy.plan(fault, when=b"$3\r\nSET", times=2)
        assert await redis.run(sets("SET", key, "value")) == b"OK"
        proxy.plan(fault, when=b"GET", times=2)
        assert await redis.run(reads("GET", key)) == b"value"
        assert proxy.done == [fault] * 4


async def test_a_lost_reply_of_a_script(connect: Connect, proxy: Proxy, beside: Driver, key: str) -> None:
    """A script that counts has counted once, whether it went out as EVAL or as EVALSHA."""
    async with connect() as redis:
        await redis.run(reads("PING"))
        for counted, when in ((1, b"EVAL\r\n"), (3, b"EVALSHA")):
            proxy.plan(Lose(), when=when)
            with pytest.raises(OutcomeUnknown, match="count"):
                await redis.run(counts(key))
            assert beside.run(reads("GET", key)) == str(counted).encode()
            assert await redis.run(counts(key)) == counted + 1
    assert proxy.done == [Lose(), Lose()]


async def test_a_batch_whose_replies_stop_half_way(connect: Connect, proxy: Proxy, beside: Driver, key: str) -> None:
    """What was answered stands; a batch that counts ends as unknown, one that reads is completed."""
    async with connect() as redis:
        await redis.run(sets("SET", key, 5))
        proxy.plan(Lose(keep=len(b"$1\r\n5\r\n") + 2), when=b"GET")
        assert await redis.run(batch(reads("GET", key), reads("STRLEN", key))) == (b"5", 1)
        proxy.plan(Lose(keep=len(b"$1\r\n5\r\n") + 2), when=b"GET")
        with pytest.raises(OutcomeUnknown, match="batch"):
            await redis.run(batch(reads("GET", key), once("INCR", key)))
        assert beside.run(reads("GET", key)) == b"6"


async def test_replies_in_pieces(connect: Connect, proxy: Proxy, key: str) -> None:
    """Replies that come byte by byte are whole replies."""
    async with connect() as redis:
        proxy.plan(Split(1), when=b"SET")
        results = await redis.run(batch(sets("SET", key, "väl\r\nue"), reads("GET", key), reads("TYPE", key)))
        assert results == (b"OK", "väl\r\nue".encode(), b"string")
        with pytest.raises(CommandFailed, match="WRONGTYPE"):
            await redis.run(batch(reads("GET", key), once("RPUSH", key, "x")))
        assert await redis.run(counts(f"{key}n")) == 1
        await redis.run(sets("DEL", f"{key}n"))


@pytest.mark.parametrize("executed", [True, False])
async def test_a_server_that_falls_silent(
    connect: Connect, proxy: Proxy, beside: Driver, key: str, executed: bool
) -> None:
    """No answer within the timeout ends as unknown, or in a second try where that is allowed."""
    async with connect(socket_timeout=0.1) as redis:
        await redis.run(reads("PING"))
        proxy.plan(Silence(executed), when=b"RPUSH")
        with anyio.fail_after(5), pytest.raises(OutcomeUnknown, match=r"timed out|no answer within"):
            await redis.run(once("RPUSH", key, "x"))
        assert beside.run(reads("LLEN", key)) == int(executed)
        proxy.plan(Silence(executed), when=b"LLEN")
        assert await redis.run(reads("LLEN", key)) == int(executed)


async def test_a_server_that_refuses_connections_for_a_while(connect: Connect, proxy: Proxy, key: str) -> None:
    """Nothing is sent, so any plan waits for the server to come back; when that is too long: `Unreachable`."""
    proxy.refuse()
    async with connect(retry_for=0.1) as redis:
        with pytest.raises(Unreachable):
            await redis.run(once("RPUSH", key, "x"))
    before = proxy.connections
    async with connect(retry_for=10) as redis, anyio.create_task_group() as tasks:

        async def recover() -> None:
            while proxy.connections < before + 2:
                await anyio.sleep(0.005)
            proxy.refuse(False)

        tasks.start_soon(recover)
        assert await redis.run(once("RPUSH", key, "x")) == 1


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\xff", b"$-7\r\n", b":x\r\n"])
async def test_something_else_that_listens_there(connect: Connect, proxy: Proxy, said: bytes) -> None:
    """What answers the greeting with something that is no RESP is no Redis: nothing was sent."""
    proxy.plan(Garbage(said), when=b"CLIENT", times=100)
    proxy.plan(Garbage(said), when=b"HELLO", times=100)
    async with connect(retry_for=0.05, socket_timeout=0.2) as redis:
        with pytest.raises(Unreachable):
            await redis.run(once("PING"))


async def test_no_reply_reaches_the_wrong_caller_after_timeouts(connect: Connect, proxy: Proxy) -> None:
    """Replies that come late, after their caller has left, are nobody's."""
    chance = random.Random(7)
    late = wrong = 0
    async with connect() as redis:
        await redis.run(reads("PING"))
        proxy.plan(Delay(0.03), when=b"ECHO", times=10_000)

        async def ask(number: int) -> None:
            nonlocal late, wrong
            try:
                answer = await redis.run(once("ECHO", number), timeout=chance.choice([0.002, 0.005, 0.01, 5]))
            except (OutcomeUnknown, Unreachable):
                late += 1
            else:
                wrong += answer != str(number).encode()

        for first in range(0, 64, 8):
            async with anyio.create_task_group() as tasks:
                for number in range(first, first + 8):
                    tasks.start_soon(ask, number)
        assert await redis.run(reads("ECHO", "the last")) == b"the last"
    assert wrong == 0
    assert late > 0


async def test_resets_under_load(connect: Connect, proxy: Proxy, beside: Driver, key: str) -> None:
    """Connections that die again and again under many tasks: nothing is executed twice, no reply is another's."""
    chance = random.Random(3)
    answered: list[int] = []
    unknown = unsent = 0
    stop = False
    async with connect() as redis:

        async def count(_: int) -> None:
            nonlocal unknown, unsent
            for _ in range(12):
                try:
                    answer = await redis.run(counts(key))
                except OutcomeUnknown:
                    unknown += 1
                except Unreachable:
                    unsent += 1  # on a slow machine each of its connections may have been cut while it was being made
                else:
                    assert isinstance(answer, int)
                    answered.append(answer)

        async def cut() -> None:
            while not stop:
                await anyio.sleep(chance.random() * 0.02)
                proxy.cut()

        async with anyio.create_task_group() as cutting:
            cutting.start_soon(cut)
            async with anyio.create_task_group() as tasks:
                for number in range(16):
                    tasks.start_soon(count, number)
            stop = True
    counted = beside.run(reads("GET", key))
    assert isinstance(counted, bytes)
    assert len(set(answered)) == len(answered)
    assert answered
    assert len(answered) + unknown + unsent == 16 * 12
    assert len(answered) <= int(counted) <= len(answered) + unknown


async def test_an_idle_connection_that_the_server_closed(connect: Connect, beside: Driver, key: str) -> None:
    """It is noticed before it is used: a plan that must not be repeated does not fail for nothing."""
    async with connect(client_name=key) as redis:
        await redis.run(once("RPUSH", key, "x"))
        listed = beside.run(reads("CLIENT", "LIST"))
        assert isinstance(listed, bytes)
        ours = [line for line in listed.decode().splitlines() if f"name={key} " in line]
        assert ours
        await anyio.sleep(0.6)  # the sync driver looks at a connection that has rested for half a second
        for line in ours:
            beside.run(once("CLIENT", "KILL", "ID", line.partition(" ")[0].removeprefix("id=")))
        await anyio.sleep(0.02)  # for the proxy to pass it on
        assert await redis.run(once("RPUSH", key, "y")) == 2


async def test_a_blocked_pop_that_loses_its_connection(connect: Connect, proxy: Proxy, key: str) -> None:
    """It ends as unknown when it had been sent, and the next one works."""
    async with connect() as redis, anyio.create_task_group() as tasks:

        async def cut() -> None:
            while not proxy.done:
                await anyio.sleep(0.002)
            proxy.cut()

        proxy.plan(Silence(executed=True), when=b"BLPOP")
        tasks.start_soon(cut)
        with pytest.raises(OutcomeUnknown, match="blpop"):
            await redis.run(blocks(5, "BLPOP", key))
        assert await redis.run(blocks(0.01, "BLPOP", key)) is None
