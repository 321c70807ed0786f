"""What is stored of flags, as the scripts have it, and how it is read."""

from __future__ import annotations

import re
from collections.abc import Sequence

from redis_patterns_core import replies
from redis_patterns_core.errors import DecodeError
from redis_patterns_core.flag import Flag
from redis_patterns_core.flag_evaluation import FlagSnapshot
from redis_patterns_core.flag_json import decoded
from redis_patterns_core.replies import Reply
from redis_patterns_core.value import value

__all__ = ["FlagChange", "change", "number", "required", "snapshot", "stored"]

_RECORD = re.compile(rb"([fd])([0-9]{1,15}):[^:]*:")
_REQUIRED = re.compile(rb"([0-9]{1,9}):")


@value
class FlagChange:
    """One change of a flag.

    Parameters:
        name: of the flag.
        version: that it has since.
        flag: what it is since; ``None`` where it was deleted, or cannot be read.
        by: who has changed it, as they said.
        at: when, in seconds since the epoch, by the server's clock.
        revision: of all flags then.
        deleted: whether it was deleted.
    """

    name: str
    version: int
    flag: Flag | None
    by: str
    at: float
    revision: int
    deleted: bool


def required(flag: Flag) -> bytes:
    """Give what a flag requires, in the form that the scripts go through."""
    return b"".join(b"%d:%b" % (len(name.encode()), name.encode()) for name in sorted(flag.requires))


def number(reply: Reply) -> int:
    """Read a version or a revision; 0 where there is none."""
    return 0 if reply is None else int(replies.number(reply))


def snapshot(answers: Sequence[Reply]) -> FlagSnapshot:
    """Read all flags, or some of them; what cannot be read is said to be so."""
    flags: list[Flag] = []
    unreadable: dict[str, str] = {}
    revision = 0
    for field_name, record in replies.pairs(answers[0]):
        try:
            name = replies.text(field_name)
        except DecodeError:
            continue  # nobody can ask for it
        if not name:
            revision = number(record)
            continue
        try:
            flag = stored(name, record)
        except DecodeError as error:
            unreadable[name] = str(error)
        else:
            if flag is not None:
                flags.append(flag)
    return FlagSnapshot(flags, unreadable=unreadable, revision=revision)


def stored(name: str, record: Reply) -> Flag | None:
    """Read a flag; ``None`` for one that was deleted.

    Raises:
        DecodeError: something else, or a flag of another name.
    """
    match = _RECORD.match(record) if isinstance(record, bytes) else None
    if match is None or not isinstance(record, bytes):
        raise DecodeError("expected a flag, got something else")
    if match[1] == b"d":
        return None
    at = match.end()
    while (required := _REQUIRED.match(record, at)) is not None:
        at = required.end() + int(required[1])
    if record[at : at + 1] != b";":
        raise DecodeError("expected a flag, got something else")
    flag = decoded(record[at + 1 :], int(match[2]))
    if flag.name != name:
        raise DecodeError("expected a flag by its name, got one by another's")
    return flag


def change(entry: Reply) -> FlagChange:
    """Read an entry of the stream.

    Raises:
        DecodeError: something else.
    """
    id, fields = replies.array(entry, 2)
    held = dict(replies.pairs(fields))
    payload = held.get(b"flag")
    version = number(held.get(b"version"))
    revision = int(replies.number(replies.text(id).partition("-")[0].encode()))
    flag = None
    if isinstance(payload, bytes):
        try:
            flag = decoded(payload, version)
        except DecodeError:
            flag = None
    return FlagChange(
        replies.text(held.get(b"name")),
        version,
        flag,
        replies.text(held.get(b"by", b"")),
        revision / 1000,
        revision,
        not payload,
    )
