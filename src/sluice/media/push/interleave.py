"""Puts sound and pictures in the order of their times, as FLV players want them. Pure.

A unit goes out when the other track has come as far. A track that pauses holds the other back by at most
`WINDOW_US` of media time, since delay is worse than disorder: what comes later than that goes out late.
"""

import heapq
from itertools import count

from sluice.media.packets import TrackKind
from sluice.media.units import Unit

WINDOW_US = 400_000
_LONG_AGO = -(1 << 62)


class Interleaver:
    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Unit]] = []
        self._order = count()
        self._newest = dict.fromkeys(TrackKind, _LONG_AGO)

    def push(self, units: list[Unit]) -> list[Unit]:
        """Takes units of any track, in the order of each; returns those whose turn it is."""
        for unit in units:
            heapq.heappush(self._heap, (unit.at_us, next(self._order), unit))
            self._newest[unit.kind] = max(self._newest[unit.kind], unit.at_us)
        due_us = max(min(self._newest.values()), max(self._newest.values()) - WINDOW_US)
        ready: list[Unit] = []
        while self._heap and self._heap[0][0] <= due_us:
            ready.append(heapq.heappop(self._heap)[2])
        return ready
