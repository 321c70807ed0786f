"""Which key is whose: the kinds of keys that the patterns write, as one table, and what is wrong with a key.

A key tells by its name alone what it is: ``[namespace:]kind:{name}:part``, see `redis_patterns_core.keys`. A pattern
that writes a new kind of key has a row here; a test runs all patterns, and compares.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from redis_patterns_core import validate
from redis_patterns_core.errors import ConfigurationError
from redis_patterns_core.keys import escape_glob, key
from redis_patterns_core.value import value

__all__ = ["KINDS", "KeyKind", "KnownKey", "Problem", "known", "matching", "problems"]

Problem: TypeAlias = Literal["without TTL", "with TTL", "wrong type", "oversize", "orphan"]

_KEY = re.compile(r"(?P<prefix>(?:[^:{}]+:)?(?P<kind>[a-z]+):\{[^{}]+\})(?::(?P<part>.+))?", re.DOTALL)
_BOARD = r"(?P<home>part:[^:]+(?::.+)?|(?!part:)[^:]+:.+)"


@dataclass(frozen=True, slots=True)
class KeyKind:
    """A kind of keys.

    Parameters:
        pattern: whose they are.
        kind: the word before the braces.
        part: what is behind them; ``*`` stands for a text of somebody's.
        type: what TYPE says of them.
        ttl: whether they have a TTL ``always``, ``never`` or ``either`` way, as the pattern was told.
        needs: what there must be for them to mean anything: the ``board`` that they belong to, the entry of the
            ``session`` among those of its user, a ``record`` for each of their fields; empty for nothing.
        form: a regular expression of the part, where `part` does not say it exactly.
    """

    pattern: str
    kind: str
    part: str
    type: str
    ttl: Literal["always", "never", "either"]
    needs: Literal["", "board", "session", "record"] = ""
    form: str = field(default="", repr=False)

    @property
    def label(self) -> str:
        """How it is written, such as ``lock:{}:fence``."""
        return f"{self.kind}:{{}}:{self.part}" if self.part else f"{self.kind}:{{}}"


@value
class KnownKey:
    """A key that is some pattern's.

    Parameters:
        key: all of it.
        kind: what it is.
        prefix: the part of it that its pattern's other keys share, up to the closing brace.
        part: what is behind.
        home: of what needs a board, the board's key; else empty.
    """

    key: bytes
    kind: KeyKind
    prefix: str
    part: str
    home: str


def _leased(pattern: str, kind: str, *, fence: bool) -> tuple[KeyKind, ...]:
    parts = (("", "zset"), ("queue", "zset"), ("waiting", "zset"), ("wake", "list"), ("wake:*", "list"))
    rows = tuple([KeyKind(pattern, kind, part, type_, "always") for part, type_ in parts])
    return (*rows, KeyKind(pattern, kind, "fence", "string", "always")) if fence else rows


def _all(pattern: str, kind: str, parts: str, type_: str, ttl: Literal["always", "never"]) -> tuple[KeyKind, ...]:
    return tuple([KeyKind(pattern, kind, part, type_, ttl) for part in parts.split()])


KINDS: tuple[KeyKind, ...] = (
    KeyKind("Cache", "cache", "", "string", "always"),
    KeyKind("Cache", "cache", "wake", "list", "always"),
    KeyKind("Cache", "cache", "loader", "string", "always"),
    KeyKind("Cache", "cache", "generation", "string", "always"),
    KeyKind("Cache", "tag", "", "string", "always"),
    *_all("WriteBehind", "behind", "dirty saving failed dead", "hash", "never"),
    KeyKind("WriteBehind", "behind", "due", "zset", "never"),
    KeyKind("WriteBehind", "behind", "last", "string", "never"),
    *_all("WriteBehind", "behind", "value:* load:*", "string", "always"),
    KeyKind("Sessions", "session", "index", "zset", "always"),
    KeyKind("Sessions", "session", "generation", "string", "always"),
    KeyKind("Sessions", "session", "*", "hash", "always", needs="session", form="[A-Za-z0-9_-]{16}"),
    KeyKind("TokenBucket, GCRA, LeakyBucket", "bucket", "*", "string", "always"),
    KeyKind("FixedWindow", "ratelimit", "fixed:*", "string", "always"),
    KeyKind("SlidingCounter", "ratelimit", "counter:*", "string", "always"),
    KeyKind("SlidingLog", "ratelimit", "log:*", "list", "always"),
    *_all("ConcurrencyLimit", "slots", "held:* queue:* waiting:*", "zset", "always"),
    KeyKind("ConcurrencyLimit", "slots", "wake:*", "list", "always"),
    KeyKind("Lock", "lock", "", "string", "always"),
    KeyKind("Lock", "lock", "fence", "string", "always"),
    KeyKind("Lock", "lock", "waiting", "zset", "always"),
    KeyKind("Lock", "lock", "wake", "list", "always"),
    *_leased("FairLock", "fairlock", fence=True),
    *_leased("ReentrantLock", "reentrantlock", fence=True),
    *_leased("ReadWriteLock", "rwlock", fence=True),
    *_leased("Semaphore", "semaphore", fence=False),
    KeyKind("FifoQueue, DelayedQueue", "queue", "", "list", "never"),
    KeyKind("FifoQueue, DelayedQueue", "queue", "failed", "list", "never"),
    KeyKind("PriorityQueue", "pqueue", "", "zset", "never"),
    KeyKind("PriorityQueue", "pqueue", "failed", "list", "never"),
    KeyKind("PriorityQueue", "pqueue", "numbers", "string", "never"),
    KeyKind("DelayedQueue", "delayed", "", "zset", "never"),
    KeyKind("DelayedQueue", "delayed", "numbers", "string", "never"),
    KeyKind("DelayedQueue", "delayed", "wake", "list", "always"),
    *_all("Jobs", "jobs", "ready delayed leased dead", "zset", "never"),
    *_all("Jobs", "jobs", "job errors unique meta progress cancel", "hash", "never"),
    KeyKind("Jobs", "jobs", "data", "hash", "never", needs="record"),
    KeyKind("Jobs", "jobs", "done", "zset", "always"),
    *_all("Jobs", "jobs", "given workers", "hash", "always"),
    *_all("Jobs", "jobs", "wake result:*", "list", "always"),
    # What a board has beside it comes first, as a board of a part or a period has a part too.
    *[
        KeyKind("Leaderboard", "leaderboard", part, type_, "either", needs="board", form=f"(?:{_BOARD}:)?{part}")
        for part, type_ in (("scores", "zset"), ("order", "zset"), ("digits", "hash"), ("data", "hash"))
    ],
    KeyKind("Leaderboard", "leaderboard", "", "zset", "either"),
    KeyKind("Leaderboard", "leaderboard", "*", "zset", "either", form="[a-z0-9]+:.+"),
    KeyKind("Counter, ShardedCounter", "counter", "", "string", "either"),
    KeyKind("Counter, ShardedCounter", "counter", "shard", "string", "never"),
    *[
        KeyKind(pattern, "counter", f"*{word}:*", "string", "always", form=f"(?:shard:)?{word}:.+")
        for pattern, word in (
            ("Counter, ShardedCounter", "increment"),
            ("Counter, ShardedCounter", "reset"),
            ("BucketedCounter", "event"),
        )
    ],
    KeyKind("BucketedCounter", "counter", "*", "hash", "always", form="(?:shard:)?[a-z0-9]+:.+"),
    KeyKind("ExactUniques", "unique", "*:exact", "set", "always"),
    KeyKind("Uniques", "unique", "*", "string", "always", form="[a-z0-9]+:.+"),
    KeyKind("Flags", "flags", "", "hash", "never"),
    KeyKind("Flags", "flags", "changes", "stream", "never"),
    KeyKind("Once", "once", "", "hash", "always"),
)
"""All of them; of several that fit, the first is meant."""

_FORMS = [(row, re.compile(row.form or re.escape(row.part).replace(r"\*", ".+"), re.DOTALL)) for row in KINDS]
_BY_KIND = {kind: [pair for pair in _FORMS if pair[0].kind == kind] for kind in {row.kind for row in KINDS}}


def known(name: bytes) -> KnownKey | None:
    """Tell by its name what a key is; ``None`` where it is no pattern's."""
    try:
        found = _KEY.fullmatch(name.decode())
    except UnicodeDecodeError:
        return None
    if found is None:
        return None
    prefix, part = found["prefix"], found["part"] or ""
    for row, form in _BY_KIND.get(found["kind"], ()):
        fits = form.fullmatch(part)
        if fits is not None:
            home = ""
            if row.needs == "board":
                home = f"{prefix}:{fits['home']}" if fits["home"] else prefix
            return KnownKey(name, row, prefix, part, home)
    return None


def problems(kind: KeyKind, type_: str, ttl_ms: int) -> Sequence[Problem]:
    """Tell what is wrong with a key, as far as its kind says it.

    Parameters:
        kind: the key's.
        type_: what TYPE says.
        ttl_ms: what PTTL says; -1 for none.
    """
    found: list[Problem] = []
    if type_ != kind.type:
        found.append("wrong type")
    if ttl_ms == -1 and kind.ttl == "always":
        found.append("without TTL")
    if ttl_ms >= 0 and kind.ttl == "never":
        found.append("with TTL")
    return found


def matching(namespace: str, glob: str) -> str:
    """Give the glob pattern for SCAN of the keys of a namespace, or of all.

    Parameters:
        namespace: as a pattern is given it; empty for any or none.
        glob: of what is behind the namespace.

    Raises:
        ConfigurationError: an empty glob.
    """
    if not glob:
        raise ConfigurationError("match must be a glob pattern of at least one character, not ''")
    # What a key begins with that has nothing else.
    prefix = key("", "", namespace=validate.namespace(namespace)).removesuffix(":{}")
    return escape_glob(prefix) + glob
