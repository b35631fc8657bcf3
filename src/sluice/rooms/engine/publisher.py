"""A session that publishes one stream of one user over a frame link.

Its hello is ``{"hello": {app_id, room_id, user_id, stream, run_id}}``; then come access units and Opus
packets. The room says ``{"key_frame": true}`` when a viewer needs one and ``{"replaced": true}`` before it
closes the link of a run that is over or that another took the place of.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sluice.core.ids import AppId, RoomId, UserId
from sluice.process.link import KEY_FRAME, FrameType, LinkError, LinkFrame
from sluice.rooms.engine.link import LinkChannel
from sluice.rooms.engine.room import Room, StreamKey
from sluice.rooms.engine.stream import Stream
from sluice.wire.h264 import split_avcc

_KINDS: dict[int, str] = {FrameType.VIDEO: "video", FrameType.AUDIO: "audio"}


@dataclass(frozen=True, slots=True)
class Hello:
    app_id: AppId
    room_id: RoomId
    user_id: UserId
    stream: int
    run_id: str

    @classmethod
    def of(cls, document: object) -> "Hello":
        """Raises LinkError."""
        try:
            made = cls(**document)  # type: ignore[arg-type]
            hash(made)  # no lists or objects for names
        except TypeError as error:
            raise LinkError("the link does not begin with a whole hello") from error
        return made

    @property
    def key(self) -> StreamKey:
        return self.user_id, self.stream


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

    def take(self, frame: LinkFrame) -> None:
        if self._place is None:
            return  # closed from our side; what was on its way is dropped
        room, stream = self._place
        kind = _KINDS.get(frame.type)
        if kind is not None and kind not in self._flowing:
            self._flowing.add(kind)
            room.flow(self.hello.key, kind)
        if frame.type == FrameType.VIDEO:
            units = split_avcc(frame.payload, 4)
            stream.video(units, frame.media_us, bool(frame.flags & KEY_FRAME), self._clock_us())
        elif frame.type == FrameType.AUDIO:
            stream.audio(frame.payload, frame.media_us, self._clock_us())

    def lost(self) -> None:
        self._place = None
        self._rooms.link_lost(self)

    def ask_key_frame(self) -> None:
        self._link.tell({"key_frame": True})

    def replace(self) -> None:
        """Another publisher took the stream, or the run is over: its session must not come back."""
        self._link.tell({"replaced": True})
        self.close()

    def close(self) -> None:
        self._place = None
        self._link.close()
