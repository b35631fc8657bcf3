"""FLV tag bodies: golden headers, plain and enhanced, the AAC configuration, and fuzz."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.wire.aac import AacConfig, AacError
from sluice.wire.amf0 import EcmaArray, decode
from sluice.wire.flv import (
    AudioTag,
    FlvError,
    PacketType,
    VideoTag,
    parse_audio_tag,
    parse_video_tag,
    write_aac_tag,
    write_avc_tag,
    write_metadata,
)

_CONFIG, _FRAME, _END, _OTHER = PacketType.CONFIG, PacketType.FRAME, PacketType.END, PacketType.OTHER


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"\x17\x00\0\0\0avcc", VideoTag("h264", True, _CONFIG, 0, b"avcc")),
        (b"\x17\x01\0\0\x28frame", VideoTag("h264", True, _FRAME, 40, b"frame")),
        (b"\x27\x01\xff\xff\xd8frame", VideoTag("h264", False, _FRAME, -40, b"frame")),
        (b"\x17\x02\0\0\0", VideoTag("h264", True, _END, 0, b"")),
        (b"\x57\x00", VideoTag("h264", False, _OTHER, 0, b"\0")),
        (b"\x1c\x01\0\0\0frame", VideoTag("hevc", True, _FRAME, 0, b"frame")),
        (b"\x12frame", VideoTag("flv1", True, _FRAME, 0, b"frame")),
        (b"\x1fframe", VideoTag("FLV video codec 15", True, _FRAME, 0, b"frame")),
        (b"\x90hvc1hvcc", VideoTag("hevc", True, _CONFIG, 0, b"hvcc")),
        (b"\xa1hvc1\0\0\x28frame", VideoTag("hevc", False, _FRAME, 40, b"frame")),
        (b"\xa3avc1frame", VideoTag("h264", False, _FRAME, 0, b"frame")),
        (b"\xa1av01frame", VideoTag("av1", False, _FRAME, 0, b"frame")),
        (b"\x92hvc1", VideoTag("hevc", True, _END, 0, b"")),
        (b"\x94hvc1meta", VideoTag("hevc", True, _OTHER, 0, b"meta")),
        (b"\xd1hvc1\0", VideoTag("hevc", False, _OTHER, 0, b"")),
        (b"\x90what", VideoTag("fourcc 'what'", True, _CONFIG, 0, b"")),
    ],
)
def test_video(body: bytes, expected: VideoTag) -> None:
    assert parse_video_tag(body) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"\xaf\x00\x12\x10", AudioTag("aac", _CONFIG, 44100, 2, b"\x12\x10")),
        (b"\xaf\x01frame", AudioTag("aac", _FRAME, 44100, 2, b"frame")),
        (b"\x2eframe", AudioTag("mp3", _FRAME, 44100, 1, b"frame")),
        (b"\x2aframe", AudioTag("mp3", _FRAME, 22050, 1, b"frame")),
        (b"\xb2frame", AudioTag("speex", _FRAME, 5512, 1, b"frame")),
        (b"\xc0frame", AudioTag("FLV audio codec 12", _FRAME, 5512, 1, b"frame")),
        (b"\x90mp4a\x12\x10", AudioTag("aac", _CONFIG, 48000, 2, b"\x12\x10")),
        (b"\x91Opusframe", AudioTag("opus", _FRAME, 48000, 2, b"frame")),
        (b"\x94Opus\0", AudioTag("opus", _OTHER, 48000, 2, b"\0")),
    ],
)
def test_audio(body: bytes, expected: AudioTag) -> None:
    assert parse_audio_tag(body) == expected


@pytest.mark.parametrize("body", [b"", b"\x17", b"\x17\x01\0\0", b"\x90hvc", b"\xa1hvc1\0\0"])
def test_video_that_is_cut_off(body: bytes) -> None:
    with pytest.raises(FlvError):
        parse_video_tag(body)


@pytest.mark.parametrize("body", [b"", b"\xaf", b"\x91Opu"])
def test_audio_that_is_cut_off(body: bytes) -> None:
    with pytest.raises(FlvError):
        parse_audio_tag(body)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("1210", AacConfig(2, 44100, 2)),
        ("1190", AacConfig(2, 48000, 2)),
        ("1208", AacConfig(2, 44100, 1)),
        ("11b8", AacConfig(2, 48000, 8)),
        ("2b920800", AacConfig(5, 44100, 2)),  # HE-AAC, 22050 Hz doubled
        ("eb8a0800", AacConfig(29, 44100, 2)),  # HE-AAC v2: parametric stereo out of one channel
        ("17802ee010", AacConfig(2, 24000, 2)),  # the rate in 24 bits
    ],
)
def test_aac(config: str, expected: AacConfig) -> None:
    assert AacConfig.parse(bytes.fromhex(config)) == expected


@pytest.mark.parametrize("config", ["", "12", "1690", "1278", "2b90"])
def test_aac_that_is_wrong(config: str) -> None:
    with pytest.raises(AacError):
        AacConfig.parse(bytes.fromhex(config))


@pytest.mark.parametrize(
    ("parse", "error"),
    [(parse_video_tag, FlvError), (parse_audio_tag, FlvError), (AacConfig.parse, AacError)],
)
@given(data=st.binary(max_size=32))
def test_arbitrary_bytes_raise_nothing_else(
    parse: Callable[[bytes], object], error: type[Exception], data: bytes
) -> None:
    try:
        parse(data)
    except error:
        return


def test_golden_writing() -> None:
    assert write_avc_tag(_CONFIG, b"avcc", key=True) == b"\x17\x00\0\0\0avcc"
    assert write_avc_tag(_FRAME, b"idr", key=True) == b"\x17\x01\0\0\0idr"
    assert write_avc_tag(_FRAME, b"p", key=False) == b"\x27\x01\0\0\0p"
    assert write_aac_tag(_CONFIG, b"\x12\x10") == b"\xaf\x00\x12\x10"
    assert write_aac_tag(_FRAME, b"frame") == b"\xaf\x01frame"


_WRITTEN = st.sampled_from([_CONFIG, _FRAME, _END])


@given(_WRITTEN, st.binary(max_size=50), st.booleans())
def test_video_is_read_as_written(packet_type: PacketType, data: bytes, key: bool) -> None:
    tag = write_avc_tag(packet_type, data, key=key)
    assert parse_video_tag(tag) == VideoTag("h264", key, packet_type, 0, data)


@given(_WRITTEN, st.binary(max_size=50))
def test_audio_is_read_as_written(packet_type: PacketType, data: bytes) -> None:
    assert parse_audio_tag(write_aac_tag(packet_type, data)) == AudioTag("aac", packet_type, 44100, 2, data)


@pytest.mark.parametrize(
    ("size", "video"),
    [
        ((640, 360), {"videocodecid": 7.0, "width": 640.0, "height": 360.0}),
        ((0, 0), {"videocodecid": 7.0}),
        (None, {}),
    ],
)
def test_metadata(size: tuple[int, int] | None, video: dict[str, float]) -> None:
    name, properties = decode(write_metadata(size, aac_rate=44_100, aac_bps=128_000))
    assert name == "onMetaData"
    assert isinstance(properties, EcmaArray)
    sound = {
        "audiocodecid": 10.0,
        "audiosamplerate": 44_100.0,
        "audiosamplesize": 16.0,
        "audiodatarate": 128.0,
    }
    assert properties == {**sound, "stereo": True, **video, "encoder": "sluice"}
