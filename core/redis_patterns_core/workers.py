"""Workers: what one who does jobs has to tell Redis next, and what it makes of the answers. Pure; a driver does it.

Promises: what became of a job is told until it is known to have arrived; jobs that were given in an answer that was
lost are asked for again by the same token; no more jobs are asked for than can be begun at once.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from redis_patterns_core import validate
from redis_patterns_core.errors import ConfigurationError, EncodeError
from redis_patterns_core.job_records import GiveUp, Holding, Job, RetryLater, Settlement, TakenJobs
from redis_patterns_core.jobs import Jobs
from redis_patterns_core.plan import Plan, batch
from redis_patterns_core.validate import Duration
from redis_patterns_core.value import value

__all__ = ["SLICE", "Exchanged", "OnWork", "Work", "WorkEvent", "Worker"]

T = TypeVar("T")

_MOST_AT_ONCE = 1000
SLICE = 5.0
"""Seconds after which a worker that waits looks by itself: a wake-up may have gone to one that has died since."""


@value
class WorkEvent:
    """Something that happened to a job in a worker.

    Parameters:
        what: ``began``; ``done``; ``failed``, and is tried again or dead; ``dead``; ``timed_out``, the same as failed;
            ``lost``, as its lease is somebody else's or over; ``cancelled``; ``released``, as the worker stops;
            ``refused``, as what was told came too late.
        queue: the name of the queue.
        job: which.
        seconds: for how long it was worked on.
        error: what its handler raised.
    """

    what: Literal[
        "began", "done", "failed", "dead", "timed_out", "lost", "cancelled", "released", "refused", "unreadable"
    ]
    queue: str
    job: Job[Any]
    seconds: float = 0.0
    error: BaseException | None = field(default=None, repr=False)


OnWork: TypeAlias = Callable[[WorkEvent], None]


@dataclass(frozen=True, eq=False)
class Work(Generic[T]):
    """What a worker process does: ``redis-patterns worker MODULE:NAME`` finds it by its name.

    Parameters:
        jobs: the queue.
        handler: a function, or a coroutine function, that is given a job.
        concurrency: how many jobs at a time.
        timeout: seconds, or a timedelta, that a handler may take; ``None`` for as long as it takes.
        grace: how long handlers may take when the process is told to stop.

    Raises:
        ConfigurationError: a value that is not allowed.
    """

    jobs: Jobs[T]
    handler: Callable[[Job[T]], Any]
    _: KW_ONLY
    concurrency: int = 10
    timeout: Duration | None = None
    grace: Duration = 30

    def __post_init__(self) -> None:
        if not isinstance(self.jobs, Jobs):
            raise ConfigurationError(f"jobs must be a Jobs, not {type(self.jobs).__name__}")
        if not callable(self.handler):
            raise ConfigurationError(f"handler must be a function, not {type(self.handler).__name__}")
        validate.integer("concurrency", self.concurrency, least=1, most=_MOST_AT_ONCE)
        if self.timeout is not None:
            validate.milliseconds("timeout", self.timeout)
        validate.milliseconds("grace", self.grace, least=0)


@value
class Exchanged(Generic[T]):
    """What an exchange gave.

    Parameters:
        settled: of each job that something was told of, whether it was this worker's to tell.
        taken: what it was given, if it has asked.
    """

    settled: Sequence[bool]
    taken: TakenJobs[T] | None


@value
class _Running(Generic[T]):
    job: Job[T]
    began_at: float
    ends_at: float


class Worker(Generic[T]):
    """One worker on one queue.

    Parameters:
        jobs: the queue.
        concurrency: how many jobs it does at a time.
        name: tells it from others; a random one where none is given.
        about: what it says of itself to those who look.
        on_event: is told of what happens.

    Raises:
        ConfigurationError: a number that is not allowed, or an empty name.
    """

    def __init__(
        self,
        jobs: Jobs[T],
        *,
        concurrency: int,
        name: str | None = None,
        about: str = "",
        on_event: OnWork | None = None,
    ) -> None:
        self.jobs = jobs
        self.concurrency = validate.integer("concurrency", concurrency, least=1, most=_MOST_AT_ONCE)
        self.name = secrets.token_hex(6) if name is None else validate.text("name", name)
        self._about = about
        self._on_event = on_event
        self._running: dict[tuple[str, str], _Running[T]] = {}
        self._outbox: list[tuple[Job[Any], Settlement]] = []
        self._token = secrets.token_hex(8)

    @property
    def busy(self) -> bool:
        """Whether a job is worked on, or something is still to be told."""
        return bool(self._running or self._outbox)

    @property
    def room(self) -> int:
        """How many further jobs can be begun."""
        return self.concurrency - len(self._running)

    @property
    def running(self) -> list[Job[T]]:
        """The jobs that are worked on."""
        return [one.job for one in self._running.values()]

    # Telling and asking

    def exchange(self, *, ask: bool) -> Plan[Exchanged[T]] | None:
        """Give what is to be sent: what became of jobs and, where there is room, a request for others.

        Parameters:
            ask: whether to ask for jobs.

        Returns:
            A plan of one round trip, whose result is for `exchanged`; ``None`` where there is nothing to send.
        """
        told = self._outbox[:_MOST_AT_ONCE]
        settle = self.jobs.settle(*[settlement for _, settlement in told]) if told else None
        room = min(self.room, _MOST_AT_ONCE)
        reserve = self.jobs.reserve(room, worker=self.name, token=self._token) if ask and room > 0 else None

        if settle is not None and reserve is not None:
            return batch(settle, reserve).map(lambda got: Exchanged(*got))
        if settle is not None:
            return settle.map(lambda settled: Exchanged(settled, None))
        return None if reserve is None else reserve.map(lambda taken: Exchanged([], taken))

    def exchanged(self, got: Exchanged[T], *, asked_at: float, now: float) -> list[Job[T]]:
        """Take an answer, and give the jobs to begin.

        Parameters:
            got: what the plan of `exchange` gave.
            asked_at: when it was sent: leases may run since then.
            now: the time; both of the driver's monotonic clock.
        """
        told, self._outbox = self._outbox[: len(got.settled)], self._outbox[len(got.settled) :]
        for (job, _), held in zip(told, got.settled, strict=True):
            if not held:
                self._tell("refused", job)
        taken = got.taken
        if taken is None:
            return []
        self._token = secrets.token_hex(8)
        for job in taken.unreadable:
            self._outbox.append((job, self.jobs.give_up(job, "the payload cannot be read")))
            self._tell("unreadable", job)
        ends_at = asked_at + self.jobs.lease_seconds
        for job in taken.jobs:
            self._running[job.id, job.token] = _Running(job, now, ends_at)
            self._tell("began", job)
        return list(taken.jobs)

    # Leases

    def beat(self) -> Plan[list[Holding]]:
        """Give the plan that prolongs the leases of all jobs that are worked on, for `beaten`."""
        return self.jobs.extend(self.running, worker=self.name, about=self._about)

    def beaten(self, jobs: Sequence[Job[T]], holdings: Sequence[Holding], *, asked_at: float) -> list[Job[T]]:
        """Take the answer for these jobs, and give those whose handlers should end."""
        over: list[Job[T]] = []
        for job, holding in zip(jobs, holdings, strict=True):
            one = self._running.get((job.id, job.token))
            if one is None:
                continue
            if holding == "held":
                ends_at = asked_at + self.jobs.lease_seconds
                self._running[job.id, job.token] = _Running(job, one.began_at, ends_at)
            else:
                over.append(job)
                self._drop(job, "lost" if holding == "lost" else "cancelled")
                if holding == "cancelled":
                    self._outbox.append((job, self.jobs.give_up(job, "cancelled")))
        return over

    def overdue(self, now: float) -> list[Job[T]]:
        """Give the jobs whose leases are over, as nobody could be asked to prolong them; their handlers should end."""
        over = [one.job for one in self._running.values() if one.ends_at <= now]
        for job in over:
            self._drop(job, "lost")
        return over

    # What became of jobs

    def holds(self, job: Job[T]) -> bool:
        """Tell whether it is still this worker's, as far as it knows."""
        return (job.id, job.token) in self._running

    def done(self, job: Job[T], result: Any, now: float) -> None:
        """Note that a job's handler has returned."""
        try:
            settlement = self.jobs.ack(job, result)
        except EncodeError as error:
            self.failed(job, error, now)
            return
        self._settle(job, settlement, "done", now)

    def failed(self, job: Job[T], error: BaseException, now: float, *, timed_out: bool = False) -> None:
        """Note that a job's handler has raised, or did not end within its time."""
        if isinstance(error, RetryLater):
            settlement = self.jobs.retry(job, error.why or "tried again later", delay=error.delay)
        elif isinstance(error, GiveUp):
            settlement = self.jobs.give_up(job, str(error))
        else:
            settlement = self.jobs.retry(job, error)
        dead = settlement.verb == "kill"
        self._settle(job, settlement, "dead" if dead else "timed_out" if timed_out else "failed", now, error)

    def released(self, job: Job[T], now: float) -> None:
        """Note that a job is given back, as the worker stops."""
        self._settle(job, self.jobs.release(job), "released", now)

    def _settle(
        self,
        job: Job[T],
        settlement: Settlement,
        what: Literal["done", "failed", "dead", "timed_out", "released"],
        now: float,
        error: BaseException | None = None,
    ) -> None:
        one = self._running.pop((job.id, job.token), None)
        if one is None:
            return  # it was lost, and was told so
        self._outbox.append((job, settlement))
        self._tell(what, job, now - one.began_at, error)

    def _drop(self, job: Job[T], what: Literal["lost", "cancelled"]) -> None:
        del self._running[job.id, job.token]
        self._tell(what, job)

    def _tell(self, what: Any, job: Job[Any], seconds: float = 0.0, error: BaseException | None = None) -> None:
        if self._on_event is not None:
            self._on_event(WorkEvent(what, self.jobs.name, job, seconds, error))
