"""Flights: what several threads of a driver want at the same time is done once, and they share the result."""

from __future__ import annotations

import threading
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

    def share(self, key: str, work: Callable[[], T], timeout: float | None) -> T:
        """Do the work, or wait for who is doing it.

        Raises:
            TimeoutError: it was not done within so many seconds.
            Exception: what the work raised.
        """
        me = threading.get_ident()
        while True:
            with self._lock:
                flight = self._under_way.get(key)
                if flight is None:
                    mine = self._under_way[key] = _Flight(by=me)
                    break
            if flight.by == me:
                return work()  # it wants within what it does
            if not flight.landed.wait(timeout):
                raise TimeoutError
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
