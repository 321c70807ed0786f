"""Middleware for WSGI applications, on no framework.

It stands around the application:

    from redis_patterns import FixedWindow, Rule
    from redis_patterns.wsgi import RateLimitMiddleware

    app = RateLimitMiddleware(app, redis, [Rule(FixedWindow("api", limit=100, per=60), paths="/api/*")])
"""

from __future__ import annotations

import http
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from redis_patterns_core.flow import Flow
from redis_patterns_core.http import RateLimits, Request, Rule
from redis_patterns_core.plan import Plan
from redis_patterns_core.validate import Duration

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["DECISION", "RateLimitMiddleware"]

T = TypeVar("T")

DECISION = "redis_patterns.decision"
"""Where a request's decision is found: in the WSGI environ."""


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
        self._app = app
        self._driver = driver
        self._limits = RateLimits(rules, standard=standard, legacy=legacy)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request, as WSGI has it."""
        found = self._limits.step(_request(environ))
        if found is None:
            return self._app(environ, start_response)
        limiter, step = found
        driver = self._driver() if callable(self._driver) else self._driver
        decision = driver.run(step)
        environ[DECISION] = decision
        if not decision.allowed:
            refusal = self._limits.refusal(limiter, decision)
            start_response(f"{refusal.status} {http.HTTPStatus(refusal.status).phrase}", refusal.headers)
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [refusal.body]
        added = self._limits.headers(limiter, decision)

        def start_with_headers(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any:
            present = {name.lower() for name, _ in headers}
            return start_response(status, headers + [one for one in added if one[0] not in present], exc_info)

        return self._app(environ, start_with_headers)


def _request(environ: WSGIEnvironment) -> Request:
    headers = [
        (name.removeprefix("HTTP_").replace("_", "-").lower(), value)
        for name, value in environ.items()
        if name.startswith("HTTP_") or name in {"CONTENT_TYPE", "CONTENT_LENGTH"}
    ]
    # WSGI's texts are bytes read as latin-1.
    path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}".encode("latin-1").decode(errors="replace")
    return Request(environ["REQUEST_METHOD"].upper(), path, headers, environ.get("REMOTE_ADDR") or None, environ)
