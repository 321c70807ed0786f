"""What a client of flags does, step by step: looking, being told, outages, and what it says of them."""

from __future__ import annotations

from typing import Any

import pytest

from redis_patterns import (
    CommandFailed,
    ConfigurationError,
    DecodeError,
    Flag,
    FlagClient,
    FlagEvent,
    Flags,
    FlagSnapshot,
    OutcomeUnknown,
    Unreachable,
)
from redis_patterns.testing import Dry

FLAGS = Flags("shop")
AWAY = Unreachable("flags.snapshot", "nobody is there")


def snapshot(revision: int, **percentages: float) -> FlagSnapshot:
    return FlagSnapshot([Flag(name, percentage=part) for name, part in percentages.items()], revision=revision)


def client(**options: Any) -> tuple[FlagClient, list[FlagEvent], Dry[None]]:
    """Give a client that has its first snapshot, what it tells, and its flow, at its first wait."""
    events: list[FlagEvent] = []
    made = FlagClient(FLAGS, on_event=events.append, chance=lambda: 0.5, **options)
    made.begin(lambda error: events.append(FlagEvent("stale", error=error)))
    Dry(made.load()).expect(FLAGS.snapshot()).give(snapshot(5, a=100, b=0))
    return made, events, Dry(made.keep())


def test_a_client_answers_from_its_snapshot() -> None:
    """As the snapshot would."""
    made, events, _ = client()
    assert (made.is_enabled("a", "ann"), made.is_enabled("b", "ann"), made.is_enabled("c", "ann")) == (
        True,
        False,
        False,
    )
    assert made.evaluate("a", "ann", False) == snapshot(5, a=100, b=0).evaluate("a", "ann", False)
    assert (made.revision, made.stale, made.ready) == (5, False, True)
    assert events == [FlagEvent("ready", revision=5)]
    assert repr(made) == "<FlagClient of 'shop', revision 5>"


def test_before_there_is_a_snapshot_the_default_counts() -> None:
    """And that is said."""
    made = FlagClient(FLAGS)
    found = made.evaluate("a", "ann", 7)
    assert (found.value, found.error, found.reason) == (7, "PROVIDER_NOT_READY", "ERROR")
    assert (made.is_enabled("a"), made.is_enabled("a", default=True)) == (False, True)
    assert (made.snapshot, made.revision, made.stale, made.ready) == (None, 0, True, False)


def test_a_change_is_read_when_it_is_told() -> None:
    """A moment later, at one time for many changes, and the names of what has changed are told."""
    made, events, dry = client()
    dry.expect(FLAGS.wait_for_change(5, 10)).give(True)
    dry.sleep(0.025).expect(FLAGS.snapshot()).give(snapshot(8, b=50, c=100))
    assert events[1:] == [FlagEvent("changed", ("a", "b", "c"), 8)]
    assert made.is_enabled("c")
    dry.expect(FLAGS.wait_for_change(8, 10))


def test_it_looks_by_itself() -> None:
    """After the poll, give or take a fifth, whether there was a change that nobody told; the flags are read if so."""
    made, events, dry = client()
    dry.expect(FLAGS.wait_for_change(5, 10)).advance(10).give(False)
    dry.expect(FLAGS.revision()).give(5)
    dry.expect(FLAGS.wait_for_change(5, 10)).advance(10).give(False)
    dry.expect(FLAGS.revision()).give(3)  # a replica took over
    dry.expect(FLAGS.snapshot()).give(snapshot(3, a=100))
    assert (made.revision, [event.what for event in events]) == (3, ["ready", "changed"])
    early, late = FlagClient(FLAGS, chance=lambda: 0.0), FlagClient(FLAGS, chance=lambda: 1.0)
    assert (early._pause(), late._pause()) == pytest.approx((8.0, 12.0))


def test_it_waits_no_longer_than_until_it_looks() -> None:
    """What is left of the poll, and at least the 2 ms that a wait can have."""
    _, _, dry = client()
    for gone_by, left in ((9.5, 10), (0.4995, 0.5), (0.002, 0.002)):
        dry.expect(FLAGS.wait_for_change(5, left)).advance(gone_by).give(False)
    dry.expect(FLAGS.revision())


def test_one_who_cannot_be_stopped_waits_in_slices() -> None:
    """And is asked between them whether to end; the poll is when it would be."""
    made, _, _ = client()
    stop = [False]
    dry = Dry(made.keep(slice=4, until=lambda: stop[0]))
    for _ in range(2):
        dry.expect(FLAGS.wait_for_change(5, 4)).advance(4).give(False)
    dry.expect(FLAGS.wait_for_change(5, 2)).advance(2).give(False)
    dry.expect(FLAGS.revision())
    stop[0] = True
    assert dry.give(5).over


def test_the_shortest_wait() -> None:
    """Redis takes 2 ms for the least: less of it is left, and it is waited for so long all the same."""
    _, _, dry = client()
    dry.expect(FLAGS.wait_for_change(5, 10)).advance(9.5).give(False)
    dry.expect(FLAGS.wait_for_change(5, 0.5)).advance(0.499).give(False)
    dry.expect(FLAGS.wait_for_change(5, 0.002)).advance(0.002).give(False)
    dry.expect(FLAGS.revision())


@pytest.mark.parametrize(
    "error", [AWAY, OutcomeUnknown("flags.snapshot", "lost"), DecodeError("x"), CommandFailed("x", "LOADING", "y")]
)
def test_an_outage_is_told_once_and_the_last_known_counts(error: Exception) -> None:
    """It tries again, at longer and longer intervals; evaluations say that they may be old; then it is told once."""
    made, events, dry = client()
    if not isinstance(error, CommandFailed):
        dry.expect(FLAGS.wait_for_change(5, 10)).fail(error)
    else:
        dry.expect(FLAGS.wait_for_change(5, 10)).advance(10).give(False).expect(FLAGS.revision()).fail(error)
    assert events[1:] == [FlagEvent("stale", revision=5, error=error)]
    assert made.stale
    found = made.evaluate("a", "ann", False)
    assert (found.value, found.reason, found.step) == (True, "STALE", "rollout")
    assert made.evaluate("missing", "ann", 7).reason == "ERROR"
    for pause in (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0):
        dry.sleep(pause).expect(FLAGS.snapshot()).fail(error)
    dry.sleep().expect(FLAGS.snapshot()).give(snapshot(9, a=100))
    assert [event.what for event in events] == ["ready", "stale", "recovered", "changed"]
    assert (made.stale, made.evaluate("a", "ann", False).reason) == (False, "STATIC")
    dry.expect(FLAGS.wait_for_change(9, 10)).fail(error)
    if not isinstance(error, CommandFailed):
        dry.sleep(0.05)  # from the beginning again


def test_nothing_is_told_of_what_did_not_change() -> None:
    """A recovery to the same flags is no change."""
    _, events, dry = client()
    dry.fail(AWAY).sleep().give(snapshot(5, a=100, b=0))
    assert [event.what for event in events] == ["ready", "stale", "recovered"]


def test_what_cannot_be_waited_for_is_looked_for() -> None:
    """A user who may not read the stream has the poll; that is no outage."""
    made, events, dry = client()
    dry.expect(FLAGS.wait_for_change(5, 10)).fail(CommandFailed("flags.wait_for_change", "NOPERM", "no"))
    dry.sleep(10).expect(FLAGS.revision()).give(6).expect(FLAGS.snapshot()).give(snapshot(6, a=100, b=0))
    assert (made.stale, made.revision, [event.what for event in events]) == (False, 6, ["ready"])


def test_an_initial_snapshot_counts_until_there_is_another() -> None:
    """It is told as old; the first from Redis makes it ready, and what differs is told."""
    events: list[FlagEvent] = []
    made = FlagClient(FLAGS, initial=snapshot(0, a=100), on_event=events.append, chance=lambda: 0.5)
    made.begin(lambda _: None)
    assert (made.is_enabled("a"), made.stale, made.evaluate("a").reason) == (True, True, "STALE")
    dry = Dry(made.keep())
    dry.expect(FLAGS.snapshot()).fail(AWAY).sleep(0.05).expect(FLAGS.snapshot()).give(snapshot(7, a=0))
    assert [(event.what, event.names) for event in events] == [("stale", ()), ("ready", ()), ("changed", ("a",))]
    assert not made.stale


def test_a_flag_that_cannot_be_read_any_more_has_changed() -> None:
    """And so has one that can again."""
    _, events, dry = client()
    broken = FlagSnapshot([Flag("b", percentage=0)], unreadable={"a": "why"}, revision=6)
    dry.give(True).sleep().give(broken)
    dry.give(True).sleep().give(snapshot(7, a=100, b=0))
    assert [event.names for event in events[1:]] == [("a",), ("a",)]


def test_several_listen_and_one_that_raises_bothers_nobody() -> None:
    """What it raised is told; one that does not listen any more is not told."""
    told: list[str] = []
    reported: list[Exception] = []
    made = FlagClient(FLAGS)
    made.begin(reported.append)

    def fails(event: FlagEvent) -> None:
        raise ZeroDivisionError(event.what)

    made.subscribe(fails)
    end = made.subscribe(lambda event: told.append(event.what))
    Dry(made.load()).give(snapshot(5, a=100))
    end()
    end()
    Dry(made.load()).give(snapshot(6, a=0))
    assert told == ["ready"]
    assert [str(error) for error in reported] == ["ready", "changed"]
    made.end()
    with pytest.raises(ZeroDivisionError):
        _ = Dry(made.load()).give(snapshot(7, a=100)).result


def test_one_driver_follows() -> None:
    """A second one is refused; when nobody does any more, what is known is old."""
    made, _, _ = client()
    with pytest.raises(ConfigurationError, match="one driver at a time"):
        made.begin(lambda _: None)
    made.end()
    assert (made.stale, made.followed, made.evaluate("a").reason) == (True, False, "STALE")
    made.begin(lambda _: None)
    assert not made.stale


@pytest.mark.parametrize("options", [{"poll": 0.01}, {"poll": 0}, {"poll": "10"}])
def test_a_bad_poll_is_refused(options: dict[str, Any]) -> None:
    """By an error that names it, as is something that is no Flags."""
    with pytest.raises(ConfigurationError, match="poll"):
        FlagClient(FLAGS, **options)
    with pytest.raises(ConfigurationError, match="flags"):
        FlagClient("shop")  # type: ignore[arg-type]
