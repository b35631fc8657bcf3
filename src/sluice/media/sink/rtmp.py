"""A stream's units to an RTMP server: our own client on asyncio, `wire.rtmp_publish` doing the protocol.

Each step has a deadline. Once it publishes nobody waits: what the server does not take at once goes to a
bounded backlog, its answers are read all the time, and a server that takes nothing for a while is lost,
however long it keeps the connection. So one that accepts and never reads costs nobody else anything.
"""

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
from asyncio import StreamWriter
from dataclasses import dataclass
from typing import Any

from sluice.core.errors import DestinationError, SourceError
from sluice.core.lifecycle import Reason
from sluice.core.masking import mask_url
from sluice.media.packets import TrackKind
from sluice.media.rtmp_link import HungUp, RtmpLink, connect_rtmp
from sluice.media.sink.backlog import Backlog
from sluice.media.sink.flv_stream import FlvStream
from sluice.media.units import AudioHeaders, Unit
from sluice.net.dial import Dialer
from sluice.process.owned import own
from sluice.wire.rtmp import ClientState, Event, Rejected, StreamEnded
from sluice.wire.rtmp_chunks import RtmpError
from sluice.wire.rtmp_publish import PublishMachine
from sluice.wire.rtmp_url import RtmpUrl

#: More is left to the backlog, which can drop it, than to the connection, which cannot.
_MOST_UNSENT = 256 * 1024
_REASONS = {
    Reason.SOURCE_UNREACHABLE: Reason.DESTINATION_UNREACHABLE,
    Reason.SOURCE_REFUSED: Reason.DESTINATION_REFUSED,
}
_ACKED_BYTES = struct.Struct("@120xQ")  #: tcpi_bytes_acked in struct tcp_info


@dataclass(frozen=True, slots=True)
class RtmpLimits:
    """Seconds: for each step until media may be sent; without progress until it is lost; for a clean end.
    `first_ms` is the media time that each connection begins with."""

    step_s: float = 10.0
    wedge_s: float = 15.0
    end_s: float = 3.0
    first_ms: int = 0


class RtmpSink:
    """`connect`, `publish`, then `begin` and `send`; `close` in any case. A failed one is of no more use.

    `lost` gets the DestinationError that ended a sink which had begun.
    """

    def __init__(self, url: str, dialer: Dialer, limits: RtmpLimits = RtmpLimits()) -> None:
        """Raises DestinationError (permanent) for a URL that names no server and app."""
        self._name = mask_url(url)
        try:
            self._target = RtmpUrl.parse(url)
        except ValueError as error:
            raise self._error(Reason.DESTINATION_REFUSED, str(error), transient=False) from error
        self._dialer, self._limits = dialer, limits
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[DestinationError] = self._loop.create_future()
        self._machine: PublishMachine
        self.video_frames = self.audio_packets = self.bytes_out = 0
        self._backlog = Backlog()
        self._stream: FlvStream | None = None
        self._link: RtmpLink[PublishMachine]
        self._writer: StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._acked, self._acked_at = 0, 0.0

    # --- steps ---------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Until the server has granted connect.

        Raises DestinationError, all transient but ADDRESS_NOT_ALLOWED and logins that fail:
        DESTINATION_UNREACHABLE, DESTINATION_REFUSED.
        """
        step_s = self._limits.step_s
        try:
            link = await connect_rtmp(
                self._target, self._dialer, PublishMachine, handshake_s=step_s, reply_s=step_s
            )
        except SourceError as error:
            reason = _REASONS.get(error.reason, error.reason)
            text = f"{self._name}: {error}"
            raise DestinationError(reason, text, transient=error.transient) from error
        self._link, self._writer, self._machine = link, link.writer, link.machine
        self._writer.transport.set_write_buffer_limits(high=_MOST_UNSENT)

    async def publish(self) -> None:
        """Until the server takes the stream. Raises as `connect` does."""
        await self._take_step(ClientState.CREATE_STREAM)
        await self._take_step(ClientState.PUBLISH)

    def begin(self, audio_headers: AudioHeaders, *, pictures: bool, pictures_expected: bool) -> None:
        """From now on `send` may be called; the server is listened to. Arguments as of FlvStream."""
        self._stream = FlvStream(
            self._machine,
            audio_headers,
            pictures=pictures,
            pictures_expected=pictures_expected,
            first_ms=self._limits.first_ms,
        )
        self._acked_at = self._loop.time()
        self._listening = own(self._listen(), f"listening to {self._name}", vital=False)
        self._listening.add_done_callback(self._stop_hearing)

    async def _take_step(self, state: ClientState) -> None:
        step_s = self._limits.step_s
        try:
            async with asyncio.timeout(step_s):
                while self._machine.state is state:
                    for event in await self._receive():
                        if (error := self._end_of(event)) is not None:
                            raise error
        except TimeoutError as error:
            text = f"the server did not answer to {state.value} within {step_s:g} s"
            if complaint := self._machine.complaint:
                text += f" ({self._target.without_secrets(complaint)[:200]})"
            raise self._error(Reason.DESTINATION_UNREACHABLE, text) from error

    async def _receive(self) -> list[Event]:
        """Sends what the protocol wants, then waits for what the server says. Raises DestinationError."""
        try:
            return await self._link.receive()
        except RtmpError as error:
            raise self._refused(f"the server breaks the protocol: {error}") from error
        except HungUp as error:
            raise self._gone("closed the connection") from error
        except OSError as error:
            raise self._gone("broke the connection") from error

    def _end_of(self, event: Event) -> DestinationError | None:
        match event:
            case Rejected(code, text):
                return self._refused(
                    f"the server refuses: {self._target.without_secrets(text or code)[:300]}"
                )
            case StreamEnded():
                return self._gone("ended the stream")
        return None

    # --- media ---------------------------------------------------------------------------------------------

    def send(self, units: list[Unit]) -> None:
        """Sends them in order, now or as soon as the server takes them."""
        writer = self._writer
        if writer is None or self.lost.done() or writer.transport.is_closing():
            return
        if self._flushing is None and writer.transport.get_write_buffer_size() <= _MOST_UNSENT:
            self._write(units)
            return
        self._backlog.add(units)
        if self._backlog.needs_key_frame and self._stream is not None:
            self._stream.needs_key_frame = True  # it may begin again with pictures of the past
        if self._flushing is None:
            self._flushing = own(self._flush(), f"the backlog for {self._name}", vital=False)

    @property
    def needs_key_frame(self) -> bool:
        """Pictures go out again with the next one."""
        return self._backlog.needs_key_frame or (self._stream is not None and self._stream.needs_key_frame)

    @property
    def dropped(self) -> int:
        """Units that the server was too slow for."""
        return self._backlog.dropped

    @property
    def position_us(self) -> int:
        return self._stream.position_us if self._stream is not None else 0

    def watch(self) -> None:
        """To be called about once a second: a server that takes nothing any more is lost."""
        writer = self._writer
        if writer is None or writer.transport.is_closing():
            return
        now, connection = self._loop.time(), writer.get_extra_info("socket")
        (acked,) = _ACKED_BYTES.unpack(
            connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED_BYTES.size)
        )
        in_kernel = struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
        if acked != self._acked or not (in_kernel or writer.transport.get_write_buffer_size()):
            self._acked, self._acked_at = acked, now
        elif now - self._acked_at >= self._limits.wedge_s:
            self._lose(self._gone(f"has taken nothing for {self._limits.wedge_s:g} s"))

    def _write(self, units: list[Unit]) -> None:
        assert self._stream is not None  # noqa: S101 - begin comes first
        assert self._writer is not None  # noqa: S101
        parts: list[bytes] = []
        for unit in units:
            if data := self._stream.write(unit):
                parts.append(data)
                if unit.kind is TrackKind.VIDEO:
                    self.video_frames += 1
                else:
                    self.audio_packets += 1
        if parts:
            data = b"".join(parts)
            self.bytes_out += len(data)
            self._writer.write(data)

    async def _flush(self) -> None:
        """Sends the backlog as the server takes it."""
        assert self._writer is not None  # noqa: S101
        try:
            while self._backlog:
                await self._writer.drain()
                self._write(self._backlog.take(_MOST_UNSENT))
        except OSError as error:
            self._lose(self._gone("broke the connection"), error)
        finally:
            self._flushing = None

    async def _listen(self) -> None:
        try:
            while True:
                for event in await self._receive():
                    if (error := self._end_of(event)) is not None:
                        self._lose(error)
        except DestinationError as error:
            self._lose(error)

    def _stop_hearing(self, listening: asyncio.Task[None]) -> None:
        """A server that nobody listens to any more is lost."""
        if not listening.cancelled() and listening.exception() is not None:
            self._lose(self._error(Reason.INTERNAL_ERROR, Reason.INTERNAL_ERROR.text, transient=False))

    def _lose(self, error: DestinationError, cause: Exception | None = None) -> None:
        if not self.lost.done():
            error.__cause__ = cause or error.__cause__
            self.lost.set_result(error)

    # --- the end -------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Cleanly where it publishes: what was sent arrives, and the server is told. Within the limit."""
        writer = self._writer
        if writer is None:
            return
        if self._listening is not None and not self.lost.done():
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(self._limits.end_s):
                    await self._say_goodbye(writer, self._listening)
        self._writer = None
        writer.transport.abort()
        for task in (self._listening, self._flushing):
            if task is not None:
                task.cancel()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(self._limits.end_s):
                await writer.wait_closed()

    async def _say_goodbye(self, writer: StreamWriter, listening: asyncio.Task[None]) -> None:
        """Returns when the server has answered or hung up."""
        if self._flushing is not None:
            await self._flushing
        self._machine.finish()
        writer.write(self._machine.to_send())
        ends: set[asyncio.Future[Any]] = {listening, self.lost}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)

    # --- what went wrong -----------------------------------------------------------------------------------

    def _error(self, reason: Reason, what: str, *, transient: bool = True) -> DestinationError:
        return DestinationError(reason, f"{self._name}: {what}", transient=transient)

    def _gone(self, what: str) -> DestinationError:
        if self._stream is None:
            # Many servers refuse a publisher by hanging up.
            return self._refused(f"the server {what} instead of taking the stream; is the stream key right?")
        return self._error(Reason.DESTINATION_INTERRUPTED, f"the server {what}")

    def _refused(self, why: str) -> DestinationError:
        return self._error(Reason.DESTINATION_REFUSED, why)
