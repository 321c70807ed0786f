"""Sessions in Flask. Run it: REDIS_URL=redis://localhost flask --app docs/examples/flask_sessions.py run"""

import os

from flask import Flask, abort, request, session

from redis_patterns import Sessions
from redis_patterns.flask import FlaskSessions
from redis_patterns.sync import Driver
from redis_patterns.wsgi import SessionMiddleware, require_session

USERS = {"ann": "correct horse"}  # in place of your database, and of a password hash
sessions = Sessions(idle=3600, max_per_user=5)
redis = Driver.connect(os.environ.get("REDIS_URL", "redis://localhost"))

app = Flask(__name__)
app.session_interface = FlaskSessions()
app.wsgi_app = SessionMiddleware(require_session(app.wsgi_app, paths="/account/*"), redis, sessions)


@app.get("/")
def home():
    return {"user": session.user, "cart": session.get("cart", [])}


@app.post("/cart/<item>")
def add(item):
    session.setdefault("cart", []).append(item)
    return {"cart": session["cart"]}


@app.post("/login")
def login():
    user, password = request.args["user"], request.args["password"]
    generation = redis.run(sessions.generation(user))  # before the password is checked
    if USERS.get(user) != password:
        abort(403)
    session.login(user, generation=generation)
    return {"user": user}


@app.post("/logout")
def logout():
    session.destroy()
    return {"user": None}


@app.get("/account/devices")
def devices():
    return [
        {"handle": device.handle, "about": device.about, "this": device.handle == session.session.handle}
        for device in redis.run(sessions.devices(session.user))
    ]


@app.post("/account/logout-elsewhere")
def logout_elsewhere():
    return {"ended": redis.run(sessions.destroy_all(session.user, except_=session.session))}
