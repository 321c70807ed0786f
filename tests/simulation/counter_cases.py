"""What is simulated of counters: events that are told until they are known to be counted, and what must hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from redis_patterns import (
    DAY,
    MINUTE,
    BucketedCounter,
    Counter,
    NotCounted,
    PatternsError,
    Period,
    ShardedCounter,
    Sleep,
    Steps,
    flow,
)
from redis_patterns.testing.simulation import Setup, World

KEEP: dict[Period, int] = {MINUTE: 600, DAY: 86400}
REMEMBER = 3600.0


@dataclass
class Event:
    """What a client tells.

    Parameters:
        at: when it happened.
        by: how much it counts.
        told_at: when it was told first, by the server's clock.
        least, most: how often it may have been counted.
        over: whether it is not told any more.
    """

    at: datetime
    by: int
    told_at: float
    least: int = 0
    most: int = 1
    over: bool = False


class Ledger:
    """What clients have told, and how much must have been counted of it."""

    def __init__(self, world: World, counter: Any, *, with_ids: bool = True) -> None:
        self.events: list[Event] = []
        self._world = world
        self._counter = counter
        self._with_ids = with_ids

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._world.server.time(), UTC)

    @flow
    def tell(self, name: str, events: int) -> Steps[None]:
        """Tell events; where they have ids, each until there is an answer, and some again."""
        for number in range(events):
            late = self._world.random.choice((0, 5, 300, 700, 4000))
            event = Event(self.now() - timedelta(seconds=late), number + 1, self._world.server.time())
            self.events.append(event)
            for _ in range(5):
                try:
                    yield from self._plan(event, f"{name}-{number}" if self._with_ids else None)
                except NotCounted:
                    break
                except PatternsError:
                    if not self._with_ids:
                        break
                    yield from Sleep(0.1)
                else:
                    event.least = 1
                    if not self._with_ids or self._world.random.random() < 0.7:
                        break  # else it is told again, as by a queue that delivers at least once
            event.over = True

    def _plan(self, event: Event, id: str | None) -> Any:
        if isinstance(self._counter, BucketedCounter):
            return self._counter.add(event.by, at=event.at, event=id)
        return self._counter.increment(event.by, event=id)

    def bounds(self, since: datetime | None = None) -> tuple[int, int]:
        """Give how much must have been counted at the least and at the most."""
        for event in self.events:
            # Sent again when its id is forgotten, it counts again.
            if not event.over and self._world.server.time() - event.told_at > REMEMBER:
                event.most = 9
        kept = [event for event in self.events if since is None or event.at >= since]
        return sum(event.by * event.least for event in kept), sum(event.by * event.most for event in kept)


def by_time_setup(made: Any = BucketedCounter, *, clients: int = 3, events: int = 10, with_ids: bool = True) -> Setup:
    """Clients that count events by time, late ones among them.

    Parameters:
        made: `BucketedCounter`, or something broken in its place.
        clients, events: how many, and how many each tells.
        with_ids: whether events have ids, and are told again where no answer came.
    """

    def setup(world: World) -> None:
        def now() -> datetime:
            return ledger.now()

        counter = made("sim", keep=KEEP, remember=REMEMBER, shards=2, clock=now, chance=world.random.random)
        ledger = Ledger(world, counter, with_ids=with_ids)
        for number in range(clients):
            world.client(f"c{number}", ledger.tell(f"c{number}", events))

        def each_is_right() -> None:
            for period, keep in KEEP.items():
                first = period.start(now() - timedelta(seconds=keep))
                total = world.server.run(counter.total(period, first))
                least, most = ledger.bounds(first)
                assert least <= total <= most, f"{total} by {period.name} instead of {least} to {most}"

        world.invariant("counts are lost or doubled", each_is_right)
        world.invariant("a key never expires", lambda: len(world.server.expiries()) == len(world.server.keys()))

    return setup


def counter_setup(
    made: Callable[[World], Any], *, clients: int = 3, events: int = 10, resets: int = 3, harvesters: int = 1
) -> Setup:
    """Clients that count events, and others that take the counts away.

    Parameters:
        made: gives a `Counter` or a `ShardedCounter`, or something broken in its place.
        clients, events: how many count, and how many events each.
        harvesters, resets: how many reset the counter, and how often each.
    """

    def setup(world: World) -> None:
        counter = made(world)
        ledger = Ledger(world, counter)
        taken, pending = [0], [0]

        @flow
        def harvest() -> Steps[None]:
            for _ in range(resets):
                yield from Sleep(world.random.choice((0, 0.1, 0.3)))
                reset = counter.reset()
                pending[0] += 1
                started = world.server.time()
                got: int | None = None
                while got is None:
                    try:
                        got = yield from reset
                    except PatternsError:
                        yield from Sleep(0.05)
                taken[0] += got
                if world.server.time() - started > REMEMBER:
                    return  # what the first one took is not remembered any more
                pending[0] -= 1

        for number in range(clients):
            world.client(f"c{number}", ledger.tell(f"c{number}", events))
        for number in range(harvesters):
            world.client(f"h{number}", harvest())

        def all_is_there() -> None:
            found = taken[0] + world.server.run(counter.value())
            least, most = ledger.bounds()
            assert found <= most, f"{found} instead of {most} at the most"
            assert pending[0] or least <= found, f"{found} instead of {least} at the least"

        world.invariant("counts are lost or doubled", all_is_there)

    return setup


def plain_counter(_: World) -> Counter:
    return Counter("sim", remember=REMEMBER)


def sharded_counter(world: World) -> ShardedCounter:
    return ShardedCounter("sim", shards=3, remember=REMEMBER, chance=world.random.random)


COUNTER_CASES: dict[str, Setup] = {
    "counts by time": by_time_setup(),
    "counts by time, without ids": by_time_setup(with_ids=False),
    "counts": counter_setup(plain_counter),
    "counts of shards": counter_setup(sharded_counter),
}
