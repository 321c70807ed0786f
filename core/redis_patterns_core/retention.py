"""What is counted by time: for how long a period is kept, and what is too late or too early for it.

Whether something is still counted is decided in the script that counts, by the server's clock. A key lives for a minute
longer than what it keeps, so that who asks for all that is kept, as of a moment ago, gets all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import islice

from redis_patterns_core import replies
from redis_patterns_core.errors import ConfigurationError, NotCounted
from redis_patterns_core.periods import Period, moment, starts
from redis_patterns_core.replies import Reply

__all__ = ["AHEAD", "SPARE_MS", "check", "end", "epoch_ms", "kept_until", "row"]

AHEAD = 300
"""Seconds by which clocks may differ: what Kerberos allows (RFC 4120, 8.2)."""
SPARE_MS = 60_000
"""How much longer than it must a key lives."""


def epoch_ms(at: datetime) -> int:
    """Give a moment as milliseconds since the epoch."""
    return round(at.timestamp() * 1000)


def end(period: Period, at: datetime) -> datetime:
    """Give the end of the period that has a moment in it."""
    return period.following(period.start(at))


def kept_until(period: Period, at: datetime, keep_ms: int) -> int:
    """Give when the period that has a moment in it ceases to be kept, in milliseconds since the epoch."""
    return epoch_ms(end(period, at)) + keep_ms


def row(
    period: Period, first: datetime, until: datetime | None, *, now: datetime, keep_ms: int, most: int
) -> list[datetime]:
    """Give the starts of periods in a row: of the one that has `first` in it, to the last that begins before `until`.

    Parameters:
        period: what they are.
        first, until: where the row begins and ends; ``None`` for the end of the period that has now in it.
        now: the caller's time.
        keep_ms: how long a period is kept after its end, in milliseconds.
        most: how many there may be.

    Raises:
        ConfigurationError: a time without a time zone, an `until` that is not after `first`, a first period that is not
            kept any more, or too many.
    """
    begins = moment("first", first)
    ends = end(period, now) if until is None else moment("until", until)
    if begins >= ends:
        raise ConfigurationError(f"first must be before {ends.isoformat()}, not {begins.isoformat()}")
    if kept_until(period, begins, keep_ms) + SPARE_MS < epoch_ms(now):
        kept = timedelta(milliseconds=keep_ms)
        raise ConfigurationError(f"first must be in a period that ended {kept} ago or later, not {begins.isoformat()}")
    found = list(islice(starts(period, begins, ends), most + 1))
    if len(found) > most:
        raise ConfigurationError(f"first must be at most {most} periods before until, not {begins.isoformat()}")
    return found


def check(answers: Sequence[Reply], at: datetime, most: int = 0) -> None:
    """Read the answer of a script that counts.

    Raises:
        NotCounted: it has refused.
    """
    answer = replies.integer(answers[0])
    if answer == -1:
        raise NotCounted("old", f"{at.isoformat()} is not kept any more, so nothing was counted")
    if answer == -2:
        raise NotCounted("ahead", f"{at.isoformat()} is too far ahead of the server's clock, so nothing was counted")
    if answer == -3:
        raise NotCounted("full", f"there may be {most} members, and would be more, so nothing was counted")
