"""What is leased in the order of arrival: the scripts in both Luas, and the flows without a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from redis_patterns import (
    ConcurrencyLimit,
    ConfigurationError,
    DecodeError,
    Effect,
    FairLock,
    Holder,
    Lease,
    Occupancy,
    OutcomeUnknown,
    Plan,
    ReadWriteLock,
    ReentrantLock,
    Semaphore,
    Unreachable,
)
from redis_patterns.testing import Dry
from redis_patterns_core.lease_records import fingerprint
from redis_patterns_core.leases import campaign
from redis_patterns_core.queued import Queued
from tests.core.lua import RUNTIMES, Fake, sent

NO_TEXT: Any = 5
FAIR = FairLock("x", ttl=10)
RW = ReadWriteLock("x", ttl=10)
GPUS = Semaphore("x", limit=4, ttl=10)


def lease(token: str) -> Lease:
    return Lease("x", token)


class Line:
    """Those who want something, on a fake Redis; who waits is in its line."""

    def __init__(self, version: str) -> None:
        self.redis = Fake(version)

    def ask(self, lock: Queued, token: str, wait: int = 15_000) -> Any:
        """Give what the script answers, tokens as text."""
        reply: Any = self.redis.reply(lock._acquisition(token, wait))
        return [*reply[:3], reply[3].decode().rpartition(":")[2]]

    def gets(self, lock: Queued, token: str) -> bool:
        """Tell whether one who waits is let in."""
        return bool(self.ask(lock, token)[0])

    def woken(self, lock: Queued) -> list[str]:
        """Give the tokens of those who are woken, and take their wake-ups; ``first`` for the first in line."""
        prefix = f"{lock.wake_key}:"
        members = [(f"{lock.mode}{weight}::{token}", token) for token in "abcdefgh" for weight in (1, 2, 4)]
        names = {fingerprint(member): token for member, token in members}
        found = [key for key in self.redis.lists if key.startswith(lock.wake_key)]
        for key in found:
            del self.redis.lists[key]
            del self.redis.expiry[key]
        return [f"behind {names[key.removeprefix(prefix)]}" if key.startswith(prefix) else "first" for key in found]

    def releases(self, lock: Queued, token: str) -> bool:
        """Give back, or give up."""
        return bool(self.redis.run(lock.release(lease(token))))


@pytest.fixture(params=sorted(RUNTIMES))
def line(request: pytest.FixtureRequest) -> Line:
    """A line in each Lua."""
    return Line(request.param)


# In the order of arrival


def test_one_after_the_other(line: Line) -> None:
    """Who comes later waits behind one other, is woken when that one leaves, and overtakes nobody."""
    assert line.gets(FAIR, "a")
    assert line.ask(FAIR, "b") == [0, 10_000, 0, ""]
    assert line.ask(FAIR, "c") == [0, 1000, 0, "b"], "the second looks whether the first comes"
    assert line.ask(FAIR, "d") == [0, 15_000, 0, "c"]
    assert line.releases(FAIR, "a")
    assert line.woken(FAIR) == ["first"]
    assert line.ask(FAIR, "e", 0)[0] == 0, "it is free, but there are others first"
    assert not line.gets(FAIR, "d")
    line.woken(FAIR)
    assert line.gets(FAIR, "b")
    assert line.woken(FAIR) == ["behind b"]
    assert line.ask(FAIR, "c") == [0, 10_000, 0, ""]
    assert line.releases(FAIR, "b")
    assert line.gets(FAIR, "c")
    assert line.releases(FAIR, "c")
    line.woken(FAIR)
    assert line.gets(FAIR, "d")
    assert line.releases(FAIR, "d")
    assert line.woken(FAIR) == []
    assert set(line.redis.expiry) == {"fairlock:{x}:fence"}


def test_who_gives_up_lets_the_next_one_know(line: Line) -> None:
    """In the middle of the line and at its head; a wake-up that it had taken is not lost."""
    assert line.gets(FAIR, "a")
    for token in "bcd":
        line.ask(FAIR, token)
    assert not line.releases(FAIR, "c")
    assert line.woken(FAIR) == ["behind c"]
    assert line.ask(FAIR, "d")[3] == "b"
    line.releases(FAIR, "a")
    assert line.woken(FAIR) == ["first"]
    assert not line.releases(FAIR, "b")
    assert line.woken(FAIR) == ["behind b"]
    assert line.gets(FAIR, "d")
    assert line.ask(FAIR, "e", 0) == [0, 10_000, 0, ""]
    assert line.redis.run(FAIR.inspect()).waiting == 0


def test_the_dead_hold_nobody_up_for_long(line: Line) -> None:
    """When it is the turn of one who is gone, the second sees to it within two seconds."""
    assert line.gets(FAIR, "a")
    for token in "bcd":
        line.ask(FAIR, token)
    line.releases(FAIR, "a")
    line.woken(FAIR)
    line.redis.now += 400_000
    assert line.ask(FAIR, "c") == [0, 1000, 0, "b"]
    assert line.woken(FAIR) == ["first"], "it may not have heard"
    line.redis.now += 600_000
    assert line.ask(FAIR, "c") == [0, 400, 0, "b"]
    line.redis.now += 400_000
    assert line.gets(FAIR, "c")
    assert {part: set(line.redis.sets[f"fairlock:{{x}}:{part}"]) for part in ("queue", "waiting")} == {
        "queue": {"x1::d"},
        "waiting": {"x1::d"},
    }
    line.releases(FAIR, "c")
    line.redis.now += 15_000_000
    assert line.gets(FAIR, "e"), "all are gone"
    assert not any(line.redis.sets.get(f"fairlock:{{x}}:{part}") for part in ("queue", "waiting"))
    assert line.redis.run(FAIR.inspect()) == Occupancy((Holder(fingerprint("e"), *_since(line), 1),), 0)


def _since(line: Line) -> tuple[float, float, int]:
    return line.redis.now / 1e6, 10.0, line.redis.now


def test_asking_again_changes_nothing(line: Line) -> None:
    """An answer that was lost costs neither the place nor a second lease, and the fence is the same."""
    first = line.ask(FAIR, "a")
    assert line.ask(FAIR, "a") == first
    line.ask(FAIR, "b")
    line.ask(FAIR, "c")
    assert line.ask(FAIR, "b")[3] == ""
    assert line.ask(FAIR, "c")[3] == "b"
    assert len(line.redis.run(FAIR.inspect()).holders) == 1


def test_fences_grow(line: Line) -> None:
    """Also when the clock steps back, and when a lease ends by itself."""
    fences: list[int] = [0]
    for number, step in enumerate([0, 0, 11_000_000, -1_000_000, 11_000_000]):
        line.redis.now += step
        line.redis.expire()
        taken = line.redis.run(FAIR.acquire(f"t{number}"))
        assert taken is not None
        fences.append(taken.fence)
        if number:
            line.releases(FAIR, f"t{number}")
        else:
            line.redis.now += 10_001_000
    assert fences == sorted(set(fences))


def test_a_fence_that_was_lost_while_it_is_held(line: Line) -> None:
    """Who asks again has a new one, which is greater still; by one where the clock does not know better."""
    first = line.ask(FAIR, "a")[2]
    assert line.redis.expiry["fairlock:{x}:fence"] == line.redis.now + 10_000_000 + 86_400_000_000
    del line.redis.strings["fairlock:{x}:fence"]
    assert line.redis.reply(FAIR.inspect().commands[0]) == [0, 0, [b"x1::a", 10_000]]
    line.redis.now += 1
    assert line.ask(FAIR, "a")[2] == first + 1
    line.releases(FAIR, "a")
    assert line.ask(FAIR, "b")[2] == first + 2
    line.redis.now += 1_000_000
    assert line.ask(FAIR, "b")[2] == first + 2


def test_a_wake_up_is_for_one(line: Line) -> None:
    """One element however often it is given, and not for long; none is left when its turn was taken, or all gave up."""
    wake, lists = GPUS.wake_key, line.redis.lists
    everything = GPUS.permits(4)
    assert line.gets(GPUS, "a")
    assert line.gets(GPUS, "b")
    line.ask(everything, "c")
    for token in "ab":
        assert line.releases(GPUS, token)
    assert lists == {wake: ["1"]}
    assert line.redis.expiry[wake] == line.redis.now + 15_000_000
    line.redis.now += 1_000_000
    for _ in range(2):
        line.ask(GPUS, "d", 0)
    assert lists == {wake: ["1"]}
    assert line.redis.expiry[wake] == line.redis.now + 15_000_000
    assert line.gets(everything, "c"), "by itself, before it was woken"
    assert lists == {}
    line.ask(GPUS, "d")
    line.releases(everything, "c")
    line.releases(GPUS, "d")
    assert lists == {}


def test_the_line_is_in_the_order_of_arrival_by_any_clock(line: Line) -> None:
    """A microsecond apart at least, also when the clock steps back; it goes with the last who waits."""
    assert line.gets(FAIR, "a")
    began = line.redis.now
    line.ask(FAIR, "b", 9000)
    line.ask(FAIR, "c", 5000)
    line.redis.now -= 1_000_000
    line.ask(FAIR, "d", 500)
    assert line.redis.sets["fairlock:{x}:queue"] == {"x1::b": began, "x1::c": began + 1, "x1::d": began + 2}
    moment = began // 1000
    assert line.redis.sets["fairlock:{x}:waiting"] == {
        "x1::b": moment + 9000,
        "x1::c": moment + 5000,
        "x1::d": moment - 500,
    }
    for part in ("queue", "waiting"):
        assert line.redis.expiry[f"fairlock:{{x}}:{part}"] == began + 9_000_000


# When leases end


def test_a_lease_ends_at_its_millisecond(line: Line) -> None:
    """For all who ask: who extends or gives back then is told that it was over; the key goes with the last lease."""
    exports = ConcurrencyLimit("x", limit=4, ttl=0.5)
    short, long, redis = exports.slot("ann"), ConcurrencyLimit("x", limit=4, ttl=10).slot("ann"), line.redis
    held = short.keys.held
    redis.now += 999_999
    moment = redis.now // 1000
    for token in "abc":
        assert line.gets(short, token)
    assert redis.expiry[held] == redis.now + 500_000
    assert line.gets(long, "d")
    assert redis.sets[held] == {**{f"s1::{token}": moment + 500 for token in "abc"}, "s1::d": moment + 10_000}
    assert redis.expiry[held] == redis.now + 10_000_000
    redis.now += 499_000
    assert redis.run(exports.count("ann")) == 4
    assert [holder.ends_in for holder in redis.run(short.inspect()).holders] == [0.001, 0.001, 0.001, 9.501]
    assert redis.run(short.extend(lease("a"))) is True
    assert line.releases(short, "b") is True
    redis.now += 1
    assert redis.run(exports.count("ann")) == 2
    assert [holder.ends_in for holder in redis.run(short.inspect()).holders] == [0.499, 9.5]
    assert redis.run(short.extend(lease("c"))) is False
    assert line.ask(long, "e")[0] == 1
    assert "s1::c" not in redis.sets[held], "who comes takes away what is over, so that it does not count"
    assert redis.run(long.extend(lease("e"), 20)) is True
    assert redis.expiry[held] == redis.now + 20_000_000
    assert redis.run(long.extend(lease("e"), 2)) is True
    assert redis.expiry[held] == redis.now + 9_500_000
    redis.now += 499_000
    assert line.releases(short, "a") is False
    assert set(redis.sets[held]) == {"s1::d", "s1::e"}


def test_what_is_over_makes_room(line: Line) -> None:
    """Also while another lease of the same thing goes on."""
    assert line.gets(ConcurrencyLimit("x", limit=2, ttl=1).slot("ann"), "a")
    slot = ConcurrencyLimit("x", limit=2, ttl=10).slot("ann")
    assert line.gets(slot, "b")
    assert not line.gets(slot, "c")
    line.redis.now += 1_000_000
    assert line.gets(slot, "c")


# Readers and writers


def test_readers_together_and_writers_alone(line: Line) -> None:
    """A writer that waits is not overtaken by readers, who then come in one after the other without a release."""
    read, write = RW.read(), RW.write()
    assert line.gets(read, "a")
    assert line.gets(read, "b")
    assert line.ask(write, "c")[0] == 0
    assert line.ask(read, "d")[3] == "c"
    assert line.ask(read, "e")[3] == "d"
    assert line.releases(read, "a")
    assert not line.gets(write, "c")
    assert line.releases(read, "b")
    assert line.gets(write, "c")
    line.woken(write)
    assert not line.gets(read, "d")
    assert line.releases(write, "c")
    line.woken(read)
    assert line.gets(read, "d")
    assert line.woken(read) == ["behind d"]
    assert line.gets(read, "e")
    assert line.redis.reply(write._acquisition("f", 0)) == [0, 10_000, 0, b""]


def test_each_reader_ends_on_its_own(line: Line) -> None:
    """A reader that renews keeps no dead one alive, and a short one does not cut a long one."""
    read, write = RW.read(), RW.write()
    assert line.gets(read, "a")
    line.redis.now += 4_000_000
    assert line.gets(read, "b")
    line.redis.now += 4_000_000
    assert line.redis.run(read.extend(lease("b"))) is True
    line.redis.now += 2_000_000
    assert [holder.fingerprint for holder in line.redis.run(read.inspect()).holders] == [fingerprint("b")]
    assert line.redis.run(read.extend(lease("a"))) is False
    assert line.redis.run(read.extend(lease("b"), 1)) is True
    line.redis.now += 1_000_000
    assert line.gets(write, "c")


def test_only_writers_have_fences(line: Line) -> None:
    """Readers have none, and leave that of the writers alone."""
    first, second = RW.write().acquire("a"), RW.write().acquire("c")
    one = line.redis.run(first)
    line.releases(RW.write(), "a")
    reader = line.redis.run(RW.read().acquire("b"))
    line.releases(RW.read(), "b")
    other = line.redis.run(second)
    assert one is not None
    assert reader is not None
    assert other is not None
    assert reader.fence == 0
    assert other.fence > one.fence > 0


# Semaphores


def test_permits_are_added_up(line: Line) -> None:
    """So many at once, whoever holds how many; who wants many is not overtaken by those who want few."""
    assert line.gets(GPUS, "a")
    assert line.gets(GPUS.permits(2), "b")
    assert line.ask(GPUS.permits(2), "c") == [0, 10_000, 0, ""]
    assert line.ask(GPUS, "d")[3] == "c", "there is a permit, but c is first"
    assert line.releases(GPUS, "a")
    assert line.woken(GPUS) == ["first"]
    assert line.gets(GPUS.permits(2), "c")
    line.woken(GPUS)
    assert not line.gets(GPUS, "d")
    assert line.releases(GPUS.permits(2), "b")
    assert line.gets(GPUS, "d")
    assert [holder.weight for holder in line.redis.run(GPUS.inspect()).holders] == [1, 2], (
        "by name where they end together"
    )


def test_several_that_fit_are_let_in_by_one_release(line: Line) -> None:
    """Each who comes in wakes the next, who sees whether there is room."""
    everything = GPUS.permits(4)
    assert line.gets(everything, "a")
    for token in "bcd":
        line.ask(GPUS, token)
    line.releases(everything, "a")
    assert line.woken(GPUS) == ["first"]
    for token in "bc":
        assert line.gets(GPUS, token)
        assert line.woken(GPUS) == [f"behind {token}"]
    assert line.gets(GPUS, "d")
    assert line.woken(GPUS) == []


def test_slots_are_given_in_order(line: Line) -> None:
    """Those of a limit are semaphores of their ids."""
    slot = ConcurrencyLimit("x", limit=2, ttl=10).slot("ann")
    assert line.gets(slot, "a")
    assert line.gets(slot, "b")
    for token in "cd":
        assert not line.gets(slot, token)
    line.releases(slot, "a")
    assert not line.gets(slot, "d")
    assert line.gets(slot, "c")


# Reentrant


def test_an_owner_comes_in_again(line: Line) -> None:
    """Past those who wait; the lock is free when the last of its leases is given back; one fence for all."""
    mine = ReentrantLock("x", owner="job 7", ttl=10)
    others = ReentrantLock("x", owner="job 8", ttl=10)
    first = line.redis.run(mine.acquire("a"))
    line.ask(others, "b")
    second = line.redis.run(mine.acquire("c"))
    assert first is not None
    assert second is not None
    assert second.fence == first.fence
    assert len(line.redis.run(mine.inspect()).holders) == 2
    assert line.releases(mine, "a")
    assert not line.gets(others, "b")
    assert line.releases(mine, "c")
    assert line.gets(others, "b")
    third = line.redis.run(mine.acquire("a"))
    assert third is None
    assert "job" not in repr(mine)
    assert not any("job" in member for members in line.redis.sets.values() for member in members)


def test_an_owner_has_one_fence_however_long_its_first_lease_is(line: Line) -> None:
    """It is known for a day after the longest, whatever is taken, prolonged or cut short meanwhile."""
    mine, fence = ReentrantLock("x", owner="job 7", ttl=10), "reentrantlock:{x}:fence"
    first = line.redis.run(mine.acquire("a"))
    assert first is not None
    assert line.redis.run(mine.extend(first, 259_200)) is True
    ends = line.redis.now + 259_200_000_000 + 86_400_000_000
    second = line.redis.run(mine.acquire("b"))
    assert second is not None
    assert line.redis.expiry[fence] == ends
    assert line.redis.run(mine.extend(second, 5)) is True
    assert line.redis.expiry[fence] == ends
    line.redis.now += 200_000_000_000
    third = line.redis.run(mine.acquire("c"))
    assert third is not None
    assert first.fence == second.fence == third.fence


# Flows


def waits(lock: Queued, seconds: float, behind: str = "") -> Plan[None]:
    key = f"{lock.wake_key}:{fingerprint(behind)}" if behind else lock.wake_key
    plan = lock.acquire("t")
    return Plan(
        f"{lock.word}.wait", (plan.commands[0].__class__(("BLPOP", key, seconds)),), lambda _: None, blocks_for=seconds
    )


def test_who_waits_does_so_behind_another() -> None:
    """On the list of the member in front; on the common one when it is the first."""
    dry = Dry(FAIR.wait_for(60, token="t", chance=lambda: 0.0))
    dry.expect("lock.acquire").answer([0, 1000, 0, b"x1::other"])
    dry.expect(waits(FAIR, 1.001, "x1::other")).answer([b"key", b"1"])
    dry.expect("lock.acquire").answer([0, 3000, 0, b""])
    dry.expect(waits(FAIR, 3.001)).answer([b"key", b"1"])
    dry.expect("lock.acquire").answer([1, 10_000, 7, b""])
    assert dry.result is not None
    assert dry.result.fence == 7


MEMBER = f"x1:{fingerprint('me')}:t"
BEHIND = {member: fingerprint(member) for member in ("x1::t", "s1::t", "w3::t", MEMBER)}


def keys(base: str, member: str = "", *, queue: bool = True) -> str:
    """Give the keys that most scripts are given."""
    behind = f" {base}:wake:{BEHIND[member]}" if member else ""
    return f"{base} {base}:queue {base}:waiting {base}:wake{behind}" if queue else f"{base} {base}:waiting"


@pytest.mark.parametrize(
    ("make", "name", "line", "effect"),
    [
        (
            lambda: FairLock("x", ttl=10).acquire("t"),
            "lock.acquire",
            f"lease_acquire 6 {keys('fairlock:{x}', 'x1::t')} fairlock:{{x}}:fence x1::t 10000 0 1",
            Effect.IDEMPOTENT,
        ),
        (
            lambda: FairLock("x", namespace="shop").inspect(),
            "lock.inspect",
            f"lease_inspect 3 {keys('shop:fairlock:{x}', queue=False)} shop:fairlock:{{x}}:fence",
            Effect.READS,
        ),
        (
            lambda: FAIR.extend(lease("t"), 3),
            "lock.extend",
            "lease_extend 2 fairlock:{x} fairlock:{x}:fence x1::t 3000",
            Effect.IDEMPOTENT,
        ),
        (
            lambda: FAIR.release(lease("t")),
            "lock.release",
            f"lease_release 5 {keys('fairlock:{x}', 'x1::t')} x1::t",
            Effect.IDEMPOTENT,
        ),
        (
            lambda: ReentrantLock("x", owner="me").acquire("t"),
            "lock.acquire",
            f"lease_acquire 6 {keys('reentrantlock:{x}', MEMBER)} reentrantlock:{{x}}:fence {MEMBER} 10000 0 1",
            Effect.IDEMPOTENT,
        ),
        (
            lambda: ReadWriteLock("x").read().acquire("t"),
            "read lock.acquire",
            f"lease_acquire 6 {keys('rwlock:{x}', 's1::t')} rwlock:{{x}}:fence s1::t 10000 0 {2**53 - 1}",
            Effect.IDEMPOTENT,
        ),
        (
            lambda: ReadWriteLock("x").write().acquire("t"),
            "write lock.acquire",
            f"lease_acquire 6 {keys('rwlock:{x}', 'x1::t')} rwlock:{{x}}:fence x1::t 10000 0 1",
            Effect.IDEMPOTENT,
        ),
        (
            lambda: Semaphore("x", limit=4, ttl=10).permits(3).acquire("t"),
            "semaphore.acquire",
            f"lease_acquire 5 {keys('semaphore:{x}', 'w3::t')} w3::t 10000 0 4",
            Effect.IDEMPOTENT,
        ),
        (
            lambda: Semaphore("x", limit=4).inspect(),
            "semaphore.inspect",
            f"lease_inspect 2 {keys('semaphore:{x}', queue=False)}",
            Effect.READS,
        ),
        (
            lambda: ConcurrencyLimit("e", limit=2).count("ann"),
            "slot.count",
            "lease_count 1 slots:{ann}:held:e",
            Effect.READS,
        ),
    ],
)
def test_what_is_sent(make: Callable[[], Plan[Any]], name: str, line: str, effect: Effect) -> None:
    """One script each, its keys and its numbers in milliseconds; where nobody is alone there is no fence."""
    plan = make()
    assert (plan.name, sent(plan), plan.effect) == (name, line, effect)


def test_what_is_told_of_holders() -> None:
    """The last fence is of who has it alone; a token may have a colon in it, which an owner has not."""
    reply: Any = [2, 1_700_000_000_000_000, [f"x1:{fingerprint('me')}:a:b".encode(), 1500]]
    holder = Holder(fingerprint("a:b"), 1_700_000_000.0, 1.5, 1_700_000_000_000_000)
    assert FAIR.inspect().parse([reply]) == Occupancy((holder,), 2)
    reply = [0, 1_700_000_000_000_000, [b"s1::a", 500, b"s1::b", 900]]
    readers = Holder(fingerprint("a"), None, 0.5), Holder(fingerprint("b"), None, 0.9)
    assert RW.read().inspect().parse([reply]) == Occupancy(readers, 0)
    assert GPUS.inspect().parse([[0, 0, [b"w12::a", 500]]]).holders == (Holder(fingerprint("a"), None, 0.5, weight=12),)


@pytest.mark.parametrize("reply", [[1, 2, 3, 4], [1, 2, 3, b"", b""], [1, 2], [0, 1, b"x", b""]])
def test_malformed_answers(reply: Any) -> None:
    """What is not three numbers and a member is a `DecodeError`."""
    with pytest.raises(DecodeError):
        FAIR.acquire("t").parse([reply])


def test_a_campaign_outlives_trouble() -> None:
    """It goes on after it, later each time, and gives up only with its wait."""
    dry = Dry(campaign(FAIR, chance=lambda: 1.0))
    dry.expect("lock.acquire").fail(Unreachable("lock.acquire", "gone")).expect("lock.release").answer(0)
    dry.sleep(1).expect("lock.acquire").fail(OutcomeUnknown("lock.acquire", "lost")).expect("lock.release").answer(1)
    dry.sleep(1).expect("lock.acquire").answer([1, 10_000, 7, b""])
    assert dry.result is not None

    dry = Dry(campaign(FAIR, 0.5, chance=lambda: 1.0))
    dry.expect("lock.acquire").fail(Unreachable("lock.acquire", "gone")).expect("lock.release").answer(0)
    dry.sleep(0.5).expect("lock.acquire").fail(Unreachable("lock.acquire", "gone")).expect("lock.release").answer(0)
    with pytest.raises(Unreachable):
        _ = dry.result


# What is not allowed


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FairLock(""), "name must"),
        (lambda: FairLock("x", ttl=0), "ttl must"),
        (lambda: FairLock("x", namespace=NO_TEXT), "namespace must"),
        (lambda: ReadWriteLock("", ttl=1), "name must"),
        (lambda: ReadWriteLock("x", ttl=-1), "ttl must"),
        (lambda: ReentrantLock("x", owner=""), "owner must"),
        (lambda: ReentrantLock("x", owner="me", ttl=0), "ttl must"),
        (lambda: Semaphore("", limit=1), "name must"),
        (lambda: Semaphore("x", limit=1, ttl=0), "ttl must"),
        (lambda: Semaphore("x", limit=1, namespace=NO_TEXT), "namespace must"),
        (lambda: Semaphore("x", limit=0), "limit must"),
        (lambda: Semaphore("x", limit=2, weight=3), "weight must be at most the limit of 2, not 3"),
        (lambda: GPUS.permits(0), "weight must"),
    ],
)
def test_nonsense_is_refused(make: Any, message: str) -> None:
    """By the name of the argument."""
    with pytest.raises(ConfigurationError, match=f"^{message}"):
        make()
