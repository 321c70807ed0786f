"""Concurrency limits: at most so many at once, each for as long as its lease runs.

Promises: counting and taking are one step in Redis, by Redis' clock; a slot whose holder died is free when its lease
runs out, each on its own; a repeated call whose first answer was lost takes no second slot.

Keys: ``slots:{ID}:held:NAME``, a sorted set of the holders' tokens by when their leases end, expiring with the last of
them; ``slots:{ID}:waiting:NAME``, a sorted set, and ``slots:{ID}:wake:NAME``, a list, while somebody waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field

from redis_patterns_core import replies, validate
from redis_patterns_core.keys import Keys
from redis_patterns_core.leases import Leasable
from redis_patterns_core.plan import Command, Effect, Plan, Script
from redis_patterns_core.replies import Reply
from redis_patterns_core.validate import Duration

__all__ = ["ConcurrencyLimit", "Slot"]

_ACQUIRE = Script.load("slot_acquire")
_EXTEND = Script.load("slot_extend")
_RELEASE = Script.load("slot_release")
_COUNT = Script.load("slot_count")


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
    _keys: tuple[Keys, Keys, Keys] = field(init=False, repr=False, compare=False)
    _ttl_ms: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        validate.text("name", self.name)
        validate.namespace(self.namespace)
        validate.integer("limit", self.limit, least=1)
        parts = [f"{part}:{self.name}" for part in ("held", "waiting", "wake")]
        keys = tuple([Keys("slots", part=part, namespace=self.namespace) for part in parts])
        object.__setattr__(self, "_keys", keys)
        object.__setattr__(self, "_ttl_ms", validate.milliseconds("ttl", self.ttl))

    def slot(self, id: str) -> Slot:
        """Give what is to be held for `id`, as in ``with driver.hold(exports.slot("ann"), wait=0)``.

        Raises:
            ConfigurationError: an id that is not allowed.
        """
        validate.text("id", id)
        held, waiting, wake = self._keys
        return Slot(self.name, held(id), self.limit, waiting(id), wake(id), self._ttl_ms)

    def count(self, id: str) -> Plan[int]:
        """Tell how many slots of `id` are held. One round trip.

        Raises:
            ConfigurationError: an id that is not allowed.
        """
        return Plan("slot.count", (_COUNT((self.key(id),)),), _integer, Effect.READS)

    def key(self, id: str) -> str:
        """Give the key of `id`.

        Raises:
            ConfigurationError: an id that is not allowed.
        """
        return self._keys[0](validate.text("id", id))


@dataclass(frozen=True, slots=True)
class Slot(Leasable):
    """One of the slots of an id; made by `ConcurrencyLimit.slot`.

    Parameters:
        name: of the limit.
        key: of those who hold one; none of the keys is shown, as they have the id in them.
        limit: how many there are.
        waiting_key: of those who wait.
    """

    name: str
    key: str = field(repr=False)
    limit: int
    waiting_key: str = field(repr=False)
    _wake_key: str = field(repr=False)
    _ttl_ms: int = field(repr=False)

    word = "slot"

    @property
    def wake_key(self) -> str:
        """The list on which those who wait are woken, one by one."""
        return self._wake_key

    def _acquisition(self, token: str, wait_ms: int) -> Command:
        return _ACQUIRE((self.key, self.waiting_key, self.wake_key), token, self._ttl_ms, self.limit, wait_ms)

    def _extension(self, token: str, ttl_ms: int) -> Command:
        return _EXTEND((self.key,), token, ttl_ms)

    def _freeing(self, token: str) -> Command:
        return _RELEASE((self.key, self.waiting_key, self.wake_key), token)


def _integer(answers: Sequence[Reply]) -> int:
    return replies.integer(answers[0])
