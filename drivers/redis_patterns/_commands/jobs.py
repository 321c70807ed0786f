"""``redis-patterns jobs``: what an operator does to a queue of jobs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, Literal, cast

from redis_patterns._commands import FAILED, OK, confirmed
from redis_patterns._commands.connection import connected
from redis_patterns._commands.looks import known_jobs
from redis_patterns._commands.text import escaped, facts
from redis_patterns.sync import Driver
from redis_patterns_core.errors import ConfigurationError
from redis_patterns_core.jobs import Jobs
from redis_patterns_core.plan import batch

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Do it; gives 1 where it was declined, or concerned a job that is not there.

    Raises:
        ConfigurationError: words that are not allowed, or nobody to be asked.
        PatternsError: the server cannot be reached, or refuses the user.
    """
    jobs: Jobs[Any] = Jobs(arguments.name, namespace=arguments.namespace)
    verbs: dict[str, Callable[[Driver, Jobs[Any], argparse.Namespace], int]] = {
        "pause": _pause,
        "resume": _pause,
        "redrive": _redrive,
        "purge": _purge,
        "cancel": _cancel,
    }
    with connected(arguments) as driver:
        return verbs[arguments.verb](driver, jobs, arguments)


def _pause(driver: Driver, jobs: Jobs[Any], arguments: argparse.Namespace) -> int:
    if arguments.words:
        raise ConfigurationError(f"{arguments.verb} must be given nothing more, not {arguments.words[0]!r}")
    changed = driver.run(jobs.pause() if arguments.verb == "pause" else jobs.resume())
    print(f"{arguments.verb}d" if changed else f"was {arguments.verb}d already")
    return OK


def _redrive(driver: Driver, jobs: Jobs[Any], arguments: argparse.Namespace) -> int:
    count = driver.run(jobs.redrive(*arguments.words, count=arguments.count))
    print(f"redriven: {count}")
    return FAILED if count < len(arguments.words) else OK


def _purge(driver: Driver, jobs: Jobs[Any], arguments: argparse.Namespace) -> int:
    if len(arguments.words) != 1 or arguments.words[0] not in {"ready", "delayed", "dead"}:
        raise ConfigurationError(f"purge must be given one of ready, delayed and dead, not {arguments.words!r}")
    state = cast("Literal['ready', 'delayed', 'dead']", arguments.words[0])
    count: int = getattr(driver.run(jobs.inspect()), state)
    print(f"{state} jobs of {jobs.name}: {count}")
    if not confirmed(arguments):
        return FAILED
    print(f"purged: {driver.run(jobs.purge(state))}")
    return OK


def _cancel(driver: Driver, jobs: Jobs[Any], arguments: argparse.Namespace) -> int:
    if not arguments.words:
        raise ConfigurationError("cancel must be given the id of a job")
    ids = list(dict.fromkeys(arguments.words))
    found = known_jobs(driver.run(jobs.look(*ids)))
    print("\n".join(facts({"jobs": found})).lstrip("\n"))
    if not confirmed(arguments):
        return FAILED
    outcomes = driver.run(batch(*[jobs.cancel(id) for id in ids]))
    for id, outcome in zip(ids, outcomes, strict=True):
        print(f"{escaped(id)}: {outcome}")
    return FAILED if "unknown" in outcomes else OK
