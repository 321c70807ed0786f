"""Bugs in jobs, planted one by one into copies of the scripts."""

from __future__ import annotations

from typing import Any

from redis_patterns import Jobs, Plan
from redis_patterns.testing.simulation import SOME, Faults
from tests.simulation.bugs import Bug
from tests.simulation.job_cases import JOBS, jobs_setup
from tests.simulation.mistakes import Mistake


class Mistaken(Jobs[int]):
    """Jobs, one of whose scripts has another piece."""

    mistake: Mistake

    def enqueue_many(self, *args: Any, **kwargs: Any) -> Plan[Any]:
        return self.mistake.plan(super().enqueue_many(*args, **kwargs))

    def reserve(self, *args: Any, **kwargs: Any) -> Plan[Any]:
        return self.mistake.plan(super().reserve(*args, **kwargs))

    def reserve_when_woken(self, *args: Any, **kwargs: Any) -> Plan[Any]:
        return self.mistake.plan(super().reserve_when_woken(*args, **kwargs))

    def settle(self, *args: Any, **kwargs: Any) -> Plan[Any]:
        return self.mistake.plan(super().settle(*args, **kwargs))

    def cancel(self, *args: Any, **kwargs: Any) -> Plan[Any]:
        return self.mistake.plan(super().cancel(*args, **kwargs))


def made(kind: type[Jobs[int]]) -> Jobs[int]:
    names = ("lease", "attempts", "losses", "retry_after", "remember")
    return kind("sim", **{name: getattr(JOBS, name) for name in names})


def mistaken(script: str, before: str, after: str) -> Jobs[int]:
    """Give a copy in one of whose scripts a piece is another."""
    return made(type("Mistaken", (Mistaken,), {"mistake": Mistake(script, before, after)}))


JOB_BUGS = [
    Bug(
        "a job that is removed when it is given",
        jobs_setup(
            mistaken(
                "jobs_reserve", "redis.call('ZADD', KEYS[3], whole(now + lease), id)", "redis.call('GET', KEYS[9])"
            )
        ),
        ("is in []", "of the library's"),
        SOME,
    ),
    Bug(
        "a job that is done, whoever says so",
        jobs_setup(mistaken("jobs_settle", "elseif held == token and redis.call('ZSCORE', KEYS[3], id) then", "else")),
        ("is in [", "a job that is done is there", "of which nothing is known", "with", "is not noted"),
        SOME,
    ),
    Bug(
        "what was done is not remembered",
        jobs_setup(mistaken("jobs_settle", "redis.call('ZADD', KEYS[7], whole(now + remember), id)", "")),
        ("is lost", "is not noted"),
        SOME,
    ),
    Bug(
        "a job that was done is put again",
        jobs_setup(
            mistaken("jobs_enqueue", "if until_then and tonumber(until_then) > now then return 3, id end", ""),
            steady=True,
        ),
        ("a job that is done is there", "was given again"),
        Faults(lose_reply=0.2),
    ),
    Bug(
        "a job that is due, moved in two steps",
        jobs_setup(
            mistaken(
                "jobs_reserve",
                "redis.call('ZREM', KEYS[2], id)",
                "redis.call('ZSCORE', KEYS[2], id)",
            )
        ),
        ("is in ['ready', 'delayed']", "is in ['delayed', 'leased']"),
        SOME,
    ),
    Bug(
        "a unique key that outlives its job",
        jobs_setup(
            mistaken(
                "jobs_settle",
                "if unique ~= '' and redis.call('HGET', KEYS[6], unique) == id then",
                "if false then",
            )
        ),
        ("is held by a job that is over",),
        SOME,
    ),
    Bug(
        "that a job should be given up, said of the next one",
        jobs_setup(mistaken("jobs_settle", "redis.call('HDEL', KEYS[13], id)", "")),
        ("is said when it is over",),
        SOME,
    ),
    Bug(
        "a cancelled job that leaves its payload",
        jobs_setup(mistaken("jobs_cancel", "redis.call('HDEL', KEYS[5], id)", "")),
        ("is in []",),
        SOME,
    ),
]
