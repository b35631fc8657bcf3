"""The control channel: framed messages of `process.control` over a stream socket, with requests.

A frame is: length u32, kind u8 (0 notice, 1 request, 2 answer, 3 failure, 4 ping, 5 pong), request number
u32, JSON (none in the last three; a pong says in plain text why the process is not well, nothing if it is).
Either side may send notices; `request` waits for the one answer of its number. Answers are never waited for
without a deadline, and everything that waits fails when the peer is gone. What arrives is handled one by one
in the order it was sent: a notice that takes back a request never overtakes it.
"""

import asyncio
import struct
from collections.abc import Awaitable, Callable

import structlog
from pydantic import ValidationError

from sluice.process.control import Message, decode, encode
from sluice.process.owned import trouble

_HEAD = struct.Struct("!IBI")
_NOTICE, _REQUEST, _ANSWER, _FAILURE, _PING, _PONG = range(6)
_MAX_MESSAGE = 4 << 20
#: A peer that leaves this much unread is stuck, and cut off.
_MOST_BUFFERED = 16 << 20

log = structlog.get_logger()


class ChannelClosed(Exception):
    """The other process is gone, failed at the request, or did not answer in time."""


class ChannelSilent(ChannelClosed):
    """The other process did not answer in time; it may hang."""


class Channel:
    """One end. `on_notice` gets what needs no answer, `on_request` returns the answer; while it works
    nothing else is taken, so it must not ask over the same channel."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        on_notice: Callable[[Message], None],
        on_request: Callable[[Message], Awaitable[Message]] | None = None,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._on_notice = on_notice
        self._on_request = on_request
        self._waiting: dict[int, asyncio.Future[Message | str]] = {}
        self._next_number = 0
        self._closed = False

    def notify(self, message: Message) -> None:
        """Sends without waiting. Messages to a peer that is gone are dropped: its end is told elsewhere."""
        self._write(_NOTICE, 0, encode(message))

    async def request(self, message: Message, *, deadline_s: float = 5.0) -> Message:
        """Raises ChannelClosed when the peer is gone or silent, or failed at it."""
        answer = await self._ask(_REQUEST, encode(message), deadline_s)
        assert not isinstance(answer, str)  # noqa: S101 - only a pong is text
        return answer

    async def ping(self, *, deadline_s: float) -> str:
        """Returns when the peer's event loop has answered: why that process is not well, empty when it is.
        Raises ChannelSilent, and ChannelClosed when the peer is gone."""
        answer = await self._ask(_PING, b"", deadline_s)
        assert isinstance(answer, str)  # noqa: S101 - a ping's
        return answer

    async def _ask(self, kind: int, data: bytes, deadline_s: float) -> Message | str:
        if self._closed:
            raise ChannelClosed("the process is gone")
        self._next_number = number = (self._next_number + 1) & 0xFFFFFFFF
        future: asyncio.Future[Message | str] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            self._write(kind, number, data)
            return await asyncio.wait_for(future, deadline_s)
        except TimeoutError:
            raise ChannelSilent("the process did not answer in time") from None
        finally:
            del self._waiting[number]

    async def run(self) -> None:
        """Reads until the peer is gone."""
        try:
            while True:
                length, kind, number = _HEAD.unpack(await self._reader.readexactly(_HEAD.size))
                if length > _MAX_MESSAGE:
                    raise ChannelClosed("a control message is larger than the bound")
                await self._take(kind, number, await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            log.debug("control channel closed", error=str(error))  # the end of a process is told elsewhere
        except (ChannelClosed, ValidationError) as error:
            log.error("control channel closed", error=str(error))
        finally:
            self.close()

    def close(self) -> None:
        self._closed = True
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ChannelClosed("the process is gone"))
        self._writer.close()

    async def _take(self, kind: int, number: int, data: bytes) -> None:
        if kind == _NOTICE:
            self._on_notice(decode(data))
        elif kind == _REQUEST:
            await self._answer(number, decode(data))
        elif kind == _PING:
            self._write(_PONG, number, (trouble() or "").encode())
        else:
            future = self._waiting.get(number)
            if future is None or future.done():
                return
            if kind == _ANSWER:
                future.set_result(decode(data))
            elif kind == _PONG:
                future.set_result(data.decode(errors="replace"))
            else:
                future.set_exception(ChannelClosed("the process failed at this request; its log says why"))

    async def _answer(self, number: int, message: Message) -> None:
        assert self._on_request is not None, "this side of the channel takes no requests"  # noqa: S101
        try:
            answer = await self._on_request(message)
        except Exception:  # root of a request: whatever else the process does goes on
            log.error("x request", request=message.type, exc_info=True)
            self._write(_FAILURE, number, b"")
        else:
            self._write(_ANSWER, number, encode(answer))

    def _write(self, kind: int, number: int, data: bytes) -> None:
        if self._closed or self._writer.is_closing():
            return
        self._writer.write(_HEAD.pack(len(data), kind, number) + data)
        if self._writer.transport.get_write_buffer_size() > _MOST_BUFFERED:
            log.error("x control channel", why="the other process does not read")
            self._writer.transport.abort()
