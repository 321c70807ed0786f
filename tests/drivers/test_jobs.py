"""Jobs through every driver: each transition, what is refused, what is repeated, and what is known of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest

from redis_patterns import ConfigurationError, Job, JobFailed, Jobs, QueueFull, TakenJobs, Text, batch
from redis_patterns.sync import Driver
from redis_patterns.testing.memory import Server as Memory
from tests.drivers.faces import Face
from tests.drivers.plans import reads, sets

pytestmark = pytest.mark.anyio


@pytest.fixture
def jobs(namespace: str) -> Jobs[Any]:
    return Jobs("work", namespace=namespace)


async def take(redis: Face, jobs: Jobs[Any], count: int = 1, worker: str = "w") -> list[Job[Any]]:
    return list((await redis.run(jobs.reserve(count, worker=worker))).jobs)


async def states(redis: Face, jobs: Jobs[Any]) -> tuple[int, int, int, int]:
    counts = await redis.run(jobs.inspect())
    return counts.ready, counts.delayed, counts.leased, counts.dead


async def test_a_job_from_its_beginning_to_its_end(redis: Face, jobs: Jobs[Any]) -> None:
    """Put, taken, done; each in one round trip; and nothing is left of it but that it was done."""
    put = await redis.run(jobs.enqueue({"to": "ann"}))
    assert put.created
    assert await states(redis, jobs) == (1, 0, 0, 0)
    (job,) = await take(redis, jobs)
    assert (job.id, job.payload, job.fence, job.attempts, job.lost, job.priority) == (put.id, {"to": "ann"}, 1, 0, 0, 0)
    assert await states(redis, jobs) == (0, 0, 1, 0)
    assert await take(redis, jobs, worker="other") == []
    assert await redis.run(jobs.settle(jobs.ack(job))) == [True]
    assert await redis.run(jobs.settle(jobs.ack(job))) == [True], "it is so already"
    assert await states(redis, jobs) == (0, 0, 0, 0)
    (known,) = await redis.run(jobs.look(put.id))
    assert (known.state, known.payload) == ("done", None)
    counts = await redis.run(jobs.inspect())
    assert counts.totals == {"enqueued": 1, "acked": 1}


async def test_order(redis: Face, jobs: Jobs[Any]) -> None:
    """By priority, and in order within one; given back or lost they keep their places."""
    for priority, name in ((5, "d"), (0, "b"), (-1023, "a"), (0, "c"), (1023, "e")):
        await redis.run(jobs.enqueue(name, priority=priority))
    a, b = await take(redis, jobs, 2)
    await redis.run(jobs.settle(jobs.release(b), jobs.release(a)))
    taken = await take(redis, jobs, 9)
    assert [job.payload for job in taken] == ["a", "b", "c", "d", "e"]
    assert [(job.fence, job.attempts, job.lost) for job in taken[:3]] == [(2, 0, 0), (2, 0, 0), (1, 0, 0)]


async def test_an_id_is_put_once(redis: Face, jobs: Jobs[Any]) -> None:
    """While it is there, and for a while after it was done; ids of one call are told apart."""
    assert (await redis.run(jobs.enqueue(1, id="a"))).outcome == "created"
    assert (await redis.run(jobs.enqueue(2, id="a"))).outcome == "exists"
    (job,) = await take(redis, jobs)
    assert (job.payload, (await redis.run(jobs.enqueue(3, id="a"))).outcome) == (1, "exists")
    await redis.run(jobs.settle(jobs.ack(job)))
    assert (await redis.run(jobs.enqueue(4, id="a"))).outcome == "done"
    many = await redis.run(jobs.enqueue_many([5, 6, 7], ids=["b", "b", "a"]))
    assert [one.outcome for one in many] == ["created", "exists", "done"]


async def test_a_unique_key(redis: Face, jobs: Jobs[Any]) -> None:
    """One job of a key at a time, whose id is told; free again when it is done, dead or cancelled."""
    first = await redis.run(jobs.enqueue(1, unique="ann|x"))
    second = await redis.run(jobs.enqueue(2, unique="ann|x"))
    assert (second.outcome, second.id) == ("duplicate", first.id)
    for end in (jobs.ack, lambda job: jobs.give_up(job, "x")):
        (job,) = await take(redis, jobs)
        assert (await redis.run(jobs.enqueue(3, unique="ann|x"))).outcome == "duplicate"
        await redis.run(jobs.settle(end(job)))
        assert (await redis.run(jobs.enqueue(4, unique="ann|x"))).created
    (job,) = await take(redis, jobs)
    await redis.run(jobs.settle(jobs.release(job)))
    assert await redis.run(jobs.cancel(job.id)) == "cancelled"
    assert (await redis.run(jobs.enqueue(5, unique="ann|x"))).created


async def test_attempts(redis: Face, namespace: str) -> None:
    """A failed job is tried again after a while, and is dead after so many; then it can be tried anew."""
    jobs: Jobs[str] = Jobs("work", namespace=namespace, attempts=2, retry_after=0)
    put = await redis.run(jobs.enqueue("x"))
    (job,) = await take(redis, jobs)
    assert await redis.run(jobs.settle(jobs.retry(job, ValueError("no 1")))) == [True]
    assert await redis.run(jobs.settle(jobs.retry(job, ValueError("no 1")))) == [True], "it is so already"
    assert await states(redis, jobs) == (0, 1, 0, 0)
    (job,) = await take(redis, jobs)
    assert (job.attempts, job.fence) == (1, 2)
    await redis.run(jobs.settle(jobs.retry(job, ValueError("no 2"))))
    assert await states(redis, jobs) == (0, 0, 0, 1)
    (dead,) = await redis.run(jobs.dead())
    assert (dead.id, dead.payload, dead.state, dead.attempts) == (put.id, "x", "dead", 2)
    assert dead.error.endswith("ValueError: no 2")
    assert (await redis.run(jobs.enqueue("y", id=put.id))).outcome == "exists"
    assert await redis.run(jobs.redrive(put.id)) == 1
    assert await redis.run(jobs.redrive(put.id)) == 0
    (job,) = await take(redis, jobs)
    assert (job.attempts, job.fence) == (0, 3)


async def test_who_does_not_have_it_can_say_nothing_of_it(redis: Face, jobs: Jobs[Any]) -> None:
    """Neither with another's token, nor with one from before."""
    await redis.run(jobs.enqueue("x"))
    (job,) = await take(redis, jobs)
    stranger = Job(job.id, "x", "00", 1, 0, 0, 0.0, 0)
    for say in (jobs.ack, jobs.release, lambda one: jobs.retry(one, "x"), lambda one: jobs.give_up(one, "x")):
        assert await redis.run(jobs.settle(say(stranger))) == [False]
    assert await redis.run(jobs.extend([stranger, job], worker="w")) == ["lost", "held"]
    await redis.run(jobs.settle(jobs.release(job)))
    (again,) = await take(redis, jobs)
    assert await redis.run(jobs.settle(jobs.ack(job))) == [False]
    assert await redis.run(jobs.report(job, "50 %")) is False
    assert await redis.run(jobs.extend([job], worker="w")) == ["lost"]
    assert await redis.run(batch(jobs.report(again, "50 %"), jobs.settle(jobs.ack(again)))) == (True, [True])


async def test_asking_again_gives_the_same(redis: Face, jobs: Jobs[Any]) -> None:
    """Who asks again with its token gets what it was given; what it has settled since is not among it."""
    await redis.run(jobs.enqueue_many(["a", "b", "c"], ids=["1:a", "2 b", "3:ü"]))
    first = await redis.run(jobs.reserve(3, worker="w", token="t1"))
    again = await redis.run(jobs.reserve(3, worker="w", token="t1"))
    assert again.jobs == first.jobs
    await redis.run(jobs.settle(jobs.ack(first.jobs[1])))
    again = await redis.run(jobs.reserve(3, worker="w", token="t1"))
    assert [job.id for job in again.jobs] == ["1:a", "3:ü"]
    assert (await redis.run(jobs.reserve(3, worker="w", token="t2"))).jobs == ()


async def test_a_full_queue(redis: Face, namespace: str) -> None:
    """What does not fit is refused, all of it; what is worked on counts, what is dead does not."""
    jobs: Jobs[int] = Jobs("work", namespace=namespace, max_length=3)
    await redis.run(jobs.enqueue_many([1, 2], ids=["a", "b"]))
    with pytest.raises(QueueFull, match="may have 3 jobs"):
        await redis.run(jobs.enqueue_many([3, 4]))
    assert [one.outcome for one in await redis.run(jobs.enqueue_many([1, 2, 3], ids=["a", "b", "c"]))] == [
        "exists",
        "exists",
        "created",
    ]
    (job,) = await take(redis, jobs)
    with pytest.raises(QueueFull):
        await redis.run(jobs.enqueue(4, delay=60))
    await redis.run(jobs.settle(jobs.give_up(job, "x")))
    assert (await redis.run(jobs.enqueue(4, delay=60))).created
    assert await redis.run(jobs.redrive()) == 0, "there is no room"


async def test_a_queue_that_is_paused(redis: Face, jobs: Jobs[Any]) -> None:
    """Nothing is taken, but what is worked on is settled; then it goes on."""
    await redis.run(jobs.enqueue_many([1, 2]))
    (job,) = await take(redis, jobs)
    assert [await redis.run(jobs.pause()), await redis.run(jobs.pause())] == [True, False]
    taken = await redis.run(jobs.reserve(5, worker="w"))
    assert (taken.jobs, taken.closed) == ((), True)
    assert await redis.run(jobs.settle(jobs.ack(job))) == [True]
    assert (await redis.run(jobs.inspect())).paused
    assert [await redis.run(jobs.resume()), await redis.run(jobs.resume())] == [True, False]
    assert [job.payload for job in await take(redis, jobs)] == [2]


async def test_so_many_at_once(redis: Face, namespace: str) -> None:
    """By all workers together."""
    jobs: Jobs[int] = Jobs("work", namespace=namespace, max_running=3)
    await redis.run(jobs.enqueue_many(range(6)))
    one, two = await take(redis, jobs, 2, "a"), await take(redis, jobs, 2, "b")
    assert (len(one), len(two)) == (2, 1)
    assert (await redis.run(jobs.reserve(1, worker="c"))).closed
    await redis.run(jobs.settle(*map(jobs.ack, one)))
    assert len(await take(redis, jobs, 5, "c")) == 2


async def test_what_cannot_be_read(redis: Face, namespace: str) -> None:
    """It is given apart, and can be given up with its bytes; others are not in its way."""
    raw, jobs = Jobs[str]("work", namespace=namespace, codec=Text()), Jobs[Any]("work", namespace=namespace)
    await redis.run(raw.enqueue_many(["1", "{", "2"]))
    taken = await redis.run(jobs.reserve(3, worker="w"))
    assert ([job.payload for job in taken.jobs], [job.payload for job in taken.unreadable]) == ([1, 2], [b"{"])
    await redis.run(jobs.settle(jobs.give_up(taken.unreadable[0], "unreadable")))
    (dead,) = await redis.run(jobs.dead())
    assert (dead.payload, dead.error) == (None, "unreadable")
    (dead_raw,) = await redis.run(raw.dead())
    assert dead_raw.payload == "{"


async def test_what_is_not_there_any_more(redis: Face, jobs: Jobs[Any]) -> None:
    """An id without a payload is counted and forgotten, and others go on."""
    await redis.run(jobs.enqueue_many(["a", "b"], ids=["a", "b"]))
    await redis.run(sets("HDEL", jobs._key("data"), "a"))
    assert [job.id for job in await take(redis, jobs, 5)] == ["b"]
    assert (await redis.run(jobs.inspect())).totals["orphans"] == 1


async def test_results(redis: Face, namespace: str) -> None:
    """Kept for a while, waited for, and told where the job is dead."""
    jobs: Jobs[str] = Jobs("work", namespace=namespace, result_ttl=60)
    put = await redis.run(jobs.enqueue_many(["a", "b"], ids=["a", "b"]))
    assert [one.id for one in put] == ["a", "b"]
    with pytest.raises(LookupError, match="no result yet"):
        await redis.run(jobs.result("a"))
    a, b = await take(redis, jobs, 2)
    await redis.run(jobs.settle(jobs.ack(a, {"n": 1}), jobs.give_up(b, "broken")))
    for _ in range(2):
        assert await redis.run(jobs.result("a", wait=5)) == {"n": 1}
    with pytest.raises(JobFailed, match=r"'b' is dead: broken"):
        await redis.run(jobs.result("b"))
    with pytest.raises(LookupError):
        await redis.run(jobs.result("c", wait=0.005))
    with pytest.raises(ConfigurationError, match="result_ttl"):
        await redis.run(Jobs[str]("work", namespace=namespace).result("a"))


async def test_cancelling_and_rescheduling(redis: Face, jobs: Jobs[Any]) -> None:
    """What nobody works on is gone, or due at another time, at once; who works on one is told."""
    await redis.run(jobs.enqueue_many(["a", "b"], ids=["a", "b"]))
    await redis.run(jobs.enqueue("c", id="c", delay=3600))
    assert await redis.run(jobs.cancel("a")) == "cancelled"
    assert await redis.run(jobs.cancel("a")) == "unknown"
    assert await redis.run(jobs.reschedule("b", delay=3600)) is True
    assert await redis.run(jobs.reschedule("c", at=datetime(2000, 1, 1, tzinfo=UTC))) is True
    assert await redis.run(jobs.reschedule("a", delay=1)) is False
    (job,) = await take(redis, jobs, 5)
    assert job.id == "c"
    assert await redis.run(jobs.reschedule("c", delay=1)) is False
    assert await redis.run(jobs.extend([job], worker="w")) == ["held"]
    assert await redis.run(jobs.cancel("c")) == "told"
    assert await redis.run(jobs.extend([job], worker="w")) == ["cancelled"]
    await redis.run(jobs.settle(jobs.give_up(job, "cancelled")))
    assert await states(redis, jobs) == (0, 1, 0, 1)


async def test_cancelling_what_is_given_back(redis: Face, namespace: str) -> None:
    """Who works on it is told too late: it is gone when it is given back, and its id and its key are free."""
    jobs: Jobs[str] = Jobs("work", namespace=namespace, result_ttl=60)
    await redis.run(jobs.enqueue_many(["a", "b"], ids=["a", "b"], unique=["x", "y"]))
    a, b = await take(redis, jobs, 2)
    assert [await redis.run(batch(jobs.report(job, "half"), jobs.cancel(job.id))) for job in (a, b)] == [
        (True, "told"),
        (True, "told"),
    ]
    assert await redis.run(jobs.settle(jobs.release(a), jobs.retry(b, "no", delay=0))) == [True, True]
    assert await states(redis, jobs) == (0, 0, 0, 0)
    assert (await redis.run(jobs.inspect())).totals == {"enqueued": 2, "cancelled": 2}
    await redis.run(jobs.enqueue_many(["a", "b"], ids=["a", "b"], unique=["x", "y"]))
    again = await take(redis, jobs, 2)
    assert await redis.run(jobs.extend(again, worker="w")) == ["held", "held"]
    assert [known.progress for known in await redis.run(jobs.look("a", "b"))] == ["", ""]


async def test_a_result_of_the_last_run(redis: Face, namespace: str) -> None:
    """Who waits for what is to be done again is not given what it was before."""
    jobs: Jobs[str] = Jobs("work", namespace=namespace, result_ttl=60)
    await redis.run(jobs.enqueue("a", id="a"))
    await redis.run(jobs.settle(jobs.give_up((await take(redis, jobs))[0], "broken")))
    with pytest.raises(JobFailed, match="broken"):
        await redis.run(jobs.result("a", wait=5))
    assert await redis.run(jobs.redrive("a")) == 1
    for wait in (0, 0.005):
        with pytest.raises(LookupError, match="no result yet"):
            await redis.run(jobs.result("a", wait=wait))
    await redis.run(jobs.settle(jobs.ack((await take(redis, jobs))[0], 7)))
    assert await redis.run(jobs.result("a", wait=5)) == 7


async def test_a_record_that_cannot_be_read(redis: Face, jobs: Jobs[Any]) -> None:
    """Its job is dead, and no other waits for it."""
    await redis.run(jobs.enqueue_many(["a", "b", "c"], ids=["a", "b", "c"]))
    await redis.run(sets("HSET", jobs._key("job"), "b", "nonsense"))
    assert [job.id for job in await take(redis, jobs, 5)] == ["a", "c"]
    (dead,) = await redis.run(jobs.dead())
    assert (dead.id, dead.payload, dead.error) == ("b", "b", "what is known of it cannot be read: nonsense")


async def test_workers_that_are_gone(redis: Face, namespace: str) -> None:
    """Are forgotten while others work."""
    jobs: Jobs[Any] = Jobs("work", namespace=namespace)
    gone = [word for number in range(9) for word in (f"pod-{number}", "1000 gone")]
    await redis.run(sets("HSET", jobs._key("workers"), *gone))
    await redis.run(sets("HSET", jobs._key("given"), *gone))
    for _ in range(99):
        await redis.run(jobs.enqueue("x"))
        taken = await take(redis, jobs)
        await redis.run(batch(jobs.extend(taken, worker="w"), jobs.settle(*map(jobs.ack, taken))))
    assert [await redis.run(reads("HKEYS", jobs._key(part))) for part in ("workers", "given")] == [[b"w"], [b"w"]]


async def test_purging(redis: Face, jobs: Jobs[Any]) -> None:
    """All of one state, and what was kept of them; those that are worked on stay."""
    await redis.run(jobs.enqueue_many(range(5), unique=list("abcde")))
    await redis.run(jobs.enqueue(5, delay=60))
    await take(redis, jobs)
    assert await redis.run(jobs.purge("ready")) == 4
    assert await redis.run(jobs.purge("delayed")) == 1
    assert await redis.run(jobs.purge("dead")) == 0
    assert await states(redis, jobs) == (0, 0, 1, 0)
    assert await redis.run(reads("HLEN", jobs._key("data"))) == 1
    assert [one.created for one in await redis.run(jobs.enqueue_many([1, 2], unique=["a", "b"]))] == [False, True]
    with pytest.raises(ConfigurationError, match="state"):
        await redis.run(jobs.purge("leased"))  # type: ignore[arg-type]


async def test_who_works(redis: Face, jobs: Jobs[Any]) -> None:
    """Workers show themselves with what they say, and progress is seen."""
    await redis.run(jobs.enqueue("x", id="x"))
    (job,) = await take(redis, jobs)
    await redis.run(batch(jobs.extend([job], worker="w", about="host 1, 3 slots"), jobs.report(job, "50 %")))
    counts = await redis.run(jobs.inspect())
    (worker,) = counts.workers
    assert (worker.name, worker.about) == ("w", "host 1, 3 slots")
    assert 0 < worker.ends_in <= 30
    assert counts.next_lease_ends_in is not None
    (known,) = await redis.run(jobs.look("x"))
    assert (known.state, known.progress, known.payload) == ("leased", "50 %", "x")


@pytest.mark.renews
async def test_taking_what_wakes(redis: Face, jobs: Jobs[Any]) -> None:
    """Who waits is given a job with the wake-up, in one round trip; and what there is when its time is over."""
    got: list[TakenJobs[Any]] = []

    async def wait() -> None:
        got.append(await redis.run(jobs.reserve_when_woken(30, worker="w", token="t")))

    assert (await redis.run(jobs.reserve_when_woken(0.002, worker="w"))).jobs == ()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await redis.run(jobs.enqueue_many(["a", "b"]))
    assert [job.payload for job in got[0].jobs] == ["a"]
    assert (await redis.run(jobs.reserve(worker="w", token="t"))).jobs == got[0].jobs, "where its answer was lost"
    assert await redis.run(jobs.wait_for_work(0.002)), "there is another"
    (late,) = (await redis.run(jobs.reserve_when_woken(0.002, 5, worker="w"))).jobs
    assert late.payload == "b", "nobody was woken for it"
    with pytest.raises(ConfigurationError, match="count"):
        jobs.reserve_when_woken(1, 0, worker="w")


async def test_recalling_a_request(redis: Face, jobs: Jobs[Any]) -> None:
    """It gives what the request was given; where that was nothing, the request is given nothing when it comes later."""
    await redis.run(jobs.enqueue_many(["a", "b"]))
    taken = await redis.run(jobs.reserve(worker="w", token="t"))
    assert (await redis.run(jobs.recall(worker="w", token="t"))).jobs == taken.jobs
    await redis.run(jobs.settle(jobs.release(taken.jobs[0])))
    assert [(await redis.run(jobs.recall(worker="w", token=token))).jobs for token in ("t", "u", "u")] == [(), (), ()]
    assert (await redis.run(jobs.reserve(5, worker="w", token="u"))).jobs == ()
    assert len((await redis.run(jobs.reserve(5, worker="w", token="v"))).jobs) == 2


async def test_waking(redis: Face, jobs: Jobs[Any]) -> None:
    """Who waits is woken by what can be taken, and by what is due before all others; not while it is paused."""

    async def woken() -> bool:
        return await redis.run(jobs.wait_for_work(0.002))

    assert not await woken()
    await redis.run(jobs.enqueue_many(["a", "b"]))
    assert [await woken(), await woken()] == [True, False]
    one = await take(redis, jobs)
    assert await woken(), "there is another"
    two = await take(redis, jobs)
    assert not await woken()
    await redis.run(jobs.settle(jobs.release(one[0])))
    assert await woken()
    (again,) = await take(redis, jobs)
    await redis.run(jobs.settle(jobs.retry(again, "x", delay=60)))
    assert await woken(), "it is due before all others"
    await redis.run(jobs.enqueue("later", delay=120))
    assert not await woken()
    await redis.run(jobs.enqueue("sooner", delay=30))
    assert await woken()
    await redis.run(jobs.pause())
    await redis.run(jobs.settle(jobs.release(two[0])))
    assert not await woken()
    await redis.run(jobs.resume())
    assert await woken()


# Times, on a server whose clock stands until it is moved


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def still(memory: Memory) -> Driver:
    return memory.sync()


def test_a_lease_that_ends(memory: Memory, still: Driver) -> None:
    """Not a moment before; then the job is given to the next who asks, in its old place, and it counts as lost."""
    jobs: Jobs[str] = Jobs("work", lease=30, losses=2)
    still.run(jobs.enqueue_many(["a", "b"]))
    (job,) = still.run(jobs.reserve(1, worker="dies")).jobs
    assert still.run(jobs.reserve(1, worker="w", token="x")).next_in == 30.001
    still.run(jobs.settle(*[jobs.release(one) for one in still.run(jobs.reserve(1, worker="w", token="x")).jobs]))
    memory.clock.advance(29.999)
    assert [one.payload for one in still.run(jobs.reserve(1, worker="w")).jobs] == ["b"]
    memory.clock.advance(0.001)
    (again,) = still.run(jobs.reserve(1, worker="w")).jobs
    assert (again.payload, again.lost, again.attempts, again.fence) == ("a", 1, 0, 2)
    assert still.run(jobs.settle(jobs.ack(job))) == [False]
    memory.clock.advance(31)
    assert still.run(jobs.reserve(5, worker="w")).jobs[0].payload == "b"
    (dead,) = still.run(jobs.dead())
    assert (dead.payload, dead.error.startswith("lost 2 times")) == ("a", True)
    assert still.run(jobs.inspect()).totals["lost"] == 3


def test_a_lease_that_is_prolonged(memory: Memory, still: Driver) -> None:
    """The job stays its worker's; even late, if nobody has noticed."""
    jobs: Jobs[str] = Jobs("work", lease=30)
    still.run(jobs.enqueue("a"))
    (job,) = still.run(jobs.reserve(1, worker="w")).jobs
    for _ in range(5):
        memory.clock.advance(20)
        assert still.run(jobs.extend([job], worker="w")) == ["held"]
        assert still.run(jobs.reserve(1, worker="other")).jobs == ()
    memory.clock.advance(100)
    assert still.run(jobs.extend([job], worker="w")) == ["held"]
    memory.clock.advance(30)
    assert still.run(jobs.settle(jobs.ack(job))) == [True]


def test_when_a_job_is_due(memory: Memory, still: Driver) -> None:
    """To the millisecond; with those that are ready in the order of when they became so."""
    jobs: Jobs[str] = Jobs("work")
    still.run(jobs.enqueue("b", delay=10))
    still.run(jobs.enqueue("a", delay=9.999))
    memory.clock.advance(9.998)
    taken = still.run(jobs.reserve(5, worker="w"))
    assert (taken.jobs, taken.next_in) == ((), 0.002)
    memory.clock.advance(0.001)
    assert [job.payload for job in still.run(jobs.reserve(5, worker="w")).jobs] == ["a"]
    memory.clock.advance(0.001)
    still.run(jobs.enqueue("c"))
    assert [job.payload for job in still.run(jobs.reserve(5, worker="w")).jobs] == ["c", "b"]


def test_how_long_a_failed_job_waits() -> None:
    """Twice as long each time, by chance up to that, and never longer than the most."""
    jobs: Jobs[str] = Jobs("work", retry_after=1, most_retry=60, attempts=100)

    def delays(attempts: int, chance: float) -> int:
        return jobs.retry(Job("x", "", "t", 1, attempts, 0, 0.0, 0), "x", chance=lambda: chance).delay

    assert [delays(attempts, 1.0) for attempts in (0, 1, 2, 5, 6, 90)] == [1000, 2000, 4000, 32000, 60000, 60000]
    assert [delays(3, chance) for chance in (0.0, 0.5)] == [0, 4000]


def test_many_that_are_due_at_once(memory: Memory, still: Driver) -> None:
    """Each request moves a part of them, and all are given in the end, once each."""
    jobs: Jobs[int] = Jobs("work", lease=10)
    for start in range(0, 1000, 500):
        still.run(jobs.enqueue_many(range(start, start + 500), delay=5))
    memory.clock.advance(5)
    seen: list[int] = []
    for turn in range(30):
        seen += [job.payload for job in still.run(jobs.reserve(100, worker=f"w{turn}")).jobs]
    assert seen[:500] in (list(range(500)), list(range(500, 1000))), "those of one call in their order"
    memory.clock.advance(11)
    seen = []
    for turn in range(40):
        seen += [job.payload for job in still.run(jobs.reserve(100, worker=f"w{turn}")).jobs]
    assert sorted(seen) == list(range(1000))


def test_what_is_forgotten(memory: Memory, still: Driver) -> None:
    """That a job was done, results, and dead jobs beyond their time and number; at the end only counts are left."""
    jobs: Jobs[str] = Jobs("work", remember=60, result_ttl=30, keep_dead=2, keep_dead_for=100)
    still.run(jobs.enqueue_many(["a", "b", "c", "d"], ids=list("abcd")))
    taken = still.run(jobs.reserve(4, worker="w")).jobs
    still.run(jobs.settle(jobs.ack(taken[0]), *[jobs.give_up(job, "x") for job in taken[1:]]))
    still.run(jobs.reserve(1, worker="w"))
    assert [job.id for job in still.run(jobs.dead())] == ["d", "c"]
    memory.clock.advance(60)
    assert still.run(jobs.enqueue("a", id="a")).created
    (job,) = still.run(jobs.reserve(1, worker="w")).jobs
    still.run(jobs.settle(jobs.ack(job)))
    memory.clock.advance(200)
    still.run(jobs.reserve(1, worker="w"))
    still.run(jobs.wait_for_work(0.002))
    memory.clock.advance(200)
    left = memory.keys()
    assert [key.rsplit(":", 1)[1] for key in left] == ["meta"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": ""}, "name"),
        ({"lease": 0.05}, "lease"),
        ({"attempts": 0}, "attempts"),
        ({"losses": 0}, "losses"),
        ({"max_length": 0}, "max_length"),
        ({"max_running": 0}, "max_running"),
        ({"max_payload": 0}, "max_payload"),
        ({"remember": -1}, "remember"),
        ({"result_ttl": 0}, "result_ttl"),
        ({"keep_dead": 0}, "keep_dead"),
    ],
)
def test_jobs_refuse_nonsense(wrong: dict[str, Any], said: str) -> None:
    """When they are built."""
    options: dict[str, Any] = {"name": "x", **wrong}
    with pytest.raises(ConfigurationError, match=said):
        Jobs(**options)


def test_bad_arguments_are_named() -> None:
    """With what is allowed."""
    jobs: Jobs[Any] = Jobs("x", max_payload=10)
    job = Job("x", "", "t", 1, 0, 0, 0.0, 0)
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: jobs.enqueue("x" * 20), "at most 10 bytes"),
        (lambda: jobs.enqueue("x", id=""), "id must be"),
        (lambda: jobs.enqueue("x", id="x" * 201), "id must be"),
        (lambda: jobs.enqueue("x", priority=1024), "priority"),
        (lambda: jobs.enqueue("x", unique=""), "unique"),
        (lambda: jobs.enqueue("x", delay=1, at=datetime.now(UTC)), "both"),
        (lambda: jobs.enqueue_many([]), "1 to 1000"),
        (lambda: jobs.enqueue_many([1, 2], ids=["a"]), "as many as"),
        (lambda: jobs.reserve(0, worker="w"), "count"),
        (lambda: jobs.reserve(1, worker=""), "worker"),
        (jobs.settle, "1 to 1000"),
        (lambda: jobs.extend([job] * 1001, worker="w"), "at most 1000"),
        (lambda: jobs.retry(job, "x", delay=-1), "delay"),
        (jobs.look, "at least one"),
        (lambda: jobs.dead(0), "count"),
        (lambda: jobs.redrive(count=0), "count"),
    ]
    for call, said in calls:
        with pytest.raises(ConfigurationError, match=said):
            call()
    assert "t" not in repr(job).replace("attempts", "").replace("lost", "").replace("at=", "").replace("priority", "")
