"""Bugs in caches, planted one by one into copies of the scripts."""

from __future__ import annotations

from typing import Any

from redis_patterns import Cache, Call, Command, Flow, Plan, Steps, flow
from redis_patterns.testing.simulation import Faults
from tests.simulation.bugs import Bug
from tests.simulation.cache_cases import CACHE, cache_setup
from tests.simulation.mistakes import Mistake

NO_FAULTS = Faults()


class Mistaken(Cache[int]):
    """A cache one of whose scripts has another piece."""

    mistake: Mistake

    def _acquire(self, *args: Any, **kwargs: Any) -> Any:
        return self.mistake.plan(super()._acquire(*args, **kwargs))

    def _fill(self, *args: Any, **kwargs: Any) -> Any:
        return self.mistake.plan(super()._fill(*args, **kwargs))

    def _finish(self, *args: Any, **kwargs: Any) -> Any:
        return self.mistake.plan(super()._finish(*args, **kwargs))

    def _abandon(self, *args: Any, **kwargs: Any) -> Any:
        return self.mistake.plan(super()._abandon(*args, **kwargs))


def mistaken(like: Cache[int], script: str, before: str, after: str) -> Cache[int]:
    """Give a copy of a cache in one of whose scripts a piece is another."""
    kind = type("Mistaken", (Mistaken,), {"mistake": Mistake(script, before, after)})
    names = ("ttl", "stale_for", "lock_ttl", "load_within", "wait", "retry_after")
    made: Cache[int] = kind("sim", **{name: getattr(like, name) for name in names})
    return made


class Naive(Cache[int]):
    """Look, load, store."""

    @flow
    def load(self, key: str, loader: Any, **_: Any) -> Steps[int]:
        stored = yield from Plan("naive.get", (Command(("GET", key)),), lambda answers: answers[0])
        if isinstance(stored, bytes):
            return int(stored)
        loaded = yield from loader if isinstance(loader, Flow) else Call(loader)
        yield from Plan("naive.set", (Command(("SET", key, loaded, "PX", 1000)),), lambda answers: answers[0])
        return int(loaded)

    def invalidate(self, *keys: str, soft: bool = False) -> Plan[int]:
        del soft
        return Plan("naive.del", (Command(("DEL", *keys)),), lambda answers: int(str(answers[0])))


class Immortal(Naive):
    """The same, with the TTL in a second step."""

    @flow
    def load(self, key: str, loader: Any, **_: Any) -> Steps[int]:
        loaded = yield from loader if isinstance(loader, Flow) else Call(loader)
        yield from Plan("naive.set", (Command(("SET", key, loaded)),), lambda answers: answers[0])
        yield from Plan("naive.expire", (Command(("PEXPIRE", key, 1000)),), lambda answers: answers[0])
        return int(loaded)


class StoredAfterSaving(Cache[int]):
    """A write is saved, and stored then."""

    @flow
    def write(self, key: str, value: int, save: Any, **options: Any) -> Steps[bool]:
        yield from save(value)
        yield from self.set(key, value, tags=options["tags"])
        return True


class TagsReadLate(Cache[int]):
    """The ids of the tags are read when the value is stored."""

    @flow
    def load(self, key: str, loader: Any, **options: Any) -> Steps[int]:
        found = yield from self.get(key)
        if isinstance(found, int):
            return found
        loaded = yield from loader if isinstance(loader, Flow) else Call(loader)
        yield from self.set(key, loaded, tags=options["tags"])
        return int(loaded)


CACHE_BUGS = [
    Bug("a value stored whatever happened meanwhile", cache_setup(Naive("sim", ttl=1)), ("stale value",), NO_FAULTS),
    Bug("a TTL in a second step", cache_setup(Immortal("sim", ttl=1)), ("never expires",), NO_FAULTS),
    Bug(
        "tags read after the loader", cache_setup(TagsReadLate("sim", ttl=1), tagged=True), ("stale value",), NO_FAULTS
    ),
    Bug(
        "a lease that is filled by its name",
        cache_setup(mistaken(CACHE, "cache_fill", "epoch == ARGV[1] or", "true or")),
        ("stale value",),
        NO_FAULTS,
    ),
    Bug(
        "a lease that is filled where nothing is",
        cache_setup(mistaken(CACHE, "cache_fill", "epoch == ARGV[1] or", "epoch == '' or epoch == ARGV[1] or")),
        ("stale value",),
        NO_FAULTS,
    ),
    Bug(
        "writes stored after they are saved",
        cache_setup(StoredAfterSaving("sim", ttl=1), through=True, writers=2),
        ("stale value",),
        NO_FAULTS,
    ),
    Bug(
        "two writes at a time, one of which is stored",
        cache_setup(
            mistaken(CACHE, "cache_finish", "redis.call('GETRANGE', KEYS[1], 30, 30) == 'c'", "false"),
            through=True,
            writers=2,
        ),
        ("stale value",),
        NO_FAULTS,
    ),
    Bug(
        "a write that leaves what is there",
        cache_setup(
            mistaken(
                CACHE,
                "cache_finish",
                "redis.call('UNLINK', KEYS[1])\n  return 0\nend\nif redis.call('GETR",
                "return 0\nend\nif redis.call('GETR",
            ),
            through=True,
            writers=2,
        ),
        ("stale value",),
        NO_FAULTS,
    ),
    Bug(
        "a lease that never ends",
        cache_setup(mistaken(CACHE, "cache_acquire", "theirs, 'PX', life)", "theirs)")),
        ("never expires",),
        NO_FAULTS,
    ),
]
