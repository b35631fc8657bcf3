"""Offers that are judged whole: each gets an answer that a strict parser connects with, or a text that names
the line. The base is Chromium's, as viewer and as publisher, with one thing odd.
"""

import re
from pathlib import Path

import pytest

from sluice.rooms.engine.negotiation import Agreement, agree_to_publish, agree_to_watch, publish_terms
from sluice.wire.sdp import SdpError
from sluice.wire.sdp_answer import LocalPeer, Sources, make_publish_answer, make_watch_answer

OFFERS = Path(__file__).parents[1] / "data/offers"
LOCAL = LocalPeer("ufrag123", "p" * 32, "sha-256 AA:BB", [("192.0.2.1", 40000)])
SOURCES = Sources(video=1001, video_rtx=1002, audio=1003, cname="s0123")
BOTH = ("audio", "video")

#: As small as an offer can be, with CRLF: one that sends and one that receives.
SMALL = """v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
a=ice-ufrag:abcd
a=ice-pwd:0123456789abcdef01234567
a=fingerprint:sha-256 {digest}
a=setup:actpass
m=audio 9 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
a=mid:0
a=sendrecv
a=rtcp-mux
a=rtpmap:111 opus/48000/2
m=video 9 UDP/TLS/RTP/SAVPF 96
c=IN IP4 0.0.0.0
a=mid:1
a=sendrecv
a=rtcp-mux
a=rtpmap:96 H264/90000
a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
""".replace("\n", "\r\n").format(digest=":".join(["AB"] * 32))
SHA_1 = f"a=fingerprint:sha-1 {':'.join(['01'] * 20)}"
SHA_256, SHA_512 = (f"a=fingerprint:sha-{n * 8} {':'.join(['CD'] * n)}" for n in (32, 64))


def watched(text: str) -> tuple[Agreement, str]:
    agreed = agree_to_watch(text)
    return agreed, make_watch_answer(
        agreed.offer, agreed.transport, LOCAL, agreed.video, agreed.opus, SOURCES, agreed.faults
    )


def published(text: str) -> tuple[Agreement, str]:
    agreed = agree_to_publish(text, BOTH)
    return agreed, make_publish_answer(agreed.offer, agreed.transport, LOCAL, agreed.video, agreed.opus)


def sections(answer: str) -> list[list[str]]:
    return [part.splitlines() for part in re.split(r"\r\n(?=m=)", answer.rstrip("\r\n"))]


def edited(*pairs: tuple[str, str], text: str = SMALL) -> str:
    for before, after in pairs:
        assert before in text
        text = text.replace(before, after)
    return text


def is_strict(offer: str, answer: str) -> None:
    """What GStreamer's webrtcbin, libwebrtc and Pion look for in an answer."""
    offered, answered = sections(offer.replace("\r\n", "\n").replace("\n", "\r\n")), sections(answer)
    assert len(offered) == len(answered)
    (group,) = [line for line in answered[0] if line.startswith("a=group:")] or [""]
    assert not group or any(line.startswith("a=group:BUNDLE") for line in offered[0])
    for before, after in zip(offered[1:], answered[1:], strict=True):
        kind, _, protocol, *_ = before[0].split()
        assert after[0].startswith(f"{kind} ")
        assert after[0].split()[2] == protocol
        assert set(after[0].split()[3:]) <= set(before[0].split()[3:])
        needed = ("a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:", "a=setup:")
        assert all(sum(line.startswith(name) for line in after) == 1 for name in needed)
        assert [x for x in after if x.startswith("a=mid")] == [x for x in before if x.startswith("a=mid")]
        mid = next((line[6:] for line in after if line.startswith("a=mid:")), "")
        if after[0].split()[1] == "0":
            assert "a=inactive" in after
            assert mid not in group.split()
        else:
            assert "a=rtcp-mux" in after
            assert not group or mid in group.split()


# --- small forms ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + SMALL,
        "\r\n\r\n" + SMALL,
        SMALL.replace("\r\n", "\n"),
        SMALL.replace("\r\n", "\r"),
        SMALL.replace("\r\n", "\r\n\r\n"),
        SMALL.replace("\r\n", "  \r\n"),
        SMALL.replace("\r\n", "\r\n    ").replace("a=mid:", "a=mid: "),
        SMALL + "\0",
        SMALL.replace("H264/90000", "H264/90000 "),
        SMALL.replace("a=rtpmap:96 H264/90000", "a=rtpmap:96\tH264 / 90000"),
        SMALL.replace("packetization-mode=1", " packetization-mode = 1 "),
        SMALL.replace("42e01f", '"42E01F"'),
        SMALL.replace(";profile-level-id", "\r\na=fmtp:96 profile-level-id"),
        SMALL.replace("SAVPF 96", "SAVPF 96 96"),
        SMALL.replace("a=rtpmap:96 H264/90000", "a=rtpmap:96 H264/90000\r\na=rtpmap:96 h264/90000"),
        SMALL.replace("opus/48000/2", "opus/48000"),
        SMALL.replace("opus/48000/2", "opus/48000/1"),
        SMALL.replace("opus/48000/2", "OPUS/48000/2").replace("H264", "h264"),
        SMALL.replace("a=setup:actpass", "A=SETUP:ACTPASS").replace("a=mid", "a=MID"),
        SMALL.replace("sha-256 AB", "SHA-256 ab"),
        SMALL.replace("c=IN IP4 0.0.0.0", "c=IN IP6 ::1\r\nb=AS:2000\r\ni=camera"),
        SMALL.replace("a=sendrecv\r\n", ""),
        SMALL.replace("a=sendrecv\r\n", "").replace("a=setup", "a=sendrecv\r\na=setup"),
        SMALL.replace("UDP/TLS/RTP/SAVPF", "RTP/SAVPF"),
        SMALL.replace("UDP/TLS/RTP/SAVPF", "TCP/DTLS/RTP/SAVPF"),
        SMALL.replace("m=video 9 ", "m=video 0 ").replace("a=mid:1", "a=mid:1\r\na=bundle-only"),
        SMALL + "a=rid:h send\r\na=rid:l send\r\na=simulcast:send h;l\r\na=extmap-allow-mixed\r\n",
        SMALL + "a=candidate:1 1 udp 1 2001:db8::1 9 typ host\r\n" * 500 + "a=end-of-candidates\r\n",
        SMALL
        + "a=extmap\r\na=rtpmap\r\na=fmtp:\r\na=rtcp-fb\r\na=group\r\na=ssrc\r\na=\r\na\r\nx=1\r\n=\r\n",
        SMALL + "m=text 9 UDP/TLS/RTP/SAVPF 98\r\na=mid:2\r\nm=datachannel 9 x y\r\na=mid:z\r\n",
    ],
)
def test_odd_forms_are_taken_whole(text: str) -> None:
    plain = text.lstrip("\ufeff\r\n ")
    for agreed, answer in (watched(text), published(text)):
        assert agreed.video is not None
        assert agreed.opus is not None
        assert (agreed.video.payload_type, agreed.opus.payload_type) == (96, 111)
        assert answer.count("\r\nm=") == len(re.findall(r"(?m)^ *m=", plain.replace("\r", "\n")))
        for line in answer.splitlines():
            assert re.fullmatch(r"[a-z]=.*[^\s:]", line)


def test_formats_are_answered_in_the_words_of_the_offer() -> None:
    _, answer = watched(edited(("opus/48000/2", "OPUS/48000/1"), ("H264/90000", "h264/90000")))
    assert "a=rtpmap:111 OPUS/48000/1\r\n" in answer
    assert "a=rtpmap:96 h264/90000\r\n" in answer


@pytest.mark.parametrize("name", ["chromium", "firefox", "obs", "safari"])
def test_answers_are_strict(name: str) -> None:
    text = (OFFERS / f"{name}-publish.sdp").read_bytes().decode()
    is_strict(text, published(text)[1])
    text = text.replace("a=sendonly", "a=recvonly")
    is_strict(text, watched(text)[1])


# --- bundle and sections ----------------------------------------------------------------------------------


def test_without_a_mid_none_is_answered() -> None:
    """https://github.com/Kurento/bugtracker/issues/627"""
    text = edited(("a=group:BUNDLE 0 1\r\n", ""), ("a=mid:0\r\n", ""), ("a=mid:1\r\n", ""))
    for one in (text[: text.index("m=video")], text.replace("m=audio 9", "m=audio 0")):
        for _, answer in (watched(one), published(one)):
            assert "a=mid" not in answer
            assert "a=group" not in answer
            is_strict(one, answer)


def test_a_section_that_the_offer_rejects_stays_rejected() -> None:
    text = edited(("m=video 9", "m=video 0"))
    for agreed, answer in (watched(text), published(text)):
        assert agreed.video is None
        assert sections(answer)[2][0] == "m=video 0 UDP/TLS/RTP/SAVPF 96"
        assert "a=group:BUNDLE 0" in sections(answer)[0]
        is_strict(text, answer)


def test_the_head_of_the_bundle_is_kept_when_nothing_of_it_is_taken() -> None:
    """With port 0, GStreamer drops the transport of all."""
    text = edited(("a=group:BUNDLE 0 1", "a=group:BUNDLE 1 0"), ("H264", "VP8"))
    agreed, answer = watched(text)
    assert (agreed.video, agreed.transport.lead) == (None, 1)
    head, audio, video = sections(answer)
    assert "a=group:BUNDLE 1 0" in head
    assert video[0] == "m=video 9 UDP/TLS/RTP/SAVPF 96"
    assert {"a=inactive", "a=rtpmap:96 VP8/90000"} <= set(video)
    assert "a=sendonly" in audio
    is_strict(text, answer)


def test_a_viewer_is_told_in_the_answer_what_is_not_taken() -> None:
    _, answer = watched(edited(("packetization-mode=1", "packetization-mode=0")))
    told = [line for line in sections(answer)[2] if line.startswith("i=")]
    assert len(told) == 1
    assert "a=fmtp:96 packetization-mode=0: offer H.264 with packetization-mode=1" in told[0]
    assert "\r\ni=" not in watched(SMALL)[1]


def test_a_viewer_gets_the_first_section_that_fits() -> None:
    text = SMALL + "m=video 9 UDP/TLS/RTP/SAVPF 97\r\na=mid:2\r\na=recvonly\r\na=rtpmap:97 H264/90000\r\n"
    text = text.replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 0 1 2")
    agreed, answer = watched(text.replace("a=rtpmap:96 H264", "a=rtpmap:96 VP8"))
    assert agreed.video is not None
    assert (agreed.video.payload_type, agreed.video.section) == (97, 2)
    assert [section[0][:9] for section in sections(answer)[1:]] == ["m=audio 9", "m=video 0", "m=video 9"]
    assert [section[0][:9] for section in sections(watched(text)[1])[1:]] == [
        "m=audio 9",
        "m=video 9",
        "m=video 0",
    ]


DATA = "m=application {} UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\na=sctp-port:5000\r\nm=audio"


@pytest.mark.parametrize("port", ["9", "4000", "0"])
def test_data_channels_in_front(port: str) -> None:
    """Chromium with max-bundle: 'Failed to setup RTCP mux' where the transport of all is rejected."""
    text = edited(("BUNDLE 0 1", "BUNDLE 2 0 1"), ("m=audio", DATA.format(port)))
    for _, answer in (watched(text), published(text)):
        head, data, *_ = sections(answer)
        assert ("a=group:BUNDLE 0 1" if port == "0" else "a=group:BUNDLE 2 0 1") in head
        assert data[0] == f"m=application {'0' if port == '0' else '9'} UDP/DTLS/SCTP webrtc-datachannel"
        assert ("a=sctp-port:5000" in data) == (port != "0")


def test_the_head_of_the_bundle_may_be_of_no_kind_that_we_know() -> None:
    text = edited(("BUNDLE 0 1", "BUNDLE 2 0 1"), ("m=audio", "m=text 9 X 5\r\na=mid:2\r\nm=audio"))
    with pytest.raises(SdpError, match=r"m=text 9 X 5 .*behind the media"):
        watched(text)


# --- transport --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "algorithm", "first"),
    [
        ([SHA_256, SHA_1], "sha-256", "cd"),
        ([SHA_1, SHA_256], "sha-256", "cd"),
        ([SHA_256, SHA_512, SHA_1], "sha-512", "cd"),
        ([SHA_256, "a=fingerprint:md2 00", "a=fingerprint:", "a=fingerprint:sha-512 AB"], "sha-256", "cd"),
        ([SHA_1], "sha-256", "ab"),
    ],
)
@pytest.mark.parametrize("where", ["a=mid:0\r\n", "a=mid:1\r\n", "a=setup:actpass\r\n"])
def test_the_strongest_fingerprint_counts(lines: list[str], algorithm: str, first: str, where: str) -> None:
    """RFC 8122 5 (https://github.com/sipwise/rtpengine/issues/1092); SMALL has one before its sections."""
    text = edited((where, where + "\r\n".join([*lines, ""])))
    if where == "a=mid:1\r\n" and first == "cd":
        text = re.sub("a=fingerprint:sha-256 AB[^\r]*\r\n", "", text)
    found = watched(text)[0].transport.fingerprints
    if where == "a=setup:actpass\r\n" and algorithm == "sha-256" and first == "cd":
        assert [digest[:1].hex() for digest in found.digests] == ["ab", "cd"]
    else:
        assert (found.algorithm, [digest[:1].hex() for digest in found.digests]) == (algorithm, [first])


@pytest.mark.parametrize(
    ("setup", "client", "answered"),
    [("actpass", False, "passive"), ("active", False, "passive"), ("passive", True, "active")],
)
def test_both_roles_of_dtls_are_spoken(setup: str, client: bool, answered: str) -> None:
    """ffmpeg -f whip offers passive unless told otherwise."""
    for where in (
        edited(("a=setup:actpass", f"a=setup:{setup}")),
        edited(("a=setup:actpass\r\n", ""), ("a=mid:0", f"a=mid:0\r\na=setup:{setup}")),
    ):
        agreed, answer = published(where)
        assert agreed.transport.client is client
        assert answer.count(f"a=setup:{answered}") == 2


def test_no_setup_means_active() -> None:
    assert not published(edited(("a=setup:actpass\r\n", "")))[0].transport.client


NO_GROUP = ("a=group:BUNDLE 0 1\r\n", "")


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        ([NO_GROUP], "m=audio 9 .*a=mid:0.*not in the a=group:BUNDLE"),
        ([("BUNDLE 0 1", "BUNDLE 0")], "m=video 9 .*a=mid:1.*not in the a=group:BUNDLE"),
        ([("a=group:BUNDLE 0 1", "a=group:BUNDLE 0\r\na=group:BUNDLE 1")], "m=video 9 .*not in the a=group"),
        ([NO_GROUP, ("a=mid:0\r\n", "")], "m=audio 9 .*no a=mid"),
        ([("a=mid:1\r\n", "")], "m=video 9 .*no a=mid"),
        ([("a=mid:1", "a=mid:0")], "a=mid:0: "),
        ([("a=mid:1", "a=mid:1 2")], "a=mid:1 2: "),
        ([("a=rtcp-mux\r\n", "")], "m=audio 9 .*no a=rtcp-mux"),
        ([("t=0 0", "t=0 0\r\na=ice-lite")], "a=ice-lite: "),
        ([("a=setup:actpass", "a=setup:holdconn")], "a=setup:holdconn: "),
        ([("a=ice-ufrag:abcd\r\n", "")], "no a=ice-ufrag"),
        ([("a=ice-ufrag:abcd", "a=ice-ufrag:")], "no a=ice-ufrag"),
        ([("a=ice-pwd", "a=x")], "no a=ice-pwd"),
        ([("sha-256 AB", "sha-1 AB")], "a=fingerprint:sha-1 AB:AB.*: it must be a digest by sha-512"),
        ([("sha-256 AB", "sha-256 AX")], "a=fingerprint:sha-256 AX"),
        ([("a=fingerprint", "a=crypto")], "no a=fingerprint"),
        ([("a=rtpmap:96 H264/90000", "a=rtpmap:96 H264/90000\r\na=rtpmap:96 VP8/90000")], "a=rtpmap:96 H264"),
        ([("96", "111")], "a=rtpmap:111: "),
        ([("m=video 9", "m=video x")], "m=video x UDP"),
        (
            [("SAVPF 96", "SAVPF 96" + " 97" * 2000)],
            "m=video 9 UDP/TLS/RTP/SAVPF 96 97 97 .*…: a media section",
        ),
        ([("a=ice-ufrag:abcd", "a=ice-ufrag:" + "x" * 5000)], "no a=ice-ufrag"),
        ([("m=video 9 UDP/TLS/RTP/SAVPF 96", "m=video 9 RTP/SAVPF")], "m=video 9 RTP/SAVPF: "),
    ],
)
def test_what_keeps_a_peer_from_connecting_is_told(pairs: list[tuple[str, str]], says: str) -> None:
    for judge in (watched, published):
        with pytest.raises(SdpError, match=says):
            judge(edited(*pairs))


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        (
            [("opus/48000/2", "opus/16000"), ("H264", "VP8")],
            "m=video 9 .*it offers VP8.*m=audio 9 .*opus/16000",
        ),
        ([("sendrecv", "sendonly")], "m=audio 9 .*a=sendonly.*a=recvonly"),
        ([("UDP/TLS/RTP/SAVPF", "UDP/X")], "m=audio 9 UDP/X"),
        ([("m=audio 9", "m=audio 0"), ("m=video 9", "m=video 0")], "can receive nothing"),
    ],
)
def test_a_viewer_that_can_receive_nothing_is_told_why(pairs: list[tuple[str, str]], says: str) -> None:
    with pytest.raises(SdpError, match=says):
        watched(edited(*pairs))


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        ([("mode=1", "mode=2")], "m=video 9 .*a=fmtp:96 packetization-mode=2: "),
        ([("42e01f", "f4001f")], "a=fmtp:96 profile-level-id=f4001f: .*Baseline"),
        ([("42e01f", "42e0")], "a=fmtp:96 profile-level-id=42e0: .*six"),
        ([("opus/48000/2", "PCMU/8000")], "m=audio 9 .*it offers PCMU/8000"),
        ([("m=audio", "m=video 9 RTP/SAVPF 97\r\na=mid:5\r\nm=audio")], "m=video 9 .*a=mid:1.*one video"),
        ([("a=mid:1", "a=mid:1\r\na=ssrc-group:SIM 1 2 3")], "a=ssrc-group:SIM"),
        ([("sendrecv", "recvonly")], "sends nothing: m=audio 9 .*a=recvonly.*a=sendonly"),
    ],
)
def test_what_cannot_be_published_is_told(pairs: list[tuple[str, str]], says: str) -> None:
    with pytest.raises(SdpError, match=says):
        published(edited(*pairs))


# --- what is published ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "answered"),
    [
        ("packetization-mode=1", "packetization-mode=1;"),
        ("packetization-mode=0", "packetization-mode=0;"),
        ("x=1", ""),
    ],
)
def test_publishers_of_packetization_mode_0_are_taken_as_such(mode: str, answered: str) -> None:
    """RFC 6184 8.2.2: the mode is the same in both directions."""
    agreed, _ = published(edited(("packetization-mode=1", mode)))
    assert agreed.video is not None
    assert agreed.video.parameters == f"level-asymmetry-allowed=1;{answered}profile-level-id=42e034"


SETS = "Z0LADYyNQKD9gA==,aM48gA=="  # an SPS and its PPS


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        (SETS, [7, 8]),
        (SETS.replace("=", ""), [7, 8]),
        ("!," + SETS, [7, 8]),
        ("Z0I,aM48gA==", [8]),
        (",", []),
        ("é", []),
    ],
)
def test_parameter_sets_of_an_offer(text: str, kinds: list[int]) -> None:
    """https://github.com/meetecho/janus-gateway/issues/849"""
    offer = edited(("42e01f", f"42e01f;sprop-parameter-sets={text}"))
    video = publish_terms(published(offer)[0]).video
    assert video is not None
    assert [unit[0] & 0x1F for unit in video.parameter_sets] == kinds
    watching = watched(offer)[0].video
    assert watching is not None
    assert watching.parameter_sets == ()


def test_extensions_are_agreed_on_in_the_direction_that_they_have() -> None:
    cc = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
    lines = "a=rtcp-fb:* transport-cc\r\na=extmap:3{} " + cc
    for direction, answered in (("", f"a=extmap:3 {cc}"), ("/sendonly", f"a=extmap:3/recvonly {cc}")):
        text = edited(("a=rtcp-mux", "a=rtcp-mux\r\n" + lines.format(direction)))
        agreed, answer = published(text)
        assert answer.count(answered + "\r\n") == 2
        assert publish_terms(agreed).transport_id == 3
        assert "extmap" not in watched(text)[1], "nothing that we send has one"
    agreed, answer = published(edited(("a=rtcp-mux", "a=rtcp-mux\r\n" + lines.format("/recvonly"))))
    assert "extmap" not in answer
    assert publish_terms(agreed).transport_id == 0
    text = edited(("a=rtcp-mux", "a=rtcp-mux\r\n" + lines.format("")))
    with pytest.raises(SdpError, match="must have one id"):
        published(text.replace("a=extmap:3", "a=extmap:4", 1))
