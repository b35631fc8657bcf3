"""Parses SDP offers of WebRTC peers (RFC 8829, RFC 8843, RFC 8859), and has the types for what is agreed on.

Only what an answer needs is read from an offer; anything else in it is ignored. Blanks, blank lines, a byte
order mark and the case of names do not matter. `wire.sdp_formats` (codecs) and `wire.sdp_transport` (bundle,
ICE, DTLS) decide what is taken; `wire.sdp_answer` makes answers.
"""

import re
import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sluice.core.limits import MOST_ICE_CHARACTERS, MOST_OFFER_BYTES, MOST_SDP_LINES


class SdpError(ValueError):
    """The offer cannot be answered; the text tells its sender why, and names the line."""


@dataclass(slots=True)
class MediaOffer:
    """One media section of an offer, as far as an answer depends on it; with an empty `line`, the session
    part before the first one."""

    line: str  #: its m-line
    kind: str = ""
    port: str = ""
    protocol: str = ""
    formats: list[str] = field(default_factory=list)
    mid: str = ""
    direction: str = ""
    setup: str = ""
    ufrag: str = ""
    password: str = ""
    fingerprints: list[str] = field(default_factory=list)  #: ``algorithm hex:hex…``
    rtpmap: dict[str, str] = field(default_factory=dict)
    fmtp: dict[str, dict[str, str]] = field(default_factory=dict)
    feedback: dict[str, set[str]] = field(default_factory=dict)
    #: Header extensions that the peer sends: ids and directions by URI.
    extensions: dict[str, tuple[int, str]] = field(default_factory=dict)
    mux: bool = False  #: RTP and RTCP share a port (RFC 5761)
    reduced_size: bool = False  #: RTCP packets may come alone (RFC 5506)
    bundle_only: bool = False  #: port 0 does not mean that the section is rejected (RFC 8843 6)
    ice_lite: bool = False
    simulcast: bool = False  #: one source sends several encodings without asking (``a=ssrc-group:SIM``)

    @property
    def is_data(self) -> bool:
        """Whether it is for data channels (RFC 8841)."""
        return self.kind == "application" and self.protocol.upper().endswith("DTLS/SCTP")

    def inherit(self, session: "MediaOffer") -> None:
        """Takes over what the session part says for all sections."""
        self.direction = self.direction or session.direction or "sendrecv"
        self.extensions = {**session.extensions, **self.extensions}
        self.reduced_size |= session.reduced_size

    def __str__(self) -> str:
        return shown(self.line) + (f" (a=mid:{shown(self.mid)})" if self.mid else "")


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """What was agreed on for video. `rtx_type` is None where the offer has no RTX (RFC 4588); `section` is
    the index of its section in the offer."""

    payload_type: int
    rtx_type: int | None
    parameters: str
    feedback: tuple[str, ...]
    parameter_sets: tuple[bytes, ...] = ()  #: the peer's, if its offer has them
    encoding: str = "H264/90000"  #: as the peer writes it
    section: int = 0


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """What was agreed on for Opus; the rest as in VideoFormat."""

    payload_type: int
    feedback: tuple[str, ...]
    encoding: str = "opus/48000/2"
    section: int = 0


#: Header extensions that we agree on: the number of a packet in its transport, and the section that it
#: belongs to (RFC 8843 15; the payload type tells us as well).
TRANSPORT_CC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
MID = "urn:ietf:params:rtp-hdrext:sdes:mid"

#: Directions of a section in which the peer receives, and in which it sends.
RECEIVES, SENDS = ("recvonly", "sendrecv"), ("sendonly", "sendrecv")

#: RTP profiles as WebRTC peers write them; all mean RTP over DTLS with feedback (RFC 8829 5.1.2).
_RTP = re.compile(r"((UDP|TCP)/(TLS|DTLS)/)?RTP/S?AVPF?", re.IGNORECASE)
#: An answer has as many sections as its offer, each with our side of the transport.
_MOST_SECTIONS = 64
#: BUNDLE groups; each section is looked up in all of them.
_MOST_BUNDLES = 16
#: Longer lines are ignored, so that what is kept is bounded: they hold nothing that we need.
_LONGEST_LINE = 4096


@dataclass(frozen=True, slots=True)
class Offer:
    """A parsed offer. `bundles`: the mids of each group of sections that share a transport."""

    session: MediaOffer
    media: tuple[MediaOffer, ...]
    bundles: tuple[tuple[str, ...], ...]

    def places(self, kind: str, directions: tuple[str, ...]) -> list[int]:
        """Indexes of the sections of this kind that have one of these directions and may be taken."""
        return [
            n
            for n, m in enumerate(self.media)
            if m.kind == kind and m.direction in directions and self.is_open(m)
        ]

    def is_open(self, section: MediaOffer) -> bool:
        """Whether it can be answered with a port: it is RTP, and the peer itself does not reject it."""
        bundled = section.bundle_only and self.bundle_of(section)
        return bool((section.port != "0" or bundled) and _RTP.fullmatch(section.protocol))

    def bundle_of(self, section: MediaOffer) -> tuple[str, ...]:
        """The mids of its bundle; empty if it is in none."""
        return next((mids for mids in self.bundles if section.mid and section.mid in mids), ())


def parse_offer(text: str) -> Offer:
    """Raises SdpError for text that is no offer, and for an offer that no answer could make work."""
    lines = list(_lines(text))
    if not lines:
        raise SdpError("the body is empty; it must be an SDP offer")
    if lines[0] != ("v", "0"):
        raise SdpError(f"the body is no SDP: it must begin with v=0, not with {shown('='.join(lines[0]))}")
    session, sections, bundles = _sections(lines)
    if not sections:
        raise SdpError("the offer has no media section")
    if any(section.ice_lite for section in (session, *sections)):
        raise SdpError("a=ice-lite: the server is ICE-lite itself, so the offer's side must send the checks")
    mids = [section.mid for section in sections if section.mid]
    for mid in mids:
        if mids.count(mid) > 1 or len(mid.split()) > 1:
            raise SdpError(f"a=mid:{shown(mid)}: each media section must have a mid of its own, of one word")
    for section in sections:
        section.inherit(session)
    return Offer(session, tuple(sections), tuple(bundles))


@dataclass(frozen=True, slots=True)
class Fragment:
    """What a client says of its ICE session after the offer (RFC 8840 9); empty where it says nothing."""

    ufrag: str
    password: str


def parse_fragment(text: str) -> Fragment:
    """Raises SdpError for what is no ICE fragment. Its candidates are not read: ICE-lite sends no checks."""
    session, sections, _ = _sections(_lines(text))
    lead = next((m for m in (session, *sections) if m.ufrag), session)
    if not sections and not lead.ufrag:
        raise SdpError("the body is no ICE fragment (it has neither a=ice-ufrag nor a media section)")
    if bool(lead.ufrag) != bool(lead.password):
        raise SdpError("the fragment must have both a=ice-ufrag and a=ice-pwd, or none of them")
    return Fragment(lead.ufrag, lead.password)


def shown(text: str) -> str:
    """A piece of an offer as an error may show it: printable, and cut to 60 characters."""
    return "".join(c if c.isprintable() else "?" for c in text[:60]) + ("…" if len(text) > 60 else "")


# --- lines ------------------------------------------------------------------------------------------------

_BLANK = string.whitespace + "\0\ufeff"


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Each line as type and value. RFC 8866 9 ends lines with CRLF and asks parsers to accept LF alone.
    Raises SdpError when there are too many bytes or lines."""
    if len(text) > MOST_OFFER_BYTES:
        raise SdpError(f"the body has more than {MOST_OFFER_BYTES} bytes")
    for number, line in enumerate(re.split(r"[\r\n]+", text)):
        if number == MOST_SDP_LINES:
            raise SdpError(f"the body has more than {MOST_SDP_LINES} lines")
        if line := line.strip(_BLANK):
            name, _, value = line.partition("=")
            yield name.rstrip().lower(), value.lstrip()


def _sections(
    lines: Iterable[tuple[str, str]],
) -> tuple[MediaOffer, list[MediaOffer], list[tuple[str, ...]]]:
    """The session part before the first media section, the media sections, and the bundles. Raises
    SdpError."""
    session = MediaOffer("")
    sections: list[MediaOffer] = []
    bundles: list[tuple[str, ...]] = []
    for name, value in lines:
        if name == "m":
            if len(sections) == _MOST_SECTIONS:
                raise SdpError(f"the offer has more than {_MOST_SECTIONS} media sections")
            sections.append(_media(value))
        elif name == "a" and len(value) <= _LONGEST_LINE:
            key, _, rest = (part.strip() for part in value.partition(":"))
            if key.lower() == "group":
                semantics, *mids = rest.split() or [""]
                bundles += [tuple(mids)] if semantics.upper() == "BUNDLE" else []
                if len(bundles) > _MOST_BUNDLES:
                    raise SdpError(f"the offer has more than {_MOST_BUNDLES} lines a=group:BUNDLE")
            else:
                _attribute(sections[-1] if sections else session, key.lower(), rest)
    return session, sections, bundles


def _media(value: str) -> MediaOffer:
    parts = value.split()
    line = f"m={value}"
    if (
        len(value) > _LONGEST_LINE
        or len(parts) < 4
        or not re.fullmatch(r"[0-9]{1,5}(/[0-9]{1,5})?", parts[1])
    ):
        raise SdpError(f"{shown(line)}: a media section is m=KIND PORT PROTOCOL FORMAT…")
    port = parts[1].partition("/")[0].lstrip("0") or "0"
    return MediaOffer(line, parts[0].lower(), port, parts[2], list(dict.fromkeys(parts[3:])))


_TEXTS = {"mid": "mid", "ice-ufrag": "ufrag", "ice-pwd": "password"}
_FLAGS = {
    "rtcp-mux": "mux",
    "rtcp-mux-only": "mux",
    "rtcp-rsize": "reduced_size",
    "bundle-only": "bundle_only",
    "ice-lite": "ice_lite",
}


def _attribute(section: MediaOffer, name: str, value: str) -> None:
    if name in ("sendrecv", "sendonly", "recvonly", "inactive"):
        section.direction = name
    elif name in _TEXTS:
        if len(value) > MOST_ICE_CHARACTERS:
            raise SdpError(f"a={name}:{shown(value)}: it has more than {MOST_ICE_CHARACTERS} characters")
        setattr(section, _TEXTS[name], value)
    elif name in _FLAGS:
        setattr(section, _FLAGS[name], True)
    elif name == "setup":
        section.setup = value.lower()
    elif name == "fingerprint":
        section.fingerprints.append(value)
    elif name == "ssrc-group":
        section.simulcast |= value.upper().startswith("SIM ")
    elif name == "extmap":
        _extension(section, value)
    elif name in ("rtpmap", "fmtp", "rtcp-fb"):
        payload_type, *rest = value.split(None, 1) or [""]
        _format(section, name, payload_type, rest[0] if rest else "")


def _format(section: MediaOffer, name: str, payload_type: str, text: str) -> None:
    if name == "fmtp":
        section.fmtp.setdefault(payload_type, {}).update(_parameters(text))
    elif name == "rtcp-fb":
        section.feedback.setdefault(payload_type, set()).add(" ".join(text.lower().split()))
    else:
        encoding = "".join(text.split())
        before = section.rtpmap.setdefault(payload_type, encoding)
        if before.lower() != encoding.lower():
            both = f"a=rtpmap:{shown(payload_type)} {shown(before)} and {shown(encoding)}"
            raise SdpError(f"{both}: one payload type cannot stand for two formats")


def _extension(section: MediaOffer, value: str) -> None:
    """RFC 8285 8: ``id["/"direction] uri [attributes]``. Kept if the peer sends it and its id, up to 14, fits
    a one-byte header."""
    place, *rest = value.split() or [""]
    number, _, direction = place.partition("/")
    sent = direction.lower() in ("", *SENDS)
    if sent and rest and number.isascii() and number.isdecimal() and 1 <= int(number[:4]) <= 14:
        section.extensions.setdefault(rest[0], (int(number), direction.lower()))


def _parameters(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs if name.strip()}
