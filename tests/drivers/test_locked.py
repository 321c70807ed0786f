"""Functions that run under a lock."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import anyio
import pytest

from redis_patterns import ConfigurationError, Lock, LockNotAcquired
from redis_patterns._async import AsyncDriver
from redis_patterns.asyncio import Driver as AsyncioDriver
from redis_patterns.sync import Driver
from redis_patterns.testing import Server
from redis_patterns.trio import Driver as TrioDriver


def test_functions(redis_server: Server) -> None:
    """The lock is named by the call, held while it runs and free afterwards, also when it fails."""
    namespace = secrets.token_hex(8)
    with Driver.connect(redis_server.url) as redis:
        held: list[bool] = []

        @redis.locked("order:{order}", wait=0, namespace=namespace)
        def ship(order: int, *, fail: bool = False) -> str:
            """Ship it."""
            held.append(redis.run(Lock(f"order:{order}", namespace=namespace).inspect()) is not None)
            with pytest.raises(LockNotAcquired):
                ship(order)
            if order == 1:
                ship(2)
            if fail:
                raise ValueError(order)
            return f"shipped {order}"

        assert ship.__doc__ == "Ship it."
        assert ship(1) == "shipped 1"
        with pytest.raises(ValueError, match="3"):
            ship(3, fail=True)
        assert ship(order=3) == "shipped 3"
        assert held == [True] * 4
        with pytest.raises(ConfigurationError, match="function must not be a coroutine function"):

            @redis.locked("x")
            async def never() -> None: ...


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
def test_coroutine_functions(kind: str, redis_server: Server) -> None:
    """The same; calls of the same name come one after the other."""
    namespace = secrets.token_hex(8)

    async def main() -> list[str]:
        connect: Callable[[str], AsyncDriver] = AsyncioDriver.connect if kind == "asyncio" else TrioDriver.connect
        async with connect(redis_server.url) as redis:
            seen: list[str] = []

            @redis.locked("order:{order}", wait=30, namespace=namespace)
            async def ship(order: int) -> None:
                seen.append(f"begin {order}")
                await anyio.sleep(0.01)
                seen.append(f"end {order}")

            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(ship, 7)
            with pytest.raises(ConfigurationError, match="function must be a coroutine function"):
                redis.locked("x")(len)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            return seen

    assert anyio.run(main, backend=kind) == ["begin 7", "end 7"] * 3
