"""Replies as they leave the wire, and the functions that read them in either RESP shape.

A reply is what hiredis makes of RESP2 or RESP3 without any decoding: ``None``, ``bool``, ``int``, ``float``, ``bytes``,
a ``list``, a ``set``, a ``dict``, or an `ErrorReply` where Redis answered with an error. The same command may answer
with bytes under RESP2 and with a float under RESP3, with a flat list or with pairs: the readers here take both, and
raise `DecodeError` on anything else.

Source: https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence, Sized
from dataclasses import dataclass
from typing import TypeAlias, cast

from redis_patterns_core.errors import DecodeError

__all__ = [
    "ErrorReply",
    "Reply",
    "acknowledged",
    "array",
    "first",
    "first_integer",
    "first_is_one",
    "integer",
    "integers",
    "members",
    "number",
    "pairs",
    "sum_of",
    "text",
    "whole",
]

Reply: TypeAlias = object

_ARGUMENTS = re.compile(r",? with args beginning with:.*", re.DOTALL)
# Redis 6.2 wraps what a command inside a script answered: "ERR Error running script (...): @user_script: 3: -READONLY
# You can't write ...". Redis 7 puts the code first.
_WRAPPED = re.compile(r"-([A-Z]{3,}) (.*)", re.DOTALL)
_SCRIPT_POSITION = re.compile(r" script: [0-9a-f]+, on @user_script:\d+\.")

_INTEGERS = {int}
_LONGEST = 19  # digits of a number of 64 bits


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """An error that Redis answered with, as a value in the list of replies.

    Parameters:
        code: the first word, such as ``ERR``, ``WRONGTYPE`` or ``MOVED``.
        message: the rest, without the arguments that some replies quote.
    """

    code: str
    message: str

    @classmethod
    def parse(cls, line: str) -> ErrorReply:
        """Read one error line, without its leading ``-``; an error raised inside a script gives its own code."""
        line = _ARGUMENTS.sub("", line)
        wrapped = _WRAPPED.search(line)
        if line.startswith("ERR Error running script") and wrapped:
            return cls(wrapped[1], wrapped[2])
        code, _, message = line.partition(" ")
        return cls(code, _SCRIPT_POSITION.sub("", message))


def integer(reply: Reply) -> int:
    """Read an integer.

    Raises:
        DecodeError: the reply is something else.
    """
    if isinstance(reply, int):
        return reply
    raise _unexpected("an integer", reply)


def integers(reply: Reply, count: int) -> list[int]:
    """Read a list of exactly `count` integers, which is what most scripts answer with.

    Raises:
        DecodeError: the reply is something else.
    """
    items = array(reply, count)
    if set(map(type, items)) <= _INTEGERS:
        return cast("list[int]", items)
    raise _unexpected(f"a list of {count} integers", reply)


def whole(reply: Reply) -> int:
    """Read a stored integer: it comes as text, and from INCRBY and its kin as a number.

    Raises:
        DecodeError: the reply is something else, or text that Redis would not take for an integer.
    """
    if isinstance(reply, int):
        return reply
    if isinstance(reply, bytes):
        digits = reply.removeprefix(b"-")
        if digits.isdigit() and len(digits) <= _LONGEST:
            return int(reply)
    raise _unexpected("a whole number", reply)


def number(reply: Reply) -> float:
    """Read a score or another double: a float under RESP3, its text under RESP2 and from scripts.

    Raises:
        DecodeError: the reply is something else, or text that is no number.
    """
    if isinstance(reply, (int, float)):
        return float(reply)
    if isinstance(reply, bytes):
        try:
            return float(reply)
        except ValueError:
            pass
    raise _unexpected("a number", reply)


def text(reply: Reply) -> str:
    """Read UTF-8 text.

    Raises:
        DecodeError: the reply is something else, or bytes that are not UTF-8.
    """
    if isinstance(reply, bytes):
        try:
            return reply.decode()
        except UnicodeDecodeError:
            pass
    raise _unexpected("UTF-8 text", reply)


def array(reply: Reply, length: int | None = None) -> list[Reply]:
    """Read a list, of exactly `length` items where that is given.

    Raises:
        DecodeError: the reply is something else, or has another length.
    """
    expected = "a list" if length is None else f"a list of {length}"
    if not isinstance(reply, list):
        raise _unexpected(expected, reply)
    items = cast("list[Reply]", reply)
    if length not in (None, len(items)):
        raise _unexpected(expected, items)
    return items


def members(reply: Reply) -> Collection[Reply]:
    """Read a set: a set under RESP3, a list under RESP2.

    Raises:
        DecodeError: the reply is something else.
    """
    return cast("set[Reply]", reply) if isinstance(reply, set) else array(reply)


def pairs(reply: Reply) -> Sequence[tuple[Reply, Reply]]:
    """Read pairs, such as members and scores: nested under RESP3, flat under RESP2 and from scripts, or a map.

    Raises:
        DecodeError: the reply is something else, or has half a pair.
    """
    if isinstance(reply, dict):
        return list(cast("dict[Reply, Reply]", reply).items())
    items = array(reply)
    if items and isinstance(items[0], list):
        nested = [array(item, 2) for item in items]
        return [(item[0], item[1]) for item in nested]
    if len(items) % 2:
        raise _unexpected("pairs", reply)
    return list(zip(items[::2], items[1::2], strict=True))


# What many plans make of their replies


def first(answers: Sequence[Reply]) -> Reply:
    """Give the first reply, mostly the only one, as it is."""
    return answers[0]


def first_integer(answers: Sequence[Reply]) -> int:
    """Read the first reply as an integer.

    Raises:
        DecodeError: the reply is something else.
    """
    return integer(answers[0])


def first_is_one(answers: Sequence[Reply]) -> bool:
    """Read the first reply as an integer, which is 1 where something was done.

    Raises:
        DecodeError: the reply is something else.
    """
    return integer(answers[0]) == 1


def acknowledged(answers: Sequence[Reply]) -> None:
    """Read the first reply as an integer that is of no interest.

    Raises:
        DecodeError: the reply is something else.
    """
    integer(answers[0])


def sum_of(answers: Sequence[Reply]) -> int:
    """Sum up the integers that all commands gave.

    Raises:
        DecodeError: a reply is something else.
    """
    return sum([integer(answer) for answer in answers])


def _unexpected(expected: str, reply: Reply) -> DecodeError:
    # The reply's type and size, never its content: it may be somebody's session.
    size = f" of {len(reply)}" if isinstance(reply, Sized) else ""
    return DecodeError(f"expected {expected} from Redis, got {type(reply).__name__}{size}")
