from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_patterns import ConfigurationError, Counter, DecodeError, Effect, Plan, ShardedCounter
from redis_patterns_core.keys import in_one_slot
from tests.core.lua import RUNTIMES, Fake
from tests.core.nonsense import nonsense

VIEWS = Counter("views")
HOT = ShardedCounter("views", shards=4)
MOST, LEAST = 2**63 - 1, -(2**63)


@pytest.mark.parametrize(
    ("plan", "effect", "lines"),
    [
        (VIEWS.increment(), Effect.ONCE, ["INCRBY counter:{views} 1"]),
        (VIEWS.increment(LEAST), Effect.ONCE, [f"INCRBY counter:{{views}} {LEAST}"]),
        (VIEWS.increment(event="e"), Effect.IDEMPOTENT, ["2 counter:{views} counter:{views}:increment:e 1 0 86400000"]),
        (Counter("views", ttl=5).increment(-2), Effect.ONCE, ["1 counter:{views} -2 5000 86400000"]),
        (VIEWS.value(), Effect.READS, ["GET counter:{views}"]),
        (VIEWS.reset(id="r"), Effect.IDEMPOTENT, ["2 counter:{views} counter:{views}:reset:r 86400000"]),
        (
            ShardedCounter("a:b", shards=2, namespace="shop").value(),
            Effect.READS,
            ["GET shop:counter:{a:b}", "GET shop:counter:{a%3Ab:1}:shard"],
        ),
    ],
)
def test_what_is_sent(plan: Plan[Any], effect: Effect, lines: list[str]) -> None:
    """One command or one script, numbers as text; only what is guarded by an id may be sent twice."""
    sent = [line for line in plan.explain().splitlines() if not line.startswith("#")]
    assert all(line.endswith(end) for line, end in zip(sent, lines, strict=True)), sent
    assert plan.effect is effect


@pytest.mark.parametrize(
    ("reply", "value"), [(None, 0), (0, 0), (b"0", 0), (b"-7", -7), (7, 7), (b"%d" % LEAST, LEAST)]
)
def test_an_absent_counter_is_0(reply: object, value: int) -> None:
    """Numbers come as such or as text."""
    assert VIEWS.value().parse([reply]) == value
    assert HOT.value().parse([reply, None, b"1", 2]) == value + 3


@pytest.mark.parametrize("reply", [b"", b"1_0", b" 1", b"1.5", b"99999999999999999999", [1], "1", 1.0])
def test_what_is_no_number(reply: object) -> None:
    """What Redis would not take for a number is no count."""
    with pytest.raises(DecodeError, match="expected a whole number from Redis"):
        VIEWS.value().parse([reply])


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_numbers_of_64_bits_stay_exact(version: str) -> None:
    """A script's numbers are doubles, so that none of these goes through one."""
    redis, counter = Fake(version), Counter("c", ttl=9)
    assert redis.run(counter.increment(MOST - 1)) == MOST - 1
    assert redis.run(counter.increment(event="e")) == MOST
    assert redis.run(counter.reset(id="r")) == MOST
    assert redis.run(counter.increment(LEAST)) == LEAST
    assert redis.run(counter.increment(1)) == LEAST + 1


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_an_event_counts_once(version: str) -> None:
    """As often as it is sent, for as long as it is remembered; its answer stays what it was."""
    redis, counter = Fake(version), Counter("c", remember=60)
    assert [redis.run(counter.increment(5, event="e")) for _ in range(3)] == [5, 5, 5]
    assert redis.run(counter.increment(5, event="f")) == 10
    redis.now += 59_999_000
    assert redis.run(counter.increment(5, event="e")) == 5
    assert redis.strings[counter.key] == "10"
    redis.now += 1_000
    assert redis.run(counter.increment(5, event="e")) == 15


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_a_reset_that_is_repeated(version: str) -> None:
    """It gives what it gave, and what was counted since is for the next one."""
    redis = Fake(version)
    redis.run(VIEWS.increment(7, event="e"))
    reset = VIEWS.reset()
    assert redis.run(reset) == 7
    redis.run(VIEWS.increment(2, event="f"))
    assert redis.run(reset) == 7
    assert redis.run(VIEWS.reset()) == 2
    assert redis.run(VIEWS.reset()) == 0


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_a_counter_lives_on_from_when_it_was_counted_on_last(version: str) -> None:
    """Its TTL is there from the first step on, is renewed, and is not shortened by who wants a shorter one."""
    redis, long, short = Fake(version), Counter("c", ttl=timedelta(minutes=1)), Counter("c", ttl=5)
    redis.run(long.increment())
    assert redis.expiry[long.key] == redis.now + 60_000_000
    redis.now += 10_000_000
    redis.run(short.increment())
    assert redis.expiry[long.key] == redis.now + 50_000_000
    redis.run(long.increment())
    assert redis.expiry[long.key] == redis.now + 60_000_000
    redis.run(Counter("shortest", ttl=0.001).increment())
    assert redis.expiry["counter:{shortest}"] == redis.now + 1000


@given(numbers=st.lists(st.integers(-9, 9)), shards=st.integers(1, 9), chances=st.lists(st.floats(0, 1), min_size=1))
def test_shards_together_are_the_counter(numbers: list[int], shards: int, chances: list[float]) -> None:
    """Whichever is chosen, their sum is what was counted."""
    turns = iter(range(10**6))
    hot = ShardedCounter("c", shards=shards, chance=lambda: chances[next(turns) % len(chances)])
    counts = dict.fromkeys(hot.keys, 0)
    for number in numbers:
        _, place, by = hot.increment(number).commands[0].args
        counts[str(place)] += int(by)
    assert hot.value().parse(list(counts.values())) == sum(numbers)


def test_a_repeated_event_finds_its_shard() -> None:
    """Not another one, where nobody knows it; events are spread over all of them."""
    assert {HOT.increment(event="e").commands[0].args[3] for _ in range(50)} == {"counter:{views:3}:shard"}
    places = {HOT.increment(event=f"e{number}").commands[0].args[3] for number in range(100)}
    assert places == set(HOT.keys)


def test_shards_are_in_different_slots() -> None:
    """But for the keys of one step; and the first of them is the counter that has none."""
    assert HOT.keys[0] == VIEWS.key
    assert not in_one_slot(HOT.keys)
    more = ShardedCounter("views", shards=9)
    assert more.keys[:4] == HOT.keys
    assert ShardedCounter("views:1", shards=1).keys[0] not in HOT.keys


def test_building_a_counter_sends_nothing() -> None:
    """It is a value: two are equal where their names and settings are."""
    assert Counter("views") == VIEWS != Counter("views", ttl=1)
    assert hash(ShardedCounter("views", shards=4)) == hash(HOT)
    assert repr(VIEWS) == "Counter(name='views', ttl=None, remember=86400, namespace='')"


REFUSED: list[tuple[str, Callable[[], object]]] = [
    *[("name", lambda name=name: Counter(name)) for name in nonsense("", None, 7, b"w", "\ud800")],
    *[("name", lambda name=name: ShardedCounter(name)) for name in nonsense("", None, 7)],
    ("namespace", lambda: Counter("c", namespace=None)),  # type: ignore[arg-type]
    *[("ttl", lambda ttl=ttl: Counter("c", ttl=ttl)) for ttl in nonsense(0, -1, 0.0004, "5", True, float("nan"))],
    *[("remember", lambda time=time: Counter("c", remember=time)) for time in nonsense(0, -1, None)],
    *[("shards", lambda count=count: ShardedCounter("c", shards=count)) for count in nonsense(0, -1, 1001, 1.5, True)],
    *[("by", lambda by=by: VIEWS.increment(by)) for by in nonsense(1.0, "1", None, True, 2**63, -(2**63) - 1)],
    *[("by", lambda by=by: HOT.increment(by)) for by in nonsense(1.0, 2**63)],
    *[("event", lambda event=event: VIEWS.increment(event=event)) for event in nonsense("", 7, b"e", "\ud800")],
    *[("event", lambda event=event: HOT.increment(event=event)) for event in nonsense("", 7)],
    *[("id", lambda token=token: VIEWS.reset(id=token)) for token in nonsense("", 7)],
    ("id", lambda: HOT.reset(id="")),
]


@pytest.mark.parametrize(("argument", "made"), REFUSED)
def test_what_is_refused(argument: str, made: Callable[[], object]) -> None:
    """Nonsense is refused by its name, when the plan is built."""
    with pytest.raises(ConfigurationError, match=f"^{argument} must be"):
        made()


def test_what_a_sharded_counter_was() -> None:
    """The sum of its shards; an increment of one of them tells nothing."""
    assert HOT.reset(id="r").parse([1, 2, b"3", None]) == 6
    assert len({HOT.reset().commands for _ in range(2)}) == 2, "each has an id of its own"
    assert HOT.increment().parse([7]) is None
    with pytest.raises(DecodeError):
        HOT.increment().parse([b"x"])
