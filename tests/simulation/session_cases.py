"""What is simulated of sessions: requests that use one, and those that end it, and what must hold."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from redis_patterns import Call, Command, PatternsError, Plan, Session, Sessions, Sleep, Steps, flow
from redis_patterns.testing.simulation import Setup, World
from redis_patterns_core import replies
from redis_patterns_core.session_records import place_of

IDLE, ABSOLUTE = 2.0, 5.0
SESSIONS = Sessions("sim", idle=IDLE, absolute=ABSOLUTE, note_every=0.1, renew_every=1, grace=0.5)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

OPERATIONS = ("load", "save", "cas", "rotate", "renew", "login", "destroy", "destroy_all", "revoke")


class Users:
    """What the clients of a simulation know together: the ids that were given out, and those that must be dead.

    Parameters:
        world: whose server it is.
        sessions: a `Sessions`, or something broken in its place.
    """

    def __init__(self, world: World, sessions: Any) -> None:
        self.world = world
        self.sessions = sessions
        self.ids: list[str] = []
        self.ended: set[str] = set()
        """Handles of sessions that are known to have ended."""
        self.replaced: set[str] = set()
        """Ids that are known to open nothing any more."""
        self.born: dict[str, str] = {}
        """The id that a session was created with, by its handle."""
        self.index = SESSIONS._key(place_of("u"), "index")
        self.saved: dict[tuple[str, str], int] = {}
        """The last value that was acknowledged, by handle and field; each field has one writer."""
        self.wrong: list[str] = []

    def fresh(self, opened: str) -> str:
        """Give an id that begins so, by the simulation's own chance."""
        return opened + "".join(self.world.random.choices(ALPHABET, k=75 - len(opened)))

    def note(self, session: Session) -> None:
        self.ids.append(session.id)
        self.born.setdefault(session.handle, session.id)

    def ask(self, *words: Any) -> Any:
        return self.world.server.run(Plan("looked", (Command(words),), lambda answers: answers[0]))

    def read(self, id: str) -> dict[Any, Any]:
        """Give the fields of a session, without an access; none where it is not there."""
        fields = dict(replies.pairs(self.ask("HGETALL", SESSIONS._key(id[:16], id[16:32]))))
        return fields if b"c" in fields else {}

    def alive(self, id: str) -> bool:
        """Tell whether a session is alive, without an access."""
        fields = self.read(id)
        if not fields:
            return False
        return not fields[b"u"] or self.ask("ZSCORE", SESSIONS._key(id[:16], "index"), id[16:32]) is not None


def session_setup(
    sessions: Any = SESSIONS,
    *,
    programs: Sequence[Sequence[str]] | None = None,
    clients: int = 3,
    rounds: int = 6,
    slow: bool = True,
) -> Setup:
    """Clients that share the sessions of one user, and do what requests do.

    Parameters:
        sessions: a `Sessions`, or something broken in its place.
        programs: what each client does, in order; by chance where none is given.
        clients, rounds: how many there are then, and how many things each does.
        slow: whether they pause.
    """

    def setup(world: World) -> None:
        users = Users(world, sessions)
        first = world.server.run(sessions.create("u", {}, id=users.fresh(place_of("u"))))
        assert first is not None
        users.note(first)

        @flow
        def client(number: int) -> Steps[None]:
            for turn in range(rounds if programs is None else len(programs[number])):
                if slow:
                    yield from Sleep(world.random.choice((0, 0, 0.05, 0.6, 1.5)))
                what = world.random.choice(OPERATIONS) if programs is None else programs[number][turn]
                with contextlib.suppress(PatternsError):
                    yield from request(users, what, f"f{number}", turn)

        for number in range(clients if programs is None else len(programs)):
            world.client(f"c{number}", client(number))

        gone: set[str] = set()

        def sessions_hold() -> None:
            there = {handle: fields for handle, id in users.born.items() if (fields := users.read(id))}
            assert not gone & there.keys(), "the key of a session that was gone is there again"
            gone.update(users.born.keys() - there.keys())
            index = {replies.text(member) for member in users.ask("ZRANGE", users.index, 0, -1)}
            for handle, fields in there.items():
                if fields[b"u"] and handle not in index:
                    continue  # ended, and about to be unlinked
                assert handle not in users.ended, "a session that has ended is there again"
                age = world.server.time() - int(fields[b"c"]) / 1000
                assert age <= ABSOLUTE + 0.001, f"a session of {age} s"
                for (of, name), value in users.saved.items():
                    if of == handle:
                        found = fields.get(f".{name}".encode())
                        assert found is not None, "a field that was saved is lost"
                        assert int(found) >= value, "a field that was saved is older again"

        def every_key_expires() -> bool:
            return len(world.server.expiries()) == len(world.server.keys())

        def nothing_went_wrong() -> None:
            assert not users.wrong, users.wrong[0]

        def nobody_fails() -> None:
            failed = [client.error for client in world.clients.values() if client.state == "failed"]
            assert not failed, failed

        world.invariant("a session that is not as it should be", sessions_hold)
        world.invariant("a key that never expires", every_key_expires)
        world.invariant("an answer that is wrong", nothing_went_wrong)
        world.invariant("an error that is none of the library's", nobody_fails)

    return setup


@flow
def request(users: Users, what: str, name: str, value: int) -> Steps[None]:
    """Do what one request does: read the session of an id that its client has, and something with it."""
    sessions, chance = users.sessions, users.world.random
    id = chance.choice(users.ids[-4:])
    dead_before, useless_before = id[16:32] in users.ended, id in users.replaced
    session = yield from sessions.load(id)
    if session is None:
        return
    if dead_before:
        users.wrong.append("an ended session was read")
    if useless_before:
        users.wrong.append("a replaced id opened a session")
    yield from _act(users, what, session, name, value)


def _act(users: Users, what: str, session: Session, name: str, value: int) -> Steps[None]:
    sessions, done = users.sessions, _Done(users)
    if what in {"save", "cas"}:
        yield from sessions.save(session, {name: value}, if_unchanged=what == "cas")
        yield from Call(done.saved, session, name, value)
    elif what == "rotate":
        rotated = yield from sessions.rotate(session, id=users.fresh(session.id[:32]))
        yield from Call(done.rotated, session, rotated)
    elif what == "renew":
        renewed = yield from sessions.renew(session, id=users.fresh(session.id[:32]))
        yield from Call(users.note, renewed)
    elif what == "login":
        place = place_of("u")
        generation = yield from sessions.generation("u")
        made = yield from sessions.login(None, "u", generation=generation, id=users.fresh(place))
        yield from Call(users.note, made)
    elif what == "destroy":
        yield from sessions.destroy(session)
        yield from Call(done.ended, [session.handle])
    elif what == "destroy_all":
        known = {id[16:32] for id in users.ids}
        yield from sessions.destroy_all("u")
        yield from Call(done.ended, sorted(known))
    elif what == "revoke":
        yield from sessions.revoke("u", session.handle)
        yield from Call(done.ended, [session.handle])


class _Done:
    def __init__(self, users: Users) -> None:
        self._users = users

    def saved(self, session: Session, name: str, value: int) -> None:
        self._users.saved[session.handle, name] = value

    def rotated(self, before: Session, after: Session) -> None:
        self._users.replaced.add(before.id)
        self._users.note(after)

    def ended(self, handles: Sequence[str]) -> None:
        self._users.ended.update(handles)


def login_setup(sessions: Any = SESSIONS, visitors: int = 3) -> Setup:
    """Visitors who log in while all sessions of their user are ended, as after a stolen password.

    Parameters:
        sessions: a `Sessions`, or something broken in its place.
        visitors: how many; the fields of each are changed by another request while it logs in.
    """

    def setup(world: World) -> None:
        users = Users(world, sessions)
        checked: set[int] = set()
        made: dict[int, Session] = {}
        revoked: set[int] = set()

        def visit(number: int) -> None:
            visitor = world.server.run(sessions.create(None, {"cart": 1}, id=users.fresh(f"visitor-{number:08d}")))
            saved: list[float] = []

            @flow
            def logs_in() -> Steps[None]:
                yield from Sleep(world.random.choice((0, 0, 0.1)))
                generation = yield from sessions.generation("u")
                yield from Call(checked.add, number)
                yield from Sleep(world.random.choice((0, 0, 0.1)))
                with contextlib.suppress(PatternsError):
                    session = yield from sessions.login(
                        visitor, "u", {"role": "user"}, generation=generation, id=users.fresh(place_of("u"))
                    )
                    yield from Call(logged_in, session)

            def logged_in(session: Session) -> None:
                made[number] = session
                users.replaced.add(visitor.id)
                if session.data.get("cart") not in {1, 2}:
                    users.wrong.append("a visitor's field was lost")
                if saved and session.data.get("cart") != 2 and world.server.time() < saved[0] + IDLE - 0.2:
                    users.wrong.append("what was saved before the login was lost")

            @flow
            def shops() -> Steps[None]:
                with contextlib.suppress(PatternsError):
                    yield from sessions.save(visitor, {"cart": 2})
                    yield from Call(shopped)

            def shopped() -> None:
                saved.append(world.server.time())

            world.client(f"login{number}", logs_in())
            world.client(f"shop{number}", shops())

        @flow
        def ends_all() -> Steps[None]:
            for _ in range(visitors):
                yield from Sleep(world.random.choice((0, 0.05, 0.1)))
                before = set(checked)
                with contextlib.suppress(PatternsError):
                    yield from sessions.destroy_all("u")
                    yield from Call(revoked.update, before)

        for number in range(visitors):
            visit(number)
        world.client("end", ends_all())

        def no_login_survives() -> None:
            for number in revoked & made.keys():
                assert not users.alive(made[number].id), "a login from before the end"

        def the_visitors_id_is_useless() -> None:
            for id in users.replaced:
                assert not users.alive(id), "the visitor's id opens something after the login"

        def nothing_went_wrong() -> None:
            assert not users.wrong, users.wrong[0]

        world.invariant("a login that survives", no_login_survives)
        world.invariant("an id from before the login", the_visitors_id_is_useless)
        world.invariant("an answer that is wrong", nothing_went_wrong)

    return setup


SESSION_CASES: dict[str, Setup] = {"sessions": session_setup(), "logins": login_setup()}
