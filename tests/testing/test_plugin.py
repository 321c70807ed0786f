"""The pytest plugin, used as a project of somebody else's would."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

from redis_patterns.sync import Driver
from redis_patterns.testing import Server, pytest_plugin
from redis_patterns_core import replies
from tests.drivers.plans import reads

TESTS = """
import pytest
from redis_patterns import Leaderboard
from redis_patterns.sync import Driver
from redis_patterns.trio import Driver as TrioDriver

seen = []

@pytest.mark.parametrize("number", [1, 2])
def test_namespaces(redis_url, redis_namespace, number):
    seen.append(redis_namespace)
    with Driver.connect(redis_url) as redis:
        assert redis.run(Leaderboard("b", namespace=redis_namespace).increment("ann")) == 1
    assert len(set(seen)) == number

def test_nothing_is_left(redis_url):
    with Driver.connect(redis_url) as redis:
        assert [redis.run(Leaderboard("b", namespace=name).count()) for name in seen] == [0, 0]

def test_memory(redis_memory):
    with redis_memory.sync() as redis:
        assert redis.run(Leaderboard("b").count()) == 0

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_async(anyio_backend, redis_url, redis_namespace, redis_memory):
    async with TrioDriver.connect(redis_url) as redis, redis_memory.trio() as other:
        board = Leaderboard("b", namespace=redis_namespace)
        assert await redis.run(board.increment("ann")) == 1
        assert await other.run(board.count()) == 0
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_theirs.py").write_text(TESTS)
    # By name, so that it does not matter whether the project is installed, or from where.
    plugin = ["-p", "anyio.pytest_plugin", "-p", "redis_patterns.testing.pytest_plugin"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin, *arguments, "."],
        cwd=folder,
        env={
            **os.environ,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        },
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )


def test_it_is_there_by_itself() -> None:
    """An installed redis-patterns names the plugin as pytest wants it."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"redis_patterns": pytest_plugin.__name__}


def test_the_fixtures(tmp_path: Path) -> None:
    """A private server, a namespace for each test that is clean afterwards, and a server in memory."""
    done = run(tmp_path)
    assert "5 passed" in done.stdout, done.stdout + done.stderr


def test_on_a_server_that_is_named(tmp_path: Path, redis_server: Server) -> None:
    """With --redis-url the tests run there, and leave nothing behind."""
    with Driver.connect(redis_server.url) as redis:
        before = {*replies.array(redis.run(reads("KEYS", "*")))}
        done = run(tmp_path, "--redis-url", redis_server.url)
        assert "5 passed" in done.stdout, done.stdout + done.stderr
        # Those of other tests may expire meanwhile.
        assert {*replies.array(redis.run(reads("KEYS", "*")))} <= before
