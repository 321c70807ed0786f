"""What is said of jobs: the values that `Jobs` takes and gives, and how they are read from replies."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import field
from typing import Generic, Literal, TypeAlias, TypeVar

from redis_patterns_core import replies, validate
from redis_patterns_core.codec import Codec, escaped
from redis_patterns_core.errors import DecodeError
from redis_patterns_core.replies import Reply
from redis_patterns_core.validate import Duration
from redis_patterns_core.value import value

__all__ = [
    "Counts",
    "Enqueued",
    "GiveUp",
    "Holding",
    "Job",
    "JobState",
    "KnownJob",
    "RetryLater",
    "Settlement",
    "TakenJobs",
    "WorkerInfo",
    "read_counts",
    "read_known",
    "read_taken",
    "told",
]

T = TypeVar("T")

JobState: TypeAlias = Literal["ready", "delayed", "leased", "dead", "done"]
Holding: TypeAlias = Literal["held", "lost", "cancelled"]

_STATES: dict[Reply, JobState] = {
    b"ready": "ready",
    b"delayed": "delayed",
    b"leased": "leased",
    b"dead": "dead",
    b"done": "done",
}
_LONGEST_ERROR = 4000


@value
class Enqueued:
    """What became of a job that was enqueued.

    Parameters:
        id: the job's; another one's where that has the unique key.
        outcome: ``created``; ``exists``, as there is a job of this id already, also dead; ``done``, as there was,
            and it was done lately; ``duplicate``, as another job has the unique key.
    """

    id: str
    outcome: Literal["created", "exists", "done", "duplicate"]

    @property
    def created(self) -> bool:
        """Whether it was put."""
        return self.outcome == "created"


@value
class Job(Generic[T]):
    """A job that a worker was given.

    Parameters:
        id: the job's.
        payload: what is to be done.
        token: shows that this worker has it.
        fence: grows with each delivery of the job: a store that has seen a greater one can refuse this one.
        attempts: how often a handler has failed on it.
        lost: how often its worker died, or stood still for longer than its lease.
        enqueued_at: in seconds since the epoch, by the server's clock.
        priority: lower ones go first.
    """

    id: str
    payload: T = field(repr=False)
    token: str = field(repr=False)
    fence: int
    attempts: int
    lost: int
    enqueued_at: float
    priority: int


@value
class TakenJobs(Generic[T]):
    """What a request for jobs gave.

    Parameters:
        jobs: for this worker, until their leases end.
        unreadable: those whose payloads the codec cannot read; they are to be given up, see `Jobs.give_up`.
        next_in: seconds until it is worth to ask again, unless something else happens; ``None`` where nothing is due.
        closed: whether none may be taken now, as the queue is paused or too many jobs are worked on.
    """

    jobs: tuple[Job[T], ...]
    unreadable: tuple[Job[bytes], ...]
    next_in: float | None
    closed: bool


@value
class Settlement:
    """What a worker says of a job, for `Jobs.settle`; made by `Jobs.ack`, `retry`, `give_up` and `release`.

    Parameters:
        verb: what it says.
        id, token: the job's.
        delay: milliseconds until it is tried again.
        text: result, error, or progress.
    """

    verb: Literal["ack", "retry", "kill", "release", "note"]
    id: str
    token: str = field(repr=False)
    delay: int
    text: str | bytes = field(repr=False)


@value
class WorkerInfo:
    """A worker that works.

    Parameters:
        name: the worker's.
        about: what it says of itself.
        ends_in: seconds until it is taken for dead, unless it shows that it is there.
    """

    name: str
    about: str
    ends_in: float


@value
class Counts:
    """How many jobs there are of each state.

    Parameters:
        ready, delayed, leased, dead: how many.
        oldest: for how many seconds the first that is ready has been there, since it was enqueued; 0 where none is.
        next_due_in, next_lease_ends_in: seconds; ``None`` where there is none.
        paused: whether none may be taken.
        totals: how many were ``enqueued``, ``acked``, ``retried``, ``died``, ``lost``, ``cancelled``, ``redriven``,
            ``purged``; and ``orphans``, which must be none.
        workers: who works.
    """

    ready: int
    delayed: int
    leased: int
    dead: int
    oldest: float
    next_due_in: float | None
    next_lease_ends_in: float | None
    paused: bool
    totals: Mapping[str, int]
    workers: tuple[WorkerInfo, ...]


@value
class KnownJob(Generic[T]):
    """What is known of a job.

    Parameters:
        id: the job's.
        state: where it is; ``None`` where it is not known, or no more.
        since: when it died; when its lease ends, when it is due, until when it is remembered that it was done; in
            seconds since the epoch.
        payload: what is to be done; ``None`` where it cannot be read, or is not there any more.
        error: what went wrong last; empty where nothing did.
        attempts, lost, fence, enqueued_at, priority: as of a `Job`.
        progress: what its handler has noted last; empty for nothing.
    """

    id: str
    state: JobState | None
    since: float
    payload: T | None = field(repr=False)
    error: str
    attempts: int
    lost: int
    fence: int
    enqueued_at: float
    priority: int
    progress: str


class RetryLater(Exception):
    """Raised by a handler: try the job again.

    Parameters:
        delay: after how long, in seconds or as a timedelta; the queue's own backoff where none is given.
        why: kept as the job's last error.
    """

    def __init__(self, delay: Duration | None = None, why: str = "") -> None:
        super().__init__(delay, why)
        if delay is not None:
            validate.milliseconds("delay", delay, least=0)
        self.delay = delay
        self.why = why


class GiveUp(Exception):
    """Raised by a handler: the job is dead, whatever tries it would have left.

    Parameters:
        why: kept as its error.
    """


def told(error: BaseException | str) -> str:
    """Give what is kept of an error: a text as it is, of an exception its traceback; up to 4000 characters."""
    if isinstance(error, str):
        return escaped(error)[:_LONGEST_ERROR]
    text = escaped("".join(traceback.format_exception(error)).rstrip())
    # The end says what it was, the beginning where it began.
    return text if len(text) <= _LONGEST_ERROR else f"{text[:1000]}\n...\n{text[-(_LONGEST_ERROR - 1005) :]}"


def read_taken(reply: Reply, token: str, codec: Codec[T]) -> TakenJobs[T]:
    """Read the answer of jobs_reserve."""
    next_in, closed, *items = replies.array(reply)
    jobs: list[Job[T]] = []
    unreadable: list[Job[bytes]] = []
    for place in range(0, len(items), 7):
        id, payload, *numbers = items[place : place + 7]
        fence, attempts, lost, enqueued, priority = replies.integers(numbers, 5)
        if not isinstance(payload, bytes):
            raise DecodeError("expected a job's payload, got something else")
        name, at = replies.text(id), enqueued / 1000
        try:
            jobs.append(Job(name, codec.decode(payload), token, fence, attempts, lost, at, priority))
        except DecodeError:
            unreadable.append(Job(name, payload, token, fence, attempts, lost, at, priority))
    milliseconds = replies.integer(next_in)
    pause = None if milliseconds < 0 else (milliseconds + 1) / 1000
    return TakenJobs(tuple(jobs), tuple(unreadable), pause, replies.integer(closed) == 1)


def read_counts(reply: Reply) -> Counts:
    """Read the answer of jobs_inspect."""
    items = replies.array(reply, 10)
    now, ready, delayed, leased, dead, enqueued, next_due, lease_ends = replies.integers(items[:8], 8)
    meta = {replies.text(name): int(replies.number(count)) for name, count in replies.pairs(items[8])}
    workers: list[WorkerInfo] = []
    for name, said in replies.pairs(items[9]):
        ends, _, about = replies.text(said).partition(" ")
        if int(ends) > now:
            workers.append(WorkerInfo(replies.text(name), about, (int(ends) - now) / 1000))
    return Counts(
        ready,
        delayed,
        leased,
        dead,
        max(0, now - enqueued) / 1000 if enqueued else 0.0,
        max(0, next_due - now) / 1000 if next_due else None,
        max(0, lease_ends - now) / 1000 if lease_ends else None,
        "paused" in meta,
        {name: count for name, count in meta.items() if name not in {"number", "paused"}},
        tuple(sorted(workers, key=lambda worker: worker.name)),
    )


def read_known(reply: Reply, codec: Codec[T]) -> KnownJob[T]:
    """Read one item of the answer of jobs_look."""
    id, state, since, record, payload, error, progress = replies.array(reply, 7)
    where = _STATES.get(state)
    known = replies.text(record).split("|", 7) if record else ["0"] * 8
    if len(known) != 8 or not isinstance(payload, bytes | None):
        raise DecodeError("expected what is known of a job, got something else")
    _, attempts, lost, fence, _, enqueued, priority, _ = known
    try:
        decoded = None if payload is None else codec.decode(payload)
    except DecodeError:
        decoded = None
    return KnownJob(
        replies.text(id),
        where,
        0.0 if where == "ready" else replies.number(since) / 1000,
        decoded,
        _shown(error),
        int(attempts),
        int(lost),
        int(fence),
        int(enqueued) / 1000,
        int(priority),
        _shown(progress),
    )


def _shown(reply: Reply) -> str:
    return reply.decode(errors="replace") if isinstance(reply, bytes) else ""
