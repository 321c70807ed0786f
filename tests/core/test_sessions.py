"""Sessions on a server in memory, with its clock put forward by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from redis_patterns import (
    SUPERSEDED,
    Command,
    ConfigurationError,
    DecodeError,
    Effect,
    EncodeError,
    LoginRevoked,
    Plan,
    Session,
    SessionChanged,
    SessionGone,
    Sessions,
    Text,
    TooManySessions,
)
from redis_patterns.testing import Dry
from redis_patterns.testing.memory import Server
from redis_patterns_core.session_records import digest

EPOCH = 1_700_000_000
SESSIONS = Sessions(idle=100, absolute=300, note_every=1, renew_every=50, grace=10)


@pytest.fixture
def server() -> Server:
    return Server()


def run(server: Server, step: Any) -> Any:
    with server.sync() as redis:
        return redis.run(step)


def hset(session: Session, field: str, held: str) -> Plan[None]:
    key = f"session:{{web:{session.id[:16]}}}:{session.handle}"
    return Plan("hset", (Command(("HSET", key, field, held)),), lambda _: None)


def test_what_create_gives(server: Server) -> None:
    """All that a later `load` gives, with an id of its own."""
    made = run(server, SESSIONS.create("ann", {"cart": [1]}, device={"browser": "x"}))
    assert (made.user, made.data, made.device, made.version) == ("ann", {"cart": [1]}, {"browser": "x"}, 1)
    assert (made.created_at, made.seen_at, made.ends_at) == (EPOCH, EPOCH, EPOCH + 100)
    assert not made.renewal_due
    assert run(server, SESSIONS.load(made.id)) == made
    assert len(made.id) == 16 + 16 + 43
    assert made.handle == made.id[16:32]
    assert made.id[:16] == run(server, SESSIONS.create("ann")).id[:16]
    visitors = [run(server, SESSIONS.create()) for _ in range(2)]
    assert len({one.id[:16] for one in visitors}) == 2
    assert visitors[0].user is None
    assert made.id not in repr(made)


def test_a_field_without_a_name(server: Server) -> None:
    """It is one as any other: it can be set, read and removed."""
    made = run(server, SESSIONS.create(data={"": 1, "a": 2}))
    assert run(server, SESSIONS.load(made.id)).data == {"": 1, "a": 2}
    assert run(server, SESSIONS.save(made, remove=[""])).data == {"a": 2}
    assert run(server, SESSIONS.load(made.id)).data == {"a": 2}


@pytest.mark.parametrize("held", [{"data": {"a": "\ud800"}}, {"device": {"browser": "\ud800"}}])
def test_what_cannot_be_written_is_refused(held: Any) -> None:
    """By an error that does not show it."""
    with pytest.raises(EncodeError, match="JSON cannot write this"):
        SESSIONS.create("ann", **held)


def test_how_long_it_lives(server: Server) -> None:
    """For `idle` from each access, to the second of `note_every`; and for `absolute` in any case."""
    made = run(server, SESSIONS.create())
    for at, ends in ((60, 160), (120, 220), (210, 300), (299, 300)):
        server.clock.advance(at - server.clock())
        seen = run(server, SESSIONS.load(made.id))
        assert (seen.seen_at, seen.ends_at) == (EPOCH + at, EPOCH + ends)
    server.clock.advance(1)
    assert run(server, SESSIONS.load(made.id)) is None
    made = run(server, SESSIONS.create())
    server.clock.advance(100)
    assert run(server, SESSIONS.load(made.id)) is None
    assert server.keys() == []


def test_it_ends_at_its_millisecond(server: Server) -> None:
    """By whatever it is asked for: until then it counts, is listed and ended with the others, and then no more."""
    refusing = replace(SESSIONS, max_per_user=2, when_full="refuse")
    noting = replace(SESSIONS, note_every=0)
    server.clock.advance(0.9999)
    users = ("counted", "ended", "listed", "ended late", "full")
    made = [run(server, SESSIONS.create(user)) for user in users]
    assert {(one.created_at, one.ends_at) for one in made} == {(EPOCH + 0.999, EPOCH + 100.999)}
    visitors = [run(server, SESSIONS.create()) for _ in range(2)]
    assert run(server, noting.load(visitors[0].id)).seen_at == EPOCH + 0.999
    server.clock.advance(50)
    for user in users:
        run(server, SESSIONS.create(user))
    server.clock.advance(49.999)
    assert run(server, SESSIONS.count("counted")) == 2
    assert len(run(server, SESSIONS.devices("listed"))) == 2
    assert run(server, SESSIONS.destroy_all("ended")) == 2
    with pytest.raises(TooManySessions):
        run(server, refusing.create("full"))
    assert run(server, SESSIONS.load(visitors[0].id)) is not None
    server.clock.advance(0.0002)
    assert run(server, SESSIONS.load(visitors[1].id)) is None
    assert run(server, SESSIONS.count("counted")) == 1
    assert len(run(server, SESSIONS.devices("listed"))) == 1
    assert run(server, SESSIONS.destroy_all("ended late")) == 1
    assert run(server, refusing.create("full")).user == "full"


def test_the_index_lives_as_long_as_the_last_of_its_sessions(server: Server) -> None:
    """A session that is near its absolute end does not take the others with it."""
    first = run(server, SESSIONS.create("ann"))
    for at in (90, 180, 245):
        server.clock.advance(at - server.clock())
        assert run(server, SESSIONS.load(first.id)).ends_at == EPOCH + min(at + 100, 300)
    second = run(server, SESSIONS.create("ann"))
    server.clock.advance(5)
    assert run(server, SESSIONS.load(first.id)).ends_at == EPOCH + 300
    server.clock.advance(60)
    assert run(server, SESSIONS.load(second.id)).ends_at == EPOCH + 410
    server.clock.advance(40)
    assert run(server, SESSIONS.load(second.id)) is not None


@pytest.mark.parametrize("shown", [None, "", "x", 7, "a" * 74, "a" * 76, "!" * 75])
def test_what_is_no_id_asks_nobody(shown: Any) -> None:
    """Whatever a client shows."""
    plan = SESSIONS.load(shown)
    assert (plan.name, plan.commands, plan.parse([]), plan.effect) == ("session.load", (), None, Effect.READS)


def test_save(server: Server) -> None:
    """Changes some fields and leaves the others, whoever has changed them meanwhile; the removed ones are gone."""
    made = run(server, SESSIONS.create("ann", {"a": 1, "b": 2, "c": 3}))
    server.clock.advance(5)
    other = run(server, SESSIONS.save(made, {"b": 20}))
    assert (other.data, other.version) == ({"a": 1, "b": 20, "c": 3}, 2)
    assert (other.seen_at, other.ends_at) == (EPOCH + 5, EPOCH + 105)
    # A field that is both changed and removed is changed.
    ours = run(server, SESSIONS.save(made, {"a": 10}, remove=["c", "a", "none"]))
    assert (ours.data, ours.version, ours.id) == ({"a": 10, "b": 2}, 3, made.id)
    assert run(server, SESSIONS.load(made.id)).data == {"a": 10, "b": 20}
    assert run(server, SESSIONS.save(ours)).data == ours.data


def test_save_if_unchanged(server: Server) -> None:
    """It fails where somebody has changed anything since, and is sent at most once."""
    made = run(server, SESSIONS.create(data={"a": 1}))
    changed = run(server, SESSIONS.save(made, {"a": 2}, if_unchanged=True))
    with pytest.raises(SessionChanged):
        run(server, SESSIONS.save(made, {"a": 3}, if_unchanged=True))
    assert run(server, SESSIONS.save(changed, {"a": 4}, if_unchanged=True)).version == 3
    assert SESSIONS.save(made, if_unchanged=True).effect is Effect.ONCE
    assert SESSIONS.save(made).effect is Effect.IDEMPOTENT


def test_rotate(server: Server) -> None:
    """Another id at once, in the same place; the old one opens nothing, and is told from others for a minute."""
    made = run(server, SESSIONS.create("ann", {"a": 1, "b": 2}))
    rotated = run(server, SESSIONS.rotate(made, {"a": 5}, remove=["b"]))
    assert rotated.id[:32] == made.id[:32]
    assert rotated.id != made.id
    assert rotated.data == {"a": 5}
    assert run(server, SESSIONS.load(rotated.id)).data == {"a": 5}
    assert run(server, SESSIONS.look(made.id)) is SUPERSEDED
    assert run(server, SESSIONS.load(made.id)) is None
    assert repr(SUPERSEDED) == "SUPERSEDED"
    # Who has read it before may still save.
    assert run(server, SESSIONS.save(made, {"c": 1})).id == made.id


def test_renew(server: Server) -> None:
    """Due after `renew_every`; the old id is good until `grace` after the new one was seen."""
    made = run(server, SESSIONS.create())
    server.clock.advance(49.999)
    assert not run(server, SESSIONS.load(made.id)).renewal_due
    server.clock.advance(0.001)
    seen = run(server, SESSIONS.load(made.id))
    assert seen.renewal_due
    assert run(server, SESSIONS.save(seen, {"a": 1})).renewal_due
    renewed = run(server, SESSIONS.renew(seen, {"a": 1}))
    assert renewed.id != made.id
    assert not renewed.renewal_due
    again = run(server, SESSIONS.renew(seen))
    assert (again.id, again.renewal_due) == (made.id, False)
    assert not run(server, SESSIONS.load(made.id)).renewal_due
    server.clock.advance(9.999)
    assert not run(server, SESSIONS.load(made.id)).renewal_due
    server.clock.advance(0.001)
    assert run(server, SESSIONS.load(made.id)).renewal_due, "the new one has not reached anybody"
    assert run(server, SESSIONS.load(renewed.id)).id == renewed.id
    assert not run(server, SESSIONS.load(made.id)).renewal_due, "the new one was seen"
    server.clock.advance(10)
    assert run(server, SESSIONS.load(made.id)) is None
    assert run(server, SESSIONS.load(renewed.id)) is not None


def test_renewals_one_after_another(server: Server) -> None:
    """Each id before is good until its successor was seen for `grace`; one that seems to be lost is given anew."""
    first = run(server, SESSIONS.create())
    second = run(server, SESSIONS.renew(first))
    run(server, SESSIONS.load(second.id))
    server.clock.advance(60)
    third = run(server, SESSIONS.renew(second))
    assert run(server, SESSIONS.load(first.id)) is None
    assert run(server, SESSIONS.load(second.id)) is not None, "nobody has seen the third"
    server.clock.advance(9.999)
    assert run(server, SESSIONS.renew(second)).id == second.id
    server.clock.advance(0.001)
    fourth = run(server, SESSIONS.renew(second))
    assert fourth.id not in {second.id, third.id}
    assert run(server, SESSIONS.load(third.id)) is None
    assert run(server, SESSIONS.load(fourth.id)) is not None
    server.clock.advance(9.999)
    assert run(server, SESSIONS.renew(second)).id == second.id, "the fourth was seen"
    server.clock.advance(0.001)
    assert run(server, SESSIONS.load(second.id)) is None


def test_an_ended_session(server: Server) -> None:
    """It is not saved, rotated or renewed; destroying it again tells that it was gone."""
    made = run(server, SESSIONS.create())
    assert run(server, SESSIONS.destroy(made)) is True
    assert run(server, SESSIONS.destroy(made)) is False
    for plan in (SESSIONS.save(made), SESSIONS.rotate(made), SESSIONS.renew(made)):
        with pytest.raises(SessionGone) as gone:
            run(server, plan)
        assert gone.value.replaced is False
    made = run(server, SESSIONS.create("ann"))
    run(server, SESSIONS.destroy_all("ann"))
    assert run(server, SESSIONS.destroy(made)) is False
    shortened = run(server, SESSIONS.create("ann"))
    server.clock.advance(20)
    assert run(server, replace(SESSIONS, idle=20).load(shortened.id)) is None
    assert run(server, SESSIONS.count("ann")) == 0, "it has left the index too"


def test_a_rotation_of_what_was_rotated(server: Server) -> None:
    """It has gone, and the error says that it was replaced."""
    made = run(server, SESSIONS.create())
    run(server, SESSIONS.rotate(made))
    with pytest.raises(SessionGone) as gone:
        run(server, SESSIONS.rotate(made))
    assert gone.value.replaced is True


def test_login(server: Server) -> None:
    """The visitor's session ends, and the user's has its fields, changed; what another request saved comes along."""
    visitor = run(server, SESSIONS.create(data={"cart": 1, "old": 2, "note": 3, "same": 4}))
    run(server, SESSIONS.save(visitor, {"cart": 9, "late": 5, "mine": 0}, remove=["note"]))
    made = run(server, SESSIONS.login(visitor, "ann", {"mine": 1}, remove=["old"], device={"b": "x"}))
    assert (made.user, made.device) == ("ann", {"b": "x"})
    assert made.data == {"cart": 9, "late": 5, "mine": 1, "same": 4}
    assert run(server, SESSIONS.load(made.id)).data == made.data
    assert run(server, SESSIONS.load(visitor.id)) is None
    assert run(server, SESSIONS.look(visitor.id)) is SUPERSEDED
    server.clock.advance(59.999)
    assert run(server, SESSIONS.look(visitor.id)) is SUPERSEDED
    server.clock.advance(0.002)
    assert run(server, SESSIONS.look(visitor.id)) is None


def test_login_in_as_many_round_trips_as_it_says() -> None:
    """One without a session or with the user's own, two with a visitor's, three where that was changed meanwhile."""
    plain = Session("v" * 75, None, {"a": 1, "b": 2}, 0, 0, 0, 1, {})
    created, fields = [1, EPOCH * 1000, EPOCH * 1000 + 5], [b".a", b"1", b".b", b"2"]
    dry = Dry(SESSIONS.login(None, "ann"))
    dry.expect("session.create").answer(created)
    assert dry.result.user == "ann"
    dry = Dry(SESSIONS.login(plain, "ann"))
    dry.expect("session.create").answer(created).expect("session.leave").answer([1, fields])
    assert dry.result.data == {"a": 1, "b": 2}
    dry = Dry(SESSIONS.login(plain, "ann"))
    dry.expect("session.create").answer(created).expect("session.leave").answer([1, fields[:2]])
    dry.expect("session.save").answer([1, 1, 1, 2, 0])
    assert dry.result.data == {"a": 1}
    for left in ([0], [1, [b".a", b"{"]]):
        dry = Dry(SESSIONS.login(plain, "ann"))
        dry.expect("session.create").answer(created).expect("session.leave").answer(left)
        assert dry.result.data == {"a": 1, "b": 2}
    dry = Dry(SESSIONS.login(replace(plain, user="ann"), "ann", {"a": 7}))
    dry.expect("session.rotate").answer([1, 1, 1, 2, 1])
    assert dry.result.data == {"a": 7, "b": 2}
    dry = Dry(SESSIONS.login(replace(plain, user="bob"), "ann", {"c": 7}))
    dry.expect("session.create").answer(created).expect("session.leave").answer([1, fields])
    assert dry.result.data == {"c": 7}


def test_leaving_again(server: Server) -> None:
    """An answer that was lost is given again, to who has the id that was left, and to nobody else."""
    visitor = run(server, SESSIONS.create(data={"a": 1}))
    other = replace(visitor, id=visitor.id[:32] + SESSIONS.new_id()[32:])
    assert run(server, SESSIONS._leave(visitor)) == {"a": 1}
    assert run(server, SESSIONS._leave(visitor)) == {"a": 1}
    assert run(server, SESSIONS._leave(other)) is None
    assert run(server, SESSIONS.destroy(visitor)) is False


def test_a_user_with_too_many(server: Server) -> None:
    """A login is refused, or ends the session that would end first: if none is old, that not accessed for longest."""
    refusing, evicting = (replace(SESSIONS, max_per_user=2, when_full=full) for full in ("refuse", "evict"))
    first = run(server, refusing.create("ann"))
    server.clock.advance(1)
    second = run(server, refusing.create("ann"))
    with pytest.raises(TooManySessions, match="2 sessions"):
        run(server, refusing.create("ann"))
    with pytest.raises(TooManySessions, match="1 sessions"):
        run(server, replace(refusing, max_per_user=1).create("ann"))
    assert run(server, refusing.count("ann")) == 2
    server.clock.advance(1)
    run(server, evicting.load(first.id))
    third = run(server, evicting.create("ann"))
    assert run(server, evicting.count("ann")) == 2
    assert run(server, evicting.load(second.id)) is None
    assert run(server, evicting.load(first.id)) is not None
    assert run(server, evicting.load(third.id)) is not None
    for _ in range(3):
        server.clock.advance(90)
        run(server, evicting.load(first.id))
        run(server, evicting.load(third.id))
    server.clock.advance(20)
    fourth = run(server, evicting.create("ann"))
    server.clock.advance(1)
    run(server, evicting.load(third.id))  # later than the fourth, but its absolute end is near
    run(server, evicting.create("ann"))
    assert run(server, evicting.load(third.id)) is None
    assert run(server, evicting.load(fourth.id)) is not None


def test_devices(server: Server) -> None:
    """A user's sessions, those that will live longest first; each can be ended by its handle."""
    assert run(server, SESSIONS.devices("ann")) == []
    first = run(server, SESSIONS.create("ann", device={"b": "1"}))
    server.clock.advance(2)
    second = run(server, SESSIONS.create("ann"))
    run(server, SESSIONS.create("bob"))
    devices = run(server, SESSIONS.devices("ann"))
    assert [(one.handle, one.created_at, one.seen_at, one.ends_at, one.about) for one in devices] == [
        (second.handle, EPOCH + 2, EPOCH + 2, EPOCH + 102, {}),
        (first.handle, EPOCH, EPOCH, EPOCH + 100, {"b": "1"}),
    ]
    assert run(server, SESSIONS.revoke("ann", first.handle)) is True
    assert run(server, SESSIONS.revoke("ann", first.handle)) is False
    assert run(server, SESSIONS.count("ann")) == 1


def test_a_device_that_ends_while_it_is_read() -> None:
    """It is left out."""
    dry = Dry(SESSIONS.devices("ann"))
    dry.expect("session.devices").answer([b"a" * 16, b"5", b"b" * 16, b"4"])
    dry.expect("session.devices").answer([None, None, None], [b"1000", b"2000", b"{}"])
    assert [(one.handle, one.created_at, one.seen_at, one.ends_at) for one in dry.result] == [
        ("b" * 16, 1.0, 2.0, 0.004)
    ]


def test_ending_all(server: Server) -> None:
    """All of a user's sessions end but one that is named, and so does a login that is under way."""
    assert run(server, SESSIONS.destroy_all("ann")) == 0
    sessions = [run(server, SESSIONS.create("ann")) for _ in range(3)]
    generation = run(server, SESSIONS.generation("ann"))
    assert run(server, SESSIONS.destroy_all("ann", except_=sessions[1])) == 2
    assert [run(server, SESSIONS.load(one.id)) is not None for one in sessions] == [False, True, False]
    for login in (SESSIONS.create("ann", generation=generation), SESSIONS.login(None, "ann", generation=generation)):
        with pytest.raises(LoginRevoked):
            run(server, login)
    newer = run(server, SESSIONS.generation("ann"))
    assert newer == run(server, SESSIONS.generation("ann"))
    assert run(server, SESSIONS.create("ann", generation=newer)).user == "ann"
    assert run(server, SESSIONS.destroy_all("ann")) == 2
    with pytest.raises(ConfigurationError, match="except_ must"):
        run(server, SESSIONS.destroy_all("bob", except_=sessions[1]))


def test_how_long_a_login_may_take(server: Server) -> None:
    """An hour from when its generation was asked for last."""
    generation = run(server, SESSIONS.generation("ann"))
    for _ in range(2):
        server.clock.advance(3599)
        assert run(server, SESSIONS.generation("ann")) == generation
    server.clock.advance(3600.001)
    with pytest.raises(LoginRevoked):
        run(server, SESSIONS.create("ann", generation=generation))
    assert run(server, SESSIONS.generation("ann")) != generation


def test_where_sessions_lie_and_what_is_kept_of_an_id() -> None:
    """The same in every version, or an update would end all sessions."""
    assert SESSIONS.new_id("ann")[:16] == "t7FaOSZJ6vWcl7j6"
    assert digest("x") == "LXEWQrcmsEQBYnyp-6wy9chTD7GQPMTbAiWHF5IaSIE"


def test_what_cannot_be_read_is_no_session(server: Server) -> None:
    """Nor is a device that the JSON of another hand has made."""
    made = run(server, SESSIONS.create(data={"a": 1}))
    run(server, hset(made, ".a", "{"))
    assert run(server, SESSIONS.load(made.id)) is None
    raw = replace(SESSIONS, codec=Text())
    assert run(server, raw.load(made.id)).data == {"a": "{"}


def test_an_id_that_is_taken(server: Server) -> None:
    """Creating it again gives the same session, and not to another user."""
    id = SESSIONS.new_id("ann")
    made = run(server, SESSIONS.create("ann", {"a": 1}, id=id))
    assert made.id == id
    other = id[:32] + SESSIONS.new_id("ann")[32:]
    with pytest.raises(ConfigurationError, match="this one is taken"):
        run(server, SESSIONS.create("ann", id=other))


@pytest.mark.parametrize("answer", [[2], [0, 1]])
def test_look_is_idempotent_and_create_too(answer: Any) -> None:
    """An access is noted once, however often it is sent."""
    plan = SESSIONS.look("a" * 75)
    assert (plan.name, plan.effect) == ("session.load", Effect.IDEMPOTENT)
    assert SESSIONS.create().effect is Effect.IDEMPOTENT
    assert plan.parse([answer]) in {SUPERSEDED, None}


@pytest.mark.parametrize(
    ("plan", "name"),
    [
        (SESSIONS.create(), "session.create"),
        (SESSIONS.destroy(Session("v" * 75, None, {}, 0, 0, 0, 1, {})), "session.destroy"),
        (SESSIONS.revoke("ann", "v" * 16), "session.destroy"),
        (SESSIONS.generation("ann"), "session.generation"),
        (SESSIONS.count("ann"), "session.count"),
        (SESSIONS._leave(Session("v" * 75, None, {}, 0, 0, 0, 1, {})), "session.leave"),
    ],
)
def test_names_and_effects(plan: Any, name: str) -> None:
    """None does twice what it does once."""
    assert (plan.name, plan.effect) == (name, Effect.IDEMPOTENT)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": ""}, "name must"),
        ({"idle": 0.999}, "idle must"),
        ({"absolute": 0.999}, "absolute must"),
        ({"note_every": -0.001}, "note_every must"),
        ({"renew_every": 0.999}, "renew_every must"),
        ({"grace": -0.001}, "grace must"),
        ({"idle": 5, "note_every": 5}, "note_every must be less than idle, 5, not 5"),
        ({"max_per_user": 0}, "max_per_user must"),
        ({"when_full": "wait"}, "when_full must be refuse or evict, not 'wait'"),
        ({"namespace": 7}, "namespace must"),
    ],
)
def test_nonsense_is_refused(wrong: dict[str, Any], said: str) -> None:
    """When sessions are built, with the argument's name; the limits themselves are allowed."""
    with pytest.raises(ConfigurationError, match=said):
        Sessions(**wrong)
    least = Sessions(idle=1, absolute=1, note_every=0.999, renew_every=1, grace=0, max_per_user=1)
    assert least.absolute_seconds == 1.0
    assert Sessions(absolute=timedelta(days=2)).absolute_seconds == 172_800


VISITOR = Session("v" * 75, None, {}, 0, 0, 0, 1, {})


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: SESSIONS.create(""), "user must"),
        (lambda: SESSIONS.create("ann", id="x"), "id must be one that new_id gave"),
        (lambda: SESSIONS.create("ann", id=SESSIONS.new_id("bob")), "id must be one that new_id gave"),
        (lambda: SESSIONS.create(data={1: 2}), "fields whose names are text, not int"),  # type: ignore[dict-item]  # that is the case
        (lambda: SESSIONS.create(device={"a": 1}), "device must be texts"),  # type: ignore[dict-item]  # that is the case
        (lambda: SESSIONS.create(data={"\ud800": 1}), "the names of data's fields must be text that UTF-8 can write"),
        (lambda: SESSIONS.save(VISITOR, {"\ud800": 1}), "the names of data's fields must be text that UTF-8 can write"),
        (lambda: SESSIONS.create("\ud800"), "user must be text that UTF-8 can write"),
        (lambda: SESSIONS.create("ann", generation=""), "generation must"),
        (lambda: SESSIONS.create("ann", generation="\ud800"), "generation must be text that UTF-8 can write"),
        (lambda: SESSIONS.save(VISITOR, remove=["\ud800"]), "remove must be text that UTF-8 can write"),
        (lambda: SESSIONS.save(VISITOR, remove=[7]), "remove must"),  # type: ignore[list-item]  # that is the case
        (lambda: SESSIONS.rotate(VISITOR, id="v" * 74), "id must be one that begins"),
        (lambda: SESSIONS.rotate(VISITOR, id="w" * 75), "id must be one that begins"),
        (lambda: SESSIONS.revoke("ann", "short"), "handle must be 16 characters"),
        (lambda: SESSIONS.revoke("ann", 7), "handle must be 16 characters"),  # type: ignore[arg-type]  # that is the case
        (lambda: SESSIONS.revoke("", "v" * 16), "user must"),
        (lambda: SESSIONS.count(""), "user must"),
        (lambda: SESSIONS.generation(""), "user must"),
    ],
)
def test_bad_arguments_are_named(call: Callable[[], object], said: str) -> None:
    """With what is allowed."""
    with pytest.raises(ConfigurationError, match=said):
        call()


def test_an_id_of_ones_own() -> None:
    """It begins as the session's own does."""
    id = "v" * 32 + "w" * 43
    assert SESSIONS.rotate(VISITOR, id=id).parse([[1, 2000, 3000, 2, 1]]).id == id
    assert SESSIONS.renew(VISITOR, id=id).parse([[1, 2000, 3000, 2, 0]]).id == VISITOR.id


@pytest.mark.parametrize("reply", [None, 1, [1], [1, 2], b"x"])
def test_a_malformed_answer_is_a_decode_error(reply: Any) -> None:
    """What is no answer of the script."""
    with pytest.raises(DecodeError):
        SESSIONS.save(VISITOR).parse([reply])
