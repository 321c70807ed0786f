"""Worker processes for queues.py: NAME URL COUNT; each prints the seconds that so many jobs took when they are done.

It runs where the library lives, and imports nothing of ours but what the others have too.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from typing import Any

from tests.benchmarks.peers import optional

_seen = {"done": 0, "wanted": 0}
_began: list[float] = []


def count() -> None:
    """Count a job; print how long all of them took when they are done."""
    if not _began:
        _began.append(time.perf_counter())
    _seen["done"] += 1
    if _seen["done"] == _seen["wanted"]:
        print(time.perf_counter() - _began[0], flush=True)
        os._exit(0)  # none of these workers knows when to end


def nothing(_: int) -> None:
    """Do nothing."""
    count()


def ours(url: str) -> None:
    from redis_patterns import Jobs
    from redis_patterns.sync import Driver

    with Driver.connect(url) as redis:
        redis.work(Jobs[int]("bench"), lambda _: count(), concurrency=64)


def ours_asyncio(url: str) -> None:
    from redis_patterns import Job, Jobs
    from redis_patterns.asyncio import Driver

    async def handle(_: Job[int]) -> None:
        count()

    async def main() -> None:
        async with Driver.connect(url) as redis:
            await redis.work(Jobs[int]("bench"), handle, concurrency=64)

    asyncio.run(main())


def rq(url: str) -> None:
    import redis

    library: Any = optional("rq")
    connection = redis.Redis.from_url(url)
    library.SimpleWorker([library.Queue("bench", connection=connection)], connection=connection).work(
        logging_level="ERROR"
    )


def arq(url: str) -> None:
    worker: Any = optional("arq.worker")
    connections: Any = optional("arq.connections")

    async def nothing(_: Any, __: int) -> None:
        count()

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    worker.Worker(
        functions=[worker.func(nothing, name="nothing")],
        redis_settings=connections.RedisSettings.from_dsn(url),
        max_jobs=64,
        poll_delay=0.01,
        keep_result=0,
    ).run()


def saq(url: str) -> None:
    library: Any = optional("saq")

    async def nothing(_: Any, *, number: int) -> None:
        del number
        count()

    async def main() -> None:
        queue = library.Queue.from_url(url, name="bench")
        await library.Worker(queue, functions=[("nothing", nothing)], concurrency=64).start()

    asyncio.run(main())


def dramatiq_actor(url: str) -> Any:
    library: Any = optional("dramatiq")
    brokers: Any = optional("dramatiq.brokers.redis")
    library.set_broker(brokers.RedisBroker(url=url))
    return library.actor(nothing)


def dramatiq(url: str) -> None:
    library: Any = optional("dramatiq")
    actor = dramatiq_actor(url)
    worker = library.Worker(actor.broker, worker_threads=16)
    worker.start()
    threading.Event().wait()


def streaq_worker(url: str) -> tuple[Any, Any]:
    library: Any = optional("streaq")
    worker = library.Worker(redis_url=url, concurrency=64)

    async def nothing(_: int) -> None:
        count()

    return worker, worker.task(name="nothing")(nothing)


def streaq(url: str) -> None:
    worker, _ = streaq_worker(url)
    worker.run_sync()


def taskiq_broker(url: str) -> tuple[Any, Any]:
    library: Any = optional("taskiq_redis")
    broker = library.RedisStreamBroker(url, queue_name="bench")

    async def nothing(_: int) -> None:
        count()

    return broker, broker.task(task_name="nothing")(nothing)


def taskiq(url: str) -> None:
    receiver: Any = optional("taskiq.api")

    async def main() -> None:
        broker, _ = taskiq_broker(url)
        await receiver.run_receiver_task(broker, run_startup=True, max_async_tasks=64)

    asyncio.run(main())


def bullmq(url: str) -> None:
    library: Any = optional("bullmq")

    async def process(_: Any, __: str) -> None:
        count()

    async def main() -> None:
        library.Worker("bench", process, {"connection": url, "concurrency": 64})
        await asyncio.Event().wait()

    asyncio.run(main())


if __name__ == "__main__":
    _seen["wanted"] = int(sys.argv[3])
    sys.modules["tests.benchmarks.queue_workers"] = sys.modules["__main__"]  # for those that import by name
    globals()[sys.argv[1]](sys.argv[2])
