"""What pushes send to CDNs: bodies of FLV tags, made once for all pushes of a stream."""

from dataclasses import dataclass

from sluice.media.packets import TrackKind


@dataclass(frozen=True, slots=True)
class VideoHeaders:
    """What players need before the pictures: the tag of the sequence header. The size is in pixels, 0 where
    it is not known."""

    tag: bytes
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class AudioHeaders:
    """What players need before the sound: the tag of the sequence header, and what the metadata says."""

    tag: bytes
    rate_hz: int
    bitrate_bps: int


@dataclass(frozen=True, slots=True)
class Unit:
    """One access unit or AAC frame, at `at_us` (microseconds) of the clock that both tracks share.

    `headers` are those that a picture needs; None for sound. `made` marks silence that stands in for missing
    sound. `past` marks a picture that was sent before: it is for connections that begin after its key frame.
    """

    kind: TrackKind
    at_us: int
    body: bytes
    key: bool = False
    headers: VideoHeaders | None = None
    made: bool = False
    past: bool = False
