"""The WSGI middleware, under the standard library's own check of the protocol."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

from redis_patterns import FixedWindow, Rule
from redis_patterns.testing.memory import Server
from redis_patterns.wsgi import DECISION, RateLimitMiddleware

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

TWICE = FixedWindow("twice", limit=2, per=60)


def hello(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer everything; fail on the way where it is asked to."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-RateLimit-Limit", "its own")])
    if environ["PATH_INFO"] == "/fails":
        try:
            raise ValueError("on the way")
        except ValueError:
            start_response("500 Sorry", [("Content-Type", "text/plain")], sys.exc_info())
    return [b"hello"]


def ask(app: WSGIApplication, **changed: str) -> tuple[str, list[tuple[str, str]], bytes]:
    environ: dict[str, Any] = {"REMOTE_ADDR": "203.0.113.9", "QUERY_STRING": ""}
    setup_testing_defaults(environ)
    environ.update(changed)
    seen: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any:
        del exc_info
        seen[:] = [status, headers]
        return lambda _: None

    answer: Any = validator(app)(environ, start_response)
    body = b"".join(answer)
    answer.close()
    return seen[0], seen[1], body


def test_requests_within_and_beyond_the_limit() -> None:
    """Those within reach the application; the others get a problem document; headers of its own stay."""
    with Server().sync() as redis:
        limited = RateLimitMiddleware(validator(hello), redis, [Rule(None, paths="/health"), Rule(TWICE)])
        status, headers, body = ask(limited)
        assert (status, body) == ("200 OK", b"hello")
        assert dict(headers)["ratelimit"].startswith('"twice";r=1;t=')
        assert [value for name, value in headers if name.lower() == "x-ratelimit-limit"] == ["its own"]
        assert ask(limited, PATH_INFO="/fails")[0] == "500 Sorry"
        status, headers, body = ask(limited)
        assert status == "429 Too Many Requests"
        assert json.loads(body)["violated-policies"] == ["twice"]
        assert dict(headers)["content-length"] == str(len(body))
        assert ask(limited, REQUEST_METHOD="HEAD")[2] == b""
        assert ask(limited, HTTP_X_FORWARDED_FOR="198.51.100.7")[0].startswith("429")
        assert ask(limited, REMOTE_ADDR="198.51.100.7")[0] == "200 OK"
        status, headers, _ = ask(limited, PATH_INFO="/health")
        assert (status, "ratelimit" in dict(headers)) == ("200 OK", False)


def test_the_decision_and_the_request() -> None:
    """The application finds the decision; keys see headers, the length and the decoded path."""
    seen: list[Any] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        seen.append(environ[DECISION].remaining)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello"]

    def key(request: Any) -> str:
        seen.append((request.method, request.path, request.header("X-Name"), request.header("content-length")))
        return "all"

    with Server().sync() as redis:
        limited = RateLimitMiddleware(app, lambda: redis, [Rule(TWICE, key=key)])
        path = "/grüße".encode().decode("latin-1")
        ask(limited, PATH_INFO=path, HTTP_X_NAME="ann", CONTENT_LENGTH="0", REQUEST_METHOD="POST")
    assert seen == [("POST", "/grüße", "ann", "0"), 1]
