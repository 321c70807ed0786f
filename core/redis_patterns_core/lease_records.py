"""What is said of leases: what somebody holds, and what others see of it."""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Callable
from dataclasses import field

from redis_patterns_core.errors import LockLost
from redis_patterns_core.value import value

__all__ = ["Held", "Holder", "Lease", "Occupancy", "fingerprint", "new_token"]


def new_token() -> str:
    """Make a token that nobody can guess or make again: 128 random bits as text."""
    return secrets.token_hex(16)


def fingerprint(token: str) -> str:
    """Give what may be shown of a token: 64 bits of its SHA-256."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]


@value
class Lease:
    """One acquisition of a lock; whoever has it can prolong and free the lock.

    Parameters:
        name: the lock's name.
        token: the holder's secret; not shown in the repr.
        ends_at: when it runs out unless it is prolonged, on the driver's monotonic clock; a plan knows no clock and
            leaves ``None``, a flow gives the earliest time that it can be.
        fence: of a lock, a number that is greater than that of every lease before; 0 of what several may hold, and of
            several locks together. Whatever is written under the lock should be refused by its store once that has seen
            a greater one.
        parts: of several locks together, the lease of each.
    """

    name: str
    token: str = field(repr=False)
    ends_at: float | None = field(default=None, compare=False)
    fence: int = field(default=0, compare=False)
    parts: tuple[Lease, ...] = field(default=(), compare=False, repr=False)

    @property
    def fingerprint(self) -> str:
        """What may be logged of the token: 64 bits of its SHA-256, by which ``inspect`` names a holder."""
        return fingerprint(self.token)


@value
class Holder:
    """One who holds a lock, a permit or a slot.

    Parameters:
        fingerprint: of the holder's token, which itself is not shown; the same as its `Lease.fingerprint`.
        since: when it was acquired, in seconds since the epoch by the server's clock; ``None`` where that is not known,
            as of what several may hold.
        ends_in: seconds until the lease is over unless it is prolonged; ``None`` for never.
        fence: the lease's.
        weight: how many permits it has.
    """

    fingerprint: str
    since: float | None
    ends_in: float | None
    fence: int = 0
    weight: int = 1


@value
class Occupancy:
    """Who holds something that can be leased, and how many wait for it.

    Parameters:
        holders: whose leases end first come first; empty where it is free.
        waiting: how many wait at Redis.
    """

    holders: tuple[Holder, ...]
    waiting: int


class Held:
    """A lease while it is held by ``driver.hold``, and whether it still is.

    Parameters:
        lease: one that a flow gave, so that it says when it ends.
        clock: the driver's monotonic clock, in seconds.
    """

    def __init__(self, lease: Lease, clock: Callable[[], float]) -> None:
        self.lease = lease
        # Without a time it counts as run out rather than as held for ever.
        self.ends_at: float = -math.inf if lease.ends_at is None else lease.ends_at
        self._clock = clock
        self._lost = False

    @property
    def lost(self) -> bool:
        """Whether the lock was taken away or has run out; once true it stays true."""
        self._lost = self._lost or self._clock() >= self.ends_at
        return self._lost

    def check(self) -> None:
        """Go on only while the lock is held: to be called before each step that relies on it.

        Raises:
            LockLost: it was taken away or has run out.
        """
        if self.lost:
            raise LockLost(f"the lease of {self.lease.name!r} ran out or was taken away while it was held")

    def renewed(self, ends_at: float) -> None:
        """Note that the lease now ends at `ends_at`; without effect when it was lost."""
        if not self.lost:
            self.ends_at = ends_at

    def lose(self) -> None:
        """Note that the lock is not held any more."""
        self._lost = True

    def __repr__(self) -> str:
        return f"<Held {self.lease.name!r}{', lost' if self.lost else ''}>"
