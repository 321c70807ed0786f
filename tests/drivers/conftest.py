"""The conformance suite's table: every driver on every server; a further one is one more line."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from redis_patterns.testing import Server
from tests.drivers.faces import KINDS, Face, Kind

URLS = [url for url in os.environ.get("REDIS_PATTERNS_TEST_URLS", "").split(",") if url]
"""Further servers: those that are already running somewhere."""

_CELLS = [(kind, None) for kind in KINDS] + [(kind, url) for kind in KINDS if not kind.memory for url in URLS]
_NAMES = [kind.name if url is None else f"{kind.name}-url{URLS.index(url)}" for kind, url in _CELLS]

Connect = Callable[..., AbstractAsyncContextManager[Face]]


Cell = tuple[Kind, str | None]
"""A driver, and the URL of a server, ``None`` for the private one."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Spread a test over the table, without the servers in memory where it is marked ``served``."""
    if "cell" in metafunc.fixturenames:
        served = metafunc.definition.get_closest_marker("served") is not None
        cells = [(cell, name) for cell, name in zip(_CELLS, _NAMES, strict=True) if not (served and cell[0].memory)]
        metafunc.parametrize("cell", [cell for cell, _ in cells], ids=[name for _, name in cells])


@pytest.fixture
def kind(cell: Cell) -> Kind:
    return cell[0]


@pytest.fixture
def anyio_backend(kind: Kind) -> str:
    return kind.backend


@pytest.fixture
def url(cell: Cell, redis_server: Server) -> str:
    return cell[1] or redis_server.url


@pytest.fixture
def connect(kind: Kind, url: str) -> Connect:
    """Give what opens the driver, with its options, for an ``async with``."""

    def opened(**options: Any) -> AbstractAsyncContextManager[Face]:
        return kind.make(url, options)

    return opened


@pytest.fixture
def namespace() -> str:
    """Give a prefix of keys that no other test uses."""
    return f"test-{secrets.token_hex(6)}"
