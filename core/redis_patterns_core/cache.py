"""Caches: values by key, loaded when they are missing, by one at a time, and never stored after an invalidation.

Promises: a value and its TTL are one command; ``None``, ``False``, 0 and "" are values; bytes that cannot be read are a
miss. What `Cache.load` gives was loaded by a loader that began after the last invalidation which was over when it was
called. One loader at a time for each key, in all processes, as long as the lease of who loads runs: it is prolonged
while the loader does. Whatever Redis does, a value that was loaded is given to its caller.

How: who finds nothing takes a lease in the place of the entry, with an epoch of its own, and what it loads is stored
only where that epoch still is. An invalidation removes the entry, and the lease with it. That nothing is there never
allows to store, so that eviction and expiry are on the safe side. Tags are random ids, each under its own key, that an
entry remembers from before it was loaded.

Keys: ``cache:{NAME:KEY}``, a string, with a TTL; ``cache:{NAME:KEY}:wake``, a list, for a second, when a load that
others waited for is over; ``cache:{NAME:KEY}:loader``, a string, who took over a lease or refreshes a value, for
``lock_ttl``; ``tag:{TAG}`` and ``cache:{NAME}:generation``, strings, which live longer than what was stored with them.

Sources: Nishtala et al., "Scaling Memcache at Facebook", NSDI 2013, section 3.2.1, for the lease; Vattani, Chierichetti
and Lowenstein, "Optimal Probabilistic Cache Stampede Prevention", VLDB 2015, for loading early.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from redis_patterns_core import keys as names_of
from redis_patterns_core import replies, validate
from redis_patterns_core.cache_entries import MISS, Miss
from redis_patterns_core.cache_loads import CacheLoads, Loader, Loading, ManyLoader, loaded_by, none_seen, quietly
from redis_patterns_core.entries import new_epoch
from redis_patterns_core.errors import (
    CommandFailed,
    ConfigurationError,
    OutcomeUnknown,
    Unreachable,
)
from redis_patterns_core.flow import Defer, Flow, Now, Shared, Steps, flow
from redis_patterns_core.plan import Command, Effect, Plan, Script, batch
from redis_patterns_core.replies import Reply
from redis_patterns_core.scanning import unlink_matching
from redis_patterns_core.validate import Duration

__all__ = ["Cache"]

T = TypeVar("T")

_SOFTEN = Script.load("cache_soften")
_TOUCH = Script.load("cache_touch")


@dataclass(frozen=True, eq=False)
class Cache(CacheLoads[T]):
    """A cache; a constant, made once and shared by all who use it.

    Parameters:
        name: what is cached, such as ``users``.
        ttl: how long a value is fresh, in seconds or as a timedelta, 1 ms or more.
        codec: writes and reads the values; JSON unless another is given.
        also_reads: codecs that wrote values before; theirs are read too.
        jitter: by which share the TTL is shortened at random, 0 to 1, so that what was stored together does not
            expire together.
        negative_ttl: how long ``None`` is fresh; 0 does not store it; ``ttl`` where none is given.
        stale_for: how long a value may be served after it was fresh; 0 never.
        serve_stale: ``while_loading`` serves it at once and loads behind it; ``on_error`` loads first, and serves it
            only where that fails, or somebody else is loading.
        retry_after: how long a stale value is not loaded again, in all processes, after a loader has failed.
        early: how eagerly a fresh value is loaded before it is stale, at random and by what it cost to load; 1 is the
            best by the paper, 0 never does.
        lock_ttl: how long a loader that does not prolong its lease, as it is dead, keeps others waiting.
        load_within: how long a loader may take so that its value is stored.
        wait: how long to wait for somebody else's loader, in this process or another; then a value is loaded without
            being stored.
        clearable: whether `clear` can forget everything in one step, which costs each look one GET more.
        namespace: a prefix of the keys.
        on_event: is told what happens: the event's name, and the cache's. It should raise nothing: that would be raised
            by whoever uses the cache.

    Raises:
        ConfigurationError: an empty name, a duration, a share or a choice that is not allowed.
    """

    # Looking

    @flow
    def get(self, key: str) -> Steps[T | Miss]:
        """Look for a value.

        Returns:
            A flow that gives the value, or `MISS`; a stale one counts. One round trip, two where the entry has tags.

        Raises:
            ConfigurationError: an empty key.
        """
        found = yield from self.get_many((key,))
        return found.get(key, MISS)

    @flow
    def get_many(self, keys: Iterable[str]) -> Steps[dict[str, T]]:
        """Look for several values.

        Returns:
            A flow that gives those that are there, stale ones too. One round trip, two where entries have tags.

        Raises:
            ConfigurationError: an empty key.
        """
        wanted = list(dict.fromkeys(keys))
        seen = yield from self._look_for(wanted, ())
        return {key: found.got for key, found in seen.items() if not isinstance(found.got, Miss)}

    def ttl_of(self, key: str) -> Plan[float | None]:
        """Tell for how many seconds a value is still fresh, 0 where it is stale; ``None`` where there is none.

        One round trip.

        Raises:
            ConfigurationError: an empty key.
        """
        name = self.key(key)
        commands = (Command(("GETRANGE", name, 0, 0)), Command(("PTTL", name)))

        def parse(answers: Sequence[Reply]) -> float | None:
            left = replies.integer(answers[1])
            return None if answers[0] != b"V" or left < 0 else max(0.0, (left - self._ms["stale_for"]) / 1000)

        return Plan("cache.ttl_of", commands, parse, Effect.READS)

    @flow
    def touch(self, key: str, ttl: Duration | None = None) -> Steps[bool]:
        """Let a value be fresh for so long from now; one that was invalidated softly stays stale.

        Parameters:
            key: whose.
            ttl: in seconds or as a timedelta; the cache's where none is given.

        Returns:
            A flow that tells whether there was a value, and not an invalidated one; one round trip, two where it has
            tags or the cache is clearable, as what invalidates it then has to live as long.

        Raises:
            ConfigurationError: an empty key, or a TTL that is not allowed.
        """
        ttl_ms = self._ms["ttl"] if ttl is None else validate.milliseconds("ttl", ttl)
        command = _TOUCH((self.key(key),), ttl_ms + self._ms["stale_for"])
        stored = self._stored((yield from Plan("cache.touch", (command,), replies.first, Effect.IDEMPOTENT)))
        if stored is None:
            return False
        # A new id of a tag that is gone brings nothing back: a value is one only with the ids that it was stored with.
        return (yield from self._known(tuple(stored.tags), ttl_ms)) == stored.tags

    # Storing

    @flow
    def set(self, key: str, value: T, *, ttl: Duration | None = None, tags: Iterable[str] = ()) -> Steps[None]:
        """Store a value; what others are loading for this key at the moment is not stored.

        Parameters:
            key: where.
            value: what.
            ttl: how long it is fresh, in seconds or as a timedelta; the cache's where none is given.
            tags: by which it can be invalidated.

        Returns:
            A flow of one round trip, two with tags or where the cache is clearable.

        Raises:
            ConfigurationError: an empty key or tag, or a TTL that is not allowed.
            EncodeError: the codec cannot write the value.
        """
        yield from self.set_many({key: value}, ttl=ttl, tags=tags)

    @flow
    def set_many(
        self, values: Mapping[str, T], *, ttl: Duration | None = None, tags: Iterable[str] = ()
    ) -> Steps[None]:
        """Store several values; the same as `set`, in as many round trips for all."""
        ttl_ms = self._ms["ttl"] if ttl is None else validate.milliseconds("ttl", ttl)
        payloads = {self.key(key): self.codec.encode(value) for key, value in values.items()}
        tag_keys = self._tags(tags)
        if payloads:
            ids = yield from self._known(tag_keys, ttl_ms)
            commands = [
                Command(("SET", name, self._packed(payload, 0.0, ids), "PX", self._lifetime(ttl_ms, random.random())))
                for name, payload in payloads.items()
            ]
            yield from Plan("cache.set", tuple(commands), _nothing, Effect.IDEMPOTENT)

    # Loading

    @flow
    def load(
        self,
        key: str,
        loader: Loader[T],
        *,
        ttl: Duration | None = None,
        tags: Iterable[str] = (),
        chance: Callable[[], float] = random.random,
    ) -> Steps[T]:
        """Give the value of a key, and load it where the cache has none.

        Parameters:
            key: whose.
            loader: gives the value; called when it is needed, by one of all who want it. It must read what it reads
                from where the invalidations' writes are already to be seen, not from a replica that lags behind.
            ttl: how long the value is fresh, in seconds or as a timedelta; the cache's where none is given.
            tags: by which it can be invalidated.
            chance: random numbers from 0 to 1.

        Returns:
            A flow that gives the value: one round trip where it is there, three where it is loaded, four with tags that
            have to be read apart. When Redis cannot be asked, the loader is, and what it gives is not stored.

        Raises:
            ConfigurationError: an empty key or tag, or a TTL that is not allowed.
            EncodeError: the codec cannot write what was loaded.
            Exception: whatever the loader raised, unless there is a stale value to serve.
        """
        ttl_ms = self._ms["ttl"] if ttl is None else validate.milliseconds("ttl", ttl)
        name, tag_keys = self.key(key), self._tags(tags)
        called_at: float | None = None
        give_up_at = 0.0
        while True:
            try:
                seen = (yield from self._look_for((key,), tag_keys, chance))[key]
            except (Unreachable, OutcomeUnknown, CommandFailed):
                self._tell("redis_error")
                loaded: T = yield from loaded_by(loader)
                return loaded
            if not isinstance(seen.got, Miss) and seen.fresh and not seen.early:
                return seen.got
            now = yield from Now()
            if called_at is None:
                # Not at the beginning, as most calls end before they come here; later is on the safe side.
                called_at, give_up_at = now, now + self._ms["wait"] / 1000
            job = Loading(key, loader, ttl_ms, tag_keys, chance)
            # In one process too nobody is waited for without a bound: two loaders may want each other's keys.
            fetched = yield from Shared(name, self._fetch(job, seen, give_up_at), max(0.0, give_up_at - now))
            # One who came while it was being loaded may have come after an invalidation that the loader did not see.
            if fetched.settled or fetched.began_at >= called_at:
                return fetched.got

    @flow
    def load_many(
        self,
        keys: Iterable[str],
        loader: ManyLoader[T],
        *,
        ttl: Duration | None = None,
        tags: Iterable[str] = (),
        chance: Callable[[], float] = random.random,
    ) -> Steps[dict[str, T]]:
        """Give the values of several keys, and load those that the cache has not, all in one call.

        Parameters:
            keys: whose.
            loader: is given keys, and gives the values of those that there are.
            ttl, tags, chance: as for `load`.

        Returns:
            A flow that gives the values by key; one round trip where all are there, three where some are loaded. Keys
            that others are loading at the moment are waited for, one after the other.

        Raises:
            ConfigurationError, EncodeError, Exception: as for `load`.
        """
        ttl_ms = self._ms["ttl"] if ttl is None else validate.milliseconds("ttl", ttl)
        wanted, tag_keys = list(dict.fromkeys(keys)), self._tags(tags)
        try:
            seen = yield from self._look_for(wanted, tag_keys, chance)
        except (Unreachable, OutcomeUnknown, CommandFailed):
            self._tell("redis_error")
            return dict((yield from loaded_by(loader, wanted)))
        values: dict[str, T] = {
            key: one.got for key, one in seen.items() if not isinstance(one.got, Miss) and one.fresh
        }
        missing = [key for key in wanted if key not in values]
        if not missing:
            return values
        asked = {key: new_epoch() for key in missing}
        acquired = yield from self._ask(
            batch(*[self._acquire(key, ttl_ms, tag_keys, none_seen(seen[key]), epoch=asked[key]) for key in missing]),
            batch(*[self._abandon(key, asked[key]) for key in missing]),
        )
        if acquired is None:
            return values | dict((yield from loaded_by(loader, missing)))
        ours = {key: got for key, got in zip(missing, acquired, strict=True) if got.what in {"load", "refresh"}}
        if ours:
            abandon = batch(*[self._abandon(key, got.epoch) for key, got in ours.items()])
            loaded = yield from self._load_ours(ours, abandon, loader, ttl_ms)
            values |= loaded
        for key in missing:
            if key not in ours:
                one: T | Miss = yield from self.load(key, _one_of(loader, key), ttl=ttl, tags=tags, chance=chance)
                if not isinstance(one, Miss):
                    values[key] = one
        return {key: values[key] for key in wanted if key in values}

    @flow
    def refresh(
        self, key: str, loader: Loader[T], *, ttl: Duration | None = None, tags: Iterable[str] = ()
    ) -> Steps[T]:
        """Load a value anew, whatever the cache has; what others are loading at the moment is not stored.

        Parameters:
            key, loader, ttl, tags: as for `load`.

        Returns:
            A flow of four round trips that gives the value.

        Raises:
            ConfigurationError, EncodeError, Exception: as for `load`.
        """
        yield from quietly(self.invalidate(key))
        value: T = yield from self.load(key, loader, ttl=ttl, tags=tags)
        return value

    # Writing

    @flow
    def write(
        self,
        key: str,
        value: T,
        save: Callable[[T], Any],
        *,
        ttl: Duration | None = None,
        tags: Iterable[str] = (),
    ) -> Steps[bool]:
        """Write a value to where it belongs, and store it in the cache.

        While it is being written nobody stores anything for this key; when several write at the same time nothing is
        stored in the end, as it is not known whose write came last. So the cache never has something older than what
        was written, whoever crashes where: then the key is not cached for up to ``load_within``.

        Parameters:
            key: whose.
            value: what; `MISS` where `save` removes it.
            save: is given the value, and writes it to where it belongs: a function, or a coroutine function.
            ttl: how long the value is fresh; the cache's where none is given.
            tags: by which it can be invalidated.

        Returns:
            A flow that tells whether it is stored in the cache; two round trips, three with tags.

        Raises:
            ConfigurationError: an empty key or tag, or a TTL that is not allowed.
            EncodeError: the codec cannot write the value; it was not saved.
            Exception: whatever `save` raised; the cache has nothing then, as it may have been saved all the same.
            Unreachable, OutcomeUnknown, CommandFailed: it was saved, but the cache may have an older value still.
        """
        ttl_ms = self._ms["ttl"] if ttl is None else validate.milliseconds("ttl", ttl)
        name, tag_keys = self.key(key), self._tags(tags)
        ttl_ms = self._ttl_for(value, ttl_ms)
        payload = self.codec.encode(value) if ttl_ms else b""
        writing = yield from self._announce(key)
        yield from Defer(self._finish(name, writing, b"", 1), on_error_only=True)
        ids: Mapping[str, str] = {}
        if payload:
            with contextlib.suppress(Unreachable, OutcomeUnknown, CommandFailed):
                ids = yield from self._known(tag_keys, ttl_ms)
        yield from loaded_by(save, value)
        packed = self._packed(payload, 0.0, ids) if ttl_ms and len(ids) == len(tag_keys) else b""
        try:
            stored = yield from self._finish(name, writing, packed, self._lifetime(ttl_ms or 1, random.random()))
        except (Unreachable, OutcomeUnknown, CommandFailed):
            self._tell("redis_error")
            if not writing:
                raise
            # Nobody stores anything before the note that it is being written has expired.
            return False
        return stored

    @flow
    def _announce(self, key: str) -> Steps[str]:
        """Note that a value is being written, and give the name under which it is; none where Redis cannot be asked."""
        writing = new_epoch()
        # Before it is sent: its answer may be lost to a cancellation when the note is already there. Where it was added
        # to somebody else's, which has another name, that one stays until its time is over.
        yield from Defer(self._finish(self.key(key), writing, b"", 1), on_error_only=True)
        try:
            return (yield from self._begin(key, writing))
        except (Unreachable, OutcomeUnknown, CommandFailed):
            self._tell("redis_error")
            return ""

    # Invalidating

    def invalidate(self, *keys: str, soft: bool = False) -> Plan[int]:
        """Let values be none from now on; what is being loaded for these keys is not stored.

        Parameters:
            keys: whose.
            soft: serve them as stale ones while they are loaded anew, where the cache serves stale values.

        Returns:
            A plan of one round trip that tells how many there were, leases counted; idempotent.

        Raises:
            ConfigurationError: an empty key, or none at all.
        """
        if not keys:
            raise ConfigurationError("keys must be one at least")
        names = [self.key(key) for key in keys]
        if soft and self._ms["stale_for"]:
            commands = [_SOFTEN((name,), new_epoch(), self._ms["stale_for"]) for name in names]
        else:
            commands = [Command(("UNLINK", name)) for name in names]
        return Plan("cache.invalidate", tuple(commands), replies.sum_of, Effect.IDEMPOTENT)

    def invalidate_tags(self, *tags: str) -> Plan[None]:
        """Let all values with one of these tags be none from now on, in every cache of the namespace.

        Parameters:
            tags: which.

        Returns:
            A plan of one round trip, whatever the number of values; idempotent.

        Raises:
            ConfigurationError: an empty tag, or none at all.
        """
        if not tags:
            raise ConfigurationError("tags must be one at least")
        commands = [Command(("UNLINK", self._tag_keys(validate.text("tags", tag)))) for tag in tags]
        return Plan("cache.invalidate_tags", tuple(commands), _nothing, Effect.IDEMPOTENT)

    def clear(self) -> Plan[None]:
        """Let all values be none from now on; one round trip, whatever their number.

        Raises:
            ConfigurationError: the cache was not made clearable.
        """
        if not self.clearable:
            raise ConfigurationError(f"clearable must be True for cache {self.name!r} to be cleared")
        return Plan("cache.clear", (Command(("UNLINK", self._generation_key)),), _nothing, Effect.IDEMPOTENT)

    @flow
    def invalidate_matching(self, pattern: str) -> Steps[int]:
        """Let all values whose keys match be none from now on: for maintenance, as it looks at all keys of Redis.

        Best effort: what is stored meanwhile may stay. Tags and `clear` are exact, and take one step.

        Parameters:
            pattern: with ``*``, ``?`` and ``[...]`` as in SCAN; text of a user goes through `escape_glob`.

        Returns:
            A flow that tells how many there were, leases counted; a round trip for every 500 keys that Redis has, on
            each primary of a cluster.

        Raises:
            ConfigurationError: an empty pattern.
        """
        before, _, behind = self._keys("*").rpartition("*")
        name = self._keys(validate.text("pattern", pattern)).removeprefix(before).removesuffix(behind)
        return (yield from unlink_matching(f"{names_of.escape_glob(before)}{name}{behind}"))

    @flow
    def forget(self, *keys: str, tags: Iterable[str] = (), matching: Iterable[str] = ()) -> Steps[None]:
        """Invalidate everything that belongs to one thing: its key, what is derived from it, what is tagged with it.

        Parameters:
            keys: as for `invalidate`.
            tags: as for `invalidate_tags`.
            matching: patterns, as for `invalidate_matching`.

        Returns:
            A flow of one round trip, and those for the patterns.

        Raises:
            ConfigurationError: an empty key, tag or pattern.
        """
        plans: list[Plan[Any]] = [self.invalidate(key) for key in keys]
        plans += [self.invalidate_tags(tag) for tag in tags]
        if plans:
            yield from batch(*plans)
        for pattern in matching:
            yield from self.invalidate_matching(pattern)


def _one_of(loader: Callable[[Sequence[str]], Any], key: str) -> Flow[Any]:
    def load() -> Steps[Any]:
        loaded = yield from loaded_by(loader, [key])
        return loaded.get(key, MISS)

    return Flow("cache.load_one", load)


def _nothing(_: Sequence[Reply]) -> None:
    return None
