"""Flags through every driver: writing, reading, evaluating in one round trip, and following what changes."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from redis_patterns import (
    Condition,
    ConfigurationError,
    DecodeError,
    Flag,
    FlagClient,
    FlagConflict,
    FlagContext,
    FlagEvent,
    FlagRule,
    Flags,
    FlagSnapshot,
    Flow,
    Plan,
    Sessions,
    Unreachable,
    batch,
)
from tests.drivers.conftest import Connect
from tests.drivers.faces import Face, Kind
from tests.drivers.plans import once, reads

pytestmark = pytest.mark.anyio


@pytest.fixture
def flags(namespace: str) -> Flags:
    """Give flags of this test's own."""
    return Flags("shop", namespace=namespace)


async def until(holds: Callable[[], object]) -> None:
    """Wait until something holds."""
    with anyio.fail_after(10):
        while not holds():
            await anyio.sleep(0.005)


async def test_the_shape_of_everyday(redis: Face, flags: Flags) -> None:
    """Unknown or disabled is off; the blocklist is before the allowlist, and that before the percentage."""
    assert await redis.run(flags.is_enabled("new-ui", "ann")) is False
    assert await redis.run(flags.put(Flag("new-ui", percentage=0, allowlist=["ann", "bob"], blocklist=["bob"]))) == 1
    assert [await redis.run(flags.is_enabled("new-ui", user)) for user in ("ann", "bob", "cy")] == [True, False, False]
    await redis.run(flags.update("new-ui", lambda flag: Flag("new-ui", percentage=50, version=flag.version)))
    users = [f"user-{number}" for number in range(40)]
    first = await redis.run(batch(*(flags.is_enabled("new-ui", user) for user in users)))
    assert first == await redis.run(batch(*(flags.is_enabled("new-ui", user) for user in users)))
    assert 5 < sum(first) < 35
    assert first == tuple(FlagSnapshot([Flag("new-ui", percentage=50)]).is_enabled("new-ui", user) for user in users)
    await redis.run(flags.put(Flag("new-ui", enabled=False)))
    assert await redis.run(flags.is_enabled("new-ui", "ann", default=True)) is False


async def test_a_flag_with_a_session_in_one_round_trip(redis: Face, flags: Flags, namespace: str) -> None:
    """Its plan is batched with others', prerequisites included."""
    sessions = Sessions(namespace=namespace)
    session = await redis.run(sessions.create("ann"))
    await redis.run(flags.put(Flag("base")))
    await redis.run(flags.put(Flag("new-ui", requires={"base": "on"})))
    plan = batch(sessions.load(session.id), flags.is_enabled("new-ui", "ann"), flags.evaluate("none", "ann", 7))
    loaded, enabled, found = await redis.run(plan)
    assert loaded is not None
    assert (loaded.user, enabled, found.value, found.error) == ("ann", True, 7, "FLAG_NOT_FOUND")
    await redis.run(flags.put(Flag("base", percentage=0)))
    assert (await redis.run(flags.evaluate("new-ui", "ann", True))).step == "prerequisite"


async def test_every_type_comes_back(redis: Face, flags: Flags) -> None:
    """With rules, weights, metadata and text of all kinds; a version makes them no others."""
    several = [
        Flag("text", variants={"größe": "\u2028\0", "none": ""}, metadata={"by": "Zoë"}),
        Flag("int", variants={"a": 2**60, "b": -1}, serve={"a": 0.001, "b": 99.999}, percentage=33.333),
        Flag("float", variants={"a": 0.1, "b": 1.0}, blocklist=["ann"]),
        Flag("object", variants={"a": {"x": [1, None, True]}, "b": []}),
        Flag("rules", rules=[FlagRule(Condition("v", "semver", ">=1.0.0"), serve={"on": 1, "off": 1}, percentage=0.5)]),
    ]
    for flag in several:
        assert await redis.run(flags.put(flag)) == 1
    assert await redis.run(batch(*(flags.get(flag.name) for flag in several))) == tuple(several)
    snapshot = await redis.run(flags.snapshot())
    assert list(snapshot) == sorted(several, key=lambda flag: flag.name)
    assert snapshot.evaluate("object", "ann", {}).value == {"x": [1, None, True]}
    assert (await redis.run(flags.evaluate("object", "ann", {}))).value == {"x": [1, None, True]}


async def test_two_writers(redis: Face, flags: Flags) -> None:
    """The one who has not seen the other's write is refused; a deleted flag does not come back by an old one."""
    await redis.run(flags.put(Flag("x")))
    seen = await redis.run(flags.get("x"))
    assert seen is not None
    assert await redis.run(flags.put(Flag("x", percentage=10), expected_version=seen.version, by="ann")) == 2
    with pytest.raises(FlagConflict) as refusal:
        await redis.run(flags.put(Flag("x", percentage=20), expected_version=seen.version, by="bob"))
    assert (refusal.value.version, (await redis.run(flags.get("x")))) == (2, Flag("x", percentage=10))
    assert await redis.run(flags.delete("x", by="cy")) is True
    assert await redis.run(flags.get("x")) is None
    with pytest.raises(FlagConflict):
        await redis.run(flags.put(Flag("x"), expected_version=2))
    with pytest.raises(FlagConflict):
        await redis.run(flags.put(Flag("x"), expected_version=0))
    assert await redis.run(flags.delete("x")) is False
    changes = await redis.run(flags.history())
    assert [(change.version, change.by, change.deleted) for change in changes] == [
        (3, "cy", True),
        (2, "ann", False),
        (1, "", False),
    ]
    assert changes[0].revision == await redis.run(flags.revision())


async def test_many_writers_at_a_time(redis: Face, flags: Flags) -> None:
    """Each that changes a flag by what it is has its part in it."""
    await redis.run(flags.put(Flag("x", variants={"count": 0})))

    def more(flag: Flag) -> Flag:
        (count,) = flag.variants.values()
        assert isinstance(count, int)
        return Flag("x", variants={"count": count + 1})

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(redis.run, flags.update("x", more, attempts=50))
    assert (await redis.run(flags.evaluate("x", None, 0))).value == 8
    assert [change.version for change in await redis.run(flags.history())] == [9, 8, 7, 6, 5, 4, 3, 2, 1]


async def test_a_write_that_is_sent_again_counts_once(redis: Face, flags: Flags) -> None:
    """And gives the version that it made, even after others' writes."""
    put = flags.put(Flag("x", percentage=10), expected_version=0)
    assert [await redis.run(put) for _ in range(2)] == [1, 1]
    await redis.run(flags.put(Flag("x", percentage=20)))
    assert await redis.run(put) == 1
    assert await redis.run(flags.get("x")) == Flag("x", percentage=20)


async def test_as_many_changes_as_are_kept(redis: Face, namespace: str) -> None:
    """The oldest ones go."""
    flags = Flags("shop", keep_changes=3, namespace=namespace)
    for number in range(6):
        await redis.run(flags.put(Flag("x", percentage=number)))
    assert [change.flag for change in await redis.run(flags.history())] == [
        Flag("x", percentage=number) for number in (5, 4, 3)
    ]
    assert len(await redis.run(flags.history(2))) == 2


async def test_exported_and_imported(redis: Face, flags: Flags, namespace: str) -> None:
    """Into other flags, which keep those that are not in it; a text that is wrong writes nothing."""
    await redis.run(flags.put(Flag("a", percentage=10, rules=[FlagRule(Condition("c", "in", ["DE"]))])))
    await redis.run(flags.put(Flag("b", requires={"a": "on"})))
    text = await redis.run(flags.export_json())
    other = Flags("other", namespace=namespace)
    await redis.run(other.put(Flag("c")))
    await redis.run(other.put(Flag("a")))
    assert await redis.run(other.import_json(text, by="ann")) == {"a": 2, "b": 1}
    assert list(await redis.run(other.snapshot())) == [*(await redis.run(flags.snapshot())), Flag("c")]
    data = json.loads(text)
    data["flags"][1]["percentage"] = 101
    with pytest.raises(DecodeError, match="'b'"):
        other.import_json(json.dumps(data))


async def test_a_flag_that_cannot_be_read_is_in_error_alone(redis: Face, flags: Flags) -> None:
    """The others are as they were; and it can be written anew."""
    await redis.run(flags.put(Flag("a")))
    await redis.run(once("HSET", flags.key, "later", '3:t:;{"format":2}'))
    await redis.run(once("HSET", flags.key, "f", 'f3:t:;{"format":2}'))
    snapshot = await redis.run(flags.snapshot())
    assert (list(snapshot.flags), sorted(snapshot.unreadable)) == (["a"], ["f", "later"])
    assert (await redis.run(flags.evaluate("f", "ann", False))).error == "PARSE_ERROR"
    assert await redis.run(flags.is_enabled("a", "ann")) is True
    assert await redis.run(flags.put(Flag("f"))) == 4
    assert await redis.run(flags.is_enabled("f", "ann")) is True


async def test_keys_are_permanent_and_in_one_place(redis: Face, flags: Flags) -> None:
    """A hash and a stream with one hash tag, without an end."""
    await redis.run(flags.put(Flag("a")))
    for key, kind in ((flags.key, b"hash"), (f"{flags.key}:changes", b"stream")):
        assert await redis.run(reads("TYPE", key)) in {kind, kind.decode()}
        assert await redis.run(reads("TTL", key)) == -1


# Following


async def test_a_client_is_told_of_changes(redis: Face, flags: Flags) -> None:
    """At once, with the names; what it answers is what is stored, without asking."""
    await redis.run(flags.put(Flag("a", percentage=0)))
    events: list[FlagEvent] = []
    async with redis.follow(FlagClient(flags, poll=600, on_event=events.append)) as client:
        assert (client.is_enabled("a", "ann"), client.stale, client.followed) == (False, False, True)
        for number in range(3):
            version = await redis.run(flags.put(Flag("a", percentage=100 * (number % 2))))
            await until(functools.partial(_has_version, client, version))
            assert client.is_enabled("a", "ann") is bool(number % 2)
        await redis.run(flags.put(Flag("b")))
        await until(lambda: client.is_enabled("b", "ann"))
        await redis.run(flags.delete("a"))
        await until(lambda: client.evaluate("a").error == "FLAG_NOT_FOUND")
        assert client.revision == await redis.run(flags.revision())
        assert not client.stale
    assert (client.stale, client.followed, client.is_enabled("b", "ann")) == (True, False, True)
    assert events[0] == FlagEvent("ready", revision=events[0].revision)
    assert {name for event in events for name in event.names} == {"a", "b"}
    assert {event.what for event in events} == {"ready", "changed"}


def _has_version(client: FlagClient, version: int) -> bool:
    return client.snapshot is not None and client.snapshot.flags["a"].version == version


async def test_flags_can_be_followed_as_they_are(redis: Face, flags: Flags) -> None:
    """Without a client of one's own, and before there is a flag."""
    async with redis.follow(flags) as client:
        assert (client.ready, client.revision) == (True, 0)
        await redis.run(flags.put(Flag("a")))
        await until(lambda: client.is_enabled("a"))
        with pytest.raises(ConfigurationError, match="one driver at a time"):
            async with redis.follow(client):
                pass
    async with redis.follow(client):
        assert not client.stale


@pytest.mark.renews
async def test_what_is_told_to_nobody_is_looked_for(redis: Face, flags: Flags) -> None:
    """A change that is in no stream is found by the poll."""
    await redis.run(flags.put(Flag("a", percentage=0)))
    async with redis.follow(FlagClient(flags, poll=0.1)) as client:
        record = await redis.run(reads("HGET", flags.key, "a"))
        text = record.decode() if isinstance(record, bytes) else str(record)
        await redis.run(once("HSET", flags.key, "a", text.replace('"percentage":0', '"percentage":100'), "", "7"))
        await until(lambda: client.revision == 7)
        assert client.is_enabled("a", "ann")


async def test_a_listener_that_raises_is_told_to_the_handler(connect: Connect, flags: Flags) -> None:
    """Following goes on."""
    failed: list[BaseException] = []

    def fails(event: FlagEvent) -> None:
        raise ZeroDivisionError(event.what)

    def handler(what: Flow[Any] | Plan[Any], error: BaseException) -> None:
        del what
        failed.append(error)

    async with connect(on_background_error=handler) as redis, redis.follow(FlagClient(flags, on_event=fails)) as client:
        await redis.run(flags.put(Flag("a")))
        await until(lambda: client.is_enabled("a"))
        await until(lambda: len(failed) == 2)
    assert [str(error) for error in failed] == ["ready", "changed"]


async def test_a_coroutine_function_listens_too(redis: Face, flags: Flags, kind: Kind) -> None:
    """In asyncio and trio; synchronous code refuses to await it, which is told."""
    if kind.name.startswith("sync"):
        return
    told: list[str] = []

    async def listen(event: FlagEvent) -> None:
        await anyio.lowlevel.checkpoint()
        told.append(event.what)

    async with redis.follow(FlagClient(flags, on_event=listen)) as client:
        await redis.run(flags.put(Flag("a")))
        await until(lambda: client.is_enabled("a"))
        await until(lambda: told == ["ready", "changed"])


async def test_where_there_is_nobody(kind: Kind, flags: Flags) -> None:
    """Following raises, unless there is something to go on with; that says that it may be old."""
    if kind.memory:
        return
    async with kind.make("redis://localhost:1", {"retry_for": 0}) as redis:
        with pytest.raises(Unreachable):
            async with redis.follow(flags):
                pass
        events: list[FlagEvent] = []
        client = FlagClient(flags, initial=FlagSnapshot([Flag("a")]), on_event=events.append)
        async with redis.follow(client):
            await until(lambda: events)
            assert (client.is_enabled("a"), client.stale, client.ready) == (True, True, False)
            assert client.evaluate("a", "ann", False).reason == "STALE"
            await anyio.sleep(0.3)
        assert [event.what for event in events] == ["stale"]


async def test_leaving_is_prompt(redis: Face, flags: Flags, kind: Kind) -> None:
    """In asyncio and trio at once, in synchronous code within a second, by any way out."""
    for _ in range(2):
        started = 0.0
        with pytest.raises(ZeroDivisionError):
            async with redis.follow(FlagClient(flags, poll=600)):
                await anyio.sleep(0.01)
                started = anyio.current_time()
                raise ZeroDivisionError
        assert anyio.current_time() - started < (1.6 if kind.name.startswith("sync") else 0.5)


async def test_users_of_whom_something_is_known(redis: Face, flags: Flags) -> None:
    """By a snapshot, by a client and by one flag, rules give the same."""
    await redis.run(
        flags.put(
            Flag(
                "search",
                rules=[FlagRule([Condition("country", "in", ["DE", "AT"]), Condition("app", "semver", ">=2.0.0")])],
                percentage=0,
            )
        )
    )
    async with redis.follow(flags) as client:
        for country, app, expected in (("DE", "2.0.0", True), ("DE", "1.9.9", False), ("FR", "2.0.0", False)):
            who = FlagContext("ann", {"country": country, "app": app})
            assert client.is_enabled("search", who) is expected
            assert await redis.run(flags.is_enabled("search", who)) is expected
