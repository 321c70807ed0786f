"""Writing behind: a write is in Redis at once, and is saved where it belongs a little later, together with others.

Promises: a write is noted and can be read in one step; it stays noted until it was saved, whoever dies where, so that
the last write of each key is saved at last. Writes of one key are saved in their order; of several within the delay
only the last is saved, removals included. A key that is written all the time is saved at least once in `most_delay`.
What cannot be saved is tried again, later each time and in smaller batches, in the end alone, so that it takes no other
with it; then it goes to the dead letters, until it is redriven or a later write of its key was saved. `save` may be
called twice with the same write, when the process dies before it has said that it was saved; and a process that is
stopped for longer than its lease may save an old write after another one: a `save` that compares sequence numbers is
right always.

What is noted is the only copy: Redis must not evict it, so the policy must be ``noeviction`` or one of ``volatile-*``,
and should write it to disk (append-only file).

Keys, all in one slot for each partition P: ``behind:{NAME:P}:dirty``, a hash of what is to be saved;
``behind:{NAME:P}:due``, a sorted set; ``behind:{NAME:P}:saving``, ``behind:{NAME:P}:failed`` and
``behind:{NAME:P}:dead``, hashes; ``behind:{NAME:P}:last``, a string; without a TTL, as they must not be lost. And
``behind:{NAME:P}:value:KEY``, for those who read, and ``behind:{NAME:P}:load:KEY``, while somebody loads: strings with
a TTL.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Generic, TypeVar

from redis_patterns_core import keys as names_of
from redis_patterns_core import replies, validate
from redis_patterns_core.cache_entries import MISS, Miss
from redis_patterns_core.cache_loads import Loader, loaded_by
from redis_patterns_core.codec import Codec, Json, error_text
from redis_patterns_core.errors import ConfigurationError, DecodeError, DriverClosed, PatternsError, WritesPending
from redis_patterns_core.flow import Alongside, Defer, Now, Sleep, Spawn, Steps, flow
from redis_patterns_core.lease_records import new_token
from redis_patterns_core.plan import Command, Effect, Plan, Script
from redis_patterns_core.replies import Reply
from redis_patterns_core.validate import Duration
from redis_patterns_core.value import value

__all__ = ["DeadWrite", "Write", "WriteBehind"]

T = TypeVar("T")

_PUT = Script.load("behind_put")
_CLAIM = Script.load("behind_claim")
_SETTLE = Script.load("behind_settle")
_RENEW = Script.load("behind_renew")
_LOOK = Script.load("behind_look")
_FILL = Script.load("behind_fill")
_REDRIVE = Script.load("behind_redrive")
_RELEASE = Script.load("behind_release")

_FULL_PAUSE = 0.05
"""Seconds, at first, between looks for room."""
_MOST_IDLE = 1.0
"""Seconds after which one who saves looks for keys that are due."""
_WRITE = re.compile(rb"(\d+):\d+:([sd])(.*)", re.DOTALL)
"""What waits: its sequence number, when the first of its key came, the operation, the payload."""
_DEAD = re.compile(rb"(\d+):(\d+):(?:e(\d+):)?(.*)", re.DOTALL)
"""A dead letter: its sequence number, when it failed, the length of the error; the error, operation and payload."""
_MOST_AT_ONCE = 1000
"""Dead letters that are redriven at once."""


@value
class Write(Generic[T]):
    """One write, to be saved.

    Parameters:
        key: whose.
        value: what; `MISS` where it is a removal.
        sequence: grows with each write of a key; a store that has seen a greater one can refuse this one.
    """

    key: str
    value: T | Miss = field(repr=False)
    sequence: int


@value
class DeadWrite(Generic[T]):
    """A write that could not be saved.

    Parameters:
        key: whose.
        write: what was to be saved; ``None`` where it cannot be read.
        error: what was wrong the last time.
        at: when, in seconds since the epoch, by the server's clock.
        payload: its bytes.
    """

    key: str
    write: Write[T] | None
    error: str
    at: float
    payload: bytes = field(repr=False)


@value
class _Claimed(Generic[T]):
    writes: list[Write[T]]
    unreadable: list[tuple[str, bytes]] = field(repr=False)
    error: str


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
        batch: how many writes `save` is given at most; of those that have failed half as many each time.
        lease: how long one that saves, and does not prolong it, keeps a key from others.
        retry_after: how long a write that could not be saved waits for the next try, twice as long each time.
        most_retry: how long at most.
        tries: after how many failures it goes to the dead letters; before the last one it is tried alone.
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
        keys = [*[self._key(part, kind) for kind in ("dirty", "due", "saving", "last")], name, self._loads(part, key)]
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
            A flow of one round trip where the value is there; two where it is loaded. What was loaded is stored unless
            the key was written meanwhile, or loading took longer than `ttl`.

        Raises:
            ConfigurationError: an empty key.
            DecodeError: the codec cannot read the value.
            Exception: whatever the loader raised.
        """
        part, name = self._place(key)
        loads = self._loads(part, key)
        look = _LOOK((self._key(part, "dirty"), name, loads), key, new_token(), self._ms["ttl"])
        waiting, written, token = yield from Plan("behind.look", (look,), _looked, Effect.IDEMPOTENT)
        if waiting is not None or written is not None:
            return self._read((waiting, written))
        loaded: T | Miss = yield from loaded_by(loader)
        if not isinstance(loaded, Miss):
            fill = _FILL((name, loads), token, self.codec.encode(loaded), self._ms["ttl"])
            stored = yield from Plan("behind.fill", (fill,), replies.first_is_one, Effect.IDEMPOTENT)
            if not stored:
                # Somebody has written or loaded it meanwhile.
                newer: T | Miss = yield from self.get(key)
                return loaded if isinstance(newer, Miss) else newer
        return loaded

    def pending(self) -> Plan[int]:
        """Tell how many keys wait to be saved. One round trip."""
        commands = [Command(("HLEN", self._key(part, "dirty"))) for part in range(self.partitions)]
        return Plan("behind.pending", tuple(commands), replies.sum_of, Effect.READS)

    def dead_letters(self) -> Plan[list[DeadWrite[T]]]:
        """Give the writes that could not be saved, what the codec cannot read among them. One round trip; all stay."""
        commands = [Command(("HGETALL", self._key(part, "dead"))) for part in range(self.partitions)]

        def parse(answers: Sequence[Reply]) -> list[DeadWrite[T]]:
            found = [pair for answer in answers for pair in replies.pairs(answer)]
            return [self._dead(replies.text(key), record) for key, record in found]

        return Plan("behind.dead_letters", tuple(commands), parse, Effect.READS)

    def redrive(self, *keys: str, count: int = 100) -> Plan[int]:
        """Let dead letters be saved after all: they are due at once, as if they had never failed.

        Parameters:
            keys: whose; any where none is given.
            count: how many of those at most in each partition, 1 to 1000.

        Returns:
            A plan of one round trip that gives how many are due now. One whose key was written again since is dropped,
            as only the last write counts; `most` does not hold for them.

        Raises:
            ConfigurationError: an empty key, too many of them, or a count that is not allowed.
        """
        most = validate.integer("count", count, least=1, most=_MOST_AT_ONCE)
        if len(keys) > _MOST_AT_ONCE:
            raise ConfigurationError(f"keys must be at most {_MOST_AT_ONCE}, not {len(keys)}")
        wanted: dict[int, list[str]] = {} if keys else {part: [] for part in range(self.partitions)}
        for key in keys:
            wanted.setdefault(self._place(key)[0], []).append(key)
        commands = [
            _REDRIVE([self._key(part, kind) for kind in ("dirty", "due", "dead")], most, *those)
            for part, those in wanted.items()
        ]
        effect = Effect.IDEMPOTENT if keys else Effect.ONCE
        return Plan("behind.redrive", tuple(commands), replies.sum_of, effect)

    def forget_dead(self, key: str) -> Plan[bool]:
        """Remove a dead letter, and tell whether there was one.

        One round trip; sent at most once.

        Raises:
            ConfigurationError: an empty key.
        """
        part, _ = self._place(key)
        command = Command(("HDEL", self._key(part, "dead"), key))
        return Plan("behind.forget_dead", (command,), replies.first_is_one, Effect.ONCE)

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
            Exception: whatever `save` raised; the writes are due again later, in smaller batches.
        """
        count = 0
        for part in range(self.partitions):
            while True:
                token = new_token()
                claimed = yield from self._take(part, token, all_now=all_now)
                if isinstance(claimed, PatternsError):
                    raise claimed
                if not claimed.writes:
                    break
                count += yield from self._save(part, token, claimed.writes, save)
        return count

    @flow
    def run(
        self, save: Callable[[Sequence[Write[T]]], Any], *, until: Callable[[], bool] = lambda: False
    ) -> Steps[None]:
        """Save what is due, again and again; any number of processes may do so.

        A failure, of `save` or of Redis, does not end it: the driver's handler of background errors, which by default
        logs it, is told, and after `retry_after` it goes on with what is due then.

        Parameters:
            save: as for `flush`.
            until: asked between rounds whether to end; everything that waits is saved then.

        Raises:
            DriverClosed: the driver was closed.
        """
        while not until():
            try:
                yield from self.flush(save)
            except DriverClosed:
                raise
            except Exception as error:  # noqa: BLE001  they are due again later, and end as dead letters
                yield from Spawn(self._saving(error))
                yield from Sleep(self._ms["retry_after"] / 1000)
                continue
            yield from Sleep(min(_MOST_IDLE, max(0.01, self._ms["delay"] / 2000)))
        yield from self.flush(save, all_now=True)

    @flow
    def _saving(self, error: Exception) -> Steps[None]:
        yield from ()
        raise error

    @flow
    def _take(self, part: int, token: str, *, all_now: bool) -> Steps[_Claimed[T] | PatternsError]:
        """Claim what is due, of which what cannot be read is settled here; gives the error where there is no answer."""
        # Before it is asked for: the answer may be lost to a cancellation when Redis has already given it to us.
        yield from Defer(self._release(part, token), on_error_only=True)
        try:
            claimed = yield from self._claim(part, token, all_now=all_now)
        except PatternsError as error:
            return error  # raised by who asked, where nothing is to be released
        if claimed.unreadable:
            yield from self._settle(part, token, claimed.unreadable, error=claimed.error)
        return claimed

    @flow
    def _save(
        self, part: int, token: str, writes: list[Write[T]], save: Callable[[Sequence[Write[T]]], Any]
    ) -> Steps[int]:
        settled = [(write.key, write.sequence) for write in writes]
        yield from Defer(self._settle(part, token, settled, error="cancelled"), on_error_only=True)
        try:
            yield from Alongside(loaded_by(save, writes), self._keep(part, token, [key for key, _ in settled]))
        except Exception as error:
            # Comes before the other one, which finds nothing left to be done, and hides no error of the saving.
            yield from Defer(self._settle(part, token, settled, error=error))
            raise
        yield from self._settle(part, token, settled)
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
        names = [self._key(part, kind) for kind in ("dirty", "due", "saving", "failed")]
        command = _CLAIM(names, token, self._ms["lease"], self.batch, int(all_now), self.tries)

        def parse(answers: Sequence[Reply]) -> _Claimed[T]:
            writes: list[Write[T]] = []
            unreadable: list[tuple[str, bytes]] = []
            said = ""
            for name, record in replies.pairs(answers[0]):
                key = replies.text(name)
                try:
                    writes.append(self._write(key, record))
                except DecodeError as error:
                    said = str(error)
                    unreadable.append((key, _sequence(record)))
            return _Claimed(writes, unreadable, said)

        return Plan("behind.claim", (command,), parse, Effect.IDEMPOTENT)

    def _release(self, part: int, token: str) -> Plan[int]:
        """Let what was claimed with a token, whatever it is, be due again at once."""
        command = _RELEASE((self._key(part, "due"), self._key(part, "saving")), token)
        return Plan("behind.release", (command,), replies.first_integer, Effect.IDEMPOTENT)

    def _settle(
        self,
        part: int,
        token: str,
        settled: Sequence[tuple[str, int | bytes]],
        *,
        error: BaseException | str | None = None,
    ) -> Plan[list[int]]:
        """Say that writes were saved, or that they were not, and why."""
        names = [self._key(part, kind) for kind in ("dirty", "due", "saving", "failed", "dead")]
        words = [word for pair in settled for word in pair]
        ms, saved = self._ms, error is None
        said = "" if error is None else error_text(error)
        command = _SETTLE(
            names, token, ms["delay"], ms["retry_after"], ms["most_retry"], self.tries, int(saved), said, *words
        )
        return Plan("behind.settle", (command,), lambda answers: replies.integers(answers[0], 2), Effect.IDEMPOTENT)

    # Keys and records

    def _place(self, key: str) -> tuple[int, str]:
        validate.text("key", key)
        part = binascii.crc32(key.encode()) % self.partitions
        return part, self._key(part, f"value:{key}")

    def _loads(self, part: int, key: str) -> str:
        return self._key(part, f"load:{key}")

    def _key(self, part: int, kind: str) -> str:
        return names_of.key("behind", self.name, str(part), part=kind, namespace=self.namespace)

    def _read(self, answers: Sequence[Reply]) -> T | Miss:
        waiting, written = answers
        if waiting is not None:
            return self._write("", waiting).value
        return self.codec.decode(written) if isinstance(written, bytes) else MISS

    def _write(self, key: str, record: Reply) -> Write[T]:
        found = _WRITE.fullmatch(record) if isinstance(record, bytes) else None
        if found is None:
            raise DecodeError("expected a write that waits to be saved, got something else")
        sequence, operation, payload = found.groups()
        return Write(key, MISS if operation == b"d" else self.codec.decode(payload), int(sequence))

    def _dead(self, key: str, record: Reply) -> DeadWrite[T]:
        found = _DEAD.fullmatch(record) if isinstance(record, bytes) else None
        if found is None:
            raise DecodeError("expected a dead letter, got something else")
        sequence, at, length, rest = found.groups()
        error, saved = rest[: int(length or 0)], rest[int(length or 0) :]
        try:
            write = self._write(key, b"%b:%b:%b" % (sequence, at, saved))
        except DecodeError:
            write = None
        return DeadWrite(key, write, error.decode(errors="replace"), int(at) / 1000, saved[1:])


def _looked(answers: Sequence[Reply]) -> tuple[Reply, Reply, str]:
    waiting, written, token = replies.array(answers[0], 3)
    return waiting, written, replies.text(token)


def _sequence(record: Reply) -> bytes:
    # Nothing where it is no write at all: it is to become a dead letter all the same.
    return record[: len(record) - len(record.lstrip(b"0123456789"))] if isinstance(record, bytes) else b""
