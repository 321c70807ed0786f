"""Queues, the simple ones; here the one in order. What was taken out is the taker's to lose: at most once.

For queues by priority, and whose items come later, see `redis_patterns_core.ordered_queues`; for work that must not be
lost when a worker dies see `redis_patterns_core.jobs`.

Promises: each step is atomic; what came first goes first; what cannot be read, and what a handler fails on, is kept in
the queue's failed list, with the error and the time.

Keys: ``queue:{NAME}`` and ``queue:{NAME}:failed``, lists. They have no TTL: an item stays until it is taken.

Source: https://redis.io/docs/latest/commands/blpop/
"""

from __future__ import annotations

import enum
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, Final, Generic, TypeVar

from redis_patterns_core import replies, validate
from redis_patterns_core.codec import Codec, Json, error_text
from redis_patterns_core.errors import ConfigurationError, DecodeError, QueueFull
from redis_patterns_core.flow import Call, Defer, Now, Steps, Take, flow
from redis_patterns_core.keys import key
from redis_patterns_core.plan import Command, Effect, Plan, Script
from redis_patterns_core.replies import Reply
from redis_patterns_core.validate import Duration
from redis_patterns_core.value import value

__all__ = ["EMPTY", "MOST_AT_ONCE", "Empty", "FailedItem", "FifoQueue", "Queue"]

R = TypeVar("R")
T = TypeVar("T")

_PUT = Script.load("queue_put")
_FAIL = Script.load("queue_fail")
_REQUEUE = Script.load("queue_requeue")

MOST_AT_ONCE = 5000
"""How many items one request takes or puts at most: Lua unpacks no more than 7999."""
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

    item: T | None = field(repr=False)
    error: str
    at: float
    payload: bytes = field(repr=False)


@dataclass(frozen=True, eq=False)
class Queue(ABC, Generic[T]):
    """What the simple queues have in common.

    Parameters:
        name: the queue's.
        codec: writes and reads the items; JSON unless another is given.
        max_length: how many items it may have; ``None`` for any number.
        keep_failed: how many failed items are kept.
        namespace: a prefix of the keys.

    Raises:
        ConfigurationError: an empty name, or a number that is not allowed.
    """

    word: ClassVar[str]
    """What its plans are called after."""
    _kind: ClassVar[str] = "queue"
    _range: ClassVar[str] = "LRANGE"
    _number: ClassVar[int] = 0
    """How many bytes before an item are not the codec's."""

    name: str
    _: KW_ONLY
    codec: Codec[T] = field(default_factory=Json)
    max_length: int | None = None
    keep_failed: int = 1000
    namespace: str = ""
    key: str = field(init=False, repr=False)
    """Where the items are taken from."""

    def __post_init__(self) -> None:
        validate.text("name", self.name)
        if self.max_length is not None:
            validate.integer("max_length", self.max_length, least=1)
        validate.integer("keep_failed", self.keep_failed, least=1)
        validate.namespace(self.namespace)
        object.__setattr__(self, "key", key(self._kind, self.name, namespace=self.namespace))

    # Taking

    @abstractmethod
    def _take(self, count: int) -> Plan[list[bytes]]:
        """Take up to so many items, at once."""

    @abstractmethod
    def _wait(self, seconds: float, *, keep: bool = False) -> Steps[list[bytes]]:
        """Wait for an item for so long, or for as long as it takes; take one or none.

        With `keep`, what is taken while it is cancelled goes to the failed items.
        """

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
        taken = yield from self._take(validate.integer("count", count, least=1, most=MOST_AT_ONCE))
        return (yield from self._read(taken))

    @flow
    def consume(self, handler: Callable[[T], Any], *, until: Callable[[], bool] = lambda: False) -> Steps[int]:
        """Handle items, one after another, as they come; any number of processes may do so.

        Parameters:
            handler: a function, or in asyncio and trio a coroutine function. An item on which it raises, or during
                which the flow is cancelled, goes to the failed items; so does one that is on its way then: cancelling
                it takes up to a second, while it waits for one.
            until: asked between items, and every second while there is none, whether to end.

        Returns:
            A flow that gives how many items were handled, failed ones included.
        """
        count = 0
        while not until():
            taken = yield from self._wait(_SLICE, keep=True)
            for item in (yield from self._read(taken)):
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

    def _taken(self, plan: Plan[R], items_of: Callable[[R], list[bytes]], *, keep: bool) -> Steps[R]:
        """Run a plan that takes items."""

        def back(answer: R) -> Plan[int] | None:
            words = [word for payload in items_of(answer) for word in ("cancelled", payload)]
            return self._fail(words) if words else None

        if keep:
            return (yield from Take(plan, back))
        return (yield from plan)

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

    def peek(self, count: int = 1) -> Plan[list[T]]:
        """Read the next items; they stay. One round trip.

        Parameters:
            count: how many at most.

        Raises:
            ConfigurationError: a count that is not allowed.
            DecodeError: when the plan is run: the codec cannot read one of them.
        """
        last = validate.integer("count", count, least=1) - 1
        number, codec = self._number, self.codec

        def parse(answers: Sequence[Reply]) -> list[T]:
            return [codec.decode(item[number:]) for item in replies.array(answers[0]) if isinstance(item, bytes)]

        return Plan(f"{self.word}.peek", (Command((self._range, self.key, 0, last)),), parse, Effect.READS)

    @abstractmethod
    def length(self) -> Plan[int]:
        """Count the items. One round trip."""

    def clear(self) -> Plan[None]:
        """Throw all items away; failed ones stay. One round trip.

        Sent at most once, or it could throw away what was put in between.

        Raises:
            OutcomeUnknown: no answer came: they may be there still.
        """
        return self._unlink("clear", self.key)

    # Failed items

    @property
    def _failed_key(self) -> str:
        return f"{self.key}:failed"

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
        return self._fail([error_text(error), self.codec.encode(item)])

    def _fail(self, words: Sequence[str | bytes]) -> Plan[int]:
        command = _FAIL((self._failed_key,), self.keep_failed, *words)
        return Plan(f"{self.word}.fail", (command,), _integer, Effect.ONCE)

    def failed(self, count: int = 100) -> Plan[list[FailedItem[T]]]:
        """Read the failed items, the oldest first; they stay. One round trip.

        Parameters:
            count: how many at most.

        Raises:
            ConfigurationError: a count that is not allowed.
        """
        last = validate.integer("count", count, least=1) - 1
        command = Command(("LRANGE", self._failed_key, 0, last))
        return Plan(f"{self.word}.failed", (command,), self._failed_items, Effect.READS)

    def clear_failed(self) -> Plan[None]:
        """Throw the failed items away; else as `clear`."""
        return self._unlink("clear_failed", self._failed_key)

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
        number = validate.integer("count", count, least=1, most=MOST_AT_ONCE)
        command = _REQUEUE((self._failed_key, *keys), number, priority)
        return Plan(f"{self.word}.requeue_failed", (command,), _integer, Effect.ONCE)

    def _full(self, answers: Sequence[Reply]) -> int:
        length = replies.integer(answers[0])
        if not length:
            raise QueueFull(f"the queue {self.name!r} may have {self.max_length} items, and would have more")
        return length

    def _encoded(self, items: Iterable[T]) -> list[bytes]:
        encoded = [self.codec.encode(item) for item in items]
        if not 1 <= len(encoded) <= MOST_AT_ONCE:
            raise ConfigurationError(f"items must be 1 to {MOST_AT_ONCE} at once, not {len(encoded)}")
        return encoded

    def _unlink(self, verb: str, *keys: str) -> Plan[None]:
        return Plan(f"{self.word}.{verb}", (Command(("UNLINK", *keys)),), _nothing, Effect.ONCE)

    def _blocking(self, command: str, keys: Sequence[str], seconds: float) -> Plan[tuple[str, bytes] | None]:
        """Wait for what the first of these keys gives; the key, and the item."""
        # Redis before 7.0.8 waits for ever where it is told to wait for less than 2 ms.
        blocks = 0 if seconds == math.inf else max(0.002, round(seconds, 3))
        return Plan(f"{self.word}.pop", (Command((command, *keys, blocks)),), _popped, Effect.ONCE, blocks)

    @staticmethod
    def _items(reply: Reply) -> list[bytes]:
        """Read what LPOP gives."""
        return [] if reply is None else [item for item in replies.array(reply) if isinstance(item, bytes)]


@dataclass(frozen=True, eq=False)
class FifoQueue(Queue[T]):
    """A queue in order: first in, first out.

    Parameters:
        name, codec, max_length, keep_failed, namespace: as for `Queue`.
    """

    word: ClassVar[str] = "queue"

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

    def length(self) -> Plan[int]:
        """Count the items. One round trip."""
        return Plan("queue.length", (Command(("LLEN", self.key)),), _integer, Effect.READS)

    def _take(self, count: int) -> Plan[list[bytes]]:
        command = Command(("LPOP", self.key, count))
        return Plan("queue.pop", (command,), lambda answers: self._items(answers[0]), Effect.ONCE)

    def _wait(self, seconds: float, *, keep: bool = False) -> Steps[list[bytes]]:
        plan = self._blocking("BLPOP", (self.key,), seconds)
        return _item((yield from self._taken(plan, _item, keep=keep)))

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


def _item(popped: tuple[str, bytes] | None) -> list[bytes]:
    return [] if popped is None else [popped[1]]


def _popped(answers: Sequence[Reply]) -> tuple[str, bytes] | None:
    if answers[0] is None:
        return None
    name, item, *_ = replies.array(answers[0])
    if not isinstance(item, bytes):
        raise DecodeError("expected an item of a queue, got something else")
    return replies.text(name), item


def _integer(answers: Sequence[Reply]) -> int:
    return replies.integer(answers[0])


def _nothing(answers: Sequence[Reply]) -> None:
    replies.integer(answers[0])
