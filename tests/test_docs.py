"""Runs every example of the README and of the documentation, and compares what it prints."""

from __future__ import annotations

import ast
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

import redis_patterns_core
from redis_patterns.sync import Driver
from redis_patterns.testing import Server, server
from redis_patterns_core import errors
from tests.drivers.plans import once
from tests.examples import Example, examples, run

ROOT = Path(redis_patterns_core.__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_SHOWN = re.compile(r"^```py\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
_QUOTED = re.compile(r"`(\w+)`")
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    with server() as running:
        yield running


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_of_a_page(page: Path, own_server: Server) -> None:
    """A page's examples run one after another as they stand, and print what the page says."""
    with Driver.connect(own_server.url) as driver:
        run(page, own_server.url, lambda: driver.run(once("FLUSHALL")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_shows_and_does_not_run_is_python(page: Path) -> None:
    """Code on other libraries, which the tests do not install, can at least be compiled."""
    for block in _SHOWN.findall(page.read_text()):
        compile(block, str(page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_the_examples_that_are_found() -> None:
    """Each block has the text that follows it; the tabs of a group share the text that follows the group."""
    page = """
```python
1
```

```text
one
```

:::{tab} sync
```python
2
```
:::
:::{tab} trio
```python
3
```
:::

```text
two
```

Not that of the example before:

```text
other
```

```py
4
```

:::{tab} sync
```python
5
```

```text
five
```
:::

```python
6
```
"""
    assert examples(page) == [
        Example("1\n", 2, "one\n"),
        Example("2\n", 11, "two\n", tab=1),
        Example("3\n", 16, "two\n", tab=2),
        Example("5\n", 36, "five\n", tab=1),
        Example("6\n", 45),
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_links_of_a_page(page: Path) -> None:
    """Links to other files of the project lead somewhere."""
    for target in _LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_error_is_explained() -> None:
    """The page of errors names all of them, and what else each of them is."""
    table = (ROOT / "docs" / "errors.md").read_text().partition("## All errors")[2]
    rows = [row.split("|")[1:3] for row in table.splitlines() if row.startswith("| `")]
    told = {name: _QUOTED.findall(other) for names, other in rows for name in _QUOTED.findall(names)}
    found: list[type] = [getattr(errors, name) for name in errors.__all__]
    kinds = [one for one in found if one is not errors.PatternsError and issubclass(one, errors.PatternsError)]
    assert told == {one.__name__: [base.__name__ for base in one.__bases__[1:]] for one in kinds}


def test_every_pattern_of_the_readme_has_a_page() -> None:
    """The README's table names the patterns, each with its page."""
    table = re.findall(r"^\| \[`(\w+)`\]\(([^)]+)\)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert {name for name, _ in table} == {
        "AllOf",
        "Cache",
        "ConcurrencyLimit",
        "Counter",
        "FairLock",
        "FifoQueue",
        "Flags",
        "Jobs",
        "Leaderboard",
        "Lock",
        "MultiLock",
        "Once",
        "Sessions",
        "TokenBucket",
        "Uniques",
        "WriteBehind",
    }
    for name, page in table:
        assert name in (ROOT / page.partition("#")[0]).read_text()


@pytest.mark.parametrize("plot", ["counters", "leaderboard_ranks", "rate_limits", "rollouts"])
def test_a_picture_is_what_its_script_draws(plot: str) -> None:
    """The plots are up to date."""
    script = runpy.run_path(str(ROOT / "docs" / "plots" / f"{plot}.py"))
    assert script["PICTURE"].read_text() == script["draw"](), f"run: python docs/plots/{plot}.py"
