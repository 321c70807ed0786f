"""Writing behind on a server in memory, with its clock put forward by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from redis_patterns import (
    MISS,
    Command,
    ConfigurationError,
    DecodeError,
    Effect,
    Json,
    Text,
    Unreachable,
    Write,
    WriteBehind,
    WritesPending,
)
from redis_patterns.testing import Dry
from redis_patterns.testing.memory import Server
from redis_patterns_core.errors import PatternsError

PROFILES: WriteBehind[Any] = WriteBehind("profiles", ttl=60)


class Desk:
    """Profiles, where they are saved, the server, and the time."""

    def __init__(self, **options: Any) -> None:
        self.server = Server()
        options = {"ttl": 60, "delay": 1, "most_delay": 3, **options}
        self.behind: WriteBehind[Any] = WriteBehind("profiles", **options)
        self.saved: list[list[Write[Any]]] = []
        self.broken: Exception | None = None

    def __call__(self, step: Any) -> Any:
        with self.server.sync() as redis:
            return redis.run(step)

    def save(self, writes: Sequence[Write[Any]]) -> None:
        if self.broken is not None:
            raise self.broken
        self.saved.append(list(writes))

    def flush(self, *, all_now: bool = False) -> int:
        count: int = self(self.behind.flush(self.save, all_now=all_now))
        return count

    def advance(self, seconds: float) -> None:
        self.server.clock.advance(seconds)


def test_a_write_is_there_at_once_and_saved_later() -> None:
    """After `delay` without another of its key, with the last value; then nothing waits."""
    desk = Desk()
    assert desk(desk.behind.get("ann")) is MISS
    first = desk(desk.behind.put("ann", {"a": 1}))
    assert desk(desk.behind.get("ann")) == {"a": 1}
    desk.advance(0.5)
    second = desk(desk.behind.put("ann", {"a": 2}))
    assert second > first > 0
    assert desk(desk.behind.pending()) == 1
    desk.advance(0.999)
    assert desk.flush() == 0
    desk.advance(0.001)
    assert desk.flush() == 1
    assert desk.saved == [[Write("ann", {"a": 2}, second)]]
    assert desk(desk.behind.pending()) == 0
    assert desk(desk.behind.get("ann")) == {"a": 2}
    desk.advance(60.001)
    assert desk(desk.behind.get("ann")) is MISS


def test_a_key_that_is_written_again_and_again() -> None:
    """It is saved after `most_delay` all the same."""
    desk = Desk()
    for number in range(6):
        desk(desk.behind.put("ann", number))
        desk.advance(0.5)
    assert desk.flush() == 1
    assert desk.saved[0][0].value == 5


def test_a_removal() -> None:
    """It waits like a value, and nothing is found meanwhile or afterwards."""
    desk = Desk()
    desk(desk.behind.put("ann", 1))
    desk.flush(all_now=True)
    desk(desk.behind.put("ann", MISS))
    assert desk(desk.behind.get("ann")) is MISS
    assert desk(desk.behind.load("ann", lambda: 7)) is MISS, "it is known to be removed"
    assert desk.flush(all_now=True) == 1
    assert desk.saved[-1][0].value is MISS
    assert desk(desk.behind.get("ann")) is MISS


def test_load() -> None:
    """The loader is asked only where Redis has nothing; what it gives is there for the next."""
    desk, calls = Desk(), list[int]()

    def loader() -> Any:
        calls.append(1)
        return "loaded" if len(calls) > 1 else MISS

    assert desk(desk.behind.load("ann", loader)) is MISS
    assert desk(desk.behind.load("ann", loader)) == "loaded"
    assert desk(desk.behind.load("ann", loader)) == "loaded"
    assert len(calls) == 2
    desk(desk.behind.put("ann", "written"))
    assert desk(desk.behind.load("ann", loader)) == "written"
    assert desk(desk.behind.pending()) == 1, "what was loaded need not be saved"
    desk.flush(all_now=True)
    desk.advance(60.001)
    assert desk(desk.behind.load("ann", loader)) == "loaded"


@pytest.mark.parametrize(("newer", "given"), [("written", "written"), (MISS, "loaded"), (None, "loaded")])
def test_a_write_while_it_is_loaded(newer: Any, given: str) -> None:
    """It is given instead of what was loaded; what has gone again is not."""
    desk = Desk()

    def loader() -> str:
        desk(desk.behind.put("ann", newer if newer is not None else "gone"))
        return "loaded"

    if newer is None:
        dry = Dry(desk.behind.load("ann", lambda: "loaded"))
        dry.expect("behind.get").answer(None, None).expect("behind.fill").answer(0)
        dry.expect("behind.get").answer(None, None)
        assert dry.result == given
    else:
        assert desk(desk.behind.load("ann", loader)) == given
        assert desk(desk.behind.get("ann")) == newer


def test_somebody_else_loads_it_meanwhile() -> None:
    """Theirs was stored first, and is given; what is stored at once takes no round trip more."""
    desk = Desk()
    theirs = desk.behind.load("ann", lambda: "theirs")
    assert desk(desk.behind.load("ann", lambda: desk(theirs) and "ours")) == "theirs"
    before = desk.server.commands
    desk(desk.behind.load("bob", lambda: "loaded"))
    assert desk.server.commands == before + 3


def test_a_write_that_outlives_what_can_be_read() -> None:
    """What waits to be saved counts, though its value has expired: nothing that was loaded is put in its place."""
    desk = Desk(ttl=1, delay=60, most_delay=60)

    def loader() -> str:
        desk(desk.behind.put("ann", "written"))
        desk.advance(2)
        return "loaded"

    assert desk(desk.behind.load("ann", loader)) == "written"
    assert desk(desk.behind.get("ann")) == "written"
    desk.flush(all_now=True)
    assert [write.value for write in desk.saved[0]] == ["written"]


def test_what_cannot_be_saved() -> None:
    """It is due again after twice as long each time, and ends among the dead letters."""
    desk = Desk(retry_after=1, most_retry=3, tries=4, delay=0)
    sequence = desk(desk.behind.put("ann", 1))
    for pause in (1, 2, 3):
        desk.broken = OSError("down")
        with pytest.raises(OSError, match="down"):
            desk.flush()
        desk.broken = None
        desk.advance(pause - 0.001)
        assert desk.flush() == 0
        desk.advance(0.001)
        assert desk(desk.behind.dead_letters()) == []
    desk.broken = OSError("down")
    with pytest.raises(OSError, match="down"):
        desk.flush()
    assert desk(desk.behind.dead_letters()) == [Write("ann", 1, sequence)]
    assert desk(desk.behind.pending()) == 0
    assert desk(desk.behind.forget_dead("ann")) is True
    assert desk(desk.behind.forget_dead("ann")) is False


def test_batches_and_partitions() -> None:
    """At most `batch` at once, of each partition; a key is always in the same."""
    desk = Desk(batch=2, partitions=3)
    keys = [f"k{number}" for number in range(12)]
    for key in keys:
        desk(desk.behind.put(key, key))
    assert desk(desk.behind.pending()) == 12
    assert desk.flush(all_now=True) == 12
    assert sorted(write.key for batch in desk.saved for write in batch) == sorted(keys)
    assert all(len(batch) <= 2 for batch in desk.saved)
    slots = {str(desk.behind._place(key)[1]).partition("}")[0] for key in keys}
    assert slots == {f"behind:{{profiles:{part}" for part in range(3)}


def test_too_many_that_wait() -> None:
    """A write is refused, at once or when its time is up; one of a key that waits already is not."""
    desk = Desk(most=1)
    desk(desk.behind.put("ann", 1))
    desk(desk.behind.put("ann", 2))
    with pytest.raises(WritesPending, match="1 keys of 'profiles'"):
        desk(desk.behind.put("bob", 1))
    with pytest.raises(WritesPending):
        desk(desk.behind.put("bob", 1, wait=timedelta(seconds=2)))
    assert desk.server.clock() == 2.0
    assert desk(desk.behind.get("bob")) is MISS


def test_who_waits_for_room() -> None:
    """Asks at longer and longer intervals, at most a second, and not after its time."""
    dry = Dry(PROFILES.put("ann", 1, wait=4), now=10.0)
    for pause in (0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 0.45):
        dry.expect("behind.put").answer(0)
        dry.sleep(pause)
    dry.expect("behind.put").answer(9)
    assert dry.result == 9


def test_one_that_is_saved_by_somebody() -> None:
    """It is kept from others for `lease`; what is written meanwhile is saved afterwards."""
    desk = Desk(lease=5)
    first = desk(desk.behind.put("ann", 1))
    desk(desk.behind._claim(0, "t", all_now=True))
    desk.advance(4.999)
    desk(desk.behind.put("ann", 2))
    assert desk.flush(all_now=True) == 0
    assert desk(desk.behind._settle(0, "t", [("ann", first)], saved=True)) == [1, 0]
    assert desk(desk.behind.pending()) == 1
    assert desk.flush(all_now=True) == 1
    assert [write.value for write in desk.saved[0]] == [2]


def test_the_lease_is_prolonged_while_it_is_saved() -> None:
    """At a third of it, as long as it is there; a lost answer is no reason to stop."""
    dry = Dry(PROFILES._keep(0, "t", ["ann"]))
    dry.sleep(10).expect("behind.renew").answer(1)
    dry.sleep(10).expect("behind.renew").fail(Unreachable("behind.renew", "gone"))
    dry.sleep(10).expect("behind.renew").answer(0)
    assert dry.over
    dry = Dry(PROFILES._keep(0, "t", ["ann"]))
    dry.sleep(10).expect("behind.renew").fail(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        _ = dry.result


def test_what_prolonging_does() -> None:
    """Those that this saver has are kept from others for another `lease`, and counted; those of another are not."""
    desk = Desk(lease=5)
    desk.advance(0.123)
    desk(desk.behind.put("ann", 1))
    assert [write.key for write in desk(desk.behind._claim(0, "t", all_now=True)).writes] == ["ann"]
    desk.advance(4)
    for token, kept in (("other", 0), ("t", 1)):
        steps = desk.behind._keep(0, token, ["ann", "bob"]).steps()
        next(steps)  # it sleeps
        assert desk(steps.send(None)) == kept
    desk.advance(4.999)
    assert desk.flush(all_now=True) == 0
    desk.advance(0.001)
    assert desk.flush(all_now=True) == 1


def test_what_settling_tells_and_leaves() -> None:
    """How many were saved and how many are dead letters; of what was saved only the value and the last number stay."""
    desk = Desk(tries=1)
    desk.advance(0.123)
    numbers = [desk(desk.behind.put(key, 1)) for key in ("ann", "bob", "eve")]
    desk(desk.behind._claim(0, "t", all_now=True))
    settled = list(zip(("ann", "bob", "eve"), numbers, strict=True))
    assert desk(desk.behind._settle(0, "t", settled[:2], saved=True)) == [2, 0]
    assert desk(desk.behind._settle(0, "t", settled[2:], saved=False)) == [0, 1]
    assert [write.key for write in desk(desk.behind.dead_letters())] == ["eve"]
    desk(desk.behind.forget_dead("eve"))
    values = [f"behind:{{profiles:0}}:value:{key}" for key in ("ann", "bob", "eve")]
    assert desk.server.keys() == ["behind:{profiles:0}:last", *values]


def test_sequence_numbers_only_grow() -> None:
    """Within a microsecond, and by a clock that was put back."""
    desk = Desk()
    seen = [0]
    for skew in (0, 0, -10, -10, 5):
        desk.server.skew = skew
        seen.append(desk(desk.behind.put(str(len(seen)), 1)))
        assert seen[-1] > seen[-2]
    assert seen[1] == 1_700_000_000_000_000
    assert seen[4] == seen[1] + 3


def test_what_cannot_be_read() -> None:
    """It is a decode error for who reads it; who saves the others sets it aside until it is a dead letter."""
    desk = Desk(tries=1)
    raw: WriteBehind[str] = WriteBehind("profiles", ttl=60, codec=Text())
    desk(raw.put("ann", "{"))
    desk(desk.behind.put("bob", 1))
    with pytest.raises(DecodeError):
        desk(desk.behind.get("ann"))
    assert desk.flush(all_now=True) == 1
    assert [write.key for write in desk.saved[0]] == ["bob"]
    assert [write.value for write in desk(raw.dead_letters())] == ["{"]
    with pytest.raises(DecodeError):
        desk(desk.behind.dead_letters())


def test_run() -> None:
    """Saves what is due, goes on after a failure, and saves what still waits in the end."""
    desk = Desk(retry_after=2)
    desk(desk.behind.put("ann", 1))
    rounds: list[float] = []

    def until() -> bool:
        rounds.append(desk.server.clock())
        if len(rounds) == 1:
            desk.advance(1)
            desk.broken = OSError()
        elif len(rounds) == 2:
            desk.broken = None
            desk(desk.behind.put("bob", 2))
        return len(rounds) == 3

    desk(desk.behind.run(desk.save, until=until))
    assert rounds == [0.0, 3.0, 3.5], "bob was not due yet"
    assert [write.key for batch in desk.saved for write in batch] == ["ann", "bob"]


def test_how_long_a_round_waits() -> None:
    """Half of `delay`, at least 10 milliseconds and at most a second."""
    for delay, pause in ((0, 0.01), (0.5, 0.25), (60, 1.0)):
        behind: WriteBehind[Any] = WriteBehind("p", ttl=60, delay=delay)
        step: Any = None
        steps = behind.run(print).steps()
        step = next(steps)
        step = steps.send(0)
        assert step.seconds == pause


@pytest.mark.parametrize(
    ("plan", "name", "effect"),
    [
        (PROFILES.get("a"), "behind.get", Effect.READS),
        (PROFILES.pending(), "behind.pending", Effect.READS),
        (PROFILES.dead_letters(), "behind.dead_letters", Effect.READS),
        (PROFILES.forget_dead("a"), "behind.forget_dead", Effect.IDEMPOTENT),
        (PROFILES._claim(0, "t", all_now=False), "behind.claim", Effect.IDEMPOTENT),
        (PROFILES._settle(0, "t", [("a", 1)], saved=True), "behind.settle", Effect.IDEMPOTENT),
    ],
)
def test_names_and_effects(plan: Any, name: str, effect: Effect) -> None:
    """What does twice what it does once is sent at most once."""
    assert (plan.name, plan.effect) == (name, effect)


def test_a_write_is_sent_at_most_once() -> None:
    """Somebody else may have written meanwhile; filling in what was loaded may be sent again."""
    steps = PROFILES.put("a", 1).steps()
    next(steps)
    plan: Any = steps.send(0.0)
    assert (plan.name, plan.effect) == ("behind.put", Effect.ONCE)
    dry = Dry(PROFILES.load("a", lambda: 1))
    dry.expect("behind.get").answer(None, None)
    step: Any = dry._step
    assert (step.name, step.effect) == ("behind.fill", Effect.IDEMPOTENT)


def test_keys() -> None:
    """All of a partition are in one slot."""
    behind: WriteBehind[Any] = WriteBehind("a", ttl=1, namespace="n")
    assert behind.get("x").commands == (
        Command(("HGET", "n:behind:{a:0}:dirty", "x")),
        Command(("GET", "n:behind:{a:0}:value:x")),
    )


@pytest.mark.parametrize("record", [b"", b"x:0:s1", b"1:0:x1", b"1", 7, "1:0:s1"])
def test_a_record_that_is_none(record: Any) -> None:
    """It is a decode error."""
    with pytest.raises(DecodeError, match="write that waits"):
        PROFILES.get("a").parse([record, None])
    assert PROFILES.get("a").parse([b"1:0:s[2]", None]) == [2]
    assert PROFILES.get("a").parse([None, b"[3]"]) == [3]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": ""}, "name must"),
        ({"namespace": 7}, "namespace must"),
        *(({name: 0}, f"{name} must") for name in ("most", "batch", "tries", "partitions")),
        *(({name: 0}, f"{name} must") for name in ("ttl", "lease", "retry_after", "most_retry")),
        *(({name: -0.001}, f"{name} must") for name in ("delay", "most_delay")),
    ],
)
def test_nonsense_is_refused(wrong: dict[str, Any], said: str) -> None:
    """When it is built, with the argument's name; the limits themselves are allowed."""
    options: dict[str, Any] = {"name": "x", "ttl": 1, **wrong}
    with pytest.raises(ConfigurationError, match=said):
        WriteBehind(**options)
    least = dict.fromkeys(("most", "batch", "tries", "partitions"), 1)
    least_ms = dict.fromkeys(("ttl", "lease", "retry_after", "most_retry"), 0.001)
    options = {**least, **least_ms, "delay": 0, "most_delay": 0, "codec": Json()}
    assert WriteBehind("x", **options).partitions == 1


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: PROFILES.get(""), "key must"),
        (lambda: PROFILES.forget_dead(""), "key must"),
        (lambda: next(PROFILES.put("", 1).steps()), "key must"),
        (lambda: next(PROFILES.put("a", 1, wait=-1).steps()), "wait must"),
        (lambda: next(PROFILES.load("", print).steps()), "key must"),
    ],
)
def test_bad_arguments_are_named(call: Callable[[], object], said: str) -> None:
    """With what is allowed."""
    with pytest.raises(ConfigurationError, match=said) as error:
        call()
    assert isinstance(error.value, PatternsError)
