"""How plans and flows are run in synchronous code: in the thread that asks, and in threads of their own."""

from __future__ import annotations

import inspect
import math
import os
import random
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from redis_patterns._observe import Observed, Report, Tally, reporter
from redis_patterns._renewer import Renewer
from redis_patterns._thread_flights import ThreadFlights
from redis_patterns_core import validate
from redis_patterns_core.errors import DeadlineExceeded, DriverClosed
from redis_patterns_core.flow import Alongside, Call, Defer, Flow, Now, Shared, Sleep, Spawn, Step, Steps, Take, Within
from redis_patterns_core.plan import Command, Plan
from redis_patterns_core.replies import Reply
from redis_patterns_core.retry import Backoff, Execution, Incomplete
from redis_patterns_core.tracing import Instrument
from redis_patterns_core.validate import Duration

if TYPE_CHECKING:
    from redis_patterns_core.flag_client import FlagClient

__all__ = ["ThreadRunner", "Transport"]

T = TypeVar("T")

_BACKOFF = Backoff()


class Transport(Protocol):
    """Carries commands to a server, for any number of threads at the same time; see `Leases`."""

    def ask(
        self, commands: Sequence[Command], blocks_for: float | None, within: float | None = None
    ) -> Sequence[Reply]: ...
    def close(self) -> None: ...
    def forget(self) -> None: ...


class ThreadRunner:
    """Runs plans and flows on a transport, for any number of threads, until it is closed; the driver is one.

    Parameters:
        transport: what carries the commands.
        retry_for, on_background_error, instrument, clock, sleep: see the driver.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        retry_for: Duration = 3,
        on_background_error: Report | None = None,
        instrument: Instrument | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._instrument = instrument
        self._close_client: Callable[[], None] | None = None
        self._retry_for = validate.milliseconds("retry_for", retry_for, least=0) / 1000
        self._report = reporter(on_background_error)
        self._clock = clock
        self._sleep = sleep
        self._transport = transport
        self._ask = transport.ask
        self._closed = False
        self._renewer: Renewer | None = None
        self._spawned: set[threading.Thread] = set()
        self._flights = ThreadFlights()
        self._followed: set[FlagClient] = set()
        self._spawning = threading.Lock()
        self._closing = threading.Event()
        _runners.add(self)

    # Running

    def run(self, step: Plan[T] | Flow[T], *, timeout: Duration | None = None) -> T:
        """Run a plan or a flow and give its result.

        Parameters:
            step: what a pattern's method gave; a plan is one round trip, a flow says how many.
            timeout: seconds, or a timedelta, for all of it. Dialling a new connection keeps the client's own
                ``socket_connect_timeout``, and a function that a flow calls is not interrupted.

        Raises:
            Unreachable: no connection could be had within ``retry_for`` or the timeout; nothing was sent.
            OutcomeUnknown: it was sent, no answer came (in time), and it must not be sent twice, or that failed too.
            DeadlineExceeded: a flow was not over within the timeout; what it deferred has run.
            CommandFailed: Redis answered with an error.
            DecodeError: the stored data is not what the pattern writes.
            DriverClosed: the driver was closed.
            TypeError: `step` is neither a plan nor a flow, or a flow calls a coroutine function.
        """
        if isinstance(step, Plan) and timeout is None and self._instrument is None:
            # The way of most plans, without a call more than it needs.
            try:
                answers = self._ask(step.commands, step.blocks_for)
            except Incomplete as attempt:
                answers = self._finish(step, attempt)
            return step.parse(answers)
        ends_at = math.inf
        if timeout is not None:
            ends_at = self._clock() + validate.milliseconds("timeout", timeout) / 1000
        return self._run(step, self._sleep, ends_at)

    # Closing

    def close(self, grace: Duration = 5) -> None:
        """Wait for what runs in the background, then give all connections back.

        Parameters:
            grace: seconds, or a timedelta, for spawned flows to end by themselves; after that their waits are cut short
                with `DriverClosed`.

        Closing again does nothing. A plan that another thread is running ends as usual.
        """
        if self._closed:
            return
        deadline = self._clock() + validate.milliseconds("grace", grace, least=0) / 1000
        for thread in self._spawned_threads():
            thread.join(max(0.0, deadline - self._clock()))
        self._closing.set()
        for thread in self._spawned_threads():
            thread.join()
        if self._renewer is not None:
            self._renewer.close()
        self._closed = True
        self._transport.close()
        if self._close_client is not None:
            self._close_client()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # Also after an __init__ that raised.
        if getattr(self, "_closed", True):
            return
        self._transport.close()
        if self._close_client is not None:
            warnings.warn(f"{self!r} was not closed", ResourceWarning, stacklevel=2, source=self)
            self._close_client()

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.Driver{', closed' if self._closed else ''}>"

    # Plans

    def _run(self, step: Plan[T] | Flow[T], sleep: Callable[[float], None], ends_at: float) -> T:
        """Run a plan or a flow, as part of another flow too."""
        instrument = self._instrument
        tally = Tally()
        if instrument is None:
            return self._run_unobserved(step, sleep, ends_at, tally)
        with Observed(instrument, step, tally, self._clock, self._report):
            return self._run_unobserved(step, sleep, ends_at, tally)

    def _run_unobserved(
        self, step: Plan[T] | Flow[T], sleep: Callable[[float], None], ends_at: float, tally: Tally
    ) -> T:
        if isinstance(step, Flow):
            return self._run_flow(step, sleep, ends_at)
        if not isinstance(step, Plan):
            raise TypeError(f"run takes a plan or a flow, not {type(step).__name__}")
        within = None if ends_at == math.inf else max(0.0, ends_at - self._clock())
        try:
            answers = self._ask(step.commands, step.blocks_for, within)
            tally.round_trips += 1
        except Incomplete as attempt:
            answers = self._finish(step, attempt, ends_at, tally)
        return step.parse(answers)

    def _finish(
        self, plan: Plan[Any], attempt: Incomplete, ends_at: float = math.inf, tally: Tally | None = None
    ) -> Sequence[Reply]:
        """Bring a plan to its replies whose first attempt was not enough, as `Execution` decides."""
        tally = tally or Tally()
        tally.add(attempt)
        execution = Execution(plan, give_up_at=min(self._clock() + self._retry_for, ends_at), backoff=_BACKOFF)
        while (delay := execution.after(attempt, now=self._clock(), chance=random.random())) is not None:
            self._sleep(delay)
            within = None if ends_at == math.inf else ends_at - self._clock()
            try:
                attempt = Incomplete(answers=self._ask(execution.commands, plan.blocks_for, within))
            except Incomplete as again:
                attempt = again
            tally.add(attempt)
        return execution.replies

    def _forget(self) -> None:
        """Forget what belongs to the parent process, after a fork: its sockets, threads and locks."""
        self._transport.forget()
        self._renewer = None
        self._spawned = set()
        self._flights = ThreadFlights()
        for client in self._followed:
            client.end()  # the thread that follows is the parent's: here its snapshot grows old, and says so
        self._followed = set()
        self._spawning = threading.Lock()

    # Flows

    def _run_flow(self, flow: Flow[T], sleep: Callable[[float], None], ends_at: float = math.inf) -> T:
        steps = flow.steps()
        deferred: list[Defer] = []
        failed = True
        try:
            result = self._walk(flow, steps, deferred, sleep, ends_at)
            failed = False
            return result
        finally:
            steps.close()
            for defer in reversed(deferred):
                if failed or not defer.on_error_only:
                    self._clean_up(defer.plan)

    def _walk(
        self, flow: Flow[T], steps: Steps[T], deferred: list[Defer], sleep: Callable[[float], None], ends_at: float
    ) -> T:
        try:
            step = next(steps)
            while True:
                if isinstance(step, Defer):
                    deferred.append(step)
                    step = steps.send(None)
                    continue
                failure = value = None
                try:
                    value = self._perform(step, sleep, ends_at)
                except Exception as error:  # noqa: BLE001  the flow decides what to make of it
                    failure = error
                if ends_at != math.inf and self._clock() >= ends_at:
                    # One look at the clock for both: what was taken goes to the flow, or back.
                    if isinstance(step, Take) and failure is None and (back := step.back(value)) is not None:
                        self._clean_up(back)
                    # Not thrown into the flow, which might catch it and go on.
                    raise DeadlineExceeded(f"{flow.name} was not over within its timeout") from failure
                step = steps.send(value) if failure is None else steps.throw(failure)
        except StopIteration as stop:
            result: T = stop.value
            return result

    def _perform(self, step: Step, sleep: Callable[[float], None], ends_at: float = math.inf) -> Any:
        match step:
            case Plan() | Flow():
                return self._run(step, sleep, ends_at)
            case Within():
                return self._run(step.plan, sleep, min(ends_at, self._clock() + step.seconds))
            case Take():
                return self._run(step.plan, sleep, max(ends_at, self._clock() + (step.plan.blocks_for or 0) + 1))
            case Sleep():
                sleep(max(0.0, min(step.seconds, ends_at - self._clock())))
            case Now():
                return self._clock()
            case Call():
                result = step.function(*step.args, **step.kwargs)
                if inspect.isawaitable(result):
                    if inspect.iscoroutine(result):
                        result.close()
                    raise TypeError(
                        f"{step.function!r} is a coroutine function, which the sync driver cannot await; "
                        "give it a plain function, or use the asyncio or trio driver"
                    )
                return result
            case Spawn():
                self._spawn(step.flow)
            case Alongside():
                keeping = self._keeper().start(step.beside)
                try:
                    return self._perform(step.step, sleep, ends_at)
                finally:
                    self._keeper().stop(keeping)
            case Shared():
                left = None if ends_at == math.inf else max(0.0, ends_at - self._clock())
                return self._flights.share(step.key, lambda: self._run(step.flow, sleep, ends_at), step.wait, left)
            case _:
                raise TypeError(f"a flow yields steps, not {type(step).__name__}")
        return None

    def _clean_up(self, plan: Plan[Any]) -> None:
        try:
            self.run(plan)
        except Exception as error:  # noqa: BLE001  what ended the flow stands
            self._report(plan, error)

    def _spawn(self, flow: Flow[Any]) -> None:
        def serve() -> None:
            try:
                self._run(flow, self._sleep_in_background, math.inf)
            except Exception as error:  # noqa: BLE001  there is no caller
                self._report(flow, error)
            finally:
                with self._spawning:
                    self._spawned.discard(thread)

        thread = threading.Thread(target=serve, name=f"redis-patterns-{flow.name}")
        with self._spawning:
            if self._closing.is_set():
                raise DriverClosed("the driver is closed")
            self._spawned.add(thread)
            thread.start()

    def _spawned_threads(self) -> Sequence[threading.Thread]:
        with self._spawning:
            return [thread for thread in self._spawned if thread is not threading.current_thread()]

    def _sleep_in_background(self, seconds: float) -> None:
        if self._closing.wait(seconds):
            raise DriverClosed("the driver is closing")

    def _keeper(self) -> Renewer:
        with self._spawning:
            if self._renewer is None:
                self._renewer = Renewer(lambda step: self._perform(step, self._sleep), self._report, self._clock)
            return self._renewer


_runners: weakref.WeakSet[ThreadRunner] = weakref.WeakSet()


def _forget_all() -> None:
    for runner in list(_runners):
        runner._forget()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  this module's own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
