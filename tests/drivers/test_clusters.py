"""What is particular to clusters: slots that move, nodes that fail, keys that do not belong together."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from redis_patterns import CommandFailed, ConfigurationError, OutcomeUnknown, Unreachable, batch
from redis_patterns.testing import server
from redis_patterns_core.keys import slot
from tests.drivers.clusters import RunningCluster, cluster
from tests.drivers.faces import KINDS, Kind, Maker
from tests.drivers.plans import blocks, counts, echoes, once, reads, sets

pytestmark = pytest.mark.anyio

CLUSTERED = [kind for kind in KINDS if kind.make_cluster is not None]
_numbers = itertools.count()


def _name(kind: Kind) -> str:
    return kind.name


@pytest.fixture(params=CLUSTERED, ids=[kind.name for kind in CLUSTERED])
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


@pytest.fixture
def anyio_backend(kind: Kind) -> str | tuple[str, dict[str, Any]]:
    return kind.backend


@pytest.fixture
def make(kind: Kind) -> Maker:
    assert kind.make_cluster is not None
    return kind.make_cluster


def key_of(running: RunningCluster, node: int) -> str:
    """Give a new key in a slot that a node has, and that nothing else is in, so that it can be moved."""
    names = (f"key-{next(_numbers)}" for _ in range(1000))
    return next(key for key in names if running.owner(slot(key)) == node and running.is_empty(slot(key)))


async def test_a_batch_over_all_nodes(make: Maker, redis_cluster: RunningCluster) -> None:
    """Parts go to the nodes of their keys, and results come in the order of the parts."""
    keys = [key_of(redis_cluster, node) for node in (2, 0, 1, 0, 2)]
    async with make(redis_cluster.url, {}) as redis:
        for count in (1, 2, 3):
            assert await redis.run(batch(*(counts(key) for key in keys))) == (count,) * 5
        with pytest.raises(CommandFailed, match="WRONGTYPE"):
            await redis.run(batch(counts(keys[0]), once("RPUSH", keys[1], "x"), counts(keys[2])))
        assert await redis.run(batch(*(reads("GET", key) for key in keys))) == (b"4", b"3", b"4", b"3", b"3")
        await redis.run(batch(*(sets("DEL", key) for key in keys)))


async def test_keys_that_do_not_belong_together(make: Maker, redis_cluster: RunningCluster) -> None:
    """A command over several slots is refused, and nothing of its batch is sent."""
    keys = [key_of(redis_cluster, node) for node in (0, 1)]
    async with make(redis_cluster.url, {}) as redis:
        with pytest.raises(ConfigurationError, match="hash slot"):
            await redis.run(batch(once("INCR", keys[0]), reads("MGET", *keys)))
        assert await redis.run(reads("GET", keys[0])) is None


async def test_a_slot_that_moves(make: Maker, redis_cluster: RunningCluster) -> None:
    """While its keys move one by one and after that, each plan finds its key, and counts once."""
    tag = key_of(redis_cluster, 0)
    moving, staying, new = (f"{{{tag}}}{part}" for part in ("moving", "staying", "new"))
    number = slot(moving)
    async with make(redis_cluster.url, {}) as redis:
        assert await redis.run(batch(counts(moving), counts(staying))) == (1, 1)
        redis_cluster.start_moving(number, 1)
        redis_cluster.move_key(moving, number, 1)
        # One is there (ASK), one is still here, and what does not exist yet is made where the slot goes (ASK).
        assert await redis.run(batch(counts(moving), counts(staying), counts(new))) == (2, 2, 1)
        assert await redis.run(echoes(moving, "x")) == [moving.encode(), b"x"]
        redis_cluster.move_key(staying, number, 1)
        redis_cluster.finish_moving(number, 1)
        assert await redis.run(batch(counts(moving), counts(staying), counts(new))) == (3, 3, 2)  # MOVED
        assert await redis.run(batch(counts(moving), counts(staying), counts(new))) == (4, 4, 3)
        await redis.run(batch(*(sets("DEL", key) for key in (moving, staying, new))))


async def test_keys_on_both_sides_of_a_move(make: Maker, redis_cluster: RunningCluster) -> None:
    """A command whose keys are split between two nodes (TRYAGAIN) waits until they are together again."""
    tag = key_of(redis_cluster, 1)
    here, there = (f"{{{tag}}}{part}" for part in ("here", "there"))
    number = slot(here)
    async with make(redis_cluster.url, {"retry_for": 10}) as redis:
        await redis.run(batch(sets("SET", here, 1), sets("SET", there, 2)))
        redis_cluster.start_moving(number, 2)
        redis_cluster.move_key(there, number, 2)
        got: list[object] = []

        async def read() -> None:
            got.append(await redis.run(reads("MGET", here, there)))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await anyio.sleep(0.05)
            assert got == []
            redis_cluster.move_key(here, number, 2)
            redis_cluster.finish_moving(number, 2)
        assert got == [[b"1", b"2"]]
        await redis.run(sets("DEL", here, there))


async def test_a_blocking_plan_goes_to_its_node(make: Maker, redis_cluster: RunningCluster) -> None:
    """It waits at the node that has its key."""
    key = key_of(redis_cluster, 2)
    async with make(redis_cluster.url, {}) as redis:
        assert await redis.run(blocks(0.02, "BLPOP", key)) is None
        await redis.run(once("RPUSH", key, "x"))
        assert await redis.run(blocks(5, "BLPOP", key)) == [key.encode(), b"x"]


async def test_many_tasks_while_slots_move(make: Maker, redis_cluster: RunningCluster) -> None:
    """Under load nothing counts twice, whatever moves."""
    keys = [key_of(redis_cluster, 0) for _ in range(6)]
    answers: list[object] = []
    async with make(redis_cluster.url, {}) as redis:

        async def count(key: str) -> None:
            for _ in range(20):
                answer = await redis.run(counts(key))
                answers.append((key, answer))

        async with anyio.create_task_group() as tasks:
            for key in keys:
                tasks.start_soon(count, key)
                tasks.start_soon(count, key)
            for key in keys:
                redis_cluster.start_moving(slot(key), 1)
                await anyio.sleep(0.002)
                redis_cluster.move_key(key, slot(key), 1)
                await anyio.sleep(0.002)
                redis_cluster.finish_moving(slot(key), 1)
        assert sorted(answers, key=str) == sorted([(key, n) for key in keys for n in range(1, 41)], key=str)
        await redis.run(batch(*(sets("DEL", key) for key in keys)))


@pytest.fixture(scope="module")
def frail_cluster() -> Iterator[RunningCluster]:
    with cluster() as running:
        yield running


async def test_a_node_that_dies_and_comes_back(make: Maker, frail_cluster: RunningCluster) -> None:
    """Its keys cannot be reached meanwhile, the others' can, and when it is back so are they."""
    lost, kept = key_of(frail_cluster, 2), key_of(frail_cluster, 1)
    async with make(frail_cluster.url, {"retry_for": 0.3, "socket_timeout": 1}) as redis:
        await redis.run(batch(reads("GET", lost), reads("GET", kept)))
        frail_cluster.nodes[2].kill()
        try:
            with pytest.raises((Unreachable, OutcomeUnknown, CommandFailed)):
                await redis.run(once("INCR", lost))
            assert await redis.run(once("INCR", kept)) == 1
        finally:
            frail_cluster.nodes[2].restart()
        with anyio.fail_after(20):
            while True:
                with contextlib.suppress(Unreachable, OutcomeUnknown, CommandFailed):
                    assert await redis.run(batch(sets("SET", lost, 5), reads("GET", kept))) == (b"OK", b"1")
                    break
        await redis.run(batch(sets("DEL", lost), sets("DEL", kept)))


@pytest.mark.parametrize("kind", [kind for kind in CLUSTERED if "embedded" not in kind.name], ids=_name)
async def test_no_node_to_be_had(make: Maker) -> None:
    """Nothing was sent: `Unreachable`, without credentials."""
    async with make("redis://user:hunter2@127.0.0.1:1", {"retry_for": 0.05}) as redis:
        with pytest.raises(Unreachable) as caught:
            await redis.run(reads("GET", "x"))
        assert "hunter2" not in f"{caught.value} {caught.value.__cause__}"


@pytest.mark.parametrize("kind", [kind for kind in CLUSTERED if kind.name in {"asyncio", "trio"}], ids=_name)
async def test_a_server_that_is_no_cluster(make: Maker) -> None:
    """It says so, and that is the caller's at once (redis-py's clients say it in their own way)."""
    with server(tcp=True) as alone:
        async with make(alone.tcp_url, {}) as redis:
            with pytest.raises(CommandFailed, match="cluster support disabled"):
                await redis.run(reads("GET", "x"))


@pytest.mark.parametrize("kind", [kind for kind in CLUSTERED if "embedded" not in kind.name], ids=_name)
async def test_what_no_cluster_can_be(make: Maker) -> None:
    """A unix socket is no address that nodes give each other, and clusters have one database."""
    for url in ("unix:///tmp/redis.sock", "redis://localhost/1"):
        with pytest.raises(ConfigurationError, match="cluster"):
            async with make(url, {}):
                raise AssertionError("it was taken")
