"""Flags while the network fails: what is known goes on, that is said once, and no write counts twice."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import anyio
import pytest

from redis_patterns import Flag, FlagClient, FlagEvent, Flags
from redis_patterns.sync import Driver
from tests.drivers.plans import sets
from tests.faults.conftest import Connect
from tests.faults.proxy import Lose, Proxy

pytestmark = pytest.mark.anyio


@pytest.fixture
def flags(beside: Driver) -> Iterator[Flags]:
    """Give flags that no other test uses."""
    flags = Flags(f"test-{secrets.token_hex(6)}")
    yield flags
    for key in (flags.key, f"{flags.key}:changes"):
        beside.run(sets("DEL", key))


async def until(holds: Callable[[], object]) -> None:
    with anyio.fail_after(20):
        while not holds():
            await anyio.sleep(0.005)


async def test_an_outage(connect: Connect, proxy: Proxy, beside: Driver, flags: Flags) -> None:
    """The last known flags answer, and say that they may be old; what has changed is there when Redis is back."""
    beside.run(flags.put(Flag("a", percentage=0)))
    events: list[FlagEvent] = []
    async with (
        connect(retry_for=0) as redis,
        redis.follow(FlagClient(flags, poll=0.5, on_event=events.append)) as client,
    ):
        for _ in range(2):
            events.clear()
            proxy.refuse()
            proxy.cut()
            await until(lambda: client.stale)
            assert client.evaluate("a", "ann", True).reason == "STALE"
            changed = beside.run(flags.put(Flag("a", percentage=100)))
            await anyio.sleep(0.3)  # several attempts
            assert [event.what for event in events] == ["stale"]
            proxy.refuse(False)
            await until(lambda: not client.stale)
            assert client.snapshot is not None
            assert client.snapshot.flags["a"].version == changed
            assert client.is_enabled("a", "ann")
            beside.run(flags.put(Flag("a", percentage=0)))
            await until(lambda: not client.is_enabled("a", "ann"))
        assert [event.what for event in events][:2] == ["stale", "recovered"]
        assert [event.what for event in events].count("recovered") == 1
        assert [event.what for event in events].count("stale") == 1


async def test_an_answer_that_is_lost(connect: Connect, proxy: Proxy, beside: Driver, flags: Flags) -> None:
    """The write is sent again, counts once, and is told as what it was, and not as a conflict with itself."""
    async with connect() as redis:
        assert await redis.run(flags.put(Flag("a"), expected_version=0)) == 1
        proxy.plan(Lose(), when=b"EVAL", times=2)
        assert await redis.run(flags.put(Flag("a", percentage=1), expected_version=1)) == 2
        proxy.plan(Lose(), when=b"EVAL", times=1)
        assert await redis.run(flags.delete("a", expected_version=2)) is True
    assert [change.version for change in beside.run(flags.history())] == [3, 2, 1]
    assert len(proxy.done) == 3
