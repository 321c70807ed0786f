"""Values and patterns, copied and pickled: for caches, for processes that are spawned, for who wants to keep one."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

import redis_patterns
from redis_patterns import (
    DAY,
    EMPTY,
    GCRA,
    HOUR,
    MINUTE,
    MISS,
    MONTH,
    SUPERSEDED,
    WEEK,
    AllOf,
    Backoff,
    BatchWork,
    BucketedCounter,
    Bytes,
    Cache,
    Calendar,
    Claim,
    ClientAddress,
    Command,
    Compressed,
    ConcurrencyLimit,
    Condition,
    Cookie,
    Counter,
    Counts,
    DeadWrite,
    Decision,
    DelayedQueue,
    Device,
    Effect,
    Enqueued,
    Entry,
    ErrorReply,
    Every,
    ExactUniques,
    FailedItem,
    FairLock,
    FifoQueue,
    FixedWindow,
    Flag,
    FlagChange,
    FlagContext,
    FlagEvent,
    FlagRule,
    Flags,
    FlagSnapshot,
    GiveUp,
    Guarded,
    HeaderKey,
    Holder,
    Job,
    Jobs,
    Json,
    KnownJob,
    Leaderboard,
    LeakyBucket,
    Lease,
    Lock,
    MemberData,
    MultiLock,
    Now,
    Occupancy,
    Once,
    Outcome,
    Page,
    PriorityQueue,
    RateLimits,
    ReadWriteLock,
    ReentrantLock,
    Refusal,
    Request,
    RetryLater,
    Rule,
    ScoreChange,
    Script,
    Semaphore,
    Series,
    Session,
    Sessions,
    Settlement,
    ShardedCounter,
    SignedPickle,
    Sleep,
    SlidingCounter,
    SlidingLog,
    Subject,
    TakenJobs,
    Text,
    TokenBucket,
    Uniques,
    Work,
    WorkerInfo,
    WorkEvent,
    Write,
    WriteBehind,
)

COPIES: list[Callable[[Any], Any]] = [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))]

BUCKET = TokenBucket("x", capacity=1, refill_rate=1)
JOB: Job[int] = Job("id", 1, "token", 1, 0, 0, 1.0, 0)
LEASE = Lease("x", "token")
RULE = FlagRule(Condition("plan", "in", ["pro"]), serve={"a": 1, "b": 0.5}, percentage=50)
FLAG = Flag(
    "object",
    variants={"a": {"list": [1, {"nothing": None}]}, "b": {}},
    serve={"a": 1, "b": 2},
    percentage=12.5,
    allowlist=["ann"],
    rules=[RULE],
    requires={"switch": "on"},
    metadata={"owner": "us"},
    salt="s",
    version=7,
)
SNAPSHOT = FlagSnapshot([FLAG, Flag("switch")], unreadable={"bad": "no JSON"}, revision=3)


def handle(_: object) -> None:
    """Do nothing."""


VALUES: list[object] = [
    *(DAY, EMPTY, HOUR, MINUTE, MISS, MONTH, SUPERSEDED, WEEK, Calendar("day"), Every(60), Effect.READS),
    *(BUCKET, FixedWindow("x", limit=1, per=1), GCRA("x", limit=1, per=1)),
    *(LeakyBucket("x", capacity=1, leak_rate=1), SlidingCounter("x", limit=1, per=1), SlidingLog("x", limit=1, per=1)),
    *(AllOf(BUCKET, FixedWindow("y", limit=1, per=1)), ConcurrencyLimit("x", limit=1)),
    *(ConcurrencyLimit("x", limit=1).slot("ann"), Decision(True, 1, 0, None, 1.0, 1.0)),
    *(Request("GET", "/", [], None), Rule(BUCKET, paths="/a/*"), Refusal(429, [], b""), ClientAddress(["10.0.0.0/8"])),
    *(Lock("x"), FairLock("x"), ReentrantLock("x", owner="me"), Semaphore("x", limit=1), MultiLock(Lock("x"))),
    *(ReadWriteLock("x"), ReadWriteLock("x").read(), ReadWriteLock("x").write(), LEASE),
    *(Holder("f", 1.0, 1.0), Occupancy((Holder("f", 1.0, 1.0),), 0)),
    *(Bytes(), Text(), Json(), Compressed(Json()), SignedPickle((b"k" * 32,)), Cookie(), Backoff(), Now(), Sleep(1)),
    *(Cache[int]("x", ttl=1), WriteBehind[int]("x", ttl=1), Write("key", 1, 1)),
    DeadWrite("key", Write("key", 1, 1), "no", 1.0, b"1"),
    *(Once[int]("x"), Claim[int]("claimed")),
    *(FifoQueue[int]("x"), PriorityQueue[int]("x"), DelayedQueue[int]("x"), FailedItem(1, "no", 1.0, b"1")),
    *(Jobs[int]("x"), JOB, Enqueued("id", "created"), TakenJobs((JOB,), (), None, False)),
    *(KnownJob("id", "ready", 1.0, 1, "", 0, 0, 1, 1.0, 0, ""), Settlement("ack", "id", "token", 0, "")),
    *(Counts(0, 0, 0, 0, 0.0, None, None, False, {"acked": 1}, (WorkerInfo("w", "", 1.0),)), WorkerInfo("w", "", 1.0)),
    *(Work(Jobs[int]("x"), handle), BatchWork(Jobs[int]("x"), handle), WorkEvent("began", "x", JOB)),
    *(Leaderboard("x"), Leaderboard("x", period=DAY, keep=86400), MemberData[int](Leaderboard("x"))),
    *(Entry("ann", 1.0, 0), Page([Entry("ann", 1.0, 0)], 1, 1, 1), ScoreChange(None, 1.0, 0)),
    *(
        Counter("x"),
        ShardedCounter("x"),
        BucketedCounter("x"),
        Series(MINUTE, (datetime(2026, 1, 1, tzinfo=UTC),), (1,)),
    ),
    *(Uniques("x"), ExactUniques("x")),
    *(
        Flags("x"),
        FLAG,
        Flag("switch"),
        RULE,
        FlagRule(Condition("plan", "in", ["pro"])),
        Condition("plan", "in", ["a"]),
    ),
    *(SNAPSHOT.evaluate("object", "ann"), SNAPSHOT.evaluate("switch"), SNAPSHOT.evaluate("none", "ann", True)),
    *(FlagContext("ann", {"plan": ["pro"]}), FlagContext("ann"), FlagEvent("ready")),
    *(FlagChange("object", 7, FLAG, "ann", 1.0, 3, False),),
    *(Session("id", "ann", {"a": 1}, 1.0, 1.0, 1.0, 1, {}), Sessions(), Device("handle", 1.0, 1.0, 1.0, {})),
    *(Command(("PING",)), Script("x", "return 1"), ErrorReply("ERR", "no"), Outcome(1, 1.0), Subject("x")),
]
"""One of each at least, but those that hold functions, or are bound to something that runs."""

OTHERS: list[object] = [
    *(SNAPSHOT, RateLimits([Rule(BUCKET)]), Guarded(BUCKET), HeaderKey("x-key"), RetryLater(1, "busy"), GiveUp("no")),
]
"""Those that do not say what they hold."""

NEVER = {
    *("Alongside", "Call", "Defer", "FlagClient", "Flow", "Held", "Plan", "Shared", "Spawn", "Take"),
    *("WebSession", "Within"),
}
"""What holds functions, or is bound to something that runs."""

KINDS = {"Codec", "Instrument", "Leasable", "Limit", "Limiter", "Queue", "Reply", "UniqueCounter"}
"""What others are kinds of, with nothing of its own."""


@pytest.mark.parametrize("how", COPIES, ids=["copy", "deepcopy", "pickle"])
@pytest.mark.parametrize("one", VALUES + OTHERS, ids=lambda one: type(one).__name__)
def test_a_copy(one: Any, how: Callable[[Any], Any]) -> None:
    """It is like the original."""
    again = how(one)
    assert type(again) is type(one)
    if one not in OTHERS:
        assert repr(again) == repr(one)
    if one in (EMPTY, MISS, SUPERSEDED):
        assert again is one


def test_a_copy_of_a_snapshot() -> None:
    """It has the same flags, says the same of those that cannot be read, and evaluates."""
    for how in COPIES:
        again: FlagSnapshot = how(SNAPSHOT)
        assert (list(again), again.unreadable, again.revision) == ([FLAG, Flag("switch")], {"bad": "no JSON"}, 3)
        assert again.flags["object"].version == 7
        assert again.evaluate("object", "ann") == SNAPSHOT.evaluate("object", "ann")


def test_a_copy_of_a_flag_is_frozen() -> None:
    """What the original does not allow, the copy does not either."""
    for how in COPIES:
        with pytest.raises(TypeError):
            how(FLAG).variants["a"] = {}
        with pytest.raises(TypeError):
            how(RULE).serve["a"] = 2


def test_all_are_tried() -> None:
    """Each public class is in a list above, and so is a new one."""
    public = {
        name: thing
        for name in redis_patterns.__all__
        if inspect.isclass(thing := getattr(redis_patterns, name))
        and not issubclass(thing, redis_patterns.PatternsError)
    }
    tried = {type(one) for one in VALUES + OTHERS}
    assert {name for name, kind in public.items() if kind not in tried} == NEVER | KINDS
