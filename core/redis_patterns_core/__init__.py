"""The pure logic of redis-patterns: plans, flows, scripts, key names and parsers. No I/O; standard library only.

Users import these names from `redis_patterns`. A pattern's module is loaded when its name is asked for first, so that
a program loads those patterns that it uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

# At once: all else is made of it; and its module, which is called like a name, would be found in that name's place.
from redis_patterns_core.flow import (
    Alongside,
    Call,
    Defer,
    Flow,
    Now,
    Shared,
    Sleep,
    Spawn,
    Step,
    Steps,
    Take,
    Within,
    flow,
)
from redis_patterns_core.front import front

if TYPE_CHECKING:
    from redis_patterns_core.all_of import AllOf
    from redis_patterns_core.bucketed_counters import BucketedCounter, Series
    from redis_patterns_core.buckets import GCRA, LeakyBucket, TokenBucket
    from redis_patterns_core.cache import Cache
    from redis_patterns_core.cache_entries import MISS, CacheEvent, Miss
    from redis_patterns_core.cache_loads import Loader
    from redis_patterns_core.codec import Bytes, Codec, Compressed, Json, SignedPickle, Text
    from redis_patterns_core.cookies import Cookie
    from redis_patterns_core.counters import Counter, ShardedCounter
    from redis_patterns_core.decisions import Decision, Taken
    from redis_patterns_core.errors import (
        BoardRefused,
        CommandFailed,
        ConfigurationError,
        DeadlineExceeded,
        DecodeError,
        DriverClosed,
        EncodeError,
        FlagConflict,
        IdReused,
        JobFailed,
        LockLost,
        LockNotAcquired,
        LoginRevoked,
        NotCounted,
        OutcomeUnknown,
        PatternsError,
        QueueFull,
        RateLimited,
        SessionChanged,
        SessionGone,
        StillRunning,
        TooManySessions,
        Unreachable,
        Unsettled,
        WritesPending,
    )
    from redis_patterns_core.flag import Flag, FlagRule
    from redis_patterns_core.flag_client import FlagClient, FlagEvent
    from redis_patterns_core.flag_conditions import Condition
    from redis_patterns_core.flag_evaluation import Evaluation, FlagContext, FlagSnapshot
    from redis_patterns_core.flag_records import FlagChange
    from redis_patterns_core.flags import Flags
    from redis_patterns_core.guarded import Guarded
    from redis_patterns_core.http import (
        ClientAddress,
        HeaderKey,
        RateLimits,
        Refusal,
        Request,
        Rule,
        rate_limit_headers,
    )
    from redis_patterns_core.job_records import (
        Counts,
        Enqueued,
        GiveUp,
        Job,
        JobState,
        KnownJob,
        RetryLater,
        Settlement,
        TakenJobs,
        WorkerInfo,
    )
    from redis_patterns_core.jobs import Jobs
    from redis_patterns_core.keys import escape_glob
    from redis_patterns_core.leaderboards import Leaderboard
    from redis_patterns_core.lease_records import Held, Holder, Lease, Occupancy, new_token
    from redis_patterns_core.leases import Leasable
    from redis_patterns_core.locks import Lock
    from redis_patterns_core.member_data import MemberData
    from redis_patterns_core.multi_locks import MultiLock
    from redis_patterns_core.once import Claim, ClaimState, Once
    from redis_patterns_core.ordered_queues import DelayedQueue, PriorityQueue
    from redis_patterns_core.periods import DAY, HOUR, MINUTE, MONTH, WEEK, Calendar, Every, Period
    from redis_patterns_core.plan import Argument, Command, Effect, Plan, Script, batch
    from redis_patterns_core.queued_locks import FairLock, ReadLock, ReadWriteLock, ReentrantLock, WriteLock
    from redis_patterns_core.queues import EMPTY, Empty, FailedItem, FifoQueue, Queue
    from redis_patterns_core.rate_limits import Limit, Limiter
    from redis_patterns_core.replies import ErrorReply, Reply
    from redis_patterns_core.retry import Backoff
    from redis_patterns_core.semaphores import Semaphore
    from redis_patterns_core.session_records import SUPERSEDED, Device, Session, Superseded
    from redis_patterns_core.sessions import Sessions
    from redis_patterns_core.slots import ConcurrencyLimit, Slot
    from redis_patterns_core.standings import Entry, Page, ScoreChange
    from redis_patterns_core.tracing import Instrument, Outcome, Subject
    from redis_patterns_core.uniques import ExactUniques, UniqueCounter, Uniques
    from redis_patterns_core.validate import Duration
    from redis_patterns_core.web_sessions import WebSession
    from redis_patterns_core.windows import FixedWindow, SlidingCounter, SlidingLog
    from redis_patterns_core.work import AnyWork, BatchWork, Middleware, OnWork, Work, WorkEvent
    from redis_patterns_core.write_behind import DeadWrite, Write, WriteBehind

__all__ = [
    "DAY",
    "EMPTY",
    "GCRA",
    "HOUR",
    "MINUTE",
    "MISS",
    "MONTH",
    "SUPERSEDED",
    "WEEK",
    "AllOf",
    "Alongside",
    "AnyWork",
    "Argument",
    "Backoff",
    "BatchWork",
    "BoardRefused",
    "BucketedCounter",
    "Bytes",
    "Cache",
    "CacheEvent",
    "Calendar",
    "Call",
    "Claim",
    "ClaimState",
    "ClientAddress",
    "Codec",
    "Command",
    "CommandFailed",
    "Compressed",
    "ConcurrencyLimit",
    "Condition",
    "ConfigurationError",
    "Cookie",
    "Counter",
    "Counts",
    "DeadWrite",
    "DeadlineExceeded",
    "Decision",
    "DecodeError",
    "Defer",
    "DelayedQueue",
    "Device",
    "DriverClosed",
    "Duration",
    "Effect",
    "Empty",
    "EncodeError",
    "Enqueued",
    "Entry",
    "ErrorReply",
    "Evaluation",
    "Every",
    "ExactUniques",
    "FailedItem",
    "FairLock",
    "FifoQueue",
    "FixedWindow",
    "Flag",
    "FlagChange",
    "FlagClient",
    "FlagConflict",
    "FlagContext",
    "FlagEvent",
    "FlagRule",
    "FlagSnapshot",
    "Flags",
    "Flow",
    "GiveUp",
    "Guarded",
    "HeaderKey",
    "Held",
    "Holder",
    "IdReused",
    "Instrument",
    "Job",
    "JobFailed",
    "JobState",
    "Jobs",
    "Json",
    "KnownJob",
    "Leaderboard",
    "LeakyBucket",
    "Leasable",
    "Lease",
    "Limit",
    "Limiter",
    "Loader",
    "Lock",
    "LockLost",
    "LockNotAcquired",
    "LoginRevoked",
    "MemberData",
    "Middleware",
    "Miss",
    "MultiLock",
    "NotCounted",
    "Now",
    "Occupancy",
    "OnWork",
    "Once",
    "Outcome",
    "OutcomeUnknown",
    "Page",
    "PatternsError",
    "Period",
    "Plan",
    "PriorityQueue",
    "Queue",
    "QueueFull",
    "RateLimited",
    "RateLimits",
    "ReadLock",
    "ReadWriteLock",
    "ReentrantLock",
    "Refusal",
    "Reply",
    "Request",
    "RetryLater",
    "Rule",
    "ScoreChange",
    "Script",
    "Semaphore",
    "Series",
    "Session",
    "SessionChanged",
    "SessionGone",
    "Sessions",
    "Settlement",
    "ShardedCounter",
    "Shared",
    "SignedPickle",
    "Sleep",
    "SlidingCounter",
    "SlidingLog",
    "Slot",
    "Spawn",
    "Step",
    "Steps",
    "StillRunning",
    "Subject",
    "Superseded",
    "Take",
    "Taken",
    "TakenJobs",
    "Text",
    "TokenBucket",
    "TooManySessions",
    "UniqueCounter",
    "Uniques",
    "Unreachable",
    "Unsettled",
    "WebSession",
    "Within",
    "Work",
    "WorkEvent",
    "WorkerInfo",
    "Write",
    "WriteBehind",
    "WriteLock",
    "WritesPending",
    "batch",
    "escape_glob",
    "flow",
    "new_token",
    "rate_limit_headers",
]

HOMES: dict[str, tuple[str, ...]] = {
    "all_of": ("AllOf",),
    "bucketed_counters": ("BucketedCounter", "Series"),
    "buckets": ("GCRA", "LeakyBucket", "TokenBucket"),
    "cache": ("Cache",),
    "cache_entries": ("MISS", "CacheEvent", "Miss"),
    "cache_loads": ("Loader",),
    "codec": ("Bytes", "Codec", "Compressed", "Json", "SignedPickle", "Text"),
    "cookies": ("Cookie",),
    "counters": ("Counter", "ShardedCounter"),
    "decisions": ("Decision", "Taken"),
    "errors": (
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
    ),
    "flag": ("Flag", "FlagRule"),
    "flag_client": ("FlagClient", "FlagEvent"),
    "flag_conditions": ("Condition",),
    "flag_evaluation": ("Evaluation", "FlagContext", "FlagSnapshot"),
    "flag_records": ("FlagChange",),
    "flags": ("Flags",),
    "flow": (
        "Alongside",
        "Call",
        "Defer",
        "Flow",
        "Now",
        "Shared",
        "Sleep",
        "Spawn",
        "Step",
        "Steps",
        "Take",
        "Within",
        "flow",
    ),
    "guarded": ("Guarded",),
    "http": ("ClientAddress", "HeaderKey", "RateLimits", "Refusal", "Request", "Rule", "rate_limit_headers"),
    "job_records": (
        "Counts",
        "Enqueued",
        "GiveUp",
        "Job",
        "JobState",
        "KnownJob",
        "RetryLater",
        "Settlement",
        "TakenJobs",
        "WorkerInfo",
    ),
    "jobs": ("Jobs",),
    "keys": ("escape_glob",),
    "leaderboards": ("Leaderboard",),
    "lease_records": ("Held", "Holder", "Lease", "Occupancy", "new_token"),
    "leases": ("Leasable",),
    "locks": ("Lock",),
    "member_data": ("MemberData",),
    "multi_locks": ("MultiLock",),
    "once": ("Claim", "ClaimState", "Once"),
    "ordered_queues": ("DelayedQueue", "PriorityQueue"),
    "periods": ("DAY", "HOUR", "MINUTE", "MONTH", "WEEK", "Calendar", "Every", "Period"),
    "plan": ("Argument", "Command", "Effect", "Plan", "Script", "batch"),
    "queued_locks": ("FairLock", "ReadLock", "ReadWriteLock", "ReentrantLock", "WriteLock"),
    "queues": ("EMPTY", "Empty", "FailedItem", "FifoQueue", "Queue"),
    "rate_limits": ("Limit", "Limiter"),
    "replies": ("ErrorReply", "Reply"),
    "retry": ("Backoff",),
    "semaphores": ("Semaphore",),
    "session_records": ("SUPERSEDED", "Device", "Session", "Superseded"),
    "sessions": ("Sessions",),
    "slots": ("ConcurrencyLimit", "Slot"),
    "standings": ("Entry", "Page", "ScoreChange"),
    "tracing": ("Instrument", "Outcome", "Subject"),
    "uniques": ("ExactUniques", "UniqueCounter", "Uniques"),
    "validate": ("Duration",),
    "web_sessions": ("WebSession",),
    "windows": ("FixedWindow", "SlidingCounter", "SlidingLog"),
    "work": ("AnyWork", "BatchWork", "Middleware", "OnWork", "Work", "WorkEvent"),
    "write_behind": ("DeadWrite", "Write", "WriteBehind"),
}
"""In which module each name is that is loaded when it is asked for."""

if not TYPE_CHECKING:
    __getattr__, __dir__ = front(globals(), HOMES)
