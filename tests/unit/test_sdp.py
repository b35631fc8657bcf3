"""Offers of browsers in, answers out; what cannot be answered is an SdpError with a text."""

import contextlib
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sluice.rooms.engine.negotiation import agree_to_watch
from sluice.wire.sdp import AudioFormat, SdpError, VideoFormat, parse_offer
from sluice.wire.sdp_answer import LocalPeer, Sources, make_watch_answer
from sluice.wire.sdp_formats import choose_opus, choose_video

#: Chromium 156 with an audio, a video (both recvonly) and a data section.
CHROMIUM = (Path(__file__).parents[1] / "data/offers/chromium.sdp").read_bytes().decode()
LOCAL = LocalPeer("ufrag123", "p" * 32, "sha-256 AA:BB", [("192.0.2.1", 40000), ("2001:db8::1", 40000)])
SOURCES = Sources(video=1001, video_rtx=1002, audio=1003, cname="s0123")


def answer(text: str) -> str:
    agreed = agree_to_watch(text)
    return make_watch_answer(
        agreed.offer, agreed.transport, LOCAL, agreed.video, agreed.opus, SOURCES, agreed.faults
    )


def video_of(text: str) -> VideoFormat:
    """What is taken of the first section, which offers video."""
    return choose_video(parse_offer(text).media[0], 0)


def sections(text: str) -> list[str]:
    return re.split(r"\r\n(?=m=)", text.rstrip("\r\n"))


def only(kind: str) -> str:
    """Chromium's offer with one of its sections alone."""
    head, *media = sections(CHROMIUM)
    return "\r\n".join([head, *(section for section in media if section.startswith(f"m={kind}"))]) + "\r\n"


def video_offer(*lines: str, formats: str = "96") -> str:
    head = ["v=0", "a=ice-ufrag:u", "a=ice-pwd:p", f"a=fingerprint:sha-256 {':'.join(['AB'] * 32)}"]
    media = [f"m=video 9 UDP/TLS/RTP/SAVPF {formats}", "a=mid:0", "a=recvonly", "a=rtcp-mux"]
    return "\r\n".join([*head, "a=setup:actpass", *media, *lines, ""])


def test_chromium_is_understood() -> None:
    agreed = agree_to_watch(CHROMIUM)
    assert [section.kind for section in agreed.offer.media] == ["audio", "video", "application"]
    transport = agreed.transport
    assert (transport.ufrag, transport.client, transport.lead, transport.bundled) == ("6tTV", False, 0, True)
    assert transport.fingerprints.algorithm == "sha-256"
    assert [digest[:3].hex() for digest in transport.fingerprints.digests] == ["66b2c3"]
    assert agreed.opus == AudioFormat(111, ())
    # Main is the best that this build offers in packetization-mode 1; High 4:4:4 (f4) is not taken.
    parameters = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f"
    feedback = ("nack", "nack pli", "ccm fir")
    assert agreed.video == VideoFormat(116, 117, parameters, feedback, section=1)


def test_chromium_is_answered() -> None:
    head, audio, video, data = sections(answer(CHROMIUM))
    assert "a=ice-lite" in head
    assert "a=group:BUNDLE 0 1" in head.splitlines()
    for section, mid in ((audio, "0"), (video, "1")):
        lines = section.splitlines()
        assert {f"a=mid:{mid}", "a=sendonly", "a=rtcp-mux", "a=setup:passive"} <= set(lines)
        assert {"a=ice-ufrag:ufrag123", f"a=ice-pwd:{'p' * 32}", "a=fingerprint:sha-256 AA:BB"} <= set(lines)
        assert "a=candidate:1 1 udp 2130706430 192.0.2.1 40000 typ host" in lines
        assert "a=candidate:2 1 udp 2130706429 2001:db8::1 40000 typ host" in lines
    assert audio.startswith("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n")
    assert "a=fmtp:111 stereo=1;sprop-stereo=1;useinbandfec=1" in audio
    assert "a=ssrc:1003 cname:s0123" in audio
    assert video.startswith("m=video 9 UDP/TLS/RTP/SAVPF 116 117\r\n")
    assert "a=ssrc-group:FID 1001 1002" in video
    assert "transport-cc" not in video
    assert data.splitlines()[0] == "m=application 0 UDP/DTLS/SCTP webrtc-datachannel"


@pytest.mark.parametrize("kind", ["audio", "video"])
def test_one_kind_alone(kind: str) -> None:
    head, media = sections(answer(only(kind)))
    assert media.startswith(f"m={kind} 9 ")
    assert f"a=group:BUNDLE {'0' if kind == 'audio' else '1'}" in head.splitlines()


@pytest.mark.parametrize("name", ["VP8/90000", "H265/90000"])
def test_without_h264_only_the_sound_is_taken(name: str) -> None:
    _, audio, video, _ = sections(answer(CHROMIUM.replace("H264/90000", name)))
    assert audio.startswith("m=audio 9 ")
    assert video.startswith("m=video 0 ")


@pytest.mark.parametrize("direction", ["sendonly", "inactive"])
def test_a_section_that_would_not_receive_is_not_taken(direction: str) -> None:
    offer = CHROMIUM.replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 1 0")
    _, audio, video, _ = sections(answer(offer.replace("a=recvonly", f"a={direction}", 1)))
    assert audio.startswith("m=audio 0 ")
    assert video.startswith("m=video 9 ")


@pytest.mark.parametrize("mode", ["0", "2", "one"])
def test_what_we_send_is_of_packetization_mode_1(mode: str) -> None:
    text = video_offer("a=rtpmap:96 H264/90000", f"a=fmtp:96 packetization-mode={mode}")
    with pytest.raises(SdpError, match=f"a=fmtp:96 packetization-mode={mode}: "):
        video_of(text)


@pytest.mark.parametrize("fmtp", ["a=fmtp:96 profile-level-id=42e01f", "a=fmtp:96 x", "a=x"])
def test_no_packetization_mode_is_taken_and_not_answered(fmtp: str) -> None:
    """GStreamer's webrtcbin compares them (https://github.com/bluenviron/mediamtx/pull/4117)."""
    found = video_of(video_offer("a=rtpmap:96 H264/90000", fmtp))
    assert "packetization-mode" not in found.parameters
    assert ("profile-level-id=42e01f" in found.parameters) == ("profile" in fmtp)


@pytest.mark.parametrize(
    ("profiles", "chosen"),
    [(("42e01f", "640c1f", "4d001f"), 97), (("42e01f", "42001f"), 96), (("f4001f", "42e01f"), 97)],
)
def test_the_best_profile_wins_and_the_first_of_equals(profiles: tuple[str, ...], chosen: int) -> None:
    lines = [
        line
        for n, profile in enumerate(profiles, 96)
        for line in (
            f"a=rtpmap:{n} H264/90000",
            f"a=fmtp:{n} packetization-mode=1; Profile-Level-Id={profile}",
        )
    ]
    formats = " ".join(str(n) for n in range(96, 96 + len(profiles)))
    found = video_of(video_offer(*lines, formats=formats))
    assert (found.payload_type, found.rtx_type, found.feedback) == (chosen, None, ())


def test_packetization_mode_1_wins_over_the_profile() -> None:
    lines = ["a=rtpmap:96 H264/90000", "a=fmtp:96 profile-level-id=640c1f", "a=rtpmap:97 H264/90000"]
    assert video_of(video_offer(*lines, "a=fmtp:97 packetization-mode=1", formats="96 97")).payload_type == 97


@pytest.mark.parametrize("payload_type", ["128", "300", "64", "95", "-1", "x", "²", "1_0", "9" * 4000])
def test_a_payload_type_that_no_packet_can_carry_is_not_taken(payload_type: str) -> None:
    h264 = (f"a=rtpmap:{payload_type} H264/90000", f"a=fmtp:{payload_type} packetization-mode=1")
    with pytest.raises(SdpError, match="payload types of a bundle"):
        video_of(video_offer(*h264, formats=payload_type))
    section = parse_offer(video_offer(f"a=rtpmap:{payload_type} opus/48000/2", formats=payload_type)).media[0]
    with pytest.raises(SdpError, match="payload types of a bundle"):
        choose_opus(section, 0)
    rtx = ("a=rtpmap:96 H264/90000", "a=fmtp:96 packetization-mode=1", f"a=rtpmap:{payload_type} rtx/90000")
    text = video_offer(*rtx, f"a=fmtp:{payload_type} apt=96", formats=f"96 {payload_type}")
    assert video_of(text).rtx_type is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the body is empty"),
        ('{"type": "offer"}', "must begin with v=0"),
        ("v=0\\r\\no=- 1 1", "must begin with v=0, not with v=0"),
        ("v=0\r\ns=-\r\n", "no media section"),
        ("v=0\r\nm=video 9\r\n", "m=video 9: a media section is"),
        ("v=0\r\nm=video x RTP/AVP 96\r\n", "m=video x RTP/AVP 96: "),
        ("v=0\r\n" + "m=video 9 RTP/AVP 96\r\n" * 65, "more than 64 media sections"),
        (only("video").replace("a=ice-ufrag", "a=x"), "no a=ice-ufrag"),
        (only("video").replace("a=ice-pwd", "a=x"), "no a=ice-pwd"),
        (only("video").replace("a=fingerprint", "a=x"), "no a=fingerprint"),
        (only("video").replace("setup:actpass", "setup:holdconn"), "a=setup:holdconn: "),
        (only("video").replace("a=rtcp-mux", "a=x"), "m=video 9 .*no a=rtcp-mux"),
        (
            "\r\n".join([*sections(CHROMIUM)[0].splitlines(), "a=ice-lite", *sections(CHROMIUM)[1:]]),
            "a=ice-lite: ",
        ),
    ],
)
def test_what_cannot_be_answered(text: str, says: str) -> None:
    with pytest.raises(SdpError, match=says):
        agree_to_watch(text)


lines = st.sampled_from(CHROMIUM.splitlines())
garbled = st.builds(
    lambda line, at, junk: line[:at] + junk + line[at + 1 :], lines, st.integers(0, 40), st.text(max_size=4)
)


@given(st.lists(lines | garbled | st.text(max_size=30), max_size=40))
@example(["m=video 9 UDP/TLS/RTP/SAVPF 96", "a=ice-ufrag:u", "a=ice-pwd:p", "a=fingerprint:f"])
def test_garbage(body: list[str]) -> None:
    with contextlib.suppress(SdpError):
        made = answer("\r\n".join(["v=0", *body]))
        assert made.count("\r\nm=") == len(parse_offer("\r\n".join(["v=0", *body])).media)
        assert "a=mid:\r\n" not in made
