"""What every source gives: encoded packets, with times in microseconds of the source's own clock."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from sluice.core.plan import Probe, Track
from sluice.core.tasks import MediaType


class TrackKind(Enum):
    VIDEO = "video"
    AUDIO = "audio"

    # By identity, since kinds are hashed several times for each packet: Enum's own hash is a Python function.
    __hash__ = object.__hash__


#: What is read of a source for each media type.
KINDS_OF = {
    MediaType.AUDIO_VIDEO: frozenset(TrackKind),
    MediaType.AUDIO: frozenset({TrackKind.AUDIO}),
    MediaType.VIDEO: frozenset({TrackKind.VIDEO}),
}


@dataclass(slots=True)
class Packet:
    """One access unit or audio frame.

    `track` is set where a track begins or goes on in another form. The same track may be set again.

    `extradata` is a new decoder configuration, where a source gives it in the stream. The first packet that
    needs it has it: an AVCDecoderConfigurationRecord for h264, an AudioSpecificConfig for aac.

    `encoded` is a packet of sound as FFmpeg's demuxer gave it. It marks what an encoder put before and behind
    the sound, and FFmpeg's decoder leaves that out. `pts_us` is then the time of the first sample that is
    left, and `skipped_us` the length of what is left out before it.

    A `hidden` picture is for the decoder alone: an edit list cuts it away.
    """

    kind: TrackKind
    data: bytes
    dts_us: int
    pts_us: int
    key: bool
    extradata: bytes | None = None
    encoded: Any = None
    skipped_us: int = 0
    duration_us: int | None = None  #: of the sound that is left, where the source says it
    track: Track | None = None
    hidden: bool = False

    def shift(self, by_us: int) -> None:
        """Moves the packet to another clock."""
        self.dts_us += by_us
        self.pts_us += by_us


def kinds_of(probe: Probe) -> set[TrackKind]:
    """The kinds of tracks that have begun."""
    tracks = {TrackKind.VIDEO: probe.video, TrackKind.AUDIO: probe.audio}
    return {kind for kind, track in tracks.items() if track is not None}
