"""Once: what is done one time for each id, and gives its result again to whoever asks again.

Promises: of all who ask for an id, in all processes, one at a time does it, and once it was done nobody does it again
for as long as its result is kept: all get the first one, ``None``, ``False`` and 0 too, as the codec reads it. A
repeated call whose first answer was lost succeeds. A function that raises says that nothing was done, and the next may
try. Where one dies in the middle nobody can know whether it was done: then it is done again (at least once), or not
before somebody has decided (at most once), whichever was chosen.

What it cannot promise: that an effect elsewhere, such as a payment, happens exactly once. For that its own store has to
take part, with the id under a unique constraint.

Keys: ``once:{NAME:ID}``, a hash, with a TTL.

Sources: the Idempotency-Key HTTP header field, draft-ietf-httpapi-idempotency-key-header-07; Leach, "Designing robust
and predictable APIs with idempotency", Stripe, 2017.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Generic, Literal, TypeAlias, TypeVar, TypeVarTuple, cast

from redis_patterns_core import replies, validate
from redis_patterns_core.cache_loads import loaded_by
from redis_patterns_core.codec import Codec, Json
from redis_patterns_core.errors import (
    ConfigurationError,
    EncodeError,
    IdReused,
    LockLost,
    OutcomeUnknown,
    PatternsError,
    StillRunning,
    Unsettled,
)
from redis_patterns_core.flow import Alongside, Defer, Flow, Now, Sleep, Steps, flow
from redis_patterns_core.keys import Keys
from redis_patterns_core.lease_records import new_token
from redis_patterns_core.plan import Argument, Command, Effect, Plan, Script
from redis_patterns_core.replies import Reply
from redis_patterns_core.retry import Backoff
from redis_patterns_core.validate import Duration
from redis_patterns_core.value import value

__all__ = ["Claim", "ClaimState", "Once"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_CLAIM = Script.load("once_claim")
_RENEW = Script.load("once_renew")
_COMPLETE = Script.load("once_complete")
_FORGET = Script.load("once_forget")
_LOOK = Script.load("once_look")

ClaimState: TypeAlias = Literal["absent", "claimed", "running", "done", "unsettled", "reused"]

_LONGEST_ID = 500
_PAUSES = Backoff(first=0.05, most=1.0)
"""Between looks of one who waits: half of it for sure, the rest by chance, so that nobody looks without a pause."""
_APART = 0.01
"""Seconds over which those who wait for a dead one's claim to end are spread."""


@value
class Claim(Generic[T]):
    """How it stands with an id.

    Parameters:
        state: ``absent``: nobody has done it, or is at it; ``claimed``: it is the caller's to do; ``running``: somebody
            is at it; ``done``; ``unsettled``: it was begun, and the claim has run out: it may have been done;
            ``reused``: the id was first used with another fingerprint.
        token: of who has claimed it, where that is the caller; not shown in the repr.
        result: of what is done; not shown in the repr.
        since: when it was claimed or done, in seconds since the epoch by the server's clock; ``None`` where absent.
        ends_in: seconds until the claim has run out, unless it is renewed; 0 where none runs.
    """

    state: ClaimState
    token: str = field(default="", repr=False)
    result: T | None = field(default=None, repr=False)
    since: float | None = None
    ends_in: float = 0.0


@dataclass(frozen=True, eq=False)
class Once(Generic[T]):
    """What is done once for each id; a constant, made once and shared by all who use it.

    Parameters:
        name: what is done, such as ``charges``.
        codec: writes and reads the results; JSON unless another is given.
        lease: how long a claim runs that is not renewed, as its holder is dead, in seconds or as a timedelta.
        keep: how long a result is kept, and how long it is remembered after a crash that something was begun.
        after_crash: what becomes of an id whose holder has died: with ``again`` the next who asks does it again, so
            that it is done at least once; with ``refuse`` it raises `Unsettled`, so that it is done at most once, until
            `settle` or `forget`.
        max_result: how many bytes a result may have.
        namespace: a prefix of the keys.

    Raises:
        ConfigurationError: an empty name, or a duration, a number or a choice that is not allowed.
    """

    name: str
    _: KW_ONLY
    codec: Codec[T] = field(default_factory=Json)
    lease: Duration = 10
    keep: Duration = 86_400
    after_crash: Literal["again", "refuse"] = "again"
    max_result: int = 1024 * 1024
    namespace: str = ""
    _keys: Keys = field(init=False, repr=False)
    _lease_ms: int = field(init=False, repr=False)
    _keep_ms: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        validate.text("name", self.name)
        validate.namespace(self.namespace)
        validate.integer("max_result", self.max_result, least=1)
        if self.after_crash not in ("again", "refuse"):
            raise ConfigurationError(f"after_crash must be again or refuse, not {validate.shown(self.after_crash)}")
        object.__setattr__(self, "_lease_ms", validate.milliseconds("lease", self.lease))
        object.__setattr__(self, "_keep_ms", validate.milliseconds("keep", self.keep))
        object.__setattr__(self, "_keys", Keys("once", self.name, namespace=self.namespace))

    def key(self, id: str) -> str:
        """Give the key of an id.

        Raises:
            ConfigurationError: an id that is empty, longer than 500 characters, or no text.
        """
        # Not by way of validate.text, whose message would show it: an id may be a secret.
        if not isinstance(id, str) or not 0 < len(id) <= _LONGEST_ID:
            raise ConfigurationError(f"id must be a text of 1 to {_LONGEST_ID} characters")
        try:
            id.encode()
        except UnicodeEncodeError:
            raise ConfigurationError("id must be text that UTF-8 can write, without lone surrogates") from None
        return self._keys(id)

    # Doing it

    def run(
        self,
        id: str,
        function: Callable[[*Ts], T] | Callable[[*Ts], Awaitable[T]] | Callable[[*Ts], Flow[T]],
        *args: *Ts,
        wait: Duration = 0,
        fingerprint: str | bytes | None = None,
        token: str | None = None,
        chance: Callable[[], float] = random.random,
    ) -> Flow[T]:
        """Do something if nobody has done it for this id, and give its result; else give the result that is kept.

        The claim is renewed while the function runs, and given up at once when it raises, so that the next may try: it
        says so that nothing was done. With ``refuse``, one that cannot know raises `OutcomeUnknown`; that, and a
        cancellation or a timeout in its middle, leave the id unsettled as a crash does.

        Parameters:
            id: what is done once: 1 to 500 characters, such as a job's id, or a user's and a key of theirs.
            function: does it: a function, a coroutine function (in asyncio and trio), or one that gives a flow.
            args: what to call it with; `functools.partial` for keywords.
            wait: seconds, or a timedelta, to wait while somebody else is at it.
            fingerprint: what tells one request from another, such as its body; only a hash of it is kept. It is
                compared where both requests of an id have one.
            token: who asks; a new one where none is given.
            chance: random numbers from 0 to 1, so that not all who wait look at one moment.

        Returns:
            A flow that gives the result as the codec reads it: one round trip where it was done, two where it is done
            now, and one for each look while it waits.

        Raises:
            ConfigurationError: an id, a wait, a fingerprint or a token that is not allowed.
            StillRunning: somebody else is at it, and was not done within the wait.
            Unsettled: it was begun, and nobody knows whether it was done; only with ``refuse``.
            IdReused: the id was used with another fingerprint.
            LockLost: the function has returned, but others have claimed the id meanwhile, or it was forgotten, so that
                its result was not kept; whoever asks again gets the one that is. Where that is there already, it is
                given instead.
            EncodeError: the codec cannot write what the function has returned, or it is too large; as after a crash.
            DecodeError: the codec cannot read the result that is kept; nothing is done again.
            Exception: whatever the function raised.
        """
        self.key(id)
        wait_seconds = validate.milliseconds("wait", wait, least=0) / 1000
        mark = _hash(fingerprint)
        if token is not None:
            validate.token(token)
        return self._run(id, function, args, wait=wait_seconds, mark=mark, token=token, chance=chance)

    @flow
    def _run(
        self,
        id: str,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        *,
        wait: float,
        mark: str,
        token: str | None,
        chance: Callable[[], float],
    ) -> Steps[T]:
        claim = yield from self._enter(id, token or new_token(), wait, mark, chance)
        if claim.state == "claimed":
            renewed = self._renewed(id, claim.token, chance)
            claim = yield from Alongside(self._do(id, claim.token, function, args), renewed)
            if claim.state != "done":
                raise LockLost(f"the claim of an id of {self.name!r} was lost while it ran: its result was not kept")
        if claim.state == "running":
            raise StillRunning(f"an id of {self.name!r} is still being done by somebody else")
        if claim.state == "unsettled":
            raise Unsettled(f"an id of {self.name!r} was begun, and nobody knows whether it was done")
        if claim.state == "reused":
            raise IdReused(f"an id of {self.name!r} was used before, for a request with another fingerprint")
        return cast("T", claim.result)  # None only where that is the result

    @flow
    def _enter(self, id: str, token: str, wait: float, mark: str, chance: Callable[[], float]) -> Steps[Claim[T]]:
        """Claim an id, waiting while somebody else is at it; nothing has begun until this returns."""
        # Before the first attempt: its answer may be lost to a cancellation when Redis has already given it to us.
        yield from Defer(self.abandon(id, token), on_error_only=True)
        now = yield from Now()
        ends_at, looks = now + wait, 0
        while True:
            claim = yield from self._claim(id, token, mark)
            if claim.state != "running" or now >= ends_at:
                return claim
            now, looks = (yield from Now()), looks + 1
            pause = min(_PAUSES.delay(looks, 0.5 + chance() / 2), claim.ends_in + chance() * _APART, ends_at - now)
            yield from Sleep(pause)
            now = yield from Now()

    @flow
    def _do(self, id: str, token: str, function: Callable[..., Any], args: tuple[Any, ...]) -> Steps[Claim[T]]:
        """Call the function and keep its result; tells how it stands then."""
        result: T = yield from self._called(id, token, function, args)
        completion = self._completion(id, token, self._encoded(result))
        # A cancellation that comes now must not lose what was done.
        yield from Defer(completion, on_error_only=True)
        return (yield from completion)

    @flow
    def _called(self, id: str, token: str, function: Callable[..., Any], args: tuple[Any, ...]) -> Steps[T]:
        """Call the function; whatever ends it but a return is followed by what that means for the claim."""
        at_most_once = self.after_crash == "refuse"
        undo = self._renewal(id, token, 0) if at_most_once else self.abandon(id, token)
        yield from Defer(undo, on_error_only=True)
        try:
            result: T = yield from loaded_by(function, *args)
        except OutcomeUnknown:
            raise
        except Exception:
            # It says that nothing was done. What was deferred last runs first, and the other finds nothing then.
            if at_most_once:
                yield from Defer(self.abandon(id, token), on_error_only=True)
            raise
        return result

    @flow
    def _renewed(self, id: str, token: str, chance: Callable[[], float]) -> Steps[None]:
        """Renew a claim at about a third of its lease, as long as it is ours."""
        pause, ours = self._lease_ms / 3000, True
        while ours:
            yield from Sleep(pause * (0.9 + chance() / 10))
            try:
                ours = yield from self.renew(id, token)
                pause = self._lease_ms / 3000
            except PatternsError:
                pause = self._lease_ms / 30_000

    # Its parts

    def claim(self, id: str, token: str | None = None, *, fingerprint: str | bytes | None = None) -> Plan[Claim[T]]:
        """Claim an id to do it, if nobody has done it or is at it, or if `token` has claimed it already.

        Parameters:
            id, fingerprint: as for `run`.
            token: who asks; a new one where none is given.

        Returns:
            A plan of one round trip that tells how it stands: it is the caller's to do where that is ``claimed``;
            idempotent.

        Raises:
            ConfigurationError: an id, a token or a fingerprint that is not allowed.
        """
        return self._claim(id, new_token() if token is None else validate.token(token), _hash(fingerprint))

    def renew(self, id: str, token: str) -> Plan[bool]:
        """Let a claim run for its lease from now; one that ran out runs again, unless somebody else has come.

        Parameters:
            id, token: as for `claim`.

        Returns:
            A plan of one round trip that tells whether it is the token's; idempotent.

        Raises:
            ConfigurationError: an id or a token that is not allowed.
        """
        return self._renewal(id, validate.token(token), self._lease_ms)

    def complete(self, id: str, token: str, result: T) -> Plan[Claim[T]]:
        """Keep the result of what was done under a claim.

        Parameters:
            id, token: as for `claim`.
            result: what all who ask get from now on.

        Returns:
            A plan of one round trip that tells how it stands, ``done`` with the result that is kept, which is another
            one where others had claimed it meanwhile; any other state says that this result was refused; idempotent.

        Raises:
            ConfigurationError: an id or a token that is not allowed.
            EncodeError: the codec cannot write the result, or it is too large.
        """
        return self._completion(id, validate.token(token), self._encoded(result))

    def abandon(self, id: str, token: str) -> Plan[bool]:
        """Give up a claim under which nothing was done, so that the next may claim it.

        Parameters:
            id, token: as for `claim`.

        Returns:
            A plan of one round trip that tells whether it was the token's; idempotent. What was done stays.

        Raises:
            ConfigurationError: an id or a token that is not allowed.
        """
        return Plan(
            "once.abandon", self._call(_FORGET, id, validate.token(token)), replies.first_is_one, Effect.IDEMPOTENT
        )

    # What there is

    def look(self, id: str) -> Plan[Claim[T]]:
        """Tell how it stands with an id. One round trip.

        Raises:
            ConfigurationError: an id that is not allowed.
        """
        return Plan("once.look", self._call(_LOOK, id), self._stands, Effect.READS)

    def settle(self, id: str, result: T) -> Plan[bool]:
        """Decide that an id was done, with this result, where nobody is at it: after a crash, or beforehand.

        Parameters:
            id: as for `run`.
            result: what all who ask get from now on.

        Returns:
            A plan of one round trip that tells whether this result is kept: not where another one is already, or where
            somebody is at it; idempotent.

        Raises:
            ConfigurationError: an id that is not allowed.
            EncodeError: the codec cannot write the result, or it is too large.
        """
        command = self._call(_COMPLETE, id, "", self._encoded(result), self._keep_ms)
        return Plan("once.settle", command, _kept, Effect.IDEMPOTENT)

    def forget(self, id: str) -> Plan[bool]:
        """Decide that an id was not done, where nobody is at it, so that it can be done (again).

        Parameters:
            id: as for `run`.

        Returns:
            A plan of one round trip that tells whether there was something, and nobody at it; sent at most once, or it
            could take away what somebody did in between.

        Raises:
            ConfigurationError: an id that is not allowed.
        """
        return Plan("once.forget", self._call(_FORGET, id, ""), replies.first_is_one, Effect.ONCE)

    # How it is done

    def _claim(self, id: str, token: str, mark: str) -> Plan[Claim[T]]:
        again = int(self.after_crash == "again")

        def parse(answers: Sequence[Reply]) -> Claim[T]:
            claim = self._stands(answers)
            return Claim(claim.state, token, None, claim.since, claim.ends_in) if claim.state == "claimed" else claim

        command = self._call(_CLAIM, id, token, self._lease_ms, self._keep_ms, again, mark)
        return Plan("once.claim", command, parse, Effect.IDEMPOTENT)

    def _renewal(self, id: str, token: str, lease_ms: int) -> Plan[bool]:
        return Plan(
            "once.renew",
            self._call(_RENEW, id, token, lease_ms, self._keep_ms),
            replies.first_is_one,
            Effect.IDEMPOTENT,
        )

    def _completion(self, id: str, token: str, payload: bytes) -> Plan[Claim[T]]:
        def parse(answers: Sequence[Reply]) -> Claim[T]:
            state, since, left, _ = replies.array(answers[0], 4)
            # Ours did not come back: it is read here as everybody else will read it.
            return self._stands([[b"done", since, left, payload]] if state == b"kept" else answers)

        return Plan("once.complete", self._call(_COMPLETE, id, token, payload, self._keep_ms), parse, Effect.IDEMPOTENT)

    def _call(self, script: Script, id: str, *args: Argument) -> tuple[Command, ...]:
        return (script((self.key(id),), *args),)

    def _encoded(self, result: T) -> bytes:
        data = self.codec.encode(result)
        if len(data) > self.max_result:
            raise EncodeError(
                f"the result takes {len(data)} bytes, which is more than the {self.max_result} of max_result"
            )
        return data

    def _stands(self, answers: Sequence[Reply]) -> Claim[T]:
        state, since, left, payload = replies.array(answers[0], 4)
        kind = cast("ClaimState", replies.text(state))
        result = self.codec.decode(payload) if kind == "done" and isinstance(payload, bytes) else None
        moment = None if kind == "absent" else replies.integer(since) / 1000
        return Claim(kind, "", result, moment, replies.integer(left) / 1000)


def _hash(fingerprint: str | bytes | None) -> str:
    """Give what is kept of a fingerprint: 128 bits of its SHA-256; nothing for none."""
    if fingerprint is None:
        return ""
    if not isinstance(fingerprint, (str, bytes)):
        raise ConfigurationError("fingerprint must be text or bytes")
    data = fingerprint.encode("utf-8", "surrogatepass") if isinstance(fingerprint, str) else fingerprint
    return hashlib.sha256(data).hexdigest()[:32]


def _kept(answers: Sequence[Reply]) -> bool:
    return replies.array(answers[0], 4)[0] == b"kept"
