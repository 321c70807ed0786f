"""What the asyncio and the trio driver are built on: what carries commands, and tasks in the background."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from redis_patterns_core.plan import Command
from redis_patterns_core.replies import Reply

__all__ = ["Sent", "Task", "Transport"]


class Sent(Protocol):
    """What an attempt leaves behind: whether a byte of it may have left."""

    sent: bool


class Transport(Protocol):
    """Carries commands to a server, for any number of tasks at the same time."""

    async def ask(
        self, commands: Sequence[Command], blocks_for: float | None, trace: list[Sent] | None = None
    ) -> Sequence[Reply]:
        """Send commands in one write and give one reply for each.

        Parameters:
            commands: at least one.
            blocks_for: seconds for which the server may keep the answer back, 0 for ever; ``None`` where it does not.
            trace: gets what tells, after a cancellation, whether the commands had left.

        Raises:
            Incomplete: some commands have no answer, or an error for one.
            CommandFailed: the server refused the handshake.
            DriverClosed: after `close`.
        """
        ...

    async def close(self, grace: float) -> None:
        """Take no more, wait up to `grace` seconds for the answers that are due, then close all connections."""


class Task(Protocol):
    """A task in the background."""

    async def stop(self) -> None:
        """Cancel it and wait for its end; shielded from the caller's own cancellation."""

    async def wait(self) -> None:
        """Wait for its end."""
