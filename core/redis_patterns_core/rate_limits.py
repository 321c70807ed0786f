"""Rate limits: who may do something now, and who has to wait for how long.

Promises: the verdict and the taking are one step in Redis, by Redis' clock; all arithmetic is in integers, so a caller
that waits ``retry_after`` is let in and one that waits a microsecond less is not; a refused hit costs nothing; every
key expires once it no longer matters.

Keys: ``bucket:{NAME:ID}``, a string, gone when the bucket is full again.

Source: the token bucket is the virtual scheduling algorithm (GCRA) of ITU-T I.371, kept as a debt that drains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from fractions import Fraction

from redis_patterns_core import replies, validate
from redis_patterns_core.errors import ConfigurationError
from redis_patterns_core.keys import Keys
from redis_patterns_core.plan import Command, Effect, Plan, Script
from redis_patterns_core.replies import Reply
from redis_patterns_core.value import value

__all__ = ["Decision", "TokenBucket"]

_TOKEN_BUCKET = Script.load("token_bucket")
_MICROSECONDS = 1_000_000


@value
class Decision:
    """A verdict; true exactly when the hit is allowed.

    Parameters:
        allowed: whether the hit may go ahead.
        limit: the most that can be taken at once.
        remaining: what can still be taken now, in whole tokens.
        retry_after: seconds after which the same hit is allowed if nobody else takes any, 0 when it is allowed now,
            ``None`` when it never will be, because it costs more than the limit.
        reset_after: seconds until everything can be taken again.
        next_after: seconds until ``remaining`` grows by one, 0 when it cannot grow.
    """

    allowed: bool
    limit: int
    remaining: int
    retry_after: float | None
    reset_after: float
    next_after: float

    def __bool__(self) -> bool:
        return self.allowed


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """At most `capacity` at once, and `refill_rate` per second in the long run.

    A bucket of its own for every id. It starts full; a hit takes tokens out; tokens flow back evenly, fractions of them
    included. Changing capacity or rate keeps what an id owes. Memory: about 165 bytes for an id that owes something,
    none for the others.

    Parameters:
        name: what is limited, such as ``api``.
        capacity: tokens in a full bucket, 1 or more.
        refill_rate: tokens per second, more than 0. A float stands for the simplest fraction that it is nearest to:
            ``1000 / 86400`` is taken as exactly 1000 a day. A `Fraction` is taken as it is.
        namespace: a prefix of the keys.

    Raises:
        ConfigurationError: an empty name, a capacity or a rate that is not allowed, or the two together beyond what
            doubles can count exactly: ``2 * capacity * P`` must stay below 2**53, where the rate in lowest terms is R
            tokens in P microseconds.
    """

    name: str
    _: KW_ONLY
    capacity: int
    refill_rate: float | Fraction
    namespace: str = ""
    _keys: Keys = field(init=False, repr=False, compare=False)
    _tokens: int = field(init=False, repr=False, compare=False)
    _period: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        validate.text("name", self.name)
        validate.integer("capacity", self.capacity, least=1)
        validate.namespace(self.namespace)
        per_microsecond = _simplest(self.refill_rate) / _MICROSECONDS
        tokens, period = per_microsecond.as_integer_ratio()
        if 2 * self.capacity * period >= validate.EXACT_LIMIT or tokens >= validate.EXACT_LIMIT:
            raise ConfigurationError(
                f"capacity and refill_rate must be countable exactly: {self.capacity} tokens at {tokens} tokens in "
                f"{period} microseconds are beyond 2**53; take a rounder rate or a smaller capacity"
            )
        object.__setattr__(self, "_keys", Keys("bucket", self.name, namespace=self.namespace))
        object.__setattr__(self, "_tokens", tokens)
        object.__setattr__(self, "_period", period)

    def hit(self, id: str, cost: int = 1) -> Plan[Decision]:
        """Take tokens if the bucket of `id` holds them.

        Parameters:
            id: who, such as a user or an address; text, not empty.
            cost: tokens to take, 1 or more; more than the capacity is refused for ever.

        Returns:
            A plan of one round trip; sent at most once, or a lost answer could cost twice.

        Raises:
            ConfigurationError: an id or a cost that is not allowed.
        """
        return self._plan("hit", id, cost, spend=1, effect=Effect.ONCE)

    def peek(self, id: str, cost: int = 1) -> Plan[Decision]:
        """Give the decision that `hit` would give now, before it takes anything, and take nothing. One round trip.

        Raises:
            ConfigurationError: an id or a cost that is not allowed.
        """
        return self._plan("peek", id, cost, spend=0, effect=Effect.READS)

    def reset(self, id: str) -> Plan[None]:
        """Fill the bucket of `id`. One round trip, idempotent.

        Raises:
            ConfigurationError: an id that is not allowed.
        """
        return Plan("token_bucket.reset", (Command(("DEL", self.key(id))),), _nothing, Effect.IDEMPOTENT)

    def key(self, id: str) -> str:
        """Give the key of the bucket of `id`.

        Raises:
            ConfigurationError: an id that is not allowed.
        """
        return self._keys(validate.text("id", id))

    def _plan(self, verb: str, id: str, cost: int, *, spend: int, effect: Effect) -> Plan[Decision]:
        validate.integer("cost", cost, least=1)
        capacity = self.capacity
        command = _TOKEN_BUCKET((self.key(id),), capacity, self._tokens, self._period, cost, spend)
        return Plan(f"token_bucket.{verb}", (command,), lambda answers: _decision(answers, capacity), effect)


def _simplest(rate: float | Fraction) -> Fraction:
    if isinstance(rate, Fraction):
        exact = rate
    else:
        validate.finite("refill_rate", rate)
        # A float has a fraction of its own with a huge denominator; the one that a person meant is nearby. Slow rates
        # are looked for upside down, as "one in so many seconds".
        if rate <= 0:
            exact = Fraction(0)
        elif rate >= 1:
            exact = Fraction(rate).limit_denominator(1_000_000)
        else:
            exact = 1 / Fraction(1 / rate).limit_denominator(1_000_000)
    if exact <= 0:
        raise ConfigurationError(f"refill_rate must be more than 0 tokens per second, not {rate!r}")
    return exact


def _decision(answers: Sequence[Reply], limit: int) -> Decision:
    allowed, remaining, retry, reset, next_ = replies.integers(answers[0], 5)
    return Decision(
        allowed == 1,
        limit,
        remaining,
        None if retry < 0 else retry / _MICROSECONDS,
        reset / _MICROSECONDS,
        next_ / _MICROSECONDS,
    )


def _nothing(answers: Sequence[Reply]) -> None:
    replies.integer(answers[0])
