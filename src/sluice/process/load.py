"""What this process costs the machine, and how late its event loop is.

A timer measures the lag: how much later than asked it comes. A packet, a call and a ping wait as long.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from sluice.core.figures import CORES, CPU_SECONDS, DESCRIPTORS, LOOP_LAG, MEMORY, THREADS, Values
from sluice.process.owned import own

_SAMPLE_S = 0.05
_WINDOW_S = 10.0
_PARTS = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class LoadMeter:
    """Measures the process in whose loop it is made, from `start` on. Its thread must be the loop's."""

    def __init__(self) -> None:
        self._lags: deque[float] = deque(maxlen=round(_WINDOW_S / _SAMPLE_S))
        self._others_s = 0.0
        self._used, self._used_at = self._cpu_s(), time.monotonic()  #: when `gauges` looked last

    def start(self) -> "asyncio.Task[None]":
        return own(self._sample(), "the measuring of the event loop")

    def lag_s(self, part: float) -> float:
        """The lag that this part (0 to 1) of the last 10 s stayed below; 0 before anything was measured."""
        lags = sorted(self._lags)
        return lags[min(len(lags) - 1, int(part * len(lags)))] if lags else 0.0

    def totals(self) -> Values:
        return {CPU_SECONDS.name: self._cpu_s()}

    def gauges(self) -> Values:
        """The cores are those in use since the last look."""
        return {
            CORES.name: self._cores(),
            LOOP_LAG.name: {name: self.lag_s(part) for name, part in _PARTS.items()},
            MEMORY.name: {"": int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES},
            DESCRIPTORS.name: {"": _entries("/proc/self/fd")},
            THREADS.name: {"": _entries("/proc/self/task")},
        }

    def _cores(self) -> Mapping[str, float]:
        used, now = self._cpu_s(), time.monotonic()
        elapsed, before = max(now - self._used_at, _SAMPLE_S), self._used
        self._used, self._used_at = used, now
        return {thread: (used[thread] - before[thread]) / elapsed for thread in used}

    def _cpu_s(self) -> dict[str, float]:
        """Neither goes back, although the two clocks are read one after the other."""
        loop_s = time.thread_time()
        self._others_s = max(self._others_s, time.process_time() - loop_s)
        return {"loop": loop_s, "others": self._others_s}

    async def _sample(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _SAMPLE_S
            await asyncio.sleep(_SAMPLE_S)
            self._lags.append(max(0.0, loop.time() - due))


def cpu_s(pid: int) -> float:
    """CPU time that all threads of a process have used so far; 0 when it is gone."""
    try:
        return time.clock_gettime((~pid << 3) | 2)  # clock_getcpuclockid(3)
    except OSError:
        return 0.0


def _entries(folder: str) -> int:
    return sum(1 for _ in Path(folder).iterdir())
