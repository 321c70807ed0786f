"""``redis-patterns clear``: throws away what a queue has, or ends all sessions of a user."""

from __future__ import annotations

import argparse

from redis_patterns._commands import FAILED, OK, confirmed
from redis_patterns._commands.connection import connected
from redis_patterns._commands.text import escaped
from redis_patterns_core.codec import Bytes
from redis_patterns_core.errors import ConfigurationError
from redis_patterns_core.ordered_queues import DelayedQueue, PriorityQueue
from redis_patterns_core.queues import FifoQueue, Queue
from redis_patterns_core.sessions import Sessions

__all__ = ["run"]

_MOST_COUNTED = 1000


def run(arguments: argparse.Namespace) -> int:
    """Show what there is, ask, and throw it away; gives 1 where it was declined.

    Raises:
        ConfigurationError: words that are not allowed, or nobody to be asked.
        PatternsError: the server cannot be reached, or refuses the user.
    """
    if arguments.what == "sessions":
        return _end_sessions(arguments)
    if arguments.user:
        raise ConfigurationError("USER must be given for sessions only")
    kinds: dict[str, type[FifoQueue[bytes] | PriorityQueue[bytes] | DelayedQueue[bytes]]]
    kinds = {"queue": FifoQueue, "pqueue": PriorityQueue, "delayed": DelayedQueue}
    queue: Queue[bytes] = kinds[arguments.what](arguments.name, codec=Bytes(), namespace=arguments.namespace)
    with connected(arguments) as driver:
        if arguments.failed:
            count = len(driver.run(queue.failed(_MOST_COUNTED)))
            many = f"{count} or more" if count == _MOST_COUNTED else str(count)
            print(f"failed items of {escaped(queue.name)}: {many}")
        else:
            print(f"items of {escaped(queue.name)}: {driver.run(queue.length())}")
        if not confirmed(arguments):
            return FAILED
        driver.run(queue.clear_failed() if arguments.failed else queue.clear())
    print("cleared")
    return OK


def _end_sessions(arguments: argparse.Namespace) -> int:
    if not arguments.user or arguments.failed:
        raise ConfigurationError("USER must be given for sessions, and --failed must not")
    sessions = Sessions(arguments.name, namespace=arguments.namespace)
    with connected(arguments) as driver:
        print(f"sessions of {escaped(arguments.user)}: {driver.run(sessions.count(arguments.user))}")
        if not confirmed(arguments):
            return FAILED
        print(f"ended: {driver.run(sessions.destroy_all(arguments.user))}")
    return OK
