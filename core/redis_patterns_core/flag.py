"""A flag as a value: what it can give, to whom, and since which version. Checked when it is built.

    Flag("new-ui", percentage=25, allowlist=["ann"])
    Flag("colour", variants={"red": "#f00", "blue": "#00f"}, serve={"red": 50, "blue": 50})
    Flag("search", rules=[FlagRule(Condition("country", "in", ["DE", "AT"]))], percentage=0)

In this order: who may not have it has its default; who is on the allowlist, whom a rule is for, or who is within the
rollout gets what it serves; everybody else has the default.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, cast

from redis_patterns_core import validate
from redis_patterns_core.errors import ConfigurationError
from redis_patterns_core.flag_conditions import Condition

__all__ = ["TYPES", "Flag", "FlagRule", "FlagType", "FlagValue", "Serve", "thawed", "thousandths"]

FlagValue: TypeAlias = bool | str | int | float | Mapping[str, Any] | Sequence[Any]
"""What a variant of a flag may be; mappings and sequences hold what JSON can say."""

FlagType: TypeAlias = Literal["bool", "string", "int", "float", "object"]

Serve: TypeAlias = str | Mapping[str, float]
"""The name of a variant, or weights by names of variants."""

TYPES: Mapping[FlagType, frozenset[type]] = {
    "bool": frozenset({bool}),
    "string": frozenset({str}),
    "int": frozenset({int}),
    "float": frozenset({float}),
    "object": frozenset({dict, list}),
}
"""The types of Python that the values of a flag have, and no others: true is no number, and 1 is not 1.0."""

_FROZEN_TYPES: Mapping[FlagType, frozenset[type]] = {**TYPES, "object": frozenset({MappingProxyType, tuple})}
"""The same, of values that nobody can change."""

_MOST_VARIANTS = 100
_MOST_RULES = 100
_MOST_REQUIRED = 100
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_SWITCH: Mapping[str, FlagValue] = MappingProxyType({"on": True, "off": False})


@dataclass(frozen=True, slots=True)
class FlagRule:
    """What users get of whom something is known.

    Parameters:
        when: a condition, or several that must all be fulfilled.
        serve: a variant, or weights of variants; what the flag serves where none is given.
        percentage: of those users, who get it; for the others the next rule is asked.

    Raises:
        ConfigurationError: no condition, or a percentage that is not allowed.
    """

    when: Condition | Sequence[Condition]
    _: KW_ONLY
    serve: Serve | None = None
    percentage: float = 100

    def __post_init__(self) -> None:
        when = (self.when,) if isinstance(self.when, Condition) else tuple(self.when)
        if not when or not all(isinstance(one, Condition) for one in when):
            raise ConfigurationError("when must be a Condition, or several")
        object.__setattr__(self, "when", when)
        thousandths("percentage", self.percentage)
        if self.serve is not None:
            object.__setattr__(self, "serve", _serve(self.serve))

    def __reduce__(self) -> tuple[Any, ...]:
        return _built_again(self)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """What must be fulfilled."""
        return cast("tuple[Condition, ...]", self.when)


@dataclass(frozen=True, slots=True, repr=False)
class Flag:
    """A feature flag.

    Parameters:
        name: the flag's.
        enabled: whether it is looked at at all; if not, everybody has what the code that asks gives as its default.
        variants: what it can give, by name, all of one type: truth values, texts, whole numbers, other numbers, or
            objects (mappings and lists). Without them it is a switch that is ``on`` or ``off``.
        serve: the variant, or the weights of variants, for those who get the flag; the first where none is given.
        default: the variant for the others; the last where none is given.
        percentage: of users who get it where nothing else says so, from 0 to 100, to a thousandth. A larger one only
            adds users, and the first ones are others in each flag.
        allowlist: users who get it whatever the percentage and the rules say.
        blocklist: users who do not, even if they are on the allowlist.
        rules: asked in order; the first that is for a user says what that one gets.
        requires: other flags, and which of their variants a user must have for this one: a name, or several.
        metadata: told with each evaluation: texts, numbers and truth values by name.
        salt: what users are sorted into buckets by; the name where none is given. Two flags with one salt have the
            same users, and a copy under a new name keeps them by the salt of the old one.
        version: of the stored flag that this one was read from; 0 where it was not. It is not part of what is compared.

    Raises:
        ConfigurationError: a value that is not allowed.
    """

    name: str
    _: KW_ONLY
    enabled: bool = True
    variants: Mapping[str, FlagValue] = field(default_factory=lambda: _SWITCH)
    serve: Serve = ""
    default: str = ""
    percentage: float = 100
    allowlist: Collection[str] = frozenset()
    blocklist: Collection[str] = frozenset()
    rules: Sequence[FlagRule] = ()
    requires: Mapping[str, str | Collection[str]] = field(default_factory=lambda: _NOTHING)
    metadata: Mapping[str, bool | int | float | str] = field(default_factory=lambda: _NOTHING)
    salt: str = ""
    version: int = field(default=0, compare=False)
    type: FlagType = field(init=False)
    """``bool``, ``string``, ``int``, ``float`` or ``object``."""

    def __post_init__(self) -> None:
        validate.text("name", self.name)
        if not isinstance(self.enabled, bool):
            raise ConfigurationError(f"enabled must be true or false, not {validate.shown(self.enabled)}")
        kind, variants = _variants(self.variants)
        names = list(variants)
        serve = _serve(self.serve) if self.serve != "" else names[0]
        default = self.default if self.default != "" else names[-1]
        rules = tuple(self.rules)
        if len(rules) > _MOST_RULES or not all(isinstance(rule, FlagRule) for rule in rules):
            raise ConfigurationError(f"rules must be at most {_MOST_RULES} FlagRules")
        for argument, one in [("serve", serve), ("default", default), *(("serve", rule.serve) for rule in rules)]:
            for name in () if one is None else (one,) if isinstance(one, str) else one:
                if name not in variants:
                    raise ConfigurationError(
                        f"{argument} must name variants ({', '.join(names)}), not {validate.shown(name)}"
                    )
        thousandths("percentage", self.percentage)
        validate.integer("version", self.version, least=0)
        salt = validate.text("salt", self.salt) if self.salt != "" else self.name
        if "\0" in salt:
            raise ConfigurationError("salt must have no NUL, and neither must the name that stands for it")
        made = {
            "variants": variants,
            "serve": serve,
            "default": default,
            "allowlist": _users("allowlist", self.allowlist),
            "blocklist": _users("blocklist", self.blocklist),
            "rules": rules,
            "requires": _requires(self.name, self.requires),
            "metadata": _metadata(self.metadata),
            "salt": salt,
            "type": kind,
        }
        for argument, value in made.items():
            object.__setattr__(self, argument, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return _built_again(self)

    def __repr__(self) -> str:
        # What it says beyond its name, or a simple one would fill four lines.
        said = [repr(self.name)]
        for one in fields(self):
            value = getattr(self, one.name)
            if one.init and one.name not in {"name", "salt"} and value != getattr(_SIMPLE, one.name):
                said.append(f"{one.name}={thawed(value)!r}")
        return f"Flag({', '.join([*said, *([f'salt={self.salt!r}'] if self.salt != self.name else [])])})"


def thousandths(argument: str, percentage: float) -> int:
    """Check a percentage, and give it in thousandths: 0 to 100000.

    Raises:
        ConfigurationError: it is none, or has more than three digits behind the point.
    """
    if isinstance(percentage, bool) or not isinstance(percentage, (int, float)) or not 0 <= percentage <= 100:
        raise ConfigurationError(f"{argument} must be a number from 0 to 100, not {validate.shown(percentage)}")
    return _exact(argument, percentage)


def thawed(value: Any) -> Any:
    """Give what a flag holds as dicts and lists of its own, which nobody else has."""
    if isinstance(value, Mapping):
        return {name: thawed(held) for name, held in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, tuple):
        return [thawed(held) for held in cast("tuple[object, ...]", value)]
    return sorted(cast("frozenset[str]", value)) if isinstance(value, frozenset) else value


def _built_again(one: Flag | FlagRule) -> tuple[Any, ...]:
    """Give what a copy, or a pickle, is built from: mappings that nobody can change can be neither."""
    given = {of.name: thawed(getattr(one, of.name)) for of in fields(one) if of.init}
    return functools.partial(type(one), **given), ()


def _exact(argument: str, number: float) -> int:
    whole = round(number * 1000)
    if abs(number * 1000 - whole) > 1e-6:
        raise ConfigurationError(f"{argument} must be exact to a thousandth, not {validate.shown(number)}")
    return whole


def _serve(serve: Serve) -> Serve:
    if isinstance(serve, str):
        return validate.text("serve", serve)
    if not isinstance(serve, Mapping) or not serve:
        raise ConfigurationError(
            f"serve must be the name of a variant, or weights by names, not {validate.shown(serve)}"
        )
    for weight in serve.values():
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight <= 1_000_000:
            raise ConfigurationError(f"serve must have weights from 0 to 1000000, not {validate.shown(weight)}")
        _exact("serve", weight)
    if not any(serve.values()):
        raise ConfigurationError("serve must have a weight that is more than 0")
    return MappingProxyType(dict(serve))


def _variants(variants: Mapping[str, FlagValue]) -> tuple[FlagType, Mapping[str, FlagValue]]:
    if not isinstance(variants, Mapping) or not 1 <= len(variants) <= _MOST_VARIANTS:
        raise ConfigurationError(f"variants must be 1 to {_MOST_VARIANTS} values by their names")
    frozen = {validate.text("variants", name): _frozen(value) for name, value in variants.items()}
    kinds: set[type] = {type(value) for value in frozen.values()}
    if kinds == {int, float}:  # JSON of other writers has 1 for 1.0
        return "float", MappingProxyType(
            {name: float(validate.finite("variants", value)) for name, value in frozen.items()}
        )
    for kind, types in _FROZEN_TYPES.items():
        if kinds <= types:
            return kind, MappingProxyType(frozen)
    shown = ", ".join(sorted(kind.__name__ for kind in kinds))
    raise ConfigurationError(f"variants must all be of one type, and JSON must have it, not {shown}")


def _frozen(value: Any, depth: int = 0) -> Any:
    """Give a value of JSON that nobody can change."""
    if depth > 32:
        raise ConfigurationError("variants must be no more than 32 levels deep")
    if isinstance(value, Mapping):
        held = cast("Mapping[str, Any]", value)
        return MappingProxyType(
            {validate.text_or_empty("variants", name): _frozen(one, depth + 1) for name, one in held.items()}
        )
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(one, depth + 1) for one in cast("list[Any]", value))
    if isinstance(value, str):
        return validate.text_or_empty("variants", value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigurationError(f"variants must be finite numbers, not {validate.shown(value)}")
    if value is None and depth:
        return None
    if type(value) not in {bool, int, float}:
        raise ConfigurationError(f"variants must be what JSON can say, not {type(value).__name__}")
    return value


def _users(argument: str, users: Collection[str]) -> frozenset[str]:
    if isinstance(users, str) or not isinstance(users, Collection):
        raise ConfigurationError(f"{argument} must be several users, not {validate.shown(users)}")
    return frozenset(validate.text(argument, user) for user in users)


def _requires(flag: str, requires: Mapping[str, str | Collection[str]]) -> Mapping[str, frozenset[str]]:
    if not isinstance(requires, Mapping) or len(requires) > _MOST_REQUIRED:
        raise ConfigurationError(f"requires must be variants by names of flags, at most {_MOST_REQUIRED}")
    made: dict[str, frozenset[str]] = {}
    for name, variants in requires.items():
        if validate.text("requires", name) == flag:
            raise ConfigurationError(f"requires must be other flags, not {validate.shown(flag)} itself")
        several = [variants] if isinstance(variants, str) else variants
        made[name] = frozenset(validate.text("requires", variant) for variant in several)
        if not made[name]:
            raise ConfigurationError(f"requires must name a variant of {validate.shown(name)}")
    return MappingProxyType(made)


def _metadata(metadata: Mapping[str, Any]) -> Mapping[str, bool | int | float | str]:
    if not isinstance(metadata, Mapping):
        raise ConfigurationError("metadata must be values by their names")
    for name, held in metadata.items():
        validate.text("metadata", name)
        # As OpenFeature has it (requirement 2.2.9): nothing that is nested.
        if not isinstance(held, (bool, int, float, str)) or (isinstance(held, float) and not math.isfinite(held)):
            raise ConfigurationError(
                f"metadata must be texts, finite numbers and truth values, not {validate.shown(held)}"
            )
    return MappingProxyType(dict(metadata))


_SIMPLE = Flag("simple")
