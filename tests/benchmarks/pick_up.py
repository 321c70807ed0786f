"""Processes at rest for queues.py: WHAT KIND URL; each says, in nanoseconds, when it was given something."""

from __future__ import annotations

import importlib
import sys
import time
from typing import Any

import anyio

from redis_patterns import Command, Effect, Jobs, Plan

FLOOR: Plan[object] = Plan("blpop", (Command(("BLPOP", "floor", 5)),), lambda replies: replies[0], Effect.ONCE, 5)


def say() -> None:
    """Say that it is now."""
    sys.stdout.write(f"{time.perf_counter_ns()}\n")
    sys.stdout.flush()


async def say_later(_: Any) -> None:
    """Say so for a handler that is awaited."""
    say()


def main(what: str, kind: str, url: str) -> None:
    """Wait for jobs, or for elements of a list, with a driver."""
    connect: Any = importlib.import_module(f"redis_patterns.{kind}").Driver.connect
    if kind == "sync":
        with connect(url) as redis:
            if what == "jobs":
                redis.work(Jobs("rest"), lambda _: say(), concurrency=1)  # pyright: ignore[reportUnknownLambdaType]
            while True:
                if redis.run(FLOOR):
                    say()

    async def wait() -> None:
        async with connect(url) as redis:
            if what == "jobs":
                await redis.work(Jobs("rest"), say_later, concurrency=1)
            while True:
                if await redis.run(FLOOR):
                    say()

    anyio.run(wait, backend=kind)


if __name__ == "__main__":
    main(*sys.argv[1:])
