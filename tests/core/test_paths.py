from __future__ import annotations

import pytest

from redis_patterns_core.paths import matching


@pytest.mark.parametrize(
    ("paths", "inside", "outside"),
    [
        ("*", ["", "/", "/a", "/a/b"], []),
        ("/*", ["", "/", "/a", "/a/b"], []),
        ("/account/*", ["/account", "/account/", "/account/a/b"], ["/", "/accounts", "/a/account/b", "/account-old"]),
        ("/account*", ["/account", "/accounts", "/account/a"], ["/acc"]),
        (["/health", "/static/*"], ["/health", "/static", "/static/a.css"], ["/healthy", "/a"]),
        ("/a[12]/*", ["/a1", "/a2/x"], ["/a3", "/a3/x"]),
    ],
)
def test_paths(paths: str | list[str], inside: list[str], outside: list[str]) -> None:
    """A pattern of what is inside is one of the door too, and of nothing beside it."""
    matches = matching(paths)
    assert [path for path in inside if not matches(path)] == []
    assert [path for path in outside if matches(path)] == []
