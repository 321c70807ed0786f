"""Standings: what a leaderboard gives back, and how its replies are read.

Redis says where rows begin, and the rank of the first; the ranks of the others follow from their scores, so that rows
of all kinds of ranks cost the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Generic, Literal, TypeAlias, TypeVar

from redis_patterns_core import replies
from redis_patterns_core.errors import BoardRefused
from redis_patterns_core.replies import Reply
from redis_patterns_core.value import value

__all__ = [
    "DIGITS",
    "Entry",
    "Order",
    "Page",
    "ScoreChange",
    "Ties",
    "Window",
    "changes",
    "found",
    "ranked",
    "window",
    "written",
]

R = TypeVar("R")

Order: TypeAlias = Literal["highest", "lowest"]
"""Which score is the best."""

Ties: TypeAlias = Literal["ordinal", "competition", "dense"]
"""What ranks members of equal score have: 1, 2, 3, 4, or 1, 2, 2, 4, or 1, 2, 2, 3."""

DIGITS = 16
"""How many stand before a member where who came first is ahead."""

_REFUSALS = {
    -1: "it has expired",
    -2: "a score would pass 2**53, beyond which whole numbers are not exact",
    -3: "a sum of opposite infinities is no number",
    -4: "the others have more members than allowed, so that merging them would keep Redis for too long",
}


@value
class Entry:
    """A row of a leaderboard.

    Parameters:
        member: who.
        score: a double.
        rank: 1 for the best score.
    """

    member: str
    score: float
    rank: int


@value
class ScoreChange:
    """What became of a score that was submitted.

    Parameters:
        old: the score before; ``None`` when the member was not on the board.
        new: the score now.
        rank: the rank now; ``None`` when the score is not good enough to stay, on a board that keeps only the best
            members.
    """

    old: float | None
    new: float
    rank: int | None


@value
class Page(Generic[R]):
    """A page of a leaderboard.

    Parameters:
        rows: of this page; none behind the last page.
        number: which page, 1 for the first.
        size: how many rows a page has.
        members: how many are on the board.
    """

    rows: list[R] = field(repr=False)
    number: int
    size: int
    members: int

    @property
    def pages(self) -> int:
        """How many pages there are."""
        return -(-self.members // self.size)


@value
class Window:
    """What the script of rows answers.

    Parameters:
        members: how many are on the board.
        entries: the rows.
        data: of each row, as it is stored; nothing where it was not asked for.
    """

    members: int
    entries: list[Entry]
    data: list[Reply] = field(repr=False)


def ranked(rows: Reply, ties: Ties, skip: int, *, place: int = 1, rank: int = 1) -> list[Entry]:
    """Read rows in their order.

    Parameters:
        rows: members and scores, in either protocol.
        ties: how ranks are given.
        skip: how many characters stand before each member.
        place: that of the first row, counted from 1.
        rank: that of the first row.
    """
    entries: list[Entry] = []
    for at, (member, reply) in enumerate(replies.pairs(rows), place):
        score = replies.number(reply)
        if ties == "ordinal":
            rank = at
        elif entries and score != entries[-1].score:
            rank = at if ties == "competition" else rank + 1
        entries.append(Entry(replies.text(member)[skip:], score, rank))
    return entries


def window(reply: Reply, ties: Ties, skip: int) -> Window | None:
    """Read what the script of rows answers; ``None`` where a member is not on the board."""
    if reply is None:
        return None
    members, start, rank, rows, data = replies.array(reply, 5)
    place = replies.integer(start) + 1
    entries = ranked(rows, ties, skip, place=place, rank=replies.integer(rank))
    return Window(replies.integer(members), entries, replies.array(data))


def found(reply: Reply, members: Sequence[str]) -> list[Entry | None]:
    """Read the scores and ranks of members, in their order."""
    answers = replies.array(reply, 2 * len(members))
    rows = zip(members, answers[::2], answers[1::2], strict=True)
    return [
        None if score is None else Entry(member, replies.number(score), replies.integer(rank))
        for member, score, rank in rows
    ]


def written(board: str, reply: Reply) -> Reply:
    """Give the answer to a write.

    Raises:
        BoardRefused: it was refused.
    """
    if isinstance(reply, int) and reply in _REFUSALS:
        raise BoardRefused(f"the leaderboard {board!r} was not written to: {_REFUSALS[reply]}")
    return reply


def changes(reply: Reply, count: int) -> list[ScoreChange]:
    """Read what became of so many scores."""
    answers = replies.array(reply, 3 * count)
    return [
        ScoreChange(None if old is None else replies.number(old), replies.number(new), replies.integer(rank) or None)
        for old, new, rank in zip(answers[::3], answers[1::3], answers[2::3], strict=True)
    ]
