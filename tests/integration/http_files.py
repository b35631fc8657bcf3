"""HttpFile against scripted servers: files that are closed at the end, their answers, and reading them."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from sluice.core.addresses import AddressPolicy
from sluice.core.errors import SourceError
from sluice.net.context import HttpContext
from sluice.net.dial import Dialer
from sluice.net.http import HttpFile, HttpTimeouts
from tests.integration.scripted import Answer, wait_for_close

LOOPBACK = AddressPolicy(["127.0.0.0/8"])

Open = Callable[..., HttpFile]


@contextmanager
def _loop_beside() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that runs on a thread of its own, as a worker's does."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


@contextmanager
def opening(usual: HttpTimeouts) -> Iterator[Open]:
    files: list[HttpFile] = []

    def open_file(
        url: str,
        dialer: Dialer | None = None,
        timeouts: HttpTimeouts = usual,
        context: HttpContext | None = None,
    ) -> HttpFile:
        files.append(HttpFile(url, dialer or Dialer(LOOPBACK), loop, timeouts, context))
        return files[-1]

    with _loop_beside() as loop:
        try:
            yield open_file
        finally:
            for file in files:
                file.close()


def fixed(*parts: bytes, hold: bool = False) -> Answer:
    def answer(request: str, connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)
        if hold:
            wait_for_close(connection)

    return answer


def read_all(file: HttpFile, size: int = 65536) -> bytes:
    return b"".join(iter(lambda: file.read(size), b""))


def error_of(action: Callable[[], object]) -> SourceError:
    with pytest.raises(SourceError) as caught:
        action()
    return caught.value
