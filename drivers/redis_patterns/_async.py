"""What the asyncio and the trio driver share, on anyio: running plans and flows, holding locks, background work.

A driver for one of them adds a transport and a way to start tasks.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import math
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, Self, TypeVar, overload

import anyio

from redis_patterns._flights import Flights
from redis_patterns._lines import Lines
from redis_patterns._observe import Observed, Tally
from redis_patterns_core import validate
from redis_patterns_core.errors import (
    CommandFailed,
    ConfigurationError,
    DeadlineExceeded,
    DriverClosed,
    LockLost,
    LockNotAcquired,
    OutcomeUnknown,
    Unreachable,
)
from redis_patterns_core.flow import Alongside, Call, Defer, Flow, Now, Shared, Sleep, Spawn, Step, Steps, Within
from redis_patterns_core.leases import Held, Leasable, Lease, campaign
from redis_patterns_core.plan import Command, Plan
from redis_patterns_core.replies import Reply
from redis_patterns_core.retry import Backoff, Execution, Incomplete
from redis_patterns_core.tracing import Instrument
from redis_patterns_core.validate import Duration

# What a program does not use of the patterns is not loaded with its driver: methods that need more than the names of
# types import it when they are called.
if TYPE_CHECKING:
    from redis_patterns._cached import CachedCoroutineFunction
    from redis_patterns_core.cache import Cache
    from redis_patterns_core.flag_client import FlagClient
    from redis_patterns_core.flags import Flags
    from redis_patterns_core.job_records import Job
    from redis_patterns_core.jobs import Jobs
    from redis_patterns_core.queues import Queue
    from redis_patterns_core.rate_limits import Limiter
    from redis_patterns_core.work import AnyWork, OnWork

P = ParamSpec("P")
T = TypeVar("T")
D = TypeVar("D", bound="AsyncDriver")

BACKOFF = Backoff()
_CLEAN_UP_FOR = 5.0
_logger = logging.getLogger("redis_patterns")


class Sent(Protocol):
    """What an attempt leaves behind: whether a byte of it may have left."""

    sent: bool


class Transport(Protocol):
    """Carries commands to a server, for any number of tasks at the same time."""

    async def ask(
        self, commands: Sequence[Command], blocks_for: float | None, trace: list[Sent] | None = None
    ) -> Sequence[Reply]:
        """Send commands in one write and give one reply for each.

        Parameters:
            commands: at least one.
            blocks_for: seconds for which the server may keep the answer back, 0 for ever; ``None`` where it does not.
            trace: gets what tells, after a cancellation, whether the commands had left.

        Raises:
            Incomplete: some commands have no answer, or an error for one.
            CommandFailed: the server refused the handshake.
            DriverClosed: after `close`.
        """
        ...

    async def close(self, grace: float) -> None:
        """Take no more, wait up to `grace` seconds for the answers that are due, then close all connections."""


class Task(Protocol):
    """A task in the background."""

    async def stop(self) -> None:
        """Cancel it and wait for its end; shielded from the caller's own cancellation."""

    async def wait(self) -> None:
        """Wait for its end."""


class AsyncDriver(ABC):
    """Runs plans and flows on a transport; see the drivers of asyncio and trio.

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
        on_background_error: Callable[[Flow[Any] | Plan[Any], BaseException], None] | None = None,
        instrument: Instrument | None = None,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._instrument = instrument
        self._sleep = sleep
        self._transport = transport
        self._ask = transport.ask
        self._retry_for = validate.milliseconds("retry_for", retry_for, least=0) / 1000
        self._report = on_background_error or _log
        self._clock = clock
        self._background: set[Task] = set()
        self._lines = Lines(sleep)
        self._flights = Flights()
        self._closed = False

    @abstractmethod
    def _start(self, function: Callable[[], Awaitable[None]], name: str) -> Task:
        """Run a function, which raises nothing but cancellation, in a task that the driver owns."""

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

    def hold(
        self, lock: Leasable, *, wait: Duration | None = 5, renew: bool = True
    ) -> AbstractAsyncContextManager[Held]:
        """Run a block of code under a lock.

        Parameters:
            lock: a lock of any kind, a `Semaphore`, or a slot of a `ConcurrencyLimit`.
            wait: seconds, or a timedelta, to wait for it; 0 tries once, ``None`` waits for as long as it takes.
            renew: prolong the lease at a third of its TTL while the block runs, in a task of the driver.

        Returns:
            A context manager that gives what is held. When the lock is lost, the block is cancelled. Two round trips,
            one more for each look while waiting and for each renewal.

        Raises:
            LockNotAcquired: it was held by others for the whole wait.
            LockLost: the lock was lost while the block ran.
        """
        return self._held(lock, lambda: self._acquire(lock, wait), renew=renew)

    async def lead(self, lock: Leasable, work: Callable[[Held], Awaitable[T]], *, wait: Duration | None = None) -> T:
        """Do something as the one leader among all who do the same: campaign, and work while elected.

        Trouble with the connection does not end a campaign.

        Parameters:
            lock: what the leader holds; the TTL is how long nobody leads after a leader died.
            work: called with what is held each time that this one is elected, and cancelled when the lock is lost; then
                this one campaigns again. When it returns, it resigns.
            wait: seconds, or a timedelta, for each campaign; ``None`` for as long as it takes.

        Returns:
            What `work` returned while it led.

        Raises:
            LockNotAcquired: others led for the whole wait.
            Exception: whatever `work` raised; it has resigned then.
        """
        while True:
            held: Held | None = None
            try:
                async with self._held(lock, lambda: self.run(campaign(lock, wait)), renew=True) as held:
                    result = await work(held)
            except LockLost:
                if held is None or not held.lost:
                    raise  # another lock's, that the work held
                continue
            return result

    @contextlib.asynccontextmanager
    async def _held(
        self, lock: Leasable, acquire: Callable[[], Awaitable[Lease | None]], *, renew: bool
    ) -> AsyncGenerator[Held, None]:
        lease = await acquire()
        if lease is None:
            raise LockNotAcquired(f"{lock.word} {lock.name!r} was held by others for the whole wait")
        held = Held(lease, self._clock)
        body = anyio.CancelScope()

        async def keep() -> None:
            with contextlib.suppress(Exception):  # keep() itself retries until the lease is over; then it is lost
                await self._run_flow(lock.keep(held))
            held.lose()
            body.cancel()

        try:
            renewal = self._start(keep, "renewal") if renew else None
            try:
                with body:
                    yield held
            finally:
                # Ended before the release, so that a renewal cannot come after it.
                if renewal is not None:
                    await renewal.stop()
        except BaseException:
            await self._clean_up(lock.release(lease))
            raise
        lost = held.lost
        # Shielded like every clean-up: a caller that is cancelled now would leave the lock behind until its lease ends.
        with anyio.move_on_after(_CLEAN_UP_FOR, shield=True) as releasing:
            try:
                lost = not await self.run(lock.give_back(lease)) or lost
            except (Unreachable, OutcomeUnknown, CommandFailed) as error:
                self._report(lock.release(lease), error)  # it was held while the block ran, and ends with its lease
        if releasing.cancelled_caught:
            self._report(lock.release(lease), DeadlineExceeded(f"not over within {_CLEAN_UP_FOR:g} s"))
        if lost:
            raise LockLost(f"{lock.word} {lock.name!r} ran out or was taken away while it was held")

    def locked(
        self, name: str, *, ttl: Duration = 10, wait: Duration | None = 5, namespace: str = ""
    ) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Coroutine[Any, Any, T]]]:
        """Make a decorator of coroutine functions: each call runs under a lock.

        Parameters:
            name: of the lock, with the function's parameters in braces, such as ``order:{id}``.
            ttl, namespace: as for `Lock`.
            wait: as for `hold`, whose errors calling raises too.

        Raises:
            ConfigurationError: a name with braces that are no parameter, a duration that is not allowed, or a
                function that is no coroutine function.
        """
        from redis_patterns_core.locks import Lock  # noqa: PLC0415
        from redis_patterns_core.templates import Template  # noqa: PLC0415

        def decorate(function: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
            if not inspect.iscoroutinefunction(function):
                raise ConfigurationError("function must be a coroutine function; the sync driver is for others")
            template = Template("name", name, function, unique=False)
            Lock(name, ttl=ttl, namespace=namespace)  # checked now, not at the first call

            @functools.wraps(function)
            async def call(*args: P.args, **kwargs: P.kwargs) -> T:
                async with self.hold(Lock(template.fill(args, kwargs), ttl=ttl, namespace=namespace), wait=wait):
                    return await function(*args, **kwargs)

            return call

        return decorate

    def cached(
        self, cache: Cache[T], key: str, *, ttl: Duration | None = None, tags: Sequence[str] = ()
    ) -> Callable[[Callable[P, Awaitable[T]]], CachedCoroutineFunction[P, T]]:
        """Make a decorator of coroutine functions: what a call gives is cached, as by `Cache.load`.

        Parameters:
            cache: where.
            key: of the entry, with the function's parameters in braces, such as ``user:{user_id}``; different values
                make different keys.
            ttl: how long a result is fresh; the cache's where none is given.
            tags: by which results can be invalidated, with parameters in braces too.

        Returns:
            A decorator; what it gives is called like the function, and has ``key``, ``invalidate`` and ``refresh``,
            each with the arguments of a call.

        Raises:
            ConfigurationError: braces that are no parameter, or a function that is no coroutine function.
        """
        from redis_patterns._cached import CachedCoroutineFunction  # noqa: PLC0415

        def decorate(function: Callable[P, Awaitable[T]]) -> CachedCoroutineFunction[P, T]:
            return CachedCoroutineFunction(self.run, cache, function, key=key, ttl=ttl, tags=tags)

        return decorate

    # Apart, or a type checker would take the decorated function's parameters from a key that has none.
    @overload
    def limited(
        self, limiter: Limiter, key: str, *, cost: int = 1, wait: Duration | None = 0
    ) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Coroutine[Any, Any, T]]]: ...
    @overload
    def limited(
        self, limiter: Limiter, key: Callable[P, str], *, cost: int = 1, wait: Duration | None = 0
    ) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Coroutine[Any, Any, T]]]: ...
    def limited(
        self, limiter: Limiter, key: str | Callable[P, str], *, cost: int = 1, wait: Duration | None = 0
    ) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Coroutine[Any, Any, T]]]:
        """Make a decorator of coroutine functions: each call takes from a limit first.

        Parameters:
            limiter: which limit.
            key: the id, or a function that makes it of the call's arguments.
            cost: of each call.
            wait: seconds, or a timedelta, to wait until it is allowed; 0 asks once, ``None`` waits for as long as it
                takes.

        Returns:
            A decorator; calling what it gives raises `RateLimited` where the limit refuses, and then calls nothing. One
            round trip each time that the limit is asked.

        Raises:
            ConfigurationError: something else than a coroutine function is decorated.
        """

        def decorate(function: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
            if not inspect.iscoroutinefunction(function):
                raise ConfigurationError("function must be a coroutine function; the sync driver is for others")

            @functools.wraps(function)
            async def call(*args: P.args, **kwargs: P.kwargs) -> T:
                id = key if isinstance(key, str) else key(*args, **kwargs)
                await self.run(limiter.admit(id, cost, wait=wait))
                return await function(*args, **kwargs)

            return call

        return decorate

    @overload
    async def work(
        self,
        jobs: Jobs[T],
        handler: Callable[[Job[T]], Awaitable[Any]],
        /,
        *,
        concurrency: int = 10,
        name: str | None = None,
        about: str = "",
        grace: Duration = 30,
        until: Callable[[], bool] = ...,
        on_event: OnWork | None = None,
    ) -> None: ...
    @overload
    async def work(
        self,
        *works: AnyWork,
        concurrency: int = 10,
        name: str | None = None,
        about: str = "",
        grace: Duration = 30,
        until: Callable[[], bool] = ...,
        on_event: OnWork | None = None,
    ) -> None: ...
    async def work(
        self,
        *what: Any,
        concurrency: int = 10,
        name: str | None = None,
        about: str = "",
        grace: Duration = 30,
        until: Callable[[], bool] = lambda: False,
        on_event: OnWork | None = None,
    ) -> None:
        """Do jobs as they come; any number of processes may do so.

        Parameters:
            what: a queue and the coroutine function that is given its jobs; or `Work` and `BatchWork` of several
                queues, the most important first: jobs of a queue begin only while those before it have none. What a
                handler returns is the job's result; when it raises, the job is tried again later, or is dead, see
                `Jobs`; `RetryLater` and `GiveUp` say so.
            concurrency: how many handlers run at a time, in tasks of their own.
            name: tells this worker from others; a random one where none is given.
            about: what it says of itself to those who look.
            grace: seconds, or a timedelta, that handlers may take when the work stops; after that they are cancelled,
                and their jobs given back as if they had not been begun.
            until: asked ten times a second whether to stop.
            on_event: is told of what happens to jobs; what it raises goes to the handler of background errors.

        Returns:
            When it has stopped, and every job is settled. Cancelled, it cancels the handlers and gives their jobs back.
            A handler that takes longer than its `Work.timeout` is cancelled, and counts as failed.

        While there is nothing to do it waits at Redis, in one request every five seconds for each queue, and one every
        third of the lease; a job that comes is begun after two round trips, one that is due at its time.

        Raises:
            ConfigurationError: a number, a duration or a name that is not allowed, or a handler that is no coroutine
                function.
        """
        from redis_patterns._work import AsyncWork  # noqa: PLC0415
        from redis_patterns_core.work import works  # noqa: PLC0415
        from redis_patterns_core.workers import Worker  # noqa: PLC0415

        worker = Worker(
            works(what),
            concurrency=concurrency,
            name=name,
            about=about,
            on_event=on_event,
            on_error=lambda error: self._report(worker.beat()[0], error),
        )
        seconds = validate.milliseconds("grace", grace, least=0) / 1000
        await AsyncWork(self.run, worker, clock=self._clock, grace=seconds, until=until).serve()

    async def consume(
        self,
        queue: Queue[T],
        handler: Callable[[T], Awaitable[Any]],
        *,
        concurrency: int = 1,
        until: Callable[[], bool] = lambda: False,
    ) -> int:
        """Handle the items of a simple queue as they come, at most once each; any number of processes may do so.

        Parameters:
            queue: a `FifoQueue`, `PriorityQueue` or `DelayedQueue`.
            handler: a coroutine function that is given an item; one on which it raises, or during which this is
                cancelled, goes to the failed items of the queue.
            concurrency: how many items at a time, in tasks of their own.
            until: asked between items, and every second while there is none, whether to end.

        Returns:
            How many items were handled, failed ones included. It waits at Redis, in one request a second for each item
            that may be handled at a time.

        Raises:
            ConfigurationError: a number that is not allowed, or a handler that is no coroutine function.
        """
        if not inspect.iscoroutinefunction(handler):
            raise ConfigurationError("handler must be a coroutine function; the sync driver is for others")
        validate.integer("concurrency", concurrency, least=1)
        counts: list[int] = []
        errors: list[Exception] = []

        async def consume() -> None:
            try:
                counts.append(await self.run(queue.consume(handler, until=until)))
            except Exception as error:  # noqa: BLE001  raised below, in no group
                errors.append(error)
                tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for _ in range(concurrency):
                tasks.start_soon(consume)
        if errors:
            raise errors[0]
        return sum(counts)

    def follow(self, flags: Flags | FlagClient) -> AbstractAsyncContextManager[FlagClient]:
        """Have a snapshot of flags that is kept up to date while a block of code runs, by a task of the driver.

        Parameters:
            flags: which, or a `FlagClient` of them, with settings of its own, which can be a constant that all code
                asks.

        Returns:
            A context manager that gives the client. One round trip before the block, unless the client has an initial
            snapshot; then two requests for each poll, and two for each change.

        Raises:
            ConfigurationError: the client is followed already.
            Exception: what running a plan raises: the flags could not be read, and there is no initial snapshot.
        """
        from redis_patterns_core.flag_client import FlagClient  # noqa: PLC0415
        from redis_patterns_core.flags import Flags  # noqa: PLC0415

        return self._following(FlagClient(flags) if isinstance(flags, Flags) else flags)

    @contextlib.asynccontextmanager
    async def _following(self, client: FlagClient) -> AsyncGenerator[FlagClient, None]:
        # Unlike a task's, a scope's cancellation comes again where one was lost: redis-py loses some while it connects.
        scope = anyio.CancelScope()

        async def keep() -> None:
            flow = client.keep()
            try:
                with scope:
                    await self._run_flow(flow)
            except Exception as error:  # noqa: BLE001  there is no caller
                client.end()
                self._report(flow, error)

        # A flow's name tells a handler of errors what failed.
        client.begin(lambda error: self._report(client.keep(), error))
        try:
            if client.snapshot is None:
                await self.run(client.load())
            task = self._start(keep, "follower")
            try:
                yield client
            finally:
                scope.cancel()
                with anyio.CancelScope(shield=True):
                    await task.wait()
        finally:
            client.end()

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
        execution = Execution(plan, give_up_at=self._clock() + self._retry_for, backoff=BACKOFF)
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

    # Locks

    async def _acquire(self, lock: Leasable, wait: Duration | None) -> Lease | None:
        seconds = math.inf if wait is None else validate.milliseconds("wait", wait, least=0) / 1000
        if not seconds:
            return await self.run(lock.wait_for(0))
        ends_at = self._clock() + seconds
        if lock.line is None:
            return await self.run(lock.wait_for(wait))
        if not await self._lines.enter(lock.line, seconds):
            return None
        try:
            left = None if seconds == math.inf else max(0.0, ends_at - self._clock())
            return await self.run(lock.wait_for(left))
        finally:
            self._lines.leave(lock.line)

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
            case Sleep():
                await self._sleep(max(0.0, step.seconds))
            case Now():
                return self._clock()
            case Call():
                result = step.function(*step.args, **step.kwargs)
                return await result if inspect.isawaitable(result) else result
            case Spawn():
                self._spawn(step.flow)
            case Alongside():
                return await self._alongside(step)
            case Shared():
                return await self._flights.share(step.key, lambda: self.run(step.flow))
            case _:
                raise TypeError(f"a flow yields steps, not {type(step).__name__}")
        return None

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
        with anyio.move_on_after(_CLEAN_UP_FOR, shield=True):
            try:
                await self.run(plan)
            except Exception as error:  # noqa: BLE001  what ended the flow stands
                self._report(plan, error)
            return
        self._report(plan, DeadlineExceeded(f"{plan.name} was not over within {_CLEAN_UP_FOR:g} s"))

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


def _log(what: Flow[Any] | Plan[Any], error: BaseException) -> None:
    _logger.error("%r failed in the background", what, exc_info=error)
