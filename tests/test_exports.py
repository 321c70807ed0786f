from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import redis_patterns
import redis_patterns_core
import redis_patterns_core.locks

CORE = sorted(module.name for module in pkgutil.iter_modules(redis_patterns_core.__path__))


def test_the_front_door_is_the_core() -> None:
    """``redis_patterns`` offers the core's public names, the same objects, and nothing else."""
    assert redis_patterns.__all__ == redis_patterns_core.__all__
    for name in redis_patterns.__all__:
        assert getattr(redis_patterns, name) is getattr(redis_patterns_core, name)


def test_the_public_names_are_sorted_and_exist() -> None:
    """``__all__`` is complete: what it names type checkers import, and is where it is looked for at run time."""
    names = redis_patterns_core.__all__
    assert names == sorted(set(names), key=lambda name: (not name.isupper(), name))  # as ruff sorts them
    tree = ast.parse(Path(redis_patterns_core.__file__).read_text())
    imported = {
        (node.module.removeprefix("redis_patterns_core."), alias.asname or alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and node.module is not None
        and node.module.startswith("redis_patterns_core")
        for alias in node.names
    }
    homes = {(home, name) for home, those in redis_patterns_core.HOMES.items() for name in those}
    assert imported == homes | {("front", "front")}
    assert sorted(name for _, name in homes) == sorted(names)


@pytest.mark.parametrize("front", [redis_patterns, redis_patterns_core])
def test_a_front_is_like_any_package(front: ModuleType) -> None:
    """``dir``, ``inspect`` and an unknown name behave as where all is imported at once."""
    assert set(redis_patterns.__all__) < set(dir(front))
    assert dict(inspect.getmembers(front))["Lock"] is redis_patterns_core.locks.Lock
    with pytest.raises(AttributeError, match=f"^module '{front.__name__}' has no attribute 'Lokc'$") as caught:
        _ = front.Lokc
    assert (caught.value.name, caught.value.obj) == ("Lokc", front)
    with pytest.raises(ImportError, match="cannot import name 'Lokc'"):
        exec(f"from {front.__name__} import Lokc")  # noqa: S102  ours


@pytest.mark.parametrize("name", CORE)
def test_a_module_says_what_it_offers(name: str) -> None:
    """Each module of the core has an ``__all__`` of things that are its own."""
    module = importlib.import_module(f"redis_patterns_core.{name}")
    assert len(module.__all__) == len(set(module.__all__))
    for public in module.__all__:
        thing = getattr(module, public)
        if (inspect.isclass(thing) and thing is not object) or inspect.isfunction(thing):
            assert thing.__module__ == module.__name__


@pytest.mark.parametrize(
    "make",
    [
        lambda: redis_patterns.Cache[int]("x", ttl=1),
        lambda: redis_patterns.WriteBehind[int]("x", ttl=1),
        lambda: redis_patterns.Once[int]("x"),
        lambda: redis_patterns.FifoQueue[int]("x"),
        lambda: redis_patterns.PriorityQueue[int]("x"),
        lambda: redis_patterns.DelayedQueue[int]("x"),
        lambda: redis_patterns.Compressed[int](redis_patterns.Json()),
        lambda: redis_patterns.MemberData[int](redis_patterns.Leaderboard("x")),
    ],
)
def test_a_pattern_of_a_type_can_be_built(make: Callable[[], Any]) -> None:
    """``Cache[int](...)`` works: Python 3.11 cannot do that with a frozen dataclass that has slots."""
    assert repr(make())


@pytest.mark.parametrize("name", redis_patterns.__all__)
def test_what_is_public_is_documented(name: str) -> None:
    """Every public class and function, and each public method of a class, has a docstring."""
    thing = getattr(redis_patterns, name)
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        return
    assert inspect.getdoc(thing), name
    if inspect.isclass(thing) and thing.__module__.startswith("redis_patterns"):
        for method, function in vars(thing).items():
            if inspect.isfunction(function) and not method.startswith("_"):
                assert inspect.getdoc(function), f"{name}.{method}"


@pytest.mark.parametrize("driver", ["sync", "asyncio", "trio"])
def test_a_driver_module_offers_its_driver(driver: str) -> None:
    """Each driver module has one public name."""
    module = importlib.import_module(f"redis_patterns.{driver}")
    assert module.__all__ == ["Driver"]
    assert inspect.getdoc(module.Driver.connect)
