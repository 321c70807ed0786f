"""Flags as JSON: what is stored of each, and what is exported.

The form is exact: a field that is not known here, a value that a flag does not take or a later format is a
`DecodeError`, because an answer that leaves something out may be the wrong one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

from redis_patterns_core.codec import Json, Text
from redis_patterns_core.errors import ConfigurationError, DecodeError
from redis_patterns_core.flag import TYPES, Flag, FlagRule, thawed
from redis_patterns_core.flag_conditions import Condition

__all__ = ["FORMAT", "decoded", "encoded", "exported", "imported"]

FORMAT = 1
_FIELDS = frozenset({
    "format",
    "name",
    "type",
    "enabled",
    "variants",
    "serve",
    "default",
    "percentage",
    "allowlist",
    "blocklist",
    "rules",
    "requires",
    "metadata",
    "salt",
})  # fmt: skip
_RULE = frozenset({"when", "serve", "percentage"})
_CONDITION = frozenset({"attribute", "operator", "value", "negated"})
_EXPORT = frozenset({"format", "flags"})


def encoded(flag: Flag) -> bytes:
    """Write a flag; its version is not part of it."""
    return Json().encode({"format": FORMAT, **_plain(flag)})


def decoded(data: bytes, version: int = 0) -> Flag:
    """Read a flag.

    Raises:
        DecodeError: something else, or something that is not known here.
    """
    fields = Json().decode(data)
    if not isinstance(fields, dict) or cast("dict[str, Any]", fields).get("format") != FORMAT:
        raise DecodeError(f"expected a flag in format {FORMAT}, got something else")
    return _flag(cast("dict[str, Any]", fields), version)


def exported(flags: Sequence[Flag]) -> str:
    """Write flags as a text for people, and for `imported`."""
    plain = {"format": FORMAT, "flags": [_plain(flag) for flag in flags]}
    return json.dumps(plain, ensure_ascii=False, indent=2)  # as `Json` has it, but in lines


def imported(text: str) -> list[Flag]:
    """Read what `exported` has written.

    Raises:
        DecodeError: something else; the message names the flag.
        EncodeError: no text at all.
    """
    fields = Json().decode(Text().encode(text))
    known = cast("dict[str, Any]", fields) if isinstance(fields, dict) else {}
    if known.get("format") != FORMAT or known.keys() != _EXPORT or not isinstance(known["flags"], list):
        raise DecodeError(f"expected flags in format {FORMAT}, got something else")
    flags: list[Flag] = []
    for place, one in enumerate(cast("list[object]", known["flags"])):
        if not isinstance(one, dict):
            raise DecodeError(f"flag {place} is no object")
        held = cast("dict[str, Any]", one)
        try:
            flags.append(_flag(held, 0))
        except DecodeError as error:
            raise DecodeError(f"flag {place} ({held.get('name')!r}): {error}") from None
    if len({flag.name for flag in flags}) < len(flags):
        raise DecodeError("expected flags of different names, got two of one")
    return flags


def _plain(flag: Flag) -> dict[str, Any]:
    return {
        "name": flag.name,
        "type": flag.type,
        "enabled": flag.enabled,
        "variants": thawed(flag.variants),
        "serve": thawed(flag.serve),
        "default": flag.default,
        "percentage": flag.percentage,
        "allowlist": sorted(flag.allowlist),
        "blocklist": sorted(flag.blocklist),
        "rules": [
            {
                "when": [_plain_condition(condition) for condition in rule.conditions],
                "serve": thawed(rule.serve),
                "percentage": rule.percentage,
            }
            for rule in flag.rules
        ],
        "requires": {name: sorted(variants) for name, variants in flag.requires.items()},
        "metadata": dict(flag.metadata),
        "salt": flag.salt,
    }


def _plain_condition(condition: Condition) -> dict[str, Any]:
    return {
        "attribute": condition.attribute,
        "operator": condition.operator,
        "value": thawed(condition.value),
        "negated": condition.negated,
    }


def _flag(fields: dict[str, Any], version: int) -> Flag:
    _known("a flag", fields, _FIELDS)
    given = {name: held for name, held in fields.items() if name not in {"format", "type", "rules"}}
    try:
        # A whole number is one of a float's, where other writers leave out the fraction.
        if fields.get("type") == "float" and isinstance(fields.get("variants"), dict):
            variants = cast("dict[str, Any]", fields["variants"])
            given["variants"] = {name: float(held) if _whole(held) else held for name, held in variants.items()}
        rules = [_rule(rule) for rule in _list("rules", fields)]
        flag = Flag(**given, rules=rules, version=version)
    except (ConfigurationError, TypeError, AttributeError, OverflowError) as error:
        raise DecodeError(f"expected a flag, got something that is none: {error}") from None
    if "type" in fields and flag.type != fields["type"]:
        raise DecodeError(f"expected variants of one of {', '.join(TYPES)}, and of the type that is said")
    return flag


def _rule(fields: Any) -> FlagRule:
    _known("a rule", fields, _RULE)
    when: list[Condition] = []
    for one in _list("when", fields):
        _known("a condition", one, _CONDITION)
        when.append(Condition(**one))
    return FlagRule(when, **{name: held for name, held in fields.items() if name != "when"})


def _list(name: str, fields: dict[str, Any]) -> list[Any]:
    several = fields.get(name, [])
    if not isinstance(several, list):
        raise DecodeError(f"expected a list of {name}, got {type(several).__name__}")
    return list(cast("list[object]", several))


def _known(what: str, fields: Any, names: frozenset[str]) -> None:
    if not isinstance(fields, dict):
        raise DecodeError(f"expected {what}, got {type(fields).__name__}")
    unknown = sorted(set(cast("dict[str, Any]", fields)) - names)
    if unknown:
        raise DecodeError(f"{what} has no {', '.join(map(repr, unknown))} in format {FORMAT}")


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
