"""Codecs on other libraries: models of pydantic and of msgspec, and faster JSON.

    users: Cache[User] = Cache("users", ttl=300, codec=Pydantic(User))

Each needs its library: ``pip install pydantic``, ``msgspec`` or ``orjson``.
"""

from __future__ import annotations

import importlib
from typing import Any, Generic, TypeVar

from redis_patterns_core.errors import ConfigurationError, DecodeError, EncodeError

__all__ = ["Msgspec", "OrJson", "Pydantic"]

T = TypeVar("T")


class Pydantic(Generic[T]):
    """JSON of whatever pydantic can describe: a model, a dataclass, ``list[Model]``, ...

    What is read is validated: what is stored but no longer fits the model is a miss.

    Parameters:
        kind: the model or another type.

    Raises:
        ConfigurationError: pydantic is not installed.
    """

    name = "json"

    def __init__(self, kind: type[T]) -> None:
        self._adapter: Any = _library("pydantic").TypeAdapter(kind)

    def encode(self, value: T) -> bytes:
        """Write a value; raises `EncodeError` for what the type does not describe."""
        try:
            data: bytes = self._adapter.dump_json(value, warnings="error")
        except Exception:  # noqa: BLE001  pydantic's own errors show the value
            raise EncodeError(f"pydantic cannot write this {type(value).__name__}") from None
        return data

    def decode(self, data: bytes) -> T:
        """Read a value; raises `DecodeError` where it does not fit the type."""
        try:
            value: T = self._adapter.validate_json(data)
        except ValueError:
            raise DecodeError(f"expected JSON that fits the type, got {len(data)} bytes that do not") from None
        return value


class Msgspec(Generic[T]):
    """MessagePack or JSON of whatever msgspec can describe: a struct, a dataclass, a ``TypedDict``, ...

    Parameters:
        kind: the struct or another type.
        form: ``msgpack``, or ``json``.

    Raises:
        ConfigurationError: msgspec is not installed, or another form.
    """

    def __init__(self, kind: type[T], form: str = "msgpack") -> None:
        if form not in ("msgpack", "json"):
            raise ConfigurationError(f"form must be 'msgpack' or 'json', not {form!r}")
        library = _library("msgspec")
        self.name = form
        self._errors = (library.MsgspecError, TypeError, OverflowError)
        self._encoder: Any = getattr(library, form).Encoder()
        self._decoder: Any = getattr(library, form).Decoder(kind)

    def encode(self, value: T) -> bytes:
        """Write a value; raises `EncodeError` for what msgspec cannot."""
        try:
            data: bytes = self._encoder.encode(value)
        except self._errors:
            raise EncodeError(f"msgspec cannot write this {type(value).__name__}, or something inside it") from None
        return data

    def decode(self, data: bytes) -> T:
        """Read a value; raises `DecodeError` where it does not fit the type."""
        try:
            value: T = self._decoder.decode(data)
        except self._errors:
            raise DecodeError(f"expected what fits the type, got {len(data)} bytes that do not") from None
        return value


class OrJson:
    """JSON by orjson: some times faster than `Json`; integers of 64 bits only, dates are written as text.

    NaN and the infinities become ``null``, which `Json` refuses.

    Raises:
        ConfigurationError: orjson is not installed.
    """

    name = "json"

    def __init__(self) -> None:
        self._library: Any = _library("orjson")

    def encode(self, value: Any) -> bytes:
        """Write a value; raises `EncodeError` where orjson has no form for it."""
        try:
            data: bytes = self._library.dumps(value)
        except TypeError:
            raise EncodeError(f"orjson cannot write this {type(value).__name__}, or something inside it") from None
        return data

    def decode(self, data: bytes) -> Any:
        """Read JSON; raises `DecodeError` on anything else."""
        try:
            return self._library.loads(data)
        except ValueError:
            raise DecodeError(f"expected JSON, got {len(data)} bytes that are not") from None


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigurationError(f"{name} must be installed for this codec: pip install {name}") from None
