"""Counters and unique counts through every driver, on a real server, on a cluster and in memory."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from redis_patterns import (
    DAY,
    HOUR,
    MINUTE,
    MONTH,
    BucketedCounter,
    CommandFailed,
    Counter,
    Effect,
    ExactUniques,
    NotCounted,
    Plan,
    Script,
    ShardedCounter,
    Uniques,
    batch,
)
from redis_patterns_core.hyperloglog import STANDARD_ERROR, add, decode, encode, estimate, union
from tests.drivers.faces import Face, Kind
from tests.drivers.plans import reads, sets

pytestmark = pytest.mark.anyio


_TIME = Script("time", "return {redis.call('TIME'), KEYS[1]}")


async def server_time(redis: Face) -> datetime:
    """Give the time by the server's clock, which in memory is another one."""
    plan: Plan[Any] = Plan("time", (_TIME(("any",)),), lambda answers: answers[0], Effect.READS)
    (seconds, microseconds), _ = await redis.run(plan)
    return datetime.fromtimestamp(int(seconds) + int(microseconds) / 1e6, UTC)


# Counters


async def test_a_counter(redis: Face, namespace: str) -> None:
    """Counts, what is taken away, and a reset that gives what there was."""
    counter = Counter("views", namespace=namespace)
    assert await redis.run(batch(counter.value(), counter.increment(5), counter.increment(-7))) == (0, 5, -2)
    assert await redis.run(counter.increment()) == -1
    assert await redis.run(reads("PTTL", counter.key)) == -1
    again = Counter("views", namespace=namespace)  # building one wipes nothing
    assert await redis.run(again.value()) == -1
    reset = counter.reset()
    assert [await redis.run(reset), await redis.run(reset), await redis.run(counter.value())] == [-1, -1, 0]


async def test_numbers_at_the_bounds(redis: Face, namespace: str) -> None:
    """All 64 bits are there, through scripts too; what does not fit is an error that changes nothing."""
    most, least = 2**63 - 1, -(2**63)
    for counter in (Counter("plain", namespace=namespace), Counter("kept", ttl=60, namespace=namespace)):
        assert await redis.run(counter.increment(most)) == most
        with pytest.raises(CommandFailed, match="overflow"):
            await redis.run(counter.increment(1))
        with pytest.raises(CommandFailed, match="overflow"):
            await redis.run(counter.increment(1, event="e"))
        assert await redis.run(counter.value()) == most
        assert await redis.run(counter.reset()) == most
        assert await redis.run(counter.increment(least)) == least
        with pytest.raises(CommandFailed, match="overflow"):
            await redis.run(counter.increment(-1))
        assert await redis.run(counter.increment(1, event="e")) == least + 1


async def test_a_counter_with_a_ttl(redis: Face, namespace: str) -> None:
    """It is there from the first step on."""
    counter = Counter("failures", ttl=60, namespace=namespace)
    assert [await redis.run(counter.increment()) for _ in range(2)] == [1, 2]
    ttl: Any = await redis.run(reads("PTTL", counter.key))
    assert 55_000 < ttl <= 60_000


async def test_a_crowd_counts(redis: Face, namespace: str) -> None:
    """No count is lost, and an event that all of them tell counts once."""
    plain, hot = Counter("plain", namespace=namespace), ShardedCounter("hot", shards=4, namespace=namespace)
    taken: list[int] = []

    async def counts(number: int) -> None:
        await redis.run(batch(plain.increment(number), hot.increment(number)))
        await redis.run(batch(plain.increment(1000, event="e"), hot.increment(1000, event=f"e{number % 3}")))
        if number % 10 == 0:
            taken.append(await redis.run(plain.reset()))

    async with anyio.create_task_group() as tasks:
        for number in range(30):
            tasks.start_soon(counts, number)
    assert sum(taken) + await redis.run(plain.value()) == sum(range(30)) + 1000
    assert await redis.run(hot.value()) == sum(range(30)) + 3000
    assert await redis.run(hot.reset()) == sum(range(30)) + 3000
    assert await redis.run(hot.value()) == 0


async def test_a_counter_becomes_hot(redis: Face, namespace: str) -> None:
    """It keeps what it has when it is given shards, and more of them."""
    await redis.run(Counter("c", namespace=namespace).increment(7))
    for shards in (2, 5):
        hot = ShardedCounter("c", shards=shards, chance=lambda: 1.0, namespace=namespace)
        await redis.run(hot.increment())
    assert await redis.run(hot.value()) == 9
    assert await redis.run(hot.reset(id="r")) == 9
    assert await redis.run(hot.reset(id="r")) == 9


# By time


@pytest.mark.parametrize("shards", [1, 3])
async def test_counts_by_time(redis: Face, namespace: str, shards: int) -> None:
    """Several resolutions in one step, late events, an event that is told twice, and ranges with their zeros."""
    now = await server_time(redis)
    views = BucketedCounter("views", shards=shards, clock=lambda: now, namespace=namespace)
    await redis.run(views.add(5))
    await redis.run(
        batch(views.add(at=now - timedelta(minutes=3)), views.add(2, at=now - timedelta(hours=5), event="e"))
    )
    await redis.run(views.add(2, at=now - timedelta(hours=4), event="e"))
    await redis.run(views.add(40, at=now - timedelta(days=20)))
    assert (await redis.run(views.last(MINUTE, 5))).counts == (0, 1, 0, 0, 5)
    hours, days = await redis.run(batch(views.last(HOUR, 7), views.range(DAY, now - timedelta(days=21))))
    assert (hours.total, days.total) == (8, 48)
    assert days.counts[1] == 40
    assert len(days.counts) == 22
    assert await redis.run(views.total(DAY, now - timedelta(days=2))) == 8
    for at in (now - timedelta(days=32), now + timedelta(minutes=6)):
        with pytest.raises(NotCounted):
            await redis.run(views.add(at=at))
    for key in {*views.keys(MINUTE, now), *views.keys(DAY, now), *views.keys(DAY, now - timedelta(days=20))}:
        ttl = await redis.run(reads("PTTL", key))
        assert ttl == -2 or (isinstance(ttl, int) and ttl > 3_400_000), key  # a shard may have got nothing


async def test_what_would_overflow_is_counted_nowhere(redis: Face, namespace: str) -> None:
    """Nor is the event remembered."""
    now = await server_time(redis)
    counter = BucketedCounter("c", clock=lambda: now, namespace=namespace)
    await redis.run(counter.add(2**63 - 2048, at=now - timedelta(hours=20)))
    with pytest.raises(CommandFailed, match="overflow"):
        await redis.run(counter.add(2**62, at=now - timedelta(hours=20), event="e"))
    await redis.run(counter.add(-5, at=now - timedelta(hours=20), event="e"))
    assert await redis.run(counter.total(HOUR, now - timedelta(hours=21))) == 2**63 - 2053


# Unique counts


@pytest.mark.parametrize("kind_of", [Uniques, ExactUniques])
async def test_unique_members(redis: Face, namespace: str, kind_of: Any) -> None:
    """Of a day, of several, and what comes too late; each key has its TTL."""
    now = await server_time(redis)
    page = kind_of("page", clock=lambda: now, namespace=namespace)
    await redis.run(page.add("ann", "bob", "ann"))
    await redis.run(batch(page.add("ann"), page.add("cy", "bob", at=now - timedelta(days=3)), page.add("ü\r\n")))
    assert await redis.run(batch(page.count(), page.count(now - timedelta(days=3)))) == (3, 2)
    assert await redis.run(page.count_range(now - timedelta(days=9))) == 4
    assert await redis.run(page.count([now, now - timedelta(days=1)])) == 3
    with pytest.raises(NotCounted):
        await redis.run(page.add("dan", at=now - timedelta(days=40)))
    ttl: Any = await redis.run(reads("PTTL", page.key(now)))
    assert 29 * 86_400_000 < ttl < 32 * 86_400_000


async def test_exact_members_across_pages(redis: Face, namespace: str) -> None:
    """On one node or on several: the same, by counting where they are and by merging."""
    now = await server_time(redis)
    pages = [ExactUniques(f"page{number}", clock=lambda: now, namespace=namespace) for number in range(5)]
    for number, page in enumerate(pages):
        await redis.run(page.add(*(f"m{member}" for member in range(number, number + 10))))
    site = ExactUniques("site", most=14, clock=lambda: now, namespace=namespace)
    assert await redis.run(pages[0].count(across=pages[1:])) == 14
    await redis.run(site.merge(*pages))
    assert await redis.run(site.count()) == 14


@pytest.mark.served
async def test_unique_members_across_pages(redis: Face, namespace: str, kind: Kind) -> None:
    """C3: on one node or on several the answer is that of one node that has all keys, within three standard errors."""
    now = await server_time(redis)
    rng = random.Random(7)
    pages = [Uniques(f"page{number}", clock=lambda: now, namespace=namespace) for number in range(5)]
    one = Uniques("one", clock=lambda: now, namespace=namespace)
    everybody = set[str]()
    for page, size in zip(pages, (3, 90, 900, 4000, 5000), strict=True):
        numbers = [rng.randrange(20_000) for _ in range(size)]
        members = [f"{'x' * (number % 33)}m{number}" for number in numbers]  # of all lengths, as it is by eight bytes
        everybody.update(members)
        await redis.run(batch(page.add(*members), one.add(*members)))
    across, alone = await redis.run(batch(pages[0].count(across=pages[1:]), one.count()))
    assert across == alone
    assert abs(across / len(everybody) - 1) < 3 * STANDARD_ERROR
    site = Uniques("site", period=MONTH, clock=lambda: now, namespace=namespace)
    await redis.run(site.merge(*pages))
    await redis.run(site.merge(*pages, at=now))
    assert await redis.run(site.count()) == alone
    # And register by register: in the sparse form and in the dense one, each as the server has made it.
    stored: list[Any] = list(await redis.run(batch(*(reads("GET", page.key(now)) for page in [*pages, one, site]))))
    registers = [decode(data) for data in stored]
    assert {data[4] for data in stored} == {0, 1}
    assert union(registers[:5]) == registers[5] == registers[6] == add(0, [member.encode() for member in everybody])
    counts = await redis.run(batch(*(page.count() for page in pages)))
    assert [estimate(one) for one in registers[:5]] == list(counts)


@pytest.mark.served
async def test_registers_count_as_redis_counts_them(redis: Face, namespace: str) -> None:
    """Whatever they are, full ones too, for which there is a term of their own."""
    now = await server_time(redis)
    page = Uniques("page", clock=lambda: now, namespace=namespace)
    rng = random.Random(7)
    for ranks in ([0, 1], [51, 47, 51, 51], [51, 0], [51, 20, 3], [50, 40], list(range(52)), list(range(30, 52))):
        registers = sum(rng.choice(ranks) << 6 * place for place in range(16384))
        await redis.run(sets("SET", page.key(now), encode(registers), "PX", 60_000))
        assert await redis.run(page.count()) == estimate(registers), ranks
    await redis.run(sets("DEL", page.key(now)))


@pytest.mark.served
async def test_what_is_no_hyperloglog(redis: Face, namespace: str) -> None:
    """It is an error, and leaves nothing behind."""
    now = await server_time(redis)
    page = Uniques("page", clock=lambda: now, namespace=namespace)
    await redis.run(sets("SET", page.key(now), "x"))
    for plan in (page.add("ann"), page.count()):
        with pytest.raises(CommandFailed, match="WRONGTYPE"):
            await redis.run(plan)
    site = Uniques("page", period=MONTH, clock=lambda: now, namespace=namespace)
    await redis.run(sets("SET", site.key(now), "x", "PX", 5000))
    other = Uniques("other", clock=lambda: now, namespace=namespace)
    await redis.run(other.add("ann"))
    with pytest.raises(CommandFailed, match="WRONGTYPE"):
        await redis.run(site.merge(other))
    left: Any = await redis.run(reads("PTTL", f"{namespace}:unique:{{page}}:merging"))
    assert left <= 1000
    await redis.run(sets("DEL", page.key(now)))
