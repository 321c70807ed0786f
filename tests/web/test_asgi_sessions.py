"""The ASGI session middleware, called as a server calls it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from redis_patterns import ConfigurationError, Cookie, OutcomeUnknown, Sessions, Unreachable
from redis_patterns.asgi import AsgiSession, Message, Receive, Scope, Send, SessionMiddleware, require_session
from redis_patterns.testing.memory import Server

pytestmark = pytest.mark.anyio

App = Callable[[Scope, Receive, Send], Awaitable[None]]
COOKIE = Cookie()
SESSIONS = Sessions()


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def driver(server: Server, backend: str) -> Any:
    return server.asyncio() if backend == "asyncio" else server.trio()


class Down:
    """A driver whose Redis is not there."""

    async def run(self, step: Any, *, timeout: Any = None) -> Any:
        del step, timeout
        raise Unreachable("session.load", "nobody is there")


async def ask(app: App, *cookies: str, **scope: Any) -> list[Message]:
    """Send one request, and give what comes back."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"cookie", cookie.encode()) for cookie in cookies]
    full = {"type": "http", "method": "GET", "path": "/", "headers": headers, "client": ("203.0.113.9", 1), **scope}
    await app(full, receive, send)
    return sent


def headers_of(message: Message) -> dict[str, str]:
    return {name.decode().lower(): value.decode() for name, value in message["headers"]}


def cookie_of(message: Message) -> str:
    return headers_of(message)["set-cookie"].partition(";")[0]


async def hello(_: Scope, __: Receive, send: Send) -> None:
    """Answer."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"hello"})


def doing(*actions: Callable[[AsgiSession], object]) -> App:
    """Make an application that does something with the session, and answers."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
        for action in actions:
            made = action(scope["session"])
            if isinstance(made, Awaitable):
                await made
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            return
        await hello(scope, receive, send)

    return app


async def test_what_is_not_a_request_passes(anyio_backend: str) -> None:
    """The lifespan, and what else may come."""
    del anyio_backend
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del receive, send
        seen.append(scope)

    await SessionMiddleware(app, Down())({"type": "lifespan"}, None, None)
    assert seen == [{"type": "lifespan"}]


async def test_round_trips_of_a_request(anyio_backend: str) -> None:
    """None without a cookie, one with it; one more where something changed, and none where nothing did."""
    trips: list[str] = []
    async with driver(Server(), anyio_backend) as redis:

        class Counted:
            async def run(self, step: Any, *, timeout: Any = None) -> Any:
                trips.append(step.name)
                return await redis.run(step, timeout=timeout)

        async def visit(app: App, *cookies: str) -> list[Message]:
            trips.clear()
            return await ask(SessionMiddleware(app, Counted()), *cookies)

        await visit(doing())
        assert trips == []
        (start, _) = await visit(doing(lambda session: session.update(a=1)))
        cookie = cookie_of(start)
        await visit(doing(), cookie)
        assert trips == ["session.load"]
        (start, _) = await visit(doing(lambda session: session["a"]), "other=1", cookie)
        assert trips == ["session.load"]
        assert headers_of(start) == {"content-type": "text/plain", "vary": "Cookie"}


async def test_a_lazy_session(anyio_backend: str) -> None:
    """It is read when the application says so; before that a look at it is an error; unread it costs nothing."""
    async with driver(Server(), anyio_backend) as redis:
        (start, _) = await ask(SessionMiddleware(doing(lambda session: session.update(a=1)), redis))
        cookie, seen = cookie_of(start), list[Any]()
        lazy = doing(AsgiSession.load, AsgiSession.load, lambda session: seen.append(dict(session)))
        await ask(SessionMiddleware(lazy, redis, lazy=True), cookie)
        assert seen == [{"a": 1}]
        await ask(SessionMiddleware(doing(), Down(), lazy=True), cookie)
        with pytest.raises(RuntimeError, match=r"await session\.load"):
            await ask(SessionMiddleware(doing(lambda session: session["a"]), redis, lazy=True), cookie)
        (start, _) = await ask(SessionMiddleware(doing(AsgiSession.load), Down(), lazy=True), cookie)
        assert start["status"] == 503


async def test_redis_away(anyio_backend: str) -> None:
    """A 503 for who shows a cookie, or nobody; the cookie is neither removed nor replaced; who shows none passes."""
    async with driver(Server(), anyio_backend) as redis:
        (start, _) = await ask(SessionMiddleware(doing(lambda session: session.update(a=1)), redis))
    cookie = cookie_of(start)
    (start, body) = await ask(SessionMiddleware(doing(), Down()), cookie)
    assert (start["status"], headers_of(start)["retry-after"], "set-cookie" in headers_of(start)) == (503, "1", False)
    assert b"Sessions are away" in body["body"]
    (_, body) = await ask(SessionMiddleware(doing(), Down()), cookie, method="HEAD")
    assert body["body"] == b""
    seen, down = list[Any](), Down()
    anonymous = doing(lambda session: seen.append((session.available, session.user)), lambda session: session.get("a"))
    (start, _) = await ask(SessionMiddleware(anonymous, lambda: down, when_down="anonymous"), cookie)
    assert (seen, start["status"], "set-cookie" in headers_of(start)) == ([(False, None)], 200, False)
    writes = doing(lambda session: session.update(a=2))
    (start, _) = await ask(SessionMiddleware(writes, Down(), when_down="anonymous"), cookie)
    assert (start["status"], "set-cookie" in headers_of(start)) == (200, False)
    with pytest.raises(ConfigurationError, match="when_down"):
        SessionMiddleware(doing(), Down(), when_down="maybe")  # type: ignore[arg-type]


async def test_what_cannot_be_saved(anyio_backend: str, caplog: pytest.LogCaptureFixture) -> None:
    """The response is a 500, nothing of the application's goes out, and the log has the reason, without the value."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["session"]["a"] = object()
        for _ in range(2):  # a framework may try again, with a page for errors
            await hello(scope, receive, send)

    async with driver(Server(), anyio_backend) as redis:
        (start, body) = await ask(SessionMiddleware(app, redis))
    assert start["status"] == 500
    assert b"hello" not in body["body"]
    (logged,) = caplog.records
    assert (logged.name, logged.message) == ("redis_patterns", "the session was not saved")
    assert logged.exc_info is not None
    assert "JSON cannot write this object" in str(logged.exc_info[1])


async def test_an_application_that_fails_or_says_nothing(anyio_backend: str) -> None:
    """What it raises before its response passes, and nothing was saved; without a response, it was."""
    async with driver(Server(), anyio_backend) as redis:
        (start, _) = await ask(SessionMiddleware(doing(lambda session: session.update(a=1)), redis))
        cookie = cookie_of(start)

        async def fails(scope: Scope, receive: Receive, send: Send) -> None:
            del receive, send
            scope["session"]["a"] = 2
            raise OutcomeUnknown("of its own", "x")

        with pytest.raises(OutcomeUnknown, match="of its own"):
            await ask(SessionMiddleware(fails, redis), cookie)

        async def silent(scope: Scope, receive: Receive, send: Send) -> None:
            del receive, send
            scope["session"]["b"] = 3

        assert await ask(SessionMiddleware(silent, redis), cookie) == []
        seen: list[Any] = []
        await ask(SessionMiddleware(doing(lambda session: seen.append(dict(session))), redis), cookie)
        assert seen == [{"a": 1, "b": 3}]


async def test_a_failure_that_the_application_sees(anyio_backend: str) -> None:
    """Who saves at once can say it in its own words."""
    async with driver(Server(), anyio_backend) as redis:
        few = Sessions(max_per_user=1, when_full="refuse")
        await redis.run(few.create("ann"))
        said: list[str] = []

        async def save(session: AsgiSession) -> None:
            session.login("ann")
            try:
                await session.save()
            except RuntimeError as error:
                said.append(str(error))
                session.destroy()

        (start, _) = await ask(SessionMiddleware(doing(save), redis, few))
        assert (start["status"], said) == (200, ["the user has 1 sessions already"])
        (start, body) = await ask(SessionMiddleware(doing(lambda session: session.login("ann")), redis, few))
        assert (start["status"], b"Too many sessions" in body["body"]) == (403, True)


async def test_websockets(anyio_backend: str) -> None:
    """The cookie comes with the acceptance; later changes of fields are saved; the session is looked at again."""
    async with driver(Server(), anyio_backend) as redis:
        (accepted,) = await ask(
            SessionMiddleware(doing(lambda session: session.update(a=1)), redis), type="websocket", method="GET"
        )
        cookie = cookie_of(accepted)
        seen: list[Any] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            session = scope["session"]
            session["b"] = 2
            with pytest.raises(RuntimeError, match="no cookie"):
                session.login("ann")
            await session.save()
            seen.append(await session.revalidate())
            session["c"] = 3
            await redis.run(SESSIONS.destroy(session.session))
            seen.append(await session.revalidate())
            await send({"type": "websocket.close"})

        (accepted, closed) = await ask(SessionMiddleware(app, redis), cookie, type="websocket")
        assert (accepted.get("headers"), closed["type"], seen) == (
            [(b"vary", b"Cookie")] if accepted["headers"] else [],
            "websocket.close",
            [True, False],
        )


async def test_the_guard(anyio_backend: str) -> None:
    """401 with a challenge where there is no session, or no user's; websockets are refused; other paths pass."""
    async with driver(Server(), anyio_backend) as redis:

        def app(**options: Any) -> SessionMiddleware:
            return SessionMiddleware(require_session(doing(), **options), redis)

        (start, body) = await ask(app())
        assert (start["status"], headers_of(start)["www-authenticate"]) == (401, "Session")
        assert b"Not logged in" in body["body"]
        assert (await ask(app(paths="/private/*")))[0]["status"] == 200
        assert (await ask(app(paths=["/a", "/private/*"]), path="/private/x"))[0]["status"] == 401
        (start, _) = await ask(SessionMiddleware(doing(lambda session: session.update(a=1)), redis))
        visitor = cookie_of(start)
        assert (await ask(app(), visitor))[0]["status"] == 401
        assert (await ask(app(user=False), visitor))[0]["status"] == 200
        (start, _) = await ask(SessionMiddleware(doing(lambda session: session.login("ann")), redis), visitor)
        user = cookie_of(start)
        assert (await ask(app(), user))[0]["status"] == 200
        assert await ask(app(), type="websocket") == [
            {"type": "websocket.close", "code": 3000, "reason": "not logged in"}
        ]
        refused = await ask(app(), type="websocket", extensions={"websocket.http.response": {}})
        assert [message["type"] for message in refused] == [
            "websocket.http.response.start",
            "websocket.http.response.body",
        ]
        assert refused[0]["status"] == 401
        assert (await ask(app(), user, type="websocket"))[0]["type"] == "websocket.accept"
        assert (await ask(require_session(doing()), type="other"))[0]["type"] == "http.response.start"


async def test_a_cookie_that_another_one_pretends_to_be(anyio_backend: str) -> None:
    """Several headers are one list; a value with a comma is a value."""
    async with driver(Server(), anyio_backend) as redis:
        (start, _) = await ask(SessionMiddleware(doing(lambda session: session.update(a=1)), redis))
        cookie, seen = cookie_of(start), list[Any]()
        app = SessionMiddleware(doing(lambda session: seen.append(dict(session))), redis)
        await ask(app, f"x=1,{COOKIE.full_name}=planted", f"y=2; {cookie}")
        assert seen == [{"a": 1}]
