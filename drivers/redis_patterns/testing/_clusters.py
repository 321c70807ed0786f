"""Clusters and Sentinels on loopback, from the program that `server` starts."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any

from redis_patterns.testing._server import Server, server
from redis_patterns_core import replies
from redis_patterns_core.plan import Argument, Command, Plan

__all__ = ["Cluster", "Sentinels", "cluster", "sentinels"]

_SLOTS = 16384
_HIGHEST_BUS_BASE = 55535
_ATTEMPTS = 40


class Cluster:
    """A running cluster; made by `cluster`.

    Parameters:
        nodes: its primaries, each with an equal share of the slots.
    """

    def __init__(self, nodes: list[Server]) -> None:
        self.nodes = nodes

    @property
    def url(self) -> str:
        """The URL of one of its nodes, for ``Driver.connect(url, cluster=True)``."""
        return self.nodes[0].tcp_url


class Sentinels:
    """A primary and a replica with their Sentinels; made by `sentinels`.

    Parameters:
        servers: the primary, then the replica.
        sentinels: those that watch them.
        service_name: what they call the primary.
    """

    def __init__(self, servers: list[Server], sentinels: list[Server], service_name: str) -> None:
        self.servers = servers
        self.sentinels = sentinels
        self.service_name = service_name

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Hosts and ports of the Sentinels, for ``Driver.connect(url, sentinels=..., service_name=...)``."""
        return [("127.0.0.1", sentinel.port) for sentinel in self.sentinels]

    @property
    def url(self) -> str:
        """The URL of the primary by way of its Sentinels, for ``Driver.connect(url)``."""
        hosts = ",".join(f"{host}:{port}" for host, port in self.addresses)
        return f"redis+sentinel://{hosts}/{self.service_name}"


@contextlib.contextmanager
def cluster(
    executable: str | os.PathLike[str] | None = None, *, size: int = 3, config: Mapping[str, str] | None = None
) -> Generator[Cluster, None, None]:
    """Run a cluster for a block of code.

    Parameters:
        executable: the program; see `find_server`.
        size: how many primaries.
        config: settings for all nodes, over the defaults.

    Returns:
        A context manager that gives the running `Cluster`.

    Raises:
        ServerNotFound: there is no program to run.
        RuntimeError: a node did not start, or they did not agree within half a minute.
    """
    settings = {"cluster-enabled": "yes", "cluster-node-timeout": "2000", "cluster-require-full-coverage": "no"}
    with contextlib.ExitStack() as stack:
        nodes = [_node(stack, executable, {**settings, **(config or {})}) for _ in range(size)]
        for number, node in enumerate(nodes):
            _ask(node, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            first, last = _SLOTS * number // size, _SLOTS * (number + 1) // size
            _ask(node, "CLUSTER", "ADDSLOTS", *range(first, last))
            _ask(node, "CLUSTER", "MEET", "127.0.0.1", nodes[0].port)

        def agreed() -> bool:
            wanted = (f"cluster_slots_ok:{_SLOTS}", "cluster_state:ok")
            said = [replies.text(_ask(node, "CLUSTER", "INFO")) for node in nodes]
            return all(fact in info for info in said for fact in wanted)

        _wait_until(agreed, "the nodes of the cluster did not agree")
        yield Cluster(nodes)


@contextlib.contextmanager
def sentinels(
    executable: str | os.PathLike[str] | None = None, *, password: str | None = None, size: int = 3
) -> Generator[Sentinels, None, None]:
    """Run a primary, a replica and Sentinels that watch them, for a block of code.

    A primary that dies is noticed after half a second.

    Parameters:
        executable: the program; see `find_server`.
        password: of the primary and the replica.
        size: how many Sentinels.

    Returns:
        A context manager that gives the running `Sentinels`; they call the primary ``mymaster``.

    Raises:
        ServerNotFound: there is no program to run.
        RuntimeError: a server did not start, or they did not find each other within half a minute.
    """
    secret = {"requirepass": password, "masterauth": password} if password else {}
    with contextlib.ExitStack() as stack:
        primary = stack.enter_context(server(executable, tcp=True, config=secret))
        following = {**secret, "replicaof": f"127.0.0.1 {primary.port}"}
        replica = stack.enter_context(server(executable, tcp=True, config=following))
        watching = [stack.enter_context(server(executable, tcp=True, sentinel=True)) for _ in range(size)]
        for sentinel in watching:
            _ask(sentinel, "SENTINEL", "MONITOR", "mymaster", "127.0.0.1", primary.port, size // 2 + 1)
            options = {"down-after-milliseconds": "500", "failover-timeout": "2000"}
            for name, value in {**options, **({"auth-pass": password} if password else {})}.items():
                _ask(sentinel, "SENTINEL", "SET", "mymaster", name, value)

        def ready() -> bool:
            for sentinel in watching:
                facts = dict(replies.pairs(_ask(sentinel, "SENTINEL", "MASTER", "mymaster")))
                found = facts[b"num-slaves"], facts[b"num-other-sentinels"], facts[b"flags"]
                if found != (b"1", str(size - 1).encode(), b"master"):
                    return False
            info = replies.text(_ask(replica, "INFO", "replication", password=password))
            return "master_link_status:up" in info

        _wait_until(ready, "the Sentinels did not find each other")
        yield Sentinels([primary, replica], watching, "mymaster")


def _node(stack: contextlib.ExitStack, executable: str | os.PathLike[str] | None, config: Mapping[str, str]) -> Server:
    # A node's bus listens 10,000 ports above its own, and not every free port leaves room for that.
    for _ in range(_ATTEMPTS):
        with contextlib.suppress(RuntimeError):
            return stack.enter_context(server(executable, config=config, tcp=True))
    raise RuntimeError(f"no free port up to {_HIGHEST_BUS_BASE} for a cluster's node, or it does not start")


def _ask(running: Server, *args: Argument, password: str | None = None) -> Any:
    from redis_patterns.sync import Driver  # noqa: PLC0415  only for who runs clusters

    with Driver.connect(running.url, password=password) as driver:
        return driver.run(Plan("testing", (Command(args),), lambda answers: answers[0]))


def _wait_until(condition: Callable[[], bool], otherwise: str) -> None:
    ends_at = time.monotonic() + 30
    while not condition():
        if time.monotonic() > ends_at:
            raise RuntimeError(otherwise)
        time.sleep(0.01)
