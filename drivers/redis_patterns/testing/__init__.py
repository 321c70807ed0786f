"""Helpers for tests of code that uses redis-patterns: a private Redis server."""

from redis_patterns.testing._server import Server, ServerNotFound, bundled_server, find_server, server

__all__ = ["Server", "ServerNotFound", "bundled_server", "find_server", "server"]
