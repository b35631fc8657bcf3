"""SDP offer and answer of a bundled WebRTC peer that watches (RFC 8829, RFC 8843, RFC 8859).

We are ICE-lite and DTLS server: the answer names our candidates and waits. Only what an answer needs is
read from an offer; anything else in it is ignored. H.264 in packetization-mode 1 and Opus are taken, every
other section is answered with port 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


class SdpError(ValueError):
    """The offer cannot be answered; the text tells its sender why."""


@dataclass(slots=True)
class MediaOffer:
    """One m-section of an offer, as far as an answer depends on it."""

    kind: str
    protocol: str
    formats: list[str]
    mid: str = ""
    direction: str = "sendrecv"
    setup: str = "actpass"
    ufrag: str = ""
    password: str = ""
    fingerprint: str = ""
    rtpmap: dict[str, str] = field(default_factory=dict)
    fmtp: dict[str, dict[str, str]] = field(default_factory=dict)
    feedback: dict[str, set[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """What was agreed on for video; `rtx_type` is None where the offer has no RTX (RFC 4588)."""

    payload_type: int
    rtx_type: int | None
    parameters: str
    feedback: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Offer:
    """`fingerprint` is ``algorithm hex:hex…`` of the peer's certificate, which DTLS must show."""

    media: tuple[MediaOffer, ...]
    ufrag: str
    password: str
    fingerprint: str

    def first(self, kind: str) -> MediaOffer | None:
        """The first section of this kind in which the peer would receive."""
        receiving = ("recvonly", "sendrecv")
        return next((m for m in self.media if m.kind == kind and m.direction in receiving), None)


def parse_offer(text: str) -> Offer:
    """Raises SdpError for what is no offer of a bundled WebRTC peer."""
    if not text.startswith("v=0"):
        raise SdpError("the body is no SDP (it must begin with v=0)")
    session = MediaOffer("", "", [])
    sections: list[MediaOffer] = []
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if name == "m":
            sections.append(_media(value))
        elif name == "a":
            _attribute(sections[-1] if sections else session, value)
    if not sections:
        raise SdpError("the offer has no media section")
    lead = next((m for m in sections if m.ufrag or session.ufrag), None)
    if lead is None:
        raise SdpError("the offer has no ice-ufrag")
    offer = Offer(
        tuple(sections),
        lead.ufrag or session.ufrag,
        lead.password or session.password,
        lead.fingerprint or session.fingerprint,
    )
    if not offer.password or not offer.fingerprint:
        raise SdpError("the offer lacks ice-pwd or fingerprint")
    if (session.setup if lead.setup == "actpass" else lead.setup) == "passive":
        raise SdpError("the offer says setup:passive, but the server is passive itself")
    return offer


def _media(value: str) -> MediaOffer:
    parts = value.split()
    if len(parts) < 4:
        raise SdpError("a media section is malformed")
    return MediaOffer(parts[0], parts[2], parts[3:])


def _attribute(section: MediaOffer, text: str) -> None:
    name, _, value = text.partition(":")
    if name in ("sendrecv", "sendonly", "recvonly", "inactive"):
        section.direction = name
    elif name == "mid":
        section.mid = value
    elif name == "setup":
        section.setup = value
    elif name == "ice-ufrag":
        section.ufrag = value
    elif name == "ice-pwd":
        section.password = value
    elif name == "fingerprint":
        section.fingerprint = value
    elif name in ("rtpmap", "fmtp", "rtcp-fb"):
        payload_type, _, rest = value.partition(" ")
        if name == "rtpmap":
            section.rtpmap[payload_type] = rest.lower()
        elif name == "fmtp":
            section.fmtp[payload_type] = _parameters(rest)
        else:
            section.feedback.setdefault(payload_type, set()).add(rest.strip())


def _parameters(text: str) -> dict[str, str]:
    pairs = (part.strip().partition("=") for part in text.split(";"))
    return {name.lower(): value for name, _, value in pairs if name}


def _is_payload_type(text: str) -> bool:
    """RFC 3551 6: 7 bits; RFC 5761 4: 64 to 95 could not be told from RTCP on a shared port."""
    return text.isascii() and text.isdecimal() and len(text) <= 3 and int(text) in _PAYLOAD_TYPES


_PAYLOAD_TYPES = frozenset((*range(64), *range(96, 128)))

#: Profiles by what a decoder of them can show, best first (profile_idc in hex).
_PROFILES = ("64", "4d", "42")
_VIDEO_FEEDBACK = ("nack", "nack pli", "ccm fir")


def choose_video(section: MediaOffer) -> VideoFormat | None:
    """H.264, packetization-mode 1, the best profile offered: a copied stream is sent as it is, whatever
    its profile, and decoders that offer a profile take the lower ones too."""
    best: tuple[int, int] | None = None
    for order, payload_type in enumerate(section.formats):
        parameters = section.fmtp.get(payload_type, {})
        profile = parameters.get("profile-level-id", "42001f")[:2].lower()
        if (
            _is_payload_type(payload_type)
            and section.rtpmap.get(payload_type) == "h264/90000"
            and parameters.get("packetization-mode") == "1"
            and profile in _PROFILES
        ):
            rank = (_PROFILES.index(profile), order)
            best = rank if best is None or rank < best else best
    if best is None:
        return None
    chosen = section.formats[best[1]]
    parameters = section.fmtp[chosen]
    offered = section.feedback.get(chosen, set()) | section.feedback.get("*", set())
    return VideoFormat(
        int(chosen),
        _rtx_of(section, chosen),
        "level-asymmetry-allowed=1;packetization-mode=1;"
        f"profile-level-id={parameters.get('profile-level-id', '42001f')}",
        tuple(name for name in _VIDEO_FEEDBACK if name in offered),
    )


def _rtx_of(section: MediaOffer, payload_type: str) -> int | None:
    return next(
        (
            int(candidate)
            for candidate in section.formats
            if _is_payload_type(candidate)
            and section.rtpmap.get(candidate) == "rtx/90000"
            and section.fmtp.get(candidate, {}).get("apt") == payload_type
        ),
        None,
    )


def choose_opus(section: MediaOffer) -> int | None:
    return next(
        (int(f) for f in section.formats if _is_payload_type(f) and section.rtpmap.get(f) == "opus/48000/2"),
        None,
    )


@dataclass(frozen=True, slots=True)
class Sources:
    """The SSRCs of one published stream, and the name that ties its tracks together."""

    video: int
    video_rtx: int
    audio: int
    cname: str


@dataclass(frozen=True, slots=True)
class LocalPeer:
    """Our side of the transport. `fingerprint` is ``sha-256 AA:BB…``, candidates are (address, port)."""

    ufrag: str
    password: str
    fingerprint: str
    candidates: Sequence[tuple[str, int]]


def make_answer(
    offer: Offer, local: LocalPeer, video: VideoFormat | None, opus: int | None, sources: Sources
) -> str:
    """The answer to a watching peer: our tracks are sendonly; sections not taken get port 0."""
    taken: Mapping[int, list[str]] = {
        id(section): lines
        for section, lines in (
            (offer.first("video"), _video_lines(video, sources) if video else None),
            (offer.first("audio"), _audio_lines(opus, sources) if opus is not None else None),
        )
        if section is not None and lines is not None
    }
    mids = [section.mid for section in offer.media if id(section) in taken]
    lines = [
        "v=0",
        "o=- 1 1 IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        "a=ice-lite",
        f"a=group:BUNDLE {' '.join(mids)}",
        f"a=msid-semantic: WMS {sources.cname}",
    ]
    for section in offer.media:
        body = taken.get(id(section))
        if body is None:
            lines.append(f"m={section.kind} 0 {section.protocol} {' '.join(section.formats)}")
            lines += ["c=IN IP4 0.0.0.0", "a=inactive", f"a=mid:{section.mid}"]
        else:
            lines += [body[0], "c=IN IP4 0.0.0.0", f"a=mid:{section.mid}"]
            lines += _transport_lines(local)
            lines += body[1:]
    return "\r\n".join(lines) + "\r\n"


def _transport_lines(local: LocalPeer) -> list[str]:
    return [
        "a=rtcp-mux",
        "a=setup:passive",
        f"a=ice-ufrag:{local.ufrag}",
        f"a=ice-pwd:{local.password}",
        f"a=fingerprint:{local.fingerprint}",
        *(
            f"a=candidate:{n} 1 udp {2130706431 - n} {address} {port} typ host"
            for n, (address, port) in enumerate(local.candidates, 1)
        ),
        "a=end-of-candidates",
    ]


def _video_lines(video: VideoFormat, sources: Sources) -> list[str]:
    types = [video.payload_type] + ([video.rtx_type] if video.rtx_type is not None else [])
    lines = [
        f"m=video 9 UDP/TLS/RTP/SAVPF {' '.join(map(str, types))}",
        "a=sendonly",
        f"a=msid:{sources.cname} video",
        "a=rtcp-rsize",
        f"a=rtpmap:{video.payload_type} H264/90000",
        f"a=fmtp:{video.payload_type} {video.parameters}",
        *(f"a=rtcp-fb:{video.payload_type} {name}" for name in video.feedback),
    ]
    if video.rtx_type is not None:
        lines += [
            f"a=rtpmap:{video.rtx_type} rtx/90000",
            f"a=fmtp:{video.rtx_type} apt={video.payload_type}",
            f"a=ssrc-group:FID {sources.video} {sources.video_rtx}",
        ]
    lines.append(f"a=ssrc:{sources.video} cname:{sources.cname}")
    if video.rtx_type is not None:
        lines.append(f"a=ssrc:{sources.video_rtx} cname:{sources.cname}")
    return lines


def _audio_lines(payload_type: int, sources: Sources) -> list[str]:
    return [
        f"m=audio 9 UDP/TLS/RTP/SAVPF {payload_type}",
        "a=sendonly",
        f"a=msid:{sources.cname} audio",
        f"a=rtpmap:{payload_type} opus/48000/2",
        f"a=fmtp:{payload_type} stereo=1;sprop-stereo=1;useinbandfec=1",
        f"a=ssrc:{sources.audio} cname:{sources.cname}",
    ]
