"""What every driver does with plans and flows, on every server."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

import anyio
import pytest

from redis_patterns import (
    Argument,
    Call,
    CommandFailed,
    ConfigurationError,
    DeadlineExceeded,
    Defer,
    DriverClosed,
    Effect,
    Flow,
    Now,
    OutcomeUnknown,
    Plan,
    Reply,
    Sleep,
    Spawn,
    Steps,
    Unreachable,
    batch,
    flow,
)
from redis_patterns_core.replies import integer
from tests.drivers.conftest import Connect
from tests.drivers.faces import Face, Kind
from tests.drivers.plans import blocks, counts, echoes, once, reads, sets

pytestmark = pytest.mark.anyio


# Plans


async def test_replies_are_raw_bytes(connect: Connect, namespace: str) -> None:
    """A value comes back as the bytes that were stored, whatever the client decodes: no text, no guess."""
    value = bytes(range(256))
    async with connect() as redis:
        await redis.run(sets("SET", f"{namespace}:a", value, "EX", 60))
        assert await redis.run(reads("GET", f"{namespace}:a")) == value
        assert await redis.run(reads("GET", f"{namespace}:missing")) is None


async def test_arguments_go_out_as_they_are(connect: Connect, namespace: str) -> None:
    """Text goes out as UTF-8, and numbers as their shortest decimals."""
    async with connect() as redis:
        cases: list[tuple[Argument, bytes]] = [("grün\r\n", "grün\r\n".encode()), (7, b"7"), (2.5, b"2.5"), (b"", b"")]
        for value, stored in cases:
            await redis.run(sets("SET", f"{namespace}:a", value, "EX", 60))
            assert await redis.run(reads("GET", f"{namespace}:a")) == stored


async def test_a_batch_gives_each_result_in_its_place(connect: Connect, namespace: str) -> None:
    """Results stand in the order of the plans, scripts and plain commands mixed."""
    key = f"{namespace}:{{a}}"
    async with connect() as redis:
        for _ in range(2):  # the scripts go out as EVAL first, as EVALSHA then
            results = await redis.run(batch(sets("SET", key, 5, "EX", 60), counts(key), reads("GET", key)))
            assert results[1:] == (6, b"6")
            assert await redis.run(batch(echoes(key, "x"), reads("GET", key), echoes(key, "y"))) == (
                [key.encode(), b"x"],
                b"6",
                [key.encode(), b"y"],
            )


async def test_a_long_batch(connect: Connect, namespace: str) -> None:
    """A thousand commands of one write come back in order."""
    async with connect() as redis:
        values = await redis.run(batch(*(echoes(f"{namespace}:{{a}}", str(i)) for i in range(1000))))
    assert [value[1] for value in values if isinstance(value, list)] == [str(i).encode() for i in range(1000)]


async def test_an_empty_batch_is_over_at_once(connect: Connect) -> None:
    """A batch of nothing gives nothing."""
    async with connect() as redis:
        assert await redis.run(batch()) == ()


async def test_a_big_value(connect: Connect, namespace: str) -> None:
    """A value of many socket buffers goes out and comes back whole."""
    value = bytes(range(256)) * 32_768
    async with connect() as redis:
        await redis.run(sets("SET", f"{namespace}:big", value, "EX", 60))
        assert await redis.run(reads("GET", f"{namespace}:big")) == value


async def test_an_error_of_redis(connect: Connect, namespace: str) -> None:
    """A command that Redis refuses raises `CommandFailed` with its code, and the next plan is answered right."""
    async with connect() as redis:
        await redis.run(sets("SET", f"{namespace}:a", "text", "EX", 60))
        with pytest.raises(CommandFailed, match="WRONGTYPE") as caught:
            await redis.run(once("RPUSH", f"{namespace}:a", "x"))
        assert (caught.value.plan, caught.value.code) == ("rpush", "WRONGTYPE")
        assert await redis.run(reads("GET", f"{namespace}:a")) == b"text"


async def test_an_error_inside_a_batch_hides_no_neighbour(connect: Connect, namespace: str) -> None:
    """The batch fails, its other parts have run, each of them once, and the connection stays in step."""
    a, b = f"{namespace}:{{x}}a", f"{namespace}:{{x}}b"
    async with connect() as redis:
        await redis.run(sets("SET", a, "text", "EX", 60))
        with pytest.raises(CommandFailed, match="WRONGTYPE"):
            await redis.run(batch(once("INCR", b), once("RPUSH", a, "x"), counts(b)))
        assert await redis.run(reads("GET", b)) == b"2"
        await redis.run(sets("EXPIRE", b, 60))


async def test_a_parser_that_raises_leaves_the_connection_in_step(connect: Connect, namespace: str) -> None:
    """What a plan's parser raises reaches the caller as it is, and the next plan gets its own reply."""
    async with connect() as redis:
        with pytest.raises(ValueError, match="integer"):
            await redis.run(reads("GET", f"{namespace}:a").map(integer))
        assert await redis.run(reads("ECHO", "still here")) == b"still here"


async def test_an_argument_that_cannot_be_sent(connect: Connect) -> None:
    """An argument that UTF-8 cannot write raises before anything is sent."""
    async with connect() as redis:
        with pytest.raises(UnicodeEncodeError):
            await redis.run(batch(reads("ECHO", "fine"), reads("ECHO", "\ud800")))
        assert await redis.run(reads("ECHO", "still here")) == b"still here"


async def test_only_plans_and_flows_run(connect: Connect) -> None:
    """Anything else is refused by its type's name."""
    async with connect() as redis:
        with pytest.raises(TypeError, match="run takes a plan or a flow, not str"):
            await redis.run("GET x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# Scripts


async def test_a_script_that_the_server_forgot(
    connect: Connect, namespace: str, flush_scripts: Callable[[Face], Awaitable[None]]
) -> None:
    """After SCRIPT FLUSH a script runs all the same, and the batch's other parts do not run twice."""
    key, other = f"{namespace}:{{a}}", f"{namespace}:{{a}}other"
    async with connect() as redis:
        assert await redis.run(counts(key)) == 1
        await flush_scripts(redis)
        assert await redis.run(counts(key)) == 2
        await flush_scripts(redis)
        assert await redis.run(batch(once("INCR", other), counts(key), echoes(key, "x"), once("INCR", other))) == (
            1,
            3,
            [key.encode(), b"x"],
            2,
        )
        await redis.run(sets("DEL", key, other))


# Deadlines and blocking


@pytest.mark.renews
async def test_a_blocking_plan_waits_for_its_answer(connect: Connect, namespace: str) -> None:
    """It gets what is pushed, or ``None`` when its time is over, and others are served meanwhile."""
    key = f"{namespace}:list"
    got: list[Reply] = []
    async with connect() as redis, anyio.create_task_group() as tasks:

        async def pop() -> None:
            got.append(await redis.run(blocks(5, "BLPOP", key)))

        tasks.start_soon(pop)
        while not got:
            await redis.run(once("RPUSH", key, "x"))
            await anyio.sleep(0.005)
        assert got == [[key.encode(), b"x"]]
        await redis.run(sets("DEL", key))
        assert await redis.run(blocks(0.05, "BLPOP", key)) is None


@pytest.mark.served
async def test_a_timeout_says_what_became_of_the_plan(connect: Connect, namespace: str) -> None:
    """A plan that was sent and not answered in time raises `OutcomeUnknown`; the next one gets its own reply."""
    async with connect() as redis:
        await redis.run(reads("PING"))
        with pytest.raises(OutcomeUnknown, match="blpop"):
            await redis.run(blocks(2, "BLPOP", f"{namespace}:list"), timeout=0.05)
        assert await redis.run(reads("ECHO", "next"), timeout=5) == b"next"


async def test_a_flow_that_is_out_of_time(connect: Connect, namespace: str) -> None:
    """It ends with `DeadlineExceeded`, cannot swallow that, and its clean-up runs."""
    key = f"{namespace}:a"

    @flow
    def endless() -> Steps[None]:
        yield from Defer(sets("SET", key, "cleaned", "EX", 60))
        while True:
            with contextlib.suppress(Exception):
                yield from Sleep(10)

    async with connect() as redis:
        with pytest.raises(DeadlineExceeded, match="endless"):
            await redis.run(endless(), timeout=0.05)
        assert await redis.run(reads("GET", key)) == b"cleaned"


# Flows


async def test_a_flow_goes_through_its_steps(connect: Connect, namespace: str) -> None:
    """Plans, the clock, calls, sleeps and inner flows each give their result to the flow."""

    @flow
    def inner(value: int) -> Steps[int]:
        stored = yield from reads("ECHO", value)
        assert isinstance(stored, bytes)
        return int(stored) + 1

    @flow
    def outer() -> Steps[tuple[int, int, bool]]:
        before = yield from Now()
        called = yield from Call(divmod, 7, 2)
        nested = yield from inner(called[0])
        yield from Sleep(0.002)
        after = yield from Now()
        return nested, called[1], after - before >= 0.002

    async with connect() as redis:
        value = outer()
        assert await redis.run(value) == (4, 1, True)
        assert await redis.run(value) == (4, 1, True)  # the same value again


async def test_a_flow_may_catch_what_its_step_raises(connect: Connect, namespace: str) -> None:
    """Errors of plans and of called functions are thrown into the flow at the step."""

    def fails() -> None:
        raise KeyError("its own")

    @flow
    def careful() -> Steps[list[str]]:
        seen: list[str] = []
        try:
            yield from once("RPUSH")
        except CommandFailed as error:
            seen.append(error.code)
        try:
            yield from Call(fails)
        except KeyError as error:
            seen.append(error.args[0])
        return seen

    async with connect() as redis:
        assert await redis.run(careful()) == ["ERR", "its own"]


async def test_clean_up_runs_last_in_first_out_whatever_ends_the_flow(connect: Connect, namespace: str) -> None:
    """Deferred plans run in reverse after a return and after an error; an inner flow's before the outer one goes on."""
    log = f"{namespace}:log"

    @flow
    def inner() -> Steps[None]:
        yield from Defer(once("RPUSH", log, "inner"))
        yield from once("RPUSH", log, "in")

    @flow
    def outer(fails: bool) -> Steps[str]:
        yield from Defer(once("RPUSH", log, "first"))
        yield from Defer(once("RPUSH", log, "on error"), on_error_only=True)
        yield from inner()
        yield from once("RPUSH", log, "out")
        if fails:
            raise LookupError("the flow's own")
        return "done"

    async with connect() as redis:
        assert await redis.run(outer(False)) == "done"
        assert await redis.run(reads("LRANGE", log, 0, -1)) == [b"in", b"inner", b"out", b"first"]
        await redis.run(sets("DEL", log))
        with pytest.raises(LookupError, match="the flow's own"):
            await redis.run(outer(True))
        assert await redis.run(reads("LRANGE", log, 0, -1)) == [b"in", b"inner", b"out", b"on error", b"first"]
        await redis.run(sets("DEL", log))


async def test_a_clean_up_that_fails_is_reported(connect: Connect, namespace: str) -> None:
    """The flow's own result stands, and the handler is told which plan failed and how."""
    told: list[tuple[Flow[object] | Plan[object], BaseException]] = []

    @flow
    def untidy() -> Steps[int]:
        yield from Defer(once("RPUSH"))
        return 7

    async with connect(on_background_error=lambda what, error: told.append((what, error))) as redis:
        assert await redis.run(untidy()) == 7
    assert [(what.name, type(error)) for what, error in told] == [("rpush", CommandFailed)]


async def test_what_is_spawned_ends_before_the_driver_closes(connect: Connect, namespace: str) -> None:
    """A spawned flow runs in the background, and close waits for it; a failure there reaches the handler."""
    told: list[str] = []
    done: list[int] = []

    @flow
    def background(value: int) -> Steps[None]:
        yield from Sleep(0.02)
        yield from reads("PING")
        yield from Call(done.append, value)
        if value == 2:
            raise LookupError("nobody waits for it")

    @flow
    def starts() -> Steps[str]:
        for value in (1, 2):
            yield from Spawn(background(value))
        return "at once"

    async with connect(on_background_error=lambda what, error: told.append(f"{what.name} {error!r}")) as redis:
        assert await redis.run(starts()) == "at once"
        assert done == []
        await redis.close(5)
    assert sorted(done) == [1, 2]
    assert told == ["background LookupError('nobody waits for it')"]


async def test_a_flow_that_yields_something_else(connect: Connect) -> None:
    """It fails with the name of what it yielded, at the place where it did."""

    def steps() -> Steps[None]:
        yield "GET x"  # type: ignore[misc]  # pyright: ignore[reportReturnType]

    async with connect() as redis:
        with pytest.raises(TypeError, match="a flow yields steps, not str"):
            await redis.run(Flow("wrong", steps))


# Closing and refusing


async def test_a_closed_driver(connect: Connect) -> None:
    """Closing twice is harmless, and what is run afterwards raises `DriverClosed`."""
    async with connect() as redis:
        assert await redis.run(reads("PING")) == b"PONG"
        await redis.close()
        await redis.close()
        with pytest.raises(DriverClosed):
            await redis.run(reads("PING"))
        with pytest.raises(DriverClosed):
            await redis.run(blocks(1, "BLPOP", "x"))
        assert "closed" in repr(redis) or not hasattr(redis, "_closed")


@pytest.mark.standalone
async def test_a_server_that_is_not_there(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing was sent: `Unreachable`, for every effect, naming where it looked."""
    path = tmp_path_factory.mktemp("none") / "redis.sock"
    async with kind.make(f"unix://{path}", {"retry_for": 0.05}) as redis:
        for plan in (reads("PING"), once("INCR", "x"), blocks(1, "BLPOP", "x")):
            with pytest.raises(Unreachable, match=r"redis\.sock") as caught:
                await redis.run(plan)
            assert caught.value.plan == plan.name
            assert isinstance(caught.value, ConnectionError)


@pytest.mark.standalone
async def test_a_wrong_password_is_no_secret_told(kind: Kind) -> None:
    """The refusal is the caller's at once, by its code, and neither it nor what it comes from shows the password."""
    from redis_patterns.testing import server

    with server(config={"requirepass": "right-one"}) as guarded:
        async with kind.make(guarded.url, {"password": "hunter2"}) as redis:
            with pytest.raises(CommandFailed, match="WRONGPASS") as caught:
                await redis.run(reads("PING"))
            told = ""
            error: BaseException | None = caught.value
            while error is not None:
                told += repr(error) + str(error)
                error = error.__cause__ or error.__context__
            assert "hunter2" not in told + repr(redis)
        async with kind.make(guarded.url, {"password": "right-one"}) as redis:
            assert await redis.run(reads("PING")) == b"PONG"


@pytest.mark.parametrize("retry_for", [-1, float("nan"), "3"])
async def test_a_driver_refuses_nonsense(connect: Connect, retry_for: object) -> None:
    """A duration that is none is refused when the driver is made, by the argument's name."""
    with pytest.raises(ConfigurationError, match="retry_for"):
        async with connect(retry_for=retry_for):
            raise AssertionError("it was taken")


def test_what_a_plan_is_called_is_what_errors_say() -> None:
    """The plans of this suite have the effects that its tests rely on."""
    assert [plan.effect for plan in (reads("GET"), sets("SET"), once("INCR"))] == list(Effect)
