"""The front of a package whose modules are loaded when one of their names is asked for first (PEP 562).

What a type checker reads in such a package, and what ``__all__`` says, is the same as where all is imported at once;
so are ``import *``, ``help`` and ``dir``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["front"]


def front(
    package: dict[str, Any], homes: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Make the ``__getattr__`` and the ``__dir__`` of a package.

    Parameters:
        package: its ``globals()``; a name that was asked for is kept there, so that it is looked up once.
        homes: the names in each module of `redis_patterns_core`.
    """
    home_of = {name: home for home, names in homes.items() for name in names}

    def getattr_(name: str) -> object:
        if name not in home_of:
            raise AttributeError(f"module {package['__name__']!r} has no attribute {name!r}")
        thing = getattr(importlib.import_module(f"redis_patterns_core.{home_of[name]}"), name)
        package[name] = thing
        return thing

    def dir_() -> list[str]:
        return sorted({*package, *home_of})

    return getattr_, dir_
