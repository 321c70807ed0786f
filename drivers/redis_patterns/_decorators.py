"""Functions that run under a lock or take from a limit first; made by the drivers' ``locked`` and ``limited``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, ParamSpec, TypeVar

from redis_patterns_core.errors import ConfigurationError
from redis_patterns_core.locks import Lock
from redis_patterns_core.templates import Template
from redis_patterns_core.validate import Duration

__all__ = [
    "check_coroutine_function",
    "check_plain_function",
    "limited",
    "limited_coroutine_function",
    "locked",
    "locked_coroutine_function",
]

P = ParamSpec("P")
T = TypeVar("T")


def locked(
    hold: Callable[[Lock], AbstractContextManager[object]], name: str, *, ttl: Duration, namespace: str
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Make a decorator of functions.

    Parameters:
        hold: holds a lock.
        name, ttl, namespace: see the driver's ``locked``.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        check_plain_function(function)
        lock_of = _locks(function, name, ttl, namespace)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            with hold(lock_of(args, kwargs)):
                return function(*args, **kwargs)

        return call

    return decorate


def locked_coroutine_function(
    hold: Callable[[Lock], AbstractAsyncContextManager[object]], name: str, *, ttl: Duration, namespace: str
) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Coroutine[Any, Any, T]]]:
    """Make a decorator of coroutine functions.

    Parameters:
        hold: holds a lock.
        name, ttl, namespace: see the driver's ``locked``.
    """

    def decorate(function: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        check_coroutine_function(function)
        lock_of = _locks(function, name, ttl, namespace)

        @functools.wraps(function)
        async def call(*args: P.args, **kwargs: P.kwargs) -> T:
            async with hold(lock_of(args, kwargs)):
                return await function(*args, **kwargs)

        return call

    return decorate


def limited(admit: Callable[[str], object], key: str | Callable[P, str]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Make a decorator of functions.

    Parameters:
        admit: takes from the limit of an id, or raises.
        key: the id, or a function that makes it of the call's arguments.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        check_plain_function(function)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            admit(key if isinstance(key, str) else key(*args, **kwargs))
            return function(*args, **kwargs)

        return call

    return decorate


def limited_coroutine_function(
    admit: Callable[[str], Awaitable[object]], key: str | Callable[P, str]
) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Coroutine[Any, Any, T]]]:
    """Make a decorator of coroutine functions.

    Parameters:
        admit: takes from the limit of an id, or raises.
        key: the id, or a function that makes it of the call's arguments.
    """

    def decorate(function: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        check_coroutine_function(function)

        @functools.wraps(function)
        async def call(*args: P.args, **kwargs: P.kwargs) -> T:
            await admit(key if isinstance(key, str) else key(*args, **kwargs))
            return await function(*args, **kwargs)

        return call

    return decorate


def check_plain_function(function: Callable[..., Any]) -> None:
    """Refuse a coroutine function where the sync driver is to call it."""
    if inspect.iscoroutinefunction(function):
        raise ConfigurationError(
            f"function must not be a coroutine function: the sync driver cannot await {function.__qualname__}"
        )


def check_coroutine_function(function: Callable[..., Any]) -> None:
    """Refuse a plain function where the drivers of asyncio and trio are to await what it gives."""
    if not inspect.iscoroutinefunction(function):
        raise ConfigurationError("function must be a coroutine function; the sync driver is for others")


def _locks(
    function: Callable[..., Any], name: str, ttl: Duration, namespace: str
) -> Callable[[tuple[Any, ...], dict[str, Any]], Lock]:
    """Give what makes the lock of a call, by its arguments."""
    template = Template("name", name, function, unique=False)
    Lock(name, ttl=ttl, namespace=namespace)  # checked now, not at the first call
    return lambda args, kwargs: Lock(template.fill(args, kwargs), ttl=ttl, namespace=namespace)
