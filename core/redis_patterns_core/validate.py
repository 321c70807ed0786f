"""The checks that every pattern makes of its arguments when it is built.

Each takes the argument's name, so that the message can name it, and gives back the value in the form that the pattern
stores; each raises `ConfigurationError` saying what is allowed.
"""

from __future__ import annotations

import math
import sys
from datetime import timedelta
from typing import TypeAlias, TypeVar

from redis_patterns_core.errors import ConfigurationError

__all__ = [
    "EXACT_LIMIT",
    "Duration",
    "finite",
    "instance",
    "integer",
    "milliseconds",
    "namespace",
    "shown",
    "text",
    "token",
]

T = TypeVar("T")

Duration: TypeAlias = float | timedelta
"""Seconds as a number, or a timedelta."""

EXACT_LIMIT = 2**53
"""Lua numbers and Redis scores are doubles: whole numbers are exact below this, and only there."""


def text(argument: str, value: str) -> str:
    """Check a name or an id: text that is not empty and can be written as UTF-8."""
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{argument} must be a text of at least one character, not {shown(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(f"{argument} must be text that UTF-8 can write, without lone surrogates") from None
    return value


def text_or_empty(argument: str, value: str) -> str:
    """Check what is as `text`, or empty."""
    return value if value == "" else text(argument, value)


def namespace(value: str) -> str:
    """Check a namespace: text, or nothing for none."""
    return text_or_empty("namespace", value)


def token(value: str) -> str:
    """Check a token: ASCII text that is not empty; the message does not show it, as it is a secret."""
    if not isinstance(value, str) or not value.isascii() or not value:
        raise ConfigurationError("token must be a text of at least one character, all of them ASCII")
    return value


def instance(argument: str, value: T, kind: type[T]) -> T:
    """Check that a value is of a kind; the message does not show it, as an id in place of a session is a secret."""
    if not isinstance(value, kind):
        raise ConfigurationError(f"{argument} must be a {kind.__name__}, not {type(value).__name__}")
    return value


def integer(argument: str, value: int, *, least: int, most: int = EXACT_LIMIT - 1) -> int:
    """Check a whole number within bounds, both included."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ConfigurationError(f"{argument} must be a whole number from {least} to {most}, not {shown(value)}")
    return value


def finite(argument: str, value: float) -> float:
    """Check a number that is neither NaN nor infinite."""
    if not _is_finite(value):
        raise ConfigurationError(f"{argument} must be a finite number, not {shown(value)}")
    return value


def milliseconds(argument: str, value: Duration, *, least: int = 1) -> int:
    """Check a duration and give it in whole milliseconds, rounded up so that nothing ends early.

    Parameters:
        argument: the name to put into the message.
        value: seconds as a number, or a timedelta; below `least` milliseconds it is refused, not rounded to nothing.
        least: the shortest allowed duration in milliseconds.
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if not _is_finite(seconds):
        raise ConfigurationError(f"{argument} must be a finite number of seconds or a timedelta, not {shown(value)}")
    # What is too large may be infinity now, which cannot be rounded.
    if seconds * 1000 >= EXACT_LIMIT:
        raise ConfigurationError(f"{argument} must be less than 2**53 ms, in seconds, not {shown(value)}")
    if not least <= seconds * 1000:
        raise ConfigurationError(f"{argument} must be at least {least} ms, in seconds, not {shown(value)}")
    # Rounded to microseconds first: 0.007 * 1000 is 7.000000000000001, which is not eight milliseconds.
    return math.ceil(round(seconds * 1000, 3))


def _is_finite(value: object) -> bool:
    # Not by math.isfinite, which raises on a whole number that is no double.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def shown(value: object) -> str:
    """Give what a message shows of a value that was refused: its repr, of which the beginning where it is long."""
    try:
        # Cut before, too: what is megabytes long is not to be written twice.
        written = repr(value[:60] if isinstance(value, (str, bytes)) else value)
    except Exception:  # noqa: BLE001  a whole number of thousands of digits, or a class of the caller's
        return f"<{type(value).__name__}>"
    return written if len(written) <= 60 else f"{written[:57]}..."
