from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_patterns import BucketedCounter, DelayedQueue, Jobs, Leaderboard, Uniques
from redis_patterns_core.errors import ConfigurationError
from redis_patterns_core.periods import (
    DAY,
    HOUR,
    MINUTE,
    MONTH,
    WEEK,
    Calendar,
    Every,
    Period,
    moment,
    moment_or_now,
    starts,
)

BERLIN, BEIRUT, APIA, KOLKATA = map(ZoneInfo, ("Europe/Berlin", "Asia/Beirut", "Pacific/Apia", "Asia/Kolkata"))
ZONED = [Calendar(unit, zone) for unit in ("day", "week", "month") for zone in (BERLIN, BEIRUT, APIA, KOLKATA)]
PERIODS: list[Period] = [MINUTE, HOUR, Every(7), DAY, WEEK, MONTH, *ZONED]


def at(*numbers: int, zone: timezone | ZoneInfo = UTC) -> datetime:
    return datetime(*numbers, tzinfo=zone)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("period", "moment", "start", "label"),
    [
        (MINUTE, at(2026, 11, 28, 15, 4, 59), at(2026, 11, 28, 15, 4), "2026-11-28T15:04"),
        (HOUR, at(2026, 11, 28, 15, 4, 59), at(2026, 11, 28, 15), "2026-11-28T15:00"),
        (Every(7), at(1970, 1, 1, 0, 0, 13), at(1970, 1, 1, 0, 0, 7), "1970-01-01T00:00:07"),
        (HOUR, at(1969, 12, 31, 23, 59), at(1969, 12, 31, 23), "1969-12-31T23:00"),
        (DAY, at(2026, 11, 28, 23, 59, 59), at(2026, 11, 28), "2026-11-28"),
        (WEEK, at(2026, 11, 28), at(2026, 11, 23), "2026-W48"),
        (WEEK, at(2027, 1, 3), at(2026, 12, 28), "2026-W53"),  # the ISO year of its Thursday
        (WEEK, at(2024, 12, 31), at(2024, 12, 30), "2025-W01"),
        (WEEK, at(2026, 2, 1), at(2026, 1, 26), "2026-W05"),
        (MONTH, at(2026, 11, 28), at(2026, 11, 1), "2026-11"),
        (MONTH, at(2026, 2, 28), at(2026, 2, 1), "2026-02"),
        (Calendar("day", BERLIN), at(2026, 11, 28, 23, 30), at(2026, 11, 28, 23), "2026-11-29"),
        # The clocks of Beirut go forward at midnight: 29 March 2026 begins at one o'clock.
        (Calendar("day", BEIRUT), at(2026, 3, 29, 12, zone=BEIRUT), at(2026, 3, 28, 22), "2026-03-29"),
        # And back from midnight to 23 h, an hour that belongs to the day before both times.
        (Calendar("day", BEIRUT), at(2026, 10, 24, 20, 30), at(2026, 10, 23, 21), "2026-10-24"),
        (Calendar("day", BEIRUT), at(2026, 10, 24, 21, 30), at(2026, 10, 23, 21), "2026-10-24"),
        # Samoa had no 30 December 2011.
        (Calendar("day", APIA), at(2011, 12, 30, 11), at(2011, 12, 30, 10), "2011-12-31"),
    ],
)
def test_starts_and_labels(period: Period, moment: datetime, start: datetime, label: str) -> None:
    """Each moment belongs to one period, which begins where the clocks of its zone say and is called so."""
    assert period.start(moment) == start
    assert period.label(start) == label


@pytest.mark.parametrize(
    ("period", "name", "shortest"),
    [
        (MINUTE, "60s", timedelta(minutes=1)),
        (HOUR, "3600s", timedelta(hours=1)),
        (Every(timedelta(seconds=7)), "7s", timedelta(seconds=7)),
        # Clocks that go forward take an hour of it, or as in Samoa a day.
        (DAY, "day", timedelta(0)),
        (Calendar("week", BERLIN), "week", timedelta(days=6)),
        (MONTH, "month", timedelta(days=27)),
    ],
)
def test_names_and_lengths(period: Period, name: str, shortest: timedelta) -> None:
    """Keys have the name in them, so that it must never change."""
    assert (period.name, period.shortest) == (name, shortest)


@pytest.mark.parametrize("period", PERIODS, ids=repr)
@given(seconds=st.integers(min_value=-(10**9), max_value=4 * 10**9))
def test_every_moment_is_in_one_period(period: Period, seconds: int) -> None:
    """A period begins at its start, and ends where the next begins, wherever clocks change."""
    then = datetime.fromtimestamp(seconds, UTC)
    start = period.start(then)
    following = period.following(start)
    assert start <= then < following
    assert period.start(start) == start
    assert period.start(following) == following
    assert period.start(following - timedelta(microseconds=1)) == start
    assert following - start >= period.shortest


@pytest.mark.parametrize("period", PERIODS, ids=repr)
def test_periods_in_a_row(period: Period) -> None:
    """They follow each other without gaps, from the one that holds the first moment, to the last before the end."""
    first = at(2026, 3, 28, 12, 0, 3)
    until = first + 40 * period.shortest
    row = list(starts(period, first, until))
    assert row[0] == period.start(first)
    assert all(period.following(one) == other for one, other in pairwise(row))
    assert row[-1] < until <= period.following(row[-1])
    assert len({period.label(start) for start in row}) == len(row)
    assert list(starts(period, row[0], row[0])) == []


@pytest.mark.parametrize(
    ("period", "shortest", "around", "length"),
    [
        (Every(7), timedelta(seconds=7), at(2026, 11, 28), timedelta(seconds=7)),
        (Calendar("day", APIA), timedelta(0), at(2011, 12, 30), timedelta(days=1)),
        (Calendar("week", APIA), timedelta(days=6), at(2011, 12, 28), timedelta(days=6)),  # it had no Friday
        (MONTH, timedelta(days=27), at(2026, 2, 28), timedelta(days=28)),
    ],
)
def test_none_is_shorter(period: Period, shortest: timedelta, around: datetime, length: timedelta) -> None:
    """Than the shortest there can be, where clocks go forward by a day; such a week there was."""
    start = period.start(around)
    assert (period.shortest, period.following(start) - start) == (shortest, length)


def test_a_day_of_25_hours() -> None:
    """Where clocks go back a day is longer, and is one day."""
    day = Calendar("day", BERLIN)
    start = day.start(at(2026, 10, 25, 12))
    assert day.following(start) - start == timedelta(hours=25)


@pytest.mark.parametrize("step", [0, 0.5, 1.5, -60, None, True, "60"])
def test_steps_are_whole_seconds(step: object) -> None:
    """Half a second is no step."""
    with pytest.raises(ConfigurationError, match="step must be"):
        Every(step)  # type: ignore[arg-type]


ENDLESS = timedelta(days=2_920_001)


@pytest.mark.parametrize(
    ("use", "why"),
    [
        (lambda: Every(ENDLESS), "step must be at most 2920000 days"),
        (lambda: Every(9e12), "step must be at most 2920000 days"),
        (lambda: Every(timedelta.max), "step must be less than 2\\*\\*53 ms"),
        (
            lambda: Every(timedelta(days=2_920_000)).start(at(1969, 12, 31)),
            "at must be in a step that began in the year",
        ),
        (lambda: Uniques("x", period=Every(1e11)).add("a", at=at(1969, 12, 31)), "at must be in a step that began"),
        (
            lambda: Leaderboard("x", period=Every(2e11), keep=1).at(at(9000, 1, 1)).here(),
            "start must be that of a period",
        ),
        (
            lambda: Every(60).following(datetime.max.replace(tzinfo=UTC)),
            "start must be that of a period that ends before",
        ),
        (lambda: DAY.following(at(9999, 12, 31)), "start must be that of a period that ends before the year 10000"),
        (lambda: WEEK.following(at(9999, 12, 27)), "start must be that of a period that ends before the year 10000"),
        (lambda: MONTH.following(at(9999, 12, 1)), "start must be that of a period that ends before the year 10000"),
    ],
)
def test_steps_and_periods_beyond_what_datetime_has(use: Callable[[], object], why: str) -> None:
    """They are refused by name too, whether it is the step that is too long or the time that is too far away."""
    with pytest.raises(ConfigurationError, match=why):
        use()


def test_the_longest_step() -> None:
    """What is counted since 1970 in it has a start and an end."""
    longest = Every(timedelta(days=2_920_000))
    assert longest.start(at(9997, 12, 31)) == longest.following(at(1970, 1, 1)) == at(9964, 9, 9)
    assert longest.start(at(2026, 1, 1)) == at(1970, 1, 1)


def test_equal_steps_are_equal() -> None:
    """Whether they were given as a number or as a timedelta."""
    assert Every(60) == Every(60.0) == Every(timedelta(minutes=1)) != Every(61)
    assert hash(Every(60)) == hash(Every(timedelta(minutes=1)))


def test_what_is_no_calendar() -> None:
    """A unit is one of three, and a zone is no text."""
    with pytest.raises(ConfigurationError, match="unit must be one of day, week, month, not 'year'"):
        Calendar("year")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="zone must be a tzinfo"):
        Calendar("day", "Europe/Berlin")  # type: ignore[arg-type]


FAR = [
    datetime.max.replace(tzinfo=UTC),
    datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))),
    datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
]


@pytest.mark.parametrize("far", FAR, ids=str)
@pytest.mark.parametrize(
    "use",
    [
        MONTH.start,
        HOUR.start,
        lambda far: BucketedCounter("x").add(at=far),
        lambda far: Uniques("x").add("a", at=far),
        lambda far: Leaderboard("x", period=WEEK, keep=60).at(far),
        lambda far: Jobs[int]("x").enqueue(1, at=far),
        lambda far: Jobs[int]("x").reschedule("a", at=far),
        lambda far: DelayedQueue[int]("x").put(1, at=far),
    ],
)
def test_moments_that_are_too_far_away(use: Callable[[datetime], object], far: datetime) -> None:
    """They are refused by name, wherever one is taken."""
    with pytest.raises(ConfigurationError, match="at must be in the years 2 to 9997, not"):
        use(far)


@pytest.mark.parametrize("value", [None, 7, datetime(2026, 11, 28)])  # noqa: DTZ001  that is the point
def test_a_moment_has_a_zone(value: object) -> None:
    """A time without a zone could mean any."""
    with pytest.raises(ConfigurationError, match="at must be a datetime with a time zone"):
        moment("at", value)  # type: ignore[arg-type]


@pytest.mark.parametrize(("given", "name"), [(None, "clock"), (datetime(2026, 11, 28), "at")])  # noqa: DTZ001  that is the point
def test_a_clock_is_refused_by_its_own_name(given: datetime | None, name: str) -> None:
    """What a caller did not give is not what the message blames."""
    assert moment_or_now(None, lambda: at(2026, 11, 28)) == at(2026, 11, 28)
    assert moment_or_now(at(2026, 11, 28), lambda: at(2027, 1, 1)) == at(2026, 11, 28)
    with pytest.raises(ConfigurationError, match=f"^{name} must be a datetime with a time zone"):
        moment_or_now(given, lambda: datetime(2026, 11, 28))  # noqa: DTZ001  that is the point
