from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from redis_patterns import AllOf, BatchWork, ConfigurationError, FixedWindow, Jobs, LeakyBucket, TokenBucket, Work
from redis_patterns_core.work import works

JOBS: Jobs[int] = Jobs("x")


def test_the_handler_with_its_middleware() -> None:
    """The first is outermost, and each may change what goes in and what comes out."""
    said: list[str] = []

    def around(name: str) -> Callable[[Callable[[Any], Any], Any], Any]:
        def middleware(call: Callable[[Any], Any], given: Any) -> Any:
            said.append(f"{name} begins")
            result = call(given + 1)
            said.append(f"{name} ends")
            return result * 10

        return middleware

    work: Work[int] = Work(JOBS, lambda given: [given], middleware=[around("a"), around("b")])
    assert work.call(awaited=False)(0) == [2] * 100
    assert said == ["a begins", "b begins", "b ends", "a ends"]


def test_functions_of_one_kind() -> None:
    """A driver that awaits takes coroutine functions alone, and the other none."""

    async def later(*_: Any) -> None:
        """Do nothing."""

    def now(*_: Any) -> None:
        """Do nothing."""

    cases = [
        (Work(JOBS, later), False, "handler must not be a coroutine function"),
        (Work(JOBS, now), True, "handler must be a coroutine function"),
        (Work(JOBS, now, middleware=[later]), False, "middleware must not be a coroutine function"),
        (Work(JOBS, later, middleware=[now]), True, "middleware must be a coroutine function"),
    ]
    for work, awaited, said in cases:
        with pytest.raises(ConfigurationError, match=said):
            work.call(awaited=awaited)


def test_what_a_driver_is_given() -> None:
    """Works, or a queue and its handler."""
    mails, rows = Work(JOBS, id), BatchWork(Jobs[int]("rows"), id)
    assert works([mails, rows]) == (mails, rows)
    (made,) = works([JOBS, id])
    assert isinstance(made, Work)
    assert (made.jobs, made.handler, made.batch_size, rows.batch_size) == (JOBS, id, 1, 100)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ([], "at least one"),
        ([JOBS], "must be a Work or a BatchWork"),
        ([id, JOBS], "must be a Work or a BatchWork"),
        ([Work(JOBS, id), BatchWork(Jobs[int]("x"), id)], "each of a queue of its own"),
    ],
)
def test_what_a_driver_is_not_given(what: list[Any], said: str) -> None:
    """It says what it takes."""
    with pytest.raises(ConfigurationError, match=said):
        works(what)


def test_queues_of_other_namespaces_are_others() -> None:
    """One name in two namespaces is two queues."""
    assert len(works([Work(JOBS, id), Work(Jobs[int]("x", namespace="n"), id)])) == 2


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Work("x", id), "jobs must be a Jobs, not str"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (lambda: Work(JOBS, "x"), "handler must be a function, not str"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (lambda: Work(JOBS, id, timeout=0), "timeout must be"),
        (lambda: Work(JOBS, id, middleware=["x"]), "middleware must be functions"),  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
        (lambda: Work(JOBS, id, limit=7), "limit must be a rate limit, not int"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (lambda: Work(JOBS, id, limit=LeakyBucket("x", capacity=1, leak_rate=1)), "a LeakyBucket delays it"),
        (lambda: BatchWork(JOBS, id, size=0), "size must be"),
        (lambda: BatchWork(JOBS, id, size=1001), "size must be"),
    ],
)
def test_work_refuses_nonsense(make: Callable[[], object], said: str) -> None:
    """When it is built, and says which argument it is."""
    with pytest.raises(ConfigurationError, match=said):
        make()


def test_limits_that_fit() -> None:
    """Any that refuses, and several of them."""
    bucket, window = TokenBucket("x", capacity=1, refill_rate=1), FixedWindow("x", limit=1, per=1)
    assert Work(JOBS, id, limit=AllOf(bucket, window)).limit is not None
    with pytest.raises(ConfigurationError, match="LeakyBucket"):
        Work(JOBS, id, limit=AllOf(bucket, LeakyBucket("y", capacity=1, leak_rate=1)))
