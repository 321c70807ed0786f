"""Plans: one round trip to Redis, as a value.

A pattern answers every request with a `Plan`: the commands to send and the pure function that turns their replies into
the result. A driver runs it; nothing here does any I/O, so a plan can be printed, compared, batched and tested dry:

    >>> plan = Leaderboard("weekly").top(3)
    >>> print(plan.explain())
    ZRANGE leaderboard:{weekly} 0 2 REV WITHSCORES
    >>> plan.parse([[[b"ann", 12.0], [b"bob", 7.5]]])
    [Entry(member='ann', score=12.0, rank=1), Entry(member='bob', score=7.5, rank=2)]
"""

from __future__ import annotations

import enum
import hashlib
import pkgutil
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NoReturn, TypeAlias, TypeVar, overload

from redis_patterns_core.errors import ConfigurationError
from redis_patterns_core.keys import in_one_slot
from redis_patterns_core.replies import Reply
from redis_patterns_core.value import value

__all__ = ["Argument", "Command", "Effect", "Plan", "Script", "batch"]

T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
T5 = TypeVar("T5")
T6 = TypeVar("T6")

Argument: TypeAlias = str | bytes | int | float
"""What goes onto the wire as it is: text as UTF-8, numbers as their shortest decimal form."""


class Effect(enum.IntEnum):
    """What sending a plan twice would do; a driver decides by it whether to send again when an answer was lost.

    A command that certainly did not run (it was never sent, or Redis refused it unread) is sent again whatever its
    effect. A batch takes the strictest effect of its parts, which is the largest.
    """

    READS = 0
    """Changes nothing: sent again."""

    IDEMPOTENT = 1
    """Leaves the same state as once: sent again. Such as setting a value, or a script guarded by a token."""

    ONCE = 2
    """Counts, moves or adds, so that twice is not once: never sent again; the caller gets `OutcomeUnknown`."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script, called by its SHA-1; drivers see to it that the server knows it.

    Parameters:
        name: what `Plan.explain` calls it.
        source: the Lua text, in the common subset of 5.1 and 5.4; every key that it touches is in KEYS.
    """

    name: str
    source: str = field(repr=False)
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        # Redis names a cached script by its SHA-1: an address, not a defence.
        sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", sha)

    @classmethod
    def load(cls, name: str) -> Script:
        """Read ``lua/NAME.lua`` of this package; once, when the pattern's module is imported.

        Raises:
            FileNotFoundError: there is no such script.
        """
        source = pkgutil.get_data("redis_patterns_core", f"lua/{name}.lua")
        if source is None:  # only where the package's loader cannot give data at all
            raise FileNotFoundError(f"lua/{name}.lua")
        return cls(name, source.decode())

    def __call__(self, keys: Sequence[str], *args: Argument) -> Command:
        """Give the command that calls this script with its keys and arguments.

        Raises:
            ConfigurationError: keys in different hash slots, which no node of a cluster could serve together.
        """
        if len(keys) > 1 and not in_one_slot(keys):
            raise ConfigurationError(f"keys of {self.name} must be in one hash slot, so they need one hash tag")
        return Command(("EVALSHA", self.sha, len(keys), *keys, *args), self)


@value
class Command:
    """One command, ready for the wire.

    Parameters:
        args: the words, the command's name first.
        script: the script that an EVALSHA calls, so that a driver can send its source where Redis does not know it.
        slot: of a command without keys: the slot whose node is to run it, in a cluster.
    """

    args: tuple[Argument, ...]
    script: Script | None = None
    slot: int | None = None
    wire: bytes | None = field(default=None, init=False, repr=False, compare=False)
    """Its bytes, which a driver may keep here, as a plan may be run again and again."""

    def evaluated(self) -> tuple[Argument, ...]:
        """Give the words of the EVAL that does the same as this EVALSHA, and makes Redis keep the script.

        Raises:
            ConfigurationError: the command calls no script.
        """
        if self.script is None:
            raise ConfigurationError(f"command must call a script to be evaluated, {self!r} does not")
        return ("EVAL", self.script.source, *self.args[2:])

    def explain(self) -> str:
        """Give the command as one would type it into redis-cli; a script's name stands before it as a comment."""
        line = " ".join(_quoted(arg) for arg in self.args)
        return line if self.script is None else f"# {self.script.name}.lua\n{line}"

    def __repr__(self) -> str:
        # Arguments are somebody's data, or a lock's token, and a repr ends up in logs: explain() shows them.
        name = str(self.args[0]) if self.script is None else f"EVALSHA {self.script.name}"
        return f"<Command {name} with {len(self.args) - 1} arguments>"


@value
class Plan(Generic[T_co]):
    """One round trip: the commands to send together, and what their replies mean.

    Two plans are equal when they would send the same. The commands of one plan are not a transaction: what has to be
    atomic is one script.

    Parameters:
        name: what errors and traces call it, such as ``lock.acquire``.
        commands: sent in one write; all of them are answered.
        parse: makes the result of the replies, one for each command, none of them an error; pure.
        effect: what sending the plan twice would do.
        blocks_for: seconds for which the server may keep the answer to the first command back (0 for as long as it
            takes), and with it those to the others, which follow then; or ``None``.
    """

    name: str
    commands: tuple[Command, ...]
    parse: Callable[[Sequence[Reply]], T_co] = field(compare=False)
    effect: Effect = Effect.ONCE
    blocks_for: float | None = None

    def map(self, function: Callable[[T_co], U]) -> Plan[U]:
        """Give a plan that sends the same and applies `function` to the result."""
        parse = self.parse
        return Plan(self.name, self.commands, lambda replies: function(parse(replies)), self.effect, self.blocks_for)

    def explain(self) -> str:
        """Give the redis-cli lines that this plan would send, arguments included: for people, not for logs."""
        return "\n".join(command.explain() for command in self.commands)

    def __iter__(self) -> Generator[Plan[Any], Any, T_co]:
        """Yield the plan itself and return its result: inside a flow, ``value = yield from plan``."""
        value: T_co = yield self
        return value

    def __bool__(self) -> NoReturn:
        """Refuse to be taken for a result.

        Raises:
            TypeError: always; ``if limiter.hit(user):`` would let everybody in.
        """
        raise TypeError(f"{self!r} is not a result yet: a driver has to run it, as in driver.run(...)")

    def __repr__(self) -> str:
        count = len(self.commands)
        return f"<Plan {self.name}, {self.effect.name}, {count} command{'' if count == 1 else 's'}>"


@overload
def batch() -> Plan[tuple[()]]: ...
@overload
def batch(a: Plan[T1], /) -> Plan[tuple[T1]]: ...
@overload
def batch(a: Plan[T1], b: Plan[T2], /) -> Plan[tuple[T1, T2]]: ...
@overload
def batch(a: Plan[T1], b: Plan[T2], c: Plan[T3], /) -> Plan[tuple[T1, T2, T3]]: ...
@overload
def batch(a: Plan[T1], b: Plan[T2], c: Plan[T3], d: Plan[T4], /) -> Plan[tuple[T1, T2, T3, T4]]: ...
@overload
def batch(a: Plan[T1], b: Plan[T2], c: Plan[T3], d: Plan[T4], e: Plan[T5], /) -> Plan[tuple[T1, T2, T3, T4, T5]]: ...
@overload
def batch(
    a: Plan[T1], b: Plan[T2], c: Plan[T3], d: Plan[T4], e: Plan[T5], f: Plan[T6], /
) -> Plan[tuple[T1, T2, T3, T4, T5, T6]]: ...
@overload
def batch(*plans: Plan[U]) -> Plan[tuple[U, ...]]: ...
def batch(*plans: Plan[Any]) -> Plan[tuple[Any, ...]]:
    """Join plans into one that sends all of them in one round trip and gives their results in a tuple.

    The parts stay independent: they are no transaction, and one that Redis refuses does not keep the others from
    running. The batch fails then with the error of the first that failed.

    Parameters:
        plans: in the order of the results; up to six keep their own types, more of them share one.

    Raises:
        ConfigurationError: one of them is no plan, or blocks, which would hold up the others.
    """
    commands: list[Command] = []
    ends: list[int] = []
    for plan in plans:
        if not isinstance(plan, Plan):
            raise ConfigurationError(f"plans must be plans, each one round trip, not {type(plan).__name__}")
        if plan.blocks_for is not None:
            raise ConfigurationError(f"plans must not block, or they hold up their neighbours; {plan!r} does")
        commands += plan.commands
        ends.append(len(commands))
    parsers = [plan.parse for plan in plans]

    def parse(replies: Sequence[Reply]) -> tuple[Any, ...]:
        start = 0
        results: list[Any] = []
        for parser, end in zip(parsers, ends, strict=True):
            results.append(parser(replies[start:end]))
            start = end
        return tuple(results)

    def parse_singly(replies: Sequence[Reply]) -> tuple[Any, ...]:
        return tuple([parser((reply,)) for parser, reply in zip(parsers, replies, strict=True)])

    # Most patterns' plans have one command, and long batches are made of such: they need no slices.
    singly = ends == list(range(1, len(plans) + 1))
    names = [plan.name for plan in plans]
    counted = [name if (count := names.count(name)) == 1 else f"{count} {name}" for name in dict.fromkeys(names)]
    return Plan(
        f"batch({', '.join(counted)})",
        tuple(commands),
        parse_singly if singly else parse,
        max([plan.effect for plan in plans], default=Effect.READS),
    )


def _quoted(arg: Argument) -> str:
    shown = arg if isinstance(arg, bytes) else str(arg).encode()
    plain = shown.decode("ascii", "backslashreplace")
    if plain and plain.isprintable() and not set(plain) & set(" \"'\\"):
        return plain
    escaped = "".join(chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}" for byte in shown)
    return f'"{escaped}"'
