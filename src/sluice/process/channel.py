"""The control channel: framed messages of `process.control` over a stream socket, with requests.

A frame is: length u32, kind u8 (0 notice, 1 request, 2 answer, 3 failure, 4 ping, 5 pong), request number
u32, JSON (none in the last three; a pong says in plain text why the process is not well, nothing if it is).
Either side may send notices; `request` waits for the one answer of its number. Every wait has a deadline, and
all of them fail when the peer is gone. What arrives is handled one by one in the order in which it was sent,
so a notice that takes back a request never overtakes it; only requests that take long are answered beside the
others.

No message ends a process. One that is too large is refused where it is made; if one comes all the same, it is
skipped. A message that cannot be read, or that the receiver fails at, is logged, and whoever waits for its
answer is told.
"""

import asyncio
import struct
from collections.abc import Awaitable, Callable

import structlog
from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from sluice.core.limits import MOST_MESSAGE_BYTES, MOST_UNREAD_BYTES, MOST_UNREAD_BYTES_EVER
from sluice.process.control import Message, decode, encode
from sluice.process.owned import own, trouble

_HEAD = struct.Struct("!IBI")
_NOTICE, _REQUEST, _ANSWER, _FAILURE, _PING, _PONG = range(6)
_PIECE = 64 << 10
REQUEST_DEADLINE_S = 5.0

log = structlog.get_logger()


class ChannelClosed(Exception):
    """The other process is gone, failed at the request, or did not answer in time."""


class ChannelSilent(ChannelClosed):
    """The other process did not answer in time; it may hang."""


class MessageRefused(ChannelClosed):
    """The message was not sent, because it is too large, or no JSON can hold it."""


class ChannelBusy(ChannelClosed):
    """The request was not sent: the other process is far behind with what it was sent before."""


class Channel:
    """One end. `on_notice` gets what needs no answer; `on_request` returns the answer. Nothing else is taken
    while `on_request` works, so it must not ask over the same channel; but for the messages `beside`, which
    take seconds."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        on_notice: Callable[[Message], None],
        on_request: Callable[[Message], Awaitable[Message]] | None = None,
        beside: tuple[type[Message], ...] = (),
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._on_notice = on_notice
        self._on_request = on_request
        self._beside = beside
        self._waiting: dict[int, asyncio.Future[Message | str]] = {}
        self._next_number = 0
        self._closed = False
        self.heard = 0  #: frames that have come; the other process was there when it sent the last

    def notify(self, message: Message) -> None:
        """Sends without waiting. A message to a peer that is gone is dropped; its end is told elsewhere."""
        try:
            self._write(_NOTICE, 0, _encoded(message))
        except MessageRefused as error:
            log.error("x notice", notice=message.type, why=str(error))

    async def request(self, message: Message, *, deadline_s: float = REQUEST_DEADLINE_S) -> Message:
        """The answer. Raises ChannelClosed when the peer is gone, silent or busy, or failed at the request;
        MessageRefused when it cannot be sent."""
        answer = await self._ask(_REQUEST, _encoded(message), deadline_s)
        assert not isinstance(answer, str)  # noqa: S101 - only a pong is text
        return answer

    async def ping(self, *, deadline_s: float) -> str:
        """Asks the peer's event loop. Returns why that process is not well, empty when it is. Raises
        ChannelSilent, and ChannelClosed when the peer is gone."""
        answer = await self._ask(_PING, b"", deadline_s)
        assert isinstance(answer, str)  # noqa: S101 - a ping's
        return answer

    async def _ask(self, kind: int, data: bytes, deadline_s: float) -> Message | str:
        if self._closed:
            raise ChannelClosed("the process is gone")
        if kind == _REQUEST and self._writer.transport.get_write_buffer_size() > MOST_UNREAD_BYTES:
            raise ChannelBusy("the process is behind with its requests; try again in a second")
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
                self.heard += 1
                if length > MOST_MESSAGE_BYTES:
                    await self._read_over(length)
                    self._fail(kind, number, f"it has {length} bytes; the limit is {MOST_MESSAGE_BYTES}")
                else:
                    await self._take(kind, number, await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            log.debug("control channel closed", why=str(error))  # the end of a process is told elsewhere
        finally:
            self.close()

    def close(self) -> None:
        self._closed = True
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ChannelClosed("the process is gone"))
        self._writer.close()

    async def _read_over(self, length: int) -> None:
        while length:
            piece = min(length, _PIECE)
            await self._reader.readexactly(piece)
            length -= piece

    async def _take(self, kind: int, number: int, data: bytes) -> None:
        if kind in (_NOTICE, _REQUEST, _ANSWER):
            try:
                message = decode(data)
            except ValidationError as error:
                # Without what was sent: it may hold secrets, and megabytes.
                self._fail(kind, number, f"it is outside the schema: {error.error_count()} errors")
                return
            await self._take_message(kind, number, message)
        elif kind == _PING:
            self._write(_PONG, number, (trouble() or "").encode())
        elif kind == _PONG:
            self._settle(number, data.decode(errors="replace"))
        elif kind == _FAILURE:
            self._settle(number, ChannelClosed("the process failed at this request; its log says why"))
        else:
            log.error("x control message", why=f"its kind is {kind}, which there is not")

    async def _take_message(self, kind: int, number: int, message: Message) -> None:
        if kind == _REQUEST:
            answering = self._answer(number, message)
            if isinstance(message, self._beside):
                own(answering, f"the answer to {message.type}", vital=False)
            else:
                await answering
        elif kind == _ANSWER:
            self._settle(number, message)
        else:
            try:
                self._on_notice(message)
            except Exception:  # root of a notice: whatever else the process does goes on
                log.error("x notice", notice=message.type, exc_info=True)

    def _settle(self, number: int, result: Message | str | ChannelClosed) -> None:
        future = self._waiting.get(number)
        if future is None or future.done():
            return
        if isinstance(result, ChannelClosed):
            future.set_exception(result)
        else:
            future.set_result(result)

    def _fail(self, kind: int, number: int, why: str) -> None:
        """A message cannot be taken; whoever waits for it is told."""
        log.error("x control message", why=why)
        if kind == _REQUEST:
            self._write(_FAILURE, number, b"")
        elif kind == _ANSWER:
            self._settle(number, ChannelClosed(f"the process's answer cannot be read: {why}"))

    async def _answer(self, number: int, message: Message) -> None:
        try:
            if self._on_request is None:
                raise LookupError("this side of the channel takes no requests")
            answer = await self._on_request(message)
            self._write(_ANSWER, number, _encoded(answer))
        except Exception:  # root of a request: whatever else the process does goes on
            log.error("x request", request=message.type, exc_info=True)
            self._write(_FAILURE, number, b"")

    def _write(self, kind: int, number: int, data: bytes) -> None:
        if self._closed or self._writer.is_closing():
            return
        self._writer.write(_HEAD.pack(len(data), kind, number) + data)
        if self._writer.transport.get_write_buffer_size() > MOST_UNREAD_BYTES_EVER:
            log.error("x control channel", why="the other process does not read")
            self._writer.transport.abort()


def _encoded(message: Message) -> bytes:
    """Raises MessageRefused."""
    try:
        data = encode(message)
    except (PydanticSerializationError, UnicodeEncodeError) as error:
        raise MessageRefused(f"the message {message.type} cannot be sent: {error}") from error
    if len(data) > MOST_MESSAGE_BYTES:
        raise MessageRefused(
            f"the message {message.type} has {len(data)} bytes; the limit is {MOST_MESSAGE_BYTES}"
        )
    return data
