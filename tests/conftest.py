"""What all tests share: one private Redis server for the session."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest

from redis_patterns.testing import Server, ServerNotFound, server

# Before fakeredis, which loads its Lua with all symbols open to what is loaded later: a second Lua would then use the
# first one's functions, and crash.
for _lua in ("lupa.lua51", "lupa.lua54"):
    importlib.import_module(_lua)


def pytest_report_header() -> str:
    # Found out by starting one: whether it runs at all is the first thing to know when everything fails.
    try:
        with server() as running:
            return f"redis server: {running.executable} {running.version}"
    except (ServerNotFound, OSError, RuntimeError) as error:
        return f"redis server: none; {error}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The longest file first, so that where files run side by side nobody waits for it in the end.
    items.sort(key=lambda item: "tests/simulation" not in item.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    from tests.faults import tally

    told = getattr(session.config, "workeroutput", None)  # of one of several processes
    if told is not None:
        told["faults tried"] = dict(tally.COUNTS)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    from tests.faults import tally

    tally.COUNTS.update(getattr(node, "workeroutput", {}).get("faults tried", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    from tests.faults import tally

    if tally.COUNTS:
        terminalreporter.write_line(f"faults tried: {tally.line()}")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Server]:
    """Give a running server that the whole session shares; without one, the tests that ask for it fail."""
    with server() as running:
        yield running
