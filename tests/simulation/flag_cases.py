"""What is simulated of flags: those who write them, one who follows, and what must hold."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from redis_patterns import Flag, FlagClient, FlagConflict, Flags, PatternsError, Sleep, Steps, flow
from redis_patterns.testing.simulation import Setup, World

FLAGS = Flags("sim", keep_changes=10_000)
NAMES = ("a", "b")


@dataclass
class Written:
    """What a writer wanted.

    Parameters:
        expected: the version that it has seen; ``None`` for any.
        refused: whether it was told of a conflict.
        version: that it was told.
    """

    expected: int | None
    refused: bool = False
    version: int | None = None


def flag_setup(
    flags: Any = FLAGS, *, writers: int = 2, writes: int = 5, follows: bool = True, slow: bool = True
) -> Setup:
    """Clients that write and delete flags as they have seen them, and one that follows.

    Parameters:
        flags: a `Flags`, or something broken in its place.
        writers, writes: how many write, and how often each.
        follows: whether one follows.
        slow: whether writers pause between what they see and what they write.
    """

    def setup(world: World) -> None:
        wanted: dict[str, Written] = {}
        numbers = itertools.count(1)
        versions: dict[str, int] = {}
        client = FlagClient(flags, poll=0.5)

        @flow
        def write_once(name: str, token: str) -> Steps[None]:
            flag: Flag | None = yield from flags.get(name)
            seen = world.random.choice((flag.version if flag is not None else 0, None))
            if slow:
                yield from Sleep(world.random.choice((0, 0, 0.05)))
            one = wanted[token] = Written(seen)
            try:
                if flag is not None and world.random.random() < 0.3:
                    yield from flags.delete(name, expected_version=seen, by=token, token=token)
                else:
                    made = Flag(name, variants={"value": token})
                    one.version = yield from flags.put(made, expected_version=seen, by=token, token=token)
            except FlagConflict as conflict:
                one.refused = True
                if seen == 0 and conflict.version:
                    # Deleted before: it may be made again over the version by which it was.
                    again = wanted[f"{token}-again"] = Written(conflict.version)
                    made = Flag(name, variants={"value": token})
                    options = {"by": f"{token}-again", "token": f"{token}-again"}
                    again.version = yield from flags.put(made, expected_version=conflict.version, **options)

        @flow
        def writer() -> Steps[None]:
            for _ in range(writes):
                token = f"t{next(numbers)}"
                try:
                    yield from write_once(world.random.choice(NAMES), token)
                except FlagConflict:
                    wanted[f"{token}-again"].refused = True
                except PatternsError:
                    continue

        for number in range(writers):
            world.client(f"w{number}", writer())
        if follows:
            client.begin(lambda _: None)
            world.client(
                "f",
                client.keep(
                    slice=0.5,
                    until=lambda: (
                        not any(one.running for name, one in world.clients.items() if name != "f")
                        and client.revision == world.server.run(FLAGS.revision())
                    ),
                ),
            )

        def writes_are_as_was_seen() -> None:
            changes = world.server.run(FLAGS.history(10_000))
            by_token = {change.by: change for change in changes}
            assert len(by_token) == len(changes), "a write counts twice"
            for token, change in by_token.items():
                one = wanted[token]
                assert one.expected in {None, change.version - 1}, f"{token} is an older write over a newer one"
                assert not one.refused, f"{token} was told of a conflict, and was written"
                assert one.version in {None, change.version}, f"{token} was told another version"
            for token, one in wanted.items():
                assert one.version is None or token in by_token, f"{token} was told that it was written, and was not"

        def versions_grow() -> None:
            newest: dict[str, int] = {}
            for change in reversed(world.server.run(FLAGS.history(10_000))):
                last = newest.get(change.name, 0)
                assert change.version == last + 1, f"{change.name}: version {change.version} comes after {last}"
                newest[change.name] = change.version
            for name, version in newest.items():
                assert version >= versions.get(name, 0)
            versions.update(newest)

        def what_is_followed_was_so() -> None:
            snapshot = client.snapshot
            if snapshot is None:
                return
            assert not snapshot.unreadable
            changes = [c for c in world.server.run(FLAGS.history(10_000)) if c.revision <= snapshot.revision]
            latest = {change.name: change.flag for change in reversed(changes)}
            assert snapshot.flags == {name: flag for name, flag in latest.items() if flag is not None}

        world.invariant("written as was not seen", writes_are_as_was_seen)
        world.invariant("a version that does not grow", versions_grow)
        world.invariant("a snapshot of what never was", what_is_followed_was_so)

    return setup


FLAG_CASES: dict[str, Setup] = {"flags": flag_setup()}
