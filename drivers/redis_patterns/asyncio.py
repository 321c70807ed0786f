"""The driver for asyncio.

    from redis_patterns import Lock, TokenBucket
    from redis_patterns.asyncio import Driver

    limiter = TokenBucket("api", capacity=100, refill_rate=10)

    async with Driver.connect("redis://localhost") as redis:
        if await redis.run(limiter.hit("alice")):
            async with redis.hold(Lock("order:123", ttl=10), wait=5) as held:
                ...

`Driver.connect` is native: all tasks share one connection, and what they ask for in one turn of the loop goes out in
one write. `Driver(client)` runs on the connections of a ``redis.asyncio`` client.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, Self, cast

from redis_patterns._address import Target
from redis_patterns._async import AsyncDriver
from redis_patterns._asyncio import open_socket
from redis_patterns._cluster import Cluster, transport_to
from redis_patterns._multiplex import BLOCKING_CONNECTIONS, Multiplexer
from redis_patterns._transport import Transport
from redis_patterns_core import validate
from redis_patterns_core.errors import ConfigurationError
from redis_patterns_core.flow import Flow
from redis_patterns_core.plan import Plan
from redis_patterns_core.tracing import Instrument
from redis_patterns_core.validate import Duration

__all__ = ["Driver"]


class _Client(Protocol):
    """A redis.asyncio client: ``Redis``, ``RedisCluster``, a Sentinel's ``master_for``, or fakeredis'."""

    async def aclose(self) -> None: ...


class Driver(AsyncDriver):
    """Runs plans and flows on one shared connection; one driver serves any number of tasks of one event loop.

    The connection is one of the client's pool: its settings hold for address, credentials, TLS, db, protocol, timeouts
    and its retries while connecting. Its ``decode_responses`` does not matter, and its retries of commands are not
    used: what is sent again is decided by each plan's `Effect`. `connect` needs no client.

    Parameters:
        client: a ``redis.asyncio.Redis``, a ``redis.asyncio.RedisCluster``, or a Sentinel's ``master_for``. It stays
            the caller's: closing the driver gives the connection back and leaves the client open.
        retry_for: seconds, or a timedelta, for which a plan that may be sent (again) is tried before it fails.
        on_background_error: called with the flow or plan and the exception when a spawned flow or a clean-up fails; by
            default it is logged to ``redis_patterns``.
        instrument: is told of each run.
        blocking_connections: how many plans that block may be under way at a time, for each node of a cluster: each has
            a connection of its own, and further ones wait for theirs, up to as long as they may block. No more than
            half of the ``max_connections`` of the client's pool.

    Raises:
        ConfigurationError: something that is no such client, or a number or a duration that is not allowed.
    """

    def __init__(
        self,
        client: _Client,
        *,
        retry_for: Duration = 3,
        on_background_error: Callable[[Flow[Any] | Plan[Any], BaseException], None] | None = None,
        instrument: Instrument | None = None,
        blocking_connections: int = BLOCKING_CONNECTIONS,
    ) -> None:
        # Who has such a client has imported redis-py already; who connects by URL need not wait for it.
        import redis.asyncio  # noqa: PLC0415

        from redis_patterns._redis_asyncio import ClusterClient, Pool, take_over  # noqa: PLC0415

        def taking(pool: Pool) -> Multiplexer:
            # The client's own commands want some, and so does everything that does not block.
            most = min(blocking_connections, max(1, pool.max_connections // 2))
            return Multiplexer(lambda: take_over(pool, _start), _start, time.monotonic, most)

        validate.integer("blocking_connections", blocking_connections, least=1)
        transport: Transport
        if isinstance(client, redis.asyncio.RedisCluster):
            cluster = ClusterClient(client)
            transport = Cluster(cluster.nodes, lambda node: taking(cluster.pool(node)), time.monotonic)
        elif isinstance(client, redis.asyncio.Redis):
            transport = taking(cast("Pool", client.connection_pool))
        else:
            raise ConfigurationError(f"client must be a redis.asyncio client, not {type(client).__name__}")
        super().__init__(
            transport,
            retry_for=retry_for,
            on_background_error=on_background_error,
            instrument=instrument,
            clock=time.monotonic,
        )

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        retry_for: Duration = 3,
        on_background_error: Callable[[Flow[Any] | Plan[Any], BaseException], None] | None = None,
        instrument: Instrument | None = None,
        blocking_connections: int = BLOCKING_CONNECTIONS,
        **options: Any,
    ) -> Self:
        """Make a driver; no connection is opened yet.

        Parameters:
            url: ``redis://[[user]:password@]host[:port][/db]``, ``rediss://`` for TLS, ``unix://path?db=0``, or
                ``redis+sentinel://[[user]:password@]host[:port][,host[:port]...]/service_name[/db]``.
            retry_for, on_background_error, instrument, blocking_connections: as for the class.
            options: ``cluster=True`` for a cluster of which the URL names a node; ``sentinels``, ``service_name`` and
                ``sentinel_kwargs``; else see `Address.parse`; the same names as redis-py's.

        Raises:
            ConfigurationError: a URL or an option that is not allowed; the message shows no part of the URL.
        """
        return cls.over(
            transport_to(Target.parse(url, options), open_socket, _start, time.monotonic, blocking_connections),
            retry_for=retry_for,
            on_background_error=on_background_error,
            instrument=instrument,
        )

    @classmethod
    def over(cls, transport: Transport, *, clock: Callable[[], float] = time.monotonic, **options: Any) -> Self:
        """Make a driver on a transport of another kind, such as a server in memory.

        Parameters:
            transport: what carries the commands.
            options: ``retry_for``, ``on_background_error`` and ``instrument`` as for `connect`; ``clock``, monotonic
                seconds, and ``sleep``, which waits for so many of them.
        """
        driver = cls.__new__(cls)
        AsyncDriver.__init__(driver, transport, clock=clock, **options)
        return driver

    async def _call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return await super()._call(function, *args, **kwargs)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Nobody cancels this task: the function awaited something else that was cancelled. That is a failure like
            # others; as it is, it would end without a word whoever runs many functions.
            raise concurrent.futures.CancelledError("what it awaited was cancelled") from error

    def _start(self, function: Callable[[], Awaitable[None]], name: str) -> _Task:
        return _start(function, name)


class _Task:
    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    async def stop(self) -> None:
        self._task.cancel()
        await self.wait()

    async def wait(self) -> None:
        # Waits without taking the task's cancellation for the caller's, and without handing it the caller's.
        await asyncio.wait([self._task])


def _start(function: Callable[[], Awaitable[None]], name: str) -> _Task:
    async def serve() -> None:
        await function()

    return _Task(asyncio.get_running_loop().create_task(serve(), name=f"redis-patterns {name}"))
