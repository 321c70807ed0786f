from __future__ import annotations

import math
from datetime import timedelta

import pytest

from redis_patterns import ConfigurationError
from redis_patterns_core import validate


@pytest.mark.parametrize(
    ("given", "milliseconds"),
    [
        (1, 1000),
        (0.001, 1),
        (0.007, 7),
        (0.0011, 2),
        (0.001001, 2),
        (0.0010004, 1),
        (9e12, 9_000_000_000_000_000),
        (timedelta(minutes=1), 60_000),
        (timedelta(milliseconds=1), 1),
        (1e9, 1_000_000_000_000),
    ],
)
def test_durations_become_whole_milliseconds(given: float | timedelta, milliseconds: int) -> None:
    """Seconds and timedeltas become milliseconds, rounded up: nothing ends before its time."""
    assert validate.milliseconds("ttl", given) == milliseconds


@pytest.mark.parametrize(
    "given",
    [
        0,
        -1,
        0.0005,
        0.00099,
        0.0009995,
        2**53 / 1000,
        math.nan,
        math.inf,
        -math.inf,
        True,
        "1",
        None,
        timedelta(0),
        1e300,
        1e306,
        -1e306,
        10**400,
    ],
)
def test_durations_that_are_nothing_are_refused(given: object) -> None:
    """Less than a millisecond is not rounded to nothing, and what is no duration is none."""
    with pytest.raises(ConfigurationError, match="ttl must be"):
        validate.milliseconds("ttl", given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (0.0005, "at least 1 ms"),
        (-1e300, "at least 1 ms"),
        (1e300, r"less than 2\*\*53 ms"),
        (1e306, r"less than 2\*\*53 ms"),
        (timedelta.max, "less than"),
    ],
)
def test_a_duration_is_too_short_or_too_long(given: float | timedelta, why: str) -> None:
    """The message says which of them it is."""
    with pytest.raises(ConfigurationError, match=f"ttl must be {why}"):
        validate.milliseconds("ttl", given)


def test_zero_is_a_duration_where_it_is_allowed() -> None:
    """A wait of nothing is a wait; a negative one is not."""
    assert validate.milliseconds("wait", 0, least=0) == 0
    with pytest.raises(ConfigurationError, match="wait"):
        validate.milliseconds("wait", -0.001, least=0)


@pytest.mark.parametrize("given", [0, 11, 2.0, True, None, "5"])
def test_whole_numbers_within_bounds(given: object) -> None:
    """The message names the argument, the bounds and the value."""
    with pytest.raises(ConfigurationError, match=r"limit must be a whole number from 1 to 10, not "):
        validate.integer("limit", given, least=1, most=10)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [math.nan, math.inf, None, "1", True, 10**400, -(10**400)])
def test_finite_numbers(given: object) -> None:
    """Neither NaN nor infinity is a rate."""
    with pytest.raises(ConfigurationError, match="rate must be a finite number"):
        validate.finite("rate", given)  # type: ignore[arg-type]


def test_a_long_value_is_shown_in_short() -> None:
    """A message stays readable whatever was passed."""
    with pytest.raises(ConfigurationError) as refusal:
        validate.integer("limit", "x" * 10_000, least=1)  # type: ignore[arg-type]
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize(("length", "shown"), [(58, f"'{'x' * 58}'"), (59, f"'{'x' * 56}...")])
def test_how_much_of_a_value_is_shown(length: int, shown: str) -> None:
    """Up to 60 characters of it, as Python writes it."""
    with pytest.raises(ConfigurationError) as refusal:
        validate.integer("limit", "x" * length, least=1, most=9)  # type: ignore[arg-type]
    assert str(refusal.value) == f"limit must be a whole number from 1 to 9, not {shown}"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (10**5000, "<int>"),
        (-(10**5000), "<int>"),
        ("x" * 10**7, f"'{'x' * 56}..."),
        (b"x" * 10**7, f"b'{'x' * 55}..."),
    ],
    ids=["large", "small", "text", "bytes"],
)
def test_what_cannot_be_shown(given: object, shown: str) -> None:
    """Python writes no whole number of thousands of digits, and of a long text only the beginning is looked at."""
    with pytest.raises(ConfigurationError) as refusal:
        validate.integer("limit", given, least=1, most=9)  # type: ignore[arg-type]
    assert str(refusal.value) == f"limit must be a whole number from 1 to 9, not {shown}"


def test_what_fails_while_it_is_shown() -> None:
    """Its kind is all that can be said."""

    class Odd:
        def __repr__(self) -> str:
            raise LookupError

    assert validate.shown(Odd()) == "<Odd>"


def test_the_default_bounds() -> None:
    """A whole number is less than 2^53, as Lua and scores have doubles."""
    assert validate.integer("limit", 2**53 - 1, least=1) == 2**53 - 1
    with pytest.raises(ConfigurationError, match="to 9007199254740991, not 9007199254740992"):
        validate.integer("limit", 2**53, least=1)


@pytest.mark.parametrize("given", ["", 7, b"t", "ä", None])
def test_a_token_is_text_of_ascii(given: object) -> None:
    """The message does not show it, as it is a secret."""
    assert validate.token("host:1 a|b") == "host:1 a|b"
    with pytest.raises(ConfigurationError, match=r"^token must be a text .* ASCII$"):
        validate.token(given)  # type: ignore[arg-type]
