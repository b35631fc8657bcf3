"""What flows, as people ask for it: rates of the last second, made of counters of the per-packet path.

A counter is looked at once a second, never for a packet. Pure: time is told, in microseconds.
"""

from collections.abc import Sequence

from sluice.core.h264_profiles import profile_title
from sluice.wire.h264 import NAL_SPS, H264Error, Sps
from sluice.wire.rtp import NalUnit

_LEAST_US = 900_000


class Meter:
    """`per_s` has the rates of some counters, in the order in which they are given."""

    __slots__ = ("_at_us", "_counts", "per_s")

    def __init__(self, counts: Sequence[int], now_us: int) -> None:
        self.per_s: tuple[float, ...] = (0.0,) * len(counts)
        self._counts = counts
        self._at_us = now_us

    def look(self, counts: Sequence[int], now_us: int) -> None:
        """To be called about once a second; sooner, it does nothing."""
        elapsed_us = now_us - self._at_us
        if elapsed_us < _LEAST_US:
            return
        pairs = zip(counts, self._counts, strict=True)
        self.per_s = tuple((count - before) * 1e6 / elapsed_us for count, before in pairs)
        self._counts, self._at_us = counts, now_us


def kbps(octets_per_s: float) -> float:
    return round(octets_per_s * 8 / 1000, 1)


class KeyFrames:
    """How far apart the newest key frames are, and what their parameter sets say of the picture."""

    __slots__ = ("_at_us", "_sps", "interval_us")

    def __init__(self) -> None:
        self.interval_us: int | None = None
        self._at_us: int | None = None
        self._sps: NalUnit = b""

    def note(self, nal_units: Sequence[NalUnit], clock_us: int) -> None:
        if self._at_us is not None:
            self.interval_us = clock_us - self._at_us
        self._at_us = clock_us
        self._sps = next((unit for unit in nal_units if unit[0] & 0x1F == NAL_SPS), self._sps)

    def picture(self) -> tuple[str, str, int | None, int | None]:
        """Profile, level, width and height, as far as they can be read."""
        try:
            sps = Sps.parse(self._sps)
        except H264Error:
            return "", "", None, None
        profile = profile_title(sps.profile_idc, self._sps[2])
        return profile, f"{sps.level_idc // 10}.{sps.level_idc % 10}", sps.width, sps.height
