"""What is the sync driver's own: leases from a redis-py pool, threads, interrupts, forks."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import operator
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import fakeredis
import hiredis
import pytest
import redis
import redis.asyncio

from redis_patterns import (
    Cache,
    Call,
    ConfigurationError,
    DeadlineExceeded,
    Defer,
    DriverClosed,
    FifoQueue,
    Lock,
    LockLost,
    OutcomeUnknown,
    Sleep,
    Spawn,
    Steps,
    Unreachable,
    _wire,
    flow,
)
from redis_patterns.sync import Driver
from redis_patterns.testing import Server
from tests.drivers.plans import blocks, counts, echoes, once, reads, sets


class Clock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


_doubled: Cache[int] = Cache("doubled", ttl=1)


@Driver(fakeredis.FakeRedis()).cached(_doubled, "{x}")
def doubled(x: int) -> int:
    return 2 * x


@pytest.fixture
def client(redis_server: Server) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server.url) as client:
        yield client


def connections(driver: Driver) -> bytes:
    """Give what the server says of its clients."""
    listed: Any = driver.run(reads("CLIENT", "LIST"))
    return bytes(listed)


def leased(client: redis.Redis) -> int:
    """Count the connections that are out of the pool."""
    pool: Any = client.connection_pool
    return len(pool._in_use_connections)


# The pool


def test_it_leases_one_connection_and_keeps_it(client: redis.Redis) -> None:
    """One thread's plans share one lease, and closing the driver gives it back, usable, and leaves the client open."""
    with Driver(client) as driver:
        for _ in range(3):
            driver.run(reads("PING"))
        assert leased(client) == 1
    assert leased(client) == 0
    assert client.ping()
    pool: Any = client.connection_pool
    assert len(pool._available_connections) == 1  # the same one, not a second


def test_the_client_works_after_it(redis_server: Server) -> None:
    """A connection that was given back has the timeout that redis-py had set."""
    with redis.Redis.from_url(redis_server.url, socket_timeout=0.2) as client:
        with Driver(client) as driver:
            driver.run(blocks(0.01, "BLPOP", "nothing-here"))
        started = time.monotonic()
        with pytest.raises(redis.TimeoutError):
            client.blpop(["nothing-here"], 5)
        assert time.monotonic() - started < 2


def test_leases_are_as_many_as_threads_at_work(client: redis.Redis) -> None:
    """32 threads each get their own replies, on no more connections than threads."""

    def work(number: int) -> None:
        for turn in range(50):
            assert driver.run(echoes(f"k{number}", f"{turn}")) == [f"k{number}".encode(), f"{turn}".encode()]

    with Driver(client) as driver:
        with ThreadPoolExecutor(32) as threads:
            list(threads.map(work, range(32)))
        assert 1 <= leased(client) <= 32
    assert leased(client) == 0


def test_surplus_leases_go_back_when_they_are_not_needed(client: redis.Redis) -> None:
    """After half a minute without use all connections but one are the client's again."""
    clock = Clock()
    with Driver(client, clock=clock) as driver:
        together = threading.Barrier(4)

        def work() -> None:
            together.wait(10)
            driver.run(blocks(0.2, "BLPOP", "nothing-here"))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert leased(client) == 4
        clock.now += 31
        driver.run(reads("PING"))  # this one has used its connection just now
        clock.now += 31
        driver.run(reads("PING"))
        assert leased(client) == 1


def test_a_dirty_connection_of_the_pool_is_not_believed(client: redis.Redis) -> None:
    """A reply that another user of the pool left unread is nobody's."""
    client.set("dirty", "right", ex=60)
    pool: Any = client.connection_pool
    connection = pool.get_connection()
    connection.send_command("ECHO", "somebody else's")
    time.sleep(0.05)  # for the reply to arrive
    pool.release(connection)
    with Driver(client) as driver:
        assert driver.run(reads("GET", "dirty")) == b"right"
    client.delete("dirty")


def test_a_lease_that_has_rested_is_looked_at(client: redis.Redis) -> None:
    """A connection that the server closed meanwhile is replaced before a plan is sent on it."""
    clock = Clock()
    with Driver(client, clock=clock) as driver:
        driver.run(once("RPUSH", "rested", "x"))
        for known in client.client_list():
            client.client_kill_filter(_id=known["id"], skipme=True)
        clock.now += 1
        assert driver.run(once("RPUSH", "rested", "y")) == 2
        driver.run(sets("DEL", "rested"))


def test_a_pool_without_a_free_connection(redis_server: Server) -> None:
    """A full pool is no connection to be had: `Unreachable`, nothing was sent."""
    with redis.Redis.from_url(redis_server.url, max_connections=1) as client:
        pool: Any = client.connection_pool
        connection = pool.get_connection()
        with Driver(client, retry_for=0) as driver:
            with pytest.raises(Unreachable, match=r"(?i)connections"):
                driver.run(reads("PING"))
            pool.release(connection)
            assert driver.run(reads("PING")) == b"PONG"


# Interrupts


def test_an_interrupt_in_the_middle_of_an_exchange(client: redis.Redis) -> None:
    """Ctrl-C while a reply is due closes that connection: the next plan gets its own reply, not that one."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with Driver(client) as driver:
            driver.run(reads("PING"))
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(KeyboardInterrupt):
                driver.run(blocks(5, "BLPOP", "interrupted"))
            driver.run(once("RPUSH", "other", "x"))
            assert driver.run(reads("ECHO", "mine")) == b"mine"
            # The server has noticed that the blocked one is gone: nothing is popped for it.
            assert driver.run(once("RPUSH", "interrupted", "kept")) == 1
            assert driver.run(once("LPOP", "interrupted")) == b"kept"
            driver.run(sets("DEL", "other"))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("kind", [redis.ConnectionPool, redis.BlockingConnectionPool])
def test_an_interrupt_in_the_middle_of_a_handshake(redis_server: Server, kind: type[redis.ConnectionPool]) -> None:
    """No connection is used that is only half made: nothing is written to the wrong database."""
    interrupts = [True, True]

    class Interrupted(redis.UnixDomainSocketConnection):
        def send_command(self, *args: Any, **options: Any) -> None:
            if args[0] == "SELECT" and interrupts and interrupts.pop():
                raise KeyboardInterrupt
            super().send_command(*args, **options)  # type: ignore[no-untyped-call]

    pool: Any = kind.from_url(redis_server.url, db=5, max_connections=3)
    pool.connection_class = Interrupted
    with Driver(redis.Redis(connection_pool=pool)) as driver, Driver.connect(redis_server.url) as other:
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                driver.run(sets("SET", "interrupted", 1))
        driver.run(sets("SET", "interrupted", 1))
        assert driver.run(reads("EXISTS", "interrupted")) == 1
        assert other.run(reads("EXISTS", "interrupted")) == 0
        driver.run(sets("DEL", "interrupted"))
    pool.disconnect()


def test_an_interrupt_while_a_lock_is_given_back(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given back all the same."""
    lock = Lock("given-back")
    with Driver(client) as driver:
        ask, asked = driver._ask, list[str]()

        def interrupted(commands: Any, *args: Any) -> Any:
            asked.append(str(commands[0]))
            if len(asked) == 2:
                raise KeyboardInterrupt
            return ask(commands, *args)

        monkeypatch.setattr(driver, "_ask", interrupted)
        with pytest.raises(KeyboardInterrupt), driver.hold(lock, renew=False):
            pass
        assert len(asked) == 3
        assert driver.run(reads("EXISTS", lock.key)) == 0


def test_numbers_are_text_before_hiredis_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """It crashes where a signal's handler raises while it makes text of one."""
    seen = list[tuple[object, ...]]()

    def pack(args: tuple[object, ...]) -> bytes:
        seen.append(args)
        return b""

    monkeypatch.setattr(hiredis, "pack_command", pack)
    _wire.pack(("GET", "k"))
    _wire.pack(("SET", b"k", 1, 2.5, -3))
    assert seen == [("GET", "k"), ("SET", b"k", "1", "2.5", "-3")]


def test_clean_up_after_an_interrupt(client: redis.Redis) -> None:
    """A KeyboardInterrupt in a held block frees the lock."""
    lock = Lock("interrupted")
    with Driver(client) as driver:
        with pytest.raises(KeyboardInterrupt), driver.hold(lock):
            raise KeyboardInterrupt
        assert driver.run(reads("EXISTS", lock.key)) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_shares_no_connection(redis_server: Server) -> None:
    """Parent and child each have connections and threads of their own after a fork."""
    # In a process of its own: this one has threads, and Python warns of forking with threads for good reason.
    program = """
import os, sys
from redis_patterns import Lock
from redis_patterns.sync import Driver
from tests.drivers.plans import echoes

with Driver.connect(sys.argv[1]) as driver:
    assert driver.run(echoes("parent", "1")) == [b"parent", b"1"]
    child = os.fork()
    who = "child" if child == 0 else "parent"
    for turn in range(200):
        assert driver.run(echoes(who, str(turn))) == [who.encode(), str(turn).encode()]
    with driver.hold(Lock(f"of-the-{who}", ttl=0.2)) as held:
        held.check()
    if child == 0:
        driver.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""
    paths = os.pathsep.join(["core", "drivers", "."])
    subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program, redis_server.url],
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": paths},
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_after_a_fork_a_childs_flags_are_old(redis_server: Server) -> None:
    """The thread that follows is the parent's; the child's client says so, and can be followed with anew."""
    program = """
import os, sys
from redis_patterns import Flag, FlagClient, Flags
from redis_patterns.sync import Driver

flags = Flags("forked")
with Driver.connect(sys.argv[1]) as driver:
    driver.run(flags.put(Flag("a")))
    with driver.follow(FlagClient(flags)) as client:
        child = os.fork()
        if child == 0:
            assert client.is_enabled("a") and client.stale and not client.followed
            with driver.follow(client):
                assert not client.stale
            driver.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert not client.stale
"""
    subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program, redis_server.url],
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(["core", "drivers", "."])},
    )


# What it refuses


@pytest.mark.parametrize("client", [None, "redis://localhost", redis.asyncio.Redis(), object()])
def test_what_is_no_client(client: Any) -> None:
    """A client of another kind is refused when the driver is made, by its type."""
    with pytest.raises(ConfigurationError, match=f"not {type(client).__name__}"):
        Driver(client)


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("http://user:hunter2@localhost", {}, "ValueError$"),
        ("redis://user:hunter2@localhost:port", {}, "ValueError$"),
        ("localhost:6379", {"password": "hunter2"}, "ValueError$"),
        ("redis://localhost", {"pasword": "hunter2"}, "there is no option 'pasword'$"),
        ("redis://localhost", {"pasword": "hunter2", "cluster": True}, "there is no option 'pasword'$"),
        ("rediss://localhost", {"ssl_hunter": "hunter2"}, "there is no option 'ssl_hunter'$"),
        (
            "redis+sentinel://localhost/m",
            {"sentinel_kwargs": {"pasword": "hunter2"}},
            "there is no option 'pasword'$",
        ),
        ("redis://:123?hunter2=word@localhost", {}, "TypeError$"),
    ],
)
def test_what_is_no_url_or_option(url: str, options: dict[str, Any], message: str) -> None:
    """A wrong URL or option is refused at once: an option by its name, and nothing else of it is shown."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        Driver.connect(url, **options)
    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_an_unreachable_server_is_named_without_credentials() -> None:
    """The address is in the error, the password is not, nor in any error behind it."""
    with Driver.connect("redis://user:hunter2@127.0.0.1:1/0", retry_for=0) as driver:
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1") as caught:
            driver.run(reads("PING"))
        told = repr(driver)
        error: BaseException | None = caught.value
        while error is not None:
            told += f"{error} {error!r}"
            error = error.__cause__ or error.__context__
        assert "hunter2" not in told


def test_a_coroutine_function_is_refused(client: redis.Redis) -> None:
    """A flow that calls one gets a TypeError that says what to do, and no "never awaited" warning."""

    async def loader() -> int:
        raise AssertionError("never awaited")

    @flow
    def loads() -> Steps[int]:
        return (yield from Call(loader))

    with Driver(client) as driver, pytest.raises(TypeError, match="sync driver cannot await"):
        driver.run(loads())


def test_a_driver_that_nobody_closed_says_so(redis_server: Server) -> None:
    """A driver with a client of its own warns like an open file; one on a user's client gives its leases back."""
    driver = Driver.connect(redis_server.url)
    driver.run(reads("PING"))
    with pytest.warns(ResourceWarning, match="was not closed"):  # noqa: PT031  both are needed
        del driver
        gc.collect()
    with redis.Redis.from_url(redis_server.url) as client:
        driver = Driver(client)
        driver.run(reads("PING"))
        del driver
        gc.collect()
        assert leased(client) == 0


def test_more_threads_than_redis_py_has_connections_by_default(redis_server: Server) -> None:
    """A driver with a client of its own has as many connections as threads wait."""
    with Driver.connect(redis_server.url, retry_for=0) as driver, ThreadPoolExecutor(150) as threads:
        waiting: list[Future[Any]] = [threads.submit(driver.run, blocks(30, "BLPOP", "crowd")) for _ in range(150)]
        until = time.monotonic() + 30
        while connections(driver).count(b"cmd=blpop") < 150:
            assert time.monotonic() < until
            time.sleep(0.01)
        driver.run(once("RPUSH", "crowd", *range(150)))
        assert sorted(int(one.result()[1]) for one in waiting) == list(range(150))


def test_closing_leaves_the_plans_of_other_threads_alone(redis_server: Server) -> None:
    """They end as usual, and their connections are closed then."""
    with Driver.connect(redis_server.url) as other, ThreadPoolExecutor(4) as threads:
        driver = Driver.connect(redis_server.url, client_name="closing")
        waiting: list[Future[Any]] = [threads.submit(driver.run, blocks(30, "BLPOP", "closing")) for _ in range(4)]
        until = time.monotonic() + 30

        def known() -> int:
            return connections(other).count(b"name=closing")

        while known() < 4:
            assert time.monotonic() < until
            time.sleep(0.01)
        driver.close()
        other.run(once("RPUSH", "closing", *range(4)))
        assert sorted(int(one.result()[1]) for one in waiting) == [0, 1, 2, 3]
        while known():
            assert time.monotonic() < until
            time.sleep(0.01)


def test_a_connection_that_was_closed_under_it(client: redis.Redis) -> None:
    """Is given back like others, and what was answered stands."""
    with Driver(client) as driver:
        driver.run(reads("PING"))
        pool: Any = client.connection_pool
        pool.disconnect()
        driver.close()
    assert client.ping()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_while_a_thread_has_the_pools_lock(redis_server: Server) -> None:
    """The child does not wait for it."""
    program = """
import os, signal, sys, threading
import redis
from redis_patterns.sync import Driver
from tests.drivers.plans import reads

with Driver.connect(sys.argv[1]) as driver:
    driver.run(reads("PING"))
    pool = driver._transport._pool
    taken, over = threading.Event(), threading.Event()

    def takes():
        with pool._lock, pool._fork_lock:
            taken.set()
            over.wait()

    thread = threading.Thread(target=takes)
    thread.start()
    taken.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        assert driver.run(reads("PING")) == b"PONG"
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    over.set()
    thread.join()
    assert status == 0, status
"""
    subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program, redis_server.url],
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(["core", "drivers", "."])},
    )


def test_a_socket_that_is_only_called_like_pythons(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of gevent or eventlet, which polls by itself, has its own timeouts."""
    with Driver(client) as driver:
        driver.run(reads("PING"))
        link: Any = driver._transport
        assert link._idle[0]._in_kernel is True
    monkeypatch.setattr(socket.socket, "__module__", "gevent._socket3")
    client.connection_pool.disconnect()
    with Driver(client) as driver:
        driver.run(reads("PING"))
        link = driver._transport
        assert link._idle[0]._in_kernel is False
        assert link._idle[0]._sock.gettimeout() == link._idle[0]._timeout


def test_a_timeout_at_any_look_at_the_clock_loses_no_item(client: redis.Redis) -> None:
    """Whenever it comes, what a consumer took was handled, or is among the failed items."""
    for looks in range(1, 20):
        queue: FifoQueue[int] = FifoQueue(f"looks-{looks}")
        handled, times = list[int](), itertools.chain([0.0] * looks, itertools.repeat(1.6))
        with Driver(client) as other:
            other.run(queue.put(7))
            with Driver(client, clock=times.__next__) as driver, contextlib.suppress(DeadlineExceeded):
                driver.run(queue.consume(handled.append, until=partial(operator.contains, handled, 7)), timeout=1.5)
            kept = [item.item for item in other.run(queue.failed())]
            assert {*handled, *kept} or other.run(queue.length()) == 1, looks
            other.run(queue.clear())
            other.run(queue.clear_failed())


# Background


def test_a_handler_that_fails_ends_nothing(redis_server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """What it raises is logged with what it was told: renewals go on, and a flow's own error stands."""

    def handler(what: object, error: BaseException) -> None:
        raise RuntimeError("the handler's")

    class Broken:
        def begin(self, _: object) -> None:
            raise LookupError("the instrument's")

    @flow
    def untidy() -> Steps[None]:
        yield from Defer(once("NOTHING"))
        raise ValueError("mine")

    broken: Any = Broken()
    with Driver.connect(redis_server.url, on_background_error=handler, instrument=broken) as driver:
        for name in ("one", "two"):
            with driver.hold(Lock(name, ttl=0.15)) as held:
                time.sleep(0.4)
                held.check()
        with pytest.raises(ValueError, match="mine"):
            driver.run(untidy())
    assert "the handler's" in caplog.text
    assert "the instrument's" in caplog.text
    assert "unknown command" in caplog.text


def test_an_error_that_many_share_is_no_longer_for_each(client: redis.Redis) -> None:
    """Each raises it with the frames of who failed, and its own."""
    lengths = list[int]()
    together = threading.Barrier(20)

    def loader() -> None:
        time.sleep(0.1)
        raise ValueError("no")

    def load(number: int) -> None:
        together.wait()
        try:
            driver.run(cache.load("shared", loader))
        except ValueError as error:
            lengths.append(len(traceback.extract_tb(error.__traceback__)))

    cache: Cache[Any] = Cache("shared", ttl=10)
    with Driver(client) as driver, ThreadPoolExecutor(20) as threads:
        list(threads.map(load, range(20)))
    assert len(lengths) == 20
    assert max(lengths) < 40


def test_a_cached_function_is_pickled_by_its_name() -> None:
    """As functions are, so that other processes can be asked to call it."""
    assert pickle.loads(pickle.dumps(doubled)) is doubled


def test_closing_cuts_the_waits_of_what_runs_on(client: redis.Redis) -> None:
    """After the grace, a background flow that sleeps ends with `DriverClosed`, told to the handler."""
    told: list[BaseException] = []

    @flow
    def endless() -> Steps[None]:
        while True:
            yield from Sleep(60)

    @flow
    def starts() -> Steps[None]:
        yield from Spawn(endless())

    driver = Driver(client, on_background_error=lambda _, error: told.append(error))
    driver.run(starts())
    started = time.monotonic()
    driver.close(grace=0.05)
    assert time.monotonic() - started < 5
    assert [type(error) for error in told] == [DriverClosed]
    with pytest.raises(DriverClosed):
        driver.run(starts())


def test_one_thread_renews_all_leases(client: redis.Redis) -> None:
    """Many held locks cost one thread, which ends with the driver."""
    with Driver(client) as driver:
        before = threading.active_count()
        holds = [driver.hold(Lock(f"many-{number}", ttl=5)) for number in range(20)]
        for hold in holds:
            hold.__enter__()
        assert threading.active_count() == before + 1
        for hold in holds:
            hold.__exit__(None, None, None)
    assert threading.active_count() == before


def test_a_released_lock_is_not_renewed_again(client: redis.Redis) -> None:
    """However short the lease: once hold is over, no renewal comes after the release."""
    lock = Lock("short", ttl=0.006)
    with Driver(client) as driver:
        for _ in range(100):
            # On a busy machine the lease may run out, which is not the point here.
            with contextlib.suppress(LockLost), driver.hold(lock, wait=1):
                time.sleep(0.002)
            assert driver.run(reads("EXISTS", lock.key)) == 0


# The in-memory server


def test_fakeredis_shares_its_data_with_the_driver() -> None:
    """A driver on a fakeredis client works on that client's data."""
    with fakeredis.FakeRedis() as client, Driver(client) as driver:
        client.set("a", 1)
        assert driver.run(reads("GET", "a")) == b"1"
        assert driver.run(counts("a")) == 2
        assert client.get("a") == b"2"


def test_it_is_not_hurt_by_an_event_loop(client: redis.Redis) -> None:
    """Used inside a coroutine it simply blocks."""
    with Driver(client) as driver:

        async def main() -> object:
            return driver.run(reads("PING"))

        assert asyncio.run(main()) == b"PONG"


def test_a_deadline_holds_against_a_server_that_drips(client: redis.Redis, redis_server: Server) -> None:
    """A reply in many small pieces does not stretch the timeout piece by piece."""
    from tests.faults.proxy import Delay, proxy_to

    with proxy_to(redis_server.socket_path) as proxy, Driver.connect(proxy.url) as driver:
        driver.run(sets("SET", "big", b"x" * 4_000_000, "EX", 60))
        proxy.plan(Delay(0.02), when=b"GET")  # about sixty pieces of 64 kB, each of them late
        started = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            driver.run(reads("GET", "big"), timeout=0.1)
        assert time.monotonic() - started < 1
        driver.run(sets("DEL", "big"))
