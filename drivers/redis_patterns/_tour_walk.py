"""How ``redis-patterns tour`` shows its sections: a flow over them, which any driver runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from redis_patterns._commands.text import fit, painted
from redis_patterns_core import replies
from redis_patterns_core.cluster import keys_of
from redis_patterns_core.errors import CommandFailed, PatternsError
from redis_patterns_core.flow import Call, Defer, Flow, Steps, flow
from redis_patterns_core.locks import Lock
from redis_patterns_core.plan import Command, Effect, Plan
from redis_patterns_core.tracing import Outcome, Subject

__all__ = ["Section", "Step", "Tour"]

T = TypeVar("T")

_SHA = re.compile(r"\b([0-9a-f]{7})[0-9a-f]{33}\b")


@dataclass(frozen=True)
class Step(Generic[T]):
    """One line of the tour.

    Parameters:
        line: the Python expression that makes `does`, in the names that the sections give.
        does: what is run.
        right: whether the result is what it should be.
        name: what the line calls its result, where a later line uses it.
        under: a lock, called ``lock``, that is held meanwhile.
        keys: the keys that a flow writes; those of a plan and of the lock are known.
    """

    line: str
    does: Plan[T] | Flow[T]
    right: Callable[[T], bool]
    name: str = ""
    under: Lock | None = None
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """The part of the tour that shows one pattern.

    Parameters:
        title: the pattern and what it is for, one line.
        steps: in order; a section may build on those before it.
        given: the patterns that it introduces, by the names that lines call them.
    """

    title: str
    steps: Sequence[Step[Any]]
    given: Mapping[str, object] = field(default_factory=dict[str, object])


class Tour:
    """Walks through sections, and is the instrument of the driver that it walks on.

    Parameters:
        sections: what to run.
        show: prints a text.
        on: the server's name, where it cannot be asked.
        where: what the server is, such as ``embedded``.
        driver: the driver's name.
        colored: whether to colour what is shown.
    """

    def __init__(
        self,
        sections: Sequence[Section],
        *,
        show: Callable[[str], None],
        on: str = "",
        where: str,
        driver: str,
        colored: bool,
    ) -> None:
        self.wrong = 0
        """How many steps did not do what they should."""
        self.left_behind: BaseException | None = None
        """What kept keys from being deleted, if anything did."""
        self._sections = sections
        self._show = show
        self._on = on
        self._where = where
        self._driver = driver
        self._run = "redis.run" if driver == "sync" else "await redis.run"
        self._with = "with" if driver == "sync" else "async with"
        self._colored = colored
        self._steps = 0
        self._round_trips = 0
        # What the driver told of the step that runs.
        self._seen: list[Subject] = []
        self._sent = 0

    def begin(self, subject: Subject) -> Callable[[Outcome], None]:
        """Note what the driver runs, as its instrument."""
        if subject.commands:  # of a flow, each plan is told by itself
            self._seen.append(subject)
        return self._end

    def _end(self, outcome: Outcome) -> None:
        self._sent += outcome.round_trips

    def not_cleaned_up(self, _: Plan[Any] | Flow[Any], error: BaseException) -> None:
        """Note that a clean-up failed, as the driver's handler of errors in the background."""
        self.left_behind = error

    @flow
    def walk(self, hold: Callable[[Lock, Plan[Any] | Flow[Any]], Any]) -> Steps[None]:
        """Run all steps and show them; whatever ends it, its keys are deleted.

        Parameters:
            hold: runs a plan or a flow while a lock is held, which only a driver can do.

        Raises:
            Unreachable, OutcomeUnknown: the server cannot be reached (any more). Other errors of the library are shown
                where they happen.
        """
        server = f"{self._on or (yield from _name_of_server())} ({self._where})"
        yield from Defer(_delete(_keys(self._sections)))
        yield from self._say(f"redis-patterns tour on {server}, with redis_patterns.{self._driver}", "title")
        for section in self._sections:
            yield from self._say(f"\n{section.title}", "title")
            for name, pattern in section.given.items():
                yield from self._say(f"{name} = {pattern!r}", "quiet")
            for step in section.steps:
                yield from self._take(step, hold)
        verdict = f"{self.wrong} WRONG" if self.wrong else "all as they should be"
        summary = f"{_count(self._steps, 'step')} on {server}, {_count(self._round_trips, 'round trip')}, {verdict}"
        yield from self._say(f"\n{summary}", "wrong" if self.wrong else "right")

    def _take(self, step: Step[Any], hold: Callable[[Lock, Plan[Any] | Flow[Any]], Any]) -> Steps[None]:
        self._seen, self._sent = [], 0
        try:
            result: Any
            if step.under is not None:
                result = yield from Call(hold, step.under, step.does)
            else:
                result = yield step.does
            shown, right = repr(result), step.right(result)
        except PatternsError as error:
            if isinstance(error, ConnectionError):
                raise  # the other steps would only wait for it as long
            shown, right = f"{type(error).__name__}: {error}", False
        self._steps += 1
        self._round_trips += self._sent
        self.wrong += not right

        line = f"{step.name} = {self._run}({step.line})" if step.name else f"{self._run}({step.line})"
        yield from self._say("")
        if step.under is not None:
            yield from self._say(f"{self._with} redis.hold(lock):", "python")
        yield from self._say(line, "python", indent="" if step.under is None else "    ")
        for command in self._commands(step):
            comment = command.startswith("#")  # a script's name, before its call
            yield from self._say(command, "quiet" if comment else "command", indent="    " if comment else "  > ")
        yield from self._say(shown, indent="    ")
        trips = _count(self._sent, "round trip")
        if right:
            yield from self._say(f"ok, {trips}", "right", indent="    ")
        else:
            yield from self._say(f"WRONG, {trips}: that is not what it should be", "wrong", indent="    ")

    def _commands(self, step: Step[Any]) -> Iterable[str]:
        if isinstance(step.does, Plan) and step.under is None:
            return _SHA.sub(r"\1...", step.does.explain()).splitlines()
        # Which plans a flow runs shows while it runs, and then by the names of their commands.
        return [f"{command} {subject.keys}" for subject in self._seen for command in subject.commands]

    def _say(self, text: str, color: str = "", indent: str = "") -> Steps[None]:
        # By way of the driver, as a flow does no I/O.
        yield from Call(self._show, painted(fit(text, indent), color if self._colored else ""))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _name_of_server() -> Steps[str]:
    info = Plan("tour.info", (Command(("INFO", "server")),), lambda answers: replies.text(answers[0]), Effect.READS)
    try:
        fields = dict(line.split(":", 1) for line in (yield from info).splitlines() if ":" in line)
    except CommandFailed as error:
        if error.plan != info.name:  # a password that was refused, say, is not about this command
            raise
        return "an unknown server"  # INFO is not for everybody; the tour can do without it
    if "valkey_version" in fields:
        return f"Valkey {fields['valkey_version']}"
    return f"Redis {fields.get('redis_version', 'of an unknown version')}"


def _keys(sections: Sequence[Section]) -> list[str]:
    """Give every key that the tour may write: exactly these are deleted, nobody's server is searched for them."""
    keys: set[str] = set()
    for step in (step for section in sections for step in section.steps):
        keys.update(step.keys)
        if step.under is not None:
            keys.add(step.under.key)
        if isinstance(step.does, Plan):
            keys.update(str(key) for command in step.does.commands for key in keys_of(command))
    return sorted(keys)


def _delete(keys: Sequence[str]) -> Plan[None]:
    # A command for each, as they may live on different nodes.
    return Plan("tour.clean_up", tuple(Command(("DEL", key)) for key in keys), lambda _: None, Effect.IDEMPOTENT)
