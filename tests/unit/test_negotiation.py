"""What publishers offer and what they are answered: Chromium, Firefox, Safari and OBS, in their words."""

import re
from pathlib import Path

import pytest

from sluice.rooms.engine.negotiation import (
    Agreement,
    NotAllowed,
    agree_to_publish,
    agree_to_watch,
    publish_terms,
)
from sluice.wire.sdp import AudioFormat, SdpError, VideoFormat, parse_fragment
from sluice.wire.sdp_answer import LocalPeer, make_fragment, make_publish_answer

OFFERS = Path(__file__).parents[1] / "data/offers"
LOCAL = LocalPeer("ufrag123", "p" * 32, "sha-256 AA:BB", [("192.0.2.1", 40000)])
BOTH = ("audio", "video")
MAIN, HIGH, BASELINE = (
    f"level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile}34"
    for profile in ("4d00", "640c", "42e0")
)
REPAIR = ("nack", "nack pli", "ccm fir")


def offer(name: str) -> str:
    return (OFFERS / f"{name}-publish.sdp").read_bytes().decode()


def sections(agreed: Agreement) -> list[str]:
    answer = make_publish_answer(agreed.offer, agreed.transport, LOCAL, agreed.video, agreed.opus)
    return re.split(r"\r\n(?=m=)", answer.rstrip("\r\n"))


@pytest.mark.parametrize(
    ("name", "video", "opus", "transport_id", "reduced_size"),
    [
        ("chromium", VideoFormat(116, 117, MAIN, (*REPAIR, "transport-cc"), section=1), 111, 3, True),
        ("firefox", VideoFormat(126, 127, BASELINE, (*REPAIR, "transport-cc"), section=1), 109, 7, False),
        ("safari", VideoFormat(96, 97, HIGH, (*REPAIR, "transport-cc"), section=1), 111, 3, True),
        ("obs", VideoFormat(96, None, BASELINE, ("nack", "nack pli", "goog-remb"), section=1), 111, 0, False),
    ],
)
def test_publishers_are_taken(
    name: str, video: VideoFormat, opus: int, transport_id: int, reduced_size: bool
) -> None:
    agreed = agree_to_publish(offer(name), BOTH)
    terms = publish_terms(agreed)
    assert terms.video == video
    assert terms.opus is not None
    assert terms.opus.payload_type == opus
    assert (terms.transport_id, terms.reduced_size) == (transport_id, reduced_size)
    head, audio, picture = sections(agreed)
    assert {"a=ice-lite", "a=group:BUNDLE 0 1"} <= set(head.splitlines())
    for section in (audio, picture):
        assert {"a=recvonly", "a=setup:passive", "a=rtcp-mux"} <= set(section.splitlines())
        assert "a=ice-ufrag:ufrag123" in section
        assert "a=ssrc" not in section
        assert "orientation" not in section, "the picture is turned before it is encoded"
        assert "abs-send-time" not in section
    assert audio.startswith(f"m=audio 9 UDP/TLS/RTP/SAVPF {opus}\r\n")
    assert f"a=fmtp:{opus} stereo=1;sprop-stereo=1;useinbandfec=1" in audio
    types = f"{video.payload_type}" + (f" {video.rtx_type}" if video.rtx_type else "")
    assert picture.startswith(f"m=video 9 UDP/TLS/RTP/SAVPF {types}\r\n")
    assert [line for line in picture.splitlines() if line.startswith("a=rtcp-fb")] == [
        f"a=rtcp-fb:{video.payload_type} {feedback}" for feedback in video.feedback
    ]


def test_feedback_about_the_sound_too_where_it_is_offered() -> None:
    _, audio, video = sections(agree_to_publish(offer("chromium"), BOTH))
    for section in (audio, video):
        assert "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid" in section
        assert re.search(r"a=extmap:3 http.*transport-wide-cc", section)
    assert "a=rtcp-fb:111 transport-cc" in audio
    _, audio, _ = sections(agree_to_publish(offer("firefox"), BOTH))
    assert "transport-cc" not in audio


@pytest.mark.parametrize("kind", BOTH)
def test_one_kind_alone(kind: str) -> None:
    head, *media = re.split(r"\r\n(?=m=)", offer("chromium").rstrip("\r\n"))
    alone = "\r\n".join([head, *(section for section in media if section.startswith(f"m={kind}"))]) + "\r\n"
    agreed = agree_to_publish(alone, (kind,))
    assert (agreed.video is not None, agreed.opus is not None) == (kind == "video", kind == "audio")
    answered, media_answer = sections(agreed)
    assert f"a=group:BUNDLE {int(kind == 'video')}" in answered.splitlines()
    assert media_answer.startswith(f"m={kind} 9 ")


def test_what_is_not_ours_to_take_gets_port_0() -> None:
    text = offer("chromium") + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\n"
    text += "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:3\r\na=recvonly\r\na=rtpmap:96 VP8/90000\r\n"
    head, *_, data, second = sections(agree_to_publish(text, BOTH))
    assert "a=group:BUNDLE 0 1" in head.splitlines()
    assert data.startswith("m=application 0 ")
    assert second.startswith("m=video 0 ")


@pytest.mark.parametrize(("allowed", "says"), [(("audio",), "publish video"), (("video",), "publish audio")])
def test_a_kind_that_is_not_allowed_is_refused(allowed: tuple[str, ...], says: str) -> None:
    with pytest.raises(NotAllowed, match=says):
        agree_to_publish(offer("obs"), allowed)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("H264/90000", "VP8/90000", "m=video 9 UDP/TLS/RTP/SAVPF 96 .a=mid:1.: it offers VP8/90000"),
        ("packetization-mode=1", "packetization-mode=2", "a=fmtp:96 packetization-mode=2: offer H.264 with"),
        ("opus/48000/2", "PCMU/8000", "it offers PCMU/8000; the server takes opus/48000/2 only"),
        ("a=sendonly", "a=recvonly", "a=sendonly"),
        ("v=0", "{}", "must begin with v=0"),
    ],
)
def test_what_cannot_be_taken_is_said(before: str, after: str, says: str) -> None:
    with pytest.raises(SdpError, match=says):
        agree_to_publish(offer("obs").replace(before, after), BOTH)


def test_the_level_is_the_senders_own_where_it_does_not_allow_another() -> None:
    agreed = agree_to_publish(offer("obs").replace(";level-asymmetry-allowed=1", ""), BOTH)
    assert agreed.video is not None
    assert agreed.video.parameters.endswith("profile-level-id=42e01f")


def test_without_its_header_extension_there_is_no_transport_feedback() -> None:
    text = re.sub(r"a=extmap:3 [^\r]*\r\n", "", offer("chromium"))
    agreed = agree_to_publish(text, BOTH)
    assert agreed.video is not None
    assert agreed.video.feedback == (*REPAIR, "goog-remb")
    assert agreed.opus == AudioFormat(111, ())
    assert publish_terms(agreed).transport_id == 0


def test_viewers_are_promised_no_congestion_feedback() -> None:
    agreed = agree_to_watch(offer("chromium").replace("a=sendonly", "a=recvonly"))
    assert agreed.video is not None
    assert agreed.video.feedback == REPAIR
    assert agreed.opus == AudioFormat(111, ())


def test_a_fragment_of_trickled_candidates() -> None:
    """RFC 9725 4.3.2, its figure."""
    text = (
        "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:EsAw\r\n"
        "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n"
        "a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0\r\n"
        "a=end-of-candidates\r\n"
    )
    assert (parse_fragment(text).ufrag, parse_fragment(text).password) == ("EsAw", "P2uYro0UCOQ4zxjKXaWCBui1")
    assert parse_fragment("a=ice-ufrag:u\r\na=ice-pwd:p\r\n").ufrag == "u"
    assert parse_fragment("m=audio 9 RTP/AVP 0\r\na=mid:0\r\n").ufrag == ""


@pytest.mark.parametrize("text", ["", "hello", "m=audio\r\n", "a=ice-ufrag:u\r\n"])
def test_what_is_no_fragment(text: str) -> None:
    with pytest.raises(SdpError):
        parse_fragment(text)


def test_a_restart_is_answered_with_our_new_side() -> None:
    agreed = agree_to_publish(offer("obs"), BOTH)
    lines = make_fragment(agreed.lead, LOCAL).splitlines()
    assert lines == [
        "a=ice-lite",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        "a=mid:0",
        "a=ice-ufrag:ufrag123",
        f"a=ice-pwd:{'p' * 32}",
        "a=candidate:1 1 udp 2130706430 192.0.2.1 40000 typ host",
        "a=end-of-candidates",
    ]
