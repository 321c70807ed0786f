from __future__ import annotations

import math
import random
from dataclasses import dataclass
from fractions import Fraction

import pytest

from redis_patterns import ConfigurationError, Decision, DecodeError, ErrorReply, TokenBucket
from tests.core.lua import RUNTIMES, Fake

SECOND = 1_000_000


@dataclass
class Model:
    """A token bucket as one would explain it: tokens that flow back evenly, as exact fractions.

    Parameters:
        capacity: tokens when full.
        rate: tokens per microsecond.
    """

    capacity: int
    rate: Fraction
    tokens: Fraction = Fraction(-1)
    at: int = 0

    def __post_init__(self) -> None:
        self.tokens = Fraction(self.capacity)

    def take(self, now: int, cost: int) -> tuple[bool, int, int | None, int, int]:
        """Take tokens; gives allowed, remaining, and in microseconds retry, reset and next."""
        # A clock that stepped back stands still until it has caught up.
        lag = max(0, self.at - now)
        moment = max(self.at, now)
        full = Fraction(self.capacity)
        tokens = min(full, self.tokens + (moment - self.at) * self.rate)
        allowed = tokens >= cost
        if allowed:
            tokens -= cost
            self.tokens, self.at = tokens, moment

        def until(wanted: Fraction) -> int:
            return 0 if tokens >= wanted else math.ceil((wanted - tokens) / self.rate) + lag

        remaining = math.floor(tokens)
        retry = 0 if allowed else None if cost > self.capacity else until(Fraction(cost))
        return (
            allowed,
            remaining,
            retry,
            until(full),
            until(Fraction(remaining + 1)) if remaining < self.capacity else 0,
        )


def microseconds(decision: Decision) -> tuple[bool, int, int | None, int, int]:
    retry = decision.retry_after
    return (
        decision.allowed,
        decision.remaining,
        None if retry is None else round(retry * SECOND),
        round(decision.reset_after * SECOND),
        round(decision.next_after * SECOND),
    )


RATES: dict[str, tuple[int, float | Fraction, Fraction]] = {
    "10/s": (100, 10.0, Fraction(10, SECOND)),
    "7/s": (5, 7, Fraction(7, SECOND)),
    "1/3 per s": (3, 1 / 3, Fraction(1, 3 * SECOND)),
    "1000/day": (50, 1000 / 86400, Fraction(1000, 86400 * SECOND)),
    "1/30 days": (2, 1 / 2_592_000, Fraction(1, 2_592_000 * SECOND)),
    "1.5 million/s": (10_000, 1.5e6, Fraction(3, 2)),
    "a fraction": (4, Fraction(22, 7), Fraction(22, 7 * SECOND)),
}


@pytest.mark.parametrize("version", sorted(RUNTIMES))
@pytest.mark.parametrize("name", RATES)
def test_the_script_agrees_with_the_model(name: str, version: str) -> None:
    """Random hits over a clock that also stands and steps back: every number is exact, in both Luas."""
    capacity, rate, exact = RATES[name]
    bucket, redis, model = TokenBucket("b", capacity=capacity, refill_rate=rate), Fake(version), Model(capacity, exact)
    chance = random.Random(f"{name} {version}")
    refused = 0
    for _ in range(1500):
        pace = math.ceil(1 / exact)
        redis.now += chance.choice(
            [0, 1, chance.randrange(pace + 1), chance.randrange(3 * pace + 1), -chance.randrange(pace)]
        )
        redis.expire()
        if not redis.strings:
            # Gone is full; a clock that steps back now does not bring back what was owed.
            model = Model(capacity, exact)
        cost = chance.choice([1, 1, 1, 2, chance.randint(1, capacity), capacity, capacity + 1])
        before, expiry = dict(redis.strings), dict(redis.expiry)
        peeked = redis.run(bucket.peek("id", cost))
        assert (redis.strings, redis.expiry) == (before, expiry), "a peek writes nothing"
        decision = redis.run(bucket.hit("id", cost))
        assert microseconds(decision) == model.take(redis.now, cost)
        assert (peeked.allowed, peeked.retry_after) == (decision.allowed, decision.retry_after)
        if decision.allowed:
            (left,) = redis.expiry.values()
            assert left - redis.now >= decision.reset_after * SECOND, "a key that matters does not expire"
            assert left - redis.now <= decision.reset_after * SECOND + 3000, "and does not outlive what it says"
        else:
            refused += 1
            assert (redis.strings, redis.expiry) == (before, expiry), "a refused hit writes nothing"
            if decision.retry_after is None:
                assert cost > capacity
            else:
                moment, wait = redis.now, round(decision.retry_after * SECOND)
                redis.now = moment + wait - 1
                assert not redis.run(bucket.peek("id", cost)), "a microsecond earlier is too early"
                redis.now = moment + wait
                assert redis.run(bucket.peek("id", cost)), "whoever waits as told is let in"
                redis.now = moment
    assert refused > 100


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_a_bucket_starts_full_and_is_full_again_when_its_key_is_gone(version: str) -> None:
    """An absent key means a full bucket, and the key leaves at the moment when that is true."""
    bucket, redis = TokenBucket("b", capacity=2, refill_rate=4), Fake(version)
    assert redis.run(bucket.hit("id")) == Decision(True, 2, 1, 0.0, 0.25, 0.25)
    assert redis.run(bucket.hit("id")) == Decision(True, 2, 0, 0.0, 0.5, 0.25)
    assert redis.run(bucket.hit("id")) == Decision(False, 2, 0, 0.25, 0.5, 0.25)
    assert redis.run(bucket.hit("other")).allowed
    assert redis.strings == {
        "bucket:{b:id}": f"500000 {redis.now} 250000",
        "bucket:{b:other}": f"250000 {redis.now} 250000",
    }
    redis.now += 501_000
    assert redis.run(bucket.peek("id")) == Decision(True, 2, 2, 0.0, 0.0, 0.0)
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
    redis.strings["bucket:{b:id}"] = "hello"
    assert redis.reply(bucket.hit("id").commands[0]) == ErrorReply("CORRUPT", "this key holds no token bucket")
    assert redis.strings == {"bucket:{b:id}": "hello"}


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


def test_never_is_not_a_long_wait() -> None:
    """A hit that costs more than the bucket holds will never be allowed, and says so."""
    assert TokenBucket("b", capacity=2, refill_rate=1).hit("id", 3).parse([[0, 2, -1, 0, 0]]).retry_after is None


@pytest.mark.parametrize("reply", [None, [1, 2, 3, 4], [1, 2, 3, 4, b"5"], b"x", [1, 2, 3, 4, 5, 6]])
def test_a_malformed_answer_is_a_decode_error(reply: object) -> None:
    """What is not five integers is no answer of the script."""
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
    tokens, period = bucket.hit("id").commands[0].args[5:7]
    assert isinstance(tokens, int)
    assert isinstance(period, int)
    assert Fraction(tokens * SECOND, period) == exact


@pytest.mark.parametrize("rate", [0, -1, math.nan, math.inf, None, "10", True, Fraction(0), Fraction(-1, 2)])
def test_a_rate_is_a_positive_number(rate: object) -> None:
    """A bucket that never fills is a mistake."""
    with pytest.raises(ConfigurationError, match="refill_rate must be"):
        TokenBucket("b", capacity=1, refill_rate=rate)  # type: ignore[arg-type]


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
