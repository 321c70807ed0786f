"""Measure session middleware against other libraries', and try the same three attacks on each.

    python tests/benchmarks/sessions.py

The same application is called as a server calls it, without sockets between, by a visitor who shows a cookie: ``read``
looks at a field, ``write`` changes one. Requests a second are medians of rounds that take turns, also as a share of the
application's without sessions. The attacks: an id that the attacker chose; a request that ends after the logout; two
requests at the same time that change a field each. It starts a private server on the loopback interface, and ends by
itself. Peers that are not installed are left out; they come with ``pip install -r tests/benchmarks/requirements.txt``.
"""

from __future__ import annotations

import asyncio
import io
import statistics
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import redis
import redis.asyncio

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import redis_patterns.asgi
import redis_patterns.asyncio
import redis_patterns.sync
import redis_patterns.wsgi
from redis_patterns import Cookie
from redis_patterns.testing import server
from tests.benchmarks.workload import optional

ROUNDS = 9
CALLS = 400
TASKS = 32
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


async def asgi_kinds(url: str, stack: AsyncExitStack) -> dict[str, tuple[Any, dict[str, asyncio.Event]]]:
    """Give the applications on ASGI, with the gates of their slow requests."""
    found: dict[str, tuple[Any, dict[str, asyncio.Event]]] = {"no sessions": (starlette(None, None, {}), {})}
    driver = await stack.enter_async_context(redis_patterns.asyncio.Driver.connect(url))
    gates = {"begun": asyncio.Event(), "go": asyncio.Event()}

    def ours(app: Any) -> Any:
        return redis_patterns.asgi.SessionMiddleware(app, driver, cookie=PLAIN)

    found["ours"] = starlette(ours, None, gates), gates
    starsessions: Any = optional("starsessions")
    if starsessions is not None:
        stores: Any = optional("starsessions.stores.redis")
        client = await stack.enter_async_context(redis.asyncio.Redis.from_url(url))
        gates = {"begun": asyncio.Event(), "go": asyncio.Event()}

        def theirs(app: Any) -> Any:
            store = stores.RedisStore(connection=client)
            return starsessions.SessionMiddleware(
                app, store=store, cookie_https_only=False, lifetime=86400, rolling=True
            )

        found["starsessions"] = starlette(theirs, starsessions.load_session, gates), gates
    return found


def wsgi_kinds(url: str, stack: ExitStack) -> dict[str, tuple[Any, dict[str, threading.Event]]]:
    """Give the applications on WSGI."""
    from flask import session

    from redis_patterns.flask import FlaskSessions

    found: dict[str, tuple[Any, dict[str, threading.Event]]] = {"no sessions": (flask(None, {}), {})}
    driver = stack.enter_context(redis_patterns.sync.Driver.connect(url))
    gates = {"begun": threading.Event(), "go": threading.Event()}
    app = flask(session, gates)
    app.session_interface = FlaskSessions()
    found["ours"] = redis_patterns.wsgi.SessionMiddleware(app.wsgi_app, driver, cookie=PLAIN), gates
    flask_session: Any = optional("flask_session")
    if flask_session is not None:
        gates = {"begun": threading.Event(), "go": threading.Event()}
        app = flask(session, gates)
        app.config.update(SESSION_TYPE="redis", SESSION_REDIS=redis.Redis.from_url(url))
        flask_session.Session(app)
        found["Flask-Session"] = app, gates
    return found


async def asgi_attacks(kind: str, app: Any, gates: dict[str, asyncio.Event], client: redis.Redis) -> list[str]:
    """Try the attacks; tell which succeed."""
    del kind
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
    del client
    return succeeded


def wsgi_attacks(app: Any, gates: dict[str, threading.Event]) -> list[str]:
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


def line(title: str, rates: dict[str, list[float]]) -> None:
    """Print a row for each contender."""
    print(title)
    floor = statistics.median(rates["no sessions"])
    for kind, seen in rates.items():
        middle = statistics.median(seen)
        print(f"  {kind:16} {middle:8,.0f} /s   {middle / floor:5.2f} of the application alone")


async def asgi(url: str) -> None:
    """Measure the ASGI middlewares."""
    async with AsyncExitStack() as stack:
        kinds = await asgi_kinds(url, stack)
        with redis.Redis.from_url(url) as client:
            for kind, (app, gates) in kinds.items():
                if gates:
                    succeeded = await asgi_attacks(kind, app, gates, client)
                    print(f"attacks on {kind:16} {', '.join(succeeded) or 'all refused'}")
        for path in ("/read", "/n"):
            for tasks in (1, TASKS):
                rates: dict[str, list[float]] = {kind: [] for kind in kinds}
                clients: dict[str, list[AsgiClient]] = {}
                for kind, (app, _) in kinds.items():
                    clients[kind] = [AsgiClient(app) for _ in range(tasks)]
                    for one in clients[kind]:
                        await one.ask("/n")

                async def visit(one: AsgiClient, path: str = path, tasks: int = tasks) -> None:
                    for _ in range(CALLS // tasks):
                        await one.ask(path)

                for _ in range(ROUNDS):
                    for kind in kinds:
                        began = time.perf_counter()
                        await asyncio.gather(*[visit(one) for one in clients[kind]])
                        rates[kind].append(CALLS // tasks * tasks / (time.perf_counter() - began))
                line(f"\nStarlette, {'read' if path == '/read' else 'write'}, {tasks} at a time", rates)


def wsgi(url: str) -> None:
    """Measure the WSGI middlewares."""
    with ExitStack() as stack:
        kinds = wsgi_kinds(url, stack)
        print()
        for kind, (app, gates) in kinds.items():
            if gates:
                print(f"attacks on {kind:16} {', '.join(wsgi_attacks(app, gates)) or 'all refused'}")
        for path in ("/read", "/n"):
            rates: dict[str, list[float]] = {kind: [] for kind in kinds}
            clients = {kind: WsgiClient(app) for kind, (app, _) in kinds.items()}
            for one in clients.values():
                one.ask("/n")
            for _ in range(ROUNDS):
                for kind, one in clients.items():
                    began = time.perf_counter()
                    for _ in range(CALLS):
                        one.ask(path)
                    rates[kind].append(CALLS / (time.perf_counter() - began))
            line(f"\nFlask, {'read' if path == '/read' else 'write'}", rates)


def main() -> None:
    """Print all figures."""
    with server() as running:
        url = running.url
        asyncio.run(asgi(url))
        wsgi(url)


if __name__ == "__main__":
    main()
