"""Sessions over HTTP: the mapping that an application sees, and what becomes of it before the response. Pure.

Promises: an id that a client has chosen is never taken; what was changed is saved before the response begins; a cookie
is set only where the session was created, got another id or ended, and is left alone where Redis could not be asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Literal, TypeAlias

from redis_patterns_core import validate
from redis_patterns_core.cookies import Cookie
from redis_patterns_core.errors import ConfigurationError, SessionGone
from redis_patterns_core.flow import Flow, Steps, flow
from redis_patterns_core.http import ClientAddress, Request
from redis_patterns_core.plan import Plan
from redis_patterns_core.session_records import Session, Superseded
from redis_patterns_core.sessions import Sessions

__all__ = ["DeviceOf", "WebSession", "WebSessions", "device_of"]

_SCALARS = (str, int, float, bool, type(None), bytes)
_LONGEST_AGENT = 200

DeviceOf: TypeAlias = Callable[[Request], Mapping[str, str]]
_WhenDown: TypeAlias = Literal["fail", "anonymous"]


def device_of(request: Request) -> dict[str, str]:
    """Give what a list of devices shows: ``agent``, what the browser says it is, and the client's ``address``."""
    return {"agent": (request.header("user-agent") or "")[:_LONGEST_AGENT], "address": ClientAddress()(request)}


class WebSessions:
    """How an application has its sessions; what both middlewares share.

    Parameters:
        sessions, cookie, device, when_down: see the middlewares.

    Raises:
        ConfigurationError: a `when_down` that is neither ``fail`` nor ``anonymous``.
    """

    def __init__(
        self, sessions: Sessions | None, cookie: Cookie | None, device: DeviceOf, when_down: _WhenDown
    ) -> None:
        if when_down not in ("fail", "anonymous"):
            raise ConfigurationError(f"when_down must be fail or anonymous, not {validate.shown(when_down)}")
        self.sessions: Sessions = sessions or Sessions()
        self.cookie: Cookie = cookie or Cookie()
        self.device: DeviceOf = device
        self.when_down: _WhenDown = when_down

    def shown(self, request: Request) -> str | None:
        """Give the id that a client has shown, whatever it is."""
        return self.cookie.read("; ".join(value for name, value in request.headers if name == "cookie"))


class WebSession(MutableMapping[str, Any]):
    """A request's session: fields by name, and what it takes to log in and out.

    What an application changes, deep inside a list or a dict too, is saved before the response begins, field by field;
    a session that holds nothing yet is created then. To remove everything with ``clear`` is to end it.

    Parameters:
        sessions: where it lies.
        shown: the id that the client has shown, whatever it is.
        device: what is kept of the device when it is created.
    """

    __slots__ = (
        "_available",
        "_cookie",
        "_data",
        "_destroy",
        "_device",
        "_encoded",
        "_ended",
        "_found",
        "_loaded",
        "_login",
        "_removed",
        "_rotate",
        "_sent",
        "_session",
        "_sessions",
        "_set",
        "_shown",
        "accessed",
    )

    def __init__(self, sessions: Sessions, shown: str | None, device: Callable[[], Mapping[str, str]]) -> None:
        self._sessions = sessions
        self._shown = shown
        self._device = device
        self._loaded = False
        self._available = True
        self._found: Superseded | None = None
        self._session: Session | None = None
        self._ended: Session | None = None
        self._cookie: Literal["leave", "set", "delete"] = "leave"
        self._sent: Literal["no", "accepted", "begun"] = "no"
        self._data: dict[str, Any] = {}
        self._set: set[str] = set()
        self._removed: set[str] = set()
        self._encoded: dict[str, bytes] = {}
        self._login: tuple[str, str | None] | None = None
        self._rotate = False
        self._destroy = False
        self.accessed: bool = False
        """Whether the application has looked at it."""

    # What an application sees

    @property
    def user(self) -> str | None:
        """Whose it is; ``None`` of a visitor who has not logged in."""
        self._need()
        if self._login is not None:
            return self._login[0]
        return None if self._session is None else self._session.user

    @property
    def session(self) -> Session | None:
        """The session as it is in Redis; ``None`` where there is none, or none yet."""
        self._need()
        return self._session

    @property
    def available(self) -> bool:
        """Whether Redis could be asked; where it could not, what is changed here is not saved."""
        self._need()
        return self._available

    @property
    def new(self) -> bool:
        """Whether Redis has no session for this request yet."""
        self._need()
        return self._session is None

    @property
    def modified(self) -> bool:
        """Whether there is something to save."""
        if not self._loaded:
            return False
        changes, removed = self._changes()
        return bool(changes or removed or self._rotate or self._destroy or self._login)

    @modified.setter
    def modified(self, _: bool) -> None:
        """Take what applications of other libraries say; what was changed is found without it."""

    def mark_accessed(self) -> None:
        """Note that the response depends on it, so that caches tell cookies apart."""
        self.accessed = True

    def login(self, user: str, *, generation: str | None = None) -> None:
        """Make it the session of a user, with another id, when the response begins.

        Parameters:
            user: who has logged in.
            generation: what `Sessions.generation` gave before the user's credentials were checked.

        Raises:
            ConfigurationError: an empty user.
        """
        self._change(other_id=True)
        self._login = (validate.text("user", user), generation)

    def rotate(self) -> None:
        """Give it another id when the response begins; the old one opens nothing then."""
        self._change(other_id=True)
        self._rotate = True

    def destroy(self) -> None:
        """End it when the response begins; what is set from here on is of a new one."""
        self._change()
        self._ended = self._session or self._ended
        self._session, self._data = None, {}
        self._encoded = {}
        self._forget()
        self._destroy = True

    def clear(self) -> None:
        """The same as `destroy`."""
        self.destroy()

    def __getitem__(self, name: str) -> Any:
        self._need()
        held = self._data[name]
        if not isinstance(held, _SCALARS) and name not in self._encoded and name not in self._set:
            # It may be changed from inside, and then it is written otherwise than now.
            self._encoded[name] = self._sessions.codec.encode(held)
        return held

    def __setitem__(self, name: str, held: Any) -> None:
        self._change()
        self._data[name] = held
        self._set.add(name)
        self._removed.discard(name)

    def __delitem__(self, name: str) -> None:
        self._change()
        del self._data[name]
        self._set.discard(name)
        self._encoded.pop(name, None)
        self._removed.add(name)

    def __iter__(self) -> Iterator[str]:
        self._need()
        return iter(list(self._data))

    def __len__(self) -> int:
        self._need()
        return len(self._data)

    def __repr__(self) -> str:
        # What it holds is somebody's.
        if not self._loaded:
            return "<WebSession, not loaded>"
        return f"<WebSession {'new' if self._session is None else self._session.handle}, {len(self._data)} fields>"

    # What a middleware does with it

    @property
    def loaded(self) -> bool:
        """Whether it was read."""
        return self._loaded

    def loading(self) -> Plan[Session | Superseded | None]:
        """Give the plan that reads it, for `load_from`; without commands where no cookie was shown that can be one."""
        return self._sessions.look(self._shown)

    def load_from(self, found: Session | Superseded | None, *, available: bool = True) -> None:
        """Take what was read; or note that Redis was not there to ask."""
        self._loaded, self._available = True, available
        if isinstance(found, Session):
            self._session, self._data = found, dict(found.data)
        else:
            self._found = found

    def commit(self) -> Flow[None] | None:
        """Give what does in Redis what was done here; ``None`` where there is nothing to do.

        Returns:
            A flow of one round trip, two or three for a login.

        Raises:
            EncodeError: a field cannot be written.
            SessionGone: when the flow is run: something was changed, but the session has ended.
            LoginRevoked, TooManySessions: when the flow is run: see `Sessions.create`.
        """
        if not self._loaded:
            return None
        changes, removed = self._changes()
        if self._session is not None:
            due = bool(changes or removed or self._rotate or self._session.renewal_due)
        else:
            due = bool(changes) and self._available
        if due or self._login is not None or self._ended is not None:
            return self._commit(changes, removed)
        if self._shown is not None and self._session is None and self._found is None and self._available:
            # It has ended, or it never was. One that was replaced is left, as another response may bring the new one.
            self._cookie = "delete"
        self._forget()
        return None

    @flow
    def _commit(self, changes: Mapping[str, Any], removed: Iterable[str]) -> Steps[None]:
        if self._ended is not None:
            yield from self._sessions.destroy(self._ended)
            self._cookie, self._ended = "delete", None
        if self._login is not None:
            user, generation = self._login
            login = self._sessions.login(
                self._session, user, changes, remove=removed, device=self._device(), generation=generation
            )
            self._made((yield from login))
        elif self._session is not None:
            yield from self._keep(self._session, changes, removed)
        elif changes:
            self._made((yield from self._sessions.create(None, changes, device=self._device())))
        self._forget()

    def _keep(self, session: Session, changes: Mapping[str, Any], removed: Iterable[str]) -> Steps[None]:
        if self._rotate:
            plan = self._sessions.rotate(session, changes, remove=removed)
        elif session.renewal_due:
            plan = self._sessions.renew(session, changes, remove=removed)
        elif changes or removed:
            plan = self._sessions.save(session, changes, remove=removed)
        else:
            return
        try:
            kept = yield from plan
        except SessionGone as gone:
            # One that was replaced is left: another response brings the new one.
            self._session, self._cookie = None, "leave" if gone.replaced else "delete"
            if changes or removed or self._rotate:
                raise
            return
        self._made(kept)

    def close(self, *, accepted: bool = False) -> None:
        """Note that the response has begun: what is changed from here on would be lost, and is refused.

        Parameters:
            accepted: it is a websocket that was accepted: fields can still be changed, but no cookie can be set.
        """
        self._sent = "accepted" if accepted else "begun"

    def headers(self, cookie: Cookie, headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Give a response's headers with those that a session adds: Set-Cookie, Vary and Cache-Control.

        Parameters:
            cookie: the session's.
            headers: what the response has, names and values.
        """
        given = list(headers)
        if self._cookie == "set" and self._session is not None:
            # As long as it can live at all: how long without an access is Redis' to say, which notes each of them.
            lives_for = self._session.created_at + self._sessions.absolute_seconds - self._session.seen_at
            given.append(("set-cookie", cookie.write(self._session.id, lives_for)))
        elif self._cookie == "delete":
            given.append(("set-cookie", cookie.delete()))
        if self._cookie != "leave":
            # No cache may give it to anybody else.
            control = ", ".join(value.lower() for name, value in given if name.lower() == "cache-control")
            if "no-store" not in control:
                given = [pair for pair in given if pair[0].lower() != "cache-control"]
                given.append(("cache-control", "no-store"))
        if self.accessed or self._cookie != "leave":
            vary = ", ".join(value.lower() for name, value in given if name.lower() == "vary")
            if "*" not in vary and "cookie" not in [name.strip() for name in vary.split(",")]:
                given.append(("vary", "Cookie"))
        return given

    # Pieces

    def _need(self) -> None:
        """See to it that it was read; a middleware that can read it now does so instead."""
        self.accessed = True
        if not self._loaded:
            raise RuntimeError("the session must be loaded before it is used: await session.load()")

    def _change(self, *, other_id: bool = False) -> None:
        self._need()
        if self._sent == "begun":
            raise RuntimeError("the session must not be changed after the response has begun: it would not be saved")
        if self._sent == "accepted" and (other_id or self._session is None):
            raise RuntimeError("the session must not get an id after a websocket was accepted: no cookie can be set")

    def _changes(self) -> tuple[dict[str, Any], list[str]]:
        inside = [
            name
            for name, encoded in self._encoded.items()
            if name not in self._set and self._sessions.codec.encode(self._data[name]) != encoded
        ]
        changes = {name: self._data[name] for name in (*self._set, *inside)}
        session = self._session
        return changes, [name for name in self._removed if session is not None and name in session.data]

    def _made(self, session: Session) -> None:
        if self._session is None or self._session.id != session.id:
            self._cookie = "set"
        self._session, self._data = session, dict(session.data)

    def _forget(self) -> None:
        """Note that everything is saved, or is not to be."""
        mutable = [name for name in (*self._set, *self._encoded) if not isinstance(self._data.get(name), _SCALARS)]
        self._encoded = {name: self._sessions.codec.encode(self._data[name]) for name in mutable}
        self._set, self._removed = set(), set()
        self._login, self._rotate, self._destroy = None, False, False
