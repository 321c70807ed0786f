"""Lines: of a driver's tasks that want one lock, one or a few at a time wait for it at Redis, and the others wait here.

Each that waits at Redis has a connection of its own, and a thousand that want one lock should not need a thousand.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable

import anyio


class _Line:
    """Who waits, and how many have their turn: as many as may, while anybody waits."""

    __slots__ = ("inside", "waiting")

    def __init__(self) -> None:
        self.inside = 0
        self.waiting: deque[anyio.Event] = deque()


class Lines:
    """The lines of a driver, one for each key that is wanted.

    Parameters:
        sleep: waits for so many seconds of the driver's clock.
    """

    def __init__(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._sleep = sleep
        self._lines: dict[str, _Line] = {}

    async def enter(self, key: str, seconds: float, abreast: int = 1) -> bool:
        """Wait for one's turn; first come, first served.

        Parameters:
            key: what is wanted.
            seconds: for how long to wait at most.
            abreast: how many may have their turn at a time.

        Returns:
            Whether it is one's turn; then `leave` has to be called.
        """
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line()
        if line.inside < abreast:
            line.inside += 1
            return True
        turn = anyio.Event()
        line.waiting.append(turn)
        try:
            if seconds == math.inf:
                await turn.wait()
            else:
                await self._wait(turn, seconds)
        except BaseException:
            if not self._gives_up(line, turn):
                self.leave(key)  # it was our turn just now: the next one's
            raise
        return turn.is_set() or not self._gives_up(line, turn)

    def leave(self, key: str) -> None:
        """Let the next one have its turn."""
        line = self._lines[key]
        if line.waiting:
            line.waiting.popleft().set()
            return
        line.inside -= 1
        if not line.inside:
            del self._lines[key]

    async def _wait(self, turn: anyio.Event, seconds: float) -> None:
        async with anyio.create_task_group() as tasks:

            async def alarm() -> None:
                await self._sleep(seconds)
                tasks.cancel_scope.cancel()

            tasks.start_soon(alarm)
            await turn.wait()
            tasks.cancel_scope.cancel()

    @staticmethod
    def _gives_up(line: _Line, turn: anyio.Event) -> bool:
        if turn.is_set():
            return False
        line.waiting.remove(turn)
        return True
