"""What can be called, and whether what it gives is to be awaited."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from redis_patterns import ConfigurationError
from redis_patterns_core.callables import check_awaited, is_coroutine_function


async def later(*_: Any) -> None:
    """Do nothing."""


def now(*_: Any) -> None:
    """Do nothing."""


class Later:
    """Called like a coroutine function."""

    async def __call__(self, *_: Any) -> None:
        """Do nothing."""

    async def method(self) -> None:
        """Do nothing."""


class Now:
    """Called like a function."""

    def __call__(self, *_: Any) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("function", "awaited", "name"),
    [
        (later, True, "later"),
        (Later(), True, "Later"),
        (Later().method, True, "Later.method"),
        (Later().__call__, True, "Later.__call__"),
        (partial(later, 1), True, "later"),
        (partial(partial(Later(), 1), 2), True, "Later"),
        (now, False, "now"),
        (Now(), False, "Now"),
        (partial(Now()), False, "Now"),
        (Later, False, "Later"),
        (len, False, "len"),
        (lambda: later(1), False, "<lambda>"),
    ],
)
def test_what_is_to_be_awaited(function: Any, awaited: bool, name: str) -> None:
    """A coroutine function, and what is called like one, however it is wrapped; the message names it."""
    assert is_coroutine_function(function) == awaited
    check_awaited("handler", function, awaited=awaited)
    said = "must not be a coroutine function: the sync driver cannot await" if awaited else "must be .*, unlike"
    with pytest.raises(ConfigurationError, match=f"handler {said} {name}"):
        check_awaited("handler", function, awaited=not awaited)
