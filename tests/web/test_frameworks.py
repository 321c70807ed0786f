"""The middleware in real frameworks, under real servers and a load."""

from __future__ import annotations

import collections
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from redis_patterns.testing import Server
from tests.web.processes import ask, running

APPS = Path(__file__).parent / "apps.py"
FRAMEWORKS = ["starlette", "starlette-trio", "fastapi", "litestar", "flask", "django"]


@pytest.fixture(params=FRAMEWORKS)
def port(request: pytest.FixtureRequest, redis_server: Server) -> Iterator[int]:
    """Give the port of a running application."""
    with running(APPS, request.param, redis_server.url, secrets.token_hex(8)) as port:
        yield port


def test_exactly_the_limit_is_served(port: int) -> None:
    """Of two hundred requests from eight clients at once fifty are served, whatever address they claim to come from."""

    def client(number: int) -> list[int]:
        claims = [[("X-Forwarded-For", f"198.51.100.{number}, 10.0.0.{turn}")] for turn in range(25)]
        return [ask(port, headers=claim)[0] for claim in claims]

    with ThreadPoolExecutor(8) as threads:
        statuses = [status for mine in threads.map(client, range(8)) for status in mine]
    assert collections.Counter(statuses) == {200: 50, 429: 150}
    status, headers = ask(port)
    assert (status, headers["content-type"]) == (429, "application/problem+json")
    assert headers["ratelimit-policy"] == '"fifty";q=50;w=1000000000'
    assert int(headers["retry-after"]) > 0
    assert ask(port, "/ready")[0] == 200
