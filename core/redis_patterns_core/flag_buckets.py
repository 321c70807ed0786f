"""Buckets: where a user falls, the same in every process and for all time, and apart in every flag.

The bucket is ``h * buckets >> 64``, where ``h`` is the first 64 bits, big-endian, of BLAKE2b (RFC 7693, 8 bytes of
output) over ``PURPOSE NUL SALT NUL USER`` in UTF-8, without normalisation. Whoever needs the same answer in another
language needs no more than this. That multiplication has no bias worth the name, which a remainder has; the purpose,
``rollout`` or ``variant``, keeps who is in apart from what they get; and CRC-32, which others use, would not do: two
flags' values differ by the same bits for all users of names equally long, so that their rollouts meet the same people.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Literal, TypeAlias

__all__ = ["POINTS", "Purpose", "bounds", "bucket", "digest", "seed"]

POINTS = 100_000
"""Buckets of a rollout: each is a thousandth of a percent."""

Purpose: TypeAlias = Literal["rollout", "variant"]

_ALL = b"\xff" * 9


def seed(purpose: Purpose, salt: str) -> bytes:
    """Give what is hashed before the user."""
    return f"{purpose}\0{salt}\0".encode()


def digest(seed: bytes, user: str) -> bytes:
    """Give the 64 bits of a user; they compare as the numbers that they are.

    Raises:
        UnicodeEncodeError: UTF-8 cannot write the user's name.
    """
    return blake2b(seed + user.encode(), digest_size=8).digest()


def bucket(purpose: Purpose, salt: str, user: str, buckets: int = POINTS) -> int:
    """Give a user's bucket, from 0 on."""
    return int.from_bytes(digest(seed(purpose, salt), user), "big") * buckets >> 64


def bounds(sizes: Sequence[int]) -> list[bytes]:
    """Give where each of several neighbours ends that share all buckets: the least 64 bits that are not in it any more.

    The last one has no end. Made once, so that an evaluation compares bytes and calculates nothing.
    """
    total, reached = sum(sizes), 0
    ends: list[bytes] = []
    for size in sizes[:-1]:
        reached += size
        # The least h with h * total >> 64 >= reached. Where nothing is left for the rest, more than 64 bits can be.
        ends.append((-(-(reached << 64) // total)).to_bytes(8, "big") if reached < total else _ALL)
    return ends
