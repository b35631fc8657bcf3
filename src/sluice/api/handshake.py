"""TLS at the front of a connection: counted from the first byte on, and given up where it takes too long."""

import asyncio
import ssl

from sluice.api.connection import Connection
from sluice.api.gate import Gate
from sluice.core.limits import LONGEST_HANDSHAKE_S
from sluice.process.owned import own


class Handshake(asyncio.Protocol):
    """Becomes `connection` when it is done."""

    def __init__(self, gate: Gate, context: ssl.SSLContext, connection: Connection) -> None:
        self._gate = gate
        self._context = context
        self._connection = connection
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        transport.pause_reading()  # until somebody reads who understands it
        self._transport = transport
        if self._gate.enter(self):
            self._task = own(self._run(transport), "a TLS handshake", vital=False)
        else:
            transport.abort()

    def give_way(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def _run(self, transport: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        try:
            secured = await loop.start_tls(
                transport,
                self._connection,
                self._context,
                server_side=True,
                ssl_handshake_timeout=LONGEST_HANDSHAKE_S,
            )
        except OSError:  # strangers who speak no TLS, or too slowly, or went away
            secured = None
        self._gate.leave(self)
        if secured is None or secured.is_closing():
            transport.abort()
        else:
            self._connection.connection_made(secured)
