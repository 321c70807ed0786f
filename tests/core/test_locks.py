from __future__ import annotations

import pytest

from redis_patterns import (
    CommandFailed,
    ConfigurationError,
    DecodeError,
    Effect,
    Held,
    Lease,
    Lock,
    LockLost,
    OutcomeUnknown,
    Unreachable,
    new_token,
)
from tests.core.stepping import play

LOCK = Lock("x", ttl=9, retry_every=0.2)
OURS = [[1, 9000]]


def taken(milliseconds: int) -> list[object]:
    return [[0, milliseconds]]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_acquire_gives_a_lease_or_nothing() -> None:
    """A free lock gives a lease with the token, a taken one nothing."""
    assert LOCK.acquire("t").parse(OURS) == Lease("x", "t")
    assert LOCK.acquire("t").parse(taken(5)) is None


def test_tokens_are_made_for_each_acquisition() -> None:
    """Two acquisitions never share a token, and a token has 128 bits."""
    tokens = {str(LOCK.acquire().commands[0].args[4]) for _ in range(100)} | {new_token() for _ in range(100)}
    assert len(tokens) == 200
    assert all(len(token) == 32 and int(token, 16) >= 0 for token in tokens)


@pytest.mark.parametrize("reply", [None, 1, [1], [1, 2, 3], [b"1", 2], b"1"])
def test_a_malformed_answer_is_a_decode_error(reply: object) -> None:
    """What is not two integers is no answer of the acquire script."""
    with pytest.raises(DecodeError):
        LOCK.acquire("t").parse([reply])


@pytest.mark.parametrize(("reply", "done"), [(1, True), (0, False)])
def test_extend_and_release_tell_whether_it_was_held(reply: int, done: bool) -> None:
    """1 is held, 0 is not."""
    assert LOCK.extend(Lease("x", "t")).parse([reply]) is done
    assert LOCK.release(Lease("x", "t")).parse([reply]) is done


def test_wait_for_takes_a_free_lock_at_once() -> None:
    """One look is enough; its undoing was registered before; the lease ends a TTL after it was asked for."""
    played = play(LOCK.wait_for(5, token="t"), [OURS], step_time=0.25)
    assert played.trace == ["defer lock.release on error", "lock.acquire"]
    assert played.result == Lease("x", "t")
    assert played.result is not None
    assert played.result.ends_at == 109.0
    assert played.deferred[0].plan.commands[0].args[-1] == "t"


def test_the_lease_of_a_waited_lock_ends_by_the_last_look() -> None:
    """The end of a lease is counted from the look that got it, not from the beginning of the wait."""
    played = play(LOCK.wait_for(5, token="t", chance=lambda: 1.0), [taken(5000), taken(5000), OURS], step_time=0.1)
    assert played.slept == [0.2, 0.2]
    assert played.result is not None
    assert played.result.ends_at == pytest.approx(100 + 2 * 0.3 + 9)


def test_wait_zero_looks_once() -> None:
    """Without a wait, a taken lock gives nothing after one look and no sleep."""
    played = play(LOCK.wait_for(0), [taken(5000)])
    assert (played.result, played.slept, played.trace[1:]) == (None, [], ["lock.acquire"])


def test_the_last_look_is_at_the_end_of_the_wait() -> None:
    """A wait shorter than the pause between looks still ends with a look, so a lock that came free is taken."""
    played = play(LOCK.wait_for(0.05), [taken(5000), OURS])
    assert played.slept == [pytest.approx(0.05)]
    assert played.result is not None


def test_a_wait_that_ends_gives_nothing() -> None:
    """After the deadline there is no further look."""
    played = play(LOCK.wait_for(0.3, chance=lambda: 1.0), [taken(5000), taken(5000), taken(5000)])
    assert played.slept == [pytest.approx(0.2), pytest.approx(0.1)]
    assert (played.result, played.error) == (None, None)


def test_a_look_is_due_when_the_holders_lease_ends() -> None:
    """A crashed holder's lock is looked at when it runs out, not a whole pause later."""
    played = play(LOCK.wait_for(None, chance=lambda: 1.0), [taken(30), OURS])
    assert played.slept == [0.031]


def test_a_waiter_sleeps_through_the_last_millisecond_of_a_lease() -> None:
    """Redis says that 0 ms are left as long as less than one is: that is no reason to ask it without a pause."""
    assert play(LOCK.wait_for(None), [taken(0), taken(0), OURS]).slept == [0.001, 0.001]


def test_a_lock_without_expiry_is_looked_at_at_the_usual_pace() -> None:
    """A key that somebody stored without a TTL does not make the waiter spin."""
    assert play(LOCK.wait_for(None, chance=lambda: 0.0), [taken(-1), OURS]).slept == [0.1]


@pytest.mark.parametrize(("chance", "pause"), [(0.0, 0.1), (1.0, 0.2)])
def test_pauses_are_random_between_half_and_all_of_retry_every(chance: float, pause: float) -> None:
    """Waiters do not look in step."""
    assert play(LOCK.wait_for(None, chance=lambda: chance), [taken(5000), OURS]).slept == [pytest.approx(pause)]


def test_an_error_of_a_look_ends_the_wait_and_leaves_the_undoing_registered() -> None:
    """Trouble reaches the caller, and the driver has the release to run."""
    trouble = OutcomeUnknown("lock.acquire", "reset")
    played = play(LOCK.wait_for(5, token="t"), [trouble])
    assert played.error is trouble
    assert [defer.plan.name for defer in played.deferred if defer.on_error_only] == ["lock.release"]


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


def test_a_lease_without_an_end_counts_as_lost() -> None:
    """A lease that a plan gave does not say when it ends, and is not taken for an endless one."""
    assert held(Clock(), None).lost


def test_what_is_printed_of_a_lease_has_no_token() -> None:
    """Neither a lease nor what is held shows the token."""
    assert "s3cret" not in repr(Lease("x", "s3cret", 1.0)) + repr(Held(Lease("x", "s3cret", 1.0), Clock()))


def test_keep_renews_at_a_third_of_the_ttl() -> None:
    """Each renewal is asked after 0.9 to 1 times a third of the TTL, and counts from when it was asked."""
    lease = held(Clock())
    ends: list[float] = []

    def renewed(now: float) -> list[object]:
        ends.append(lease.ends_at)
        return [1] if len(ends) < 3 else [0]

    played = play(LOCK.keep(lease, chance=lambda: 1.0), [renewed] * 3, step_time=0.5)
    assert played.slept == [pytest.approx(3.0)] * 3
    assert ends == [109.0, pytest.approx(112.0), pytest.approx(115.5)]
    assert lease.lost
    assert play(LOCK.keep(held(Clock()), chance=lambda: 0.0), [[0]]).slept == [pytest.approx(2.7)]


@pytest.mark.parametrize(
    "trouble",
    [Unreachable("lock.extend", "x"), OutcomeUnknown("lock.extend", "x"), CommandFailed("lock.extend", "OOM", "x")],
)
def test_keep_takes_trouble_for_no_loss(trouble: Exception) -> None:
    """After an error it tries again ten times as often, and goes on as before when that helped."""
    lease = held(Clock())
    played = play(LOCK.keep(lease, chance=lambda: 1.0), [trouble, trouble, [1], [0]])
    assert played.slept == pytest.approx([3.0, 0.3, 0.3, 3.0])


def test_keep_ends_when_the_lease_is_over() -> None:
    """When nothing helped until the end of the lease, it is lost and no more is sent."""
    clock = Clock()
    lease = held(clock)

    def too_late(_: float) -> Exception:
        clock.now = 110.0
        return Unreachable("lock.extend", "refused")

    played = play(LOCK.keep(lease, chance=lambda: 1.0), [too_late])
    assert played.trace[-1] == "sleep 0.3"
    assert lease.lost


def test_give_back_sends_once_first() -> None:
    """The first release must not be sent again by the driver, so that its answer means what it says."""
    lease = Lease("x", "t")
    first = next(LOCK.give_back(lease).steps())
    assert getattr(first, "effect", None) is Effect.ONCE
    assert play(LOCK.give_back(lease), [[1]]).result is True
    assert play(LOCK.give_back(lease), [[0]]).result is False


def test_give_back_takes_a_lost_answer_for_no_loss() -> None:
    """After a lost answer it releases again; "not held" then means nothing."""
    played = play(LOCK.give_back(Lease("x", "t")), [OutcomeUnknown("lock.release", "reset"), [0]])
    assert (played.result, played.trace) == (True, ["lock.release", "lock.release"])


@pytest.mark.parametrize("token", ["", 7, b"t", "ä"])
def test_a_bad_token_is_refused_without_being_shown(token: object) -> None:
    """A token is ASCII text; the message does not repeat it."""
    with pytest.raises(ConfigurationError, match="token must be") as refusal:
        LOCK.acquire(token)  # type: ignore[arg-type]
    assert repr(token) not in str(refusal.value)
