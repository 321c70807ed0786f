"""The scenarios of OpenFeature's suites for evaluations, hooks and metadata, through the provider, sync and asyncio.

Written here as tables: what is asked of flags of our own, and what must come of it; one test for each scenario and
example of the originals (evaluation_v2, evaluation, hooks, metadata). All flags are put into a real Redis and read from
there. What the originals say of contexts that are merged is the SDK's alone, and asks no provider.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import anyio
import pytest
from openfeature import api
from openfeature.evaluation_context import EvaluationContext  # pyright: ignore[reportMissingTypeStubs]
from openfeature.exception import ProviderFatalError, ProviderNotReadyError
from openfeature.flag_evaluation import FlagEvaluationDetails, FlagEvaluationOptions
from openfeature.hook import Hook  # pyright: ignore[reportMissingTypeStubs]

import redis_patterns.asyncio
import redis_patterns.sync
from redis_patterns import Condition, Flag, FlagClient, FlagRule, Flags, batch
from redis_patterns.openfeature import FlagProvider
from redis_patterns.testing import Server
from tests.faults.proxy import Proxy, proxy_to

pytestmark = pytest.mark.anyio

PASSED: list[str] = []


@dataclass(frozen=True)
class Type:
    """One type of flags.

    Parameters:
        value, variant: what its flag gives.
        other: another value of that type.
        zero: the one that counts as false.
        default: what is asked with.
    """

    value: Any
    variant: str
    other: Any
    zero: Any
    default: Any


PAGE = {"columns": 3, "title": "All our tea", "wide": True}
TYPES = {
    "boolean": Type(True, "yes", False, False, False),
    "string": Type("good morning", "early", "good night", "", "good day"),
    "integer": Type(40, "many", 4, 0, 7),
    "float": Type(0.75, "most", 0.25, 0.0, 1.5),
    "object": Type(PAGE, "page", {}, {}, {"b": 2}),
}
INSIDER = "ann@tea.example"


def all_flags() -> list[Flag]:
    flags: list[Flag] = []
    for name, kind in TYPES.items():
        plain = {kind.variant: kind.value, "other": kind.other}
        zero = {"zero": kind.zero, "else": kind.other if kind.other != kind.zero else kind.value}
        flags += [
            Flag(f"{name}-plain", variants=plain),
            Flag(f"{name}-zero", variants=zero),
            Flag(f"{name}-off", variants=plain, enabled=False),
            # To whom it is targeted and who not get the same, and are told why.
            Flag(
                f"{name}-targeted",
                variants=zero,
                rules=[FlagRule(Condition("email", "equals", INSIDER), serve="zero")],
            ),
        ]
    insiders = [
        Condition("customer", "equals", False),
        Condition("email", "equals", INSIDER),
        Condition("age", "greater", 10),
    ]
    flags.append(
        Flag(
            "several-attributes",
            variants={"outside": "OUTSIDE", "inside": "INSIDE"},
            rules=[FlagRule(insiders, serve="inside")],
        )
    )
    told: dict[str, Any] = {"text": "2.0.1", "whole": 3, "part": 0.2, "truth": True}
    flags.append(Flag("with-metadata", metadata=told))
    return flags


Details = FlagEvaluationDetails[Any]


class World:
    """What a scenario needs: flags in Redis, a client that follows, and OpenFeature's own client.

    Parameters:
        way: ``sync`` or ``asyncio``.
        features: the client that follows.
    """

    def __init__(self, way: str, features: FlagClient) -> None:
        self.way = way
        self.features = features
        self.client = api.get_client()

    def stable(self, **options: Any) -> None:
        api.set_provider_and_wait(FlagProvider(self.features, **options))

    async def ask(
        self,
        kind: str,
        key: str,
        default: Any,
        attributes: Mapping[str, Any] | None = None,
        options: FlagEvaluationOptions | None = None,
    ) -> Details:
        context = None if attributes is None else EvaluationContext(None, attributes)
        name = f"get_{kind}_details" + ("" if self.way == "sync" else "_async")
        found: Any = getattr(self.client, name)(key, default, context, options)
        details: Details = await found if inspect.isawaitable(found) else found
        assert details.flag_key == key
        return details


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def flags(redis_server: Server) -> Flags:
    """Give the flags, which are in Redis."""
    flags = Flags("suite")
    with redis_patterns.sync.Driver.connect(redis_server.url) as redis:
        redis.run(batch(*(flags.put(flag) for flag in all_flags())))
    return flags


@pytest.fixture(scope="module", params=["sync", "asyncio"])
async def followed(
    request: pytest.FixtureRequest, redis_server: Server, flags: Flags
) -> AsyncIterator[tuple[str, FlagClient]]:
    """Give a client that a driver follows with."""
    features = FlagClient(flags)
    if request.param == "sync":
        with redis_patterns.sync.Driver.connect(redis_server.url) as redis, redis.follow(features):
            yield "sync", features
    else:
        async with redis_patterns.asyncio.Driver.connect(redis_server.url) as driver, driver.follow(features):
            yield "asyncio", features


@pytest.fixture
def world(followed: tuple[str, FlagClient]) -> World:
    """Give the world of a scenario."""
    return World(*followed)


@pytest.fixture(autouse=True)
def scenario(request: pytest.FixtureRequest) -> Iterator[None]:
    """Count what passes, and leave OpenFeature as it was found."""
    yield
    api.shutdown()
    PASSED.append(request.node.name)


@pytest.fixture(scope="module", autouse=True)
def count() -> Iterator[None]:
    """Print how many scenarios there were."""
    yield
    each = {way: sum(1 for name in PASSED if f"[{way}" in name) for way in ("sync", "asyncio")}
    print(f"\nOpenFeature: {each['sync']} scenarios and examples sync, and {each['asyncio']} asyncio")


def same(found: object, expected: object) -> None:
    """Check a value and its type."""
    assert (found, type(found)) == (expected, type(expected))


each_type = pytest.mark.parametrize("name", TYPES)


# Evaluations


@each_type
async def test_a_value(world: World, name: str) -> None:
    """Of each type, the stored one is resolved."""
    world.stable()
    same((await world.ask(name, f"{name}-plain", TYPES[name].default)).value, TYPES[name].value)


@each_type
async def test_a_zero(world: World, name: str) -> None:
    """It is a value like others, the same for all."""
    world.stable()
    details = await world.ask(name, f"{name}-zero", TYPES[name].default)
    same(details.value, TYPES[name].zero)
    assert (details.reason, details.error_code) == ("STATIC", None)


@each_type
async def test_a_zero_that_is_targeted(world: World, name: str) -> None:
    """A rule for this user gives it."""
    world.stable()
    details = await world.ask(name, f"{name}-targeted", TYPES[name].default, {"email": INSIDER})
    same(details.value, TYPES[name].zero)
    assert (details.reason, details.variant) == ("TARGETING_MATCH", "zero")


@each_type
@pytest.mark.parametrize("attributes", [{"email": "bob@elsewhere.example"}, None, {"email": None}])
async def test_a_zero_for_those_who_are_not_targeted(
    world: World, name: str, attributes: Mapping[str, Any] | None
) -> None:
    """Another address, no context, and nothing for an address: what there is for all others."""
    world.stable()
    details = await world.ask(name, f"{name}-targeted", TYPES[name].default, attributes)
    same(details.value, TYPES[name].zero)
    assert (details.reason, details.error_code) == ("DEFAULT", None)


@each_type
async def test_a_flag_that_is_missing(world: World, name: str) -> None:
    """The caller's default, and an error that says so."""
    world.stable()
    details = await world.ask(name, "nobody-knows-it", TYPES[name].default)
    same(details.value, TYPES[name].default)
    assert (details.reason, details.error_code, details.variant) == ("ERROR", "FLAG_NOT_FOUND", None)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("boolean", "string-plain"),
        ("string", "boolean-plain"),
        ("integer", "boolean-plain"),
        ("float", "boolean-plain"),
        ("object", "boolean-plain"),
    ],
)
async def test_a_flag_of_another_type(world: World, name: str, key: str) -> None:
    """The caller's default, and an error; above all, a truth value is no number."""
    world.stable()
    details = await world.ask(name, key, TYPES[name].default)
    same(details.value, TYPES[name].default)
    assert (details.reason, details.error_code) == ("ERROR", "TYPE_MISMATCH")


@each_type
async def test_a_provider_that_is_not_ready(world: World, name: str) -> None:
    """While it waits for the first snapshot, the caller's default."""
    provider = FlagProvider(FlagClient(world.features.flags), wait=60)
    api.set_provider(provider)
    details = await world.ask(name, f"{name}-plain", TYPES[name].default)
    same(details.value, TYPES[name].default)
    assert (details.reason, details.error_code) == ("ERROR", "PROVIDER_NOT_READY")


@each_type
async def test_a_provider_that_never_will_be(world: World, name: str) -> None:
    """Its client was followed with, and is no more."""
    fatal(world)
    details = await world.ask(name, f"{name}-plain", TYPES[name].default)
    same(details.value, TYPES[name].default)
    assert (details.reason, details.error_code) == ("ERROR", "PROVIDER_FATAL")


def fatal(world: World) -> None:
    world.features.end()
    try:
        with pytest.raises(ProviderFatalError):
            api.set_provider_and_wait(FlagProvider(world.features))
    finally:
        world.features.begin(lambda _: None)


@each_type
async def test_all_of_the_details(world: World, name: str) -> None:
    """The value, the flag's key, the variant and the reason."""
    world.stable()
    details = await world.ask(name, f"{name}-plain", TYPES[name].default)
    same(details.value, TYPES[name].value)
    assert (details.flag_key, details.variant, details.reason) == (f"{name}-plain", TYPES[name].variant, "STATIC")
    assert not details.error_code
    assert not details.error_message


@each_type
async def test_the_variant(world: World, name: str) -> None:
    """By its name."""
    world.stable()
    assert (await world.ask(name, f"{name}-plain", TYPES[name].default)).variant == TYPES[name].variant


async def test_several_attributes(world: World) -> None:
    """All that a rule asks for is fulfilled, and what it does not ask for does not matter."""
    world.stable()
    who = {"email": INSIDER, "role": "cook", "age": 64, "customer": False}
    details = await world.ask("string", "several-attributes", "none", who)
    assert (details.value, details.reason) == ("INSIDE", "TARGETING_MATCH")


async def test_an_object_whole(world: World) -> None:
    """With all of its fields."""
    world.stable()
    details = await world.ask("object", "object-plain", {})
    assert (details.value, details.reason) == (PAGE, "STATIC")


@pytest.mark.parametrize("name", ["boolean", "string"])
async def test_an_answer_that_was_kept(world: World, name: str) -> None:
    """The second time it is said to come from the cache, where the provider has one."""
    world.stable(cache=True)
    first = await world.ask(name, f"{name}-plain", TYPES[name].default)
    second = await world.ask(name, f"{name}-plain", TYPES[name].default)
    assert (first.reason, second.reason) == ("STATIC", "CACHED")
    assert (first.value, first.variant) == (second.value, second.variant)


@each_type
async def test_a_flag_that_is_disabled(world: World, name: str) -> None:
    """The caller's default, which is no error."""
    world.stable()
    details = await world.ask(name, f"{name}-off", TYPES[name].default)
    same(details.value, TYPES[name].default)
    assert (details.reason, details.error_code, details.error_message) == ("DISABLED", None, None)


@pytest.mark.parametrize("state", ["stable", "not ready", "error", "fatal", "stale"])
async def test_the_state_of_a_provider(world: World, state: str, redis_server: Server) -> None:
    """It can be asked for."""
    expected = {"stable": "READY", "not ready": "NOT_READY"}.get(state, state.upper())
    match state:
        case "stable":
            world.stable()
        case "not ready":
            api.set_provider(FlagProvider(FlagClient(world.features.flags), wait=60))
        case "error":
            with pytest.raises(ProviderNotReadyError):
                api.set_provider_and_wait(FlagProvider(FlagClient(world.features.flags), wait=0))
        case "fatal":
            fatal(world)
        case _:
            with proxy_to(redis_server.socket_path) as proxy:
                await cut_off(world, proxy)
                assert world.client.get_provider_status().value == "STALE"
            return
    assert world.client.get_provider_status().value == expected


async def cut_off(world: World, proxy: Proxy) -> None:
    """Follow through a proxy that breaks, until the provider has noticed."""
    features = FlagClient(world.features.flags)
    async with redis_patterns.asyncio.Driver.connect(proxy.url, retry_for=0) as redis, redis.follow(features):
        api.set_provider_and_wait(FlagProvider(features))
        proxy.refuse()
        proxy.cut()
        with anyio.fail_after(10):
            while not features.stale:
                await anyio.sleep(0.005)
        details = await world.ask("boolean", "boolean-plain", False)
        assert (details.value, details.reason) == (True, "STALE")
        assert world.client.get_provider_status().value == "STALE"


class Noting(Hook):
    """Notes what happens, in a list that several share."""

    def __init__(self, name: str, notes: list[tuple[str, str, Any]]) -> None:
        self.name = name
        self.notes = notes

    def before(self, hook_context: Any, hints: Any) -> None:
        del hints
        self.notes.append((self.name, "before", hook_context.flag_key))

    def after(self, hook_context: Any, details: Any, hints: Any) -> None:
        del hook_context, hints
        self.notes.append((self.name, "after", details))

    def error(self, hook_context: Any, exception: Any, hints: Any) -> None:
        del hook_context, hints
        self.notes.append((self.name, "error", exception))

    def finally_after(self, hook_context: Any, details: Any, hints: Any) -> None:
        del hook_context, hints
        self.notes.append((self.name, "finally", details))


async def test_hooks_of_one_evaluation(world: World) -> None:
    """They run, the first before and the last after."""
    world.stable()
    notes: list[tuple[str, str, Any]] = []
    options = FlagEvaluationOptions(hooks=[Noting("a", notes), Noting("b", notes)])
    await world.ask("boolean", "boolean-plain", False, None, options)
    assert [(name, what) for name, what, _ in notes] == [
        ("a", "before"),
        ("b", "before"),
        ("b", "after"),
        ("a", "after"),
        ("b", "finally"),
        ("a", "finally"),
    ]


async def test_nothing_is_changed_by_an_evaluation(world: World) -> None:
    """Not the context that was given; and nobody can change what the flag's details say of it."""
    world.stable()
    attributes = {"email": INSIDER, "groups": ["a"]}
    details = await world.ask("boolean", "boolean-plain", False, attributes)
    assert attributes == {"email": INSIDER, "groups": ["a"]}
    with pytest.raises(TypeError):
        details.flag_metadata["more"] = 1  # type: ignore[index]
    page = (await world.ask("object", "object-plain", {})).value
    page["title"] = "changed"
    assert (await world.ask("object", "object-plain", {})).value == PAGE


@each_type
async def test_nothing_is_waited_for(world: World, name: str) -> None:
    """The awaitable way ends in one step of the event loop, so that it blocks nothing."""
    world.stable()
    kind = TYPES[name]
    coroutine = getattr(world.client, f"get_{name}_details_async")(f"{name}-plain", kind.default)
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    same(ended.value.value.value, kind.value)


# The older suite: values first, then details


@each_type
@pytest.mark.parametrize("what", ["value", "details"])
async def test_a_value_and_its_details_in_the_older_way(world: World, name: str, what: str) -> None:
    """Without details there is the value alone."""
    world.stable()
    kind = TYPES[name]
    if what == "value":
        suffix = "" if world.way == "sync" else "_async"
        found: Any = getattr(world.client, f"get_{name}_value{suffix}")(f"{name}-plain", kind.default)
        same(await found if inspect.isawaitable(found) else found, kind.value)
        return
    details = await world.ask(name, f"{name}-plain", kind.default)
    assert (details.value, details.variant, details.reason) == (kind.value, kind.variant, "STATIC")


async def test_by_a_context_and_without(world: World) -> None:
    """The same flag gives one thing to whom a rule is for, and another to nobody in particular."""
    world.stable()
    who = {"customer": False, "email": INSIDER, "age": 29}
    assert (await world.ask("string", "several-attributes", "none", who)).value == "INSIDE"
    assert (await world.ask("string", "several-attributes", "none", {})).value == "OUTSIDE"


async def test_a_text_that_is_missing(world: World) -> None:
    """The default comes back."""
    world.stable()
    details = await world.ask("string", "missing", "oh dear")
    assert (details.value, details.reason, details.error_code) == ("oh dear", "ERROR", "FLAG_NOT_FOUND")


async def test_a_text_that_is_asked_for_as_a_number(world: World) -> None:
    """The default comes back."""
    world.stable()
    details = await world.ask("integer", "string-plain", 13)
    assert (details.value, details.reason, details.error_code) == (13, "ERROR", "TYPE_MISMATCH")


# Hooks, and what they are told


@pytest.mark.parametrize(
    ("kind", "key", "default", "expected"),
    [
        ("boolean", "boolean-plain", False, (True, "yes", "STATIC", None)),
        ("string", "missing", "oh dear", ("oh dear", None, "ERROR", "FLAG_NOT_FOUND")),
        ("boolean", "string-plain", False, (False, None, "ERROR", "TYPE_MISMATCH")),
    ],
    ids=["good", "missing", "another-type"],
)
async def test_hooks_are_told_the_details(
    world: World, kind: str, key: str, default: Any, expected: tuple[Any, ...]
) -> None:
    """After a good one, or with an error, and at the end."""
    world.stable()
    notes: list[tuple[str, str, Any]] = []
    world.client.add_hooks([Noting("a", notes)])
    await world.ask(kind, key, default)
    failed = expected[3] is not None
    assert [what for _, what, _ in notes] == ["before", "error" if failed else "after", "finally"]
    details: Details = notes[-1][2]
    assert details.flag_key == key
    assert (details.value, details.variant, details.reason, details.error_code) == expected


# Metadata


@pytest.mark.parametrize("suite", ["evaluation", "metadata"])
async def test_metadata(world: World, suite: str) -> None:
    """Of the flag, with the types that were stored."""
    world.stable()
    found = (await world.ask("boolean", "with-metadata", True)).flag_metadata
    assert dict(found) == {"text": "2.0.1", "whole": 3, "part": 0.2, "truth": True}
    assert [type(held) for _, held in sorted(found.items())] == [float, str, bool, int]


@pytest.mark.parametrize("name", ["boolean", "integer", "float", "string"])
async def test_no_metadata(world: World, name: str) -> None:
    """Is none."""
    world.stable()
    assert dict((await world.ask(name, f"{name}-plain", TYPES[name].default)).flag_metadata) == {}
