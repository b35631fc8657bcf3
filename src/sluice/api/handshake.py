"""The TLS handshake of a connection: it is counted from its beginning, and given up if it takes too long."""

import asyncio
import os
import socket
import ssl

from sluice.api.connection import Connection
from sluice.api.gate import Gate
from sluice.core.limits import LONGEST_HANDSHAKE_S
from sluice.process.owned import own


class Handshake(asyncio.Protocol):
    """`connection` takes its place when it is done."""

    def __init__(self, gate: Gate, context: ssl.SSLContext, connection: Connection) -> None:
        self._gate = gate
        self._context = context
        self._connection = connection
        self._socket: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        # On a socket of its own: uvloop begins to read here in any case, although loop.start_tls expects that
        # it does not, and the first bytes would be lost.
        try:
            mine = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        except OSError:  # no descriptor is left, or he is gone
            transport.abort()
            return
        if self._gate.enter(self):
            self._socket = mine
            self._connection.before = self
            self._task = own(self._run(), "a TLS handshake", vital=False)
            self._task.add_done_callback(lambda _: self._end())
        else:
            mine.close()
        transport.abort()

    def give_way(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        accepted, self._socket = self._socket, None
        assert accepted is not None  # noqa: S101 - connection_made has set it
        accepted.setblocking(False)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._become,
                accepted,
                ssl=self._context,
                ssl_handshake_timeout=LONGEST_HANDSHAKE_S,
            )
        except OSError:  # strangers who speak no TLS, or too slowly, or went away
            accepted.close()

    def _become(self) -> Connection:
        return self._connection

    def _end(self) -> None:
        self._gate.leave(self)
        if self._socket is not None:  # made way before it began
            self._socket.close()
