"""The middleware in real frameworks, under real servers and a load."""

from __future__ import annotations

import collections
import http.client
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from redis_patterns.testing import Server

APPS = Path(__file__).parent / "apps.py"
FRAMEWORKS = ["starlette", "starlette-trio", "fastapi", "litestar", "flask", "django"]


@pytest.fixture(params=FRAMEWORKS)
def port(request: pytest.FixtureRequest, redis_server: Server) -> Iterator[int]:
    """Give the port of a running application."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    arguments = [request.param, str(port), redis_server.url, secrets.token_hex(8)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen([sys.executable, str(APPS), *arguments], env=env) as app:
        try:
            ends_at = time.monotonic() + 30
            while True:
                try:
                    if ask(port, "/ready")[0] == 200:
                        break
                except OSError:
                    assert time.monotonic() < ends_at, "the server does not answer"
                    assert app.poll() is None, "the server has ended"
                    time.sleep(0.02)
            yield port
        finally:
            app.kill()


def ask(port: int, path: str = "/", **headers: str) -> tuple[int, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        response.read()
        return response.status, {name.lower(): value for name, value in response.getheaders()}
    finally:
        connection.close()


def test_exactly_the_limit_is_served(port: int) -> None:
    """Of two hundred requests from eight clients at once fifty are served, whatever address they claim to come from."""

    def client(number: int) -> list[int]:
        return [ask(port, X_Forwarded_For=f"198.51.100.{number}, 10.0.0.{turn}")[0] for turn in range(25)]

    with ThreadPoolExecutor(8) as threads:
        statuses = [status for mine in threads.map(client, range(8)) for status in mine]
    assert collections.Counter(statuses) == {200: 50, 429: 150}
    status, headers = ask(port)
    assert (status, headers["content-type"]) == (429, "application/problem+json")
    assert headers["ratelimit-policy"] == '"fifty";q=50;w=1000000000'
    assert int(headers["retry-after"]) > 0
    assert ask(port, "/ready")[0] == 200
