"""The sync driver's transport for Redis Cluster, on the node pools of a redis-py cluster client."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import redis
from redis.exceptions import RedisClusterException

from redis_patterns._redis_py import Leases, not_connected
from redis_patterns_core.cluster import Journey, Leg, Node, Topology, no_slots
from redis_patterns_core.errors import CommandFailed, DriverClosed, PatternsError
from redis_patterns_core.plan import Command
from redis_patterns_core.replies import Reply
from redis_patterns_core.retry import Incomplete

_SLOTS = (Command(("CLUSTER", "SLOTS")),)
_NOT_CONNECTED = (redis.RedisError, RedisClusterException, OSError)
_FRESH = 1.0
"""Seconds for which the map of slots is not read again only because something has moved: the move itself is noted."""


class ClusterLeases:
    """The connections that a driver has from the pools of a cluster client's nodes.

    A plan whose commands belong to several nodes goes to all of them at the same time.

    Parameters:
        client: gives the ``redis.RedisCluster``, which connects when it is made; called once.
        clock: monotonic, in seconds.
        own: whether nobody else uses the client.
    """

    def __init__(self, client: Callable[[], Any], clock: Callable[[], float], *, own: bool = False) -> None:
        self._client = client
        self._own = own
        self._clock = clock
        self._made: Any = None
        self._failed: set[Node] = set()
        self._nodes: dict[Node, Leases] = {}
        self._topology = Topology([])
        self._topology.stale = True
        self._read_at = clock() - _FRESH
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._closed = False

    def ask(
        self, commands: Sequence[Command], blocks_for: float | None, within: float | None = None
    ) -> Sequence[Reply]:
        """Send each command to the node of its slot, and give one reply for each; see `Leases.ask`.

        Raises:
            ConfigurationError: a command whose keys are in different slots; nothing was sent.
        """
        if self._closed:
            raise DriverClosed("the driver is closed")
        journey = Journey(commands)
        topology = self._current()
        while legs := journey.legs(topology):
            if len(legs) == 1:
                journey.landed(legs[0], self._go(legs[0], blocks_for, within), topology)
            else:
                going = [self._pool().submit(self._go, leg, blocks_for, within) for leg in legs]
                for leg, gone in zip(legs, going, strict=True):
                    journey.landed(leg, gone.result(), topology)
        return journey.answers()

    def close(self) -> None:
        """Give all connections back."""
        self._closed = True
        if self._threads is not None:
            self._threads.shutdown()
        for leases in self._nodes.values():
            leases.close()

    @property
    def client(self) -> Any:
        """The cluster client, ``None`` before it was needed."""
        return self._made

    def forget(self) -> None:
        """Forget all connections and threads without a word to the servers: after a fork they are the parent's."""
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._threads = None
        for leases in self._nodes.values():
            leases.forget()

    def _go(self, leg: Leg, blocks_for: float | None, within: float | None) -> Incomplete:
        try:
            answers = self._leases(leg.node).ask(leg.commands, blocks_for, within)
        except Incomplete as attempt:
            if len(attempt.answers) < len(leg.commands):
                self._failed.add(leg.node)
            return attempt
        self._failed.discard(leg.node)
        return Incomplete(answers=answers)

    def _leases(self, node: Node) -> Leases:
        leases = self._nodes.get(node)
        if leases is None:
            with self._lock:
                leases = self._nodes.get(node)
                if leases is None:
                    leases = self._nodes[node] = Leases(self._pool_of(node), self._clock, own=self._own)
        return leases

    def _pool_of(self, node: Node) -> Any:
        found = self._made.get_node(host=node.host, port=node.port)
        if found is None:
            try:
                # redis-py's own list; its pools stay as they are, our leases are among their connections.
                self._made.nodes_manager.initialize(disconnect_startup_nodes_pools=False)
            except _NOT_CONNECTED as error:
                raise not_connected(error) from error
            found = self._made.get_node(host=node.host, port=node.port)
        if found is None:
            raise Incomplete(f"{node}: a node that the cluster does not list")
        return self._made.get_redis_connection(found).connection_pool

    def _pool(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(32, "redis-patterns-cluster")
            return self._threads

    def _current(self) -> Topology:
        """Give the map of slots, read anew where it has become doubtful."""
        topology = self._topology
        if not topology.stale or (topology.nodes and self._clock() - self._read_at < _FRESH):
            return topology
        with self._reading:
            if self._topology is topology:  # or another thread has just read it
                self._topology = self._read(topology)
                self._read_at = self._clock()
        return self._topology

    def _read(self, known: Topology) -> Topology:
        if self._made is None:
            try:
                self._made = self._client()
            except _NOT_CONNECTED as error:
                raise not_connected(error) from error
        nodes = [*known.nodes, *(Node(node.host, int(node.port)) for node in self._made.get_nodes())]
        failure: Exception | None = None
        for node in sorted(dict.fromkeys(nodes), key=self._failed.__contains__):
            try:
                (reply,) = self._leases(node).ask(_SLOTS, None)
                return Topology.parse(reply, node)
            except (Incomplete, PatternsError) as error:
                self._failed.add(node)
                failure = no_slots(error) if isinstance(error, Incomplete) else error
        if isinstance(failure, CommandFailed):
            raise failure
        raise Incomplete(f"no node of the cluster answers: {failure}") from failure
