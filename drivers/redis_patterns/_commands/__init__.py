"""What the command line does: a module for each command, imported when that command is given.

Each has ``run``, which takes the arguments and gives the exit code. What is shared, exit codes among it, is here and
needs the standard library alone.
"""

from __future__ import annotations

import argparse
import os
import sys

from redis_patterns_core.errors import ConfigurationError

__all__ = ["FAILED", "INTERRUPTED", "MISUSED", "OK", "colored", "confirmed", "fail"]

OK, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130


def fail(message: str, code: int) -> int:
    """Say in one line what went wrong, and give the exit code back."""
    print(f"redis-patterns: {' '.join(message.split())}", file=sys.stderr)
    return code


def colored(choice: str) -> bool:
    """Tell whether to colour, of ``auto``, ``always`` and ``never``."""
    # https://no-color.org: set to anything but an empty text, it means no.
    return choice == "always" or (choice == "auto" and sys.stdout.isatty() and not os.environ.get("NO_COLOR"))


def confirmed(arguments: argparse.Namespace) -> bool:
    """Ask whether to do what cannot be undone, unless ``--yes`` has said so.

    Raises:
        ConfigurationError: there is nobody to be asked.
    """
    if arguments.yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigurationError("nothing was done: --yes must be given where nobody can be asked")
    print("This cannot be undone. Type yes to do it: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() == "yes":
        return True
    print("redis-patterns: nothing was done", file=sys.stderr)
    return False
