from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from redis_patterns import (
    AllOf,
    CommandFailed,
    ConfigurationError,
    DecodeError,
    FixedWindow,
    Guarded,
    LeakyBucket,
    OutcomeUnknown,
    SlidingCounter,
    SlidingLog,
    TokenBucket,
    Unreachable,
    Within,
)
from redis_patterns.testing import Dry
from redis_patterns_core.guarded import _note

LIMIT = FixedWindow("api", limit=10, per=5)
AWAY = Unreachable("fixed_window.hit", "localhost:6379: refused")


def allowed(remaining: int = 9) -> list[object]:
    return [1, remaining, 0, 0, 0, 1_700_000_000_000_000, 0, 0]


def refused(retry: int) -> list[object]:
    return [0, 0, retry, retry, retry, 1_700_000_000_000_000, 0, 0]


def hit(guarded: Guarded, answer: Any, *, cost: int = 1, now: float = 100.0) -> Any:
    """Run one hit; the answer is a reply, an exception, or nothing where Redis is not to be asked."""
    dry = Dry(guarded.hit("ann", cost), now=now)
    if answer is not None:
        plan = dry.expect("fixed_window.hit" if len(guarded.limits) == 1 else "all_of.hit")
        plan.fail(answer) if isinstance(answer, Exception) else plan.answer(answer)
    return dry.result


def test_redis_decides_while_it_is_there() -> None:
    """One round trip, and the decision says whose it is."""
    decision = hit(Guarded(LIMIT, when_away="open"), allowed())
    assert (decision.allowed, decision.source, decision.degraded) == (True, "redis", False)
    assert decision.taken


@pytest.mark.parametrize(
    "error",
    [AWAY, OutcomeUnknown("x", "y"), CommandFailed("x", "OOM", "out of memory"), CommandFailed("x", "LOADING", "wait")],
)
def test_what_is_decided_without_it(error: Exception) -> None:
    """Open allows, closed refuses until Redis is asked again, and both say that they were not asked."""
    decision = hit(Guarded(LIMIT, when_away="open"), error)
    assert (decision.allowed, decision.source, decision.degraded, decision.taken) == (True, "open", True, ())
    assert (decision.limit, decision.remaining, decision.retry_after, decision.reset_after) == (10, 10, 0, 0)
    decision = hit(Guarded(LIMIT, when_away="closed", pause=2), error)
    assert (decision.allowed, decision.source, decision.retry_after, decision.refused_by) == (
        False,
        "closed",
        2,
        ("api",),
    )
    assert (decision.limit, decision.remaining, decision.reset_after, decision.next_after) == (10, 0, 2, 2)
    with pytest.raises(type(error)):
        hit(Guarded(LIMIT), error)


@pytest.mark.parametrize(("policy", "allows"), [("open", True), ("closed", False)])
def test_several_limits_without_it(policy: Any, allows: bool) -> None:
    """One decision, with the part of each."""
    decision = hit(Guarded(AllOf(LIMIT, FixedWindow("day", limit=12, per=86400)), when_away=policy), AWAY)
    assert (decision.allowed, decision.source) == (allows, policy)
    assert [(part.name, part.allowed, part.source, part.parts) for part in decision.parts] == [
        ("api", allows, policy, ()),
        ("day", allows, policy, ()),
    ]


def test_redis_is_waited_for_no_longer_than_it_was_told() -> None:
    """In seconds; what is no single plan waits by itself."""
    steps = Guarded(LIMIT, within=0.5).hit("ann").steps()
    next(steps)
    step = steps.send(0.0)
    assert isinstance(step, Within)
    assert step.seconds == 0.5
    inner = Guarded(Guarded(LIMIT, when_away="open"), within=0.5)
    assert hit(inner, AWAY).source == "open"


@pytest.mark.parametrize("code", ["WRONGTYPE", "CORRUPT", "NOPERM"])
def test_mistakes_are_not_taken_for_absence(code: str) -> None:
    """What does not go away by waiting is raised under every policy."""
    with pytest.raises(CommandFailed):
        hit(Guarded(LIMIT, when_away="open"), CommandFailed("x", code, "no"))


def test_redis_is_left_alone_for_a_while() -> None:
    """While it is away one caller at a time asks, after each pause; when it is back all ask again."""
    guarded = Guarded(LIMIT, when_away="open", within=0.5, pause=2)
    assert hit(guarded, AWAY, now=0).source == "open"
    assert hit(guarded, None, now=1.9).source == "open"
    asking = Dry(guarded.hit("ann"), now=2.0)
    asking.expect("fixed_window.hit")
    assert hit(guarded, None, now=2.1).source == "open", "somebody is finding out"
    asking.expect("fixed_window.hit").fail(AWAY)
    assert asking.result.source == "open"
    assert hit(guarded, None, now=3.9).source == "open"
    assert hit(guarded, allowed(), now=4.1).source == "redis"
    assert hit(guarded, allowed(), now=4.1).source == "redis"


def test_buckets_in_this_process() -> None:
    """Local decides by a bucket of the same size and rate, and gives the same numbers."""
    guarded = Guarded(LIMIT, when_away="local", pause=1000)
    first = hit(guarded, AWAY, cost=7, now=0)
    assert (first.allowed, first.remaining, first.source, first.reset_after) == (True, 3, "local", 3.5)
    second = hit(guarded, None, cost=4, now=0.25)
    assert (second.allowed, second.remaining, second.retry_after) == (False, 3, 0.25)
    assert hit(guarded, None, cost=4, now=0.5).allowed
    assert hit(guarded, None, cost=11, now=0.5).retry_after is None
    assert hit(guarded, None, now=500).remaining == 9
    assert (first.next_after, second.next_after, first.delay, first.parts) == (0.5, 0.25, 0.0, ())
    never = hit(Guarded(LIMIT, when_away="local"), AWAY, cost=11)
    assert (never.remaining, never.next_after, never.reset_after) == (10, 0.0, 0.0)


def test_a_leaky_bucket_in_this_process() -> None:
    """It delays there too."""
    guarded = Guarded(LeakyBucket("x", capacity=3, leak_rate=0.25), when_away="local", pause=1000)
    dry = Dry(guarded.hit("ann"))
    dry.expect("leaky_bucket.hit").fail(AWAY)
    assert [dry.result.delay, Dry(guarded.hit("ann")).result.delay, Dry(guarded.hit("ann")).result.delay] == [0, 4, 8]


def test_buckets_of_several_limits() -> None:
    """All or none, as in Redis."""
    guarded = Guarded(AllOf(LIMIT, SlidingCounter("day", limit=12, per=86400)), when_away="local", pause=1000)
    assert hit(guarded, AWAY, cost=8, now=0).allowed
    refused = hit(guarded, None, cost=5, now=4)
    assert (refused.allowed, refused.refused_by, refused.source) == (False, ("day",), "local")
    assert [part.remaining for part in refused.parts] == [10, 4]
    assert hit(guarded, None, cost=4, now=4).allowed


@pytest.mark.parametrize(
    ("limit", "rate"),
    [
        (LIMIT, 2.0),
        (SlidingLog("x", limit=10, per=5), 2.0),
        (SlidingCounter("x", limit=10, per=5), 2.0),
        (TokenBucket("x", capacity=3, refill_rate=7), 7.0),
        (LeakyBucket("x", capacity=3, leak_rate=0.25), 0.25),
    ],
)
def test_the_rate_of_a_limit(limit: Any, rate: float) -> None:
    """What comes back per second in the long run."""
    assert limit.rate == pytest.approx(rate)


def test_refusals_are_remembered() -> None:
    """While one is in force the same hit is refused without asking; another cost or id is asked for."""
    guarded = Guarded(LIMIT, remember=True)
    assert not hit(guarded, refused(2_000_000), cost=3, now=10)
    again = hit(guarded, None, cost=3, now=11.5)
    assert (again.allowed, again.source, again.retry_after, again.degraded) == (False, "memory", 0.5, False)
    assert hit(guarded, allowed(), cost=1, now=11.5).source == "redis"
    assert hit(guarded, allowed(), cost=3, now=12).source == "redis"
    assert len(guarded._refusals) == 1, "what was allowed is not remembered"
    forgetful = Guarded(LIMIT)
    assert hit(forgetful, refused(2_000_000), now=10).source == "redis"
    assert forgetful._refusals == {}


def test_memory_is_bounded() -> None:
    """The ids that were learned first are forgotten."""
    guarded = Guarded(LIMIT, when_away="local", remember=True, most=3, pause=1000)
    for cost in range(1, 10):
        hit(guarded, refused(2_000_000), cost=cost, now=0)
    assert len(guarded._refusals) == 3
    hit(guarded, AWAY, cost=10, now=5)
    for number in range(9):
        dry = Dry(guarded.hit(f"id-{number}"), now=6)
        assert dry.result.source == "local"
    assert len(guarded._debts) == 3


def test_only_what_was_learned_first_is_forgotten() -> None:
    """As many ids as there is room for are all known, whatever the number of limits and whoever comes again."""
    guarded = Guarded(AllOf(LIMIT, SlidingCounter("day", limit=12, per=86400)), when_away="local", most=2, pause=1000)

    def taken(id: str) -> int:
        return 12 - Dry(guarded.hit(id), now=0).result.parts[1].remaining

    hit(guarded, AWAY, now=0)
    assert [taken(id) for id in ("bob", "bob", "ann", "bob", "cy", "bob", "ann")] == [1, 2, 2, 3, 1, 4, 1]
    remembering = Guarded(LIMIT, remember=True, most=2)
    for cost in (1, 2):
        hit(remembering, refused(2_000_000), cost=cost, now=0)
    hit(remembering, refused(2_000_000), cost=2, now=2)
    hit(remembering, refused(2_000_000), cost=1, now=2)
    for cost in (1, 2):
        assert hit(remembering, None, cost=cost, now=3.9).source == "memory"


def test_waiting_works_through_it() -> None:
    """The wait is the limit's own, whoever refuses."""
    guarded = Guarded(LIMIT, when_away="closed", pause=2)
    dry = Dry(guarded.wait_for("ann"))
    dry.expect("fixed_window.hit").fail(AWAY)
    dry.sleep(2)
    dry.expect("fixed_window.hit").answer(allowed())
    assert dry.result.allowed


def test_what_is_not_allowed() -> None:
    """Each by its name."""
    wrong: list[dict[str, Any]] = [{"when_away": "maybe"}, {"within": 0}, {"pause": -1}, {"most": 0}]
    for bad in wrong:
        with pytest.raises(ConfigurationError, match=rf"^{next(iter(bad))} must"):
            Guarded(LIMIT, **bad)
    with pytest.raises(ConfigurationError, match="limiter must be"):
        Guarded("api")  # type: ignore[arg-type]


def test_what_is_shown_of_it() -> None:
    """The limiter, and what decides while Redis is away; a refund goes to the limiter."""
    guarded = Guarded(LIMIT, when_away="open")
    assert repr(guarded) == f"Guarded({LIMIT!r}, when_away='open')"
    decision = hit(guarded, allowed())
    assert guarded.refund(decision) == LIMIT.refund(decision)


def test_a_memory_that_threads_share() -> None:
    """Who makes room while another thread does so too looks again."""

    class Changing(dict[str, int]):
        def __iter__(self) -> Iterator[str]:
            if "b" in self:
                self.pop("b")
                raise RuntimeError("dictionary changed size during iteration")
            return super().__iter__()

    known = Changing(a=1, b=2)
    _note(known, "c", 3, most=1)
    assert list(known) == ["c"]


def test_resetting_gives_nothing() -> None:
    """Whether there was anything is not told; what is no answer is an error."""
    for limiter in (LIMIT, AllOf(LIMIT, FixedWindow("other", limit=1, per=5))):
        plan = limiter.reset("ann")
        assert plan.parse([1]) is plan.parse([0]) is None
        with pytest.raises(DecodeError):
            plan.parse([b"x"])


def test_who_is_admitted_is_told_how() -> None:
    """The decision comes back where it is an allowed one."""
    dry = Dry(LIMIT.admit("ann"))
    dry.expect("fixed_window.hit").answer(allowed(8))
    assert (dry.result.allowed, dry.result.remaining) == (True, 8)
