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

import select
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, NoReturn, Self

import trio

from redis_patterns._address import Address, Target
from redis_patterns._async import AsyncDriver, Sent, Transport
from redis_patterns._cluster import transport_to
from redis_patterns._multiplex import Connection
from redis_patterns._wire import Request
from redis_patterns_core.errors import DriverClosed
from redis_patterns_core.flow import Flow
from redis_patterns_core.plan import Command, Plan
from redis_patterns_core.replies import Reply
from redis_patterns_core.retry import Incomplete
from redis_patterns_core.tracing import Instrument
from redis_patterns_core.validate import Duration

__all__ = ["Driver"]

_READ_SIZE = 65536
# Nobody reads from a connection at rest, so one that has rested this long is looked at before it is used: the server
# may have closed it, and then a plan that must not be sent twice would fail for nothing.
_FRESH = 0.5


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
        **options: Any,
    ) -> Self:
        """Make a driver; no connection is opened yet.

        Parameters:
            url: ``redis://[[user]:password@]host[:port][/db]``, ``rediss://`` for TLS, ``unix://path?db=0``, or
                ``redis+sentinel://[[user]:password@]host[:port][,host[:port]...]/service_name[/db]``.
            retry_for, on_background_error, instrument: as for the class.
            options: ``cluster=True`` for a cluster of which the URL names a node; ``sentinels``, ``service_name`` and
                ``sentinel_kwargs``; else see `Address.parse`; the same names as redis-py's.

        Raises:
            ConfigurationError: a URL or an option that is not allowed; the message shows no part of the URL.
        """
        background = _Background()

        async def open_socket(address: Address) -> SharedConnection:
            return await SharedConnection.open(address, background)

        transport = transport_to(Target.parse(url, options), open_socket, background.start, trio.current_time)
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

    def cancel(self) -> None:
        self._scope.cancel()

    async def stop(self) -> None:
        self._scope.cancel()
        with trio.CancelScope(shield=True):
            await self._ended.wait()

    async def wait(self) -> None:
        await self._ended.wait()


class _Waiter:
    """Who waits for a request: parked until the answers are there, or until it is to read for all."""

    __slots__ = ("error", "parked")

    def __init__(self) -> None:
        self.parked: trio.lowlevel.Task | None = None
        self.error: Incomplete | None = None

    def wake(self) -> None:
        task, self.parked = self.parked, None
        if task is not None:
            trio.lowlevel.reschedule(task)


class SharedConnection(Connection):
    """A connection on a raw non-blocking socket, without tasks of its own for reading and writing.

    Whoever waits first leads: it reads for all, and wakes the others. When the leader has its answer, or is cancelled,
    one of those that still wait leads on.
    """

    def __init__(self, sock: socket.socket, timeout: float | None, background: _Background) -> None:
        super().__init__(timeout)
        self._sock = sock
        self._tls: _Tls | None = None
        self._buffer = bytearray(_READ_SIZE)
        self._background = background
        self._led = False
        self._flushing = False
        self._joining = False
        self._unwritten: bytes | memoryview = b""
        self._used_at = trio.current_time()
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._nap = trio.CancelScope()
        self._watchdog = background.start(self._watch, "watchdog")

    @classmethod
    async def open(cls, address: Address, background: _Background) -> SharedConnection:
        """Open a connection, TLS included, without greeting the server."""
        if address.path is not None:
            stream = await trio.open_unix_socket(address.path)
        else:
            stream = await trio.open_tcp_stream(address.host, address.port)
        sock = socket.socket(fileno=stream.socket.detach())
        sock.settimeout(0)
        connection = cls(sock, address.socket_timeout, background)
        if address.ssl_context is not None:
            connection._tls = _Tls(address.ssl_context, address.host)
            try:
                await connection._handshake(connection._tls)
            except BaseException:
                connection.fail("the TLS handshake failed")
                raise
        return connection

    async def exchange(self, commands: Sequence[Command], trace: list[Sent] | None = None) -> Sequence[Reply]:
        """Send commands and wait for their replies."""
        wire = self.wire
        idle = wire.oldest is None
        now = trio.current_time()
        if idle and now - self._used_at > _FRESH and self._poll.poll(0):
            self._read()
            if not self.usable:
                raise Incomplete("the server closed the connection")
        waiter = _Waiter()
        request: Request[_Waiter] = wire.add(commands, waiter)
        if trace is not None:
            trace.append(request)
        try:
            if not self._flushing:
                if not idle or self._joining:
                    # Others are being served, so more may come at this moment: let them, and write all of it at once.
                    self._flushing = True
                    await trio.lowlevel.cancel_shielded_checkpoint()
                    self._flushing = False
                self._flush(now)
            while request.missing and waiter.error is None:
                if self._led:
                    await self._park(request)
                else:
                    await self._lead(request)
        except BaseException:
            request.abandoned = True
            raise
        if waiter.error is not None:
            raise waiter.error
        return request.answers

    async def _park(self, request: Request[_Waiter]) -> None:
        """Wait until the answers are there, or until this task is to lead."""

        def leave(_: Callable[[], NoReturn]) -> trio.lowlevel.Abort:
            request.waiter.parked = None
            return trio.lowlevel.Abort.SUCCEEDED

        request.waiter.parked = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(leave)

    async def _lead(self, request: Request[_Waiter]) -> None:
        """Read for all until this request is answered, then let another lead."""
        self._led = True
        try:
            while request.missing and request.waiter.error is None:
                await self._readable()
                self._read()
        finally:
            self._hand_over()

    def _hand_over(self) -> None:
        """Lead no more; one of those who wait does so from here on."""
        self._led = False
        if len(self.wire):
            for other in self.wire.waiting():
                if other.waiter.parked is not None:
                    other.waiter.wake()
                    break

    async def _readable(self) -> None:
        try:
            await trio.lowlevel.wait_readable(self._sock)
        except trio.ClosedResourceError:
            self.fail("the connection was closed")

    def _read(self) -> None:
        """Take in what has come, and wake those whose answers are complete."""
        try:
            count = self._sock.recv_into(self._buffer)
            if not count:
                self.fail("the server closed the connection")
                return
            if self._tls is None:
                done = self.wire.received(self._buffer, count)
            else:
                data = self._tls.decrypt(memoryview(self._buffer)[:count])
                done = self.wire.received(data, len(data))
        except BlockingIOError:
            return
        except (OSError, Incomplete) as error:
            self.fail(str(error))
            return
        for request in done:
            request.waiter.wake()
        self._joining = len(done) > 1
        self.on_progress()
        if not self.usable and not self.wire:
            self.fail("the connection was retired")

    def _flush(self, now: float) -> None:
        """Write what is queued; what the socket does not take is left to a task that waits for it."""
        if self._unwritten or not self.usable:
            return
        self._used_at = now
        data = self.wire.to_write(now)
        if self._tls is not None and data:
            data = self._tls.encrypt(data)
        if not data:
            return
        try:
            count = self._sock.send(data)
        except BlockingIOError:
            count = 0
        except OSError as error:
            self.fail(str(error))
            return
        if count < len(data):
            self._unwritten = memoryview(data)[count:]
            self._background.start(self._write_rest, "writer")

    async def _write_rest(self) -> None:
        try:
            while self._unwritten:
                await trio.lowlevel.wait_writable(self._sock)
                self._unwritten = self._unwritten[self._sock.send(self._unwritten) :]
                if not self._unwritten:
                    self._flush(trio.current_time())
                    return
        except BlockingIOError:
            self._background.start(self._write_rest, "writer")
        except (OSError, trio.ClosedResourceError) as error:
            self.fail(str(error) or "the connection was closed")

    async def _watch(self) -> None:
        """See to it that no reply stays out for longer than the timeout."""
        while self.usable or self.wire:
            oldest = self.wire.oldest
            with trio.CancelScope() as self._nap:
                if self.timeout is None:
                    await trio.sleep_forever()
                elif oldest is None:
                    # What is sent while this sleeps is not due before it wakes.
                    await trio.sleep(self.timeout)
                elif oldest.sent_at + self.timeout > trio.current_time():
                    await trio.sleep_until(oldest.sent_at + self.timeout)
                else:
                    self.fail(f"no answer within {self.timeout:g} s")

    def limit(self, timeout: float | None) -> None:
        """Set how long a reply may take, from now on."""
        super().limit(timeout)
        self._nap.cancel()

    async def _handshake(self, tls: _Tls) -> None:
        while not tls.ready():
            await self._send_all(tls.outgoing())
            await trio.lowlevel.wait_readable(self._sock)
            data = self._sock.recv(_READ_SIZE)
            if not data:
                raise ConnectionResetError("the server closed the connection during the TLS handshake")
            tls.incoming(data)
        await self._send_all(tls.outgoing())

    async def _send_all(self, data: bytes) -> None:
        while data:
            await trio.lowlevel.wait_writable(self._sock)
            data = data[self._sock.send(data) :]

    def fail(self, reason: str) -> None:
        """Close at once; all requests on their way end as `Incomplete`."""
        self.usable = False
        if self._sock.fileno() < 0:
            return
        self._watchdog.cancel()
        for request in self.wire.fail():
            request.waiter.error = request.incomplete(reason)
            request.waiter.wake()
        self._unwritten = b""
        trio.lowlevel.notify_closing(self._sock)
        self._sock.close()
        self.on_progress()

    async def wait_closed(self) -> None:
        """Wait until the socket is closed."""
        while self._sock.fileno() >= 0:
            # Nobody may be left to read the answers of those who were cancelled.
            if self._led:
                await trio.sleep(0.01)
            else:
                # As a leader: one that was woken to lead, and has not begun, must not read beside this one.
                self._led = True
                try:
                    await self._readable()
                    if self._sock.fileno() >= 0:
                        self._read()
                finally:
                    self._hand_over()


class _Tls:
    """TLS without a socket: plain bytes in, encrypted bytes out, and back."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

    def ready(self) -> bool:
        """Advance the handshake; whether it is over."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def incoming(self, data: bytes) -> None:
        """Take in bytes of the handshake."""
        self._incoming.write(data)

    def outgoing(self) -> bytes:
        """Give bytes of the handshake to send."""
        return self._outgoing.read()

    def encrypt(self, data: bytes) -> bytes:
        """Encrypt."""
        self._object.write(data)
        return self._outgoing.read()

    def decrypt(self, data: memoryview) -> bytes:
        """Decrypt what is complete."""
        self._incoming.write(data)
        parts: list[bytes] = []
        try:
            while part := self._object.read(_READ_SIZE):
                parts.append(part)
        except ssl.SSLWantReadError:
            pass
        return b"".join(parts)
