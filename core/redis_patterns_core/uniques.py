"""Unique counts: how many different members there were in each day, week, or whatever period; on a page, or on several.

Promises: a member counts once, however often it was there and however often a call is repeated; several periods and
several counters are counted as one union, in one round trip, on one node of a cluster or on many with the same answer;
every key has a TTL, from the step that makes it, that no later member shortens; a member whose time is no longer kept,
or is too far ahead of the server's clock, is refused with `NotCounted`.

`Uniques` takes 12 KiB for a period at most, and less for few members, whatever their number; its standard error is
0.81 %. `ExactUniques` is exact, and keeps all members.

Keys: ``unique:{NAME}:PERIOD:LABEL``, a string, or ``unique:{NAME}:PERIOD:LABEL:exact``, a set; in a zone
``unique:{NAME}:PERIOD:ZONE:LABEL``; ``unique:{NAME}:merging``, a string, within one step.

Source: https://redis.io/docs/latest/develop/data-types/probabilistic/hyperloglogs/
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from typing import ClassVar, Self

from redis_patterns_core import hyperloglog, replies, retention, validate
from redis_patterns_core.errors import ConfigurationError, DecodeError
from redis_patterns_core.flow import Steps, flow
from redis_patterns_core.keys import key
from redis_patterns_core.periods import (
    DAY,
    Calendar,
    Every,
    Period,
    key_part,
    moment_or_now,
    starts,
    utc_now,
    zone_name,
)
from redis_patterns_core.plan import Command, Effect, Plan, Script
from redis_patterns_core.replies import Reply
from redis_patterns_core.validate import Duration

__all__ = ["ExactUniques", "UniqueCounter", "Uniques"]

_ADD = Script.load("unique_add")
_ADD_EXACT = Script.load("unique_add_exact")
_MERGE = Script.load("unique_merge")

_MOST_AT_ONCE = 5000
_MOST_KEYS = 1000
_MONTH = 30 * 86400


@dataclass(frozen=True, slots=True)
class UniqueCounter(ABC):
    """What `Uniques` and `ExactUniques` have in common.

    Parameters:
        name, period, keep, ahead, clock, namespace: as for `Uniques`.

    Raises:
        ConfigurationError: as for `Uniques`.
    """

    _end: ClassVar[str] = ""
    """What their keys end with."""

    name: str
    _: KW_ONLY
    period: Period = DAY
    keep: Duration = _MONTH
    ahead: Duration = retention.AHEAD
    clock: Callable[[], datetime] = field(default=utc_now, repr=False, compare=False)
    namespace: str = ""
    _key: str = field(init=False, repr=False, compare=False)
    _keep_ms: int = field(init=False, repr=False, compare=False)
    _ahead_ms: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        validate.text("name", self.name)
        validate.namespace(self.namespace)
        if not isinstance(self.period, (Every, Calendar)):
            raise ConfigurationError(f"period must be one, such as DAY, not {validate.shown(self.period)}")
        zone_name(self.period)
        object.__setattr__(self, "_key", key("unique", self.name, namespace=self.namespace))
        object.__setattr__(self, "_keep_ms", validate.milliseconds("keep", self.keep))
        object.__setattr__(self, "_ahead_ms", validate.milliseconds("ahead", self.ahead, least=0))

    def add(self, *members: str, at: datetime | None = None) -> Plan[None]:
        """Note that members were there.

        Parameters:
            members: text, not empty; 1 to 5000 of them.
            at: when; now, by `clock`, where that is not given.

        Returns:
            A plan of one round trip, idempotent.

        Raises:
            NotCounted: the period is not kept any more, or too far ahead, or has no room; no member was noted.
            ConfigurationError: members or a time that are not allowed.
        """
        validate.integer("members", len(members), least=1, most=_MOST_AT_ONCE)
        for member in members:
            validate.text("members", member)
        return self._add(list(dict.fromkeys(members)), moment_or_now(at, self.clock))

    def count(self, at: datetime | Iterable[datetime] | None = None, *, across: Iterable[Self] = ()) -> Plan[int]:
        """Count the different members of a period, or of several together.

        Parameters:
            at: a moment of the period, or several; now, by `clock`, where that is not given.
            across: further counters of the same kind, whose members in these moments' periods are counted too.

        Returns:
            A plan of one round trip.

        Raises:
            ConfigurationError: a time that is not allowed, a counter of another kind, or more than 1000 keys.
        """
        moments = tuple(at) if isinstance(at, Iterable) else (moment_or_now(at, self.clock),)
        counters = self._with(across)
        return self._counted([[counter.key(one) for one in moments] for counter in counters])

    def count_range(self, first: datetime, until: datetime | None = None, *, across: Iterable[Self] = ()) -> Plan[int]:
        """Count the different members of all periods in a row: from the one that has `first` in it, to the last that
        begins before `until`.

        Parameters:
            first: where the row begins.
            until: where it ends; where that is not given, the last one is that which has now in it, by `clock`.
            across: as for `count`.

        Returns:
            A plan of one round trip.

        Raises:
            ConfigurationError: a time that is not allowed or is not kept any more, an `until` that is not after
                `first`, a counter of another kind, or more than 1000 keys.
        """
        return self._counted([counter._row(first, until) for counter in self._with(across)])  # noqa: SLF001  our own

    @flow
    def merge(self, *sources: Self, at: datetime | None = None) -> Steps[None]:
        """Add what others have counted to a period of this one: days to their month, or pages to their site.

        Parameters:
            sources: counters of the same kind; of each all periods that begin in this one's.
            at: a moment of this one's period; now, by `clock`, where that is not given.

        Returns:
            A flow of two round trips, idempotent; of `ExactUniques` one more for each further 5000 members. What the
            others count meanwhile may be among it, or not.

        Raises:
            NotCounted: as for `add`; by the flow when it is run, as the other one.
            ConfigurationError: no counter, one of another kind, or more than 1000 keys.
        """
        validate.integer("sources", len(sources), least=1, most=_MOST_KEYS)
        then = moment_or_now(at, self.clock)
        start, end = self.period.start(then), retention.end(self.period, then)
        keys = list[Sequence[str]]()
        for source in self._with(sources)[1:]:
            row = [source.key(one) for one in starts(source.period, start, end) if one >= start]
            if not row:
                raise ConfigurationError(
                    f"sources must have a period that begins in that of {then}, not {validate.shown(source)}"
                )
            keys.append(row)
        validate.integer("keys", sum(map(len, keys)), least=1, most=_MOST_KEYS)
        yield from self._merge(keys, then)

    def key(self, at: datetime) -> str:
        """Give the key of the period that has a moment in it.

        Raises:
            ConfigurationError: a time that is not allowed.
        """
        return f"{self._key}:{key_part(self.period, self.period.start(at))}{self._end}"

    @abstractmethod
    def _add(self, members: Sequence[str], at: datetime) -> Plan[None]:
        """Add members, each of which is there once."""

    @abstractmethod
    def _count(self, keys: Sequence[Sequence[str]]) -> Plan[int]:
        """Count the union of what is in all keys; those of one list are in one slot."""

    @abstractmethod
    def _merge(self, keys: Sequence[Sequence[str]], at: datetime) -> Steps[None]:
        """Add what is in all keys; those of one list are in one slot."""

    def _with(self, others: Iterable[Self]) -> list[Self]:
        counters = [self, *others]
        for counter in counters:
            if type(counter) is not type(self):
                raise ConfigurationError(f"counters must all be {type(self).__name__}, not {validate.shown(counter)}")
        return counters

    def _row(self, first: datetime, until: datetime | None) -> list[str]:
        keep_ms, now = self._keep_ms, moment_or_now(None, self.clock)
        row = retention.row(self.period, first, until, now=now, keep_ms=keep_ms, most=_MOST_KEYS)
        return [self.key(start) for start in row]

    def _counted(self, keys: Sequence[Sequence[str]]) -> Plan[int]:
        validate.integer("keys", sum(map(len, keys)), least=1, most=_MOST_KEYS)
        return self._count(keys)

    def _times(self, at: datetime) -> tuple[int, int, int, int]:
        """Give what every script is told of time: when, how far ahead, until when it is kept, and the spare time."""
        ends = retention.kept_until(self.period, at, self._keep_ms)
        return retention.epoch_ms(at), self._ahead_ms, ends, retention.SPARE_MS


@dataclass(frozen=True, slots=True)
class Uniques(UniqueCounter):
    """How many different members there were in each period, within about one percent: a HyperLogLog for each.

    Parameters:
        name: of whom, or of what, such as a page.
        period: what is counted by.
        keep: how long a period is kept after its end, in seconds or as a timedelta.
        ahead: how far ahead of the server's clock a time may be, in seconds or as a timedelta.
        clock: gives the time of members that come without one.
        namespace: a prefix of its keys.

    Raises:
        ConfigurationError: an empty name, or a period or a duration that is not allowed.
    """

    STANDARD_ERROR: ClassVar[float] = hyperloglog.STANDARD_ERROR
    """By how much of itself a number is off: two in three are nearer, 997 in 1000 within three times as much."""

    def _add(self, members: Sequence[str], at: datetime) -> Plan[None]:
        command = _ADD((self.key(at),), *self._times(at), *members)
        return Plan("uniques.add", (command,), lambda answers: retention.check(answers, at), Effect.IDEMPOTENT)

    def _count(self, keys: Sequence[Sequence[str]]) -> Plan[int]:
        if len(keys) == 1:  # all in one slot
            return Plan("uniques.count", (Command(("PFCOUNT", *keys[0])),), replies.first_integer, Effect.READS)
        # In several no node could unite them: they are united here, from what each has, in which there is no member.
        return _registers("count", keys).map(hyperloglog.estimate)

    def _merge(self, keys: Sequence[Sequence[str]], at: datetime) -> Steps[None]:
        # As bytes, which can be shown: Python refuses to write so large a number.
        united = yield from _registers("read", keys).map(hyperloglog.encode)
        command = _MERGE((self.key(at), f"{self._key}:merging"), *self._times(at), united)
        plan = Plan("uniques.merge", (command,), lambda answers: retention.check(answers, at), Effect.IDEMPOTENT)
        yield from plan


@dataclass(frozen=True, slots=True)
class ExactUniques(UniqueCounter):
    """How many different members there were in each period, exactly, where there are not too many: a set for each.

    A range of periods, or several counters, are counted where they are read: all members are sent.

    Parameters:
        name, period, keep, ahead, clock, namespace: as for `Uniques`.
        most: how many members a period may have, 1 to a million.

    Raises:
        ConfigurationError: an empty name, or a period, a duration or a number that is not allowed.
    """

    _end = ":exact"

    _: KW_ONLY
    most: int = 10_000

    def __post_init__(self) -> None:
        UniqueCounter.__post_init__(self)  # not by super(), as a dataclass with slots is another class than this one
        validate.integer("most", self.most, least=1, most=1_000_000)

    def _add(self, members: Sequence[str | bytes], at: datetime) -> Plan[None]:
        command = _ADD_EXACT((self.key(at),), *self._times(at), self.most, *members)
        most = self.most
        return Plan(
            "exactuniques.add", (command,), lambda answers: retention.check(answers, at, most), Effect.IDEMPOTENT
        )

    def _count(self, keys: Sequence[Sequence[str]]) -> Plan[int]:
        if len(keys) == 1 and len(keys[0]) == 1:
            return Plan("exactuniques.count", (Command(("SCARD", *keys[0])),), replies.first_integer, Effect.READS)
        return _members("count", keys).map(len)

    def _merge(self, keys: Sequence[Sequence[str]], at: datetime) -> Steps[None]:
        members = sorted((yield from _members("read", keys)))
        for first in range(0, len(members), _MOST_AT_ONCE):
            yield from self._add(members[first : first + _MOST_AT_ONCE], at)


def _registers(verb: str, keys: Sequence[Sequence[str]]) -> Plan[int]:
    commands = tuple([Command(("GET", one)) for row in keys for one in row])

    def parse(answers: Sequence[Reply]) -> int:
        return hyperloglog.union([hyperloglog.decode(_stored(answer)) for answer in answers if answer is not None])

    return Plan(f"uniques.{verb}", commands, parse, Effect.READS)


def _members(verb: str, keys: Sequence[Sequence[str]]) -> Plan[set[bytes]]:
    commands = tuple([Command(("SUNION", *row)) for row in keys])
    return Plan(f"exactuniques.{verb}", commands, _united, Effect.READS)


def _united(answers: Sequence[Reply]) -> set[bytes]:
    return set[bytes]().union(*[map(_stored, replies.members(answer)) for answer in answers])


def _stored(reply: Reply) -> bytes:
    if isinstance(reply, bytes):
        return reply
    raise DecodeError(f"expected bytes from Redis, got {type(reply).__name__}")
