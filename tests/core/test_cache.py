"""The cache on a server in memory, with its clock put forward by hand, and its flows step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from redis_patterns import (
    MISS,
    Cache,
    CommandFailed,
    ConfigurationError,
    DecodeError,
    Effect,
    EncodeError,
    Json,
    Now,
    OutcomeUnknown,
    Plan,
    Text,
    Unreachable,
)
from redis_patterns.testing import Dry
from redis_patterns.testing.memory import Server
from redis_patterns_core.cache_entries import Acquired, Seen
from redis_patterns_core.cache_loads import Fetched, Loading
from redis_patterns_core.entries import Stored
from redis_patterns_core.flow import Flow, Shared, Sleep, flow
from tests.drivers.plans import sets

AWAY: list[Exception] = [
    Unreachable("x", "gone"),
    OutcomeUnknown("x", "lost"),
    CommandFailed("x", "OOM", "out of memory"),
]
EPOCH = "0123456789abcdef"


def entry(value: str = "1", *, epoch: str = EPOCH, codec: str = "json", tags: dict[str, str] | None = None) -> bytes:
    return Stored(epoch, 0.5, codec, tags or {}, value.encode()).pack()


class Desk:
    """A cache, its server, and what it has told."""

    def __init__(self, **options: Any) -> None:
        self.server = Server()
        self.told: list[str] = []
        options = {"ttl": 10, **options}
        self.cache: Cache[Any] = Cache("c", on_event=lambda event, _: self.told.append(event), **options)

    def __call__(self, step: Any) -> Any:
        with self.server.sync() as redis:
            return redis.run(step)

    def events(self) -> list[str]:
        told, self.told[:] = list(self.told), []
        return told

    def advance(self, seconds: float) -> None:
        self.server.clock.advance(seconds)


def test_a_value_is_fresh_for_its_ttl() -> None:
    """Of the cache, or its own; to the millisecond, and then it is none."""
    desk = Desk()
    desk(desk.cache.set("a", {"x": 1}))
    desk(desk.cache.set("b", None, ttl=timedelta(seconds=20)))
    assert desk(desk.cache.get("a")) == {"x": 1}
    assert desk(desk.cache.get("b")) is None
    assert desk(desk.cache.get("c")) is MISS
    assert desk.events() == ["hit", "negative"]
    assert desk(desk.cache.get_many(["c", "b", "a", "a"])) == {"b": None, "a": {"x": 1}}
    assert [desk(desk.cache.ttl_of(key)) for key in "abc"] == [10.0, 20.0, None]
    desk.advance(9.999)
    assert desk(desk.cache.get("a")) == {"x": 1}
    desk.advance(0.002)
    assert desk(desk.cache.get("a")) is MISS
    assert desk(desk.cache.touch("a")) is False
    assert desk(desk.cache.touch("b")) is True
    assert desk(desk.cache.ttl_of("b")) == 10.0
    assert desk(desk.cache.touch("b", 0.5)) is True
    assert desk(desk.cache.ttl_of("b")) == 0.5


def test_a_stale_value() -> None:
    """It is served for `stale_for` after it was fresh, and counts as one."""
    desk = Desk(stale_for=5)
    desk(desk.cache.set("a", 1))
    desk.advance(9.999)
    assert (desk(desk.cache.get("a")), desk.events()) == (1, ["hit"])
    assert desk(desk.cache.ttl_of("a")) == 0.001
    desk.advance(0.001)
    assert (desk(desk.cache.get("a")), desk.events()) == (1, ["stale"])
    assert desk(desk.cache.ttl_of("a")) == 0.0
    assert desk(desk.cache.touch("a")) is True
    assert desk(desk.cache.ttl_of("a")) == 10.0
    desk.advance(15.001)
    assert desk(desk.cache.get("a")) is MISS


@pytest.mark.parametrize("under_way", ["", "loading", "failed"])
def test_what_was_invalidated_softly_is_never_fresh_again(under_way: str) -> None:
    """To touch it does nothing, whoever is loading it meanwhile; only what is loaded, or stored, can be touched."""
    desk = Desk(ttl=60, stale_for=60)
    desk(desk.cache.set("a", "old"))
    desk(desk.cache.invalidate("a", soft=True))
    desk.advance(1)
    if under_way:
        got = desk(desk.cache._acquire("a", 10_000, ()))
        assert got.what == "refresh"
        if under_way == "failed":
            desk(desk.cache._abandon("a", got.epoch))
    assert desk(desk.cache.touch("a")) is False
    assert desk(desk.cache.ttl_of("a")) == 0.0
    desk.advance(58.999)
    assert desk(desk.cache.get("a")) == "old"
    desk.advance(0.002)
    assert desk(desk.cache.load("a", lambda: "new")) == "new"
    assert desk(desk.cache.touch("a", 70)) is True
    assert desk(desk.cache.ttl_of("a")) == 70.0


@pytest.mark.parametrize(
    ("kind", "milliseconds", "left"),
    [(b"", -2, None), (b"V", -1, None), (b"V", 0, 0.0), (b"V", 1001, 0.001), (b"V", 1000, 0.0), (b"L", 5000, None)],
)
def test_how_long_something_is_fresh_still(kind: bytes, milliseconds: int, left: float | None) -> None:
    """A lease is no value, and neither is what has no end; one that is in its last millisecond is there."""
    plan = Cache[int]("c", ttl=10, stale_for=1).ttl_of("a")
    assert (plan.name, plan.effect, plan.parse([kind, milliseconds])) == ("cache.ttl_of", Effect.READS, left)


def test_load() -> None:
    """The loader is called once, and its value is there for the next."""
    desk, calls = Desk(), list[int]()

    def loader() -> int:
        calls.append(1)
        return len(calls)

    assert [desk(desk.cache.load("a", loader)) for _ in range(2)] == [1, 1]
    assert desk.events() == ["miss", "hit"]
    assert desk(desk.cache.refresh("a", loader)) == 2
    desk.advance(10.001)
    assert desk(desk.cache.load("a", loader, ttl=3)) == 3
    assert desk(desk.cache.ttl_of("a")) == 3.0


def test_what_is_not_stored() -> None:
    """A value that there is not, and one that says so where that is not to be kept."""
    desk = Desk(negative_ttl=0)
    assert desk(desk.cache.load("a", lambda: MISS)) is MISS
    assert desk(desk.cache.load("a", lambda: None)) is None
    assert desk(desk.cache.get("a")) is MISS
    desk = Desk(negative_ttl=2)
    desk(desk.cache.load("a", lambda: None))
    assert desk(desk.cache.ttl_of("a")) == 2.0
    assert desk(desk.cache.load("b", lambda: None, ttl=1)) is None
    assert desk(desk.cache.ttl_of("b")) == 1.0


def test_load_many() -> None:
    """Those that are missing in one call, in the order in which they were asked for."""
    desk, asked = Desk(), list[list[str]]()

    def loader(keys: Sequence[str]) -> dict[str, str]:
        asked.append(list(keys))
        return {key: key.upper() for key in keys if key != "none"}

    desk(desk.cache.set("b", "there"))
    assert desk(desk.cache.load_many(["none", "a", "b", "a"], loader)) == {"a": "A", "b": "there"}
    assert desk(desk.cache.load_many(["b", "a"], loader)) == {"b": "there", "a": "A"}
    assert asked == [["none", "a"]]
    assert desk.events() == ["hit", "miss", "miss", "hit", "hit"]
    assert desk(desk.cache.load_many([], loader)) == {}


def test_many_that_are_stale() -> None:
    """They are loaded first."""
    desk = Desk(stale_for=5)
    desk(desk.cache.set_many({"a": 1, "b": 1}))
    desk.advance(10)
    assert desk(desk.cache.load_many("ab", lambda keys: dict.fromkeys(keys, 2))) == {"a": 2, "b": 2}
    assert desk(desk.cache.get_many("ab")) == {"a": 2, "b": 2}


def test_many_with_a_tag_that_somebody_else_loads() -> None:
    """What is waited for is asked for with the same tag, and by the same chance."""
    cache: Cache[int] = Cache("c", ttl=10)
    dry = Dry(cache.load_many(["a"], lambda _: {}, tags=["t"], chance=lambda: 1.0))
    busy = [b"busy", EPOCH.encode(), 1999, None]
    dry.expect("cache.get").answer(None, None).expect("batch(cache.acquire)").answer(busy, b"id")
    dry.expect("cache.get").answer(None, None).expect("cache.acquire").answer(busy, b"id")
    step: Any = dry.expect("cache.wait")._step
    assert step.blocks_for == 2.01
    there = [b"hit", EPOCH.encode(), 9000, entry("8", tags={"tag:{t}": "id"})]
    dry.answer(None).expect("cache.acquire").answer(there, b"id")
    assert dry.result == {"a": 8}


def test_many_that_somebody_else_loads() -> None:
    """They are waited for one after the other, and loaded one by one where that takes too long."""
    desk = Desk(wait=0, lock_ttl=100)
    for key in "ab":
        desk(desk.cache._acquire(key, 10_000, ()))
    desk.events()
    assert desk(desk.cache.load_many("ab", lambda keys: {key: 1 for key in keys if key == "a"})) == {"a": 1}
    assert desk.events() == ["gave_up_waiting", "gave_up_waiting"]
    assert desk(desk.cache.get_many("ab")) == {}


def test_a_loader_that_raises() -> None:
    """Its error comes through, and the next one may load at once."""
    desk = Desk(retry_after=0)

    def fails(*_: Any) -> Any:
        raise ZeroDivisionError

    for step in (desk.cache.load("a", fails), desk.cache.load_many(["a"], fails)):
        with pytest.raises(ZeroDivisionError):
            desk(step)
        assert desk.events() == ["miss", "load_error"]
    assert desk(desk.cache.load("a", lambda: 1)) == 1
    with pytest.raises(EncodeError):
        desk(desk.cache.load("b", object))
    assert desk(desk.cache.load("b", lambda: 2)) == 2


def test_an_invalidation_while_it_is_loaded() -> None:
    """What is loaded then is given and not stored."""
    desk = Desk()

    def loader(*_: Any) -> Any:
        desk(desk.cache.invalidate("a"))
        return {"a": 1}

    assert desk(desk.cache.load("a", lambda: loader()["a"])) == 1
    assert desk.events() == ["miss", "refused"]
    assert desk(desk.cache.load_many(["a"], loader)) == {"a": 1}
    assert desk.events() == ["miss", "refused"]
    assert desk(desk.cache.get("a")) is MISS


def test_invalidate() -> None:
    """How many there were; softly where stale values are served."""
    desk = Desk()
    desk(desk.cache.set_many({"a": 1, "b": 2}))
    assert desk(desk.cache.invalidate("a", "b", "c")) == 2
    assert desk(desk.cache.get("a")) is MISS
    desk = Desk(stale_for=5)
    desk(desk.cache.set("a", 1))
    assert desk(desk.cache.invalidate("a", "c", soft=True)) == 1
    desk.events()
    assert (desk(desk.cache.get("a")), desk.events()) == (1, ["stale"])
    desk.advance(5.001)
    assert desk(desk.cache.get("a")) is MISS


def test_tags() -> None:
    """All values with one of the tags are none from then on, in every cache of the namespace."""
    desk = Desk()
    other: Cache[Any] = Cache("other", ttl=10)
    desk(desk.cache.set("a", 1, tags=["x", "y"]))
    desk(desk.cache.load("b", lambda: 2, tags=["y"]))
    desk(other.set_many({"c": 3}, tags=["x"]))
    assert desk(desk.cache.get_many("ab")) == {"a": 1, "b": 2}
    assert desk(desk.cache.load("b", lambda: 0, tags=["y"])) == 2
    desk(desk.cache.invalidate_tags("x"))
    assert desk(desk.cache.get_many("ab")) == {"b": 2}
    assert desk(other.get("c")) is MISS
    assert desk(desk.cache.load("a", lambda: 9, tags=["x", "y"])) == 9
    desk(desk.cache.forget("b", tags=["y"]))
    assert desk(desk.cache.get_many("ab")) == {}


@pytest.mark.parametrize(
    ("options", "tags", "keys"),
    [
        ({}, (), ["cache:{c:a}"]),
        ({}, ("t",), ["cache:{c:a}", "tag:{t}"]),
        ({"clearable": True}, (), ["cache:{c:a}", "cache:{c}:generation"]),
        (
            {"clearable": True, "namespace": "n"},
            ("t",),
            ["n:cache:{c:a}", "n:tag:{t}", "n:cache:{c}:generation"],
        ),
    ],
)
def test_what_is_known_beforehand_is_read_at_once(options: Any, tags: Sequence[str], keys: list[str]) -> None:
    """The entry, the tags that were named, and what `clear` takes away, in one round trip."""
    cache = Cache[int]("c", ttl=10, **options)
    step: Any = Dry(cache.load("a", lambda: 1, tags=tags)).expect("cache.get")._step
    assert [command.args for command in step.commands] == [("GET", key) for key in keys]
    assert step.effect is Effect.READS


def test_clear() -> None:
    """All at once, where the cache was made for it."""
    desk = Desk(clearable=True)
    desk(desk.cache.set_many({"a": 1, "b": 2}))
    assert desk(desk.cache.get_many("ab")) == {"a": 1, "b": 2}
    desk(desk.cache.clear())
    assert desk(desk.cache.get_many("ab")) == {}
    with pytest.raises(ConfigurationError, match="clearable must be True for cache 'c'"):
        Desk().cache.clear()


def test_invalidation_by_pattern() -> None:
    """The cache's own keys only, whatever its name has in it."""
    desk = Desk()
    star: Cache[Any] = Cache("*", ttl=10)
    desk(desk.cache.set_many({"user:1": 1, "user:2": 2, "team:1": 3}))
    desk(star.set("user:1", 4))
    assert desk(star.invalidate_matching("user:*")) == 1
    assert desk(desk.cache.invalidate_matching("user:?")) == 2
    assert desk(desk.cache.get_many(["user:1", "user:2", "team:1"])) == {"team:1": 3}
    desk(desk.cache.forget(matching=["team*"]))
    assert desk(desk.cache.get("team:1")) is MISS


def test_write() -> None:
    """It is saved, and then stored; nothing is stored of what is removed, or cannot be saved."""
    desk, saved = Desk(), list[Any]()
    assert desk(desk.cache.write("a", 1, saved.append)) is True
    assert desk(desk.cache.get("a")) == 1
    assert desk(desk.cache.write("a", 2, saved.append, ttl=3, tags=["x"])) is True
    assert desk(desk.cache.ttl_of("a")) == 3.0
    desk(desk.cache.invalidate_tags("x"))
    assert desk(desk.cache.get("a")) is MISS
    desk(desk.cache.set("a", 0))
    assert desk(desk.cache.write("a", MISS, saved.append)) is False
    assert desk(desk.cache.get("a")) is MISS
    assert saved == [1, 2, MISS]

    def fails(_: Any) -> None:
        raise ZeroDivisionError

    desk(desk.cache.set("a", 0))
    with pytest.raises(ZeroDivisionError):
        desk(desk.cache.write("a", 3, fails))
    assert desk(desk.cache.get("a")) is MISS
    assert desk(desk.cache.load("a", lambda: 5)) == 5
    with pytest.raises(EncodeError):
        desk(desk.cache.write("a", object(), saved.append))


def test_two_writes_at_the_same_time() -> None:
    """Neither is stored, as it is not known whose came last."""
    desk = Desk()
    seen: list[bool] = []

    def save(_: Any) -> None:
        seen.append(desk(desk.cache.write("a", 2, lambda _: None)))

    assert desk(desk.cache.write("a", 1, save)) is False
    assert seen == [False]
    assert desk(desk.cache.get("a")) is MISS
    assert desk(desk.cache.load("a", lambda: 3)) == 3
    assert desk(desk.cache.get("a")) == 3, "nobody writes any more"


@pytest.mark.parametrize("error", AWAY)
def test_a_write_without_redis(error: Exception) -> None:
    """It is saved all the same; and the error is raised where the cache may have an older value."""
    saved: list[int] = []
    cache: Cache[int] = Cache("c", ttl=10)
    dry = Dry(cache.write("a", 1, saved.append, tags=["x"]))
    dry.expect("cache.begin").fail(error).expect("cache.tags").fail(error).expect("cache.finish").fail(error)
    dry.expect("cache.finish").answer(0)  # the clean-up
    with pytest.raises(type(error)):
        _ = dry.result
    dry = Dry(cache.write("a", 1, saved.append))
    dry.expect("cache.begin").answer(EPOCH.encode()).expect("cache.finish").fail(error)
    assert dry.result is False
    assert saved == [1, 1]


@pytest.mark.parametrize("error", AWAY)
def test_loading_without_redis(error: Exception) -> None:
    """The loader is asked, whichever question stays without an answer."""
    told: list[str] = []
    cache: Cache[int] = Cache("c", ttl=10, on_event=lambda event, _: told.append(event))
    dry = Dry(cache.load("a", lambda: 1))
    dry.expect("cache.get").fail(error)
    assert (dry.result, told) == (1, ["redis_error"])
    told.clear()
    dry = Dry(cache.load("a", lambda: 1))
    dry.expect("cache.get").answer(None).expect("cache.acquire").fail(error)
    assert (dry.result, told) == (1, ["redis_error"])
    told.clear()
    dry = Dry(cache.load("a", lambda: 1))
    dry.expect("cache.get").answer(None).expect("cache.acquire").answer([b"load", EPOCH.encode(), 5000, None])
    dry.expect("cache.fill").fail(error)
    assert (dry.result, told) == (1, ["takeover", "miss", "redis_error"])
    many = cache.load_many(["a", "b"], lambda keys: dict.fromkeys(keys, 1))
    told.clear()
    dry_many = Dry(many)
    dry_many.expect("cache.get").fail(error)
    assert (dry_many.result, told) == ({"a": 1, "b": 1}, ["redis_error"])
    told.clear()
    dry_many = Dry(many)
    dry_many.expect("cache.get").answer(entry("7"), None).expect("batch(cache.acquire)").fail(error)
    assert (dry_many.result, told) == ({"a": 7, "b": 1}, ["hit", "redis_error"])
    dry_many = Dry(cache.load_many(["a"], lambda keys: dict.fromkeys(keys, 1)))
    dry_many.expect("cache.get").answer(None).expect("batch(cache.acquire)").answer(
        [b"load", EPOCH.encode(), 5000, None]
    )
    dry_many.expect("batch(cache.fill)").fail(error)
    assert dry_many.result == {"a": 1}


def test_who_waits_for_another() -> None:
    """Until it is woken, or the other's time is over; what is there then is given."""
    told: list[str] = []
    cache: Cache[int] = Cache("c", ttl=10, on_event=lambda event, _: told.append(event))
    dry = Dry(cache.load("a", lambda: 0, chance=lambda: 1.0), now=100.0)
    busy = [b"busy", EPOCH.encode(), 1999, None]
    dry.expect("cache.get").answer(None)
    for answer, pause in ((busy, 2.01), (busy, 2.01), ([b"busy", EPOCH.encode(), 60_000, None], 0.98)):
        dry.expect("cache.acquire").answer(answer)
        step: Any = dry.expect("cache.wait")._step
        wake = "cache:{c:a}:wake"
        assert step.commands[0].args == ("BLMOVE", wake, wake, "LEFT", "RIGHT", pause)
        assert step.blocks_for == pause
        dry.advance(pause).answer(None)
    dry.expect("cache.acquire").answer([b"hit", EPOCH.encode(), 9000, entry("8")])
    assert (dry.result, told) == (8, ["waited"])


@pytest.mark.parametrize("error", AWAY)
def test_a_wait_that_is_lost(error: Exception) -> None:
    """It looks again a little later; and gives up in the end, and loads without storing."""
    told: list[str] = []
    cache: Cache[int] = Cache("c", ttl=10, wait=1, on_event=lambda event, _: told.append(event))
    dry = Dry(cache.load("a", lambda: 5, chance=lambda: 0.0), now=100.0)
    busy = [b"busy", EPOCH.encode(), 499, None]
    dry.expect("cache.get").answer(None).expect("cache.acquire").answer(busy)
    dry.expect("cache.wait").fail(error).sleep(0.1).expect("cache.acquire").answer(busy)
    dry.expect("cache.wait").advance(0.8999).answer(None).expect("cache.acquire").answer(busy)
    dry.sleep().expect("cache.acquire").answer(busy)
    assert (dry.result, told) == (5, ["gave_up_waiting"])


def test_one_whose_loader_failed_is_not_waited_for_again() -> None:
    """Who has waited for it loads for itself."""
    cache: Cache[int] = Cache("c", ttl=10)
    dry = Dry(cache.load("a", lambda: 5))
    dry.expect("cache.get").answer(None).expect("cache.acquire").answer([b"failed", EPOCH.encode(), 1, None])
    assert dry.result == 5


def test_stale_values_and_who_loads_them() -> None:
    """In the background, or first: then the stale value is for when that fails."""
    desk = Desk(stale_for=5)
    desk(desk.cache.set("a", 1))
    desk.advance(10)
    assert desk(desk.cache.load("a", lambda: 2)) == 1
    assert desk(desk.cache.get("a")) == 2
    desk = Desk(stale_for=5, serve_stale="on_error", retry_after=0)
    desk(desk.cache.set("a", 1))
    desk.advance(10)

    def fails() -> Any:
        raise ZeroDivisionError

    assert desk(desk.cache.load("a", fails)) == 1
    with pytest.raises(EncodeError):
        desk(desk.cache.load("a", object))
    assert desk(desk.cache.load("a", lambda: 2)) == 2
    desk.advance(15.001)
    with pytest.raises(ZeroDivisionError):
        desk(desk.cache.load("a", fails))


def test_a_stale_value_where_the_loader_of_ones_own_fails() -> None:
    """It is served, whatever kept the cache from being asked."""
    cache: Cache[int] = Cache("c", ttl=10, stale_for=5)

    def fails() -> int:
        raise ZeroDivisionError

    dry = Dry(cache.load("a", fails))
    dry.expect("cache.get").answer(entry("3"), 5000).expect("cache.acquire").fail(AWAY[0])
    assert dry.result == 3
    dry = Dry(cache.load("a", fails))
    dry.expect("cache.get").answer(None, -2).expect("cache.acquire").fail(AWAY[0])
    with pytest.raises(ZeroDivisionError):
        _ = dry.result


def test_what_becomes_of_a_stale_value() -> None:
    """Where it has gone meanwhile, or cannot be read, it is loaded first; what cannot be written is loaded once."""
    cache: Cache[Any] = Cache("c", ttl=10, stale_for=5)
    for answer in ([b"load", EPOCH.encode(), 5000, None], [b"refresh", b"f" * 16, 5000, entry("{", epoch="f" * 16)]):
        dry = Dry(cache.load("a", lambda: 9))
        dry.expect("cache.get").answer(entry("3"), 5000).expect("cache.acquire").answer(answer)
        dry.expect("cache.fill").answer(1)
        assert dry.result == 9
    calls = list[int]()

    def loader() -> object:
        calls.append(1)
        return object

    dry = Dry(Cache[Any]("c", ttl=10, stale_for=5, serve_stale="on_error").load("a", loader))
    dry.expect("cache.get").answer(entry("3"), 5000)
    dry.expect("cache.acquire").answer([b"refresh", EPOCH.encode(), 5000, None])
    dry.expect("cache.abandon").answer(1)
    with pytest.raises(EncodeError):
        _ = dry.result
    assert calls == [1]


@pytest.mark.parametrize(
    ("value", "tags", "answer", "settled"),
    [(1, {}, 1, True), (1, {"t": "id"}, 1, False), (1, {}, 0, False), (1, {}, AWAY[0], False), (MISS, {}, 1, False)],
)
def test_what_is_known_to_have_been_valid(value: Any, tags: Any, answer: Any, settled: bool) -> None:
    """What was stored without a tag, as nobody has invalidated it meanwhile; all who waited may have that only."""
    cache: Cache[Any] = Cache("c", ttl=10)
    job = Loading[Any]("a", lambda: value, 10_000, (), lambda: 0.0)
    dry = Dry(cache._load_and_store(job, Acquired("load", EPOCH, 5.0, b"", tags)))
    step = dry.expect("cache.abandon" if value is MISS else "cache.fill")
    step.fail(answer) if isinstance(answer, Exception) else step.answer(answer)
    assert (dry.result.got, dry.result.settled) == (value, settled)


def test_what_loading_has_cost_is_kept() -> None:
    """In seconds, of one and of several together: what early loading goes by."""

    @flow
    def slow(value: Any) -> Any:
        yield from Sleep(0.5)
        return value

    cache: Cache[Any] = Cache("c", ttl=10)
    for step, sent in (
        (cache.load("a", slow(1)), "%s"),
        (cache.load_many(["a"], lambda _: slow({"a": 1})), "batch(%s)"),
    ):
        dry = Dry[Any](step, now=100.0)
        dry.expect("cache.get").answer(None)
        dry.expect(sent % "cache.acquire").answer([b"load", EPOCH.encode(), 5000, None]).sleep(0.5)
        filling: Any = dry.expect(sent % "cache.fill")._step
        stored = Stored.unpack(filling.commands[0].args[6])
        assert stored is not None
        assert stored.cost == 0.5


def test_what_was_loaded_for_oneself_is_not_for_those_who_wait() -> None:
    """Nor is the stale value that is served where that failed, which is told."""
    told: list[str] = []
    cache: Cache[Any] = Cache("c", ttl=10, on_event=lambda event, _: told.append(event))

    def fails() -> Any:
        raise ZeroDivisionError

    assert Dry(cache._load_alone(lambda: 1, Seen(MISS)), now=5.0).result == Fetched(1, settled=False, began_at=5.0)
    assert told == []
    assert Dry(cache._load_alone(fails, Seen(3)), now=5.0).result == Fetched(3, settled=False, began_at=5.0)
    assert told == ["load_error"]


@pytest.mark.parametrize(("chance", "early"), [(0.0, False), (0.8646, False), (0.8647, True), (1.0, True)])
def test_early_loading(chance: float, early: bool) -> None:
    """By the paper: with more chance the nearer the end is, measured by what it takes to load."""
    cache: Cache[int] = Cache("c", ttl=10, early=1.0)
    dry = Dry(cache.load("a", lambda: 9, chance=lambda: chance))
    dry.expect("cache.get").answer(entry("3"), 1000)  # -0.5 ln(1 - chance) >= 1
    if early:
        step: Any = dry.expect("cache.acquire")._step
        assert step.commands[0].args[-2:] == (1, ""), "only where nobody else is at it"
        dry.answer([b"refresh", EPOCH.encode(), 1000, entry("3")])
    assert dry.result == 3


@pytest.mark.parametrize(
    ("data", "given", "told"),
    [
        (entry("4"), 4, ["hit"]),
        (entry("null"), None, ["negative"]),
        (entry("{"), MISS, ["unreadable"]),
        (entry("4", codec="other"), MISS, ["unreadable"]),
        (entry("four", codec="text"), "four", ["hit"]),
        (b"garbage", MISS, ["unreadable"]),
        (entry("4")[:20], MISS, ["unreadable"]),
        (f"V{EPOCH}{0:013d}".encode(), MISS, ["unreadable"]),
        (f"V{EPOCH}{0:013d}{0:07d}0100000".encode() + b"\xff", MISS, ["unreadable"]),
        (f"V{EPOCH}{0:013d}{0:07d}0000001{{".encode(), MISS, ["unreadable"]),
        (f"L{EPOCH}{0:013d}".encode(), MISS, []),
        (None, MISS, []),
    ],
)
def test_what_may_lie_there(data: Any, given: Any, told: list[str]) -> None:
    """Bytes that cannot be read are no value, and never a crash."""
    events: list[str] = []
    cache: Cache[Any] = Cache("c", ttl=10, also_reads=[Text()], on_event=lambda event, _: events.append(event))
    dry = Dry(cache.get("a"))
    dry.expect("cache.get").answer(data)
    assert dry.result == given
    assert events == told


def test_an_entry_is_read_as_it_was_written() -> None:
    """All of it; a cost beyond what the header has room for is the greatest."""
    stored = Stored(EPOCH, 1.2346, "json", {"tag:{x}": EPOCH}, b'{"a":1}')
    assert Stored.unpack(stored.pack()) == Stored(EPOCH, 1.235, "json", {"tag:{x}": EPOCH}, b'{"a":1}')
    assert stored.pack().startswith(f"V{EPOCH}0000000000000000123504000".encode())
    long = Stored.unpack(Stored(EPOCH, 1e9, "json", {}, b"").pack())
    assert long is not None
    assert long.cost == 9_999.998, "and not what says that it was invalidated"
    with pytest.raises(DecodeError, match="7 bytes that are none"):
        Stored.unpack(b"garbage")


def test_tags_that_were_not_asked_for() -> None:
    """They are read in a second round trip; one that has another id now makes it none."""
    cache: Cache[int] = Cache("c", ttl=10)
    for now, given in ((EPOCH.encode(), 4), (b"other", MISS), (None, MISS)):
        many = Dry(cache.get_many(["a", "b"]))
        many.expect("cache.get").answer(entry("4", tags={"tag:{x}": EPOCH}), None)
        many.expect("cache.tags").answer(now)
        assert many.result == ({} if given is MISS else {"a": given})
    # What an acquisition finds with tags that were not asked for is loaded anew.
    dry = Dry(cache.load("a", lambda: 5))
    dry.expect("cache.get").answer(None)
    dry.expect("cache.acquire").answer([b"hit", b"e" * 16, 1000, entry("4", epoch="e" * 16, tags={"tag:{x}": EPOCH})])
    step: Any = dry.expect("cache.acquire")._step
    assert "e" * 16 in step.commands[0].args
    dry.answer([b"load", EPOCH.encode(), 1000, None]).expect("cache.fill").answer(1)
    assert dry.result == 5


def test_leases_are_prolonged_while_it_is_loaded() -> None:
    """At a third of their time, those that are there still; a lost answer is no reason to stop."""
    cache: Cache[int] = Cache("c", ttl=10, lock_ttl=6)
    dry = Dry(cache._keep([("a", EPOCH), ("b", EPOCH)]))
    dry.sleep(2).expect("batch(2 cache.renew)").answer(1, 1)
    dry.sleep(2).expect("batch(2 cache.renew)").fail(AWAY[0])
    dry.sleep(2).expect("batch(2 cache.renew)").answer(0, 1)
    dry.sleep(2).expect("batch(cache.renew)").answer(0)
    assert dry.over


@pytest.mark.parametrize(
    ("jitter", "chance", "stale_for", "lifetime"),
    [(0.0, 1.0, 0, 10_000), (0.5, 1.0, 0, 5000), (0.5, 0.5, 0, 7500), (1.0, 1.0, 0, 1), (0.1, 1.0, 2, 11_000)],
)
def test_how_long_redis_keeps_a_value(jitter: float, chance: float, stale_for: float, lifetime: int) -> None:
    """Its TTL less the jitter, at least a millisecond, and as long as it may be stale."""
    assert Cache[int]("c", ttl=10, jitter=jitter, stale_for=stale_for)._lifetime(10_000, chance) == lifetime


CACHE: Cache[Any] = Cache("c", ttl=10, stale_for=1, clearable=True)


@pytest.mark.parametrize(
    ("plan", "name", "effect"),
    [
        (CACHE.ttl_of("a"), "cache.ttl_of", Effect.READS),
        (next(CACHE.touch("a").steps()), "cache.touch", Effect.IDEMPOTENT),
        (CACHE.invalidate("a"), "cache.invalidate", Effect.IDEMPOTENT),
        (CACHE.invalidate("a", soft=True), "cache.invalidate", Effect.IDEMPOTENT),
        (CACHE.invalidate_tags("a"), "cache.invalidate_tags", Effect.IDEMPOTENT),
        (CACHE.clear(), "cache.clear", Effect.IDEMPOTENT),
        (CACHE._acquire("a", 1, ()), "cache.acquire", Effect.IDEMPOTENT),
        (CACHE._finish("a", "", b"", 1), "cache.finish", Effect.ONCE),
        (CACHE._fill("a", "", b"", 1), "cache.fill", Effect.IDEMPOTENT),
        (CACHE._abandon("a", ""), "cache.abandon", Effect.IDEMPOTENT),
        (CACHE._begin("a", ""), "cache.begin", Effect.ONCE),
    ],
)
def test_names_and_effects(plan: Any, name: str, effect: Effect) -> None:
    """What does twice what it does once is sent at most once."""
    assert (plan.name, plan.effect) == (name, effect)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": ""}, "name must"),
        ({"namespace": 7}, "namespace must"),
        ({"jitter": -0.001}, "jitter must be from 0 to 1, not -0.001"),
        ({"jitter": 1.001}, "jitter must be from 0 to 1, not 1.001"),
        ({"early": 1000.1}, "early must be from 0 to 1000, not 1000.1"),
        ({"serve_stale": "never"}, "serve_stale must be 'while_loading' or 'on_error', not 'never'"),
        *(({name: 0}, f"{name} must") for name in ("ttl", "lock_ttl", "load_within")),
        *(({name: -0.001}, f"{name} must") for name in ("stale_for", "retry_after", "wait", "negative_ttl")),
    ],
)
def test_nonsense_is_refused(wrong: dict[str, Any], said: str) -> None:
    """When a cache is built, with the argument's name; the limits themselves are allowed."""
    options: dict[str, Any] = {"name": "x", "ttl": 1, **wrong}
    with pytest.raises(ConfigurationError, match=said):
        Cache(**options)
    options = {"ttl": 0.001, "lock_ttl": 0.001, "load_within": 0.001, "jitter": 1, "early": 1000, "wait": 0}
    assert Cache[int]("x", **options, stale_for=0, retry_after=0, negative_ttl=0, codec=Json()).name == "x"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: CACHE.key(""), "key must"),
        (CACHE.invalidate, "keys must be one at least"),
        (CACHE.invalidate_tags, "tags must be one at least"),
        (lambda: CACHE.invalidate_tags(""), "tags must"),
        (lambda: next(CACHE.touch("a", 0).steps()), "ttl must"),
        (lambda: next(CACHE.set_many({"a": 1}, ttl=0).steps()), "ttl must"),
        (lambda: next(CACHE.set_many({"a": 1}, tags="ab").steps()), "tags must be several texts, not one: 'ab'"),
        (lambda: next(CACHE.load("a", print, ttl=0).steps()), "ttl must"),
        (lambda: next(CACHE.load_many(["a"], lambda _: {}, ttl=0).steps()), "ttl must"),
        (lambda: next(CACHE.write("a", 1, print, ttl=0).steps()), "ttl must"),
        (lambda: next(CACHE.invalidate_matching("").steps()), "pattern must"),
    ],
)
def test_bad_arguments_are_named(call: Callable[[], object], said: str) -> None:
    """With what is allowed."""
    with pytest.raises(ConfigurationError, match=said):
        call()


def test_whose_turn_it_is_to_load() -> None:
    """One at a time, for `lock_ttl`; whose time has run out may be dead, so the next one takes over its entry."""
    desk = Desk(lock_ttl=5)
    desk.advance(0.456)
    ours = desk(desk.cache._acquire("a", 10_000, ()))
    assert (ours.what, ours.seconds, desk.events()) == ("load", 5.001, [])
    desk.advance(1.5)
    theirs = desk(desk.cache._acquire("a", 10_000, ()))
    assert (theirs.what, theirs.epoch, theirs.seconds) == ("wait", ours.epoch, 3.501)
    desk.advance(3.499)
    assert desk(desk.cache._acquire("a", 10_000, ())).seconds == 0.002
    desk.advance(0.001)
    for what, seconds, told in (("load", 5.001, ["takeover"]), ("wait", 5.001, [])):
        again = desk(desk.cache._acquire("a", 10_000, ()))
        assert (again.what, again.epoch, again.seconds, desk.events()) == (what, ours.epoch, seconds, told)


def test_whose_turn_it_is_to_refresh() -> None:
    """The first who finds it stale, for `lock_ttl`; the others are given the stale value."""
    desk = Desk(stale_for=20, lock_ttl=5)
    desk.advance(0.456)
    desk(desk.cache.set("a", 1))
    assert desk(desk.cache._acquire("a", 10_000, ())).what == "hit"
    desk.advance(10)
    assert [desk(desk.cache._acquire("a", 10_000, ())).what for _ in range(2)] == ["refresh", "stale"]
    desk.advance(4.999)
    assert desk(desk.cache._acquire("a", 10_000, ())).what == "stale"
    desk.advance(0.001)
    found = desk(desk.cache._acquire("a", 10_000, ()))
    assert found.what == "refresh"
    stored = Stored.unpack(found.data)
    assert stored is not None
    assert (stored.payload, stored.epoch) == (b"1", found.epoch)


def test_who_asks_again_whose_turn_it_is_does_not_wait_for_itself() -> None:
    """After a lost answer it is still the caller's to load, of each kind of lease; others wait, as if asked once."""
    desk = Desk(stale_for=100, lock_ttl=5, early=1.0)

    def asked(key: str, *, early: bool = False) -> list[Any]:
        plan = desk.cache._acquire(key, 10_000, (), early=early)
        first, again = desk(plan), desk(plan)
        assert (again.epoch, again.data) == (first.epoch, first.data)
        return [first.what, again.what, desk(desk.cache._acquire(key, 10_000, (), early=early)).what, desk(plan).what]

    assert asked("a") == ["load", "load", "wait", "load"]
    desk.advance(5)
    assert asked("a") == ["load", "load", "wait", "load"], "of one whose time had run out"
    desk(desk.cache.set_many({"b": 1, "c": 1}))
    assert asked("c", early=True) == ["refresh", "refresh", "hit", "refresh"]
    desk.advance(10)
    assert asked("b") == ["refresh", "refresh", "stale", "refresh"]
    desk.advance(4.999)
    assert desk(desk.cache._acquire("b", 10_000, ())).what == "stale"
    desk.advance(0.001)
    assert asked("b") == ["refresh", "refresh", "stale", "refresh"]
    names = [desk.server.keys()]
    desk.advance(5.001)
    names.append(desk.server.keys())
    assert ["cache:{c:b}:loader" in there for there in names] == [True, False]


def test_what_was_given_without_an_answer_is_given_up() -> None:
    """By the epoch with which it was asked for, each kind of lease; what is another's by now is left alone."""
    desk = Desk(stale_for=100, lock_ttl=5, early=1.0, retry_after=0)
    mine = "1" * 16

    def asked(key: str, epoch: str | None = None, **options: Any) -> Any:
        return desk(desk.cache._acquire(key, 10_000, (), epoch=epoch, **options)).what

    def given_up(key: str) -> Any:
        return desk(desk.cache._abandon(key, mine))

    desk(desk.cache.set("stale", 1))
    desk.advance(10)
    desk(desk.cache.set("early", 1))
    asked("theirs")
    desk.advance(4.999)
    asked("busy")
    desk.advance(0.001)
    assert [asked("early", mine, early=True), asked("early", early=True)] == ["refresh", "hit"]
    assert [asked("stale", mine), asked("stale")] == ["refresh", "stale"]
    assert [asked("new", mine), asked("new")] == ["load", "wait"]
    assert [asked("theirs", mine), asked("theirs"), asked("busy", mine)] == ["load", "wait", "wait"]
    assert [given_up(key) for key in ("early", "stale", "new", "theirs", "busy")] == [True, True, True, True, False]
    assert asked("early", early=True) == "refresh"
    assert [asked(key) for key in ("stale", "new", "theirs", "busy")] == ["refresh", "load", "load", "wait"]

    assert asked("lost", mine) == "load"
    desk.advance(5)
    assert asked("lost", "2" * 16) == "load"
    desk(desk.cache.invalidate("lost"))
    assert asked("lost") == "load"
    assert not desk(desk.cache._abandon("lost", "2" * 16)), "what it took over is gone, and this is another's"
    assert asked("lost", "2" * 16) == "wait"


def test_a_load_that_is_cancelled_gives_up_what_it_may_have() -> None:
    """When the lease has been asked for, or was given; not one that somebody else has."""
    busy, given = [b"wait", EPOCH.encode(), 5000, None], [b"load", EPOCH.encode(), 5000, None]
    for answers in ((), (given,), (busy,)):
        dry = Dry(Cache[int]("c", ttl=10).load("a", Flow("slow", _slow)))
        dry.expect("cache.get").answer(None).expect("cache.acquire")
        for answer in answers:
            dry.answer(answer)
        dry.cancel()
        if answers != (busy,):
            dry.expect("cache.abandon").answer(1)
        assert dry.over
    dry_many = Dry(Cache[int]("c", ttl=10).load_many(["a", "b"], lambda keys: dict.fromkeys(keys, 1)))
    dry_many.expect("cache.get").answer(None, None).expect("batch(2 cache.acquire)").cancel()
    assert dry_many.expect("batch(2 cache.abandon)").answer(1, 0).over
    dry_write = Dry(Cache[int]("c", ttl=10).write("a", 1, print))
    dry_write.expect("cache.begin").cancel()
    assert dry_write.expect("cache.finish").answer(0).over


def _slow() -> Any:
    yield from Sleep(1)
    return 1


@pytest.mark.parametrize(
    ("began_at", "settled", "enough"), [(4.9, False, False), (5.0, False, True), (4.9, True, True)]
)
def test_who_shares_a_load_that_began_before_looks_again(began_at: float, settled: bool, enough: bool) -> None:
    """An invalidation may have come between that load's beginning and the call, unless it is known to be stored."""
    steps = Cache[int]("c", ttl=10).load("a", lambda: 0).steps()
    assert [type(steps.send(answer)) for answer in (None, None, 5.0)] == [Plan, Now, Shared]
    fetched = Fetched(1, settled=settled, began_at=began_at)
    if enough:
        with pytest.raises(StopIteration):
            steps.send(fetched)
    else:
        assert isinstance(steps.send(fetched), Plan)


def test_nothing_to_store() -> None:
    """No value is no round trip."""
    desk = Desk()
    before = desk.server.commands
    desk(desk.cache.set_many({}, tags=["x"]))
    assert desk.server.commands == before
    dry = Dry(Cache[int]("c", ttl=10).load("a", lambda: 0))
    dry.expect("cache.get").answer(None).expect("cache.acquire").answer([b"hit", EPOCH.encode(), 9000, entry("8")])
    assert dry.result == 8


def test_what_prolonging_a_lease_does() -> None:
    """It runs for another `lock_ttl` from then on, as long as it is there; of another one it tells so."""
    desk = Desk(lock_ttl=6)
    desk.advance(0.456)
    ours = desk(desk.cache._acquire("a", 10_000, ()))
    desk.advance(2.345)
    for epoch, kept in (("f" * 16, False), (ours.epoch, True)):
        steps = desk.cache._keep([("a", epoch)]).steps()
        next(steps)  # it sleeps
        assert desk(steps.send(None)) == (kept,)
    assert desk(desk.cache._acquire("a", 10_000, ())).seconds == 6.001
    assert desk(desk.cache._fill("a", ours.epoch, entry("1"), 10_000)) is True
    assert desk(desk.cache.get("a")) == 1


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("end", ["fill", "abandon", "write"])
def test_who_waits_is_woken(waits: bool, end: str) -> None:
    """By one element that all of them find, however the load ends; nothing is written where nobody waits."""
    desk = Desk()
    ours = desk(desk.cache._acquire("a", 10_000, ()))
    if waits:
        assert desk(desk.cache._acquire("a", 10_000, ())).what == "wait"
    ends = {
        "fill": desk.cache._fill("a", ours.epoch, entry("1"), 10_000),
        "abandon": desk.cache._abandon("a", ours.epoch),
        "write": desk.cache.write("a", 2, lambda _: None),
    }
    desk(ends[end])
    names = desk.server.keys()
    assert ("cache:{c:a}:wake" in names) == waits


def test_how_long_a_tag_is_known() -> None:
    """For longer than the values that have it: a longer one prolongs it, and a shorter one does not cut it."""
    desk = Desk()
    left: list[float] = []
    for ttl in (10, 100, 10):
        desk(desk.cache.set("a", 1, ttl=ttl, tags=["x"]))
        left.append(max(desk.server.expiries()))
    assert left[1] == left[0] + 90
    assert left[2] == left[1]
    desk(desk.cache.set("b", 1, ttl=99.999))
    assert desk(desk.cache.get("a")) == 1


@pytest.mark.parametrize(("tags", "clearable"), [([], False), (["x", "y"], False), ([], True), (["x", "y"], True)])
def test_what_is_touched_outlives_nothing_that_it_needs(tags: list[str], clearable: bool) -> None:
    """Its tags, and what `clear` takes away, live on with it; so it is a value to the end, and can be invalidated."""
    desk = Desk(ttl=1, load_within=1, stale_for=5, clearable=clearable)
    desk(desk.cache.set("a", 1, tags=tags))
    desk.advance(0.5)
    before = desk.server.commands
    assert desk(desk.cache.touch("a", 3600)) is True
    assert desk.server.commands - before == 1 + len(tags) + clearable
    desk.advance(3599.999)
    desk.events()
    assert (desk(desk.cache.get("a")), desk.events()) == (1, ["hit"])
    desk.advance(5)
    assert (desk(desk.cache.get("a")), desk.events()) == (1, ["stale"])
    assert desk(desk.cache.touch("a", 3600)) is True
    for plan in [desk.cache.clear()] if clearable else [desk.cache.invalidate_tags(tag) for tag in tags[:1]]:
        desk(plan)
        assert desk(desk.cache.touch("a")) is False, "it was invalidated"
        assert desk(desk.cache.get("a")) is MISS
    assert desk(desk.cache.touch("b")) is False


@pytest.mark.parametrize(
    "there", [b"V", entry()[:40], b"V" * 44, entry(codec="")[:37] + b"xx00000", b"L" + entry()[1:]]
)
def test_what_is_no_value_is_not_touched(there: bytes) -> None:
    """Whatever it is, and whatever its end is."""
    desk = Desk()
    desk(sets("SET", "cache:{c:a}", there, "PX", 5000))
    assert desk(desk.cache.touch("a", 3600)) is False
    desk.advance(5.001)
    assert desk.server.keys() == []
