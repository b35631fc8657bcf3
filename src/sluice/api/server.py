"""The HTTP server: where it listens, and the certificate it shows.

A certificate can be renewed while the node runs: when its files change, new connections get the new one and
existing ones go on. If the files do not fit together, such as a new certificate beside the old key, the
certificate stays as it was.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from sluice.api.connection import Connection
from sluice.api.gate import Gate
from sluice.api.handshake import Handshake
from sluice.api.refusals import Refusals
from sluice.core.errors import BadInput
from sluice.core.limits import LONGEST_IDLE_S, LONGEST_UNREAD_S, MOST_CONNECTIONS
from sluice.process.descriptors import Share
from sluice.process.owned import own
from sluice.process.ports import binding

_LOOK_S = 1.0
_SHARE = Share(MOST_CONNECTIONS, 1024)

log = structlog.get_logger()


@contextmanager
def listening(
    host: str, port: int, tls: tuple[Path, Path] | None = None, setting: str = "listen"
) -> Iterator["Listener"]:
    """Listens: callers wait from now on until they are served. `tls`: PEM files of chain and key. Raises
    BadInput for an address that cannot be used, which the `setting` gave, and for bad files."""
    certificate = Certificate(*tls) if tls else None
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with binding(setting, "TCP", host, port):
        listener = socket.create_server((host, port), family=family, backlog=1024)
    # Connections inherit it: callers that do not read their answers, or vanished, are cut off.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, LONGEST_UNREAD_S * 1000)
    with listener:
        scheme = "https" if certificate else "http"
        name = f"[{host}]" if family == socket.AF_INET6 else host
        yield Listener(listener, certificate, f"{scheme}://{name}:{listener.getsockname()[1]}")


@dataclass(frozen=True, slots=True)
class Listener:
    """`url` is its address."""

    socket: socket.socket
    certificate: "Certificate | None"
    url: str


@asynccontextmanager
async def serving(
    app: ASGIApp, listener: Listener, share: Share = _SHARE, refusals: Refusals | None = None
) -> AsyncIterator[None]:
    """Serves `app` while the context is open; `share` bounds the connections. The access log is off, since
    addresses carry signatures and tokens."""
    gate, certificate = Gate(share.connections, refusals), listener.certificate

    def connection(**uvicorn_has: Any) -> asyncio.Protocol:
        made = Connection(gate, **uvicorn_has)
        # Not uvicorn's TLS: callers that do not finish the handshake must be counted, too.
        return Handshake(gate, certificate.context, made) if certificate else made

    config = uvicorn.Config(
        _until_he_leaves(app),
        http=connection,  # type: ignore[arg-type]  # a class for uvicorn, which only calls it
        ws="none",
        access_log=False,
        log_config=None,
        log_level=logging.ERROR,  # it would warn of each stranger that speaks no HTTP
        lifespan="off",
        server_header=False,
        headers=[("X-Content-Type-Options", "nosniff")],
        proxy_headers=False,  # TrustedProxies reads them
        backlog=share.backlog,
        timeout_keep_alive=round(LONGEST_IDLE_S),
        timeout_graceful_shutdown=2,
    )
    server = _Server(config)
    tasks = [own(server.serve(sockets=[listener.socket]), "the HTTP server")]
    if certificate is not None:
        tasks.append(own(certificate.follow(), "the reader of the certificate"))
    try:
        yield
    finally:
        server.should_exit = True
        await tasks[0]
        for task in tasks[1:]:
            task.cancel()


def _until_he_leaves(app: ASGIApp) -> ASGIApp:
    """A caller that leaves in the middle of its body ends the handler that reads it, without an error."""

    async def until(scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(ClientDisconnect):  # the caller was refused, or has left: no fault of ours
            await app(scope, receive, send)

    return until


class Certificate:
    """`context` always shows the newest certificate that could be read."""

    def __init__(self, chain: Path, key: Path) -> None:
        """Raises BadInput if the files are not a certificate and its key."""
        self._chain = chain
        self._key = key
        self._seen = self._stamps()
        try:
            self.context = self._read()
        except (OSError, ssl.SSLError) as error:
            raise BadInput(
                "tls_cert", f"{chain} and {key} cannot be used: {_why(error)}; give PEM files of both"
            ) from error

    async def follow(self) -> None:
        """Looks once a second, for ever."""
        while True:
            await asyncio.sleep(_LOOK_S)
            self.look()

    def look(self) -> None:
        """Reads the files again when they have changed."""
        stamps = self._stamps()
        if stamps == self._seen:
            return
        self._seen = stamps
        try:
            self._read()  # into a new context: half of a bad pair would spoil the one in use
            self.context.load_cert_chain(self._chain, self._key, password="")
        except (OSError, ssl.SSLError) as error:
            log.warning("the certificate stays as it is", file=str(self._chain), why=_why(error))
        else:
            log.info("the certificate was read again", file=str(self._chain))

    def _read(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        # With a password: a key that needs one is refused, instead of asking for it on the terminal.
        context.load_cert_chain(self._chain, self._key, password="")
        return context

    def _stamps(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(path) for path in (self._chain, self._key)]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _why(error: OSError) -> str:
    return error.strerror or str(error)


class _Server(uvicorn.Server):
    """Leaves signals to the node, which ends its children and tasks in order."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
