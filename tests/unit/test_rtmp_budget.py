"""What a hostile RTMP server may cost: bounded work for each call, linear in all, and an end with a text.

Work is counted in steps and calls, not measured in seconds.
"""

import struct

import pytest

from sluice.core.limits import (
    MOST_RTMP_DATA_BYTES,
    MOST_RTMP_IDLE_STEPS_AT_ONCE,
    MOST_RTMP_PARTS,
    MOST_RTMP_STEPS,
    MOST_RTMP_STEPS_AT_ONCE,
    RTMP_STEPS_OF_MEDIA,
)
from sluice.wire import rtmp_chunks as chunks
from sluice.wire.amf0 import Value, encode
from sluice.wire.rtmp import AudioMessage, Client, CostLimit, VideoMessage
from sluice.wire.rtmp_chunks import Message, RtmpError, write_message
from sluice.wire.rtmp_play import PlayMachine
from sluice.wire.rtmp_publish import PublishMachine
from tests.unit.test_rtmp import _playing
from tests.unit.test_rtmp_publish import _publishing

_READ_BYTES = 65536


def _control(type_id: int, body: bytes) -> bytes:
    return write_message(2, Message(type_id, 0, 0, body))


def _media(size: int, type_id: int = chunks.AUDIO, chunk_size: int = 128) -> bytes:
    return write_message(6, Message(type_id, 1, 0, bytes(size)), chunk_size)


def _chunk_size(size: int) -> bytes:
    return _control(chunks.SET_CHUNK_SIZE, struct.pack(">I", size))


def _nulls(name: str, values: int) -> bytes:
    """Without a name that anybody waits for; as one chunk."""
    type_id = chunks.DATA_AMF0 if name == "onMetaData" else chunks.COMMAND_AMF0
    body = encode(name, 0.0) + b"\x05" * values
    return write_message(3, Message(type_id, 1, 0, body), len(body))


def _aggregate(parts: int) -> bytes:
    part = bytes([chunks.AUDIO]) + bytes(14)
    return write_message(6, Message(chunks.AGGREGATE, 1, 0, part * parts), 1 << 20)


#: Prefix, and what is repeated.
_FLOODS = {
    "empty messages": (_media(0), b"\xc6"),
    "empty video": (_media(0, chunks.VIDEO), b"\xc6"),
    "pings": (b"", _control(chunks.USER_CONTROL, b"\0\6\0\0\0\0")),
    "empty control": (b"", _control(chunks.USER_CONTROL, b"")),
    "window acks": (b"", _control(chunks.WINDOW_ACK_SIZE, bytes(4))),
    "bandwidths": (b"", _control(chunks.SET_PEER_BANDWIDTH, bytes(5))),
    "aborts": (b"", _control(chunks.ABORT, struct.pack(">I", 6))),
    "chunk sizes": (b"", _chunk_size(128)),
    "acknowledgements": (b"", _control(chunks.ACKNOWLEDGEMENT, bytes(4))),
    "unknown messages": (b"", _control(99, b"x")),
    "commands of nulls": (_chunk_size(1 << 20), _nulls("whatever", 900)),
    "metadata of nulls": (_chunk_size(1 << 20), _nulls("onMetaData", 4000)),
    "chunks of one byte": (_chunk_size(1), _media(20_000, chunks.VIDEO, 1)),
    "chunks of eight bytes": (_chunk_size(8), _media(20_000, chunks.VIDEO, 8)),
    "aggregates of nothing": (_chunk_size(1 << 20), _aggregate(500)),
}


def _costs(machine: Client, data: bytes) -> list[tuple[int, int]]:
    """Steps and events of each call."""
    costs = []
    for start in range(0, len(data), _READ_BYTES):
        part = data[start : start + _READ_BYTES]
        while True:
            events = machine.receive(part)
            costs.append((machine.take_cost()[0], len(events)))
            if not machine.pending:
                break
            part = b""
    return costs


def _until_it_ends(client: Client, data: bytes) -> tuple[int, str]:
    """`data` again and again, a millisecond for each call: steps until it ends, and with what text."""
    budget, steps = CostLimit(), 0
    for now_ms in range(60_000):
        cost = (0, 0)
        try:
            client.receive(b"" if client.pending else data)
            cost = client.take_cost()
            budget.spend(now_ms / 1000, *cost)
        except RtmpError as error:
            return steps + cost[0], str(error)
        steps += cost[0]
    raise AssertionError("it goes on for ever")


@pytest.mark.parametrize("name", _FLOODS)
def test_each_call_is_bounded_and_all_are_linear(name: str) -> None:
    prefix, unit = _FLOODS[name]
    totals = []
    for times in (1, 2):
        costs = _costs(_playing(), prefix + unit * (times * max(1, 40_000 // len(unit))))
        # One message more, which may be the largest that is read.
        parts = MOST_RTMP_PARTS * (1 + RTMP_STEPS_OF_MEDIA)
        largest = MOST_RTMP_STEPS + max(parts, MOST_RTMP_DATA_BYTES // 32)
        assert max(steps for steps, _ in costs) <= largest
        assert max(events for _, events in costs) <= MOST_RTMP_STEPS + MOST_RTMP_PARTS
        totals.append((sum(steps for steps, _ in costs), len(costs)))
    (steps, calls), (twice_steps, twice_calls) = totals
    assert twice_steps <= 2.1 * steps
    assert twice_calls <= 2.1 * calls + 1


@pytest.mark.parametrize("machine", [_playing, _publishing])
@pytest.mark.parametrize("name", _FLOODS)
def test_what_goes_on_ends(name: str, machine: object) -> None:
    prefix, unit = _FLOODS[name]
    client: PlayMachine | PublishMachine = machine()  # type: ignore[operator]
    client.receive(prefix)
    steps, text = _until_it_ends(client, unit * (_READ_BYTES // len(unit) + 1))
    assert text.startswith("more than 5000 chunks and messages without media")
    # Less than half a second of a core, whatever it is.
    assert steps <= 30 * MOST_RTMP_IDLE_STEPS_AT_ONCE


def test_a_flood_of_media_ends() -> None:
    steps, text = _until_it_ends(_playing(), _media(100) * 600)
    assert text == "more than 60000 chunks or 3000 messages of media a second, for long"
    assert steps <= 2 * MOST_RTMP_STEPS_AT_ONCE


@pytest.mark.parametrize(
    ("a_second", "seconds"),
    [
        # 50 Mbit/s in chunks of 128 bytes, and sound.
        (_media(104_000, chunks.VIDEO) * 60 + _media(400) * 50, 7),
        # Silence of AAC: eight bytes for each message; a ping each time.
        (_media(8) * 47 + _control(chunks.USER_CONTROL, b"\0\6\0\0\0\0"), 400),
        # An encoder whose track pauses, and a server that acknowledges each 4 kB of a push of 6 Mbit/s.
        (_media(0) * 25 + _control(chunks.ACKNOWLEDGEMENT, bytes(4)) * 150, 200),
    ],
)
def test_honest_streams_go_on(a_second: bytes, seconds: int) -> None:
    client, budget, media = _playing(), CostLimit(), 0
    for now in range(seconds):
        data = a_second
        while True:
            events = client.receive(data)
            media += sum(isinstance(event, AudioMessage | VideoMessage) for event in events)
            budget.spend(now, *client.take_cost())
            if not client.pending:
                break
            data = b""
    assert media


def test_a_push_of_50_mbit_to_a_server_that_acknowledges_each_4_kb() -> None:
    client, budget, picture = _publishing(), CostLimit(), bytes(104_000)
    acknowledgements = _control(chunks.ACKNOWLEDGEMENT, bytes(4)) * (len(picture) // 4096)
    for frame in range(60 * 60):
        client.write_video(frame * 16, picture)
        client.receive(acknowledgements)
        budget.spend(frame / 60, *client.take_cost())
        assert not client.pending


def test_a_group_of_pictures_at_once() -> None:
    """Servers begin with all since the last key frame: here 60 s of 720p at 5 Mbit/s."""
    client, budget = _playing(), CostLimit()
    data = (_media(20_000, chunks.VIDEO) + _media(300) * 2) * 1_500
    for start in range(0, len(data), _READ_BYTES):
        client.receive(data[start : start + _READ_BYTES])
        budget.spend(0, *client.take_cost())
        while client.pending:
            client.receive(b"")
            budget.spend(0, *client.take_cost())


def test_large_commands() -> None:
    for body, why in (
        (encode("x") + b"\x05" * 1_001, "more than 1000 values"),
        (encode("x" * 70_000), "longer than 65536 bytes"),
    ):
        message = write_message(3, Message(chunks.COMMAND_AMF0, 0, 0, body), 1 << 20)
        with pytest.raises(RtmpError, match=why):
            _playing().receive(_chunk_size(1 << 20) + message)


def test_large_metadata_is_passed_over() -> None:
    client = _playing()
    for values in (5_001, 300_000):
        assert client.receive(_chunk_size(1 << 20) + _nulls("onMetaData", values)) == []
    assert not client.pending or client.receive(b"") == []


@pytest.mark.parametrize("hours", [4, 6, 8, 12])
@pytest.mark.parametrize("chunk_size", [128, 4096])
def test_a_recording_of_hours_tells_where_its_key_frames_are(hours: int, chunk_size: int) -> None:
    """One each 2 s, as players of FLV want to seek; all of it comes before the first picture."""
    numbers: list[Value] = [float(n) for n in range(hours * 1800)]
    body = encode("onMetaData", {"keyframes": {"times": numbers, "filepositions": numbers}})
    client, budget = _playing(), CostLimit()
    data = _chunk_size(chunk_size) + write_message(5, Message(chunks.DATA_AMF0, 1, 0, body), chunk_size)
    for start in range(0, len(data), _READ_BYTES):
        client.receive(data[start : start + _READ_BYTES])
        budget.spend(0, *client.take_cost())
        while client.pending:
            client.receive(b"")
            budget.spend(0, *client.take_cost())
    assert any(
        isinstance(event, VideoMessage) for event in client.receive(_media(100, chunks.VIDEO, chunk_size))
    )


def test_an_aggregate_of_many_parts() -> None:
    with pytest.raises(RtmpError, match=f"more than {MOST_RTMP_PARTS} parts"):
        _playing().receive(_chunk_size(1 << 20) + _aggregate(MOST_RTMP_PARTS + 1))
