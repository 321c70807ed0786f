"""Numbers and texts beyond all measure, given to everything that takes one: always the same error, and always short."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from redis_patterns import (
    DAY,
    GCRA,
    AllOf,
    BatchWork,
    BucketedCounter,
    Cache,
    Calendar,
    ClientAddress,
    Compressed,
    ConcurrencyLimit,
    Condition,
    ConfigurationError,
    Cookie,
    Counter,
    DelayedQueue,
    Every,
    ExactUniques,
    FifoQueue,
    FixedWindow,
    Flag,
    FlagClient,
    FlagRule,
    Flags,
    Flow,
    Guarded,
    Job,
    Jobs,
    Json,
    Leaderboard,
    LeakyBucket,
    Lock,
    Once,
    PriorityQueue,
    RetryLater,
    Rule,
    Semaphore,
    Sessions,
    ShardedCounter,
    SlidingLog,
    TokenBucket,
    Uniques,
    Work,
    WriteBehind,
    batch,
)
from redis_patterns.testing.memory import Server

NUMBERS = [10**400, -(10**400), 10**5000, math.nan]
"""No double, no whole number that Python writes, no number."""

LONG = "\ud800" * 2_000_000
"""Two million characters, of which UTF-8 can write none."""

JOB: Job[int] = Job("id", 1, "token", 1, 0, 0, 1.0, 0)
JOBS = Jobs[int]("x")
BOARD = Leaderboard("x")
BUCKET = TokenBucket("x", capacity=1, refill_rate=1)
CACHE = Cache[int]("x", ttl=1)

TAKE_NUMBERS: dict[str, Callable[[Any], object]] = {
    "board.add": lambda n: BOARD.add("ann", n),
    "board.submit": lambda n: BOARD.submit("ann", n),
    "board.increment": lambda n: BOARD.increment("ann", n),
    "board.top": BOARD.top,
    "board.around": lambda n: BOARD.around("ann", n),
    "board.most": lambda n: Leaderboard("x", most=n),
    "board.keep": lambda n: Leaderboard("x", period=DAY, keep=n),
    "bucket.hit": lambda n: BUCKET.hit("ann", n),
    "bucket.capacity": lambda n: TokenBucket("x", capacity=n, refill_rate=1),
    "bucket.refill_rate": lambda n: TokenBucket("x", capacity=1, refill_rate=n),
    "leaky.leak_rate": lambda n: LeakyBucket("x", capacity=1, leak_rate=n),
    "window.limit": lambda n: FixedWindow("x", limit=n, per=1),
    "window.per": lambda n: FixedWindow("x", limit=1, per=n),
    "log.limit": lambda n: SlidingLog("x", limit=n, per=1),
    "gcra.burst": lambda n: GCRA("x", limit=1, per=1, burst=n),
    "all_of.hit": lambda n: AllOf(BUCKET).hit("ann", n),
    "all_of.hit, each": lambda n: AllOf(BUCKET).hit("ann", [n]),
    "guarded.within": lambda n: Guarded(BUCKET, within=n),
    "rule.cost": lambda n: Rule(BUCKET, cost=n),
    "rule.wait": lambda n: Rule(BUCKET, wait=n),
    "address.trusted": ClientAddress,
    "address.ipv6_prefix": lambda n: ClientAddress(ipv6_prefix=n),
    "counter.increment": lambda n: Counter("x").increment(n),
    "counter.ttl": lambda n: Counter("x", ttl=n),
    "sharded.shards": lambda n: ShardedCounter("x", shards=n),
    "bucketed.add": lambda n: BucketedCounter("x").add(n),
    "bucketed.keep": lambda n: BucketedCounter("x", keep={DAY: n}),
    "bucketed.ahead": lambda n: BucketedCounter("x", ahead=n),
    "uniques.keep": lambda n: Uniques("x", keep=n),
    "exact.keep": lambda n: ExactUniques("x", keep=n),
    "every": Every,
    "cache.ttl": lambda n: Cache[int]("x", ttl=n),
    "cache.jitter": lambda n: Cache[int]("x", ttl=1, jitter=n),
    "cache.set": lambda n: CACHE.set("key", 1, ttl=n),
    "behind.delay": lambda n: WriteBehind[int]("x", ttl=1, delay=n),
    "behind.most": lambda n: WriteBehind[int]("x", ttl=1, most=n),
    "compressed.least": lambda n: Compressed(Json(), least=n),
    "lock.ttl": lambda n: Lock("x", ttl=n),
    "lock.wait_for": lambda n: Lock("x").wait_for(n),
    "semaphore.weight": lambda n: Semaphore("x", limit=1, weight=n),
    "concurrency.limit": lambda n: ConcurrencyLimit("x", limit=n),
    "once.lease": lambda n: Once[int]("x", lease=n),
    "once.max_result": lambda n: Once[int]("x", max_result=n),
    "jobs.lease": lambda n: Jobs[int]("x", lease=n),
    "jobs.attempts": lambda n: Jobs[int]("x", attempts=n),
    "jobs.enqueue, delay": lambda n: JOBS.enqueue(1, delay=n),
    "jobs.enqueue, priority": lambda n: JOBS.enqueue(1, priority=n),
    "jobs.reserve": lambda n: JOBS.reserve(n, worker="w"),
    "jobs.retry": lambda n: JOBS.retry(JOB, "no", delay=n),
    "jobs.dead": JOBS.dead,
    "retry_later": RetryLater,
    "work.timeout": lambda n: Work(JOBS, id, timeout=n),
    "batch_work.size": lambda n: BatchWork(JOBS, id, size=n),
    "fifo.pop_many": lambda n: FifoQueue[int]("x").pop_many(n),
    "fifo.max_length": lambda n: FifoQueue[int]("x", max_length=n),
    "priority.put": lambda n: PriorityQueue[int]("x").put(1, priority=n),
    "delayed.put": lambda n: DelayedQueue[int]("x").put(1, delay=n),
    "sessions.idle": lambda n: Sessions(idle=n),
    "sessions.max_per_user": lambda n: Sessions(max_per_user=n),
    "flag.percentage": lambda n: Flag("x", percentage=n),
    "flag.serve": lambda n: Flag("x", serve={"on": n}),
    "flag.variants": lambda n: Flag("x", variants={"a": n, "b": 1.5}),
    "flag.version": lambda n: Flag("x", version=n),
    "flag_rule.percentage": lambda n: FlagRule(Condition("a", "present"), percentage=n),
    "condition.greater": lambda n: Condition("a", "greater", n),
    "condition.between": lambda n: Condition("a", "between", [n, n]),
    "flags.keep_changes": lambda n: Flags("x", keep_changes=n),
    "client.poll": lambda n: FlagClient(Flags("x"), poll=n),
}

TAKE_TEXTS: dict[str, Callable[[Any], object]] = {
    "name of a lock": Lock,
    "namespace": lambda t: Lock("x", namespace=t),
    "id of a limit": BUCKET.hit,
    "member of a board": lambda t: BOARD.add(t, 1),
    "members of a board": BOARD.entries,
    "order of a board": lambda t: Leaderboard("x", order=t),
    "key of a cache": lambda t: CACHE.set(t, 1),
    "tags of a cache": lambda t: CACHE.set("key", 1, tags=t),
    "id of a job": lambda t: JOBS.enqueue(1, id=t),
    "ids of jobs": JOBS.look,
    "job that is cancelled": JOBS.cancel,
    "state of jobs": JOBS.purge,
    "handle of a session": lambda t: Sessions().revoke("ann", t),
    "user of a session": lambda t: Sessions().create(t),
    "when of a count": lambda t: BucketedCounter("x").add(1, at=t),
    "plan of a batch": batch,
    "flag": Flag,
    "who is on a list": lambda t: Flag("x", allowlist=t),
    "serve": lambda t: Flag("x", serve=t),
    "operator": lambda t: Condition("a", t),
    "cookie": Cookie,
    "path of a cookie": lambda t: Cookie(path=t),
    "networks": lambda t: ClientAddress([t]),
    "unit": Calendar,
    "work": lambda t: Work(t, id),
}


TAKE_THEIR_OWN: dict[str, tuple[Callable[[Any], object], str]] = {
    "sessions.save": (lambda it: Sessions().save(it, {"a": 1}), "session must be a Session"),
    "sessions.rotate": (lambda it: Sessions().rotate(it), "session must be a Session"),
    "sessions.renew": (lambda it: Sessions().renew(it), "session must be a Session"),
    "sessions.login": (lambda it: Sessions().login(it, "ann"), "session must be a Session"),
    "sessions.destroy": (lambda it: Sessions().destroy(it), "session must be a Session"),
    "sessions.destroy_all": (lambda it: Sessions().destroy_all("ann", except_=it), "except_ must be a Session"),
    "jobs.settle": (JOBS.settle, "settlements must be a Settlement"),
}

TAKE_WORDS: dict[str, Callable[[Any], object]] = {
    "jobs.purge": JOBS.purge,
    "once.after_crash": lambda word: Once[int]("x", after_crash=word),
    "guarded.when_away": lambda word: Guarded(BUCKET, when_away=word),
    "cookie.same_site": lambda word: Cookie(same_site=word),
    "sessions.when_full": lambda word: Sessions(when_full=word),
    "condition.operator": lambda word: Condition("a", word),
    "calendar.unit": Calendar,
    "address.header": lambda word: ClientAddress(header=word),
    "cache.serve_stale": lambda word: Cache[int]("x", ttl=1, serve_stale=word),
    "board.order": lambda word: Leaderboard("x", order=word),
    "board.ties": lambda word: Leaderboard("x", ties=word),
}


def begin(step: object) -> None:
    """Run a flow, which looks at what it was given only then."""
    if isinstance(step, Flow):
        with Server().sync() as redis:
            redis.run(step)


@pytest.mark.parametrize("number", NUMBERS, ids=["positive", "negative", "unwritable", "NaN"])
@pytest.mark.parametrize("name", TAKE_NUMBERS)
def test_numbers(name: str, number: float) -> None:
    """Each is refused by an error that names the argument."""
    with pytest.raises(ConfigurationError) as refusal:
        begin(TAKE_NUMBERS[name](number))
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize("name", TAKE_TEXTS)
def test_texts(name: str) -> None:
    """What is refused is not quoted in full."""
    with pytest.raises(ConfigurationError) as refusal:
        begin(TAKE_TEXTS[name](LONG))
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize("given", ["a-secret", 1, [], JOB], ids=["id", "number", "list", "job"])
@pytest.mark.parametrize("name", TAKE_THEIR_OWN)
def test_something_else(name: str, given: object) -> None:
    """Where a session or such is wanted, its kind is named, and what was given is not shown: it may be a secret."""
    take, said = TAKE_THEIR_OWN[name]
    with pytest.raises(ConfigurationError) as refusal:
        begin(take(given))
    assert str(refusal.value) == f"{said}, not {type(given).__name__}"


@pytest.mark.parametrize("given", [[], {}, None, 1, "no such word"], ids=repr)
@pytest.mark.parametrize("name", TAKE_WORDS)
def test_words(name: str, given: object) -> None:
    """One of a few is wanted, and what is none of them is refused, also what has no hash."""
    with pytest.raises(ConfigurationError, match="must be"):
        begin(TAKE_WORDS[name](given))
