"""``redis-patterns tour``: what the patterns do, on a private server or on yours."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio

from redis_patterns import _tour
from redis_patterns._commands import FAILED, MISUSED, colored, fail
from redis_patterns._commands.text import fit
from redis_patterns._tour_walk import Tour
from redis_patterns.testing import server
from redis_patterns_core.errors import PatternsError
from redis_patterns_core.flow import Flow
from redis_patterns_core.locks import Lock
from redis_patterns_core.plan import Plan

if TYPE_CHECKING:  # only one of them is used, and only that one is imported then
    from redis_patterns import sync
    from redis_patterns._async import AsyncDriver

__all__ = ["run"]

_INSTALL = "pip install 'redis-patterns[embedded]'"


def run(arguments: argparse.Namespace) -> int:
    """Walk through all patterns; gives 1 where one did not do what it should, or keys were left behind."""
    with contextlib.ExitStack() as stack:
        url, on, where = arguments.url, "", "by --url"
        if url is None:
            try:
                url, where = stack.enter_context(server()).url, "embedded"
            except (OSError, RuntimeError) as error:
                reason = str(error).partition("\n")[0]
                fake = _fakeredis()
                if fake is None:
                    return fail(f"{reason}; to have a server to try things on: {_INSTALL}", MISUSED)
                if arguments.driver == "trio":
                    return fail(f"{reason}; trio needs a server: give a --url, or {_INSTALL}", MISUSED)
                on, where = f"fakeredis {importlib.metadata.version('fakeredis')}", "in memory"
                print(
                    fit(f"There is no server to start, so this runs in memory, on fakeredis: {reason}."),
                    end="\n\n",
                )
        tour = Tour(
            _tour.sections(f"tour-{secrets.token_hex(2)}"),
            show=print,
            on=on,
            where=where,
            driver=arguments.driver,
            colored=colored(arguments.color),
        )
        try:
            _drive(tour, arguments.driver, url)
        except PatternsError as error:
            return fail(str(error), FAILED)
        finally:
            if tour.left_behind is not None:
                fail(f"the tour's keys may be left behind: {tour.left_behind}", FAILED)
        return FAILED if tour.wrong or tour.left_behind else 0


def _drive(tour: Tour, name: str, url: str | None) -> None:
    """Walk on a driver: to a URL, or without one in memory."""
    module = importlib.import_module(f"redis_patterns.{name}")
    options: dict[str, Any] = {"instrument": tour, "on_background_error": tour.not_cleaned_up}

    def connect() -> Any:
        if url is not None:
            return module.Driver.connect(url, **options)
        fakeredis = importlib.import_module("fakeredis")
        return module.Driver(fakeredis.FakeRedis() if name == "sync" else fakeredis.FakeAsyncRedis(), **options)

    if name == "sync":
        _walk(tour, connect)
    else:
        anyio.run(_walk_async, tour, connect, backend=name)


def _walk(tour: Tour, connect: Callable[[], sync.Driver]) -> None:
    with connect() as driver:

        def hold(lock: Lock, step: Plan[Any] | Flow[Any]) -> Any:
            with driver.hold(lock):
                return driver.run(step)

        driver.run(tour.walk(hold))


async def _walk_async(tour: Tour, connect: Callable[[], AsyncDriver]) -> None:
    async with connect() as driver:

        async def hold(lock: Lock, step: Plan[Any] | Flow[Any]) -> Any:
            async with driver.hold(lock):
                return await driver.run(step)

        await driver.run(tour.walk(hold))


def _fakeredis() -> object | None:
    """Give the in-memory server if it is there and knows Lua."""
    try:
        importlib.import_module("lupa")
        return importlib.import_module("fakeredis")
    except ImportError:
        return None
