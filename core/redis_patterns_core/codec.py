"""Codecs: how a value becomes bytes and comes back.

`Json` is the default wherever a pattern stores a value. A codec is typed by the value it gives back; a class of your
own with the two methods is a codec too.
"""

from __future__ import annotations

import hmac
import json
import pickle
import zlib
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from redis_patterns_core import validate
from redis_patterns_core.errors import ConfigurationError, DecodeError, EncodeError

__all__ = ["Bytes", "Codec", "Compressed", "Json", "SignedPickle", "Text", "codec_name", "escaped"]

T = TypeVar("T")

_LONGEST_NAME = 99
_LONGEST_ERROR = 2000
_SHORTEST_KEY = 32


class Codec(Protocol[T]):
    """Turns values into bytes and back."""

    def encode(self, value: T) -> bytes:
        """Write a value.

        Raises:
            EncodeError: this codec cannot write such a value.
        """
        ...

    def decode(self, data: bytes) -> T:
        """Read a value.

        Raises:
            DecodeError: the bytes were not written by this codec.
        """
        ...


def codec_name(codec: Codec[Any]) -> str:
    """Give the name by which stored values tell their codec: its ``name``, or that of its class.

    Raises:
        ConfigurationError: it is longer than 99 characters, or not ASCII.
    """
    name = getattr(codec, "name", None) or type(codec).__name__.lower()
    if not isinstance(name, str) or not name.isascii() or len(name) > _LONGEST_NAME:
        raise ConfigurationError(
            f"name of a codec must be ASCII text of at most {_LONGEST_NAME} characters: {validate.shown(name)}"
        )
    return name


def escaped(text: str) -> str:
    """Give a text that UTF-8 can write: with escapes for lone surrogates, such as an error about a file may have."""
    return text.encode(errors="backslashreplace").decode()


def error_text(error: BaseException | str) -> str:
    """Give what is kept of an error: an exception's type and message, up to 2000 characters."""
    return escaped(error if isinstance(error, str) else f"{type(error).__name__}: {error}")[:_LONGEST_ERROR]


@dataclass(frozen=True, slots=True)
class Json:
    """JSON, compact and UTF-8; NaN and the infinities are refused, because JSON has none.

    Tuples come back as lists and keys of mappings as text: that is what JSON can say (RFC 8259).
    """

    def encode(self, value: Any) -> bytes:
        """Write a value as JSON; raises `EncodeError` where JSON has no form for it."""
        try:
            return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        except (TypeError, ValueError, RecursionError):
            raise EncodeError(f"JSON cannot write this {type(value).__name__}, or something inside it") from None

    def decode(self, data: bytes) -> Any:
        """Read JSON; raises `DecodeError` on anything else."""
        try:
            return _READER.decode(data.decode())
        except (ValueError, RecursionError):
            raise DecodeError(f"expected JSON, got {len(data)} bytes that are not") from None


@dataclass(frozen=True, slots=True)
class Text:
    """UTF-8 text."""

    def encode(self, value: str) -> bytes:
        """Write text; raises `EncodeError` for another type and for lone surrogates."""
        if not isinstance(value, str):
            raise EncodeError(f"expected text, got {type(value).__name__}")
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise EncodeError("UTF-8 cannot write text with lone surrogates") from None

    def decode(self, data: bytes) -> str:
        """Read text; raises `DecodeError` on bytes that are not UTF-8."""
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise DecodeError(f"expected UTF-8 text, got {len(data)} bytes that are not") from None


@dataclass(frozen=True, slots=True)
class Bytes:
    """Bytes as they are."""

    def encode(self, value: bytes) -> bytes:
        """Give the bytes back; raises `EncodeError` for another type."""
        if not isinstance(value, bytes):
            raise EncodeError(f"expected bytes, got {type(value).__name__}")
        return value

    def decode(self, data: bytes) -> bytes:
        """Give the bytes back."""
        return data


@dataclass(frozen=True)
class Compressed(Generic[T]):
    """What another codec writes, compressed by zlib (RFC 1950) where that makes it shorter.

    Parameters:
        codec: the other one.
        least: shorter ones are left as they are, in bytes.
        most: the largest that is read back, in bytes; a small value that swells to more is refused.

    Raises:
        ConfigurationError: a size that is not allowed.
    """

    codec: Codec[T]
    least: int = 512
    most: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        validate.integer("least", self.least, least=0)
        validate.integer("most", self.most, least=1)

    @property
    def name(self) -> str:
        """What stored values are marked with."""
        return f"zlib+{codec_name(self.codec)}"

    def encode(self, value: T) -> bytes:
        """Write a value; raises `EncodeError` as the other codec does, and for what is too large to be read back."""
        data = self.codec.encode(value)
        if len(data) > self.most:
            raise EncodeError(f"the value takes {len(data)} bytes, which is more than the {self.most} that are read")
        if len(data) >= self.least:
            packed = zlib.compress(data)
            if len(packed) < len(data):
                return b"z" + packed
        return b"-" + data

    def decode(self, data: bytes) -> T:
        """Read a value; raises `DecodeError` on anything else, and on what swells to more than `most`."""
        if data[:1] == b"-":
            return self.codec.decode(data[1:])
        if data[:1] != b"z":
            raise DecodeError(f"expected compressed data, got {len(data)} bytes that are not")
        unpacking = zlib.decompressobj()
        try:
            plain = unpacking.decompress(data[1:], self.most)
        except zlib.error:
            raise DecodeError(f"expected compressed data, got {len(data)} bytes that are not") from None
        if unpacking.unconsumed_tail or not unpacking.eof:
            raise DecodeError(f"expected at most {self.most} bytes of compressed data, all of them")
        return self.codec.decode(plain)


@dataclass(frozen=True, slots=True)
class SignedPickle:
    """Pickles that are read only where they were written with a secret key: whoever can write to Redis but has no key
    cannot make the reader run anything. HMAC-SHA256 (RFC 2104), compared in constant time.

    Parameters:
        keys: secrets of 32 bytes or more, the one to write with first; all of them are read.

    Raises:
        ConfigurationError: no key, or one that is too short.
    """

    keys: tuple[bytes, ...] = field(repr=False)
    name: ClassVar[str] = "pickle"

    def __post_init__(self) -> None:
        if not self.keys or not all(isinstance(key, bytes) and len(key) >= _SHORTEST_KEY for key in self.keys):
            raise ConfigurationError(f"keys must be secrets of at least {_SHORTEST_KEY} bytes, at least one")

    def encode(self, value: Any) -> bytes:
        """Write a value; raises `EncodeError` where pickle cannot."""
        try:
            data = pickle.dumps(value, protocol=5)
        except Exception:  # noqa: BLE001  whatever the value's own methods raise
            raise EncodeError(f"pickle cannot write this {type(value).__name__}, or something inside it") from None
        return _signature(self.keys[0], data) + data

    def decode(self, data: bytes) -> Any:
        """Read a value; raises `DecodeError` unless it was signed with one of the keys."""
        signature, pickled = data[:32], data[32:]
        if not any(hmac.compare_digest(signature, _signature(key, pickled)) for key in self.keys):
            raise DecodeError(f"expected a signed pickle, got {len(data)} bytes that no key has signed")
        try:
            return pickle.loads(pickled)  # noqa: S301  signed by one of us
        except Exception:  # noqa: BLE001  a class that is gone, or its own methods
            raise DecodeError("expected a pickle that can be read, got one of something unknown here") from None


def _signature(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, b"redis-patterns pickle" + data, "sha256")


def _refuse_constant(name: str) -> float:
    raise ValueError(name)


_READER = json.JSONDecoder(parse_constant=_refuse_constant)
"""Made once: `json.loads` would make one for each call."""
