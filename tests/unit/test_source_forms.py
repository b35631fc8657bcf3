"""What sources do to bytes and times before anyone else sees them."""

import io

import pytest

from sluice.core.errors import SourceError
from sluice.media.packets import Packet, TrackKind
from sluice.media.source.avc import H264Units
from sluice.media.source.hls_forms import is_torn
from sluice.media.source.sniff import Content, SniffedFile, content_of, refuse_foreign
from sluice.media.source.timeline import Timeline
from sluice.wire.h264 import AvcConfig

SPS, OTHER_SPS = bytes.fromhex("6742c00d8c8d40a0fd80"), bytes.fromhex("6742c01e8c8d40a0fd81")
PPS, IDR, AUD = bytes.fromhex("68ce3c80"), b"\x65\x88\x84\x01", b"\x09\xf0"


def annexb(*units: bytes) -> bytes:
    return b"".join(b"\0\0\0\1" + unit for unit in units)


def video(data: bytes, at_us: int = 0) -> Packet:
    return Packet(TrackKind.VIDEO, data, at_us, at_us, True)


class TestH264Units:
    def test_units_get_lengths_and_the_sets_a_record(self) -> None:
        form = H264Units(annexb(SPS, PPS))
        config = AvcConfig.parse(form.record())
        assert (config.sps, config.pps, config.length_size) == ((SPS,), (PPS,), 4)
        packet = video(annexb(AUD, SPS, PPS, IDR))
        assert form.convert(packet)
        assert packet.data == b"".join(len(u).to_bytes(4, "big") + u for u in (SPS, PPS, IDR))
        assert packet.extradata is None

    def test_sets_that_change_go_with_their_packet(self) -> None:
        form = H264Units(annexb(SPS, PPS))
        packet = video(annexb(OTHER_SPS, PPS, IDR))
        assert form.convert(packet)
        assert packet.extradata is not None
        assert AvcConfig.parse(packet.extradata).sps == (OTHER_SPS,)

    def test_sets_that_come_later_are_found(self) -> None:
        form = H264Units(b"")
        assert form.record() == b""
        assert form.convert(video(annexb(SPS, PPS, IDR)))
        assert AvcConfig.parse(form.record()).sps == (SPS,)

    def test_what_is_no_h264_is_told(self) -> None:
        form = H264Units(annexb(SPS, PPS))
        assert not form.convert(video(b"no start code"))
        assert not form.convert(video(annexb(AUD)))

    def test_a_whole_record_leaves_the_data_alone(self) -> None:
        record = H264Units(annexb(SPS, PPS)).record()
        form, packet = H264Units(record, "avc1"), video(b"whatever")
        assert form.convert(packet)
        assert (packet.data, form.record()) == (b"whatever", record)

    @pytest.mark.parametrize(
        ("record", "tag"), [(b"\x01\x42\xc0\x0d\xff\xe0\0", "avc3"), (b"\x01\x42", "avc1")]
    )
    def test_sets_that_the_record_lacks_are_found_in_the_stream(self, record: bytes, tag: str) -> None:
        form = H264Units(record, tag)
        data = b"".join(len(unit).to_bytes(4, "big") + unit for unit in (SPS, PPS, IDR))
        assert form.record() == b""
        assert form.convert(video(data))
        assert AvcConfig.parse(form.record()).sps == (SPS,)


class TestTimeline:
    @staticmethod
    def _place(clock: Timeline, kind: TrackKind, dts_us: int) -> int:
        packet = Packet(kind, b"", dts_us, dts_us + 5, True)
        clock.place(packet)
        assert packet.pts_us == packet.dts_us + 5
        return packet.dts_us

    def test_true_times_stay(self) -> None:
        clock = Timeline()
        times = [0, 40_000, 80_000, 5_000_000, 4_990_000]
        assert [self._place(clock, TrackKind.VIDEO, t) for t in times] == times

    @pytest.mark.parametrize("jump_us", [-(2**33) * 100 // 9, 3_600_000_000])
    def test_both_tracks_take_a_jump_together(self, jump_us: int) -> None:
        clock = Timeline()
        placed = []
        for n in range(100):
            for kind, late_us in ((TrackKind.VIDEO, 0), (TrackKind.AUDIO, 200_000)):
                at_us = n * 40_000 - late_us
                jumped = at_us >= 2_000_000
                placed.append((kind, at_us, self._place(clock, kind, at_us + jump_us * jumped)))
        assert max(abs(got - at_us) for _, at_us, got in placed) == 0

    def test_a_track_that_pauses_comes_back_where_the_others_are(self) -> None:
        clock = Timeline()
        self._place(clock, TrackKind.VIDEO, 0)
        for at_us in range(0, 30_000_000, 20_000):
            self._place(clock, TrackKind.AUDIO, at_us)
        assert self._place(clock, TrackKind.VIDEO, 30_000_000) == 30_000_000

    def test_a_track_with_a_clock_of_its_own_keeps_it_over_a_pause(self) -> None:
        clock = Timeline()
        ahead_us = 60_000_000
        for at_us in range(0, 25_000_000, 20_000):
            if at_us < 5_000_000:
                assert self._place(clock, TrackKind.VIDEO, at_us) == at_us
            assert self._place(clock, TrackKind.AUDIO, at_us + ahead_us) == pytest.approx(at_us, abs=20_000)
        assert self._place(clock, TrackKind.VIDEO, 25_000_000) == 25_000_000


@pytest.mark.parametrize(
    ("head", "content"),
    [
        (b"#EXTM3U\n", Content.M3U),
        (b"\xef\xbb\xbf\r\n#EXTM3U\n", Content.M3U),
        (b"[playlist]\nFile1=http://h/a", Content.PLS),
        (b"\r\n[Playlist]\r\n", Content.PLS),
        (b'<?xml version="1.0"?><playlist version="1" xmlns="http://xspf.org/ns/0/">', Content.XSPF),
        (b'<?xml version="1.0"?>\n<!-- x -->\n<MPD xmlns="', Content.DASH),
        (b'<?xml version="1.0"?><d:MPD xmlns:d="urn:mpeg:dash:schema:mpd:2011">', Content.DASH),
        (b"<!DOCTYPE html>", Content.HTML),
        (b"<html><!-- our <mpdplayer> --></html>", Content.HTML),
        (b"\n  <HTML>", Content.HTML),
        (b"\0\0\0\x20ftypisom", Content.MP4),
        (b"FLV\x01\x05", Content.OTHER),
        (b"G@\0\x10", Content.OTHER),
        (b"", Content.EMPTY),
        (b" \r\n", Content.EMPTY),
        (b'{"error": "expired"}', Content.JSON),
        (b'[{"a": 1}]', Content.JSON),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', Content.XML),
        (b"<svg xmlns=", Content.XML),
        (b"404 page not found", Content.TEXT),
        ("文件不存在".encode(), Content.TEXT),
        (b"http://h/song.mp3\n", Content.TEXT),
        (b"\x89PNG\r\n\x1a\n", Content.IMAGE),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", Content.IMAGE),
        (b"RIFF\x10\0\0\0WEBPVP8 ", Content.IMAGE),
        (b"\0\0\0\x20ftypavif", Content.IMAGE),
        (b"%PDF-1.7", Content.PDF),
        (b"PK\x03\x04", Content.ARCHIVE),
        (b"MThd\0\0\0\6", Content.NOTES),
        (b"\xff\xfb\x90\x64", Content.OTHER),
        (b"RIFF\x24\0\0\0WAVEfmt ", Content.OTHER),
    ],
)
def test_the_content_tells_what_it_is(head: bytes, content: Content) -> None:
    assert content_of(head) is content


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (Content.HTML, "an HTML page, .*not of a page"),
        (Content.JSON, "JSON, .*error message"),
        (Content.IMAGE, "an image"),
        (Content.PDF, "a PDF document"),
        (Content.TEXT, "text"),
        (Content.EMPTY, "an empty body"),
    ],
)
def test_what_is_no_media_is_refused_by_its_name(content: Content, named: str) -> None:
    refuse_foreign(Content.OTHER)
    with pytest.raises(SourceError, match=f"the server answered with {named}") as caught:
        refuse_foreign(content)
    assert caught.value.transient == (content is Content.EMPTY), "what is not there yet may come"


def test_a_sniffed_file_reads_from_its_beginning_and_seeks() -> None:
    body = bytes(range(200))
    file = SniffedFile(io.BytesIO(body))
    assert file.head
    assert file.read(4) + file.read(5000) + file.read(5000) == body[: file.tell()]
    assert file.seek(3) == 3
    assert file.read(2) == body[3:5]
    assert file.seek(0, io.SEEK_END) == 200
    assert file.seek(-10, io.SEEK_CUR) == 190
    assert file.read(50) == body[190:]
    assert file.read(1) == b""


def _ts(pid: int, *, begins: bool = False, payload: bool = True) -> bytes:
    """A packet of a transport stream (ISO/IEC 13818-1 2.4.3.2)."""
    head = bytes([0x47, begins << 6 | pid >> 8, pid & 0xFF, 0x10 if payload else 0x20])
    return head + bytes(184)


@pytest.mark.parametrize(
    ("packets", "torn"),
    [
        ([], False),
        ([_ts(0, begins=True), _ts(32, begins=True), _ts(256, begins=True), _ts(256)], False),
        ([_ts(0, begins=True), _ts(32, begins=True), _ts(256), _ts(256, begins=True)], True),
        ([_ts(256, begins=True), _ts(257)], True),
        ([_ts(256, begins=True), _ts(0x1FFF), _ts(257, payload=False), _ts(256)], False),
        ([b"\0\0\0\1" + _ts(256, begins=True)], True),
    ],
    ids=["nothing", "whole", "video goes on", "sound goes on", "nothing in it", "packets of 192 bytes"],
)
def test_a_segment_that_begins_in_mid_packet(packets: list[bytes], torn: bool) -> None:
    assert is_torn(b"".join(packets)) is torn
