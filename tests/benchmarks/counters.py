"""Measure counters by time against the commands that one would write by hand with redis-py.

    python tests/benchmarks/counters.py

``add`` counts in minutes, hours and days; by hand that is INCR and EXPIRE on a key for each, one after another or in a
pipeline. ``read`` gives the counts of a day of minutes, each of which has some; by hand that is MGET of 1,440 keys. It
starts a private server on a unix socket, and ends by itself. Times are medians of rounds that take turns, beside the
median of each round's ratio to the first row; round trips are counted where bytes are sent.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import redis

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from redis_patterns import DAY, HOUR, MINUTE, BucketedCounter, Outcome, Subject
from redis_patterns.sync import Driver
from redis_patterns.testing import server

ROUNDS = 31
ADDS, READS = 200, 5
STEPS = {"minute": (60, 90_000), "hour": (3600, 90_000), "day": (86_400, 2_700_000)}
COUNTER = BucketedCounter("bench", keep={MINUTE: 86_400, HOUR: 86_400, DAY: 30 * 86_400})

SENT = [0]


class Counted(redis.UnixDomainSocketConnection):
    """A connection of redis-py whose writes are counted."""

    def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        """Count, and send."""
        SENT[0] += 1
        send: Any = super().send_packed_command
        send(*args, **kwargs)


class RoundTrips:
    """Counts those of a driver."""

    def begin(self, subject: Subject) -> Callable[[Outcome], None]:
        """Note that something runs."""
        del subject
        return self._end

    def _end(self, outcome: Outcome) -> None:
        SENT[0] += outcome.round_trips


def names(moment: float) -> Iterator[tuple[str, int]]:
    """Give the key of each step, as one would by hand, and its TTL in seconds."""
    for name, (step, ttl) in STEPS.items():
        yield f"bench:{name}:{int(moment // step * step)}", ttl


def add_by_hand(client: redis.Redis) -> None:
    for name, ttl in names(time.time()):
        client.incr(name)
        client.expire(name, ttl)


def add_in_a_pipeline(client: redis.Redis) -> None:
    with client.pipeline(transaction=False) as pipeline:
        for name, ttl in names(time.time()):
            pipeline.incr(name)
            pipeline.expire(name, ttl)
        pipeline.execute()


def read_by_hand(client: redis.Redis) -> list[int]:
    first = int(time.time() // 60 * 60) - 1439 * 60
    answers: Any = client.mget([f"bench:minute:{first + number * 60}" for number in range(1440)])
    return [int(answer or 0) for answer in answers]


@contextmanager
def both(path: str) -> Generator[tuple[Driver, redis.Redis]]:
    """Give a driver and a client, and a day of minutes that were counted by each."""
    kind: Any = Counted
    pool = redis.ConnectionPool(connection_class=kind, path=path)
    with (
        Driver.connect(f"unix://{path}", instrument=RoundTrips()) as driver,
        redis.Redis(connection_pool=pool) as client,
    ):
        now = datetime.now(UTC)
        for minute in range(1440):
            driver.run(COUNTER.add(minute, at=now - timedelta(minutes=minute)))
            client.set(f"bench:minute:{int(now.timestamp() // 60 * 60) - minute * 60}", minute)
        yield driver, client


def measured(works: dict[str, Callable[[], object]], calls: int) -> None:
    """Print a row for each: round trips, the median of a call, and its ratio to the first one's."""
    times: dict[str, list[float]] = {name: [] for name in works}
    trips: dict[str, float] = {}
    for _ in range(ROUNDS):
        for name, work in works.items():
            SENT[0] = 0
            began = time.perf_counter()
            for _ in range(calls):
                work()
            times[name].append((time.perf_counter() - began) / calls)
            trips[name] = SENT[0] / calls
    first = times[next(iter(times))]
    for name, taken in times.items():
        ratio = statistics.median([one / ours for one, ours in zip(taken, first, strict=True)])
        print(f"{name:32} {trips[name]:5.1f} round trips {statistics.median(taken) * 1e6:9.1f} us   x{ratio:.2f}")


def main() -> None:
    """Print all figures."""
    with server() as running, both(running.socket_path) as (driver, client):
        print(f"{Path(running.executable).name} {running.version}, {ROUNDS} rounds")
        adds: dict[str, Callable[[], object]] = {
            "add, ours": lambda: driver.run(COUNTER.add()),
            "add, redis-py, one by one": lambda: add_by_hand(client),
            "add, redis-py, a pipeline": lambda: add_in_a_pipeline(client),
        }
        measured(adds, ADDS)
        reads: dict[str, Callable[[], object]] = {
            "read, ours": lambda: driver.run(COUNTER.last(MINUTE, 1440)),
            "read, redis-py, MGET": lambda: read_by_hand(client),
        }
        measured(reads, READS)
        ours = [int(client.memory_usage(key, samples=0) or 0) for key in client.keys("counter:{bench}:60s:*")]
        theirs = [int(client.memory_usage(key, samples=0) or 0) for key in client.keys("bench:minute:*")]
        print(f"memory of a day of minutes: {sum(ours):,} bytes in {len(ours)} keys, {sum(theirs):,} in {len(theirs)}")


if __name__ == "__main__":
    main()
