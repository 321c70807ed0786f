"""What is simulated of everything that is leased in the order of arrival, and what must hold after each step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis_patterns import (
    Command,
    Defer,
    FairLock,
    Lease,
    Lock,
    MultiLock,
    Now,
    PatternsError,
    Plan,
    ReadWriteLock,
    ReentrantLock,
    Semaphore,
    Sleep,
    Steps,
    flow,
)
from redis_patterns.testing.simulation import Setup, World
from redis_patterns_core import replies
from redis_patterns_core.queued import Queued, QueueKeys
from tests.simulation.cases import TTL, alive

DEAD_FOR = 15.0
"""Seconds for which one who waits is taken to be there, at most."""


@dataclass
class Seen:
    """What is known of the line from outside.

    Parameters:
        ahead: of each member in line, with its arrival, those that were in front when it came.
        asking: the members whose clients wait.
        held: the members that hold it.
    """

    ahead: dict[tuple[str, float], set[tuple[str, float]]] = field(
        default_factory=dict[tuple[str, float], "set[tuple[str, float]]"]
    )
    asking: set[str] = field(default_factory=set[str])
    held: set[str] = field(default_factory=set[str])


def line_setup(
    offers: Callable[[World, str], Sequence[Any]],
    together: Callable[[Sequence[Any]], bool],
    keys: QueueKeys,
    *,
    clients: int = 4,
    rounds: int = 3,
    nested: bool = False,
    nobody_dies: bool = False,
    steady: bool = True,
) -> Setup:
    """Clients that take something in the order of arrival, work under it in steps, and give it back.

    Parameters:
        offers: gives what a client may take, by its name.
        together: whether these may be held at one time.
        keys: of what is taken.
        clients, rounds: how many, and how often each.
        nested: whether each takes it a second time while it holds it.
        steady: whether the server's clock is, so that a lease runs for as long as it says.
        nobody_dies: whether nothing goes wrong, so that nobody may be taken to be dead, or wait a moment too long.
    """

    def setup(world: World) -> None:
        believes: dict[str, tuple[Any, float]] = {}
        fences: list[tuple[int, str]] = [(0, "")]
        seen = Seen()
        free_since: list[float | None] = [None]

        def believed(name: str, lock: Any, lease: Lease) -> None:
            assert lease.ends_at is not None
            believes[name] = (lock, lease.ends_at)
            if lease.fence:
                fences.append((lease.fence, name))

        @flow
        def work_once(name: str, token: str, lock: Any) -> Steps[None]:
            member = lock._member(token)
            wait = world.random.choice((60, 60, 0.5, 0))
            seen.asking.add(member)
            lease: Lease | None = yield from lock.wait_for(wait, token=token)
            seen.asking.discard(member)
            if lease is None:
                return
            yield from Defer(lock.release(lease))
            believed(name, lock, lease)
            if nested:
                again: Lease | None = yield from lock.wait_for(0, token=f"{token}-again")
                assert again is not None or world.clock() >= believes[name][1], "its owner does not get in"
                if again is not None:
                    yield from Defer(lock.release(again))
                    believed(name, lock, again)
                    yield from Sleep(0.05)
                    yield from lock.give_back(lease)
                    lease = again
            for turn in range(2):
                yield from Sleep(TTL / 3)
                now = yield from Now()
                if now >= believes[name][1]:
                    break
                if turn == 1:
                    if not (yield from lock.extend(lease)):
                        break
                    believes[name] = (lock, now + TTL)
            del believes[name]
            yield from lock.give_back(lease)

        @flow
        def worker(name: str) -> Steps[None]:
            for number in range(rounds):
                lock = world.random.choice(offers(world, name))
                with contextlib.suppress(PatternsError):
                    yield from work_once(name, f"{name}-{number}", lock)
                believes.pop(name, None)
                yield from Sleep(world.random.choice((0, 0.01, 0.3)))

        for number in range(clients):
            world.client(f"c{number}", worker(f"c{number}"))

        def those_who_may() -> bool:
            now = world.clock()
            held = [lock for name, (lock, ends) in believes.items() if ends > now and alive(world, name)]
            return together(held)

        def every_key_expires() -> bool:
            return len(world.server.expiries()) == len(world.server.keys())

        def fences_grow() -> bool:
            numbers = [fence for fence, _ in fences]
            owners = {fence: {name for number, name in fences if number == fence} for fence in numbers}
            return numbers == sorted(numbers) and all(len(names) == 1 for names in owners.values())

        def in_order() -> None:
            # Whoever is let in has nobody in front but those who gave up, died, or are taken to be dead.
            arrivals = [(replies.text(member), replies.number(score)) for member, score in scored(world, keys.queue)]
            held = {replies.text(member) for member, _ in scored(world, keys.held)}
            in_line = {member for member, _ in seen.ahead}
            for member in held - seen.held - in_line if not nested else ():
                overtaken = [one for one in seen.ahead if one in arrivals]
                assert not overtaken, f"{member} is before {overtaken}"
            seen.held = held
            for place, one in enumerate(arrivals):
                if one not in seen.ahead:
                    seen.ahead[one] = set(arrivals[:place])
            for one in [one for one in seen.ahead if one not in arrivals]:
                member, _ = one
                if member in held:
                    overtaken = [other for other in seen.ahead[one] if other in arrivals]
                    assert not overtaken, f"{member} is before {overtaken}"
                elif nobody_dies:
                    assert member not in seen.asking, f"{member} is not in line any more"
                del seen.ahead[one]

        def nobody_sleeps_too_long() -> bool:
            now = world.clock()
            held = [
                score for _, score in scored(world, keys.held) if replies.number(score) > world.server.time() * 1000
            ]
            asleep = [client for client in world.blocked if client.wakes_at > now]
            if held or not asleep:
                free_since[0] = None
            elif free_since[0] is None:
                free_since[0] = now
            return free_since[0] is None or now - free_since[0] <= (0.05 if nobody_dies else DEAD_FOR + 1)

        def nothing_left() -> bool:
            crashed = any(client.state == "crashed" for client in world.clients.values())
            left = {key for key in world.server.keys() if not key.startswith(f"{keys.wake}:")}  # noqa: SIM118  no dict
            return bool(world.running) or crashed or left <= {keys.fence}

        if steady:
            world.invariant("held by those who exclude each other", those_who_may)
            world.invariant("out of order", in_order)
            world.invariant("those who wait sleep on", nobody_sleeps_too_long)
        world.invariant("a fence that does not grow", fences_grow)
        world.invariant("a key that never expires", every_key_expires)
        world.invariant("something is left behind", nothing_left)

    return setup


def scored(world: World, key: str) -> Sequence[tuple[Any, Any]]:
    """Give the members of a sorted set and their scores."""
    plan = Plan("scored", (Command(("ZRANGE", key, 0, -1, "WITHSCORES")),), lambda answers: answers[0])
    return replies.pairs(world.server.run(plan))


FAIR = FairLock("sim", ttl=TTL)
RW = ReadWriteLock("sim", ttl=TTL)
SEMAPHORE = Semaphore("sim", limit=4, ttl=TTL)


def reentrant(name: str) -> ReentrantLock:
    """Give the reentrant lock of a client."""
    return ReentrantLock("sim", owner=name, ttl=TTL)


def one(held: Sequence[Any]) -> bool:
    """Tell whether no more than one is held."""
    return len(held) <= 1


def readers_or_a_writer(held: Sequence[Any]) -> bool:
    """Tell whether there are readers, or one writer."""
    return len(held) <= 1 or all(lock.word == "read lock" for lock in held)


def enough_permits(held: Sequence[Any]) -> bool:
    """Tell whether there are so many permits."""
    return bool(sum(lock.weight for lock in held) <= SEMAPHORE.limit)


def fair_setup(lock: Queued = FAIR, **options: Any) -> Setup:
    """Clients of a fair lock."""
    return line_setup(lambda _world, _name: [lock], one, FAIR.keys, **options)


def rw_setup(read: Any = RW.read(), write: Any = RW.write(), **options: Any) -> Setup:  # noqa: B008
    """Readers and writers."""
    return line_setup(lambda _world, _name: [read, read, write], readers_or_a_writer, RW.read().keys, **options)


def semaphore_setup(change: Callable[[Semaphore], Any] = lambda made: made, **options: Any) -> Setup:
    """Clients that want some of four permits."""
    wanted = [change(SEMAPHORE.permits(count)) for count in (1, 1, 2, 4)]
    return line_setup(lambda _world, _name: wanted, enough_permits, SEMAPHORE.keys, **options)


def reentrant_setup(make: Callable[[str], Any] = reentrant, **options: Any) -> Setup:
    """Clients that take a lock twice."""
    return line_setup(lambda _world, name: [make(name)], one, reentrant("x").keys, nested=True, **options)


def multi_setup(
    make: Callable[..., Any] = MultiLock, *, clients: int = 3, rounds: int = 3, wait_within: float = 10
) -> Setup:
    """Clients that want two of three locks, named in any order.

    Parameters:
        make: gives several locks of some.
        clients, rounds: how many, and how often each.
        wait_within: seconds that one may have to wait.
    """
    locks = [Lock(name, ttl=TTL) for name in ("a", "b", "c")]

    def setup(world: World) -> None:
        believes: dict[str, tuple[set[str], float]] = {}
        asking_since: dict[str, float] = {}
        looked_at = [0.0]

        @flow
        def work_once(name: str, token: str) -> Steps[None]:
            chosen = world.random.sample(locks, 2)
            lock = make(*chosen)
            asking_since[name] = world.clock()
            lease: Lease | None = yield from lock.wait_for(world.random.choice((60, 60, 0.5, 0)), token=token)
            del asking_since[name]
            if lease is None:
                return
            yield from Defer(lock.release(lease))
            assert lease.ends_at is not None
            believes[name] = ({one.name for one in chosen}, lease.ends_at)
            yield from Sleep(TTL * world.random.choice((0.5, 0.9)))
            now = yield from Now()
            if now < believes[name][1] and (yield from lock.extend(lease)):
                believes[name] = (believes[name][0], now + TTL)
                yield from Sleep(TTL / 2)
            del believes[name]
            yield from lock.give_back(lease)

        @flow
        def worker(name: str) -> Steps[None]:
            for number in range(rounds):
                with contextlib.suppress(PatternsError):
                    yield from work_once(name, f"{name}-{number}")
                believes.pop(name, None)
                asking_since.pop(name, None)
                yield from Sleep(0.01)

        for number in range(clients):
            world.client(f"c{number}", worker(f"c{number}"))

        def apart() -> bool:
            now = world.clock()
            held = [names for name, (names, ends) in believes.items() if ends > now and alive(world, name)]
            return len(set[str]().union(*held)) == sum(map(len, held))

        def no_deadlock() -> bool:
            now = world.clock()
            if now - looked_at[0] > TTL:  # everybody stood still
                asking_since.update(dict.fromkeys(asking_since, now))
            looked_at[0] = now
            return all(now - since < wait_within for name, since in asking_since.items() if alive(world, name))

        def nothing_left() -> bool:
            crashed = any(client.state == "crashed" for client in world.clients.values())
            return bool(world.running) or crashed or all(key.endswith(":fence") for key in world.server.keys())  # noqa: SIM118

        world.invariant("held by those who exclude each other", apart)
        world.invariant("they wait for each other", no_deadlock)
        world.invariant("something is left behind", nothing_left)

    return setup


LEASE_CASES = {
    "fair lock": fair_setup(),
    "readers and writers": rw_setup(),
    "semaphore": semaphore_setup(),
    "reentrant lock": reentrant_setup(),
    "several locks": multi_setup(),
}
