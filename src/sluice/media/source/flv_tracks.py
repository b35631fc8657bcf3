"""From FLV tags, of RTMP or of a file, to packets: tracks begin, change and pause as they like. No IO.

Metadata says which tracks will come; it may lie, or be missing, so nothing waits for it for long. A track
begins with its first frame that can be decoded, which for pictures is a key frame with its configuration.
"""

import contextlib
from dataclasses import dataclass, field

from sluice.core.errors import SourceError, unsupported
from sluice.core.plan import AudioTrack, Probe, VideoTrack
from sluice.media.packets import Packet, TrackKind
from sluice.media.source.avc import H264Units
from sluice.wire.aac import AacConfig, AacError
from sluice.wire.amf0 import Value
from sluice.wire.flv import AudioTag, FlvError, PacketType, VideoTag, parse_audio_tag, parse_video_tag
from sluice.wire.h264 import AvcConfig, H264Error, Sps
from sluice.wire.rtmp import AudioMessage, DataMessage, VideoMessage

#: How long the other track is waited for after the first media, when nothing or metadata announced it; what
#: comes later joins.
UNANNOUNCED_S, ANNOUNCED_S = 0.5, 2.0
#: Media kept meanwhile; beyond it playing begins with what is there.
MOST_KEPT_BYTES = 8 * 1024 * 1024

#: Codecs that cannot be decoded without a configuration of their own.
_CONFIGURED = frozenset({"hevc", "aac"})
_NAMES = {"h264": "H.264", "hevc": "H.265", "aac": "AAC"}
#: Of H.264 whose sets come in the stream: a record without any, length fields of 4 bytes.
_NO_SETS = b"\x01\0\0\0\xff\xe0\0"


@dataclass(slots=True)
class _Track:
    codec: str
    config: bytes = b""
    h264: H264Units | None = None
    changed: bool = True  #: the next frame tells the track
    begun: bool = False
    sample_rate: int = 0
    channels: int = 0
    shifted: bool = False  #: its pictures have composition times
    described: VideoTrack | AudioTrack | None = None

    @property
    def lacks_config(self) -> bool:
        if self.begun or self.config or self.codec not in _NAMES:
            return False
        return self.h264 is None or not self.h264.record()


@dataclass(slots=True)
class FlvTracks:
    announced: frozenset[TrackKind] = frozenset()
    #: Empty and damaged tags, frames before their configuration or the first key frame.
    dropped: int = 0
    duration_us: int | None = None
    #: Of a file with an index: seconds and positions of its key frames.
    index: list[tuple[float, float]] = field(default_factory=list)
    _tracks: dict[TrackKind, _Track] = field(default_factory=dict)
    _packets: list[Packet] = field(default_factory=list)
    _kept_bytes: int = 0
    _size: tuple[int, int] = (0, 0)
    _damage: SourceError | None = None

    @property
    def begun(self) -> set[TrackKind]:
        return {kind for kind, track in self._tracks.items() if track.begun}

    def wait_s(self) -> float:
        """Seconds to wait for further tracks after the first media; 0 when all that is expected has begun."""
        begun = self.begun
        if self._kept_bytes > MOST_KEPT_BYTES or len(begun) == len(TrackKind):
            return 0
        if self.announced:
            return ANNOUNCED_S if self.announced - begun else 0
        return UNANNOUNCED_S

    def probe(self) -> Probe:
        """What has begun by now. Raises SourceError where damage kept all from it."""
        if not self.begun and self._damage is not None:
            raise self._damage
        described = [track.described for track in self._tracks.values() if track.begun]
        return Probe(
            next((track for track in described if isinstance(track, VideoTrack)), None),
            next((track for track in described if isinstance(track, AudioTrack)), None),
            live=True,
            seekable=False,
            duration_us=None,
            complete=False,
        )

    def lacking(self) -> str:
        """What keeps tracks that came from being decoded, in words; empty where nothing does."""
        lacking = [_NAMES[track.codec] for track in self._tracks.values() if track.lacks_config]
        what = " and ".join(lacking)
        advice = "let the server send it to players that join, or start the publisher anew"
        return f"{what} came without a sequence header, which decoders need; {advice}" if lacking else ""

    def take(self) -> list[Packet]:
        """The packets that came since the last call."""
        packets, self._packets = self._packets, []
        self._kept_bytes = 0
        return packets

    def restart(self) -> None:
        """What comes next is from elsewhere: pictures go on with a key frame."""
        self._packets.clear()
        self._kept_bytes = 0
        for track in self._tracks.values():
            track.begun = False

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
        duration = properties.get("duration")
        if isinstance(duration, float) and 0 < duration < 1e9:
            self.duration_us = int(duration * 1e6)
        self.index = _index(properties.get("keyframes"))

    def on_media(self, message: VideoMessage | AudioMessage) -> None:
        tag: VideoTag | AudioTag
        try:
            if isinstance(message, VideoMessage):
                kind, tag = TrackKind.VIDEO, parse_video_tag(message.body)
            else:
                kind, tag = TrackKind.AUDIO, parse_audio_tag(message.body)
        except FlvError:
            self.dropped += 1  # empty tags are how some encoders say that a track pauses
            return
        if tag.packet_type not in (PacketType.CONFIG, PacketType.FRAME) or not tag.data:
            self.dropped += not tag.data
            return
        track = self._tracks.get(kind)
        if track is None or track.codec != tag.codec:
            track = self._tracks[kind] = _Track(tag.codec)
        if isinstance(tag, AudioTag) and (track.sample_rate, track.channels) != (
            tag.sample_rate,
            tag.channels,
        ):
            track.sample_rate, track.channels, track.changed = tag.sample_rate, tag.channels, True
        if tag.packet_type is PacketType.CONFIG:
            self._configure(track, tag.data)
        elif isinstance(tag, VideoTag):
            self._on_picture(track, tag, message.timestamp_ms)
        else:
            self._on_sound(track, tag, message.timestamp_ms)

    def _configure(self, track: _Track, config: bytes) -> None:
        """A configuration that cannot be used changes nothing: another may come."""
        if config == track.config:
            return
        try:
            if track.codec == "h264":
                AvcConfig.parse(config)
            elif track.codec == "aac":
                AacConfig.parse(config)
        except (H264Error, AacError) as error:
            text = f"the source's {_NAMES[track.codec]} configuration is damaged: {error}"
            self._damage = unsupported(text)
            self.dropped += 1
            return
        track.config, track.changed = config, True
        track.h264 = H264Units(config) if track.codec == "h264" else None

    def _on_picture(self, track: _Track, tag: VideoTag, time_ms: int) -> None:
        shift_us = tag.composition_time_ms * 1000
        packet = Packet(TrackKind.VIDEO, tag.data, time_ms * 1000, time_ms * 1000 + shift_us, tag.key)
        if track.codec == "h264":
            track.h264 = track.h264 or H264Units(_NO_SETS)
            usable = track.h264.convert(packet) and bool(track.h264.record())
        else:
            usable = bool(track.config) or track.codec not in _CONFIGURED
        if not usable or not (track.begun or packet.key):
            self.dropped += 1
            return
        shifted = track.shifted or shift_us != 0
        if track.changed or (packet.key and shifted != track.shifted):
            track.shifted = shifted
            self._describe_video(track, packet)
        track.begun = True
        self._put(packet)

    def _describe_video(self, track: _Track, packet: Packet) -> None:
        config, (width, height), reordered = track.config, self._size, track.shifted
        if track.h264 is not None:
            config = track.h264.record()
            with contextlib.suppress(H264Error):  # the decoder may know better
                sps = Sps.parse(AvcConfig.parse(config).sps[0])
                width, height = sps.width, sps.height
                reordered = sps.reorders(shifted=track.shifted)
        described = VideoTrack(track.codec, config, width, height, reordered)
        if described != track.described:
            track.described = packet.track = described
        track.changed = False

    def _on_sound(self, track: _Track, tag: AudioTag, time_ms: int) -> None:
        if track.codec in _CONFIGURED and not track.config:
            self.dropped += 1
            return
        packet = Packet(TrackKind.AUDIO, tag.data, time_ms * 1000, time_ms * 1000, True)
        if track.changed:
            rate, channels = track.sample_rate, track.channels
            if track.codec == "aac":
                config = AacConfig.parse(track.config)
                rate, channels = config.sample_rate, config.channels
            described = AudioTrack(track.codec, track.config, rate, channels)
            if described != track.described:
                track.described = packet.track = described
            track.changed = False
        track.begun = True
        self._put(packet)

    def _put(self, packet: Packet) -> None:
        self._packets.append(packet)
        self._kept_bytes += len(packet.data)


def _is_something(value: Value | None) -> bool:
    return isinstance(value, float | str) and bool(value)


def _index(value: Value | None) -> list[tuple[float, float]]:
    """The unofficial but usual ``keyframes`` of metadata, in order; empty where it is malformed."""
    if not isinstance(value, dict):
        return []
    times, places = value.get("times"), value.get("filepositions")
    if not isinstance(times, list) or not isinstance(places, list) or len(times) != len(places):
        return []
    pairs = list(zip(times, places, strict=True))
    numbers = [(t, p) for t, p in pairs if isinstance(t, float) and isinstance(p, float) and p > 0]
    return numbers if len(numbers) == len(pairs) and numbers == sorted(numbers) else []
