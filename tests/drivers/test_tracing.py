"""What instruments are told, by every driver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from redis_patterns import Call, CommandFailed, Leaderboard, Outcome, Steps, Subject, Unreachable, batch, flow
from redis_patterns.opentelemetry import Tracing
from tests.drivers.conftest import Connect
from tests.drivers.faces import Kind
from tests.drivers.plans import blocks, counts, once, reads, sets

pytestmark = pytest.mark.anyio


class Notebook:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.began: list[Subject] = []
        self.ended: list[tuple[str, Outcome]] = []

    def begin(self, subject: Subject) -> Callable[[Outcome], None]:
        self.began.append(subject)
        return lambda outcome: self.ended.append((subject.name, outcome))

    @property
    def told(self) -> list[tuple[str, int, str]]:
        return [(name, outcome.round_trips, outcome.status) for name, outcome in self.ended]


@flow
def reads_twice(key: str) -> Steps[str]:
    yield from reads("GET", key)
    yield from Call(str, key)
    yield from reads("EXISTS", key)
    return "done"


async def test_each_run_is_told(connect: Connect, kind: Kind, namespace: str) -> None:
    """Plans with their round trips, flows around their plans, errors by their code."""
    notebook = Notebook()
    key = f"{namespace}:{{a}}"
    async with connect(instrument=notebook) as redis:
        await redis.run(batch(reads("GET", key), reads("EXISTS", key)))
        assert await redis.run(reads_twice(key)) == "done"
        await redis.run(sets("SET", key, "text", "EX", 60), timeout=5)
        with pytest.raises(CommandFailed):
            await redis.run(once("RPUSH", key, "x"))
    assert notebook.told == [
        ("batch(get, exists)", 1, "ok"),
        ("get", 1, "ok"),
        ("exists", 1, "ok"),
        ("reads_twice", 0, "ok"),
        ("set", 1, "ok"),
        ("rpush", 1, "WRONGTYPE"),
    ]
    assert [subject.name for subject in notebook.began][1:4] == ["reads_twice", "get", "exists"]
    assert notebook.began[0] == Subject("batch(get, exists)", ("GET", "EXISTS"), f"{namespace}:{{*}}", "READS")
    assert all(0 <= outcome.seconds < 5 for _, outcome in notebook.ended)


async def test_a_second_round_trip_is_counted(
    connect: Connect, namespace: str, flush_scripts: Callable[[Any], Any]
) -> None:
    """A script that had to be sent again cost two."""
    notebook = Notebook()
    key = f"{namespace}:{{a}}"
    async with connect(instrument=notebook) as redis:
        await redis.run(counts(key))
        await flush_scripts(redis)
        await redis.run(counts(key))
        await redis.run(sets("DEL", key))
    assert [trips for name, trips, _ in notebook.told if name == "count"] == [1, 2]


@pytest.mark.standalone
async def test_what_was_never_sent_cost_no_round_trip(kind: Kind) -> None:
    """No connection, no round trip."""
    notebook = Notebook()
    async with kind.make("redis://127.0.0.1:1", {"retry_for": 0, "instrument": notebook}) as redis:
        with pytest.raises(Unreachable):
            await redis.run(once("PING"))
    assert notebook.told == [("ping", 0, "Unreachable")]


@pytest.mark.served
async def test_a_cancelled_run_is_told(connect: Connect, kind: Kind, namespace: str) -> None:
    """A caller that leaves ends its run, for the async drivers as a cancellation, by its timeout as unknown."""
    notebook = Notebook()
    async with connect(instrument=notebook) as redis:
        await redis.run(reads("PING"))
        if not kind.name.startswith("sync"):
            with anyio.move_on_after(0.02):
                await redis.run(blocks(5, "BLPOP", namespace))
            assert notebook.told[-1][2] in {"CancelledError", "Cancelled"}
        with pytest.raises(ConnectionError):
            await redis.run(blocks(5, "BLPOP", namespace), timeout=0.02)
        assert notebook.told[-1][2] == "OutcomeUnknown"


async def test_an_instrument_that_fails_disturbs_nobody(connect: Connect, namespace: str) -> None:
    """Its errors go to the handler of background errors; results are what they are."""

    class Broken:
        def __init__(self, at_once: bool) -> None:
            self.at_once = at_once

        def begin(self, _: Subject) -> Callable[[Outcome], None]:
            if self.at_once:
                raise LookupError("at the beginning")

            def ended(outcome: Outcome) -> None:
                raise LookupError("at the end")

            return ended

    for at_once, text in ((True, "at the beginning"), (False, "at the end")):
        told: list[BaseException] = []
        async with connect(
            instrument=Broken(at_once), on_background_error=lambda _, error, told=told: told.append(error)
        ) as redis:
            assert await redis.run(reads("GET", namespace)) is None
        assert [str(error) for error in told] == [text]


async def test_opentelemetry(connect: Connect, namespace: str) -> None:
    """Spans have the conventions' names and attributes, plans are children of their flow, and no value is in them."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    board = Leaderboard("secret-board", namespace=namespace)
    tracing = Tracing(provider, {"server.address": "here"})
    async with connect(instrument=tracing) as redis:
        await redis.run(board.add("secret-member", 1))
        await redis.run(reads_twice(f"{namespace}:secret"))
        await redis.run(batch(board.around("secret-member"), board.around("other")))
        with pytest.raises(CommandFailed):
            await redis.run(once("RPUSH", board.key, "secret-value"))
        await redis.run(sets("DEL", board.key))
    spans = exporter.get_finished_spans()
    by_name = {span.name: span for span in spans}
    added = by_name[f"leaderboard.add {namespace}:leaderboard:{{*}}"]
    assert added.kind is SpanKind.CLIENT
    assert dict(added.attributes or {}) == {
        "db.system.name": "redis",
        "server.address": "here",
        "redis_patterns.name": "leaderboard.add",
        "redis_patterns.effect": "IDEMPOTENT",
        "redis_patterns.round_trips": 1,
        "db.query.summary": f"leaderboard.add {namespace}:leaderboard:{{*}}",
        "db.operation.name": "ZADD",
    }
    outer = by_name["reads_twice"]
    assert outer.kind is SpanKind.INTERNAL
    assert outer.context is not None
    children = [span for span in spans if span.parent is not None]
    assert {span.parent.span_id for span in children if span.parent} == {outer.context.span_id}
    assert [(span.attributes or {})["db.operation.name"] for span in children] == ["GET", "EXISTS"]
    joined = next(span.attributes or {} for span in spans if span.name.startswith("batch"))
    assert (joined["db.operation.name"], joined["db.operation.batch.size"]) == ("PIPELINE EVALSHA", 2)
    failed = next(span for span in spans if span.name.startswith("rpush"))
    assert failed.status.status_code is StatusCode.ERROR
    assert (failed.attributes or {})["db.response.status_code"] == "WRONGTYPE"
    assert "secret" not in "".join(span.to_json() for span in spans)
