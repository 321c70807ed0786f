"""What a key is by its name, and what is wrong with it; that the table is whole is tested in tests/drivers."""

from __future__ import annotations

import pytest

from redis_patterns import ConfigurationError
from redis_patterns_core.keyspace import KINDS, known, matching, problems


@pytest.mark.parametrize(
    ("key", "label", "prefix", "part"),
    [
        (b"lock:{order:1}", "lock:{}", "lock:{order:1}", ""),
        (b"shop:lock:{order:1}:fence", "lock:{}:fence", "shop:lock:{order:1}", "fence"),
        (b"fairlock:{a}:wake:0123", "fairlock:{}:wake:*", "fairlock:{a}", "wake:0123"),
        (b"slots:{ann}:held:ex}:{ports", "slots:{}:held:*", "slots:{ann}", "held:ex}:{ports"),
        (b"bucket:{ann}:api", "bucket:{}:*", "bucket:{ann}", "api"),
        (b"ratelimit:{ann}:log:api", "ratelimit:{}:log:*", "ratelimit:{ann}", "log:api"),
        (b"session:{web:0123456789abcdef}:index", "session:{}:index", "session:{web:0123456789abcdef}", "index"),
        (b"session:{web:x}:0123456789abcdef", "session:{}:*", "session:{web:x}", "0123456789abcdef"),
        (b"cache:{users:1}", "cache:{}", "cache:{users:1}", ""),
        (b"behind:{x:0}:value:a\nb", "behind:{}:value:*", "behind:{x:0}", "value:a\nb"),
        (b"jobs:{mails}:result:7", "jobs:{}:result:*", "jobs:{mails}", "result:7"),
        (b"unique:{page}:day:2026-11-28", "unique:{}:*", "unique:{page}", "day:2026-11-28"),
        (b"unique:{page}:day:2026-11-28:exact", "unique:{}:*:exact", "unique:{page}", "day:2026-11-28:exact"),
        (b"unique:{x}:day:Pacific/Apia:2026-11-28", "unique:{}:*", "unique:{x}", "day:Pacific/Apia:2026-11-28"),
        (
            b"unique:{x}:day:UTC+05:30:2026-11-28:exact",
            "unique:{}:*:exact",
            "unique:{x}",
            "day:UTC+05:30:2026-11-28:exact",
        ),
        (b"counter:{a}:increment:7", "counter:{}:*increment:*", "counter:{a}", "increment:7"),
    ],
)
def test_a_key_says_what_it_is(key: bytes, label: str, prefix: str, part: str) -> None:
    """Kind, part and what the pattern's other keys share are read from the name alone."""
    found = known(key)
    assert found is not None
    assert (found.key, found.kind.label, found.prefix, found.part) == (key, label, prefix, part)


@pytest.mark.parametrize(
    ("key", "label", "home"),
    [
        (b"leaderboard:{x}", "leaderboard:{}", ""),
        (b"leaderboard:{x}:part:eu", "leaderboard:{}:*", ""),
        (b"leaderboard:{x}:part:scores", "leaderboard:{}:*", ""),
        (b"leaderboard:{x}:day:2026-11-28", "leaderboard:{}:*", ""),
        (b"leaderboard:{x}:scores", "leaderboard:{}:scores", "leaderboard:{x}"),
        (b"leaderboard:{x}:part:eu:digits", "leaderboard:{}:digits", "leaderboard:{x}:part:eu"),
        (b"leaderboard:{x}:part:scores:scores", "leaderboard:{}:scores", "leaderboard:{x}:part:scores"),
        (b"leaderboard:{x}:day:2026-11-28:data", "leaderboard:{}:data", "leaderboard:{x}:day:2026-11-28"),
        (b"a:leaderboard:{x}:part:eu:60s:T10:05:order", "leaderboard:{}:order", "a:leaderboard:{x}:part:eu:60s:T10:05"),
    ],
)
def test_what_a_board_has_beside_it_knows_its_board(key: bytes, label: str, home: str) -> None:
    """Boards of parts and of periods are told from what lies beside them."""
    found = known(key)
    assert found is not None
    assert (found.kind.label, found.home) == (label, home)


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"foo",
        b"lock:order",
        b"lock:{}",
        b"lock:{a",
        b"lock:{a}b",
        b"lock:{a}:",
        b"lock:{a}:other",
        b"a:b:lock:{a}",
        b"bucket:{ann}",
        b"session:{web:x}:short",
        b"Lock:{a}",
        b"lock:{\xff}",
    ],
)
def test_a_key_that_is_nobodys(key: bytes) -> None:
    """What is not written as the patterns write it is no pattern's, bytes that are not UTF-8 among it."""
    assert known(key) is None


@pytest.mark.parametrize(
    ("key", "type_", "ttl", "wrong"),
    [
        (b"lock:{a}", "string", 5000, []),
        (b"lock:{a}", "string", 0, []),
        (b"lock:{a}", "string", -1, ["without TTL"]),
        (b"lock:{a}", "list", -1, ["wrong type", "without TTL"]),
        (b"jobs:{a}:data", "hash", -1, []),
        (b"jobs:{a}:data", "hash", 5000, ["with TTL"]),
        (b"jobs:{a}:data", "hash", 0, ["with TTL"]),
        (b"leaderboard:{a}", "zset", -1, []),
        (b"leaderboard:{a}", "zset", 5000, []),
    ],
)
def test_what_is_wrong_with_a_key(key: bytes, type_: str, ttl: int, wrong: list[str]) -> None:
    """A type is the kind's, and a TTL is there always, never, or either way."""
    found = known(key)
    assert found is not None
    assert problems(found.kind, type_, ttl) == wrong


def test_each_kind_stands_there_once() -> None:
    """No two rows of the table are called the same."""
    labels = [row.label for row in KINDS]
    assert sorted(labels) == sorted(set(labels))


@pytest.mark.parametrize(
    ("namespace", "glob", "pattern"),
    [
        ("", "*", "*"),
        ("shop", "*", "shop:*"),
        ("a*:b", "lock:*", r"a\*%3Ab:lock:*"),
    ],
)
def test_the_pattern_of_a_namespace(namespace: str, glob: str, pattern: str) -> None:
    """A namespace stands for itself, as its keys have it, whatever is in it."""
    assert matching(namespace, glob) == pattern


def test_an_empty_pattern_is_refused() -> None:
    """Nothing matches an empty glob but an empty key."""
    with pytest.raises(ConfigurationError, match=r"match must be a glob pattern of at least one character, not ''"):
        matching("", "")
