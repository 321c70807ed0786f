"""Sessions in a real browser: headless Chromium, with the cookie as it is by default."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from redis_patterns import Sessions
from redis_patterns.sync import Driver
from redis_patterns.testing import Server
from tests.drivers.plans import sets
from tests.web.processes import running

APPS = Path(__file__).parent / "session_apps.py"


def chromium() -> tuple[str, str]:
    """Find Chromium and its driver; nox installs Debian's where it may."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        assert not os.environ.get("CI"), "there must be chromium and chromedriver where CI runs"
        pytest.skip("needs chromium and chromedriver on the PATH")
    return browser, driver


@pytest.fixture
def browser() -> Iterator[webdriver.Chrome]:
    program, driver = chromium()
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    with webdriver.Chrome(options=options, service=Service(driver)) as chrome:
        chrome.set_script_timeout(30)
        yield chrome


def post(browser: webdriver.Chrome, path: str) -> Any:
    """Send a form, as a page's script does."""
    script = (
        "fetch(arguments[0], {method: 'POST'}).then(r => r.json()).then(arguments[1], e => arguments[1](String(e)))"
    )
    return browser.execute_async_script(script, path)


def me(browser: webdriver.Chrome) -> Any:
    """Load the page anew, and tell who it says one is."""
    browser.refresh()
    return browser.execute_script("return JSON.parse(document.body.innerText)")["user"]


def test_tabs_logouts_and_the_end(browser: webdriver.Chrome, redis_server: Server) -> None:
    """A login in one tab is one in the other; a logout too; ended elsewhere or by its time, it is over in both."""
    namespace = secrets.token_hex(8)
    sessions = Sessions(namespace=namespace)
    with running(APPS, "starlette", redis_server.url, namespace, "secure") as port:
        browser.get(f"http://localhost:{port}/")
        one = browser.current_window_handle
        assert (me(browser), browser.get_cookies()) == (None, [])
        assert post(browser, "/login?user=ann")["user"] == "ann"
        (cookie,) = browser.get_cookies()
        assert (cookie["name"], cookie["httpOnly"], cookie["secure"], cookie["sameSite"], cookie["path"]) == (
            "__Host-session",
            True,
            True,
            "Lax",
            "/",
        )
        assert browser.execute_script("return document.cookie") == ""
        browser.switch_to.new_window("tab")
        browser.get(f"http://localhost:{port}/")
        other = browser.current_window_handle
        assert me(browser) == "ann"

        post(browser, "/logout")
        assert browser.get_cookies() == []
        browser.switch_to.window(one)
        assert me(browser) is None

        with Driver.connect(redis_server.url) as redis:
            post(browser, "/login?user=ann")
            assert redis.run(sessions.destroy_all("ann")) == 1
            for tab in (other, one):
                browser.switch_to.window(tab)
                assert me(browser) is None
            assert browser.get_cookies() == []

            post(browser, "/login?user=ann")
            (cookie,) = browser.get_cookies()
            # Its time is over at once, instead of in a minute.
            redis.run(sets("PEXPIRE", sessions._key(cookie["value"][:16], cookie["value"][16:32]), 1))
            for tab in (other, one):
                browser.switch_to.window(tab)
                assert me(browser) is None

        # A slow answer to a request from before the login leaves the new cookie alone.
        post(browser, "/set?a=1")
        (visitor,) = browser.get_cookies()
        script = "window.slow = fetch('/slow?seconds=0.5', {method: 'POST'}); window.slow.then(() => {}); return 1"
        browser.execute_script(script)
        post(browser, "/login?user=ann")
        (user,) = browser.get_cookies()
        assert user["value"] != visitor["value"]
        assert browser.execute_async_script("window.slow.then(r => arguments[0](r.status))") == 401
        assert me(browser) == "ann"
