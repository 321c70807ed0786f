"""What ``redis-patterns tour`` shows: each pattern's Python, the commands it becomes, its result and its round trips.

The tour is written once, as values: `sections` is a list of what to run and of what should come of it, and `Tour.walk`
is a flow over it, which any driver runs. A new pattern is one more `Section` in that list.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from redis_patterns_core import replies
from redis_patterns_core.all_of import AllOf
from redis_patterns_core.bucketed_counters import BucketedCounter
from redis_patterns_core.buckets import TokenBucket
from redis_patterns_core.cache import Cache
from redis_patterns_core.cache_entries import MISS
from redis_patterns_core.cluster import keys_of
from redis_patterns_core.counters import Counter
from redis_patterns_core.errors import CommandFailed, PatternsError
from redis_patterns_core.flag import Flag
from redis_patterns_core.flags import Flags
from redis_patterns_core.flow import Call, Defer, Flow, Steps, flow
from redis_patterns_core.job_records import Job
from redis_patterns_core.jobs import Jobs
from redis_patterns_core.keys import key
from redis_patterns_core.leaderboards import Leaderboard
from redis_patterns_core.leases import Lease
from redis_patterns_core.locks import Lock
from redis_patterns_core.member_data import MemberData
from redis_patterns_core.once import Once
from redis_patterns_core.ordered_queues import DelayedQueue, PriorityQueue
from redis_patterns_core.periods import DAY, utc_now
from redis_patterns_core.plan import Command, Effect, Plan, batch
from redis_patterns_core.queued_locks import ReadWriteLock
from redis_patterns_core.queues import EMPTY, FifoQueue
from redis_patterns_core.sessions import Sessions
from redis_patterns_core.slots import ConcurrencyLimit
from redis_patterns_core.standings import Entry, ScoreChange
from redis_patterns_core.tracing import Outcome, Subject
from redis_patterns_core.uniques import Uniques
from redis_patterns_core.windows import FixedWindow, SlidingLog
from redis_patterns_core.write_behind import WriteBehind

T = TypeVar("T")

WIDTH = 80
_COLORS = {"title": "1", "python": "33", "command": "36", "quiet": "2", "right": "32", "wrong": "1;31"}
_SHA = re.compile(r"\b([0-9a-f]{7})[0-9a-f]{33}\b")


@dataclass(frozen=True)
class Step(Generic[T]):
    """One line of the tour.

    Parameters:
        line: the Python expression that makes `does`, in the names that the sections give.
        does: what is run.
        right: whether the result is what it should be.
        name: what the line calls its result, where a later line uses it.
        under: a lock, called ``lock``, that is held meanwhile.
        keys: the keys that a flow writes; those of a plan and of the lock are known.
    """

    line: str
    does: Plan[T] | Flow[T]
    right: Callable[[T], bool]
    name: str = ""
    under: Lock | None = None
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """The part of the tour that shows one pattern.

    Parameters:
        title: the pattern and what it is for, one line.
        steps: in order; a section may build on those before it.
        given: the patterns that it introduces, by the names that lines call them.
    """

    title: str
    steps: Sequence[Step[Any]]
    given: Mapping[str, object] = field(default_factory=dict[str, object])


def sections(namespace: str) -> list[Section]:
    """Give the tour.

    Parameters:
        namespace: the prefix of all its keys.
    """
    users: Cache[str] = Cache("users", ttl=60, namespace=namespace)
    sessions = Sessions(namespace=namespace)
    session_id = f"{sessions.new_id('ann')[:16]}a-laptop-of-anns{'never-show-one':->43}"  # random outside of a tour
    create = sessions.create("ann", {"cart": ["tea"]}, id=session_id)
    jobs: Jobs[dict[str, str]] = Jobs("mails", namespace=namespace)
    # Known beforehand, as the step that asks for it names its token.
    job = Job("welcome", {"to": "ann"}, "t", 1, 0, 0, 0.0, 0)
    job_keys = tuple(str(key) for key in keys_of(jobs.reserve(1, worker="w").commands[0]))
    profiles: WriteBehind[dict[str, str]] = WriteBehind("profiles", ttl=60, namespace=namespace)
    tickets: PriorityQueue[str] = PriorityQueue("tickets", namespace=namespace)
    reminders: DelayedQueue[str] = DelayedQueue("reminders", namespace=namespace)
    charges: Once[str] = Once("charges", namespace=namespace)
    mails: FifoQueue[str] = FifoQueue("mails", namespace=namespace)
    flags = Flags("shop", namespace=namespace)
    new_ui = Flag("new-ui", percentage=25, allowlist=["ann"], blocklist=["bob"])
    weekly = Leaderboard("weekly", namespace=namespace)
    race = Leaderboard("race", order="lowest", ties="dense", first_come=True, namespace=namespace)
    racers: MemberData[str] = MemberData(race)
    orders = Counter("orders", namespace=namespace)
    views = BucketedCounter("views", namespace=namespace)
    visitors = Uniques("home", namespace=namespace)
    now = utc_now()
    limiter = TokenBucket("api", capacity=2, refill_rate=0.1, namespace=namespace)
    window = FixedWindow("logins", limit=1, per=3600, namespace=namespace)
    log = SlidingLog("mails", limit=2, per=3600, namespace=namespace)
    both = AllOf(
        SlidingLog("burst", limit=5, per=60, namespace=namespace),
        FixedWindow("month", limit=1000, per=2_592_000, namespace=namespace),
    )
    exports = ConcurrencyLimit("exports", limit=1, namespace=namespace)
    slot = exports.slot("alice")
    rw = ReadWriteLock("catalogue", ttl=10, namespace=namespace)
    lock = Lock("order:123", ttl=10, namespace=namespace)
    lease = Lease(lock.name, "worker-1")  # known beforehand, as the step that acquires it names its token
    ann, bob = Entry("ann", 30.0, 1), Entry("bob", 12.5, 2)
    # What a flow writes, as its plans are made on the way.
    parts = ("value:ann", "dirty", "due", "saving", "failed", "dead", "last")
    kept_behind = tuple(key("behind", "profiles", "0", part=part, namespace=namespace) for part in parts)
    cached = {name: (users.key(name), f"{users.key(name)}:wake") for name in ("1", "2")}
    return [
        Section(
            "Leaderboard: members by score, the highest first",
            [
                Step('weekly.add("ann", 30)', weekly.add("ann", 30), _is(None)),
                Step('weekly.increment("bob", 12.5)', weekly.increment("bob", 12.5), _is(12.5)),
                Step("weekly.top(3)", weekly.top(3), _is([ann, bob])),
                Step('weekly.around("bob", 2)', weekly.around("bob", 2), _is([ann, bob])),
                Step('weekly.rank("nobody")', weekly.rank("nobody"), _is(None)),
            ],
            {"weekly": weekly},
        ),
        Section(
            "Leaderboard: the lowest first, equal ones by who came first",
            [
                Step(
                    'race.submit_many({"bob": 58.1, "ann": 58.1, "cy": 60})',
                    race.submit_many({"bob": 58.1, "ann": 58.1, "cy": 60}),
                    lambda got: [change.rank for change in got.values()] == [1, 1, 2],
                ),
                Step('race.submit("cy", 59.9)', race.submit("cy", 59.9), _is(ScoreChange(old=60.0, new=59.9, rank=2))),
                Step('racers.put("bob", "Bob of Bern")', racers.put("bob", "Bob of Bern"), lambda got: got),
                Step(
                    "racers.top(2)",
                    racers.top(2),
                    _is([(Entry("bob", 58.1, 1), "Bob of Bern"), (Entry("ann", 58.1, 1), None)]),
                ),
                Step('race.percentile("cy")', race.percentile("cy"), lambda got: got is not None and 33 < got < 34),
                Step("race.bands([59, 60])", race.bands([59, 60]), _is([2, 1, 0])),
            ],
            {"race": race, "racers": racers},
        ),
        Section(
            "Counter: what is counted, once for each event",
            [
                Step("orders.increment(5)", orders.increment(5), _is(5)),
                Step('orders.increment(event="order:123")', orders.increment(event="order:123"), _is(6)),
                Step('orders.increment(event="order:123")', orders.increment(event="order:123"), _is(6)),
                Step('orders.reset(id="monday")', orders.reset(id="monday"), _is(6)),
                Step("orders.value()", orders.value(), _is(0)),
            ],
            {"orders": orders},
        ),
        Section(
            "BucketedCounter: counts by minute, hour and day in one step",
            [
                Step("views.add(3, at=now)", views.add(3, at=now), _is(None)),
                Step('views.add(at=now, event="e")', views.add(at=now, event="e"), _is(None)),
                Step('views.add(at=now, event="e")', views.add(at=now, event="e"), _is(None)),
                Step("views.total(DAY, now)", views.total(DAY, now), _is(4)),
            ],
            {"views": views, "now": now, "DAY": DAY},
        ),
        Section(
            "Uniques: how many different visitors a day",
            [
                Step('visitors.add("ann", "bob", at=now)', visitors.add("ann", "bob", at=now), _is(None)),
                Step('visitors.add("ann", at=now)', visitors.add("ann", at=now), _is(None)),
                Step("visitors.count(now)", visitors.count(now), _is(2)),
            ],
            {"visitors": visitors},
        ),
        Section(
            "Cache: values by key, forgotten by key, by tag or all at once",
            [
                Step(
                    'users.set("1", "Ann", tags=["staff"])',
                    users.set("1", "Ann", tags=["staff"]),
                    _is(None),
                    keys=(users.key("1"), key("tag", "staff", namespace=namespace)),
                ),
                Step('users.get("1")', users.get("1"), _is("Ann")),
                Step('users.invalidate_tags("staff")', users.invalidate_tags("staff"), _is(None)),
                Step('users.get("1")', users.get("1"), _is(MISS)),
                Step('users.load("2", str)', users.load("2", str), _is(""), keys=cached["2"]),
                Step('users.get("2")', users.get("2"), _is("")),
                Step(
                    'users.write("1", "Anna", save=len)',
                    users.write("1", "Anna", save=len),
                    lambda got: got,
                    keys=cached["1"],
                ),
                Step('users.invalidate("1", "2")', users.invalidate("1", "2"), _is(2)),
            ],
            {"users": users},
        ),
        Section(
            "WriteBehind: written at once, and saved a little later",
            [
                Step(
                    'profiles.put("ann", {"town": "Bern"})',
                    profiles.put("ann", {"town": "Bern"}),
                    lambda got: got > 0,
                    keys=kept_behind,
                ),
                Step('profiles.get("ann")', profiles.get("ann"), _is({"town": "Bern"})),
                Step("profiles.flush(len, all_now=True)", profiles.flush(len, all_now=True), _is(1)),
                Step("profiles.pending()", profiles.pending(), _is(0)),
            ],
            {"profiles": profiles},
        ),
        Section(
            "Sessions: what is known of a visitor, until it ends",
            [
                Step('sessions.create("ann", {"cart": ["tea"]}, id=id)', create, lambda got: got.user == "ann"),
                Step(
                    "sessions.load(id)",
                    sessions.load(session_id),
                    lambda got: got is not None and got.data == {"cart": ["tea"]},
                ),
                Step('sessions.count("ann")', sessions.count("ann"), _is(1)),
                Step('sessions.destroy_all("ann")', sessions.destroy_all("ann"), _is(1)),
                Step("sessions.load(id)", sessions.load(session_id), _is(None)),
            ],
            {"sessions": sessions, "id": session_id},
        ),
        Section(
            "Jobs: work that is done at least once, whoever dies",
            [
                Step(
                    'jobs.enqueue({"to": "ann"}, id="welcome")',
                    jobs.enqueue({"to": "ann"}, id="welcome"),
                    lambda got: got.created,
                    keys=job_keys,
                ),
                Step(
                    'jobs.enqueue({"to": "ann"}, id="welcome")',
                    jobs.enqueue({"to": "ann"}, id="welcome"),
                    lambda got: got.outcome == "exists",
                ),
                Step(
                    'jobs.reserve(1, worker="w", token="t")',
                    jobs.reserve(1, worker="w", token="t"),  # noqa: S106  shown
                    lambda got: [one.id for one in got.jobs] == ["welcome"],
                ),
                Step("jobs.settle(jobs.ack(job))", jobs.settle(jobs.ack(job)), _is([True])),
            ],
            {"jobs": jobs, "job": job},
        ),
        Section(
            "Once: done one time for each id, whoever asks again",
            [
                Step(
                    'charges.run("order-1", str.format, "{} EUR paid", 5)',
                    charges.run("order-1", str.format, "{} EUR paid", 5),
                    _is("5 EUR paid"),
                    keys=(charges.key("order-1"),),
                ),
                Step(
                    'charges.run("order-1", str.format, "{} EUR paid", 5)',
                    charges.run("order-1", str.format, "{} EUR paid", 5),
                    _is("5 EUR paid"),
                ),
                Step(
                    'charges.claim("order-2", "t")', charges.claim("order-2", "t"), lambda got: got.state == "claimed"
                ),
                Step('charges.look("order-2")', charges.look("order-2"), lambda got: got.state == "running"),
                Step('charges.abandon("order-2", "t")', charges.abandon("order-2", "t"), lambda got: got),
            ],
            {"charges": charges},
        ),
        Section(
            "FifoQueue: first in, first out, at most once",
            [
                Step('mails.put_many(["a", "b"])', mails.put_many(["a", "b"]), _is(2)),
                Step("mails.pop()", mails.pop(), _is("a"), keys=(mails.key,)),
                Step("mails.length()", mails.length(), _is(1)),
            ],
            {"mails": mails},
        ),
        Section(
            "PriorityQueue: the lowest number first, and of one priority in order",
            [
                Step('tickets.put("a question", 5)', tickets.put("a question", 5), _is(1)),
                Step('tickets.put("it burns", 0)', tickets.put("it burns", 0), _is(2)),
                Step("tickets.pop_many(2)", tickets.pop_many(2), _is(["it burns", "a question"])),
            ],
            {"tickets": tickets},
        ),
        Section(
            "DelayedQueue: nothing can be taken before its time",
            [
                Step('reminders.put("tea", delay=240)', reminders.put("tea", delay=240), _is(1)),
                Step("reminders.pop()", reminders.pop(), _is(EMPTY)),
                Step("reminders.length()", reminders.length(), _is(1)),
            ],
            {"reminders": reminders},
        ),
        Section(
            "Flags: who has a feature, the same everywhere",
            [
                Step(
                    'flags.put(new_ui, by="zoe", token="t")',
                    flags.put(new_ui, by="zoe", token="t"),  # noqa: S106  shown
                    _is(1),
                ),
                Step('flags.is_enabled("new-ui", "ann")', flags.is_enabled("new-ui", "ann"), lambda got: got),
                Step('flags.is_enabled("new-ui", "bob")', flags.is_enabled("new-ui", "bob"), lambda got: not got),
                Step(
                    'flags.evaluate("new-ui", "cy", default=False)',
                    flags.evaluate("new-ui", "cy", default=False),
                    lambda got: (got.value, got.step) == (False, "default"),
                ),
                Step(
                    'flags.delete("new-ui", expected_version=1, token="u")',
                    flags.delete("new-ui", expected_version=1, token="u"),  # noqa: S106  shown
                    lambda got: got,
                ),
            ],
            {"flags": flags, "new_ui": new_ui},
        ),
        Section(
            "TokenBucket: two at once, one more every ten seconds",
            [
                Step('limiter.hit("alice")', limiter.hit("alice"), lambda got: got.allowed and got.remaining == 1),
                Step('limiter.hit("alice")', limiter.hit("alice"), lambda got: got.allowed and got.remaining == 0),
                Step(
                    'limiter.hit("alice")',
                    limiter.hit("alice"),
                    lambda got: not got.allowed and got.retry_after is not None and 0 < got.retry_after <= 10,
                ),
                Step('limiter.peek("bob")', limiter.peek("bob"), lambda got: got.allowed and got.remaining == 2),
            ],
            {"limiter": limiter},
        ),
        Section(
            "FixedWindow and SlidingLog: so many in an hour",
            [
                Step('window.hit("alice")', window.hit("alice"), lambda got: got.allowed and got.remaining == 0),
                Step('window.hit("alice")', window.hit("alice"), lambda got: not got.allowed),
                Step('log.hit("alice", 2)', log.hit("alice", 2), lambda got: got.allowed and got.remaining == 0),
                Step('log.hit("alice")', log.hit("alice"), lambda got: not got.allowed),
            ],
            {"window": window, "log": log},
        ),
        Section(
            "AllOf: several limits in one step, all or none",
            [
                Step('both.hit("alice", cost=3)', both.hit("alice", cost=3), lambda got: got.remaining == 2),
                Step(
                    'both.hit("alice", cost=3)',
                    both.hit("alice", cost=3),
                    lambda got: got.refused_by == ("burst",) and [part.remaining for part in got.parts] == [2, 997],
                ),
            ],
            {"both": both},
        ),
        Section(
            "ConcurrencyLimit: so many at the same time",
            [
                Step('slot.acquire(token="worker-1")', slot.acquire(token="worker-1"), lambda got: got is not None),  # noqa: S106  shown
                Step('slot.acquire(token="worker-2")', slot.acquire(token="worker-2"), _is(None)),  # noqa: S106  the same
                Step('exports.count("alice")', exports.count("alice"), _is(1)),
            ],
            {"exports": exports, "slot": slot},
        ),
        Section(
            "ReadWriteLock: readers together, a writer alone",
            [
                Step('rw.read().acquire(token="reader-1")', rw.read().acquire("reader-1"), lambda got: got is not None),
                Step('rw.read().acquire(token="reader-2")', rw.read().acquire("reader-2"), lambda got: got is not None),
                Step('rw.write().acquire(token="writer-1")', rw.write().acquire("writer-1"), _is(None)),
            ],
            {"rw": rw},
        ),
        Section(
            "Lock: one holder at a time, for as long as a lease runs",
            [
                Step('lock.acquire(token="worker-1")', lock.acquire(token="worker-1"), _is(lease), name="lease"),  # noqa: S106  shown
                Step('lock.acquire(token="worker-2")', lock.acquire(token="worker-2"), _is(None)),  # noqa: S106  the same
                Step("lock.extend(lease, ttl=30)", lock.extend(lease, ttl=30), lambda held: held),
                Step("lock.release(lease)", lock.release(lease), lambda held: held),
                Step('weekly.increment("ann")', weekly.increment("ann"), _is(31.0), under=lock),
            ],
            {"lock": lock},
        ),
        Section(
            "batch: several patterns in one round trip",
            [
                Step(
                    'batch(limiter.hit("carol"), weekly.top(1), lock.acquire(token="worker-3"))',
                    batch(limiter.hit("carol"), weekly.top(1), lock.acquire(token="worker-3")),  # noqa: S106  shown
                    lambda got: got[0].allowed and got[1] == [Entry("ann", 31.0, 1)] and got[2] is not None,
                ),
            ],
        ),
    ]


class Tour:
    """Walks through sections, and is the instrument of the driver that it walks on.

    Parameters:
        sections: what to run.
        show: prints a text.
        on: the server's name, where it cannot be asked.
        where: what the server is, such as ``embedded``.
        driver: the driver's name.
        colored: whether to colour what is shown.
    """

    def __init__(
        self,
        sections: Sequence[Section],
        *,
        show: Callable[[str], None],
        on: str = "",
        where: str,
        driver: str,
        colored: bool,
    ) -> None:
        self.wrong = 0
        """How many steps did not do what they should."""
        self.left_behind: BaseException | None = None
        """What kept keys from being deleted, if anything did."""
        self._sections = sections
        self._show = show
        self._on = on
        self._where = where
        self._driver = driver
        self._run = "redis.run" if driver == "sync" else "await redis.run"
        self._with = "with" if driver == "sync" else "async with"
        self._colored = colored
        self._steps = 0
        self._round_trips = 0
        # What the driver told of the step that runs.
        self._seen: list[Subject] = []
        self._sent = 0

    def begin(self, subject: Subject) -> Callable[[Outcome], None]:
        """Note what the driver runs, as its instrument."""
        if subject.commands:  # of a flow, each plan is told by itself
            self._seen.append(subject)
        return self._end

    def _end(self, outcome: Outcome) -> None:
        self._sent += outcome.round_trips

    def not_cleaned_up(self, _: Plan[Any] | Flow[Any], error: BaseException) -> None:
        """Note that a clean-up failed, as the driver's handler of errors in the background."""
        self.left_behind = error

    @flow
    def walk(self, hold: Callable[[Lock, Plan[Any] | Flow[Any]], Any]) -> Steps[None]:
        """Run all steps and show them; whatever ends it, its keys are deleted.

        Parameters:
            hold: runs a plan or a flow while a lock is held, which only a driver can do.

        Raises:
            Unreachable, OutcomeUnknown: the server cannot be reached (any more). Other errors of the library are shown
                where they happen.
        """
        server = f"{self._on or (yield from _name_of_server())} ({self._where})"
        yield from Defer(_delete(_keys(self._sections)))
        yield from self._say(f"redis-patterns tour on {server}, with redis_patterns.{self._driver}", "title")
        for section in self._sections:
            yield from self._say(f"\n{section.title}", "title")
            for name, pattern in section.given.items():
                yield from self._say(f"{name} = {pattern!r}", "quiet")
            for step in section.steps:
                yield from self._take(step, hold)
        verdict = f"{self.wrong} WRONG" if self.wrong else "all as they should be"
        summary = f"{_count(self._steps, 'step')} on {server}, {_count(self._round_trips, 'round trip')}, {verdict}"
        yield from self._say(f"\n{summary}", "wrong" if self.wrong else "right")

    def _take(self, step: Step[Any], hold: Callable[[Lock, Plan[Any] | Flow[Any]], Any]) -> Steps[None]:
        self._seen, self._sent = [], 0
        try:
            result: Any
            if step.under is not None:
                result = yield from Call(hold, step.under, step.does)
            else:
                result = yield step.does
            shown, right = repr(result), step.right(result)
        except PatternsError as error:
            if isinstance(error, ConnectionError):
                raise  # the other steps would only wait for it as long
            shown, right = f"{type(error).__name__}: {error}", False
        self._steps += 1
        self._round_trips += self._sent
        self.wrong += not right

        line = f"{step.name} = {self._run}({step.line})" if step.name else f"{self._run}({step.line})"
        yield from self._say("")
        if step.under is not None:
            yield from self._say(f"{self._with} redis.hold(lock):", "python")
        yield from self._say(line, "python", indent="" if step.under is None else "    ")
        for command in self._commands(step):
            comment = command.startswith("#")  # a script's name, before its call
            yield from self._say(command, "quiet" if comment else "command", indent="    " if comment else "  > ")
        yield from self._say(shown, indent="    ")
        trips = _count(self._sent, "round trip")
        if right:
            yield from self._say(f"ok, {trips}", "right", indent="    ")
        else:
            yield from self._say(f"WRONG, {trips}: that is not what it should be", "wrong", indent="    ")

    def _commands(self, step: Step[Any]) -> Iterable[str]:
        if isinstance(step.does, Plan) and step.under is None:
            return _SHA.sub(r"\1...", step.does.explain()).splitlines()
        # Which plans a flow runs shows while it runs, and then by the names of their commands.
        return [f"{command} {subject.keys}" for subject in self._seen for command in subject.commands]

    def _say(self, text: str, color: str = "", indent: str = "") -> Steps[None]:
        # By way of the driver, as a flow does no I/O.
        yield from Call(self._show, painted(fit(text, indent), color if self._colored else ""))


def painted(text: str, color: str) -> str:
    """Colour a text; without a color it stays as it is."""
    return f"\x1b[{_COLORS[color]}m{text}\x1b[0m" if color and text else text


def fit(text: str, indent: str = "") -> str:
    """Break a text into lines that fit a terminal, the later ones indented a little more."""
    return "\n".join(
        textwrap.fill(
            line,
            WIDTH,
            initial_indent=indent,
            subsequent_indent=f"{' ' * len(indent)}  ",
            break_on_hyphens=False,
        )
        for line in text.split("\n")
    )


def _is(expected: object) -> Callable[[object], bool]:
    return lambda got: got == expected


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _name_of_server() -> Steps[str]:
    info = Plan("tour.info", (Command(("INFO", "server")),), lambda answers: replies.text(answers[0]), Effect.READS)
    try:
        fields = dict(line.split(":", 1) for line in (yield from info).splitlines() if ":" in line)
    except CommandFailed as error:
        if error.plan != info.name:  # a password that was refused, say, is not about this command
            raise
        return "an unknown server"  # INFO is not for everybody; the tour can do without it
    if "valkey_version" in fields:
        return f"Valkey {fields['valkey_version']}"
    return f"Redis {fields.get('redis_version', 'of an unknown version')}"


def _keys(sections: Sequence[Section]) -> list[str]:
    """Give every key that the tour may write: exactly these are deleted, nobody's server is searched for them."""
    keys: set[str] = set()
    for step in (step for section in sections for step in section.steps):
        keys.update(step.keys)
        if step.under is not None:
            keys.add(step.under.key)
        if isinstance(step.does, Plan):
            keys.update(str(key) for command in step.does.commands for key in keys_of(command))
    return sorted(keys)


def _delete(keys: Sequence[str]) -> Plan[None]:
    # A command for each, as they may live on different nodes.
    return Plan("tour.clean_up", tuple(Command(("DEL", key)) for key in keys), lambda _: None, Effect.IDEMPOTENT)
