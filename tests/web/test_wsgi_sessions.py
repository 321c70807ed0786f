"""The WSGI session middleware, under the standard library's own check of the protocol."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from redis_patterns import ConfigurationError, Cookie, Sessions, Unreachable
from redis_patterns.sync import Driver
from redis_patterns.testing.memory import Server
from redis_patterns.wsgi import SESSION, SessionMiddleware, WsgiSession, require_session

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

COOKIE = Cookie()


class Down:
    """A driver whose Redis is not there."""

    def run(self, step: Any, *, timeout: Any = None) -> Any:
        del step, timeout
        raise Unreachable("session.load", "nobody is there")


@pytest.fixture
def redis() -> Iterator[Driver]:
    with Server().sync() as driver:
        yield driver


def doing(action: Callable[[WsgiSession], object], *, late: bool = False) -> WSGIApplication:
    """Make an application that does something with the session, and answers; by a generator where it is late."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        action(environ[SESSION])
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [b"hello"]

    def generator(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        action(environ[SESSION])
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"hel"
        yield b"lo"

    return generator if late else app


def ask(app: WSGIApplication, cookie: str = "", **changed: Any) -> tuple[str, dict[str, str], bytes]:
    environ: dict[str, Any] = {"REMOTE_ADDR": "203.0.113.9", "QUERY_STRING": ""}
    setup_testing_defaults(environ)
    environ.update(changed)
    if cookie:
        environ["HTTP_COOKIE"] = cookie
    seen: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any:
        del exc_info
        seen[:] = [status, headers]
        return lambda _: None

    answer: Any = validator(app)(environ, start_response)
    body = b"".join(answer)
    answer.close()
    return seen[0], {name.lower(): value for name, value in seen[1]}, body


def login(redis: Driver) -> str:
    _, headers, _ = ask(SessionMiddleware(doing(lambda session: session.login("ann")), redis))
    return headers["set-cookie"].partition(";")[0]


@pytest.mark.parametrize("late", [False, True], ids=["at once", "by a generator"])
def test_a_visit(redis: Driver, late: bool) -> None:
    """What is set comes back, whether the response begins in the call or with its first chunk."""

    def app(action: Callable[[WsgiSession], object]) -> SessionMiddleware:
        return SessionMiddleware(doing(action, late=late), redis)

    status, headers, body = ask(app(lambda session: session.update(a=[1])))
    assert (status, body) == ("200 OK", b"hello")
    cookie = headers["set-cookie"].partition(";")[0]
    status, headers, _ = ask(app(lambda session: session["a"].append(2)), cookie)
    assert (status, headers) == ("200 OK", {"content-type": "text/plain", "vary": "Cookie"})
    seen: list[Any] = []
    ask(app(lambda session: seen.append((dict(session), session.new, session.permanent))), cookie)
    assert seen == [({"a": [1, 2]}, False, True)]
    _, headers, _ = ask(app(WsgiSession.destroy), cookie)
    assert headers["set-cookie"] == COOKIE.delete()


def test_who_does_not_look_costs_nothing(redis: Driver) -> None:
    """Without a look at the session Redis is not asked, whatever the cookie."""
    cookie = login(redis)
    assert ask(SessionMiddleware(doing(id), Down()), cookie)[:2] == ("200 OK", {"content-type": "text/plain"})


def test_redis_away(redis: Driver) -> None:
    """A 503, also where the application has made another answer of it; or nobody, and the cookie stays."""
    cookie = login(redis)
    looks = doing(lambda session: session.user)
    status, headers, body = ask(SessionMiddleware(looks, Down()), cookie)
    assert (status, "set-cookie" in headers) == ("503 Service Unavailable", False)
    assert b"Sessions are away" in body
    assert ask(SessionMiddleware(looks, Down()), cookie, REQUEST_METHOD="HEAD")[2] == b""
    late = SessionMiddleware(doing(lambda session: session.user, late=True), Down())
    status, headers, body = ask(late, cookie)
    assert (status, b"Sessions are away" in body, "set-cookie" in headers) == ("503 Service Unavailable", True, False)

    def hides(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            environ[SESSION].get("a")
        except Unreachable:
            start_response("200 OK", [("Content-Type", "text/plain")])(b"all is well")
        return [b"all is well"]

    status, _, body = ask(SessionMiddleware(hides, Down()), cookie)
    assert (status, b"all is well" in body) == ("503 Service Unavailable", False)
    seen, down = list[Any](), Down()
    anonymous = doing(lambda session: seen.append((session.available, session.user)))
    status, headers, _ = ask(SessionMiddleware(anonymous, lambda: down, when_down="anonymous"), cookie)
    assert (seen, status, "set-cookie" in headers) == ([(False, None)], "200 OK", False)
    with pytest.raises(ConfigurationError, match="when_down"):
        SessionMiddleware(looks, redis, when_down="maybe")  # type: ignore[arg-type]


@pytest.mark.parametrize("late", [False, True], ids=["at once", "by a generator"])
def test_what_cannot_be_saved(redis: Driver, late: bool) -> None:
    """The response is a 500, the application's own does not go out, and the log has the reason, without the value."""
    errors = io.StringIO()
    environ: dict[str, Any] = {"wsgi.errors": errors}
    app = SessionMiddleware(doing(lambda session: session.update(a=object()), late=late), redis)
    status, headers, body = ask(app, **environ)
    assert (status, b"hello" in body, "set-cookie" in headers) == ("500 Internal Server Error", False, False)
    assert "JSON cannot write" in errors.getvalue()


def test_a_session_that_ends_meanwhile(redis: Driver) -> None:
    """A save under way is a 401, and the cookie goes."""
    cookie = login(redis)

    def slow(session: WsgiSession) -> None:
        session["a"] = 1
        redis.run(Sessions().destroy_all("ann"))

    status, headers, _ = ask(SessionMiddleware(doing(slow), redis), cookie)
    assert (status, headers["set-cookie"]) == ("401 Unauthorized", COOKIE.delete())


def test_what_comes_after_the_response_began(redis: Driver) -> None:
    """A change is refused; another beginning, with an error, passes."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        try:
            environ[SESSION]["a"] = 1
        except RuntimeError:
            start_response("418 Too Late", [("Content-Type", "text/plain")], sys.exc_info())
        return [b"late"]

    assert ask(SessionMiddleware(app, redis))[0] == "418 Too Late"


def test_saving_at_once_and_looking_again(redis: Driver) -> None:
    """Failures can be handled; a session is seen to be gone."""
    cookie = login(redis)
    seen: list[Any] = []

    def act(session: WsgiSession) -> None:
        session["a"] = 1
        session.save()
        seen.append(session.revalidate())
        redis.run(Sessions().destroy_all("ann"))
        seen.append(session.revalidate())
        seen.append(session.revalidate())

    ask(SessionMiddleware(doing(act), redis), cookie)
    assert seen == [True, False, False]


def test_the_guard(redis: Driver) -> None:
    """401 where there is no user's session; other paths pass."""
    cookie = login(redis)
    guarded = SessionMiddleware(require_session(doing(id), paths="/private"), redis)
    assert ask(guarded)[0] == "200 OK"
    status, headers, body = ask(guarded, PATH_INFO="/private")
    assert (status, headers["www-authenticate"]) == ("401 Unauthorized", "Session")
    assert b"Not logged in" in body
    assert ask(guarded, cookie, PATH_INFO="/private")[0] == "200 OK"
