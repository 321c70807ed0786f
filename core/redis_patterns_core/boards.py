"""Boards: where the members of a leaderboard are kept, in which order, and what can be read of them.

Source: https://redis.io/docs/latest/develop/data-types/sorted-sets/
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Self, TypeVar, get_args

from redis_patterns_core import replies, validate
from redis_patterns_core.errors import ConfigurationError, DecodeError
from redis_patterns_core.keys import key
from redis_patterns_core.periods import Calendar, Every, Period, key_part, moment, utc_now, zone_name
from redis_patterns_core.plan import Argument, Command, Effect, Plan, Script
from redis_patterns_core.replies import Reply
from redis_patterns_core.standings import DIGITS, Entry, Order, Page, Ties, Window, found, ranked, window
from redis_patterns_core.validate import Duration

__all__ = [
    "MOST_AT_ONCE",
    "Board",
    "Place",
    "checked_score",
    "members_of",
    "on_board",
    "one_of",
    "passed_over",
    "plain",
    "windowed",
]

T = TypeVar("T")
C = TypeVar("C", bound=str)

_ROWS = Script.load("leaderboard_rows")
_FIND = Script.load("leaderboard_find")
_PERCENTILE = Script.load("leaderboard_percentile")
_BANDS = Script.load("leaderboard_bands")

MOST_AT_ONCE = 1000
"""How many members one script writes or looks up: a few milliseconds of everybody's Redis."""

_MOST_ROWS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_ESCAPED = str.maketrans({"%": "%25", ":": "%3A"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a board is, and until when.

    Parameters:
        keys: the board's own; then, whether it uses them or not, those of scores, order, digits and data.
        expires_at: milliseconds since the epoch; 0 for never.
    """

    keys: tuple[str, str, str, str, str]
    expires_at: int


@dataclass(frozen=True, slots=True)
class Board:
    """What a leaderboard is, without what writes it; its parameters are explained there."""

    name: str
    _: KW_ONLY
    part: str = ""
    order: Order = "highest"
    ties: Ties = "ordinal"
    first_come: bool = False
    most: int | None = None
    period: Period | None = None
    keep: Duration | None = None
    clock: Callable[[], datetime] = field(default=utc_now, repr=False, compare=False)
    namespace: str = ""
    start: datetime | None = field(init=False, default=None)
    """Of a board of one period, when that begins."""
    _place: Place | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        validate.text("name", self.name)
        validate.namespace(self.namespace)
        validate.text_or_empty("part", self.part)
        for argument, given, allowed in (("order", self.order, Order), ("ties", self.ties, Ties)):
            one_of(argument, given, get_args(allowed))
        if not isinstance(self.first_come, bool):
            raise ConfigurationError(f"first_come must be True or False, not {validate.shown(self.first_come)}")
        if self.most is not None:
            validate.integer("most", self.most, least=1)
        if self.period is not None and not isinstance(self.period, (Calendar, Every)):
            raise ConfigurationError(
                f"period must be a Calendar or an Every, such as DAY, not {validate.shown(self.period)}"
            )
        if self.period is not None:
            zone_name(self.period)
        if (self.period is None) != (self.keep is None):
            raise ConfigurationError(
                f"keep must be given with a period, and only there, not {validate.shown(self.keep)}"
            )
        if self.keep is not None:
            validate.milliseconds("keep", self.keep, least=0)
        object.__setattr__(self, "_place", self._located(None) if self.period is None else None)

    @property
    def key(self) -> str:
        """The sorted set that holds the board; of the present period where it has one."""
        return self.here().keys[0]

    def at(self, at: datetime) -> Self:
        """Give the board of the period that holds a moment.

        Parameters:
            at: with a time zone.

        Raises:
            ConfigurationError: no such moment, or a board without a period.
        """
        if self.period is None:
            raise ConfigurationError("period must be given for a board that is asked for one of its periods")
        board, start = replace(self), self.period.start(moment("at", at))
        object.__setattr__(board, "start", start)
        object.__setattr__(board, "_place", self._located(start))
        return board

    # Looking at members

    def score(self, member: str) -> Plan[float | None]:
        """Read a member's score; ``None`` when it is not on the board. One round trip.

        Raises:
            ConfigurationError: a member that is not allowed.
        """
        words = ("ZSCORE", self.key, validate.text("member", member))
        return plain("score", words, lambda reply: None if reply is None else replies.number(reply))

    def rank(self, member: str) -> Plan[int | None]:
        """Read a member's rank, 1 for the best score; ``None`` when it is not on the board. One round trip.

        Raises:
            ConfigurationError: a member that is not allowed.
        """
        if self.ties == "ordinal" and not self.first_come:
            words = ("ZRANK" if self.order == "lowest" else "ZREVRANK", self.key, validate.text("member", member))
            return plain("rank", words, lambda reply: None if reply is None else replies.integer(reply) + 1)
        members = [validate.text("member", member)]

        def parse(answers: Sequence[Reply]) -> int | None:
            entry = found(answers[0], members)[0]
            return None if entry is None else entry.rank

        return Plan("leaderboard.rank", (self._finding(members),), parse, Effect.READS)

    def entries(self, members: Iterable[str]) -> Plan[dict[str, Entry | None]]:
        """Read the scores and ranks of up to 1000 members, all at one moment. One round trip, in one script.

        Returns:
            A plan that gives the rows by member, ``None`` for those that are not on the board.

        Raises:
            ConfigurationError: a member that is not allowed, none, or too many.
        """
        wanted = members_of(members)

        def parse(answers: Sequence[Reply]) -> dict[str, Entry | None]:
            return dict(zip(wanted, found(answers[0], wanted), strict=True))

        return Plan("leaderboard.entries", (self._finding(wanted),), parse, Effect.READS)

    def percentile(self, member: str) -> Plan[float | None]:
        """Read how many percent of the board's members a member is not behind: 100 for the best. One round trip.

        Returns:
            A plan that gives 100 times the part of the members, itself among them, whose score is not better; ``None``
            when the member is not on the board.

        Raises:
            ConfigurationError: a member that is not allowed.
        """
        command = _PERCENTILE((self.key,), self.order, validate.text("member", member))
        return Plan("leaderboard.percentile", (command,), _percentile, Effect.READS)

    # Counting

    def count(self) -> Plan[int]:
        """Count the members. One round trip."""
        return plain("count", ("ZCARD", self.key), replies.integer)

    def bands(self, edges: Sequence[float]) -> Plan[list[int]]:
        """Count the members between scores, all at one moment. One round trip, in one script.

        Parameters:
            edges: 1 to 1000 scores, each greater than the one before.

        Returns:
            A plan that gives one count more than there are edges: of the scores below the first, of those from each up
            to but without the next, and of those from the last on.

        Raises:
            ConfigurationError: edges that are not allowed.
        """
        scores = [checked_score("edges", edge) for edge in edges]
        if not 1 <= len(scores) <= MOST_AT_ONCE or any(low >= high for low, high in pairwise(scores)):
            raise ConfigurationError(f"edges must be 1 to {MOST_AT_ONCE} scores, each greater than the one before")
        command = _BANDS((self.key,), *scores)
        return Plan(
            "leaderboard.bands",
            (command,),
            lambda answers: replies.integers(answers[0], len(scores) + 1),
            Effect.READS,
        )

    # Looking at rows

    def top(self, count: int = 10) -> Plan[list[Entry]]:
        """Read the first rows, the best score first. One round trip.

        Parameters:
            count: how many at most, 1 or more.

        Raises:
            ConfigurationError: a count that is not allowed.
        """
        return self._plain_rows("top", 1, validate.integer("count", count, least=1))

    def range(self, first: int, last: int) -> Plan[list[Entry]]:
        """Read the rows from one place to another, both included: the second ten are ``range(11, 20)``.

        One round trip. Places beyond the end of the board give no rows. A row's place is its rank where ranks are
        ordinal.

        Parameters:
            first: the first place, 1 or more.
            last: the last place, not before the first.

        Raises:
            ConfigurationError: places that are not allowed.
        """
        validate.integer("first", first, least=1)
        validate.integer("last", last, least=first)
        if self.ties == "ordinal" or first == 1:
            return self._plain_rows("range", first, last)
        return windowed(self, "range", first - 1, last - first + 1, lambda got: on_board(got).entries)

    def page(self, number: int, size: int = 10) -> Plan[Page[Entry]]:
        """Read a page, and how many there are, from one moment. One round trip, in one script.

        Parameters:
            number: 1 for the first page.
            size: how many rows a page has.

        Raises:
            ConfigurationError: numbers that are not allowed.
        """

        def read(got: Window | None) -> Page[Entry]:
            return Page(on_board(got).entries, number, size, on_board(got).members)

        return windowed(self, "page", passed_over(number, size), size, read)

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
        validate.text("member", member)
        validate.integer("count", count, least=1, most=_MOST_ROWS)
        return windowed(self, "around", member, count, lambda got: None if got is None else got.entries)

    # Where it is

    def here(self) -> Place:
        """Give where the board is; one of a period that was not chosen is that of now."""
        return self._place or self._located(self.clock())

    def _located(self, at: datetime | None) -> Place:
        parts, expires_at = ["part", self.part.translate(_ESCAPED)] if self.part else [], 0
        if self.period is not None and self.keep is not None and at is not None:
            start = self.period.start(moment("clock", at))
            parts.append(key_part(self.period, start))
            ends = (self.period.following(start) - _EPOCH) // _MILLISECOND
            expires_at = ends + validate.milliseconds("keep", self.keep, least=0)
        own = key("leaderboard", self.name, part=":".join(parts), namespace=self.namespace)
        return Place((own, f"{own}:scores", f"{own}:order", f"{own}:digits", f"{own}:data"), expires_at)

    def _finding(self, members: Sequence[str]) -> Command:
        return _FIND(self.here().keys[:4], self.order, self.ties, int(self.first_come), *members)

    def _plain_rows(self, verb: str, first: int, last: int) -> Plan[list[Entry]]:
        keys = self.here().keys
        key, skip = (keys[2], DIGITS) if self.first_come else (keys[0], 0)
        reverse = ("REV",) if self.order == "highest" else ()
        words = ("ZRANGE", key, first - 1, last - 1, *reverse, "WITHSCORES")
        return plain(verb, words, lambda reply: ranked(reply, self.ties, skip, place=first))


def windowed(
    board: Board,
    verb: str,
    place: int | str,
    count: int,
    read: Callable[[Window | None], T],
    *,
    data: bool = False,
) -> Plan[T]:
    """Make the plan that reads rows by the script.

    Parameters:
        board: whose.
        verb: the plan's name.
        place: how many rows to pass over, or the member to be in their middle.
        count: how many rows.
        read: makes the result of what is found; of ``None`` where the member is not on the board.
        data: whether to bring members' data along.
    """
    skip, ties = DIGITS if board.first_come else 0, board.ties
    how = "from" if isinstance(place, int) else "around"
    command = _ROWS(board.here().keys, board.order, ties, int(board.first_come), int(data), how, place, count)
    return Plan(f"leaderboard.{verb}", (command,), lambda answers: read(window(answers[0], ties, skip)), Effect.READS)


def on_board(got: Window | None) -> Window:
    """Give the rows that were asked for by their place, and so are there, if they are none."""
    if got is None:
        raise DecodeError("expected rows from Redis, got nothing")
    return got


def members_of(members: Iterable[str]) -> list[str]:
    """Check members that are named together, and give each once.

    Raises:
        ConfigurationError: one that is not allowed, none, or too many.
    """
    if isinstance(members, str):
        raise ConfigurationError(f"members must be several texts, not the one {validate.shown(members)}")
    checked = [validate.text("members", member) for member in dict.fromkeys(members)]
    if not 1 <= len(checked) <= MOST_AT_ONCE:
        raise ConfigurationError(f"members must be 1 to {MOST_AT_ONCE} at once, not {len(checked)}")
    return checked


def passed_over(number: int, size: int) -> int:
    """Give how many rows are before a page.

    Raises:
        ConfigurationError: numbers that are not allowed.
    """
    validate.integer("number", number, least=1, most=_MOST_ROWS)
    return (number - 1) * validate.integer("size", size, least=1, most=_MOST_ROWS)


def plain(verb: str, words: tuple[Argument, ...], read: Callable[[Reply], T], effect: Effect = Effect.READS) -> Plan[T]:
    """Make the plan of one command."""
    return Plan(f"leaderboard.{verb}", (Command(words),), lambda answers: read(answers[0]), effect)


def one_of(argument: str, value: C, allowed: Sequence[C]) -> C:
    """Check a word.

    Raises:
        ConfigurationError: it is not one of those that are allowed.
    """
    if value not in allowed:
        raise ConfigurationError(
            f"{argument} must be one of {', '.join(map(str, allowed))}, not {validate.shown(value)}"
        )
    return value


def checked_score(argument: str, value: float) -> float:
    """Check a score.

    Raises:
        ConfigurationError: it is no number, or a whole one that is not exact as a double.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or (isinstance(value, float) and math.isnan(value)):
        raise ConfigurationError(f"{argument} must be a number and not NaN, not {validate.shown(value)}")
    if isinstance(value, int) and abs(value) > validate.EXACT_LIMIT:
        raise ConfigurationError(
            f"{argument} must be exact as a double, from -2**53 to 2**53, not {validate.shown(value)}"
        )
    return value + 0  # -0.0 is the same score as 0, and Redis would keep its sign


def _percentile(answers: Sequence[Reply]) -> float | None:
    if answers[0] is None:
        return None
    better, members = replies.integers(answers[0], 2)
    return 100 * (members - better) / members
