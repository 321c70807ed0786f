"""Sessions through every driver: what they hold, how they end, ids that change, several devices, round trips."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from redis_patterns import (
    SUPERSEDED,
    ConfigurationError,
    FixedWindow,
    LoginRevoked,
    Session,
    SessionChanged,
    SessionGone,
    Sessions,
    TooManySessions,
    batch,
)
from redis_patterns.testing.memory import Server as Memory
from tests.drivers.faces import Face
from tests.drivers.plans import reads, sets

pytestmark = pytest.mark.anyio


@pytest.fixture
def sessions(namespace: str) -> Sessions:
    return Sessions(namespace=namespace)


async def load(redis: Face, sessions: Sessions, session: Session | str) -> Session:
    found = await redis.run(sessions.load(session if isinstance(session, str) else session.id))
    assert found is not None
    return found


async def test_a_session_holds_what_was_saved(redis: Face, sessions: Sessions) -> None:
    """Fields of every kind come back, those that count as false too; changes merge; removed ones are gone."""
    data = {"none": None, "false": False, "zero": 0, "empty": "", "list": [1, {"a": 2}], "ü.:{}": "grüße"}
    made = await redis.run(sessions.create("ann", data, device={"agent": "x"}))
    found = await load(redis, sessions, made)
    assert (found.data, found.user, found.device, found.version) == (data, "ann", {"agent": "x"}, 1)
    assert found == made
    one, other = await load(redis, sessions, made), await load(redis, sessions, made)
    saved = await redis.run(sessions.save(one, {"a": 1}))
    await redis.run(sessions.save(other, {"b": 2}, remove=["none", "never there"]))
    assert saved.data == {**data, "a": 1}
    found = await load(redis, sessions, made)
    del data["none"]
    assert (found.data, found.version) == ({**data, "a": 1, "b": 2}, 3)


async def test_compare_and_set(redis: Face, sessions: Sessions) -> None:
    """A save that must not follow another's is refused, and changes nothing."""
    made = await redis.run(sessions.create(None, {"n": 1}))
    one = await redis.run(sessions.save(made, {"n": 2}, if_unchanged=True))
    with pytest.raises(SessionChanged):
        await redis.run(sessions.save(made, {"n": 3}, if_unchanged=True))
    again = await redis.run(sessions.save(one, {"n": 4}, if_unchanged=True))
    assert (again.version, (await load(redis, sessions, made)).data) == (3, {"n": 4})


@pytest.mark.parametrize("user", [None, "ann"])
async def test_nothing_brings_a_session_back(redis: Face, sessions: Sessions, namespace: str, user: str | None) -> None:
    """After a logout saves, rotations and renewals under way fail, and leave no key."""
    made = await redis.run(sessions.create(user, {"a": 1}))
    assert await redis.run(sessions.destroy(made)) is True
    assert await redis.run(sessions.destroy(made)) is False
    for plan in (
        sessions.save(made, {"a": 2}),
        sessions.save(made, {"a": 2}, if_unchanged=True),
        sessions.rotate(made),
        sessions.renew(made),
    ):
        with pytest.raises(SessionGone) as caught:
            await redis.run(plan)
        assert not caught.value.replaced
    assert await redis.run(sessions.load(made.id)) is None
    key = sessions._key(made.id[:16], made.handle)
    assert await redis.run(reads("EXISTS", key)) == 0


@pytest.mark.parametrize("id", [None, "", "x", "a" * 74, "a" * 76, "ü" * 75, "a" * 75, "*" * 75, "a" * 74 + "\n"])
async def test_ids_that_open_nothing(redis: Face, sessions: Sessions, id: str | None) -> None:
    """What is no id is not asked for; what could be one is no session; neither becomes a key."""
    assert await redis.run(sessions.look(id)) is None
    assert len(sessions.load(id).commands) == (1 if id == "a" * 75 else 0)
    if id is not None and sessions.load(id).commands:
        assert await redis.run(reads("EXISTS", *sessions._keys(id, "index"))) == 0


async def test_an_id_that_was_replaced(redis: Face, sessions: Sessions) -> None:
    """After a rotation only the new id opens it; who knew the old one is told so; a save under way succeeds."""
    made = await redis.run(sessions.create("ann", {"a": 1}))
    rotated = await redis.run(sessions.rotate(made, {"role": "admin"}, remove=["a"]))
    assert rotated.id != made.id
    assert (rotated.handle, rotated.data) == (made.handle, {"role": "admin"})
    assert await redis.run(sessions.load(made.id)) is None
    assert await redis.run(sessions.look(made.id)) is SUPERSEDED
    assert (await load(redis, sessions, rotated)).data == {"role": "admin"}
    assert (await redis.run(sessions.save(made, {"b": 2}))).version == 3
    with pytest.raises(SessionGone) as caught:
        await redis.run(sessions.rotate(made))
    assert caught.value.replaced
    assert await redis.run(sessions.destroy(made)), "a logout with the old id ends it too"
    assert await redis.run(sessions.load(rotated.id)) is None


async def test_a_login(redis: Face, sessions: Sessions, namespace: str) -> None:
    """A visitor's fields go with them, what was saved meanwhile too; their id opens nothing; another user's do not."""
    visitor = await redis.run(sessions.create(None, {"cart": [1], "lang": "de", "csrf": "x"}))
    await redis.run(sessions.save(visitor, {"cart": [1, 2], "seen": 1}, remove=["lang"]))
    ann = await redis.run(sessions.login(visitor, "ann", {"role": "user"}, remove=["csrf"], device={"agent": "x"}))
    expected = {"cart": [1, 2], "seen": 1, "role": "user"}
    assert (ann.user, ann.data) == ("ann", expected)
    assert ((await load(redis, sessions, ann)).data, (await load(redis, sessions, ann)).device) == (
        expected,
        {"agent": "x"},
    )
    assert await redis.run(sessions.look(visitor.id)) is SUPERSEDED
    with pytest.raises(SessionGone) as caught:
        await redis.run(sessions.save(visitor, {"cart": []}))
    assert caught.value.replaced
    again = await redis.run(sessions.login(ann, "ann", {"mfa": True}))
    assert (again.handle, again.id == ann.id, again.data) == (ann.handle, False, {**expected, "mfa": True})
    bob = await redis.run(sessions.login(again, "bob"))
    assert (bob.user, bob.data) == ("bob", {})
    assert await redis.run(sessions.count("ann")) == 0
    assert (await redis.run(sessions.login(None, "ann"))).user == "ann"


async def test_all_sessions_of_a_user(redis: Face, sessions: Sessions, namespace: str) -> None:
    """They are counted and listed; one is ended by its handle; all but one, and all; no other user's."""
    other = await redis.run(sessions.create("bob"))
    made = [await redis.run(sessions.create("ann", device={"agent": f"browser {n}"})) for n in range(4)]
    assert await redis.run(sessions.count("ann")) == 4
    devices = await redis.run(sessions.devices("ann"))
    assert {device.handle: device.about["agent"] for device in devices} == {
        session.handle: f"browser {n}" for n, session in enumerate(made)
    }
    assert all(device.created_at <= device.seen_at < device.ends_at for device in devices)
    assert await redis.run(sessions.revoke("ann", made[3].handle)) is True
    assert await redis.run(sessions.revoke("ann", made[3].handle)) is False
    assert await redis.run(sessions.revoke("ann", other.handle)) is False
    assert await redis.run(sessions.destroy_all("ann", except_=made[0])) == 2
    assert [await redis.run(sessions.load(session.id)) is not None for session in made] == [True, False, False, False]
    assert await redis.run(sessions.destroy_all("ann")) == 1
    assert (await redis.run(sessions.destroy_all("ann")), await redis.run(sessions.count("ann"))) == (0, 0)
    assert await redis.run(sessions.devices("ann")) == []
    assert (await load(redis, sessions, other)).user == "bob"
    with pytest.raises(ConfigurationError, match="except_"):
        await redis.run(sessions.destroy_all("ann", except_=other))


async def test_a_login_that_races_the_end_of_all(redis: Face, sessions: Sessions) -> None:
    """Whose credentials were checked before all sessions were ended gets none."""
    before = await redis.run(sessions.generation("ann"))
    assert await redis.run(sessions.generation("ann")) == before
    await redis.run(sessions.create("ann", generation=before))
    await redis.run(sessions.destroy_all("ann"))
    with pytest.raises(LoginRevoked):
        await redis.run(sessions.create("ann", generation=before))
    visitor = await redis.run(sessions.create(None, {"cart": 1}))
    with pytest.raises(LoginRevoked):
        await redis.run(sessions.login(visitor, "ann", generation=before))
    assert (await load(redis, sessions, visitor)).data == {"cart": 1}, "it stays a visitor"
    after = await redis.run(sessions.generation("ann"))
    assert (await redis.run(sessions.create("ann", generation=after))).user == "ann"


async def later(redis: Face) -> None:
    """Wait until it is another millisecond by the server's clock."""

    async def now() -> int:
        answer: Any = await redis.run(reads("TIME"))
        return int(answer[0]) * 1000 + int(answer[1]) // 1000

    began = await now()
    while await now() <= began:
        await anyio.sleep(0.001)


@pytest.mark.renews
async def test_a_user_with_too_many(redis: Face, namespace: str) -> None:
    """A further login is refused, or ends the session that was not accessed for longest."""
    refuses = Sessions(namespace=namespace, max_per_user=2, when_full="refuse")
    evicts = Sessions(namespace=namespace, max_per_user=2, note_every=0)
    one = await redis.run(refuses.create("ann"))
    two = await redis.run(refuses.create("ann"))
    with pytest.raises(TooManySessions, match="2 sessions"):
        await redis.run(refuses.create("ann"))
    await later(redis)
    await load(redis, evicts, one)
    three = await redis.run(evicts.create("ann"))
    found = [await redis.run(evicts.load(session.id)) is not None for session in (one, two, three)]
    assert (found, await redis.run(evicts.count("ann"))) == ([True, False, True], 2)
    await redis.run(refuses.destroy(three))
    assert (await redis.run(refuses.create("ann"))).user == "ann"


async def test_redis_has_no_id(redis: Face, sessions: Sessions, namespace: str) -> None:
    """Neither keys nor values have what a cookie has, only hashes of it; every key has a TTL."""
    made = await redis.run(sessions.create("ann", {"a": 1}))
    renewed = await redis.run(sessions.renew(made))
    visitor = await redis.run(sessions.create(None, {}))
    await redis.run(sessions.generation("ann"))
    left = await redis.run(sessions.login(visitor, "ann"))
    seen = []
    for session in (made, visitor):
        keys = [sessions._key(session.id[:16], part) for part in (session.handle, "index", "generation")]
        for key, ask in zip(keys, (("HGETALL",), ("ZRANGE", 0, -1), ("GET",)), strict=True):
            seen.append(f"{key} {await redis.run(reads(ask[0], key, *ask[1:]))}")
            ttl = await redis.run(reads("PTTL", key))
            assert ttl == -2 or (isinstance(ttl, int) and ttl > 0), key
    dump = "\n".join(seen)
    assert made.handle in dump
    for session in (made, renewed, visitor, left):
        assert session.id[32:] not in dump
        assert session.id not in f"{session!r} {session}"


async def test_an_unreadable_session_is_none(redis: Face, sessions: Sessions) -> None:
    """One with a field that the codec cannot read counts as gone, and can be ended."""
    made = await redis.run(sessions.create("ann", {"a": 1}))
    await redis.run(sets("HSET", sessions._key(made.id[:16], made.handle), ".a", b"\xff"))
    assert await redis.run(sessions.load(made.id)) is None
    assert await redis.run(sessions.destroy(made)) is True


async def test_an_id_that_is_taken(redis: Face, sessions: Sessions) -> None:
    """Creating again with the same id is the same session; with another secret it is refused."""
    id = sessions.new_id()
    made = await redis.run(sessions.create(None, {"a": 1}, id=id))
    assert (await redis.run(sessions.create(None, {"a": 2}, id=id))).created_at == made.created_at
    assert (await load(redis, sessions, id)).data == {"a": 1}
    with pytest.raises(ConfigurationError, match="taken"):
        await redis.run(sessions.create(None, id=id[:32] + sessions.new_id()[32:]))


# Times, on a server whose clock stands until it is moved


def at_rest(**options: Any) -> tuple[Memory, Callable[[Any], Any], Sessions]:
    server = Memory()
    return server, server.sync().run, Sessions(**options)


def test_it_ends_when_it_is_not_accessed() -> None:
    """To the second: just before it is there, and then it is not, nor is its key."""
    server, run, sessions = at_rest(idle=60, absolute=1000)
    made = run(sessions.create("ann"))
    assert made.ends_at - made.created_at == 60
    server.clock.advance(59.999)
    found = run(sessions.load(made.id))
    assert (found.seen_at, found.ends_at) == (made.created_at + 59.999, made.created_at + 119.999)
    server.clock.advance(60)
    assert run(sessions.load(made.id)) is None
    assert run(sessions.count("ann")) == 0
    assert server.keys() == []


def test_an_access_is_noted_now_and_then() -> None:
    """Several within `note_every` are one write, so that it ends so much too early at most."""
    server, run, sessions = at_rest(idle=60, absolute=1000, note_every=5)
    made = run(sessions.create("ann"))
    server.clock.advance(4.999)
    assert run(sessions.load(made.id)).ends_at == made.ends_at
    server.clock.advance(0.001)
    assert run(sessions.load(made.id)).ends_at == made.ends_at + 5


def test_it_ends_in_any_case() -> None:
    """However often it is accessed, saved or given another id."""
    server, run, sessions = at_rest(idle=60, absolute=300)
    made = run(sessions.create("ann"))
    for turn in range(29):
        server.clock.advance(10)
        made = run((sessions.rotate, sessions.renew, sessions.save)[turn % 3](made, {"n": turn}))
    assert made.ends_at == made.created_at + 300
    server.clock.advance(9.999)
    assert run(sessions.load(made.id)) is not None
    server.clock.advance(0.001)
    assert run(sessions.load(made.id)) is None
    with pytest.raises(SessionGone):
        run(sessions.save(made, {"a": 1}))
    assert server.keys() == []


def test_times_that_were_shortened_hold_for_old_sessions() -> None:
    """A session from before a change of the configuration ends by the new one."""
    server, run, sessions = at_rest(idle=600, absolute=1000)
    made = run(sessions.create("ann"))
    server.clock.advance(30)
    assert run(Sessions(idle=20).load(made.id)) is None
    assert run(sessions.load(made.id)) is None, "it has ended"


def test_renewal() -> None:
    """When it is due one request renews; the old id is good until the new one was seen for `grace`, then no more."""
    server, run, sessions = at_rest(renew_every=100, grace=10)
    made = run(sessions.create("ann", {"a": 1}))
    server.clock.advance(99.999)
    assert not run(sessions.load(made.id)).renewal_due
    server.clock.advance(0.001)
    one, two = run(sessions.load(made.id)), run(sessions.load(made.id))
    assert one.renewal_due
    assert two.renewal_due
    renewed, kept = run(sessions.renew(one, {"b": 2})), run(sessions.renew(two, {"c": 3}))
    assert renewed.id != made.id
    assert (kept.id, kept.renewal_due) == (made.id, False)
    server.clock.advance(9.999)
    late = run(sessions.load(made.id))
    assert (late.data, late.renewal_due) == ({"a": 1, "b": 2, "c": 3}, False)
    assert run(sessions.load(renewed.id)).data == late.data  # from here on the new one is known to be there
    server.clock.advance(9.999)
    assert run(sessions.load(made.id)) is not None
    server.clock.advance(0.001)
    assert run(sessions.load(made.id)) is None
    assert run(sessions.look(made.id)) is SUPERSEDED
    assert run(sessions.load(renewed.id)).handle == made.handle


def test_a_renewal_whose_answer_never_came() -> None:
    """The old id stays good, and is renewed again once the first seems to have been lost."""
    server, run, sessions = at_rest(renew_every=100, grace=10, idle=3600)
    made = run(sessions.create("ann"))
    server.clock.advance(100)
    lost = run(sessions.renew(run(sessions.load(made.id))))
    server.clock.advance(1000)
    found = run(sessions.load(made.id))
    assert found.renewal_due
    renewed = run(sessions.renew(found))
    assert renewed.id not in {made.id, lost.id}
    assert run(sessions.load(lost.id)) is None
    assert run(sessions.load(renewed.id)) is not None
    server.clock.advance(10)
    assert run(sessions.load(made.id)) is None


def test_the_index_forgets_what_is_over() -> None:
    """It has those that live, and those that have ended since it was looked at; it ends with the last of them."""
    server, run, sessions = at_rest(idle=60, absolute=100)
    for _ in range(20):
        last = run(sessions.create("ann"))
        server.clock.advance(10)
        index = sessions._key(last.id[:16], "index")
        assert run(reads("ZCARD", index)) <= 7
    assert run(sessions.count("ann")) == 5
    server.clock.advance(50.001)
    assert server.keys() == []


def test_what_is_remembered_of_a_visitor() -> None:
    """For a minute after the login, then nothing is left."""
    server, run, sessions = at_rest()
    visitor = run(sessions.create(None, {"a": 1}))
    made = run(sessions.login(visitor, "ann"))
    run(sessions.destroy(made))
    assert run(sessions.look(visitor.id)) is SUPERSEDED
    server.clock.advance(60.001)
    assert run(sessions.look(visitor.id)) is None
    assert server.keys() == []


def test_round_trips() -> None:
    """One for a load with its touch, a save, a create; two for the end of all; one for a batch of several patterns."""
    trips: list[str] = []
    server = Memory()
    execute = server.execute

    def counted(commands: Any, *, waits: bool = False) -> Any:
        trips.append(" ".join(str(command.args[0]) for command in commands))
        return execute(commands, waits=waits)

    server.execute = counted  # type: ignore[method-assign]
    sessions, limit = Sessions(), FixedWindow("api", limit=5, per=60)
    with server.sync() as redis:
        session = redis.run(sessions.create("ann", {"a": 1}))
        redis.run(sessions.create("ann"))
        redis.run(batch(sessions.load(session.id), limit.hit("ann")))
        trips.clear()
        for step, count in (
            (sessions.create("ann"), 1),
            (sessions.load(session.id), 1),
            (sessions.save(session, {"b": 2}), 1),
            (sessions.rotate(session), 1),
            (sessions.devices("ann"), 2),
            (sessions.count("ann"), 1),
            (sessions.destroy_all("ann"), 2),
        ):
            redis.run(step)
            # What the server does not know yet is refused, and sent again.
            known = [trip for trip in trips if not trip.startswith("EVAL ") and trip != "EVAL"]
            assert len(known) == count, (step, trips)
            trips.clear()
        session = redis.run(sessions.create("ann", {"a": 1}))
        trips.clear()
        found, decision, flag = redis.run(
            batch(sessions.load(session.id), limit.hit("ann"), reads("HGET", "feature:{dark}", "rules"))
        )
        assert found is not None
        assert (found.data, decision.allowed, flag) == ({"a": 1}, True, None)
        assert trips == ["EVALSHA EVALSHA HGET"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": ""}, "name"),
        ({"idle": 0}, "idle"),
        ({"absolute": -1}, "absolute"),
        ({"grace": -1}, "grace"),
        ({"note_every": 100, "idle": 100}, "note_every must be less than idle"),
        ({"max_per_user": 0}, "max_per_user"),
        ({"when_full": "wait"}, "when_full"),
        ({"namespace": 5}, "namespace"),
    ],
)
def test_sessions_refuse_nonsense(wrong: dict[str, Any], said: str) -> None:
    """When they are built."""
    with pytest.raises(ConfigurationError, match=said):
        Sessions(**wrong)


def test_bad_arguments_are_named() -> None:
    """Without what they hold."""
    sessions = Sessions()
    session = Memory().run(sessions.create("ann"))
    nonsense: Any = 5
    for call, said in (
        (lambda: sessions.create(""), "user"),
        (lambda: sessions.create(nonsense), "user"),
        (lambda: sessions.create(None, {nonsense: 1}), "names are text"),
        (lambda: sessions.create(None, device={"a": nonsense}), "device"),
        (lambda: sessions.create("ann", id=sessions.new_id("bob")), "id must be one that new_id gave"),
        (lambda: sessions.create(None, id="x"), "id must be"),
        (lambda: sessions.rotate(session, id=sessions.new_id("bob")), "begins as"),
        (lambda: sessions.save(session, remove=["\ud800"]), "remove"),
        (lambda: sessions.revoke("ann", "short"), "handle"),
        (lambda: sessions.count(""), "user"),
    ):
        with pytest.raises(ConfigurationError, match=said) as caught:
            call()
        assert session.id[32:] not in str(caught.value)
