"""Applications that run in processes of their own, for tests over real sockets."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from pathlib import Path


@contextlib.contextmanager
def running(program: Path, name: str, *arguments: str, ready: str = "/ready") -> Generator[int]:
    """Run an application, and give its port once it answers.

    Parameters:
        program: is called with the name, the port, and the arguments.
        name: of the framework.
        arguments: what else it needs.
        ready: a path that is answered with 200.
    """
    port = free_port()
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen([sys.executable, str(program), name, str(port), *arguments], env=env) as app:
        try:
            until_ready(port, app, ready)
            yield port
        finally:
            app.kill()


def free_port() -> int:
    """Give a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def until_ready(port: int, app: subprocess.Popen[bytes], ready: str) -> None:
    """Wait until an application answers."""
    ends_at = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError):
            if ask(port, ready)[0] == 200:
                return
        assert time.monotonic() < ends_at, "the server does not answer"
        assert app.poll() is None, "the server has ended"
        time.sleep(0.02)


def ask(
    port: int, path: str = "/", method: str = "GET", headers: Sequence[tuple[str, str]] = ()
) -> tuple[int, dict[str, str]]:
    """Send one request, and give the status and the headers of its response, names in lower case."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, headers=dict(headers))
        response = connection.getresponse()
        response.read()
        return response.status, {name.lower(): value for name, value in response.getheaders()}
    finally:
        connection.close()
