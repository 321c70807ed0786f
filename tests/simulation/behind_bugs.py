"""Bugs in writing behind, planted one by one into copies of the scripts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from redis_patterns import Command, Plan, Script, WriteBehind
from redis_patterns.testing.simulation import SOME
from tests.simulation.behind_cases import BEHIND, behind_setup
from tests.simulation.bugs import Bug


class Mistaken(WriteBehind[int]):
    """Writing behind, one of whose scripts has another piece."""

    change: tuple[str, str, str] = ("", "", "")

    def _changed(self, plan: Plan[Any]) -> Plan[Any]:
        script, before, after = self.change
        source = Script.load(script).source
        assert source.count(before) == 1, before
        broken = Script(script, source.replace(before, after))
        (command,) = plan.commands
        if command.script is None or command.script.name != script:
            return plan
        return replace(plan, commands=(Command(("EVALSHA", broken.sha, *command.args[2:]), broken),))

    def _claim(self, *args: Any, **kwargs: Any) -> Any:
        return self._changed(super()._claim(*args, **kwargs))

    def _settle(self, *args: Any, **kwargs: Any) -> Any:
        return self._changed(super()._settle(*args, **kwargs))


def mistaken(script: str, before: str, after: str) -> WriteBehind[int]:
    """Give a copy in one of whose scripts a piece is another."""
    kind = type("Mistaken", (Mistaken,), {"change": (script, before, after)})
    names = ("ttl", "delay", "most_delay", "lease", "retry_after", "batch")
    made: WriteBehind[int] = kind("sim", **{name: getattr(BEHIND, name) for name in names})
    return made


BEHIND_BUGS = [
    Bug(
        "a write taken for saved that came while another was",
        behind_setup(mistaken("behind_settle", "string.match(waiting, '^%d+') == sequence", "true")),
        ("is lost",),
        SOME,
    ),
    Bug(
        "writes that are removed to be saved",
        behind_setup(
            mistaken(
                "behind_claim",
                "claimed[#claimed + 1] = waiting",
                "claimed[#claimed + 1] = waiting redis.call('HDEL', KEYS[1], key)",
            )
        ),
        ("is lost",),
        SOME,
    ),
    Bug(
        "a write that failed is not due again",
        behind_setup(
            mistaken(
                "behind_settle",
                "redis.call('ZADD', KEYS[2], whole(now + math.min(most,",
                "redis.call('ZREM', KEYS[2], key, whole(now + math.min(most,",
            )
        ),
        ("never due",),
        SOME,
    ),
]
