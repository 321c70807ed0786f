"""How plans and flows are run on anyio, for the drivers of asyncio and trio."""

from __future__ import annotations

import inspect
import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio

from redis_patterns._flights import Flights
from redis_patterns._lines import Lines
from redis_patterns._observe import Observed, Report, Tally, reporter
from redis_patterns._transport import Sent, Task, Transport
from redis_patterns_core import validate
from redis_patterns_core.errors import DeadlineExceeded, DriverClosed, OutcomeUnknown, Unreachable
from redis_patterns_core.flow import Alongside, Call, Defer, Flow, Now, Shared, Sleep, Spawn, Step, Steps, Take, Within
from redis_patterns_core.plan import Plan
from redis_patterns_core.replies import Reply
from redis_patterns_core.retry import Backoff, Execution, Incomplete
from redis_patterns_core.tracing import Instrument
from redis_patterns_core.validate import Duration

__all__ = ["CLEAN_UP_FOR", "AsyncRunner"]

T = TypeVar("T")

CLEAN_UP_FOR = 5.0
"""Seconds that a clean-up may take."""

_BACKOFF = Backoff()


class AsyncRunner(ABC):
    """Runs plans and flows on a transport, for any number of tasks, until it is closed; a driver is one.

    Parameters:
        transport: what carries the commands.
        retry_for: seconds, or a timedelta, for which a plan that may be sent (again) is tried before it fails.
        on_background_error: called with the flow or plan and the exception when a spawned flow or a clean-up fails; by
            default it is logged to ``redis_patterns``.
        instrument: is told of each run.
        clock: monotonic, in seconds.
        sleep: waits for so many seconds of that clock.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        retry_for: Duration = 3,
        on_background_error: Report | None = None,
        instrument: Instrument | None = None,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._instrument = instrument
        self._sleep = sleep
        self._transport = transport
        self._ask = transport.ask
        self._retry_for = validate.milliseconds("retry_for", retry_for, least=0) / 1000
        self._report = reporter(on_background_error)
        self._clock = clock
        self._background: set[Task] = set()
        self._lines = Lines(sleep)
        self._flights = Flights()
        self._closed = False

    @abstractmethod
    def _start(self, function: Callable[[], Awaitable[None]], name: str) -> Task:
        """Run a function, which raises nothing but cancellation, in a task that the driver owns."""

    async def _call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function of the caller's, and await what it returns where that is awaitable."""
        result = function(*args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    # Running

    async def run(self, step: Plan[T] | Flow[T], *, timeout: Duration | None = None) -> T:
        """Run a plan or a flow and give its result.

        Parameters:
            step: what a pattern's method gave; a plan is one round trip, a flow says how many.
            timeout: seconds, or a timedelta, for all of it.

        Raises:
            Unreachable: no connection could be had within ``retry_for`` or the timeout; nothing was sent.
            OutcomeUnknown: it was sent, no answer came (in time), and it must not be sent twice, or that failed too.
            DeadlineExceeded: a flow was not over within the timeout; what it deferred has run.
            CommandFailed: Redis answered with an error.
            DecodeError: the stored data is not what the pattern writes.
            DriverClosed: the driver was closed.
            TypeError: `step` is neither a plan nor a flow.
        """
        if timeout is None and self._instrument is None:
            # The way of most, without a call more than it needs.
            if isinstance(step, Flow):
                return await self._run_flow(step)
            if isinstance(step, Plan):
                try:
                    answers = await self._ask(step.commands, step.blocks_for)
                except Incomplete as attempt:
                    answers = await self._finish(step, attempt)
                return step.parse(answers)
        seconds = None if timeout is None else validate.milliseconds("timeout", timeout) / 1000
        tally = Tally()
        if self._instrument is None:
            return await self._run_within(step, seconds, tally)
        with Observed(self._instrument, step, tally, self._clock, self._report):
            return await self._run_within(step, seconds, tally)

    # Closing

    async def close(self, grace: Duration = 5) -> None:
        """Wait for what runs in the background and for the answers that are due, then close.

        Parameters:
            grace: seconds, or a timedelta, for all that to end by itself; after that it is cancelled.

        Closing again does nothing.
        """
        if self._closed:
            return
        deadline = self._clock() + validate.milliseconds("grace", grace, least=0) / 1000
        with anyio.move_on_after(deadline - self._clock()):
            for task in list(self._background):
                await task.wait()
        self._closed = True
        for task in list(self._background):
            await task.stop()
        await self._transport.close(max(0.0, deadline - self._clock()))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            # Whoever leaves by a cancellation or an error is in a hurry.
            await self.close(5 if error is None else 0)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.Driver{', closed' if self._closed else ''}>"

    # Plans

    async def _finish(
        self, plan: Plan[Any], attempt: Incomplete, trace: list[Sent] | None = None, tally: Tally | None = None
    ) -> Sequence[Reply]:
        """Bring a plan to its replies whose first attempt was not enough, as `Execution` decides."""
        tally = tally or Tally()
        tally.add(attempt)
        execution = Execution(plan, give_up_at=self._clock() + self._retry_for, backoff=_BACKOFF)
        while (delay := execution.after(attempt, now=self._clock(), chance=random.random())) is not None:
            await self._sleep(delay)
            try:
                attempt = Incomplete(answers=await self._ask(execution.commands, plan.blocks_for, trace))
            except Incomplete as again:
                attempt = again
            tally.add(attempt)
        return execution.replies

    async def _run_within(self, step: Plan[T] | Flow[T], seconds: float | None, tally: Tally) -> T:
        trace: list[Sent] = []
        with anyio.move_on_after(seconds):
            if isinstance(step, Flow):
                return await self._run_flow(step)
            if not isinstance(step, Plan):
                raise TypeError(f"run takes a plan or a flow, not {type(step).__name__}")
            try:
                answers = await self._ask(step.commands, step.blocks_for, trace)
                tally.round_trips += 1
            except Incomplete as attempt:
                answers = await self._finish(step, attempt, trace, tally)
            return step.parse(answers)
        if isinstance(step, Plan):
            error = OutcomeUnknown if any(attempt.sent for attempt in trace) else Unreachable
            raise error(step.name, f"not over within {seconds:g} s")
        raise DeadlineExceeded(f"{step.name} was not over within {seconds:g} s")

    # Flows

    async def _run_flow(self, flow: Flow[T]) -> T:
        steps = flow.steps()
        deferred: list[Defer] = []
        failed = True
        try:
            result = await self._walk(steps, deferred)
            failed = False
            return result
        finally:
            steps.close()
            for defer in reversed(deferred):
                if failed or not defer.on_error_only:
                    await self._clean_up(defer.plan)

    async def _walk(self, steps: Steps[T], deferred: list[Defer]) -> T:
        try:
            step = next(steps)
            while True:
                if isinstance(step, Defer):
                    deferred.append(step)
                    step = steps.send(None)
                    continue
                try:
                    value = await self._perform(step)
                except Exception as error:  # noqa: BLE001  the flow decides what to make of it
                    step = steps.throw(error)
                else:
                    step = steps.send(value)
        except StopIteration as stop:
            result: T = stop.value
            return result

    async def _perform(self, step: Step) -> Any:
        match step:
            case Plan() | Flow():
                return await self.run(step)
            case Within():
                return await self.run(step.plan, timeout=step.seconds)
            case Take():
                return await self._take(step)
            case Sleep():
                await self._sleep(max(0.0, step.seconds))
            case Now():
                return self._clock()
            case Call():
                return await self._call(step.function, *step.args, **step.kwargs)
            case Spawn():
                self._spawn(step.flow)
            case Alongside():
                return await self._alongside(step)
            case Shared():
                return await self._flights.share(step.key, lambda: self.run(step.flow), step.wait)
            case _:
                raise TypeError(f"a flow yields steps, not {type(step).__name__}")
        return None

    async def _take(self, step: Take[T]) -> T:
        got: list[T] = []
        errors: list[Exception] = []

        async def take() -> None:
            try:
                got.append(await self.run(step.plan))
            except Exception as error:  # noqa: BLE001  raised below
                errors.append(error)

        # In a task of its own, which the caller's cancellation does not reach.
        task = self._start(take, step.plan.name)
        try:
            await task.wait()
        except BaseException:
            with anyio.move_on_after((step.plan.blocks_for or 0) + 1, shield=True):
                await task.wait()
            if not got and not errors:
                await task.stop()
            for taken in got:
                back = step.back(taken)
                if back is not None:
                    await self._clean_up(back)
            raise
        if errors:
            raise errors[0]
        if not got:
            raise DriverClosed("the driver is closed")
        return got[0]

    async def _alongside(self, step: Alongside[T]) -> T:
        async def keep() -> None:
            try:
                await self._run_flow(step.beside)
            except Exception as error:  # noqa: BLE001  there is no caller
                self._report(step.beside, error)

        keeping = self._start(keep, step.beside.name)
        try:
            result: T = await self._perform(step.step)
            return result
        finally:
            await keeping.stop()

    async def _clean_up(self, plan: Plan[Any]) -> None:
        # Shielded, or the first await would raise the cancellation that brought us here, and nothing would be sent.
        with anyio.move_on_after(CLEAN_UP_FOR, shield=True):
            try:
                await self.run(plan)
            except Exception as error:  # noqa: BLE001  what ended the flow stands
                self._report(plan, error)
            return
        self._report(plan, DeadlineExceeded(f"{plan.name} was not over within {CLEAN_UP_FOR:g} s"))

    def _spawn(self, flow: Flow[Any]) -> None:
        if self._closed:
            raise DriverClosed("the driver is closed")

        async def serve() -> None:
            try:
                await self.run(flow)
            except Exception as error:  # noqa: BLE001  there is no caller
                self._report(flow, error)
            finally:
                self._background.discard(task)

        task = self._start(serve, flow.name)
        self._background.add(task)
