from __future__ import annotations

from collections.abc import Callable

import pytest

from redis_patterns import DecodeError, ErrorReply
from redis_patterns_core import replies


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("WRONGTYPE Operation against a key", "WRONGTYPE", "Operation against a key"),
        ("ERR value is not an integer", "ERR", "value is not an integer"),
        ("NOAUTH", "NOAUTH", ""),
        ("ERR Error running script (no more is known)", "ERR", "Error running script (no more is known)"),
        ("ERR wrong key -READONLY or so", "ERR", "wrong key -READONLY or so"),
        (
            "ERR unknown command 'FOO', with args beginning with: 's3cret' 'more'",
            "ERR",
            "unknown command 'FOO'",
        ),
        (
            "ERR Error running script (call to f_6aea): @user_script:3: @user_script: 3: -READONLY You can't write",
            "READONLY",
            "You can't write",
        ),
        (
            "WRONGTYPE Operation against a key script: 6aeaff, on @user_script:12.",
            "WRONGTYPE",
            "Operation against a key",
        ),
    ],
)
def test_an_error_has_a_code_and_a_message(line: str, code: str, message: str) -> None:
    """The code is the first word, also of what a script's command answered; quoted arguments are left out."""
    assert ErrorReply.parse(line) == ErrorReply(code, message)


@pytest.mark.parametrize(
    ("read", "reply", "value"),
    [
        (replies.integer, 0, 0),
        (replies.whole, 0, 0),
        (replies.whole, b"-9223372036854775808", -(2**63)),
        (replies.members, {b"a"}, {b"a"}),
        (replies.members, [b"a"], [b"a"]),
        (replies.number, 0.5, 0.5),
        (replies.number, b"0.5", 0.5),
        (replies.number, b"1e+17", 1e17),
        (replies.number, b"-inf", float("-inf")),
        (replies.number, 3, 3.0),
        (replies.text, "ä".encode(), "ä"),
        (replies.array, [], []),
        (replies.pairs, [b"a", 1, b"b", 2], [(b"a", 1), (b"b", 2)]),
        (replies.pairs, [[b"a", 1], [b"b", 2]], [(b"a", 1), (b"b", 2)]),
        (replies.pairs, {b"a": 1}, [(b"a", 1)]),
        (replies.pairs, [], []),
        (replies.pairs, [b"a", [1]], [(b"a", [1])]),
    ],
)
def test_replies_are_read_in_either_shape(read: Callable[[object], object], reply: object, value: object) -> None:
    """Both protocols' shapes of a reply mean the same."""
    assert read(reply) == value


@pytest.mark.parametrize(
    ("read", "reply"),
    [
        (replies.integer, b"1"),
        (replies.whole, b"secret"),
        (replies.whole, None),
        (replies.members, b"secret"),
        (replies.integer, None),
        (replies.number, b"much"),
        (replies.number, None),
        (replies.text, 7),
        (replies.text, b"\xff"),
        (replies.array, b"secret"),
        (replies.pairs, [b"a"]),
        (replies.pairs, [[b"a"]]),
        (replies.pairs, ErrorReply("ERR", "secret")),
    ],
)
def test_anything_else_is_a_decode_error_without_content(read: Callable[[object], object], reply: object) -> None:
    """The message says what was expected and what type came, not what it said."""
    with pytest.raises(DecodeError, match=f"expected .* got {type(reply).__name__}") as refusal:
        read(reply)
    assert "secret" not in str(refusal.value)


def test_a_list_of_a_given_length() -> None:
    """A list that is too short or too long is not what a script answers."""
    assert replies.array([1, 2], 2) == [1, 2]
    assert replies.integers([1, 2], 2) == [1, 2]
    for wrong in ([1], [1, 2, 3], [1, b"2"], [1, None], 7):
        with pytest.raises(DecodeError):
            replies.integers(wrong, 2)
    with pytest.raises(DecodeError, match="a list of 2"):
        replies.array([1], 2)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (None, "expected a list from Redis, got NoneType"),
        (b"abc", "expected a list from Redis, got bytes of 3"),
        ({1: 2}, "expected a list from Redis, got dict of 1"),
    ],
)
def test_what_a_decode_error_says(reply: object, said: str) -> None:
    """The type, and the size of what has one."""
    with pytest.raises(DecodeError) as refusal:
        replies.array(reply)
    assert str(refusal.value) == said


@pytest.mark.parametrize(
    ("read", "answers", "gives"),
    [
        (replies.first, [b"x", 2], b"x"),
        (replies.first_integer, [3, b"x"], 3),
        (replies.first_is_one, [1], True),
        (replies.first_is_one, [0], False),
        (replies.first_is_one, [-1], False),
        (replies.first_is_one, [2], False),
        (replies.acknowledged, [2], None),
        (replies.sum_of, [1, 2, 4], 7),
        (replies.sum_of, [], 0),
    ],
)
def test_what_plans_make_of_their_replies(
    read: Callable[[list[object]], object], answers: list[object], gives: object
) -> None:
    """Of the first one, or of all together."""
    assert read(answers) == gives


@pytest.mark.parametrize("read", [replies.first_integer, replies.first_is_one, replies.acknowledged, replies.sum_of])
@pytest.mark.parametrize("reply", [b"1", 1.0, None, [1]])
def test_what_is_no_integer(read: Callable[[list[object]], object], reply: object) -> None:
    """Is refused by each of them."""
    with pytest.raises(DecodeError, match="expected an integer"):
        read([reply])
