"""Jobs: work that is done at least once, whoever dies on the way.

Promises: a job that was enqueued is done or dead in the end, never lost and never in two states, as far as Redis keeps
what it has; one that was done is not given to anybody again. It is doubled only where a lease has ended, because its
worker died, stood still, or was cut off; `Job.fence` grows with each delivery, and what comes from an older one is
refused. Of one priority what was enqueued first goes first, also after its worker died. A job that cannot be read, or
that kills its workers, ends among the dead, and stands in nobody's way. All times are the server's.

How: each transition is one script. Who takes jobs gets a lease on them, and prolongs it; whoever takes next notices the
leases that are over, and the jobs that are due: there is no further process. Every request can be repeated, as it has a
token or an id of its own, so that a lost answer neither loses nor doubles anything.

Keys: ``jobs:{NAME}:...``: sorted sets ``ready``, ``delayed``, ``leased``, ``dead``, ``done``; hashes ``data``, ``job``,
``errors``, ``unique``, ``meta``, ``given``, ``progress``, ``cancel``, ``workers``; lists ``wake`` and ``result:ID``.
What has to do with jobs that are not done has no TTL.

Source: the visibility timeout of Amazon SQS; the leases of Gray and Cheriton, SOSP 1989; the fence of Kleppmann, "How
to do distributed locking", 2016.
"""

from __future__ import annotations

import random
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from redis_patterns_core import replies, validate
from redis_patterns_core.codec import Codec, Json
from redis_patterns_core.errors import ConfigurationError, JobFailed, QueueFull
from redis_patterns_core.flow import Steps, flow
from redis_patterns_core.job_records import (
    Counts,
    Enqueued,
    Holding,
    Job,
    KnownJob,
    Settlement,
    TakenJobs,
    read_counts,
    read_known,
    read_taken,
    told,
)
from redis_patterns_core.keys import Keys
from redis_patterns_core.periods import due
from redis_patterns_core.plan import Command, Effect, Plan, Script
from redis_patterns_core.replies import Reply
from redis_patterns_core.validate import Duration

__all__ = ["Jobs"]

T = TypeVar("T")

_ENQUEUE = Script.load("jobs_enqueue")
_RESERVE = Script.load("jobs_reserve")
_SETTLE = Script.load("jobs_settle")
_EXTEND = Script.load("jobs_extend")
_CANCEL = Script.load("jobs_cancel")
_RESCHEDULE = Script.load("jobs_reschedule")
_REDRIVE = Script.load("jobs_redrive")
_PAUSE = Script.load("jobs_pause")
_PURGE = Script.load("jobs_purge")
_INSPECT = Script.load("jobs_inspect")
_LOOK = Script.load("jobs_look")
_RESULT = Script.load("jobs_result")
_WAKE = Script.load("jobs_wake")

_MOST_PRIORITY = 1023
_MOST_AT_ONCE = 1000
_STEP = 100
"""How many jobs one request moves because they are due or their leases are over."""
_LONGEST_ID = 200
_TOKEN = re.compile("[0-9A-Za-z_][0-9A-Za-z_-]{0,63}")
"""What the scripts can tell from what is beside it: | and a space end a token, and one after - has settled its job."""


@dataclass(frozen=True, eq=False)
class Jobs(Generic[T]):
    """A queue of jobs.

    Parameters:
        name: the queue's.
        codec: writes and reads the payloads; JSON unless another is given.
        lease: for how long a worker has a job without prolonging its lease, in seconds or as a timedelta.
        attempts: after how many failures of its handler a job is dead.
        losses: after how many losses of its worker it is; the two are counted apart.
        retry_after: how long after the first failure it is tried again, twice as long after each further one, by chance
            between nothing and that.
        most_retry: how long at most.
        max_length: how many jobs there may be that are not dead; ``None`` for any number.
        max_running: how many may be worked on at once, by all workers; ``None`` for any number.
        max_payload: how many bytes a payload may have.
        remember: for how long it is known that a job was done, so that enqueuing it again, or acknowledging it again,
            does nothing; 0 for not at all.
        result_ttl: for how long results are kept; ``None`` for not at all.
        keep_dead, keep_dead_for: how many dead jobs are kept, and for how long.
        namespace: a prefix of the keys.

    Raises:
        ConfigurationError: an empty name, a number or a duration that is not allowed.
    """

    name: str
    _: KW_ONLY
    codec: Codec[T] = field(default_factory=Json)
    lease: Duration = 30
    attempts: int = 10
    losses: int = 3
    retry_after: Duration = 1
    most_retry: Duration = 600
    max_length: int | None = None
    max_running: int | None = None
    max_payload: int = 1024 * 1024
    remember: Duration = 600
    result_ttl: Duration | None = None
    keep_dead: int = 10_000
    keep_dead_for: Duration = 30 * 24 * 3600
    namespace: str = ""
    _ms: dict[str, int] = field(init=False, repr=False)
    _prefix: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        validate.text("name", self.name)
        validate.namespace(self.namespace)
        for count in ("attempts", "losses", "max_payload", "keep_dead"):
            validate.integer(count, getattr(self, count), least=1)
        for count in ("max_length", "max_running"):
            if getattr(self, count) is not None:
                validate.integer(count, getattr(self, count), least=1)
        least = {"lease": 100, "retry_after": 0, "most_retry": 0, "remember": 0, "keep_dead_for": 1000}
        ms = {name: validate.milliseconds(name, getattr(self, name), least=few) for name, few in least.items()}
        ms["result_ttl"] = 0 if self.result_ttl is None else validate.milliseconds("result_ttl", self.result_ttl)
        object.__setattr__(self, "_ms", ms)
        object.__setattr__(self, "_prefix", Keys("jobs", namespace=self.namespace)(self.name))

    # Putting

    def enqueue(
        self,
        payload: T,
        *,
        id: str | None = None,
        delay: Duration | None = None,
        at: datetime | None = None,
        priority: int = 0,
        unique: str | None = None,
    ) -> Plan[Enqueued]:
        """Put a job.

        Parameters:
            payload: what is to be done.
            id: the job's; a new one where none is given. Putting a job again whose id is known does nothing: also one
                that is dead, for `keep_dead_for`, and one that was done, for `remember`.
            delay: after how long it is due, in seconds or as a timedelta; at once unless it or `at` is given.
            at: when it is due, with a time zone.
            priority: -1023 to 1023; lower ones go first.
            unique: while a job of the same key is there that is neither done nor dead, no other is put.

        Returns:
            A plan of one round trip that tells what became of it; idempotent.

        Raises:
            ConfigurationError: an id, a time or a priority that is not allowed, or a payload that is too large.
            EncodeError: the codec cannot write the payload.
            QueueFull: when the plan is run: there are `max_length` jobs, and nothing was put.
        """
        plan = self.enqueue_many(
            [payload],
            ids=None if id is None else [id],
            delay=delay,
            at=at,
            priority=priority,
            unique=None if unique is None else [unique],
        )
        return plan.map(lambda enqueued: enqueued[0])

    def enqueue_many(
        self,
        payloads: Iterable[T],
        *,
        ids: Sequence[str] | None = None,
        delay: Duration | None = None,
        at: datetime | None = None,
        priority: int = 0,
        unique: Sequence[str] | None = None,
    ) -> Plan[list[Enqueued]]:
        """Put up to 1000 jobs in one step, all of them or none; else as `enqueue`.

        Parameters:
            payloads: what is to be done.
            ids, unique: one for each, or none.
            delay, at, priority: for all of them.

        Raises:
            ConfigurationError, EncodeError, QueueFull: as for `enqueue`; also no payload, too many, or not as many
                ids or unique keys as payloads.
        """
        encoded = [self._encoded(payload) for payload in payloads]
        if not 1 <= len(encoded) <= _MOST_AT_ONCE:
            raise ConfigurationError(f"payloads must be 1 to {_MOST_AT_ONCE} at once, not {len(encoded)}")
        token = secrets.token_hex(8)
        # In order, as those that are due in the same millisecond come by their ids.
        names = [f"{token}{place:03x}" for place in range(len(encoded))] if ids is None else [_id(id) for id in ids]
        uniques = [""] * len(encoded) if unique is None else [validate.text("unique", key) for key in unique]
        if len(names) != len(encoded) or len(uniques) != len(encoded):
            raise ConfigurationError(f"ids and unique must be as many as payloads, {len(encoded)}")
        validate.integer("priority", priority, least=-_MOST_PRIORITY, most=_MOST_PRIORITY)
        kind, milliseconds = due(delay, at)
        words: list[str | bytes | int] = []
        for name, key, payload in zip(names, uniques, encoded, strict=True):
            words += (name, milliseconds, priority, key, payload)
        keys = self._keys("ready", "delayed", "leased", "data", "job", "unique", "done", "meta", "wake")
        command = _ENQUEUE(keys, self.max_length or 0, kind, *words)
        return Plan("jobs.enqueue", (command,), self._enqueued, Effect.IDEMPOTENT)

    # Working

    def reserve(self, count: int = 1, *, worker: str, token: str | None = None) -> Plan[TakenJobs[T]]:
        """Take up to so many jobs, each for as long as the lease runs.

        Parameters:
            count: 1 to 1000.
            worker: a name of the caller's own: who asks again with its token gets the same jobs, for a whole lease.
            token: of this request, 1 to 64 letters, digits, ``_`` and ``-``, of which ``-`` is not the first; a new one
                where none is given.

        Returns:
            A plan of one round trip, idempotent.

        Raises:
            ConfigurationError: a count or a token that is not allowed, or an empty name.
        """
        validate.integer("count", count, least=1, most=_MOST_AT_ONCE)
        return self._reserve(count, worker, _token(token))

    def reserve_when_woken(
        self, seconds: float, count: int = 1, *, worker: str, token: str | None = None
    ) -> Plan[TakenJobs[T]]:
        """Wait until there may be something to take, and take it without another question.

        For who is at rest: jobs that are there already wake nobody, so `reserve` comes first.

        Parameters:
            seconds: for how long to wait for a wake-up, 2 ms or more; after that, too, what there is is taken. Leases
                may run since the request was sent, as the answer does not say when it was that the jobs were taken.
            count, worker, token: as for `reserve`.

        Returns:
            A plan of one round trip that blocks. Where its answer is lost, `reserve` with the same token gives them.

        Raises:
            ConfigurationError: as for `reserve`.
        """
        validate.integer("count", count, least=1, most=_MOST_AT_ONCE)
        pause, shown, codec = _pause(seconds), _token(token), self.codec
        commands = (Command(("BLPOP", self._key("wake"), pause)), self._reserving(count, worker, shown))
        # Not sent twice: the second would wait for a wake-up while the leases of what the first has got run.
        return Plan("jobs.reserve", commands, lambda answers: read_taken(answers[1], shown, codec), Effect.ONCE, pause)

    def recall(self, *, worker: str, token: str) -> Plan[TakenJobs[T]]:
        """Give what was given for a request whose answer nobody waits for any more; nothing will be from now on.

        Parameters:
            worker, token: of that request.

        Returns:
            A plan of one round trip, idempotent.

        Raises:
            ConfigurationError: an empty name, or a token that is not allowed.
        """
        return self._reserve(0, worker, _token(token))

    def ack(self, job: Job[Any], result: Any = None) -> Settlement:
        """Say that a job is done.

        Parameters:
            job: which.
            result: kept for `result_ttl`, if that is set; written as JSON.

        Raises:
            EncodeError: JSON cannot write the result.
        """
        text = Json().encode(result) if self._ms["result_ttl"] else b""
        return Settlement("ack", job.id, job.token, 0, text)

    def retry(
        self,
        job: Job[Any],
        error: BaseException | str,
        *,
        delay: Duration | None = None,
        chance: Callable[[], float] = random.random,
    ) -> Settlement:
        """Say that a job has failed, and is to be tried again; or is dead, if that was its last attempt.

        Parameters:
            job: which.
            error: why; of an exception its type, message and traceback are kept, up to 4000 characters.
            delay: after how long, in seconds or as a timedelta; by `retry_after` where none is given.
            chance: random numbers from 0 to 1.

        Raises:
            ConfigurationError: a delay that is not allowed.
        """
        if job.attempts + 1 >= self.attempts:
            return self.give_up(job, error)
        if delay is not None:
            milliseconds = validate.milliseconds("delay", delay, least=0)
        else:
            # Full jitter: many that fail together do not come again together.
            most = min(self._ms["most_retry"], self._ms["retry_after"] * 2 ** min(job.attempts, 40))
            milliseconds = round(most * chance())
        return Settlement("retry", job.id, job.token, milliseconds, told(error))

    def give_up(self, job: Job[Any], error: BaseException | str) -> Settlement:
        """Say that a job is not to be tried again: it is dead, and kept with its error."""
        return Settlement("kill", job.id, job.token, 0, told(error))

    def release(self, job: Job[Any]) -> Settlement:
        """Give a job back, as a worker does that stops: it is at its old place, and nothing is counted."""
        return Settlement("release", job.id, job.token, 0, "")

    def settle(self, *settlements: Settlement) -> Plan[list[bool]]:
        """Tell Redis what became of jobs.

        Parameters:
            settlements: up to 1000, in their order.

        Returns:
            A plan of one round trip that tells of each whether it is so: not where the lease had ended and somebody
            else was given the job. Idempotent; where the first answer was lost, the second may be that it is not so any
            more: of a job that was given back, or was to be tried again, and that was taken meanwhile, or was gone as
            somebody had cancelled it.

        Raises:
            ConfigurationError: none, or too many.
        """
        if not 1 <= len(settlements) <= _MOST_AT_ONCE:
            raise ConfigurationError(f"settlements must be 1 to {_MOST_AT_ONCE} at once, not {len(settlements)}")
        for one in settlements:
            validate.instance("settlements", one, Settlement)
        parts = ["ready", "delayed", "leased", "data", "job", "unique", "done", "meta", "wake", "dead", "errors"]
        keys = self._keys(*parts, "progress", "cancel")
        if self._ms["result_ttl"]:
            keys += [self._result_key(one.id) for one in settlements]
        words: list[str | bytes | int] = []
        for one in settlements:
            words += (one.verb, one.id, one.token, one.delay, one.text)
        kept = (self._ms["remember"], self._ms["result_ttl"], self.keep_dead, self._ms["keep_dead_for"])
        command = _SETTLE(keys, *kept, *words)

        def parse(answers: Sequence[Reply]) -> list[bool]:
            return [code > 0 for code in replies.integers(answers[0], len(settlements))]

        return Plan("jobs.settle", (command,), parse, Effect.IDEMPOTENT)

    def report(self, job: Job[Any], progress: str) -> Plan[bool]:
        """Say how far a job has come, for those who `look` at it; a handler's.

        Parameters:
            job: which.
            progress: any text; kept until it is replaced, or the job is over.

        Returns:
            A plan of one round trip that tells whether the job is still its worker's, as `settle` does; idempotent.

        Raises:
            ConfigurationError: what is no text, or none that UTF-8 can write.
        """
        settlement = Settlement("note", job.id, job.token, 0, validate.text_or_empty("progress", progress))
        return self.settle(settlement).map(lambda held: held[0])

    def extend(self, jobs: Sequence[Job[Any]], *, worker: str, about: str = "") -> Plan[list[Holding]]:
        """Prolong the leases of jobs, and show that the worker is there.

        Parameters:
            jobs: up to 1000; none only shows that the worker is there.
            worker: its name.
            about: what it says of itself.

        Returns:
            A plan of one round trip that tells of each job whether it is still held, or should be given up, as somebody
            has cancelled it; idempotent.

        Raises:
            ConfigurationError: too many, an empty name, or what is no text that UTF-8 can write.
        """
        if len(jobs) > _MOST_AT_ONCE:
            raise ConfigurationError(f"jobs must be at most {_MOST_AT_ONCE} at once, not {len(jobs)}")
        validate.text_or_empty("about", about)
        words = [word for job in jobs for word in (job.id, job.token)]
        keys = self._keys("leased", "job", "cancel", "workers")
        command = _EXTEND(keys, self._ms["lease"], validate.text("worker", worker), about, *words)
        names: tuple[Holding, ...] = ("lost", "held", "cancelled")

        def parse(answers: Sequence[Reply]) -> list[Holding]:
            return [names[code] for code in replies.integers(answers[0], len(jobs))]

        return Plan("jobs.extend", (command,), parse, Effect.IDEMPOTENT)

    def wait_for_work(self, seconds: float) -> Plan[bool]:
        """Wait until there may be something to take: somebody has put a job, or given one back.

        Parameters:
            seconds: for how long, 2 ms or more.

        Returns:
            A plan of one round trip that blocks, and tells whether there may be; of several who wait one is woken.
        """
        pause = _pause(seconds)
        command = Command(("BLPOP", self._key("wake"), pause))
        return Plan("jobs.wait", (command,), lambda answers: answers[0] is not None, Effect.IDEMPOTENT, pause)

    def wake(self) -> Plan[None]:
        """Wake one of those who wait for work; who was woken and has no room passes it on so. One round trip."""
        return Plan("jobs.wake", (_WAKE((self._key("wake"),)),), lambda _: None, Effect.IDEMPOTENT)

    # Results

    @flow
    def result(self, id: str, *, wait: Duration = 0) -> Steps[Any]:
        """Give what a job has given, which is kept for `result_ttl`, or until it is to be done again.

        Parameters:
            id: the job's.
            wait: seconds, or a timedelta, to wait for it.

        Returns:
            A flow of one round trip; two where it waits.

        Raises:
            JobFailed: the job is dead, and as long as that is kept; says why.
            LookupError: there is no result (yet).
            ConfigurationError: results are not kept, or a wait that is not allowed.
        """
        if not self._ms["result_ttl"]:
            raise ConfigurationError("result_ttl must be set for results to be kept")
        seconds = validate.milliseconds("wait", wait, least=0) / 1000
        key = self._result_key(_id(id))
        asked = _RESULT([key, *self._keys("job", "dead", "errors")], id)
        found = yield from Plan("jobs.result", (asked,), replies.first, Effect.IDEMPOTENT)
        if found is None and seconds:
            # Onto itself, so that all who wait find it.
            pause = _pause(seconds)
            command = Command(("BLMOVE", key, key, "LEFT", "LEFT", pause))
            found = yield from Plan("jobs.result", (command,), replies.first, Effect.IDEMPOTENT, pause)
        if not isinstance(found, bytes):
            raise LookupError("the job has no result yet, or its result is not kept any more")  # noqa: TRY004  not a type
        if found[:1] == b"-":
            raise JobFailed(id, found[1:].decode(errors="replace"))
        return Json().decode(found[1:])

    # Managing

    def inspect(self) -> Plan[Counts]:
        """Tell how many jobs there are of each state, and who works. One round trip."""
        keys = self._keys("ready", "delayed", "leased", "dead", "job", "meta", "workers")
        return Plan("jobs.inspect", (_INSPECT(keys),), lambda answers: read_counts(answers[0]), Effect.READS)

    def look(self, *ids: str) -> Plan[list[KnownJob[T]]]:
        """Tell all that is known of some jobs. One round trip.

        Raises:
            ConfigurationError: no id, or one that is not allowed.
        """
        if not ids:
            raise ConfigurationError("ids must be at least one")
        return self._known(0, len(ids), [_id(id) for id in ids])

    def dead(self, count: int = 100, *, skip: int = 0) -> Plan[list[KnownJob[T]]]:
        """Tell of dead jobs, those that died last first. One round trip.

        Parameters:
            count: how many at most, 1 to 1000.
            skip: how many are left out.

        Raises:
            ConfigurationError: a number that is not allowed.
        """
        validate.integer("count", count, least=1, most=_MOST_AT_ONCE)
        return self._known(validate.integer("skip", skip, least=0), count, [])

    def redrive(self, *ids: str, count: int = 100) -> Plan[int]:
        """Let dead jobs be tried again, as if never before.

        Parameters:
            ids: which; those that died first where none is given.
            count: how many of those at most, 1 to 1000.

        Returns:
            A plan of one round trip that gives how many there were; idempotent where ids are given, of which those that
            are not dead any more do not count: none, where the first answer was lost. One whose unique key is another
            job's now stays dead, as do those for which there is no room; without ids the next is taken in its stead,
            past up to 1000 of them.

        Raises:
            ConfigurationError: an id or a number that is not allowed.
        """
        most = len(ids) or validate.integer("count", count, least=1, most=_MOST_AT_ONCE)
        keys = self._keys("ready", "delayed", "leased", "dead", "job", "unique", "meta", "wake", "progress", "cancel")
        command = _REDRIVE(keys, self.max_length or 0, most, *[_id(id) for id in ids])
        effect = Effect.IDEMPOTENT if ids else Effect.ONCE
        return Plan("jobs.redrive", (command,), replies.first_integer, effect)

    def cancel(self, id: str) -> Plan[Literal["cancelled", "told", "unknown"]]:
        """Take a job back.

        Returns:
            A plan of one round trip: it is ``cancelled``, or who works on it is ``told`` when it prolongs its lease, or
            there is no such job that is not dead, which is also what is said where the first answer was lost;
            idempotent. One of which somebody is told is cancelled too where it fails, or is given back, before that.

        Raises:
            ConfigurationError: an id that is not allowed.
        """
        keys = self._keys("ready", "delayed", "leased", "data", "job", "unique", "meta", "errors", "cancel", "progress")
        names: tuple[Literal["unknown", "cancelled", "told"], ...] = ("unknown", "cancelled", "told")
        command = _CANCEL(keys, _id(id))

        def parse(answers: Sequence[Reply]) -> Literal["cancelled", "told", "unknown"]:
            return names[replies.integer(answers[0])]

        return Plan("jobs.cancel", (command,), parse, Effect.IDEMPOTENT)

    def reschedule(self, id: str, *, delay: Duration | None = None, at: datetime | None = None) -> Plan[bool]:
        """Let a job that nobody works on be due at another time.

        Parameters:
            id: the job's.
            delay, at: as for `enqueue`.

        Returns:
            A plan of one round trip that tells whether it is neither worked on, dead nor done; idempotent.

        Raises:
            ConfigurationError: an id or a time that is not allowed.
        """
        kind, milliseconds = due(delay, at)
        command = _RESCHEDULE(self._keys("ready", "delayed", "meta", "wake"), _id(id), kind, milliseconds)
        return Plan("jobs.reschedule", (command,), replies.first_is_one, Effect.IDEMPOTENT)

    def pause(self) -> Plan[bool]:
        """Let no job be taken until `resume`; those that are worked on go on.

        Returns:
            A plan of one round trip that tells whether it was otherwise before, so not where the first answer was lost;
            idempotent.
        """
        return self._paused(1)

    def resume(self) -> Plan[bool]:
        """Let jobs be taken again.

        Returns:
            A plan of one round trip that tells whether it was otherwise before, so not where the first answer was lost;
            idempotent.
        """
        return self._paused(0)

    @flow
    def purge(self, state: Literal["ready", "delayed", "dead"]) -> Steps[int]:
        """Throw all jobs of one state away.

        Returns:
            A flow of one round trip for each 1000 of them that gives how many there were.

        Raises:
            ConfigurationError: another state.
        """
        if state not in ("ready", "delayed", "dead"):
            raise ConfigurationError(f"state must be ready, delayed or dead, not {validate.shown(state)}")
        keys = self._keys(state, "data", "job", "unique", "errors", "meta", "progress", "cancel")
        plan = Plan("jobs.purge", (_PURGE(keys, _MOST_AT_ONCE),), replies.first_integer, Effect.ONCE)
        total = 0
        while True:
            count = yield from plan
            total += count
            if count < _MOST_AT_ONCE:
                return total

    # Pieces

    @property
    def lease_seconds(self) -> float:
        """For how long a worker has a job without prolonging its lease, in seconds."""
        return self._ms["lease"] / 1000

    def _key(self, part: str) -> str:
        return f"{self._prefix}:{part}"

    def _keys(self, *parts: str) -> list[str]:
        prefix = self._prefix
        return [f"{prefix}:{part}" for part in parts]

    def _result_key(self, id: str) -> str:
        return f"{self._prefix}:result:{id}"

    def _reserve(self, count: int, worker: str, token: str) -> Plan[TakenJobs[T]]:
        command, codec = self._reserving(count, worker, token), self.codec
        return Plan("jobs.reserve", (command,), lambda answers: read_taken(answers[0], token, codec), Effect.IDEMPOTENT)

    def _reserving(self, count: int, worker: str, token: str) -> Command:
        validate.text("worker", worker)
        parts = [
            "ready",
            "delayed",
            "leased",
            "data",
            "job",
            "unique",
            "done",
            "meta",
            "wake",
            "dead",
            "errors",
            "given",
            "progress",
            "cancel",
        ]
        return _RESERVE(
            self._keys(*parts),
            count,
            self._ms["lease"],
            token,
            worker,
            self.max_running or 0,
            self.losses,
            _STEP,
            self.keep_dead,
            self._ms["keep_dead_for"],
        )

    def _encoded(self, payload: T) -> bytes:
        data = self.codec.encode(payload)
        if len(data) > self.max_payload:
            raise ConfigurationError(f"payload must have at most {self.max_payload} bytes, not {len(data)}")
        return data

    def _enqueued(self, answers: Sequence[Reply]) -> list[Enqueued]:
        items = replies.array(answers[0])
        if len(items) == 1:
            raise QueueFull(f"the queue {self.name!r} may have {self.max_length} jobs, and would have more")
        names: dict[Reply, Literal["created", "exists", "done", "duplicate"]]
        names = {1: "created", 2: "exists", 3: "done", 4: "duplicate"}
        return [Enqueued(replies.text(id), names[code]) for code, id in zip(items[::2], items[1::2], strict=True)]

    def _paused(self, paused: int) -> Plan[bool]:
        command = _PAUSE(self._keys("meta", "wake"), paused)
        name = "jobs.pause" if paused else "jobs.resume"
        return Plan(name, (command,), replies.first_is_one, Effect.IDEMPOTENT)

    def _known(self, skip: int, count: int, ids: Sequence[str]) -> Plan[list[KnownJob[T]]]:
        keys = self._keys("ready", "delayed", "leased", "dead", "done", "job", "data", "errors", "progress")
        command = _LOOK(keys, skip, count, *ids)

        def parse(answers: Sequence[Reply]) -> list[KnownJob[T]]:
            return [read_known(item, self.codec) for item in replies.array(answers[0])]

        return Plan("jobs.look", (command,), parse, Effect.READS)


def _id(id: str) -> str:
    if len(validate.text("id", id)) > _LONGEST_ID:
        raise ConfigurationError(f"id must be a text of 1 to {_LONGEST_ID} characters, not {validate.shown(id)}")
    return id


def _token(token: str | None) -> str:
    if token is None:
        return secrets.token_hex(8)
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        # Which is not shown, as it is a secret.
        raise ConfigurationError("token must be 1 to 64 letters, digits, _ and -, and not begin with -")
    return token


def _pause(seconds: float) -> float:
    # What Redis takes for 0 would be for ever.
    return max(0.002, round(seconds, 3))
