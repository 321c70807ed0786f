"""The simple queues on a server in memory, whose clock goes on only when a flow sleeps or waits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from redis_patterns import (
    EMPTY,
    Command,
    ConfigurationError,
    DecodeError,
    DelayedQueue,
    Effect,
    FailedItem,
    FifoQueue,
    Plan,
    PriorityQueue,
    Queue,
    QueueFull,
    Text,
)
from redis_patterns.sync import Driver
from redis_patterns.testing import Dry
from redis_patterns.testing.memory import Server
from redis_patterns_core import replies

KINDS: dict[str, Callable[..., Any]] = {"fifo": FifoQueue, "priority": PriorityQueue, "delayed": DelayedQueue}
EPOCH = 1_700_000_000


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def redis(server: Server) -> Iterator[Driver]:
    with server.sync() as driver:
        yield driver


@pytest.fixture(params=sorted(KINDS))
def make(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return lambda **options: KINDS[request.param]("work", **options)


def test_in_order(redis: Driver, make: Callable[..., Any]) -> None:
    """What was put first is taken first, one at a time or many; an empty queue gives `EMPTY`."""
    queue = make()
    assert [redis.run(queue.put(number)) for number in (1, 2)] == [1, 2]
    assert redis.run(queue.put_many([3, None, 5])) == 5
    assert redis.run(queue.peek()) == [1]
    assert redis.run(queue.length()) == 5
    assert redis.run(queue.pop()) == 1
    assert redis.run(queue.pop_many(2)) == [2, 3]
    assert redis.run(queue.peek(5)) == [None, 5]
    assert redis.run(queue.pop_many(9)) == [None, 5]
    assert redis.run(queue.pop()) is EMPTY
    assert redis.run(queue.pop_many(1)) == []


def test_a_full_queue(redis: Driver, make: Callable[..., Any]) -> None:
    """At most `max_length` items, and of many all or none."""
    queue = make(max_length=3)
    assert redis.run(queue.put_many([1, 2])) == 2
    with pytest.raises(QueueFull, match="'work' may have 3 items"):
        redis.run(queue.put_many([3, 4]))
    assert redis.run(queue.put(3)) == 3
    with pytest.raises(QueueFull):
        redis.run(queue.put(4))
    assert redis.run(queue.length()) == 3
    redis.run(queue.clear())
    least = make(max_length=1)
    assert redis.run(least.put(1)) == 1
    with pytest.raises(QueueFull):
        redis.run(least.put(2))


def test_clear(redis: Driver, make: Callable[..., Any]) -> None:
    """All items go, and failed ones stay; those are thrown away by their own verb."""
    queue = make()
    redis.run(queue.put_many([1, 2]))
    assert redis.run(queue.fail(3, "no")) == 1
    redis.run(queue.clear())
    assert redis.run(queue.length()) == 0
    assert len(redis.run(queue.failed())) == 1
    redis.run(queue.clear_failed())
    assert redis.run(queue.failed()) == []


def test_failed_items(redis: Driver, server: Server, make: Callable[..., Any]) -> None:
    """They are kept in order, with the error and the time, the newest ones only; and can be put back."""
    queue = make(keep_failed=2)
    redis.run(queue.fail(0, "thrown away"))
    server.clock.advance(1.9987)
    assert redis.run(queue.fail({"a": 1}, ValueError("wrong \udc80"))) == 2
    server.clock.advance(0.25)
    assert redis.run(queue.fail(2, "x" * 2001)) == 2
    assert redis.run(queue.failed()) == [
        FailedItem({"a": 1}, "ValueError: wrong \\udc80", EPOCH + 1.998, b'{"a":1}'),
        FailedItem(2, "x" * 2000, EPOCH + 2.248, b"2"),
    ]
    assert redis.run(queue.failed(1)) == redis.run(queue.failed())[:1]
    assert redis.run(queue.requeue_failed(1)) == 1
    assert redis.run(queue.requeue_failed()) == 1
    assert redis.run(queue.requeue_failed()) == 0
    assert redis.run(queue.pop_many(5)) == [{"a": 1}, 2]


def test_what_cannot_be_read(redis: Driver, make: Callable[..., Any]) -> None:
    """It goes to the failed items, and the next one is given; also to who waits."""
    raw, queue = make(codec=Text()), make()
    redis.run(raw.put_many(["{", "1", "[", "2", "3"]))
    assert redis.run(queue.pop()) == 1
    assert redis.run(queue.pop_many(2)) == [2]
    assert [(one.item, one.payload) for one in redis.run(queue.failed())] == [(None, b"{"), (None, b"[")]
    redis.run(raw.put_many(["}"]))
    assert redis.run(queue.pop(wait=5)) == 3
    assert redis.run(queue.pop(wait=5)) is EMPTY
    redis.run(raw.put_many(["(", "4", ")"]))
    assert redis.run(queue.pop_many(3)) == [4]
    assert [one.payload for one in redis.run(queue.failed())] == [b"{", b"[", b"}", b"(", b")"]


def test_waiting(redis: Driver, server: Server, make: Callable[..., Any]) -> None:
    """For so long and no longer, and not at all where there is something."""
    queue = make()
    assert redis.run(queue.pop(wait=timedelta(seconds=2.5))) is EMPTY
    assert 2.5 <= server.clock() < 2.51
    redis.run(queue.put(7))
    before = server.clock()
    assert redis.run(queue.pop(wait=None)) == 7
    assert server.clock() == before


def test_a_consumer(redis: Driver, server: Server, make: Callable[..., Any]) -> None:
    """It handles what comes, keeps what fails, and asks each second whether to end."""
    queue, seen = make(), list[Any]()
    redis.run(queue.put_many([1, 0, 2]))

    def handle(item: int) -> None:
        seen.append(1 / item)

    assert redis.run(queue.consume(handle, until=lambda: server.clock() >= 3)) == 3
    assert 3 <= server.clock() < 3.1
    (failed,) = redis.run(queue.failed())
    assert (seen, failed.item, failed.error) == ([1, 0.5], 0, "ZeroDivisionError: division by zero")


def test_a_consumer_that_is_interrupted(redis: Driver, make: Callable[..., Any]) -> None:
    """What it was handling is kept among the failed items."""
    queue = make()
    redis.run(queue.put("x"))

    def handle(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        redis.run(queue.consume(handle))
    (failed,) = redis.run(queue.failed())
    assert (failed.item, failed.error) == ("x", "cancelled")


def test_priorities(redis: Driver) -> None:
    """The lowest goes first, and of one priority the first."""
    queue = PriorityQueue[str]("work")
    for priority, item in ((5, "e1"), (-1023, "a"), (5, "e2"), (0, "c"), (1023, "f"), (0, "c"), (-1, "b")):
        redis.run(queue.put(item, priority))
    assert redis.run(queue.peek(3)) == ["a", "b", "c"]
    assert redis.run(queue.pop_many(9)) == ["a", "b", "c", "c", "e1", "e2", "f"]
    redis.run(queue.put("later", 1))
    redis.run(queue.put("after the failed", -1))
    redis.run(queue.fail("failed", "x"))
    assert redis.run(queue.requeue_failed(priority=-2)) == 1
    assert [redis.run(queue.pop(wait=1)) for _ in range(3)] == ["failed", "after the failed", "later"]


def test_where_an_item_stands(redis: Driver) -> None:
    """By its priority times 2^43 and its number, whether it is put or comes back, so that other clients can tell."""
    queue = PriorityQueue[str]("work")
    for priority in (1023, -1023):
        redis.run(queue.put("x", priority))
        redis.run(queue.fail("y", "no"))
        redis.run(queue.requeue_failed(priority=priority))
    scores = (Command(("ZRANGE", queue.key, 0, -1, "WITHSCORES")),)
    assert redis.run(Plan("look", scores, lambda answers: replies.pairs(answers[0]))) == [
        (f"{number:016d}".encode() + item, str(priority * 2**43 + number).encode())
        for priority, number, item in ((-1023, 3, b'"x"'), (-1023, 4, b'"y"'), (1023, 1, b'"x"'), (1023, 2, b'"y"'))
    ]


def test_when_an_item_is_due(redis: Driver, server: Server) -> None:
    """To the millisecond, by the server's clock; who waits is given it then."""
    queue, due = DelayedQueue[int]("work"), FifoQueue[int]("work")
    redis.run(queue.put_many([1, 2], delay=10))
    redis.run(queue.put(3, at=datetime.fromtimestamp(EPOCH + 9.999, UTC)))
    redis.run(queue.put(4, delay=timedelta(hours=1)))
    server.clock.advance(9.998)
    assert redis.run(queue.pop()) is EMPTY
    assert redis.run(queue.promote()) == 0
    server.clock.advance(0.001)
    assert redis.run(queue.promote()) == 1
    assert redis.run(due.pop()) == 3
    assert redis.run(queue.pop(wait=60)) == 1
    assert 10 <= server.clock() < 10.01
    assert redis.run(queue.length()) == 2
    assert redis.run(due.length()) == 1
    redis.run(queue.clear())
    assert redis.run(queue.length()) == 0


def test_who_waits_for_a_delayed_item_is_told_of_others() -> None:
    """Until the first is due at most, or until one was put that is due before; what another has promoted counts."""
    queue = DelayedQueue[int]("work")
    dry = Dry(queue.pop(wait=100), now=50.0)
    for next_in, pause, told in (
        (-1, 60, [b"delayed:{work}:wake", b"1"]),
        (20_000, 20.001, None),
        (0, 0.002, None),
        (-1, 17.5, [b"queue:{work}", b"8"]),
    ):
        step: Any = dry.expect("delayed.pop")._step
        assert (step.effect, step.blocks_for) == (Effect.ONCE, None)
        assert step.commands[1] == Command(("LPOP", "queue:{work}", 1))
        step = dry.answer([0, next_in], None).expect("delayed.pop")._step
        assert step.commands[0].args == ("BLPOP", "queue:{work}", "delayed:{work}:wake", pause)
        assert (step.blocks_for, step.effect) == (pause, Effect.ONCE)
        dry.advance(pause if pause != 60 else 62.497).answer(told)
    assert dry.result == 8


@pytest.mark.parametrize(
    ("wait", "blocks"), [(None, 0), (0.001, 0.002), (0.002, 0.002), (1.5, 1.5), (timedelta(minutes=2), 120)]
)
def test_how_long_redis_waits(wait: Any, blocks: float) -> None:
    """0 is for as long as it takes, and less than 2 milliseconds would be the same for some servers."""
    for queue, command in ((FifoQueue[int]("work"), "BLPOP"), (PriorityQueue[int]("work"), "BZPOPMIN")):
        step: Any = Dry(queue.pop(wait=wait)).expect(f"{queue.word}.pop")._step
        assert step.commands[0].args == (command, queue.key, blocks)
        assert step.blocks_for == blocks
        assert step.effect is Effect.ONCE


def test_who_meets_what_cannot_be_read_waits_for_the_rest_of_its_time() -> None:
    """The wait is counted from its beginning, and is at least a millisecond."""
    dry = Dry(FifoQueue[int]("work").pop(wait=10), now=5.0)
    for after, blocks in ((4.0, 10), (7.0, 6.0), (0.0, 0.002)):
        step: Any = dry.expect("queue.pop")._step
        assert step.commands[0].args[-1] == blocks
        if blocks != 0.002:
            dry.advance(after).answer([b"queue:{work}", b"{"]).expect("queue.fail").answer(1)
    dry.answer(None)
    assert dry.result is EMPTY


@pytest.mark.parametrize(
    ("make", "name", "effect"),
    [
        (lambda: FifoQueue[int]("q").put(1), "queue.put", Effect.ONCE),
        (lambda: FifoQueue[int]("q", max_length=1).put(1), "queue.put", Effect.ONCE),
        (lambda: PriorityQueue[int]("q").put(1), "pqueue.put", Effect.ONCE),
        (lambda: DelayedQueue[int]("q").put(1), "delayed.put", Effect.ONCE),
        (lambda: FifoQueue[int]("q").peek(), "queue.peek", Effect.READS),
        (lambda: FifoQueue[int]("q").length(), "queue.length", Effect.READS),
        (lambda: PriorityQueue[int]("q").length(), "pqueue.length", Effect.READS),
        (lambda: DelayedQueue[int]("q").length(), "delayed.length", Effect.READS),
        (lambda: DelayedQueue[int]("q").promote(), "delayed.promote", Effect.IDEMPOTENT),
        (lambda: FifoQueue[int]("q").clear(), "queue.clear", Effect.ONCE),
        (lambda: DelayedQueue[int]("q").clear(), "delayed.clear", Effect.ONCE),
        (lambda: PriorityQueue[int]("q").clear_failed(), "pqueue.clear_failed", Effect.ONCE),
        (lambda: PriorityQueue[int]("q").fail(1, ""), "pqueue.fail", Effect.ONCE),
        (lambda: FifoQueue[int]("q").failed(), "queue.failed", Effect.READS),
        (lambda: DelayedQueue[int]("q").requeue_failed(), "delayed.requeue_failed", Effect.ONCE),
        (lambda: FifoQueue[int]("q")._take(1), "queue.pop", Effect.ONCE),
        (lambda: PriorityQueue[int]("q")._take(1), "pqueue.pop", Effect.ONCE),
        (lambda: DelayedQueue[int]("q")._take(1), "delayed.pop", Effect.ONCE),
    ],
)
def test_names_and_effects(make: Callable[[], Any], name: str, effect: Effect) -> None:
    """What adds, takes or throws away is sent at most once."""
    plan = make()
    assert (plan.name, plan.effect) == (name, effect)


def test_keys() -> None:
    """All of a queue are in one slot, and what is due is where the queue of that name takes from."""
    assert FifoQueue[int]("a", namespace="n").key == DelayedQueue[int]("a", namespace="n").key == "n:queue:{a}"
    assert PriorityQueue[int]("a").key == "pqueue:{a}"
    assert DelayedQueue[int]("a")._delayed == "delayed:{a}"
    assert FifoQueue[int]("a").fail(1, "").commands[0].args[3] == "queue:{a}:failed"


@pytest.mark.parametrize("reply", [b"short", b"17000000000000000xx", None, 1, "text"])
def test_a_failed_item_that_is_none(reply: Any) -> None:
    """It is a decode error, and no crash."""
    with pytest.raises(DecodeError, match="failed item"):
        FifoQueue[int]("q").failed().parse([[reply]])


def test_an_item_that_is_none() -> None:
    """What BLPOP cannot give is a decode error."""
    with pytest.raises(DecodeError, match="item of a queue"):
        FifoQueue[int]("q")._blocking("BLPOP", ("q",), math.inf).parse([[b"q", 1]])


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": ""}, "name must"),
        ({"max_length": 0}, "max_length must"),
        ({"keep_failed": 0}, "keep_failed must"),
        ({"namespace": 1}, "namespace must"),
    ],
)
def test_nonsense_is_refused(kind: str, wrong: dict[str, Any], said: str) -> None:
    """When a queue is built, with the argument's name."""
    with pytest.raises(ConfigurationError, match=said):
        KINDS[kind](**{"name": "x", **wrong})
    KINDS[kind]("x", max_length=1, keep_failed=1)


FIFO: Queue[Any] = FifoQueue("x")
PRIORITY, DELAYED = PriorityQueue[Any]("x"), DelayedQueue[Any]("x")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: PRIORITY.put_many([]), "1 to 5000 at once, not 0"),
        (lambda: PRIORITY.put_many(range(5001)), "1 to 5000 at once, not 5001"),
        (lambda: PRIORITY.put(1, 1024), "priority must"),
        (lambda: PRIORITY.put(1, -1024), "priority must"),
        (lambda: PRIORITY.requeue_failed(priority=1024), "priority must"),
        (lambda: PRIORITY.requeue_failed(priority=-1024), "priority must"),
        (lambda: PRIORITY.requeue_failed(0), "count must"),
        (lambda: PRIORITY.requeue_failed(5001), "count must"),
        (lambda: FIFO.peek(0), "count must"),
        (lambda: FIFO.failed(0), "count must"),
        (lambda: DELAYED.promote(0), "most must"),
        (lambda: DELAYED.promote(5001), "most must"),
        (lambda: DELAYED.put(1, delay=1, at=datetime.now(UTC)), "delay"),
        (lambda: DELAYED.put(1, delay=-1), "delay must"),
        (lambda: next(FIFO.pop_many(0).steps()), "count must"),
        (lambda: next(FIFO.pop_many(5001).steps()), "count must"),
        (lambda: next(FIFO.pop(wait=-1).steps()), "wait must"),
    ],
)
def test_bad_arguments_are_named(call: Callable[[], object], said: str) -> None:
    """With what is allowed."""
    with pytest.raises(ConfigurationError, match=said):
        call()


def test_the_limits_are_allowed() -> None:
    """The greatest and the least numbers that the errors name."""
    for number in (1, 5000):
        assert PRIORITY.put_many(range(number)).commands[0].args[7::2] == tuple(
            str(one).encode() for one in range(number)
        )
        assert FifoQueue[int]("x").requeue_failed(number).commands[0].args[-2:] == (number, "")
        assert DELAYED.promote(number).commands[0].args[-1] == number
        assert next(FIFO.pop_many(number).steps()) == FIFO._take(number)
    for priority in (-1023, 1023):
        assert PRIORITY.put(1, priority).commands[0].args[-2:] == (priority, b"1")
        assert PRIORITY.requeue_failed(1, priority).commands[0].args[-2:] == (1, priority)


def test_times_within_a_second(redis: Driver, server: Server) -> None:
    """They count to the millisecond too; who waits for another is told within a minute, or looks by himself."""
    server.clock.advance(0.9987)
    queue = DelayedQueue[int]("work")
    redis.run(queue.put(1, delay=1))
    assert server.expiries() == [pytest.approx(60.9987, abs=1e-6)]
    server.clock.advance(0.999)
    assert redis.run(queue.pop()) is EMPTY
    server.clock.advance(0.001)
    assert redis.run(queue.pop()) == 1


def test_a_wake_up_is_one_element(redis: Driver) -> None:
    """However many items were put before those that are waited for."""
    queue = DelayedQueue[int]("work")
    for delay in (5, 3, 4, 2):
        redis.run(queue.put(1, delay=delay))
    assert redis.run(Plan("look", (Command(("LLEN", "delayed:{work}:wake")),), replies.first)) == 1


def test_what_promoting_tells(redis: Driver, server: Server) -> None:
    """How many it has moved, and after how long the next is due: at once where more of them were."""
    queue = DelayedQueue[int]("work")
    redis.run(queue.put_many([1, 2], delay=1))
    redis.run(queue.put(3, delay=5))
    server.clock.advance(2)
    command = queue._promotion(1)
    plan = Plan("promote", (command,), lambda replies: replies[0])
    assert [redis.run(plan) for _ in range(3)] == [[1, 0], [1, 3000], [0, 3000]]
    server.clock.advance(3)
    assert [redis.run(plan) for _ in range(2)] == [[1, -1], [0, -1]]
