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
        (timedelta(minutes=1), 60_000),
        (timedelta(milliseconds=1), 1),
        (1e9, 1_000_000_000_000),
    ],
)
def test_durations_become_whole_milliseconds(given: float | timedelta, milliseconds: int) -> None:
    """Seconds and timedeltas become milliseconds, rounded up: nothing ends before its time."""
    assert validate.milliseconds("ttl", given) == milliseconds


@pytest.mark.parametrize(
    "given", [0, -1, 0.0005, 0.00099, math.nan, math.inf, -math.inf, True, "1", None, timedelta(0), 1e300]
)
def test_durations_that_are_nothing_are_refused(given: object) -> None:
    """Less than a millisecond is not rounded to nothing, and what is no duration is none."""
    with pytest.raises(ConfigurationError, match="ttl must be"):
        validate.milliseconds("ttl", given)  # type: ignore[arg-type]


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


@pytest.mark.parametrize("given", [math.nan, math.inf, None, "1", True])
def test_finite_numbers(given: object) -> None:
    """Neither NaN nor infinity is a rate."""
    with pytest.raises(ConfigurationError, match="rate must be a finite number"):
        validate.finite("rate", given)  # type: ignore[arg-type]


def test_a_long_value_is_shown_in_short() -> None:
    """A message stays readable whatever was passed."""
    with pytest.raises(ConfigurationError) as refusal:
        validate.integer("limit", "x" * 10_000, least=1)  # type: ignore[arg-type]
    assert len(str(refusal.value)) < 200
