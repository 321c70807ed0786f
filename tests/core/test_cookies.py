"""Cookies: their names, what is set and removed, what is read."""

from __future__ import annotations

from typing import Any

import pytest

from redis_patterns import ConfigurationError, Cookie


@pytest.mark.parametrize(
    ("cookie", "written"),
    [
        (Cookie(), "__Host-session=abc; Path=/; Max-Age=59; HttpOnly; Secure; SameSite=Lax"),
        (Cookie(persistent=False), "__Host-session=abc; Path=/; HttpOnly; Secure; SameSite=Lax"),
        (Cookie("id", path="/app"), "__Secure-id=abc; Path=/app; Max-Age=59; HttpOnly; Secure; SameSite=Lax"),
        (
            Cookie(domain="example.org", same_site="none"),
            "__Secure-session=abc; Path=/; Domain=example.org; Max-Age=59; HttpOnly; Secure; SameSite=None",
        ),
        (Cookie(secure=False, same_site="strict"), "session=abc; Path=/; Max-Age=59; HttpOnly; SameSite=Strict"),
    ],
)
def test_what_is_set_and_removed(cookie: Cookie, written: str) -> None:
    """The name says how it is set; what removes it has the same attributes, or browsers would not."""
    assert cookie.write("abc", 59.9) == written
    removal = cookie.delete()
    assert removal.startswith(f"{cookie.full_name}=; ")

    def attributes(header: str) -> set[str]:
        return {part for part in header.split("; ")[1:] if not part.startswith("Max-Age")}

    assert attributes(removal) == attributes(written)
    assert "Max-Age=0" in removal


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (None, None),
        ("", None),
        ("__Host-session=abc", "abc"),
        ("a=1; __Host-session=abc; b=2", "abc"),
        ('__Host-session="abc"', "abc"),
        ("__Host-session=abc; __Host-session=def", "abc"),
        ("a=1,__Host-session=planted; __Host-session=abc", "abc"),
        ("session=abc", None),
        ("x__Host-session=abc", None),
        ("__Host-session", ""),
        ("__Host-session=" + "a" * 5000, None),
        ("=;;;= ;", None),
    ],
)
def test_what_is_read(header: str | None, found: str | None) -> None:
    """The first of that name; what another cookie's value pretends to be is not it."""
    assert Cookie().read(header) == found


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": ""}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": "a=b"}, "name"),
        ({"name": "__Host-x"}, "name"),
        ({"path": "x"}, "path"),
        ({"path": "/;x"}, "path"),
        ({"domain": "a;b"}, "domain"),
        ({"same_site": "maybe"}, "same_site"),
        ({"same_site": "none", "secure": False}, "without secure"),
    ],
)
def test_cookies_refuse_nonsense(wrong: dict[str, Any], said: str) -> None:
    """When they are built."""
    with pytest.raises(ConfigurationError, match=said):
        Cookie(**wrong)


def test_a_cookie_of_what_has_ended() -> None:
    """It lives for no time, and never for less."""
    assert "; Max-Age=0; " in Cookie().write("abc", -1.5)
    assert "; Max-Age=0; " in Cookie().write("abc", 0.9)


def test_a_value_that_would_end_the_cookie() -> None:
    """It is refused, and not told."""
    with pytest.raises(ConfigurationError) as caught:
        Cookie().write("secret; Domain=evil.example", 1)
    assert "secret" not in str(caught.value)
