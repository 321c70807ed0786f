"""Conditions on what is known of a user: what a rule of a flag asks for.

A condition is false for an attribute that is absent, or of a kind that it does not ask for, negated or not; ``present``
alone asks for absence. Of a list it is enough that one element fulfils it. True and false are no numbers.

Source of versions and their order: https://semver.org/spec/v2.0.0.html, section 11.
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, Final, Literal, TypeAlias, cast, get_args

from redis_patterns_core import validate
from redis_patterns_core.errors import ConfigurationError

__all__ = ["TARGETING_KEY", "Condition", "Operator", "Test", "compiled", "semver"]

Operator: TypeAlias = Literal[
    "equals",
    "in",
    "prefix",
    "suffix",
    "contains",
    "less",
    "at_most",
    "greater",
    "at_least",
    "between",
    "semver",
    "present",
]

Test: TypeAlias = Callable[[str | None, Mapping[str, Any]], bool]
"""Tells whether a user, of whom there are attributes, fulfils a condition."""

TARGETING_KEY: Final = "targetingKey"
"""The attribute that is the user's own name, as OpenFeature calls it."""

_OPERATORS = get_args(Operator)
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "less": operator.lt,
    "at_most": operator.le,
    "greater": operator.gt,
    "at_least": operator.ge,
}
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "": operator.eq,
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_COMPARATOR = re.compile(r"(|=|!=|<=?|>=?)([0-9].*)")
_IDENTIFIER = r"(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
_SEMVER = re.compile(
    r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)"
    rf"(?:-({_IDENTIFIER}(?:\.{_IDENTIFIER})*))?(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?"
)
_LONGEST_VERSION = 256
_MOST_VALUES = 10_000


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that a rule asks for.

    Parameters:
        attribute: of the user; ``targetingKey`` is the user's own name.
        operator: ``equals`` a text, a number or a truth value; ``in`` several of them; ``prefix``, ``suffix`` or
            ``contains`` a text, or one of several; ``less``, ``at_most``, ``greater``, ``at_least`` a number;
            ``between`` two numbers, both included; ``semver``, comparisons of versions that must all hold, such as
            ``>=1.4.0 <2.0.0``; ``present``, which takes no value.
        value: what with.
        negated: whether what is there must not fulfil it.

    Raises:
        ConfigurationError: an operator that is not known, or a value that it does not take.
    """

    attribute: str
    operator: Operator
    value: Any = None
    _: KW_ONLY
    negated: bool = False

    def __post_init__(self) -> None:
        validate.text("attribute", self.attribute)
        if not isinstance(self.operator, str) or self.operator not in _OPERATORS:
            raise ConfigurationError(
                f"operator must be one of {', '.join(_OPERATORS)}, not {validate.shown(self.operator)}"
            )
        if not isinstance(self.negated, bool):
            raise ConfigurationError(f"negated must be true or false, not {validate.shown(self.negated)}")
        object.__setattr__(self, "value", _allowed(self.operator, self.value))


def compiled(condition: Condition) -> Test:
    """Give a function that tells whether a condition is fulfilled."""
    attribute, wanted = condition.attribute, not condition.negated
    if condition.operator == "present":
        if attribute == TARGETING_KEY:
            return lambda key, _attributes: (key is not None) is wanted
        return lambda _key, attributes: (attributes.get(attribute) is not None) is wanted
    fits = _fitting(condition.operator, condition.value)
    if attribute == TARGETING_KEY:
        return lambda key, _attributes: fits(key) is wanted

    def test(_key: str | None, attributes: Mapping[str, Any]) -> bool:
        held = attributes.get(attribute)
        found = fits(held)
        if found is None and isinstance(held, (list, tuple, set, frozenset)):
            # One that fits is enough; those of another kind count for nothing.
            answers = [answer for one in cast("list[Any]", held) if (answer := fits(one)) is not None]
            return bool(answers) and any(answers) is wanted
        return found is wanted

    return test


def semver(text: object) -> tuple[Any, ...] | None:
    """Give what orders a version among others, or nothing where the text is none."""
    return _order(text) if isinstance(text, str) and len(text) <= _LONGEST_VERSION else None


@functools.lru_cache(maxsize=1024)  # users have few versions, and reading one takes as long as ten hashes
def _order(text: str) -> tuple[Any, ...] | None:
    match = _SEMVER.fullmatch(text)
    if match is None:
        return None
    numbers = tuple(int(match[place]) for place in (1, 2, 3))
    if match[4] is None:
        return (*numbers, 1)  # after all of its pre-releases
    parts = [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in match[4].split(".")]
    return (*numbers, 0, *parts)


def _fitting(kind: Operator, value: Any) -> Callable[[Any], bool | None]:
    """Give a function that tells whether a value fits, or nothing where it is of another kind."""
    if kind in {"equals", "in"}:
        texts = {one for one in _several(value) if isinstance(one, str)}
        truths = {one for one in _several(value) if isinstance(one, bool)}
        numbers = {one for one in _several(value) if _number(one)}

        def among(held: Any) -> bool | None:
            if isinstance(held, str):
                return held in texts
            if isinstance(held, bool):
                return held in truths
            return held in numbers if _number(held) else None

        return among
    if kind in {"prefix", "suffix"}:
        ends = _several(value)
        if kind == "prefix":
            return lambda held: held.startswith(ends) if isinstance(held, str) else None
        return lambda held: held.endswith(ends) if isinstance(held, str) else None
    if kind == "contains":
        parts = _several(value)
        return lambda held: any(part in held for part in parts) if isinstance(held, str) else None
    if kind == "between":
        low, high = value
        return lambda held: low <= held <= high if _number(held) else None
    if kind == "semver":
        comparators = _comparators(value)

        def ordered(held: Any) -> bool | None:
            version = semver(held)
            return None if version is None else all(compare(version, other) for compare, other in comparators)

        return ordered
    compare = _COMPARISONS[kind]
    return lambda held: compare(held, value) if _number(held) else None


def _allowed(kind: Operator, value: Any) -> Any:
    """Check the value of a condition, and give it in the form that does not change."""
    if kind == "present":
        if value is not None:
            raise ConfigurationError(f"value must not be given for present, not {validate.shown(value)}")
        return None
    if kind == "equals":
        return _scalar(value)
    if kind == "in":
        return tuple(_scalar(one) for one in _listed(value))
    if kind in {"prefix", "suffix", "contains"}:
        if isinstance(value, str):
            return validate.text("value", value)
        return tuple(validate.text("value", one) for one in _listed(value))
    if kind == "between":
        ends = tuple(validate.finite("value", end) for end in _listed(value))
        if len(ends) != 2 or ends[0] > ends[1]:
            raise ConfigurationError(
                f"value must be two numbers for between, the lower one first, not {validate.shown(value)}"
            )
        return ends
    if kind == "semver":
        _comparators(validate.text("value", value))
        return value
    return validate.finite("value", value)


def _listed(value: Any) -> tuple[Any, ...]:
    if isinstance(value, (list, tuple, set, frozenset)):
        several = cast("list[object]", value)
        if 1 <= len(several) <= _MOST_VALUES:
            return tuple(sorted(several, key=repr) if isinstance(value, (set, frozenset)) else several)
    raise ConfigurationError(f"value must be a list of 1 to {_MOST_VALUES} values")


def _scalar(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return validate.text_or_empty("value", value)
    return validate.finite("value", value)


def _several(value: Any) -> tuple[Any, ...]:
    return cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _comparators(text: str) -> list[tuple[Callable[[Any, Any], bool], tuple[Any, ...]]]:
    comparators: list[tuple[Callable[[Any, Any], bool], tuple[Any, ...]]] = []
    for word in text.split() or [text]:
        match = _COMPARATOR.fullmatch(word)
        version = None if match is None else semver(match[2])
        if match is None or version is None:
            raise ConfigurationError(
                f"value must be versions such as '>=1.4.0 <2.0.0', and {validate.shown(word)} is none"
            )
        comparators.append((_SIGNS[match[1]], version))
    return comparators
