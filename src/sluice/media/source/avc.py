"""H.264 of any container in the form that pipes know: length fields of 4 bytes and a configuration record.

Transport streams carry Annex B units with parameter sets in the stream (ISO/IEC 13818-1 2.14); they are kept
where they are, and a set that changes goes with its packet as a new configuration, too.
"""

import contextlib

from sluice.media.packets import Packet
from sluice.wire.h264 import H264Error, split_annexb
from sluice.wire.parameter_sets import ParameterSets

_NAL_AUD, _NAL_FILLER = 9, 12
#: They mean nothing to a decoder and would be sent to every viewer.
_LEFT_OUT = frozenset({_NAL_AUD, _NAL_FILLER})


def is_annexb(extradata: bytes) -> bool:
    """A configuration record begins with its version, 1; Annex B and nothing at all do not."""
    return extradata[:1] != b"\x01"


class AnnexB:
    """Converts the packets of one track, in order."""

    def __init__(self, extradata: bytes) -> None:
        self._sets = ParameterSets()
        # FFmpeg may not have found whole sets; those in the stream will do.
        with contextlib.suppress(H264Error):
            self._sets.note(split_annexb(extradata))
        self._told = self.record()

    def record(self) -> bytes:
        """An AVCDecoderConfigurationRecord; empty while a set is missing."""
        return self._sets.record()

    def convert(self, packet: Packet) -> bool:
        """In place; False for data that is no H.264, which is to be dropped."""
        try:
            units = split_annexb(packet.data)
        except H264Error:
            return False
        self._sets.note(units)
        record = self.record()
        if record != self._told:
            self._told = packet.extradata = record
        kept = [unit for unit in units if unit[0] & 0x1F not in _LEFT_OUT]
        packet.data = b"".join(part for unit in kept for part in (len(unit).to_bytes(4, "big"), unit))
        return bool(kept)
