"""A connection of the trio driver: a raw socket that those who wait for answers read in turn."""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn, TypeAlias

import trio

from redis_patterns._address import Address
from redis_patterns._multiplex import LAST_LOOK, Connection
from redis_patterns._transport import Sent, Task
from redis_patterns._wire import Request
from redis_patterns_core.plan import Command
from redis_patterns_core.replies import Reply
from redis_patterns_core.retry import Incomplete

__all__ = ["SharedConnection"]

_Start: TypeAlias = Callable[[Callable[[], Awaitable[None]], str], Task]
"""Runs a function in a task of the driver, under a name."""

_READ_SIZE = 65536
# Nobody reads from a connection at rest, so one that has rested this long is looked at before it is used: the server
# may have closed it, and then a plan that must not be sent twice would fail for nothing.
_FRESH = 0.5


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

    def __init__(self, sock: socket.socket, timeout: float | None, start: _Start) -> None:
        super().__init__(timeout)
        self._sock = sock
        self._tls: _Tls | None = None
        self._buffer = bytearray(_READ_SIZE)
        self._start = start
        self._led = False
        self._flushing = False
        self._joining = False
        self._unwritten: bytes | memoryview = b""
        self._used_at = trio.current_time()
        self._heard = True
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._nap = trio.CancelScope()
        start(self._watch, "watchdog")

    @classmethod
    async def open(cls, address: Address, start: _Start) -> SharedConnection:
        """Open a connection, TLS included, without greeting the server."""
        if address.path is not None:
            stream = await trio.open_unix_socket(address.path)
        else:
            stream = await trio.open_tcp_stream(address.host, address.port)
        sock = socket.socket(fileno=stream.socket.detach())
        sock.settimeout(0)
        connection = cls(sock, address.socket_timeout, start)
        if address.ssl_context is not None:
            try:
                connection._tls = _Tls(address.ssl_context, address.host)
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
        self._heard = True
        for request in done:
            request.waiter.wake()
        self._joining = len(done) > 1
        self.on_progress()
        if self._tls is not None and self._tls.ended:
            self.fail("the server closed the connection")
        elif not self.usable and not self.wire:
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
            self._start(self._write_rest, "writer")

    async def _write_rest(self) -> None:
        try:
            while self._unwritten:
                await trio.lowlevel.wait_writable(self._sock)
                self._unwritten = self._unwritten[self._sock.send(self._unwritten) :]
                if not self._unwritten:
                    self._flush(trio.current_time())
                    return
        except BlockingIOError:
            self._start(self._write_rest, "writer")
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
                    self._heard = True
                    await trio.sleep_until(oldest.sent_at + self.timeout)
                elif self._heard:
                    self._heard = False
                    await trio.sleep(LAST_LOOK)
                elif self._poll.poll(0):
                    self._read()  # what nobody reads, as all have left who waited
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
        self._nap.cancel()
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
        self.ended: bool = False
        """Whether the server has said that nothing more comes."""

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
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        return b"".join(parts)
