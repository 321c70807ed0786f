from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from redis_patterns import Condition, ConfigurationError, Flag, FlagRule, FlagSnapshot

BETA = Condition("group", "equals", "beta")


def test_a_flag_is_a_switch_unless_it_says_otherwise() -> None:
    """The first variant is what is served, the last one what the others have, and everybody gets it."""
    flag = Flag("new-ui")
    assert (dict(flag.variants), flag.serve, flag.default) == ({"on": True, "off": False}, "on", "off")
    assert (flag.enabled, flag.percentage, flag.salt, flag.version, flag.type) == (True, 100, "new-ui", 0, "bool")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([True, False], "bool"),
        (["a", ""], "string"),
        ([1, 0], "int"),
        ([0.5, 0.0], "float"),
        ([0.5, 1], "float"),
        ([{}, {"a": [1, None]}], "object"),
        ([[], {}], "object"),
    ],
)
def test_the_type_is_that_of_the_variants(values: list[Any], kind: str) -> None:
    """All have one, and a whole number among others becomes one of them."""
    flag = Flag("x", variants={f"v{place}": value for place, value in enumerate(values)})
    assert flag.type == kind
    if kind == "float":
        assert {type(value) for value in flag.variants.values()} == {float}


def test_a_version_is_not_compared() -> None:
    """The same flag, read twice, is equal, and a copy keeps what is not changed."""
    flag = Flag("x", percentage=25, allowlist=["ann"], version=7)
    assert flag == Flag("x", percentage=25, allowlist=("ann",))
    assert replace(flag, percentage=50) == Flag("x", percentage=50, allowlist={"ann"})
    assert replace(flag, percentage=50).version == 7
    assert replace(flag, name="y").salt == "x"


def test_nobody_can_change_a_flag() -> None:
    """Neither it, nor what it was made of, nor what is inside."""
    made = {"small": {"sizes": [1, 2]}}
    flag = Flag("x", variants=made)
    made["small"]["sizes"].append(3)
    small: Any = flag.variants["small"]
    assert small["sizes"] == (1, 2)
    with pytest.raises(TypeError):
        small["sizes"] = []
    with pytest.raises(AttributeError):
        flag.percentage = 3  # type: ignore[misc]


def test_a_flag_shows_what_is_special() -> None:
    """A simple flag is shown in one line."""
    assert repr(Flag("new-ui")) == "Flag('new-ui')"
    flag = Flag("new-ui", percentage=12.5, blocklist=["bob", "ann"], requires={"b": "on"}, salt="old")
    assert repr(flag) == (
        "Flag('new-ui', percentage=12.5, blocklist=['ann', 'bob'], requires={'b': ['on']}, salt='old')"
    )


REFUSED: list[tuple[str, Callable[[Any], object], list[Any]]] = [
    ("name", Flag, ["", None, 7, b"x", "\ud800"]),
    ("enabled", lambda bad: Flag("x", enabled=bad), [1, None, "yes"]),
    (
        "variants",
        lambda bad: Flag("x", variants=bad),
        [
            {},
            None,
            ["a"],
            {"": 1},
            {"a": None},
            {"a": True, "b": 1},
            {"a": 1, "b": "1"},
            {"a": {}, "b": 1},
            {"a": math.nan},
            {"a": math.inf},
            {"a": b"x"},
            {"a": {"b": object()}},
            {"a": {1: 2}},
            {"a": "\ud800"},
            {str(number): 1 for number in range(101)},
        ],
    ),
    ("serve", lambda bad: Flag("x", serve=bad), ["maybe", None, {}, {"on": 0}, {"on": -1}, {"on": True}, {"no": 1}]),
    ("serve", lambda bad: Flag("x", serve=bad), [{"on": 0.0001}, {"on": math.nan}, {"on": 1_000_000.001}, 7]),
    ("default", lambda bad: Flag("x", default=bad), ["maybe"]),
    ("percentage", lambda bad: Flag("x", percentage=bad), [-1, 101, 100.001, math.nan, True, "3", None, 0.0005]),
    ("percentage", lambda bad: FlagRule(BETA, percentage=bad), [-0.001, 101, True]),
    ("allowlist", lambda bad: Flag("x", allowlist=bad), ["ann", [7], [""], 7, [None]]),
    ("blocklist", lambda bad: Flag("x", blocklist=bad), ["ann", [7], [""]]),
    ("rules", lambda bad: Flag("x", rules=bad), [[BETA], [FlagRule(BETA)] * 101, ["x"]]),
    ("serve", lambda bad: Flag("x", rules=[FlagRule(BETA, serve=bad)]), ["maybe", {"maybe": 1}, {"on": -1}]),
    ("when", FlagRule, [[], ["x"], [None]]),
    ("requires", lambda bad: Flag("x", requires=bad), [{"x": "on"}, {"": "on"}, {"y": []}, {"y": [""]}, ["y"]]),
    ("requires", lambda bad: Flag("x", requires=bad), [{f"f{number}": "on" for number in range(101)}]),
    ("metadata", lambda bad: Flag("x", metadata=bad), [{"a": None}, {"a": {}}, {"": 1}, {"a": math.inf}, []]),
    ("salt", lambda bad: Flag("x", salt=bad), [None, "\0", "a\0b", 7]),
    ("version", lambda bad: Flag("x", version=bad), [-1, True, 1.0, None]),
]


@pytest.mark.parametrize(
    ("argument", "make", "bad"),
    [(argument, make, bad) for argument, make, several in REFUSED for bad in several],
    ids=lambda one: one if isinstance(one, str) else repr(one)[:24] if not callable(one) else "",
)
def test_a_bad_flag_is_refused(argument: str, make: Callable[[Any], object], bad: Any) -> None:
    """When it is built, by an error that names the argument."""
    with pytest.raises(ConfigurationError, match=argument):
        make(bad)


def test_the_limits_are_allowed() -> None:
    """The greatest and the least numbers that the errors name."""
    hundred = {f"v{number}": number for number in range(100)}
    flag = Flag(
        "x",
        variants=hundred,
        serve=dict.fromkeys(hundred, 1_000_000) | {"v0": 0},
        rules=[FlagRule(BETA, percentage=0)] * 100,
        requires=dict.fromkeys(hundred, "on"),
    )
    assert {len(several) for several in (flag.variants, flag.serve, flag.rules, flag.requires)} == {100}
    assert Flag("x", variants={"a": {"": ""}}).type == "object"


@pytest.mark.parametrize("percentage", [0, 100, 0.001, 99.999, 33.333, 12])
def test_percentages_are_exact_to_a_thousandth(percentage: float) -> None:
    """A thousandth of a percent is one of 100000 users."""
    assert Flag("x", percentage=percentage).percentage == percentage


def test_weights_are_large_at_most() -> None:
    """The greatest one that the error names is allowed, to a thousandth."""
    weights = {"on": 1_000_000, "off": 0.001}
    assert Flag("x", serve=weights).serve == weights


def test_a_snapshot_lists_its_flags_by_name() -> None:
    """It can be gone through, counted, and made without a server."""
    snapshot = FlagSnapshot([Flag("b"), Flag("a")])
    assert ([flag.name for flag in snapshot], len(snapshot), snapshot.revision) == (["a", "b"], 2, 0)
    assert repr(snapshot) == "<FlagSnapshot of 2 flags, revision 0>"
