"""Locks: one holder at a time, for as long as a lease runs.

Promises: a lock is taken, prolonged and freed by its token only, each in one script; a repeated call whose first answer
was lost succeeds; a lease that ran out is never prolonged; whatever ends an acquisition that did not succeed, its token
holds nothing afterwards. What a lease cannot promise: a holder that is stopped for longer than its lease does not know
it.

Keys: ``lock:{NAME}``, a string, the holder's token, expiring with the lease.

Source: https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/, the single-instance form.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field

from redis_patterns_core import validate
from redis_patterns_core.keys import key
from redis_patterns_core.leases import Leasable
from redis_patterns_core.plan import Command, Script
from redis_patterns_core.validate import Duration

__all__ = ["Lock"]

_ACQUIRE = Script.load("lock_acquire")
_EXTEND = Script.load("lock_extend")
_RELEASE = Script.load("lock_release")


@dataclass(frozen=True, slots=True)
class Lock(Leasable):
    """A lock that everybody who names it shares.

    The lock is a constant; each acquisition is a `Lease` with a token of its own. To run a block of code under it, use
    the driver's ``hold``.

    Parameters:
        name: what is locked, such as ``order:123``.
        ttl: how long a lease runs unless it is prolonged, in seconds or as a timedelta, 1 ms or more.
        retry_every: how long a waiting caller sleeps at most before it looks again, in seconds or as a timedelta.
        namespace: a prefix of the key.

    Raises:
        ConfigurationError: an empty name, or a duration that is not allowed.
    """

    name: str
    _: KW_ONLY
    ttl: Duration = 10
    retry_every: Duration = 0.1
    namespace: str = ""
    key: str = field(init=False, repr=False, compare=False)
    """The string that holds the token of whoever has the lock."""
    _ttl_ms: int = field(init=False, repr=False, compare=False)
    _retry_ms: int = field(init=False, repr=False, compare=False)

    word = "lock"

    def __post_init__(self) -> None:
        validate.text("name", self.name)
        validate.namespace(self.namespace)
        object.__setattr__(self, "key", key("lock", self.name, namespace=self.namespace))
        object.__setattr__(self, "_ttl_ms", validate.milliseconds("ttl", self.ttl))
        object.__setattr__(self, "_retry_ms", validate.milliseconds("retry_every", self.retry_every))

    def _acquisition(self, token: str) -> Command:
        return _ACQUIRE((self.key,), token, self._ttl_ms)

    def _extension(self, token: str, ttl_ms: int) -> Command:
        return _EXTEND((self.key,), token, ttl_ms)

    def _freeing(self, token: str) -> Command:
        return _RELEASE((self.key,), token)
