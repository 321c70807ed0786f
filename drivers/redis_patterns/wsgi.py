"""Middleware for WSGI applications, on no framework.

It stands around the application:

    from redis_patterns import FixedWindow, Rule
    from redis_patterns.wsgi import RateLimitMiddleware, SessionMiddleware

    app = RateLimitMiddleware(app, redis, [Rule(FixedWindow("api", limit=100, per=60), paths="/api/*")])
    app = SessionMiddleware(app, redis)
"""

from __future__ import annotations

import http
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from redis_patterns_core.cookies import Cookie
from redis_patterns_core.errors import PatternsError
from redis_patterns_core.flow import Flow
from redis_patterns_core.http import RateLimits, Refusal, Request, Rule
from redis_patterns_core.paths import matching
from redis_patterns_core.plan import Plan
from redis_patterns_core.session_records import Session
from redis_patterns_core.sessions import Sessions
from redis_patterns_core.validate import Duration
from redis_patterns_core.web_refusals import DOWN, away, failed, may_pass
from redis_patterns_core.web_sessions import DeviceOf, WebSession, WebSessions, device_of

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["DECISION", "SESSION", "RateLimitMiddleware", "SessionMiddleware", "WsgiSession", "require_session"]

T = TypeVar("T")

DECISION = "redis_patterns.decision"
"""Where a request's decision is found: in the WSGI environ."""

SESSION = "redis_patterns.session"
"""Where a request's session is found: in the WSGI environ."""


class Driver(Protocol):
    """What is needed of a driver."""

    def run(self, step: Plan[T] | Flow[T], *, timeout: Duration | None = None) -> T: ...


class RateLimitMiddleware:
    """Lets an application see only the requests that its limits allow.

    A request that is refused is answered with 429 (503 where Redis is away and the limit is closed then) and a body
    after RFC 9457. Each response tells of the limits in its headers; those that the application has set itself stay.
    The decision is in the environ under `DECISION`. One round trip for each request that falls under a rule, more only
    where it waits.

    Parameters:
        app: the application.
        driver: a driver of `redis_patterns.sync`, or a function that gives it when a request comes.
        rules: the first that holds for a request decides.
        standard, legacy: as for `RateLimits`.

    Raises:
        ConfigurationError: something that is no rule.
    """

    def __init__(
        self,
        app: WSGIApplication,
        driver: Driver | Callable[[], Driver],
        rules: Sequence[Rule],
        *,
        standard: bool = True,
        legacy: bool = True,
    ) -> None:
        self.app: WSGIApplication = app
        self._driver = driver
        self._limits = RateLimits(rules, standard=standard, legacy=legacy)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request, as WSGI has it."""
        found = self._limits.step(_request(environ))
        if found is None:
            return self.app(environ, start_response)
        limiter, step = found
        driver = self._driver() if callable(self._driver) else self._driver
        decision = driver.run(step)
        environ[DECISION] = decision
        if not decision.allowed:
            return _refuse(environ, start_response, self._limits.refusal(limiter, decision))
        added = self._limits.headers(limiter, decision)

        def start_with_headers(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any:
            present = {name.lower() for name, _ in headers}
            return start_response(status, headers + [one for one in added if one[0] not in present], exc_info)

        return self.app(environ, start_with_headers)


class WsgiSession(WebSession):
    """A request's session in a WSGI application: ``environ[SESSION]``, a mapping; read when it is looked at."""

    def __init__(
        self,
        driver: Driver,
        when_down: Literal["fail", "anonymous"],
        sessions: Sessions,
        shown: str | None,
        device: Callable[[], Mapping[str, str]],
    ) -> None:
        super().__init__(sessions, shown, device)
        self._driver = driver
        self._when_down = when_down
        self.permanent = True
        """For Flask; how long the cookie lives is said by `Cookie`."""
        self.down: PatternsError | None = None
        """Why it could not be read."""

    def _need(self) -> None:
        self.accessed = True
        if self._loaded:
            return
        plan = self.loading()
        try:
            self.load_from(self._driver.run(plan) if plan.commands else None)
        except DOWN as error:
            self.down = error
            if self._when_down == "fail":
                raise
            self.load_from(None, available=False)

    def save(self) -> None:
        """Do at once what is done before the response begins otherwise, so that its failure can be handled.

        Raises:
            LoginRevoked, TooManySessions, SessionGone, EncodeError: see `WebSession.commit`.
        """
        step = self.commit()
        if step is not None:
            self._driver.run(step)

    def revalidate(self) -> bool:
        """Tell whether it is still alive, which counts as an access. One round trip."""
        self._need()
        if self._session is None:
            return False
        found = self._driver.run(self._sessions.load(self._session.id))
        if not isinstance(found, Session):
            self._session = None
        return found is not None


class SessionMiddleware:
    """Gives each request its session, and saves what the application does with it before the response begins.

    The session is ``environ[SESSION]``, a `WsgiSession`, which is read when the application looks at it: one round trip
    for a request that shows a cookie that can be one, none else; one more where the session was changed, two for a
    login. What cannot be saved makes the response a 500, and a 401 where the session has ended meanwhile.

    Parameters:
        app: the application.
        driver: a driver of `redis_patterns.sync`, or a function that gives it when a request comes.
        sessions: where they lie, and for how long.
        cookie: what the session's cookie is called, and where it is sent.
        device: what is kept of the device when a session is created; the browser and the address unless another is
            given. Behind a proxy its addresses are the proxy's, unless a function of yours knows better.
        when_down: what becomes of requests that show a cookie, and look at their session, while Redis is not there:
            ``fail``, a 503, or ``anonymous``: they have no session, and the cookie stays as it is.

    Raises:
        ConfigurationError: a `when_down` that is neither.
    """

    def __init__(
        self,
        app: WSGIApplication,
        driver: Driver | Callable[[], Driver],
        sessions: Sessions | None = None,
        *,
        cookie: Cookie | None = None,
        device: DeviceOf = device_of,
        when_down: Literal["fail", "anonymous"] = "fail",
    ) -> None:
        self._app = app
        self._driver = driver
        self._settings = WebSessions(sessions, cookie, device, when_down)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request, as WSGI has it."""
        session = environ[SESSION] = self.open(environ)
        response = _Response(environ, start_response, session, self._settings.cookie)
        try:
            body = self._app(environ, response.start)
        except DOWN as error:
            if error is not session.down or response.begun:
                raise
            return _refuse(environ, start_response, away())
        if response.begun and response.refused is None:
            return body
        return _Body(body, response)

    def open(self, environ: WSGIEnvironment) -> WsgiSession:
        """Make the session of a request; what the application finds under `SESSION`. Nothing is read yet."""
        request = _request(environ)
        driver = self._driver() if callable(self._driver) else self._driver
        settings = self._settings
        return WsgiSession(
            driver, settings.when_down, settings.sessions, settings.shown(request), lambda: settings.device(request)
        )

    def close(self, session: WsgiSession, headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Save a session that was opened outside of a request, for tests, and give the response's headers with its own.

        Raises:
            LoginRevoked, TooManySessions, SessionGone, EncodeError: see `WebSession.commit`.
        """
        session.save()
        session.close()
        return session.headers(self._settings.cookie, headers)


class _Response:
    """A response that begins when its session is saved.

    Parameters:
        environ, start_response: of the request.
        session: what the middleware put into the environ.
        cookie: the session's.
    """

    def __init__(
        self, environ: WSGIEnvironment, start_response: StartResponse, session: WsgiSession, cookie: Cookie
    ) -> None:
        self._environ = environ
        self._start_response = start_response
        self._session = session
        self._cookie = cookie
        self.begun = False
        self.refused: list[bytes] | None = None
        """The body of the response that goes out in place of the application's."""

    def start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any:
        """Begin the response: what the application calls."""
        if self.refused is not None:
            return _nothing
        if not self.begun:
            try:
                self._session.save()
            except PatternsError as error:
                return self._refuse(failed(error), error)
            if self._session.down is not None and not self._session.loaded:
                return self._refuse(away(), self._session.down)
            self._session.close()
        self.begun = True
        return self._start_response(status, self._session.headers(self._cookie, headers), exc_info)

    def refuse_as_away(self, error: PatternsError) -> bool:
        """Answer that Redis is away, if that is what an application has raised before its response began."""
        if error is not self._session.down or self.begun:
            return False
        self._refuse(away(), error)
        return True

    def _refuse(self, refusal: Refusal, error: PatternsError) -> Any:
        self.begun = True
        headers = self._session.headers(self._cookie, refusal.headers)
        self.refused = _refuse(self._environ, self._start_response, Refusal(refusal.status, headers, refusal.body))
        if refusal.status == 500:
            stream = self._environ.get("wsgi.errors")
            if stream is not None:
                stream.write(f"redis-patterns: the session was not saved: {error}\n")
        return _nothing


class _Body:
    """The body of a response that may not have begun when the application returned, or that another one replaces.

    Parameters:
        body: what the application has returned.
        response: what says whether it goes out.
    """

    def __init__(self, body: Iterable[bytes], response: _Response) -> None:
        self._body = body
        self._chunks = iter(body)
        self._response = response
        self._instead: Iterator[bytes] | None = None

    def __iter__(self) -> _Body:
        return self

    def __next__(self) -> bytes:
        if self._instead is None:
            if self._response.refused is None:
                chunk = b""
                try:
                    chunk = next(self._chunks)
                except DOWN as error:
                    # An application that is a generator looks at its session only now.
                    if not self._response.refuse_as_away(error):
                        raise
                if self._response.refused is None:
                    return chunk
            self._instead = iter(self._response.refused)
        return next(self._instead)

    def close(self) -> None:
        """Close the application's own body, as WSGI asks for."""
        close = getattr(self._body, "close", None)
        if close is not None:
            close()


def require_session(app: WSGIApplication, *, user: bool = True, paths: str | Sequence[str] = "*") -> WSGIApplication:
    """Let an application see only requests that have a session; others get a 401.

    It stands inside a `SessionMiddleware`.

    Parameters:
        app: the application.
        user: whether the session must be a user's; else a visitor's is enough.
        paths: which requests need one: shell patterns, such as ``/account/*``; others pass.

    Returns:
        A WSGI application.
    """
    needs = matching(paths)

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if needs(_request(environ).path) and not may_pass(environ[SESSION], user=user):
            return _refuse(environ, start_response, failed())
        return app(environ, start_response)

    return guarded


def _nothing(_: bytes, /) -> None:
    """Write nothing, for an application whose response does not go out."""


def _refuse(environ: WSGIEnvironment, start_response: StartResponse, refusal: Refusal) -> list[bytes]:
    start_response(f"{refusal.status} {http.HTTPStatus(refusal.status).phrase}", refusal.headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [refusal.body]


def _request(environ: WSGIEnvironment) -> Request:
    headers = [
        (name.removeprefix("HTTP_").replace("_", "-").lower(), value)
        for name, value in environ.items()
        if name.startswith("HTTP_") or name in {"CONTENT_TYPE", "CONTENT_LENGTH"}
    ]
    # WSGI's texts are bytes read as latin-1.
    path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}".encode("latin-1").decode(errors="replace")
    return Request(environ["REQUEST_METHOD"].upper(), path, headers, environ.get("REMOTE_ADDR") or None, environ)
