"""``redis-patterns inspect``."""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from redis_patterns import (
    GCRA,
    MISS,
    WEEK,
    Cache,
    ConcurrencyLimit,
    Counter,
    DelayedQueue,
    ExactUniques,
    FairLock,
    FifoQueue,
    FixedWindow,
    Flag,
    Flags,
    Flow,
    Jobs,
    Leaderboard,
    Lease,
    Lock,
    Once,
    Plan,
    PriorityQueue,
    ReadWriteLock,
    ReentrantLock,
    Semaphore,
    Sessions,
    ShardedCounter,
    SlidingCounter,
    SlidingLog,
    TokenBucket,
    Uniques,
    Write,
    WriteBehind,
    batch,
)
from redis_patterns.__main__ import _parser
from redis_patterns._commands import inspect
from redis_patterns._commands.looks import LOOKS
from redis_patterns.sync import Driver
from redis_patterns.testing import server
from redis_patterns_core.flow import Steps, flow
from tests.cli.conftest import CommandLine
from tests.drivers.plans import sets

Setup = Callable[[], Plan[Any] | Flow[Any]]

HELD = {"held": True, "waiting": 0}


@flow
def failing(queue: FifoQueue[str] | PriorityQueue[str] | DelayedQueue[str]) -> Steps[None]:
    yield from queue.fail("tea", "KeyError: 'tea'")


@flow
def working() -> Steps[None]:
    jobs: Jobs[int] = Jobs("mails")
    yield from jobs.enqueue_many([1, 2, 3], ids=["a", "b", "c"])
    taken = yield from jobs.reserve(2, worker="w")
    yield from jobs.settle(jobs.give_up(taken.jobs[0], ValueError("no")))
    yield from jobs.report(taken.jobs[1], "half")
    yield from jobs.extend(taken.jobs[1:], worker="w", about="pid 1")
    yield from jobs.enqueue(4, delay=60)


@flow
def unsaved(behind: WriteBehind[str]) -> Steps[None]:
    def fails(writes: Sequence[Write[str]]) -> None:
        raise OSError(str(writes))

    yield from behind.put("ann", "Ann")
    with contextlib.suppress(OSError):
        yield from behind.flush(fails)
    yield from behind.put("bob", MISS)


@flow
def several(*plans: Plan[Any]) -> Steps[None]:
    for plan in plans:
        yield from plan


CASES: list[tuple[list[str], Setup, dict[str, Any], list[str]]] = [
    # What is asked for, what is there, what is told; and the keys of the rows of its table.
    (["lock", "a"], lambda: Lock("a").acquire("t"), HELD, ["holders"]),
    (["lock", "a"], lambda: Lock("b").acquire("t"), {"held": False, "waiting": 0, "holders": []}, []),
    (
        ["lock", "a"],
        lambda: several(Lock("a").acquire("t"), Lock("a")._attempt(Lease("a", "u"), 5000).map(bool)),
        {"held": True, "waiting": 1},
        ["holders"],
    ),
    (["fairlock", "a"], lambda: FairLock("a").acquire("t"), HELD, ["holders"]),
    (["reentrantlock", "a"], lambda: ReentrantLock("a", owner="o").acquire("t"), HELD, ["holders"]),
    (["rwlock", "a"], lambda: ReadWriteLock("a").read().acquire("t"), HELD, ["holders"]),
    (["semaphore", "a"], lambda: Semaphore("a", limit=3, weight=2).acquire("t"), HELD, ["holders"]),
    (["slots", "a", "ann"], lambda: ConcurrencyLimit("a", limit=3).slot("ann").acquire("t"), HELD, ["holders"]),
    (["queue", "q"], lambda: FifoQueue[int]("q").put_many([1, 2]), {"items": 2, "failed": []}, []),
    (["queue", "q"], lambda: failing(FifoQueue("q")), {"items": 0}, ["failed"]),
    (["pqueue", "q"], lambda: PriorityQueue[int]("q").put_many([1, 2]), {"items": 2, "failed": []}, []),
    (["pqueue", "q"], lambda: failing(PriorityQueue("q")), {"items": 0}, ["failed"]),
    (
        ["delayed", "q"],
        lambda: several(
            *[DelayedQueue[int]("q").put(1, delay=delay) for delay in (None, 60, 60)], FifoQueue[int]("q").put(1)
        ),
        {"items": 4, "due": 2, "later": 2, "failed": []},
        [],
    ),
    (["delayed", "q"], lambda: failing(DelayedQueue("q")), {"items": 0, "due": 0, "later": 0}, ["failed"]),
    (
        ["jobs", "mails"],
        working,
        {
            "ready": 1,
            "delayed": 1,
            "leased": 1,
            "dead": 1,
            "paused": False,
            "totals": {"enqueued": 4, "died": 1},
            "dead_jobs": [{"id": "a", "state": "dead", "attempts": 1, "lost": 0, "error": "ValueError: no"}],
        },
        ["workers"],
    ),
    (
        ["jobs", "mails", "b"],
        working,
        {"id": "b", "state": "leased", "attempts": 0, "lost": 0, "error": "", "priority": 0, "progress": "half"},
        [],
    ),
    (
        ["jobs", "mails", "z"],
        working,
        {
            "id": "z",
            "state": "unknown",
            "attempts": 0,
            "lost": 0,
            "error": "",
            "priority": 0,
            "progress": "",
            "enqueued_at": None,
        },
        [],
    ),
    (
        ["leaderboard", "weekly"],
        lambda: batch(Leaderboard("weekly").add("ann", 1.5), Leaderboard("weekly").add("bob", float("inf"))),
        {
            "members": 2,
            "top": [{"rank": 1, "score": "inf", "member": "bob"}, {"rank": 2, "score": 1.5, "member": "ann"}],
        },
        [],
    ),
    (
        ["limit", "api", "ann", "--rate", "10/minute"],
        lambda: TokenBucket.parse("api", "10/minute").hit("ann", 10),
        {"allowed": False, "limit": 10, "remaining": 0},
        [],
    ),
    (
        ["limit", "api", "ann", "--rate", "10/minute", "--burst", "3"],
        lambda: GCRA("api", limit=10, per=60, burst=3).hit("ann"),
        {"allowed": True, "limit": 3, "remaining": 2, "retry_after": 0.0},
        [],
    ),
    (
        ["limit", "api", "ann", "--rate", "10/minute", "--algorithm", "fixed"],
        lambda: FixedWindow("api", limit=10, per=60).hit("ann", 3),
        {"allowed": True, "limit": 10},
        [],
    ),
    (
        ["limit", "api", "ann", "--rate", "10/hour", "--algorithm", "log"],
        lambda: SlidingLog("api", limit=10, per=3600).hit("ann", 3),
        {"allowed": True, "limit": 10, "remaining": 7},
        [],
    ),
    (
        ["limit", "api", "ann", "--rate", "10/hour", "--algorithm", "counter"],
        lambda: SlidingCounter("api", limit=10, per=3600).hit("ann"),
        {"allowed": True, "limit": 10},
        [],
    ),
    (
        ["sessions", "web", "ann"],
        lambda: Sessions().create("ann", device={"browser": "Firefox"}),
        {"sessions": 1},
        ["devices"],
    ),
    (["sessions", "web", "bob"], lambda: Sessions().create("ann"), {"sessions": 0, "devices": []}, []),
    (
        ["cache", "users", "1"],
        lambda: Cache[str]("users", ttl=60).set("1", "Ann", tags=["t"]),
        {"state": "value", "bytes": 5, "codec": "json", "took_for": 0.0, "tags": "tag:{t}"},
        [],
    ),
    (
        ["cache", "users", "1"],
        lambda: Cache[str]("users", ttl=60)._acquire("1", 1000, ()),
        {"state": "being loaded or written", "bytes": None, "codec": None},
        [],
    ),
    (
        ["cache", "users", "1"],
        lambda: sets("SET", "cache:{users:1}", "?"),
        {"state": "unreadable", "ends_in": None, "bytes": 1},
        [],
    ),
    (
        ["cache", "users", "2"],
        lambda: Cache[str]("users", ttl=60).set("1", "Ann"),
        {"state": "absent", "ends_in": None},
        [],
    ),
    (["once", "charges", "a"], lambda: Once[int]("charges").claim("a", "t"), {"state": "running"}, []),
    (
        ["once", "charges", "b"],
        lambda: Once[int]("charges").claim("a", "t"),
        {"state": "absent", "since": None, "ends_in": None},
        [],
    ),
    (["counter", "hits"], lambda: Counter("hits").increment(5), {"value": 5}, []),
    (
        ["counter", "hits", "16"],
        lambda: several(*[ShardedCounter("hits").increment() for _ in range(9)]),
        {"value": 9},
        [],
    ),
    (["uniques", "page"], lambda: Uniques("page").add("ann", "bob"), {"period": "day", "members": 2}, []),
    (
        ["uniques", "page", "week"],
        lambda: Uniques("page", period=WEEK).add("ann"),
        {"period": "week", "members": 1},
        [],
    ),
    (["exactuniques", "page"], lambda: ExactUniques("page").add("ann", "bob"), {"period": "day", "members": 2}, []),
    (
        ["behind", "profiles"],
        lambda: unsaved(WriteBehind("profiles", ttl=60, delay=0, tries=1)),
        {"pending": 1, "dead": 1},
        ["dead_letters"],
    ),
    (
        ["behind", "profiles", "8"],
        lambda: WriteBehind[str]("profiles", ttl=60, partitions=8).put("ann", "Ann"),
        {"pending": 1, "dead": 0, "dead_letters": []},
        [],
    ),
    (
        ["flags", "web"],
        lambda: several(Flags("web").put(Flag("new", percentage=5), by="ann"), sets("HSET", "flags:{web}", "bad", "?")),
        {
            "unreadable": "bad",
            "flags": [{"name": "new", "enabled": True, "type": "bool", "percentage": 5, "rules": 0}],
        },
        ["changes"],
    ),
]

ROWS = {
    "changes": ["changed_at", "by", "name", "version", "deleted"],
    "holders": ["fingerprint", "since", "ends_in", "fence", "weight"],
    "failed": ["failed_at", "bytes", "error"],
    "workers": ["name", "ends_in", "about"],
    "dead_letters": ["failed_at", "key", "sequence", "bytes", "error"],
    "devices": ["handle", "created_at", "seen_at", "ends_at", "about"],
}


@pytest.mark.parametrize(("words", "setup", "expected", "tables"), CASES, ids=[" ".join(case[0]) for case in CASES])
def test_what_there_is_to_tell(
    command_line: CommandLine,
    redis: Driver,
    *,
    words: list[str],
    setup: Setup,
    expected: dict[str, Any],
    tables: list[str],
) -> None:
    """Of each kind of thing, programs get one object, and people the same in 80 columns."""
    redis.run(setup())
    done = command_line("inspect", *words, "--json")
    assert (done.code, done.err) == (0, "")
    told = json.loads(done.out)
    assert all(flag.pop("version") > 0 for flag in told.get("flags", []))
    assert {name: told[name] for name in expected} == expected
    for table in tables:
        (row,) = told[table]
        assert list(row) == ROWS[table]
    shown = command_line("inspect", *words)
    assert shown.code == 0
    assert all(len(line) <= 80 for line in shown.out.splitlines())
    assert all(name.replace("_", " ") in shown.out for name in told)


def test_each_kind_has_a_case() -> None:
    """Whatever can be looked at is looked at above."""
    assert {words[0] for words, *_ in CASES} == set(LOOKS)


def test_a_table_for_people(command_line: CommandLine, redis: Driver) -> None:
    """Single values stand line by line, then tables; what is not printable is escaped."""
    redis.run(batch(*[Leaderboard("weekly").add(member, score) for member, score in (("ann", 1234.5), ("b\x1bob", 7))]))
    assert (
        command_line("inspect", "leaderboard", "weekly").out
        == """\
leaderboard weekly
members  2

top:
  rank   score  member
     1  1234.5  ann
     2       7  b\\x1bob
"""
    )


def test_times_for_people(command_line: CommandLine, redis: Driver) -> None:
    """Times are dates in UTC, durations have their unit, and what is not there is a dash."""
    redis.run(Lock("order:1").acquire())
    out = command_line("inspect", "lock", "order:1").out
    assert re.search(r"^  [0-9a-f]{16}  20\d\d-\d\d-\d\d \d\d:\d\d:\d\dZ +9\.\d+ s  \d{16}       1$", out, re.MULTILINE)
    redis.run(Semaphore("gpu", limit=2).acquire())
    assert re.search(
        r"^  [0-9a-f]{16}  - +9\.\d+ s      0       1$",
        command_line("inspect", "semaphore", "gpu").out,
        re.MULTILINE,
    )


def test_a_namespace(command_line: CommandLine, redis: Driver) -> None:
    """A pattern with a namespace is found by it, and only so."""
    redis.run(FifoQueue[int]("q", namespace="shop").put(1))
    assert json.loads(command_line("inspect", "queue", "q", "--json").out)["items"] == 0
    assert json.loads(command_line("inspect", "queue", "q", "--namespace", "shop", "--json").out)["items"] == 1


def test_what_is_never_shown(command_line: CommandLine, redis: Driver) -> None:
    """No output has a token, a stored value or what a cookie has."""
    secret = "never-show-one"  # noqa: S105  to look for
    sessions = Sessions()
    session = redis.run(sessions.create("ann", {"cart": secret}))
    redis.run(
        batch(
            Lock("a").acquire(secret),
            FairLock("a").acquire(secret),
            FifoQueue[str]("q").put(secret),
            FifoQueue[str]("q").fail(secret, "why"),
            Jobs[str]("mails").enqueue(secret, id="one"),
        )
    )
    redis.run(Cache[str]("users", ttl=60).set("1", secret))
    for words in (
        ["lock", "a"], ["fairlock", "a"], ["queue", "q"], ["jobs", "mails"], ["jobs", "mails", "one"],
        ["sessions", "web", "ann"], ["cache", "users", "1"],
    ):  # fmt: skip
        for more in ([], ["--json"]):
            done = command_line("inspect", *words, *more)
            assert done.code == 0
            assert secret not in done.out + done.err
            assert session.id[32:] not in done.out + done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lock"], "required: NAME"),
        (["nothing", "a"], "invalid choice: 'nothing'"),
        (["lock", ""], "name must be a text"),
        (["lock", "a", "b"], "ID must not be given for lock"),
        (["slots", "a"], "ID must be given for slots: whose slots"),
        (["limit", "api", "ann"], "--rate must be given for limit"),
        (["limit", "api", "ann", "--rate", "often"], "rate must be a text such as"),
        (
            ["limit", "api", "ann", "--rate", "1/s", "--algorithm", "log", "--burst", "2"],
            "--burst must be given for a bucket",
        ),
        (["lock", "a", "--rate", "1/s"], "--rate must be given for limit, such as 100/minute, and only there"),
        (["counter", "a", "many"], "shards must be a whole number from 1"),
        (["uniques", "a", "year"], "ID must be one of day, week, month, not 'year'"),
        (["lock", "a", "--watch", "0"], "watch must be at least 100 ms"),
    ],
)
def test_what_is_not_allowed(command_line: CommandLine, words: list[str], said: str) -> None:
    """What cannot be run has the exit code 2, and says what is allowed."""
    done = command_line("inspect", *words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_something_of_another_type(command_line: CommandLine, redis: Driver) -> None:
    """What Redis refuses has the exit code 1."""
    redis.run(sets("SET", "queue:{q}", 1))
    done = command_line("inspect", "queue", "q")
    assert (done.code, done.out) == (1, "")
    assert "WRONGTYPE" in done.err


class Sleeps:
    """Puts something into a queue at each sleep, and is interrupted at the end."""

    def __init__(self, redis: Driver, count: int) -> None:
        self.redis = redis
        self.seconds: list[float] = []
        self.count = count

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        if len(self.seconds) == self.count:
            raise KeyboardInterrupt
        self.redis.run(FifoQueue[int]("q").put(1))


def test_watching(command_line: CommandLine, redis: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is shown again after each pause, until somebody interrupts: with the exit code 130; as JSON one line each."""
    sleeps = Sleeps(redis, 3)
    monkeypatch.setattr(inspect, "run", functools.partial(inspect.run, sleep=sleeps))
    done = command_line("inspect", "queue", "q", "--json", "--watch", "2.5")
    assert (done.code, done.err) == (130, "")
    assert [json.loads(line)["items"] for line in done.out.splitlines()] == [0, 1, 2]
    assert sleeps.seconds == [2.5] * 3


def test_watching_in_place(
    redis: Driver, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal it is painted over what was there; in a pipe it is not."""
    arguments = _parser().parse_args(["inspect", "queue", "q", "--watch", "1", "--color", "never"])
    for terminal in (False, True):
        monkeypatch.setattr("sys.stdout.isatty", functools.partial(bool, terminal))
        with pytest.raises(KeyboardInterrupt):
            inspect.run(arguments, sleep=Sleeps(redis, 2))
        assert capsys.readouterr().out.count("\x1b[H\x1b[Jqueue q\nitems  ") == (2 if terminal else 0)


def test_watching_a_server_that_goes_away(capsys: pytest.CaptureFixture[str]) -> None:
    """Trouble with the connection is said, and does not end it."""
    with server() as running:
        words = ["inspect", "lock", "a", "--watch", "1", "--json", "--url", running.url]
        rounds: Iterator[Callable[[], None]] = iter([running.kill, running.restart, lambda: None])

        def sleep(_: float) -> None:
            step = next(rounds, None)
            if step is None:
                raise KeyboardInterrupt
            step()

        with pytest.raises(KeyboardInterrupt):
            inspect.run(_parser().parse_args(words), sleep=sleep)
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 3
    assert len(said.err.splitlines()) == 1
    assert said.err.startswith("redis-patterns: lock.inspect: ")
