"""What is simulated of caches: those who read, those who write and invalidate, and what must hold."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

from redis_patterns import Cache, Call, Command, Effect, PatternsError, Plan, Sleep, Steps, flow
from redis_patterns.testing.simulation import Setup, World

TTL = 1.0
CACHE: Cache[int] = Cache("sim", ttl=TTL, lock_ttl=0.3, load_within=0.6, wait=0.5)
HASTY: Cache[int] = Cache("sim", ttl=TTL, lock_ttl=0.3, load_within=0.6, wait=0)
STALE: Cache[int] = Cache("sim", ttl=0.2, stale_for=1, lock_ttl=0.3, load_within=0.6, wait=0.5, retry_after=0.1)


def ping() -> Plan[Any]:
    """Give a step at which others may go on."""
    return Plan("ping", (Command(("PING",)),), len, Effect.READS)


def cache_setup(
    cache: Any = CACHE,
    *,
    readers: int = 2,
    reads: int = 3,
    writers: int = 1,
    writes: int = 3,
    tagged: bool = False,
    several: bool = False,
    slow: bool = True,
    sets: bool = False,
    through: bool = False,
) -> Setup:
    """Clients that load a value, and others that change it and invalidate.

    Parameters:
        cache: a `Cache`, or something broken in its place.
        readers, reads: how many load, and how often each.
        writers, writes: how many change it, and how often each.
        tagged: whether it is invalidated by a tag.
        several: whether it is loaded together with another key.
        slow: whether loads and what lies between may take longer than leases and TTLs.
        sets: whether the writer stores the new value instead of invalidating the old.
        through: whether it writes through the cache.
    """

    def setup(world: World) -> None:
        version, invalidated, wrong = [0], [0], list[str]()
        # Which write of the database each version was: those that write through may overtake each other.
        numbers = {0: 0}
        tags = ("t",) if tagged else ()

        @flow
        def from_the_database() -> Steps[int]:
            seen = version[0]
            yield from ping()
            if slow:
                yield from Sleep(world.random.choice((0, 0, 0.05, 0.4, 0.8)))
            if world.random.random() < 0.1 and slow:
                raise OSError("the database is away")
            return seen

        @flow
        def several_from_the_database(keys: Any) -> Steps[dict[str, int]]:
            one = yield from from_the_database()
            return dict.fromkeys(keys, one)

        @flow
        def reader() -> Steps[None]:
            for _ in range(reads):
                least = invalidated[0]
                try:
                    got = yield from load()
                except (PatternsError, OSError):
                    continue
                if numbers[got] < least:
                    wrong.append(f"{got} after {least} was invalidated")
                if slow:
                    yield from Sleep(world.random.choice((0, 0.02, 0.3)))

        def load() -> Steps[int]:
            if several:
                found: dict[str, int] = yield from cache.load_many(["k", "other"], several_from_the_database, tags=tags)
                return found["k"]
            one: int = yield from cache.load("k", from_the_database(), tags=tags, chance=world.random.random)
            return one

        @flow
        def writer() -> Steps[None]:
            for _ in range(writes):
                if slow:
                    yield from Sleep(world.random.choice((0, 0.02, 0.3)))
                if through:
                    value = next(values)
                    with contextlib.suppress(PatternsError, OSError):
                        yield from cache.write("k", value, save, tags=tags)
                        invalidated[0] = max(invalidated[0], numbers[value])
                    continue
                yield from Call(write)
                now = version[0]
                with contextlib.suppress(PatternsError):
                    if sets:
                        yield from cache.set("k", now, tags=tags)
                    elif tagged:
                        yield from cache.invalidate_tags("t")
                    else:
                        yield from cache.invalidate("k")
                    invalidated[0] = max(invalidated[0], now)

        def write() -> None:
            version[0] += 1
            numbers[version[0]] = version[0]

        @flow
        def save(value: int) -> Steps[None]:
            yield from ping()
            if slow:
                yield from Sleep(world.random.choice((0, 0, 0.05, 0.4, 0.8)))
            yield from Call(saved, value)
            yield from ping()
            if world.random.random() < 0.1 and slow:
                raise OSError("the database is away")

        def saved(value: int) -> None:
            version[0] = value
            numbers[value] = len(numbers)

        values = itertools.count(1)
        for number in range(readers):
            world.client(f"r{number}", reader())
        for number in range(writers):
            world.client(f"w{number}", writer())

        def nothing_stale() -> None:
            assert not wrong, wrong[0]

        def every_key_expires() -> bool:
            return len(world.server.expiries()) == len(world.server.keys())

        def nobody_fails() -> None:
            failed = [client.error for client in world.clients.values() if client.state == "failed"]
            assert all(isinstance(error, PatternsError | OSError) for error in failed), failed

        world.invariant("an error that is none of the database", nobody_fails)
        world.invariant("a stale value", nothing_stale)
        world.invariant("a key that never expires", every_key_expires)

    return setup


CACHE_CASES: dict[str, Setup] = {
    "cache": cache_setup(),
    "cache, stale values": cache_setup(STALE),
    "cache, tags": cache_setup(tagged=True),
    "cache, stale values by tags": cache_setup(STALE, tagged=True),
    "cache, set": cache_setup(sets=True),
    "cache, many": cache_setup(several=True),
    "cache, written through": cache_setup(through=True, writers=2),
    "cache, written through, with tags": cache_setup(through=True, writers=2, tagged=True),
}
