"""Semaphores: so many permits for all, each lease with one or with several of them, for as long as it runs.

Promises: those of `redis_patterns_core.queued`; counting and taking are one step in Redis, by Redis' clock; permits
whose holder died are free when its lease runs out. Who wants many permits is not overtaken for ever by those who want
few: they stand in one line.

Keys: ``semaphore:{NAME}``, a sorted set of the holders by when their leases end, expiring with the last of them;
``semaphore:{NAME}:queue`` and ``semaphore:{NAME}:waiting``, sorted sets, and ``semaphore:{NAME}:wake`` with those of
single members ``semaphore:{NAME}:wake:FINGERPRINT``, lists, while somebody waits.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field, replace

from redis_patterns_core import validate
from redis_patterns_core.errors import ConfigurationError
from redis_patterns_core.queued import SOME_PERMITS, Queued, QueueKeys
from redis_patterns_core.validate import Duration

__all__ = ["Semaphore"]


@dataclass(frozen=True, slots=True)
class Semaphore(Queued):
    """Permits for something that there is so much of; for one limit per user or per host see `ConcurrencyLimit`.

    Holding the semaphore itself is holding one permit. Changing the limit keeps what is held. Adding up what is held
    takes Redis about 0.2 microseconds for each holder.

    Parameters:
        name: what the permits are for, such as ``gpu``.
        limit: how many there are, 1 or more.
        weight: how many of them a lease takes, 1 up to the limit.
        ttl: how long a lease runs unless it is prolonged, in seconds or as a timedelta, 1 ms or more.
        namespace: a prefix of the keys.

    Raises:
        ConfigurationError: an empty name, a limit, a weight or a duration that is not allowed.
    """

    name: str
    _: KW_ONLY
    limit: int
    weight: int = 1
    ttl: Duration = 10
    namespace: str = ""
    _keys: QueueKeys = field(init=False, repr=False, compare=False)
    _ttl_ms: int = field(init=False, repr=False, compare=False)

    word = "semaphore"
    mode = SOME_PERMITS

    def __post_init__(self) -> None:
        validate.text("name", self.name)
        validate.namespace(self.namespace)
        validate.integer("limit", self.limit, least=1)
        if validate.integer("weight", self.weight, least=1) > self.limit:
            raise ConfigurationError(f"weight must be at most the limit of {self.limit}, not {self.weight}")
        keys = QueueKeys.of("semaphore", self.name, namespace=self.namespace, fence=False)
        object.__setattr__(self, "_keys", keys)
        object.__setattr__(self, "_ttl_ms", validate.milliseconds("ttl", self.ttl))

    @property
    def keys(self) -> QueueKeys:
        """Its keys."""
        return self._keys

    @property
    def line(self) -> str | None:
        """The line of one driver's tasks, of whom one at a time waits at Redis."""
        return self._keys.wake

    def permits(self, count: int) -> Semaphore:
        """Give the same semaphore, so that a lease takes `count` of its permits.

        Raises:
            ConfigurationError: less than one, or more than the limit.
        """
        return replace(self, weight=count)

    def _member(self, token: str) -> str:
        return f"{self.mode}{self.weight}::{token}"

    def _permits(self) -> int:
        return self.limit
