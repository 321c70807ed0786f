"""asyncio and trio: when a connection is opened, given up, kept and given back."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import redis.asyncio
import trio

from redis_patterns import Counter, DriverClosed, OutcomeUnknown, Plan
from redis_patterns import asyncio as on_asyncio
from redis_patterns import trio as on_trio
from redis_patterns.sync import Driver
from redis_patterns.testing import Server
from tests.drivers.faces import KINDS, Kind
from tests.drivers.plans import blocks, once, reads, sets

pytestmark = pytest.mark.anyio

SERVED = [kind for kind in KINDS if not kind.memory and not kind.name.startswith("sync")]

ON_ASYNCIO = pytest.mark.parametrize(
    "kind", [kind for kind in SERVED if kind.name in {"asyncio", "asyncio-uvloop"}], ids=lambda kind: kind.name
)


@pytest.fixture(params=SERVED, ids=[kind.name for kind in SERVED])
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


@pytest.fixture
def anyio_backend(kind: Kind) -> str | tuple[str, dict[str, Any]]:
    return kind.backend


@pytest.fixture
def key() -> str:
    return f"test-{secrets.token_hex(6)}"


def clients(beside: Driver) -> int:
    listed = beside.run(reads("CLIENT", "LIST"))
    assert isinstance(listed, bytes)
    return len(listed.splitlines())


# Opening


def test_a_trio_driver_used_before_its_block(redis_server: Server, key: str) -> None:
    """It says that it works inside its block only, each time, and works there."""

    async def main() -> None:
        driver = on_trio.Driver.connect(redis_server.url)
        for _ in range(2):
            with pytest.raises(DriverClosed, match="inside its 'async with' block"):
                await driver.run(Counter(key).value())
        async with driver:
            with trio.fail_after(5):
                assert await driver.run(Counter(key).value()) == 0

    trio.run(main)


@pytest.mark.parametrize("first", [reads("PING"), blocks(0.01, "BLPOP", "test-nothing")], ids=lambda plan: plan.name)
def test_another_event_loop(redis_server: Server, first: Plan[Any]) -> None:
    """It is refused, whatever is asked for in it, and so is closing in it."""
    driver = on_asyncio.Driver.connect(redis_server.url)

    async def use() -> None:
        await driver.run(first)
        (connection,) = [found for _, found in transport(driver)._resting] or [transport(driver)._connection]
        connection.fail("the loop ends")
        await connection.wait_closed()

    async def misuse() -> None:
        for plan in (reads("PING"), blocks(0.01, "BLPOP", "test-nothing")):
            with pytest.raises(RuntimeError, match="a driver serves one event loop"):
                await driver.run(plan)
        with pytest.raises(RuntimeError, match="a driver serves one event loop"):
            await driver.close()

    asyncio.run(use())
    asyncio.run(misuse())


def transport(driver: Any) -> Any:
    return driver._transport


# Giving up


@pytest.mark.parametrize("large", [False, True])
async def test_a_process_that_stood_still(kind: Kind, redis_server: Server, key: str, *, large: bool) -> None:
    """The answers have come meanwhile, as many as the socket holds: they are taken in, and none is taken for lost."""
    async with kind.make(redis_server.url, {"socket_timeout": 0.3}) as driver:
        await driver.run(sets("SET", key, "x" * (10_000 if large else 10), "EX", 60))
        lost: list[OutcomeUnknown] = []

        async def ask(number: int) -> None:
            try:
                await driver.run(once("INCR", f"{key}-count") if number % 2 else once("GET", key))
            except OutcomeUnknown as error:
                lost.append(error)

        async with anyio.create_task_group() as tasks:
            for number in range(200):
                tasks.start_soon(ask, number)
            for _ in range(3):
                await anyio.lowlevel.checkpoint()
            time.sleep(0.5)  # noqa: ASYNC251  as long as nothing runs here
        assert not lost
        assert await driver.run(once("GETDEL", f"{key}-count")) == b"100"


# Giving back


async def test_idle_connections_are_closed(
    kind: Kind, redis_server: Server, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of plans that have blocked, after a while, whether others are used or not; the one in use is kept."""
    monkeypatch.setattr("redis_patterns._multiplex.IDLE", 0.2)
    with Driver.connect(redis_server.url) as beside:
        async with kind.make(redis_server.url, {}) as driver:
            await driver.run(reads("PING"))
            before = clients(beside)
            for _ in range(2):
                async with anyio.create_task_group() as tasks:
                    for number in range(10):
                        tasks.start_soon(driver.run, blocks(0.1, "BLPOP", f"{key}-{number}"))
                assert clients(beside) > before
                with anyio.fail_after(10):
                    while clients(beside) > before + 1:
                        await driver.run(blocks(0.01, "BLPOP", key))
                    while clients(beside) > before:
                        await anyio.sleep(0.02)


@ON_ASYNCIO
@pytest.mark.usefixtures("kind")
async def test_a_clients_pool_after_a_burst(redis_server: Server, key: str) -> None:
    """Plans that block leave half of it to others."""
    async with (
        redis.asyncio.Redis.from_url(redis_server.url, max_connections=10) as client,
        on_asyncio.Driver(client) as driver,
    ):
        plans = [driver.run(blocks(0.1, "BLPOP", f"{key}-{number}")) for number in range(20)]
        await asyncio.gather(*plans, return_exceptions=True)
        assert await asyncio.gather(*(client.ping() for _ in range(4))) == [True] * 4


@ON_ASYNCIO
@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("blocked", [False, True])
async def test_a_client_closed_before_its_driver(redis_server: Server, key: str, *, blocked: bool) -> None:
    """It closes at once; what is under way fails, and the driver opens another connection if it is used again."""
    client = redis.asyncio.Redis.from_url(redis_server.url)
    driver = on_asyncio.Driver(client)
    await driver.run(reads("PING"))
    waiting = asyncio.ensure_future(driver.run(blocks(30, "BLPOP", key))) if blocked else None
    await asyncio.sleep(0.05)
    with anyio.fail_after(2):
        await client.aclose()
        if waiting is not None:
            with pytest.raises(OutcomeUnknown):
                await waiting
        assert await driver.run(reads("PING")) == b"PONG"
        await driver.close()
        await client.aclose()
