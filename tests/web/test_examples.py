"""The example applications of the documentation, under the servers that they name."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import httpx2
import pytest

from redis_patterns import Sessions
from redis_patterns.sync import Driver
from redis_patterns.testing import Server
from tests.web.processes import free_port, until_ready

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
COMMANDS = {
    "fastapi": [
        "-m",
        "uvicorn",
        "--app-dir",
        str(EXAMPLES),
        "fastapi_sessions:app",
        "--log-level=error",
        "--port={port}",
    ],
    "flask": ["-m", "flask", "--app", str(EXAMPLES / "flask_sessions.py"), "run", "--port={port}"],
    "trio": [str(EXAMPLES / "trio_sessions.py")],
}


@pytest.fixture(params=COMMANDS)
def app(request: pytest.FixtureRequest, redis_server: Server) -> Iterator[str]:
    """Give the address of a running example."""
    with Driver.connect(redis_server.url) as redis:
        redis.run(Sessions().destroy_all("ann"))
    port = free_port()
    path = os.pathsep.join(path for path in sys.path if path)
    env = {**os.environ, "PYTHONPATH": path, "REDIS_URL": redis_server.url, "PORT": str(port)}
    words = [word.format(port=port) for word in COMMANDS[request.param]]
    with subprocess.Popen(
        [sys.executable, *words], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as run:
        try:
            until_ready(port, run, "/")
            yield f"http://127.0.0.1:{port}"
        finally:
            run.kill()


class Browser:
    """A client that sends the cookie although it is a secure one, as browsers do to localhost."""

    def __init__(self, app: str) -> None:
        self._client = httpx2.Client(base_url=app, timeout=30)
        self.cookie = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ask(self, method: str, path: str) -> httpx2.Response:
        response = self._client.request(method, path, headers={"cookie": self.cookie, "user-agent": "test"})
        if "set-cookie" in response.headers:
            self.cookie = response.headers["set-cookie"].partition(";")[0]
        self._client.cookies.clear()
        return response


def test_an_example(app: str) -> None:
    """A cart that goes with the login, a guard, a list of devices, a logout elsewhere and here."""
    with Browser(app) as one, Browser(app) as two:
        visit(one, two)


def visit(one: Browser, two: Browser) -> None:
    """Do what the example is an example of."""
    assert one.ask("GET", "/account/devices").status_code == 401
    one.ask("POST", "/cart/tea")
    assert one.cookie.startswith("__Host-session=")
    assert one.ask("POST", "/login?user=ann&password=" + secrets.token_hex(4)).status_code == 403
    for browser in (one, two):
        assert browser.ask("POST", "/login?user=ann&password=correct%20horse").json() == {"user": "ann"}
    assert one.ask("GET", "/").json() == {"user": "ann", "cart": ["tea"]}
    devices = one.ask("GET", "/account/devices").json()
    assert sorted(device["this"] for device in devices) == [False, True]
    assert [device["about"] for device in devices] == [{"agent": "test", "address": "127.0.0.1"}] * 2
    assert one.ask("POST", "/account/logout-elsewhere").json() == {"ended": 1}
    assert two.ask("GET", "/account/devices").status_code == 401
    one.ask("POST", "/logout")
    assert one.ask("GET", "/").json() == {"user": None, "cart": []}
