"""The flags' plans and parsers, and their scripts on both Luas."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from redis_patterns import (
    ConfigurationError,
    DecodeError,
    Effect,
    Flag,
    FlagChange,
    FlagConflict,
    Flags,
    FlagSnapshot,
    Plan,
)
from redis_patterns.testing import Dry, assert_plan
from redis_patterns_core.flag_json import encoded
from tests.core.lua import RUNTIMES, Fake

FLAGS = Flags("shop")
PLAIN = encoded(Flag("x", percentage=25))


def record(payload: bytes = PLAIN, version: int = 3, required: bytes = b"", kind: bytes = b"f") -> bytes:
    return b"%b%d:t1,t2:%b;%b" % (kind, version, required, payload)


class Hashes(Fake):
    """With the hashes and streams that these scripts use."""

    def __init__(self, version: str) -> None:
        super().__init__(version)
        self.records: dict[str, dict[str, str]] = {}
        self.read: list[str] = []
        self.streams: dict[str, list[tuple[str, list[str]]]] = {}

    def _call(self, *words: Any) -> Any:
        name, *args = [word.decode() if isinstance(word, bytes) else str(word) for word in words]
        assert name == "TIME" or args[0] in self._declared
        match name, args:
            case "HGET", [key, field]:
                self.read.append(field)
                held = self.records.get(key, {}).get(field)
                return False if held is None else held.encode()
            case "HSET", [key, *pairs]:
                self.records.setdefault(key, {}).update(zip(pairs[::2], pairs[1::2], strict=True))
                return len(pairs) // 2
            case "XADD", [key, "MAXLEN", most, id, *fields]:
                entries = self.streams.setdefault(key, [])
                assert not entries or int(id.partition("-")[0]) > int(entries[-1][0].partition("-")[0])
                entries.append((id, fields))
                del entries[: -int(most)]
                return id.encode()
            case "XREVRANGE", [key, "+", "-", "COUNT", "1"]:
                last = self.streams.get(key, [])[-1:]
                table = self.lua.table_from
                return table([table([id.encode(), table([field.encode() for field in fields])]) for id, fields in last])
            case _:
                return super()._call(*words)


# The scripts


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_versions_and_revisions_grow(version: str) -> None:
    """A version by one with each change; the revision is the millisecond, or one more than before."""
    fake = Hashes(version)
    assert fake.run(FLAGS.put(Flag("x"))) == 1
    assert fake.run(FLAGS.put(Flag("x"), expected_version=1)) == 2
    assert fake.run(FLAGS.put(Flag("y"), expected_version=0)) == 1
    assert fake.records[FLAGS.key][""] == "1700000000002"
    fake.now -= 10_000_000
    assert fake.run(FLAGS.delete("y")) is True
    assert fake.records[FLAGS.key][""] == "1700000000003"
    fake.now += 60_999_900
    assert fake.run(FLAGS.put(Flag("x"))) == 3
    assert fake.records[FLAGS.key][""] == "1700000050999"
    del fake.records[FLAGS.key]  # evicted, say: numbers do not come again
    fake.now -= 60_000_000
    assert fake.run(FLAGS.put(Flag("x"))) == 1
    assert fake.records[FLAGS.key][""] == "1700000051000"


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_a_writer_must_have_seen_the_version(version: str) -> None:
    """Otherwise nothing is written; of one that was deleted, the version is what it was deleted by."""
    fake = Hashes(version)
    fake.run(FLAGS.put(Flag("x")))
    before = dict(fake.records[FLAGS.key])
    for expected in (0, 2):
        with pytest.raises(FlagConflict) as refusal:
            fake.run(FLAGS.put(Flag("x"), expected_version=expected))
        assert (refusal.value.name, refusal.value.version) == ("x", 1)
        with pytest.raises(FlagConflict):
            fake.run(FLAGS.delete("x", expected_version=expected))
    assert fake.records[FLAGS.key] == before
    assert fake.run(FLAGS.delete("x", expected_version=1)) is True
    for expected in (0, 1):
        with pytest.raises(FlagConflict, match="version 2"):
            fake.run(FLAGS.put(Flag("x"), expected_version=expected))
    assert fake.run(FLAGS.put(Flag("x"), expected_version=2)) == 3
    with pytest.raises(FlagConflict, match="there is no flag 'y'"):
        fake.run(FLAGS.put(Flag("y"), expected_version=1))


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_a_write_counts_once(version: str) -> None:
    """Sent again, it gives the version that it made, even if others have written since, up to fifteen times."""
    fake = Hashes(version)
    mine = FLAGS.put(Flag("x", percentage=1), expected_version=0)
    away = FLAGS.delete("x", expected_version=1)
    assert (fake.run(mine), fake.run(mine)) == (1, 1)
    assert (fake.run(away), fake.run(away)) == (True, True)
    for number in range(14):
        assert fake.run(FLAGS.put(Flag("x", percentage=number))) == number + 3
        before = dict(fake.records[FLAGS.key])
        assert (fake.run(mine), fake.run(away)) == (1, True)
        assert fake.records[FLAGS.key] == before
    fake.run(FLAGS.put(Flag("x")))
    with pytest.raises(FlagConflict, match="version 17"):
        fake.run(mine)
    assert fake.run(away) is True
    assert len(fake.streams[f"{FLAGS.key}:changes"]) == 17


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_what_is_not_there_is_not_deleted(version: str) -> None:
    """And leaves no trace, nor a second one."""
    fake = Hashes(version)
    assert fake.run(FLAGS.delete("x")) is False
    assert (fake.records, fake.streams) == ({}, {})
    fake.run(FLAGS.put(Flag("x")))
    assert (fake.run(FLAGS.delete("x")), fake.run(FLAGS.delete("x"))) == (True, False)
    assert len(fake.streams[f"{FLAGS.key}:changes"]) == 2


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_a_circle_is_refused(version: str) -> None:
    """Of any length, with names that have the signs of the record in them; nothing is written then."""
    fake = Hashes(version)
    names = ["a", ";1:", "12:x;", "größe", "::"]
    for name, other in itertools.pairwise(names):
        fake.run(FLAGS.put(Flag(name, requires={other: "on", "nobody": "on"})))
    before = dict(fake.records[FLAGS.key])
    for name in names[:-1]:
        with pytest.raises(ConfigurationError, match="requires must not lead back"):
            fake.run(FLAGS.put(Flag("::", requires={name: "on"})))
    assert fake.records[FLAGS.key] == before
    fake.run(FLAGS.put(Flag("::", requires={"other": "on"})))
    fake.run(FLAGS.put(Flag("a")))
    fake.run(FLAGS.put(Flag("::", requires={"a": "on"})))


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_a_write_looks_at_each_flag_once(version: str) -> None:
    """However many ways lead to it, or the work would double with each level."""
    fake = Hashes(version)
    for name, others in (("e", ""), ("d", "e"), ("c", "d"), ("b", "d")):
        fake.run(FLAGS.put(Flag(name, requires=dict.fromkeys(others, "on"))))
    fake.read.clear()
    fake.run(FLAGS.put(Flag("a", requires=dict.fromkeys("bcd", "on"))))
    assert sorted(fake.read) == ["", "a", "b", "c", "d", "e"]


@pytest.mark.parametrize("version", sorted(RUNTIMES))
def test_a_flag_is_read_with_those_that_it_requires(version: str) -> None:
    """All the way, each once, and no others; also where a circle was written in another way."""
    fake = Hashes(version)
    for flag in (
        Flag("a", requires={"b;": "on", "c": "on"}),
        Flag("b;", requires={"c": "on", "nobody": "on"}),
        Flag("c"),
        Flag("d", requires={"a": "on"}),
    ):
        fake.run(FLAGS.put(flag))
    command = FLAGS.evaluate("a").commands[0]
    read = fake.reply(command)
    assert isinstance(read, list)
    assert sorted(read[::2]) == [b"a", b"b;", b"c"]
    assert fake.run(FLAGS.is_enabled("a", "ann")) is False
    fake.run(FLAGS.put(Flag("nobody")))
    assert fake.run(FLAGS.is_enabled("a", "ann")) is True
    fake.run(FLAGS.delete("c"))
    assert fake.run(FLAGS.is_enabled("a", "ann")) is False
    held = fake.records[FLAGS.key]["nobody"]
    fake.records[FLAGS.key]["nobody"] = held.replace(":;", ":1:a;")
    assert fake.run(FLAGS.evaluate("a", "ann")).step in {"error", "prerequisite"}
    assert fake.run(FLAGS.put(Flag("e", requires={"a": "on"}))) == 1  # who is outside a circle goes through it once


# The plans


def test_names_and_effects() -> None:
    """Reading is reading; writing has a token, so that it can be sent twice."""
    text = '{"format": 1, "flags": [{"name": "a"}]}'
    plans: list[tuple[Plan[Any], str, Effect]] = [
        (FLAGS.put(Flag("x")), "put", Effect.IDEMPOTENT),
        (FLAGS.delete("x"), "delete", Effect.IDEMPOTENT),
        (FLAGS.import_json(text), "import_json", Effect.IDEMPOTENT),
        (FLAGS.export_json(), "export_json", Effect.READS),
        (FLAGS.get("x"), "get", Effect.READS),
        (FLAGS.snapshot(), "snapshot", Effect.READS),
        (FLAGS.history(), "history", Effect.READS),
        (FLAGS.revision(), "revision", Effect.READS),
        (FLAGS.is_enabled("x"), "evaluate", Effect.READS),
        (FLAGS.evaluate("x"), "evaluate", Effect.READS),
        (FLAGS.wait_for_change(0, 1), "wait_for_change", Effect.READS),
    ]
    for plan, name, effect in plans:
        assert (plan.name, plan.effect) == (f"flags.{name}", effect)
        assert plan.blocks_for == (1.0 if name == "wait_for_change" else None)
        assert len(plan.commands) == 1
    assert len(FLAGS.import_json('{"format": 1, "flags": [{"name": "a"}, {"name": "b"}]}').commands) == 2


def test_the_commands() -> None:
    """As redis-cli would take them."""
    other = Flags("shop", namespace="eu")
    assert_plan(other.get("x"), commands=["HGET eu:flags:{shop} x"])
    assert_plan(FLAGS.snapshot(), commands=["HGETALL flags:{shop}"])
    assert_plan(FLAGS.history(3), commands=["XREVRANGE flags:{shop}:changes + - COUNT 3"])
    assert_plan(FLAGS.wait_for_change(17, 2.5), commands=["XREAD COUNT 1 BLOCK 2500 STREAMS flags:{shop}:changes 17-0"])
    put = FLAGS.put(Flag("x", requires={"größe": "on", "a": "on"}), expected_version=3, by="me", token="t").commands[0]
    assert put.args[2:-1] == (2, "flags:{shop}", "flags:{shop}:changes", "x", 3, "t", "me", 100, "1:a7:größe".encode())
    assert FLAGS.put(Flag("x")) != FLAGS.put(Flag("x"))  # each has a token of its own


def test_a_snapshot_of_what_is_there() -> None:
    """Both shapes of the reply; what was deleted is not there, and what cannot be read is said to be so."""
    fields = {
        b"": b"1700000000007",
        b"x": record(),
        b"gone": record(b"", 4, kind=b"d"),
        b"other": record(),
        b"later": record(b'{"format": 9}'),
        b"broken": b"what",
        b"cut": record()[:9],
        b"required": record(required=b"9:a"),
        b"\xff": record(),
    }
    for reply in (fields, [word for pair in fields.items() for word in pair]):
        snapshot = FLAGS.snapshot().parse([reply])
        assert (list(snapshot.flags), snapshot.flags["x"].version) == (["x"], 3)
        assert snapshot.revision == 1700000000007
        assert sorted(snapshot.unreadable) == ["broken", "cut", "later", "other", "required"]
        assert "another" in snapshot.unreadable["other"]
        assert snapshot.evaluate("later", "ann", 1).error == "PARSE_ERROR"
    empty = FLAGS.snapshot().parse([[]])
    assert (len(empty), empty.revision) == (0, 0)


def test_a_flag_that_cannot_be_read_is_an_error_where_it_alone_is_asked_for() -> None:
    """And an export, which would lose it, is refused."""
    assert FLAGS.get("x").parse([record()]) == Flag("x", percentage=25)
    assert FLAGS.get("x").parse([None]) is None
    assert FLAGS.get("x").parse([record(b"", kind=b"d")]) is None
    for bad in (b"what", record(b"{}"), 7, b"f1:;", record()[:-1], record().replace(b";", b",")):
        with pytest.raises(DecodeError):
            FLAGS.get("x").parse([bad])
    with pytest.raises(DecodeError, match="'x' cannot be read"):
        FLAGS.export_json().parse([{b"x": b"what"}])


def test_a_history() -> None:
    """The latest first; what was deleted has no flag, and what cannot be read neither."""

    def entry(id: bytes, version: bytes, payload: bytes, by: bytes = b"me") -> list[object]:
        return [id, [b"name", b"x", b"version", version, b"by", by, b"flag", payload]]

    reply = [entry(b"1700000000009-0", b"3", b""), entry(b"1700000000007-0", b"2", PLAIN), entry(b"5-0", b"1", b"?")]
    assert FLAGS.history().parse([reply]) == [
        FlagChange("x", 3, None, "me", 1700000000.009, 1700000000009, deleted=True),
        FlagChange("x", 2, Flag("x", percentage=25), "me", 1700000000.007, 1700000000007, deleted=False),
        FlagChange("x", 1, None, "me", 0.005, 5, deleted=False),
    ]
    for bad in (7, [7], [[b"1-0"]], [[b"x", []]]):
        with pytest.raises(DecodeError):
            FLAGS.history().parse([bad])


def test_a_notice() -> None:
    """Something, or nothing within the time."""
    assert FLAGS.wait_for_change(1, 1).parse([None]) is False
    assert FLAGS.wait_for_change(1, 1).parse([{b"k": [[b"2-0", [b"name", b"x"]]]}]) is True
    assert FLAGS.revision().parse([None]) == 0
    assert FLAGS.revision().parse([b"17"]) == 17


def test_an_import_gives_versions_by_names() -> None:
    """One for each flag; one that is refused fails the plan when it is parsed."""
    text = FLAGS.export_json().parse([{b"x": record()}])
    plan = FLAGS.import_json(text, by="me")
    assert plan.parse([[1, 4, 9]]) == {"x": 4}
    assert FlagSnapshot([Flag("x", percentage=25)]).flags["x"].percentage == 25
    with pytest.raises(ConfigurationError, match="1 to 1000"):
        FLAGS.import_json('{"format": 1, "flags": []}')


# Changing by what is there


def test_an_update_is_tried_again_when_somebody_was_faster() -> None:
    """By what the flag is then."""
    dry = Dry(FLAGS.update("x", lambda flag: Flag("x", percentage=flag.percentage + 1), by="me"))
    dry.expect("flags.get").give(Flag("x", percentage=10, version=3))
    dry.expect("flags.put").fail(FlagConflict("x", 4))
    dry.expect("flags.get").give(Flag("x", percentage=20, version=4))
    dry.expect("flags.put").give(5)
    assert (dry.result, dry.result.version) == (Flag("x", percentage=21), 5)


def test_an_update_has_an_end() -> None:
    """After so many attempts, or where there is nothing to change, or the change is to another flag."""
    dry = Dry(FLAGS.update("x", lambda flag: flag, attempts=2))
    for _ in range(2):
        dry.expect("flags.get").give(Flag("x", version=3)).expect("flags.put").fail(FlagConflict("x", 9))
    with pytest.raises(FlagConflict, match="version 9"):
        _ = dry.result
    missing = Dry(FLAGS.update("x", lambda flag: flag)).expect("flags.get").give(None)
    with pytest.raises(FlagConflict, match="there is no flag 'x'"):
        _ = missing.result
    other = Dry(FLAGS.update("x", lambda _: Flag("y"))).expect("flags.get").give(Flag("x", version=3))
    with pytest.raises(ConfigurationError, match="must keep the name 'x'"):
        _ = other.result


def sized(size: int) -> Flag:
    """Give a flag that takes so many bytes."""
    return Flag("x", variants={"a": "x" * (size - len(encoded(Flag("x", variants={"a": ""}))))})


@pytest.mark.parametrize(
    ("argument", "make"),
    [
        ("name", lambda: Flags("")),
        ("namespace", lambda: Flags("x", namespace=7)),  # type: ignore[arg-type]
        ("keep_changes", lambda: Flags("x", keep_changes=0)),
        ("keep_changes", lambda: Flags("x", keep_changes=100_001)),
        ("name", lambda: FLAGS.get("")),
        ("name", lambda: FLAGS.is_enabled(None)),  # type: ignore[arg-type]
        ("name", lambda: FLAGS.delete(7)),  # type: ignore[arg-type]
        ("count", lambda: FLAGS.history(0)),
        ("flag", lambda: FLAGS.put("x")),  # type: ignore[arg-type]
        ("at most 262144 bytes, and 'x' takes 262145", lambda: FLAGS.put(sized(262_145))),
        ("expected_version", lambda: FLAGS.put(Flag("x"), expected_version=-1)),
        ("expected_version", lambda: FLAGS.delete("x", expected_version=True)),
        ("by", lambda: FLAGS.put(Flag("x"), by="\ud800")),
        ("token", lambda: FLAGS.put(Flag("x"), token="a,b")),
        ("token", lambda: FLAGS.put(Flag("x"), token="")),
        ("token", lambda: FLAGS.put(Flag("x"), token="a" * 65)),
        ("revision", lambda: FLAGS.wait_for_change(-1, 1)),
        ("seconds must", lambda: FLAGS.wait_for_change(0, 0.001)),
        ("attempts", lambda: Dry(FLAGS.update("x", lambda flag: flag, attempts=0)).result),
    ],
)
def test_a_bad_argument_is_refused(argument: str, make: Callable[[], object]) -> None:
    """When the plan is built, by an error that names it."""
    with pytest.raises(ConfigurationError, match=argument):
        make()


def test_the_limits_are_allowed() -> None:
    """The greatest and the least numbers that the errors name."""
    assert [Flags("x", keep_changes=number).keep_changes for number in (1, 100_000)] == [1, 100_000]
    assert len(FLAGS.put(sized(262_144), token="t" * 64).commands[0].args[-1]) == 262_144  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="at most 262144 bytes, and 'x' takes 262145"):
        FLAGS.put(sized(262_145))
    assert FLAGS.put(Flag("x"), expected_version=0).effect is Effect.IDEMPOTENT
    assert FLAGS.wait_for_change(0, 0.002).blocks_for == 0.002
    assert FLAGS.history(1).name == "flags.history"
    dry = Dry(FLAGS.update("x", lambda flag: flag, attempts=1)).expect("flags.get").give(Flag("x", version=3))
    assert dry.expect("flags.put").give(4).result.version == 4


def test_a_reply_that_is_none() -> None:
    """Is a decode error."""
    for bad in (None, 7, [], [b"1", 2, 3], b"1"):
        for plan in (FLAGS.put(Flag("x")), FLAGS.delete("x")):
            with pytest.raises(DecodeError):
                plan.parse([bad])
