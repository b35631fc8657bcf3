"""What one connection to a CDN carries: headers, first pictures, times; and pictures on their way into it."""

import struct
from dataclasses import replace
from itertools import pairwise

import pytest

from sluice.media.packets import TrackKind
from sluice.media.pipe.flv_video import FlvVideo
from sluice.media.sink.flv_stream import FlvStream
from sluice.media.units import AudioHeaders, Unit, VideoHeaders
from sluice.wire import rtmp_chunks as chunks
from sluice.wire.amf0 import Value, decode
from sluice.wire.flv import PacketType, parse_video_tag
from sluice.wire.h264 import AvcConfig
from sluice.wire.rtmp_chunks import ChunkReader, Message, write_message
from sluice.wire.rtmp_publish import CHUNK_SIZE, PublishMachine

SPS, PPS = bytes.fromhex("6742c00d8c8d40a0fd80"), bytes.fromhex("68ce3c80")
OTHER_SPS = bytes.fromhex("6742c01e8c8d40a0fd81")
IDR, SLICE, SEI, AUD = b"\x65\x88\x84\x01", b"\x41\x9a\x02", b"\x06\x05\x01\xaa", b"\x09\xf0"
SOUND = AudioHeaders(b"\xaf\x00\x12\x10", 44_100, 128_000)
SMALL, LARGE = VideoHeaders(b"\x17\x00\0\0\0small", 320, 180), VideoHeaders(b"\x17\x00\0\0\0large", 640, 360)
BEGIN_US = 5_000_000


def key(at_ms: float, headers: VideoHeaders = SMALL) -> Unit:
    return Unit(TrackKind.VIDEO, BEGIN_US + int(at_ms * 1000), b"\x17\x01\0\0\0key", True, headers)


def picture(at_ms: float, headers: VideoHeaders = SMALL) -> Unit:
    return Unit(TrackKind.VIDEO, BEGIN_US + int(at_ms * 1000), b"\x27\x01\0\0\0pic", False, headers)


def sound(at_ms: float) -> Unit:
    return Unit(TrackKind.AUDIO, BEGIN_US + int(at_ms * 1000), b"\xaf\x01aac")


def sent(*units: Unit, pictures: bool = True, expected: bool = True, first_ms: int = 0) -> list[Message]:
    machine = PublishMachine(app="a", stream="k", tc_url="rtmp://h/a", random=bytes(1528))
    stream = FlvStream(machine, SOUND, pictures=pictures, pictures_expected=expected, first_ms=first_ms)
    reader = ChunkReader()
    reader.receive(write_message(2, Message(chunks.SET_CHUNK_SIZE, 0, 0, struct.pack(">I", CHUNK_SIZE))))
    return [message for unit in units for message in reader.receive(stream.write(unit))]


def told(messages: list[Message]) -> list[tuple[str, int]]:
    return [(_name(message), message.timestamp) for message in messages]


def _name(message: Message) -> str:
    if message.type_id == chunks.DATA_AMF0:
        properties = decode(message.body)[2]
        assert isinstance(properties, dict)
        return f"metadata {properties.get('width', 0):g}"
    return {SOUND.tag: "aac", SMALL.tag: "small", LARGE.tag: "large"}.get(
        message.body, message.body.decode("latin-1")[-3:]
    )


def test_it_begins_with_headers_and_a_key_frame() -> None:
    messages = sent(sound(-30), picture(-10), sound(-7), key(0), sound(16), picture(40), sound(39))
    assert told(messages) == [
        ("metadata 320", 0),
        ("small", 0),
        ("aac", 0),
        ("key", 0),
        ("aac", 16),
        ("pic", 40),
        ("aac", 39),
    ]


def test_sound_alone_begins_at_once() -> None:
    for options in ({"expected": False}, {"pictures": False}):
        messages = sent(sound(3), picture(5), sound(26), **options)
        assert told(messages) == [("metadata 0", 0), ("aac", 0), ("aac", 0), ("aac", 23)]


def past(first_ms: int) -> list[Unit]:
    return [
        replace(unit, past=True) for unit in (key(first_ms), picture(first_ms + 1), picture(first_ms + 2))
    ]


def test_pictures_of_the_past_let_a_connection_begin() -> None:
    messages = told(sent(picture(-5), *past(0), picture(3), sound(4)))
    assert messages[3:] == [("key", 0), ("pic", 1), ("pic", 2), ("pic", 3), ("aac", 4)]


def test_pictures_of_the_past_are_nothing_to_who_has_begun() -> None:
    messages = told(sent(key(0), *past(20), picture(40)))
    assert messages[3:] == [("key", 0), ("pic", 40)]


def test_pictures_that_do_not_come_are_waited_for_a_little() -> None:
    messages = sent(*(sound(n * 20) for n in range(120)))
    assert len(messages) == 2 + 45, "a second and a half of it were left out"
    assert messages[-1].timestamp == 44 * 20


def test_pictures_that_come_minutes_later() -> None:
    messages = sent(sound(0), sound(23), picture(200_000), key(200_040), sound(200_050), expected=False)
    assert told(messages)[-5:] == [
        ("aac", 23),
        ("metadata 320", 200_040),
        ("small", 200_040),
        ("key", 200_040),
        ("aac", 200_050),
    ]


def test_pictures_that_pause_and_return() -> None:
    messages = sent(key(0), picture(40), sound(60_000), picture(60_010), sound(60_023))
    assert told(messages)[4:] == [("pic", 40), ("aac", 60_000), ("pic", 60_010), ("aac", 60_023)]


def test_another_size_has_its_headers_first() -> None:
    messages = sent(key(0), picture(40), key(80, LARGE), picture(120, LARGE))
    assert told(messages)[5:] == [("metadata 640", 80), ("large", 80), ("key", 80), ("pic", 120)]


def test_sound_alone_never_has_pictures() -> None:
    assert [m.type_id for m in sent(key(0), sound(3), key(40), pictures=False)[1:]] == [8, 8]


def test_times_rise_strictly_on_each_track() -> None:
    messages = sent(key(0), *(picture(at) for at in (40, 40, 20, 40.4, 80, 70)), sound(5), sound(5), sound(4))
    for type_id in (chunks.VIDEO, chunks.AUDIO):
        stamps = [m.timestamp for m in messages if m.type_id == type_id][1:]
        assert all(a < b for a, b in pairwise(stamps))


@pytest.mark.parametrize("first_ms", [0xFFFFFF - 30, 0xFFFFFFFF - 30])
def test_times_may_begin_anywhere(first_ms: int) -> None:
    messages = sent(key(0), picture(40), picture(80), first_ms=first_ms)
    assert [m.timestamp for m in messages[-3:]] == [(first_ms + at) % (1 << 32) for at in (0, 40, 80)]


def link(*units: bytes) -> bytes:
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


class TestFlvVideo:
    def test_parameter_sets_go_into_the_headers_and_slices_stay(self) -> None:
        unit = FlvVideo().push(link(AUD, SPS, PPS, SEI, IDR), 7, key=True)
        assert unit is not None
        assert (unit.kind, unit.at_us, unit.key) == (TrackKind.VIDEO, 7, True)
        tag = parse_video_tag(unit.body)
        assert (tag.key, tag.packet_type, tag.composition_time_ms) == (True, PacketType.FRAME, 0)
        assert tag.data == link(SEI, IDR)
        assert unit.headers is not None
        assert (unit.headers.width, unit.headers.height) == (320, 240)
        header = parse_video_tag(unit.headers.tag)
        assert header.packet_type is PacketType.CONFIG
        assert AvcConfig.parse(header.data) == AvcConfig((SPS,), (PPS,), 4)

    def test_pictures_between_key_frames_are_untouched(self) -> None:
        video = FlvVideo()
        first = video.push(link(SPS, PPS, IDR), 0, key=True)
        second = video.push(link(SEI, SLICE), 40, key=False)
        assert first is not None
        assert second is not None
        assert parse_video_tag(second.body).data == link(SEI, SLICE)
        assert second.headers is first.headers

    def test_headers_change_only_with_the_sets(self) -> None:
        video = FlvVideo()
        headers = [
            unit.headers
            for sps in (SPS, SPS, OTHER_SPS, OTHER_SPS)
            if (unit := video.push(link(sps, PPS, IDR), 0, key=True)) is not None
        ]
        assert headers[0] is headers[1]
        assert headers[2] is headers[3]
        assert headers[0] != headers[2]
        assert headers[2] is not None
        assert AvcConfig.parse(parse_video_tag(headers[2].tag).data).sps == (OTHER_SPS,)

    def test_a_set_of_another_publisher_does_not_linger(self) -> None:
        video = FlvVideo()
        video.push(link(SPS, PPS, IDR), 0, key=True)
        other = bytes((*OTHER_SPS[:4], 0x4F, *OTHER_SPS[5:]))  # seq_parameter_set_id 1
        unit = video.push(link(other, PPS, IDR), 0, key=True)
        assert unit is not None
        assert unit.headers is not None
        assert AvcConfig.parse(parse_video_tag(unit.headers.tag).data).sps == (other,)

    @pytest.mark.parametrize("payload", [b"", link(SPS, PPS), link(AUD), link(IDR)], ids=repr)
    def test_what_is_of_no_use_is_left_out(self, payload: bytes) -> None:
        video = FlvVideo()
        assert video.push(payload, 0, key=False) is None
        assert video.dropped == 0

    def test_damage_is_counted(self) -> None:
        video = FlvVideo()
        assert video.push(b"\0\0\0\x09x", 0, key=True) is None
        assert video.dropped == 1

    def test_a_size_that_cannot_be_read_costs_nothing_but_the_size(self) -> None:
        unit = FlvVideo().push(link(b"\x67\x42\xc0\x0d\xff", PPS, IDR), 0, key=True)
        assert unit is not None
        assert unit.headers is not None
        assert (unit.headers.width, unit.headers.height) == (0, 0)


def test_metadata_is_addressed_to_the_server() -> None:
    (metadata, *_) = sent(key(0))
    values: list[Value] = decode(metadata.body)
    assert values[:2] == ["@setDataFrame", "onMetaData"]
