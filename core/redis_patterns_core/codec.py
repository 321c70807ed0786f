"""Codecs: how a value becomes bytes and comes back.

`Json` is the default wherever a pattern stores a value. A codec is typed by the value it gives back; a class of your
own with the two methods is a codec too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from redis_patterns_core.errors import DecodeError, EncodeError

__all__ = ["Bytes", "Codec", "Json", "Text"]

T = TypeVar("T")


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
            return json.loads(data, parse_constant=_refuse_constant)
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


def _refuse_constant(name: str) -> float:
    raise ValueError(name)
