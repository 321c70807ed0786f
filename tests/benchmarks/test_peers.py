from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks import peers
from tests.benchmarks.peers import absent, python, said, start, version, versions


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file that tells where environments are, read anew."""
    path = tmp_path / "peers.json"
    path.write_text("{}")
    monkeypatch.setenv(peers.VARIABLE, str(path))
    caches = (peers._told, peers.version)
    for one in caches:
        one.cache_clear()
    yield path
    for one in caches:
        one.cache_clear()


def test_a_package_is_absent_for_a_reason(told: Path) -> None:
    """The one that was given when it could not be installed, by its name or by that of its environment."""
    reasons = {"no.such": {"absent": "too new"}, "arq": {"absent": "no wheel"}}
    told.write_text(json.dumps(reasons))
    assert absent("redis") == ""
    assert absent("No.Such") == "too new"
    assert absent("nobody") == "not installed"
    assert absent("arq", "arq") == "no wheel"
    assert absent("taskiq", "taskiq") == "not installed"


def test_an_environment_has_a_python_and_versions_of_its_own(told: Path) -> None:
    """What is installed there is asked there."""
    told.write_text(json.dumps({"arq": {"python": sys.executable}}))
    assert python("arq") == python() == sys.executable
    assert python("taskiq") == ""
    assert version("redis", "arq") == version("redis") != ""
    assert (version("nobody", "arq"), version("redis", "taskiq")) == ("", "")
    assert absent("redis", "arq") == ""


def test_all_peers_have_a_version_or_a_reason(told: Path) -> None:
    """Those of all files, without what is ours."""
    told.write_text(json.dumps({"taskiq-redis": {"absent": "no"}, "taskiq": {"absent": "no wheel"}}))
    found = versions()
    assert {"arq", "limits", "rq", "taskiq-redis"} <= set(found)
    assert not {"redis", "hiredis"} & set(found)
    assert found["taskiq-redis"] == "no wheel"
    assert list(found) == sorted(found, key=str.lower)


def test_a_program_says_a_number_or_why_not() -> None:
    """Its last word; else the last line of its errors that has words."""
    with pytest.raises(RuntimeError, match="IndexError: list index out of range"):
        said(start("", "queue_producers", "ours"), 30)
    with pytest.raises(RuntimeError, match="it did not end"):
        said(start("", "queue_workers", "bullmq", "redis://127.0.0.1:1", "1"), 0.0)
