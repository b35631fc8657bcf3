"""What every source hands on: encoded packets with times in microseconds of the source's own clock."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from sluice.core.plan import Probe, Track


class TrackKind(Enum):
    VIDEO = "video"
    AUDIO = "audio"

    # By identity: the one that Enum has is a Python function, and this is done several times for each packet.
    __hash__ = object.__hash__


@dataclass(slots=True)
class Packet:
    """One access unit or audio frame.

    `track` is set where a track begins, or goes on in another form; the same track may be told again.
    `extradata` is set on the first packet that follows a new decoder configuration (where a source gives it
    in the stream): AVCDecoderConfigurationRecord for h264, AudioSpecificConfig for aac. `encoded` is sound as
    FFmpeg's demuxer gave it, for its decoders: with what an encoder put before and behind the sound marked,
    so that it is left out. `pts_us` is then the time of the first sample that is left, `skipped_us` what lies
    before it. `hidden` pictures are for the decoder alone: an edit list cuts them away.
    """

    kind: TrackKind
    data: bytes
    dts_us: int
    pts_us: int
    key: bool
    extradata: bytes | None = None
    encoded: Any = None
    skipped_us: int = 0
    duration_us: int | None = None  #: of sound, without what is left out, where the source tells
    track: Track | None = None
    hidden: bool = False

    def shift(self, by_us: int) -> None:
        """Moves it to another clock."""
        self.dts_us += by_us
        self.pts_us += by_us


def kinds_of(probe: Probe) -> set[TrackKind]:
    """What has begun."""
    tracks = {TrackKind.VIDEO: probe.video, TrackKind.AUDIO: probe.audio}
    return {kind for kind, track in tracks.items() if track is not None}
