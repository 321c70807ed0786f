"""Mistakes in scripts, to be planted into copies of the patterns."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from redis_patterns import Command, Plan, Script


@dataclass(frozen=True)
class Mistake:
    """A script one of whose pieces is another.

    Parameters:
        script: the name of the right one.
        before: the piece, which is there once.
        after: what stands in its place.
    """

    script: str
    before: str
    after: str
    broken: Script = field(init=False)

    def __post_init__(self) -> None:
        source = Script.load(self.script).source
        assert source.count(self.before) == 1, self.before
        object.__setattr__(self, "broken", Script(self.script, source.replace(self.before, self.after)))

    def command(self, command: Command) -> Command:
        """Give a command that calls the broken script where it has called the right one."""
        if command.script is None or command.script.name != self.script:
            return command
        return Command(("EVALSHA", self.broken.sha, *command.args[2:]), self.broken)

    def plan(self, plan: Plan[Any]) -> Plan[Any]:
        """Give a plan whose commands do so."""
        return replace(plan, commands=tuple([self.command(command) for command in plan.commands]))
