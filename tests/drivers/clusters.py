"""A Redis Cluster and a set of Sentinels on loopback, started from the program that the other tests use."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass

from redis_patterns.sync import Driver
from redis_patterns.testing import Server, server
from tests.drivers.plans import once, reads

SLOTS = 16384


def port_of(running: Server) -> int:
    return int(running.tcp_url.rpartition(":")[2])


def text_of(reply: object) -> str:
    assert isinstance(reply, bytes)
    return reply.decode()


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for what other processes do; they have no event for us."""
    ends_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends_at, "it took too long"
        time.sleep(0.01)


@dataclass
class RunningCluster:
    """Three primaries, each with a third of the slots."""

    nodes: list[Server]
    drivers: list[Driver]
    """One to each node, past all routing."""

    @property
    def url(self) -> str:
        return self.nodes[0].tcp_url

    def flush_scripts(self) -> None:
        for driver in self.drivers:
            driver.run(once("SCRIPT", "FLUSH"))

    def id(self, node: int) -> str:
        return text_of(self.drivers[node].run(reads("CLUSTER", "MYID")))

    def owner(self, slot: int) -> int:
        """Give the number of the node that has a slot."""
        for number, driver in enumerate(self.drivers):
            for line in text_of(driver.run(reads("CLUSTER", "NODES"))).splitlines():
                words = line.split()
                if "myself" in words[2]:
                    for part in words[8:]:
                        if part.startswith("["):
                            continue
                        first, _, last = part.partition("-")
                        if int(first) <= slot <= int(last or first):
                            return number
        raise AssertionError(f"nobody has slot {slot}")

    def start_moving(self, slot: int, to: int) -> None:
        """Open a slot for its keys to be moved one by one."""
        source = self.owner(slot)
        self.drivers[to].run(once("CLUSTER", "SETSLOT", slot, "IMPORTING", self.id(source)))
        self.drivers[source].run(once("CLUSTER", "SETSLOT", slot, "MIGRATING", self.id(to)))

    def move_key(self, key: str, slot: int, to: int) -> None:
        source = self.owner(slot)
        self.drivers[source].run(once("MIGRATE", "127.0.0.1", port_of(self.nodes[to]), key, 0, 5000))

    def finish_moving(self, slot: int, to: int) -> None:
        for driver in [self.drivers[to], *self.drivers]:
            driver.run(once("CLUSTER", "SETSLOT", slot, "NODE", self.id(to)))


def _node(stack: contextlib.ExitStack, config: Mapping[str, str]) -> Server:
    # The bus listens 10,000 ports above, and not every free port leaves room for that.
    for _ in range(20):
        with contextlib.suppress(RuntimeError):
            return stack.enter_context(server(config=config, tcp=True))
    raise RuntimeError("no free port for a cluster's node")


@contextlib.contextmanager
def cluster() -> Generator[RunningCluster]:
    """Run a cluster of three primaries."""
    config = {"cluster-enabled": "yes", "cluster-node-timeout": "2000", "cluster-require-full-coverage": "no"}
    with contextlib.ExitStack() as stack:
        nodes = [_node(stack, config) for _ in range(3)]
        drivers = [stack.enter_context(Driver.connect(node.url)) for node in nodes]
        for number, driver in enumerate(drivers):
            driver.run(once("CLUSTER", "SET-CONFIG-EPOCH", number + 1))
            first, last = SLOTS * number // 3, SLOTS * (number + 1) // 3
            driver.run(once("CLUSTER", "ADDSLOTS", *range(first, last)))
            driver.run(once("CLUSTER", "MEET", "127.0.0.1", port_of(nodes[0])))

        def agreed() -> bool:
            for driver in drivers:
                info = text_of(driver.run(reads("CLUSTER", "INFO")))
                if f"cluster_slots_ok:{SLOTS}" not in info or "cluster_state:ok" not in info:
                    return False
            return True

        wait_until(agreed)
        yield RunningCluster(nodes, drivers)


@dataclass
class Watched:
    """A primary, a replica, and Sentinels that watch them."""

    servers: list[Server]
    sentinels: list[Server]

    @property
    def addresses(self) -> list[tuple[str, int]]:
        return [("127.0.0.1", port_of(sentinel)) for sentinel in self.sentinels]


@contextlib.contextmanager
def sentinels(password: str = "") -> Generator[Watched]:
    """Run a primary, a replica and three Sentinels that call it ``mymaster``."""
    secret = {"requirepass": password, "masterauth": password} if password else {}
    with contextlib.ExitStack() as stack:
        primary = stack.enter_context(server(tcp=True, config=secret))
        replica = stack.enter_context(server(tcp=True, config={**secret, "replicaof": f"127.0.0.1 {port_of(primary)}"}))
        watching: list[Server] = []
        for _ in range(3):
            watching.append(stack.enter_context(server(tcp=True, sentinel=True)))
            with Driver.connect(watching[-1].url) as driver:
                driver.run(once("SENTINEL", "MONITOR", "mymaster", "127.0.0.1", port_of(primary), 2))
                options = {"down-after-milliseconds": "500", "failover-timeout": "2000"}
                if password:
                    options["auth-pass"] = password
                for name, value in options.items():
                    driver.run(once("SENTINEL", "SET", "mymaster", name, value))

        def ready() -> bool:
            for sentinel in watching:
                with Driver.connect(sentinel.url, protocol=2) as driver:
                    flat = driver.run(reads("SENTINEL", "MASTER", "mymaster"))
                assert isinstance(flat, list)
                facts = dict(zip(flat[::2], flat[1::2], strict=True))
                if (
                    facts[b"num-slaves"] != b"1"
                    or facts[b"num-other-sentinels"] != b"2"
                    or facts[b"flags"] != b"master"
                ):
                    return False
            with Driver.connect(replica.url, password=password or None) as driver:
                return "master_link_status:up" in text_of(driver.run(reads("INFO", "replication")))

        wait_until(ready)
        yield Watched([primary, replica], watching)
