"""The room's end of a frame link: cuts it into frames and hands them to the ends of its channels.

The first document on a channel says what it is for: a session that publishes (see `publisher`) or one that
subscribes (see `subscriber`). What does not belong on a channel ends that channel alone; bytes that are no
frames end the link.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

import structlog

from sluice.process.documents import LinkDocument, pack_document, read_document
from sluice.process.link import HEAD, FrameParser, FrameType, LinkError, LinkFrame, pack_frame

log = structlog.get_logger()

#: Plain numbers: they are compared for each frame.
_CONTROL, _END = int(FrameType.CONTROL), int(FrameType.END)
#: Bytes that may wait on a link for each channel that frames are sent over. The channels of a link are read
#: by one event loop: if one of them is late, all are, so what counts is the sum.
MOST_WAITING = 4 << 20


class LinkEnd(Protocol):
    """What a channel is for. `on_document` and `on_frame` raise LinkError or ValueError for what does not
    belong there; `lost` is called once, when the session is gone."""

    @property
    def name(self) -> str: ...

    def on_document(self, document: LinkDocument) -> None: ...

    def on_frame(self, frame: LinkFrame) -> None: ...

    def lost(self) -> None: ...


class LinkChannel:
    """One channel of a frame link, as its end sees it."""

    def __init__(self, link: "FrameLink", number: int) -> None:
        self.closed = False  #: from our side; what was on its way is dropped
        self.end: LinkEnd | None = None  #: None until a first document has said what it is for
        self._link = link
        self._number = number
        self._gets_frames = False

    @property
    def name(self) -> str:
        """Of its end, for the log."""
        return self.end.name if self.end is not None else ""

    def expect_frames(self) -> None:
        """Frames are sent over this channel from now on: the link may keep more of them waiting."""
        self._gets_frames = True
        self._link.count_receivers(1)

    @property
    def full(self) -> bool:
        """Whether the other side is so late that nothing more should be sent."""
        return self._link.full

    def send(self, kind: FrameType, payload: bytes, media_us: int, flags: int = 0) -> None:
        head = HEAD.pack(len(payload), kind, flags, self._number, media_us)
        self._link.write((head, payload))

    def send_whole(self, kind: FrameType, frames: Iterable[tuple[bytes, int, int]]) -> None:
        """Sends frames (payload, media time, flags) even over a link that is full. They may wait beside what
        else may."""
        data = b"".join(
            part
            for payload, media_us, flags in frames
            for part in (HEAD.pack(len(payload), kind, flags, self._number, media_us), payload)
        )
        self._link.allow(len(data))
        self._link.write((data,))

    def tell(self, document: LinkDocument) -> None:
        self._link.write((pack_document(document, self._number),))

    def close(self) -> None:
        """What was written still goes."""
        if not self.closed:
            self.closed = True
            self._link.write((pack_frame(FrameType.END, b"", channel=self._number),))

    def lost(self) -> None:
        """The other side is done with it."""
        if self._gets_frames:
            self._link.count_receivers(-1)
        if self.end is not None:
            self.end.lost()


#: Makes the end for the first document of a channel. Raises LinkError.
OpenEnd = Callable[[LinkChannel, LinkDocument], LinkEnd]


class FrameLink(asyncio.Protocol):
    def __init__(self, open_end: OpenEnd) -> None:
        self._open_end = open_end
        self._receivers = 0  #: channels that frames are sent over
        self._channels: dict[int, LinkChannel] = {}
        self._parser = FrameParser()
        self._transport: asyncio.Transport | None = None
        self._allowed = 0  #: bytes that may wait beside the usual

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # stream sockets have no other kind

    def connection_lost(self, exc: Exception | None) -> None:
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            channel.lost()

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._parser.feed(data):
                self._take(frame)
        except LinkError as error:
            log.warning("x link", why=str(error))
            if self._transport is not None:
                self._transport.close()

    def _take(self, frame: LinkFrame) -> None:
        channel = self._channels.get(frame.channel)
        if frame.type == _END:
            if channel is not None:
                del self._channels[frame.channel]
                channel.lost()
            return
        if channel is None:
            channel = self._channels[frame.channel] = LinkChannel(self, frame.channel)
        if channel.closed:
            return
        try:
            if frame.type == _CONTROL:
                self._on_document(channel, read_document(frame.payload))
            elif channel.end is not None:
                channel.end.on_frame(frame)
            else:
                raise LinkError("the channel does not begin with a document")
        except (LinkError, ValueError) as error:  # of one session: the others go on
            log.warning("x channel", why=str(error), end=channel.name)
            channel.close()
        except Exception:  # root of a session, as above
            log.error("x channel", why="a defect of ours", end=channel.name, exc_info=True)
            channel.close()

    def _on_document(self, channel: LinkChannel, document: LinkDocument) -> None:
        if channel.end is None:
            channel.end = self._open_end(channel, document)
        else:
            channel.end.on_document(document)

    @property
    def full(self) -> bool:
        """Whether more waits than may."""
        waiting = self._waiting
        usual = MOST_WAITING * self._receivers
        if waiting <= usual:
            self._allowed = 0
        return waiting > usual + self._allowed

    def count_receivers(self, more: int) -> None:
        self._receivers += more

    def allow(self, size: int) -> None:
        """So many bytes more than now may wait, until no more waits than usual."""
        self._allowed = max(self._allowed, self._waiting + size)

    @property
    def _waiting(self) -> int:
        """Bytes that the other side has not taken yet."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def write(self, parts: tuple[bytes, ...]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.writelines(parts)
