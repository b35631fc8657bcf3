"""From RTMP messages to packets and a probe: which tracks there are, and what is known of them. No IO.

Until the probe is taken, packets are kept. Metadata says which tracks will come; it may lie, or be missing,
so time limits stand beside it. A decoder configuration that changes later goes with the next packet.
"""

from dataclasses import dataclass, field

from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.core.plan import AudioTrack, Probe, VideoTrack
from sluice.media.packets import Packet, TrackKind
from sluice.wire.aac import AacConfig, AacError
from sluice.wire.amf0 import Value
from sluice.wire.flv import AudioTag, FlvError, PacketType, VideoTag, parse_audio_tag, parse_video_tag
from sluice.wire.h264 import NAL_IDR, NAL_SLICE, AvcConfig, H264Error, SliceType, Sps, slice_type, split_avcc
from sluice.wire.rtmp import AudioMessage, DataMessage, VideoMessage

#: How long the other track may come after the first media when nothing announced it.
UNANNOUNCED_S = 1.5
#: The same when metadata announced it: a muted microphone must not keep the picture back for ever.
ANNOUNCED_S = 5.0
#: Media kept while probing; beyond it the probe is made from what is known.
MOST_KEPT_BYTES = 8 * 1024 * 1024

_BASELINE = 66  # profile_idc; it has no B slices (H.264 A.2.1)
#: Codecs that cannot be decoded without a configuration of their own.
_CONFIGURED = frozenset({"h264", "hevc", "aac"})


@dataclass(slots=True)
class _Track:
    codec: str
    config: bytes = b""
    changed: bool = False  #: the next packet carries the configuration
    sample_rate: int = 0
    channels: int = 0
    frames: int = 0

    @property
    def ready(self) -> bool:
        """A frame tells more than a configuration: whether there are B-frames, and that media flows."""
        return self.frames > 0 and (bool(self.config) or self.codec not in _CONFIGURED)


@dataclass(slots=True)
class RtmpTracks:
    announced: frozenset[TrackKind] = frozenset()
    #: Empty and damaged tags, frames before their configuration, tracks that came after the probe.
    dropped: int = 0
    _tracks: dict[TrackKind, _Track] = field(default_factory=dict)
    _packets: list[Packet] = field(default_factory=list)
    _kept_bytes: int = 0
    _reordered: bool = False
    _size: tuple[int, int] = (0, 0)
    _probed: bool = False

    @property
    def begun(self) -> bool:
        """Some media has come."""
        return any(track.frames for track in self._tracks.values())

    def wait_s(self) -> float:
        """Seconds to put `probe` off after the first media; 0 when all that is expected is known."""
        ready = {kind for kind, track in self._tracks.items() if track.ready}
        if self._kept_bytes > MOST_KEPT_BYTES or len(ready) == len(TrackKind):
            return 0
        if self.announced:
            return ANNOUNCED_S if self.announced - ready else 0
        return UNANNOUNCED_S

    def probe(self) -> Probe:
        """What is known by now. Raises SourceError for a configuration that is damaged."""
        self._probed = True
        self._tracks = {kind: track for kind, track in self._tracks.items() if track.ready}
        self._packets = [packet for packet in self._packets if packet.kind in self._tracks]
        return Probe(self._video_track(), self._audio_track(), live=True, seekable=False, duration_us=None)

    def take(self) -> list[Packet]:
        """The packets that came since the last call."""
        packets, self._packets = self._packets, []
        self._kept_bytes = 0
        return packets

    def on_metadata(self, message: DataMessage) -> None:
        properties = message.values[0] if message.values else None
        if message.name != "onMetaData" or not isinstance(properties, dict):
            return
        # Servers that rebuild metadata write 0 for what is not there.
        found = {
            TrackKind.VIDEO: any(_is_something(properties.get(n)) for n in ("videocodecid", "width")),
            TrackKind.AUDIO: any(
                _is_something(properties.get(n)) for n in ("audiocodecid", "audiosamplerate")
            ),
        }
        self.announced = frozenset(kind for kind, is_there in found.items() if is_there)
        width, height = properties.get("width"), properties.get("height")
        if (
            isinstance(width, float)
            and isinstance(height, float)
            and 0 < width < 65536
            and 0 < height < 65536
        ):
            self._size = (int(width), int(height))

    def on_media(self, message: VideoMessage | AudioMessage) -> None:
        """Raises SourceError (transient) when a track changes its codec: the source must be probed anew."""
        tag: VideoTag | AudioTag
        try:
            if isinstance(message, VideoMessage):
                kind, tag = TrackKind.VIDEO, parse_video_tag(message.body)
            else:
                kind, tag = TrackKind.AUDIO, parse_audio_tag(message.body)
        except FlvError:
            self.dropped += 1  # empty tags are how some encoders say that a track pauses
            return
        track = self._track(kind, tag)
        if tag.packet_type is PacketType.CONFIG and tag.data:
            if track is not None and track.config != tag.data:
                track.config, track.changed = tag.data, True
        elif tag.packet_type is PacketType.FRAME:
            self._on_frame(kind, track, tag, message.timestamp_ms)

    def _track(self, kind: TrackKind, tag: VideoTag | AudioTag) -> _Track | None:
        track = self._tracks.get(kind)
        if track is None and not self._probed and tag.packet_type is not PacketType.OTHER:
            track = self._tracks[kind] = _Track(tag.codec)
        if track is None or tag.packet_type is PacketType.OTHER:
            return track
        if track.codec != tag.codec:
            raise SourceError(
                Reason.SOURCE_INTERRUPTED,
                f"the source changed its {kind.value} from {track.codec} to {tag.codec}",
                transient=True,
            )
        if isinstance(tag, AudioTag):
            track.sample_rate, track.channels = tag.sample_rate, tag.channels
        return track

    def _on_frame(
        self, kind: TrackKind, track: _Track | None, tag: VideoTag | AudioTag, time_ms: int
    ) -> None:
        if track is None or not tag.data or (track.codec in _CONFIGURED and not track.config):
            self.dropped += 1
            return
        track.frames += 1
        shift_ms = tag.composition_time_ms if isinstance(tag, VideoTag) else 0
        key = tag.key if isinstance(tag, VideoTag) else True
        packet = Packet(kind, tag.data, time_ms * 1000, (time_ms + shift_ms) * 1000, key)
        if track.changed:
            packet.extradata, track.changed = track.config, False
        if kind is TrackKind.VIDEO and not self._probed:
            self._reordered = self._reordered or shift_ms != 0 or _has_b_slice(track, tag.data)
        self._packets.append(packet)
        self._kept_bytes += len(tag.data)

    def _video_track(self) -> VideoTrack | None:
        track = self._tracks.get(TrackKind.VIDEO)
        if track is None:
            return None
        (width, height), reordered = self._size, self._reordered
        if track.codec == "h264":
            try:
                sps = Sps.parse(AvcConfig.parse(track.config).sps[0])
            except H264Error as error:
                raise _damaged("H.264", error) from error
            width, height = sps.width, sps.height
            # An encoder without B-frames may still shift all its times by a constant.
            reordered = reordered and sps.profile_idc != _BASELINE
        return VideoTrack(track.codec, track.config, width, height, reordered)

    def _audio_track(self) -> AudioTrack | None:
        track = self._tracks.get(TrackKind.AUDIO)
        if track is None:
            return None
        rate, channels = track.sample_rate, track.channels
        if track.codec == "aac":
            try:
                config = AacConfig.parse(track.config)
            except AacError as error:
                raise _damaged("AAC", error) from error
            rate, channels = config.sample_rate, config.channels
        return AudioTrack(track.codec, track.config, rate, channels)


def _is_something(value: Value | None) -> bool:
    return isinstance(value, float | str) and bool(value)


def _has_b_slice(track: _Track, data: bytes) -> bool:
    if track.codec != "h264":
        return False
    try:
        units = split_avcc(data, AvcConfig.parse(track.config).length_size)
        return any(
            slice_type(unit) is SliceType.B for unit in units if unit[0] & 0x1F in (NAL_SLICE, NAL_IDR)
        )
    except H264Error:
        return False  # a damaged frame tells nothing; who plays it drops it


def _damaged(what: str, error: ValueError) -> SourceError:
    return SourceError(
        Reason.SOURCE_UNSUPPORTED, f"the source's {what} configuration is damaged: {error}", transient=False
    )
