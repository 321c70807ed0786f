"""The thread that keeps the sync driver's leases alive.

One thread for all of a driver's leases, started with the first: a thread for each would cost more than taking the lock.
It runs any flow that only sleeps, looks at the clock and runs plans.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable
from typing import Any

from redis_patterns_core.flow import Flow, Sleep, Step, Steps


class Renewal:
    """One flow that the renewer runs; `Renewer.stop` ends it."""

    def __init__(self, flow: Flow[None]) -> None:
        self.flow = flow
        self.steps: Steps[None] = flow.steps()
        self.stopped = False


class Renewer:
    """Runs flows in one thread, each when it is due.

    Parameters:
        perform: runs a step that is no `Sleep`.
        report: is told of what a flow raised.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        perform: Callable[[Step], Any],
        report: Callable[[Flow[Any], BaseException], None],
        clock: Callable[[], float],
    ) -> None:
        self._perform = perform
        self._report = report
        self._clock = clock
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Renewal]] = []
        self._numbers = itertools.count()
        self._stopped = 0
        self._running: Renewal | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def start(self, flow: Flow[None]) -> Renewal:
        """Run a flow from now on; its first step must be a `Sleep`, which the caller does not wait for."""
        renewal = Renewal(flow)
        step = next(renewal.steps)
        with self._changed:
            self._schedule(renewal, step)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="redis-patterns-renewer", daemon=True)
                self._thread.start()
        return renewal

    def stop(self, renewal: Renewal) -> None:
        """End a flow; when this returns it runs no more, so that no renewal can come after a release."""
        with self._changed:
            renewal.stopped = True
            self._stopped += 1
            while self._running is renewal:
                self._changed.wait()
            renewal.steps.close()
            if self._stopped > 64 and self._stopped * 2 > len(self._due):
                self._due = [entry for entry in self._due if not entry[2].stopped]
                heapq.heapify(self._due)
                self._stopped = 0

    def close(self) -> None:
        """End the thread, and wait for it."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _schedule(self, renewal: Renewal, step: Step) -> None:
        if not isinstance(step, Sleep):
            raise TypeError(f"{renewal.flow!r} must sleep between its plans")
        entry = (self._clock() + step.seconds, next(self._numbers), renewal)
        heapq.heappush(self._due, entry)
        if self._due[0] is entry:
            self._changed.notify_all()

    def _serve(self) -> None:
        with self._changed:
            while not self._closed:
                wait = self._due[0][0] - self._clock() if self._due else None
                if wait is None or wait > 0:
                    self._changed.wait(wait)
                    continue
                _, _, renewal = heapq.heappop(self._due)
                if renewal.stopped:
                    self._stopped = max(0, self._stopped - 1)
                    continue
                self._running = renewal
                self._changed.release()
                try:
                    step = self._advance(renewal)
                finally:
                    self._changed.acquire()
                    self._running = None
                    self._changed.notify_all()
                if step is not None and not renewal.stopped:
                    self._schedule(renewal, step)

    def _advance(self, renewal: Renewal) -> Sleep | None:
        """Run a flow until it sleeps again; `None` at its end."""
        try:
            step = next(renewal.steps)
            while not isinstance(step, Sleep):
                try:
                    value = self._perform(step)
                except Exception as error:  # noqa: BLE001  the flow decides what to make of it
                    step = renewal.steps.throw(error)
                else:
                    step = renewal.steps.send(value)
        except StopIteration:
            return None
        except Exception as error:  # noqa: BLE001  told to the handler: the thread serves the other flows
            self._report(renewal.flow, error)
            return None
        return step
