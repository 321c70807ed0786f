"""Work: what is done with the jobs of a queue, as a value; a driver's ``work`` does it, or ``redis-patterns worker``.

    mails = Work(Jobs("mails"), send, timeout=30, limit=TokenBucket("mails", capacity=10, refill_rate=5))
    rows = BatchWork(Jobs("rows"), insert, size=100)

    redis.work(mails, rows, concurrency=20)  # mails first: rows only while there is room that no mail wants

A handler that returns has done its job; one that raises has failed, and the job is tried again later. It may say when
by `RetryLater`, or that it is of no use by `GiveUp`.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from redis_patterns_core import validate
from redis_patterns_core.all_of import AllOf
from redis_patterns_core.buckets import LeakyBucket
from redis_patterns_core.callables import check_awaited
from redis_patterns_core.errors import ConfigurationError
from redis_patterns_core.job_records import Job
from redis_patterns_core.jobs import Jobs
from redis_patterns_core.rate_limits import Limit
from redis_patterns_core.validate import Duration
from redis_patterns_core.value import value

__all__ = ["AnyWork", "BatchWork", "Happening", "Middleware", "OnWork", "Work", "WorkEvent", "works"]

T = TypeVar("T")

Middleware: TypeAlias = Callable[[Callable[[Any], Any], Any], Any]
"""A function around each call of a handler: it is given the call, and what to call it with."""

_MOST_AT_ONCE = 1000


Happening: TypeAlias = Literal[
    "began", "done", "failed", "dead", "timed_out", "lost", "cancelled", "released", "refused", "unreadable"
]
"""What can happen to a job in a worker; see `WorkEvent`."""


@value
class WorkEvent:
    """Something that happened to a job in a worker.

    Parameters:
        what: ``began``; ``done``; ``failed``, and is tried again; ``dead``, as it failed and is not tried again;
            ``timed_out``, the same as failed; ``lost``, as its lease is somebody else's or over; ``cancelled``;
            ``released``, as the worker stops; ``refused``, as what was told came too late; ``unreadable``, and dead.
        queue: the name of the queue.
        job: which.
        seconds: for how long it was worked on.
        error: what its handler raised.
    """

    what: Happening
    queue: str
    job: Job[Any]
    seconds: float = 0.0
    error: BaseException | None = field(default=None, repr=False)


OnWork: TypeAlias = Callable[[WorkEvent], None]
"""Is told of what happens; for metrics."""


@dataclass(frozen=True, eq=False)
class _AnyWork(ABC, Generic[T]):
    """What the two kinds of work have in common."""

    jobs: Jobs[T]
    _: KW_ONLY
    timeout: Duration | None = None
    limit: Limit | AllOf | None = None
    middleware: Sequence[Middleware] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.jobs, Jobs):
            raise ConfigurationError(f"jobs must be a Jobs, not {type(self.jobs).__name__}")
        if self.timeout is not None:
            validate.milliseconds("timeout", self.timeout)
        limits = self.limit.limits if isinstance(self.limit, AllOf) else (self.limit,)
        if self.limit is not None and not all(isinstance(limit, Limit) for limit in limits):
            raise ConfigurationError(f"limit must be a rate limit, not {type(self.limit).__name__}")
        if any(isinstance(limit, LeakyBucket) for limit in limits):
            raise ConfigurationError("limit must refuse what is too much; a LeakyBucket delays it: take a TokenBucket")
        if not callable(self.function):
            raise ConfigurationError(f"handler must be a function, not {type(self.function).__name__}")
        for function in self.middleware:
            if not callable(function):
                raise ConfigurationError(f"middleware must be functions, not {type(function).__name__}")

    @property
    @abstractmethod
    def function(self) -> Callable[[Any], Any]:
        """The handler, whatever it takes."""

    @property
    def batch_size(self) -> int:
        """How many jobs the handler is given at once."""
        return 1

    @property
    def seconds(self) -> float | None:
        """How long the handler may take, in seconds."""
        return None if self.timeout is None else validate.milliseconds("timeout", self.timeout) / 1000

    def call(self, *, awaited: bool) -> Callable[[Any], Any]:
        """Give the handler with its middleware around it.

        Parameters:
            awaited: whether all of them have to be coroutine functions; else none may be.

        Raises:
            ConfigurationError: they are the others.
        """
        call = self.function
        functions: list[Callable[..., Any]] = [*self.middleware, call]
        for function in functions:
            what = "handler" if function is call else "middleware"
            check_awaited(what, function, awaited=awaited)
        for around in reversed(self.middleware):
            call = functools.partial(around, call)
        return call


@dataclass(frozen=True, eq=False)
class Work(_AnyWork[T]):
    """Jobs that are done one by one.

    Parameters:
        jobs: the queue.
        handler: a function, or a coroutine function for asyncio and trio, that is given a job; what it returns is the
            job's result.
        timeout: seconds, or a timedelta, that it may take; ``None`` for as long as it takes.
        limit: how many jobs of the queue may begin in a time, in all workers together; `Jobs.max_running` says how many
            may run at once.
        middleware: functions around the handler, the first outermost; each is given what to call, and the job.

    Raises:
        ConfigurationError: a value that is not allowed.
    """

    handler: Callable[[Job[T]], Any]

    @property
    def function(self) -> Callable[[Any], Any]:
        """The handler, whatever it takes."""
        return self.handler


@dataclass(frozen=True, eq=False)
class BatchWork(_AnyWork[T]):
    """Jobs that are done several at once, such as rows that go into a database in one statement.

    Parameters:
        jobs: the queue.
        handler: a function, or a coroutine function for asyncio and trio, that is given a list of jobs: those that are
            there, `size` at most. All of them are done when it returns nothing, and have failed when it raises; it may
            give a list too, with a result or an exception for each.
        size: how many at once, 1 to 1000.
        timeout, limit, middleware: as for `Work`; middleware is given the list of jobs.

    Raises:
        ConfigurationError: a value that is not allowed.
    """

    handler: Callable[[list[Job[T]]], Any]
    _: KW_ONLY
    size: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        validate.integer("size", self.size, least=1, most=_MOST_AT_ONCE)

    @property
    def function(self) -> Callable[[Any], Any]:
        """The handler, whatever it takes."""
        return self.handler

    @property
    def batch_size(self) -> int:
        """How many jobs the handler is given at once."""
        return self.size


AnyWork: TypeAlias = Work[Any] | BatchWork[Any]
"""Either of them."""


def works(what: Sequence[Any]) -> tuple[AnyWork, ...]:
    """Read what a driver's ``work`` is given: works, or a queue and its handler.

    Raises:
        ConfigurationError: it is something else, or two are of one queue.
    """
    if len(what) == 2 and issubclass(type(what[0]), Jobs):
        jobs: Jobs[Any] = what[0]
        return (Work(jobs, what[1]),)
    for one in what:
        if not isinstance(one, (Work, BatchWork)):
            raise ConfigurationError(
                f"work must be a Work or a BatchWork, or jobs and their handler, not {validate.shown(one)}"
            )
    names = [(one.jobs.namespace, one.jobs.name) for one in what]
    if not names or len(set(names)) < len(names):
        raise ConfigurationError("work must be at least one, and each of a queue of its own")
    return tuple(what)
