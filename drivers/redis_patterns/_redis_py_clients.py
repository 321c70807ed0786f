"""Makes the redis-py clients of sync drivers that were given a URL."""

from __future__ import annotations

from typing import Any, cast

import redis
import redis.connection
import redis.sentinel
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from redis_patterns._address import Target, unknown_option
from redis_patterns_core.errors import ConfigurationError

_MANY = 2**31


class LazyCluster:
    """A cluster client that is made when it is first needed, because making it connects.

    Parameters:
        target: a node of the cluster, and options.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._client: redis.RedisCluster | None = None

    def made(self) -> redis.RedisCluster:
        """Give the client.

        Raises:
            RedisClusterException, RedisError: no node answers.
        """
        if self._client is None:
            self._client = redis.RedisCluster.from_url(self._target.url, **_options(self._target))
        return self._client

    def close(self) -> None:
        """Close the connections at rest of the client, if there is one."""
        if self._client is not None:
            for node in cast("Any", self._client).get_nodes():
                if node.redis_connection is not None:
                    node.redis_connection.connection_pool.disconnect(inuse_connections=False)


def cluster_client(target: Target) -> LazyCluster:
    """Give the client of a cluster.

    Raises:
        ConfigurationError: a URL or an option that redis-py does not take.
    """
    client_of(target).close()  # what the client of one server refuses, a cluster's does too, only later
    return LazyCluster(target)


def client_of(target: Target) -> redis.Redis:
    """Make the client of a server, or of a primary that Sentinels know; no connection is opened yet.

    Raises:
        ConfigurationError: a URL or an option that redis-py does not take; the message shows no part of the URL.
    """
    try:
        client = _of_sentinels(target) if target.sentinels else redis.Redis.from_url(target.url, **_options(target))
        # redis-py reads most options when it makes a connection, and a slip would show up only then.
        client.connection_pool.connection_class(**client.connection_pool.connection_kwargs)
    except (ValueError, TypeError, AttributeError, redis.RedisError) as error:
        # Not its text, nor as a cause: it may quote the part of the URL with the password in it.
        named = unknown_option(error, {**target.options, **target.sentinel_kwargs})
        raise ConfigurationError(
            f"url and options must be what redis.Redis.from_url takes, such as redis://localhost and protocol=3; "
            f"redis-py refused them with {type(error).__name__}{named}"
        ) from None
    return client


def _of_sentinels(target: Target) -> redis.Redis:
    sentinels = cast("Any", redis.sentinel).Sentinel
    options: dict[str, Any] = {**cast("Any", redis.connection).parse_url(target.url), **_options(target)}
    options.pop("host", None)
    if options.pop("connection_class", None) is redis.connection.SSLConnection:
        options["ssl"] = True
    made = sentinels(target.sentinels, sentinel_kwargs=target.sentinel_kwargs or None, **options)
    return cast("redis.Redis", made.master_for(target.service_name))


def _options(target: Target) -> dict[str, Any]:
    # Dialling is retried by the driver, in its own budget; maintenance notifications are for Redis Enterprise and cost
    # a round trip for each connection elsewhere.
    return {
        "retry": Retry(NoBackoff(), 0),
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        "socket_timeout": 5.0,
        "socket_connect_timeout": 5.0,
        "max_connections": _MANY,  # as many as threads run plans
        **target.options,
    }
