"""Timeouts and waits of hours, in no time: the clock jumps whenever every task waits."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import selectors
import socket
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import redis_patterns.asyncio
import redis_patterns.trio
from redis_patterns import DeadlineExceeded, Lock, OutcomeUnknown, Sleep, Steps, Unreachable, flow
from redis_patterns.testing import Server
from tests.drivers.plans import blocks, once, reads

Main = Callable[[Any], Awaitable[None]]

_REALLY = 0.02
"""Seconds of real time in which nothing happens before the clock jumps: an answer of a busy machine takes some."""


class Jumping(selectors.DefaultSelector):
    """A selector for which waiting takes no time: the clock is put forward instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # What other processes do takes real time, though a short one.
        real = _REALLY if timeout is None or timeout > 0 else 0
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(real)
        if not ready and timeout:
            self.now += timeout
        return ready


def in_asyncio(url: str, options: dict[str, Any], main: Main) -> float:
    """Run something on an asyncio driver, and give the seconds that it believes to have taken."""
    selector = Jumping()
    loop = asyncio.SelectorEventLoop(selector)
    setattr(loop, "time", lambda: selector.now)  # noqa: B010  what a loop asks for the time

    async def run() -> None:
        driver = redis_patterns.asyncio.Driver.connect(url, **options)
        driver._clock = driver._transport._clock = loop.time  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        async with driver:
            await main(driver)

    with contextlib.closing(loop):
        loop.run_until_complete(run())
    return selector.now


def in_trio(url: str, options: dict[str, Any], main: Main) -> float:
    """Run something on a trio driver, and give the seconds that it believes to have taken."""
    clock = trio.testing.MockClock(autojump_threshold=_REALLY)

    async def run() -> float:
        started = trio.current_time()
        async with redis_patterns.trio.Driver.connect(url, **options) as driver:
            await main(driver)
        return trio.current_time() - started

    return trio.run(run, clock=clock)


@pytest.fixture(params=[in_asyncio, in_trio], ids=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Callable[[str, dict[str, Any], Main], float]:
    run: Callable[[str, dict[str, Any], Main], float] = request.param
    return run


@pytest.fixture
def silent() -> Iterator[str]:
    """Give the URL of something that greets like a Redis and then never says a word."""

    def serve() -> None:
        while True:
            client, _ = listener.accept()
            clients.append(client)
            if closing:
                return
            with contextlib.suppress(OSError):  # one that has gone already
                client.recv(65536)
                client.sendall(b"%1\r\n+proto\r\n:3\r\n+OK\r\n")

    clients: list[socket.socket] = []
    closing: list[bool] = []
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = Path(folder) / "s"
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"unix://{path}"
        closing.append(True)
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(str(path))
        thread.join()
        for client in clients:
            client.close()


Run = Callable[[str, dict[str, Any], Main], float]


def test_no_answer_within_the_timeout(run: Run, silent: str) -> None:
    """ONCE gives up after it, at the second; READS tries again until its budget is over."""

    async def main(redis: Any) -> None:
        with pytest.raises(OutcomeUnknown, match="no answer within 3600 s"):
            await redis.run(once("INCR", "x"))

    assert run(silent, {"socket_timeout": 3600}, main) == pytest.approx(3600, abs=2)

    async def again(redis: Any) -> None:
        with pytest.raises(OutcomeUnknown, match="no answer within"):
            await redis.run(reads("GET", "x"))

    assert run(silent, {"socket_timeout": 600, "retry_for": 3000}, again) == pytest.approx(6 * 600, rel=0.2)


def test_a_blocking_plan_has_its_own_time_on_top(run: Run, silent: str) -> None:
    """The server may take as long as the plan says, and then the timeout."""

    async def main(redis: Any) -> None:
        with pytest.raises(OutcomeUnknown, match="no answer within 3700 s"):
            await redis.run(blocks(3600, "BLPOP", "x"))

    assert run(silent, {"socket_timeout": 100}, main) == pytest.approx(3700, abs=2)


def test_a_run_has_its_deadline(run: Run, silent: str) -> None:
    """A plan ends at it as unknown, a flow as exceeded."""

    @flow
    def waits() -> Steps[None]:
        yield from Sleep(100_000)

    async def main(redis: Any) -> None:
        with pytest.raises(OutcomeUnknown, match="not over within 600 s"):
            await redis.run(once("INCR", "x"), timeout=600)
        with pytest.raises(DeadlineExceeded, match="not over within 900 s"):
            await redis.run(waits(), timeout=900)

    assert run(silent, {"socket_timeout": None}, main) == pytest.approx(1500, abs=6)


def test_a_greeting_that_never_comes(run: Run) -> None:
    """The connect timeout covers it, and says so as an error of its own: nothing was sent."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = Path(folder) / "s"
        listener.bind(str(path))
        listener.listen()

        async def main(redis: Any) -> None:
            with pytest.raises(Unreachable, match="timed out"):
                await redis.run(once("INCR", "x"))

        took = run(f"unix://{path}", {"socket_connect_timeout": 1800, "socket_timeout": None, "retry_for": 0}, main)
    assert took == pytest.approx(1800, abs=2)


def test_dialling_goes_on_with_backoff(run: Run) -> None:
    """A server that is away for minutes is asked for about once a second, and no more."""
    dialled: list[float] = []

    async def main(redis: Any) -> None:
        transport = redis._transport
        dial = transport._open

        async def counted() -> Any:
            dialled.append(redis._clock())
            return await dial()

        transport._open = counted
        with pytest.raises(Unreachable):
            await redis.run(once("INCR", "x"))

    took = run("unix:///no/such/socket", {"retry_for": 120}, main)
    assert took == pytest.approx(120, abs=3)
    assert 120 / 1.5 < len(dialled) < 120 * 4
    assert max(later - earlier for earlier, later in itertools.pairwise(dialled)) <= 2.5


def test_a_lock_held_for_days(run: Run, redis_server: Server) -> None:
    """It is renewed at about a third of its TTL, again and again."""
    lock = Lock(f"days-{time.monotonic_ns()}", ttl=3600)
    renewed: list[float] = []

    async def main(redis: Any) -> None:
        sleep = asyncio.sleep if isinstance(redis, redis_patterns.asyncio.Driver) else trio.sleep
        async with redis.hold(lock) as held:
            for _ in range(48):
                await sleep(1800)
                renewed.append(held.ends_at)
                held.check()
        assert await redis.run(reads("EXISTS", lock.key)) == 0

    took = run(redis_server.url, {"socket_timeout": 1000}, main)
    assert took == pytest.approx(24 * 3600, rel=0.01)
    assert len(set(renewed)) >= 40
