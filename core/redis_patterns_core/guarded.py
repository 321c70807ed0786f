"""A limit with a plan for when Redis is away, and with a memory for refusals that are still in force.

Promises: a caller waits for Redis no longer than it was told to; while Redis is away only one caller at a time finds
out whether it is back; each decision says who made it.

Keys: those of the limit.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from typing import Literal, TypeVar

from redis_patterns_core import validate
from redis_patterns_core.decisions import Decision, joined
from redis_patterns_core.errors import CommandFailed, ConfigurationError, OutcomeUnknown, Unreachable
from redis_patterns_core.flow import Now, Steps, Within, flow, perform
from redis_patterns_core.plan import Plan
from redis_patterns_core.rate_limits import Limit, Limiter
from redis_patterns_core.validate import Duration

__all__ = ["Guarded"]

K = TypeVar("K")
V = TypeVar("V")

# Redis is there, and cannot serve anybody now.
_AWAY = {"BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "OOM", "READONLY", "TRYAGAIN"}


class Guarded(Limiter):
    """Decides as `limiter` does, and by itself when Redis is away.

    It keeps what it knows in this process, for as many ids as `most`: make one and share it. Where threads share it,
    two that decide locally at the same moment may take one place. Only hits are guarded; peeks and resets are the
    limiter's own.

    Parameters:
        limiter: a limit, or several as an `AllOf`.
        when_away: what a hit is told when Redis is away: ``open`` allows it, ``closed`` refuses it, and ``local`` asks
            buckets in this process, with the limits' numbers: each process allows so much on its own. ``raise`` raises
            what the driver did.
        within: how long to wait for Redis, in seconds or as a timedelta.
        pause: how long Redis is left alone after it was away, in seconds or as a timedelta.
        remember: refuse without asking Redis while a refusal that it gave is in force: the same id and cost. A refund
            or a reset in the meantime is not noticed.
        most: ids kept in memory.

    Raises:
        ConfigurationError: a value that is not allowed.
    """

    __slots__ = ("_asks_at", "_debts", "_pause", "_refusals", "_within", "limiter", "most", "remember", "when_away")

    def __init__(
        self,
        limiter: Limiter,
        *,
        when_away: Literal["raise", "open", "closed", "local"] = "raise",
        within: Duration = 0.25,
        pause: Duration = 1,
        remember: bool = False,
        most: int = 10_000,
    ) -> None:
        if not isinstance(limiter, Limiter) or not limiter.limits:
            raise ConfigurationError(f"limiter must be a limit or an AllOf, not {type(limiter).__name__}")
        if when_away not in ("raise", "open", "closed", "local"):
            raise ConfigurationError(f"when_away must be raise, open, closed or local, not {validate.shown(when_away)}")
        self.limiter: Limiter = limiter
        self.when_away = when_away
        self.remember: bool = remember
        self.most: int = validate.integer("most", most, least=1)
        self._within = validate.milliseconds("within", within) / 1000
        self._pause = validate.milliseconds("pause", pause) / 1000
        self._asks_at = -math.inf
        self._refusals: dict[tuple[str, int], tuple[float, Decision]] = {}
        self._debts: dict[str, tuple[float, list[float]]] = {}

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The limits that decide."""
        return self.limiter.limits

    @flow
    def hit(self, id: str, cost: int = 1) -> Steps[Decision]:
        """Take `cost` if the limit of `id` allows it.

        Parameters:
            id, cost: as for the limiter.

        Returns:
            A flow that gives the decision: one round trip, none while Redis is away or a refusal is remembered.

        Raises:
            ConfigurationError: an id or a cost that is not allowed.
            Unreachable, OutcomeUnknown: Redis is away, and that is to be raised.
            CommandFailed: Redis answered with an error.
        """
        plan = self.limiter.hit(id, cost)
        now = yield from Now()
        if self.remember:
            until, refusal = self._refusals.get((id, cost), (-math.inf, None))
            if refusal is not None and now < until:
                left = until - now
                return replace(refusal, retry_after=left, reset_after=max(left, refusal.reset_after), source="memory")
        if now < self._asks_at:
            return self._alone(id, cost, now)
        if self._asks_at > -math.inf:
            # Redis was away: one of us finds out whether it still is, and all others go on alone meanwhile.
            self._asks_at = now + self._within + self._pause
        try:
            decision = yield from perform(Within(plan, self._within) if isinstance(plan, Plan) else plan)
        except (Unreachable, OutcomeUnknown, CommandFailed) as error:
            if self.when_away == "raise" or (isinstance(error, CommandFailed) and error.code not in _AWAY):
                raise
            now = yield from Now()
            self._asks_at = now + self._pause
            return self._alone(id, cost, now)
        self._asks_at = -math.inf
        if self.remember and decision.retry_after:
            _note(self._refusals, (id, cost), (now + decision.retry_after, decision), self.most)
        return decision

    def refund(self, decision: Decision) -> Plan[bool]:
        """Give back what a hit took, where Redis knows of it; as for the limiter."""
        return self.limiter.refund(decision)

    def _alone(self, id: str, cost: int, now: float) -> Decision:
        """Decide without Redis."""
        if self.when_away == "local":
            return self._from_buckets(id, cost, now)
        allowed = self.when_away == "open"
        wait = 0.0 if allowed else max(0.0, self._asks_at - now)
        parts = [
            Decision(
                allowed, limit.most, limit.most if allowed else 0, wait, wait, wait, 0.0, limit.name, self.when_away
            )
            for limit in self.limits
        ]
        return parts[0] if len(parts) == 1 else replace(joined(parts), source=self.when_away)

    def _from_buckets(self, id: str, cost: int, now: float) -> Decision:
        at, owed = self._debts.get(id, (now, [0.0] * len(self.limits)))
        debts = [max(0.0, debt - (now - at) * limit.rate) for debt, limit in zip(owed, self.limits, strict=True)]
        enough = [debt + cost <= limit.most for debt, limit in zip(debts, self.limits, strict=True)]
        taken = cost if all(enough) else 0
        if taken:
            _note(self._debts, id, (now, [debt + taken for debt in debts]), self.most)
        parts: list[Decision] = []
        for limit, before, fits in zip(self.limits, debts, enough, strict=True):
            debt = before + taken
            remaining = math.floor(limit.most - debt)
            never = cost > limit.most
            parts.append(
                Decision(
                    fits,
                    limit.most,
                    remaining,
                    0.0 if fits else None if never else (debt + cost - limit.most) / limit.rate,
                    debt / limit.rate,
                    max(0.0, debt + remaining + 1 - limit.most) / limit.rate if remaining < limit.most else 0.0,
                    before / limit.rate if limit.shaped else 0.0,
                    limit.name,
                    "local",
                )
            )
        return parts[0] if len(parts) == 1 else replace(joined(parts), source="local")

    def __repr__(self) -> str:
        return f"Guarded({self.limiter!r}, when_away={self.when_away!r})"


def _note(known: dict[K, V], key: K, value: V, most: int) -> None:
    """Keep something; what was learned first makes room for it, which for a limit is in the caller's favour."""
    while key not in known and len(known) >= most:
        with contextlib.suppress(RuntimeError):  # another thread was faster
            known.pop(next(iter(known), key), None)
    known[key] = value
