"""Where a server is and how to greet it, for the native drivers: URL, options and handshake, without a socket.

The names are redis-py's, so that a URL or a set of options means the same in every driver.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from redis_patterns_core.errors import CommandFailed, ConfigurationError
from redis_patterns_core.plan import Argument, Command
from redis_patterns_core.replies import ErrorReply, Reply
from redis_patterns_core.retry import Incomplete

_IN_URLS: dict[str, Callable[[str], Any]] = {
    "db": int,
    "protocol": int,
    "socket_timeout": float,
    "socket_connect_timeout": float,
    "ssl_check_hostname": lambda text: text.upper() not in {"0", "F", "FALSE", "N", "NO"},
    "ssl_min_version": int,
}
"""What is no text in a URL's query; redis-py reads it so too."""
_NO_HELLO = frozenset({"ERR", "NOPERM", "NOPROTO"})
_CERTIFICATES = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


@dataclass(frozen=True, slots=True)
class Target:
    """What a URL and options name.

    Parameters:
        url, options: of the server; with sentinels its host and port do not count.
        cluster: whether it is a node of a cluster.
        sentinels: hosts and ports of Sentinels; empty for none.
        service_name: what they call the primary.
        sentinel_kwargs: options of the connections to them.
    """

    url: str = field(repr=False)
    options: dict[str, Any] = field(repr=False)
    cluster: bool = False
    sentinels: Sequence[tuple[str, int]] = ()
    service_name: str = ""
    sentinel_kwargs: dict[str, Any] = field(default_factory=dict[str, Any], repr=False)

    @classmethod
    def parse(cls, url: str, options: dict[str, Any]) -> Target:
        """Read what concerns neither the server's address nor its handshake.

        Parameters:
            url: of one server, or ``redis+sentinel://[[user]:password@]host[:port][,host[:port]...]/service_name[/db]``,
                or ``rediss+sentinel://`` for TLS to the primary.
            options: ``cluster=True``; or ``sentinels``, ``service_name`` and ``sentinel_kwargs``, which are redis-py's
                names; the others are the server's.

        Raises:
            ConfigurationError: something that does not go together; the message shows no part of the URL.
        """
        rest = dict(options)
        cluster = rest.pop("cluster", False)
        sentinels = rest.pop("sentinels", ())
        service = rest.pop("service_name", "")
        sentinel_kwargs: dict[str, Any] = rest.pop("sentinel_kwargs", None) or {}
        scheme, separator, tail = url.partition("+sentinel://") if isinstance(url, str) else ("", "", "")
        if separator:
            netloc, _, path = tail.partition("/")
            credentials, at, hosts = netloc.rpartition("@")
            path, question, query = path.partition("?")
            service, _, db = path.partition("/")
            sentinels = [_host_and_port(host) for host in hosts.split(",")]
            url = f"{scheme}://{credentials}{at}localhost/{db}{question}{query}"
        if bool(sentinels) != bool(service):
            raise ConfigurationError(
                "sentinels and service_name must be given together: which primary, and who knows it"
            )
        if cluster and sentinels:
            raise ConfigurationError("cluster must not be given together with sentinels")
        try:
            hosts_and_ports = [(str(host), int(port)) for host, port in sentinels]
        except (TypeError, ValueError):
            raise ConfigurationError("sentinels must be pairs of a host and a port") from None
        target = cls(url, rest, bool(cluster), hosts_and_ports, service, sentinel_kwargs)
        if cluster and (target.address.path is not None or target.address.db):
            raise ConfigurationError("cluster must be given by the host and port of a node, and has database 0 only")
        return target

    @property
    def address(self) -> Address:
        """The server's address."""
        return Address.parse(self.url, self.options)

    def sentinel_addresses(self) -> list[Address]:
        """Give the addresses of the Sentinels; timeouts are the server's unless they have their own."""
        timeouts = {name: value for name, value in self.options.items() if name.startswith("socket_")}
        options = {**timeouts, **self.sentinel_kwargs}
        return [Address.parse(f"redis://{host}:{port}", options) for host, port in self.sentinels]


@dataclass(frozen=True, slots=True)
class Address:
    """A server, and what a connection to it needs.

    Parameters:
        host, port: where it listens, unless there is a `path`.
        path: its unix socket.
        db: the database's number.
        username, password: what to authenticate with; not shown in the repr.
        client_name: what CLIENT LIST shows.
        protocol: RESP 3 (with 2 where the server does not know 3), or 2.
        socket_timeout: seconds to wait for a reply.
        socket_connect_timeout: seconds for dialling, TLS and greeting together.
        ssl_context: how to speak TLS, or ``None`` for plain text.
    """

    _: KW_ONLY
    host: str = "localhost"
    port: int = 6379
    path: str | None = None
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    client_name: str | None = None
    protocol: Literal[2, 3] = 3
    socket_timeout: float | None = 5.0
    socket_connect_timeout: float | None = 5.0
    ssl_context: ssl.SSLContext | None = None

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, url: str, options: dict[str, Any]) -> Address:
        """Read a URL and options.

        Parameters:
            url: ``redis://[[user]:password@]host[:port][/db]``, ``rediss://`` for TLS, ``unix://path?db=0``.
            options: fields of this class, and redis-py's ``ssl``, ``ssl_ca_certs``, ``ssl_ca_data``, ``ssl_ca_path``,
                ``ssl_certfile``, ``ssl_keyfile``, ``ssl_password``, ``ssl_cert_reqs``, ``ssl_check_hostname``,
                ``ssl_ciphers``, ``ssl_min_version``; what the URL says is overridden.

        Raises:
            ConfigurationError: something else; the message shows no part of the URL.
        """
        try:
            given = {**read_url(url), **options}
            tls = {name.removeprefix("ssl_"): given.pop(name) for name in list(given) if name.startswith("ssl_")}
            context = tls.pop("context", None)
            if given.pop("ssl", False) or url.startswith("rediss://"):
                context = context or _context(**tls)
            for name, kind in (("port", int), ("db", int), ("protocol", int)):
                if name in given:
                    given[name] = kind(given[name])
            address = cls(ssl_context=context, **given)
        except (ValueError, TypeError, AttributeError, KeyError, OSError) as error:
            # Not the error's text, nor as a cause: it may quote the part of the URL with the password in it.
            raise ConfigurationError(
                "url and options must be a Redis URL, such as redis://localhost:6379/0, and options of Address; "
                f"reading them failed with {type(error).__name__}{unknown_option(error, options)}"
            ) from None
        if address.protocol not in (2, 3):
            raise ConfigurationError(f"protocol must be 2 or 3, not {address.protocol!r}")
        return address

    def greet(self) -> Generator[list[Command], Sequence[Reply], None]:
        """Yield the commands that a new connection begins with, one write after another, and take their replies.

        Raises:
            CommandFailed: the server refused the password, the database or such.
            Incomplete: the server cannot serve yet.
        """
        rest = [
            _command("CLIENT", "SETINFO", "LIB-NAME", "redis-patterns"),  # refused before Redis 7.2, which is no harm
            *([_command("SELECT", self.db)] if self.db else []),
        ]
        if self.protocol == 3:
            auth = ["AUTH", self.username or "default", self.password] if self.password is not None else []
            name = ["SETNAME", self.client_name] if self.client_name else []
            replies = yield [_command("HELLO", 3, *auth, *name), *rest]
            hello = replies[0]
            if not (isinstance(hello, ErrorReply) and hello.code in _NO_HELLO):
                _accepted(hello)
                _accepted(replies[-1] if self.db else None)
                return
        auth = [self.username] if self.username else []
        first = [
            *([_command("AUTH", *auth, self.password)] if self.password is not None else []),
            *([_command("CLIENT", "SETNAME", self.client_name)] if self.client_name else []),
        ]
        replies = yield [*first, *rest]
        for reply in replies[: len(first)]:
            _accepted(reply)
        _accepted(replies[-1] if self.db else None)


def read_url(url: str) -> dict[str, Any]:
    """Read a URL as redis-py does, whose own function takes longer to import than all of this library.

    Raises:
        ValueError: it is no Redis URL.
    """
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("a Redis URL begins with redis://, rediss:// or unix://")
    parts = urlsplit(url)
    given = {name: _IN_URLS.get(name, str)(values[0]) for name, values in parse_qs(parts.query).items()}
    if parts.username:
        given["username"] = unquote(parts.username)
    if parts.password:
        given["password"] = unquote(parts.password)
    path = unquote(parts.path)
    if parts.scheme == "unix":
        return {**given, "path": path} if path else given
    if parts.hostname:
        given["host"] = unquote(parts.hostname)
    if parts.port:
        given["port"] = parts.port
    if "db" not in given:
        with contextlib.suppress(ValueError):
            given["db"] = int(path.replace("/", ""))
    return given


def unknown_option(error: Exception, options: Mapping[str, Any]) -> str:
    """Give what a message says of the option that nobody knows, if that was it; nothing of the error's own text.

    Only names that stand in a program: what looks like one in a URL may be a piece of a password.
    """
    if isinstance(error, TypeError):
        unexpected = str(error).rpartition("got an unexpected keyword argument ")[2]
        for name in options:
            # From 3.13 on it also says which one may have been meant.
            if unexpected.startswith((repr(name), repr(name.removeprefix("ssl_")))):
                return f": there is no option {name!r}"
    return ""


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":") if ":" in text.rpartition("]")[2] else (text, "", "26379")
    if not host or not port.isdecimal():
        raise ConfigurationError("url must name each Sentinel as host or host:port")
    return host.strip("[]"), int(port)


def _command(*args: Argument) -> Command:
    return Command(args)


def _accepted(reply: Reply) -> None:
    if isinstance(reply, ErrorReply):
        if reply.code in ("LOADING", "MASTERDOWN") or reply.message.startswith("max number of clients"):
            raise Incomplete(f"the server is not ready: {reply.code} {reply.message}")
        raise CommandFailed("connect", reply.code, reply.message)


def _context(
    *,
    ca_certs: str | None = None,
    ca_path: str | None = None,
    ca_data: str | bytes | None = None,
    certfile: str | None = None,
    keyfile: str | None = None,
    password: str | None = None,
    cert_reqs: str | ssl.VerifyMode | None = "required",
    check_hostname: bool | str = True,
    ciphers: str | None = None,
    min_version: ssl.TLSVersion | None = None,
) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_certs, capath=ca_path, cadata=ca_data)
    mode = _CERTIFICATES[cert_reqs] if isinstance(cert_reqs, str) else cert_reqs or ssl.CERT_NONE
    context.check_hostname = mode is not ssl.CERT_NONE and check_hostname not in (False, "False", "false", "0", "no")
    context.verify_mode = mode
    if certfile:
        context.load_cert_chain(certfile, keyfile, password)
    if ciphers:
        context.set_ciphers(ciphers)
    if min_version is not None:
        context.minimum_version = min_version
    return context
