"""Cookies: one that names a session, read and written.

Promises: what is deleted is what was set, as both have the same attributes; by default no script reads it, no plain
connection carries it, no other host, neither a subdomain nor its parent, can set it, and no other site's form sends it.

Source: RFC 6265bis (draft-ietf-httpbis-rfc6265bis-20), its section 4.1.3 for prefixes of names.
"""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass
from typing import Literal

from redis_patterns_core import validate
from redis_patterns_core.errors import ConfigurationError

__all__ = ["Cookie"]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]*", re.ASCII)
_ATTRIBUTE = re.compile(r"[\x20-\x3a\x3c-\x7e]+", re.ASCII)
_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Cookie:
    """What a cookie is called, and where browsers send it.

    Parameters:
        name: without the prefix that it gets: ``__Host-`` where it is secure, for all paths and for this host alone,
            else ``__Secure-`` where it is secure.
        path: for which paths it is sent.
        domain: for which domain and all its subdomains; ``None``, which is safer, for this host alone.
        secure: only over TLS, or to localhost.
        same_site: ``strict``; ``lax``, which sends it when one follows a link from elsewhere; ``none``, also with
            requests that another site makes.
        persistent: whether it outlives the browser; until the session ends.

    Raises:
        ConfigurationError: a text that no cookie can have, or ``none`` without `secure`.
    """

    name: str = "session"
    _: KW_ONLY
    path: str = "/"
    domain: str | None = None
    secure: bool = True
    same_site: Literal["strict", "lax", "none"] = "lax"
    persistent: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _TOKEN.fullmatch(self.name) or self.name.startswith("__"):
            raise ConfigurationError(
                f"name must be a token that does not begin with __, not {validate.shown(self.name)}"
            )
        if not isinstance(self.path, str) or not self.path.startswith("/") or not _ATTRIBUTE.fullmatch(self.path):
            raise ConfigurationError(f"path must begin with / and have no semicolon, not {validate.shown(self.path)}")
        if self.domain is not None and not (isinstance(self.domain, str) and _TOKEN.fullmatch(self.domain)):
            raise ConfigurationError(f"domain must be a host's name, not {validate.shown(self.domain)}")
        if self.same_site not in ("strict", "lax", "none"):
            raise ConfigurationError(f"same_site must be strict, lax or none, not {validate.shown(self.same_site)}")
        if self.same_site == "none" and not self.secure:
            raise ConfigurationError("same_site must not be none without secure: browsers refuse such a cookie")

    @property
    def full_name(self) -> str:
        """Its name with the prefix by which browsers know how it must have been set."""
        if not self.secure:
            return self.name
        return f"__Host-{self.name}" if self.path == "/" and self.domain is None else f"__Secure-{self.name}"

    def read(self, header: str | None) -> str | None:
        """Find its value in a request's Cookie header; ``None`` where it is not there.

        Parameters:
            header: the header's value; several joined by semicolons, never by commas, which cookies may have in them.
        """
        name = self.full_name
        for part in (header or "").split(";"):
            before, _, value = part.partition("=")
            if before.strip() == name and len(value) <= _LONGEST:
                return value.strip().strip('"')
        return None

    def write(self, value: str, lives_for: float) -> str:
        """Give the Set-Cookie header that sets it.

        Parameters:
            value: of a cookie's characters.
            lives_for: seconds until the session ends.

        Raises:
            ConfigurationError: a value with other characters.
        """
        if not _VALUE.fullmatch(value):
            raise ConfigurationError("value must have only characters that a cookie may have")
        return self._header(value, max(0, int(lives_for)) if self.persistent else None)

    def delete(self) -> str:
        """Give the Set-Cookie header that removes it."""
        return self._header("", 0)

    def _header(self, value: str, max_age: int | None) -> str:
        parts = [f"{self.full_name}={value}", f"Path={self.path}"]
        if self.domain is not None:
            parts.append(f"Domain={self.domain}")
        if max_age is not None:
            parts.append(f"Max-Age={max_age}")
        parts.append("HttpOnly")
        if self.secure:
            parts.append("Secure")
        parts.append(f"SameSite={self.same_site.capitalize()}")
        return "; ".join(parts)
