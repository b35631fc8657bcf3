"""Converts H.264 of any container to what pipes take: length fields of 4 bytes and a configuration record.

Transport streams carry Annex B units with in-band parameter sets (ISO/IEC 13818-1 2.14). avc3 in MP4 has
length fields and no sets in its record (ISO/IEC 14496-15 5.4.2). In-band sets stay where they are; when one
changes, its packet also has the new record as `extradata`.
"""

import contextlib

from sluice.media.packets import Packet
from sluice.wire.h264 import NAL_IDR, AvcConfig, H264Error, split_annexb, split_avcc
from sluice.wire.parameter_sets import ParameterSets

_NAL_AUD, _NAL_FILLER = 9, 12
#: They mean nothing to a decoder and would be sent to every viewer.
_LEFT_OUT = frozenset({_NAL_AUD, _NAL_FILLER})
_AVC3 = "avc3"
_USUAL_LENGTH_SIZE = 4


class H264Units:
    """Converts the packets of one track, in order."""

    def __init__(self, extradata: bytes, codec_tag: str = "") -> None:
        self._sets = ParameterSets()
        self._length_size: int | None = None  #: None: Annex B
        self._record: bytes | None = None  #: a record that is valid for the whole track
        if extradata[:1] == b"\x01":  # a record's version; Annex B and nothing at all begin otherwise
            self._length_size = (extradata[4] & 3) + 1 if len(extradata) > 4 else _USUAL_LENGTH_SIZE
            with contextlib.suppress(H264Error):  # the sets may come in the stream
                config = AvcConfig.parse(extradata)
                self._record = extradata if codec_tag != _AVC3 else None
                self._sets.note((*config.sps, *config.pps))
        else:
            with contextlib.suppress(H264Error):
                self._sets.note(split_annexb(extradata))
        self._last_record = self.record()

    def record(self) -> bytes:
        """An AVCDecoderConfigurationRecord; empty while a set is missing."""
        return self._record or self._sets.record()

    def convert(self, packet: Packet) -> bool:
        """Converts the packet in place; False for data that is no H.264 and must be dropped."""
        if self._record is not None:
            return True
        try:
            if self._length_size is None:
                units = [bytes(unit) for unit in split_annexb(packet.data)]
            else:
                units = [bytes(unit) for unit in split_avcc(packet.data, self._length_size)]
        except H264Error:
            return False
        self._sets.note(units)
        record = self.record()
        if record != self._last_record:
            self._last_record = packet.extradata = record
        kept = [unit for unit in units if unit[0] & 0x1F not in _LEFT_OUT]
        packet.key = packet.key or any(unit[0] & 0x1F == NAL_IDR for unit in kept)
        packet.data = b"".join(part for unit in kept for part in (len(unit).to_bytes(4, "big"), unit))
        return bool(kept)
