"""What a worker tells and asks, without a driver: plans run on a server in memory, by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from redis_patterns import (
    AnyWork,
    BatchWork,
    CommandFailed,
    ConfigurationError,
    GiveUp,
    Jobs,
    OutcomeUnknown,
    RetryLater,
    Text,
    TokenBucket,
    Unreachable,
    Work,
    WorkEvent,
    batch,
)
from redis_patterns.testing.memory import Server
from redis_patterns_core.lines import Assignment, Listening
from redis_patterns_core.workers import Worker


class Desk:
    """A worker, its server, and the time.

    Parameters:
        concurrency: how many jobs at a time.
        works: what it does; with one queue where none are given.
        options: of that queue.
    """

    def __init__(self, concurrency: int = 3, works: Sequence[AnyWork] = (), **options: Any) -> None:
        self.server = Server()
        options = {"lease": 30, "retry_after": 0, **options}
        self.jobs: Jobs[Any] = Jobs("x", **options)
        self.events: list[WorkEvent] = []
        self.worker = Worker(
            works or [Work(self.jobs, id)], concurrency=concurrency, name="w", on_event=self.events.append
        )

    def put(self, *payloads: Any) -> None:
        self.server.run(self.jobs.enqueue_many(payloads))

    def turn(self, *, ask: bool = True) -> list[Assignment]:
        """Send what there is to send, and give what is to begin."""
        now = self.server.clock()
        exchange = self.worker.exchange(now, ask=ask)
        if exchange is None:
            return []
        return self.worker.exchanged(exchange, self.server.run(exchange.plan), asked_at=now, now=now)

    def listen(self) -> list[Listening]:
        return self.worker.listen(self.server.clock())

    def hear(self, listening: Listening) -> list[Assignment]:
        """Let a wait have its answer, and give what is to begin."""
        now = self.server.clock()
        return self.worker.heard(listening, self.server.run(listening.plan), asked_at=now, now=now)

    def beat(self) -> list[Assignment]:
        """Prolong the leases, and give what is to end."""
        plan, asked = self.worker.beat()
        return self.worker.beaten(asked, self.server.run(plan), asked_at=self.server.clock())

    def wake(self) -> None:
        for line in self.worker.lines:
            line.wake()

    def said(self) -> list[str]:
        return [event.what for event in self.events]

    def counts(self) -> tuple[int, int, int, int]:
        found = self.server.run(self.jobs.inspect())
        return found.ready, found.delayed, found.leased, found.dead


def payloads(assignments: Sequence[Assignment]) -> list[Any]:
    return [
        [job.payload for job in one.given] if isinstance(one.given, list) else one.given.payload for one in assignments
    ]


def test_it_asks_for_as_many_as_it_has_room_for() -> None:
    """And for none where it has none; what became of jobs goes with the next request."""
    desk = Desk()
    desk.put(*range(5))
    first = desk.turn()
    assert payloads(first) == [0, 1, 2]
    assert (desk.worker.room, desk.worker.busy, desk.turn()) == (0, True, [])
    assert desk.worker.exchange(0, ask=True) is None
    desk.worker.done(first[0], None, 0)
    desk.worker.failed(first[1], ValueError("x"), 0)
    exchange = desk.worker.exchange(desk.server.clock(), ask=True)
    assert exchange is not None
    assert exchange.plan.name == "batch(jobs.settle, jobs.reserve)"
    assert payloads(desk.turn()) == [3, 4]
    assert desk.counts() == (1, 0, 3, 0), "the one that failed is due again, and there was no room"
    assert desk.said() == ["began", "began", "began", "done", "failed", "began", "began"]


def test_what_was_not_answered_is_sent_again() -> None:
    """The same is told, and the same jobs are given, until an answer has come."""
    desk = Desk()
    desk.put(1, 2)
    lost = desk.worker.exchange(desk.server.clock(), ask=True)
    assert lost is not None
    desk.server.run(lost.plan)
    (one, two) = desk.turn()
    assert desk.counts() == (0, 0, 2, 0)
    desk.worker.done(one, None, 0)
    lost = desk.worker.exchange(0, ask=False)
    assert lost is not None
    desk.server.run(lost.plan)
    assert desk.turn(ask=False) == []
    assert desk.worker.exchange(0, ask=False) is None
    assert "refused" not in desk.said()
    assert desk.worker.open == [two]


def test_when_it_asks() -> None:
    """At once while there are jobs; then when one is due, or when it is woken; not while there is no room."""
    desk = Desk(concurrency=2)
    desk.server.run(desk.jobs.enqueue("later", delay=7))
    desk.put(1)
    assert desk.worker.waits_for(desk.server.clock()) == 0
    assert payloads(desk.turn()) == [1]
    assert desk.worker.exchange(desk.server.clock(), ask=True) is None
    assert 7 <= desk.worker.waits_for(desk.server.clock()) < 7.01
    desk.server.clock.advance(3.5)
    (listening,) = desk.listen()
    assert (listening.plan.name, listening.wanted) == ("jobs.wait", 0), "one is due before the wait may be over"
    assert desk.listen() == []
    desk.put(2)
    assert desk.turn() == [], "nobody has told it"
    assert desk.hear(listening) == []
    assert payloads(desk.turn()) == [2]
    assert desk.worker.waits_for(desk.server.clock()) == math.inf
    assert desk.listen() == []


def test_jobs_that_come_with_a_wake_up() -> None:
    """Where nothing else is due meanwhile a place is kept for one, and it needs no further question."""
    desk = Desk(concurrency=2)
    assert desk.turn() == []
    (listening,) = desk.listen()
    assert (listening.plan.name, listening.wanted, desk.worker.room) == ("jobs.reserve", 1, 1)
    assert 4 <= (listening.plan.blocks_for or 0) <= 6
    desk.put(1, 2, 3)
    assert payloads(desk.hear(listening)) == [1]
    assert (desk.worker.room, desk.said()) == (1, ["began"])
    assert payloads(desk.turn()) == [2], "there may be more"
    (plan, asked) = desk.worker.beat()
    assert (plan.name, [job.payload for _, jobs in asked for job in jobs]) == ("jobs.extend", [1, 2])


def test_a_wake_up_that_brings_nothing() -> None:
    """Its place is free again, and what Redis says of the next job holds."""
    desk = Desk()
    desk.turn()
    (listening,) = desk.listen()
    desk.server.run(desk.jobs.enqueue("later", delay=3))
    assert desk.hear(listening) == []
    assert desk.worker.room == 3
    assert 3 <= desk.worker.waits_for(desk.server.clock()) < 3.01
    (listening,) = desk.listen()
    assert listening.wanted == 0


def test_a_wait_without_an_answer() -> None:
    """The queue is asked at once, and gives what it has given already."""
    desk = Desk()
    desk.turn()
    (listening,) = desk.listen()
    desk.put(1, 2)
    desk.server.run(listening.plan)
    desk.worker.unheard(listening)
    assert desk.worker.room == 3
    assert payloads(desk.turn()) == [1]
    assert desk.counts() == (1, 0, 1, 0)
    (listening,) = desk.listen()
    assert payloads(desk.hear(listening)) == [2], "of the other somebody is told"


def test_a_wait_that_is_broken_off() -> None:
    """When a worker stops, it asks what the wait may have got, and gives it back."""
    desk = Desk()
    (line,) = desk.worker.lines
    assert desk.worker.recall(line) is None, "nothing was asked"
    desk.turn()
    assert desk.worker.recall(line) is None, "nobody waits"
    (listening,) = desk.listen()
    desk.put(1)
    desk.server.run(listening.plan)
    exchange = desk.worker.recall(line)
    assert exchange is not None
    (given,) = desk.worker.exchanged(exchange, desk.server.run(exchange.plan), asked_at=0, now=0)
    assert payloads([given]) == [1]
    desk.worker.released(given, 0)
    desk.turn(ask=False)
    assert desk.counts() == (1, 0, 0, 0)
    desk.wake()
    lost = desk.worker.exchange(0, ask=True)
    assert lost is not None
    exchange = desk.worker.recall(line)
    assert exchange is not None, "any request, until it is answered"
    assert desk.worker.exchanged(exchange, desk.server.run(exchange.plan), asked_at=0, now=0) == []
    assert desk.worker.recall(line) is None
    desk.server.run(lost.plan)
    assert desk.counts() == (1, 0, 0, 0), "what comes late is given nothing"


def test_when_a_wake_up_brings_no_jobs_along() -> None:
    """Where a limit is to be asked first, and where another queue would have no place left."""
    jobs = Jobs[int]("x")
    desk = Desk(works=[Work(jobs, id, limit=TokenBucket("x", capacity=1, refill_rate=1))])
    desk.turn()
    desk.turn()
    desk.turn()
    assert [listening.wanted for listening in desk.listen()] == [0]
    desk = Desk(concurrency=2, works=[Work(jobs, id), Work(Jobs[int]("y"), id)])
    desk.turn()
    desk.turn()
    assert [listening.wanted for listening in desk.listen()] == [1, 0]


def test_a_short_lease() -> None:
    """It may run since the wait began, so that one is no longer than half of it; and no longer than a driver wants."""
    desk = Desk(lease=2)
    desk.turn()
    assert [listening.plan.blocks_for for listening in desk.listen()] == [1]
    desk = Desk()
    desk.turn()
    assert [one.plan.blocks_for for one in desk.worker.listen(desk.server.clock(), most=0.5)] == [0.5]


def test_of_several_queues_the_first_comes_first() -> None:
    """The second is asked when the first has nothing, and has what room there is left."""
    first, second = Jobs[int]("first"), Jobs[int]("second")
    desk = Desk(concurrency=4, works=[Work(first, id), Work(second, id)])
    desk.server.run(batch(first.enqueue_many(range(6)), second.enqueue_many(range(10, 16))))
    begun = desk.turn()
    assert payloads(begun) == [0, 1, 2, 3]
    for one in begun:
        desk.worker.done(one, None, 0)
    assert payloads(desk.turn()) == [4, 5]
    rest = desk.turn()
    assert payloads(rest) == [10, 11]
    desk.worker.done(rest[0], None, 0)
    assert payloads(desk.turn()) == [12]
    desk.server.run(first.enqueue(6))
    desk.wake()
    desk.worker.done(rest[1], None, 0)
    exchange = desk.worker.exchange(desk.server.clock(), ask=True)
    assert exchange is not None
    assert exchange.plan.name == "batch(jobs.settle, jobs.reserve)"
    assert payloads(desk.turn()) == [6]
    plan, asked = desk.worker.beat()
    assert plan.name == "batch(2 jobs.extend)"
    assert [len(jobs) for _, jobs in asked] == [3, 1]


def test_batches() -> None:
    """As many jobs at once as there are, a handler for so many; each with its own outcome."""
    jobs = Jobs[int]("x", attempts=1)
    desk = Desk(concurrency=2, works=[BatchWork(jobs, id, size=3)])
    desk.server.run(jobs.enqueue_many(range(8)))
    first, second = desk.turn()
    assert payloads([first, second]) == [[0, 1, 2], [3, 4, 5]]
    assert desk.worker.room == 0
    desk.worker.done(first, [None, ValueError("one"), RetryLater(60)], 0)
    desk.worker.done(second, None, 0)
    assert payloads(desk.turn()) == [[6, 7]]
    assert desk.said()[6:12] == ["done", "dead", "dead", "done", "done", "done"], "it was the last attempt of all"
    (left,) = desk.worker.open
    desk.server.run(jobs.cancel(left.jobs[0].id))
    assert desk.beat() == [], "the other is still held"
    desk.server.run(jobs.settle(jobs.release(left.jobs[1])))
    assert desk.beat() == [left]
    desk.worker.done(left, None, 0)
    assert desk.said()[14:] == ["cancelled", "lost"], "nothing is said of what is not its own"


@pytest.mark.parametrize("result", [[1], [1, 2, 3], "ab", 7, {}])
def test_outcomes_that_do_not_fit(result: Any) -> None:
    """All jobs of the batch have failed, and why is kept."""
    jobs = Jobs[int]("x", attempts=1)
    desk = Desk(works=[BatchWork(jobs, id)])
    desk.server.run(jobs.enqueue_many(range(2)))
    (both,) = desk.turn()
    desk.worker.done(both, result, 0)
    desk.turn(ask=False)
    assert ["must return nothing, or a list of 2" in job.error for job in desk.server.run(jobs.dead())] == [True, True]


def test_permits() -> None:
    """A limit is asked before the queue, for more each time that there were jobs; what was too much is given back."""
    jobs, limit = Jobs[int]("x"), TokenBucket("x", capacity=6, refill_rate=0.5)
    desk = Desk(concurrency=20, works=[Work(jobs, id, limit=limit)])
    desk.server.run(jobs.enqueue_many(range(10)))

    def turn() -> tuple[str, list[Any]]:
        exchange = desk.worker.exchange(desk.server.clock(), ask=True)
        assert exchange is not None
        return exchange.plan.name, payloads(desk.turn())

    assert [turn() for _ in range(4)] == [
        ("batch(token_bucket.hit)", []),
        ("jobs.reserve", [0]),
        ("batch(2 token_bucket.hit)", []),
        ("jobs.reserve", [1, 2]),
    ]
    assert turn() == ("batch(4 token_bucket.hit)", []), "three of them are allowed"
    assert turn() == ("jobs.reserve", [3, 4, 5])
    assert desk.worker.exchange(desk.server.clock(), ask=True) is None
    assert 2 <= desk.worker.waits_for(desk.server.clock()) < 2.01, "until the next permit"
    assert desk.listen() == [], "a wake-up would be in vain"
    desk.server.clock.advance(12.1)
    assert [turn() for _ in range(2)] == [("batch(8 token_bucket.hit)", []), ("jobs.reserve", [6, 7, 8, 9])]
    assert desk.server.run(limit.peek("x")).remaining == 0, "two were taken in vain"
    desk.turn()
    assert desk.server.run(limit.peek("x")).remaining == 2
    assert not any(line.refunds for line in desk.worker.lines)
    desk.wake()
    assert turn() == ("batch(token_bucket.hit)", []), "one alone, as there was less than it had asked for"
    assert desk.turn(ask=False) == [], "permits that it does not use when it stops are given back too"
    assert desk.server.run(limit.peek("x")).remaining == 2


def test_what_handlers_decide() -> None:
    """Another time, never again; and the last attempt is the last."""
    desk = Desk(attempts=2)
    desk.put("later", "never", "fails")
    later, never, fails = desk.turn()
    desk.worker.failed(later, RetryLater(60, "not now"), 0)
    desk.worker.failed(never, GiveUp("no use"), 0)
    desk.worker.failed(fails, ValueError("what UTF-8 cannot write: \udc80"), 0, timed_out=True)
    desk.turn(ask=False)
    assert desk.counts() == (0, 2, 0, 1)
    assert desk.said()[3:] == ["failed", "dead", "timed_out"]
    assert [job.error for job in desk.server.run(desk.jobs.look(later.jobs[0].id))] == ["not now"]
    (again,) = desk.turn()
    desk.worker.failed(again, ValueError("2"), 0)
    desk.turn(ask=False)
    assert {job.payload: job.error for job in desk.server.run(desk.jobs.dead())}["never"] == "no use"
    assert desk.said()[-1] == "dead"


def test_another_time_for_no_reason() -> None:
    """Who looks sees that it was the handler's wish."""
    desk = Desk()
    desk.put("a")
    (one,) = desk.turn()
    desk.worker.failed(one, RetryLater(60), 0)
    desk.turn(ask=False)
    assert [job.error for job in desk.server.run(desk.jobs.look(one.jobs[0].id))] == ["tried again later"]


def test_results_that_cannot_be_written() -> None:
    """The job has failed then, and says why."""
    desk = Desk(result_ttl=60)
    desk.put(1)
    (one,) = desk.turn()
    desk.worker.done(one, object(), 0)
    desk.turn(ask=False)
    assert desk.said() == ["began", "failed"]
    assert desk.counts() == (0, 1, 0, 0)


def test_leases() -> None:
    """Those that are lost or cancelled are to end, and nothing is said of what was lost; the others are held on."""
    desk = Desk()
    desk.put("held", "lost", "cancelled")
    held, lost, cancelled = desk.turn()
    desk.server.run(desk.jobs.settle(desk.jobs.release(lost.jobs[0])))
    desk.server.run(desk.jobs.cancel(cancelled.jobs[0].id))
    asked_at = desk.server.clock()
    assert desk.beat() == [lost, cancelled]
    assert desk.worker.room == 0, "their handlers still run"
    desk.worker.done(lost, None, 0)
    desk.worker.released(cancelled, 0)
    assert desk.worker.open == [held]
    desk.turn(ask=False)
    assert desk.said()[3:] == ["lost", "cancelled"]
    assert desk.counts() == (1, 0, 1, 1)
    assert desk.worker.overdue(asked_at + 29.9) == []
    assert desk.worker.overdue(asked_at + 30) == [held]
    assert desk.said()[-1] == "lost"


def test_a_lease_that_nobody_prolongs() -> None:
    """It runs since the jobs were asked for, as nobody knows when within the request they were taken."""
    desk = Desk(lease=30)
    desk.put("x")
    exchange = desk.worker.exchange(0, ask=True)
    assert exchange is not None
    (one,) = desk.worker.exchanged(exchange, desk.server.run(exchange.plan), asked_at=100, now=107)
    assert desk.worker.overdue(129.999) == []
    assert desk.worker.overdue(130) == [one]
    assert desk.said() == ["began", "lost"]


def test_a_worker_that_has_nothing_to_do() -> None:
    """It shows all the same that it is there, on each of its queues."""
    works = [Work(Jobs[int]("x"), id), Work(Jobs[int]("y"), id)]
    desk = Desk(works=works)
    plan, asked = desk.worker.beat()
    assert plan.name == "batch(2 jobs.extend)"
    assert [(line.jobs.name, jobs) for line, jobs in asked] == [("x", []), ("y", [])]
    assert desk.beat() == []
    for work in works:
        assert [one.name for one in desk.server.run(work.jobs.inspect()).workers] == ["w"]


def test_handlers_that_are_late() -> None:
    """Those that have taken longer than they may, by the work that they do."""
    slow, quick = Jobs[int]("slow"), Jobs[int]("quick")
    desk = Desk(works=[Work(slow, id), Work(quick, id, timeout=5)])
    desk.server.clock.advance(100)
    desk.server.run(batch(slow.enqueue(1), quick.enqueue(2)))
    desk.turn()
    (second,) = desk.turn()
    now = desk.server.clock()
    assert desk.worker.late(now + 5) == []
    assert desk.worker.late(now + 5.001) == [second]


def test_what_comes_too_late() -> None:
    """It is refused, and the worker hears so."""
    desk = Desk(concurrency=1)
    desk.put("x")
    (one,) = desk.turn()
    desk.server.clock.advance(31)
    (again,) = desk.server.run(desk.jobs.reserve(1, worker="other")).jobs
    desk.worker.done(one, None, 0)
    desk.turn(ask=False)
    assert desk.said() == ["began", "done", "refused"]
    assert desk.server.run(desk.jobs.settle(desk.jobs.ack(again))) == [True]


def test_what_cannot_be_read() -> None:
    """It is given up with the next request, and takes no room."""
    desk = Desk(concurrency=2)
    desk.server.run(Jobs("x", codec=Text()).enqueue_many(["{", "1"]))
    assert payloads(desk.turn()) == [1]
    assert desk.worker.room == 1
    desk.turn(ask=False)
    assert desk.counts() == (0, 0, 1, 1)
    assert desk.said() == ["unreadable", "began"]
    assert [job.error for job in desk.server.run(desk.jobs.dead())] == ["the payload cannot be read"]


def test_giving_back() -> None:
    """As if it had not begun."""
    desk = Desk()
    desk.put("x")
    (one,) = desk.turn()
    desk.worker.released(one, 5)
    desk.turn(ask=False)
    assert not desk.worker.busy
    assert (desk.said(), desk.counts()) == (["began", "released"], (1, 0, 0, 0))


def test_who_listens_harms_nobody() -> None:
    """What a listener raises is told apart, and the worker goes on."""
    jobs, errors = Jobs[int]("x"), list[Exception]()

    def listen(_: WorkEvent) -> None:
        raise ValueError("no metrics today")

    server = Server()
    worker = Worker([Work(jobs, id)], concurrency=1, on_event=listen, on_error=errors.append)
    server.run(jobs.enqueue(1))
    exchange = worker.exchange(0, ask=True)
    assert exchange is not None
    assert payloads(worker.exchanged(exchange, server.run(exchange.plan), asked_at=0, now=0)) == [1]
    assert [str(error) for error in errors] == ["no metrics today"]


def test_many_jobs_are_prolonged_in_portions() -> None:
    """As one request takes a thousand."""
    jobs = Jobs[int]("x")
    desk = Desk(concurrency=3, works=[BatchWork(jobs, id, size=500)])
    for _ in range(3):
        desk.server.run(jobs.enqueue_many(range(500)))
    assert len(desk.turn()) == 2
    assert len(desk.turn()) == 1
    plan, asked = desk.worker.beat()
    assert [len(jobs) for _, jobs in asked] == [1000, 500]
    assert [set(held) for held in desk.server.run(plan)] == [{"held"}, {"held"}]


def test_workers_refuse_nonsense() -> None:
    """When they are built."""
    work: Work[int] = Work(Jobs("x"), id)
    with pytest.raises(ConfigurationError, match="concurrency"):
        Worker([work], concurrency=0)
    with pytest.raises(ConfigurationError, match="name"):
        Worker([work], concurrency=1, name="")
    assert Worker([work], concurrency=1).name != Worker([work], concurrency=1).name


def test_how_often_leases_are_prolonged() -> None:
    """At a third of the shortest, so that two beats may be lost."""
    works = [Work(Jobs[int]("x", lease=30), id), Work(Jobs[int]("y", lease=12), id)]
    assert Worker(works, concurrency=1).beats_every == 4.0


def test_who_listens_harms_nobody_where_nobody_asks() -> None:
    """What a listener raises is dropped where nobody is to be told of it."""
    jobs = Jobs[int]("x")

    def listen(_: WorkEvent) -> None:
        raise ValueError("no metrics today")

    server = Server()
    worker = Worker([Work(jobs, id)], concurrency=1, on_event=listen)
    server.run(jobs.enqueue(1))
    exchange = worker.exchange(0, ask=True)
    assert exchange is not None
    assert payloads(worker.exchanged(exchange, server.run(exchange.plan), asked_at=0, now=0)) == [1]


def test_trouble_is_told_once() -> None:
    """Once for each outage, whatever it was that failed; what is refused is told apart from what is away."""
    told: list[Exception] = []
    worker = Worker([Work(Jobs[int]("x"), id)], concurrency=1, on_error=told.append)
    away = Unreachable("jobs.reserve", "refused")
    worker.trouble(away, 0.0)
    for number in range(1, 20):
        worker.trouble(OutcomeUnknown("jobs.extend", "reset"), number * 60.0)
    assert told == [away], "it is one outage for as long as it comes again within a minute"
    refused = CommandFailed("jobs.extend", "NOPERM", "no")
    worker.trouble(refused, 1140.0)
    worker.trouble(CommandFailed("jobs.reserve", "NOPERM", "no"), 1145.0)
    assert told == [away, refused]
    worker.trouble(away, 1200.1)
    assert told == [away, refused, away], "after more than a minute without it is another one"
    Worker([Work(Jobs[int]("x"), id)], concurrency=1).trouble(away, 0.0)  # which nobody is told of
