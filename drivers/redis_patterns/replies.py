"""Readers of replies, for plans of your own: each takes what either protocol makes of a reply, and nothing else.

    Plan("views", (Command(("INCR", "views")),), replies.first_integer, Effect.ONCE)

A reply is ``None``, ``bool``, ``int``, ``float``, ``bytes``, a ``list``, a ``set`` or a ``dict``; an error that Redis
answered with is a `redis_patterns.ErrorReply`.
"""

from __future__ import annotations

from redis_patterns_core.replies import (
    acknowledged,
    array,
    first,
    first_integer,
    first_is_one,
    integer,
    integers,
    members,
    number,
    pairs,
    sum_of,
    text,
    whole,
)

__all__ = [
    "acknowledged",
    "array",
    "first",
    "first_integer",
    "first_is_one",
    "integer",
    "integers",
    "members",
    "number",
    "pairs",
    "sum_of",
    "text",
    "whole",
]
