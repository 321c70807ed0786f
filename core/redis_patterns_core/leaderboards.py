"""Leaderboards: members by score, the highest first.

Promises: a score of 0 is a score, and an absent member gives ``None``; ranks begin at 1; the rows around a member
always hold that member and come from one moment. Members of equal score have ranks of their own, in the reverse order
of their bytes.

Keys: ``leaderboard:{NAME}``, a sorted set, permanent: it has no TTL and is gone when its last member is removed.

Source: https://redis.io/docs/latest/develop/data-types/sorted-sets/
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TypeVar

from redis_patterns_core import replies, validate
from redis_patterns_core.errors import ConfigurationError
from redis_patterns_core.keys import key
from redis_patterns_core.plan import Argument, Command, Effect, Plan, Script
from redis_patterns_core.replies import Reply
from redis_patterns_core.value import value

__all__ = ["Entry", "Leaderboard"]

T = TypeVar("T")

_AROUND = Script.load("leaderboard_around")


@value
class Entry:
    """A row of a leaderboard.

    Parameters:
        member: who.
        score: a double.
        rank: 1 for the highest score.
    """

    member: str
    score: float
    rank: int


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """A board of members and their scores.

    Parameters:
        name: the board's name.
        namespace: a prefix of its key.

    Raises:
        ConfigurationError: an empty name, or one that is not text.
    """

    name: str
    _: KW_ONLY
    namespace: str = ""
    key: str = field(init=False, repr=False, compare=False)
    """The sorted set that holds the board."""

    def __post_init__(self) -> None:
        validate.text("name", self.name)
        validate.namespace(self.namespace)
        object.__setattr__(self, "key", key("leaderboard", self.name, namespace=self.namespace))

    def add(self, member: str, score: float) -> Plan[None]:
        """Set a member's score, whatever it was.

        Parameters:
            member: text, not empty.
            score: any number but NaN; a whole number must be exact as a double.

        Returns:
            A plan of one round trip, idempotent.

        Raises:
            ConfigurationError: a member or a score that is not allowed.
        """
        return _plan("add", ("ZADD", self.key, _score("score", score), _member(member)), _nothing, Effect.IDEMPOTENT)

    def increment(self, member: str, by: float = 1) -> Plan[float]:
        """Add to a member's score, from 0 if it is not on the board.

        Parameters:
            member: text, not empty.
            by: any number but NaN, negative to take away.

        Returns:
            A plan of one round trip that gives the new score; sent at most once.

        Raises:
            ConfigurationError: a member or a number that is not allowed.
        """
        args = ("ZINCRBY", self.key, _score("by", by), _member(member))
        return _plan("increment", args, _new_score, Effect.ONCE)

    def score(self, member: str) -> Plan[float | None]:
        """Read a member's score; ``None`` when it is not on the board. One round trip.

        Raises:
            ConfigurationError: a member that is not allowed.
        """
        return _plan("score", ("ZSCORE", self.key, _member(member)), _score_or_none, Effect.READS)

    def rank(self, member: str) -> Plan[int | None]:
        """Read a member's rank, 1 for the highest score; ``None`` when it is not on the board. One round trip.

        Raises:
            ConfigurationError: a member that is not allowed.
        """
        return _plan("rank", ("ZREVRANK", self.key, _member(member)), _rank_or_none, Effect.READS)

    def top(self, count: int = 10) -> Plan[list[Entry]]:
        """Read the first rows, the highest score first. One round trip.

        Parameters:
            count: how many at most, 1 or more.

        Raises:
            ConfigurationError: a count that is not allowed.
        """
        return self._rows("top", 1, validate.integer("count", count, least=1))

    def range(self, first: int, last: int) -> Plan[list[Entry]]:
        """Read the rows from one rank to another, both included: the second page of ten is ``range(11, 20)``.

        One round trip. Ranks beyond the end of the board give no rows.

        Parameters:
            first: the first rank, 1 or more.
            last: the last rank, not before the first.

        Raises:
            ConfigurationError: ranks that are not allowed.
        """
        validate.integer("first", first, least=1)
        return self._rows("range", first, validate.integer("last", last, least=first))

    def around(self, member: str, count: int = 5) -> Plan[list[Entry] | None]:
        """Read the rows around a member, the member in the middle, or nearer to an end where the board ends.

        One round trip, in one script: the member is always among the rows.

        Parameters:
            member: text, not empty.
            count: how many rows, the member's own included; fewer come back only if the board has fewer.

        Returns:
            A plan that gives the rows, or ``None`` when the member is not on the board.

        Raises:
            ConfigurationError: a member or a count that is not allowed.
        """
        command = _AROUND((self.key,), _member(member), validate.integer("count", count, least=1))
        return Plan("leaderboard.around", (command,), _window, Effect.READS)

    def count(self) -> Plan[int]:
        """Count the members. One round trip."""
        return _plan("count", ("ZCARD", self.key), _integer, Effect.READS)

    def remove(self, member: str) -> Plan[bool]:
        """Take a member off the board. One round trip.

        Returns:
            A plan that tells whether the member was on it; sent at most once, or the answer could be wrong.

        Raises:
            ConfigurationError: a member that is not allowed.
        """
        return _plan("remove", ("ZREM", self.key, _member(member)), _removed, Effect.ONCE)

    def _rows(self, verb: str, first: int, last: int) -> Plan[list[Entry]]:
        args = ("ZRANGE", self.key, first - 1, last - 1, "REV", "WITHSCORES")
        return _plan(verb, args, lambda answers: _entries(answers[0], first), Effect.READS)


def _plan(verb: str, args: tuple[Argument, ...], parse: Callable[[Sequence[Reply]], T], effect: Effect) -> Plan[T]:
    return Plan(f"leaderboard.{verb}", (Command(args),), parse, effect)


def _member(member: str) -> str:
    return validate.text("member", member)


def _score(argument: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        raise ConfigurationError(f"{argument} must be a number and not NaN, not {value!r}")
    if isinstance(value, int) and abs(value) > validate.EXACT_LIMIT:
        raise ConfigurationError(f"{argument} must be exact as a double, from -2**53 to 2**53, not {value}")
    return value


def _nothing(answers: Sequence[Reply]) -> None:
    replies.integer(answers[0])


def _integer(answers: Sequence[Reply]) -> int:
    return replies.integer(answers[0])


def _removed(answers: Sequence[Reply]) -> bool:
    return replies.integer(answers[0]) == 1


def _new_score(answers: Sequence[Reply]) -> float:
    return replies.number(answers[0])


def _score_or_none(answers: Sequence[Reply]) -> float | None:
    return None if answers[0] is None else replies.number(answers[0])


def _rank_or_none(answers: Sequence[Reply]) -> int | None:
    return None if answers[0] is None else replies.integer(answers[0]) + 1


def _entries(reply: Reply, first: int) -> list[Entry]:
    rows = enumerate(replies.pairs(reply), first)
    return [Entry(replies.text(member), replies.number(score), rank) for rank, (member, score) in rows]


def _window(answers: Sequence[Reply]) -> list[Entry] | None:
    if answers[0] is None:
        return None
    start, rows = replies.array(answers[0], 2)
    return _entries(rows, replies.integer(start) + 1)
