"""Limits by a bucket that drains evenly: tokens, the same as a rate and a burst, and one that delays.

Keys: ``bucket:{ID}:NAME``, a string, gone when all of it has come back. Buckets of one name share it, of whatever kind.

Source: the virtual scheduling algorithm (GCRA) of ITU-T I.371, kept as a debt that drains.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from fractions import Fraction
from typing import Self

from redis_patterns_core import validate
from redis_patterns_core.errors import ConfigurationError
from redis_patterns_core.keys import Keys
from redis_patterns_core.rate_limits import Limit, Windowed, keys_of, parsed
from redis_patterns_core.validate import Duration

__all__ = ["GCRA", "LeakyBucket", "TokenBucket"]

_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class TokenBucket(Limit):
    """At most `capacity` at once, and `refill_rate` per second in the long run.

    It starts full; a hit takes tokens out; tokens flow back evenly, fractions of them included. Changing capacity or
    rate keeps what an id owes. Memory: about 190 bytes for an id that owes something, none for the others.

    Parameters:
        name: what is limited, such as ``api``.
        capacity: tokens in a full bucket, 1 or more.
        refill_rate: tokens per second, more than 0. A float stands for the simplest fraction that it is nearest to:
            ``1000 / 86400`` is taken as exactly 1000 a day. A `Fraction` is taken as it is.
        charge_refused: whether a refused hit takes what is left: who does not stop is not let in.
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
    charge_refused: bool = False
    namespace: str = ""
    _keys: Keys = field(init=False, repr=False, compare=False)
    _numbers: tuple[str, int, int, int] = field(init=False, repr=False, compare=False)
    _words: tuple[str, ...] = field(init=False, repr=False, compare=False)

    word = "token_bucket"

    def __post_init__(self) -> None:
        keys = keys_of("", self.name, self.namespace)
        numbers = _drained("capacity", self.capacity, "refill_rate", _simplest("refill_rate", self.refill_rate))
        self._begin(keys, numbers)

    @classmethod
    def parse(cls, name: str, rate: str, *, charge_refused: bool = False, namespace: str = "") -> Self:
        """Make one of a text such as ``100/minute``: so many at once, and so many a minute in the long run.

        Parameters:
            name, rate, charge_refused, namespace: as for ``FixedWindow.parse``.

        Raises:
            ConfigurationError: a text that says nothing of the kind, or a value that is not allowed.
        """
        limit, per = parsed(rate)
        refill = Fraction(limit, per)
        return cls(name, capacity=limit, refill_rate=refill, charge_refused=charge_refused, namespace=namespace)


@dataclass(frozen=True, slots=True)
class GCRA(Windowed):
    """`limit` in `per` seconds, evenly: one every ``per / limit`` seconds, and up to `burst` at once after a pause.

    The same as a `TokenBucket` that holds `burst` and is refilled at ``limit / per``; in their Redis state too.

    Parameters:
        name: what is limited, such as ``api``.
        limit: 1 or more.
        per: in seconds or as a timedelta, 1 ms or more.
        burst: how many at once; as many as `limit` where it is not given.
        charge_refused: whether a refused hit takes what is left: who does not stop is not let in.
        namespace: a prefix of the keys.

    Raises:
        ConfigurationError: as for `TokenBucket`.
    """

    name: str
    _: KW_ONLY
    limit: int
    per: Duration
    burst: int | None = None
    charge_refused: bool = False
    namespace: str = ""
    _keys: Keys = field(init=False, repr=False, compare=False)
    _numbers: tuple[str, int, int, int] = field(init=False, repr=False, compare=False)
    _words: tuple[str, ...] = field(init=False, repr=False, compare=False)

    word = "gcra"

    def __post_init__(self) -> None:
        keys = keys_of("", self.name, self.namespace)
        limit, per = validate.integer("limit", self.limit, least=1), validate.milliseconds("per", self.per)
        burst = limit if self.burst is None else self.burst
        self._begin(keys, _drained("burst", burst, "limit", Fraction(limit * 1000, per)))


@dataclass(frozen=True, slots=True)
class LeakyBucket(Limit):
    """Work spread evenly, one every ``1 / leak_rate`` seconds: who comes in between is told how long to wait.

    A hit is allowed with a `Decision.delay` as long as the bucket has room, and refused when it is full. Let
    `Limit.wait_for` do the waiting. Memory: as for `TokenBucket`.

    Parameters:
        name: what is limited, such as ``mails``.
        capacity: how many may be in the bucket, the one whose turn it is included; 1 or more.
        leak_rate: how many leave per second, more than 0; a number as for `TokenBucket`.
        charge_refused: whether a refused hit takes what room is left.
        namespace: a prefix of the keys.

    Raises:
        ConfigurationError: as for `TokenBucket`.
    """

    name: str
    _: KW_ONLY
    capacity: int
    leak_rate: float | Fraction
    charge_refused: bool = False
    namespace: str = ""
    _keys: Keys = field(init=False, repr=False, compare=False)
    _numbers: tuple[str, int, int, int] = field(init=False, repr=False, compare=False)
    _words: tuple[str, ...] = field(init=False, repr=False, compare=False)

    word = "leaky_bucket"
    _shaped = True

    def __post_init__(self) -> None:
        keys = keys_of("", self.name, self.namespace)
        numbers = _drained("capacity", self.capacity, "leak_rate", _simplest("leak_rate", self.leak_rate))
        self._begin(keys, numbers)


def _drained(argument: str, capacity: int, rated: str, rate: Fraction) -> tuple[str, int, int, int]:
    validate.integer(argument, capacity, least=1)
    tokens, period = (rate / _MICROSECONDS).as_integer_ratio()
    if 2 * capacity * period >= validate.EXACT_LIMIT or tokens >= validate.EXACT_LIMIT:
        raise ConfigurationError(
            f"{argument} and {rated} must be countable exactly: {capacity} at {tokens} in {period} microseconds are "
            "beyond 2**53; take a rounder rate or a smaller number"
        )
    return ("bucket", capacity, tokens, period)


def _simplest(argument: str, rate: float | Fraction) -> Fraction:
    if isinstance(rate, Fraction):
        exact = rate
    else:
        validate.finite(argument, rate)
        # A float has a fraction of its own with a huge denominator; the one that a person meant is nearby. Slow rates
        # are looked for upside down, as "one in so many seconds".
        if rate <= 0:
            exact = Fraction(0)
        elif rate >= 1:
            exact = Fraction(rate).limit_denominator(1_000_000)
        else:
            exact = 1 / Fraction(1 / rate).limit_denominator(1_000_000)
    if exact <= 0:
        raise ConfigurationError(f"{argument} must be more than 0 per second, not {validate.shown(rate)}")
    return exact
