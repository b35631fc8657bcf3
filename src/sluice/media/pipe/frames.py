"""The frames that pipes make and sinks take."""

from dataclasses import dataclass

from sluice.process.link import FrameType


@dataclass(slots=True)
class OutFrame:
    """One access unit or Opus packet at media time `media_us` (microseconds of the session's own clock)."""

    type: FrameType
    media_us: int
    payload: bytes
    key: bool = False
