from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from redis_patterns import (
    DAY,
    HOUR,
    MONTH,
    Calendar,
    ConfigurationError,
    DecodeError,
    Effect,
    Every,
    ExactUniques,
    NotCounted,
    Plan,
    Uniques,
)
from redis_patterns.testing import Dry
from redis_patterns.testing.memory import Server as Memory
from redis_patterns_core.hyperloglog import add, encode, estimate
from tests.core.nonsense import Nameless, nonsense

NOW = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)  # the clock of the servers in memory, when they begin
BERLIN = ZoneInfo("Europe/Berlin")
DAYS = timedelta(days=1)
KINDS = [Uniques, ExactUniques]


def page(kind: type[Any], name: str = "page", **options: Any) -> Any:
    return kind(name, clock=lambda: NOW, **options)


PAGE: Uniques = page(Uniques)
EXACT: ExactUniques = page(ExactUniques, most=5)


# What is sent


@pytest.mark.parametrize(
    ("plan", "effect", "lines"),
    [
        (
            PAGE.add("ann", "bob", "ann"),
            Effect.IDEMPOTENT,
            ["1 unique:{page}:day:2023-11-14 1700000000000 300000 1702598400000 60000 ann bob"],
        ),
        (
            EXACT.add("ann"),
            Effect.IDEMPOTENT,
            ["1 unique:{page}:day:2023-11-14:exact 1700000000000 300000 1702598400000 60000 5 ann"],
        ),
        (PAGE.count(), Effect.READS, ["PFCOUNT unique:{page}:day:2023-11-14"]),
        (PAGE.count(NOW - DAYS), Effect.READS, ["PFCOUNT unique:{page}:day:2023-11-13"]),
        (
            PAGE.count([NOW, NOW - 7 * DAYS]),
            Effect.READS,
            ["PFCOUNT unique:{page}:day:2023-11-14 unique:{page}:day:2023-11-07"],
        ),
        (
            PAGE.count_range(NOW - DAYS, across=[page(Uniques, "docs")]),
            Effect.READS,
            [f"GET unique:{{{name}}}:day:2023-11-{day}" for name in ("page", "docs") for day in (13, 14)],
        ),
        (EXACT.count(), Effect.READS, ["SCARD unique:{page}:day:2023-11-14:exact"]),
        (
            EXACT.count_range(NOW - DAYS, NOW, across=[page(ExactUniques, "docs")]),
            Effect.READS,
            [
                f"SUNION unique:{{{name}}}:day:2023-11-13:exact unique:{{{name}}}:day:2023-11-14:exact"
                for name in ("page", "docs")
            ],
        ),
        (
            page(Uniques, "a:}", namespace="n", period=HOUR).count(),
            Effect.READS,
            ["PFCOUNT n:unique:{a:%7D}:3600s:2023-11-14T22:00"],
        ),
        (
            page(Uniques, period=Calendar("month", BERLIN)).count(),
            Effect.READS,
            ["PFCOUNT unique:{page}:month:Europe/Berlin:2023-11"],
        ),
        (
            page(ExactUniques, period=Calendar("day", timezone(timedelta(hours=5, minutes=30)))).count(),
            Effect.READS,
            ["SCARD unique:{page}:day:UTC+05:30:2023-11-15:exact"],
        ),
        (
            page(Uniques, period=Calendar("day", ZoneInfo("UTC"))).count(),
            Effect.READS,
            ["PFCOUNT unique:{page}:day:2023-11-14"],
        ),
    ],
)
def test_what_is_sent(plan: Plan[Any], effect: Effect, lines: list[str]) -> None:
    """One round trip; nothing is changed by sending it twice; what several slots have is read from each."""
    sent = [line for line in plan.explain().splitlines() if not line.startswith("#")]
    assert all(line.endswith(end) for line, end in zip(sent, lines, strict=True)), sent
    assert plan.effect is effect


def test_registers_are_united_where_they_are_read() -> None:
    """Those of absent keys too; bytes that are none are said to be so."""
    ann, both = add(0, [b"ann"]), add(0, [b"ann", b"bob"])
    plan = PAGE.count(across=[page(Uniques, "docs"), page(Uniques, "blog")])
    assert plan.parse([encode(ann), None, encode(both)]) == estimate(both) == 2
    assert plan.parse([None, None, None]) == 0
    for damaged in (b"HYLL", 7, [encode(ann)]):
        with pytest.raises(DecodeError):
            plan.parse([None, damaged, None])


@pytest.mark.parametrize("shape", [set, list])
def test_members_in_either_protocol(shape: Callable[[list[bytes]], object]) -> None:
    """A set under RESP3, a list under RESP2."""
    plan = EXACT.count(across=[page(ExactUniques, "docs")])
    assert plan.parse([shape([b"a", b"b"]), shape([b"b", b"c"])]) == 3
    for damaged in (b"a", {b"a": b"b"}, [[b"a"]], [7]):
        with pytest.raises(DecodeError):
            plan.parse([damaged, []])


# Counting


@pytest.mark.parametrize("kind", KINDS)
def test_a_member_counts_once(kind: type[Any]) -> None:
    """In a day, in several days together, and on several pages together; an absent day has none."""
    server, one, two = Memory(), page(kind), page(kind, "docs")
    server.run(one.add("ann", "bob"))
    server.run(one.add("bob", "cy", at=NOW - DAYS))
    server.run(two.add("ann", "dan", at=NOW - DAYS))
    assert (server.run(one.count()), server.run(one.count(NOW - DAYS)), server.run(one.count(NOW - 2 * DAYS))) == (
        2,
        2,
        0,
    )
    assert server.run(one.count_range(NOW - 5 * DAYS)) == 3
    assert server.run(one.count([NOW, NOW - 3 * DAYS])) == 2
    assert server.run(one.count(across=[two])) == 2
    assert server.run(one.count_range(NOW - DAYS, NOW, across=[two])) == 4
    assert server.run(one.count_range(NOW - DAYS, NOW - DAYS / 2, across=[two])) == 3 + 1


@pytest.mark.parametrize("kind", KINDS)
def test_merging(kind: type[Any]) -> None:
    """Days into their month, and pages into their site; repeated it stays the same; other days are left out."""
    server, day, docs = Memory(), page(kind), page(kind, "docs")
    month, site = page(kind, period=MONTH), page(kind, "site")
    for late in range(20):
        server.run(day.add(f"m{late}", "ann", at=NOW - late * DAYS))
    server.run(docs.add("ann", "bob"))
    server.run(site.add("eve"))
    with server.sync() as redis:
        for _ in range(2):
            redis.run(month.merge(day, docs))
            redis.run(site.merge(day, docs, at=NOW))
    assert server.run(month.count()) == 14 + 2  # the fourteen days of November so far
    assert server.run(site.count()) == 4
    assert len(server.keys()) == 20 + 3
    assert len(server.expiries()) == len(server.keys())


@pytest.mark.parametrize("kind", KINDS)
def test_days_of_two_zones_are_not_the_same(kind: type[Any]) -> None:
    """Who is here now was not there in a day that is over elsewhere, though the two have one date."""
    server = Memory()
    zones = [ZoneInfo(name) for name in ("UTC", "Pacific/Auckland", "America/New_York")]
    here, ahead, behind = (page(kind, period=Calendar("day", zone), keep=3 * DAYS) for zone in zones)
    dates = [counter.period.label(counter.period.start(at)) for counter, at in ((here, NOW), (ahead, NOW - DAYS))]
    assert dates == ["2023-11-14"] * 2
    server.run(here.add("ann"))
    server.run(behind.add("bob"))
    assert server.run(ahead.count(NOW - DAYS)) == 0, "the 14th of November there"
    assert [server.run(counter.count()) for counter in (here, ahead, behind)] == [1, 0, 1]
    assert server.run(here.count(across=[behind])) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_merge_is_refused_like_any_other_count(kind: type[Any]) -> None:
    """Where the time is not kept any more, or has not come."""
    server, day, site = Memory(), page(kind, keep=100 * 86400), page(kind, "site", keep=5)
    server.run(day.add("ann", at=NOW - 2 * DAYS))
    with server.sync() as redis, pytest.raises(NotCounted, match="is not kept any more"):
        redis.run(site.merge(day, at=NOW - 2 * DAYS))
    for wrong in ((), (page(Uniques if kind is ExactUniques else ExactUniques),), (page(kind, period=MONTH),)):
        with server.sync() as redis, pytest.raises(ConfigurationError, match=r"^(sources|counters) must"):
            redis.run(site.merge(*wrong))


@pytest.mark.parametrize("kind", KINDS)
def test_a_period_is_kept_for_as_long_as_it_says(kind: type[Any]) -> None:
    """C2: from the first step on the key has a TTL; no later member and no shorter `keep` shortens it."""
    server, ends = Memory(), DAY.following(DAY.start(NOW)).timestamp() + 30 * 86400 + 60
    for counter in (page(kind), page(kind, keep=5), page(kind)):
        server.run(counter.add("ann"))
        assert server.expiries() == [ends - NOW.timestamp()]
    server.run(page(kind, keep=31 * 86400).add("bob"))
    assert server.expiries() == [ends + 86400 - NOW.timestamp()]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("late", "reason"),
    [(-300, ""), (-301, "ahead"), (30 * 86400, ""), (30 * 86400 + 80_000, ""), (30 * 86400 + 80_001, "old")],
)
def test_what_comes_too_late_or_too_early(kind: type[Any], late: int, reason: str) -> None:
    """Is refused with nothing noted, by the server's clock."""
    server = Memory()
    if not reason:
        server.run(page(kind).add("ann", at=NOW - timedelta(seconds=late)))
        return
    with pytest.raises(NotCounted) as refused:
        server.run(page(kind).add("ann", at=NOW - timedelta(seconds=late)))
    assert (refused.value.reason, server.keys()) == (reason, [])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("merged", [False, True], ids=["add", "merge"])
@pytest.mark.parametrize(
    ("late", "now", "reason"),
    [
        (-300, 0.0, ""),
        (-300.001, 0.0, "ahead"),
        (-300.956, 0.9567, ""),
        (-300.957, 0.9567, "ahead"),
        (0, 2.9995, ""),  # the second of 0 has ended at 1, and is kept until 3
        (0, 3.0, "old"),
    ],
)
def test_the_bounds_are_exact(kind: type[Any], merged: bool, late: float, now: float, reason: str) -> None:
    """To the millisecond, by the server's clock, whether members are added or merged; and so is the TTL."""
    server, other = Memory(), page(kind, "other", period=Every(1), keep=10**6, ahead=10**6)
    at = NOW - timedelta(seconds=late)
    server.run(other.add("ann", at=at))
    server.clock.advance(now)

    def note(keep: float) -> list[float]:
        one = page(kind, period=Every(1), keep=keep)
        with server.sync() as redis:
            redis.run(one.merge(other, at=at) if merged else one.add("ann", at=at))
        assert server.run(one.count(at)) == 1
        return server.expiries()[:1]

    if reason:
        with pytest.raises(NotCounted) as refused:
            note(2)
        assert (refused.value.reason, len(server.keys())) == (reason, 1)
        return
    ends = Every(1).start(at).timestamp() - NOW.timestamp() + 1
    assert [note(2), note(5), note(4)] == [[ends + 62], [ends + 65], [ends + 65]], "none shortens it"


def test_a_set_has_a_bound() -> None:
    """What does not fit is refused, all of it; what is there already always fits."""
    server = Memory()
    server.run(EXACT.add("a", "b", "c", "d"))
    with pytest.raises(NotCounted, match="there may be 5 members, and would be more") as refused:
        server.run(EXACT.add("e", "a", "f"))
    with pytest.raises(NotCounted):
        server.run(EXACT.add("e", "f"))
    assert (refused.value.reason, server.run(EXACT.count())) == ("full", 4)
    server.run(EXACT.add("a", "b", "e"))
    server.run(EXACT.add("a", "b", "c", "d", "e"))
    assert server.run(EXACT.count()) == 5


@pytest.mark.parametrize(
    ("kind", "read", "write"),
    [(Uniques, "uniques.read", "uniques.merge"), (ExactUniques, "exactuniques.read", "exactuniques.add")],
)
def test_the_steps_of_a_merge(kind: type[Any], read: str, write: str) -> None:
    """It reads what others have, and adds it: what may be sent again."""
    dry = Dry(page(kind, "site").merge(page(kind)))
    steps: list[Any] = [dry.expect(read)._step]
    steps.append(dry.answer(encode(add(0, [b"ann"])) if kind is Uniques else [b"ann"]).expect(write)._step)
    assert [step.effect for step in steps] == [Effect.READS, Effect.IDEMPOTENT]
    assert dry.answer(1).result is None


def test_merging_many_members() -> None:
    """Of a large set, in steps of five thousand."""
    server, large, site = Memory(), page(ExactUniques), page(ExactUniques, "site")
    members = [f"m{number}" for number in range(5001)]
    for first in (0, 5000):
        server.run(large.add(*members[first : first + 5000]))
    with server.sync() as redis:
        redis.run(site.merge(large))
    assert server.run(site.count()) == 5001


# Refused


def test_counters_are_values() -> None:
    """Equal where their names and settings are, whatever their clocks."""
    assert page(Uniques) == Uniques("page") != Uniques("page", keep=5)
    assert hash(page(Uniques)) == hash(Uniques("page"))
    assert repr(Uniques("page")).startswith("Uniques(name='page', period=Calendar(unit='day'")
    assert 0.0081 < Uniques.STANDARD_ERROR < 0.0082


def test_the_most_keys_and_members_are_allowed() -> None:
    """As many as the errors name; and that no time may be ahead."""
    assert len(PAGE.count([NOW] * 1000).commands[0].args) == 1001
    long = page(Uniques, keep=1e8)
    assert len(long.count_range(NOW - 499 * DAYS, across=[page(Uniques, "docs", keep=1e8)]).commands) == 1000
    assert len(PAGE.add(*map(str, range(5000))).commands[0].args) == 3 + 1 + 4 + 5000
    assert ExactUniques("c", most=1_000_000, ahead=0).most == 1_000_000


NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001  that is the point
BY_CLOCK: list[Callable[[Uniques], object]] = [
    lambda counter: counter.add("x"),
    lambda counter: counter.count(),
    lambda counter: counter.count_range(NOW),
]
REFUSED: list[tuple[str, Callable[[], object]]] = [
    *[("name", lambda name=name, kind=kind: kind(name)) for name in nonsense("", None, 7) for kind in KINDS],
    *[("namespace", lambda kind=kind, it=it: kind("c", namespace=it)) for it in nonsense(None) for kind in KINDS],
    *[("period", lambda period=period: Uniques("c", period=period)) for period in nonsense(None, "day", 60)],
    *[("period", lambda kind=kind: kind("c", period=Calendar("day", Nameless()))) for kind in KINDS],
    *[("keep", lambda keep=keep: Uniques("c", keep=keep)) for keep in nonsense(0, -1, None)],
    *[("ahead", lambda ahead=ahead: ExactUniques("c", ahead=ahead)) for ahead in nonsense(-1, None)],
    *[("most", lambda most=most: ExactUniques("c", most=most)) for most in nonsense(0, 1_000_001, 1.5, True)],
    *[("members", lambda member=member: PAGE.add(member)) for member in nonsense("", None, 7, b"x", "\ud800")],
    ("members", PAGE.add),
    ("members", lambda: PAGE.add(*["x"] * 5001)),
    *[("at", lambda at=at: PAGE.add("x", at=at)) for at in nonsense(NAIVE, 5)],
    *[("at", lambda at=at: PAGE.count(at)) for at in nonsense(NAIVE, 5)],
    *[("clock", lambda call=call: call(Uniques("c", clock=lambda: NAIVE))) for call in BY_CLOCK],
    ("keys", lambda: PAGE.count([])),
    ("keys", lambda: PAGE.count([NOW] * 1001)),
    ("keys", lambda: page(Uniques, keep=1e8).count_range(NOW - 900 * DAYS, across=[page(Uniques, "docs", keep=1e8)])),
    *[
        ("first", lambda first=first: PAGE.count_range(first))
        for first in nonsense(NAIVE, NOW + DAYS, NOW - 40 * DAYS, None)
    ],
    ("first", lambda: PAGE.count_range(NOW, NOW)),
    ("first", lambda: page(Uniques, period=Every(1)).count_range(NOW - DAYS)),
    ("until", lambda: PAGE.count_range(NOW, NAIVE)),
    *[("counters", lambda other=other: PAGE.count(across=[other])) for other in nonsense(EXACT, "page", None)],
]


@pytest.mark.parametrize(("argument", "made"), REFUSED)
def test_what_is_refused(argument: str, made: Callable[[], object]) -> None:
    """Nonsense is refused by its name, when the plan is built."""
    with pytest.raises(ConfigurationError, match=f"^{argument} must "):
        made()
