"""The command line: ``redis-patterns``, or ``python -m redis_patterns``."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import inspect
import os
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from redis_patterns._tour import Counter, Redis, Tour
from redis_patterns.testing import ServerNotFound, server
from redis_patterns_core.errors import PatternsError
from redis_patterns_core.plan import Command, Effect, Plan

_FAILED = 1
_UNUSABLE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters:
        arguments: what stands behind the program's name; the process's own where none are given.

    Returns:
        The exit code: 0 when all went well, 1 when something did not do what it should, 2 for a wrong call.
    """
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if chosen.command is None:
        parser.print_help()
        return _UNUSABLE
    try:
        code = _tour(chosen)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="redis-patterns", description="Redis patterns: see them at work.")
    parser.add_argument("--version", action="version", version=_own_version())
    commands = parser.add_subparsers(dest="command", metavar="command")
    tour = commands.add_parser("tour", help="run each pattern on a server and show what it does")
    tour.add_argument("--url", help="a Redis server; by default a private one is started")
    tour.add_argument("--driver", choices=["sync", "asyncio", "trio"], default="sync", help="what runs the patterns")
    tour.add_argument("--color", choices=["auto", "always", "never"], default="auto", help="whether to use colours")
    return parser


def _own_version() -> str:
    try:
        return importlib.metadata.version("redis-patterns")
    except importlib.metadata.PackageNotFoundError:
        return "unknown: not installed"  # run from its source


def _tour(chosen: argparse.Namespace) -> int:
    try:
        if chosen.url is not None:
            return _show(chosen, chosen.url, "on the server that was named")
        with server() as private:
            return _show(chosen, private.url, "on a private server")
    except ServerNotFound as missing:
        return _show_in_memory(chosen, missing)
    except PatternsError as error:
        print(f"redis-patterns: {error}", file=sys.stderr)
        return _FAILED


def _show_in_memory(chosen: argparse.Namespace, missing: ServerNotFound) -> int:
    print(f"No Redis server: {missing}.", file=sys.stderr)
    try:
        import fakeredis  # noqa: PLC0415  of the extra "embedded", which may not be there
    except ImportError:
        print("Install the extra: pip install 'redis-patterns[embedded]'", file=sys.stderr)
        return _UNUSABLE
    if chosen.driver == "trio":
        print("The server in memory cannot be reached by the trio driver: try --driver sync.", file=sys.stderr)
        return _UNUSABLE
    print("Going on with a server in memory (fakeredis), which is no real Redis.", file=sys.stderr)
    client = fakeredis.FakeRedis() if chosen.driver == "sync" else fakeredis.FakeAsyncRedis()
    return _show(chosen, client, "in memory")


def _show(chosen: argparse.Namespace, place: Any, where: str) -> int:
    counter = Counter()
    color = chosen.color == "always" or (
        chosen.color == "auto" and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    )

    async def show() -> int:
        async with _driver(chosen.driver, place, counter) as redis:
            version = await _version(redis)
            print(f"redis-patterns: {version}, {where}, by the {chosen.driver} driver")
            counter.round_trips = 0
            tour = Tour(redis, counter, sys.stdout, color, chosen.driver != "sync")
            await tour.run()
            what = f"{tour.steps} steps, {counter.round_trips} round trips, {version}"
            print(f"\n{what}: " + (f"{tour.failures} NOT AS IT SHOULD BE" if tour.failures else "all as it should be"))
            return _FAILED if tour.failures else 0

    return _RUNNERS[chosen.driver](show)


async def _version(redis: Redis) -> str:
    def parse(replies: Sequence[object]) -> str:
        text = replies[0].decode() if isinstance(replies[0], bytes) else ""
        facts = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        name = "Valkey" if facts.get("server_name") == "valkey" else "Redis"
        return f"{name} {facts.get('valkey_version') or facts.get('redis_version') or 'of unknown version'}"

    try:
        return str(await redis.run(Plan("info", (Command(("INFO", "server")),), parse, Effect.READS)))
    except PatternsError as error:
        if isinstance(error, ConnectionError):
            raise
        return "Redis of unknown version"  # fakeredis, and users that may not ask


# Drivers and how their code is run; imported when they are chosen


class _Sync:
    """The sync driver in the shape of the others; nothing here ever waits for an event loop."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    async def run(self, step: Any) -> Any:
        return self._driver.run(step)

    @contextlib.asynccontextmanager
    async def hold(self, lock: Any) -> AsyncGenerator[Any, None]:
        with self._driver.hold(lock) as held:
            yield held


@contextlib.asynccontextmanager
async def _driver(name: str, place: Any, counter: Counter) -> AsyncGenerator[Redis, None]:
    module: Any = importlib.import_module(f"redis_patterns.{name}")
    if isinstance(place, str):
        driver = module.Driver.connect(place, instrument=counter)
    else:
        driver = module.Driver(place, instrument=counter)
    async with contextlib.AsyncExitStack() as stack:
        if name == "sync":
            yield _Sync(stack.enter_context(driver))
        else:
            managed: AbstractAsyncContextManager[Redis] = driver
            yield await stack.enter_async_context(managed)
        if not isinstance(place, str):
            closed = place.aclose() if hasattr(place, "aclose") else place.close()
            if inspect.isawaitable(closed):
                await closed


def _run_sync(show: Callable[[], Coroutine[Any, Any, int]]) -> int:
    steps = show()
    try:
        steps.send(None)
    except StopIteration as stop:
        return int(stop.value)
    raise RuntimeError("the sync driver waited for an event loop")


def _run_asyncio(show: Callable[[], Coroutine[Any, Any, int]]) -> int:
    import asyncio  # noqa: PLC0415  only for who chose it

    return asyncio.run(show())


def _run_trio(show: Callable[[], Coroutine[Any, Any, int]]) -> int:
    import trio  # noqa: PLC0415  only for who chose it

    return trio.run(show)


_RUNNERS = {"sync": _run_sync, "asyncio": _run_asyncio, "trio": _run_trio}


if __name__ == "__main__":
    sys.exit(main())
