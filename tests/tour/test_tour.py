from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

import redis_patterns
import redis_patterns_core
from redis_patterns import __main__ as command_line
from redis_patterns._tour import SECTIONS, Counter, Line, Section, Tour
from redis_patterns.sync import Driver
from redis_patterns.testing import Server
from tests.drivers.plans import reads, sets

PATHS = os.pathsep.join(str(Path(path).parent) for path in (*redis_patterns.__path__, *redis_patterns_core.__path__))


def tour(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "redis_patterns", *arguments],
        env={**os.environ, "PYTHONPATH": PATHS, **environment},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("driver", ["sync", "asyncio", "trio"])
def test_the_tour_runs_on_a_private_server(driver: str) -> None:
    """It ends well, every step is as it should be, and it fits into 80 columns without colours when piped."""
    done = tour("tour", "--driver", driver)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    steps = sum(len(section.lines) for section in SECTIONS)
    assert re.search(rf"^{steps} steps, \d+ round trips, Redis \S+: all as it should be$", done.stdout, re.MULTILINE)
    assert done.stderr == ""


def test_every_pattern_is_shown() -> None:
    """Each has a section with the Python line, the commands and the script's name."""
    shown = tour("tour").stdout
    for word in ("Leaderboard(", "TokenBucket(", "Lock(", "batch(", "ZADD", "# token_bucket.lua", "redis.hold(order)"):
        assert word in shown


def test_colours() -> None:
    """They can be asked for, and are off where they are not wanted."""
    assert "\x1b[" in tour("tour", "--color", "always").stdout
    assert "\x1b[" not in tour("tour", "--color", "never").stdout


@pytest.mark.parametrize("driver", ["sync", "asyncio", "trio"])
def test_on_another_server_nothing_is_left(redis_server: Server, driver: str) -> None:
    """With --url it runs there, touches nobody's keys and leaves none."""
    with Driver.connect(redis_server.url) as redis:
        redis.run(sets("SET", "leaderboard:{weekly}", "somebody's", "EX", 60))
        before = redis.run(reads("DBSIZE"))
        done = tour("tour", "--url", redis_server.url, "--driver", driver)
        assert done.returncode == 0, done.stdout + done.stderr
        assert redis.run(reads("DBSIZE")) == before
        assert redis.run(reads("GET", "leaderboard:{weekly}")) == b"somebody's"
        redis.run(sets("DEL", "leaderboard:{weekly}"))


@pytest.mark.parametrize("url", ["redis://user:hunter2@127.0.0.1:1", "http://user:hunter2@example.org"])
def test_a_server_that_cannot_be_reached(url: str) -> None:
    """One line says so, without credentials and without a traceback."""
    done = tour("tour", "--url", url)
    assert done.returncode == 1
    assert done.stderr.startswith("redis-patterns: ")
    assert len(done.stderr.splitlines()) == 1
    assert "hunter2" not in done.stdout + done.stderr


def test_without_a_server_it_goes_on_in_memory() -> None:
    """It says so, and shows the same; the trio driver has no such server."""
    missing = {"REDIS_PATTERNS_SERVER": "/no/such/program"}
    for driver in ("sync", "asyncio"):
        done = tour("tour", "--driver", driver, **missing)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "server in memory" in done.stderr
        assert "all as it should be" in done.stdout
    done = tour("tour", "--driver", "trio", **missing)
    assert (done.returncode, done.stdout) == (2, "")
    assert "trio" in done.stderr


def test_nothing_to_run_it_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a server and without fakeredis it says what to install."""
    monkeypatch.setenv("REDIS_PATTERNS_SERVER", "/no/such/program")
    monkeypatch.setitem(sys.modules, "fakeredis", None)
    assert command_line.main(["tour"]) == 2
    assert "pip install 'redis-patterns[embedded]'" in capsys.readouterr().err


def test_a_step_that_goes_wrong_is_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A result that is not expected, and an error, are marked, and the exit code is 1."""
    wrong = Section(
        "Wrong",
        'weekly = Leaderboard("weekly", namespace=tour)',
        (
            Line("weekly.count()", lambda count: count == 7),
            Line('Plan("wrong", (Command(("ZADD", weekly.key)),), len)', lambda _: True),
        ),
    )
    monkeypatch.setattr(command_line, "Tour", functools.partial(Tour, sections=(wrong,)))
    assert command_line.main(["tour", "--color", "never"]) == 1
    shown = capsys.readouterr().out
    assert shown.count("NOT AS IT SHOULD BE") == 3
    assert "CommandFailed: wrong: ERR" in shown


def test_a_reader_that_has_seen_enough(redis_server: Server) -> None:
    """A closed pipe ends it quietly."""
    program = f"{sys.executable} -m redis_patterns tour --url {redis_server.url} | head -n 1"
    done = subprocess.run(
        ["/bin/sh", "-c", program],
        env={**os.environ, "PYTHONPATH": PATHS},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert done.stdout.startswith("redis-patterns: Redis")
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_a_call_without_a_command() -> None:
    """It says what there is, with the exit code of a wrong call."""
    done = tour()
    assert done.returncode == 2
    assert "tour" in done.stdout
    assert tour("--version").returncode == 0
    assert tour("tour", "--driver", "twisted").returncode == 2


def test_round_trips_are_counted_and_not_claimed() -> None:
    """The counter hears of what the driver sends, so a step's cost is what it cost."""

    class Dear:
        """A driver on which each run costs two round trips."""

        def __init__(self, counter: Counter) -> None:
            self.counter = counter

        async def run(self, step: Any) -> Any:
            self.counter.round_trips += 2
            return step.parse([3])

        @contextlib.asynccontextmanager
        async def hold(self, lock: Any) -> AsyncGenerator[Any]:
            yield lock

    counter, out = Counter(), io.StringIO()
    section = Section("Dear", 'b = Leaderboard("b")', (Line("b.count()", lambda count: count == 3),))
    guide = Tour(Dear(counter), counter, out, color=False, asynchronous=True, sections=(section,))
    with contextlib.suppress(StopIteration):
        guide.run().send(None)
    assert "ok  (2 round trips)" in out.getvalue()
    assert ">>> await redis.run(b.count())" in out.getvalue()
