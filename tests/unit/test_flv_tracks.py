"""FLV tags to packets: announced, silent and late tracks, changed headers and codecs, B-frames, damage."""

import pytest

from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.core.plan import AudioTrack, VideoTrack
from sluice.media.packets import Packet, TrackKind
from sluice.media.source.flv_tracks import ANNOUNCED_S, UNANNOUNCED_S, FlvTracks
from sluice.wire.amf0 import EcmaArray, Value
from sluice.wire.h264 import AvcConfig
from sluice.wire.rtmp import AudioMessage, DataMessage, VideoMessage

_AVCC = bytes.fromhex("0142c01fffe100196742c01fd9005005bb011000000300100000030320f183248001000568cb83cb20")
_MAIN = bytes.fromhex("014d4028ffe1001a674d4028eca03c0113f2e022000003000200000300641e30632c01000568ebe3cb20")
_IDR = bytes.fromhex("00000008" + "6588840af2628000")
_ASC = b"\x12\x10"


def _video(time: int, data: bytes = _IDR, *, key: bool = True, shift: int = 0) -> VideoMessage:
    head = bytes((0x17 if key else 0x27, 1)) + shift.to_bytes(3, "big", signed=True)
    return VideoMessage(time, head + data)


def _video_config(config: bytes = _AVCC) -> VideoMessage:
    return VideoMessage(0, b"\x17\0\0\0\0" + config)


def _audio(time: int, data: bytes = b"frame") -> AudioMessage:
    return AudioMessage(time, b"\xaf\x01" + data)


def _audio_config(config: bytes = _ASC) -> AudioMessage:
    return AudioMessage(0, b"\xaf\x00" + config)


def _metadata(**properties: Value) -> DataMessage:
    return DataMessage("onMetaData", [EcmaArray(properties)])


def test_what_lacks_its_sequence_header_is_named() -> None:
    assert _fed(_metadata(width=640.0)).lacking() == ""
    assert _fed(_video_config(), _video(0)).lacking() == ""
    assert _fed(_video_config(), _video(0, key=False), _audio_config()).lacking() == ""
    assert (
        _fed(_video(0), _video_config(), _audio(0)).lacking().startswith("AAC came without a sequence header")
    )
    both = _fed(_audio(0), _video(0), _video(40)).lacking()
    assert both.startswith("AAC and H.264 came without a sequence header")


def _fed(*messages: VideoMessage | AudioMessage | DataMessage) -> FlvTracks:
    tracks = FlvTracks()
    for message in messages:
        if isinstance(message, DataMessage):
            tracks.on_metadata(message)
        else:
            tracks.on_media(message)
    return tracks


def test_both_tracks() -> None:
    tracks = _fed(_video_config(), _audio_config(), _video(40, shift=0), _audio(43))
    assert tracks.wait_s() == 0
    probe = tracks.probe()
    assert probe.video == VideoTrack("h264", _AVCC, 1280, 720, has_b_frames=False)
    assert probe.audio == AudioTrack("aac", _ASC, 44100, 2)
    assert (probe.live, probe.seekable, probe.duration_us) == (True, False, None)
    assert tracks.take() == [
        Packet(TrackKind.VIDEO, _IDR, 40_000, 40_000, True, track=probe.video),
        Packet(TrackKind.AUDIO, b"frame", 43_000, 43_000, True, track=probe.audio),
    ]
    assert tracks.take() == []


def test_waiting_for_the_other_track() -> None:
    assert _fed(_video_config(), _video(0)).wait_s() == UNANNOUNCED_S
    both = _metadata(videocodecid=7.0, audiocodecid=10.0)
    assert _fed(both, _video_config(), _video(0)).wait_s() == ANNOUNCED_S
    # nginx-rtmp writes 0 for what the publisher does not send.
    only_video = _metadata(videocodecid=7.0, audiocodecid=0.0, width=640.0, height=360.0)
    assert _fed(only_video, _video_config(), _video(0)).wait_s() == 0
    assert _fed(_metadata(server="x"), _audio_config(), _audio(0)).wait_s() == UNANNOUNCED_S


def test_a_track_that_comes_later_joins() -> None:
    tracks = _fed(_video_config(), _audio_config(), _audio(0))
    assert tracks.probe().video is None
    tracks.on_media(_video(5, key=False))
    assert tracks.dropped == 1  # pictures begin with a key frame
    tracks.on_media(_video(45))
    sound, picture = tracks.take()
    assert (sound.kind, picture.kind, picture.dts_us) == (TrackKind.AUDIO, TrackKind.VIDEO, 45_000)
    assert picture.track == VideoTrack("h264", _AVCC, 1280, 720, has_b_frames=False)


def test_frames_before_their_configuration_are_dropped() -> None:
    tracks = _fed(_video(0), _audio(0))
    assert not tracks.begun
    assert tracks.dropped == 2


def test_parameter_sets_may_come_in_the_stream() -> None:
    config = AvcConfig.parse(_AVCC)
    units = b"".join(len(u).to_bytes(4, "big") + u for u in (*config.sps, *config.pps)) + _IDR
    video = _fed(_video(0, units)).probe().video
    assert video is not None
    assert (video.codec, video.width, video.height) == ("h264", 1280, 720)


def test_empty_and_damaged_tags_are_dropped() -> None:
    tracks = _fed(VideoMessage(0, b""), AudioMessage(0, b"\xaf"), VideoMessage(0, b"\x17\1"), _video(0, b""))
    assert tracks.dropped == 4


@pytest.mark.parametrize(
    ("config", "shift", "data", "expected"),
    [
        (_MAIN, 80, _IDR, True),
        (_MAIN, 0, _IDR, True),  # its VUI says so
        (_AVCC, 80, _IDR, False),  # baseline has none; the shift is a constant
        (_AVCC, 0, b"\0\0\0\xffdamaged", False),
    ],
)
def test_b_frames(config: bytes, shift: int, data: bytes, expected: bool) -> None:
    video = _fed(_video_config(config), _video(0, data, shift=shift)).probe().video
    assert video is not None
    assert video.has_b_frames is expected


def test_a_changed_header_is_told_with_the_next_frame() -> None:
    tracks = _fed(_video_config(), _video(0), _video(40, key=False))
    for message in (_video_config(), _video(80, key=False), _video_config(_MAIN), _video(120), _video(160)):
        tracks.on_media(message)
    told = [packet.track and packet.track.extradata for packet in tracks.take()]
    assert told == [_AVCC, None, None, _MAIN, None]


def test_another_codec_is_another_track() -> None:
    tracks = _fed(_metadata(width=640.0, height=360.0), _video_config(), _video(0))
    tracks.on_media(VideoMessage(40, b"\x1c\0\0\0\0hvcc"))
    tracks.on_media(VideoMessage(40, b"\x2c\1\0\0\0frame"))
    tracks.on_media(VideoMessage(80, b"\x1c\1\0\0\0frame"))
    assert [packet.track for packet in tracks.take()] == [
        VideoTrack("h264", _AVCC, 1280, 720, has_b_frames=False),
        VideoTrack("hevc", b"hvcc", 640, 360, has_b_frames=False),
    ]


def test_hevc_takes_its_size_from_the_metadata() -> None:
    tracks = _fed(_metadata(width=1920.0, height=1080.0), VideoMessage(0, b"\x90hvc1hvcc"))
    tracks.on_media(VideoMessage(0, b"\x93hvc1frame"))
    assert tracks.probe().video == VideoTrack("hevc", b"hvcc", 1920, 1080, has_b_frames=False)


def test_codecs_without_configuration() -> None:
    assert _fed(AudioMessage(0, b"\x2fframe")).probe().audio == AudioTrack("mp3", b"", 44100, 2)


@pytest.mark.parametrize(
    ("messages", "what"),
    [((_video_config(b"\1broken"), _video(0)), "H.264"), ((_audio_config(b"\x12"), _audio(0)), "AAC")],
)
def test_damaged_headers(messages: tuple[VideoMessage | AudioMessage, ...], what: str) -> None:
    with pytest.raises(SourceError, match=f"{what} configuration is damaged") as caught:
        _fed(*messages).probe()
    assert caught.value.reason is Reason.SOURCE_UNSUPPORTED
    assert not caught.value.transient


def test_strange_metadata_is_harmless() -> None:
    tracks = _fed(
        DataMessage("onMetaData", []),
        DataMessage("onMetaData", ["text"]),
        DataMessage("onCuePoint", [{"width": 5.0}]),
        _metadata(width=float("nan"), height=-1.0, videocodecid=None),
    )
    assert tracks.wait_s() in (ANNOUNCED_S, UNANNOUNCED_S)
