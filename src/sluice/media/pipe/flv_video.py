"""Video for CDNs without re-encoding: access units of a room as FLV tags, their slices untouched.

Parameter sets are taken out of the access units, into a sequence header. A set or a size that changes in
mid-stream makes a new header, since FLV players know nothing else; browsers change their resolution in this
way. Units before the first sets are useless and left out; malformed units are dropped and counted.
"""

from sluice.media.packets import TrackKind
from sluice.media.units import Unit, VideoHeaders
from sluice.wire.flv import PacketType, write_avc_tag
from sluice.wire.h264 import NAL_PPS, NAL_SPS, H264Error, Sps, split_avcc
from sluice.wire.parameter_sets import ParameterSets

_NAL_AUD, _NAL_FILLER = 9, 12
_LEFT_OUT = frozenset({NAL_SPS, NAL_PPS, _NAL_AUD, _NAL_FILLER})
_LENGTH_SIZE = 4


class FlvVideo:
    """Takes the access units of one stream in order."""

    def __init__(self) -> None:
        self.dropped = 0
        self._sets = ParameterSets()
        self._headers: VideoHeaders | None = None

    def push(self, payload: bytes, at_us: int, *, key: bool) -> Unit | None:
        """`payload` as the frame link carries it: NAL units behind lengths of 4 bytes."""
        try:
            units = split_avcc(payload, _LENGTH_SIZE)
        except H264Error:
            self.dropped += 1
            return None
        kinds = {unit[0] & 0x1F for unit in units}
        if kinds & {NAL_SPS, NAL_PPS}:
            self._configure(units, anew=NAL_SPS in kinds and NAL_PPS in kinds)
        if kinds & _LEFT_OUT:
            kept = [unit for unit in units if unit[0] & 0x1F not in _LEFT_OUT]
            payload = b"".join(p for unit in kept for p in (len(unit).to_bytes(_LENGTH_SIZE, "big"), unit))
        if self._headers is None or not payload:
            return None
        body = write_avc_tag(PacketType.FRAME, payload, key=key)
        return Unit(TrackKind.VIDEO, at_us, body, key, self._headers)

    def _configure(self, units: list[bytes | memoryview], *, anew: bool) -> None:
        if anew:  # otherwise sets of an earlier publisher would remain under other ids
            self._sets.clear()
        self._sets.note(units)
        record = self._sets.record()
        if not record or self._sets.sps is None:
            return
        tag = write_avc_tag(PacketType.CONFIG, record, key=True)
        if self._headers is None or self._headers.tag != tag:
            self._headers = VideoHeaders(tag, *_size(self._sets.sps))


def _size(sps: bytes) -> tuple[int, int]:
    """Width and height in pixels; 0 where the set cannot be read. Decoders may still be able to."""
    try:
        parsed = Sps.parse(sps)
    except H264Error:
        return 0, 0
    return parsed.width, parsed.height
