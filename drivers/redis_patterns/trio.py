"""The driver for trio.

    from redis_patterns import Lock, TokenBucket
    from redis_patterns.trio import Driver

    limiter = TokenBucket("api", capacity=100, refill_rate=10)

    async with Driver.connect("redis://localhost") as redis:
        if await redis.run(limiter.hit("alice")):
            async with redis.hold(Lock("order:123", ttl=10), wait=5) as held:
                ...

All tasks share one connection, and what they ask for at the same time goes out in one write.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import trio

from redis_patterns._address import Address, Target
from redis_patterns._async import AsyncDriver
from redis_patterns._cluster import transport_to
from redis_patterns._multiplex import BLOCKING_CONNECTIONS
from redis_patterns._transport import Transport
from redis_patterns._trio import SharedConnection
from redis_patterns_core.errors import DriverClosed
from redis_patterns_core.flow import Flow
from redis_patterns_core.plan import Plan
from redis_patterns_core.tracing import Instrument
from redis_patterns_core.validate import Duration

__all__ = ["Driver"]


class Driver(AsyncDriver):
    """Runs plans and flows on one shared connection, for any number of tasks.

    It is an async context manager and works inside its block only: the block owns the nursery of its background tasks.
    Made by `connect`.
    """

    def __init__(
        self,
        transport: Transport,
        background: _Background,
        *,
        clock: Callable[[], float] = trio.current_time,
        **options: Any,
    ) -> None:
        super().__init__(transport, clock=clock, **options)
        self._tasks = background

    @classmethod
    def over(cls, transport: Transport, **options: Any) -> Self:
        """Make a driver on a transport of another kind, such as a server in memory.

        Parameters:
            transport: what carries the commands.
            options: ``retry_for``, ``on_background_error`` and ``instrument`` as for `connect`; ``clock``, monotonic
                seconds, and ``sleep``, which waits for so many of them.
        """
        return cls(transport, _Background(), **options)

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
            retry_for, on_background_error, instrument: as for the class.
            blocking_connections: how many plans that block may be under way at a time, for each node of a cluster: each
                has a connection of its own, and further ones wait for theirs, up to as long as they may block.
            options: ``cluster=True`` for a cluster of which the URL names a node; ``sentinels``, ``service_name`` and
                ``sentinel_kwargs``; else see `Address.parse`; the same names as redis-py's.

        Raises:
            ConfigurationError: a URL or an option that is not allowed; the message shows no part of the URL.
        """
        background = _Background()

        async def open_socket(address: Address) -> SharedConnection:
            return await SharedConnection.open(address, background.start)

        transport = transport_to(
            Target.parse(url, options), open_socket, background.start, trio.current_time, blocking_connections
        )
        return cls(
            transport,
            background,
            retry_for=retry_for,
            on_background_error=on_background_error,
            instrument=instrument,
        )

    def _start(self, function: Callable[[], Awaitable[None]], name: str) -> _Task:
        return self._tasks.start(function, name)

    async def __aenter__(self) -> Self:
        await self._tasks.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await super().__aexit__(kind, error, traceback)
        finally:
            await self._tasks.close()


class _Background:
    """The nursery of a driver's tasks, while the driver's block runs."""

    def __init__(self) -> None:
        self._manager = trio.open_nursery()
        self._nursery: trio.Nursery | None = None

    async def open(self) -> None:
        self._nursery = await self._manager.__aenter__()

    async def close(self) -> None:
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()
            self._nursery = None
            await self._manager.__aexit__(None, None, None)

    def start(self, function: Callable[[], Awaitable[None]], name: str) -> _Task:
        if self._nursery is None:
            raise DriverClosed("the driver works inside its 'async with' block only")
        task = _Task(function)
        self._nursery.start_soon(task.run, name=f"redis-patterns {name}")
        return task


class _Task:
    def __init__(self, function: Callable[[], Awaitable[None]]) -> None:
        self._function = function
        self._scope = trio.CancelScope()
        self._ended = trio.Event()

    async def run(self) -> None:
        try:
            with self._scope:
                await self._function()
        finally:
            self._ended.set()

    async def stop(self) -> None:
        self._scope.cancel()
        with trio.CancelScope(shield=True):
            await self._ended.wait()

    async def wait(self) -> None:
        await self._ended.wait()
