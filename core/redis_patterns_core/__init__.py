"""The pure logic of redis-patterns: plans, flows, scripts, key names and parsers. No I/O; standard library only.

Users import these names from `redis_patterns`.
"""

from redis_patterns_core.codec import Bytes, Codec, Json, Text
from redis_patterns_core.errors import (
    CommandFailed,
    ConfigurationError,
    DeadlineExceeded,
    DecodeError,
    DriverClosed,
    EncodeError,
    LockLost,
    LockNotAcquired,
    OutcomeUnknown,
    PatternsError,
    Unreachable,
)
from redis_patterns_core.flow import Call, Defer, Flow, Now, Sleep, Spawn, Step, Steps, flow
from redis_patterns_core.leaderboards import Entry, Leaderboard
from redis_patterns_core.locks import Held, Lease, Lock, new_token
from redis_patterns_core.plan import Argument, Command, Effect, Plan, Script, batch
from redis_patterns_core.rate_limits import Decision, TokenBucket
from redis_patterns_core.replies import ErrorReply, Reply
from redis_patterns_core.retry import Backoff
from redis_patterns_core.tracing import Instrument, Outcome, Subject
from redis_patterns_core.validate import Duration

__all__ = [
    "Argument",
    "Backoff",
    "Bytes",
    "Call",
    "Codec",
    "Command",
    "CommandFailed",
    "ConfigurationError",
    "DeadlineExceeded",
    "Decision",
    "DecodeError",
    "Defer",
    "DriverClosed",
    "Duration",
    "Effect",
    "EncodeError",
    "Entry",
    "ErrorReply",
    "Flow",
    "Held",
    "Instrument",
    "Json",
    "Leaderboard",
    "Lease",
    "Lock",
    "LockLost",
    "LockNotAcquired",
    "Now",
    "Outcome",
    "OutcomeUnknown",
    "PatternsError",
    "Plan",
    "Reply",
    "Script",
    "Sleep",
    "Spawn",
    "Step",
    "Steps",
    "Subject",
    "Text",
    "TokenBucket",
    "Unreachable",
    "batch",
    "flow",
    "new_token",
]
