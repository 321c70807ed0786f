from __future__ import annotations

import pytest

from redis_patterns import (
    Call,
    Defer,
    Effect,
    Leaderboard,
    Lock,
    Now,
    OutcomeUnknown,
    Sleep,
    Spawn,
    Steps,
    TokenBucket,
    flow,
)
from redis_patterns.testing import Dry, assert_plan

BOARD = Leaderboard("b")
LOCK = Lock("x", ttl=10)


@flow
def wait_until_allowed(limiter: TokenBucket, id: str) -> Steps[int]:
    while True:
        decision = yield from limiter.hit(id)
        if decision.allowed:
            return decision.remaining
        assert decision.retry_after is not None
        yield from Sleep(decision.retry_after)


def test_a_flow_is_stepped_by_hand() -> None:
    """Plans are expected and answered, sleeps take no time, and the result comes at the end."""
    limiter = TokenBucket("api", capacity=1, refill_rate=1)
    dry = Dry(wait_until_allowed(limiter, "ann"))
    dry.expect(limiter.hit("ann")).answer([0, 0, 1_500_000, 2_000_000, 500_000, 0, 0, 0])
    dry.sleep(1.5)
    assert dry.now == 1.5
    dry.expect("token_bucket.hit").answer([1, 0, 0, 1_000_000, 1_000_000, 0, 0, 0])
    assert dry.result == 0
    assert dry.over


def test_a_lock_is_waited_for_and_given_up() -> None:
    """Two looks and the end of the wait; nothing is left to clean up when it returns."""
    dry = Dry(LOCK.wait_for(0.15, token="t"))
    dry.expect("lock.acquire").answer([0, 5000, 0])
    dry.expect("lock.wait").advance(0.15).answer(None)
    dry.expect(LOCK.acquire("t")).answer([0, 4850, 0])
    assert dry.result is None


def test_a_cancelled_flow_cleans_up() -> None:
    """What it had deferred is due then, and the flow does not go on."""
    dry = Dry(LOCK.wait_for(None, token="t")).expect("lock.acquire").cancel()
    dry.expect("lock.release").answer(0)
    assert dry.over


def test_a_flow_that_fails_cleans_up_first() -> None:
    """The error comes after the clean-up, which may fail without changing it."""
    dry = Dry(LOCK.wait_for(1, token="t"))
    dry.expect("lock.acquire").fail(OutcomeUnknown("lock.acquire", "lost"))
    dry.expect("lock.release").fail(OutcomeUnknown("lock.release", "lost"))
    with pytest.raises(OutcomeUnknown, match="acquire"):
        _ = dry.result


def test_inner_flows_calls_clocks_and_spawns() -> None:
    """All steps are played; an inner flow's clean-up comes before the outer one goes on."""
    called: list[int] = []

    @flow
    def inner() -> Steps[float]:
        yield from Defer(BOARD.remove("inner"))
        return (yield from Now())

    @flow
    def outer() -> Steps[float]:
        yield from Call(called.append, 1)
        yield from Spawn(LOCK.wait_for(0))
        started = yield from inner()
        yield from BOARD.count()
        return started

    dry = Dry(outer(), now=7.0)
    dry.expect(BOARD.remove("inner")).answer(0)
    dry.advance(3).expect(BOARD.count()).answer(2)
    assert dry.result == 7.0
    assert called == [1]
    assert [spawned.name for spawned in dry.spawned] == ["lock.wait_for"]
    assert dry.now == 10.0


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda dry: dry.expect(BOARD.top(4)), "but sends"),
        (lambda dry: dry.expect("leaderboard.count"), "should run leaderboard.count, but runs leaderboard.top"),
        (lambda dry: dry.sleep(), "should sleep, but runs leaderboard.top"),
        (lambda dry: dry.answer([], []), "has 1 commands, and there are 2 replies"),
        (lambda dry: dry.result, "should be over, but runs leaderboard.top"),
        (lambda dry: dry.give([]).sleep(2), "should sleep for 2 s, but sleeps for 1 s"),
        (lambda dry: dry.give([]).answer(1), "no plan is due: sleeps for 1 s"),
        (lambda dry: dry.give([]).sleep().give(1).expect("x"), "should run x, but it is over"),
    ],
)
def test_what_is_not_as_expected_is_told_with_the_trace(mistake: object, message: str) -> None:
    """The message says what the flow does instead, and what it has done so far."""

    @flow
    def steps() -> Steps[None]:
        yield from BOARD.count()
        yield from BOARD.top(3)
        yield from Sleep(1)
        yield from BOARD.count()

    dry = Dry(steps()).expect("leaderboard.count").answer(7)
    assert callable(mistake)
    with pytest.raises(AssertionError, match="so far:") as caught:
        mistake(dry)
    assert message in str(caught.value)
    assert "1. leaderboard.count gives 7" in str(caught.value)


def test_a_plan_is_checked_dry() -> None:
    """Its commands, what it makes of replies, and its effect."""
    plan = BOARD.top(2)
    assert_plan(
        plan,
        commands=["ZRANGE leaderboard:{b} 0 1 REV WITHSCORES"],
        replies=[[]],
        gives=[],
        effect=Effect.READS,
    )
    with pytest.raises(AssertionError, match="sends"):
        assert_plan(plan, commands=["ZRANGE other"])
    with pytest.raises(AssertionError, match="makes"):
        assert_plan(plan, replies=[[]], gives=None)
    with pytest.raises(AssertionError, match="is READS, not ONCE"):
        assert_plan(plan, effect=Effect.ONCE)
