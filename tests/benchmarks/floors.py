"""The floors: the least code that gets the same bytes to the server and the replies back.

They pack and parse with hiredis as everyone does, and leave out everything else: no errors, no timeouts, no
reconnecting, no results made of replies.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Sequence
from typing import TypeAlias, cast

import hiredis
import trio

__all__ = ["Bare", "JoinedAsyncio", "JoinedTrio", "Words"]

Words: TypeAlias = tuple[str | bytes | int | float, ...]
"""A command as hiredis packs it."""

_MISSING = object()
_READ_SIZE = 65536
_GIVE_UP = 20  # seconds


class Bare:
    """A blocking socket and a hiredis reader."""

    def __init__(self, path: str) -> None:
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # The kernel's own timeout: Python's makes the socket non-blocking and adds a poll to each call.
        limit = struct.pack("ll", _GIVE_UP, 0)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self._sock.connect(path)
        self._reader = hiredis.Reader(notEnoughData=_MISSING)
        self._buffer = bytearray(_READ_SIZE)

    def ask(self, words: Words) -> object:
        """Send a command and give its reply."""
        self._sock.send(hiredis.pack_command(words))
        while True:
            self._reader.feed(self._buffer, 0, self._sock.recv_into(self._buffer))
            reply = self._reader.gets()
            if reply is not _MISSING:
                return reply

    def ask_all(self, batch: Sequence[Words]) -> list[object]:
        """Send commands in one write and give their replies."""
        self._sock.sendall(b"".join([hiredis.pack_command(words) for words in batch]))
        reader, buffer = self._reader, self._buffer
        replies: list[object] = []
        while len(replies) < len(batch):
            reader.feed(buffer, 0, self._sock.recv_into(buffer))
            while (reply := reader.gets()) is not _MISSING:
                replies.append(reply)
        return replies

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()


class JoinedAsyncio(asyncio.BufferedProtocol):
    """One connection for all tasks: a future for each command, one write for each turn of the loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=_MISSING)
        self._buffer = bytearray(_READ_SIZE)
        self._waiting: deque[asyncio.Future[object]] = deque()
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, path: str) -> JoinedAsyncio:
        """Connect."""
        _, protocol = await asyncio.get_running_loop().create_unix_connection(cls, path)
        return protocol

    def ask(self, words: Words) -> asyncio.Future[object]:
        """Queue a command and give the future of its reply."""
        future = self._loop.create_future()
        self._waiting.append(future)
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(hiredis.pack_command(words))
        return future

    def _flush(self) -> None:
        if self._transport is not None:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> bytearray:
        """Give the buffer to read into."""
        del sizehint
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Hand out the replies."""
        self._reader.feed(self._buffer, 0, nbytes)
        while (reply := self._reader.gets()) is not _MISSING:
            self._waiting.popleft().set_result(reply)

    def close(self) -> None:
        """Close the socket."""
        if self._transport is not None:
            self._transport.abort()


class _Waiter:
    __slots__ = ("parked", "reply")

    def __init__(self) -> None:
        self.parked: trio.lowlevel.Task | None = None
        self.reply: object = _MISSING


class JoinedTrio:
    """One connection for all tasks, on a raw non-blocking socket: whoever waits first reads for all, and what several
    tasks ask for in one turn of the loop goes out in one write.
    """

    def __init__(self, path: str) -> None:
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.connect(path)
        self._sock.setblocking(False)
        self._reader = hiredis.Reader(notEnoughData=_MISSING)
        self._buffer = bytearray(_READ_SIZE)
        self._waiting: deque[_Waiter] = deque()
        self._out: list[bytes] = []
        self._led = False
        self._flushing = False
        self._several = False

    async def ask(self, words: Words) -> object:
        """Send a command and give its reply."""
        waiter = _Waiter()
        self._waiting.append(waiter)
        self._out.append(hiredis.pack_command(words))
        if not self._flushing:
            await self._flush()
        while waiter.reply is _MISSING:
            if self._led:
                waiter.parked = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(_abort)
            else:
                await self._lead(waiter)
        return waiter.reply

    async def _flush(self) -> None:
        self._flushing = True
        if len(self._waiting) > 1 or self._several:
            await trio.lowlevel.cancel_shielded_checkpoint()  # the others of this turn join
        while self._out:
            data = memoryview(b"".join(self._out))
            self._out.clear()
            while data:
                try:
                    data = data[self._sock.send(data) :]
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(self._sock)
        self._flushing = False

    async def _lead(self, waiter: _Waiter) -> None:
        self._led = True
        while waiter.reply is _MISSING:
            await trio.lowlevel.wait_readable(self._sock)
            self._reader.feed(self._buffer, 0, self._sock.recv_into(self._buffer))
            answered = 0
            while (reply := self._reader.gets()) is not _MISSING:
                other = self._waiting.popleft()
                other.reply = reply
                self._wake(other)
                answered += 1
            self._several = answered > 1
        self._led = False
        for other in self._waiting:
            if other.parked is not None:
                self._wake(other)  # it leads on
                break

    def _wake(self, waiter: _Waiter) -> None:
        task, waiter.parked = waiter.parked, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()


def _abort(_: object) -> trio.lowlevel.Abort:
    # Cancelled only all together, when the time is up, and then nobody reads on.
    return trio.lowlevel.Abort.SUCCEEDED
