"""Probe, then decide: what happens to each track of a source, with a reason that the user can read.

Pure: a source adapter fills in a `Probe`, `make_plan` answers with a `Plan` or a permanent SourceError.
"""

from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.core.tasks import FULL_VOLUME, MediaType, RelaySpec, StreamMode

#: Channels of an Opus packet (RFC 6716); more are several streams in one, which RTP does not carry.
OPUS_CHANNELS = 2


@dataclass(frozen=True, slots=True)
class VideoTrack:
    """`codec` is FFmpeg's name; `extradata` the decoder configuration (for h264 an
    AVCDecoderConfigurationRecord)."""

    codec: str
    extradata: bytes
    width: int
    height: int
    has_b_frames: bool
    duration_us: int | None = None  #: of the track, where the container tells
    rotation: int = 0  #: degrees counter-clockwise that the stored picture must be turned to be upright
    pixel_aspect: Fraction | None = None  #: width of a pixel to its height, where the container tells


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """`extradata` is the decoder configuration, an AudioSpecificConfig for aac."""

    codec: str
    extradata: bytes
    sample_rate: int
    channels: int


@dataclass(frozen=True, slots=True)
class Probe:
    video: VideoTrack | None
    audio: AudioTrack | None
    live: bool
    seekable: bool
    duration_us: int | None


@dataclass(frozen=True, slots=True)
class VideoTarget:
    """What video is encoded to. None: as the source has it (size, rate) or without a limit (bitrate)."""

    width: int | None
    height: int | None
    frame_rate: int | None
    bitrate_kbps: int | None


class Action(Enum):
    COPY = "copy"
    TRANSCODE = "transcode"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class TrackPlan:
    action: Action
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    video: TrackPlan
    audio: TrackPlan
    target: VideoTarget | None = None  #: set when video is transcoded

    def document(self) -> dict[str, dict[str, str]]:
        """The form of the native task document (design 6)."""
        return {
            "video": {"action": self.video.action.value, "why": self.video.why},
            "audio": {"action": self.audio.action.value, "why": self.audio.why},
        }


def make_plan(spec: RelaySpec, probe: Probe) -> Plan:
    """Raises SourceError (permanent) where the source cannot be played as asked."""
    video, audio = _plan_video(spec, probe.video), _plan_audio(spec, probe.audio)
    if video.action is Action.NONE and audio.action is Action.NONE:
        raise _unsupported("the source has neither video nor audio that can be played")
    return Plan(video, audio, _target(spec) if video.action is Action.TRANSCODE else None)


def _target(spec: RelaySpec) -> VideoTarget:
    if spec.stream_mode is StreamMode.COPY:  # B-frames: the contract's size, rate and bitrate do not apply
        return VideoTarget(None, None, None, None)
    return VideoTarget(spec.width, spec.height, spec.frame_rate, spec.bitrate_kbps)


def _plan_video(spec: RelaySpec, track: VideoTrack | None) -> TrackPlan:
    if spec.media_type is MediaType.AUDIO:
        return TrackPlan(Action.NONE, "only audio was asked for")
    if track is None:
        if spec.media_type is MediaType.VIDEO:
            raise _unsupported("only video was asked for, but the source has none")
        return TrackPlan(Action.NONE, "source has no video")
    if spec.stream_mode is StreamMode.COPY:
        if track.codec != "h264":
            raise _unsupported(
                f"the source's video is {_codec_title(track.codec)}; StreamMode 1 copies and takes only H.264"
            )
        if track.has_b_frames:
            return TrackPlan(Action.TRANSCODE, "source has B-frames, which browsers cannot show in real time")
        return TrackPlan(Action.COPY, "source is H.264 without B-frames")
    return TrackPlan(Action.TRANSCODE, f"asked for (StreamMode 0), source is {_codec_title(track.codec)}")


def _plan_audio(spec: RelaySpec, track: AudioTrack | None) -> TrackPlan:
    if spec.media_type is MediaType.VIDEO:
        return TrackPlan(Action.NONE, "only video was asked for")
    if track is None:
        if spec.media_type is MediaType.AUDIO:
            raise _unsupported("only audio was asked for, but the source has none")
        return TrackPlan(Action.NONE, "source has no audio")
    if track.codec != "opus":
        return TrackPlan(Action.TRANSCODE, f"rooms carry Opus, source is {_codec_title(track.codec)}")
    if why := _sound_changes(spec, track):
        return TrackPlan(Action.TRANSCODE, f"source is Opus, but {why}")
    return TrackPlan(Action.COPY, "source is Opus")


def _sound_changes(spec: RelaySpec, track: AudioTrack) -> str:
    """Why Opus cannot stay as it is; empty where it can."""
    if track.channels > OPUS_CHANNELS:
        return f"has {track.channels} channels"
    if spec.volume != FULL_VOLUME:
        return f"its volume is {spec.volume} %"
    return "its loudness is normalised" if spec.normalize else ""


_TITLES = {
    "aac": "AAC",
    "h264": "H.264",
    "hevc": "H.265 (HEVC)",
    "mp3": "MP3",
    "mp3float": "MP3",
    "opus": "Opus",
}


def _codec_title(codec: str) -> str:
    return _TITLES.get(codec, codec)


def _unsupported(text: str) -> SourceError:
    return SourceError(Reason.SOURCE_UNSUPPORTED, text, transient=False)
