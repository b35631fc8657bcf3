"""A room's stream: one frame link from the room process, which says who publishes and sends the frames.

What it brings goes to callbacks at once. A link that breaks (the room process died) is told to its owner.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sluice.process.link import FrameParser, FrameType, LinkError, LinkFrame, pack_control, parse_control


@dataclass(frozen=True, slots=True)
class Publisher:
    """The user whose stream it is: in the room by any means, and publishing these tracks. `trouble` says why
    one of them (by ``video``, ``audio``) does not come, as far as the room knows."""

    present: bool = False
    video: bool = False
    audio: bool = False
    trouble: Mapping[str, str] = field(default_factory=dict)

    @property
    def publishes(self) -> bool:
        return self.video or self.audio

    @classmethod
    def of(cls, document: object) -> "Publisher":
        """Raises LinkError."""
        if not isinstance(document, dict):
            raise LinkError("the state of a publisher is no object")
        present, video, audio = (document.get(name) is True for name in ("present", "video", "audio"))
        trouble = document.get("trouble")
        return cls(present, video, audio, trouble if isinstance(trouble, dict) else {})


@dataclass(frozen=True, slots=True)
class StreamAddress:
    """A stream of a room, and the frame socket (`link`) of the process that has the room."""

    link: str
    app_id: str
    room_id: str
    user_id: str
    stream: int

    def hello(self) -> dict[str, object]:
        return {
            "app_id": self.app_id,
            "room_id": self.room_id,
            "user_id": self.user_id,
            "stream": self.stream,
        }


class Subscription(asyncio.Protocol):
    """`on_frames` gets what came at once, `on_end` is called once when the room is gone."""

    def __init__(
        self,
        on_publisher: Callable[[Publisher], None],
        on_frames: Callable[[list[LinkFrame]], None],
        on_end: Callable[[], None],
    ) -> None:
        self._on_publisher, self._on_frames = on_publisher, on_frames
        self._on_end: Callable[[], None] | None = on_end
        self._parser = FrameParser()
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def connect(
        cls,
        address: StreamAddress,
        *,
        on_publisher: Callable[[Publisher], None],
        on_frames: Callable[[list[LinkFrame]], None],
        on_end: Callable[[], None],
    ) -> "Subscription":
        """Raises OSError when the room process is not there."""
        link = cls(on_publisher, on_frames, on_end)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_unix_connection(lambda: link, address.link)
        transport.write(pack_control({"subscribe": address.hello()}))
        return link

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # stream sockets have no other kind

    def connection_lost(self, exc: Exception | None) -> None:
        if self._on_end is not None:
            on_end, self._on_end = self._on_end, None
            on_end()

    def data_received(self, data: bytes) -> None:
        frames: list[LinkFrame] = []
        try:
            for frame in self._parser.feed(data):
                if frame.type == FrameType.END:
                    self._close_transport()
                elif frame.type != FrameType.CONTROL:
                    frames.append(frame)
                elif (publisher := parse_control(frame.payload).get("publisher")) is not None:
                    self._on_publisher(Publisher.of(publisher))
        except LinkError:
            self._close_transport()
        if frames:
            self._on_frames(frames)

    def request_key_frame(self, *, begin: bool) -> None:
        """`begin`: someone cannot go on without one, and takes the current group of pictures instead."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(pack_control({"key_frame": True, "begin": begin}))

    def close(self) -> None:
        """`on_end` is not called any more."""
        self._on_end = None
        self._close_transport()

    def _close_transport(self) -> None:
        if self._transport is not None:
            self._transport.close()
