"""What a peer of a room can make of its bytes: twice as many of them are at most twice the work, and what one
datagram or one offer can cost is bounded."""

import struct
from collections.abc import Callable
from contextlib import suppress

import pytest

from sluice.core.limits import MOST_AGGREGATED_UNITS, MOST_COMPOUND_PACKETS, MOST_NACKED, MOST_SDP_LINES
from sluice.rooms.engine.negotiation import agree_to_publish, agree_to_watch
from sluice.wire.h264_rtp import H264Depacketizer
from sluice.wire.rtcp import Nack, RtcpError, parse
from sluice.wire.rtp import RtpPacket, extension_element, parse_rtp
from sluice.wire.sdp import SdpError, parse_fragment
from sluice.wire.transport_feedback import TransportFeedback
from tests.unit.steps import steps
from tests.unit.stranger import offer

SPS, PPS, IDR = bytes.fromhex("6742c01f95a01400"), bytes.fromhex("68ce3c80"), b"\x65\x88"


def _feed(payloads: list[bytes]) -> H264Depacketizer:
    depacketizer = H264Depacketizer()
    for n, payload in enumerate(payloads):
        depacketizer.feed(RtpPacket(96, False, n, 0, 1, payload))
    return depacketizer


def _lenient(work: Callable[[], object]) -> None:
    with suppress(SdpError, RtcpError):
        work()


def _inserted(lines: list[str], at: int = -1) -> str:
    def edit(whole: list[str]) -> None:
        place = len(whole) if at < 0 else at
        whole[place:place] = lines

    return offer(publishes=True, edit=edit)


def _feedback(numbers: int, step: int) -> None:
    feedback = TransportFeedback()
    for n in range(numbers):
        feedback.on_packet(n * step & 0xFFFF, 1000 * n)
        if n % 50 == 0:
            feedback.packets(1, 2)


#: What is tried, and how often at most.
WORKS: dict[str, tuple[Callable[[int], object], int]] = {
    "NACKs": (lambda n: parse(struct.pack("!BBHII", 0x81, 205, 2 + n, 1, 2) + b"\0\1\xff\xff" * n), 300),
    "reports": (
        lambda n: parse(b"".join([struct.pack("!BBHI", 0x9F, 201, 187, 1) + bytes(31 * 24)] * n)),
        2 * MOST_COMPOUND_PACKETS,
    ),
    "tiny RTCP packets": (lambda n: parse(b"\x80\xcc\0\0" * n), 340),
    "FIR entries": (lambda n: parse(struct.pack("!BBHII", 0x84, 206, 2 + 2 * n, 1, 0) + bytes(8 * n)), 160),
    "goodbyes": (lambda n: parse(struct.pack("!BBH", 0x80 | n, 203, n) + bytes(4 * n)), 31),
    "padding of an extension": (lambda n: extension_element(b"\xbe\xde\0\0" + bytes(n), 3), 1300),
    "elements of an extension": (lambda n: extension_element(b"\xbe\xde\0\0" + b"\x10\0" * n, 3), 650),
    "sources of a packet": (
        lambda n: parse_rtp(struct.pack("!BBHII", 0x80 | n, 96, 1, 0, 1) + bytes(64)),
        15,
    ),
    "aggregated slices": (lambda n: _feed([b"\x18" + b"\0\2\x41\x9a" * n] * 20), 300),
    "aggregated parameter sets": (lambda n: _feed([b"\x18" + b"\0\1\x67" * n] * 20), 300),
    "fragments without an end": (lambda n: _feed([b"\x7c\x85\x88", *[b"\x7c\x05" + bytes(1000)] * n]), 6000),
    "fragments that all begin": (lambda n: _feed([b"\x7c\x85\x88"] * n), 2000),
    "slices of one picture": (lambda n: _feed([SPS, PPS, IDR, *[b"\x65\x40"] * n]), 6000),
    "parameter sets that change": (lambda n: _feed([SPS + bytes([k & 0xFF]) for k in range(n)]), 600),
    "feedback in steps": (lambda n: _feedback(n, 1900), 400),
    "feedback in leaps": (lambda n: _feedback(n, 0x4000), 400),
    "candidates": (
        lambda n: agree_to_watch(_inserted(["a=candidate:1 1 udp 1 127.0.0.1 9 typ host"] * n)),
        1000,
    ),
    "lines": (lambda n: agree_to_publish(_inserted([f"a=x{k}" for k in range(n)]), ("audio", "video")), 1600),
    "bundles": (lambda n: agree_to_watch(_inserted(["a=group:BUNDLE x"] * n, 5)), 1600),
    "members of a bundle": (lambda n: agree_to_watch(_inserted(["a=group:BUNDLE" + " x" * n], 5)), 2000),
    "fingerprints": (lambda n: agree_to_watch(_inserted(["a=fingerprint:sha-256 x"] * n)), 1600),
    "sections": (
        lambda n: agree_to_publish(
            _inserted([line for k in range(n) for line in ("m=video 0 RTP/AVP 96", f"a=mid:m{k}")]),
            ("audio", "video"),
        ),
        60,
    ),
    "formats": (
        lambda n: agree_to_publish(_inserted(["m=audio 0 RTP/AVP" + " 0" * n]), ("audio", "video")),
        2000,
    ),
    "feedback kinds": (
        lambda n: agree_to_publish(_inserted([f"a=rtcp-fb:96 x{k}" for k in range(n)]), ("audio", "video")),
        1600,
    ),
    "parameters": (
        lambda n: agree_to_publish(
            _inserted(["a=fmtp:111 " + ";".join(f"x{k}=1" for k in range(n))]), ("audio", "video")
        ),
        500,
    ),
    "sprop-parameter-sets": (
        lambda n: agree_to_publish(
            _inserted(["a=fmtp:96 sprop-parameter-sets=" + "Z0LAH5WgFAA=," * n], 18), ("audio", "video")
        ),
        300,
    ),
    "candidates that trickle": (
        lambda n: parse_fragment(
            "m=audio 9 RTP/AVP 0\r\n" + "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n" * n
        ),
        1000,
    ),
}


@pytest.mark.parametrize("name", WORKS)
def test_twice_as_much_is_twice_the_work(name: str) -> None:
    work, most = WORKS[name]
    half = steps(lambda: _lenient(lambda: work(most // 2)))
    whole = steps(lambda: _lenient(lambda: work(most)))
    assert whole <= 2.5 * half + 200, "quadratic work would be four times as much"


def test_what_one_datagram_can_ask_for_is_bounded() -> None:
    (nack,) = parse(struct.pack("!BBHII", 0x81, 205, 342, 1, 2) + b"\0\1\xff\xff" * 340)
    assert isinstance(nack, Nack)
    assert len(nack.sequences) == MOST_NACKED
    with pytest.raises(RtcpError, match=f"more than {MOST_COMPOUND_PACKETS}"):
        parse(b"\x80\xcc\0\0" * (MOST_COMPOUND_PACKETS + 1))
    assert len(parse(b"\x80\xcb\0\0" * MOST_COMPOUND_PACKETS)) == 0


def test_more_units_in_one_packet_than_anybody_sends_damage_the_picture() -> None:
    whole = b"\x18" + b"".join(len(unit).to_bytes(2, "big") + unit for unit in (SPS, PPS, IDR))
    fits = whole + b"\0\2\x65\x40" * (MOST_AGGREGATED_UNITS - 3)
    for payload, left in ((fits, 1), (fits + b"\0\2\x65\x40", 0)):
        depacketizer = H264Depacketizer()
        ended = depacketizer.feed(RtpPacket(96, False, 0, 0, 1, payload))
        ended += depacketizer.feed(RtpPacket(96, False, 1, 3600, 1, b"\x41\x9a"))
        assert len(ended) == left
        assert depacketizer.units == MOST_AGGREGATED_UNITS + 1


def test_an_offer_that_is_too_long_is_refused_with_the_limit() -> None:
    with pytest.raises(SdpError, match=f"more than {MOST_SDP_LINES} lines"):
        agree_to_watch(_inserted(["a=x"] * MOST_SDP_LINES))
    with pytest.raises(SdpError, match="more than 65536 bytes"):
        parse_fragment("a" * 65537)
    with pytest.raises(SdpError, match="more than 16 lines a=group:BUNDLE"):
        agree_to_watch(_inserted(["a=group:BUNDLE x"] * 17, 5))
    with pytest.raises(SdpError, match=r"a=ice-ufrag:x+….*more than 256 characters"):
        parse_fragment(f"a=ice-ufrag:{'x' * 257}\r\na=ice-pwd:y\r\n")
