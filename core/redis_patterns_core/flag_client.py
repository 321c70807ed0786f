"""A client of flags: the last snapshot, whether it still holds, and what there is to do to keep it so. No I/O.

    features = FlagClient(Flags("shop"))  # a constant: all code asks it

    with driver.follow(features):  # or async with; at the start of the process
        if features.is_enabled("new-ui", user): ...

It is told of changes, and looks by itself every so often in case a notice was not to be had. While Redis cannot be
reached it goes on with what it has, and says so.
"""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import field, replace
from typing import Any, Literal, TypeAlias, TypeVar, overload

from redis_patterns_core import validate
from redis_patterns_core.errors import CommandFailed, ConfigurationError, DecodeError, OutcomeUnknown, Unreachable
from redis_patterns_core.flag_evaluation import Evaluation, FlagSnapshot, Who, failure
from redis_patterns_core.flags import Flags
from redis_patterns_core.flow import Call, Now, Sleep, Steps, flow
from redis_patterns_core.retry import Backoff
from redis_patterns_core.validate import Duration
from redis_patterns_core.value import value

__all__ = ["FlagClient", "FlagEvent", "OnFlagEvent"]

T = TypeVar("T")

_TROUBLE = (Unreachable, OutcomeUnknown, CommandFailed, DecodeError)
_SPREAD = 0.05
"""Seconds within which clients read what they were told has changed: not all at the same moment, and many changes that
come together are read once."""


@value
class FlagEvent:
    """Something that happened to the snapshot of a client.

    Parameters:
        what: ``ready``, it has its first one from Redis; ``changed``; ``stale``, Redis cannot tell whether it still
            holds; ``recovered``, it can again.
        names: of the flags that were changed, made or deleted.
        revision: of the snapshot.
        error: why it is stale.
    """

    what: Literal["ready", "changed", "stale", "recovered"]
    names: tuple[str, ...] = ()
    revision: int = 0
    error: BaseException | None = field(default=None, repr=False)


OnFlagEvent: TypeAlias = Callable[[FlagEvent], Any]


class FlagClient:
    """Evaluates flags without asking Redis; a driver's ``follow`` keeps its snapshot up to date.

    Parameters:
        flags: which.
        poll: seconds, or a timedelta, after which it looks by itself, a fifth more or less; of changes it is told.
        initial: what holds until there is a snapshot from Redis, such as one of a file; with one, ``follow`` does not
            wait for Redis, and evaluations say ``STALE`` meanwhile.
        on_event: is told of what happens, by the thread or task that follows; a coroutine function too, in asyncio and
            trio.
        chance: gives random numbers from 0 to 1.

    Raises:
        ConfigurationError: a duration of less than 0.1 s, or something that is no `Flags`.
    """

    def __init__(
        self,
        flags: Flags,
        *,
        poll: Duration = 10,
        initial: FlagSnapshot | None = None,
        on_event: OnFlagEvent | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        if not isinstance(flags, Flags):
            raise ConfigurationError(f"flags must be a Flags, not {type(flags).__name__}")
        self.flags: Flags = flags
        self._poll = validate.milliseconds("poll", poll, least=100) / 1000
        self._snapshot = initial
        self._listeners: list[OnFlagEvent] = [] if on_event is None else [on_event]
        self._chance = chance
        self._backoff = Backoff(first=0.1, most=self._poll)
        self.ready: bool = False
        """Whether it has had a snapshot from Redis."""
        self.followed: bool = False
        """Whether a driver keeps it up to date."""
        self._lost = False
        self._report: Callable[[Exception], None] = _raise

    # Asking

    @property
    def snapshot(self) -> FlagSnapshot | None:
        """What it knows, which never changes; ``None`` where it knows nothing yet."""
        return self._snapshot

    @property
    def revision(self) -> int:
        """That of the snapshot; 0 where it is none of Redis."""
        return 0 if self._snapshot is None else self._snapshot.revision

    @property
    def stale(self) -> bool:
        """Whether the snapshot may not hold any more: Redis cannot be reached, or nobody follows."""
        return self._lost or not self.ready or not self.followed

    @overload
    def evaluate(self, name: str, who: Who = None, default: None = None) -> Evaluation[Any]: ...
    @overload
    def evaluate(self, name: str, who: Who, default: T) -> Evaluation[T]: ...
    def evaluate(self, name: str, who: Who = None, default: Any = None) -> Evaluation[Any]:
        """Evaluate a flag, as `FlagSnapshot.evaluate`, at once; it never raises.

        Returns:
            The value and why; the reason is ``STALE`` while the snapshot may not hold any more, and the error
            ``PROVIDER_NOT_READY`` before there is one.
        """
        snapshot = self._snapshot
        if snapshot is None:
            return failure(default, "PROVIDER_NOT_READY", "the flags were not read yet")
        found = snapshot.evaluate(name, who, default)
        if self.stale and not found.error:
            return replace(found, reason="STALE")
        return found

    def is_enabled(self, name: str, who: Who = None, default: bool = False) -> bool:
        """Tell whether a switch is on for somebody, as `FlagSnapshot.is_enabled`, at once; it never raises."""
        snapshot = self._snapshot
        return default if snapshot is None else snapshot.is_enabled(name, who, default)

    # Being told

    def subscribe(self, listener: OnFlagEvent) -> Callable[[], None]:
        """Have a function told of what happens, and give one that ends that.

        Parameters:
            listener: as `on_event`.
        """
        self._listeners.append(listener)

        def unsubscribe() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unsubscribe

    def __repr__(self) -> str:
        return f"<FlagClient of {self.flags.name!r}, revision {self.revision}{', stale' if self.stale else ''}>"

    # Following, which is the driver's

    def begin(self, report: Callable[[Exception], None]) -> None:
        """Note that a driver follows.

        Parameters:
            report: is told what listeners raise.

        Raises:
            ConfigurationError: one does already.
        """
        if self.followed:
            raise ConfigurationError(f"client must be followed by one driver at a time, and {self!r} is")
        self.followed = True
        self._report = report

    def end(self) -> None:
        """Note that nobody follows any more."""
        self.followed = False
        self._report = _raise

    @flow
    def load(self) -> Steps[None]:
        """Read all flags. One round trip; raises what that raises."""
        yield from self._take((yield from self.flags.snapshot()))

    @flow
    def keep(self, *, slice: float = math.inf, until: Callable[[], bool] = lambda: False) -> Steps[None]:
        """Keep the snapshot up to date.

        Parameters:
            slice: seconds for which Redis may keep an answer back at most, where one who waits cannot be stopped.
            until: asked between requests whether to end.
        """
        attempts = 0
        looks_at = (yield from Now()) + self._pause()
        while not until():
            now = yield from Now()
            try:
                if self._lost or not self.ready:
                    yield from self.load()
                elif now >= looks_at:
                    if (yield from self.flags.revision()) != self.revision:
                        yield from self.load()
                elif (yield from self._noticed(min(slice, looks_at - now))):
                    yield from Sleep(_SPREAD * self._chance())
                    yield from self.load()
                else:
                    continue
            except _TROUBLE as error:
                attempts += 1
                if not self._lost:
                    self._lost = True
                    yield from self._tell(FlagEvent("stale", revision=self.revision, error=error))
                yield from Sleep(self._backoff.delay(attempts, self._chance()))
                continue
            attempts = 0
            looks_at = (yield from Now()) + self._pause()

    def _noticed(self, seconds: float) -> Steps[bool]:
        try:
            return (yield from self.flags.wait_for_change(self.revision, max(0.002, seconds)))
        except CommandFailed:
            # Such as a user who may not read the stream: then looking is all there is.
            yield from Sleep(seconds)
            return False

    def _take(self, snapshot: FlagSnapshot) -> Steps[None]:
        before, self._snapshot = self._snapshot, snapshot
        was_ready, was_lost = self.ready, self._lost
        self.ready = True
        self._lost = False
        names = _changed(before, snapshot)
        if not was_ready:
            yield from self._tell(FlagEvent("ready", revision=snapshot.revision))
        elif was_lost:
            yield from self._tell(FlagEvent("recovered", revision=snapshot.revision))
        if names:
            yield from self._tell(FlagEvent("changed", names, snapshot.revision))

    def _tell(self, event: FlagEvent) -> Steps[None]:
        for listener in list(self._listeners):
            try:
                yield from Call(_told, listener, event)
            except Exception as error:  # noqa: BLE001  a listener's trouble is not the snapshot's
                self._report(error)

    def _pause(self) -> float:
        # Clients that were started together do not ask together for ever.
        return self._poll * (0.8 + 0.4 * self._chance())


def _raise(error: Exception) -> None:
    raise error


def _told(listener: OnFlagEvent, event: FlagEvent) -> Awaitable[Any] | None:
    told: Awaitable[Any] | None = listener(event)
    return told


def _changed(before: FlagSnapshot | None, after: FlagSnapshot) -> tuple[str, ...]:
    """Give the names of flags that differ."""
    if before is None:
        return ()
    names = {*before.flags, *after.flags, *before.unreadable, *after.unreadable}
    return tuple(
        sorted(
            name
            for name in names
            if before.flags.get(name) != after.flags.get(name)
            or before.unreadable.get(name) != after.unreadable.get(name)
        )
    )
