from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redis_patterns import Condition, DecodeError, EncodeError, Flag, FlagRule
from redis_patterns_core.flag_json import decoded, encoded, exported, imported

FULL = Flag(
    "colour",
    enabled=False,
    variants={"red": "#f00", "blue": "#00f", "none": ""},
    serve={"red": 33.333, "blue": 66.667},
    default="none",
    percentage=12.345,
    allowlist=["ann", "Zoë"],
    blocklist=["bob"],
    rules=[
        FlagRule(Condition("country", "in", ["DE", "AT"]), serve="red"),
        FlagRule(
            [
                Condition("age", "between", [18, 99.5]),
                Condition("version", "semver", ">=1.0.0", negated=True),
                Condition("seen", "present"),
            ],
            serve={"blue": 1, "red": 2},
            percentage=50,
        ),
    ],
    requires={"new-ui": "on", "other": ["a", "b"]},
    metadata={"owner": "web", "since": 3, "share": 0.5, "kept": True},
    salt="old-colour",
)
texts = st.text(min_size=1, max_size=8).filter(lambda text: text.isprintable() and "\0" not in text)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
nested = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
variants = st.one_of(
    *[
        st.dictionaries(texts, values, min_size=1, max_size=4)
        for values in (
            st.booleans(),
            st.integers(),
            st.floats(allow_nan=False, allow_infinity=False),
            st.text(max_size=5).filter(str.isprintable),
            st.dictionaries(texts, nested, max_size=3) | st.lists(nested, max_size=3),
        )
    ]
)


def test_a_flag_comes_back() -> None:
    """All of it, with the version that is told apart."""
    again = decoded(encoded(FULL), 7)
    assert (again, again.version) == (FULL, 7)
    assert decoded(encoded(Flag("x"))) == Flag("x")


def test_an_export_is_for_people() -> None:
    """In lines, and with the signs that they write."""
    lines = exported([FULL]).splitlines()
    assert lines[:4] == ["{", '  "format": 1,', '  "flags": [', "    {"]
    assert '        "Zoë",' in lines


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(variants, st.integers(0, 100_000), st.lists(texts, max_size=3))
def test_any_flag_comes_back(held: dict[str, Any], thousandths: int, users: list[str]) -> None:
    """With the type of each value."""
    flag = Flag("x", variants=held, percentage=thousandths / 1000, allowlist=users, metadata=dict.fromkeys(users, 1))
    again = decoded(encoded(flag))
    assert again == flag
    assert [type(value) for value in again.variants.values()] == [type(value) for value in flag.variants.values()]
    assert imported(exported([flag])) == [flag]


def test_the_form_is_frozen() -> None:
    """What other programs read and write, and what older versions have written."""
    assert json.loads(encoded(Flag("x", percentage=25, rules=[FlagRule(Condition("a", "equals", 1))]))) == {
        "format": 1,
        "name": "x",
        "type": "bool",
        "enabled": True,
        "variants": {"on": True, "off": False},
        "serve": "on",
        "default": "off",
        "percentage": 25,
        "allowlist": [],
        "blocklist": [],
        "rules": [
            {
                "when": [{"attribute": "a", "operator": "equals", "value": 1, "negated": False}],
                "serve": None,
                "percentage": 100,
            }
        ],
        "requires": {},
        "metadata": {},
        "salt": "x",
    }


def test_what_is_left_out_is_as_usual() -> None:
    """A flag that is written by hand needs no more than its name."""
    assert decoded(b'{"format": 1, "name": "x"}') == Flag("x")
    assert decoded(b'{"format":1,"name":"x","type":"float","variants":{"a":1,"b":0}}').type == "float"
    assert decoded(b'{"format":1,"name":"x","type":"int","variants":{"a":1,"b":0}}').type == "int"
    rule = b'{"format":1,"name":"x","rules":[{"when":[{"attribute":"a","operator":"present"}]}]}'
    assert decoded(rule).rules == (FlagRule(Condition("a", "present")),)


WRONG = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"7",
    b"\xff",
    b"{}",
    b'{"format": 1}',
    b'{"format": 2, "name": "x"}',
    b'{"name": "x"}',
    b'{"format": 1, "name": ""}',
    b'{"format": 1, "name": 7}',
    b'{"format": 1, "name": "x", "later": 1}',
    b'{"format": 1, "name": "x", "version": 3}',
    b'{"format": 1, "name": "x", "type": "int"}',
    b'{"format": 1, "name": "x", "enabled": 1}',
    b'{"format": 1, "name": "x", "enabled": null}',
    b'{"format": 1, "name": "x", "variants": []}',
    b'{"format": 1, "name": "x", "type": "float", "variants": {"a": 1e999}}',
    b'{"format": 1, "name": "x", "type": "float", "variants": {"a": "1"}}',
    b'{"format": 1, "name": "x", "type": "float", "variants": {"a": true}}',
    b'{"format": 1, "name": "x", "type": "float", "variants": {"a": 1' + b"0" * 400 + b"}}",
    b'{"format": 1, "name": "x", "variants": {"a": NaN}}',
    b'{"format": 1, "name": "x", "percentage": "3"}',
    b'{"format": 1, "name": "x", "allowlist": "ann"}',
    b'{"format": 1, "name": "x", "rules": {}}',
    b'{"format": 1, "name": "x", "rules": 7}',
    b'{"format": 1, "name": "x", "rules": [7]}',
    b'{"format": 1, "name": "x", "rules": [{}]}',
    b'{"format": 1, "name": "x", "rules": [{"when": 7}]}',
    b'{"format": 1, "name": "x", "rules": [{"when": [7]}]}',
    b'{"format": 1, "name": "x", "rules": [{"when": [{"attribute": "a", "operator": "later"}]}]}',
    b'{"format": 1, "name": "x", "rules": [{"when": [{"attribute": "a", "operator": ["in"]}]}]}',
    b'{"format": 1, "name": "x", "rules": [{"when": [{"attribute": "a", "operator": "present"}], "then": 1}]}',
    b'{"format": 1, "name": "x", "requires": {"x": ["on"]}}',
    b'{"format": 1, "name": "x", "requires": {"y": 7}}',
    b'{"format": 1, "name": "x", "metadata": {"a": null}}',
    b'{"format": 1, "name": "x", "serve": null}',
    b'{"format": 1, "name": "x", "serve": {"on": {}}}',
    b'{"format":1,"name":"x","variants":{"a":' + b"[" * 40 + b"]" * 40 + b"}}",
    b"[" * 100_000,
]


@pytest.mark.parametrize("data", WRONG, ids=range(len(WRONG)))
def test_anything_else_is_a_decode_error(data: bytes) -> None:
    """Unknown fields and later formats too: what leaves something out may answer wrongly."""
    with pytest.raises(DecodeError):
        decoded(data)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(
    ["format", "name", "type", "enabled", "variants", "serve", "default", "percentage", "allowlist", "rules", "when",
     "attribute", "operator", "value", "requires", "metadata", "salt"]) | texts, inner), max_leaves=30))  # fmt: skip
def test_reading_ends_in_a_flag_or_a_decode_error(held: Any) -> None:
    """Whatever JSON there is."""
    if isinstance(held, dict):
        held = {"format": 1, "name": "x", **held}
    with contextlib.suppress(DecodeError):
        assert isinstance(decoded(json.dumps(held).encode()), Flag)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "format 1"),
        ('{"format": 2, "flags": []}', "format 1"),
        ('{"format": 1, "flags": {}}', "format 1"),
        ('{"format": 1, "flags": [], "later": 1}', "format 1"),
        ('{"format": 1, "flags": [7]}', "flag 0"),
        (
            '{"format": 1, "flags": [{"name": "a"}, {"name": "b", "later": 1}]}',
            r"flag 1 \('b'\): a flag has no 'later' in format 1",
        ),
        ('{"format": 1, "flags": [{"name": "a"}, {"name": "a"}]}', "different names"),
    ],
)
def test_an_import_says_what_is_wrong(text: str, says: str) -> None:
    """And in which flag."""
    with pytest.raises(DecodeError, match=says):
        imported(text)


@pytest.mark.parametrize("text", [None, b"{}", "\ud800"])
def test_an_import_is_text(text: Any) -> None:
    """Nothing else."""
    with pytest.raises(EncodeError):
        imported(text)
