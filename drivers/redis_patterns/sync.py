"""The driver for synchronous code, on redis-py.

    from redis_patterns import Lock, TokenBucket
    from redis_patterns.sync import Driver

    limiter = TokenBucket("api", capacity=100, refill_rate=10)

    with Driver.connect("redis://localhost") as redis:
        if redis.run(limiter.hit("alice")):
            with redis.hold(Lock("order:123", ttl=10), wait=5) as held:
                ...

It runs on the connections of a redis-py client: one of yours, as in ``Driver(client)``, or one that `Driver.connect`
makes.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import math
import os
import random
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, Self, TypeVar, cast, overload

import redis

from redis_patterns._address import Target
from redis_patterns._observe import Observed, Tally
from redis_patterns._redis_py import Leases, Pool
from redis_patterns._redis_py_clients import LazyCluster, client_of, cluster_client
from redis_patterns._redis_py_cluster import ClusterLeases
from redis_patterns._renewer import Renewer
from redis_patterns._thread_flights import ThreadFlights
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
    from redis_patterns._cached import CachedFunction
    from redis_patterns_core.cache import Cache
    from redis_patterns_core.flag_client import FlagClient
    from redis_patterns_core.flags import Flags
    from redis_patterns_core.job_records import Job
    from redis_patterns_core.jobs import Jobs
    from redis_patterns_core.queues import Queue
    from redis_patterns_core.rate_limits import Limiter
    from redis_patterns_core.work import AnyWork, OnWork

__all__ = ["Driver"]

P = ParamSpec("P")
T = TypeVar("T")

_BACKOFF = Backoff()


class Transport(Protocol):
    """Carries commands to a server, for any number of threads at the same time; see `Leases`."""

    def ask(
        self, commands: Sequence[Command], blocks_for: float | None, within: float | None = None
    ) -> Sequence[Reply]: ...
    def close(self) -> None: ...
    def forget(self) -> None: ...


class _Client(Protocol):
    """A redis-py client: ``Redis``, ``RedisCluster``, fakeredis' ``FakeRedis``, a Sentinel's ``master_for``."""

    def close(self) -> None: ...


class Driver:
    """Runs plans and flows on a redis-py client; one driver serves any number of threads.

    It leases connections from the client's own pool, as many as threads run plans at the same time, and keeps them
    between plans: they go back when the driver closes, and when they have been idle for half a minute while others
    were in use. The client's settings hold for them: address, credentials, TLS, db, protocol, timeouts, its retries
    while connecting. Its ``decode_responses`` does not matter, and its retries of commands are not used: what is sent
    again is decided by each plan's `Effect`.

    Parameters:
        client: a ``redis.Redis``, a ``redis.RedisCluster``, a Sentinel's ``master_for`` or a fakeredis client. It stays
            the caller's: closing the driver gives the connections back and leaves the client open.
        retry_for: seconds, or a timedelta, for which a plan that may be sent (again) is tried before it fails.
        on_background_error: called with the flow and the exception when a spawned flow or a clean-up fails, in the
            thread where it happened; by default it is logged to ``redis_patterns``.
        instrument: is told of each run.
        clock: the monotonic clock, in seconds.
        sleep: waits for so many seconds.

    Raises:
        ConfigurationError: something that is no synchronous client, or a duration that is not allowed.
    """

    def __init__(
        self,
        client: _Client,
        *,
        retry_for: Duration = 3,
        on_background_error: Callable[[Flow[Any] | Plan[Any], BaseException], None] | None = None,
        instrument: Instrument | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        transport: Transport
        if isinstance(client, redis.RedisCluster):
            transport = ClusterLeases(lambda: client, clock)
        elif isinstance(client, redis.Redis):
            transport = Leases(cast("Pool", client.connection_pool), clock)
        else:
            raise ConfigurationError(f"client must be a synchronous redis-py client, not {type(client).__name__}")
        self._begin(transport, retry_for, on_background_error, instrument, clock=clock, sleep=sleep)

    def _begin(
        self,
        transport: Transport,
        retry_for: Duration = 3,
        on_background_error: Callable[[Flow[Any] | Plan[Any], BaseException], None] | None = None,
        instrument: Instrument | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Self:
        self._instrument = instrument
        self._close_client: Callable[[], None] | None = None
        self._retry_for = validate.milliseconds("retry_for", retry_for, least=0) / 1000
        self._report = on_background_error or _log
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
        _drivers.add(self)
        return self

    @classmethod
    def over(cls, transport: Transport, **options: Any) -> Self:
        """Make a driver on a transport of another kind, such as a server in memory.

        Parameters:
            transport: what carries the commands.
            options: ``retry_for``, ``on_background_error`` and ``instrument`` as for `connect`; ``clock``, monotonic
                seconds, and ``sleep``, which waits for so many of them.
        """
        return cls.__new__(cls)._begin(transport, **options)  # noqa: SLF001  this class's own

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        retry_for: Duration = 3,
        on_background_error: Callable[[Flow[Any] | Plan[Any], BaseException], None] | None = None,
        instrument: Instrument | None = None,
        **options: Any,
    ) -> Self:
        """Make a driver with a client of its own, which is closed with it. No connection is opened yet.

        Parameters:
            url: ``redis://[[user]:password@]host[:port][/db]``, ``rediss://`` for TLS, ``unix://path?db=0``, or
                ``redis+sentinel://[[user]:password@]host[:port][,host[:port]...]/service_name[/db]``.
            retry_for, on_background_error, instrument: as for the class.
            options: ``cluster=True`` for a cluster of which the URL names a node; ``sentinels``, ``service_name`` and
                ``sentinel_kwargs``; else what ``redis.Redis.from_url`` takes, such as ``socket_timeout=5``,
                ``socket_connect_timeout=5``, ``protocol=3``, ``username``, ``password``, ``db``, ``client_name``,
                ``max_connections``, ``ssl_ca_certs``.

        Raises:
            ConfigurationError: a URL or an option that redis-py does not take; the message shows no part of the URL.
        """
        target = Target.parse(url, options)
        client = cluster_client(target) if target.cluster else client_of(target)
        transport = (
            ClusterLeases(client.made, time.monotonic)
            if isinstance(client, LazyCluster)
            else Leases(cast("Pool", client.connection_pool), time.monotonic)
        )
        driver = cls.over(
            transport, retry_for=retry_for, on_background_error=on_background_error, instrument=instrument
        )
        driver._close_client = client.close  # noqa: SLF001  this class's own
        return driver

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

    def hold(self, lock: Leasable, *, wait: Duration | None = 5, renew: bool = True) -> AbstractContextManager[Held]:
        """Run a block of code under a lock.

        Parameters:
            lock: a lock of any kind, a `Semaphore`, or a slot of a `ConcurrencyLimit`.
            wait: seconds, or a timedelta, to wait for it; 0 tries once, ``None`` waits for as long as it takes.
            renew: prolong the lease at a third of its TTL while the block runs, in a thread of the driver.

        Returns:
            A context manager that gives what is held. The block should call its ``check()`` before each step that
            relies on the lock: a lock that was lost cannot stop a running thread. Two round trips, one more for each
            look while waiting and for each renewal.

        Raises:
            LockNotAcquired: it was held by others for the whole wait.
            LockLost: at the end of the block, which itself ended well: the lock was lost while it ran.
        """
        return self._held(lock, lock.wait_for(wait), renew=renew)

    def lead(self, lock: Leasable, work: Callable[[Held], T], *, wait: Duration | None = None) -> T:
        """Do something as the one leader among all who do the same: campaign, and work while elected.

        Trouble with the connection does not end a campaign.

        Parameters:
            lock: what the leader holds; the TTL is how long nobody leads after a leader died.
            work: called with what is held each time that this one is elected. It should return when ``held.lost``, or
                raise by ``held.check()``; then this one campaigns again. When it returns otherwise, it resigns.
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
                with self._held(lock, campaign(lock, wait), renew=True) as held:
                    result = work(held)
            except LockLost:
                if held is None or not held.lost:
                    raise  # another lock's, that the work held
                continue
            return result

    @contextlib.contextmanager
    def _held(self, lock: Leasable, acquisition: Flow[Lease | None], *, renew: bool) -> Generator[Held, None, None]:
        lease = self.run(acquisition)
        if lease is None:
            raise LockNotAcquired(f"{lock.word} {lock.name!r} was held by others for the whole wait")
        try:
            held = Held(lease, self._clock)
            renewal = self._keeper().start(lock.keep(held)) if renew else None
            try:
                yield held
            finally:
                # Joined before the release: a renewal after it would take the lock again from whoever has it then.
                if renewal is not None:
                    self._keeper().stop(renewal)
        except BaseException:
            self._clean_up(lock.release(lease))
            raise
        lost = held.lost
        try:
            lost = not self.run(lock.give_back(lease)) or lost
        except (Unreachable, OutcomeUnknown, CommandFailed) as error:
            self._report(lock.release(lease), error)  # it was held while the block ran, and ends with its lease
        if lost:
            raise LockLost(f"{lock.word} {lock.name!r} ran out or was taken away while it was held")

    def locked(
        self, name: str, *, ttl: Duration = 10, wait: Duration | None = 5, namespace: str = ""
    ) -> Callable[[Callable[P, T]], Callable[P, T]]:
        """Make a decorator of functions: each call runs under a lock.

        Parameters:
            name: of the lock, with the function's parameters in braces, such as ``order:{id}``.
            ttl, namespace: as for `Lock`.
            wait: as for `hold`, whose errors calling raises too.

        Raises:
            ConfigurationError: a name with braces that are no parameter, a duration that is not allowed, or a
                coroutine function, which the drivers of asyncio and trio are for.
        """
        from redis_patterns_core.locks import Lock  # noqa: PLC0415
        from redis_patterns_core.templates import Template  # noqa: PLC0415

        def decorate(function: Callable[P, T]) -> Callable[P, T]:
            if inspect.iscoroutinefunction(function):
                raise ConfigurationError(
                    f"function must not be a coroutine function: the sync driver cannot await {function.__qualname__}"
                )
            template = Template("name", name, function, unique=False)
            Lock(name, ttl=ttl, namespace=namespace)  # checked now, not at the first call

            @functools.wraps(function)
            def call(*args: P.args, **kwargs: P.kwargs) -> T:
                with self.hold(Lock(template.fill(args, kwargs), ttl=ttl, namespace=namespace), wait=wait):
                    return function(*args, **kwargs)

            return call

        return decorate

    def cached(
        self, cache: Cache[T], key: str, *, ttl: Duration | None = None, tags: Sequence[str] = ()
    ) -> Callable[[Callable[P, T]], CachedFunction[P, T]]:
        """Make a decorator of functions: what a call gives is cached, as by `Cache.load`.

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
            ConfigurationError: braces that are no parameter, or a coroutine function.
        """
        from redis_patterns._cached import CachedFunction  # noqa: PLC0415

        def decorate(function: Callable[P, T]) -> CachedFunction[P, T]:
            return CachedFunction(self.run, cache, function, key=key, ttl=ttl, tags=tags)

        return decorate

    # Apart, or a type checker would take the decorated function's parameters from a key that has none.
    @overload
    def limited(
        self, limiter: Limiter, key: str, *, cost: int = 1, wait: Duration | None = 0
    ) -> Callable[[Callable[P, T]], Callable[P, T]]: ...
    @overload
    def limited(
        self, limiter: Limiter, key: Callable[P, str], *, cost: int = 1, wait: Duration | None = 0
    ) -> Callable[[Callable[P, T]], Callable[P, T]]: ...
    def limited(
        self, limiter: Limiter, key: str | Callable[P, str], *, cost: int = 1, wait: Duration | None = 0
    ) -> Callable[[Callable[P, T]], Callable[P, T]]:
        """Make a decorator: each call takes from a limit first.

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
            ConfigurationError: a coroutine function is decorated, which the drivers of asyncio and trio are for.
        """

        def decorate(function: Callable[P, T]) -> Callable[P, T]:
            if inspect.iscoroutinefunction(function):
                raise ConfigurationError(
                    f"function must not be a coroutine function: the sync driver cannot await {function.__qualname__}"
                )

            @functools.wraps(function)
            def call(*args: P.args, **kwargs: P.kwargs) -> T:
                id = key if isinstance(key, str) else key(*args, **kwargs)
                self.run(limiter.admit(id, cost, wait=wait))
                return function(*args, **kwargs)

            return call

        return decorate

    @overload
    def work(
        self,
        jobs: Jobs[T],
        handler: Callable[[Job[T]], Any],
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
    def work(
        self,
        *works: AnyWork,
        concurrency: int = 10,
        name: str | None = None,
        about: str = "",
        grace: Duration = 30,
        until: Callable[[], bool] = ...,
        on_event: OnWork | None = None,
    ) -> None: ...
    def work(
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
            what: a queue and the function that is given its jobs; or `Work` and `BatchWork` of several queues, the most
                important first: jobs of a queue begin only while those before it have none. What a handler returns is
                the job's result; when it raises, the job is tried again later, or is dead, see `Jobs`; `RetryLater` and
                `GiveUp` say so.
            concurrency: how many handlers run at a time, in threads of their own.
            name: tells this worker from others; a random one where none is given.
            about: what it says of itself to those who look.
            grace: seconds, or a timedelta, that handlers may take when the work stops; after that their jobs are given
                back, although they go on.
            until: asked ten times a second whether to stop.
            on_event: is told of what happens to jobs, by the threads where it does; what it raises goes to the handler
                of background errors.

        Returns:
            When it has stopped, and every job is settled. Interrupted, it gives back what is worked on. A handler that
            takes longer than its `Work.timeout` counts as failed; a thread cannot be stopped, so that it goes on.

        While there is nothing to do it waits at Redis, in one request a second for each queue, and one every third of
        the lease; a job that comes is begun after two round trips, one that is due at its time.

        Raises:
            ConfigurationError: a number, a duration or a name that is not allowed, or a coroutine function.
        """
        from redis_patterns._thread_work import ThreadWork  # noqa: PLC0415
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
        ThreadWork(self.run, worker, clock=self._clock, grace=seconds, until=until).serve()

    def consume(
        self,
        queue: Queue[T],
        handler: Callable[[T], Any],
        *,
        concurrency: int = 1,
        until: Callable[[], bool] = lambda: False,
    ) -> int:
        """Handle the items of a simple queue as they come, at most once each; any number of processes may do so.

        Parameters:
            queue: a `FifoQueue`, `PriorityQueue` or `DelayedQueue`.
            handler: is given an item; one on which it raises goes to the failed items of the queue.
            concurrency: how many items at a time, in threads of their own.
            until: asked between items, and every second while there is none, whether to end.

        Returns:
            How many items were handled, failed ones included. It waits at Redis, in one request a second for each item
            that may be handled at a time.

        Raises:
            ConfigurationError: a number that is not allowed, or a coroutine function.
        """
        if inspect.iscoroutinefunction(handler):
            raise ConfigurationError("handler must not be a coroutine function: the sync driver cannot await it")
        if validate.integer("concurrency", concurrency, least=1) == 1:
            return self.run(queue.consume(handler, until=until))
        over = threading.Event()

        def consume() -> int:
            try:
                return self.run(queue.consume(handler, until=lambda: over.is_set() or until()))
            finally:
                over.set()  # who ends, as it is told to or as it cannot go on, takes the others along

        with ThreadPoolExecutor(concurrency, "redis-patterns-consumer") as threads:
            consumers = [threads.submit(consume) for _ in range(concurrency)]
            try:
                return sum([one.result() for one in consumers])
            finally:
                over.set()

    def follow(self, flags: Flags | FlagClient) -> AbstractContextManager[FlagClient]:
        """Have a snapshot of flags that is kept up to date while a block of code runs, by a thread of its own.

        Parameters:
            flags: which, or a `FlagClient` of them, with settings of its own, which can be a constant that all code
                asks.

        Returns:
            A context manager that gives the client. One round trip before the block, unless the client has an initial
            snapshot; then one request a second, and one more for each poll and each change. It ends within a second.

        Raises:
            ConfigurationError: the client is followed already.
            Exception: what running a plan raises: the flags could not be read, and there is no initial snapshot.
        """
        from redis_patterns_core.flag_client import FlagClient  # noqa: PLC0415
        from redis_patterns_core.flags import Flags  # noqa: PLC0415

        return self._following(FlagClient(flags) if isinstance(flags, Flags) else flags)

    @contextlib.contextmanager
    def _following(self, client: FlagClient) -> Generator[FlagClient, None, None]:
        from redis_patterns._follower import Follower  # noqa: PLC0415

        # A flow's name tells a handler of errors what failed.
        client.begin(lambda error: self._report(client.keep(), error))
        self._followed.add(client)
        try:
            if client.snapshot is None:
                self.run(client.load())
            follower = Follower(client, lambda flow, sleep: self._run(flow, sleep, math.inf), self._report)
            try:
                yield client
            finally:
                follower.stop()
        finally:
            self._followed.discard(client)
            client.end()

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
                return self._flights.share(step.key, lambda: self._run(step.flow, sleep, ends_at), left)
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


_drivers: weakref.WeakSet[Driver] = weakref.WeakSet()
_logger = logging.getLogger("redis_patterns")


def _log(what: Flow[Any] | Plan[Any], error: BaseException) -> None:
    _logger.error("%r failed in the background", what, exc_info=error)


def _forget_all() -> None:
    for driver in list(_drivers):
        driver._forget()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  the driver's own module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
