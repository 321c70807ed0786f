"""The command line, mostly as a program of its own, as its users run it."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import redis_patterns
import redis_patterns_core
from redis_patterns import Command, Effect, Leaderboard, Lease, Plan, _tour, batch
from redis_patterns.__main__ import main
from redis_patterns._tour_walk import Section, Step
from redis_patterns.sync import Driver
from redis_patterns.testing import Server, server
from redis_patterns_core import replies

PYTHONPATH = os.pathsep.join(
    str(Path(module.__file__ or "").parents[1]) for module in (redis_patterns_core, redis_patterns)
)
DRIVERS = ["sync", "asyncio", "trio"]
NOWHERE = {"REDIS_PATTERNS_SERVER": "/nonexistent/redis-server"}

STEPS = sum(len(section.steps) for section in _tour.sections("x"))


def command_line(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user would."""
    return subprocess.run(
        [sys.executable, "-m", "redis_patterns", *arguments],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": PYTHONPATH, **variables},
        text=True,
        timeout=60,
    )


def keys_of_tours(url: str) -> list[str]:
    """List what tours have left on a server."""
    keys = Plan(
        "keys",
        (Command(("KEYS", "tour-*")),),
        lambda answers: [replies.text(key) for key in replies.array(answers[0])],
        Effect.READS,
    )
    with Driver.connect(url) as redis:
        return redis.run(keys)


@pytest.fixture
def board(redis_server: Server) -> Iterator[Leaderboard]:
    """Give a board that somebody else keeps on the server."""
    board = Leaderboard("weekly", namespace="tour")
    with Driver.connect(redis_server.url) as redis:
        redis.run(board.add("ann", 1))
        yield board
        redis.run(board.remove("ann"))


@pytest.mark.parametrize("driver", DRIVERS)
def test_all_is_as_it_should_be_on_every_driver(driver: str) -> None:
    """It starts a server, shows every pattern, ends with exit code 0; in 80 columns, and without escapes in a pipe."""
    done = command_line("tour", "--driver", driver)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert re.fullmatch(
        rf"redis-patterns tour on (Redis|Valkey) [\d.]+ \(embedded\), with redis_patterns\.{driver}", lines[0]
    )
    assert re.fullmatch(rf"{STEPS} steps on \w+ [\d.]+ \(embedded\), \d+ round trips, all as they should be", lines[-1])
    for title in ("Leaderboard", "TokenBucket", "Lock", "batch"):
        assert re.search(rf"^{title}: ", done.stdout, re.MULTILINE), title
    assert [line for line in lines if len(line) > 80] == []
    assert "\x1b" not in done.stdout


def test_each_step_is_shown_whole() -> None:
    """A step shows the line to write, the commands it becomes, what came of it, and what it cost."""
    shown = re.sub(r"tour-[0-9a-f]{4}", "tour-0000", command_line("tour").stdout)
    shown = re.sub(r"(?m)(?<=leaderboard_increment\.lua\n  > EVALSHA )[0-9a-f]{7}", "SHA", shown)
    assert (
        """
redis.run(weekly.increment("bob", 12.5))
    # leaderboard_increment.lua
  > EVALSHA SHA... 1 tour-0000:leaderboard:{weekly} 12.5 bob
    12.5
    ok, 1 round trip
"""
        in shown
    )
    assert re.search(r"\n    # lock_acquire\.lua\n  > EVALSHA [0-9a-f]{7}\.\.\. 4 tour-0000:lock:", shown)
    assert (
        """
with redis.hold(lock):
    redis.run(weekly.increment("ann"))
  > EVALSHA lock_acquire tour-0000:lock:{*}
  > EVALSHA leaderboard_increment tour-0000:leaderboard:{*}
  > EVALSHA lock_release tour-0000:lock:{*}
    31.0
    ok, 3 round trips
"""
        in shown
    )


def test_async_code_is_shown_as_such() -> None:
    """On an async driver, the lines to write are the async ones."""
    shown = command_line("tour", "--driver", "asyncio").stdout
    assert "\nawait redis.run(weekly.top(3))\n" in shown
    assert "\nasync with redis.hold(lock):\n    await redis.run(weekly" in shown


def test_lines_are_what_runs() -> None:
    """The Python that a step shows makes the very plan that the step runs."""
    sections = _tour.sections("tour-0000")
    names: dict[str, object] = {"batch": batch, "lease": Lease("order:123", "worker-1")}
    for section in sections:
        names.update(section.given)
    for step in (step for section in sections for step in section.steps):
        assert eval(step.line, names) == step.does, step.line  # noqa: S307  our own line


def test_colours_that_are_asked_for() -> None:
    """Colours change nothing but the colours."""
    colored = command_line("tour", "--color", "always", NO_COLOR="1").stdout
    plain = command_line("tour", "--color", "never").stdout
    without = re.sub(r"\x1b\[[\d;]*m", "", colored)
    assert without != colored
    # Times differ from run to run in how many digits they have, and so in where their lines break.
    first, second = (re.sub(r"[\d.]+|-[0-9a-f]{4}|\s+", " ", shown) for shown in (without, plain))
    assert re.sub(r"tour \S*", "", first).split() == re.sub(r"tour \S*", "", second).split()


@pytest.mark.parametrize(("no_color", "colored"), [("", True), ("1", False)])
def test_a_terminal_gets_colours_unless_it_wants_none(no_color: str, colored: bool) -> None:
    """By default a terminal is coloured; NO_COLOR is respected if it is not empty."""
    ours, theirs = pty.openpty()
    program = subprocess.Popen(
        [sys.executable, "-m", "redis_patterns", "tour"],
        env={**os.environ, "PYTHONPATH": PYTHONPATH, "NO_COLOR": no_color},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:  # Linux' way of saying that the other end was closed
        pass
    finally:
        os.close(ours)
    assert program.wait(60) == 0
    assert (b"\x1b[" in shown) is colored


@pytest.mark.parametrize("driver", DRIVERS)
def test_it_leaves_nothing_behind(redis_server: Server, board: Leaderboard, driver: str) -> None:
    """On somebody's own server it deletes its own keys, and no others."""
    done = command_line("tour", "--driver", driver, "--url", redis_server.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert "(by --url)" in done.stdout.splitlines()[0]
    assert keys_of_tours(redis_server.url) == []
    with Driver.connect(redis_server.url) as redis:
        assert redis.run(board.score("ann")) == 1


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_server_that_cannot_be_reached(driver: str) -> None:
    """It says so on one line, without the password, and with exit code 1."""
    done = command_line("tour", "--driver", driver, "--url", "redis://ann:hunter2@127.0.0.1:1/0")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"redis-patterns: tour\.info: nothing was sent: .*127\.0\.0\.1:1.*\n", done.stderr)
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("url", ["http://ann:hunter2@x", "redis://:hunter2@host:port"])
def test_a_url_that_is_none(driver: str, url: str) -> None:
    """A wrong URL is one line too, and its password is not shown."""
    done = command_line("tour", "--driver", driver, "--url", url)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"redis-patterns: .*\n", done.stderr)
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_password_that_is_refused(driver: str) -> None:
    """What the server says of the password is shown once, and nothing is tried after that."""
    with server(config={"requirepass": "right"}, tcp=True) as locked:
        url = locked.tcp_url.replace("redis://", "redis://default:hunter2@")
        done = command_line("tour", "--driver", driver, "--url", url)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"redis-patterns: .*(WRONGPASS|password).*\n", done.stderr)
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize("driver", DRIVERS)
def test_what_the_server_refuses_is_shown_where_it_happens(driver: str) -> None:
    """A command that is not allowed spoils what needs it; the other steps are run; exit code 1."""
    with server(config={"user": "ann on >pw ~* +@all -info -zadd"}) as strict:
        done = command_line("tour", "--driver", driver, "--url", strict.url.replace("unix://", "unix://ann:pw@"))
        assert keys_of_tours(strict.url) == []
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("redis-patterns tour on an unknown server (by --url)")
    assert "CommandFailed: leaderboard.add: NOPERM" in done.stdout
    assert "\n    12.5\n    ok, 1 round trip\n" in done.stdout
    assert re.search(rf"\n{STEPS} steps on an unknown server \(by --url\), \d+ round trips, \d+ WRONG\n$", done.stdout)


def test_keys_that_cannot_be_deleted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the clean-up is refused, that is told, with exit code 1."""
    sections = _tour.sections("tour-0000")[:1]
    monkeypatch.setattr(_tour, "sections", lambda _: sections)
    with server(config={"user": "ann on >pw ~* +@all -del"}) as strict:
        assert main(["tour", "--url", strict.url.replace("unix://", "unix://ann:pw@")]) == 1
        assert keys_of_tours(strict.url) == ["tour-0000:leaderboard:{weekly}"]
    shown = capsys.readouterr()
    assert shown.out.endswith(", 5 round trips, all as they should be\n")
    assert re.fullmatch(r"redis-patterns: the tour's keys may be left behind: tour\.clean_up: NOPERM .*\n", shown.err)


@pytest.mark.parametrize("driver", ["sync", "asyncio"])
def test_without_a_server_it_runs_in_memory(driver: str) -> None:
    """Where no server can be started it runs on fakeredis, and says so first."""
    done = command_line("tour", "--driver", driver, **NOWHERE)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("There is no server to start, so this runs in memory, on fakeredis")
    assert re.search(rf"\n{STEPS} steps on fakeredis [\d.]+ \(in memory\), \d+ round trips, all as they", done.stdout)
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_trio_has_no_memory_to_run_in() -> None:
    """The trio driver needs a socket: without a server it says what to do, with exit code 2."""
    done = command_line("tour", "--driver", "trio", **NOWHERE)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"redis-patterns: .*trio needs a server: give a --url, or pip install .*\n", done.stderr)


def test_without_server_and_memory(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing is installed, it says what to install, with exit code 2."""
    monkeypatch.setenv("REDIS_PATTERNS_SERVER", NOWHERE["REDIS_PATTERNS_SERVER"])
    monkeypatch.setitem(sys.modules, "fakeredis", None)
    assert main(["tour"]) == 2
    assert "pip install 'redis-patterns[embedded]'" in capsys.readouterr().err


def test_a_step_that_goes_wrong(
    redis_server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is marked, the steps behind it are run, and the exit code is 1."""

    def sections(namespace: str) -> list[Section]:
        board = Leaderboard("b", namespace=namespace)
        step = Step('board.increment("ann")', board.increment("ann"), lambda score: score == 2)
        return [Section("Board", [step, step], {"board": board})]

    monkeypatch.setattr(_tour, "sections", sections)
    assert main(["tour", "--url", redis_server.url]) == 1
    shown = capsys.readouterr().out
    assert "    1.0\n    WRONG, 1 round trip: that is not what it should be\n" in shown
    assert "    2.0\n    ok, 1 round trip\n" in shown
    assert shown.endswith(" (by --url), 2 round trips, 1 WRONG\n")
    assert keys_of_tours(redis_server.url) == []


def test_an_interrupted_tour_leaves_nothing_behind(redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are deleted whatever ends the tour."""
    seen: list[str] = []

    def interrupt(_: object) -> bool:
        seen.extend(keys_of_tours(redis_server.url))
        raise KeyboardInterrupt

    def sections(namespace: str) -> list[Section]:
        board = Leaderboard("b", namespace=namespace)
        return [Section("Board", [Step('board.add("ann", 1)', board.add("ann", 1), interrupt)])]

    monkeypatch.setattr(_tour, "sections", sections)
    assert main(["tour", "--url", redis_server.url]) == 130
    assert len(seen) == 1
    assert keys_of_tours(redis_server.url) == []


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("options", [[], ["-u"]], ids=["buffered", "unbuffered"])
def test_a_reader_that_has_seen_enough(redis_server: Server, driver: str, options: list[str]) -> None:
    """A pipe that is closed at its other end, as by ``head``, ends it without a word, and its keys are gone."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, *options, "-m", "redis_patterns", "tour", "--driver", driver, "--url", redis_server.url],
        check=False,
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
        stderr=subprocess.PIPE,
        stdout=writing,
        timeout=60,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")
    assert keys_of_tours(redis_server.url) == []


def test_without_a_command_there_is_help() -> None:
    """A bare call prints what there is, with the exit code of misuse."""
    done = command_line()
    assert done.returncode == 2
    assert "tour" in done.stdout


def test_version() -> None:
    """The version is that of the installed distribution."""
    done = command_line("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"redis-patterns (\d\S*|\(not installed\))\n", done.stdout)


@pytest.mark.parametrize("driver", DRIVERS)
def test_only_the_driver_that_is_used_is_imported(driver: str, redis_server: Server) -> None:
    """The sync tour does not import the trio driver, and so on."""
    program = (
        "import sys; from redis_patterns.__main__ import main; "
        f"main(['tour', '--driver', {driver!r}, '--url', {redis_server.url!r}]); "
        "print([name for name in ('sync', 'asyncio', 'trio') if f'redis_patterns.{name}' in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
        text=True,
        timeout=60,
    )
    assert done.stdout.splitlines()[-1] == f"[{driver!r}]"
