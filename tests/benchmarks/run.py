"""Measure the drivers against the least that is possible, and against other clients.

    python tests/benchmarks/run.py --quick
    python tests/benchmarks/run.py --only 'sync-*' --rounds 31 --json result.json

It starts a private server on a unix socket, and ends by itself. Ratios to the floor are what to look at: absolute
numbers are those of one machine at one moment. Peers that are not installed are reported as absent; they come with
``pip install -r tests/benchmarks/requirements.txt``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fnmatch
import math
import signal
import sys
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import trio

if __name__ == "__main__":
    # A script's own folder comes first on the path; its modules are known by their place in the project.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from redis_patterns.testing import server
from tests.benchmarks import bench_async, bench_limits, bench_sync, workload
from tests.benchmarks.harness import Case, Samples, Settings, measure, open_all, summarize
from tests.benchmarks.machine import PLACES, about, pinned
from tests.benchmarks.report import Result, table, write

QUICK = Settings(rounds=3, slice_seconds=0.02, budget=5.0, least=5)
CASE_LIMIT = 120.0
"""Seconds after which a case is given up; its rounds have their own, smaller, budget."""
BLOCKED_LIMIT = CASE_LIMIT + 10.0
"""The same for a case that does not even let its event loop go on."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    arguments = _parser().parse_args(argv)
    settings = QUICK if arguments.quick else Settings()
    if arguments.rounds is not None:
        settings = Settings(arguments.rounds, settings.slice_seconds, settings.budget, settings.least)
    factory, loop = _event_loop(arguments.uvloop)
    results: list[Result] = []
    # By default SIGTERM ends a program where it stands, and the server would stay behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    with server() as running:
        path = running.socket_path
        cases = [*bench_sync.cases(path), *bench_async.asyncio_cases(path), *bench_async.trio_cases(path)]
        cases += bench_limits.cases(path)
        if arguments.list:
            print("\n".join(case.name for case in cases))
            return 0
        chosen = [case for case in cases if _wanted(case.name, arguments.only)]
        if not chosen:
            print(f"no case is called {' or '.join(arguments.only)}; --list shows all", file=sys.stderr)
            return 2
        _more_files()
        workload.prepare(path)
        facts = {**about(f"{Path(running.executable).name} {running.version}"), "asyncio loop": loop}
        print("\n".join(f"{name}: {'absent' if value is None else value}" for name, value in facts.items()), "\n")
        began = time.monotonic()
        for case in chosen:
            with pinned(running.pid, arguments.cores or case.cores) as cores, _limited(BLOCKED_LIMIT):
                samples = _measured(case, settings, factory)
            result = Result(case, cores, summarize(samples, case.floor, case.contenders), samples)
            results.append(result)
            print(table(result), flush=True)
        print(f"cases: {len(chosen)}, in {time.monotonic() - began:.0f} s")
    if arguments.json is not None:
        write(arguments.json, facts, settings, results)
    return 0


def _measured(case: Case, settings: Settings, factory: Callable[[], asyncio.AbstractEventLoop]) -> dict[str, Samples]:
    async def whole() -> dict[str, Samples]:
        async with contextlib.AsyncExitStack() as stack:
            works = await open_all(case.contenders, stack)
            return await measure(works, settings, tasks=case.tasks)

    async def on_trio() -> dict[str, Samples]:
        with trio.fail_after(CASE_LIMIT):
            return await whole()

    async def on_asyncio() -> dict[str, Samples]:
        async with asyncio.timeout(CASE_LIMIT):
            return await whole()

    if case.loop == "trio":
        return trio.run(on_trio)
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(on_asyncio())


def _event_loop(uvloop: bool) -> tuple[Callable[[], asyncio.AbstractEventLoop], str]:
    """Give what makes asyncio's loop, and what to call it."""
    package: Any = workload.optional("uvloop") if uvloop else None
    if package is not None:
        return package.new_event_loop, "uvloop"
    return asyncio.new_event_loop, "the standard one; uvloop is absent" if uvloop else "the standard one"


def _wanted(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


@contextlib.contextmanager
def _limited(seconds: float) -> Generator[None]:
    """Raise TimeoutError in a block that hangs in a blocking call, so that the server is stopped all the same."""

    def give_up(*_: object) -> None:
        raise TimeoutError(f"a case took longer than {seconds:g} s")

    if sys.platform == "win32":
        raise OSError("the benchmarks use unix sockets, and signals to end by themselves")
    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(math.ceil(seconds))
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


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
    parser.add_argument("--quick", action="store_true", help="few and short rounds: whether it works, within a minute")
    parser.add_argument(
        "--rounds", type=_count, metavar="N", help=f"rounds of each case, instead of {Settings().rounds}"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything to a file")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="a case, or several as in 'sync-*'; may be repeated"
    )
    parser.add_argument(
        "--cores", choices=PLACES, help="where client and server run, instead of each case's own choice"
    )
    parser.add_argument("--uvloop", action="store_true", help="run asyncio's cases on uvloop, if it is installed")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    return parser


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {count}")
    return count


if __name__ == "__main__":
    sys.exit(main())
