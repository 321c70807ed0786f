"""The peers: which of them are here, where those are that cannot live beside us, and why one is absent.

Most share our environment; `requirements.in` names them and `requirements.txt` has their versions. One that wants
another redis-py than ours has an environment of its own, by the lock file of its name in the folder ``peers``, and runs
as a program there; so this module, and what runs there, imports nothing of ours. ``nox -s bench`` makes all of them,
and names a file that tells where they are.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

VARIABLE = "REDIS_PATTERNS_PEERS"
"""Names a JSON file: for each environment its ``python``, for each package that could not be installed ``absent``."""

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).resolve().parent


def optional(name: str) -> Any:
    """Import a peer that need not be installed; ``None`` when it is not."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


@functools.cache
def _told() -> dict[str, dict[str, str]]:
    path = os.environ.get(VARIABLE)
    return json.loads(Path(path).read_text(encoding="utf-8")) if path else {}


def python(environment: str = "") -> str:
    """Give the Python of an environment, ours without a name; empty when it is not there."""
    return _told().get(environment, {}).get("python", "") if environment else sys.executable


def absent(package: str, environment: str = "") -> str:
    """Tell why a package cannot be measured; empty when it can.

    Parameters:
        package: as it is called where it is installed from.
        environment: where it lives.
    """
    told = _told().get(environment or package.lower(), {}).get("absent", "")
    return "" if version(package, environment) else told or "not installed"


@functools.cache
def version(package: str, environment: str = "") -> str:
    """Give a package's version in an environment, empty where it is not installed."""
    if environment:
        tell = "import sys, importlib.metadata as m; print(m.version(sys.argv[1]))"
        where = python(environment)
        words = [where, "-c", tell, package]
        return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip() if where else ""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def versions() -> dict[str, str]:
    """Give the versions of all peers, those in environments of their own with the redis-py that they have there."""
    found = {name: version(name) or absent(name) for name in _named(FOLDER / "requirements.in")}
    for ours in ("hiredis", "redis"):
        del found[ours]
    for wanted in sorted((FOLDER / "peers").glob("*.in")):
        environment = wanted.stem
        beside = version("redis", environment)
        for name in set(_named(wanted)) - {"hiredis"}:
            own = version(name, environment)
            found[name] = f"{own} on redis-py {beside}" if own else absent(name, environment)
    return dict(sorted(found.items(), key=lambda one: one[0].lower()))


def _named(path: Path) -> list[str]:
    return re.findall(r"^[\w.-]+", path.read_text(encoding="utf-8"), re.MULTILINE)


def start(environment: str, module: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a module of this folder as a program in an environment."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in ("", "core", "drivers"))}
    words = [python(environment), "-m", f"tests.benchmarks.{module}", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(words, env=env, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def said(process: subprocess.Popen[str], seconds: float) -> float:
    """Give the number that a program says last, and see to its end.

    Raises:
        RuntimeError: it said no number, or did not end in so many seconds; with the end of its errors.
    """
    out, errors = "", "it did not end"
    with process:
        try:
            out, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    try:
        return float(out.split()[-1])
    except (IndexError, ValueError):
        lines = [line.strip(" |") for line in errors.splitlines() if re.search("[a-z]", line)]
        raise RuntimeError(lines[-1] if lines else "it said nothing") from None
