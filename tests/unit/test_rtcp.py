"""RTCP: golden bytes of what we send, and of feedback as the RFCs draw it; garbage is RtcpError only.

That another implementation understands it is in integration/test_interop.py.
"""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.wire.rtcp import (
    Goodbye,
    Nack,
    PictureLoss,
    Reception,
    ReportBlock,
    RtcpError,
    SenderReport,
    bandwidth_estimate,
    full_intra_request,
    nack,
    parse,
    picture_loss,
    receiver_report,
    sender_report,
)

RECEIVER_REPORT = bytes.fromhex(
    "81c90007 0a0b0c0d"  # RR of 0x0a0b0c0d with one block
    "11223344 40fffffe 00012345 00000064 00000000 00000000"
)


def test_sender_report() -> None:
    report = sender_report(
        0x11223344, unix_time=0.5, timestamp=0xFFFFFFF0, packets=(1 << 32) + 7, octets=9, cname="abc"
    )
    assert report == bytes.fromhex(
        "80c80006 11223344 83aa7e80 80000000 fffffff0 00000007 00000009"
        # SDES with CNAME "abc", ended by one to four zero octets
        "81ca0003 11223344 0103 616263 000000"
    )


@pytest.mark.parametrize("length", range(1, 9))
def test_the_name_ends_with_a_null_on_a_word(length: int) -> None:
    report = sender_report(1, unix_time=1.8e9, timestamp=0, packets=0, octets=0, cname="x" * length)
    assert len(report) % 4 == 0
    assert report[-1] == 0
    assert parse(report) == [SenderReport(1, int(1.8e9 + 2_208_988_800) << 32, 0)]


def test_reception() -> None:
    assert parse(RECEIVER_REPORT) == [Reception(0x11223344, 0.25, -2, 0x12345, 0x64)]


def test_a_sender_report_is_read_with_its_blocks() -> None:
    packet = bytes.fromhex("81c8000c 11223344 83aa7e80 80000000 fffffff0 00000007 00000009")
    packet += RECEIVER_REPORT[8:]
    report, block = parse(packet)
    assert report == SenderReport(0x11223344, 0x83AA7E80_80000000, 0xFFFFFFF0)
    assert isinstance(block, Reception)
    with pytest.raises(RtcpError):
        parse(bytes.fromhex("80c80001 11223344"))


def test_receiver_report() -> None:
    block = ReportBlock(0x11223344, 64, -2, 0x12345, 0x64, 0xAABBCCDD, 0x8000)
    report = receiver_report(0x0A0B0C0D, [block], "abc")
    assert report == bytes.fromhex(
        "81c90007 0a0b0c0d 11223344 40fffffe 00012345 00000064 aabbccdd 00008000"
        "81ca0003 0a0b0c0d 0103 616263 000000"
    )
    assert parse(report) == [Reception(0x11223344, 0.25, -2, 0x12345, 0x64, 0xAABBCCDD, 0x8000)]
    assert receiver_report(1, [], "abc")[:8] == bytes.fromhex("80c90001 00000001")


@pytest.mark.parametrize(("lost", "field"), [(1 << 30, "7fffff"), (-(1 << 30), "800000")])
def test_what_was_lost_is_told_up_to_its_bounds(lost: int, field: str) -> None:
    report = receiver_report(1, [ReportBlock(2, 0, lost, 0, 0, 0, 0)], "abc")
    assert report[13:16] == bytes.fromhex(field)


def test_the_nack_that_we_send() -> None:
    asked = [0xFFFE, 0xFFFF, 0x000E, 5 + 0x100]
    assert nack(0xA, 0xB, asked) == bytes.fromhex("81cd0004 0000000a 0000000b fffe8001 01050000")


@given(st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=40, unique=True))
def test_a_nack_says_what_was_asked(sequences: list[int]) -> None:
    assert parse(nack(1, 2, sorted(sequences))) == [Nack(2, tuple(sorted(sequences)))]


def test_requests_for_a_key_frame() -> None:
    assert picture_loss(0xA, 0xB) == bytes.fromhex("81ce0002 0000000a 0000000b")
    assert full_intra_request(0xA, 0xB, 0x107) == bytes.fromhex(
        "84ce0004 0000000a 00000000 0000000b 07000000"
    )
    assert parse(picture_loss(1, 2) + full_intra_request(1, 3, 0)) == [PictureLoss(2), PictureLoss(3)]


def test_bandwidth_estimate() -> None:
    """draft-alvestrand-rmcat-remb-03 2.2: 6 bits of exponent, 18 of mantissa."""
    assert bandwidth_estimate(0xA, [0xB, 0xC], 20_000_000) == bytes.fromhex(
        "8fce0006 0000000a 00000000 52454d42"
        "021e625a"  # two sources, 156250 shifted by 7
        "0000000b 0000000c"
    )


def test_nack() -> None:
    # Twice: 0xfffe with 0xffff and 0x000e (bits 0 and 15), then 5 alone.
    packet = bytes.fromhex("81cd0004 0000000a 0000000b fffe8001 00050000")
    assert parse(packet) == [Nack(0xB, (0xFFFE, 0xFFFF, 0x000E, 5))]


def test_picture_loss_and_full_intra_request() -> None:
    pli = bytes.fromhex("81ce0002 0000000a 0000000b")
    fir = bytes.fromhex("84ce0006 0000000a 00000000 0000000b 01000000 0000000c 02000000")
    assert parse(pli + fir) == [PictureLoss(0xB), PictureLoss(0xB), PictureLoss(0xC)]


def test_goodbye() -> None:
    assert parse(bytes.fromhex("82cb0002 00000001 00000002")) == [Goodbye(1), Goodbye(2)]
    assert parse(bytes.fromhex("80cb0000")) == []


def test_unknown_kinds_are_passed_over() -> None:
    remb = bytes.fromhex("8fce0005 0000000a 00000000 52454d42 01000000 0000000b")
    extended = bytes.fromhex("80cf0001 0000000a")
    assert parse(remb + extended + RECEIVER_REPORT)[0] == Reception(0x11223344, 0.25, -2, 0x12345, 0x64)


def test_padding_is_no_content() -> None:
    assert parse(bytes.fromhex("a1cd0004 0000000a 0000000b 00050000 00000004")) == [Nack(0xB, (5,))]


@pytest.mark.parametrize(
    "packet",
    ["80", "81c9", "80c90002 00000001", "01c90001 00000001", "82c90001 00000001", "a0c90001 00000009"],
)
def test_what_is_cut_short_or_malformed(packet: str) -> None:
    with pytest.raises(RtcpError):
        parse(bytes.fromhex(packet))


@given(st.binary(max_size=120))
def test_garbage(data: bytes) -> None:
    with contextlib.suppress(RtcpError):
        parse(data)


@given(st.integers(0, 31), st.sampled_from([200, 201, 202, 203, 205, 206]), st.binary(max_size=64))
def test_garbage_behind_a_true_head(count: int, kind: int, body: bytes) -> None:
    body = body[: len(body) // 4 * 4]
    with contextlib.suppress(RtcpError):
        parse(bytes([0x80 | count, kind]) + (len(body) // 4).to_bytes(2, "big") + body)
