"""The room's end of a frame link: cuts it into frames, and lets the first one say who is at the other end.

That is a session that publishes (``{"hello": …}``, see `publisher`) or one that subscribes
(``{"subscribe": …}``, see `subscriber`). Anything else is cut off.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import structlog

from sluice.process.link import FrameParser, FrameType, LinkError, LinkFrame, pack_control, parse_control

log = structlog.get_logger()


class LinkEnd(Protocol):
    """What a link is for. `take` raises LinkError or ValueError for what does not belong there."""

    @property
    def name(self) -> str: ...

    def take(self, frame: LinkFrame) -> None: ...

    def lost(self) -> None: ...


#: Makes the end for the first document of a link. Raises LinkError.
OpenEnd = Callable[["FrameLink", dict[str, Any]], LinkEnd]


class FrameLink(asyncio.Protocol):
    def __init__(self, open_end: OpenEnd) -> None:
        self._open_end = open_end
        self._end: LinkEnd | None = None
        self._parser = FrameParser()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # stream sockets have no other kind

    def connection_lost(self, exc: Exception | None) -> None:
        if self._end is not None:
            self._end.lost()

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._parser.feed(data):
                self._take(frame)
        except (LinkError, ValueError) as error:
            log.warning("x link", why=str(error), end=self._end.name if self._end else None)
            self.close()

    def _take(self, frame: LinkFrame) -> None:
        if self._end is not None:
            self._end.take(frame)
        elif frame.type == FrameType.CONTROL:
            self._end = self._open_end(self, parse_control(frame.payload))
        else:
            raise LinkError("the link does not begin with a document")

    @property
    def buffered(self) -> int:
        """Bytes that the other end has not taken yet."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def tell(self, document: dict[str, object]) -> None:
        self.write(pack_control(document))

    def close(self) -> None:
        """What was written still goes."""
        if self._transport is not None:
            self._transport.close()
