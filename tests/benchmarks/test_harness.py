from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncGenerator

import pytest

from redis_patterns.testing import Server
from tests.benchmarks import bench_async, peers, workload
from tests.benchmarks.harness import Contender, Samples, Settings, Work, measure, open_all, schedule
from tests.benchmarks.machine import cores_for, pinned


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
        return asyncio.run(measure(works, settings, {}, tasks=tasks, wall=self, cpu=self))


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

    trouble: dict[str, str] = {}

    async def names() -> list[str]:
        async with contextlib.AsyncExitStack() as stack:
            return list(await open_all(contenders, stack, trouble))

    assert asyncio.run(names()) == ["here"]
    assert log == ["opened", "closed"]
    assert trouble == {"gone": "not installed"}


def test_a_peer_that_fails_is_absent_and_the_others_are_measured() -> None:
    """One that cannot be opened, or cannot do its work, has its error for a reason; an error of ours is raised."""

    async def broken(_: int) -> None:
        raise ConnectionError("too many")

    @contextlib.asynccontextmanager
    async def closed() -> AsyncGenerator[Work]:
        raise OSError("no way in")
        yield broken

    async def opened(name: str) -> dict[str, str]:
        trouble: dict[str, str] = {}
        async with contextlib.AsyncExitStack() as stack:
            await open_all([Contender(name, closed)], stack, trouble)
        return trouble

    assert asyncio.run(opened("peer")) == {"peer": "OSError: no way in"}
    with pytest.raises(OSError, match="no way in"):
        asyncio.run(opened("ours, sync"))
    trouble: dict[str, str] = {}
    works = {"peer": broken, "ours": Clock().work("ours", 0.1)}
    samples = asyncio.run(measure(works, Settings(rounds=1, least=1, slice_seconds=0.0), trouble))
    assert list(samples) == ["ours"]
    assert trouble == {"peer": "ConnectionError: too many"}


def test_a_peer_that_is_not_installed_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without coredis its rows are still there, and say so."""
    assert peers.optional("no_such_package_anywhere") is None
    monkeypatch.setattr(peers, "version", lambda *_: "")
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
