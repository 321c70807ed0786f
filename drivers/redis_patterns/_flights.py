"""Flights: what several tasks of a driver want at the same time is done once, and they share the result."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar

import anyio

__all__ = ["Flights"]

T = TypeVar("T")


@dataclass(slots=True)
class _Flight:
    """A flight, and how it ended; with neither a value nor an error somebody else has to begin anew."""

    by: int
    landed: anyio.Event = field(default_factory=anyio.Event)
    done: bool = False
    value: Any = None
    error: Exception | None = None
    traceback: TracebackType | None = None


class Flights:
    """The flights of an asyncio or a trio driver."""

    def __init__(self) -> None:
        self._under_way: dict[str, _Flight] = {}

    async def share(self, key: str, work: Callable[[], Awaitable[T]], wait: float | None) -> T:
        """Do the work, or wait for who is doing it; after so many seconds do it as well.

        Raises:
            Exception: what the work raised.
        """
        me = anyio.get_current_task().id
        ends_at = math.inf
        while (flight := self._under_way.get(key)) is not None:
            if flight.by == me:
                return await work()  # it wants within what it does
            if ends_at == math.inf and wait is not None:
                ends_at = anyio.current_time() + wait
            with anyio.CancelScope(deadline=ends_at):
                await flight.landed.wait()
            if not flight.landed.is_set():
                return await work()  # it may wait for what we do ourselves, and is not to hold us up in any case
            if flight.error is not None:
                raise flight.error.with_traceback(flight.traceback)  # without the frames of who raised it before
            if flight.done:
                value: T = flight.value
                return value
        flight = self._under_way[key] = _Flight(by=me)
        try:
            result = await work()
            flight.done, flight.value = True, result
        except Exception as error:
            flight.error, flight.traceback = error, error.__traceback__
            raise
        finally:
            del self._under_way[key]
            flight.landed.set()
        return result
