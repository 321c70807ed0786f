"""What is simulated of writing behind: those who write, those who save, and what must hold."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from typing import Any

from redis_patterns import Call, Command, PatternsError, Plan, Sleep, Steps, Write, WriteBehind, flow
from redis_patterns.testing.simulation import Setup, World
from redis_patterns_core import replies
from tests.simulation.cache_cases import ping

BEHIND: WriteBehind[int] = WriteBehind("sim", ttl=1, delay=0.05, most_delay=0.2, lease=0.5, retry_after=0.05, batch=2)


def behind_setup(
    behind: Any = BEHIND, *, writers: int = 2, writes: int = 4, savers: int = 2, slow: bool = True
) -> Setup:
    """Clients that write keys, and others that save them.

    Parameters:
        behind: a `WriteBehind`, or something broken in its place.
        writers, writes: how many write, and how often each.
        savers: how many save.
        slow: whether saving may take longer than leases, and fail.
    """

    def setup(world: World) -> None:
        database: dict[str, Write[int]] = {}
        acknowledged: dict[str, int] = {}
        values = itertools.count(1)
        done = [0]

        @flow
        def save(batch: Sequence[Write[int]]) -> Steps[None]:
            yield from ping()
            if slow:
                yield from Sleep(world.random.choice((0, 0, 0.1, 0.7)))
                if world.random.random() < 0.2:
                    raise OSError("the database is away")
            for write in batch:
                yield from Call(saved, write)
                yield from ping()

        def saved(write: Write[int]) -> None:
            # As a store with a column for the sequence does: an older write than what it has is refused.
            if write.key not in database or database[write.key].sequence < write.sequence:
                database[write.key] = write

        @flow
        def writer() -> Steps[None]:
            for _ in range(writes):
                key = world.random.choice(("a", "b", "c"))
                value: Any = next(values)
                with contextlib.suppress(PatternsError):
                    sequence = yield from behind.put(key, value)
                    acknowledged[key] = max(acknowledged.get(key, 0), sequence)
                if slow:
                    yield from Sleep(world.random.choice((0, 0.02, 0.1)))
            done[0] += 1

        @flow
        def saver() -> Steps[None]:
            for _ in range(8):
                with contextlib.suppress(PatternsError, OSError):
                    yield from behind.flush(save, all_now=not slow)
                yield from Sleep(0.06)

        for number in range(writers):
            world.client(f"w{number}", writer())
        for number in range(savers):
            world.client(f"s{number}", saver())

        def nothing_is_lost() -> None:
            waiting = recorded(world, "dirty")
            dead = recorded(world, "dead")
            for key, sequence in acknowledged.items():
                there = max(waiting.get(key, 0), dead.get(key, 0), database[key].sequence if key in database else 0)
                assert there >= sequence, f"{key}: {there} instead of {sequence}"

        def all_is_due() -> None:
            due = {replies.text(key) for key, _ in pairs(world, ("ZRANGE", name("due"), 0, -1, "WITHSCORES"))}
            assert set(recorded(world, "dirty")) <= due

        world.invariant("a write is lost", nothing_is_lost)
        world.invariant("a write that is never due", all_is_due)

    return setup


def name(kind: str) -> str:
    return BEHIND._key(0, kind)


def pairs(world: World, words: tuple[Any, ...]) -> Sequence[tuple[Any, Any]]:
    plan = Plan("looked", (Command(words),), lambda answers: answers[0])
    return replies.pairs(world.server.run(plan))


def recorded(world: World, kind: str) -> dict[str, int]:
    """Give the sequence numbers of what waits, or is dead, by key."""
    return {replies.text(key): int(record.split(b":")[0]) for key, record in pairs(world, ("HGETALL", name(kind)))}


BEHIND_CASES: dict[str, Setup] = {"writing behind": behind_setup()}
