"""A Redis in memory for unit tests: the real plans and scripts, no socket, and a clock that the test owns.

    from redis_patterns.testing.memory import Server

    server = Server()
    with server.sync() as redis:
        assert redis.run(limiter.hit("alice"))
        server.clock.advance(60)  # keys expire, scripts' TIME moves

It is fakeredis with its Lua (extra ``testing``), run in this process. What it does differently from a real Redis is
listed in the documentation, and looked for by the project's own tests.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

import anyio
import anyio.lowlevel
import fakeredis
import redis

from redis_patterns._redis_py import error_reply
from redis_patterns._transport import Sent
from redis_patterns._wire import packed
from redis_patterns.testing._fakeredis import Socket, of_ours
from redis_patterns_core.errors import CommandFailed, ConfigurationError, DriverClosed
from redis_patterns_core.periods import moment
from redis_patterns_core.plan import Command, Plan
from redis_patterns_core.replies import ErrorReply, Reply
from redis_patterns_core.retry import Incomplete

if TYPE_CHECKING:
    import redis_patterns.asyncio
    import redis_patterns.sync
    import redis_patterns.trio

__all__ = ["Clock", "Server"]

T = TypeVar("T")

_EPOCH = datetime.fromtimestamp(1_700_000_000, UTC)
_MOMENT = 0.005
_KEYS: Plan[list[bytes]] = Plan("keys", (Command(("KEYS", "*")),), lambda replies: cast("list[bytes]", replies[0]))


class Clock:
    """Time that only the test moves; called, it gives monotonic seconds, from 0 on.

    Parameters:
        start: when it begins, with a time zone; in November 2023, each time the same, where that is not given.

    Raises:
        ConfigurationError: a start that is no datetime with a time zone.
    """

    def __init__(self, start: datetime = _EPOCH) -> None:
        self._start = moment("start", start).timestamp()
        self._now = 0.0
        self._due: list[tuple[float, int, anyio.Event]] = []
        self._numbers = itertools.count()

    def __call__(self) -> float:
        """Give the seconds since the clock was made."""
        return self._now

    def time(self) -> float:
        """Give the seconds since the epoch, as the server's TIME does."""
        return self._start + self._now

    def now(self) -> datetime:
        """Give the same as a datetime in UTC: a ``clock`` for what counts by days and other periods."""
        return datetime.fromtimestamp(self.time(), UTC)

    def advance(self, seconds: float) -> None:
        """Put the clock forward, and wake who sleeps until then.

        Parameters:
            seconds: 0 or more.

        Raises:
            ConfigurationError: less than 0, or no number.
        """
        if not seconds >= 0:
            raise ConfigurationError(f"seconds must be 0 or more, not {seconds!r}")
        self._now += seconds
        while self._due and self._due[0][0] <= self._now:
            heapq.heappop(self._due)[2].set()

    async def elapse(self, seconds: float) -> None:
        """Let time pass in an async test: moment by moment, with everybody who sleeps waking in between.

        Parameters:
            seconds: 0 or more.
        """
        ends_at = self._now + seconds
        await _settle()
        while self._due and self._due[0][0] <= ends_at:
            self.advance(max(0.0, self._due[0][0] - self._now))
            await _settle()
        self.advance(ends_at - self._now)
        await _settle()

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been put forward that far."""
        if seconds <= 0:
            await anyio.lowlevel.checkpoint()
            return
        await self.alarm(self._now + seconds).wait()

    def alarm(self, at: float) -> anyio.Event:
        """Give an event that is set when the clock reaches a time."""
        event = anyio.Event()
        heapq.heappush(self._due, (at, next(self._numbers), event))
        return event


async def _settle() -> None:
    # Enough for a woken flow to run a plan and to go to sleep again.
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


class Server:
    """A Redis in memory.

    Parameters:
        clock: its time; one of its own where none is given.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock: Clock = clock or Clock()
        self.skew: float = 0.0
        """Seconds by which the server's own clock is ahead of `clock`."""
        self.commands: int = 0
        """How many commands it has executed."""
        self._history: list[tuple[float, Sequence[Command]]] | None = None
        self._connect()

    def _connect(self) -> None:
        self._lock = threading.RLock()
        self._fake = fakeredis.FakeServer(version=(7, 0))
        self._socket = Socket(self._fake, 0, client_class=redis.Redis)
        self._known: set[str] = set()
        self._chance = random.Random(0)
        self._changed: list[anyio.Event] = []

    def time(self) -> float:
        """Give the seconds since the epoch, by the server's own clock."""
        return self.clock.time() + self.skew

    def execute(self, commands: Sequence[Command], *, waits: bool = False) -> tuple[list[Reply], bool]:
        """Execute commands.

        Parameters:
            commands: which, in their order.
            waits: stop at the first one that would block on a real server; without it, all go as if its time was up.

        Returns:
            One reply for each that was executed, errors included, and whether it stopped at the last of them.
        """
        answers: list[Reply] = []
        with self._lock, of_ours(self.time, self._chance):
            blocked = self._socket.would_block = False
            for command in commands:
                self._socket.sendall(packed(command, self._known))
                answer = self._socket.next_response()
                answers.append(error_reply(answer) if isinstance(answer, Exception) else answer)
                blocked = waits and self._socket.would_block
                if blocked:
                    break
            self.commands += len(answers)
            if self._history is not None:
                self._history.append((self.time(), commands[: len(answers)]))
        if any(type(answer) is ErrorReply and answer.code == "NOSCRIPT" for answer in answers):
            self._known.clear()
        changed, self._changed = self._changed, []
        for event in changed:
            event.set()
        return answers, blocked

    def flush_scripts(self) -> None:
        """Forget all scripts, as SCRIPT FLUSH and a restart do."""
        self._fake.script_cache.clear()

    def replicate(self) -> None:
        """Remember from now on what is executed, so that `fail_over` is possible."""
        self._history = []

    def fail_over(self, lag: int) -> None:
        """Go on as a replica that had not got the last writes yet.

        Parameters:
            lag: how many of the last calls of `execute` are lost.

        Raises:
            RuntimeError: without `replicate` before.
        """
        if self._history is None:
            raise RuntimeError("replicate must be called before anything is executed that a replica should have")
        copied = self._history[: len(self._history) - lag]
        self._history, before = None, self.skew
        self._connect()
        for at, commands in copied:
            self.skew = at - self.clock.time()
            self.execute(commands)
        self.skew, self._history = before, copied
        self._known.clear()
        self.flush_scripts()

    def run(self, plan: Plan[T]) -> T:
        """Run a plan on the side, without a driver and without any trouble.

        Raises:
            CommandFailed: the server refuses it.
        """
        answers, _ = self.execute(plan.commands)
        for answer in answers:
            if isinstance(answer, ErrorReply):
                if answer.code == "NOSCRIPT":
                    return self.run(plan)  # forgotten now, so the source goes along
                raise CommandFailed(plan.name, answer.code, answer.message)
        return plan.parse(answers)

    def keys(self) -> list[str]:
        """Give the keys that there are."""
        return sorted(key.decode(errors="replace") for key in self.run(_KEYS))

    def expiries(self) -> list[float]:
        """Give the times at which keys will expire, in seconds of `clock`, in order."""
        database: Any = self._fake.dbs[0]
        with of_ours(self.time, self._chance):
            times: list[float | None] = [database[key].expireat for key in list(database)]
        start = self.clock.time() - self.clock()
        return sorted(at - self.skew - start for at in times if at is not None and at >= self.time())

    # Drivers

    def sync(self, **options: Any) -> redis_patterns.sync.Driver:
        """Give a sync driver on this server; its sleeps put the clock forward instead of waiting.

        Parameters:
            options: ``retry_for``, ``on_background_error``, ``instrument``, as for `redis_patterns.sync.Driver`.
        """
        from redis_patterns.sync import Driver  # noqa: PLC0415  who uses another driver does not import this one

        return Driver.over(_AtOnce(self), clock=self.clock, sleep=self.clock.advance, **options)

    def asyncio(self, **options: Any) -> redis_patterns.asyncio.Driver:
        """Give an asyncio driver on this server; its sleeps wait for the test to put the clock forward.

        Parameters:
            options: as for `sync`.
        """
        from redis_patterns.asyncio import Driver  # noqa: PLC0415  see sync

        return Driver.over(_Waiting(self), clock=self.clock, sleep=self.clock.sleep, **options)

    def trio(self, **options: Any) -> redis_patterns.trio.Driver:
        """Give a trio driver on this server; its sleeps wait for the test to put the clock forward.

        Parameters:
            options: as for `sync`.
        """
        from redis_patterns.trio import Driver  # noqa: PLC0415  see sync

        return Driver.over(_Waiting(self), clock=self.clock, sleep=self.clock.sleep, **options)

    async def changed_or(self, at: float) -> None:
        """Wait until something was executed, or the clock has reached a time."""
        event = self.clock.alarm(at)
        self._changed.append(event)
        await event.wait()


class _AtOnce:
    """The transport of a sync driver: a plan that would block lets the time pass that it would take."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._closed = False

    def ask(
        self, commands: Sequence[Command], blocks_for: float | None, within: float | None = None
    ) -> Sequence[Reply]:
        """Execute commands."""
        if self._closed:
            raise DriverClosed("the driver is closed")
        answers, blocked = self._server.execute(commands, waits=blocks_for is not None)
        if not blocked or blocks_for is None:
            return _checked(answers)
        if threading.current_thread().name.startswith("redis-patterns-"):
            # A thread of the driver's own must not move the test's time: it waits a moment of everybody's, and is told
            # that there was nothing, which it may be told at any time.
            time.sleep(_MOMENT)
            return _checked(answers[:-1] + self._server.execute(commands[len(answers) - 1 :])[0])
        waits = blocks_for or math.inf
        if within is None and waits == math.inf:
            raise RuntimeError("this plan would block for ever: nobody else can push what it waits for")
        if within is not None and within < waits:
            self._server.clock.advance(within)
            raise Incomplete("timed out", sent=True)
        self._server.clock.advance(waits)
        return _checked(answers + self._server.execute(commands[len(answers) :])[0])

    def close(self) -> None:
        """Take no more."""
        self._closed = True

    def forget(self) -> None:
        """Do nothing: after a fork parent and child have a server each."""


class _Waiting:
    """The transport of an async driver: a plan that would block waits for others, or for the clock."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._closed = False

    async def ask(
        self, commands: Sequence[Command], blocks_for: float | None, trace: list[Sent] | None = None
    ) -> Sequence[Reply]:
        """Execute commands."""
        if self._closed:
            raise DriverClosed("the driver is closed")
        attempt = Incomplete()
        if trace is not None:
            trace.append(attempt)
        await anyio.lowlevel.checkpoint()
        clock = self._server.clock
        ends_at = clock() + blocks_for if blocks_for else math.inf
        attempt.sent = True
        answers: list[Reply] = []
        while True:
            patient = blocks_for is not None and clock() < ends_at
            further, blocked = self._server.execute(commands[len(answers) :], waits=patient)
            answers += further
            if not blocked:
                return _checked(answers)
            answers.pop()
            await self._server.changed_or(ends_at)

    async def close(self, grace: float) -> None:
        """Take no more."""
        del grace  # nothing is ever under way
        self._closed = True


def _checked(answers: Sequence[Reply]) -> Sequence[Reply]:
    if any(type(answer) is ErrorReply for answer in answers):
        raise Incomplete(answers=answers)
    return answers
