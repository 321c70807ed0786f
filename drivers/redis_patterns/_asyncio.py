"""A shared connection on an asyncio event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

from redis_patterns._address import Address
from redis_patterns._multiplex import LAST_LOOK, Connection
from redis_patterns._transport import Sent
from redis_patterns._wire import Request
from redis_patterns_core.plan import Command
from redis_patterns_core.replies import Reply
from redis_patterns_core.retry import Incomplete

_READ_SIZE = 65536


async def open_socket(address: Address) -> SharedConnection:
    """Open a connection, TLS included, without greeting the server."""
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
        # A view, because asyncio's TLS reads into slices of it, and a slice of a bytearray is a copy.
        self._buffer = memoryview(bytearray(_READ_SIZE))
        self._transport: asyncio.Transport | None = None
        self._flushing = False
        self._joining = False
        self._paused = False
        self._closed = asyncio.Event()
        self._watchdog: asyncio.TimerHandle | None = None
        self._heard = True
        self.on_closed: Callable[[], object] = lambda: None
        """Called once when the socket is closed."""

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
        if due > self._loop.time():
            self._heard = True
            self._watchdog = self._loop.call_at(due, self._watch)
        elif self._heard:
            self._heard = False
            self._watchdog = self._loop.call_later(LAST_LOOK, self._watch)
        else:
            self.fail(f"no answer within {self.timeout:g} s")

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint  # a buffer of ours, whatever is expected
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._heard = True
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
        self.on_closed()

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
