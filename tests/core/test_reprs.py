"""What ends up in logs: no repr shows a stored value, a token or the id of a session, of whatever the core has."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest

import redis_patterns_core
from redis_patterns import Call, Device, Job, Lease, Session, Write
from redis_patterns_core.cache_entries import Acquired, Seen
from redis_patterns_core.cache_loads import Fetched
from redis_patterns_core.entries import Stored
from redis_patterns_core.http import Request
from redis_patterns_core.job_records import KnownJob, Settlement, TakenJobs
from redis_patterns_core.once import Claim
from redis_patterns_core.queues import FailedItem
from redis_patterns_core.standings import Entry, Page, Window
from redis_patterns_core.write_behind import DeadWrite

HIDDEN = "s3cret"
BYTES = HIDDEN.encode()
JOB = Job("a", {"to": HIDDEN}, HIDDEN, 1, 0, 0, 0.0, 0)

HOLDS_A_VALUE = re.compile(r"\b(T|T_co|R|Any|bytes|object|Reply|Argument)\b")
"""What the type of a field has that can hold a value: a type variable, or whatever was stored or is sent."""
HOLDS_NONE = re.compile(r"\b(Codec|Callable|Loader|Plan|Flow|Call|Work|Jobs|Job|Write)\[.*\]")
"""What is made of values, and shows none: functions, and what this test looks at by itself."""
SECRETS = {"token", "secret", "payload", "headers", "owner", "text", "about"}
SHOWN = {
    "Condition.value": "a part of a flag, which is configuration",
    "FlagContext.attributes": "what the caller has given, of which nothing is stored",
    "Evaluation.value": "a flag's",
    "KnownKey.key": "a name",
    "Offence.key": "a name",
    "_Measured.name": "a name",
    "WorkerInfo.about": "what a worker says of itself, to be shown",
    "Refusal.headers": "the limit's, of a response",
    "Refusal.body": "the limit's, of a response",
}


def dataclasses_of_the_core() -> dict[str, type[Any]]:
    found: dict[str, type[Any]] = {}
    for info in pkgutil.iter_modules([str(Path(redis_patterns_core.__file__).parent)]):
        module = importlib.import_module(f"redis_patterns_core.{info.name}")
        found |= {
            name: kind
            for name, kind in vars(module).items()
            # One with a repr of its own has a test of its own.
            if dataclasses.is_dataclass(kind) and isinstance(kind, type) and hasattr(kind.__repr__, "__wrapped__")
        }
    return found


FOUND = dataclasses_of_the_core()


@pytest.mark.parametrize("name", FOUND)
def test_no_field_shows_what_may_be_a_secret(name: str) -> None:
    """Whatever is added: a field that can hold a value, or is called as secrets are, is not shown, or has a reason."""
    shown = {
        f"{name}.{field.name}"
        for field in dataclasses.fields(FOUND[name])
        if field.repr and (field.name in SECRETS or HOLDS_A_VALUE.search(HOLDS_NONE.sub("", str(field.type))))
    }
    assert shown <= set(SHOWN)


def test_each_exception_is_one() -> None:
    """None is left of a field that there is no more."""
    fields = {f"{name}.{field.name}" for name, kind in FOUND.items() for field in dataclasses.fields(kind)}
    assert set(SHOWN) <= fields


@pytest.mark.parametrize(
    "made",
    [
        JOB,
        TakenJobs((JOB,), (Job("a", BYTES, HIDDEN, 1, 0, 0, 0.0, 0),), None, closed=False),
        KnownJob("a", "ready", 0.0, HIDDEN, "", 0, 0, 0, 0.0, 0, ""),
        Settlement("ack", "a", HIDDEN, 0, HIDDEN),
        Write("a", HIDDEN, 1),
        DeadWrite("a", Write("a", HIDDEN, 1), "", 0.0, BYTES),
        FailedItem(HIDDEN, "", 0.0, BYTES),
        Claim("done", HIDDEN, HIDDEN),
        Lease("a", HIDDEN),
        Session(HIDDEN, "ann", {"a": HIDDEN}, 0, 0, 0, 1, {"browser": HIDDEN}),
        Device("a", 0, 0, 0, {"browser": HIDDEN}),
        Page([(Entry("ann", 1.0, 1), HIDDEN)], 1, 10, 1),
        Window(1, [Entry("ann", 1.0, 1)], [BYTES]),
        Seen(HIDDEN),
        Acquired("hit", "", 1.0, BYTES, {}),
        Fetched(HIDDEN, settled=True, began_at=0.0),
        Stored("", 0.0, "json", {}, BYTES),
        Call(str, BYTES, encoding=HIDDEN),
        Request("GET", "/", [("cookie", HIDDEN)], None, {"cookie": HIDDEN}),
    ],
    ids=lambda made: type(made).__name__,
)
def test_a_repr_shows_no_value(made: Any) -> None:
    """Not of what was stored, nor a token, nor a session's id; alone and in a list."""
    assert HIDDEN not in repr(made) + str([made])
