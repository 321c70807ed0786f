from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import fakeredis
import pytest

from redis_patterns import (
    DAY,
    HOUR,
    AllOf,
    BoardRefused,
    BucketedCounter,
    Command,
    CommandFailed,
    ConcurrencyLimit,
    ConfigurationError,
    Counter,
    Decision,
    ErrorReply,
    ExactUniques,
    FixedWindow,
    Flag,
    FlagClient,
    FlagConflict,
    Flags,
    Leaderboard,
    Limit,
    Lock,
    LockLost,
    NotCounted,
    Plan,
    SlidingCounter,
    SlidingLog,
    TokenBucket,
    Uniques,
)
from redis_patterns.sync import Driver
from redis_patterns.testing import Server
from redis_patterns.testing.memory import Clock
from redis_patterns.testing.memory import Server as Memory
from redis_patterns_core import replies
from redis_patterns_core.leaderboards import Mode
from redis_patterns_core.scanning import unlink_matching
from tests.drivers.plans import blocks, counts, once, reads, sets


def test_a_clock_that_begins_when_the_test_says() -> None:
    """By default each time the same; what takes the caller's clock can have the server's."""
    assert Clock().now() == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    begins = datetime(2030, 1, 2, tzinfo=UTC)
    server = Memory(Clock(start=begins))
    views = BucketedCounter("views", clock=server.clock.now)
    with server.sync() as redis:
        redis.run(sets("SET", "k", "v", "EX", 5))
        assert server.expiries() == [5.0]
        server.clock.advance(60)
        assert server.clock.now() == begins + timedelta(seconds=60)
        redis.run(views.add())
        assert redis.run(views.total(HOUR, begins)) == 1
    with pytest.raises(ConfigurationError, match="start must be a datetime with a time zone"):
        Clock(start=datetime(2030, 1, 2))  # noqa: DTZ001  that is what is wrong with it
    now = Memory(Clock(start=datetime.now(UTC)))
    with now.sync() as redis:
        redis.run(BucketedCounter("views").add())
        redis.run(Uniques("page").add("ann"))


def test_what_is_chosen_by_chance_is_the_same_each_time() -> None:
    """So that a run can be repeated; for others in this process chance stays what it is."""

    def chosen() -> list[Any]:
        with Memory().sync() as redis:
            redis.run(sets("HSET", "h", *map(str, range(200))))
            return [redis.run(reads("HRANDFIELD", "h", 2)) for _ in range(20)]

    first = chosen()
    assert first == chosen()
    assert len({str(some) for some in first}) > 10
    other: Any = fakeredis.FakeRedis()
    other.hset("h", mapping={str(number): number for number in range(200)})
    assert len({str(other.hrandfield("h", 2)) for _ in range(20)}) > 10


def test_keys_expire_when_the_test_says_so() -> None:
    """Moving the clock expires keys, moves TIME, and costs no time."""
    server = Memory()
    limiter = TokenBucket("api", capacity=1, refill_rate=0.01)
    with server.sync() as redis:
        redis.run(sets("SET", "k", "v", "EX", 3600))
        assert redis.run(limiter.hit("ann")).allowed
        assert not redis.run(limiter.hit("ann")).allowed
        server.clock.advance(100)
        assert redis.run(limiter.hit("ann")).allowed
        assert redis.run(reads("TTL", "k")) == 3500
        server.clock.advance(3501)
        assert redis.run(reads("GET", "k")) is None


def test_a_thread_that_follows_moves_no_time() -> None:
    """What a driver does by itself takes the time of everybody, and none of the test's."""
    server, flags, changed = Memory(), Flags("shop"), threading.Event()
    with server.sync() as redis:
        client = FlagClient(flags, on_event=lambda event: changed.set() if event.names else None)
        with redis.follow(client):
            time.sleep(0.05)
            assert server.clock() == 0
            redis.run(flags.put(Flag("a")))
            assert changed.wait(10)
            assert client.is_enabled("a")
        assert server.clock() == 0


def test_a_sync_driver_does_not_wait() -> None:
    """Its sleeps and its blocking plans put the clock forward."""
    server = Memory()
    started = time.monotonic()
    with server.sync() as redis:
        assert redis.run(blocks(600, "BLPOP", "q")) is None
        assert server.clock() == 600
        theirs = redis.run(Lock("x", ttl=60).acquire("theirs"))
        assert theirs is not None
        assert redis.run(Lock("x", ttl=60).wait_for(None)) is not None
        assert server.clock() >= 660
        with pytest.raises(RuntimeError, match="for ever"):
            redis.run(Plan("blpop", (Command(("BLPOP", "q", 0)),), len, blocks_for=0))
        with pytest.raises(ConnectionError):
            redis.run(blocks(600, "BLPOP", "q"), timeout=5)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_async_driver_waits_for_the_test(backend: str) -> None:
    """Sleeps end and leases are renewed as the test lets time pass, and a lease that is taken away is noticed."""
    server = Memory()
    lock = Lock("x", ttl=30)

    async def main() -> None:
        made: Any = server.asyncio() if backend == "asyncio" else server.trio()
        async with made as redis:
            async with redis.hold(lock) as held:
                await server.clock.elapse(3600)
                held.check()
            assert server.keys() == ["lock:{x}:fence"]
            with pytest.raises(LockLost):
                async with redis.hold(lock):
                    await redis.run(sets("SET", lock.key, "taken"))
                    await server.clock.elapse(60)
                    await anyio.sleep_forever()

    anyio.run(main, backend=backend)


def test_two_servers_have_nothing_in_common() -> None:
    """Neither data nor time; and others' fakeredis keeps the system's time."""
    first, second = Memory(), Memory()
    first.clock.advance(1000)
    first.run(sets("SET", "k", "first"))
    assert second.run(reads("GET", "k")) is None
    assert first.run(reads("TIME")) != second.run(reads("TIME"))
    with fakeredis.FakeRedis() as client:
        assert abs(client.time()[0] - time.time()) < 5


def test_scripts_that_it_forgets() -> None:
    """They are sent again, as on a real server."""
    server = Memory()
    with server.sync() as redis:
        assert redis.run(counts("k")) == 1
        server.flush_scripts()
        assert redis.run(counts("k")) == 2


def test_failing_over() -> None:
    """The replica has what had been executed, but for the last writes."""
    server = Memory()
    with pytest.raises(RuntimeError, match="replicate"):
        server.fail_over(0)
    server.replicate()
    for value in range(5):
        server.run(once("RPUSH", "k", value))
    server.run(sets("SET", "timed", 1, "EX", 10))
    server.clock.advance(5)
    server.fail_over(0)
    assert server.run(reads("TTL", "timed")) == 5
    assert server.run(reads("LLEN", "k")) == 5
    server.fail_over(4)
    assert server.run(reads("LLEN", "k")) == 4


def test_a_clock_goes_forward_only() -> None:
    """Nonsense is refused by its name."""
    for wrong in (-1, float("nan")):
        with pytest.raises(ConfigurationError, match="seconds must be 0 or more"):
            Clock().advance(wrong)


# Memory against a real server


# Windows so long that none ends while the test runs.
LIMITS: list[Limit] = [
    TokenBucket("t", capacity=5, refill_rate=1e-6),
    FixedWindow("f", limit=5, per=1e9),
    SlidingLog("s", limit=5, per=1e6),
    SlidingCounter("c", limit=5, per=1e9),
    SlidingLog("charged", limit=5, per=1e6, charge_refused=True),
]

BOARDS = [
    Leaderboard("b", part="dense", ties="dense"),
    Leaderboard("b", part="low", ties="competition", order="lowest", first_come=True, most=3),
    Leaderboard("b", part="first", first_come=True),
]
MODES: list[Mode] = ["set", "best", "increment"]


def _operations(seed: int, count: int) -> list[Plan[Any]]:
    """Make a random history of all patterns' operations, on few names so that they meet."""
    chance = random.Random(seed)
    board, lock = Leaderboard("b"), Lock("l", ttl=3600)
    slot = ConcurrencyLimit("c", limit=2, ttl=3600).slot("ann")
    several = AllOf(*LIMITS)
    # Kept for so long that it does not matter what time it is on either server.
    then, years = datetime(2026, 1, 1, tzinfo=UTC), 1e9
    counter, kept = Counter("n"), Counter("n", ttl=3600)
    by_time = BucketedCounter("n", keep={HOUR: years, DAY: years}, ahead=years, clock=lambda: then)
    pages = [Uniques(name, keep=years, ahead=years, clock=lambda: then) for name in ("p", "q")]
    exact = [ExactUniques(name, keep=years, ahead=years, clock=lambda: then, most=12) for name in ("p", "q")]
    leases = [lock._lease(token) for token in ("t1", "t2", "t3")]
    members = ["ann", "bob", "cy", "d é\r\n", "e{}"]
    flags = Flags("f", keep_changes=5)
    versions = [None, None, 0, 1, 2, 3]
    scores = [0, 1, -1, 2.5, 1e300, -0.1, 2**53, float("inf"), float("-inf"), 3]
    makers: list[Callable[[], Plan[Any]]] = [
        lambda: board.add(chance.choice(members), chance.choice(scores)),
        lambda: board.increment(chance.choice(members), chance.choice([1, -2, 0.5, 1e10])),
        lambda: board.score(chance.choice(members)),
        lambda: board.rank(chance.choice(members)),
        lambda: board.top(chance.randint(1, 6)),
        lambda: board.range(chance.randint(1, 3), chance.randint(3, 9)),
        lambda: board.around(chance.choice(members), chance.randint(1, 6)),
        board.count,
        lambda: board.remove(chance.choice(members)),
        lambda: chance.choice(BOARDS).submit(chance.choice(members), chance.choice(scores), mode=chance.choice(MODES)),
        lambda: chance.choice(BOARDS).submit_many(dict(zip(chance.sample(members, 2), scores, strict=False))),
        lambda: chance.choice(BOARDS).around(chance.choice(members), chance.randint(1, 6)),
        lambda: chance.choice(BOARDS).page(chance.randint(1, 3), 3),
        lambda: chance.choice(BOARDS).entries(members),
        lambda: chance.choice(BOARDS).bands([-1, 0.5, 3]),
        lambda: chance.choice(BOARDS).percentile(chance.choice(members)),
        lambda: chance.choice(BOARDS).remove(chance.choice(members)),
        lambda: BOARDS[0].merge([board, *BOARDS], ttl=3600, weights=[1, 0.5, 2, 1], aggregate="max"),
        *[
            lambda limit=limit: limit.hit(chance.choice(members), chance.randint(1, 6)).map(_without_time)
            for limit in LIMITS
        ],
        *[
            lambda limit=limit: limit.peek(chance.choice(members), chance.randint(1, 6)).map(_without_time)
            for limit in LIMITS
        ],
        lambda: chance.choice(LIMITS).reset(chance.choice(members)),
        lambda: several.hit(chance.choice(members), chance.randint(1, 4)).map(_without_time),
        lambda: counter.increment(chance.choice([1, -3, 2**62, -(2**62)]), event=chance.choice([None, "e", "f"])),
        lambda: kept.increment(chance.choice([1, -3, 2**62, -(2**62)])),
        lambda: counter.reset(id=chance.choice("abcdef")),
        counter.value,
        lambda: by_time.add(
            chance.choice([1, -3, 2**62, -(2**62)]),
            at=then - timedelta(hours=chance.randint(0, 50)),
            event=chance.choice([None, "e", "f"]),
        ),
        lambda: by_time.range(chance.choice((HOUR, DAY)), then - timedelta(hours=chance.randint(1, 50)), then),
        lambda: chance.choice(pages).add(*(f"m{chance.randint(0, 999)}" for _ in range(chance.randint(1, 20)))),
        lambda: chance.choice(exact).add(*(f"m{chance.randint(0, 14)}" for _ in range(chance.randint(1, 9)))),
        lambda: chance.choice([*pages, *exact]).count(),
        lambda: pages[0].count(across=pages[1:]),
        lambda: exact[0].count(across=exact[1:]),
        lambda: slot.acquire(chance.choice(leases).token),
        lambda: slot.extend(chance.choice(leases)),
        lambda: slot.release(chance.choice(leases)),
        lambda: lock.acquire(chance.choice(leases).token),
        lambda: lock.extend(chance.choice(leases)),
        lambda: lock.release(chance.choice(leases)),
        lambda: flags.put(
            Flag(
                chance.choice(members[:3]), requires={chance.choice(members[3:]): "on"}, percentage=chance.randint(0, 9)
            ),
            expected_version=chance.choice(versions),
        ),
        lambda: flags.put(Flag(chance.choice(members[3:]), requires={chance.choice(members[:3]): "on"})),
        lambda: flags.delete(chance.choice(members), expected_version=chance.choice(versions)),
        lambda: flags.get(chance.choice(members)),
        lambda: flags.evaluate(chance.choice(members), "ann"),
        lambda: flags.snapshot().map(list),
        lambda: flags.history(3).map(lambda changes: [(one.name, one.version, one.flag) for one in changes]),
    ]
    return [chance.choice(makers)() for _ in range(count)]


def _without_time(decision: Decision) -> tuple[bool, int, bool, tuple[str, ...]]:
    return decision.allowed, decision.remaining, decision.retry_after is None, decision.refused_by


@pytest.mark.parametrize("seed", range(15))
def test_it_answers_as_a_real_server_does(seed: int, redis_server: Server) -> None:
    """The same random history of two thousand operations on both, result by result."""
    memory = Memory()
    keys = [Leaderboard("b").key, Lock("l").key, *(key for board in BOARDS for key in board.here().keys)]
    keys += [limit.key(name) for limit in LIMITS for name in ("ann", "bob", "cy", "d é\r\n", "e{}")]
    keys += [ConcurrencyLimit("c", limit=2).key("ann"), Flags("f").key, f"{Flags('f').key}:changes"]
    counters = ("counter:*", "unique:*")
    with Driver.connect(redis_server.url) as real, memory.sync() as redis:
        for pattern in counters:
            real.run(unlink_matching(pattern))
        real.run(sets("DEL", *keys))
        for number, plan in enumerate(_operations(seed, 2000)):
            there = _outcome(real, plan)
            assert _outcome(redis, plan) == there, f"operation {number}: {plan.explain()}"
        found = [replies.text(key) for pattern in counters for key in replies.array(real.run(reads("KEYS", pattern)))]
        assert sorted(found) == [key for key in memory.keys() if key.startswith(("counter:", "unique:"))]  # noqa: SIM118
        for pattern in counters:
            real.run(unlink_matching(pattern))
        real.run(sets("DEL", *keys))


def _outcome(redis: Driver, plan: Plan[Any]) -> object:
    try:
        return redis.run(plan)
    except CommandFailed as error:
        return ErrorReply(error.code, "")
    except NotCounted as error:
        return error.reason
    except (BoardRefused, FlagConflict, ConfigurationError) as error:
        return str(error)
