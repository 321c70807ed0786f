"""What is said of sessions: the values that `Sessions` gives, how they are read, and what their ids are made of."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from redis_patterns_core import replies
from redis_patterns_core.codec import Json
from redis_patterns_core.errors import ConfigurationError
from redis_patterns_core.replies import Reply
from redis_patterns_core.value import value

__all__ = [
    "SUPERSEDED",
    "Device",
    "Session",
    "Superseded",
    "described",
    "digest",
    "handle_of",
    "place_of",
    "read_device",
]


class Superseded:
    """The kind of `SUPERSEDED`."""

    def __repr__(self) -> str:
        return "SUPERSEDED"

    def __reduce__(self) -> str:
        return "SUPERSEDED"  # a copy is the same


SUPERSEDED = Superseded()
"""What `Sessions.look` gives for an id that was replaced lately: no session, but its client may have the new one."""


@value
class Session:
    """A session, as it was when it was read.

    Parameters:
        id: what its cookie has: a secret.
        user: whose it is; ``None`` of a visitor who has not logged in.
        data: what it holds.
        created_at: in seconds since the epoch, by the server's clock.
        seen_at: when it was accessed last, this time included, to the second.
        ends_at: when it ends unless it is accessed.
        version: grows with each change.
        device: what was said of the device when it was created.
        renewal_due: whether it is time to give it another id, see `Sessions.renew`.
    """

    id: str = field(repr=False)
    user: str | None
    data: Mapping[str, Any] = field(repr=False)
    created_at: float
    seen_at: float
    ends_at: float
    version: int
    device: Mapping[str, str] = field(repr=False)
    renewal_due: bool = False

    @property
    def handle(self) -> str:
        """What names it to its user, and may be shown and logged: it opens nothing."""
        return handle_of(self.id)


@value
class Device:
    """One of a user's sessions, for a list of devices.

    Parameters:
        handle: what `Sessions.revoke` takes.
        created_at, seen_at, ends_at: as of a `Session`.
        about: what was said of the device when the session was created.
    """

    handle: str
    created_at: float
    seen_at: float
    ends_at: float
    about: Mapping[str, str] = field(repr=False)


def place_of(user: str) -> str:
    """Give where the sessions of a user lie: what the ids of all of them begin with."""
    return digest(f"user:{user}")[:16]


def digest(text: str) -> str:
    """Give the SHA-256 of a text, in the letters of a key."""
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def handle_of(id: str) -> str:
    """Give the part of an id that names the session and is no secret."""
    return id[16:32]


def described(device: Mapping[str, str] | None) -> dict[str, str]:
    """Give what is said of a device.

    Raises:
        ConfigurationError: something that is no text.
    """
    about = dict(device or {})
    if not all(isinstance(part, str) for pair in about.items() for part in pair):
        raise ConfigurationError("device must be texts by their names")
    return about


def read_device(handle: str, ends: int, reply: Reply) -> Device | None:
    """Read what a session's hash has for a list of devices; ``None`` where there is none any more."""
    created, seen, about = replies.array(reply, 3)
    if created is None:
        return None  # ended meanwhile, or evicted
    known: Mapping[str, str] = Json().decode(replies.text(about).encode())
    return Device(handle, replies.number(created) / 1000, replies.number(seen) / 1000, ends / 1000, known)
