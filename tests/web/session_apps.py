"""Applications with sessions, one in each framework, run as a process: NAME PORT REDIS_URL NAMESPACE [secure].

All of them do the same, see `act`.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from redis_patterns import Cookie, Sessions

NAME, PORT, URL, NAMESPACE = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
SESSIONS = Sessions(namespace=NAMESPACE, max_per_user=3, when_full="refuse", idle=60)
COOKIE = Cookie(secure="secure" in sys.argv[5:])  # browsers send one to localhost over plain HTTP, others do not
drivers: list[Any] = []


def act(session: Any, path: str, query: dict[str, str]) -> dict[str, Any]:
    """Do what a request's path says, and tell who it is."""
    if path == "/login":
        session.login(query["user"])
        session["since"] = query.get("since", "now")
    elif path == "/logout":
        session.clear()
    elif path == "/set":
        session.update(query)
    elif path == "/append":
        session.setdefault("list", []).append(query["item"])
    elif path == "/fail":
        session["lost"] = object()
    return {"user": session.user, "data": {name: held for name, held in session.items() if path != "/fail"}}


@contextlib.asynccontextmanager
async def lifespan(_: object = None) -> AsyncGenerator[None]:
    """Connect for as long as the application runs."""
    if NAME.endswith("trio"):
        from redis_patterns.trio import Driver as TrioDriver

        async with TrioDriver.connect(URL) as redis:
            drivers.append(redis)
            yield
        return
    from redis_patterns.asyncio import Driver

    async with Driver.connect(URL) as redis:
        drivers.append(redis)
        yield


OPTIONS: dict[str, Any] = {"driver": lambda: drivers[0], "sessions": SESSIONS, "cookie": COOKIE}


def guarded(app: Any) -> Any:
    """Put the guard around an application."""
    from redis_patterns.asgi import require_session

    return require_session(app, paths="/private")


def starlette() -> Any:
    """Make the application in Starlette."""
    import anyio
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response, StreamingResponse
    from starlette.routing import Route, WebSocketRoute
    from starlette.websockets import WebSocket

    from redis_patterns.asgi import SessionMiddleware

    async def answer(request: Request) -> Response:
        if request.url.path == "/stream":
            request.session["streamed"] = 1

            async def chunks() -> AsyncIterator[str]:
                for chunk in "abc":
                    await anyio.lowlevel.checkpoint()
                    yield chunk

            return StreamingResponse(chunks())
        if request.url.path == "/unchanged":
            return Response(status_code=304)
        if request.url.path == "/slow":
            await anyio.sleep(float(request.query_params["seconds"]))
            request.session["late"] = 1
        return JSONResponse(act(request.session, request.url.path, dict(request.query_params)))

    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        websocket.session["socket"] = 1
        await websocket.send_json({"user": websocket.scope["session"].user})
        await websocket.close()

    return Starlette(
        routes=[WebSocketRoute("/socket", socket), Route("/{any:path}", answer, methods=["GET", "POST"])],
        middleware=[Middleware(SessionMiddleware, **OPTIONS), Middleware(guarded)],
        lifespan=lifespan,
    )


def fastapi() -> Any:
    """Make the application in FastAPI."""
    import anyio
    from fastapi import FastAPI, Request

    from redis_patterns.asgi import SessionMiddleware

    app = FastAPI(lifespan=lifespan)
    app.add_middleware(guarded)
    app.add_middleware(SessionMiddleware, **OPTIONS)

    async def answer(request: Any) -> Any:
        if request.url.path == "/slow":
            await anyio.sleep(float(request.query_params["seconds"]))
            request.session["late"] = 1
        return act(request.session, request.url.path, dict(request.query_params))

    answer.__annotations__["request"] = Request  # known here only, where FastAPI does not look for it
    app.api_route("/{any:path}", methods=["GET", "POST"])(answer)
    return app


def litestar() -> Any:
    """Make the application in Litestar."""
    import anyio
    from litestar import Litestar, Request, route
    from litestar.enums import HttpMethod
    from litestar.middleware import DefineMiddleware

    from redis_patterns.asgi import SessionMiddleware

    @route(["/", "/{any:path}"], http_method=[HttpMethod.GET, HttpMethod.POST], status_code=200)
    async def answer(request: Request[Any, Any, Any]) -> Any:
        path, query = request.url.path, dict(request.query_params)
        if path == "/slow":
            await anyio.sleep(float(query["seconds"]))
            request.session["late"] = 1
        if path == "/litestar-clear":
            request.clear_session()
            return {"user": None, "data": {}}
        if path == "/litestar-set":
            request.set_session({"set": 1})
            return {"user": None, "data": {}}
        return act(request.session, path, query)

    return Litestar(
        route_handlers=[answer],
        middleware=[DefineMiddleware(SessionMiddleware, **OPTIONS), guarded],
        lifespan=[lifespan],
    )


def flask() -> Any:
    """Make the application in Flask."""
    import time

    from flask import Flask, jsonify, request, session

    from redis_patterns.flask import FlaskSessions

    app = Flask("app")
    app.session_interface = FlaskSessions()

    @app.route("/", methods=["GET", "POST"], defaults={"path": ""})
    @app.route("/<path:path>", methods=["GET", "POST"])
    def answer(path: str) -> Any:
        if path == "unchanged":
            return "", 304
        if path == "slow":
            time.sleep(float(request.args["seconds"]))
            session["late"] = 1
        return jsonify(act(session, f"/{path}", dict(request.args)))

    return app


def serve() -> None:
    """Run the application under a server of its kind, until the process is ended."""
    if NAME == "flask":
        from werkzeug.serving import WSGIRequestHandler, make_server

        from redis_patterns.sync import Driver
        from redis_patterns.wsgi import SessionMiddleware, require_session

        class Quiet(WSGIRequestHandler):
            def log(self, type: str, message: str, *args: Any) -> None:
                """Say nothing."""

        with Driver.connect(URL) as redis:
            inside = require_session(flask(), paths="/private")
            app = SessionMiddleware(inside, redis, SESSIONS, cookie=COOKIE)
            make_server("127.0.0.1", PORT, app, threaded=True, request_handler=Quiet).serve_forever()
    elif NAME.endswith("trio"):
        import hypercorn.trio
        import trio
        from hypercorn.config import Config

        config = Config()
        config.bind = [f"127.0.0.1:{PORT}"]
        config.errorlog = None
        app = {"starlette-trio": starlette, "fastapi-trio": fastapi, "litestar-trio": litestar}[NAME]()
        trio.run(hypercorn.trio.serve, app, config)
    else:
        import uvicorn

        app = {"starlette": starlette, "fastapi": fastapi, "litestar": litestar}[NAME]()
        uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="critical", proxy_headers=False)


if __name__ == "__main__":
    serve()
