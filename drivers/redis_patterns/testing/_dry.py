"""Flows stepped by hand and plans checked dry: no server, no driver, no time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NoReturn, TypeVar

from redis_patterns_core.flow import (
    Alongside,
    Call,
    Defer,
    Flow,
    Now,
    Shared,
    Sleep,
    Spawn,
    Steps,
    Take,
    Within,
    perform,
)
from redis_patterns_core.plan import Effect, Plan
from redis_patterns_core.replies import Reply

__all__ = ["Dry", "assert_plan"]

T = TypeVar("T")
_UNSET: Any = object()


def assert_plan(
    plan: Plan[Any],
    *,
    commands: Sequence[str] | None = None,
    replies: Sequence[Reply] | None = None,
    gives: object = _UNSET,
    effect: Effect | None = None,
) -> None:
    """Check a plan without running it.

    Parameters:
        plan: what a pattern's method gave.
        commands: the lines of its `Plan.explain`, without those that name scripts.
        replies: raw replies, one for each command.
        gives: what the plan makes of `replies`.
        effect: what sending it twice would do.

    Raises:
        AssertionError: something is different; the message shows both.
    """
    if commands is not None:
        lines = [line for line in plan.explain().splitlines() if not line.startswith("# ")]
        _check(lines == list(commands), f"{plan!r} sends {lines}, not {list(commands)}")
    if effect is not None:
        _check(plan.effect is effect, f"{plan!r} is {plan.effect.name}, not {effect.name}")
    if replies is not None:
        made = plan.parse(replies)
        if gives is not _UNSET:
            _check(bool(made == gives), f"{plan!r} makes {made!r} of {list(replies)!r}, not {gives!r}")


@dataclass
class _Frame:
    flow: Flow[Any]
    steps: Steps[Any]
    deferred: list[Defer] = field(default_factory=list[Defer])


class Dry(Generic[T]):
    """Steps a flow by hand: each plan is expected and answered, each sleep is expected and takes no time.

    `Now` gives the clock of the test, `Call` calls the function, and what a flow spawns is noted. Clean-up that the
    flow has deferred comes as plans after its end, as a driver would run it.

    Parameters:
        flow: what to step.
        now: the time at which it starts, in seconds.
    """

    def __init__(self, flow: Flow[T], *, now: float = 0.0) -> None:
        self.now: float = now
        """The time that the flow is told."""
        self.spawned: list[Flow[Any]] = []
        """What it has spawned."""
        self.trace: list[str] = []
        """What has happened so far, a line for each step."""
        self._frames: list[_Frame] = []
        self._step: Plan[Any] | Sleep | None = None
        self._cleaning: list[Plan[Any]] = []
        self._outcome: tuple[Any, BaseException | None] | None = None
        self._ended = False
        self._push(flow)
        self._resume()

    # What a test says

    def expect(self, plan: Plan[Any] | str) -> Dry[T]:
        """Check that the flow runs a plan now.

        Parameters:
            plan: one that would send the same, or its name.

        Raises:
            AssertionError: it does something else; the message shows the trace.
        """
        if not isinstance(self._step, Plan):
            self._fail(f"the flow should run {_name(plan)}, but {self._doing()}")
        elif isinstance(plan, str) and self._step.name != plan:
            self._fail(f"the flow should run {plan}, but runs {self._step.name}")
        elif isinstance(plan, Plan) and self._step != plan:
            self._fail(
                f"the flow should send\n{_indented(plan.explain())}\nbut sends\n{_indented(self._step.explain())}"
            )
        return self

    def answer(self, *replies: Reply) -> Dry[T]:
        """Answer the plan that is due with raw replies, one for each of its commands.

        Raises:
            AssertionError: no plan is due, or it has another number of commands.
        """
        plan = self._due()
        if len(replies) != len(plan.commands):
            self._fail(f"{plan.name} has {len(plan.commands)} commands, and there are {len(replies)} replies for them")
        return self.give(plan.parse(replies))

    def give(self, result: object) -> Dry[T]:
        """Answer the plan that is due with its result.

        Raises:
            AssertionError: no plan is due.
        """
        self.trace.append(f"{self._due().name} gives {result!r}")
        return self._after(result, None)

    def fail(self, error: Exception) -> Dry[T]:
        """Let the plan that is due raise an error.

        Raises:
            AssertionError: no plan is due.
        """
        self.trace.append(f"{self._due().name} raises {type(error).__name__}")
        return self._after(None, error)

    def sleep(self, seconds: float | None = None) -> Dry[T]:
        """Check that the flow sleeps now, and let the time pass.

        Parameters:
            seconds: for how long it should, if that matters.

        Raises:
            AssertionError: it does something else, or sleeps for another time.
        """
        if not isinstance(self._step, Sleep):
            self._fail(f"the flow should sleep, but {self._doing()}")
        if seconds is not None and abs(self._step.seconds - seconds) > 1e-9:
            self._fail(f"the flow should sleep for {seconds:g} s, but sleeps for {self._step.seconds:g} s")
        self.trace.append(f"sleeps for {self._step.seconds:g} s")
        self.now += max(0.0, self._step.seconds)
        return self._after(None, None)

    def advance(self, seconds: float) -> Dry[T]:
        """Put the clock forward, as if the step that is due took so long."""
        self.now += seconds
        self.trace.append(f"{seconds:g} s pass")
        return self

    def cancel(self) -> Dry[T]:
        """Cancel the flow where it is; what it had deferred is due then, plan by plan."""
        self.trace.append("cancelled")
        self._step, self._cleaning, self._outcome = None, [], (None, None)
        while self._frames:
            frame = self._frames.pop()
            frame.steps.close()
            self._cleaning += [defer.plan for defer in reversed(frame.deferred)]
        self._next_clean_up()
        return self

    @property
    def result(self) -> T:
        """What the flow returned; raises what it raised.

        Raises:
            AssertionError: it is not over.
        """
        if not self._ended or self._outcome is None:
            self._fail(f"the flow should be over, but {self._doing()}")
        value, error = self._outcome
        if error is not None:
            raise error
        result: T = value
        return result

    @property
    def over(self) -> bool:
        """Whether the flow and its clean-up have ended."""
        return self._ended

    # The machine

    def _push(self, flow: Flow[Any]) -> None:
        self._frames.append(_Frame(flow, flow.steps()))

    def _due(self) -> Plan[Any]:
        if not isinstance(self._step, Plan):
            self._fail(f"no plan is due: {self._doing()}")
        return self._step

    def _after(self, value: Any, error: Exception | None) -> Dry[T]:
        if self._outcome is not None:
            self._next_clean_up()  # what a clean-up gives or raises is not the flow's
        else:
            self._resume(value, error)
        return self

    def _resume(self, value: Any = None, error: Exception | None = None) -> None:
        self._step = None
        while self._frames:
            frame = self._frames[-1]
            try:
                step = frame.steps.send(value) if error is None else frame.steps.throw(error)
            except StopIteration as stop:
                value, error = stop.value, None
            except Exception as raised:  # noqa: BLE001  the outer flow's to handle, or the test's
                value, error = None, raised
            else:
                value = error = None
                match step:
                    case Plan() | Sleep():
                        self._step = step
                        return
                    case Within() | Take():
                        self._step = step.plan
                        return
                    case Flow():
                        self._push(step)
                    case Shared():
                        self._push(step.flow)
                    case Alongside():
                        self._push(Flow("alongside", perform, (step.step,)))
                    case Now():
                        value = self.now
                    case Call():
                        try:
                            value = step.function(*step.args, **step.kwargs)
                        except Exception as raised:  # noqa: BLE001  the flow's to handle
                            error = raised
                    case Spawn():
                        self.spawned.append(step.flow)
                    case Defer():
                        frame.deferred.append(step)
                    case _:
                        self._fail(f"a flow yields steps, not {type(step).__name__}")
                continue
            # The flow on top has ended: its clean-up is due, then the one below goes on.
            self._frames.pop()
            plans = [defer.plan for defer in reversed(frame.deferred) if error is not None or not defer.on_error_only]
            if plans and self._frames:
                self._clean_up_inside(plans, value, error)
                return
            if not self._frames:
                self._outcome, self._cleaning = (value, error), plans
                self._next_clean_up()

    def _clean_up_inside(self, plans: list[Plan[Any]], value: Any, error: Exception | None) -> None:
        def cleaning() -> Steps[Any]:
            for plan in plans:
                try:
                    yield from plan
                except Exception as failure:  # noqa: BLE001  a driver reports it, and goes on
                    self.trace.append(f"{plan.name} failed in the clean-up: {type(failure).__name__}")
            if error is not None:
                raise error
            return value

        self._push(Flow("clean-up", cleaning))
        self._resume()

    def _next_clean_up(self) -> None:
        self._step = self._cleaning.pop(0) if self._cleaning else None
        self._ended = self._step is None

    def _doing(self) -> str:
        if self._step is None:
            return "it is over"
        if isinstance(self._step, Sleep):
            return f"sleeps for {self._step.seconds:g} s"
        return f"runs {self._step.name}"

    def _fail(self, message: str) -> NoReturn:
        history = "\n".join(f"  {number}. {line}" for number, line in enumerate(self.trace, 1)) or "  nothing"
        raise AssertionError(f"{message}\nso far:\n{history}")


def _check(holds: bool, message: str) -> None:
    if not holds:  # not an assert, which Python leaves out under -O
        raise AssertionError(message)


def _name(plan: Plan[Any] | str) -> str:
    return plan if isinstance(plan, str) else plan.name


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
