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
    """A Redis of strings, lists and sorted sets with expiry, for one Lua version.

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
        self.lists: dict[str, list[str]] = {}
        self.sets: dict[str, dict[str, float]] = {}
        self.hashes: dict[str, dict[str, int]] = {}
        self.expiry: dict[str, int] = {}
        self.calls: list[tuple[str, ...]] = []
        self._loaded: dict[str, Callable[..., Any]] = {}
        self._declared: set[str] = set()

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
        encoded = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        keys, argv = self.lua.table_from(encoded[:count]), self.lua.table_from(encoded[count:])
        self._declared = {str(word) for word in words[:count]}
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
        assert name == "TIME" or args[0] in self._declared, f"a script touched {args[0]}, which is none of its keys"
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
            case "SET", [key, value, "KEEPTTL"]:
                self.strings[key] = value
                return self.lua.table_from({b"ok": b"OK"})
            case "INCRBY", [key, by]:
                self.strings[key] = str(_int64(int(self.strings.get(key, "0")) + int(by)))
                return float(self.strings[key])  # as Redis gives it to Lua
            case "HGET", [key, name]:
                found = self.hashes.get(key, {}).get(name)
                return False if found is None else str(found).encode()
            case "HINCRBY", [key, name, by]:
                counts = self.hashes.setdefault(key, {})
                counts[name] = _int64(counts.get(name, 0) + int(by))
                return 1
            case "EXISTS", [key]:
                return int(key in self.expiry)
            case "PEXPIREAT", [key, at]:
                self.expiry[key] = int(at) * 1000
                return 1
            case "LINDEX", [key, "-1" | "-2" as end]:
                return self.lists[key][int(end)].encode() if key in self.lists else False
            case "LRANGE", [key, first, last]:
                return self.lua.table_from(
                    [entry.encode() for entry in self.lists.get(key, [])[int(first) : int(last) + 1]]
                )
            case "LLEN", [key]:
                return len(self.lists.get(key, []))
            case "LTRIM", [key, first, "-1"]:
                del self.lists[key][: int(first)]
                return 1
            case "LSET", [key, "-1", value]:
                self.lists[key][-1] = value
                return 1
            case "LREM", [key, "-1", value]:
                for place, entry in reversed(list(enumerate(self.lists[key]))):
                    if entry == value:
                        del self.lists[key][place]
                        return 1
                return 0
            case "RPUSH", [key, *values]:
                self.lists.setdefault(key, []).extend(values)
                return len(self.lists[key])
            case "ZSCORE", [key, member]:
                score = self.sets.get(key, {}).get(member)
                return False if score is None else _shown(score).encode()
            case "ZCOUNT", [key, low, "+inf"]:
                return len(self._above(key, low))
            case "ZRANGEBYSCORE", [key, "-inf", high]:
                return self._members([item for item in self._above(key, "-inf") if item[1] <= float(high)])
            case "ZRANGEBYSCORE", [key, low, "+inf", "WITHSCORES"]:
                return self._flat(self._above(key, low))
            case "ZRANGE", [key, "-1", "-1", "WITHSCORES"]:
                return self._flat(self._above(key, "-inf")[-1:])
            case "ZRANGE", [key, "0", "0", "WITHSCORES"]:
                return self._flat(self._above(key, "-inf")[:1])
            case "ZRANGE", [key, first, last]:
                return self._members(
                    self._above(key, "-inf")[int(first) :][: int(last) - int(first) + 1 if int(last) >= 0 else None]
                )
            case "ZRANK", [key, member]:
                return [name for name, _ in self._above(key, "-inf")].index(member)
            case "ZREMRANGEBYSCORE", [key, "-inf", high]:
                left = {member: score for member, score in self.sets.get(key, {}).items() if score > float(high)}
                self.sets[key] = left
                self._drop_if_empty(key)
                return 1
            case "ZREM", [key, member]:
                score = self.sets.get(key, {}).pop(member, None)
                self._drop_if_empty(key)
                return int(score is not None)
            case "ZCARD", [key]:
                return len(self.sets.get(key, {}))
            case "ZADD", [key, score, member]:
                self.sets.setdefault(key, {})[member] = float(score)
                return 1
            case "PTTL", [key]:
                known = any(key in kind for kind in (self.strings, self.lists, self.sets, self.hashes))
                return (self.expiry[key] - self.now) // 1000 if key in self.expiry else -1 if known else -2
            case "PEXPIRE", [key, milliseconds]:
                self.expiry[key] = self.now + int(milliseconds) * 1000
                return 1
            case "DEL", [key]:
                self.expiry.pop(key, None)
                there = [kind.pop(key, None) for kind in (self.strings, self.lists, self.sets, self.hashes)]
                return int(any(value is not None for value in there))
            case _:
                raise AssertionError(f"a script called {name} {args}")

    def expire(self) -> None:
        """Drop the keys whose time has come."""
        for key in [key for key, at in self.expiry.items() if at <= self.now]:
            del self.expiry[key]
            self.strings.pop(key, None)
            self.lists.pop(key, None)
            self.sets.pop(key, None)
            self.hashes.pop(key, None)

    def _above(self, key: str, low: str) -> list[tuple[str, float]]:
        assert low == "-inf" or low.startswith("("), "only bounds that do not belong are known here"
        least = float(low.removeprefix("("))
        items = sorted(self.sets.get(key, {}).items(), key=lambda item: (item[1], item[0]))
        return [(member, score) for member, score in items if score > least]

    def _drop_if_empty(self, key: str) -> None:
        if not self.sets.get(key):
            self.sets.pop(key, None)
            self.expiry.pop(key, None)

    def _members(self, items: list[tuple[str, float]]) -> Any:
        return self.lua.table_from([member.encode() for member, _ in items])

    def _flat(self, items: list[tuple[str, float]]) -> Any:
        return self.lua.table_from([word.encode() for member, score in items for word in (member, _shown(score))])

    def state(self) -> tuple[dict[str, str | tuple[str, ...]], dict[str, int]]:
        """Give a copy of all values and of when they expire."""
        return {**self.strings, **{key: tuple(entries) for key, entries in self.lists.items()}}, dict(self.expiry)


def _int64(number: int) -> int:
    assert -(2**63) <= number < 2**63, "Redis would refuse this, perhaps after it has written something"
    return number


def sent(plan: Plan[Any]) -> str:
    """Give the words of a plan's commands; of a script its name, its count of keys, and what it is called with."""
    lines = [
        command.args if command.script is None else (command.script.name, *command.args[2:])
        for command in plan.commands
    ]
    return "\n".join(" ".join(map(str, line)) for line in lines)


def _shown(number: float) -> str:
    return str(int(number)) if number == int(number) else repr(number)
