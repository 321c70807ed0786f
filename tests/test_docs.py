"""Runs every example of the README and of the documentation, and compares what it prints."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import redis_patterns_core
from redis_patterns.sync import Driver
from redis_patterns.testing import Server, server
from tests.drivers.plans import once

ROOT = Path(redis_patterns_core.__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_EXAMPLE = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    with server() as running:
        yield running


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_of_a_page(page: Path, own_server: Server) -> None:
    """A page's examples run one after another as they stand, and print what the page says."""
    text = page.read_text()
    # Port 1 is where nobody is; any other would be past the test's server.
    assert "redis://localhost:" not in text.replace('redis://localhost:1"', ""), (
        "an example goes past the test's server"
    )
    with Driver.connect(own_server.url) as driver:
        driver.run(once("FLUSHALL"))
    names: dict[str, Any] = {"__name__": "example"}
    for match in _EXAMPLE.finditer(text):
        line = text[: match.start()].count("\n") + 1
        source = "\n" * line + re.sub(r"redis://localhost(?!:)", own_server.url, match[1])
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(source, str(page), "exec"), names)  # noqa: S102  our own pages
        assert printed.getvalue() == (match[2] or ""), f"{page.name}, line {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_links_of_a_page(page: Path) -> None:
    """Links to other files of the project lead somewhere."""
    for target in _LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_pattern_of_the_readme_has_a_page() -> None:
    """The README's table names the patterns, each with its page."""
    table = re.findall(r"^\| \[`(\w+)`\]\(([^)]+)\)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert {name for name, _ in table} == {
        "AllOf",
        "Cache",
        "ConcurrencyLimit",
        "Counter",
        "FairLock",
        "FifoQueue",
        "Jobs",
        "Leaderboard",
        "Lock",
        "MultiLock",
        "Sessions",
        "TokenBucket",
        "Uniques",
        "WriteBehind",
    }
    for name, page in table:
        assert name in (ROOT / page.partition("#")[0]).read_text()


@pytest.mark.parametrize("name", ["counters", "rate_limits"])
def test_a_picture_is_what_its_script_draws(name: str) -> None:
    """The plots are up to date."""
    script = runpy.run_path(str(ROOT / "docs" / "plots" / f"{name}.py"))
    assert script["PICTURE"].read_text() == script["draw"](), f"run: python docs/plots/{name}.py"
