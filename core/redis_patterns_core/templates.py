"""Texts with a function's parameters in braces, such as ``order:{id}``: the names of locks and the keys of caches."""

from __future__ import annotations

import inspect
import re
import string
from collections.abc import Callable, Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from redis_patterns_core import validate
from redis_patterns_core.errors import ConfigurationError

__all__ = ["Template"]

_TELLING = (str, int, float, Decimal, UUID, date, time, Enum)
"""The kinds of values that are the same text in every process; of others the text may be where they lie in memory."""


class Template:
    """A text with a function's parameters in braces.

    Parameters:
        argument: what it is, for messages.
        text: as in `str.format`, with names of parameters, their attributes and items.
        function: whose parameters.
        unique: whether different calls must have different texts. Then ``:`` in a value is escaped, two braces need one
            between them, and a value must be text, a number, a date, a UUID, an enumeration's member, or ``None``.

    Raises:
        ConfigurationError: braces that are no parameter, or not apart.
    """

    def __init__(self, argument: str, text: str, function: Callable[..., object], *, unique: bool) -> None:
        self._argument = argument
        self._text = validate.text(argument, text)
        self._signature = inspect.signature(function)
        self._formatter = _Unique(argument) if unique else string.Formatter()
        try:
            parts = list(string.Formatter().parse(text))
        except ValueError as error:
            raise ConfigurationError(
                f"{argument} must be text with parameters in braces, not {validate.shown(text)}: {error}"
            ) from None
        fields = [field for _, field, _, _ in parts if field is not None]
        for wanted in fields:
            if re.split(r"[.\[]", wanted)[0] not in self._signature.parameters:
                raise ConfigurationError(
                    f"{argument} must have parameters of the function in braces, unlike {validate.shown(wanted)}"
                )
        # A piece that has a field has the literal before it.
        between = [literal for literal, field, _, _ in parts if field is not None][1:]
        if unique and not all(":" in literal for literal in between):
            raise ConfigurationError(
                f"{argument} must have a colon between any two parameters, unlike {validate.shown(text)}"
            )

    def fill(self, args: Sequence[object], kwargs: Mapping[str, object]) -> str:
        """Give the text of a call.

        Raises:
            TypeError: the function does not take these arguments.
            ConfigurationError: a value that has no text of its own.
        """
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return self._formatter.vformat(self._text, (), bound.arguments)


class _Unique(string.Formatter):
    def __init__(self, argument: str) -> None:
        self._argument = argument

    def format_field(self, value: Any, format_spec: str) -> str:
        if value is None or isinstance(value, bool):
            return f"%{value}"  # no text comes out so
        if not isinstance(value, _TELLING):
            raise ConfigurationError(
                f"{self._argument} must be made of text, numbers, dates and the like, not of {type(value).__name__}"
            )
        made = super().format_field(value, format_spec)
        return str(made).replace("%", "%25").replace(":", "%3A")
