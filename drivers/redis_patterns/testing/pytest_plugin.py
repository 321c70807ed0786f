"""Fixtures for pytest, there as soon as redis-patterns is installed.

``redis_url``
    The URL of a private server that the whole session shares, or what ``--redis-url`` names.
``redis_namespace``
    A prefix for keys that no other test uses; what has it is deleted after the test.
``redis_memory``
    A server in memory with a clock of its own, new for each test: ``redis_memory.sync()``, ``.asyncio()``, ``.trio()``.

They are plain fixtures, so tests of pytest-asyncio, anyio and pytest-trio can use them.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from redis_patterns.testing.memory import Server

__all__ = ["pytest_addoption", "redis_memory", "redis_namespace", "redis_url"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--redis-url``."""
    group = parser.getgroup("redis-patterns")
    group.addoption("--redis-url", help="a Redis server for the tests; by default a private one is started")


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the URL of a server: the one that ``--redis-url`` names, or a private one."""
    named: str | None = request.config.getoption("--redis-url")
    if named is not None:
        yield named
        return
    from redis_patterns.testing import server  # noqa: PLC0415  only for tests that want it

    with server() as running:
        yield running.url


@pytest.fixture
def redis_namespace(redis_url: str) -> Iterator[str]:
    """Give a prefix of keys; after the test all keys that begin with it and a colon are deleted."""
    from redis_patterns.sync import Driver  # noqa: PLC0415  only for tests that want it
    from redis_patterns_core.keys import escape_glob  # noqa: PLC0415  the same
    from redis_patterns_core.plan import Command, Effect, Plan  # noqa: PLC0415  the same
    from redis_patterns_core.replies import array, text  # noqa: PLC0415  the same

    namespace = f"test-{secrets.token_hex(6)}"
    yield namespace
    with Driver.connect(redis_url) as redis:
        cursor = "0"
        while True:
            scan = Command(("SCAN", cursor, "MATCH", f"{escape_glob(namespace)}:*", "COUNT", 1000))
            found, keys = array(redis.run(Plan("scan", (scan,), lambda answers: answers[0], Effect.READS)), 2)
            for key in array(keys):
                delete = Command(("DEL", key if isinstance(key, bytes) else str(key)))
                redis.run(Plan("delete", (delete,), len, Effect.IDEMPOTENT))
            cursor = text(found)
            if cursor == "0":
                return


@pytest.fixture
def redis_memory() -> Server:
    """Give a server in memory; needs the extra ``testing``."""
    from redis_patterns.testing.memory import Server  # noqa: PLC0415  only for tests that want it

    return Server()
