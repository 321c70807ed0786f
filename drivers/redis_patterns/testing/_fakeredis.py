"""fakeredis as `Server` needs it: its time and its chance are ours, nothing blocks, HyperLogLogs are those of Redis."""

from __future__ import annotations

import inspect
import random
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, cast

from fakeredis._commands import Key, Signature
from fakeredis._helpers import OK, SimpleError, current_time
from fakeredis._socket import BaseFakeSocket, FakeSocket
from fakeredis.commands_mixins import HashCommandsMixin, ServerCommandsMixin

from redis_patterns_core import hyperloglog
from redis_patterns_core.errors import DecodeError, DriverClosed

__all__ = ["Socket", "of_ours"]


class Socket(FakeSocket):
    """A connection to fakeredis that never blocks: what would block says so."""

    would_block = False

    def _blocking(
        self, timeout: float | None, func: Callable[[bool], Any], shape: Callable[[Any], Any] | None = None
    ) -> Any:
        del timeout
        result = func(True)  # noqa: FBT003  fakeredis' own
        self.would_block = result is None and not self._in_transaction
        return result if shape is None else shape(result)

    # fakeredis' own HyperLogLogs are exact sets, which are of another type and count another number. Those stay as they
    # are for other users of fakeredis in this process.

    def _name_to_func(self, cmd_name: str) -> Any:
        known = _HYPERLOGLOGS.get(cmd_name)
        return super()._name_to_func(cmd_name) if known is None else (getattr(self, cmd_name), known)

    def pfadd(self, key: Any, *members: bytes) -> int:
        """Add members to a HyperLogLog."""
        before = _registers(key)
        after = hyperloglog.add(before, members)
        if key.value is None or after != before:
            key.update(hyperloglog.encode(after))
            return 1
        return 0

    def pfcount(self, *keys: Any) -> int:
        """Count the members of several HyperLogLogs."""
        return hyperloglog.estimate(hyperloglog.union(map(_registers, keys)))

    def pfmerge(self, dest: Any, *sources: Any) -> Any:
        """Unite HyperLogLogs."""
        dest.update(hyperloglog.encode(hyperloglog.union(map(_registers, (dest, *sources)))))
        return OK

    def next_response(self) -> Any:
        """Give the response to the command that was just sent."""
        if self.responses is None:
            raise DriverClosed("the server in memory was closed")
        return self.responses.get_nowait()


_KEY: Any = Key(bytes)
_HYPERLOGLOGS = {
    "pfadd": Signature("pfadd", "pfadd", (_KEY,), (bytes,)),
    "pfcount": Signature("pfcount", "pfcount", (_KEY,), (_KEY,)),
    "pfmerge": Signature("pfmerge", "pfmerge", (_KEY,), (_KEY,)),
}


def _registers(key: Any) -> int:
    if key.value is None:
        return 0
    try:
        return hyperloglog.decode(key.value)
    except DecodeError:
        raise SimpleError("WRONGTYPE Key is not a valid HyperLogLog string value.") from None


class _Ours(threading.local):
    """What time it is for fakeredis in this thread, and what it takes for chance; ``None`` for the system's."""

    now: Callable[[], float] | None = None
    chance: random.Random | None = None


_ours = _Ours()


class _Time:
    """Stands in fakeredis' modules for ``time``."""

    @staticmethod
    def time() -> float:
        now = _ours.now
        return time.time() if now is None else now()

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


class _Random:
    """Stands in fakeredis' modules for ``random``."""

    def __getattr__(self, name: str) -> Any:
        return getattr(random if _ours.chance is None else _ours.chance, name)


@contextmanager
def of_ours(now: Callable[[], float], chance: random.Random) -> Generator[None, None, None]:
    before = _ours.now, _ours.chance
    _ours.now, _ours.chance = now, chance
    try:
        yield
    finally:
        _ours.now, _ours.chance = before


def _patch() -> None:
    """Let fakeredis ask us for the time, and for chance; for everybody else they stay the system's."""
    stand_in = _Time()
    for function in (BaseFakeSocket.sendall, ServerCommandsMixin.time, current_time):
        inspect.unwrap(function).__globals__["time"] = stand_in
    inspect.unwrap(cast("Any", HashCommandsMixin).hrandfield).__globals__["random"] = _Random()


_patch()
