"""Paths: which requests a rule or a guard is about, by shell patterns."""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Callable, Sequence

__all__ = ["matching"]


def matching(paths: str | Sequence[str]) -> Callable[[str], bool]:
    """Give what tells whether a path is matched by one of some shell patterns.

    Parameters:
        paths: one pattern or several. ``/account/*`` is for ``/account`` too: a guard of what is inside is one of the
            door.
    """
    given = (paths,) if isinstance(paths, str) else paths
    doors = [path.removesuffix("/*") for path in given]
    patterns = [re.compile(fnmatch.translate(path)) for path in (*given, *doors)]
    # No closure: a rule that has it can be pickled.
    return functools.partial(_match, patterns)


def _match(patterns: Sequence[re.Pattern[str]], path: str) -> bool:
    return any(pattern.match(path) for pattern in patterns)
