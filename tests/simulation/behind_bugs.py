"""Bugs in writing behind, planted one by one into copies of the scripts."""

from __future__ import annotations

from typing import Any

from redis_patterns import WriteBehind
from redis_patterns.testing.simulation import SOME
from tests.simulation.behind_cases import BEHIND, behind_setup
from tests.simulation.bugs import Bug
from tests.simulation.mistakes import Mistake


class Mistaken(WriteBehind[int]):
    """Writing behind, one of whose scripts has another piece."""

    mistake: Mistake

    def _claim(self, *args: Any, **kwargs: Any) -> Any:
        return self.mistake.plan(super()._claim(*args, **kwargs))

    def _settle(self, *args: Any, **kwargs: Any) -> Any:
        return self.mistake.plan(super()._settle(*args, **kwargs))


def mistaken(script: str, before: str, after: str) -> WriteBehind[int]:
    """Give a copy in one of whose scripts a piece is another."""
    kind = type("Mistaken", (Mistaken,), {"mistake": Mistake(script, before, after)})
    names = ("ttl", "delay", "most_delay", "lease", "retry_after", "batch")
    made: WriteBehind[int] = kind("sim", **{name: getattr(BEHIND, name) for name in names})
    return made


BEHIND_BUGS = [
    Bug(
        "a write taken for saved that came while another was",
        behind_setup(mistaken("behind_settle", "string.match(waiting, '^%d*') == sequence", "true")),
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
