"""Helpers for tests of code that uses redis-patterns: a private Redis server."""

from redis_patterns.testing._server import Server, ServerNotFound, find_server, server

__all__ = ["Server", "ServerNotFound", "find_server", "server"]
