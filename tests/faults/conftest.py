"""The faults' table: the drivers that talk through a socket."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from redis_patterns.sync import Driver
from redis_patterns.testing import Server
from tests.drivers.faces import KINDS, Face, Kind
from tests.faults.proxy import Proxy, proxy_to

SERVED = [kind for kind in KINDS if not kind.memory]

Connect = Callable[..., AbstractAsyncContextManager[Face]]


@pytest.fixture(params=SERVED, ids=[kind.name for kind in SERVED])
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


@pytest.fixture
def anyio_backend(kind: Kind) -> str | tuple[str, dict[str, Any]]:
    return kind.backend


@pytest.fixture
def proxy(redis_server: Server) -> Iterator[Proxy]:
    """Give a proxy before the session's server."""
    with proxy_to(redis_server.socket_path) as proxy:
        yield proxy


@pytest.fixture
def connect(kind: Kind, proxy: Proxy) -> Connect:
    """Give what opens the driver through the proxy, with its options."""

    def opened(**options: Any) -> AbstractAsyncContextManager[Face]:
        return kind.make(proxy.url, options)

    return opened


@pytest.fixture
def beside(redis_server: Server) -> Iterator[Driver]:
    """Give a driver that goes past the proxy, to see what has really happened."""
    with Driver.connect(redis_server.url) as driver:
        yield driver


@pytest.fixture
def key(beside: Driver) -> Iterator[str]:
    """Give a key that no other test uses."""
    from tests.drivers.plans import sets

    name = f"fault-{secrets.token_hex(6)}"
    yield name
    beside.run(sets("DEL", name))
