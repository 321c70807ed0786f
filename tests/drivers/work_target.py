"""What the worker processes of test_worker_process do."""

from __future__ import annotations

import os
import time

import anyio

from redis_patterns import Job, Jobs, Work

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


work = Work(JOBS, sleep, concurrency=3, grace=0.5)
work_later = Work(JOBS, sleep_later, concurrency=3, grace=0.5)
nothing = "no work"
