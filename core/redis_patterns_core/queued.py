"""What is leased in the order of arrival, to one or to several at once: the common part of fair, reentrant and
read-write locks, of semaphores and of slots.

Promises, besides those of every lease: nobody overtakes those who wait at Redis, but who holds it already and comes in
again; each lease ends on its own, so that renewing one keeps no other alive; one who waits and dies holds up the others
for about two seconds at its turn, and in no case for longer than fifteen.

Each who waits stands behind one other, and is woken by it when that one leaves the line; the first in line is woken by
who gives back (the queue lock of Craig, and of Magnussen, Landin and Hagersten: "Queue locks on cache coherent
multiprocessors", 1994). So each wake-up is for exactly one, whoever is first asks once to be let in, and all keys are
known beforehand.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from redis_patterns_core import replies
from redis_patterns_core.keys import key
from redis_patterns_core.lease_records import Holder, Occupancy, fingerprint
from redis_patterns_core.leases import InOneStep
from redis_patterns_core.plan import Command, Effect, Plan, Script
from redis_patterns_core.replies import Reply
from redis_patterns_core.value import value

__all__ = ["QueueKeys", "Queued"]

_ACQUIRE = Script.load("lease_acquire")
_EXTEND = Script.load("lease_extend")
_RELEASE = Script.load("lease_release")
_INSPECT = Script.load("lease_inspect")
_COUNT = Script.load("lease_count")

ALONE = "x"
ONE_PERMIT = "s"
SOME_PERMITS = "w"


@value
class QueueKeys:
    """The keys of one thing that is leased.

    Parameters:
        held: sorted set of the members that hold it, by when their leases end.
        queue: sorted set of those in line, by arrival.
        waiting: sorted set of the same, by until when they are taken to be there.
        wake: list that wakes the first in line; with a fingerprint behind it, who stands behind a member.
        fence: string, the last fence; empty where nobody has it alone.
    """

    held: str
    queue: str
    waiting: str
    wake: str
    fence: str = ""

    @classmethod
    def of(cls, kind: str, name: str, *, namespace: str, fence: bool) -> QueueKeys:
        """Make the keys ``kind:{NAME}``, ``kind:{NAME}:queue`` and so on."""
        parts = ("", "queue", "waiting", "wake", "fence" if fence else "")
        made = [key(kind, name, part=part, namespace=namespace) for part in parts]
        held, queue, waiting, wake, last = made
        return cls(held, queue, waiting, wake, last if fence else "")


class Queued(InOneStep):
    """Something that is leased in the order of arrival."""

    __slots__ = ()
    mode: ClassVar[str]
    """Whether one has it alone, or how permits are counted; see the script."""
    # More than one, as the order of arrival is kept between processes by who stands at Redis.
    abreast = 16

    @property
    @abstractmethod
    def keys(self) -> QueueKeys:
        """Its keys."""

    @property
    def wake_key(self) -> str:
        """The list on which the first of those who wait is woken."""
        return self.keys.wake

    @property
    def line(self) -> str | None:
        """The line of one driver's tasks, of whom only `abreast` wait at Redis."""
        return self.keys.wake

    def inspect(self) -> Plan[Occupancy]:
        """Tell who holds it, and how many wait for it. One round trip."""
        keys = self.keys
        names = (keys.held, keys.waiting, keys.fence) if keys.fence else (keys.held, keys.waiting)
        return Plan(f"{self.word}.inspect", (_INSPECT(names),), _occupancy, Effect.READS)

    def _member(self, token: str) -> str:
        """Give what the script has to know of who asks: mode, weight, owner or nothing, and the token."""
        return f"{self.mode}1::{token}"

    def _permits(self) -> int:
        """Give how many permits there are."""
        return 1

    def _acquisition(self, token: str, wait_ms: int) -> Command:
        keys, member = self.keys, self._member(token)
        names = [keys.held, keys.queue, keys.waiting, keys.wake, f"{keys.wake}:{fingerprint(member)}"]
        if keys.fence:
            names.append(keys.fence)
        return _ACQUIRE(names, member, self._ttl_ms, wait_ms, self._permits())

    def _extensions(self, token: str, ttl_ms: int | None) -> tuple[Command, ...]:
        names = (self.keys.held, self.keys.fence) if self.keys.fence else (self.keys.held,)
        return (_EXTEND(names, self._member(token), ttl_ms or self._ttl_ms),)

    def _freeings(self, token: str) -> tuple[Command, ...]:
        keys, member = self.keys, self._member(token)
        names = (keys.held, keys.queue, keys.waiting, keys.wake, f"{keys.wake}:{fingerprint(member)}")
        return (_RELEASE(names, member),)


def count(keys: QueueKeys, name: str) -> Plan[int]:
    """Give the plan that counts the leases that are held."""
    return Plan(name, (_COUNT((keys.held,)),), replies.first_integer, Effect.READS)


def _occupancy(answers: Sequence[Reply]) -> Occupancy:
    waiting, fence, held = replies.array(answers[0], 3)
    last = replies.integer(fence)
    holders: list[Holder] = []
    for member, left in replies.pairs(held):
        what, _, token = replies.text(member).split(":", 2)
        number = last if what.startswith(ALONE) else 0
        since = number / 1_000_000 if number else None
        holders.append(Holder(fingerprint(token), since, replies.integer(left) / 1000, number, int(what[1:])))
    return Occupancy(tuple(holders), replies.integer(waiting))
