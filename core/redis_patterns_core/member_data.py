"""Members' data: what a leaderboard's rows are shown with, such as names and pictures, beside the board.

Promises: it is of members on the board only, and gone with them; rows bring it along in their own round trip.

Keys: ``leaderboard:{NAME}:data``, or behind the key of a part or a period: a hash, that expires with the board.

Source: https://redis.io/docs/latest/develop/data-types/hashes/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Generic, TypeVar

from redis_patterns_core import replies, validate
from redis_patterns_core.boards import MOST_AT_ONCE, members_of, on_board, passed_over, windowed
from redis_patterns_core.codec import Codec, Json
from redis_patterns_core.errors import ConfigurationError, DecodeError
from redis_patterns_core.leaderboards import Leaderboard
from redis_patterns_core.plan import Command, Effect, Plan, Script
from redis_patterns_core.replies import Reply
from redis_patterns_core.standings import Entry, Page, Window

__all__ = ["MemberData"]

T = TypeVar("T")

_DESCRIBE = Script.load("leaderboard_describe")


@dataclass(frozen=True, eq=False)
class MemberData(Generic[T]):
    """The data of a board's members, and rows that come with it.

    Parameters:
        board: whose members they are.
        codec: writes and reads the data; JSON unless another is given. What it cannot read is as if it was not there.

    Raises:
        ConfigurationError: something else than a board.
    """

    board: Leaderboard
    _: KW_ONLY
    codec: Codec[T] = field(default_factory=Json)

    def __post_init__(self) -> None:
        if not isinstance(self.board, Leaderboard):
            raise ConfigurationError(f"board must be a Leaderboard, not {validate.shown(self.board)}")

    def put(self, member: str, data: T) -> Plan[bool]:
        """Keep a member's data, in place of what was kept.

        Parameters:
            member: text, not empty.
            data: what the codec can write.

        Returns:
            A plan of one round trip, in one script, that tells whether the member is on the board; nothing is kept of
            one that is not. Idempotent.

        Raises:
            ConfigurationError: a member that is not allowed.
            EncodeError: the codec cannot write the data.
        """
        return self.put_many({member: data}).map(bool)

    def put_many(self, data: Mapping[str, T]) -> Plan[int]:
        """Keep the data of up to 1000 members, in one script; else as `put`.

        Returns:
            A plan that gives how many of them are on the board.
        """
        words = [word for member in members_of(data) for word in (member, self.codec.encode(data[member]))]
        command = _DESCRIBE(self.board.here().keys[::4], *words)
        return Plan("leaderboard.put_data", (command,), replies.first_integer, Effect.IDEMPOTENT)

    def get(self, member: str) -> Plan[T | None]:
        """Read a member's data; ``None`` where there is none. One round trip.

        Raises:
            ConfigurationError: a member that is not allowed.
        """
        command = Command(("HGET", self.board.here().keys[4], validate.text("member", member)))
        return Plan("leaderboard.data", (command,), lambda answers: self._read(answers[0]), Effect.READS)

    def top(self, count: int = 10) -> Plan[list[tuple[Entry, T | None]]]:
        """Read the first rows and their data, up to 1000; else as `Leaderboard.top`. One round trip, in one script."""
        rows = validate.integer("count", count, least=1, most=MOST_AT_ONCE)
        return windowed(self.board, "top", 0, rows, lambda got: self._rows(on_board(got)), data=True)

    def page(self, number: int, size: int = 10) -> Plan[Page[tuple[Entry, T | None]]]:
        """Read a page of up to 1000 rows and their data; else as `Leaderboard.page`. One round trip, in one script."""
        validate.integer("size", size, least=1, most=MOST_AT_ONCE)

        def read(got: Window | None) -> Page[tuple[Entry, T | None]]:
            return Page(self._rows(on_board(got)), number, size, on_board(got).members)

        return windowed(self.board, "page", passed_over(number, size), size, read, data=True)

    def around(self, member: str, count: int = 5) -> Plan[list[tuple[Entry, T | None]] | None]:
        """Read up to 1000 rows around a member and their data; else as `Leaderboard.around`. One round trip, in one
        script.
        """
        validate.text("member", member)
        validate.integer("count", count, least=1, most=MOST_AT_ONCE)
        return windowed(
            self.board, "around", member, count, lambda got: None if got is None else self._rows(got), data=True
        )

    def _rows(self, got: Window) -> list[tuple[Entry, T | None]]:
        return [(entry, self._read(data)) for entry, data in zip(got.entries, got.data, strict=True)]

    def _read(self, reply: Reply) -> T | None:
        if reply is None:
            return None
        if not isinstance(reply, bytes):
            raise DecodeError(f"expected bytes from Redis, got {type(reply).__name__}")
        try:
            return self.codec.decode(reply)
        except DecodeError:
            return None
