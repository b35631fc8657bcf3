"""What a session has sent and dropped. Pure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sluice.media.sink.port import Sink


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one connection, or the sum of several: add them with ``+``."""

    video_frames: int = 0
    audio_packets: int = 0
    bytes_out: int = 0
    media_us: int = 0  #: media time sent, where the sink counts it
    dropped: Mapping[str, int] = field(default_factory=dict)  #: frames, packets or units by rule

    @classmethod
    def of(cls, sink: Sink[Any] | None, *, slow: str, media_us: int = 0) -> "Counts":
        """What a sink counts; nothing where there is none. `slow` names the rule by which it drops."""
        if sink is None:
            return cls(dropped={slow: 0})
        return cls(sink.video_frames, sink.audio_packets, sink.bytes_out, media_us, {slow: sink.dropped})

    def __add__(self, other: "Counts") -> "Counts":
        dropped = Counter(self.dropped)
        dropped.update(other.dropped)
        return Counts(
            self.video_frames + other.video_frames,
            self.audio_packets + other.audio_packets,
            self.bytes_out + other.bytes_out,
            self.media_us + other.media_us,
            dict(dropped),
        )
