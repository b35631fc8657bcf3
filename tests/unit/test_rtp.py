"""RTP payloads of H.264 (RFC 6184) against golden bytes and a depacketizer written from the RFC."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.wire.rtp import MAX_PAYLOAD, audio_header, equal_runs, h264_payloads, headers

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
