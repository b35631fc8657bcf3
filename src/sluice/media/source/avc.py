"""H.264 of any container in the form that pipes know: length fields of 4 bytes and a configuration record.

Transport streams carry Annex B units with parameter sets in the stream (ISO/IEC 13818-1 2.14); they are kept
where they are, and a set that changes goes with its packet as a new configuration, too.
"""

from sluice.media.packets import Packet
from sluice.wire.h264 import NAL_PPS, NAL_SPS, H264Error, split_annexb

_NAL_AUD, _NAL_FILLER = 9, 12
#: They mean nothing to a decoder and would be sent to every viewer.
_LEFT_OUT = frozenset({_NAL_AUD, _NAL_FILLER})
_MOST_SETS = 31  # the record counts SPS in 5 bits


def is_annexb(extradata: bytes) -> bool:
    """A configuration record begins with its version, 1; Annex B and nothing at all do not."""
    return extradata[:1] != b"\x01"


class AnnexB:
    """Converts the packets of one track, in order."""

    def __init__(self, extradata: bytes) -> None:
        self._sps: dict[int, bytes] = {}
        self._pps: dict[int, bytes] = {}
        try:
            self._note(split_annexb(extradata))
        except H264Error:
            self._sps.clear()  # FFmpeg did not find whole sets; those in the stream will do
        self._told = self.record()

    def record(self) -> bytes:
        """An AVCDecoderConfigurationRecord (ISO/IEC 14496-15 5.3.3.1); empty while a set is missing."""
        if not self._sps or not self._pps:
            return b""
        sps, pps = list(self._sps.values()), list(self._pps.values())
        head = bytes((1, *sps[0][1:4], 0xFF, 0xE0 | len(sps)))
        return b"".join((head, *map(_sized, sps), bytes((len(pps),)), *map(_sized, pps)))

    def convert(self, packet: Packet) -> bool:
        """In place; False for data that is no H.264, which is to be dropped."""
        try:
            units = split_annexb(packet.data)
        except H264Error:
            return False
        self._note(units)
        record = self.record()
        if record != self._told:
            self._told = packet.extradata = record
        kept = [unit for unit in units if unit[0] & 0x1F not in _LEFT_OUT]
        packet.data = b"".join(part for unit in kept for part in (len(unit).to_bytes(4, "big"), unit))
        return bool(kept)

    def _note(self, units: list[bytes]) -> None:
        """The newest set of an id counts (H.264 7.4.1.2.1)."""
        for unit in units:
            if unit[0] & 0x1F == NAL_SPS and 5 <= len(unit) < 65536:
                _put(self._sps, _first_ue(unit[4:]), unit)
            elif unit[0] & 0x1F == NAL_PPS and 2 <= len(unit) < 65536:
                _put(self._pps, _first_ue(unit[1:]), unit)


def _put(sets: dict[int, bytes], number: int, unit: bytes) -> None:
    if number in sets or len(sets) < _MOST_SETS:
        sets[number] = unit


def _first_ue(data: bytes) -> int:
    """The Exp-Golomb code (9.1) at the beginning: the id of a parameter set, in at most 4 bytes."""
    value = int.from_bytes(data[:4].ljust(4, b"\0"), "big")
    zeros = 32 - value.bit_length()
    return (value >> max(0, 31 - 2 * zeros)) - 1


def _sized(unit: bytes) -> bytes:
    return len(unit).to_bytes(2, "big") + unit
