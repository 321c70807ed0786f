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
import math
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, Self, TypeVar, cast, overload

import redis

from redis_patterns._address import Target
from redis_patterns._redis_py import Leases, Pool
from redis_patterns._redis_py_clients import LazyCluster, client_of, cluster_client
from redis_patterns._redis_py_cluster import ClusterLeases
from redis_patterns._thread_runner import ThreadRunner, Transport
from redis_patterns_core import validate
from redis_patterns_core.errors import (
    CommandFailed,
    ConfigurationError,
    LockLost,
    LockNotAcquired,
    OutcomeUnknown,
    Unreachable,
)
from redis_patterns_core.flow import Flow
from redis_patterns_core.lease_records import Held, Lease
from redis_patterns_core.leases import Leasable, campaign
from redis_patterns_core.plan import Plan
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


class _Client(Protocol):
    """A redis-py client: ``Redis``, ``RedisCluster``, fakeredis' ``FakeRedis``, a Sentinel's ``master_for``."""

    def close(self) -> None: ...


class Driver(ThreadRunner):
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
        super().__init__(
            transport,
            retry_for=retry_for,
            on_background_error=on_background_error,
            instrument=instrument,
            clock=clock,
            sleep=sleep,
        )

    @classmethod
    def over(cls, transport: Transport, **options: Any) -> Self:
        """Make a driver on a transport of another kind, such as a server in memory.

        Parameters:
            transport: what carries the commands.
            options: ``retry_for``, ``on_background_error`` and ``instrument`` as for `connect`; ``clock``, monotonic
                seconds, and ``sleep``, which waits for so many of them.
        """
        driver = cls.__new__(cls)
        ThreadRunner.__init__(driver, transport, **options)
        return driver

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
        if isinstance(client, LazyCluster):
            transport: Transport = ClusterLeases(client.made, time.monotonic, own=True)
            close: Callable[[], None] = client.close
        else:
            pool = cast("Pool", client.connection_pool)
            transport = Leases(pool, time.monotonic, own=True)
            # Those in use are closed when they come back, so that what runs on them ends as usual.
            close = functools.partial(pool.disconnect, inuse_connections=False)
        driver = cls.over(
            transport, retry_for=retry_for, on_background_error=on_background_error, instrument=instrument
        )
        driver._close_client = close  # noqa: SLF001  this class's own
        return driver

    # Locks

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
        except BaseException:
            self._clean_up(lock.release(lease))
            raise
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
        from redis_patterns._decorators import locked

        return locked(lambda lock: self.hold(lock, wait=wait), name, ttl=ttl, namespace=namespace)

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
        from redis_patterns._cached import CachedFunction

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
        from redis_patterns._decorators import limited

        return limited(lambda who: self.run(limiter.admit(who, cost, wait=wait)), key)

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
        from redis_patterns._thread_work import ThreadWork
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
        from redis_patterns_core.callables import check_awaited

        check_awaited("handler", handler, awaited=False)
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
        from redis_patterns_core.flag_client import FlagClient
        from redis_patterns_core.flags import Flags

        return self._following(FlagClient(flags) if isinstance(flags, Flags) else flags)

    @contextlib.contextmanager
    def _following(self, client: FlagClient) -> Generator[FlagClient, None, None]:
        from redis_patterns._follower import Follower

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
