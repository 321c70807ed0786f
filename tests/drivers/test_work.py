"""Workers on all three drivers: jobs are done, tried again, given back, kept and lost as they should be."""

from __future__ import annotations

import collections
import functools
import itertools
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest
import trio

from redis_patterns import (
    BatchWork,
    CommandFailed,
    ConfigurationError,
    FifoQueue,
    GiveUp,
    Job,
    Jobs,
    RetryLater,
    Text,
    TokenBucket,
    Work,
    WorkEvent,
    batch,
)
from redis_patterns.asyncio import Driver as AsyncioDriver
from redis_patterns.sync import Driver
from redis_patterns.testing import Server
from redis_patterns.trio import Driver as TrioDriver
from tests.drivers.plans import reads, sets

KINDS = ["sync", "asyncio", "trio"]


class Shift:
    """A worker that runs in a thread, whatever its driver.

    Parameters:
        kind: the driver's.
        url: the server's.
        jobs: the queue, or several.
        body: does a job; a generator that yields seconds to sleep, so that it is one for all drivers.
        work: what is made of them: a `Work`, or a `BatchWork`, whose body is given a list.
        middleware: as for a `Work`, but like a body.
        options: of ``work``, and those of a `Work`.
    """

    def __init__(
        self,
        kind: str,
        url: str,
        jobs: Jobs[Any] | list[Jobs[Any]],
        body: Callable[[Any], Any],
        *,
        work: type[Work[Any] | BatchWork[Any]] = Work,
        **options: Any,
    ) -> None:
        self.events: list[WorkEvent] = []
        self.over = threading.Event()
        self.errors: list[BaseException] = []
        self.reported: list[BaseException] = []
        self._kind = kind
        self._url = url
        self._body = body
        handle: Any = self._handle if kind == "sync" else self._handle_later
        of_work = {name: options.pop(name) for name in ("timeout", "limit", "size", "middleware") if name in options}
        self._works: list[Any] = [work(one, handle, **of_work) for one in (jobs if isinstance(jobs, list) else [jobs])]
        self._options: dict[str, Any] = {
            "on_event": self.events.append,
            "until": self.over.is_set,
            "grace": 5,
            **options,
        }
        self._cancel: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let it stop, and wait until it has."""
        self.over.set()
        self._thread.join(20)
        assert not self._thread.is_alive(), "it does not stop"
        assert not self.errors, self.errors

    def cancel(self) -> None:
        """Cancel it, and wait until it has stopped."""
        self._cancel()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def kinds(self) -> collections.Counter[str]:
        """Count what has happened."""
        return collections.Counter(event.what for event in self.events)

    def _main(self) -> None:
        try:
            if self._kind == "sync":
                with Driver.connect(self._url, on_background_error=self._take_report) as redis:
                    redis.work(*self._works, **self._options)
            elif self._kind == "asyncio":
                anyio.run(functools.partial(self._serve, AsyncioDriver.connect))
            else:
                trio.run(functools.partial(self._serve, TrioDriver.connect))
        except BaseException as error:  # noqa: BLE001  told by stop()
            self.errors.append(error)

    async def _serve(self, connect: Any) -> None:
        with anyio.CancelScope() as scope:
            token = anyio.lowlevel.current_token()
            self._cancel = lambda: anyio.from_thread.run_sync(scope.cancel, token=token)
            async with connect(self._url, on_background_error=self._take_report) as redis:
                await redis.work(*self._works, **self._options)

    def _take_report(self, _: object, error: BaseException) -> None:
        self.reported.append(error)

    def _handle(self, job: Job[Any]) -> Any:
        made: Any = self._body(job)
        if not hasattr(made, "send"):
            return made
        while True:
            try:
                time.sleep(next(made))
            except StopIteration as stop:
                return stop.value

    async def _handle_later(self, job: Job[Any]) -> Any:
        made: Any = self._body(job)
        if not hasattr(made, "send"):
            return made
        while True:
            try:
                seconds = next(made)
            except StopIteration as stop:
                return stop.value
            await anyio.sleep(seconds)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def namespace() -> str:
    return f"test-{secrets.token_hex(6)}"


@pytest.fixture
def redis(redis_server: Server) -> Iterator[Driver]:
    with Driver.connect(redis_server.url) as driver:
        yield driver


@pytest.fixture
def shift(kind: str, redis_server: Server) -> Callable[..., Shift]:
    return functools.partial(Shift, kind, redis_server.url)


def wait_until(holds: Callable[[], object], seconds: float = 20) -> None:
    ends_at = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends_at, "it does not happen"
        time.sleep(0.005)


def counts(redis: Driver, jobs: Jobs[Any]) -> tuple[int, int, int, int]:
    found = redis.run(jobs.inspect())
    return found.ready, found.delayed, found.leased, found.dead


def test_jobs_are_done(shift: Callable[..., Shift], redis: Driver, namespace: str) -> None:
    """Each once, several at a time, with their results; then it stops, and nothing is left."""
    jobs: Jobs[int] = Jobs("work", namespace=namespace, result_ttl=60)
    put = [one for start in range(0, 300, 100) for one in redis.run(jobs.enqueue_many(range(start, start + 100)))]
    seen: list[int] = []

    def square(job: Job[int]) -> int:
        seen.append(job.payload)
        return job.payload**2

    worker = shift(jobs, square, concurrency=7)
    assert redis.run(jobs.result(put[-1].id, wait=20)) == 299**2
    worker.stop()
    assert sorted(seen) == list(range(300))
    assert worker.kinds() == {"began": 300, "done": 300}
    assert counts(redis, jobs) == (0, 0, 0, 0)
    assert redis.run(jobs.result(put[5].id)) == 25


def test_a_worker_that_waits_is_woken(shift: Callable[..., Shift], redis: Driver, namespace: str) -> None:
    """At once by a job that comes, and at its time by one that is due: long before it would look by itself."""
    jobs: Jobs[float] = Jobs("work", namespace=namespace)
    late: list[float] = []
    worker = shift(jobs, lambda job: late.append(time.monotonic() - job.payload))
    wait_until(lambda: redis.run(jobs.inspect()).workers)
    for turn, delay in enumerate((0, 0, 0.3, 0)):
        time.sleep(0.05)
        redis.run(jobs.enqueue(time.monotonic() + delay, delay=delay or None))
        wait_until(lambda: len(late) == turn + 1)  # noqa: B023  called at once
    worker.stop()
    assert all(-0.005 < seconds < 3 for seconds in late), late


def test_failures(shift: Callable[..., Shift], redis: Driver, namespace: str) -> None:
    """What raises is tried again, and dead after so many; a handler may say when, or that it is of no use."""
    jobs: Jobs[str] = Jobs("work", namespace=namespace, attempts=3, retry_after=0.01)
    turns: collections.Counter[str] = collections.Counter()

    def act(job: Job[str]) -> None:
        turns[job.payload] += 1
        if job.payload == "always":
            raise ValueError("no way")
        if job.payload == "hopeless":
            raise GiveUp("of no use")
        if job.payload == "later" and not job.attempts:
            raise RetryLater(0.05, "not yet")

    redis.run(jobs.enqueue_many(["always", "hopeless", "later", "fine"]))
    worker = shift(jobs, act)
    wait_until(lambda: counts(redis, jobs) == (0, 0, 0, 2))
    worker.stop()
    assert turns == {"always": 3, "hopeless": 1, "later": 2, "fine": 1}
    dead = {job.payload: job.error for job in redis.run(jobs.dead())}
    assert dead["hopeless"] == "of no use"
    assert dead["always"].endswith("ValueError: no way")
    assert "in act" in dead["always"], "the traceback is kept"
    assert worker.kinds() == {"began": 7, "done": 2, "failed": 3, "dead": 2}


def test_what_cannot_be_read(shift: Callable[..., Shift], redis: Driver, namespace: str) -> None:
    """It is dead, and others are done."""
    raw, jobs = Jobs[str]("work", namespace=namespace, codec=Text()), Jobs[Any]("work", namespace=namespace)
    redis.run(raw.enqueue_many(["{", "1"]))
    worker = shift(jobs, lambda _: None)
    wait_until(lambda: counts(redis, jobs) == (0, 0, 0, 1))
    worker.stop()
    assert worker.kinds() == {"unreadable": 1, "began": 1, "done": 1}


def test_leases_are_kept(shift: Callable[..., Shift], redis: Driver, namespace: str) -> None:
    """A job that takes several times its lease is done once, while others ask for it."""
    jobs: Jobs[str] = Jobs("work", namespace=namespace, lease=0.2)
    redis.run(jobs.enqueue("x"))
    fences: list[int] = []

    def slow(job: Job[str]) -> Iterator[float]:
        fences.append(job.fence)
        yield 0.9

    worker, other = shift(jobs, slow), shift(jobs, slow)
    wait_until(lambda: worker.kinds()["done"] + other.kinds()["done"])
    worker.stop()
    other.stop()
    assert fences == [1]
    assert redis.run(jobs.inspect()).totals == {"enqueued": 1, "acked": 1}


@pytest.mark.parametrize("how", ["taken away", "cancelled"])
def test_a_job_that_is_not_its_workers_any_more(
    shift: Callable[..., Shift], redis: Driver, namespace: str, kind: str, how: str
) -> None:
    """The worker notices, and ends the handler where that is possible; it says nothing of it any more."""
    jobs: Jobs[str] = Jobs("work", namespace=namespace, lease=0.3)
    put = redis.run(jobs.enqueue("x"))
    begun: list[Job[str]] = []
    ended: list[str] = []

    def long(job: Job[str]) -> Iterator[float]:
        begun.append(job)
        if len(begun) > 1:
            return
        for _ in range(100 if kind == "sync" else 1000):
            yield 0.01
        ended.append("in its own time")

    worker = shift(jobs, long, concurrency=1)
    wait_until(lambda: begun)
    if how == "cancelled":
        assert redis.run(jobs.cancel(put.id)) == "told"
        wait_until(lambda: worker.kinds()["cancelled"])
    else:
        assert redis.run(jobs.settle(jobs.release(begun[0]))) == [True]
        wait_until(lambda: worker.kinds()["lost"])
        wait_until(lambda: worker.kinds()["done"])
    worker.stop()
    if kind != "sync":
        assert ended == [], "it was cancelled"
    assert counts(redis, jobs) == (0, 0, 0, 1 if how == "cancelled" else 0)


def test_a_handler_that_takes_too_long(shift: Callable[..., Shift], redis: Driver, namespace: str) -> None:
    """It counts as failed, and others go on, even with one place."""
    jobs: Jobs[str] = Jobs("work", namespace=namespace, attempts=1, lease=1)
    redis.run(jobs.enqueue_many(["slow", "fine"]))

    def act(job: Job[str]) -> Iterator[float]:
        yield 1.5 if job.payload == "slow" else 0

    worker = shift(jobs, act, timeout=0.2, concurrency=1)
    wait_until(lambda: counts(redis, jobs) == (0, 0, 0, 1))
    worker.stop()
    (dead,) = redis.run(jobs.dead())
    assert (dead.payload, dead.error.endswith("not over within 0.2 s")) == ("slow", True)
    assert worker.kinds()["done"] == 1


def test_stopping_lets_handlers_finish(shift: Callable[..., Shift], redis: Driver, namespace: str) -> None:
    """What has begun is done, within the grace time; nothing else begins."""
    jobs: Jobs[int] = Jobs("work", namespace=namespace)
    redis.run(jobs.enqueue_many(range(10)))
    begun: list[int] = []

    def act(job: Job[int]) -> Iterator[float]:
        begun.append(job.payload)
        yield 0.4

    worker = shift(jobs, act, concurrency=2)
    wait_until(lambda: len(begun) == 2)
    worker.stop()
    assert sorted(begun) == [0, 1]
    assert counts(redis, jobs) == (8, 0, 0, 0)
    assert worker.kinds() == {"began": 2, "done": 2}


def test_stopping_gives_back_what_takes_longer(shift: Callable[..., Shift], redis: Driver, namespace: str) -> None:
    """As if it had not been begun: no attempt and no loss is counted, and it has its old place."""
    jobs: Jobs[int] = Jobs("work", namespace=namespace)
    redis.run(jobs.enqueue_many(range(3)))
    begun: list[int] = []

    def act(job: Job[int]) -> Iterator[float]:
        begun.append(job.payload)
        yield 3

    worker = shift(jobs, act, concurrency=1, grace=0.1)
    wait_until(lambda: begun)
    started = time.monotonic()
    worker.stop()
    assert time.monotonic() - started < 2.9
    assert worker.kinds() == {"began": 1, "released": 1}
    taken = redis.run(jobs.reserve(3, worker="w")).jobs
    assert [(job.payload, job.attempts, job.lost) for job in taken] == [(0, 0, 0), (1, 0, 0), (2, 0, 0)]


def test_a_worker_that_is_cancelled(shift: Callable[..., Shift], redis: Driver, namespace: str, kind: str) -> None:
    """Its jobs are given back before it ends."""
    if kind == "sync":
        return  # a thread is not cancelled
    jobs: Jobs[int] = Jobs("work", namespace=namespace)
    redis.run(jobs.enqueue_many(range(3)))
    begun: list[int] = []

    def act(job: Job[int]) -> Iterator[float]:
        begun.append(job.payload)
        yield 60

    worker = shift(jobs, act, concurrency=2)
    wait_until(lambda: len(begun) == 2)
    worker.cancel()
    assert counts(redis, jobs) == (3, 0, 0, 0)
    assert worker.kinds() == {"began": 2, "released": 2}


@pytest.mark.parametrize("turn", range(4))
def test_a_job_that_comes_while_a_worker_leaves(
    shift: Callable[..., Shift], redis: Driver, namespace: str, kind: str, turn: int
) -> None:
    """It was given along with a wake-up that nobody took any more: it is given back, and to the next one at once."""
    jobs = Jobs[int]("x", lease=60, result_ttl=60, namespace=namespace)
    worker = shift(jobs, lambda job: job.payload)
    wait_until(lambda: redis.run(jobs.inspect()).workers)
    put = threading.Thread(target=lambda: redis.run(jobs.enqueue(1, id="a")))
    put.start()
    worker.stop() if kind == "sync" or turn % 2 else worker.cancel()
    put.join()
    found = redis.run(jobs.inspect())
    assert (found.leased, found.totals.get("lost", 0)) == (0, 0)
    if found.ready:
        other = shift(jobs, lambda job: job.payload)
        assert redis.run(jobs.result("a", wait=10)) == 1
        other.stop()


def test_several_workers(shift: Callable[..., Shift], redis: Driver, namespace: str) -> None:
    """They share the jobs, and do each once, whoever is woken."""
    jobs: Jobs[int] = Jobs("work", namespace=namespace)
    seen: list[int] = []
    numbers = itertools.count()

    def act(job: Job[int]) -> Iterator[float]:
        seen.append(job.payload)
        yield next(numbers) % 3 / 1000

    workers = [shift(jobs, act, concurrency=2) for _ in range(3)]
    for start in range(0, 200, 10):
        redis.run(jobs.enqueue_many(range(start, start + 10)))
    wait_until(lambda: len(seen) == 200)
    for worker in workers:
        worker.stop()
    assert sorted(seen) == list(range(200))
    assert counts(redis, jobs) == (0, 0, 0, 0)
    assert all(worker.kinds()["done"] for worker in workers)


def test_several_queues(shift: Callable[..., Shift], redis: Driver, namespace: str) -> None:
    """Jobs of a queue begin only while those before it have none; and each of them wakes who waits."""
    first, second = Jobs[str]("first", namespace=namespace), Jobs[str]("second", namespace=namespace)
    begun: list[str] = []
    for jobs in (second, first):
        redis.run(jobs.enqueue_many([f"{jobs.name} {number}" for number in range(5)]))

    def act(job: Job[str]) -> Iterator[float]:
        begun.append(job.payload)
        yield 0.01

    worker = shift([first, second], act, concurrency=1)
    wait_until(lambda: len(begun) == 10)
    assert begun == [*[f"first {number}" for number in range(5)], *[f"second {number}" for number in range(5)]]
    for turn, jobs in enumerate((second, first, second)):
        wait_until(lambda: not worker_is_busy(redis, first, second))
        time.sleep(0.03)
        started = time.monotonic()
        redis.run(jobs.enqueue("more"))
        wait_until(lambda: len(begun) == 11 + turn)  # noqa: B023  called at once
        assert time.monotonic() - started < 3, "it was not woken, but looked by itself"
    worker.stop()
    assert [event.queue for event in worker.events if event.what == "done"][-3:] == ["second", "first", "second"]


def worker_is_busy(redis: Driver, *queues: Jobs[Any]) -> bool:
    return any(counts(redis, jobs) != (0, 0, 0, 0) for jobs in queues)


def test_batches(shift: Callable[..., Shift], redis: Driver, namespace: str) -> None:
    """Several jobs at once, those that are there; each with an outcome of its own."""
    jobs: Jobs[int] = Jobs("work", namespace=namespace, attempts=1, result_ttl=60)
    put = redis.run(jobs.enqueue_many(range(10)))
    sizes: list[int] = []

    def act(together: list[Job[int]]) -> list[object]:
        sizes.append(len(together))
        return [ValueError(f"not {job.payload}") if job.payload % 3 == 0 else job.payload * 2 for job in together]

    worker = shift(jobs, act, work=BatchWork, size=4, concurrency=2)
    wait_until(lambda: counts(redis, jobs) == (0, 0, 0, 4))
    worker.stop()
    assert sorted(sizes) == [2, 4, 4]
    assert redis.run(jobs.result(put[4].id)) == 8
    assert {job.error.partition("ValueError: ")[2] for job in redis.run(jobs.dead())} == {
        "not 0",
        "not 3",
        "not 6",
        "not 9",
    }
    assert worker.kinds() == {"began": 10, "done": 6, "dead": 4}


def test_batches_that_fail(shift: Callable[..., Shift], redis: Driver, namespace: str) -> None:
    """All of them have failed where the handler raises, takes too long, or gives outcomes that do not fit."""
    jobs: Jobs[str] = Jobs("work", namespace=namespace, attempts=1, lease=1)

    def act(together: list[Job[str]]) -> Any:
        what = together[0].payload
        if what == "raises":
            raise ValueError("none of them")
        return late() if what == "late" else [1, 2, 3]

    def late() -> Iterator[float]:
        yield 2.0

    for what in ("raises", "late", "misfits"):
        redis.run(jobs.enqueue_many([what, what]))
    worker = shift(jobs, act, work=BatchWork, size=2, concurrency=3, timeout=0.3)
    wait_until(lambda: counts(redis, jobs) == (0, 0, 0, 6))
    worker.stop()
    said = collections.Counter(job.error.splitlines()[-1].partition(": ")[2] for job in redis.run(jobs.dead()))
    assert said == {
        "none of them": 2,
        "not over within 0.3 s": 2,
        "a batch handler must return nothing, or a list of 2 results or exceptions": 2,
    }


def test_middleware(shift: Callable[..., Shift], redis: Driver, namespace: str, kind: str) -> None:
    """It is around each call, the first outermost, and what it raises is the job's."""
    jobs: Jobs[str] = Jobs("work", namespace=namespace, attempts=1, result_ttl=60)
    said: list[str] = []

    def outer(call: Callable[[Any], Any], job: Job[str]) -> Any:
        said.append(f"before {job.payload}")
        if job.payload == "refused":
            raise GiveUp("not allowed")
        try:
            result = call(job)
        except ValueError as error:
            said.append(f"failed {error}")
            raise GiveUp("as it failed") from error
        said.append(f"after {result}")
        return result.upper()

    async def outer_later(call: Callable[[Any], Any], job: Job[str]) -> Any:
        async def called(job: Job[str]) -> Any:
            return await call(job)

        outcome: list[Any] = []
        error: BaseException | None = None
        try:
            outcome.append(await called(job) if job.payload != "refused" else None)
        except ValueError as raised:
            error = raised

        def replay(_: Job[str]) -> Any:
            if error is not None:
                raise error
            return outcome[0]

        return outer(replay, job)

    def inner(call: Callable[[Any], Any], job: Job[str]) -> Any:
        return call(job)

    async def inner_later(call: Callable[[Any], Any], job: Job[str]) -> Any:
        return f"{await call(job)}"

    def act(job: Job[str]) -> str:
        if job.payload == "bad":
            raise ValueError("bad")
        return f"did {job.payload}"

    around = [outer, inner] if kind == "sync" else [outer_later, inner_later]
    put = redis.run(jobs.enqueue_many(["good", "bad", "refused"]))
    worker = shift(jobs, act, middleware=around, concurrency=1)
    wait_until(lambda: counts(redis, jobs) == (0, 0, 0, 2))
    worker.stop()
    assert redis.run(jobs.result(put[0].id)) == "DID GOOD"
    assert said == ["before good", "after did good", "before bad", "failed bad", "before refused"]
    assert {job.payload: job.error for job in redis.run(jobs.dead())} == {
        "bad": "as it failed",
        "refused": "not allowed",
    }


def test_a_rate_limit(shift: Callable[..., Shift], redis: Driver, namespace: str) -> None:
    """No more begin than it allows, in all workers together, however many could; and all of them in the end."""
    jobs: Jobs[int] = Jobs("work", namespace=namespace)
    limit = TokenBucket("work", capacity=5, refill_rate=20, namespace=namespace)
    redis.run(jobs.enqueue_many(range(15)))
    begun: list[float] = []
    started = time.monotonic()
    workers = [shift(jobs, lambda _: begun.append(time.monotonic()), limit=limit, concurrency=8) for _ in range(2)]
    wait_until(lambda: len(begun) == 15)
    for worker in workers:
        worker.stop()
    # Five at once, and twenty a second from then on.
    for place, moment in enumerate(sorted(begun)):
        assert moment - started > (place - 4) / 20 - 0.005, begun
    assert redis.run(limit.peek("work")).remaining <= 5


def test_permits_that_are_not_needed_are_given_back(shift: Callable[..., Shift], redis: Driver, namespace: str) -> None:
    """A worker that finds no job takes nothing from the limit."""
    jobs: Jobs[int] = Jobs("work", namespace=namespace)
    limit = TokenBucket("work", capacity=3, refill_rate=0.001, namespace=namespace)
    done: list[int] = []
    worker = shift(jobs, lambda job: done.append(job.payload), limit=limit)
    wait_until(lambda: redis.run(jobs.inspect()).workers)
    for number in range(3):
        redis.run(jobs.enqueue(number))
        wait_until(lambda: len(done) == number + 1)  # noqa: B023  called at once
    redis.run(jobs.enqueue(3))
    time.sleep(0.1)
    worker.stop()
    assert done == [0, 1, 2]
    assert counts(redis, jobs) == (1, 0, 0, 0)
    assert redis.run(limit.peek("work")).remaining == 0


def test_a_listener_that_fails_harms_nobody(shift: Callable[..., Shift], redis: Driver, namespace: str) -> None:
    """What `on_event` raises goes to the handler of background errors."""
    jobs: Jobs[int] = Jobs("work", namespace=namespace)
    redis.run(jobs.enqueue_many(range(3)))
    heard: list[str] = []

    def listen(event: WorkEvent) -> None:
        heard.append(event.what)
        raise ValueError("no metrics today")

    worker = shift(jobs, lambda _: None, on_event=listen)
    wait_until(lambda: redis.run(jobs.inspect()).totals.get("acked") == 3)
    worker.stop()
    assert sorted(heard) == ["began"] * 3 + ["done"] * 3
    assert list(map(str, worker.reported)) == ["no metrics today"] * 6


def test_a_worker_that_is_refused_says_so(kind: str, redis: Driver, redis_server: Server, namespace: str) -> None:
    """The handler of background errors is told once, and the worker does its jobs when it is let in."""
    jobs: Jobs[int] = Jobs("work", namespace=namespace)
    redis.run(jobs.enqueue(1))
    url = redis_server.url.replace("unix://", f"unix://{namespace}:sesame@", 1)
    worker = Shift(kind, url, jobs, lambda _: None, concurrency=1)
    wait_until(lambda: worker.reported)
    time.sleep(0.3)  # in which it tries again
    redis.run(sets("ACL", "SETUSER", namespace, "on", ">sesame", "~*", "&*", "+@all"))
    try:
        wait_until(lambda: redis.run(jobs.inspect()).totals.get("acked") == 1)
        worker.stop()
    finally:
        redis.run(sets("ACL", "DELUSER", namespace))
    (error,) = worker.reported
    assert isinstance(error, CommandFailed)
    assert error.code == "WRONGPASS"


def test_a_handler_that_wants_to_exit(redis: Driver, redis_server: Server, namespace: str) -> None:
    """In a thread it has failed, and the thread goes on with others."""
    jobs: Jobs[str] = Jobs("work", namespace=namespace, attempts=1)
    redis.run(jobs.enqueue_many(["exits", "exits", "fine"]))

    def act(job: Job[str]) -> None:
        if job.payload == "exits":
            raise SystemExit(1)

    worker = Shift("sync", redis_server.url, jobs, act, concurrency=1)
    wait_until(lambda: counts(redis, jobs) == (0, 0, 0, 2))
    worker.stop()
    assert worker.kinds() == {"began": 3, "dead": 2, "done": 1}


def test_an_idle_worker_asks_little(shift: Callable[..., Shift], redis: Driver, namespace: str) -> None:
    """While nothing comes, only what keeps it known and what waits."""
    jobs: Jobs[int] = Jobs("work", namespace=namespace)
    worker = shift(jobs, lambda _: None)
    wait_until(lambda: redis.run(jobs.inspect()).workers)
    time.sleep(0.1)
    before = commands(redis)
    time.sleep(1.0)
    asked = commands(redis) - before
    worker.stop()
    # One wait a second at most, perhaps a look with what its script does, and this test's own question.
    assert asked <= 25, asked


def commands(redis: Driver) -> int:
    from redis_patterns_core import replies

    text = replies.text(redis.run(reads("INFO", "stats")))
    return int(text.partition("total_commands_processed:")[2].partition("\r")[0])


def test_bad_arguments_are_named(redis: Driver) -> None:
    """Before anything begins."""
    jobs: Jobs[int] = Jobs("work")

    async def later(_: Job[int]) -> None:
        """Do nothing."""

    cases: list[tuple[Any, dict[str, Any], str]] = [
        (later, {}, "handler must not be a coroutine function"),
        (id, {"concurrency": 0}, "concurrency"),
        (id, {"grace": -1}, "grace"),
        (id, {"name": ""}, "name"),
    ]
    for handler, options, said in cases:
        with pytest.raises(ConfigurationError, match=said):
            redis.work(jobs, handler, **options)

    async def main(url: str) -> None:
        async with AsyncioDriver.connect(url) as driver:
            with pytest.raises(ConfigurationError, match="handler must be a coroutine function"):
                await driver.work(jobs, id)  # type: ignore[arg-type]

    anyio.run(main, "redis://127.0.0.1:1")


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
def test_handlers_that_are_objects(kind: str, redis_server: Server) -> None:
    """What is called like a coroutine function handles jobs and items."""
    name = secrets.token_hex(8)
    jobs: Jobs[int] = Jobs(name)
    queue: FifoQueue[int] = FifoQueue(name)
    seen: list[object] = []

    class Handler:
        async def __call__(self, what: Job[int] | int) -> None:
            seen.append(what if isinstance(what, int) else what.payload)

    async def main() -> None:
        async with (AsyncioDriver if kind == "asyncio" else TrioDriver).connect(redis_server.url) as driver:
            await driver.run(batch(jobs.enqueue(1), queue.put(2)))
            await driver.work(jobs, Handler(), until=lambda: len(seen) == 1)
            await driver.consume(queue, functools.partial(Handler()), until=lambda: len(seen) == 2)

    anyio.run(main, backend=kind)
    assert seen == [1, 2]


@pytest.mark.parametrize("concurrency", [1, 3])
def test_consumers(kind: str, redis_server: Server, redis: Driver, namespace: str, concurrency: int) -> None:
    """Each item is handled once, several at a time, and what fails is kept."""
    queue: FifoQueue[int] = FifoQueue("items", namespace=namespace)
    redis.run(queue.put_many(range(30)))
    seen: list[int] = []
    together, most = [0], [0]

    def begin(item: int) -> None:
        together[0] += 1
        most[0] = max(most[0], together[0])
        seen.append(item)

    def end(item: int) -> None:
        together[0] -= 1
        if item % 10 == 3:
            raise ValueError(f"not {item}")

    def handle(item: int) -> None:
        begin(item)
        time.sleep(0.005)
        end(item)

    async def handle_later(item: int) -> None:
        begin(item)
        await anyio.sleep(0.005)
        end(item)

    async def main(connect: Any) -> int:
        async with connect(redis_server.url) as driver:
            number: int = await driver.consume(
                queue, handle_later, concurrency=concurrency, until=lambda: len(seen) >= 30
            )
            return number

    if kind == "sync":
        with Driver.connect(redis_server.url) as driver:
            count = driver.consume(queue, handle, concurrency=concurrency, until=lambda: len(seen) >= 30)
    else:
        count = anyio.run(main, (AsyncioDriver if kind == "asyncio" else TrioDriver).connect, backend=kind)
    assert count == 30
    assert sorted(seen) == list(range(30))
    assert (most[0] > 1) == (concurrency > 1)
    assert sorted(failed.error for failed in redis.run(queue.failed())) == [f"ValueError: not {n}" for n in (13, 23, 3)]


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_consumer_that_cannot_go_on(kind: str, redis_server: Server, concurrency: int) -> None:
    """Its error is raised, and the others end too."""
    queue: FifoQueue[int] = FifoQueue("items")

    def until() -> bool:
        raise LookupError("is it over?")

    async def later(_: int) -> None:
        """Do nothing."""

    async def main(connect: Any) -> None:
        async with connect(redis_server.url) as driver:
            await driver.consume(queue, later, concurrency=concurrency, until=until)

    with pytest.raises(LookupError, match="is it over"):
        if kind == "sync":
            with Driver.connect(redis_server.url) as driver:
                driver.consume(queue, id, concurrency=concurrency, until=until)
        else:
            anyio.run(main, (AsyncioDriver if kind == "asyncio" else TrioDriver).connect, backend=kind)


def test_a_worker_that_cannot_go_on(kind: str, redis_server: Server, redis: Driver, namespace: str) -> None:
    """What `until` raises is raised, in no group, and what was being done is given back."""
    jobs: Jobs[int] = Jobs("work", namespace=namespace)
    redis.run(jobs.enqueue(1))
    begun: list[int] = []

    def until() -> bool:
        if begun:
            raise LookupError("is it over?")
        return False

    def act(job: Job[int]) -> Iterator[float]:
        begun.append(job.payload)
        yield 60 if kind != "sync" else 0.3

    worker = Shift(kind, redis_server.url, jobs, act, until=until, grace=0)
    wait_until(lambda: worker.errors)
    assert [repr(error) for error in worker.errors] == ["LookupError('is it over?')"]
    if kind != "sync":  # a thread does its job to the end
        assert counts(redis, jobs) == (1, 0, 0, 0)


def test_consumers_refuse_nonsense(redis: Driver) -> None:
    """A handler that the driver cannot call, and a number that is none."""
    queue: FifoQueue[int] = FifoQueue("items")

    async def later(_: int) -> None:
        """Do nothing."""

    with pytest.raises(ConfigurationError, match="handler must not be a coroutine function"):
        redis.consume(queue, later)
    with pytest.raises(ConfigurationError, match="concurrency must be"):
        redis.consume(queue, id, concurrency=0)

    async def main(url: str) -> None:
        async with AsyncioDriver.connect(url) as driver:
            with pytest.raises(ConfigurationError, match="handler must be a coroutine function"):
                await driver.consume(queue, id)  # type: ignore[arg-type]
            with pytest.raises(ConfigurationError, match="concurrency must be"):
                await driver.consume(queue, later, concurrency=0)

    anyio.run(main, "redis://127.0.0.1:1")
