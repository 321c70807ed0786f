"""The command line: reads the arguments, and hands them to the module of the command in `redis_patterns._commands`."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import os
import sys
from collections.abc import Sequence
from typing import Any

from redis_patterns._commands import FAILED, INTERRUPTED, MISUSED, OK, fail
from redis_patterns._commands.looks import ALGORITHMS, LOOKS
from redis_patterns_core.errors import ConfigurationError, PatternsError

_EXIT_CODES = "Exit codes: 0 all is as it should be, 1 something is not, 2 this cannot be run, 130 interrupted."


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
            code = OK
        elif arguments.command is None:
            parser.print_help()
            code = MISUSED
        else:
            # Only now, as what a command needs takes time to import.
            module = importlib.import_module(f"redis_patterns._commands.{arguments.command}")
            code = module.run(arguments)
        sys.stdout.flush()
    except ConfigurationError as error:
        code = fail(str(error), MISUSED)
    except PatternsError as error:
        code = fail(str(error), FAILED)
    except BrokenPipeError:
        # Whoever read has seen enough. What is still buffered goes nowhere, or Python would complain when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    except KeyboardInterrupt:
        code = INTERRUPTED
    return code


class _CommandParser(argparse.ArgumentParser):
    """Takes options before, between and behind the other words of a command."""

    _intermixing = False

    # Overloaded in argparse's types, where the two parameters are those of one function.
    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        # The parser of all commands calls this, and so does what takes them intermixed.
        if self._intermixing:
            return super().parse_known_args(args, namespace)
        self._intermixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._intermixing = False


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="redis-patterns", description="Redis patterns as values.", epilog=_EXIT_CODES)
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_CommandParser)
    server, naming, asking = _server(), _naming(), _asking()

    tour = commands.add_parser(
        "tour",
        help="see the patterns work",
        description="Run each pattern, and show the commands it becomes, its result and its round trips. "
        "All keys are the tour's own, and deleted at the end.",
    )
    tour.add_argument("--url", help="the server to use, such as redis://localhost; by default a private one is started")
    tour.add_argument("--driver", choices=("sync", "asyncio", "trio"), default="sync", help="by default sync")
    _ask_color(tour)

    worker = commands.add_parser(
        "worker",
        parents=[server],
        help="do jobs",
        description="Do jobs until SIGTERM or SIGINT comes; what has begun may finish, or is given back after a while.",
    )
    _ask_worker(worker)

    commands.add_parser(
        "ping",
        parents=[server, _showing()],
        help="see whether the server has what is needed",
        description="Show what server is there, how far it is, and whether it has what the library needs.",
    )

    keys = commands.add_parser(
        "keys",
        parents=[server, naming, _showing()],
        help="see what the patterns hold, and what is wrong there",
        description="Look at all keys, in small steps: what each pattern holds, keys without the TTL that they must "
        "have, of the wrong type, too large, or orphans. Changes nothing.",
    )
    keys.add_argument("--match", metavar="GLOB", default="*", help="only keys that match, behind the namespace")
    keys.add_argument("--limit", type=int, default=100_000, help="of about so many keys, by default 100000; 0 for all")
    keys.add_argument(
        "--oversize", metavar="BYTES", type=int, default=10 * 1024 * 1024, help="from where, by default 10 MiB; 0 never"
    )
    keys.add_argument("--list", action="store_true", help="show the keys with which something is wrong")

    inspect = commands.add_parser(
        "inspect",
        parents=[server, naming, _showing()],
        help="see one lock, queue, board and so on",
        description="Show who holds a lock, how many jobs there are, and so on. Never a stored value, or a token.",
    )
    inspect.add_argument("what", metavar="WHAT", choices=tuple(LOOKS), help=", ".join(LOOKS))
    inspect.add_argument("name", metavar="NAME", help="the pattern's name")
    ids = ", ".join(f"{what}: {row.id}" for what, row in LOOKS.items() if row.id)
    inspect.add_argument("id", metavar="ID", nargs="?", default="", help=ids)
    inspect.add_argument("--watch", metavar="SECONDS", type=float, help="show it again and again, until Ctrl-C")
    inspect.add_argument("--rate", default="", help="of a limit, such as 100/minute")
    inspect.add_argument("--algorithm", choices=ALGORITHMS, default="bucket", help="of a limit, by default bucket")
    inspect.add_argument("--burst", type=int, help="of a bucket, by default the rate's number")

    jobs = commands.add_parser(
        "jobs",
        parents=[server, naming, asking],
        help="pause, resume, redrive, purge or cancel jobs",
        description="NAME pause; NAME resume; NAME redrive [ID ...]; NAME purge ready|delayed|dead; NAME cancel ID ...",
    )
    jobs.add_argument("name", metavar="NAME", help="the queue's name")
    jobs.add_argument(
        "verb", metavar="VERB", choices=("pause", "resume", "redrive", "purge", "cancel"), help="see above"
    )
    jobs.add_argument("words", metavar="STATE | ID", nargs="*", help="what of, see above")
    jobs.add_argument(
        "--count", type=int, default=100, help="redrive at most so many where no id is given, by default 100"
    )

    clear = commands.add_parser(
        "clear",
        parents=[server, naming, asking],
        help="empty a queue, or end all sessions of a user",
        description="Throw away the items of a queue, or its failed ones, or end all sessions of a user.",
    )
    clear.add_argument(
        "what",
        metavar="WHAT",
        choices=("queue", "pqueue", "delayed", "sessions"),
        help="queue, pqueue, delayed or sessions",
    )
    clear.add_argument("name", metavar="NAME", help="the pattern's name")
    clear.add_argument("user", metavar="USER", nargs="?", default="", help="whose sessions")
    clear.add_argument("--failed", action="store_true", help="the failed items, and only them")
    return parser


def _server() -> _CommandParser:
    options = _CommandParser(add_help=False)
    options.add_argument("--url", help="the server, by default that of REDIS_URL, or redis://localhost")
    return options


def _naming() -> _CommandParser:
    options = _CommandParser(add_help=False)
    options.add_argument("--namespace", default="", help="the prefix of the keys that the pattern was given")
    return options


def _asking() -> _CommandParser:
    options = _CommandParser(add_help=False)
    options.add_argument("--yes", action="store_true", help="do what cannot be undone without asking")
    return options


def _showing() -> _CommandParser:
    options = _CommandParser(add_help=False)
    options.add_argument("--json", action="store_true", help="for programs: one JSON object")
    _ask_color(options)
    return options


def _ask_color(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--color", choices=("auto", "always", "never"), default="auto", help="by default auto")


def _ask_worker(worker: argparse.ArgumentParser) -> None:
    worker.add_argument(
        "targets",
        metavar="MODULE:NAME",
        nargs="+",
        help="a redis_patterns.Work or BatchWork; of several the most important first",
    )
    worker.add_argument("--driver", choices=("sync", "asyncio", "trio"), help="by default what the handler is for")
    worker.add_argument("--concurrency", type=int, default=10, help="how many handlers run at a time, by default 10")
    worker.add_argument(
        "--grace", type=float, default=30, help="seconds that handlers may take when it is told to stop, by default 30"
    )
    worker.add_argument("--processes", type=int, default=1, help="how many, by default 1")
    worker.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    worker.add_argument("--cluster", action="store_true", help=argparse.SUPPRESS)


def _version() -> str:
    try:
        return importlib.metadata.version("redis-patterns")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main())
