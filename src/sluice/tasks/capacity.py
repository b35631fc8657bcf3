"""Which tasks this node takes: the shell of core.capacity and core.overload.

Costs are estimated for this machine, and booked on the loop's thread: two calls cannot both take the last
place. Once a second it is measured what processes really use, and how late their event loops are.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import structlog

from sluice.core.capacity import SETTLING_S, Capacity, Load, Measured
from sluice.core.cost import NOTHING_KNOWN, Cost, Source, estimate
from sluice.core.cost_table import TABLE
from sluice.core.errors import NoCapacity
from sluice.core.figures import CAPACITY_CORES, LOOP_LAG, MEMORY, USED_CORES, Ledger, Values
from sluice.core.ids import RunId
from sluice.core.lifecycle import State
from sluice.core.overload import LAG_PART, Overload
from sluice.core.plan import TrackAction
from sluice.core.run import Run
from sluice.core.tasks import RelaySpec, Spec
from sluice.process.control import Relieve
from sluice.process.load import LoadMeter, cpu_s
from sluice.process.supervisor import Supervised
from sluice.tasks.media_pool import MediaPool

log = structlog.get_logger()


class NodeCapacity:
    """`open` it before anything is judged for this machine. `speed` is the machine's (core.cost)."""

    def __init__(
        self,
        capacity: Capacity | None = None,
        rooms: Iterable[Supervised] = (),
        ledger: Ledger | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`rooms` are the room processes; `ledger` has the figures of all processes. `clock` tells seconds
        from any point in time."""
        self._clock = clock
        self.speed = 1.0
        self._capacity = capacity or Capacity()
        self._rooms = rooms
        self._ledger = ledger or Ledger()
        self._meter = LoadMeter()
        self._measuring: asyncio.Task[None] | None = None
        self._overload = Overload()
        self._shown = 1
        self._used_s: dict[str, float] = {}  #: CPU time of each process when it was looked at last
        self._looked_at = 0.0
        self._since: dict[tuple[RunId, State], float] = {}  #: when each run was seen first in its state
        self._resumed: set[RunId] = set()  #: they were taken before: nothing of them is refused

    async def open(self, media: MediaPool) -> None:
        """Asks a media process how fast this machine is, which takes a tenth of a second."""
        self._measuring = self._meter.start()
        took_s = await media.speed_s()
        self.speed = 1.0 if not took_s else TABLE.speed_s / took_s
        load, speed = self.load, round(self.speed, 2)
        log.info("capacity for tasks", cores=load.capacity_cores, mb=load.capacity_mb, speed=speed)

    def close(self) -> None:
        if self._measuring is not None:
            self._measuring.cancel()

    @property
    def load(self) -> Load:
        return self._capacity.load

    def figures(self) -> Values:
        """Present values of the node (core.figures.CAPACITY)."""
        load = self.load
        limit = {} if load.capacity_cores is None else {CAPACITY_CORES.name: {"": load.capacity_cores}}
        return {**limit, USED_CORES.name: {"": load.used_cores}}

    def cost(self, spec: Spec, source: Source = NOTHING_KNOWN) -> Cost:
        """What a task costs on this machine."""
        return estimate(spec, source, speed=self.speed)

    def cores_of(self, run_id: RunId) -> float:
        """What a run takes of its media process, as far as it is known."""
        return self._capacity.cores_of(run_id)

    # --- judging ------------------------------------------------------------------------------------------

    def admit(self, run_id: RunId, spec: Spec, *, waits: bool = False) -> NoCapacity | None:
        """Books a new run, or says why it is refused; `waits` as in Capacity.book. Nothing happens to one
        that is booked already."""
        if self._capacity.holds(run_id):
            return None
        try:
            self._capacity.book(run_id, self.cost(spec), waits=waits)
        except NoCapacity as error:
            return error
        return None

    def resume(self, run_id: RunId, spec: Spec, plan: Mapping[str, Any] | None) -> None:
        """Books a run that an earlier life of the node has taken."""
        self._resumed.add(run_id)
        self._capacity.keep(run_id, self.cost(spec, source_of(plan, None)))

    def judged(
        self, run_id: RunId, change: Callable[[RelaySpec], RelaySpec]
    ) -> Callable[[RelaySpec], RelaySpec]:
        """The change, which raises NoCapacity if the run needs more by it than there is. One that is not
        booked yet is judged when it begins."""

        def make(before: RelaySpec) -> RelaySpec:
            spec = change(before)
            if self._capacity.holds(run_id):
                self._capacity.book(run_id, self.cost(spec))
            return spec

        return make

    def settle(self, run: Run) -> None:
        """The run is what it is, whatever was asked for."""
        if self._capacity.holds(run.task.id):
            self._capacity.keep(run.task.id, self.cost(run.task.spec, source_of(run.plan, run.facts)))

    def planned(self, run: Run) -> NoCapacity | None:
        """Books what the plan of its source makes of a run. It says why one that is just starting does not
        fit; of one that plays already, nothing is refused."""
        run_id, cost = run.task.id, self.cost(run.task.spec, source_of(run.plan, run.facts))
        if not self._capacity.holds(run_id):
            return None
        if run.task.state is State.STARTING and run_id not in self._resumed:
            try:
                self._capacity.book(run_id, cost)
            except NoCapacity as error:
                return error
        self._capacity.keep(run_id, cost)
        return None

    def release(self, run_id: RunId) -> None:
        self._capacity.release(run_id)
        self._resumed.discard(run_id)

    # --- measuring ----------------------------------------------------------------------------------------

    def watch(self, runs: Iterable[Run], media: MediaPool) -> None:
        """To be called once a second, with all live runs."""
        now = self._clock()
        shared, used = self._use(media.processes, now)
        measured = self._measured(runs, used, now)
        # What gives way, or waits for a core, would seem to cost less.
        self._capacity.measure(shared, measured if self._shown == 1 else (), self._media_mb())
        if self._capacity.limited:
            self._relieve(media, now)

    def _relieve(self, media: MediaPool, now: float) -> None:
        lag_s = self._lag_s()
        self._overload.tell(lag_s, now)
        self._capacity.refused_for = self._overload.refusal
        if self._overload.shown != self._shown:
            self._shown = self._overload.shown
            log.warning("load of the machine", lag_ms=round(lag_s * 1000), one_picture_shown_of=self._shown)
            for process in media.processes:
                process.notify(Relieve(shown=self._shown))

    def greet(self, process: Supervised) -> None:
        """A media process has begun: it is told what gives way at present."""
        if self._shown > 1:
            process.notify(Relieve(shown=self._shown))

    def _use(self, media: Iterable[Supervised], now: float) -> tuple[float, dict[Supervised, float]]:
        """Cores that rooms and node, and that each media process used since the last look."""
        elapsed, self._looked_at = now - self._looked_at, now
        before, self._used_s = self._used_s, {}

        def cores(name: str, total_s: float) -> float:
            self._used_s[name] = total_s
            return max(0.0, total_s - before[name]) / elapsed if name in before else 0.0

        def of(process: Supervised) -> float:
            if process.pid is None:
                return 0.0
            return cores(f"{process.spec.name} {process.pid}", cpu_s(process.pid))

        shared = cores("node", time.process_time()) + sum(of(room) for room in self._rooms)
        return shared, {process: of(process) for process in media}

    def _measured(
        self, runs: Iterable[Run], used: Mapping[Supervised, float], now: float
    ) -> Iterable[Measured]:
        """Of each process in which all sessions have played for a while; those that are paused cost
        nothing."""
        flowing: dict[Supervised, list[RunId]] = {}
        unsettled: set[Supervised] = set()
        since, self._since = self._since, {}
        for run in runs:
            if run.process is None or run.task.state is State.PAUSED:
                continue
            key = run.task.id, run.task.state
            self._since[key] = begun = since.get(key, now)
            if now - begun < SETTLING_S:
                unsettled.add(run.process)
            elif run.task.state is State.RUNNING:
                flowing.setdefault(run.process, []).append(run.task.id)
        return [
            Measured(used[process], run_ids)
            for process, run_ids in flowing.items()
            if process not in unsettled and process in used
        ]

    def _media_mb(self) -> list[float]:
        """Memory of each media process."""
        told = (gauges.get(MEMORY.name, {}) for _, kind, gauges in self._ledger.gauges() if kind == "media")
        return [values.get("", 0.0) / (1 << 20) for values in told]

    def _lag_s(self) -> float:
        """Of the loops that send to viewers and answer calls; of media processes, when all are late: then it
        is the machine."""
        lags: dict[str, list[float]] = {"room": [], "media": []}
        for _, kind, gauges in self._ledger.gauges():
            if kind in lags:
                lags[kind].append(gauges.get(LOOP_LAG.name, {}).get("p90", 0.0))
        return max(self._meter.lag_s(LAG_PART), *lags["room"], min(lags["media"], default=0.0))


def source_of(plan: Mapping[str, Any] | None, facts: Mapping[str, Any] | None) -> Source:
    """What the documents of a plan (core.plan) and of facts (core.source_facts) tell of a source."""
    if not plan:
        return NOTHING_KNOWN
    pictures = (facts or {}).get("video") or {}
    return Source(
        width=pictures.get("width"),
        height=pictures.get("height"),
        frame_rate=pictures.get("frame_rate"),
        video=_action(plan, "video"),
        audio=_action(plan, "audio"),
    )


def _action(plan: Mapping[str, Any], kind: str) -> TrackAction | None:
    """None for a track that may still come, and for what a newer release wrote."""
    track = plan.get(kind) or {}
    known = {action.value: action for action in TrackAction}
    action = known.get(str(track.get("action")))
    return None if str(track.get("why", "")).endswith(" so far") else action
