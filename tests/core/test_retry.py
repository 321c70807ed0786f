from __future__ import annotations

import pytest

from redis_patterns import (
    Backoff,
    Command,
    CommandFailed,
    Effect,
    ErrorReply,
    OutcomeUnknown,
    Plan,
    Unreachable,
)
from redis_patterns_core.retry import MISSING, Execution, Incomplete

REFUSED = ErrorReply("LOADING", "Redis is loading")
FORGOTTEN = ErrorReply("NOSCRIPT", "No matching script")
FAILED = ErrorReply("WRONGTYPE", "wrong kind")


def execution(effect: Effect, commands: int = 3, retry_for: float = 10.0) -> Execution:
    plan = Plan("p", tuple(Command(("C", place)) for place in range(commands)), tuple, effect)
    return Execution(plan, give_up_at=retry_for, backoff=Backoff(first=0.5, most=2))


def sent(*answers: object) -> Incomplete:
    return Incomplete("reset", sent=True, answers=answers)


def not_sent() -> Incomplete:
    return Incomplete("refused")


def places(run: Execution) -> list[object]:
    return [command.args[1] for command in run.commands]


@pytest.mark.parametrize("effect", list(Effect))
def test_what_was_not_sent_is_sent_again(effect: Effect) -> None:
    """When nothing left, nothing happened: any plan may be tried again."""
    run = execution(effect)
    assert run.after(not_sent(), now=0, chance=1) == 0.5
    assert places(run) == [0, 1, 2]
    assert run.after(Incomplete(answers=[7, 8, 9]), now=1, chance=1) is None
    assert run.replies == [7, 8, 9]


@pytest.mark.parametrize("effect", [Effect.READS, Effect.IDEMPOTENT])
def test_what_has_no_answer_is_sent_again_where_it_may_be(effect: Effect) -> None:
    """Only the commands without an answer go out again, and the answers stay in their places."""
    run = execution(effect)
    assert run.after(sent(7), now=0, chance=0.5) == 0.25
    assert places(run) == [1, 2]
    assert run.after(Incomplete(answers=[8, 9]), now=1, chance=0) is None
    assert run.replies == [7, 8, 9]


def test_what_must_happen_once_is_never_sent_again_without_an_answer() -> None:
    """A lost answer of a plan that counts ends it at once, with the reason."""
    trouble = sent()
    with pytest.raises(OutcomeUnknown, match=r"p: sent, but no answer came.*reset") as unknown:
        execution(Effect.ONCE).after(trouble, now=0, chance=0)
    assert unknown.value.__cause__ is trouble


@pytest.mark.parametrize("refusal", [REFUSED, FORGOTTEN])
def test_an_old_refusal_does_not_speak_for_a_lost_answer(refusal: ErrorReply) -> None:
    """What was refused, sent again and then not answered may have happened; it is not sent a third time."""
    run = execution(Effect.ONCE, commands=1)
    assert run.after(Incomplete(answers=[refusal]), now=0, chance=0) == 0
    with pytest.raises(OutcomeUnknown):
        run.after(sent(), now=1, chance=0)
    run = execution(Effect.IDEMPOTENT, commands=1, retry_for=2)
    assert run.after(Incomplete(answers=[refusal]), now=0, chance=0) == 0
    assert run.after(sent(), now=1, chance=0) == 0
    with pytest.raises(OutcomeUnknown):
        run.after(not_sent(), now=3, chance=0)


@pytest.mark.parametrize("effect", list(Effect))
def test_refused_commands_alone_are_sent_again(effect: Effect) -> None:
    """A refusal proves that the command did not run; its neighbours did, and are not repeated."""
    run = execution(effect)
    assert run.after(Incomplete(answers=[7, REFUSED, 9]), now=0, chance=1) == 0.5
    assert places(run) == [1]
    assert run.after(Incomplete(answers=[8]), now=1, chance=1) is None
    assert run.replies == [7, 8, 9]


def test_a_forgotten_script_is_sent_again_at_once() -> None:
    """The source goes along the second time, so there is nothing to wait for; a third time there is."""
    run = execution(Effect.ONCE)
    assert run.after(Incomplete(answers=[7, FORGOTTEN, 9]), now=99, chance=1) == 0
    assert run.after(Incomplete(answers=[FORGOTTEN]), now=9, chance=1) == 1.0


def test_an_error_is_raised_when_all_have_their_answers() -> None:
    """The first error of a plan is its outcome, after what was refused has been sent again."""
    run = execution(Effect.ONCE)
    assert run.after(Incomplete(answers=[FAILED, REFUSED, 9]), now=0, chance=0) == 0
    with pytest.raises(CommandFailed, match="p: WRONGTYPE wrong kind") as failed:
        run.after(Incomplete(answers=[8]), now=0, chance=0)
    assert (failed.value.plan, failed.value.code, failed.value.message) == ("p", "WRONGTYPE", "wrong kind")


def test_giving_up_says_what_is_known() -> None:
    """After the budget: nothing sent is Unreachable, something sent is OutcomeUnknown, a refusal is the refusal."""
    with pytest.raises(Unreachable, match="p: nothing was sent: refused"):
        execution(Effect.READS, retry_for=0.4).after(not_sent(), now=0, chance=1)
    run = execution(Effect.READS, retry_for=0.6)
    run.after(sent(), now=0, chance=1)
    with pytest.raises(OutcomeUnknown):
        run.after(not_sent(), now=0.55, chance=1)
    with pytest.raises(CommandFailed, match="LOADING"):
        execution(Effect.READS, retry_for=0).after(Incomplete(answers=[7, REFUSED, 9]), now=1, chance=1)


def test_a_once_plan_that_was_never_sent_is_unreachable() -> None:
    """Several attempts that sent nothing are still nothing."""
    run = execution(Effect.ONCE, retry_for=0.6)
    run.after(not_sent(), now=0, chance=1)
    with pytest.raises(Unreachable):
        run.after(not_sent(), now=0.6, chance=1)


def test_the_bound_of_the_backoff_doubles_up_to_a_most() -> None:
    """The wait is a random part of a bound that doubles."""
    backoff = Backoff(first=0.1, most=1)
    assert [backoff.delay(attempt, 1.0) for attempt in (1, 2, 3, 4, 5, 99)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert backoff.delay(3, 0.25) == 0.1


def test_an_answer_behind_one_that_is_missing() -> None:
    """It is kept, and only what is missing is sent again."""
    run = execution(Effect.IDEMPOTENT)
    assert run.after(sent(b"a", MISSING, b"c"), now=0, chance=0) == 0
    assert [command.args for command in run.commands] == [("C", 1)]
    assert run.after(Incomplete(answers=[b"b"]), now=0, chance=0) is None
    assert run.replies == [b"a", b"b", b"c"]
