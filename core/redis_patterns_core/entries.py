"""Entries: how a cache's value lies in Redis, in one string.

A header of 44 characters stands before the value: kind, epoch (16 hexadecimal digits), until when it is somebody's to
load (13 digits, milliseconds since the epoch by the server's clock), what it cost to load (7 digits, milliseconds; all
of them 9 once it was invalidated softly, as its cost is of no use then), and the lengths of the codec's name (2 digits)
and of the tags (5 digits), both of which follow it. Bytes that do not begin so are no entry: they count as a miss.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import field

from redis_patterns_core.errors import DecodeError
from redis_patterns_core.value import value

__all__ = ["Stored", "new_epoch"]

_HEADER = re.compile(rb"([VLWFX])([0-9a-f]{16})(\d{13})(?:(\d{7})(\d\d)(\d{5}))?", re.ASCII)
_MOST_COST = 9_999_998
"""Milliseconds; one more says that the value was invalidated softly."""


def new_epoch() -> str:
    """Make what tells one content of an entry from all others: 64 random bits as text."""
    return secrets.token_hex(8)


@value
class Stored:
    """A value as it lies in Redis.

    Parameters:
        epoch: tells this content from all others.
        cost: seconds that it took to load.
        codec: the name of what wrote the payload.
        tags: the ids that its tags had before it was loaded.
        payload: what the codec wrote.
    """

    epoch: str
    cost: float
    codec: str
    tags: Mapping[str, str]
    payload: bytes = field(repr=False)

    def pack(self) -> bytes:
        """Give the bytes of the entry."""
        codec = self.codec.encode()
        tags = json.dumps(self.tags, separators=(",", ":")).encode() if self.tags else b""
        cost = min(round(self.cost * 1000), _MOST_COST)
        head = f"V{self.epoch}{0:013d}{cost:07d}{len(codec):02d}{len(tags):05d}"
        return b"".join((head.encode(), codec, tags, self.payload))

    @classmethod
    def unpack(cls, data: bytes) -> Stored | None:
        """Read an entry; ``None`` where it is a lease.

        Raises:
            DecodeError: these bytes are no entry.
        """
        found = _HEADER.match(data)
        if found is None:
            raise DecodeError(f"expected an entry of a cache, got {len(data)} bytes that are none")
        kind, epoch, _, cost, codec_length, tags_length = found.groups()
        if kind != b"V":
            return None
        if cost is None:
            raise DecodeError(f"expected an entry of a cache, got {len(data)} bytes that end in its header")
        tags_at = found.end() + int(codec_length)
        payload_at = tags_at + int(tags_length)
        try:
            codec = data[found.end() : tags_at].decode()
            tags: Mapping[str, str] = json.loads(data[tags_at:payload_at]) if payload_at > tags_at else {}
        except ValueError:
            raise DecodeError("expected an entry of a cache, got one with a damaged header") from None
        return cls(epoch.decode(), int(cost) / 1000, codec, tags, data[payload_at:])
