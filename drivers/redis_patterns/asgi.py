"""Middleware for ASGI applications, on asyncio and trio, and on no framework.

It stands around the application:

    from redis_patterns import FixedWindow, Rule
    from redis_patterns.asgi import RateLimitMiddleware

    app = RateLimitMiddleware(app, lambda: redis, [Rule(FixedWindow("api", limit=100, per=60), paths="/api/*")])
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from redis_patterns_core.decisions import Decision
from redis_patterns_core.flow import Flow
from redis_patterns_core.http import RateLimits, Refusal, Request, Rule
from redis_patterns_core.plan import Plan
from redis_patterns_core.validate import Duration

__all__ = ["DECISION", "RateLimitMiddleware"]

T = TypeVar("T")

# Every framework has types of its own for the same dictionaries, and none takes another's.
Scope: TypeAlias = Any
Message: TypeAlias = Any
Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]
Application: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]

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


def _request(scope: Scope) -> Request:
    client = scope.get("client")
    return Request(
        scope["method"].upper() if scope["type"] == "http" else "WEBSOCKET",
        scope["path"],
        [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]],
        client[0] if client else None,
        scope,
    )


async def _refuse(scope: Scope, receive: Receive, send: Send, refusal: Refusal) -> None:
    kind = "http"
    if scope["type"] == "websocket":
        await receive()  # websocket.connect
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1013, "reason": "too many requests"})
            return
        kind = "websocket.http"
    headers = [(name.encode(), value.encode()) for name, value in refusal.headers]
    await send({"type": f"{kind}.response.start", "status": refusal.status, "headers": headers})
    body = b"" if scope.get("method") == "HEAD" else refusal.body
    await send({"type": f"{kind}.response.body", "body": body})
