"""Bugs in what is done once, planted one by one into copies of the scripts."""

from __future__ import annotations

from typing import Any

from redis_patterns import Argument, Command, Once, Plan, Script
from redis_patterns.testing.simulation import SOME
from tests.simulation.bugs import Bug
from tests.simulation.mistakes import Mistake
from tests.simulation.once_cases import AGAIN, REFUSE, once_setup

COMPLETE = Script.load("once_complete").source
CHECKS = COMPLETE[COMPLETE.index("if found[4] then") : COMPLETE.index("redis.call('HSET'")]


class Mistaken(Once[int]):
    """Something done once, one of whose scripts has another piece."""

    mistake: Mistake

    def _call(self, script: Script, id: str, *args: Argument) -> tuple[Command, ...]:
        return tuple([self.mistake.command(command) for command in super()._call(script, id, *args)])


class TakenForUndone(Once[int]):
    """Gives the claim up whatever ended the function, as if nothing could have been done."""

    def _renewal(self, id: str, token: str, lease_ms: int) -> Plan[bool]:
        return super()._renewal(id, token, lease_ms) if lease_ms else self.abandon(id, token)


def made(kind: type[Once[int]], like: Once[int]) -> Once[int]:
    names = ("lease", "keep", "after_crash")
    return kind("sim", **{name: getattr(like, name) for name in names})


def mistaken(like: Once[int], script: str, before: str, after: str) -> Any:
    """Give a copy in one of whose scripts a piece is another."""
    return made(type("Mistaken", (Mistaken,), {"mistake": Mistake(script, before, after)}), like)


ONCE_BUGS = [
    Bug(
        "a claim that does not look whether somebody is at it",
        once_setup(mistaken(AGAIN, "once_claim", "if left > 0 then", "if left > 1e9 then")),
        ("two are at it", "another result"),
        SOME,
    ),
    Bug(
        "a claim given up by whoever had it before",
        once_setup(mistaken(AGAIN, "once_forget", "holder ~= ARGV[1]", "not holder")),
        ("two are at it",),
        SOME,
    ),
    Bug(
        "a result that is kept whatever was done meanwhile",
        once_setup(mistaken(AGAIN, "once_complete", CHECKS, "")),
        ("another result",),
        SOME,
    ),
    Bug(
        "what may have been done is done again",
        once_setup(mistaken(REFUSE, "once_claim", "if not again then", "if false then")),
        ("done twice",),
        SOME,
    ),
    Bug(
        "what was cancelled is taken for undone",
        once_setup(made(TakenForUndone, REFUSE)),
        ("done twice",),
        SOME,
    ),
    Bug(
        "a claim without a TTL",
        once_setup(mistaken(AGAIN, "once_claim", "redis.call('PEXPIRE', KEYS[1], lease + keep)", "")),
        ("never expires",),
        SOME,
    ),
]
