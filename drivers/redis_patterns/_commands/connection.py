"""The server that a command talks to."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Generator
from typing import TypeVar

from redis_patterns.sync import Driver
from redis_patterns_core import replies
from redis_patterns_core.errors import CommandFailed
from redis_patterns_core.plan import Command, Effect, Plan

__all__ = ["allowed", "connected", "info", "is_of_a_cluster"]

T = TypeVar("T")


@contextlib.contextmanager
def connected(arguments: argparse.Namespace) -> Generator[Driver]:
    """Connect to the server of ``--url``, of REDIS_URL, or on this machine; to all of a cluster, given a node of it."""
    # Somebody waits for an answer: that nobody is there is one, at once.
    url = arguments.url or os.environ.get("REDIS_URL") or "redis://localhost"
    with contextlib.ExitStack() as stack:
        driver = stack.enter_context(Driver.connect(url, retry_for=0))
        if is_of_a_cluster(driver):
            driver = stack.enter_context(Driver.connect(url, retry_for=0, cluster=True))
        yield driver


def is_of_a_cluster(driver: Driver) -> bool:
    """Tell whether the server is a node of a cluster, as far as it says."""
    told = info(driver, "server")
    return told is not None and "cluster" in (told.get("redis_mode"), told.get("server_mode"))


def info(driver: Driver, section: str) -> dict[str, str] | None:
    """Read a section of INFO; ``None`` where that is not allowed."""
    plan = Plan("info", (Command(("INFO", section)),), lambda answers: replies.text(answers[0]), Effect.READS)
    text = allowed(driver, plan)
    return None if text is None else dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def allowed(driver: Driver, plan: Plan[T]) -> T | None:
    """Run a plan; ``None`` where the user may not, or the server does not know the command."""
    try:
        return driver.run(plan)
    except CommandFailed as error:
        # A password that is missing or wrong is not about this command.
        if error.plan == plan.name and error.code in {"NOPERM", "ERR"}:
            return None
        raise
