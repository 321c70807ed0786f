from __future__ import annotations

from typing import Any

import pytest

from redis_patterns import (
    Command,
    ConfigurationError,
    FairLock,
    Lease,
    Lock,
    MultiLock,
    OutcomeUnknown,
    Plan,
    Semaphore,
)
from redis_patterns.testing import Dry

A, B = Lock("a", ttl=9), Lock("b", ttl=6)
BOTH = MultiLock(B, A)
FREE: Any = [1, 9000, 11]
TAKEN: Any = [0, 60_000, 0]


def dry(wait: float | None = None) -> Dry[Lease | None]:
    return Dry(BOTH.wait_for(wait, token="t", chance=lambda: 1.0), now=100.0)


def test_one_after_the_other_in_one_order() -> None:
    """However they are named; then all leases begin anew together, and the whole runs as long as the shortest."""
    assert [lock.name for lock in BOTH.locks] == ["a", "b"]
    assert BOTH.ttl_seconds == 6
    run = dry(5)
    run.expect("lock.acquire").answer(FREE)
    run.advance(1).expect("lock.acquire").answer([1, 6000, 12]).advance(1)
    run.expect("locks.extend").answer(1, 1)
    lease = run.result
    assert lease is not None
    assert lease.ends_at == 107.0
    assert [(part.name, part.fence) for part in lease.parts] == [("a", 11), ("b", 12)]
    assert lease.fence == 0


def test_what_is_held_is_kept_while_the_next_is_waited_for() -> None:
    """At a third of the shortest TTL of those."""
    run = dry()
    run.expect("lock.acquire").answer(FREE).expect("lock.acquire").answer(TAKEN)
    waits = Plan("lock.wait", (Command(("BLPOP", "lock:{b}:wake", 3.0)),), lambda _: None, blocks_for=3.0)
    run.expect(waits).advance(3).answer(None).expect("lock.acquire").answer(TAKEN)
    run.expect("locks.extend").answer(1).expect("lock.acquire").answer(FREE).expect("locks.extend").answer(1, 1)
    assert run.result is not None


def test_it_begins_again_when_one_was_lost() -> None:
    """While the next was waited for, and at the last step."""
    run = dry()
    run.expect("lock.acquire").answer(FREE).expect("lock.acquire").answer(TAKEN)
    run.expect("lock.wait").advance(3).answer(None).expect("lock.acquire").answer(TAKEN)
    run.expect("locks.extend").answer(0).expect("locks.release").answer(0, 0)
    run.expect("lock.acquire").answer(FREE).expect("lock.acquire").answer(FREE)
    run.expect("locks.extend").answer(0, 1).expect("locks.release").answer(0, 1)
    run.expect("lock.acquire").answer(FREE).expect("lock.acquire").answer(FREE)
    run.expect("locks.extend").answer(1, 1)
    assert run.result is not None


def test_all_or_none() -> None:
    """When the wait is over, and when anything interrupts it, nothing stays held."""
    run = dry(0)
    run.expect("lock.acquire").answer(FREE).expect("lock.acquire").answer(TAKEN)
    run.expect("locks.release").answer(1, 0)
    assert run.result is None
    run = dry()
    run.expect("lock.acquire").answer(FREE).expect("lock.acquire").fail(OutcomeUnknown("lock.acquire", "lost"))
    run.expect("lock.release").answer(0).expect("locks.release").answer(1, 0)
    with pytest.raises(OutcomeUnknown):
        _ = run.result


def test_a_wait_that_is_over_before_the_last_one() -> None:
    """It is tried once, so that what is free is not missed, and nobody stands in line for it."""
    for answer, plan in ((FREE, "locks.extend"), (TAKEN, "locks.release")):
        run = dry(5)
        step = run.expect("lock.acquire").advance(6).answer(FREE).expect("lock.acquire")._step
        assert isinstance(step, Plan)
        assert step.commands[0].args[-1] == 0
        run.answer(answer).expect(plan).answer(1, 1)
        assert (run.result is not None) == (answer is FREE)


def test_the_wait_is_for_all_together() -> None:
    """In seconds; what is left of it after the first is the second's, and chance is handed on."""
    run = dry(0.5)
    run.expect("lock.acquire").advance(0.2).answer(FREE).expect("lock.acquire").answer([0, 100, 0])
    waits = Plan("lock.wait", (Command(("BLPOP", "lock:{b}:wake", 0.111)),), lambda _: None, blocks_for=0.111)
    run.expect(waits).advance(0.3).answer(None)
    run.expect("lock.acquire").answer(TAKEN).expect("locks.release").answer(1, 0)
    assert run.result is None


def test_extending_and_releasing() -> None:
    """One round trip for all; held only where each is."""
    lease = Lease("a, b", "t")
    assert len(BOTH.extend(lease).commands) == 2
    assert BOTH.extend(lease, 3).commands[1].args[-1] == 3000
    assert BOTH.extend(lease).parse([1, 1]) is True
    assert BOTH.extend(lease).parse([1, 0]) is False
    assert BOTH.release(lease).parse([0, 1]) is False
    assert Dry(BOTH.give_back(lease)).expect("locks.release").answer(1, 1).result is True


def test_what_is_not_allowed() -> None:
    """None, something else, and two for the same."""
    with pytest.raises(ConfigurationError, match="locks must be at least one"):
        MultiLock()
    with pytest.raises(ConfigurationError, match="locks must be at least one"):
        MultiLock(A, BOTH)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigurationError, match=r"different things.*'a', 'b', 'a'"):
        MultiLock(A, B, Lock("a", ttl=1))
    assert MultiLock(A, FairLock("a"), Semaphore("a", limit=2)).name == "a, a, a"
    assert repr(BOTH) == f"MultiLock({A!r}, {B!r})"
