"""The transport that the sections of an offer share: bundle (RFC 8843), ICE, and DTLS (RFC 5763, RFC 8122).

The server has one transport for all sections that are taken, is ICE-lite, and takes either role of DTLS.
SdpError names the line that keeps a peer from connecting, so that the peer does not wait for a connection
that cannot come.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sluice.wire.sdp import MediaOffer, Offer, SdpError, shown

_T = TypeVar("_T")

#: Hash functions of the fingerprints that we can check, strongest first (RFC 8122 5); digest lengths in
#: bytes.
HASHES = {"sha-512": 64, "sha-384": 48, "sha-256": 32, "sha-224": 28}


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """The peer's certificate has one of these digests."""

    algorithm: str
    digests: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Transport:
    """`ufrag`: the peer's side of the ICE session. `client`: we begin the DTLS handshake. `bundled`: there is
    a bundle. `lead`: index of the section that leads it (RFC 8843 7.2: the tagged one), taken or not."""

    ufrag: str
    fingerprints: Fingerprints
    client: bool
    lead: int
    bundled: bool


def agree_on_transport(offer: Offer, taken: Sequence[int]) -> Transport:
    """The transport that the sections with the indexes `taken` share. Raises SdpError."""
    lead, bundle = _bundle(offer, taken)
    section = offer.media[lead]
    # RFC 8843 7.1.3: bundle-only sections, and any but the first, may leave these lines to the first.
    others = [m for m in offer.media if m.mid in bundle and m is not section]
    lines = _Attributes([section, offer.session, *others])
    if not lines.first(lambda m: m.mux):
        raise SdpError(f"{section}: it has no a=rtcp-mux, and the server has one port for RTP and RTCP")
    ufrag, password = lines.first(lambda m: m.ufrag), lines.first(lambda m: m.password)
    if not ufrag or not password:
        raise SdpError(f"the offer has no a=ice-{'pwd' if ufrag else 'ufrag'}")
    return Transport(
        ufrag,
        _fingerprints(lines),
        _client(lines.first(lambda m: m.setup) or "active"),
        lead,
        bundled=bool(bundle),
    )


class _Attributes:
    """Attributes of the transport; the first section that has one counts."""

    def __init__(self, sections: list[MediaOffer]) -> None:
        self._sections = sections

    def first(self, what: Callable[[MediaOffer], _T]) -> _T | None:
        return next((found for section in self._sections if (found := what(section))), None)


def _bundle(offer: Offer, taken: Sequence[int]) -> tuple[int, tuple[str, ...]]:
    """Index of the section that leads the bundle, and the bundle's mids; none without a bundle."""
    first = offer.media[taken[0]]
    bundle = offer.bundle_of(first)
    for section in (offer.media[n] for n in taken):
        if len(taken) > 1 and not section.mid:
            raise SdpError(f"{section}: it has no a=mid, by which a=group:BUNDLE could name it")
        if len(taken) > 1 and section.mid not in bundle:
            other = section if bundle else first
            raise SdpError(f"{other}: it is not in the a=group:BUNDLE of all (bundlePolicy max-bundle)")
    if not bundle:
        return taken[0], bundle
    indexes = {m.mid: n for n, m in enumerate(offer.media) if n in taken or m.port != "0"}
    head = next(indexes[mid] for mid in bundle if mid in indexes)
    if not (offer.is_open(offer.media[head]) or offer.media[head].is_data):
        # Browsers drop the transport of a rejected section, and with max-bundle all sections share it.
        raise SdpError(
            f"{offer.media[head]}: it leads the bundle and is not taken; offer it behind the media"
        )
    return head, bundle


def _client(setup: str) -> bool:
    """Whether we are the DTLS client. RFC 5763 5: where the peer leaves us the choice (actpass), we are the
    server. RFC 4145 4: without a=setup the peer is active."""
    if setup not in ("actpass", "active", "passive"):
        raise SdpError(f"a=setup:{shown(setup)}: it must be actpass, active or passive")
    return setup == "passive"


def _fingerprints(lines: _Attributes) -> Fingerprints:
    """Those by the strongest hash, of the first section that has one that we can check."""
    found = lines.first(lambda m: _usable(m.fingerprints))
    if found is not None:
        return found
    unusable = lines.first(lambda m: m.fingerprints)
    if not unusable:
        raise SdpError("the offer has no a=fingerprint, by which the server knows its sender's certificate")
    raise SdpError(f"a=fingerprint:{shown(unusable[0])}: it must be a digest by {', '.join(HASHES)}")


def _usable(lines: list[str]) -> Fingerprints | None:
    for algorithm, size in HASHES.items():
        digests = tuple(
            bytes.fromhex(value.replace(":", ""))
            for name, _, value in (line.partition(" ") for line in lines)
            if name.lower() == algorithm and re.fullmatch(_HEX.format(size), value.strip())
        )
        if digests:
            return Fingerprints(algorithm, digests)
    return None


_HEX = "([0-9a-fA-F]{{2}}:?){{{}}}"
