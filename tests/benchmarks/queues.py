"""Queues of jobs: putting jobs, one process that does them, and how late one begins on a worker at rest."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import redis as redis_py

from redis_patterns import Command, Effect, Jobs, Plan
from redis_patterns.sync import Driver
from tests.benchmarks import peers
from tests.benchmarks.harness import noted
from tests.benchmarks.lab import Group, Lab
from tests.benchmarks.tables import Table, tabulate

__all__ = ["GROUP"]

TIME = 60.0
"""Seconds after which a program is given up."""
WARM = 10
"""Rounds before those that count."""


@dataclass(frozen=True)
class Library:
    """What is measured of a library.

    Parameters:
        name: what its rows say.
        program: its function in `queue_producers` and in `queue_workers`.
        package: what has to be installed.
        environment: where it lives; beside us without a name.
        batch: whether it can put many jobs at once.
    """

    name: str
    program: str
    package: str
    environment: str = ""
    batch: bool = False


LIBRARIES = [
    Library("ours, sync", "ours", "redis-patterns", batch=True),
    Library("ours, asyncio", "ours_asyncio", "redis-patterns"),
    Library("rq", "rq", "rq", batch=True),
    Library("arq", "arq", "arq", "arq"),
    Library("saq", "saq", "saq"),
    Library("dramatiq", "dramatiq", "dramatiq"),
    Library("streaq", "streaq", "streaq", batch=True),
    Library("taskiq", "taskiq", "taskiq-redis", "taskiq"),
    Library("bullmq", "bullmq", "bullmq", batch=True),
]


@dataclass
class Seen:
    """What was measured of a library, microseconds a job; ``commands`` are those of a job."""

    put: list[float]
    batch: list[float]
    drain: list[float]
    commands: list[float]


def _round(library: Library, url: str, client: redis_py.Redis, count: int, seen: Seen) -> None:
    """Put jobs one by one, then in bulk, and let one worker process do them."""

    def put(program: str) -> float:
        client.flushall()
        process = peers.start(library.environment, "queue_producers", program, url, str(count))
        return peers.said(process, TIME) / count * 1e6

    seen.put.append(put(library.program))
    if library.batch:
        seen.batch.append(put(f"{library.program}_batch"))
    before = _commands(client)
    worker = peers.start(library.environment, "queue_workers", library.program, url, str(count))
    seen.drain.append(peers.said(worker, TIME) / count * 1e6)
    seen.commands.append((_commands(client) - before) / count)


def _commands(client: redis_py.Redis) -> int:
    said: Any = client.info("stats")
    return int(said["total_commands_processed"])


def _tables(lab: Lab) -> Iterator[Table]:
    count = lab.of(2000, 100)
    trouble = {one.name: why for one in LIBRARIES if (why := peers.absent(one.package, one.environment))}
    seen: dict[str, Seen] = {}
    with redis_py.Redis.from_url(lab.server.tcp_url) as client:
        for _ in range(lab.of(5, 1)):
            for library in LIBRARIES:
                if library.name not in trouble:
                    own = seen.setdefault(library.name, Seen([], [], [], []))
                    with noted(library.name, trouble):
                        _round(library, lab.server.tcp_url, client, count, own)
    # One that failed in any round has no row of the others.
    whole = {name: own for name, own in seen.items() if name not in trouble}
    bulk = {one.name for one in LIBRARIES if one.batch}
    ours = "ours, sync"
    yield tabulate(
        "put", "putting a job, each in a request", {n: own.put for n, own in whole.items()}, ours=ours, absent=trouble
    )
    yield tabulate(
        "put-batch",
        "putting a job, many at once; those that can",
        {name: own.batch for name, own in whole.items() if name in bulk},
        ours=ours,
        absent={name: why for name, why in trouble.items() if name in bulk},
    )
    yield tabulate(
        "drain",
        "doing a job that does nothing, by one process",
        {name: own.drain for name, own in whole.items()},
        ours=ours,
        counted={name: {"commands": max(own.commands)} for name, own in whole.items()},
        absent=trouble,
    )
    for kind in ("sync", "asyncio", "trio"):
        yield _at_rest(lab, kind)


def _at_rest(lab: Lab, kind: str) -> Table:
    """Measure from putting a job until its handler begins in another process, and a worker's commands while it is idle.

    The floor is an element of a list that is pushed, and popped there by a bare BLPOP of the same driver.
    """
    count, idle_seconds = lab.of((300, 10), (20, 1))
    jobs: Jobs[int] = Jobs("rest")
    ping = Plan("ping", (Command(("PING",)),), len, Effect.READS)
    push = Plan("push", (Command(("RPUSH", "floor", 1)),), len, Effect.ONCE)
    url = lab.server.tcp_url
    late: list[float] = []
    floor: list[float] = []
    trips: list[float] = []
    worker, popper = (peers.start("", "pick_up", what, kind, url) for what in ("jobs", "floor"))
    with worker, popper, Driver.connect(url) as redis, redis_py.Redis.from_url(url) as client:
        try:
            while not redis.run(jobs.inspect()).workers or int(client.info("clients")["blocked_clients"]) < 2:
                time.sleep(0.05)
            for place in range(count + WARM):
                for step, process, samples in (
                    (ping, None, trips),
                    (push, popper, floor),
                    (jobs.enqueue(place), worker, late),
                ):
                    time.sleep(0.005)
                    began = time.perf_counter_ns()
                    redis.run(step)
                    ended = time.perf_counter_ns() if process is None else _line(process)
                    if place >= WARM:
                        samples.append((ended - began) / 1e3)
            popper.kill()
            time.sleep(1)
            before = _commands(client)
            time.sleep(idle_seconds)
            idle = (_commands(client) - before - 1) / idle_seconds
        finally:
            worker.kill()
            popper.kill()
    ours = f"ours, {kind}"
    return tabulate(
        f"at-rest-{kind}",
        "from putting a job until its handler begins in another process, which waits",
        {"an element of a list, by a bare BLPOP": floor, "a PING": trips, ours: late},
        ours=ours,
        floor="an element of a list, by a bare BLPOP",
        counted={ours: {"commands a second while idle": idle}},
        paired=False,
    )


def _line(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


GROUP = Group(
    "queues",
    "Queues of jobs",
    "Jobs do nothing. Each library puts them in a process of its own, and one worker process does them, from the "
    "first job to the last, with up to 64 at a time where it can choose. Commands are those of a job, counted by the "
    "server, those inside scripts too.",
    _tables,
)
