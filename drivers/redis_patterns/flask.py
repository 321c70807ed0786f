"""Flask's ``session`` in Redis.

The middleware stands around the application, and Flask's ``session`` is its session:

    from redis_patterns.flask import FlaskSessions, session
    from redis_patterns.wsgi import SessionMiddleware

    app.session_interface = FlaskSessions()
    app.wsgi_app = SessionMiddleware(app.wsgi_app, redis)

Beside what a mapping has there are ``session.user``, ``session.login(user)``, ``session.rotate()`` and
``session.destroy()``; see `redis_patterns.WebSession`. It is saved when the response begins. ``session`` is the same
object as ``flask.session``, and type checkers know what it has.

Where no request comes through the middleware, in ``app.test_request_context()`` and in a test client's
``session_transaction()``, the session is one of the same middleware: of the cookie that the context or the client has.
"""

from __future__ import annotations

from typing import Any, cast

import flask
from flask import Flask, Request, Response
from flask.sessions import SessionInterface, SessionMixin

from redis_patterns.wsgi import SESSION, SessionMiddleware, WsgiSession
from redis_patterns_core.errors import ConfigurationError

__all__ = ["FlaskSessions", "session"]

session: WsgiSession = cast("WsgiSession", flask.session)
"""Flask's own ``session``, with the type that it has here."""

_OPENED_BY = "redis_patterns.flask"
"""Where a request has the middleware that it did not come through, but whose session it has: in the WSGI environ."""


class FlaskSessions(SessionInterface):
    """Gives Flask the session that `redis_patterns.wsgi.SessionMiddleware` keeps.

    Parameters:
        middleware: the one around the application; needed only where ``app.wsgi_app`` is neither it, nor something that
            stands around it and has it as its ``app``, and only for sessions outside of requests.

    Raises:
        ConfigurationError: something else than a middleware.
    """

    def __init__(self, middleware: SessionMiddleware | None = None) -> None:
        if not isinstance(middleware, (SessionMiddleware, type(None))):
            raise ConfigurationError(f"middleware must be a SessionMiddleware, not {type(middleware).__name__}")
        self._middleware = middleware

    def open_session(self, app: Flask, request: Request) -> SessionMixin:
        """Give the request's session, which has all that Flask asks of one.

        Raises:
            RuntimeError: there is no `SessionMiddleware` around the application.
        """
        if SESSION not in request.environ:
            middleware = self._middleware or _around(app)
            request.environ[SESSION] = middleware.open(request.environ)
            request.environ[_OPENED_BY] = middleware
        return cast("SessionMixin", request.environ[SESSION])

    def save_session(self, app: Flask, session: Any, response: Response) -> None:
        """Do nothing where the middleware saves it when the response begins; else save it, and set its cookie.

        Raises:
            LoginRevoked, TooManySessions, SessionGone, EncodeError: see `WebSession.commit`.
        """
        del app
        middleware: SessionMiddleware | None = flask.request.environ.get(_OPENED_BY)
        if middleware is not None:
            headers = middleware.close(session, response.headers)
            response.headers.clear()
            response.headers.extend(headers)


def _around(app: Flask) -> SessionMiddleware:
    outer: Any = app.wsgi_app
    while outer is not None:
        if isinstance(outer, SessionMiddleware):
            return outer
        # Werkzeug's middleware has what it stands around as `app`, and so has ours.
        outer = getattr(outer, "app", None)
    raise RuntimeError(
        "app.wsgi_app must be wrapped in redis_patterns.wsgi.SessionMiddleware, or FlaskSessions be given the one that "
        "is around the application"
    )
