"""Bugs in counters, planted one by one into copies of the patterns and of their scripts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from redis_patterns import BucketedCounter, Command, Counter, Effect, Plan, ShardedCounter, Steps, flow
from redis_patterns.testing.simulation import SOME, Faults, World
from redis_patterns_core import replies
from tests.simulation.bugs import Bug
from tests.simulation.counter_cases import REMEMBER, by_time_setup, counter_setup
from tests.simulation.mistakes import Mistake


def mistaken(before: str, after: str) -> type[BucketedCounter]:
    """Give a copy whose script has another piece."""
    mistake = Mistake("counter_count", before, after)

    class Mistaken(BucketedCounter):
        def add(self, *args: Any, **kwargs: Any) -> Plan[None]:
            return mistake.plan(super().add(*args, **kwargs))

    return Mistaken


class Eager(BucketedCounter):
    """One that takes a count without an id for what may be sent twice."""

    def add(self, *args: Any, **kwargs: Any) -> Plan[None]:
        return replace(super().add(*args, **kwargs), effect=Effect.IDEMPOTENT)


class InTwoSteps(BucketedCounter):
    """HINCRBY, then PEXPIREAT."""

    def add(self, by: int = 1, **kwargs: Any) -> Any:
        (command,) = super().add(by, **kwargs).commands
        count = 3 if kwargs["event"] is None else 4
        keys, words = command.args[3 : 2 + count], command.args[3 + count + 4 :]

        @flow
        def counts() -> Steps[None]:
            for key, bucket, ends in zip(keys, words[1::2], words[2::2], strict=False):
                yield from plain("HINCRBY", key, bucket, by)
                yield from plain("PEXPIREAT", key, int(ends) + 60_000)

        return counts()


def plain(*words: Any) -> Plan[Any]:
    return Plan(str(words[0]), (Command(words),), lambda answers: answers[0])


class Scattered(ShardedCounter):
    """One that chooses a shard for an event that is told again as for any other."""

    def increment(self, by: int = 1, *, event: str | None = None) -> Plan[None]:
        plan = super().increment(by, event=event)
        (command,) = plan.commands
        place = self.keys[min(int(self.chance() * self.shards), self.shards - 1)]
        words = (*command.args[:3], place, f"{place}:increment:{event}", *command.args[5:])
        return replace(plan, commands=(Command(words, command.script),))


class TakesAway(Counter):
    """One that resets by GETDEL, whose answer may be lost with all that was counted."""

    def reset(self, **_: Any) -> Plan[int]:
        return Plan("counter.reset", (Command(("GETDEL", self.key)),), whole)


class ReadsAndDeletes(Counter):
    """One that resets in two steps."""

    def reset(self, **_: Any) -> Any:
        @flow
        def reset() -> Steps[int]:
            value: int = yield from self.value()
            yield from Plan("del", (Command(("DEL", self.key)),), len, Effect.IDEMPOTENT)
            return value

        return reset()


def whole(answers: Sequence[Any]) -> int:
    return 0 if answers[0] is None else replies.whole(answers[0])


def forgetful(_: World) -> Any:
    class Forgetful(Counter):
        def increment(self, *args: Any, **kwargs: Any) -> Plan[int]:
            before = "if KEYS[2] then redis.call('SET', KEYS[2], value, 'PX', ARGV[3]) end"
            return Mistake("counter_increment", before, "").plan(super().increment(*args, **kwargs))

    return Forgetful("sim")


def of(kind: Callable[..., Any], **options: Any) -> Callable[[World], Any]:
    return lambda world: kind("sim", remember=REMEMBER, **{name: made(world) for name, made in options.items()})


DOUBLED = ("lost or doubled",)
LOSSES = Faults(lose_reply=0.2)

COUNTER_BUGS = [
    Bug(
        "an event whose id is not remembered",
        by_time_setup(mistaken("redis.call('SET', key, '', 'PX', ARGV[4])", "redis.call('EXISTS', key)")),
        DOUBLED,
        LOSSES,
    ),
    Bug(
        "an event whose id is remembered for a moment",
        by_time_setup(mistaken("redis.call('SET', key, '', 'PX', ARGV[4])", "redis.call('SET', key, '', 'PX', 50)")),
        DOUBLED,
        LOSSES,
    ),
    Bug("an event without an id that is sent again", by_time_setup(Eager, with_ids=False), DOUBLED, LOSSES),
    Bug(
        "HINCRBY, then PEXPIREAT in a second step", by_time_setup(InTwoSteps, with_ids=False), ("never expires",), SOME
    ),
    Bug(
        "a late event that shortens the TTL",
        by_time_setup(mistaken("if redis.call('PTTL', key) < expires - now then", "if true then")),
        DOUBLED,
        Faults(expire=0.2),
    ),
    Bug(
        "a late event that is counted when its bucket is gone",
        by_time_setup(mistaken("if ends > now then", "if true then")),
        ("never expires",),
        SOME,
    ),
    Bug("a repeated event in another shard", counter_setup(of(Scattered)), DOUBLED, LOSSES),
    Bug("an increment that is not remembered", counter_setup(forgetful), DOUBLED, LOSSES),
    Bug("GETDEL whose answer is lost", counter_setup(of(TakesAway)), DOUBLED, LOSSES),
    Bug("GET, then DEL", counter_setup(of(ReadsAndDeletes)), DOUBLED, SOME),
]
