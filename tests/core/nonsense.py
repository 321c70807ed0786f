"""Values that a type checker would refuse, for tests of what happens to those who use none."""

from __future__ import annotations

from typing import Any


def nonsense(*values: object) -> list[Any]:
    """Give the values, of which type checkers are not to know the types."""
    return list(values)
