"""Flows: several round trips, with decisions, waits or the caller's own function between them, as a value.

A flow is a generator of steps that does no I/O. A driver takes each step, performs it and sends back what came of it;
one run loop per driver serves every flow, so each logic exists once for sync, asyncio and trio. Inside a flow each step
is awaited by ``yield from``, which is exactly typed:

    @flow
    def first_free(locks: Sequence[Lock], token: str) -> Steps[Lock]:
        while True:
            for lock in locks:
                if (yield from lock.acquire(token)):
                    return lock
            yield from Sleep(0.1)

The rules: no I/O, no clock and no randomness but through steps and arguments, and nothing to be sent in a ``finally``
(under cancellation it would be lost); `Defer` is for that. Errors of a step are thrown into the flow, which may catch
them; a cancellation only closes it.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Generic, NoReturn, ParamSpec, TypeAlias, TypeVar, Union, overload

from redis_patterns_core.plan import Plan

__all__ = [
    "Alongside",
    "Call",
    "Defer",
    "Flow",
    "Now",
    "Shared",
    "Sleep",
    "Spawn",
    "Step",
    "Steps",
    "Take",
    "Within",
    "flow",
    "perform",
]

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Step: TypeAlias = Union[
    "Plan[Any]",
    "Flow[Any]",
    "Sleep",
    "Now",
    "Call[Any]",
    "Spawn",
    "Defer",
    "Within[Any]",
    "Take[Any]",
    "Alongside[Any]",
    "Shared[Any]",
]
"""What a flow may ask of its driver."""

Steps: TypeAlias = Generator[Step, Any, T]
"""What a flow's function returns: a generator of steps that ends with a ``T``."""


@dataclass(frozen=True, slots=True, repr=False)
class Flow(Generic[T_co]):
    """A run of several steps; running it twice starts from the beginning each time.

    Made by the `flow` decorator. A flow used inside another one has clean-up of its own: what it deferred runs when it
    ends, not when the outer one does.

    Parameters:
        name: what errors and traces call it.
        start: gives a fresh generator of steps.
        args, kwargs: what `start` is called with.
    """

    name: str
    start: Callable[..., Steps[T_co]]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict[str, Any], hash=False)

    def steps(self) -> Steps[T_co]:
        """Give a fresh generator of this flow's steps."""
        return self.start(*self.args, **self.kwargs)

    def __iter__(self) -> Steps[T_co]:
        """Yield the flow itself and return its result: inside another flow, ``value = yield from flow``."""
        value: T_co = yield self
        return value

    def __bool__(self) -> NoReturn:
        """Refuse to be taken for a result.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"{self!r} is not a result yet: a driver has to run it, as in driver.run(...)")

    def __repr__(self) -> str:
        return f"<Flow {self.name}>"  # its arguments may be a token or somebody's data


def flow(function: Callable[P, Steps[T]]) -> Callable[P, Flow[T]]:
    """Turn a function that yields steps into one that gives a `Flow`.

    It is named ``function``, or ``class.function`` after the class of whom the method belongs to, all in lower case.
    """
    owner, _, name = function.__qualname__.rpartition("<locals>.")[2].lower().rpartition(".")
    name = name.lstrip("_")

    @functools.wraps(function)
    def build(*args: P.args, **kwargs: P.kwargs) -> Flow[T]:
        return Flow(f"{type(args[0]).__name__.lower()}.{name}" if owner else name, function, args, kwargs)

    return build


def perform(step: Plan[T] | Flow[T] | Within[T] | Call[T]) -> Steps[T]:
    """Yield a step and return its result, where it may be one of several kinds."""
    value: T = yield step
    return value


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait.

    Parameters:
        seconds: for how long; 0 or less lets others run and goes on.
    """

    seconds: float

    def __iter__(self) -> Steps[None]:
        """Yield the step itself; returns when the time has passed."""
        yield self


@dataclass(frozen=True, slots=True)
class Within(Generic[T_co]):
    """Run a plan, and give up when it takes too long, as the driver's ``run`` does with a timeout.

    `Unreachable` or `OutcomeUnknown` is thrown into the flow then.

    Parameters:
        plan: what to run.
        seconds: for how long, more than 0.
    """

    plan: Plan[T_co]
    seconds: float

    def __iter__(self) -> Steps[T_co]:
        """Yield the step itself and return the plan's result."""
        value: T_co = yield self
        return value


@dataclass(frozen=True, slots=True)
class Take(Generic[T_co]):
    """Run a plan that takes something away, and do not lose that to a cancellation.

    A cancellation, or a timeout, waits for the answer then, and what came is put away before the flow ends. It waits
    for a second longer than the plan may block.

    Parameters:
        plan: what takes; should not block for long.
        back: gives the plan that puts away what was taken; ``None`` where that is nothing.
    """

    plan: Plan[T_co]
    back: Callable[[Any], Plan[Any] | None]

    def __iter__(self) -> Steps[T_co]:
        """Yield the step itself and return the plan's result."""
        value: T_co = yield self
        return value


@dataclass(frozen=True, slots=True)
class Now:
    """Ask for the driver's monotonic clock, in seconds; only differences of it mean anything."""

    def __iter__(self) -> Steps[float]:
        """Yield the step itself and return the time."""
        now: float = yield self
        return now


@dataclass(frozen=True, slots=True, init=False)
class Call(Generic[T_co]):
    """Call the caller's own function.

    The asyncio and trio drivers await what it returns where that is awaitable; the sync driver refuses that with a
    ``TypeError``. What it raises is thrown into the flow.

    Parameters:
        function: what to call.
        args, kwargs: what to call it with.
    """

    function: Callable[..., T_co | Awaitable[T_co]]
    args: tuple[Any, ...] = field(repr=False)
    kwargs: dict[str, Any] = field(hash=False, repr=False)

    # Coroutine functions first, or a plain function's result could stand for any awaitable.
    @overload
    def __init__(self: Call[T], function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> None: ...
    @overload
    def __init__(self: Call[T], function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> None: ...
    def __init__(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> None:
        object.__setattr__(self, "function", function)
        object.__setattr__(self, "args", args)
        object.__setattr__(self, "kwargs", kwargs)

    def __iter__(self) -> Steps[T_co]:
        """Yield the step itself and return what the function returned."""
        value: T_co = yield self
        return value


@dataclass(frozen=True, slots=True)
class Alongside(Generic[T_co]):
    """Call a function or run a flow, and run another flow until that is over, such as one that prolongs a lease.

    Parameters:
        step: whose result is that of the step.
        beside: only sleeps, looks at the clock and runs plans, a `Sleep` first; what it raises goes to the driver's
            handler of background errors. Where steps are taken one by one, dry or in a simulation, it is left out.
    """

    step: Call[T_co] | Flow[T_co]
    beside: Flow[None]

    def __iter__(self) -> Steps[T_co]:
        """Yield the step itself and return the result."""
        value: T_co = yield self
        return value


@dataclass(frozen=True, slots=True)
class Shared(Generic[T_co]):
    """Run a flow, or wait for the end of the same one where that is under way in this driver, and share its result.

    What it raises is raised by all who wait; when it is cancelled, one of them begins it anew.

    Parameters:
        key: flows with equal keys are the same.
        flow: what to run.
        wait: for how many seconds to wait for the end of one that is under way; then it is run beside that one, for
            oneself. ``None`` waits for as long as it takes.
    """

    key: str
    flow: Flow[T_co]
    wait: float | None = None

    def __iter__(self) -> Steps[T_co]:
        """Yield the step itself and return the flow's result."""
        value: T_co = yield self
        return value


@dataclass(frozen=True, slots=True)
class Spawn:
    """Run a flow in the background, owned by the driver, which waits for it when it closes.

    What the flow raises goes to the driver's handler of background errors.

    Parameters:
        flow: what to run.
    """

    flow: Flow[Any]

    def __iter__(self) -> Steps[None]:
        """Yield the step itself; returns at once."""
        yield self


@dataclass(frozen=True, slots=True)
class Defer:
    """Register clean-up: a plan that the driver runs when this flow ends, whatever ends it.

    That is a return, an error or a cancellation, the interpreter's own interrupt included. What was deferred last runs
    first. The driver shields it from the cancellation, gives it a deadline of its own, and reports a failure to its
    handler of background errors: the flow's own outcome stands.

    Parameters:
        plan: what to run; it should be harmless where there is nothing to clean.
        on_error_only: leave it when the flow returns: for undoing what a flow that returns wants to keep.
    """

    plan: Plan[Any]
    on_error_only: bool = False

    def __iter__(self) -> Steps[None]:
        """Yield the step itself; returns at once."""
        yield self
