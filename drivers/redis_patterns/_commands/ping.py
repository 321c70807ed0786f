"""``redis-patterns ping``: what server is there, and whether it has what the library needs."""

from __future__ import annotations

import argparse
import json
import re
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from redis_patterns._commands import FAILED, OK, colored
from redis_patterns._commands.connection import allowed, connected, info
from redis_patterns._commands.text import columns, escaped, painted
from redis_patterns.sync import Driver
from redis_patterns_core import replies
from redis_patterns_core.plan import Command, Effect, Plan, Script

__all__ = ["run"]

_TIMES = 11
_LEAST_VERSION = (6, 2)
_OTHERS = ("valkey", "dragonfly", "garnet", "kvrocks", "keydb")
"""Servers that say by ``NAME_version`` that they are no Redis."""
_HIDDEN = "not allowed to see"
_TIME = Script("ping", "return redis.call('TIME')")


@dataclass
class _Report:
    """What was found; ``None`` for what could not be seen. Programs get it as it is."""

    ok: bool = True
    server: str | None = None
    version: str | None = None
    mode: str | None = None
    role: str | None = None
    round_trip_ms: float = 0.0
    protocol: int | None = None
    eval: bool = False
    evalsha: bool = False
    time_in_scripts: bool = False
    maxmemory_policy: str | None = None
    append_only: bool | None = None
    failures: list[str] = field(default_factory=list[str])
    warnings: list[str] = field(default_factory=list[str])


def run(arguments: argparse.Namespace, *, clock: Callable[[], float] = time.perf_counter) -> int:
    """Show what server is there; gives 1 where it lacks something that the library needs.

    Raises:
        PatternsError: the server cannot be reached, or refuses the user.
    """
    with connected(arguments) as driver:
        report = _examined(driver, clock)
    report.ok = not report.failures
    if arguments.json:
        print(json.dumps(asdict(report)))
    else:
        _show(report, color=colored(arguments.color))
    return OK if report.ok else FAILED


def _examined(driver: Driver, clock: Callable[[], float]) -> _Report:
    report = _Report()
    ping = Plan("ping", (Command(("PING",)),), lambda _: None, Effect.READS)
    driver.run(ping)  # what connecting takes is not a round trip
    took: list[float] = []
    for _ in range(_TIMES):
        started = clock()
        driver.run(ping)
        took.append(clock() - started)
    report.round_trip_ms = round(statistics.median(took) * 1000, 3)
    _identify(driver, report)
    _try_scripts(driver, report)
    _judge_keeping(driver, report)
    return report


def _identify(driver: Driver, report: _Report) -> None:
    told = info(driver, "server")
    if told is not None:
        report.mode = told.get("server_mode") or told.get("redis_mode")
        report.server, report.version = "Redis", told.get("redis_version")
        for name in _OTHERS:
            if f"{name}_version" in told:
                report.server, report.version = name.capitalize(), told[f"{name}_version"]
        # What others speak of as Redis' version is the one whose commands they have.
        numbers = tuple(map(int, re.findall(r"\d+", told.get("redis_version", ""))[:2]))
        if numbers and numbers < _LEAST_VERSION:
            report.failures.append("the library needs Redis 6.2 or later, or Valkey")
    replication = info(driver, "replication")
    if replication is not None:
        report.role = {"master": "primary", "slave": "replica"}.get(
            replication.get("role", ""), replication.get("role")
        )
        if report.role == "replica":
            report.failures.append("a replica refuses writes: give the URL of the primary, or of Sentinels")
    hello = Plan("hello", (Command(("HELLO",)),), lambda answers: dict(replies.pairs(answers[0])), Effect.READS)
    greeting = allowed(driver, hello)
    if greeting is not None:
        report.protocol = replies.integer(greeting[b"proto"])


def _try_scripts(driver: Driver, report: _Report) -> None:
    trivial = Script("ping", "return 1")
    for name, command in (
        ("eval", Command(("EVAL", trivial.source, 0))),
        # Not as a call of the script, or a driver would send an EVAL in its place.
        ("evalsha", Command(("EVALSHA", trivial.sha, 0))),
        ("time_in_scripts", Command(("EVAL", _TIME.source, 0))),
    ):
        answer = allowed(driver, Plan(f"ping.{name}", (command,), lambda answers: answers[0], Effect.READS))
        setattr(report, name, answer is not None)
    if not report.eval or not report.evalsha:
        report.failures.append("scripts are refused, by which most patterns work: allow +eval and +evalsha")
    elif not report.time_in_scripts:
        report.failures.append("TIME is refused in scripts, by which patterns agree on the time: allow +time")


def _judge_keeping(driver: Driver, report: _Report) -> None:
    memory = info(driver, "memory")
    report.maxmemory_policy = None if memory is None else memory.get("maxmemory_policy")
    if report.maxmemory_policy not in {None, "noeviction"}:
        report.warnings.append(
            f"{report.maxmemory_policy} may evict locks, limits, sessions and jobs when memory is full: noeviction, "
            "and caches on a server of their own, are safe"
        )
    persistence = info(driver, "persistence")
    if persistence is not None and "aof_enabled" in persistence:
        report.append_only = persistence["aof_enabled"] == "1"
        if not report.append_only:
            report.warnings.append(
                "jobs and queues since the last snapshot are lost when the server ends: appendonly yes keeps them"
            )


def _show(report: _Report, *, color: bool) -> None:
    scripts = [name.upper() for name in ("eval", "evalsha") if getattr(report, name)]
    append_only = {None: _HIDDEN, True: "on: jobs outlive the server", False: "off"}
    rows = [
        ("server", " ".join(filter(None, (report.server, report.version))) or _HIDDEN),
        ("mode", report.mode or _HIDDEN),
        ("role", report.role or _HIDDEN),
        ("round trip", f"{report.round_trip_ms:.3f} ms, the median of {_TIMES}"),
        ("protocol", _HIDDEN if report.protocol is None else f"RESP{report.protocol}"),
        ("scripts", ", ".join([*scripts, *(["TIME"] if report.time_in_scripts else [])]) or "refused"),
        ("eviction", report.maxmemory_policy or _HIDDEN),
        ("append-only file", append_only[report.append_only]),
    ]
    print("\n".join(columns([(name, escaped(held)) for name, held in rows])))
    for word, notes, shade in (("FAILS", report.failures, "wrong"), ("warning", report.warnings, "python")):
        for line in columns([(word, escaped(note)) for note in notes]) if notes else []:
            print(painted(line, shade if color else ""))
    if report.ok:
        print(painted("all that is needed is there", "right" if color else ""))
