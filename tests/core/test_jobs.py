"""Jobs on a server in memory: each transition, with its clock put forward by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from redis_patterns import (
    Bytes,
    Command,
    ConfigurationError,
    DecodeError,
    Effect,
    Enqueued,
    GiveUp,
    Job,
    JobFailed,
    Jobs,
    Json,
    Plan,
    QueueFull,
    RetryLater,
    Settlement,
    Text,
    WorkerInfo,
)
from redis_patterns.testing import Dry
from redis_patterns.testing.memory import Server
from redis_patterns_core.job_records import read_known, read_taken, told
from tests.core.nonsense import nonsense

EPOCH = 1_700_000_000
JOBS: Jobs[Any] = Jobs("work", lease=30, retry_after=2, most_retry=10, attempts=3, losses=2)
JOB: Job[Any] = Job("a", 1, "t", 1, 0, 0, EPOCH, 0)


class Desk:
    """A queue, its server, and the time."""

    def __init__(self, **options: Any) -> None:
        self.server = Server()
        options = {"lease": 30, **options}
        self.jobs: Jobs[Any] = Jobs("work", **options)

    def __call__(self, step: Any) -> Any:
        with self.server.sync() as redis:
            return redis.run(step)

    def take(self, count: int = 9, worker: str = "w") -> list[Job[Any]]:
        return list(self(self.jobs.reserve(count, worker=worker)).jobs)

    def counts(self) -> tuple[int, int, int, int]:
        found = self(self.jobs.inspect())
        return found.ready, found.delayed, found.leased, found.dead


def test_a_job_from_its_beginning_to_its_end() -> None:
    """Put, taken and done; and nothing is left of it but that it was done, for as long as that is remembered."""
    desk = Desk(remember=600)
    assert desk(desk.jobs.enqueue({"to": "ann"}, id="a")) == Enqueued("a", "created")
    assert desk.counts() == (1, 0, 0, 0)
    (job,) = desk.take()
    assert (job.id, job.payload, job.fence, job.attempts, job.lost, job.enqueued_at) == (
        "a",
        {"to": "ann"},
        1,
        0,
        0,
        EPOCH,
    )
    assert desk.counts() == (0, 0, 1, 0)
    assert desk.take(worker="other") == []
    assert desk(desk.jobs.settle(desk.jobs.ack(job))) == [True]
    assert desk(desk.jobs.settle(desk.jobs.ack(job))) == [True]
    assert desk.counts() == (0, 0, 0, 0)
    assert desk(desk.jobs.look("a"))[0].state == "done"
    assert desk(desk.jobs.enqueue(1, id="a")) == Enqueued("a", "done")
    desk.server.clock.advance(601)
    assert desk(desk.jobs.enqueue(1, id="a")).created


def test_order() -> None:
    """By priority and in order within one, also of those that were given back; ids of one call keep theirs."""
    desk = Desk()
    for priority, name in ((5, "d"), (0, "b"), (-1023, "a"), (0, "c"), (1023, "e")):
        desk(desk.jobs.enqueue(name, priority=priority))
    a, b = desk.take(2)
    desk(desk.jobs.settle(desk.jobs.release(b), desk.jobs.release(a)))
    assert [(job.payload, job.fence, job.attempts, job.priority) for job in desk.take()] == [
        ("a", 2, 0, -1023),
        ("b", 2, 0, 0),
        ("c", 1, 0, 0),
        ("d", 1, 0, 5),
        ("e", 1, 0, 1023),
    ]
    desk(desk.jobs.enqueue_many(range(20), delay=1))
    desk.server.clock.advance(1)
    assert [job.payload for job in desk.take(20)] == list(range(20))


def test_ids_and_unique_keys() -> None:
    """A known id is not put again, and of a unique key there is one at a time."""
    desk = Desk()
    outcomes = desk(desk.jobs.enqueue_many([1, 2, 3], ids=["a", "a", "b"], unique=["x", "y", "x"]))
    assert outcomes == [Enqueued("a", "created"), Enqueued("a", "exists"), Enqueued("a", "duplicate")]
    assert not outcomes[1].created
    assert desk(desk.jobs.enqueue(4, unique="x")) == Enqueued("a", "duplicate")
    (job,) = desk.take()
    desk(desk.jobs.settle(desk.jobs.ack(job)))
    assert desk(desk.jobs.enqueue(5, unique="x")).created


def test_when_it_is_due() -> None:
    """To the millisecond, by the server's clock; and the next time is told."""
    desk = Desk()
    desk(desk.jobs.enqueue(1, delay=timedelta(seconds=10)))
    desk(desk.jobs.enqueue(2, at=datetime.fromtimestamp(EPOCH + 5, UTC)))
    taken = desk(desk.jobs.reserve(9, worker="w"))
    assert (taken.jobs, taken.next_in, taken.closed) == ((), 5.001, False)
    desk.server.clock.advance(4.999)
    assert desk.take() == []
    desk.server.clock.advance(0.001)
    assert [job.payload for job in desk.take()] == [2]
    desk.server.clock.advance(5)
    assert [job.payload for job in desk.take()] == [1]


def test_a_lease_that_ends() -> None:
    """The job is given to the next who asks, counts as lost, and is dead after `losses`."""
    desk = Desk(losses=2)
    desk(desk.jobs.enqueue(1))
    (first,) = desk.take()
    desk.server.clock.advance(29.999)
    assert desk.take() == []
    desk.server.clock.advance(0.001)
    (second,) = desk.take()
    assert (second.lost, second.attempts, second.fence) == (1, 0, 2)
    assert desk(desk.jobs.settle(desk.jobs.ack(first), desk.jobs.ack(second))) == [False, True]
    desk(desk.jobs.enqueue(2, id="b"))
    for _ in range(2):
        assert len(desk.take()) == 1
        desk.server.clock.advance(30)
    assert desk.take() == []
    (dead,) = desk(desk.jobs.dead())
    assert (dead.id, dead.state, dead.lost) == ("b", "dead", 2)


def test_extend() -> None:
    """A job is held for another lease, or told to be given up, or another's."""
    desk = Desk()
    desk(desk.jobs.enqueue_many([1, 2, 3], ids=["a", "b", "c"]))
    a, b, c = desk.take()
    desk.server.clock.advance(20)
    assert desk(desk.jobs.cancel("b")) == "told"
    desk(desk.jobs.settle(desk.jobs.ack(c)))
    assert desk(desk.jobs.extend([a, b, c], worker="w", about="4 at once")) == ["held", "cancelled", "lost"]
    desk.server.clock.advance(29.999)
    assert desk.take(worker="x") == []
    (about,) = desk(desk.jobs.inspect()).workers
    assert about == WorkerInfo("w", "4 at once", about.ends_in)
    assert 0 < about.ends_in <= 0.001
    desk.server.clock.advance(0.001)
    # The one that was cancelled too, as its worker has not given it up.
    assert [job.id for job in desk.take(worker="x")] == ["a", "b"]
    assert desk(desk.jobs.inspect()).workers == ()
    assert desk(desk.jobs.extend([], worker="w")) == []


@pytest.mark.parametrize(
    ("attempts", "delay", "chance", "verb", "milliseconds"),
    [
        (0, None, 1.0, "retry", 2000),
        (0, None, 0.25, "retry", 500),
        (1, None, 1.0, "retry", 4000),
        (2, None, 1.0, "retry", 8000),
        (3, None, 1.0, "retry", 10_000),
        (1000, None, 0.5, "retry", 5000),
        (3, 0, 1.0, "retry", 0),
        (3, timedelta(seconds=1.5), 1.0, "retry", 1500),
        (9999, None, 1.0, "kill", 0),
        (9999, 5, 1.0, "kill", 0),
    ],
)
def test_after_how_long_a_job_is_tried_again(
    attempts: int, delay: Any, chance: float, verb: str, milliseconds: int
) -> None:
    """Twice as long each time, up to a bound and with full jitter; the last attempt is the end."""
    jobs: Jobs[Any] = Jobs("work", retry_after=2, most_retry=10, attempts=10_000)
    job = Job("a", 1, "t", 1, attempts, 0, EPOCH, 0)
    assert jobs.retry(job, "no", delay=delay, chance=lambda: chance) == Settlement(
        "kill" if verb == "kill" else "retry", "a", "t", milliseconds, "no"
    )


def test_a_job_that_fails() -> None:
    """It is tried again when it is due, and is dead with its last attempt; its error is kept."""
    desk = Desk(attempts=2, retry_after=2)
    desk(desk.jobs.enqueue("x", id="a"))
    (job,) = desk.take()
    assert desk(desk.jobs.settle(desk.jobs.retry(job, ValueError("wrong"), chance=lambda: 1.0))) == [True]
    assert desk.counts() == (0, 1, 0, 0)
    (known,) = desk(desk.jobs.look("a"))
    assert (known.state, known.since, known.attempts, known.payload) == ("delayed", EPOCH + 2, 1, "x")
    assert known.error == "ValueError: wrong"
    desk.server.clock.advance(2)
    (job,) = desk.take()
    assert job.attempts == 1
    assert desk(desk.jobs.report(job, "half")) is True
    (known,) = desk(desk.jobs.look("a"))
    assert (known.state, known.since, known.progress) == ("leased", EPOCH + 32, "half")
    desk(desk.jobs.settle(desk.jobs.retry(job, "again")))
    assert desk(desk.jobs.report(job, "late")) is False
    (dead,) = desk(desk.jobs.dead())
    assert (dead.id, dead.error, dead.since, dead.payload) == ("a", "again", EPOCH + 2, "x")


def test_dead_jobs() -> None:
    """Those that died last come first; they are tried again by id, or those that died first."""
    desk = Desk()
    desk(desk.jobs.enqueue_many([1, 2, 3], ids=["a", "b", "c"]))
    for job in desk.take():
        desk(desk.jobs.settle(desk.jobs.give_up(job, "no")))
        desk.server.clock.advance(1)
    assert [one.id for one in desk(desk.jobs.dead())] == ["c", "b", "a"]
    assert [one.id for one in desk(desk.jobs.dead(1, skip=1))] == ["b"]
    assert desk(desk.jobs.redrive("b", "none")) == 1
    assert desk(desk.jobs.redrive(count=1)) == 1
    assert [(job.id, job.attempts) for job in desk.take()] == [("b", 0), ("a", 0)]
    assert desk(desk.jobs.inspect()).totals == {"enqueued": 3, "died": 3, "redriven": 2}
    assert desk(desk.jobs.purge("dead")) == 1
    assert desk(desk.jobs.purge("dead")) == 0
    assert desk(desk.jobs.look("c"))[0].state is None


def test_dead_jobs_that_stay_dead() -> None:
    """Those whose unique key is another job's now, and those for which there is no room."""
    desk = Desk(max_length=3)
    desk(desk.jobs.enqueue_many([1, 2], ids=["a", "b"], unique=["x", "y"]))
    desk(desk.jobs.settle(*[desk.jobs.give_up(job, "no") for job in desk.take()]))
    desk(desk.jobs.enqueue(3, id="c", unique="x"))
    assert desk(desk.jobs.redrive("a")) == 0
    desk.take()
    desk(desk.jobs.enqueue(4, id="d", delay=60))
    desk(desk.jobs.enqueue(5, id="e"))
    assert desk(desk.jobs.redrive("b")) == 0, "one is ready, one is for later, and one is worked on"
    assert desk(desk.jobs.cancel("d")) == "cancelled"
    assert desk(desk.jobs.redrive("b")) == 1
    assert desk(desk.jobs.enqueue(6, unique="y")) == Enqueued("b", "duplicate")


@pytest.mark.parametrize(("most", "redriven"), [(None, [2, 1, 0]), (2, [1, 0, 0])])
def test_dead_jobs_past_those_that_stay_dead(most: int | None, redriven: list[int]) -> None:
    """Without ids the next are tried again in their stead, as many as are wanted and as there is room for."""
    desk = Desk(max_length=most)
    for number in range(3):
        desk(desk.jobs.enqueue(number, unique="x"))
        desk(desk.jobs.settle(desk.jobs.give_up(desk.take()[0], "no")))
        desk.server.clock.advance(1)
    for number in range(3):
        desk(desk.jobs.enqueue(number, id=f"{number}"))
        desk(desk.jobs.settle(desk.jobs.give_up(desk.take()[0], "no")))
    desk(desk.jobs.enqueue(7, unique="x", delay=60))
    assert [desk(desk.jobs.redrive(count=2)) for _ in range(3)] == redriven
    assert [job.id for job in desk.take()] == [f"{number}" for number in range(sum(redriven))]


@pytest.mark.parametrize(("blocked", "redriven"), [(1000, [1, 2]), (1001, [0, 0])])
def test_how_many_dead_jobs_are_passed_over(blocked: int, redriven: list[int]) -> None:
    """A thousand."""
    desk = Desk()
    for start in range(0, blocked, 500):
        uniques = [f"u{place}" for place in range(start, min(start + 500, blocked))]
        desk(desk.jobs.enqueue_many(uniques, unique=uniques))
        desk(desk.jobs.settle(*[desk.jobs.give_up(job, "no") for job in desk.take(500)]))
        desk(desk.jobs.enqueue_many(uniques, unique=uniques, delay=60))
    desk.server.clock.advance(1)
    desk(desk.jobs.enqueue_many(range(3)))
    desk(desk.jobs.settle(*[desk.jobs.give_up(job, "no") for job in desk.take()]))
    assert [desk(desk.jobs.redrive(count=count)) for count in (1, 1000)] == redriven


def test_cancel_and_reschedule() -> None:
    """One that nobody works on is gone, or due at another time; the worker of another is told."""
    desk = Desk()
    desk(desk.jobs.enqueue_many([1, 2], ids=["a", "b"]))
    assert desk(desk.jobs.cancel("a")) == "cancelled"
    assert desk(desk.jobs.cancel("a")) == "unknown"
    assert desk(desk.jobs.reschedule("b", delay=5)) is True
    assert desk(desk.jobs.reschedule("a", delay=5)) is False
    assert desk.take() == []
    desk.server.clock.advance(5)
    assert [job.id for job in desk.take()] == ["b"]
    assert desk(desk.jobs.reschedule("b", at=datetime.now(UTC))) is False
    assert desk(desk.jobs.cancel("b")) == "told"


@pytest.mark.parametrize("verb", ["release", "retry"])
def test_a_job_that_is_cancelled_while_it_is_worked_on(verb: str) -> None:
    """It is not given again where its worker gives it back, or has failed on it, before that; nothing is left."""
    desk = Desk()
    desk(desk.jobs.enqueue(1, id="a", unique="x"))
    desk(desk.jobs.enqueue(2, id="b"))
    a, b = desk.take()
    desk(desk.jobs.report(a, "half"))
    assert desk(desk.jobs.cancel("a")) == "told"
    say = desk.jobs.release if verb == "release" else lambda job: desk.jobs.retry(job, "no", delay=0)
    assert desk(desk.jobs.settle(say(a), desk.jobs.ack(b))) == [True, True]
    assert desk(desk.jobs.settle(say(a))) == [False], "it is not there any more"
    assert desk.take() == []
    assert desk.counts() == (0, 0, 0, 0)
    assert desk(desk.jobs.inspect()).totals == {"enqueued": 2, "cancelled": 1, "acked": 1}
    assert {key.rpartition(":")[2] for key in [*desk.server.keys()]} == {"meta", "done", "given", "wake"}
    assert desk(desk.jobs.enqueue(3, id="a", unique="x")).created


def test_a_job_that_is_cancelled_and_done_or_dead() -> None:
    """Who works on it may have it done, or give it up."""
    desk = Desk()
    desk(desk.jobs.enqueue_many([1, 2], ids=["a", "b"]))
    a, b = desk.take()
    assert [desk(desk.jobs.cancel(id)) for id in "ab"] == ["told", "told"]
    assert desk(desk.jobs.settle(desk.jobs.ack(a), desk.jobs.give_up(b, "no"))) == [True, True]
    assert [one.state for one in desk(desk.jobs.look("a", "b"))] == ["done", "dead"]


@pytest.mark.parametrize("verb", ["purge", "redrive", "forgotten", "unreadable"])
def test_what_was_said_of_a_job_ends_with_it(verb: str) -> None:
    """How far it has come, and that it should be given up, is not said of the next of its id, nor of its next run."""
    desk = Desk(losses=1, keep_dead_for=60)
    desk(desk.jobs.enqueue(1, id="a"))
    (job,) = desk.take()
    desk(desk.jobs.report(job, "half"))
    assert desk(desk.jobs.cancel("a")) == "told"
    if verb == "unreadable":
        desk(Plan("written", (Command(("HSET", "jobs:{work}:job", "a", "nonsense")),), len))
    desk.server.clock.advance(30)
    assert desk.take() == []
    assert desk(desk.jobs.look("a"))[0].progress == ""
    assert not {"jobs:{work}:progress", "jobs:{work}:cancel"} & {*desk.server.keys()}
    if verb == "purge":
        assert desk(desk.jobs.purge("dead")) == 1
    elif verb != "forgotten":
        assert desk(desk.jobs.redrive("a")) == 1
    else:
        desk.server.clock.advance(60)
        assert desk.take() == []
    if verb in {"purge", "forgotten"}:
        assert desk(desk.jobs.enqueue(2, id="a")).created
    (job,) = desk.take()
    assert desk(desk.jobs.extend([job], worker="w")) == ["held"]
    assert desk(desk.jobs.look("a"))[0].progress == ""


@pytest.mark.parametrize("verb", ["cancel", "purge", "orphan"])
def test_how_far_a_job_had_come_is_not_kept_for_ever(verb: str) -> None:
    """Of one that was to be tried again, and was thrown away or not found instead."""
    desk = Desk()
    desk(desk.jobs.enqueue(1, id="a"))
    (job,) = desk.take()
    desk(desk.jobs.report(job, "half"))
    desk(desk.jobs.settle(desk.jobs.retry(job, "no", delay=1)))
    assert desk(desk.jobs.look("a"))[0].progress == "half"
    if verb == "cancel":
        assert desk(desk.jobs.cancel("a")) == "cancelled"
    elif verb == "purge":
        assert desk(desk.jobs.purge("delayed")) == 1
    else:
        desk(Plan("lost", (Command(("DEL", "jobs:{work}:data")),), len))
        desk.server.clock.advance(1)
        assert desk.take() == []
    assert not {f"jobs:{{work}}:{part}" for part in ("progress", "job", "errors")} & {*desk.server.keys()}


def test_what_an_older_version_has_left_of_a_dead_job() -> None:
    """It is gone when the job is tried again."""
    desk = Desk()
    desk(desk.jobs.enqueue(1, id="a"))
    desk(desk.jobs.settle(desk.jobs.give_up(desk.take()[0], "no")))
    left = (Command(("HSET", "jobs:{work}:progress", "a", "half")), Command(("HSET", "jobs:{work}:cancel", "a", 1)))
    desk(Plan("written", left, len))
    assert desk(desk.jobs.redrive("a")) == 1
    assert desk(desk.jobs.look("a"))[0].progress == ""
    assert desk(desk.jobs.extend(desk.take(), worker="w")) == ["held"]


def test_pause() -> None:
    """Nothing is taken meanwhile; each verb tells whether it changed something."""
    desk = Desk()
    desk(desk.jobs.enqueue(1))
    assert [desk(desk.jobs.pause()), desk(desk.jobs.pause())] == [True, False]
    taken = desk(desk.jobs.reserve(worker="w"))
    assert (taken.jobs, taken.closed) == ((), True)
    assert desk(desk.jobs.inspect()).paused is True
    assert [desk(desk.jobs.resume()), desk(desk.jobs.resume())] == [True, False]
    assert desk(desk.jobs.inspect()).paused is False
    assert len(desk.take()) == 1


@pytest.mark.parametrize(
    ("ids", "unique", "fits"),
    [
        (["a", "a", "b"], None, True),
        (["a", "b", "c"], None, False),
        (None, ["x", "x", "y"], True),
        (None, ["x", "y", "z"], False),
        (["a", "b", "a", "c"], ["x", "x", "y", "z"], True),
        (["a", "b", "b"], ["x", "x", "y"], True),
        (["a", "b", "b", "c"], ["x", "x", "y", "z"], False),
        (["old", "b", "b", "c"], ["x", "x", "y", "z"], True),
    ],
)
def test_what_fits(ids: list[str] | None, unique: list[str] | None, *, fits: bool) -> None:
    """What is put counts, and not what is the same as another of the call, or there."""
    desk = Desk(max_length=3)
    desk(desk.jobs.enqueue(0, id="old", delay=60))
    put = desk.jobs.enqueue_many([0] * len(ids or unique or []), ids=ids, unique=unique)
    if fits:
        assert sum(one.created for one in desk(put)) == desk.counts()[0] == 2
    else:
        with pytest.raises(QueueFull):
            desk(put)
        assert desk.counts() == (0, 1, 0, 0)


def test_limits() -> None:
    """Of how many there may be, of how many are worked on, and of how large one may be."""
    desk = Desk(max_length=2, max_running=1, max_payload=3)
    desk(desk.jobs.enqueue(123))
    with pytest.raises(ConfigurationError, match="at most 3 bytes, not 4"):
        desk.jobs.enqueue(1234)
    with pytest.raises(QueueFull, match="'work' may have 2 jobs"):
        desk(desk.jobs.enqueue_many([1, 2]))
    desk(desk.jobs.enqueue(1))
    assert len(desk.take()) == 1
    taken = desk(desk.jobs.reserve(worker="w"))
    assert (taken.jobs, taken.closed) == ((), True)


def test_who_asks_again_gets_the_same_jobs() -> None:
    """By the token of the request."""
    desk = Desk()
    desk(desk.jobs.enqueue_many([1, 2]))
    first = desk(desk.jobs.reserve(worker="w", token="t"))
    assert desk(desk.jobs.reserve(worker="w", token="t")).jobs == first.jobs
    assert [job.token for job in first.jobs] == ["t"]
    other = desk(desk.jobs.reserve(worker="w"))
    assert [job.payload for job in other.jobs] == [2]


def test_who_asks_again_has_a_whole_lease() -> None:
    """From the request that was answered: the worker does not reckon from the one whose answer was lost."""
    desk = Desk()
    desk(desk.jobs.enqueue(1))
    for _ in range(2):
        taken = desk(desk.jobs.reserve(worker="w", token="t"))
        assert (len(taken.jobs), taken.next_in) == (1, 30.001)
        desk.server.clock.advance(20)
    assert len(desk(desk.jobs.recall(worker="w", token="t")).jobs) == 1
    desk.server.clock.advance(29.999)
    assert desk.take(worker="other") == []
    desk.server.clock.advance(0.001)
    assert len(desk.take(worker="other")) == 1
    assert desk(desk.jobs.reserve(worker="w", token="t")).jobs == ()


def test_a_payload_that_cannot_be_read() -> None:
    """It is told apart, so that it can be given up; what is known of it has no payload."""
    desk = Desk()
    raw: Jobs[str] = Jobs("work", codec=Text())
    desk(raw.enqueue("{", id="a"))
    taken = desk(desk.jobs.reserve(worker="w"))
    assert taken.jobs == ()
    (job,) = taken.unreadable
    assert (job.id, job.payload, job.fence) == ("a", b"{", 1)
    assert desk(desk.jobs.look("a"))[0].payload is None
    desk(desk.jobs.settle(desk.jobs.give_up(job, "unreadable")))
    assert desk.counts() == (0, 0, 0, 1)


@pytest.mark.parametrize("state", ["ready", "delayed", "leased"])
@pytest.mark.parametrize(("record", "fence"), [("nonsense", 0), ("1|0|0|7|w|x|0|", 7), ("", 0)])
def test_a_record_that_cannot_be_read(state: str, record: str, fence: int) -> None:
    """Its job is dead, with its payload, and can be tried again; others are given, and none waits for it."""
    desk = Desk()
    delay = 1 if state == "delayed" else 0
    desk(desk.jobs.enqueue_many([1, 2], ids=["a", "b"], unique=["x", "y"], delay=delay))
    if state == "leased":
        desk(desk.jobs.enqueue(0, id="0", priority=-1))
        assert len(desk.take()) == 3
    desk(Plan("written", (Command(("HSET", "jobs:{work}:job", "a", record)),), len))
    assert desk(desk.jobs.inspect()).oldest == 0
    desk.server.clock.advance(31)
    assert "b" in [job.id for job in desk.take()]
    (dead,) = desk(desk.jobs.dead())
    assert (dead.id, dead.payload, dead.fence, dead.attempts) == ("a", 1, fence, 0)
    assert dead.error == f"what is known of it cannot be read: {record}"
    assert desk(desk.jobs.inspect()).totals["died"] == 1
    assert [desk(desk.jobs.enqueue(3, unique=key, delay=1)).created for key in "xy"] == [True, False]
    assert desk(desk.jobs.redrive("a")) == 1
    (job,) = desk.take()
    assert (job.id, job.payload, job.fence) == ("a", 1, fence + 1)
    assert desk(desk.jobs.settle(desk.jobs.ack(job))) == [True]


@pytest.mark.parametrize("part", ["data", "job"])
@pytest.mark.parametrize("state", ["ready", "delayed", "leased"])
def test_a_job_of_which_a_part_was_lost(part: str, state: str) -> None:
    """It is counted and forgotten when its turn comes, and its unique key is free."""
    desk = Desk()
    desk(desk.jobs.enqueue(1, id="a", unique="x", delay=1 if state == "delayed" else 0))
    if state == "leased":
        desk.take()
    desk(Plan("lost", (Command(("DEL", f"jobs:{{work}}:{part}")),), len))
    desk.server.clock.advance(30)
    assert desk.take() == []
    assert desk(desk.jobs.inspect()).totals["orphans"] == 1
    assert not {f"jobs:{{work}}:{name}" for name in ("data", "job", "errors", "ready", "leased")} & {
        *desk.server.keys()
    }
    assert desk(desk.jobs.enqueue(2, id="b", unique="x")).created


def test_a_unique_key_of_a_job_that_is_not_there() -> None:
    """It is free, also for a dead one that is tried again; that of a job that is there is not."""
    desk = Desk()
    desk(desk.jobs.enqueue(1, id="a", unique="x"))
    desk(desk.jobs.settle(desk.jobs.give_up(desk.take()[0], "no")))
    desk(Plan("written", (Command(("HSET", "jobs:{work}:unique", "x", "gone", "y", "gone")),), len))
    assert desk(desk.jobs.redrive("a")) == 1
    assert desk(desk.jobs.enqueue(2, unique="x")) == Enqueued("a", "duplicate")
    assert desk(desk.jobs.enqueue(3, id="b", unique="y")).created
    assert desk(desk.jobs.enqueue(4, unique="y")) == Enqueued("b", "duplicate")


def test_an_empty_payload() -> None:
    """Is one, also where it is looked at; one that is not there is none."""
    desk = Desk()
    raw: Jobs[bytes] = Jobs("work", codec=Bytes())
    desk(raw.enqueue(b"", id="a"))
    assert [one.payload for one in desk(raw.look("a", "none"))] == [b"", None]
    (job,) = desk(raw.reserve(worker="w")).jobs
    desk(raw.settle(raw.give_up(job, "no")))
    assert [one.payload for one in desk(raw.dead())] == [b""]


def test_counts() -> None:
    """Of each state, of all time, and when something happens next."""
    desk = Desk()
    empty = desk(desk.jobs.inspect())
    assert (empty.oldest, empty.next_due_in, empty.next_lease_ends_in, empty.totals) == (0.0, None, None, {})
    desk(desk.jobs.enqueue_many([1, 2]))
    desk(desk.jobs.enqueue(3, delay=10))
    (job,) = desk.take(1)
    desk.server.clock.advance(4)
    counts = desk(desk.jobs.inspect())
    assert (counts.ready, counts.delayed, counts.leased, counts.dead) == (1, 1, 1, 0)
    assert (counts.oldest, counts.next_due_in, counts.next_lease_ends_in) == (4.0, 6.0, 26.0)
    desk(desk.jobs.settle(desk.jobs.ack(job)))
    assert desk(desk.jobs.purge("delayed")) == 1
    assert desk(desk.jobs.purge("ready")) == 1
    assert desk(desk.jobs.inspect()).totals == {"enqueued": 3, "acked": 1, "purged": 2}


def test_results() -> None:
    """What a job gave, once or several times; that it is dead; and that it has none yet."""
    desk = Desk(result_ttl=60)
    desk(desk.jobs.enqueue_many([1, 2], ids=["a", "b"]))
    with pytest.raises(LookupError, match="no result yet"):
        desk(desk.jobs.result("a"))
    with pytest.raises(LookupError, match="no result yet"):
        desk(desk.jobs.result("a", wait=0.5))
    a, b = desk.take()
    desk(desk.jobs.settle(desk.jobs.ack(a, {"x": 1}), desk.jobs.give_up(b, "broken")))
    for wait in (0, 5):
        assert desk(desk.jobs.result("a", wait=wait)) == {"x": 1}
        with pytest.raises(JobFailed, match="broken"):
            desk(desk.jobs.result("b", wait=wait))
    desk.server.clock.advance(61)
    with pytest.raises(LookupError):
        desk(desk.jobs.result("a"))


@pytest.mark.parametrize("wait", [0, 0.01])
def test_a_result_is_that_of_the_last_run(wait: float) -> None:
    """A job that is to be done again has none until it is done; neither its death nor what it gave before is one."""
    desk = Desk(result_ttl=60, remember=1, losses=1)

    def waits() -> None:
        with pytest.raises(LookupError, match="no result yet"):
            desk(desk.jobs.result("a", wait=wait))

    desk(desk.jobs.enqueue(1, id="a"))
    desk(desk.jobs.settle(desk.jobs.give_up(desk.take()[0], "broken")))
    for redrive in (desk.jobs.redrive("a"), desk.jobs.redrive()):
        with pytest.raises(JobFailed, match="broken"):
            desk(desk.jobs.result("a", wait=wait))
        assert desk(redrive) == 1
        waits()
        (job,) = desk.take()
        waits()
        desk(desk.jobs.settle(desk.jobs.give_up(job, "broken again")))
    assert desk(desk.jobs.redrive("a")) == 1
    desk(desk.jobs.settle(desk.jobs.ack(desk.take()[0], "first")))
    assert desk(desk.jobs.result("a", wait=wait)) == "first"
    desk.server.clock.advance(1)
    assert desk(desk.jobs.result("a", wait=wait)) == "first", "it is kept for longer than that it was done"
    assert desk(desk.jobs.enqueue(2, id="a", delay=5)).created
    waits()
    desk.server.clock.advance(5)
    desk(desk.jobs.settle(desk.jobs.ack(desk.take()[0], "second")))
    assert desk(desk.jobs.result("a", wait=wait)) == "second"
    desk.server.clock.advance(1)
    assert desk(desk.jobs.enqueue(3, id="a")).created
    assert len(desk.take()) == 1
    desk.server.clock.advance(30)
    assert desk.take() == []
    with pytest.raises(JobFailed, match="lost 1 times"):
        desk(desk.jobs.result("a", wait=wait))


def test_a_result_that_is_waited_for() -> None:
    """Two round trips: a look, and a wait for as long as was said, at least 2 milliseconds."""
    jobs: Jobs[Any] = Jobs("work", result_ttl=60)
    for wait, blocks in ((5, 5), (0.001, 0.002)):
        dry = Dry(jobs.result("a", wait=wait))
        dry.expect("jobs.result").answer(None)
        step: Any = dry.expect("jobs.result")._step
        key = "jobs:{work}:result:a"
        assert step.commands[0].args == ("BLMOVE", key, key, "LEFT", "LEFT", blocks)
        assert (step.blocks_for, step.effect) == (blocks, Effect.IDEMPOTENT)
        dry.answer(b"+7")
        assert dry.result == 7


def test_results_that_are_not_kept() -> None:
    """Nothing is written for them, and who asks is told how to have them."""
    assert JOBS.ack(JOB, object()) == Settlement("ack", "a", "t", 0, b"")
    assert Jobs[Any]("work", result_ttl=1).ack(JOB, [1]).text == b"[1]"
    with pytest.raises(ConfigurationError, match="result_ttl must be set"):
        next(JOBS.result("a").steps())


def test_waiting_for_work() -> None:
    """It blocks for so long, and who was woken passes it on."""
    for seconds, blocks in ((5.0004, 5.0), (0.0, 0.002)):
        plan = JOBS.wait_for_work(seconds)
        assert plan.commands == (Command(("BLPOP", "jobs:{work}:wake", blocks)),)
        assert (plan.blocks_for, plan.effect, plan.parse([None]), plan.parse([[b"k", b"1"]])) == (
            blocks,
            Effect.IDEMPOTENT,
            False,
            True,
        )
    desk = Desk()
    assert desk(desk.jobs.wake()) is None
    assert desk(desk.jobs.wait_for_work(1)) is True
    assert desk(desk.jobs.wait_for_work(1)) is False
    desk(desk.jobs.enqueue(1))
    assert desk(desk.jobs.wait_for_work(1)) is True


def test_a_purge_of_many() -> None:
    """One round trip for each thousand."""
    dry = Dry(JOBS.purge("ready"))
    dry.expect("jobs.purge").answer(1000).expect("jobs.purge").answer(1000).expect("jobs.purge").answer(7)
    assert dry.result == 2007


@pytest.mark.parametrize(
    ("make", "name", "effect"),
    [
        (lambda: JOBS.enqueue(1), "jobs.enqueue", Effect.IDEMPOTENT),
        (lambda: JOBS.reserve(worker="w"), "jobs.reserve", Effect.IDEMPOTENT),
        (lambda: JOBS.settle(JOBS.ack(JOB)), "jobs.settle", Effect.IDEMPOTENT),
        (lambda: JOBS.extend([JOB], worker="w"), "jobs.extend", Effect.IDEMPOTENT),
        (JOBS.wake, "jobs.wake", Effect.IDEMPOTENT),
        (JOBS.inspect, "jobs.inspect", Effect.READS),
        (lambda: JOBS.look("a"), "jobs.look", Effect.READS),
        (JOBS.dead, "jobs.look", Effect.READS),
        (lambda: JOBS.redrive("a"), "jobs.redrive", Effect.IDEMPOTENT),
        (JOBS.redrive, "jobs.redrive", Effect.ONCE),
        (lambda: JOBS.cancel("a"), "jobs.cancel", Effect.IDEMPOTENT),
        (lambda: JOBS.reschedule("a", delay=1), "jobs.reschedule", Effect.IDEMPOTENT),
        (JOBS.pause, "jobs.pause", Effect.IDEMPOTENT),
        (JOBS.resume, "jobs.resume", Effect.IDEMPOTENT),
        (lambda: next(JOBS.purge("dead").steps()), "jobs.purge", Effect.ONCE),
        (lambda: next(Jobs[Any]("w", result_ttl=1).result("a").steps()), "jobs.result", Effect.IDEMPOTENT),
    ],
)
def test_names_and_effects(make: Callable[[], Any], name: str, effect: Effect) -> None:
    """What does twice what it does once is sent at most once."""
    plan = make()
    assert (plan.name, plan.effect) == (name, effect)


def test_keys() -> None:
    """All of a queue are in one slot, the results too."""
    plan = Jobs[Any]("a", namespace="n", result_ttl=1).settle(JOBS.ack(JOB))
    _, _, count, *keys = plan.commands[0].args
    assert isinstance(count, int)
    assert set(keys[:count]) == {
        f"n:jobs:{{a}}:{part}"
        for part in (
            *("ready", "delayed", "leased", "data", "job", "unique", "done", "meta", "wake", "dead", "errors"),
            *("progress", "cancel", "result:a"),
        )
    }


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": ""}, "name must"),
        ({"namespace": 7}, "namespace must"),
        *(({name: 0}, f"{name} must") for name in ("attempts", "losses", "max_payload", "keep_dead")),
        *(({name: 0}, f"{name} must") for name in ("max_length", "max_running", "result_ttl")),
        ({"lease": 0.099}, "lease must"),
        ({"retry_after": -0.001}, "retry_after must"),
        ({"most_retry": -0.001}, "most_retry must"),
        ({"remember": -0.001}, "remember must"),
        ({"keep_dead_for": 0.999}, "keep_dead_for must"),
    ],
)
def test_nonsense_is_refused(wrong: dict[str, Any], said: str) -> None:
    """When a queue is built, with the argument's name; the limits themselves are allowed."""
    options: dict[str, Any] = {"name": "x", **wrong}
    with pytest.raises(ConfigurationError, match=said):
        Jobs(**options)
    least: Jobs[Any] = Jobs(
        "x",
        attempts=1,
        losses=1,
        max_payload=1,
        keep_dead=1,
        max_length=1,
        max_running=1,
        lease=0.1,
        retry_after=0,
        most_retry=0,
        remember=0,
        keep_dead_for=1,
        result_ttl=0.001,
    )
    assert least.lease_seconds == 0.1


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: JOBS.enqueue_many([]), "payloads must be 1 to 1000 at once, not 0"),
        (lambda: JOBS.enqueue_many(range(1001)), "payloads must be 1 to 1000 at once, not 1001"),
        (lambda: JOBS.enqueue_many([1], ids=["a", "b"]), "as many as payloads, 1"),
        (lambda: JOBS.enqueue_many([1], unique=["a", "b"]), "as many as payloads, 1"),
        *[(lambda name=name: JOBS.enqueue(1, id=name), "id must") for name in nonsense("", 7, b"a", "\ud800")],
        (lambda: JOBS.enqueue(1, id="x" * 201), "id must be a text of 1 to 200 characters"),
        (lambda: JOBS.enqueue(1, unique=""), "unique must"),
        (lambda: JOBS.enqueue(1, priority=1024), "priority must"),
        (lambda: JOBS.enqueue(1, priority=-1024), "priority must"),
        (lambda: JOBS.enqueue(1, delay=1, at=datetime.now(UTC)), "delay"),
        (lambda: JOBS.reserve(0, worker="w"), "count must"),
        (lambda: JOBS.reserve(1001, worker="w"), "count must"),
        (lambda: JOBS.reserve(worker=""), "worker must"),
        *[
            (
                lambda make=make, token=token: make(token),
                "token must be 1 to 64 letters, digits, _ and -, and not begin with -$",
            )
            for token in nonsense("", 7, b"t", "a b", "w1|42", "-t", "ä", "t" * 65, "t\n")
            for make in (
                lambda token: JOBS.reserve(worker="w", token=token),
                lambda token: JOBS.reserve_when_woken(1, worker="w", token=token),
                lambda token: JOBS.recall(worker="w", token=token),
            )
        ],
        (lambda: JOBS.retry(JOB, "", delay=-1), "delay must"),
        (JOBS.settle, "settlements must be 1 to 1000 at once, not 0"),
        (lambda: JOBS.settle(*[JOBS.ack(JOB)] * 1001), "settlements must be 1 to 1000 at once, not 1001"),
        (lambda: JOBS.extend([JOB] * 1001, worker="w"), "jobs must be at most 1000 at once, not 1001"),
        (lambda: JOBS.extend([], worker=""), "worker must"),
        (lambda: JOBS.extend([], worker="w", about="\ud800"), "about must"),
        (lambda: JOBS.report(JOB, "\ud800"), "progress must"),
        (lambda: JOBS.report(JOB, None), "progress must"),  # type: ignore[arg-type]  # that is the case
        (JOBS.look, "ids must be at least one"),
        (lambda: JOBS.dead(0), "count must"),
        (lambda: JOBS.dead(1001), "count must"),
        (lambda: JOBS.dead(skip=-1), "skip must"),
        (lambda: JOBS.redrive(count=0), "count must"),
        (lambda: JOBS.redrive(count=1001), "count must"),
        (lambda: JOBS.cancel(""), "id must"),
        (lambda: next(JOBS.purge("leased").steps()), "state must be ready, delayed or dead, not 'leased'"),  # type: ignore[arg-type]  # that is the case
        (lambda: RetryLater(-1), "delay must"),
    ],
)
def test_bad_arguments_are_named(call: Callable[[], object], said: str) -> None:
    """With what is allowed."""
    with pytest.raises(ConfigurationError, match=said):
        call()


def test_the_limits_are_allowed() -> None:
    """The greatest and the least numbers that the errors name."""
    assert JOBS.reserve(1000, worker="w").commands[0].args[17] == 1000
    assert len(JOBS.settle(*[JOBS.ack(JOB)] * 1000).commands[0].args) == 3 + 13 + 4 + 5000
    assert len(JOBS.extend([JOB] * 1000, worker="w").commands[0].args) == 3 + 4 + 3 + 2000
    for token in ("t" * 64, "_-", "0Z-z"):
        assert JOBS.reserve(worker="w", token=token).commands[0].args[19] == token
    assert JOBS.dead(1000, skip=0).name == "jobs.look"
    assert JOBS.cancel("x" * 200).commands[0].args[-1] == "x" * 200
    assert JOBS.redrive(count=1000).commands[0].args[-1] == 1000
    for priority in (-1023, 1023):
        assert JOBS.enqueue(1, priority=priority).commands[0].args[-3] == priority
    assert len(JOBS.enqueue_many(range(1000)).commands) == 1


def test_what_a_handler_raises() -> None:
    """When to try again, and why; or that there is no use."""
    again = RetryLater(timedelta(seconds=1), "busy")
    assert (again.delay, again.why, again.args) == (timedelta(seconds=1), "busy", (timedelta(seconds=1), "busy"))
    assert (RetryLater().delay, RetryLater().why) == (None, "")
    assert RetryLater(0).delay == 0
    assert str(GiveUp("broken")) == "broken"


def test_what_is_kept_of_an_error() -> None:
    """A text as it is, of an exception its traceback; of long ones both ends, 4000 characters in all."""
    assert told("x" * 4001) == "x" * 4000
    assert told("\udc80" * 1000) == ("\\udc80" * 667)[:4000]
    assert told(ValueError("wrong \udc80 ü")) == "ValueError: wrong \\udc80 ü"
    whole = ValueError("x" * (4000 - len("ValueError: ")))
    assert told(whole) == f"ValueError: {whole}"
    cut = told(ValueError("a" * 2000 + "b" * 3000))
    assert len(cut) == 4000
    assert cut == f"ValueError: {'a' * 988}\n...\n{'b' * 2995}"


def test_when_it_is_worth_to_ask_again() -> None:
    """A millisecond after the next is due, which may be now; never by itself where none is."""
    for reply, next_in, closed in (([-1, 0], None, False), ([0, 0], 0.001, False), ([1999, 1], 2.0, True)):
        taken = read_taken(reply, "t", Json())
        assert (taken.jobs, taken.next_in, taken.closed) == ((), next_in, closed)


@pytest.mark.parametrize(
    "reply",
    [None, 1, [], [0], [-1, 0, b"a", b"1"], [-1, 0, b"a", 1, 1, 0, 0, 0, 0], [-1, 0, b"a", b"1", 1, 0, 0, 0, b"x"]],
)
def test_malformed_jobs_are_decode_errors(reply: Any) -> None:
    """What is no answer of jobs_reserve."""
    with pytest.raises((DecodeError, ValueError)):
        read_taken(reply, "t", Json())


@pytest.mark.parametrize(
    "reply",
    [
        None,
        [b"a", b"ready", b"0", b"1|2", b"1", None, None],
        [b"a", b"ready", b"0", b"s|0|0|1|x|0|0|u", 1, None, None],
    ],
)
def test_a_malformed_known_job_is_a_decode_error(reply: Any) -> None:
    """What is no item of the answer of jobs_look."""
    with pytest.raises(DecodeError):
        read_known(reply, Json())


def test_nothing_is_left_of_a_cancelled_job() -> None:
    """Neither of one that is ready nor of one that is for later; both are counted, and their ids are free."""
    desk = Desk()
    desk.server.clock.advance(0.456)
    desk(desk.jobs.enqueue(1, id="a", unique="x"))
    desk(desk.jobs.enqueue(2, id="b", delay=1))
    assert [desk(desk.jobs.cancel(id)) for id in "ab"] == ["cancelled", "cancelled"]
    assert desk(desk.jobs.inspect()).totals == {"enqueued": 2, "cancelled": 2}
    assert not {f"jobs:{{work}}:{part}" for part in ("job", "data", "unique", "ready", "delayed")} & {
        *desk.server.keys()
    }
    assert desk(desk.jobs.enqueue(3, id="a", unique="x")).created
    assert desk(desk.jobs.enqueue(4, id="b", delay=1)).created
    desk.server.clock.advance(0.999)
    assert [job.payload for job in desk.take()] == [3]
    desk.server.clock.advance(0.001)
    assert [job.payload for job in desk.take()] == [4]


def test_what_is_kept_has_a_bound() -> None:
    """However many are done or die at once: each that settles some forgets twice as many that are over."""
    desk = Desk(remember=1, keep_dead=3, keep_dead_for=100)
    size = Plan("size", (Command(("ZCARD", "jobs:{work}:done")), Command(("HLEN", "jobs:{work}:data"))), list)

    def round_of(count: int, end: Callable[[Job[Any]], Settlement]) -> list[int]:
        desk.server.clock.advance(1)
        desk(desk.jobs.enqueue_many(range(count)))
        desk(desk.jobs.settle(*map(end, desk.take(count))))
        sizes: list[int] = desk(size)
        return sizes

    assert [round_of(300, desk.jobs.ack)[0] for _ in range(4)] == [300, 300, 300, 300]
    assert round_of(50, desk.jobs.ack)[0] == 150, "100 where they are asked for, and twice 50"

    def ends(job: Job[Any]) -> Settlement:
        return desk.jobs.give_up(job, "no")

    assert [round_of(250, ends)[1] for _ in range(3)] == [3, 3, 3]
    assert [job.payload for job in desk(desk.jobs.dead())] == [249, 248, 247]
    desk.server.clock.advance(98)
    assert round_of(2, ends)[1] == 3
    desk.server.clock.advance(99)
    assert round_of(1, ends)[1] == 1, "two that were there were too old"


def test_workers_that_do_not_come_again_are_forgotten() -> None:
    """Who beats, or asks, forgets some of those that are gone, though what it says of itself keeps their hashes."""
    desk = Desk(lease=1)
    sizes = Plan("sizes", tuple(Command(("HLEN", f"jobs:{{work}}:{part}")) for part in ("workers", "given")), list)

    def turn(worker: str) -> None:
        desk(desk.jobs.enqueue(1))
        jobs = desk.take(worker=worker)
        desk(desk.jobs.extend(jobs, worker=worker))
        desk(desk.jobs.settle(*map(desk.jobs.ack, jobs)))

    for number in range(20):
        turn(f"pod-{number}")
    assert desk(sizes) == [20, 20]
    for number in range(20, 60):
        desk.server.clock.advance(6)
        turn("stays")
        turn(f"pod-{number}")
    workers, given = desk(sizes)
    assert workers < 15, "of 61, by chance"
    assert given < 40, "of 61; as it is kept for a minute, that of 10 is there at least"
    taken = desk(desk.jobs.reserve(worker="stays", token="t"))
    assert desk(desk.jobs.reserve(worker="stays", token="t")).jobs == taken.jobs


def test_where_a_job_is() -> None:
    """Ready, of which no time is told; or not known at all."""
    desk = Desk()
    desk(desk.jobs.enqueue("x", id="a", priority=3, unique="u|v|"))
    ready, none = desk(desk.jobs.look("a", "none"))
    assert (ready.state, ready.since, ready.payload, ready.enqueued_at, ready.priority) == ("ready", 0.0, "x", EPOCH, 3)
    assert (none.id, none.state, none.since, none.payload, none.error, none.progress) == (
        "none",
        None,
        0.0,
        None,
        "",
        "",
    )


@pytest.mark.parametrize("how", ["wake", "enqueue", "resume", "reschedule", "redrive", "settle"])
def test_a_wake_up_is_one_element_for_a_minute(how: str) -> None:
    """However many jobs there may be, and whoever says so; it does not stay for ever."""
    desk = Desk()
    desk(desk.jobs.enqueue_many([1, 2, 3], ids=["a", "b", "c"]))
    a, b = desk.take(2)
    desk(desk.jobs.settle(desk.jobs.give_up(a, "no")))
    desk(desk.jobs.pause())
    wake = Plan("wake", (Command(("DEL", "jobs:{work}:wake")),), lambda _: None)
    desk(wake)
    if how != "resume":
        desk(desk.jobs.resume())
        desk(wake)
    steps = {
        "wake": desk.jobs.wake(),
        "enqueue": desk.jobs.enqueue(4),
        "resume": desk.jobs.resume(),
        "reschedule": desk.jobs.reschedule("c", delay=0),
        "redrive": desk.jobs.redrive("a"),
        "settle": desk.jobs.settle(desk.jobs.release(b)),
    }
    desk(steps[how])
    look = (Command(("LLEN", "jobs:{work}:wake")), Command(("PTTL", "jobs:{work}:wake")))
    assert desk(Plan("look", look, list)) == [1, 60_000]
