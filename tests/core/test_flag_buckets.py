from __future__ import annotations

import itertools
import zlib
from bisect import bisect_right

import pytest

from redis_patterns import Condition, Flag, FlagRule, FlagSnapshot
from redis_patterns_core.flag_buckets import POINTS, Purpose, bounds, bucket, digest, seed

USERS = [f"user-{number}" for number in range(5000)]

VECTORS: list[tuple[Purpose, str, str, str, int]] = [
    ("rollout", "new-ui", "ann", "2aeb6f330220465b", 16765),
    ("rollout", "new-ui", "bob", "2084acf9886c23a6", 12702),
    ("rollout", "checkout", "ann", "813306a116be51d0", 50468),
    ("variant", "new-ui", "ann", "fd0184f21be84f45", 98830),
    ("rollout", "new-ui", "7", "1fac8fbe7dc9b030", 12372),
    ("rollout", "gr\xf6\xdfe", "Zo\xeb", "40dbb2fcb27b6edf", 25335),
    ("rollout", "new-ui", "e\u0301", "76b6985f2bb24fcc", 46372),
    ("rollout", "new-ui", "\xe9", "29c1ffe3d4821dd9", 16311),
    ("rollout", "a", "bc", "3872b92516ef6e0c", 22050),
    ("rollout", "ab", "c", "4a18ac45b0ed4096", 28943),
    ("variant", "colour", "user-12345", "6b3f1de0b6fe830a", 41893),
]


@pytest.mark.parametrize(("purpose", "salt", "user", "bits", "expected"), VECTORS)
def test_a_bucket_is_what_it_was(purpose: Purpose, salt: str, user: str, bits: str, expected: int) -> None:
    """Frozen: another hash, seed or arithmetic would give features to other people, in the middle of a rollout."""
    assert digest(seed(purpose, salt), user).hex() == bits
    assert bucket(purpose, salt, user) == expected
    assert expected == int(bits, 16) * 100_000 >> 64


def test_who_gets_what_is_what_it_was() -> None:
    """Frozen too, to the very user: a rollout, that of a rule, and weights go by the buckets of their own purpose."""

    def given(flag: Flag, user: str) -> str | None:
        return FlagSnapshot([flag]).evaluate(flag.name, user).variant

    key = Condition("targetingKey", "present")
    for share, variant in ((16.765, "off"), (16.766, "on")):
        assert given(Flag("new-ui", percentage=share), "ann") == variant
        assert given(Flag("new-ui", percentage=share, serve={"on": 1, "off": 0}), "ann") == variant
        assert given(Flag("new-ui", percentage=0, rules=[FlagRule(key, percentage=share)]), "ann") == variant
    for share, variant in ((41.893, "on"), (41.894, "off")):
        assert given(Flag("colour", serve={"on": round(100 - share, 3), "off": share}), "user-12345") == variant


def test_no_two_flags_and_users_are_hashed_alike() -> None:
    """What is joined to be hashed cannot be parted in two ways, and texts are not normalized."""
    several = [("rollout", "a", "bc"), ("rollout", "ab", "c"), ("rollout", "a", "b\0c"), ("rollout", "abc", "")]
    assert len({seed("rollout", salt) + user.encode() for _, salt, user in several}) == 4
    assert bucket("rollout", "x", "\u00e9") != bucket("rollout", "x", "e\u0301")


@pytest.mark.parametrize("points", [1, 2, 333, 50_000, 66_667, 99_998, 99_999])
def test_a_bound_is_where_the_bucket_says(points: int) -> None:
    """Comparing bytes is the same as calculating the bucket, at the very edge too."""
    (end,) = bounds([points, POINTS - points])
    edge = int.from_bytes(end, "big")
    assert (edge * POINTS >> 64, (edge - 1) * POINTS >> 64) == (points, points - 1)
    for user in USERS[:200]:
        assert (digest(seed("rollout", "x"), user) < end) == (bucket("rollout", "x", user) < points)


def test_neighbours_share_all_there_is() -> None:
    """With sizes of nothing at the beginning, in the middle and at the end, each of the 64 bits is somebody's."""
    ends = bounds([0, 3, 0, 1, 0])
    several = [bytes(8), bytes.fromhex("bf" + "ff" * 7), bytes.fromhex("c0" + "00" * 7), b"\xff" * 8]
    assert [bisect_right(ends, bits) for bits in several] == [1, 1, 3, 3]
    assert bounds([7]) == []


def test_buckets_are_uniform() -> None:
    """Chi-square of 100000 users in 100 buckets, for three flags, is below what chance passes once in a thousand."""
    for salt in ("new-ui", "checkout", "a"):
        counts = [0] * 100
        for number in range(100_000):
            counts[bucket("rollout", salt, f"user-{number}", 100)] += 1
        assert sum((count - 1000) ** 2 / 1000 for count in counts) < 148.2  # 99 degrees of freedom
        assert POINTS == 100_000


def chi_square(first: int, second: int, users: int) -> float:
    """Give how far two sets of users, as bits of a number, are from having nothing to do with each other."""
    a, b, both = first.bit_count(), second.bit_count(), (first & second).bit_count()
    table = [both, a - both, b - both, users - a - b + both]
    expected = [a * b, a * (users - b), (users - a) * b, (users - a) * (users - b)]
    return sum((seen - wanted / users) ** 2 / (wanted / users) for seen, wanted in zip(table, expected, strict=True))


def within(purpose: Purpose, salt: str, points: int = 50_000) -> int:
    """Give the users within a rollout, as bits of a number."""
    (end,) = bounds([points, POINTS - points])
    start = seed(purpose, salt)
    return sum(1 << place for place, user in enumerate(USERS) if digest(start, user) < end)


def test_a_hundred_flags_have_nothing_to_do_with_each_other() -> None:
    """Of all pairs of rollouts, as many are dependent by chi-square as chance has it, and none by far."""
    sets = [within("rollout", f"flag-{number}") for number in range(100)]
    values = [chi_square(a, b, len(USERS)) for a, b in itertools.combinations(sets, 2)]
    assert len(values) == 4950
    # One degree of freedom: 3.841 is passed in one of 20 cases, which is 247.5 of them, give or take 3 times 15.3.
    assert 200 < sum(1 for one in values if one > 3.841) < 295
    assert max(values) < 24  # one of a million


def test_a_rollout_and_its_variants_have_nothing_to_do_with_each_other() -> None:
    """Of those within ten percent, each half of the variants gets its part, in every flag."""
    values = [
        chi_square(within("rollout", f"flag-{number}", 10_000), within("variant", f"flag-{number}"), len(USERS))
        for number in range(40)
    ]
    assert max(values) < 12  # one in 2000
    assert sum(1 for one in values if one > 3.841) <= 6


def test_a_checksum_would_not_do() -> None:
    """Why it is no CRC-32: for names of one length two flags differ by the same bits, whoever is asked about."""
    names = [f"user-{number}" for number in range(1000, 1100)]
    differences = {zlib.crc32(f"flag-1{name}".encode()) ^ zlib.crc32(f"flag-2{name}".encode()) for name in names}
    assert len(differences) == 1


def test_a_larger_percentage_only_adds_users() -> None:
    """Who has it at one percentage has it at each larger one; 0 is nobody and 100 is everybody."""
    before: set[str] = set()
    sizes: list[int] = []
    for thousandths in (0, 1, 10, 500, 1000, 12_345, 50_000, 99_000, 99_999, 100_000):
        snapshot = FlagSnapshot([Flag("new-ui", percentage=thousandths / 1000)])
        now = {user for user in USERS if snapshot.is_enabled("new-ui", user)}
        assert before <= now
        before = now
        sizes.append(len(now))
    assert (sizes[0], sizes[-1]) == (0, len(USERS))
    assert abs(sizes[6] - 2500) < 3 * 35.4


def test_weights_are_kept() -> None:
    """Of users, each variant has its share, whatever the order in which weights were written."""
    flag = Flag("c", variants={"a": 1, "b": 2, "c": 3}, serve={"c": 70, "a": 20, "b": 10})
    other = Flag("c", variants={"c": 3, "b": 2, "a": 1}, serve={"a": 20, "b": 10, "c": 70})
    given = [FlagSnapshot([flag]).evaluate("c", user, 0).variant for user in USERS]
    assert given == [FlagSnapshot([other]).evaluate("c", user, 0).variant for user in USERS]
    for name, share in (("a", 0.2), ("b", 0.1), ("c", 0.7)):
        assert abs(given.count(name) - share * 5000) < 3 * (5000 * share * (1 - share)) ** 0.5


def test_a_salt_ties_flags_together() -> None:
    """Flags with one salt have the same users."""
    snapshot = FlagSnapshot([Flag("a", percentage=30), Flag("b", percentage=30, salt="a"), Flag("c", percentage=30)])
    a, b, c = [[snapshot.is_enabled(name, user) for user in USERS] for name in "abc"]
    assert a == b
    assert a != c
