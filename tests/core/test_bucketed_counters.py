from __future__ import annotations

import random
from collections import Counter as Tally
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redis_patterns import (
    DAY,
    HOUR,
    MINUTE,
    MONTH,
    WEEK,
    BucketedCounter,
    Calendar,
    CommandFailed,
    ConfigurationError,
    Effect,
    ErrorReply,
    Every,
    NotCounted,
    Period,
    Plan,
    Series,
)
from redis_patterns.testing.memory import Clock
from redis_patterns.testing.memory import Server as Memory
from tests.core.lua import RUNTIMES, Fake
from tests.core.nonsense import nonsense

BERLIN, BEIRUT, APIA, KOLKATA = map(ZoneInfo, ("Europe/Berlin", "Asia/Beirut", "Pacific/Apia", "Asia/Kolkata"))
NOW = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)  # the clock of the servers in memory, when they begin
VIEWS = BucketedCounter("views", clock=lambda: NOW)
ONE_HOUR = timedelta(hours=1)


def series(*counts: int, period: Period = MINUTE, first: datetime = NOW) -> Series:
    row = [period.start(first)]
    for _ in counts[1:]:
        row.append(period.following(row[-1]))
    return Series(period, tuple(row[: len(counts)]), counts)


# What is sent


def test_one_script_counts_in_all_resolutions() -> None:
    """Their buckets, and until when each is kept, all in one slot; only an event with an id may be sent twice."""
    keys = [f"counter:{{views}}:{end}" for end in ("60s:2023-11-14T22:00", "3600s:2023-11-14T00:00", "day:2023-11")]
    kept = ("1699999980", 1_700_003_640_000, "1699999200", 1_700_089_200_000, "1699920000", 1_702_598_400_000)
    assert VIEWS.add(2).commands[0].args[2:] == (3, *keys, 2, 1_700_000_000_000, 300_000, 0, 60_000, *kept)
    plan = VIEWS.add(event="e{}", at=NOW)
    told = (1, 1_700_000_000_000, 300_000, 86_400_000, 60_000, *kept)
    assert plan.commands[0].args[2:] == (4, *keys, "counter:{views}:event:e{}", *told)
    assert (VIEWS.add().effect, plan.effect, VIEWS.last(DAY, 1).effect) == (
        Effect.ONCE,
        Effect.IDEMPOTENT,
        Effect.READS,
    )


@pytest.mark.parametrize(
    ("period", "moment", "key"),
    [
        (MINUTE, NOW, "60s:2023-11-14T22:00"),  # two hours of minutes
        (HOUR, NOW, "3600s:2023-11-14T00:00"),  # five days of hours, counted from 1970
        (Every(1), NOW, "1s:2023-11-14T22:12:00"),
        (Every(7), NOW, "7s:2023-11-14T22:06:00"),
        (DAY, NOW, "day:2023-11"),
        (Calendar("day", BERLIN), datetime(2023, 10, 31, 23, tzinfo=UTC), "day:2023-11"),
        (WEEK, datetime(2027, 1, 3, tzinfo=UTC), "week:2026"),  # the ISO year
        (WEEK, datetime(2024, 12, 30, tzinfo=UTC), "week:2025"),
        (MONTH, NOW, "month:2023"),
    ],
)
def test_buckets_are_in_few_hashes(period: Period, moment: datetime, key: str) -> None:
    """A hash has 120 equal steps, a month of days, or a year of weeks or months."""
    counter = BucketedCounter("c", keep={period: 60}, namespace="n")
    assert counter.keys(period, moment) == (f"n:counter:{{c}}:{key}",)


def test_a_day_of_minutes_is_one_round_trip() -> None:
    """Of a dozen commands, thirteen at the most, however it lies; of shards as many each."""
    counter = BucketedCounter("c", keep={MINUTE: 86400}, clock=lambda: NOW - timedelta(hours=2))
    ends = [MINUTE.start(NOW) - timedelta(minutes=late) for late in range(120)]
    plans = [counter.range(MINUTE, end - timedelta(days=1), end) for end in ends]
    assert {len(plan.commands) for plan in plans} == {12, 13}
    assert len(BucketedCounter("c", shards=3, clock=lambda: NOW).last(MINUTE, 10).commands) == 3


# Counting: the model, at random and around the clock changes


ZONES = [UTC, BERLIN, BEIRUT, APIA, KOLKATA]
CHANGES = [
    datetime(2026, 3, 29, 1, tzinfo=UTC),  # Berlin goes forward, and Beirut has no midnight
    datetime(2026, 10, 25, 1, tzinfo=UTC),  # Berlin goes back
    datetime(2011, 12, 30, 10, tzinfo=UTC),  # Samoa leaves a day out
    datetime(2027, 1, 1, tzinfo=UTC),
    NOW,
]


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_the_sum_of_a_range_is_what_was_accepted(data: st.DataObject) -> None:
    """C1: in each resolution and range, whatever comes late or early, in whatever zone; C2: no key is gone too soon."""
    zone, around = data.draw(st.sampled_from(ZONES)), data.draw(st.sampled_from(CHANGES))
    periods: list[Period] = [Every(7), MINUTE, HOUR, *(Calendar(unit, zone) for unit in ("day", "week", "month"))]
    chosen = data.draw(st.lists(st.sampled_from(periods), min_size=1, max_size=3, unique=True))
    kept = {one: data.draw(st.integers(1, 40)) * max(one.shortest.total_seconds(), 7) for one in chosen}
    clock = Clock()
    clock.advance(around.timestamp() - clock.time() if around.timestamp() > clock.time() else 0)
    server = Memory(clock)
    chance = random.Random(data.draw(st.integers(0, 99)))

    def now() -> datetime:
        return datetime.fromtimestamp(server.time(), UTC)

    counter = BucketedCounter("c", keep=kept, clock=now, shards=data.draw(st.integers(1, 3)), chance=chance.random)
    counted: list[tuple[datetime, int]] = []
    for by, late, wait in data.draw(
        st.lists(st.tuples(st.integers(-9, 99), st.integers(-400, 86400 * 2), st.integers(0, 40_000)), max_size=12)
    ):
        at = now() - timedelta(seconds=late)
        still_kept = [period for period, keep in kept.items() if _end(period, at) + timedelta(seconds=keep) > now()]
        refusal = ""
        try:
            server.run(counter.add(by, at=at))
        except NotCounted as error:
            refusal = error.reason
        assert refusal == ("ahead" if late < -300 else "" if still_kept else "old")
        if not refusal:
            counted.append((at, by))
        clock.advance(wait)
    for period, keep in kept.items():
        first = next(at for at in _back(period, now()) if _end(period, at) + timedelta(seconds=keep) <= now())
        ends = now() + timedelta(seconds=400)
        found = server.run(counter.range(period, period.following(first), ends))
        expected = Tally[datetime]()
        for at, by in counted:
            expected[period.start(at)] += by
        assert list(found) == [(start, expected[start]) for start in found.starts]
        assert found.starts[0] == period.following(first)
        halfway = found.starts[len(found.starts) // 2]
        if halfway > found.starts[0]:  # half-open: each half has what the other has not
            halves = [counter.total(period, found.starts[0], halfway), counter.total(period, halfway, ends)]
            assert sum(map(server.run, halves)) == found.total
    assert len(server.expiries()) == len(server.keys())


def _end(period: Period, at: datetime) -> datetime:
    return period.following(period.start(at))


def _back(period: Period, at: datetime) -> Any:
    while True:
        at = period.start(at)
        yield at
        at -= timedelta(microseconds=1)


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_a_bucket_is_kept_for_as_long_as_it_says(version: str) -> None:
    """C2: from the first step on its key has a TTL; no late event and no shorter `keep` takes anything from it."""
    redis = Fake(version)
    counter = BucketedCounter("c", keep={MINUTE: 3600}, clock=lambda: NOW)
    (key,) = counter.keys(MINUTE, NOW)
    ends = int(_end(MINUTE, NOW).timestamp() + 3600 + 60) * 1_000_000
    redis.run(counter.add())
    assert redis.expiry == {key: ends}
    redis.run(counter.add(at=NOW - timedelta(minutes=10)))
    redis.run(BucketedCounter("c", keep={MINUTE: 60}, clock=lambda: NOW).add())
    assert redis.expiry == {key: ends}
    redis.run(counter.add(at=NOW + timedelta(minutes=2)))
    assert redis.expiry == {key: ends + 120_000_000}
    redis.expiry.clear()  # somebody made it permanent
    redis.run(counter.add())
    assert redis.expiry == {key: ends}


@pytest.mark.parametrize("version", sorted(RUNTIMES))
@pytest.mark.parametrize(
    ("at", "now", "answer"),
    [
        (-180_000, -1, 1),  # the first moment of the minute that ended two minutes ago
        (-120_001, -1, 1),  # the last moment of it
        (-180_000, 0, -1),
        (-120_001, 0, -1),
        (-120_000, 0, 1),  # the next minute
        (300_000, 0, 1),
        (300_001, 0, -2),
        (300_001, 1, 1),
    ],
)
def test_the_bounds_are_exact(version: str, at: int, now: int, answer: int) -> None:
    """To the millisecond, by the server's clock: what counts is when a bucket ended, and how far ahead an event is."""
    redis, minute = Fake(version), MINUTE.start(NOW)
    redis.now = int(minute.timestamp() * 1_000_000) + now * 1000
    counter = BucketedCounter("c", keep={MINUTE: 120})
    assert redis.reply(counter.add(at=minute + timedelta(milliseconds=at)).commands[0]) == answer


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_a_late_event_counts_where_it_still_can(version: str) -> None:
    """In days, when its minute is gone: no minute comes back with a part of what it had."""
    redis = Fake(version)
    redis.run(VIEWS.add(at=NOW - timedelta(hours=3)))
    assert set(redis.hashes) == {*VIEWS.keys(HOUR, NOW), *VIEWS.keys(DAY, NOW)}
    with pytest.raises(
        NotCounted, match=r"2023-10-05T22:13:20\+00:00 is not kept any more, so nothing was counted"
    ) as old:
        redis.run(VIEWS.add(at=NOW - timedelta(days=40), event="e"))
    with pytest.raises(NotCounted, match="is too far ahead of the server's clock") as ahead:
        redis.run(VIEWS.add(at=NOW + ONE_HOUR))
    assert (old.value.reason, ahead.value.reason) == ("old", "ahead")
    assert (len(redis.hashes), redis.strings) == (2, {})


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_an_event_counts_once(version: str) -> None:
    """C4: also when it is sent again with another time, and when that is long over."""
    redis = Fake(version)
    counter = BucketedCounter("c", keep={MINUTE: 60}, remember=timedelta(hours=2), clock=lambda: NOW)
    for late in (0, 1, 30):
        redis.run(counter.add(5, event="e", at=NOW - timedelta(seconds=late)))
    redis.now += 7_199_999_000
    redis.run(counter.add(5, event="e"))
    assert [list(hash.values()) for hash in redis.hashes.values()] == []
    assert redis.strings == {"counter:{c}:event:e": ""}
    redis.now += 1000
    with pytest.raises(NotCounted):
        redis.run(counter.add(5, event="e"))
    shortest = BucketedCounter("d", remember=0.001, clock=lambda: NOW)
    redis.run(shortest.add(event="e"))
    assert redis.expiry["counter:{d}:event:e"] == redis.now + 1000


@pytest.mark.parametrize("version", sorted(RUNTIMES))
@pytest.mark.parametrize("sign", [1, -1])
def test_what_would_overflow_changes_nothing(version: str, sign: int) -> None:
    """Not even the resolutions in which it would still fit."""
    redis = Fake(version)
    most = 2**63 - 1024
    redis.run(VIEWS.add(sign * most, at=NOW - timedelta(hours=3)))
    before = {key: dict(hash) for key, hash in redis.hashes.items()}
    answer = redis.reply(VIEWS.add(sign * 2048, event="e").commands[0])
    assert answer == ErrorReply("ERR", "increment or decrement would overflow")
    assert (redis.hashes, redis.strings) == (before, {})
    redis.run(VIEWS.add(-sign * most))
    assert redis.hashes[VIEWS.keys(DAY, NOW)[0]] == {"1699920000": 0}


def test_an_overflow_is_an_error() -> None:
    """Of the library's own."""
    server = Memory()
    server.run(VIEWS.add(2**63 - 2048))
    with pytest.raises(CommandFailed, match="would overflow"):
        server.run(VIEWS.add(2**62))


# Reading


def test_a_range_has_all_its_buckets() -> None:
    """In order, half-open, whole ones, zeros too; up to the one that is open, where no end is given."""
    server = Memory()
    server.run(VIEWS.add(3, at=NOW - timedelta(minutes=3)))
    server.run(VIEWS.add(4))
    start = MINUTE.start(NOW)
    minutes = [start - timedelta(minutes=number) for number in range(5, -1, -1)]
    assert list(server.run(VIEWS.range(MINUTE, minutes[0]))) == list(zip(minutes, (0, 0, 3, 0, 0, 4), strict=True))
    assert server.run(VIEWS.range(MINUTE, minutes[2], minutes[5])).counts == (3, 0, 0)
    assert server.run(VIEWS.range(MINUTE, minutes[2] + timedelta(seconds=59), minutes[3])).counts == (3,)
    assert server.run(VIEWS.total(DAY, NOW)) == server.run(VIEWS.total(MINUTE, minutes[0])) == 7
    assert server.run(VIEWS.range(HOUR, NOW - timedelta(hours=24))).counts == (*[0] * 24, 7)


def test_the_last_buckets() -> None:
    """With the open one, or all of them over."""
    server = Memory()
    for late in range(4):
        server.run(VIEWS.add(late + 1, at=NOW - timedelta(minutes=late)))
    assert server.run(VIEWS.last(MINUTE, 3)).counts == (3, 2, 1)
    assert server.run(VIEWS.last(MINUTE, 3, open=False)).counts == (4, 3, 2)
    assert server.run(VIEWS.last(DAY, 1, open=False)) == series(0, period=DAY, first=NOW - timedelta(days=1))


@pytest.mark.parametrize("reply", [{b"1699999980": b"7", b"5": b"9"}, [b"5", b"9", b"1699999980", b"7"]])
def test_a_hash_in_either_protocol(reply: object) -> None:
    """A map under RESP3, a flat list under RESP2; an absent one is empty, and other buckets are left alone."""
    assert VIEWS.last(MINUTE, 1).parse([reply]) == series(7)
    assert BucketedCounter("views", shards=3, clock=lambda: NOW).last(MINUTE, 1).parse([reply, [], reply]) == series(14)


def test_what_is_kept_can_be_read_a_moment_later() -> None:
    """For a minute: who asks for all of it, as of a moment ago, gets no error and no zeros."""
    server = Memory()
    counter = BucketedCounter("c", keep={MINUTE: 3600}, clock=lambda: datetime.fromtimestamp(server.time(), UTC))
    server.run(counter.add(at=NOW - timedelta(seconds=20)))  # the last moment of a minute
    first = NOW
    server.clock.advance(3600 + 59)
    assert server.run(counter.range(MINUTE, first - timedelta(seconds=20))).counts[0] == 1
    server.clock.advance(2)
    with pytest.raises(ConfigurationError, match="first must be in a period that ended 1:00:00 ago or later"):
        counter.range(MINUTE, first - timedelta(seconds=20) - ONE_HOUR)


# What is made of a series


def test_rates() -> None:
    """Per second: of all, until a moment in the open bucket, and of each bucket, days of 23 and 25 hours included."""
    two = series(120, 60)
    assert (two.rate(), two.rate(two.starts[1] + timedelta(seconds=15))) == (1.5, 2.4)
    assert two.rate(two.starts[0] + ONE_HOUR) == 1.5
    assert two.rates() == (2.0, 1.0)
    day = Calendar("day", BERLIN)
    change = series(25 * 3600, 24 * 3600, period=day, first=datetime(2026, 10, 25, 12, tzinfo=BERLIN))
    assert change.rates() == (1.0, 1.0)
    assert (series().rate(), series().rates()) == (0.0, ())
    with pytest.raises(ConfigurationError, match="until must be after"):
        two.rate(two.starts[0])


def test_closed_buckets() -> None:
    """Those that were over at a moment, the end of the last included."""
    three = series(1, 2, 3)
    assert three.closed(three.starts[2]) == series(1, 2)
    assert three.closed(three.starts[2] + timedelta(seconds=59)).total == 3
    assert three.closed(three.starts[2] + timedelta(seconds=60)) == three
    assert three.closed(three.starts[0]).counts == ()


@pytest.mark.parametrize(
    ("count", "sums"), [(1, (1, 2, -3, 4)), (2, (3, -1, 1)), (3, (0, 3)), (4, (4,)), (5, ()), (99, ())]
)
def test_moving_sums(count: int, sums: tuple[int, ...]) -> None:
    """Each of so many neighbours; none where there are fewer."""
    assert series(1, 2, -3, 4).moving_sums(count) == sums


# Refused


def test_a_counter_is_a_value() -> None:
    """What its mapping becomes afterwards is nothing to it; equal ones have one hash."""
    keep: dict[Period, float] = {MINUTE: 60}
    counter = BucketedCounter("c", keep=keep)
    keep[HOUR] = 5
    keep[MINUTE] = 7
    assert counter.add(at=NOW).commands[0].args[2] == 1
    assert hash(BucketedCounter("c")) == hash(BucketedCounter("c", clock=lambda: NOW))
    assert BucketedCounter("c") == BucketedCounter("c", clock=lambda: NOW)


NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001  that is the point
LONG = BucketedCounter("c", keep={MONTH: 5, Every(timedelta(days=30)): 5}, clock=lambda: NOW)
REFUSED: list[tuple[str, Callable[[], object]]] = [
    *[("name", lambda name=name: BucketedCounter(name)) for name in nonsense("", None, 7)],
    ("namespace", lambda: BucketedCounter("c", namespace=None)),  # type: ignore[arg-type]
    *[("keep", lambda keep=keep: BucketedCounter("c", keep=keep)) for keep in nonsense({}, None, {"day": 5}, {DAY: 0})],
    ("keep", lambda: BucketedCounter("c", keep={DAY: 5, Calendar("day", BERLIN): 5})),
    ("keep", lambda: BucketedCounter("c", keep={Every(timedelta(days=24_334)): 5})),
    *[("clock", lambda time=time: BucketedCounter("c", clock=lambda: time).add()) for time in nonsense(NAIVE, None)],
    ("clock", lambda: BucketedCounter("c", clock=lambda: NAIVE).last(DAY, 1)),
    ("clock", lambda: BucketedCounter("c", clock=lambda: NAIVE).range(DAY, NOW)),
    *[("ahead", lambda time=time: BucketedCounter("c", ahead=time)) for time in nonsense(-1, None)],
    *[("remember", lambda time=time: BucketedCounter("c", remember=time)) for time in nonsense(0, None)],
    *[("shards", lambda count=count: BucketedCounter("c", shards=count)) for count in nonsense(0, 1001, True)],
    *[("by", lambda by=by: VIEWS.add(by)) for by in nonsense(1.5, None, True, 2**63)],
    *[("event", lambda event=event: VIEWS.add(event=event)) for event in nonsense("", 7)],
    *[("at", lambda at=at: VIEWS.add(at=at)) for at in nonsense(NAIVE, 5, "now")],
    *[("period", lambda period=period: VIEWS.last(period, 1)) for period in nonsense(WEEK, Every(5), "day", None)],
    *[("period", lambda call=call: call(MONTH, NOW)) for call in nonsense(VIEWS.range, VIEWS.total, VIEWS.keys)],
    *[("count", lambda count=count: VIEWS.last(DAY, count)) for count in nonsense(0, -1, 50_001, 1.5, True)],
    *[("count", lambda every=every: LONG.last(every, 50_000)) for every in (MONTH, Every(timedelta(days=30)))],
    *[("first", lambda first=first: VIEWS.range(DAY, first)) for first in nonsense(NAIVE, NOW + ONE_HOUR * 24, 5)],
    ("first", lambda: VIEWS.range(DAY, NOW, NOW)),
    ("first", lambda: VIEWS.range(DAY, NOW - timedelta(days=40))),
    ("first", lambda: VIEWS.range(MINUTE, NOW, NOW + timedelta(days=100))),
    ("first", lambda: VIEWS.range(DAY, NOW, datetime(9997, 1, 1, tzinfo=UTC))),
    ("until", lambda: VIEWS.range(DAY, NOW, datetime.max.replace(tzinfo=UTC))),
    ("until", lambda: VIEWS.range(DAY, NOW, NAIVE)),
    ("count", lambda: series(1).moving_sums(0)),
]  # fmt: skip


@pytest.mark.parametrize(("argument", "made"), REFUSED)
def test_what_is_refused(argument: str, made: Callable[[], object]) -> None:
    """Nonsense is refused by its name, when the plan is built."""
    with pytest.raises(ConfigurationError, match=f"^{argument} must "):
        made()


def test_the_most_buckets_are_allowed() -> None:
    """As many as the errors name, and none more."""
    minute = timedelta(minutes=1)
    counter = BucketedCounter("c", keep={MINUTE: 86400 * 60}, ahead=0, clock=lambda: NOW)
    for plan in (counter.last(MINUTE, 50_000), counter.range(MINUTE, NOW - 49_999 * minute)):
        assert len(plan.parse([[]] * len(plan.commands)).starts) == 50_000
    with pytest.raises(ConfigurationError, match="first must be at most 50000 periods before until"):
        counter.range(MINUTE, NOW - 50_000 * minute)


def test_a_plan_is_printed_with_its_bucket() -> None:
    """The script's name, its keys, and nothing that one would have to look up."""
    plan: Plan[None] = VIEWS.add()
    assert plan.explain().startswith("# counter_count.lua\nEVALSHA ")
    assert VIEWS.last(DAY, 2).explain() == "HGETALL counter:{views}:day:2023-11"
