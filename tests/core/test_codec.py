from __future__ import annotations

import hmac
import math
import pickle
import sys
import zlib
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from redis_patterns import (
    Bytes,
    Codec,
    Compressed,
    ConfigurationError,
    DecodeError,
    EncodeError,
    Json,
    SignedPickle,
    Text,
)
from redis_patterns.codecs import Msgspec, OrJson, Pydantic
from redis_patterns_core.codec import codec_name

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


# Codecs around others, and on other libraries


class Point(BaseModel):
    """A model of pydantic."""

    x: int
    tags: list[str] = []


class Place(msgspec.Struct):
    """A struct of msgspec."""

    x: int
    data: bytes = b""


def test_models_come_back_as_they_went() -> None:
    """Each by its own library, and what does not fit is a `DecodeError`."""
    points: Codec[Point] = Pydantic(Point)
    assert points.decode(points.encode(Point(x=1, tags=["a"]))) == Point(x=1, tags=["a"])
    for form in ("msgpack", "json"):
        places: Codec[Place] = Msgspec(Place, form)
        assert places.decode(places.encode(Place(1, b"\x00"))) == Place(1, b"\x00")
        with pytest.raises(DecodeError):
            places.decode(b"\xc1")
        with pytest.raises(EncodeError, match="object"):
            places.encode(object())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert OrJson().decode(OrJson().encode({"a": [None, 1.5]})) == {"a": [None, 1.5]}
    for codec in (points, OrJson()):
        with pytest.raises(DecodeError, match="7 bytes"):
            codec.decode(b'{"y": 1')
        with pytest.raises(EncodeError, match="object"):
            codec.encode(object())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigurationError, match="form must be"):
        Msgspec(Place, "pickle")


def test_a_library_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, with how to get it."""
    monkeypatch.setitem(sys.modules, "orjson", None)
    with pytest.raises(ConfigurationError, match="pip install orjson"):
        OrJson()


@given(st.binary(max_size=3000))
def test_compressed_comes_back_as_it_went(data: bytes) -> None:
    """Whatever it is, and never longer than by a byte."""
    codec = Compressed(Bytes(), least=100)
    packed = codec.encode(data)
    assert codec.decode(packed) == data
    assert len(packed) <= len(data) + 1


def test_what_swells_is_refused() -> None:
    """A small value that would take much memory is not read, however it was written."""
    bomb = b"z" + zlib.compress(bytes(10_000_000))
    assert len(bomb) < 20_000
    for most in (1_000_000, 9_999_999):
        with pytest.raises(DecodeError, match="at most"):
            Compressed(Bytes(), most=most).decode(bomb)
    assert len(Compressed(Bytes(), most=10_000_000).decode(bomb)) == 10_000_000
    with pytest.raises(EncodeError, match="more than the 10"):
        Compressed(Bytes(), most=10).encode(bytes(11))
    for data in (b"", b"x", b"x" + zlib.compress(b"x"), b"z", b"zgarbage", bomb[:-9]):
        with pytest.raises(DecodeError):
            Compressed(Bytes()).decode(data)
    with pytest.raises(ConfigurationError, match="most must"):
        Compressed(Bytes(), most=0)


def test_pickles_are_read_only_from_those_who_have_a_key() -> None:
    """A key that was rotated out is still read; a planted pickle is not run."""
    old, new = SignedPickle((b"o" * 32,)), SignedPickle((b"n" * 32, b"o" * 32))
    assert new.decode(old.encode({1, 2})) == {1, 2}
    with pytest.raises(DecodeError, match="no key has signed"):
        old.decode(new.encode({1, 2}))
    planted = pickle.dumps(Planted())
    for data in (planted, bytes(32) + planted, new.encode(1)[:-1], b""):
        with pytest.raises(DecodeError):
            new.decode(data)
    assert Planted.ran == []
    with pytest.raises(EncodeError, match="function"):
        new.encode(lambda: None)
    with pytest.raises(ConfigurationError, match="32 bytes"):
        SignedPickle((b"short",))
    with pytest.raises(ConfigurationError, match="at least one"):
        SignedPickle(())
    assert "ooo" not in repr(old)


class Planted:
    """A pickle that does something when it is read."""

    ran: ClassVar[list[str]] = []

    def __reduce__(self) -> Any:
        return Planted.ran.append, ("it ran",)


def test_codecs_have_names() -> None:
    """By which stored values tell which one wrote them."""
    named: list[Any] = [Json(), Text(), Bytes(), Compressed(Json()), SignedPickle((bytes(32),)), OrJson(), Msgspec(int)]
    assert [codec_name(codec) for codec in named] == [
        "json",
        "text",
        "bytes",
        "zlib+json",
        "pickle",
        "json",
        "msgpack",
    ]

    class Odd(Bytes):
        name = "ä"

    with pytest.raises(ConfigurationError, match="ASCII"):
        codec_name(Odd())


@pytest.mark.parametrize(
    ("data", "least", "packed"),
    [
        (bytes(100), 100, True),
        (bytes(99), 100, False),
        (bytes(range(100)), 100, False),  # it would not be shorter
        (b"", 0, False),
    ],
)
def test_what_is_compressed(data: bytes, least: int, packed: bool) -> None:
    """What is long enough, and becomes shorter by it; the first byte tells."""
    assert Compressed(Bytes(), least=least).encode(data) == (b"z" + zlib.compress(data) if packed else b"-" + data)


def test_the_limits_of_sizes() -> None:
    """The least, the most and the longest name that are allowed."""
    assert Compressed(Bytes(), least=0, most=1).encode(b"x") == b"-x"
    with pytest.raises(ConfigurationError, match="least must"):
        Compressed(Bytes(), least=-1)

    class Named(Bytes):
        name = "x" * 99

    assert codec_name(Named()) == "x" * 99
    Named.name += "x"
    with pytest.raises(ConfigurationError, match="at most 99"):
        codec_name(Named())


def test_what_signs_a_pickle() -> None:
    """The pickle, and what it is of, so that a key's signatures for other things are none here."""
    pickled = pickle.dumps([1], protocol=5)
    key = b"k" * 32
    assert SignedPickle((key,)).encode([1]) == hmac.digest(key, b"redis-patterns pickle" + pickled, "sha256") + pickled
    with pytest.raises(DecodeError, match="no key has signed"):
        SignedPickle((key,)).decode(hmac.digest(key, pickled, "sha256") + pickled)


def test_a_pickle_of_something_unknown() -> None:
    """It is a decode error, though one of us has signed it: its class may be gone."""
    key = b"k" * 32
    pickled = b"cnowhere\nNothing\n."
    with pytest.raises(DecodeError, match="something unknown here"):
        SignedPickle((key,)).decode(hmac.digest(key, b"redis-patterns pickle" + pickled, "sha256") + pickled)
