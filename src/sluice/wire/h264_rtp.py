"""H.264 access units out of RTP packets in order (RFC 6184, packetization-mode 1).

What leaves can be decoded: an access unit that lost a packet is dropped, and with it everything up to the
next key frame, because each picture refers to those before it. Whoever asks for that key frame sees
`key_needed`. Key frames leave with their parameter sets in front, as viewers and CDNs need them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sluice.wire.h264 import NAL_IDR, NAL_PPS, NAL_SLICE, NAL_SPS
from sluice.wire.parameter_sets import ParameterSets
from sluice.wire.rtp import RtpPacket

_STAP_A, _FU_A = 24, 28
_START, _END = 0x80, 0x40
#: A larger access unit is no camera's; frame links end at 16 MB.
_MOST_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One picture; `timestamp` is that of its packets. `key`: a decoder can start with it."""

    nal_units: list[bytes]
    timestamp: int
    key: bool


class H264Depacketizer:
    """`parameter_sets` are those that the sender's offer names (sprop-parameter-sets)."""

    def __init__(self, parameter_sets: Sequence[bytes] = ()) -> None:
        self.key_needed = True  #: nothing leaves before the next key frame
        self.dropped = 0  #: access units, or parts of some
        self._sets = ParameterSets()
        self._sets.note(parameter_sets)
        self._sets_sent = not self._sets.units  #: by the stream itself: those of an offer then say nothing
        self._timestamp: int | None = None  #: of the access unit at hand
        self._units: list[bytes] = []
        self._fragments: list[bytes] = []  #: of the unit at hand
        self._bytes = 0
        self._damaged = False
        self._headless = True  #: its first packets may be lost

    def feed(self, packet: RtpPacket) -> list[AccessUnit]:
        """The access units that end with this packet, or with the one before it (no marker, another time)."""
        ended: list[AccessUnit] = []
        if packet.lost_before:
            self._lose(packet.timestamp)
        elif packet.timestamp != self._timestamp and self._timestamp is not None:
            ended += self._end()
        payload = packet.payload
        if payload:  # else padding, which probes the network
            self._timestamp = packet.timestamp
            self._take(payload)
            if packet.marker:
                ended += self._end()
        return ended

    def _lose(self, timestamp: int) -> None:
        """Packets before the one with this timestamp are lost: of which access units nobody knows."""
        self.key_needed = True
        if self._timestamp is not None:
            self.dropped += 1
            self._begin()
        self._headless = True

    def _take(self, payload: bytes) -> None:
        kind = payload[0] & 0x1F
        self._bytes += len(payload)
        if self._bytes > _MOST_BYTES:
            self._damaged = True
            self._units, self._fragments = [], []
        elif kind == _FU_A:
            self._take_fragment(payload)
        elif kind == _STAP_A:
            self._take_aggregate(payload)
        elif 0 < kind < _STAP_A:
            self._units.append(payload)
        else:
            self._damaged = True  # not of this packetization mode (5.4, table 3)

    def _take_fragment(self, payload: bytes) -> None:
        """RFC 6184 5.8."""
        if len(payload) < 3:
            self._damaged = True
            return
        head = payload[1]
        if head & _START:
            self._damaged |= bool(self._fragments)
            self._fragments = [bytes(((payload[0] & 0xE0) | (head & 0x1F),)), payload[2:]]
        elif self._fragments:
            self._fragments.append(payload[2:])
        else:
            self._damaged = True
        if head & _END and self._fragments:
            self._units.append(b"".join(self._fragments))
            self._fragments = []

    def _take_aggregate(self, payload: bytes) -> None:
        """RFC 6184 5.7.1."""
        at = 1
        while at < len(payload):
            start = at + 2
            at = start + int.from_bytes(payload[at:start], "big")
            if at == start or at > len(payload):
                self._damaged = True
                return
            self._units.append(payload[start:at])

    def _end(self) -> list[AccessUnit]:
        """The access unit at hand is over."""
        units, timestamp = self._units, self._timestamp
        damaged = self._damaged or bool(self._fragments)
        headless = self._headless
        self._begin()
        kinds = {unit[0] & 0x1F for unit in units}
        self._sets_sent |= bool(kinds & {NAL_SPS, NAL_PPS})
        if not damaged:
            self._sets.note(units)
        needed = {NAL_SPS, NAL_PPS} if self._sets_sent else set()
        key = NAL_IDR in kinds and not damaged and (not headless or _whole(units, kinds, needed))
        if key:
            units = self._with_sets(units, kinds)
        if damaged or not units or (self.key_needed and not key):
            self.dropped += 1
            self.key_needed |= damaged or not units
            return []
        if not kinds & {NAL_SLICE, NAL_IDR}:
            return []  # parameter sets alone
        self.key_needed = False
        assert timestamp is not None  # noqa: S101 - it has units
        return [AccessUnit(units, timestamp, key)]

    def _begin(self) -> None:
        self._timestamp = None
        self._units, self._fragments = [], []
        self._bytes = 0
        self._damaged = self._headless = False

    def _with_sets(self, units: list[bytes], kinds: set[int]) -> list[bytes]:
        """With parameter sets in front where some are missing; empty when they are not known."""
        if kinds >= {NAL_SPS, NAL_PPS}:
            return units
        sets = self._sets.units
        return sets + [unit for unit in units if unit[0] & 0x1F not in (NAL_SPS, NAL_PPS)] if sets else []


def _whole(units: list[bytes], kinds: set[int], needed: set[int]) -> bool:
    """Whether nothing is missing at the beginning: not the parameter sets, which a lost packet may have
    changed, and not the first slice (7.4.3: its first_mb_in_slice is 0, which is a single bit 1)."""
    first = next(unit for unit in units if unit[0] & 0x1F in (NAL_SLICE, NAL_IDR))
    return kinds >= needed and len(first) > 1 and first[1] >= 0x80
