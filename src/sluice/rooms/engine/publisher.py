"""The end of a channel over which a session publishes one stream of one user.

It begins with Hello; access units and Opus packets follow. The room tells it KeyFrameRequest when a viewer
needs one, and Replaced before it closes the channel of a run that is over, or whose stream another publisher
has taken.
"""

from collections.abc import Callable
from typing import Protocol

from sluice.process.documents import Hello, KeyFrameRequest, LinkDocument, Replaced
from sluice.process.link import KEY_FRAME, FrameType, LinkError, LinkFrame
from sluice.rooms.engine.link import LinkChannel
from sluice.rooms.engine.room import Room
from sluice.rooms.engine.stream import Stream
from sluice.wire.h264 import split_avcc

_VIDEO = int(FrameType.VIDEO)  # a plain number: it is compared for each frame
_KINDS: dict[int, str] = {FrameType.VIDEO: "video", FrameType.AUDIO: "audio"}


class Rooms(Protocol):
    """Where links find their place; the engine."""

    def link_opened(self, link: "PublisherLink", hello: Hello) -> tuple[Room, Stream] | None: ...

    def link_lost(self, link: "PublisherLink") -> None: ...


class PublisherLink:
    def __init__(self, link: LinkChannel, hello: Hello, rooms: Rooms, clock_us: Callable[[], int]) -> None:
        self.hello = hello
        self._link = link
        self._rooms = rooms
        self._clock_us = clock_us
        self._flowing: set[str] = set()
        self._place = rooms.link_opened(self, hello)
        if self._place is None:
            self.replace()

    @property
    def name(self) -> str:
        return self.hello.run_id

    def on_document(self, document: LinkDocument) -> None:
        raise LinkError(f"a publisher says {document.type}")

    def on_frame(self, frame: LinkFrame) -> None:
        if self._place is None:
            return  # closed from our side; what was on its way is dropped
        room, stream = self._place
        kind = _KINDS.get(frame.type)
        if kind is None:
            raise LinkError(f"there is no frame of type {frame.type}")
        if kind not in self._flowing:
            self._flowing.add(kind)
            room.flow(self.hello.key, kind)
        if frame.type == _VIDEO:
            units = split_avcc(frame.payload, 4)
            stream.video(units, frame.media_us, bool(frame.flags & KEY_FRAME), self._clock_us())
        else:
            stream.audio(frame.payload, frame.media_us, self._clock_us())

    def lost(self) -> None:
        self._place = None
        self._rooms.link_lost(self)

    def ask_key_frame(self) -> None:
        self._link.tell(KeyFrameRequest())

    def replace(self) -> None:
        """Another publisher took the stream, or the run is over: its session must not come back."""
        self._link.tell(Replaced())
        self.close()

    def close(self) -> None:
        self._place = None
        self._link.close()
