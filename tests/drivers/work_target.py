"""What the worker processes of test_worker_process do."""

from __future__ import annotations

import os
import time

import anyio

from redis_patterns import BatchWork, GiveUp, Job, Jobs, RetryLater, Work

JOBS: Jobs[float] = Jobs("process", lease=30, namespace=os.environ.get("NAMESPACE", ""))


def say(what: str, job: Job[float]) -> None:
    # One write: lines of several threads and processes must not run into each other.
    os.write(1, f"{what} {job.id}\n".encode())


def sleep(job: Job[float]) -> None:
    """Take as long as the job says."""
    say("begin", job)
    time.sleep(job.payload)
    say("end", job)


async def sleep_later(job: Job[float]) -> None:
    """Do the same."""
    say("begin", job)
    await anyio.sleep(job.payload)
    say("end", job)


def sleep_together(jobs: list[Job[float]]) -> None:
    """Do several, at once."""
    for job in jobs:
        sleep(job)


def fail(job: Job[float]) -> None:
    """Raise, as the payload says."""
    say("begin", job)
    if job.payload == 1:
        raise LookupError("no such mailbox")
    if job.payload == 2:
        raise RetryLater(why="the mail server is full")
    raise GiveUp("nobody wants it")


work = Work(JOBS, sleep)
work_later = Work(JOBS, sleep_later)
failing = Work(JOBS, fail)
others = BatchWork(Jobs[float]("others", namespace=JOBS.namespace), sleep_together, size=5)
nothing = "no work"
