"""Locks: one holder at a time, for as long as a lease runs.

Promises: a lock is taken, prolonged and freed by its token only, each in one script; a repeated call whose first answer
was lost succeeds; a lease that ran out is never prolonged; whatever ends an acquisition that did not succeed, its token
holds nothing afterwards. What a lease cannot promise: a holder that is stopped for longer than its lease does not know
it.

Each lease has a fence, a number that only grows: the server's time in microseconds, or one more than the last. It grows
through expiry, a restart and a fail-over too, unless the server's clock is put back meanwhile.

Keys: ``lock:{NAME}``, a string, the holder's token, expiring with the lease; ``lock:{NAME}:fence``, a string, the last
fence, for a day after the lease; ``lock:{NAME}:waiting``, a sorted set, and ``lock:{NAME}:wake``, a list, while
somebody waits.

Source: https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/, the single-instance form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field

from redis_patterns_core import replies, validate
from redis_patterns_core.keys import key
from redis_patterns_core.lease_records import Holder, Occupancy, fingerprint
from redis_patterns_core.leases import InOneStep
from redis_patterns_core.plan import Command, Effect, Plan, Script
from redis_patterns_core.replies import Reply
from redis_patterns_core.validate import Duration

__all__ = ["Lock"]

_ACQUIRE = Script.load("lock_acquire")
_EXTEND = Script.load("lock_extend")
_RELEASE = Script.load("lock_release")
_INSPECT = Script.load("lock_inspect")


@dataclass(frozen=True, slots=True)
class Lock(InOneStep):
    """A lock that everybody who names it shares.

    The lock is a constant; each acquisition is a `Lease` with a token of its own. To run a block of code under it, use
    the driver's ``hold``.

    Parameters:
        name: what is locked, such as ``order:123``.
        ttl: how long a lease runs unless it is prolonged, in seconds or as a timedelta, 1 ms or more.
        namespace: a prefix of the keys.

    Raises:
        ConfigurationError: an empty name, or a duration that is not allowed.
    """

    name: str
    _: KW_ONLY
    ttl: Duration = 10
    namespace: str = ""
    key: str = field(init=False, repr=False, compare=False)
    """The string that holds the token of whoever has the lock."""
    _ttl_ms: int = field(init=False, repr=False, compare=False)
    _fence_key: str = field(init=False, repr=False, compare=False)
    _waiting_key: str = field(init=False, repr=False, compare=False)
    _wake_key: str = field(init=False, repr=False, compare=False)

    word = "lock"

    def __post_init__(self) -> None:
        validate.text("name", self.name)
        validate.namespace(self.namespace)
        object.__setattr__(self, "key", key("lock", self.name, namespace=self.namespace))
        object.__setattr__(self, "_ttl_ms", validate.milliseconds("ttl", self.ttl))
        for part in ("fence", "waiting", "wake"):
            made = key("lock", self.name, part=part, namespace=self.namespace)
            object.__setattr__(self, f"_{part}_key", made)

    @property
    def wake_key(self) -> str:
        """The list on which those who wait are woken, one by one."""
        return self._wake_key

    @property
    def line(self) -> str | None:
        """The line of one driver's tasks, of whom one at a time waits at Redis."""
        return self._wake_key

    def inspect(self) -> Plan[Occupancy]:
        """Tell who holds the lock, and how many wait for it. One round trip."""
        command = _INSPECT((self.key, self._fence_key, self._waiting_key))
        return Plan("lock.inspect", (command,), _occupancy, Effect.READS)

    def _acquisition(self, token: str, wait_ms: int) -> Command:
        keys = (self.key, self._fence_key, self._waiting_key, self._wake_key)
        return _ACQUIRE(keys, token, self._ttl_ms, wait_ms)

    def _extensions(self, token: str, ttl_ms: int | None) -> tuple[Command, ...]:
        return (_EXTEND((self.key, self._fence_key), token, ttl_ms or self._ttl_ms),)

    def _freeings(self, token: str) -> tuple[Command, ...]:
        return (_RELEASE((self.key, self._waiting_key, self._wake_key), token),)


def _occupancy(answers: Sequence[Reply]) -> Occupancy:
    token, left, fence, waiting = replies.array(answers[0], 4)
    held_by = replies.text(token)
    if not held_by:
        return Occupancy((), replies.integer(waiting))
    milliseconds, number = replies.integer(left), replies.integer(fence)
    since = number / 1_000_000 if number else None
    holder = Holder(fingerprint(held_by), since, None if milliseconds < 0 else milliseconds / 1000, number)
    return Occupancy((holder,), replies.integer(waiting))
