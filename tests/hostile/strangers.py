"""What strangers have: a connection on which they write any bytes, and servers that answer with any bytes."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from _pytest.mark import ParameterSet

_DEADLINE_S = 20.0


@dataclass(frozen=True, slots=True)
class Said:
    """How a node answered: the first bytes of it, whether it hung up, and after how long."""

    answer: bytes
    hung_up: bool
    after_s: float

    @property
    def status(self) -> int:
        """0 where it said nothing."""
        return int(self.answer[9:12]) if self.answer.startswith(b"HTTP/1.1 ") else 0

    @property
    def refused(self) -> bool:
        """With a text, or by hanging up before everything was sent."""
        return 400 <= self.status < 500 or (self.hung_up and not self.status)


async def say(url: str, parts: Iterable[bytes], deadline_s: float = _DEADLINE_S) -> Said:
    """Sends the parts on a connection of its own until there are no more or the node hangs up, and reads what
    it says till it hangs up, the answer is there in full length, or the deadline passes."""
    began = time.monotonic()
    reader, writer = await open_connection(url)
    sending = asyncio.create_task(_send(writer, parts))
    answer, hung_up = b"", False
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                try:
                    while not _is_whole(answer) and (data := await reader.read(65536)):
                        answer += data
                    hung_up = not _is_whole(answer)
                except ConnectionError:
                    hung_up = True
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        writer.transport.abort()
    return Said(answer[:4096], hung_up, time.monotonic() - began)


async def open_connection(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(url)
    return await asyncio.open_connection(parts.hostname, parts.port)


@asynccontextmanager
async def holding(url: str, count: int) -> AsyncIterator[None]:
    """So many connections on which nothing is ever sent."""
    held: list[asyncio.StreamWriter] = []
    try:
        for _ in range(count):
            held.append((await open_connection(url))[1])
        yield
    finally:
        for writer in held:
            writer.transport.abort()


async def _send(writer: asyncio.StreamWriter, parts: Iterable[bytes]) -> None:
    with contextlib.suppress(ConnectionError):
        for part in parts:
            writer.write(part)
            await writer.drain()


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end or head.startswith(b"HTTP/1.1 1"):
        return False
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return len(body) >= int(value)
    return body.endswith(b"0\r\n\r\n") if b"chunked" in head.lower() else True


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None]
#: Gets what was asked (the head of a request, where it waits for one) and writes whatever it likes.
Script = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Stranger:
    """A server. `ended_s` is after how long each connection was ended by the node."""

    port: int = 0
    asked: list[bytes] = field(default_factory=list)
    ended_s: list[float] = field(default_factory=list)

    def url(self, path: str = "/", scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"


@asynccontextmanager
async def stranger(script: Script) -> AsyncIterator[Stranger]:
    """An HTTP server that reads the head of one request on each connection, and then follows the script. What
    the script leaves open stays so until the node hangs up."""
    server_of = Stranger()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        began = time.monotonic()
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            server_of.asked.append(head)
            hearing = asyncio.create_task(_until_closed(reader))
            await script(head, writer)
            await hearing
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            server_of.ended_s.append(time.monotonic() - began)

    def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        task.add_done_callback(lambda _: _cut_off(writer))  # it may be cancelled before it runs
        tasks.add(task)

    async with listening(on_connection) as server_of.port:
        try:
            yield server_of
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[int]:
    """The port of a server that hands its connections to `serve`."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        # Python 3.11 leaves a connection open that it accepts in the turn of the loop in which it closes.
        for listener in server.sockets:
            asyncio.get_running_loop().remove_reader(listener.fileno())
        await asyncio.sleep(0)
        server.close()


def _cut_off(writer: asyncio.StreamWriter) -> None:
    """At once, whatever still waits to be sent. A connection that is over already takes no abort."""
    if not writer.is_closing() or writer.transport.get_write_buffer_size():
        writer.transport.abort()


async def _until_closed(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        while await reader.read(65536):
            pass


async def write_for_ever(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Until the node hangs up, as fast as it reads."""
    while True:
        writer.write(data)
        await writer.drain()


def cases(kinds: Iterable[str], quick: Collection[str]) -> list[ParameterSet]:
    """All kinds as parameters of a test; those that are not quick run with the slow ones."""
    kinds = list(kinds)
    assert set(quick) <= set(kinds)
    return [pytest.param(kind, id=kind, marks=[] if kind in quick else [pytest.mark.slow]) for kind in kinds]
