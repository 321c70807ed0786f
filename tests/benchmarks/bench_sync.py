"""Synchronous code: one caller, client and server on one core."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Any

import redis

from redis_patterns.sync import Driver
from tests.benchmarks import workload
from tests.benchmarks.floors import Bare
from tests.benchmarks.harness import Case, Contender, Work
from tests.benchmarks.lab import Group
from tests.benchmarks.workload import calling, calling_built

__all__ = ["BARE", "GROUP", "bare"]

BARE = "bare blocking socket"


def _cases(path: str) -> list[Case]:
    """Give the cases, for the server on a unix socket."""

    def ours(name: str, make: Callable[[Driver], Work], check: Callable[[Driver], None]) -> Contender:
        @contextlib.asynccontextmanager
        async def opening() -> AsyncGenerator[Work]:
            with Driver.connect(f"unix://{path}") as driver:
                check(driver)
                yield make(driver)

        return Contender(name, opening)

    def peer(name: str, make: Callable[[redis.Redis], Work], *, single: bool = False) -> Contender:
        @contextlib.asynccontextmanager
        async def opening() -> AsyncGenerator[Work]:
            with redis.Redis(unix_socket_path=path, single_connection_client=single) as client:
                yield make(client)

        return Contender(name, opening)

    def checks_get(driver: Driver) -> None:
        workload.checked_get(driver.run(workload.get()))

    def checks_hit(driver: Driver) -> None:
        workload.checked_hit(driver.run(workload.hit()))

    def checks_gets(driver: Driver) -> None:
        workload.checked_gets(driver.run(workload.gets()))

    return [
        Case(
            "sync-get",
            "one GET, in synchronous code",
            BARE,
            [
                bare(path, "get"),
                # What each layer adds, so that the whole can be accounted for.
                ours("ours, the link alone", _link, checks_get),
                ours("ours, lease and link", _transport, checks_get),
                ours("ours, plan prebuilt", lambda driver: calling(driver.run, workload.get()), checks_get),
                ours("ours, plan built each time", lambda driver: calling_built(driver.run, workload.get), checks_get),
                peer("redis-py", _get),
                peer("redis-py, single connection", _get, single=True),
            ],
            ours="ours, plan built each time",
        ),
        Case(
            "sync-script",
            "one script: a hit of a token bucket, in synchronous code",
            BARE,
            [
                bare(path, "script"),
                ours("ours, plan built each time", lambda driver: calling_built(driver.run, workload.hit), checks_hit),
                peer("redis-py register_script", _script),
                peer("redis-py register_script, single connection", _script, single=True),
            ],
            ours="ours, plan built each time",
        ),
        Case(
            "sync-batch",
            f"one batch of {workload.SIZE} GETs, in synchronous code",
            BARE,
            [
                bare(path, "batch"),
                ours("ours, batch prebuilt", lambda driver: calling(driver.run, workload.gets()), checks_gets),
                ours(
                    "ours, batch built each time", lambda driver: calling_built(driver.run, workload.gets), checks_gets
                ),
                peer("redis-py pipeline", _pipeline),
            ],
            ours="ours, batch built each time",
        ),
    ]


GROUP = Group(
    "sync",
    "Synchronous code",
    "One caller sends a command, a script, a batch. The floor is a blocking socket with hiredis and nothing else. The "
    "rows of ours show what each layer adds; the peers leave replies as they are.",
    lambda lab: lab.measure(_cases(lab.server.socket_path)),
)


def bare(path: str, what: str) -> Contender:
    """Give the floor of one caller, for ``get``, ``script`` or ``batch``."""

    @contextlib.asynccontextmanager
    async def opening() -> AsyncGenerator[Work]:
        sock = Bare(path)
        try:
            if what == "get":
                workload.checked_get(sock.ask(workload.GET))
                yield calling(sock.ask, workload.GET)
            elif what == "script":
                workload.checked_hit(sock.ask(workload.EVALSHA))
                yield calling(sock.ask, workload.EVALSHA)
            else:
                words = [workload.GET] * workload.SIZE
                workload.checked_gets(sock.ask_all(words))
                yield calling(sock.ask_all, words)
        finally:
            sock.close()

    return Contender(BARE, opening)


def _link(driver: Driver) -> Work:
    commands = workload.get().commands
    return calling(driver._transport._idle[-1].ask, commands, None)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


def _transport(driver: Driver) -> Work:
    return calling(driver._transport.ask, workload.get().commands, None)


def _get(client: redis.Redis) -> Work:
    workload.checked_get(client.get(workload.KEY))
    return calling(client.get, workload.KEY)


def _script(client: redis.Redis) -> Work:
    script: Any = client.register_script(workload.SCRIPT.source)
    workload.checked_hit(script(workload.SCRIPT_KEYS, workload.SCRIPT_ARGUMENTS))
    return calling(script, workload.SCRIPT_KEYS, workload.SCRIPT_ARGUMENTS)


def _pipeline(client: redis.Redis) -> Work:
    def run() -> object:
        pipeline = client.pipeline(transaction=False)
        for _ in range(workload.SIZE):
            pipeline.get(workload.KEY)
        return pipeline.execute()

    workload.checked_gets(run())
    return calling(run)
