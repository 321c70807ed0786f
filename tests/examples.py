"""Runs the examples of a page of Markdown, and compares what each prints with what the page says.

A page's ``python`` blocks run one after another and share their names. The ``text`` block after one is what it prints.
The tabs of a group, ``:::{tab} asyncio`` to ``:::``, show the same thing several times: each runs on an empty server,
all print the same, and what the second and later ones name stays theirs. A ``py`` block is shown and not run.

As a program this runs those of an installed redis-patterns: ``python tests/examples.py README.md``.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PARTS = re.compile(
    r"^(?P<tab>:::\{tab\}) |^(?P<end>:::)\n|^```(?P<language>python|text)\n(?P<body>.*?)^```\n",
    re.MULTILINE | re.DOTALL,
)


@dataclass
class Example:
    """A block of Python, the line before it, what it prints, and the number of its tab, 0 for none."""

    source: str
    line: int
    prints: str = ""
    tab: int = 0


def examples(text: str) -> list[Example]:
    """Give the examples of a page, in order."""
    found: list[Example] = []
    last: dict[int, Example] = {}  # of each tab of a group, the last example; else of the page, as 0
    tab, inside, ended = (
        0,
        False,
        0,
    )  # the tab of the group, whether we are in it, and where the last block or tab ended
    for part in _PARTS.finditer(text):
        follows = not text[ended : part.start()].strip()
        if part["tab"]:
            tab, inside = (tab + 1 if follows and tab else 1), True
            last = last if tab > 1 else {}
        elif part["end"]:
            inside = False
        elif part["language"] == "python":
            example = Example(part["body"], text[: part.start()].count("\n") + 1, tab=tab if inside else 0)
            last = {**last, tab: example} if inside else {0: example}
            tab = tab if inside else 0
            found.append(example)
        elif follows:
            for example in [last[tab]] if inside else last.values():
                example.prints = part["body"]
        ended = part.end()
    return found


def run(page: Path, url: str, flush: Callable[[], object]) -> None:
    """Run a page's examples as they stand, but on the server at `url`, which `flush` empties.

    Raises:
        AssertionError: one prints something else than the page says.
    """
    text = page.read_text(encoding="utf-8")
    # Port 1 is where nobody is; any other would be past the test's server.
    assert "redis://localhost:" not in text.replace('redis://localhost:1"', ""), (
        "an example goes past the test's server"
    )
    flush()
    names: dict[str, Any] = {"__name__": "example"}
    before, inside = 0, names
    for example in examples(text):
        if example.tab != before:
            before, inside = example.tab, dict(names) if example.tab > 1 else names
            if example.tab:
                flush()
        source = "\n" * example.line + re.sub(r"redis://localhost(?!:)", url, example.source)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(source, str(page), "exec"), inside)  # noqa: S102  our own pages
        assert printed.getvalue() == example.prints, (
            f"{page.name}, line {example.line}, prints\n{printed.getvalue()}\ninstead of\n{example.prints}"
        )


def main() -> None:
    """Run the examples of the pages that the arguments name."""
    import redis_patterns
    from redis_patterns import Command, Effect, Plan
    from redis_patterns.sync import Driver
    from redis_patterns.testing import server

    assert "site-packages" in redis_patterns.__file__, redis_patterns.__file__
    empty = Plan("flush", (Command(("FLUSHALL",)),), len, Effect.IDEMPOTENT)
    with server() as running, Driver.connect(running.url) as driver:
        for page in map(Path, sys.argv[1:]):
            run(page, running.url, lambda: driver.run(empty))
            print(f"{page.name}: {len(examples(page.read_text(encoding='utf-8')))} examples")


if __name__ == "__main__":
    main()
