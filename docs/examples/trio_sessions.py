"""Sessions in an ASGI application on trio. Run it: REDIS_URL=redis://localhost python docs/examples/trio_sessions.py"""

import json
import os
from urllib.parse import parse_qsl

import hypercorn.trio
import trio
from hypercorn.config import Config

from redis_patterns import Sessions
from redis_patterns.asgi import SessionMiddleware, require_session
from redis_patterns.trio import Driver

USERS = {"ann": "correct horse"}  # in place of your database, and of a password hash
sessions = Sessions(idle=3600, max_per_user=5)


def application(redis):
    async def app(scope, receive, send):
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])  # which tells the server that there is no lifespan
        status, answer = await respond(
            redis, scope["session"], scope["path"], dict(parse_qsl(scope["query_string"].decode()))
        )
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    return SessionMiddleware(require_session(app, paths="/account/*"), redis, sessions)


async def respond(redis, session, path, query):
    if path.startswith("/cart/"):
        session.setdefault("cart", []).append(path.removeprefix("/cart/"))
        return 200, {"cart": session["cart"]}
    if path == "/login":
        generation = await redis.run(sessions.generation(query["user"]))  # before the password is checked
        if USERS.get(query["user"]) != query["password"]:
            return 403, {}
        session.login(query["user"], generation=generation)
        return 200, {"user": query["user"]}
    if path == "/logout":
        session.destroy()
        return 200, {"user": None}
    if path == "/account/devices":
        found = await redis.run(sessions.devices(session.user))
        return 200, [
            {"handle": device.handle, "about": dict(device.about), "this": device.handle == session.session.handle}
            for device in found
        ]
    if path == "/account/logout-elsewhere":
        return 200, {"ended": await redis.run(sessions.destroy_all(session.user, except_=session.session))}
    return 200, {"user": session.user, "cart": session.get("cart", [])}


async def main():
    config = Config()
    config.bind = [f"127.0.0.1:{os.environ.get('PORT', '8000')}"]
    async with Driver.connect(os.environ.get("REDIS_URL", "redis://localhost")) as redis:
        await hypercorn.trio.serve(application(redis), config)


if __name__ == "__main__":
    trio.run(main)
