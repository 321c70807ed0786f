"""Helpers for tests of code that uses redis-patterns: a private Redis server."""

from redis_patterns.testing._dry import Dry, assert_plan
from redis_patterns.testing._server import Server, ServerNotFound, bundled_server, find_server, server

__all__ = ["Dry", "Server", "ServerNotFound", "assert_plan", "bundled_server", "find_server", "server"]
