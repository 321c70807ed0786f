from __future__ import annotations

import enum
import uuid
from datetime import date
from typing import Any

import pytest

from redis_patterns import ConfigurationError
from redis_patterns_core.templates import Template


class Colour(enum.Enum):
    RED = "r"


def shipped(order: Any, *, to: Any = "here") -> None: ...


def filled(text: str, *args: Any, unique: bool = False, **kwargs: Any) -> str:
    return Template("name", text, shipped, unique=unique).fill(args, kwargs)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("order:{order}", "order:7"),
        ("{to}:{order:03}", "there:007"),
        ("{order.real}:{to[0]}", "7:t"),
        ("all", "all"),
        ("{{x}}", "{x}"),
    ],
)
@pytest.mark.parametrize("unique", [False, True])
def test_texts_of_calls(text: str, made: str, unique: bool) -> None:
    """By arguments, however they are given, and by defaults."""
    assert filled(text, 7, to="there", unique=unique) == made
    assert filled(text, order=7, to="there", unique=unique) == made
    assert filled("{to}", 7, unique=unique) == "here"
    with pytest.raises(TypeError):
        filled(text, unique=unique)


@pytest.mark.parametrize(
    ("text", "message"), [("{id}", "unlike 'id'"), ("{", "in braces"), ("{}", "unlike ''"), ("", "name must")]
)
def test_texts_that_no_call_can_make(text: str, message: str) -> None:
    """Told when the function is decorated."""
    with pytest.raises(ConfigurationError, match=message):
        Template("name", text, shipped, unique=False)


def test_different_calls_have_different_texts() -> None:
    """Where that matters: whatever the values are, and only of values that are the same text in every process."""
    text = "x:{order}:{to}"
    values: list[Any] = [
        "1:2",
        "1",
        "12",
        "1%2",
        "2:3",
        "%3A",
        ":",
        "%",
        None,
        "None",
        True,
        "True",
        1.5,
        date(2026, 1, 2),
        Colour.RED,
    ]
    made = {filled(text, one, to=other, unique=True) for one in values for other in values}
    assert len(made) == len(values) ** 2
    assert filled(text, uuid.UUID(int=1), unique=True) == "x:00000000-0000-0000-0000-000000000001:here"
    for one in (object(), [1], b"x", shipped):
        with pytest.raises(ConfigurationError, match="name must be made of text"):
            filled(text, one, unique=True)
    for text in ("{order}{to}", "{order}-{to}"):
        with pytest.raises(ConfigurationError, match="colon between"):
            filled(text, 1, unique=True)
