"""The public interface does not change unseen."""

from __future__ import annotations

import pkgutil

import redis_patterns
from tests import api


def test_the_public_interface_is_the_one_that_is_written_down() -> None:
    """Names, parameters, defaults, types and bases are those of ``api.txt``."""
    assert api.render() == api.LIST.read_text(encoding="utf-8"), "run: python tests/api.py, and say so in CHANGELOG.md"


def test_every_public_module_is_listed() -> None:
    """No module that users may import is missing, but for what pytest and the command line load by themselves."""
    found = {
        module.name
        for module in pkgutil.walk_packages(redis_patterns.__path__, "redis_patterns.")
        if not any(part.startswith("_") for part in module.name.split("."))
    }
    assert found | {"redis_patterns"} == {*api.MODULES, "redis_patterns.testing.pytest_plugin"}
