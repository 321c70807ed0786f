"""The transport of the native drivers: one connection that all tasks share.

What is here is the same for asyncio and trio: dialling, once for all who wait, with backoff; the bound on what is under
way; connections of their own for plans that block; closing. How a connection reads, writes and wakes is its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import anyio
import anyio.lowlevel

from redis_patterns._address import Address
from redis_patterns._transport import Sent, Task
from redis_patterns._wire import Wire
from redis_patterns_core import replies
from redis_patterns_core.errors import CommandFailed, DriverClosed, Unreachable
from redis_patterns_core.plan import Command
from redis_patterns_core.replies import ErrorReply, Reply
from redis_patterns_core.retry import Backoff, Incomplete

MOST_REQUESTS = 4096
"""Requests under way on the shared connection; further callers wait. Some 2 MB of futures and answers."""

MOST_BYTES = 8 * 2**20
"""Bytes queued while the socket takes no more; further callers wait."""

BLOCKING_CONNECTIONS = 512
"""Connections for plans that block; further ones wait for their turn. A process may have 1024 open files by default."""

IDLE = 30.0
"""Seconds for which a connection of a plan that blocked is kept for the next one."""

LAST_LOOK = 0.1
"""Seconds in which nothing has come, before a reply that is due is taken to be late.

Where this process stood still, replies wait in the socket, and more of them at the server, which could not send them.
"""

_BACKOFF = Backoff()


class Connection(ABC):
    """A connection that many tasks share.

    Parameters:
        timeout: seconds for a reply, ``None`` for no limit.
    """

    def __init__(self, timeout: float | None) -> None:
        self.wire: Wire[Any] = Wire()
        self.timeout = timeout
        self.usable: bool = True
        """Whether it takes requests: until it fails, or its server turns out to be the wrong one."""
        self.on_progress: Callable[[], None] = _nothing
        """Called when requests were answered, or the connection has failed."""

    @property
    def full(self) -> bool:
        """Whether callers should wait before they ask for more."""
        return len(self.wire) >= MOST_REQUESTS or self.wire.bytes_queued >= MOST_BYTES

    @abstractmethod
    async def exchange(self, commands: Sequence[Command], trace: list[Sent] | None = None) -> Sequence[Reply]:
        """Send commands and wait for their replies; a caller that is cancelled disturbs nobody.

        Raises:
            Incomplete: the connection failed.
        """

    @abstractmethod
    def fail(self, reason: str) -> None:
        """Close at once; all requests on their way end as `Incomplete`."""

    @abstractmethod
    async def wait_closed(self) -> None:
        """Wait until the socket is closed."""

    def limit(self, timeout: float | None) -> None:
        """Set how long a reply may take, in seconds, from now on; ``None`` for no limit."""
        self.timeout = timeout

    def retire(self) -> None:
        """Take no more requests, and close when those on their way are answered."""
        self.usable = False
        if not self.wire:
            self.fail("the connection was retired")


class Multiplexer:
    """Carries the commands of any number of tasks over one connection, and opens it again when it was lost.

    Parameters:
        open_connection: opens a connection that the server has welcomed; raises `Incomplete` or `CommandFailed`.
        start: runs a function in a task of the driver.
        clock: monotonic, in seconds.
        blocking_connections: how many plans that block may be under way, each on a connection of its own.
    """

    def __init__(
        self,
        open_connection: Callable[[], Awaitable[Connection]],
        start: Callable[[Callable[[], Awaitable[None]], str], Task],
        clock: Callable[[], float],
        blocking_connections: int = BLOCKING_CONNECTIONS,
    ) -> None:
        self._open = open_connection
        self._start = start
        self._clock = clock
        self._connection: Connection | None = None
        self._dialled: anyio.Event | None = None
        self._dial_task: Task | None = None
        self._refusal: Exception | None = None
        self._failures = 0
        self._not_before = 0.0
        self._waiting: deque[anyio.Event] = deque()
        self._resting: deque[tuple[float, Connection]] = deque()
        self._resting_task: Task | None = None
        self._blocking: set[Connection] = set()
        self._most_blocking = blocking_connections
        self._turns = anyio.Semaphore(blocking_connections)
        self._closed = False
        self._loop: object = None

    async def ask(
        self, commands: Sequence[Command], blocks_for: float | None, trace: list[Sent] | None = None
    ) -> Sequence[Reply]:
        """Send commands in one write and give one reply for each; see `Transport`."""
        if blocks_for is not None:
            return await self._ask_alone(commands, blocks_for, trace)
        if not commands:
            return ()
        connection = self._connection
        while connection is None or not connection.usable or self._waiting or connection.full:
            connection = await self._connected()
            if connection.full or self._waiting:
                await self._room()
                # Woken in its turn; whoever came later waits behind.
                if connection.usable and not connection.full:
                    break
        answers = await connection.exchange(commands, trace)
        for answer in answers:
            if type(answer) is ErrorReply:
                self._settle(connection, answers)
                raise Incomplete(answers=answers)
        return answers

    async def close(self, grace: float) -> None:
        """Take no more, wait up to `grace` seconds for the answers that are due, then close all connections."""
        self._check_loop()
        self._closed = True
        if self._dial_task is not None:
            await self._dial_task.stop()
        for connection in self._blocking:
            connection.fail("the driver was closed")
        if self._resting_task is not None:
            await self._resting_task.stop()
        connections = [connection for _, connection in self._resting]
        if self._connection is not None:
            connections.append(self._connection)
        for connection in connections:
            connection.retire()
        self._make_room()
        with anyio.move_on_after(grace):
            for connection in connections:
                await connection.wait_closed()
        for connection in connections:
            connection.fail("the driver was closed")
            await connection.wait_closed()

    def _check_loop(self) -> None:
        """Refuse another event loop than the first; a connection that is open refuses it by itself."""
        loop = anyio.lowlevel.current_token()
        if self._loop is None:
            self._loop = loop
        elif self._loop != loop:
            raise RuntimeError("a driver serves one event loop; make another driver for another loop")

    # The shared connection

    async def _connected(self) -> Connection:
        """Give the connection, dialled once for all who wait for it."""
        self._check_loop()
        while True:
            if self._closed:
                raise DriverClosed("the driver is closed")
            if self._connection is not None and self._connection.usable:
                return self._connection
            if self._dialled is None:
                self._dialled = anyio.Event()
                try:
                    self._dial_task = self._start(self._dial, "dial")
                except DriverClosed:
                    self._dialled = None  # trio's driver outside its block, which may begin yet
                    raise
            dialled = self._dialled
            await dialled.wait()
            if self._refusal is not None:
                # An exception of one's own for each: a shared one would gather all their tracebacks.
                refusal = self._refusal
                if isinstance(refusal, CommandFailed):
                    raise CommandFailed(refusal.plan, refusal.code, refusal.message)
                if isinstance(refusal, Incomplete):
                    raise Incomplete(refusal.reason) from refusal.__cause__
                raise RuntimeError("opening a connection failed") from refusal

    async def _dial(self) -> None:
        """Open the shared connection, not before the backoff allows it, and tell all who wait."""
        dialled = self._dialled
        try:
            await anyio.sleep(max(0.0, self._not_before - self._clock()))
            connection = await self._open()
        except Exception as error:  # noqa: BLE001  raised again where somebody waits for the connection
            self._failures += 1
            self._not_before = self._clock() + _BACKOFF.delay(self._failures, random.random())
            self._refusal = error
        else:
            self._failures = 0
            self._refusal = None
            connection.on_progress = self._make_room
            self._connection = connection
        finally:
            self._dialled = self._dial_task = None
            if dialled is not None:
                dialled.set()

    def _settle(self, connection: Connection, answers: Sequence[Reply]) -> None:
        """Keep a connection after errors, or retire it if they say that it leads to the wrong server."""
        codes = {answer.code for answer in answers if isinstance(answer, ErrorReply)}
        if codes & {"READONLY", "MASTERDOWN"}:
            connection.retire()
        if "NOSCRIPT" in codes:
            connection.wire.known.clear()

    async def _room(self) -> None:
        """Wait, in order of arrival, until the connection is not full any more, or gone."""
        turn = anyio.Event()
        self._waiting.append(turn)
        try:
            await turn.wait()
        except BaseException:
            if turn in self._waiting:
                self._waiting.remove(turn)
            else:
                self._make_room()  # it was ours already; the next one's now
            raise

    def _make_room(self) -> None:
        connection = self._connection
        if not self._waiting:
            return
        if connection is None or not connection.usable:
            count = len(self._waiting)
        else:
            count = 0 if connection.full else MOST_REQUESTS - len(connection.wire)
        for _ in range(min(count, len(self._waiting))):
            self._waiting.popleft().set()

    # Connections for plans that block

    async def _turn(self, blocks_for: float) -> None:
        """Wait for a turn to block, first come, first served, for no longer than the plan would wait at the server.

        Raises:
            Unreachable: all were taken for so long.
        """
        try:
            self._turns.acquire_nowait()
            return
        except anyio.WouldBlock:
            pass
        with anyio.move_on_after(blocks_for or None):
            await self._turns.acquire()
            return
        # Not as Incomplete: who has waited for as long as the plan may wait does not try it again.
        raise Unreachable(
            "connect", f"all {self._most_blocking} connections for plans that block were in use for {blocks_for:g} s"
        )

    async def _ask_alone(
        self, commands: Sequence[Command], blocks_for: float, trace: list[Sent] | None
    ) -> Sequence[Reply]:
        self._check_loop()
        await self._turn(blocks_for)
        try:
            if self._closed:
                raise DriverClosed("the driver is closed")
            connection = None
            while self._resting and connection is None:
                _, resting = self._resting.pop()  # the last one, so that those that are too many grow idle
                connection = resting if resting.usable else None
            if connection is None:
                connection = await self._open()
            timeout = connection.timeout
            connection.limit(None if blocks_for == 0 or timeout is None else blocks_for + timeout)
            self._blocking.add(connection)
            try:
                answers = await connection.exchange(commands, trace)
            except BaseException:
                # Closed before the caller goes on, so that the server soon forgets it: until then it gives to nobody
                # what is pushed.
                connection.fail("the caller has left")
                with anyio.CancelScope(shield=True):
                    await connection.wait_closed()
                raise
            finally:
                self._blocking.discard(connection)
                connection.limit(timeout)
            if self._closed:
                connection.fail("the driver was closed")
            else:
                self._resting.append((self._clock(), connection))
                if self._resting_task is None:
                    self._resting_task = self._start(self._retire_idle, "idle connections")
        finally:
            self._turns.release()
        if any(type(answer) is ErrorReply for answer in answers):
            self._settle(connection, answers)
            raise Incomplete(answers=answers)
        return answers

    async def _retire_idle(self) -> None:
        """Close connections that have rested for long, the longest first, until none rests."""
        while self._resting:
            seconds = self._resting[0][0] + IDLE - self._clock()
            if seconds > 0:
                await anyio.sleep(seconds)
            else:
                self._resting.popleft()[1].retire()
        self._resting_task = None


async def greeted(address: Address, open_socket: Callable[[Address], Awaitable[Connection]]) -> Connection:
    """Open a connection and greet the server.

    Parameters:
        address: the server.
        open_socket: opens a connection to it, TLS included; raises ``OSError``.

    Raises:
        Incomplete: no connection in time, or the server is not ready.
        CommandFailed: the server refused the password, the database or such.
    """
    connection = None
    try:
        with anyio.fail_after(address.socket_connect_timeout):
            connection = await open_socket(address)
            greeting = address.greet()
            commands = next(greeting)
            with contextlib.suppress(StopIteration):
                while True:
                    commands = greeting.send(await connection.exchange(commands))
    except BaseException as error:
        if connection is not None:
            connection.fail("the connection could not be set up")
        if isinstance(error, TimeoutError):
            raise Incomplete(f"{address}: timed out") from error
        if isinstance(error, OSError):
            raise Incomplete(f"{address}: {error}") from error
        if isinstance(error, Incomplete):
            raise Incomplete(f"{address}: {error.reason}") from error
        raise
    return connection


async def greeted_primary(
    address: Address,
    sentinels: Sequence[Address],
    service_name: str,
    open_socket: Callable[[Address], Awaitable[Connection]],
) -> Connection:
    """Ask Sentinels for the primary, open a connection to it and greet it.

    Parameters:
        address: the primary's, but for host and port.
        sentinels: the first that answers is believed.
        service_name: what they call the primary.
        open_socket: as for `greeted`.

    Raises:
        Incomplete, CommandFailed: as `greeted`, or no Sentinel knows the primary, or it is none yet.
    """
    reason = ""
    for sentinel in sentinels:
        try:
            asked = await greeted(sentinel, open_socket)
            try:
                (reply,) = await asked.exchange([Command(("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service_name))])
            finally:
                asked.fail("the Sentinel has answered")
            if not isinstance(reply, list):
                reason = f"{sentinel}: knows no primary called {service_name}"
                continue
            host, port = replies.array(cast("Reply", reply), 2)
            connection = await greeted(
                dataclasses.replace(address, path=None, host=replies.text(host), port=int(replies.text(port))),
                open_socket,
            )
        except (Incomplete, CommandFailed) as error:
            reason = str(error)
            continue
        # A Sentinel may not have noticed yet, and a primary that was demoted still answers.
        try:
            role = (await connection.exchange([Command(("ROLE",))]))[0]
        except BaseException:
            connection.fail("its role was not told")
            raise
        if isinstance(role, ErrorReply) or replies.array(role)[0] == b"master":
            return connection
        connection.fail("it is no primary")
        reason = f"{host!r}:{port!r} is no primary"
    raise Incomplete(f"no Sentinel leads to the primary {service_name}: {reason}")


def _nothing() -> None:
    pass
