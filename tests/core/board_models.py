"""What a leaderboard means, said as plainly as possible: a list that is sorted anew for each question."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

from redis_patterns import Entry, Leaderboard, ScoreChange

LIMIT = 2**53


class Sorted:
    """Members in a dict; each question sorts them.

    Parameters:
        board: whose parameters say how.
    """

    def __init__(self, board: Leaderboard) -> None:
        self.board = board
        self.scores: dict[str, float] = {}
        self.reached: dict[str, int] = {}
        self._turns = 0

    # Writing

    def submit(self, scores: Mapping[str, float], mode: str) -> dict[str, ScoreChange] | None:
        """Write scores; ``None`` where that is refused."""
        before = dict(self.scores)
        if mode == "increment" and not all(_exact(before.get(name, 0.0), by) for name, by in scores.items()):
            return None
        for name, score in scores.items():
            self._move(name, self._written(before.get(name), float(score), mode))
        reached = dict(self.scores)
        if self.board.most:
            for entry in self.rows()[self.board.most :]:
                self.remove([entry.member])
        ranks = {entry.member: entry.rank for entry in self.rows()}
        return {name: ScoreChange(before.get(name), reached[name], ranks.get(name)) for name in scores}

    def remove(self, members: Sequence[str]) -> int:
        """Take members off; gives how many there were."""
        return sum(self.scores.pop(name, None) is not None for name in members)

    def _written(self, old: float | None, score: float, mode: str) -> float:
        if mode == "increment":
            return (old or 0.0) + score
        if mode == "set" or old is None:
            return score
        return max(old, score) if self.board.order == "highest" else min(old, score)

    def _move(self, name: str, score: float) -> None:
        if self.scores.get(name) != score:
            self._turns += 1
            self.reached[name] = self._turns
        self.scores[name] = score

    # Looking

    def rows(self) -> list[Entry]:
        """Give all rows, the best first."""
        names = sorted(self.scores, key=lambda name: name.encode(), reverse=self.board.order == "highest")
        if self.board.first_come:
            names.sort(key=self.reached.__getitem__)
        names.sort(key=self.scores.__getitem__, reverse=self.board.order == "highest")
        return [Entry(name, self.scores[name], self.rank(name, place)) for place, name in enumerate(names, 1)]

    def rank(self, name: str, place: int) -> int:
        """Give the rank of a member that has a place."""
        if self.board.ties == "ordinal":
            return place
        better = [score for score in self.scores.values() if self._better(score, self.scores[name])]
        return 1 + len(better if self.board.ties == "competition" else set(better))

    def percentile(self, name: str) -> float | None:
        """Give how many percent are not better."""
        if name not in self.scores:
            return None
        mine = self.scores[name]
        return 100 * sum(not self._better(score, mine) for score in self.scores.values()) / len(self.scores)

    def bands(self, edges: Sequence[float]) -> list[int]:
        """Give how many there are between scores."""
        bounds = [-math.inf, *edges]
        beyond = [*edges, math.nan]  # from the last edge on, infinity included
        return [
            sum((low <= score or not number) and not score >= high for score in self.scores.values())
            for number, (low, high) in enumerate(zip(bounds, beyond, strict=True))
        ]

    def _better(self, one: float, other: float) -> bool:
        return one > other if self.board.order == "highest" else one < other


def _exact(old: float, by: float) -> bool:
    """Tell whether a sum may be taken."""
    total = old + by
    if math.isnan(total):
        return False
    if math.isinf(old) or math.isinf(by) or abs(total) < LIMIT:
        return True
    return math.isfinite(total) and Fraction(old) + Fraction(by) == Fraction(total)
