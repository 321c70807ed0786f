"""Key names: ``[namespace:]kind:{name}:part``.

What stands between the braces is the hash tag: Redis Cluster places a key by it alone, so all keys of one script share
one tag. A user's text is escaped so that it can neither close the tag nor be taken for another key:

    >>> key("lock", "order:123")
    'lock:{order:123}'
    >>> key("bucket", "api", "alice", namespace="shop")
    'shop:bucket:{api:alice}'
    >>> key("lock", "a}b{c")
    'lock:{a%7Db%7Bc}'

Source: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from typing import overload

__all__ = ["Keys", "escape_glob", "in_one_slot", "key", "slot"]

_BRACES = str.maketrans({"%": "%25", "{": "%7B", "}": "%7D"})
_COMPONENT = str.maketrans({"%": "%25", "{": "%7B", "}": "%7D", ":": "%3A"})
_SPECIAL = re.compile(r"([*?\[\]\\])")
_SLOTS = 16384


def key(kind: str, *names: str, part: str = "", namespace: str = "") -> str:
    """Build a key.

    Parameters:
        kind: the pattern's word, such as ``lock``.
        names: the user's texts that make the hash tag; in all but the last ``:`` is escaped, so that no two lists of
            names make the same key.
        part: what tells apart the keys of one pattern, the pattern's own word.
        namespace: the user's prefix, outside the tag; escaped like a name that is not the last.
    """
    *outer, last = names
    return Keys(kind, *outer, part=part, namespace=namespace)(last)


class Keys:
    """The keys of a pattern that has one for every id: built once, it makes each of them cheaply.

        >>> Keys("bucket", "api", namespace="shop")("alice")
        'shop:bucket:{api:alice}'

    Parameters:
        kind, names, part, namespace: as for `key`, without the last of the names.
    """

    __slots__ = ("_before", "_behind")

    def __init__(self, kind: str, *names: str, part: str = "", namespace: str = "") -> None:
        outside = f"{namespace.translate(_COMPONENT)}:" if namespace else ""
        inside = "".join(f"{name.translate(_COMPONENT)}:" for name in names)
        self._before = f"{outside}{kind}:{{{inside}"
        self._behind = f"}}:{part}" if part else "}"

    def __call__(self, id: str) -> str:
        """Give the key of one id."""
        if "{" in id or "}" in id or "%" in id:
            id = id.translate(_BRACES)
        return self._before + id + self._behind


def escape_glob(literal: str) -> str:
    """Escape a text so that a glob pattern of SCAN matches it literally."""
    return _SPECIAL.sub(r"\\\1", literal)


def slot(key: str | bytes) -> int:
    """Give the Redis Cluster slot of a key, 0 to 16383: CRC16 (XMODEM) of its hash tag, or of all of it."""
    return binascii.crc_hqx(_tag(key.encode() if isinstance(key, str) else key), 0) % _SLOTS


def in_one_slot(keys: Sequence[str]) -> bool:
    """Tell whether one node of a cluster has all these keys, as those with one hash tag are sure to be."""
    return len({_tag(key) for key in keys}) <= 1 or len({slot(key) for key in keys}) <= 1


@overload
def _tag(key: str) -> str: ...
@overload
def _tag(key: bytes) -> bytes: ...
def _tag(key: str | bytes) -> str | bytes:
    """Give what is between the first brace and the next that closes, or all of it where that is nothing."""
    if isinstance(key, str):
        start = key.find("{") + 1
        end = key.find("}", start)
    else:
        start = key.find(b"{") + 1
        end = key.find(b"}", start)
    return key[start:end] if 0 < start < end else key
