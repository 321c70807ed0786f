"""Bugs in what is leased, planted one by one into copies of the scripts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from redis_patterns import Command, MultiLock, Plan, Semaphore
from redis_patterns.testing.simulation import Faults
from redis_patterns_core.lease_records import Lease
from redis_patterns_core.leases import InOneStep
from tests.simulation.bugs import Bug
from tests.simulation.cases import LOCK, lock_setup
from tests.simulation.lease_cases import (
    FAIR,
    RW,
    fair_setup,
    multi_setup,
    reentrant,
    reentrant_setup,
    rw_setup,
    semaphore_setup,
)
from tests.simulation.mistakes import Mistake

L = TypeVar("L", bound=InOneStep)
NO_FAULTS = Faults()


def mistaken(lock: L, before: str, after: str, script: str = "lease_acquire") -> L:
    """Give a copy of a lock in one of whose scripts a piece is another."""
    mistake = Mistake(script, before, after)

    class Mistaken(type(lock)):  # type: ignore[misc]
        __slots__ = ()

        def _acquisition(self, token: str, wait_ms: int) -> Command:
            return mistake.command(super()._acquisition(token, wait_ms))

        def _freeings(self, token: str) -> tuple[Command, ...]:
            return tuple([mistake.command(command) for command in super()._freeings(token)])

    made: Any = object.__new__(Mistaken)
    for kind in type(lock).__mro__:
        for name in getattr(kind, "__slots__", ()):
            object.__setattr__(made, name, getattr(lock, name))
    changed_lock: L = made
    return changed_lock


class InAnyOrder(MultiLock):
    """Several locks in the order in which they are named."""

    __slots__ = ()

    def __init__(self, *locks: InOneStep) -> None:
        super().__init__(*locks)
        self.locks = locks


class NotBegunAnew(MultiLock):
    """Several locks whose leases are not prolonged when the last is taken, nor meanwhile."""

    __slots__ = ()

    def extend(self, lease: Lease, ttl: Any = None) -> Plan[bool]:
        if lease.ends_at is not None or ttl is not None:
            return super().extend(lease, ttl)
        return replace(super().extend(lease), commands=(Command(("PING",)),), parse=lambda _: True)


def counted(semaphore: Semaphore) -> Semaphore:
    return mistaken(semaphore, "if its_mode == 's' then", "if true then")


LEASE_BUGS = [
    Bug(
        "a lock whose release wakes nobody",
        lock_setup(mistaken(LOCK, "redis.call('RPUSH', KEYS[3], 1)", "local _ = 1", "lock_release"), wakes_within=0.05),
        ("sleep on",),
        NO_FAULTS,
    ),
    Bug(
        "a lock with the same fence again",
        lock_setup(mistaken(LOCK, "holder and last > 0 and last", "last > 0 and last", "lock_acquire")),
        ("fence that does not grow",),
        NO_FAULTS,
    ),
    Bug(
        "a fair lock for whoever comes",
        fair_setup(mistaken(FAIR, "(not head or head == member) and fits(member)", "fits(member)")),
        ("out of order",),
        NO_FAULTS,
    ),
    Bug(
        "a fair lock that does not wake the next in line",
        fair_setup(mistaken(FAIR, "> 0 then wake(KEYS[5])", "> 0 then local _ = 1"), nobody_dies=True),
        ("sleep on", "in line any more"),
        NO_FAULTS,
    ),
    Bug(
        "a fair lock whose release wakes nobody",
        fair_setup(mistaken(FAIR, "ends and KEYS[4] or false", "false", "lease_release"), nobody_dies=True),
        ("sleep on", "in line any more"),
        NO_FAULTS,
    ),
    Bug(
        "a fair lock that waits for the dead",
        fair_setup(mistaken(FAIR, "redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', whole(now))", "{}"), rounds=2),
        ("sleep on",),
        Faults(crash=0.06),
    ),
    Bug(
        "a fair lock that forgets who waits",
        fair_setup(mistaken(FAIR, "'-inf', whole(now))) do", "'-inf', whole(now + 14990))) do"), nobody_dies=True),
        ("in line any more", "sleep on"),
        NO_FAULTS,
    ),
    Bug(
        "a fair lock with the same fence again",
        fair_setup(mistaken(FAIR, "(again or within) and last > 0 and last", "last > 0 and last")),
        ("fence that does not grow",),
        NO_FAULTS,
    ),
    Bug(
        "a fair lock held by nobody's owner",
        fair_setup(mistaken(FAIR, "owner ~= '' and owner == first_owner", "owner == first_owner")),
        ("exclude each other",),
        NO_FAULTS,
    ),
    Bug(
        "a reader beside a writer",
        rw_setup(read=mistaken(RW.read(), "its_mode == 'x' or first_mode == 'x'", "its_mode == 'x'")),
        ("exclude each other",),
        NO_FAULTS,
    ),
    Bug(
        "readers who do not wait for a writer that waits",
        rw_setup(read=mistaken(RW.read(), "(not head or head == member) and fits(member)", "fits(member)")),
        ("out of order",),
        NO_FAULTS,
    ),
    Bug("permits counted by holders", semaphore_setup(counted), ("exclude each other",), NO_FAULTS),
    Bug(
        "a reentrant lock that shuts its owner out",
        reentrant_setup(
            lambda name: mistaken(reentrant(name), "owner ~= '' and owner == first_owner", "false and first_owner")
        ),
        ("does not get in",),
        NO_FAULTS,
    ),
    Bug(
        "a reentrant lock given back at once",
        reentrant_setup(
            lambda name: mistaken(
                reentrant(name),
                "redis.call('ZREM', KEYS[1], ARGV[1])",
                "redis.call('DEL', KEYS[1])",
                "lease_release",
            )
        ),
        ("exclude each other",),
        NO_FAULTS,
    ),
    Bug(
        "several locks in any order",
        multi_setup(InAnyOrder, clients=2, rounds=2, wait_within=5),
        ("wait for each other",),
        NO_FAULTS,
    ),
    Bug("several locks of which one has run out", multi_setup(NotBegunAnew), ("exclude each other",), NO_FAULTS),
]
