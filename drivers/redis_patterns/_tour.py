"""The tour: each pattern at work on a real server, line by line, with the commands it became and what they cost.

The lines that are shown are the lines that are run. A further pattern is one more `Section`.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import textwrap
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, TextIO

import redis_patterns
from redis_patterns_core.cluster import keys_of
from redis_patterns_core.errors import PatternsError
from redis_patterns_core.flow import Flow
from redis_patterns_core.plan import Command, Effect, Plan, batch
from redis_patterns_core.tracing import Outcome, Subject

_WIDTH = 80
_SHA = re.compile(r"\b[0-9a-f]{40}\b")
_BOLD, _DIM, _GREEN, _RED, _CYAN, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[31m", "\x1b[36m", "\x1b[0m"


class Redis(Protocol):
    """What the tour needs of a driver; the sync one is wrapped to look like this."""

    async def run(self, step: Plan[Any] | Flow[Any], /) -> Any: ...
    def hold(self, lock: Any, /) -> AbstractAsyncContextManager[Any]: ...


@dataclass(frozen=True)
class Line:
    """One line of Python and what should come of it.

    Parameters:
        source: gives a plan or a flow, or a lock where `inside` is given.
        expected: tells whether a result is what it should be.
        inside: lines to run while the lock is held.
        save_as: the name under which later lines find the result.
    """

    source: str
    expected: Callable[[Any], bool]
    inside: tuple[Line, ...] = ()
    save_as: str = ""


@dataclass(frozen=True)
class Section:
    """A pattern: what it is made with, and what it then does."""

    title: str
    made: str
    lines: tuple[Line, ...]


def _is(value: object) -> Callable[[Any], bool]:
    return lambda result: bool(result == value)


SECTIONS = (
    Section(
        "Leaderboards: scores and ranks",
        'weekly = Leaderboard("weekly", namespace=tour)',
        (
            Line('batch(weekly.add("ann", 30), weekly.add("bob", 0))', _is((None, None))),
            Line('weekly.increment("bob", 12.5)', _is(12.5)),
            Line("weekly.top(2)", lambda top: [entry.member for entry in top] == ["ann", "bob"]),
            Line('batch(weekly.rank("bob"), weekly.rank("nobody"))', _is((2, None))),
            Line('weekly.around("bob", 3)', lambda rows: [entry.rank for entry in rows] == [1, 2]),
        ),
    ),
    Section(
        "Rate limits: a token bucket",
        'api = TokenBucket("api", capacity=2, refill_rate=0.5, namespace=tour)',
        (
            Line('api.hit("alice", cost=2)', lambda decision: decision.allowed and decision.remaining == 0),
            Line('api.hit("alice")', lambda decision: not decision.allowed and 1 < decision.retry_after <= 2),
            Line('api.peek("bob")', lambda decision: decision.remaining == 2),
        ),
    ),
    Section(
        "Locks: one holder at a time",
        'order = Lock("order:123", ttl=10, namespace=tour)',
        (
            Line("order.acquire()", lambda lease: lease is not None, save_as="lease"),
            Line("order.acquire()", _is(None)),
            Line("order.extend(lease, ttl=30)", _is(value=True)),
            Line("batch(order.release(lease), order.release(lease))", _is((True, False))),
            Line("order", lambda held: not held.lost, inside=(Line("order.wait_for(0)", _is(None)),)),
        ),
    ),
    Section(
        "Everything is a value: one round trip for three patterns",
        "both = batch(weekly.count(), api.peek('bob'), order.acquire())",
        (Line("both", lambda results: results[0] == 2 and results[2] is not None),),
    ),
)


class Counter:
    """An instrument that counts round trips."""

    def __init__(self) -> None:
        self.round_trips = 0

    def begin(self, subject: Subject) -> Callable[[Outcome], None]:
        """Note that something is about to run."""
        del subject  # whatever it is, its round trips count

        def ended(outcome: Outcome) -> None:
            self.round_trips += outcome.round_trips

        return ended


@dataclass
class Tour:
    """Runs the sections on a driver and shows them.

    Parameters:
        redis: the driver.
        counter: the driver's instrument.
        out: where to write.
        color: whether to use a terminal's colours.
        asynchronous: whether the driver's methods are awaited.
        sections: what to show.
    """

    redis: Redis
    counter: Counter
    out: TextIO
    color: bool
    asynchronous: bool
    sections: tuple[Section, ...] = SECTIONS
    steps: int = 0
    failures: int = 0
    _touched: set[str | bytes] = field(default_factory=set[str | bytes])

    async def run(self) -> None:
        """Run all sections, and delete what they have written."""
        names: dict[str, Any] = {name: getattr(redis_patterns, name) for name in redis_patterns.__all__}
        # On a server that others use too, nothing of theirs is touched, and nothing of ours stays.
        names["tour"] = f"tour-{secrets.token_hex(2)}"
        try:
            for section in self.sections:
                self._say(f"\n{section.title}", _BOLD)
                self._code(section.made)
                exec(section.made, names)  # noqa: S102  the lines above
                for line in section.lines:
                    await self._line(line, names)
        finally:
            if self._touched:
                deletions = (Command(("DEL", key)) for key in sorted(self._touched, key=str))
                plans = [Plan("tour.delete", (command,), lambda _: None, Effect.IDEMPOTENT) for command in deletions]
                await self.redis.run(batch(*plans))

    async def _line(self, line: Line, names: dict[str, Any]) -> None:
        before = self.counter.round_trips
        self.steps += 1
        value: Any = eval(line.source, names)  # noqa: S307  the lines above
        try:
            if line.inside:
                self._code(f"{'async ' * self.asynchronous}with redis.hold({line.source}) as held:")
                async with self._holding(value) as result:
                    for inner in line.inside:
                        self._code(f"    {'await ' * self.asynchronous}redis.run({inner.source})")
                        blocked = await self.redis.run(eval(inner.source, names))  # noqa: S307  the same
                        self._result(blocked, inner.expected(blocked))
            else:
                self._code(f"{'await ' * self.asynchronous}redis.run({line.source})")
                self._commands(value)
                result = await self.redis.run(value)
        except PatternsError as error:
            self._result(f"{type(error).__name__}: {error}", as_expected=False)
            return
        if line.save_as:
            names[line.save_as] = result
        self._result(result, line.expected(result), self.counter.round_trips - before)

    @contextlib.asynccontextmanager
    async def _holding(self, lock: Any) -> AsyncGenerator[Any, None]:
        self._touched.add(lock.key)
        async with self.redis.hold(lock) as held:
            yield held

    # Showing

    def _commands(self, step: Any) -> None:
        if not isinstance(step, Plan):
            return
        for command in step.commands:
            self._touched.update(key for key in keys_of(command) if isinstance(key, str | bytes))
        for text in step.explain().splitlines():
            self._say(self._cut(f"      {_SHA.sub(lambda sha: sha[0][:7] + '...', text)}"), _DIM)

    def _code(self, source: str) -> None:
        self._say(self._cut(f"  >>> {source}"), _CYAN)

    def _result(self, result: object, as_expected: bool, round_trips: int | None = None) -> None:
        cost = "" if round_trips is None else f"  ({round_trips} round trip{'' if round_trips == 1 else 's'})"
        mark = "ok" if as_expected else "NOT AS IT SHOULD BE"
        self.failures += not as_expected
        shown = textwrap.wrap(repr(result) if not isinstance(result, str) else result, _WIDTH - 6)
        for text in shown:
            self._say(f"      {text}", _BOLD)
        self._say(f"      {mark}{cost}", _GREEN if as_expected else _RED)

    def _say(self, text: str, style: str = "") -> None:
        print(f"{style}{text}{_PLAIN}" if self.color and style else text, file=self.out)

    @staticmethod
    def _cut(text: str) -> str:
        return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."
