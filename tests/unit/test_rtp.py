"""RTP payloads of H.264 (RFC 6184) against golden bytes and a depacketizer written from the RFC."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.wire.rtp import (
    MAX_PAYLOAD,
    RtpError,
    RtpPacket,
    audio_header,
    equal_runs,
    extension_element,
    h264_payloads,
    headers,
    original_of_rtx,
    parse_rtp,
)

SPS, PPS, IDR = bytes.fromhex("6742c01e"), bytes.fromhex("68ce3c80"), b"\x65" + bytes(range(1, 6))


def depacketize(payloads: list[bytes]) -> list[bytes]:
    """The NAL units of one access unit, by RFC 6184 5.6 to 5.8."""
    units: list[bytes] = []
    fragment: bytearray | None = None
    for payload in payloads:
        kind = payload[0] & 0x1F
        if kind == 28:
            start, end = payload[1] & 0x80, payload[1] & 0x40
            assert not (start and end)
            assert (fragment is None) == bool(start)
            if fragment is None:
                fragment = bytearray([payload[0] & 0xE0 | payload[1] & 0x1F])
            fragment += payload[2:]
            if end:
                units.append(bytes(fragment))
                fragment = None
        elif kind == 24:
            assert fragment is None
            at = 1
            while at < len(payload):
                size = int.from_bytes(payload[at : at + 2], "big")
                units.append(payload[at + 2 : at + 2 + size])
                at += 2 + size
            assert at == len(payload)
        else:
            assert fragment is None
            units.append(payload)
    assert fragment is None
    return units


def test_a_single_unit_stays_as_it_is() -> None:
    assert h264_payloads([IDR]) == [IDR]


def test_small_neighbours_are_aggregated() -> None:
    # 0x78: STAP-A (24) with the highest importance of its units, 0x60.
    golden = bytes.fromhex("78 0004 6742c01e 0004 68ce3c80 0006 650102030405")
    assert h264_payloads([SPS, PPS, IDR]) == [golden]


def test_a_large_unit_is_cut_into_equal_parts_but_the_last() -> None:
    payloads = h264_payloads([b"\x65" + b"\xaa" * (2 * (MAX_PAYLOAD - 2) + 3)])
    assert [payload[:2].hex() for payload in payloads] == ["7c85", "7c05", "7c45"]
    assert [len(payload) for payload in payloads] == [MAX_PAYLOAD, MAX_PAYLOAD, 5]
    assert set(b"".join(payload[2:] for payload in payloads)) == {0xAA}


@pytest.mark.parametrize("size", [MAX_PAYLOAD - 1, MAX_PAYLOAD, MAX_PAYLOAD + 1])
def test_around_the_largest_payload(size: int) -> None:
    unit = b"\x41" + bytes(size - 1)
    payloads = h264_payloads([unit])
    assert len(payloads) == (1 if size <= MAX_PAYLOAD else 2)
    assert depacketize(payloads) == [unit]


@pytest.mark.parametrize("kind", [9, 10, 11, 12])
def test_what_means_nothing_in_rtp_is_left_out(kind: int) -> None:
    assert h264_payloads([bytes([kind, 0xF0]), b"", IDR]) == [IDR]
    assert h264_payloads([bytes([kind])]) == []


nal_units = st.builds(
    lambda head, size, fill: bytes([head]) + bytes([fill]) * size,
    st.sampled_from([0x01, 0x41, 0x65, 0x67, 0x68, 0x06]),
    st.one_of(st.integers(0, 60), st.integers(MAX_PAYLOAD - 4, MAX_PAYLOAD + 4), st.integers(0, 9000)),
    st.integers(0, 255),
)


@given(st.lists(nal_units, min_size=1, max_size=12))
def test_round_trip(units: list[bytes]) -> None:
    payloads = h264_payloads([memoryview(unit) for unit in units])
    assert depacketize(payloads) == units
    assert all(0 < len(payload) <= MAX_PAYLOAD for payload in payloads)


def test_headers() -> None:
    first, last = headers(102, 0x1FFFF, 0xFFFFFFFF, 0x01020304, 2)
    assert first == bytes.fromhex("8066ffff ffffffff 01020304")
    assert last == bytes.fromhex("80e60000 ffffffff 01020304"), "marker on the last, sequence wraps"
    assert audio_header(111, 0x10001, 960, 1) == bytes.fromhex("806f0001 000003c0 00000001")


@given(
    st.lists(st.integers(1, MAX_PAYLOAD) | st.sampled_from([MAX_PAYLOAD, 100]), max_size=80),
    st.integers(1, 10),
)
def test_runs_are_what_one_segmented_send_takes(lengths: list[int], most: int) -> None:
    runs = equal_runs(lengths, most)
    assert [n for start, end in runs for n in range(start, end)] == list(range(len(lengths)))
    for start, end in runs:
        assert 1 <= end - start <= most
        assert set(lengths[start : end - 1]) <= {lengths[start]}
        assert lengths[end - 1] <= lengths[start]


def test_a_large_unit_is_one_run() -> None:
    lengths = [len(payload) for payload in h264_payloads([b"\x65" + bytes(20_000)])]
    assert equal_runs(lengths, 52) == [(0, len(lengths))]
    assert equal_runs(lengths, 10) == [(0, 10), (10, len(lengths))]


def test_a_packet_is_read() -> None:
    plain = bytes.fromhex("80e6ffff fffffff0 01020304") + b"payload"
    assert parse_rtp(plain) == RtpPacket(102, True, 0xFFFF, 0xFFFFFFF0, 0x01020304, b"payload")
    full = bytes.fromhex(
        "b2660001 00000002 01020304"  # padded, extended, two contributing sources
        "00000005 00000006"
        "bede0001 10ff0000"
    )
    packet = parse_rtp(full + b"payload" + bytes.fromhex("000003"))
    assert packet == RtpPacket(102, False, 1, 2, 0x01020304, b"payload", bytes.fromhex("bede0001 10ff0000"))
    assert parse_rtp(full + bytes.fromhex("000003")).payload == b"", "padding alone"


@pytest.mark.parametrize(
    "packet",
    [
        "",
        "80660001 00000002 010203",
        "40660001 00000002 01020304",  # version 1
        "82660001 00000002 01020304 00000005",  # a contributing source is missing
        "90660001 00000002 01020304 bede0002 00000000",
        "a0660001 00000002 01020304 00000005",  # padding of 5 bytes in 4
    ],
)
def test_what_is_no_packet(packet: str) -> None:
    with pytest.raises(RtpError):
        parse_rtp(bytes.fromhex(packet))


def test_elements_of_a_header_extension() -> None:
    """RFC 8285 4.2 and 4.3."""
    one = bytes.fromhex("bede0003 10aa 00 31bbcc 00 42010203 f0ff")
    assert [extension_element(one, n).hex() for n in (1, 3, 4, 5)] == ["aa", "bbcc", "010203", ""]
    two = bytes.fromhex("10000003 01 00 00 10 02 bbcc 03 01 dd 0000")
    assert [extension_element(two, n).hex() for n in (1, 16, 3)] == ["", "bbcc", "dd"]
    assert extension_element(bytes.fromhex("bede0001 32aabbcc"), 3) == bytes.fromhex("aabbcc")
    assert extension_element(bytes.fromhex("bede0001 33aabbcc"), 3) == b"", "longer than there is"
    assert extension_element(bytes.fromhex("abcd0001 10aa0000"), 1) == b"", "of another form"
    assert extension_element(b"", 1) == b""


@given(st.binary(max_size=60), st.integers(1, 14))
def test_garbage_is_an_error_or_a_packet(data: bytes, wanted: int) -> None:
    for head in (b"", b"\x90\x60" + bytes(10) + b"\xbe\xde", b"\xb0\x60" + bytes(10) + b"\x10\x00"):
        try:
            packet = parse_rtp(head + data)
        except RtpError:
            continue
        extension_element(packet.extension, wanted)


def test_what_a_retransmission_repeats() -> None:
    again = RtpPacket(103, True, 5, 9000, 77, bytes.fromhex("fffe") + b"payload")
    assert original_of_rtx(again, 102, 7) == RtpPacket(102, True, 0xFFFE, 9000, 7, b"payload")
    assert original_of_rtx(RtpPacket(103, False, 5, 9000, 77, b""), 102, 7) is None
