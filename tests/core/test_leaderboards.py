"""Leaderboards: what plans are made of, and what is made of answers; their behaviour is in test_board_model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from redis_patterns import (
    DAY,
    MINUTE,
    MONTH,
    WEEK,
    BoardRefused,
    Calendar,
    Command,
    ConfigurationError,
    DecodeError,
    Effect,
    Entry,
    Every,
    Leaderboard,
    MemberData,
    Page,
    Plan,
    ScoreChange,
    Text,
)
from redis_patterns.testing.memory import Server
from tests.core.nonsense import Nameless, nonsense

BOARD = Leaderboard("w")
NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
ROWS = [Entry("ann", 12.5, 1), Entry("bob", 0.0, 2)]


@pytest.mark.parametrize(
    "reply",
    [
        [[b"ann", 12.5], [b"bob", 0.0]],  # RESP3
        [b"ann", b"12.5", b"bob", b"0"],  # RESP2
        [b"ann", b"1.25e1", b"bob", b"-0"],  # RESP2, another server's way of writing doubles
    ],
)
def test_rows_in_either_protocol(reply: list[object]) -> None:
    """Rows have members, scores and ranks counted from the first, however the server wrote them."""
    assert BOARD.top(2).parse([reply]) == ROWS
    assert [entry.rank for entry in BOARD.range(11, 12).parse([reply])] == [11, 12]


def test_an_empty_board_has_no_rows() -> None:
    """No rows is an empty list."""
    assert BOARD.top(3).parse([[]]) == []


@pytest.mark.parametrize(("reply", "score"), [(None, None), (0.0, 0.0), (b"0", 0.0), (b"inf", math.inf), (-3.5, -3.5)])
def test_a_score_of_zero_is_a_score(reply: object, score: float | None) -> None:
    """Only an absent member gives None."""
    assert BOARD.score("ann").parse([reply]) == score


@pytest.mark.parametrize(("reply", "rank"), [(None, None), (0, 1), (41, 42)])
def test_ranks_begin_at_one(reply: object, rank: int | None) -> None:
    """Redis counts from 0, people from 1; only an absent member gives None."""
    assert BOARD.rank("ann").parse([reply]) == rank


def test_around_counts_ranks_from_the_first_row() -> None:
    """The script says where its window begins; an absent member gives None, not an empty list."""
    assert BOARD.around("bob", 2).parse([[20, 7, 8, [b"ann", b"12.5", b"bob", b"0"], []]]) == [
        Entry("ann", 12.5, 8),
        Entry("bob", 0.0, 9),
    ]
    assert BOARD.around("bob").parse([None]) is None


def test_the_other_answers() -> None:
    """Adding gives nothing, incrementing the new score, counting a number, removing whether it was there."""
    assert BOARD.increment("ann", 2).parse([b"2.5"]) == 2.5
    assert BOARD.count().parse([3]) == 3
    assert (BOARD.remove("ann").parse([1]), BOARD.remove("ann").parse([0])) == (True, False)
    add: Plan[object] = BOARD.add("ann", 1)
    assert add.parse([0]) is None


@pytest.mark.parametrize(
    ("plan", "reply"),
    [
        (BOARD.top(), [b"ann"]),
        (BOARD.top(), [[b"ann", 1.0, 2.0]]),
        (BOARD.top(), [b"ann", b"much"]),
        (BOARD.top(), [b"\xff", b"1"]),
        (BOARD.top(), b"ann"),
        (BOARD.score("ann"), b"much"),
        (BOARD.rank("ann"), b"1"),
        (BOARD.count(), None),
        (BOARD.around("ann"), [9, b"x", 1, [], []]),
        (BOARD.around("ann"), [1]),
        (BOARD.page(1), None),
        (BOARD.submit("ann", 1), [b"1"]),
        (BOARD.submit("ann", 1), [b"much", b"1", 1]),
        (BOARD.submit("ann", 1), -9),
        (BOARD.entries(["ann"]), [b"1"]),
        (BOARD.percentile("ann"), [b"1", 1]),
        (BOARD.bands([1]), [1]),
        (MemberData[str](BOARD).get("ann"), 1),
    ],
)
def test_a_malformed_answer_is_a_decode_error_without_content(plan: Plan[object], reply: object) -> None:
    """What cannot be read is said to be so, without showing what was stored."""
    with pytest.raises(DecodeError) as refusal:
        plan.parse([reply])
    assert "ann" not in str(refusal.value)
    assert "much" not in str(refusal.value)


def refused(argument: str, made: object) -> None:
    with pytest.raises(ConfigurationError, match=argument):
        made()  # type: ignore[operator]


@pytest.mark.parametrize("name", ["", None, 7, b"w", "\ud800"])
def test_a_board_needs_a_name(name: object) -> None:
    """A name is text that is not empty."""
    refused("name", lambda: Leaderboard(name))  # type: ignore[arg-type]
    refused("member", lambda: BOARD.score(name))  # type: ignore[arg-type]


@pytest.mark.parametrize("namespace", [None, 7, b"n", "\ud800"])
def test_a_namespace_is_text(namespace: object) -> None:
    """A namespace is text; empty means none."""
    refused("namespace", lambda: Leaderboard("w", namespace=namespace))  # type: ignore[arg-type]


@pytest.mark.parametrize("score", [math.nan, None, "1", True, 2**53 + 1, -(2**53) - 1])
def test_a_score_is_a_number_that_a_double_can_hold(score: object) -> None:
    """NaN would make an order without order; a whole number beyond 2**53 would be stored as another one."""
    refused("score", lambda: BOARD.add("ann", score))  # type: ignore[arg-type]
    refused("by", lambda: BOARD.increment("ann", score))  # type: ignore[arg-type]


@pytest.mark.parametrize("score", [0, -0.0, math.inf, -math.inf, 2**53, -(2**53), 1e300])
def test_scores_that_are_allowed(score: float) -> None:
    """The infinities, zero and the largest exact whole numbers are scores."""
    assert BOARD.add("ann", score).commands[0].args[2] == score


@pytest.mark.parametrize("count", [0, -1, 1.5, None, True, "3"])
def test_counts_and_ranks_are_positive_whole_numbers(count: object) -> None:
    """Rank 0 does not exist, and half a row neither."""
    refused("count", lambda: BOARD.top(count))  # type: ignore[arg-type]
    refused("count", lambda: BOARD.around("ann", count))  # type: ignore[arg-type]
    refused("first", lambda: BOARD.range(count, 10))  # type: ignore[arg-type]
    refused("last", lambda: BOARD.range(2, count))  # type: ignore[arg-type]


def test_a_range_does_not_end_before_it_begins() -> None:
    """The last rank is the first, or behind it."""
    refused("last must be a whole number from 5", lambda: BOARD.range(5, 4))
    assert BOARD.range(5, 5).commands[0].args[2:4] == (4, 4)


TIES = [b"a", b"9", b"b", b"7", b"c", b"7", b"d", b"-0", b"e", b"0", b"f", b"-1"]


@pytest.mark.parametrize(
    ("ties", "ranks"),
    [
        ("ordinal", [1, 2, 3, 4, 5, 6]),
        ("competition", [1, 2, 2, 4, 4, 6]),
        ("dense", [1, 2, 2, 3, 3, 4]),
    ],
)
def test_ranks_of_ties(ties: Any, ranks: list[int]) -> None:
    """Each way of ranking ties, from the first row on and from the middle of a tie; less than nothing is nothing."""
    board = Leaderboard("w", ties=ties)
    assert [entry.rank for entry in board.top(6).parse([TIES])] == ranks
    got = board.around("c", 4).parse([[6, 2, ranks[2], TIES[4:], []]])
    assert got is not None
    assert [entry.rank for entry in got] == ranks[2:]


def test_what_is_plain_stays_plain() -> None:
    """A board that keeps nothing beside it is written and read by single commands; any other by scripts."""
    for board in (BOARD, Leaderboard("w", ties="competition", order="lowest")):
        assert board.add("ann", 1).commands[0].args[0] == "ZADD"
        assert len(board.increment("ann").commands[0].args) == 6, "one key"
    options: list[dict[str, Any]] = [{"ties": "dense"}, {"first_come": True}, {"most": 9}, {"period": DAY, "keep": 0}]
    for option in options:
        board = Leaderboard("w", **option)
        for plan in (board.add("ann", 1), board.increment("ann")):
            assert plan.commands[0].script is not None
            assert plan.commands[0].script.name == "leaderboard_write"
    assert Leaderboard("w", order="lowest").rank("ann").commands[0].args[0] == "ZRANK"
    assert Leaderboard("w", ties="dense").top(3).commands[0].args[0] == "ZRANGE"


def test_what_may_be_sent_twice() -> None:
    """What sets the same again may; what adds, or whose answer would be another, may not."""
    other = Leaderboard("w", part="x")
    effects = {
        BOARD.add("a", 1): Effect.IDEMPOTENT,
        BOARD.submit("a", 1): Effect.ONCE,
        BOARD.submit_many({"a": 1}): Effect.ONCE,
        BOARD.increment("a"): Effect.ONCE,
        BOARD.remove_many(["a"]): Effect.ONCE,
        other.merge([BOARD], ttl=1): Effect.IDEMPOTENT,
        other.merge([BOARD, other], ttl=1): Effect.ONCE,
        MemberData[int](BOARD).put("a", 1): Effect.IDEMPOTENT,
        MemberData[int](BOARD).get("a"): Effect.READS,
        MemberData[int](BOARD).top(): Effect.READS,
        BOARD.score("a"): Effect.READS,
        BOARD.percentile("a"): Effect.READS,
        BOARD.entries(["a"]): Effect.READS,
        BOARD.bands([1]): Effect.READS,
    }
    assert {plan.name: plan.effect for plan in effects} == {plan.name: effect for plan, effect in effects.items()}


def test_what_became_of_scores() -> None:
    """The score before, the score now and the rank; no score before is none, 0 is one; no rank is not good enough."""
    assert BOARD.submit("ann", 1).parse([[None, b"0", 3]]) == ScoreChange(None, 0.0, 3)
    changes = BOARD.submit_many({"ann": 1, "bob": 2}).parse([[b"0", b"1", 0, b"3", b"3", 1]])
    assert changes == {"ann": ScoreChange(0.0, 1.0, None), "bob": ScoreChange(3.0, 3.0, 1)}
    assert BOARD.entries(["ann", "bob"]).parse([[None, 0, b"0", 4]]) == {"ann": None, "bob": Entry("bob", 0.0, 4)}
    assert BOARD.page(2, 3).parse([[7, 3, 4, [b"ann", b"0"], []]]) == Page([Entry("ann", 0.0, 4)], 2, 3, 7)
    assert [Page[int]([], 1, 3, members).pages for members in (0, 1, 3, 4)] == [0, 1, 1, 2]
    assert [BOARD.percentile("ann").parse([reply]) for reply in (None, [0, 4], [3, 4])] == [None, 100.0, 25.0]


@pytest.mark.parametrize(
    ("reply", "reason"), [(-1, "expired"), (-2, r"2\*\*53"), (-3, "no number"), (-4, "more members")]
)
def test_what_is_refused_says_why(reply: int, reason: str) -> None:
    """A refusal names the board and the reason."""
    for plan in (BOARD.submit("a", 1), BOARD.increment("a"), replace(BOARD, part="x").merge([BOARD], ttl=1)):
        with pytest.raises(BoardRefused, match=f"'w' was not written to: .*{reason}"):
            plan.parse([reply])


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("period", "part", "ends"),
    [
        (DAY, "day:2026-11-28", datetime(2026, 11, 29, tzinfo=UTC)),
        (WEEK, "week:2026-W48", datetime(2026, 11, 30, tzinfo=UTC)),
        (MONTH, "month:2026-11", datetime(2026, 12, 1, tzinfo=UTC)),
        (MINUTE, "60s:2026-11-28T12:00", NOON + timedelta(minutes=1)),
        (Calendar("day", BERLIN), "day:Europe/Berlin:2026-11-28", datetime(2026, 11, 28, 23, tzinfo=UTC)),
        (Calendar("day", ZoneInfo("UTC")), "day:2026-11-28", datetime(2026, 11, 29, tzinfo=UTC)),
        (
            Calendar("day", timezone(timedelta(hours=5, minutes=30))),
            "day:UTC+05:30:2026-11-28",
            datetime(2026, 11, 28, 18, 30, tzinfo=UTC),
        ),
    ],
)
def test_a_board_for_each_period(period: Any, part: str, ends: datetime) -> None:
    """Its key says which, under the tag of all of them; it expires so long after its end; its plans stay with it."""
    board = Leaderboard("w", period=period, keep=1.5, clock=lambda: NOON)
    assert board.key == board.at(NOON).key == f"leaderboard:{{w}}:{part}"
    assert board.here().expires_at == (ends - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1) + 1500
    assert board.at(NOON).start == period.start(NOON)
    assert board.at(NOON) == board.at(NOON + timedelta(seconds=1)) != board.at(NOON + timedelta(days=40))
    assert board.at(ends).key != board.key
    assert replace(board, part="x", namespace="n").key == f"n:leaderboard:{{w}}:part:x:{part}"


def test_the_present_period_is_that_of_the_clock() -> None:
    """When the clock goes on, so does the board; that of a moment stays."""
    now = [NOON]
    board = Leaderboard("w", period=DAY, keep=0, clock=lambda: now[0])
    of_today = board.at(NOON)
    now[0] += timedelta(days=1)
    assert board.key.endswith("29")
    assert of_today.key.endswith("28")
    assert board.add("ann", 1) != of_today.add("ann", 1)


def test_parts_have_keys_of_their_own() -> None:
    """No name of a part makes it another board, or what another board is read from."""
    parts = ["", "x", "x:scores", "x%3Ascores", "day:2026-11-28", "scores", "}{"]
    boards = [Leaderboard("w", part=part) for part in parts] + [Leaderboard("w", period=DAY, keep=1).at(NOON)]
    keys = [key for board in boards for key in board.here().keys]
    assert len(set(keys)) == len(keys)
    assert all(key.startswith("leaderboard:{w}") for key in keys)


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("order", {"order": "up"}),
        ("ties", {"ties": "1224"}),
        ("first_come", {"first_come": 1}),
        ("most", {"most": 0}),
        ("most", {"most": True}),
        ("part", {"part": None}),
        ("period", {"period": "day", "keep": 1}),
        ("period", {"period": Calendar("day", Nameless()), "keep": 1}),
        ("keep", {"period": DAY}),
        ("keep", {"keep": 1}),
        ("keep", {"period": DAY, "keep": -0.001}),
        ("keep", {"period": DAY, "keep": math.inf}),
    ],
)
def test_options_that_are_not_allowed(argument: str, options: dict[str, Any]) -> None:
    """A board is refused where it is built, by an error that names the argument."""
    refused(argument, lambda: Leaderboard("w", **options))


DAILY = Leaderboard("w", period=DAY, keep=1)
OTHER = Leaderboard("w", part="x")


@pytest.mark.parametrize(
    ("argument", "made"),
    [
        *[("member", lambda call=call: call("")) for call in nonsense(BOARD.rank, BOARD.percentile, BOARD.around)],
        *[("member", lambda call=call: call("", 1)) for call in nonsense(BOARD.add, BOARD.increment, BOARD.submit)],
        *[("member", lambda call=call: call("")) for call in nonsense(BOARD.remove, MemberData[int](BOARD).get)],
        ("score", lambda: BOARD.submit("a", math.nan)),
        ("mode", lambda: BOARD.submit("a", 1, mode="worst")),  # type: ignore[arg-type]
        ("mode", lambda: BOARD.submit_many({"a": 1}, mode="worst")),  # type: ignore[arg-type]
        ("scores", lambda: BOARD.submit_many({"a": math.nan})),
        ("members", lambda: BOARD.submit_many({})),
        ("members", lambda: BOARD.submit_many({str(number): 1 for number in range(1001)})),
        ("members", lambda: BOARD.entries("ann")),
        ("members", lambda: BOARD.remove_many(["a", ""])),
        ("edges", lambda: BOARD.bands([])),
        ("edges", lambda: BOARD.bands([1, 1])),
        ("edges", lambda: BOARD.bands([2, 1])),
        ("edges", lambda: BOARD.bands([math.nan])),
        ("edges", lambda: BOARD.bands(range(1001))),
        ("number", lambda: BOARD.page(0)),
        ("size", lambda: BOARD.page(1, 0)),
        ("period", lambda: BOARD.at(NOON)),
        ("at", lambda: DAILY.at(datetime(2026, 11, 28))),  # noqa: DTZ001  refused
        ("clock", lambda: replace(DAILY, clock=lambda: datetime(2026, 11, 28)).top()),  # noqa: DTZ001  refused
        ("first_come", lambda: replace(OTHER, first_come=True).merge([BOARD], ttl=1)),
        ("boards", lambda: OTHER.merge([], ttl=1)),
        ("boards", lambda: OTHER.merge([BOARD] * 101, ttl=1)),
        ("boards", lambda: OTHER.merge([Leaderboard("v")], ttl=1)),
        ("boards", lambda: OTHER.merge([Leaderboard("w", namespace="n")], ttl=1)),
        ("ttl", lambda: OTHER.merge([BOARD])),
        ("ttl", lambda: DAILY.merge([BOARD], ttl=1)),
        ("ttl", lambda: OTHER.merge([BOARD], ttl=0)),
        ("weights", lambda: OTHER.merge([BOARD], ttl=1, weights=[])),
        ("weights", lambda: OTHER.merge([BOARD], ttl=1, weights=[math.inf])),
        ("aggregate", lambda: OTHER.merge([BOARD], ttl=1, aggregate="avg")),  # type: ignore[arg-type]
        ("limit", lambda: OTHER.merge([BOARD], ttl=1, limit=0)),
        ("board", lambda: MemberData[int]("w")),  # type: ignore[arg-type]
        *[("count", lambda count=count: MemberData[int](BOARD).top(count)) for count in (0, 1001)],
        *[("count", lambda count=count: MemberData[int](BOARD).around("a", count)) for count in (0, 1001)],
        *[("size", lambda size=size: MemberData[int](BOARD).page(1, size)) for size in (0, 1001)],
        ("number", lambda: MemberData[int](BOARD).page(0)),
        ("member", lambda: MemberData[int](BOARD).around("")),
        ("members", lambda: MemberData[int](BOARD).put("", 1)),
    ],
)
def test_arguments_that_are_not_allowed(argument: str, made: Callable[[], object]) -> None:
    """A plan is refused where it is made, by an error that names the argument."""
    refused(argument, made)


def test_the_limits_are_allowed() -> None:
    """The greatest and the least numbers that the errors name, and what is sent of them."""
    names = MemberData[int](BOARD)
    thousand = [str(number) for number in range(1000)]
    words: list[tuple[Plan[Any], tuple[object, ...]]] = [
        (BOARD.top(1), (0, 0, "REV", "WITHSCORES")),
        (BOARD.range(1, 1), (0, 0, "REV", "WITHSCORES")),
        (BOARD.page(1, 1), ("from", 0, 1)),
        (BOARD.page(3, 7), ("from", 14, 7)),
        (BOARD.page(10**9, 10**9), ("from", (10**9 - 1) * 10**9, 10**9)),
        (BOARD.around("ann", 1), ("around", "ann", 1)),
        (BOARD.around("ann", 10**9), ("around", "ann", 10**9)),
        (BOARD.bands([0]), (0,)),
        (BOARD.bands(range(1000)), tuple(range(1000))),
        (BOARD.entries(thousand), tuple(thousand)),
        (OTHER.merge([BOARD] * 100, ttl=0.001, limit=1), ("in", 1, 1, "SUM", *[1.0] * 100)),
        (DAILY.at(NOON).merge([BOARD]), ("at", 1795910401000, 10_000, "SUM", 1.0)),
        (names.top(1), ("from", 0, 1)),
        (names.top(1000), ("from", 0, 1000)),
        (names.page(2, 1), ("from", 1, 1)),
        (names.page(2, 1000), ("from", 1000, 1000)),
        (names.around("ann", 1), ("around", "ann", 1)),
        (names.around("ann", 1000), ("around", "ann", 1000)),
    ]
    for plan, end in words:
        assert plan.commands[0].args[-len(end) :] == end
    assert Leaderboard("w", most=1).add("ann", 1).commands[0].args[-4] == 1


@pytest.mark.parametrize(("now", "expired"), [(2.9995, False), (3.0, True)])
def test_a_board_ends_to_the_millisecond(now: float, expired: bool) -> None:
    """By the server's clock: then nothing is written, or merged, and until then what is written lasts as long."""
    server, start = Server(), datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)  # as its clock begins
    board = Leaderboard("w", period=Every(1), keep=2).at(start)
    server.run(Leaderboard("w", part="x").add("ann", 1))
    server.clock.advance(now)
    for plan in (board.add("ann", 1), board.merge([Leaderboard("w", part="x")])):
        if expired:
            with pytest.raises(BoardRefused, match="it has expired"):
                server.run(plan)
        else:
            server.run(plan)
        assert server.expiries() == ([] if expired else [3.0])


@pytest.mark.parametrize(
    "writes",
    [
        [{"ann": 20}],
        [{"ann": 20}, {"ann": 30}],
        [{"bob": 5}, {"ann": 5}],
        [{"ann": 20, "bob": 30}, {"bob": 20}],
    ],
)
def test_a_merged_board_expires_as_a_whole(writes: list[dict[str, float]]) -> None:
    """Also where its only score is replaced: then the board is empty, and the next one begins with rank 1."""
    server = Server()
    board, source = Leaderboard("w", part="x", ties="dense"), Leaderboard("w")
    server.run(source.add("ann", 10))
    server.run(board.merge([source], ttl=1))
    for scores in writes:
        server.clock.advance(0.25)
        server.run(board.submit_many(scores, mode="set"))
        server.run(MemberData[str](board).put("ann", "Ann"))
        assert server.expiries() == [1.0] * 3, "the board, its scores and its data"
    server.clock.advance(1)
    assert server.keys() == ["leaderboard:{w}"]
    assert server.run(board.submit("bob", 5)) == ScoreChange(None, 5, 1)
    assert server.expiries() == [], "a board that is not merged is for ever"


@pytest.mark.parametrize("options", [{"ties": "dense"}, {"first_come": True}, {"ties": "dense", "first_come": True}])
def test_what_is_beside_a_board_lives_as_long(options: dict[str, Any]) -> None:
    """A TTL that a board was given is that of all of it from the next write on, and none is given to what has one."""
    server, board = Server(), Leaderboard("w", **options)
    expire = Plan("expire", (Command(("PEXPIRE", board.key, 2000)),), lambda answers: answers[0])
    server.run(board.submit_many({"ann": 1, "bob": 2}))
    server.run(expire)
    server.clock.advance(1)
    server.run(board.submit_many({"ann": 3, "bob": 3}))
    assert set(server.expiries()) == {2.0}
    assert len(server.expiries()) == len(server.keys()) == 1 + sum({"ties": 1, "first_come": 2}[one] for one in options)
    server.run(board.remove("ann"))
    server.run(board.add("cy", 4))
    assert set(server.expiries()) == {2.0}


@pytest.mark.parametrize("options", [{"ties": "dense"}, {"first_come": True}, {"ties": "dense", "first_come": True}])
def test_nothing_is_beside_a_board_that_is_gone(options: dict[str, Any]) -> None:
    """What outlives the board that it was of is not taken for that of the next one."""
    server, board = Server(), Leaderboard("w", **options)
    server.run(board.submit_many({"ann": 1, "bob": 2}))
    server.run(MemberData[str](board).put("ann", "Ann"))
    server.run(Plan("gone", (Command(("DEL", board.key)),), lambda answers: answers[0]))
    assert server.run(board.submit("bob", 0)) == ScoreChange(None, 0, 1)
    assert server.run(MemberData[str](board).around("bob")) == [(Entry("bob", 0.0, 1), None)]
    assert server.run(MemberData[str](board).get("ann")) is None
    assert server.run(board.remove("bob")) is True
    assert server.keys() == []


def test_rows_with_data() -> None:
    """Each row with what is kept of its member; nothing, and what cannot be read, is none."""
    names = MemberData(BOARD, codec=Text())
    reply = [9, 0, 1, [b"ann", b"2", b"bob", b"1", b"cy", b"0"], [b"Ann", None, b"\xff"]]
    rows = [(Entry("ann", 2.0, 1), "Ann"), (Entry("bob", 1.0, 2), None), (Entry("cy", 0.0, 3), None)]
    assert names.top(3).parse([reply]) == names.around("bob", 3).parse([reply]) == rows
    assert names.page(1, 3).parse([reply]) == Page(rows, 1, 3, 9)
    assert names.around("bob").parse([None]) is None
    assert [names.get("ann").parse([reply]) for reply in (b"Ann", b"", None, b"\xff")] == ["Ann", "", None, None]
    assert [names.put("ann", "x").parse([reply]) for reply in (0, 1)] == [False, True]
