"""The simple queues through every driver: order, waiting, fullness, items that fail, and items that come later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from redis_patterns import (
    EMPTY,
    ConfigurationError,
    DelayedQueue,
    EncodeError,
    FifoQueue,
    PriorityQueue,
    Queue,
    QueueFull,
    Text,
)
from redis_patterns.testing.memory import Server as Memory
from tests.drivers.faces import Face
from tests.drivers.plans import once, reads

pytestmark = pytest.mark.anyio

KINDS: dict[str, Callable[..., Any]] = {"fifo": FifoQueue, "priority": PriorityQueue, "delayed": DelayedQueue}


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest, namespace: str) -> Callable[..., Any]:
    """Give what makes a queue of one of the kinds."""

    def made(**options: Any) -> Any:
        return KINDS[request.param]("work", namespace=namespace, **options)

    return made


async def test_items_come_out_as_they_went_in(redis: Face, make: Callable[..., Any]) -> None:
    """In order, equal ones and those that count as false too; looked at they stay; taken they are gone."""
    queue = make()
    items = [None, False, 0, "", {"a": [1]}, "x", "x", "ü"]
    assert await redis.run(queue.put(items[0])) == 1
    assert await redis.run(queue.put_many(items[1:])) == len(items)
    assert await redis.run(queue.peek(3)) == items[:3]
    assert await redis.run(queue.length()) == len(items)
    assert await redis.run(queue.pop()) is None
    assert await redis.run(queue.pop(wait=5)) is False
    assert await redis.run(queue.pop_many(3)) == items[2:5]
    assert await redis.run(queue.pop_many(5000)) == items[5:]
    assert await redis.run(queue.pop()) is EMPTY
    assert (await redis.run(queue.pop_many(5)), await redis.run(queue.length())) == ([], 0)
    await redis.run(queue.put_many(["a", "b"]))
    await redis.run(queue.clear())
    assert (await redis.run(queue.peek()), await redis.run(queue.length())) == ([], 0)


@pytest.mark.renews
async def test_waiting_for_an_item(redis: Face, make: Callable[..., Any]) -> None:
    """Who waits gets the next item that comes, or nothing when the wait is over."""
    queue, got = make(), list[Any]()
    assert await redis.run(queue.pop(wait=0.01)) is EMPTY

    async def waits() -> None:
        got.append(await redis.run(queue.pop(wait=20)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(waits)
        await anyio.sleep(0.03)
        await redis.run(queue.put("x"))
    assert got == ["x"]


async def test_a_full_queue(redis: Face, make: Callable[..., Any]) -> None:
    """What does not fit is refused, all of it, and nothing is there of it."""
    queue = make(max_length=3)
    await redis.run(queue.put("a"))
    with pytest.raises(QueueFull, match="may have 3 items"):
        await redis.run(queue.put_many(["b", "c", "d"]))
    assert await redis.run(queue.length()) == 1
    assert await redis.run(queue.put_many(["b", "c"])) == 3
    with pytest.raises(QueueFull):
        await redis.run(queue.put("d"))
    await redis.run(queue.pop())
    assert await redis.run(queue.put("d")) == 3


async def test_items_that_fail(redis: Face, make: Callable[..., Any]) -> None:
    """They are kept with their error and time, up to so many; and put back in order."""
    queue = make(keep_failed=2)
    await redis.run(queue.fail("gone", "thrown away"))
    await redis.run(queue.fail("a", ValueError("grüße: 5")))
    assert await redis.run(queue.fail("b", "x" * 3000)) == 2
    one, two = await redis.run(queue.failed())
    assert (one.item, one.error, two.item, two.error) == ("a", "ValueError: grüße: 5", "b", "x" * 2000)
    assert one.payload == b'"a"'
    assert abs(one.at - two.at) < 60
    assert await redis.run(queue.failed(1)) == [one]
    assert await redis.run(queue.requeue_failed(1)) == 1
    await redis.run(queue.put("c"))
    assert await redis.run(queue.requeue_failed()) == 1
    assert await redis.run(queue.requeue_failed()) == 0
    assert await redis.run(queue.pop_many(9)) == ["a", "c", "b"]
    await redis.run(queue.fail("d", "x"))
    await redis.run(queue.clear_failed())
    assert await redis.run(queue.failed()) == []


async def test_items_that_cannot_be_read(redis: Face, make: Callable[..., Any]) -> None:
    """They go to the failed ones with their bytes, and do not stand in the way of others."""
    raw, queue = make(codec=Text()), make()
    await redis.run(raw.put_many(["{", "1", "[", "2", "x", "3"]))
    assert await redis.run(queue.pop()) == 1
    assert await redis.run(queue.pop(wait=5)) == 2
    assert await redis.run(queue.pop_many(9)) == [3]
    failed = await redis.run(queue.failed())
    assert [(item.item, item.payload) for item in failed] == [(None, b"{"), (None, b"["), (None, b"x")]
    assert "expected JSON" in failed[0].error
    await redis.run(raw.put("{"))
    assert await redis.run(queue.pop(wait=0.01)) is EMPTY


async def test_a_consumer(redis: Face, make: Callable[..., Any]) -> None:
    """It handles what comes, keeps what fails, and ends when it is told."""
    queue, seen = make(), list[Any]()
    await redis.run(queue.put_many([1, 0, 2]))

    def handle(item: int) -> None:
        seen.append(1 / item)

    assert await redis.run(queue.consume(handle, until=lambda: len(seen) == 2)) == 3
    (failed,) = await redis.run(queue.failed())
    assert (seen, failed.item, failed.error) == ([1, 0.5], 0, "ZeroDivisionError: division by zero")


async def test_a_consumer_that_is_cancelled(redis: Face, make: Callable[..., Any], kind: Any) -> None:
    """What it was handling is kept among the failed items."""
    if kind.name.startswith("sync"):
        return  # a thread is not cancelled
    queue = make()
    await redis.run(queue.put("x"))
    started = anyio.Event()

    async def handle(_: str) -> None:
        started.set()
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(redis.run, queue.consume(handle))
        await started.wait()
        tasks.cancel_scope.cancel()
    (failed,) = await redis.run(queue.failed())
    assert (failed.item, failed.error) == ("x", "cancelled")


@pytest.mark.parametrize("native", [True, False])
async def test_what_is_on_its_way_to_a_consumer_that_is_cancelled(
    redis: Face, make: Callable[..., Any], kind: Any, *, native: bool
) -> None:
    """It is kept too, whether the task is cancelled or a scope around it: nothing is lost, whenever that is."""
    if kind.name.startswith("sync") or (native and not kind.name.startswith("asyncio")):
        return  # a thread is not cancelled, and what is native to trio are scopes
    queue, seen = make(), list[int]()
    await redis.run(queue.put_many(list(range(200))))

    async def handle(item: int) -> None:
        seen.append(item)

    for turns in range(24):
        if native:
            task = asyncio.ensure_future(redis.run(queue.consume(handle)))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
        else:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(redis.run, queue.consume(handle))
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
    failed = await redis.run(queue.failed(1000))
    assert {item.error for item in failed} <= {"cancelled"}
    left = await redis.run(queue.pop_many(1000))
    assert sorted([*seen, *(item.item for item in failed), *left]) == list(range(200))
    assert failed or seen


async def test_a_consumer_that_has_nothing_is_cancelled(redis: Face, make: Callable[..., Any], kind: Any) -> None:
    """It ends; what comes meanwhile is kept, or stays where it is."""
    if kind.name.startswith("sync") or kind.memory:
        return  # a thread is not cancelled, and one in memory does not wait
    queue = make()
    with anyio.move_on_after(0.05) as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(redis.run, queue.consume(print))
            await anyio.sleep(0.02)

            async def put() -> None:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0.1)
                    await redis.run(queue.put(7))

            tasks.start_soon(put)
    assert scope.cancelled_caught
    failed = [item.item for item in await redis.run(queue.failed())]
    assert [*failed, *await redis.run(queue.pop_many(2))] == [7]


async def test_priorities(redis: Face, namespace: str) -> None:
    """The lowest first, negative ones too, and in order within one; equal items stay apart."""
    queue: PriorityQueue[str] = PriorityQueue("work", namespace=namespace)
    for priority, item in ((5, "e1"), (-1023, "a"), (5, "e2"), (0, "c"), (1023, "f"), (0, "c"), (-1, "b")):
        await redis.run(queue.put(item, priority))
    assert await redis.run(queue.pop_many(9)) == ["a", "b", "c", "c", "e1", "e2", "f"]
    await redis.run(queue.put("later", 1))
    await redis.run(queue.fail("failed", "x"))
    await redis.run(queue.requeue_failed(priority=-1))
    assert await redis.run(queue.pop_many(9)) == ["failed", "later"]


async def test_delayed_items(redis: Face, namespace: str) -> None:
    """They come when they are due, at once where that was before; and not earlier."""
    queue: DelayedQueue[str] = DelayedQueue("work", namespace=namespace)
    await redis.run(queue.put("later", delay=0.2))
    await redis.run(queue.put("much later", delay=timedelta(hours=1)))
    await redis.run(queue.put("now", at=datetime(2000, 1, 1, tzinfo=UTC)))
    assert await redis.run(queue.length()) == 3
    assert await redis.run(queue.pop_many(5)) == ["now"]
    assert await redis.run(queue.pop(wait=20)) == "later"
    assert await redis.run(queue.promote()) == 0
    assert await redis.run(queue.length()) == 1
    await redis.run(queue.clear())
    assert await redis.run(queue.length()) == 0


@pytest.mark.renews
async def test_a_delayed_item_before_those_that_are_waited_for(redis: Face, namespace: str) -> None:
    """Who sleeps until the first is due is woken for one that is due before."""
    queue, got = DelayedQueue[str]("work", namespace=namespace), list[Any]()
    await redis.run(queue.put("hours later", delay=7200))

    async def waits() -> None:
        got.append(await redis.run(queue.pop(wait=30)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(waits)
        await anyio.sleep(0.03)
        await redis.run(queue.put("soon", delay=0.05))
    assert got == ["soon"]


def test_when_an_item_is_due() -> None:
    """To the millisecond, by the server's clock; many at a time in order, in the queue of that name."""
    server = Memory()
    queue, due = DelayedQueue[int]("work"), FifoQueue[int]("work")
    with server.sync() as redis:
        for number in range(250):
            redis.run(queue.put(number, delay=10))
        redis.run(queue.put(-1, delay=9.999))
        server.clock.advance(9.998)
        assert redis.run(queue.pop()) is EMPTY
        server.clock.advance(0.001)
        assert redis.run(queue.pop()) == -1
        server.clock.advance(0.001)
        assert redis.run(queue.promote()) == 100
        assert redis.run(due.pop_many(50)) == list(range(50))
        assert redis.run(queue.pop_many(250)) == list(range(50, 250))
        started = server.clock()
        redis.run(queue.put(7, delay=30))
        assert redis.run(queue.pop(wait=60)) == 7
        assert 30 <= server.clock() - started < 30.01
        assert redis.run(queue.pop(wait=5)) is EMPTY


async def test_keys(redis: Face, make: Callable[..., Any]) -> None:
    """An empty queue leaves nothing but its numbers, which never begin anew."""
    queue = make()
    await redis.run(queue.put_many([1, 2]))
    await redis.run(queue.pop_many(2))
    assert await redis.run(reads("EXISTS", queue.key)) == 0
    assert await redis.run(reads("EXISTS", queue._failed_key)) == 0


async def test_a_key_of_another_type(redis: Face, make: Callable[..., Any]) -> None:
    """It is an error, and nothing is overwritten."""
    queue = make()
    await redis.run(once("SET", queue.key, "x"))
    with pytest.raises(Exception, match="WRONGTYPE"):
        await redis.run(queue.pop())
    assert await redis.run(reads("GET", queue.key)) == b"x"


@pytest.mark.parametrize("kind_of_queue", KINDS)
@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"name": ""}, "name"), ({"name": "x", "max_length": 0}, "max_length"), ({"name": "x", "keep_failed": 0}, "keep")],
)
def test_queues_refuse_nonsense(kind_of_queue: str, wrong: dict[str, Any], said: str) -> None:
    """When they are built."""
    with pytest.raises(ConfigurationError, match=said):
        KINDS[kind_of_queue](**wrong)


def test_bad_arguments_are_named() -> None:
    """With what is allowed."""
    fifo: Queue[Any] = FifoQueue("x")
    delayed, priority = DelayedQueue[Any]("x"), PriorityQueue[Any]("x")
    for call, said in (
        (lambda: FifoQueue[Any]("x").put_many([]), "1 to 5000"),
        (lambda: FifoQueue[Any]("x").put_many(range(5001)), "1 to 5000"),
        (lambda: Memory().sync().run(fifo.pop_many(0)), "count"),
        (lambda: Memory().sync().run(fifo.pop(wait=-1)), "wait"),
        (lambda: fifo.failed(0), "count"),
        (lambda: priority.put(1, 1024), "priority"),
        (lambda: priority.requeue_failed(1, -1024), "priority"),
        (lambda: delayed.put(1, delay=-1), "delay"),
        (lambda: delayed.put(1, delay=1, at=datetime.now(UTC)), "both"),
        (lambda: delayed.put(1, at=datetime(2030, 1, 1)), "time zone"),  # noqa: DTZ001  that is the point
        (lambda: delayed.promote(0), "most"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            call()
    with pytest.raises(EncodeError):
        FifoQueue[Any]("x").put(object())
