from __future__ import annotations

import json
from typing import Any

import pytest

from redis_patterns import (
    GCRA,
    AllOf,
    ClientAddress,
    ConfigurationError,
    Decision,
    FixedWindow,
    Guarded,
    HeaderKey,
    LeakyBucket,
    RateLimits,
    Request,
    Rule,
    SlidingCounter,
    SlidingLog,
    TokenBucket,
    rate_limit_headers,
)

PER_MINUTE = FixedWindow("per-minute", limit=100, per=60)


def request(peer: str | None = "203.0.113.9", method: str = "GET", path: str = "/", **headers: str) -> Request:
    return Request(method, path, [(name.replace("_", "-"), value) for name, value in headers.items()], peer)


def test_the_lines_of_a_header() -> None:
    """They are joined in their order, whatever case is asked for; a header that is not there is none."""
    asked = Request("GET", "/", [("via", "a"), ("accept", "x"), ("via", "b, c")], None)
    assert (asked.header("Via"), asked.header("accept"), asked.header("other")) == ("a, b, c", "x", None)


# Addresses

PROXIES = ["10.0.0.0/8", "fd00::/8"]


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "client"),
    [
        # Nobody is trusted: what a header says does not matter.
        ((), "203.0.113.9", "1.2.3.4", "203.0.113.9"),
        # A client that is no proxy cannot speak for others.
        (PROXIES, "203.0.113.9", "1.2.3.4", "203.0.113.9"),
        # From the right: what the proxy wrote, not what the client wrote before it.
        (PROXIES, "10.0.0.1", "203.0.113.9", "203.0.113.9"),
        (PROXIES, "10.0.0.1", "1.2.3.4, 203.0.113.9", "203.0.113.9"),
        (PROXIES, "10.0.0.1", "1.2.3.4, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        (PROXIES, "10.0.0.1", "1.2.3.4, 10.9.9.9, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        # All of them ours: the farthest.
        (PROXIES, "10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        (PROXIES, "10.0.0.1", "", "10.0.0.1"),
        # Rubbish ends the walk.
        (PROXIES, "10.0.0.1", "1.2.3.4, rubbish", "10.0.0.1"),
        (PROXIES, "10.0.0.1", "1.2.3.4, rubbish, 10.0.0.2", "10.0.0.2"),
        (PROXIES, "10.0.0.1", "1.2.3.4, , 203.0.113.9", "203.0.113.9"),
        # Ports, brackets, zones, addresses of version 4 in version 6.
        (PROXIES, "10.0.0.1", "203.0.113.9:4711", "203.0.113.9"),
        (PROXIES, "10.0.0.1", "[2001:db8::1]:4711", "2001:db8::/64"),
        (PROXIES, "fd00::1", "::ffff:203.0.113.9", "203.0.113.9"),
        (PROXIES, "fe80::1%eth0", "1.2.3.4", "fe80::/64"),
        # A unix socket has a proxy of ours at its other end; without proxies there is nobody to name.
        (PROXIES, None, "1.2.3.4, 203.0.113.9", "203.0.113.9"),
        ((), None, "1.2.3.4", "unknown"),
        (PROXIES, "testclient", "1.2.3.4", "unknown"),
        # Counted proxies: so many from the right, whatever their addresses.
        (0, "203.0.113.9", "1.2.3.4", "203.0.113.9"),
        (1, "198.51.100.1", "1.2.3.4, 203.0.113.9", "203.0.113.9"),
        (2, "198.51.100.1", "1.2.3.4, 203.0.113.9, 198.51.100.2", "203.0.113.9"),
        (2, "198.51.100.1", "203.0.113.9", "203.0.113.9"),
        (1, "203.0.113.9", "", "203.0.113.9"),
        (1, "198.51.100.1", "1.2.3.4, rubbish", "unknown"),
    ],
)
def test_whose_request_it_is(trusted: Any, peer: str | None, forwarded: str, client: str) -> None:
    """An address that anybody can write is never believed."""
    asked = request(peer, x_forwarded_for=forwarded) if forwarded else request(peer)
    assert ClientAddress(trusted)(asked) == client


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("for=203.0.113.9", "203.0.113.9"),
        ('for=1.2.3.4;proto=https, proto=http;For="[2001:db8:1::1]:80"', "2001:db8:1::/64"),
        ("for=1.2.3.4, for=203.0.113.9;by=10.0.0.2, for=10.0.0.2", "203.0.113.9"),
        ("for=1.2.3.4, for=_hidden", "10.0.0.1"),
        ("for=1.2.3.4, by=10.0.0.2", "10.0.0.1"),
    ],
)
def test_the_forwarded_header(forwarded: str, client: str) -> None:
    """The same by RFC 7239."""
    assert ClientAddress(PROXIES, header="Forwarded")(request("10.0.0.1", forwarded=forwarded)) == client


def test_networks_of_version_6() -> None:
    """Who has an address has a network of them, as wide as one says."""
    assert ClientAddress(ipv6_prefix=48)(request("2001:db8:1:2::3")) == "2001:db8:1::/48"
    assert ClientAddress(ipv6_prefix=128)(request("2001:db8::3")) == "2001:db8::3/128"


def test_what_is_no_proxy() -> None:
    """Each by its name."""
    for bad in (["10.0.0.1/8"], ["proxy"], "10.0.0.0/8", -1):
        with pytest.raises(ConfigurationError, match=r"^trusted must"):
            ClientAddress(bad)
    with pytest.raises(ConfigurationError, match="networks in a list, or a number, not one text"):
        ClientAddress("10.0.0.0/8")
    with pytest.raises(ConfigurationError, match=r"^header must"):
        ClientAddress(header="x-real-ip")
    with pytest.raises(ConfigurationError, match=r"^ipv6_prefix must"):
        ClientAddress(ipv6_prefix=0)


def test_a_key_from_a_header() -> None:
    """The value is hashed, as it may be a secret; without one it is the address, or what one says."""
    key = HeaderKey("X-Api-Key")
    found = key(request(x_api_key="s3cr3t"))
    assert found is not None
    assert "s3cr3t" not in found
    assert found == key(request("1.2.3.4", x_api_key="s3cr3t"))
    assert found != key(request(x_api_key="other"))
    assert key(request()) == "203.0.113.9"
    assert HeaderKey("x-api-key", otherwise=lambda _: None)(request()) is None


# Rules


def named(limits: RateLimits, asked: Request) -> str | None:
    found = limits.step(asked)
    return None if found is None else found[0].limits[0].name


def test_the_first_rule_that_holds_decides() -> None:
    """By path and method; what falls under none passes."""
    limits = RateLimits(
        [
            Rule(None, paths=["/health", "/static/*"]),
            Rule(FixedWindow("login", limit=5, per=60), paths="/login", methods=["post"]),
            Rule(FixedWindow("sockets", limit=5, per=60), methods=["WEBSOCKET"]),
            Rule(FixedWindow("api", limit=5, per=60), paths="/api/*"),
        ]
    )
    assert named(limits, request(path="/health")) is None
    assert named(limits, request(path="/static/a/b.css")) is None
    assert named(limits, request(path="/login", method="POST")) == "login"
    assert named(limits, request(path="/login")) is None
    assert named(limits, request(path="/chat", method="WEBSOCKET")) == "sockets"
    assert named(limits, request(path="/api/x")) == "api"
    assert named(limits, request(path="/API/x")) is None


def test_costs_and_keys_of_ones_own() -> None:
    """A cost of 0 and a key of None let a request pass."""
    limits = RateLimits(
        [
            Rule(
                PER_MINUTE,
                key=lambda asked: asked.header("user"),
                cost=lambda asked: int(asked.header("content-length") or 0),
            )
        ]
    )
    assert limits.step(request(user="ann")) is None
    assert limits.step(request(content_length="5")) is None
    found = limits.step(request(user="ann", content_length="5"))
    assert found is not None
    assert found[1] == PER_MINUTE.hit("ann", 5)
    waiting = RateLimits([Rule(LeakyBucket("x", capacity=5, leak_rate=1), wait=3)]).step(request())
    assert waiting is not None
    assert waiting[1].name == "leakybucket.wait_for"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limiter": "100/minute"}, "limiter must be a limit"),
        ({"limiter": FixedWindow("ä", limit=1, per=1)}, "limiter must have an ASCII name"),
        ({"limiter": LeakyBucket("x", capacity=5, leak_rate=1)}, "wait must be more than 0"),
        ({"limiter": PER_MINUTE, "methods": "GET"}, "methods must be a list"),
        ({"limiter": PER_MINUTE, "cost": 0}, "cost must"),
        ({"limiter": PER_MINUTE, "wait": -1}, "wait must"),
    ],
)
def test_what_is_no_rule(options: dict[str, Any], message: str) -> None:
    """Each when it is made."""
    with pytest.raises(ConfigurationError, match=message):
        Rule(**options)
    with pytest.raises(ConfigurationError, match="rules must be a list of Rule"):
        RateLimits([PER_MINUTE])  # type: ignore[list-item]


# Headers


def decision(allowed: bool, remaining: int, retry: float | None = 0.0, **more: Any) -> Decision:
    return Decision(allowed, 100, remaining, retry, more.pop("reset", 0.0), more.pop("next", 0.0), **more)


@pytest.mark.parametrize(
    ("limit", "made", "policy", "state"),
    [
        # Golden, by revision -10 of the draft, whose parameters -11 keeps.
        (PER_MINUTE, decision(True, 99, next=41.2, reset=41.2), '"per-minute";q=100;w=60', '"per-minute";r=99;t=42'),
        (PER_MINUTE, decision(False, 0, 41.0, next=41), '"per-minute";q=100;w=60', '"per-minute";r=0;t=41'),
        (PER_MINUTE, decision(False, 0, 0.004), '"per-minute";q=100;w=60', '"per-minute";r=0;t=1'),
        (PER_MINUTE, decision(False, 7, None), '"per-minute";q=100;w=60', '"per-minute";r=7'),
        # What comes back bit by bit: not 99 within the second until the next, but within a minute.
        (SlidingLog("s", limit=100, per=60), decision(True, 99, next=0.6), '"s";q=100;w=60', '"s";r=99;t=60'),
        (SlidingLog("s", limit=100, per=60), decision(True, 1, next=0.1), '"s";q=100;w=60', '"s";r=1;t=1'),
        (SlidingLog("s", limit=100, per=60), decision(True, 0, next=33.3), '"s";q=100;w=60', '"s";r=0;t=34'),
        (SlidingCounter("s", limit=7, per=0.5), decision(True, 3, next=0.1), '"s";q=7;w=1', '"s";r=3;t=1'),
        (TokenBucket("b", capacity=20, refill_rate=0.5), decision(True, 19, next=2), '"b";q=20;w=40', '"b";r=19;t=38'),
        (GCRA("g", limit=100, per=60, burst=20), decision(True, 10, next=1), '"g";q=20;w=12', '"g";r=10;t=6'),
        (FixedWindow('q"\\', limit=1, per=1), decision(True, 0, next=1), '"q\\"\\\\";q=1;w=1', '"q\\"\\\\";r=0;t=1'),
    ],
)  # fmt: skip
def test_what_the_headers_say(limit: Any, made: Decision, policy: str, state: str) -> None:
    """Rounded so that nobody comes too early, and never faster than the limit."""
    headers = dict(rate_limit_headers(limit, made, legacy=False))
    assert (headers["ratelimit-policy"], headers["ratelimit"]) == (policy, state)
    if made.allowed or made.retry_after is None:
        assert "retry-after" not in headers
    else:
        assert headers["retry-after"] == state.rpartition("t=")[2]


def test_headers_of_several_limits() -> None:
    """An item for each; the old headers speak of the tightest."""
    both = AllOf(PER_MINUTE, SlidingLog("daily", limit=1000, per=86400))
    parts = (decision(False, 0, 12.5, name="per-minute"), decision(True, 700, next=5.0, name="daily"))
    made = Decision(False, 100, 0, 12.5, 80000.5, 12.5, name="per-minute", parts=parts)
    assert rate_limit_headers(both, made) == [
        ("retry-after", "13"),
        ("ratelimit-policy", '"per-minute";q=100;w=60, "daily";q=1000;w=86400'),
        ("ratelimit", '"per-minute";r=0;t=13, "daily";r=700;t=60480'),
        ("x-ratelimit-limit", "100"),
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", "80001"),
    ]
    assert rate_limit_headers(both, made, standard=False, legacy=False) == [("retry-after", "13")]


@pytest.mark.parametrize("source", ["open", "closed"])
def test_headers_without_redis(source: str) -> None:
    """What nobody counted is not told."""
    assert rate_limit_headers(PER_MINUTE, decision(True, 100, source=source)) == []
    assert rate_limit_headers(PER_MINUTE, decision(False, 0, 2.0, source=source)) == [("retry-after", "2")]


def test_a_refusal() -> None:
    """A problem document that names the limits and shows nothing of who asked."""
    limits = RateLimits([])
    refusal = limits.refusal(PER_MINUTE, decision(False, 0, 1.5, name="per-minute"))
    assert refusal.status == 429
    assert json.loads(refusal.body) == {
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Too many requests",
        "status": 429,
        "detail": "Try again in 2 s.",
        "violated-policies": ["per-minute"],
    }
    headers = dict(refusal.headers)
    assert headers["content-type"] == "application/problem+json"
    assert headers["content-length"] == str(len(refusal.body))
    assert headers["retry-after"] == "2"
    never = limits.refusal(PER_MINUTE, decision(False, 0, None, name="per-minute"))
    assert json.loads(never.body)["detail"] == "It costs more than the limit."
    closed = limits.refusal(Guarded(PER_MINUTE), decision(False, 0, 1.0, name="per-minute", source="closed"))
    assert closed.status == 503
    assert json.loads(closed.body)["type"].endswith("#temporary-reduced-capacity")
    assert json.loads(closed.body)["title"] == "Service temporarily at reduced capacity"


def test_what_is_shown_of_keys() -> None:
    """How they are told, and nothing of a request."""
    assert repr(ClientAddress(2)) == "ClientAddress(2)"
    assert repr(ClientAddress(["10.0.0.0/8"])) == "ClientAddress(['10.0.0.0/8'])"
    assert repr(HeaderKey("X-Api-Key")) == "HeaderKey('x-api-key')"
