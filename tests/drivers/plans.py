"""Plans of one plain command, for tests."""

from __future__ import annotations

from collections.abc import Sequence

from redis_patterns import Argument, Command, Effect, Plan, Reply, Script


def _first(replies: Sequence[Reply]) -> Reply:
    return replies[0]


def reads(*args: Argument) -> Plan[Reply]:
    return Plan(str(args[0]).lower(), (Command(args),), _first, Effect.READS)


def sets(*args: Argument) -> Plan[Reply]:
    return Plan(str(args[0]).lower(), (Command(args),), _first, Effect.IDEMPOTENT)


def once(*args: Argument) -> Plan[Reply]:
    return Plan(str(args[0]).lower(), (Command(args),), _first, Effect.ONCE)


def blocks(seconds: float, *args: Argument) -> Plan[Reply]:
    return Plan(str(args[0]).lower(), (Command((*args, seconds)),), _first, Effect.ONCE, seconds)


_ECHO = Script("echo", "return {KEYS[1], ARGV[1]}")
_COUNT = Script("count", "return redis.call('INCR', KEYS[1])")


def echoes(key: str, value: str) -> Plan[Reply]:
    return Plan("echo", (_ECHO((key,), value),), _first, Effect.READS)


def counts(key: str) -> Plan[Reply]:
    return Plan("count", (_COUNT((key,)),), _first, Effect.ONCE)
