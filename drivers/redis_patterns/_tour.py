"""What ``redis-patterns tour`` shows: each pattern's Python, the commands it becomes, its result and its round trips.

The tour is written once, as values: `sections` is a list of what to run and of what should come of it, and a `Tour`
walks through it. A new pattern is one more `Section` in that list.
"""

from __future__ import annotations

from collections.abc import Callable

from redis_patterns._tour_walk import Section, Step
from redis_patterns_core.all_of import AllOf
from redis_patterns_core.bucketed_counters import BucketedCounter
from redis_patterns_core.buckets import TokenBucket
from redis_patterns_core.cache import Cache
from redis_patterns_core.cache_entries import MISS
from redis_patterns_core.cluster import keys_of
from redis_patterns_core.counters import Counter
from redis_patterns_core.flag import Flag
from redis_patterns_core.flags import Flags
from redis_patterns_core.job_records import Job
from redis_patterns_core.jobs import Jobs
from redis_patterns_core.keys import key
from redis_patterns_core.leaderboards import Leaderboard
from redis_patterns_core.lease_records import Lease
from redis_patterns_core.locks import Lock
from redis_patterns_core.member_data import MemberData
from redis_patterns_core.once import Once
from redis_patterns_core.ordered_queues import DelayedQueue, PriorityQueue
from redis_patterns_core.periods import DAY, utc_now
from redis_patterns_core.plan import batch
from redis_patterns_core.queued_locks import ReadWriteLock
from redis_patterns_core.queues import EMPTY, FifoQueue
from redis_patterns_core.sessions import Sessions
from redis_patterns_core.slots import ConcurrencyLimit
from redis_patterns_core.standings import Entry, ScoreChange
from redis_patterns_core.uniques import Uniques
from redis_patterns_core.windows import FixedWindow, SlidingLog
from redis_patterns_core.write_behind import WriteBehind


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
    cached = {name: tuple(f"{users.key(name)}{part}" for part in ("", ":wake", ":loader")) for name in ("1", "2")}
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


def _is(expected: object) -> Callable[[object], bool]:
    return lambda got: got == expected
