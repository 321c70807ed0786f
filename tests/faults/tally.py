"""How much was tried: shown at the end of a run, so that a suite that tries nothing cannot look green."""

from __future__ import annotations

from collections import Counter

COUNTS: Counter[str] = Counter()
"""What happened, by kind."""


def line() -> str:
    """Say it in one line."""
    return ", ".join(f"{count} {what}" for what, count in sorted(COUNTS.items()))
