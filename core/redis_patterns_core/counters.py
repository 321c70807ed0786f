"""Counters: whole numbers that many count on at once.

Promises: each count is one step in Redis, and no count is lost or doubled: one whose answer is lost is not sent again,
unless its event has an id, by which a repeated one counts once; what would not fit into 64 bits is refused and changes
nothing; a reset gives what was counted, and what is counted meanwhile stays for the next one.

Keys: ``counter:{NAME}``, a string, permanent unless the counter has a TTL; ``counter:{NAME}:increment:ID`` and
``...:reset:ID``, strings, for as long as ids are remembered. The shards of a counter but for the first are
``counter:{NAME:NUMBER}:shard``.

Source: https://redis.io/docs/latest/commands/incrby/
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field

from redis_patterns_core import replies, validate
from redis_patterns_core.keys import key, slot
from redis_patterns_core.lease_records import new_token
from redis_patterns_core.plan import Command, Effect, Plan, Script
from redis_patterns_core.replies import Reply
from redis_patterns_core.validate import Duration

__all__ = ["INT64", "MOST_SHARDS", "Counter", "ShardedCounter", "amount", "shard_of", "shards"]

_INCREMENT = Script.load("counter_increment")
_RESET = Script.load("counter_reset")

INT64 = 2**63
"""Counts are signed numbers of 64 bits: from minus this to one less than this."""
MOST_SHARDS = 1000
_DAY = 86400
"""Seconds for which ids are remembered: as long as Stripe remembers idempotency keys, which is what many expect."""


@dataclass(frozen=True, slots=True)
class Counter:
    """A counter; it is 0 until somebody counts.

    Parameters:
        name: the counter's name.
        ttl: how long it is kept after it was counted on last, in seconds or as a timedelta; ``None`` for ever.
        remember: how long ids of events and resets are remembered, in seconds or as a timedelta.
        namespace: a prefix of its keys.

    Raises:
        ConfigurationError: an empty name, or a duration that is not allowed.
    """

    name: str
    _: KW_ONLY
    ttl: Duration | None = None
    remember: Duration = _DAY
    namespace: str = ""
    key: str = field(init=False, repr=False, compare=False)
    """The string that holds the count."""
    _ttl_ms: int = field(init=False, repr=False, compare=False)
    _remember_ms: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        validate.text("name", self.name)
        validate.namespace(self.namespace)
        object.__setattr__(self, "key", key("counter", self.name, namespace=self.namespace))
        object.__setattr__(self, "_ttl_ms", 0 if self.ttl is None else validate.milliseconds("ttl", self.ttl))
        object.__setattr__(self, "_remember_ms", validate.milliseconds("remember", self.remember))

    def increment(self, by: int = 1, *, event: str | None = None) -> Plan[int]:
        """Count.

        Parameters:
            by: any whole number of 64 bits; negative to take away.
            event: an id of what is counted, text: within `remember`, a repeated one counts nothing.

        Returns:
            A plan of one round trip that gives what the counter is then; of a repeated event, what it was when that was
            counted. Idempotent with an event, else sent at most once.

        Raises:
            CommandFailed: the sum does not fit into 64 bits; nothing was counted.
            ConfigurationError: a number or an event that is not allowed.
        """
        command = _increment(self.key, amount(by), event, self._ttl_ms, self._remember_ms)
        return Plan("counter.increment", (command,), _sum, Effect.ONCE if event is None else Effect.IDEMPOTENT)

    def value(self) -> Plan[int]:
        """Read the counter, 0 where nobody has counted. One round trip."""
        return Plan("counter.value", (Command(("GET", self.key)),), _sum, Effect.READS)

    def reset(self, *, id: str | None = None) -> Plan[int]:
        """Set the counter back to 0, and tell what it was.

        The plan may be run again where its answer was lost, by the caller too: within `remember` it gives the same
        answer, and resets nothing.

        Parameters:
            id: an id of this reset, text; random where none is given.

        Returns:
            A plan of one round trip, idempotent, that gives what the counter was.

        Raises:
            ConfigurationError: an id that is not allowed.
        """
        command = _reset(self.key, new_token() if id is None else id, self._remember_ms)
        return Plan("counter.reset", (command,), _sum, Effect.IDEMPOTENT)


@dataclass(frozen=True, slots=True)
class ShardedCounter:
    """A counter that is counted on more than one node of a cluster can take: the sum of several, in several slots.

    The first of them is the `Counter` of the same name, so that one that has become hot keeps its count. There may be
    more of them at any time, but not less, and for events that are repeated meanwhile their ids are in vain. It is
    permanent: parts of it with a TTL of their own would be gone one by one.

    Parameters:
        name: the counter's name.
        shards: how many, 1 to 1000.
        remember: how long ids of events and resets are remembered, in seconds or as a timedelta.
        chance: gives random numbers from 0 to 1, by which one is chosen.
        namespace: a prefix of its keys.

    Raises:
        ConfigurationError: an empty name, a number or a duration that is not allowed.
    """

    name: str
    _: KW_ONLY
    shards: int = 16
    remember: Duration = _DAY
    chance: Callable[[], float] = field(default=random.random, repr=False, compare=False)
    namespace: str = ""
    keys: tuple[str, ...] = field(init=False, repr=False, compare=False)
    """The strings that hold the counts."""
    _remember_ms: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", shards(self.name, self.shards, self.namespace))
        object.__setattr__(self, "_remember_ms", validate.milliseconds("remember", self.remember))

    def increment(self, by: int = 1, *, event: str | None = None) -> Plan[None]:
        """Count.

        Parameters:
            by: any whole number of 64 bits; negative to take away.
            event: as for `Counter.increment`.

        Returns:
            A plan of one round trip. Idempotent with an event, else sent at most once.

        Raises:
            CommandFailed: the sum of a part does not fit into 64 bits; nothing was counted.
            ConfigurationError: a number or an event that is not allowed.
        """
        place = self.keys[shard_of(event, self.shards, self.chance)]
        command = _increment(place, amount(by), event, 0, self._remember_ms)
        effect = Effect.ONCE if event is None else Effect.IDEMPOTENT
        return Plan("shardedcounter.increment", (command,), _nothing, effect)

    def value(self) -> Plan[int]:
        """Read the counter, 0 where nobody has counted. One round trip; the parts are not read at one moment."""
        commands = tuple([Command(("GET", place)) for place in self.keys])
        return Plan("shardedcounter.value", commands, _sum, Effect.READS)

    def reset(self, *, id: str | None = None) -> Plan[int]:
        """Set the counter back to 0, and tell what it was: each part in a step of its own, so that no count is lost.

        Parameters:
            id: as for `Counter.reset`.

        Returns:
            A plan of one round trip, idempotent, that gives what the counter was.

        Raises:
            ConfigurationError: an id that is not allowed.
        """
        token = new_token() if id is None else id
        commands = tuple([_reset(place, token, self._remember_ms) for place in self.keys])
        return Plan("shardedcounter.reset", commands, _sum, Effect.IDEMPOTENT)


def shards(name: str, count: int, namespace: str) -> tuple[str, ...]:
    """Give the keys of a counter's shards, the first of which is that of a counter without any.

    Raises:
        ConfigurationError: a name, a namespace or a number that is not allowed.
    """
    validate.text("name", name)
    validate.namespace(namespace)
    validate.integer("shards", count, least=1, most=MOST_SHARDS)
    others = [key("counter", name, str(number), part="shard", namespace=namespace) for number in range(1, count)]
    return (key("counter", name, namespace=namespace), *others)


def shard_of(event: str | None, count: int, chance: Callable[[], float]) -> int:
    """Choose a shard: a repeated event must find the one that knows it.

    Raises:
        ConfigurationError: an event that is not allowed.
    """
    if event is None:
        return min(int(chance() * count), count - 1)
    return slot(validate.text("event", event)) % count


def amount(by: int) -> int:
    """Check by how much is counted.

    Raises:
        ConfigurationError: it is no whole number of 64 bits.
    """
    return validate.integer("by", by, least=-INT64, most=INT64 - 1)


def _increment(place: str, by: int, event: str | None, ttl_ms: int, remember_ms: int) -> Command:
    if event is None and not ttl_ms:
        return Command(("INCRBY", place, by))
    keys = (place,) if event is None else (place, f"{place}:increment:{validate.text('event', event)}")
    return _INCREMENT(keys, by, ttl_ms, remember_ms)


def _reset(place: str, id: str, remember_ms: int) -> Command:
    return _RESET((place, f"{place}:reset:{validate.text('id', id)}"), remember_ms)


def _sum(answers: Sequence[Reply]) -> int:
    return sum([0 if answer is None else replies.whole(answer) for answer in answers])


def _nothing(answers: Sequence[Reply]) -> None:
    replies.whole(answers[0])
