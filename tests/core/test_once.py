"""What is done once: the plans and flows dry, and how they work together on a Redis in memory whose clock is ours."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import Any

import pytest

from redis_patterns import (
    Bytes,
    Claim,
    Codec,
    ConfigurationError,
    DecodeError,
    Effect,
    EncodeError,
    IdReused,
    LockLost,
    Once,
    OutcomeUnknown,
    Plan,
    Sleep,
    StillRunning,
    Unreachable,
    Unsettled,
    flow,
)
from redis_patterns.sync import Driver
from redis_patterns.testing import Dry, assert_plan
from redis_patterns.testing.memory import Server

ONCE: Once[Any] = Once("x", lease=9, keep=100)
REFUSES: Once[Any] = Once("x", lease=9, keep=100, after_crash="refuse")
SECRET = "an-id-that-nobody-must-see"  # noqa: S105  only called so
NO_TEXT: Any = 5
CLAIMED: Any = [b"claimed", 1_700_000_000_000, 9000, b""]
KEPT: Any = [b"kept", 1_700_000_001_000, 0, b""]


def running(milliseconds: int) -> Any:
    return [b"running", 1_700_000_000_000, milliseconds, b""]


def done(payload: bytes) -> Any:
    return [b"done", 1_700_000_000_000, 0, payload]


def running_it(once: Once[Any] = ONCE, *, wait: float = 0, function: Any = lambda: 7) -> Dry[Any]:
    return Dry(once.run("i", function, wait=wait, token="t", chance=lambda: 0.0), now=100.0)


class Counted:
    """A function that counts its calls, and may fail."""

    def __init__(self, result: Any = 7) -> None:
        self.calls = 0
        self.result = result

    def __call__(self) -> Any:
        self.calls += 1
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


# Plans


@pytest.mark.parametrize(
    ("plan", "line", "effect"),
    [
        (ONCE.claim("i", "t"), "1 once:{x:i} t 9000 100000 1", Effect.IDEMPOTENT),
        (REFUSES.claim("i", "t"), "1 once:{x:i} t 9000 100000 0", Effect.IDEMPOTENT),
        (ONCE.renew("i", "t"), "1 once:{x:i} t 9000 100000", Effect.IDEMPOTENT),
        (ONCE.complete("i", "t", [1]), "1 once:{x:i} t [1] 100000", Effect.IDEMPOTENT),
        (ONCE.abandon("i", "t"), "1 once:{x:i} t", Effect.IDEMPOTENT),
        (ONCE.look("i"), "1 once:{x:i}", Effect.READS),
        (ONCE.settle("i", 5), '1 once:{x:i} "" 5 100000', Effect.IDEMPOTENT),
        (ONCE.forget("i"), '1 once:{x:i} ""', Effect.ONCE),
        (Once("x", namespace="shop").look("a}b"), "1 shop:once:{x:a%7Db}", Effect.READS),
    ],
)
def test_what_is_sent(plan: Plan[Any], line: str, effect: Effect) -> None:
    """One script and one key each; only what takes away without a token is sent once."""
    (command,) = plan.commands
    assert command.script is not None
    (sent,) = (text for text in plan.explain().splitlines() if not text.startswith("#"))
    assert sent.removesuffix(' ""' if plan.name == "once.claim" else "") == f"EVALSHA {command.script.sha} {line}"
    assert plan.effect is effect


@pytest.mark.parametrize(
    ("reply", "claim"),
    [
        (CLAIMED, Claim("claimed", "t", None, 1_700_000_000.0, 9.0)),
        (running(1500), Claim("running", "", None, 1_700_000_000.0, 1.5)),
        (done(b"null"), Claim("done", "", None, 1_700_000_000.0)),
        (done(b'{"a":0}'), Claim("done", "", {"a": 0}, 1_700_000_000.0)),
        ([b"unsettled", 1000, 0, b""], Claim("unsettled", "", None, 1.0)),
        ([b"reused", 1000, 0, b""], Claim("reused", "", None, 1.0)),
    ],
)
def test_what_a_claim_found(reply: Any, claim: Claim[Any]) -> None:
    """How it stands, the result where it was done, and the token where it is ours to do."""
    assert_plan(ONCE.claim("i", "t"), replies=[reply], gives=claim)


def test_what_completing_and_looking_tell() -> None:
    """The result that is kept, ours or another; what is absent has no time."""
    assert_plan(ONCE.complete("i", "t", (1,)), replies=[KEPT], gives=Claim("done", "", [1], 1_700_000_001.0))
    assert_plan(ONCE.complete("i", "t", 1), replies=[done(b"2")], gives=Claim("done", "", 2, 1_700_000_000.0))
    assert_plan(ONCE.complete("i", "t", 1), replies=[[b"absent", 0, 0, b""]], gives=Claim("absent"))
    assert_plan(ONCE.look("i"), replies=[[b"absent", 0, 0, b""]], gives=Claim("absent"))
    assert_plan(ONCE.settle("i", 1), replies=[KEPT], gives=True)
    assert_plan(ONCE.settle("i", 1), replies=[done(b"2")], gives=False)
    assert_plan(ONCE.forget("i"), replies=[1], gives=True)
    assert_plan(ONCE.renew("i", "t"), replies=[0], gives=False)


@pytest.mark.parametrize("reply", [None, 1, [b"done"], [1, 2, 3, 4], [b"running", b"x", 1, b""]])
def test_a_malformed_answer_is_a_decode_error(reply: object) -> None:
    """What is not the four parts of an answer is none."""
    with pytest.raises(DecodeError):
        ONCE.claim("i").parse([reply])


def test_tokens_are_made_for_each_claim() -> None:
    """Two claims never share one, and a flow that is run twice does not either."""
    tokens = {str(ONCE.claim("i").commands[0].args[4]) for _ in range(50)}
    flow = ONCE.run("i", lambda: 7)
    for _ in range(2):
        plan = Dry(flow)._step
        assert isinstance(plan, Plan)
        tokens.add(str(plan.commands[0].args[4]))
    assert len(tokens) == 52
    assert all(len(token) == 32 for token in tokens)


def test_only_a_hash_of_the_fingerprint_is_sent() -> None:
    """Text and its UTF-8 are the same."""
    first, second = (ONCE.claim("i", "t", fingerprint=mark).commands[0].args[-1] for mark in ("é", "é".encode()))
    assert first == second
    assert len(str(first)) == 32
    assert ONCE.claim("i", "t").commands[0].args[-1] == ""


# Flows


def test_what_was_done_takes_one_round_trip() -> None:
    """The result that is kept is given, and nothing is called."""
    counted = Counted()
    dry = running_it(function=counted)
    dry.expect(ONCE.claim("i", "t")).answer(done(b'{"a":[1]}'))
    assert dry.result == {"a": [1]}
    assert counted.calls == 0


def test_what_nobody_has_done_takes_two() -> None:
    """It is claimed, called and kept; the caller gets what everybody will get, so no tuple."""
    dry = running_it(function=lambda: (1, 2))
    dry.expect(ONCE.claim("i", "t")).answer(CLAIMED)
    dry.expect(ONCE.complete("i", "t", (1, 2))).answer(KEPT)
    assert dry.result == [1, 2]


def test_arguments_are_passed_on() -> None:
    """Those behind the function are the function's."""
    dry = Dry(ONCE.run("i", lambda a, b: a + b, "x", "y", token="t"))
    dry.expect("once.claim").answer(CLAIMED)
    dry.expect("once.complete").answer(KEPT)
    assert dry.result == "xy"


def test_a_function_may_give_a_flow() -> None:
    """Its steps are taken before the result is kept."""

    @flow
    def waits(result: int) -> Any:
        yield from Sleep(3)
        return result

    dry = Dry(ONCE.run("i", waits, 5, token="t"))
    dry.expect("once.claim").answer(CLAIMED)
    dry.sleep(3)
    dry.expect(ONCE.complete("i", "t", 5)).answer(KEPT)
    assert dry.result == 5


def test_without_a_wait_it_is_told_at_once_that_somebody_is_at_it() -> None:
    """After one look, and nothing has to be cleaned up; it is a TimeoutError."""
    dry = running_it()
    dry.expect("once.claim").answer(running(5000))
    with pytest.raises(StillRunning, match="still being done") as caught:
        dry.result  # noqa: B018
    assert isinstance(caught.value, TimeoutError)


def test_who_waits_looks_less_and_less_often() -> None:
    """Pauses double up to a second, half of each for sure; the last look is at the end of the wait."""
    dry = running_it(wait=3)
    for pause in (0.025, 0.05, 0.1, 0.2, 0.4, 0.5, 0.5, 0.5, 0.5, 0.225):
        dry.expect("once.claim").answer(running(5000))
        dry.sleep(pause)
    dry.expect("once.claim").answer(running(5000))
    with pytest.raises(StillRunning):
        dry.result  # noqa: B018
    assert dry.now == pytest.approx(103)
    dry = Dry(ONCE.run("i", lambda: 7, wait=3, token="t", chance=lambda: 1.0))
    for pause in (0.05, 0.1, 0.2):
        dry.expect("once.claim").answer(running(5000))
        dry.sleep(pause)
    dry.expect("once.claim").answer(running(50))
    dry.sleep(0.06)


def test_who_waits_gets_the_result_or_does_it_itself() -> None:
    """It gets what was done meanwhile; and wakes at the moment when a dead one's claim has run out."""
    dry = running_it(wait=3)
    dry.expect("once.claim").answer(running(5000))
    dry.sleep(0.025)
    dry.expect("once.claim").answer(done(b"1"))
    assert dry.result == 1
    dry = running_it(wait=3)
    dry.expect("once.claim").answer(running(10))
    dry.sleep(0.01)
    dry.expect("once.claim").answer(CLAIMED)
    dry.expect("once.complete").answer(KEPT)
    assert dry.result == 7


@pytest.mark.parametrize(
    ("reply", "error"),
    [([b"unsettled", 1000, 0, b""], Unsettled), ([b"reused", 1000, 0, b""], IdReused), (done(b"{"), DecodeError)],
)
def test_what_cannot_be_done(reply: Any, error: type[Exception]) -> None:
    """What nobody knows, what is another request's and what cannot be read is an error, and nothing is called."""
    counted = Counted()
    dry = running_it(REFUSES, function=counted)
    plan = dry.expect("once.claim")
    with contextlib.suppress(DecodeError):
        plan.answer(reply)
    if error is DecodeError:
        plan.fail(DecodeError("x"))
        dry.expect("once.abandon").answer(0)
    with pytest.raises(error):
        dry.result  # noqa: B018
    assert counted.calls == 0


@pytest.mark.parametrize(
    ("once", "error", "plans"),
    [
        (ONCE, ValueError("no"), [ONCE.abandon("i", "t")]),
        (ONCE, OutcomeUnknown("bank", "no answer"), [ONCE.abandon("i", "t")]),
        (REFUSES, ValueError("no"), [REFUSES.abandon("i", "t"), REFUSES._renewal("i", "t", 0)]),
        (REFUSES, OutcomeUnknown("bank", "no answer"), [REFUSES._renewal("i", "t", 0)]),
    ],
)
def test_a_function_that_raises(once: Once[Any], error: Exception, plans: list[Plan[bool]]) -> None:
    """The claim is given up; not where only the function could know whether it was done, and it does not."""
    dry = running_it(once, function=Counted(error))
    dry.expect("once.claim").answer(CLAIMED)
    for plan in plans:
        dry.expect(plan).answer(1)
    with pytest.raises(type(error)):
        dry.result  # noqa: B018


@pytest.mark.parametrize(("once", "plan"), [(ONCE, ONCE.abandon("i", "t")), (REFUSES, REFUSES._renewal("i", "t", 0))])
def test_a_cancellation(once: Once[Any], plan: Plan[bool]) -> None:
    """Before the call the claim is given up; in its middle it may have been done; after it the result is kept."""

    @flow
    def waits() -> Any:
        yield from Sleep(3)
        return 7

    dry = running_it(once, wait=5)
    dry.expect("once.claim").cancel()
    dry.expect(once.abandon("i", "t")).answer(1)
    assert dry.over
    dry = running_it(once, function=waits)
    dry.expect("once.claim").answer(CLAIMED)
    dry.cancel()
    dry.expect(plan).answer(1)
    assert dry.over
    dry = running_it(once)
    dry.expect("once.claim").answer(CLAIMED)
    dry.expect("once.complete").cancel()
    dry.expect(once.complete("i", "t", 7)).answer(KEPT)
    assert dry.over


def test_a_result_that_comes_too_late() -> None:
    """It is refused: the one that is kept is given, and where none is yet, an error that says so."""
    dry = running_it()
    dry.expect("once.claim").answer(CLAIMED)
    dry.expect("once.complete").answer(done(b"8"))
    assert dry.result == 8
    for reply in (running(100), [b"absent", 0, 0, b""]):
        dry = running_it()
        dry.expect("once.claim").answer(CLAIMED)
        dry.expect("once.complete").answer(reply)
        with pytest.raises(LockLost, match="its result was not kept"):
            dry.result  # noqa: B018


def test_a_result_that_could_not_be_sent() -> None:
    """It is sent once more at the end, and the claim is not given up: the function has returned."""
    dry = running_it()
    dry.expect("once.claim").answer(CLAIMED)
    dry.expect("once.complete").fail(Unreachable("once.complete", "away"))
    dry.expect(ONCE.complete("i", "t", 7)).fail(Unreachable("once.complete", "away"))
    with pytest.raises(Unreachable):
        dry.result  # noqa: B018


@pytest.mark.parametrize("once", [ONCE, REFUSES])
def test_a_result_that_cannot_be_written(once: Once[Any]) -> None:
    """It is an error after the function has returned, so the claim is left as after a crash."""
    dry = running_it(once, function=lambda: {1, 2})
    dry.expect("once.claim").answer(CLAIMED)
    with pytest.raises(EncodeError, match="JSON cannot write this set"):
        dry.result  # noqa: B018


def test_a_claim_is_renewed_as_long_as_it_is_ours() -> None:
    """At about a third of its lease, ten times as often after trouble; it ends when it is another's."""
    dry = Dry(ONCE._renewed("i", "t", lambda: 1.0))
    dry.sleep(3.0)
    dry.expect(ONCE.renew("i", "t")).answer(1)
    dry.sleep(3.0)
    dry.expect("once.renew").fail(Unreachable("once.renew", "away"))
    dry.sleep(0.3)
    dry.expect("once.renew").answer(1)
    dry.sleep(3.0)
    dry.expect("once.renew").answer(0)
    assert dry.over


# On a server


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.mark.parametrize("value", [None, False, 0, "", [], {}, "text", {"a": [1, None]}])
def test_any_result_is_a_result(server: Server, value: Any) -> None:
    """It is kept, with a TTL, and comes again by its own type."""
    counted = Counted(value)
    with server.sync() as redis:
        for _ in range(3):
            got = redis.run(ONCE.run("i", counted))
            assert got == value
            assert type(got) is type(value)
        assert counted.calls == 1
        assert redis.run(ONCE.look("i")) == Claim("done", "", value, server.time())
    assert len(server.expiries()) == 1


def test_empty_bytes_are_a_result_too(server: Server) -> None:
    """Nothing is not the same as nothing kept."""
    once: Once[bytes] = Once("x", codec=Bytes())
    counted = Counted(b"")
    with server.sync() as redis:
        assert [redis.run(once.run("i", counted)) for _ in range(2)] == [b"", b""]
    assert counted.calls == 1


def test_a_result_is_kept_for_so_long(server: Server) -> None:
    """To the moment; then it is done again."""
    counted = Counted()
    with server.sync() as redis:
        redis.run(ONCE.run("i", counted))
        server.clock.advance(100)
        redis.run(ONCE.run("i", counted))
        assert counted.calls == 1
        server.clock.advance(0.002)
        redis.run(ONCE.run("i", counted))
    assert counted.calls == 2


def test_ids_are_apart(server: Server) -> None:
    """Each has its own result, also those that look alike."""
    with server.sync() as redis:
        for id in ("a", "a:b", "{a}", "%7Ba%7D"):
            assert redis.run(ONCE.run(id, str, id)) == id
            assert redis.run(Once[Any]("x:a").run("b", lambda: "other")) == "other"
        assert redis.run(ONCE.run("a:b", Counted())) == "a:b"


def test_one_claim_at_a_time(server: Server) -> None:
    """The same token has it again, another one not before it has run out; what there is can be looked at."""
    with server.sync() as redis:
        assert redis.run(ONCE.look("i")) == Claim("absent")
        began = server.time()
        assert redis.run(ONCE.claim("i", "a")) == Claim("claimed", "a", None, began, 9)
        server.clock.advance(8)
        assert redis.run(ONCE.claim("i", "b")) == Claim("running", "", None, began, 1)
        assert redis.run(ONCE.look("i")) == Claim("running", "", None, began, 1)
        assert redis.run(ONCE.renew("i", "a"))
        assert not redis.run(ONCE.renew("i", "b"))
        server.clock.advance(8.5)
        assert redis.run(ONCE.claim("i", "a")) == Claim("claimed", "a", None, began, 9)
        server.clock.advance(9)
        assert redis.run(ONCE.look("i")).state == "unsettled"
        assert redis.run(ONCE.claim("i", "b")).state == "claimed"
        assert [redis.run(plan) for plan in (ONCE.renew("i", "a"), ONCE.abandon("i", "a"))] == [False, False]
        assert redis.run(ONCE.complete("i", "a", 1)).state == "running"
        assert redis.run(ONCE.complete("i", "b", 2)) == Claim("done", "", 2, server.time())
        assert redis.run(ONCE.complete("i", "a", 1)) == Claim("done", "", 2, server.time())
        assert redis.run(ONCE.complete("i", "b", 2)) == Claim("done", "", 2, server.time())
        assert [redis.run(plan) for plan in (ONCE.renew("i", "b"), ONCE.abandon("i", "b"))] == [False, False]
        assert redis.run(ONCE.complete("other", "a", 1)).state == "absent"


def test_a_claim_runs_out_at_its_millisecond(server: Server) -> None:
    """For all who ask: until then it is running, and from then on it is unsettled, or the next one's."""
    with server.sync() as redis:
        server.clock.advance(0.9999)
        since = server.time() // 1 + 0.999
        assert redis.run(REFUSES.claim("i", "a")) == Claim("claimed", "a", None, since, 9)
        server.clock.advance(8.999)
        running = Claim[Any]("running", "", None, since, 0.001)
        for plan in (REFUSES.look("i"), REFUSES.claim("i", "b"), ONCE.claim("i", "b"), ONCE.complete("i", "b", 1)):
            assert redis.run(plan) == running
        assert not redis.run(REFUSES.settle("i", 1))
        assert not redis.run(REFUSES.forget("i"))
        server.clock.advance(0.0002)
        for plan in (REFUSES.look("i"), REFUSES.claim("i", "b"), ONCE.complete("i", "b", 1)):
            assert redis.run(plan) == Claim("unsettled", "", None, since)
        server.clock.advance(1)
        assert redis.run(REFUSES.claim("i", "b")) == Claim("unsettled", "", None, since)
        assert redis.run(ONCE.complete("i", "b", 1)) == Claim("unsettled", "", None, since)
        assert redis.run(ONCE.claim("i", "b", fingerprint="f")) == Claim("claimed", "b", None, since + 10, 9)
        assert redis.run(ONCE.claim("i", "b", fingerprint="g")) == Claim("reused", "", None, since + 10)
        assert redis.run(ONCE.claim("i", "a")) == Claim("running", "", None, since + 10, 9)
        assert redis.run(ONCE.complete("i", "b", 5)) == Claim("done", "", 5, since + 10)
        for plan in (ONCE.look("i"), ONCE.claim("i"), ONCE.complete("i", "a", 6)):
            assert redis.run(plan) == Claim("done", "", 5, since + 10)
        assert redis.run(ONCE.complete("other", "a", 1)) == Claim("absent")
        redis.run(ONCE.claim("j", "a"))
        server.clock.advance(9)
        assert redis.run(ONCE.settle("j", 1)), "to the millisecond too"
        redis.run(ONCE.claim("k", "a"))
        server.clock.advance(9)
        assert redis.run(ONCE.forget("k"))


def test_a_claim_that_ran_out_is_still_its_holders_while_nobody_comes(server: Server) -> None:
    """It can be renewed, and what was done under it is kept: in both ways."""
    with server.sync() as redis:
        for once, id in ((ONCE, "a"), (REFUSES, "b")):
            redis.run(once.claim(id, "t"))
            server.clock.advance(50)
            assert redis.run(once.look(id)).state == "unsettled"
            assert redis.run(once.renew(id, "t"))
            assert redis.run(once.look(id)).state == "running"
            server.clock.advance(50)
            assert redis.run(once.complete(id, "t", 1)).state == "done"


def test_at_most_once_after_a_crash(server: Server) -> None:
    """Nobody does it again, until somebody has decided whether it was done; where somebody is at it, nobody can."""
    counted = Counted()
    with server.sync() as redis:
        for id in ("settled", "forgotten"):
            redis.run(REFUSES.claim(id, "dead"))
            assert not redis.run(REFUSES.settle(id, 5))
            assert not redis.run(REFUSES.forget(id))
            with pytest.raises(StillRunning):
                redis.run(REFUSES.run(id, counted, wait=8))
            with pytest.raises(Unsettled, match="nobody knows whether it was done"):
                redis.run(REFUSES.run(id, counted, wait=8))
            assert redis.run(REFUSES.claim(id)).state == "unsettled"
        assert redis.run(REFUSES.settle("settled", 5))
        assert redis.run(REFUSES.settle("settled", 5))
        assert not redis.run(REFUSES.settle("settled", 6))
        assert redis.run(REFUSES.complete("settled", "dead", 7)).result == 5
        assert redis.run(REFUSES.run("settled", counted)) == 5
        assert counted.calls == 0
        assert redis.run(REFUSES.forget("forgotten"))
        assert not redis.run(REFUSES.forget("forgotten"))
        assert redis.run(REFUSES.run("forgotten", counted)) == 7
        assert redis.run(REFUSES.forget("forgotten"))
        assert redis.run(REFUSES.settle("beforehand", 1))
        assert redis.run(REFUSES.run("beforehand", counted)) == 1
    assert counted.calls == 1


def test_it_is_remembered_after_a_crash_for_as_long_as_a_result(server: Server) -> None:
    """A lease and then what is kept; every key goes in the end."""
    with server.sync() as redis:
        redis.run(REFUSES.claim("i", "dead"))
        assert server.expiries() == [109.0]
        server.clock.advance(5)
        redis.run(REFUSES.renew("i", "dead"))
        assert server.expiries() == [114.0]


def test_a_function_that_fails_may_be_tried_again(server: Server) -> None:
    """At once, in both ways; one that cannot know whether it was done leaves it to somebody, where that was chosen."""
    with server.sync() as redis:
        for once in (ONCE, REFUSES):
            with pytest.raises(ValueError, match="no"):
                redis.run(once.run("i", Counted(ValueError("no"))))
            assert redis.run(once.look("i")) == Claim("absent")
        with pytest.raises(OutcomeUnknown):
            redis.run(REFUSES.run("i", Counted(OutcomeUnknown("bank", "no answer"))))
        with pytest.raises(Unsettled):
            redis.run(REFUSES.run("i", Counted()))
        assert redis.run(REFUSES.forget("i"))
        with pytest.raises(OutcomeUnknown):
            redis.run(ONCE.run("i", Counted(OutcomeUnknown("bank", "no answer"))))
        assert redis.run(ONCE.run("i", Counted())) == 7


def test_an_id_is_for_one_request(server: Server) -> None:
    """With another fingerprint it is refused, while it is done, afterwards and after a crash; without one it is not."""
    counted = Counted()

    def inside() -> int:
        with pytest.raises(IdReused):
            redis.run(ONCE.run("i", counted, fingerprint="two"))
        return 1

    with server.sync() as redis:
        assert redis.run(ONCE.run("i", inside, fingerprint="one")) == 1
        for fingerprint in ("two", b"", "One"):
            with pytest.raises(IdReused) as caught:
                redis.run(ONCE.run("i", counted, fingerprint=fingerprint))
            assert isinstance(caught.value, ValueError)
        assert redis.run(ONCE.run("i", counted, fingerprint=b"one")) == 1
        assert redis.run(ONCE.run("i", counted)) == 1
        redis.run(ONCE.claim("crashed", "dead", fingerprint="one"))
        server.clock.advance(10)
        assert redis.run(ONCE.claim("crashed", fingerprint="two")).state == "reused"
        assert redis.run(ONCE.claim("crashed", "b")).state == "claimed"
        assert redis.run(ONCE.claim("crashed", "b", fingerprint="two")).state == "reused"
    assert counted.calls == 0


def test_inside_itself_it_is_running(server: Server) -> None:
    """A function that asks for its own id does not wait for itself for ever."""

    def inside() -> Any:
        with pytest.raises(StillRunning):
            redis.run(ONCE.run("i", Counted(), wait=2))
        return 1

    with server.sync() as redis:
        assert redis.run(ONCE.run("i", inside)) == 1


def test_what_cannot_be_read_is_never_done_again(server: Server) -> None:
    """Another codec wrote it: an error each time, until somebody forgets it; what is too large is not kept."""
    counted = Counted()
    texts: Once[bytes] = Once("x", codec=Bytes(), max_result=10)
    with server.sync() as redis:
        redis.run(texts.run("i", lambda: b"{"))
        for plan in (ONCE.run("i", counted), ONCE.run("i", counted, wait=3), ONCE.look("i"), ONCE.claim("i")):
            with pytest.raises(DecodeError, match="expected JSON, got 1 bytes"):
                redis.run(plan)
        assert counted.calls == 0
        assert redis.run(ONCE.forget("i"))
        with pytest.raises(EncodeError, match="takes 11 bytes, which is more than the 10 of max_result"):
            redis.run(texts.run("i", lambda: b"x" * 11))
        assert redis.run(texts.look("i")).state == "running"
    with pytest.raises(EncodeError):
        texts.complete("i", "t", b"x" * 11)
    with pytest.raises(EncodeError):
        texts.settle("i", b"x" * 11)


def test_the_first_who_gets_it_and_the_others_get_the_same() -> None:
    """A codec that cannot read what it has written says so to the first caller too, and it is kept all the same."""

    class Odd:
        def encode(self, value: int) -> bytes:
            return str(value).encode()

        def decode(self, data: bytes) -> int:
            raise DecodeError(f"expected something else, got {len(data)} bytes")

    codec: Codec[int] = Odd()
    once, counted = Once[int]("x", codec=codec), Counted()
    server = Server()
    with server.sync() as redis:
        for _ in range(2):
            with pytest.raises(DecodeError):
                redis.run(once.run("i", counted))
    assert counted.calls == 1


# What is not shown


def test_ids_tokens_and_results_are_not_shown(server: Server) -> None:
    """Neither in a repr nor in an error."""
    once: Once[str] = Once("x", lease=9, after_crash="refuse")
    said: list[object] = [
        once,
        once.run(SECRET, lambda: SECRET, fingerprint=SECRET),
        once.claim(SECRET, SECRET),
        once.claim(SECRET, SECRET).commands,
        Claim("done", SECRET, SECRET),
    ]

    def attempt(redis: Driver, **options: Any) -> None:
        try:
            redis.run(once.run(SECRET, lambda: "x", **options))
        except Exception as error:  # noqa: BLE001  whatever it is
            said.append(error)

    with server.sync() as redis:
        redis.run(once.claim(SECRET, "dead", fingerprint="a"))
        attempt(redis)
        attempt(redis, fingerprint=SECRET)
        server.clock.advance(10)
        attempt(redis)
    for id in (SECRET * 100, f"{SECRET}\ud800", SECRET.encode()):
        with pytest.raises(ConfigurationError, match="id must be") as caught:
            once.look(id)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        said.append(caught.value)
    assert len(said) == 11
    assert not [one for one in said if SECRET in repr(one) or SECRET in str(one)]


# What is refused


@pytest.mark.parametrize(
    ("wrong", "argument"),
    [
        ({"name": ""}, "name"),
        ({"lease": 0}, "lease"),
        ({"lease": -1}, "lease"),
        ({"keep": 0.0001}, "keep"),
        ({"keep": float("nan")}, "keep"),
        ({"after_crash": "maybe"}, "after_crash"),
        ({"max_result": 0}, "max_result"),
        ({"namespace": 5}, "namespace"),
    ],
)
def test_a_pattern_refuses_nonsense(wrong: Any, argument: str) -> None:
    """When it is built, by an error that names the argument."""
    options: dict[str, Any] = {"name": "x", **wrong}
    with pytest.raises(ConfigurationError, match=argument):
        Once(**options)


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: ONCE.run("", Counted()), "id"),
        (lambda: ONCE.claim("x" * 501), "id"),
        (lambda: ONCE.run("i", Counted(), wait=-1), "wait"),
        (lambda: ONCE.run("i", Counted(), token=""), "token"),
        (lambda: ONCE.claim("i", ""), "token"),
        (lambda: ONCE.complete("i", "é", 1), "token"),
        (lambda: ONCE.abandon("i", ""), "token"),
        (lambda: ONCE.renew("i", ""), "token"),
        (lambda: ONCE.run("i", Counted(), fingerprint=NO_TEXT), "fingerprint"),
    ],
)
def test_arguments_that_are_refused(make: Any, argument: str) -> None:
    """When the plan or the flow is built; an empty token would pass for somebody who decides."""
    with pytest.raises(ConfigurationError, match=f"^{argument} must be"):
        make()


def test_durations_may_be_timedeltas() -> None:
    """As everywhere."""
    once: Once[Any] = Once("x", lease=timedelta(seconds=9), keep=timedelta(seconds=100))
    assert once.claim("i", "t") == ONCE.claim("i", "t")
