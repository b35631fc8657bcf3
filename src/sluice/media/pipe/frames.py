"""The frames that pipes make and sinks take."""

from dataclasses import dataclass

from sluice.process.link import FrameType


@dataclass(slots=True)
class OutFrame:
    """One access unit or Opus packet at media time `media_us` (microseconds of the session's own clock).
    `again`: it was sent before, and prepares decoders for the place where the source goes on."""

    type: FrameType
    media_us: int
    payload: bytes
    key: bool = False
    again: bool = False
