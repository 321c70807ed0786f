"""Counters by time against the commands that one would write by hand with redis-py.

``add`` counts in minutes, hours and days; by hand that is INCR and EXPIRE on a key for each, one after another or in a
pipeline. ``read`` gives the counts of a day of minutes, each of which has some; by hand that is MGET of 1,440 keys.
Round trips are counted where bytes are sent.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import redis

from redis_patterns import DAY, HOUR, MINUTE, BucketedCounter, Outcome, Subject
from redis_patterns.sync import Driver
from tests.benchmarks.harness import Case, Contender, Work
from tests.benchmarks.lab import Group, Lab
from tests.benchmarks.tables import Table, tabulate
from tests.benchmarks.workload import calling

__all__ = ["GROUP"]

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
def both(path: str, *, counting: bool) -> Generator[tuple[Driver, redis.Redis]]:
    """Give a driver and a client, both as they are or with their round trips counted."""
    kind: Any = Counted if counting else redis.UnixDomainSocketConnection
    pool = redis.ConnectionPool(connection_class=kind, path=path)
    with (
        Driver.connect(f"unix://{path}", instrument=RoundTrips() if counting else None) as driver,
        redis.Redis(connection_pool=pool) as client,
    ):
        yield driver, client


def fill(driver: Driver, client: redis.Redis) -> None:
    """Count a day of minutes by each."""
    now = datetime.now(UTC)
    for minute in range(1440):
        driver.run(COUNTER.add(minute, at=now - timedelta(minutes=minute)))
        client.set(f"bench:minute:{int(now.timestamp() // 60 * 60) - minute * 60}", minute)


def works(driver: Driver, client: redis.Redis) -> dict[str, dict[str, Callable[[], object]]]:
    """Give what is compared."""
    return {
        "count-add": {
            "ours": lambda: driver.run(COUNTER.add()),
            "redis-py, one by one": lambda: add_by_hand(client),
            "redis-py, a pipeline": lambda: add_in_a_pipeline(client),
        },
        "count-read": {
            "ours": lambda: driver.run(COUNTER.last(MINUTE, 1440)),
            "redis-py, MGET": lambda: read_by_hand(client),
        },
    }


TITLES = {"count-add": "counting in minutes, hours and days", "count-read": "the counts of a day of minutes"}


def _opening(call: Callable[[], object]) -> Callable[[], contextlib.AbstractAsyncContextManager[Work]]:
    @contextlib.asynccontextmanager
    async def opening() -> AsyncGenerator[Work]:
        yield calling(call)

    return opening


def _trips(call: Callable[[], object]) -> float:
    call()  # the script is loaded
    before = SENT[0]
    call()
    return float(SENT[0] - before)


def _tables(lab: Lab) -> Iterator[Table]:
    path = lab.server.socket_path
    with both(path, counting=True) as (driver, client):
        fill(driver, client)
        counts = {
            name: {who: {"round trips": _trips(call)} for who, call in calls.items()}
            for name, calls in works(driver, client).items()
        }
    with both(path, counting=False) as (driver, client):
        cases = [
            Case(name, TITLES[name], "", [Contender(who, _opening(call)) for who, call in calls.items()])
            for name, calls in works(driver, client).items()
        ]
        yield from lab.measure(cases, counts)
        sizes: dict[str, list[float]] = {}
        keys: dict[str, dict[str, float]] = {}
        for who, pattern in (("ours", "counter:{bench}:60s:*"), ("redis-py, a key for each", "bench:minute:*")):
            found = client.keys(pattern)
            sizes[who] = [float(sum(int(client.memory_usage(key, samples=0) or 0) for key in found))]
            keys[who] = {"keys": float(len(found))}
        yield tabulate("count-memory", "memory of a day of minutes", sizes, ours="ours", unit="bytes", counted=keys)


GROUP = Group(
    "counters",
    "Counters by time",
    "Counting and reading in synchronous code, against the commands that one would write by hand: a key for each "
    "minute, hour and day. Round trips are counted where bytes are sent.",
    _tables,
)
