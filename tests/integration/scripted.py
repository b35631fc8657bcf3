"""A loopback TCP or TLS server whose answers are written by the test, byte for byte."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

#: Gets the request line with headers, and the connection; what it does not close is closed after it.
Answer = Callable[[str, socket.socket], None]


class ScriptedServer:
    """A context manager. Each connection takes one request and is answered on a thread of its own."""

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[str] = []
        self._answer, self._tls = answer, tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._connections: list[socket.socket] = []

    def url(self, path: str = "/") -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}{path}"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in (self._listener, *self._connections):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                thread = threading.Thread(target=self._serve, args=(connection,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            stream = self._tls.wrap_socket(connection, server_side=True) if self._tls else connection
            with stream:
                request = b""
                while b"\r\n\r\n" not in request:
                    data = stream.recv(4096)
                    if not data:
                        return
                    request += data
                self.requests.append(request.decode())
                self._answer(request.decode(), stream)


def wait_for_close(connection: socket.socket) -> None:
    """Blocks until the client or the end of the test closes the connection."""
    while connection.recv(4096):
        pass
