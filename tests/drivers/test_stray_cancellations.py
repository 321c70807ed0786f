"""asyncio: functions that end with a `CancelledError` although nobody cancels the task that calls them.

Whatever awaits a future or a task that was cancelled does.
"""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import secrets
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from redis_patterns import BatchWork, Cache, Call, FifoQueue, Held, Job, Jobs, Lock, Steps, Work, WorkEvent, flow
from redis_patterns.asyncio import Driver
from redis_patterns.testing import Server
from tests.drivers.faces import KINDS
from tests.drivers.plans import reads

pytestmark = pytest.mark.anyio


_LOOPS = {kind.name: kind.backend for kind in KINDS if kind.name in {"asyncio", "asyncio-uvloop"}}


@pytest.fixture(params=_LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return _LOOPS[request.param]


@pytest.fixture
async def redis(redis_server: Server) -> AsyncIterator[Driver]:
    async with Driver.connect(redis_server.url) as redis:
        yield redis


@pytest.fixture
def namespace() -> str:
    return f"test-{secrets.token_hex(6)}"


async def awaits_what_was_cancelled() -> None:
    task = asyncio.ensure_future(asyncio.sleep(60))
    task.cancel()
    await task


def asks_what_was_cancelled() -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    future.result()


@pytest.mark.parametrize("function", [awaits_what_was_cancelled, asks_what_was_cancelled])
async def test_a_flow_can_catch_it(redis: Driver, function: Any) -> None:
    """As an exception like others; one that it does not catch is raised by `run`."""

    @flow
    def calls(*, careful: bool) -> Steps[str]:
        try:
            yield from Call(function)
        except Exception as error:
            if careful:
                return str(error)
            raise
        return "nothing"

    assert await redis.run(calls(careful=True)) == "what it awaited was cancelled"
    with pytest.raises(concurrent.futures.CancelledError) as caught:
        await redis.run(calls(careful=False))
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)


@pytest.mark.parametrize("native", [True, False])
async def test_a_cancellation_of_the_task_stays_one(redis: Driver, *, native: bool) -> None:
    """Whether the task's own or a scope's, and also where the function catches it and raises another one."""
    for function in (forever, forever_in_another_task):
        ended: list[str] = []
        scope = anyio.CancelScope()

        @flow
        def calls(function: Any = function, ended: list[str] = ended) -> Steps[None]:
            yield from reads("PING")
            try:
                yield from Call(function)
            except Exception:
                ended.append("an exception")
                raise

        async def run(scope: anyio.CancelScope = scope, calls: Any = calls) -> None:
            with scope:
                await redis.run(calls())

        task = asyncio.ensure_future(run())
        await asyncio.sleep(0.02)
        (task if native else scope).cancel()
        await asyncio.wait([task], timeout=5)
        assert task.cancelled() == native
        assert scope.cancelled_caught != native
        assert not ended


async def forever() -> None:
    await asyncio.sleep(60)


async def forever_in_another_task() -> None:
    task = asyncio.ensure_future(forever())
    try:
        await asyncio.wait([task])
    finally:
        task.cancel()
        await task


@pytest.mark.parametrize("batches", [False, True])
async def test_a_handler_has_failed(redis: Driver, namespace: str, *, batches: bool) -> None:
    """An attempt is counted, the job is dead after its last, and the worker and its other handlers go on."""
    jobs: Jobs[str] = Jobs("work", namespace=namespace, attempts=2, retry_after=0.01)
    done: list[str] = []
    events: list[WorkEvent] = []

    async def handle(job: Job[str]) -> None:
        if job.payload == "cancelled":
            await awaits_what_was_cancelled()
        await asyncio.sleep(0.1)
        done.append(job.payload)

    async def handle_all(batch: list[Job[str]]) -> None:
        for job in batch:
            await handle(job)

    await redis.run(jobs.enqueue_many(["a", "cancelled", "b", "c"]))
    work: Any = BatchWork(jobs, handle_all, size=1) if batches else Work(jobs, handle)
    with anyio.fail_after(20):
        await redis.work(
            work,
            concurrency=2,
            until=lambda: len(done) == 3 and [event.what for event in events].count("dead") == 1,
            on_event=events.append,
        )
    assert sorted(done) == ["a", "b", "c"]
    assert collections.Counter(event.what for event in events) == {"began": 5, "failed": 1, "dead": 1, "done": 3}
    (dead,) = await redis.run(jobs.dead())
    assert dead.attempts == 2
    assert dead.error.endswith("CancelledError: what it awaited was cancelled")


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_an_item_has_failed(redis: Driver, namespace: str, concurrency: int) -> None:
    """And its consumer goes on with the next."""
    queue: FifoQueue[int] = FifoQueue("items", namespace=namespace)
    seen: list[int] = []

    async def handle(item: int) -> None:
        seen.append(item)
        if item == 1:
            await awaits_what_was_cancelled()

    await redis.run(queue.put_many([1, 2, 3]))
    with anyio.fail_after(20):
        assert await redis.consume(queue, handle, concurrency=concurrency, until=lambda: len(seen) == 3) == 3
    assert [failed.error for failed in await redis.run(queue.failed())] == [
        "CancelledError: what it awaited was cancelled"
    ]


async def test_a_loader_has_failed(redis: Driver, namespace: str) -> None:
    """All who wait for it are told so, in the foreground and behind; the next load succeeds."""
    cache: Cache[int] = Cache("c", ttl=60, namespace=namespace)
    loads = [redis.run(cache.load("key", awaits_what_was_cancelled)) for _ in range(3)]  # type: ignore[arg-type]
    with anyio.fail_after(5):
        got = await asyncio.gather(*loads, return_exceptions=True)
        assert [type(error) for error in got] == [concurrent.futures.CancelledError] * 3
        assert await redis.run(cache.load("key", lambda: 1)) == 1


async def test_a_term_has_failed(redis: Driver, namespace: str) -> None:
    """Who leads has resigned, and is told why by an exception that no group of tasks passes over."""
    lock = Lock("scheduler", namespace=namespace)

    async def work(_: Held) -> None:
        await awaits_what_was_cancelled()

    with pytest.raises(concurrent.futures.CancelledError):
        await redis.lead(lock, work)
    assert (await redis.run(lock.inspect())).holders == ()
