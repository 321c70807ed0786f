"""Surveys of a server in memory, and of answers made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from redis_patterns import Command, CommandFailed, Effect, Jobs, Leaderboard, Lock, Plan, Sessions
from redis_patterns.testing import Dry
from redis_patterns.testing.memory import Server
from redis_patterns_core.scanning import unlink_matching
from redis_patterns_core.surveys import Survey, survey

DENIED = CommandFailed("survey", "NOPERM", "no")


def do(*words: Any) -> Plan[object]:
    return Plan("do", (Command(words),), lambda replies: replies[0])


class Keyspace:
    """A server and what is in it."""

    def __init__(self) -> None:
        self.server = Server()

    def __call__(self, *steps: Any) -> Any:
        with self.server.sync() as redis:
            return [redis.run(step) for step in steps][-1]

    def survey(self, pattern: str = "*", **options: Any) -> Survey:
        found: Survey = self(survey(pattern, **options))
        return found


def offences(found: Survey) -> list[tuple[str, str, bool]]:
    return sorted((one.key.decode(), one.problem, one.passing) for one in found.offences)


def test_what_there_is() -> None:
    """How many keys of each kind and type, in the order of the table; the keys of nobody come last."""
    keys = Keyspace()
    keys(Lock("a").acquire(), Lock("b").acquire(), do("SET", "mine", 1), do("SADD", "other", 1))
    keys(Sessions().create("ann"))
    found = keys.survey()
    assert [(one.kind.label if one.kind else "", one.keys, dict(one.types)) for one in found.tallies] == [
        ("session:{}:index", 1, {"zset": 1}),
        ("session:{}:*", 1, {"hash": 1}),
        ("lock:{}", 2, {"string": 2}),
        ("lock:{}:fence", 2, {"string": 2}),
        ("", 2, {"string": 1, "set": 1}),
    ]
    assert (found.offences, found.wrong, found.whole) == ((), 0, True)
    assert [one.kind for one in keys.survey("mine").tallies] == [None]


def test_what_is_wrong() -> None:
    """A type or a TTL that is not the kind's; a key that means nothing any more."""
    keys = Keyspace()
    keys(
        do("SET", "lock:{a}", 1),
        do("RPUSH", "lock:{b}", 1),
        do("ZADD", "leaderboard:{gone}:scores", 1, "ann"),
        do("SET", "leaderboard:{c}:scores", 1),
        do("ZADD", "leaderboard:{gone}:day:1:order", 1, "ann"),
        do("PEXPIRE", "leaderboard:{gone}:day:1:order", 5000),
        Leaderboard("d", first_come=True).add("ann", 1),
    )
    found = keys.survey()
    assert offences(found) == [
        ("leaderboard:{c}:scores", "wrong type", False),
        ("leaderboard:{gone}:day:1:order", "orphan", True),
        ("leaderboard:{gone}:scores", "orphan", False),
        ("lock:{a}", "without TTL", False),
        ("lock:{b}", "without TTL", False),
        ("lock:{b}", "wrong type", False),
    ]
    assert found.wrong == 5
    (locks,) = [one for one in found.tallies if one.kind is not None and one.kind.label == "lock:{}"]
    assert dict(locks.problems) == {"without TTL": 2, "wrong type": 1}


def test_sessions_that_are_in_no_index() -> None:
    """A user's is an orphan; a visitor's, and one that was left for another, are not."""
    keys = Keyspace()
    sessions = Sessions()
    made = keys(sessions.create("ann"))
    keys(sessions.create(), do("ZREM", f"session:{{web:{made.id[:16]}}}:index", made.handle))
    assert offences(keys.survey()) == [(f"session:{{web:{made.id[:16]}}}:{made.handle}", "orphan", True)]


def test_payloads_without_records() -> None:
    """They are orphans, as nobody will ever take them."""
    keys = Keyspace()
    jobs: Jobs[int] = Jobs("j")
    keys(jobs.enqueue_many([1, 2], ids=["a", "b"]))
    assert offences(keys.survey()) == []
    keys(do("HDEL", "jobs:{j}:job", "a"))
    assert offences(keys.survey()) == [("jobs:{j}:data", "orphan", False)]


def test_limits() -> None:
    """It ends after about so many keys, and names those that are too large."""
    keys = Keyspace()
    for number in range(3):
        keys(Lock(str(number)).acquire())
    assert keys.survey(limit=1).whole is False
    assert keys.survey(limit=6).whole is False
    assert keys.survey(limit=7).whole is True
    found = Dry(survey("*", oversize=100))
    found.expect("cluster.slots").fail(DENIED).expect("scan").answer([b"0", [b"lock:{a}", b"lock:{b}", b"mine"]])
    found.expect("survey.types").answer("string", 1, b"string", 1, "string", -1)
    found.expect("survey.memory").answer(100, 99, 1000)
    assert offences(found.result) == [("lock:{a}", "oversize", False)]
    assert [one.memory for one in found.result.tallies] == [199, 1000]


def test_a_server_that_does_not_tell_how_large_a_key_is() -> None:
    """It is asked no more, and the rest is told without; a key that has gone meanwhile is left out."""
    dry = Dry(survey("*", oversize=1))
    dry.expect("cluster.slots").fail(DENIED).expect("scan").answer([b"7", [b"lock:{a}", b"lock:{b}"]])
    dry.expect("survey.types").answer("string", 1, "none", -2).expect("survey.memory").fail(DENIED)
    dry.expect("scan").answer([b"0", [b"lock:{c}", b"lock:{c}"]]).expect("survey.types").answer("string", 1)
    (locks,) = dry.result.tallies
    assert (locks.keys, locks.memory, dry.result.offences) == (2, None, ())
    dry = Dry(survey("*"))
    dry.expect("cluster.slots").fail(DENIED).expect("scan").answer([b"0", [b"lock:{a}", b"lock:{b}"]])
    dry.expect("survey.types").answer("string", 1, "string", 1).expect("survey.memory").answer(5, None)
    assert [(one.keys, one.memory) for one in dry.result.tallies] == [(1, 5)]


def test_one_orphan_that_may_not_be_asked_for() -> None:
    """The others are asked for one by one."""
    names = [b"leaderboard:{a}:scores", b"leaderboard:{b}:order", b"leaderboard:{c}:scores"]
    dry = Dry(survey("*"))
    dry.expect("cluster.slots").fail(DENIED).expect("scan").answer([b"0", names])
    dry.expect("survey.types").answer("zset", 0, "zset", -1, "zset", -1).expect("survey.memory").answer(1, 1, 1)
    dry.expect("batch(3 survey.orphans)").fail(DENIED)
    dry.expect("survey.orphans").answer(1).expect("survey.orphans").fail(DENIED)
    step: Any = dry.expect("survey.orphans")._step
    assert step.commands == (Command(("EXISTS", "leaderboard:{c}", "leaderboard:{c}", names[2])),)
    dry.answer(3)
    assert offences(dry.result) == [("leaderboard:{a}:scores", "orphan", True)]


def test_at_most_a_thousand_are_listed() -> None:
    """All of them are counted."""
    names = [f"lock:{{{number}}}".encode() for number in range(1001)]
    dry = Dry(survey("*"))
    dry.expect("cluster.slots").fail(DENIED).expect("scan").answer([b"0", names])
    dry.expect("survey.types").answer(*["string", -1] * 1001).expect("survey.memory").answer(*[1] * 1001)
    assert (len(dry.result.offences), dry.result.wrong) == (1000, 1001)


def test_every_primary_is_looked_at() -> None:
    """Once, by the first of its slots that is named; to the end of its cursor."""
    first, second = [b"10.0.0.1", 7000, b"id", []], [b"10.0.0.1", 7001, b"id", []]
    dry = Dry(unlink_matching("a*"))
    look: Any = dry.expect("cluster.slots")._step
    assert (look.commands, look.effect) == ((Command(("CLUSTER", "SLOTS")),), Effect.READS)
    dry.answer([[0, 99, first, second], [100, 199, second], [200, 300, first]])
    for slot, cursor, following in ((0, b"0", b"17"), (0, b"17", b"0"), (100, b"0", b"0")):
        step: Any = dry.expect("scan")._step
        assert step.commands == (Command(("SCAN", cursor, "MATCH", "a*", "COUNT", 500), slot=slot),)
        assert step.effect is Effect.READS
        dry.answer([following, [b"a1", b"a2"] if cursor == b"0" else []])
        if cursor == b"0":
            step = dry.expect("unlink")._step
            assert step.commands == (Command(("UNLINK", b"a1")), Command(("UNLINK", b"a2")))
            assert step.effect is Effect.IDEMPOTENT
            dry.answer(1, 0)
    assert dry.result == 2


@pytest.mark.parametrize("answer", [[], CommandFailed("cluster.slots", "ERR", "cluster support disabled")])
def test_a_server_that_is_no_cluster(answer: Any) -> None:
    """It is the only one."""
    dry = Dry(unlink_matching("*"))
    dry.expect("cluster.slots")
    dry.fail(answer) if isinstance(answer, Exception) else dry.answer(answer)
    step: Any = dry.expect("scan")._step
    assert step.commands[0].slot is None
    dry.answer([b"0", []])
    assert dry.result == 0


@pytest.mark.parametrize(
    ("key", "type_"),
    [(b"leaderboard:{a}:scores", "zset"), (b"session:{web:x}:0123456789abcdef", "hash"), (b"jobs:{a}:data", "hash")],
)
def test_names_and_effects(key: bytes, type_: str) -> None:
    """A survey changes nothing."""
    dry = Dry(survey("*"))
    for name, answer in (
        ("cluster.slots", ([],)),
        ("scan", ([b"0", [key]],)),
        ("survey.types", (type_, -1)),
        ("survey.memory", (1,)),
    ):
        step: Any = dry.expect(name)._step
        assert step.effect is Effect.READS
        dry.answer(*answer)
    step = dry.expect("batch(survey.orphans)")._step
    assert step.effect is Effect.READS
