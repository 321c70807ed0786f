"""What is done once through every driver, on a real server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from redis_patterns import (
    Claim,
    DeadlineExceeded,
    IdReused,
    Jobs,
    LockLost,
    Once,
    OutcomeUnknown,
    Plan,
    Sleep,
    Steps,
    StillRunning,
    Text,
    Unsettled,
    flow,
)
from redis_patterns._async import AsyncDriver
from redis_patterns.asyncio import Driver as AsyncioDriver
from redis_patterns.sync import Driver
from redis_patterns.testing import Server
from redis_patterns.testing.memory import Server as Memory
from redis_patterns.trio import Driver as TrioDriver
from tests.drivers.faces import Face
from tests.drivers.plans import reads, sets

pytestmark = pytest.mark.anyio


class Counted:
    """A function that counts its calls, and may fail."""

    def __init__(self, result: Any = 7) -> None:
        self.calls = 0
        self.result = result

    def __call__(self) -> Any:
        self.calls += 1
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


async def test_results_are_given_again(redis: Face, namespace: str) -> None:
    """Whatever they are, each by its own type, from a key that expires."""
    once: Once[Any] = Once("x", keep=100, namespace=namespace)
    values: list[Any] = [None, False, 0, "", [], {"a": [1, None]}, -5, "é\r\n", 1.5]
    for number, value in enumerate(values):
        counted = Counted(value)
        for _ in range(3):
            got = await redis.run(once.run(f"i{number}", counted))
            assert got == value
            assert type(got) is type(value)
        assert counted.calls == 1
        ttl = await redis.run(reads("PTTL", once.key(f"i{number}")))
        assert isinstance(ttl, int)
        assert 90_000 < ttl <= 100_000


@pytest.mark.renews
async def test_a_crowd_does_it_once(redis: Face, namespace: str) -> None:
    """Many who want the same at the same time: one does it, all get what it got."""
    once: Once[int] = Once("x", namespace=namespace)
    begun, got = list[int](), list[int]()

    @flow
    def work(number: int) -> Steps[int]:
        begun.append(number)
        yield from Sleep(0.02)
        return number

    async def want(number: int) -> None:
        got.append(await redis.run(once.run("i", work, number, wait=60)))

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(want, number)
    assert len(begun) == 1
    assert got == begun * 20


async def test_what_fails_and_what_nobody_knows(redis: Face, namespace: str) -> None:
    """A function that raises may be tried again; one that was interrupted has to be settled or forgotten first."""
    once: Once[int] = Once("x", after_crash="refuse", namespace=namespace)
    with pytest.raises(ValueError, match="no"):
        await redis.run(once.run("i", Counted(ValueError("no"))))
    assert await redis.run(once.look("i")) == Claim("absent")

    @flow
    def too_long() -> Steps[int]:
        yield from Sleep(60)
        return 1

    with pytest.raises((DeadlineExceeded, TimeoutError)):
        await redis.run(once.run("i", too_long), timeout=0.1)
    with pytest.raises(Unsettled):
        await redis.run(once.run("i", Counted()))
    assert await redis.run(once.settle("i", 5))
    assert await redis.run(once.run("i", Counted())) == 5
    with pytest.raises(OutcomeUnknown):
        await redis.run(once.run("j", Counted(OutcomeUnknown("bank", "no answer"))))
    assert (await redis.run(once.look("j"))).state == "unsettled"
    assert await redis.run(once.forget("j"))
    assert await redis.run(once.run("j", Counted())) == 7


async def test_somebody_else_is_at_it(redis: Face, namespace: str) -> None:
    """It is told at once, or the result that comes is waited for; an id is for one request."""
    once: Once[int] = Once("x", lease=30, namespace=namespace)
    counted = Counted()
    claim = await redis.run(once.claim("i", fingerprint="body"))
    assert claim.state == "claimed"
    assert await redis.run(once.renew("i", claim.token))
    with pytest.raises(StillRunning):
        await redis.run(once.run("i", counted))
    with pytest.raises(IdReused):
        await redis.run(once.run("i", counted, fingerprint="another", wait=5))
    assert await redis.run(once.forget("i")) is False
    assert (await redis.run(once.complete("i", claim.token, 3))).result == 3
    assert await redis.run(once.run("i", counted, fingerprint=b"body")) == 3
    assert await redis.run(once.abandon("i", claim.token)) is False
    assert counted.calls == 0


async def test_a_result_that_comes_too_late(redis: Face, namespace: str) -> None:
    """Where another one is kept that one is given, where the id was taken away it is an error."""
    once: Once[int] = Once("x", namespace=namespace)

    @flow
    def taken_away(id: str, then: Plan[Any] | None = None) -> Steps[int]:
        yield from sets("DEL", once.key(id))
        if then is not None:
            yield from then
        return 1

    assert await redis.run(once.run("i", taken_away, "i", once.settle("i", 2))) == 2
    with pytest.raises(LockLost):
        await redis.run(once.run("j", taken_away, "j", once.claim("j")))
    assert (await redis.run(once.look("j"))).state == "running"
    with pytest.raises(LockLost):
        await redis.run(once.run("k", taken_away, "k"))
    assert await redis.run(once.look("k")) == Claim("absent")


async def test_scripts_that_are_forgotten(redis: Face, namespace: str, flush_scripts: Callable[[Face], Any]) -> None:
    """A server that was restarted is taught them again."""
    once: Once[int] = Once("x", namespace=namespace)
    for number in range(3):
        await flush_scripts(redis)
        assert await redis.run(once.run(f"i{number}", lambda number=number: number)) == number
        await flush_scripts(redis)
        assert (await redis.run(once.look(f"i{number}"))).result == number


# Functions of all kinds, and time


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
def test_coroutine_functions(kind: str) -> None:
    """They are awaited, their claims renewed for as long as they take, and cancelled they may be tried again."""

    async def main() -> None:
        server, once, calls = Memory(), Once[str]("x", lease=10, codec=Text()), list[str]()
        opening: AsyncDriver = server.asyncio() if kind == "asyncio" else server.trio()

        async def work(result: str) -> str:
            calls.append(result)
            await slept.wait()
            return result

        async with opening as redis:
            slept = anyio.Event()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(redis.run, once.run("i", work, "never"))
                while calls != ["never"]:
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            assert await redis.run(once.look("i")) == Claim("absent")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(redis.run, once.run("i", work, "first"))
                while calls != ["never", "first"]:
                    await anyio.lowlevel.checkpoint()
                await server.clock.elapse(60)
                with pytest.raises(StillRunning):
                    await redis.run(once.run("i", work, "second"))
                slept.set()
            assert await redis.run(once.run("i", work, "third")) == "first"
            assert calls == ["never", "first"]

    anyio.run(main, backend=kind)


def test_a_job_that_is_given_twice_is_done_once(redis_server: Server, namespace: str) -> None:
    """Its handler asks for the job's id, so that the second delivery gets the result of the first."""
    jobs: Jobs[int] = Jobs("x", lease=30, namespace=namespace)
    charges: Once[int] = Once("charges", namespace=namespace)
    charged = list[int]()

    def charge(amount: int) -> int:
        charged.append(amount)
        return len(charged)

    with Driver.connect(redis_server.url) as redis:
        redis.run(jobs.enqueue(5, id="order-1"))
        for _ in range(2):
            (job,) = redis.run(jobs.reserve(1, worker="w")).jobs
            assert redis.run(charges.run(job.id, charge, job.payload)) == 1
            redis.run(jobs.settle(jobs.release(job)))
    assert charged == [5]


@pytest.mark.parametrize("driver", [AsyncioDriver, TrioDriver])
def test_a_cancellation_at_any_point(driver: Any, redis_server: Server, namespace: str) -> None:
    """Whenever it comes: the id is absent, or done by the function that has returned, and nobody waits for a lease."""

    async def main() -> None:
        once: Once[int] = Once("x", lease=30, namespace=namespace)
        async with driver.connect(redis_server.url) as redis:
            seen = set[str]()
            for steps in range(40):
                returned = list[int]()

                async def work() -> int:
                    await anyio.lowlevel.checkpoint()
                    returned.append(1)  # noqa: B023  used in this turn only
                    return 1

                async def want(id: str) -> None:
                    await redis.run(once.run(id, work))

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(want, f"i{steps}")
                    for _ in range(steps):
                        await anyio.lowlevel.checkpoint()
                    tasks.cancel_scope.cancel()
                state = (await redis.run(once.look(f"i{steps}"))).state
                assert state == ("done" if returned else "absent")
                seen.add(state)
            assert "absent" in seen

    anyio.run(main, backend="asyncio" if driver is AsyncioDriver else "trio")
