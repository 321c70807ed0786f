"""Sessions in real frameworks under real servers, over sockets."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from redis_patterns import Sessions
from redis_patterns.sync import Driver
from redis_patterns.testing import Server
from tests.web.processes import running

APPS = Path(__file__).parent / "session_apps.py"
FRAMEWORKS = ["starlette", "starlette-trio", "fastapi", "fastapi-trio", "litestar", "litestar-trio", "flask"]
Browser = Callable[[], httpx2.Client]


@pytest.fixture(params=FRAMEWORKS, scope="module")
def framework(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def namespace() -> str:
    return secrets.token_hex(8)


@pytest.fixture(scope="module")
def app(framework: str, redis_server: Server, namespace: str) -> Iterator[str]:
    """Give the address of a running application."""
    with running(APPS, framework, redis_server.url, namespace) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def browser(app: str) -> Iterator[Browser]:
    """Give what makes a browser with cookies of its own."""
    clients: list[httpx2.Client] = []

    def made() -> httpx2.Client:
        clients.append(httpx2.Client(base_url=app, timeout=30))
        return clients[-1]

    yield made
    for client in clients:
        client.close()


@pytest.fixture
def user() -> str:
    return secrets.token_hex(4)


def me(client: httpx2.Client) -> Any:
    return client.get("/").json()


def test_a_visit(browser: Browser, user: str) -> None:
    """A visitor's fields come back, and go with the login; the cookie changes then; the logout leaves nothing."""
    client = browser()
    first = client.get("/")
    assert (first.json(), "set-cookie" in first.headers) == ({"user": None, "data": {}}, False)
    created = client.post("/set?a=1")
    assert created.headers["set-cookie"].startswith("session=")
    assert created.headers["set-cookie"].endswith("; HttpOnly; SameSite=Lax")
    assert created.headers["cache-control"] == "no-store"
    assert created.headers["vary"].lower() == "cookie"
    saved = client.post("/append?item=x")
    assert "set-cookie" not in saved.headers
    client.post("/append?item=y")
    assert me(client) == {"user": None, "data": {"a": "1", "list": ["x", "y"]}}
    assert client.get("/private").status_code == 401
    before = client.cookies["session"]
    login = client.post(f"/login?user={user}")
    assert login.json()["user"] == user
    assert client.cookies["session"] != before
    assert me(client) == {"user": user, "data": {"a": "1", "list": ["x", "y"], "since": "now"}}
    assert client.get("/private").status_code == 200
    logout = client.post("/logout")
    assert "Max-Age=0" in logout.headers["set-cookie"]
    assert me(client) == {"user": None, "data": {}}
    assert client.get("/private").status_code == 401


def test_an_id_that_an_attacker_chose(browser: Browser, user: str) -> None:
    """Neither an id that is none nor a visitor's of the attacker's opens anything after the victim's login."""
    attacker = browser()
    attacker.post("/set?a=1")
    planted = attacker.cookies["session"]
    for chosen in ("attackerchosen", "a" * 75, planted):
        victim = browser()
        victim.cookies.set("session", chosen, domain="127.0.0.1", path="/")
        victim.post(f"/login?user={user}")
        assert me(victim)["user"] == user
        thief = browser()
        assert thief.get("/", headers={"cookie": f"session={chosen}"}).json()["user"] is None
        victim.post("/logout")


def test_a_request_that_ends_after_the_logout(browser: Browser, app: str, user: str) -> None:
    """It does not bring the session back; it is answered with 401, or has come too late to see it."""
    client = browser()
    client.post(f"/login?user={user}")
    cookie = {"cookie": f"session={client.cookies['session']}"}
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(httpx2.post, f"{app}/slow?seconds=0.4", headers=cookie, timeout=30)
        time.sleep(0.15)
        client.post("/logout")
        response = slow.result()
    # Flask's session is read when it is looked at, which is after the logout here: that is a visitor's then.
    assert response.status_code == 401 or response.json()["user"] is None
    assert httpx2.get(f"{app}/", headers=cookie, timeout=30).json()["user"] is None


def test_requests_at_the_same_time(browser: Browser, app: str, user: str) -> None:
    """Twelve that change a field each lose none of them."""
    client = browser()
    client.post(f"/login?user={user}")
    cookie = {"cookie": f"session={client.cookies['session']}"}
    with ThreadPoolExecutor(6) as threads:
        sent = [threads.submit(httpx2.post, f"{app}/set?f{n}={n}", headers=cookie, timeout=30) for n in range(12)]
        assert [one.result().status_code for one in sent] == [200] * 12
    assert {f"f{n}" for n in range(12)} <= me(client)["data"].keys()


def test_several_devices(browser: Browser, redis_server: Server, namespace: str, user: str) -> None:
    """Each has a session; a fourth is refused; all are ended from elsewhere at once."""
    clients = [browser() for _ in range(4)]
    statuses = [client.post(f"/login?user={user}", headers={"user-agent": "x"}).status_code for client in clients]
    assert statuses == [200, 200, 200, 403]
    sessions = Sessions(namespace=namespace)
    with Driver.connect(redis_server.url) as redis:
        devices = redis.run(sessions.devices(user))
        assert [device.about for device in devices] == [{"agent": "x", "address": "127.0.0.1"}] * 3
        redis.run(sessions.destroy_all(user))
    assert [me(client)["user"] for client in clients] == [None] * 4


def test_a_session_that_cannot_be_saved(browser: Browser, user: str) -> None:
    """The response is a 500, and nothing of it was saved."""
    client = browser()
    client.post(f"/login?user={user}")
    assert client.post("/fail").status_code == 500
    assert me(client) == {"user": user, "data": {"since": "now"}}


def test_without_a_body(browser: Browser, framework: str) -> None:
    """HEAD, and a 304, which depend on the session no less."""
    client = browser()
    client.post("/set?a=1")
    if framework in {"flask", "starlette"}:
        head = client.head("/")
        assert (head.content, head.headers["vary"].lower()) == (b"", "cookie")
    if framework in {"flask", "starlette", "starlette-trio"}:
        assert client.get("/unchanged").status_code == 304


def test_a_streamed_response(browser: Browser, framework: str) -> None:
    """Its session is saved before the first byte."""
    if not framework.startswith("starlette"):
        return
    client = browser()
    with client.stream("GET", "/stream") as response:
        assert "set-cookie" in response.headers
        assert b"".join(response.iter_bytes()) == b"abc"
    assert me(client)["data"] == {"streamed": 1}


def test_the_frameworks_own_ways(browser: Browser, framework: str, user: str) -> None:
    """Litestar's ``clear_session`` ends the session, and ``set_session`` replaces its fields."""
    if not framework.startswith("litestar"):
        return
    client = browser()
    client.post(f"/login?user={user}")
    client.post("/litestar-set")
    assert me(client) == {"user": user, "data": {"set": 1}}
    client.post("/litestar-clear")
    assert me(client) == {"user": None, "data": {}}
