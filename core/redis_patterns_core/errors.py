"""Every error of the library, each also the builtin that a caller already catches.

    PatternsError
    ├── ConfigurationError (ValueError)     a pattern, a plan or a driver was given a value that it cannot take
    ├── EncodeError (TypeError)             a value that its codec cannot write
    ├── DecodeError (ValueError)            stored bytes, or a reply, that cannot be read
    ├── LockNotAcquired (TimeoutError)      the lock was not free within the wait
    ├── LockLost (RuntimeError)             the lock ran out, or somebody took it, while it was held
    ├── StillRunning (TimeoutError)         somebody else is doing it, and was not done within the wait
    ├── Unsettled (RuntimeError)            it was begun, and nobody knows whether it was done
    ├── IdReused (ValueError)               the id was used before, for something else
    ├── RateLimited (RuntimeError)          a limit refused, and its decision says for how long
    ├── WritesPending (RuntimeError)        too many writes wait to be saved, and nothing was written
    ├── QueueFull (RuntimeError)            a queue has as many items as are allowed
    ├── JobFailed (RuntimeError)            a job whose result was asked for is dead
    ├── NotCounted (ValueError)             too old to be counted, too far ahead, or there is no room; nothing was
    ├── BoardRefused (RuntimeError)         a leaderboard could not take a write, and nothing was written
    ├── SessionGone (LookupError)           the session has ended
    ├── SessionChanged (RuntimeError)       somebody has changed the session since it was read
    ├── TooManySessions (RuntimeError)      the user has as many sessions as are allowed
    ├── LoginRevoked (PermissionError)      all sessions of the user were ended while the login was under way
    ├── FlagConflict (RuntimeError)         a flag has another version than its writer has seen
    ├── DeadlineExceeded (TimeoutError)     a flow was not over within its time
    ├── DriverClosed (RuntimeError)         the driver was closed before this was run
    ├── CommandFailed                       Redis answered with an error
    ├── Unreachable (ConnectionError)       nothing was sent: it did not happen
    └── OutcomeUnknown (ConnectionError)    it was sent and no answer came: it may have happened

The last three say what became of a write, so that the caller can decide; see ``Effect`` for what a driver sends
again by itself. No message carries a password, a token or a stored value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from redis_patterns_core.decisions import Decision

__all__ = [
    "BoardRefused",
    "CommandFailed",
    "ConfigurationError",
    "DeadlineExceeded",
    "DecodeError",
    "DriverClosed",
    "EncodeError",
    "FlagConflict",
    "IdReused",
    "JobFailed",
    "LockLost",
    "LockNotAcquired",
    "LoginRevoked",
    "NotCounted",
    "OutcomeUnknown",
    "PatternsError",
    "QueueFull",
    "RateLimited",
    "SessionChanged",
    "SessionGone",
    "StillRunning",
    "TooManySessions",
    "Unreachable",
    "Unsettled",
    "WritesPending",
]


class PatternsError(Exception):
    """The root: whatever this library raises on its own account."""


class ConfigurationError(PatternsError, ValueError):
    """A value that is not allowed; the message names the argument, the value and what is allowed."""


class EncodeError(PatternsError, TypeError):
    """A value that its codec cannot write; the message names its type, never the value."""


class DecodeError(PatternsError, ValueError):
    """Bytes or a reply that cannot be read; the message says what was expected, never what was stored."""


class LockNotAcquired(PatternsError, TimeoutError):
    """The lock was held by others for the whole wait."""


class LockLost(PatternsError, RuntimeError):
    """The lock ran out, or was taken over, while the caller believed to hold it."""


class StillRunning(PatternsError, TimeoutError):
    """Somebody else is doing it, and was not done within the wait: ask again later."""


class Unsettled(PatternsError, RuntimeError):
    """It was begun by somebody who has died since, or could not tell: nobody knows whether it was done."""


class IdReused(PatternsError, ValueError):
    """The id was used before, for something else: whoever made it has made a mistake."""


class RateLimited(PatternsError, RuntimeError):
    """A limit refused.

    Parameters:
        decision: what it said; among others, when to try again.
    """

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision)
        self.decision = decision

    def __str__(self) -> str:
        wait = self.decision.retry_after
        later = "it costs more than the limit" if wait is None else f"try again in {wait:g} s"
        return f"refused by {', '.join(map(repr, self.decision.refused_by))}: {later}"


class WritesPending(PatternsError, RuntimeError):
    """Too many writes wait to be saved; nothing was written."""


class QueueFull(PatternsError, RuntimeError):
    """A queue has as many items as are allowed; nothing was put."""


class JobFailed(PatternsError, RuntimeError):
    """A job whose result was asked for is dead.

    Parameters:
        id: the job's.
        error: what went wrong, as its worker has said it.
    """

    def __init__(self, id: str, error: str) -> None:
        super().__init__(id, error)
        self.id = id
        self.error = error

    def __str__(self) -> str:
        return f"the job {self.id!r} is dead: {self.error}"


class NotCounted(PatternsError, ValueError):
    """Something was to be counted, and nothing was.

    Parameters:
        reason: ``old``, its time is no longer kept; ``ahead``, its time is too far ahead of the server's clock;
            ``full``, a set has as many members as are allowed.
        message: the same in words.
    """

    def __init__(self, reason: Literal["old", "ahead", "full"], message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return self.message


class BoardRefused(PatternsError, RuntimeError):
    """A leaderboard could not take a write, for the reason that the message gives; nothing was written."""


class SessionGone(PatternsError, LookupError):
    """The session has ended: by a logout, by its time, or because its user's sessions were ended.

    Parameters:
        replaced: whether it is known to live on under another id.
    """

    def __init__(self, *, replaced: bool = False) -> None:
        super().__init__()  # copies are made by these arguments, and take the field along
        self.replaced = replaced

    def __str__(self) -> str:
        return "the session lives under another id now" if self.replaced else "the session has ended"


class SessionChanged(PatternsError, RuntimeError):
    """Somebody has changed the session since it was read, and nothing was saved."""


class TooManySessions(PatternsError, RuntimeError):
    """The user has as many sessions as are allowed, and no further one was created."""


class LoginRevoked(PatternsError, PermissionError):
    """All sessions of the user were ended while the login was under way, and none was created."""


class FlagConflict(PatternsError, RuntimeError):
    """A flag has another version than its writer has seen; nothing was written.

    Parameters:
        name: of the flag.
        version: that it has; 0 where there never was one.
    """

    def __init__(self, name: str, version: int) -> None:
        super().__init__(name, version)
        self.name = name
        self.version = version

    def __str__(self) -> str:
        if not self.version:
            return f"there is no flag {self.name!r}"
        return f"the flag {self.name!r} has version {self.version}, or was deleted by it; nothing was written"


class DeadlineExceeded(PatternsError, TimeoutError):
    """A flow was not over within its time; what it had deferred has run, and what it had done before is done."""


class DriverClosed(PatternsError, RuntimeError):
    """The driver was closed; nothing was sent."""


class CommandFailed(PatternsError):
    """Redis answered with an error.

    Parameters:
        plan: the name of the plan whose command failed.
        code: the first word of the reply, such as ``WRONGTYPE`` or ``NOPERM``.
        message: the rest of the reply, without the arguments that some replies quote.
    """

    def __init__(self, plan: str, code: str, message: str) -> None:
        super().__init__(plan, code, message)
        self.plan = plan
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.plan}: {self.code} {self.message}"


class Unreachable(PatternsError, ConnectionError):
    """No connection could be had: nothing was sent, so nothing happened.

    Parameters:
        plan: the name of the plan that was to be sent.
        reason: where the server was looked for, without credentials, and what went wrong.
    """

    def __init__(self, plan: str, reason: str) -> None:
        super().__init__(plan, reason)
        self.plan = plan
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.plan}: nothing was sent: {self.reason}"


class OutcomeUnknown(PatternsError, ConnectionError):
    """The commands left, the connection failed before the answer: they may have been executed, or not.

    Raised for plans whose effect is ``Effect.ONCE`` at the first lost answer, and for the others when sending again
    did not help either.

    Parameters:
        plan: the name of the plan that was sent.
        reason: what happened to the connection.
    """

    def __init__(self, plan: str, reason: str) -> None:
        super().__init__(plan, reason)
        self.plan = plan
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.plan}: sent, but no answer came, so it may have happened: {self.reason}"
