from __future__ import annotations

import itertools
import math
from datetime import UTC, datetime
from typing import Any

import pytest

from redis_patterns import Condition, ConfigurationError
from redis_patterns_core.flag_conditions import compiled, semver

ABSENT: Any = object()


def holds(operator: Any, value: Any, held: Any, *, negated: bool = False) -> bool:
    attributes = {} if held is ABSENT else {"a": held}
    return compiled(Condition("a", operator, value, negated=negated))("ann", attributes)


@pytest.mark.parametrize(
    ("operator", "value", "fulfil", "others"),
    [
        ("equals", "x", ["x", ["y", "x"], {"x"}], ["X", "", "xx", ["y"], []]),
        ("equals", "", [""], ["x"]),
        ("equals", 1, [1, 1.0, [2, 1]], [2, 0]),
        ("equals", True, [True, [True]], [False]),
        ("equals", False, [False], [True]),
        ("in", ["x", 2, True], ["x", 2, 2.0, True, ("q", "x")], ["y", 1, False]),
        ("in", {"x", "y"}, ["x", "y"], ["z"]),
        ("prefix", "ab", ["ab", "abc", ["x", "ab"]], ["a", "xab", "", []]),
        ("prefix", ["ab", "x"], ["abc", "x"], ["b"]),
        ("suffix", "@example.org", ["ann@example.org"], ["ann@example.com"]),
        ("suffix", ["a", "b"], ["xa", "xb"], ["xc"]),
        ("contains", "mid", ["amidst"], ["m", ""]),
        ("contains", ["q", "id"], ["amidst"], ["m"]),
        ("less", 3, [2, 2.9, -math.inf], [3, 4, math.nan]),
        ("at_most", 3, [3, 2], [3.1]),
        ("greater", 3, [3.1, 4, 10**400], [3, 2]),
        ("at_least", 3.5, [3.5, 4], [3.4]),
        ("between", [1, 3], [1, 2, 3.0], [0.9, 3.1]),
        ("between", [2, 2], [2, 2.0], [1.9, 2.1]),
        ("semver", ">=1.4.0 <2.0.0", ["1.4.0", "1.10.0", "2.0.0-rc.1"], ["1.3.9", "2.0.0", "1.4.0-rc.1"]),
        ("semver", "1.2.3", ["1.2.3", "1.2.3+build.7"], ["1.2.4"]),
        ("semver", "=1.2.3-a.1", ["1.2.3-a.1"], ["1.2.3"]),
        ("semver", "!=1.2.3 <=3.0.0 >1.0.0", ["1.2.4", "3.0.0"], ["1.2.3", "1.0.0"]),
    ],
)
def test_what_fulfils_a_condition(operator: Any, value: Any, fulfil: list[Any], others: list[Any]) -> None:
    """And what does not; negated it is the other way round, but for lists that have nothing of that kind."""
    for held in fulfil:
        assert holds(operator, value, held), held
        assert not holds(operator, value, held, negated=True), held
    for held in others:
        assert not holds(operator, value, held), held
        assert holds(operator, value, held, negated=True) is (held != []), held


@pytest.mark.parametrize(
    ("operator", "value", "kinds"),
    [
        ("equals", "x", [1.5j, b"x", {"x": 1}, datetime.now(UTC)]),
        ("prefix", "1", [1, True]),
        ("contains", "1", [1, ["x", 1][1:]]),
        ("less", 3, ["2", True, [True], ["2"]]),
        ("between", [0, 3], ["2", True]),
        ("semver", ">=0.0.0", ["1.2", "v1.2.3", 1, "01.2.3", "1.2.3-", "1.2.3-01", "1" * 300 + ".0.0", "9" * 9999]),
    ],
)
def test_what_is_absent_or_of_another_kind_fulfils_nothing(operator: Any, value: Any, kinds: list[Any]) -> None:
    """Negated or not: who does not say where they are is not taken to be elsewhere."""
    for held in [*kinds, None, ABSENT]:
        assert not holds(operator, value, held), held
        assert not holds(operator, value, held, negated=True), held


def test_truth_is_no_number() -> None:
    """True does not equal 1, nor 1 true."""
    assert not holds("equals", 1, True)
    assert not holds("equals", True, 1)
    assert not holds("in", [0, 1], False)


def test_presence_can_be_asked_for() -> None:
    """And absence, which nothing else fulfils."""
    assert holds("present", None, 0)
    assert not holds("present", None, None)
    assert not holds("present", None, ABSENT)
    assert holds("present", None, ABSENT, negated=True)
    assert not holds("present", None, "", negated=True)


def test_the_user_is_an_attribute_too() -> None:
    """By the name that OpenFeature has for it; an attribute of that name is not looked at."""
    test = compiled(Condition("targetingKey", "prefix", "a"))
    assert test("ann", {"targetingKey": "bob"})
    assert not test("bob", {"targetingKey": "ann"})
    assert not test(None, {})
    present = Condition("targetingKey", "present")
    assert compiled(present)("ann", {})
    assert not compiled(present)(None, {"targetingKey": "ann"})


def test_versions_are_ordered_as_the_standard_says() -> None:
    """Its own example, and numbers that are compared as such."""
    ordered = [
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0",
        "1.2.0",
        "1.10.0",
        "2.1.0",
    ]
    for lower, higher in itertools.combinations(ordered, 2):
        one, other = semver(lower), semver(higher)
        assert one is not None
        assert other is not None
        assert one < other, (lower, higher)
    assert semver("1.0.0+a") == semver("1.0.0+b") == semver("1.0.0")


@pytest.mark.parametrize(
    ("operator", "value"),
    [
        ("like", "x"),
        ("equals", None),
        ("equals", [1]),
        ("equals", math.nan),
        ("in", "x"),
        ("in", []),
        ("in", [None]),
        ("in", [[1]]),
        ("in", [*range(10_001)]),
        ("prefix", ""),
        ("prefix", 1),
        ("prefix", [""]),
        ("less", "3"),
        ("less", True),
        ("at_least", math.inf),
        ("between", [3, 1]),
        ("between", [1]),
        ("between", ["1", "2"]),
        ("between", [math.nan, 1]),
        ("between", [1, math.inf]),
        ("less", 10**400),
        ("between", 3),
        ("semver", "1.2"),
        ("semver", "~1.2.3"),
        ("semver", ""),
        ("semver", " "),
        ("semver", 1),
        ("present", True),
    ],
)
def test_a_bad_condition_is_refused(operator: Any, value: Any) -> None:
    """When it is built, by an error that names the argument."""
    with pytest.raises(ConfigurationError, match=r"operator|value"):
        Condition("a", operator, value)


def test_a_condition_needs_an_attribute() -> None:
    """By its name; and to be negated is true or false."""
    with pytest.raises(ConfigurationError, match="attribute"):
        Condition("", "present")
    with pytest.raises(ConfigurationError, match="negated"):
        Condition("a", "present", negated=1)  # type: ignore[arg-type]
