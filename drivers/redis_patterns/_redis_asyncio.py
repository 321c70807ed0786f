"""Connections of a redis.asyncio client, used without redis-py's own way of running commands.

redis-py dials, authenticates, speaks TLS and finds a Sentinel's primary; from then on the connection's transport is
ours, and all tasks share it. Where there is no transport to take over (fakeredis), tasks take turns on the connection.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, cast

import redis
from redis.exceptions import RedisClusterException

from redis_patterns._asyncio import SharedConnection
from redis_patterns._multiplex import Connection
from redis_patterns._redis_py import error_reply, not_connected
from redis_patterns._transport import Sent
from redis_patterns._wire import packed
from redis_patterns_core.cluster import Node
from redis_patterns_core.plan import Command
from redis_patterns_core.replies import Reply
from redis_patterns_core.retry import Incomplete


class RedisConnection(Protocol):
    """What we use of a redis.asyncio connection."""

    @property
    def socket_timeout(self) -> float | None: ...

    async def connect(self) -> None: ...
    async def disconnect(self, nowait: bool = False) -> None: ...
    async def send_packed_command(self, command: Sequence[bytes], check_health: bool = True) -> None: ...
    async def read_response(self, disable_decoding: bool = False, timeout: float | None = None) -> Reply: ...


class Pool(Protocol):
    """What we use of a redis.asyncio connection pool."""

    @property
    def max_connections(self) -> int: ...

    async def get_connection(self) -> RedisConnection: ...
    async def release(self, connection: RedisConnection) -> None: ...


class ClusterClient:
    """A ``redis.asyncio.RedisCluster``: where its nodes are, and their connections.

    Parameters:
        client: the user's.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    async def nodes(self) -> list[Node]:
        """Give the nodes that it knows.

        Raises:
            Incomplete: it cannot reach any.
        """
        before = _cancellations()
        try:
            await self._client.initialize()
        except (redis.RedisError, RedisClusterException, OSError) as error:
            raise not_connected(error) from error
        await _go_on_unless_cancelled(before)
        return [Node(node.host, int(node.port)) for node in self._client.get_nodes()]

    def pool(self, node: Node) -> Pool:
        """Give the connections of a node."""
        return _NodePool(self._client, node)


class _NodePool:
    def __init__(self, client: Any, node: Node) -> None:
        self._client = client
        self._node = node
        self._found: Any = None

    @property
    def max_connections(self) -> int:
        node = self._client.get_node(host=self._node.host, port=self._node.port)
        return sys.maxsize if node is None else int(node.max_connections)

    async def get_connection(self) -> RedisConnection:
        host, port = self._node.host, self._node.port
        self._found = self._client.get_node(host=host, port=port)
        if self._found is None:
            await self._client.nodes_manager.initialize()
            self._found = self._client.get_node(host=host, port=port)
        if self._found is None:
            raise redis.ConnectionError(f"{self._node}: a node that the cluster does not list")
        connection = self._found.acquire_connection()
        try:
            await connection.connect()
        except BaseException:
            self._found.release(connection)
            raise
        return cast("RedisConnection", connection)

    async def release(self, connection: RedisConnection) -> None:
        self._found.release(connection)


async def take_over(pool: Pool, start: Callable[[Callable[[], Awaitable[None]], str], object]) -> Connection:
    """Lease a connection from a pool, connected, and neither closed nor dirty, and take it over.

    Parameters:
        pool: where it comes from and, closed, goes back to.
        start: runs a function in a task of a name.

    Raises:
        Incomplete: none could be had.
        CommandFailed: Redis refused the handshake, such as a wrong password.
    """
    before = _cancellations()
    try:
        connection = await pool.get_connection()
    except (redis.RedisError, OSError) as error:
        raise not_connected(error) from error

    async def give_back() -> None:
        await connection.disconnect(nowait=True)
        await pool.release(connection)

    try:
        # See the sync driver's leases. Before redis-py 8 the same had another name.
        name = "can_read" if hasattr(connection, "can_read") else "can_read_destructive"
        if await getattr(connection, name)():
            await connection.disconnect(nowait=True)
            await connection.connect()
        await _go_on_unless_cancelled(before)
    except BaseException as error:
        start(give_back, "give back")
        if isinstance(error, (redis.RedisError, OSError)):
            raise not_connected(error) from error
        raise
    writer: object = getattr(connection, "_writer", None)
    if not isinstance(writer, asyncio.StreamWriter):
        return TurnByTurn(connection, lambda: start(give_back, "give back"))
    shared = SharedConnection(connection.socket_timeout)
    theirs = writer.transport.get_protocol()

    def closed() -> None:
        theirs.connection_lost(None)  # or who closes the client waits for that in vain
        start(give_back, "give back")

    shared.on_closed = closed
    writer.transport.set_protocol(shared)
    shared.connection_made(writer.transport)
    return shared


def _cancellations() -> int:
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


async def _go_on_unless_cancelled(before: int) -> None:
    """Be cancelled after all, where redis-py has lost that: before Python 3.12 ``asyncio.wait_for`` does.

    It takes a cancellation for done that comes in the same turn of the loop as what it waits for.

    Parameters:
        before: how often the task had been cancelled when redis-py began.

    Raises:
        CancelledError: the task has been cancelled since.
    """
    if _cancellations() > before:
        # That of a scope of anyio comes again by itself, and is known by its message: let it.
        for _ in range(2):
            await asyncio.sleep(0)
        raise asyncio.CancelledError


class TurnByTurn(Connection):
    """A connection that tasks use one after another, through redis-py's methods.

    Parameters:
        connection: connected, and neither closed nor dirty.
        on_closed: called once when it is closed.
    """

    def __init__(self, connection: RedisConnection, on_closed: Callable[[], object]) -> None:
        super().__init__(connection.socket_timeout)
        self._connection = connection
        self._on_closed = on_closed
        self._turn = asyncio.Lock()

    async def exchange(self, commands: Sequence[Command], trace: list[Sent] | None = None) -> Sequence[Reply]:
        """Send commands and wait for their replies."""
        before = _cancellations()
        attempt = Incomplete("the connection was closed")
        if trace is not None:
            trace.append(attempt)
        async with self._turn:
            if not self.usable:
                raise attempt
            answers: list[Reply] = []
            attempt.answers = answers
            try:
                data = [packed(command, self.wire.known) for command in commands]
                attempt.sent = True
                await self._connection.send_packed_command(data, check_health=False)
                while len(answers) < len(commands):
                    answers.append(await self._read())
            except BaseException as error:
                self.fail("an exchange was cut short")
                if isinstance(error, (redis.RedisError, OSError)):
                    attempt.reason = str(error)
                    raise attempt from error
                raise
        # redis-py writes through asyncio.wait_for: who waits for a cancelled task to end would wait for ever.
        await _go_on_unless_cancelled(before)
        return answers

    async def _read(self) -> Reply:
        # The infinite timeout is redis-py's way to say none; None would be the client's own.
        timeout = float("inf") if self.timeout is None else self.timeout
        try:
            return await self._connection.read_response(disable_decoding=True, timeout=timeout)
        except redis.ResponseError as error:
            return error_reply(error)

    def fail(self, reason: str) -> None:
        """Close at once."""
        del reason
        if self.usable:
            self.usable = False
            self._on_closed()
        self.on_progress()

    def retire(self) -> None:
        """Take no more requests; whoever has the turn ends it."""
        self.fail("the connection was retired")

    async def wait_closed(self) -> None:
        """Wait for whoever has the turn."""
        async with self._turn:
            pass
