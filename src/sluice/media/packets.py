"""What every source hands on: encoded packets with times in microseconds of the source's own clock."""

from dataclasses import dataclass
from enum import Enum


class TrackKind(Enum):
    VIDEO = "video"
    AUDIO = "audio"


@dataclass(slots=True)
class Packet:
    """One access unit or audio frame.

    `extradata` is set on the first packet that follows a new decoder configuration (where a source gives it
    in the stream): AVCDecoderConfigurationRecord for h264, AudioSpecificConfig for aac.
    """

    kind: TrackKind
    data: bytes
    dts_us: int
    pts_us: int
    key: bool
    extradata: bytes | None = None
