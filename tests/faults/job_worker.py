"""A process that does jobs and writes down when it began and ended each; see test_killed_workers."""

from __future__ import annotations

import os
import sys
import time

from redis_patterns import Job, Jobs
from redis_patterns.sync import Driver

LEASE = 1.0


def queue_of(name: str) -> Jobs[int]:
    """Give the queue of the siege; no number of losses makes a job dead in it."""
    return Jobs(name, lease=LEASE, losses=1000, retry_after=0.05)


def main(url: str, name: str, path: str, over: str) -> None:
    """Work until the file `over` is there."""
    log = os.open(path, os.O_WRONLY | os.O_APPEND)

    def say(what: str, job: Job[int]) -> None:
        # One write, so that lines of several processes stand one after the other.
        os.write(log, f"{what} {job.payload} {job.fence} {os.getpid()} {time.monotonic():.6f}\n".encode())

    def handle(job: Job[int]) -> None:
        say("begin", job)
        if job.payload % 50 == 0:
            time.sleep(0.01)
        say("end", job)

    with Driver.connect(url, retry_for=20) as redis:
        redis.work(queue_of(name), handle, concurrency=8, until=lambda: os.path.exists(over))  # noqa: PTH110  ten times a second


if __name__ == "__main__":
    main(*sys.argv[1:])
