"""Work on queues of jobs in asyncio and trio: tasks that do jobs, one that asks for them, one that keeps leases."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.abc

from redis_patterns_core.errors import CommandFailed, OutcomeUnknown, PatternsError, Unreachable
from redis_patterns_core.lines import Assignment, Line, Listening
from redis_patterns_core.workers import Worker

__all__ = ["AsyncWork"]

_TROUBLE = (Unreachable, OutcomeUnknown, CommandFailed)
_LOOK_EVERY = 0.1
"""Seconds between questions whether to stop."""
_FAREWELL = 5.0
"""Seconds for telling what became of jobs when the work was cancelled."""


class AsyncWork:
    """Does jobs until it is told to stop.

    Parameters:
        run: runs a plan.
        call: calls a handler.
        worker: what there is to tell and to ask.
        clock: monotonic, in seconds.
        grace: seconds that handlers may take when the work stops, before they are cancelled.
        until: asked whether to stop.

    Raises:
        ConfigurationError: a handler, or middleware, that is no coroutine function.
    """

    def __init__(
        self,
        run: Callable[[Any], Awaitable[Any]],
        call: Callable[..., Awaitable[Any]],
        worker: Worker,
        *,
        clock: Callable[[], float],
        grace: float,
        until: Callable[[], bool],
    ) -> None:
        self._run = run
        self._call = call
        self._worker = worker
        self._calls = {line: line.work.call(awaited=True) for line in worker.lines}
        self._clock = clock
        self._grace = grace
        self._until = until
        self._scopes: dict[Assignment, anyio.CancelScope] = {}
        self._changed = anyio.Event()
        self._stopping = False

    async def serve(self) -> None:
        """Work; returns when it was told to stop and every job is settled."""
        failed: Exception | None = None
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._keep)
                tasks.start_soon(self._watch)
                await self._turn(tasks)
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            # Such as what `until` raised: the caller knows nothing of tasks.
            failed = next((error for error in group.exceptions if isinstance(error, Exception)), None)
            if failed is None:
                raise
        finally:
            # Cancelled or not: what became of jobs is told, and a wake-up that came for this worker goes to another.
            with anyio.move_on_after(_FAREWELL, shield=True):
                await self._say_farewell()
        if failed is not None:
            raise failed

    async def _turn(self, tasks: anyio.abc.TaskGroup) -> None:
        pause = 0.05
        while not (self._stopping and not self._worker.busy):
            self._changed = anyio.Event()
            asked_at = self._clock()
            exchange = self._worker.exchange(asked_at, ask=not self._stopping)
            if exchange is None:
                await self._wait(tasks)
                continue
            try:
                got = await self._run(exchange.plan)
            except _TROUBLE as error:
                self._worker.trouble(error, self._clock())
                await anyio.sleep(pause * (0.5 + random.random() / 2))
                pause = min(2.0, 2 * pause)
                continue
            pause = 0.05
            for assignment in self._worker.exchanged(exchange, got, asked_at=asked_at, now=self._clock()):
                tasks.start_soon(self._handle, assignment)

    async def _wait(self, tasks: anyio.abc.TaskGroup) -> None:
        """Wait until a handler has ended, somebody says that there is work, or something is due."""
        seconds = None
        if not self._stopping:
            now = self._clock()
            for listening in self._worker.listen(now):
                tasks.start_soon(self._listen, listening, tasks)
            seconds = self._worker.waits_for(now)
        with anyio.move_on_after(seconds):
            await self._changed.wait()

    async def _listen(self, listening: Listening, tasks: anyio.abc.TaskGroup) -> None:
        asked_at = self._clock()
        try:
            got = await self._run(listening.plan)
        except _TROUBLE as error:
            self._worker.trouble(error, self._clock())
            await anyio.sleep(0.2 * random.random())
            self._worker.unheard(listening)
            self._changed.set()
            return
        if got and (self._stopping or (not listening.wanted and self._worker.room <= 0)):
            await self._pass_on(listening.line)
        begin = self._worker.heard(listening, got, asked_at=asked_at, now=self._clock())
        self._changed.set()
        for assignment in begin:
            if self._stopping:
                self._worker.released(assignment, self._clock())
            else:
                tasks.start_soon(self._handle, assignment)

    async def _pass_on(self, line: Line) -> None:
        try:
            await self._run(line.jobs.wake())
        except _TROUBLE:
            return  # who waits looks by itself before long

    async def _handle(self, assignment: Assignment) -> None:
        line = assignment.line
        scope = self._scopes[assignment] = anyio.CancelScope()
        try:
            with scope, anyio.move_on_after(line.work.seconds) as deadline:
                result = await self._call(self._calls[line], assignment.given)
                self._worker.done(assignment, result, self._clock())
            if deadline.cancelled_caught:
                error = TimeoutError(f"not over within {line.work.seconds:g} s")
                self._worker.failed(assignment, error, self._clock(), timed_out=True)
        except Exception as error:  # noqa: BLE001  whatever it is, it is the jobs'
            self._worker.failed(assignment, error, self._clock())
        finally:
            # Cancelled: by the end of the work; what was lost is nobody's to give back.
            self._worker.released(assignment, self._clock())
            del self._scopes[assignment]
            self._changed.set()

    def _end(self, assignments: list[Assignment]) -> None:
        for assignment in assignments:
            if assignment in self._scopes:
                self._scopes[assignment].cancel()

    async def _keep(self) -> None:
        """Prolong the leases, again and again."""
        pause = self._worker.beats_every
        while True:
            asked_at = self._clock()
            plan, asked = self._worker.beat()
            try:
                got = await self._run(plan)
            except PatternsError as error:
                self._worker.trouble(error, self._clock())
                self._end(self._worker.overdue(self._clock()))
                await anyio.sleep(pause / 10)
                continue
            self._end(self._worker.beaten(asked, got, asked_at=asked_at))
            self._changed.set()
            await anyio.sleep(pause * (0.9 + random.random() / 10))

    async def _watch(self) -> None:
        while not self._until():  # noqa: ASYNC110  a function of the caller's, which tells nobody
            await anyio.sleep(_LOOK_EVERY)
        self._stopping = True
        self._changed.set()
        await anyio.sleep(self._grace)
        self._end(self._worker.open)

    async def _say_farewell(self) -> None:
        for line in self._worker.lines:
            await self._recall(line)
        while (exchange := self._worker.exchange(0.0, ask=False)) is not None:
            try:
                got = await self._run(exchange.plan)
            except _TROUBLE as error:
                self._worker.trouble(error, self._clock())
                return  # their leases end by themselves
            self._worker.exchanged(exchange, got, asked_at=0.0, now=0.0)
        for line in self._worker.lines:
            if line.listening:
                await self._pass_on(line)

    async def _recall(self, line: Line) -> None:
        exchange = self._worker.recall(line)
        if exchange is not None:
            with contextlib.suppress(*_TROUBLE):
                got = await self._run(exchange.plan)
                for assignment in self._worker.exchanged(exchange, got, asked_at=0.0, now=0.0):
                    self._worker.released(assignment, 0.0)
