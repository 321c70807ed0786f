"""The command line: ``redis-patterns tour`` shows what the patterns do, on a private server or on yours."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import os
import secrets
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import anyio

from redis_patterns import _tour, _worker_process
from redis_patterns.testing import server
from redis_patterns_core.errors import ConfigurationError, PatternsError
from redis_patterns_core.flow import Flow
from redis_patterns_core.locks import Lock
from redis_patterns_core.plan import Plan

if TYPE_CHECKING:  # only one of them is used, and only that one is imported then
    from redis_patterns import sync
    from redis_patterns._async import AsyncDriver

_INSTALL = "pip install 'redis-patterns[embedded]'"
_FAILED, _MISUSED, _INTERRUPTED = 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters:
        argv: the arguments, by default the program's own.

    Returns:
        The exit code: 0 when all went as it should, 1 when something did not, 2 for what cannot be run at all.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        if arguments.version:
            print(f"redis-patterns {_version()}")
            code = 0
        elif arguments.command is None:
            parser.print_help()
            code = _MISUSED
        elif arguments.command == "worker":
            code = _work(arguments)
        else:
            code = _show_tour(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has seen enough. What is still buffered goes nowhere, or Python would complain when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = _FAILED
    except KeyboardInterrupt:
        code = _INTERRUPTED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="redis-patterns", description="Redis patterns as values.")
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    worker = commands.add_parser(
        "worker",
        help="do jobs",
        description="Do jobs until SIGTERM or SIGINT comes; what has begun may finish, or is given back after a while.",
    )
    worker.add_argument(
        "targets",
        metavar="MODULE:NAME",
        nargs="+",
        help="a redis_patterns.Work or BatchWork; of several the most important first",
    )
    worker.add_argument("--url", help="the server, by default that of REDIS_URL, or redis://localhost")
    worker.add_argument("--driver", choices=("sync", "asyncio", "trio"), help="by default what the handler is for")
    worker.add_argument("--concurrency", type=int, default=10, help="how many handlers run at a time, by default 10")
    worker.add_argument(
        "--grace", type=float, default=30, help="seconds that handlers may take when it is told to stop, by default 30"
    )
    worker.add_argument("--processes", type=int, default=1, help="how many, by default 1")
    worker.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    tour = commands.add_parser(
        "tour",
        help="see the patterns work",
        description="Run each pattern, and show the commands it becomes, its result and its round trips. "
        "All keys are the tour's own, and deleted at the end.",
    )
    tour.add_argument("--url", help="the server to use, such as redis://localhost; by default a private one is started")
    tour.add_argument("--driver", choices=("sync", "asyncio", "trio"), default="sync", help="by default sync")
    tour.add_argument("--color", choices=("auto", "always", "never"), default="auto", help="by default auto")
    return parser


def _work(arguments: argparse.Namespace) -> int:
    def say(line: str) -> None:
        print(f"redis-patterns worker {os.getpid()}: {line}", file=sys.stderr, flush=True)

    try:
        works = [_worker_process.found(target) for target in arguments.targets]
        if arguments.processes < 1:
            raise ConfigurationError(f"--processes must be at least 1, not {arguments.processes}")
        if arguments.processes > 1:
            words = [sys.executable, "-m", "redis_patterns", "worker", *arguments.targets, "--parent", str(os.getpid())]
            words += ["--concurrency", str(arguments.concurrency), "--grace", str(arguments.grace)]
            words += ["--url", arguments.url] if arguments.url else []
            words += ["--driver", arguments.driver] if arguments.driver else []
            return _worker_process.supervise(words, arguments.processes, say)
        url = arguments.url or os.environ.get("REDIS_URL") or "redis://localhost"
        _worker_process.serve(
            works,
            url,
            arguments.driver,
            say,
            concurrency=arguments.concurrency,
            grace=arguments.grace,
            parent=arguments.parent,
        )
    except ConfigurationError as error:
        return _fail(str(error), _MISUSED)
    except PatternsError as error:
        return _fail(str(error), _FAILED)
    return 0


def _version() -> str:
    try:
        return importlib.metadata.version("redis-patterns")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _show_tour(arguments: argparse.Namespace) -> int:
    with contextlib.ExitStack() as stack:
        url, on, where = arguments.url, "", "by --url"
        if url is None:
            try:
                url, where = stack.enter_context(server()).url, "embedded"
            except (OSError, RuntimeError) as error:
                reason = str(error).partition("\n")[0]
                fake = _fakeredis()
                if fake is None:
                    return _fail(f"{reason}; to have a server to try things on: {_INSTALL}", _MISUSED)
                if arguments.driver == "trio":
                    return _fail(f"{reason}; trio needs a server: give a --url, or {_INSTALL}", _MISUSED)
                on, where = f"fakeredis {importlib.metadata.version('fakeredis')}", "in memory"
                print(
                    _tour.fit(f"There is no server to start, so this runs in memory, on fakeredis: {reason}."),
                    end="\n\n",
                )
        tour = _tour.Tour(
            _tour.sections(f"tour-{secrets.token_hex(2)}"),
            show=print,
            on=on,
            where=where,
            driver=arguments.driver,
            colored=_colored(arguments.color),
        )
        try:
            _run(tour, arguments.driver, url)
        except PatternsError as error:
            return _fail(str(error), _FAILED)
        finally:
            if tour.left_behind is not None:
                _fail(f"the tour's keys may be left behind: {tour.left_behind}", _FAILED)
        return _FAILED if tour.wrong or tour.left_behind else 0


def _run(tour: _tour.Tour, name: str, url: str | None) -> None:
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


def _walk(tour: _tour.Tour, connect: Callable[[], sync.Driver]) -> None:
    with connect() as driver:

        def hold(lock: Lock, step: Plan[Any] | Flow[Any]) -> Any:
            with driver.hold(lock):
                return driver.run(step)

        driver.run(tour.walk(hold))


async def _walk_async(tour: _tour.Tour, connect: Callable[[], AsyncDriver]) -> None:
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


def _colored(choice: str) -> bool:
    # https://no-color.org: set to anything but an empty text, it means no.
    return choice == "always" or (choice == "auto" and sys.stdout.isatty() and not os.environ.get("NO_COLOR"))


def _fail(message: str, code: int) -> int:
    print(f"redis-patterns: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
