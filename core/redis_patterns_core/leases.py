"""Leases: what locks, permits and slots have in common: taken for a while, prolonged while held, given back.

Promises: a lease is taken, prolonged and given back by its token only, each in one script; a repeated call whose first
answer was lost succeeds; a lease that ran out is never prolonged; whatever ends an acquisition that did not succeed,
its token holds nothing afterwards. What a lease cannot promise: a holder that is stopped for longer than its lease does
not know it.
"""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar

from redis_patterns_core import replies, validate
from redis_patterns_core.errors import OutcomeUnknown, PatternsError, Unreachable
from redis_patterns_core.flow import Defer, Flow, Now, Sleep, Steps, flow
from redis_patterns_core.lease_records import Held, Lease, Occupancy, fingerprint, new_token
from redis_patterns_core.plan import Command, Effect, Plan
from redis_patterns_core.replies import Reply
from redis_patterns_core.validate import Duration
from redis_patterns_core.value import value

__all__ = ["InOneStep", "Leasable", "campaign"]

_LOOK_EVERY = 10.0
"""Seconds after which one who waits looks again, should a wake-up have been lost."""
_IN_LINE_MS = 15_000
"""Milliseconds for which one who waits is taken to be there: longer than until the next look."""
_APART = 0.01
"""Seconds over which those who wait for a dead holder's lease to end are spread."""
_AFTER_TROUBLE = 0.1
"""Seconds, at most, between trouble with the connection and the next look."""
_BETWEEN_CAMPAIGNS = 1.0
"""Seconds, at most, for which one who wants to lead waits after trouble with the connection."""
_SHORTEST = 0.001
"""Seconds; Redis would take less for ever."""


@value
class _Attempt:
    """What an attempt found.

    Parameters:
        acquired: whether it has it.
        over_in: seconds until the lease that is in the way is over; ``None`` for never.
        fence: of a lock that was acquired.
        behind: the fingerprint of who is in front in the line; empty for the first, and where there is none.
    """

    acquired: bool
    over_in: float | None
    fence: int
    behind: str


class Leasable(ABC):
    """What can be leased: a lock of any kind, a permit, a slot, several locks together; ``hold`` takes any of them."""

    __slots__ = ()
    word: ClassVar[str]
    """What it is, for messages."""
    abreast: ClassVar[int] = 1
    """How many tasks of one driver's `line` wait at Redis at a time."""
    name: str

    @property
    @abstractmethod
    def ttl_seconds(self) -> float:
        """How long a lease runs, in seconds."""

    @property
    def line(self) -> str | None:
        """The line of one driver's tasks, of whom only `abreast` wait at Redis; ``None`` where each waits there."""
        return None

    @abstractmethod
    def wait_for(
        self,
        wait: Duration | None = None,
        *,
        token: str | None = None,
        chance: Callable[[], float] = random.random,
    ) -> Flow[Lease | None]:
        """Take it, waiting until it is free.

        If anything interrupts it, what it may have is given back.

        Parameters:
            wait: seconds, or a timedelta; 0 tries once, ``None`` waits for as long as it takes.
            token: who asks; a new one where none is given.
            chance: random numbers from 0 to 1, so that not all wake at once by themselves.

        Returns:
            A flow that gives the lease, or ``None`` when the wait was over.

        Raises:
            ConfigurationError: a wait that is not allowed, or an empty token.
        """

    @abstractmethod
    def _extensions(self, token: str, ttl_ms: int | None) -> tuple[Command, ...]:
        """Give the commands that prolong it; each answered with 1, or 0 where the token holds nothing."""

    @abstractmethod
    def _freeings(self, token: str) -> tuple[Command, ...]:
        """Give the commands that give it back; each answered with 1, or 0 where the token holds nothing."""

    def extend(self, lease: Lease, ttl: Duration | None = None) -> Plan[bool]:
        """Let a lease run for its TTL from now; one that ran out stays gone.

        Parameters:
            lease: what acquiring gave.
            ttl: another TTL, in seconds or as a timedelta, 1 ms or more; may be shorter than what is left.

        Returns:
            A plan of one round trip that tells whether it is still held; idempotent.

        Raises:
            ConfigurationError: a TTL that is not allowed.
        """
        ttl_ms = None if ttl is None else validate.milliseconds("ttl", ttl)
        return Plan(f"{self.word}.extend", self._extensions(lease.token, ttl_ms), _done, Effect.IDEMPOTENT)

    def release(self, lease: Lease) -> Plan[bool]:
        """Free what this lease holds; what somebody else holds stays as it is.

        Parameters:
            lease: what acquiring gave.

        Returns:
            A plan of one round trip that tells whether it was still held; idempotent. When the driver had to send it
            twice, the second answer is ``False`` although the first freed it; `give_back` tells the two apart.
        """
        return Plan(f"{self.word}.release", self._freeings(lease.token), _done, Effect.IDEMPOTENT)

    @flow
    def keep(self, held: Held, *, chance: Callable[[], float] = random.random) -> Steps[None]:
        """Prolong a held lease at about a third of its TTL, again and again, until it is lost.

        Trouble with the connection is not taken for loss: it tries again, up to ten times as often, until the lease has
        run out.

        Parameters:
            held: what to keep; it is told of each renewal and of the loss.
            chance: random numbers from 0 to 1, so that many holders do not renew at one moment.
        """
        pause = self.ttl_seconds / 3
        while True:
            yield from Sleep(pause * (0.9 + chance() / 10))
            asked_at = yield from Now()
            if held.lost:
                return
            try:
                still_ours = yield from self.extend(held.lease)
            except PatternsError:
                pause = self.ttl_seconds / 30
                continue
            if not still_ours:
                held.lose()
                return
            # From when it was asked, not answered: by then the lease may have run for a while.
            held.renewed(asked_at + self.ttl_seconds)
            pause = self.ttl_seconds / 3

    @flow
    def give_back(self, lease: Lease) -> Steps[bool]:
        """Free the lock, and tell a lost lock from a lost answer.

        Returns:
            A flow that gives ``False`` only when the lock was not held any more; one round trip, two when an answer was
            lost.
        """
        try:
            once = Plan(f"{self.word}.release", self._freeings(lease.token), _done, Effect.ONCE)
            return (yield from once)
        except OutcomeUnknown:
            # The first may have freed it, then this one answers "not held"; either way it is not ours now.
            yield from self.release(lease)
            return True

    def _lease(self, token: str | None) -> Lease:
        return Lease(self.name, new_token() if token is None else validate.token(token))


class InOneStep(Leasable):
    """What one script takes; almost everything that can be leased."""

    __slots__ = ()
    _ttl_ms: int

    @property
    @abstractmethod
    def wake_key(self) -> str:
        """The list on which the first of those who wait is woken."""

    @abstractmethod
    def inspect(self) -> Plan[Occupancy]:
        """Tell who holds it, and how many wait for it. One round trip."""

    @abstractmethod
    def _acquisition(self, token: str, wait_ms: int) -> Command:
        """Give the command that takes it, or waits in line for so long.

        It is answered with ``{1 or 0, milliseconds that the lease which is in the way has left, fence}``, and in
        addition the member that is in front in the line where there is one.
        """

    @property
    def ttl_seconds(self) -> float:
        """How long a lease runs, in seconds."""
        return self._ttl_ms / 1000

    def acquire(self, token: str | None = None) -> Plan[Lease | None]:
        """Take it if it is free, or if `token` holds it already.

        Parameters:
            token: who asks; a new one where none is given.

        Returns:
            A plan of one round trip that gives the lease, or ``None`` when others hold it; idempotent.

        Raises:
            ConfigurationError: an empty token.
        """
        lease = self._lease(token)
        return self._attempt(lease, 0).map(
            lambda attempt: replace(lease, fence=attempt.fence) if attempt.acquired else None
        )

    @flow
    def wait_for(
        self,
        wait: Duration | None = None,
        *,
        token: str | None = None,
        chance: Callable[[], float] = random.random,
    ) -> Steps[Lease | None]:
        """Take it, waiting until it is free.

        It asks, and sleeps until it is woken: who gives it back wakes one of those who wait. It also wakes by itself
        when the lease of a holder that may be dead is over, once in a while, and at the end of the wait. If anything
        interrupts it, what it may have is given back, and a wake-up goes to the next.

        Parameters:
            wait: seconds, or a timedelta; 0 tries once, ``None`` waits for as long as it takes.
            token: who asks; a new one where none is given.
            chance: random numbers from 0 to 1, so that not all wake at once by themselves.

        Returns:
            A flow that gives the lease, or ``None`` when the wait was over; one round trip where it is free, two more
            each time that it waits.

        Raises:
            ConfigurationError: a wait that is not allowed, or an empty token.
        """
        wait_seconds = None if wait is None else validate.milliseconds("wait", wait, least=0) / 1000
        lease = self._lease(token)
        # Before the first attempt: its answer may be lost to a cancellation when Redis has already given it to us.
        yield from Defer(self.release(lease), on_error_only=True)
        now = yield from Now()
        ends_at = math.inf if wait_seconds is None else now + wait_seconds
        while True:
            asked_at = now
            attempt = yield from self._attempt(lease, _IN_LINE_MS if now < ends_at else 0)
            if attempt.acquired:
                return Lease(lease.name, lease.token, asked_at + self.ttl_seconds, attempt.fence)
            if now >= ends_at:
                return None
            now = yield from Now()
            pause = _LOOK_EVERY * (0.9 + chance() / 10)
            if attempt.over_in is not None:
                pause = min(pause, attempt.over_in + chance() * _APART)
            key = f"{self.wake_key}:{attempt.behind}" if attempt.behind else self.wake_key
            yield from self._sleep(key, min(pause, ends_at - now), chance)
            now = yield from Now()

    def _sleep(self, key: str, seconds: float, chance: Callable[[], float]) -> Steps[None]:
        if seconds < _SHORTEST:
            yield from Sleep(seconds)
            return
        blocking = round(seconds, 3)
        wait = Plan(f"{self.word}.wait", (Command(("BLPOP", key, blocking)),), _woken, blocks_for=blocking)
        try:
            yield from wait
        except (Unreachable, OutcomeUnknown):
            # Perhaps we were woken: a look is due. Not at once, as there may be trouble.
            yield from Sleep(min(seconds, _AFTER_TROUBLE * chance()))

    def _attempt(self, lease: Lease, wait_ms: int) -> Plan[_Attempt]:
        command = self._acquisition(lease.token, wait_ms)
        return Plan(f"{self.word}.acquire", (command,), _attempted, Effect.IDEMPOTENT)


@flow
def campaign(
    lock: Leasable, wait: Duration | None = None, *, chance: Callable[[], float] = random.random
) -> Steps[Lease | None]:
    """Wait for a lock through trouble with the connection too, as one does who wants to be the leader.

    Parameters:
        lock: what the leader holds.
        wait: seconds, or a timedelta, to wait for it; ``None`` waits for as long as it takes.
        chance: random numbers from 0 to 1.

    Returns:
        A flow that gives the lease, or ``None`` when the wait was over.

    Raises:
        Unreachable, OutcomeUnknown: there was trouble until the end of the wait.
        ConfigurationError: a wait that is not allowed.
    """
    seconds = math.inf if wait is None else validate.milliseconds("wait", wait, least=0) / 1000
    ends_at = (yield from Now()) + seconds
    left: float | None = None if seconds == math.inf else seconds
    while True:
        try:
            return (yield from lock.wait_for(left, chance=chance))
        except (Unreachable, OutcomeUnknown):
            now = yield from Now()
            if now >= ends_at:
                raise
            yield from Sleep(min(ends_at - now, _BETWEEN_CAMPAIGNS * (0.5 + chance() / 2)))
            left = None if seconds == math.inf else max(0.0, ends_at - (yield from Now()))


def _attempted(answers: Sequence[Reply]) -> _Attempt:
    items = replies.array(answers[0])
    member = replies.text(items[3]) if len(items) == 4 else ""
    acquired, milliseconds, fence = replies.integers(items[:3] if len(items) == 4 else items, 3)
    # What is left is rounded down, to nothing in the last millisecond: a waiter that slept for just so long would spin.
    over_in = None if milliseconds < 0 else (milliseconds + 1) / 1000
    return _Attempt(acquired == 1, over_in, fence, fingerprint(member) if member else "")


def _woken(answers: Sequence[Reply]) -> None:
    if answers[0] is not None:
        replies.array(answers[0], 2)


def _done(answers: Sequence[Reply]) -> bool:
    return all(replies.integer(answer) == 1 for answer in answers)
