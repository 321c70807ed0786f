"""Concurrency limits: at most so many at once for each id, each for as long as its lease runs.

Promises: those of `redis_patterns_core.queued`; counting and taking are one step in Redis, by Redis' clock; a slot
whose holder died is free when its lease runs out; a repeated call whose first answer was lost takes no second slot.

Keys: ``slots:{ID}:held:NAME``, a sorted set of the holders by when their leases end, expiring with the last of them;
``slots:{ID}:queue:NAME`` and ``slots:{ID}:waiting:NAME``, sorted sets, and ``slots:{ID}:wake:NAME`` with those of
single members ``slots:{ID}:wake:NAME:FINGERPRINT``, lists, while somebody waits.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field

from redis_patterns_core import validate
from redis_patterns_core.keys import Keys
from redis_patterns_core.plan import Plan
from redis_patterns_core.queued import ONE_PERMIT, Queued, QueueKeys, count
from redis_patterns_core.validate import Duration

__all__ = ["ConcurrencyLimit", "Slot"]


@dataclass(frozen=True, slots=True)
class ConcurrencyLimit:
    """At most `limit` at once for each id, such as requests in progress for a user.

    Changing the limit keeps what is held. Memory: about 50 bytes for each slot that is taken, 130 where there are more
    than 128 of an id.

    Parameters:
        name: what is limited, such as ``exports``.
        limit: how many at once, 1 or more.
        ttl: how long a lease runs unless it is prolonged, in seconds or as a timedelta, 1 ms or more.
        namespace: a prefix of the keys.

    Raises:
        ConfigurationError: an empty name, a limit or a duration that is not allowed.
    """

    name: str
    _: KW_ONLY
    limit: int
    ttl: Duration = 10
    namespace: str = ""
    _keys: tuple[Keys, ...] = field(init=False, repr=False, compare=False)
    _ttl_ms: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        validate.text("name", self.name)
        validate.namespace(self.namespace)
        validate.integer("limit", self.limit, least=1)
        parts = [f"{part}:{self.name}" for part in ("held", "queue", "waiting", "wake")]
        keys = tuple([Keys("slots", part=part, namespace=self.namespace) for part in parts])
        object.__setattr__(self, "_keys", keys)
        object.__setattr__(self, "_ttl_ms", validate.milliseconds("ttl", self.ttl))

    def slot(self, id: str) -> Slot:
        """Give what is to be held for `id`, as in ``with driver.hold(exports.slot("ann"), wait=0)``.

        Raises:
            ConfigurationError: an id that is not allowed.
        """
        validate.text("id", id)
        return Slot(self.name, QueueKeys(*[make(id) for make in self._keys]), self.limit, self._ttl_ms)

    def count(self, id: str) -> Plan[int]:
        """Tell how many slots of `id` are held. One round trip.

        Raises:
            ConfigurationError: an id that is not allowed.
        """
        return count(self.slot(id).keys, "slot.count")

    def key(self, id: str) -> str:
        """Give the key of `id`.

        Raises:
            ConfigurationError: an id that is not allowed.
        """
        return self._keys[0](validate.text("id", id))


@dataclass(frozen=True, slots=True)
class Slot(Queued):
    """One of the slots of an id; made by `ConcurrencyLimit.slot`.

    Parameters:
        name: of the limit.
        limit: how many there are.
    """

    name: str
    _keys: QueueKeys = field(repr=False)  # not shown, as they have the id in them
    limit: int
    _ttl_ms: int = field(repr=False)

    word = "slot"
    mode = ONE_PERMIT

    @property
    def keys(self) -> QueueKeys:
        """Its keys."""
        return self._keys

    @property
    def line(self) -> str | None:
        """The line of one driver's tasks, of whom one at a time waits at Redis."""
        return self._keys.wake

    def _permits(self) -> int:
        return self.limit
