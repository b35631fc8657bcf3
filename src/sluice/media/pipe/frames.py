"""The frames that pipes make and sinks take."""

from dataclasses import dataclass

from sluice.core.vitals import Level, Look
from sluice.process.link import FrameType


@dataclass(slots=True)
class OutFrame:
    """One access unit or Opus packet at media time `media_us` (microseconds of the session's own clock).
    `again`: it was sent before, and prepares decoders for the place where the source goes on. `seen`: what
    was seen of the picture, or how loud the sound is up to here; of few frames only."""

    type: FrameType
    media_us: int
    payload: bytes
    key: bool = False
    again: bool = False
    seen: Look | Level | None = None
