"""The patterns under simulation, the bugs that it finds, and the simulation itself."""

from __future__ import annotations

import hashlib
import itertools
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from redis_patterns import Call, Command, ConfigurationError, Effect, Once, Plan, Sleep, Steps, flow
from redis_patterns.testing.memory import Server
from redis_patterns.testing.simulation import SOME, Faults, Setup, Violation, World, explore, replay, simulate
from tests.simulation.behind_bugs import BEHIND_BUGS
from tests.simulation.behind_cases import BEHIND_CASES, behind_setup
from tests.simulation.board_cases import BOARD_BUGS, BOARD_CASES
from tests.simulation.bugs import BUGS, CORRECT_BUCKET, Bug
from tests.simulation.cache_bugs import CACHE_BUGS
from tests.simulation.cache_cases import CACHE_CASES, HASTY, cache_setup
from tests.simulation.cases import (
    BOARD,
    BUCKET,
    COUNTER,
    FIXED,
    LOCK,
    LOG,
    SEVERAL,
    SLOTS,
    board_setup,
    bucket_setup,
    counter,
    fixed,
    limits_setup,
    lock_setup,
    log,
    several,
    slots_setup,
)
from tests.simulation.counter_bugs import COUNTER_BUGS
from tests.simulation.counter_cases import COUNTER_CASES
from tests.simulation.flag_bugs import FLAG_BUGS
from tests.simulation.flag_cases import FLAG_CASES, flag_setup
from tests.simulation.job_bugs import JOB_BUGS
from tests.simulation.job_cases import JOB_CASES, LAGGING, jobs_setup
from tests.simulation.lease_bugs import LEASE_BUGS
from tests.simulation.lease_cases import LEASE_CASES, fair_setup
from tests.simulation.once_bugs import ONCE_BUGS
from tests.simulation.once_cases import AGAIN, ONCE_CASES, REFUSE, once_setup
from tests.simulation.queue_cases import BY_PRIORITY, FIFO, LATER, QUEUE_BUGS, QUEUE_CASES
from tests.simulation.session_bugs import SESSION_BUGS
from tests.simulation.session_cases import SESSION_CASES, session_setup

CASES = {
    "lock": lock_setup(LOCK),
    "token bucket": bucket_setup(lambda _: BUCKET.hit("all"), BUCKET),
    "fixed window": limits_setup(FIXED.hit, [FIXED], fixed, refund=FIXED.refund),
    "sliding log": limits_setup(LOG.hit, [LOG], log, refund=LOG.refund),
    "sliding counter": limits_setup(COUNTER.hit, [COUNTER], counter, refund=COUNTER.refund),
    "several limits": limits_setup(SEVERAL.hit, SEVERAL.limits, several),
    "several ids": limits_setup(
        lambda _, cost: SEVERAL.hit_each("a", "b", "c", cost=cost), SEVERAL.limits, several, exact=False
    ),
    "slots": slots_setup(SLOTS.slot("all"), 2),
    "leaderboard": board_setup(lambda _: BOARD.increment("all"), BOARD),
    **BOARD_CASES,
    **LEASE_CASES,
    **CACHE_CASES,
    **BEHIND_CASES,
    **SESSION_CASES,
    **JOB_CASES,
    **COUNTER_CASES,
    **ONCE_CASES,
    **QUEUE_CASES,
    **FLAG_CASES,
}
PLANTED = [
    *BUGS,
    *BOARD_BUGS,
    *LEASE_BUGS,
    *CACHE_BUGS,
    *BEHIND_BUGS,
    *SESSION_BUGS,
    *JOB_BUGS,
    *ONCE_BUGS,
    *QUEUE_BUGS,
    *FLAG_BUGS,
    *COUNTER_BUGS,
]
FOUND: list[str] = []


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    """Print what was found, and how fast."""
    yield
    if FOUND:
        print("\nplanted bugs:\n" + "\n".join(FOUND))


# The patterns


@pytest.mark.parametrize("name", CASES)
def test_a_pattern_bears_what_goes_wrong(name: str) -> None:
    """No invariant is violated in a hundred runs with faults of all kinds."""
    report = simulate(CASES[name], seed=1, runs=100, steps=400, faults=SOME)
    assert report.schedules == 100
    assert report.steps > 2000
    assert {"lose_reply", "lose_request", "refuse", "cancel", "crash", "flush_scripts"} <= set(report.faults)


def test_nobody_is_overtaken_or_forgotten_where_nothing_goes_wrong() -> None:
    """In line nobody loses its place, and nobody waits a moment longer than it must."""
    simulate(fair_setup(nobody_dies=True), seed=1, runs=50, steps=400, faults=Faults())


@pytest.mark.parametrize("setup", [lock_setup(LOCK, steady=False), fair_setup(steady=False)], ids=["lock", "fair"])
def test_fences_grow_whatever_the_servers_clock_does(setup: Setup) -> None:
    """It jumps, so that leases end too early or too late: fences grow still, and nobody hangs or leaves anything."""
    faults = Faults(lose_reply=0.04, crash=0.005, cancel=0.01, jump=0.05)
    report = simulate(setup, seed=1, runs=150, steps=400, faults=faults)
    assert report.faults["jump"] > 100


def test_a_lock_in_all_orders() -> None:
    """Two clients, every order of their steps, with one lost reply, crash or cancellation anywhere."""
    setup = lock_setup(LOCK, clients=2, rounds=1)
    report = explore(setup, steps=14, faults=("lose_reply", "crash", "cancel"), most_faults=1, most_schedules=3000)
    assert report.schedules == 3000


@pytest.mark.parametrize("way", [{}, {"sets": True}, {"tagged": True}], ids=["key", "set", "tag"])
def test_a_cache_in_all_orders(way: dict[str, bool]) -> None:
    """One who reads and one who writes, to the end: every order, and a lost answer, an expiry or a crash anywhere."""
    setup = cache_setup(readers=1, reads=1, writers=1, writes=1, slow=False, **way)
    report = explore(setup, faults=("lose_reply", "lose_request", "expire", "crash"))
    FOUND.append(f"cache, one reads and one writes, {way}: {report.schedules:,} orders, all of them")
    assert report.schedules > 100


@pytest.mark.parametrize("way", [{}, {"sets": True}, {"tagged": True}], ids=["key", "set", "tag"])
def test_a_cache_of_two_readers_in_all_orders(way: dict[str, bool]) -> None:
    """Two who read, where neither waits for the other, and one who writes: every order, to the end."""
    setup = cache_setup(HASTY, readers=2, reads=1, writers=1, writes=1, slow=False, **way)
    report = explore(setup, steps=60)
    FOUND.append(f"cache, two read and one writes, {way}: {report.schedules:,} orders, all of them")
    assert 100 < report.schedules < 100_000


def test_a_cache_of_two_readers_and_leases_that_end() -> None:
    """The same, with a lease or a value that expires at any point."""
    setup = cache_setup(HASTY, readers=2, reads=1, writers=1, writes=1, slow=False)
    report = explore(setup, steps=60, faults=("expire",))
    FOUND.append(f"cache, two read and one writes, expiries: {report.schedules:,} orders, all of them")
    assert 1000 < report.schedules < 100_000


def test_a_cache_of_readers_who_wait() -> None:
    """Two who read, one of whom waits for the other, and one who writes: the first of all orders, each to its end."""
    setup = cache_setup(readers=2, reads=1, writers=1, writes=1, slow=False)
    assert explore(setup, steps=40, most_schedules=500).schedules == 500


def test_writing_behind_with_a_kill_at_every_point() -> None:
    """One who writes and one who saves, killed before or after each of their steps: no write is lost."""
    setup = behind_setup(writers=1, writes=2, savers=1, slow=False)
    report = explore(setup, steps=30, faults=("crash", "lose_reply"), most_schedules=2000)
    FOUND.append(f"writing behind: {report.schedules:,} orders with a kill or a lost answer somewhere")
    assert report.schedules > 500


THINGS = ("load", "save", "renew", "rotate", "destroy", "destroy_all")


@pytest.mark.parametrize(("place", "orders"), list(enumerate((4854, 12_758, 8784, 5070, 2778, 1674))), ids=THINGS)
def test_sessions_in_all_orders(place: int, orders: int) -> None:
    """Three clients that each read a session and do something with it: every order of every three things, to the end,
    with an expiry anywhere. Whatever they do, a session that has ended never is there again.
    """
    tried = 0
    for others in itertools.combinations_with_replacement(THINGS[place:], 2):
        setup = session_setup(programs=[(thing,) for thing in (THINGS[place], *others)], slow=False)
        tried += explore(setup, faults=("expire",)).schedules
    FOUND.append(f"sessions, three clients, of {THINGS[place]} and what follows it: {tried:,} orders, all of them")
    assert tried == orders


def test_a_job_in_all_orders() -> None:
    """One that is put and two workers, one of which may die: the first of all orders, with a kill or a lost answer."""
    setup = jobs_setup(producers=1, puts=1, workers=2, turns=2, steady=True)
    report = explore(setup, steps=24, faults=("crash", "lose_reply"), most_schedules=3000)
    assert report.schedules == 3000


def test_queues_keep_their_order() -> None:
    """What came first goes first, of one priority; and what is due first."""
    server = Server()
    server.run(FIFO.put_many("abc"))
    for place, item in enumerate("cxayb"):
        server.run(BY_PRIORITY.put(item, 1 if item in "xy" else 0))
        server.run(LATER.put(f"later {item}", delay=5 - place))
    server.clock.advance(6)
    server.run(LATER.promote())
    with server.sync() as redis:
        assert redis.run(FIFO.pop_many(9)) == [*"abc", "later b", "later y", "later a", "later x", "later c"]
        assert redis.run(BY_PRIORITY.pop_many(9)) == list("cabxy")


@pytest.mark.parametrize("once", [AGAIN, REFUSE], ids=["again", "refuse"])
def test_once_in_all_orders(once: Once[int]) -> None:
    """Two who want one thing done: every order, and a kill, a cancellation, a lost answer or an expiry anywhere."""
    setup = once_setup(once, clients=2, rounds=1, ids="a", slow=False)
    report = explore(setup, faults=("crash", "cancel", "lose_reply", "expire"))
    FOUND.append(f"once, {once.after_crash}: {report.schedules:,} orders, all of them")
    assert report.schedules == 400


def test_flags_of_two_writers_in_all_orders() -> None:
    """Each reads and writes: every order to the end, with a lost answer or a crash anywhere."""
    setup = flag_setup(writers=2, writes=1, follows=False, slow=False)
    report = explore(setup, faults=("lose_reply", "crash"), most_faults=2)
    FOUND.append(f"flags, two writers: {report.schedules:,} orders, all of them")


def test_counts_in_all_orders() -> None:
    """Two clients that count twice each: every order, with a lost reply anywhere, to the end."""
    setup = board_setup(lambda _: BOARD.increment("all"), BOARD, clients=2, rounds=2)
    report = explore(setup, faults=("lose_reply", "lose_request"))
    # 6 orders of 2 + 2 steps, times no fault or one of 2 kinds at one of 4 steps.
    assert report.schedules == 6 * (1 + 2 * 4)


# Planted bugs


def test_the_copy_that_bugs_are_planted_into_is_right() -> None:
    """Without its bug, the naive bucket of the planted ones bears everything too."""
    simulate(bucket_setup(CORRECT_BUCKET, BUCKET), runs=30, steps=300)


@pytest.mark.parametrize("bug", PLANTED, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Bug) -> None:
    """Within half a minute of computing, by an invariant that says what is wrong, with a short line that repeats it."""
    started = time.process_time()
    with pytest.raises(Violation) as caught:
        simulate(bug.setup, runs=2000, steps=400, faults=bug.faults)
    seconds = time.process_time() - started
    violation = caught.value
    assert any(words in violation.what for words in bug.found), violation
    assert seconds < 30  # on a machine that is slow; see the table
    assert violation.seed is not None
    with pytest.raises(Violation, match=re.escape(violation.what)):
        replay(bug.setup, violation.schedule, seed=violation.seed, faults=bug.faults)
    FOUND.append(
        f"{bug.name:48} {violation.what[:28]:28} seed {violation.seed:3}, {len(violation.schedule.split()):3} steps, "
        f"{seconds:5.2f} s"
    )


# The simulation itself


def test_the_same_seed_gives_the_same_run() -> None:
    """Traces are equal line by line; another seed gives another one."""
    first, second, other = (simulate(CASES["lock"], seed=seed, steps=300).trace for seed in (5, 5, 6))
    assert first == second
    assert first != other


def test_the_same_seed_gives_the_same_run_in_another_process() -> None:
    """No hash seed, token or clock of the machine is in it."""
    program = """
import sys
from redis_patterns.testing.simulation import simulate
from tests.simulation.cases import LOCK, lock_setup
print("\\n".join(simulate(lock_setup(LOCK), seed=5, steps=300).trace))
"""
    said = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {[path for path in sys.path if path]!r}\n{program}"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONHASHSEED": "7"},
    ).stdout
    assert said.splitlines() == simulate(CASES["lock"], seed=5, steps=300).trace


def test_the_same_seed_gives_the_same_run_on_every_python() -> None:
    """The trace of one seed is written down here, by its digest."""
    trace = "\n".join(simulate(CASES["lock"], seed=5, steps=300).trace)
    assert hashlib.sha256(trace.encode()).hexdigest()[:16] == "a589f388b5054fc8"


def test_it_leaves_the_random_numbers_of_others_alone() -> None:
    """The state of ``random`` is what it was."""
    random.seed(1)
    expected = random.random()
    random.seed(1)
    simulate(CASES["lock"], steps=50)
    assert random.random() == expected


def test_it_is_fast_enough_to_be_used() -> None:
    """Printed, not judged: how many steps a second it takes here."""
    started = time.process_time()
    steps = simulate(CASES["lock"], runs=50, steps=400).steps
    FOUND.append(f"{steps / (time.process_time() - started):,.0f} steps a second for the lock")
    assert steps > 1000


def counting(world: World, wrong_at: int) -> None:
    done = [0]

    @flow
    def counts() -> Steps[None]:
        for _ in range(20):
            yield from Plan("ping", (Command(("PING",)),), len, Effect.READS)
            yield from Call(count)

    def count() -> None:
        done[0] += 1

    world.client("a", counts())
    world.client("b", counts())
    world.invariant(f"fewer than {wrong_at}", lambda: done[0] < wrong_at)


def test_a_violation_is_told_as_short_as_it_can_be() -> None:
    """A schedule has no step too many, and its message has the seed, the trace and the line that repeats it."""

    def setup(world: World) -> None:
        counting(world, 4)

    with pytest.raises(Violation) as caught:
        simulate(setup, seed=3, faults=Faults(lose_reply=0.2))
    text = str(caught.value)
    assert caught.value.schedule in {" ".join(words) for words in _orders(4)}
    assert "fewer than 4 (seed 3, shortened to 4 steps)" in text
    assert f"replay(setup, {caught.value.schedule!r}, seed=3)" in text
    assert len(caught.value.trace) == 4


def _orders(count: int) -> Iterator[list[str]]:
    if not count:
        yield []
        return
    for rest in _orders(count - 1):
        yield ["a", *rest]
        yield ["b", *rest]


def test_exploring_tells_a_violation_too() -> None:
    """With the schedule that led to it."""

    def setup(world: World) -> None:
        counting(world, 3)

    with pytest.raises(Violation, match="fewer than 3") as caught:
        explore(setup)
    with pytest.raises(Violation, match="fewer than 3"):
        replay(setup, caught.value.schedule)


def test_a_failing_assertion_of_a_client_is_a_violation() -> None:
    """What a flow asserts counts like an invariant."""

    def setup(world: World) -> None:
        @flow
        def asserts() -> Steps[None]:
            yield from Sleep(1)
            assert world.clock() < 1, "it is late"

        world.client("a", asserts())

    with pytest.raises(Violation, match="it is late"):
        simulate(setup)


def test_faults_of_the_server() -> None:
    """Its clock jumps, a replica takes over behind the others, keys expire, and the clients go on."""

    def setup(world: World) -> None:
        @flow
        def writes() -> Steps[None]:
            for value in range(200):
                yield from Plan("set", (Command(("SET", "k", value, "PX", 50)),), len, Effect.IDEMPOTENT)
                yield from Sleep(0.01)

        world.client("a", writes())

    faults = Faults(jump=0.1, fail_over=0.1, expire=0.1, flush_scripts=0.1)
    report = simulate(setup, steps=300, faults=faults)
    assert set(report.faults) == {"jump", "fail_over", "expire", "flush_scripts"}
    assert any("writes behind" in line for line in report.trace)


def test_a_lagging_replica_loses_acknowledged_counts() -> None:
    """The simulation shows what no client can help: a fail-over with a lag loses writes."""
    setup: Setup = board_setup(lambda _: BOARD.increment("all"), BOARD)
    with pytest.raises(Violation, match="lost or doubled"):
        simulate(setup, runs=50, faults=Faults(fail_over=0.05))


def test_jobs_bear_a_lagging_replica() -> None:
    """What was put or told last may be gone; each job is in one place all the same, and no count is wrong."""
    faults = Faults(fail_over=0.03, lose_reply=0.03, crash=0.005, flush_scripts=0.01)
    report = simulate(LAGGING, runs=40, steps=300, faults=faults)
    assert report.faults["fail_over"] > 30
    with pytest.raises(Violation, match=r"is lost|is not noted|was given again|with a fence that had been"):
        simulate(JOB_CASES["jobs"], runs=40, steps=300, faults=faults, shorten=False)


@pytest.mark.parametrize("wrong", [{"crash": -0.1}, {"crash": 0.6, "cancel": 0.6}, {"lose_reply": float("nan")}])
def test_faults_refuse_nonsense(wrong: dict[str, Any]) -> None:
    """Rates are shares, no more than 1 together."""
    with pytest.raises(ConfigurationError, match="shares from 0 to 1"):
        Faults(**wrong)


@pytest.mark.parametrize("name", ["a", "two words", "a:b", ""])
def test_clients_need_names_of_their_own(name: str) -> None:
    """One word, not taken, without the colon of a schedule."""

    def setup(world: World) -> None:
        counting(world, 100)
        world.client(name, LOCK.wait_for(0, token="x"))

    with pytest.raises(ConfigurationError, match="name must be one word"):
        simulate(setup)
