"""The media process's end of frame links: one to each room process, shared by all sessions.

A session takes a channel to publish into a room (`sink.room`) or to subscribe to a stream (`source.room`).
What channels write in one turn of the loop goes out at once at its end. Both directions are independent: what
subscribers are sent does not slow down what publishers send. A link lives while a channel of it is open. When
the room process dies, all its channels end, and their sessions go on with new ones.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from sluice.core.rooms import LinkAddress
from sluice.process.documents import Hello, LinkDocument, Subscribe, pack_document, read_document
from sluice.process.link import MOST_CHANNELS, FrameParser, FrameType, LinkError, LinkFrame, pack_frame

log = structlog.get_logger()

_MOST_BUFFERED = 16 << 20
_CONTROL, _END = FrameType.CONTROL, FrameType.END


class ChannelUser(Protocol):
    """What a channel is for. `on_document` and `on_frames` raise LinkError for what does not belong there."""

    def on_document(self, document: LinkDocument) -> None: ...

    def on_frames(self, frames: list[LinkFrame]) -> None:
        """What came at once."""
        ...

    def on_end(self) -> None:
        """Called once, when the room has closed the channel or is gone; never after `close`."""
        ...


class FrameLinks:
    """The frame links of a media process."""

    def __init__(self) -> None:
        self._trunks: dict[LinkAddress, _Trunk] = {}
        self._connecting = asyncio.Lock()
        self._received = 0  #: by trunks that are gone

    @property
    def received(self) -> int:
        """Bytes that came from room processes."""
        return self._received + sum(trunk.received for trunk in self._trunks.values())

    async def open(self, address: LinkAddress, purpose: Hello | Subscribe, user: ChannelUser) -> "Channel":
        """A new channel, which begins with its purpose. Raises OSError when the room process is not there."""
        async with self._connecting:
            trunk = self._trunks.get(address)
            if trunk is None or trunk.closing:
                opened = await _connect(address)
                self._received += trunk.received if trunk is not None else 0
                trunk = self._trunks[address] = opened
            return trunk.open(purpose, user)

    async def check(self, address: LinkAddress) -> None:
        """Raises OSError when no room process listens there."""
        async with self._connecting:
            trunk = self._trunks.get(address)
            if trunk is None or trunk.closing:
                (await _connect(address)).close()


class Channel:
    """A session's channel."""

    def __init__(self, trunk: "_Trunk", number: int, user: ChannelUser) -> None:
        self.number = number
        self._trunk = trunk
        self._user: ChannelUser | None = user

    @property
    def closing(self) -> bool:
        """Whether the link is broken: nothing arrives any more."""
        return self._trunk.closing

    @property
    def full(self) -> bool:
        """Whether the room process is so late that no more frames should be sent."""
        return self._trunk.full

    def write(self, frames: list[bytes]) -> None:
        """Whole frames of this channel."""
        self._trunk.write(frames)

    def tell(self, document: LinkDocument) -> None:
        if not self._trunk.closing:
            self._trunk.write([pack_document(document, self.number)])

    def close(self) -> None:
        """What was written still goes; the user hears nothing any more."""
        self._user = None
        self._trunk.leave(self.number)

    # --- what the trunk does ------------------------------------------------------------------------------

    def take(self, document: LinkDocument) -> None:
        if self._user is not None:
            self._user.on_document(document)

    def take_frames(self, frames: list[LinkFrame]) -> None:
        if self._user is not None:
            self._user.on_frames(frames)

    def end(self) -> None:
        user, self._user = self._user, None
        if user is not None:
            user.on_end()


async def _connect(address: LinkAddress) -> "_Trunk":
    """Our room engine's addresses are the paths of unix sockets."""
    _, trunk = await asyncio.get_running_loop().create_unix_connection(_Trunk, address)
    return trunk


class _Trunk(asyncio.Protocol):
    """The link to one room process, with its channels."""

    def __init__(self) -> None:
        self.closing = False
        self.full = False
        self.received = 0
        self._loop = asyncio.get_running_loop()
        self._parser = FrameParser()
        self._transport: asyncio.Transport | None = None
        self._channels: dict[int, Channel] = {}
        self._newest = -1
        self._out: list[bytes] = []

    # --- what channels do ---------------------------------------------------------------------------------

    def open(self, purpose: Hello | Subscribe, user: ChannelUser) -> Channel:
        """Raises OSError when there are as many channels as there are numbers."""
        if len(self._channels) == MOST_CHANNELS:
            raise OSError("the frame link has no free channel")
        # The longest free number: what is still on its way for the one before must not meet the next.
        self._newest = number = next(
            n % MOST_CHANNELS
            for n in range(self._newest + 1, self._newest + 1 + MOST_CHANNELS)
            if n % MOST_CHANNELS not in self._channels
        )
        self._channels[number] = channel = Channel(self, number, user)
        self.write([pack_document(purpose, number)])
        return channel

    def leave(self, number: int) -> None:
        if self._channels.pop(number, None) is None:
            return
        self.write([pack_frame(_END, b"", channel=number)])
        if not self._channels:
            self.close()

    def write(self, frames: list[bytes]) -> None:
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out += frames

    def close(self) -> None:
        """What was written still goes."""
        self._flush()
        self.closing = True
        if self._transport is not None:
            self._transport.close()

    def _flush(self) -> None:
        if self._transport is not None and self._out and not self.closing:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    # --- what the socket does -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # stream sockets have no other kind
        transport.set_write_buffer_limits(high=_MOST_BUFFERED)  # type: ignore[attr-defined]

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closing = True
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            channel.end()

    def data_received(self, data: bytes) -> None:
        frames: dict[int, list[LinkFrame]] = {}
        self.received += len(data)
        try:
            for frame in self._parser.feed(data):
                if frame.type == _CONTROL:
                    self._on_document(frame)
                elif frame.type != _END:
                    frames.setdefault(frame.channel, []).append(frame)
                elif (channel := self._channels.get(frame.channel)) is not None:
                    self._hand_over(channel, frames.pop(frame.channel, []))
                    self.leave(frame.channel)
                    channel.end()
        except LinkError as error:
            log.warning("x link", why=str(error))
            self.close()
        for number, came in frames.items():
            if (channel := self._channels.get(number)) is not None:
                self._hand_over(channel, came)

    def _on_document(self, frame: LinkFrame) -> None:
        channel = self._channels.get(frame.channel)
        if channel is not None:  # otherwise it was said before the room knew that the session has left
            self._try(channel, lambda: channel.take(read_document(frame.payload)))

    def _hand_over(self, channel: Channel, frames: list[LinkFrame]) -> None:
        if frames:
            self._try(channel, lambda: channel.take_frames(frames))

    def _try(self, channel: Channel, work: Callable[[], None]) -> None:
        """What goes wrong on a channel ends it, and no other."""
        try:
            work()
        except LinkError as error:
            log.warning("x channel", why=str(error), channel=channel.number)
        except Exception:  # root of a session
            log.error("x channel", why="a defect of ours", channel=channel.number, exc_info=True)
        else:
            return
        self.leave(channel.number)
        channel.end()
