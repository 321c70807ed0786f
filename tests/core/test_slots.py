from __future__ import annotations

from typing import Any

import pytest

from redis_patterns import ConcurrencyLimit, ConfigurationError, Lease
from redis_patterns_core.queued import QueueKeys
from tests.core.lua import RUNTIMES, Fake

EXPORTS = ConcurrencyLimit("exports", limit=2, ttl=10)
SLOT = EXPORTS.slot("ann")


def lease(token: str) -> Lease:
    return Lease("exports", token)


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_at_most_so_many_at_once(version: str) -> None:
    """The third waits until one is given back; ids have slots of their own."""
    redis = Fake(version)
    assert redis.run(SLOT.acquire("a")) == lease("a")
    assert redis.run(SLOT.acquire("b")) == lease("b")
    assert redis.run(SLOT.acquire("c")) is None
    assert redis.run(EXPORTS.slot("bob").acquire("c")) == lease("c")
    assert redis.run(EXPORTS.count("ann")) == 2
    assert redis.run(SLOT.release(lease("a"))) is True
    assert redis.run(SLOT.release(lease("a"))) is False
    assert redis.run(SLOT.acquire("c")) == lease("c")


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_asking_again_takes_no_second_slot(version: str) -> None:
    """An answer that was lost does not cost a slot: the same token has one."""
    redis = Fake(version)
    for _ in range(3):
        assert redis.run(SLOT.acquire("a")) == lease("a")
    assert redis.run(EXPORTS.count("ann")) == 1


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_each_lease_ends_on_its_own(version: str) -> None:
    """Renewing one keeps no other alive, and one that ended is never prolonged."""
    redis = Fake(version)
    redis.run(SLOT.acquire("dead"))
    redis.now += 5_000_000
    redis.run(SLOT.acquire("alive"))
    redis.now += 4_000_000
    assert redis.reply(SLOT.acquire("next").commands[0]) == [0, 1000, 0, b""]
    assert redis.run(SLOT.extend(lease("alive"))) is True
    redis.now += 1_000_000
    assert redis.run(EXPORTS.count("ann")) == 1
    assert redis.run(SLOT.extend(lease("dead"))) is False
    assert redis.run(SLOT.release(lease("dead"))) is False
    assert redis.run(SLOT.acquire("next")) == lease("next")
    assert set(redis.sets[EXPORTS.key("ann")]) == {"s1::alive", "s1::next"}


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_the_key_ends_with_the_last_lease(version: str) -> None:
    """A short lease does not cut a long one, and nothing is left for ever."""
    redis = Fake(version)
    redis.run(SLOT.acquire("long"))
    redis.run(ConcurrencyLimit("exports", limit=2, ttl=1).slot("ann").acquire("short"))
    assert redis.expiry[EXPORTS.key("ann")] // 1000 == redis.now // 1000 + 10_000
    assert redis.run(SLOT.extend(lease("long"), 2)) is True
    assert redis.expiry[EXPORTS.key("ann")] // 1000 == redis.now // 1000 + 2_000
    assert redis.run(SLOT.release(lease("long"))) is True
    assert redis.run(SLOT.release(lease("short"))) is True
    assert redis.expiry == {}


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_the_limit_may_change(version: str) -> None:
    """What is held stays held, and a smaller limit waits for it."""
    redis = Fake(version)
    for token in ("a", "b"):
        redis.run(SLOT.acquire(token))
    assert redis.run(ConcurrencyLimit("exports", limit=3).slot("ann").acquire("c")) == lease("c")
    smaller = ConcurrencyLimit("exports", limit=1).slot("ann")
    assert redis.run(smaller.acquire("d")) is None
    assert redis.run(smaller.acquire("a")) == lease("a")


def test_what_is_not_allowed() -> None:
    """Each by its name; the id is not shown."""
    with pytest.raises(ConfigurationError, match="limit must"):
        ConcurrencyLimit("x", limit=0)
    with pytest.raises(ConfigurationError, match="ttl must"):
        ConcurrencyLimit("x", limit=1, ttl=0)
    with pytest.raises(ConfigurationError, match="id must"):
        EXPORTS.slot("")
    assert "ann" not in repr(SLOT)


def test_keys() -> None:
    """All of an id are in one slot of a cluster; of another limit or namespace they are others."""
    limit = ConcurrencyLimit("exports", limit=1, namespace="n")
    assert limit.key("ann") == "n:slots:{ann}:held:exports"
    names = [f"n:slots:{{ann}}:{part}:exports" for part in ("held", "queue", "waiting", "wake")]
    assert limit.slot("ann").keys == QueueKeys(*names)
    assert limit.slot("ann").line == "n:slots:{ann}:wake:exports"
    assert limit.count("ann").name == "slot.count"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": ""}, "name must"),
        ({"limit": 0}, "limit must"),
        ({"ttl": 0}, "ttl must"),
        ({"namespace": 7}, "namespace must"),
    ],
)
def test_limits_that_are_none(options: dict[str, Any], said: str) -> None:
    """They are refused when they are built, with the argument's name, and so is an id that is none."""
    allowed: dict[str, Any] = {"name": "x", "limit": 1}
    with pytest.raises(ConfigurationError, match=said):
        ConcurrencyLimit(**{**allowed, **options})
    for ask in (EXPORTS.slot, EXPORTS.count, EXPORTS.key):
        with pytest.raises(ConfigurationError, match="id must"):
            ask("")
