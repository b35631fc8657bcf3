"""The room's end of a frame link: one session that publishes one stream of one user.

The first frame must be a hello ``{"hello": {app_id, room_id, user_id, stream, run_id}}``; then access
units and Opus packets. The room says ``{"key_frame": true}`` when a viewer needs one and
``{"replaced": true}`` before it closes the link of a run that is over or that another took the place of.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from sluice.core.ids import AppId, RoomId, UserId
from sluice.process.link import (
    KEY_FRAME,
    FrameParser,
    FrameType,
    LinkError,
    LinkFrame,
    pack_control,
    parse_control,
)
from sluice.rooms.engine.room import Room, StreamKey
from sluice.rooms.engine.stream import Stream
from sluice.wire.h264 import split_avcc

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Hello:
    app_id: AppId
    room_id: RoomId
    user_id: UserId
    stream: int
    run_id: str

    @property
    def key(self) -> StreamKey:
        return self.user_id, self.stream


def _hello(payload: bytes) -> Hello:
    document = parse_control(payload).get("hello")
    try:
        return Hello(**document)  # type: ignore[arg-type]
    except TypeError as error:
        raise LinkError("the link does not begin with a hello") from error


class Rooms(Protocol):
    """Where links find their place; the engine."""

    def link_opened(self, link: "PublisherLink", hello: Hello) -> tuple[Room, Stream] | None: ...

    def link_lost(self, link: "PublisherLink") -> None: ...


class PublisherLink(asyncio.Protocol):
    def __init__(self, rooms: Rooms, clock_us: Callable[[], int]) -> None:
        self.hello: Hello | None = None
        self._rooms = rooms
        self._clock_us = clock_us
        self._parser = FrameParser()
        self._transport: asyncio.Transport | None = None
        self._room: Room | None = None
        self._stream: Stream | None = None
        self._flowing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # stream sockets have no other kind

    def connection_lost(self, exc: Exception | None) -> None:
        self._rooms.link_lost(self)
        self._room = self._stream = None

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._parser.feed(data):
                self._take(frame)
        except (LinkError, ValueError) as error:
            log.warning("x link", why=str(error), run=self.hello.run_id if self.hello else None)
            self.close()

    def ask_key_frame(self) -> None:
        self._tell({"key_frame": True})

    def replace(self) -> None:
        """Another publisher took the stream, or the run is over: its session must not come back."""
        self._tell({"replaced": True})
        self.close()

    def close(self) -> None:
        self._room = self._stream = None
        if self._transport is not None:
            self._transport.close()

    def _tell(self, document: dict[str, object]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(pack_control(document))

    def _take(self, frame: LinkFrame) -> None:
        if self._stream is None:
            self._begin(frame)
            return
        if not self._flowing and self._room is not None and self.hello is not None:
            self._flowing = True
            self._room.flow(self.hello.key)
        if frame.type == FrameType.VIDEO:
            self._stream.video(
                split_avcc(frame.payload, 4), frame.media_us, bool(frame.flags & KEY_FRAME), self._clock_us()
            )
        elif frame.type == FrameType.AUDIO:
            self._stream.audio(frame.payload, frame.media_us, self._clock_us())

    def _begin(self, frame: LinkFrame) -> None:
        if self.hello is not None:
            return  # closed from our side; what was on its way is dropped
        if frame.type != FrameType.CONTROL:
            raise LinkError("the link does not begin with a hello")
        self.hello = _hello(frame.payload)
        place = self._rooms.link_opened(self, self.hello)
        if place is None:
            self.replace()
        else:
            self._room, self._stream = place
