"""Bugs in sessions, planted one by one into copies of the scripts."""

from __future__ import annotations

from typing import Any

from redis_patterns import Command, Plan, Session, Sessions
from redis_patterns.testing.simulation import SOME
from tests.simulation.bugs import Bug
from tests.simulation.mistakes import Mistake
from tests.simulation.session_cases import SESSIONS, login_setup, session_setup


class Mistaken(Sessions):
    """Sessions, one of whose scripts has another piece."""

    mistake: Mistake

    def create(self, *args: Any, **kwargs: Any) -> Plan[Session]:
        return self.mistake.plan(super().create(*args, **kwargs))

    def _use(self, *args: Any, **kwargs: Any) -> Command:
        return self.mistake.command(super()._use(*args, **kwargs))

    def _end(self, *args: Any, **kwargs: Any) -> Plan[bool]:
        return self.mistake.plan(super()._end(*args, **kwargs))

    def _leave(self, *args: Any, **kwargs: Any) -> Plan[dict[str, Any] | None]:
        return self.mistake.plan(super()._leave(*args, **kwargs))


class WholeBlob(Sessions):
    """Saves everything that it has read, as most do."""

    def save(self, session: Session, changes: Any = None, **kwargs: Any) -> Plan[Session]:
        return super().save(session, {**session.data, **(changes or {})}, **kwargs)


def made(kind: type[Sessions]) -> Sessions:
    names = ("idle", "absolute", "note_every", "renew_every", "grace")
    return kind("sim", **{name: getattr(SESSIONS, name) for name in names})


def mistaken(script: str, before: str, after: str) -> Sessions:
    """Give a copy in one of whose scripts a piece is another."""
    return made(type("Mistaken", (Mistaken,), {"mistake": Mistake(script, before, after)}))


SESSION_BUGS = [
    Bug(
        "a save that creates",
        session_setup(
            mistaken(
                "session_use",
                "if not created then return {found[10] and (shown == '' or found[10] == shown) and 2 or 0} end",
                "if not created then created = now found[2] = now found[3] = '' secret = shown found[7] = 1"
                " redis.call('HSET', KEYS[1], 'c', whole(now), 't', whole(now), 'u', '', 'k', 'x', 'd', '{}')"
                " redis.call('PEXPIRE', KEYS[1], idle) end",
            )
        ),
        ("there again", "an ended session", "of the library's"),
        SOME,
    ),
    Bug(
        "a user's sessions that are ended, but only unlinked",
        session_setup(
            mistaken("session_use", "not redis.call('ZSCORE', KEYS[2], member)", "false"),
        ),
        ("an ended session", "there again"),
        SOME,
    ),
    Bug(
        "a save of everything that was read",
        session_setup(made(WholeBlob), programs=[["save"] * 4] * 3, slow=False),
        ("older again",),
        SOME,
    ),
    Bug(
        "an access beyond the absolute end",
        session_setup(
            mistaken("session_use", "ends = math.min(now + idle, created + absolute)", "ends = now + idle"), rounds=20
        ),
        ("a session of",),
        SOME,
    ),
    Bug(
        "an id that opens a session after it was replaced",
        session_setup(
            mistaken("session_use", "redis.call('HDEL', KEYS[1], 'p', 'g')", "redis.call('HSET', KEYS[1], 'p', shown)")
        ),
        ("a replaced id",),
        SOME,
    ),
    Bug(
        "a session without a TTL",
        session_setup(mistaken("session_create", "redis.call('PEXPIREAT', KEYS[1], whole(ends))", "")),
        ("never expires",),
        SOME,
    ),
    Bug(
        "a login that does not ask whether it was revoked",
        login_setup(mistaken("session_create", "redis.call('GET', KEYS[3]) ~= ARGV[8]", "false")),
        ("a login from before",),
        SOME,
    ),
    Bug(
        "a visitor's session that is ended before it is read for the last time",
        login_setup(mistaken("session_end", "local fields = redis.call('HGETALL', KEYS[1])", "local fields = {}")),
        ("was lost",),
        SOME,
    ),
]
