"""Writing behind: a write is in Redis at once, and is saved where it belongs a little later, together with others.

Promises: a write is noted and can be read in one step; it stays noted until it was saved, whoever dies where, so that
the last write of each key is saved at last. Writes of one key are saved in their order; of several within the delay
only the last is saved, removals included. A key that is written all the time is saved at least once in `most_delay`.
What cannot be saved is tried again, later each time, and goes to the dead letters in the end. `save` may be called
twice with the same write, when the process dies before it has said that it was saved; and a process that is stopped for
longer than its lease may save an old write after another one: a `save` that compares sequence numbers is right always.

What is noted is the only copy: Redis must not evict it, so the policy must be ``noeviction`` or one of ``volatile-*``,
and should write it to disk (append-only file).

Keys, all in one slot for each partition P: ``behind:{NAME:P}:dirty``, a hash of what is to be saved;
``behind:{NAME:P}:due``, a sorted set; ``behind:{NAME:P}:saving``, ``behind:{NAME:P}:failed`` and
``behind:{NAME:P}:dead``, hashes; ``behind:{NAME:P}:last``, a string; without a TTL, as they must not be lost. And
``behind:{NAME:P}:value:KEY``, a string with a TTL, for those who read.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Generic, TypeVar

from redis_patterns_core import keys as names_of
from redis_patterns_core import replies, validate
from redis_patterns_core.cache_entries import MISS, Miss
from redis_patterns_core.cache_loads import Loader, loaded_by
from redis_patterns_core.codec import Codec, Json
from redis_patterns_core.errors import DecodeError, PatternsError, WritesPending
from redis_patterns_core.flow import Alongside, Defer, Now, Sleep, Steps, flow
from redis_patterns_core.lease_records import new_token
from redis_patterns_core.plan import Command, Effect, Plan, Script
from redis_patterns_core.replies import Reply
from redis_patterns_core.validate import Duration
from redis_patterns_core.value import value

__all__ = ["Write", "WriteBehind"]

T = TypeVar("T")

_PUT = Script.load("behind_put")
_CLAIM = Script.load("behind_claim")
_SETTLE = Script.load("behind_settle")
_RENEW = Script.load("behind_renew")
_FILL = Script.load("behind_fill")

_FULL_PAUSE = 0.05
"""Seconds, at first, between looks for room."""
_MOST_IDLE = 1.0
"""Seconds after which one who saves looks for keys that are due."""


@value
class Write(Generic[T]):
    """One write, to be saved.

    Parameters:
        key: whose.
        value: what; `MISS` where it is a removal.
        sequence: grows with each write of a key; a store that has seen a greater one can refuse this one.
    """

    key: str
    value: T | Miss
    sequence: int


@value
class _Claimed(Generic[T]):
    writes: list[Write[T]]
    unreadable: list[tuple[str, int]]


@dataclass(frozen=True, eq=False)
class WriteBehind(Generic[T]):
    """Values that are written to Redis at once, and saved where they belong a little later.

    Parameters:
        name: what is written, such as ``profiles``.
        ttl: for how long a value can be read after it was written, in seconds or as a timedelta; until it was saved in
            any case.
        codec: writes and reads the values; JSON unless another is given.
        delay: how long a write waits for others of its key before it is saved.
        most_delay: how long it waits at most, however often the key is written.
        most: how many keys of a partition may wait to be saved.
        batch: how many writes `save` is given at most.
        lease: how long one that saves, and does not prolong it, keeps a key from others.
        retry_after: how long a write that could not be saved waits for the next try, twice as long each time.
        most_retry: how long at most.
        tries: after how many failures it goes to the dead letters.
        partitions: into how many parts the keys are divided, which may be on different nodes of a cluster. Must not
            change while something waits to be saved.
        namespace: a prefix of the keys.

    Raises:
        ConfigurationError: an empty name, a number or a duration that is not allowed.
    """

    name: str
    _: KW_ONLY
    ttl: Duration
    codec: Codec[T] = field(default_factory=Json)
    delay: Duration = 1
    most_delay: Duration = 10
    most: int = 10_000
    batch: int = 100
    lease: Duration = 30
    retry_after: Duration = 1
    most_retry: Duration = 300
    tries: int = 10
    partitions: int = 1
    namespace: str = ""
    _ms: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        validate.text("name", self.name)
        validate.namespace(self.namespace)
        for count in ("most", "batch", "tries", "partitions"):
            validate.integer(count, getattr(self, count), least=1)
        least = {"ttl": 1, "delay": 0, "most_delay": 0, "lease": 1, "retry_after": 1, "most_retry": 1}
        ms = {name: validate.milliseconds(name, getattr(self, name), least=few) for name, few in least.items()}
        object.__setattr__(self, "_ms", ms)

    # Writing and reading

    @flow
    def put(self, key: str, value: T | Miss, *, wait: Duration = 0) -> Steps[int]:
        """Write a value, or `MISS` for a removal.

        Parameters:
            key: whose.
            value: what.
            wait: seconds, or a timedelta, to wait for room where too many keys wait to be saved.

        Returns:
            A flow of one round trip that gives the write's sequence number.

        Raises:
            OutcomeUnknown: no answer came, so it may have been written. It is not sent again, as somebody else may have
                written meanwhile.
            WritesPending: too many keys wait to be saved, and nothing was written.
            ConfigurationError: an empty key, or a wait that is not allowed.
            EncodeError: the codec cannot write the value.
        """
        seconds = validate.milliseconds("wait", wait, least=0) / 1000
        part, name = self._place(key)
        payload = b"" if isinstance(value, Miss) else self.codec.encode(value)
        ms = self._ms
        keys = [*[self._key(part, kind) for kind in ("dirty", "due", "saving", "last")], name]
        operation = "d" if isinstance(value, Miss) else "s"
        command = _PUT(keys, key, operation, payload, ms["delay"], ms["most_delay"], ms["ttl"], self.most)
        plan = Plan("behind.put", (command,), replies.first_integer, Effect.ONCE)
        ends_at, pause = (yield from Now()) + seconds, _FULL_PAUSE
        while True:
            sequence = yield from plan
            if sequence:
                return sequence
            now = yield from Now()
            if now >= ends_at:
                raise WritesPending(f"{self.most} keys of {self.name!r} wait to be saved already")
            yield from Sleep(min(pause, ends_at - now))
            pause = min(1.0, 2 * pause)

    def get(self, key: str) -> Plan[T | Miss]:
        """Look for a value: what waits to be saved, else what was written or loaded before.

        Returns:
            A plan of one round trip that gives the value, or `MISS` where there is none or it was removed.

        Raises:
            ConfigurationError: an empty key.
            DecodeError: when the plan is run: the codec cannot read the value.
        """
        part, name = self._place(key)
        commands = (Command(("HGET", self._key(part, "dirty"), key)), Command(("GET", name)))
        return Plan("behind.get", commands, self._read, Effect.READS)

    @flow
    def load(self, key: str, loader: Loader[T | Miss]) -> Steps[T | Miss]:
        """Give the value of a key, and load it where Redis has none.

        Parameters:
            key: whose.
            loader: gives the value from where it is saved, or `MISS`; called only where nothing waits to be saved.

        Returns:
            A flow of one round trip where the value is there; three where it is loaded.

        Raises:
            ConfigurationError: an empty key.
            DecodeError: the codec cannot read the value.
            Exception: whatever the loader raised.
        """
        part, name = self._place(key)
        commands = (Command(("HGET", self._key(part, "dirty"), key)), Command(("GET", name)))
        waiting, written = yield from Plan("behind.get", commands, list, Effect.READS)
        if waiting is not None or written is not None:
            return self._read((waiting, written))
        loaded: T | Miss = yield from loaded_by(loader)
        if not isinstance(loaded, Miss):
            fill = _FILL((self._key(part, "dirty"), name), key, self.codec.encode(loaded), self._ms["ttl"])
            stored = yield from Plan("behind.fill", (fill,), replies.first_integer, Effect.IDEMPOTENT)
            if not stored:
                # Somebody has written or loaded it meanwhile.
                newer: T | Miss = yield from self.get(key)
                return loaded if isinstance(newer, Miss) else newer
        return loaded

    def pending(self) -> Plan[int]:
        """Tell how many keys wait to be saved. One round trip."""
        commands = [Command(("HLEN", self._key(part, "dirty"))) for part in range(self.partitions)]
        return Plan("behind.pending", tuple(commands), replies.sum_of, Effect.READS)

    def dead_letters(self) -> Plan[list[Write[T]]]:
        """Give the writes that could not be saved. One round trip; nothing is removed.

        Raises:
            DecodeError: when the plan is run: the codec cannot read one of them.
        """
        commands = [Command(("HGETALL", self._key(part, "dead"))) for part in range(self.partitions)]

        def parse(answers: Sequence[Reply]) -> list[Write[T]]:
            found = [pair for answer in answers for pair in replies.pairs(answer)]
            return [self._write(replies.text(key), record) for key, record in found]

        return Plan("behind.dead_letters", tuple(commands), parse, Effect.READS)

    def forget_dead(self, key: str) -> Plan[bool]:
        """Remove a dead letter, and tell whether there was one; to save it after all, `put` its value first.

        One round trip; idempotent.

        Raises:
            ConfigurationError: an empty key.
        """
        part, _ = self._place(key)
        command = Command(("HDEL", self._key(part, "dead"), key))
        return Plan("behind.forget_dead", (command,), replies.first_is_one, Effect.IDEMPOTENT)

    # Saving

    @flow
    def flush(self, save: Callable[[Sequence[Write[T]]], Any], *, all_now: bool = False) -> Steps[int]:
        """Save what is due, once.

        Parameters:
            save: is given writes, at most `batch`, of different keys, and saves them: a function, or a coroutine
                function. When it raises, none of them counts as saved.
            all_now: whether what could still wait is due too.

        Returns:
            A flow that tells how many writes were saved. Two round trips for each batch.

        Raises:
            Exception: whatever `save` raised; the writes are due again later.
        """
        count = 0
        for part in range(self.partitions):
            while True:
                token = new_token()
                claimed = yield from self._claim(part, token, all_now=all_now)
                if claimed.unreadable:
                    yield from self._settle(part, token, claimed.unreadable, saved=False)
                if not claimed.writes:
                    break
                count += yield from self._save(part, token, claimed.writes, save)
        return count

    @flow
    def run(
        self, save: Callable[[Sequence[Write[T]]], Any], *, until: Callable[[], bool] = lambda: False
    ) -> Steps[None]:
        """Save what is due, again and again; any number of processes may do so.

        A failure of `save` does not end it: it goes on with what is due next.

        Parameters:
            save: as for `flush`.
            until: asked between rounds whether to end; everything that waits is saved then.
        """
        while not until():
            try:
                yield from self.flush(save)
            except Exception:  # noqa: BLE001  they are due again later, and end as dead letters
                yield from Sleep(self._ms["retry_after"] / 1000)
                continue
            yield from Sleep(min(_MOST_IDLE, max(0.01, self._ms["delay"] / 2000)))
        yield from self.flush(save, all_now=True)

    @flow
    def _save(
        self, part: int, token: str, writes: list[Write[T]], save: Callable[[Sequence[Write[T]]], Any]
    ) -> Steps[int]:
        settled = [(write.key, write.sequence) for write in writes]
        yield from Defer(self._settle(part, token, settled, saved=False), on_error_only=True)
        yield from Alongside(loaded_by(save, writes), self._keep(part, token, [key for key, _ in settled]))
        yield from self._settle(part, token, settled, saved=True)
        return len(writes)

    @flow
    def _keep(self, part: int, token: str, names: Sequence[str]) -> Steps[None]:
        command = _RENEW((self._key(part, "due"), self._key(part, "saving")), token, self._ms["lease"], *names)
        plan = Plan("behind.renew", (command,), replies.first_integer, Effect.IDEMPOTENT)
        while True:
            yield from Sleep(self._ms["lease"] / 3000)
            try:
                if not (yield from plan):
                    return
            except PatternsError:
                continue

    def _claim(self, part: int, token: str, *, all_now: bool) -> Plan[_Claimed[T]]:
        names = [self._key(part, kind) for kind in ("dirty", "due", "saving")]
        command = _CLAIM(names, token, self._ms["lease"], self.batch, int(all_now))

        def parse(answers: Sequence[Reply]) -> _Claimed[T]:
            writes: list[Write[T]] = []
            unreadable: list[tuple[str, int]] = []
            for name, record in replies.pairs(answers[0]):
                key = replies.text(name)
                try:
                    writes.append(self._write(key, record))
                except DecodeError:
                    unreadable.append((key, _sequence(record)))
            return _Claimed(writes, unreadable)

        return Plan("behind.claim", (command,), parse, Effect.IDEMPOTENT)

    def _settle(self, part: int, token: str, settled: Sequence[tuple[str, int]], *, saved: bool) -> Plan[list[int]]:
        names = [self._key(part, kind) for kind in ("dirty", "due", "saving", "failed", "dead")]
        words = [word for pair in settled for word in pair]
        ms = self._ms
        command = _SETTLE(
            names, token, ms["delay"], ms["retry_after"], ms["most_retry"], self.tries, int(saved), *words
        )
        return Plan("behind.settle", (command,), lambda answers: replies.integers(answers[0], 2), Effect.IDEMPOTENT)

    # Keys and records

    def _place(self, key: str) -> tuple[int, str]:
        validate.text("key", key)
        part = binascii.crc32(key.encode()) % self.partitions
        return part, self._key(part, f"value:{key}")

    def _key(self, part: int, kind: str) -> str:
        return names_of.key("behind", self.name, str(part), part=kind, namespace=self.namespace)

    def _read(self, answers: Sequence[Reply]) -> T | Miss:
        waiting, written = answers
        if waiting is not None:
            return self._write("", waiting).value
        return self.codec.decode(written) if isinstance(written, bytes) else MISS

    def _write(self, key: str, record: Reply) -> Write[T]:
        sequence, operation, payload = _parts(record)
        return Write(key, MISS if operation == b"d" else self.codec.decode(payload), sequence)


def _parts(record: Reply) -> tuple[int, bytes, bytes]:
    if isinstance(record, bytes):
        sequence, _, rest = record.partition(b":")
        _, _, rest = rest.partition(b":")
        if sequence.isdigit() and rest[:1] in {b"s", b"d"}:
            return int(sequence), rest[:1], rest[1:]
    raise DecodeError("expected a write that waits to be saved, got something else")


def _sequence(record: Reply) -> int:
    return _parts(record)[0]
