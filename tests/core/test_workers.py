"""What a worker tells and asks, without a driver: plans run on a server in memory, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from redis_patterns import ConfigurationError, GiveUp, Job, Jobs, RetryLater, Text, WorkEvent
from redis_patterns.testing.memory import Server
from redis_patterns_core.workers import Worker


class Desk:
    """A worker, its server, and the time.

    Parameters:
        concurrency: how many jobs at a time.
        options: of the queue.
    """

    def __init__(self, concurrency: int = 3, **options: Any) -> None:
        self.server = Server()
        options = {"lease": 30, "retry_after": 0, **options}
        self.jobs: Jobs[Any] = Jobs("x", **options)
        self.events: list[WorkEvent] = []
        self.worker: Worker[Any] = Worker(self.jobs, concurrency=concurrency, name="w", on_event=self.events.append)

    def put(self, *payloads: Any) -> None:
        self.server.run(self.jobs.enqueue_many(payloads))

    def turn(self, *, ask: bool = True) -> list[Job[Any]]:
        """Send what there is to send, and give the jobs to begin."""
        plan = self.worker.exchange(ask=ask)
        if plan is None:
            return []
        now = self.server.clock()
        return self.worker.exchanged(self.server.run(plan), asked_at=now, now=now)

    def said(self) -> list[str]:
        return [event.what for event in self.events]

    def counts(self) -> tuple[int, int, int, int]:
        found = self.server.run(self.jobs.inspect())
        return found.ready, found.delayed, found.leased, found.dead


def test_it_asks_for_as_many_as_it_has_room_for() -> None:
    """And for none where it has none; what became of jobs goes with the next request."""
    desk = Desk()
    desk.put(*range(5))
    first = desk.turn()
    assert [job.payload for job in first] == [0, 1, 2]
    assert (desk.worker.room, desk.worker.busy, desk.turn()) == (0, True, [])
    assert desk.worker.exchange(ask=True) is None
    desk.worker.done(first[0], None, 0)
    desk.worker.failed(first[1], ValueError("x"), 0)
    plan = desk.worker.exchange(ask=True)
    assert plan is not None
    assert plan.name == "batch(jobs.settle, jobs.reserve)"
    assert [job.payload for job in desk.turn()] == [3, 4]
    assert desk.counts() == (1, 0, 3, 0), "the one that failed is due again, and there was no room"
    assert desk.said() == ["began", "began", "began", "done", "failed", "began", "began"]


def test_what_was_not_answered_is_sent_again() -> None:
    """The same is told, and the same jobs are given, until an answer has come."""
    desk = Desk()
    desk.put(1, 2)
    lost = desk.worker.exchange(ask=True)
    assert lost is not None
    desk.server.run(lost)
    (one, two) = desk.turn()
    assert desk.counts() == (0, 0, 2, 0)
    desk.worker.done(one, None, 0)
    lost = desk.worker.exchange(ask=False)
    assert lost is not None
    desk.server.run(lost)
    assert desk.turn(ask=False) == []
    assert desk.worker.exchange(ask=False) is None
    assert "refused" not in desk.said()
    assert desk.worker.running == [two]


def test_what_handlers_decide() -> None:
    """Another time, never again; and the last attempt is the last."""
    desk = Desk(attempts=2)
    desk.put("later", "never", "fails")
    later, never, fails = desk.turn()
    desk.worker.failed(later, RetryLater(60, "not now"), 0)
    desk.worker.failed(never, GiveUp("no use"), 0)
    desk.worker.failed(fails, ValueError("1"), 0, timed_out=True)
    desk.turn(ask=False)
    assert desk.counts() == (0, 2, 0, 1)
    assert desk.said()[3:] == ["failed", "dead", "timed_out"]
    (again,) = desk.turn()
    desk.worker.failed(again, ValueError("2"), 0)
    desk.turn(ask=False)
    assert {job.payload: job.error for job in desk.server.run(desk.jobs.dead())}["never"] == "no use"
    assert desk.said()[-1] == "dead"


def test_results_that_cannot_be_written() -> None:
    """The job has failed then, and says why."""
    desk = Desk(result_ttl=60)
    desk.put(1)
    (job,) = desk.turn()
    desk.worker.done(job, object(), 0)
    desk.turn(ask=False)
    assert desk.said() == ["began", "failed"]
    assert desk.counts() == (0, 1, 0, 0)


def test_leases() -> None:
    """Those that are lost or cancelled are to end, and nothing is said of what was lost; the others are held on."""
    desk = Desk()
    desk.put("held", "lost", "cancelled")
    held, lost, cancelled = desk.turn()
    desk.server.run(desk.jobs.settle(desk.jobs.release(lost)))
    desk.server.run(desk.jobs.cancel(cancelled.id))
    running = desk.worker.running
    holdings = desk.server.run(desk.worker.beat())
    assert desk.worker.beaten(running, holdings, asked_at=100.0) == [lost, cancelled]
    assert desk.worker.running == [held]
    assert not desk.worker.holds(lost)
    desk.worker.done(lost, None, 0)
    desk.worker.released(lost, 0)
    desk.turn(ask=False)
    assert desk.said()[3:] == ["lost", "cancelled"]
    assert desk.counts() == (1, 0, 1, 1)
    assert desk.worker.overdue(129.9) == []
    assert desk.worker.overdue(130.0) == [held]
    assert desk.said()[-1] == "lost"


def test_what_comes_too_late() -> None:
    """It is refused, and the worker hears so."""
    desk = Desk(concurrency=1)
    desk.put("x")
    (job,) = desk.turn()
    desk.server.clock.advance(31)
    (again,) = desk.server.run(desk.jobs.reserve(1, worker="other")).jobs
    desk.worker.done(job, None, 0)
    desk.turn(ask=False)
    assert desk.said() == ["began", "done", "refused"]
    assert desk.server.run(desk.jobs.settle(desk.jobs.ack(again))) == [True]


def test_what_cannot_be_read() -> None:
    """It is given up with the next request, and takes no room."""
    desk = Desk(concurrency=2)
    desk.server.run(Jobs("x", codec=Text()).enqueue_many(["{", "1"]))
    assert [job.payload for job in desk.turn()] == [1]
    assert desk.worker.room == 1
    desk.turn(ask=False)
    assert desk.counts() == (0, 0, 1, 1)


def test_giving_back() -> None:
    """As if it had not begun."""
    desk = Desk()
    desk.put("x")
    (job,) = desk.turn()
    desk.worker.released(job, 5)
    desk.turn(ask=False)
    assert not desk.worker.busy
    assert (desk.said(), desk.counts()) == (["began", "released"], (1, 0, 0, 0))


def test_workers_refuse_nonsense() -> None:
    """When they are built."""
    jobs: Jobs[int] = Jobs("x")
    with pytest.raises(ConfigurationError, match="concurrency"):
        Worker(jobs, concurrency=0)
    with pytest.raises(ConfigurationError, match="name"):
        Worker(jobs, concurrency=1, name="")
    assert Worker(jobs, concurrency=1).name != Worker(jobs, concurrency=1).name
