"""Queues, the simple ones: in order, by priority, or later. What was taken out is the taker's to lose: at most once.

For work that must not be lost when a worker dies see `redis_patterns_core.jobs`.

Promises: each step is atomic; of one priority what came first goes first; a delayed item is neither lost nor doubled
when it becomes due; what cannot be read, and what a handler fails on, is kept in the queue's failed list, with the
error and the time.

Keys: ``queue:{NAME}``, a list; ``pqueue:{NAME}`` and ``delayed:{NAME}``, sorted sets; ``...:failed``, a list;
``...:numbers``, a string; ``delayed:{NAME}:wake``, a list, for a minute. But for the last they have no TTL: an item
stays until it is taken.

Source: https://redis.io/docs/latest/commands/blpop/ and .../bzpopmin/
"""

from __future__ import annotations

import enum
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from typing import Any, Final, Generic, Literal, TypeVar

from redis_patterns_core import replies, validate
from redis_patterns_core.codec import Codec, Json
from redis_patterns_core.errors import ConfigurationError, DecodeError, QueueFull
from redis_patterns_core.flow import Call, Defer, Now, Steps, flow
from redis_patterns_core.keys import key
from redis_patterns_core.periods import moment
from redis_patterns_core.plan import Command, Effect, Plan, Script
from redis_patterns_core.replies import Reply
from redis_patterns_core.validate import Duration
from redis_patterns_core.value import value

__all__ = ["EMPTY", "DelayedQueue", "Empty", "FailedItem", "FifoQueue", "PriorityQueue", "Queue", "due"]

T = TypeVar("T")

_PUT = Script.load("queue_put")
_FAIL = Script.load("queue_fail")
_REQUEUE = Script.load("queue_requeue")
_PRIORITY_PUT = Script.load("priority_put")
_DELAYED_PUT = Script.load("delayed_put")
_PROMOTE = Script.load("delayed_promote")

_MOST_PRIORITY = 1023
_MOST_AT_ONCE = 5000
_NUMBER = 16
_LONGEST_ERROR = 2000
_SLICE = 1.0
"""Seconds for which a consumer waits before it asks whether to go on."""


class Empty(enum.Enum):
    """The kind of `EMPTY`, for type checkers."""

    EMPTY = "empty"


EMPTY: Final = Empty.EMPTY
"""What a queue gives that has nothing; ``None`` is an item."""


@value
class FailedItem(Generic[T]):
    """An item that could not be handled.

    Parameters:
        item: what it is; ``None`` where it cannot be read.
        error: what was wrong.
        at: when, in seconds since the epoch, by the server's clock.
        payload: its bytes.
    """

    item: T | None
    error: str
    at: float
    payload: bytes = field(repr=False)


class Queue(ABC, Generic[T]):
    """What the simple queues have in common."""

    name: str
    codec: Codec[T]
    max_length: int | None
    keep_failed: int
    key: str
    """Where the items are taken from."""

    # Taking

    @abstractmethod
    def _take(self, count: int) -> Plan[list[bytes]]:
        """Take up to so many items, at once."""

    @abstractmethod
    def _wait(self, seconds: float) -> Steps[list[bytes]]:
        """Wait for an item for so long, or for as long as it takes; take one or none."""

    @flow
    def pop(self, *, wait: Duration | None = 0) -> Steps[T | Empty]:
        """Take the next item.

        Parameters:
            wait: seconds, or a timedelta, to wait for one; ``None`` waits for as long as it takes.

        Returns:
            A flow of one round trip that gives the item, or `EMPTY`; sent at most once. What cannot be read goes to the
            failed items, and the next one is taken.

        Raises:
            OutcomeUnknown: no answer came: an item may be lost.
            ConfigurationError: a wait that is not allowed.
        """
        seconds = math.inf if wait is None else validate.milliseconds("wait", wait, least=0) / 1000
        ends_at = math.inf if not seconds or seconds == math.inf else (yield from Now()) + seconds
        while True:
            taken = (yield from self._wait(seconds)) if seconds else (yield from self._take(1))
            if not taken:
                return EMPTY
            items = yield from self._read(taken)
            if items:
                return items[0]
            if seconds and seconds != math.inf:
                seconds = max(0.001, ends_at - (yield from Now()))

    @flow
    def pop_many(self, count: int) -> Steps[list[T]]:
        """Take up to so many items, those that are there.

        Parameters:
            count: 1 to 5000.

        Returns:
            A flow of one round trip, two where something cannot be read and goes to the failed items; sent at most
            once.

        Raises:
            OutcomeUnknown: no answer came: items may be lost.
            ConfigurationError: a count that is not allowed.
        """
        taken = yield from self._take(validate.integer("count", count, least=1, most=_MOST_AT_ONCE))
        return (yield from self._read(taken))

    @flow
    def consume(self, handler: Callable[[T], Any], *, until: Callable[[], bool] = lambda: False) -> Steps[int]:
        """Handle items, one after another, as they come; any number of processes may do so.

        Parameters:
            handler: a function, or in asyncio and trio a coroutine function. An item on which it raises, or during
                which the flow is cancelled, goes to the failed items.
            until: asked between items, and every second while there is none, whether to end.

        Returns:
            A flow that gives how many items were handled, failed ones included.
        """
        count = 0
        while not until():
            item = yield from self.pop(wait=_SLICE)
            if not isinstance(item, Empty):
                yield from self._handle(handler, item)
                count += 1
        return count

    @flow
    def _handle(self, handler: Callable[[T], Any], item: T) -> Steps[None]:
        # What is cancelled on the way is not lost.
        yield from Defer(self.fail(item, "cancelled"), on_error_only=True)
        try:
            yield from Call(handler, item)
        except Exception as error:  # noqa: BLE001  whatever it is, the item is kept and the next one's turn comes
            yield from self.fail(item, error)

    def _read(self, taken: Sequence[bytes]) -> Steps[list[T]]:
        items: list[T] = []
        unreadable: list[str | bytes] = []
        for payload in taken:
            try:
                items.append(self.codec.decode(payload))
            except DecodeError as error:
                unreadable += [str(error), payload]
        if unreadable:
            yield from self._fail(unreadable)
        return items

    # Looking

    @abstractmethod
    def length(self) -> Plan[int]:
        """Count the items. One round trip."""

    @abstractmethod
    def clear(self) -> Plan[None]:
        """Throw all items away; failed ones stay. One round trip, idempotent."""

    # Failed items

    @property
    @abstractmethod
    def _failed_key(self) -> str: ...

    def fail(self, item: T, error: BaseException | str) -> Plan[int]:
        """Keep an item as failed; beyond `keep_failed` the oldest ones are thrown away.

        Parameters:
            item: what was taken.
            error: what was wrong; an exception's type and message are kept, up to 2000 characters.

        Returns:
            A plan of one round trip that gives how many are kept; sent at most once.

        Raises:
            EncodeError: the codec cannot write the item.
        """
        said = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        return self._fail([said[:_LONGEST_ERROR], self.codec.encode(item)])

    def _fail(self, words: Sequence[str | bytes]) -> Plan[int]:
        command = _FAIL((self._failed_key,), self.keep_failed, *words)
        return Plan(f"{_word(self)}.fail", (command,), _integer, Effect.ONCE)

    def failed(self, count: int = 100) -> Plan[list[FailedItem[T]]]:
        """Read the failed items, the oldest first; they stay. One round trip.

        Parameters:
            count: how many at most.

        Raises:
            ConfigurationError: a count that is not allowed.
        """
        last = validate.integer("count", count, least=1) - 1
        command = Command(("LRANGE", self._failed_key, 0, last))
        return Plan(f"{_word(self)}.failed", (command,), self._failed_items, Effect.READS)

    def clear_failed(self) -> Plan[None]:
        """Throw the failed items away. One round trip, idempotent."""
        return Plan(
            f"{_word(self)}.clear_failed", (Command(("UNLINK", self._failed_key)),), _nothing, Effect.IDEMPOTENT
        )

    def _failed_items(self, answers: Sequence[Reply]) -> list[FailedItem[T]]:
        return [self._failed_item(record) for record in replies.array(answers[0])]

    def _failed_item(self, record: Reply) -> FailedItem[T]:
        if not isinstance(record, bytes) or not record[:19].isdigit():
            raise DecodeError("expected a failed item, got something else")
        ends = 19 + int(record[13:19])
        payload = record[ends:]
        try:
            item = self.codec.decode(payload)
        except DecodeError:
            item = None
        return FailedItem(item, record[19:ends].decode(errors="replace"), int(record[:13]) / 1000, payload)

    def _requeued(self, keys: Sequence[str], count: int, priority: int | str) -> Plan[int]:
        number = validate.integer("count", count, least=1, most=_MOST_AT_ONCE)
        command = _REQUEUE((self._failed_key, *keys), number, priority)
        return Plan(f"{_word(self)}.requeue_failed", (command,), _integer, Effect.ONCE)

    def _full(self, answers: Sequence[Reply]) -> int:
        length = replies.integer(answers[0])
        if not length:
            raise QueueFull(f"the queue {self.name!r} may have {self.max_length} items, and would have more")
        return length

    def _validate(self) -> None:
        validate.text("name", self.name)
        if self.max_length is not None:
            validate.integer("max_length", self.max_length, least=1)
        validate.integer("keep_failed", self.keep_failed, least=1)

    def _encoded(self, items: Iterable[T]) -> list[bytes]:
        encoded = [self.codec.encode(item) for item in items]
        if not 1 <= len(encoded) <= _MOST_AT_ONCE:
            raise ConfigurationError(f"items must be 1 to {_MOST_AT_ONCE} at once, not {len(encoded)}")
        return encoded


@dataclass(frozen=True, eq=False)
class FifoQueue(Queue[T]):
    """A queue in order: first in, first out.

    Parameters:
        name: the queue's.
        codec: writes and reads the items; JSON unless another is given.
        max_length: how many items it may have; ``None`` for any number.
        keep_failed: how many failed items are kept.
        namespace: a prefix of the keys.

    Raises:
        ConfigurationError: an empty name, or a number that is not allowed.
    """

    name: str
    _: KW_ONLY
    codec: Codec[T] = field(default_factory=Json)
    max_length: int | None = None
    keep_failed: int = 1000
    namespace: str = ""
    key: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._validate()
        validate.namespace(self.namespace)
        object.__setattr__(self, "key", key("queue", self.name, namespace=self.namespace))

    @property
    def _failed_key(self) -> str:
        return f"{self.key}:failed"

    def put(self, item: T) -> Plan[int]:
        """Put an item at the end.

        Returns:
            A plan of one round trip that gives the length then; sent at most once.

        Raises:
            EncodeError: the codec cannot write the item.
            QueueFull: when the plan is run: it has `max_length` items, and nothing was put.
        """
        return self.put_many([item])

    def put_many(self, items: Iterable[T]) -> Plan[int]:
        """Put up to 5000 items at the end, all of them or none; else as `put`.

        Raises:
            ConfigurationError: no item, or too many.
        """
        encoded = self._encoded(items)
        if self.max_length is None:
            command = Command(("RPUSH", self.key, *encoded))
        else:
            command = _PUT((self.key,), self.max_length, *encoded)
        return Plan("queue.put", (command,), self._full, Effect.ONCE)

    def _take(self, count: int) -> Plan[list[bytes]]:
        return Plan("queue.pop", (Command(("LPOP", self.key, count)),), _items, Effect.ONCE)

    def _wait(self, seconds: float) -> Steps[list[bytes]]:
        return (yield from _blocking("queue.pop", "BLPOP", (self.key,), seconds))

    def peek(self, count: int = 1) -> Plan[list[T]]:
        """Read the next items; they stay. One round trip.

        Parameters:
            count: how many at most.

        Raises:
            ConfigurationError: a count that is not allowed.
            DecodeError: when the plan is run: the codec cannot read one of them.
        """
        last = validate.integer("count", count, least=1) - 1
        command = Command(("LRANGE", self.key, 0, last))
        return Plan("queue.peek", (command,), lambda answers: _decoded(self.codec, answers[0], 0), Effect.READS)

    def length(self) -> Plan[int]:
        """Count the items. One round trip."""
        return Plan("queue.length", (Command(("LLEN", self.key)),), _integer, Effect.READS)

    def clear(self) -> Plan[None]:
        """Throw all items away; failed ones stay. One round trip, idempotent."""
        return Plan("queue.clear", (Command(("UNLINK", self.key)),), _nothing, Effect.IDEMPOTENT)

    def requeue_failed(self, count: int = 100) -> Plan[int]:
        """Put failed items back at the end, the oldest first; `max_length` does not hold for them.

        Parameters:
            count: how many at most.

        Returns:
            A plan of one round trip that gives how many there were; sent at most once.

        Raises:
            ConfigurationError: a count that is not allowed.
        """
        return self._requeued((self.key, f"{self.key}:numbers"), count, "")


@dataclass(frozen=True, eq=False)
class PriorityQueue(Queue[T]):
    """A queue by priority, the lowest number first; of one priority in order.

    Parameters:
        name, codec, max_length, keep_failed, namespace: as for `FifoQueue`.
    """

    name: str
    _: KW_ONLY
    codec: Codec[T] = field(default_factory=Json)
    max_length: int | None = None
    keep_failed: int = 1000
    namespace: str = ""
    key: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._validate()
        validate.namespace(self.namespace)
        object.__setattr__(self, "key", key("pqueue", self.name, namespace=self.namespace))

    @property
    def _failed_key(self) -> str:
        return f"{self.key}:failed"

    def put(self, item: T, priority: int = 0) -> Plan[int]:
        """Put an item behind those of its priority.

        Parameters:
            item: what.
            priority: -1023 to 1023; lower ones go first.

        Returns:
            A plan of one round trip that gives the length then; sent at most once.

        Raises:
            ConfigurationError: a priority that is not allowed.
            EncodeError: the codec cannot write the item.
            QueueFull: when the plan is run: it has `max_length` items, and nothing was put.
        """
        return self.put_many([item], priority)

    def put_many(self, items: Iterable[T], priority: int = 0) -> Plan[int]:
        """Put up to 5000 items of one priority, all of them or none; else as `put`."""
        validate.integer("priority", priority, least=-_MOST_PRIORITY, most=_MOST_PRIORITY)
        words = [word for item in self._encoded(items) for word in (priority, item)]
        command = _PRIORITY_PUT((self.key, f"{self.key}:numbers"), self.max_length or 0, *words)
        return Plan("pqueue.put", (command,), self._full, Effect.ONCE)

    def _take(self, count: int) -> Plan[list[bytes]]:
        return Plan("pqueue.pop", (Command(("ZPOPMIN", self.key, count)),), _members, Effect.ONCE)

    def _wait(self, seconds: float) -> Steps[list[bytes]]:
        taken = yield from _blocking("pqueue.pop", "BZPOPMIN", (self.key,), seconds)
        return [member[_NUMBER:] for member in taken]

    def peek(self, count: int = 1) -> Plan[list[T]]:
        """Read the next items; they stay; as `FifoQueue.peek`."""
        last = validate.integer("count", count, least=1) - 1
        command = Command(("ZRANGE", self.key, 0, last))
        return Plan("pqueue.peek", (command,), lambda answers: _decoded(self.codec, answers[0], _NUMBER), Effect.READS)

    def length(self) -> Plan[int]:
        """Count the items. One round trip."""
        return Plan("pqueue.length", (Command(("ZCARD", self.key)),), _integer, Effect.READS)

    def clear(self) -> Plan[None]:
        """Throw all items away; failed ones stay. One round trip, idempotent."""
        return Plan("pqueue.clear", (Command(("UNLINK", self.key)),), _nothing, Effect.IDEMPOTENT)

    def requeue_failed(self, count: int = 100, priority: int = 0) -> Plan[int]:
        """Put failed items back, behind those of a priority; else as `FifoQueue.requeue_failed`."""
        validate.integer("priority", priority, least=-_MOST_PRIORITY, most=_MOST_PRIORITY)
        return self._requeued((self.key, f"{self.key}:numbers"), count, priority)


@dataclass(frozen=True, eq=False)
class DelayedQueue(Queue[T]):
    """A queue whose items can be taken later. What is due lies in the `FifoQueue` of the same name, in the order in
    which it became due; who takes from that one alone gets what others have promoted.

    Parameters:
        name, codec, max_length, keep_failed, namespace: as for `FifoQueue`; `max_length` is for both together.
    """

    name: str
    _: KW_ONLY
    codec: Codec[T] = field(default_factory=Json)
    max_length: int | None = None
    keep_failed: int = 1000
    namespace: str = ""
    key: str = field(init=False, repr=False)
    _delayed: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._validate()
        validate.namespace(self.namespace)
        object.__setattr__(self, "key", key("queue", self.name, namespace=self.namespace))
        object.__setattr__(self, "_delayed", key("delayed", self.name, namespace=self.namespace))

    @property
    def _failed_key(self) -> str:
        return f"{self.key}:failed"

    def put(self, item: T, *, delay: Duration | None = None, at: datetime | None = None) -> Plan[int]:
        """Put an item.

        Parameters:
            item: what.
            delay: after how long it can be taken, in seconds or as a timedelta, by the server's clock; at once unless
                it or `at` is given.
            at: when it can be taken, with a time zone.

        Returns:
            A plan of one round trip that gives how many items there are then; sent at most once.

        Raises:
            ConfigurationError: both, or a time that is not allowed.
            EncodeError: the codec cannot write the item.
            QueueFull: when the plan is run: there are `max_length` items, and nothing was put.
        """
        return self.put_many([item], delay=delay, at=at)

    def put_many(self, items: Iterable[T], *, delay: Duration | None = None, at: datetime | None = None) -> Plan[int]:
        """Put up to 5000 items with one delay, all of them or none; else as `put`."""
        kind, milliseconds = due(delay, at)
        words = [word for item in self._encoded(items) for word in (milliseconds, item)]
        keys = (self._delayed, self.key, f"{self._delayed}:numbers", f"{self._delayed}:wake")
        command = _DELAYED_PUT(keys, self.max_length or 0, kind, *words)
        return Plan("delayed.put", (command,), self._full, Effect.ONCE)

    def promote(self, most: int = 100) -> Plan[int]:
        """Move items that are due to where they are taken from; `pop` does so by itself.

        Parameters:
            most: how many at most, 1 to 5000.

        Returns:
            A plan of one round trip that gives how many were moved; idempotent, as none is moved twice.

        Raises:
            ConfigurationError: a number that is not allowed.
        """
        command = self._promotion(validate.integer("most", most, least=1, most=_MOST_AT_ONCE))
        return Plan("delayed.promote", (command,), lambda answers: _promoted(answers[0])[0], Effect.IDEMPOTENT)

    def _promotion(self, most: int) -> Command:
        return _PROMOTE((self._delayed, self.key), most)

    def _take(self, count: int) -> Plan[list[bytes]]:
        commands = (self._promotion(max(100, count)), Command(("LPOP", self.key, count)))
        return Plan("delayed.pop", commands, lambda answers: _items(answers[1:]), Effect.ONCE)

    def _wait(self, seconds: float) -> Steps[list[bytes]]:
        commands = (self._promotion(100), Command(("LPOP", self.key, 1)))
        look = Plan(
            "delayed.pop", commands, lambda answers: (_items(answers[1:]), _promoted(answers[0])[1]), Effect.ONCE
        )
        now = yield from Now()
        ends_at = now + seconds
        while True:
            taken, next_in = yield from look
            if taken or now >= ends_at:
                return taken
            # One that is put to be due before is told by an element in the last key.
            pause = max(0.002, min(ends_at - now, next_in, 60))
            keys = (self.key, f"{self._delayed}:wake")
            popped = yield from _blocking_with_key("delayed.pop", "BLPOP", keys, pause)
            if popped is not None and popped[0] == self.key:
                return [popped[1]]
            now = yield from Now()

    def peek(self, count: int = 1) -> Plan[list[T]]:
        """Read the next items of those that are due; they stay; as `FifoQueue.peek`. They were promoted already."""
        last = validate.integer("count", count, least=1) - 1
        command = Command(("LRANGE", self.key, 0, last))
        return Plan("delayed.peek", (command,), lambda answers: _decoded(self.codec, answers[0], 0), Effect.READS)

    def length(self) -> Plan[int]:
        """Count the items, due or not. One round trip."""
        commands = (Command(("ZCARD", self._delayed)), Command(("LLEN", self.key)))
        return Plan("delayed.length", commands, lambda answers: sum(map(replies.integer, answers)), Effect.READS)

    def clear(self) -> Plan[None]:
        """Throw all items away, due or not; failed ones stay. One round trip, idempotent."""
        commands = (Command(("UNLINK", self._delayed, self.key)),)
        return Plan("delayed.clear", commands, _nothing, Effect.IDEMPOTENT)

    def requeue_failed(self, count: int = 100) -> Plan[int]:
        """Put failed items back, to be taken at once; else as `FifoQueue.requeue_failed`."""
        return self._requeued((self.key, f"{self.key}:numbers"), count, "")


def due(delay: Duration | None, at: datetime | None) -> tuple[Literal["delay", "at"], int]:
    """Give what a script is told of a time: after how long, or when, in milliseconds.

    Raises:
        ConfigurationError: both, or a time that is not allowed.
    """
    if at is None:
        return "delay", 0 if delay is None else validate.milliseconds("delay", delay, least=0)
    if delay is not None:
        raise ConfigurationError("delay and at must not both be given")
    return "at", math.ceil(moment("at", at).timestamp() * 1000)


def _word(queue: Queue[Any]) -> str:
    return {"FifoQueue": "queue", "PriorityQueue": "pqueue", "DelayedQueue": "delayed"}.get(
        type(queue).__name__, "queue"
    )


def _blocking(name: str, command: str, keys: Sequence[str], seconds: float) -> Steps[list[bytes]]:
    popped = yield from _blocking_with_key(name, command, keys, seconds)
    return [] if popped is None else [popped[1]]


def _blocking_with_key(name: str, command: str, keys: Sequence[str], seconds: float) -> Plan[tuple[str, bytes] | None]:
    # Redis before 7.0.8 waits for ever where it is told to wait for less than 2 ms.
    blocks = 0 if seconds == math.inf else max(0.002, round(seconds, 3))
    return Plan(name, (Command((command, *keys, blocks)),), _popped, Effect.ONCE, blocks)


def _popped(answers: Sequence[Reply]) -> tuple[str, bytes] | None:
    if answers[0] is None:
        return None
    name, item, *_ = replies.array(answers[0])
    if not isinstance(item, bytes):
        raise DecodeError("expected an item of a queue, got something else")
    return replies.text(name), item


def _items(answers: Sequence[Reply]) -> list[bytes]:
    if answers[0] is None:
        return []
    return [item for item in replies.array(answers[0]) if isinstance(item, bytes)]


def _members(answers: Sequence[Reply]) -> list[bytes]:
    return [member[_NUMBER:] for member, _ in replies.pairs(answers[0]) if isinstance(member, bytes)]


def _decoded(codec: Codec[T], reply: Reply, before: int) -> list[T]:
    return [codec.decode(item[before:]) for item in replies.array(reply) if isinstance(item, bytes)]


def _promoted(reply: Reply) -> tuple[int, float]:
    moved, next_in = replies.integers(reply, 2)
    return moved, math.inf if next_in < 0 else (next_in + 1) / 1000


def _integer(answers: Sequence[Reply]) -> int:
    return replies.integer(answers[0])


def _nothing(answers: Sequence[Reply]) -> None:
    replies.integer(answers[0])
