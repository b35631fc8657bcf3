"""The RTMP client against a scripted server in memory: golden bytes, chunk forms, time, refusals, fuzz."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.core.limits import MOST_RTMP_CHUNK_STREAMS
from sluice.wire import rtmp_chunks as chunks
from sluice.wire.amf0 import EcmaArray, Value, decode, encode
from sluice.wire.rtmp import (
    AudioMessage,
    ClientState,
    DataMessage,
    Event,
    Rejected,
    Started,
    Step,
    StreamEnded,
    StreamNotFound,
    VideoMessage,
)
from sluice.wire.rtmp_chunks import ChunkReader, Message, RtmpError, write_message
from sluice.wire.rtmp_play import PlayMachine

_RANDOM = bytes(range(256)) * 5 + bytes(248)
_S1 = bytes(8) + b"\x5a" * 1528
_HANDSHAKE = b"\x03" + _S1 + bytes(1536)


def _machine() -> PlayMachine:
    return PlayMachine(app="live", stream="cam?k=1", tc_url="rtmp://example.com/live", random=_RANDOM)


def _command(*values: Value, stream_id: int = 0) -> bytes:
    return write_message(3, Message(chunks.COMMAND_AMF0, stream_id, 0, encode(*values)))


def _control(type_id: int, body: bytes) -> bytes:
    return write_message(2, Message(type_id, 0, 0, body))


def _status(code: str, level: str = "status") -> bytes:
    info: Value = {"level": level, "code": code, "description": f"about {code}"}
    return _command("onStatus", 0.0, None, info, stream_id=1)


_CONNECTED = _command("_result", 1.0, {"fmsVer": "FMS/3,0,1,123"}, {"code": "NetConnection.Connect.Success"})
_CREATED = _command("_result", 2.0, None, 1.0)
_STARTED = _status("NetStream.Play.Start")
_SCRIPT = (_HANDSHAKE, _CONNECTED, _CREATED, _STARTED)


def _playing(machine: PlayMachine | None = None) -> PlayMachine:
    machine = machine or _machine()
    for part in _SCRIPT:
        machine.receive(part)
    machine.to_send()
    assert machine.state is ClientState.PLAYING
    return machine


def _sent(machine: PlayMachine) -> list[Message]:
    return ChunkReader().receive(machine.to_send())


def test_golden_handshake_and_connect() -> None:
    machine = _machine()
    assert machine.to_send() == b"\x03" + bytes(8) + _RANDOM
    assert machine.receive(_HANDSHAKE) == [Step("handshake")]
    sent = machine.to_send()
    assert sent[:1536] == _S1
    connect = (
        b"\x02\x00\x07connect\x00" + struct.pack(">d", 1) + b"\x03"
        b"\x00\x03app\x02\x00\x04live"
        b"\x00\x08flashVer\x02\x00\x0dLNX 9,0,124,2"
        b"\x00\x05tcUrl\x02\x00\x17rtmp://example.com/live"
        b"\x00\x04fpad\x01\x00"
        b"\x00\x0ccapabilities\x00" + struct.pack(">d", 15)
        + b"\x00\x0baudioCodecs\x00" + struct.pack(">d", 0x0FFF)
        + b"\x00\x0bvideoCodecs\x00" + struct.pack(">d", 0xFF)
        + b"\x00\x0dvideoFunction\x00" + struct.pack(">d", 1)
        + b"\x00\x00\x09"
    )  # fmt: skip
    header = b"\x03\x00\x00\x00" + len(connect).to_bytes(3, "big") + b"\x14\x00\x00\x00\x00"
    assert sent[1536:] == header + connect[:128] + b"\xc3" + connect[128:]


def test_the_steps_to_playing() -> None:
    machine = _machine()
    machine.to_send()
    events = [machine.receive(part) for part in _SCRIPT]
    assert events == [[Step("handshake")], [Step("connect")], [Step("createStream")], [Started()]]


def test_what_is_sent_after_connect() -> None:
    machine = _machine()
    machine.receive(_HANDSHAKE)
    machine.to_send()
    machine.receive(_CONNECTED)
    assert [decode(message.body) for message in _sent(machine)] == [["createStream", 2.0, None]]
    machine.receive(_CREATED)
    buffer_length, play = _sent(machine)
    assert buffer_length.body == struct.pack(">HII", 3, 1, 3000)
    assert (play.stream_id, decode(play.body)) == (1, ["play", 3.0, None, "cam?k=1"])


def test_media_and_metadata() -> None:
    machine = _playing()
    data = write_message(5, Message(chunks.DATA_AMF0, 1, 0, encode("onMetaData", EcmaArray(width=640.0))))
    data += write_message(6, Message(chunks.VIDEO, 1, 40, b"\x17video"))
    data += write_message(4, Message(chunks.AUDIO, 1, 43, b"\xafaudio"))
    assert machine.receive(data) == [
        DataMessage("onMetaData", [{"width": 640.0}]),
        VideoMessage(40, b"\x17video"),
        AudioMessage(43, b"\xafaudio"),
    ]


def test_media_without_a_status_counts_as_started() -> None:
    machine = _machine()
    for part in _SCRIPT[:3]:
        machine.receive(part)
    media = write_message(6, Message(chunks.VIDEO, 1, 7, b"v"))
    assert machine.receive(media) == [Started(), VideoMessage(7, b"v")]


def test_metadata_that_cannot_be_read_costs_nothing() -> None:
    machine = _playing()
    assert machine.receive(write_message(5, Message(chunks.DATA_AMF0, 1, 0, b"\x07\x00"))) == []
    assert machine.state is ClientState.PLAYING


def test_aggregates_are_taken_apart() -> None:
    def tag(type_id: int, time: int, body: bytes) -> bytes:
        stamp = (time & 0xFFFFFF).to_bytes(3, "big") + bytes((time >> 24,))
        return bytes((type_id,)) + len(body).to_bytes(3, "big") + stamp + bytes(3) + body + bytes(4)

    body = tag(9, 0x1000000, b"v") + tag(8, 0x1000000 + 20, b"a") + tag(18, 0x1000000, b"d")
    events = _playing().receive(write_message(6, Message(chunks.AGGREGATE, 1, 500, body)))
    assert events == [VideoMessage(500, b"v"), AudioMessage(520, b"a")]
    for size in (5, 11, len(body) - 6):
        with pytest.raises(RtmpError, match="aggregate"):
            _playing().receive(write_message(6, Message(chunks.AGGREGATE, 1, 500, body[:size])))


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (
            [_status("NetStream.Play.StreamNotFound", "error")],
            StreamNotFound("NetStream.Play.StreamNotFound", "about NetStream.Play.StreamNotFound"),
        ),
        (
            [_status("NetStream.Play.Failed", "error")],
            Rejected("NetStream.Play.Failed", "about NetStream.Play.Failed"),
        ),
        (
            [_STARTED, _status("NetStream.Play.UnpublishNotify")],
            StreamEnded("NetStream.Play.UnpublishNotify"),
        ),
        ([_STARTED, _status("NetStream.Play.Stop")], StreamEnded("NetStream.Play.Stop")),
        ([_STARTED, _control(chunks.USER_CONTROL, struct.pack(">HI", 1, 1))], StreamEnded("StreamEOF")),
        ([_STARTED, _command("close", 0.0, None)], StreamEnded("close")),
    ],
)
def test_ends(answers: list[bytes], expected: Event) -> None:
    machine = _machine()
    for part in (*_SCRIPT[:3], *answers[:-1]):
        machine.receive(part)
    assert machine.receive(answers[-1] + _STARTED) == [expected]
    assert machine.state is ClientState.OVER
    assert machine.receive(b"anything") == []


def test_connect_refused() -> None:
    machine = _machine()
    machine.receive(_HANDSHAKE)
    refusal: Value = {
        "level": "error",
        "code": "NetConnection.Connect.Rejected",
        "description": "no such app",
    }
    assert machine.receive(_command("_error", 1.0, None, refusal)) == [
        Rejected("NetConnection.Connect.Rejected", "no such app")
    ]


@pytest.mark.parametrize(
    "complaint",
    [
        _command("_error", 1.0, None, {"description": "late"}),
        _status("NetStream.Record.Failed", "error"),
        _status("NetConnection.Call.Failed", "error"),
        _status("NetStream.Publish.BadName", "error"),
    ],
)
def test_errors_that_refuse_nothing(complaint: bytes) -> None:
    machine = _machine()
    for part in _SCRIPT:
        machine.receive(part)
        if part is not _HANDSHAKE:
            assert machine.receive(complaint) == []
    assert machine.state is ClientState.PLAYING


@pytest.mark.parametrize("granted", [2, 3])
def test_an_error_to_none_of_ours_while_one_thing_is_waited_for(granted: int) -> None:
    machine = _machine()
    for part in _SCRIPT[:granted]:
        machine.receive(part)
    assert machine.receive(_command("_error", 0.0, None, {"code": "no"})) == [Rejected("no", "")]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "does not speak RTMP"),
        (_HANDSHAKE + _command(1.0), "has no name"),
        (_HANDSHAKE + write_message(3, Message(20, 0, 0, b"\x07")), "cannot be read"),
        (_HANDSHAKE + _CONNECTED + _command("_result", 2.0, None, "x"), "no stream id"),
        (_HANDSHAKE + _control(chunks.SET_CHUNK_SIZE, bytes(4)), "chunk size of 0"),
        (_HANDSHAKE + _control(chunks.SET_CHUNK_SIZE, b"\xff" * 4), "chunk size"),
        (_HANDSHAKE + _control(chunks.WINDOW_ACK_SIZE, b"\0"), "cut off"),
        (_HANDSHAKE + _control(chunks.ABORT, b"\0"), "cut off"),
        (_HANDSHAKE + b"\xc7", "never sent"),
        (_HANDSHAKE + b"\x04" + bytes(3) + b"\0\2\0\x09" + bytes(4 + 128) + b"\x04" + bytes(11), "complete"),
    ],
)
def test_broken_protocol(data: bytes, why: str) -> None:
    with pytest.raises(RtmpError, match=why):
        _machine().receive(data)


def test_ping_window_and_bandwidth() -> None:
    machine = _playing()
    machine.receive(_control(chunks.USER_CONTROL, struct.pack(">HI", 6, 0xDEADBEEF)))
    machine.receive(_control(chunks.SET_PEER_BANDWIDTH, struct.pack(">IB", 5_000_000, 2)))
    pong, window = _sent(machine)
    assert pong.body == struct.pack(">HI", 7, 0xDEADBEEF)
    assert (window.type_id, window.body) == (chunks.WINDOW_ACK_SIZE, struct.pack(">I", 5_000_000))


def test_received_bytes_are_acknowledged() -> None:
    machine = _machine()
    received = b"".join(_SCRIPT) + _control(chunks.WINDOW_ACK_SIZE, struct.pack(">I", 20_000))
    for start in range(0, len(received), 1000):
        machine.receive(received[start : start + 1000])
    machine.to_send()
    media = write_message(6, Message(chunks.VIDEO, 1, 0, bytes(12_000)))
    machine.receive(media)
    (acknowledgement,) = _sent(machine)
    assert acknowledgement.type_id == chunks.ACKNOWLEDGEMENT
    assert acknowledgement.body == struct.pack(">I", len(received) + len(media))


def test_unknown_commands_and_messages_are_passed_over() -> None:
    machine = _playing()
    data = _command("onBWDone", 0.0, None) + _control(chunks.ACKNOWLEDGEMENT, bytes(4))
    data += write_message(5, Message(77, 0, 0, b"?")) + _status("NetStream.Play.Reset")
    assert machine.receive(data) == []


class TestChunks:
    def test_all_four_header_types(self) -> None:
        first = b"\x04" + b"\0\0\x64" + b"\0\0\1" + b"\x09" + b"\1\0\0\0" + b"a"
        second = b"\x44" + b"\0\0\x0a" + b"\0\0\2" + b"\x08" + b"bb"
        third = b"\x84" + b"\0\0\x14" + b"cc"
        fourth = b"\xc4" + b"dd"
        assert ChunkReader().receive(first + second + third + fourth) == [
            Message(9, 1, 100, b"a"),
            Message(8, 1, 110, b"bb"),
            Message(8, 1, 130, b"cc"),
            Message(8, 1, 150, b"dd"),
        ]

    def test_a_repeated_type_0_repeats_its_timestamp_as_a_delta(self) -> None:
        first = b"\x04" + b"\0\0\x15" + b"\0\0\1" + b"\x08" + b"\1\0\0\0" + b"a"
        assert [m.timestamp for m in ChunkReader().receive(first + b"\xc4b")] == [21, 42]

    @pytest.mark.parametrize(
        ("basic", "again"),
        [(b"\x04", b"\xc4"), (b"\x00\x05", b"\xc0\x05"), (b"\x01\x05\x02", b"\xc1\x05\x02")],
    )
    def test_interleaved_chunk_streams_with_all_sizes_of_ids(self, basic: bytes, again: bytes) -> None:
        header = bytes(3) + b"\0\0\xc8" + b"\x09" + b"\1\0\0\0"
        other = write_message(6, Message(8, 1, 5, b"between"))
        data = basic + header + b"x" * 128 + other + again + b"y" * 72
        assert ChunkReader().receive(data) == [
            Message(8, 1, 5, b"between"),
            Message(9, 1, 0, b"x" * 128 + b"y" * 72),
        ]

    @pytest.mark.parametrize("repeated", [True, False], ids=["field repeated", "field left out"])
    def test_extended_timestamps(self, repeated: bool) -> None:
        stamp = b"\x01\x00\x00\x00"
        header = b"\x04" + b"\xff\xff\xff" + b"\0\0\xc8" + b"\x09" + b"\1\0\0\0" + stamp
        data = header + b"x" * 128 + b"\xc4" + (stamp if repeated else b"") + b"y" * 72
        assert ChunkReader().receive(data) == [Message(9, 1, 0x1000000, b"x" * 128 + b"y" * 72)]

    def test_an_extended_delta(self) -> None:
        data = write_message(4, Message(9, 1, 10, b"a"))
        data += b"\x84\xff\xff\xff" + struct.pack(">I", 0x2000000) + b"b"
        data += b"\xc4" + struct.pack(">I", 0x2000000) + b"c"
        assert [m.timestamp for m in ChunkReader().receive(data)] == [10, 10 + 0x2000000, 10 + 2 * 0x2000000]

    def test_chunk_size_counts_from_the_next_chunk_on(self) -> None:
        big = Message(9, 1, 0, bytes(5000))
        data = _control(chunks.SET_CHUNK_SIZE, struct.pack(">I", 4096)) + write_message(4, big, 4096)
        assert ChunkReader().receive(data)[1:] == [big]

    def test_abort_drops_what_is_unfinished(self) -> None:
        begun = b"\x04" + bytes(3) + b"\0\0\xc8" + b"\x09" + bytes(4) + bytes(128)
        whole = Message(9, 1, 7, b"whole")
        data = begun + _control(chunks.ABORT, struct.pack(">I", 4)) + write_message(4, whole)
        assert ChunkReader().receive(data)[1:] == [whole]

    def test_an_empty_message(self) -> None:
        assert ChunkReader().receive(write_message(4, Message(9, 1, 3, b""))) == [Message(9, 1, 3, b"")]

    def test_what_is_held_is_bounded(self) -> None:
        begun = bytes(3) + b"\xff\xff\xff" + b"\x09" + bytes(4) + bytes(1 << 23)
        reader = ChunkReader()
        reader.receive(_control(chunks.SET_CHUNK_SIZE, struct.pack(">I", 1 << 23)))
        reader.receive(b"\x04" + begun + b"\x05" + begun)
        with pytest.raises(RtmpError, match="bytes of unfinished"):
            reader.receive(b"\x06" + begun)

    def test_the_number_of_chunk_streams_is_bounded(self) -> None:
        data = [
            b"\x01" + number.to_bytes(2, "little") + bytes(11)
            for number in range(MOST_RTMP_CHUNK_STREAMS + 1)
        ]
        reader = ChunkReader()
        reader.receive(b"".join(data[:-1]))
        with pytest.raises(RtmpError, match="chunk streams"):
            reader.receive(data[-1])

    @given(st.integers(0, 0xFFFFFFFF), st.binary(max_size=700), st.integers(1, 600))
    def test_writer_and_reader_agree(self, timestamp: int, body: bytes, chunk_size: int) -> None:
        message = Message(9, 1, timestamp, body)
        data = _control(chunks.SET_CHUNK_SIZE, struct.pack(">I", chunk_size))
        assert ChunkReader().receive(data + write_message(4, message, chunk_size))[1:] == [message]


class TestTime:
    @staticmethod
    def _times(*stamps: int) -> list[int]:
        machine = _playing()
        data = b"".join(write_message(6, Message(chunks.VIDEO, 1, stamp, b"v")) for stamp in stamps)
        return [event.timestamp_ms for event in machine.receive(data) if isinstance(event, VideoMessage)]

    def test_the_wrap_of_32_bits(self) -> None:
        wrap = 1 << 32
        assert self._times(wrap - 40, wrap - 20, 0, 20) == [wrap - 40, wrap - 20, wrap, wrap + 20]

    def test_the_other_track_may_be_late_at_the_wrap(self) -> None:
        wrap = 1 << 32
        assert self._times(wrap - 5, 10, wrap - 3, 30) == [wrap - 5, wrap + 10, wrap - 3, wrap + 30]

    def test_the_passage_to_extended_timestamps(self) -> None:
        assert self._times(0xFFFFF0, 0xFFFFFF, 0x1000010) == [0xFFFFF0, 0xFFFFFF, 0x1000010]

    def test_a_step_back_is_kept(self) -> None:
        assert self._times(5000, 100) == [5000, 100]

    def test_a_header_at_0_before_old_media(self) -> None:
        assert self._times(0, 3_000_000_000, 3_000_000_040) == [0, 3_000_000_000, 3_000_000_040]


_SESSION = b"".join(
    (
        *_SCRIPT[:3],
        _control(chunks.SET_CHUNK_SIZE, struct.pack(">I", 300)),
        _STARTED,
        write_message(6, Message(chunks.VIDEO, 1, 0x1000000, bytes(1000)), 300),
        write_message(4, Message(chunks.AUDIO, 1, 20, b"audio"), 300),
        b"\x44\x00\x00\x17\x00\x00\x02\x08aa\xc4bb",
        _status("NetStream.Play.Stop"),
    )
)


@settings(max_examples=50)
@given(st.lists(st.integers(0, len(_SESSION)), max_size=12))
def test_any_split_gives_the_same_events(cuts: list[int]) -> None:
    whole, parts = _machine(), _machine()
    expected = whole.receive(_SESSION)
    assert len(expected) == 9
    edges = [0, *sorted(cuts), len(_SESSION)]
    events = [event for a, b in pairwise(edges) for event in parts.receive(_SESSION[a:b])]
    assert events == expected
    assert parts.to_send() == whole.to_send()


def test_byte_by_byte() -> None:
    machine, expected = _machine(), _machine().receive(_SESSION)
    assert [event for byte in _SESSION for event in machine.receive(bytes((byte,)))] == expected


@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_nothing_else(data: bytes) -> None:
    for before in (b"", b"\x03", _HANDSHAKE, _HANDSHAKE + _CONNECTED + _CREATED):
        try:
            _machine().receive(before + data)
        except RtmpError:
            continue


@given(st.sampled_from([1, 2, 3, 4, 5, 6, 8, 9, 18, 20, 22]), st.binary(max_size=100))
def test_arbitrary_messages_raise_nothing_else(type_id: int, body: bytes) -> None:
    try:
        _playing().receive(write_message(3, Message(type_id, 1, 0, body)))
    except RtmpError:
        return


def test_the_random_bytes_must_have_their_size() -> None:
    with pytest.raises(ValueError, match="1528"):
        PlayMachine(app="a", stream="b", tc_url="rtmp://h/a", random=b"")
