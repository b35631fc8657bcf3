"""The publishing RTMP client and a scripted server in memory: golden bytes, steps, refusals, time, fuzz."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.wire import rtmp_chunks as chunks
from sluice.wire.amf0 import Value, decode, encode
from sluice.wire.rtmp import ClientState, Event, Rejected, Started, Step, StreamEnded
from sluice.wire.rtmp_chunks import ChunkReader, Message, RtmpError, write_message
from sluice.wire.rtmp_publish import CHUNK_SIZE, PublishMachine

_RANDOM = bytes(range(256)) * 5 + bytes(248)
_HANDSHAKE = b"\x03" + bytes(8) + b"\x5a" * 1528 + bytes(1536)
_KEY = "cam?auth=1&x=/2"


def _machine() -> PublishMachine:
    return PublishMachine(app="live", stream=_KEY, tc_url="rtmp://example.com/live", random=_RANDOM)


def _command(*values: Value) -> bytes:
    return write_message(3, Message(chunks.COMMAND_AMF0, 0, 0, encode(*values)))


def _status(code: str, level: str = "status", name: str = "onStatus") -> bytes:
    return _command(name, 0.0, None, {"level": level, "code": code, "description": f"about {code}"})


_CONNECTED = _command("_result", 1.0, {"fmsVer": "FMS/3,0,1,123"}, {"code": "NetConnection.Connect.Success"})
_CREATED = _command("_result", 4.0, None, 7.0)
_STARTED = _status("NetStream.Publish.Start")
_SCRIPT = (_HANDSHAKE, _CONNECTED, _CREATED, _STARTED)


def _publishing() -> PublishMachine:
    machine = _machine()
    for part in _SCRIPT:
        machine.receive(part)
    machine.to_send()
    assert machine.state is ClientState.PUBLISHING
    return machine


class _Server:
    """Reads what the client sends as a server would."""

    def __init__(self) -> None:
        self._chunks = ChunkReader()

    def read(self, machine: PublishMachine) -> list[Message]:
        return self._chunks.receive(machine.to_send())


def test_golden_connect() -> None:
    machine = _machine()
    assert machine.to_send() == b"\x03" + bytes(8) + _RANDOM
    assert machine.receive(_HANDSHAKE) == [Step("handshake")]
    sent = machine.to_send()
    assert sent[:1536] == _HANDSHAKE[1:1537]
    connect = (
        b"\x02\x00\x07connect\x00" + struct.pack(">d", 1) + b"\x03"
        b"\x00\x03app\x02\x00\x04live"
        b"\x00\x04type\x02\x00\x0anonprivate"
        b"\x00\x08flashVer\x02\x00\x1dFMLE/3.0 (compatible; sluice)"
        b"\x00\x05tcUrl\x02\x00\x17rtmp://example.com/live"
        b"\x00\x00\x09"
    )  # fmt: skip
    header = b"\x03\x00\x00\x00" + len(connect).to_bytes(3, "big") + b"\x14\x00\x00\x00\x00"
    assert sent[1536:] == header + connect[:128] + b"\xc3" + connect[128:]


def test_the_steps_to_publishing() -> None:
    machine = _machine()
    events = [machine.receive(part) for part in _SCRIPT]
    assert events == [[Step("handshake")], [Step("connect")], [Step("createStream")], [Started()]]


def test_what_is_asked_for() -> None:
    machine, server = _machine(), _Server()
    machine.receive(_HANDSHAKE)
    machine.to_send()
    machine.receive(_CONNECTED)
    size, *commands = server.read(machine)
    assert (size.type_id, size.body) == (chunks.SET_CHUNK_SIZE, struct.pack(">I", CHUNK_SIZE))
    assert [decode(message.body) for message in commands] == [
        ["releaseStream", 2.0, None, _KEY],
        ["FCPublish", 3.0, None, _KEY],
        ["createStream", 4.0, None],
    ]
    machine.receive(_CREATED)
    (publish,) = server.read(machine)
    assert (publish.stream_id, decode(publish.body)) == (7, ["publish", 5.0, None, _KEY, "live"])
    machine.receive(_STARTED)
    machine.finish()
    assert [decode(message.body) for message in server.read(machine)] == [
        ["FCUnpublish", 6.0, None, _KEY],
        ["deleteStream", 7.0, None, 7.0],
    ]


def test_golden_media() -> None:
    machine = _publishing()
    assert machine.write_video(40, b"v" * 5) == b"\x06\x00\x00\x28\x00\x00\x05\x09\x07\0\0\0" + b"v" * 5
    assert machine.write_audio(0xFFFFFE, b"aa") == b"\x04\xff\xff\xfe\x00\x00\x02\x08\x07\0\0\0aa"
    metadata = machine.write_metadata(0, encode("onMetaData"))
    assert metadata == b"\x05\0\0\0\0\0\x1d\x12\x07\0\0\0\x02\0\x0d@setDataFrame\x02\0\x0aonMetaData"


@pytest.mark.parametrize("stamp", [0xFFFFFF, 0x1000000, 0xFFFFFFFF])
def test_golden_extended_timestamps(stamp: int) -> None:
    """Every chunk of a message carries it, those of type 3 too (5.3.1.3)."""
    machine, extended = _publishing(), stamp.to_bytes(4, "big")
    size = (2 * CHUNK_SIZE + 3).to_bytes(3, "big")
    assert machine.write_video(stamp, b"v" * (2 * CHUNK_SIZE + 3)) == (
        b"\x06\xff\xff\xff" + size + b"\x09\x07\0\0\0" + extended + b"v" * CHUNK_SIZE
        + b"\xc6" + extended + b"v" * CHUNK_SIZE
        + b"\xc6" + extended + b"vvv"
    )  # fmt: skip


def test_the_wrap_of_32_bits() -> None:
    assert _publishing().write_audio((1 << 32) + 20, b"a")[:4] == b"\x04\x00\x00\x14"


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (
            [_command("_error", 1.0, None, {"code": "NetConnection.Connect.Rejected", "description": "why"})],
            Rejected("NetConnection.Connect.Rejected", "why"),
        ),
        (
            [_status("NetConnection.Connect.InvalidApp", "error")],
            Rejected("NetConnection.Connect.InvalidApp", "about NetConnection.Connect.InvalidApp"),
        ),
        ([_CONNECTED, _command("_error", 4.0, None, {})], Rejected("_error", "")),
        ([_CONNECTED, _CREATED, _command("_error", 5.0, None, {})], Rejected("_error", "")),
        (
            [
                _command(
                    "_error", 0.0, None, {"code": "c", "ex": {"code": 302.0, "redirect": "rtmp://g/live"}}
                )
            ],
            Rejected("c", "", "rtmp://g/live"),
        ),
        (
            [_CONNECTED, _status("NetConnection.Connect.Closed", "error")],
            Rejected("NetConnection.Connect.Closed", "about NetConnection.Connect.Closed"),
        ),
        (
            [_CONNECTED, _CREATED, _status("NetStream.Publish.BadName", "error")],
            Rejected("NetStream.Publish.BadName", "about NetStream.Publish.BadName"),
        ),
        (  # some servers do not call it an error
            [_CONNECTED, _CREATED, _status("NetStream.Publish.Denied")],
            Rejected("NetStream.Publish.Denied", "about NetStream.Publish.Denied"),
        ),
        ([_CONNECTED, _command("close", 0.0, None)], StreamEnded("close")),
        (
            [_CONNECTED, _CREATED, _STARTED, _status("NetStream.Unpublish.Success")],
            StreamEnded("NetStream.Unpublish.Success"),
        ),
    ],
)
def test_refusals_and_ends(answers: list[bytes], expected: Event) -> None:
    machine = _machine()
    for part in (_HANDSHAKE, *answers[:-1]):
        machine.receive(part)
    assert machine.receive(answers[-1] + _STARTED) == [expected]
    assert machine.state is ClientState.OVER
    assert machine.receive(b"anything") == []
    machine.to_send()
    machine.finish()
    assert machine.to_send() == b"", "there is nothing to end"


def test_what_does_not_matter() -> None:
    machine = _machine()
    machine.receive(_HANDSHAKE + _CONNECTED)
    for refused in (2.0, 3.0):
        assert machine.receive(_command("_error", refused, None, {"level": "error"})) == []
    assert machine.receive(_command("onBWDone", 0.0, None) + _command("onFCPublish")) == []
    assert machine.receive(_status("NetStream.Publish.Start", name="onFCPublish")) == []
    assert machine.receive(_CREATED) == [Step("createStream")]
    assert machine.receive(_status("NetStream.Publish.Start", name="onFCPublish")) == []
    assert machine.receive(_STARTED) == [Started()]
    assert machine.receive(write_message(2, Message(chunks.ACKNOWLEDGEMENT, 0, 0, bytes(4)))) == []


_COMPLAINTS = [
    _command("_error", 0.0, None, {"description": "Method not found (releaseStream)."}),
    _command("_error", 99.0, None, {"level": "error", "code": "NetConnection.Call.Failed"}),
    _command("_error", 1.0, None, {}),
    _status("NetStream.Record.Failed", "error"),
    _status("NetStream.Record.NoAccess", "error"),
    _status("NetConnection.Call.Failed", "error"),
    _status("NetStream.Play.StreamNotFound", "error"),
    _status("NetStream.Publish.BadName", "error", "onFCPublish"),
]


@pytest.mark.parametrize("complaint", _COMPLAINTS)
def test_errors_that_refuse_nothing(complaint: bytes) -> None:
    machine = _machine()
    machine.receive(_HANDSHAKE)
    for granted in (_CONNECTED, _CREATED, _STARTED):
        assert len(machine.receive(granted)) == 1
        assert machine.receive(complaint) == []
    assert machine.state is ClientState.PUBLISHING


def test_a_complaint_is_kept() -> None:
    machine = _machine()
    machine.receive(_HANDSHAKE + _CONNECTED + _COMPLAINTS[0])
    assert machine.complaint == "Method not found (releaseStream)."


def test_an_early_status_of_the_stream_is_no_answer_to_publish() -> None:
    machine = _machine()
    machine.receive(_HANDSHAKE + _CONNECTED)
    assert machine.receive(_status("NetStream.Publish.BadName", "error")) == []
    assert machine.receive(_CREATED + _STARTED) == [Step("createStream"), Started()]


def test_transactions_that_do_not_fit() -> None:
    machine = _machine()
    connected = _command("_result", 0.0, None, {"code": "NetConnection.Connect.Success"})
    assert machine.receive(_HANDSHAKE + connected) == [Step("handshake"), Step("connect")]
    assert machine.receive(_command("_result", 77.0, None, None)) == []
    assert machine.receive(_command("_result", 77.0, None, 1.0)) == [Step("createStream")]


def test_pings_are_answered_while_publishing() -> None:
    machine, server = _publishing(), _Server()
    machine.receive(write_message(2, Message(chunks.USER_CONTROL, 0, 0, struct.pack(">HI", 6, 9))))
    (pong,) = server.read(machine)
    assert pong.body == struct.pack(">HI", 7, 9)


_MEDIA = st.tuples(st.sampled_from(["video", "audio"]), st.integers(0, 1 << 34), st.binary(max_size=10_000))


@settings(max_examples=50)
@given(st.lists(_MEDIA, max_size=6))
def test_a_server_reads_what_is_written(media: list[tuple[str, int, bytes]]) -> None:
    machine, reader = _publishing(), ChunkReader()
    reader.receive(write_message(2, Message(chunks.SET_CHUNK_SIZE, 0, 0, struct.pack(">I", CHUNK_SIZE))))
    for kind, stamp, body in media:
        type_id = chunks.VIDEO if kind == "video" else chunks.AUDIO
        write = machine.write_video if kind == "video" else machine.write_audio
        assert reader.receive(write(stamp, body)) == [Message(type_id, 7, stamp & 0xFFFFFFFF, body)]


@settings(max_examples=50)
@given(st.lists(st.integers(0, len(b"".join(_SCRIPT))), max_size=12))
def test_any_split_gives_the_same_events(cuts: list[int]) -> None:
    data, machine = b"".join(_SCRIPT), _machine()
    edges = [0, *sorted(cuts), len(data)]
    events: list[Event] = []
    for start, end in pairwise(edges):
        events += machine.receive(data[start:end])
    assert events == [Step("handshake"), Step("connect"), Step("createStream"), Started()]


@given(data=st.binary(max_size=300))
def test_arbitrary_bytes_raise_nothing_else(data: bytes) -> None:
    for before in (b"", b"\x03", _HANDSHAKE, _HANDSHAKE + _CONNECTED + _CREATED, b"".join(_SCRIPT)):
        try:
            _machine().receive(before + data)
        except RtmpError:
            continue


@given(st.sampled_from([1, 2, 3, 4, 5, 6, 8, 9, 18, 20, 22]), st.binary(max_size=100))
def test_arbitrary_messages_raise_nothing_else(type_id: int, body: bytes) -> None:
    try:
        _publishing().receive(write_message(3, Message(type_id, 1, 0, body)))
    except RtmpError:
        return
