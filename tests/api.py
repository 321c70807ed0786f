"""The public interface as a text, one line for each name with its type: ``python tests/api.py`` writes ``api.txt``.

A change of it is a change that users see: it needs a line in the changelog, and perhaps another version.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import importlib
import inspect
import pkgutil
import sys
import textwrap
import typing
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import redis_patterns

LIST = Path(__file__).with_name("api.txt")


def render() -> str:
    """Give the text."""
    found = [module.name for module in pkgutil.walk_packages(redis_patterns.__path__, "redis_patterns.")]
    public = [name for name in found if not any(part.startswith("_") for part in name.split("."))]
    # What pytest loads by itself has no names for users to import.
    names = sorted({"redis_patterns", *public} - {"redis_patterns.testing.pytest_plugin"})
    modules = [importlib.import_module(name) for name in names]
    for module in modules:
        inspect.getmembers(module)  # which loads what is loaded when it is asked for
    return "".join(f"{line}\n" for module in modules for line in of_module(module))


def of_module(module: ModuleType) -> Iterator[str]:
    for name in sorted(module.__all__):
        thing, path = getattr(module, name), f"{module.__name__}.{name}"
        if inspect.isclass(thing):
            yield from of_class(path, thing)
        elif inspect.isfunction(thing):
            yield from of_function(path, thing)
        else:
            yield f"{path}{assigned(name)}"


def of_class(path: str, cls: type) -> Iterator[str]:
    bases = [base.__name__ for base in cls.__mro__[1:] if not ours(base) and base not in {object, typing.Generic}]
    kind = f" [{', '.join(bases)}]" if bases else ""
    if issubclass(cls, enum.Enum):
        yield f"class {path}{kind}"
        yield from (f"{path}.{member.name} = {member.value!r}" for member in cls)
        return
    own = any(ours(base) and "__init__" in vars(base) for base in cls.__mro__)
    built = "" if getattr(cls, "_is_protocol", False) or not own else signature(cls).removesuffix(" -> None")
    yield f"class {path}{built}{kind}"
    members: dict[str, list[str]] = {}
    for base in reversed(cls.__mro__):
        if ours(base):
            for name, annotation in attributes(base):
                members[name] = [f"{path}.{name}{annotation}"]
            for name, member in vars(base).items():
                if not name.startswith("_") and (lines := list(of_member(f"{path}.{name}", member))):
                    members[name] = lines
    for name in sorted(members):
        yield from members[name]


def of_member(path: str, member: object) -> Iterator[str]:
    if isinstance(member, property) and member.fget is not None:
        yield f"{path}: {inspect.signature(member.fget).return_annotation}"
    elif isinstance(member, classmethod | staticmethod):
        yield from of_function(path, member.__func__, type(member).__name__ + " ")
    elif inspect.isfunction(member):
        yield from of_function(path, member)


def of_function(path: str, function: Callable[..., Any], kind: str = "") -> Iterator[str]:
    kind += "async " if inspect.iscoroutinefunction(function) else ""
    for form in typing.get_overloads(function) or [function]:
        yield f"{kind}{path}{signature(form)}"


def attributes(cls: type) -> Iterator[tuple[str, str]]:
    """What an object has beside methods: fields, and what its ``__init__`` sets, by name with a type."""
    initial = (
        {field.name for field in dataclasses.fields(cls) if field.init} if dataclasses.is_dataclass(cls) else set()
    )
    for name, annotation in vars(cls).get("__annotations__", {}).items():
        if not name.startswith("_") and name not in initial:
            yield name, f": {annotation}"
    if dataclasses.is_dataclass(cls) or not inspect.isfunction(vars(cls).get("__init__")):
        return
    (made,) = ast.parse(textwrap.dedent(inspect.getsource(vars(cls)["__init__"]))).body
    taken = {one.arg: one.annotation for one in ast.walk(made) if isinstance(one, ast.arg)}
    for node in ast.walk(made):
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            if isinstance(target, ast.Attribute) and not target.attr.startswith("_"):
                known = node.annotation if isinstance(node, ast.AnnAssign) else None
                if known is None and isinstance(node.value, ast.Name):
                    known = taken.get(node.value.id)
                yield target.attr, f": {ast.unparse(known)}" if known is not None else ""


def signature(of: Callable[..., Any]) -> str:
    """Write a signature as its source does."""
    found = inspect.signature(of)
    parameters = [
        parameter.replace(annotation=annotated(parameter.annotation), default=defaulted(parameter.default))
        for parameter in found.parameters.values()
    ]
    text = str(found.replace(parameters=parameters, return_annotation=annotated(found.return_annotation)))
    # What @flow makes of a generator of steps.
    return text.replace("-> Steps[", "-> Flow[") if hasattr(of, "__wrapped__") else text


class Shown:
    """Something that is written so."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def annotated(annotation: object) -> object:
    return Shown(annotation) if isinstance(annotation, str) else annotation


def defaulted(default: object) -> object:
    if default is inspect.Parameter.empty or not (callable(default) or type(default) is object):
        return default
    return Shown(getattr(default, "__name__", "..."))  # without an address


@cache
def assignments() -> dict[str, str]:
    """What is assigned to names at the top of our modules, as their sources say."""
    found: dict[str, str] = {}
    for module in list(sys.modules.values()):
        if module.__name__.startswith("redis_patterns") and module.__file__:
            for node in ast.parse(Path(module.__file__).read_text(encoding="utf-8")).body:
                if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                    value = f" = {ast.unparse(node.value)}" if node.value else ""
                    found.setdefault(node.target.id, f": {ast.unparse(node.annotation)}{value}")
                elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    found.setdefault(node.targets[0].id, f" = {ast.unparse(node.value)}")
    return found


def assigned(name: str) -> str:
    return assignments()[name]


def ours(cls: type) -> bool:
    return cls.__module__.startswith("redis_patterns")


if __name__ == "__main__":
    LIST.write_text(render(), encoding="utf-8")
