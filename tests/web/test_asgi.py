"""The ASGI middleware, called as a server calls it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from redis_patterns import (
    AllOf,
    FixedWindow,
    Guarded,
    LeakyBucket,
    Outcome,
    Rule,
    SlidingLog,
    Subject,
    Unreachable,
)
from redis_patterns.asgi import DECISION, Message, RateLimitMiddleware, Receive, Scope, Send
from redis_patterns.testing.memory import Server

pytestmark = pytest.mark.anyio

TWICE = FixedWindow("twice", limit=2, per=60)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def driver(server: Server, backend: str, **options: Any) -> Any:
    return server.asyncio(**options) if backend == "asyncio" else server.trio(**options)


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer everything."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        return
    if scope["type"] == "http":
        headers = [(b"content-type", b"text/plain"), (b"X-RateLimit-Limit", b"its own")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"hello"})


async def ask(app: Callable[[Scope, Receive, Send], Awaitable[None]], **scope: Any) -> list[Message]:
    """Send one request, and give what comes back."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    full = {"type": "http", "method": "GET", "path": "/", "headers": [], "client": ("203.0.113.9", 1), **scope}
    await app(full, receive, send)
    return sent


def headers_of(message: Message) -> dict[str, str]:
    return {name.decode().lower(): value.decode() for name, value in message["headers"]}


async def test_requests_within_the_limit(anyio_backend: str) -> None:
    """They reach the application, and the response tells what is left; headers of the application's own stay."""
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope[DECISION].remaining)
        await hello(scope, receive, send)

    async with driver(Server(), anyio_backend) as redis:
        limited = RateLimitMiddleware(app, redis, [Rule(TWICE)])
        start, body = await ask(limited)
        assert (start["status"], body["body"]) == (200, b"hello")
        headers = headers_of(start)
        assert headers["ratelimit"].startswith('"twice";r=1;t=')
        assert headers["ratelimit-policy"] == '"twice";q=2;w=60'
        assert [value for name, value in start["headers"] if name.lower() == b"x-ratelimit-limit"] == [b"its own"]
        assert headers["x-ratelimit-remaining"] == "1"
        assert "retry-after" not in headers
        await ask(limited)
        assert seen == [1, 0]


async def test_requests_beyond_the_limit(anyio_backend: str) -> None:
    """They get a problem document and never reach the application; another client does."""
    async with driver(Server(), anyio_backend) as redis:
        limited = RateLimitMiddleware(hello, lambda: redis, [Rule(TWICE)])
        for _ in range(2):
            await ask(limited)
        start, body = await ask(limited)
        headers = headers_of(start)
        assert start["status"] == 429
        assert json.loads(body["body"])["violated-policies"] == ["twice"]
        assert int(headers["content-length"]) == len(body["body"])
        assert 1 <= int(headers["retry-after"]) <= 60
        assert headers["x-ratelimit-limit"] == "2"
        start, body = await ask(limited, method="HEAD")
        assert (start["status"], body["body"]) == (429, b"")
        spoofed = [(b"x-forwarded-for", b"198.51.100.7")]
        assert (await ask(limited, headers=spoofed))[0]["status"] == 429
        assert (await ask(limited, client=("198.51.100.7", 1)))[0]["status"] == 200
        assert (await ask(limited, client=None))[0]["status"] == 200


async def test_websockets(anyio_backend: str) -> None:
    """Their opening counts; one that is refused is closed before it is accepted, with a response where that can be."""
    async with driver(Server(), anyio_backend) as redis:
        limited = RateLimitMiddleware(hello, redis, [Rule(TWICE, methods=["WEBSOCKET"])])
        for _ in range(2):
            (accepted,) = await ask(limited, type="websocket")
            assert accepted["type"] == "websocket.accept"
            assert "ratelimit" in headers_of(accepted)
        (closed,) = await ask(limited, type="websocket")
        assert (closed["type"], closed["code"]) == ("websocket.close", 1013)
        start, body = await ask(limited, type="websocket", extensions={"websocket.http.response": {}})
        assert (start["type"], start["status"]) == ("websocket.http.response.start", 429)
        assert body["type"] == "websocket.http.response.body"
        assert (await ask(limited))[0]["status"] == 200


async def test_what_falls_under_no_rule(anyio_backend: str) -> None:
    """It passes untouched, and nobody asks Redis."""
    trips: list[str] = []

    class Counting:
        def begin(self, subject: Subject) -> Callable[[Outcome], None]:
            trips.append(subject.name)
            return lambda _: None

    async with driver(Server(), anyio_backend, instrument=Counting()) as redis:
        both = AllOf(TWICE, SlidingLog("log", limit=5, per=9))
        limited = RateLimitMiddleware(hello, redis, [Rule(None, paths="/health"), Rule(both, paths="/api/*")])
        assert await ask(limited, type="lifespan") == []
        assert "ratelimit" not in headers_of((await ask(limited, path="/health"))[0])
        assert trips == []
        await ask(limited, path="/api/x")
        assert trips == ["all_of.hit"]


async def test_a_leaky_bucket_holds_requests_back(anyio_backend: str) -> None:
    """Each goes on when it is its turn."""
    server = Server()
    served: list[float] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        served.append(server.clock())
        await hello(scope, receive, send)

    async with driver(server, anyio_backend) as redis:
        limited = RateLimitMiddleware(app, redis, [Rule(LeakyBucket("even", capacity=3, leak_rate=2), wait=60)])
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(lambda: ask(limited))
            await server.clock.elapse(2)
    assert served == [0, 0.5, 1.0]


@pytest.mark.parametrize(("when_away", "status"), [("open", 200), ("closed", 503), ("local", 200)])
async def test_redis_is_away(anyio_backend: str, when_away: Any, status: int) -> None:
    """What then happens is the limit's choice; by default the application's server is told."""

    class Away:
        async def run(self, step: Any, *, timeout: Any = None) -> Any:
            """Run the flow against nothing."""
            del timeout
            steps, value = step.steps(), None
            try:
                asked = steps.send(None)
                while True:
                    value = 0.0 if type(asked).__name__ == "Now" else None
                    asked = steps.send(value) if value is not None else steps.throw(Unreachable("hit", "away"))
            except StopIteration as stop:
                return stop.value

    limited = RateLimitMiddleware(hello, Away(), [Rule(Guarded(TWICE, when_away=when_away))])
    start, *_ = await ask(limited)
    assert start["status"] == status
    assert ("ratelimit" in headers_of(start)) == (when_away == "local")
