"""What the inventory says is there: tests, benchmarks, pages with their headings, sections of the tour."""

from __future__ import annotations

import re

import pytest

from redis_patterns import _tour
from tests.inventory import PAGE, ROOT, ROWS, Row, page

ALL = [row for rows in ROWS.values() for row in rows]


@pytest.mark.parametrize("row", ALL, ids=lambda row: row.what)
def test_what_is_said_to_be_there_is_there(row: Row) -> None:
    """Each test by its name in its file, each benchmark, each page with its heading, each section of the tour."""
    for name in (row.pure, row.drivers, row.faults):
        file, _, test = name.partition("::")
        text = (ROOT / "tests" / file).read_text()
        assert not test or re.search(rf"^(async )?def {test}\(", text, re.MULTILINE), name
    assert not row.measured or (ROOT / "tests" / "benchmarks" / row.measured).exists()
    file, _, anchor = row.page.partition("#")
    headings = re.findall(r"^#+ (.*)", (ROOT / "docs" / file).read_text(), re.MULTILINE)
    assert not anchor or anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    titles = [section.title for section in _tour.sections("x")]
    assert not row.tour or any(title.startswith(row.tour) for title in titles), row.tour


def test_the_page_is_what_the_inventory_says() -> None:
    """It is generated anew by ``python tests/inventory.py``."""
    assert PAGE.read_text() == page()


def test_every_section_of_the_tour_is_in_the_inventory() -> None:
    """A pattern that is shown is one that is looked for."""
    known = ("AllOf", "ConcurrencyLimit", "ReadWriteLock")  # beyond what the reference has
    for section in _tour.sections("x"):
        assert section.title.startswith((*known, *[row.tour for row in ALL if row.tour])), section.title
