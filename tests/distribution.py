"""Checks what is in a source distribution and a wheel: ``python tests/distribution.py NAME.tar.gz NAME.whl``."""

from __future__ import annotations

import email.message
import email.parser
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def committed(*folders: str) -> set[str]:
    """Name the files that belong to the project: those that git knows."""
    named = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, check=True, capture_output=True, text=True)
    return set(named.stdout.split())


def check_wheel(path: Path) -> None:
    """The wheel holds the two packages, whole, and its metadata; nothing else."""
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        metadata = f"{PROJECT['name'].replace('-', '_')}-{PROJECT['version']}.dist-info"
        described = email.parser.BytesParser().parsebytes(wheel.read(f"{metadata}/METADATA"))
        entries = wheel.read(f"{metadata}/entry_points.txt").decode()
    sources = {name.partition("/")[2] for name in committed("core", "drivers")}
    assert {name for name in names if not name.startswith(metadata)} == sources, names ^ sources
    assert {"redis_patterns/py.typed", "redis_patterns_core/py.typed"} <= names
    assert {Path(name).suffix for name in sources} == {".py", ".lua", ".typed"}, sources
    assert {f"{metadata}/RECORD", f"{metadata}/licenses/LICENSE"} <= names
    assert "redis-patterns = redis_patterns.__main__:main" in entries
    check_metadata(described)


def check_metadata(described: email.message.Message) -> None:
    """Who installs the wheel gets four packages, and no more without an extra."""
    assert described["Name"] == PROJECT["name"]
    assert described["Version"] == PROJECT["version"]
    assert described["Requires-Python"] == PROJECT["requires-python"]
    assert described["License-Expression"] == PROJECT["license"]
    assert described["Description-Content-Type"] == "text/markdown"
    wanted = [one for one in described.get_all("Requires-Dist", []) if "extra ==" not in one]
    assert sorted(one.split(">")[0] for one in wanted) == ["anyio", "hiredis", "redis", "trio"]
    assert set(described.get_all("Provides-Extra", [])) == set(PROJECT["optional-dependencies"])
    assert set(PROJECT["classifiers"]) == set(described.get_all("Classifier", []))


def check_sdist(path: Path) -> None:
    """The source distribution holds what it takes to build, test and document the project."""
    with tarfile.open(path) as sdist:
        names = {member.name.partition("/")[2] for member in sdist if member.isfile()}
    missing = committed("core", "drivers", "tests", "typings", "docs", "*.md", "*.py", "*.toml", "LICENSE") - names
    assert not missing, missing
    assert not (extra := names - committed() - {"PKG-INFO"}), extra


if __name__ == "__main__":
    check_sdist(Path(sys.argv[1]))
    check_wheel(Path(sys.argv[2]))
    print("all that should be in them is, and nothing else")
