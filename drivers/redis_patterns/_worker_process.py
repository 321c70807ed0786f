"""``redis-patterns worker``: processes that do jobs until they are told to stop."""

from __future__ import annotations

import functools
import importlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio

from redis_patterns_core import validate
from redis_patterns_core.callables import is_coroutine_function
from redis_patterns_core.errors import ConfigurationError, PatternsError
from redis_patterns_core.job_records import GiveUp, RetryLater
from redis_patterns_core.work import AnyWork, BatchWork, Happening, Work, WorkEvent, works
from redis_patterns_core.workers import Worker

__all__ = ["driver_for", "found", "serve", "supervise"]

_logger = logging.getLogger("redis_patterns")
_SAID: dict[Happening, tuple[int, str]] = {
    "failed": (logging.WARNING, "failed, and is tried again"),
    "timed_out": (logging.WARNING, "took too long, and is tried again"),
    "dead": (logging.ERROR, "failed, and is dead"),
    "unreadable": (logging.ERROR, "cannot be read, and is dead"),
    "lost": (logging.WARNING, "was lost: its lease is over, and it is done again"),
    "refused": (logging.WARNING, "was lost: its lease was over before it could be told what became of it"),
}
"""What is logged of a job, and how."""
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
        Exception: whatever the module raises, and an ImportError in place of an error of this library.
    """
    module, _, name = target.partition(":")
    if not module or not name:
        raise ConfigurationError(f"target must be MODULE:NAME, not {target!r}")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        made: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # one that the module itself wants
        raise ConfigurationError(f"target {target!r} cannot be imported: {error}") from None
    except PatternsError as error:
        # Its message alone would not say where in the module it is.
        raise ImportError(f"{module} cannot be imported") from error
    if not hasattr(made, name):
        raise ConfigurationError(f"target {target!r} cannot be imported: {module} has no {name!r}")
    work: Any = getattr(made, name)
    if not issubclass(type(work), (Work, BatchWork)):
        kind = type(work).__name__
        raise ConfigurationError(f"target {target!r} must be a redis_patterns.Work or BatchWork, not {kind}")
    known: AnyWork = work
    return known


def driver_for(what: Sequence[AnyWork], name: str | None, *, concurrency: int, grace: float) -> str:
    """Give the driver that does it, before anything has begun.

    Parameters:
        what: the works.
        name: ``sync``, ``asyncio`` or ``trio``; asyncio for coroutine functions, else sync, where none is given.
        concurrency, grace: as for a driver's ``work``.

    Raises:
        ConfigurationError: a driver that cannot call the handlers, two works of one queue, or a number that is not
            allowed.
    """
    driver = name or ("asyncio" if is_coroutine_function(what[0].function) else "sync")
    for line in Worker(works(what), concurrency=concurrency).lines:
        line.work.call(awaited=driver != "sync")
    validate.milliseconds("grace", grace, least=0)
    return driver


def serve(
    what: Sequence[AnyWork],
    url: str,
    driver: str,
    say: Callable[[str], None],
    *,
    concurrency: int,
    grace: float,
    cluster: bool = False,
    parent: int | None = None,
) -> None:
    """Do jobs until SIGTERM or SIGINT comes, and what has begun is done, or given back after the grace time.

    What becomes of a job that is not done is logged to ``redis_patterns``.

    Parameters:
        what: the works, the most important first.
        url: of the server.
        driver: what `driver_for` gave.
        say: shows a line.
        concurrency, grace: as for a driver's ``work``.
        cluster: whether the server is a node of a cluster.
        parent: the process that has started this one, where it ends with that.
    """
    stopping = Stopping(parent)
    module = importlib.import_module(f"redis_patterns.{driver}")
    options: dict[str, Any] = {
        "concurrency": concurrency,
        "grace": grace,
        "until": stopping,
        "about": f"pid {os.getpid()}, {driver}",
        "on_event": _log,
    }
    queues = ", ".join(repr(work.jobs.name) for work in what)
    say(f"works on {queues}, {concurrency} at a time, on {driver}")
    if driver == "sync":
        with module.Driver.connect(url, cluster=cluster) as redis:
            redis.work(*what, **options)
    else:
        connect = functools.partial(module.Driver.connect, url, cluster=cluster)
        anyio.run(_serve_later, connect, what, options, backend=driver)
    say("has stopped")


async def _serve_later(connect: Callable[[], Any], what: Sequence[AnyWork], options: dict[str, Any]) -> None:
    async with connect() as redis:
        await redis.work(*what, **options)


def _log(event: WorkEvent) -> None:
    if event.what not in _SAID:
        return
    level, said = _SAID[event.what]
    error = event.error
    # Never the payload, which is somebody's; a traceback where there is one, and the handler did not mean it.
    if error is None or isinstance(error, (RetryLater, GiveUp)) or error.__traceback__ is None:
        why = error.why if isinstance(error, RetryLater) else str(error or "")
        _logger.log(level, "job %r of %r %s%s", event.job.id, event.queue, said, f": {why}" if why else "")
    else:
        _logger.log(level, "job %r of %r %s", event.job.id, event.queue, said, exc_info=error)


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
    # A process that had not come so far as to listen to signals had not begun anything either.
    return 0 if all(code in {0, -signal.SIGTERM} for code in codes) else 1
