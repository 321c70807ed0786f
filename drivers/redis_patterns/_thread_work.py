"""Work on a queue of jobs in threads: those that do jobs, one that waits for them, one that keeps their leases."""

from __future__ import annotations

import math
import queue
import random
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from redis_patterns_core.errors import CommandFailed, OutcomeUnknown, PatternsError, Unreachable
from redis_patterns_core.job_records import Job
from redis_patterns_core.workers import SLICE, Worker

__all__ = ["ThreadWork"]

T = TypeVar("T")

_TROUBLE = (Unreachable, OutcomeUnknown, CommandFailed)
_LOOK_EVERY = 0.1
"""Seconds between questions whether to stop."""
_LISTEN = 1.0
"""Seconds for which the thread that waits cannot be stopped."""


class ThreadWork(Generic[T]):
    """Does jobs until it is told to stop.

    Parameters:
        run: runs a plan.
        worker: what there is to tell and to ask; guarded by a lock of this class.
        handler: does one job.
        clock: monotonic, in seconds.
        timeout: seconds that a handler may take before its lease is not prolonged any more; ``None`` for as long as it
            takes.
        grace: seconds that handlers may take when the work stops, before their jobs are given back.
        until: asked whether to stop.
    """

    def __init__(
        self,
        run: Callable[[Any], Any],
        worker: Worker[T],
        handler: Callable[[Job[T]], Any],
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
        self._changed = threading.Condition()
        self._inbox: queue.SimpleQueue[Job[T] | None] = queue.SimpleQueue()
        self._began_at: dict[tuple[str, str], float] = {}
        self._left_alone: set[tuple[str, str]] = set()
        """Jobs that took too long: their threads end with them, as others have taken their places."""
        self._hungry = True
        self._listening = False
        self._stopping = False
        self._over = threading.Event()
        self._next_at = math.inf

    def serve(self) -> None:
        """Work; returns when it was told to stop and every job is settled."""
        threads = [threading.Thread(target=self._keep, name="redis-patterns-leases", daemon=True)]
        threads.append(threading.Thread(target=self._listen, name="redis-patterns-listener", daemon=True))
        for thread in threads:
            thread.start()
        for _ in range(self._worker.concurrency):
            self._start_one()
        try:
            self._turn()
        finally:
            # Interrupted or not: what became of jobs is told; what is still worked on is given back.
            with self._changed:
                for job in self._worker.running:
                    self._worker.released(job, self._clock())
            self._over.set()
            with self._changed:
                self._changed.notify_all()
            for _ in range(self._worker.concurrency):
                self._inbox.put(None)
            self._say_farewell()
            for thread in threads:
                thread.join(2 * _LISTEN)

    def _turn(self) -> None:
        pause, ends_at = 0.05, math.inf
        while True:
            if not self._stopping and self._until():
                self._stopping, ends_at = True, self._clock() + self._grace
            with self._changed:
                if self._stopping and (not self._worker.busy or self._clock() >= ends_at):
                    return
                plan = self._worker.exchange(ask=self._hungry and not self._stopping)
                if plan is None:
                    self._wait()
                    continue
                wanted = self._worker.room
            asked_at = self._clock()
            try:
                got = self._run(plan)
            except _TROUBLE:
                time.sleep(pause * (0.5 + random.random() / 2))
                pause = min(2.0, 2 * pause)
                continue
            pause = 0.05
            with self._changed:
                begin = self._worker.exchanged(got, asked_at=asked_at, now=self._clock())
                taken = got.taken
                if taken is not None:
                    self._hungry = len(begin) + len(taken.unreadable) >= wanted > 0
                    # Not all at the same moment who wait for the same.
                    wait = math.inf if taken.next_in is None else taken.next_in + random.random() / 500
                    self._next_at = self._clock() + wait
            for job in begin:
                self._inbox.put(job)

    def _wait(self) -> None:
        """Wait until a handler has ended, somebody says that there is work, or something is due; or a moment."""
        open_for_more = self._worker.room > 0 and not self._stopping
        if open_for_more and not self._listening:
            self._listening = True
            self._changed.notify_all()
        wait = max(0.0, self._next_at - self._clock()) if open_for_more else math.inf
        self._changed.wait(min(wait, _LOOK_EVERY))
        if open_for_more and self._clock() >= self._next_at:
            self._hungry, self._next_at = True, math.inf

    def _listen(self) -> None:
        while not self._over.is_set():
            with self._changed:
                while not self._listening and not self._over.is_set():
                    self._changed.wait()
            woken, looks_at = False, self._clock() + SLICE * (0.8 + 0.4 * random.random())
            # In shorter requests, as a thread that waits cannot be stopped.
            while not woken and not self._over.is_set() and self._clock() < looks_at:
                try:
                    woken = self._run(self._worker.jobs.wait_for_work(_LISTEN))
                except _TROUBLE:
                    time.sleep(0.2 * random.random())
                    break
                except PatternsError:
                    return  # the driver is closed
            with self._changed:
                pass_on = woken and (self._worker.room <= 0 or self._stopping)
                self._listening = False
                self._hungry = True
                self._changed.notify_all()
            if pass_on:
                self._tell_another()

    def _tell_another(self) -> None:
        try:
            self._run(self._worker.jobs.wake())
        except PatternsError:
            return  # who waits looks by itself before long

    def _start_one(self) -> None:
        threading.Thread(target=self._serve_jobs, name="redis-patterns-work", daemon=True).start()

    def _serve_jobs(self) -> None:
        while (job := self._inbox.get()) is not None:
            key = job.id, job.token
            self._began_at[key] = self._clock()
            try:
                result = self._handler(job)
            except Exception as error:  # noqa: BLE001  whatever it is, it is the job's
                with self._changed:
                    self._worker.failed(job, error, self._clock())
                    self._changed.notify_all()
            except BaseException:
                # Such as SystemExit: the job's handler wants the process to end; that is not for a thread to do.
                with self._changed:
                    self._worker.released(job, self._clock())
                    self._changed.notify_all()
                raise
            else:
                with self._changed:
                    self._worker.done(job, result, self._clock())
                    self._changed.notify_all()
            finally:
                self._began_at.pop(key, None)
            if key in self._left_alone:
                self._left_alone.discard(key)
                return

    def _keep(self) -> None:
        """Prolong the leases, again and again; not of those whose handlers take too long."""
        pause = self._worker.jobs.lease_seconds / 3
        while not self._over.is_set():
            with self._changed:
                self._give_up_late_ones()
                asked_at, running, plan = self._clock(), self._worker.running, self._worker.beat()
            try:
                holdings = self._run(plan)
            except PatternsError:
                with self._changed:
                    self._worker.overdue(self._clock())
                self._over.wait(pause / 10)
                continue
            with self._changed:
                self._worker.beaten(running, holdings, asked_at=asked_at)
                self._changed.notify_all()
            self._over.wait(min(pause, self._timeout or pause) * (0.9 + random.random() / 10))

    def _give_up_late_ones(self) -> None:
        if self._timeout is None:
            return
        now = self._clock()
        for job in self._worker.running:
            if now - self._began_at.get((job.id, job.token), now) > self._timeout:
                error = TimeoutError(f"not over within {self._timeout:g} s")
                self._worker.failed(job, error, now, timed_out=True)
                self._left_alone.add((job.id, job.token))
                self._start_one()

    def _say_farewell(self) -> None:
        with self._changed:
            plan = self._worker.exchange(ask=False)
        while plan is not None:
            try:
                got = self._run(plan)
            except PatternsError:
                return  # their leases end by themselves
            with self._changed:
                self._worker.exchanged(got, asked_at=0.0, now=0.0)
                plan = self._worker.exchange(ask=False)
