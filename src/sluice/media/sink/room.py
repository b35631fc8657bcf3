"""A session's frames into a room: one frame link to the room process, without waiting.

What the room process does not take in time is dropped up to the next key frame and counted; a link that
breaks (the room process died) is told to the session, which goes on with a new one.
"""

import asyncio
from collections.abc import Callable, Iterable

from sluice.media.pipe.frames import OutFrame
from sluice.process.link import FrameParser, FrameType, LinkError, pack_control, parse_control

_MOST_BUFFERED = 4 << 20


class RoomLink(asyncio.Protocol):
    """`on_end` is called once: True when another publisher took the place, False when the room is gone.
    `on_key_frame` is called whenever a viewer needs one."""

    def __init__(self, on_end: Callable[[bool], None], on_key_frame: Callable[[], None]) -> None:
        self.video_frames = self.audio_packets = self.bytes_out = self.dropped = 0
        self._on_end: Callable[[bool], None] | None = on_end
        self._on_key_frame = on_key_frame
        self._parser = FrameParser()
        self._transport: asyncio.Transport | None = None
        self._key_needed = False

    @classmethod
    async def connect(
        cls,
        path: str,
        hello: dict[str, object],
        *,
        on_end: Callable[[bool], None],
        on_key_frame: Callable[[], None],
    ) -> "RoomLink":
        """Raises OSError when the room process is not there."""
        link = cls(on_end, on_key_frame)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_unix_connection(lambda: link, path)
        transport.write(pack_control({"hello": hello}))
        return link

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # stream sockets have no other kind

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(replaced=False)

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._parser.feed(data):
                document = parse_control(frame.payload) if frame.type == FrameType.CONTROL else {}
                if document.get("key_frame"):
                    self._on_key_frame()
                if document.get("replaced"):
                    self._end(replaced=True)
        except LinkError:
            self.close()

    def send(self, frames: Iterable[OutFrame]) -> bool:
        """Sends frames in order, in one write. False when none of them went."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        full = transport.get_write_buffer_size() > _MOST_BUFFERED
        parts: list[bytes] = []
        for frame in frames:
            if frame.type == FrameType.VIDEO:
                if full or (self._key_needed and not frame.key):
                    self._key_needed = True
                    self.dropped += 1
                    continue
                self._key_needed = False
                self.video_frames += 1
            elif full:
                self.dropped += 1
                continue
            else:
                self.audio_packets += 1
            self.bytes_out += len(frame.payload)
            parts.append(frame.pack())
        if parts:
            transport.write(b"".join(parts))
        return bool(parts)

    def counts(self) -> tuple[int, int, int, int]:
        """Video frames, audio packets and payload bytes sent; frames dropped."""
        return self.video_frames, self.audio_packets, self.bytes_out, self.dropped

    def close(self) -> None:
        """Flushes what was sent and closes; `on_end` is not called any more."""
        self._on_end = None
        if self._transport is not None:
            self._transport.close()

    def _end(self, *, replaced: bool) -> None:
        if self._on_end is not None:
            on_end, self._on_end = self._on_end, None
            on_end(replaced)
