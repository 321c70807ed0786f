"""Bugs in flags, planted one by one into copies of the script."""

from __future__ import annotations

from typing import Any

from redis_patterns import Command, Flags
from redis_patterns.testing.simulation import SOME, Faults
from tests.simulation.bugs import Bug
from tests.simulation.flag_cases import FLAGS, flag_setup
from tests.simulation.mistakes import Mistake


class Mistaken(Flags):
    """Flags in whose script a piece is another."""

    mistake: Mistake

    def _command(self, *args: Any, **kwargs: Any) -> Command:
        return self.mistake.command(super()._command(*args, **kwargs))


def mistaken(before: str, after: str) -> Flags:
    """Give flags in whose script a piece is another."""
    kind = type("Mistaken", (Mistaken,), {"mistake": Mistake("flags_put", before, after)})
    made: Flags = kind(FLAGS.name, keep_changes=FLAGS.keep_changes)
    return made


FLAG_BUGS = [
    Bug(
        "a flag that is written over what nobody has seen",
        flag_setup(mistaken("tonumber(expected) ~= version", "tonumber(expected) > version")),
        ("older write over a newer one",),
        SOME,
    ),
    Bug(
        "a deleted flag that leaves nothing behind",
        flag_setup(
            mistaken(
                "return {1, tonumber(version), revision}",
                "if payload == '' then redis.call('HDEL', KEYS[1], name) end return {1, tonumber(version), revision}",
            )
        ),
        ("does not grow", "older write over a newer one"),
        SOME,
    ),
    Bug(
        "a write that does not know itself again",
        flag_setup(mistaken("if known == token then", "if known == token .. 'x' then")),
        ("was told of a conflict, and was written", "a write counts twice", "told another version"),
        SOME,
    ),
    Bug(
        "a write that others' writes make forgotten",
        flag_setup(mistaken("if count < 16 then all", "if count < 1 then all"), writers=3, follows=False),
        ("was told of a conflict, and was written", "a write counts twice", "told another version"),
        Faults(lose_reply=0.2),
    ),
    Bug(
        "a change that moves no revision",
        flag_setup(mistaken("record, '', whole(revision))", "record, '', whole(math.max(known_revision, 1)))")),
        ("never was",),
        SOME,
    ),
]
