"""Makes packets of FLV tags, of RTMP or of a file: tracks begin, change and pause at any time. No IO.

Metadata says which tracks will come. It may be wrong or missing, so no track is waited for long. A track
begins with its first frame that can be decoded; of video that is a key frame behind its configuration.
"""

import contextlib
from dataclasses import dataclass, field

from sluice.core.errors import SourceError, unsupported
from sluice.core.plan import AudioTrack, Probe, VideoTrack
from sluice.media.packets import Packet, TrackKind
from sluice.media.source.avc import H264Units
from sluice.media.source.notes import Notes
from sluice.wire.aac import AacConfig, AacError
from sluice.wire.amf0 import Value
from sluice.wire.flv import AudioTag, FlvError, PacketType, VideoTag, parse_audio_tag, parse_video_tag
from sluice.wire.h264 import AvcConfig, H264Error, Sps
from sluice.wire.rtmp import AudioMessage, DataMessage, VideoMessage

#: How long the other track is waited for after the first media: if nothing announced it, if metadata did. A
#: track that comes later joins.
UNANNOUNCED_S, ANNOUNCED_S = 0.5, 2.0
#: Media kept meanwhile; beyond it, playing begins with the tracks that are there.
MOST_KEPT_BYTES = 8 * 1024 * 1024

#: Codecs that cannot be decoded without a configuration of their own.
_CONFIGURED = frozenset({"hevc", "aac"})
_NAMES = {"h264": "H.264", "hevc": "H.265", "aac": "AAC"}
#: Record of H.264 with in-band parameter sets: it has none, and length fields of 4 bytes.
_NO_SETS = b"\x01\0\0\0\xff\xe0\0"


@dataclass(slots=True)
class _Track:
    """A track with one codec."""

    codec: str
    config: bytes = b""
    h264: H264Units | None = None
    changed: bool = True  #: the next frame describes the track anew
    begun: bool = False
    sample_rate: int = 0
    channels: int = 0
    shifted: bool = False  #: its pictures have composition times
    described: VideoTrack | AudioTrack | None = None

    def __post_init__(self) -> None:
        if self.codec == "h264":
            self.h264 = H264Units(_NO_SETS)

    @property
    def lacks_config(self) -> bool:
        if self.begun or self.config or self.codec not in _NAMES:
            return False
        return self.h264 is None or not self.h264.record()

    def configure(self, config: bytes) -> None:
        self.config, self.changed = config, True
        if self.codec == "h264":
            self.h264 = H264Units(config)

    def set_audio(self, sample_rate: int, channels: int) -> None:
        """Takes the hints of a tag."""
        self.sample_rate, self.channels, self.changed = sample_rate, channels, True

    def begin(self) -> None:
        self.begun = True

    def restart(self) -> None:
        """To be called after a jump: the track begins again."""
        self.begun = False

    def describe_video(self, packet: Packet, size: tuple[int, int], *, shifted: bool) -> None:
        """`size`: that of metadata, for codecs whose configuration is not read."""
        self.shifted = reordered = shifted
        config, (width, height) = self.config, size
        if self.h264 is not None:
            config = self.h264.record()
            with contextlib.suppress(H264Error):  # damaged sets are left to the decoder
                sps = Sps.parse(AvcConfig.parse(config).sps[0])
                width, height = sps.width, sps.height
                reordered = sps.reorders(shifted=shifted)
        self._describe(packet, VideoTrack(self.codec, config, width, height, reordered))

    def describe_audio(self, packet: Packet) -> None:
        rate, channels, profile = self.sample_rate, self.channels, ""
        if self.codec == "aac":
            config = AacConfig.parse(self.config)
            rate, channels, profile = config.sample_rate, config.channels, config.profile
        self._describe(packet, AudioTrack(self.codec, self.config, rate, channels, profile=profile))

    def _describe(self, packet: Packet, described: VideoTrack | AudioTrack) -> None:
        """Sets `packet.track`, unless that was described before."""
        if described != self.described:
            self.described = packet.track = described
        self.changed = False


@dataclass(slots=True)
class FlvTracks:
    """Takes messages and metadata; `take` returns the packets that they made."""

    notes: Notes = field(default_factory=Notes)  #: of the source
    announced: frozenset[TrackKind] = frozenset()
    #: Empty and damaged tags, frames before their configuration or the first key frame.
    dropped: int = 0
    duration_us: int | None = None
    #: The key frames of a file with an index: seconds and positions.
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
        """The tracks that have begun by now. Raises SourceError where damage kept all from beginning."""
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
        """Why tracks that came cannot be decoded, in words; empty where they can."""
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
        """To be called after a jump: video continues with a key frame."""
        self._packets.clear()
        self._kept_bytes = 0
        for track in self._tracks.values():
            track.restart()

    def on_metadata(self, message: DataMessage) -> None:
        properties = message.values[0] if message.values else None
        if message.name != "onMetaData" or not isinstance(properties, dict):
            return
        # Servers that rebuild metadata write 0 for a track that is not there.
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
            self._drop()  # empty tags are how some encoders say that a track pauses
            return
        if tag.packet_type not in (PacketType.CONFIG, PacketType.FRAME) or not tag.data:
            if not tag.data:
                self._drop()
            return
        track = self._tracks.get(kind)
        if track is None or track.codec != tag.codec:
            track = self._tracks[kind] = _Track(tag.codec)
        if isinstance(tag, AudioTag) and (track.sample_rate, track.channels) != (
            tag.sample_rate,
            tag.channels,
        ):
            track.set_audio(tag.sample_rate, tag.channels)
        if tag.packet_type is PacketType.CONFIG:
            self._configure(track, tag.data)
        elif isinstance(tag, VideoTag):
            self._on_video(track, tag, message.timestamp_ms)
        else:
            self._on_audio(track, tag, message.timestamp_ms)

    def _configure(self, track: _Track, config: bytes) -> None:
        """A damaged configuration changes nothing: another one may come."""
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
            self._drop()
            return
        track.configure(config)

    def _on_video(self, track: _Track, tag: VideoTag, time_ms: int) -> None:
        shift_us = tag.composition_time_ms * 1000
        packet = Packet(TrackKind.VIDEO, tag.data, time_ms * 1000, time_ms * 1000 + shift_us, tag.key)
        if track.h264 is not None:
            usable = track.h264.convert(packet) and bool(track.h264.record())
        else:
            usable = bool(track.config) or track.codec not in _CONFIGURED
        if not usable or not (track.begun or packet.key):
            self._drop()
            return
        shifted = track.shifted or shift_us != 0
        if track.changed or (packet.key and shifted != track.shifted):
            track.describe_video(packet, self._size, shifted=shifted)
        if not track.begun:
            track.begin()
        self._put(packet)

    def _on_audio(self, track: _Track, tag: AudioTag, time_ms: int) -> None:
        if track.codec in _CONFIGURED and not track.config:
            self._drop()
            return
        packet = Packet(TrackKind.AUDIO, tag.data, time_ms * 1000, time_ms * 1000, True)
        if track.changed:
            track.describe_audio(packet)
        if not track.begun:
            track.begin()
        self._put(packet)

    def _drop(self) -> None:
        self.dropped += 1
        self.notes.unusable += 1

    def _put(self, packet: Packet) -> None:
        self._packets.append(packet)
        self._kept_bytes += len(packet.data)


def _is_something(value: Value | None) -> bool:
    return isinstance(value, float | str) and bool(value)


def _index(value: Value | None) -> list[tuple[float, float]]:
    """The unofficial but usual ``keyframes`` of metadata: seconds and positions; empty if malformed."""
    if not isinstance(value, dict):
        return []
    times, positions = value.get("times"), value.get("filepositions")
    if not isinstance(times, list) or not isinstance(positions, list) or len(times) != len(positions):
        return []
    pairs = list(zip(times, positions, strict=True))
    numbers = [(t, p) for t, p in pairs if isinstance(t, float) and isinstance(p, float) and p > 0]
    return numbers if len(numbers) == len(pairs) and numbers == sorted(numbers) else []
