"""A private server, and the command line in this process."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from redis_patterns.__main__ import main
from redis_patterns.sync import Driver
from redis_patterns.testing import Server, server
from tests.drivers.plans import once


@dataclass(frozen=True)
class Done:
    """What a command has said: its exit code, and its output."""

    code: int
    out: str
    err: str


CommandLine = Callable[..., Done]


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(scope="session")
def own_server() -> Iterator[Server]:
    """Give a running server that is emptied before each test."""
    with server(tcp=True) as running:
        yield running


@pytest.fixture
def redis(own_server: Server) -> Iterator[Driver]:
    with Driver.connect(own_server.url) as driver:
        driver.run(once("FLUSHALL"))
        yield driver


@pytest.fixture
def command_line(
    redis: Driver, own_server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    """Give what runs a command on the server; ``typed`` is what somebody types at a terminal, ``None`` for nobody."""
    monkeypatch.setenv("REDIS_URL", own_server.url)

    def run(*words: str, typed: str | None = None) -> Done:
        monkeypatch.setattr("sys.stdin", io.StringIO() if typed is None else Terminal(typed))
        capsys.readouterr()
        try:
            code = main(words)
        except SystemExit as ended:  # as argparse does
            code = ended.code if isinstance(ended.code, int) else -1
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return run
