"""``redis-patterns inspect``: one lock, queue, board and so on, by name; once, or again and again."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable

from redis_patterns._commands import OK, colored, fail
from redis_patterns._commands.connection import connected
from redis_patterns._commands.looks import Asked, View, look
from redis_patterns._commands.text import escaped, facts, painted
from redis_patterns_core import validate
from redis_patterns_core.errors import OutcomeUnknown, Unreachable

__all__ = ["run"]

_TO_THE_TOP = "\x1b[H\x1b[J"


def run(arguments: argparse.Namespace, *, sleep: Callable[[float], None] = time.sleep) -> int:
    """Show it; with ``--watch`` until somebody interrupts.

    Raises:
        ConfigurationError: a name, an id or a number that is not allowed.
        PatternsError: the server cannot be reached, or refuses the user.
    """
    pause = None
    if arguments.watch is not None:
        pause = validate.milliseconds("watch", arguments.watch, least=100) / 1000
    asked = Asked(
        arguments.name, arguments.id, arguments.namespace, arguments.rate, arguments.algorithm, arguments.burst
    )
    step = look(arguments.what, asked)
    title = " ".join(filter(None, (arguments.what, arguments.name, arguments.id)))
    with connected(arguments) as driver:
        while True:
            try:
                shown = _written(title, driver.run(step), json_=arguments.json, color=colored(arguments.color))
            except (Unreachable, OutcomeUnknown) as error:
                if pause is None:
                    raise
                fail(str(error), 0)  # whoever watches wants to see it come back
            else:
                # In place on a terminal; elsewhere one after another, as a log.
                in_place = pause is not None and not arguments.json and sys.stdout.isatty()
                print(f"{_TO_THE_TOP}{shown}" if in_place else shown, flush=True)
            if pause is None:
                return OK
            sleep(pause)


def _written(title: str, view: View, *, json_: bool, color: bool) -> str:
    if json_:
        return json.dumps(view)
    return "\n".join([painted(escaped(title), "title" if color else ""), *facts(view)])
