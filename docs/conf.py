"""How the documentation is built: ``nox -s docs``.

The pages are Markdown. The reference is made of the docstrings: each module that has public names has a page, written
anew with each build, so that a new name needs nothing here. The site asks nothing of the network.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from werkzeug.local import LocalProxy

import redis_patterns
import redis_patterns_core

project = "redis-patterns"
author = "The redis-patterns authors"
project_copyright = author
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_inline_tabs"]

html_theme = "furo"
html_title = "redis-patterns"
html_copy_source = False
html_show_sourcelink = False
html_show_search_summary = False  # it would be fetched, which a browser refuses where the site is a folder

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

default_role = "py:obj"  # `Lock` in a docstring
add_module_names = False
python_use_unqualified_type_names = True
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_numpy_docstring = False
suppress_warnings = ["ref.python"]  # of three drivers called Driver none is meant more than the others

REFERENCE = Path(__file__).parent / "reference"


class Application(Protocol):
    """What is used of Sphinx' application."""

    def connect(self, event: str, callback: Callable[..., None]) -> int:
        """Have something called when something happens."""
        ...


def write_reference(_: Application) -> None:
    """Write the pages of the reference, those that have changed."""
    pages: dict[str, str] = {}
    for found in pkgutil.iter_modules(redis_patterns_core.__path__):
        core = f"redis_patterns_core.{found.name}"
        if names := [name for name in importlib.import_module(core).__all__ if name in redis_patterns.__all__]:
            pages[found.name] = page(found.name.replace("_", " "), core, "redis_patterns", names)
    for found in pkgutil.walk_packages(redis_patterns.__path__, "redis_patterns."):
        public = not any(part.startswith("_") for part in found.name.split("."))
        if public and found.name != "redis_patterns.testing.pytest_plugin":  # whose fixtures are on the page on testing
            pages[found.name] = page(found.name, found.name, found.name, importlib.import_module(found.name).__all__)
    listed = "\n".join(f"   {name}" for name in pages)
    pages["index"] = f"Reference\n=========\n\n.. toctree::\n   :maxdepth: 1\n\n{listed}\n"
    REFERENCE.mkdir(exist_ok=True)
    for path in REFERENCE.glob("*.rst"):
        if path.stem not in pages:
            path.unlink()
    for name, text in pages.items():
        path = REFERENCE / f"{name}.rst"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def page(title: str, described_by: str, imported_from: str, names: list[str]) -> str:
    """Write a page of the reference: the module's own words, and each thing that it offers."""
    lines = [title, "=" * len(title), "", f".. automodule:: {described_by}", "   :no-members:", "   :no-index:", ""]
    lines += [f".. currentmodule:: {imported_from}", ""]
    for name in names:
        thing = getattr(importlib.import_module(imported_from), name)
        if inspect.isclass(thing):
            lines.append(f".. {'autoexception' if issubclass(thing, BaseException) else 'autoclass'}:: {name}")
            # With what it has of bases of ours, and without what it has of others.
            others = [base for base in thing.__mro__ if not base.__module__.startswith("redis_patterns")]
            # Autodoc asks whether things are instances of these, which a protocol of others does not answer.
            if not any(getattr(base, "_is_protocol", False) for base in others if base is not Protocol):
                lines.append(f"   :inherited-members: {', '.join(base.__name__ for base in others)}")
        elif type(thing) is LocalProxy:
            # Outside of a request autodoc can ask it nothing.
            read = importlib.import_module("sphinx.pycode").ModuleAnalyzer.for_module(described_by)
            read.analyze()
            lines += [f".. data:: {name}", f"   :type: {read.annotations['', name]}", ""]
            lines += [f"   {line}" for line in read.attr_docs["", name]]
        else:
            lines.append(f".. {'autofunction' if inspect.isfunction(thing) else 'autodata'}:: {name}")
        lines.append("")
    return "\n".join(lines)


def mark_code(*event: Any) -> None:
    """Mark what is indented in a docstring as code, as Markdown has it and reStructuredText does not."""
    lines: list[str] = event[-1]
    for number in range(2, len(lines)):
        code, blank, before = lines[number], lines[number - 1], lines[number - 2]
        starts = code.startswith("    ") and not blank and before and not before.startswith((" ", ":", ".."))
        if starts and not code.startswith("    >>>"):
            lines[number - 2] = f"{before}:" if before.endswith(":") else f"{before} ::"


def setup(app: Application) -> None:
    """Join Sphinx' build."""
    app.connect("builder-inited", write_reference)
    app.connect("autodoc-process-docstring", mark_code)
