"""The table of kinds of keys against what the patterns write: all run in memory, and every key is looked at each time.

A new pattern is one more line in `PATTERNS`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from redis_patterns import (
    DAY,
    GCRA,
    MISS,
    WEEK,
    BucketedCounter,
    Cache,
    ConcurrencyLimit,
    Counter,
    DelayedQueue,
    ExactUniques,
    FairLock,
    FifoQueue,
    FixedWindow,
    Flag,
    Flags,
    Flow,
    Jobs,
    Leaderboard,
    LeakyBucket,
    Lease,
    Lock,
    MemberData,
    Once,
    PriorityQueue,
    ReadWriteLock,
    ReentrantLock,
    Semaphore,
    Sessions,
    ShardedCounter,
    SlidingCounter,
    SlidingLog,
    TokenBucket,
    Uniques,
    WriteBehind,
)
from redis_patterns.testing import memory
from redis_patterns_core.flow import Steps, flow, perform
from redis_patterns_core.keys import key
from redis_patterns_core.keyspace import KINDS, KeyKind, known, matching, problems
from redis_patterns_core.leases import InOneStep
from redis_patterns_core.rate_limits import Limit
from redis_patterns_core.surveys import survey
from redis_patterns_core.tracing import Outcome, Subject
from tests.drivers.faces import Face
from tests.drivers.plans import once, reads


@flow
def leased(lease: InOneStep, others: InOneStep | None = None) -> Steps[None]:
    """Hold it, let two wait in line, and let one of them go before it is given back."""
    line = others or lease
    held = yield from lease.acquire("a")
    assert held is not None
    for token in ("b", "c"):
        yield from line._attempt(Lease(lease.name, token), 5000)
    yield from line.release(Lease(lease.name, "b"))
    yield from line._attempt(Lease(lease.name, "b"), 5000)
    yield from lease.release(held)


@flow
def hit(limit: Limit) -> Steps[None]:
    for _ in range(3):
        yield from limit.hit("ann")


@flow
def queued(queue: FifoQueue[int] | PriorityQueue[int] | DelayedQueue[int], *puts: Any) -> Steps[None]:
    for put in puts:
        yield from perform(put)
    yield from queue.fail(3, "why")
    yield from queue.requeue_failed()
    yield from queue.fail(3, "why")
    yield from queue.pop()


@flow
def cached(cache: Cache[int]) -> Steps[None]:
    yield from cache.set("a", 1, tags=["t"])
    lease = yield from cache._acquire("b", 1000, ())
    yield from cache._acquire("b", 1000, ())  # which waits
    yield from cache._fill("b", lease.epoch, cache._packed(b"1", 0.0, {}), 1000)
    yield from cache._acquire("b", 1000, (), early=True)  # which refreshes it
    yield from cache.clear()


@flow
def behind(writes: WriteBehind[int]) -> Steps[None]:
    def save(_: Any) -> None:
        raise OSError

    yield from writes.put("a", 1)
    for _ in range(2):  # after which it is dead
        try:
            yield from writes.flush(save, all_now=True)
        except OSError:
            continue
    yield from writes.load("b", lambda: MISS)


@flow
def visited(sessions: Sessions) -> Steps[None]:
    visitor = yield from sessions.create(None, {"cart": 1})
    generation = yield from sessions.generation("ann")
    session = yield from sessions.login(visitor, "ann", generation=generation)
    yield from sessions.load(session.id)
    yield from sessions.destroy_all("ann")


@flow
def worked(jobs: Jobs[int]) -> Steps[None]:
    yield from jobs.enqueue_many([1, 2, 3, 4], ids=list("abcd"), unique=list("wxyz"))
    yield from jobs.enqueue(5, delay=60)
    taken = yield from jobs.reserve(4, worker="w")
    first, _, third, fourth = taken.jobs
    yield from jobs.report(first, "half")
    yield from jobs.cancel("b")
    yield from jobs.extend(taken.jobs, worker="w")
    yield from jobs.settle(jobs.ack(first, 1), jobs.retry(third, "why", delay=1), jobs.give_up(fourth, "why"))
    yield from jobs.pause()
    yield from jobs.redrive("d")


@flow
def scored(board: Leaderboard) -> Steps[None]:
    yield from board.add("ann", 1)
    yield from board.increment("bob")
    yield from MemberData[str](board).put("ann", "Ann")
    yield from board.remove("bob")


@flow
def counted(counter: Counter | ShardedCounter) -> Steps[None]:
    yield from counter.increment(event="e")
    yield from counter.increment()
    yield from counter.reset()


@flow
def flagged(flags: Flags) -> Steps[None]:
    yield from flags.put(Flag("new"))
    yield from flags.delete("new")


@flow
def done_once(task: Once[int]) -> Steps[None]:
    claim = yield from task.claim("a")
    yield from task.complete("a", claim.token, 1)


@flow
def several(*steps: Any) -> Steps[None]:
    for step in steps:
        yield from perform(step)


def now() -> datetime:
    """Give the time of a server in memory that has just begun."""
    return datetime.fromtimestamp(memory.Clock().time(), UTC)


_FIFO, _BY_PRIORITY, _LATER = FifoQueue[int]("q"), PriorityQueue[int]("q"), DelayedQueue[int]("q")

PATTERNS: dict[str, Callable[[], Flow[None]]] = {
    "BucketedCounter": lambda: several(
        *[BucketedCounter("b", shards=shards, clock=now, chance=lambda: 0.9).add(event="e") for shards in (1, 2)]
    ),
    "Cache": lambda: cached(Cache[int]("c", ttl=60, clearable=True)),
    "ConcurrencyLimit": lambda: leased(ConcurrencyLimit("e", limit=1).slot("ann")),
    "Counter": lambda: several(counted(Counter("c")), counted(Counter("d", ttl=60))),
    "DelayedQueue": lambda: queued(_LATER, _LATER.put(1, delay=60), _LATER.put(2)),
    "ExactUniques": lambda: several(ExactUniques("u", clock=now).add("ann")),
    "FairLock": lambda: leased(FairLock("l")),
    "FifoQueue": lambda: queued(_FIFO, _FIFO.put_many([1, 2])),
    "FixedWindow": lambda: hit(FixedWindow("api", limit=2, per=60)),
    "Flags": lambda: flagged(Flags("web")),
    "GCRA": lambda: hit(GCRA("api", limit=2, per=60)),
    "Jobs": lambda: worked(Jobs[int]("j", result_ttl=60)),
    "Leaderboard": lambda: several(
        scored(Leaderboard("b")),
        scored(Leaderboard("c", part="eu", ties="dense", first_come=True)),
        scored(Leaderboard("d", period=DAY, keep=60, ties="dense", clock=now)),
    ),
    "LeakyBucket": lambda: hit(LeakyBucket("api", capacity=2, leak_rate=1)),
    "Lock": lambda: leased(Lock("l")),
    "Once": lambda: done_once(Once[int]("o")),
    "PriorityQueue": lambda: queued(_BY_PRIORITY, _BY_PRIORITY.put_many([1, 2])),
    "ReadWriteLock": lambda: leased(ReadWriteLock("l").write()),
    "ReentrantLock": lambda: leased(ReentrantLock("l", owner="o"), ReentrantLock("l", owner="p")),
    "Semaphore": lambda: leased(Semaphore("s", limit=1)),
    "Sessions": lambda: visited(Sessions()),
    "ShardedCounter": lambda: counted(ShardedCounter("c", shards=2, chance=lambda: 0.9)),
    "SlidingCounter": lambda: hit(SlidingCounter("api", limit=2, per=60)),
    "SlidingLog": lambda: hit(SlidingLog("api", limit=2, per=60)),
    "TokenBucket": lambda: hit(TokenBucket("api", capacity=2, refill_rate=1)),
    "Uniques": lambda: several(
        Uniques("u", clock=now).add("ann"), Uniques("u", period=WEEK, clock=now).merge(Uniques("u", clock=now))
    ),
    "WriteBehind": lambda: behind(WriteBehind[int]("w", ttl=60, tries=2, retry_after=0.001)),
}


class Watcher:
    """An instrument that looks at all keys after each plan."""

    def __init__(self, server: memory.Server) -> None:
        self.server = server
        self.kinds: set[KeyKind] = set()

    def begin(self, _: Subject) -> Callable[[Outcome], None]:
        return self._look

    def _look(self, _: Outcome) -> None:
        names = self.server.keys()
        for name in names:
            found = known(name.encode())
            assert found is not None, f"{name} is in no row of the table"
            type_, left = self.server.run(reads("TYPE", name)), self.server.run(reads("PTTL", name))
            said = type_.decode() if isinstance(type_, bytes) else type_
            assert isinstance(said, str)
            assert isinstance(left, int)
            assert problems(found.kind, said, left) == [], name
            self.kinds.add(found.kind)


def seen(step: Flow[None]) -> set[KeyKind]:
    server = memory.Server()
    watcher = Watcher(server)
    with server.sync(instrument=watcher) as driver:
        driver.run(step)
    return watcher.kinds


@pytest.mark.parametrize("name", PATTERNS)
def test_every_key_of_a_pattern_is_known(name: str) -> None:
    """After each round trip, every key is in the table, and has the type and the TTL that stand there."""
    kinds = seen(PATTERNS[name]())
    assert kinds
    assert all(name in kind.pattern or kind.kind in {"counter", "queue", "unique"} for kind in kinds)


def test_the_table_has_nothing_else() -> None:
    """Every row is of a key that some pattern writes."""
    kinds = {kind for make in PATTERNS.values() for kind in seen(make())}
    assert {row.label for row in set(KINDS) - kinds} == set()


@pytest.mark.anyio
async def test_a_survey_on_every_driver(redis: Face, namespace: str) -> None:
    """A survey finds what there is in a namespace and what is wrong there, on all nodes, and nothing of others'."""
    for name in map(str, range(20)):
        await redis.run(Lock(name, namespace=namespace).acquire())
    orphan = key("leaderboard", "gone", part="scores", namespace=namespace)
    await redis.run(once("ZADD", orphan, 1, "ann"))
    found = await redis.run(survey(matching(namespace, "*")))
    assert {tally.kind.label: tally.keys for tally in found.tallies if tally.kind is not None} == {
        "lock:{}": 20,
        "lock:{}:fence": 20,
        "leaderboard:{}:scores": 1,
    }
    assert [(one.key, one.problem) for one in found.offences] == [(orphan.encode(), "orphan")]
    assert (found.wrong, found.whole) == (1, True)
