from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from redis_patterns import (
    Command,
    CommandFailed,
    ConfigurationError,
    DecodeError,
    Effect,
    FairLock,
    Held,
    Holder,
    Lease,
    Lock,
    LockLost,
    MultiLock,
    Occupancy,
    OutcomeUnknown,
    Plan,
    ReadWriteLock,
    ReentrantLock,
    Semaphore,
    Unreachable,
    new_token,
)
from redis_patterns.testing import Dry
from redis_patterns.testing.memory import Server
from redis_patterns_core.lease_records import fingerprint
from redis_patterns_core.leases import InOneStep, campaign
from tests.core.lua import sent

LOCK = Lock("x", ttl=9)
FENCE = 1_700_000_000_000_000
NO_TEXT: Any = 5
OURS: Any = [1, 9000, FENCE]


def taken(milliseconds: int) -> Any:
    return [0, milliseconds, 0]


def waits(seconds: float) -> Plan[None]:
    """Give the plan that waits to be woken for so long."""
    return Plan("lock.wait", (Command(("BLPOP", "lock:{x}:wake", seconds)),), lambda _: None, blocks_for=seconds)


def waiting(wait: float | None = None, chance: float = 0.0) -> Dry[Lease | None]:
    return Dry(LOCK.wait_for(wait, token="t", chance=lambda: chance), now=100.0)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_acquire_gives_a_lease_or_nothing() -> None:
    """A free lock gives a lease with the token, a taken one nothing."""
    lease = LOCK.acquire("t").parse([OURS])
    assert lease == Lease("x", "t")
    assert lease is not None
    assert lease.fence == FENCE
    assert LOCK.acquire("t").parse([taken(5)]) is None


@pytest.mark.parametrize(
    ("make", "name", "line", "effect"),
    [
        (
            lambda: LOCK.acquire("t"),
            "lock.acquire",
            "lock_acquire 4 lock:{x} lock:{x}:fence lock:{x}:waiting lock:{x}:wake t 9000 0",
            Effect.IDEMPOTENT,
        ),
        (
            lambda: LOCK.extend(Lease("x", "t")),
            "lock.extend",
            "lock_extend 2 lock:{x} lock:{x}:fence t 9000",
            Effect.IDEMPOTENT,
        ),
        (
            lambda: LOCK.extend(Lease("x", "t"), 0.001),
            "lock.extend",
            "lock_extend 2 lock:{x} lock:{x}:fence t 1",
            Effect.IDEMPOTENT,
        ),
        (
            lambda: LOCK.release(Lease("x", "t")),
            "lock.release",
            "lock_release 3 lock:{x} lock:{x}:waiting lock:{x}:wake t",
            Effect.IDEMPOTENT,
        ),
        (
            lambda: Lock("x").inspect(),
            "lock.inspect",
            "lock_inspect 3 lock:{x} lock:{x}:fence lock:{x}:waiting",
            Effect.READS,
        ),
        (
            lambda: Lock("x", namespace="shop").acquire("t"),
            "lock.acquire",
            "lock_acquire 4 shop:lock:{x} shop:lock:{x}:fence shop:lock:{x}:waiting shop:lock:{x}:wake t 10000 0",
            Effect.IDEMPOTENT,
        ),
    ],
)
def test_what_is_sent(make: Callable[[], Plan[Any]], name: str, line: str, effect: Effect) -> None:
    """One script each, its keys and its numbers in milliseconds; all of them may be sent again."""
    plan = make()
    assert (plan.name, sent(plan), plan.effect) == (name, line, effect)


def test_tokens_are_made_for_each_acquisition() -> None:
    """Two acquisitions never share a token, and a token has 128 bits."""
    tokens = {str(LOCK.acquire().commands[0].args[7]) for _ in range(100)} | {new_token() for _ in range(100)}
    assert len(tokens) == 200
    assert all(len(token) == 32 and int(token, 16) >= 0 for token in tokens)


@pytest.mark.parametrize("reply", [None, 1, [1], [1, 2], [b"1", 2, 3], b"1"])
def test_a_malformed_answer_is_a_decode_error(reply: object) -> None:
    """What is not three integers is no answer of the acquire script."""
    with pytest.raises(DecodeError):
        LOCK.acquire("t").parse([reply])


@pytest.mark.parametrize(("reply", "done"), [(1, True), (0, False)])
def test_extend_and_release_tell_whether_it_was_held(reply: int, done: bool) -> None:
    """1 is held, 0 is not."""
    assert LOCK.extend(Lease("x", "t")).parse([reply]) is done
    assert LOCK.release(Lease("x", "t")).parse([reply]) is done


def test_wait_for_takes_a_free_lock_at_once() -> None:
    """One look is enough; the lease ends a TTL after it was asked for, and knows its fence."""
    dry = waiting(5)
    dry.expect("lock.acquire").advance(0.25).answer(OURS)
    lease = dry.result
    assert lease is not None
    assert (lease.ends_at, lease.fence) == (109.0, FENCE)


def test_the_lease_of_a_waited_lock_ends_by_the_last_look() -> None:
    """The end of a lease is counted from the look that got it, not from the beginning of the wait."""
    dry = waiting(60)
    dry.expect("lock.acquire").answer(taken(5000))
    dry.expect(waits(5.001)).advance(3).answer([b"lock:{x}:wake", b"1"])
    dry.expect("lock.acquire").advance(0.1).answer(OURS)
    assert dry.result is not None
    assert dry.result.ends_at == 112.0


def test_wait_zero_looks_once() -> None:
    """Without a wait, a taken lock gives nothing after one look, and nobody stands in line."""
    dry = waiting(0)
    dry.expect(Plan("lock.acquire", LOCK.acquire("t").commands, len, Effect.IDEMPOTENT)).answer(taken(5000))
    assert dry.result is None


def test_who_waits_stands_in_line_until_the_last_look() -> None:
    """A look says for how long one may wait, longer than until the next one; the last says that one does not."""
    dry = waiting(5)
    lines: list[object] = []
    for pause in (5.0, 0.0):
        step = dry.expect("lock.acquire")._step
        assert isinstance(step, Plan)
        lines.append(step.commands[0].args[-1])
        dry.answer(taken(20_000))
        if pause:
            dry.expect(waits(pause)).advance(pause).answer(None)
    assert lines == [15_000, 0]
    assert dry.result is None


@pytest.mark.parametrize(
    ("left", "chance", "pause"),
    [
        (5000, 0.0, 5.001),
        (5000, 1.0, 5.011),  # not all at once
        (30, 0.0, 0.031),
        (0, 0.0, 0.001),  # less than a millisecond is left: no reason to ask without a pause
        (60_000, 0.0, 9.0),  # should a wake-up have been lost
        (60_000, 1.0, 10.0),
        (-1, 0.0, 9.0),  # a key that somebody stored without a TTL
    ],
)
def test_how_long_one_waits_to_be_woken(left: int, chance: float, pause: float) -> None:
    """Until the holder's lease is over, and no longer than a bound."""
    waiting(None, chance).expect("lock.acquire").answer(taken(left)).expect(waits(pause))


@pytest.mark.parametrize("error", [OutcomeUnknown("lock.wait", "lost"), Unreachable("lock.wait", "gone")])
def test_a_wait_that_is_lost_is_a_look_that_is_due(error: Exception) -> None:
    """The wake-up may have been in what was lost."""
    dry = waiting(60, chance=0.5)
    dry.expect("lock.acquire").answer(taken(5000)).expect(waits(5.006)).fail(error)
    dry.sleep(0.05).expect("lock.acquire").answer(OURS)
    assert dry.result is not None


def test_a_wait_too_short_for_redis_is_slept() -> None:
    """To be blocked for less than a millisecond would be for ever."""
    dry = waiting(5)
    dry.expect("lock.acquire").advance(4.9995).answer(taken(5000))
    dry.sleep().expect("lock.acquire").answer(taken(4000))
    assert dry.result is None


def test_what_interrupts_a_wait_gives_back_and_wakes_the_next() -> None:
    """A cancellation, and an error of a look, have the release run."""
    dry = waiting()
    dry.expect("lock.acquire").answer(taken(5000)).expect("lock.wait").cancel()
    dry.expect("lock.release").answer(0)
    assert dry.over
    dry = waiting()
    dry.expect("lock.acquire").fail(OutcomeUnknown("lock.acquire", "reset")).expect("lock.release").answer(0)
    with pytest.raises(OutcomeUnknown):
        _ = dry.result


def test_what_is_told_of_a_holder() -> None:
    """Who, since when, for how long, and how many wait; never the token."""
    lease = Lease("x", "s3cret")
    assert LOCK.inspect().parse([[b"s3cret", 1500, FENCE, 3]]) == Occupancy(
        (Holder(lease.fingerprint, FENCE / 1e6, 1.5, FENCE),), 3
    )
    assert LOCK.inspect().parse([[b"s3cret", 0, FENCE, 0]]) == Occupancy(
        (Holder(lease.fingerprint, FENCE / 1e6, 0.0, FENCE),), 0
    ), "in its last millisecond it is no lock without an end"
    assert LOCK.inspect().parse([[b"s3cret", -1, 0, 0]]) == Occupancy((Holder(lease.fingerprint, None, None, 0),), 0)
    assert LOCK.inspect().parse([[b"", 0, 0, 2]]) == Occupancy((), 2)
    assert "s3cret" not in lease.fingerprint


def held(clock: Clock, ends_at: float | None = 109.0) -> Held:
    return Held(Lease("x", "t", ends_at), clock)


def test_a_held_lease_runs_out_by_the_clock() -> None:
    """Held is true until the lease's end, then lost for ever, whatever the clock does."""
    clock = Clock()
    lease = held(clock)
    lease.check()
    clock.now = 108.999
    assert not lease.lost
    clock.now = 109.0
    assert lease.lost
    clock.now = 100.0
    assert lease.lost
    with pytest.raises(LockLost, match="'x'"):
        lease.check()
    lease.renewed(200.0)
    assert lease.lost


def test_what_is_shown_of_a_lease() -> None:
    """Its name, and that it was lost; of its token 64 bits of a hash."""
    lease = Held(Lease("x", "t0ken", 109.0), Clock())
    assert repr(lease) == "<Held 'x'>"
    lease.lose()
    assert repr(lease) == "<Held 'x', lost>"
    assert fingerprint("t0ken") == hashlib.sha256(b"t0ken").hexdigest()[:16]


def test_a_lease_without_an_end_counts_as_lost() -> None:
    """A lease that a plan gave does not say when it ends, and is not taken for an endless one."""
    assert held(Clock(), None).lost


def test_what_is_printed_of_a_lease_has_no_token() -> None:
    """Neither a lease nor what is held shows the token."""
    assert "s3cret" not in repr(Lease("x", "s3cret", 1.0)) + repr(Held(Lease("x", "s3cret", 1.0), Clock()))


def test_keep_renews_at_a_third_of_the_ttl() -> None:
    """Each renewal is asked after 0.9 to 1 times a third of the TTL, and counts from when it was asked."""
    lease = held(Clock())
    dry = Dry(LOCK.keep(lease, chance=lambda: 1.0), now=100.0)
    dry.sleep(3).expect("lock.extend").advance(0.5).answer(1)
    assert lease.ends_at == pytest.approx(112.0)
    dry.sleep(3).expect("lock.extend").advance(0.5).answer(1)
    assert lease.ends_at == pytest.approx(115.5)
    dry.sleep(3).expect("lock.extend").answer(0)
    assert dry.over
    assert lease.lost
    Dry(LOCK.keep(held(Clock()), chance=lambda: 0.0)).sleep(2.7)


@pytest.mark.parametrize(
    "trouble",
    [Unreachable("lock.extend", "x"), OutcomeUnknown("lock.extend", "x"), CommandFailed("lock.extend", "OOM", "x")],
)
def test_keep_takes_trouble_for_no_loss(trouble: Exception) -> None:
    """After an error it tries again ten times as often, and goes on as before when that helped."""
    lease = held(Clock())
    dry = Dry(LOCK.keep(lease, chance=lambda: 1.0), now=100.0)
    dry.sleep(3).expect("lock.extend").fail(trouble).sleep(0.3).expect("lock.extend").fail(trouble)
    dry.sleep(0.3).expect("lock.extend").answer(1).sleep(3).expect("lock.extend").answer(0)
    assert dry.over


def test_keep_ends_when_the_lease_is_over() -> None:
    """When nothing helped until the end of the lease, it is lost and no more is sent."""
    clock = Clock()
    lease = held(clock)

    dry = Dry(LOCK.keep(lease, chance=lambda: 1.0))
    dry.sleep(3).expect("lock.extend")
    clock.now = 110.0
    dry.fail(Unreachable("lock.extend", "refused")).sleep(0.3)
    assert dry.over
    assert lease.lost


def test_give_back_sends_once_first() -> None:
    """The first release must not be sent again by the driver, so that its answer means what it says."""
    lease = Lease("x", "t")
    first = next(LOCK.give_back(lease).steps())
    assert getattr(first, "effect", None) is Effect.ONCE
    assert Dry(LOCK.give_back(lease)).expect("lock.release").answer(1).result is True
    assert Dry(LOCK.give_back(lease)).expect("lock.release").answer(0).result is False


def test_give_back_takes_a_lost_answer_for_no_loss() -> None:
    """After a lost answer it releases again; "not held" then means nothing."""
    dry = Dry(LOCK.give_back(Lease("x", "t")))
    dry.expect("lock.release").fail(OutcomeUnknown("lock.release", "reset")).expect("lock.release").answer(0)
    assert dry.result is True


@pytest.mark.parametrize("reply", [1, [b"key"], [b"key", b"1", b"more"], b"x"])
def test_a_wake_up_is_a_list_and_its_element(reply: Any) -> None:
    """Anything else is a `DecodeError`, and what may be held is given back."""
    step = waiting(60).expect("lock.acquire").answer(taken(5000)).expect("lock.wait")._step
    assert isinstance(step, Plan)
    with pytest.raises(DecodeError):
        step.parse([reply])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Lock(""), "name must"),
        (lambda: Lock("x", ttl=0), "ttl must"),
        (lambda: Lock("x", namespace=NO_TEXT), "namespace must"),
        (lambda: LOCK.extend(Lease("x", "t"), 0), "ttl must"),
        (lambda: Dry(LOCK.wait_for(-0.001)).result, "wait must"),
        (lambda: Dry(campaign(LOCK, -0.001)).result, "wait must"),
        (lambda: Dry(MultiLock(LOCK).wait_for(-0.001)).result, "wait must"),
    ],
)
def test_nonsense_is_refused(make: Callable[[], object], message: str) -> None:
    """By the name of the argument."""
    with pytest.raises(ConfigurationError, match=f"^{message}"):
        make()


@pytest.mark.parametrize("token", ["", 7, b"t", "ä"])
def test_a_bad_token_is_refused_without_being_shown(token: object) -> None:
    """A token is ASCII text; the message does not repeat it."""
    with pytest.raises(ConfigurationError, match="token must be") as refusal:
        LOCK.acquire(token)  # type: ignore[arg-type]
    assert repr(token) not in str(refusal.value)


def test_whose_tasks_wait_one_at_a_time() -> None:
    """Those of one driver for one lock or semaphore; several locks together have no such line."""
    assert Lock("x").line == "lock:{x}:wake"
    assert Semaphore("x", limit=1).line == "semaphore:{x}:wake"
    assert MultiLock(Lock("x"), Lock("y")).line is None


DAY = 86_400


@pytest.mark.parametrize(
    "lock",
    [Lock("x"), FairLock("x"), ReentrantLock("x", owner="me"), ReadWriteLock("x").write()],
    ids=lambda lock: lock.word,
)
def test_a_fence_is_known_for_a_day_after_the_lease_however_long_that_is(lock: InOneStep) -> None:
    """So its holder, and who looks, are told the same one until the end, and the next one's is greater."""
    server = Server()
    with server.sync() as redis:
        lease = redis.run(lock.acquire("t"))
        assert lease is not None
        for ttl in (3 * DAY, 2 * DAY):
            assert redis.run(lock.extend(lease, ttl)) is True
        names = sorted(server.keys())
        server.clock.advance(2 * DAY - 1)
        (holder,) = redis.run(lock.inspect()).holders
        assert (holder.fence, holder.ends_in) == (lease.fence, 1.0)
        again = redis.run(lock.acquire("t"))
        assert again is not None
        assert again.fence == lease.fence
        server.clock.advance(10 + DAY - 0.001)
        (left,) = server.keys()
        assert left == f"{names[0]}:fence"
        server.clock.advance(0.002)
        assert server.keys() == []
        later = redis.run(lock.acquire("u"))
        assert later is not None
        assert later.fence > lease.fence
