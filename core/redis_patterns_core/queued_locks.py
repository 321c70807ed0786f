"""Locks that are given in the order of arrival: fair, reentrant, and for readers and writers.

Promises: those of `redis_patterns_core.queued`; and like a `Lock`, each lease that excludes all others has a fence that
only grows. A `Lock` is faster and is the one to take where order does not matter: it is whoever comes first that gets
it, when it becomes free.

Keys, with KIND ``fairlock``, ``reentrantlock`` or ``rwlock``: ``KIND:{NAME}``, a sorted set of the holders by when
their leases end, expiring with the last of them; ``KIND:{NAME}:fence``, a string, the last fence, for a day;
``KIND:{NAME}:queue`` and ``KIND:{NAME}:waiting``, sorted sets, and ``KIND:{NAME}:wake`` with those of single members
``KIND:{NAME}:wake:FINGERPRINT``, lists, while somebody waits. Locks of different kinds have different keys: a `Lock`
and a `FairLock` of one name are two locks.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field

from redis_patterns_core import validate
from redis_patterns_core.lease_records import fingerprint
from redis_patterns_core.queued import ALONE, ONE_PERMIT, Queued, QueueKeys
from redis_patterns_core.validate import EXACT_LIMIT, Duration

__all__ = ["FairLock", "ReadLock", "ReadWriteLock", "ReentrantLock", "WriteLock"]


@dataclass(frozen=True, slots=True)
class FairLock(Queued):
    """A lock that is given in the order in which it was asked for.

    In asyncio and trio sixteen tasks of a driver stand in line at Redis, and the others behind them in their order: who
    comes from another process meanwhile stands before those.

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
    _keys: QueueKeys = field(init=False, repr=False, compare=False)
    _ttl_ms: int = field(init=False, repr=False, compare=False)

    word = "lock"
    mode = ALONE

    def __post_init__(self) -> None:
        object.__setattr__(self, "_keys", _keys("fairlock", self.name, self.namespace))
        object.__setattr__(self, "_ttl_ms", validate.milliseconds("ttl", self.ttl))

    @property
    def keys(self) -> QueueKeys:
        """Its keys."""
        return self._keys


@dataclass(frozen=True, slots=True)
class ReentrantLock(Queued):
    """A lock that its owner may take again while it holds it; it is free when each lease of the owner is given back.

    Given in the order of arrival to different owners. Each acquisition is a lease of its own, which ends on its own;
    all that are held at one time have the same fence.

    Parameters:
        name: what is locked, such as ``order:123``.
        owner: who counts as one, such as the id of a request or a job; Redis is given its SHA-256 only. Tasks and
            processes that give the same owner do not exclude each other.
        ttl, namespace: as for `FairLock`.

    Raises:
        ConfigurationError: an empty name or owner, or a duration that is not allowed.
    """

    name: str
    _: KW_ONLY
    owner: str = field(repr=False)
    ttl: Duration = 10
    namespace: str = ""
    _keys: QueueKeys = field(init=False, repr=False, compare=False)
    _ttl_ms: int = field(init=False, repr=False, compare=False)
    _owner: str = field(init=False, repr=False, compare=False)

    word = "lock"
    mode = ALONE

    def __post_init__(self) -> None:
        object.__setattr__(self, "_keys", _keys("reentrantlock", self.name, self.namespace))
        object.__setattr__(self, "_ttl_ms", validate.milliseconds("ttl", self.ttl))
        object.__setattr__(self, "_owner", fingerprint(validate.text("owner", self.owner)))

    @property
    def keys(self) -> QueueKeys:
        """Its keys."""
        return self._keys

    @property
    def line(self) -> str | None:
        """The line of one owner's tasks: it comes in at once where it has the lock, whoever waits."""
        return f"{self._keys.wake}:{self._owner}"

    def _member(self, token: str) -> str:
        return f"{self.mode}1:{self._owner}:{token}"


@dataclass(frozen=True, slots=True)
class ReadWriteLock:
    """A lock that any number of readers hold together, or one writer alone.

    In the order of arrival: readers who come after a waiting writer wait behind it, so that neither waits for ever.
    Each lease ends on its own, those of readers too. Who reads and wants to write gives back first: two readers that
    both waited for the other to end would wait for ever.

    Parameters:
        name: what is locked, such as ``catalogue``.
        ttl, namespace: as for `FairLock`.

    Raises:
        ConfigurationError: an empty name, or a duration that is not allowed.
    """

    name: str
    _: KW_ONLY
    ttl: Duration = 10
    namespace: str = ""
    _keys: QueueKeys = field(init=False, repr=False, compare=False)
    _ttl_ms: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_keys", _keys("rwlock", self.name, self.namespace))
        object.__setattr__(self, "_ttl_ms", validate.milliseconds("ttl", self.ttl))

    def read(self) -> ReadLock:
        """Give what is to be held for reading, together with other readers."""
        return ReadLock(self.name, self._keys, self._ttl_ms)

    def write(self) -> WriteLock:
        """Give what is to be held for writing, alone; its leases have fences."""
        return WriteLock(self.name, self._keys, self._ttl_ms)


@dataclass(frozen=True, slots=True)
class _Side(Queued):
    name: str
    _keys: QueueKeys = field(repr=False)
    _ttl_ms: int = field(repr=False)

    @property
    def keys(self) -> QueueKeys:
        """Its keys."""
        return self._keys


class ReadLock(_Side):
    """The readers' side of a `ReadWriteLock`, which makes it."""

    __slots__ = ()
    word = "read lock"
    mode = ONE_PERMIT

    def _permits(self) -> int:
        return EXACT_LIMIT - 1


class WriteLock(_Side):
    """The writer's side of a `ReadWriteLock`, which makes it."""

    __slots__ = ()
    word = "write lock"
    mode = ALONE


def _keys(kind: str, name: str, namespace: str) -> QueueKeys:
    validate.text("name", name)
    validate.namespace(namespace)
    return QueueKeys.of(kind, name, namespace=namespace, fence=True)
