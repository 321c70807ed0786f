"""The native drivers' transport for Redis Cluster: a shared connection for each node."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Sequence

import anyio

from redis_patterns._address import Address, Target
from redis_patterns._multiplex import BLOCKING_CONNECTIONS, Connection, Multiplexer, greeted, greeted_primary
from redis_patterns._transport import Sent, Task
from redis_patterns_core import validate
from redis_patterns_core.cluster import Journey, Leg, Node, Topology, no_slots
from redis_patterns_core.errors import CommandFailed, DriverClosed, PatternsError
from redis_patterns_core.plan import Command
from redis_patterns_core.replies import Reply
from redis_patterns_core.retry import Incomplete

_SLOTS = (Command(("CLUSTER", "SLOTS")),)
_FRESH = 1.0
"""Seconds for which the map of slots is not read again only because something has moved: the move itself is noted."""


def transport_to(
    target: Target,
    open_socket: Callable[[Address], Awaitable[Connection]],
    start: Callable[[Callable[[], Awaitable[None]], str], Task],
    clock: Callable[[], float],
    blocking_connections: int = BLOCKING_CONNECTIONS,
) -> Multiplexer | Cluster:
    """Make the transport to a server, to a primary that Sentinels know, or to a cluster.

    Raises:
        ConfigurationError: a URL or an option that is not allowed.
    """
    validate.integer("blocking_connections", blocking_connections, least=1)
    address = target.address
    if target.cluster:

        async def seeds() -> Sequence[Node]:
            return [Node(address.host, address.port)]

        def make(node: Node) -> Multiplexer:
            there = dataclasses.replace(address, path=None, host=node.host, port=node.port)
            return Multiplexer(lambda: greeted(there, open_socket), start, clock, blocking_connections)

        return Cluster(seeds, make, clock)
    if target.sentinels:
        sentinels = target.sentinel_addresses()
        name = target.service_name
        return Multiplexer(
            lambda: greeted_primary(address, sentinels, name, open_socket), start, clock, blocking_connections
        )
    return Multiplexer(lambda: greeted(address, open_socket), start, clock, blocking_connections)


class Cluster:
    """Carries commands to the nodes of a cluster.

    A plan whose commands belong to several nodes goes to all of them at the same time.

    Parameters:
        seeds: gives nodes to begin with.
        make: makes the transport to a node.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        seeds: Callable[[], Awaitable[Sequence[Node]]],
        make: Callable[[Node], Multiplexer],
        clock: Callable[[], float],
    ) -> None:
        self._seeds = seeds
        self._make = make
        self._clock = clock
        self._nodes: dict[Node, Multiplexer] = {}
        self._failed: set[Node] = set()
        self._topology = Topology([])
        self._topology.stale = True
        self._read_at = clock() - _FRESH
        self._reading: anyio.Lock | None = None
        self._closed = False

    async def ask(
        self, commands: Sequence[Command], blocks_for: float | None, trace: list[Sent] | None = None
    ) -> Sequence[Reply]:
        """Send each command to the node of its slot, and give one reply for each; see `Transport`.

        Raises:
            ConfigurationError: a command whose keys are in different slots; nothing was sent.
        """
        journey = Journey(commands)
        topology = await self._current()
        while legs := journey.legs(topology):
            if len(legs) == 1:
                journey.landed(legs[0], await self._go(legs[0], blocks_for, trace), topology)
                continue
            outcomes = await self._go_together(legs, blocks_for, trace)
            for leg, outcome in zip(legs, outcomes, strict=True):
                journey.landed(leg, outcome, topology)
        return journey.answers()

    async def close(self, grace: float) -> None:
        """Take no more, wait up to `grace` seconds for the answers that are due, then close all connections."""
        self._closed = True
        ends_at = self._clock() + grace
        for node in self._nodes.values():
            await node.close(max(0.0, ends_at - self._clock()))

    async def _go_together(
        self, legs: Sequence[Leg], blocks_for: float | None, trace: list[Sent] | None
    ) -> list[Incomplete]:
        outcomes = [Incomplete() for _ in legs]
        failures: list[PatternsError] = []

        async def go(place: int) -> None:
            try:
                outcomes[place] = await self._go(legs[place], blocks_for, trace)
            except PatternsError as error:
                failures.append(error)

        async with anyio.create_task_group() as tasks:
            for place in range(1, len(legs)):
                tasks.start_soon(go, place)
            await go(0)
        if failures:
            raise failures[0]
        return outcomes

    async def _go(self, leg: Leg, blocks_for: float | None, trace: list[Sent] | None) -> Incomplete:
        try:
            answers = await self._node(leg.node).ask(leg.commands, blocks_for, trace)
        except Incomplete as attempt:
            if len(attempt.answers) < len(leg.commands):
                self._failed.add(leg.node)
            return attempt
        self._failed.discard(leg.node)
        return Incomplete(answers=answers)

    def _node(self, node: Node) -> Multiplexer:
        found = self._nodes.get(node)
        if found is None:
            if self._closed:
                raise DriverClosed("the driver is closed")
            found = self._nodes[node] = self._make(node)
        return found

    async def _current(self) -> Topology:
        """Give the map of slots, read anew where it has become doubtful, once for all who want it."""
        topology = self._topology
        if self._closed:
            raise DriverClosed("the driver is closed")
        if not topology.stale or (topology.nodes and self._clock() - self._read_at < _FRESH):
            return topology
        if self._reading is None:
            self._reading = anyio.Lock()
        async with self._reading:
            if self._topology is topology:
                self._topology = await self._read(topology)
                self._read_at = self._clock()
        return self._topology

    async def _read(self, known: Topology) -> Topology:
        failure: Exception | None = None
        nodes = dict.fromkeys([*known.nodes, *await self._seeds()])
        for node in sorted(nodes, key=self._failed.__contains__):
            try:
                (reply,) = await self._node(node).ask(_SLOTS, None)
                return Topology.parse(reply, node)
            except (Incomplete, PatternsError) as error:
                self._failed.add(node)
                failure = no_slots(error) if isinstance(error, Incomplete) else error
        if isinstance(failure, CommandFailed):
            raise failure
        raise Incomplete(f"no node of the cluster answers: {failure}") from failure
