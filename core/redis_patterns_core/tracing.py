"""What a driver tells of each run: names, shapes and outcomes, never a value.

An instrument is given to a driver when it is made, and told of every plan and flow that it runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol

from redis_patterns_core.cluster import keys_of
from redis_patterns_core.errors import CommandFailed
from redis_patterns_core.flow import Flow
from redis_patterns_core.plan import Plan
from redis_patterns_core.value import value

__all__ = ["Instrument", "Outcome", "Subject", "key_pattern"]

_TAG = re.compile(r"\{[^}]*\}")


@value
class Subject:
    """What is about to run.

    Parameters:
        name: the plan's or the flow's, such as ``lock.acquire``.
        commands: the names of a plan's commands in order, a script's as ``EVALSHA lock_acquire``; none for a flow.
        keys: the pattern of a plan's first key, such as ``lock:{*}``; empty for a flow and for what has no key.
        effect: ``READS``, ``IDEMPOTENT`` or ``ONCE``; empty for a flow.
    """

    name: str
    commands: tuple[str, ...] = ()
    keys: str = ""
    effect: str = ""

    @classmethod
    def of(cls, step: Plan[Any] | Flow[Any]) -> Subject:
        """Describe a plan or a flow."""
        if not isinstance(step, Plan):
            return cls(step.name)
        names = tuple(
            str(command.args[0]).upper() if command.script is None else f"EVALSHA {command.script.name}"
            for command in step.commands
        )
        return cls(step.name, names, key_pattern(step), step.effect.name)


@value
class Outcome:
    """How a run ended.

    Parameters:
        round_trips: how often a plan was sent, 0 when no connection could be had; for a flow 0, as its plans are told
            one by one.
        seconds: how long it took, waits included.
        error: what it raised, a cancellation included, or ``None``.
    """

    round_trips: int
    seconds: float
    error: BaseException | None = None

    @property
    def status(self) -> str:
        """One word: ``ok``, Redis' own code such as ``WRONGTYPE``, or the error's type."""
        if self.error is None:
            return "ok"
        return self.error.code if isinstance(self.error, CommandFailed) else type(self.error).__name__


class Instrument(Protocol):
    """Is told of each run; what it raises goes to the driver's handler of background errors."""

    def begin(self, subject: Subject) -> Callable[[Outcome], None]:
        """Note that something is about to run.

        Parameters:
            subject: what.

        Returns:
            What to call when it has ended, in the same thread or task.
        """
        ...


def key_pattern(plan: Plan[Any]) -> str:
    """Give the first key of a plan with all that a user named left out: ``shop:lock:{*}``.

    A key without a hash tag keeps its first word only, as in ``views:*``.
    """
    for command in plan.commands:
        keys = keys_of(command)
        if keys:
            key = keys[0].decode(errors="replace") if isinstance(keys[0], bytes) else str(keys[0])
            if _TAG.search(key):
                return _TAG.sub("{*}", key, count=1)
            first, colon, _ = key.partition(":")
            return f"{first}:*" if colon else "*"
    return ""
