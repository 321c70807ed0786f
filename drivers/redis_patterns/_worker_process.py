"""``redis-patterns worker``: processes that do jobs until they are told to stop."""

from __future__ import annotations

import importlib
import inspect
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio

from redis_patterns_core.errors import ConfigurationError
from redis_patterns_core.work import AnyWork, BatchWork, Work

__all__ = ["found", "serve", "supervise"]

_AGAIN_AFTER = 1.0
"""Seconds until a process that has ended by itself is started again."""
_LOOK_EVERY = 0.1


class Stopping:
    """Whether somebody wants the process to stop; the first signal asks for it, a second one ends it at once.

    Parameters:
        parent: the process with which this one ends; ``None`` for none.
    """

    def __init__(self, parent: int | None = None) -> None:
        self.asked = False
        self._parent = parent
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._hear)

    def __call__(self) -> bool:
        # A process whose supervisor was killed would work on for nobody.
        return self.asked or (self._parent is not None and os.getppid() != self._parent)

    def _hear(self, number: int, _: object) -> None:
        if self.asked:
            # What was being done comes back when its lease ends.
            os._exit(128 + number)
        self.asked = True


def found(target: str) -> AnyWork:
    """Import what a process is to do.

    Parameters:
        target: ``MODULE:NAME`` of a `Work` or a `BatchWork`.

    Raises:
        ConfigurationError: there is no such thing, or it is something else.
    """
    module, _, name = target.partition(":")
    if not module or not name:
        raise ConfigurationError(f"target must be MODULE:NAME, not {target!r}")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        work: Any = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"target {target!r} cannot be imported: {error}") from None
    if not issubclass(type(work), (Work, BatchWork)):
        kind = type(work).__name__
        raise ConfigurationError(f"target {target!r} must be a redis_patterns.Work or BatchWork, not {kind}")
    known: AnyWork = work
    return known


def serve(
    works: Sequence[AnyWork],
    url: str,
    driver: str | None,
    say: Callable[[str], None],
    *,
    concurrency: int,
    grace: float,
    parent: int | None = None,
) -> None:
    """Do jobs until SIGTERM or SIGINT comes, and what has begun is done, or given back after the grace time.

    Parameters:
        works: what to do, the most important first.
        url: of the server.
        driver: ``sync``, ``asyncio`` or ``trio``; asyncio for coroutine functions, else sync, where none is given.
        say: shows a line.
        concurrency, grace: as for a driver's ``work``.
        parent: the process that has started this one, where it ends with that.

    Raises:
        ConfigurationError: a driver that cannot call the handlers, or a number that is not allowed.
    """
    stopping = Stopping(parent)
    name = driver or ("asyncio" if inspect.iscoroutinefunction(works[0].function) else "sync")
    module = importlib.import_module(f"redis_patterns.{name}")
    options: dict[str, Any] = {
        "concurrency": concurrency,
        "grace": grace,
        "until": stopping,
        "about": f"pid {os.getpid()}, {name}",
    }
    queues = ", ".join(repr(work.jobs.name) for work in works)
    say(f"works on {queues}, {concurrency} at a time, on {name}")
    if name == "sync":
        with module.Driver.connect(url) as redis:
            redis.work(*works, **options)
    else:
        anyio.run(_serve_later, module, url, works, options, backend=name)
    say("has stopped")


async def _serve_later(module: Any, url: str, works: Sequence[AnyWork], options: dict[str, Any]) -> None:
    async with module.Driver.connect(url) as redis:
        await redis.work(*works, **options)


def supervise(
    words: Sequence[str], count: int, say: Callable[[str], None], *, environment: Mapping[str, str] | None = None
) -> int:
    """Keep so many processes running until SIGTERM or SIGINT comes, which they get too; give the exit code.

    Parameters:
        words: the command of each.
        count: how many.
        say: shows a line.
        environment: their variables; this process's own where none are given.
    """
    stopping = Stopping()

    def start() -> subprocess.Popen[bytes]:
        # In a group of its own, or Ctrl-C in a terminal would be a second signal for it beside ours.
        return subprocess.Popen(words, env=environment, process_group=0)  # noqa: S603  this program itself

    running = [start() for _ in range(count)]
    again: list[float] = []
    try:
        while not stopping():
            for process in [one for one in running if one.poll() is not None]:
                say(f"process {process.pid} has ended with {process.returncode}, and is started again")
                running.remove(process)
                again.append(time.monotonic() + _AGAIN_AFTER)
            for _ in [at for at in again if at <= time.monotonic()]:
                again.pop(0)
                running.append(start())
            time.sleep(_LOOK_EVERY)
    finally:
        for process in running:
            process.terminate()
        codes = [process.wait() for process in running]
    return 1 if any(codes) else 0
