"""``redis-patterns jobs`` and ``redis-patterns clear``: what changes something."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from redis_patterns import DelayedQueue, FifoQueue, Jobs, PriorityQueue, Sessions
from redis_patterns.__main__ import _parser
from redis_patterns.sync import Driver
from tests.cli.conftest import CommandLine

JOBS: Jobs[int] = Jobs("mails")


@pytest.fixture
def dead(redis: Driver) -> list[str]:
    """Give the ids of jobs that are dead; two others are ready, and one is delayed."""
    redis.run(JOBS.enqueue_many([1, 2, 3], ids=["a", "b", "c"]))
    taken = redis.run(JOBS.reserve(3, worker="w")).jobs
    redis.run(JOBS.settle(*[JOBS.give_up(job, "no") for job in taken]))
    redis.run(JOBS.enqueue_many([4, 5], ids=["d", "e"]))
    redis.run(JOBS.enqueue(6, id="f", delay=60))
    return ["a", "b", "c"]


def states(redis: Driver) -> list[int]:
    counts = redis.run(JOBS.inspect())
    return [counts.ready, counts.delayed, counts.dead]


def test_pausing(command_line: CommandLine, redis: Driver) -> None:
    """Pausing and resuming say whether it was so already."""
    said = [command_line("jobs", "mails", verb) for verb in ("pause", "pause", "resume", "resume")]
    assert [done.out for done in said] == ["paused\n", "was paused already\n", "resumed\n", "was resumed already\n"]
    assert {done.code for done in said} == {0}
    command_line("jobs", "mails", "pause")
    assert redis.run(JOBS.inspect()).paused


@pytest.mark.parametrize(
    ("words", "code", "said", "after"),
    [
        ([], 0, "redriven: 3\n", [5, 1, 0]),
        (["--count", "2"], 0, "redriven: 2\n", [4, 1, 1]),
        (["a", "c"], 0, "redriven: 2\n", [4, 1, 1]),
        (["a", "z"], 1, "redriven: 1\n", [3, 1, 2]),
    ],
)
def test_redriving(
    command_line: CommandLine,
    redis: Driver,
    dead: list[str],
    *,
    words: list[str],
    code: int,
    said: str,
    after: list[int],
) -> None:
    """Dead jobs are tried again, all or some; one that is not there makes the exit code 1."""
    done = command_line("jobs", "mails", "redrive", *words)
    assert (done.code, done.out, states(redis)) == (code, said, after)


@pytest.mark.parametrize(
    ("words", "typed", "code", "said", "error", "after"),
    [
        (["dead", "--yes"], None, 0, "dead jobs of mails: 3\npurged: 3\n", "", [2, 1, 0]),
        (["ready", "--yes"], None, 0, "ready jobs of mails: 2\npurged: 2\n", "", [0, 1, 3]),
        (["delayed"], "yes\n", 0, "delayed jobs of mails: 1\npurged: 1\n", "Type yes to do it: ", [2, 0, 3]),
        (["dead"], "y\n", 1, "dead jobs of mails: 3\n", "redis-patterns: nothing was done", [2, 1, 3]),
        (["dead"], "", 1, "dead jobs of mails: 3\n", "redis-patterns: nothing was done", [2, 1, 3]),
        (["dead"], None, 2, "dead jobs of mails: 3\n", "nothing was done: --yes must be given", [2, 1, 3]),
        (["leased"], None, 2, "", "purge must be given one of ready, delayed and dead", [2, 1, 3]),
        ([], None, 2, "", "purge must be given one of ready, delayed and dead", [2, 1, 3]),
    ],
)
def test_purging(
    command_line: CommandLine,
    redis: Driver,
    dead: list[str],
    *,
    words: list[str],
    typed: str | None,
    code: int,
    said: str,
    error: str,
    after: list[int],
) -> None:
    """How many there are is said first; it is done after a yes, or --yes, and refused where nobody can be asked."""
    done = command_line("jobs", "mails", "purge", *words, typed=typed)
    assert (done.code, done.out, states(redis)) == (code, said, after)
    assert error in done.err


def test_cancelling(command_line: CommandLine, redis: Driver, dead: list[str]) -> None:
    """The jobs are shown, and cancelled after a yes; one that is not there, or dead, makes the exit code 1."""
    shown = """\
jobs:
  id  state    attempts  lost  error
  d   ready           0     0  -
  f   delayed         0     0  -
"""
    done = command_line("jobs", "mails", "cancel", "d", "f", "d")
    assert (done.code, done.out, states(redis)) == (2, shown, [2, 1, 3])
    done = command_line("jobs", "mails", "cancel", "d", "f", typed="no\n")
    assert (done.code, done.out, states(redis)) == (1, shown, [2, 1, 3])
    done = command_line("jobs", "mails", "cancel", "d", "f", typed="yes\n")
    assert (done.code, done.out, states(redis)) == (0, f"{shown}d: cancelled\nf: cancelled\n", [1, 0, 3])
    done = command_line("jobs", "mails", "cancel", "e", "a", "--yes")
    assert (done.code, done.out.splitlines()[-2:], states(redis)) == (1, ["e: cancelled", "a: unknown"], [0, 0, 3])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mails", "cancel"], "cancel must be given the id of a job"),
        (["mails", "pause", "now"], "pause must be given nothing more, not 'now'"),
        (["mails", "delete"], "invalid choice: 'delete'"),
        (["", "pause"], "name must be a text"),
        (["mails", "redrive", "--count", "0"], "count must be a whole number from 1"),
    ],
)
def test_what_is_not_allowed(command_line: CommandLine, words: list[str], said: str) -> None:
    """What cannot be run has the exit code 2, and says what is allowed."""
    done = command_line("jobs", *words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


@pytest.mark.parametrize("kind", [FifoQueue, PriorityQueue, DelayedQueue])
def test_clearing_a_queue(
    command_line: CommandLine, redis: Driver, kind: type[FifoQueue[int] | PriorityQueue[int] | DelayedQueue[int]]
) -> None:
    """Its items go, or its failed ones, and never both."""
    queue = kind("q", namespace="shop")
    words = ["clear", kind("q").word, "q", "--namespace", "shop"]
    redis.run(queue.put_many([1, 2]))
    redis.run(queue.fail(3, "why"))
    refused = command_line(*words)
    assert (refused.code, refused.out, redis.run(queue.length())) == (2, "items of q: 2\n", 2)
    declined = command_line(*words, typed="\n")
    assert (declined.code, declined.out, redis.run(queue.length())) == (1, "items of q: 2\n", 2)
    done = command_line(*words, "--yes")
    assert (done.code, done.out, redis.run(queue.length())) == (0, "items of q: 2\ncleared\n", 0)
    assert len(redis.run(queue.failed())) == 1
    done = command_line(*words, "--failed", typed="yes\n")
    assert (done.code, done.out, redis.run(queue.failed())) == (0, "failed items of q: 1\ncleared\n", [])


def test_many_failed_items(command_line: CommandLine, redis: Driver) -> None:
    """What would take long to count is not counted."""
    queue: FifoQueue[int] = FifoQueue("q", keep_failed=2000)
    for _ in range(1001):
        redis.run(queue.fail(1, "why"))
    assert command_line("clear", "queue", "q", "--failed").out == "failed items of q: 1000 or more\n"


def test_ending_all_sessions_of_a_user(command_line: CommandLine, redis: Driver) -> None:
    """They end after a yes; those of others stay."""
    sessions = Sessions()
    for user in ("ann", "ann", "bob"):
        redis.run(sessions.create(user))
    refused = command_line("clear", "sessions", "web", "ann")
    assert (refused.code, refused.out, redis.run(sessions.count("ann"))) == (2, "sessions of ann: 2\n", 2)
    declined = command_line("clear", "sessions", "web", "ann", typed="YES\n")
    assert (declined.code, redis.run(sessions.count("ann"))) == (1, 2)
    done = command_line("clear", "sessions", "web", "ann", "--yes")
    assert (done.code, done.out) == (0, "sessions of ann: 2\nended: 2\n")
    assert [redis.run(sessions.count(user)) for user in ("ann", "bob")] == [0, 1]


@pytest.mark.parametrize(
    "words", [["sessions", "web"], ["sessions", "web", "ann", "--failed"], ["queue", "q", "ann"], ["lock", "a"]]
)
def test_what_cannot_be_cleared(command_line: CommandLine, words: list[str]) -> None:
    """A user is for sessions, failed items are for queues, and a lock is its holder's."""
    assert command_line("clear", *words, "--yes").code == 2


def test_each_command_has_help(command_line: CommandLine) -> None:
    """Help fits 80 columns, and names all commands."""
    for words in ([], *[[name] for name in ("tour", "worker", "ping", "keys", "inspect", "jobs", "clear")]):
        done = command_line(*words, "--help")
        assert done.code == 0
        assert re.search("usage: redis-patterns", done.out)
    assert command_line().code == 2


@pytest.mark.parametrize(
    ("words", "option", "last"),
    [
        (["jobs", "mails", "purge", "dead"], "--yes", ["dead"]),
        (["jobs", "mails", "redrive", "a", "b"], "--count=3", ["a", "b"]),
        (["inspect", "limit", "api", "alice"], "--rate=1/second", "alice"),
        (["clear", "queue", "mails"], "--failed", ""),
        (["worker", "shop:mails", "shop:reports"], "--processes=2", ["shop:mails", "shop:reports"]),
    ],
)
def test_options_stand_where_one_likes(words: list[str], option: str, last: object) -> None:
    """An option may come before, between and behind the other words of its command; after ``--`` there is none."""
    parsed = [vars(_parser().parse_args([*words[:at], option, *words[at:]])) for at in range(1, len(words) + 1)]
    assert all(one == parsed[0] for one in parsed)
    assert parsed[0][{"jobs": "words", "inspect": "id", "clear": "user", "worker": "targets"}[words[0]]] == last
    name = _parser().parse_args(["inspect", "--json", "lock", "--", "--odd"]).name
    assert name == "--odd"


@pytest.mark.parametrize("words", [["--version"], ["--help"]])
def test_what_needs_no_driver_imports_none(words: list[str]) -> None:
    """The version and the help are there at once."""
    heavy = ("redis", "hiredis", "trio", "anyio", "asyncio", "fakeredis", "redis_patterns._tour")
    program = (
        f"import sys\nfrom redis_patterns.__main__ import main\n"
        f"try:\n    main({words!r})\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"
