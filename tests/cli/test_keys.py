"""``redis-patterns keys``."""

from __future__ import annotations

import json
import re

import pytest

from redis_patterns import Leaderboard, Lock, Sessions, batch
from redis_patterns.sync import Driver
from redis_patterns.testing import Server, cluster
from redis_patterns_core import surveys
from tests.cli.conftest import CommandLine
from tests.drivers.plans import once, sets

NOWHERE = "0123456789abcdef"


def wreck(redis: Driver) -> None:
    """Write keys with which something is wrong."""
    redis.run(
        batch(
            Leaderboard("weekly").add("ann", 1),
            Lock("order:1").acquire(),
            sets("SET", "lock:{order:2}", "token"),
            sets("SADD", "lock:{order:3}", "token"),
            sets("EXPIRE", "lock:{order:3}", 100),
            sets("ZADD", "leaderboard:{gone}:scores", 1, "ann"),
            sets("HSET", f"session:{{web:{NOWHERE}}}:{NOWHERE}", "c", 1, "u", "ann"),
            sets("EXPIRE", f"session:{{web:{NOWHERE}}}:{NOWHERE}", 100),
            sets("HSET", "jobs:{mails}:data", "a", 1),
            sets("SET", "cache:{users:1}", "x" * 5000, "EX", 100),
            sets("RPUSH", "queue:{a\x1b}", 1),
            sets("EXPIRE", "queue:{a\x1b}", 100),
            sets("SET", "somebody", 1),
        )
    )


def test_all_is_well(command_line: CommandLine, redis: Driver) -> None:
    """What each pattern holds stands there in 80 columns, by pattern and kind; the exit code is 0."""
    redis.run(batch(Leaderboard("weekly").add("ann", 1), Lock("a").acquire(), Lock("b").acquire()))
    redis.run(Sessions().create("ann"))
    redis.run(sets("SET", "somebody", 1))
    done = command_line("keys")
    assert (done.code, done.err) == (0, "")
    assert (
        re.sub(r" +[\d.]+ K?i?B\n", " MEMORY\n", done.out)
        == """\
Sessions
  session:{}:index  1  zset MEMORY
  session:{}:*      1  hash MEMORY
Lock
  lock:{}           2  string MEMORY
  lock:{}:fence     2  string MEMORY
Leaderboard
  leaderboard:{}    1  zset MEMORY
no pattern's
  -                 1  string MEMORY
"""
    )


def test_what_is_wrong(command_line: CommandLine, redis: Driver) -> None:
    """Keys without TTL, with one that must have none, of a wrong type, too large, and orphans are counted and named."""
    wreck(redis)
    done = command_line("keys", "--list", "--oversize", "4000")
    assert done.code == 1
    for line in (
        r"  cache:\{\}              1  string       [\d.]+ KiB  1 oversize",
        r"  session:\{\}:\*          1  hash           [\d.]+ B  1 orphan",
        r"  lock:\{\}               3  set, string    [\d.]+ B  1 without TTL, 1 wrong type",
        r"  queue:\{\}              1  list           [\d.]+ B  1 with TTL",
        r"  jobs:\{\}:data          1  hash           [\d.]+ B  1 orphan",
        r"  leaderboard:\{\}:scores  1  zset           [\d.]+ B  1 orphan",
        r"  leaderboard:\{\}        1  zset           [\d.]+ B",
    ):
        assert re.search(line.replace("  ", " +"), done.out), line
    listed = done.out.split("\n\n")[1].splitlines()
    assert sorted(listed) == [
        "orphan       jobs:{mails}:data",
        "orphan       leaderboard:{gone}:scores",
        f"orphan       session:{{web:{NOWHERE}}}:{NOWHERE}",
        "oversize     cache:{users:1}",
        r"with TTL     queue:{a\x1b}",
        "without TTL  lock:{order:2}",
        "wrong type   lock:{order:3}",
    ]
    assert done.out.endswith("\n6 wrong\n")  # an orphan that has a TTL goes by itself
    assert "\x1b" not in done.out
    assert all(len(line) <= 80 for line in done.out.splitlines())
    assert "6 wrong; --list shows where" in command_line("keys", "--oversize", "4000").out


def test_very_much_is_wrong(command_line: CommandLine, redis: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long list has an end, and says that there is more; a long name is not broken."""
    monkeypatch.setattr(surveys, "_MOST_LISTED", 2)
    redis.run(batch(*[sets("SET", f"lock:{{{id}{'x' * 100}}}", 1) for id in range(5)]))
    done = command_line("keys", "--list")
    _, listed, summary = done.out.split("\n\n")
    first, second, more = listed.splitlines()
    assert all(re.fullmatch(r"without TTL  lock:\{\dx{100}\}", line) for line in (first, second))
    assert (more, summary) == ("and 3 more", "5 wrong\n")


def test_for_programs(command_line: CommandLine, redis: Driver) -> None:
    """As JSON it is one object, whose numbers are numbers."""
    wreck(redis)
    told = json.loads(command_line("keys", "--json", "--list", "--match", "l*").out)
    for kind in told["kinds"]:
        assert kind.pop("memory") > 0
    assert sorted(told.pop("offences"), key=lambda one: one["key"]) == [
        {"key": "leaderboard:{gone}:scores", "kind": "leaderboard:{}:scores", "problem": "orphan", "passing": False},
        {"key": "lock:{order:2}", "kind": "lock:{}", "problem": "without TTL", "passing": False},
        {"key": "lock:{order:3}", "kind": "lock:{}", "problem": "wrong type", "passing": False},
    ]
    lock, fence, scores, board = told.pop("kinds")
    assert lock == {
        "pattern": "Lock",
        "kind": "lock:{}",
        "keys": 3,
        "types": {"string": 2, "set": 1},
        "problems": {"without TTL": 1, "wrong type": 1},
    }
    assert (fence["kind"], scores["problems"], board["problems"]) == ("lock:{}:fence", {"orphan": 1}, {})
    assert told == {"ok": False, "whole": True, "wrong": 3}
    assert "offences" not in json.loads(command_line("keys", "--json").out)


def test_what_is_no_orphan(command_line: CommandLine, redis: Driver) -> None:
    """A visitor's session is in no index, and a board that is there may have something beside it."""
    redis.run(Sessions().create(None))
    redis.run(batch(Leaderboard("weekly").add("ann", 1), sets("ZADD", "leaderboard:{weekly}:scores", 1, 1)))
    assert command_line("keys").code == 0


def test_an_orphan_that_goes_by_itself(command_line: CommandLine, redis: Driver) -> None:
    """The session of a user that made room for another one is shown, and is no reason to worry."""
    sessions = Sessions(max_per_user=1)
    redis.run(sessions.create("ann"))
    redis.run(sessions.create("ann"))
    done = command_line("keys")
    assert done.code == 0
    assert "1 orphan" in done.out


def test_one_that_cannot_be_asked_hides_no_other(command_line: CommandLine, redis: Driver) -> None:
    """Where what an orphan needs has another type, that one is reported for its type, and the others are found."""
    redis.run(sets("SET", f"session:{{web:{NOWHERE}}}:index", 1, "EX", 100))
    wreck(redis)
    done = command_line("keys", "--json")
    problems = {kind["kind"]: kind["problems"] for kind in json.loads(done.out)["kinds"]}
    assert problems["session:{}:index"] == {"wrong type": 1}
    assert problems["session:{}:*"] == {}
    assert problems["jobs:{}:data"] == problems["leaderboard:{}:scores"] == {"orphan": 1}


def test_some_of_the_keys(command_line: CommandLine, redis: Driver) -> None:
    """A namespace stands for itself, and a pattern is for what is behind it."""
    for namespace in ("shop", "s*", ""):
        redis.run(batch(Lock("a", namespace=namespace).acquire(), Leaderboard("b", namespace=namespace).add("c", 1)))

    def counts(*words: str) -> dict[str, int]:
        return {kind["kind"]: kind["keys"] for kind in json.loads(command_line("keys", "--json", *words).out)["kinds"]}

    assert counts() == {"lock:{}": 3, "lock:{}:fence": 3, "leaderboard:{}": 3}
    assert counts("--namespace", "s*") == {"lock:{}": 1, "lock:{}:fence": 1, "leaderboard:{}": 1}
    assert counts("--namespace", "shop", "--match", "lead*") == {"leaderboard:{}": 1}
    assert counts("--match", "nothing*") == {}
    assert command_line("keys", "--match", "nothing*").out == "no keys\n"


def test_many_keys(command_line: CommandLine, redis: Driver) -> None:
    """It ends after about as many keys as it may look at, and says so; 0 is for all."""
    for first in range(0, 3000, 1000):
        redis.run(batch(*[sets("SET", f"cache:{{users:{first + id}}}", 1, "EX", 100) for id in range(1000)]))
    done = command_line("keys", "--limit", "600")
    assert done.code == 0
    assert done.out.endswith("\nnot all keys were looked at: give a greater --limit, or 0 for all\n")
    told = json.loads(command_line("keys", "--limit", "600", "--json").out)
    assert not told["whole"]
    assert 600 <= told["kinds"][0]["keys"] < 3000
    told = json.loads(command_line("keys", "--limit", "0", "--json").out)
    assert (told["whole"], told["kinds"][0]["keys"]) == (True, 3000)


def test_a_user_who_may_not_see_sizes(command_line: CommandLine, redis: Driver, own_server: Server) -> None:
    """Where MEMORY is refused all else is told."""
    wreck(redis)
    redis.run(sets("ACL", "SETUSER", "some", "reset", "on", ">sesame", "~*", "+@all", "-memory"))
    url = own_server.tcp_url.replace("redis://", "redis://some:sesame@")
    told = json.loads(command_line("keys", "--json", "--url", url, "--match", "lock*").out)
    assert [kind["memory"] for kind in told["kinds"]] == [None, None]
    assert re.search(r"lock:\{\} +3  set, string +\?  1 without TTL", command_line("keys", "--url", url).out)


def test_all_primaries_of_a_cluster(command_line: CommandLine) -> None:
    """In a cluster every primary is looked at, given one node."""
    with cluster() as running, Driver.connect(running.url, cluster=True) as redis:
        for name in range(30):
            redis.run(Lock(str(name)).acquire())
        redis.run(once("ZADD", "leaderboard:{gone}:scores", 1, "ann"))
        done = command_line("keys", "--json", "--url", running.url)
    told = json.loads(done.out)
    assert {kind["kind"]: kind["keys"] for kind in told["kinds"]} == {
        "lock:{}": 30,
        "lock:{}:fence": 30,
        "leaderboard:{}:scores": 1,
    }
    assert (done.code, told["wrong"]) == (1, 1)


@pytest.mark.parametrize(
    "words", [["--match", ""], ["--limit", "-1"], ["--oversize", "-1"], ["--limit", "x"], ["--namespace", "\ud800"]]
)
def test_what_is_not_allowed(command_line: CommandLine, words: list[str]) -> None:
    """What cannot be run has the exit code 2, and says what is allowed."""
    done = command_line("keys", *words)
    assert (done.code, done.out) == (2, "")
    assert "must be" in done.err or "invalid" in done.err
