"""Tells an instrument of a run, in every driver."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeAlias

from redis_patterns_core.flow import Flow
from redis_patterns_core.plan import Plan
from redis_patterns_core.retry import Incomplete
from redis_patterns_core.tracing import Instrument, Outcome, Subject

Report: TypeAlias = Callable[[Flow[Any] | Plan[Any], BaseException], None]
"""Tells of what failed where nobody waits for it."""

_logger = logging.getLogger("redis_patterns")


def reporter(handler: Report | None) -> Report:
    """Give what tells a handler of background errors, or the log where there is none; what a handler raises is logged.

    So that it ends nothing: no clean-up, and no thread or task that serves others.
    """
    if handler is None:
        return _log

    def report(what: Flow[Any] | Plan[Any], error: BaseException) -> None:
        try:
            handler(what, error)
        except Exception:
            _log(what, error)
            _logger.exception("the handler of background errors failed")

    return report


def _log(what: Flow[Any] | Plan[Any], error: BaseException) -> None:
    _logger.error("%r failed in the background", what, exc_info=error)


class Tally:
    """How often a plan was sent."""

    __slots__ = ("round_trips",)

    def __init__(self) -> None:
        self.round_trips = 0

    def add(self, attempt: Incomplete) -> None:
        """Count an attempt if something of it may have left."""
        self.round_trips += attempt.sent or bool(attempt.answers)


class Observed:
    """Runs a block whose beginning and end an instrument is told of.

    Parameters:
        instrument: who is told.
        step: what the block runs.
        tally: its round trips.
        clock: monotonic, in seconds.
        report: is told of what the instrument raises, which changes nothing for the block.
    """

    def __init__(
        self,
        instrument: Instrument,
        step: Plan[Any] | Flow[Any],
        tally: Tally,
        clock: Callable[[], float],
        report: Report,
    ) -> None:
        self._instrument = instrument
        self._step = step
        self._tally = tally
        self._clock = clock
        self._report = report
        self._ended: Callable[[Outcome], None] | None = None
        self._began_at = 0.0

    def __enter__(self) -> None:
        try:
            self._ended = self._instrument.begin(Subject.of(self._step))
        except Exception as error:  # noqa: BLE001  not the caller's
            self._report(self._step, error)
        self._began_at = self._clock()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._ended is None:
            return
        try:
            self._ended(Outcome(self._tally.round_trips, self._clock() - self._began_at, error))
        except Exception as failure:  # noqa: BLE001  not the caller's
            self._report(self._step, failure)
