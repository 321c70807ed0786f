"""Runs the library's scripts in a Lua of its own, over a store in a dict and a clock that the test moves.

Only what the scripts use of Redis is here; it exists to check their arithmetic exactly and on both Lua versions. That
Redis itself agrees is checked by the drivers' tests.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import lupa.lua51
import lupa.lua54

from redis_patterns import Command, ErrorReply, Plan

RUNTIMES: dict[str, Any] = {"5.1": lupa.lua51, "5.4": lupa.lua54}


class Fake:
    """A Redis of strings with expiry, for one Lua version.

    Parameters:
        version: of Lua.
    """

    def __init__(self, version: str) -> None:
        module = RUNTIMES[version]
        self.lua = module.LuaRuntime(encoding=None, unpack_returned_tuples=True)
        self.lua_type = module.lua_type
        self.now = 1_700_000_000_000_000
        """Microseconds since the epoch."""
        self.strings: dict[str, str] = {}
        self.expiry: dict[str, int] = {}
        self.calls: list[tuple[str, ...]] = []
        self._loaded: dict[str, Callable[..., Any]] = {}

    def run(self, plan: Plan[Any]) -> Any:
        """Run a plan of one script."""
        (command,) = plan.commands
        return plan.parse([self.reply(command)])

    def reply(self, command: Command) -> object:
        """Give the reply to a script, converted as Redis does."""
        assert command.script is not None
        if command.script.name not in self._loaded:
            # Without the globals table, a script that sets a global would fail.
            source = "return function(KEYS, ARGV, redis) " + command.script.source + "\nend"
            self._loaded[command.script.name] = self.lua.execute(source.encode())
        _, _, count, *words = command.args
        assert isinstance(count, int)
        encoded = [str(word).encode() for word in words]
        keys, argv = self.lua.table_from(encoded[:count]), self.lua.table_from(encoded[count:])
        redis = self.lua.table_from(
            {b"call": self._call, b"error_reply": lambda text: self.lua.table_from({b"err": text})}
        )
        return self._converted(self._loaded[command.script.name](keys, argv, redis))

    def _converted(self, value: Any) -> object:
        if isinstance(value, bool):
            return 1 if value else None
        if isinstance(value, float):
            return math.trunc(value)  # as Redis does: towards zero
        if self.lua_type(value) == "table":
            if value[b"err"] is not None:
                return ErrorReply.parse(value[b"err"].decode())
            items: list[object] = []
            while value[len(items) + 1] is not None:
                items.append(self._converted(value[len(items) + 1]))
            return items
        return value

    def _call(self, *words: Any) -> Any:
        name, *args = (word.decode() if isinstance(word, bytes) else _shown(word) for word in words)
        self.calls.append((name, *args))
        self.expire()
        match name, args:
            case "TIME", []:
                seconds, microseconds = divmod(self.now, 1_000_000)
                return self.lua.table_from([str(seconds).encode(), str(microseconds).encode()])
            case "GET", [key]:
                return self.strings[key].encode() if key in self.strings else False
            case "SET", [key, value, "PX", milliseconds]:
                self.strings[key] = value
                self.expiry[key] = self.now + int(milliseconds) * 1000
                return self.lua.table_from({b"ok": b"OK"})
            case "PTTL", [key]:
                return (self.expiry[key] - self.now) // 1000 if key in self.expiry else -2
            case "PEXPIRE", [key, milliseconds]:
                self.expiry[key] = self.now + int(milliseconds) * 1000
                return 1
            case "DEL", [key]:
                self.expiry.pop(key, None)
                return int(self.strings.pop(key, None) is not None)
            case _:
                raise AssertionError(f"a script called {name} {args}")

    def expire(self) -> None:
        """Drop the keys whose time has come."""
        for key in [key for key, at in self.expiry.items() if at <= self.now]:
            del self.strings[key], self.expiry[key]


def _shown(number: float) -> str:
    return str(int(number)) if number == int(number) else repr(number)
