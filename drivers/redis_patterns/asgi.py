"""Middleware for ASGI applications, on asyncio and trio, and on no framework.

It stands around the application:

    from redis_patterns import FixedWindow, Rule
    from redis_patterns.asgi import RateLimitMiddleware, SessionMiddleware

    app = RateLimitMiddleware(app, lambda: redis, [Rule(FixedWindow("api", limit=100, per=60), paths="/api/*")])
    app = SessionMiddleware(app, lambda: redis)
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

from redis_patterns_core.cookies import Cookie
from redis_patterns_core.decisions import Decision
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

__all__ = ["DECISION", "AsgiSession", "RateLimitMiddleware", "SessionMiddleware", "require_session"]

T = TypeVar("T")

_logger = logging.getLogger("redis_patterns")

# Every framework has types of its own for the same dictionaries, and none takes another's.
Scope: TypeAlias = Any
Message: TypeAlias = Any
Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]
Application: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]

# What a websocket is closed with that cannot be refused over HTTP (RFC 6455 and IANA's registry; 3000 is Unauthorized).
_CLOSES = {
    401: (3000, "not logged in"),
    403: (3003, "too many sessions"),
    429: (1013, "too many requests"),
    503: (1013, "try again later"),
}

DECISION = "redis_patterns.decision"
"""Where a request's decision is found: in the ASGI scope."""


class Driver(Protocol):
    """What is needed of a driver."""

    async def run(self, step: Plan[T] | Flow[T], *, timeout: Duration | None = None) -> T: ...


class RateLimitMiddleware:
    """Lets an application see only the requests that its limits allow.

    A request that is refused is answered with 429 (503 where Redis is away and the limit is closed then) and a body
    after RFC 9457; a websocket is refused in the same way where the server can, else closed before it is accepted. Each
    response tells of the limits in its headers; those that the application has set itself stay. The decision is in the
    scope under `DECISION`. One round trip for each request that falls under a rule, more only where it waits.

    Parameters:
        app: the application.
        driver: a driver of `redis_patterns.asyncio` or `redis_patterns.trio`, or a function that gives it when a
            request comes: an application is mostly made before there is an event loop.
        rules: the first that holds for a request decides.
        standard, legacy: as for `RateLimits`.

    Raises:
        ConfigurationError: something that is no rule.
    """

    def __init__(
        self,
        app: Application,
        driver: Driver | Callable[[], Driver],
        rules: Sequence[Rule],
        *,
        standard: bool = True,
        legacy: bool = True,
    ) -> None:
        self._app = app
        self._driver = driver
        self._limits = RateLimits(rules, standard=standard, legacy=legacy)

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Serve one connection, as ASGI has it."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        found = self._limits.step(_request(scope))
        if found is None:
            await self._app(scope, receive, send)
            return
        limiter, step = found
        driver = self._driver() if callable(self._driver) else self._driver
        decision: Decision = await driver.run(step)
        scope[DECISION] = decision
        if not decision.allowed:
            await _refuse(scope, receive, send, self._limits.refusal(limiter, decision))
            return
        added = [(name.encode(), value.encode()) for name, value in self._limits.headers(limiter, decision)]

        async def send_with_headers(message: Message) -> None:
            if message["type"] in {"http.response.start", "websocket.accept", "websocket.http.response.start"}:
                headers = list(message.get("headers", ()))
                present = {name.lower() for name, _ in headers}
                message = {**message, "headers": headers + [one for one in added if one[0] not in present]}
            await send(message)

        await self._app(scope, receive, send_with_headers)


class AsgiSession(WebSession):
    """A request's session in an ASGI application: ``scope["session"]``, a mapping.

    Starlette, FastAPI and Litestar have it as ``request.session``.
    """

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
        self.down: PatternsError | None = None
        """Why it could not be read."""

    async def load(self) -> None:
        """Read it, unless that was done already: needed where the middleware is lazy. One round trip, or none."""
        if self.loaded:
            return
        plan = self.loading()
        try:
            self.load_from(await self._driver.run(plan) if plan.commands else None)
        except DOWN as error:
            self.down = error
            if self._when_down == "fail":
                raise
            self.load_from(None, available=False)

    async def save(self) -> None:
        """Do at once what is done before the response begins otherwise, so that its failure can be handled.

        Raises:
            LoginRevoked, TooManySessions, SessionGone, EncodeError: see `WebSession.commit`.
        """
        step = self.commit()
        if step is not None:
            await self._driver.run(step)

    async def revalidate(self) -> bool:
        """Tell whether it is still alive, which counts as an access: for a websocket that lasts. One round trip."""
        await self.load()
        if self._session is None:
            return False
        found = await self._driver.run(self._sessions.load(self._session.id))
        if not isinstance(found, Session):
            self._session = None
        return found is not None


class SessionMiddleware:
    """Gives each request its session, and saves what the application does with it before the response begins.

    The session is ``scope["session"]``, an `AsgiSession`. One round trip for a request that shows a cookie that can be
    one, none else; one more where the session was changed, two for a login. What cannot be saved makes the response a
    500, and a 401 where the session has ended meanwhile. Passes on everything else as it is.

    Parameters:
        app: the application.
        driver: a driver of `redis_patterns.asyncio` or `redis_patterns.trio`, or a function that gives it when a
            request comes.
        sessions: where they lie, and for how long.
        cookie: what the session's cookie is called, and where it is sent.
        device: what is kept of the device when a session is created; the browser and the address unless another is
            given. Behind a proxy its addresses are the proxy's, unless a function of yours knows better.
        lazy: whether the application reads it itself, by ``await scope["session"].load()``; else it is read before.
        when_down: what becomes of requests that show a cookie while Redis is not there: ``fail``, a 503, or
            ``anonymous``: they have no session, and the cookie stays as it is.

    Raises:
        ConfigurationError: a `when_down` that is neither.
    """

    def __init__(
        self,
        app: Application,
        driver: Driver | Callable[[], Driver],
        sessions: Sessions | None = None,
        *,
        cookie: Cookie | None = None,
        device: DeviceOf = device_of,
        lazy: bool = False,
        when_down: Literal["fail", "anonymous"] = "fail",
    ) -> None:
        self._app = app
        self._driver = driver
        self._settings = WebSessions(sessions, cookie, device, when_down)
        self._lazy = lazy

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Serve one connection, as ASGI has it."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        request = _request(scope)
        driver = self._driver() if callable(self._driver) else self._driver
        settings = self._settings
        session = AsgiSession(
            driver, settings.when_down, settings.sessions, settings.shown(request), lambda: settings.device(request)
        )
        scope["session"] = session
        response = _Response(scope, receive, send, session, settings.cookie)
        try:
            if not self._lazy:
                await session.load()
            await self._app(scope, receive, response.send)
            await response.end()
        except DOWN as error:
            if error is not session.down or response.begun:
                raise
            await _refuse(scope, receive, send, away())


class _Response:
    """A response that begins when its session is saved.

    Parameters:
        scope, receive, send: of the connection.
        session: what the middleware put into the scope.
        cookie: the session's.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, session: AsgiSession, cookie: Cookie) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._session = session
        self._cookie = cookie
        self.begun = False
        self.failed = False

    async def send(self, message: Message) -> None:
        """Send what the application sends; nothing any more where its session could not be saved."""
        if self.failed:
            return
        if message["type"] in {"http.response.start", "websocket.accept", "websocket.http.response.start"}:
            if not await self._saved():
                return
            self.begun = True
            self._session.close(accepted=message["type"] == "websocket.accept")
            message = {**message, "headers": self._headers(message.get("headers", ()))}
        await self._send(message)

    async def end(self) -> None:
        """Save what was changed in an application that has sent nothing, or after a websocket was accepted."""
        if not self.failed and (not self.begun or self._scope["type"] == "websocket"):
            await self._session.save()

    async def _saved(self) -> bool:
        """Save it, or answer that it could not be; tell which."""
        self._take_over(self._scope.get("session"))
        try:
            await self._session.save()
        except PatternsError as error:
            self.failed, self.begun = True, True
            refusal = failed(error)
            if refusal.status == 500:
                # Not raised: to a server that would be a response that broke off, and it would cut the connection.
                _logger.exception("the session was not saved")
            headers = [(name.decode(), value.decode()) for name, value in self._headers(())]
            refusal = Refusal(refusal.status, refusal.headers + headers, refusal.body)
            # The websocket's opening was received by the application already.
            await _refuse(self._scope, None, self._send, refusal)
        return not self.failed

    def _take_over(self, given: Any) -> None:
        """Take what a framework has put in the session's place: another mapping, or nothing, as Litestar does."""
        session = self._session
        if given is session or not session.loaded:
            return
        if not isinstance(given, Mapping):
            session.destroy()
            return
        fields: dict[str, Any] = {**given}
        for name in [name for name in session if name not in fields]:
            del session[name]
        session.update(fields)

    def _headers(self, headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        texts = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
        return [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in self._session.headers(self._cookie, texts)
        ]


def require_session(app: Application, *, user: bool = True, paths: str | Sequence[str] = "*") -> Application:
    """Let an application see only requests that have a session; others get a 401, a websocket is refused.

    It stands inside a `SessionMiddleware`.

    Parameters:
        app: the application.
        user: whether the session must be a user's; else a visitor's is enough.
        paths: which requests need one: shell patterns, such as ``/account/*``; others pass.

    Returns:
        An ASGI application.
    """
    needs = matching(paths)

    async def guarded(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] in {"http", "websocket"} and needs(scope["path"]):
            session = scope["session"]
            await session.load()
            if not may_pass(session, user=user):
                await _refuse(scope, receive, send, failed())
                return
        await app(scope, receive, send)

    return guarded


def _request(scope: Scope) -> Request:
    client = scope.get("client")
    return Request(
        scope["method"].upper() if scope["type"] == "http" else "WEBSOCKET",
        scope["path"],
        [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]],
        client[0] if client else None,
        scope,
    )


async def _refuse(scope: Scope, receive: Receive | None, send: Send, refusal: Refusal) -> None:
    kind = "http"
    if scope["type"] == "websocket":
        if receive is not None:
            await receive()  # websocket.connect
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            code, reason = _CLOSES.get(refusal.status, (1011, "internal error"))
            await send({"type": "websocket.close", "code": code, "reason": reason})
            return
        kind = "websocket.http"
    headers = [(name.encode(), value.encode()) for name, value in refusal.headers]
    await send({"type": f"{kind}.response.start", "status": refusal.status, "headers": headers})
    body = b"" if scope.get("method") == "HEAD" else refusal.body
    await send({"type": f"{kind}.response.body", "body": body})
