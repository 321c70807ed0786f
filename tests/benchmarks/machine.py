"""Where it is measured: pinned cores, and the versions that a result belongs to."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import platform
import sys
from collections.abc import Generator, Sequence
from pathlib import Path

from tests.benchmarks import peers

__all__ = ["PLACES", "about", "cores_for", "pinned"]

PLACES = ("same", "apart", "free")
"""Client and server on one core, on two different ones, or wherever the system puts them."""


def cores_for(place: str, available: Sequence[int]) -> tuple[int, int] | None:
    """Choose the cores of client and server; ``None`` where there are not enough of them.

    From the end, as the first core often serves the machine's interrupts.
    """
    ordered = sorted(available)
    if place == "same":
        return (ordered[-1], ordered[-1]) if ordered else None
    if place == "apart":
        return (ordered[-1], ordered[-2]) if len(ordered) > 1 else None
    return None


@contextlib.contextmanager
def pinned(server_pid: int, place: str) -> Generator[str]:
    """Pin this process and the server for a block of code.

    Without it a ratio means little: a round trip between two cores is mostly the time to wake a sleeping one, in which
    a slow client hides, and the system moves the two about as it likes.

    Parameters:
        server_pid: the server's process.
        place: one of `PLACES`.

    Returns:
        A context manager that gives what was done, in words, for the result.
    """
    if place == "free":
        yield "not pinned"
        return
    if sys.platform != "linux":
        yield f"not pinned: {sys.platform} has no sched_setaffinity"
        return
    ours, theirs = os.sched_getaffinity(0), os.sched_getaffinity(server_pid)
    cores = cores_for(place, sorted(ours & theirs))
    if cores is None:
        yield f"not pinned: {len(ours & theirs)} core to put them {place} on"
        return
    client, server = cores
    os.sched_setaffinity(server_pid, {server})
    os.sched_setaffinity(0, {client})
    try:
        yield f"same core ({client})" if client == server else f"apart (client {client}, server {server})"
    finally:
        os.sched_setaffinity(0, ours)
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(server_pid, theirs)


def about(server: str, loop: str) -> dict[str, str]:
    """Tell what a result belongs to: when, where, and which versions."""
    release, _, _ = platform.release().partition("-")  # what follows is a distributor's own
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {release}",
        "server": server,
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "asyncio's loop": loop,
        **{package: peers.version(package) for package in ("redis", "hiredis", "trio", "anyio")},
    }


def _processor() -> str:
    # What platform.processor() gives on Linux is the architecture, or nothing.
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
