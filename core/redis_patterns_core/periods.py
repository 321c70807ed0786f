"""Periods: how time is divided into days, weeks, months or equal steps, one after another, each with its own start.

    >>> DAY.start(datetime(2026, 11, 28, 15, tzinfo=UTC))
    datetime.datetime(2026, 11, 28, 0, 0, tzinfo=datetime.timezone.utc)
    >>> WEEK.label(DAY.start(datetime(2026, 11, 28, 15, tzinfo=UTC)))
    '2026-W48'

Starts are moments in UTC. A calendar's period in a zone begins with its first moment there: a day that has no midnight,
as clocks go forward then, begins at one o'clock, and one of 25 hours has one start.

Source: ISO 8601 for weeks, which begin on Mondays, and whose year is that of their Thursday.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Literal, TypeAlias

from redis_patterns_core import validate
from redis_patterns_core.errors import ConfigurationError
from redis_patterns_core.validate import Duration

__all__ = [
    "DAY",
    "HOUR",
    "LONGEST_STEP",
    "MINUTE",
    "MONTH",
    "WEEK",
    "Calendar",
    "Every",
    "Period",
    "due",
    "key_part",
    "moment",
    "moment_or_now",
    "starts",
    "utc_now",
    "zone_name",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE = timedelta(minutes=1)
# What Python's datetime can do, less what zones and the next period need.
_FIRST_YEAR, _LAST_YEAR = 2, 9997
_UNITS = ("day", "week", "month")

LONGEST_STEP = timedelta(days=8000 * 365)
"""The first one of these, which begins with 1970, ends within what datetime has."""


@dataclass(frozen=True, slots=True)
class Every:
    """Equal steps, counted from the beginning of 1970 in UTC.

    Parameters:
        step: how long each is: whole seconds, or a timedelta of such, from 1 s to 2,920,000 days.

    Raises:
        ConfigurationError: a step that is not allowed.
    """

    step: Duration = field(compare=False)
    shortest: timedelta = field(init=False, repr=False)
    """How long one is at the least."""
    name: str = field(init=False, repr=False, compare=False)
    """What keys call it, such as ``60s``."""

    def __post_init__(self) -> None:
        milliseconds = validate.milliseconds("step", self.step, least=1000)
        if milliseconds % 1000:
            raise ConfigurationError(f"step must be whole seconds, not {validate.shown(self.step)}")
        shortest = timedelta(milliseconds=milliseconds)
        if shortest > LONGEST_STEP:
            raise ConfigurationError(f"step must be at most {LONGEST_STEP.days} days, not {validate.shown(self.step)}")
        object.__setattr__(self, "shortest", shortest)
        object.__setattr__(self, "name", f"{milliseconds // 1000}s")

    def start(self, at: datetime) -> datetime:
        """Give the start of the one that holds a moment.

        Raises:
            ConfigurationError: a time that is not allowed, or one whose step began before the year 1.
        """
        then = moment("at", at)
        try:
            return _EPOCH + (then - _EPOCH) // self.shortest * self.shortest
        except OverflowError:
            raise ConfigurationError(
                f"at must be in a step that began in the year 1 or later, not {validate.shown(at)}"
            ) from None

    def following(self, start: datetime) -> datetime:
        """Give the start of the next one.

        Raises:
            ConfigurationError: it would begin after the year 9999.
        """
        try:
            return start + self.shortest
        except OverflowError:
            raise _no_end(start) from None

    def label(self, start: datetime) -> str:
        """Give its name: ``2026-11-28T14:05``, with seconds where the steps are no whole minutes."""
        whole_minutes = not self.shortest % _MINUTE
        return start.astimezone(UTC).strftime("%Y-%m-%dT%H:%M" if whole_minutes else "%Y-%m-%dT%H:%M:%S")


@dataclass(frozen=True, slots=True)
class Calendar:
    """Days, ISO weeks or months, as the clocks of a zone show them.

    Parameters:
        unit: which.
        zone: such as ``ZoneInfo("Europe/Berlin")``.

    Raises:
        ConfigurationError: a unit that is none of these, or something else than a zone.
    """

    unit: Literal["day", "week", "month"]
    zone: tzinfo = UTC

    def __post_init__(self) -> None:
        if not isinstance(self.unit, str) or self.unit not in _UNITS:
            raise ConfigurationError(f"unit must be one of {', '.join(_UNITS)}, not {validate.shown(self.unit)}")
        if not isinstance(self.zone, tzinfo):
            raise ConfigurationError(f"zone must be a tzinfo, such as a ZoneInfo, not {validate.shown(self.zone)}")

    @property
    def name(self) -> str:
        """What keys call it: ``day``, ``week`` or ``month``."""
        return self.unit

    @property
    def shortest(self) -> timedelta:
        """How long one is at the least, where clocks go forward by up to a day."""
        return timedelta(days={"day": 1, "week": 7, "month": 28}[self.unit] - 1)

    def start(self, at: datetime) -> datetime:
        """Give the start of the one that holds a moment.

        Raises:
            ConfigurationError: a time that is not allowed.
        """
        return self._midnight(self._first_day(moment("at", at).astimezone(self.zone).date()))

    def following(self, start: datetime) -> datetime:
        """Give the start of the next one.

        Raises:
            ConfigurationError: it would begin after the year 9999.
        """
        try:
            first = self._first_day(start.astimezone(self.zone).date())
            if self.unit == "month":
                beyond = first + timedelta(days=31)
                return self._midnight(beyond.replace(day=1))
            return self._midnight(first + timedelta(days=7 if self.unit == "week" else 1))
        except OverflowError:
            raise _no_end(start) from None

    def label(self, start: datetime) -> str:
        """Give its name: ``2026-11-28``, ``2026-W48``, ``2026-11``."""
        day = start.astimezone(self.zone).date()
        if self.unit == "week":
            year, week, _ = day.isocalendar()
            return f"{year}-W{week:02d}"
        return day.isoformat() if self.unit == "day" else f"{day.year:04d}-{day.month:02d}"

    def _first_day(self, day: date) -> date:
        if self.unit == "week":
            return day - timedelta(days=day.weekday())
        return day.replace(day=1) if self.unit == "month" else day

    def _midnight(self, day: date) -> datetime:
        # A midnight that does not exist is read with the offset before it (PEP 495): the moment when clocks go forward.
        return datetime(day.year, day.month, day.day, tzinfo=self.zone).astimezone(UTC)


Period: TypeAlias = Every | Calendar
"""Either of them."""

MINUTE = Every(60)
HOUR = Every(3600)
DAY = Calendar("day")
WEEK = Calendar("week")
MONTH = Calendar("month")


def zone_name(period: Period) -> str:
    """Give the name of the zone by whose clocks a period begins.

    Raises:
        ConfigurationError: one without a name, by which another process could not know it.
    """
    zone = period.zone if isinstance(period, Calendar) else UTC
    name: object = getattr(zone, "key", None) or (str(zone) if isinstance(zone, timezone) else None)
    if not isinstance(name, str):
        raise ConfigurationError(f"period must have a zone with a name, such as a ZoneInfo, not {validate.shown(zone)}")
    return name


def key_part(period: Period, start: datetime) -> str:
    """Give what keys call the period that begins then: ``day:2026-11-28``, or ``day:Europe/Berlin:2026-11-28``."""
    # Days of two zones may have one label, and are not the same.
    zone = zone_name(period)
    return ":".join([period.name, *([] if zone == "UTC" else [zone]), period.label(start)])


def starts(period: Period, first: datetime, until: datetime) -> Iterator[datetime]:
    """Give the starts of all periods that begin before `until`, from the one that holds `first` on."""
    start = period.start(first)
    while start < until:
        yield start
        start = period.following(start)


def moment(argument: str, value: datetime) -> datetime:
    """Check a moment, and give it in UTC.

    Raises:
        ConfigurationError: no datetime, one without a time zone, or one so far away that periods around it have no end.
    """
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ConfigurationError(f"{argument} must be a datetime with a time zone, not {validate.shown(value)}")
    if not _FIRST_YEAR <= value.year <= _LAST_YEAR:
        raise ConfigurationError(
            f"{argument} must be in the years {_FIRST_YEAR} to {_LAST_YEAR}, not {validate.shown(value)}"
        )
    return value.astimezone(UTC)


def moment_or_now(at: datetime | None, clock: Callable[[], datetime]) -> datetime:
    """Check a moment that was given, or else what a clock says, and give it in UTC.

    Raises:
        ConfigurationError: as for `moment`; names ``at``, or ``clock`` where that has said it.
    """
    return moment("clock", clock()) if at is None else moment("at", at)


def utc_now() -> datetime:
    """Give the time by this machine's clock: what patterns call a moment's period by, unless they are given another."""
    return datetime.now(UTC)


def due(delay: Duration | None, at: datetime | None) -> tuple[Literal["delay", "at"], int]:
    """Give what a script is told of a time: after how long, or when, in milliseconds.

    Raises:
        ConfigurationError: both, or a time that is not allowed.
    """
    if at is None:
        return "delay", 0 if delay is None else validate.milliseconds("delay", delay, least=0)
    if delay is not None:
        raise ConfigurationError("delay and at must not both be given")
    return "at", math.ceil(moment("at", at).timestamp() * 1000)


def _no_end(start: datetime) -> ConfigurationError:
    return ConfigurationError(
        f"start must be that of a period that ends before the year 10000, not {validate.shown(start)}"
    )
