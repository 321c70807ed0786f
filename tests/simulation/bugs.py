"""Known bugs, planted one by one into copies of the patterns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from redis_patterns import (
    AllOf,
    Command,
    Decision,
    Defer,
    Effect,
    Flow,
    Lease,
    Limit,
    Now,
    Occupancy,
    Plan,
    Script,
    Sleep,
    Steps,
    flow,
)
from redis_patterns.testing.simulation import SOME, Faults, Setup
from redis_patterns_core.leases import InOneStep
from redis_patterns_core.replies import integer, number
from tests.core.limit_models import Model
from tests.simulation.cases import (
    BOARD,
    BUCKET,
    COUNTER,
    FIXED,
    LOCK,
    LOG,
    SEVERAL,
    SLOTS,
    TTL,
    board_setup,
    bucket_setup,
    counter,
    fixed,
    limits_setup,
    lock_setup,
    log,
    several,
    slots_setup,
)
from tests.simulation.mistakes import Mistake


@dataclass(frozen=True)
class Bug:
    """A mistake, and where the simulation should see it.

    Parameters:
        name: what somebody did wrong.
        setup: clients that use the broken copy.
        found: words of the invariants that may tell it.
        faults: what goes wrong around it.
    """

    name: str
    setup: Setup
    found: tuple[str, ...]
    faults: Faults = SOME


def _one(replies: Sequence[Any]) -> bool:
    return integer(replies[0]) == 1


class BrokenLock:
    """Our lock with one method replaced."""

    def __init__(self, **replaced: Callable[..., Any]) -> None:
        self._replaced = replaced

    def __getattr__(self, name: str) -> Any:
        return self._replaced.get(name) or getattr(LOCK, name)


def _wait_with(acquire: Callable[[str], Plan[bool] | Flow[bool]], *, deferred: bool = True) -> Callable[..., Flow[Any]]:
    """Give a `wait_for` around another way to acquire."""

    @flow
    def wait_for(wait: float, *, token: str) -> Steps[Lease | None]:
        lease = Lease("sim", token)
        started = yield from Now()
        while True:
            asked_at = yield from Now()
            if (yield from acquire(token)):
                return replace(lease, ends_at=asked_at + TTL)
            if asked_at - started > wait:
                return None
            yield from Sleep(0.05)

    @flow
    def careful(wait: float, *, token: str) -> Steps[Lease | None]:
        from redis_patterns import Defer

        yield from Defer(LOCK.release(Lease("sim", token)), on_error_only=True)
        return (yield from wait_for(wait, token=token))

    return careful if deferred else wait_for


def release_without_token(lease: Lease) -> Plan[bool]:
    return Plan("broken.release", (Command(("DEL", LOCK.key)),), _one, Effect.IDEMPOTENT)


_EXTEND = Script("broken_extend", "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1")


def extend_that_recreates(lease: Lease) -> Plan[bool]:
    return Plan("broken.extend", (_EXTEND((LOCK.key,), lease.token, int(TTL * 1000)),), _one, Effect.IDEMPOTENT)


def extend_without_token(lease: Lease) -> Plan[bool]:
    command = Command(("PEXPIRE", LOCK.key, int(TTL * 1000)))
    return Plan("broken.extend", (command,), _one, Effect.IDEMPOTENT)


@flow
def acquire_in_two_steps(token: str) -> Steps[bool]:
    taken = yield from Plan("broken.setnx", (Command(("SETNX", LOCK.key, token)),), _one)
    if taken:
        yield from Plan("broken.expire", (Command(("PEXPIRE", LOCK.key, int(TTL * 1000))),), _one, Effect.IDEMPOTENT)
    return taken


def acquire_by_set_nx(token: str) -> Plan[bool]:
    command = Command(("SET", LOCK.key, token, "NX", "PX", int(TTL * 1000)))
    return Plan("broken.acquire", (command,), lambda replies: replies[0] == b"OK", Effect.ONCE)


def acquire_whatever(token: str) -> Plan[bool]:
    command = Command(("SET", LOCK.key, token, "PX", int(TTL * 1000)))
    return Plan("broken.acquire", (command,), lambda replies: replies[0] == b"OK", Effect.IDEMPOTENT)


@flow
def acquire_by_looking_first(token: str) -> Steps[bool]:
    held = yield from Plan("broken.exists", (Command(("EXISTS", LOCK.key)),), _one, Effect.READS)
    if held:
        return False
    return (yield from acquire_whatever(token))


@flow
def ends_counted_from_the_answer(wait: float, *, token: str) -> Steps[Lease | None]:
    yield from Defer(LOCK.release(Lease("sim", token)), on_error_only=True)
    lease = yield from LOCK.wait_for(wait, token=token)
    if lease is None:
        return None
    yield from Sleep(0.2)  # a slow network, and time counted from when the answer came
    now = yield from Now()
    return replace(lease, ends_at=now + TTL)


def _broken_bucket(source: str, *arguments: Any, effect: Effect = Effect.ONCE, sends_time: bool = False) -> Any:
    script = Script("broken_bucket", source)

    def parse(replies: Sequence[Any]) -> Decision:
        allowed = integer(replies[0]) == 1
        return Decision(allowed, 5, 0, 0.0, 0.0, 0.0)

    def plan(*more: Any) -> Plan[Decision]:
        return Plan("broken.hit", (script(("naive:bucket",), *arguments, *more),), parse, effect)

    if not sends_time:
        return lambda _: plan()

    @flow
    def hit(name: str) -> Steps[Decision]:
        now = yield from Now()
        return (yield from plan(now + (4.0 if name == "c0" else 0.0)))  # one host's clock is ahead

    return hit


# A plain bucket of 5 with 2 a second: tokens and a time in a string. What is broken is in the arguments or lines.
_BUCKET = """
local time = redis.call('TIME')
local now = %(now)s
local state = redis.call('GET', KEYS[1])
local tokens, since = 5, now
if state then
  tokens, since = string.match(state, '^(%%S+) (%%S+)$')
  tokens, since = tonumber(tokens), tonumber(since)
end
tokens = math.min(%(most)s, tokens + %(refill)s)
local allowed = 0
if tokens >= %(least)s then
  tokens = tokens - 1
  allowed = 1
end
redis.call('SET', KEYS[1], string.format('%%.6f %%.6f', tokens, now), 'PX', %(ttl)s)
return allowed
"""
_SERVER_TIME = "tonumber(time[1]) - 1700000000 + tonumber(time[2]) / 1000000"


def _bucket_source(**changed: str) -> str:
    parts = {"now": _SERVER_TIME, "most": "5", "refill": "(now - since) * 2", "least": "1", "ttl": "5000"}
    return _BUCKET % {**parts, **changed}


CORRECT_BUCKET = _broken_bucket(_bucket_source())


@flow
def hit_in_two_steps(_: str) -> Steps[Decision]:
    stored = yield from Plan("broken.get", (Command(("GET", "naive")),), lambda replies: replies[0], Effect.READS)
    now = yield from Now()
    tokens, since = (float(part) for part in stored.split()) if isinstance(stored, bytes) else (5.0, now)
    tokens = min(5.0, tokens + (now - since) * 2)
    allowed = tokens >= 1
    command = Command(("SET", "naive", f"{tokens - allowed} {now}", "EX", 60))
    yield from Plan("broken.set", (command,), lambda replies: replies[0], Effect.IDEMPOTENT)
    return Decision(allowed, 5, 0, 0.0, 0.0, 0.0)


@flow
def increment_in_two_steps(_: str) -> Steps[float]:
    score = (yield from BOARD.score("all")) or 0.0
    yield from BOARD.add("all", score + 1)
    return score + 1


def increment_that_is_repeated(_: str) -> Plan[float]:
    return replace_effect(BOARD.increment("all"))


def replace_effect(plan: Plan[Any]) -> Plan[Any]:
    return Plan(plan.name, plan.commands, plan.parse, Effect.IDEMPOTENT)


def add_instead_of_increment(_: str) -> Plan[float]:
    return BOARD.add("all", 1).map(lambda _: number(1))


def _mistaken(
    limit: Limit | AllOf, models: Callable[[], Sequence[Model]], before: str, after: str, **options: Any
) -> Setup:
    """Clients of a limit in whose script one line is another."""
    mistake = Mistake("rate_limit", before, after)
    return limits_setup(lambda who, cost: mistake.plan(limit.hit(who, cost)), limit.limits, models, **options)


def _mistaken_refund(limit: Limit, models: Callable[[], Sequence[Model]], before: str, after: str) -> Setup:
    mistake = Mistake("rate_limit_refund", before, after)

    def refund(decision: Decision) -> Plan[bool]:
        return mistake.plan(limit.refund(decision))

    return limits_setup(limit.hit, limit.limits, models, refund=refund, hits=30)


@flow
def count_in_two_steps(_: str, cost: int) -> Steps[Decision]:
    taken = yield from Plan("broken.incrby", (Command(("INCRBY", "naive", cost)),), lambda replies: integer(replies[0]))
    if taken == cost:
        yield from Plan("broken.expire", (Command(("PEXPIRE", "naive", 1000)),), lambda replies: replies[0])
    return Decision(taken <= FIXED.limit, FIXED.limit, 0, 0.0, 0.0, 0.0, taken=(("naive", cost, 0, 0),))


class BrokenSlots(InOneStep):
    """Our slots with other commands."""

    word = "broken"
    name = "sim"
    _ttl_ms = int(TTL * 1000)

    def __init__(self, acquire: str, extend: str, release: str) -> None:
        self._scripts = [
            Script("broken", "local token, ttl = ARGV[1], tonumber(ARGV[2]) " + lua)
            for lua in (acquire, extend, release)
        ]

    @property
    def wake_key(self) -> str:
        return "nobody"

    def _acquisition(self, token: str, wait_ms: int) -> Command:
        del wait_ms
        return self._scripts[0]((SLOTS.key("all"),), token, self._ttl_ms)

    def _extensions(self, token: str, ttl_ms: int | None) -> tuple[Command, ...]:
        return (self._scripts[1]((SLOTS.key("all"),), token, ttl_ms or self._ttl_ms),)

    def _freeings(self, token: str) -> tuple[Command, ...]:
        return (self._scripts[2]((SLOTS.key("all"),), token, 0),)

    def inspect(self) -> Plan[Occupancy]:
        raise NotImplementedError


SLOTS_BY_COUNT = BrokenSlots(
    """
    local taken = redis.call('ZCARD', KEYS[1])
    if taken >= 2 then return {0, 50, 0} end
    redis.call('ZADD', KEYS[1], 1e15, token .. taken .. redis.call('TIME')[2])
    redis.call('PEXPIRE', KEYS[1], 3 * ttl)
    return {1, ttl, 0}
    """,
    "return 1",
    """
    local found = redis.call('ZRANGE', KEYS[1], 0, 0)
    if #found == 0 then return 0 end
    return redis.call('ZREM', KEYS[1], found[1])
    """,
)
SLOTS_UNDER_ONE_TTL = BrokenSlots(
    """
    if not redis.call('ZSCORE', KEYS[1], token) and redis.call('ZCARD', KEYS[1]) >= 2 then return {0, 50, 0} end
    redis.call('ZADD', KEYS[1], 1e15, token)
    redis.call('PEXPIRE', KEYS[1], ttl)
    return {1, ttl, 0}
    """,
    "return redis.call('ZSCORE', KEYS[1], token) and redis.call('PEXPIRE', KEYS[1], ttl) or 0",
    "return redis.call('ZREM', KEYS[1], token)",
)
SLOTS_EXTENDED_ANYWAY = BrokenSlots(
    """
    local now = redis.call('TIME')
    now = now[1] * 1000 + math.floor(now[2] / 1000)
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
    if not redis.call('ZSCORE', KEYS[1], token) and redis.call('ZCARD', KEYS[1]) >= 2 then return {0, 50, 0} end
    redis.call('ZADD', KEYS[1], now + ttl, token)
    redis.call('PEXPIRE', KEYS[1], 3 * ttl)
    return {1, ttl, 0}
    """,
    """
    local now = redis.call('TIME')
    redis.call('ZADD', KEYS[1], now[1] * 1000 + math.floor(now[2] / 1000) + ttl, token)
    redis.call('PEXPIRE', KEYS[1], 3 * ttl)
    return 1
    """,
    "return redis.call('ZREM', KEYS[1], token)",
)


def _locks(**replaced: Callable[..., Any]) -> Setup:
    return lock_setup(BrokenLock(**replaced))


_PATIENT = Faults(expire=0.1, lose_reply=0.05, crash=0.01)

BUGS = [
    Bug(
        "release without a look at the token",
        _locks(release=release_without_token, give_back=release_without_token),
        ("two hold",),
    ),
    Bug("extend that takes the lock again", _locks(extend=extend_that_recreates), ("two hold", "left behind")),
    Bug("extend without a look at the token", _locks(extend=extend_without_token), ("two hold",), _PATIENT),
    Bug("SETNX, then EXPIRE in a second step", _locks(wait_for=_wait_with(acquire_in_two_steps)), ("never expires",)),
    Bug(
        "SET NX without clean-up of a lost acquire",
        _locks(wait_for=_wait_with(acquire_by_set_nx, deferred=False)),
        ("left behind",),
    ),
    Bug("acquire that overwrites the holder", _locks(wait_for=_wait_with(acquire_whatever)), ("two hold",)),
    Bug("look first, then take", _locks(wait_for=_wait_with(acquire_by_looking_first)), ("two hold",)),
    Bug("the lease counted from the answer", _locks(wait_for=ends_counted_from_the_answer), ("two hold",)),
    Bug(
        "a bucket refilled by the clients' clocks",
        bucket_setup(_broken_bucket(_bucket_source(now="tonumber(ARGV[1])"), sends_time=True), BUCKET),
        ("more than the limit",),
    ),
    Bug(
        "a bucket that is forgotten before it is full",
        bucket_setup(_broken_bucket(_bucket_source(ttl="300")), BUCKET),
        ("more than the limit",),
    ),
    Bug(
        "a bucket that fills beyond its capacity",
        bucket_setup(_broken_bucket(_bucket_source(most="50", ttl="60000")), BUCKET, hits=40),
        ("more than the limit",),
        _PATIENT,
    ),
    Bug(
        "a bucket that lends a token",
        bucket_setup(_broken_bucket(_bucket_source(least="0")), BUCKET),
        ("more than the limit",),
    ),
    Bug("a bucket read and written in two steps", bucket_setup(hit_in_two_steps, BUCKET), ("more than the limit",)),
    Bug(
        "a hit that is sent again",
        bucket_setup(lambda _: replace_effect(BUCKET.hit("all")), replace(BUCKET, capacity=100), hits=20),
        ("paid twice",),
        Faults(lose_reply=0.5),
    ),
    Bug("INCR, then EXPIRE in a second step", limits_setup(count_in_two_steps, [FIXED], fixed), ("never expires",)),
    Bug(
        "a window that is forgotten before it ends",
        _mistaken(FIXED, fixed, "ceil(ends / 1000) + 1", "ceil(ends / 9000) + 1"),
        ("more than the limit",),
    ),
    Bug(
        "a refused hit that counts",
        _mistaken(FIXED, fixed, "ARGV[a + 5] == '1'", "true"),
        ("although there was room",),
    ),
    Bug(
        "a log that forgets too early",
        _mistaken(LOG, log, "oldest <= now - width", "oldest <= now - width / 2"),
        ("more than the limit",),
    ),
    Bug(
        "a log that forgets what a hit cost",
        _mistaken(LOG, log, "cost == 1 and format", "true and format"),
        ("although there was room",),
    ),
    Bug(
        "a log that is forgotten by its first entry",
        _mistaken(LOG, log, "call('PEXPIRE', key,", "local _ = head or call('PEXPIRE', key,"),
        ("more than the limit",),
    ),
    Bug(
        "a counter without the last window",
        _mistaken(COUNTER, counter, "then before, count = count, 0\n", "then before, count = 0, 0\n"),
        ("more than the limit",),
    ),
    Bug(
        "several limits, each taken from by itself",
        _mistaken(SEVERAL, several, "pass == 2 and hit and all", "pass == 2 and hit"),
        ("although there was room",),
    ),
    Bug(
        "several limits, of which the last decides",
        _mistaken(SEVERAL, several, "all = all and allowed", "all = allowed"),
        ("more than", "although there was room"),
    ),
    Bug(
        "a refund for a window that is over",
        _mistaken_refund(FIXED, fixed, "tonumber(start) == floor(at / x) * x", "true"),
        ("more than the limit",),
    ),
    Bug(
        "a refund that takes off the TTL",
        _mistaken_refund(FIXED, fixed, "redis.call('SET', key, text, 'KEEPTTL')", "redis.call('SET', key, text)"),
        ("never expires",),
    ),
    Bug("slots counted, not named", slots_setup(SLOTS_BY_COUNT, 2), ("by the dead", "left behind", "than there are")),
    Bug(
        "slots under one TTL",
        slots_setup(SLOTS_UNDER_ONE_TTL, 2),
        ("by the dead",),
        Faults(crash=0.02),
    ),
    Bug(
        "a slot extended after its end", slots_setup(SLOTS_EXTENDED_ANYWAY, 2), ("than there are",), Faults(expire=0.2)
    ),
    Bug("a score read and written in two steps", board_setup(increment_in_two_steps, BOARD), ("lost or doubled",)),
    Bug("an increment that is sent again", board_setup(increment_that_is_repeated, BOARD), ("lost or doubled",)),
    Bug("a score set instead of incremented", board_setup(add_instead_of_increment, BOARD), ("lost or doubled",)),
]
