"""What we write on the wire, read by another implementation (aiortc), and what it writes, read by us."""

import pytest
from aiortc import RTCPeerConnection
from aiortc.rtp import (
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    RtcpByePacket,
    RtcpPacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSdesPacket,
    RtcpSrPacket,
    RtpPacket,
)
from aiortc.sdp import SessionDescription

from sluice.rooms.engine.negotiation import agree_to_watch
from sluice.wire.rtcp import Goodbye, Nack, PictureLoss, Reception, parse, sender_report
from sluice.wire.rtp import headers
from sluice.wire.sdp_answer import LocalPeer, Sources, make_watch_answer

pytestmark = pytest.mark.anyio

LOCAL = LocalPeer("abcdef0123456789", "p" * 32, "sha-256 " + ":".join(["AB"] * 32), [("127.0.0.1", 40000)])
SOURCES = Sources(video=1001, video_rtx=1002, audio=1003, cname="s0123")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_a_sender_report_is_understood() -> None:
    report = sender_report(
        0x11223344, unix_time=1_800_000_000.25, timestamp=4_000_000_000, packets=7, octets=900, cname="sluice"
    )
    sr, sdes = RtcpPacket.parse(report)
    assert isinstance(sr, RtcpSrPacket)
    assert (sr.ssrc, sr.reports) == (0x11223344, [])
    info = sr.sender_info
    assert info.ntp_timestamp / 2**32 == 1_800_000_000.25 + 2_208_988_800
    assert (info.rtp_timestamp, info.packet_count, info.octet_count) == (4_000_000_000, 7, 900)
    assert isinstance(sdes, RtcpSdesPacket)
    assert [(chunk.ssrc, chunk.items) for chunk in sdes.chunks] == [(0x11223344, [(1, b"sluice")])]


def test_feedback_of_aiortc_is_understood() -> None:
    lost = [10, 11, 27, 65535]
    info = RtcpReceiverInfo(
        ssrc=5, fraction_lost=64, packets_lost=-3, highest_sequence=9, jitter=70, lsr=0, dlsr=0
    )
    compound = b"".join(
        bytes(packet)
        for packet in (
            RtcpRrPacket(ssrc=1, reports=[info]),
            RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=5, lost=lost),
            RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=1, media_ssrc=5),
            RtcpPsfbPacket(fmt=RTCP_PSFB_FIR, ssrc=1, media_ssrc=0, fci=bytes.fromhex("0000000501000000")),
            RtcpByePacket(sources=[1]),
        )
    )
    reception, nack, *others = parse(compound)
    assert isinstance(reception, Reception)
    assert reception == Reception(5, 0.25, -3, reception.highest, 70)
    assert isinstance(nack, Nack)
    assert (nack.ssrc, sorted(nack.sequences)) == (5, lost)
    assert others == [PictureLoss(5), PictureLoss(5), Goodbye(1)]


def test_rtp_headers_are_understood() -> None:
    first, last = (RtpPacket.parse(header + b"x") for header in headers(102, 65535, 2**32 - 1, 9, 2))
    assert (first.marker, first.payload_type, first.sequence_number) == (0, 102, 65535)
    assert (last.marker, last.payload_type, last.sequence_number) == (1, 102, 0)
    assert (first.timestamp, first.ssrc) == (2**32 - 1, 9)


@pytest.mark.parametrize("kinds", [("audio", "video"), ("video",), ("audio",), ("audio", "video", "data")])
async def test_an_offer_of_aiortc_is_answered_in_words_that_it_understands(kinds: tuple[str, ...]) -> None:
    peer = RTCPeerConnection()
    try:
        for kind in kinds:
            if kind == "data":
                peer.createDataChannel("chat")
            else:
                peer.addTransceiver(kind, direction="recvonly")
        await peer.setLocalDescription(await peer.createOffer())
        agreed = agree_to_watch(peer.localDescription.sdp)
    finally:
        await peer.close()
    h264, opus = agreed.video, agreed.opus
    assert (h264 is not None, opus is not None) == ("video" in kinds, "audio" in kinds)

    made = make_watch_answer(agreed.offer, agreed.transport, LOCAL, h264, opus, SOURCES, agreed.faults)
    answer = SessionDescription.parse(made)
    assert [media.port for media in answer.media] == [0 if kind == "data" else 9 for kind in kinds]
    assert answer.group[0].items == [media.rtp.muxId for media in answer.media if media.port]
    for media in answer.media:
        if not media.port:
            continue
        assert media.direction == "sendonly"
        assert media.ice is not None
        assert (media.ice.usernameFragment, media.ice.password) == (LOCAL.ufrag, LOCAL.password)
        assert media.ice.iceLite
        assert media.dtls is not None
        assert media.dtls.role == "server"
        assert [(c.ip, c.port, c.type) for c in media.ice_candidates] == [("127.0.0.1", 40000, "host")]
        assert media.ssrc[0].ssrc == (SOURCES.video if media.kind == "video" else SOURCES.audio)
        codec = media.rtp.codecs[0]
        assert codec.mimeType == ("video/H264" if media.kind == "video" else "audio/opus")
    if h264 is not None:
        section = next(media for media in answer.media if media.kind == "video")
        assert [group.items for group in section.ssrc_group] == [[1001, 1002]]
        assert section.rtp.codecs[1].parameters == {"apt": h264.payload_type}
