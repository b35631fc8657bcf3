"""The frames that pipes make and sinks take."""

from dataclasses import dataclass

from sluice.process.link import KEY_FRAME, FrameType, pack_frame


@dataclass(slots=True)
class OutFrame:
    """One access unit or Opus packet at media time `media_us` (microseconds of the session's own clock)."""

    type: FrameType
    media_us: int
    payload: bytes
    key: bool = False

    def pack(self) -> bytes:
        return pack_frame(self.type, self.payload, self.media_us, KEY_FRAME if self.key else 0)
