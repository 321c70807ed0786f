"""Sessions in FastAPI. Run it: REDIS_URL=redis://localhost uvicorn --app-dir docs/examples fastapi_sessions:app"""

import contextlib
import os

from fastapi import FastAPI, HTTPException, Request

from redis_patterns import LoginRevoked, Sessions, TooManySessions
from redis_patterns.asgi import SessionMiddleware, require_session
from redis_patterns.asyncio import Driver

USERS = {"ann": "correct horse"}  # in place of your database, and of a password hash
sessions = Sessions(idle=3600, max_per_user=5)
drivers = []


@contextlib.asynccontextmanager
async def lifespan(app):
    async with Driver.connect(os.environ.get("REDIS_URL", "redis://localhost")) as redis:
        drivers.append(redis)
        yield


app = FastAPI(lifespan=lifespan)
app.add_middleware(require_session, paths="/account/*")  # inside the next one
app.add_middleware(SessionMiddleware, driver=lambda: drivers[0], sessions=sessions)


@app.get("/")
async def home(request: Request):
    return {"user": request.session.user, "cart": request.session.get("cart", [])}


@app.post("/cart/{item}")
async def add(request: Request, item: str):
    request.session.setdefault("cart", []).append(item)
    return {"cart": request.session["cart"]}


@app.post("/login")
async def login(request: Request, user: str, password: str):
    redis = drivers[0]
    generation = await redis.run(sessions.generation(user))  # before the password is checked
    if USERS.get(user) != password:
        raise HTTPException(403)
    request.session.login(user, generation=generation)
    try:
        await request.session.save()
    except (LoginRevoked, TooManySessions) as error:
        request.session.destroy()
        raise HTTPException(409, str(error)) from None
    return {"user": user}


@app.post("/logout")
async def logout(request: Request):
    request.session.destroy()
    return {"user": None}


@app.get("/account/devices")
async def devices(request: Request):
    return [
        {"handle": device.handle, "about": device.about, "this": device.handle == request.session.session.handle}
        for device in await drivers[0].run(sessions.devices(request.session.user))
    ]


@app.post("/account/logout-elsewhere")
async def logout_elsewhere(request: Request):
    user, session = request.session.user, request.session.session
    return {"ended": await drivers[0].run(sessions.destroy_all(user, except_=session))}
