"""Known bugs, planted one by one into copies of the patterns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from redis_patterns import Command, Decision, Effect, Flow, Lease, Now, Plan, Script, Sleep, Steps, flow
from redis_patterns.testing.simulation import SOME, Faults, Setup
from redis_patterns_core.replies import integer, number
from tests.simulation.cases import BOARD, BUCKET, LOCK, TTL, board_setup, bucket_setup, lock_setup


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
    Bug("extend without a look at the token", _locks(extend=extend_without_token), ("two hold",)),
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
    Bug("a score read and written in two steps", board_setup(increment_in_two_steps, BOARD), ("lost or doubled",)),
    Bug("an increment that is sent again", board_setup(increment_that_is_repeated, BOARD), ("lost or doubled",)),
    Bug("a score set instead of incremented", board_setup(add_instead_of_increment, BOARD), ("lost or doubled",)),
]
