"""Surveys: what the patterns have in a live keyspace, and what is wrong there.

A survey looks at each key by SCAN, in small steps that block nobody, on every primary of a cluster, and changes
nothing. Best effort, as SCAN is: a key that comes or goes meanwhile may be missed, and one may be counted twice.

Source: https://redis.io/docs/latest/commands/scan/, https://redis.io/docs/latest/commands/memory-usage/
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from redis_patterns_core import replies
from redis_patterns_core.errors import CommandFailed
from redis_patterns_core.flow import Steps, flow
from redis_patterns_core.keyspace import KINDS, KeyKind, KnownKey, Problem, known, problems
from redis_patterns_core.plan import Command, Effect, Plan, Script, batch
from redis_patterns_core.replies import Reply
from redis_patterns_core.scanning import scan
from redis_patterns_core.value import value

__all__ = ["Offence", "Survey", "Tally", "survey"]

_ORPHANS = Script.load("jobs_orphans")
_SAMPLES = 5
"""How many members of a large value its size is reckoned from, as Redis does by default."""
_MOST_LISTED = 1000


@value
class Offence:
    """A key with which something is wrong.

    Parameters:
        key: which.
        kind: what it is.
        problem: what is wrong.
        passing: whether it goes by itself, as an orphan does that has a TTL.
    """

    key: bytes
    kind: KeyKind
    problem: Problem
    passing: bool


@dataclass(slots=True)
class Tally:
    """What there is of one kind of keys.

    Parameters:
        kind: which; ``None`` for the keys that are no pattern's.
        keys: how many.
        types: what TYPE says of them, and how many there are of each.
        memory: bytes, about; ``None`` where Redis does not tell.
        problems: how many keys have which.
    """

    kind: KeyKind | None
    keys: int = 0
    types: Counter[str] = field(default_factory=Counter[str])
    memory: int | None = 0
    problems: Counter[Problem] = field(default_factory=Counter[Problem])


@value
class Survey:
    """What was found.

    Parameters:
        tallies: by kind, in the order of the table; the keys that are no pattern's come last.
        offences: the first thousand of them.
        wrong: how many problems there are that do not go by themselves.
        whole: whether it came to the end of the keyspace.
    """

    tallies: tuple[Tally, ...]
    offences: tuple[Offence, ...]
    wrong: int
    whole: bool


@value
class _Measured:
    name: bytes
    type: str
    ttl_ms: int
    memory: int | None


@flow
def survey(pattern: str, *, limit: int | None = None, oversize: int | None = None) -> Steps[Survey]:
    """Look at all keys that match.

    Parameters:
        pattern: a glob pattern, as SCAN takes it.
        limit: after how many keys to end, about; ``None`` for never.
        oversize: from how many bytes a key is too large; ``None`` for never.

    Returns:
        A flow that gives what was found; two round trips for every 500 keys that Redis has, and up to four more where
        some are the patterns'.
    """
    tallies: dict[KeyKind | None, Tally] = {}
    offences: list[Offence] = []
    seen = wrong = 0
    allowed = True

    def visit(names: Sequence[bytes]) -> Steps[bool]:
        nonlocal seen, wrong, allowed
        found, allowed = yield from _measured(list(dict.fromkeys(names)), memory=allowed)
        mine = {one.name: key for one in found if (key := known(one.name)) is not None}
        orphans = yield from _orphans(list(mine.values()))
        for one in found:
            key = mine.get(one.name)
            kind = key.kind if key is not None else None
            row = tallies.setdefault(kind, Tally(kind))
            row.keys += 1
            row.types[one.type] += 1
            row.memory = None if row.memory is None or one.memory is None else row.memory + one.memory
            if kind is None:
                continue
            wrongs = list(problems(kind, one.type, one.ttl_ms))
            if oversize is not None and one.memory is not None and one.memory >= oversize:
                wrongs.append("oversize")
            if one.name in orphans and "wrong type" not in wrongs:
                wrongs.append("orphan")
            for problem in wrongs:
                offence = Offence(one.name, kind, problem, problem == "orphan" and one.ttl_ms >= 0)
                row.problems[problem] += 1
                wrong += not offence.passing
                if len(offences) < _MOST_LISTED:
                    offences.append(offence)
        seen += len(found)
        return limit is None or seen < limit

    whole = yield from scan(pattern, visit)
    order: tuple[KeyKind | None, ...] = (*KINDS, None)
    return Survey(tuple([tallies[kind] for kind in order if kind in tallies]), tuple(offences), wrong, whole)


def _measured(names: Sequence[bytes], *, memory: bool) -> Steps[tuple[list[_Measured], bool]]:
    commands = [Command((word, name)) for name in names for word in ("TYPE", "PTTL")]
    answers = yield from Plan("survey.types", tuple(commands), list, Effect.READS)
    sizes: Sequence[Reply] = [None] * len(names)
    if memory:
        asked = tuple([Command(("MEMORY", "USAGE", name, "SAMPLES", _SAMPLES)) for name in names])
        try:
            sizes = yield from Plan("survey.memory", asked, list, Effect.READS)
        except CommandFailed:
            memory = False  # not for this user, or not known to this server; the rest is worth knowing without
    found: list[_Measured] = []
    for name, type_, ttl, size in zip(names, answers[::2], answers[1::2], sizes, strict=True):
        # Those that have gone meanwhile are left out. TYPE answers with a status, which fakeredis gives as text.
        said = type_ if isinstance(type_, str) else replies.text(type_)
        left = replies.integer(ttl)
        if left != -2 and not (memory and size is None):
            found.append(_Measured(name, said, left, replies.integer(size) if memory else None))
    return found, memory


def _orphans(keys: Sequence[KnownKey]) -> Steps[set[bytes]]:
    """Give those that mean nothing any more, as what they need is not there."""
    doubted = [(key.key, plan) for key in keys if (plan := _orphaned(key)) is not None]
    if not doubted:
        return set()
    plans = [plan for _, plan in doubted]
    verdicts: list[bool] = []
    try:
        verdicts += yield from batch(*plans)
    except CommandFailed:
        # One of those that are asked has another type, or may not be asked: the others are asked one by one.
        for plan in plans:
            try:
                verdicts.append((yield from plan))
            except CommandFailed:
                verdicts.append(False)
    return {name for (name, _), lonely in zip(doubted, verdicts, strict=True) if lonely}


def _orphaned(key: KnownKey) -> Plan[bool] | None:
    """Give what tells whether a key is an orphan, where it can be one."""
    match key.kind.needs:
        case "board":
            # One command, as both may go at any moment: 1 is the key without its board.
            command = Command(("EXISTS", key.home, key.home, key.key))
            return Plan("survey.orphans", (command,), lambda answers: answers[0] == 1, Effect.READS)
        case "session":
            # In this order: a session that ends between the two has no user then.
            commands = (
                Command(("ZSCORE", f"{key.prefix}:index", key.part)),
                Command(("HMGET", key.key, "c", "u")),
            )
            return Plan("survey.orphans", commands, _outlived, Effect.READS)
        case "record":
            command = _ORPHANS((f"{key.prefix}:data", f"{key.prefix}:job"))
            return Plan("survey.orphans", (command,), lambda answers: replies.integer(answers[0]) > 0, Effect.READS)
        case "":
            return None


def _outlived(answers: Sequence[Reply]) -> bool:
    created, user = replies.array(answers[1], 2)
    # A visitor's session, of no user, is in no index.
    return answers[0] is None and bool(created) and bool(user)
