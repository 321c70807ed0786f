"""Several locks at once: all of them or none.

Promises: they are taken in one order, whoever names them in whatever order, so that two who want the same ones never
wait for each other in a circle; what is held already is prolonged while the next is waited for; whatever ends the
acquisition, nothing of it stays held. The locks may be in different slots of a cluster, so there is no single step that
takes them all: for a moment some may be held and others not, but nobody is told that they are held before all are.

Keys: those of the locks.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace

from redis_patterns_core import validate
from redis_patterns_core.errors import ConfigurationError
from redis_patterns_core.flow import Defer, Now, Steps, flow
from redis_patterns_core.lease_records import Lease
from redis_patterns_core.leases import InOneStep, Leasable
from redis_patterns_core.plan import Command
from redis_patterns_core.validate import Duration

__all__ = ["MultiLock"]


class MultiLock(Leasable):
    """Several locks, permits or slots that are held together.

    Its leases have the fence of each lock in their ``parts``, in the order of ``locks``, and none of their own. Waiting
    for the next while holding some keeps others waiting: where that matters, have one lock for all of it.

    Parameters:
        locks: at least one, no two of which are for the same; of any kind that one script takes.

    Raises:
        ConfigurationError: none, two for the same, or something else than such locks.
    """

    __slots__ = ("locks", "name")
    word = "locks"

    def __init__(self, *locks: InOneStep) -> None:
        if not locks or not all(isinstance(lock, InOneStep) for lock in locks):
            raise ConfigurationError("locks must be at least one Lock, FairLock or other lock that stands for itself")
        if len({lock.wake_key for lock in locks}) < len(locks):
            names = ", ".join(repr(lock.name) for lock in locks)
            raise ConfigurationError(f"locks must be for different things, or one would wait for itself: {names}")
        self.locks: tuple[InOneStep, ...] = tuple(sorted(locks, key=lambda lock: lock.wake_key))
        self.name: str = ", ".join([lock.name for lock in self.locks])

    @property
    def ttl_seconds(self) -> float:
        """How long the shortest of the leases runs, in seconds."""
        return min([lock.ttl_seconds for lock in self.locks])

    @flow
    def wait_for(
        self,
        wait: Duration | None = None,
        *,
        token: str | None = None,
        chance: Callable[[], float] = random.random,
    ) -> Steps[Lease | None]:
        """Take all of them, waiting for one after the other.

        Parameters:
            wait: seconds, or a timedelta, for all together; 0 tries each once, ``None`` waits for as long as it takes.
            token: who asks; a new one where none is given.
            chance: random numbers from 0 to 1, so that not all wake at once by themselves.

        Returns:
            A flow that gives the lease, or ``None`` when the wait was over; a round trip for each lock where all are
            free, and one in the end that lets all leases begin together.

        Raises:
            ConfigurationError: a wait that is not allowed, or an empty token.
        """
        seconds = math.inf if wait is None else validate.milliseconds("wait", wait, least=0) / 1000
        lease = self._lease(token)
        yield from Defer(self.release(lease), on_error_only=True)
        ends_at = (yield from Now()) + seconds
        while True:
            parts: list[Lease] = []
            for lock in self.locks:
                part = yield from self._next(lock, len(parts), lease, ends_at, chance)
                if part is None:
                    break
                parts.append(part)
            now = yield from Now()
            # Those that came first have waited for the others: all begin anew, or some have been lost meanwhile.
            if len(parts) == len(self.locks) and (yield from self.extend(lease)):
                return replace(lease, ends_at=now + self.ttl_seconds, parts=tuple(parts))
            yield from self.release(lease)
            if now >= ends_at:
                return None

    def _next(
        self, lock: InOneStep, held: int, lease: Lease, ends_at: float, chance: Callable[[], float]
    ) -> Steps[Lease | None]:
        """Wait for one lock, and keep the first, which are held; ``None`` when they are lost or the wait is over."""
        before = MultiLock(*self.locks[:held]) if held else None
        while True:
            left = max(0.0, ends_at - (yield from Now()))
            most = math.inf if before is None else before.ttl_seconds / 3
            wait = min(left, most)
            part = yield from lock.wait_for(None if wait == math.inf else wait, token=lease.token, chance=chance)
            if part is not None or wait == left:
                return part
            if before is not None and not (yield from before.extend(lease)):
                return None

    def _extensions(self, token: str, ttl_ms: int | None) -> tuple[Command, ...]:
        lease, ttl = Lease(self.name, token), None if ttl_ms is None else ttl_ms / 1000
        return tuple([command for lock in self.locks for command in lock.extend(lease, ttl).commands])

    def _freeings(self, token: str) -> tuple[Command, ...]:
        lease = Lease(self.name, token)
        return tuple([command for lock in self.locks for command in lock.release(lease).commands])

    def __repr__(self) -> str:
        return f"MultiLock({', '.join(map(repr, self.locks))})"
