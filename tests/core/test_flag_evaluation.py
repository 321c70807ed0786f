from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redis_patterns import Condition, Evaluation, Flag, FlagContext, FlagRule, FlagSnapshot

BETA = FlagRule(Condition("group", "equals", "beta"), serve="rule")
VARIANTS = {"rollout": "rollout", "allowed": "allowed", "rule": "rule", "default": "default"}


def flag(**settings: Any) -> Flag:
    settings.setdefault("variants", VARIANTS)
    return Flag("x", **settings)


def evaluate(one: Flag, who: Any = "ann", *others: Flag, default: Any = None) -> Evaluation[Any]:
    return FlagSnapshot([one, *others]).evaluate("x", who, default)


@pytest.mark.parametrize("applies", list(itertools.product([False, True], repeat=7)))
def test_the_order_of_the_steps(applies: tuple[bool, ...]) -> None:
    """Missing, disabled, prerequisites, blocklist, allowlist, rules, rollout, default: all 128 combinations."""
    missing, disabled, unmet, blocked, allowed, ruled, within = applies
    one = flag(
        enabled=not disabled,
        requires={"other": "on"},
        blocklist=["ann"] if blocked else ["bob"],
        allowlist=["ann"] if allowed else ["bob"],
        rules=[BETA],
        percentage=99.999 if within else 0,
    )
    other = Flag("other", percentage=0 if unmet else 100)
    who = FlagContext("ann", {"group": "beta" if ruled else "none"})
    found = FlagSnapshot([other] if missing else [one, other]).evaluate("x", who, "mine")
    expected = (
        ("mine", None, "ERROR", "missing")
        if missing
        else ("mine", None, "DISABLED", "disabled")
        if disabled
        else ("default", "default", "DEFAULT", "prerequisite")
        if unmet
        else ("default", "default", "TARGETING_MATCH", "blocklist")
        if blocked
        else ("rollout", "rollout", "TARGETING_MATCH", "allowlist")
        if allowed
        else ("rule", "rule", "TARGETING_MATCH", "rule")
        if ruled
        else ("rollout", "rollout", "SPLIT", "rollout")
        if within
        else ("default", "default", "DEFAULT", "default")
    )
    assert (found.value, found.variant, found.reason, found.step) == expected
    assert found.error == ("FLAG_NOT_FOUND" if missing else "")
    assert bool(found.message) is missing


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (flag(), "STATIC"),
        (flag(percentage=0), "STATIC"),
        (flag(serve={"allowed": 3, "rule": 0}), "STATIC"),
        (flag(rules=[BETA]), "DEFAULT"),
        (flag(rules=[BETA], percentage=0), "DEFAULT"),
        (flag(allowlist=["bob"]), "DEFAULT"),
        (flag(serve={"allowed": 1, "rule": 1}), "SPLIT"),
        (flag(percentage=99.999), "SPLIT"),
        (flag(percentage=99.999, serve={"rule": 1, "allowed": 0}), "SPLIT"),
        (flag(rules=[FlagRule(Condition("targetingKey", "present"), serve={"rule": 1, "allowed": 1})]), "SPLIT"),
        (flag(rules=[FlagRule(Condition("targetingKey", "present"), percentage=99.999)]), "SPLIT"),
        (flag(allowlist=["ann"], serve={"rule": 1, "allowed": 1}), "SPLIT"),
    ],
)
def test_reasons(one: Flag, reason: str) -> None:
    """The same for all is static; by a bucket it is split; what nothing else was for is the default."""
    assert evaluate(one).reason == reason


def test_rules_are_asked_in_order() -> None:
    """The first that is for a user says what that one gets; all its conditions must be fulfilled."""
    age = Condition("age", "at_least", 18)
    one = flag(
        rules=[
            FlagRule([Condition("group", "equals", "beta"), age], serve="rule"),
            FlagRule(age, serve="allowed"),
            FlagRule(Condition("group", "equals", "beta")),
        ],
        percentage=0,
    )
    cases: list[tuple[dict[str, Any], str]] = [
        ({"group": "beta", "age": 18}, "rule"),
        ({"group": "none", "age": 18}, "allowed"),
        ({"group": "beta", "age": 17}, "rollout"),
        ({"group": "none"}, "default"),
        ({}, "default"),
    ]
    for attributes, value in cases:
        assert evaluate(one, FlagContext("ann", attributes)).value == value


def test_a_rule_for_some_of_its_users_leaves_the_others_to_the_next() -> None:
    """They are the same ones who are first in the flag's rollout."""
    rule = FlagRule(Condition("group", "equals", "beta"), serve="rule", percentage=30)
    one, plain = flag(rules=[rule], percentage=0), Flag("y", salt="x", percentage=30)
    for number in range(200):
        who = FlagContext(f"user-{number}", {"group": "beta"})
        within = FlagSnapshot([plain]).is_enabled("y", f"user-{number}")
        assert evaluate(one, who).value == ("rule" if within else "default")


# Types


@pytest.mark.parametrize(
    ("values", "fits"),
    [
        ([True, False], {bool}),
        (["a"], {str}),
        ([1], {int}),
        ([1.0], {float}),
        ([{"a": 1}, [1]], {dict, list}),
    ],
)
def test_a_flag_has_its_type_exactly(values: list[Any], fits: set[type]) -> None:
    """True is no number, 1 is not 1.0; the caller's default comes back, with the error."""
    one = Flag("x", variants={f"v{place}": value for place, value in enumerate(values)})
    defaults: list[Any] = [False, "", 0, 0.0, {}, []]
    for default in defaults:
        found = evaluate(one, "ann", default=default)
        if type(default) in fits:
            assert (found.value, found.error) == (values[0], "")
            assert type(found.value) is type(values[0])
        else:
            assert (found.value, found.reason, found.error) == (default, "ERROR", "TYPE_MISMATCH")
            assert found.variant is None


@pytest.mark.parametrize("zero", [False, "", 0, 0.0, {}, []])
def test_a_zero_is_a_value(zero: Any) -> None:
    """It does not count for nothing."""
    found = evaluate(Flag("x", variants={"zero": zero}), "ann", default=zero)
    assert (found.value, type(found.value), found.variant) == (zero, type(zero), "zero")


def test_values_belong_to_who_got_them() -> None:
    """An object is each caller's own: changing it changes nobody else's."""
    snapshot = FlagSnapshot([Flag("x", variants={"a": {"sizes": [1, {"b": 2}]}}, serve="a")])
    first: Any = snapshot.evaluate("x", "ann").value
    first["sizes"][1]["b"] = 3
    first["more"] = 1
    assert snapshot.evaluate("x", "ann").value == {"sizes": [1, {"b": 2}]}
    assert type(snapshot.evaluate("x").value["sizes"]) is list


def test_metadata_goes_along() -> None:
    """With each evaluation of the flag, and nobody can change it."""
    for one in (Flag("x", metadata={"owner": "web"}), Flag("x", metadata={"owner": "web"}, enabled=False)):
        found = evaluate(one)
        assert found.metadata == {"owner": "web"}
        with pytest.raises(TypeError):
            found.metadata["owner"] = "me"  # type: ignore[index]


# Users


def test_whole_numbers_are_users() -> None:
    """By their decimal text, so that a service that has them as text sorts them alike."""
    one = flag(percentage=50)
    for number in (0, 7, -3, 10**30):
        assert evaluate(one, number) == evaluate(one, str(number)) == evaluate(one, FlagContext(number))
    assert evaluate(flag(allowlist=["7"]), 7).step == "allowlist"


@pytest.mark.parametrize("who", [None, "", FlagContext(), FlagContext(None, {"group": "none"})])
def test_without_a_user_there_is_no_bucket(who: Any) -> None:
    """Which is said, where one is needed, instead of taking the first bucket; lists and rules do without."""
    found = evaluate(flag(percentage=50), who, default="mine")
    assert (found.value, found.variant, found.error) == ("mine", None, "TARGETING_KEY_MISSING")
    assert evaluate(flag(serve={"rule": 1, "allowed": 1}), who).error == "TARGETING_KEY_MISSING"
    assert evaluate(flag(), who).value == "rollout"
    assert evaluate(flag(percentage=0), who).value == "default"
    assert evaluate(flag(allowlist=["ann"], blocklist=["bob"]), who).value == "rollout"
    some = flag(rules=[FlagRule(Condition("group", "equals", "none"), percentage=50)])
    assert evaluate(some, FlagContext(None, {"group": "none"})).error == "TARGETING_KEY_MISSING"
    assert not FlagSnapshot([Flag("y", percentage=50)]).is_enabled("y", who)
    assert FlagSnapshot([Flag("y", percentage=50)]).is_enabled("y", who, default=True)


@pytest.mark.parametrize("who", [True, 1.5, b"ann", object(), ["ann"], FlagContext(False), FlagContext("a", [])])  # type: ignore[arg-type]
def test_what_is_no_user_is_said_to_be_none(who: Any) -> None:
    """Truth values above all, which Python counts among the numbers."""
    found = evaluate(flag(), who, default="mine")
    assert (found.value, found.error) == ("mine", "INVALID_CONTEXT")
    assert FlagSnapshot([Flag("y")]).is_enabled("y", who) is False


def test_a_user_that_cannot_be_written_is_an_error() -> None:
    """A lone surrogate has no bytes to hash."""
    assert evaluate(flag(percentage=50), "\ud800").error == "GENERAL"


# Switches


def test_a_switch_is_on_or_off() -> None:
    """Unknown, disabled or blocked is off, as is one of another type; the default counts where nothing is known."""
    snapshot = FlagSnapshot(
        [Flag("on"), Flag("none", percentage=0), Flag("disabled", enabled=False), Flag("text", variants={"on": "on"})],
        unreadable={"broken": "why"},
    )
    assert [snapshot.is_enabled(name, "ann") for name in ("on", "none", "disabled", "text", "broken", "missing")] == [
        True,
        False,
        False,
        False,
        False,
        False,
    ]
    assert [snapshot.is_enabled(name, "ann", default=True) for name in ("disabled", "text", "broken", "missing")] == [
        False,
        True,
        True,
        True,
    ]
    assert FlagSnapshot([Flag("x", rules=[BETA], percentage=0, variants={"rule": True, "no": False})]).is_enabled(
        "x", FlagContext("ann", {"group": "beta"})
    )


# Prerequisites


@pytest.mark.parametrize(
    ("other", "met"),
    [
        (Flag("other"), True),
        (Flag("other", percentage=0), False),
        (Flag("other", enabled=False), False),
        (Flag("other", blocklist=["ann"]), False),
        (Flag("other", variants={"a": 1, "on": 2}), False),
        (Flag("other", variants={"a": 1, "on": 2}, serve="on"), True),
        (Flag("different"), False),
    ],
)
def test_prerequisites(other: Flag, met: bool) -> None:
    """A flag asks for variants of others, as this user has them; one that is missing or disabled has none."""
    found = evaluate(flag(requires={"other": ["on", "also"]}), "ann", other)
    assert found.step == ("rollout" if met else "prerequisite")


def test_prerequisites_of_prerequisites() -> None:
    """Down to the first, whatever their order."""
    chain = [Flag(f"f{number}", requires={f"f{number + 1}": "on"} if number < 20 else {}) for number in range(21)]
    assert FlagSnapshot(chain).is_enabled("f0", "ann")
    assert FlagSnapshot(reversed(chain)).is_enabled("f0", "ann")
    chain[20] = Flag("f20", percentage=0)
    assert not FlagSnapshot(chain).is_enabled("f0", "ann")


def test_a_circle_of_prerequisites_is_an_error_of_those_in_it() -> None:
    """And of those who depend on it; the others are as they were."""
    circle = [Flag("a", requires={"b": "on"}), Flag("b", requires={"c": "on"}), Flag("c", requires={"a": "on"})]
    snapshot = FlagSnapshot([*circle, Flag("d", requires={"a": "on"}), Flag("e")])
    for name in "abcd":
        found = snapshot.evaluate(name, "ann", True)
        assert (found.value, found.error) == (True, "PARSE_ERROR")
        assert "circle" in found.message
    assert snapshot.evaluate("e", "ann", False).value is True


def test_prerequisites_have_an_end() -> None:
    """Of more than 32 levels, those that are deeper are in error, and no recursion is."""
    chain = [Flag(f"f{number}", requires={f"f{number + 1}": "on"} if number < 2000 else {}) for number in range(2001)]
    snapshot = FlagSnapshot(chain)
    assert snapshot.evaluate("f0").error == "PARSE_ERROR"
    assert snapshot.evaluate("f2000").error == ""
    assert snapshot.is_enabled("f1969", "ann")
    assert snapshot.evaluate("f1968").error == "PARSE_ERROR"


def test_a_flag_that_cannot_be_read_is_in_error_alone() -> None:
    """Also for those that require it: it has no variant."""
    snapshot = FlagSnapshot([Flag("x"), Flag("y", requires={"z": "on"})], unreadable={"z": "a later format"})
    found = snapshot.evaluate("z", "ann", 7)
    assert (found.value, found.error, found.step) == (7, "PARSE_ERROR", "error")
    assert "a later format" in found.message
    assert (snapshot.is_enabled("x", "ann"), snapshot.evaluate("y", "ann").step) == (True, "prerequisite")


# Whatever comes


class Evil(str):
    """Raises whatever is done with it."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    def __hash__(self) -> int:
        raise RuntimeError("no")

    def startswith(self, *_: Any) -> bool:
        raise RuntimeError("no")


class Hostile(Mapping[str, Any]):
    """A mapping that raises."""

    def __getitem__(self, name: str) -> Any:
        raise ZeroDivisionError

    def __iter__(self) -> Any:
        raise ZeroDivisionError

    def __len__(self) -> int:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    "who", [FlagContext("ann", {"group": Evil("beta")}), FlagContext("ann", Hostile()), FlagContext(Evil("ann"), {})]
)
def test_what_raises_is_an_error_and_no_exception(who: Any) -> None:
    """Classes of the caller's may do what they like."""
    one = flag(rules=[BETA, FlagRule(Condition("targetingKey", "equals", "q"))], blocklist=["bob"])
    found = evaluate(one, who, default="mine")
    assert (found.value, found.error) == ("mine", "GENERAL")
    assert "beta" not in found.message
    assert FlagSnapshot([Flag("y", rules=[FlagRule(Condition("group", "equals", 1))])]).is_enabled("y", who) in {
        True,
        False,
    }


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.sampled_from([object(), math, "\ud800", 10**400, 1e308, "1.2.3", "1.2.3-a"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=8,
)
conditions = st.one_of(
    st.builds(
        Condition, st.sampled_from(["a", "b", "targetingKey"]), st.just("equals"), st.sampled_from(["x", 1, True])
    ),
    st.builds(Condition, st.just("a"), st.just("in"), st.just(["x", 1, False]), negated=st.booleans()),
    st.builds(Condition, st.just("a"), st.sampled_from(["prefix", "suffix", "contains"]), st.just("x")),
    st.builds(Condition, st.just("a"), st.sampled_from(["less", "at_most", "greater", "at_least"]), st.just(3)),
    st.builds(Condition, st.just("b"), st.just("between"), st.just([1, 2]), negated=st.booleans()),
    st.builds(Condition, st.just("b"), st.just("semver"), st.just(">1.0.0"), negated=st.booleans()),
    st.builds(Condition, st.just("a"), st.just("present"), negated=st.booleans()),
)
serves = st.sampled_from(["v0", "v1", {"v0": 1, "v1": 2.5}, {"v1": 1}])
rules = st.builds(
    FlagRule, st.lists(conditions, min_size=1, max_size=3), serve=serves, percentage=st.sampled_from([0, 50, 100])
)
kinds = st.sampled_from([{"v0": True, "v1": False}, {"v0": "a", "v1": ""}, {"v0": 1, "v1": 0}, {"v0": {}, "v1": [1]}])
flags = st.builds(
    Flag,
    st.sampled_from("xyz"),
    enabled=st.booleans(),
    variants=kinds,
    serve=serves,
    percentage=st.sampled_from([0, 0.001, 50, 100]),
    allowlist=st.lists(st.sampled_from(["ann", "bob"])),
    blocklist=st.lists(st.sampled_from(["ann", "bob"])),
    rules=st.lists(rules, max_size=3),
    requires=st.dictionaries(st.sampled_from("uvw"), st.just("v0")),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(flags, max_size=4),
    st.dictionaries(st.sampled_from("uvw"), st.text()),
    anything,
    st.sampled_from(["a", "b"]).flatmap(lambda name: st.dictionaries(st.just(name), anything)) | anything,
    anything,
)
def test_evaluating_never_raises(
    several: list[Flag], broken: dict[str, str], key: Any, attributes: Any, default: Any
) -> None:
    """Whatever flags there are and whatever is asked; it gives a variant's own value, or the caller's default."""
    snapshot = FlagSnapshot(several, unreadable=broken)
    names: list[Any] = ["x", "y", "z", "u", "", key, None]
    for name in names:
        for who in (key, FlagContext(key, attributes), "ann", None):
            try:
                hash(name)
            except Exception:  # noqa: BLE001  it is what is tried
                assert snapshot.evaluate(name, who, default).error == "GENERAL"
                continue
            found = snapshot.evaluate(name, who, default)
            assert isinstance(found, Evaluation)
            if found.variant is None:
                assert found.value is default
                assert bool(found.error) is (found.reason == "ERROR")
            else:
                assert not found.error
                one = snapshot.flags[name]
                assert found.variant in one.variants
            assert snapshot.is_enabled(name, who) in {True, False}
