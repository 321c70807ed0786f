"""Entries of a cache: what is asked of Redis for them, and what the answers mean; see `redis_patterns_core.cache`."""

from __future__ import annotations

import enum
import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Final, Generic, Literal, TypeAlias, TypeVar

from redis_patterns_core import keys as names_of
from redis_patterns_core import replies, validate
from redis_patterns_core.codec import Codec, Json, codec_name
from redis_patterns_core.entries import Stored, new_epoch
from redis_patterns_core.errors import ConfigurationError, DecodeError, PatternsError
from redis_patterns_core.flow import Sleep, Steps, flow
from redis_patterns_core.keys import Keys
from redis_patterns_core.plan import Command, Effect, Plan, Script, batch
from redis_patterns_core.replies import Reply
from redis_patterns_core.validate import Duration
from redis_patterns_core.value import value

__all__ = ["MISS", "Acquired", "CacheEntries", "CacheEvent", "Miss", "Seen"]

T = TypeVar("T")

_ACQUIRE = Script.load("cache_acquire")
_FILL = Script.load("cache_fill")
_ABANDON = Script.load("cache_abandon")
_RENEW = Script.load("cache_renew")
_TAG = Script.load("cache_tag")
_BEGIN = Script.load("cache_begin")
_FINISH = Script.load("cache_finish")

_TAGS_OUTLIVE = 60_000
"""Milliseconds for which a tag lives longer than what is stored with it, at least."""


class Miss(enum.Enum):
    """The kind of `MISS`, for type checkers."""

    MISS = "miss"


MISS: Final = Miss.MISS
"""What a cache gives where it has no value; ``None`` is a value."""

CacheEvent: TypeAlias = Literal[
    "hit",
    "miss",
    "stale",
    "negative",
    "refused",
    "waited",
    "gave_up_waiting",
    "takeover",
    "unreadable",
    "load_error",
    "redis_error",
]
"""What a cache tells ``on_event``.

A value was found (``hit``), also one that says that there is none (``negative``), or one that was no longer fresh
(``stale``); none was, and it is loaded (``miss``), when the time of who was to load it has run out (``takeover``);
somebody else loaded it (``waited``), or did not within the time (``gave_up_waiting``); what was loaded was not stored,
as it was invalidated meanwhile (``refused``); the bytes could not be read (``unreadable``); the loader raised
(``load_error``), or Redis could not be asked (``redis_error``).
"""


@value
class Seen(Generic[T]):
    """What a look found: a value, or no value and perhaps the epoch of something that is none."""

    got: T | Miss = field(repr=False)
    epoch: str = ""
    fresh: bool = False
    early: bool = False


@value
class Acquired:
    """What asking for the lease of an entry found.

    Parameters:
        what: see the script ``cache_acquire``.
        epoch: of the entry, or of the lease.
        seconds: that it has left.
        data: the entry, where there is one.
        tags: the ids of the tags that were asked for.
    """

    what: str
    epoch: str
    seconds: float
    data: bytes = field(repr=False)
    tags: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class CacheEntries(Generic[T]):
    """The part of a `Cache` that knows how its entries lie in Redis; its parameters are those of the `Cache`."""

    name: str
    _: KW_ONLY
    ttl: Duration
    codec: Codec[T] = field(default_factory=Json)
    also_reads: Sequence[Codec[T]] = ()
    jitter: float = 0.0
    negative_ttl: Duration | None = None
    stale_for: Duration = 0
    serve_stale: Literal["while_loading", "on_error"] = "while_loading"
    retry_after: Duration = 1
    early: float = 0.0
    lock_ttl: Duration = 5
    load_within: Duration = 60
    wait: Duration = 5
    clearable: bool = False
    namespace: str = ""
    on_event: Callable[[CacheEvent, str], object] | None = None
    _keys: Keys = field(init=False, repr=False)
    _wake_keys: Keys = field(init=False, repr=False)
    _loader_keys: Keys = field(init=False, repr=False)
    _tag_keys: Keys = field(init=False, repr=False)
    _generation_key: str = field(init=False, repr=False)
    _codecs: Mapping[str, Codec[T]] = field(init=False, repr=False)
    _ms: Mapping[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        validate.text("name", self.name)
        validate.namespace(self.namespace)
        for share, most in (("jitter", 1.0), ("early", 1000.0)):
            if not 0 <= validate.finite(share, getattr(self, share)) <= most:
                raise ConfigurationError(
                    f"{share} must be from 0 to {most:g}, not {validate.shown(getattr(self, share))}"
                )
        if self.serve_stale not in ("while_loading", "on_error"):
            raise ConfigurationError(
                f"serve_stale must be 'while_loading' or 'on_error', not {validate.shown(self.serve_stale)}"
            )
        least = {"ttl": 1, "stale_for": 0, "retry_after": 0, "lock_ttl": 1, "load_within": 1, "wait": 0}
        ms = {name: validate.milliseconds(name, getattr(self, name), least=few) for name, few in least.items()}
        negative = self.negative_ttl
        ms["negative_ttl"] = ms["ttl"] if negative is None else validate.milliseconds("negative_ttl", negative, least=0)
        namespace = self.namespace
        codecs = {codec_name(codec): codec for codec in (*self.also_reads, self.codec)}
        object.__setattr__(self, "_ms", ms)
        object.__setattr__(self, "_codecs", codecs)
        object.__setattr__(self, "_keys", Keys("cache", self.name, namespace=namespace))
        object.__setattr__(self, "_wake_keys", Keys("cache", self.name, part="wake", namespace=namespace))
        object.__setattr__(self, "_loader_keys", Keys("cache", self.name, part="loader", namespace=namespace))
        object.__setattr__(self, "_tag_keys", Keys("tag", namespace=namespace))
        object.__setattr__(
            self, "_generation_key", names_of.key("cache", self.name, part="generation", namespace=namespace)
        )

    def key(self, key: str) -> str:
        """Give the key in Redis of an entry.

        Raises:
            ConfigurationError: an empty key.
        """
        return self._keys(validate.text("key", key))

    def _tags(self, tags: Iterable[str]) -> tuple[str, ...]:
        if isinstance(tags, str):
            raise ConfigurationError(f"tags must be several texts, not one: {validate.shown(tags)}")
        names = [self._tag_keys(validate.text("tags", tag)) for tag in tags]
        if self.clearable:
            names.append(self._generation_key)
        return tuple(dict.fromkeys(names))

    def _tag_commands(self, tag_keys: Sequence[str], ttl_ms: int) -> tuple[Command, ...]:
        least = ttl_ms + self._ms["stale_for"] + self._ms["load_within"] + _TAGS_OUTLIVE
        return tuple([_TAG((tag,), new_epoch(), least) for tag in tag_keys])

    def _known(self, tag_keys: Sequence[str], ttl_ms: int) -> Steps[Mapping[str, str]]:
        """Give the ids of tags, which live from now on as long as what has them."""
        if not tag_keys:
            return {}
        commands = self._tag_commands(tag_keys, ttl_ms)
        return (yield from Plan("cache.tags", commands, _ids_of(tag_keys), Effect.IDEMPOTENT))

    def _look_for(
        self, keys: Sequence[str], tag_keys: Sequence[str], chance: Callable[[], float] = random.random
    ) -> Steps[dict[str, Seen[T]]]:
        """Read entries, and the ids of their tags, known ones at once."""
        known = self._tags(()) if not tag_keys else tuple(tag_keys)
        timed = bool(self._ms["stale_for"] or self.early)
        if len(keys) == 1 and not known and not timed:
            # The way of most, without more than it needs.
            answer = yield from Plan("cache.get", (Command(("GET", self.key(keys[0]))),), replies.first, Effect.READS)
            only = self._stored(answer)
            if only is None or not only.tags:
                return {keys[0]: self._seen(only, {}, None, chance)}
        names = [self.key(key) for key in keys]
        commands = [Command(("GET", name)) for name in (*names, *known)]
        if timed:
            commands += [Command(("PTTL", name)) for name in names]
        answers = (yield from Plan("cache.get", tuple(commands), list, Effect.READS)) if names else []
        ids = dict(zip(known, answers[len(names) : len(names) + len(known)], strict=True)) if names else {}
        stored = [self._stored(data) for data in answers[: len(names)]]
        more = dict.fromkeys(tag for one in stored if isinstance(one, Stored) for tag in one.tags if tag not in ids)
        if more:
            asked = Plan("cache.tags", tuple([Command(("GET", tag)) for tag in more]), list, Effect.READS)
            ids.update(zip(more, (yield from asked), strict=True))
        left = [replies.integer(ms) for ms in answers[len(names) + len(known) :]] if timed else [0] * len(names)
        return {
            key: self._seen(one, ids, left[place] if timed else None, chance)
            for place, (key, one) in enumerate(zip(keys, stored, strict=True))
        }

    def _stored(self, data: Reply) -> Stored | None:
        if not isinstance(data, bytes):
            return None
        try:
            return Stored.unpack(data)
        except DecodeError:
            self._tell("unreadable")
            return None

    def _seen(
        self, stored: Stored | None, ids: Mapping[str, Reply], left_ms: int | None, chance: Callable[[], float]
    ) -> Seen[T]:
        if stored is None:
            return Seen(MISS)
        if stored.tags and any(ids[tag] != id.encode() for tag, id in stored.tags.items()):
            return Seen(MISS, stored.epoch)
        got = self._decoded(stored)
        if isinstance(got, Miss):
            return Seen(MISS, stored.epoch)
        if left_ms is None:
            self._tell("negative" if got is None else "hit")
            return Seen(got, stored.epoch, fresh=True)
        fresh_for = (left_ms - self._ms["stale_for"]) / 1000
        if fresh_for <= 0:
            self._tell("stale")
            return Seen(got, stored.epoch)
        self._tell("negative" if got is None else "hit")
        early = self.early > 0 and -stored.cost * self.early * math.log(max(1e-12, 1 - chance())) >= fresh_for
        return Seen(got, stored.epoch, fresh=True, early=early)

    def _decoded(self, stored: Stored) -> T | Miss:
        codec = self._codecs.get(stored.codec)
        if codec is not None:
            try:
                return codec.decode(stored.payload)
            except DecodeError:
                pass
        self._tell("unreadable")
        return MISS

    def _acquire(
        self,
        key: str,
        ttl_ms: int,
        tag_keys: Sequence[str],
        reject: str = "",
        *,
        epoch: str | None = None,
        early: bool = False,
        after: str = "",
    ) -> Plan[Acquired]:
        ms = self._ms
        epoch = epoch or new_epoch()
        names = (self.key(key), self._wake_keys(key), self._loader_keys(key))
        command = _ACQUIRE(names, epoch, ms["lock_ttl"], ms["load_within"], ms["stale_for"], reject, int(early), after)
        ids = _ids_of(tag_keys)

        def parse(answers: Sequence[Reply]) -> Acquired:
            what, theirs, milliseconds, data = replies.array(answers[0], 4)
            seconds = (replies.integer(milliseconds) + 1) / 1000
            payload = data if isinstance(data, bytes) else b""
            kind, said = replies.text(what), replies.text(theirs)
            if kind == "load" and said != epoch:
                self._tell("takeover")
            return Acquired(kind, said, seconds, payload, ids(answers[1:]))

        # Before anything is loaded: a tag that is invalidated from here on has another id than the entry will have.
        commands = (command, *self._tag_commands(tag_keys, ttl_ms))
        return Plan("cache.acquire", commands, parse, Effect.IDEMPOTENT)

    @flow
    def _keep(self, leases: Sequence[tuple[str, str]]) -> Steps[None]:
        """Prolong leases at a third of their time, as long as one of them is there."""
        alive: list[tuple[str, str]] = list(leases)
        while alive:
            yield from Sleep(self._ms["lock_ttl"] / 3000)
            plans = [
                Plan(
                    "cache.renew",
                    (_RENEW((self.key(key),), epoch, self._ms["lock_ttl"]),),
                    replies.first_is_one,
                    Effect.IDEMPOTENT,
                )
                for key, epoch in alive
            ]
            try:
                kept: tuple[bool, ...] = yield from batch(*plans)
            except PatternsError:
                continue
            alive = [lease for lease, still in zip(alive, kept, strict=True) if still]

    def _begin(self, key: str, writing: str) -> Plan[str]:
        command = _BEGIN((self.key(key), self._wake_keys(key)), writing, self._ms["load_within"])
        return Plan("cache.begin", (command,), lambda answers: replies.text(answers[0]), Effect.ONCE)

    def _finish(self, name: str, writing: str, packed: bytes, lifetime_ms: int) -> Plan[bool]:
        command = _FINISH((name,), writing, packed, lifetime_ms)
        return Plan("cache.finish", (command,), replies.first_is_one, Effect.ONCE)

    def _fill(self, key: str, epoch: str, packed: bytes, lifetime_ms: int) -> Plan[bool]:
        command = _FILL((self.key(key), self._wake_keys(key)), epoch, packed, lifetime_ms)
        return Plan("cache.fill", (command,), replies.first_is_one, Effect.IDEMPOTENT)

    def _abandon(self, key: str, epoch: str) -> Plan[bool]:
        names = (self.key(key), self._wake_keys(key), self._loader_keys(key))
        command = _ABANDON(names, epoch, self._ms["retry_after"])
        return Plan("cache.abandon", (command,), replies.first_is_one, Effect.IDEMPOTENT)

    def _packed(self, payload: bytes, cost: float, tags: Mapping[str, str]) -> bytes:
        return Stored(new_epoch(), cost, codec_name(self.codec), tags, payload).pack()

    def _ttl_for(self, loaded: object, ttl_ms: int) -> int:
        """Give how long what was loaded is fresh; 0 where it is not to be stored."""
        if isinstance(loaded, Miss):
            return 0
        return min(ttl_ms, self._ms["negative_ttl"]) if loaded is None else ttl_ms

    def _lifetime(self, ttl_ms: int, chance: float) -> int:
        return max(1, round(ttl_ms * (1 - self.jitter * chance))) + self._ms["stale_for"]

    def _tell(self, event: CacheEvent) -> None:
        if self.on_event is not None:
            self.on_event(event, self.name)


def _ids_of(tag_keys: Sequence[str]) -> Callable[[Sequence[Reply]], Mapping[str, str]]:
    """Give what reads the ids of tags, one from each answer."""
    return lambda answers: {tag: replies.text(answer) for tag, answer in zip(tag_keys, answers, strict=True)}
