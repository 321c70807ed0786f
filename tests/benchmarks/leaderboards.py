"""Measure leaderboards against the package ``leaderboard``: reading ranks on a board of many members.

    python tests/benchmarks/leaderboards.py --members 100000

Both run on one server and one board each, with redis-py as the package does, in turns; a ratio is the median of those
of the rounds. Round trips are counted by the server, as reads from sockets. The package cannot write with a redis-py of
today (``zadd`` has another signature since 3.0), so its boards are written as it would have; what it reads, it reads
itself. It comes with ``pip install leaderboard``; without it, its own commands are replayed.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import redis

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from redis_patterns import Leaderboard
from redis_patterns.sync import Driver
from redis_patterns.testing import server
from redis_patterns_core.standings import Ties
from tests.benchmarks.workload import optional

ROWS = 25
KINDS: dict[Ties, str] = {
    "ordinal": "leaderboard.leaderboard.Leaderboard",
    "competition": "leaderboard.competition_ranking_leaderboard.CompetitionRankingLeaderboard",
    "dense": "leaderboard.tie_ranking_leaderboard.TieRankingLeaderboard",
}
Work = Callable[[str], object]


def ours(driver: Driver, ties: Ties) -> dict[str, Work]:
    """Give what we do, by its name."""
    board = Leaderboard("bench", part=ties, ties=ties)
    return {
        "rank": lambda member: driver.run(board.rank(member)),
        "around": lambda member: driver.run(board.around(member, ROWS)),
        "top": lambda _: driver.run(board.top(ROWS)),
    }


def package(client: redis.Redis, ties: Ties) -> dict[str, Work]:
    """Give what the package does, or its commands where it is not there."""
    where, _, name = KINDS[ties].rpartition(".")
    module: Any = optional(where)
    if module is None:
        return replayed(cast("Any", client), ties)
    board = getattr(module, name)(f"theirs:{ties}", redis_connection=client)
    return {
        "rank": board.rank_for,
        "around": lambda member: board.around_me(member, page_size=ROWS),
        "top": lambda _: board.leaders(1, page_size=ROWS),
    }


def replayed(client: Any, ties: Ties) -> dict[str, Work]:
    """Give the package's commands."""
    key = f"theirs:{ties}"

    def rank(member: str) -> object:
        if ties == "ordinal":
            return client.zrevrank(key, member)
        score = client.zscore(key, member)
        return (
            client.zcount(key, f"({score}", "+inf") if ties == "competition" else client.zrevrank(f"{key}:ties", score)
        )

    def rows(members: list[str]) -> list[object]:
        pipeline = client.pipeline()
        for member in members:
            pipeline.zrevrank(key, member)
            pipeline.zscore(key, member)
        got = pipeline.execute()
        scores = got[1::2]
        if ties == "dense":
            return [client.zrevrank(f"{key}:ties", str(score)) for score in scores]
        if ties == "competition":
            pipeline = client.pipeline()
            for score in scores:
                pipeline.zcount(key, f"({score}", "+inf")
            return list(pipeline.execute())
        return list(got)

    def around(member: str) -> object:
        start = max(0, client.zrevrank(key, member) - ROWS // 2)
        return rows(client.zrevrange(key, start, start + ROWS - 1))

    return {"rank": rank, "around": around, "top": lambda _: rows(client.zrevrange(key, 0, ROWS - 1))}


def fill(driver: Driver, client: redis.Redis, members: int) -> None:
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


def trips(client: redis.Redis, work: Work, members: list[str]) -> float:
    """Count the server's reads of an operation."""
    before = cast("dict[str, int]", client.info("stats"))["total_reads_processed"]
    for member in members:
        work(member)
    # Of the two looks, one is among what is counted.
    return (cast("dict[str, int]", client.info("stats"))["total_reads_processed"] - before - 1) / len(members)


def measured(one: Work, other: Work, members: list[str], rounds: int) -> tuple[float, float, float]:
    """Give the median microseconds of each, and the median ratio, in turns."""
    samples: list[tuple[float, float]] = []
    for turn in range(rounds):
        took: dict[int, float] = {}
        for number, work in sorted(enumerate((one, other)), reverse=bool(turn % 2)):
            began = time.perf_counter()
            for member in members:
                work(member)
            took[number] = (time.perf_counter() - began) / len(members) * 1e6
        samples.append((took[0], took[1]))
    return (
        statistics.median(mine for mine, _ in samples),
        statistics.median(theirs for _, theirs in samples),
        statistics.median(theirs / mine for mine, theirs in samples),
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--members", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(server())
        driver = stack.enter_context(Driver.connect(running.url))
        client = stack.enter_context(redis.Redis(unix_socket_path=running.socket_path, decode_responses=True))
        fill(driver, client, arguments.members)
        chance = random.Random(2)
        members = [f"member-{chance.randrange(arguments.members)}" for _ in range(40)]
        there = "" if optional("leaderboard") else ", whose commands are replayed"
        print(f"{arguments.members} members, {ROWS} rows, against the package leaderboard{there}")
        print(f"{'':22} {'ours':>16} {'theirs':>16} {'ratio':>8}")
        for ties in KINDS:
            mine, theirs = ours(driver, ties), package(client, ties)
            for verb, work in mine.items():
                counts = trips(client, work, members), trips(client, theirs[verb], members)
                one, other, ratio = measured(work, theirs[verb], members, arguments.rounds)
                cells = [f"{us:7.0f} us, {count:4.1f}" for us, count in zip((one, other), counts, strict=True)]
                print(f"{ties:12} {verb:9} {cells[0]:>16} {cells[1]:>16} {ratio:7.1f}x", flush=True)


if __name__ == "__main__":
    main()
