"""Leaderboards: members by score, the best first, for ever or for a day, a week, a month.

Promises: a score of 0 is a score, and an absent member gives ``None``; ranks begin at 1, and those of ties are exact in
each of three ways; the rows around a member always hold that member and come from one moment; a write and what ranks
are read from change in one step, so that nothing that dies leaves them apart; whole numbers stay exact, as what would
pass 2**53 is refused; boards of a period expire, each write seeing to it.

Keys: ``leaderboard:{NAME}``, a sorted set; of a part ``leaderboard:{NAME}:part:PART``, of a period
``leaderboard:{NAME}:day:LABEL``, in a zone ``leaderboard:{NAME}:day:ZONE:LABEL``. Behind it, where the board needs it:
``:scores``, a sorted set, where ranks are dense; ``:order``, a sorted set, and ``:digits``, a hash, where who came
first is ahead; ``:data``, a hash, of `MemberData`. Those of a period expire when `keep` has passed after its end, and
those of a merged board when it says. All others are permanent: they have no TTL and are gone with their last member.

Source: https://redis.io/docs/latest/develop/data-types/sorted-sets/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from redis_patterns_core import replies, validate
from redis_patterns_core.boards import Board, checked_score, members_of, one_of, plain
from redis_patterns_core.errors import ConfigurationError
from redis_patterns_core.plan import Argument, Command, Effect, Plan, Script
from redis_patterns_core.replies import Reply
from redis_patterns_core.standings import ScoreChange, changes, written
from redis_patterns_core.validate import Duration

__all__ = ["Leaderboard", "Mode"]

_INCREMENT = Script.load("leaderboard_increment")
_WRITE = Script.load("leaderboard_write")
_MERGE = Script.load("leaderboard_merge")

Mode: TypeAlias = Literal["set", "best", "increment"]
"""What a score does to the one before: takes its place, takes it if it is better, is added to it."""

_MOST_MERGED = 100


@dataclass(frozen=True, slots=True)
class Leaderboard(Board):
    """A board of members and their scores. All who use a board give it the same parameters.

    Parameters:
        name: the board's name; boards of one name, their parts and periods, can be merged.
        part: tells apart several boards of one name.
        order: which score is the best: the ``"highest"`` or the ``"lowest"``.
        ties: the ranks of members of equal score: ``"ordinal"`` for 1, 2, 3, 4, each its own; ``"competition"`` for
            1, 2, 2, 4; ``"dense"`` for 1, 2, 2, 3.
        first_come: whether of equal scores the one that was reached first is ahead; else it is by the members' bytes,
            in reverse where the highest score is the best.
        most: how many members are kept, those with the best scores; ``None`` for any number.
        period: such as ``DAY``, ``WEEK`` or ``MONTH``: a board for each, and the plans are for the present one; see
            `at` for another.
        keep: how long a period's board is kept after the period's end, in seconds or as a timedelta; needed with one.
        clock: gives the time that says which period is the present one.
        namespace: a prefix of its keys.

    Raises:
        ConfigurationError: an empty name, one that is not text, or another value that is not allowed.
    """

    def add(self, member: str, score: float) -> Plan[None]:
        """Set a member's score, whatever it was, and ask for nothing.

        Parameters:
            member: text, not empty.
            score: any number but NaN; a whole number must be exact as a double.

        Returns:
            A plan of one round trip, idempotent.

        Raises:
            ConfigurationError: a member or a score that is not allowed.
            BoardRefused: when the plan is run: the period's board has expired.
        """
        words = (validate.text("member", member), checked_score("score", score))
        if self._alone:
            return plain("add", ("ZADD", self.key, *words[::-1]), _nothing, Effect.IDEMPOTENT)
        return Plan("leaderboard.add", (self._writing("set", words),), self._added, Effect.IDEMPOTENT)

    def increment(self, member: str, by: float = 1) -> Plan[float]:
        """Add to a member's score, from 0 if it is not on the board.

        Parameters:
            member: text, not empty.
            by: any number but NaN, negative to take away.

        Returns:
            A plan of one round trip that gives the new score; sent at most once.

        Raises:
            ConfigurationError: a member or a number that is not allowed.
            BoardRefused: when the plan is run: the sum would pass 2**53 and lose something, or be no number, or the
                period's board has expired.
        """
        words = (validate.text("member", member), checked_score("by", by))
        if self._alone:
            command = _INCREMENT((self.key,), *words[::-1])
            return Plan("leaderboard.increment", (command,), lambda answers: replies.number(self._written(answers[0])))
        command = self._writing("increment", words)
        return Plan("leaderboard.increment", (command,), lambda answers: self._changes(answers[0], 1)[0].new)

    def submit(self, member: str, score: float, *, mode: Mode = "best") -> Plan[ScoreChange]:
        """Write a member's score, and learn what it was, what it is, and which rank that makes.

        Parameters:
            member: text, not empty.
            score: any number but NaN; a whole number must be exact as a double.
            mode: ``"best"`` keeps the better one, ``"set"`` this one, ``"increment"`` their sum.

        Returns:
            A plan of one round trip, in one script; sent at most once, or the answer could be wrong. After
            `OutcomeUnknown` the best, or the same to set, can be submitted again.

        Raises:
            ConfigurationError: a member, a score or a mode that is not allowed.
            BoardRefused: when the plan is run: as for `increment`.
        """
        words = (validate.text("member", member), checked_score("score", score))
        command = self._writing(one_of("mode", mode, get_args(Mode)), words)
        return Plan("leaderboard.submit", (command,), lambda answers: self._changes(answers[0], 1)[0])

    def submit_many(self, scores: Mapping[str, float], *, mode: Mode = "best") -> Plan[dict[str, ScoreChange]]:
        """Write the scores of up to 1000 members, all or none, in one script; else as `submit`.

        Returns:
            A plan that gives the changes by member, with the ranks that all of them together make.
        """
        members = members_of(scores)
        words = [word for member in members for word in (member, checked_score("scores", scores[member]))]
        command = self._writing(one_of("mode", mode, get_args(Mode)), words)

        def parse(answers: Sequence[Reply]) -> dict[str, ScoreChange]:
            return dict(zip(members, self._changes(answers[0], len(members)), strict=True))

        return Plan("leaderboard.submit_many", (command,), parse)

    def remove(self, member: str) -> Plan[bool]:
        """Take a member off the board, and forget its data.

        Returns:
            A plan of one round trip that tells whether the member was on it; sent at most once, or the answer could be
            wrong.

        Raises:
            ConfigurationError: a member that is not allowed.
        """
        command = self._writing("remove", (validate.text("member", member), ""))
        return Plan("leaderboard.remove", (command,), replies.first_is_one)

    def remove_many(self, members: Iterable[str]) -> Plan[int]:
        """Take up to 1000 members off the board, in one script; else as `remove`.

        Returns:
            A plan that gives how many were on it.
        """
        gone = members_of(members)
        command = self._writing("remove", [word for member in gone for word in (member, "")])
        return Plan("leaderboard.remove_many", (command,), replies.first_integer)

    def merge(
        self,
        boards: Sequence[Leaderboard],
        *,
        ttl: Duration | None = None,
        weights: Sequence[float] | None = None,
        aggregate: Literal["sum", "min", "max"] = "sum",
        limit: int = 10_000,
    ) -> Plan[int]:
        """Make this board of others; what it was before is gone, and its members' data with it.

        Parameters:
            boards: 1 to 100 of the same name and namespace; this one may be among them.
            ttl: seconds, or a timedelta, after which the result expires, whatever is written to it until then; needed,
                unless this board has a period, whose end counts then.
            weights: what the scores of each are multiplied by; 1 unless given.
            aggregate: what becomes of several scores of a member: their ``"sum"``, the lowest or the highest.
            limit: how many members the others may have together, as a merge keeps Redis from all else meanwhile; the
                time grows with it.

        Returns:
            A plan of one round trip, in one script, that gives how many members the board has; idempotent, unless this
            board is among the others.

        Raises:
            ConfigurationError: a value that is not allowed; boards that are not of one name; or a board on which who
                came first is ahead, as merged scores do not tell.
            BoardRefused: when the plan is run: the others have more members than `limit`, or a score could reach 2**53,
                or the period's board has expired.
        """
        if self.first_come:
            raise ConfigurationError("first_come must be False for a board that is merged: its scores do not tell it")
        if not 1 <= len(boards) <= _MOST_MERGED:
            raise ConfigurationError(f"boards must be 1 to {_MOST_MERGED}, not {len(boards)}")
        for board in boards:
            if (board.name, board.namespace) != (self.name, self.namespace):
                raise ConfigurationError(
                    f"boards must be of one name and namespace, {validate.shown(board)} is of another"
                )
        if (ttl is None) == (self.period is None):
            raise ConfigurationError(
                f"ttl must be given for a board without a period, and only there, not {validate.shown(ttl)}"
            )
        factors = [1.0] * len(boards) if weights is None else [validate.finite("weights", weight) for weight in weights]
        if len(factors) != len(boards):
            raise ConfigurationError(f"weights must be one for each of {len(boards)} boards, not {len(factors)}")
        place, sources = self.here(), [board.key for board in boards]
        command = _MERGE(
            (place.keys[0], place.keys[1], place.keys[4], *sources),
            self.order,
            self.ties,
            self.most or 0,
            "at" if ttl is None else "in",
            place.expires_at if ttl is None else validate.milliseconds("ttl", ttl),
            validate.integer("limit", limit, least=1),
            one_of("aggregate", aggregate, ("sum", "min", "max")).upper(),
            *factors,
        )
        effect = Effect.ONCE if place.keys[0] in sources else Effect.IDEMPOTENT
        return Plan("leaderboard.merge", (command,), lambda answers: replies.integer(self._written(answers[0])), effect)

    @property
    def _alone(self) -> bool:
        """Whether a write changes one key only, the board's own."""
        return self.ties != "dense" and not self.first_come and not self.most and self.period is None

    def _writing(self, mode: str, words: Sequence[Argument]) -> Command:
        place = self.here()
        expires_at = 0 if mode == "remove" else place.expires_at
        return _WRITE(place.keys, mode, self.order, self.ties, int(self.first_come), self.most or 0, expires_at, *words)

    def _added(self, answers: Sequence[Reply]) -> None:
        self._changes(answers[0], 1)

    def _changes(self, reply: Reply, count: int) -> list[ScoreChange]:
        return changes(self._written(reply), count)

    def _written(self, reply: Reply) -> Reply:
        return written(self.name, reply)


def _nothing(reply: Reply) -> None:
    replies.integer(reply)
