"""Every pattern through every driver, on a real server."""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import replace

import anyio
import anyio.lowlevel
import pytest

from redis_patterns import (
    GCRA,
    AllOf,
    ConcurrencyLimit,
    Decision,
    Entry,
    FixedWindow,
    Guarded,
    Held,
    Leaderboard,
    LeakyBucket,
    Limit,
    Lock,
    LockLost,
    LockNotAcquired,
    Occupancy,
    SlidingCounter,
    SlidingLog,
    TokenBucket,
    batch,
)
from tests.drivers.faces import Face, Kind
from tests.drivers.plans import reads, sets

pytestmark = pytest.mark.anyio


# Leaderboards


async def test_leaderboard(redis: Face, namespace: str) -> None:
    """Scores, ranks, ranges and the rows around a member, 0 and absence told apart."""
    board = Leaderboard("weekly", namespace=namespace)
    assert await redis.run(batch(board.top(3), board.score("ann"), board.rank("ann"), board.count())) == (
        [],
        None,
        None,
        0,
    )
    await redis.run(batch(board.add("ann", 30), board.add("bob", 0), board.add("cy", -2.5), board.add("d\r\n é", 7)))
    assert await redis.run(board.top(2)) == [Entry("ann", 30, 1), Entry("d\r\n é", 7, 2)]
    assert await redis.run(board.score("bob")) == 0
    assert await redis.run(board.rank("cy")) == 4
    assert await redis.run(board.increment("cy", 3)) == 0.5
    assert await redis.run(board.range(2, 3)) == [Entry("d\r\n é", 7, 2), Entry("cy", 0.5, 3)]
    assert await redis.run(board.around("bob", 2)) == [Entry("cy", 0.5, 3), Entry("bob", 0, 4)]
    assert await redis.run(board.around("nobody", 3)) is None
    assert await redis.run(batch(board.remove("ann"), board.remove("ann"), board.count())) == (True, False, 3)
    await redis.run(sets("DEL", board.key))


async def test_leaderboard_keeps_scores_exactly(redis: Face, namespace: str) -> None:
    """Doubles and infinities come back as they went, in both protocols."""
    board = Leaderboard("exact", namespace=namespace)
    scores = {"a": 0.1, "b": 2.0**53, "c": -(2.0**53), "d": 1e300, "e": 5e-324, "f": float("inf"), "g": -float("inf")}
    await redis.run(batch(*(board.add(member, score) for member, score in scores.items())))
    assert {entry.member: entry.score for entry in await redis.run(board.top(10))} == scores
    assert await redis.run(batch(*(board.score(member) for member in scores))) == tuple(scores.values())
    await redis.run(sets("DEL", board.key))


# Rate limits


async def test_token_bucket(redis: Face, namespace: str) -> None:
    """It gives what it holds, refuses at no cost, says when to come back, and its key expires by itself."""
    bucket = TokenBucket("api", capacity=3, refill_rate=0.01, namespace=namespace)
    decisions = [await redis.run(bucket.hit("ann")) for _ in range(4)]
    assert [decision.allowed for decision in decisions] == [True, True, True, False]
    assert [decision.remaining for decision in decisions] == [2, 1, 0, 0]
    assert decisions[-1].retry_after == pytest.approx(100, abs=1)
    assert decisions[-1].reset_after == pytest.approx(300, abs=1)
    assert (await redis.run(bucket.peek("bob"))).remaining == 3
    ttl = await redis.run(reads("PTTL", bucket.key("ann")))
    assert isinstance(ttl, int)
    assert 290_000 < ttl <= 300_001
    await redis.run(bucket.reset("ann"))
    assert await redis.run(reads("EXISTS", bucket.key("ann"))) == 0
    refused = await redis.run(bucket.hit("ann", cost=4))
    assert (refused.allowed, refused.retry_after, refused.remaining) == (False, None, 3)


async def test_token_bucket_admits_exactly_its_capacity_to_a_crowd(redis: Face, namespace: str) -> None:
    """Of many that come at once, as many are let in as there are tokens."""
    bucket = TokenBucket("crowd", capacity=10, refill_rate=0.001, namespace=namespace)
    admitted: list[int] = []

    async def hit(number: int) -> None:
        if (await redis.run(bucket.hit("all"))).allowed:
            admitted.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(hit, number)
    assert len(admitted) == 10
    await redis.run(bucket.reset("all"))


LIMITS = [
    FixedWindow("api", limit=10, per=3600),
    SlidingLog("api", limit=10, per=3600),
    SlidingCounter("api", limit=10, per=3600),
    GCRA("api", limit=10, per=3600),
    LeakyBucket("api", capacity=10, leak_rate=0.001),
    AllOf(FixedWindow("a", limit=10, per=3600), SlidingLog("b", limit=20, per=3600)),
]


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: type(limit).__name__)
async def test_every_limit(redis: Face, namespace: str, limit: Limit | AllOf) -> None:
    """Of a crowd as many are let in as the limit says, a refund lets in one more, and a reset all of them."""
    id = f"{namespace}-{secrets.token_hex(8)}"
    taken: list[Decision] = []

    async def hit() -> None:
        if decision := await redis.run(limit.hit(id)):
            taken.append(decision)

    async with anyio.create_task_group() as tasks:
        for _ in range(25):
            tasks.start_soon(hit)
    assert len(taken) == 10
    refused = await redis.run(limit.hit(id))
    assert not refused
    assert refused.retry_after is not None
    assert 0 < refused.retry_after <= 7200
    assert (await redis.run(limit.hit(id, 21))).retry_after is None
    assert await redis.run(limit.refund(taken[-1])) is True
    assert await redis.run(limit.refund(refused)) is False
    assert await redis.run(limit.hit(id))
    assert not await redis.run(limit.hit(id))
    await redis.run(limit.reset(id))
    assert (await redis.run(limit.peek(id))).remaining == 10


async def test_a_bucket_gets_back_what_several_have_taken(redis: Face, namespace: str) -> None:
    """Also where others have come meanwhile, all that has not come back by itself is given back."""
    bucket, id = TokenBucket("b", capacity=10, refill_rate=0.001, namespace=namespace), secrets.token_hex(8)
    first, second, third = await redis.run(batch(bucket.hit(id, 4), bucket.hit(id, 3), bucket.hit(id, 2)))
    assert await redis.run(bucket.refund(first)) is True
    assert (await redis.run(bucket.hit(id, 5))).remaining == 0
    assert await redis.run(batch(bucket.refund(second), bucket.refund(third))) == (True, True)
    assert (await redis.run(bucket.peek(id))).remaining == 5
    await redis.run(bucket.reset(id))


async def test_limits_of_several_ids(redis: Face, namespace: str) -> None:
    """Where the second refuses the first has what it had, on one node and on several."""
    user, tenant = FixedWindow("user", limit=5, per=1e9), FixedWindow("tenant", limit=2, per=1e9)
    both = AllOf(replace(user, namespace=namespace), replace(tenant, namespace=namespace))
    ids = [secrets.token_hex(8) for _ in range(3)]
    for number, name in enumerate((0, 1, 0)):
        decision = await redis.run(both.hit_each(ids[name], ids[2]))
        assert decision.allowed == (number < 2)
        assert decision.refused_by == (() if number < 2 else ("tenant",))
    assert (await redis.run(both.limits[0].peek(ids[0]))).remaining == 4
    taken = await redis.run(both.hit_each(ids[0], ids[1]))
    assert await redis.run(both.refund(taken)) is True
    assert (await redis.run(both.limits[0].peek(ids[0]))).remaining == 4


async def test_waiting_for_a_limit(redis: Face, namespace: str) -> None:
    """It asks again when it was told to, and takes its turn in a leaky bucket."""
    limit = SlidingLog("wait", limit=1, per=0.03, namespace=namespace)
    leaky = LeakyBucket("wait", capacity=2, leak_rate=50, namespace=namespace)
    id = secrets.token_hex(8)
    for _ in range(2):
        assert await redis.run(limit.wait_for(id, wait=5))
        assert await redis.run(leaky.wait_for(id, wait=5))
    assert not await redis.run(limit.wait_for(id, wait=0))


async def test_a_limit_guarded(redis: Face, namespace: str) -> None:
    """While Redis is there it decides."""
    limit = FixedWindow("g", limit=1, per=1e9, namespace=namespace)
    guarded = Guarded(limit, when_away="local", within=5, remember=True)

    id = secrets.token_hex(8)
    decisions = [await redis.run(guarded.hit(id)) for _ in range(3)]
    assert [(one.allowed, one.source) for one in decisions] == [(True, "redis"), (False, "redis"), (False, "memory")]


@pytest.mark.renews
async def test_slots(redis: Face, namespace: str) -> None:
    """Never more than so many hold one at the same time, and all of them get their turn."""
    exports = ConcurrencyLimit("exports", limit=3, ttl=30, namespace=namespace)
    id, inside, most = secrets.token_hex(8), 0, 0

    async def work() -> None:
        nonlocal inside, most
        async with redis.hold(exports.slot(id), wait=30) as held:
            inside += 1
            most = max(most, inside)
            await anyio.lowlevel.checkpoint()
            held.check()
            inside -= 1

    async with anyio.create_task_group() as tasks:
        for _ in range(12):
            tasks.start_soon(work)
    assert most <= 3
    assert await redis.run(exports.count(id)) == 0
    with pytest.raises(LockNotAcquired, match="slot 'exports' was held by others"):
        async with contextlib.AsyncExitStack() as held_at_once:
            for _ in range(4):
                await held_at_once.enter_async_context(redis.hold(exports.slot(id), wait=0))


# Locks


async def test_lock(redis: Face, namespace: str) -> None:
    """Taken once, prolonged and freed by its own token only."""
    lock = Lock("order", ttl=30, namespace=namespace)
    lease = await redis.run(lock.acquire("mine"))
    assert lease is not None
    assert await redis.run(lock.acquire("other")) is None
    assert await redis.run(lock.acquire("mine")) == lease
    stranger = await redis.run(Lock("order", namespace=f"{namespace}-2").acquire("other"))
    assert stranger is not None
    assert await redis.run(batch(lock.extend(stranger), lock.release(stranger))) == (False, False)
    assert await redis.run(lock.extend(lease, ttl=60)) is True
    ttl = await redis.run(reads("PTTL", lock.key))
    assert isinstance(ttl, int)
    assert 50_000 < ttl <= 60_000
    assert await redis.run(batch(lock.release(lease), lock.release(lease), lock.extend(lease))) == (True, False, False)
    assert await redis.run(reads("EXISTS", lock.key)) == 0
    await redis.run(Lock("order", namespace=f"{namespace}-2").release(stranger))


async def test_hold(redis: Face, namespace: str) -> None:
    """The lock is held inside the block and free after it, after an error too."""
    lock = Lock("held", namespace=namespace)
    async with redis.hold(lock) as held:
        held.check()
        assert await redis.run(reads("GET", lock.key)) == held.lease.token.encode()
        with pytest.raises(LockNotAcquired, match="'held'"):
            async with redis.hold(lock, wait=0):
                raise AssertionError("two hold it")
    assert await redis.run(reads("EXISTS", lock.key)) == 0
    with pytest.raises(LookupError, match="the block's own"):
        async with redis.hold(lock):
            raise LookupError("the block's own")
    assert await redis.run(reads("EXISTS", lock.key)) == 0


@pytest.mark.renews
async def test_hold_waits_for_its_turn(redis: Face, namespace: str) -> None:
    """Many that want one lock hold it one after another, never two at a time."""
    lock = Lock("turns", ttl=5, namespace=namespace)
    inside = 0
    served: list[int] = []

    async def work(number: int) -> None:
        nonlocal inside
        async with redis.hold(lock, wait=20) as held:
            inside += 1
            assert inside == 1
            await anyio.lowlevel.checkpoint()
            held.check()
            served.append(number)
            inside -= 1

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(work, number)
    assert sorted(served) == list(range(8))


@pytest.mark.renews
async def test_hold_renews(redis: Face, namespace: str) -> None:
    """A lease shorter than its block lives on while the block runs."""
    lock = Lock("renewed", ttl=0.3, namespace=namespace)
    async with redis.hold(lock) as held:
        first = held.ends_at
        with anyio.fail_after(5):
            while held.ends_at == first:
                await anyio.sleep(0.01)
        assert await redis.run(reads("GET", lock.key)) == held.lease.token.encode()
        assert not held.lost


@pytest.mark.renews
async def test_hold_tells_of_a_lost_lock(redis: Face, kind: Kind, namespace: str) -> None:
    """A lock that was taken away is told: the async drivers cancel the block, the sync one lets it ask."""
    lock = Lock("lost", ttl=0.3, namespace=namespace)
    seen: list[Held] = []
    with pytest.raises(LockLost, match="'lost'"):
        async with redis.hold(lock) as held:
            seen.append(held)
            await redis.run(sets("SET", lock.key, "somebody else", "PX", 60_000))
            with anyio.fail_after(5):
                while not held.lost:
                    await anyio.sleep(0.01)
                if not kind.name.startswith("sync"):
                    await anyio.sleep_forever()
            held.check()
    assert seen[0].lost
    # What somebody else holds now was not freed by us.
    assert await redis.run(reads("GET", lock.key)) == b"somebody else"
    await redis.run(sets("DEL", lock.key))


async def test_a_waiter_is_woken(redis: Face, kind: Kind, namespace: str) -> None:
    """Those who wait ask nothing until the lock is given back, and then one of them has it at once."""
    if kind.name == "sync-own":
        return  # nobody waits there: its time goes on by itself
    lock, acquired = Lock("wake", ttl=60, namespace=namespace), anyio.Event()
    first, lease = await redis.run(lock.acquire()), None
    assert first is not None

    async def wait() -> None:
        nonlocal lease
        lease = await redis.run(lock.wait_for(30))
        acquired.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        with anyio.fail_after(10):
            while not (await redis.run(lock.inspect())).waiting:
                await anyio.sleep(0.005)
            await redis.run(lock.release(first))
            await acquired.wait()
    assert lease is not None
    assert lease.fence > first.fence > 0
    now = await redis.run(lock.inspect())
    (holder,) = now.holders
    assert (holder.fingerprint, now.waiting, holder.fence) == (lease.fingerprint, 0, lease.fence)
    await redis.run(lock.release(lease))
    assert await redis.run(lock.inspect()) == Occupancy((), 0)
