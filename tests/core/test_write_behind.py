"""Writing behind on a server in memory, with its clock put forward by hand."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from redis_patterns import (
    MISS,
    Command,
    ConfigurationError,
    DeadWrite,
    DecodeError,
    Effect,
    Json,
    Plan,
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
        dry.expect("behind.look").answer([None, None, b"t"]).expect("behind.fill").answer(0)
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
    assert desk.server.commands == before + 2


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


@pytest.mark.parametrize("newer", [MISS, "newer"])
@pytest.mark.parametrize("expired", [False, True])
def test_nothing_is_loaded_over_what_was_written_and_saved(newer: Any, *, expired: bool) -> None:
    """A loader that began before a write, or a removal, which is saved and maybe gone from Redis when it ends."""
    desk = Desk(ttl=10, delay=0)

    def loader() -> str:
        desk(desk.behind.put("ann", newer))
        desk.flush(all_now=True)
        desk.advance(10.001 if expired else 0)
        return "old"

    given = desk(desk.behind.load("ann", loader))
    assert given == ("newer" if newer == "newer" and not expired else "old")
    there = desk(desk.behind.get("ann"))
    assert there == ("newer" if newer == "newer" and not expired else MISS)
    assert desk(desk.behind.load("ann", lambda: "fresh")) == ("fresh" if there is MISS else there)


def test_who_began_to_load_before_a_write_stores_nothing_for_who_began_after_it() -> None:
    """Those that load at the same time share a note, but not with those from before a write."""
    desk = Desk(ttl=10, delay=0)

    def loader() -> str:
        desk(desk.behind.put("ann", MISS))
        desk.flush(all_now=True)
        steps = desk.behind.load("ann", print).steps()
        desk(next(steps))  # another one looks, and is loading
        return "old"

    assert desk(desk.behind.load("ann", loader)) == "old"
    assert desk(desk.behind.get("ann")) is MISS
    assert desk(desk.behind.load("ann", lambda: "fresh")) == "fresh"
    assert desk(desk.behind.get("ann")) == "fresh"
    assert ":load:" not in str(desk.server.keys())
    assert desk(desk.behind.load("bob", lambda: MISS)) is MISS
    desk.advance(10.001)
    assert ":load:" not in str(desk.server.keys())


def test_who_claims_again_is_given_the_same() -> None:
    """As the first answer was lost; for another full lease, and nothing that others have."""
    desk = Desk(batch=2, delay=0, lease=5)
    for key in "abcd":
        desk(desk.behind.put(key, key))
    claim = desk.behind._claim(0, "t", all_now=True)
    first = desk(claim)
    desk.advance(4)
    assert desk(claim) == first
    assert [write.key for write in first.writes] == ["a", "b"]
    desk.advance(4)
    assert [write.key for write in desk(desk.behind._claim(0, "other", all_now=True)).writes] == ["c", "d"]
    assert desk(desk.behind._claim(0, "more", all_now=True)).writes == []
    desk.advance(1)
    assert [write.key for write in desk(desk.behind._claim(0, "more", all_now=True)).writes] == ["a", "b"]


def test_what_others_are_saving_hides_nothing() -> None:
    """All that waits is saved in the end, though what others have is due first."""
    desk = Desk(batch=2, delay=60, most_delay=60, lease=1)
    for key in "abcdefg":
        desk(desk.behind.put(key, key))
    for token in "tu":
        desk(desk.behind._claim(0, token, all_now=True))
    assert desk.flush(all_now=True) == 3
    assert [[write.key for write in batch] for batch in desk.saved] == [["e", "f"], ["g"]]


def test_what_is_due_and_gone() -> None:
    """It is not due any more."""
    desk = Desk()
    desk(desk.behind.put("ann", 1))
    desk(Plan("sets", (Command(("ZADD", "behind:{profiles:0}:due", 0, "gone")),), len))
    assert desk.flush() == 0
    due = Plan("reads", (Command(("ZRANGE", "behind:{profiles:0}:due", 0, -1)),), list, Effect.READS)
    assert desk(due) == [[b"ann"]]


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
    letter = DeadWrite("ann", Write("ann", 1, sequence), "OSError: down", 1_700_000_006.0, b"1")
    assert desk(desk.behind.dead_letters()) == [letter]
    assert desk(desk.behind.pending()) == 0
    assert desk(desk.behind.forget_dead("ann")) is True
    assert desk(desk.behind.forget_dead("ann")) is False


@pytest.mark.parametrize(
    ("batch", "tries", "sizes"),
    [
        (8, 5, [8, 4, 4, 2, 2, 1, 1]),
        (8, 2, [8, 1]),
        (3, 10, [3, 1]),
    ],
)
def test_a_write_that_makes_its_batch_fail(batch: int, tries: int, sizes: list[int]) -> None:
    """It is tried with half as many others each time, alone at last, and takes none of them to the dead letters."""
    desk = Desk(batch=batch, tries=tries, delay=0)
    tried = list[int]()

    def save(writes: Sequence[Write[Any]]) -> None:
        tried.append(len(writes))
        if any(write.value == "bad" for write in writes):
            raise ValueError("bad")
        desk.saved.append(list(writes))

    keys = [f"k{number}" for number in range(batch)]
    for key in keys:
        desk(desk.behind.put(key, "bad" if key == "k1" else 1))
    while desk(desk.behind.pending()):
        with contextlib.suppress(ValueError):
            desk(desk.behind.flush(save))
        desk.advance(0.5)
    assert sorted(tried, reverse=True)[: len(sizes)] == sizes
    assert [letter.key for letter in desk(desk.behind.dead_letters())] == ["k1"]
    assert sorted(write.key for batch in desk.saved for write in batch) == [key for key in keys if key != "k1"]


def test_one_that_has_failed_holds_nobody_up() -> None:
    """Those that have not are taken together, and it is not taken with more than it may."""
    desk = Desk(batch=4, delay=0)
    desk(desk.behind.put("bad", 1))
    for _ in range(2):
        desk.broken = OSError("down")
        with pytest.raises(OSError, match="down"):
            desk.flush(all_now=True)
    desk.broken = None
    for key in "xy":
        desk(desk.behind.put(key, 1))
    desk.advance(10)
    for key in "abcde":
        desk(desk.behind.put(key, 1))
        desk.advance(0.001)
    assert desk.flush() == 8
    assert [[write.key for write in batch] for batch in desk.saved] == [["x", "y", "a"], ["bad"], ["b", "c", "d", "e"]]


def test_dead_letters_are_redriven() -> None:
    """Those that are named, or so many; they are saved with their old numbers, and may fail as often as at first."""
    desk = Desk(tries=2, delay=0, retry_after=1)
    sequences = {key: desk(desk.behind.put(key, MISS if key == "c" else key)) for key in "abcd"}

    def fails() -> None:
        desk.broken = OSError("down")
        for _ in range(40):
            with contextlib.suppress(OSError):
                desk.flush(all_now=True)
        desk.broken = None

    fails()
    assert sorted(letter.key for letter in desk(desk.behind.dead_letters())) == ["a", "b", "c", "d"]
    assert desk(desk.behind.redrive("a", "c", "none")) == 2
    assert desk(desk.behind.redrive("a", "c")) == 0
    assert desk(desk.behind.pending()) == 2
    assert desk(desk.behind.get("c")) is MISS
    desk.advance(0.001)
    assert desk.flush() == 2, "at once"
    assert desk.saved == [[Write("a", "a", sequences["a"]), Write("c", MISS, sequences["c"])]]
    assert desk(desk.behind.redrive(count=1)) == 1
    assert len(desk(desk.behind.dead_letters())) == 1
    assert desk(desk.behind.redrive()) == 1
    with pytest.raises(OSError, match="down"):
        desk.broken = OSError("down")
        desk.flush(all_now=True)
    assert desk(desk.behind.dead_letters()) == []
    fails()
    assert len(desk(desk.behind.dead_letters())) == 2


def test_a_dead_letter_of_a_key_that_was_written_again() -> None:
    """It is not saved over a newer write: dropped where that waits, and gone where that was saved."""
    desk = Desk(tries=1, delay=0)

    def dies() -> None:
        desk(desk.behind.put("ann", "old"))
        desk.broken = OSError("down")
        with pytest.raises(OSError, match="down"):
            desk.flush(all_now=True)
        desk.broken = None
        assert [letter.key for letter in desk(desk.behind.dead_letters())] == ["ann"]

    dies()
    desk(desk.behind.put("ann", "new"))
    assert desk(desk.behind.redrive("ann")) == 0
    assert desk(desk.behind.dead_letters()) == []
    desk.flush(all_now=True)
    dies()
    desk(desk.behind.put("ann", "new"))
    desk.flush(all_now=True)
    assert desk(desk.behind.dead_letters()) == []
    assert [write.value for batch in desk.saved for write in batch] == ["new", "new"]


def test_dead_letters_of_partitions() -> None:
    """Each is asked for those that it has, in one round trip."""
    desk = Desk(tries=1, delay=0, batch=1, partitions=3)
    keys = [f"k{number}" for number in range(12)]
    for key in keys:
        desk(desk.behind.put(key, 1))
    desk.broken = OSError("down")
    while desk(desk.behind.pending()):
        with pytest.raises(OSError, match="down"):
            desk.flush(all_now=True)
    assert len(desk.behind.redrive().commands) == 3
    assert len(desk.behind.redrive("k0").commands) == 1
    assert desk(desk.behind.redrive(*keys[:5])) == 5
    assert desk(desk.behind.redrive(count=1000)) == 7


def test_more_dead_letters_than_are_redriven_at_once() -> None:
    """As many as `count`, however many there are."""
    desk = Desk(tries=1, delay=0, batch=1000)
    for number in range(700):
        desk(desk.behind.put(f"k{number}", 1))
    desk.broken = OSError("down")
    with pytest.raises(OSError, match="down"):
        desk.flush(all_now=True)
    assert desk(desk.behind.redrive(count=300)) == 300
    assert desk(desk.behind.redrive(count=300)) == 300
    assert desk(desk.behind.redrive(count=300)) == 100
    assert desk(desk.behind.pending()) == 700


def test_letters_that_tell_no_error() -> None:
    """As they were written at first; they can be read and redriven like others."""
    desk = Desk()
    sets = Command(("HSET", "behind:{profiles:0}:dead", "ann", b'7:1700000000123:s"x"', "bob", "8:1700000000123:d"))
    desk(Plan("sets", (sets,), len))
    letters = desk(desk.behind.dead_letters())
    assert sorted(letters, key=lambda letter: str(letter.key)) == [
        DeadWrite("ann", Write("ann", "x", 7), "", 1_700_000_000.123, b'"x"'),
        DeadWrite("bob", Write("bob", MISS, 8), "", 1_700_000_000.123, b""),
    ]
    assert desk(desk.behind.redrive()) == 2
    desk.advance(0.001)
    assert desk.flush() == 2
    assert sorted(write.sequence for write in desk.saved[0]) == [7, 8]


def test_what_is_no_write_at_all() -> None:
    """It holds up nobody, becomes a dead letter that stays, and one may write over it."""
    desk = Desk(tries=2, delay=0, retry_after=1)
    records = {"a": b"garbage", "b": b"12", "c": b"7:8:x1", "d": b"", "e": b"\x00\xff"}
    words = [word for pair in records.items() for word in pair]
    sets = Command(("HSET", "behind:{profiles:0}:dirty", *words))
    due = Command(("ZADD", "behind:{profiles:0}:due", *[word for key in records for word in (0, key)]))
    desk(Plan("sets", (sets, due), len))
    desk(desk.behind.put("fine", 1))
    desk(desk.behind.put("d", 2))
    for _ in range(8):
        desk.advance(2)
        desk.flush()
    assert sorted(write.key for batch in desk.saved for write in batch) == ["d", "fine"]
    letters = {letter.key: letter for letter in desk(desk.behind.dead_letters())}
    assert {key: letter.payload for key, letter in letters.items()} == {k: records[k] for k in "abce"}
    assert all(letter.write is None for letter in letters.values())
    assert letters["a"].error == "expected a write that waits to be saved, got something else"
    assert desk(desk.behind.redrive()) == 0
    assert len(desk(desk.behind.dead_letters())) == 4
    assert desk(desk.behind.forget_dead("a")) is True
    with pytest.raises(DecodeError, match="expected a dead letter"):
        desk.behind.dead_letters().parse([[b"k", b"?"]])


def test_the_error_of_saving_is_what_is_raised() -> None:
    """Though Redis cannot be told of it: that goes to the handler of background errors."""

    def save(_: Sequence[Write[Any]]) -> None:
        raise ValueError("mine")

    dry = Dry(PROFILES._save(0, "t", [Write("ann", 1, 5)], save))
    dry.expect(PROFILES._settle(0, "t", [("ann", 5)], error="ValueError: mine"))
    dry.fail(Unreachable("behind.settle", "gone"))
    dry.expect(PROFILES._settle(0, "t", [("ann", 5)], error="cancelled")).answer([0, 0])
    with pytest.raises(ValueError, match="mine"):
        _ = dry.result


def test_errors_that_are_kept() -> None:
    """Up to 2000 characters, lone surrogates escaped, and bytes of text as they are."""
    desk = Desk(tries=1, delay=0)
    for error, kept in [
        (OSError("n\udcffo"), "OSError: n\\udcffo"),
        (ValueError("ü\0:" + 3000 * "x"), ("ValueError: ü\0:" + 3000 * "x")[:2000]),
    ]:
        desk(desk.behind.put("ann", 1))
        desk.broken = error
        with pytest.raises(type(error)):
            desk.flush(all_now=True)
        (letter,) = desk(desk.behind.dead_letters())
        assert letter.error == kept
        assert letter.payload == b"1"
        assert desk(desk.behind.forget_dead("ann"))


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
    assert desk(desk.behind._settle(0, "t", [("ann", first)])) == [1, 0]
    assert desk(desk.behind.pending()) == 1
    assert desk.flush(all_now=True) == 1
    assert [write.value for write in desk.saved[0]] == [2]


def test_what_was_taken_and_not_saved_is_due_again_at_once() -> None:
    """Where it is cancelled before it knows what it has; what others are saving stays theirs."""
    desk = Desk(lease=5)
    for key in ("ann", "bob"):
        desk(desk.behind.put(key, 1))
        desk(desk.behind._claim(0, key, all_now=True))
    assert [desk(desk.behind._release(0, "ann")) for _ in range(2)] == [1, 0]
    assert desk.flush() == 1
    assert [write.key for write in desk.saved[0]] == ["ann"]

    dry = Dry(desk.behind.flush(print))
    dry.expect("behind.claim").cancel()
    assert dry.expect("behind.release").answer(0).over
    dry = Dry(desk.behind.flush(print))
    dry.expect("behind.claim").fail(Unreachable("behind.claim", "gone"))
    with pytest.raises(Unreachable):
        _ = dry.result  # at once, as nothing was taken


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
    assert desk(desk.behind._settle(0, "t", settled[:2])) == [2, 0]
    assert desk(desk.behind._settle(0, "t", settled[2:], error="no")) == [0, 1]
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
    (letter,) = desk(desk.behind.dead_letters())
    assert (letter.key, letter.write, letter.payload, letter.at) == ("ann", None, b"{", 1_700_000_000.0)
    assert letter.error.startswith("expected JSON")
    assert "payload" not in repr(letter)
    (letter,) = desk(raw.dead_letters())
    assert letter.write is not None
    assert letter.write.value == "{"


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
        (PROFILES.forget_dead("a"), "behind.forget_dead", Effect.ONCE),
        (PROFILES.redrive("a"), "behind.redrive", Effect.IDEMPOTENT),
        (PROFILES.redrive(), "behind.redrive", Effect.ONCE),
        (PROFILES._claim(0, "t", all_now=False), "behind.claim", Effect.IDEMPOTENT),
        (PROFILES._release(0, "t"), "behind.release", Effect.IDEMPOTENT),
        (PROFILES._settle(0, "t", [("a", 1)]), "behind.settle", Effect.IDEMPOTENT),
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
    dry.expect("behind.look").answer([None, None, b"t"])
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
        (lambda: PROFILES.redrive(""), "key must"),
        (lambda: PROFILES.redrive(count=0), "count must be a whole number from 1 to 1000"),
        (lambda: PROFILES.redrive(count=1001), "count must"),
        (lambda: PROFILES.redrive(*["a"] * 1001), "keys must be at most 1000, not 1001"),
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
