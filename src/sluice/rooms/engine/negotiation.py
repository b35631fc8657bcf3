"""What an offer and we agree on: which of its sections are taken, and how. No state, no transport.

SdpError says to the sender of an offer what is wrong with it, NotAllowed which right its token lacks.
"""

from collections.abc import Collection
from dataclasses import dataclass

from sluice.rooms.engine.publishing import PublishTerms
from sluice.wire.sdp import (
    SENDS,
    TRANSPORT_CC,
    AudioFormat,
    Offer,
    SdpError,
    VideoFormat,
    choose_opus,
    choose_video,
    parse_offer,
)
from sluice.wire.sdp_answer import lead_lines


class NotAllowed(Exception):
    """The offer has a kind of media that its sender may not publish."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """The formats are None for kinds that are not taken. `lead` are the lines that name the section at the
    head of the bundle."""

    offer: Offer
    lead: tuple[str, ...]
    video: VideoFormat | None
    opus: AudioFormat | None


def agree_to_watch(sdp: str) -> Agreement:
    """Whatever of H.264 and Opus the peer can receive. Raises SdpError."""
    offer = parse_offer(sdp)
    sections = offer.first("video"), offer.first("audio")
    video = choose_video(sections[0]) if sections[0] else None
    opus = choose_opus(sections[1]) if sections[1] else None
    if video is None and opus is None:
        raise SdpError("nothing in the offer can be received: it needs H.264 (packetization-mode 1) or Opus")
    return _agreement(offer, video, opus)


def agree_to_publish(sdp: str, allowed: Collection[str]) -> Agreement:
    """One section of video and one of audio; what is offered and cannot be taken is refused, lest a person
    speaks to nobody. Raises SdpError and NotAllowed."""
    offer = parse_offer(sdp)
    sections = offer.first("video", SENDS), offer.first("audio", SENDS)
    offered = [section.kind for section in sections if section]
    if not offered:
        raise SdpError("the offer sends nothing: it needs a video or audio section with a=sendonly")
    for kind in offered:
        if kind not in allowed:
            raise NotAllowed(f"the token does not have the privilege to publish {kind}")
    video = choose_video(sections[0], sends=True) if sections[0] else None
    opus = choose_opus(sections[1], sends=True) if sections[1] else None
    if "video" in offered and video is None:
        raise SdpError("the video cannot be taken: offer H.264 with packetization-mode=1")
    if "audio" in offered and opus is None:
        raise SdpError("the audio cannot be taken: offer opus/48000/2")
    return _agreement(offer, video, opus)


def publish_terms(agreement: Agreement) -> PublishTerms:
    offer, video, opus = agreement.offer, agreement.video, agreement.opus
    # One number for all sections of a bundle (RFC 8843 9.2).
    ids = [section.extensions.get(TRANSPORT_CC, 0) for section in offer.media]
    numbered = "transport-cc" in (video.feedback if video else ()) + (opus.feedback if opus else ())
    return PublishTerms(
        video=video,
        opus=opus,
        transport_id=max(ids) if numbered else 0,
        reduced_size=all(section.reduced_size for section in offer.media if section.kind != "application"),
    )


def _agreement(offer: Offer, video: VideoFormat | None, opus: AudioFormat | None) -> Agreement:
    taken = [kind for kind, chosen in (("video", video), ("audio", opus)) if chosen]
    lead = next(section for section in offer.media if section.kind in taken)
    return Agreement(offer, lead_lines(lead), video, opus)
