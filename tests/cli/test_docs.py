"""The examples of docs/command-line.md, run one after another on a server with what the page puts there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import redis_patterns_core
from redis_patterns.testing import Server
from tests.cli.conftest import CommandLine

PAGE = Path(redis_patterns_core.__file__).parent.parent.parent / "docs" / "command-line.md"


def alike(text: str) -> str:
    """Take away what differs from run to run: times, sizes, fingerprints, fences, and the room that they take."""
    text = re.sub(r"\b[0-9a-f]{16}\b", "FINGERPRINT", text)
    text = re.sub(r"\d\d\d\d-\d\d-\d\d \d\d:\d\d:\d\dZ", "TIME", text)
    text = re.sub(r"\b(Redis|Valkey) [\d.]+", "SERVER", text)
    text = re.sub(r"\d+(\.\d+)?( s\b| ms\b| B$| KiB$)", "NUMBER", text, flags=re.MULTILINE)
    return re.sub(r" +", " ", text)


def test_the_examples_of_the_page(command_line: CommandLine, own_server: Server) -> None:
    """What the page says that a command prints, it prints."""
    text = PAGE.read_text()
    (setup,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    exec(setup.replace("redis://localhost", own_server.url), {})  # noqa: S102  our own page
    examples = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    commands = [part for example in examples for part in re.split(r"^\$ ", example, flags=re.MULTILINE) if part]
    assert len(commands) == 15
    for line, _, expected in (command.partition("\n") for command in commands):
        program, *words = shlex.split(line)
        assert program == "redis-patterns"
        done = command_line(*words)
        assert (done.code, done.err) == (0, ""), line
        assert alike(done.out) == alike(expected), line
