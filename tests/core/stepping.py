"""Steps a flow by hand: each expected step with what comes of it, against a clock that only the test moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from redis_patterns import Defer, Flow, Now, Plan, Sleep, Step

T = TypeVar("T")


@dataclass
class Played(Generic[T]):
    """How a flow went: its result or error, what it did in order, and what it deferred."""

    result: T | None
    error: BaseException | None
    trace: list[str]
    deferred: list[Defer]
    slept: list[float]


def play(flow: Flow[T], answers: Sequence[object], *, step_time: float = 0.0) -> Played[T]:
    """Run a flow without a driver.

    Parameters:
        flow: what to run.
        answers: for each plan in turn the replies to parse, an exception to throw in, or a function of the time so far
            that gives one of these.
        step_time: seconds that pass with each plan.
    """
    now = 100.0
    steps = flow.steps()
    played: Played[T] = Played(None, None, [], [], [])
    left = list(answers)
    send: Callable[[Any], Step] = steps.send
    value: Any = None
    try:
        while True:
            step = send(value)  # the first time None, which starts a generator
            send, value = steps.send, None
            match step:
                case Defer():
                    played.deferred.append(step)
                    played.trace.append(f"defer {step.plan.name}{' on error' if step.on_error_only else ''}")
                case Sleep():
                    now += step.seconds
                    played.slept.append(step.seconds)
                    played.trace.append(f"sleep {step.seconds:g}")
                case Now():
                    value = now
                case Plan():
                    played.trace.append(step.name)
                    assert left, f"the flow asks for one answer too many: {played.trace}"
                    answer = left.pop(0)
                    answer = answer(now) if callable(answer) and not isinstance(answer, type) else answer
                    now += step_time
                    if isinstance(answer, BaseException):
                        send, value = steps.throw, answer
                    else:
                        assert isinstance(answer, list)
                        value = step.parse(answer)
                case _:
                    raise AssertionError(f"the flow takes a step that play does not know: {step!r}")
    except StopIteration as stop:
        played.result = stop.value
    except Exception as error:
        if isinstance(error, AssertionError):
            raise
        played.error = error
    assert not left, f"the flow was over before the answers: {played.trace}"
    return played
