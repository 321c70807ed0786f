"""Producers for queues.py: NAME URL COUNT; each prints the seconds that it took to put so many jobs, imports apart.

It runs where the library lives, and imports nothing of ours but what the others have too.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

from tests.benchmarks import queue_workers
from tests.benchmarks.peers import optional


def ours(url: str, count: int) -> None:
    from redis_patterns import Jobs
    from redis_patterns.sync import Driver

    jobs: Jobs[int] = Jobs("bench")
    with Driver.connect(url) as driver:
        for number in range(count):
            driver.run(jobs.enqueue(number))


def ours_batch(url: str, count: int) -> None:
    from redis_patterns import Jobs
    from redis_patterns.sync import Driver

    jobs: Jobs[int] = Jobs("bench")
    with Driver.connect(url) as driver:
        for start in range(0, count, 500):
            driver.run(jobs.enqueue_many(range(start, min(count, start + 500))))


def ours_asyncio(url: str, count: int) -> None:
    from redis_patterns import Jobs
    from redis_patterns.asyncio import Driver

    async def main() -> None:
        jobs: Jobs[int] = Jobs("bench")
        async with Driver.connect(url) as driver:
            for number in range(count):
                await driver.run(jobs.enqueue(number))

    asyncio.run(main())


def rq(url: str, count: int) -> None:
    import redis

    library: Any = optional("rq")
    with redis.Redis.from_url(url) as client:
        queue = library.Queue("bench", connection=client)
        for number in range(count):
            queue.enqueue(queue_workers.nothing, number, result_ttl=0)


def rq_batch(url: str, count: int) -> None:
    import redis

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


if __name__ == "__main__":
    put = globals()[sys.argv[1]]
    put(sys.argv[2], 1)  # imports, scripts, caches
    began = time.perf_counter()
    put(sys.argv[2], int(sys.argv[3]))
    print(time.perf_counter() - began, flush=True)
