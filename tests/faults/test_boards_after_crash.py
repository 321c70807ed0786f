"""What a server that was killed has of a leaderboard: its log, cut anywhere, and what ranks are read from."""

from __future__ import annotations

import contextlib
import random
import subprocess
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from redis_patterns import Leaderboard, PatternsError
from redis_patterns.sync import Driver
from redis_patterns.testing import find_server
from redis_patterns_core import replies
from tests.core.test_board_model import indexes, raw

CUTS = 16


@contextlib.contextmanager
def logging_server(folder: Path) -> Generator[Driver]:
    """Run a server that has its log in a folder, and kill it."""
    socket = folder / "socket"
    words = ["--port", "0", "--unixsocket", socket, "--dir", folder, "--save", "", "--appendonly", "yes"]
    with subprocess.Popen([find_server(), *map(str, words)], stdout=subprocess.DEVNULL) as process:
        try:
            with Driver.connect(f"unix://{socket}") as redis:
                for _ in range(500):  # it answers within milliseconds, or LOADING
                    with contextlib.suppress(PatternsError):
                        redis.run(raw("PING"))
                        break
                    time.sleep(0.01)
                yield redis
        finally:
            process.kill()


@pytest.mark.parametrize("order", ["highest", "lowest"])
def test_a_log_that_is_cut_anywhere(order: Any) -> None:
    """Whatever a crash leaves of the log of writes, the distinct scores are those of the members, the order of arrival
    has each of them once, and no rank is another than a count of the scores would give.
    """
    chance = random.Random(order)
    board = Leaderboard("b", order=order, ties="dense", first_come=True, most=6)
    with tempfile.TemporaryDirectory(prefix="rp-", dir="/tmp") as place:
        folder = Path(place)
        with logging_server(folder) as redis:
            write(redis, board, chance)
        log = max(folder.rglob("*.aof"), key=lambda path: path.stat().st_size)
        whole, seen = log.read_bytes(), set[int]()
        for cut in [len(whole), *chance.sample(range(len(whole) // 20, len(whole)), CUTS)]:
            log.write_bytes(whole[:cut])
            with logging_server(folder) as redis:
                seen.add(checked(redis, board))
    assert len(seen) > 2


def write(redis: Driver, board: Leaderboard, chance: random.Random) -> None:
    """Write scores and take members off, at random."""
    for _ in range(300):
        members = [f"m{number}" for number in chance.sample(range(9), 3)]
        if chance.random() < 0.25:
            redis.run(board.remove_many(members))
        else:
            redis.run(board.submit_many({member: chance.randint(-2, 3) for member in members}, mode="increment"))


def checked(redis: Driver, board: Leaderboard) -> int:
    """Compare all that ranks are read from with the members' scores; gives how many members there are."""
    pairs = replies.pairs(redis.run(raw("ZRANGE", board.key, 0, -1, "WITHSCORES")))
    scores = {replies.text(member): replies.number(score) for member, score in pairs}
    levels = sorted(set(scores.values()))
    rows = redis.run(board.top(99))
    found = indexes(redis, board)
    assert {row.member: row.score for row in rows} == scores
    assert found[0] == levels
    assert sorted(found[1]) == sorted(scores)
    assert found[2] == ({*scores, ""} if scores else set())
    better = levels[::-1] if board.order == "highest" else levels
    assert [row.rank for row in rows] == [better.index(row.score) + 1 for row in rows]
    if rows:
        assert list(redis.run(board.entries([row.member for row in rows])).values()) == rows
    return len(rows)
