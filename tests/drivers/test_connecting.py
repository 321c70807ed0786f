"""What URLs and options mean, the same in every driver: TLS, users, databases, names, protocols, Sentinels."""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import anyio
import hiredis
import pytest
import redis.asyncio
import redis.connection

from redis_patterns import CommandFailed, ConfigurationError, Unreachable
from redis_patterns._address import Address, Target, read_url
from redis_patterns.asyncio import Driver as AsyncioDriver
from redis_patterns.testing import Secured, Sentinels, Server, sentinels, server, tls
from tests.drivers.faces import KINDS, Face, Kind
from tests.drivers.plans import blocks, counts, once, reads, sets

pytestmark = pytest.mark.anyio

NATIVE = [kind for kind in KINDS if kind.name in {"sync", "asyncio", "asyncio-embedded", "trio"}]


def _name(kind: Kind) -> str:
    return kind.name


@pytest.fixture(params=NATIVE, ids=_name)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


@pytest.fixture
def anyio_backend(kind: Kind) -> str | tuple[str, dict[str, Any]]:
    return kind.backend


# URLs

_parse_url = cast("Callable[[str], dict[str, Any]]", redis.connection.parse_url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://localhost",
        "redis://localhost:7000/3",
        "redis://[::1]:7000/",
        "redis://ann@h/1?db=2",
        "redis://:pa%20ss%2F@h:1",
        "redis://ann:%C3%A4%3A%40@h/x",
        "rediss://ann:secret@H.example:6380/12?ssl_check_hostname=no&ssl_cert_reqs=none",
        "redis://h/%31?socket_timeout=0.5&socket_connect_timeout=2&protocol=2&client_name=a%20b&client_name=c",
        "redis://h?ssl_check_hostname=True&ssl_min_version=771&db=&username=q",
        "unix:///tmp/r%20s.sock?db=4",
        "unix://ann:secret@/tmp/redis.sock",
        "unix://",
    ],
)
def test_a_url_means_what_it_means_for_redis_py(url: str) -> None:
    """What is read out of a URL is what redis-py reads."""
    theirs = _parse_url(url)
    theirs.pop("connection_class", None)
    assert read_url(url) == theirs


@pytest.mark.parametrize(
    "url", ["", "h:1", "http://h", "REDIS://h", "redis:h", "redis://h:x", "redis://h:65536", "redis://h?db=x"]
)
def test_what_is_no_url_for_redis_py_is_none(url: str) -> None:
    """What redis-py refuses is refused."""
    for read in (read_url, _parse_url):
        with pytest.raises(ValueError, match=r"."):
            read(url)


# Options


async def test_database_and_client_name(kind: Kind, redis_server: Server) -> None:
    """The URL's database and the client's name hold for the connection."""
    async with kind.make(f"{redis_server.url}?db=3", {"client_name": "shop"}) as driver:
        assert await driver.run(reads("CLIENT", "GETNAME")) == b"shop"
        info = await driver.run(reads("CLIENT", "LIST"))
        assert isinstance(info, bytes)
        assert "db=3" in next(line for line in info.decode().splitlines() if "name=shop" in line)


@pytest.mark.parametrize("protocol", [2, 3])
async def test_protocols(kind: Kind, redis_server: Server, protocol: int) -> None:
    """Both protocols can be asked for: doubles come as text in one and as numbers in the other."""
    if kind.name == "asyncio-embedded":
        client = redis.asyncio.Redis.from_url(redis_server.url, protocol=protocol)
        async with client, AsyncioDriver(client) as driver:
            await check_protocol(driver, protocol)
    else:
        async with kind.make(redis_server.url, {"protocol": protocol}) as driver:
            await check_protocol(driver, protocol)


async def check_protocol(driver: Face, protocol: int) -> None:
    await driver.run(sets("ZADD", "protocol", 1.5, "m"))
    assert await driver.run(reads("ZSCORE", "protocol", "m")) == (b"1.5" if protocol == 2 else 1.5)
    await driver.run(sets("DEL", "protocol"))


async def test_a_server_that_knows_no_hello(kind: Kind) -> None:
    """Where HELLO is refused the older protocol is spoken, with the same credentials, name and database."""
    if kind.name in {"sync", "asyncio-embedded"}:
        options: dict[str, Any] = {"protocol": 2}  # redis-py does not fall back by itself
    else:
        options = {}
    with server(config={"rename-command": 'HELLO ""', "requirepass": '"pa ss"'}) as old:
        url = f"{old.url}?db=2"
        async with kind.make(url, {**options, "password": "pa ss", "client_name": "old"}) as driver:
            assert await driver.run(reads("CLIENT", "GETNAME")) == b"old"
            await driver.run(sets("SET", "here", 1))
        async with kind.make(url, {**options, "password": "hunter2"}) as driver:
            with pytest.raises(CommandFailed, match="WRONGPASS") as caught:
                await driver.run(reads("PING"))
            assert "hunter2" not in str(caught.value)


async def test_users(kind: Kind) -> None:
    """An ACL user's password opens, and what the user may not do fails by its code."""
    with server(tcp=True, config={"user": "alice on >s3cr3t ~mine:* +@all -flushall"}) as guarded:
        url = guarded.tcp_url.replace("redis://", "redis://alice:s3cr3t@")
        async with kind.make(url, {}) as driver:
            assert await driver.run(sets("SET", "mine:a", 1)) == b"OK"
            for plan in (sets("SET", "yours:a", 1), once("FLUSHALL")):
                with pytest.raises(CommandFailed) as caught:
                    await driver.run(plan)
                assert caught.value.code == "NOPERM"
        async with kind.make(guarded.tcp_url, {"username": "alice", "password": "wrong"}) as driver:
            with pytest.raises(CommandFailed) as caught:
                await driver.run(reads("PING"))
            assert caught.value.code == "WRONGPASS"


# TLS


@pytest.fixture(scope="module")
def secured(redis_server: Server) -> Iterator[Secured]:
    with tls(redis_server) as running:
        yield running


async def test_tls(kind: Kind, secured: Secured) -> None:
    """Both sides show certificates, small and big values go through, and blocking plans work."""
    big = bytes(range(256)) * 4096
    async with kind.make(secured.url, secured.options) as driver:
        await driver.run(sets("SET", "tls", big, "EX", 60))
        assert await driver.run(reads("GET", "tls")) == big
        assert await driver.run(blocks(0.01, "BLPOP", "tls-nothing")) is None

        async with anyio.create_task_group() as tasks:

            async def echo(number: int) -> None:
                assert await driver.run(reads("ECHO", number)) == str(number).encode()

            for number in range(100):
                tasks.start_soon(echo, number)
        await driver.run(sets("DEL", "tls"))


async def test_tls_to_a_stranger(kind: Kind, secured: Secured) -> None:
    """A certificate of another name, or of an authority that is not trusted, is no connection."""
    url, files = f"rediss://127.0.0.1:{secured.port}", secured.options
    for options in (files, {name: path for name, path in files.items() if name != "ssl_ca_certs"}):
        async with kind.make(url, {**options, "retry_for": 0, "ssl_check_hostname": True}) as driver:
            with pytest.raises(Unreachable, match=r"(?i)certificate"):
                await driver.run(once("PING"))
    async with kind.make(url, {**files, "ssl_check_hostname": False}) as driver:
        assert await driver.run(reads("PING")) == b"PONG"


async def test_tls_that_ends_with_the_answer(kind: Kind, secured: Secured, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer counts that comes with the server's word that it closes; no plan is sent into what is closed."""
    for module in ("_redis_py", "_trio"):
        monkeypatch.setattr(f"redis_patterns.{module}._FRESH", -1.0)  # all connections count as long at rest
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    secured.authority.issue_cert("localhost").configure_cert(context)

    def serve_one() -> bytes:
        """Serve a connection, which ends with its first ECHO or QUIT, and tell which it was."""
        arrived, _ = listener.accept()
        incoming, outgoing, reader = ssl.MemoryBIO(), ssl.MemoryBIO(), hiredis.Reader()
        secure = context.wrap_bio(incoming, outgoing, server_side=True)

        def take() -> bytes:
            """Answer what has come with its last word."""
            secure.do_handshake()
            while True:
                reader.feed(secure.read(65536))
                while command := cast("list[bytes]", reader.gets() or []):
                    secure.write(b"+%s\r\n" % command[-1])
                    if command[0] in (b"ECHO", b"QUIT"):
                        with contextlib.suppress(ssl.SSLWantReadError):
                            secure.unwrap()
                        return command[0]

        with arrived:
            arrived.settimeout(20)
            last = b""
            while not last and (data := arrived.recv(65536)):
                incoming.write(data)
                with contextlib.suppress(ssl.SSLWantReadError):
                    last = take()
                arrived.sendall(outgoing.read())
        return last

    def serve() -> int:
        """Serve until one brings QUIT, and count the connections."""
        return next(number for number in itertools.count(1) if serve_one() == b"QUIT")

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as threads:
        listener.settimeout(20)
        serving = threads.submit(serve)
        url = f"rediss://localhost:{listener.getsockname()[1]}?protocol=2"
        async with kind.make(url, secured.options) as driver:
            for number in range(5):
                assert await driver.run(once("ECHO", number)) == str(number).encode()
            assert await driver.run(once("QUIT", "bye")) == b"bye"
        assert serving.result(20) == 6


# Sentinels


@pytest.fixture(scope="module")
def watched() -> Iterator[Sentinels]:
    """Give a primary, a replica and Sentinels; the last test kills the primary."""
    with sentinels() as running:
        yield running


@pytest.mark.parametrize("kind", [kind for kind in NATIVE if "embedded" not in kind.name], ids=_name)
async def test_no_sentinel_knows_it(kind: Kind, watched: Sentinels) -> None:
    """A name that the Sentinels do not know, and Sentinels that are not there, are `Unreachable`."""
    hosts = ",".join(f"{host}:{port}" for host, port in watched.addresses)
    for url in (f"redis+sentinel://{hosts}/other", "redis+sentinel://user:hunter2@127.0.0.1:1/mymaster"):
        async with kind.make(url, {"retry_for": 0}) as driver:
            with pytest.raises(Unreachable) as caught:
                await driver.run(once("PING"))
            assert "hunter2" not in str(caught.value)


def test_following_a_failover(watched: Sentinels) -> None:
    """When the primary dies, every driver goes on with the one that the Sentinels name; the URL and keywords agree."""
    hosts = ",".join(f"{host}:{port}" for host, port in watched.addresses)
    dead = [("127.0.0.1", 1), *watched.addresses]
    ways: list[tuple[str, dict[str, Any]]] = [
        (f"redis+sentinel://{hosts}/mymaster/0", {}),
        ("redis://", {"sentinels": dead, "service_name": "mymaster"}),
    ]
    options = {"retry_for": 30, "socket_timeout": 2, "socket_connect_timeout": 2}
    natives = [kind for kind in NATIVE if kind.name != "asyncio-embedded"]
    crowd = 2 * len(natives) + 1
    connected = threading.Barrier(crowd + 1, timeout=30)
    failed_over = threading.Barrier(crowd + 1, timeout=30)

    def follow(kind: Kind | None, url: str, options: dict[str, Any], key: str) -> object:
        async def main() -> object:
            if kind is not None:
                async with kind.make(url, options) as driver:
                    return await use(driver)
            make: Any = redis.asyncio.Sentinel
            sentinel = make(watched.addresses, socket_timeout=2)
            try:
                async with sentinel.master_for("mymaster") as client, AsyncioDriver(client, retry_for=30) as driver:
                    return await use(driver)
            finally:
                for asked in sentinel.sentinels:
                    await asked.aclose()

        async def use(driver: Face) -> object:
            assert (await role(driver)) == b"master"
            await driver.run(counts(key))
            connected.wait()
            failed_over.wait()
            # Asynchronous replication may lose what was not copied yet; but it goes on, on a primary.
            assert (await role(driver)) == b"master"
            return await driver.run(sets("SET", key, "went on"))

        return anyio.run(main, backend="trio" if kind and kind.name == "trio" else "asyncio")

    async def role(driver: Face) -> object:
        reply = await driver.run(reads("ROLE"))
        assert isinstance(reply, list)
        return reply[0]

    with ThreadPoolExecutor(crowd) as threads:
        jobs = [
            threads.submit(follow, kind, url, {**options, **more}, f"{kind.name}-{number}")
            for kind in natives
            for number, (url, more) in enumerate(ways)
        ]
        jobs.append(threads.submit(follow, None, "", {}, "embedded"))
        connected.wait()
        watched.servers[0].kill()
        failed_over.wait()
        assert [job.result(60) for job in jobs] == [b"OK"] * crowd


# Reading URLs


@pytest.mark.parametrize(
    ("url", "options", "expected"),
    [
        ("redis://", {}, {"host": "localhost", "port": 6379, "db": 0, "protocol": 3}),
        ("redis://h:1/2", {}, {"host": "h", "port": 1, "db": 2}),
        ("redis://u:p%40@h", {}, {"username": "u", "password": "p@"}),
        ("redis://:p@h", {"db": 4}, {"username": None, "password": "p", "db": 4}),
        ("redis://h?socket_timeout=1.5&protocol=2", {}, {"socket_timeout": 1.5, "protocol": 2}),
        ("unix:///run/x?db=1", {}, {"path": "/run/x", "db": 1}),
        ("redis://h", {"socket_timeout": None, "client_name": "n"}, {"socket_timeout": None, "client_name": "n"}),
    ],
)
def test_urls_of_one_server(url: str, options: dict[str, Any], expected: dict[str, Any]) -> None:
    """URLs and options say what redis-py's do, and options win."""
    address = Address.parse(url, options)
    assert {name: getattr(address, name) for name in expected} == expected
    assert "p@" not in repr(address)


@pytest.mark.parametrize(
    ("url", "hosts", "service", "rest"),
    [
        ("redis+sentinel://a/m", [("a", 26379)], "m", "redis://localhost/"),
        ("redis+sentinel://a:1,b:2/m/3", [("a", 1), ("b", 2)], "m", "redis://localhost/3"),
        ("redis+sentinel://u:p@a:1,[::1]:2/m", [("a", 1), ("::1", 2)], "m", "redis://u:p@localhost/"),
        ("rediss+sentinel://a/m?socket_timeout=1", [("a", 26379)], "m", "rediss://localhost/?socket_timeout=1"),
    ],
)
def test_urls_of_sentinels(url: str, hosts: list[tuple[str, int]], service: str, rest: str) -> None:
    """Hosts are the Sentinels', credentials and the database are the primary's."""
    target = Target.parse(url, {})
    assert (target.sentinels, target.service_name, target.url) == (hosts, service, rest)


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("redis+sentinel://a:hunter2/m", {}, "url must name each Sentinel"),
        ("redis+sentinel://a", {}, "together"),
        ("redis://a", {"service_name": "m"}, "together"),
        ("redis://a", {"sentinels": [("a", 1)]}, "together"),
        ("redis://a", {"sentinels": [("a", "hunter2")], "service_name": "m"}, "pairs of a host and a port"),
        ("redis://a", {"sentinels": [("a", 1)], "service_name": "m", "cluster": True}, "cluster must not"),
        ("http://hunter2", {}, "url"),
        ("redis://a", {"protocol": 4}, "protocol"),
        ("redis://a", {"hunter": 2}, "there is no option 'hunter'$"),
        ("redis://a", {"ssl_hunter": 2, "ssl": True}, "there is no option 'ssl_hunter'$"),
        ("redis://a", {"socket_timeout": 1, "port": "hunter2"}, "ValueError$"),
        ("redis://:123?hunter2=word@a", {}, "TypeError$"),
        (None, {}, "url"),
    ],
)
@pytest.mark.parametrize("kind", [kind for kind in NATIVE if "embedded" not in kind.name], ids=_name)
async def test_what_is_refused(kind: Kind, url: Any, options: dict[str, Any], message: str) -> None:
    """Each driver refuses what makes no sense when it is made, by the argument, without showing secrets."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        async with kind.make(url, options):
            raise AssertionError("it was taken")
    assert "hunter2" not in str(caught.value)
