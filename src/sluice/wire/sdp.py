"""SDP offers of bundled WebRTC peers (RFC 8829, RFC 8843, RFC 8859), and what of them is taken.

Only what an answer needs is read from an offer; anything else in it is ignored. H.264 in packetization-mode 1
and Opus are taken, nothing else: what people publish is pushed to CDNs without being encoded anew. Answers
are made in `wire.sdp_answer`.
"""

from collections.abc import Collection
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
    extensions: dict[str, int] = field(default_factory=dict)  #: ids of header extensions, by URI
    reduced_size: bool = False  #: RTCP packets may come alone (RFC 5506)


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """What was agreed on for video; `rtx_type` is None where the offer has no RTX (RFC 4588)."""

    payload_type: int
    rtx_type: int | None
    parameters: str
    feedback: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """What was agreed on for Opus."""

    payload_type: int
    feedback: tuple[str, ...]


#: Header extensions that we agree on: the number of a packet in its transport, and the section that it
#: belongs to (RFC 8843 15; the payload type tells us as well).
TRANSPORT_CC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
MID = "urn:ietf:params:rtp-hdrext:sdes:mid"

#: Directions of a section in which the peer receives, and in which it sends.
RECEIVES, SENDS = ("recvonly", "sendrecv"), ("sendonly", "sendrecv")


@dataclass(frozen=True, slots=True)
class Offer:
    """`fingerprint` is ``algorithm hex:hex…`` of the peer's certificate, which DTLS must show."""

    media: tuple[MediaOffer, ...]
    ufrag: str
    password: str
    fingerprint: str

    def first(self, kind: str, directions: Collection[str] = RECEIVES) -> MediaOffer | None:
        """The first section of this kind that has one of these directions."""
        return next((m for m in self.media if m.kind == kind and m.direction in directions), None)


def parse_offer(text: str) -> Offer:
    """Raises SdpError for what is no offer of a bundled WebRTC peer."""
    if not text.startswith("v=0"):
        raise SdpError("the body is no SDP (it must begin with v=0)")
    session, sections = _sections(text)
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


@dataclass(frozen=True, slots=True)
class Fragment:
    """What a client tells of its ICE session later (RFC 8840 9); empty texts where it says nothing."""

    ufrag: str
    password: str


def parse_fragment(text: str) -> Fragment:
    """Raises SdpError for what is no ICE fragment. Its candidates are not read: ICE-lite sends no checks."""
    session, sections = _sections(text)
    lead = next((m for m in (session, *sections) if m.ufrag), session)
    if not sections and not lead.ufrag:
        raise SdpError("the body is no ICE fragment (it has neither a=ice-ufrag nor a media section)")
    if bool(lead.ufrag) != bool(lead.password):
        raise SdpError("the fragment must have both a=ice-ufrag and a=ice-pwd, or none of them")
    return Fragment(lead.ufrag, lead.password)


def _sections(text: str) -> tuple[MediaOffer, list[MediaOffer]]:
    """What stands before the first media section, and the media sections. Raises SdpError."""
    session = MediaOffer("", "", [])
    sections: list[MediaOffer] = []
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if name == "m":
            sections.append(_media(value))
        elif name == "a":
            _attribute(sections[-1] if sections else session, value)
    return session, sections


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
    elif name == "rtcp-rsize":
        section.reduced_size = True
    elif name == "extmap":
        _extension(section, value)
    elif name in ("rtpmap", "fmtp", "rtcp-fb"):
        payload_type, _, rest = value.partition(" ")
        if name == "rtpmap":
            section.rtpmap[payload_type] = rest.lower()
        elif name == "fmtp":
            section.fmtp[payload_type] = _parameters(rest)
        else:
            section.feedback.setdefault(payload_type, set()).add(rest.strip())


def _extension(section: MediaOffer, value: str) -> None:
    """RFC 8285 8: ``id["/"direction] uri [attributes]``. Ids up to 14 fit heads of one byte."""
    number, _, rest = value.partition(" ")
    number = number.partition("/")[0]
    if rest and number.isascii() and number.isdecimal() and 1 <= int(number[:4]) <= 14:
        section.extensions.setdefault(rest.split()[0], int(number))


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
_CONGESTION_FEEDBACK = ("transport-cc", "goog-remb")


def choose_video(section: MediaOffer, *, sends: bool = False) -> VideoFormat | None:
    """H.264, packetization-mode 1, the best profile offered: a copied stream is sent as it is, whatever
    its profile, and decoders that offer a profile take the lower ones too. `sends`: the peer does."""
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
    profile_level = parameters.get("profile-level-id", "42001f")
    if sends and parameters.get("level-asymmetry-allowed") == "1" and len(profile_level) == 6:
        # RFC 6184 8.2.2: each side then names what it can receive, and we only pass on. Some encoders slow
        # down to keep the level, and browsers offer 3.1 whatever they can.
        profile_level = profile_level[:4] + _HIGHEST_LEVEL
    return VideoFormat(
        int(chosen),
        _rtx_of(section, chosen),
        f"level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile_level}",
        _agreed(section, chosen, _VIDEO_FEEDBACK + _CONGESTION_FEEDBACK if sends else _VIDEO_FEEDBACK),
    )


_HIGHEST_LEVEL = "34"  # 5.2


def _agreed(section: MediaOffer, payload_type: str, names: Collection[str]) -> tuple[str, ...]:
    """The kinds of feedback among these that are offered."""
    offered = section.feedback.get(payload_type, set()) | section.feedback.get("*", set())
    if TRANSPORT_CC not in section.extensions:
        offered.discard("transport-cc")
    if "transport-cc" in offered:
        offered.discard("goog-remb")  # the sender's own estimate is the better one
    return tuple(name for name in names if name in offered)


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


def choose_opus(section: MediaOffer, *, sends: bool = False) -> AudioFormat | None:
    return next(
        (
            AudioFormat(int(candidate), _agreed(section, candidate, ("transport-cc",) if sends else ()))
            for candidate in section.formats
            if _is_payload_type(candidate) and section.rtpmap.get(candidate) == "opus/48000/2"
        ),
        None,
    )
