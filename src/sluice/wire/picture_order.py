"""Whether pictures arrive in output order, judged by their slice headers (H.264 8.2.1).

The picture order counts decide. Timestamps cannot: some publishers stamp by decoding time, others by output
time. Slice types cannot: some encoders make B slices that refer to earlier pictures only.
"""

from collections.abc import Sequence

from sluice.wire.h264 import (
    NAL_IDR,
    SLICES,
    H264Error,
    SliceType,
    Sps,
    begins_picture,
    pps_of_slice,
    slice_head,
)
from sluice.wire.parameter_sets import ParameterSets


class PictureOrder:
    """Takes each access unit of a stream, in order."""

    def __init__(self) -> None:
        self._sets = ParameterSets()
        self._raw: bytes | None = None
        self._sps: Sps | None = None
        self._reference = 0  #: the order count of the newest reference picture
        self._latest = 0  #: the largest order count since the last IDR picture

    def goes_back(self, units: Sequence[bytes]) -> bool:
        """Whether this picture is output before one that arrived earlier. False where nothing tells."""
        self._sets.note(units)
        first = next((unit for unit in units if unit[0] & 0x1F in SLICES and begins_picture(unit)), None)
        try:
            return first is not None and self._look(first)
        except H264Error:
            return False  # damaged slices are left to the decoder

    def _look(self, nal: bytes) -> bool:
        sps = self._sps_of(nal)
        if sps is None:
            return False
        head = slice_head(nal, sps)
        if not sps.order_bits:
            # With type 2, output order is decoding order. With type 1 the slice type must do: the counts
            # would take half a page to compute (8.2.1.2), and nobody uses that type.
            return sps.order_type == 1 and head.slice_type is SliceType.B
        if nal[0] & 0x1F == NAL_IDR:
            self._reference = self._latest = head.order
            return False
        count = self._count(head.order, 1 << sps.order_bits)
        back = count < self._latest
        self._latest = max(self._latest, count)
        if nal[0] & 0x60:
            self._reference = count
        return back

    def _count(self, low: int, modulus: int) -> int:
        """8.2.1.1: the count with these low bits that is nearest to the newest reference picture's."""
        return self._reference + (low - self._reference + modulus // 2) % modulus - modulus // 2

    def _sps_of(self, nal: bytes) -> Sps | None:
        raw = self._sets.sps_of(pps_of_slice(nal))
        if raw is not self._raw:
            self._raw, self._sps = raw, Sps.parse(raw) if raw is not None else None
        return self._sps
