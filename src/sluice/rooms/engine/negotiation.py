"""What an offer and we agree on: which of its sections are taken, and how. No state, no socket.

An offer is judged as a whole, so whoever gets an answer can connect with it. SdpError tells the sender of an
offer what is wrong with it; NotAllowed tells which right the token lacks.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

from sluice.rooms.engine.publishing import PublishTerms
from sluice.wire.sdp import (
    RECEIVES,
    SENDS,
    TRANSPORT_CC,
    AudioFormat,
    MediaOffer,
    Offer,
    SdpError,
    VideoFormat,
    parse_offer,
)
from sluice.wire.sdp_answer import lead_lines
from sluice.wire.sdp_formats import choose_opus, choose_video
from sluice.wire.sdp_transport import Transport, agree_on_transport

_F = TypeVar("_F", VideoFormat, AudioFormat)


class NotAllowed(Exception):
    """The offer has a kind of media that its sender may not publish."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What was agreed on. A format is None where its kind is not taken. `faults` says why sections are not
    taken, by their places. `lead` are the lines that name the section at the head of the bundle."""

    offer: Offer
    transport: Transport
    lead: tuple[str, ...]
    video: VideoFormat | None
    opus: AudioFormat | None
    faults: Mapping[int, str]


def agree_to_watch(sdp: str) -> Agreement:
    """Takes the first section of each kind in which the peer can receive H.264 or Opus. Raises SdpError when
    there is none."""
    offer = parse_offer(sdp)
    faults: dict[int, str] = {}
    video = _first_that_fits(choose_video, offer, "video", faults)
    opus = _first_that_fits(choose_opus, offer, "audio", faults)
    if video is None and opus is None:
        why = (
            "; ".join(list(faults.values())[:4])
            or f"{_unused(offer)}: it needs a video or audio section with a=recvonly"
        )
        raise SdpError(f"the offer can receive nothing: {why}")
    return _agreement(offer, video, opus, faults)


def _first_that_fits(
    choose: Callable[[MediaOffer, int], _F], offer: Offer, kind: str, faults: dict[int, str]
) -> _F | None:
    for n in offer.places(kind, RECEIVES):
        try:
            return choose(offer.media[n], n)
        except SdpError as error:
            faults[n] = str(error)
    return None


def agree_to_publish(sdp: str, allowed: Collection[str]) -> Agreement:
    """Takes one section of video and one of audio. If one that is offered cannot be taken, the whole offer is
    refused, so that nobody speaks and is not heard. Raises SdpError and NotAllowed."""
    offer = parse_offer(sdp)
    videos, audios = offer.places("video", SENDS), offer.places("audio", SENDS)
    if not videos and not audios:
        raise SdpError(f"the offer sends nothing: {_unused(offer)}: it needs a section with a=sendonly")
    for kind, places in (("video", videos), ("audio", audios)):
        if places and kind not in allowed:
            raise NotAllowed(f"the token does not have the privilege to publish {kind}")
        if len(places) > 1:
            raise SdpError(
                f"{offer.media[places[1]]}: a stream has one {kind}; publish another with ?stream=screen"
            )
        if any(offer.media[n].simulcast for n in places):
            raise SdpError("a=ssrc-group:SIM: the server takes one picture, not several sizes of it")
    video = choose_video(offer.media[videos[0]], videos[0], sends=True) if videos else None
    opus = choose_opus(offer.media[audios[0]], audios[0], sends=True) if audios else None
    return _agreement(offer, video, opus, {})


def publish_terms(agreement: Agreement) -> PublishTerms:
    offer, video, opus = agreement.offer, agreement.video, agreement.opus
    taken = [offer.media[chosen.section] for chosen in (video, opus) if chosen]
    return PublishTerms(
        video=video,
        opus=opus,
        transport_id=max(_transport_ids(offer, video, opus), default=0),
        reduced_size=all(section.reduced_size for section in taken),
    )


def _agreement(
    offer: Offer, video: VideoFormat | None, opus: AudioFormat | None, faults: Mapping[int, str]
) -> Agreement:
    if video and opus:
        for payload_type in {video.payload_type, video.rtx_type} & {opus.payload_type}:
            raise SdpError(f"a=rtpmap:{payload_type}: it stands for two formats in one bundle")
    if len(_transport_ids(offer, video, opus)) > 1:
        raise SdpError(f"a=extmap: {TRANSPORT_CC} must have one id in all sections of a bundle")
    transport = agree_on_transport(offer, sorted(chosen.section for chosen in (video, opus) if chosen))
    return Agreement(offer, transport, lead_lines(offer.media[transport.lead]), video, opus, faults)


def _transport_ids(offer: Offer, video: VideoFormat | None, opus: AudioFormat | None) -> set[int]:
    """The ids of the transport-wide number where it was agreed on (RFC 8843 9.2: one for all of a bundle)."""
    return {
        offer.media[chosen.section].extensions[TRANSPORT_CC][0]
        for chosen in (video, opus)
        if chosen and "transport-cc" in chosen.feedback
    }


def _unused(offer: Offer) -> str:
    """The sections of an offer of which none is used, as a person may look for them."""
    return ", ".join(f"{section} (a={section.direction})" for section in offer.media[:4])
