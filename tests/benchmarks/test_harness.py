from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from redis_patterns.testing import Server
from tests.benchmarks import bench_async, workload
from tests.benchmarks.harness import (
    Case,
    Contender,
    Samples,
    Settings,
    Spread,
    Work,
    measure,
    open_all,
    schedule,
    summarize,
)
from tests.benchmarks.machine import cores_for, pinned
from tests.benchmarks.report import Result, table, write

RUN = Path(__file__).with_name("run.py")


class Clock:
    """Stands still but for the work that is done."""

    def __init__(self) -> None:
        self.now = 100.0
        self.calls: list[tuple[str, int]] = []

    def __call__(self) -> float:
        return self.now

    def work(self, name: str, *seconds: float) -> Work:
        """Give work whose operations take so long; each call takes the next duration, and the last one stays."""
        durations = list(seconds)

        async def work(count: int) -> None:
            self.calls.append((name, count))
            self.now += count * (durations.pop(0) if len(durations) > 1 else durations[0])

        return work

    def measure(self, works: dict[str, Work], settings: Settings, tasks: int = 1) -> dict[str, Samples]:
        return asyncio.run(measure(works, settings, tasks=tasks, wall=self, cpu=self))


def command(running: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "REDIS_PATTERNS_SERVER": running.executable}
    return subprocess.run(
        [sys.executable, str(RUN), *arguments], capture_output=True, check=False, env=env, text=True, timeout=60
    )


# Arithmetic


def test_a_spread_is_median_least_and_quartiles() -> None:
    """The middle of the samples, the least of them, and where a quarter and three quarters lie."""
    assert Spread.of([5.0, 1.0, 4.0, 2.0, 3.0]) == Spread(median=3.0, least=1.0, lower=2.0, upper=4.0)


def test_one_sample_is_all_of_its_spread() -> None:
    """A single round has no quartiles, and is no error."""
    assert Spread.of([7.0]) == Spread(7.0, 7.0, 7.0, 7.0)


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    """Rounds are compared one by one: the quotient of the medians would be 1 here."""
    samples = {"floor": Samples([1.0, 10.0, 4.0], [1.0] * 3), "other": Samples([2.0, 30.0, 4.0], [3.0] * 3)}
    floor, other = summarize(samples, "floor")
    assert floor.ratio == Spread(1.0, 1.0, 1.0, 1.0)
    assert other.ratio == Spread(median=2.0, least=1.0, lower=1.5, upper=2.5)
    assert other.cpu_ratio is not None
    assert other.cpu_ratio.median == 3.0
    assert other.per_second == 250_000


def test_without_the_floor_there_are_no_ratios() -> None:
    """A contender has its own times where the floor could not be measured."""
    (row,) = summarize({"other": Samples([2.0], [1.0])}, "floor")
    assert row.wall is not None
    assert row.ratio is None


def test_a_floor_too_short_for_the_clock_gives_no_ratio() -> None:
    """Nothing is divided by a time of zero."""
    samples = {"floor": Samples([0.0], [0.0]), "other": Samples([2.0], [1.0])}
    floor, other = summarize(samples, "floor")
    assert (floor.per_second, floor.ratio, other.ratio) == (0.0, None, None)


# Interleaving


def test_each_round_has_everyone_once_in_rotated_order() -> None:
    """Over as many rounds as contenders, each of them is in each place once."""
    assert list(schedule("abc", 4)) == [list("abc"), list("bca"), list("cab"), list("abc")]


def test_nobody_to_measure_is_no_error() -> None:
    """A case whose contenders are all absent has rounds with nobody in them."""
    assert list(schedule([], 2)) == [[], []]
    assert Clock().measure({}, Settings(rounds=2)) == {}


def test_slices_are_interleaved_and_give_microseconds_of_an_operation() -> None:
    """Warmed up and calibrated, every contender has its slice of each round, with its own number of operations."""
    clock = Clock()
    works = {"fast": clock.work("fast", 0.001), "slow": clock.work("slow", 0.004)}
    samples = clock.measure(works, Settings(rounds=3, slice_seconds=0.2, least=10))
    assert [call for call in clock.calls if call[1] == 10] == [("fast", 10)] * 2 + [("slow", 10)] * 2
    names, counts = zip(*clock.calls[4:], strict=True)
    assert names == ("fast", "slow", "slow", "fast", "fast", "slow")
    assert counts == pytest.approx((200, 50, 50, 200, 200, 50), abs=1)
    assert samples["fast"].wall == pytest.approx([1000.0] * 3)
    assert samples["slow"].wall == pytest.approx([4000.0] * 3)
    assert samples["slow"].cpu == pytest.approx([4000.0] * 3)


def test_warming_up_does_not_count() -> None:
    """A first call that is slow, as it connects, changes neither the samples nor the number of operations."""
    clock = Clock()
    samples = clock.measure({"one": clock.work("one", 9.0, 0.001)}, Settings(rounds=2, slice_seconds=0.1, least=5))
    assert samples["one"].wall == pytest.approx([1000.0] * 2)
    assert clock.calls[-1][1] == pytest.approx(100, abs=1)


def test_each_of_many_tasks_has_the_same_share() -> None:
    """The operations of a slice are a multiple of the tasks, and four for each at least."""
    clock = Clock()
    clock.measure({"one": clock.work("one", 0.001)}, Settings(rounds=1, slice_seconds=0.5, least=5), tasks=64)
    assert [count for _, count in clock.calls] == [256, 256, 448]


def test_the_budget_ends_a_case_early_but_not_within_a_round() -> None:
    """The rounds that were begun are complete, and there is one at least."""
    clock = Clock()
    works = {name: clock.work(name, 0.1) for name in "ab"}
    samples = clock.measure(works, Settings(rounds=50, slice_seconds=1.0, budget=5.0, least=10))
    assert [len(own.wall) for own in samples.values()] == [3, 3]
    samples = clock.measure(works, Settings(rounds=50, slice_seconds=1.0, budget=0.0, least=10))
    assert [len(own.wall) for own in samples.values()] == [1, 1]


def test_a_clock_that_stands_still_ends_all_the_same() -> None:
    """Work too short for the clock is measured with the least number of operations."""
    clock = Clock()
    clock.measure({"one": clock.work("one", 0.0)}, Settings(rounds=1, least=7))
    assert clock.calls == [("one", 7)] * 3


# Contenders


def test_only_those_present_are_opened_and_all_are_closed() -> None:
    """A contender that is absent is not touched; its row says why."""
    log: list[str] = []

    @contextlib.asynccontextmanager
    async def opening() -> AsyncGenerator[Work]:
        log.append("opened")
        yield Clock().work("here", 0.0)
        log.append("closed")

    contenders = [Contender("here", opening), Contender("gone", opening, absent="not installed")]

    async def names() -> list[str]:
        async with contextlib.AsyncExitStack() as stack:
            return list(await open_all(contenders, stack))

    assert asyncio.run(names()) == ["here"]
    assert log == ["opened", "closed"]
    _, gone = summarize({"here": Samples([1.0], [1.0])}, "here", contenders)
    assert (gone.wall, gone.absent) == (None, "not installed")


def test_a_peer_that_is_not_installed_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without coredis its rows are still there, and say so."""
    assert workload.optional("no_such_package_anywhere") is None
    monkeypatch.setattr(workload, "optional", lambda _: None)
    for case in [*bench_async.asyncio_cases("/nowhere"), *bench_async.trio_cases("/nowhere")]:
        assert {row.name: row.absent for row in case.contenders}["coredis"] == "not installed"


def test_a_wrong_result_is_no_contender() -> None:
    """What is fast because it does something else is refused when it is opened."""
    workload.checked_hit([1, 2])
    for check in (workload.checked_get, workload.checked_hit, workload.checked_gets):
        with pytest.raises(AssertionError, match="gave None"):
            check(None)


# Where it runs


@pytest.mark.parametrize(
    ("place", "available", "cores"),
    [
        ("same", [0, 1], (1, 1)),
        ("apart", [0, 1, 5], (5, 1)),
        ("same", [3], (3, 3)),
        ("apart", [3], None),
        ("same", [], None),
        ("free", [0, 1], None),
    ],
)
def test_cores_are_chosen_from_the_end(place: str, available: list[int], cores: tuple[int, int] | None) -> None:
    """Client and server share the last core or have one each, where there are enough of them."""
    assert cores_for(place, available) == cores


@pytest.mark.skipif(sys.platform != "linux", reason="pins by sched_setaffinity")
def test_pinning_ends_with_the_block(redis_server: Server) -> None:
    """Both processes run on one core inside the block, and where they could before after it."""
    assert sys.platform == "linux"
    before = [os.sched_getaffinity(pid) for pid in (0, redis_server.pid)]
    with pinned(redis_server.pid, "same") as said:
        ours, theirs = [os.sched_getaffinity(pid) for pid in (0, redis_server.pid)]
        assert ours == theirs == {max(before[0])}
        assert said == f"same core ({max(before[0])})"
    assert [os.sched_getaffinity(pid) for pid in (0, redis_server.pid)] == before
    with pinned(redis_server.pid, "free") as said:
        assert said == "not pinned"


# Reports


def test_a_result_is_told_as_a_table_and_as_json(tmp_path: Path) -> None:
    """Both have each contender's numbers, and name the absent ones with the reason."""
    contenders = [Contender("floor", None), Contender("other", None), Contender("gone", None, "not installed")]
    samples = {"floor": Samples([10.0, 20.0], [1.0, 1.0]), "other": Samples([20.0, 40.0], [3.0, 3.0])}
    case = Case("name", "one thing", "floor", contenders)
    result = Result(case, "same core (1)", summarize(samples, "floor", contenders), samples)
    lines = table(result).splitlines()
    assert lines[0] == "name: one thing; same core (1), 2 rounds"
    assert lines[3].split()[:5] == ["other", "33,333", "30.00", "x2.00", "x3.00"]
    assert lines[4].split(maxsplit=1) == ["gone", "absent: not installed"]
    write(tmp_path / "result.json", {"python": "any"}, Settings(), [result])
    written = json.loads((tmp_path / "result.json").read_text())
    assert written["about"] == {"python": "any"}
    floor, other, gone = written["cases"][0]["contenders"]
    assert (floor["name"], other["ratio"]["median"], other["samples"]["wall"]) == ("floor", 2.0, [20.0, 40.0])
    assert gone == {"name": "gone", "absent": "not installed"}


# The command line


def test_a_quick_run_measures_and_ends(redis_server: Server, tmp_path: Path) -> None:
    """One case, with a server of its own: a table on the terminal, and a file with versions and samples."""
    file = tmp_path / "result.json"
    done = command(redis_server, "--quick", "--rounds", "2", "--only", "sync-get", "--json", str(file))
    assert done.returncode == 0, done.stderr
    assert "sync-get: one GET" in done.stdout
    written = json.loads(file.read_text())
    assert {"python", "redis-py", "hiredis", "server", "machine", "date"} <= set(written["about"])
    (case,) = written["cases"]
    assert case["floor"] == case["contenders"][0]["name"]
    assert all(len(contender["samples"]["wall"]) == 2 for contender in case["contenders"])


def test_a_case_that_does_not_exist_is_refused(redis_server: Server) -> None:
    """The name is told, and where to find the right ones."""
    done = command(redis_server, "--only", "nothing")
    assert (done.returncode, done.stdout) == (2, "")
    assert "nothing" in done.stderr
    assert "--list" in done.stderr


def test_the_cases_can_be_listed(redis_server: Server) -> None:
    """Each name once, and nothing is measured."""
    done = command(redis_server, "--list")
    names = done.stdout.split()
    assert done.returncode == 0, done.stderr
    assert len(set(names)) == len(names)
    assert {"sync-get", "asyncio-get-1", "trio-batch"} <= set(names)
