"""Fixtures of all tests: a private Redis server for the session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from redis_patterns.testing import Server, find_server, server


def pytest_report_header() -> str:
    return f"redis server: {find_server()}"


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Server]:
    with server() as running:
        yield running
