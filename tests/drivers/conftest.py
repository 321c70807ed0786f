"""The conformance suite's table: every driver on every server; a further one is one more line."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import pytest

from redis_patterns.sync import Driver
from redis_patterns.testing import Server, bundled_server, find_server, server
from tests.drivers.clusters import RunningCluster, cluster
from tests.drivers.faces import KINDS, Face, Kind, Maker
from tests.drivers.plans import once

URLS = [url for url in os.environ.get("REDIS_PATTERNS_TEST_URLS", "").split(",") if url]
"""Further servers: those that are already running somewhere."""

BUNDLED = "" if bundled_server() == find_server() else bundled_server() or ""
"""The older server that the extra ``embedded`` brings, where the tests run on another one."""

Connect = Callable[..., AbstractAsyncContextManager[Face]]


@dataclass(frozen=True)
class Cell:
    """A driver on a server.

    Parameters:
        kind: the driver.
        place: ``private``, ``bundled``, ``memory``, ``cluster``, or the URL of a further server.
    """

    kind: Kind
    place: str

    @property
    def name(self) -> str:
        where = {"private": "", "memory": "", "cluster": "-on-cluster", "bundled": "-on-bundled"}
        return self.kind.name + where.get(self.place, f"-url{URLS.index(self.place)}" if self.place in URLS else "")


_CELLS = [
    *(Cell(kind, "memory" if kind.memory else "private") for kind in KINDS),
    *(Cell(kind, "cluster") for kind in KINDS if kind.make_cluster is not None),
    *(Cell(kind, "bundled") for kind in KINDS if not kind.memory and BUNDLED),
    *(Cell(kind, url) for kind in KINDS if not kind.memory for url in URLS),
]
# What a mark leaves out of the table.
_WITHOUT = {"served": {"memory"}, "standalone": {"memory", "cluster"}}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Spread a test over the table."""
    if "cell" in metafunc.fixturenames:
        marks = [mark.name for mark in metafunc.definition.iter_markers()]
        without = set[str]().union(*(_WITHOUT.get(mark, set()) for mark in marks))
        cells = [cell for cell in _CELLS if cell.place not in without]
        if "renews" in marks:  # its time stands still unless the test moves it
            cells = [cell for cell in cells if cell.kind.name != "sync-own"]
        metafunc.parametrize("cell", cells, ids=[cell.name for cell in cells])


@pytest.fixture
def kind(cell: Cell) -> Kind:
    return cell.kind


@pytest.fixture
def anyio_backend(kind: Kind) -> str | tuple[str, dict[str, Any]]:
    return kind.backend


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RunningCluster]:
    """Give a running cluster that the whole session shares."""
    with cluster() as running:
        yield running


@pytest.fixture(scope="session")
def older_server() -> Iterator[Server]:
    """Give the server of the extra ``embedded``, where the session's is another."""
    with server(BUNDLED) as running:
        yield running


@pytest.fixture
def place(cell: Cell, request: pytest.FixtureRequest) -> Server | RunningCluster | str:
    """Give the server of the cell: the session's own, its cluster, the URL of a further one; in memory ""."""
    if cell.place == "cluster":
        running: RunningCluster = request.getfixturevalue("redis_cluster")
        return running
    if cell.place == "memory":
        return ""
    if cell.place in {"private", "bundled"}:
        own: Server = request.getfixturevalue("older_server" if cell.place == "bundled" else "redis_server")
        return own
    return cell.place


@pytest.fixture
def connect(cell: Cell, place: Server | RunningCluster | str) -> Connect:
    """Give what opens the driver, with its options, for an ``async with``."""
    url = place if isinstance(place, str) else place.url
    make: Maker | None = cell.kind.make_cluster if cell.place == "cluster" else cell.kind.make
    assert make is not None

    def opened(**options: Any) -> AbstractAsyncContextManager[Face]:
        return make(url, options)

    return opened


@pytest.fixture
async def redis(connect: Connect) -> AsyncIterator[Face]:
    """Give the cell's driver, with its defaults."""
    async with connect() as redis:
        yield redis


@pytest.fixture
def flush_scripts(cell: Cell, place: Server | RunningCluster | str) -> Callable[[Face], Any]:
    """Give what makes the server, or each of its nodes, forget all scripts."""

    async def flush(redis: Face) -> None:
        if isinstance(place, RunningCluster):
            place.flush_scripts()
        elif cell.kind.memory:
            await redis.run(once("SCRIPT", "FLUSH"))
        else:
            with Driver.connect(place if isinstance(place, str) else place.url) as driver:
                driver.run(once("SCRIPT", "FLUSH"))

    return flush


@pytest.fixture
def namespace() -> str:
    """Give a prefix of keys that no other test uses."""
    return f"test-{secrets.token_hex(6)}"
