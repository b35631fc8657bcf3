"""The room's end of a frame link: cuts it into frames; the first one of a channel says what that is for.

That is a session that publishes (``{"hello": …}``, see `publisher`) or one that subscribes
(``{"subscribe": …}``, see `subscriber`). A link on which a channel begins with anything else is cut off.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import structlog

from sluice.process.link import (
    FrameParser,
    FrameType,
    LinkError,
    LinkFrame,
    pack_control,
    pack_frame,
    parse_control,
)

log = structlog.get_logger()


class LinkEnd(Protocol):
    """What a channel is for. `take` raises LinkError or ValueError for what does not belong there."""

    @property
    def name(self) -> str: ...

    def take(self, frame: LinkFrame) -> None: ...

    def lost(self) -> None: ...


class LinkChannel:
    """One channel of a frame link, as its end sees it."""

    def __init__(self, link: "FrameLink", number: int) -> None:
        self.number = number
        self.closed = False  #: from our side; what was on its way is dropped
        self.end: LinkEnd
        self._link = link

    @property
    def buffered(self) -> int:
        """Bytes of the link that the other side has not taken yet."""
        return self._link.buffered

    def write(self, data: bytes) -> None:
        """Whole frames of this channel."""
        self._link.write(data)

    def tell(self, document: dict[str, object]) -> None:
        self._link.write(pack_control(document, self.number))

    def close(self) -> None:
        """What was written still goes."""
        if not self.closed:
            self.closed = True
            self._link.write(pack_frame(FrameType.END, b"", channel=self.number))


#: Makes the end for the first document of a channel. Raises LinkError.
OpenEnd = Callable[[LinkChannel, dict[str, Any]], LinkEnd]


class FrameLink(asyncio.Protocol):
    def __init__(self, open_end: OpenEnd) -> None:
        self._open_end = open_end
        self._channels: dict[int, LinkChannel] = {}
        self._parser = FrameParser()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # stream sockets have no other kind

    def connection_lost(self, exc: Exception | None) -> None:
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            channel.end.lost()

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._parser.feed(data):
                self._take(frame)
        except LinkError as error:
            log.warning("x link", why=str(error))
            if self._transport is not None:
                self._transport.close()

    def _take(self, frame: LinkFrame) -> None:
        """Raises LinkError for what no media process says."""
        channel = self._channels.get(frame.channel)
        if channel is None:
            if frame.type != FrameType.END:
                self._open(frame)
        elif frame.type == FrameType.END:
            del self._channels[frame.channel]
            channel.end.lost()
        elif not channel.closed:
            try:
                channel.end.take(frame)
            except (LinkError, ValueError) as error:  # of one session: the others go on
                log.warning("x channel", why=str(error), end=channel.end.name)
                channel.close()
            except Exception:  # root of a session, as above
                log.error("x channel", why="a defect of ours", end=channel.end.name, exc_info=True)
                channel.close()

    def _open(self, frame: LinkFrame) -> None:
        if frame.type != FrameType.CONTROL:
            raise LinkError("the channel does not begin with a document")
        channel = LinkChannel(self, frame.channel)
        channel.end = self._open_end(channel, parse_control(frame.payload))
        self._channels[frame.channel] = channel

    @property
    def buffered(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
