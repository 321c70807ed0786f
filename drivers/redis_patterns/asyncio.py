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
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from redis_patterns._address import Address
from redis_patterns._async import AsyncDriver, Sent
from redis_patterns._multiplex import Connection, Multiplexer
from redis_patterns._wire import Request
from redis_patterns_core.flow import Flow
from redis_patterns_core.plan import Command, Plan
from redis_patterns_core.replies import Reply
from redis_patterns_core.retry import Incomplete
from redis_patterns_core.validate import Duration

__all__ = ["Driver"]

_READ_SIZE = 65536


class Driver(AsyncDriver):
    """Runs plans and flows on one shared connection; one driver serves any number of tasks of one event loop."""

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        retry_for: Duration = 3,
        on_background_error: Callable[[Flow[Any] | Plan[Any], BaseException], None] | None = None,
        **options: Any,
    ) -> Driver:
        """Make a driver; no connection is opened yet.

        Parameters:
            url: ``redis://[[user]:password@]host[:port][/db]``, ``rediss://`` for TLS, ``unix://path?db=0``.
            retry_for, on_background_error: as for the class.
            options: see `Address.parse`; the same names as redis-py's.

        Raises:
            ConfigurationError: a URL or an option that is not allowed; the message shows no part of the URL.
        """
        transport = Multiplexer(Address.parse(url, options), _open, _start, time.monotonic)
        return cls(transport, retry_for=retry_for, on_background_error=on_background_error, clock=time.monotonic)

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


async def _open(address: Address) -> SharedConnection:
    loop = asyncio.get_running_loop()

    def protocol() -> SharedConnection:
        return SharedConnection(address.socket_timeout)

    if address.path is not None:
        _, connection = await loop.create_unix_connection(protocol, address.path)
    else:
        tls: dict[str, Any] = {"ssl": address.ssl_context} if address.ssl_context else {}
        _, connection = await loop.create_connection(protocol, address.host, address.port, **tls)
    return connection


class SharedConnection(Connection, asyncio.BufferedProtocol):
    """A connection on an event loop.

    A BufferedProtocol because it reads into a buffer of ours: a plain Protocol's read allocates a quarter of a megabyte
    each time, which can cost more than the rest of a small exchange.
    """

    def __init__(self, timeout: float | None) -> None:
        super().__init__(timeout)
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray(_READ_SIZE)
        self._transport: asyncio.Transport | None = None
        self._flushing = False
        self._joining = False
        self._paused = False
        self._closed = asyncio.Event()
        self._watchdog: asyncio.TimerHandle | None = None

    async def exchange(self, commands: Sequence[Command], trace: list[Sent] | None = None) -> Sequence[Reply]:
        """Send commands and wait for their replies."""
        if self._loop is not asyncio.get_running_loop():
            raise RuntimeError("a driver serves one event loop; make another driver for another loop")
        wire = self.wire
        request: Request[asyncio.Future[Sequence[Reply]]] = wire.add(commands, self._loop.create_future())
        if trace is not None:
            trace.append(request)
        if not self._flushing and not self._paused:
            if wire.oldest is None and not self._joining:
                self._flush()
            else:
                # Others are being served, so more may come in this turn of the loop: one write for all of it.
                self._flushing = True
                self._loop.call_soon(self._flush)
        try:
            return await request.waiter
        except asyncio.CancelledError:
            request.abandoned = True
            raise

    def _flush(self) -> None:
        self._flushing = False
        if self._paused or self._transport is None or not len(self.wire):
            return
        now = self._loop.time()
        self._transport.write(self.wire.to_write(now))
        if self._watchdog is None:
            self._watch()

    def _watch(self) -> None:
        """See to it that no reply stays out for longer than the timeout."""
        oldest = self.wire.oldest
        if oldest is None or self.timeout is None:
            self._watchdog = None
            return
        due = oldest.sent_at + self.timeout
        if due <= self._loop.time():
            self.fail(f"no answer within {self.timeout:g} s")
        else:
            self._watchdog = self._loop.call_at(due, self._watch)

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> bytearray:
        del sizehint  # a buffer of ours, whatever is expected
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        try:
            done = self.wire.received(self._buffer, nbytes)
        except Incomplete as garbage:
            self.fail(garbage.reason)
            return
        for request in done:
            waiter = request.waiter
            if not waiter.done():
                waiter.set_result(request.answers)
        self._joining = len(done) > 1
        self.on_progress()
        if not self.usable and not self.wire:
            self.fail("the connection was retired")

    def eof_received(self) -> None:
        self.fail("the server closed the connection")

    def connection_lost(self, exc: Exception | None) -> None:
        self.fail(str(exc or "the connection was closed"))
        self._closed.set()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._flush()
        self.on_progress()

    # Ending

    def fail(self, reason: str) -> None:
        """Close at once; all requests on their way end as `Incomplete`."""
        self.usable = False
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        for request in self.wire.fail():
            if not request.waiter.done():
                request.waiter.set_exception(request.incomplete(reason))
        if self._transport is not None:
            self._transport.abort()
        self.on_progress()

    async def wait_closed(self) -> None:
        """Wait until the socket is closed."""
        await self._closed.wait()
