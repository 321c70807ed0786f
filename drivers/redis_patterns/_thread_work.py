"""Work on queues of jobs in threads: those that do jobs, those that wait for them, one that keeps their leases."""

from __future__ import annotations

import contextlib
import queue
import random
import threading
import time
from collections.abc import Callable
from typing import Any

from redis_patterns_core.errors import CommandFailed, OutcomeUnknown, PatternsError, Unreachable
from redis_patterns_core.lines import Assignment, Line, Listening
from redis_patterns_core.workers import Worker

__all__ = ["ThreadWork"]

_TROUBLE = (Unreachable, OutcomeUnknown, CommandFailed)
_LOOK_EVERY = 0.1
"""Seconds between questions whether to stop."""
_LISTEN = 1.0
"""Seconds for which a thread that waits cannot be stopped."""


class ThreadWork:
    """Does jobs until it is told to stop.

    A handler that takes longer than it may counts as failed, and its thread ends with it, as another has taken its
    place.

    Parameters:
        run: runs a plan.
        worker: what there is to tell and to ask; guarded by a lock of this class.
        clock: monotonic, in seconds.
        grace: seconds that handlers may take when the work stops, before their jobs are given back.
        until: asked whether to stop.

    Raises:
        ConfigurationError: a handler, or middleware, that is a coroutine function.
    """

    def __init__(
        self,
        run: Callable[[Any], Any],
        worker: Worker,
        *,
        clock: Callable[[], float],
        grace: float,
        until: Callable[[], bool],
    ) -> None:
        self._run = run
        self._worker = worker
        self._calls = {line: line.work.call(awaited=False) for line in worker.lines}
        self._clock = clock
        self._grace = grace
        self._until = until
        self._changed = threading.Condition()
        self._inbox: queue.SimpleQueue[Assignment | None] = queue.SimpleQueue()
        self._waits: dict[Line, queue.SimpleQueue[Listening | None]] = {
            line: queue.SimpleQueue() for line in worker.lines
        }
        self._late: set[Assignment] = set()
        self._stopping = False
        self._over = threading.Event()
        timeouts = [line.work.seconds for line in worker.lines]
        self._beats_every = min([worker.beats_every, *[seconds for seconds in timeouts if seconds is not None]])

    def serve(self) -> None:
        """Work; returns when it was told to stop and every job is settled."""
        threads = [threading.Thread(target=self._keep, name="redis-patterns-leases", daemon=True)]
        for line, waits in self._waits.items():
            name = f"redis-patterns-listener {line.jobs.name}"
            threads.append(threading.Thread(target=self._listen, args=(waits,), name=name, daemon=True))
        for thread in threads:
            thread.start()
        for _ in range(self._worker.concurrency):
            self._start_one()
        try:
            self._turn()
        finally:
            # Interrupted or not: what became of jobs is told; what is still worked on is given back.
            with self._changed:
                self._give_back(self._worker.open)
            self._over.set()
            for waits in self._waits.values():
                waits.put(None)
            for _ in range(self._worker.concurrency):
                self._inbox.put(None)
            self._say_farewell()
            for thread in threads:
                thread.join(2 * _LISTEN)
            # What came with a wake-up for a worker that had stopped.
            self._recall()
            self._say_farewell()

    def _turn(self) -> None:
        pause, ends_at = 0.05, 0.0
        while True:
            if not self._stopping and self._until():
                self._stopping, ends_at = True, self._clock() + self._grace
            with self._changed:
                if self._stopping and (not self._worker.busy or self._clock() >= ends_at):
                    return
                asked_at = self._clock()
                exchange = self._worker.exchange(asked_at, ask=not self._stopping)
                if exchange is None:
                    self._wait()
                    continue
            try:
                got = self._run(exchange.plan)
            except _TROUBLE as error:
                self._tell_of(error)
                time.sleep(pause * (0.5 + random.random() / 2))
                pause = min(2.0, 2 * pause)
                continue
            pause = 0.05
            with self._changed:
                begin = self._worker.exchanged(exchange, got, asked_at=asked_at, now=self._clock())
            for assignment in begin:
                self._inbox.put(assignment)

    def _tell_of(self, error: PatternsError) -> None:
        with self._changed:
            self._worker.trouble(error, self._clock())

    def _wait(self) -> None:
        """Wait until a handler has ended, somebody says that there is work, or something is due; or a moment."""
        seconds = _LOOK_EVERY
        if not self._stopping:
            now = self._clock()
            for listening in self._worker.listen(now, most=_LISTEN):
                self._waits[listening.line].put(listening)
            seconds = min(seconds, self._worker.waits_for(now))
        self._changed.wait(seconds)

    def _listen(self, waits: queue.SimpleQueue[Listening | None]) -> None:
        while (listening := waits.get()) is not None:
            asked_at = self._clock()
            try:
                got = self._run(listening.plan)
            except _TROUBLE as error:
                self._tell_of(error)
                time.sleep(0.2 * random.random())
                with self._changed:
                    self._worker.unheard(listening)
                    self._changed.notify_all()
                continue
            except PatternsError:
                return  # the driver is closed
            with self._changed:
                pass_on = got and (self._stopping or (not listening.wanted and self._worker.room <= 0))
                begin = self._worker.heard(listening, got, asked_at=asked_at, now=self._clock())
                if self._stopping:
                    begin = self._give_back(begin)
                self._changed.notify_all()
            for assignment in begin:
                self._inbox.put(assignment)
            if pass_on:
                self._tell_another(listening.line)

    def _tell_another(self, line: Line) -> None:
        try:
            self._run(line.jobs.wake())
        except PatternsError:
            return  # who waits looks by itself before long

    def _give_back(self, assignments: list[Assignment]) -> list[Assignment]:
        for assignment in assignments:
            self._worker.released(assignment, self._clock())
        return []

    def _start_one(self) -> None:
        threading.Thread(target=self._serve_jobs, name="redis-patterns-work", daemon=True).start()

    def _serve_jobs(self) -> None:
        while (assignment := self._inbox.get()) is not None:
            try:
                result = self._calls[assignment.line](assignment.given)
            except BaseException as error:  # noqa: BLE001  whatever it is, SystemExit included, it is the jobs'
                with self._changed:
                    self._worker.failed(assignment, error, self._clock())
                    self._changed.notify_all()
            else:
                with self._changed:
                    self._worker.done(assignment, result, self._clock())
                    self._changed.notify_all()
            with self._changed:
                if assignment in self._late:
                    self._late.discard(assignment)
                    return

    def _keep(self) -> None:
        """Prolong the leases, again and again; not of those whose handlers take too long."""
        while not self._over.is_set():
            with self._changed:
                self._give_up_late_ones()
                asked_at = self._clock()
                plan, asked = self._worker.beat()
            try:
                got = self._run(plan)
            except PatternsError as error:
                self._tell_of(error)
                with self._changed:
                    self._worker.overdue(self._clock())
                self._over.wait(self._beats_every / 10)
                continue
            with self._changed:
                self._worker.beaten(asked, got, asked_at=asked_at)
                self._changed.notify_all()
            self._over.wait(self._beats_every * (0.9 + random.random() / 10))

    def _give_up_late_ones(self) -> None:
        now = self._clock()
        for assignment in self._worker.late(now):
            error = TimeoutError(f"not over within {assignment.line.work.seconds:g} s")
            self._worker.failed(assignment, error, now, timed_out=True)
            self._late.add(assignment)
            self._start_one()

    def _recall(self) -> None:
        for line in self._worker.lines:
            exchange = self._worker.recall(line)
            if exchange is not None:
                with contextlib.suppress(PatternsError):
                    got = self._run(exchange.plan)
                    self._give_back(self._worker.exchanged(exchange, got, asked_at=0.0, now=0.0))

    def _say_farewell(self) -> None:
        while True:
            with self._changed:
                exchange = self._worker.exchange(0.0, ask=False)
            if exchange is None:
                return
            try:
                got = self._run(exchange.plan)
            except PatternsError as error:
                self._tell_of(error)
                return  # their leases end by themselves
            with self._changed:
                self._worker.exchanged(exchange, got, asked_at=0.0, now=0.0)
