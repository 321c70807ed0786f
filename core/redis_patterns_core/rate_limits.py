"""Rate limits: who may do something now, and who has to wait for how long; what all algorithms share.

Promises: the verdict and the taking are one step in Redis, by Redis' clock; all arithmetic is in integers, so a caller
that waits ``retry_after`` is let in and one that waits a microsecond less is not; a refused hit costs nothing; every
key expires once it no longer matters; a limit that is changed keeps its state.

Each has a state of its own for every id. Which to take: `TokenBucket` or `GCRA` where bursts are welcome and the long
run counts, `SlidingLog` where "never more than so many in any minute" is meant literally, `FixedWindow` for quotas
that begin anew at a known moment, `SlidingCounter` to smooth steady traffic cheaply, `LeakyBucket` to spread work out
instead of refusing it.

Keys: ``ratelimit:{ID}:ALGORITHM:NAME``, a string, for `SlidingLog` a list; ``bucket:{ID}:NAME``, a string. The id alone
is the hash tag, so that all limits of one id can be asked in one step.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar, Self, cast

from redis_patterns_core import decisions, validate
from redis_patterns_core.decisions import Decision
from redis_patterns_core.errors import ConfigurationError, RateLimited
from redis_patterns_core.flow import Defer, Flow, Now, Sleep, Steps, flow, perform
from redis_patterns_core.keys import Keys, slot
from redis_patterns_core.plan import Argument, Command, Effect, Plan, Script
from redis_patterns_core.replies import Reply, acknowledged, integer
from redis_patterns_core.validate import Duration

__all__ = ["Limit", "Limiter", "Windowed", "ask", "keys_of", "parsed", "refund"]

_ASK = Script.load("rate_limit")
_REFUND = Script.load("rate_limit_refund")
_MICROSECONDS = 1_000_000
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
    word: ClassVar[str]
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
        """Give back what a hit took, as far as it still counts: there is never more then than if it had not been taken.

        What has come back by itself is not given a second time: of a bucket, what was taken first comes back first.

        Parameters:
            decision: what the hit gave; one that took nothing gives nothing back.

        Returns:
            A plan that tells whether anything was given back; one round trip, none where nothing was taken. Sent at
            most once.
        """
        return refund(f"{self.word}.refund", (self,), decision)

    def reset(self, id: str) -> Plan[None]:
        """Forget what `id` has taken. One round trip, idempotent.

        Raises:
            ConfigurationError: an id that is not allowed.
        """
        return Plan(f"{self.word}.reset", (Command(("DEL", self.key(id))),), acknowledged, Effect.IDEMPOTENT)

    def key(self, id: str) -> str:
        """Give the key of the state of `id`.

        Raises:
            ConfigurationError: an id that is not allowed.
        """
        return self._keys(validate.text("id", id))

    def asked(self, cost: int) -> tuple[Argument, ...]:
        """Give what the script has to be told of this limit for a hit."""
        return (*self._words, cost, "1" if self.charge_refused else "0")

    def given_back(self, cost: int, moment: int, turn: int) -> tuple[Argument, ...]:
        """Give what the script has to be told of this limit for a refund."""
        algorithm, _, x, y = self._numbers
        return (algorithm, x, y, moment, turn, cost)

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

        return Plan(f"{self.word}.{verb}", (command,), parse, effect)

    def _begin(self, keys: Keys, numbers: tuple[str, int, int, int]) -> None:
        if not isinstance(self.charge_refused, bool):
            raise ConfigurationError(f"charge_refused must be True or False, not {validate.shown(self.charge_refused)}")
        object.__setattr__(self, "_keys", keys)
        object.__setattr__(self, "_numbers", numbers)
        object.__setattr__(self, "_words", tuple(map(str, numbers)))


def ask(verb: str, limits: Sequence[Limit], keys: Sequence[str], costs: Sequence[int], name: str) -> Plan[Decision]:
    """Give the plan that asks several limits at once, all or none; their keys must be in one slot.

    Raises:
        ConfigurationError: a cost that is not allowed.
    """
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
    """Give the plan that gives back to several limits what one decision took from all of them.

    Raises:
        ConfigurationError: a decision of other limits.
    """
    taken = decision.taken
    if not taken:
        return Plan(name, (), lambda _: False, Effect.READS)
    if len(taken) != len(limits):
        raise ConfigurationError(f"decision must be one of these {len(limits)} limits, not of {len(taken)}")
    # What was taken in several slots goes back to each of them; all in one round trip.
    groups: dict[int, tuple[list[str], list[Argument]]] = {}
    for limit, (key, cost, moment, turn) in zip(limits, taken, strict=True):
        keys, words = groups.setdefault(slot(key), ([], []))
        keys.append(key)
        words += limit.given_back(cost, moment, turn)
    commands = tuple([_REFUND(keys, *words) for keys, words in groups.values()])
    return Plan(name, commands, lambda answers: any(integer(answer) > 0 for answer in answers))


class Windowed(Limit):
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


def parsed(rate: str) -> tuple[int, int]:
    """Read a text such as ``100/minute``; gives the number and the seconds.

    Raises:
        ConfigurationError: it says nothing of the kind.
    """
    found = _RATE.fullmatch(rate) if isinstance(rate, str) else None
    unit = _UNITS.get(found[3].lower()) if found is not None else None
    if found is None or unit is None or not int(found[1]) or (found[2] is not None and not int(found[2])):
        raise ConfigurationError(
            f"rate must be a text such as '100/minute' or '5 per 10 seconds', not {validate.shown(rate)}"
        )
    return int(found[1]), int(found[2] or 1) * unit


def keys_of(algorithm: str, name: str, namespace: str) -> Keys:
    """Give the keys of a limit: of an algorithm of its own, or of the buckets, which share theirs.

    Raises:
        ConfigurationError: an empty name, or a namespace that is not allowed.
    """
    validate.text("name", name)
    validate.namespace(namespace)
    if algorithm:
        return Keys("ratelimit", part=f"{algorithm}:{name}", namespace=namespace)
    return Keys("bucket", part=name, namespace=namespace)
