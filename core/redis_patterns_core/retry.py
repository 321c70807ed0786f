"""What may be sent again, and when: decided here, obeyed by every driver.

An attempt to run a command ends in one of four ways. *Not sent*: no connection could be had. *Refused*: Redis answered
that it did not run it. *Unknown*: it left, and no answer came. *Answered*. Commands of the first two kinds may always
be sent again, those of the third only if their effect allows, those of the fourth never.

Backoff with full jitter after Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis_patterns_core.errors import CommandFailed, OutcomeUnknown, Unreachable
from redis_patterns_core.plan import Command, Effect, Plan
from redis_patterns_core.replies import ErrorReply, Reply

__all__ = ["MISSING", "Backoff", "Execution", "Incomplete"]

MISSING: Reply = object()
"""Stands for the reply of a command that has none."""

_REFUSALS = frozenset({
    "NOSCRIPT",  # the script has to be sent first
    "LOADING",  # the data set is being read from disk
    "READONLY",  # a replica, or a demoted primary; a script fails so at its first write, having written nothing
    "MASTERDOWN",  # a replica without its primary
    "CLUSTERDOWN",  # no quorum
    "TRYAGAIN",  # a slot between two nodes
    "MOVED",  # a slot that is elsewhere, or was, while nodes disagree
    "ASK",  # the same, for one key
    "BUSY",  # somebody's slow script runs
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before an attempt: random, up to a bound that doubles.

    Parameters:
        first: the bound before the second attempt, in seconds.
        most: where the bound stops growing, in seconds.
    """

    first: float = 0.02
    most: float = 1.0

    def delay(self, attempt: int, chance: float) -> float:
        """Give the seconds to wait.

        Parameters:
            attempt: how many attempts have failed, 1 or more.
            chance: a random number from 0 to 1, the caller's source.
        """
        return chance * min(self.most, self.first * 2.0 ** min(attempt - 1, 30))


class Incomplete(Exception):
    """An attempt that did not bring a good answer to every command.

    Parameters:
        reason: what went wrong with the connection; empty when every command was answered, some with an error.
        sent: whether a byte may have left without an answer.
        answers: the replies that came, in order; where others came after one that did not, `MISSING` stands for it.
    """

    def __init__(self, reason: str = "", *, sent: bool = False, answers: Sequence[Reply] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sent = sent
        self.answers = answers


class Execution:
    """A plan whose first attempt was not enough, on its way to its replies or to an error.

    Parameters:
        plan: what is run.
        give_up_at: the time after which no further attempt begins.
        backoff: how long to wait between attempts.
    """

    def __init__(self, plan: Plan[Any], *, give_up_at: float, backoff: Backoff) -> None:
        self._plan = plan
        self._give_up_at = give_up_at
        self._backoff = backoff
        self._pending: Sequence[int] = range(len(plan.commands))
        self._attempts = 0
        self._unknown = False
        self.replies: list[Reply] = [MISSING] * len(plan.commands)
        """One for each command, once `after` gave ``None``."""

    @property
    def commands(self) -> list[Command]:
        """What the next attempt has to send: what has no answer yet, and what was refused."""
        return [self._plan.commands[place] for place in self._pending]

    def after(self, attempt: Incomplete, *, now: float, chance: float) -> float | None:
        """Take in how an attempt ended.

        Parameters:
            attempt: its answers, and what went wrong.
            now: the time.
            chance: a random number from 0 to 1.

        Returns:
            The seconds to wait before the next attempt, or ``None`` when every command has its answer.

        Raises:
            OutcomeUnknown: a command may have run, and must not be sent again or was sent for long enough.
            Unreachable: nothing was sent, for long enough.
            CommandFailed: Redis answered a command with an error.
        """
        plan = self._plan
        self._attempts += 1
        # What was refused before has been sent again: the old refusal says nothing of what became of it now.
        for place in self._pending:
            self.replies[place] = MISSING
        for place, reply in zip(self._pending, attempt.answers, strict=False):
            if reply is not MISSING:
                self.replies[place] = reply
        self._pending = [place for place in self._pending if _unanswered(self.replies[place])]
        if self._pending:
            missing = any(self.replies[place] is MISSING for place in self._pending)
            if missing and attempt.sent:
                self._unknown = True
                if plan.effect is Effect.ONCE:
                    raise OutcomeUnknown(plan.name, attempt.reason) from attempt
            delay = self._backoff.delay(self._attempts, chance)
            if self._attempts == 1 and all(_forgotten(self.replies[place]) for place in self._pending):
                return 0.0  # the script goes along the next time, so there is nothing to wait for
            if now + delay <= self._give_up_at:
                return delay
            if missing:
                raise (OutcomeUnknown if self._unknown else Unreachable)(plan.name, attempt.reason) from attempt
        for reply in self.replies:
            if isinstance(reply, ErrorReply):
                raise CommandFailed(plan.name, reply.code, reply.message)
        return None


def _unanswered(reply: Reply) -> bool:
    return reply is MISSING or (isinstance(reply, ErrorReply) and reply.code in _REFUSALS)


def _forgotten(reply: Reply) -> bool:
    return isinstance(reply, ErrorReply) and reply.code == "NOSCRIPT"
