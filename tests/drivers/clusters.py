"""What tests do to a cluster: move slots, forget scripts."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import dataclass

from redis_patterns import testing
from redis_patterns.sync import Driver
from redis_patterns.testing import Server
from tests.drivers.plans import once, reads


def text_of(reply: object) -> str:
    assert isinstance(reply, bytes)
    return reply.decode()


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

    def is_empty(self, slot: int) -> bool:
        """Tell whether a slot has no keys."""
        return self.drivers[self.owner(slot)].run(reads("CLUSTER", "COUNTKEYSINSLOT", slot)) == 0

    def start_moving(self, slot: int, to: int) -> None:
        """Open a slot for its keys to be moved one by one."""
        source = self.owner(slot)
        self.drivers[to].run(once("CLUSTER", "SETSLOT", slot, "IMPORTING", self.id(source)))
        self.drivers[source].run(once("CLUSTER", "SETSLOT", slot, "MIGRATING", self.id(to)))

    def move_key(self, key: str, slot: int, to: int) -> None:
        source = self.owner(slot)
        self.drivers[source].run(once("MIGRATE", "127.0.0.1", self.nodes[to].port, key, 0, 5000))

    def finish_moving(self, slot: int, to: int) -> None:
        for driver in [self.drivers[to], *self.drivers]:
            driver.run(once("CLUSTER", "SETSLOT", slot, "NODE", self.id(to)))


@contextlib.contextmanager
def cluster() -> Generator[RunningCluster]:
    """Run a cluster of three primaries."""
    with testing.cluster() as running, contextlib.ExitStack() as stack:
        yield RunningCluster(running.nodes, [stack.enter_context(Driver.connect(node.url)) for node in running.nodes])
