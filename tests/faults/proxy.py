"""A proxy on loopback that does to connections what networks do to them, at the moment that a test names."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TypeAlias

from tests.faults.tally import COUNTS


@dataclass(frozen=True)
class Lose:
    """The request goes through and is executed; the first `keep` bytes of its reply arrive, and the connection dies."""

    keep: int = 0


@dataclass(frozen=True)
class Half:
    """The first `sent` bytes of the request go through, then the connection dies; ``0`` is none of them."""

    sent: int = 0


@dataclass(frozen=True)
class Silence:
    """The request goes through if it is `executed`, and nothing comes back, for ever; the connection stays open."""

    executed: bool = True


@dataclass(frozen=True)
class Garbage:
    """The request goes through, and something that is no reply comes back."""

    said: bytes = b"HTTP/1.1 400 Bad Request\r\n\r\n"


@dataclass(frozen=True)
class Delay:
    """The reply, and all later ones of the connection, come so many seconds late."""

    seconds: float


@dataclass(frozen=True)
class Split:
    """The reply, and all later ones of the connection, come in pieces of so many bytes."""

    size: int = 1


Fault: TypeAlias = Lose | Half | Silence | Garbage | Delay | Split


@dataclass
class _Trigger:
    fault: Fault
    when: bytes
    times: int


@dataclass
class Proxy:
    """Forwards connections to a Redis server, faults apart.

    Parameters:
        path: the server's unix socket.
    """

    path: str
    connections: int = 0
    """How many were accepted."""
    done: list[Fault] = field(default_factory=list[Fault])
    """The faults that have happened."""

    def __post_init__(self) -> None:
        self._triggers: list[_Trigger] = []
        self._lock = threading.Lock()
        self._links: set[_Link] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._refusing = self._closing = self.stalled = False
        self._accepting = threading.Thread(target=self._accept, name="proxy", daemon=True)
        self._accepting.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}"

    def plan(self, fault: Fault, *, when: bytes, times: int = 1) -> None:
        """Let a fault happen to the next request whose bytes contain `when`, and to `times` such requests in all."""
        with self._lock:
            self._triggers.append(_Trigger(fault, when, times))

    def refuse(self, refusing: bool = True) -> None:
        """Hang up on whoever connects, or no more."""
        self._refusing = refusing

    def stall(self, stalled: bool = True) -> None:
        """Read nothing more from either side, so that what is sent piles up, or go on."""
        self.stalled = stalled

    def cut(self) -> None:
        """Reset all connections now."""
        for link in list(self._links):
            COUNTS["resets"] += 1
            link.reset()

    def close(self) -> None:
        """End all threads and sockets."""
        # A listener that is shut down wakes its accept on Linux only; a last connection does so everywhere.
        self._closing = True
        with contextlib.suppress(OSError), socket.create_connection(self._listener.getsockname(), 1):
            pass
        self._accepting.join()
        self._listener.close()
        for link in list(self._links):
            link.reset()
            link.join()

    def take(self, data: bytes) -> Fault | None:
        """Give the fault that is due for a request."""
        with self._lock:
            for trigger in self._triggers:
                if trigger.when in data:
                    trigger.times -= 1
                    if not trigger.times:
                        self._triggers.remove(trigger)
                    self.done.append(trigger.fault)
                    COUNTS[f"{type(trigger.fault).__name__.lower()} faults"] += 1
                    return trigger.fault
        return None

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            if self._closing:
                client.close()
                return
            self.connections += 1
            if self._refusing:
                client.close()
                continue
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self.path)
            except OSError:  # the server is down
                client.close()
                server.close()
                continue
            _Link(self, client, server, self._links).start()


class _Link(threading.Thread):
    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket, links: set[_Link]) -> None:
        super().__init__(name="proxy link", daemon=True)
        self._proxy = proxy
        self._client = client
        self._server = server
        self._links = links
        self._ended = threading.Event()
        self._wake, self._woken = socket.socketpair()
        links.add(self)

    def reset(self) -> None:
        self._ended.set()
        with contextlib.suppress(OSError):
            self._wake.send(b"x")

    def run(self) -> None:
        try:
            with contextlib.suppress(OSError):
                self._serve()
        finally:
            with contextlib.suppress(OSError):  # so that the other side sees a reset and no orderly end
                self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            for sock in (self._client, self._server, self._wake, self._woken):
                sock.close()
            self._links.discard(self)

    def _serve(self) -> None:
        mode: Fault | None = None
        while not self._ended.is_set():
            if self._proxy.stalled:
                self._ended.wait(0.01)
                continue
            ready, _, _ = select.select([self._client, self._server, self._woken], [], [])
            if self._client in ready:
                data = self._client.recv(65536)
                if not data:
                    return
                mode = self._proxy.take(data) or mode
                if isinstance(mode, Half):
                    self._server.sendall(data[: mode.sent])
                    return
                if not isinstance(mode, Silence) or mode.executed:
                    self._server.sendall(data)
            if self._server in ready:
                data = self._server.recv(65536)
                if not data:
                    return
                match mode:
                    case Lose():
                        self._client.sendall(data[: mode.keep])
                        if mode.keep:  # or the reset would overtake what was kept
                            self._client.shutdown(socket.SHUT_WR)
                            self._ended.wait(0.05)
                        return
                    case Silence():
                        continue
                    case Garbage():
                        self._client.sendall(mode.said)
                    case Split():
                        self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        for start in range(0, len(data), mode.size):
                            self._client.sendall(data[start : start + mode.size])
                    case Delay():
                        self._ended.wait(mode.seconds)
                        self._client.sendall(data)
                    case _:
                        self._client.sendall(data)


@contextlib.contextmanager
def proxy_to(path: str) -> Generator[Proxy]:
    """Run a proxy to the server at a unix socket."""
    proxy = Proxy(path)
    try:
        yield proxy
    finally:
        proxy.close()
