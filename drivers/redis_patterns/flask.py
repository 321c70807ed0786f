"""Flask's ``session`` in Redis.

The middleware stands around the application, and Flask's ``session`` is its session:

    from redis_patterns.flask import FlaskSessions
    from redis_patterns.wsgi import SessionMiddleware

    app.session_interface = FlaskSessions()
    app.wsgi_app = SessionMiddleware(app.wsgi_app, redis)

Beside what a mapping has there are ``session.user``, ``session.login(user)``, ``session.rotate()`` and
``session.destroy()``; see `redis_patterns.WebSession`. It is saved when the response begins.
"""

from __future__ import annotations

from typing import Any, cast

from flask import Flask, Request, Response
from flask.sessions import SessionInterface, SessionMixin

from redis_patterns.wsgi import SESSION

__all__ = ["FlaskSessions"]


class FlaskSessions(SessionInterface):
    """Gives Flask the session that `redis_patterns.wsgi.SessionMiddleware` keeps."""

    def open_session(self, app: Flask, request: Request) -> SessionMixin:
        """Give the request's session, which has all that Flask asks of one.

        Raises:
            RuntimeError: there is no `SessionMiddleware` around the application.
        """
        del app
        if SESSION not in request.environ:
            raise RuntimeError("app.wsgi_app must be wrapped in redis_patterns.wsgi.SessionMiddleware")
        return cast("SessionMixin", request.environ[SESSION])

    def save_session(self, app: Flask, session: Any, response: Response) -> None:
        """Do nothing: the middleware saves it when the response begins."""
