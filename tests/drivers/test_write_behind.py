"""Writing behind through every driver, its times, and processes that are killed while they save."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import redis_patterns
import redis_patterns_core
from redis_patterns import MISS, ConfigurationError, DriverClosed, Miss, Write, WriteBehind, WritesPending
from redis_patterns.sync import Driver
from redis_patterns.testing import Server
from redis_patterns.testing.memory import Server as Memory
from tests.drivers.conftest import Connect
from tests.drivers.faces import Face

pytestmark = pytest.mark.anyio


class Database:
    """What is saved, and in which portions."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}
        self.batches: list[list[str]] = []
        self.away = False

    def save(self, writes: Sequence[Write[Any]]) -> None:
        self.batches.append([write.key for write in writes])
        if self.away:
            raise OSError("the database is away")
        for write in writes:
            if isinstance(write.value, Miss):
                self.rows.pop(write.key, None)
            else:
                self.rows[write.key] = write.value


async def test_writes_are_read_at_once_and_saved_later(redis: Face, namespace: str) -> None:
    """The last of each key, removals included, in one call; what is saved can still be read."""
    database = Database()
    behind: WriteBehind[Any] = WriteBehind("x", ttl=60, delay=60, partitions=3, namespace=namespace)
    for key, value in [("a", 1), ("b", None), ("a", {"n": 2}), ("c", 3), ("c", MISS), ("d", 0)]:
        sequence = await redis.run(behind.put(key, value))
        assert sequence > 0
        assert await redis.run(behind.get(key)) == value
    assert await redis.run(behind.pending()) == 4
    assert await redis.run(behind.flush(database.save)) == 0
    database.rows["c"] = "old"
    assert await redis.run(behind.flush(database.save, all_now=True)) == 4
    assert database.rows == {"a": {"n": 2}, "b": None, "d": 0}
    assert sorted(key for batch in database.batches for key in batch) == ["a", "b", "c", "d"]
    assert await redis.run(behind.pending()) == 0
    assert await redis.run(behind.get("a")) == {"n": 2}
    assert await redis.run(behind.get("c")) is MISS


async def test_reading_what_was_saved_before(redis: Face, namespace: str) -> None:
    """Loaded once; never in the place of what was written meanwhile, or removed."""
    behind: WriteBehind[int] = WriteBehind("x", ttl=60, delay=60, namespace=namespace)
    asked = [0]

    def read() -> int:
        asked[0] += 1
        return 7

    assert [await redis.run(behind.load("k", read)) for _ in range(3)] == [7, 7, 7]
    assert asked == [1]
    assert await redis.run(behind.load("none", lambda: MISS)) is MISS

    def meanwhile() -> Any:
        yield from behind.put("other", 8)
        return 7

    assert await redis.run(behind.load("other", redis_patterns.Flow("loader", meanwhile))) == 8
    await redis.run(behind.put("k", MISS))
    assert await redis.run(behind.load("k", read)) is MISS
    assert asked == [1]


async def test_too_much_that_waits(redis: Face, namespace: str) -> None:
    """Refused, with nothing written; a key that waits already may be written again."""
    behind: WriteBehind[int] = WriteBehind("x", ttl=60, delay=60, most=2, namespace=namespace)
    await redis.run(behind.put("a", 1))
    await redis.run(behind.put("b", 2))
    await redis.run(behind.put("a", 3))
    with pytest.raises(WritesPending, match="2 keys of 'x'"):
        await redis.run(behind.put("c", 4))
    assert await redis.run(behind.get("c")) is MISS
    await redis.run(behind.flush(lambda _: None, all_now=True))
    await redis.run(behind.put("c", 4, wait=5))


def test_when_it_is_saved() -> None:
    """After the delay since the last write, and the most delay since the first; what fails is tried later each time."""
    memory, database = Memory(), Database()
    behind: WriteBehind[int] = WriteBehind("x", ttl=60, delay=1, most_delay=3, retry_after=2, tries=3)
    with memory.sync() as redis:

        def saves() -> int:
            return redis.run(behind.flush(database.save))

        redis.run(behind.put("k", 0))
        memory.clock.advance(0.9)
        assert saves() == 0
        memory.clock.advance(0.2)
        assert saves() == 1
        saved_at = list[int]()
        for number in range(8):  # again and again, so that the delay alone would never be over
            redis.run(behind.put("k", number))
            memory.clock.advance(0.4)
            saved_at += [number] * saves()
        assert saved_at == [7]
        assert database.rows == {"k": 7}

        database.away = True
        redis.run(behind.put("k", 100))
        tries = list[float]()
        began = memory.clock()
        while redis.run(behind.pending()):
            memory.clock.advance(0.5)
            try:
                saves()
            except OSError:
                tries.append(memory.clock() - began)
        assert tries == pytest.approx([1, 3, 7])
        (letter,) = redis.run(behind.dead_letters())
        assert (letter.key, letter.write and letter.write.value) == ("k", 100)
        assert letter.error == "OSError: the database is away"
        assert redis.run(behind.get("k")) == 100, "it can be read as long as its TTL"
        assert redis.run(behind.forget_dead("k")) is True
        assert redis.run(behind.forget_dead("k")) is False
        assert redis.run(behind.dead_letters()) == []


def test_what_is_written_while_it_is_saved() -> None:
    """The newer one stays to be saved, and nobody saves it before the older one is done with."""
    memory, database = Memory(), Database()
    behind: WriteBehind[int] = WriteBehind("x", ttl=60, delay=1, lease=10)
    with memory.sync() as redis:

        def save(writes: Sequence[Write[int]]) -> None:
            if not database.batches:
                redis.run(behind.put("k", 2))
                memory.clock.advance(5)
                database.save(writes)
                assert redis.run(behind.flush(database.save, all_now=True)) == 0
            else:
                database.save(writes)

        redis.run(behind.put("k", 1))
        memory.clock.advance(1)
        assert redis.run(behind.flush(save)) == 1
        assert database.rows == {"k": 1}
        memory.clock.advance(1)
        assert redis.run(behind.flush(save)) == 1
        assert database.rows == {"k": 2}


def test_what_cannot_be_read_goes_to_the_dead() -> None:
    """Bytes that the codec cannot read keep nothing else from being saved."""
    memory, database = Memory(), Database()
    texts: WriteBehind[bytes] = WriteBehind("x", ttl=60, delay=0, codec=redis_patterns.Bytes(), tries=1)
    values: WriteBehind[Any] = WriteBehind("x", ttl=60, delay=0, tries=1)
    with memory.sync() as redis:
        redis.run(texts.put("broken", b"{"))
        redis.run(values.put("fine", 1))
        assert redis.run(values.flush(database.save, all_now=True)) == 1
        assert redis.run(values.pending()) == 0
        assert [letter.payload for letter in redis.run(values.dead_letters())] == [b"{"]


async def test_dead_letters_are_saved_after_all(redis: Face, namespace: str) -> None:
    """Of several partitions, those of some keys, or all; what is wrong with one takes no other with it."""
    database = Database()
    behind: WriteBehind[Any] = WriteBehind("x", ttl=60, delay=0, tries=2, partitions=2, namespace=namespace)

    def save(writes: Sequence[Write[Any]]) -> None:
        if any(write.value == "bad" for write in writes):
            raise ValueError("bad")
        database.save(writes)

    for key in "abcdef":
        await redis.run(behind.put(key, "bad" if key in "be" else key))
    while await redis.run(behind.pending()):
        with contextlib.suppress(ValueError):
            await redis.run(behind.flush(save, all_now=True))
    assert database.rows == {key: key for key in "acdf"}
    letters = await redis.run(behind.dead_letters())
    assert sorted((letter.key, letter.error) for letter in letters) == [
        ("b", "ValueError: bad"),
        ("e", "ValueError: bad"),
    ]
    assert await redis.run(behind.redrive("b", "c")) == 1
    assert await redis.run(behind.flush(database.save, all_now=True)) == 1
    assert await redis.run(behind.redrive()) == 1
    assert await redis.run(behind.flush(database.save, all_now=True)) == 1
    assert sorted(database.rows) == ["a", "b", "c", "d", "e", "f"]
    assert await redis.run(behind.dead_letters()) == []


async def test_who_looks_after_the_driver_hears_of_what_fails(connect: Connect, namespace: str) -> None:
    """By its handler of background errors; saving goes on."""
    database, rounds, told = Database(), [0], list[tuple[str, str]]()
    database.away = True
    behind: WriteBehind[int] = WriteBehind("x", ttl=60, delay=0, retry_after=0.001, namespace=namespace)

    def until() -> bool:
        rounds[0] += 1
        database.away = rounds[0] < 3
        return rounds[0] > 3

    async with connect(on_background_error=lambda what, error: told.append((what.name, str(error)))) as redis:
        await redis.run(behind.put("a", 1))
        await redis.run(behind.run(database.save, until=until))
    assert database.rows == {"a": 1}
    assert set(told) == {("writebehind.saving", "the database is away")}


async def test_saving_ends_when_the_driver_is_closed(connect: Connect, namespace: str) -> None:
    """By the error that says so."""
    behind: WriteBehind[int] = WriteBehind("x", ttl=60, delay=0, namespace=namespace)
    async with connect() as redis:
        await redis.close(0)
        with pytest.raises(DriverClosed):
            await redis.run(behind.run(print))


async def test_saving_again_and_again(redis: Face, namespace: str) -> None:
    """Until it is told to end; then what waits is saved too. An error of saving does not end it."""
    database, rounds = Database(), [0]
    behind: WriteBehind[int] = WriteBehind("x", ttl=60, delay=0.01, retry_after=0.01, namespace=namespace)

    def until() -> bool:
        rounds[0] += 1
        database.away = rounds[0] == 2
        return rounds[0] > 4

    await redis.run(behind.put("a", 1))
    await redis.run(behind.run(database.save, until=until))
    assert database.rows == {"a": 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ttl": 0}, "ttl must"),
        ({"batch": 0}, "batch must"),
        ({"partitions": 0}, "partitions must"),
        ({"delay": -1}, "delay must"),
        ({"name": ""}, "name must"),
    ],
)
def test_nonsense_is_refused(options: dict[str, Any], message: str) -> None:
    """By the name of the argument."""
    given: dict[str, Any] = {"name": "x", "ttl": 1, **options}
    with pytest.raises(ConfigurationError, match=message):
        WriteBehind(**given)


_SAVER = """
import sqlite3, sys, time
from redis_patterns import WriteBehind
from redis_patterns.sync import Driver
url, name, path = sys.argv[1:]
behind = WriteBehind(name, ttl=600, delay=0.01, most_delay=0.05, lease=0.4, retry_after=0.02, batch=5)
database = sqlite3.connect(path, timeout=30, isolation_level=None)
def save(writes):
    for write in writes:
        time.sleep(0.001)
        database.execute(
            "INSERT INTO rows VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value, "
            "sequence = excluded.sequence WHERE sequence < excluded.sequence",
            (write.key, write.value, write.sequence),
        )
with Driver.connect(url) as redis:
    print("ready", flush=True)
    redis.run(behind.run(save))
"""


def test_savers_that_are_killed(redis_server: Server, tmp_path: Path) -> None:
    """Killed at any moment, again and again: in the end the database has the last write of each key."""
    path, name, chance = str(tmp_path / "rows.db"), secrets.token_hex(8), random.Random(7)
    database = sqlite3.connect(path, timeout=30, isolation_level=None)
    database.execute("CREATE TABLE rows (key TEXT PRIMARY KEY, value INTEGER, sequence INTEGER)")
    packages = [str(Path(one.__path__[0]).parent) for one in (redis_patterns, redis_patterns_core)]

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", _SAVER, redis_server.url, name, path],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(packages)},
            stdout=subprocess.PIPE,
        )

    behind: WriteBehind[int] = WriteBehind(name, ttl=600, delay=0.01, most_delay=0.05, lease=0.4)
    last: dict[str, int] = {}
    stop = threading.Event()
    with Driver.connect(redis_server.url) as redis:

        def write() -> None:
            for number in range(100_000):
                key = f"k{chance.randrange(20)}"
                redis.run(behind.put(key, number))
                last[key] = number
                if stop.wait(0.001):
                    return

        writer = threading.Thread(target=write)
        savers = [start(), start()]
        try:
            writer.start()
            for turn in range(10):
                victim = savers[turn % 2]
                assert victim.stdout is not None
                assert victim.stdout.readline() == b"ready\n"
                time.sleep(chance.uniform(0.01, 0.15))
                victim.send_signal(signal.SIGKILL)
                victim.wait()
                victim.stdout.close()
                savers[turn % 2] = start()
            stop.set()
            writer.join()
            until = time.monotonic() + 30
            while redis.run(behind.pending()):
                assert time.monotonic() < until, "something is never saved"
                time.sleep(0.01)
        finally:
            stop.set()
            for saver in savers:
                saver.kill()
                saver.communicate()
        assert redis.run(behind.dead_letters()) == []
    rows = dict(database.execute("SELECT key, value FROM rows").fetchall())
    database.close()
    assert rows == last
    assert len(last) == 20
