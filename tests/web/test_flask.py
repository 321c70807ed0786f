"""Flask's session outside of requests: in a context, and in a transaction of its test client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import flask
import pytest
from werkzeug.middleware.proxy_fix import ProxyFix

from redis_patterns import ConfigurationError, FixedWindow, Rule, SessionGone, Sessions
from redis_patterns.flask import FlaskSessions, session
from redis_patterns.sync import Driver
from redis_patterns.testing.memory import Server
from redis_patterns.wsgi import RateLimitMiddleware, SessionMiddleware, require_session

SESSIONS = Sessions()


@pytest.fixture
def redis() -> Iterator[Driver]:
    with Server().sync() as driver:
        yield driver


@pytest.fixture
def app(redis: Driver) -> flask.Flask:
    made = flask.Flask("app")
    made.session_interface = FlaskSessions()
    made.wsgi_app = SessionMiddleware(  # type: ignore[method-assign]
        require_session(made.wsgi_app, paths="/private"), redis, SESSIONS
    )

    def tell() -> Any:
        return {"user": session.user, "data": dict(session)}

    def log_out() -> Any:
        session.destroy()
        return {}

    for path, function in (("/", tell), ("/private", tell), ("/logout", log_out)):
        made.add_url_rule(path, path, function)
    return made


def test_the_session_is_flasks(app: flask.Flask) -> None:
    """What is exported for type checkers is ``flask.session`` itself."""
    del app
    assert session is flask.session


def test_a_context(app: flask.Flask, redis: Driver) -> None:
    """Outside of a request the session is a new one, or that of the cookie; Redis is asked only for the latter."""
    with app.test_request_context("/"):
        assert flask.url_for("/private") == "/private"
        assert (session.user, dict(session), session.new) == (None, {}, True)
        assert flask.session.get("cart") is None
    made = redis.run(SESSIONS.create("ann", {"cart": [1]}))
    with app.test_request_context("/", headers={"Cookie": f"__Host-session={made.id}"}):
        assert (session.user, dict(session), session.new) == ("ann", {"cart": [1]}, False)


def test_a_context_that_ends_in_a_response(app: flask.Flask, redis: Driver) -> None:
    """What is changed in it is saved when the response is processed, and refused after that."""
    with app.test_request_context("/"):
        session["cart"] = [1]
        response = app.process_response(app.response_class("hello", headers=[("X-Own", "a"), ("X-Own", "b")]))
        assert response.headers.getlist("X-Own") == ["a", "b"]
        assert response.headers["Cache-Control"] == "no-store"
        id = response.headers["Set-Cookie"].partition("=")[2].partition(";")[0]
        found = redis.run(SESSIONS.load(id))
        assert found is not None
        assert found.data == {"cart": [1]}
        with pytest.raises(RuntimeError, match="after the response has begun"):
            session["cart"] = [2]


def test_a_transaction(app: flask.Flask) -> None:
    """What a test puts into the client's session is there in its next request, and what a request did is there too."""
    client = app.test_client()
    with client.session_transaction() as held:
        held["cart"] = [1]
    assert client.get("/").json == {"user": None, "data": {"cart": [1]}}
    with client.session_transaction() as held:
        held["cart"].append(2)
    assert client.get("/").json == {"user": None, "data": {"cart": [1, 2]}}
    assert client.get("/private").status_code == 401
    with client.session_transaction() as held:
        held.login("ann")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    assert client.get("/private").json == {"user": "ann", "data": {"cart": [1, 2]}}
    client.get("/logout")
    with client.session_transaction() as held:
        assert dict(held) == {}
    assert client.get("/private").status_code == 401


def test_a_transaction_that_removes(app: flask.Flask) -> None:
    """A session that a test ends is ended, with its cookie."""
    client = app.test_client()
    with client.session_transaction() as held:
        held["cart"] = [1]
    with client.session_transaction() as held:
        held.clear()
    assert client.get_cookie("__Host-session") is None
    assert client.get("/").json == {"user": None, "data": {}}


def test_a_transaction_that_cannot_be_saved(app: flask.Flask, redis: Driver) -> None:
    """The test is told why."""
    client = app.test_client()
    with client.session_transaction() as held:
        held["cart"] = [1]
    cookie = client.get_cookie("__Host-session")
    assert cookie is not None
    made = redis.run(SESSIONS.load(cookie.value))
    assert made is not None
    with pytest.raises(SessionGone), client.session_transaction() as held:
        assert held["cart"] == [1]
        redis.run(SESSIONS.destroy(made))
        held["cart"] = [2]


def test_a_transaction_inside_a_request(app: flask.Flask) -> None:
    """A client that keeps its request's context sees the request's session, and a transaction has one of its own."""
    with app.test_client() as client:
        client.get("/")
        with client.session_transaction() as held:
            held["cart"] = [1]
        assert "cart" not in session
        client.get("/")
        assert session["cart"] == [1]


def test_where_the_middleware_is(app: flask.Flask, redis: Driver) -> None:
    """It is found behind what stands around it; where that does not show it, it is given."""
    middleware: Any = app.wsgi_app
    app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
        RateLimitMiddleware(middleware, redis, [Rule(FixedWindow("all", limit=100, per=60))])
    )
    with app.test_request_context("/"):
        assert session.user is None

    def around(environ: Any, start_response: Any) -> Any:
        return middleware(environ, start_response)

    app.wsgi_app = around  # type: ignore[method-assign]
    assert app.test_client().get("/").json == {"user": None, "data": {}}
    with pytest.raises(RuntimeError, match=r"app\.wsgi_app must be wrapped in .*, or FlaskSessions be given"):
        app.session_interface.open_session(app, app.test_request_context("/").request)
    with pytest.raises(ConfigurationError, match="middleware must be a SessionMiddleware, not Flask"):
        FlaskSessions(app)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    app.session_interface = FlaskSessions(middleware)
    with app.test_request_context("/"):
        assert session.user is None
