"""Deterministic simulation: many clients' flows on a Redis in memory, in a random order that a seed repeats.

Between any two steps things go wrong as they do in production: a request or its reply is lost, a connection is
refused, a client crashes or is cancelled, scripts are forgotten, time passes until a key expires, the server's clock
jumps, a replica takes over that has not got the last writes. After each step invariants are checked. A run that
violates one is made as short as it can be, and is told with the line that repeats it.

    def setup(world: World) -> None:
        world.client("a", transfer(...))
        world.client("b", transfer(...))
        world.invariant("nothing is lost", lambda: total() == 100)

    simulate(setup, seed=7, faults=Faults(lose_reply=0.05, crash=0.01))

After FoundationDB's simulation (Zhou et al., "FoundationDB: A Distributed Unbundled Transactional Key Value Store",
SIGMOD 2021, section 4), and delta debugging (Zeller and Hildebrandt, TSE 28(2), 2002) for the shortening.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from redis_patterns.testing._faults import Faults
from redis_patterns.testing._world import Client, World

__all__ = ["Client", "Faults", "Report", "Violation", "World", "explore", "replay", "simulate"]

_MOST_TRIES = 400

SOME = Faults(
    refuse=0.02, lose_request=0.02, lose_reply=0.04, crash=0.005, cancel=0.01, flush_scripts=0.01, expire=0.02
)
"""A bit of everything that a pattern must bear; a clock that jumps and a lagging replica it need not."""


class Violation(AssertionError):
    """An invariant did not hold.

    Parameters:
        what: the invariant, and what was found.
        seed: of the run; ``None`` for one that was not random.
        schedule: who took which step with which fault, as `replay` takes it.
        trace: what happened, a line for each step.
    """

    def __init__(self, what: str, seed: int | None, schedule: str, trace: Sequence[str]) -> None:
        super().__init__(what)
        self.what = what
        self.seed = seed
        self.schedule = schedule
        self.trace: list[str] = list(trace)

    def __str__(self) -> str:
        history = "\n".join(f"  {line}" for line in self.trace)
        origin = "" if self.seed is None else f" (seed {self.seed}, shortened to {len(self.schedule.split())} steps)"
        seed = "" if self.seed is None else f", seed={self.seed}"
        return f"{self.what}{origin}\n{history}\nto see it again: replay(setup, {self.schedule!r}{seed})"


@dataclass
class Report:
    """What a simulation without a violation did.

    Parameters:
        steps: how many.
        schedules: how many runs.
        faults: how often which.
        trace: the last run, a line for each step.
    """

    steps: int = 0
    schedules: int = 0
    faults: dict[str, int] = field(default_factory=dict[str, int])
    trace: list[str] = field(default_factory=list[str])


Setup = Callable[[World], None]


def simulate(
    setup: Setup, *, seed: int = 0, steps: int = 1000, runs: int = 1, faults: Faults = SOME, shorten: bool = True
) -> Report:
    """Run clients in random orders, with faults.

    Parameters:
        setup: fills a new world; called for each run.
        seed: of the first run; the next ones follow it.
        steps: the most of one run, which also ends when all clients have.
        runs: how many.
        faults: what goes wrong, and how often.
        shorten: whether to look for a shorter run that violates an invariant too.

    Raises:
        Violation: an invariant did not hold.
    """
    report = Report()
    for number in range(seed, seed + runs):
        schedule: list[tuple[str, str]] = []
        report.trace = []
        # Who goes and what goes wrong is drawn apart, so that a schedule repeats a run whoever has drawn it.
        chooser = random.Random(f"schedule {number}")
        failed = False
        with _seeded(number):
            world = World(number, faults)
            try:
                setup(world)
                while len(schedule) < steps and (running := world.running):
                    now = world.clock()
                    awake = [client for client in running if client.wakes_at <= now]
                    client = chooser.choice(awake or [min(running, key=lambda one: one.wakes_at)])
                    fault = faults.draw(chooser.random())
                    schedule.append((client.name, fault))
                    report.trace.append(world.take(client, fault))
                    world.check()
                    if fault:
                        report.faults[fault] = report.faults.get(fault, 0) + 1
            except AssertionError:
                failed = True
        if failed:
            raise _violation(setup, number, faults, schedule, shorten=shorten)
        report.steps += len(schedule)
        report.schedules += 1
    return report


def replay(setup: Setup, schedule: str, *, seed: int = 0, faults: Faults = SOME) -> Report:
    """Run a schedule that a `Violation` has told.

    Parameters:
        setup: as for `simulate`.
        schedule: words such as ``a b:lose_reply``: who takes a step, with which fault.
        seed: of what a schedule does not say, such as how far a clock jumps.
        faults: for the sizes of jumps and lags.

    Raises:
        Violation: an invariant did not hold.
    """
    steps = [(name, fault) for name, _, fault in (word.partition(":") for word in schedule.split())]
    trace: list[str] = []
    message = _run(setup, steps, seed, faults, trace)
    if message is not None:
        raise Violation(message, None, schedule, trace)
    return Report(len(steps), 1, {}, trace)


def explore(
    setup: Setup, *, steps: int = 30, faults: Sequence[str] = (), most_faults: int = 1, most_schedules: int = 100_000
) -> Report:
    """Run every order of a small case's steps, with every fault at every place.

    Parameters:
        setup: as for `simulate`.
        steps: the most of one schedule.
        faults: names of fields of `Faults`.
        most_faults: how many of them may happen in one schedule.
        most_schedules: where to stop.

    Raises:
        Violation: an invariant did not hold.
    """
    report = Report()
    stack: list[list[tuple[str, str]]] = [[]]
    rates = Faults(fail_over=1e-9) if "fail_over" in faults else Faults()
    while stack and report.schedules < most_schedules:
        schedule = stack.pop()
        # Goes on from a prefix to the end, and leaves the other ways to go for later.
        with _seeded(0):
            world = World(0, rates)
            trace: list[str] = []
            try:
                setup(world)
                for name, fault in schedule:
                    trace.append(world.take(world.clients[name], fault))
                    world.check()
                while len(schedule) < steps and (running := world.running):
                    allowed = most_faults - sum(1 for _, fault in schedule if fault)
                    choices = [(client.name, "") for client in running]
                    if allowed > 0:
                        choices += [(client.name, fault) for client in running for fault in faults]
                    stack += [[*schedule, choice] for choice in choices[1:]]
                    schedule = [*schedule, choices[0]]
                    trace.append(world.take(world.clients[choices[0][0]], choices[0][1]))
                    world.check()
            except AssertionError as error:
                raise Violation(str(error), None, _words(schedule), trace) from None
        report.schedules += 1
        report.steps += len(schedule)
        report.trace = trace
    return report


def _run(setup: Setup, schedule: Sequence[tuple[str, str]], seed: int, faults: Faults, trace: list[str]) -> str | None:
    """Run a schedule, leaving out what has become impossible; the message of a violation, or ``None``."""
    with _seeded(seed):
        world = World(seed, faults)
        try:
            setup(world)
            for name, fault in schedule:
                client = world.clients.get(name)
                if client is not None and client.running:
                    trace.append(world.take(client, fault))
                    world.check()
        except AssertionError as error:
            return str(error)
    return None


def _violation(setup: Setup, seed: int, faults: Faults, schedule: list[tuple[str, str]], *, shorten: bool) -> Violation:
    """Tell a failing schedule, made shorter by leaving out parts of it as long as it still fails."""
    trace: list[str] = []
    message = _run(setup, schedule, seed, faults, trace)
    size, tries = len(schedule) // 2, 0
    while shorten and size:
        start = 0
        while start < len(schedule) and tries < _MOST_TRIES:
            tries += 1
            shorter, seen = schedule[:start] + schedule[start + size :], list[str]()
            told = _run(setup, shorter, seed, faults, seen)
            if told is None:
                start += size
            else:
                schedule, trace, message = shorter, seen, told
        size //= 2
    if message is None:
        message = "an invariant did not hold, but not again: the setup is not the same each time"
    return Violation(message, seed, _words(schedule), trace)


def _words(schedule: Sequence[tuple[str, str]]) -> str:
    return " ".join(f"{name}:{fault}" if fault else name for name, fault in schedule)


@contextmanager
def _seeded(seed: int) -> Generator[None, None, None]:
    """Make the jitter of flows, which comes from ``random`` by default, the same in each run."""
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)
