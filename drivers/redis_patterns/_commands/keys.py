"""``redis-patterns keys``: what each pattern holds in a live keyspace, and what is wrong there."""

from __future__ import annotations

import argparse
import json
from itertools import groupby

from redis_patterns._commands import FAILED, OK, colored
from redis_patterns._commands.connection import connected
from redis_patterns._commands.text import columns, escaped, painted, size
from redis_patterns_core import validate
from redis_patterns_core.keyspace import matching
from redis_patterns_core.surveys import Survey, Tally, survey

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Show what there is; gives 1 where something is wrong.

    Raises:
        ConfigurationError: a namespace, a pattern or a number that is not allowed.
        PatternsError: the server cannot be reached, or refuses the user.
    """
    pattern = matching(arguments.namespace, arguments.match)
    limit = validate.integer("limit", arguments.limit, least=0) or None
    oversize = validate.integer("oversize", arguments.oversize, least=0) or None
    with connected(arguments) as driver:
        found = driver.run(survey(pattern, limit=limit, oversize=oversize))
    if arguments.json:
        print(json.dumps(_told(found, names=arguments.list)))
    else:
        _show(found, names=arguments.list, color=colored(arguments.color))
    return FAILED if found.wrong else OK


def _told(found: Survey, *, names: bool) -> dict[str, object]:
    told: dict[str, object] = {"ok": not found.wrong, "whole": found.whole, "wrong": found.wrong}
    told["kinds"] = [
        {
            "pattern": _pattern(tally),
            "kind": None if tally.kind is None else tally.kind.label,
            "keys": tally.keys,
            "types": dict(tally.types),
            "memory": tally.memory,
            "problems": dict(tally.problems),
        }
        for tally in found.tallies
    ]
    if names:
        told["offences"] = [
            {"key": escaped(one.key), "kind": one.kind.label, "problem": one.problem, "passing": one.passing}
            for one in found.offences
        ]
    return told


def _show(found: Survey, *, names: bool, color: bool) -> None:
    if not found.tallies:
        print("no keys")
        return
    # One table for all, so that its columns are in line; the patterns' names go between its rows.
    rows = columns([_row(tally) for tally in found.tallies], right={1, 3}, indent="  ")
    for pattern, group in groupby(zip(found.tallies, rows, strict=True), key=lambda pair: _pattern(pair[0])):
        print(painted(pattern or "no pattern's", "title" if color else ""))
        for tally, row in group:
            print(painted(row, "wrong" if color and tally.problems else ""))
    if names and found.offences:
        # Each in a line, however long, so that it can be given to another program.
        print("\n" + "\n".join(sorted(f"{one.problem:<11}  {escaped(one.key)}" for one in found.offences)))
        more = sum(tally.problems.total() for tally in found.tallies) - len(found.offences)
        if more:
            print(f"and {more} more")
    if not found.whole:
        print("\nnot all keys were looked at: give a greater --limit, or 0 for all")
    if found.wrong:
        where = "" if names else "; --list shows where"
        print(painted(f"\n{found.wrong} wrong{where}", "wrong" if color else ""))


def _pattern(tally: Tally) -> str | None:
    return None if tally.kind is None else tally.kind.pattern


def _row(tally: Tally) -> list[str]:
    label = "-" if tally.kind is None else tally.kind.label
    types = ", ".join(sorted(tally.types))
    wrong = ", ".join(f"{tally.problems[problem]} {problem}" for problem in sorted(tally.problems))
    return [label, str(tally.keys), types, size(tally.memory), wrong]
