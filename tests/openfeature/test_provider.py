"""What the provider does beyond the suites: events, its life, its cache, and flags that are in error."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from openfeature import api
from openfeature.evaluation_context import EvaluationContext  # pyright: ignore[reportMissingTypeStubs]
from openfeature.event import EventDetails, ProviderEvent
from openfeature.exception import ErrorCode, ProviderNotReadyError

from redis_patterns import ConfigurationError, Flag, FlagClient, FlagEvent, Flags, FlagSnapshot, Unreachable
from redis_patterns.openfeature import FlagProvider
from redis_patterns.sync import Driver
from redis_patterns.testing import Dry
from tests.drivers.plans import once

FLAGS = Flags("shop")
FULL = FlagSnapshot(
    [
        Flag("on", metadata={"owner": "web"}),
        Flag("half", percentage=50),
        Flag("whole", variants={"a": 1}),
        Flag("part", variants={"a": 1.0}),
        Flag("list", variants={"a": [1]}),
    ],
    unreadable={"later": "format 9"},
    revision=3,
)


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """Leave OpenFeature as it was found."""
    yield
    api.shutdown()


def loaded(snapshot: FlagSnapshot = FULL) -> FlagClient:
    client = FlagClient(FLAGS)
    client.begin(lambda _: None)
    load(client, snapshot)
    return client


def load(client: FlagClient, snapshot: FlagSnapshot) -> None:
    Dry(client.load()).give(snapshot)


class Told:
    """Waits for what the SDK tells, in threads of its own."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []
        self._changed = threading.Condition()

    def listen(self) -> None:
        for event in ProviderEvent:
            api.add_handler(event, self._noting(event))

    def _noting(self, event: ProviderEvent) -> Callable[[EventDetails], None]:
        def note(details: EventDetails) -> None:
            with self._changed:
                self.events.append((event.name.removeprefix("PROVIDER_"), details.flags_changed))
                self._changed.notify_all()

        return note

    def count(self, count: int) -> list[tuple[str, Any]]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.events) >= count, 10)
            return sorted(self.events)


def test_events() -> None:
    """Ready, stale once in an outage, ready again, and what has changed, by name."""
    client = loaded()
    told = Told()
    api.set_provider_and_wait(FlagProvider(client))
    told.listen()
    assert told.count(1) == [("READY", None)]
    dry = Dry(client.keep())
    for _ in range(3):
        dry.fail(Unreachable("flags.snapshot", "away")).sleep()
    assert told.count(2)[-1] == ("STALE", None)
    assert api.get_client().get_boolean_details("on", False).reason == "STALE"
    dry.give(FlagSnapshot([*FULL, Flag("new")], revision=4))
    assert told.count(4) == [
        ("CONFIGURATION_CHANGED", ["later", "new"]),
        ("READY", None),
        ("READY", None),
        ("STALE", None),
    ]
    assert api.get_client().get_boolean_details("on", False).reason == "STATIC"
    assert len(told.events) == 4


def test_it_begins_and_ends_any_number_of_times() -> None:
    """Twice is once; when it has ended it listens no more."""
    client = loaded()
    provider = FlagProvider(client)
    emitted: list[ProviderEvent] = []
    provider.attach(lambda _, event, __: emitted.append(event))
    for _ in range(2):
        provider.initialize(EvaluationContext())
    load(client, FlagSnapshot(revision=4))
    assert emitted == [ProviderEvent.PROVIDER_CONFIGURATION_CHANGED]
    for _ in range(2):
        provider.shutdown()
    load(client, FULL)
    assert len(emitted) == 1
    provider.initialize(EvaluationContext())
    load(client, FlagSnapshot(revision=4))
    assert len(emitted) == 2
    assert provider.get_metadata().name == "redis-patterns"
    provider.track("bought")


def test_it_waits_for_the_first_snapshot() -> None:
    """For so long; and an initial one is one."""
    client = FlagClient(FLAGS)
    client.begin(lambda _: None)
    with pytest.raises(ProviderNotReadyError):
        FlagProvider(client, wait=0).initialize(EvaluationContext())
    provider = FlagProvider(client, wait=60)
    thread = threading.Thread(target=provider.initialize, args=[EvaluationContext()])
    thread.start()
    load(client, FULL)
    thread.join(10)
    assert not thread.is_alive()
    FlagProvider(FlagClient(FLAGS, initial=FULL), wait=60).initialize(EvaluationContext())
    with pytest.raises(ConfigurationError, match="wait"):
        FlagProvider(client, wait=-1)


def test_who_ends_it_wakes_who_waits() -> None:
    """Which is told that there was nothing."""
    provider = FlagProvider(FlagClient(FLAGS), wait=600)
    failed: list[BaseException] = []

    def begin() -> None:
        try:
            provider.initialize(EvaluationContext())
        except ProviderNotReadyError as error:
            failed.append(error)

    thread = threading.Thread(target=begin)
    thread.start()
    provider.shutdown()
    thread.join(10)
    assert len(failed) == 1


@pytest.mark.parametrize(
    ("ask", "key", "default", "error"),
    [
        ("boolean", "later", True, ErrorCode.PARSE_ERROR),
        ("boolean", "half", True, ErrorCode.TARGETING_KEY_MISSING),
        ("integer", "part", 7, ErrorCode.TYPE_MISMATCH),
        ("float", "whole", 7.5, ErrorCode.TYPE_MISMATCH),
        ("integer", "on", 7, ErrorCode.TYPE_MISMATCH),
        ("boolean", "whole", True, ErrorCode.TYPE_MISMATCH),
        ("object", "on", {}, ErrorCode.TYPE_MISMATCH),
    ],
)
def test_errors(ask: str, key: str, default: Any, error: ErrorCode) -> None:
    """The caller's default comes back with the code; a whole number is no other one."""
    api.set_provider_and_wait(FlagProvider(loaded()))
    details = getattr(api.get_client(), f"get_{ask}_details")(key, default)
    assert (details.value, details.reason, details.error_code) == (default, "ERROR", error)
    assert details.error_message


def test_a_list_is_an_object() -> None:
    """Whatever the caller's default is."""
    api.set_provider_and_wait(FlagProvider(loaded()))
    assert api.get_client().get_object_value("list", {}) == [1]


def test_users_are_sorted_as_everywhere() -> None:
    """By the targeting key, the same as without OpenFeature."""
    client = loaded()
    api.set_provider_and_wait(FlagProvider(client))
    asked = api.get_client()
    for number in range(50):
        who = EvaluationContext(f"user-{number}")
        assert asked.get_boolean_value("half", False, who) is client.is_enabled("half", f"user-{number}")


def test_a_cache_lasts_until_something_changes() -> None:
    """Only what is the same for all is kept, and nothing while it may be old."""
    client = loaded()
    provider = FlagProvider(client, cache=True)
    api.set_provider_and_wait(provider)
    who = EvaluationContext("ann")

    def reasons(key: str) -> list[str]:
        return [str(provider.resolve_boolean_details(key, False, who).reason) for _ in range(2)]

    assert reasons("on") == ["STATIC", "CACHED"]
    assert reasons("half") == ["SPLIT", "SPLIT"] or reasons("half") == ["DEFAULT", "DEFAULT"]
    load(client, FlagSnapshot([Flag("on", percentage=0)], revision=4))
    assert provider.resolve_boolean_details("on", True, who).value is False
    assert reasons("on") == ["CACHED", "CACHED"]
    Dry(client.keep()).fail(Unreachable("flags.snapshot", "away"))
    assert reasons("on") == ["STALE", "STALE"]


def test_what_is_written_is_what_is_served(redis_server: Any) -> None:
    """From a real Redis, changed while it is used."""
    flags = Flags("provider")
    told = threading.Event()

    def listen(event: FlagEvent) -> None:
        if event.names:
            told.set()

    with Driver.connect(redis_server.url) as redis:
        redis.run(once("DEL", flags.key))
        redis.run(flags.put(Flag("title", variants={"a": "old"})))
        with redis.follow(FlagClient(flags, on_event=listen)) as client:
            api.set_provider_and_wait(FlagProvider(client))
            asked = api.get_client()
            assert asked.get_string_value("title", "") == "old"
            redis.run(flags.put(Flag("title", variants={"a": "new"})))
            assert told.wait(10)
            assert asked.get_string_value("title", "") == "new"
