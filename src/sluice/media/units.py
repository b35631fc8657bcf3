"""What goes to CDNs: bodies of FLV tags with times in microseconds, made once for all pushes of a stream."""

from dataclasses import dataclass

from sluice.media.packets import TrackKind


@dataclass(frozen=True, slots=True)
class VideoHeaders:
    """What players must have before the pictures: the sequence header's tag, and the size in pixels (0 is
    unknown)."""

    tag: bytes
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class AudioHeaders:
    """The sequence header's tag, and what the metadata tells of the sound."""

    tag: bytes
    rate_hz: int
    bitrate_bps: int


@dataclass(frozen=True, slots=True)
class Unit:
    """One access unit or AAC frame at `at_us` of the clock that both tracks share. `headers` are those that a
    picture needs; None for sound. `made`: it is silence, since there is no sound. `past`: it was sent before,
    and is for who cannot go on without."""

    kind: TrackKind
    at_us: int
    body: bytes
    key: bool = False
    headers: VideoHeaders | None = None
    made: bool = False
    past: bool = False
