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

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis_patterns.testing.memory import Clock, Server
from redis_patterns_core.errors import ConfigurationError, PatternsError
from redis_patterns_core.flow import Alongside, Call, Defer, Flow, Now, Shared, Sleep, Spawn, Steps, Within, perform
from redis_patterns_core.plan import Command, Plan
from redis_patterns_core.replies import ErrorReply, Reply
from redis_patterns_core.retry import Backoff, Execution, Incomplete

__all__ = ["Client", "Faults", "Report", "Violation", "World", "explore", "replay", "simulate"]

_RETRY_FOR = 3.0
_BACKOFF = Backoff()
_LATENCY = 0.002
_MOST_TRIES = 400
_CLIENT_FAULTS = ("refuse", "lose_request", "lose_reply", "crash", "cancel")
_SERVER_FAULTS = ("flush_scripts", "expire", "jump", "fail_over")


@dataclass(frozen=True, kw_only=True)
class Faults:
    """How often things go wrong, each as a share of the steps from 0 to 1.

    Parameters:
        refuse: no connection can be had.
        lose_request: the connection dies before the server has read the request.
        lose_reply: the server executes the request, and the connection dies before the reply.
        crash: the client is gone, in the middle of its step or before it, and cleans nothing up.
        cancel: the client's flow is cancelled; what it had deferred runs.
        flush_scripts: the server forgets all scripts.
        expire: everybody stands still until a key has just expired.
        jump: the server's clock jumps, by up to `jump_by` seconds in either direction.
        fail_over: a replica takes over that has not got the last writes, up to `lag` of them.
        jump_by, lag: see above.
    """

    refuse: float = 0.0
    lose_request: float = 0.0
    lose_reply: float = 0.0
    crash: float = 0.0
    cancel: float = 0.0
    flush_scripts: float = 0.0
    expire: float = 0.0
    jump: float = 0.0
    fail_over: float = 0.0
    jump_by: float = 5.0
    lag: int = 3

    def __post_init__(self) -> None:
        rates = [getattr(self, name) for name in (*_CLIENT_FAULTS, *_SERVER_FAULTS)]
        if not all(0 <= rate <= 1 for rate in rates) or sum(rates) > 1:
            raise ConfigurationError(
                f"faults must be shares from 0 to 1 that are no more than 1 together, not {self!r}"
            )

    def draw(self, chance: float) -> str:
        """Give the fault that a random number from 0 to 1 means, or nothing."""
        for name in (*_CLIENT_FAULTS, *_SERVER_FAULTS):
            chance -= getattr(self, name)
            if chance < 0:
                return name
        return ""


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


@dataclass
class _Frame:
    steps: Steps[Any]
    deferred: list[Defer] = field(default_factory=list[Defer])
    cleaning: Iterator[Plan[Any]] | None = None
    outcome: tuple[Any, Exception | None] = (None, None)


class Client:
    """One of the clients: a flow on its way.

    Parameters:
        world: where it lives.
        name: what traces and schedules call it; one word.
        flow: what it does.
    """

    def __init__(self, world: World, name: str, flow: Flow[Any]) -> None:
        self.name = name
        self.result: Any = None
        """What its flow returned."""
        self.error: Exception | None = None
        """What its flow raised."""
        self.state: str = "running"
        """``running``, ``done``, ``failed``, ``cancelled`` or ``crashed``."""
        self.wakes_at: float = 0.0
        self._world = world
        self._plan: Plan[Any] | None = None
        self._execution: Execution | None = None
        self._cancelled = False
        # Until when the server keeps back the answer of a plan that blocks, and that answer once it is there.
        self._blocked_until: float | None = None
        self._served: Sequence[Any] | None = None
        self._frames = [_Frame(flow.steps())]
        self._go_on()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.state == "running"

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled; its clean-up may still be running."""
        return self._cancelled

    def step(self, fault: str) -> str:
        """Take the next step, and say in a few words what happened."""
        if fault == "crash":
            self.state = "crashed"
            waited = self._unblock()
            if self._plan is not None and not waited and self._world.random.random() < 0.5:
                self._world.server.execute(self._plan.commands)  # its last words were heard
                return f"{self._plan.name}, crashes with the request on its way"
            return "crashes"
        if fault == "cancel":
            self._cancel()
            return "is cancelled"
        plan = self._plan
        if plan is None:
            self._go_on()
            return "wakes up"
        if plan.blocks_for is not None and not fault and self._blocks(plan.blocks_for):
            return f"{plan.name}, waits"
        attempt, said = self._attempt(fault)
        return f"{plan.name}{said}{self._take(plan, attempt)}"

    def serve(self) -> bool:
        """Give a client that is blocked what it waits for, if that is there now."""
        answers, blocked = self._world.server.execute(self._commands, waits=True)
        if not blocked:
            self._served, self.wakes_at = answers, 0.0
        return not blocked

    @property
    def _commands(self) -> Sequence[Command]:
        """What is to be sent: of the plan, what has no answer yet."""
        if self._execution is not None:
            return self._execution.commands
        return self._plan.commands if self._plan is not None else ()

    def _blocks(self, seconds: float) -> bool:
        if self._blocked_until is not None:
            return False  # served, or its time is up
        answers, blocked = self._world.server.execute(self._commands, waits=True)
        self._blocked_until = self._world.clock() + (seconds or math.inf)
        if not blocked:
            self._served = answers
            return False
        self.wakes_at = self._blocked_until
        self._world.blocked.append(self)
        return True

    def _unblock(self) -> bool:
        """Leave the server, and whatever it has for us; tells whether it was waiting."""
        waited, self._blocked_until, self._served = self._blocked_until is not None, None, None
        if self in self._world.blocked:
            self._world.blocked.remove(self)
        return waited

    def _attempt(self, fault: str) -> tuple[Incomplete, str]:
        if self._blocked_until is not None:
            answers, after = self._served, self._commands[1:]
            self._unblock()
            # When its time is up, what comes after what has blocked follows, whether or not somebody hears of it.
            if answers is None and (not fault or (after and self._world.random.random() < 0.5)):
                answers = [None, *self._world.server.execute(after)[0]]
            if fault or answers is None:
                return Incomplete("lost", sent=True), ", the connection is lost"
            return Incomplete(answers=answers), ""
        if fault == "refuse":
            return Incomplete("refused"), ", no connection"
        if fault == "lose_request":
            return Incomplete("lost", sent=True), ", the request is lost"
        answers, _ = self._world.server.execute(self._commands)
        if fault == "lose_reply":
            return Incomplete("lost", sent=True), ", the reply is lost"
        return Incomplete(answers=answers), ""

    def _take(self, plan: Plan[Any], attempt: Incomplete) -> str:
        """Take in how an attempt ended, as a driver does."""
        clock, answers = self._world.clock, attempt.answers
        if self._execution is None and len(answers) == len(plan.commands) and not _errors(answers):
            replies = answers
        else:
            if self._execution is None:
                self._execution = Execution(plan, give_up_at=clock() + _RETRY_FOR, backoff=_BACKOFF)
            try:
                delay = self._execution.after(attempt, now=clock(), chance=0.5)
            except PatternsError as error:
                self._go_on(error=error)
                return f": {type(error).__name__}"
            if delay is not None:
                self.wakes_at = clock() + delay
                return ""
            replies = self._execution.replies
        try:
            result = plan.parse(replies)
        except Exception as error:  # noqa: BLE001  the flow's to handle
            self._go_on(error=error)
            return f": {type(error).__name__}"
        self._go_on(result)
        return f": {result!r}"

    def _go_on(self, value: Any = None, error: Exception | None = None) -> None:
        """Run the flow up to its next plan or sleep, or to its end."""
        self._plan = self._execution = None
        while self._frames:
            frame = self._frames[-1]
            if frame.cleaning is not None:
                # What a clean-up gives or raises is not the flow's.
                self._plan = next(frame.cleaning, None)
                if self._plan is not None:
                    return
                self._frames.pop()
                value, error = frame.outcome
                if self._cancelled:
                    self._unwind()
                continue
            try:
                step = frame.steps.send(value) if error is None else frame.steps.throw(error)
            except StopIteration as stop:
                self._end(frame, stop.value, None)
                continue
            except AssertionError:
                raise
            except Exception as raised:  # noqa: BLE001  the outer flow's to handle, or the client's end
                self._end(frame, None, raised)
                continue
            value = error = None
            match step:
                case Plan():
                    self._plan = step
                    return
                case Within():
                    self._plan = step.plan
                    return
                case Sleep():
                    self.wakes_at = self._world.clock() + max(0.0, step.seconds)
                    return
                case Flow():
                    self._frames.append(_Frame(step.steps()))
                case Shared():
                    self._frames.append(_Frame(step.flow.steps()))
                case Alongside():
                    self._frames.append(_Frame(perform(step.step)))
                case Now():
                    value = self._world.clock()
                case Call():
                    try:
                        value = step.function(*step.args, **step.kwargs)
                    except AssertionError:
                        raise
                    except Exception as raised:  # noqa: BLE001  the flow's to handle
                        error = raised
                case Spawn():
                    self._world.client(f"{self.name}+{len(self._world.clients)}", step.flow)
                case Defer():
                    frame.deferred.append(step)
                case _:
                    raise TypeError(f"a flow yields steps, not {type(step).__name__}")
        self.result, self.error = value, error
        self.state = "cancelled" if self._cancelled else "done" if error is None else "failed"

    def _end(self, frame: _Frame, value: Any, error: Exception | None) -> None:
        failed = error is not None
        plans = [defer.plan for defer in reversed(frame.deferred) if failed or not defer.on_error_only]
        frame.outcome, frame.cleaning = (value, error), iter(plans)

    def _cancel(self) -> None:
        self._cancelled = True
        self._unblock()
        self.wakes_at = 0.0
        if self._frames and self._frames[-1].cleaning is not None:
            return  # shielded
        self._unwind()
        self._go_on()

    def _unwind(self) -> None:
        """Close the flow on top; its clean-up is what runs next."""
        if self._frames:
            frame = self._frames[-1]
            frame.steps.close()
            self._end(frame, None, RuntimeError("cancelled"))


class World:
    """What a simulation's `setup` fills: clients and invariants, on a server in memory.

    Parameters:
        seed: of its random numbers.
        faults: for the sizes of jumps and lags.
    """

    def __init__(self, seed: int, faults: Faults) -> None:
        self.clock: Clock = Clock()
        self.server: Server = Server(self.clock)
        self.random: random.Random = random.Random(seed)
        self.clients: dict[str, Client] = {}
        self.blocked: list[Client] = []
        """Those that the server keeps waiting, the longest first."""
        self.notes: dict[str, Any] = {}
        """For a setup's own use, such as what clients believe."""
        self._faults = faults
        self._invariants: list[tuple[str, Callable[[], object]]] = []
        if faults.fail_over:
            self.server.replicate()

    def client(self, name: str, flow: Flow[Any]) -> Client:
        """Add a client.

        Parameters:
            name: one word, its own.
            flow: what it does.

        Raises:
            ConfigurationError: a name that is taken, or is not one word.
        """
        if name in self.clients or len(name.split()) != 1 or ":" in name:
            raise ConfigurationError(f"name must be one word of its own, without a colon, not {name!r}")
        made = self.clients[name] = Client(self, name, flow)
        return made

    def invariant(self, name: str, holds: Callable[[], object]) -> None:
        """Add what must hold after each step.

        Parameters:
            name: what a violation is called.
            holds: gives ``False``, or raises ``AssertionError``, when it does not hold.
        """
        self._invariants.append((name, holds))

    # Running

    @property
    def running(self) -> list[Client]:
        """The clients that have not ended."""
        return [client for client in self.clients.values() if client.running]

    def take(self, client: Client, fault: str) -> str:
        """Let a client take a step, with a fault, and check the invariants; the line of the trace."""
        if client.wakes_at > self.clock():
            self.clock.advance(client.wakes_at - self.clock())
        self.clock.advance(self.random.random() * _LATENCY)
        at = self.clock()
        if fault in _SERVER_FAULTS:
            said = f"the server {self._disturb(fault)}"
        else:
            said = f"{client.name} {client.step(fault)}"
        # Whatever was written, Redis serves those that wait for it at once, in their order.
        self.blocked = [waiting for waiting in self.blocked if not waiting.serve()]
        return f"{at:9.3f} {said}"

    def check(self) -> None:
        """Check the invariants.

        Raises:
            AssertionError: one does not hold.
        """
        for name, holds in self._invariants:
            try:
                held = holds()
            except AssertionError as error:
                raise AssertionError(f"{name}: {error}") from None
            if held is False:
                raise AssertionError(name)

    def _disturb(self, fault: str) -> str:
        if fault == "flush_scripts":
            self.server.flush_scripts()
            return "forgets its scripts"
        if fault == "fail_over":
            lag = self.random.randint(0, self._faults.lag)
            self.server.fail_over(lag)
            return f"fails over, {lag} writes behind"
        if fault == "jump":
            by = self.random.uniform(-self._faults.jump_by, self._faults.jump_by)
            self.server.skew += by
            return f"has its clock jump by {by:+.3f} s"
        ahead = [moment for moment in self.server.expiries() if moment > self.clock()]
        if ahead:
            self.clock.advance(self.random.choice(ahead) - self.clock() + 0.002)
        return "lets a key expire"


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


def _errors(answers: Sequence[Reply]) -> bool:
    return any(type(answer) is ErrorReply for answer in answers)


class _seeded:  # noqa: N801  used like a function
    """Makes the jitter of flows, which comes from ``random`` by default, the same in each run."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._before: Any = None

    def __enter__(self) -> None:
        self._before = random.getstate()
        random.seed(self._seed)

    def __exit__(self, *_: object) -> None:
        random.setstate(self._before)
