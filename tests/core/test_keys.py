from __future__ import annotations

import binascii

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_patterns_core.keys import Keys, escape_glob, in_one_slot, key, slot

NAMES = st.text(alphabet="ab:{}%*7BD\u00e4", min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (key("lock", "order:123"), "lock:{order:123}"),
        (key("lock", "x", part="fence"), "lock:{x}:fence"),
        (key("bucket", "api", "::1"), "bucket:{api:::1}"),
        (key("bucket", "a:b", "c"), "bucket:{a%3Ab:c}"),
        (key("lock", "x", namespace="shop:eu"), "shop%3Aeu:lock:{x}"),
        (key("lock", "a}b{c%"), "lock:{a%7Db%7Bc%25}"),
        (Keys("bucket", "api", part="p", namespace="n")("a{"), "n:bucket:{api:a%7B}:p"),
    ],
)
def test_keys(made: str, expected: str) -> None:
    """A key is namespace, kind, the names in a hash tag, and the part."""
    assert made == expected


@given(st.lists(NAMES, min_size=1, max_size=3), st.lists(NAMES, min_size=1, max_size=3), NAMES, NAMES)
def test_different_names_never_share_a_key(one: list[str], other: list[str], space: str, second_space: str) -> None:
    """Whatever users put into names and namespaces, two lists of as many names make the same key only if equal."""
    if len(one) == len(other):
        same = (one, space) == (other, second_space)
        assert (key("k", *one, namespace=space) == key("k", *other, namespace=second_space)) is same


@given(st.lists(NAMES, min_size=1, max_size=3), st.sampled_from(["", "p", "queue"]), NAMES)
def test_the_hash_tag_is_all_of_the_names_and_nothing_else(names: list[str], part: str, namespace: str) -> None:
    """Parts share the slot of their names, in every namespace: no name can close the tag."""
    made = key("k", *names, part=part, namespace=namespace)
    assert made.count("{") == made.count("}") == 1
    assert slot(made) == slot(key("k", *names))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("123456789", 0x31C3 % 16384),  # the check value of CRC-16/XMODEM
        ("foo", 12182),
        ("{user1000}.following", slot("user1000")),
        ("{user1000}.followers", slot("user1000")),
        ("foo{}{bar}", slot(b"foo{}{bar}")),
        ("foo{{bar}}zap", slot("{bar")),
        ("foo{bar}{zap}", slot("bar")),
        ("foo}bar", binascii.crc_hqx(b"foo}bar", 0) % 16384),
        ("}{a", binascii.crc_hqx(b"}{a", 0) % 16384),
    ],
)
def test_slots_are_those_of_the_cluster_specification(text: str, expected: int) -> None:
    """The examples of the specification, and numbers that a server gives for CLUSTER KEYSLOT."""
    assert slot(text) == slot(text.encode()) == expected


def test_an_empty_tag_is_no_tag() -> None:
    """With nothing between the first braces, all of the key counts."""
    assert slot("foo{}{bar}") == slot(b"foo{}{bar}") != slot("bar")


@pytest.mark.parametrize(
    ("literal", "escaped"),
    [("a*b", r"a\*b"), ("[x]?", r"\[x\]\?"), ("back\\slash", "back\\\\slash"), ("plain", "plain")],
)
def test_a_users_text_is_no_pattern(literal: str, escaped: str) -> None:
    """What means something to SCAN's patterns is taken literally."""
    assert escape_glob(literal) == escaped


def test_keys_of_one_slot() -> None:
    """Those of one tag are, and those whose tags happen to fall into the same slot."""
    same = next(name for name in map(str, range(1_000_000)) if name != "0" and slot(f"{{{name}}}") == slot("{0}"))
    assert in_one_slot(["{0}:a", "{0}:b"])
    assert in_one_slot(["{0}:a", f"{{{same}}}:a"])
    assert not in_one_slot(["{0}:a", "{1}:a"])
