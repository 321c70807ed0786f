"""What type checkers make of the public interface; never run, checked by mypy and pyright with the rest."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime
from typing import Any, assert_type

import redis_patterns.asyncio
import redis_patterns.sync
import redis_patterns.trio
from redis_patterns import (
    MINUTE,
    AllOf,
    BatchWork,
    BucketedCounter,
    Cache,
    Call,
    Claim,
    ConcurrencyLimit,
    Counter,
    DeadWrite,
    Decision,
    Device,
    Empty,
    Enqueued,
    Entry,
    Evaluation,
    ExactUniques,
    FifoQueue,
    Flag,
    FlagChange,
    FlagClient,
    FlagContext,
    Flags,
    FlagSnapshot,
    Flow,
    Guarded,
    Held,
    Job,
    Jobs,
    Leaderboard,
    Lease,
    Lock,
    MemberData,
    Miss,
    Now,
    Once,
    Page,
    Plan,
    ScoreChange,
    Series,
    Session,
    Sessions,
    ShardedCounter,
    Steps,
    Superseded,
    Text,
    TokenBucket,
    Uniques,
    Work,
    Write,
    WriteBehind,
    batch,
    flow,
)
from redis_patterns.flask import session as flask_session
from redis_patterns.wsgi import WsgiSession

limiter = TokenBucket("api", capacity=10, refill_rate=1)
board = Leaderboard("weekly")
lock = Lock("order")


def plans() -> None:
    assert_type(limiter.hit("a"), Plan[Decision])
    assert_type(board.top(3), Plan[list[Entry]])
    assert_type(board.at(datetime.now(UTC)), Leaderboard)
    assert_type(board.submit("a", 1, mode="best"), Plan[ScoreChange])
    assert_type(board.submit_many({"a": 1}), Plan[dict[str, ScoreChange]])
    assert_type(board.entries(["a"]), Plan[dict[str, Entry | None]])
    assert_type(board.page(1), Plan[Page[Entry]])
    assert_type(board.percentile("a"), Plan[float | None])
    assert_type(board.bands([1, 2]), Plan[list[int]])
    assert_type(board.merge([board], ttl=1), Plan[int])
    data: MemberData[Decision] = MemberData(board)
    assert_type(data.get("a"), Plan[Decision | None])
    assert_type(data.top(), Plan[list[tuple[Entry, Decision | None]]])
    assert_type(data.page(1), Plan[Page[tuple[Entry, Decision | None]]])
    assert_type(data.around("a"), Plan[list[tuple[Entry, Decision | None]] | None])
    assert_type(board.rank("a"), Plan[int | None])
    assert_type(board.top(3).map(len), Plan[int])
    assert_type(batch(), Plan[tuple[()]])
    assert_type(batch(limiter.hit("a")), Plan[tuple[Decision]])
    assert_type(batch(limiter.hit("a"), board.top(3)), Plan[tuple[Decision, list[Entry]]])
    six = batch(board.count(), board.score("a"), board.add("a", 1), board.remove("a"), board.top(1), lock.acquire())
    assert_type(six, Plan[tuple[int, float | None, None, bool, list[Entry], Lease | None]])
    assert_type(batch(*(board.score(name) for name in "abc")), Plan[tuple[float | None, ...]])


def counting(redis: redis_patterns.sync.Driver, now: datetime) -> None:
    views, visitors, exact = BucketedCounter("x"), Uniques("x"), ExactUniques("x")
    assert_type(redis.run(Counter("x").increment(event="e")), int)
    assert_type(ShardedCounter("x").increment(), Plan[None])
    assert_type(
        redis.run(batch(views.add(), views.last(MINUTE, 5), views.total(MINUTE, now))), tuple[None, Series, int]
    )
    assert_type(redis.run(visitors.count([now], across=[visitors])), int)
    assert_type(redis.run(exact.merge(exact)), None)
    visitors.count(across=[exact])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    views.last("day", 5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    views.add(1, now)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def with_sync(redis: redis_patterns.sync.Driver) -> None:
    assert_type(redis.limited(limiter, "all")(len_of)("x"), int)
    assert_type(redis.locked("word:{word}")(len_of)("x"), int)
    assert_type(redis.limited(limiter, lambda word: word)(len_of)("x"), int)
    assert_type(redis.run(limiter.wait_for("a", wait=1)), Decision)
    assert_type(redis.run(AllOf(limiter).hit("a", [1])), Decision)
    assert_type(redis.run(AllOf(limiter).hit_each("a")), Decision)
    assert_type(redis.run(Guarded(limiter).hit("a")), Decision)
    assert_type(redis.run(limiter.refund(redis.run(limiter.hit("a")))), bool)
    with redis.hold(ConcurrencyLimit("c", limit=1).slot("a")) as held:
        assert_type(held, Held)
    assert_type(redis.run(limiter.hit("a")), Decision)
    assert_type(redis.run(batch(limiter.hit("a"), board.top(3))), tuple[Decision, list[Entry]])
    assert_type(redis.run(double(2)), float)
    with redis.hold(lock, wait=1) as held:
        assert_type(held.lost, bool)


def len_of(word: str) -> int:
    return len(word)


async def len_later(word: str) -> int:
    return len(word)


async def with_asyncio(redis: redis_patterns.asyncio.Driver) -> None:
    assert_type(await redis.limited(limiter, "all")(len_later)("x"), int)
    assert_type(await redis.locked("word:{word}")(len_later)("x"), int)
    assert_type(await redis.run(batch(limiter.hit("a"), board.top(3))), tuple[Decision, list[Entry]])
    assert_type(await redis.run(double(2), timeout=1), float)
    async with redis.hold(lock) as held:
        held.check()


async def with_trio(redis: redis_patterns.trio.Driver) -> None:
    assert_type(await redis.run(limiter.hit("a")), Decision)
    async with redis_patterns.trio.Driver.connect("redis://localhost") as made:
        assert_type(made, redis_patterns.trio.Driver)


def plain(text: str, *, times: int) -> int:
    return len(text) * times


async def coroutine(text: str) -> bytes:
    return text.encode()


def awaitable(text: str) -> Awaitable[float]:
    raise NotImplementedError(text)


@flow
def double(number: int) -> Steps[float]:
    assert_type((yield from board.score("a")), float | None)
    assert_type((yield from batch(board.count(), board.top(1))), tuple[int, list[Entry]])
    assert_type((yield from Now()), float)
    assert_type((yield from Call(plain, "x", times=2)), int)
    assert_type((yield from Call(coroutine, "x")), bytes)
    assert_type((yield from Call(awaitable, "x")), float)
    assert_type((yield from lock.wait_for(1)), Lease | None)
    return number * 2.0


assert_type(double(2), Flow[float])


users: Cache[str] = Cache("users", ttl=60, codec=Text())
behind: WriteBehind[str] = WriteBehind("profiles", ttl=60, codec=Text())


def writing_behind(redis: redis_patterns.sync.Driver) -> None:
    def save(writes: Sequence[Write[str]]) -> None:
        for write in writes:
            assert_type(write.value, str | Miss)

    assert_type(redis.run(behind.put("1", "x")), int)
    assert_type(redis.run(behind.get("1")), str | Miss)
    assert_type(redis.run(behind.flush(save)), int)
    assert_type(redis.run(behind.dead_letters()), list[DeadWrite[str]])
    behind.put("1", 7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def leading(redis: redis_patterns.sync.Driver, later: redis_patterns.asyncio.Driver) -> None:
    def work(held: Held) -> int:
        return held.lease.fence

    async def work_later(held: Held) -> str:
        return held.lease.name

    assert_type(redis.lead(lock, work), int)

    async def main() -> None:
        assert_type(await later.lead(lock, work_later), str)

    del main


def sessions(redis: redis_patterns.sync.Driver) -> None:
    kept = Sessions()
    made = redis.run(kept.create("ann", {"a": 1}))
    assert_type(made, Session)
    assert_type(redis.run(kept.load("x")), Session | None)
    assert_type(redis.run(kept.look("x")), Session | Superseded | None)
    assert_type(kept.save(made, {"a": 2}), Plan[Session])
    assert_type(kept.login(None, "ann"), Flow[Session])
    assert_type(redis.run(kept.devices("ann")), list[Device])
    assert_type(redis.run(kept.destroy_all("ann", except_=made)), int)
    kept.save("x", {})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    kept.destroy_all("ann", made)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def flask_sessions() -> None:
    assert_type(flask_session, WsgiSession)
    assert_type(flask_session.user, str | None)
    flask_session.login("ann")
    flask_session.login(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def queues(redis: redis_patterns.sync.Driver, later: redis_patterns.asyncio.Driver) -> None:
    fifo: FifoQueue[int] = FifoQueue("x")
    jobs = Jobs[int]("x")
    assert_type(redis.run(fifo.pop()), int | Empty)
    assert_type(redis.run(fifo.pop_many(2)), list[int])
    assert_type(redis.run(jobs.enqueue(1)), Enqueued)
    assert_type(redis.run(jobs.reserve(1, worker="w")).jobs, tuple[Job[int], ...])
    assert_type(redis.run(jobs.dead())[0].payload, int | None)

    def handle(job: Job[int]) -> int:
        return job.payload

    async def handle_later(job: Job[int]) -> int:
        return job.payload

    def other(job: Job[str]) -> str:
        return job.payload

    def handle_batch(jobs: list[Job[int]]) -> None:
        del jobs

    def consume(item: int) -> None:
        del item

    redis.work(jobs, handle)
    redis.work(Work(jobs, handle, timeout=5), BatchWork(jobs, handle_batch, size=5), concurrency=5)
    assert_type(Work(jobs, handle), Work[int])
    Work(jobs, handle_batch)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    BatchWork(jobs, handle)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Work(jobs, other)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(redis.consume(FifoQueue[int]("x"), consume), int)
    redis.consume(FifoQueue[str]("x"), consume)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    redis.work(jobs, other)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    jobs.enqueue("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    async def main() -> None:
        await later.work(jobs, handle_later)
        await later.work(jobs, handle)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    del main


def charging(redis: redis_patterns.sync.Driver, later: redis_patterns.asyncio.Driver) -> None:
    charges: Once[int] = Once("charges")

    def charge(order: str, amount: int) -> int:
        return len(order) * amount

    async def charge_later(order: str) -> int:
        return len(order)

    def charge_as_flow(order: str) -> Flow[int]:
        return charges.run(order, len_of, order)

    assert_type(redis.run(charges.run("1", charge, "x", 5, wait=1, fingerprint=b"")), int)
    assert_type(charges.run("1", charge_later, "x"), Flow[int])
    assert_type(charges.run("1", charge_as_flow, "x"), Flow[int])
    assert_type(charges.claim("1"), Plan[Claim[int]])
    assert_type(redis.run(charges.complete("1", "t", 5)).result, int | None)
    assert_type(batch(charges.look("1"), charges.forget("1")), Plan[tuple[Claim[int], bool]])
    charges.run("1", charge, "x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    charges.run("1", charge, "x", "y")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    charges.run("1", plain)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    charges.run("1", str, 5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    charges.complete("1", "t", "x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    async def main() -> None:
        assert_type(await later.run(charges.run("1", charge_later, "x")), int)

    del main


async def load_later() -> str:
    return "x"


def caching(redis: redis_patterns.sync.Driver, later: redis_patterns.asyncio.Driver) -> None:
    assert_type(redis.run(users.get("1")), str | Miss)
    assert_type(redis.run(users.get_many(["1"])), dict[str, str])
    assert_type(redis.run(users.load("1", lambda: "x")), str)
    assert_type(users.load("1", load_later), Flow[str])

    @redis.cached(users, "user:{id}:{how}")
    def name(id: int, how: str = "") -> str:
        return f"{id} {how}"

    assert_type(name(1, how="x"), str)
    assert_type(name.refresh(1), str)
    assert_type(name.invalidate(1), bool)
    name("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    name.key(1, 2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    @later.cached(users, "user:{id}")
    async def name_later(id: int) -> str:
        return str(id)

    async def main() -> None:
        assert_type(await name_later(1), str)
        assert_type(await name_later.refresh(id=1), str)

    del main


def wrong(redis: redis_patterns.sync.Driver) -> None:
    """Each line is an error, and the comment is checked to be needed."""
    redis.run("GET x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    redis.run(limiter.hit)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    limiter.hit(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    TokenBucket("api", 10, 1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    limiter.capacity = 5  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    batch(limiter.hit("a"), double(1))  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    Call(plain, 7, times=2)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    limiter.hit("a").name = "other"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    users.load("1", lambda: 7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    users.set("1", 7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


flags = Flags("shop")


def flagging(redis: redis_patterns.sync.Driver, snapshot: FlagSnapshot) -> None:
    assert_type(redis.run(flags.put(Flag("x"), expected_version=3)), int)
    assert_type(redis.run(flags.get("x")), Flag | None)
    assert_type(redis.run(flags.delete("x")), bool)
    assert_type(redis.run(flags.update("x", lambda flag: flag)), Flag)
    assert_type(redis.run(flags.snapshot()), FlagSnapshot)
    assert_type(redis.run(flags.history()), list[FlagChange])
    assert_type(redis.run(flags.export_json()), str)
    assert_type(redis.run(flags.import_json("{}")), dict[str, int])
    assert_type(redis.run(batch(flags.is_enabled("x", "ann"), limiter.hit("ann"))), tuple[bool, Decision])
    assert_type(flags.evaluate("x", "ann", 7), Plan[Evaluation[int]])
    assert_type(snapshot.evaluate("x", FlagContext("ann", {"age": 7}), "red").value, str)
    assert_type(snapshot.evaluate("x").value, Any)
    assert_type(snapshot.is_enabled("x", 7), bool)
    with redis.follow(flags) as client:
        assert_type(client, FlagClient)
        assert_type(client.evaluate("x", None, 0.5), Evaluation[float])


async def following(redis: redis_patterns.asyncio.Driver, other: redis_patterns.trio.Driver) -> None:
    async with redis.follow(FlagClient(flags, poll=5)) as client, other.follow(flags) as second:
        assert_type(client, FlagClient)
        assert_type(second.is_enabled("x", "ann"), bool)
