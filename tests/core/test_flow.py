from __future__ import annotations

import pytest

from redis_patterns import Cache, Call, Command, Defer, Effect, Flow, Lock, Now, Plan, Sleep, Spawn, Step, Steps, flow
from redis_patterns.testing import Dry
from redis_patterns_core.flow import Alongside, Shared, Take, Within

GET = Plan("get", (Command(("GET", "k")),), lambda replies: replies[0], Effect.READS)


@flow
def count_to(limit: int) -> Steps[int]:
    total = 0
    while total < limit:
        yield from GET
        yield from Sleep(0.5)
        total += 1
    return total


def test_a_flow_refuses_to_be_taken_for_a_result() -> None:
    """A flow has no truth value, like a plan."""
    with pytest.raises(TypeError, match="driver has to run it"):
        bool(count_to(1))


def test_a_flow_starts_afresh_each_time() -> None:
    """The same value can be run again, and gives the same."""
    flow_of_two = count_to(2)
    for _ in range(2):
        dry = Dry(flow_of_two)
        dry.expect(GET).answer(1).sleep(0.5).expect(GET).answer(1).sleep(0.5)
        assert dry.result == 2


def test_a_flow_is_named_after_its_function_and_compared_by_its_arguments() -> None:
    """Name and arguments make a flow, and its repr shows none of the arguments."""
    assert Lock("x").wait_for(5, token="s3cret").name == "lock.wait_for"
    assert count_to(2) == count_to(2) != count_to(3)
    assert repr(Lock("x").wait_for(5, token="s3cret")) == "<Flow lock.wait_for>"
    assert Cache[int]("x", ttl=1)._keep([]).name == "cache.keep"


def test_each_step_yields_itself_and_returns_what_is_sent() -> None:
    """``yield from`` a step hands it to the driver and gives back what the driver sends."""
    call = Call(len, "four")
    pairs: list[tuple[Step, object]] = [
        (GET, 7),
        (Sleep(1), None),
        (Now(), 3.5),
        (call, 4),
        (Spawn(count_to(1)), None),
        (Defer(GET), None),
        (Within(GET, 0.5), 7),
        (Take(GET, lambda _: None), 7),
        (Alongside(call, Cache[int]("x", ttl=1)._keep([])), 4),
        (Shared("k", count_to(1)), 9),
        (count_to(1), 9),
    ]
    for step, sent in pairs:
        steps: Steps[object] = step.__iter__()
        assert next(steps) is step
        with pytest.raises(StopIteration) as stop:
            steps.send(sent)
        assert stop.value.value == sent
    assert (call.function, call.args, call.kwargs) == (len, ("four",), {})


def test_an_inner_flow_is_a_step_of_its_own() -> None:
    """A flow used inside another reaches the driver as a flow, so that its clean-up ends with it."""

    @flow
    def outer() -> Steps[int]:
        return (yield from count_to(3))

    step = next(outer().steps())
    assert isinstance(step, Flow)
    assert step == count_to(3)
