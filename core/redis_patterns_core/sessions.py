"""Sessions: what a service knows of a visitor from one request to the next, on several devices, until it ends.

Promises: a session ends when it has not been accessed for a while, and after a while in any case, by the server's
clock; to the second, as an access is noted once a second. However it ends, nothing that was under way brings it back: a
save, a touch or a rotation never creates. Requests that change different fields do not lose each other's changes. Redis
never has what a cookie has, only its SHA-256.

How: an id has three parts: where the session lies, its handle, and a secret. All sessions of a user lie under one hash
tag, so that each step is one script, atomic: a session is alive while it is in its user's index. To renew a session is
to give it another secret.

Keys: ``session:{NAME:PLACE}:HANDLE``, a hash; ``session:{NAME:PLACE}:index``, a sorted set of a user's sessions;
``session:{NAME:PLACE}:generation``, a string, while a user logs in. All of them with a TTL.

Sources: OWASP Session Management Cheat Sheet; NIST SP 800-63B, section 7.1.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, Literal, TypeVar

from redis_patterns_core import replies, validate
from redis_patterns_core.codec import Codec, Json
from redis_patterns_core.errors import (
    ConfigurationError,
    DecodeError,
    LoginRevoked,
    SessionChanged,
    SessionGone,
    TooManySessions,
)
from redis_patterns_core.flow import Steps, flow
from redis_patterns_core.keys import Keys
from redis_patterns_core.plan import Command, Effect, Plan, Script
from redis_patterns_core.replies import Reply
from redis_patterns_core.session_records import (
    SUPERSEDED,
    Device,
    Session,
    Superseded,
    described,
    digest,
    handle_of,
    place_of,
    read_device,
)
from redis_patterns_core.validate import Duration

__all__ = ["Sessions"]

T = TypeVar("T")

_USE = Script.load("session_use")
_CREATE = Script.load("session_create")
_END = Script.load("session_end")
_END_ALL = Script.load("session_end_all")
_INDEX = Script.load("session_index")
_GENERATION = Script.load("session_generation")

_ID = re.compile(r"[A-Za-z0-9_-]{75}", re.ASCII)
_HANDLE = re.compile(r"[A-Za-z0-9_-]{16}", re.ASCII)
_NONE, _DONE, _REPLACED, _CHANGED = 0, 1, 2, 3
_FULL, _REVOKED, _TAKEN = 2, 3, 4
_REMEMBERED = 60_000
"""Milliseconds for which a session that was left for another is told from one that never was."""
_LOGIN_TAKES = 3_600_000
"""Milliseconds that a login may take, from when its generation was asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Sessions:
    """Sessions of one kind.

    Parameters:
        name: what they are for.
        idle: after how long without an access a session ends, in seconds or as a timedelta.
        absolute: after how long it ends in any case.
        note_every: how often an access is noted at most; a session can end so much too early.
        renew_every: after how long a session should get another id, see `Session.renewal_due`.
        grace: for how long the id before still opens it, from when the new one was first seen.
        max_per_user: how many sessions a user may have at once; ``None`` for any number.
        when_full: what becomes of a login beyond that: ``refuse`` it, or ``evict`` the session that would end first:
            the one that was not accessed for longest, or one that is as old as `absolute` allows.
        codec: writes and reads each field; JSON unless another is given.
        namespace: a prefix of the keys.

    Raises:
        ConfigurationError: an empty name, a number or a duration that is not allowed.
    """

    name: str = "web"
    _: KW_ONLY
    idle: Duration = 24 * 3600
    absolute: Duration = 14 * 24 * 3600
    note_every: Duration = 1
    renew_every: Duration = 900
    grace: Duration = 10
    max_per_user: int | None = None
    when_full: Literal["refuse", "evict"] = "evict"
    codec: Codec[Any] = field(default_factory=Json)
    namespace: str = ""
    _ms: dict[str, int] = field(init=False, repr=False)
    _place_key: Keys = field(init=False, repr=False)

    def __post_init__(self) -> None:
        validate.text("name", self.name)
        validate.namespace(self.namespace)
        object.__setattr__(self, "_place_key", Keys("session", self.name, namespace=self.namespace))
        least = {"idle": 1000, "absolute": 1000, "note_every": 0, "renew_every": 1000, "grace": 0}
        ms = {name: validate.milliseconds(name, getattr(self, name), least=few) for name, few in least.items()}
        if ms["note_every"] >= ms["idle"]:
            raise ConfigurationError(
                f"note_every must be less than idle, {validate.shown(self.idle)}, not {validate.shown(self.note_every)}"
            )
        if self.max_per_user is not None:
            validate.integer("max_per_user", self.max_per_user, least=1)
        if self.when_full not in ("refuse", "evict"):
            raise ConfigurationError(f"when_full must be refuse or evict, not {validate.shown(self.when_full)}")
        object.__setattr__(self, "_ms", ms)

    @property
    def absolute_seconds(self) -> float:
        """After how long a session ends in any case, in seconds."""
        return self._ms["absolute"] / 1000

    # One session

    def new_id(self, user: str | None = None) -> str:
        """Make an id: 16 characters for where it lies, 16 for its handle, 43 for a secret of 256 random bits.

        Parameters:
            user: whose session it will be of; ``None`` for a visitor's.

        Raises:
            ConfigurationError: an empty user.
        """
        place = secrets.token_urlsafe(12) if user is None else place_of(_named(user))
        return place + secrets.token_urlsafe(12) + secrets.token_urlsafe(32)

    def create(
        self,
        user: str | None = None,
        data: Mapping[str, Any] | None = None,
        *,
        device: Mapping[str, str] | None = None,
        generation: str | None = None,
        id: str | None = None,
    ) -> Plan[Session]:
        """Create a session.

        Parameters:
            user: whose; ``None`` for a visitor who has not logged in.
            data: what it holds, fields by name.
            device: what `devices` shows of it, such as the browser and the address.
            generation: what `generation` gave before the user's credentials were checked.
            id: its id; a new one where none is given, which is what you want outside of tests.

        Returns:
            A plan of one round trip that gives it; idempotent.

        Raises:
            ConfigurationError: an empty user, a field whose name is not text that UTF-8 can write, an id that is none
                or is taken, or a generation that `generation` has not given.
            EncodeError: the codec cannot write a field, or UTF-8 what is said of the device.
            LoginRevoked: when the plan is run: all sessions of the user were ended since `generation`.
            TooManySessions: when the plan is run: the user has too many, and `when_full` is ``refuse``.
        """
        if id is None:
            id = self.new_id(user)
        elif not _ID.fullmatch(id) or (user is not None and not id.startswith(place_of(_named(user)))):
            raise ConfigurationError("id must be one that new_id gave, for this user")
        if generation is not None:
            validate.text("generation", generation)
        held, about = dict(data or {}), described(device)
        words = [word for pair in self._encoded(held).items() for word in pair]
        ms = self._ms
        command = _CREATE(
            self._keys(id, "index", "generation"),
            digest(id),
            handle_of(id),
            user or "",
            ms["idle"],
            ms["absolute"],
            self.max_per_user or 0,
            int(self.when_full == "evict"),
            "" if generation is None else generation,
            Json().encode(about),
            *words,
        )
        made = id

        def parse(answers: Sequence[Reply]) -> Session:
            code, *times = replies.integers(answers[0], len(replies.array(answers[0])))
            if code == _DONE:
                now, ends = times
                return Session(made, user, held, now / 1000, now / 1000, ends / 1000, 1, about)
            if code == _FULL:
                raise TooManySessions(f"the user has {self.max_per_user} sessions already")
            if code == _REVOKED:
                raise LoginRevoked("all sessions of the user were ended while this login was under way")
            raise ConfigurationError("id must be a new one, this one is taken")

        return Plan("session.create", (command,), parse, Effect.IDEMPOTENT)

    def load(self, id: str | None) -> Plan[Session | None]:
        """Read a session, which counts as an access.

        Parameters:
            id: what a client has shown, whatever it is.

        Returns:
            A plan of one round trip that gives it, or ``None`` where there is none: it ended, never was, or has a field
            that the codec cannot read. Of none where the id is none that `create` could have made.
        """
        return self.look(id).map(lambda found: found if isinstance(found, Session) else None)

    def look(self, id: str | None) -> Plan[Session | Superseded | None]:
        """Do what `load` does, and tell an id that was replaced within the last minute from others: `SUPERSEDED`.

        Who deletes cookies that open nothing should leave that one: another response may have replaced it already.
        """
        if not isinstance(id, str) or not _ID.fullmatch(id):
            return Plan("session.load", (), lambda _: None, Effect.READS)
        shown = id

        def parse(answers: Sequence[Reply]) -> Session | Superseded | None:
            code, *rest = replies.array(answers[0])
            if code != _DONE:
                return SUPERSEDED if code == _REPLACED else None
            now, ends, version, _, fields = rest
            try:
                return self._session(shown, fields, *replies.integers([now, ends, version], 3))
            except DecodeError:
                return None

        return Plan("session.load", (self._use(id, read=True),), parse, Effect.IDEMPOTENT)

    def save(
        self,
        session: Session,
        changes: Mapping[str, Any] | None = None,
        *,
        remove: Iterable[str] = (),
        if_unchanged: bool = False,
    ) -> Plan[Session]:
        """Change some fields of a session; the others stay what they are, whoever has changed them meanwhile.

        Parameters:
            session: as it was read.
            changes: the new values, by field.
            remove: fields to remove.
            if_unchanged: only where nobody has changed any field since it was read.

        Returns:
            A plan of one round trip that gives the session with these changes; idempotent, but sent at most once with
            `if_unchanged`.

        Raises:
            ConfigurationError: a field whose name is not text that UTF-8 can write.
            EncodeError: the codec cannot write a field.
            SessionGone: when the plan is run: it has ended.
            SessionChanged: when the plan is run: somebody has changed it.
        """
        return self._saved("save", session, changes, remove, session.version if if_unchanged else None)

    def rotate(
        self,
        session: Session,
        changes: Mapping[str, Any] | None = None,
        *,
        remove: Iterable[str] = (),
        id: str | None = None,
    ) -> Plan[Session]:
        """Give a session another id, at once: the old one opens nothing any more. For when its rights change.

        Parameters:
            session: as it was read.
            changes: the new values of fields.
            remove: fields to remove.
            id: its new id, which begins as the old one does; a new one where none is given.

        Returns:
            A plan of one round trip that gives it with its new id; idempotent.

        Raises:
            ConfigurationError: a field whose name is not text that UTF-8 can write, an id that is none.
            EncodeError: the codec cannot write a field.
            SessionGone: when the plan is run: it has ended.
        """
        return self._saved("rotate", session, changes, remove, None, new=self._successor(session, id))

    def renew(
        self,
        session: Session,
        changes: Mapping[str, Any] | None = None,
        *,
        remove: Iterable[str] = (),
        id: str | None = None,
    ) -> Plan[Session]:
        """Give a session another id, as should be done from time to time, without a request of its client's failing.

        The old one is good until `grace` after the new one was first seen. Of requests at the same time one renews; the
        others keep the id that they have.

        Parameters:
            session, changes, remove, id: as for `rotate`.

        Returns:
            A plan of one round trip that gives the session, with its new id if this has renewed it; idempotent.

        Raises:
            ConfigurationError, EncodeError, SessionGone: as for `rotate`.
        """
        return self._saved("renew", session, changes, remove, None, new=self._successor(session, id), gently=True)

    @flow
    def login(
        self,
        session: Session | None,
        user: str,
        changes: Mapping[str, Any] | None = None,
        *,
        remove: Iterable[str] = (),
        device: Mapping[str, str] | None = None,
        generation: str | None = None,
        id: str | None = None,
    ) -> Steps[Session]:
        """Make a visitor's session a user's: with another id, and the visitor's fields.

        The visitor's session has ended then. What another request saves in it meanwhile is carried over too. Another
        user's fields are not.

        Parameters:
            session: the visitor's, as it was read; ``None`` where there is none.
            user: who has logged in.
            changes, remove: what changes with it.
            device, generation, id: as for `create`.

        Returns:
            A flow of two round trips, one where there was no session or it was the user's own, three where another
            request has saved something meanwhile; gives the user's session.

        Raises:
            ConfigurationError, EncodeError, LoginRevoked, TooManySessions: as for `create`.
            SessionGone: the user's own session has ended.
        """
        if session is not None and validate.instance("session", session, Session).user == user:
            return (yield from self.rotate(session, changes, remove=remove, id=id))
        removed = set(remove)
        carried = dict(session.data) if session is not None and session.user is None else {}
        data = {name: held for name, held in carried.items() if name not in removed} | dict(changes or {})
        made = yield from self.create(user, data, device=device, generation=generation, id=id)
        if session is None:
            return made
        last = yield from self._leave(session)
        if session.user is not None or last is None:
            return made
        ours = removed | set(changes or {})
        newer = {name: held for name, held in last.items() if name not in ours and data.get(name, last) != held}
        gone = set(carried) - set(last) - ours
        return (yield from self.save(made, newer, remove=gone)) if newer or gone else made

    def destroy(self, session: Session) -> Plan[bool]:
        """End a session: log out. One round trip; idempotent.

        Returns:
            A plan that tells whether it was alive.
        """
        return self._end(validate.instance("session", session, Session).id)

    # A user's sessions

    def generation(self, user: str) -> Plan[str]:
        """Tell what to give to `create` or `login` after the user's credentials were checked; asked for before.

        A login that was under way when all sessions of the user were ended, as after a change of password, fails then.

        Parameters:
            user: who logs in.

        Returns:
            A plan of one round trip that gives a text, good for an hour; idempotent.

        Raises:
            ConfigurationError: an empty user.
        """
        key = self._key(place_of(_named(user)), "generation")
        command = _GENERATION((key,), secrets.token_hex(8), _LOGIN_TAKES)
        return Plan("session.generation", (command,), lambda answers: replies.text(answers[0]), Effect.IDEMPOTENT)

    def count(self, user: str) -> Plan[int]:
        """Count the sessions of a user that are alive. One round trip.

        Raises:
            ConfigurationError: an empty user.
        """
        command = _INDEX((self._key(place_of(_named(user)), "index"),), 0)
        return Plan("session.count", (command,), replies.first_integer, Effect.IDEMPOTENT)

    @flow
    def devices(self, user: str) -> Steps[list[Device]]:
        """Tell of the sessions of a user that are alive, those that will live longest first.

        Returns:
            A flow of two round trips, one where there is none.

        Raises:
            ConfigurationError: an empty user.
        """
        place = place_of(_named(user))
        command = _INDEX((self._key(place, "index"),), 1)
        index = yield from Plan("session.devices", (command,), _members, Effect.IDEMPOTENT)
        if not index:
            return []
        commands = [Command(("HMGET", self._key(place, handle), "c", "t", "d")) for handle, _ in index]
        found = yield from Plan("session.devices", tuple(commands), list, Effect.READS)
        devices = [read_device(handle, ends, reply) for (handle, ends), reply in zip(index, found, strict=True)]
        return [device for device in devices if device is not None]

    def revoke(self, user: str, handle: str) -> Plan[bool]:
        """End one of a user's sessions, as from a list of devices. One round trip; idempotent.

        Parameters:
            user: whose.
            handle: the session's, of `Device` or `Session`.

        Returns:
            A plan that tells whether it was alive.

        Raises:
            ConfigurationError: an empty user, or what is no handle.
        """
        if not isinstance(handle, str) or not _HANDLE.fullmatch(handle):
            raise ConfigurationError(
                f"handle must be 16 characters that a session has given, not {validate.shown(handle)}"
            )
        return self._end(place_of(_named(user)) + handle)

    @flow
    def destroy_all(self, user: str, *, except_: Session | None = None) -> Steps[int]:
        """End all sessions of a user, and each login that has asked for its `generation` before.

        Parameters:
            user: whose.
            except_: the one that stays.

        Returns:
            A flow of two round trips, one where there was no session; the first ends all of them, the second frees
            their memory. Gives how many it has ended; those that an attempt has ended whose answer was lost are not
            among them.

        Raises:
            ConfigurationError: an empty user, or a session that is another's.
        """
        place = place_of(_named(user))
        if except_ is not None and validate.instance("except_", except_, Session).user != user:
            raise ConfigurationError("except_ must be a session of that user")
        stays = "" if except_ is None else except_.handle
        keys = [self._key(place, part) for part in ("index", "generation")]
        command = _END_ALL(keys, stays)
        ended = yield from Plan("session.destroy_all", (command,), _texts, Effect.IDEMPOTENT)
        if ended:
            unlinks = [Command(("UNLINK", self._key(place, handle))) for handle in ended]
            yield from Plan("session.unlink", tuple(unlinks), len, Effect.IDEMPOTENT)
        return len(ended)

    # Pieces

    def _key(self, place: str, part: str) -> str:
        return f"{self._place_key(place)}:{part}"

    def _keys(self, id: str, *parts: str) -> list[str]:
        return [self._key(id[:16], part) for part in (handle_of(id), *parts)]

    def _successor(self, session: Session, id: str | None) -> str:
        opened = validate.instance("session", session, Session).id[:32]
        if id is None:
            return opened + secrets.token_urlsafe(32)
        if not _ID.fullmatch(id) or not id.startswith(opened):
            raise ConfigurationError("id must be one that begins as the session's own does")
        return id

    def _encoded(self, fields: Mapping[str, Any]) -> dict[str, bytes]:
        for name in fields:
            if not isinstance(name, str):
                raise ConfigurationError(f"data must have fields whose names are text, not {type(name).__name__}")
            validate.text_or_empty("the names of data's fields", name)
        return {f".{name}": self.codec.encode(held) for name, held in fields.items()}

    def _decoded(self, fields: Reply) -> tuple[dict[Reply, Reply], dict[str, Any]]:
        known = dict(replies.pairs(fields))
        data = {
            replies.text(name)[1:]: self.codec.decode(held)
            for name, held in known.items()
            if isinstance(name, bytes) and isinstance(held, bytes) and name.startswith(b".")
        }
        return known, data

    def _use(
        self,
        id: str,
        *,
        read: bool = False,
        known: bool = False,
        version: int | None = None,
        new: str = "",
        gently: bool = False,
        fields: Mapping[str, bytes] | None = None,
        remove: Sequence[str] = (),
    ) -> Command:
        ms, fields = self._ms, fields or {}
        return _USE(
            self._keys(id, "index"),
            "" if known else digest(id),
            handle_of(id),
            ms["idle"],
            ms["absolute"],
            ms["note_every"],
            ms["grace"],
            int(read),
            "" if version is None else version,
            digest(new) if new else "",
            int(gently),
            len(fields),
            *[word for pair in fields.items() for word in pair],
            *[f".{name}" for name in remove],
        )

    def _saved(
        self,
        verb: str,
        session: Session,
        changes: Mapping[str, Any] | None,
        remove: Iterable[str],
        version: int | None,
        *,
        new: str = "",
        gently: bool = False,
    ) -> Plan[Session]:
        validate.instance("session", session, Session)
        changed = dict(changes or {})
        removed = [validate.text_or_empty("remove", name) for name in remove if name not in changed]
        fields = self._encoded(changed)
        # Who has read it may save, even if another request has given it another id meanwhile.
        command = self._use(
            session.id,
            known=not new,
            version=version,
            new=new,
            gently=gently,
            fields=fields,
            remove=removed,
        )

        def parse(answers: Sequence[Reply]) -> Session:
            code, *rest = replies.array(answers[0])
            if code == _CHANGED:
                raise SessionChanged("somebody has changed the session since it was read")
            if code != _DONE:
                raise SessionGone(replaced=code == _REPLACED)
            now, ends, version, renewed = replies.integers(rest, 4)
            data = {name: held for name, held in session.data.items() if name not in removed} | changed
            return replace(
                session,
                id=new if renewed else session.id,
                data=data,
                seen_at=now / 1000,
                ends_at=ends / 1000,
                version=version,
                renewal_due=session.renewal_due and not new,
            )

        return Plan(f"session.{verb}", (command,), parse, Effect.IDEMPOTENT if version is None else Effect.ONCE)

    def _end(self, id: str) -> Plan[bool]:
        command = _END(self._keys(id, "index"), handle_of(id), "", 0)
        return Plan("session.destroy", (command,), lambda answers: _ended(answers) is not None, Effect.IDEMPOTENT)

    def _leave(self, session: Session) -> Plan[dict[str, Any] | None]:
        command = _END(self._keys(session.id, "index"), handle_of(session.id), digest(session.id), _REMEMBERED)

        def parse(answers: Sequence[Reply]) -> dict[str, Any] | None:
            fields = _ended(answers)
            if fields is None:
                return None
            try:
                return self._decoded(fields)[1]
            except DecodeError:
                return None

        return Plan("session.leave", (command,), parse, Effect.IDEMPOTENT)

    def _session(self, id: str, fields: Reply, now: int, ends: int, version: int) -> Session:
        known, data = self._decoded(fields)
        made, seen, created = [replies.number(known.get(name)) for name in (b"r", b"t", b"c")]
        user, device = replies.text(known.get(b"u")), replies.text(known.get(b"d"))
        about: Mapping[str, str] = {} if device == "{}" else Json().decode(device.encode())
        if known.get(b"k") == digest(id).encode():
            due = now - made >= self._ms["renew_every"]
        else:
            # The secret before renews again only where the new one seems not to have reached anybody.
            due = b"g" not in known and now - made >= max(1, self._ms["grace"])
        return Session(id, user or None, data, created / 1000, seen / 1000, ends / 1000, version, about, due)


def _named(user: str) -> str:
    return validate.text("user", user)


def _members(answers: Sequence[Reply]) -> list[tuple[str, int]]:
    return [(replies.text(member), int(replies.number(score))) for member, score in replies.pairs(answers[0])]


def _texts(answers: Sequence[Reply]) -> list[str]:
    return [replies.text(item) for item in replies.array(answers[0])]


def _ended(answers: Sequence[Reply]) -> Reply | None:
    code, *rest = replies.array(answers[0])
    return rest[0] if code == _DONE else None
