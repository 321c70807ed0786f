from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any, cast

import pytest

from redis_patterns import (
    GCRA,
    AllOf,
    ConfigurationError,
    Decision,
    DecodeError,
    Effect,
    ErrorReply,
    FixedWindow,
    LeakyBucket,
    Limit,
    Plan,
    RateLimited,
    SlidingCounter,
    SlidingLog,
    TokenBucket,
)
from redis_patterns.testing import Dry
from redis_patterns_core.keys import slot
from tests.core.limit_models import Bucket, Counter, Fixed, Log, Model
from tests.core.lua import RUNTIMES, Fake, sent

SECOND = 1_000_000


def microseconds(decision: Decision) -> tuple[bool, int, int | None, int, int]:
    retry = decision.retry_after
    return (
        decision.allowed,
        decision.remaining,
        None if retry is None else round(retry * SECOND),
        round(decision.reset_after * SECOND),
        round(decision.next_after * SECOND),
    )


def bucket(capacity: int, rate: float | Fraction, exact: Fraction) -> tuple[Limit, Callable[[], Model], int]:
    limit = TokenBucket("b", capacity=capacity, refill_rate=rate)
    return limit, lambda: Bucket(capacity, exact), math.ceil(1 / exact)


def windowed(
    kind: type[FixedWindow | SlidingLog | SlidingCounter], model: type[Fixed | Log | Counter], limit: int, per: float
) -> tuple[Limit, Callable[[], Model], int]:
    width = round(per * SECOND)
    return kind("b", limit=limit, per=per), lambda: model(limit, width), width // limit


# For each limit what it means, and about how many microseconds it has for one.
CASES: dict[str, tuple[Limit, Callable[[], Model], int]] = {
    "bucket 10/s": bucket(100, 10.0, Fraction(10, SECOND)),
    "bucket 7/s": bucket(5, 7, Fraction(7, SECOND)),
    "bucket 1/3 per s": bucket(3, 1 / 3, Fraction(1, 3 * SECOND)),
    "bucket 1000/day": bucket(50, 1000 / 86400, Fraction(1000, 86400 * SECOND)),
    "bucket 1/30 days": bucket(2, 1 / 2_592_000, Fraction(1, 2_592_000 * SECOND)),
    "bucket 1.5 million/s": bucket(10_000, 1.5e6, Fraction(3, 2)),
    "bucket a fraction": bucket(4, Fraction(22, 7), Fraction(22, 7 * SECOND)),
    "gcra 90/min": (
        GCRA("b", limit=90, per=60, burst=7),
        lambda: Bucket(7, Fraction(90, 60 * SECOND)),
        60 * SECOND // 90,
    ),
    "leaky 2/s": (
        LeakyBucket("b", capacity=6, leak_rate=2),
        lambda: Bucket(6, Fraction(2, SECOND)),
        SECOND // 2,
    ),
    "fixed 5/s": windowed(FixedWindow, Fixed, 5, 1),
    "fixed 100/min": windowed(FixedWindow, Fixed, 100, 60),
    "fixed 3/ms": windowed(FixedWindow, Fixed, 3, 0.001),
    "fixed 1/30 days": windowed(FixedWindow, Fixed, 1, 2_592_000),
    "log 5/s": windowed(SlidingLog, Log, 5, 1),
    "log 100/min": windowed(SlidingLog, Log, 100, 60),
    "log 3/ms": windowed(SlidingLog, Log, 3, 0.001),
    "log 1/30 days": windowed(SlidingLog, Log, 1, 2_592_000),
    "counter 5/s": windowed(SlidingCounter, Counter, 5, 1),
    "counter 100/min": windowed(SlidingCounter, Counter, 100, 60),
    "counter 3/ms": windowed(SlidingCounter, Counter, 3, 0.001),
    "counter 1/30 days": windowed(SlidingCounter, Counter, 1, 2_592_000),
}


@pytest.mark.parametrize("version", sorted(RUNTIMES))
@pytest.mark.parametrize("name", CASES)
def test_the_script_agrees_with_the_model(name: str, version: str) -> None:
    """Random hits over a clock that also stands and steps back: every number is exact, in both Luas."""
    limit, make, pace = CASES[name]
    redis, model = Fake(version), make()
    chance = random.Random(f"{name} {version}")
    most = limit.most
    refused = 0
    for _ in range(1250):
        redis.now += chance.choice(
            [0, 1, chance.randrange(pace + 1), chance.randrange(3 * pace + 1), -chance.randrange(pace)]
        )
        redis.expire()
        if not redis.expiry:
            # Gone is idle; a clock that steps back now does not bring back what was taken.
            model = make()
        cost = chance.choice([1, 1, 1, 2, chance.randint(1, most), most, most + 1])
        before = redis.state()
        peeked = redis.run(limit.peek("id", cost))
        assert redis.state() == before, "a peek writes nothing"
        decision = redis.run(limit.hit("id", cost))
        assert microseconds(decision) == model.take(redis.now, cost)
        assert (peeked.allowed, peeked.retry_after) == (decision.allowed, decision.retry_after)
        if decision.allowed:
            (left,) = redis.expiry.values()
            assert left - redis.now >= decision.reset_after * SECOND, "a key that matters does not expire"
            # A counter's state says more than when it is idle again; all others leave when they are.
            surplus = model.longest if name.startswith("counter") else 3000
            assert left - redis.now <= decision.reset_after * SECOND + surplus, "and does not outlive what it says"
        else:
            refused += 1
            assert redis.state() == before, "a refused hit writes nothing"
            if decision.retry_after is None:
                assert cost > most
            else:
                moment, wait = redis.now, round(decision.retry_after * SECOND)
                redis.now = moment + wait - 1
                assert not redis.run(limit.peek("id", cost)), "a microsecond earlier is too early"
                redis.now = moment + wait
                assert redis.run(limit.peek("id", cost)), "whoever waits as told is let in"
                redis.now = moment
                redis.expiry, redis.strings, redis.lists = before[1], *_split(before[0])
    assert refused > 100


def _split(values: dict[str, str | tuple[str, ...]]) -> tuple[dict[str, str], dict[str, list[str]]]:
    return (
        {key: value for key, value in values.items() if isinstance(value, str)},
        {key: list(value) for key, value in values.items() if not isinstance(value, str)},
    )


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_a_bucket_starts_full_and_is_full_again_when_its_key_is_gone(version: str) -> None:
    """An absent key means a full bucket, and the key leaves at the moment when that is true."""
    bucket, redis = TokenBucket("b", capacity=2, refill_rate=4), Fake(version)
    assert redis.run(bucket.hit("id")) == Decision(True, 2, 1, 0.0, 0.25, 0.25, name="b")
    assert redis.run(bucket.hit("id")) == Decision(True, 2, 0, 0.0, 0.5, 0.25, name="b")
    assert redis.run(bucket.hit("id")) == Decision(False, 2, 0, 0.25, 0.5, 0.25, name="b")
    assert redis.run(bucket.hit("other")).allowed
    assert redis.strings == {
        "bucket:{id}:b": f"500000 {redis.now} 250000",
        "bucket:{other}:b": f"250000 {redis.now} 250000",
    }
    redis.now += 501_000
    assert redis.run(bucket.peek("id")) == Decision(True, 2, 2, 0.0, 0.0, 0.0, name="b")
    assert redis.strings == {}


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_a_changed_rate_keeps_what_is_owed(version: str) -> None:
    """Four tokens owed at one rate are four tokens owed at another; a smaller bucket takes longer to open."""
    redis = Fake(version)
    assert redis.run(TokenBucket("b", capacity=5, refill_rate=1).hit("id", 4)).remaining == 1
    assert redis.run(TokenBucket("b", capacity=5, refill_rate=3).peek("id")).remaining == 1
    assert redis.run(TokenBucket("b", capacity=9, refill_rate=1 / 7).peek("id")).remaining == 5
    smaller = redis.run(TokenBucket("b", capacity=2, refill_rate=1).peek("id"))
    assert (smaller.remaining, smaller.retry_after, smaller.reset_after) == (0, 3.0, 4.0)


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_a_key_of_somebody_else_is_not_overwritten(version: str) -> None:
    """What is no bucket is an error, and stays as it is."""
    bucket, redis = TokenBucket("b", capacity=2, refill_rate=1), Fake(version)
    redis.strings["bucket:{id}:b"] = "hello"
    assert redis.reply(bucket.hit("id").commands[0]) == ErrorReply("CORRUPT", "this key holds no such limit")
    assert redis.strings == {"bucket:{id}:b": "hello"}


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_time_is_read_once(version: str) -> None:
    """Up to Redis 7.0 the clock moves while a script runs."""
    redis = Fake(version)
    redis.run(TokenBucket("b", capacity=2, refill_rate=1).hit("id"))
    assert [call[0] for call in redis.calls].count("TIME") == 1


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_the_largest_buckets_count_exactly(version: str) -> None:
    """At the edge of what a double counts exactly, one token more is still one token."""
    period = 2_592_000  # a token a month, in seconds
    capacity = 2**53 // (2 * period * SECOND)
    bucket, redis = TokenBucket("b", capacity=capacity, refill_rate=Fraction(1, period)), Fake(version)
    assert redis.run(bucket.hit("id", capacity - 1)).remaining == 1
    assert redis.run(bucket.hit("id")).remaining == 0
    refused = redis.run(bucket.hit("id"))
    assert (refused.allowed, refused.retry_after) == (False, period)
    with pytest.raises(ConfigurationError, match=r"capacity and refill_rate.*2\*\*53"):
        TokenBucket("b", capacity=capacity + 1, refill_rate=Fraction(1, period))


def test_a_decision_is_true_when_it_allows() -> None:
    """An ``if`` around a decision asks whether the hit may go ahead."""
    assert Decision(True, 1, 0, 0.0, 1.0, 1.0)
    assert not Decision(False, 1, 0, 1.0, 1.0, 1.0)


def test_what_is_shown_of_a_decision() -> None:
    """What is the usual is left out, and so are the ids of whom it took from."""
    taken = (("bucket:{ann}:b", 1, 7, 0),)
    shown = "Decision(allowed=True, limit=2, remaining=1, retry_after=0.0, reset_after=0.25, next_after=0.25"
    assert repr(Decision(True, 2, 1, 0.0, 0.25, 0.25, taken=taken)) == f"{shown})"
    assert repr(Decision(True, 2, 1, 0.0, 0.25, 0.25, 0.5, "b", "local")) == (
        f"{shown}, delay=0.5, name='b', source='local')"
    )


def test_never_is_not_a_long_wait() -> None:
    """A hit that costs more than the bucket holds will never be allowed, and says so."""
    bucket = TokenBucket("b", capacity=2, refill_rate=1)
    assert bucket.hit("id", 3).parse([[0, 2, -1, 0, 0, 0, 0, 0]]).retry_after is None


@pytest.mark.parametrize("reply", [None, [1, 2, 3, 4], [1, 2, 3, 4, 5, 6, 7, b"8"], b"x", [1, 2, 3, 4, 5, 6, 7]])
def test_a_malformed_answer_is_a_decode_error(reply: object) -> None:
    """What is not eight integers is no answer of the script."""
    with pytest.raises(DecodeError):
        TokenBucket("b", capacity=2, refill_rate=1).hit("id").parse([reply])


@pytest.mark.parametrize(
    ("rate", "exact"),
    [
        (10, Fraction(10)),
        (0.1, Fraction(1, 10)),
        (1 / 3, Fraction(1, 3)),
        (2 / 3, Fraction(2, 3)),
        (1000 / 86400, Fraction(5, 432)),
        (1 / 2_592_000, Fraction(1, 2_592_000)),
        (100 / 60, Fraction(5, 3)),
        (Fraction(7, 11), Fraction(7, 11)),
    ],
)
def test_a_float_rate_stands_for_the_fraction_that_was_meant(rate: float | Fraction, exact: Fraction) -> None:
    """A division that a person wrote is taken for its exact result."""
    bucket = TokenBucket("b", capacity=1, refill_rate=rate)
    tokens, period = bucket.hit("id").commands[0].args[7:9]
    assert Fraction(int(tokens) * SECOND, int(period)) == exact


@pytest.mark.parametrize("rate", [0, -1, math.nan, math.inf, None, "10", True, Fraction(0), Fraction(-1, 2)])
def test_a_rate_is_a_positive_number(rate: object) -> None:
    """A bucket that never fills is a mistake."""
    with pytest.raises(ConfigurationError, match="refill_rate must be"):
        TokenBucket("b", capacity=1, refill_rate=rate)  # type: ignore[arg-type]


def test_a_leaky_bucket_names_its_own_numbers() -> None:
    """The rate of one that delays is how fast it leaks."""
    with pytest.raises(ConfigurationError, match=r"^leak_rate must be more than 0"):
        LeakyBucket("x", capacity=1, leak_rate=0)
    with pytest.raises(ConfigurationError, match=r"^capacity must"):
        LeakyBucket("x", capacity=0, leak_rate=1)


@pytest.mark.parametrize("number", [0, -1, 1.5, None, True, "3", 2**53])
def test_capacity_and_cost_are_positive_whole_numbers(number: object) -> None:
    """Half a hit does not exist, and a free one neither."""
    with pytest.raises(ConfigurationError, match="capacity"):
        TokenBucket("b", capacity=number, refill_rate=1)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="cost"):
        TokenBucket("b", capacity=1, refill_rate=1).hit("id", number)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", None, 7, b"x", "\ud800"])
def test_names_and_ids_are_text(text: object) -> None:
    """An empty id is more often a mistake than an id."""
    with pytest.raises(ConfigurationError, match="name"):
        TokenBucket(text, capacity=1, refill_rate=1)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="id must be"):
        TokenBucket("b", capacity=1, refill_rate=1).hit(text)  # type: ignore[arg-type]


# Windows that change, refusals that cost, refunds

EVERY: dict[str, Limit] = {
    "fixed": FixedWindow("x", limit=5, per=10),
    "log": SlidingLog("x", limit=5, per=10),
    "counter": SlidingCounter("x", limit=5, per=10),
    "bucket": TokenBucket("x", capacity=5, refill_rate=0.5),
    "gcra": GCRA("x", limit=5, per=10),
    "leaky": LeakyBucket("x", capacity=5, leak_rate=0.5),
}


def changed(limit: Limit, /, **options: Any) -> Limit:
    """Give a limit with other values."""
    made: Limit = replace(cast("Any", limit), **options)  # all of them are dataclasses
    return made


every = pytest.mark.parametrize("limit", EVERY.values(), ids=EVERY)
lua = pytest.mark.parametrize("version", sorted(RUNTIMES))


def at_the_start(version: str) -> Fake:
    """Give a Redis at the start of a window of ten seconds."""
    redis = Fake(version)
    redis.now -= redis.now % (10 * SECOND)
    return redis


@pytest.mark.parametrize(
    ("make", "name", "line", "effect"),
    [
        (
            lambda: FixedWindow("x", limit=5, per=10).hit("id", 2),
            "fixed_window.hit",
            "rate_limit 1 ratelimit:{id}:fixed:x hit fixed 5 10000000 0 2 0",
            Effect.ONCE,
        ),
        (
            lambda: SlidingLog("x", limit=5, per=10).peek("id"),
            "sliding_log.peek",
            "rate_limit 1 ratelimit:{id}:log:x peek log 5 10000000 0 1 0",
            Effect.READS,
        ),
        (
            lambda: SlidingCounter("x", limit=5, per=10, charge_refused=True, namespace="n").hit("id"),
            "sliding_counter.hit",
            "rate_limit 1 n:ratelimit:{id}:counter:x hit counter 5 10000 0 1 1",
            Effect.ONCE,
        ),
        (
            lambda: TokenBucket("x", capacity=5, refill_rate=0.5).hit("id"),
            "token_bucket.hit",
            "rate_limit 1 bucket:{id}:x hit bucket 5 1 2000000 1 0",
            Effect.ONCE,
        ),
        (
            lambda: GCRA("x", limit=7, per=3, burst=2, namespace="n").peek("id"),
            "gcra.peek",
            "rate_limit 1 n:bucket:{id}:x peek bucket 2 7 3000000 1 0",
            Effect.READS,
        ),
        (
            lambda: LeakyBucket("x", capacity=5, leak_rate=0.5).hit("id"),
            "leaky_bucket.hit",
            "rate_limit 1 bucket:{id}:x hit bucket 5 1 2000000 1 0",
            Effect.ONCE,
        ),
        (
            lambda: AllOf(EVERY["fixed"], changed(EVERY["bucket"], charge_refused=True)).hit("id", [1, 2]),
            "all_of.hit",
            "rate_limit 2 ratelimit:{id}:fixed:x bucket:{id}:x hit fixed 5 10000000 0 1 0 bucket 5 1 2000000 2 1",
            Effect.ONCE,
        ),
        (
            lambda: AllOf(EVERY["fixed"]).peek("id"),
            "all_of.peek",
            "rate_limit 1 ratelimit:{id}:fixed:x peek fixed 5 10000000 0 1 0",
            Effect.READS,
        ),
        (lambda: EVERY["log"].reset("id"), "sliding_log.reset", "DEL ratelimit:{id}:log:x", Effect.IDEMPOTENT),
        (
            lambda: AllOf(EVERY["fixed"], EVERY["bucket"]).reset("id"),
            "all_of.reset",
            "DEL ratelimit:{id}:fixed:x bucket:{id}:x",
            Effect.IDEMPOTENT,
        ),
        *[
            (
                lambda kind=kind: EVERY[kind].refund(
                    Decision(True, 5, 4, 0.0, 0.0, 0.0, taken=((EVERY[kind].key("id"), 3, 7, 9),))
                ),
                f"{EVERY[kind].word}.refund",
                f"rate_limit_refund 1 {EVERY[kind].key('id')} {told} 7 9 3",
                Effect.ONCE,
            )
            for kind, told in (
                ("fixed", "fixed 10000000 0"),
                ("counter", "counter 10000 0"),
                ("log", "log 10000000 0"),
                ("bucket", "bucket 1 2000000"),
            )
        ],
        (
            lambda: AllOf(EVERY["fixed"]).refund(Decision(False, 5, 4, 0.0, 0.0, 0.0)),
            "all_of.refund",
            "",
            Effect.READS,
        ),
    ],
)
def test_what_is_sent(make: Callable[[], Plan[Any]], name: str, line: str, effect: Effect) -> None:
    """One command for one id; what takes or gives is sent once."""
    plan = make()
    assert (plan.name, sent(plan), plan.effect) == (name, line, effect)


@every
@lua
def test_a_refused_hit_costs_nothing(version: str, limit: Limit) -> None:
    """Costs of 4, 3 and 1 at a limit of 5: the second is refused, and the third fits."""
    redis = at_the_start(version)
    assert [redis.run(limit.hit("id", cost)).allowed for cost in (4, 3, 1)] == [True, False, True]


@every
@lua
def test_a_refused_hit_costs_where_it_shall(version: str, limit: Limit) -> None:
    """With charge_refused the second takes what is left, and one that never fits still nothing."""
    redis = at_the_start(version)
    limit = changed(limit, charge_refused=True)
    assert [redis.run(limit.hit("id", cost)).allowed for cost in (4, 6, 3, 1)] == [True, False, False, False]
    assert redis.run(limit.peek("id")).remaining == 0
    assert all(left > redis.now for left in redis.expiry.values())


@lua
def test_who_does_not_stop_is_not_let_in(version: str) -> None:
    """A log that remembers refusals keeps out who asks all the time, and stays within its bound."""
    redis = at_the_start(version)
    limit = SlidingLog("x", limit=5, per=10, charge_refused=True)
    for _ in range(100):
        redis.run(limit.hit("id"))
        redis.now += SECOND
    assert not redis.run(limit.peek("id"))
    assert len(redis.lists[limit.key("id")]) <= 6
    redis.now += 10 * SECOND
    assert redis.run(limit.peek("id")).remaining == 5


@every
@lua
def test_a_refund_gives_back_what_was_taken(version: str, limit: Limit) -> None:
    """Everything is as it was before, and no TTL is lost."""
    redis = at_the_start(version)
    redis.run(limit.hit("id", 2))
    before = redis.run(limit.peek("id"))
    taken = redis.run(limit.hit("id", 3))
    assert taken.remaining == 0
    assert redis.run(limit.refund(taken)) is True
    assert redis.run(limit.peek("id")).remaining == before.remaining == 3
    assert set(redis.expiry) == {limit.key("id")}
    refused = redis.run(limit.hit("id", 4))
    assert limit.refund(refused).commands == ()
    assert limit.refund(refused).parse([]) is False


@pytest.mark.parametrize("cost", [1, 5])
@every
@lua
def test_a_refund_of_all_that_was_taken(version: str, limit: Limit, cost: int) -> None:
    """Everything can be taken again, and what has no meaning any more does not stay longer than it was to."""
    redis = at_the_start(version)
    taken = redis.run(limit.hit("id", cost))
    assert redis.run(limit.refund(taken)) is True
    assert redis.run(limit.peek("id")).remaining == 5
    assert not redis.lists, "a log without entries is gone"
    assert redis.run(limit.hit("id", 5)).remaining == 0


@pytest.mark.parametrize(
    ("hits", "refunded", "remaining"),
    [
        # Capacity 10, one a second. Hits are (second, cost); refunds are asked for at the last one's time.
        ([(0, 8), (7, 1)], [0], 9),  # of 8 one has not come back
        ([(0, 10), (8, 5)], [0], 5),  # of 10 two, and the five count
        ([(0, 8), (7, 2), (7, 5)], [0], 3),
        ([(0, 3), (0, 5), (4, 1)], [1], 9),  # the turn of the 5 began after 3 s, so one has come back
        ([(0, 3), (0, 5), (4, 1)], [0], 5),  # and the 3 are all back
        ([(0, 3), (0, 5), (1, 1)], [1], 7),  # its turn has not begun
        ([(0, 9), (0, 1), (0, 0)], [0], 9),
        ([(0, 9), (0, 1), (5, 1)], [0, 1], 9),  # with the 9 gone the turn of the 1 was over after a second
        ([(0, 9), (0, 1), (5, 1)], [1, 0], 9),
        ([(0, 4), (0, 4), (2, 1), (2, 1)], [0, 1, 2, 3], 10),
    ],
)
@pytest.mark.parametrize("kind", ["token", "gcra", "leaky"])
@lua
def test_a_refund_of_what_has_come_back_in_part(
    version: str, kind: str, hits: list[tuple[int, int]], refunded: list[int], remaining: int
) -> None:
    """What a bucket is owed comes back in order, and a refund gives back what is left of it: nothing twice."""
    redis = at_the_start(version)
    limit: Limit = TokenBucket("x", capacity=10, refill_rate=1)
    if kind != "token":
        limit = GCRA("x", limit=1, per=1, burst=10) if kind == "gcra" else LeakyBucket("x", capacity=10, leak_rate=1)
    begin, taken = redis.now, list[Decision]()
    for second, cost in hits:
        redis.now = begin + second * SECOND
        if cost:
            taken.append(redis.run(limit.hit("id", cost)))
    assert all(taken)
    for place in refunded:
        redis.run(limit.refund(taken[place]))
    assert redis.run(limit.peek("id")).remaining == remaining


@lua
def test_what_a_refund_of_a_bucket_writes(version: str) -> None:
    """Of who came last it leaves no trace; of one who has others behind, what was given, until that has passed."""
    redis, bucket = at_the_start(version), TokenBucket("b", capacity=10, refill_rate=1)
    key, begin = bucket.key("id"), redis.now
    first, second, third = (redis.run(bucket.hit("id", cost)) for cost in (3, 2, 1))
    redis.now += SECOND
    assert redis.run(bucket.refund(third)) is True
    assert redis.strings[key] == f"5000000 {begin} 1000000"
    assert redis.run(bucket.refund(first)) is True
    assert redis.strings[key] == f"2000000 {begin} 1000000 3000000"
    redis.run(bucket.hit("id"))
    assert redis.strings[key] == f"2000000 {begin + SECOND} 1000000 3000000"
    assert redis.expiry[key] == redis.now + 5_001_000, "it outlives the turn of the second, as that was when it came"
    redis.now += 4 * SECOND
    assert redis.run(TokenBucket("b", capacity=20, refill_rate=2).hit("id")).remaining == 19
    assert redis.strings[key] == f"500000 {redis.now} 500000"
    redis.run(bucket.hit("id", 4))
    assert redis.run(bucket.refund(second)) is False
    assert redis.run(bucket.peek("id")).remaining == 5


@lua
def test_a_changed_rate_keeps_what_was_given(version: str) -> None:
    """In the new unit, as what is owed; a refund of the old rate's hits gives nothing, as their turns are not known."""
    redis, bucket = at_the_start(version), TokenBucket("b", capacity=10, refill_rate=1)
    first, second = (redis.run(bucket.hit("id", cost)) for cost in (6, 4))
    redis.run(bucket.refund(first))
    faster = TokenBucket("b", capacity=10, refill_rate=2)
    third = redis.run(faster.hit("id", 2))
    assert redis.strings[bucket.key("id")] == f"3000000 {redis.now} 500000 3000000"
    assert redis.run(bucket.refund(second)) is False
    assert redis.run(faster.refund(third)) is True
    assert redis.run(faster.peek("id")).remaining == 6


@lua
def test_a_refund_after_a_reset(version: str) -> None:
    """Less is owed than what was taken, so that does not count any more, and others' hits are not given back."""
    redis, bucket = at_the_start(version), TokenBucket("b", capacity=10, refill_rate=1)
    taken = redis.run(bucket.hit("id", 8))
    redis.strings.clear()
    redis.expiry.clear()
    redis.run(bucket.hit("id", 5))
    assert redis.run(bucket.refund(taken)) is False
    assert redis.run(bucket.peek("id")).remaining == 5


@lua
def test_refunds_where_one_is_worth_less_than_a_microsecond(version: str) -> None:
    """Who came after another one is not taken for nobody, however short its turn."""
    redis, bucket = at_the_start(version), TokenBucket("b", capacity=100, refill_rate=1.5e6)
    first, second = redis.run(bucket.hit("id", 9)), redis.run(bucket.hit("id"))
    assert redis.run(bucket.refund(first)) is True
    redis.now += 3
    redis.run(bucket.hit("id", 3))
    assert redis.run(bucket.refund(second)) is False
    assert redis.run(bucket.peek("id")).remaining == 97


@pytest.mark.parametrize("when", ["at once", "after each"])
@lua
def test_nothing_is_lost_by_refunds_while_others_come(version: str, when: str) -> None:
    """Who leaves the line of a bucket gives back all of its turn, whoever has come meanwhile and whoever leaves too."""
    redis, leaky = at_the_start(version), LeakyBucket("x", capacity=10, leak_rate=50)
    stays = redis.run(leaky.hit("id", 5))
    given_up = list[Decision]()
    for _ in range(1000):
        redis.now += 10
        given_up.append(redis.run(leaky.hit("id", 2)))
        if when == "after each" or len(given_up) == 2:
            for decision in given_up:
                assert redis.run(leaky.refund(decision)) is True
            given_up.clear()
    assert stays.allowed
    assert redis.run(leaky.peek("id")) == Decision(True, 10, 5, 0.0, 0.09, 0.01, delay=0.09, name="x")


@pytest.mark.parametrize("version", sorted(RUNTIMES))
@pytest.mark.parametrize("name", CASES)
def test_a_refund_gives_no_more_than_if_nobody_had_taken(name: str, version: str) -> None:
    """Random hits, some of which are refunded, late or at once, in any order: of a window there is exactly as much then
    as without them, and of a bucket never more.
    """
    limit, make, pace = CASES[name]
    redis, chance = Fake(version), random.Random(f"refunds {name} {version}")
    is_bucket = limit.key("id").startswith("bucket:")
    hits, taken, begun, newest, given = dict[int, tuple[int, int]](), list[tuple[int, Decision]](), 0, 0, 0
    for number in range(500):
        redis.now += chance.choice([0, 1, chance.randrange(pace + 1), chance.randrange(3 * pace + 1)])
        if is_bucket and chance.random() < 0.2:
            redis.now = max(begun, redis.now - chance.randrange(pace))
        redis.expire()
        if not redis.expiry:
            # What was taken is forgotten here as there; that the clock steps back behind this is another matter.
            begun = newest = redis.now
            hits.clear()
        decision = redis.run(limit.hit("id", chance.choice([1, 1, chance.randint(1, limit.most)])))
        if decision.allowed:
            newest = max(newest, redis.now)
            hits[number] = (newest, decision.taken[0][1])
            taken.append((number, decision))
        for _ in range(chance.choice([0, 0, 1, 2])):
            if taken:
                which, back = taken.pop(chance.choice([-1, chance.randrange(len(taken))]))
                given += redis.run(limit.refund(back))
                hits.pop(which, None)
                without = make()
                without.taken = list(hits.values())
                moment, peeked = max(newest, redis.now), redis.run(limit.peek("id"))
                room, reset = max(0, without.room(moment)), without.until(moment, limit.most)
                assert peeked.remaining <= room if is_bucket else peeked.remaining == room
                waits = round(peeked.reset_after * SECOND)
                assert waits >= reset if is_bucket else waits == reset
    assert given > 50


@every
@lua
def test_a_refund_comes_too_late(version: str, limit: Limit) -> None:
    """What has flowed back by itself is not given a second time, and what is gone is not made anew."""
    redis = at_the_start(version)
    taken = redis.run(limit.hit("id", 3))
    redis.now += 40 * SECOND
    redis.expire()
    assert redis.run(limit.refund(taken)) is False
    assert redis.state() == ({}, {})
    redis.run(limit.hit("id", 5))
    assert redis.run(limit.refund(taken)) is False
    assert redis.run(limit.peek("id")).remaining == 0


@pytest.mark.parametrize(
    ("refunded", "reset", "tail"), [(2, 8, "2 1"), (1, 9, "2 2"), (0, 9, "2 2")], ids=["newest", "middle", "oldest"]
)
@lua
def test_a_refunded_hit_is_not_the_newest_of_a_log(version: str, refunded: int, reset: float, tail: str) -> None:
    """All can be taken again when the last of those that count leaves, also where the refunded one would have later."""
    redis, log = at_the_start(version), SlidingLog("x", limit=5, per=10)
    begin, taken = redis.now, list[Decision]()
    for second in range(3):
        redis.now = begin + second * SECOND
        taken.append(redis.run(log.hit("id")))
    redis.now += SECOND
    assert redis.run(log.refund(taken[refunded])) is True
    used, last = tail.split()
    assert redis.lists[log.key("id")][-1] == f"{used} {begin + int(last) * SECOND}"
    assert redis.run(log.peek("id")).reset_after == reset
    assert redis.run(log.hit("id")).reset_after == 10


@lua
def test_a_refund_of_the_last_window(version: str) -> None:
    """A counter takes it off where it counts now; a fixed window has begun anew."""
    redis = at_the_start(version)
    counter, fixed = SlidingCounter("x", limit=10, per=10), FixedWindow("x", limit=10, per=10)
    first, other = redis.run(counter.hit("id", 8)), redis.run(fixed.hit("id", 8))
    redis.now += 10 * SECOND
    assert redis.run(counter.hit("id")).remaining == 1
    assert redis.run(fixed.hit("id")).remaining == 9
    assert redis.run(counter.refund(first)) is True
    assert redis.run(counter.peek("id")).remaining == 9
    assert redis.run(fixed.refund(other)) is False
    assert redis.run(fixed.peek("id")).remaining == 9


@every
@lua
def test_the_limit_may_change(version: str, limit: Limit) -> None:
    """Three of 5 are three of 9, and a limit below what was taken has to wait."""
    redis = at_the_start(version)
    redis.run(limit.hit("id", 3))
    field = "limit" if hasattr(limit, "limit") else "capacity"
    options: dict[str, Any] = {"burst": 9} if isinstance(limit, GCRA) else {field: 9}
    assert redis.run(changed(limit, **options).peek("id")).remaining == 6
    options = {"burst": 2} if isinstance(limit, GCRA) else {field: 2}
    smaller = redis.run(changed(limit, **options).hit("id"))
    assert (smaller.allowed, smaller.remaining) == (False, 0)
    assert smaller.retry_after is not None
    redis.now += round(smaller.retry_after * SECOND)
    assert redis.run(changed(limit, **options).hit("id"))


@lua
def test_when_a_smaller_limit_has_room_again(version: str) -> None:
    """When so many have left the log that one fits, and not when the first one leaves."""
    redis = at_the_start(version)
    for _ in range(10):
        redis.run(SlidingLog("x", limit=10, per=60).hit("id"))
        redis.now += SECOND
    smaller = redis.run(SlidingLog("x", limit=5, per=60).peek("id"))
    assert (smaller.remaining, smaller.next_after, smaller.retry_after) == (0, 55, 55)
    redis.now += 55 * SECOND
    assert redis.run(SlidingLog("x", limit=5, per=60).peek("id")).remaining == 1


@lua
def test_the_window_may_change(version: str) -> None:
    """What is known to lie in the new window counts; the log knows all of it, the counter by its estimate."""
    redis = at_the_start(version)
    redis.now -= redis.now % (60 * SECOND)
    for kind in (FixedWindow, SlidingLog, SlidingCounter):
        redis.run(kind("x", limit=9, per=10).hit("id", 4))
        assert redis.run(kind("x", limit=9, per=60).peek("id")).remaining == 5, kind
        assert redis.run(kind("x", limit=9, per=60).hit("id")).remaining == 4, kind
    redis.now += 5 * SECOND
    assert redis.run(SlidingLog("x", limit=9, per=4).peek("id")).remaining == 9
    assert redis.run(FixedWindow("x", limit=9, per=4).peek("id")).remaining == 9
    assert redis.run(SlidingCounter("x", limit=9, per=4).peek("id")).remaining == 4


@every
@lua
def test_another_limits_state_is_not_taken_for_ones_own(version: str, limit: Limit) -> None:
    """A key of somebody else is an error, and stays."""
    redis = Fake(version)
    key = limit.key("id")
    if isinstance(limit, SlidingLog):
        redis.lists[key] = ["a", "b"]
    else:
        redis.strings[key] = "hello"
    assert redis.reply(limit.hit("id").commands[0]) == ErrorReply("CORRUPT", "this key holds no such limit")
    assert redis.reply(limit.refund(Decision(True, 5, 4, 0.0, 0.0, 0.0, taken=((key, 1, 1, 0),))).commands[0]) == 0


# Waiting


def answer(allowed: int, retry: int = 0, delay: int = 0) -> list[object]:
    return [[allowed, 1, retry, 0, 0, 1_700_000_000_000_000, delay, 0]]


def test_waiting_until_a_hit_is_allowed() -> None:
    """It sleeps for as long as the decision says, and asks again."""
    dry = Dry(EVERY["bucket"].wait_for("id", 2))
    dry.expect(EVERY["bucket"].hit("id", 2)).answer(*answer(0, 1_500_000))
    dry.sleep(1.5)
    dry.expect("token_bucket.hit").answer(*answer(0, 250_000))
    dry.sleep(0.25)
    dry.expect("token_bucket.hit").answer(*answer(1))
    assert dry.result.allowed


def test_a_wait_that_is_just_long_enough() -> None:
    """To the microsecond: a hit that will be allowed at its end is waited for, by a limit of each kind."""
    dry = Dry(EVERY["fixed"].wait_for("id", wait=3))
    dry.expect("fixed_window.hit").advance(1).answer(*answer(0, 2_000_000))
    dry.sleep(2)
    dry.expect("fixed_window.hit").answer(*answer(1))
    assert dry.result.allowed
    dry = Dry(EVERY["leaky"].wait_for("id", wait=3))
    dry.expect("leaky_bucket.hit").advance(1).answer(*answer(1, delay=2_000_000))
    dry.sleep(2)
    assert dry.result.allowed
    for wrong in (-0.001, math.nan):
        with pytest.raises(ConfigurationError, match=r"^wait must"):
            _ = Dry(EVERY["fixed"].wait_for("id", wait=wrong)).result


@pytest.mark.parametrize(("wait", "retry"), [(0, 1), (1, 1_000_001), (5, -1), (None, -1)])
def test_a_wait_in_vain_is_not_begun(wait: float | None, retry: int) -> None:
    """Where the time is too short, or it will never be allowed, the answer is there at once."""
    dry = Dry(EVERY["fixed"].wait_for("id", wait=wait))
    dry.expect("fixed_window.hit").answer(*answer(0, retry))
    assert not dry.result.allowed


def test_a_leaky_bucket_is_waited_for_after_the_hit() -> None:
    """Its turn is taken first; a caller that leaves meanwhile gives it back."""
    leaky = EVERY["leaky"]
    dry = Dry(leaky.wait_for("id"))
    dry.expect("leaky_bucket.hit").answer(*answer(1, delay=2_000_000))
    dry.sleep(2)
    assert dry.result.delay == 2
    dry = Dry(leaky.wait_for("id"))
    dry.expect("leaky_bucket.hit").answer(*answer(1, delay=2_000_000))
    dry.cancel()
    dry.expect("leaky_bucket.refund").answer(1)
    assert dry.over
    dry = Dry(leaky.wait_for("id", wait=1))
    dry.expect("leaky_bucket.hit").answer(*answer(1, delay=2_000_000))
    dry.expect("leaky_bucket.refund").answer(1)
    refused = dry.result
    assert (refused.allowed, refused.retry_after, refused.delay, refused.taken) == (False, 1, 0, ())


@lua
def test_a_leaky_bucket_spreads_hits(version: str) -> None:
    """Each is told its turn, and one that finds no room is refused until there is."""
    redis, leaky = Fake(version), LeakyBucket("x", capacity=3, leak_rate=2)
    decisions = [redis.run(leaky.hit("id")) for _ in range(4)]
    assert [(decision.allowed, decision.delay) for decision in decisions[:3]] == [(True, 0), (True, 0.5), (True, 1)]
    assert (decisions[3].allowed, decisions[3].retry_after) == (False, 0.5)


def test_admitting_or_raising() -> None:
    """What a decorator wants: a refusal is an error that says when to come back, and nothing about who."""
    dry = Dry(EVERY["counter"].admit("somebody"))
    dry.expect("sliding_counter.hit").answer(*answer(0, 1_500_000))
    with pytest.raises(RateLimited, match=r"^refused by 'x': try again in 1.5 s$") as caught:
        _ = dry.result
    assert caught.value.decision.retry_after == 1.5
    assert "somebody" not in repr(caught.value)
    dry = Dry(EVERY["counter"].admit("somebody", 9))
    dry.expect("sliding_counter.hit").answer(*answer(0, -1))
    with pytest.raises(RateLimited, match="it costs more than the limit"):
        _ = dry.result


# Arguments


@pytest.mark.parametrize(
    ("rate", "limit", "per"),
    [
        ("100/minute", 100, 60),
        ("1/s", 1, 1),
        (" 5 per 10 seconds ", 5, 10),
        ("1000/day", 1000, 86400),
        ("7/2h", 7, 7200),
        ("10 PER MIN", 10, 60),
        ("3/m", 3, 60),
    ],
)
def test_rates_as_text(rate: str, limit: int, per: int) -> None:
    """As a person writes them."""
    assert FixedWindow.parse("x", rate) == FixedWindow("x", limit=limit, per=per)
    assert SlidingLog.parse("x", rate, namespace="n") == SlidingLog("x", limit=limit, per=per, namespace="n")
    options: dict[str, Any] = {"charge_refused": True, "namespace": "n"}
    assert TokenBucket.parse("x", rate) == TokenBucket("x", capacity=limit, refill_rate=Fraction(limit, per))
    assert TokenBucket.parse("x", rate, **options) == TokenBucket(
        "x", capacity=limit, refill_rate=Fraction(limit, per), **options
    )
    assert GCRA.parse("x", rate, **options) == GCRA("x", limit=limit, per=per, **options)


@pytest.mark.parametrize(
    "rate", ["", "100", "100/", "/minute", "0/minute", "5/0s", "100/fortnight", "-1/s", "1.5/s", None, 5]
)
def test_what_is_no_rate(rate: object) -> None:
    """The message shows how it is written."""
    with pytest.raises(ConfigurationError, match=r"rate must be a text such as '100/minute'"):
        FixedWindow.parse("x", rate)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [FixedWindow, SlidingLog, SlidingCounter, GCRA])
def test_a_limit_and_its_window_are_checked(kind: Any) -> None:
    """Each by its name."""
    for bad in (0, -1, 1.5, None, True, "5"):
        with pytest.raises(ConfigurationError, match=r"^limit must"):
            kind("x", limit=bad, per=1)
    for bad in (0, -1, 0.0001, math.nan, math.inf, None, "5"):
        with pytest.raises(ConfigurationError, match=r"^per must"):
            kind("x", limit=1, per=bad)
    with pytest.raises(ConfigurationError, match=r"^name must"):
        kind("", limit=1, per=1)
    with pytest.raises(ConfigurationError, match="charge_refused must be"):
        kind("x", limit=1, per=1, charge_refused=1)
    with pytest.raises(ConfigurationError, match="id must"):
        kind("x", limit=1, per=1).hit("")


def test_what_cannot_be_counted_exactly() -> None:
    """A log is bounded in memory, a counter by its arithmetic."""
    with pytest.raises(ConfigurationError, match="limit must be a whole number from 1 to 10000"):
        SlidingLog("x", limit=10_001, per=1)
    assert SlidingCounter("x", limit=2**30 - 1, per=2**22 / 1000).most == 2**30 - 1
    with pytest.raises(ConfigurationError, match=r"limit and per .* 2\*\*53"):
        SlidingCounter("x", limit=2**30, per=2**22 / 1000)
    assert TokenBucket("x", capacity=2**51 - 1, refill_rate=Fraction(500_000)).most == 2**51 - 1
    with pytest.raises(ConfigurationError, match=r"capacity and refill_rate .* 2\*\*53"):
        TokenBucket("x", capacity=2**51, refill_rate=Fraction(500_000))
    assert LeakyBucket("x", capacity=1, leak_rate=Fraction((2**53 - 1) * SECOND)).most == 1
    with pytest.raises(ConfigurationError, match=r"capacity and leak_rate .* 2\*\*53"):
        LeakyBucket("x", capacity=1, leak_rate=Fraction(2**53 * SECOND))
    with pytest.raises(ConfigurationError, match=r"burst and limit .* 2\*\*53"):
        GCRA("x", limit=1, per=86400, burst=2**40)


def test_keys_keep_a_names_text_out_of_the_tag() -> None:
    """All limits of an id are in one slot, whatever they are called, and each has its own key."""
    ids = ["ann", "a}b", "{x}", "a:b"]
    for id in ids:
        keys = [changed(limit, name=name).key(id) for limit in EVERY.values() for name in ("x", "{y}", "a:b")]
        assert len({slot(key) for key in keys}) == 1
        assert len(set(keys)) == 12  # the three kinds of buckets share their state
