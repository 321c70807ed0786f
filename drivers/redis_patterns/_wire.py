"""RESP on hiredis: commands in, bytes out; bytes in, raw replies out. No socket.

Replies are never decoded, and an error is a value among them (`ErrorReply`), so that one refused command does not hide
what the others of the same write answered.

`Wire` is the conversation of one shared connection: requests of many callers go out joined, their replies come back in
order. A caller that stops waiting leaves its place in the order: its replies are read and dropped, and the connection
stays in step.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

import hiredis

from redis_patterns_core.plan import Argument, Command
from redis_patterns_core.replies import ErrorReply, Reply
from redis_patterns_core.retry import Incomplete

W = TypeVar("W")

NOT_ENOUGH = object()
"""What a reader's ``gets`` gives when the next reply has not arrived completely; `False` is a reply in RESP3."""

PROTOCOL_ERRORS = (hiredis.ProtocolError, TypeError)
"""What a reader raises on garbage, a map with a list as a key included; it is of no use afterwards."""

PushNotification = hiredis.PushNotification
_MOST_KEPT = 4096
"""Bytes of a command that are kept with it."""


def pack(args: tuple[Argument, ...]) -> bytes:
    """Give the bytes of a command's words."""
    # hiredis crashes where a signal's handler raises while it makes text of a number; Python does not.
    for arg in args:
        if arg.__class__ is not str and arg.__class__ is not bytes:
            return hiredis.pack_command(tuple([one if isinstance(one, (str, bytes)) else str(one) for one in args]))
    return hiredis.pack_command(args)


def new_reader() -> hiredis.Reader:
    """Make a reader of raw replies."""
    return hiredis.Reader(replyError=ErrorReply.parse, notEnoughData=NOT_ENOUGH)


def packed(command: Command, known: set[str]) -> bytes:
    """Give a command's bytes.

    Parameters:
        command: what to send.
        known: the SHA-1s of the scripts that this connection has sent before; a script that is not among them goes out
            as EVAL, which makes the server keep it, and is added.
    """
    script = command.script
    if script is None or script.sha in known:
        return command.wire or _kept(command)
    known.add(script.sha)
    return pack(command.evaluated())


def joined(commands: Sequence[Command], known: set[str]) -> bytes:
    """Give the bytes of several commands; see `packed`."""
    # Without a call for those that were sent before, which long batches are made of.
    return b"".join([(command.script is None and command.wire) or packed(command, known) for command in commands])


def _kept(command: Command) -> bytes:
    data = pack(command.args)
    if len(data) <= _MOST_KEPT:
        command.wire = data  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  no part of its value
    return data


class Request(Generic[W]):
    """Commands of one caller, on their way.

    Parameters:
        data: their bytes.
        count: how many replies they get.
        waiter: what the driver wakes when the replies are there; the wire does not look at it.
    """

    __slots__ = ("abandoned", "answers", "data", "missing", "sent", "sent_at", "waiter")

    def __init__(self, data: bytes, count: int, waiter: W) -> None:
        self.data: bytes = data
        self.missing: int = count
        self.waiter: W = waiter
        self.answers: list[Reply] = []
        self.sent: bool = False
        self.sent_at: float = 0.0
        self.abandoned: bool = False

    def incomplete(self, reason: str) -> Incomplete:
        """Give the outcome of this request when its connection has failed."""
        return Incomplete(reason, sent=self.sent, answers=self.answers)


class Wire(Generic[W]):
    """The conversation of one connection; tells the driver what to write, and whose replies have come.

    It ends with the first garbage from the server: what follows could be anybody's reply.
    """

    def __init__(self) -> None:
        self.known: set[str] = set()
        self._reader = new_reader()
        self._queued: list[Request[W]] = []
        self._sent: deque[Request[W]] = deque()
        self.bytes_queued: int = 0

    @property
    def oldest(self) -> Request[W] | None:
        """The request whose reply is due next."""
        return self._sent[0] if self._sent else None

    def waiting(self) -> Iterator[Request[W]]:
        """Give the requests that are not answered, in order; those whose callers have left included."""
        return itertools.chain(self._sent, self._queued)

    def __len__(self) -> int:
        """Count the requests that are not answered, those of callers that have left included."""
        return len(self._queued) + len(self._sent)

    def add(self, commands: Sequence[Command], waiter: W) -> Request[W]:
        """Queue commands to be sent with the next write.

        Raises:
            UnicodeEncodeError: an argument that UTF-8 cannot write; nothing was queued.
        """
        known = self.known
        try:
            data = packed(commands[0], known) if len(commands) == 1 else joined(commands, known)
        except BaseException:
            known.clear()  # the source of a script may have been packed, and will not be sent
            raise
        request = Request(data, len(commands), waiter)
        self._queued.append(request)
        self.bytes_queued += len(data)
        return request

    def to_write(self, now: float) -> bytes:
        """Give what is queued, joined, and count it as sent from now on: a failing write tells not how much of it left.

        Requests that were abandoned before are left out, so nothing of them happens.

        Parameters:
            now: the time, for the requests' ``sent_at``.
        """
        queued, self._queued, self.bytes_queued = self._queued, [], 0
        if len(queued) == 1 and not queued[0].abandoned:
            request = queued[0]
            request.sent = True
            request.sent_at = now
            self._sent.append(request)
            return request.data
        leaving = [request for request in queued if not request.abandoned]
        if len(leaving) < len(queued):
            self.known.clear()  # the source of a script may have been among what is left out
        for request in leaving:
            request.sent = True
            request.sent_at = now
        self._sent.extend(leaving)
        return b"".join([request.data for request in leaving])

    def received(self, buffer: bytearray | bytes | memoryview, count: int) -> list[Request[W]]:
        """Take in bytes from the server.

        Parameters:
            buffer, count: the bytes are the first `count` of the buffer.

        Returns:
            The requests that now have all their answers, in order, the abandoned ones included.

        Raises:
            Incomplete: garbage, or a reply that nobody waits for; the connection has to be closed.
        """
        done: list[Request[W]] = []
        gets, sent = self._reader.gets, self._sent
        try:
            self._reader.feed(buffer, 0, count)
            while sent:
                request = sent[0]
                missing, append = request.missing, request.answers.append
                while missing and (reply := gets()) is not NOT_ENOUGH:
                    if type(reply) is not PushNotification:
                        append(reply)
                        missing -= 1
                request.missing = missing
                if missing:
                    return done
                done.append(sent.popleft())
            while (reply := gets()) is not NOT_ENOUGH:
                if type(reply) is not PushNotification:
                    raise Incomplete("the server sent a reply that nobody had asked for")
        except PROTOCOL_ERRORS as error:
            raise Incomplete(f"the server sent what is no RESP: {error}") from error
        return done

    def fail(self) -> list[Request[W]]:
        """Give all requests without complete answers, in order, and forget them: their connection is gone."""
        lost = [*self._sent, *self._queued]
        self._sent.clear()
        self._queued, self.bytes_queued = [], 0
        return lost
