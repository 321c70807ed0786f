"""Several limits at once: all allow a hit, or none of them counts it.

Promises: where the limits are of one id, asking all and taking from all is one step in Redis; the decision says which
of them refused.

Keys: those of the limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from redis_patterns_core import rate_limits
from redis_patterns_core.decisions import Decision, joined
from redis_patterns_core.errors import ConfigurationError
from redis_patterns_core.flow import Defer, Steps, flow
from redis_patterns_core.plan import Command, Effect, Plan
from redis_patterns_core.rate_limits import Limit, Limiter
from redis_patterns_core.replies import acknowledged

__all__ = ["AllOf"]


class _Refused(Exception):
    def __init__(self, decision: Decision) -> None:
        self.decision = decision


class AllOf(Limiter):
    """Several limits as one: ten per second and a thousand per day, requests and bytes, a user's and a tenant's.

    The limits keep the state that they have when they are asked alone.

    Parameters:
        limits: one or more, no two of the same name and kind.

    Raises:
        ConfigurationError: none, something that is no limit, or two that share their state.
    """

    __slots__ = ("_limits",)

    def __init__(self, *limits: Limit) -> None:
        if not limits:
            raise ConfigurationError("limits must be at least one")
        for limit in limits:
            if not isinstance(limit, Limit):
                raise ConfigurationError(f"limits must be limits such as TokenBucket, not {type(limit).__name__}")
        if len({limit.key("id") for limit in limits}) < len(limits):
            raise ConfigurationError("limits must not share their state: give each a name of its own")
        self._limits = limits

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The limits, as they were given."""
        return self._limits

    def hit(self, id: str, cost: int | Sequence[int] = 1) -> Plan[Decision]:
        """Take `cost` from each limit of `id` if all allow it.

        Parameters:
            id: who, for all limits; text, not empty.
            cost: how much, 1 or more; or for each limit how much.

        Returns:
            A plan of one round trip; sent at most once, or a lost answer could cost twice.

        Raises:
            ConfigurationError: an id or a cost that is not allowed.
        """
        return rate_limits.ask("hit", self.limits, self._keys(id), self._costs(cost), "all_of.hit")

    def peek(self, id: str, cost: int | Sequence[int] = 1) -> Plan[Decision]:
        """Give the decision that `hit` would give now, before it takes anything, and take nothing. One round trip.

        Raises:
            ConfigurationError: an id or a cost that is not allowed.
        """
        return rate_limits.ask("peek", self.limits, self._keys(id), self._costs(cost), "all_of.peek")

    def refund(self, decision: Decision) -> Plan[bool]:
        """Give back to each limit what a hit took, where it still counts.

        Parameters:
            decision: what `hit` or `hit_each` gave; one that took nothing gives nothing back.

        Returns:
            A plan that tells whether anything was given back; one round trip, none where nothing was taken. Sent at
            most once.

        Raises:
            ConfigurationError: a decision of other limits.
        """
        return rate_limits.refund("all_of.refund", self.limits, decision)

    def reset(self, id: str) -> Plan[None]:
        """Forget what `id` has taken from each limit. One round trip, idempotent.

        Raises:
            ConfigurationError: an id that is not allowed.
        """
        command = Command(("DEL", *self._keys(id)))
        return Plan("all_of.reset", (command,), acknowledged, Effect.IDEMPOTENT)

    @flow
    def hit_each(self, *ids: str, cost: int | Sequence[int] = 1) -> Steps[Decision]:
        """Take `cost` from each limit, each of an id of its own, such as a user and a tenant.

        Limits of the same id are asked in one step. Different ids may be on different nodes of a cluster, where no step
        reaches both: they are asked one after the other, in the order given, and when a later one refuses, or does not
        answer, what the earlier took is given back. In between, others may be refused for what is then given back;
        nobody is allowed too much.

        Parameters:
            ids: one for each limit.
            cost: as for `hit`.

        Returns:
            A flow of one round trip for each different id until one refuses, and one for each to give back.

        Raises:
            ConfigurationError: not one id for each limit, or an id or a cost that is not allowed.
        """
        if len(ids) != len(self.limits):
            raise ConfigurationError(f"ids must be one for each of {len(self.limits)} limits, not {len(ids)}")
        costs = self._costs(cost)
        try:
            return (yield from self._take_each(ids, costs))
        except _Refused as refused:
            return refused.decision

    @flow
    def _take_each(self, ids: Sequence[str], costs: Sequence[int]) -> Steps[Decision]:
        places: dict[str, list[int]] = {}
        for place, id in enumerate(ids):
            places.setdefault(id, []).append(place)
        groups = [(id, group, [self.limits[place] for place in group]) for id, group in places.items()]
        # All are built before the first is sent: a bad id or cost takes nothing.
        plans = [
            rate_limits.ask(
                "hit", limits, [limit.key(id) for limit in limits], [costs[at] for at in group], "all_of.hit_each"
            )
            for id, group, limits in groups
        ]
        parts: dict[int, Decision] = {}
        for (_, group, limits), plan in zip(groups, plans, strict=True):
            decision = yield from plan
            parts.update(zip(group, decision.parts, strict=True))
            if not decision.allowed:
                raise _Refused(joined([replace(parts[place], taken=()) for place in sorted(parts)]))
            yield from Defer(rate_limits.refund("all_of.refund", limits, decision), on_error_only=True)
        return joined([parts[place] for place in sorted(parts)])

    def _keys(self, id: str) -> list[str]:
        return [limit.key(id) for limit in self.limits]

    def _costs(self, cost: int | Sequence[int]) -> Sequence[int]:
        if isinstance(cost, int):
            return [cost] * len(self.limits)
        if not isinstance(cost, Sequence) or len(cost) != len(self.limits):
            raise ConfigurationError(f"cost must be one number, or one for each of {len(self.limits)} limits")
        return cost

    def __repr__(self) -> str:
        return f"AllOf({', '.join(map(repr, self.limits))})"
