"""An innocent viewer beside an attack: what he, the operator and the machine notice of it.

Bounds of time are for a node that has its machine to itself. Elsewhere as much is allowed besides as a quiet
time showed, and as a clock in a process of its own was late during the attack; with SLUICE_STRICT_TIMES=1
nothing is.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import psutil

from tests.acceptance.node import ServedNode
from tests.hostile.observer import Observer, Sight, Usage, usage_of
from tests.hostile.witnesses import Witnesses

STALL_S = HEALTH_S = 0.5
GROWN_MB = 20.0
#: What a node holds open anyway for callers that have just gone, and pools of threads and connections.
_MORE_DESCRIPTORS = 24
_MORE_THREADS = 16
_BACK_S = 20.0
_QUIET_S = 2.0
_CALM_S, _CALM_STALL_S = 0.5, 0.2
_SETTLE_S = 30.0
_POLL_S = 0.2
STRICT = bool(os.environ.get("SLUICE_STRICT_TIMES"))


@dataclass
class Seen:
    """Filled when the attack is over. `grown` is by process: MB, descriptors and threads more than before, as
    little as it became within a bounded wait; `most_mb` how much more memory it was meanwhile."""

    stall_s: float = 0.0
    health_s: float = 0.0
    late_s: float = 0.0
    failures: list[str] = field(default_factory=list)
    grown: dict[str, Usage] = field(default_factory=dict)
    most_mb: dict[str, float] = field(default_factory=dict)
    allowed_s: float = 0.0  #: besides the bounds

    @property
    def grown_mb(self) -> float:
        """Of the process that grew most."""
        return max(usage.mb for usage in self.grown.values())

    def check(self, *, most_mb: float = 100.0) -> None:
        """That nobody noticed the attack, and that no process had more than `most_mb` for it at any time."""
        more_s = 0.0 if STRICT else self.allowed_s
        assert self.stall_s <= STALL_S + more_s, self
        assert not self.failures, self
        assert self.health_s <= HEALTH_S + more_s, self
        assert self.grown_mb <= GROWN_MB, self
        assert all(usage.descriptors <= _MORE_DESCRIPTORS for usage in self.grown.values()), self
        assert all(usage.threads <= _MORE_THREADS for usage in self.grown.values()), self
        assert all(mb <= most_mb for mb in self.most_mb.values()), self

    def __str__(self) -> str:
        grown = ", ".join(
            f"{kind} {usage.mb:+.0f} MB (most {self.most_mb.get(kind, 0):+.0f}) {usage.descriptors:+d} fd"
            f" {usage.threads:+d} threads"
            for kind, usage in sorted(self.grown.items())
        )
        return (
            f"stall {self.stall_s:.2f} s, health {self.health_s:.2f} s, late {self.late_s:.2f} s, "
            f"allowed {self.allowed_s:.2f} s, failures {self.failures[:3]}; {grown}"
        )


@dataclass
class Beside:
    """What looks at the node. `room` is that of the innocent; `rooms` are those of all who watch."""

    node: ServedNode
    witnesses: Witnesses
    observer: Observer
    room: str
    quiet_s: float = 0.0

    async def measure_quiet(self) -> None:
        """What stalls and waits there are when nobody does anything."""
        await self._settle()
        await asyncio.sleep(_QUIET_S)
        stall_s, sight = self._look()
        self.quiet_s = max(stall_s, sight.health_s)

    @asynccontextmanager
    async def innocent(self) -> AsyncIterator[Seen]:
        """Everything that is seen while the context is open."""
        await self._settle()
        before = usage_of(self.node.process)
        self._look()
        seen = Seen()
        yield seen
        seen.stall_s, sight = self._look()
        seen.health_s, seen.late_s, seen.failures = sight.health_s, sight.late_s, sight.failures
        seen.allowed_s = self.quiet_s + seen.late_s
        seen.most_mb = {
            kind: most - before[kind].mb for kind, most in sight.most_mb.items() if kind in before
        }
        seen.grown = await self._back_from(before)
        print(seen)

    async def _settle(self) -> None:
        """Until everybody gets what there is again: no attack is to blame for the one before it."""
        async with asyncio.timeout(_SETTLE_S):
            self._look()
            await asyncio.sleep(_CALM_S)
            while self._look()[0] > _CALM_STALL_S:
                await asyncio.sleep(_CALM_S)

    def _look(self) -> tuple[float, Sight]:
        stalls = [stall for viewer in self.witnesses.take_stalls() for stall in viewer.values()]
        return max(stalls), self.observer.take()

    async def _back_from(self, before: dict[str, Usage]) -> dict[str, Usage]:
        deadline = time.monotonic() + _BACK_S
        while True:
            grown = {
                kind: Usage(
                    now.mb - before[kind].mb,
                    now.descriptors - before[kind].descriptors,
                    now.threads - before[kind].threads,
                )
                for kind, now in usage_of(self.node.process).items()
                if kind in before
            }
            if all(_is_back(usage) for usage in grown.values()) or time.monotonic() > deadline:
                return grown
            await asyncio.sleep(_POLL_S)


def _is_back(grown: Usage) -> bool:
    return grown.mb <= GROWN_MB and grown.descriptors <= _MORE_DESCRIPTORS and grown.threads <= _MORE_THREADS


def busy_s(processes: list[psutil.Process]) -> float:
    """CPU time that processes have used so far."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)
