"""What is simulated of what is done once: clients that want the same few things done, and what must hold."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass
from typing import Any

from redis_patterns import Command, Once, PatternsError, Plan, Sleep, Steps, flow
from redis_patterns.testing.simulation import Setup, World
from tests.simulation.cache_cases import ping
from tests.simulation.cases import alive

LEASE, KEEP = 0.5, 1000.0
AGAIN: Once[int] = Once("sim", lease=LEASE, keep=KEEP)
REFUSE: Once[int] = Once("sim", lease=LEASE, keep=KEEP, after_crash="refuse")


@dataclass
class Effect:
    """What a function has done to the world outside.

    Parameters:
        id: for which it was done.
        number: its own, which is the result.
        asked_at, at: when its client asked, and when it was done.
    """

    id: str
    number: int
    asked_at: float
    at: float


def once_setup(once: Any = AGAIN, *, clients: int = 3, rounds: int = 4, ids: str = "ab", slow: bool = True) -> Setup:
    """Clients that want things done; where their functions run for longer than a lease, nothing renews it.

    Parameters:
        once: a `Once`, or something broken in its place.
        clients, rounds: how many want something, and how often each.
        ids: what they want done.
        slow: whether functions take time, and fail.
    """

    def setup(world: World) -> None:
        numbers = itertools.count(1)
        effects: dict[int, Effect] = {}
        results: list[tuple[str, int, float]] = []
        # Who is at what, and until when its claim runs, by the server's clock.
        at_it: dict[str, tuple[str, float]] = {}
        wrong: list[str] = []

        @flow
        def work(name: str, id: str, asked_at: float) -> Steps[int]:
            for other, number, given_at in results:
                # It was kept before it was given, and after it was done; what was asked later finds it.
                if other == id and asked_at >= given_at and world.clock() < effects[number].at + KEEP:
                    wrong.append("done again after it was done")
            at_it[name] = (id, ends_at(world, once, id))
            try:
                yield from ping()
                if slow:
                    yield from Sleep(world.random.choice((0, 0, 0.1, 0.7)))
                    if world.random.random() < 0.2:
                        raise OSError("nothing was done")
                number = next(numbers)
                effects[number] = Effect(id, number, asked_at, world.clock())
                yield from ping()
                if slow:
                    yield from Sleep(world.random.choice((0, 0.1)))
                return number
            finally:
                del at_it[name]

        @flow
        def client(name: str) -> Steps[None]:
            for _ in range(rounds):
                id = world.random.choice(ids)
                wait = world.random.choice((0, 0, 0.2, 2)) if slow else 0
                asked_at = world.clock()
                with contextlib.suppress(PatternsError, OSError):
                    number = yield from once.run(
                        id, work, name, id, asked_at, wait=wait, token=f"{name}-{next(numbers)}"
                    )
                    results.append((id, number, world.clock()))
                if slow:
                    yield from Sleep(world.random.choice((0, 0.05)))

        for number in range(clients):
            world.client(f"c{number}", client(f"c{number}"))

        def at_most_once() -> bool:
            # What was asked for so long ago may have been forgotten.
            done = sorted(effects.values(), key=lambda one: one.at)
            return once.after_crash == "again" or all(
                second.at >= min(first.asked_at, second.asked_at) + KEEP
                for first, second in itertools.combinations(done, 2)
                if first.id == second.id
            )

        def one_at_a_time() -> bool:
            now = world.server.time()
            busy = [id for name, (id, ends) in at_it.items() if ends > now and alive(world, name)]
            return len(busy) == len(set(busy))

        def the_same_for_all() -> None:
            for (id, first, _), (other, second, given_at) in itertools.combinations(results, 2):
                if id == other and first != second:
                    assert given_at >= effects[first].at + KEEP, f"{first}, and then {second}"

        def every_key_expires() -> bool:
            return len(world.server.expiries()) == len(world.server.keys())

        def nobody_fails() -> None:
            failed = [client.error for client in world.clients.values() if client.state == "failed"]
            assert not failed, failed

        if once.after_crash == "refuse":
            world.invariant("done twice", at_most_once)
        world.invariant("two are at it", one_at_a_time)
        world.invariant("done again after it was done", lambda: not wrong)
        world.invariant("another result", the_same_for_all)
        world.invariant("a key that never expires", every_key_expires)
        world.invariant("an error that is none of the library's", nobody_fails)

    return setup


def ends_at(world: World, once: Any, id: str) -> float:
    """Give when the claim of an id has run out, by the server's clock; 0 where there is none."""
    plan = Plan("looked", (Command(("HGET", once.key(id), "e")),), lambda answers: answers[0])
    found: Any = world.server.run(plan)
    return int(found or 0) / 1000


ONCE_CASES: dict[str, Setup] = {"once, again": once_setup(AGAIN), "once, refuse": once_setup(REFUSE)}
