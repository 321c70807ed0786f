"""The world of a simulation: clients, each with a flow on its way, on a server in memory."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis_patterns.testing._faults import SERVER_FAULTS, Faults
from redis_patterns.testing.memory import Clock, Server
from redis_patterns_core.errors import ConfigurationError, PatternsError
from redis_patterns_core.flow import (
    Alongside,
    Call,
    Defer,
    Flow,
    Now,
    Shared,
    Sleep,
    Spawn,
    Steps,
    Take,
    Within,
    perform,
)
from redis_patterns_core.plan import Command, Plan
from redis_patterns_core.replies import ErrorReply, Reply
from redis_patterns_core.retry import Backoff, Execution, Incomplete

__all__ = ["Client", "World"]

_RETRY_FOR = 3.0
_BACKOFF = Backoff()
_LATENCY = 0.002


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
        self._served: Sequence[Reply] | None = None
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
                case Within() | Take():
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
        said = f"the server {self._disturb(fault)}" if fault in SERVER_FAULTS else f"{client.name} {client.step(fault)}"
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


def _errors(answers: Sequence[Reply]) -> bool:
    return any(type(answer) is ErrorReply for answer in answers)
