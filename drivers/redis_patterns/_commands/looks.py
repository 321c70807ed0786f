"""What ``redis-patterns inspect`` can look at: one table, with a small function for each.

A function gives a plan, or a flow, of what there is to tell: a dict that is fit for JSON, in which a list of dicts is a
table. Names that end in ``_at`` are times in seconds since the epoch, those in ``_in``, ``_after`` and ``_for``
durations in seconds. Nothing shows a stored value, or a token.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from redis_patterns_core import replies
from redis_patterns_core.buckets import GCRA
from redis_patterns_core.cache import Cache
from redis_patterns_core.cache_entries import Miss
from redis_patterns_core.codec import Bytes
from redis_patterns_core.counters import ShardedCounter
from redis_patterns_core.decisions import Decision
from redis_patterns_core.entries import Stored
from redis_patterns_core.errors import ConfigurationError, DecodeError
from redis_patterns_core.flag_evaluation import FlagSnapshot
from redis_patterns_core.flag_records import FlagChange
from redis_patterns_core.flags import Flags
from redis_patterns_core.flow import Flow, Steps, flow
from redis_patterns_core.job_records import Counts, KnownJob
from redis_patterns_core.jobs import Jobs
from redis_patterns_core.leaderboards import Leaderboard
from redis_patterns_core.lease_records import Occupancy
from redis_patterns_core.leases import InOneStep
from redis_patterns_core.locks import Lock
from redis_patterns_core.once import Once
from redis_patterns_core.ordered_queues import DelayedQueue, PriorityQueue
from redis_patterns_core.periods import DAY, MONTH, WEEK
from redis_patterns_core.plan import Command, Effect, Plan, batch
from redis_patterns_core.queued_locks import FairLock, ReadWriteLock, ReentrantLock
from redis_patterns_core.queues import FailedItem, FifoQueue
from redis_patterns_core.rate_limits import parsed
from redis_patterns_core.replies import Reply
from redis_patterns_core.semaphores import Semaphore
from redis_patterns_core.sessions import Sessions
from redis_patterns_core.slots import ConcurrencyLimit
from redis_patterns_core.standings import Entry
from redis_patterns_core.uniques import ExactUniques, UniqueCounter, Uniques
from redis_patterns_core.windows import FixedWindow, SlidingCounter, SlidingLog
from redis_patterns_core.write_behind import DeadWrite, WriteBehind

__all__ = ["ALGORITHMS", "LOOKS", "Asked", "Look", "View", "known_jobs", "look"]

View: TypeAlias = dict[str, Any]

_SHOWN = 10
_LONGEST_ERROR = 200

ALGORITHMS = ("bucket", "fixed", "log", "counter")


@dataclass(frozen=True)
class Asked:
    """What somebody wants to see.

    Parameters:
        name: of a lock, a queue and so on.
        id: whose, or which.
        namespace: of the pattern.
        rate, algorithm, burst: of a limit, as Redis does not know what it is.
    """

    name: str
    id: str = ""
    namespace: str = ""
    rate: str = ""
    algorithm: str = "bucket"
    burst: int | None = None


@dataclass(frozen=True)
class Look:
    """Something that can be looked at.

    Parameters:
        ask: makes the plan or the flow.
        id: what the id is; empty where there is none.
        needs_id: whether it must be given.
    """

    ask: Callable[[Asked], Plan[View] | Flow[View]]
    id: str = ""
    needs_id: bool = True


def look(what: str, asked: Asked) -> Plan[View] | Flow[View]:
    """Give the plan, or the flow, of what is asked for.

    Raises:
        ConfigurationError: an id, or a rate, that is missing or too much, or a value that is not allowed.
    """
    chosen = LOOKS[what]
    if chosen.id and chosen.needs_id and not asked.id:
        raise ConfigurationError(f"ID must be given for {what}: {chosen.id}")
    if not chosen.id and asked.id:
        raise ConfigurationError(f"ID must not be given for {what}, which has none")
    if (asked.rate != "") != (what == "limit"):
        raise ConfigurationError("--rate must be given for limit, such as 100/minute, and only there")
    return chosen.ask(asked)


# What can be leased


def _leased(lease: InOneStep) -> Plan[View]:
    return lease.inspect().map(_occupancy)


def _occupancy(found: Occupancy) -> View:
    holders = [
        {
            "fingerprint": holder.fingerprint,
            "since": holder.since,
            "ends_in": holder.ends_in,
            "fence": holder.fence,
            "weight": holder.weight,
        }
        for holder in found.holders
    ]
    return {"held": bool(holders), "waiting": found.waiting, "holders": holders}


def _slots(asked: Asked) -> Plan[View]:
    return _leased(ConcurrencyLimit(asked.name, limit=1, namespace=asked.namespace).slot(asked.id))


def _reentrant(asked: Asked) -> Plan[View]:
    return _leased(ReentrantLock(asked.name, owner="nobody", namespace=asked.namespace))


# Queues and jobs


def _queue(asked: Asked) -> Plan[View]:
    queue = FifoQueue(asked.name, codec=Bytes(), namespace=asked.namespace)
    return batch(queue.length(), queue.failed(_SHOWN)).map(lambda got: {"items": got[0], "failed": _failed(got[1])})


def _pqueue(asked: Asked) -> Plan[View]:
    queue = PriorityQueue(asked.name, codec=Bytes(), namespace=asked.namespace)
    return batch(queue.length(), queue.failed(_SHOWN)).map(lambda got: {"items": got[0], "failed": _failed(got[1])})


def _delayed(asked: Asked) -> Plan[View]:
    both = DelayedQueue(asked.name, codec=Bytes(), namespace=asked.namespace)
    due = FifoQueue(asked.name, codec=Bytes(), namespace=asked.namespace)
    plan = batch(both.length(), due.length(), both.failed(_SHOWN))
    return plan.map(lambda got: {"items": got[0], "due": got[1], "later": got[0] - got[1], "failed": _failed(got[2])})


def _failed(items: Sequence[FailedItem[bytes]]) -> list[View]:
    return [{"failed_at": item.at, "bytes": len(item.payload), "error": _said(item.error)} for item in items]


def _jobs(asked: Asked) -> Plan[View]:
    jobs: Jobs[Any] = Jobs(asked.name, namespace=asked.namespace)
    if asked.id:
        return jobs.look(asked.id).map(lambda got: known_jobs(got)[0] | _more(got[0]))
    return batch(jobs.inspect(), jobs.dead(_SHOWN)).map(lambda got: _counts(got[0]) | {"dead_jobs": known_jobs(got[1])})


def _counts(counts: Counts) -> View:
    return {
        "ready": counts.ready,
        "delayed": counts.delayed,
        "leased": counts.leased,
        "dead": counts.dead,
        "paused": counts.paused,
        "oldest_for": counts.oldest,
        "next_due_in": counts.next_due_in,
        "next_lease_ends_in": counts.next_lease_ends_in,
        "totals": dict(counts.totals),
        "workers": [{"name": one.name, "ends_in": one.ends_in, "about": one.about} for one in counts.workers],
    }


def _more(job: KnownJob[Any]) -> View:
    return {"priority": job.priority, "enqueued_at": job.enqueued_at or None, "progress": job.progress}


def known_jobs(jobs: Sequence[KnownJob[Any]]) -> list[View]:
    """Give what is known of jobs, without what is to be done."""
    return [
        {
            "id": job.id,
            "state": job.state or "unknown",
            "attempts": job.attempts,
            "lost": job.lost,
            "error": _said(job.error),
        }
        for job in jobs
    ]


def _said(error: str) -> str:
    # Of a traceback the last line says what it was.
    lines = error.strip().splitlines()
    return lines[-1][:_LONGEST_ERROR] if lines else ""


# Others


def _parts(asked: Asked) -> int:
    return int(asked.id) if asked.id.isdecimal() else 0 if asked.id else 1  # of which 0 is refused


def _counter(asked: Asked) -> Plan[View]:
    counter = ShardedCounter(asked.name, shards=_parts(asked), namespace=asked.namespace)
    return counter.value().map(lambda count: {"value": count})


def _behind(asked: Asked) -> Plan[View]:
    behind = WriteBehind(asked.name, ttl=1, codec=Bytes(), partitions=_parts(asked), namespace=asked.namespace)

    def view(got: tuple[int, list[DeadWrite[bytes]]]) -> View:
        pending, dead = got
        rows = [
            {
                "failed_at": letter.at,
                "key": letter.key,
                "sequence": letter.write and letter.write.sequence,
                "bytes": None if letter.write and isinstance(letter.write.value, Miss) else len(letter.payload),
                "error": _said(letter.error),
            }
            for letter in dead[:_SHOWN]
        ]
        return {"pending": pending, "dead": len(dead), "dead_letters": rows}

    return batch(behind.pending(), behind.dead_letters()).map(view)


def _uniques(kind: type[UniqueCounter], asked: Asked) -> Plan[View]:
    periods = {period.name: period for period in (DAY, WEEK, MONTH)}
    if (asked.id or DAY.name) not in periods:
        raise ConfigurationError(f"ID must be one of {', '.join(periods)}, not {asked.id!r}")
    uniques = kind(asked.name, period=periods[asked.id or DAY.name], namespace=asked.namespace)
    return uniques.count().map(lambda count: {"period": asked.id or DAY.name, "members": count})


def _flags(asked: Asked) -> Plan[View]:
    flags = Flags(asked.name, namespace=asked.namespace)

    def view(got: tuple[FlagSnapshot, list[FlagChange]]) -> View:
        snapshot, changes = got
        return {
            "revision": snapshot.revision,
            "unreadable": ", ".join(sorted(snapshot.unreadable)),
            "flags": [
                {
                    "name": flag.name,
                    "enabled": flag.enabled,
                    "type": flag.type,
                    "percentage": flag.percentage,
                    "rules": len(flag.rules),
                    "version": flag.version,
                }
                for flag in snapshot
            ],
            "changes": [
                {
                    "changed_at": change.at,
                    "by": change.by,
                    "name": change.name,
                    "version": change.version,
                    "deleted": change.deleted,
                }
                for change in changes
            ],
        }

    return batch(flags.snapshot(), flags.history(_SHOWN)).map(view)


def _once(asked: Asked) -> Plan[View]:
    once = Once(asked.name, codec=Bytes(), namespace=asked.namespace)
    return once.look(asked.id).map(
        lambda claim: {"state": claim.state, "since": claim.since, "ends_in": claim.ends_in or None}
    )


def _leaderboard(asked: Asked) -> Plan[View]:
    board = Leaderboard(asked.name, namespace=asked.namespace)

    def view(got: tuple[int, list[Entry]]) -> View:
        # JSON has no infinity.
        scores = [entry.score if math.isfinite(entry.score) else str(entry.score) for entry in got[1]]
        rows = [
            {"rank": entry.rank, "score": score, "member": entry.member}
            for entry, score in zip(got[1], scores, strict=True)
        ]
        return {"members": got[0], "top": rows}

    return batch(board.count(), board.top(_SHOWN)).map(view)


def _limit(asked: Asked) -> Plan[View]:
    count, per = parsed(asked.rate)
    name, namespace = asked.name, asked.namespace
    if asked.burst is not None and asked.algorithm != "bucket":
        raise ConfigurationError(f"--burst must be given for a bucket only, not for {asked.algorithm}")
    plan: Plan[Decision]
    match asked.algorithm:
        case "fixed":
            plan = FixedWindow(name, limit=count, per=per, namespace=namespace).peek(asked.id)
        case "log":
            plan = SlidingLog(name, limit=count, per=per, namespace=namespace).peek(asked.id)
        case "counter":
            plan = SlidingCounter(name, limit=count, per=per, namespace=namespace).peek(asked.id)
        case _:
            # The same in Redis as a TokenBucket or a LeakyBucket of that name.
            plan = GCRA(name, limit=count, per=per, burst=asked.burst, namespace=namespace).peek(asked.id)
    return plan.map(
        lambda decision: {
            "allowed": decision.allowed,
            "limit": decision.limit,
            "remaining": decision.remaining,
            "retry_after": decision.retry_after,
            "reset_after": decision.reset_after,
        }
    )


@flow
def _sessions(asked: Asked) -> Steps[View]:
    devices = yield from Sessions(asked.name, namespace=asked.namespace).devices(asked.id)
    rows = [
        {
            "handle": device.handle,
            "created_at": device.created_at,
            "seen_at": device.seen_at,
            "ends_at": device.ends_at,
            "about": dict(device.about),
        }
        for device in devices
    ]
    return {"sessions": len(rows), "devices": rows}


def _cache(asked: Asked) -> Plan[View]:
    key = Cache[Any](asked.name, ttl=1, namespace=asked.namespace).key(asked.id)
    commands = (Command(("GET", key)), Command(("PTTL", key)))
    return Plan("inspect.cache", commands, _entry, Effect.READS)


def _entry(answers: Sequence[Reply]) -> View:
    data, left = answers[0], replies.integer(answers[1])
    view: View = {"state": "absent", "ends_in": left / 1000 if left >= 0 else None, "bytes": None, "codec": None}
    view |= {"took_for": None, "tags": None}
    if isinstance(data, bytes):
        try:
            stored = Stored.unpack(data)
        except DecodeError:
            return view | {"state": "unreadable", "bytes": len(data)}
        if stored is None:
            return view | {"state": "being loaded or written"}
        view |= {"state": "value", "bytes": len(stored.payload), "codec": stored.codec}
        view |= {"took_for": stored.cost, "tags": ", ".join(stored.tags)}
    return view


LOOKS: dict[str, Look] = {
    "lock": Look(lambda asked: _leased(Lock(asked.name, namespace=asked.namespace))),
    "fairlock": Look(lambda asked: _leased(FairLock(asked.name, namespace=asked.namespace))),
    "reentrantlock": Look(_reentrant),
    "rwlock": Look(lambda asked: _leased(ReadWriteLock(asked.name, namespace=asked.namespace).read())),
    "semaphore": Look(lambda asked: _leased(Semaphore(asked.name, limit=1, namespace=asked.namespace))),
    "slots": Look(_slots, "whose slots"),
    "queue": Look(_queue),
    "pqueue": Look(_pqueue),
    "delayed": Look(_delayed),
    "jobs": Look(_jobs, "a job", needs_id=False),
    "once": Look(_once, "the id"),
    "leaderboard": Look(_leaderboard),
    "counter": Look(_counter, "how many shards it has", needs_id=False),
    "uniques": Look(functools.partial(_uniques, Uniques), "day, week or month, in UTC", needs_id=False),
    "exactuniques": Look(functools.partial(_uniques, ExactUniques), "day, week or month, in UTC", needs_id=False),
    "behind": Look(_behind, "how many partitions it has", needs_id=False),
    "flags": Look(_flags),
    "limit": Look(_limit, "whose state"),
    "sessions": Look(_sessions, "the user"),
    "cache": Look(_cache, "the entry's key"),
}
