from __future__ import annotations

import json
from dataclasses import asdict

from tests.benchmarks.tables import Row, Spread, Table, number, tabulate


def test_a_spread_is_median_least_and_quartiles() -> None:
    """The middle of the samples, the least of them, and where a quarter and three quarters lie."""
    assert Spread.of([5.0, 1.0, 4.0, 2.0, 3.0]) == Spread(median=3.0, least=1.0, lower=2.0, upper=4.0)


def test_one_sample_is_all_of_its_spread() -> None:
    """A single round has no quartiles, and is no error."""
    assert Spread.of([7.0]) == Spread(7.0, 7.0, 7.0, 7.0)


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    """Rounds are compared one by one: the quotient of the medians would be 1 here."""
    samples = {"bare": [1.0, 10.0, 4.0], "ours": [2.0, 30.0, 4.0], "peer": [4.0, 30.0, 12.0]}
    bare, ours, peer = tabulate("t", "one", samples, ours="ours", floor="bare").rows
    assert bare.of_floor == Spread(1.0, 1.0, 1.0, 1.0)
    assert ours.of_floor == Spread(median=2.0, least=1.0, lower=1.5, upper=2.5)
    assert peer.of_ours == Spread(median=2.0, least=1.0, lower=1.5, upper=2.5)
    assert [row.kind for row in (bare, ours, peer)] == ["floor", "ours", "peer"]


def test_samples_that_belong_to_no_rounds_are_compared_by_their_medians() -> None:
    """As many of each as there were."""
    samples = {"ours": [1.0, 2.0, 3.0], "peer": [8.0]}
    peer = tabulate("t", "one", samples, ours="ours", paired=False).rows[1]
    assert peer.of_ours == Spread(4.0, 4.0, 4.0, 4.0)


def test_without_the_floor_there_are_no_ratios() -> None:
    """A subject has its own times where the floor could not be measured, or ours has none."""
    (row,) = tabulate("t", "one", {"peer": [2.0]}, ours="ours", floor="bare").rows
    assert row == Row("peer", "peer", Spread(2.0, 2.0, 2.0, 2.0))


def test_a_floor_too_short_for_the_clock_gives_no_ratio() -> None:
    """Nothing is divided by a time of zero, in rounds or not."""
    for paired in (True, False):
        samples = {"bare": [0.0], "peer": [2.0]}
        bare, peer = tabulate("t", "one", samples, ours="bare", floor="bare", paired=paired).rows
        assert (bare.of_floor, peer.of_floor, peer.of_ours) == (None, None, None)


def test_who_has_no_samples_is_absent_and_says_why() -> None:
    """Those that were not measured come last, and one whose every try failed is among them."""
    samples = {"ours": [1.0], "mute": []}
    table = tabulate(
        "t", "one", samples, ours="ours", absent={"gone": "not installed"}, counted={"ours": {"trips": 1.0}}
    )
    assert [(row.subject, row.note) for row in table.rows] == [
        ("ours", ""),
        ("mute", "it gave no result"),
        ("gone", "not installed"),
    ]
    assert table.rows[0].counted == {"trips": 1.0}
    assert table.rounds == 1


def test_a_table_is_read_as_it_was_written() -> None:
    """JSON keeps all of it."""
    table = tabulate("t", "one", {"ours": [1.0, 2.0], "bare": [1.0, 1.0]}, ours="ours", floor="bare", absent={"x": "y"})
    assert Table.read(json.loads(json.dumps(asdict(table)))) == table


def test_numbers_have_three_digits() -> None:
    """And all of those before the point."""
    assert [number(one) for one in (0.01234, 1.5, 99.96, 1234.5)] == ["0.0123", "1.5", "100", "1,234"]
