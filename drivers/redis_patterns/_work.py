"""Work on a queue of jobs in asyncio and trio: tasks that do jobs, one that asks for them, one that keeps leases."""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import anyio
import anyio.abc

from redis_patterns_core.errors import CommandFailed, OutcomeUnknown, PatternsError, Unreachable
from redis_patterns_core.job_records import Job
from redis_patterns_core.workers import SLICE, Worker

__all__ = ["AsyncWork"]

T = TypeVar("T")

_TROUBLE = (Unreachable, OutcomeUnknown, CommandFailed)
_LOOK_EVERY = 0.1
"""Seconds between questions whether to stop."""
_FAREWELL = 5.0
"""Seconds for telling what became of jobs when the work was cancelled."""


class AsyncWork(Generic[T]):
    """Does jobs until it is told to stop.

    Parameters:
        run: runs a plan.
        worker: what there is to tell and to ask.
        handler: does one job.
        clock: monotonic, in seconds.
        timeout: seconds that a handler may take; ``None`` for as long as it takes.
        grace: seconds that handlers may take when the work stops, before they are cancelled.
        until: asked whether to stop.
    """

    def __init__(
        self,
        run: Callable[[Any], Awaitable[Any]],
        worker: Worker[T],
        handler: Callable[[Job[T]], Awaitable[Any]],
        *,
        clock: Callable[[], float],
        timeout: float | None,
        grace: float,
        until: Callable[[], bool],
    ) -> None:
        self._run = run
        self._worker = worker
        self._handler = handler
        self._clock = clock
        self._timeout = timeout
        self._grace = grace
        self._until = until
        self._scopes: dict[tuple[str, str], anyio.CancelScope] = {}
        self._changed = anyio.Event()
        self._hungry = True
        self._listening = False
        self._stopping = False
        self._next_at = math.inf

    async def serve(self) -> None:
        """Work; returns when it was told to stop and every job is settled."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._keep)
                tasks.start_soon(self._watch)
                await self._turn(tasks)
                tasks.cancel_scope.cancel()
        finally:
            # Cancelled or not: what became of jobs is told, and a wake-up that came for this worker goes to another.
            with anyio.move_on_after(_FAREWELL, shield=True):
                await self._say_farewell()

    async def _turn(self, tasks: anyio.abc.TaskGroup) -> None:
        pause = 0.05
        while not (self._stopping and not self._worker.busy):
            self._changed = anyio.Event()
            ask = self._hungry and not self._stopping
            plan = self._worker.exchange(ask=ask)
            if plan is None:
                await self._wait(tasks)
                continue
            asked_at, wanted = self._clock(), self._worker.room
            try:
                got = await self._run(plan)
            except _TROUBLE:
                await anyio.sleep(pause * (0.5 + random.random() / 2))
                pause = min(2.0, 2 * pause)
                continue
            pause = 0.05
            begin = self._worker.exchanged(got, asked_at=asked_at, now=self._clock())
            taken = got.taken
            if taken is not None:
                self._hungry = len(begin) + len(taken.unreadable) >= wanted > 0
                # Not all at the same moment who wait for the same.
                wait = math.inf if taken.next_in is None else taken.next_in + random.random() / 500
                self._next_at = self._clock() + wait
            for job in begin:
                tasks.start_soon(self._handle, job)

    async def _wait(self, tasks: anyio.abc.TaskGroup) -> None:
        """Wait until a handler has ended, somebody says that there is work, or something is due."""
        open_for_more = self._worker.room > 0 and not self._stopping
        if open_for_more and not self._listening:
            self._listening = True
            tasks.start_soon(self._listen)
        wait = max(0.0, self._next_at - self._clock()) if open_for_more else math.inf
        with anyio.move_on_after(None if wait == math.inf else wait) as waiting:
            await self._changed.wait()
        if waiting.cancelled_caught:
            self._hungry, self._next_at = True, math.inf

    async def _listen(self) -> None:
        woken = False
        try:
            woken = await self._run(self._worker.jobs.wait_for_work(SLICE * (0.8 + 0.4 * random.random())))
        except _TROUBLE:
            await anyio.sleep(0.2 * random.random())
        if woken and self._worker.room <= 0:
            await self._pass_on()
        self._listening = False
        self._hungry = True
        self._changed.set()

    async def _pass_on(self) -> None:
        try:
            await self._run(self._worker.jobs.wake())
        except _TROUBLE:
            return  # who waits looks by itself before long

    async def _handle(self, job: Job[T]) -> None:
        key = (job.id, job.token)
        scope = self._scopes[key] = anyio.CancelScope()
        try:
            with scope, anyio.move_on_after(self._timeout) as deadline:
                result = await self._handler(job)
                self._worker.done(job, result, self._clock())
            if deadline.cancelled_caught:
                error = TimeoutError(f"not over within {self._timeout:g} s")
                self._worker.failed(job, error, self._clock(), timed_out=True)
        except Exception as error:  # noqa: BLE001  whatever it is, it is the job's
            self._worker.failed(job, error, self._clock())
        finally:
            # Cancelled: by the end of the work; what was lost is nobody's to give back.
            self._worker.released(job, self._clock())
            del self._scopes[key]
            self._changed.set()

    def _end(self, jobs: list[Job[T]]) -> None:
        for job in jobs:
            scope = self._scopes.get((job.id, job.token))
            if scope is not None:
                scope.cancel()

    async def _keep(self) -> None:
        """Prolong the leases, again and again."""
        pause = self._worker.jobs.lease_seconds / 3
        while True:
            asked_at, running = self._clock(), self._worker.running
            try:
                holdings = await self._run(self._worker.beat())
            except PatternsError:
                self._end(self._worker.overdue(self._clock()))
                await anyio.sleep(pause / 10)
                continue
            self._end(self._worker.beaten(running, holdings, asked_at=asked_at))
            self._changed.set()
            await anyio.sleep(pause * (0.9 + random.random() / 10))

    async def _watch(self) -> None:
        while not self._until():  # noqa: ASYNC110  a function of the caller's, which tells nobody
            await anyio.sleep(_LOOK_EVERY)
        self._stopping = True
        self._changed.set()
        await anyio.sleep(self._grace)
        self._end(self._worker.running)

    async def _say_farewell(self) -> None:
        while (plan := self._worker.exchange(ask=False)) is not None:
            try:
                got = await self._run(plan)
            except _TROUBLE:
                return  # their leases end by themselves
            self._worker.exchanged(got, asked_at=0.0, now=0.0)
        if self._listening:
            await self._pass_on()
