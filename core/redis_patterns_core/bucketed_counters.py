"""Counts by time: how many in each minute, hour, day, week or month, in several of these at once.

Promises: an event is counted in all resolutions in one step, or in none; one whose time is no longer kept, or is too
far ahead of the server's clock, is refused with `NotCounted`; with an id it counts once, however often it is sent;
every key has a TTL, from the step that makes it, that no later event shortens, and no bucket is gone before its time. A
range has all its buckets, in order, those in which nobody counted too.

To which bucket an event belongs is said by who counts it: by its time, or else by the caller's clock. What is kept is
decided by the server's clock.

Keys: ``counter:{NAME}:PERIOD:FIRST``, a hash of 120 equal steps, of a month of days, or of a year of weeks or months;
``counter:{NAME}:event:ID``, a string, for as long as ids are remembered. The shards of a counter but for the first have
``counter:{NAME:NUMBER}:shard`` instead of ``counter:{NAME}``.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

from redis_patterns_core import replies, retention, validate
from redis_patterns_core.counters import amount, shard_of, shards
from redis_patterns_core.errors import ConfigurationError
from redis_patterns_core.periods import (
    DAY,
    HOUR,
    LONGEST_STEP,
    MINUTE,
    Calendar,
    Every,
    Period,
    moment,
    moment_or_now,
    starts,
    utc_now,
)
from redis_patterns_core.plan import Command, Effect, Plan, Script
from redis_patterns_core.replies import Reply
from redis_patterns_core.validate import Duration
from redis_patterns_core.value import value

__all__ = ["BucketedCounter", "Series"]

_COUNT = Script.load("counter_count")

_CHUNK = 120
"""Equal steps in a hash: few enough that Redis packs them, into an eighth of the memory, and is quick to go through."""
_MOST_BUCKETS = 50_000
_DAY = 86400


@value
class Series:
    """Counts in a row of buckets.

    Parameters:
        period: what each bucket is.
        starts: when each begins, in UTC.
        counts: how many in each.
    """

    period: Period
    starts: tuple[datetime, ...]
    counts: tuple[int, ...]

    def __iter__(self) -> Iterator[tuple[datetime, int]]:
        """Give each bucket's start and count."""
        return iter(zip(self.starts, self.counts, strict=True))

    @property
    def total(self) -> int:
        """The sum of all."""
        return sum(self.counts)

    def closed(self, at: datetime) -> Series:
        """Leave out the buckets that were not over at a moment, in which more can be counted.

        Raises:
            ConfigurationError: a time that is not allowed.
        """
        over = [start for start in self.starts if self.period.following(start) <= moment("at", at)]
        return Series(self.period, tuple(over), self.counts[: len(over)])

    def rate(self, until: datetime | None = None) -> float:
        """Give how many there were a second, from the start of the first bucket on; 0 without a bucket.

        Parameters:
            until: when counting ended, where that is before the end of the last bucket: for a bucket that is still
                open, the time at which it was read.

        Raises:
            ConfigurationError: a time that is not allowed, or is not after the start of the first bucket.
        """
        if not self.starts:
            return 0.0
        ends = self.period.following(self.starts[-1])
        if until is not None:
            ends = min(ends, moment("until", until))
        if ends <= self.starts[0]:
            raise ConfigurationError(f"until must be after the first bucket's start, not {validate.shown(until)}")
        return self.total / (ends - self.starts[0]).total_seconds()

    def rates(self) -> tuple[float, ...]:
        """Give how many there were a second in each bucket, all of it: leave out what is open with `closed`."""
        if not self.starts:
            return ()
        bounds = [*self.starts, self.period.following(self.starts[-1])]
        lengths = [(ends - start).total_seconds() for start, ends in pairwise(bounds)]
        return tuple([count / length for count, length in zip(self.counts, lengths, strict=True)])

    def moving_sums(self, count: int) -> tuple[int, ...]:
        """Give the sums of each `count` neighbours: the first is that of the first `count` buckets.

        Raises:
            ConfigurationError: a count that is not allowed.
        """
        validate.integer("count", count, least=1)
        sums = [0]
        for number in self.counts:
            sums.append(sums[-1] + number)
        return tuple([ends - begins for begins, ends in zip(sums, sums[count:], strict=False)])


@dataclass(frozen=True, slots=True)
class BucketedCounter:
    """A counter of what happens when.

    Parameters:
        name: the counter's name.
        keep: for each resolution how long a bucket is kept after its end, in seconds or as a timedelta: as is, minutes
            for an hour, hours for a day and days for 30 days.
        ahead: how far ahead of the server's clock an event may be, in seconds or as a timedelta.
        remember: how long ids of events are remembered, in seconds or as a timedelta.
        shards: into how many slots of a cluster the counts go, 1 to 1000, where one node cannot take them all; see
            `ShardedCounter`.
        clock: gives the time of events that say none, with a time zone.
        chance: gives random numbers from 0 to 1, by which a shard is chosen.
        namespace: a prefix of its keys.

    Raises:
        ConfigurationError: an empty name, no resolution, two whose periods have one name, or a number or a duration
            that is not allowed.
    """

    name: str
    _: KW_ONLY
    keep: Mapping[Period, Duration] = field(
        default_factory=lambda: {MINUTE: 3600, HOUR: _DAY, DAY: 30 * _DAY}, hash=False
    )
    ahead: Duration = retention.AHEAD
    remember: Duration = _DAY
    shards: int = 1
    clock: Callable[[], datetime] = field(default=utc_now, repr=False, compare=False)
    chance: Callable[[], float] = field(default=random.random, repr=False, compare=False)
    namespace: str = ""
    _keys: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _kept: Mapping[Period, int] = field(init=False, repr=False, compare=False)
    _ahead_ms: int = field(init=False, repr=False, compare=False)
    _remember_ms: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_keys", shards(self.name, self.shards, self.namespace))
        if not isinstance(self.keep, Mapping) or not self.keep:
            raise ConfigurationError(
                f"keep must say for at least one period how long it is kept, not {validate.shown(self.keep)}"
            )
        kept = dict[Period, int]()
        for period, length in self.keep.items():
            if not isinstance(period, (Every, Calendar)):
                raise ConfigurationError(f"keep must have periods, such as MINUTE, and not {validate.shown(period)}")
            if isinstance(period, Every) and period.shortest * _CHUNK > LONGEST_STEP:
                raise ConfigurationError(
                    f"keep must have equal steps of {LONGEST_STEP // _CHUNK} at most, not {validate.shown(period)}"
                )
            kept[period] = validate.milliseconds("keep", length)
        names = [period.name for period in kept]
        if len(set(names)) < len(names):
            raise ConfigurationError(f"keep must have periods of different names, not {', '.join(names)}")
        object.__setattr__(self, "_kept", kept)
        object.__setattr__(self, "_ahead_ms", validate.milliseconds("ahead", self.ahead, least=0))
        object.__setattr__(self, "_remember_ms", validate.milliseconds("remember", self.remember))

    def add(self, by: int = 1, *, at: datetime | None = None, event: str | None = None) -> Plan[None]:
        """Count an event in each resolution that still keeps its bucket.

        Parameters:
            by: any whole number of 64 bits; negative to take away.
            at: when it happened; now, by `clock`, where that is not given.
            event: an id of the event, text: within `remember`, a repeated one counts nothing, whatever its time.

        Returns:
            A plan of one round trip. Idempotent with an event, else sent at most once.

        Raises:
            NotCounted: no resolution keeps its time any more, or it is too far ahead.
            CommandFailed: a sum would not fit into 64 bits; nothing was counted.
            ConfigurationError: a number, a time or an event that is not allowed.
        """
        happened = moment_or_now(at, self.clock)
        place = self._keys[shard_of(event, self.shards, self.chance)]
        keys, buckets = list[str](), list[str | int]()
        second = happened.replace(microsecond=0)
        for period, keep_ms in self._kept.items():
            chunk, bucket, ends = _found(period, second)
            keys.append(f"{place}:{chunk}")
            buckets += (bucket, ends + keep_ms)
        if event is not None:
            keys.append(f"{place}:event:{event}")
        known = 0 if event is None else self._remember_ms
        times = (retention.epoch_ms(happened), self._ahead_ms, known, retention.SPARE_MS)
        command = _COUNT(keys, amount(by), *times, *buckets)
        effect = Effect.ONCE if event is None else Effect.IDEMPOTENT
        return Plan("bucketedcounter.add", (command,), lambda answers: retention.check(answers, happened), effect)

    def range(self, period: Period, first: datetime, until: datetime | None = None) -> Plan[Series]:
        """Read whole buckets in a row: from the one that has `first` in it, to the last that begins before `until`.

        Parameters:
            period: one of the counter's resolutions.
            first: where the row begins; it must be kept still.
            until: where it ends; where that is not given, the last bucket is that which has now in it, by `clock`.

        Returns:
            A plan of one round trip: a day of minutes is 13 hashes at the most.

        Raises:
            ConfigurationError: a period that this counter does not have, a time that is not allowed or is not kept any
                more, an `until` that is not after `first`, or more than 50,000 buckets.
        """
        self._check(period)
        keep_ms, now = self._kept[period], moment_or_now(None, self.clock)
        row = retention.row(period, first, until, now=now, keep_ms=keep_ms, most=_MOST_BUCKETS)
        return self._read("range", period, row)

    def last(self, period: Period, count: int, *, open: bool = True) -> Plan[Series]:
        """Read the latest buckets, by `clock`.

        Parameters:
            period: one of the counter's resolutions.
            count: how many, 1 to 50,000.
            open: whether the bucket that has now in it is the last of them; else that is the one before.

        Returns:
            A plan of one round trip. Buckets that are not kept any more are 0.

        Raises:
            ConfigurationError: a period that this counter does not have, or a count that is not allowed, or whose first
                bucket would begin before the year 2.
        """
        self._check(period)
        validate.integer("count", count, least=1, most=_MOST_BUCKETS)
        newest = period.start(moment_or_now(None, self.clock))
        row = list(starts(period, _earlier(period, newest, count - open), period.following(newest)))
        return self._read("last", period, row[:count])

    def total(self, period: Period, first: datetime, until: datetime | None = None) -> Plan[int]:
        """Sum up whole buckets in a row.

        Parameters:
            period, first, until: as for `range`.

        Returns:
            A plan of one round trip.

        Raises:
            ConfigurationError: as for `range`.
        """
        return self.range(period, first, until).map(lambda series: series.total)

    def keys(self, period: Period, at: datetime) -> tuple[str, ...]:
        """Give the hashes that have the bucket of a moment, one for each shard.

        Raises:
            ConfigurationError: a period that this counter does not have, or a time that is not allowed.
        """
        self._check(period)
        chunk = _chunk(period, period.start(at))
        return tuple([f"{place}:{chunk}" for place in self._keys])

    def _read(self, verb: str, period: Period, row: Sequence[datetime]) -> Plan[Series]:
        ends = period.following(row[-1])
        firsts = starts(_chunks(period), row[0], ends) if isinstance(period, Every) else row
        chunks = dict.fromkeys([_chunk(period, start) for start in firsts])
        # All of a hash is read in one go: looking for its fields one by one, Redis would begin anew for each.
        commands = tuple([Command(("HGETALL", f"{place}:{chunk}")) for chunk in chunks for place in self._keys])

        def parse(answers: Sequence[Reply]) -> Series:
            counts: dict[Reply, int] = dict.fromkeys(_buckets(period, row), 0)
            for answer in answers:
                for bucket, count in replies.pairs(answer):
                    if bucket in counts:
                        counts[bucket] += replies.whole(count)
            return Series(period, tuple(row), tuple(counts.values()))

        return Plan(f"bucketedcounter.{verb}", commands, parse, Effect.READS)

    def _check(self, period: Period) -> None:
        if period not in self._kept:
            raise ConfigurationError(
                f"period must be one of {', '.join(map(repr, self._kept))}, not {validate.shown(period)}"
            )


# What is counted at a time is mostly of one time; and each period begins with a whole second.
@functools.lru_cache(maxsize=256)
def _found(period: Period, at: datetime) -> tuple[str, str, int]:
    """Give the chunk that has a moment's bucket in it, the bucket, and when it ends, in milliseconds."""
    start = period.start(at)
    return _chunk(period, start), _bucket(start), retention.epoch_ms(period.following(start))


def _bucket(start: datetime) -> str:
    return str(int(start.timestamp()))


def _buckets(period: Period, row: Sequence[datetime]) -> list[bytes]:
    """Give the names of buckets in a row; there may be many of equal steps."""
    if isinstance(period, Every):
        first, step = int(row[0].timestamp()), int(period.shortest.total_seconds())
        return [b"%d" % second for second in range(first, first + step * len(row), step)]
    return [_bucket(start).encode() for start in row]


def _earlier(period: Period, start: datetime, count: int) -> datetime:
    """Give the start of the period that is so many before another one."""
    try:
        if isinstance(period, Every):
            return period.start(start - count * period.shortest)
        for _ in range(count):
            start = period.start(start - timedelta(microseconds=1))
    except (ConfigurationError, OverflowError):
        raise ConfigurationError(f"count must be of buckets that begin in the year 2 or later, not {count}") from None
    return start


def _chunk(period: Period, start: datetime) -> str:
    """Give what is behind the names in the key of the hash that has the bucket which begins then."""
    if isinstance(period, Every):
        return f"{period.name}:{period.label(_chunks(period).start(start))}"
    label = period.label(start)
    return f"{period.name}:{label[:7] if period.unit == 'day' else label[:4]}"


@functools.lru_cache(maxsize=64)
def _chunks(period: Every) -> Every:
    return Every(period.shortest * _CHUNK)
