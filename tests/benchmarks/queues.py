"""Queues of jobs: putting jobs, one process that does them, and how late one begins on a worker at rest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import redis

from redis_patterns import Command, Effect, Job, Jobs, Plan
from redis_patterns.asyncio import Driver
from tests.benchmarks import peers
from tests.benchmarks.harness import noted
from tests.benchmarks.lab import Group, Lab
from tests.benchmarks.tables import Table, tabulate

__all__ = ["GROUP"]

TIME = 60.0
"""Seconds after which a program is given up."""


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


def _round(library: Library, url: str, client: redis.Redis, count: int, seen: Seen) -> None:
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


def _commands(client: redis.Redis) -> int:
    said: Any = client.info("stats")
    return int(said["total_commands_processed"])


def _tables(lab: Lab) -> Iterator[Table]:
    count = lab.of(2000, 100)
    trouble = {one.name: why for one in LIBRARIES if (why := peers.absent(one.package, one.environment))}
    seen: dict[str, Seen] = {}
    with redis.Redis.from_url(lab.server.tcp_url) as client:
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
    yield _at_rest(lab)


def _at_rest(lab: Lab) -> Table:
    """Measure from putting a job until its handler begins, beside a PING, and a worker's commands while it is idle."""
    jobs_done, idle_seconds = lab.of((200, 10), (20, 1))
    late: list[float] = []
    trips: list[float] = []
    idle: list[float] = []
    ping = Plan("ping", (Command(("PING",)),), len, Effect.READS)

    async def main() -> None:
        jobs: Jobs[float] = Jobs("rest")
        async with Driver.connect(lab.server.tcp_url) as worker, Driver.connect(lab.server.tcp_url) as producer:

            async def handle(job: Job[float]) -> None:
                late.append((time.perf_counter() - job.payload) * 1e6)

            working = asyncio.ensure_future(worker.work(jobs, handle, until=lambda: len(late) >= jobs_done))
            await asyncio.sleep(0.2)
            while len(late) < jobs_done:
                began = time.perf_counter()
                await producer.run(ping)
                trips.append((time.perf_counter() - began) * 1e6)
                await producer.run(jobs.enqueue(time.perf_counter()))
                await asyncio.sleep(0.005)
            await working
            working = asyncio.ensure_future(worker.work(jobs, handle, until=lambda: bool(idle)))
            await asyncio.sleep(1)
            with redis.Redis.from_url(lab.server.tcp_url) as client:
                before = _commands(client)
                await asyncio.sleep(idle_seconds)
                idle.append((_commands(client) - before - 1) / idle_seconds)
            await working

    asyncio.run(main())
    ours = "ours, asyncio"
    return tabulate(
        "at-rest",
        "from putting a job until its handler begins, while a worker waits",
        {"a PING by the same driver": trips, ours: late},
        ours=ours,
        floor="a PING by the same driver",
        counted={ours: {"commands a second while idle": idle[0]}},
        paired=False,
    )


GROUP = Group(
    "queues",
    "Queues of jobs",
    "Jobs do nothing. Each library puts them in a process of its own, and one worker process does them, from the "
    "first job to the last, with up to 64 at a time where it can choose. Commands are those of a job, counted by the "
    "server, those inside scripts too.",
    _tables,
)
