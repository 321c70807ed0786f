"""Mutation testing of the core: ``nox -s mutants -- retry flow``, or ``-- lua``; without arguments, all of it.

A mutant is a module or a script of the core with one thing changed. A test that fails kills it; one that survives is
shown: it means the same, or a test is missing, or the code is not needed.

There are tools for this, but mutmut leaves decorated functions alone, which all our flows and properties are, and
cosmic-ray starts pytest anew for each mutant, which takes longer than our tests do. Here the tests are collected once,
and one run of them finds out which functions and scripts each of them reaches. Then each mutant has a process of its
own, a fork, in which the functions get the changed code, and the tests that reach them run, the quickest first, until
one fails or their time is up.

What runs when a module is imported is not mutated: constants, defaults and decorators.
"""

from __future__ import annotations

import argparse
import ast
import copy
import functools
import gc
import math
import os
import random
import re
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, TypeAlias

import hypothesis
import pytest

import redis_patterns_core
from redis_patterns import Command, Script

PACKAGE = Path(redis_patterns_core.__file__).parent
ROOT = Path(__file__).parent.parent
FACE = re.compile(r"\[asyncio-own(?:-(?!on-cluster).+)?\]$")
"""The column of the conformance suite that runs beside the core's tests: without a socket, in one thread."""

HANGS = 5
"""A mutant counts as killed when its tests take so many times as long as they may."""

Place: TypeAlias = tuple[str, str, int]
"""A function by its file, its qualified name and its first line; a script as its name, "" and 0."""


@dataclass(frozen=True)
class Mutant:
    """Something changed.

    Parameters:
        place: the function or the script that is changed.
        line: where.
        shown: what was changed into what.
        apply: makes the change in this process.
    """

    place: Place
    line: int
    shown: str
    apply: Callable[[], None]


class Changes(ast.NodeVisitor):
    """Collects what can be changed in a module: each change is made on the tree, and taken back."""

    OPERATORS: tuple[tuple[type[ast.AST], type[ast.AST]], ...] = (
        (ast.Lt, ast.LtE),
        (ast.LtE, ast.Lt),
        (ast.Gt, ast.GtE),
        (ast.GtE, ast.Gt),
        (ast.Eq, ast.NotEq),
        (ast.NotEq, ast.Eq),
        (ast.Is, ast.IsNot),
        (ast.IsNot, ast.Is),
        (ast.In, ast.NotIn),
        (ast.NotIn, ast.In),
        (ast.And, ast.Or),
        (ast.Or, ast.And),
        (ast.Add, ast.Sub),
        (ast.Sub, ast.Add),
        (ast.Mult, ast.Add),
        (ast.Div, ast.Mult),
        (ast.FloorDiv, ast.Mult),
        (ast.Mod, ast.Add),
        (ast.LShift, ast.RShift),
        (ast.RShift, ast.LShift),
        (ast.BitAnd, ast.BitOr),
        (ast.BitOr, ast.BitAnd),
        (ast.BitXor, ast.BitOr),
        (ast.Pow, ast.Mult),
    )
    EFFECTS = ("READS", "IDEMPOTENT", "ONCE")

    def __init__(self) -> None:
        self.found: list[tuple[ast.AST, str, Any]] = []
        self._inside = False

    def visit(self, node: ast.AST) -> None:
        """Add what can be changed in a node, and in those below it."""
        if isinstance(node, ast.FunctionDef):
            outer, self._inside = self._inside, True
            for statement in node.body:  # neither its decorators nor its defaults
                self.visit(statement)
            self._inside = outer
            return
        if self.leave(node):
            return
        if self._inside:
            self.found += [(node, name, value) for name, value in self._changes(node)]
        for name, value in ast.iter_fields(node):
            if name in {"annotation", "returns"} or (isinstance(node, ast.Raise) and name in {"exc", "cause"}):
                continue  # messages are for people
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    self.visit(child)

    @staticmethod
    def leave(node: ast.AST) -> bool:
        return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)  # a docstring

    def _changes(self, node: ast.AST) -> Iterator[tuple[str, Any]]:
        for before, after in self.OPERATORS:
            if isinstance(node, ast.Compare) and isinstance(node.ops[0], before):
                yield "ops", [after(), *node.ops[1:]]
            elif isinstance(node, ast.Compare) and len(node.ops) > 1 and isinstance(node.ops[1], before):
                yield "ops", [node.ops[0], after(), *node.ops[2:]]
            elif isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp) and isinstance(node.op, before):
                yield "op", after()
        match node:
            case ast.UnaryOp(op=ast.Not()):
                yield "op", ast.UAdd()  # shown as +, and read as bool() below
            case ast.If() | ast.IfExp():
                yield "test", ast.UnaryOp(ast.Not(), node.test)
            case ast.comprehension() if node.ifs:
                yield "ifs", []
            case ast.Constant(value=bool() as held):
                yield "value", not held
            case ast.Constant(value=int() | float() as number):
                yield "value", number + 1
                yield "value", number - 1
            case ast.Constant(value=str() | bytes() as text) if text:
                yield "value", text[:0]
            case ast.Attribute(value=ast.Name(id="Effect")) if node.attr in self.EFFECTS:
                yield "attr", self.EFFECTS[self.EFFECTS.index(node.attr) - 1]
            case ast.Return() if node.value is not None and not _is_none(node.value):
                yield "value", ast.Constant(None)
            case ast.Expr() | ast.Raise() | ast.AugAssign():
                yield "removed", True
            case ast.Call() if node.keywords:
                for keyword in node.keywords:
                    yield "keywords", [other for other in node.keywords if other is not keyword]
            case _:
                pass


class Removal(ast.NodeTransformer):
    """Makes a changed tree one that compiles: what is marked as removed is left out, and ``+x`` of a ``not x`` is x."""

    def __init__(self, removed: ast.AST | None, bare: ast.AST | None) -> None:
        self.removed, self.bare = removed, bare

    def visit(self, node: ast.AST) -> Any:
        """Give what stands for a node."""
        if node is self.removed:
            return ast.copy_location(ast.Pass(), node)
        if node is self.bare:
            assert isinstance(node, ast.UnaryOp)
            return node.operand
        return self.generic_visit(node)


class Telling(ast.NodeTransformer):
    """Makes each function of a module tell that it was called."""

    def __init__(self, file: str) -> None:
        self.file = Path(file).name
        self.names: list[str] = []

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """Go on within a class."""
        self.names.append(node.name)
        self.generic_visit(node)
        self.names.pop()
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Add the line, and go on within the function."""
        line = min([node.lineno, *(one.lineno for one in node.decorator_list)])
        name = ".".join([*self.names, node.name])
        place = ast.Tuple([ast.Constant(self.file), ast.Constant(name), ast.Constant(line)], ast.Load())
        self.names += [node.name, "<locals>"]
        self.generic_visit(node)
        del self.names[-2:]
        told = ast.Expr(ast.Call(ast.Name("_reached", ast.Load()), [place], []))
        node.body.insert(0, ast.copy_location(told, node.body[0]))
        return node


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def codes(code: CodeType) -> Iterator[CodeType]:
    """Give a code object and all those within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


def place_of(code: CodeType) -> Place:
    """Name the function that a code object is of."""
    return (Path(code.co_filename).name, code.co_qualname, code.co_firstlineno)


def swap(path: Path, tree: ast.Module) -> None:
    """Give the functions of a module the code of a changed tree."""
    new = {place_of(code): code for code in codes(compile(tree, str(path), "exec"))}
    for thing in gc.get_objects():
        if isinstance(thing, FunctionType) and thing.__code__.co_filename == str(path):
            code = new.get(place_of(thing.__code__))
            if code is not None and code != thing.__code__:
                thing.__code__ = code
        elif isinstance(thing, functools._lru_cache_wrapper):
            thing.cache_clear()


def of_python(path: Path) -> Iterator[Mutant]:
    """Give the mutants of a module."""
    tree = ast.parse(path.read_text())
    changes = Changes()
    changes.visit(tree)
    functions = [code for code in codes(compile(tree, str(path), "exec")) if not code.co_name.startswith("<")]
    for node, name, value in changes.found:
        line = getattr(node, "lineno", 0) or node.target.lineno  # type: ignore[attr-defined]  # a comprehension
        # The innermost function that begins before the line: those within it are part of its code.
        inside = max(
            (code for code in functions if code.co_firstlineno <= line and line in _lines(code)),
            key=lambda code: code.co_firstlineno,
            default=None,
        )
        if inside is None:
            continue
        before = ast.unparse(node)
        old = getattr(node, name, None)
        setattr(node, name, value)
        removed = node if name == "removed" else None
        bare = node if isinstance(node, ast.UnaryOp) and isinstance(value, ast.UAdd) else None
        marked = {id(one): place for place, one in enumerate(ast.walk(tree))}
        changed = copy.deepcopy(tree)
        nodes = list(ast.walk(changed))
        removal = Removal(
            nodes[marked[id(removed)]] if removed else None,
            nodes[marked[id(bare)]] if bare else None,
        )
        changed = ast.fix_missing_locations(removal.visit(changed))
        after = "nothing" if removed else ast.unparse(bare.operand if bare else node)
        if old is None:
            delattr(node, name)
        else:
            setattr(node, name, old)
        yield Mutant(
            place_of(inside), line, f"{_short(before)}  ->  {_short(after)}", functools.partial(swap, path, changed)
        )


def _lines(code: CodeType) -> range:
    lines = [line for one in codes(code) for _, _, line in one.co_lines() if line is not None]
    return range(code.co_firstlineno, max(lines) + 1)


def _short(text: str) -> str:
    return " ".join(text.split())[:110]


LUA: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = tuple(
    (re.compile(before), after)
    for before, after in (
        (r" < ", " <= "),
        (r" <= ", " < "),
        (r" > ", " >= "),
        (r" >= ", " > "),
        (r" == ", " ~= "),
        (r" ~= ", " == "),
        (r" \+ ", " - "),
        (r" - ", " + "),
        (r" \* ", " + "),
        (r" / ", " * "),
        (r" and ", " or "),
        (r" or ", " and "),
        (r"\bnot ", ""),
        (r"\btrue\b", "false"),
        (r"\bmath\.(min)\b", "math.max"),
        (r"\bmath\.(max)\b", "math.min"),
        (r"\bmath\.(floor)\b", "math.ceil"),
        (r"\bif (.*) then", r"if not (\1) then"),
        (r"(?<![\w.\[%])(\d+)(?![\w.\]])", lambda found: str(int(found[1]) + 1)),
        (r"(?<![\w.\[%])([1-9]\d*)(?![\w.\]])", lambda found: str(int(found[1]) - 1)),
        (r"^\s*(redis\.)?call\(.*\)$", ""),
        (r"^\s*[\w.\[\]]+ = .*$", ""),
    )
)
"""What is changed in a line of Lua: its form is the formatter's of the scripts, so text will do."""


def of_lua(path: Path) -> Iterator[Mutant]:
    """Give the mutants of a script."""
    lines = path.read_text().splitlines(keepends=True)
    for number, line in enumerate(lines):
        text, dashes, comment = line.partition("--")
        for before, after in LUA:
            for found in before.finditer(text.rstrip("\n") if not dashes else text):
                put = after(found) if callable(after) else found.expand(after)
                changed = text[: found.start()] + put + text[found.end() :]
                source = "".join([*lines[:number], changed + dashes + comment, *lines[number + 1 :]])
                shown = f"{_short(text)}  ->  {_short(changed) or 'nothing'}"
                yield Mutant((path.stem, "", 0), number + 1, shown, functools.partial(rewrite, path.stem, source))


def rewrite(name: str, source: str) -> None:
    """Give a script another source."""
    other = Script(name, source)
    for thing in gc.get_objects():
        if isinstance(thing, Script) and thing.name == name:
            object.__setattr__(thing, "source", other.source)
            object.__setattr__(thing, "sha", other.sha)


class Run:
    """The plugin of pytest that runs the mutants instead of the tests.

    Parameters:
        names: of modules, ``lua`` for all scripts, or ``lua/NAME``; none for all.
        most: how many mutants to try of each, chosen at random by a seed that is its name.
        patience: how many seconds the tests of one mutant may take together; what needs longer is left out, the slowest
            first.
    """

    def __init__(self, names: list[str], most: int, patience: float) -> None:
        self.names, self.most, self.patience = names, most, patience
        self.reached: dict[Place, list[pytest.Item]] = defaultdict(list)
        self.seconds: dict[str, float] = {}
        self.failed = False

    def files(self) -> list[Path]:
        """Give the files to mutate."""
        python = sorted(PACKAGE.glob("*.py"))
        lua = sorted(PACKAGE.glob("lua/*.lua"))
        known = {path.stem: [path] for path in python} | {f"lua/{path.stem}": [path] for path in lua} | {"lua": lua}
        if unknown := set(self.names) - set(known):
            raise pytest.UsageError(f"no module or script of the core: {', '.join(sorted(unknown))}")
        return [path for name in self.names for path in known[name]] or [*python, *lua]

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if "tests/core/" in item.nodeid or FACE.search(item.nodeid)]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed |= report.failed

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise session.Interrupted("tests cannot be collected")
        self.look(session.items)
        total: Counter[str] = Counter()
        for path in self.files():
            name = path.stem if path.suffix == ".py" else f"lua/{path.stem}"
            mutants = list(of_python(path) if path.suffix == ".py" else of_lua(path))
            chosen = sorted(random.Random(name).sample(range(len(mutants)), min(len(mutants), self.most)))
            count: Counter[str] = Counter()
            for mutant in (mutants[number] for number in chosen):
                verdict = self.verdict(mutant)
                count[verdict] += 1
                if verdict != "killed":
                    print(f"  {verdict}: {name}:{mutant.line}: {mutant.shown}", flush=True)
            total += count
            print(f"{name}: {_told(count)}, of {len(mutants)}", flush=True)
        print(f"all: {_told(total)}", flush=True)
        return True

    def look(self, items: list[pytest.Item]) -> None:
        """Run the tests once, and remember how long each takes and what it reaches."""
        here: set[Place] = set()
        made = Command.__init__

        def make(command: Command, args: Any, script: Script | None = None, slot: int | None = None) -> None:
            if script is not None:
                here.add((script.name, "", 0))
            made(command, args, script, slot)

        for name, module in list(sys.modules.items()):
            if name.startswith(f"{PACKAGE.name}.") and module.__file__ is not None:
                vars(module)["_reached"] = here.add
                tree = Telling(module.__file__).visit(ast.parse(Path(module.__file__).read_text()))
                swap(Path(module.__file__), ast.fix_missing_locations(tree))
        Command.__init__ = make  # type: ignore[method-assign, assignment]
        for item in items:
            here.clear()
            began = time.monotonic()
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            self.seconds[item.nodeid] = time.monotonic() - began
            if self.failed:
                raise pytest.UsageError(f"{item.nodeid} fails without a mutant")
            for place in here:
                self.reached[place].append(item)
        Command.__init__ = made  # type: ignore[method-assign]
        for place, tests in self.reached.items():
            # Those that are named after it first, as hundreds may reach it.
            name = f"test_{place[0].removesuffix('.py')}"
            tests.sort(key=lambda item: (name not in item.nodeid, self.seconds[item.nodeid]))
        print(f"{len(items)} tests reach {len(self.reached)} functions and scripts", flush=True)

    def verdict(self, mutant: Mutant) -> str:
        """Run the tests that reach a mutant, in a process of their own."""
        tests = self.reached.get(mutant.place)
        if not tests:
            return "not reached"
        child = os.fork()
        if child == 0:
            code = 1
            try:
                signal.alarm(math.ceil(HANGS * self.patience))
                null = os.open(os.devnull, os.O_RDWR)
                for number in range(3):
                    os.dup2(null, number)
                mutant.apply()
                left = self.patience
                for item in tests:
                    left -= self.seconds[item.nodeid]
                    if left < 0:
                        break
                    item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
                    if self.failed:
                        break
                code = 1 if self.failed else 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        return "killed" if status else "survived"


def _told(count: Counter[str]) -> str:
    return ", ".join(f"{count[verdict]} {verdict}" for verdict in ("killed", "survived", "not reached"))


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description="Mutation testing of the core")
    parser.add_argument("names", nargs="*", help="modules such as retry, scripts such as lua/lock_acquire, or lua")
    parser.add_argument("--most", type=int, default=150, help="mutants of each, chosen at random: %(default)s")
    parser.add_argument("--seconds", type=float, default=6.0, help="for the tests of one mutant: %(default)s")
    parser.add_argument(
        "--tests", nargs="+", default=["tests/core", "tests/drivers"], help="files of tests, where not all are wanted"
    )
    asked = parser.parse_args()
    # The same examples each time, and none remembered from a mutant.
    hypothesis.settings.register_profile("mutants", derandomize=True, database=None, deadline=None)
    hypothesis.settings.load_profile("mutants")
    words = [*asked.tests, "-q", "-s", "-p", "no:cacheprovider"]
    words += ["-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"]
    return pytest.main(["--rootdir", str(ROOT), *words], plugins=[Run(asked.names, asked.most, asked.seconds)])


if __name__ == "__main__":
    sys.exit(main())
