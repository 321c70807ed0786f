"""Lines: of a driver's tasks that want one lock, one at a time waits for it at Redis, and the others wait here.

Each that waits at Redis has a connection of its own, and a thousand that want one lock should not need a thousand.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable

import anyio


class Lines:
    """The lines of a driver, one for each key that is wanted.

    Parameters:
        sleep: waits for so many seconds of the driver's clock.
    """

    def __init__(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._sleep = sleep
        self._waiting: dict[str, deque[anyio.Event]] = {}

    async def enter(self, key: str, seconds: float) -> bool:
        """Wait for one's turn; first come, first served.

        Parameters:
            key: what is wanted.
            seconds: for how long to wait at most.

        Returns:
            Whether it is one's turn; then `leave` has to be called.
        """
        line = self._waiting.get(key)
        if line is None:
            self._waiting[key] = deque()
            return True
        turn = anyio.Event()
        line.append(turn)
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
        line = self._waiting[key]
        if line:
            line.popleft().set()
        else:
            del self._waiting[key]

    async def _wait(self, turn: anyio.Event, seconds: float) -> None:
        async with anyio.create_task_group() as tasks:

            async def alarm() -> None:
                await self._sleep(seconds)
                tasks.cancel_scope.cancel()

            tasks.start_soon(alarm)
            await turn.wait()
            tasks.cancel_scope.cancel()

    @staticmethod
    def _gives_up(line: deque[anyio.Event], turn: anyio.Event) -> bool:
        if turn.is_set():
            return False
        line.remove(turn)
        return True
