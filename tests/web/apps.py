"""One application in each framework, limited to fifty requests for each client; run by the tests under real servers.

python apps.py FRAMEWORK PORT REDIS_URL ID
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import AsyncGenerator
from typing import Any

from redis_patterns import ClientAddress, FixedWindow, Request, Rule

FRAMEWORK, PORT, URL, ID = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
address = ClientAddress()
RULES = [
    Rule(None, paths="/ready"),
    # The address by which a client is counted, and the test's own mark, so that tests do not share what they take.
    Rule(FixedWindow("fifty", limit=50, per=1e9), key=lambda request: f"{ID}:{key(request)}"),
]
drivers: list[Any] = []


def key(request: Request) -> str:
    """Give the client's address."""
    return address(request)


@contextlib.asynccontextmanager
async def lifespan(_: object = None) -> AsyncGenerator[None]:
    """Connect for as long as the application runs."""
    if FRAMEWORK.endswith("trio"):
        from redis_patterns.trio import Driver as TrioDriver

        async with TrioDriver.connect(URL) as redis:
            drivers.append(redis)
            yield
        return
    from redis_patterns.asyncio import Driver

    async with Driver.connect(URL) as redis:
        drivers.append(redis)
        yield


def starlette() -> Any:
    """Make the application in Starlette."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    from redis_patterns.asgi import RateLimitMiddleware

    async def hello(_: object) -> PlainTextResponse:
        return PlainTextResponse("hello")

    limited = Middleware(RateLimitMiddleware, driver=lambda: drivers[0], rules=RULES)
    return Starlette(routes=[Route("/{any:path}", hello)], middleware=[limited], lifespan=lifespan)


def fastapi() -> Any:
    """Make the application in FastAPI."""
    from fastapi import FastAPI

    from redis_patterns.asgi import RateLimitMiddleware

    app = FastAPI(lifespan=lifespan)
    app.add_middleware(RateLimitMiddleware, driver=lambda: drivers[0], rules=RULES)

    @app.get("/")
    @app.get("/ready")
    async def hello() -> str:
        return "hello"

    return app


def litestar() -> Any:
    """Make the application in Litestar."""
    from litestar import Litestar, get
    from litestar.middleware import DefineMiddleware

    from redis_patterns.asgi import RateLimitMiddleware

    @get(["/", "/ready"])
    async def hello() -> str:
        return "hello"

    limited = DefineMiddleware(RateLimitMiddleware, driver=lambda: drivers[0], rules=RULES)
    return Litestar(route_handlers=[hello], middleware=[limited], lifespan=[lifespan])


def django_application() -> Any:
    """Make the application in Django, for WSGI."""
    # Without stubs, so by name.
    load = importlib.import_module
    load("django.conf").settings.configure(ROOT_URLCONF=sys.modules["__main__"], ALLOWED_HOSTS=["*"], SECRET_KEY="x")
    load("django").setup()
    urlpatterns.append(load("django.urls").re_path("", lambda _: load("django.http").HttpResponse("hello")))
    return load("django.core.handlers.wsgi").WSGIHandler()


def flask() -> Any:
    """Make the application in Flask."""
    from flask import Flask

    app = Flask("app")

    @app.get("/")
    @app.get("/ready")
    def hello() -> str:
        return "hello"

    return app.wsgi_app


urlpatterns: list[Any] = []


def serve() -> None:
    """Run the application under a server of its kind, until the process is ended."""
    if FRAMEWORK in {"flask", "django"}:
        from socketserver import ThreadingMixIn
        from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

        from redis_patterns.sync import Driver
        from redis_patterns.wsgi import RateLimitMiddleware

        class Quiet(WSGIRequestHandler):
            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        class Threaded(ThreadingMixIn, WSGIServer):
            daemon_threads = True
            request_queue_size = 128

        with Driver.connect(URL) as redis:
            app = RateLimitMiddleware({"flask": flask, "django": django_application}[FRAMEWORK](), redis, RULES)
            with make_server("127.0.0.1", PORT, app, server_class=Threaded, handler_class=Quiet) as server:
                server.serve_forever()
    elif FRAMEWORK == "starlette-trio":
        import hypercorn.trio
        import trio
        from hypercorn.config import Config

        config = Config()
        config.bind = [f"127.0.0.1:{PORT}"]
        trio.run(hypercorn.trio.serve, starlette(), config)
    else:
        import uvicorn

        app = {"starlette": starlette, "fastapi": fastapi, "litestar": litestar}[FRAMEWORK]()
        uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="error", proxy_headers=False)


if __name__ == "__main__":
    serve()
