"""Functions that run under a lock or take from a limit first; made by the drivers' ``locked`` and ``limited``."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, ParamSpec, TypeVar

from redis_patterns_core.callables import check_awaited
from redis_patterns_core.locks import Lock
from redis_patterns_core.templates import Template
from redis_patterns_core.validate import Duration

__all__ = [
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
        check_awaited("function", function, awaited=False)
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
        check_awaited("function", function, awaited=True)
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
        check_awaited("function", function, awaited=False)

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
        check_awaited("function", function, awaited=True)

        @functools.wraps(function)
        async def call(*args: P.args, **kwargs: P.kwargs) -> T:
            await admit(key if isinstance(key, str) else key(*args, **kwargs))
            return await function(*args, **kwargs)

        return call

    return decorate


def _locks(
    function: Callable[..., Any], name: str, ttl: Duration, namespace: str
) -> Callable[[tuple[Any, ...], dict[str, Any]], Lock]:
    """Give what makes the lock of a call, by its arguments."""
    template = Template("name", name, function, unique=False)
    Lock(name, ttl=ttl, namespace=namespace)  # checked now, not at the first call
    return lambda args, kwargs: Lock(template.fill(args, kwargs), ttl=ttl, namespace=namespace)
