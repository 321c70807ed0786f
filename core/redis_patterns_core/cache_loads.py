"""How a cache loads what it has not: one flight in a process, one loader in all of them, and no one waits for ever."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from redis_patterns_core.cache_entries import (
    MISS,
    Acquired,
    CacheEntries,
    Miss,
    Seen,
)
from redis_patterns_core.entries import new_epoch
from redis_patterns_core.errors import (
    CommandFailed,
    EncodeError,
    OutcomeUnknown,
    PatternsError,
    Unreachable,
)
from redis_patterns_core.flow import Alongside, Call, Defer, Flow, Now, Sleep, Spawn, Steps, flow
from redis_patterns_core.plan import Command, Plan, batch
from redis_patterns_core.replies import Reply
from redis_patterns_core.value import value

__all__ = ["CacheLoads", "Fetched", "Loader", "Loading", "ManyLoader", "loaded_by", "none_seen", "quietly"]

A = TypeVar("A")
T = TypeVar("T")

Loader: TypeAlias = Callable[[], T] | Callable[[], Awaitable[T]] | Callable[[], Flow[T]] | Flow[T]
"""Gives a value that the cache has not: a function, a coroutine function (in asyncio and trio), or a flow."""

ManyLoader: TypeAlias = (
    Callable[[Sequence[str]], Mapping[str, T]]
    | Callable[[Sequence[str]], Awaitable[Mapping[str, T]]]
    | Callable[[Sequence[str]], Flow[Mapping[str, T]]]
)
"""The same for several keys: gives the values of those that there are."""


@value
class Fetched(Generic[T]):
    """A value from a flight.

    Parameters:
        got: the value.
        settled: whether it is known to have been valid at the end of the flight, so that all who waited may have it.
        began_at: when its loader began, at the earliest.
    """

    got: T = field(repr=False)
    settled: bool
    began_at: float


@value
class Loading(Generic[T]):
    """What is to be loaded, and how."""

    key: str
    loader: Loader[T]
    ttl_ms: int
    tag_keys: tuple[str, ...]
    chance: Callable[[], float]


@dataclass(frozen=True, eq=False)
class CacheLoads(CacheEntries[T]):
    """The part of a cache that loads."""

    @flow
    def _fetch(self, job: Loading[T], seen: Seen[T], give_up_at: float) -> Steps[Fetched[T]]:
        """Get a value that was not seen, or not fresh: load it, or wait for who loads it."""
        now = yield from Now()
        waited_for, reject, early = "", none_seen(seen), seen.early
        while True:
            began_at, epoch = now, new_epoch()
            got = yield from self._ask(
                self._acquire(job.key, job.ttl_ms, job.tag_keys, reject, epoch=epoch, early=early, after=waited_for),
                self._abandon(job.key, epoch),
            )
            if got is None:
                return (yield from self._load_alone(job.loader, seen))
            there = self._there(got, seen)
            if got.what in {"hit", "stale"}:
                if isinstance(there, Miss):
                    reject = got.epoch
                    continue
                if waited_for:
                    self._tell("waited")
                return Fetched(there, settled=False, began_at=began_at)
            if got.what == "refresh" and not isinstance(there, Miss):
                if self.serve_stale == "while_loading" or early:
                    yield from Spawn(self._load_and_store(job, got))
                    return Fetched(there, settled=False, began_at=began_at)
                try:
                    return (yield from self._load_and_store(job, got))
                except EncodeError:
                    raise
                except Exception:  # noqa: BLE001  that is what the stale value is for
                    return Fetched(there, settled=False, began_at=began_at)
            if got.what in {"load", "refresh"}:
                self._tell("miss")
                return (yield from self._load_and_store(job, got))
            if got.what == "failed":
                self._tell("waited")
                return (yield from self._load_alone(job.loader, seen))
            now = yield from Now()
            if now >= give_up_at:
                self._tell("gave_up_waiting")
                return (yield from self._load_alone(job.loader, seen))
            waited_for = got.epoch
            yield from self._wait_for(job.key, min(got.seconds + job.chance() * 0.01, give_up_at - now))
            now = yield from Now()

    @flow
    def _ask(self, acquire: Plan[A], abandon: Plan[Any]) -> Steps[A | None]:
        """Ask whose turn it is to load; gives nothing where Redis cannot be asked."""
        # Before it is asked: its answer may be lost to a cancellation when Redis has already given us the lease.
        yield from Defer(abandon, on_error_only=True)
        try:
            return (yield from acquire)
        except (Unreachable, OutcomeUnknown, CommandFailed):
            self._tell("redis_error")
            return None

    def _there(self, got: Acquired, seen: Seen[T]) -> T | Miss:
        """Give the value that came with the answer, if it is one that may be served."""
        if not got.data or got.epoch == seen.epoch:
            return seen.got
        stored = self._stored(got.data)
        # One with tags that were not asked for cannot be judged here: it is loaded anew.
        if stored is None or any(got.tags.get(tag) != id for tag, id in stored.tags.items()):
            return MISS
        return self._decoded(stored)

    def _wait_for(self, key: str, seconds: float) -> Steps[None]:
        """Wait until a load is over; the element is put back, so that it wakes all."""
        if seconds < 0.001:
            yield from Sleep(seconds)
            return
        wake, blocking = self._wake_keys(key), round(seconds, 3)
        command = Command(("BLMOVE", wake, wake, "LEFT", "RIGHT", blocking))
        try:
            yield from Plan("cache.wait", (command,), _nothing, blocks_for=blocking)
        except (Unreachable, OutcomeUnknown, CommandFailed):
            yield from Sleep(min(seconds, 0.1))

    @flow
    def _load_alone(self, loader: Loader[T], seen: Seen[T]) -> Steps[Fetched[T]]:
        """Load for oneself, without storing; a stale value is served where that fails."""
        began_at = yield from Now()
        try:
            got: T = yield from loaded_by(loader)
        except Exception:
            self._tell("load_error")
            if isinstance(seen.got, Miss):
                raise
            return Fetched(seen.got, settled=False, began_at=began_at)
        return Fetched(got, settled=False, began_at=began_at)

    @flow
    def _load_and_store(self, job: Loading[T], got: Acquired) -> Steps[Fetched[T]]:
        key, loader, ttl_ms = job.key, job.loader, job.ttl_ms
        yield from Defer(self._abandon(key, got.epoch), on_error_only=True)
        began_at = yield from Now()
        try:
            loaded: T = yield from Alongside(loaded_by(loader), self._keep([(key, got.epoch)]))
        except Exception:
            self._tell("load_error")
            raise
        cost = (yield from Now()) - began_at
        ttl_ms = self._ttl_for(loaded, ttl_ms)
        if ttl_ms == 0:
            yield from quietly(self._abandon(key, got.epoch))
            return Fetched(loaded, settled=False, began_at=began_at)
        packed = self._packed(self.codec.encode(loaded), cost, got.tags)
        try:
            stored = yield from self._fill(key, got.epoch, packed, self._lifetime(ttl_ms, job.chance()))
        except (Unreachable, OutcomeUnknown, CommandFailed):
            self._tell("redis_error")
            stored = False
        else:
            if not stored:
                self._tell("refused")
        # That a tag was invalidated meanwhile is seen only by who looks.
        return Fetched(loaded, settled=stored and not got.tags, began_at=began_at)

    def _load_ours(
        self,
        ours: Mapping[str, Acquired],
        abandon: Plan[Any],
        loader: Callable[[Sequence[str]], Any],
        ttl_ms: int,
    ) -> Steps[dict[str, T]]:
        yield from Defer(abandon, on_error_only=True)
        for _ in ours:
            self._tell("miss")
        began_at = yield from Now()
        try:
            loaded: Mapping[str, T] = yield from Alongside(
                loaded_by(loader, list(ours)), self._keep([(key, got.epoch) for key, got in ours.items()])
            )
        except Exception:
            self._tell("load_error")
            raise
        cost = (yield from Now()) - began_at
        plans: list[Plan[bool]] = []
        for key, got in ours.items():
            lifetime = self._ttl_for(loaded.get(key, MISS), ttl_ms)
            if lifetime == 0:
                plans.append(self._abandon(key, got.epoch))
                continue
            packed = self._packed(self.codec.encode(loaded[key]), cost, got.tags)
            plans.append(self._fill(key, got.epoch, packed, self._lifetime(lifetime, random.random())))
        try:
            done = yield from batch(*plans)
        except (Unreachable, OutcomeUnknown, CommandFailed):
            self._tell("redis_error")
        else:
            for _ in range(done.count(False)):
                self._tell("refused")
        return {key: loaded[key] for key in ours if key in loaded}


def none_seen(seen: Seen[Any]) -> str:
    """Give the epoch of something that was there and is no value."""
    return seen.epoch if isinstance(seen.got, Miss) else ""


@flow
def loaded_by(loader: Any, *args: Any) -> Steps[Any]:
    """Run a loader of any kind: a flow, or a function, which may give an awaitable or a flow."""
    loaded: Any = loader
    if not isinstance(loader, Flow):
        loaded = yield from Call(loader, *args)
    if isinstance(loaded, Flow):  # which does not say of what, as pyright sees
        loaded = yield from loaded  # pyright: ignore[reportUnknownVariableType]
    return loaded  # pyright: ignore[reportUnknownVariableType]


def quietly(plan: Plan[Any]) -> Steps[None]:
    """Run a plan that may fail."""
    with contextlib.suppress(PatternsError):
        yield from plan


def _nothing(_: Sequence[Reply]) -> None:
    return None
