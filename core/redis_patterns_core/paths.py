"""Paths: which requests a rule or a guard is about, by shell patterns."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence

__all__ = ["matching"]


def matching(paths: str | Sequence[str]) -> Callable[[str], bool]:
    """Give what tells whether a path is matched by one of some shell patterns, such as ``/api/*``.

    Parameters:
        paths: one pattern or several.
    """
    patterns = [re.compile(fnmatch.translate(path)) for path in ((paths,) if isinstance(paths, str) else paths)]
    return lambda path: any(pattern.match(path) for pattern in patterns)
