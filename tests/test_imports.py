"""Who may know whom, read from the imports and seen in fresh interpreters."""

from __future__ import annotations

import ast
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import redis_patterns
import redis_patterns_core

CORE = Path(redis_patterns_core.__file__).parent
DRIVERS = Path(redis_patterns.__file__).parent
SOURCES = sorted(CORE.rglob("*.py"))
NO_IO = {
    "asyncio",
    "concurrent",
    "ctypes",
    "http",
    "io",
    "multiprocessing",
    "os",
    "pathlib",
    "select",
    "selectors",
    "signal",
    "socket",
    "socketserver",
    "ssl",
    "subprocess",
    "threading",
    "time",
    "urllib",
}
FACES = {"sync", "asyncio", "trio"}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_the_core_knows_the_standard_library_only(path: Path) -> None:
    """No module of the core imports a third party, a driver, or what does I/O, knows the clock or starts threads."""
    for name in imports(path):
        top = name.partition(".")[0]
        assert top == "redis_patterns_core" or top in sys.stdlib_module_names, name
        assert top not in NO_IO, name


@pytest.mark.parametrize("path", sorted(DRIVERS.rglob("*.py")), ids=lambda path: str(path.relative_to(DRIVERS)))
def test_a_driver_imports_no_other(path: Path) -> None:
    """No driver module, and nothing that drivers share, imports a driver; what is built on drivers may."""
    if path.name == "__main__.py" or path.parent.name in {"testing", "_commands"}:
        return
    others = {f"redis_patterns.{face}" for face in FACES}
    for name in imports(path):
        assert not any(name == other or name.startswith(f"{other}.") for other in others), name


def in_a_fresh_interpreter(program: str, *options: str) -> str:
    path = f"import sys; sys.path[:0] = [{str(CORE.parent)!r}, {str(DRIVERS.parent)!r}]\n"
    done = subprocess.run(
        [sys.executable, *options, "-c", path + program],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        # Else what measures coverage would be imported there too, and all that it needs.
        env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_core_imports_where_nothing_is_installed() -> None:
    """With no site-packages at all the core can be imported and used."""
    program = """
from redis_patterns_core import Leaderboard, Lock, TokenBucket, batch
plan = batch(Leaderboard("b").top(3), TokenBucket("t", capacity=1, refill_rate=1).hit("a"))
print(plan.name, "redis" in sys.modules, "hiredis" in sys.modules)
"""
    assert in_a_fresh_interpreter(program, "-I", "-S") == "batch(leaderboard.top, token_bucket.hit) False False"


@pytest.mark.parametrize(
    ("driver", "absent"),
    [
        ("redis_patterns", ["redis", "hiredis", "trio", "anyio", "asyncio", "socket"]),
        ("redis_patterns.sync", ["trio", "anyio", "redis_patterns.asyncio", "redis_patterns.trio"]),
        ("redis_patterns.asyncio", ["trio", "redis", "redis_patterns.sync", "redis_patterns.trio"]),
        ("redis_patterns.trio", ["redis", "redis_patterns.sync", "redis_patterns.asyncio"]),
    ],
)
def test_importing_one_driver_imports_no_other(driver: str, absent: list[str]) -> None:
    """What another driver needs is not loaded with it, and the front door loads no driver at all."""
    program = f"import {driver}; print([name for name in {absent!r} if name in sys.modules])"
    assert in_a_fresh_interpreter(program) == "[]"


VOCABULARY = {"errors", "flow", "front", "keys", "plan", "replies", "value"}
RUNNING = {"cluster", "lease_records", "leases", "retry", "tracing", "validate"}


@pytest.mark.parametrize(
    ("program", "modules"),
    [
        ("import redis_patterns", VOCABULARY),
        ("from redis_patterns import Lock, batch", VOCABULARY | {"lease_records", "leases", "locks", "validate"}),
        ("import redis_patterns.sync", VOCABULARY | RUNNING),
        ("import redis_patterns.asyncio", VOCABULARY | RUNNING),
        ("import redis_patterns.trio", VOCABULARY | RUNNING),
    ],
)
def test_a_pattern_is_loaded_where_it_is_used(program: str, modules: set[str]) -> None:
    """Neither the front door nor a driver loads patterns, and the name of one loads that and what it is made of."""
    program += "; print(*[name.removeprefix('redis_patterns_core.') for name in sys.modules"
    program += " if name.startswith('redis_patterns_core.')])"
    assert set(in_a_fresh_interpreter(program).split()) == modules


def test_what_few_need_is_not_loaded() -> None:
    """What only some patterns take from the standard library is not loaded where they are not used."""
    heavy = {"decimal", "fractions", "fnmatch", "html", "ipaddress", "json", "pickle", "traceback", "uuid", "zoneinfo"}
    program = (
        "import redis_patterns, redis_patterns_core.leases, redis_patterns_core.retry, redis_patterns_core.tracing"
    )
    assert in_a_fresh_interpreter(f"{program}; print(*sorted({heavy!r} & set(sys.modules)))", "-I", "-S") == ""


def test_all_names_at_once() -> None:
    """``import *`` gives every public name, in a program that has loaded nothing before."""
    program = "from redis_patterns import *; import redis_patterns as r; print(set(r.__all__) - set(globals()))"
    assert in_a_fresh_interpreter(program) == "set()"


def test_help_shows_the_front_door() -> None:
    """``help`` knows all names, each with the module it is of."""
    shown = in_a_fresh_interpreter("import pydoc, redis_patterns; print(pydoc.plain(pydoc.render_doc(redis_patterns)))")
    assert "class TokenBucket(" in shown
    assert "rate_limit_headers(" in shown


def test_what_was_pickled_elsewhere_is_read() -> None:
    """A value comes out of a pickle in a program that has not used its pattern."""
    data = pickle.dumps(redis_patterns.Lock("order", ttl=10))
    assert in_a_fresh_interpreter(f"import pickle; print(pickle.loads({data!r}).name)") == "order"


def test_threads_that_ask_at_the_same_time() -> None:
    """Many threads whose first use of a name is at one moment all get the same object."""
    program = """
import threading, redis_patterns
barrier, got = threading.Barrier(8), []
def ask():
    barrier.wait()
    got.append(tuple(getattr(redis_patterns, name) for name in redis_patterns.__all__))
threads = [threading.Thread(target=ask) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(got), len({tuple(map(id, one)) for one in got}))
"""
    assert in_a_fresh_interpreter(program) == "8 1"


def test_nothing_of_the_source_tree_leaks_into_an_installation() -> None:
    """The distribution holds the two packages and nothing called core, drivers or tests."""
    import tomllib

    settings = tomllib.loads((CORE.parent.parent / "pyproject.toml").read_text())
    wheel = settings["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == ["core/redis_patterns_core", "drivers/redis_patterns"]
    for package in wheel["packages"]:
        assert (CORE.parent.parent / package / "py.typed").exists()
