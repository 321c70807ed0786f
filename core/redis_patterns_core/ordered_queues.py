"""Queues whose items do not come in the order in which they were put: by priority, or later. At most once, as others.

Promises: each step is atomic; of one priority what came first goes first; a delayed item is neither lost nor doubled
when it becomes due, which is by the server's clock.

Keys: ``pqueue:{NAME}`` and ``delayed:{NAME}``, sorted sets; ``queue:{NAME}``, a list, of what is due;
``pqueue:{NAME}:failed`` and ``queue:{NAME}:failed``, lists; ``...:numbers``, a string; ``delayed:{NAME}:wake``, a list,
for a minute. But for the last they have no TTL: an item stays until it is taken.

Source: https://redis.io/docs/latest/commands/bzpopmin/
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, TypeVar

from redis_patterns_core import replies, validate
from redis_patterns_core.flow import Now, Steps
from redis_patterns_core.keys import key
from redis_patterns_core.periods import due
from redis_patterns_core.plan import Command, Effect, Plan, Script
from redis_patterns_core.queues import MOST_AT_ONCE, Queue
from redis_patterns_core.replies import Reply
from redis_patterns_core.validate import Duration

__all__ = ["DelayedQueue", "PriorityQueue"]

T = TypeVar("T")

_PRIORITY_PUT = Script.load("priority_put")
_DELAYED_PUT = Script.load("delayed_put")
_PROMOTE = Script.load("delayed_promote")

_MOST_PRIORITY = 1023


@dataclass(frozen=True, eq=False)
class PriorityQueue(Queue[T]):
    """A queue by priority, the lowest number first; of one priority in order.

    Parameters:
        name, codec, max_length, keep_failed, namespace: as for `Queue`.
    """

    word: ClassVar[str] = "pqueue"
    _kind: ClassVar[str] = "pqueue"
    _range: ClassVar[str] = "ZRANGE"
    _number: ClassVar[int] = 16

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

    def length(self) -> Plan[int]:
        """Count the items. One round trip."""
        return Plan("pqueue.length", (Command(("ZCARD", self.key)),), _total, Effect.READS)

    def _take(self, count: int) -> Plan[list[bytes]]:
        return Plan("pqueue.pop", (Command(("ZPOPMIN", self.key, count)),), self._members, Effect.ONCE)

    def _wait(self, seconds: float, *, keep: bool = False) -> Steps[list[bytes]]:
        plan = self._blocking("BZPOPMIN", (self.key,), seconds)
        return self._member((yield from self._taken(plan, self._member, keep=keep)))

    def _member(self, popped: tuple[str, bytes] | None) -> list[bytes]:
        return [] if popped is None else [popped[1][self._number :]]

    def _members(self, answers: Sequence[Reply]) -> list[bytes]:
        return [member[self._number :] for member, _ in replies.pairs(answers[0]) if isinstance(member, bytes)]

    def requeue_failed(self, count: int = 100, priority: int = 0) -> Plan[int]:
        """Put failed items back, behind those of a priority; else as `FifoQueue.requeue_failed`."""
        validate.integer("priority", priority, least=-_MOST_PRIORITY, most=_MOST_PRIORITY)
        return self._requeued((self.key, f"{self.key}:numbers"), count, priority)


@dataclass(frozen=True, eq=False)
class DelayedQueue(Queue[T]):
    """A queue whose items can be taken later. What is due lies in the `FifoQueue` of the same name, in the order in
    which it became due; who takes from that one alone gets what others have promoted.

    Parameters:
        name, codec, max_length, keep_failed, namespace: as for `Queue`; `max_length` is for both together.
    """

    word: ClassVar[str] = "delayed"
    _delayed: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "_delayed", key("delayed", self.name, namespace=self.namespace))

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
        command = self._promotion(validate.integer("most", most, least=1, most=MOST_AT_ONCE))
        return Plan("delayed.promote", (command,), lambda answers: _promoted(answers[0])[0], Effect.IDEMPOTENT)

    def _promotion(self, most: int) -> Command:
        return _PROMOTE((self._delayed, self.key), most)

    def _take(self, count: int) -> Plan[list[bytes]]:
        commands = (self._promotion(max(100, count)), Command(("LPOP", self.key, count)))
        return Plan("delayed.pop", commands, lambda answers: self._items(answers[1]), Effect.ONCE)

    def _wait(self, seconds: float, *, keep: bool = False) -> Steps[list[bytes]]:
        commands = (self._promotion(100), Command(("LPOP", self.key, 1)))
        look = Plan(
            "delayed.pop", commands, lambda answers: (self._items(answers[1]), _promoted(answers[0])[1]), Effect.ONCE
        )
        now = yield from Now()
        ends_at = now + seconds
        while True:
            taken, next_in = yield from self._taken(look, lambda found: found[0], keep=keep)
            if taken or now >= ends_at:
                return taken
            # One that is put to be due before is told by an element in the last key.
            pause = max(0.002, min(ends_at - now, next_in, 60))
            keys = (self.key, f"{self._delayed}:wake")
            popped = yield from self._taken(self._blocking("BLPOP", keys, pause), self._due_item, keep=keep)
            if item := self._due_item(popped):
                return item
            now = yield from Now()

    def _due_item(self, popped: tuple[str, bytes] | None) -> list[bytes]:
        # Not what tells of one that was put.
        return [popped[1]] if popped is not None and popped[0] == self.key else []

    def length(self) -> Plan[int]:
        """Count the items, due or not. One round trip."""
        commands = (Command(("ZCARD", self._delayed)), Command(("LLEN", self.key)))
        return Plan("delayed.length", commands, _total, Effect.READS)

    def clear(self) -> Plan[None]:
        """Throw all items away, due or not; else as `Queue.clear`."""
        return self._unlink("clear", self._delayed, self.key)

    def requeue_failed(self, count: int = 100) -> Plan[int]:
        """Put failed items back, to be taken at once; else as `FifoQueue.requeue_failed`."""
        return self._requeued((self.key, f"{self.key}:numbers"), count, "")


def _promoted(reply: Reply) -> tuple[int, float]:
    moved, next_in = replies.integers(reply, 2)
    return moved, math.inf if next_in < 0 else (next_in + 1) / 1000


def _total(answers: Sequence[Reply]) -> int:
    return sum(map(replies.integer, answers))
