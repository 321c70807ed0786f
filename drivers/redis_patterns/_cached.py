"""Functions whose results are cached; made by the drivers' ``cached``."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from types import MethodType
from typing import Any, Generic, ParamSpec, TypeVar, cast

from redis_patterns_core.cache import Cache
from redis_patterns_core.callables import check_awaited
from redis_patterns_core.errors import ConfigurationError
from redis_patterns_core.flow import Flow
from redis_patterns_core.plan import Plan
from redis_patterns_core.templates import Template
from redis_patterns_core.validate import Duration

__all__ = ["CachedCoroutineFunction", "CachedFunction"]

P = ParamSpec("P")
T = TypeVar("T")


class _Cached(Generic[P, T]):
    """What both kinds have in common: the key and the tags of a call."""

    def __init__(
        self, cache: Cache[T], function: Callable[P, Any], key: str, ttl: Duration | None, tags: Sequence[str]
    ) -> None:
        if isinstance(tags, str):
            raise ConfigurationError(f"tags must be several texts, not one: {tags!r}")
        # First: it brings the attributes of what is decorated, which may be cached itself.
        functools.update_wrapper(cast("Any", self), function)
        self._cache = cache
        self._function = function
        self._template = Template("key", key, function, unique=True)
        self._ttl = ttl
        self._tags = [Template("tags", tag, function, unique=True) for tag in tags]

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        # In a class: a call has the instance before its arguments, as that of any function has.
        return self if instance is None else MethodType(cast("Any", self), instance)

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Give the key of a call, as the cache's methods take it.

        Raises:
            TypeError: the function does not take these arguments.
            ConfigurationError: a value that has no text of its own.
        """
        return self._template.fill(args, kwargs)

    def _options(self, args: Any, kwargs: Any) -> dict[str, Any]:
        return {"ttl": self._ttl, "tags": [tag.fill(args, kwargs) for tag in self._tags]}

    def __reduce__(self) -> str:
        # As functions are pickled: by the name under which they are found.
        return cast("Any", self).__qualname__  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return f"<cached {self._function!r}>"


class CachedFunction(_Cached[P, T]):
    """A function whose results are cached; called like the function itself.

    Parameters:
        run: the driver's.
        cache, function, key, ttl, tags: see the driver's ``cached``.
    """

    def __init__(
        self,
        run: Callable[[Plan[Any] | Flow[Any]], Any],
        cache: Cache[T],
        function: Callable[P, T],
        *,
        key: str,
        ttl: Duration | None,
        tags: Sequence[str],
    ) -> None:
        check_awaited("function", function, awaited=False)
        super().__init__(cache, function, key, ttl, tags)
        self._run = run

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        loader = functools.partial(self._function, *args, **kwargs)
        loaded: T = self._run(self._cache.load(self.key(*args, **kwargs), loader, **self._options(args, kwargs)))
        return loaded

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Forget the result of a call, and tell whether there was one. One round trip."""
        found: int = self._run(self._cache.invalidate(self.key(*args, **kwargs)))
        return found > 0

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function whatever the cache has, store what it gives, and give it."""
        loader = functools.partial(self._function, *args, **kwargs)
        flow = self._cache.refresh(self.key(*args, **kwargs), loader, **self._options(args, kwargs))
        loaded: T = self._run(flow)
        return loaded


class CachedCoroutineFunction(_Cached[P, T]):
    """A coroutine function whose results are cached; called like the function itself.

    Parameters:
        run: the driver's.
        cache, function, key, ttl, tags: see the driver's ``cached``.
    """

    def __init__(
        self,
        run: Callable[[Plan[Any] | Flow[Any]], Awaitable[Any]],
        cache: Cache[T],
        function: Callable[P, Awaitable[T]],
        *,
        key: str,
        ttl: Duration | None,
        tags: Sequence[str],
    ) -> None:
        check_awaited("function", function, awaited=True)
        super().__init__(cache, function, key, ttl, tags)
        self._run = run

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        loader = functools.partial(self._function, *args, **kwargs)
        flow = self._cache.load(self.key(*args, **kwargs), loader, **self._options(args, kwargs))
        loaded: T = await self._run(flow)
        return loaded

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Forget the result of a call, and tell whether there was one. One round trip."""
        found: int = await self._run(self._cache.invalidate(self.key(*args, **kwargs)))
        return found > 0

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function whatever the cache has, store what it gives, and give it."""
        loader = functools.partial(self._function, *args, **kwargs)
        flow = self._cache.refresh(self.key(*args, **kwargs), loader, **self._options(args, kwargs))
        loaded: T = await self._run(flow)
        return loaded
