"""The frames of a session into its room, without waiting: a channel of the frame link (`media.frame_link`).

What the room process does not take in time is dropped up to the next key frame, and counted.
"""

from collections.abc import Callable, Iterable

from sluice.core.rooms import LinkAddress
from sluice.media.frame_link import Channel, FrameLinks
from sluice.media.pipe.frames import OutFrame
from sluice.process.documents import Hello, KeyFrameRequest, LinkDocument, Replaced
from sluice.process.link import KEY_FRAME, FrameType, LinkError, LinkFrame, pack_frame

_AUDIO = FrameType.AUDIO


class RoomSink:
    """Publishes for one session. `on_end` is called once: True when another publisher took the place, False
    when the room is gone. `on_key_frame` is called whenever a viewer needs one."""

    def __init__(self, on_end: Callable[[bool], None], on_key_frame: Callable[[], None]) -> None:
        self.video_frames = self.audio_packets = self.bytes_out = self.dropped = 0
        self._on_end: Callable[[bool], None] | None = on_end
        self._on_key_frame = on_key_frame
        self._key_needed = False
        self._channel: Channel

    @classmethod
    async def open(
        cls,
        links: FrameLinks,
        address: LinkAddress,
        hello: Hello,
        *,
        on_end: Callable[[bool], None],
        on_key_frame: Callable[[], None],
    ) -> "RoomSink":
        """Raises OSError when the room process is not there."""
        sink = cls(on_end, on_key_frame)
        sink._channel = await links.open(address, hello, sink)
        return sink

    def send(self, frames: Iterable[OutFrame]) -> bool:
        """Sends frames in order. False when none of them went."""
        channel = self._channel
        if channel.closing:
            return False
        full, number = channel.full, channel.number
        out: list[bytes] = []
        for frame in frames:
            kind, payload, flags = frame.type, frame.payload, 0
            if kind is _AUDIO:
                if full:
                    self.dropped += 1
                    continue
                self.audio_packets += 1
            else:
                if full or (self._key_needed and not frame.key):
                    self._key_needed = True
                    self.dropped += 1
                    continue
                self._key_needed = False
                self.video_frames += 1
                flags = KEY_FRAME if frame.key else 0
            self.bytes_out += len(payload)
            out.append(pack_frame(kind, payload, frame.media_us, flags, number))
        if out:
            channel.write(out)
        return bool(out)

    def close(self) -> None:
        """What was sent still goes; `on_end` is not called any more."""
        self._on_end = None
        self._channel.close()

    # --- what the room does -------------------------------------------------------------------------------

    def on_document(self, document: LinkDocument) -> None:
        if isinstance(document, KeyFrameRequest):
            self._on_key_frame()
        elif isinstance(document, Replaced):
            self._end(replaced=True)
        else:
            raise LinkError(f"a room says {document.type} to a publisher")

    def on_frames(self, frames: list[LinkFrame]) -> None:
        raise LinkError("a room sends frames to a publisher")

    def on_end(self) -> None:
        self._end(replaced=False)

    def _end(self, *, replaced: bool) -> None:
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end(replaced)
