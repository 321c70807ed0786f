"""Keys by a glob pattern, from every primary of a cluster, in small steps that block nobody.

Best effort, as SCAN is: a key that is there from the beginning to the end is found; one that comes or goes meanwhile,
or moves to another node of the cluster, may be missed.

Source: https://redis.io/docs/latest/commands/scan/
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from redis_patterns_core import replies
from redis_patterns_core.errors import CommandFailed
from redis_patterns_core.flow import Steps, flow
from redis_patterns_core.plan import Command, Effect, Plan
from redis_patterns_core.replies import Reply

__all__ = ["scan", "unlink_matching"]

_AT_ONCE = 500
"""Keys that a step looks at, and gives at most, about."""


@flow
def unlink_matching(pattern: str) -> Steps[int]:
    """Remove all keys that match.

    Parameters:
        pattern: a glob pattern, as SCAN takes it.

    Returns:
        A flow that tells how many were removed; a round trip for every 500 keys that Redis has, and one for each step
        that finds some.
    """
    count = 0

    def remove(found: Sequence[bytes]) -> Steps[bool]:
        nonlocal count
        # One by one, as they are in different slots.
        commands = tuple([Command(("UNLINK", key)) for key in found])
        count += yield from Plan("unlink", commands, replies.sum_of, Effect.IDEMPOTENT)
        return True

    yield from scan(pattern, remove)
    return count


def scan(pattern: str, visit: Callable[[Sequence[bytes]], Steps[bool]]) -> Steps[bool]:
    """Look for all keys that match, a few hundred at a time; a part of a flow.

    Parameters:
        pattern: a glob pattern, as SCAN takes it.
        visit: is given those of each step that finds some, and tells whether to go on.

    Returns:
        Whether it came to the end.
    """
    for slot in (yield from _a_slot_of_each_primary()):
        cursor = b"0"
        while True:
            command = Command(("SCAN", cursor, "MATCH", pattern, "COUNT", _AT_ONCE), slot=slot)
            cursor, found = yield from Plan("scan", (command,), _page, Effect.READS)
            if found and not (yield from visit(found)):
                return False
            if cursor == b"0":
                break
    return True


def _a_slot_of_each_primary() -> Steps[list[int | None]]:
    """Give a slot of each primary, by which commands find it; ``None`` for the only one."""
    plan = Plan("cluster.slots", (Command(("CLUSTER", "SLOTS")),), lambda answers: answers[0], Effect.READS)
    try:
        rows = replies.array((yield from plan))
    except CommandFailed:
        return [None]  # there is no cluster
    primaries: dict[object, int] = {}
    for row in rows:
        first, _, primary, *_ = replies.array(row)
        address = tuple(map(str, replies.array(primary)[:2]))
        primaries.setdefault(address, replies.integer(first))
    return list(primaries.values()) or [None]


def _page(answers: Sequence[Reply]) -> tuple[bytes, list[bytes]]:
    cursor, keys = replies.array(answers[0], 2)
    return replies.text(cursor).encode(), [key for key in replies.array(keys) if isinstance(key, bytes)]
