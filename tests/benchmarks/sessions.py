"""Session middleware against other libraries', and the same three attacks on each.

The same application is called as a server calls it, without sockets between, by a visitor who shows a cookie: ``read``
looks at a field, ``write`` changes one. The attacks: an id that the attacker chose; a request that ends after the
logout; two requests at the same time that change a field each.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from typing import Any
from wsgiref.util import setup_testing_defaults

import redis
import redis.asyncio

import redis_patterns.asgi
import redis_patterns.asyncio
import redis_patterns.sync
import redis_patterns.wsgi
from redis_patterns import Cookie
from tests.benchmarks import peers
from tests.benchmarks.harness import Case, Contender, Work, noted
from tests.benchmarks.lab import Group, Lab
from tests.benchmarks.tables import Table, tabulate

__all__ = ["GROUP"]

TASKS = 32
BARE = "no sessions"
PLAIN = Cookie(secure=False)

Gate = Callable[[], Awaitable[None]]
"""Where a request waits until another one was answered."""


class AsgiClient:
    """A browser of an ASGI application, without a network."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.cookie = ""

    async def ask(self, path: str, cookie: str | None = None) -> bytes:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        shown = self.cookie if cookie is None else cookie
        scope: dict[str, Any] = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "http_version": "1.1",
            "server": ("localhost", 80),
            "client": ("127.0.0.1", 1),
            "headers": [(b"host", b"localhost"), (b"cookie", shown.encode())],
        }
        await self._app(scope, receive, send)
        for name, value in sent[0]["headers"]:
            if name.lower() == b"set-cookie" and cookie is None:
                self.cookie = value.decode().partition(";")[0]
        return b"".join(message.get("body", b"") for message in sent[1:])


class WsgiClient:
    """The same of a WSGI application."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.cookie = ""

    def ask(self, path: str, cookie: str | None = None) -> bytes:
        environ: dict[str, Any] = {"PATH_INFO": path, "HTTP_COOKIE": self.cookie if cookie is None else cookie}
        setup_testing_defaults(environ)
        environ["wsgi.errors"] = io.StringIO()

        def start_response(_: str, headers: list[tuple[str, str]], __: Any = None) -> Any:
            for name, value in headers:
                if name.lower() == "set-cookie" and cookie is None:
                    self.cookie = value.partition(";")[0]

        return b"".join(self._app(environ, start_response))


def starlette(middleware: Any, load: Callable[[Any], Awaitable[None]] | None, gates: dict[str, asyncio.Event]) -> Any:
    """Make the application in Starlette."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def answer(request: Any) -> PlainTextResponse:
        path = request.url.path
        if middleware is None:
            return PlainTextResponse("None")
        if load is not None:
            await load(request)
        session = request.session
        if path.startswith("/slow"):
            seen = session.get("n")
            del seen
            gates["begun"].set()
            await gates["go"].wait()
            session["late"] = 1
        elif path == "/logout":
            session.clear()
        elif path != "/read":
            session[path[1:]] = session.get(path[1:], 0) + 1
        return PlainTextResponse(repr(sorted(session)))

    app = Starlette(routes=[Route("/{any:path}", answer)])
    return app if middleware is None else middleware(app)


def flask(session: Any, gates: dict[str, threading.Event]) -> Any:
    """Make the application in Flask."""
    from flask import Flask

    app = Flask("bench")
    app.secret_key = "bench"  # noqa: S105  for those that sign

    @app.route("/<path:path>")
    def answer(path: str) -> str:
        if session is None:
            return "None"
        if path == "slow":
            session.get("n")
            gates["begun"].set()
            gates["go"].wait(10)
            session["late"] = 1
        elif path == "logout":
            session.clear()
        elif path != "read":
            session[path] = session.get(path, 0) + 1
        return repr(sorted(session))

    return app


AsgiGates = dict[str, asyncio.Event]
WsgiGates = dict[str, threading.Event]


async def asgi_kind(kind: str, url: str, stack: AsyncExitStack) -> tuple[Any, AsgiGates]:
    """Give an application on ASGI, with the gates of its slow requests."""
    gates = {"begun": asyncio.Event(), "go": asyncio.Event()}
    if kind == BARE:
        return starlette(None, None, {}), {}
    if kind == "ours":
        driver = await stack.enter_async_context(redis_patterns.asyncio.Driver.connect(url))

        def ours(app: Any) -> Any:
            return redis_patterns.asgi.SessionMiddleware(app, driver, cookie=PLAIN)

        return starlette(ours, None, gates), gates
    library: Any = peers.optional("starsessions")
    stores: Any = peers.optional("starsessions.stores.redis")
    client = await stack.enter_async_context(redis.asyncio.Redis.from_url(url))

    def theirs(app: Any) -> Any:
        store = stores.RedisStore(connection=client)
        return library.SessionMiddleware(app, store=store, cookie_https_only=False, lifetime=86400, rolling=True)

    return starlette(theirs, library.load_session, gates), gates


def wsgi_kind(kind: str, url: str, stack: ExitStack) -> tuple[Any, WsgiGates]:
    """Give an application on WSGI, with the gates of its slow requests."""
    from flask import session

    gates = {"begun": threading.Event(), "go": threading.Event()}
    if kind == BARE:
        return flask(None, {}), {}
    app = flask(session, gates)
    if kind == "ours":
        from redis_patterns.flask import FlaskSessions

        driver = stack.enter_context(redis_patterns.sync.Driver.connect(url))
        app.session_interface = FlaskSessions()
        return redis_patterns.wsgi.SessionMiddleware(app.wsgi_app, driver, cookie=PLAIN), gates
    client = stack.enter_context(redis.Redis.from_url(url))
    app.config.update(SESSION_TYPE="redis", SESSION_REDIS=client)
    peers.optional("flask_session").Session(app)
    return app, gates


async def asgi_attacks(app: Any, gates: AsgiGates) -> list[str]:
    """Try the attacks; tell which succeed."""
    succeeded: list[str] = []
    victim = AsgiClient(app)
    chosen = "session=attackerchosen0123456789abcdef"
    victim.cookie = chosen
    await victim.ask("/a")
    if b"'a'" in await AsgiClient(app).ask("/read", chosen):
        succeeded.append("chosen id")
    victim = AsgiClient(app)
    await victim.ask("/a")
    cookie = victim.cookie
    slow = asyncio.ensure_future(AsgiClient(app).ask("/slow", cookie))
    await gates["begun"].wait()
    await victim.ask("/logout")
    gates["go"].set()
    await asyncio.gather(slow, return_exceptions=True)
    if await AsgiClient(app).ask("/read", cookie) != b"[]":
        succeeded.append("back after logout")
    for gate in gates.values():
        gate.clear()
    victim = AsgiClient(app)
    await victim.ask("/a")
    slow = asyncio.ensure_future(AsgiClient(app).ask("/slow", victim.cookie))
    await gates["begun"].wait()
    await victim.ask("/b", victim.cookie)
    gates["go"].set()
    await slow
    if b"'b'" not in await AsgiClient(app).ask("/read", victim.cookie):
        succeeded.append("lost update")
    return succeeded


def wsgi_attacks(app: Any, gates: WsgiGates) -> list[str]:
    """Try the attacks; tell which succeed."""
    succeeded: list[str] = []
    victim = WsgiClient(app)
    chosen = "session=attackerchosen0123456789abcdef"
    victim.cookie = chosen
    victim.ask("/a")
    if b"'a'" in WsgiClient(app).ask("/read", chosen):
        succeeded.append("chosen id")
    for what in ("back after logout", "lost update"):
        for gate in gates.values():
            gate.clear()
        victim = WsgiClient(app)
        victim.ask("/a")
        cookie = victim.cookie
        slow = threading.Thread(target=WsgiClient(app).ask, args=("/slow", cookie))
        slow.start()
        gates["begun"].wait(10)
        victim.ask("/logout" if what == "back after logout" else "/b", cookie)
        gates["go"].set()
        slow.join()
        read = WsgiClient(app).ask("/read", cookie)
        if read != b"[]" if what == "back after logout" else b"'b'" not in read:
            succeeded.append(what)
    return succeeded


def _asgi(url: str, path: str, tasks: int) -> Case:
    def contender(kind: str) -> Contender:
        @contextlib.asynccontextmanager
        async def opening() -> AsyncGenerator[Work]:
            async with AsyncExitStack() as stack:
                app, _ = await asgi_kind(kind, url, stack)
                clients = [AsgiClient(app) for _ in range(tasks)]
                for one in clients:
                    await one.ask("/n")

                async def visit(one: AsgiClient, count: int) -> None:
                    for _ in range(count):
                        await one.ask(path)

                async def work(count: int) -> None:
                    await asyncio.gather(*[visit(one, count // tasks) for one in clients])

                yield work

        return Contender(kind, opening, "" if kind in {BARE, "ours"} else peers.absent(kind))

    what = "reads" if path == "/read" else "writes"
    rows = [contender(kind) for kind in (BARE, "ours", "starsessions")]
    return Case(f"starlette-{what}-{tasks}", f"Starlette {what} a session, {tasks} at a time", BARE, rows, tasks=tasks)


def _wsgi(url: str, path: str) -> Case:
    def contender(kind: str) -> Contender:
        @contextlib.asynccontextmanager
        async def opening() -> AsyncGenerator[Work]:
            with ExitStack() as stack:
                app, _ = wsgi_kind(kind, url, stack)
                client = WsgiClient(app)
                client.ask("/n")

                async def work(count: int) -> None:
                    for _ in range(count):
                        client.ask(path)

                yield work

        return Contender(kind, opening, "" if kind in {BARE, "ours"} else peers.absent(kind))

    what = "reads" if path == "/read" else "writes"
    return Case(
        f"flask-{what}", f"Flask {what} a session", BARE, [contender(kind) for kind in (BARE, "ours", "Flask-Session")]
    )


def _attacked(url: str) -> Table:
    """Try the attacks on each; count those that succeed."""
    trouble: dict[str, str] = {}
    succeeded: dict[str, list[str]] = {}

    async def asgi(kind: str) -> list[str]:
        async with AsyncExitStack() as stack:
            return await asgi_attacks(*await asgi_kind(kind, url, stack))

    for name, kind in (("ours, Starlette", "ours"), ("starsessions", "starsessions")):
        if kind != "ours" and (why := peers.absent(kind)):
            trouble[name] = why
            continue
        with noted(name, trouble):
            succeeded[name] = asyncio.run(asgi(kind))
    for name, kind in (("ours, Flask", "ours"), ("Flask-Session", "Flask-Session")):
        if kind != "ours" and (why := peers.absent(kind)):
            trouble[name] = why
            continue
        with noted(name, trouble), ExitStack() as stack:
            succeeded[name] = wsgi_attacks(*wsgi_kind(kind, url, stack))
    return tabulate(
        "attacks",
        "three attacks: how many succeed",
        {name: [float(len(which))] for name, which in succeeded.items()},
        ours="ours, Starlette",
        unit="of 3",
        notes={name: ", ".join(which) or "all refused" for name, which in succeeded.items()},
        absent=trouble,
    )


def _tables(lab: Lab) -> Iterator[Table]:
    url = lab.server.url
    yield from lab.measure([_asgi(url, path, tasks) for path in ("/read", "/n") for tasks in (1, TASKS)])
    yield from lab.measure([_wsgi(url, path) for path in ("/read", "/n")])
    yield _attacked(url)


GROUP = Group(
    "sessions",
    "Sessions",
    "The same application is called as a server calls it, by a visitor who shows a cookie; one request reads or "
    "writes a field of the session. The floor is the application without sessions. Then the same attacks on each: an "
    "id that the attacker chose, a request that ends after the logout, and two requests at the same time that change "
    "a field each.",
    _tables,
)
