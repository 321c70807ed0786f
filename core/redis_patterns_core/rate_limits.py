"""Rate limits: who may do something now, and who has to wait for how long.

Promises: the verdict and the taking are one step in Redis, by Redis' clock; all arithmetic is in integers, so a caller
that waits ``retry_after`` is let in and one that waits a microsecond less is not; a refused hit costs nothing; every
key expires once it no longer matters; a limit that is changed keeps its state.

Each has a state of its own for every id. Which to take: `TokenBucket` or `GCRA` where bursts are welcome and the long
run counts, `SlidingLog` where "never more than so many in any minute" is meant literally, `FixedWindow` for quotas
that begin anew at a known moment, `SlidingCounter` to smooth steady traffic cheaply, `LeakyBucket` to spread work out
instead of refusing it.

Keys: ``ratelimit:{ID}:ALGORITHM:NAME``, a string, for `SlidingLog` a list; ``bucket:{ID}:NAME``, a string. The id alone
is the hash tag, so that all limits of one id can be asked in one step.

Source: the token bucket is the virtual scheduling algorithm (GCRA) of ITU-T I.371, kept as a debt that drains; the
sliding counter is the approximation by two counters of
https://blog.cloudflare.com/counting-things-a-lot-of-different-things/.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from fractions import Fraction
from typing import ClassVar, Self, cast

from redis_patterns_core import decisions, validate
from redis_patterns_core.decisions import Decision
from redis_patterns_core.errors import ConfigurationError, RateLimited
from redis_patterns_core.flow import Defer, Flow, Now, Sleep, Steps, flow, perform
from redis_patterns_core.keys import Keys, slot
from redis_patterns_core.plan import Argument, Command, Effect, Plan, Script
from redis_patterns_core.replies import Reply, integer
from redis_patterns_core.validate import Duration

__all__ = ["GCRA", "FixedWindow", "LeakyBucket", "Limit", "Limiter", "SlidingCounter", "SlidingLog", "TokenBucket"]

_ASK = Script.load("rate_limit")
_REFUND = Script.load("rate_limit_refund")
_MICROSECONDS = 1_000_000
_MOST_LOGGED = 10_000
_UNITS = {"s": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600, "d": 86400, "day": 86400}
_RATE = re.compile(r"\s*(\d+)\s*(?:/|per)\s*(\d+)?\s*([a-z]+?)s?\s*", re.IGNORECASE)


class Limiter(ABC):
    """Whatever decides about hits: a limit, several at once, or one with a plan for when Redis is away."""

    __slots__ = ()

    @property
    @abstractmethod
    def limits(self) -> tuple[Limit, ...]:
        """The limits that decide."""

    @abstractmethod
    def hit(self, id: str, cost: int = 1) -> Plan[Decision] | Flow[Decision]:
        """Take `cost` if it is allowed."""

    @abstractmethod
    def refund(self, decision: Decision) -> Plan[bool]:
        """Give back what a hit took, where it still counts."""

    @flow
    def wait_for(self, id: str, cost: int = 1, *, wait: Duration | None = None) -> Steps[Decision]:
        """Take `cost`, waiting until the limit of `id` allows it.

        It asks again when the decision said to, not at a fixed pace. A wait that would be in vain is not begun: where
        the time is too short, or the hit will never be allowed, the refusal is given at once. From a `LeakyBucket` it
        returns after the delay; if anything interrupts that, what was taken is given back.

        Parameters:
            id, cost: as for `hit`.
            wait: seconds, or a timedelta; 0 asks once, ``None`` waits for as long as it takes.

        Returns:
            A flow that gives the last decision; one round trip each time that it asks.

        Raises:
            ConfigurationError: an id, a cost or a wait that is not allowed.
        """
        left = None if wait is None else validate.milliseconds("wait", wait, least=0) / 1000
        started = yield from Now()
        while True:
            decision = yield from perform(self.hit(id, cost))
            spent = (yield from Now()) - started
            pause = decision.delay if decision.allowed else decision.retry_after
            if not pause or (left is not None and not decision.allowed and spent + pause > left):
                return decision
            if decision.allowed:
                yield from Defer(self.refund(decision), on_error_only=True)
                if left is not None and spent + pause > left:
                    yield from self.refund(decision)
                    late = spent + pause - left
                    return replace(decision, allowed=False, retry_after=late, delay=0.0, taken=())
            yield from Sleep(pause)
            if decision.allowed:
                return decision

    @flow
    def admit(self, id: str, cost: int = 1, *, wait: Duration | None = 0) -> Steps[Decision]:
        """Take `cost` or raise; what ``@driver.limited`` does before each call.

        Parameters:
            id, cost: as for `hit`.
            wait: as for `wait_for`.

        Returns:
            A flow that gives the decision, an allowed one; as many round trips as `wait_for`.

        Raises:
            RateLimited: it was refused; by the flow when it is run.
            ConfigurationError: an id, a cost or a wait that is not allowed; the same.
        """
        decision = yield from self.wait_for(id, cost, wait=wait)
        if not decision.allowed:
            raise RateLimited(decision)
        return decision


class Limit(Limiter):
    """What all limits do; each of them is a frozen dataclass with its own numbers."""

    __slots__ = ()
    _word: ClassVar[str]
    _algorithm: ClassVar[str]
    _shaped: ClassVar[bool] = False

    # Set by each limit's __post_init__: what the script is told of it, algorithm, limit, x and y, and the same as text,
    # which is cheaper to send.
    name: str
    _keys: Keys
    _numbers: tuple[str, int, int, int]
    _words: tuple[str, ...]
    charge_refused: bool

    def hit(self, id: str, cost: int = 1) -> Plan[Decision]:
        """Take `cost` if the limit of `id` allows it.

        Parameters:
            id: who, such as a user or an address; text, not empty.
            cost: how much, 1 or more; more than the limit is refused for ever.

        Returns:
            A plan of one round trip; sent at most once, or a lost answer could cost twice.

        Raises:
            ConfigurationError: an id or a cost that is not allowed.
        """
        return self._plan("hit", id, cost, Effect.ONCE)

    def peek(self, id: str, cost: int = 1) -> Plan[Decision]:
        """Give the decision that `hit` would give now, before it takes anything, and take nothing. One round trip.

        Raises:
            ConfigurationError: an id or a cost that is not allowed.
        """
        return self._plan("peek", id, cost, Effect.READS)

    def refund(self, decision: Decision) -> Plan[bool]:
        """Give back what a hit took, where it still counts.

        Parameters:
            decision: what the hit gave; one that took nothing gives nothing back.

        Returns:
            A plan that tells whether anything was given back; one round trip, none where nothing was taken. Sent at
            most once.
        """
        return refund(f"{self._word}.refund", (self,), decision)

    def reset(self, id: str) -> Plan[None]:
        """Forget what `id` has taken. One round trip, idempotent.

        Raises:
            ConfigurationError: an id that is not allowed.
        """
        return Plan(f"{self._word}.reset", (Command(("DEL", self.key(id))),), _nothing, Effect.IDEMPOTENT)

    def key(self, id: str) -> str:
        """Give the key of the state of `id`.

        Raises:
            ConfigurationError: an id that is not allowed.
        """
        return self._keys(validate.text("id", id))

    def asked(self, cost: int) -> tuple[Argument, ...]:
        """Give what the script has to be told of this limit for a hit."""
        return (*self._words, cost, "1" if self.charge_refused else "0")

    def given_back(self, moment: int, cost: int) -> tuple[Argument, ...]:
        """Give what the script has to be told of this limit for a refund."""
        algorithm, _, width, _ = self._numbers
        return (algorithm, width, moment, cost)

    @property
    def limits(self) -> tuple[Limit, ...]:
        """Itself."""
        return (self,)

    @property
    def rate(self) -> float:
        """How much comes back per second in the long run."""
        algorithm, limit, x, y = self._numbers
        match algorithm:
            case "bucket":
                return x / y * _MICROSECONDS
            case "counter":
                return limit / x * 1000
            case _:
                return limit / x * _MICROSECONDS

    @property
    def most(self) -> int:
        """The most that can be taken at once."""
        return self._numbers[1]

    @property
    def shaped(self) -> bool:
        """Whether it delays instead of refusing."""
        return self._shaped

    def _plan(self, verb: str, id: str, cost: int, effect: Effect) -> Plan[Decision]:
        if type(cost) is not int or not 0 < cost < validate.EXACT_LIMIT:
            validate.integer("cost", cost, least=1)
        key = self.key(id)
        # Put together here, as this is made for every hit.
        charge = "1" if self.charge_refused else "0"
        command = Command(("EVALSHA", _ASK.sha, 1, key, verb, *self._words, cost, charge), _ASK)
        name, limit, shaped, spent = self.name, self._numbers[1], self._shaped, verb == "hit"

        def parse(answers: Sequence[Reply]) -> Decision:
            return decisions.read(answers, name, limit, key, cost, shaped=shaped, spent=spent)

        return Plan(f"{self._word}.{verb}", (command,), parse, effect)

    def _begin(self, keys: Keys, numbers: tuple[str, int, int, int]) -> None:
        if not isinstance(self.charge_refused, bool):
            raise ConfigurationError(f"charge_refused must be True or False, not {self.charge_refused!r}")
        object.__setattr__(self, "_keys", keys)
        object.__setattr__(self, "_numbers", numbers)
        object.__setattr__(self, "_words", tuple(map(str, numbers)))


def ask(verb: str, limits: Sequence[Limit], keys: Sequence[str], costs: Sequence[int], name: str) -> Plan[Decision]:
    """Give the plan that asks several limits at once, all or none; their keys must be in one slot."""
    words: list[Argument] = [verb]
    for limit, cost in zip(limits, costs, strict=True):
        words += limit.asked(validate.integer("cost", cost, least=1))
    names = [limit.name for limit in limits]
    most = [limit.most for limit in limits]
    shaped = [limit.shaped for limit in limits]

    def parse(answers: Sequence[Reply]) -> Decision:
        return decisions.read_all(answers, names, most, keys, costs, shaped=shaped, spent=verb == "hit")

    return Plan(name, (_ASK(keys, *words),), parse, Effect.ONCE if verb == "hit" else Effect.READS)


def refund(name: str, limits: Sequence[Limit], decision: Decision) -> Plan[bool]:
    """Give the plan that gives back to several limits what one decision took from all of them."""
    taken = decision.taken
    if not taken:
        return Plan(name, (), lambda _: False, Effect.READS)
    if len(taken) != len(limits):
        raise ConfigurationError(f"decision must be one of these {len(limits)} limits, not of {len(taken)}")
    # What was taken in several slots goes back to each of them; all in one round trip.
    groups: dict[int, tuple[list[str], list[Argument]]] = {}
    for limit, (key, cost, moment) in zip(limits, taken, strict=True):
        keys, words = groups.setdefault(slot(key), ([], []))
        keys.append(key)
        words += limit.given_back(moment, cost)
    commands = tuple([_REFUND(keys, *words) for keys, words in groups.values()])
    return Plan(name, commands, lambda answers: any(integer(answer) > 0 for answer in answers))


class _Windowed(Limit):
    """Limits that are written as so many in so long."""

    __slots__ = ()
    limit: int
    per: Duration
    namespace: str

    @classmethod
    def parse(cls, name: str, rate: str, *, charge_refused: bool = False, namespace: str = "") -> Self:
        """Make one of a text such as ``100/minute``, ``5 per 10 seconds`` or ``1000/day``.

        Parameters:
            name: what is limited.
            rate: a number, a slash or ``per``, and ``second``, ``minute``, ``hour`` or ``day``, their plurals or their
                first letters, with a number before it where it is not one.
            charge_refused, namespace: as for the class.

        Raises:
            ConfigurationError: a text that says nothing of the kind, or a value that is not allowed.
        """
        limit, per = parsed(rate)
        make = cast("Callable[..., Self]", cls)  # a dataclass, which each subclass is and this is not
        return make(name, limit=limit, per=per, charge_refused=charge_refused, namespace=namespace)


@dataclass(frozen=True, slots=True)
class FixedWindow(_Windowed):
    """At most `limit` in each window of `per` seconds, the windows counted from the epoch in the server's time.

    Around a window's turn twice the limit can pass within one window's length. Memory: about 190 bytes for an id that
    was seen in this window, none for the others. When `per` is changed, what was taken in a shorter window that began
    in the present one still counts, and nothing else does.

    Parameters:
        name: what is limited, such as ``api``.
        limit: 1 or more.
        per: the window, in seconds or as a timedelta, 1 ms or more.
        charge_refused: whether a refused hit takes its cost too, as far as there is any left.
        namespace: a prefix of the keys.

    Raises:
        ConfigurationError: an empty name, a limit or a window that is not allowed.
    """

    name: str
    _: KW_ONLY
    limit: int
    per: Duration
    charge_refused: bool = False
    namespace: str = ""
    _keys: Keys = field(init=False, repr=False, compare=False)
    _numbers: tuple[str, int, int, int] = field(init=False, repr=False, compare=False)
    _words: tuple[str, ...] = field(init=False, repr=False, compare=False)

    _word = "fixed_window"

    def __post_init__(self) -> None:
        keys = _keys_of("fixed", self.name, self.namespace)
        width = validate.milliseconds("per", self.per) * 1000
        self._begin(keys, ("fixed", validate.integer("limit", self.limit, least=1), width, 0))


@dataclass(frozen=True, slots=True)
class SlidingLog(_Windowed):
    """Never more than `limit` in any `per` seconds, wherever they begin: every hit is remembered for so long.

    Memory: about 10 bytes for each hit of the last `per` seconds, 20 where it cost more than 1, so it is bounded by the
    limit; 300 bytes on top for each id. A hit takes time in proportion to what left the window since the last one.

    Parameters:
        name: what is limited, such as ``api``.
        limit: 1 to 10,000.
        per: the window, in seconds or as a timedelta, 1 ms or more.
        charge_refused: whether a refused hit is remembered too: who does not stop is not let in.
        namespace: a prefix of the keys.

    Raises:
        ConfigurationError: an empty name, a limit or a window that is not allowed.
    """

    name: str
    _: KW_ONLY
    limit: int
    per: Duration
    charge_refused: bool = False
    namespace: str = ""
    _keys: Keys = field(init=False, repr=False, compare=False)
    _numbers: tuple[str, int, int, int] = field(init=False, repr=False, compare=False)
    _words: tuple[str, ...] = field(init=False, repr=False, compare=False)

    _word = "sliding_log"

    def __post_init__(self) -> None:
        keys = _keys_of("log", self.name, self.namespace)
        limit = validate.integer("limit", self.limit, least=1, most=_MOST_LOGGED)
        self._begin(keys, ("log", limit, validate.milliseconds("per", self.per) * 1000, 0))


@dataclass(frozen=True, slots=True)
class SlidingCounter(_Windowed):
    """About `limit` in any `per` seconds, from two counters: the last window's hits are taken as spread evenly.

    It smooths steady traffic, and is exact for it. Against a burst at the end of a window it is no better than
    `FixedWindow`: up to twice the limit less one can pass within one window's length. Memory: about 180 bytes for an id
    that was seen lately, none for the others. Times are in whole milliseconds.

    Parameters:
        name: what is limited, such as ``api``.
        limit: 1 or more; twice the limit times the window in milliseconds must stay below 2**53.
        per: the window, in seconds or as a timedelta, 1 ms or more.
        charge_refused: whether a refused hit takes its cost too, as far as there is any left.
        namespace: a prefix of the keys.

    Raises:
        ConfigurationError: an empty name, a limit or a window that is not allowed, or both together beyond 2**53.
    """

    name: str
    _: KW_ONLY
    limit: int
    per: Duration
    charge_refused: bool = False
    namespace: str = ""
    _keys: Keys = field(init=False, repr=False, compare=False)
    _numbers: tuple[str, int, int, int] = field(init=False, repr=False, compare=False)
    _words: tuple[str, ...] = field(init=False, repr=False, compare=False)

    _word = "sliding_counter"

    def __post_init__(self) -> None:
        keys = _keys_of("counter", self.name, self.namespace)
        limit, width = validate.integer("limit", self.limit, least=1), validate.milliseconds("per", self.per)
        if 2 * limit * width >= validate.EXACT_LIMIT:
            raise ConfigurationError(
                f"limit and per must be countable exactly: twice {limit} times {width} ms is beyond 2**53"
            )
        self._begin(keys, ("counter", limit, width, 0))


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

    _word = "token_bucket"

    def __post_init__(self) -> None:
        keys = _keys_of("", self.name, self.namespace)
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
class GCRA(_Windowed):
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

    _word = "gcra"

    def __post_init__(self) -> None:
        keys = _keys_of("", self.name, self.namespace)
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

    _word = "leaky_bucket"
    _shaped = True

    def __post_init__(self) -> None:
        keys = _keys_of("", self.name, self.namespace)
        numbers = _drained("capacity", self.capacity, "leak_rate", _simplest("leak_rate", self.leak_rate))
        self._begin(keys, numbers)


def parsed(rate: str) -> tuple[int, int]:
    """Read a text such as ``100/minute``; gives the number and the seconds.

    Raises:
        ConfigurationError: it says nothing of the kind.
    """
    found = _RATE.fullmatch(rate) if isinstance(rate, str) else None
    unit = _UNITS.get(found[3].lower()) if found is not None else None
    if found is None or unit is None or not int(found[1]) or (found[2] is not None and not int(found[2])):
        raise ConfigurationError(f"rate must be a text such as '100/minute' or '5 per 10 seconds', not {rate!r}")
    return int(found[1]), int(found[2] or 1) * unit


def _keys_of(algorithm: str, name: str, namespace: str) -> Keys:
    validate.text("name", name)
    validate.namespace(namespace)
    if algorithm:
        return Keys("ratelimit", part=f"{algorithm}:{name}", namespace=namespace)
    return Keys("bucket", part=name, namespace=namespace)


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
        raise ConfigurationError(f"{argument} must be more than 0 per second, not {rate!r}")
    return exact


def _nothing(answers: Sequence[Reply]) -> None:
    integer(answers[0])
