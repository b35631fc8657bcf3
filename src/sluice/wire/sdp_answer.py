"""SDP answers (RFC 8829 5.3): to peers that watch, to peers that publish, and to those that restart ICE.

We are ICE-lite: an answer names our candidates, and the peer sends the checks. Sections that are not taken
are answered with port 0. Lines that the offer lacks (mid, group, packetization-mode) are left out of the
answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sluice.wire.sdp import MID, TRANSPORT_CC, AudioFormat, MediaOffer, Offer, VideoFormat
from sluice.wire.sdp_transport import Transport

#: Chromium starts at 300 kbit/s with small pictures, and enlarges them by one step every few seconds, however
#: fast the network is (measured: 720p after 15 s; after 5 s if it starts at 1000 kbit/s). Where that start is
#: too fast, congestion feedback lowers the bitrate within a second. Others do not know the parameter.
_START_BITRATE = "x-google-start-bitrate=1000"
#: Parameters of Opus in both directions: stereo, and FEC (repair data for a lost packet in the next one).
_OPUS = "stereo=1;sprop-stereo=1;useinbandfec=1"


@dataclass(frozen=True, slots=True)
class Sources:
    """The SSRCs of one published stream, and the CNAME that ties its tracks together."""

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


def make_watch_answer(
    offer: Offer,
    transport: Transport,
    local: LocalPeer,
    video: VideoFormat | None,
    opus: AudioFormat | None,
    sources: Sources,
    faults: Mapping[int, str],
) -> str:
    """The answer to a peer that watches: our tracks are sendonly. `faults`: why sections are not taken, by
    index; they are written into the answer, where people look for the reason."""
    taken: dict[int, list[str]] = {}
    if video:
        taken[video.section] = _sent_video(video, sources)
    if opus:
        taken[opus.section] = _sent_audio(opus, sources)
    return _answer(offer, transport, local, taken, [f"a=msid-semantic: WMS {sources.cname}"], faults)


def make_publish_answer(
    offer: Offer,
    transport: Transport,
    local: LocalPeer,
    video: VideoFormat | None,
    opus: AudioFormat | None,
) -> str:
    """The answer to a peer that publishes: its tracks are recvonly for us."""
    taken: dict[int, list[str]] = {}
    if video:
        taken[video.section] = _received_video(offer.media[video.section], video)
    if opus:
        taken[opus.section] = _received_audio(offer.media[opus.section], opus)
    return _answer(offer, transport, local, taken, [], {})


def lead_lines(section: MediaOffer) -> tuple[str, ...]:
    """The lines by which a fragment names `section`, which leads the bundle."""
    return _media_line(section, 9, " ".join(section.formats)), *_mid_line(section)


def make_fragment(lead: Sequence[str], local: LocalPeer) -> str:
    """The answer to an ICE restart (RFC 9725 4.3.3): our new credentials and candidates, in the section that
    leads the bundle. `lead`: from `lead_lines`."""
    lines = ["a=ice-lite", *lead, *_ice_lines(local), *_candidate_lines(local)]
    return "\r\n".join(lines) + "\r\n"


def _answer(
    offer: Offer,
    transport: Transport,
    local: LocalPeer,
    taken: Mapping[int, list[str]],
    head: list[str],
    faults: Mapping[int, str],
) -> str:
    """`taken`: formats and lines of the sections that are taken, by index in the offer."""
    taken = {transport.lead: _idle(offer.media[transport.lead]), **taken}
    lines = ["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", "a=ice-lite"]
    if transport.bundled:  # RFC 8843 7.3: only a group that was offered; its first section leads
        mids = [offer.media[n].mid for n in sorted(taken, key=lambda n: (n != transport.lead, n))]
        lines.append(f"a=group:BUNDLE {' '.join(mids)}")
    lines += head
    for n, section in enumerate(offer.media):
        formats, *body = taken.get(n, [" ".join(section.formats), "a=inactive"])
        lines.append(_media_line(section, 9 if n in taken else 0, formats))
        lines += [f"i={faults[n]}"] if n in faults else []
        lines += ["c=IN IP4 0.0.0.0", *_mid_line(section), *_ice_lines(local)]
        # Rejected sections, too: GStreamer drops an answer where any section lacks ICE or DTLS lines.
        lines.append(f"a=fingerprint:{local.fingerprint}")
        lines.append(f"a=setup:{'active' if transport.client else 'passive'}")
        if n in taken:
            lines += [] if section.is_data else ["a=rtcp-mux"]
            lines += ["a=rtcp-rsize"] if section.reduced_size else []
            lines += _candidate_lines(local)
        lines += body
    return "\r\n".join(lines) + "\r\n"


def _idle(section: MediaOffer) -> list[str]:
    """The section that leads the bundle, if it is not taken. It keeps a port: with port 0, GStreamer and
    Chromium drop its transport, which all sections of the bundle share. Its data channels never open."""
    if section.is_data:
        return [" ".join(section.formats), "a=sctp-port:5000"]
    chosen = next((n for n in section.formats if n in section.rtpmap), section.formats[0])
    lines = [chosen]
    if chosen in section.rtpmap:
        lines.append(f"a=rtpmap:{chosen} {section.rtpmap[chosen]}")
    if parameters := section.fmtp.get(chosen):
        lines.append(f"a=fmtp:{chosen} {';'.join('='.join(pair) for pair in parameters.items())}")
    return [*lines, "a=inactive"]


def _media_line(section: MediaOffer, port: int, formats: str) -> str:
    return f"m={section.kind} {port} {section.protocol} {formats}"


def _mid_line(section: MediaOffer) -> list[str]:
    return [f"a=mid:{section.mid}"] if section.mid else []


def _ice_lines(local: LocalPeer) -> list[str]:
    return [f"a=ice-ufrag:{local.ufrag}", f"a=ice-pwd:{local.password}"]


def _candidate_lines(local: LocalPeer) -> list[str]:
    return [
        *(
            f"a=candidate:{n} 1 udp {2130706431 - n} {address} {port} typ host"
            for n, (address, port) in enumerate(local.candidates, 1)
        ),
        "a=end-of-candidates",
    ]


# --- what we send -----------------------------------------------------------------------------------------


def _sent_video(video: VideoFormat, sources: Sources) -> list[str]:
    lines = [
        *_video_lines(video),
        "a=sendonly",
        f"a=msid:{sources.cname} video",
    ]
    if video.rtx_type is not None:
        lines.append(f"a=ssrc-group:FID {sources.video} {sources.video_rtx}")
    lines.append(f"a=ssrc:{sources.video} cname:{sources.cname}")
    if video.rtx_type is not None:
        lines.append(f"a=ssrc:{sources.video_rtx} cname:{sources.cname}")
    return lines


def _sent_audio(opus: AudioFormat, sources: Sources) -> list[str]:
    return [
        *_audio_lines(opus),
        "a=sendonly",
        f"a=msid:{sources.cname} audio",
        f"a=ssrc:{sources.audio} cname:{sources.cname}",
    ]


# --- what we receive --------------------------------------------------------------------------------------


def _received_video(section: MediaOffer, video: VideoFormat) -> list[str]:
    # urn:3gpp:video-orientation is not accepted: a push to a CDN cannot rotate pictures. Without it, browsers
    # rotate them before they encode.
    lines = _video_lines(replace(video, parameters=f"{video.parameters};{_START_BITRATE}"))
    return [*lines, "a=recvonly", *_extension_lines(section, video.feedback)]


def _received_audio(section: MediaOffer, opus: AudioFormat) -> list[str]:
    return [*_audio_lines(opus), "a=ptime:20", "a=recvonly", *_extension_lines(section, opus.feedback)]


def _extension_lines(section: MediaOffer, feedback: Sequence[str]) -> list[str]:
    """RFC 8285 7: an extension that is offered as sendonly is answered as recvonly."""
    wanted = (MID, TRANSPORT_CC) if "transport-cc" in feedback else (MID,)
    found = [(*section.extensions[uri], uri) for uri in wanted if uri in section.extensions]
    return [
        f"a=extmap:{number}{'/recvonly' if direction == 'sendonly' else ''} {uri}"
        for number, direction, uri in found
    ]


# --- both: the formats of the m-line first ----------------------------------------------------------------


def _video_lines(video: VideoFormat) -> list[str]:
    types = [video.payload_type] + ([video.rtx_type] if video.rtx_type is not None else [])
    lines = [
        " ".join(map(str, types)),
        f"a=rtpmap:{video.payload_type} {video.encoding}",
        f"a=fmtp:{video.payload_type} {video.parameters}",
        *(f"a=rtcp-fb:{video.payload_type} {name}" for name in video.feedback),
    ]
    if video.rtx_type is not None:
        lines += [f"a=rtpmap:{video.rtx_type} rtx/90000", f"a=fmtp:{video.rtx_type} apt={video.payload_type}"]
    return lines


def _audio_lines(opus: AudioFormat) -> list[str]:
    return [
        f"{opus.payload_type}",
        f"a=rtpmap:{opus.payload_type} {opus.encoding}",
        f"a=fmtp:{opus.payload_type} {_OPUS}",
        *(f"a=rtcp-fb:{opus.payload_type} {name}" for name in opus.feedback),
    ]
