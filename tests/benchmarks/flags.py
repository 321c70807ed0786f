"""Measure evaluations of flags: how many a second one core makes, and as multiples of a bare hash call.

    python tests/benchmarks/flags.py

No server is needed: a followed client answers from its snapshot. Medians of rounds that take turns; a ratio is the
median of those of each round, as in the other benchmarks.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from redis_patterns import Condition, Flag, FlagContext, FlagRule, FlagSnapshot

ROUNDS = 31
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


def hashes() -> None:
    """Hash each user as a rollout does, and do nothing else."""
    for user in USERS:
        blake2b(START + user.encode(), digest_size=8).digest()


def switch(name: str) -> Callable[[], None]:
    """Give what asks a switch for each user."""
    enabled = FLAGS.is_enabled

    def ask() -> None:
        for user in USERS:
            enabled(name, user)

    return ask


def evaluate(name: str, default: object) -> Callable[[], None]:
    """Give what evaluates a flag for each user."""
    evaluated = FLAGS.evaluate

    def ask() -> None:
        for user in USERS:
            evaluated(name, user, default)

    return ask


def ruled() -> None:
    """Ask a switch with lists and rules for each user of whom something is known."""
    enabled = FLAGS.is_enabled
    for who in KNOWN:
        enabled("ruled", who)


def main() -> None:
    """Measure, and print a table."""
    contenders: dict[str, Callable[[], None]] = {
        "a bare hash call": hashes,
        "is_enabled, for all": switch("all"),
        "is_enabled, a rollout": switch("part"),
        "evaluate, a rollout": evaluate("part", default=False),
        "evaluate, three variants": evaluate("several", default=""),
        "is_enabled, lists, two rules, a rollout": ruled,
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for turn in range(ROUNDS):
        for name in (*names[turn % len(names) :], *names[: turn % len(names)]):
            began = time.process_time()
            contenders[name]()
            times[name].append((time.process_time() - began) / len(USERS))
    floor = times[names[0]]
    print(f"Python {sys.version.split()[0]}, one core, processor time, medians of {ROUNDS} rounds")
    for name, taken in times.items():
        middle = statistics.median(taken)
        ratio = statistics.median(one / bare for one, bare in zip(taken, floor, strict=True))
        print(f"  {name:40}{middle * 1e9:8.0f} ns{1 / middle:12,.0f} a second{ratio:8.2f} x")


if __name__ == "__main__":
    main()
