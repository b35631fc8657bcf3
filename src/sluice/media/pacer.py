"""One clock for all paced sessions of a media process: whoever is due is called.

Due times are rounded up to a common grid, so that many sessions share a wake-up instead of having one each.
Sessions of sound alone have a packet every 20 ms; they are all called in the same, every second, wake-up.
"""

import asyncio
import heapq
from collections.abc import Callable
from itertools import count

#: Coarse enough that sound and pictures of a session leave together: waking a room process costs as much as
#: twenty packets (benchmarks/fanout).
GRID_S = 0.01
#: The beat of sound alone, in seconds of the loop's clock.
BEAT_S = 0.02

#: Sends what is due at the given time of the loop's clock; returns when it is due next, None for never.
Paced = Callable[[float], float | None]
#: Sends what is due at the given time; False when it is to be called no more.
Beaten = Callable[[float], bool]


class Pacer:
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._heap: list[tuple[float, int, Paced]] = []
        self._order = count()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._steady: list[Beaten] = []
        self._beat: asyncio.TimerHandle | None = None

    def schedule(self, at: float, paced: Paced) -> None:
        """Calls `paced` at `at` (or soon after) and then as it says itself."""
        heapq.heappush(self._heap, (at, next(self._order), paced))
        self._arm()

    def keep_calling(self, beaten: Beaten) -> None:
        """Calls `beaten` at each beat, with the beat's own time, until it returns False."""
        self._steady.append(beaten)
        if self._beat is None:
            self._arm_beat()

    def _arm(self) -> None:
        if not self._heap:
            return
        at = -(-self._heap[0][0] // GRID_S) * GRID_S
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._run)

    def _run(self) -> None:
        self._timer = None
        now = self._loop.time()
        heap = self._heap
        again: list[tuple[float, int, Paced]] = []
        try:
            while heap and heap[0][0] <= now:
                _, order, paced = heapq.heappop(heap)
                due = paced(now)
                if due is not None:
                    again.append((max(due, now), order, paced))
        finally:  # one that fails must not take the others with it
            for entry in again:
                heapq.heappush(heap, entry)
            self._arm()

    def _arm_beat(self) -> None:
        at = (self._loop.time() // BEAT_S + 1) * BEAT_S
        self._beat = self._loop.call_at(at, self._run_beat)

    def _run_beat(self) -> None:
        self._beat = None
        # Timers may come a little early.
        beat = round(self._loop.time() / BEAT_S) * BEAT_S
        called, self._steady = self._steady, []
        left = iter(called)
        try:
            for beaten in left:
                if beaten(beat):
                    self._steady.append(beaten)
        finally:  # as above: the others are called at the next beat
            self._steady.extend(left)
            if self._steady and self._beat is None:
                self._arm_beat()
