"""Feature flags: who has what, decided here and now from what Redis has, or from a snapshot of all of it.

Promises: a flag is written only over the version that its writer has seen, where that is said; an older write never
replaces a newer one, and never brings a deleted flag back; a write whose answer was lost can be sent again; whoever
follows is told of every change by a stream, so that none is lost with a connection; a flag that cannot be read is in
error by itself. Who has a flag is a matter of its record alone: see `redis_patterns_core.flag_evaluation`.

Keys: ``flags:{NAME}``, a hash of the flags by their names; ``flags:{NAME}:changes``, a stream of the last changes. Both
are permanent: a flag has no end.

Source: https://redis.io/docs/latest/commands/xread/
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, TypeVar, overload

from redis_patterns_core import replies, validate
from redis_patterns_core.errors import ConfigurationError, DecodeError, FlagConflict
from redis_patterns_core.flag import Flag
from redis_patterns_core.flag_evaluation import Evaluation, FlagSnapshot, Who
from redis_patterns_core.flag_json import encoded, exported, imported
from redis_patterns_core.flag_records import FlagChange, change, number, required, snapshot, stored
from redis_patterns_core.flow import Call, Steps, flow
from redis_patterns_core.keys import key
from redis_patterns_core.plan import Command, Effect, Plan, Script
from redis_patterns_core.replies import Reply

__all__ = ["Flags"]

T = TypeVar("T")

_PUT = Script.load("flags_put")
_READ = Script.load("flags_read")

_LARGEST = 256 * 1024
_MOST_AT_ONCE = 1000
_TOKEN = re.compile(r"[0-9A-Za-z_-]{1,64}")
_DONE, _CONFLICT, _CIRCLE = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags of one service, or of one part of it.

    For each of its plans Redis is asked; a `FlagClient` that a driver follows with has a snapshot of all flags, asks
    nobody, and is told of changes.

    Parameters:
        name: tells these flags from others'.
        keep_changes: how many changes are kept for `history`.
        namespace: a prefix of the keys.

    Raises:
        ConfigurationError: an empty name, or a number that is not allowed.
    """

    name: str
    _: KW_ONLY
    keep_changes: int = 100
    namespace: str = ""
    key: str = field(init=False, repr=False, compare=False)
    """The hash that holds the flags."""

    def __post_init__(self) -> None:
        validate.text("name", self.name)
        validate.namespace(self.namespace)
        validate.integer("keep_changes", self.keep_changes, least=1, most=100_000)
        object.__setattr__(self, "key", key("flags", self.name, namespace=self.namespace))

    @property
    def _changes(self) -> str:
        return f"{self.key}:changes"

    # Evaluating, one flag at a time

    def is_enabled(self, name: str, who: Who = None, default: bool = False) -> Plan[bool]:
        """Tell whether a switch is on for somebody. One round trip, for the flag and those that it requires.

        Parameters:
            name: of a flag whose values are true and false.
            who: a user, or a `FlagContext`.
            default: what is given where there is no such flag, or it is in error; a disabled one is off.

        Raises:
            ConfigurationError: a name that is not allowed.
        """
        return self._read(name).map(lambda snapshot: snapshot.is_enabled(name, who, default))

    @overload
    def evaluate(self, name: str, who: Who = None, default: None = None) -> Plan[Evaluation[Any]]: ...
    @overload
    def evaluate(self, name: str, who: Who, default: T) -> Plan[Evaluation[T]]: ...
    def evaluate(self, name: str, who: Who = None, default: Any = None) -> Plan[Evaluation[Any]]:
        """Evaluate a flag for somebody, as `FlagSnapshot.evaluate`. One round trip, for it and those that it requires.

        Raises:
            ConfigurationError: a name that is not allowed.
        """
        return self._read(name).map(lambda snapshot: snapshot.evaluate(name, who, default))

    # Reading

    def snapshot(self) -> Plan[FlagSnapshot]:
        """Read all flags, as of one moment, to evaluate any of them without Redis. One round trip.

        Returns:
            A plan of the snapshot; flags that cannot be read are among its `unreadable`.
        """
        return Plan("flags.snapshot", (Command(("HGETALL", self.key)),), snapshot, Effect.READS)

    def get(self, name: str) -> Plan[Flag | None]:
        """Read a flag with its version; ``None`` where there is none, or no more. One round trip.

        Raises:
            ConfigurationError: a name that is not allowed.
            DecodeError: when the plan is run: it cannot be read.
        """
        command = Command(("HGET", self.key, _named(name)))
        return Plan(
            "flags.get",
            (command,),
            lambda answers: None if answers[0] is None else stored(name, answers[0]),
            Effect.READS,
        )

    def revision(self) -> Plan[int]:
        """Read the number that grows with each change; 0 where there was none. One round trip."""
        return Plan(
            "flags.revision", (Command(("HGET", self.key, "")),), lambda answers: number(answers[0]), Effect.READS
        )

    def history(self, count: int = 100) -> Plan[list[FlagChange]]:
        """Read the last changes, the latest first. One round trip.

        Parameters:
            count: how many at most.

        Raises:
            ConfigurationError: a count that is not allowed.
        """
        most = validate.integer("count", count, least=1)
        command = Command(("XREVRANGE", self._changes, "+", "-", "COUNT", most))
        return Plan(
            "flags.history",
            (command,),
            lambda answers: [change(entry) for entry in replies.array(answers[0])],
            Effect.READS,
        )

    def wait_for_change(self, revision: int, seconds: float) -> Plan[bool]:
        """Wait for a change after a revision. One round trip, on a connection of its own.

        Parameters:
            revision: of what is known.
            seconds: how long at most.

        Returns:
            A plan that tells whether there was one; also one that was made before the plan is run.

        Raises:
            ConfigurationError: a revision that is none, or less than 2 ms.
        """
        validate.integer("revision", revision, least=0)
        milliseconds = validate.milliseconds("seconds", seconds, least=2)
        words = ("XREAD", "COUNT", 1, "BLOCK", milliseconds, "STREAMS", self._changes, f"{revision}-0")
        return Plan(
            "flags.wait_for_change",
            (Command(words),),
            lambda answers: answers[0] is not None,
            Effect.READS,
            milliseconds / 1000,
        )

    # Writing

    def put(
        self, flag: Flag, *, expected_version: int | None = None, by: str = "", token: str | None = None
    ) -> Plan[int]:
        """Write a flag.

        Parameters:
            flag: what it shall be; its `version` is not looked at.
            expected_version: that it must have now, such as the `version` of the one that was read; 0 where there must
                never have been one; ``None`` for whatever there is.
            by: who does it, for `history`.
            token: tells this write from others, so that it counts once; a random one where none is given.

        Returns:
            A plan of one round trip that gives the version that the flag has then; idempotent, unless others have
            changed the flag sixteen times meanwhile.

        Raises:
            FlagConflict: when the plan is run: it has another version, and nothing was written.
            ConfigurationError: an argument that is not allowed, or a flag of more than 256 KiB; when the plan is run: a
                flag that it requires requires it, itself or by way of others.
        """
        if not isinstance(flag, Flag):
            raise ConfigurationError(f"flag must be a Flag, not {type(flag).__name__}")
        payload = encoded(flag)
        if len(payload) > _LARGEST:
            raise ConfigurationError(f"flag must take at most {_LARGEST} bytes, and {flag.name!r} takes {len(payload)}")
        command = self._command(flag.name, expected_version, by, token, required=required(flag), payload=payload)

        def parse(answers: Sequence[Reply]) -> int:
            code, version = _written(answers[0])
            if code == _CONFLICT:
                raise FlagConflict(flag.name, version)
            if code == _CIRCLE:
                raise ConfigurationError(f"requires must not lead back to the flag {flag.name!r} itself")
            return version

        return Plan("flags.put", (command,), parse, Effect.IDEMPOTENT)

    def delete(
        self, name: str, *, expected_version: int | None = None, by: str = "", token: str | None = None
    ) -> Plan[bool]:
        """Delete a flag. Its version is kept, so that an older write cannot bring it back.

        Parameters:
            name: of the flag.
            expected_version, by, token: as for `put`.

        Returns:
            A plan of one round trip that tells whether it was there; idempotent as `put`.

        Raises:
            FlagConflict: when the plan is run: it has another version, and is there still.
            ConfigurationError: an argument that is not allowed.
        """
        command = self._command(_named(name), expected_version, by, token)

        def parse(answers: Sequence[Reply]) -> bool:
            code, version = _written(answers[0])
            if code == _CONFLICT:
                raise FlagConflict(name, version)
            return code == _DONE

        return Plan("flags.delete", (command,), parse, Effect.IDEMPOTENT)

    @flow
    def update(self, name: str, change: Callable[[Flag], Flag], *, by: str = "", attempts: int = 10) -> Steps[Flag]:
        """Change a flag by what it is now; when somebody else is faster, by what it is then.

        Parameters:
            name: of the flag.
            change: gives what it shall be, of what it is; maybe called more than once.
            by: who does it, for `history`.
            attempts: how many times at most.

        Returns:
            A flow of two round trips, two more for each time that somebody else was faster; gives what it is then.

        Raises:
            FlagConflict: there is no such flag, or others were faster each time.
            ConfigurationError: an argument that is not allowed, or a flag of another name.
            DecodeError: it cannot be read.
        """
        validate.integer("attempts", attempts, least=1)
        for left in reversed(range(attempts)):
            flag = yield from self.get(name)
            if flag is None:
                raise FlagConflict(name, 0)
            changed: Flag = yield from Call(change, flag)
            if changed.name != name:
                raise ConfigurationError(
                    f"change must keep the name {validate.shown(name)}, not make it {validate.shown(changed.name)}"
                )
            try:
                version = yield from self.put(changed, expected_version=flag.version, by=by)
            except FlagConflict:
                if not left:
                    raise
            else:
                return replace(changed, version=version)
        raise AssertionError("unreachable")

    # All of them

    def export_json(self) -> Plan[str]:
        """Write all flags as JSON, for `import_json`. One round trip.

        Raises:
            DecodeError: when the plan is run: one of them cannot be read.
        """

        def export(snapshot: FlagSnapshot) -> str:
            for name, why in snapshot.unreadable.items():
                raise DecodeError(f"the flag {name!r} cannot be read: {why}")
            return exported(list(snapshot))

        return replace(self.snapshot(), name="flags.export_json").map(export)

    def import_json(self, text: str, *, by: str = "") -> Plan[dict[str, int]]:
        """Write the flags of a text that `export_json` has given, over those that there are; others stay.

        Parameters:
            text: JSON of up to 1000 flags.
            by: who does it, for `history`.

        Returns:
            A plan of one round trip that gives their versions by their names; each is written by itself, idempotent as
            `put`.

        Raises:
            DecodeError: it is none, or a flag in it is none; the message names it.
            ConfigurationError: too many flags, or what `put` raises.
        """
        flags = imported(text)
        if not 1 <= len(flags) <= _MOST_AT_ONCE:
            raise ConfigurationError(f"text must have 1 to {_MOST_AT_ONCE} flags, not {len(flags)}")
        plans = [self.put(flag, by=by) for flag in flags]

        def parse(answers: Sequence[Reply]) -> dict[str, int]:
            return {flag.name: plan.parse([answer]) for flag, plan, answer in zip(flags, plans, answers, strict=True)}

        commands = tuple(command for plan in plans for command in plan.commands)
        return Plan("flags.import_json", commands, parse, Effect.IDEMPOTENT)

    # Pieces

    def _read(self, name: str) -> Plan[FlagSnapshot]:
        return Plan("flags.evaluate", (_READ((self.key,), _named(name)),), snapshot, Effect.READS)

    def _command(
        self,
        name: str,
        expected: int | None,
        by: str,
        token: str | None,
        *,
        required: bytes = b"",
        payload: bytes = b"",
    ) -> Command:
        if expected is not None:
            validate.integer("expected_version", expected, least=0)
        if by:
            validate.text("by", by)
        if token is None:
            token = secrets.token_hex(8)
        elif not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise ConfigurationError(f"token must be 1 to 64 letters, digits, - and _, not {validate.shown(token)}")
        version = "" if expected is None else expected
        return _PUT((self.key, self._changes), name, version, token, by, self.keep_changes, required, payload)


def _named(name: str) -> str:
    return validate.text("name", name)


def _written(reply: Reply) -> tuple[int, int]:
    """Give what became of a write, and the version that the flag has."""
    code, *rest = [replies.integer(one) for one in replies.array(reply) or [None]]
    return code, rest[0] if rest else 0
