"""A provider for OpenFeature (extra ``openfeature``): flags from Redis, answered from a snapshot, without any I/O.

    from openfeature import api
    from redis_patterns import FlagClient, Flags
    from redis_patterns.openfeature import FlagProvider

    features = FlagClient(Flags("shop"))
    with driver.follow(features):  # or async with
        api.set_provider_and_wait(FlagProvider(features))
        api.get_client().get_boolean_value("new-ui", False)

One class serves synchronous code, asyncio and trio: evaluating waits for nothing, so the ``_async`` methods do not
block an event loop. A flag has its type exactly: true is no integer, and 1 is no float.

Source: https://openfeature.dev/specification/sections/providers
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

# Typed, but pyright does not see it, as the package of the package has no __init__.py.
from openfeature.evaluation_context import EvaluationContext  # pyright: ignore[reportMissingTypeStubs]
from openfeature.event import ProviderEventDetails
from openfeature.exception import ErrorCode, ProviderFatalError, ProviderNotReadyError
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
from openfeature.provider import AbstractProvider, Metadata  # pyright: ignore[reportMissingTypeStubs]

from redis_patterns_core import validate
from redis_patterns_core.flag import TYPES, FlagType
from redis_patterns_core.flag_client import FlagClient, FlagEvent
from redis_patterns_core.flag_evaluation import Evaluation, FlagContext
from redis_patterns_core.validate import Duration

__all__ = ["FlagProvider"]

T = TypeVar("T")

_Object = Sequence[FlagValueType] | Mapping[str, FlagValueType]


class FlagProvider(AbstractProvider):
    """Answers from a `FlagClient` that a driver follows with.

    It emits ``PROVIDER_STALE`` when Redis cannot be reached, ``PROVIDER_READY`` when it can again, and
    ``PROVIDER_CONFIGURATION_CHANGED`` with the names of flags that have changed. It is ready when the client has a
    snapshot.

    Parameters:
        client: which.
        wait: seconds, or a timedelta, for which ``initialize`` waits for the first snapshot.
        cache: whether answers that are the same for all are kept until a flag changes, and given again as ``CACHED``.

    Raises:
        ConfigurationError: a duration that is not allowed.
    """

    def __init__(self, client: FlagClient, *, wait: Duration = 10, cache: bool = False) -> None:
        super().__init__()
        self._client = client
        self._wait = validate.milliseconds("wait", wait, least=0) / 1000
        self._cached: dict[tuple[str, frozenset[type]], FlagResolutionDetails[Any]] | None = {} if cache else None
        self._unsubscribe: Callable[[], None] | None = None
        self._first = threading.Event()

    def get_metadata(self) -> Metadata:
        """Give the provider's name."""
        return Metadata(name="redis-patterns")

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        """Wait for the first snapshot; the SDK calls this, in a thread of its own unless it is told to wait.

        Raises:
            ProviderFatalError: nobody follows with this client any more.
            ProviderNotReadyError: there is none yet.
        """
        del evaluation_context
        if self._unsubscribe is None:
            self._unsubscribe = self._client.subscribe(self._tell)
        if self._client.snapshot is None:
            self._first.wait(self._wait)
        if self._client.snapshot is None:
            raise ProviderNotReadyError(f"the flags were not read within {self._wait:g} s")
        if self._client.ready and not self._client.followed:
            raise ProviderFatalError("the driver does not follow the flags any more")

    def shutdown(self) -> None:
        """Listen no more, and let nobody wait; the client goes on. Again, it does nothing."""
        self._first.set()
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    # Resolving

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """Evaluate a switch; an error is part of what is returned, and never raised."""
        return self._resolve(flag_key, default_value, evaluation_context, "bool")

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """Evaluate a flag of text; see `resolve_boolean_details`."""
        return self._resolve(flag_key, default_value, evaluation_context, "string")

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """Evaluate a flag of whole numbers; see `resolve_boolean_details`."""
        return self._resolve(flag_key, default_value, evaluation_context, "int")

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """Evaluate a flag of numbers that are no whole ones; see `resolve_boolean_details`."""
        return self._resolve(flag_key, default_value, evaluation_context, "float")

    def resolve_object_details(
        self, flag_key: str, default_value: _Object, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[_Object]:
        """Evaluate a flag of objects; see `resolve_boolean_details`."""
        return self._resolve(flag_key, default_value, evaluation_context, "object")

    def _resolve(
        self, name: str, default: T, context: EvaluationContext | None, kind: FlagType
    ) -> FlagResolutionDetails[T]:
        types = TYPES[kind]
        cached = self._cached
        if cached is not None and (known := cached.get((name, types))) is not None and not self._client.stale:
            return replace(known, reason=Reason.CACHED)
        who = None if context is None else FlagContext(context.targeting_key, context.attributes)
        # Asked without a default, as the caller's may be of another type than the flag that it asks for.
        found: Evaluation[Any] = self._client.evaluate(name, who)
        if found.variant is not None and type(found.value) not in types:
            message = f"the flag {name!r} is of another type"
            return FlagResolutionDetails(default, ErrorCode.TYPE_MISMATCH, message, Reason.ERROR)
        details = FlagResolutionDetails(
            default if found.variant is None else found.value,
            ErrorCode(found.error) if found.error else None,
            found.message or None,
            Reason(found.reason),
            found.variant,
            found.metadata,
        )
        if cached is not None and found.reason == "STATIC" and kind != "object":
            cached[name, types] = details
        return details

    # Events

    def _tell(self, event: FlagEvent) -> None:
        if self._cached is not None:
            self._cached.clear()
        match event.what:
            case "ready":
                self._first.set()
            case "stale":
                self.emit_provider_stale(ProviderEventDetails(message=str(event.error)))
            case "recovered":
                self.emit_provider_ready(ProviderEventDetails())
            case "changed":
                self.emit_provider_configuration_changed(ProviderEventDetails(flags_changed=list(event.names)))
