"""One timer for all paced sessions of a media process. It calls those that are due.

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
#: Gets the error that ended the calls.
Failed = Callable[[Exception], None]

#: A timer that is so late does not come any more, whatever the load.
_STANDS_STILL_S = 5.0


class Pacer:
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._heap: list[tuple[float, int, Paced, Failed]] = []
        self._order = count()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._steady: list[tuple[Beaten, Failed]] = []
        self._beat: asyncio.TimerHandle | None = None
        self._beaten_at = 0.0

    def schedule(self, at: float, paced: Paced, failed: Failed) -> None:
        """Calls `paced` at `at` (or soon after) and then as it says itself, until it fails."""
        heapq.heappush(self._heap, (at, next(self._order), paced, failed))
        self._arm()

    def keep_calling(self, beaten: Beaten, failed: Failed) -> None:
        """Calls `beaten` at each beat, with the beat's own time, until it returns False or fails."""
        self._steady.append((beaten, failed))
        if self._beat is None:
            self._beaten_at = self._loop.time()
            self._arm_beat()

    def stands_still(self) -> bool:
        """Whether a call is overdue by so much that its timer cannot be running (see process.owned)."""
        late_at = self._loop.time() - _STANDS_STILL_S
        paced_late = bool(self._heap) and self._heap[0][0] < late_at
        return paced_late or (bool(self._steady) and self._beaten_at < late_at)

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
        again: list[tuple[float, int, Paced, Failed]] = []
        while heap and heap[0][0] <= now:
            _, order, paced, failed = heapq.heappop(heap)
            try:
                due = paced(now)
            except Exception as error:  # noqa: BLE001 - root of a timer: its own session gets it, others go on
                failed(error)
                continue
            if due is not None:
                again.append((max(due, now), order, paced, failed))
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
        self._beaten_at = self._loop.time()
        called, self._steady = self._steady, []
        for beaten, failed in called:
            try:
                goes_on = beaten(beat)
            except Exception as error:  # noqa: BLE001 - as above
                failed(error)
                continue
            if goes_on:
                self._steady.append((beaten, failed))
        if self._steady and self._beat is None:
            self._arm_beat()
