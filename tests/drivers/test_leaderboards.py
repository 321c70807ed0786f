"""Leaderboards through every driver: random histories against a sorted list, periods that expire, merges, data."""

from __future__ import annotations

import itertools
import math
import random
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from redis_patterns import (
    DAY,
    MONTH,
    WEEK,
    BoardRefused,
    Entry,
    Leaderboard,
    MemberData,
    Page,
    ScoreChange,
    Text,
    batch,
)
from redis_patterns_core import replies
from redis_patterns_core.periods import utc_now
from tests.core.board_models import Sorted
from tests.drivers.faces import Face
from tests.drivers.plans import once, reads

pytestmark = pytest.mark.anyio

MEMBERS = ["ann", "bob", "cy", "d é\r\n", "e{}", "1"]
SCORES = [0, -0.0, 1, 1, 2, -3.5, 0.1, 0.2, math.inf, -math.inf, 2**53, -(2**53), 2**53 - 1, 1e300, 5e-324]
KINDS: list[dict[str, Any]] = [
    {"order": order, "ties": ties, "first_come": first_come, "most": most}
    for order, ties, first_come, most in itertools.product(
        ("highest", "lowest"), ("ordinal", "competition", "dense"), (False, True), (None, 3)
    )
]


async def forget(redis: Face, *boards: Leaderboard) -> None:
    await redis.run(once("DEL", *(key for board in boards for key in board.here().keys)))


async def test_a_board_of_any_kind_is_a_sorted_list(redis: Face, namespace: str) -> None:
    """Random histories on boards of all kinds: each answer is the list's, and so are all rows in between."""
    chance = random.Random(1)
    for kind in KINDS:
        board = Leaderboard("b", namespace=namespace, **kind)
        model = Sorted(board)
        for _ in range(8):
            scores = {name: chance.choice(SCORES) for name in chance.sample(MEMBERS, chance.randint(1, 4))}
            mode: Any = chance.choice(["set", "best", "increment"])
            meant = model.submit(scores, mode)
            try:
                assert await redis.run(board.submit_many(scores, mode=mode)) == meant
            except BoardRefused:
                assert meant is None
            gone = chance.choice(MEMBERS)
            assert await redis.run(board.remove(gone)) == (model.remove([gone]) == 1)
            rows, edges = model.rows(), [-math.inf, -1, 0, 1, 2.0**53]
            count = chance.randint(1, 7)
            member = chance.choice(MEMBERS)
            got = await redis.run(
                batch(
                    board.top(9),
                    board.range(2, 4),
                    board.entries(MEMBERS),
                    board.bands(edges),
                    board.around(member, count),
                    board.rank(member),
                    board.percentile(member),
                    board.page(2, 2),
                )
            )
            by_name = {entry.member: entry for entry in rows}
            assert got[:4] == (rows, rows[1:4], {name: by_name.get(name) for name in MEMBERS}, model.bands(edges))
            assert got[5] == (by_name[member].rank if member in by_name else None)
            assert got[6] == model.percentile(member)
            assert got[7] == Page(rows[2:4], 2, 2, len(rows))
            if member in by_name:
                start = max(0, min(rows.index(by_name[member]) - count // 2, len(rows) - count))
                assert got[4] == rows[start : start + count]
            else:
                assert got[4] is None
        await forget(redis, board)


@pytest.mark.parametrize("options", [{}, {"ties": "dense"}], ids=["plain", "dense"])
async def test_whole_numbers_stay_exact(redis: Face, namespace: str, options: dict[str, Any]) -> None:
    """Up to 2**53 each count counts; beyond, what would be lost is refused, and nothing is written; so is what is no
    number. 0.1 and 0.2 are added as doubles are.
    """
    board = Leaderboard("b", namespace=namespace, **options)
    inexact, none = "would pass 2**53", "is no number"
    cases: list[tuple[float, float, float | str]] = [
        (2**53 - 1, 1, 2**53),
        (2**53, 1, inexact),
        (2**53, 2, 2**53 + 2),
        (2**53, -1, 2**53 - 1),
        (-(2**53), -1, inexact),
        (1e300, 1, inexact),
        (1e308, 1e308, inexact),
        (0.1, 0.2, 0.30000000000000004),
        (math.inf, 1, math.inf),
        (1, -math.inf, -math.inf),
        (math.inf, -math.inf, none),
    ]
    for old, by, new in cases:
        await redis.run(board.add("ann", old))
        for plan in (board.increment("ann", by), board.submit("ann", by, mode="increment").map(lambda got: got.new)):
            await redis.run(board.add("ann", old))
            if isinstance(new, str):
                with pytest.raises(BoardRefused, match=re.escape(new)):
                    await redis.run(plan)
            else:
                assert await redis.run(plan) == new
            assert await redis.run(board.score("ann")) == (old if isinstance(new, str) else new)
    with pytest.raises(BoardRefused):
        await redis.run(board.submit_many({"bob": 1, "ann": -math.inf}, mode="increment"))
    assert await redis.run(board.score("bob")) is None, "all or none"
    assert await redis.run(board.increment("bob", 2**53)) == 2**53
    await forget(redis, board)


async def test_who_came_first(redis: Face, namespace: str) -> None:
    """Of equal scores the one that was reached first is ahead; who writes the same again keeps its place, who leaves it
    and comes back is behind; and nothing is left of an empty board.
    """
    board = Leaderboard("b", first_come=True, namespace=namespace)
    for member in ("zoe", "ann", "max"):
        await redis.run(board.add(member, 5))
    await redis.run(batch(board.add("zoe", 5), board.submit("ann", 4)))
    assert [entry.member for entry in await redis.run(board.top())] == ["zoe", "ann", "max"]
    await redis.run(board.increment("zoe", 1))
    assert await redis.run(board.submit("zoe", -1, mode="increment")) == ScoreChange(6, 5, 3)
    assert [entry.member for entry in await redis.run(board.top())] == ["ann", "max", "zoe"]
    assert await redis.run(board.remove_many(["zoe", "ann", "max", "nobody"])) == 3
    assert await redis.run(reads("EXISTS", *board.here().keys)) == 0


async def test_the_best_are_kept(redis: Face, namespace: str) -> None:
    """A score that is not good enough does not stay; one that is takes the last one's place, data and all."""
    board = Leaderboard("b", most=2, ties="dense", namespace=namespace)
    names: MemberData[str] = MemberData(board)
    await redis.run(board.submit_many({"ann": 3, "bob": 2}))
    assert await redis.run(names.put_many({"ann": "Ann", "bob": "Bob", "cy": "Cy"})) == 2
    assert await redis.run(board.submit("cy", 1)) == ScoreChange(None, 1, None)
    assert await redis.run(board.submit("cy", 2.5)) == ScoreChange(None, 2.5, 2)
    assert await redis.run(names.top()) == [(Entry("ann", 3, 1), "Ann"), (Entry("cy", 2.5, 2), None)]
    assert await redis.run(names.get("bob")) is None
    assert await redis.run(reads("HLEN", board.here().keys[4])) == 1
    assert await redis.run(reads("ZCARD", board.here().keys[1])) == 2
    await forget(redis, board)


async def test_data_that_is_a_members_name(redis: Face, namespace: str) -> None:
    """It is data all the same, and of those that it is of."""
    board = Leaderboard("b", namespace=namespace)
    names = MemberData(board, codec=Text())
    await redis.run(board.submit_many({"ann": 2, "bob": 1}))
    assert await redis.run(names.put_many({"ann": "bob", "cy": "ann"})) == 1
    assert await redis.run(names.top()) == [(Entry("ann", 2, 1), "bob"), (Entry("bob", 1, 2), None)]
    await forget(redis, board)


async def test_boards_of_periods_expire(redis: Face, namespace: str) -> None:
    """Each write gives all of a board's keys their end, which none makes earlier; what has ended takes no write."""
    now = utc_now()
    daily, weekly, monthly = (
        Leaderboard("b", period=period, keep=timedelta(days=40), ties="dense", first_come=True, namespace=namespace)
        for period in (DAY, WEEK, MONTH)
    )
    boards = [board.at(now) for board in (daily, weekly, monthly)]
    assert await redis.run(batch(*(board.submit("ann", 7) for board in boards))) == (ScoreChange(None, 7, 1),) * 3
    clock = replies.array(await redis.run(reads("TIME")))
    server = int(replies.text(clock[0])) * 1000 + int(replies.text(clock[1])) // 1000
    for board in boards:
        await redis.run(MemberData[str](board).put("ann", "Ann"))
        for key in board.here().keys:
            left = replies.integer(await redis.run(reads("PTTL", key)))
            assert abs(server + left - board.here().expires_at) < 60_000, key
    shorter = Leaderboard("b", period=DAY, keep=1, ties="dense", first_come=True, namespace=namespace).at(now)
    await redis.run(shorter.add("bob", 8))
    for key in shorter.here().keys:
        assert replies.integer(await redis.run(reads("PTTL", key))) > 35 * 86_400_000
    past = daily.at(datetime(2020, 1, 1, tzinfo=UTC))
    merged = replace(daily, first_come=False).at(datetime(2020, 1, 1, tzinfo=UTC)).merge([daily])
    for plan in (past.add("ann", 1), past.increment("ann"), past.submit("ann", 1), merged):
        with pytest.raises(BoardRefused, match="expired"):
            await redis.run(plan)
    assert await redis.run(past.remove("ann")) is False
    assert await redis.run(reads("EXISTS", *past.here().keys)) == 0
    await forget(redis, *boards)


async def test_merged_boards(redis: Face, namespace: str) -> None:
    """Days make a week, weighted: it has ranks of its own and an end, and takes writes; too many are refused."""
    now = datetime(2090, 5, 3, tzinfo=UTC)
    daily = Leaderboard("b", period=DAY, keep=60, first_come=True, namespace=namespace)
    days = [daily.at(now + timedelta(days=day)) for day in range(3)]
    for day, scores in zip(days, ({"ann": 1, "bob": 2}, {"ann": 3, "cy": 0}, {"bob": 4, "dan": -1}), strict=True):
        await redis.run(day.submit_many(scores))
    whole = Leaderboard("b", part="all", ties="dense", namespace=namespace)
    await redis.run(batch(whole.add("old", 99), MemberData[str](whole).put("old", "x")))
    assert await redis.run(whole.merge(days, ttl=3600, weights=[2, 1, 0.5])) == 4
    assert await redis.run(whole.top()) == [
        Entry("bob", 6, 1),
        Entry("ann", 5, 2),
        Entry("cy", 0, 3),
        Entry("dan", -0.5, 4),
    ]
    assert await redis.run(whole.submit("dan", 5.5, mode="increment")) == ScoreChange(-0.5, 5, 2)
    assert await redis.run(reads("ZCARD", whole.here().keys[1])) == 3
    assert await redis.run(reads("EXISTS", whole.here().keys[4])) == 0
    for key in whole.here().keys[:2]:
        assert 3_500_000 < replies.integer(await redis.run(reads("PTTL", key))) <= 3_600_000
    with pytest.raises(BoardRefused, match="more members"):
        await redis.run(whole.merge(days, ttl=60, limit=5))
    await redis.run(days[0].submit("max", 2**53))
    with pytest.raises(BoardRefused, match=r"2\*\*53"):
        await redis.run(whole.merge(days, ttl=60))
    assert await redis.run(whole.merge(days, ttl=60, aggregate="max")) == 5
    weekly = Leaderboard("b", period=WEEK, keep=60, ties="dense", namespace=namespace).at(now)
    assert await redis.run(weekly.merge(days, aggregate="min")) == 5
    assert await redis.run(weekly.entries(["ann", "bob"])) == {"ann": Entry("ann", 1, 3), "bob": Entry("bob", 2, 2)}
    assert replies.integer(await redis.run(reads("PTTL", weekly.here().keys[1]))) > 60_000
    await forget(redis, whole, weekly, *days)


async def test_a_merged_board_expires_as_a_whole(redis: Face, namespace: str) -> None:
    """Its only score is replaced, and the distinct scores are still to expire with it."""
    source, whole = (Leaderboard("b", part=part, ties="dense", namespace=namespace) for part in ("x", "whole"))
    await redis.run(source.add("ann", 10))
    await redis.run(whole.merge([source], ttl=3600))
    assert await redis.run(whole.submit("ann", 20, mode="set")) == ScoreChange(10, 20, 1)
    for key in whole.here().keys[:2]:
        assert 3_500_000 < replies.integer(await redis.run(reads("PTTL", key))) <= 3_600_000
    await forget(redis, source, whole)


async def test_a_merge_keeps_the_best(redis: Face, namespace: str) -> None:
    """Of either order as many as the board may have; and all ranks of more members than are read at once."""
    board = Leaderboard("b", namespace=namespace)
    numbers = {f"m{number}": float(number) for number in range(1003)}
    for first in (0, 1000):
        await redis.run(board.submit_many(dict(list(numbers.items())[first : first + 1000])))
    best = Leaderboard("b", part="best", most=2, namespace=namespace)
    least = Leaderboard("b", part="least", most=2, order="lowest", namespace=namespace)
    whole = Leaderboard("b", part="whole", ties="dense", namespace=namespace)
    merges = [other.merge([board], ttl=60) for other in (best, least, whole)]
    assert await redis.run(batch(*merges)) == (2, 2, 1003)
    assert await redis.run(best.top()) == [Entry("m1002", 1002, 1), Entry("m1001", 1001, 2)]
    assert await redis.run(least.top()) == [Entry("m0", 0, 1), Entry("m1", 1, 2)]
    assert await redis.run(whole.rank("m0")) == 1003
    await redis.run(Leaderboard("b", part="best", most=1, namespace=namespace).add("m5", 2000))
    assert await redis.run(best.top()) == [Entry("m5", 2000, 1)]
    await forget(redis, board, best, least, whole)


async def test_sums_that_would_not_be_exact(redis: Face, namespace: str) -> None:
    """A merge is refused where a score could reach 2**53, as what is beyond may have been rounded to that."""
    boards = [Leaderboard("b", part=part, namespace=namespace) for part in ("x", "y")]
    whole = Leaderboard("b", namespace=namespace)
    await redis.run(batch(boards[0].add("ann", 2**52), boards[1].add("bob", -1)))
    cases: list[tuple[Any, dict[str, Any], bool]] = [
        (boards[:1], {"weights": [1.5]}, True),
        (boards[:1], {"weights": [2]}, False),
        (boards[:1], {"weights": [-2]}, False),
        (boards, {"weights": [2, 1]}, False),
        (boards, {"weights": [1.5, 1], "aggregate": "max"}, True),
        (boards, {"weights": [2, 1], "aggregate": "max"}, False),
        (boards, {"weights": [2, 1], "aggregate": "min"}, False),
        (boards, {"weights": [1, 2**52]}, False),
        (boards, {"weights": [1, 2**52 - 1]}, True),
        ([*boards, Leaderboard("b", part="none", namespace=namespace)], {"weights": [1, 1, 2**53]}, True),
    ]
    for sources, options, fits in cases:
        plan = whole.merge(sources, ttl=60, **options)
        if fits:
            assert await redis.run(plan) == len(sources[:2])
        else:
            with pytest.raises(BoardRefused, match=r"2\*\*53"):
                await redis.run(plan)
    await forget(redis, whole, *boards)


async def test_many_who_count_at_once(redis: Face, namespace: str) -> None:
    """No count is lost, each rank is right when it is given, and of the distinct scores one is left."""
    board = Leaderboard("b", ties="dense", first_come=True, namespace=namespace)
    ranks: list[int | None] = []

    async def count(member: str) -> None:
        for _ in range(10):
            change = await redis.run(board.submit(member, 1, mode="increment"))
            ranks.append(change.rank)

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(count, f"m{number}")
    rows = await redis.run(board.top())
    assert [(entry.score, entry.rank) for entry in rows] == [(10, 1)] * 8
    assert len(ranks) == 80
    assert ranks.count(1) >= 10
    assert await redis.run(reads("ZCARD", board.here().keys[1])) == 1
    await forget(redis, board)
