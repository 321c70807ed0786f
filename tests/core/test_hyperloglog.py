from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redis_patterns import DecodeError
from redis_patterns_core.hyperloglog import STANDARD_ERROR, add, decode, encode, estimate, union

REGISTERS = 16384
HEAD = b"HYLL\x01\x00\x00\x00" + b"\x00" * 8
SOME = st.lists(st.integers(0, 10**6), max_size=40)


def of(numbers: list[int]) -> int:
    return add(0, [b"%d" % number for number in numbers])


def ranks(registers: int) -> list[int]:
    digits = f"{registers:0{2 * REGISTERS}o}"
    return [int(digits[at : at + 2], 8) for at in range(2 * REGISTERS - 2, -2, -2)]


def test_nothing_counts_0() -> None:
    """Neither empty registers nor a union of none."""
    assert (estimate(0), union([]), decode(encode(0))) == (0, 0, 0)


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        (b"\x7f\xff", {}),  # XZERO: all of them
        (b"\x3f" * 256, {}),  # ZERO: 64 at a time
        (b"\x80\x7f\xfe", {0: 1}),  # VAL: one register of 1
        (b"\x7f\xfe\x80", {REGISTERS - 1: 1}),  # the last one
        (b"\x00\xff\x7f\xfa", {1: 32, 2: 32, 3: 32, 4: 32}),  # VAL: four of 32, the largest that there is
    ],
)
def test_the_sparse_form(runs: bytes, expected: dict[int, int]) -> None:
    """Runs of zeros and of equal values, as hyperloglog.c has them."""
    found = ranks(decode(HEAD + runs))
    assert {place: rank for place, rank in enumerate(found) if rank} == expected


def test_the_dense_form() -> None:
    """Six bits each, the lowest first; what is written is read back."""
    registers = add(0, [b"%d" % number for number in range(1000)])
    data = encode(registers)
    assert len(data) == 12304
    assert decode(data) == registers
    assert data[16] & 63 == ranks(registers)[0]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HYLL",
        b"HYLL\x00" + b"\x00" * 11,
        encode(0)[:-1],
        encode(0) + b"\x00",
        b"X" + encode(0)[1:],
        b"HYLL\x02" + encode(0)[5:],
        HEAD,
        HEAD + b"\x7f",
        HEAD + b"\x7f\xfe",
        HEAD + b"\x7f\xff\x00",
        HEAD + b"\x3f" * 100_000,
    ],
)
def test_what_is_none(data: bytes) -> None:
    """Damaged bytes are said to be so, and are not read far."""
    with pytest.raises(DecodeError, match="expected a HyperLogLog"):
        decode(data)


@settings(deadline=None, max_examples=30)
@given(first=SOME, second=SOME, third=SOME)
def test_a_union_is_one_however_it_is_made(first: list[int], second: list[int], third: list[int]) -> None:
    """In any order and grouping, with itself and with nothing; of each register it has the largest."""
    a, b, c = map(of, (first, second, third))
    whole = union([a, b, c])
    assert whole == union([union([a, b]), c]) == union([a, union([b, c])]) == union([c, a, b])
    assert union([whole, a]) == union([whole, 0]) == union([whole]) == whole
    assert ranks(whole) == list(map(max, ranks(a), ranks(b), ranks(c)))


@settings(deadline=None, max_examples=50)
@given(numbers=st.lists(st.integers(0, 99)), more=st.lists(st.integers(0, 99)))
def test_a_union_is_that_of_the_members(numbers: list[int], more: list[int]) -> None:
    """Adding all to one is the same as uniting two; what is added twice counts once."""
    assert add(of(numbers), [b"%d" % number for number in more]) == union([of(numbers), of(more)])
    assert of(numbers + more + numbers) == of(numbers + more)
    assert estimate(of(numbers)) == len(set(numbers))  # so few rarely meet in a register, and these do not


@pytest.mark.parametrize("count", [1, 10, 1000, 10_000, 100_000])
def test_the_error_is_within_its_bound(count: int) -> None:
    """Of twenty samples none is off by more than four standard errors, and they are off by about one on average."""
    rng = random.Random(count)
    errors: list[float] = []
    for _ in range(20):
        registers = add(0, [rng.randbytes(8) for _ in range(count)]) if count <= 1000 else _random(rng, count)
        errors.append(estimate(registers) / count - 1)
    assert max(map(abs, errors)) < 4 * STANDARD_ERROR
    assert math.sqrt(sum(error**2 for error in errors) / 20) < 1.5 * STANDARD_ERROR


def _random(rng: random.Random, count: int) -> int:
    """Give the registers of so many members, whose hashes are made up."""
    found = [0] * REGISTERS
    for _ in range(count):
        bits = rng.getrandbits(64)
        place, rest = bits % REGISTERS, bits >> 14 | 1 << 50
        found[place] = max(found[place], (rest & -rest).bit_length())
    return int("".join([f"{rank:02o}" for rank in reversed(found)]), 8)


@pytest.mark.parametrize("full", [1, REGISTERS // 2, REGISTERS - 1])
@pytest.mark.parametrize("other", [0, 48])
def test_registers_that_are_full(full: int, other: int) -> None:
    """They count for what they may have missed, as in Ertl's paper, whose sum this is, whatever the others are."""
    registers = sum((51 if place < full else other) << 6 * place for place in range(REGISTERS))
    x, empty = 1 - full / REGISTERS, 0 if other else (REGISTERS - full) / REGISTERS
    tau = (1 - x - sum((1 - x**0.5**k) ** 2 * 0.5**k for k in range(1, 60))) / 3
    sigma = empty + sum(empty**2**k * 2 ** (k - 1) for k in range(1, 60))
    z = REGISTERS * (tau * 0.5**50 + sigma) + (REGISTERS - full) * 0.5**other * (other > 0)
    number = REGISTERS**2 / (2 * math.log(2) * z)
    if number < 2**63:
        assert estimate(registers) == pytest.approx(number, rel=1e-9, abs=0.51)
    else:
        with pytest.raises(DecodeError):
            estimate(registers)


@pytest.mark.parametrize(("first", "rank"), [(51, 51), (52, 52), (63, 63), (50, 50), (50, 51)])
def test_registers_that_no_members_have_left(first: int, rank: int) -> None:
    """Their number would have more than 64 bits, if any: Redis gives a negative one, and here they are refused."""
    registers = sum(rank << 6 * place for place in range(1, REGISTERS)) + first
    with pytest.raises(DecodeError, match="expected a HyperLogLog, got one whose registers are damaged"):
        estimate(registers)
