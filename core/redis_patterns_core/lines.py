"""Lines: what a worker knows of each of its queues, and what it exchanges with Redis about them."""

from __future__ import annotations

import secrets
from typing import Any

from redis_patterns_core.decisions import Decision
from redis_patterns_core.job_records import Job, Settlement
from redis_patterns_core.jobs import Jobs
from redis_patterns_core.plan import Plan
from redis_patterns_core.value import value
from redis_patterns_core.work import AnyWork, BatchWork

__all__ = ["Assignment", "Exchange", "Line", "Listening", "Running"]


class Assignment:
    """Jobs for one call of a handler.

    Parameters:
        line: of which queue.
        jobs: which.
        began_at: when, by the driver's clock.
    """

    __slots__ = ("began_at", "jobs", "line")

    def __init__(self, line: Line, jobs: list[Job[Any]], began_at: float) -> None:
        self.line: Line = line
        self.jobs: list[Job[Any]] = jobs
        self.began_at: float = began_at

    @property
    def given(self) -> Job[Any] | list[Job[Any]]:
        """What the handler is called with."""
        return self.jobs if isinstance(self.line.work, BatchWork) else self.jobs[0]


@value
class Running:
    """A job that a handler is at, and when its lease ends unless it is prolonged."""

    job: Job[Any]
    assignment: Assignment
    ends_at: float


class Line:
    """What a worker knows of one of its queues.

    Parameters:
        work: what is done with its jobs.
        listening: whether somebody waits for its wake-ups.
    """

    def __init__(self, work: AnyWork) -> None:
        self.work: AnyWork = work
        self.jobs: Jobs[Any] = work.jobs
        self.listening: bool = False
        # How many handlers are kept free for the jobs that come with a wake-up.
        self.kept: int = 0
        # Whether it was asked for jobs without an answer so far: it may have given some.
        self.unanswered: bool = False
        self.running: dict[tuple[str, str], Running] = {}
        self.outbox: list[tuple[Job[Any], Settlement]] = []
        self.token: str = secrets.token_hex(8)
        # When it is worth to ask, and before when it is in vain, as its limit refuses.
        self.ask_at: float = 0.0
        self.not_before: float = 0.0
        self.permits: list[Decision] = []
        self.refunds: list[Decision] = []
        # How many jobs it may have, by what it had: to take few permits that are not needed.
        self.appetite: int = 1

    @property
    def due_at(self) -> float:
        """When to ask."""
        return max(self.ask_at, self.not_before)

    def wake(self) -> None:
        """Note that there may be jobs."""
        self.ask_at = 0.0


@value
class Listening:
    """A wait for the wake-up of a queue, for `Worker.heard`.

    Parameters:
        plan: one round trip that blocks.
        line: of which queue.
        wanted: how many jobs it takes along; 0 where it only waits.
    """

    plan: Plan[Any]
    line: Line
    wanted: int


@value
class Exchange:
    """What is to be sent, for `Worker.exchanged`.

    Parameters:
        plan: one round trip.
        lines: what it tells of: lines, and how many settlements of each.
        refunded: the lines to whose limits something is given back.
        asked: the line that is asked for jobs, or whose limit is asked; ``None`` for neither.
        wanted: how many jobs or permits.
        permits: whether it is permits.
    """

    plan: Plan[tuple[Any, ...]]
    lines: tuple[tuple[Line, int], ...]
    refunded: tuple[Line, ...]
    asked: Line | None
    wanted: int
    permits: bool
