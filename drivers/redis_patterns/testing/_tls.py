"""TLS before a private server, whose program may be one that was built without it."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from redis_patterns.testing._server import Server

if TYPE_CHECKING:
    import trustme

__all__ = ["Secured", "tls"]

_MOST_CONNECTIONS = 64
_POLL = 0.05  # seconds


class Secured:
    """A server that speaks TLS on a port of loopback; made by `tls`.

    Parameters:
        port: where it listens.
        options: for a client: ``ssl_ca_certs``, ``ssl_certfile`` and ``ssl_keyfile``, the paths of PEM files, as
            ``Driver.connect`` and redis-py take them.
        authority: who signed the certificates of both sides, to issue more.
    """

    def __init__(self, port: int, options: dict[str, str], authority: trustme.CA) -> None:
        self.port = port
        self.options = options
        self.authority = authority

    @property
    def url(self) -> str:
        """Its address; the certificate is for ``localhost``."""
        return f"rediss://localhost:{self.port}"


@contextlib.contextmanager
def tls(running: Server) -> Generator[Secured, None, None]:
    """Let a server be reached by TLS for a block of code; needs the extra ``testing``.

    A client must show a certificate. The program itself need not be built with TLS: threads of this process stand
    before it.

    Parameters:
        running: the server.

    Returns:
        A context manager that gives the `Secured` address of the server.
    """
    import trustme  # noqa: PLC0415  only for who wants TLS

    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    folder = Path(running.socket_path).parent
    paths = {name: folder / f"{name}.pem" for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")}
    authority.cert_pem.write_to_path(paths["ssl_ca_certs"])
    client = authority.issue_cert("client@example.org")
    client.cert_chain_pems[0].write_to_path(paths["ssl_certfile"])
    client.private_key_pem.write_to_path(paths["ssl_keyfile"])
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            with contextlib.suppress(TimeoutError):
                arrived, _ = listener.accept()
                threads.submit(_forward, arrived, context, running.socket_path, ended)

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(_MOST_CONNECTIONS + 1) as threads:
        listener.settimeout(_POLL)
        threads.submit(serve)
        try:
            yield Secured(listener.getsockname()[1], {name: str(path) for name, path in paths.items()}, authority)
        finally:
            ended.set()


def _forward(arrived: socket.socket, context: ssl.SSLContext, path: str, ended: threading.Event) -> None:
    """Pass on what comes from either side, until one closes."""
    with (
        arrived,
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX) as behind,
        context.wrap_socket(arrived, server_side=True) as front,
    ):
        behind.connect(path)
        while not ended.is_set():
            ready = [front] if front.pending() else select.select([front, behind], [], [], _POLL)[0]
            if behind in ready:
                data = behind.recv(65536)
                if not data:
                    return
                front.settimeout(5)
                front.sendall(data)
            if front in ready:
                front.settimeout(0.01)  # what arrived may be no data for us yet
                with contextlib.suppress(TimeoutError, ssl.SSLWantReadError):
                    data = front.recv(65536)
                    if not data:
                        return
                    behind.sendall(data)
