"""Evaluations of flags: a followed client answers from its snapshot, without the server."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable
from hashlib import blake2b

from redis_patterns import Condition, Flag, FlagContext, FlagRule, FlagSnapshot
from tests.benchmarks.harness import Case, Contender, Work
from tests.benchmarks.lab import Group

__all__ = ["GROUP"]

BARE = "a bare hash call"
USERS = [f"user-{number}" for number in range(2000)]
KNOWN = [FlagContext(user, {"country": "FR", "app": "2.1.0", "groups": ["a", "b"]}) for user in USERS]
START = b"rollout\0part\0"
FLAGS = FlagSnapshot([
    Flag("all"),
    Flag("part", percentage=25),
    Flag("several", variants={"a": "A", "b": "B", "c": "C"}, serve={"a": 1, "b": 1, "c": 1}),
    Flag(
        "ruled",
        percentage=25,
        allowlist=[f"friend-{number}" for number in range(1000)],
        blocklist=[f"foe-{number}" for number in range(1000)],
        rules=[
            FlagRule(Condition("country", "in", ["DE", "AT"])),
            FlagRule([Condition("groups", "equals", "b"), Condition("app", "semver", ">=3.0.0")]),
        ],
    ),
])  # fmt: skip


def hashes(count: int) -> None:
    """Hash users as a rollout does, and do nothing else."""
    for number in range(count):
        blake2b(START + USERS[number % 2000].encode(), digest_size=8).digest()


def switch(name: str) -> Callable[[int], None]:
    """Give what asks a switch for users."""
    enabled = FLAGS.is_enabled

    def ask(count: int) -> None:
        for number in range(count):
            enabled(name, USERS[number % 2000])

    return ask


def evaluate(name: str, default: object) -> Callable[[int], None]:
    """Give what evaluates a flag for users."""
    evaluated = FLAGS.evaluate

    def ask(count: int) -> None:
        for number in range(count):
            evaluated(name, USERS[number % 2000], default)

    return ask


def ruled(count: int) -> None:
    """Ask a switch with lists and rules for users of whom something is known."""
    enabled = FLAGS.is_enabled
    for number in range(count):
        enabled("ruled", KNOWN[number % 2000])


def _contender(name: str, ask: Callable[[int], None]) -> Contender:
    @contextlib.asynccontextmanager
    async def opening() -> AsyncGenerator[Work]:
        async def work(count: int) -> None:
            ask(count)

        yield work

    return Contender(name, opening)


_CASE = Case(
    "evaluations",
    "one evaluation",
    BARE,
    [
        _contender(BARE, hashes),
        _contender("ours, is_enabled, for all", switch("all")),
        _contender("ours, is_enabled, a rollout", switch("part")),
        _contender("ours, evaluate, a rollout", evaluate("part", default=False)),
        _contender("ours, evaluate, three variants", evaluate("several", default="")),
        _contender("ours, is_enabled, lists, two rules, a rollout", ruled),
    ],
    ours="ours, is_enabled, a rollout",
)
GROUP = Group(
    "flags",
    "Feature flags",
    "A flag is evaluated for one user after another, from the snapshot that a client holds: no server is asked. The "
    "floor is the hash call that a rollout cannot do without.",
    lambda lab: lab.measure([_CASE]),
)
