"""asyncio and trio: one caller, and many tasks that share a driver."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import redis.asyncio
import trio

import redis_patterns.asyncio
import redis_patterns.trio
from redis_patterns._async import AsyncDriver
from tests.benchmarks import peers, workload
from tests.benchmarks.bench_sync import BARE, bare
from tests.benchmarks.floors import JoinedAsyncio, JoinedTrio
from tests.benchmarks.harness import Case, Contender, Work
from tests.benchmarks.lab import Group
from tests.benchmarks.workload import awaiting, awaiting_built

__all__ = ["GROUPS", "asyncio_cases", "trio_cases"]

TASKS = (1, 64, 512)
JOINED = "bare joined connection"

Source: TypeAlias = Callable[[str, int], contextlib.AbstractAsyncContextManager[Work]]
"""Opens for a workload's name and a number of tasks, and gives the work of one of them."""

Tasks: TypeAlias = Callable[[Work, int], Work]
"""Makes of one task's work that of many."""


@dataclass(frozen=True)
class _Entry:
    """A contender of several cases."""

    name: str
    source: Source
    workloads: Sequence[str] = ("get", "script", "batch")
    absent: str = ""


def asyncio_cases(path: str) -> list[Case]:
    """Give asyncio's cases, for the server on a unix socket."""

    @contextlib.asynccontextmanager
    async def joined(what: str, tasks: int) -> AsyncGenerator[Work]:
        del tasks
        connection = await JoinedAsyncio.open(path)
        try:
            yield await _joined(connection.ask, what)
        finally:
            connection.close()

    @contextlib.asynccontextmanager
    async def native(what: str, tasks: int) -> AsyncGenerator[Work]:
        del tasks
        async with redis_patterns.asyncio.Driver.connect(f"unix://{path}") as driver:
            yield await _ours(driver, what)

    @contextlib.asynccontextmanager
    async def on_client(what: str, tasks: int) -> AsyncGenerator[Work]:
        del tasks
        async with (
            redis.asyncio.Redis(unix_socket_path=path) as client,
            redis_patterns.asyncio.Driver(client) as driver,
        ):
            yield await _ours(driver, what)

    @contextlib.asynccontextmanager
    async def redis_py(what: str, tasks: int) -> AsyncGenerator[Work]:
        # A connection for each task, as fewer would raise MaxConnectionsError.
        async with redis.asyncio.Redis(unix_socket_path=path, max_connections=tasks + 1) as client:

            async def pipelined() -> object:
                pipeline: Any = client.pipeline(transaction=False)
                for _ in range(workload.SIZE):
                    pipeline.get(workload.KEY)
                return await pipeline.execute()

            yield await _peer(client, pipelined, what)

    def in_tasks(work: Work, tasks: int) -> Work:
        async def spread(count: int) -> None:
            await asyncio.gather(*[work(count // tasks) for _ in range(tasks)])

        return spread

    return _cases(
        "asyncio",
        path,
        in_tasks,
        [
            _Entry(JOINED, joined, ("get", "script")),
            _Entry("ours", native),
            _Entry("ours, batch built each time", native, ("built",)),
            _Entry("ours on a redis.asyncio client", on_client),
            _Entry("redis.asyncio", redis_py),
            _coredis(path),
        ],
    )


def trio_cases(path: str) -> list[Case]:
    """Give trio's cases, for the server on a unix socket."""

    @contextlib.asynccontextmanager
    async def joined(what: str, tasks: int) -> AsyncGenerator[Work]:
        del tasks
        connection = JoinedTrio(path)
        try:
            yield await _joined(connection.ask, what)
        finally:
            connection.close()

    @contextlib.asynccontextmanager
    async def native(what: str, tasks: int) -> AsyncGenerator[Work]:
        del tasks
        async with redis_patterns.trio.Driver.connect(f"unix://{path}") as driver:
            yield await _ours(driver, what)

    def in_tasks(work: Work, tasks: int) -> Work:
        async def spread(count: int) -> None:
            async with trio.open_nursery() as nursery:
                for _ in range(tasks):
                    nursery.start_soon(work, count // tasks)

        return spread

    return _cases(
        "trio",
        path,
        in_tasks,
        [
            _Entry(JOINED, joined, ("get", "script")),
            _Entry("ours", native),
            _Entry("ours, batch built each time", native, ("built",)),
            _coredis(path),
        ],
    )


def _coredis(path: str) -> _Entry:
    """Give coredis, which runs on both loops."""
    package = peers.optional("coredis")

    @contextlib.asynccontextmanager
    async def opening(what: str, tasks: int) -> AsyncGenerator[Work]:
        async with package.Redis(unix_socket_path=path, max_connections=max(tasks, 2)) as client:

            async def pipelined() -> object:
                async with client.pipeline(transaction=False) as pipeline:
                    for _ in range(workload.SIZE):
                        pipeline.get(workload.KEY)
                return pipeline.results

            yield await _peer(client, pipelined, what)

    return _Entry("coredis", opening, absent=peers.absent("coredis"))


def _cases(loop: str, path: str, in_tasks: Tasks, entries: Sequence[_Entry]) -> list[Case]:
    """Give a loop's cases: each workload with each number of tasks, and a batch by one task."""

    def contender(entry: _Entry, what: str, tasks: int) -> Contender:
        # One that builds its batches is a row of the batches' table.
        own = "built" if "built" in entry.workloads else what

        @contextlib.asynccontextmanager
        async def opening() -> AsyncGenerator[Work]:
            async with entry.source(own, tasks) as work:
                yield work if tasks == 1 else in_tasks(work, tasks)

        return Contender(entry.name, opening, entry.absent)

    titles = {"get": "one GET", "script": "one script: a hit of a token bucket"}
    found: list[Case] = []
    for what, title in titles.items():
        for tasks in TASKS:
            rows = [contender(entry, what, tasks) for entry in entries if what in entry.workloads]
            by = "one task" if tasks == 1 else f"{tasks} tasks"
            found.append(
                Case(
                    f"{loop}-{what}-{tasks}",
                    f"{title}, {by} of {loop}",
                    BARE if tasks == 1 else JOINED,
                    [bare(path, what), *rows] if tasks == 1 else rows,
                    loop,
                    tasks,
                    # A lone caller hides in the time that it takes to wake another core; many keep both cores awake.
                    "same" if tasks == 1 else "apart",
                )
            )
    rows = [contender(entry, "batch", 1) for entry in entries if {"batch", "built"} & set(entry.workloads)]
    title = f"one batch of {workload.SIZE} GETs, one task of {loop}"
    found.append(Case(f"{loop}-batch", title, BARE, [bare(path, "batch"), *rows], loop))
    return found


async def _joined(ask: Callable[[tuple[Any, ...]], Awaitable[object]], what: str) -> Work:
    if what == "get":
        workload.checked_get(await ask(workload.GET))
        return awaiting(ask, workload.GET)
    workload.checked_hit(await ask(workload.EVALSHA))
    return awaiting(ask, workload.EVALSHA)


async def _ours(driver: AsyncDriver, what: str) -> Work:
    if what == "get":
        workload.checked_get(await driver.run(workload.get()))
        return awaiting(driver.run, workload.get())
    if what == "script":
        workload.checked_hit(await driver.run(workload.hit()))
        return awaiting_built(driver.run, workload.hit)
    workload.checked_gets(await driver.run(workload.gets()))
    return awaiting(driver.run, workload.gets()) if what == "batch" else awaiting_built(driver.run, workload.gets)


async def _peer(client: Any, pipelined: Callable[[], Awaitable[object]], what: str) -> Work:
    """Give a client's work; those that are measured have the same names for the same things."""
    if what == "get":
        workload.checked_get(await client.get(workload.KEY))
        return awaiting(client.get, workload.KEY)
    if what == "script":
        script = client.register_script(workload.SCRIPT.source)
        workload.checked_hit(await script(workload.SCRIPT_KEYS, workload.SCRIPT_ARGUMENTS))
        return awaiting(script, workload.SCRIPT_KEYS, workload.SCRIPT_ARGUMENTS)
    workload.checked_gets(await pipelined())
    return awaiting(pipelined)


_HOW = (
    "One task, or many that share a driver, send a command, a script, a batch. The floor of one task is a blocking "
    "socket with hiredis, that of many one connection that all share. redis-py has a connection for each task."
)
GROUPS = [
    Group("asyncio", "asyncio", _HOW, lambda lab: lab.measure(asyncio_cases(lab.server.socket_path))),
    Group(
        "trio",
        "trio",
        "The same on trio, for which there is no redis-py.",
        lambda lab: lab.measure(trio_cases(lab.server.socket_path)),
    ),
]
