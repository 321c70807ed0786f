"""The scripts: their form, and the locks' behaviour; the token bucket's arithmetic is in test_rate_limits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

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
        for names in re.findall(r"(?m)(?:^|\bthen\b|\belse\b|\bdo\b)\s*((?:\w+)(?:, *\w+)*) *=(?!=)", source)
        for word in names.split(",")
    }
    assert assigned <= known


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_a_lock_is_its_tokens(version: str) -> None:
    """Taken once, again by the same token only; prolonged and freed by its holder only; never prolonged once gone."""
    redis, lock = Fake(version), Lock("x", ttl=2)

    def holder() -> str | None:
        return redis.strings.get("lock:{x}")

    ours, theirs = Lease("x", "ours"), Lease("x", "theirs")
    assert redis.run(lock.acquire("ours")) == ours
    assert redis.run(lock.acquire("theirs")) is None
    redis.now += 1_000_000
    assert redis.reply(lock.acquire("theirs").commands[0]) == [0, 1000, 0]
    assert redis.run(lock.acquire("ours")) == ours
    assert redis.reply(lock.acquire("theirs").commands[0]) == [0, 2000, 0]
    assert redis.run(lock.extend(theirs)) is False
    assert redis.run(lock.release(theirs)) is False
    assert holder() == "ours"
    assert redis.run(lock.extend(ours, 5)) is True
    assert redis.expiry["lock:{x}"] == redis.now + 5_000_000
    redis.now += 5_000_000
    assert redis.run(lock.extend(ours)) is False
    assert holder() is None
    assert redis.run(lock.acquire("theirs")) == theirs
    assert redis.run(lock.release(ours)) is False
    assert redis.run(lock.release(theirs)) is True
    assert holder() is None


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_fences_only_grow(version: str) -> None:
    """Within a microsecond, across expiry, by a clock that steps back, after a loss; asking again keeps one's own."""
    redis, lock, seen = Fake(version), Lock("x", ttl=2), [0]

    def acquire(token: str) -> int:
        lease = redis.run(lock.acquire(token))
        assert lease is not None
        return int(lease.fence)

    for number, step in enumerate([0, 0, 3_000_000, 0, -1_000_000, 0, 2_000_000]):
        redis.now += step
        redis.expire()
        seen.append(acquire(f"t{number}"))
        assert seen[-1] == max(seen[-2] + 1, redis.now), "no number is left out without need"
        assert acquire(f"t{number}") == seen[-1]
        assert redis.expiry["lock:{x}:fence"] == redis.now + 2_000_000 + 86_400_000_000
        if number == 2:
            del redis.strings["lock:{x}:fence"]  # lost while it is held
            redis.now += 1
            seen.append(acquire("t2"))
            assert seen[-1] == seen[-2] + 1 == redis.now
        if number == 5:
            del redis.strings["lock:{x}:fence"]  # lost: the clock knows better
        redis.run(lock.release(Lease("x", f"t{number}")))
    redis.now += 200_000_000_000
    redis.expire()
    assert redis.expiry == {}, "nothing is left a day after the last lease"
    assert acquire("later") > seen[-1]


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_a_release_wakes_one_who_waits(version: str) -> None:
    """Only where somebody waits, and only one; who gives up passes it on; who acquires leaves the line."""
    redis, lock = Fake(version), Lock("x", ttl=2)

    def look(token: str, wait: int = 15_000) -> Any:
        return redis.reply(lock._acquisition(token, wait))

    def waiting() -> int:
        return int(redis.run(lock.inspect()).waiting)

    redis.run(lock.acquire("a"))
    redis.run(lock.release(Lease("x", "a")))
    assert lock.wake_key not in redis.lists
    assert look("a")[0] == 1
    assert look("b")[0] == look("c")[0] == 0
    assert waiting() == 2
    redis.run(lock.release(Lease("x", "nobody")))
    assert lock.wake_key not in redis.lists, "it is held"
    for _ in range(2):
        redis.run(lock.release(Lease("x", "a")))
    assert redis.lists[lock.wake_key] == ["1"]
    assert redis.expiry[lock.wake_key] == redis.now + 60_000_000
    redis.lists.clear()  # b took it, and is cancelled
    redis.run(lock.release(Lease("x", "b")))
    assert redis.lists[lock.wake_key] == ["1"]
    assert look("c")[0] == 1
    assert lock.wake_key not in redis.lists
    assert waiting() == 0
    assert look("d")[0] == 0
    assert look("d", 0)[0] == 0
    assert waiting() == 0, "its wait is over"
    assert set(redis.expiry) == {lock.key, f"{lock.key}:fence"}


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_who_waits_is_counted_until_its_wait_is_over(version: str) -> None:
    """To the millisecond; then the next who asks takes it out of the line, which goes with the last of them."""
    redis, lock, line = Fake(version), Lock("x", ttl=60), "lock:{x}:waiting"

    def inspected() -> Any:
        return redis.reply(lock.inspect().commands[0])

    redis.now += 999_999
    moment = redis.now // 1000
    redis.run(lock.acquire("a"))
    for token, wait in (("b", 1000), ("c", 500)):
        assert redis.reply(lock._acquisition(token, wait)) == [0, 60_000, 0]
        assert redis.sets[line][token] == moment + wait
    assert redis.expiry[line] == redis.now + 1_000_000, "the shorter wait does not cut the longer one"
    redis.now += 499_000
    assert inspected() == [b"a", 59_501, 1_700_000_000_999_999, 2]
    redis.now += 1
    assert inspected()[3] == 1
    redis.reply(lock._acquisition("d", 2000))
    assert set(redis.sets[line]) == {"b", "d"}
    assert redis.expiry[line] == redis.now + 2_000_000
    del redis.strings["lock:{x}:fence"]
    assert inspected() == [b"a", 59_500, 0, 2]
    redis.run(lock.release(Lease("x", "a")))
    assert inspected() == [b"", 0, 0, 2]
