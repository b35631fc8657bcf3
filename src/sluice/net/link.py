"""A blocking TCP or TLS connection to a literal address, on which every operation shares one deadline.

It is the raw file below the reader of an answer. `shut_down` may be called from another thread.
"""

import contextlib
import io
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class Link(io.RawIOBase):
    def __init__(self, address: str) -> None:
        """Does not connect yet: another thread can have the link, and shut it down, before it blocks."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket: socket.socket = socket.socket(family, socket.SOCK_STREAM)
        self._until = 0.0
        self._lock = threading.Lock()  # the descriptor must not change hands under shut_down

    def allow(self, seconds: float) -> None:
        """All operations must end within `seconds` from now; later ones raise TimeoutError."""
        self._until = time.monotonic() + seconds

    def connect(self, address: str, port: int) -> None:
        self._timed().connect((address, port))

    def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Raises OSError, as `connect` does."""
        with self._lock:
            wrapped = context.wrap_socket(self._socket, server_hostname=host, do_handshake_on_connect=False)
            self._socket = wrapped
        self._timed()
        wrapped.do_handshake()

    def sendall(self, data: bytes) -> None:
        self._timed().sendall(data)

    def makefile(self) -> io.BufferedReader:
        """Closing it closes the connection."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        return self._timed().recv_into(buffer)

    def shut_down(self) -> None:
        """Makes whatever blocks on this connection return at once."""
        with self._lock, contextlib.suppress(OSError):
            # Not through the TLS layer, whose shutdown would change its state under a reading thread.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        with self._lock:
            self._socket.close()
        super().close()

    def _timed(self) -> socket.socket:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        self._socket.settimeout(left)
        return self._socket
