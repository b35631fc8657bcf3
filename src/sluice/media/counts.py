"""What a session has sent, dropped and spent. Pure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sluice.core.drops import DropRule
from sluice.media.packets import TrackKind


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one connection, or the sum of several: add them with ``+``."""

    video_frames: int = 0
    audio_packets: int = 0
    bytes_out: int = 0
    reconnects: int = 0  #: tries to reach a source or a CDN again that was lost
    media_us: int = 0  #: media time sent, where the sink counts it
    dropped: Mapping[DropRule, int] = field(default_factory=dict)  #: frames, packets or units
    decode_s: Mapping[TrackKind, float] = field(default_factory=dict)  #: CPU time
    encode_s: Mapping[TrackKind, float] = field(default_factory=dict)

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.video_frames + other.video_frames,
            self.audio_packets + other.audio_packets,
            self.bytes_out + other.bytes_out,
            self.reconnects + other.reconnects,
            self.media_us + other.media_us,
            _sum(self.dropped, other.dropped),
            _sum(self.decode_s, other.decode_s),
            _sum(self.encode_s, other.encode_s),
        )


def _sum(one: Mapping[Any, Any], other: Mapping[Any, Any]) -> dict[Any, Any]:
    both = Counter(one)
    both.update(other)
    return dict(both)
