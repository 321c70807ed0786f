"""What rate limits mean over HTTP: whose request it is, which rule it falls under, headers and refusals. Pure.

Promises: an address is only taken from a header that a trusted proxy wrote; a secret by which clients are told apart is
hashed before it becomes part of a key; what headers say never invites a client to come too early or too fast.

Source: draft-ietf-httpapi-ratelimit-headers-10 for RateLimit and RateLimit-Policy (-11 keeps their parameters), RFC
9651 for their syntax, RFC 9110 for Retry-After, RFC 9457 for the body, RFC 7239 for Forwarded.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, TypeAlias

from redis_patterns_core import validate
from redis_patterns_core.decisions import Decision
from redis_patterns_core.errors import ConfigurationError
from redis_patterns_core.flow import Flow
from redis_patterns_core.paths import matching
from redis_patterns_core.plan import Plan
from redis_patterns_core.rate_limits import Limit, Limiter
from redis_patterns_core.validate import Duration
from redis_patterns_core.value import value
from redis_patterns_core.windows import FixedWindow

__all__ = ["ClientAddress", "HeaderKey", "RateLimits", "Refusal", "Request", "Rule", "problem", "rate_limit_headers"]

Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"
Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"

# The draft's parameter names; a later revision may rename them, and then it is here.
_QUOTA, _WINDOW, _REMAINING, _UNTIL = "q", "w", "r", "t"
_QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
_REDUCED_CAPACITY = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
_FORWARDED_FOR = re.compile(r'(?:^|;)\s*for\s*=\s*(?:"([^"]*)"|([^;\s]*))', re.IGNORECASE)
_NAME = re.compile(r"[\x20-\x7e]+")


@value
class Request:
    """What rules are about.

    Parameters:
        method: such as ``GET``, in upper case; ``WEBSOCKET`` for the opening of a websocket.
        path: decoded, without the query.
        headers: names in lower case and values, in the order in which they came.
        peer: the address at the other end of the socket; ``None`` where there is none, as on a unix socket.
        native: the ASGI scope or the WSGI environ, for functions of yours.
    """

    method: str
    path: str
    headers: Sequence[tuple[str, str]] = field(repr=False)
    peer: str | None
    native: Any = field(default=None, repr=False, compare=False)

    def header(self, name: str) -> str | None:
        """Give a header's value, its lines joined by commas; ``None`` where there is none."""
        name = name.lower()
        values = [value for other, value in self.headers if other == name]
        return ", ".join(values) if values else None


class ClientAddress:
    """A key: the client's address.

    It is that of the socket's other end unless that is a proxy of yours: then the header's addresses are walked from
    the right, which the nearest proxy wrote, to the left, which anybody may have written, up to the first that is no
    proxy's.

    Parameters:
        trusted: networks of your proxies, such as ``10.0.0.0/8``; or how many proxies there are before you.
        header: ``x-forwarded-for``, or ``forwarded``.
        ipv6_prefix: addresses of version 6 count by so many leading bits: who has one address has its whole network.

    Raises:
        ConfigurationError: a network, a number or a header that is not allowed.
    """

    def __init__(
        self, trusted: Iterable[str] | int = (), *, header: str = "x-forwarded-for", ipv6_prefix: int = 64
    ) -> None:
        self._header = header.lower() if isinstance(header, str) else ""
        if self._header not in {"x-forwarded-for", "forwarded"}:
            raise ConfigurationError(f"header must be x-forwarded-for or forwarded, not {validate.shown(header)}")
        self._prefix = validate.integer("ipv6_prefix", ipv6_prefix, least=1, most=128)
        self._hops = validate.integer("trusted", trusted, least=0) if isinstance(trusted, int) else None
        self._networks: list[Network] = []
        if not isinstance(trusted, int):
            if isinstance(trusted, str):
                raise ConfigurationError("trusted must be networks in a list, or a number, not one text")
            try:
                self._networks = [ipaddress.ip_network(network) for network in trusted]
            except (TypeError, ValueError):
                raise ConfigurationError(
                    f"trusted must be networks such as 10.0.0.0/8, without bits of hosts, not {validate.shown(trusted)}"
                ) from None

    def __call__(self, request: Request) -> str:
        """Give the key of a request: its client's address, or its network, as text."""
        peer = _address(request.peer or "")
        chain = [peer, *(_address(text) for text in reversed(self._forwarded(request)))]
        if self._hops is not None:
            client = chain[min(self._hops, len(chain) - 1)]
        else:
            client = peer
            # On a unix socket there is nobody but a proxy of ours.
            from_proxy = self._trusts(peer) or (request.peer is None and bool(self._networks))
            for hop in chain[1:]:
                # What is to the left of an address that is no proxy's, or none at all, anybody may have written.
                if not from_proxy or hop is None:
                    break
                client, from_proxy = hop, self._trusts(hop)
        return self._shown(client)

    def _trusts(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)

    def _forwarded(self, request: Request) -> list[str]:
        if not self._hops and not self._networks:
            return []
        written = request.header(self._header) or ""
        parts = [part.strip() for part in written.split(",")] if written else []
        if self._header == "forwarded":
            found = [_FORWARDED_FOR.search(part) for part in parts]
            return [(match[1] or match[2] or "") if match is not None else "" for match in found]
        return parts

    def _shown(self, address: Address | None) -> str:
        if address is None:
            return "unknown"
        if isinstance(address, ipaddress.IPv6Address):
            return str(ipaddress.ip_network((address, self._prefix), strict=False))
        return str(address)

    def __repr__(self) -> str:
        return f"ClientAddress({self._hops if self._hops is not None else [str(one) for one in self._networks]!r})"


class HeaderKey:
    """A key: a header's value, such as an API key's, hashed; the client's address where the header is missing.

    Parameters:
        name: of the header.
        otherwise: the key of requests without it; one that gives ``None`` lets them pass.

    Raises:
        ConfigurationError: an empty name.
    """

    def __init__(self, name: str, *, otherwise: Callable[[Request], str | None] | None = None) -> None:
        self._name = validate.text("name", name).lower()
        self._otherwise = otherwise or ClientAddress()

    def __call__(self, request: Request) -> str | None:
        """Give the key of a request."""
        found = request.header(self._name)
        if not found:
            return self._otherwise(request)
        return f"{self._name}:{hashlib.sha256(found.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}"

    def __repr__(self) -> str:
        return f"HeaderKey({self._name!r})"


@dataclass(frozen=True, slots=True)
class Rule:
    """Which limit holds for which requests.

    Parameters:
        limiter: a limit, an `AllOf`, or a `Guarded` one; ``None`` exempts the requests.
        key: makes the id of a request; ``None`` from it lets the request pass.
        paths: shell patterns, such as ``/api/*``; one is enough.
        methods: such as ``POST``; all where there are none. ``WEBSOCKET`` is the opening of a websocket.
        cost: of each request, or a function that makes it of one; 0 from it lets the request pass.
        wait: seconds, or a timedelta, for which a request is held until it is allowed; a `LeakyBucket` needs some.

    Raises:
        ConfigurationError: a value that is not allowed.
    """

    limiter: Limiter | None
    _: KW_ONLY
    key: Callable[[Request], str | None] = field(default_factory=ClientAddress)
    paths: str | Sequence[str] = "*"
    methods: Sequence[str] = ()
    cost: int | Callable[[Request], int] = 1
    wait: Duration = 0
    _matches: Callable[[str], bool] = field(init=False, repr=False, compare=False)
    _methods: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.methods, str):
            raise ConfigurationError("methods must be a list of texts, not one text")
        object.__setattr__(self, "_matches", matching(self.paths))
        object.__setattr__(self, "_methods", frozenset(method.upper() for method in self.methods))
        if not callable(self.cost):
            validate.integer("cost", self.cost, least=1)
        validate.milliseconds("wait", self.wait, least=0)
        if self.limiter is None:
            return
        if not isinstance(self.limiter, Limiter):
            raise ConfigurationError(f"limiter must be a limit or None, not {type(self.limiter).__name__}")
        for limit in self.limiter.limits:
            if not _NAME.fullmatch(limit.name):
                raise ConfigurationError(
                    f"limiter must have an ASCII name, which headers can carry, not {validate.shown(limit.name)}"
                )
            if limit.shaped and not self.wait:
                raise ConfigurationError("wait must be more than 0 with a LeakyBucket, which delays requests")

    def holds_for(self, request: Request) -> bool:
        """Tell whether a request falls under it."""
        if self._methods and request.method not in self._methods:
            return False
        return self._matches(request.path)


@value
class Refusal:
    """The response to a request that is refused.

    Parameters:
        status: 429; 503 where Redis is away and the limit is closed then.
        headers: names and values.
        body: JSON after RFC 9457.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class RateLimits:
    """Rules in their order, of which the first that holds decides; what both middlewares share.

    Parameters:
        rules: what holds for which requests; one that matches none passes.
        standard: whether responses carry RateLimit and RateLimit-Policy.
        legacy: whether they carry X-RateLimit-Limit, -Remaining and -Reset (in seconds from now).

    Raises:
        ConfigurationError: something that is no rule.
    """

    def __init__(self, rules: Sequence[Rule], *, standard: bool = True, legacy: bool = True) -> None:
        if not all(isinstance(rule, Rule) for rule in rules):
            raise ConfigurationError("rules must be a list of Rule")
        self._rules = tuple(rules)
        self._standard = standard
        self._legacy = legacy

    def step(self, request: Request) -> tuple[Limiter, Plan[Decision] | Flow[Decision]] | None:
        """Give the limiter of a request and what has to be run for its decision; ``None`` lets it pass."""
        for rule in self._rules:
            if not rule.holds_for(request):
                continue
            cost = rule.cost(request) if callable(rule.cost) else rule.cost
            id = None if rule.limiter is None else rule.key(request)
            if rule.limiter is None or id is None or cost == 0:
                return None
            limiter = rule.limiter
            return limiter, limiter.wait_for(id, cost, wait=rule.wait) if rule.wait else limiter.hit(id, cost)
        return None

    def headers(self, limiter: Limiter, decision: Decision) -> list[tuple[str, str]]:
        """Give the headers that a decision adds to a response."""
        return rate_limit_headers(limiter, decision, standard=self._standard, legacy=self._legacy)

    def refusal(self, limiter: Limiter, decision: Decision) -> Refusal:
        """Give the response to a request that was refused."""
        closed = decision.source == "closed"
        wait = decision.retry_after
        later = "It costs more than the limit." if wait is None else f"Try again in {_seconds(wait)} s."
        status = 503 if closed else 429
        about: dict[str, object] = {
            "type": _REDUCED_CAPACITY if closed else _QUOTA_EXCEEDED,
            "title": "Service temporarily at reduced capacity" if closed else "Too many requests",
            "status": status,
            "detail": later,
            "violated-policies": list(decision.refused_by),
        }
        return problem(status, about, *self.headers(limiter, decision))


def problem(status: int, about: Mapping[str, object], *headers: tuple[str, str]) -> Refusal:
    """Give a response after RFC 9457, which no cache may keep.

    Parameters:
        status: of the response.
        about: the body.
        headers: further ones.
    """
    body = json.dumps(about).encode()
    own = [
        ("content-type", "application/problem+json"),
        ("content-length", str(len(body))),
        ("cache-control", "no-store"),
    ]
    return Refusal(status, [*own, *headers], body)


def rate_limit_headers(
    limiter: Limiter, decision: Decision, *, standard: bool = True, legacy: bool = True
) -> list[tuple[str, str]]:
    """Give the headers that tell a client of a decision.

    Parameters:
        limiter: who decided.
        decision: what it said.
        standard: whether RateLimit and RateLimit-Policy are among them.
        legacy: whether X-RateLimit-Limit, -Remaining and -Reset are: the tightest limit's, in seconds from now.

    Returns:
        Names in lower case and values. Retry-After is among them where the hit was refused and may succeed later; what
        was decided while Redis was away says nothing else.
    """
    headers: list[tuple[str, str]] = []
    if not decision.allowed and decision.retry_after is not None:
        headers.append(("retry-after", str(_seconds(decision.retry_after))))
    if decision.source in {"open", "closed"}:
        return headers
    if standard:
        parts = decision.parts or (decision,)
        pairs = list(zip(limiter.limits, parts, strict=False))
        policies = [f"{_string(limit.name)};{_QUOTA}={limit.most};{_WINDOW}={_window(limit)}" for limit, _ in pairs]
        headers.append(("ratelimit-policy", ", ".join(policies)))
        headers.append(("ratelimit", ", ".join(_state(limit, part) for limit, part in pairs)))
    if legacy:
        headers += [
            ("x-ratelimit-limit", str(decision.limit)),
            ("x-ratelimit-remaining", str(decision.remaining)),
            ("x-ratelimit-reset", str(math.ceil(decision.reset_after))),
        ]
    return headers


def _state(limit: Limit, part: Decision) -> str:
    """Write one limit's item of RateLimit.

    A client may spread what remains over t, so t is never so short that remaining / t is faster than the limit.
    """
    item = f"{_string(limit.name)};{_REMAINING}={part.remaining}"
    if not part.allowed:
        return item if part.retry_after is None else f"{item};{_UNTIL}={_seconds(part.retry_after)}"
    if isinstance(limit, FixedWindow):
        return f"{item};{_UNTIL}={math.ceil(part.next_after)}" if part.next_after else item
    window = _window(limit)
    until = min(window, max(math.ceil(part.next_after), math.ceil(part.remaining * window / limit.most)))
    return f"{item};{_UNTIL}={until}"


def _window(limit: Limit) -> int:
    # Until all of it has come back: for a bucket what its size and rate say.
    return max(1, math.ceil(round(limit.most / limit.rate, 6)))


def _seconds(wait: float) -> int:
    # Rounded up, or the client would come too early; and 0 would mean at once.
    return max(1, math.ceil(wait))


def _string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _address(text: str) -> Address | None:
    """Read an address, with or without a port, in brackets or not."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
