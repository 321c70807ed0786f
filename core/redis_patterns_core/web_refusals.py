"""The responses to requests whose session cannot be read or saved, or that have none and need one. Pure."""

from __future__ import annotations

from redis_patterns_core.errors import (
    CommandFailed,
    DeadlineExceeded,
    LoginRevoked,
    OutcomeUnknown,
    PatternsError,
    SessionGone,
    TooManySessions,
    Unreachable,
)
from redis_patterns_core.http import Refusal, problem
from redis_patterns_core.web_sessions import WebSession

__all__ = ["DOWN", "away", "failed", "may_pass"]

DOWN = (Unreachable, OutcomeUnknown, CommandFailed, DeadlineExceeded)
"""What reading a session raises where Redis is not there."""


def may_pass(session: WebSession, *, user: bool) -> bool:
    """Tell whether a request may pass that needs a session, and of a user where `user` is set."""
    return not session.new and (session.user is not None or not user)


def away() -> Refusal:
    """Give the response to a request whose session cannot be read, as Redis is not there."""
    return _refusal(503, "Sessions are away", "Try again in a moment.", ("retry-after", "1"))


def failed(error: PatternsError | None = None) -> Refusal:
    """Give the response to a request whose session cannot be saved, or that needs one where there is none."""
    challenge = ("www-authenticate", "Session")  # RFC 9110 wants one with a 401; for cookies there is no scheme
    if error is None:
        return _refusal(401, "Not logged in", "This needs a session.", challenge)
    if isinstance(error, (SessionGone, LoginRevoked)):
        return _refusal(401, "Not logged in", "The session has ended.", challenge)
    if isinstance(error, TooManySessions):
        return _refusal(403, "Too many sessions", "Log out on another device first.")
    return _refusal(500, "Internal server error", "The session could not be saved.")


def _refusal(status: int, title: str, detail: str, *headers: tuple[str, str]) -> Refusal:
    return problem(status, {"title": title, "status": status, "detail": detail}, *headers)
