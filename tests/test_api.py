"""The public interface does not change unseen."""

from __future__ import annotations

from tests import api


def test_the_public_interface_is_the_one_that_is_written_down() -> None:
    """Names, parameters, defaults, types and bases are those of ``api.txt``."""
    assert api.render() == api.LIST.read_text(encoding="utf-8"), "run: python tests/api.py, and say so in CHANGELOG.md"
