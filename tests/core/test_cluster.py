from __future__ import annotations

import pytest

from redis_patterns import Argument, Command, CommandFailed, ConfigurationError, DecodeError, ErrorReply, Script
from redis_patterns_core.cluster import Journey, Node, Topology, keys_of, no_slots, slot_of
from redis_patterns_core.keys import slot
from redis_patterns_core.retry import MISSING, Incomplete

A, B, C = Node("a", 1), Node("b", 2), Node("c", 3)


def topology() -> Topology:
    return Topology([(0, 5460, A), (5461, 10922, B), (10923, 16383, C)])


def key_in(node: Node) -> str:
    """Give a key whose slot a node has."""
    return next(f"k{number}" for number in range(100) if topology().owner(slot(f"k{number}")) == node)


def get(key: str) -> Command:
    return Command(("GET", key))


@pytest.mark.parametrize(
    ("line", "keys"),
    [
        ("GET a", "a"),
        ("get a", "a"),
        ("SET a 1 EX 5", "a"),
        ("PING", ""),
        ("PING hello", ""),
        ("TIME", ""),
        ("SCRIPT LOAD x", ""),
        ("DEL a b c", "a b c"),
        ("MGET a b", "a b"),
        ("MSET a 1 b 2", "a b"),
        ("BLPOP a b 0", "a b"),
        ("LMOVE a b LEFT RIGHT", "a b"),
        ("ZUNIONSTORE d 2 a b WEIGHTS 1 2", "d a b"),
        ("ZUNION 2 a b", "a b"),
        ("BITOP AND d a b", "d a b"),
        ("EVALSHA sha 2 a b 3", "a b"),
        ("EVAL script 0", ""),
        ("OBJECT ENCODING a", "a"),
        ("XREADGROUP GROUP g c COUNT 1 STREAMS a b > >", "a b"),
        ("XREAD COUNT 1 STREAMS a b 0 0", "a b"),
        ("ZADD a 1 m", "a"),
        ("SOMETHINGNEW a b", "a"),
    ],
)
def test_keys_of_a_command(line: str, keys: str) -> None:
    """Keys are found where each command has them; an unknown command's first argument is its key."""
    args: tuple[Argument, ...] = tuple(line.split())
    assert list(keys_of(Command(args))) == keys.split()


def test_one_slot_or_none() -> None:
    """Keys of one hash tag share a slot; keys of several are refused before anything is sent, and not shown."""
    assert slot_of(Command(("DEL", "{a}1", b"{a}2"))) == slot("a")
    assert slot_of(Command(("PING",))) is None
    assert slot_of(Command(("SCAN", 0), slot=7)) == 7
    with pytest.raises(ConfigurationError, match="hash slot") as caught:
        slot_of(Command(("DEL", "secret-1", "secret-2")))
    assert "secret" not in str(caught.value)


def test_a_script_over_several_slots_is_refused_when_it_is_built() -> None:
    """A script's keys need one hash tag, cluster or not."""
    script = Script("move", "return 1")
    assert script(("{a}1", "{a}2"), 3).args[2:] == (2, "{a}1", "{a}2", 3)
    with pytest.raises(ConfigurationError, match="keys of move must be in one hash slot"):
        script(("a", "b"))


def test_the_map_of_slots() -> None:
    """CLUSTER SLOTS gives primaries; an unknown host is that of the node which was asked."""
    reply = [
        [0, 99, [b"10.0.0.1", 7000, b"id"], [b"10.0.0.9", 7009, b"replica"]],
        [100, 199, [b"", 7001, b"id", [b"hostname", b"x"]]],
        [300, 300, [None, 7002, b"id"]],
        [301, 301, [b"?", 7003]],
    ]
    read = Topology.parse(reply, Node("asked", 1))
    assert read.owner(0) == read.owner(99) == Node("10.0.0.1", 7000)
    assert read.owner(199) == Node("asked", 7001)
    assert read.owner(300) == Node("asked", 7002)
    assert read.owner(200) is None
    assert read.nodes == [Node("10.0.0.1", 7000), Node("asked", 7001), Node("asked", 7002), Node("asked", 7003)]
    assert read.owner(None) in read.nodes
    assert not read.stale
    with pytest.raises(DecodeError):
        Topology.parse(b"OK", A)


def test_a_batch_is_split_and_its_answers_come_in_order() -> None:
    """One leg for each node, and each answer in the place of its command."""
    a, b = key_in(A), key_in(B)
    commands = [get(b), get(a), Command(("PING",)), get(b)]
    known = topology()
    journey = Journey(commands)
    legs = journey.legs(known)
    assert {leg.node: leg.places for leg in legs} == {B: [0, 3], A: [1, 2]}
    for leg in legs:
        journey.landed(leg, Incomplete(answers=list(leg.places)), known)
    assert journey.legs(known) == []
    assert journey.answers() == [0, 1, 2, 3]


def test_moved_is_followed_and_remembered() -> None:
    """The command goes to the node that has the slot now, its neighbours do not go again, and the map is patched."""
    a = key_in(A)
    known = topology()
    journey = Journey([get(a), get(a)])
    (leg,) = journey.legs(known)
    journey.landed(leg, Incomplete(answers=[b"1", ErrorReply("MOVED", f"{slot(a)} c:3")]), known)
    (second,) = journey.legs(known)
    assert (second.node, second.places, second.commands) == (C, [1], [get(a)])
    journey.landed(second, Incomplete(answers=[b"2"]), known)
    assert journey.legs(known) == []
    assert journey.answers() == [b"1", b"2"]
    assert known.owner(slot(a)) == C
    assert known.stale


def test_ask_is_followed_once() -> None:
    """The command goes to the other node behind an ASKING, this once: the map stays as it is."""
    a = key_in(A)
    known = topology()
    journey = Journey([get(a)])
    (leg,) = journey.legs(known)
    journey.landed(leg, Incomplete(answers=[ErrorReply("ASK", f"{slot(a)} :2")]), known)
    (second,) = journey.legs(known)
    assert second.node == Node("a", 2)  # an empty host is that of the node which said so
    assert [command.args[0] for command in second.commands] == ["ASKING", "GET"]
    journey.landed(second, Incomplete(answers=[b"OK", b"value"]), known)
    assert journey.legs(known) == []
    assert journey.answers() == [b"value"]
    assert known.owner(slot(a)) == A
    assert not known.stale


def test_endless_redirects_have_an_end() -> None:
    """After some rounds the refusal is the answer, which proves that nothing ran."""
    a = key_in(A)
    known = topology()
    journey = Journey([get(a)])
    rounds = 0
    while legs := journey.legs(known):
        rounds += 1
        other = "b:2" if legs[0].node == A else "a:1"
        journey.landed(legs[0], Incomplete(answers=[ErrorReply("MOVED", f"{slot(a)} {other}")]), known)
    assert rounds == 6
    with pytest.raises(Incomplete) as caught:
        journey.answers()
    assert not caught.value.sent
    assert [str(answer) for answer in caught.value.answers if isinstance(answer, ErrorReply)]


def test_a_node_that_fails_leaves_the_others_answers() -> None:
    """What one node answered is kept, what the other did not is missing, and the map is doubtful."""
    a, b = key_in(A), key_in(B)
    known = topology()
    journey = Journey([get(a), get(b), get(a)])
    first, second = journey.legs(known)
    journey.landed(first, Incomplete(answers=[b"1", b"3"]), known)
    journey.landed(second, Incomplete("the connection was lost", sent=True), known)
    assert journey.legs(known) == []
    with pytest.raises(Incomplete, match="lost") as caught:
        journey.answers()
    assert caught.value.sent
    assert list(caught.value.answers) == [b"1", MISSING, b"3"]
    assert known.stale


def test_a_slot_that_nobody_has() -> None:
    """Nothing is sent for it, so it may be tried again when somebody has it; the others' answers are kept."""
    known = Topology([(0, 100, A)])
    journey = Journey([get(key_in(C))])
    assert journey.legs(known) == []
    with pytest.raises(Incomplete, match="no node of the cluster has the slot") as caught:
        journey.answers()
    assert not caught.value.sent
    assert known.stale


def test_ranges_may_come_in_any_order() -> None:
    """Each stays where it is, and beside them nobody has a slot."""
    read = Topology([(10, 20, A), (0, 9, B), (16383, 16383, C)])
    assert [read.owner(slot) for slot in (0, 9, 10, 20, 21, 16382, 16383)] == [B, B, A, A, None, None, C]
    assert str(A) == "a:1"


def test_a_server_that_is_no_cluster() -> None:
    """It says so by an error of its own; anything else is trouble for now."""
    refused = no_slots(Incomplete(answers=[ErrorReply("ERR", "This instance has cluster support disabled")]))
    assert isinstance(refused, CommandFailed)
    assert str(refused) == "connect: ERR This instance has cluster support disabled"
    for answers in ([], [ErrorReply("LOADING", "wait")]):
        attempt = Incomplete("reset", sent=True, answers=answers)
        assert no_slots(attempt) is attempt
