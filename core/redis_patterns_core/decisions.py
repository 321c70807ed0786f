"""What a limit says to a hit, and how several limits' answers become one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, field, fields
from typing import TypeAlias

from redis_patterns_core import replies
from redis_patterns_core.replies import Reply
from redis_patterns_core.value import value

__all__ = ["Decision", "Taken"]

_MICROSECONDS = 1_000_000
_NUMBERS = 8  # that the script says of each limit


Taken: TypeAlias = tuple[str, int, int, int]
"""What was taken from one limit: the key of its state, how much, and in microseconds when, by the server's clock, and
how long from then on until what was taken before has come back, where that comes back in order."""


@value
class Decision:
    """A verdict; true exactly when the hit is allowed.

    Parameters:
        allowed: whether the hit may go ahead.
        limit: the most that can be taken at once; of several limits, that of the one with the least remaining.
        remaining: what can still be taken now, in whole units; of several limits, the least.
        retry_after: seconds after which the same hit is allowed if nobody else takes any, 0 when it is allowed now,
            ``None`` when it never will be, because it costs more than the limit.
        reset_after: seconds until everything can be taken again.
        next_after: seconds until ``remaining`` grows, 0 when it cannot grow.
        delay: seconds to wait before going ahead; more than 0 only from a `LeakyBucket`.
        name: of the limit; of several, that of the one with the least remaining.
        source: who decided: ``redis``; ``memory``, for a refusal that was still in force; or, while Redis was away,
            ``open``, ``closed`` or ``local``, as the `Guarded` limit has it.
        parts: of several limits, the decision of each; else empty.
        taken: from each limit, as ``refund`` needs it; empty when nothing was taken.
    """

    allowed: bool
    limit: int
    remaining: int
    retry_after: float | None
    reset_after: float
    next_after: float
    delay: float = 0.0
    name: str = ""
    source: str = "redis"
    parts: tuple[Decision, ...] = ()
    taken: tuple[Taken, ...] = field(default=(), repr=False, compare=False)

    def __bool__(self) -> bool:
        return self.allowed

    def __repr__(self) -> str:
        # What is not the usual, such as a delay or several parts, is shown where there is some.
        shown = [
            f.name for f in fields(self) if f.repr and (f.default is MISSING or getattr(self, f.name) != f.default)
        ]
        return f"Decision({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    @property
    def degraded(self) -> bool:
        """Whether it was made without Redis, because that was away."""
        return self.source in {"open", "closed", "local"}

    @property
    def refused_by(self) -> tuple[str, ...]:
        """The names of the limits that refused."""
        if self.parts:
            return tuple([part.name for part in self.parts if not part.allowed])
        return () if self.allowed else (self.name,)


def read(
    answers: Sequence[Reply], name: str, limit: int, key: str, cost: int, *, shaped: bool, spent: bool
) -> Decision:
    """Make the decision of one limit from the script's answer."""
    allowed, remaining, retry, reset, next_, moment, delay, turn = replies.integers(answers[0], _NUMBERS)
    return Decision(
        allowed == 1,
        limit,
        remaining,
        None if retry < 0 else retry / _MICROSECONDS,
        reset / _MICROSECONDS,
        next_ / _MICROSECONDS,
        delay / _MICROSECONDS if shaped else 0.0,
        name,
        "redis",
        (),
        ((key, cost, moment, turn),) if spent and allowed == 1 else (),
    )


def read_all(
    answers: Sequence[Reply],
    names: Sequence[str],
    limits: Sequence[int],
    keys: Sequence[str],
    costs: Sequence[int],
    *,
    shaped: Sequence[bool],
    spent: bool,
) -> Decision:
    """Make one decision from the script's answer about several limits."""
    numbers = replies.integers(answers[0], _NUMBERS * len(keys))
    # All or none: one that would have allowed it took nothing either when another refused.
    spent = spent and all(allowed == 1 for allowed in numbers[::_NUMBERS])
    return joined(
        [
            read([numbers[at : at + _NUMBERS]], name, limit, key, cost, shaped=delayed, spent=spent)
            for at, name, limit, key, cost, delayed in zip(
                range(0, len(numbers), _NUMBERS), names, limits, keys, costs, shaped, strict=True
            )
        ]
    )


def joined(parts: Sequence[Decision]) -> Decision:
    """Make one decision of several: allowed when all are."""
    tightest = min(parts, key=lambda part: (part.remaining, part.limit))
    waits = [part.retry_after for part in parts]
    allowed = all(part.allowed for part in parts)
    return Decision(
        allowed,
        tightest.limit,
        tightest.remaining,
        None if None in waits else max(wait for wait in waits if wait is not None),
        max(part.reset_after for part in parts),
        # The least grows when all that have so little have grown.
        max(part.next_after for part in parts if part.remaining == tightest.remaining),
        max(part.delay for part in parts),
        tightest.name,
        "redis",
        tuple(parts),
        tuple([taken for part in parts for taken in part.taken]) if allowed else (),
    )
