from __future__ import annotations

import pytest

from redis_patterns import (
    Command,
    CommandFailed,
    Leaderboard,
    Lock,
    Outcome,
    Plan,
    Sleep,
    Steps,
    Subject,
    TokenBucket,
    batch,
    flow,
)
from redis_patterns_core.tracing import key_pattern


def test_a_plan_is_described_without_what_users_named() -> None:
    """Names, commands, the key's shape and the effect are told; neither ids nor arguments are."""
    subject = Subject.of(TokenBucket("api", capacity=1, refill_rate=1, namespace="shop").hit("secret-id"))
    assert subject == Subject("token_bucket.hit", ("EVALSHA rate_limit",), "shop:bucket:{*}:api", "ONCE")
    both = Subject.of(batch(Leaderboard("b").top(3), Lock("secret").acquire("token")))
    assert both.commands == ("ZRANGE", "EVALSHA lock_acquire")
    assert "secret" not in repr(subject) + repr(both)


def test_a_flow_is_described_by_its_name() -> None:
    """It has no commands of its own: its plans are told one by one."""

    @flow
    def waits() -> Steps[None]:
        yield from Sleep(1)

    assert Subject.of(waits()) == Subject("waits")


@pytest.mark.parametrize(
    ("key", "pattern"),
    [
        ("lock:{order:123}", "lock:{*}"),
        ("shop:lock:{order}:waiting", "shop:lock:{*}:waiting"),
        ("views:home:7", "views:*"),
        ("secret", "*"),
        (b"views:\xff", "views:*"),
    ],
)
def test_the_pattern_of_a_key(key: str | bytes, pattern: str) -> None:
    """What a user named is left out, the pattern's own words stay."""
    plan = Plan("get", (Command(("GET", key)),), lambda replies: replies[0])
    assert key_pattern(plan) == pattern


def test_a_plan_without_a_key() -> None:
    """It has no pattern."""
    assert key_pattern(Plan("ping", (Command(("PING", "secret")),), lambda replies: replies[0])) == ""


def test_how_a_run_ended_in_one_word() -> None:
    """Redis' code for its refusals, the error's type for others."""
    assert Outcome(1, 0.1).status == "ok"
    assert Outcome(1, 0.1, CommandFailed("p", "WRONGTYPE", "x")).status == "WRONGTYPE"
    assert Outcome(0, 0.1, KeyError("secret")).status == "KeyError"
