"""The thread that keeps a client's snapshot of flags up to date, in synchronous code."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from redis_patterns_core.flag_client import FlagClient
from redis_patterns_core.flow import Flow

__all__ = ["Follower"]

_SLICE = 1.0
"""Seconds for which a thread that waits at Redis cannot be stopped."""


class _Stopped(BaseException):
    """Raised where the thread sleeps, and caught where it ends; no flow catches it."""


class Follower:
    """Follows from now on.

    Parameters:
        client: whose snapshot.
        run: runs a flow with a function that sleeps.
        report: is told of what ends it too early.
    """

    def __init__(
        self,
        client: FlagClient,
        run: Callable[[Flow[None], Callable[[float], None]], None],
        report: Callable[[Flow[Any], BaseException], None],
    ) -> None:
        self._client = client
        self._run = run
        self._report = report
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="redis-patterns-follower", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and wait for that; not for long where Redis does not answer, as nobody needs it any more."""
        self._stopping.set()
        self._thread.join(2 * _SLICE)

    def _serve(self) -> None:
        flow = self._client.keep(slice=_SLICE, until=self._stopping.is_set)
        try:
            self._run(flow, self._sleep)
        except _Stopped:
            return
        except Exception as error:  # noqa: BLE001  there is no caller
            if not self._stopping.is_set():
                self._client.end()
                self._report(flow, error)

    def _sleep(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise _Stopped
