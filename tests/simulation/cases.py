"""What is simulated: for each pattern clients, and what must hold after each of their steps."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any

from redis_patterns import (
    AllOf,
    Call,
    Command,
    ConcurrencyLimit,
    Decision,
    Defer,
    FixedWindow,
    Flow,
    Leaderboard,
    Lease,
    Limit,
    Lock,
    Now,
    OutcomeUnknown,
    PatternsError,
    Plan,
    Sleep,
    SlidingCounter,
    SlidingLog,
    Steps,
    TokenBucket,
    flow,
)
from redis_patterns.testing.simulation import Setup, World
from redis_patterns_core import replies
from redis_patterns_core.flow import perform
from tests.core.limit_models import Counter, Fixed, Log, Model

TTL = 1.0


# Locks


def lock_setup(
    lock: Any, *, clients: int = 3, rounds: int = 3, wakes_within: float = TTL + 0.1, steady: bool = True
) -> Setup:
    """Clients that take a lock, work under it in steps, and give it back.

    Parameters:
        lock: a `Lock`, or something broken in its place.
        clients: how many.
        rounds: how often each wants it.
        wakes_within: seconds for which somebody may wait although it is free.
        steady: whether the server's clock is, so that a lease runs for as long as it says.
    """

    def setup(world: World) -> None:
        believes: dict[str, float] = {}
        fences: list[int] = [0]
        free_since: dict[str, float] = {}
        world.notes["believes"] = believes

        @flow
        def work_once(name: str, token: str) -> Steps[None]:
            lease: Lease | None = yield from lock.wait_for(3, token=token)
            if lease is None:
                return
            yield from Defer(lock.release(lease))
            assert lease.ends_at is not None
            believes[name] = lease.ends_at
            if lease.fence:  # the broken ones have none
                fences.append(lease.fence)
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
            return bool(world.running) or crashed or set(world.server.keys()) <= {f"{LOCK.key}:fence"}

        def fences_grow() -> bool:
            return fences == sorted(set(fences))

        def nobody_sleeps_too_long() -> bool:
            # A wake-up may be lost with who took it: then the others wake by themselves, within the lease that was in
            # their way when they asked.
            now, free = world.clock(), LOCK.key not in world.server.keys()  # noqa: SIM118  no dict
            asleep = {client.name for client in world.blocked if free and client.wakes_at > now}
            for name in asleep ^ set(free_since):
                free_since[name] = now
            for name in set(free_since) - asleep:
                del free_since[name]
            return all(now - since <= wakes_within for since in free_since.values())

        if steady:
            world.invariant("those who wait sleep on", nobody_sleeps_too_long)
            world.invariant("two hold the lock", one_holder)
        world.invariant("a fence that does not grow", fences_grow)
        world.invariant("a lock that never expires", every_key_expires)
        world.invariant("a lock is left behind", nothing_left)

    return setup


def alive(world: World, name: str) -> bool:
    return world.clients[name].running and not world.clients[name].cancelled


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


# Limits of all kinds


def limits_setup(
    hit: Callable[[str, int], Plan[Decision] | Flow[Decision]],
    limits: Sequence[Limit],
    models: Callable[[], Sequence[Model]],
    *,
    refund: Callable[[Decision], Plan[bool]] | None = None,
    exact: bool = True,
    clients: int = 3,
    hits: int = 14,
) -> Setup:
    """Clients that hit limits and now and then give back what they took; what was allowed is told to a model of each.

    Parameters:
        hit: gives a plan or a flow for an id and a cost.
        limits: the real ones.
        models: makes what each of them means, idle.
        refund: gives a plan for a decision; nobody gives back without it.
        exact: whether nothing is lost besides what clients know of.
        clients, hits: how many, and how often each.
    """

    def setup(world: World) -> None:
        kept = models()
        wrong: list[str] = []
        unsure = [0]  # hits and refunds of which it is not known (yet) what became of them

        def told(decision: Decision, cost: int) -> None:
            if decision.allowed:
                for model, (_, _, moment, _) in zip(kept, decision.taken, strict=True):
                    # What may have been taken besides is not in the model: it may only have more room than there was.
                    if not model.take(moment, cost)[0]:
                        wrong.append("more than the limit")
            elif exact and not unsure[0]:
                now = round(world.server.time() * 1_000_000)
                if all(model.look(now, cost)[0] for model in kept):
                    wrong.append("refused although there was room")

        def given_back(decision: Decision, cost: int) -> None:
            for model, (_, _, moment, _) in zip(kept, decision.taken, strict=True):
                with contextlib.suppress(ValueError):  # long ago
                    model.taken.remove((moment, cost))

        @flow
        def hitter() -> Steps[None]:
            for _ in range(hits):
                cost = world.random.choice((1, 1, 2, 3))
                unsure[0] += 1  # for good, where the client ends here
                try:
                    decision: Decision = yield from perform(hit("all", cost))
                except PatternsError as error:
                    unsure[0] -= not isinstance(error, OutcomeUnknown)
                    continue
                unsure[0] -= 1
                told(decision, cost)
                yield from Sleep(world.random.choice((0.01, 0.01, 0.3, 1.1)))
                if refund is not None and decision.allowed and world.random.random() < 0.3:
                    unsure[0] += 1
                    given_back(decision, cost)  # before, as it may not come to it afterwards
                    with contextlib.suppress(PatternsError):
                        yield from refund(decision)
                        unsure[0] -= 1

        for number in range(clients):
            world.client(f"c{number}", hitter())

        def every_key_expires() -> bool:
            return len(world.server.expiries()) == len(world.server.keys())

        world.invariant("more than the limit", lambda: "more than the limit" not in wrong)
        world.invariant("refused although there was room", lambda: "refused although there was room" not in wrong)
        world.invariant("a key that never expires", every_key_expires)

    return setup


# Slots


def slots_setup(slot: Any, most: int, *, clients: int = 4, rounds: int = 3) -> Setup:
    """Clients that take one of so many slots, work in it, and give it back.

    Parameters:
        slot: a `Slot`, or something broken in its place.
        most: how many there are.
        clients: how many want one.
        rounds: how often each.
    """

    def setup(world: World) -> None:
        believes: dict[str, float] = {}
        # When each token's lease is over at the latest; for ever while its client is asking.
        until: dict[str, float] = {}

        @flow
        def work_once(name: str, token: str) -> Steps[None]:
            lease: Lease | None = yield from slot.wait_for(3, token=token)
            if lease is None:
                return
            yield from Defer(slot.release(lease))
            assert lease.ends_at is not None
            believes[name] = lease.ends_at
            for _ in range(3):
                yield from Sleep(TTL * world.random.choice((0.4, 0.4, 1.3)))
                now = yield from Now()
                if not (yield from slot.extend(lease)):
                    break
                believes[name] = now + TTL
            del believes[name]
            yield from slot.give_back(lease)

        @flow
        def worker(name: str) -> Steps[None]:
            for number in range(rounds):
                token = f"{name}-{number}"
                until[token] = math.inf
                with contextlib.suppress(PatternsError):
                    yield from work_once(name, token)
                believes.pop(name, None)
                until[token] = (yield from Now()) + TTL
                yield from Sleep(0.01)

        for number in range(clients):
            world.client(f"c{number}", worker(f"c{number}"))

        def no_lease_is_outlived() -> bool:
            now = world.clock()
            for token, ends in until.items():
                if ends == math.inf and not alive(world, token.partition("-")[0]):
                    until[token] = now + TTL
            held = Plan(
                "held", (Command(("ZRANGE", SLOTS.key("all"), 0, -1, "WITHSCORES")),), lambda answers: answers[0]
            )
            now_there = world.server.time() * 1000
            found = replies.pairs(world.server.run(held))
            live = [replies.text(token) for token, score in found if replies.number(score) > now_there]
            return all(until.get(token, math.inf) > now for token in live)

        def so_many_at_once() -> bool:
            now = world.clock()
            return sum(1 for name, ends in believes.items() if ends > now and alive(world, name)) <= most

        def every_key_expires() -> bool:
            return len(world.server.expiries()) == len(world.server.keys())

        def nothing_left() -> bool:
            if world.running:
                return True
            crashed = sum(client.state == "crashed" for client in world.clients.values())
            return world.server.run(SLOTS.count("all")) <= crashed

        world.invariant("more hold a slot than there are", so_many_at_once)
        world.invariant("a slot is held by the dead", no_lease_is_outlived)
        world.invariant("a key that never expires", every_key_expires)
        world.invariant("a slot is left behind", nothing_left)

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


LOCK = Lock("sim", ttl=TTL)
BUCKET = TokenBucket("sim", capacity=5, refill_rate=2)
BOARD = Leaderboard("sim")
SLOTS = ConcurrencyLimit("sim", limit=2, ttl=TTL)
FIXED = FixedWindow("sim", limit=6, per=1)
LOG = SlidingLog("sim", limit=6, per=1)
COUNTER = SlidingCounter("sim", limit=6, per=1)
SEVERAL = AllOf(FixedWindow("more", limit=8, per=1.5), LOG, COUNTER)


def fixed() -> Sequence[Model]:
    """Give the model of the fixed window."""
    return (Fixed(6, 1_000_000),)


def log() -> Sequence[Model]:
    """Give the model of the sliding log."""
    return (Log(6, 1_000_000),)


def counter() -> Sequence[Model]:
    """Give the model of the sliding counter."""
    return (Counter(6, 1_000_000),)


def several() -> Sequence[Model]:
    """Give the models of all of them."""
    return (Fixed(8, 1_500_000), Log(6, 1_000_000), Counter(6, 1_000_000))
