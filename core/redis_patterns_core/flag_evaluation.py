"""Flags as of one moment, and what each of them gives to whom: pure, without I/O, clock or chance, and it never raises.

The steps, in this order: the flag is missing, or cannot be read; it is disabled; another flag that it requires does not
say so; the user is on the blocklist; the user is on the allowlist; a rule is for the user; the user is within the
rollout; the default. Reasons and error codes are those of OpenFeature.

Source: https://openfeature.dev/specification/types
"""

from __future__ import annotations

import functools
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, overload

from redis_patterns_core.flag import TYPES, Flag, FlagRule, Serve, thawed, thousandths
from redis_patterns_core.flag_buckets import POINTS, bounds, digest, seed
from redis_patterns_core.flag_conditions import compiled
from redis_patterns_core.value import value

__all__ = ["Evaluation", "FlagContext", "FlagSnapshot", "FlagStep", "Reason", "Who", "failure"]

T = TypeVar("T")

Reason: TypeAlias = Literal["STATIC", "TARGETING_MATCH", "SPLIT", "DEFAULT", "DISABLED", "STALE", "ERROR"]

FlagStep: TypeAlias = Literal[
    "missing", "error", "disabled", "prerequisite", "blocklist", "allowlist", "rule", "rollout", "default"
]

_DEEPEST = 32
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@value
class FlagContext:
    """For whom a flag is evaluated.

    Parameters:
        key: who: what allowlists and blocklists name, and what rollouts sort into buckets; a whole number counts as its
            decimal text.
        attributes: what is known of them, for rules: texts, numbers, truth values, and lists of these.
    """

    key: str | int | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])


Who: TypeAlias = FlagContext | str | int | None
"""A user, or a user of whom something is known, or nobody in particular."""


@dataclass(frozen=True)
class Evaluation(Generic[T]):
    """What a flag gives to somebody.

    Parameters:
        value: that of the variant, or the caller's default.
        variant: its name; ``None`` for the caller's default.
        reason: ``STATIC``, the same for all; ``TARGETING_MATCH``, for this user by a list or a rule; ``SPLIT``, by the
            user's bucket; ``DEFAULT``, as nothing else was for this user; ``DISABLED``; ``STALE``, as Redis cannot be
            asked whether it still is so; ``ERROR``.
        step: which of the steps decided.
        error: the code of an error, such as ``FLAG_NOT_FOUND``; empty where there is none.
        message: the error in words.
        metadata: that of the flag.
    """

    value: T
    variant: str | None
    reason: Reason
    step: FlagStep
    error: str = ""
    message: str = ""
    metadata: Mapping[str, bool | int | float | str] = field(default_factory=lambda: _NOTHING, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        # A mapping that nobody can change can be neither copied nor pickled.
        told = (self.value, self.variant, self.reason, self.step, self.error, self.message, dict(self.metadata))
        return type(self), told


def failure(default: T, error: str, message: str, step: FlagStep = "error") -> Evaluation[T]:
    """Give the caller's default, and why."""
    return Evaluation(default, None, "ERROR", step, error, message)


class FlagSnapshot:
    """All flags as of one moment. It never changes; evaluating one takes about as long as hashing a name twice.

    Parameters:
        flags: what there is.
        unreadable: why, by the names of flags that are there and cannot be read.
        revision: which moment; 0 where it is not from Redis.
    """

    __slots__ = ("_compiled", "flags", "revision", "unreadable")

    def __init__(
        self, flags: Iterable[Flag] = (), *, unreadable: Mapping[str, str] = _NOTHING, revision: int = 0
    ) -> None:
        self.flags: Mapping[str, Flag] = MappingProxyType({flag.name: flag for flag in flags})
        """The flags by their names."""
        self.unreadable: Mapping[str, str] = MappingProxyType(dict(unreadable))
        """What is wrong, by names of flags that cannot be read: each is in error by itself, the others are not."""
        self.revision: int = revision
        """A number that grows with each change of any flag; 0 where it is not from Redis, or there never was one."""
        self._compiled = _compiled(self.flags, self.unreadable)

    def __iter__(self) -> Iterator[Flag]:
        """Give the flags, by name."""
        return iter(sorted(self.flags.values(), key=lambda flag: flag.name))

    def __len__(self) -> int:
        return len(self.flags)

    def __reduce__(self) -> tuple[Any, ...]:
        # What is compiled of the flags, and mappings that nobody can change, can be neither copied nor pickled.
        again = functools.partial(type(self), unreadable=dict(self.unreadable), revision=self.revision)
        return again, (list(self.flags.values()),)

    def __repr__(self) -> str:
        return f"<FlagSnapshot of {len(self.flags)} flags, revision {self.revision}>"

    @overload
    def evaluate(self, name: str, who: Who = None, default: None = None) -> Evaluation[Any]: ...
    @overload
    def evaluate(self, name: str, who: Who, default: T) -> Evaluation[T]: ...
    def evaluate(self, name: str, who: Who = None, default: Any = None) -> Evaluation[Any]:
        """Evaluate a flag; it never raises.

        Parameters:
            name: of the flag.
            who: for whom.
            default: what is given where the flag cannot give anything. The flag must be of its type exactly, unless it
                is ``None``: true is no number, and 1 is not 1.0.

        Returns:
            The value, and why. Errors: ``FLAG_NOT_FOUND``; ``PARSE_ERROR``, as it cannot be read, or its prerequisites
            form a circle; ``TYPE_MISMATCH``; ``TARGETING_KEY_MISSING``, as a bucket was needed and there is no key;
            ``INVALID_CONTEXT``; ``GENERAL``.
        """
        try:
            flag = self._compiled.get(name)
            if flag is None:
                return failure(default, "FLAG_NOT_FOUND", f"there is no flag {name!r}", "missing")
            if default is not None and type(default) not in flag.types and flag.types:
                return failure(default, "TYPE_MISMATCH", f"the flag {name!r} is of another type")
            # The way of most calls, without a further one.
            found = flag.decide(who, _NOTHING) if type(who) is str and who else flag.decide(*_known(who))
        except _ContextError as error:
            return failure(default, "INVALID_CONTEXT", str(error))
        except Exception as error:  # noqa: BLE001  such as an attribute of a class of the caller's, that raises
            return failure(default, "GENERAL", f"{type(error).__name__} while the flag was evaluated")
        if found.variant is None:  # the caller's default, which it knows alone
            return replace(found, value=default)
        return found if flag.shared else replace(found, value=thawed(found.value))

    def is_enabled(self, name: str, who: Who = None, default: bool = False) -> bool:
        """Tell whether a switch is on for somebody; it never raises.

        Parameters:
            name: of a flag whose values are true and false.
            who: for whom.
            default: given where there is no such flag, or it is in error; a disabled one is off.
        """
        try:
            flag = self._compiled[name]
            if flag.types is not _BOOL:
                return default
            found = flag.decide(who, _NOTHING) if type(who) is str and who else flag.decide(*_known(who))
        except Exception:  # noqa: BLE001  see evaluate
            return default
        if found.variant is None:
            return default if found.error else False
        return found.value is True


class _ContextError(Exception):
    """A context that is none."""


def _known(who: Who) -> tuple[str | None, Mapping[str, Any]]:
    key = who
    attributes: Mapping[str, Any] = _NOTHING
    if isinstance(who, FlagContext):
        key, attributes = who.key, who.attributes
    if key is not None and not isinstance(key, str):
        if isinstance(key, bool) or not isinstance(key, int):
            raise _ContextError(f"key must be text or a whole number, not {type(key).__name__}")
        key = str(key)
    if not (attributes.__class__ is dict or isinstance(attributes, Mapping)):
        raise _ContextError(f"attributes must be values by their names, not {type(attributes).__name__}")
    return key or None, attributes


# Compiling: once for each snapshot, so that an evaluation only goes through what its flag has

_Decide: TypeAlias = Callable[[str | None, Mapping[str, Any]], Evaluation[Any]]
_Step: TypeAlias = Callable[[str | None, Mapping[str, Any]], Evaluation[Any] | None]
_Choose: TypeAlias = Callable[[str | None], Evaluation[Any]]

_BOOL: Final = TYPES["bool"]
_NO_KEY: Final[Evaluation[Any]] = failure(
    None, "TARGETING_KEY_MISSING", "a part of all users has it, and there is no key"
)


class _Compiled:
    """A flag, ready to be evaluated.

    Parameters:
        decide: gives what it is for somebody.
        types: those of its values; none for a flag in error, which fits every default.
        shared: whether all may have the same values, as nobody can change them.
    """

    __slots__ = ("decide", "shared", "types")

    def __init__(self, decide: _Decide, types: frozenset[type] = frozenset(), *, shared: bool = True) -> None:
        self.decide = decide
        self.types = types
        self.shared = shared


def _compiled(flags: Mapping[str, Flag], unreadable: Mapping[str, str]) -> dict[str, _Compiled]:
    made = {
        name: _failed("PARSE_ERROR", f"the flag {name!r} cannot be read: {why}") for name, why in unreadable.items()
    }
    waiting = dict(flags)
    # Those come first that others require, so that what is left at the end requires itself, by way of others.
    for _ in range(_DEEPEST):
        ready = [flag for flag in waiting.values() if not any(name in waiting for name in flag.requires)]
        for flag in ready:
            del waiting[flag.name]
        for flag in ready:
            made[flag.name] = _Compiled(_decision(flag, made), TYPES[flag.type], shared=flag.type != "object")
    for name in waiting:
        message = f"the prerequisites of the flag {name!r} form a circle, or go deeper than {_DEEPEST}"
        made[name] = _failed("PARSE_ERROR", message)
    return made


def _failed(error: str, message: str) -> _Compiled:
    found = failure(None, error, message)
    return _Compiled(lambda _key, _attributes: found)


def _decision(flag: Flag, made: Mapping[str, _Compiled]) -> _Decide:
    if not flag.enabled:
        disabled: Evaluation[Any] = Evaluation(None, None, "DISABLED", "disabled", metadata=flag.metadata)
        return lambda _key, _attributes: disabled
    steps: list[_Step] = []
    if flag.requires:
        needed = [(made.get(name), frozenset(variants)) for name, variants in flag.requires.items()]
        steps.append(_prerequisites(needed, _outcome(flag, flag.default, "DEFAULT", "prerequisite")))
    if flag.blocklist:
        steps.append(_listed(flag.blocklist, _chosen(flag, flag.default, "TARGETING_MATCH", "blocklist")))
    if flag.allowlist:
        steps.append(_listed(flag.allowlist, _chosen(flag, flag.serve, "TARGETING_MATCH", "allowlist")))
    steps += [_rule(flag, rule) for rule in flag.rules]
    last = _rollout(flag, "DEFAULT" if steps else "STATIC")
    if not steps:
        return lambda key, _attributes: last(key)
    several = tuple(steps)

    def decide(key: str | None, attributes: Mapping[str, Any]) -> Evaluation[Any]:
        for step in several:
            found = step(key, attributes)
            if found is not None:
                return found
        return last(key)

    return decide


def _prerequisites(needed: Sequence[tuple[_Compiled | None, frozenset[str]]], otherwise: Evaluation[Any]) -> _Step:
    def step(key: str | None, attributes: Mapping[str, Any]) -> Evaluation[Any] | None:
        for other, variants in needed:
            # One that is missing, disabled or in error has no variant.
            if other is None or other.decide(key, attributes).variant not in variants:
                return otherwise
        return None

    return step


def _listed(users: Collection[str], choose: _Choose) -> _Step:
    listed = frozenset(users)
    return lambda key, _attributes: choose(key) if key in listed else None


def _rule(flag: Flag, rule: FlagRule) -> _Step:
    tests = [compiled(condition) for condition in rule.conditions]
    points = thousandths("percentage", rule.percentage)
    serve = flag.serve if rule.serve is None else rule.serve
    choose = _chosen(flag, serve, "TARGETING_MATCH" if points == POINTS else "SPLIT", "rule")
    within = _within(flag, points)

    def step(key: str | None, attributes: Mapping[str, Any]) -> Evaluation[Any] | None:
        for test in tests:
            if not test(key, attributes):
                return None
        if within is None:
            return choose(key)
        if key is None:
            return _NO_KEY
        return choose(key) if within(key) else None

    return step


def _rollout(flag: Flag, reason: Reason) -> _Choose:
    points = thousandths("percentage", flag.percentage)
    default = _outcome(flag, flag.default, "STATIC" if reason == "STATIC" and not points else "DEFAULT", "default")
    if not points:
        return lambda _key: default
    if points == POINTS:
        return _chosen(flag, flag.serve, reason, "rollout")
    if not isinstance(flag.serve, str):
        choose, within = _chosen(flag, flag.serve, "SPLIT", "rollout"), _within(flag, points)
        assert within is not None  # noqa: S101  not all, and not none
        return lambda key: _NO_KEY if key is None else choose(key) if within(key) else default
    # The way of most flags, written out: two calls fewer.
    serve = _outcome(flag, flag.serve, "SPLIT", "rollout")
    start, (end,) = seed("rollout", flag.salt), bounds([points, POINTS - points])

    def rollout(key: str | None) -> Evaluation[Any]:
        if key is None:
            return _NO_KEY
        return serve if digest(start, key) < end else default

    return rollout


def _within(flag: Flag, points: int) -> Callable[[str], bool] | None:
    """Give what tells whether a user is within a rollout, or nothing where all are."""
    if points == POINTS:
        return None
    start, (end,) = seed("rollout", flag.salt), bounds([points, POINTS - points])
    return lambda key: digest(start, key) < end


def _chosen(flag: Flag, serve: Serve, reason: Reason, step: FlagStep) -> _Choose:
    """Give what chooses a variant for a user, by its weight where there are several."""
    if isinstance(serve, str):
        found = _outcome(flag, serve, reason, step)
        return lambda _key: found
    # By name, so that the order in which they were written does not matter.
    names = sorted(name for name, weight in serve.items() if weight)
    if len(names) == 1:
        return _chosen(flag, names[0], reason, step)
    start, ends = seed("variant", flag.salt), bounds([round(serve[name] * 1000) for name in names])
    several = [_outcome(flag, name, "SPLIT", step) for name in names]
    return lambda key: _NO_KEY if key is None else several[bisect_right(ends, digest(start, key))]


def _outcome(flag: Flag, variant: str, reason: Reason, step: FlagStep) -> Evaluation[Any]:
    return Evaluation(flag.variants[variant], variant, reason, step, metadata=flag.metadata)
