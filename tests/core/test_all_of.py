from __future__ import annotations

import random
from fractions import Fraction

import pytest

from redis_patterns import (
    AllOf,
    ConfigurationError,
    FixedWindow,
    LeakyBucket,
    Limit,
    SlidingCounter,
    SlidingLog,
    TokenBucket,
)
from redis_patterns.testing import Dry
from tests.core.limit_models import Bucket, Counter, Fixed, Log, Model
from tests.core.lua import RUNTIMES, Fake
from tests.core.test_rate_limits import SECOND, microseconds

SECONDLY = FixedWindow("secondly", limit=3, per=1)
DAILY = FixedWindow("daily", limit=10, per=86400)
BOTH = AllOf(SECONDLY, DAILY)


def models() -> list[tuple[Limit, Model]]:
    return [
        (TokenBucket("burst", capacity=4, refill_rate=2), Bucket(4, Fraction(2, SECOND))),
        (FixedWindow("fixed", limit=9, per=5), Fixed(9, 5 * SECOND)),
        (SlidingLog("log", limit=12, per=10), Log(12, 10 * SECOND)),
        (SlidingCounter("counter", limit=15, per=10), Counter(15, 10 * SECOND)),
    ]


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_several_limits_agree_with_their_models(version: str) -> None:
    """Random hits with a cost for each limit: all or none, and each limit's numbers are those that it has alone."""
    chance, redis = random.Random(version), Fake(version)
    both = models()
    limits, all_models = [limit for limit, _ in both], [model for _, model in both]
    several = AllOf(*limits)
    refused = 0
    for _ in range(2000):
        redis.now += chance.choice([0, 1, chance.randrange(SECOND), chance.randrange(3 * SECOND)])
        costs = [chance.choice([1, 1, 2, 3, 16]) for _ in limits] if chance.random() < 0.5 else 1
        each = [costs] * 4 if isinstance(costs, int) else costs
        looks = [model.look(redis.now, cost) for model, cost in zip(all_models, each, strict=True)]
        allowed = all(fits for fits, _, _ in looks)
        redis.expire()
        before = redis.state()
        decision = redis.run(several.hit("id", costs))
        assert decision.allowed == allowed
        assert decision.refused_by == tuple(
            limit.name for limit, (fits, _, _) in zip(limits, looks, strict=True) if not fits
        )
        for part, model, cost, (fits, moment, _) in zip(decision.parts, all_models, each, looks, strict=True):
            if allowed:
                assert microseconds(part) == model.take(redis.now, cost)
            else:
                assert (part.allowed, part.remaining) == (fits, max(0, model.room(moment)))
        if not allowed:
            refused += 1
            assert redis.state() == before, "a refused hit takes from none"
            assert decision.taken == ()
        assert decision.remaining == min(part.remaining for part in decision.parts)
        waits = [part.retry_after for part in decision.parts]
        assert decision.retry_after == (None if None in waits else max(wait for wait in waits if wait is not None))
    assert 200 < refused < 1800


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_the_tightest_limit_speaks_for_all(version: str) -> None:
    """Name, limit and remaining are those of the limit with the least left, and the wait is the longest."""
    redis = Fake(version)
    redis.now -= redis.now % (86400 * SECOND)
    decisions = [redis.run(BOTH.hit("ann")) for _ in range(4)]
    assert [(one.name, one.limit, one.remaining) for one in decisions] == [
        ("secondly", 3, left) for left in (2, 1, 0, 0)
    ]
    assert (decisions[3].retry_after, decisions[3].refused_by) == (1.0, ("secondly",))
    first = decisions[0]
    assert (first.source, first.next_after, first.reset_after) == ("redis", 1.0, 86400.0)
    redis.now += SECOND
    assert [redis.run(BOTH.hit("ann", 3)).allowed, redis.run(BOTH.peek("ann")).allowed] == [True, False]
    redis.now += SECOND
    assert redis.run(BOTH.hit("ann", 3)).refused_by == ()
    redis.now += SECOND
    last = redis.run(BOTH.hit("ann", 2))
    assert (last.allowed, last.refused_by, last.name, last.remaining) == (False, ("daily",), "daily", 1)
    assert last.retry_after == 86400 - 3
    assert redis.run(DAILY.peek("ann")).remaining == 1, "alone it has the same state"
    assert redis.run(BOTH.hit("ann", [1, 11])).retry_after is None


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_a_refund_goes_to_all(version: str) -> None:
    """What was taken from each goes back to each."""
    redis = Fake(version)
    assert redis.run(BOTH.peek("ann")).taken == ()
    taken = redis.run(BOTH.hit("ann", [2, 7]))
    assert redis.run(BOTH.refund(taken)) is True
    assert [part.remaining for part in redis.run(BOTH.peek("ann")).parts] == [3, 10]
    with pytest.raises(ConfigurationError, match="decision must be one of these 1 limits, not of 2"):
        SECONDLY.refund(taken)
    assert redis.run(BOTH.hit("ann", [2, 7])).allowed
    assert [command.args[:1] for command in BOTH.reset("ann").commands] == [("DEL",)]


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_a_delay_is_told_where_one_of_them_delays(version: str) -> None:
    """Only by those that do: a bucket of tokens that owes something delays nobody."""
    redis = Fake(version)
    both = AllOf(TokenBucket("tokens", capacity=9, refill_rate=1), LeakyBucket("leaky", capacity=9, leak_rate=2))
    decisions = [redis.run(both.hit("ann")) for _ in range(3)]
    assert [one.delay for one in decisions] == [0.0, 0.5, 1.0]
    assert [[part.delay for part in one.parts] for one in decisions] == [[0.0, 0.0], [0.0, 0.5], [0.0, 1.0]]


# Several ids

OK = [1, 5, 0, 0, 0, 7, 0, 0]
NO = [0, 0, 1_000_000, 0, 0, 7, 0, 0]


def test_each_of_its_own_id() -> None:
    """Different ids are asked one after the other, equal ones together."""
    three = AllOf(SECONDLY, DAILY, SlidingLog("log", limit=5, per=1))
    dry = Dry(three.hit_each("ann", "acme", "ann", cost=[1, 2, 3]))
    dry.expect("all_of.hit_each").answer([*OK, *OK])
    dry.expect("all_of.hit_each").answer(OK)
    decision = dry.result
    assert (decision.allowed, [part.name for part in decision.parts]) == (True, ["secondly", "daily", "log"])
    assert [cost for _, cost, *_ in decision.taken] == [1, 2, 3]
    # Given back in one round trip, to each slot by a command of its own.
    assert [command.args[2:4] for command in three.refund(decision).commands] == [
        (2, "ratelimit:{ann}:fixed:secondly"),
        (1, "ratelimit:{acme}:fixed:daily"),
    ]


@pytest.mark.parametrize("ends", ["refused", "fails", "cancelled"])
def test_what_the_first_took_is_given_back(ends: str) -> None:
    """Once, when the second refuses, does not answer or is not waited for."""
    dry = Dry(BOTH.hit_each("ann", "acme"))
    dry.expect("all_of.hit_each").answer(OK)
    second = dry.expect("all_of.hit_each")
    if ends == "refused":
        second.answer(NO)
    elif ends == "fails":
        second.fail(ConnectionError("gone"))
    else:
        second.cancel()
    dry.expect("all_of.refund").answer(1)
    assert dry.over
    if ends == "refused":
        assert (dry.result.allowed, dry.result.refused_by, dry.result.retry_after) == (False, ("daily",), 1.0)
        assert [part.taken for part in dry.result.parts] == [(), ()]
    elif ends == "fails":
        with pytest.raises(ConnectionError):
            _ = dry.result


def test_the_first_refuses() -> None:
    """Then the second is not asked, and nothing is given back."""
    dry = Dry(BOTH.hit_each("ann", "acme"))
    dry.expect("all_of.hit_each").answer(NO)
    assert [part.name for part in dry.result.parts] == ["secondly"]


def test_what_is_not_allowed() -> None:
    """No limits, no limits at all, limits that would take twice from one state, wrong counts."""
    with pytest.raises(ConfigurationError, match="at least one"):
        AllOf()
    with pytest.raises(ConfigurationError, match="limits must be limits such as TokenBucket, not str"):
        AllOf("100/minute")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="must not share their state"):
        AllOf(SECONDLY, FixedWindow("secondly", limit=9, per=5))
    with pytest.raises(ConfigurationError, match="cost must be one number, or one for each of 2 limits"):
        BOTH.hit("ann", [1])
    with pytest.raises(ConfigurationError, match="cost must be a whole number"):
        BOTH.hit("ann", [1, 0])
    with pytest.raises(ConfigurationError, match="ids must be one for each of 2 limits, not 1"):
        _ = Dry(BOTH.hit_each("ann")).result
    assert repr(BOTH) == f"AllOf({SECONDLY!r}, {DAILY!r})"
