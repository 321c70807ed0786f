"""Flights: what several threads of a driver want at the same time is done once, and they share the result."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar

__all__ = ["ThreadFlights"]

T = TypeVar("T")


@dataclass(slots=True)
class _Flight:
    """A flight, and how it ended; with neither a value nor an error somebody else has to begin anew."""

    by: int
    landed: threading.Event = field(default_factory=threading.Event)
    done: bool = False
    value: Any = None
    error: Exception | None = None
    traceback: TracebackType | None = None


class ThreadFlights:
    """The flights of a sync driver."""

    def __init__(self) -> None:
        self._under_way: dict[str, _Flight] = {}
        self._lock = threading.Lock()

    def share(self, key: str, work: Callable[[], T], wait: float | None, timeout: float | None) -> T:
        """Do the work, or wait for who is doing it; after `wait` seconds do it as well.

        Raises:
            TimeoutError: it was not done within `timeout` seconds.
            Exception: what the work raised.
        """
        me = threading.get_ident()
        began_at = time.monotonic()
        give_up_at = math.inf if wait is None else began_at + wait
        ends_at = math.inf if timeout is None else began_at + timeout
        while True:
            with self._lock:
                flight = self._under_way.get(key)
                if flight is None:
                    mine = self._under_way[key] = _Flight(by=me)
                    break
            if flight.by == me:
                return work()  # it wants within what it does
            until = min(give_up_at, ends_at)
            if not flight.landed.wait(None if until == math.inf else max(0.0, until - time.monotonic())):
                if ends_at <= give_up_at:
                    raise TimeoutError
                return work()  # it may wait for what we do ourselves, and is not to hold us up in any case
            if flight.error is not None:
                raise flight.error.with_traceback(flight.traceback)  # without the frames of who raised it before
            if flight.done:
                value: T = flight.value
                return value
        try:
            result = work()
            mine.done, mine.value = True, result
        except Exception as error:
            mine.error, mine.traceback = error, error.__traceback__
            raise
        finally:
            with self._lock:
                del self._under_way[key]
            mine.landed.set()
        return result
