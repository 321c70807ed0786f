"""Measure all that is compared with other libraries, and with the least that is possible.

    nox -s bench
    nox -s bench -- --short
    nox -s bench -- --only locks --only queues

It starts a private server, and ends by itself. A whole run writes benchmarks.json, benchmarks.md and the charts into
docs/; one that is short, or of some groups, into build/bench/. Ratios are what to look at: times are those of one
machine at one moment. Peers that are not installed are reported as absent.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # A script's own folder comes first on the path; its modules are known by their place in the project.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import redis

from redis_patterns.testing import server
from tests.benchmarks import (
    bench_async,
    bench_limits,
    bench_sync,
    caching,
    counters,
    flags,
    hand_off,
    leaderboards,
    peers,
    queues,
    sessions,
    workload,
)
from tests.benchmarks.lab import Group, Lab
from tests.benchmarks.machine import about
from tests.benchmarks.report import DATA, Measured, Results, text, write
from tests.benchmarks.tables import Table

DOCS = peers.ROOT / "docs"
TRIED = peers.ROOT / "build" / "bench"

GROUPS: Sequence[Group] = [
    bench_sync.GROUP,
    *bench_async.GROUPS,
    bench_limits.GROUP,
    caching.GROUP,
    hand_off.GROUP,
    queues.GROUP,
    sessions.GROUP,
    leaderboards.GROUP,
    counters.GROUP,
    flags.GROUP,
]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    arguments = _parser().parse_args(argv)
    names = [group.name for group in GROUPS]
    if arguments.list:
        print("\n".join(names))
        return 0
    if wrong := [name for name in arguments.only if name not in names]:
        print(f"no group is called {' or '.join(wrong)}; --list shows all", file=sys.stderr)
        return 2
    if arguments.redraw:
        write((DOCS / DATA).read_text(encoding="utf-8"), DOCS)
        return 0
    chosen = [group for group in GROUPS if not arguments.only or group.name in arguments.only]
    folder = arguments.to or (TRIED if arguments.short or arguments.only else DOCS)
    write(_measured(chosen, short=arguments.short, uvloop=arguments.uvloop).written(), folder)
    print(f"written: {folder}")
    return 0


def _measured(groups: Sequence[Group], *, short: bool, uvloop: bool) -> Results:
    factory, loop = _event_loop(uvloop)
    # By default SIGTERM ends a program where it stands, and the server would stay behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    _more_files()
    measured: list[Measured] = []
    with server(tcp=True) as running, redis.Redis(unix_socket_path=running.socket_path) as client:
        facts = about(f"{Path(running.executable).name} {running.version}", loop)
        print("\n".join(f"{name}: {said}" for name, said in facts.items()), "\n")
        lab = Lab(running, short, factory)
        for group in groups:
            began = time.monotonic()
            client.flushall()
            workload.prepare(running.socket_path)
            tables: list[Table] = []
            for table in group.tables(lab):
                tables.append(table)
                print(text(table), flush=True)
            measured.append(Measured(group.name, group.title, group.how, tables))
            print(f"{group.name}: {len(tables)} tables, in {time.monotonic() - began:.0f} s\n", flush=True)
    return Results(facts, peers.versions(), short, measured)


def _event_loop(uvloop: bool) -> tuple[Callable[[], asyncio.AbstractEventLoop], str]:
    """Give what makes asyncio's loop, and what to call it."""
    package: Any = peers.optional("uvloop") if uvloop else None
    if package is not None:
        return package.new_event_loop, "uvloop"
    return asyncio.new_event_loop, "the standard one; uvloop is absent" if uvloop else "the standard one"


def _more_files() -> None:
    """Make room for the sockets of a pool with a connection for each task, several pools at the same time."""
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
        if soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="tests/benchmarks/run.py"
    )
    parser.add_argument("--short", action="store_true", help="few and short rounds: whether all works")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="a group; may be repeated")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="where to write, instead of docs/ or build/bench/")
    parser.add_argument("--redraw", action="store_true", help="measure nothing: draw docs/benchmarks.json anew")
    parser.add_argument("--uvloop", action="store_true", help="run asyncio's cases on uvloop, if it is installed")
    parser.add_argument("--list", action="store_true", help="print the names of the groups")
    return parser


if __name__ == "__main__":
    sys.exit(main())
