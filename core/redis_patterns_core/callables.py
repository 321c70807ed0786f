"""What is called: functions, coroutine functions, and objects that are called like either.

A driver of asyncio or trio awaits what a handler or a decorated function gives, and the sync driver cannot: so each
takes the one kind alone, and says so before anything is called.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from redis_patterns_core.errors import ConfigurationError

__all__ = ["check_awaited", "is_coroutine_function"]


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Tell whether what a call gives is to be awaited: of a coroutine function, or an object whose ``__call__`` is one.

    A method and a ``functools.partial`` are what they call.
    """
    inner = _inner(function)
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(type(inner).__call__)


def check_awaited(argument: str, function: Callable[..., Any], *, awaited: bool) -> None:
    """Check that something is a coroutine function, or that it is none.

    Parameters:
        argument: what it is called in the message.
        function: what will be called.
        awaited: whether it has to be a coroutine function; else it must not be one.

    Raises:
        ConfigurationError: it is the other.
    """
    if is_coroutine_function(function) == awaited:
        return
    inner = _inner(function)
    name = getattr(inner, "__qualname__", type(inner).__qualname__)
    if awaited:
        raise ConfigurationError(
            f"{argument} must be a coroutine function, unlike {name}; the sync driver is for others"
        )
    raise ConfigurationError(f"{argument} must not be a coroutine function: the sync driver cannot await {name}")


def _inner(function: Callable[..., Any]) -> Callable[..., Any]:
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif inspect.ismethod(function):
            function = function.__func__
        else:
            return function
