"""Real worker processes, and what they do when they are told to stop."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

import tests
from redis_patterns import ConfigurationError, Jobs, batch
from redis_patterns._worker_process import found
from redis_patterns.sync import Driver
from redis_patterns.testing import Server, cluster
from tests.drivers.plans import sets

KINDS = {"sync": ("work", "sync"), "asyncio": ("work_later", "asyncio"), "trio": ("work_later", "trio")}


@pytest.fixture
def redis(redis_server: Server) -> Iterator[Driver]:
    with Driver.connect(redis_server.url) as driver:
        yield driver


@pytest.fixture
def namespace() -> str:
    return f"test-{secrets.token_hex(6)}"


def start(*words: str, namespace: str = "", url: str = "") -> subprocess.Popen[str]:
    path = os.pathsep.join([str(Path(tests.__path__[0]).parent), *(path for path in sys.path if path)])
    return subprocess.Popen(
        [sys.executable, "-m", "redis_patterns", "worker", *words],
        env={**os.environ, "PYTHONPATH": path, "NAMESPACE": namespace, "REDIS_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_until(process: subprocess.Popen[str], count: int, word: str = "begin") -> None:
    assert process.stdout is not None
    while count:
        line = process.stdout.readline()
        assert line, "it has ended"
        count -= line.startswith(word)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_process_that_is_told_to_stop(
    redis: Driver, redis_server: Server, namespace: str, kind: str, how: signal.Signals
) -> None:
    """What can be done within the grace time is done, the rest given back; nothing is lost or doubled."""
    jobs: Jobs[float] = Jobs("process", namespace=namespace)
    name, driver = KINDS[kind]
    # The first takes longer than the grace time, the others do not.
    put = redis.run(jobs.enqueue_many([30.0, *[0.2] * 20]))
    words = [f"tests.drivers.work_target:{name}", "--driver", driver, "--concurrency", "3", "--grace", "0.5"]
    process = start(*words, namespace=namespace, url=redis_server.url)
    try:
        read_until(process, 5)
        told = time.monotonic()
        process.send_signal(how)
        assert process.wait(10) == 0
        assert time.monotonic() - told < 5
    finally:
        process.kill()
        process.communicate()
    counts = redis.run(jobs.inspect())
    done = counts.totals["acked"]
    assert 4 <= done <= 10
    assert (counts.ready, counts.delayed, counts.leased, counts.dead) == (21 - done, 0, 0, 0)
    assert counts.totals.get("lost", 0) == counts.totals.get("retried", 0) == 0
    taken = redis.run(jobs.reserve(50, worker="w")).jobs
    assert taken[0].id == put[0].id, "it is in its old place"
    assert {(job.attempts, job.lost) for job in taken} == {(0, 0)}


def test_a_second_signal_ends_it_at_once(redis: Driver, redis_server: Server, namespace: str) -> None:
    """The job comes back when its lease ends."""
    jobs: Jobs[float] = Jobs("process", namespace=namespace)
    redis.run(jobs.enqueue(60.0))
    process = start("tests.drivers.work_target:work", namespace=namespace, url=redis_server.url)
    try:
        read_until(process, 1)
        # Two that come too soon one after the other are one.
        ends_at = time.monotonic() + 10
        while process.poll() is None:
            assert time.monotonic() < ends_at
            process.send_signal(signal.SIGTERM)
            time.sleep(0.05)
        assert process.wait() == 128 + signal.SIGTERM
    finally:
        process.kill()
        process.communicate()
    assert redis.run(jobs.inspect()).leased == 1


@pytest.mark.parametrize(("kind", "processes"), [("sync", 1), ("asyncio", 1), ("trio", 1), ("sync", 2)])
def test_a_worker_of_a_cluster(kind: str, processes: int) -> None:
    """Any node will do: the queue may be on another one."""
    name, driver = KINDS[kind]
    words = [f"tests.drivers.work_target:{name}", "--driver", driver, "--processes", str(processes), "--grace", "1"]
    with cluster() as running, Driver.connect(running.url, cluster=True) as redis:
        # All three have the queue's keys in the same place, which is not on two of them.
        namespace = f"test-{secrets.token_hex(6)}"
        jobs: Jobs[float] = Jobs("process", namespace=namespace)
        for count, node in enumerate(running.nodes, 1):
            redis.run(jobs.enqueue(0.01))
            process = start(*words, namespace=namespace, url=node.tcp_url)
            try:
                read_until(process, 1, "end")
                process.send_signal(signal.SIGTERM)
                assert process.wait(20) == 0
            finally:
                process.kill()
                process.communicate()
            assert redis.run(jobs.inspect()).totals["acked"] == count


def test_several_processes(redis: Driver, redis_server: Server, namespace: str) -> None:
    """They share the jobs; one that is killed is started again; all stop together."""
    jobs: Jobs[float] = Jobs("process", namespace=namespace)
    process = start("tests.drivers.work_target:work", "--processes", "2", namespace=namespace, url=redis_server.url)
    try:
        redis.run(jobs.enqueue_many([0.01] * 20))
        read_until(process, 20, "end")
        ends_at = time.monotonic() + 60
        # Until it is told that the last was done, it would come back from a worker that is killed.
        while len((counts := redis.run(jobs.inspect())).workers) < 2 or counts.leased:
            assert time.monotonic() < ends_at
            time.sleep(0.02)
        os.kill(int(counts.workers[0].about.split()[1].rstrip(",")), signal.SIGKILL)
        # The one that was killed is known until its time is over, and there is a third. New jobs wait for that: a
        # process does not end at once, and until it has it is given jobs, which come back when their lease ends.
        while len(redis.run(jobs.inspect()).workers) < 3:
            assert time.monotonic() < ends_at
            time.sleep(0.02)
        redis.run(jobs.enqueue_many([0.01] * 20))
        read_until(process, 20, "end")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()  # whose processes end with it
        _, said = process.communicate()
    assert said.count("has stopped") >= 2
    assert redis.run(jobs.inspect()).leased == 0


def test_a_process_for_several_queues(redis: Driver, redis_server: Server, namespace: str) -> None:
    """It does the jobs of all of them."""
    names = ["tests.drivers.work_target:work", "tests.drivers.work_target:others"]
    first, others = Jobs[float]("process", namespace=namespace), Jobs[float]("others", namespace=namespace)
    process = start(*names, namespace=namespace, url=redis_server.url)
    try:
        redis.run(batch(first.enqueue_many([0.01] * 10), others.enqueue_many([0.01] * 10)))
        read_until(process, 20, "end")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        _, said = process.communicate()
    assert "works on 'process', 'others', 10 at a time, on sync" in said
    found = redis.run(batch(first.inspect(), others.inspect()))
    assert [counts.totals["acked"] for counts in found] == [10, 10]


def test_a_password_is_on_no_command_line(redis_server: Server, namespace: str) -> None:
    """The processes are told of the server by their environment, which others cannot read."""
    url = redis_server.url.replace("unix://", "unix://default:secret@", 1)  # which a server without passwords ignores
    words = ["tests.drivers.work_target:work", "--processes", "2", "--url", url]
    process = start(*words, namespace=namespace)
    try:
        assert process.stderr is not None
        # Each says so when it listens to signals.
        workers = [process.stderr.readline().split()[2].rstrip(":") for _ in range(2)]
        shown = subprocess.run(
            ["ps", "-o", "args=", "-p", ",".join(workers)], capture_output=True, check=True, text=True
        )
        assert shown.stdout.count("worker") >= 2
        assert "secret" not in shown.stdout
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()


def test_processes_end_with_their_supervisor(redis: Driver, redis_server: Server, namespace: str) -> None:
    """When that is killed they stop, as if they had been told."""
    jobs: Jobs[float] = Jobs("process", namespace=namespace)
    process = start("tests.drivers.work_target:work", "--processes", "2", namespace=namespace, url=redis_server.url)
    redis.run(jobs.enqueue_many([0.01] * 20))
    read_until(process, 20, "end")
    process.kill()
    _, said = process.communicate(timeout=20)  # which waits for all who hold its streams
    assert said.count("has stopped") == 2


def test_processes_that_have_not_come_so_far(tmp_path: Path) -> None:
    """Told to stop before they listen to signals, they have begun nothing: the supervisor ends with 0 all the same."""
    early = [sys.executable, "-c", "import os, time; os.write(1, b'begin\\n'); time.sleep(60)"]
    supervising = (
        f"from redis_patterns._worker_process import supervise; raise SystemExit(supervise({early!r}, 2, print))"
    )
    process = subprocess.Popen([sys.executable, "-c", supervising], stdout=subprocess.PIPE, cwd=tmp_path, text=True)
    try:
        read_until(process, 2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("count", ["1", "2"])
@pytest.mark.parametrize("rules", [None, ["+@all", "-evalsha", "-eval"], ["+@all", "resetkeys", "~other:*"]])
def test_a_user_who_may_not_work(
    redis: Driver, redis_server: Server, namespace: str, rules: list[str] | None, count: str
) -> None:
    """It says why and ends with 1, before any process is started; the password is not shown."""
    if rules is not None:
        redis.run(sets("ACL", "SETUSER", namespace, "on", ">sesame", "~*", "&*", *rules))
    url = redis_server.url.replace("unix://", f"unix://{namespace}:sesame@", 1)
    process = start("tests.drivers.work_target:work", "--processes", count, url=url)
    try:
        out, error = process.communicate(timeout=30)
    finally:
        process.kill()
        redis.run(sets("ACL", "DELUSER", namespace))
    assert (process.returncode, out) == (1, "")
    assert error.startswith(f"redis-patterns: {'connect: WRONGPASS' if rules is None else 'jobs.inspect: NOPERM'} ")
    assert error.count("\n") == 1
    assert "sesame" not in error


@pytest.mark.parametrize("count", ["1", "2"])
def test_a_server_that_is_not_there(count: str) -> None:
    """It says so, and ends with 1."""
    process = start("tests.drivers.work_target:work", "--processes", count, url="redis://127.0.0.1:1")
    out, error = process.communicate(timeout=30)
    assert (process.returncode, out) == (1, "")
    assert error.startswith("redis-patterns: info: nothing was sent: ")


def test_what_becomes_of_jobs_is_logged(redis: Driver, redis_server: Server, namespace: str) -> None:
    """Failed and dead ones, with the place where a handler raised; never a payload."""
    jobs: Jobs[float] = Jobs("process", namespace=namespace)
    put = redis.run(jobs.enqueue_many([1.0, 2.0, 3.0]))
    process = start(
        "tests.drivers.work_target:failing", "--concurrency", "1", namespace=namespace, url=redis_server.url
    )
    try:
        read_until(process, 3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        _, said = process.communicate()
    first, second, third = (repr(one.id) for one in put)
    lines = said.splitlines()
    assert f"job {first} of 'process' failed, and is tried again" in lines
    assert 'raise LookupError("no such mailbox")' in said
    assert "LookupError: no such mailbox" in lines
    assert f"job {second} of 'process' failed, and is tried again: the mail server is full" in lines
    assert f"job {third} of 'process' failed, and is dead: nobody wants it" in lines
    assert said.count("Traceback") == 1


def test_a_module_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it raises is raised with its place; only that there is no such module or name is said in one line."""
    monkeypatch.syspath_prepend(tmp_path)
    sources = {
        "attribute": "x = None\nx.value",
        "imports": "import no_such_module",
        "nested": "import none_nested.no_such_module",
        "refused": "from redis_patterns import Jobs\n\njobs = Jobs('x', lease=-1)",
        "value": "raise ValueError('no')",
    }
    for name, source in sources.items():
        (tmp_path / f"target_that_fails_by_{name}.py").write_text(source)
    expected: dict[str, type[Exception]] = {
        "attribute": AttributeError,
        "imports": ModuleNotFoundError,
        "nested": ModuleNotFoundError,
        "refused": ImportError,
        "value": ValueError,
    }
    for name, error in expected.items():
        with pytest.raises(error) as caught:
            found(f"target_that_fails_by_{name}:work")
        assert type(caught.value) is error
        shown = "".join(traceback.format_exception(caught.value))
        assert str(tmp_path / f"target_that_fails_by_{name}.py") in shown
    for target in ("no_such_module:x", "no_such_module.below:x", "tests.drivers.no_such_module:x"):
        with pytest.raises(ConfigurationError, match=f"^target '{target}' cannot be imported: No module named"):
            found(target)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing"], "must be MODULE:NAME"),
        (["tests.drivers.work_target:nope"], "cannot be imported"),
        (["no_such_module:x"], "cannot be imported"),
        (["tests.drivers.work_target:nothing"], "must be a redis_patterns.Work or BatchWork, not str"),
        (["tests.drivers.work_target:work", "--concurrency", "0"], "concurrency must be"),
        (["tests.drivers.work_target:work", "--grace", "-1"], "grace must be"),
        (["tests.drivers.work_target:work", "tests.drivers.work_target:work"], "each of a queue of its own"),
        (["tests.drivers.work_target:work", "--processes", "0"], "--processes must be at least 1"),
        (["tests.drivers.work_target:work", "--processes", "2", "--concurrency", "0"], "concurrency must be"),
        (["tests.drivers.work_target:work", "--driver", "trio"], "must be a coroutine function"),
        (["tests.drivers.work_target:work_later", "--driver", "sync"], "must not be a coroutine function"),
    ],
)
def test_what_cannot_be_run(words: list[str], said: str) -> None:
    """It says why, and ends with 2."""
    process = start(*words, url="redis://127.0.0.1:1")
    _, error = process.communicate(timeout=30)
    assert process.returncode == 2, error
    assert said in error
    assert "Traceback" not in error
