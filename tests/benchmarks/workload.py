"""What is measured: the same commands for all, on the same key, with a check that everybody gets the right answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from redis_patterns import Command, Effect, Plan, Script, TokenBucket, batch
from tests.benchmarks.floors import Bare, Words
from tests.benchmarks.harness import Work

T = TypeVar("T")

KEY = "benchmark:value"
VALUE = b"0123456789abcdef" * 2
GET: Words = ("GET", KEY)
SIZE = 64
"""Commands of a batch."""

# So large that no hit is refused: a refusal is another, cheaper, path of the script.
BUCKET = TokenBucket("benchmark", capacity=10**6, refill_rate=10**6)


def get() -> Plan[object]:
    """Make a plan of one GET, as a pattern's method would."""
    return Plan("get", (Command(GET),), _first, Effect.READS)


def hit() -> Plan[Any]:
    """Make the plan of the script: one hit of a token bucket."""
    return BUCKET.hit("alice")


def gets() -> Plan[tuple[object, ...]]:
    """Make a plan of many GETs."""
    return batch(*[get() for _ in range(SIZE)])


def _first(replies: Any) -> object:
    return replies[0]


def _script() -> tuple[Script, list[str], list[Any]]:
    (command,) = hit().commands
    if command.script is None:
        raise TypeError("the token bucket calls no script")
    count = int(command.args[2])
    return command.script, [str(key) for key in command.args[3 : 3 + count]], list(command.args[3 + count :])


SCRIPT, SCRIPT_KEYS, SCRIPT_ARGUMENTS = _script()
EVALSHA: Words = hit().commands[0].args


def prepare(path: str) -> None:
    """Put the value and the script on the server."""
    bare = Bare(path)
    try:
        bare.ask(("SET", KEY, VALUE))
        bare.ask(("SCRIPT", "LOAD", SCRIPT.source))
    finally:
        bare.close()


# A contender that is fast because it does something else would be no contender.


def checked_get(result: object) -> None:
    """See to it that a GET gave the value."""
    if result != VALUE:
        raise AssertionError(f"GET gave {result!r}")


def checked_hit(result: object) -> None:
    """See to it that a hit was allowed: a decision of ours, or the reply of the script."""
    if not (result[0] if isinstance(result, (list, tuple)) else result):
        raise AssertionError(f"the script gave {result!r}")


def checked_gets(result: object) -> None:
    """See to it that a batch gave all the values."""
    if not isinstance(result, (list, tuple)) or list(result) != [VALUE] * SIZE:
        raise AssertionError(f"the batch gave {result!r}")


# Loops. One for each shape of call, as a common one would add a call to each operation.


def calling(function: Callable[..., object], *args: object) -> Work:
    """Give work that calls a function with the same arguments each time."""

    async def work(count: int) -> None:
        for _ in range(count):
            function(*args)

    return work


def calling_built(function: Callable[[T], object], build: Callable[[], T]) -> Work:
    """Give work that calls a function with an argument built anew each time."""

    async def work(count: int) -> None:
        for _ in range(count):
            function(build())

    return work


def awaiting(function: Callable[..., Awaitable[object]], *args: object) -> Work:
    """Give work that awaits a call with the same arguments each time."""

    async def work(count: int) -> None:
        for _ in range(count):
            await function(*args)

    return work


def awaiting_built(function: Callable[[T], Awaitable[object]], build: Callable[[], T]) -> Work:
    """Give work that awaits a call with an argument built anew each time."""

    async def work(count: int) -> None:
        for _ in range(count):
            await function(build())

    return work
