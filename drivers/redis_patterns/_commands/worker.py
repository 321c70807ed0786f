"""``redis-patterns worker``: does jobs until it is told to stop."""

from __future__ import annotations

import argparse
import os
import sys

from redis_patterns import _worker_process
from redis_patterns._commands import OK
from redis_patterns._commands.connection import is_of_a_cluster
from redis_patterns.sync import Driver
from redis_patterns_core.errors import ConfigurationError

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Work.

    Raises:
        ConfigurationError: something that is no work, a driver that cannot do it, or a number that is not allowed.
        PatternsError: the server refuses the user, or cannot be reached.
    """

    def say(line: str) -> None:
        print(f"redis-patterns worker {os.getpid()}: {line}", file=sys.stderr, flush=True)

    works = [_worker_process.found(target) for target in arguments.targets]
    if arguments.processes < 1:
        raise ConfigurationError(f"--processes must be at least 1, not {arguments.processes}")
    driver = _worker_process.driver_for(
        works, arguments.driver, concurrency=arguments.concurrency, grace=arguments.grace
    )
    url = arguments.url or os.environ.get("REDIS_URL") or "redis://localhost"
    if arguments.parent is None:
        # Once it works it outlives any outage; but whoever starts it has to hear that it never could. Not by a PING,
        # which a user may do who may not run scripts, or whose keys are others.
        with Driver.connect(url) as redis:
            arguments.cluster = is_of_a_cluster(redis)
        with Driver.connect(url, cluster=arguments.cluster) as redis:
            for work in works:
                redis.run(work.jobs.inspect())
    if arguments.processes > 1:
        words = [sys.executable, "-m", "redis_patterns", "worker", *arguments.targets, "--parent", str(os.getpid())]
        words += ["--concurrency", str(arguments.concurrency), "--grace", str(arguments.grace), "--driver", driver]
        words += ["--cluster"] if arguments.cluster else []
        # Not on the command line, which everybody on the machine may read: there may be a password in it.
        return _worker_process.supervise(words, arguments.processes, say, environment={**os.environ, "REDIS_URL": url})
    _worker_process.serve(
        works,
        url,
        driver,
        say,
        concurrency=arguments.concurrency,
        grace=arguments.grace,
        cluster=arguments.cluster,
        parent=arguments.parent,
    )
    return OK
