"""Connections of a redis-py client, used without redis-py's own way of running commands.

A driver leases connections from the client's pool and keeps them. redis-py dials, authenticates and speaks TLS; from
then on a leased connection's socket is ours: no callbacks, no decoding, no hidden retries, and what went wrong is told
apart by whether a single byte had left. Where there is no socket to take (fakeredis, client-side caching), the same is
done through the connection's own methods, more slowly.
"""

from __future__ import annotations

import contextlib
import math
import re
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import redis
from redis import exceptions

from redis_patterns import _wire
from redis_patterns._wire import NOT_ENOUGH, PushNotification, packed
from redis_patterns_core.errors import CommandFailed, DriverClosed
from redis_patterns_core.plan import Command
from redis_patterns_core.replies import ErrorReply, Reply
from redis_patterns_core.retry import Incomplete

_READ_SIZE = 65536
# A connection that has rested this long is looked at before it is used: the server may have closed it, and then a plan
# that must not be sent twice would fail for nothing. One that was just used is not worth the system call.
_FRESH = 0.5
# How long a connection that others do not need stays ours.
_IDLE = 30.0
# SO_RCVTIMEO and SO_SNDTIMEO take a struct timeval; Windows is the one that takes something else.
_KERNEL_TIMEOUTS = sys.platform != "win32"
_CODES: dict[type[Exception], str] = {
    exceptions.NoScriptError: "NOSCRIPT",
    exceptions.BusyLoadingError: "LOADING",
    exceptions.ReadOnlyError: "READONLY",
    exceptions.NoPermissionError: "NOPERM",
    exceptions.AuthenticationError: "WRONGPASS",
}
_CODE = re.compile(r"[A-Z]{3,}( |$)")


class Connection(Protocol):
    """What we use of a redis-py connection."""

    @property
    def socket_timeout(self) -> float | None: ...

    def connect(self) -> None: ...
    def disconnect(self) -> None: ...
    def can_read(self, timeout: float = 0) -> bool: ...
    def send_packed_command(self, command: Sequence[bytes], check_health: bool = True) -> None: ...
    def read_response(self, disable_decoding: bool = False) -> Reply: ...
    def repr_pieces(self) -> list[tuple[str, object]]: ...


class Pool(Protocol):
    """What we use of a redis-py connection pool."""

    def get_connection(self) -> Connection: ...
    def release(self, connection: Connection) -> None: ...
    def disconnect(self, inuse_connections: bool = True) -> None: ...


class Link:
    """A leased connection, through redis-py's own methods; `SocketLink` is the fast one.

    Parameters:
        connection: connected, and neither closed nor dirty.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.known: set[str] = set()
        self.used_at = 0.0

    def ask(
        self, commands: Sequence[Command], blocks_for: float | None = None, within: float | None = None
    ) -> Sequence[Reply]:
        """Send commands in one write and give one reply for each.

        Parameters:
            commands: at least one.
            blocks_for: seconds for which the server may keep the answer back, on top of the timeout; 0 for ever.
            within: seconds for all of it, whatever the timeout.

        Raises:
            Incomplete: the connection failed; it is closed.
        """
        del blocks_for, within  # what has no socket has no timeout either
        answers: list[Reply] = []
        data = [packed(command, self.known) for command in commands]
        try:
            self.connection.send_packed_command(data, check_health=False)
            while len(answers) < len(commands):
                answers.append(self._read())
        except BaseException as error:
            # Whatever it is, a KeyboardInterrupt included: replies are still to come, and the next user of this
            # connection would take them for his own. Closed, not drained: CVE-2023-28858 was the other way.
            self.connection.disconnect()
            if isinstance(error, (redis.RedisError, OSError)):
                raise Incomplete(str(error), sent=True, answers=answers) from error
            raise
        return answers

    def _read(self) -> Reply:
        try:
            return self.connection.read_response(disable_decoding=True)
        except redis.ResponseError as error:
            return error_reply(error)
        except exceptions.BusyLoadingError as error:
            # redis-py takes it for a connection error and has closed the connection.
            return error_reply(error)

    def usable(self) -> bool:
        """Tell whether the connection is still open and no stray reply waits in it."""
        try:
            return not self.connection.can_read()
        except (redis.RedisError, OSError):
            return False

    def restore(self) -> None:
        """Make the connection what the pool expects to get back."""


class SocketLink(Link):
    """A leased connection whose socket we drive: two system calls for an exchange, and no more.

    A Python socket with a timeout is a non-blocking one that is polled before each call. The kernel keeps timeouts for
    blocking sockets at no cost, so those are used where the socket is a plain one.
    """

    def __init__(self, connection: Connection, sock: socket.socket) -> None:
        super().__init__(connection)
        self._sock = sock
        reader = _wire.new_reader()
        self._buffer = bytearray(_READ_SIZE)
        self._send, self._receive, self._feed, self._gets = sock.send, sock.recv_into, reader.feed, reader.gets
        self._timeout = connection.socket_timeout
        # An SSL socket polls by itself whatever the kernel's timeout says, and so does one of gevent or eventlet, which
        # put their class in the place of this one.
        self._in_kernel = _KERNEL_TIMEOUTS and type(sock) is socket.socket and type(sock).__module__ == "socket"
        if self._in_kernel:
            sock.settimeout(None)
        self._limit(self._timeout)

    def ask(
        self, commands: Sequence[Command], blocks_for: float | None = None, within: float | None = None
    ) -> Sequence[Reply]:
        """Send commands in one write and give one reply for each; see `Link.ask`."""
        sent = False
        answers: list[Reply] = []
        special = blocks_for is not None or within is not None
        limit, ends_at = None, math.inf
        try:
            if special:
                limit = self._timeout
                if blocks_for is not None and limit is not None:
                    limit = None if blocks_for == 0 else blocks_for + limit
                if within is not None:
                    ends_at = time.monotonic() + within
                self._limit(limit, ends_at)
            data = packed(commands[0], self.known) if len(commands) == 1 else _wire.joined(commands, self.known)
            # The first send takes at least one byte, or nothing has left.
            count = self._send(data)
            sent = True
            if count < len(data):
                self._sock.sendall(memoryview(data)[count:])
            missing = len(commands)
            while missing:
                count = self._receive(self._buffer)
                if not count:
                    raise ConnectionResetError("the server closed the connection")
                self._feed(self._buffer, 0, count)
                while missing and (reply := self._gets()) is not NOT_ENOUGH:
                    if type(reply) is not PushNotification:
                        answers.append(reply)
                        missing -= 1
                if special and missing:
                    self._limit(limit, ends_at)  # a server that answers in drops gets no more time
            if special:
                self._limit(self._timeout)
        except BaseException as error:
            self.connection.disconnect()  # see Link.ask
            if isinstance(error, (OSError, *_wire.PROTOCOL_ERRORS)):
                raise Incomplete(_reason(error), sent=sent, answers=answers) from error
            raise
        return answers

    def restore(self) -> None:
        """Give the socket back the timeout that redis-py set."""
        self._sock.settimeout(self._timeout)

    def _limit(self, timeout: float | None, ends_at: float = math.inf) -> None:
        """Set how long a read or a write may take: `timeout`, and not beyond `ends_at` on the monotonic clock."""
        if ends_at != math.inf:
            left = max(0.0, ends_at - time.monotonic())
            timeout = left if timeout is None else min(timeout, left)
        if self._in_kernel:
            # 0 is "no timeout"; what is shorter than a microsecond must not become that.
            microseconds = 0 if timeout is None else max(1, round(timeout * 1_000_000))
            value = struct.pack("ll", *divmod(microseconds, 1_000_000))
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)
        else:
            self._sock.settimeout(None if timeout is None else max(timeout, 1e-6))


class Leases:
    """The connections that a driver has from a pool: its transport.

    Any number of threads may use it at the same time; each exchange has a connection to itself.

    Parameters:
        pool: where they come from and go back to.
        clock: monotonic, in seconds.
        own: whether nobody else uses the pool, so that what goes back is closed.
    """

    def __init__(self, pool: Pool, clock: Callable[[], float], *, own: bool = False) -> None:
        self._pool = pool
        self._clock = clock
        self._own = own
        # Connections at rest, the latest used at the right. A deque's append and pop are atomic, so a connection is
        # one thread's as long as it is not in here, and no lock is needed.
        self._idle: deque[Link] = deque()
        self._review_at = clock() + _IDLE
        self._closed = False

    def ask(
        self, commands: Sequence[Command], blocks_for: float | None, within: float | None = None
    ) -> Sequence[Reply]:
        """Send commands in one write, on a connection that rests or on a new one, and give one reply for each.

        The way of every plan, so it is written for speed: what is rare is in methods of its own.

        Raises:
            Incomplete: some commands have no answer, or an error for one.
            CommandFailed: Redis refused the handshake of a new connection.
            DriverClosed: after `close`.
        """
        now = self._clock()
        if now >= self._review_at:
            self._review(now)
        if not commands:
            return ()
        link = None
        try:
            try:
                link = self._idle.pop()
            except IndexError:
                link = self._lease()
            if now - link.used_at > _FRESH and not link.usable():
                stale, link = link, None
                self._discard(stale)
                link = self._lease()
            answers = link.ask(commands, blocks_for, within)
        except BaseException:
            if link is not None:
                self._discard(link)
            raise
        for answer in answers:
            if type(answer) is ErrorReply:
                self._settle(link, answers)
                raise Incomplete(answers=answers)
        link.used_at = now
        self._idle.append(link)
        if self._closed:
            self._give_all_back()
        return answers

    def close(self) -> None:
        """Give the connections back that rest, and from now on each as soon as it does."""
        self._closed = True
        self._review_at = -math.inf
        self._give_all_back()

    def forget(self) -> None:
        """Forget all connections without a word to the server: after a fork they are the parent's."""
        self._idle = deque()
        # Another thread of the parent's may have had them, and no thread is here to give them back.
        for name in ("_lock", "_fork_lock"):
            if hasattr(self._pool, name):
                setattr(self._pool, name, threading.RLock())

    def _lease(self) -> Link:
        """Take a connection out of the pool, connected, and neither closed nor dirty."""
        try:
            connection = self._pool.get_connection()
        except (redis.RedisError, OSError) as error:
            raise not_connected(error) from error
        except BaseException:
            # Such as a signal's handler that raises: redis-py has put the connection back, open, and maybe in the
            # middle of its handshake, whose replies the next one would take for its own.
            self._pool.disconnect(inuse_connections=False)
            raise
        try:
            # redis-py 8 leaves this check out under RESP3, where stray data may be a push; a reply that its last user
            # left behind would then be taken for the next one's. What waits there is nobody's: a new connection.
            if connection.can_read():
                connection.disconnect()
                connection.connect()
            sock: object = getattr(connection, "_sock", None)
            link = SocketLink(connection, sock) if isinstance(sock, socket.socket) else Link(connection)
        except BaseException as error:
            connection.disconnect()
            self._pool.release(connection)
            if isinstance(error, (redis.RedisError, OSError)):
                raise not_connected(error) from error
            raise
        link.used_at = self._clock()
        return link

    def _settle(self, link: Link, answers: Sequence[Reply]) -> None:
        """Keep a connection after errors, or close it if they say that it leads to the wrong server."""
        codes = {answer.code for answer in answers if isinstance(answer, ErrorReply)}
        if codes & {"READONLY", "MASTERDOWN"}:
            # A primary that was demoted: the pool has to look anew for the one that took over.
            self._discard(link)
            return
        if "NOSCRIPT" in codes:
            link.known.clear()
        self._idle.append(link)

    def _discard(self, link: Link) -> None:
        """Close a connection and return it to its pool, which opens it again for its next user."""
        link.connection.disconnect()
        self._pool.release(link.connection)

    def _review(self, now: float) -> None:
        """Every so often, give back connections that nobody has needed for a while."""
        if self._closed:
            raise DriverClosed("the driver is closed")
        self._review_at = now + _IDLE
        # The latest used are at the right, so the first that is not old ends it; one always stays.
        with contextlib.suppress(IndexError):
            while len(self._idle) > 1 and now - self._idle[0].used_at > _IDLE:
                self._give_back(self._idle.popleft())

    def _give_all_back(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._give_back(self._idle.pop())

    def _give_back(self, link: Link) -> None:
        try:
            if self._own or not link.usable():
                link.connection.disconnect()
            else:
                link.restore()
        except OSError:  # it was closed meanwhile, by who has the pool
            link.connection.disconnect()
        finally:
            self._pool.release(link.connection)


def error_reply(error: Exception) -> ErrorReply:
    """Give the reply that redis-py made an exception of, its code included."""
    message = str(error)
    code: object = getattr(error, "status_code", None) or _CODES.get(type(error))
    if not isinstance(code, str):
        # redis-py has cut it off where it knows no class for it: that is the plain ERR.
        code = "" if _CODE.match(message) else "ERR"
    return ErrorReply.parse(message if not code or message.startswith(f"{code} ") else f"{code} {message}")


def not_connected(error: Exception) -> Incomplete | CommandFailed:
    """Give the outcome of an attempt for which redis-py made no connection."""
    # Some refusals of the handshake are connection errors in redis-py. A password that is wrong stays wrong, so those
    # are the caller's; a server that is loading, or full, may have room in a moment.
    # redis.asyncio makes a connection error of some that are final, and keeps them as its cause.
    final = (redis.ResponseError, redis.AuthenticationError)
    if isinstance(error.__cause__, final):
        error = error.__cause__
    if isinstance(error, final):
        reply = error_reply(error)
        return CommandFailed("connect", reply.code, reply.message)
    return Incomplete(_reason(error), sent=False)


def _reason(error: BaseException) -> str:
    if isinstance(error, BlockingIOError | TimeoutError):
        return "timed out"
    return str(error) or type(error).__name__
