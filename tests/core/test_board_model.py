"""Leaderboards against a sorted list: random histories of everything that a board can do, on a server in memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from redis_patterns import BoardRefused, Command, Effect, Entry, Leaderboard, Plan
from redis_patterns.sync import Driver
from redis_patterns.testing.memory import Server
from redis_patterns_core import replies
from redis_patterns_core.standings import Order, Ties
from tests.core.board_models import Sorted

MEMBERS = st.sampled_from(["ann", "bob", "cy", "d é\r\n", "e{}", "1", "9007199254740991x"])
TIED = st.sampled_from([0, 1, -1, 2, 0.5, -0.0])
EXTREME = st.sampled_from(
    [math.inf, -math.inf, 2**53, -(2**53), 2**53 - 1, 1e300, -1e300, 5e-324, 0.1, 0.2, 0.30000000000000004, 1e22]
)
SCORES = TIED | TIED | EXTREME | st.floats(allow_nan=False) | st.integers(-(2**53), 2**53)
MODES = st.sampled_from(["set", "best", "increment"])
COUNTS = st.integers(1, 9)


class BoardMachine(RuleBasedStateMachine):
    """One board of some kind, and the list that says what it means."""

    def __init__(self) -> None:
        super().__init__()
        self._redis = Server().sync()
        self.redis = self._redis.__enter__()

    def teardown(self) -> None:
        self._redis.__exit__(None, None, None)

    @initialize(
        order=st.sampled_from(["highest", "lowest"]),
        ties=st.sampled_from(["ordinal", "competition", "dense"]),
        first_come=st.booleans(),
        most=st.sampled_from([None, None, 1, 3]),
    )
    def begin(self, order: Order, ties: Ties, first_come: bool, most: int | None) -> None:
        self.board = Leaderboard("b", order=order, ties=ties, first_come=first_come, most=most)
        self.model = Sorted(self.board)

    # Writing

    @rule(member=MEMBERS, score=SCORES)
    def add(self, member: str, score: float) -> None:
        self.redis.run(self.board.add(member, score))
        self.model.submit({member: score}, "set")

    @rule(member=MEMBERS, by=SCORES)
    def increment(self, member: str, by: float) -> None:
        meant = self.model.submit({member: by}, "increment")
        assert self._given(self.board.increment(member, by)) == (meant and meant[member].new)

    @rule(member=MEMBERS, score=SCORES, mode=MODES)
    def submit(self, member: str, score: float, mode: Any) -> None:
        meant = self.model.submit({member: score}, mode)
        assert self._given(self.board.submit(member, score, mode=mode)) == (meant and meant[member])

    @rule(scores=st.dictionaries(MEMBERS, SCORES, min_size=1), mode=MODES)
    def submit_many(self, scores: dict[str, float], mode: Any) -> None:
        assert self._given(self.board.submit_many(scores, mode=mode)) == self.model.submit(scores, mode)

    @rule(member=MEMBERS)
    def remove(self, member: str) -> None:
        assert self.redis.run(self.board.remove(member)) == (self.model.remove([member]) == 1)

    @rule(members=st.lists(MEMBERS, min_size=1, unique=True))
    def remove_many(self, members: list[str]) -> None:
        assert self.redis.run(self.board.remove_many(members)) == self.model.remove(members)

    def _given(self, plan: Plan[Any]) -> Any:
        try:
            return self.redis.run(plan)
        except BoardRefused:
            return None

    # Looking

    @rule(member=MEMBERS, count=COUNTS)
    def around(self, member: str, count: int) -> None:
        rows, got = self.model.rows(), self.redis.run(self.board.around(member, count))
        if member not in self.model.scores:
            assert got is None
            return
        assert got is not None
        assert len(got) == min(count, len(rows)), "as many as asked for, wherever the board has them"
        assert member in [entry.member for entry in got]
        start = rows.index(got[0])
        assert got == rows[start : start + count], "one after another"
        above, below = start > 0, start + len(got) < len(rows)
        middle = [entry.member for entry in got].index(member)
        assert middle == count // 2 or (not above and middle < count // 2) or (not below and middle > count // 2)

    @rule(first=COUNTS, further=st.integers(0, 9), size=COUNTS)
    def ranges(self, first: int, further: int, size: int) -> None:
        rows = self.model.rows()
        assert self.redis.run(self.board.top(size)) == rows[:size]
        assert self.redis.run(self.board.range(first, first + further)) == rows[first - 1 : first + further]
        page = self.redis.run(self.board.page(first, size))
        assert page.rows == rows[(first - 1) * size : first * size]
        assert (page.members, page.pages) == (len(rows), math.ceil(len(rows) / size))

    @rule(members=st.lists(MEMBERS, min_size=1, unique=True))
    def members(self, members: list[str]) -> None:
        rows = {entry.member: entry for entry in self.model.rows()}
        assert self.redis.run(self.board.entries(members)) == {name: rows.get(name) for name in members}
        for name in members:
            row = rows.get(name)
            assert self.redis.run(self.board.rank(name)) == (row and row.rank)
            assert self.redis.run(self.board.score(name)) == (None if row is None else row.score)
            assert self.redis.run(self.board.percentile(name)) == self.model.percentile(name)

    @rule(edges=st.sets(SCORES.map(float), min_size=1, max_size=4))
    def bands(self, edges: set[float]) -> None:
        wanted = sorted(edges)
        counts = self.redis.run(self.board.bands(wanted))
        assert counts == self.model.bands(wanted)
        assert sum(counts) == self.redis.run(self.board.count()) == len(self.model.scores)

    @invariant()
    def what_ranks_are_read_from_is_in_step(self) -> None:
        if hasattr(self, "board"):
            assert indexes(self.redis, self.board) == meant(self.board, self.model.rows())


def raw(*words: str | int) -> Plan[Any]:
    return Plan("raw", (Command(words),), lambda answers: answers[0], Effect.READS)


def indexes(redis: Driver, board: Leaderboard) -> tuple[list[float], list[str], set[str]]:
    """Read a board's distinct scores, its members in the order of arrival, and who has digits, as Redis has them."""
    _, scores, order, digits, _ = board.here().keys
    levels = [
        replies.number(score) for _, score in replies.pairs(redis.run(raw("ZRANGE", scores, 0, -1, "WITHSCORES")))
    ]
    names = [replies.text(name)[16:] for name in redis.run(raw("ZRANGE", order, 0, -1))]
    return levels, names, {replies.text(name) for name in redis.run(raw("HKEYS", digits))}


def meant(board: Leaderboard, rows: list[Entry]) -> tuple[list[float], list[str], set[str]]:
    """Give the same, as it follows from a board's rows."""
    levels = sorted({row.score for row in rows}) if board.ties == "dense" else []
    names = [row.member for row in rows] if board.first_come else []
    if board.order == "highest":
        names.reverse()
    return levels, names, {*names, ""} if names else set()


@given(
    target=st.builds(
        Leaderboard,
        st.just("b"),
        part=st.just("t"),
        order=st.sampled_from(["highest", "lowest"]),
        ties=st.sampled_from(["ordinal", "competition", "dense"]),
        most=st.sampled_from([None, 2]),
    ),
    # Of more than two, sums depend on the order in which Redis takes them.
    boards=st.lists(st.dictionaries(MEMBERS, TIED | EXTREME), min_size=1, max_size=2),
    weights=st.lists(st.sampled_from([1.0, 1.0, 2.0, -1.0, 0.5, 0.0]), min_size=2, max_size=2),
    aggregate=st.sampled_from(["sum", "min", "max"]),
)
@settings(max_examples=150, deadline=None)
def test_merged_boards(
    target: Leaderboard, boards: list[dict[str, float]], weights: list[float], aggregate: Any
) -> None:
    """Each score is what arithmetic says, ranks and their index are those of the merged scores, and it expires."""
    model = Sorted(target)
    weights = weights[: len(boards)]
    scores: dict[str, list[float]] = {}
    with Server().sync() as redis:
        redis.run(target.add("old", 1))
        for number, (board, weight) in enumerate(zip(boards, weights, strict=True)):
            for member, score in board.items():
                redis.run(Leaderboard("b", part=f"{number}").add(member, score))
                scores.setdefault(member, []).append(product(weight, score))
        sources = [Leaderboard("b", part=f"{number}") for number in range(len(boards))]
        plan = target.merge(sources, ttl=60, weights=weights, aggregate=aggregate)
        ways: dict[str, Callable[[list[float]], float]] = {"sum": total, "min": min, "max": max}
        together = ways[aggregate]
        try:
            count = redis.run(plan)
        except BoardRefused:
            # It is refused where a score could reach 2**53: not where it is certain that none does.
            sizes = [
                max([abs(weight * score) for score in board.values() if math.isfinite(score)], default=0)
                for board, weight in zip(boards, weights, strict=True)
            ]
            assert (sum(sizes) if aggregate == "sum" else max(sizes)) >= 2**53
            return
        model.submit({member: together(several) for member, several in scores.items()}, "set")
        assert count == len(model.scores)
        assert redis.run(target.top(99)) == model.rows()
        assert indexes(redis, target) == meant(target, model.rows())
        for key in target.here().keys[:2]:
            assert redis.run(raw("PTTL", key)) in (60_000, -2)


def product(weight: float, score: float) -> float:
    """Multiply as Redis does, to which nothing times everything is nothing."""
    made = weight * score
    return 0.0 if math.isnan(made) else made


def total(scores: list[float]) -> float:
    """Add as Redis does, to which opposite infinities are nothing together."""
    added = sum(scores)
    return 0.0 if math.isnan(added) else added


TestBoardMachine = BoardMachine.TestCase
TestBoardMachine.settings = settings(
    max_examples=80, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
