"""Helpers for tests of code that uses redis-patterns.

Here is what needs no more than the base: flows stepped by hand, and private servers. The modules
`redis_patterns.testing.memory` and `redis_patterns.testing.simulation`, and TLS, need the extra ``testing``.
"""

from redis_patterns.testing._clusters import Cluster, Sentinels, cluster, sentinels
from redis_patterns.testing._dry import Dry, assert_plan
from redis_patterns.testing._server import Server, ServerNotFound, bundled_server, find_server, server
from redis_patterns.testing._tls import Secured, tls

__all__ = [
    "Cluster",
    "Dry",
    "Secured",
    "Sentinels",
    "Server",
    "ServerNotFound",
    "assert_plan",
    "bundled_server",
    "cluster",
    "find_server",
    "sentinels",
    "server",
    "tls",
]
