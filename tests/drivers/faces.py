"""One shape for all drivers, so that each conformance test is written once.

A test is an async function that gets a `Face`. The asyncio and trio drivers have that shape already; the sync driver's
calls go to threads.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread
import fakeredis
import redis
import redis.asyncio

import redis_patterns.asyncio
import redis_patterns.sync
import redis_patterns.trio
from redis_patterns import Duration, FlagClient, Flags, Flow, Held, Leasable, Plan
from redis_patterns.testing import memory

T = TypeVar("T")


class Face(Protocol):
    """What every driver can do."""

    async def run(self, step: Plan[T] | Flow[T], *, timeout: Duration | None = None) -> T: ...
    def hold(
        self, lock: Leasable, *, wait: Duration | None = 5, renew: bool = True
    ) -> AbstractAsyncContextManager[Held]: ...
    async def lead(
        self, lock: Leasable, work: Callable[[Held], Awaitable[T]], *, wait: Duration | None = None
    ) -> T: ...
    def follow(self, flags: Flags | FlagClient) -> AbstractAsyncContextManager[FlagClient]: ...
    async def close(self, grace: Duration = 5) -> None: ...


class SyncFace:
    """The sync driver, each call in a thread."""

    def __init__(self, driver: redis_patterns.sync.Driver) -> None:
        self.driver = driver
        # As many threads as a test wants: a blocked one must not keep others waiting for a place.
        self._threads = anyio.CapacityLimiter(256)

    async def run(self, step: Plan[T] | Flow[T], *, timeout: Duration | None = None) -> T:
        return await anyio.to_thread.run_sync(lambda: self.driver.run(step, timeout=timeout), limiter=self._threads)

    @contextlib.asynccontextmanager
    async def hold(self, lock: Leasable, *, wait: Duration | None = 5, renew: bool = True) -> AsyncGenerator[Held]:
        manager = self.driver.hold(lock, wait=wait, renew=renew)
        held = await anyio.to_thread.run_sync(manager.__enter__, limiter=self._threads)
        try:
            yield held
        except BaseException as error:
            kind, traceback, caught = type(error), error.__traceback__, error
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(lambda: manager.__exit__(kind, caught, traceback))
            raise
        else:
            await anyio.to_thread.run_sync(lambda: manager.__exit__(None, None, None), limiter=self._threads)

    async def lead(self, lock: Leasable, work: Callable[[Held], Awaitable[T]], *, wait: Duration | None = None) -> T:
        async def call(held: Held) -> T:
            return await work(held)

        return await anyio.to_thread.run_sync(
            lambda: self.driver.lead(lock, lambda held: anyio.from_thread.run(call, held), wait=wait),
            limiter=self._threads,
        )

    @contextlib.asynccontextmanager
    async def follow(self, flags: Flags | FlagClient) -> AsyncGenerator[FlagClient]:
        manager = self.driver.follow(flags)
        client = await anyio.to_thread.run_sync(manager.__enter__, limiter=self._threads)
        try:
            yield client
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(lambda: manager.__exit__(None, None, None), limiter=self._threads)

    async def close(self, grace: Duration = 5) -> None:
        await anyio.to_thread.run_sync(self.driver.close, grace)


Maker = Callable[[str, dict[str, Any]], AbstractAsyncContextManager[Face]]


@contextlib.asynccontextmanager
async def _sync(url: str, options: dict[str, Any]) -> AsyncGenerator[Face]:
    face = SyncFace(redis_patterns.sync.Driver.connect(url, **options))
    try:
        yield face
    finally:
        with anyio.CancelScope(shield=True):
            await face.close(0)


@contextlib.asynccontextmanager
async def _sync_embedded(url: str, options: dict[str, Any]) -> AsyncGenerator[Face]:
    own, rest = _split(options)
    with redis.Redis.from_url(url, protocol=2, decode_responses=True, **rest) as client:
        face = SyncFace(redis_patterns.sync.Driver(client, **own))
        try:
            yield face
        finally:
            with anyio.CancelScope(shield=True):
                await face.close(0)


@contextlib.asynccontextmanager
async def _sync_memory(_: str, options: dict[str, Any]) -> AsyncGenerator[Face]:
    own, _rest = _split(options)
    with fakeredis.FakeRedis() as client:
        face = SyncFace(redis_patterns.sync.Driver(client, **own))
        try:
            yield face
        finally:
            with anyio.CancelScope(shield=True):
                await face.close(0)


def _asyncio(url: str, options: dict[str, Any]) -> AbstractAsyncContextManager[Face]:
    return redis_patterns.asyncio.Driver.connect(url, **options)


def _asyncio_resp2(url: str, options: dict[str, Any]) -> AbstractAsyncContextManager[Face]:
    return redis_patterns.asyncio.Driver.connect(url, protocol=2, **options)


@contextlib.asynccontextmanager
async def _asyncio_embedded(url: str, options: dict[str, Any]) -> AsyncGenerator[Face]:
    own, rest = _split(options)
    async with (
        redis.asyncio.Redis.from_url(url, decode_responses=True, **rest) as client,
        redis_patterns.asyncio.Driver(client, **own) as driver,
    ):
        yield driver


@contextlib.asynccontextmanager
async def _asyncio_memory(_: str, options: dict[str, Any]) -> AsyncGenerator[Face]:
    own, _rest = _split(options)
    async with fakeredis.FakeAsyncRedis() as client, redis_patterns.asyncio.Driver(client, **own) as driver:
        yield driver


@contextlib.asynccontextmanager
async def _sync_own(_: str, options: dict[str, Any]) -> AsyncGenerator[Face]:
    face = SyncFace(memory.Server().sync(**options))
    try:
        yield face
    finally:
        with anyio.CancelScope(shield=True):
            await face.close(0)


@contextlib.asynccontextmanager
async def _running(server: memory.Server, opening: AbstractAsyncContextManager[Face]) -> AsyncGenerator[Face]:
    """Let the clock of a server in memory run while the driver is used."""
    async with opening as driver, anyio.create_task_group() as tasks:

        async def tick() -> None:
            while True:
                await anyio.sleep(0.001)
                await server.clock.elapse(0.001)

        tasks.start_soon(tick)
        try:
            yield driver
        finally:
            tasks.cancel_scope.cancel()


def _asyncio_own(_: str, options: dict[str, Any]) -> AbstractAsyncContextManager[Face]:
    server = memory.Server()
    return _running(server, server.asyncio(**options))


def _trio_own(_: str, options: dict[str, Any]) -> AbstractAsyncContextManager[Face]:
    server = memory.Server()
    return _running(server, server.trio(**options))


def _trio(url: str, options: dict[str, Any]) -> AbstractAsyncContextManager[Face]:
    return redis_patterns.trio.Driver.connect(url, **options)


def _trio_resp2(url: str, options: dict[str, Any]) -> AbstractAsyncContextManager[Face]:
    return redis_patterns.trio.Driver.connect(url, protocol=2, **options)


@contextlib.asynccontextmanager
async def _sync_cluster(url: str, options: dict[str, Any]) -> AsyncGenerator[Face]:
    own, rest = _split(options)
    with redis.RedisCluster.from_url(url, decode_responses=True, **rest) as client:
        face = SyncFace(redis_patterns.sync.Driver(client, **own))
        try:
            yield face
        finally:
            with anyio.CancelScope(shield=True):
                await face.close(0)


@contextlib.asynccontextmanager
async def _asyncio_cluster(url: str, options: dict[str, Any]) -> AsyncGenerator[Face]:
    own, rest = _split(options)
    async with (
        redis.asyncio.RedisCluster.from_url(url, decode_responses=True, **rest) as client,
        redis_patterns.asyncio.Driver(client, **own) as driver,
    ):
        yield driver


def _split(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tell a driver's own options from its client's."""
    own = {
        name: value
        for name, value in options.items()
        if name in {"retry_for", "on_background_error", "instrument", "blocking_connections"}
    }
    return own, {name: value for name, value in options.items() if name not in own}


@dataclass(frozen=True)
class Kind:
    """A driver in one of its forms.

    Parameters:
        name: what the test's id says.
        backend: the event loop that the test runs on.
        make: opens it on a URL.
        make_cluster: opens it on a cluster of which the URL names a node.
        memory: whether it has a server of its own in memory, and the URL does not matter.
    """

    name: str
    backend: str | tuple[str, dict[str, Any]]
    make: Maker
    make_cluster: Maker | None = None
    memory: bool = False


# It has no wheels for some systems.
_UVLOOP = importlib.util.find_spec("uvloop") is not None


def _on_cluster(make: Maker) -> Maker:
    return lambda url, options: make(url, {**options, "cluster": True})


KINDS = [
    Kind("sync", "asyncio", _sync, _on_cluster(_sync)),
    Kind("sync-embedded", "asyncio", _sync_embedded, _sync_cluster),
    Kind("sync-memory", "asyncio", _sync_memory, memory=True),
    Kind("asyncio", "asyncio", _asyncio, _on_cluster(_asyncio)),
    Kind("asyncio-resp2", "asyncio", _asyncio_resp2),
    Kind("asyncio-embedded", "asyncio", _asyncio_embedded, _asyncio_cluster),
    *([Kind("asyncio-uvloop", ("asyncio", {"use_uvloop": True}), _asyncio)] if _UVLOOP else []),
    Kind("asyncio-memory", "asyncio", _asyncio_memory, memory=True),
    Kind("sync-own", "asyncio", _sync_own, memory=True),
    Kind("asyncio-own", "asyncio", _asyncio_own, memory=True),
    Kind("trio-own", "trio", _trio_own, memory=True),
    Kind("trio", "trio", _trio, _on_cluster(_trio)),
    Kind("trio-resp2", "trio", _trio_resp2),
]
