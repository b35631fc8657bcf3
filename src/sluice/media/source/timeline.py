"""One running clock out of timestamps that jump: wraps, restarted encoders, spliced streams. No IO.

Where a track leaves its run by more than a real stream would, it goes on right behind its last packet. The
track that jumps next takes over the same correction when that fits, so that sound stays with the picture.
"""

from sluice.media.packets import Packet, TrackKind

_LONGEST_GAP_US = 10_000_000
_LONGEST_STEP_BACK_US = 2_000_000
#: Assumed distance of packets where none is known yet.
_STEP_US = 20_000
_LONGEST_STEP_US = 100_000


class Timeline:
    def __init__(self) -> None:
        self._offsets: dict[TrackKind, int] = {}
        self._last: dict[TrackKind, tuple[int, int]] = {}  #: decoding time and distance of the last packet

    def place(self, packet: Packet) -> None:
        """Moves the packet's times onto the running clock (microseconds)."""
        kind, raw_us = packet.kind, packet.dts_us
        offset_us = self._offsets.get(kind, next(iter(self._offsets.values()), 0))
        step_us = _STEP_US
        if kind in self._last:
            last_us, step_us = self._last[kind]
            offset_us = self._fitting(raw_us, offset_us, last_us, step_us)
            distance_us = raw_us + offset_us - last_us
            step_us = distance_us if 0 < distance_us < _LONGEST_STEP_US else step_us
        self._offsets[kind] = offset_us
        self._last[kind] = (raw_us + offset_us, step_us)
        packet.dts_us += offset_us
        packet.pts_us += offset_us

    def _fitting(self, raw_us: int, offset_us: int, last_us: int, step_us: int) -> int:
        for candidate_us in (offset_us, *self._offsets.values()):
            if -_LONGEST_STEP_BACK_US <= raw_us + candidate_us - last_us <= _LONGEST_GAP_US:
                return candidate_us
        return last_us + step_us - raw_us
