"""Workers: what one who does jobs has to tell Redis next, and what it makes of the answers. Pure; a driver does it.

Promises: what became of a job is told until it is known to have arrived; jobs that were given in an answer that was
lost are asked for again by the same token; no more jobs are asked for than can be begun at once; of several queues the
first that has jobs is served first.
"""

from __future__ import annotations

import math
import random
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, cast

from redis_patterns_core import validate
from redis_patterns_core.decisions import Decision
from redis_patterns_core.errors import CommandFailed, ConfigurationError, EncodeError, PatternsError
from redis_patterns_core.job_records import GiveUp, Holding, Job, RetryLater, Settlement, TakenJobs
from redis_patterns_core.lines import Assignment, Exchange, Line, Listening, Running
from redis_patterns_core.plan import Plan, batch
from redis_patterns_core.work import AnyWork, BatchWork, Happening, OnWork, WorkEvent

__all__ = ["Worker"]

_MOST_AT_ONCE = 1000
_MOST_PERMITS = 100
_SLICE = 5.0
"""Seconds after which a worker that waits looks by itself: a wake-up may have gone to one that has died since."""
_OUTAGE = 60.0
"""Seconds without trouble after which trouble is another one: longer than between two attempts of a worker."""
_Failure: TypeAlias = Literal["failed", "dead", "timed_out"]
_JITTER = 0.002
"""Seconds: not all at the same moment who wait for the same."""


class Worker:
    """One worker, on one or several queues.

    Parameters:
        works: what it does, the most important first.
        concurrency: how many handlers run at a time.
        name: tells it from others; a random one where none is given.
        about: what it says of itself to those who look.
        on_event: is told of what happens.
        on_error: is told of what `on_event` raises, which harms nobody, and of trouble with Redis.

    Raises:
        ConfigurationError: a number that is not allowed, or an empty name.
    """

    def __init__(
        self,
        works: Sequence[AnyWork],
        *,
        concurrency: int,
        name: str | None = None,
        about: str = "",
        on_event: OnWork | None = None,
        on_error: Callable[[Exception], None] | None = None,
    ) -> None:
        self.lines: list[Line] = [Line(work) for work in works]
        self.concurrency: int = validate.integer("concurrency", concurrency, least=1, most=_MOST_AT_ONCE)
        self.name: str = secrets.token_hex(6) if name is None else validate.text("name", name)
        self._about = about
        self._on_event = on_event
        self._on_error = on_error
        self._open: dict[Assignment, None] = {}
        """Calls of handlers that have not ended, in the order in which they began."""
        self._troubled_at: dict[str, float] = {}
        """When there was trouble last, by its kind."""

    @property
    def busy(self) -> bool:
        """Whether a handler runs, or something is still to be told."""
        return bool(self._open) or any(line.outbox or line.refunds for line in self.lines)

    @property
    def room(self) -> int:
        """How many further handlers can begin, without those that are kept free."""
        return self.concurrency - len(self._open) - sum(line.kept for line in self.lines)

    @property
    def open(self) -> list[Assignment]:
        """What handlers are at."""
        return list(self._open)

    # Telling and asking

    def exchange(self, now: float, *, ask: bool) -> Exchange | None:
        """Give what is to be sent: what became of jobs and, where there is room, a request for others.

        Parameters:
            now: the time, by the driver's monotonic clock.
            ask: whether to ask for jobs.

        Returns:
            What to send in one round trip; ``None`` where there is nothing to send.
        """
        plans: list[Plan[Any]] = []
        lines: list[tuple[Line, int]] = []
        refunded: list[Line] = []
        for line in self.lines:
            if told := line.outbox[:_MOST_AT_ONCE]:
                plans.append(line.jobs.settle(*[settlement for _, settlement in told]))
                lines.append((line, len(told)))
        for line in self.lines:
            if not ask:
                line.refunds, line.permits = line.refunds + line.permits, []
            if line.refunds and line.work.limit is not None:
                plans.append(batch(*[line.work.limit.refund(decision) for decision in line.refunds]))
                refunded.append(line)
        asked, wanted, permits = self._asking(now) if ask else (None, 0, False)
        if asked is not None:
            limit = asked.work.limit
            if permits and limit is not None:
                plans.append(batch(*[limit.hit(asked.jobs.name) for _ in range(wanted)]))
            else:
                plans.append(asked.jobs.reserve(wanted, worker=self.name, token=asked.token))
                asked.unanswered = True
        if not plans:
            return None
        plan = batch(*plans) if len(plans) > 1 else plans[0].map(lambda only: (only,))
        return Exchange(plan, tuple(lines), tuple(refunded), asked, wanted, permits)

    def _asking(self, now: float) -> tuple[Line | None, int, bool]:
        """Give the first line that is worth to be asked, for how many jobs or permits, and whether it is permits."""
        room = self.room
        if room > 0:
            for line in self.lines:
                if line.permits:
                    return line, len(line.permits), False
                if line.due_at <= now:
                    most = min(room * line.work.batch_size, _MOST_AT_ONCE)
                    if line.work.limit is None:
                        return line, most, False
                    return line, min(most, line.appetite, _MOST_PERMITS), True
        return None, 0, False

    def exchanged(self, exchange: Exchange, got: Sequence[Any], *, asked_at: float, now: float) -> list[Assignment]:
        """Take an answer, and give what handlers are to begin with.

        Parameters:
            exchange: what was sent.
            got: what its plan gave.
            asked_at: when it was sent: leases may run since then.
            now: the time; both of the driver's monotonic clock.
        """
        answers = iter(got)
        for line, count in exchange.lines:
            told, line.outbox = line.outbox[:count], line.outbox[count:]
            for (job, _), held in zip(told, next(answers), strict=True):
                if not held:
                    self._tell(line, "refused", job)
        for line in exchange.refunded:
            next(answers)
            line.refunds = []
        asked = exchange.asked
        if asked is None:
            return []
        if exchange.permits:
            self._permitted(asked, next(answers), now)
            return []
        return self._taken(asked, next(answers), exchange.wanted, asked_at, now)

    def _permitted(self, line: Line, decisions: Sequence[Decision], now: float) -> None:
        line.permits = [decision for decision in decisions if decision.allowed]
        waits = [one.retry_after for one in decisions if not one.allowed and one.retry_after is not None]
        if waits:
            # Looked at before long all the same: another worker may give back what it has taken in vain.
            line.not_before = now + min(_SLICE, *waits) + random.random() * _JITTER

    def _taken(self, line: Line, taken: TakenJobs[Any], wanted: int, asked_at: float, now: float) -> list[Assignment]:
        line.token, line.unanswered = secrets.token_hex(8), False
        for job in taken.unreadable:
            line.outbox.append((job, line.jobs.give_up(job, "the payload cannot be read")))
            self._tell(line, "unreadable", job)
        full = len(taken.jobs) + len(taken.unreadable) >= wanted
        if not full:
            line.ask_at = math.inf if taken.next_in is None else now + taken.next_in + random.random() * _JITTER
        if line.permits:
            line.refunds += line.permits[len(taken.jobs) :]
            line.permits = []
            if line.refunds:
                line.not_before = 0.0
            line.appetite = min(2 * line.appetite, _MOST_PERMITS) if full else 1
        ends_at = asked_at + line.jobs.lease_seconds
        begin: list[Assignment] = []
        size = line.work.batch_size
        for place in range(0, len(taken.jobs), size):
            assignment = Assignment(line, list(taken.jobs[place : place + size]), now)
            self._open[assignment] = None
            begin.append(assignment)
            for job in assignment.jobs:
                line.running[job.id, job.token] = Running(job, assignment, ends_at)
                self._tell(line, "began", job)
        return begin

    def trouble(self, error: PatternsError, now: float) -> None:
        """Note that Redis could not be asked, or has refused: it is told once, however often it is tried again.

        Parameters:
            error: what running a plan has raised.
            now: the time, by the driver's monotonic clock.
        """
        kind = error.code if isinstance(error, CommandFailed) else "away"
        before = self._troubled_at.get(kind, -math.inf)
        self._troubled_at[kind] = now
        if now - before > _OUTAGE and self._on_error is not None:
            self._on_error(error)

    # Waiting

    def waits_for(self, now: float) -> float:
        """Give the seconds until it is worth to ask by itself; infinity where only others can change that."""
        if self.room <= 0:
            return math.inf
        return max(0.0, min(line.due_at for line in self.lines) - now)

    def listen(self, now: float, *, most: float = math.inf) -> list[Listening]:
        """Give the waits for wake-ups that are to begin: of queues to which nobody listens.

        Parameters:
            now: the time, by the driver's monotonic clock.
            most: how long one may take, in seconds.
        """
        begin: list[Listening] = []
        for line in self.lines:
            # One whose limit refuses has nothing of a wake-up until then.
            if self.room > 0 and not line.listening and line.due_at > now and line.not_before <= now:
                line.listening = True
                begin.append(self._listening(line, now, most))
        return begin

    def _listening(self, line: Line, now: float, most: float) -> Listening:
        # Never twice the same; and what is left of leases must be worth it, as they may run since the wait began.
        seconds = min(most, _SLICE * (0.8 + 0.4 * random.random()))
        alert = min(seconds, line.jobs.lease_seconds / 2)
        # Jobs come along with the wake-up where nothing else may need the place that is kept for them meanwhile.
        others = self.room > 1 or len(self.lines) == 1
        if line.work.limit is None and line.ask_at - now > alert and others:
            line.kept, line.unanswered, wanted = 1, True, line.work.batch_size
            plan = line.jobs.reserve_when_woken(alert, wanted, worker=self.name, token=line.token)
            return Listening(plan, line, wanted)
        return Listening(line.jobs.wait_for_work(seconds), line, 0)

    def heard(self, listening: Listening, got: Any, *, asked_at: float, now: float) -> list[Assignment]:
        """Take the answer of a wait, and give what handlers are to begin with.

        Parameters:
            listening: what was waited for.
            got: what its plan gave.
            asked_at: when it began.
            now: the time; both of the driver's monotonic clock.
        """
        self.unheard(listening)
        return self._taken(listening.line, got, listening.wanted, asked_at, now) if listening.wanted else []

    def unheard(self, listening: Listening) -> None:
        """Note that a wait has ended without an answer: the queue is asked, and says what it has given to nobody."""
        listening.line.listening, listening.line.kept = False, 0
        listening.line.wake()

    def recall(self, line: Line) -> Exchange | None:
        """Give the question what a request has got whose answer nobody waited for; ``None`` where there is none."""
        if not line.unanswered:
            return None
        plan = line.jobs.recall(worker=self.name, token=line.token).map(lambda only: (only,))
        return Exchange(plan, (), (), line, 0, permits=False)

    # Leases

    @property
    def beats_every(self) -> float:
        """Seconds between two beats: a third of the shortest lease, so that two may be lost."""
        return min(line.jobs.lease_seconds for line in self.lines) / 3

    def beat(self) -> tuple[Plan[tuple[Any, ...]], list[tuple[Line, list[Job[Any]]]]]:
        """Give the plan that prolongs the leases of all jobs that are worked on, and what `beaten` is to be given."""
        asked: list[tuple[Line, list[Job[Any]]]] = []
        for line in self.lines:
            jobs = [one.job for one in line.running.values()]
            asked += [(line, jobs[place : place + _MOST_AT_ONCE]) for place in range(0, len(jobs) or 1, _MOST_AT_ONCE)]
        plans = [line.jobs.extend(jobs, worker=self.name, about=self._about) for line, jobs in asked]
        return batch(*plans) if len(plans) > 1 else plans[0].map(lambda only: (only,)), asked

    def beaten(
        self, asked: Sequence[tuple[Line, list[Job[Any]]]], got: Sequence[Sequence[Holding]], *, asked_at: float
    ) -> list[Assignment]:
        """Take the answer, and give those whose handlers should end: none of their jobs is this worker's any more."""
        over: dict[Assignment, None] = {}
        for (line, jobs), holdings in zip(asked, got, strict=True):
            for job, holding in zip(jobs, holdings, strict=True):
                one = line.running.get((job.id, job.token))
                if one is None:
                    continue
                if holding == "held":
                    line.running[job.id, job.token] = Running(job, one.assignment, asked_at + line.jobs.lease_seconds)
                    continue
                self._drop(line, job, holding)
                over[one.assignment] = None
                if holding == "cancelled":
                    line.outbox.append((job, line.jobs.give_up(job, "cancelled")))
        return self._idle(over)

    def overdue(self, now: float) -> list[Assignment]:
        """Drop the jobs whose leases are over, as nobody could be asked to prolong them; else as `beaten`."""
        over: dict[Assignment, None] = {}
        for line in self.lines:
            for one in [one for one in line.running.values() if one.ends_at <= now]:
                self._drop(line, one.job, "lost")
                over[one.assignment] = None
        return self._idle(over)

    def late(self, now: float) -> list[Assignment]:
        """Give those whose handlers have taken longer than they may."""
        return [
            assignment
            for assignment in self._open
            if (most := assignment.line.work.seconds) is not None and now - assignment.began_at > most
        ]

    def _idle(self, assignments: dict[Assignment, None]) -> list[Assignment]:
        return [one for one in assignments if not any((job.id, job.token) in one.line.running for job in one.jobs)]

    # What became of jobs

    def done(self, assignment: Assignment, result: Any, now: float) -> None:
        """Note that a handler has returned."""
        outcomes = self._outcomes(assignment, result) if isinstance(assignment.line.work, BatchWork) else [result]
        for job, outcome in zip(assignment.jobs, outcomes, strict=True):
            if isinstance(outcome, Exception):
                self._failed(assignment, job, outcome, now)
                continue
            try:
                settlement = assignment.line.jobs.ack(job, outcome)
            except EncodeError as error:
                self._failed(assignment, job, error, now)
            else:
                self._settle(assignment, job, settlement, "done", now)
        self._open.pop(assignment, None)

    def failed(self, assignment: Assignment, error: BaseException, now: float, *, timed_out: bool = False) -> None:
        """Note that a handler has raised, or did not end within its time."""
        for job in assignment.jobs:
            self._failed(assignment, job, error, now, timed_out=timed_out)
        self._open.pop(assignment, None)

    def released(self, assignment: Assignment, now: float) -> None:
        """Note that what is still worked on is given back, as the worker stops."""
        for job in assignment.jobs:
            self._settle(assignment, job, assignment.line.jobs.release(job), "released", now)
        self._open.pop(assignment, None)

    def _outcomes(self, assignment: Assignment, result: Any) -> Sequence[Any]:
        if result is None:
            return [None] * len(assignment.jobs)
        if isinstance(result, (list, tuple)) and len(cast("Sequence[Any]", result)) == len(assignment.jobs):
            return cast("Sequence[Any]", result)
        wrong = ConfigurationError(
            f"a batch handler must return nothing, or a list of {len(assignment.jobs)} results or exceptions"
        )
        return [wrong] * len(assignment.jobs)

    def _failed(
        self, assignment: Assignment, job: Job[Any], error: BaseException, now: float, *, timed_out: bool = False
    ) -> None:
        jobs = assignment.line.jobs
        if isinstance(error, RetryLater):
            settlement = jobs.retry(job, error.why or "tried again later", delay=error.delay)
        elif isinstance(error, GiveUp):
            settlement = jobs.give_up(job, str(error))
        else:
            settlement = jobs.retry(job, error)
        what: _Failure = "dead" if settlement.verb == "kill" else "timed_out" if timed_out else "failed"
        self._settle(assignment, job, settlement, what, now, error=error)

    def _settle(
        self,
        assignment: Assignment,
        job: Job[Any],
        settlement: Settlement,
        what: Literal["done", "released"] | _Failure,
        now: float,
        *,
        error: BaseException | None = None,
    ) -> None:
        line = assignment.line
        if line.running.pop((job.id, job.token), None) is None:
            return  # it was lost, and was told so
        line.outbox.append((job, settlement))
        self._tell(line, what, job, now - assignment.began_at, error)

    def _drop(self, line: Line, job: Job[Any], what: Literal["lost", "cancelled"]) -> None:
        del line.running[job.id, job.token]
        self._tell(line, what, job)

    def _tell(
        self,
        line: Line,
        what: Happening,
        job: Job[Any],
        seconds: float = 0.0,
        error: BaseException | None = None,
    ) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(WorkEvent(what, line.jobs.name, job, seconds, error))
        except Exception as raised:  # noqa: BLE001  who listens must not end who works
            if self._on_error is not None:
                self._on_error(raised)
