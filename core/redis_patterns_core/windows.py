"""Limits of so many in so long, by windows: fixed ones, a log, and two counters in its place.

Keys: ``ratelimit:{ID}:fixed:NAME`` and ``ratelimit:{ID}:counter:NAME``, strings; ``ratelimit:{ID}:log:NAME``, a list.

Source: the sliding counter is the approximation by two counters of
https://blog.cloudflare.com/counting-things-a-lot-of-different-things/.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field

from redis_patterns_core import validate
from redis_patterns_core.errors import ConfigurationError
from redis_patterns_core.keys import Keys
from redis_patterns_core.rate_limits import Windowed, keys_of
from redis_patterns_core.validate import Duration

__all__ = ["FixedWindow", "SlidingCounter", "SlidingLog"]

_MOST_LOGGED = 10_000


@dataclass(frozen=True, slots=True)
class FixedWindow(Windowed):
    """At most `limit` in each window of `per` seconds, the windows counted from the epoch in the server's time.

    Around a window's turn twice the limit can pass within one window's length. Memory: about 190 bytes for an id that
    was seen in this window, none for the others. When `per` is changed, what was taken in a shorter window that began
    in the present one still counts, and nothing else does.

    Parameters:
        name: what is limited, such as ``api``.
        limit: 1 or more.
        per: the window, in seconds or as a timedelta, 1 ms or more.
        charge_refused: whether a refused hit takes its cost too, as far as there is any left.
        namespace: a prefix of the keys.

    Raises:
        ConfigurationError: an empty name, a limit or a window that is not allowed.
    """

    name: str
    _: KW_ONLY
    limit: int
    per: Duration
    charge_refused: bool = False
    namespace: str = ""
    _keys: Keys = field(init=False, repr=False, compare=False)
    _numbers: tuple[str, int, int, int] = field(init=False, repr=False, compare=False)
    _words: tuple[str, ...] = field(init=False, repr=False, compare=False)

    word = "fixed_window"

    def __post_init__(self) -> None:
        keys = keys_of("fixed", self.name, self.namespace)
        width = validate.milliseconds("per", self.per) * 1000
        self._begin(keys, ("fixed", validate.integer("limit", self.limit, least=1), width, 0))


@dataclass(frozen=True, slots=True)
class SlidingLog(Windowed):
    """Never more than `limit` in any `per` seconds, wherever they begin: every hit is remembered for so long.

    Memory: about 10 bytes for each hit of the last `per` seconds, 20 where it cost more than 1, so it is bounded by the
    limit; 300 bytes on top for each id. A hit takes time in proportion to what left the window since the last one.

    Parameters:
        name: what is limited, such as ``api``.
        limit: 1 to 10,000.
        per: the window, in seconds or as a timedelta, 1 ms or more.
        charge_refused: whether a refused hit is remembered too: who does not stop is not let in.
        namespace: a prefix of the keys.

    Raises:
        ConfigurationError: an empty name, a limit or a window that is not allowed.
    """

    name: str
    _: KW_ONLY
    limit: int
    per: Duration
    charge_refused: bool = False
    namespace: str = ""
    _keys: Keys = field(init=False, repr=False, compare=False)
    _numbers: tuple[str, int, int, int] = field(init=False, repr=False, compare=False)
    _words: tuple[str, ...] = field(init=False, repr=False, compare=False)

    word = "sliding_log"

    def __post_init__(self) -> None:
        keys = keys_of("log", self.name, self.namespace)
        limit = validate.integer("limit", self.limit, least=1, most=_MOST_LOGGED)
        self._begin(keys, ("log", limit, validate.milliseconds("per", self.per) * 1000, 0))


@dataclass(frozen=True, slots=True)
class SlidingCounter(Windowed):
    """About `limit` in any `per` seconds, from two counters: the last window's hits are taken as spread evenly.

    It smooths steady traffic, and is exact for it. Against a burst at the end of a window it is no better than
    `FixedWindow`: up to twice the limit less one can pass within one window's length. Memory: about 180 bytes for an id
    that was seen lately, none for the others. Times are in whole milliseconds.

    Parameters:
        name: what is limited, such as ``api``.
        limit: 1 or more; twice the limit times the window in milliseconds must stay below 2**53.
        per: the window, in seconds or as a timedelta, 1 ms or more.
        charge_refused: whether a refused hit takes its cost too, as far as there is any left.
        namespace: a prefix of the keys.

    Raises:
        ConfigurationError: an empty name, a limit or a window that is not allowed, or both together beyond 2**53.
    """

    name: str
    _: KW_ONLY
    limit: int
    per: Duration
    charge_refused: bool = False
    namespace: str = ""
    _keys: Keys = field(init=False, repr=False, compare=False)
    _numbers: tuple[str, int, int, int] = field(init=False, repr=False, compare=False)
    _words: tuple[str, ...] = field(init=False, repr=False, compare=False)

    word = "sliding_counter"

    def __post_init__(self) -> None:
        keys = keys_of("counter", self.name, self.namespace)
        limit, width = validate.integer("limit", self.limit, least=1), validate.milliseconds("per", self.per)
        if 2 * limit * width >= validate.EXACT_LIMIT:
            raise ConfigurationError(
                f"limit and per must be countable exactly: twice {limit} times {width} ms is beyond 2**53"
            )
        self._begin(keys, ("counter", limit, width, 0))
