"""Values that a type checker would refuse, for tests of what happens to those who use none."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from typing import Any


def nonsense(*values: object) -> list[Any]:
    """Give the values, of which type checkers are not to know the types."""
    return list(values)


class Nameless(tzinfo):
    """A zone that another process could not name."""

    def utcoffset(self, _: datetime | None) -> timedelta:
        return timedelta(0)

    def dst(self, _: datetime | None) -> timedelta:
        return timedelta(0)

    def tzname(self, _: datetime | None) -> str:
        return "here"
