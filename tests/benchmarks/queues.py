"""Measure queues of jobs against other libraries': putting jobs, and one process that does them.

    python tests/benchmarks/queues.py --jobs 2000

Jobs do nothing. ``one by one`` puts each in a request of its own, ``batch`` as the library does it in bulk; ``drain``
is one worker process, from its first job to its last. Commands are counted by the server, those inside scripts too.
``at rest`` is the time from putting a job until its handler begins, while a worker waits, beside a bare PING of the
same driver; ``idle`` is how many commands a worker sends in a second while there is nothing to do. It starts a private
server on the loopback interface, and ends by itself. Peers that are not installed are left out; they come with
``pip install -r tests/benchmarks/requirements.txt``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from redis_patterns import Command, Effect, Job, Jobs, Plan
from redis_patterns.asyncio import Driver as AsyncioDriver
from redis_patterns.sync import Driver
from redis_patterns.testing import server
from tests.benchmarks import queue_workers
from tests.benchmarks.workload import optional

TIME = 30.0


@dataclass(frozen=True)
class Library:
    """What is measured of a library.

    Parameters:
        name: what its rows say.
        put: puts so many jobs, one by one.
        put_batch: puts so many in bulk; ``None`` where there is no way.
        worker: the name of its worker, see `queue_workers`.
    """

    name: str
    put: Callable[[str, int], None]
    put_batch: Callable[[str, int], None] | None
    worker: str


def ours(url: str, count: int) -> None:
    jobs: Jobs[int] = Jobs("bench")
    with Driver.connect(url) as driver:
        for number in range(count):
            driver.run(jobs.enqueue(number))


def ours_batch(url: str, count: int) -> None:
    jobs: Jobs[int] = Jobs("bench")
    with Driver.connect(url) as driver:
        for start in range(0, count, 500):
            driver.run(jobs.enqueue_many(range(start, min(count, start + 500))))


def ours_asyncio(url: str, count: int) -> None:
    async def main() -> None:
        jobs: Jobs[int] = Jobs("bench")
        async with AsyncioDriver.connect(url) as driver:
            for number in range(count):
                await driver.run(jobs.enqueue(number))

    asyncio.run(main())


def rq(url: str, count: int) -> None:
    library: Any = optional("rq")
    with redis.Redis.from_url(url) as client:
        queue = library.Queue("bench", connection=client)
        for number in range(count):
            queue.enqueue(queue_workers.nothing, number, result_ttl=0)


def rq_batch(url: str, count: int) -> None:
    library: Any = optional("rq")
    with redis.Redis.from_url(url) as client:
        queue = library.Queue("bench", connection=client)
        data = [library.Queue.prepare_data(queue_workers.nothing, (number,), result_ttl=0) for number in range(count)]
        queue.enqueue_many(data)


def arq(url: str, count: int) -> None:
    async def main() -> None:
        connections: Any = optional("arq.connections")
        pool = await connections.create_pool(connections.RedisSettings.from_dsn(url))
        for number in range(count):
            await pool.enqueue_job("nothing", number)
        await pool.aclose()

    asyncio.run(main())


def saq(url: str, count: int) -> None:
    async def main() -> None:
        library: Any = optional("saq")
        queue = library.Queue.from_url(url, name="bench")
        await queue.connect()
        for number in range(count):
            await queue.enqueue("nothing", number=number)
        await queue.disconnect()

    asyncio.run(main())


def dramatiq(url: str, count: int) -> None:
    actor = queue_workers.dramatiq_actor(url)
    for number in range(count):
        actor.send(number)


def streaq(url: str, count: int) -> None:
    async def main() -> None:
        worker, task = queue_workers.streaq_worker(url)
        async with worker:
            for number in range(count):
                await task.enqueue(number)

    asyncio.run(main())


def streaq_batch(url: str, count: int) -> None:
    async def main() -> None:
        worker, task = queue_workers.streaq_worker(url)
        async with worker:
            await worker.enqueue_many([task.enqueue(number) for number in range(count)])

    asyncio.run(main())


def taskiq(url: str, count: int) -> None:
    async def main() -> None:
        broker, task = queue_workers.taskiq_broker(url)
        await broker.startup()
        for number in range(count):
            await task.kiq(number)
        await broker.shutdown()

    asyncio.run(main())


def bullmq(url: str, count: int) -> None:
    async def main() -> None:
        library: Any = optional("bullmq")
        queue = library.Queue("bench", {"connection": url})
        for number in range(count):
            await queue.add("job", {"number": number}, {"removeOnComplete": True})
        await queue.close()

    asyncio.run(main())


def bullmq_batch(url: str, count: int) -> None:
    async def main() -> None:
        library: Any = optional("bullmq")
        queue = library.Queue("bench", {"connection": url})
        for start in range(0, count, 500):
            numbers = range(start, min(count, start + 500))
            options = {"removeOnComplete": True}
            await queue.addBulk([{"name": "job", "data": {"number": number}, "opts": options} for number in numbers])
        await queue.close()

    asyncio.run(main())


LIBRARIES = [
    Library("ours", ours, ours_batch, "ours"),
    Library("ours, asyncio", ours_asyncio, None, "ours_asyncio"),
    Library("rq", rq, rq_batch, "rq"),
    Library("arq", arq, None, "arq"),
    Library("saq", saq, None, "saq"),
    Library("dramatiq", dramatiq, None, "dramatiq"),
    Library("streaq", streaq, streaq_batch, "streaq"),
    Library("taskiq", taskiq, None, "taskiq"),
    Library("bullmq", bullmq, bullmq_batch, "bullmq"),
]


def timed(function: Callable[[], None]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def drain(library: Library, url: str, count: int) -> tuple[float, int]:
    """Let one worker process do so many jobs, which are there; give the seconds, and the commands that it took."""
    client = redis.Redis.from_url(url)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    words = [sys.executable, "-m", "tests.benchmarks.queue_workers", library.worker, url, str(count)]
    before = client.info("stats")["total_commands_processed"]
    with subprocess.Popen(
        words, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        gives_up = threading.Timer(TIME, process.kill)
        gives_up.start()
        try:
            said = process.stdout.readline()
            commands = client.info("stats")["total_commands_processed"] - before
        finally:
            gives_up.cancel()
            process.kill()
    client.close()
    return (float(said) if said.strip() else float("nan")), commands


def at_rest(url: str) -> tuple[float, float, float]:
    """Give the median seconds from putting a job until its handler begins, those of a PING, and idle commands a second.

    All of the asyncio driver.
    """
    late: list[float] = []
    trips: list[float] = []
    idle: list[float] = []
    ping = Plan("ping", (Command(("PING",)),), len, Effect.READS)

    async def main() -> None:
        jobs: Jobs[float] = Jobs("rest")
        async with AsyncioDriver.connect(url) as worker, AsyncioDriver.connect(url) as producer:

            async def handle(job: Job[float]) -> None:
                late.append(time.perf_counter() - job.payload)

            working = asyncio.ensure_future(worker.work(jobs, handle, until=lambda: len(late) >= 200))
            await asyncio.sleep(0.2)
            while len(late) < 200:
                began = time.perf_counter()
                await producer.run(ping)
                trips.append(time.perf_counter() - began)
                await producer.run(jobs.enqueue(time.perf_counter()))
                await asyncio.sleep(0.005)
            await working
            working = asyncio.ensure_future(worker.work(jobs, handle, until=lambda: bool(idle)))
            await asyncio.sleep(1)
            with redis.Redis.from_url(url) as client:
                before = client.info("stats")["total_commands_processed"]
                await asyncio.sleep(10)
                idle.append((client.info("stats")["total_commands_processed"] - before - 1) / 10)
            await working

    asyncio.run(main())
    return statistics.median(late), statistics.median(trips), idle[0]


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    count: int = arguments.jobs
    with server(tcp=True) as running:
        url = running.tcp_url
        client = redis.Redis.from_url(url)
        print(f"{'':16} {'one by one':>12} {'batch':>12} {'drain':>12} {'commands a job':>16}")
        for library in LIBRARIES:
            if arguments.only and arguments.only not in library.name:
                continue
            name = library.worker.partition("_")[0]
            if name != "ours" and optional(name) is None:
                print(f"{library.name:16} absent")
                continue
            client.flushall()
            cells: list[str] = []
            try:
                single = timed(lambda: library.put(url, count))  # noqa: B023  called at once
                cells.append(f"{count / single:10,.0f}/s")
                if library.put_batch is None:
                    cells.append(f"{'-':>12}")
                else:
                    client.flushall()
                    cells.append(f"{count / timed(lambda: library.put_batch(url, count)):10,.0f}/s")  # type: ignore[misc]  # noqa: B023
                seconds, commands = drain(library, url, count)
                cells += [f"{count / seconds:10,.0f}/s", f"{commands / count:16.1f}"]
            except Exception as error:  # noqa: BLE001  a peer's trouble is shown in its row
                cells.append(f"{type(error).__name__}: {error}"[:60])
            print(f"{library.name:16} {' '.join(cells)}", flush=True)
        if not arguments.only:
            late, trip, idle = at_rest(url)
            print(f"at rest: begun after {late * 1e6:.0f} us, {late / trip:.1f} times a PING of {trip * 1e6:.0f} us")
            print(f"idle: {idle:.1f} commands a second")


if __name__ == "__main__":
    main()
