"""What goes wrong in a simulation, and how often."""

from __future__ import annotations

from dataclasses import dataclass

from redis_patterns_core.errors import ConfigurationError

__all__ = ["SERVER_FAULTS", "Faults"]

_CLIENT_FAULTS = ("refuse", "lose_request", "lose_reply", "crash", "cancel")
SERVER_FAULTS = ("flush_scripts", "expire", "jump", "fail_over")


@dataclass(frozen=True, kw_only=True)
class Faults:
    """How often things go wrong, each as a share of the steps from 0 to 1.

    Parameters:
        refuse: no connection can be had.
        lose_request: the connection dies before the server has read the request.
        lose_reply: the server executes the request, and the connection dies before the reply.
        crash: the client is gone, in the middle of its step or before it, and cleans nothing up.
        cancel: the client's flow is cancelled; what it had deferred runs.
        flush_scripts: the server forgets all scripts.
        expire: everybody stands still until a key has just expired.
        jump: the server's clock jumps, by up to `jump_by` seconds in either direction.
        fail_over: a replica takes over that has not got the last writes, up to `lag` of them.
        jump_by, lag: see above.
    """

    refuse: float = 0.0
    lose_request: float = 0.0
    lose_reply: float = 0.0
    crash: float = 0.0
    cancel: float = 0.0
    flush_scripts: float = 0.0
    expire: float = 0.0
    jump: float = 0.0
    fail_over: float = 0.0
    jump_by: float = 5.0
    lag: int = 3

    def __post_init__(self) -> None:
        rates = [getattr(self, name) for name in (*_CLIENT_FAULTS, *SERVER_FAULTS)]
        if not all(0 <= rate <= 1 for rate in rates) or sum(rates) > 1:
            raise ConfigurationError(
                f"faults must be shares from 0 to 1 that are no more than 1 together, not {self!r}"
            )

    def draw(self, chance: float) -> str:
        """Give the fault that a random number from 0 to 1 means, or nothing."""
        for name in (*_CLIENT_FAULTS, *SERVER_FAULTS):
            chance -= getattr(self, name)
            if chance < 0:
                return name
        return ""
