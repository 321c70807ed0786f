from __future__ import annotations

import math

import pytest

from redis_patterns import ConfigurationError, DecodeError, Entry, Leaderboard, Plan

BOARD = Leaderboard("w")
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
    assert BOARD.around("bob", 2).parse([[7, [b"ann", b"12.5", b"bob", b"0"]]]) == [
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
        (BOARD.around("ann"), [b"x", []]),
        (BOARD.around("ann"), [1]),
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
