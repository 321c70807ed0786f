from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_patterns import Bytes, Codec, DecodeError, EncodeError, Json, Text

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text('ab\u00e4"\\'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_json_comes_back_as_it_went(value: object) -> None:
    """What JSON can say comes back equal and of the same type: None, False, 0, "" and large numbers included."""
    decoded = Json().decode(Json().encode(value))
    assert decoded == value
    assert type(decoded) is type(value)


def test_json_is_compact_and_utf8() -> None:
    """No space is wasted and no letter escaped."""
    assert Json().encode({"a": [1, "ä"]}) == '{"a":[1,"ä"]}'.encode()


@pytest.mark.parametrize(
    ("codec", "value"),
    [
        (Json(), math.nan),
        (Json(), math.inf),
        (Json(), {1, 2}),
        (Json(), object()),
        (Json(), "\ud800"),
        (Text(), b"bytes"),
        (Text(), "\ud800"),
        (Bytes(), "text"),
    ],
)
def test_what_cannot_be_written_is_refused_without_being_shown(codec: Codec[object], value: object) -> None:
    """The message names the type, never the value."""
    with pytest.raises(EncodeError) as refusal:
        codec.encode(value)
    assert "object at" not in str(refusal.value)
    assert refusal.value.__cause__ is None


@pytest.mark.parametrize("data", [b"", b"{", b"NaN", b"Infinity", b"\xff", b"[" * 100_000, b"secret"])
def test_what_is_no_json_is_a_decode_error(data: bytes) -> None:
    """Corrupt bytes are an error of ours, never a crash, and are not shown."""
    with pytest.raises(DecodeError) as refusal:
        Json().decode(data)
    assert "secret" not in str(refusal.value)


def test_text_and_bytes() -> None:
    """Text is UTF-8; bytes are bytes."""
    assert Text().decode(Text().encode("grün")) == "grün"
    assert Bytes().decode(Bytes().encode(b"\x00\xff")) == b"\x00\xff"
    with pytest.raises(DecodeError, match="2 bytes"):
        Text().decode(b"\xff\xff")
