"""What is simulated: for each pattern clients, and what must hold after each of their steps."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from redis_patterns import (
    Call,
    Decision,
    Defer,
    Flow,
    Leaderboard,
    Lease,
    Lock,
    Now,
    OutcomeUnknown,
    PatternsError,
    Plan,
    Sleep,
    Steps,
    TokenBucket,
    flow,
)
from redis_patterns.testing.simulation import Setup, World

TTL = 1.0


# Locks


def lock_setup(lock: Any, *, clients: int = 3, rounds: int = 3) -> Setup:
    """Clients that take a lock, work under it in steps, and give it back.

    Parameters:
        lock: a `Lock`, or something broken in its place.
        clients: how many.
        rounds: how often each wants it.
    """

    def setup(world: World) -> None:
        believes: dict[str, float] = {}
        world.notes["believes"] = believes

        @flow
        def work_once(name: str, token: str) -> Steps[None]:
            lease: Lease | None = yield from lock.wait_for(3, token=token)
            if lease is None:
                return
            yield from Defer(lock.release(lease))
            assert lease.ends_at is not None
            believes[name] = lease.ends_at
            for turn in range(3):
                yield from Sleep(TTL / 3)
                now = yield from Now()
                if now >= believes[name]:
                    break
                if turn == 1:
                    if not (yield from lock.extend(lease)):
                        break
                    believes[name] = now + TTL
            del believes[name]
            yield from lock.give_back(lease)

        @flow
        def worker(name: str) -> Steps[None]:
            for number in range(rounds):
                with contextlib.suppress(PatternsError):
                    yield from work_once(name, f"{name}-{number}")
                believes.pop(name, None)
                yield from Sleep(0.01)

        for number in range(clients):
            world.client(f"c{number}", worker(f"c{number}"))

        def one_holder() -> bool:
            now = world.clock()
            return sum(1 for name, ends in believes.items() if ends > now and alive(world, name)) <= 1

        def every_key_expires() -> bool:
            return len(world.server.expiries()) == len(world.server.keys())

        def nothing_left() -> bool:
            # What a crashed client leaves behind ends with its lease; what the others do, they end themselves.
            crashed = any(client.state == "crashed" for client in world.clients.values())
            return bool(world.running) or crashed or not world.server.keys()

        world.invariant("two hold the lock", one_holder)
        world.invariant("a lock that never expires", every_key_expires)
        world.invariant("a lock is left behind", nothing_left)

    return setup


def alive(world: World, name: str) -> bool:
    return world.clients[name].state == "running"


# Token buckets


def bucket_setup(
    hit: Callable[[str], Plan[Decision] | Flow[Decision]], bucket: TokenBucket, *, clients: int = 3, hits: int = 12
) -> Setup:
    """Clients that hit one bucket.

    Parameters:
        hit: gives a plan or a flow for a client's name.
        bucket: the real one, with its numbers.
        clients, hits: how many, and how often each.
    """

    def setup(world: World) -> None:
        admitted: list[float] = []
        asked, looks = [0], [0]

        @flow
        def hitter(name: str) -> Steps[None]:
            for _ in range(hits):
                before = yield from Now()
                asked[0] += 1
                try:
                    decision: Decision = yield from hit(name)
                except PatternsError:
                    continue
                if decision.allowed:
                    admitted.append(before)
                yield from Sleep(world.random.choice((0.02, 0.02, 0.02, 4.0)))  # crowds, and quiet times

        for number in range(clients):
            world.client(f"c{number}", hitter(f"c{number}"))

        def within_the_limit() -> bool:
            now = world.clock()
            rate = float(bucket.refill_rate)
            return all(
                sum(1 for moment in admitted if moment >= since) <= bucket.capacity + rate * (now - since) + 1e-6
                for since in admitted
            )

        def nobody_pays_twice() -> bool:
            # What is missing from the bucket was asked for, once each. Looking costs as much as a step: not each time.
            looks[0] += 1
            if looks[0] % 8:
                return True
            taken = bucket.capacity - world.server.run(bucket.peek("all")).remaining
            return taken <= asked[0]

        world.invariant("more than the limit", within_the_limit)
        world.invariant("somebody paid twice", nobody_pays_twice)

    return setup


# Leaderboards


def board_setup(
    increment: Callable[[str], Plan[float] | Flow[float]], board: Leaderboard, *, clients: int = 3, rounds: int = 8
) -> Setup:
    """Clients that count on one member of a board.

    Parameters:
        increment: gives a plan or a flow that counts one, for a client's name.
        board: the real one.
        clients, rounds: how many, and how often each.
    """

    def setup(world: World) -> None:
        known, unknown = [0], [0]

        @flow
        def counter(name: str) -> Steps[None]:
            for _ in range(rounds):
                unknown[0] += 1  # until it is known
                try:
                    yield from increment(name)
                except OutcomeUnknown:
                    continue
                except PatternsError:
                    unknown[0] -= 1
                    continue
                yield from Call(settle)

        def settle() -> None:
            unknown[0] -= 1
            known[0] += 1

        for number in range(clients):
            world.client(f"c{number}", counter(f"c{number}"))

        def counted() -> bool:
            score = world.server.run(board.score("all")) or 0.0
            return known[0] <= score <= known[0] + unknown[0]

        world.invariant("counts are lost or doubled", counted)

    return setup


LOCK = Lock("sim", ttl=TTL, retry_every=0.05)
BUCKET = TokenBucket("sim", capacity=5, refill_rate=2)
BOARD = Leaderboard("sim")
