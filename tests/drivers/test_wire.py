"""The wire without a socket: bytes in, replies out."""

from __future__ import annotations

import random

import hiredis
import pytest

from redis_patterns import Command, ErrorReply, Script
from redis_patterns._wire import Request, Wire, joined, packed
from redis_patterns_core.retry import Incomplete


def get(key: str) -> Command:
    return Command(("GET", key))


def said(wire: Wire[str], data: bytes) -> list[Request[str]]:
    return wire.received(data, len(data))


def test_requests_of_many_go_out_joined_and_replies_come_in_order() -> None:
    """One write holds all that is queued; each request is over when it has all its replies."""
    wire: Wire[str] = Wire()
    first = wire.add([get("a"), get("b")], "first")
    second = wire.add([get("c")], "second")
    assert (len(wire), wire.bytes_queued, wire.oldest) == (2, 60, None)
    assert wire.to_write(7.0) == b"".join(hiredis.pack_command(("GET", key)) for key in "abc")
    assert (first.sent, first.sent_at, wire.oldest, wire.bytes_queued) == (True, 7.0, first, 0)
    assert said(wire, b"$1\r\n1\r\n") == []
    assert said(wire, b"$-1\r\n:3\r\n") == [first, second]
    assert (first.answers, second.answers) == ([b"1", None], [3])
    assert (len(wire), wire.oldest) == (0, None)


def test_nothing_is_written_twice() -> None:
    """What was given out is not queued any more."""
    wire: Wire[str] = Wire()
    wire.add([get("a")], "")
    assert wire.to_write(0)
    assert wire.to_write(0) == b""


@pytest.mark.parametrize("seed", range(20))
def test_replies_in_any_pieces(seed: int) -> None:
    """However the bytes are cut, the replies are the same, of every kind that RESP2 and RESP3 have."""
    replies: list[tuple[bytes, object]] = [
        (b"+OK\r\n", b"OK"),
        (b":-7\r\n", -7),
        (b"$0\r\n\r\n", b""),
        (b"$-1\r\n", None),
        (b"*-1\r\n", None),
        (b"_\r\n", None),
        (b"#f\r\n", False),
        (b"#t\r\n", True),
        (b",1.5\r\n", 1.5),
        (b",inf\r\n", float("inf")),
        (b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n", [b"a", [1]]),
        (b"%1\r\n$1\r\nk\r\n:1\r\n", {b"k": 1}),
        (b"~1\r\n$1\r\nx\r\n", [b"x"]),
        (b"(12345678901234567890\r\n", b"12345678901234567890"),  # Redis sends none of these
        (b"=7\r\ntxt:abc\r\n", b"abc"),
        (b"-ERR no\r\n", ErrorReply("ERR", "no")),
        (b"*1\r\n-WRONGTYPE in a list\r\n", [ErrorReply("WRONGTYPE", "in a list")]),
        (b"$4\r\n\r\n\r\n\r\n", b"\r\n\r\n"),
    ]
    chance = random.Random(seed)
    chance.shuffle(replies)
    wire: Wire[str] = Wire()
    request = wire.add([get("x")] * len(replies), "")
    wire.to_write(0)
    data = b"".join(line for line, _ in replies)
    done: list[Request[str]] = []
    while data:
        size = chance.randint(1, 9)
        done += said(wire, data[:size])
        data = data[size:]
    assert done == [request]
    assert [(type(answer), answer) for answer in request.answers] == [(type(value), value) for _, value in replies]


def test_push_messages_are_nobodys_reply() -> None:
    """Frames that the server sends by itself are put aside, wherever they come."""
    wire: Wire[str] = Wire()
    push = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"
    assert said(wire, push) == []
    request = wire.add([get("a"), get("b")], "")
    wire.to_write(0)
    assert said(wire, b":1\r\n" + push + b":2\r\n" + push) == [request]
    assert request.answers == [1, 2]


def test_a_caller_that_leaves_before_its_bytes_do() -> None:
    """What was not sent yet is not sent at all."""
    wire: Wire[str] = Wire()
    leaving, staying = wire.add([get("a")], ""), wire.add([get("b")], "")
    leaving.abandoned = True
    assert wire.to_write(0) == hiredis.pack_command(("GET", "b"))
    assert not leaving.sent
    assert said(wire, b":2\r\n") == [staying]


def test_a_caller_that_leaves_after_its_bytes_have() -> None:
    """Its place in the order stays, and its reply goes to nobody else."""
    wire: Wire[str] = Wire()
    leaving, staying = wire.add([get("a")], ""), wire.add([get("b")], "")
    wire.to_write(0)
    leaving.abandoned = True
    assert said(wire, b":1\r\n:2\r\n") == [leaving, staying]
    assert staying.answers == [2]


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 400\r\n", b"\0", b":x\r\n", b"%1\r\n*0\r\n:1\r\n", b"$99999999999\r\n"])
def test_garbage_is_the_end(garbage: bytes) -> None:
    """After it no byte is believed: the connection has failed, and so has what comes later."""
    wire: Wire[str] = Wire()
    wire.add([get("a")], "")
    wire.to_write(0)
    if garbage.startswith(b"$"):
        assert said(wire, garbage) == []  # a reply that would be very long: not wrong yet, and never complete
        return
    with pytest.raises(Incomplete, match="no RESP"):
        said(wire, garbage)


def test_a_reply_that_nobody_asked_for() -> None:
    """It is the end too: the order is lost."""
    wire: Wire[str] = Wire()
    with pytest.raises(Incomplete, match="nobody had asked"):
        said(wire, b":1\r\n")


def test_what_a_failed_connection_leaves() -> None:
    """Each request tells whether a byte of it left, and what was answered before."""
    wire: Wire[str] = Wire()
    answered = wire.add([get("a"), get("b")], "")
    wire.to_write(0)
    said(wire, b":1\r\n")
    unsent = wire.add([get("c")], "")
    assert wire.fail() == [answered, unsent]
    assert len(wire) == 0
    outcomes = [request.incomplete("gone") for request in (answered, unsent)]
    assert [(outcome.sent, list(outcome.answers), outcome.reason) for outcome in outcomes] == [
        (True, [1], "gone"),
        (False, [], "gone"),
    ]


def test_a_script_goes_out_whole_once() -> None:
    """The first use on a connection carries the source, later ones the SHA-1."""
    script = Script("s", "return 1")
    wire: Wire[str] = Wire()
    wire.add([script(("k",)), script(("k",))], "")
    data = wire.to_write(0)
    assert (data.count(b"EVAL\r\n"), data.count(b"EVALSHA"), data.count(b"return 1")) == (1, 1, 1)


def test_an_argument_that_cannot_be_packed_queues_nothing() -> None:
    """The request fails as a whole, and a script that did not leave does not count as known."""
    wire: Wire[str] = Wire()
    script = Script("s", "return 1")
    with pytest.raises(UnicodeEncodeError):
        wire.add([script(("k",)), get("\ud800")], "")
    assert (len(wire), wire.to_write(0)) == (0, b"")
    wire.add([script(("k",))], "")
    assert b"return 1" in wire.to_write(0)


def test_a_command_keeps_its_bytes() -> None:
    """So that a plan that is run again is not packed again; what is long is not kept twice."""
    script = Script("x", "return 1")
    short, calls, long = Command(("SET", "k", 1)), script(["k"], 2), Command(("SET", "k", b"x" * 5000))
    first = [packed(short, {script.sha}), packed(calls, {script.sha}), packed(long, set())]
    assert (short.wire, calls.wire, long.wire) == (first[0], first[1], None)
    assert [packed(short, set()), packed(calls, {script.sha}), packed(long, set())] == first
    assert joined([short, calls, long], {script.sha}) == b"".join(first)
    assert packed(calls, set()).startswith(b"*5\r\n$4\r\nEVAL\r\n"), "and then it goes out with its source"
    assert short == Command(("SET", "k", 1))
    assert hash(short) == hash(Command(("SET", "k", 1)))
    assert "wire" not in repr(short)
