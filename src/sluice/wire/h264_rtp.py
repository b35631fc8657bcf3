"""Makes H.264 access units of RTP packets that are in order (RFC 6184, packetization-mode 1).

Every access unit that leaves can be decoded. One that lost a packet is dropped, and so is everything up to
the next key frame, because each picture refers to those before it. `key_needed` tells the caller to request
that key frame. Key frames leave with their parameter sets in front, as viewers and CDNs need them.

NAL units tell where the next picture begins, which ends the one before (H.264 7.4.1.2.3). Markers and
timestamps do not: some publishers set the marker on each slice or on none, or give slices of one picture
different timestamps. A marker only lets a picture leave sooner. It is trusted after it was right for a
picture, and ignored after it was wrong.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sluice.core.limits import MOST_AGGREGATED_UNITS, MOST_UNITS
from sluice.wire.h264 import NAL_IDR, NAL_PPS, NAL_SEI, NAL_SPS, SLICES, H264Error, Sps, begins_picture
from sluice.wire.parameter_sets import ParameterSets
from sluice.wire.rtp import RtpPacket

_NAL_AUD = 9
_STAP_A, _FU_A = 24, 28
_START, _END = 0x80, 0x40
#: No camera makes a larger access unit; frame links take 16 MB at most.
_MOST_BYTES = 4 << 20
_PART_BYTES = 64  #: memory for a part beside its bytes
#: Types of NAL units that begin the next access unit when they follow a slice (7.4.1.2.3).
_SETS = frozenset({NAL_SPS, NAL_PPS})
_HEADS = _SETS | {NAL_SEI, _NAL_AUD, *range(14, 19)}
#: How many pictures must have had a right marker before markers are trusted. One will do: the first picture
#: is a key frame, the largest, and an encoder that makes several slices makes several of that one.
_PROOFS = 1


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One picture; `timestamp` is that of its packets. `key`: a decoder can start with it."""

    nal_units: list[bytes]
    timestamp: int
    key: bool


class H264Depacketizer:
    """`sets` are parameter sets that are known before any packet (sprop-parameter-sets of an offer)."""

    def __init__(self, sets: Iterable[bytes] = ()) -> None:
        self.key_needed = True  #: nothing leaves before the next key frame
        self.dropped = 0  #: access units, or parts of some
        self.units = 0  #: NAL units examined, a measure of the work
        self.why = "no key frame has come yet"  #: while `key_needed`: why nothing leaves
        self._sets = ParameterSets()
        self._fields = False  #: two pictures with one time stamp are the fields of a frame
        self._note_sets(sets)
        self._sets_sent = not self._sets.units  #: the stream carries sets: those of an offer no longer count
        self._proofs: int | None = 0  #: pictures with a right marker; None: it was wrong once
        self._timestamp = 0  #: of the current access unit
        self._units: list[bytes] = []
        self._fragments: list[bytes] = []  #: of the current NAL unit
        self._bytes = 0
        self._sliced = self._marked = self._damaged = False
        self._headless = not self._sets.units  #: the first packets of the current access unit may be lost
        self._ended: list[AccessUnit] = []

    def feed(self, packet: RtpPacket) -> list[AccessUnit]:
        """The access units that end with this packet, or with the one before it."""
        if packet.lost_before:
            self._lose()
        if packet.payload:  # else padding, which probes the network
            self._take(packet.payload, packet.timestamp)
            if packet.marker and not self._fragments:
                self._mark()
        ended, self._ended = self._ended, []
        return ended

    def flush(self) -> list[AccessUnit]:
        """To be called when no packet has come for a while: the current picture leaves without waiting for
        the next one, if a trusted marker says that it is complete."""
        if self._marked and self._proofs is not None:
            self._end()
        ended, self._ended = self._ended, []
        return ended

    # --- boundaries ---------------------------------------------------------------------------------------

    def _check_boundary(self, unit: bytes, timestamp: int) -> None:
        """Ends the current access unit if `unit` begins the next; the first bytes of `unit` are enough."""
        kind = unit[0] & 0x1F
        begins = kind in _HEADS or (kind in SLICES and begins_picture(unit))
        if begins and (self._sliced or self._damaged) and not self._is_second_field(kind, timestamp):
            # What was damaged before any slice may belong to this picture, if the timestamp is the same.
            headless = not self._sliced and timestamp == self._timestamp
            self._end()
            self._headless = headless
        if kind in SLICES:
            if not begins and (self._marked or not (self._sliced or self._headless)):
                self._distrust()
            if not self._sliced:
                self._timestamp = timestamp
            self._sliced, self._marked = True, False

    def _is_second_field(self, kind: int, timestamp: int) -> bool:
        return self._fields and kind in SLICES and timestamp == self._timestamp

    def _mark(self) -> None:
        """The marker says that the current access unit is complete."""
        if not self._sliced:
            return
        self._marked = True
        if self._proofs is not None and self._proofs >= _PROOFS:
            self._end()

    def _distrust(self) -> None:
        """The picture continues after its marker: markers are ignored from now on. What left of it is
        incomplete."""
        self._proofs = None
        self._damaged |= not self._sliced

    def _lose(self) -> None:
        """Packets are lost; it is unknown of which access units."""
        if self._marked and self._proofs is not None:
            self._end()
        self._need_key("packets of the pictures are lost")
        if self._units or self._fragments:
            self.dropped += 1
            self._begin()
        self._headless = True

    def _need_key(self, why: str) -> None:
        if not self.key_needed:
            self.key_needed, self.why = True, f"{why}, and no key frame has come since"

    # --- packets ------------------------------------------------------------------------------------------

    def _take(self, payload: bytes, timestamp: int) -> None:
        kind = payload[0] & 0x1F
        if not (self._units or self._fragments or self._damaged):
            self._timestamp = timestamp
        if kind == _FU_A:
            self._take_fragment(payload, timestamp)
        elif kind == _STAP_A:
            self._take_aggregate(payload, timestamp)
        elif 0 < kind < _STAP_A:
            self._take_unit(payload, timestamp)
        else:
            self._damaged = True  # not of this packetization mode (5.4, table 3)

    def _take_unit(self, unit: bytes, timestamp: int) -> None:
        self.units += 1
        repeated = unit[0] & 0x1F in _SETS and unit in self._sets.units
        if repeated and self._sliced and timestamp == self._timestamp:
            return  # GStreamer's payloader sends them in front of each slice (config-interval=-1)
        self._check_boundary(unit, timestamp)
        if unit[0] & 0x1F in _SETS:
            self._note_sets((unit,))
        self._keep(self._units, unit)

    def _take_fragment(self, payload: bytes, timestamp: int) -> None:
        """RFC 6184 5.8."""
        if len(payload) < 3:
            self._damaged = True
            return
        head = payload[1]
        if head & _START:
            self._damaged |= bool(self._fragments)
            self._fragments = []
            first = bytes(((payload[0] & 0xE0) | (head & 0x1F),))
            self._check_boundary(first + payload[2:3], timestamp)
            self._keep(self._fragments, first + payload[2:])
        elif self._fragments:
            self._keep(self._fragments, payload[2:])
        else:
            self._damaged = True
        if head & _END and self._fragments:
            unit = b"".join(self._fragments)
            self._fragments = []
            self._units.append(unit)
            if unit[0] & 0x1F in _SETS:
                self._note_sets((unit,))

    def _take_aggregate(self, payload: bytes, timestamp: int) -> None:
        """RFC 6184 5.7.1."""
        at, most = 1, self.units + MOST_AGGREGATED_UNITS
        while at < len(payload):
            if self.units == most:
                self._damaged = True
                return
            start = at + 2
            at = start + int.from_bytes(payload[at:start], "big")
            if at == start or at > len(payload):
                self._damaged = True
                return
            self._take_unit(payload[start:at], timestamp)

    def _keep(self, parts: list[bytes], part: bytes) -> None:
        self._bytes += len(part) + _PART_BYTES
        if self._bytes > _MOST_BYTES or len(self._units) >= MOST_UNITS:
            self._damaged = True
            self._units, self._fragments = [], []
        else:
            parts.append(part)

    # --- access units -------------------------------------------------------------------------------------

    def _end(self) -> None:
        """The current access unit is over: it leaves or is dropped."""
        units, headless, timestamp = self._units, self._headless, self._timestamp
        damaged = self._damaged or bool(self._fragments)
        if self._marked and self._proofs is not None:
            self._proofs += 1
        self._begin()
        kinds = {unit[0] & 0x1F for unit in units}
        self._sets_sent |= bool(kinds & _SETS)
        needed = _SETS if self._sets_sent else frozenset()
        idr = NAL_IDR in kinds and not damaged
        if idr and not self._sets.units:
            self.why = "its key frames come without parameter sets (SPS, PPS), and its offer has none"
        key = idr and (not headless or _whole(units, kinds, needed))
        if key:
            units = self._with_sets(units, kinds)
        if damaged or not units:
            self._need_key("pictures were damaged")
        if self.key_needed and not (key and units):
            self.dropped += 1
        else:
            self.key_needed = False
            self._ended.append(AccessUnit(units, timestamp, key))

    def _begin(self) -> None:
        self._units, self._fragments = [], []
        self._bytes = 0
        self._sliced = self._marked = self._damaged = self._headless = False

    def _note_sets(self, units: Iterable[bytes]) -> None:
        before = self._sets.sps
        self._sets.note(units)
        sps = self._sets.sps
        if sps is not None and sps is not before:
            try:
                self._fields = not Sps.parse(sps).frames_only
            except H264Error:
                self._fields = False

    def _with_sets(self, units: list[bytes], kinds: set[int]) -> list[bytes]:
        """`units`, with parameter sets in front where some are missing; empty when those are not known."""
        if kinds >= _SETS:
            return units
        sets = self._sets.units
        return sets + [unit for unit in units if unit[0] & 0x1F not in _SETS] if sets else []


def _whole(units: list[bytes], kinds: set[int], needed: frozenset[int]) -> bool:
    """Whether the beginning is complete: it has the first slice, and the parameter sets that are `needed`,
    since a lost packet may have changed them."""
    first = next(unit for unit in units if unit[0] & 0x1F in SLICES)
    return kinds >= needed and begins_picture(first)
