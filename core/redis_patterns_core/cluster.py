"""Redis Cluster: which node a command goes to, and where it goes next when that node says so. No I/O.

A driver asks a `Journey` for its legs, sends each to its node, and hands back what came of it, until it is over.

Source: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from redis_patterns_core import replies
from redis_patterns_core.errors import CommandFailed, ConfigurationError
from redis_patterns_core.keys import slot
from redis_patterns_core.plan import Argument, Command
from redis_patterns_core.replies import ErrorReply, Reply
from redis_patterns_core.retry import MISSING, Incomplete

__all__ = ["Journey", "Leg", "Node", "Topology", "keys_of", "no_slots", "slot_of"]

_MOST_ROUNDS = 6
"""A command that is sent on more often than this is left to the backoff of its plan."""

_SLOTS = 16384
_ASKING = Command(("ASKING",))


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


_WITHOUT_KEY = _names(
    "ACL AUTH BGREWRITEAOF BGSAVE CLIENT CLUSTER COMMAND CONFIG DBSIZE DEBUG ECHO FLUSHALL FLUSHDB FUNCTION HELLO INFO "
    "KEYS LASTSAVE LATENCY LOLWUT MODULE MONITOR PING PUBLISH PUBSUB RANDOMKEY READONLY READWRITE REPLICAOF ROLE SAVE "
    "SCAN SCRIPT SELECT SHUTDOWN SLOWLOG SWAPDB TIME WAIT WAITAOF"
)
_ALL = _names(
    "DEL EXISTS MGET PFCOUNT PFMERGE SDIFF SDIFFSTORE SINTER SINTERSTORE SUNION SUNIONSTORE TOUCH UNLINK WATCH"
)
_ALL_BUT_LAST = _names("BLPOP BRPOP BZPOPMAX BZPOPMIN")
_EVERY_SECOND = _names("MSET MSETNX")
_FIRST_TWO = _names("BLMOVE BRPOPLPUSH COPY GEOSEARCHSTORE LCS LMOVE RENAME RENAMENX RPOPLPUSH SMOVE ZRANGESTORE")
_SECOND = _names("MEMORY OBJECT XGROUP XINFO")
_COUNTED = {  # by the place where the number of keys stands
    **dict.fromkeys(_names("LMPOP SINTERCARD ZDIFF ZINTER ZINTERCARD ZMPOP ZUNION"), 1),
    **dict.fromkeys(_names("BLMPOP BZMPOP EVAL EVALSHA EVAL_RO EVALSHA_RO FCALL FCALL_RO"), 2),
}
_STORED = _names("ZDIFFSTORE ZINTERSTORE ZUNIONSTORE")


@dataclass(frozen=True, slots=True)
class Node:
    """A server of the cluster.

    Parameters:
        host, port: where it listens.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str, asked: Node) -> Node:
        """Read ``host:port``, as MOVED gives it; an empty host is that of the node which was asked."""
        host, _, port = text.rpartition(":")
        return cls(host or asked.host, int(port))


class Topology:
    """Which node has which slot; patched as nodes tell of moves.

    Parameters:
        ranges: the first slot, the last slot, and the primary that has them.
    """

    def __init__(self, ranges: Iterable[tuple[int, int, Node]]) -> None:
        self._owners: list[Node | None] = [None] * _SLOTS
        for first, last, node in ranges:
            self._owners[first : last + 1] = [node] * (last + 1 - first)
        self.stale: bool = False
        """Whether a node has said that something is elsewhere now, or could not be reached."""

    @classmethod
    def parse(cls, reply: Reply, asked: Node) -> Topology:
        """Read the reply to CLUSTER SLOTS.

        Parameters:
            reply: as it came.
            asked: the node that gave it, whose host stands for an unknown one.

        Raises:
            DecodeError: something else.
        """
        ranges: list[tuple[int, int, Node]] = []
        for row in replies.array(reply):
            first, last, primary, *_ = replies.array(row)
            host, port, *_ = replies.array(primary)
            name = "" if host is None else replies.text(host)
            node = Node(asked.host if name in {"", "?"} else name, replies.integer(port))
            ranges.append((replies.integer(first), replies.integer(last), node))
        return cls(ranges)

    @property
    def nodes(self) -> list[Node]:
        """The primaries, each once."""
        return list(dict.fromkeys(node for node in self._owners if node is not None))

    def owner(self, slot: int | None) -> Node | None:
        """Give the node of a slot, or any node for ``None``; ``None`` when nobody has it."""
        if slot is None:
            return next((node for node in self._owners if node is not None), None)
        return self._owners[slot]

    def move(self, slot: int, node: Node) -> None:
        """Note that a slot is elsewhere now; others have moved too, probably."""
        self._owners[slot] = node
        self.stale = True


def no_slots(attempt: Incomplete) -> Incomplete | CommandFailed:
    """Give what it means that CLUSTER SLOTS was not answered: trouble for now, or a server that is no cluster."""
    for answer in attempt.answers:
        if isinstance(answer, ErrorReply) and answer.code == "ERR":
            return CommandFailed("connect", answer.code, answer.message)
    return attempt


def keys_of(command: Command) -> Sequence[Argument]:
    """Give the keys of a command.

    What is not known takes its first argument for its one key, as most commands of Redis do.
    """
    args = command.args
    name = str(args[0]).upper()
    if name in _WITHOUT_KEY or len(args) == 1:
        return ()
    if name in _COUNTED:
        at = _COUNTED[name]
        return args[at + 1 : at + 1 + int(args[at])]
    if name in _ALL:
        return args[1:]
    if name in _ALL_BUT_LAST:
        return args[1:-1]
    if name in _EVERY_SECOND:
        return args[1::2]
    if name in _FIRST_TWO:
        return args[1:3]
    if name in _SECOND:
        return args[2:3]
    if name in _STORED:
        return (args[1], *args[3 : 3 + int(args[2])])
    if name == "BITOP":
        return args[2:]
    if name in {"XREAD", "XREADGROUP"}:
        words = [str(arg).upper() for arg in args]
        streams = args[words.index("STREAMS") + 1 :]
        return streams[: len(streams) // 2]
    return args[1:2]


def slot_of(command: Command) -> int | None:
    """Give the slot of a command's keys, or the one that it names, or ``None`` for neither.

    Raises:
        ConfigurationError: its keys are in different slots, so that no node could run it.
    """
    keys = keys_of(command)
    if not keys:
        return command.slot
    slots = {slot(key if isinstance(key, bytes) else str(key)) for key in keys}
    if len(slots) > 1:
        raise ConfigurationError(
            f"command must have all its keys in one hash slot to run on a cluster; {command!r} has {len(keys)} keys in "
            f"{len(slots)} slots: give them one hash tag, as in {{tag}}"
        )
    return slots.pop()


@dataclass(slots=True)
class Leg:
    """What goes to one node in one write.

    Parameters:
        node: where to.
        commands: what to send, the ASKING before a command that another node has sent on included.
        places: for each of them its place among the plan's commands, or ``None`` for an ASKING.
    """

    node: Node
    commands: list[Command] = field(default_factory=list[Command])
    places: list[int | None] = field(default_factory=list[int | None])


class Journey:
    """Commands on their way to the nodes that have their slots.

    Parameters:
        commands: in the order of the answers.

    Raises:
        ConfigurationError: a command whose keys are in different slots; nothing was sent.
    """

    def __init__(self, commands: Sequence[Command]) -> None:
        self._commands = commands
        self._slots = [slot_of(command) for command in commands]
        self._asked: dict[int, Node] = {}
        self._pending: list[int] = list(range(len(commands)))
        self._answers: list[Reply] = [MISSING] * len(commands)
        self._rounds = 0
        self._failure: Incomplete | None = None
        self._sent = False

    def legs(self, topology: Topology) -> list[Leg]:
        """Give what to send now: one leg for each node; none when the journey is over."""
        legs: dict[Node, Leg] = {}
        pending, self._pending = self._pending, []
        if self._failure is not None or self._rounds >= _MOST_ROUNDS:
            return []
        self._rounds += 1
        for place in pending:
            asked = self._asked.pop(place, None)
            node = asked or topology.owner(self._slots[place])
            if node is None:
                topology.stale = True
                self._failure = Incomplete(f"no node of the cluster has the slot {self._slots[place]}")
                continue
            leg = legs.setdefault(node, Leg(node))
            if asked is not None:
                leg.commands.append(_ASKING)
                leg.places.append(None)
            leg.commands.append(self._commands[place])
            leg.places.append(place)
        return list(legs.values())

    def landed(self, leg: Leg, attempt: Incomplete, topology: Topology) -> None:
        """Take in what came of a leg.

        Parameters:
            leg: one of `legs`.
            attempt: its answers, and what went wrong.
            topology: is told of what has moved.
        """
        for place, answer in zip(leg.places, attempt.answers, strict=False):
            if place is None:
                continue
            self._answers[place] = answer
            if isinstance(answer, ErrorReply) and answer.code in {"MOVED", "ASK"}:
                slot_text, _, address = answer.message.partition(" ")
                node = Node.parse(address.split(" ")[0], leg.node)
                if answer.code == "MOVED":
                    topology.move(int(slot_text), node)
                else:
                    self._asked[place] = node
                self._pending.append(place)
        if len(attempt.answers) < len(leg.commands):
            topology.stale = True
            self._failure = attempt
            self._sent = self._sent or attempt.sent

    def answers(self) -> Sequence[Reply]:
        """Give one answer for each command, when there are no more legs.

        Raises:
            Incomplete: some have none, or an error.
        """
        if self._failure is not None:
            raise Incomplete(self._failure.reason, sent=self._sent, answers=self._answers) from self._failure
        if any(isinstance(answer, ErrorReply) for answer in self._answers):
            raise Incomplete(answers=self._answers)
        return self._answers
