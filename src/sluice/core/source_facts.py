"""What a source is: what it says of itself, and what its packets have shown so far. Pure.

A probe and a running relay make the same facts, of what they have read anyway.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from sluice.core.h264_profiles import profile_bytes, profile_title
from sluice.core.limits import MOST_SHOWN_CHARS, MOST_SHOWN_VARIANTS
from sluice.core.plan import AudioTrack, Probe, VideoTrack

#: Containers for people, by FFmpeg's names of their demuxers.
_CONTAINERS = {
    "aac": "AAC",
    "ac3": "AC-3",
    "aiff": "AIFF",
    "amr": "AMR",
    "asf": "ASF",
    "avi": "AVI",
    "caf": "CAF",
    "eac3": "E-AC-3",
    "flac": "FLAC",
    "flv": "FLV",
    "matroska": "Matroska",
    "mov": "MP4",
    "mp3": "MP3",
    "mpegts": "MPEG-TS",
    "ogg": "Ogg",
    "wav": "WAV",
}
#: FFmpeg names some codecs after their decoders.
_CODECS = {"libdav1d": "av1", "mp3float": "mp3"}
#: A frame rate that is told counts if what was seen is as near, or if nothing can be seen yet.
_NEAR = 0.1
_MOST_FRAME_RATE = 1000
#: ISO 639-2: undetermined, no linguistic content.
_NO_LANGUAGE = frozenset({"", "und", "zxx"})
#: Codecs of a variant, and characters of a reason.
_MOST_CODECS, _LONGEST_WHY = 8, 300


def container_title(name: str) -> str:
    """`name`: FFmpeg's, the first of several."""
    return _CONTAINERS.get(name, name)


def language_of(told: str) -> str:
    """A language tag; empty where the source does not tell."""
    return "" if told.lower() in _NO_LANGUAGE else told


@dataclass(frozen=True, slots=True)
class Variant:
    """One of the forms of a source, or of one kind of its tracks, that its playlist names. `why` says why it
    is played, or is not."""

    kind: str = ""  #: video or audio; empty: all that the source has
    bandwidth_bps: int | None = None
    codecs: tuple[str, ...] = ()
    width: int | None = None
    height: int | None = None
    frame_rate: float | None = None
    language: str = ""
    name: str = ""
    chosen: bool = False
    why: str = ""

    def left_out(self) -> "Variant":
        """The variant where nothing of its kind is played."""
        return replace(self, chosen=False, why="nothing of its kind is played")

    def document(self) -> dict[str, Any]:
        return {
            "kind": self.kind or "all",
            "chosen": self.chosen,
            "why": self.why[:_LONGEST_WHY],
            "bandwidth_kbps": _kbps(self.bandwidth_bps),
            "width": self.width,
            "height": self.height,
            "frame_rate": _rounded(self.frame_rate),
            "codecs": [_short(codec) for codec in self.codecs[:_MOST_CODECS]],
            "language": _short(self.language) or None,
            "name": _short(self.name) or None,
        }


@dataclass(frozen=True, slots=True)
class Packaging:
    """How a source wraps its media, as far as it is known. `segments` is the container of the segments of a
    playlist, `entries` the length of a list of addresses, `bitrate_bps` that of a file as a whole."""

    container: str = ""
    segments: str = ""
    entries: int | None = None
    bitrate_bps: int | None = None
    variants: tuple[Variant, ...] = ()
    further_variants: int = 0

    @classmethod
    def listed(
        cls, container: str, segments: str, variants: Sequence[Variant], further: int = 0
    ) -> "Packaging":
        """Of a playlist that offers these variants, which are bounded here, and `further` ones."""
        more = max(0, len(variants) - MOST_SHOWN_VARIANTS)
        shown = tuple(variants[:MOST_SHOWN_VARIANTS])
        return cls(container, segments, variants=shown, further_variants=further + more)


@dataclass(frozen=True, slots=True)
class Shown:
    """What the packets of one track have shown so far. `gop_us`: the longest distance of two key frames."""

    span_us: int = 0
    rate: float | None = None  #: packets each second
    bitrate_bps: int | None = None
    gop_us: int | None = None


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """`rotation`: degrees by which the stored picture is turned counter-clockwise to be upright. `gop_s`:
    from a key frame to the next, at most; None: no second one has come."""

    codec: str
    profile: str
    width: int
    height: int
    pixel_aspect: Fraction | None
    rotation: int
    frame_rate: float | None
    bitrate_bps: int | None
    gop_s: float | None
    b_frames: bool

    def document(self) -> dict[str, Any]:
        aspect = self.pixel_aspect
        return {
            "codec": self.codec,
            "profile": self.profile or None,
            "width": self.width or None,
            "height": self.height or None,
            "pixel_aspect": f"{aspect.numerator}:{aspect.denominator}" if aspect else None,
            "rotation": self.rotation,
            "frame_rate": _rounded(self.frame_rate),
            "bitrate_kbps": _kbps(self.bitrate_bps),
            "gop_s": _rounded(self.gop_s),
            "b_frames": self.b_frames,
        }


@dataclass(frozen=True, slots=True)
class AudioFacts:
    codec: str
    profile: str
    sample_rate: int
    channels: int
    bitrate_bps: int | None
    language: str

    def document(self) -> dict[str, Any]:
        return {
            "codec": self.codec,
            "profile": self.profile or None,
            "sample_rate": self.sample_rate or None,
            "channels": self.channels or None,
            "bitrate_kbps": _kbps(self.bitrate_bps),
            "language": _short(self.language) or None,
        }


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """None and empty texts: not known, or not known yet. `seen_s`: how much media the facts are from."""

    packaging: Packaging
    live: bool | None = None
    seekable: bool | None = None
    duration_s: float | None = None
    video: VideoFacts | None = None
    audio: AudioFacts | None = None
    seen_s: float = 0.0

    @property
    def bitrate_bps(self) -> int | None:
        """Of all that is read: of the file, or else of its tracks together, or else what the variants that
        are played tell."""
        tracks = [track.bitrate_bps for track in (self.video, self.audio) if track is not None]
        chosen = [variant.bandwidth_bps for variant in self.packaging.variants if variant.chosen]
        return self.packaging.bitrate_bps or _sum(tracks) or _sum(chosen)

    def document(self) -> dict[str, Any]:
        """The form of the native API."""
        packaging = self.packaging
        return {
            "container": packaging.container or None,
            "segments": packaging.segments or None,
            "entries": packaging.entries,
            "live": self.live,
            "seekable": self.seekable,
            "duration_s": _rounded(self.duration_s),
            "bitrate_kbps": _kbps(self.bitrate_bps),
            "video": self.video.document() if self.video is not None else None,
            "audio": self.audio.document() if self.audio is not None else None,
            "variants": [variant.document() for variant in packaging.variants],
            "further_variants": packaging.further_variants,
            "seen_s": round(self.seen_s, 2),
        }


def source_facts(
    packaging: Packaging, probe: Probe | None, video: Shown = Shown(), audio: Shown = Shown()
) -> SourceFacts:
    """`probe`: None for a source that is not open yet. `video` and `audio`: what its packets have shown."""
    if probe is None:
        return SourceFacts(packaging)
    return SourceFacts(
        packaging,
        probe.live,
        probe.seekable,
        probe.duration_us / 1e6 if probe.duration_us is not None else None,
        _video_facts(probe.video, video) if probe.video is not None else None,
        _audio_facts(probe.audio, audio, packaging) if probe.audio is not None else None,
        max(video.span_us, audio.span_us) / 1e6,
    )


def _video_facts(track: VideoTrack, shown: Shown) -> VideoFacts:
    return VideoFacts(
        codec_name(track.codec),
        _profile_of(track),
        track.width,
        track.height,
        track.pixel_aspect,
        track.rotation,
        _frame_rate(track.frame_rate, shown.rate),
        shown.bitrate_bps or track.bitrate_bps,
        shown.gop_us / 1e6 if shown.gop_us is not None else None,
        track.has_b_frames,
    )


def _audio_facts(track: AudioTrack, shown: Shown, packaging: Packaging) -> AudioFacts:
    chosen = (variant.language for variant in packaging.variants if variant.chosen)
    return AudioFacts(
        codec_name(track.codec),
        track.profile,
        track.sample_rate,
        track.channels,
        shown.bitrate_bps or track.bitrate_bps,
        track.language or next(filter(None, chosen), ""),
    )


def codec_name(codec: str) -> str:
    return _CODECS.get(codec, codec)


def _profile_of(track: VideoTrack) -> str:
    """Of H.264 as its record says, so that it is the same in all containers."""
    found = profile_bytes(track.extradata) if track.codec == "h264" else None
    return track.profile if found is None else profile_title(*found)


def _frame_rate(told: Fraction | None, seen: float | None) -> float | None:
    """What is told is exact, or it is wrong."""
    rate = float(told) if told is not None and 0 < told <= _MOST_FRAME_RATE else None
    if rate is None or (seen is not None and abs(seen - rate) > _NEAR * rate):
        return seen
    return rate


def _sum(rates: Sequence[int | None]) -> int | None:
    known = [rate for rate in rates if rate is not None]
    return sum(known) if known and len(known) == len(rates) else None


def _kbps(bps: int | None) -> int | None:
    return round(bps / 1000) if bps is not None else None


def _rounded(value: float | None) -> float | None:
    return round(value, 3) if value is not None else None


def _short(text: str) -> str:
    """A text of a stranger."""
    return text[:MOST_SHOWN_CHARS]
