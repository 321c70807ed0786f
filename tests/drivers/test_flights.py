"""What several tasks or threads of a driver want at the same time, through the flow step `Shared`; and `Alongside`."""

from __future__ import annotations

import threading
import time
from typing import Any

import anyio
import pytest

from redis_patterns import Alongside, Call, DeadlineExceeded, Flow, Plan, Shared, Sleep, Steps, flow
from redis_patterns.sync import Driver
from redis_patterns.testing import Dry, Server
from tests.drivers.faces import Face
from tests.drivers.plans import reads, sets

pytestmark = pytest.mark.anyio


@flow
def shared(work: Any, key: str = "k", wait: float | None = None) -> Steps[Any]:
    return (yield from Shared(key, work, wait))


@pytest.mark.renews
async def test_one_does_it_for_all(redis: Face) -> None:
    """All get the result of the one that ran, or its error; the next time it runs again."""
    runs, got = [0], list[Any]()

    @flow
    def work() -> Steps[int]:
        runs[0] += 1
        number = runs[0]
        yield from reads("PING")
        yield from Sleep(0.05)
        if number == 2:
            raise ValueError("no")
        return number

    async def want() -> None:
        try:
            got.append(await redis.run(shared(work())))
        except ValueError as error:
            got.append(str(error))

    for expected in ([1] * 5, ["no"] * 5, [3] * 5):
        got.clear()
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(want)
        assert got == expected


async def test_different_keys_do_not_wait_for_each_other(redis: Face) -> None:
    """And what wants the same within what it does, does it."""

    @flow
    def outer() -> Steps[str]:
        inner: str = yield from shared(Flow("inner", _one))
        other: str = yield from shared(Flow("inner", _one), "other")
        return inner + other

    assert await redis.run(shared(outer())) == "11"


def _one() -> Steps[str]:
    yield from reads("PING")
    return "1"


@pytest.mark.renews
async def test_who_has_waited_long_enough_does_it_as_well(redis: Face) -> None:
    """It gets the result of its own, and the one that was waited for goes on."""
    runs, got = list[int](), list[int]()

    @flow
    def work() -> Steps[int]:
        runs.append(len(runs))
        number = runs[-1]
        while number == 0 and len(runs) < 3:
            yield from Sleep(0.005)
        return number

    async def want(wait: float | None = None) -> None:
        got.append(await redis.run(shared(work(), "slow", wait)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(want)
        while not runs:
            await anyio.sleep(0.001)
        for wait in (0.02, 0.0):
            await want(wait)
    assert got == [1, 2, 0]


def test_who_waits_for_a_thread_gives_up_in_time(redis_server: Server) -> None:
    """A timeout ends the wait for another thread's work too."""
    begun, go = threading.Event(), threading.Event()

    def slow() -> int:
        begun.set()
        go.wait(10)
        return 1

    with Driver.connect(redis_server.url) as redis:
        thread = threading.Thread(target=lambda: redis.run(shared(_calling(slow))))
        thread.start()
        begun.wait(10)
        began = time.monotonic()
        for wait in (None, 0.05, 60):
            with pytest.raises(DeadlineExceeded):
                redis.run(shared(_calling(slow), "k", wait), timeout=0.05)
        assert time.monotonic() - began < 5
        go.set()
        thread.join()


def _calling(function: Any) -> Flow[Any]:
    def steps() -> Steps[Any]:
        return (yield from Call(function))

    return Flow("calling", steps)


@pytest.mark.renews
async def test_alongside(redis: Face, namespace: str) -> None:
    """What runs beside runs until the call is over, and no longer; an error of the call is that of the step."""
    key = f"{namespace}:beside"
    turns: list[int] = []

    @flow
    def beside() -> Steps[None]:
        while True:
            yield from Sleep(0.01)
            turns.append(1)
            yield from sets("SET", key, len(turns), "PX", 60_000)

    @flow
    def work(error: Exception | None) -> Steps[str]:
        for _ in range(200):
            yield from Sleep(0.01)
            if len(turns) >= 3:
                break
        if error is not None:
            raise error
        return "done"

    @flow
    def both(error: Exception | None = None) -> Steps[str]:
        return (yield from Alongside(work(error), beside()))

    assert await redis.run(both()) == "done"
    seen = len(turns)
    assert seen >= 3
    with pytest.raises(ValueError, match="no"):
        await redis.run(both(ValueError("no")))
    await anyio.sleep(0.03)
    assert len(turns) <= seen + 1


def test_taken_one_by_one() -> None:
    """Dry, both are what they run."""

    @flow
    def steps() -> Steps[tuple[Any, Any]]:
        first = yield from Shared("k", _plan("a"))
        second = yield from Alongside(_plan("b"), _plan("never"))
        third = yield from Alongside(Call(len, "abc"), _plan("never"))
        return first, (second, third)

    dry = Dry(steps())
    dry.expect("a").answer(1).expect("b").answer(2)
    assert dry.result == (1, (2, 3))


def _plan(name: str) -> Flow[Any]:
    def steps() -> Steps[Any]:
        plan: Plan[Any] = Plan(name, reads("PING").commands, lambda answers: answers[0])
        return (yield from plan)

    return Flow(name, steps)
