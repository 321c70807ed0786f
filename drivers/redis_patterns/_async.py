"""What the asyncio and the trio driver share, on anyio: holding locks, decorators, workers and followers.

A driver for one of them adds a transport and a way to start tasks.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

import anyio

from redis_patterns._runner import CLEAN_UP_FOR, AsyncRunner
from redis_patterns_core import validate
from redis_patterns_core.errors import (
    CommandFailed,
    DeadlineExceeded,
    LockLost,
    LockNotAcquired,
    OutcomeUnknown,
    Unreachable,
)
from redis_patterns_core.lease_records import Held, Lease
from redis_patterns_core.leases import Leasable, campaign
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


class AsyncDriver(AsyncRunner):
    """What the drivers of asyncio and trio have beside `run` and `close`."""

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
                    result: T = await self._call(work, held)
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
        with anyio.move_on_after(CLEAN_UP_FOR, shield=True) as releasing:
            try:
                lost = not await self.run(lock.give_back(lease)) or lost
            except (Unreachable, OutcomeUnknown, CommandFailed) as error:
                self._report(lock.release(lease), error)  # it was held while the block ran, and ends with its lease
        if releasing.cancelled_caught:
            self._report(lock.release(lease), DeadlineExceeded(f"not over within {CLEAN_UP_FOR:g} s"))
        if lost:
            raise LockLost(f"{lock.word} {lock.name!r} ran out or was taken away while it was held")

    async def _acquire(self, lock: Leasable, wait: Duration | None) -> Lease | None:
        seconds = math.inf if wait is None else validate.milliseconds("wait", wait, least=0) / 1000
        if not seconds:
            return await self.run(lock.wait_for(0))
        ends_at = self._clock() + seconds
        if lock.line is None:
            return await self.run(lock.wait_for(wait))
        if not await self._lines.enter(lock.line, seconds, lock.abreast):
            return None
        try:
            left = None if seconds == math.inf else max(0.0, ends_at - self._clock())
            return await self.run(lock.wait_for(left))
        finally:
            self._lines.leave(lock.line)

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
        from redis_patterns._decorators import locked_coroutine_function

        return locked_coroutine_function(lambda lock: self.hold(lock, wait=wait), name, ttl=ttl, namespace=namespace)

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
        from redis_patterns._cached import CachedCoroutineFunction

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
        from redis_patterns._decorators import limited_coroutine_function

        return limited_coroutine_function(lambda who: self.run(limiter.admit(who, cost, wait=wait)), key)

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
        from redis_patterns._work import AsyncWork
        from redis_patterns_core.work import works
        from redis_patterns_core.workers import Worker

        worker = Worker(
            works(what),
            concurrency=concurrency,
            name=name,
            about=about,
            on_event=on_event,
            on_error=lambda error: self._report(worker.beat()[0], error),
        )
        seconds = validate.milliseconds("grace", grace, least=0) / 1000
        await AsyncWork(self.run, self._call, worker, clock=self._clock, grace=seconds, until=until).serve()

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
        from redis_patterns_core.callables import check_awaited

        check_awaited("handler", handler, awaited=True)
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
        from redis_patterns_core.flag_client import FlagClient
        from redis_patterns_core.flags import Flags

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
