"""Makes one continuous clock of timestamps that jump: wraps, restarted encoders, spliced streams. No IO.

The tracks of a stream share its clock: a track that comes back after a pause is where the others are. A
packet that fits neither its own track nor the others shows that the clock has jumped: it is placed right
behind the last packet of its track. The track that jumps next gets the same correction if that fits, so that
audio stays in sync with video. A track whose timestamps never fitted the others has a clock of its own.
"""

from sluice.media.packets import Packet, TrackKind

#: No real stream has a longer gap while its clock runs on.
_LONGEST_GAP_US = 10_000_000
#: How far apart the tracks of a stream may be, and how far a track may step back: muxers are careless.
_APART_US = 10_000_000
_LONGEST_STEP_BACK_US = 500_000
#: Assumed distance of packets where none is known yet.
_STEP_US = 20_000
_LONGEST_STEP_US = 100_000


class Timeline:
    """The clock of one stream."""

    def __init__(self) -> None:
        self._offsets: dict[TrackKind, int] = {}
        self._last: dict[TrackKind, tuple[int, int]] = {}  #: decoding time and distance of the last packet

    def place(self, packet: Packet) -> None:
        """Moves the packet's times onto the running clock (microseconds)."""
        kind, raw_us = packet.kind, packet.dts_us
        step_us = _STEP_US
        if kind in self._last:
            last_us, step_us = self._last[kind]
            offset_us = self._offsets[kind]
            if not self._runs_on(raw_us + offset_us, last_us):
                offset_us = self._after_jump(kind, raw_us, last_us + step_us)
            distance_us = raw_us + offset_us - last_us
            step_us = distance_us if 0 < distance_us < _LONGEST_STEP_US else step_us
        else:
            offset_us = self._first(raw_us)
        self._offsets[kind] = offset_us
        self._last[kind] = (raw_us + offset_us, step_us)
        packet.shift(offset_us)

    def _runs_on(self, at_us: int, last_us: int) -> bool:
        """Whether a packet continues its track; one that paused is where the others are by now."""
        newest_us = max(last for last, _ in self._last.values())
        return last_us - _LONGEST_STEP_BACK_US <= at_us <= newest_us + _LONGEST_GAP_US

    def _after_jump(self, kind: TrackKind, raw_us: int, next_us: int) -> int:
        for other, offset_us in self._offsets.items():
            if other is not kind and self._runs_on(raw_us + offset_us, self._last[kind][0]):
                return offset_us
        return next_us - raw_us

    def _first(self, raw_us: int) -> int:
        if not self._last:
            return 0
        other, (last_us, _) = max(self._last.items(), key=lambda item: item[1][0])
        offset_us = self._offsets[other]
        return offset_us if abs(raw_us + offset_us - last_us) <= _APART_US else last_us - raw_us
