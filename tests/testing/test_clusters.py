from __future__ import annotations

import contextlib
from typing import Any

import pytest

from redis_patterns import Leaderboard, OutcomeUnknown, Unreachable, batch
from redis_patterns.sync import Driver
from redis_patterns.testing import Server, cluster, sentinels, server
from tests.drivers.plans import once, reads


def test_a_cluster() -> None:
    """Its nodes share the slots, and a driver finds all of them from one."""
    with cluster(size=2) as running:
        assert len(running.nodes) == 2
        with Driver.connect(running.url, cluster=True) as redis:
            boards = [Leaderboard(f"board-{number}") for number in range(10)]
            assert redis.run(batch(*(board.increment("ann") for board in boards))) == (1.0,) * 10
        spread: list[object] = []
        for node in running.nodes:
            with Driver.connect(node.url) as redis:
                spread.append(redis.run(reads("DBSIZE")))
        assert 0 not in spread


def test_sentinels_with_a_password() -> None:
    """They name the primary, which asks for its password."""
    with sentinels(password="secret", size=1) as watched:
        with Driver.connect(watched.url, password="secret") as redis:
            assert redis.run(once("INCR", "x")) == 1
        options: dict[str, Any] = {"sentinels": watched.addresses, "service_name": watched.service_name}
        with Driver.connect("redis://:secret@", **options) as redis:
            assert redis.run(once("INCR", "x")) == 2


def test_a_frozen_server() -> None:
    """It says nothing while it is frozen, and goes on afterwards."""
    with server() as running, Driver.connect(running.url, socket_timeout=0.05, retry_for=0) as redis:
        redis.run(reads("PING"))
        with running.frozen(), pytest.raises((OutcomeUnknown, Unreachable)):
            redis.run(once("INCR", "x"))
        with contextlib.suppress(OutcomeUnknown, Unreachable):
            redis.run(reads("PING"), timeout=5)
        assert redis.run(reads("PING"), timeout=5) == b"PONG"


def test_a_port_is_there_only_with_tcp(redis_server: Server) -> None:
    """A server on a unix socket says so."""
    with pytest.raises(RuntimeError, match="tcp=True"):
        _ = redis_server.port
