"""The bodies of FLV tags, which are also the bodies of RTMP's audio and video messages.

Sources: Adobe "Video File Format Specification" 10.1 annex E.4, and Enhanced RTMP (fourcc signalling) v1, v2.
Codecs have FFmpeg's names. Those that cannot be played here are in the tables too, so that errors name them.
"""

from dataclasses import dataclass
from enum import Enum

from sluice.wire.amf0 import EcmaArray, Value, encode


class FlvError(ValueError):
    """A tag body that is cut off or of a form that does not exist."""


class PacketType(Enum):
    """What the data of a tag is."""

    CONFIG = "config"  #: decoder configuration (sequence header), no media
    FRAME = "frame"
    END = "end"  #: end of sequence
    OTHER = "other"  #: nothing to play: colour metadata, commands, forms we do not read


@dataclass(frozen=True, slots=True)
class VideoTag:
    """`composition_time_ms` is pts - dts. `data` of a h264 or hevc frame has length fields (AVCC)."""

    codec: str
    key: bool
    packet_type: PacketType
    composition_time_ms: int
    data: bytes


@dataclass(frozen=True, slots=True)
class AudioTag:
    """`sample_rate` (Hz) and `channels` are hints of the tag; for aac only the configuration is right."""

    codec: str
    packet_type: PacketType
    sample_rate: int
    channels: int
    data: bytes


#: E.4.3.1 CodecID; 12 is the unofficial id that encoders used for HEVC before Enhanced RTMP.
_VIDEO_CODECS = {2: "flv1", 3: "flashsv", 4: "vp6f", 5: "vp6a", 6: "flashsv2", 7: "h264", 12: "hevc"}
_VIDEO_FOURCC = {
    b"avc1": "h264",
    b"hvc1": "hevc",
    b"vvc1": "vvc",
    b"av01": "av1",
    b"vp08": "vp8",
    b"vp09": "vp9",
}
#: E.4.2.1 SoundFormat.
_AUDIO_CODECS = {
    0: "pcm_s16le", 1: "adpcm_swf", 2: "mp3", 3: "pcm_s16le", 4: "nellymoser", 5: "nellymoser",
    6: "nellymoser", 7: "pcm_alaw", 8: "pcm_mulaw", 10: "aac", 11: "speex", 14: "mp3",
}  # fmt: skip
_AUDIO_FOURCC = {
    b"mp4a": "aac", b".mp3": "mp3", b"Opus": "opus", b"fLaC": "flac", b"ac-3": "ac3", b"ec-3": "eac3",
}  # fmt: skip
_RATES = (5512, 11025, 22050, 44100)
_TYPES = {0: PacketType.CONFIG, 1: PacketType.FRAME, 2: PacketType.END}
_TYPE_NUMBERS = {packet_type: number for number, packet_type in _TYPES.items()}

_FRAME_KEY, _FRAME_INTER, _FRAME_COMMAND = 1, 2, 5
_AVC, _AAC = 7, 10
_ENHANCED_AUDIO = 9


def parse_video_tag(body: bytes) -> VideoTag:
    """VIDEODATA (E.4.3), plain or enhanced. Raises FlvError."""
    if not body:
        raise FlvError("the video tag is empty")
    if body[0] & 0x80:
        return _parse_enhanced_video(body)
    frame_type, codec_id = body[0] >> 4, body[0] & 0x0F
    codec = _VIDEO_CODECS.get(codec_id, f"FLV video codec {codec_id}")
    key = frame_type == _FRAME_KEY
    if frame_type == _FRAME_COMMAND:
        return VideoTag(codec, False, PacketType.OTHER, 0, body[1:])
    if codec not in ("h264", "hevc"):
        return VideoTag(codec, key, PacketType.FRAME, 0, body[1:])
    if len(body) < 5:
        raise FlvError("the video tag ends within its header")
    packet_type = _TYPES.get(body[1], PacketType.OTHER)
    return VideoTag(codec, key, packet_type, _signed_24(body[2:5]), body[5:])


def parse_audio_tag(body: bytes) -> AudioTag:
    """AUDIODATA (E.4.2), plain or enhanced. Raises FlvError."""
    if not body:
        raise FlvError("the audio tag is empty")
    sound_format, low = body[0] >> 4, body[0] & 0x0F
    if sound_format == _ENHANCED_AUDIO:
        codec, packet_type = _fourcc(body, _AUDIO_FOURCC), _TYPES.get(low, PacketType.OTHER)
        # The multichannel layout (type 4) and other forms are OTHER: the decoder finds the layout by itself.
        return AudioTag(codec, packet_type, 48000, 2, body[5:])
    codec = _AUDIO_CODECS.get(sound_format, f"FLV audio codec {sound_format}")
    rate, channels = _RATES[low >> 2], (low & 1) + 1
    if codec != "aac":
        return AudioTag(codec, PacketType.FRAME, rate, channels, body[1:])
    if len(body) < 2:
        raise FlvError("the audio tag ends within its header")
    return AudioTag(codec, _TYPES.get(body[1], PacketType.OTHER), rate, channels, body[2:])


def write_avc_tag(packet_type: PacketType, data: bytes, *, key: bool) -> bytes:
    """The body of a video tag for H.264 without B-frames: an AVCDecoderConfigurationRecord as CONFIG (which
    counts as a key frame), an access unit with length fields as FRAME. (E.4.3)"""
    head = (_FRAME_KEY if key else _FRAME_INTER) << 4 | _AVC
    return bytes((head, _TYPE_NUMBERS[packet_type], 0, 0, 0)) + data


def write_aac_tag(packet_type: PacketType, data: bytes) -> bytes:
    """The body of an audio tag: an AudioSpecificConfig as CONFIG, a raw frame as FRAME. (E.4.2)"""
    # For AAC the low bits must say 44.1 kHz, 16 bits, stereo, whatever the stream has.
    return bytes((_AAC << 4 | 0x0F, _TYPE_NUMBERS[packet_type])) + data


def write_metadata(video_size: tuple[int, int] | None, *, aac_rate: int, aac_bps: int) -> bytes:
    """The body of a script tag with onMetaData (E.5) for stereo AAC, and for AVC unless `video_size` is None.
    Sizes are pixels, 0 for unknown; rates Hz and bit/s."""
    properties: dict[str, Value] = EcmaArray(
        audiocodecid=_AAC,
        audiosamplerate=aac_rate,
        audiosamplesize=16,
        audiodatarate=aac_bps / 1000,
        stereo=True,
    )
    if video_size is not None:
        properties["videocodecid"] = _AVC
        if all(video_size):
            properties["width"], properties["height"] = video_size
    properties["encoder"] = "sluice"
    return encode("onMetaData", properties)


def _parse_enhanced_video(body: bytes) -> VideoTag:
    """ExVideoTagHeader: frame type, packet type, fourcc; a composition time for type 1 of avc1 and hvc1."""
    key, kind, codec = (body[0] >> 4) & 7 == _FRAME_KEY, body[0] & 0x0F, _fourcc(body, _VIDEO_FOURCC)
    if (body[0] >> 4) & 7 == _FRAME_COMMAND:
        return VideoTag(codec, False, PacketType.OTHER, 0, b"")
    if kind == 1 and codec in ("h264", "hevc", "vvc"):
        if len(body) < 8:
            raise FlvError("the video tag ends within its header")
        return VideoTag(codec, key, PacketType.FRAME, _signed_24(body[5:8]), body[8:])
    # Type 3 is a frame whose composition time is 0 and left out.
    packet_type = PacketType.FRAME if kind == 3 else _TYPES.get(kind, PacketType.OTHER)
    return VideoTag(codec, key, packet_type, 0, body[5:])


def _fourcc(body: bytes, names: dict[bytes, str]) -> str:
    if len(body) < 5:
        raise FlvError("the tag ends within its fourcc")
    fourcc = body[1:5]
    return names.get(fourcc, f"fourcc {fourcc.decode('latin-1')!r}")


def _signed_24(raw: bytes) -> int:
    return int.from_bytes(raw, "big", signed=True)
