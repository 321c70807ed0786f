"""``redis-patterns ping``."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Generator, Sequence
from typing import Any

import pytest

from redis_patterns import Command, CommandFailed, Reply
from redis_patterns._commands import ping
from redis_patterns.sync import Driver
from redis_patterns.testing import Server, cluster, sentinels, server
from tests.cli.conftest import CommandLine
from tests.drivers.plans import once, sets


def test_a_server_with_all_that_is_needed(command_line: CommandLine, own_server: Server) -> None:
    """What the server is stands there in 80 columns, with what is worth a warning; the exit code is 0."""
    done = command_line("ping")
    assert (done.code, done.err) == (0, "")
    shown = re.sub(r"0\.\d{3} ms", "0.000 ms", done.out).replace(own_server.version, "VERSION")
    kind = "Valkey" if "valkey" in own_server.executable else "Redis"
    assert (
        shown
        == f"""\
server            {kind} VERSION
mode              standalone
role              primary
round trip        0.000 ms, the median of 11
protocol          RESP3
scripts           EVAL, EVALSHA, TIME
eviction          noeviction
append-only file  off
warning  jobs and queues since the last snapshot are lost when the server ends:
         appendonly yes keeps them
all that is needed is there
"""
    )


def test_for_programs(command_line: CommandLine, own_server: Server) -> None:
    """As JSON it is one object, whose numbers are numbers."""
    told = json.loads(command_line("ping", "--json").out)
    assert told.pop("round_trip_ms") > 0
    assert len(told.pop("warnings")) == 1
    assert told == {
        "ok": True,
        "server": "Redis",
        "version": own_server.version,
        "mode": "standalone",
        "role": "primary",
        "protocol": 3,
        "eval": True,
        "evalsha": True,
        "time_in_scripts": True,
        "maxmemory_policy": "noeviction",
        "append_only": False,
        "failures": [],
    }


def test_what_is_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The round trip is the median, so that one that was slow does not count."""
    moments = iter([time for number in range(11) for time in (number, number + (9 if number == 4 else 0.25))])
    report = ping._examined(Driver.over(Answers()), lambda: next(moments))
    assert report.round_trip_ms == 250.0


def user(redis: Driver, own_server: Server, *rules: str) -> str:
    """Give the URL of a user with these rights."""
    redis.run(sets("ACL", "SETUSER", "some", "reset", "on", ">sesame", "~*", "&*", *rules))
    return own_server.tcp_url.replace("redis://", "redis://some:sesame@")


def test_a_user_who_may_not_see(command_line: CommandLine, redis: Driver, own_server: Server) -> None:
    """What a user may not ask is said to be hidden, and is no failure."""
    url = user(redis, own_server, "+@all", "-info")
    done = command_line("ping", "--url", url)
    assert done.code == 0
    for line in ("server", "mode", "role", "eviction", "append-only file"):
        assert re.search(rf"^{line} +not allowed to see$", done.out, re.MULTILINE), line
    told = json.loads(command_line("ping", "--json", "--url", url).out)
    assert [told[name] for name in ("server", "mode", "role", "append_only")] == [None] * 4


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (["-eval"], "scripts are refused"),
        (["-evalsha"], "scripts are refused"),
        (["-time"], "TIME is refused in scripts"),
    ],
    ids=["EVAL", "EVALSHA", "TIME"],
)
def test_a_user_who_may_not_do_what_is_needed(
    command_line: CommandLine, redis: Driver, own_server: Server, rules: Sequence[str], said: str
) -> None:
    """Without scripts, or without the time in them, the exit code is 1, and it says what to allow."""
    done = command_line("ping", "--url", user(redis, own_server, "+@all", *rules))
    assert done.code == 1
    assert f"FAILS  {said}" in done.out
    assert "all that is needed" not in done.out


def test_a_password_that_is_refused(command_line: CommandLine, redis: Driver, own_server: Server) -> None:
    """The exit code is 1, and no output has the password."""
    url = user(redis, own_server, "+@all").replace("sesame", "open-says-me")
    for words in (["ping"], ["ping", "--json"], ["keys"], ["inspect", "lock", "a"], ["jobs", "a", "pause"]):
        done = command_line(*words, "--url", url)
        assert (done.code, done.out) == (1, "")
        assert "WRONGPASS" in done.err
        assert "open-says-me" not in done.err


def test_nobody_is_there(command_line: CommandLine) -> None:
    """The exit code is 1 at once, and no output has the password."""
    done = command_line("ping", "--url", "redis://some:sesame@localhost:1")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("redis-patterns: info: nothing was sent: ")
    assert "sesame" not in done.err


def test_an_address_that_is_none(command_line: CommandLine) -> None:
    """The exit code is 2, and no output has any of it."""
    done = command_line("ping", "--url", "sesame://some")
    assert (done.code, done.out) == (2, "")
    assert "sesame" not in done.err


def test_a_replica(command_line: CommandLine) -> None:
    """A replica fails, as it refuses writes."""
    with server(config={"replicaof": "127.0.0.1 1"}) as replica:
        done = command_line("ping", "--url", replica.url)
    assert done.code == 1
    assert "role              replica\n" in done.out
    assert "FAILS  a replica refuses writes" in done.out


def test_a_cluster_and_what_it_keeps(command_line: CommandLine) -> None:
    """A node of a cluster is enough; with an append-only file there is nothing to warn of."""
    with cluster(config={"appendonly": "yes"}) as running:
        told = json.loads(command_line("ping", "--json", "--url", running.url).out)
    assert (told["mode"], told["append_only"], told["warnings"], told["ok"]) == ("cluster", True, [], True)


def test_sentinels(command_line: CommandLine) -> None:
    """Where Sentinels are given, it is the primary that they know."""
    with sentinels() as running:
        told = json.loads(command_line("ping", "--json", "--url", running.url).out)
    assert (told["role"], told["ok"]) == ("primary", True)


class Answers:
    """A server of which only the answers to INFO are its own.

    Parameters:
        lines: those of INFO.
    """

    def __init__(self, *lines: str) -> None:
        self.info = "\r\n".join(lines).encode()

    def ask(
        self,
        commands: Sequence[Command],
        blocks_for: float | None,  # noqa: ARG002  a transport's
        within: float | None = None,  # noqa: ARG002  the same
    ) -> Sequence[Reply]:
        (command,) = commands
        match command.args[0]:
            case "INFO":
                return [self.info]
            case "HELLO":
                return [{b"proto": 2}]
            case _:
                return [b"OK"]

    def close(self) -> None: ...
    def forget(self) -> None: ...


@pytest.mark.parametrize(
    ("lines", "code", "said"),
    [
        (["redis_version:7.2.4", "valkey_version:8.0.1", "server_mode:standalone"], 0, "Valkey 8.0.1"),
        (["redis_version:7.2.0", "dragonfly_version:df-v1.2"], 0, "Dragonfly df-v1.2"),
        (["redis_version:6.0.16"], 1, "needs Redis 6.2 or later"),
        (["redis_version:5.0.0"], 1, "needs Redis 6.2 or later"),
        (["redis_version:10.0.0"], 0, "Redis 10.0.0"),
        (["redis_version:7.0.0", "maxmemory_policy:allkeys-lru"], 0, "warning  allkeys-lru may evict locks"),
        (["redis_version:7.0.0", "maxmemory_policy:volatile-ttl"], 0, "warning  volatile-ttl may evict locks"),
        (["redis_version:7.0.0", "aof_enabled:1"], 0, "on: jobs outlive the server"),
        (["redis_version:7.0.0\x1b[31m"], 0, r"Redis 7.0.0\x1b[31m"),
    ],
)
def test_other_servers(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch, lines: Sequence[str], code: int, said: str
) -> None:
    """Servers that are called otherwise are, an old one fails, and a policy that evicts is worth a warning."""

    @contextlib.contextmanager
    def connected(_: Any) -> Generator[Driver]:
        yield Driver.over(Answers(*lines))

    monkeypatch.setattr(ping, "connected", connected)
    done = command_line("ping")
    assert done.code == code
    assert said in done.out
    assert "\x1b" not in done.out


def test_colours(command_line: CommandLine) -> None:
    """There are none in a pipe, but where they are asked for."""
    assert "\x1b" not in command_line("ping").out
    assert "\x1b[32mall that is needed is there\x1b[0m" in command_line("ping", "--color", "always").out


def test_an_error_that_is_about_something_else(redis: Driver) -> None:
    """Only that a command is refused is no error."""
    from redis_patterns._commands.connection import allowed

    redis.run(once("SET", "text", "a"))
    with pytest.raises(CommandFailed, match="WRONGTYPE"):
        allowed(redis, once("LPUSH", "text", 1))
