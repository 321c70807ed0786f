"""Spans of OpenTelemetry for what a driver runs (extra ``opentelemetry``).

    from redis_patterns.opentelemetry import Tracing

    Driver.connect("redis://localhost", instrument=Tracing())

Names and attributes follow the semantic conventions for database client spans:
https://opentelemetry.io/docs/specs/semconv/database/redis/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from opentelemetry import context, trace
from opentelemetry.trace import Span, SpanKind, StatusCode, TracerProvider

from redis_patterns_core.errors import CommandFailed
from redis_patterns_core.tracing import Outcome, Subject

__all__ = ["Tracing"]


class Tracing:
    """Makes a span for each plan and each flow; the plans of a flow are children of its span.

    Parameters:
        provider: where spans go; the global one where none is given.
        attributes: for every span, such as ``{"server.address": "redis.internal", "db.namespace": "0"}``.
    """

    def __init__(
        self, provider: TracerProvider | None = None, attributes: Mapping[str, str | int] | None = None
    ) -> None:
        self._tracer = trace.get_tracer("redis_patterns", tracer_provider=provider)
        self._attributes = {"db.system.name": "redis", **(attributes or {})}

    def begin(self, subject: Subject) -> Callable[[Outcome], None]:
        """Start a span; see `Instrument`."""
        attributes: dict[str, str | int] = dict(self._attributes)
        attributes["redis_patterns.name"] = subject.name
        if subject.commands:
            attributes |= _operation(subject)
        span = self._tracer.start_span(
            f"{subject.name} {subject.keys}".rstrip(),
            kind=SpanKind.CLIENT if subject.commands else SpanKind.INTERNAL,
            attributes=attributes,
        )
        token = context.attach(trace.set_span_in_context(span))

        def ended(outcome: Outcome) -> None:
            context.detach(token)
            _end(span, subject, outcome)

        return ended


def _operation(subject: Subject) -> dict[str, str | int]:
    """Give the attributes that tell what is sent: one command's name, or that of a pipeline and its size."""
    attributes: dict[str, str | int] = {
        "db.query.summary": f"{subject.name} {subject.keys}".rstrip(),
        "redis_patterns.effect": subject.effect,
    }
    if len(subject.commands) == 1:
        name, _, script = subject.commands[0].partition(" ")
        attributes["db.operation.name"] = name
        if script:
            attributes["db.stored_procedure.name"] = script
    else:
        names = {command.partition(" ")[0] for command in subject.commands}
        attributes["db.operation.name"] = f"PIPELINE {names.pop()}" if len(names) == 1 else "PIPELINE"
        attributes["db.operation.batch.size"] = len(subject.commands)
    return attributes


def _end(span: Span, subject: Subject, outcome: Outcome) -> None:
    if subject.commands:
        span.set_attribute("redis_patterns.round_trips", outcome.round_trips)
    if outcome.error is not None:
        span.set_attribute("error.type", outcome.status)
        if isinstance(outcome.error, CommandFailed):
            span.set_attribute("db.response.status_code", outcome.error.code)
        # The type and not the text, which may be a caller's own function's and hold anything.
        span.set_status(StatusCode.ERROR, outcome.status)
    span.end()
