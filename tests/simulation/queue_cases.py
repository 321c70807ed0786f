"""What is simulated of the simple queues: those who put items, those who take them, and what must hold; with a bug."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from redis_patterns import (
    Call,
    Command,
    DelayedQueue,
    Empty,
    FifoQueue,
    PatternsError,
    Plan,
    PriorityQueue,
    Sleep,
    Steps,
    flow,
)
from redis_patterns.testing.simulation import SOME, Setup, World
from redis_patterns_core import replies
from tests.simulation.bugs import Bug
from tests.simulation.mistakes import Mistake

FIFO: FifoQueue[str] = FifoQueue("sim")
BY_PRIORITY: PriorityQueue[str] = PriorityQueue("sim")
LATER: DelayedQueue[str] = DelayedQueue("sim")


def queue_setup(queue: Any, *, producers: int = 2, takers: int = 3, puts: int = 5, turns: int = 6) -> Setup:
    """Clients that put items, each once, and clients that take them.

    Parameters:
        queue: one of the three, or something broken in its place.
        producers, puts: how many put items, and how many each.
        takers, turns: how many take items, and how often each does.
    """

    def setup(world: World) -> None:
        accepted: set[str] = set()
        taken: list[str] = []
        maybe_taken = 0

        def unsure() -> None:
            nonlocal maybe_taken
            maybe_taken += 1

        def sure() -> None:
            nonlocal maybe_taken
            maybe_taken -= 1

        def put(item: str) -> Plan[int]:
            if isinstance(queue, PriorityQueue):
                return queue.put(item, int(item[-1]) % 3)
            if isinstance(queue, DelayedQueue):
                return queue.put(item, delay=world.random.choice((None, 0.05, 0.3)))
            plan: Plan[int] = queue.put(item)
            return plan

        @flow
        def puts_items(number: int) -> Steps[None]:
            for place in range(puts):
                yield from Sleep(world.random.choice((0, 0.02, 0.2)))
                item = f"{number}-{place}"
                with contextlib.suppress(PatternsError):
                    yield from put(item)
                    yield from Call(accepted.add, item)

        @flow
        def takes_items() -> Steps[None]:
            for _ in range(turns):
                yield from Sleep(world.random.choice((0, 0.02, 0.1)))
                # From when it asks until it has an answer, an item may be its own without anybody's knowing.
                yield from Call(unsure)
                with contextlib.suppress(PatternsError):
                    item: str | Empty = yield from queue.pop(wait=world.random.choice((0, 0.1)))
                    yield from Call(sure)
                    if isinstance(item, str):
                        yield from Call(taken.append, item)

        for number in range(producers):
            world.client(f"p{number}", puts_items(number))
        for number in range(takers):
            world.client(f"t{number}", takes_items())

        def there() -> list[str]:
            keys = [("LRANGE", FIFO.key, 0, -1), ("ZRANGE", BY_PRIORITY.key, 0, -1), ("ZRANGE", LATER._delayed, 0, -1)]
            commands = tuple(Command(words) for words in keys)
            answers: Sequence[Any] = world.server.run(Plan("looked", commands, lambda answers: answers))
            ready, by_priority, later = (replies.array(answer) for answer in answers)
            numbered = [member[16:] for member in (*by_priority, *later) if isinstance(member, bytes)]
            return [FIFO.codec.decode(item) for item in (*ready, *numbered) if isinstance(item, bytes)]

        def each_is_in_one_place() -> None:
            items = [*there(), *taken]
            assert len(items) == len(set(items)), f"doubled: {sorted(items)}"

        def nothing_is_lost() -> None:
            lost = accepted - {*there(), *taken}
            assert len(lost) <= maybe_taken, f"{sorted(lost)} are lost, and {maybe_taken} may have been taken"

        def nobody_fails() -> None:
            failed = [client.error for client in world.clients.values() if client.state == "failed"]
            assert not failed, failed

        world.invariant("an item in two places", each_is_in_one_place)
        world.invariant("an item in no place", nothing_is_lost)
        world.invariant("an error that is none of the library's", nobody_fails)

    return setup


_COPIED = Mistake("delayed_promote", "redis.call('ZREM'", "redis.call('ZSCORE'")


class TwoSteps(DelayedQueue[str]):
    """Items that are due are put where they are taken from, and stay where they were."""

    def _promotion(self, most: int) -> Command:
        return _COPIED.command(super()._promotion(most))


QUEUE_CASES: dict[str, Setup] = {
    "queue in order": queue_setup(FIFO),
    "queue by priority": queue_setup(BY_PRIORITY),
    "queue of delayed items": queue_setup(LATER),
}
QUEUE_BUGS = [
    Bug("an item that is due, copied and not moved", queue_setup(TwoSteps("sim")), ("doubled",), SOME),
]
