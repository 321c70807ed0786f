"""Leaderboards against the package ``leaderboard``: reading ranks on a board of many members.

Both run on one server and one board each, with redis-py as the package does. The package cannot write with a redis-py
of today (``zadd`` has another signature since 3.0), so its boards are written as it would have; what it reads, it reads
itself.
"""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any, cast

import redis

from redis_patterns import Leaderboard
from redis_patterns.sync import Driver
from redis_patterns_core.standings import Ties
from tests.benchmarks import peers
from tests.benchmarks.harness import Case, Contender, Work
from tests.benchmarks.lab import Group, Lab
from tests.benchmarks.tables import Table
from tests.benchmarks.workload import calling_built

__all__ = ["GROUP"]

ROWS = 25
PACKAGE = "leaderboard"
KINDS: dict[Ties, str] = {
    "ordinal": "leaderboard.leaderboard.Leaderboard",
    "competition": "leaderboard.competition_ranking_leaderboard.CompetitionRankingLeaderboard",
    "dense": "leaderboard.tie_ranking_leaderboard.TieRankingLeaderboard",
}
TITLES = {
    "rank": "the rank of a member",
    "around": f"the {ROWS} rows around a member",
    "top": f"the first {ROWS} rows",
}
Read = Callable[[str], object]


def _ours(driver: Driver, ties: Ties) -> dict[str, Read]:
    board = Leaderboard("bench", part=ties, ties=ties)
    return {
        "rank": lambda member: driver.run(board.rank(member)),
        "around": lambda member: driver.run(board.around(member, ROWS)),
        "top": lambda _: driver.run(board.top(ROWS)),
    }


def _theirs(client: redis.Redis, ties: Ties) -> dict[str, Read]:
    where, _, name = KINDS[ties].rpartition(".")
    module: Any = peers.optional(where)
    if module is None:
        return {}
    board = getattr(module, name)(f"theirs:{ties}", redis_connection=client)
    return {
        "rank": board.rank_for,
        "around": lambda member: board.around_me(member, page_size=ROWS),
        "top": lambda _: board.leaders(1, page_size=ROWS),
    }


def _fill(driver: Driver, client: redis.Redis, members: int) -> None:
    """Write the boards: the same scores, with ties."""
    chance = random.Random(1)
    scores = {f"member-{number}": float(chance.randrange(members // 4)) for number in range(members)}
    names = list(scores)
    for ties in KINDS:
        board = Leaderboard("bench", part=ties, ties=ties)
        for start in range(0, members, 1000):
            some = {name: scores[name] for name in names[start : start + 1000]}
            driver.run(board.submit_many(some, mode="set"))
            client.zadd(f"theirs:{ties}", cast("Any", some))
            client.zadd(f"theirs:{ties}:ties", cast("Any", {str(score): score for score in some.values()}))


def _trips(client: redis.Redis, read: Read, members: list[str]) -> float:
    """Count the server's reads from sockets of an operation."""
    before = cast("dict[str, int]", client.info("stats"))["total_reads_processed"]
    for member in members:
        read(member)
    # Of the two looks, one is among what is counted.
    return (cast("dict[str, int]", client.info("stats"))["total_reads_processed"] - before - 1) / len(members)


def _tables(lab: Lab) -> Iterator[Table]:
    many = lab.of(100_000, 2_000)
    with (
        Driver.connect(lab.server.url) as driver,
        redis.Redis(unix_socket_path=lab.server.socket_path, decode_responses=True) as client,
    ):
        _fill(driver, client, many)
        chance = random.Random(2)
        members = [f"member-{chance.randrange(many)}" for _ in range(40)]
        for ties in KINDS:
            mine, theirs = _ours(driver, ties), _theirs(client, ties)
            for verb, read in mine.items():
                reads = {"ours": read, **({PACKAGE: theirs[verb]} if theirs else {})}
                rows = [Contender(name, _opening(one, members)) for name, one in reads.items()]
                if not theirs:
                    rows.append(Contender(PACKAGE, None, peers.absent(PACKAGE)))
                case = Case(f"{ties}-{verb}", f"{TITLES[verb]}, {ties} ranks, {many:,} members", "", rows)
                counts = {name: {"round trips": _trips(client, one, members)} for name, one in reads.items()}
                yield from lab.measure([case], {case.name: counts})


def _opening(read: Read, members: list[str]) -> Callable[[], contextlib.AbstractAsyncContextManager[Work]]:
    @contextlib.asynccontextmanager
    async def opening() -> AsyncGenerator[Work]:
        yield calling_built(read, itertools.cycle(members).__next__)

    return opening


GROUP = Group(
    "leaderboards",
    "Leaderboards",
    "Reading from a large board with ties, in synchronous code, against the package leaderboard. Round trips are "
    "counted by the server, as reads from sockets.",
    _tables,
)
