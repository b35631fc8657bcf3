"""What happens to each track of a source, and why. It is decided where the track begins. Pure.

`plan_video` and `plan_audio` plan one track, or raise a permanent SourceError; `make_plan` plans the whole
source as far as a `Probe` tells that it has begun.
"""

from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from typing import Any, Protocol

from sluice.core.errors import SourceError, unsupported
from sluice.core.h264_profiles import is_shown, profile_bytes, profile_title
from sluice.core.lifecycle import Reason
from sluice.core.limits import LEAST_SAMPLE_RATE, MOST_CHANNELS, MOST_PIXELS, MOST_SAMPLE_RATE
from sluice.core.tasks import FULL_VOLUME, MediaType, StreamMode

#: Channels of an Opus packet (RFC 6716). More need several streams in one, which RTP does not carry.
OPUS_CHANNELS = 2
#: Of the Opus that is made for rooms.
OPUS_SAMPLE_RATE, OPUS_BITRATE_BPS = 48_000, 128_000

#: The end of a refusal; a dialect may put it into the words of its callers.
ONLY_H264_IS_COPIED = "only H.264 can be copied"


@dataclass(frozen=True, slots=True)
class VideoTrack:
    """`codec` is FFmpeg's name, `extradata` the decoder configuration (for h264 an
    AVCDecoderConfigurationRecord), `context` what else the demuxer knows for the decoder."""

    codec: str
    extradata: bytes
    width: int
    height: int
    has_b_frames: bool
    #: Of the track, if the container tells it.
    duration_us: int | None = field(default=None, compare=False)
    rotation: int = 0  #: degrees by which the stored picture is to be turned counter-clockwise
    pixel_aspect: Fraction | None = None  #: width of a pixel to its height, if the container tells it
    hides_beginning: bool = False  #: until the next `track`, some pictures are to be decoded but not shown
    context: Any = field(default=None, compare=False, repr=False)
    #: What the container tells for people, if it does.
    profile: str = field(default="", compare=False)
    frame_rate: Fraction | None = field(default=None, compare=False)
    bitrate_bps: int | None = field(default=None, compare=False)

    @property
    def upright(self) -> tuple[int, int]:
        """The size of the picture as it is shown: turned upright, with square pixels."""
        return upright_size(self.width, self.height, self.pixel_aspect or Fraction(1), self.rotation)


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """`extradata` is the decoder configuration (for aac an AudioSpecificConfig), `context` what else the
    demuxer knows for the decoder. 0 Hz and 0 channels mean: not known yet."""

    codec: str
    extradata: bytes
    sample_rate: int
    channels: int
    context: Any = field(default=None, compare=False, repr=False)
    #: What the container tells for people, if it does.
    profile: str = field(default="", compare=False)
    bitrate_bps: int | None = field(default=None, compare=False)
    language: str = field(default="", compare=False)


Track = VideoTrack | AudioTrack


@dataclass(frozen=True, slots=True)
class Probe:
    """The tracks that have begun so far. `complete`: no other kind of track can come."""

    video: VideoTrack | None
    audio: AudioTrack | None
    live: bool
    seekable: bool
    duration_us: int | None
    complete: bool = True


class TrackSettings(Protocol):
    """What decides how tracks are played; the spec of a relay has it, and its job."""

    @property
    def media_type(self) -> MediaType: ...

    @property
    def stream_mode(self) -> StreamMode: ...

    @property
    def width(self) -> int | None: ...

    @property
    def height(self) -> int | None: ...

    @property
    def frame_rate(self) -> int: ...

    @property
    def bitrate_kbps(self) -> int | None: ...

    @property
    def volume(self) -> int: ...

    @property
    def normalize(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class VideoTarget:
    """How video is encoded. None: as in the source (size, rate) or without a limit (bitrate)."""

    width: int | None
    height: int | None
    frame_rate: int | None
    bitrate_kbps: int | None

    def box(self, upright: tuple[int, int]) -> tuple[int, int]:
        """The size that is encoded, black bars included, of pictures of this upright size."""
        return self.width or even(upright[0]), self.height or even(upright[1])


def upright_size(width: int, height: int, pixel_aspect: Fraction, rotation: int) -> tuple[int, int]:
    """The size of a stored picture when it is turned by `rotation` degrees and has square pixels."""
    wide = round(width * pixel_aspect)
    return (height, wide) if rotation in (90, 270) else (wide, height)


def even(size: float) -> int:
    """The size of a plane that is encoded with halved colours."""
    return max(2, int(size) // 2 * 2)


class TrackAction(Enum):
    COPY = "copy"
    TRANSCODE = "transcode"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class TrackPlan:
    action: TrackAction
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    video: TrackPlan
    audio: TrackPlan
    target: VideoTarget | None = None  #: set when video is transcoded

    def document(self) -> dict[str, dict[str, str]]:
        """The form of the native task document."""
        return {
            "video": {"action": self.video.action.value, "why": self.video.why},
            "audio": {"action": self.audio.action.value, "why": self.audio.why},
        }


def make_plan(settings: TrackSettings, probe: Probe) -> Plan:
    """Raises SourceError if the source cannot be played as asked; transient while tracks may still come."""
    video = plan_video(settings, probe.video) if probe.video else _without_video(settings, probe)
    audio = plan_audio(settings, probe.audio) if probe.audio else _without_audio(settings, probe)
    if video.action is TrackAction.NONE and audio.action is TrackAction.NONE:
        raise _missing("the source has neither video nor audio that can be played", probe)
    return Plan(video, audio, video_target(settings) if video.action is TrackAction.TRANSCODE else None)


def video_target(settings: TrackSettings) -> VideoTarget:
    if (
        settings.stream_mode is StreamMode.COPY
    ):  # it cannot be copied as it is; the contract's size, rate and bitrate do not apply
        return VideoTarget(None, None, None, None)
    return VideoTarget(settings.width, settings.height, settings.frame_rate, settings.bitrate_kbps)


def plan_video(settings: TrackSettings, track: VideoTrack) -> TrackPlan:
    """Raises SourceError (permanent) if the track cannot be played as asked."""
    if settings.media_type is MediaType.AUDIO:
        return TrackPlan(TrackAction.NONE, "only audio was asked for")
    title = codec_title(track.codec)
    if track.width * track.height > MOST_PIXELS:
        raise unsupported(
            f"the source's pictures have {track.width}x{track.height} pixels; as many as in 4096x4096 can "
            "be played"
        )
    if settings.stream_mode is StreamMode.TRANSCODE:
        return TrackPlan(TrackAction.TRANSCODE, f"asked for, source is {title}")
    if track.codec != "h264":
        raise unsupported(f"the source's video is {title}; {ONLY_H264_IS_COPIED}")
    if track.has_b_frames:
        return TrackPlan(
            TrackAction.TRANSCODE, "source has B-frames, which browsers cannot show in real time"
        )
    profile = profile_bytes(track.extradata)
    if profile is not None and not is_shown(profile[0]):
        return TrackPlan(
            TrackAction.TRANSCODE, f"source is H.264 {profile_title(*profile)}, which not all browsers show"
        )
    if track.hides_beginning:
        return TrackPlan(TrackAction.TRANSCODE, "source hides pictures before its beginning (edit list)")
    return TrackPlan(TrackAction.COPY, "source is H.264 without B-frames")


def plan_audio(settings: TrackSettings, track: AudioTrack) -> TrackPlan:
    if settings.media_type is MediaType.VIDEO:
        return TrackPlan(TrackAction.NONE, "only video was asked for")
    if not is_sound(track.sample_rate or LEAST_SAMPLE_RATE, track.channels):
        raise unsupported(
            f"the source's sound has {track.sample_rate} Hz and {track.channels} channels; "
            f"{LEAST_SAMPLE_RATE} to {MOST_SAMPLE_RATE} Hz and {MOST_CHANNELS} channels can be played"
        )
    if track.codec != "opus":
        return TrackPlan(TrackAction.TRANSCODE, f"rooms carry Opus, source is {codec_title(track.codec)}")
    if why := _sound_changes(settings, track):
        return TrackPlan(TrackAction.TRANSCODE, f"source is Opus, but {why}")
    return TrackPlan(TrackAction.COPY, "source is Opus")


def is_sound(sample_rate: int, channels: int) -> bool:
    """Whether sound of this form can be converted to that of rooms."""
    return LEAST_SAMPLE_RATE <= sample_rate <= MOST_SAMPLE_RATE and channels <= MOST_CHANNELS


def _without_video(settings: TrackSettings, probe: Probe) -> TrackPlan:
    if settings.media_type is MediaType.AUDIO:
        return TrackPlan(TrackAction.NONE, "only audio was asked for")
    if settings.media_type is MediaType.VIDEO:
        raise _missing("only video was asked for, but the source has none", probe)
    return TrackPlan(TrackAction.NONE, "source has no video" + _so_far(probe))


def _without_audio(settings: TrackSettings, probe: Probe) -> TrackPlan:
    if settings.media_type is MediaType.VIDEO:
        return TrackPlan(TrackAction.NONE, "only video was asked for")
    if settings.media_type is MediaType.AUDIO:
        raise _missing("only audio was asked for, but the source has none", probe)
    return TrackPlan(TrackAction.NONE, "source has no audio" + _so_far(probe))


def _so_far(probe: Probe) -> str:
    return "" if probe.complete else " so far"


def _sound_changes(settings: TrackSettings, track: AudioTrack) -> str:
    """Why Opus cannot be copied; empty if it can."""
    if track.channels > OPUS_CHANNELS:
        return f"has {track.channels} channels"
    if settings.volume != FULL_VOLUME:
        return f"its volume is {settings.volume} %"
    return "its loudness is normalised" if settings.normalize else ""


_TITLES = {
    "aac": "AAC",
    "ac3": "AC-3",
    "av1": "AV1",
    "eac3": "E-AC-3",
    "h264": "H.264",
    "hevc": "H.265 (HEVC)",
    "libdav1d": "AV1",
    "mp3": "MP3",
    "mp3float": "MP3",
    "opus": "Opus",
    "vp8": "VP8",
    "vp9": "VP9",
}


def codec_title(codec: str) -> str:
    return _TITLES.get(codec, codec)


def _missing(text: str, probe: Probe) -> SourceError:
    """The error for a track that is missing; in a live source it may come with another try."""
    waits = probe.live and not probe.complete
    return SourceError(Reason.SOURCE_UNSUPPORTED, text + _so_far(probe), transient=waits)
