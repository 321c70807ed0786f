"""The scripts: their form, and the locks' behaviour; the token bucket's arithmetic is in test_rate_limits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import redis_patterns_core
from redis_patterns import Lease, Lock, Script
from tests.core.lua import RUNTIMES, Fake

FOLDER = Path(redis_patterns_core.__file__).parent / "lua"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.lua"))


@pytest.mark.parametrize("version", sorted(RUNTIMES))
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_compiles(name: str, version: str) -> None:
    """Every script is Lua 5.1, as in Redis, and 5.4, as in servers that speak its protocol."""
    Fake(version).lua.compile(Script.load(name).source.encode())


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_says_what_it_touches(name: str) -> None:
    """The comment at the head documents KEYS, ARGV where there are any, and the reply."""
    source = Script.load(name).source
    head = "".join(line for line in source.splitlines(keepends=True) if line.startswith("--"))
    assert source.startswith("-- ")
    assert {int(number) for number in re.findall(r"KEYS\[(\d+)\]", source)} == {
        int(number) for number in re.findall(r"KEYS\[(\d+)\]", head)
    }
    assert ("ARGV[" in source) == ("-- ARGV" in head)
    assert "-- Reply" in head


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_declares_its_keys(name: str) -> None:
    """Each command's key is one of KEYS, never built in the script: a cluster must know them."""
    source = re.sub(r"--.*", "", Script.load(name).source)
    calls = re.findall(r"\bcall\('(\w+)'(?:, *([^,)]+))?", source)
    assert calls
    for command, key in calls:
        # Where there may be several, `key` is one of them; that it is none else is checked whenever a test runs it.
        assert command == "TIME" or re.fullmatch(r"KEYS\[\d+\]|key", key.strip()), (command, key)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_sets_no_global(name: str) -> None:
    """Redis refuses to set globals, but only where the line is reached; here every line counts."""
    source = re.sub(r"--.*|'[^']*'", "", Script.load(name).source)
    local = set(re.findall(r"\blocal ((?:\w+)(?:, *\w+)*)", source))
    known = {word.strip() for names in local for word in names.split(",")}
    known |= {name.strip() for names in re.findall(r"function \w*\(([^)]*)\)", source) for name in names.split(",")}
    assigned = {
        word.strip()
        for names in re.findall(r"(?m)(?:^|then|else|do)\s*((?:\w+)(?:, *\w+)*) *=(?!=)", source)
        for word in names.split(",")
    }
    assert assigned <= known


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_a_lock_is_its_tokens(version: str) -> None:
    """Taken once, again by the same token only; prolonged and freed by its holder only; never prolonged once gone."""
    redis, lock = Fake(version), Lock("x", ttl=2)
    ours, theirs = Lease("x", "ours"), Lease("x", "theirs")
    assert redis.run(lock.acquire("ours")) == ours
    assert redis.run(lock.acquire("theirs")) is None
    redis.now += 1_000_000
    assert redis.reply(lock.acquire("theirs").commands[0]) == [0, 1000]
    assert redis.run(lock.acquire("ours")) == ours
    assert redis.reply(lock.acquire("theirs").commands[0]) == [0, 2000]
    assert redis.run(lock.extend(theirs)) is False
    assert redis.run(lock.release(theirs)) is False
    assert redis.strings == {"lock:{x}": "ours"}
    assert redis.run(lock.extend(ours, 5)) is True
    assert redis.expiry["lock:{x}"] == redis.now + 5_000_000
    redis.now += 5_000_000
    assert redis.run(lock.extend(ours)) is False
    assert redis.strings == {}
    assert redis.run(lock.acquire("theirs")) == theirs
    assert redis.run(lock.release(ours)) is False
    assert redis.run(lock.release(theirs)) is True
    assert redis.strings == {}
