from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from redis_patterns.testing import Server
from tests.benchmarks.charts import SUMMARY, chart
from tests.benchmarks.peers import FOLDER, ROOT
from tests.benchmarks.report import DATA, Measured, Results, files, ordered, text, write
from tests.benchmarks.run import GROUPS, main
from tests.benchmarks.tables import Table, tabulate

DOCS = ROOT / "docs"


def compared(**samples: list[float]) -> Table:
    return tabulate(
        "name",
        "one thing",
        samples,
        ours="ours",
        floor="bare",
        where="same core (1)",
        counted={"ours": {"round trips": 1.0}},
        notes={"peer": "as it comes"},
        absent={"gone": "not installed"},
    )


TABLE = compared(bare=[10.0, 20.0], peer=[15.0, 30.0], ours=[20.0, 40.0])
RESULTS = Results({"Python": "any"}, {"gone": "not installed"}, True, [Measured("g", "Things", "How.", [TABLE])])


def test_the_floor_is_first_and_then_whoever_is() -> None:
    """A peer that is ahead of us stands before us; who is absent comes last."""
    assert [row.subject for row in ordered(TABLE.rows)] == ["bare", "peer", "ours", "gone"]


def test_a_table_on_the_terminal() -> None:
    """Each has its numbers, and the absent ones the reason."""
    lines = text(TABLE).splitlines()
    assert lines[0] == "name: one thing; same core (1), 2 samples"
    assert lines[3].split() == ["peer", "22.5", "18.8", "to", "26.2", "x1.50", "x0.75", "as", "it", "comes"]
    assert lines[4].split()[-4:] == ["x1.00", "round", "trips", "1"]
    assert lines[5].split(maxsplit=1) == ["gone", "absent: not installed"]


def test_a_run_is_written_as_json_a_page_and_charts(tmp_path: Path) -> None:
    """The page has a row for each subject, and a picture for each group; charts of no group are gone."""
    old = tmp_path / "plots" / "bench-old.svg"
    old.parent.mkdir()
    old.write_text("")
    write(RESULTS.written(), tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == [
        "bench-g.svg",
        "bench-summary.svg",
        "benchmarks.json",
        "benchmarks.md",
    ]
    page = (tmp_path / "benchmarks.md").read_text()
    assert "**These figures are those of a short run" in page
    assert "## Things\n\nHow.\n\n![Things: times of ours](plots/bench-g.svg)\n\n### One thing\n" in page
    assert "| peer (as it comes) | 22.5 | 18.8 to 26.2 | x1.50 | x0.75 |  |\n| ours | 30 |" in page
    assert "| gone | absent: not installed |  |  |  |  |\n" in page
    assert Results.read((tmp_path / DATA).read_text()) == RESULTS


def test_a_chart_has_who_is_faster_on_the_left_and_who_is_slower_on_the_right() -> None:
    """Bars begin at the line of ours; ours and the absent have none."""
    fast = compared(bare=[1.0], ours=[4.0], peer=[2.0])
    slow = compared(bare=[1.0], ours=[4.0], peer=[400.0])
    for table, begins in ((fast, False), (slow, True)):
        drawn = ET.fromstring(chart("Things & more", [table]))  # noqa: S314  drawn a moment ago
        line = next(one for one in drawn if one.get("stroke") == "#1a73e8")
        bars = [one for one in drawn if one.get("height") == "12"]
        assert len(bars) == 2
        at_line = float(bars[1].get("x", "")) == float(line.get("x1", ""))
        assert at_line == begins
        said = [one.text for one in drawn if one.text]
        assert {"Things & more", "absent", "4 us"} <= set(said)


def test_the_documentation_is_what_the_figures_give() -> None:
    """The page and the charts are made of docs/benchmarks.json: python tests/benchmarks/run.py --redraw."""
    wanted = files((DOCS / DATA).read_text())
    for path, said in wanted.items():
        assert (DOCS / path).read_text() == said, f"{path}: run python tests/benchmarks/run.py --redraw"
    charts = {f"plots/{path.name}" for path in DOCS.glob("plots/bench-*.svg")}
    assert charts == {path for path in wanted if path.endswith(".svg")}


def test_the_documentation_has_every_group_and_the_summary_every_table() -> None:
    """What is measured is what is told."""
    results = Results.read((DOCS / DATA).read_text())
    assert [group.name for group in results.groups] == [group.name for group in GROUPS]
    names = [table.name for group in results.groups for table in group.tables]
    assert len(set(names)) == len(names)
    assert set(SUMMARY) <= set(names)
    assert all(
        row.value for group in results.groups for table in group.tables for row in table.rows if row.kind != "peer"
    )


LOCKS = [FOLDER / "requirements.txt", *sorted((FOLDER / "peers").glob("*.txt"))]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_peers_are_pinned(lock: Path) -> None:
    """A lock file has a version for each package, those that are asked for among them."""
    pins = lock.read_text().splitlines()
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
    named = {re.sub(r"[-_.]+", "-", pin.partition("==")[0]).lower() for pin in pins}
    asked = re.findall(r"^[\w.-]+", lock.with_suffix(".in").read_text(), re.MULTILINE)
    assert {re.sub(r"[-_.]+", "-", name).lower() for name in asked} <= named


def test_groups_are_listed_and_what_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is measured."""
    assert main(["--list"]) == 0
    assert capsys.readouterr().out.split() == [group.name for group in GROUPS]
    assert main(["--only", "nothing"]) == 2
    assert "--list" in capsys.readouterr().err


def test_a_group_is_measured_alone(redis_server: Server, tmp_path: Path) -> None:
    """On a server of its own: tables on the terminal, and files where they are wanted."""
    words = [sys.executable, str(FOLDER / "run.py"), "--short", "--only", "flags", "--to", str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "REDIS_PATTERNS_SERVER": redis_server.executable}
    done = subprocess.run(words, capture_output=True, check=False, env=env, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "evaluations: one evaluation; " in done.stdout
    results = Results.read((tmp_path / DATA).read_text())
    assert [group.name for group in results.groups] == ["flags"]
    assert {"server", "Python", "redis"} <= set(results.about)
