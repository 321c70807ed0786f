"""A request's session: what is saved, what the response's headers say, what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from redis_patterns import (
    ConfigurationError,
    Cookie,
    EncodeError,
    LoginRevoked,
    Request,
    Session,
    SessionGone,
    Sessions,
    TooManySessions,
    WebSession,
)
from redis_patterns.sync import Driver
from redis_patterns.testing.memory import Server
from redis_patterns_core.web_refusals import away, failed, may_pass
from redis_patterns_core.web_sessions import WebSessions, device_of

COOKIE = Cookie()


class Visit:
    """Requests of one browser, one after another.

    Parameters:
        sessions: their configuration.
    """

    def __init__(self, **options: Any) -> None:
        self.server = Server()
        self.redis: Driver = self.server.sync()
        self.sessions = Sessions(**options)
        self.jar: str | None = None

    def request(self, shown: str | None = None) -> WebSession:
        """Begin a request with the cookie that the browser has, or another."""
        session = WebSession(self.sessions, shown or self.jar, lambda: {"agent": "test"})
        session.load_from(self.redis.run(session.loading()))
        return session

    def commit(self, session: WebSession) -> None:
        step = session.commit()
        if step is not None:
            self.redis.run(step)

    def respond(self, session: WebSession, *headers: tuple[str, str]) -> dict[str, str]:
        """End it, and give the response's headers; the browser keeps the cookie."""
        self.commit(session)
        got = session.headers(COOKIE, headers)
        lines = [name.lower() for name, _ in got if name.lower() != "vary"]
        assert len(set(lines)) == len(lines), "one line of each"
        found = {name.lower(): value for name, value in got}
        if "set-cookie" in found:
            self.jar = COOKIE.read(found["set-cookie"].partition(";")[0]) or None
        return found

    def stored(self) -> Session | None:
        return self.redis.run(self.sessions.load(self.jar))


def test_nothing_is_created_for_who_only_looks() -> None:
    """No cookie, no key; caches are told that the response depends on cookies only where that is so."""
    visit = Visit()
    assert visit.respond(visit.request()) == {}
    session = visit.request()
    assert (session.get("a"), len(session), list(session), session.user, session.new) == (None, 0, [], None, True)
    assert visit.respond(session) == {"vary": "Cookie"}
    assert visit.server.keys() == []


def test_a_cookie_is_set_when_the_session_is_created_and_only_then() -> None:
    """With a life as long as the session's may be; a save sets none."""
    visit = Visit(idle=60, absolute=600)
    session = visit.request()
    session["a"] = 1
    headers = visit.respond(session, ("Cache-Control", "public, max-age=60"), ("vary", "Accept"))
    assert headers["set-cookie"].endswith("; Path=/; Max-Age=600; HttpOnly; Secure; SameSite=Lax")
    assert headers["cache-control"] == "no-store"
    visit.server.clock.advance(10)
    session = visit.request()
    session["b"] = session["a"] + 1
    assert "set-cookie" not in visit.respond(session)
    stored = visit.stored()
    assert stored is not None
    assert (stored.data, stored.device) == ({"a": 1, "b": 2}, {"agent": "test"})


def test_what_is_changed_inside_is_saved() -> None:
    """A list or a dict that was changed in place; what was only read is not written."""
    visit = Visit()
    session = visit.request()
    session.update(cart=[1], seen={"a": {"b": 1}}, still=[1])
    visit.respond(session)
    session, other = visit.request(), visit.request()
    session["cart"].append(2)
    session["seen"]["a"]["b"] = 2
    assert session["still"] == [1]
    other["still"] = [2]
    visit.respond(other)
    assert session.modified
    visit.respond(session)
    stored = visit.stored()
    assert stored is not None
    assert stored.data == {"cart": [1, 2], "seen": {"a": {"b": 2}}, "still": [2]}
    assert stored.version == 3
    session = visit.request()
    assert (session["cart"], session.modified) == ([1, 2], False)
    session.modified = True  # as is said to Flask's own session
    assert not session.modified
    visit.respond(session)
    session["cart"].append(3)  # after it was saved once, as in a websocket
    visit.commit(session)
    stored = visit.stored()
    assert stored is not None
    assert (stored.data["cart"], stored.version) == ([1, 2, 3], 4)


def test_what_is_held_on_to_is_saved() -> None:
    """A list that was taken before a save, as in a websocket, and changed after it."""
    visit = Visit()
    session = visit.request()
    session["cart"] = [1]
    visit.respond(session)
    session = visit.request()
    cart = session["cart"]
    visit.commit(session)
    cart.append(2)
    assert session.modified
    visit.commit(session)
    stored = visit.stored()
    assert stored is not None
    assert stored.data == {"cart": [1, 2]}


def test_what_is_set_before_a_logout_is_gone() -> None:
    """Whatever it was; and nothing is created for it."""
    visit = Visit()
    session = visit.request()
    session.update(a=1, b=[1])
    session.clear()
    assert visit.respond(session) == {"vary": "Cookie"}
    assert (dict(session), visit.server.keys()) == ({}, [])


def test_what_is_removed_with_a_login_is_gone() -> None:
    """In the session of the user, as in that of the visitor who was."""
    visit = Visit()
    session = visit.request()
    session.update(cart=[1], coupon="x")
    visit.respond(session)
    session = visit.request()
    del session["coupon"]
    session.login("ann")
    visit.respond(session)
    stored = visit.stored()
    assert stored is not None
    assert (stored.user, stored.data, stored.device) == ("ann", {"cart": [1]}, {"agent": "test"})


def test_a_login_that_was_revoked_meanwhile() -> None:
    """All sessions of the user were ended after the credentials were checked: there is no new one."""
    visit = Visit()
    generation = visit.redis.run(visit.sessions.generation("ann"))
    visit.redis.run(visit.sessions.destroy_all("ann"))
    session = visit.request()
    session.login("ann", generation=generation)
    with pytest.raises(LoginRevoked):
        visit.commit(session)
    assert visit.redis.run(visit.sessions.devices("ann")) == []


def test_fields_are_removed() -> None:
    """Removed ones are gone; one that was set again is there."""
    visit = Visit()
    session = visit.request()
    session.update(a=1, b=2, c=3)
    visit.respond(session)
    session = visit.request()
    session["new"] = 1
    del session["new"]
    assert not session.modified
    del session["a"], session["b"]
    session["b"] = 4
    session["d"] = 5
    del session["d"]
    assert dict(session) == {"b": 4, "c": 3}
    visit.respond(session)
    stored = visit.stored()
    assert stored is not None
    assert stored.data == {"b": 4, "c": 3}


@pytest.mark.parametrize("shown", ["x", "a" * 75, "a" * 200, "ü"])
def test_an_id_that_a_client_has_chosen_is_never_taken(shown: str) -> None:
    """What is created gets an id of its own; a cookie that opens nothing is removed."""
    visit = Visit()
    assert visit.respond(visit.request(shown))["set-cookie"] == COOKIE.delete()
    session = visit.request(shown)
    session["a"] = 1
    visit.respond(session)
    assert visit.jar
    assert visit.jar != shown
    assert not [key for key in set(visit.server.keys()) if shown[-43:] in key and len(shown) > 1]


def test_login_and_logout() -> None:
    """Each login has another id, before which nothing opens it; after the logout there is nothing."""
    visit = Visit()
    session = visit.request()
    session["cart"] = [1]
    visit.respond(session)
    before = visit.jar
    session = visit.request()
    session.login("ann")
    assert session.user == "ann"
    session["role"] = "user"
    assert "set-cookie" in visit.respond(session)
    assert visit.jar != before
    found = visit.request()
    assert (found.user, dict(found)) == ("ann", {"cart": [1], "role": "user"})
    assert "set-cookie" not in visit.respond(visit.request(before)), "the new one may be on its way"
    session = visit.request()
    session.rotate()
    session["role"] = "admin"
    first = visit.jar
    visit.respond(session)
    assert visit.jar != first
    session = visit.request()
    session.destroy()
    assert (session.user, session.new, dict(session)) == (None, True, {})
    assert visit.respond(session)["set-cookie"] == COOKIE.delete()
    assert visit.jar is None


def test_what_is_set_after_a_logout_is_of_a_new_session() -> None:
    """Cleared and set again: another session, nobody's, with another id; as is a login after a logout."""
    visit = Visit()
    session = visit.request()
    session.login("ann")
    session["a"] = 1
    visit.respond(session)
    before = visit.stored()
    assert before is not None
    session = visit.request()
    session.clear()
    session["flash"] = "bye"
    visit.respond(session)
    after = visit.stored()
    assert after is not None
    assert (after.data, after.user, after.handle == before.handle) == ({"flash": "bye"}, None, False)
    assert visit.redis.run(visit.sessions.load(before.id)) is None
    session = visit.request()
    session.clear()
    session.login("bob")
    visit.respond(session)
    last = visit.stored()
    assert last is not None
    assert (last.user, last.data) == ("bob", {})


def test_a_session_that_ends_while_a_request_is_under_way() -> None:
    """Its save fails, and the cookie goes; who has changed nothing gets the response."""
    visit = Visit()
    session = visit.request()
    session.login("ann")
    visit.respond(session)
    one, two = visit.request(), visit.request()
    one["a"] = 1
    visit.redis.run(visit.sessions.destroy_all("ann"))
    with pytest.raises(SessionGone):
        visit.commit(one)
    assert dict(one.headers(COOKIE, []))["set-cookie"] == COOKIE.delete()
    assert "set-cookie" not in visit.respond(two)
    assert visit.request().new


def test_a_save_while_another_request_logs_in() -> None:
    """It fails, but leaves the cookie, as the login's response brings the new one."""
    visit = Visit()
    session = visit.request()
    session["a"] = 1
    visit.respond(session)
    one, two = visit.request(), visit.request()
    two.login("ann")
    visit.respond(two)
    one["b"] = 2
    with pytest.raises(SessionGone):
        visit.commit(one)
    assert one.headers(COOKIE, []) == [("vary", "Cookie")]


def test_renewal_comes_with_a_cookie() -> None:
    """When it is due, whether anything was changed or not; of two requests at a time one gets it."""
    visit = Visit(renew_every=100)
    session = visit.request()
    session["a"] = 1
    visit.respond(session)
    visit.server.clock.advance(100)
    before = visit.jar
    one, two = visit.request(), visit.request()
    assert "set-cookie" in visit.respond(one)
    assert "set-cookie" not in visit.respond(two)
    assert visit.jar != before
    assert visit.request()["a"] == 1


def test_without_redis_nothing_is_overwritten() -> None:
    """Who could not be looked up stays who they are: no cookie is set or removed, and nothing is created."""
    visit = Visit()
    session = WebSession(visit.sessions, "a" * 75, dict)
    session.load_from(None, available=False)
    assert not session.available
    session["a"] = 1
    assert visit.respond(session) == {"vary": "Cookie"}
    assert visit.server.keys() == []


def test_what_comes_too_late_is_refused() -> None:
    """After the response has begun every change is, and after a websocket was accepted another id."""
    visit = Visit()
    session = visit.request()
    session["a"] = 1
    visit.respond(session)
    session.close()
    for change in (
        lambda: session.update(a=2),
        session.clear,
        session.rotate,
        lambda: session.login("ann"),
        lambda: session.pop("a"),
    ):
        with pytest.raises(RuntimeError, match="response has begun"):
            change()
    assert session["a"] == 1
    session = visit.request()
    session.close(accepted=True)
    session["a"] = 2
    with pytest.raises(RuntimeError, match="no cookie can be set"):
        session.rotate()
    with pytest.raises(RuntimeError, match="no cookie can be set"):
        session.login("ann")
    visit.commit(session)
    stored = visit.stored()
    assert stored is not None
    assert stored.data == {"a": 2}
    session = WebSession(visit.sessions, None, dict)
    session.load_from(None)
    session.close(accepted=True)
    with pytest.raises(RuntimeError, match="no cookie can be set"):
        session["a"] = 1


def test_before_it_is_loaded() -> None:
    """It says what to do, and its repr shows nothing of what it holds."""
    visit = Visit()
    session = WebSession(visit.sessions, None, dict)
    with pytest.raises(RuntimeError, match="must be loaded"):
        session.get("a")
    assert repr(session) == "<WebSession, not loaded>"
    assert not session.modified
    visit.commit(session)
    session = visit.request()
    session["a"] = "secret"
    assert repr(session) == "<WebSession new, 1 fields>"
    visit.respond(session)
    assert session.session is not None
    assert repr(session) == f"<WebSession {session.session.handle}, 1 fields>"
    assert "secret" not in repr(session)
    assert str(visit.jar)[32:] not in repr(session)


def test_other_caching_headers_stay() -> None:
    """One that varies by everything already, or by cookies, and one that is not stored."""
    visit = Visit()
    for vary in ("*", "Accept, Cookie"):
        session = visit.request()
        session.get("a")
        assert visit.respond(session, ("Vary", vary)) == {"vary": vary}
    session = visit.request()
    session["a"] = 1
    assert visit.respond(session, ("Cache-Control", "no-store, private"))["cache-control"] == "no-store, private"


def test_what_is_kept_of_a_device() -> None:
    """The browser's name, not without end, and the address of the socket."""
    headers = [("user-agent", "x" * 500), ("x-forwarded-for", "198.51.100.1")]
    assert device_of(Request("GET", "/", headers, "203.0.113.9")) == {"agent": "x" * 200, "address": "203.0.113.9"}


def test_what_is_refused_in_its_place() -> None:
    """What a client gets where its session cannot be read or saved, or is needed and not there: never to be stored."""
    lost = [("www-authenticate", "Session")]
    for refusal, status, title, detail, more in (
        (away(), 503, "Sessions are away", "Try again in a moment.", [("retry-after", "1")]),
        (failed(), 401, "Not logged in", "This needs a session.", lost),
        (failed(SessionGone()), 401, "Not logged in", "The session has ended.", lost),
        (failed(LoginRevoked("x")), 401, "Not logged in", "The session has ended.", lost),
        (failed(TooManySessions("x")), 403, "Too many sessions", "Log out on another device first.", []),
        (failed(EncodeError("x")), 500, "Internal server error", "The session could not be saved.", []),
    ):
        assert refusal.status == status
        assert json.loads(refusal.body) == {"title": title, "status": status, "detail": detail}
        assert refusal.headers == [
            ("content-type", "application/problem+json"),
            ("content-length", str(len(refusal.body))),
            ("cache-control", "no-store"),
            *more,
        ]


def test_who_may_pass() -> None:
    """Who has a session, and where that is needed, one of a user."""
    visit = Visit()
    session = visit.request()
    assert (session.session, session.available) == (None, True)
    assert [may_pass(session, user=user) for user in (False, True)] == [False, False]
    session["a"] = 1
    visit.respond(session)
    session = visit.request()
    assert session.session == visit.stored()
    assert [may_pass(session, user=user) for user in (False, True)] == [True, False]
    session.login("ann")
    visit.respond(session)
    assert [may_pass(visit.request(), user=user) for user in (False, True)] == [True, True]


def test_cookies_in_several_headers() -> None:
    """As HTTP/2 may send them; and what a middleware is to do without Redis is one of two things."""
    request = Request("GET", "/", [("cookie", "a=1"), ("accept", "b=7"), ("cookie", "b=2")], None)
    web = WebSessions(None, Cookie("b", secure=False), device_of, "fail")
    assert web.shown(request) == "2"
    with pytest.raises(ConfigurationError, match="when_down must be fail or anonymous, not 'wait'"):
        WebSessions(None, None, device_of, "wait")  # type: ignore[arg-type]  # that is the case


def test_clear_ends_a_session() -> None:
    """As it does in other libraries' sessions; marking one as accessed reads nothing."""
    visit = Visit()
    session = visit.request()
    session["a"] = 1
    visit.respond(session)
    session = visit.request()
    session.clear()
    visit.respond(session)
    assert visit.stored() is None
    session = WebSession(visit.sessions, None, dict)
    session.mark_accessed()
    assert (session.accessed, session.loaded, session.modified) == (True, False, False)
    assert repr(session) == "<WebSession, not loaded>"


@pytest.mark.parametrize(("rotates", "cookie"), [(False, True), (True, False)])
def test_a_renewal_of_what_has_ended(rotates: bool, cookie: bool) -> None:
    """Nothing that somebody has changed is lost, so nothing is raised; the cookie goes, unless another one comes."""
    visit = Visit(renew_every=100)
    session = visit.request()
    session["a"] = 1
    visit.respond(session)
    visit.server.clock.advance(100)
    session = visit.request()
    assert session.session is not None
    visit.redis.run(visit.sessions.rotate(session.session) if rotates else visit.sessions.destroy(session.session))
    headers = visit.respond(session)
    assert session.new
    assert ("set-cookie" in headers) == cookie


def test_a_logout_of_nobody() -> None:
    """It changes nothing, and sets no cookie."""
    visit = Visit()
    session = visit.request()
    session.destroy()
    assert visit.respond(session).keys() == {"vary"}
