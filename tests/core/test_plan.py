from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest

from redis_patterns import (
    DAY,
    BucketedCounter,
    Command,
    ConfigurationError,
    Counter,
    Effect,
    ExactUniques,
    Flag,
    Flags,
    Job,
    Jobs,
    Leaderboard,
    Lease,
    Lock,
    MemberData,
    Plan,
    Script,
    ShardedCounter,
    TokenBucket,
    Uniques,
    batch,
)
from redis_patterns_core.flag_json import exported


def plan(name: str = "p", *args: str, effect: Effect = Effect.READS, blocks_for: float | None = None) -> Plan[object]:
    return Plan(name, (Command(args or ("GET", name)),), lambda replies: replies[0], effect, blocks_for)


def test_a_plan_refuses_to_be_taken_for_a_result() -> None:
    """A plan has no truth value: an ``if`` around it would let everybody in."""
    with pytest.raises(TypeError, match="driver has to run it"):
        bool(plan())


def test_plans_are_equal_when_they_would_send_the_same() -> None:
    """Equality and hash go by name, commands, effect and blocking, not by the parser."""
    board = Leaderboard("b")
    assert board.top(3) == board.top(3)
    assert hash(board.top(3)) == hash(board.top(3))
    assert board.top(3) != board.top(4)
    assert plan(effect=Effect.ONCE) != plan(effect=Effect.READS)
    assert plan(blocks_for=1) != plan()


def test_map_changes_the_result_and_nothing_else() -> None:
    """A mapped plan sends the same, and applies the function to what the plan's parser gives."""
    mapped = plan(effect=Effect.ONCE, blocks_for=2).map(str)
    assert mapped == plan(effect=Effect.ONCE, blocks_for=2)
    assert mapped.parse([7]) == "7"


def test_a_repr_shows_no_argument() -> None:
    """What a log shows of a plan or a command has no data of users in it."""
    secret = plan("session.load", "GET", "s3cret")
    assert "s3cret" not in repr(secret) + repr(secret.commands[0]) + repr((secret, [secret.commands]))
    assert repr(secret) == "<Plan session.load, READS, 1 command>"
    assert repr(secret.commands[0]) == "<Command GET with 1 arguments>"
    assert repr(batch(secret, secret)) == "<Plan batch(2 session.load), READS, 2 commands>"
    assert repr(Lock("x").acquire("t").commands[0]) == "<Command EVALSHA lock_acquire with 9 arguments>"
    lock = Lock("x").acquire("t0ken")
    assert "t0ken" not in repr(lock) + repr(lock.commands)


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (("GET", "k"), "GET k"),
        (("SET", "k", ""), 'SET k ""'),
        (("SET", "k", "two words"), 'SET k "two words"'),
        (("SET", "k", 'a"b\\'), 'SET k "a\\x22b\\x5c"'),
        (("SET", "k", b"\x00\xff"), 'SET k "\\x00\\xff"'),
        (("SET", "k", "line\n"), 'SET k "line\\x0a"'),
        (("SET", "k", " \x1f~\x7f"), 'SET k " \\x1f~\\x7f"'),
        (("SET", "k", "ä"), 'SET k "\\xc3\\xa4"'),
        (("ZADD", "k", 0.1, 7), "ZADD k 0.1 7"),
    ],
)
def test_explain_gives_lines_for_redis_cli(args: tuple[str | bytes | float, ...], line: str) -> None:
    """Arguments that a shell would break are quoted, and every byte can be told."""
    assert Plan("p", (Command(args),), lambda replies: replies[0]).explain() == line


def test_explain_names_the_script() -> None:
    """A script's name stands as a comment before the call by its hash."""
    script = Script("hello", "return 1")
    sha = hashlib.sha1(b"return 1", usedforsecurity=False).hexdigest()
    assert script.sha == sha
    assert script(("k",), "a", 1).explain() == f"# hello.lua\nEVALSHA {sha} 1 k a 1"


def test_a_script_call_can_be_sent_with_its_source() -> None:
    """The EVAL of a script call has the same keys and arguments; a plain command has none."""
    script = Script("hello", "return 1")
    assert script(("k",), "a").evaluated() == ("EVAL", "return 1", 1, "k", "a")
    with pytest.raises(ConfigurationError, match="must call a script"):
        Command(("GET", "k")).evaluated()


def test_a_script_that_does_not_exist_is_an_error() -> None:
    """Loading a script by a wrong name fails when the module is imported, not when it is called."""
    with pytest.raises(FileNotFoundError):
        Script.load("no_such_script")


def test_a_batch_joins_commands_and_splits_replies() -> None:
    """Each part of a batch parses the replies to its own commands."""
    double = Plan("two", (Command(("A",)), Command(("B",))), tuple, Effect.READS)
    joined = batch(plan("x"), double, plan("y"))
    assert [command.args[0] for command in joined.commands] == ["GET", "A", "B", "GET"]
    assert joined.parse([1, 2, 3, 4]) == (1, (2, 3), 4)
    assert joined.name == "batch(x, two, y)"


def test_batches_can_be_batched() -> None:
    """A batch is a plan like another."""
    assert batch(plan("x"), batch(plan("y"), plan("z"))).parse([1, 2, 3]) == (1, (2, 3))


def test_an_empty_batch_is_allowed() -> None:
    """A batch of a list that happens to be empty gives an empty result."""
    assert batch().parse([]) == ()
    assert batch().effect is Effect.READS


@pytest.mark.parametrize(
    ("effects", "expected"),
    [
        ([Effect.READS, Effect.READS], Effect.READS),
        ([Effect.READS, Effect.IDEMPOTENT], Effect.IDEMPOTENT),
        ([Effect.ONCE, Effect.IDEMPOTENT, Effect.READS], Effect.ONCE),
    ],
)
def test_a_batch_takes_the_strictest_effect(effects: list[Effect], expected: Effect) -> None:
    """A batch may be sent again only if each of its parts may."""
    assert batch(*(plan(effect=effect) for effect in effects)).effect is expected


def test_a_batch_refuses_what_blocks_and_what_is_no_plan() -> None:
    """A plan that blocks would hold up its neighbours; a result instead of a plan is a slip."""
    with pytest.raises(ConfigurationError, match="must not block"):
        batch(plan(), plan("b", blocks_for=1))
    with pytest.raises(ConfigurationError, match="must be plans"):
        batch(plan(), 7)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("made", "name", "effect", "args"),
    [
        (Leaderboard("w").add("ann", 3), "leaderboard.add", Effect.IDEMPOTENT, ("ZADD", "leaderboard:{w}", 3, "ann")),
        (Leaderboard("w").score("ann"), "leaderboard.score", Effect.READS, ("ZSCORE", "leaderboard:{w}", "ann")),
        (Leaderboard("w").rank("ann"), "leaderboard.rank", Effect.READS, ("ZREVRANK", "leaderboard:{w}", "ann")),
        (
            Leaderboard("w", namespace="n").top(3),
            "leaderboard.top",
            Effect.READS,
            ("ZRANGE", "n:leaderboard:{w}", 0, 2, "REV", "WITHSCORES"),
        ),
        (
            Leaderboard("w").range(11, 20),
            "leaderboard.range",
            Effect.READS,
            ("ZRANGE", "leaderboard:{w}", 10, 19, "REV", "WITHSCORES"),
        ),
        (Leaderboard("w").count(), "leaderboard.count", Effect.READS, ("ZCARD", "leaderboard:{w}")),
        (
            TokenBucket("api", capacity=5, refill_rate=2).reset("ann"),
            "token_bucket.reset",
            Effect.IDEMPOTENT,
            ("DEL", "bucket:{ann}:api"),
        ),
    ],
)
def test_the_commands_of_plain_plans(made: Plan[object], name: str, effect: Effect, args: tuple[object, ...]) -> None:
    """Each plan sends exactly this command, under this name, with this effect."""
    assert (made.name, made.effect, [command.args for command in made.commands]) == (name, effect, [args])


def test_what_plans_are_called() -> None:
    """After their pattern and the verb: errors, traces and measurements know them by these names."""
    now = datetime(2026, 11, 28, tzinfo=UTC)
    counter, hot, views = Counter("c"), ShardedCounter("c"), BucketedCounter("c", clock=lambda: now)
    uniques, exact = Uniques("c", clock=lambda: now), ExactUniques("c", clock=lambda: now)
    board, flags, jobs = Leaderboard("b"), Flags("f"), Jobs[int]("j")
    data, job = MemberData[int](board), Job("a", 1, "t", 1, 0, 0, 0.0, 0)
    plans: dict[str, list[Plan[Any]]] = {
        "counter.increment": [counter.increment()],
        "counter.value": [counter.value()],
        "counter.reset": [counter.reset()],
        "shardedcounter.increment": [hot.increment()],
        "shardedcounter.value": [hot.value()],
        "shardedcounter.reset": [hot.reset()],
        "bucketedcounter.add": [views.add()],
        "bucketedcounter.range": [views.range(DAY, now), views.total(DAY, now)],
        "bucketedcounter.last": [views.last(DAY, 1)],
        "uniques.add": [uniques.add("a")],
        "uniques.count": [uniques.count(), uniques.count(across=[uniques]), uniques.count_range(now)],
        "exactuniques.add": [exact.add("a")],
        "exactuniques.count": [exact.count(), exact.count(across=[exact])],
        "leaderboard.add": [board.add("a", 1), Leaderboard("b", most=1).add("a", 1)],
        "leaderboard.increment": [board.increment("a"), Leaderboard("b", most=1).increment("a")],
        "leaderboard.submit": [board.submit("a", 1)],
        "leaderboard.submit_many": [board.submit_many({"a": 1})],
        "leaderboard.remove": [board.remove("a")],
        "leaderboard.remove_many": [board.remove_many(["a"])],
        "leaderboard.merge": [board.merge([board], ttl=1)],
        "leaderboard.rank": [board.rank("a"), Leaderboard("b", ties="dense").rank("a")],
        "leaderboard.entries": [board.entries(["a"])],
        "leaderboard.percentile": [board.percentile("a")],
        "leaderboard.bands": [board.bands([0])],
        "leaderboard.top": [board.top(), data.top()],
        "leaderboard.range": [board.range(2, 3), Leaderboard("b", ties="dense").range(2, 3)],
        "leaderboard.page": [board.page(1), data.page(1)],
        "leaderboard.around": [board.around("a"), data.around("a")],
        "leaderboard.data": [data.get("a")],
        "leaderboard.put_data": [data.put("a", 1), data.put_many({"a": 1})],
        "flags.evaluate": [flags.evaluate("a"), flags.is_enabled("a")],
        "flags.snapshot": [flags.snapshot()],
        "flags.get": [flags.get("a")],
        "flags.revision": [flags.revision()],
        "flags.history": [flags.history()],
        "flags.wait_for_change": [flags.wait_for_change(0, 1)],
        "flags.put": [flags.put(Flag("a"))],
        "flags.delete": [flags.delete("a")],
        "flags.export_json": [flags.export_json()],
        "flags.import_json": [flags.import_json(exported([Flag("a")]))],
        "jobs.enqueue": [jobs.enqueue(1), jobs.enqueue_many([1])],
        "jobs.reserve": [jobs.reserve(worker="w"), jobs.reserve_when_woken(1, 1, worker="w", token="t")],
        "jobs.settle": [jobs.settle(jobs.ack(job)), jobs.report(job, "half")],
        "jobs.extend": [jobs.extend([job], worker="w")],
        "jobs.wait": [jobs.wait_for_work(1)],
        "jobs.wake": [jobs.wake()],
        "jobs.inspect": [jobs.inspect()],
        "jobs.look": [jobs.look("a"), jobs.dead()],
        "jobs.redrive": [jobs.redrive()],
        "jobs.cancel": [jobs.cancel("a")],
        "jobs.reschedule": [jobs.reschedule("a")],
        "jobs.pause": [jobs.pause()],
        "jobs.resume": [jobs.resume()],
    }
    assert [(name, plan.name) for name, several in plans.items() for plan in several if plan.name != name] == []


BUCKET = TokenBucket("api", capacity=5, refill_rate=2)
LEASE = Lease("x", "t")
BOARD_KEYS = tuple(f"leaderboard:{{w}}{part}" for part in ("", ":scores", ":order", ":digits", ":data"))
KEYS = ("lock:{x}", "lock:{x}:fence", "lock:{x}:waiting", "lock:{x}:wake")


@pytest.mark.parametrize(
    ("made", "name", "effect", "script", "args"),
    [
        (
            Leaderboard("w").increment("ann"),
            "leaderboard.increment",
            Effect.ONCE,
            "leaderboard_increment",
            (1, "leaderboard:{w}", 1, "ann"),
        ),
        (
            Leaderboard("w").remove("ann"),
            "leaderboard.remove",
            Effect.ONCE,
            "leaderboard_write",
            (5, *BOARD_KEYS, "remove", "highest", "ordinal", 0, 0, 0, "ann", ""),
        ),
        (
            Leaderboard("w").around("ann", 3),
            "leaderboard.around",
            Effect.READS,
            "leaderboard_rows",
            (5, *BOARD_KEYS, "highest", "ordinal", 0, 0, "around", "ann", 3),
        ),
        (
            BUCKET.hit("ann", 3),
            "token_bucket.hit",
            Effect.ONCE,
            "rate_limit",
            (1, "bucket:{ann}:api", "hit", "bucket", "5", "1", "500000", 3, "0"),
        ),
        (
            BUCKET.peek("ann"),
            "token_bucket.peek",
            Effect.READS,
            "rate_limit",
            (1, "bucket:{ann}:api", "peek", "bucket", "5", "1", "500000", 1, "0"),
        ),
        (Lock("x").acquire("t"), "lock.acquire", Effect.IDEMPOTENT, "lock_acquire", (4, *KEYS, "t", 10000, 0)),
        (Lock("x").extend(LEASE), "lock.extend", Effect.IDEMPOTENT, "lock_extend", (2, *KEYS[:2], "t", 10000)),
        (Lock("x").extend(LEASE, 0.5), "lock.extend", Effect.IDEMPOTENT, "lock_extend", (2, *KEYS[:2], "t", 500)),
        (Lock("x").release(LEASE), "lock.release", Effect.IDEMPOTENT, "lock_release", (3, *KEYS[:1], *KEYS[2:], "t")),
    ],
)
def test_the_commands_of_script_plans(
    made: Plan[object], name: str, effect: Effect, script: str, args: tuple[object, ...]
) -> None:
    """Each plan calls exactly this script with these keys and arguments."""
    (command,) = made.commands
    assert command.script is not None
    assert (made.name, made.effect, command.script.name) == (name, effect, script)
    assert command.args == ("EVALSHA", command.script.sha, *args)


def test_a_script_that_cannot_be_read_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package's loader gives no data, that is told like a file that is missing."""
    monkeypatch.setattr("pkgutil.get_data", lambda *_: None)
    with pytest.raises(FileNotFoundError, match=r"lua/lock_acquire\.lua"):
        Script.load("lock_acquire")


def test_a_batch_needs_a_reply_for_each_command() -> None:
    """One too few is never taken for all."""
    pair = batch(plan("a"), plan("b"))
    for replies in ([1], [1, 2, 3]):
        with pytest.raises(ValueError, match="zip"):
            pair.parse(replies)
