"""Which media process serves which run: the pool by load, and apart from it the runs of a process that died.

What core.blame decides is carried out here. A run that was put apart stays so until it ends: moving it would
interrupt it once more.
"""

from collections.abc import Callable, Iterable, Mapping

import structlog

from sluice.core.blame import FORGOTTEN_AFTER_S, Member, Verdict, judge, may_be_joined
from sluice.core.ids import RunId
from sluice.core.kinds import row_of
from sluice.core.run import Run
from sluice.process.supervisor import Supervised
from sluice.tasks.media_pool import MediaPool

log = structlog.get_logger()


class Placement:
    def __init__(
        self, media: MediaPool, runs: Mapping[RunId, Run], cores_of: Callable[[RunId], float]
    ) -> None:
        """`runs` are the live ones, by id, as they are at each moment; `cores_of` says what each takes."""
        self._media = media
        self._runs = runs
        self._cores_of = cores_of
        self._apart: dict[RunId, Supervised] = {}  #: the only process that a run may use: others died with it
        self._blamed: dict[str, float] = {}  #: when, by address of the source

    def begin(self, run: Run, now: float) -> None:
        """A source that was blamed lately does not begin among others again, as far as there is room."""
        self._blamed = {url: at for url, at in self._blamed.items() if now - at <= FORGOTTEN_AFTER_S}
        if run.task.spec.url in self._blamed:
            self._seat([run.task.id], self._media.take_apart())

    def process_for(self, run: Run) -> Supervised | None:
        """None: it waits for one."""
        apart = self._apart.get(run.task.id)
        if apart is not None:
            return apart if apart.ready else None
        loads: dict[Supervised, float] = {}
        for run_id, other in self._runs.items():
            if other.process is not None:
                loads[other.process] = loads.get(other.process, 0.0) + self._cores_of(run_id)
        return self._beside(run) or self._media.least_loaded(loads, self._suspects().keys())

    def after_death(self, process: Supervised, lost: Iterable[Run], now: float) -> Verdict[RunId]:
        """Says where those who were in it go on. Returns what each has lived through, and who is blamed."""
        accepted = [run for run in lost if run.accepted]  # the others were given to what was dying
        ids = {run.task.id for run in accepted}
        waiting = (
            run_id for run_id in self._suspects().get(process, ()) if self._runs[run_id].ending is None
        )
        displaced = [run_id for run_id in waiting if run_id not in ids]
        was_apart = self._media.release(process)
        crowd = self._crowd(process, now)
        verdict: Verdict[RunId] = Verdict({})
        if accepted:
            room = self._media.room - bool(displaced)
            verdict = judge([_member(run) for run in accepted], now, max(1, room), crowd=crowd is not None)
        groups = [*verdict.apart] + ([tuple(displaced)] if displaced else [])
        for group in sorted(groups, key=len, reverse=True):  # what is ready already is for the most
            seat = self._media.take_apart() or (crowd if was_apart else process)
            self._seat(group, seat)
        self._seat(verdict.rest, crowd)
        if verdict.blamed is not None:
            self._seat([verdict.blamed], None)
            self._blamed[self._runs[verdict.blamed].task.spec.url] = now
        log.warning(
            "tasks lost their process",
            child=process.spec.name,
            groups=[len(group) for group in groups],
            others=len(verdict.rest),
            blamed=verdict.blamed,
        )
        return verdict

    def leave(self, run_id: RunId) -> None:
        """The run is over: a process apart ends with its last."""
        apart = self._apart.pop(run_id, None)
        if apart is not None and apart not in self._suspects():
            self._media.release(apart)

    def without(self, process: Supervised) -> None:
        """The process could not be started: those who wait for it go where all go."""
        self._seat(self._suspects().get(process, ()), None)

    # --- inside -------------------------------------------------------------------------------------------

    def _seat(self, run_ids: Iterable[RunId], process: Supervised | None) -> None:
        for run_id in run_ids:
            self._apart.pop(run_id, None)
            if process is not None:
                self._apart[run_id] = process

    def _suspects(self) -> dict[Supervised, list[RunId]]:
        """Who was put apart, by process."""
        found: dict[Supervised, list[RunId]] = {}
        for run_id, process in self._apart.items():
            found.setdefault(process, []).append(run_id)
        return found

    def _crowd(self, dead: Supervised, now: float) -> Supervised | None:
        """Where suspects go for whom there is no room: the process of others that is quiet for longest."""
        since: dict[Supervised, float] = {}
        for process, run_ids in self._suspects().items():
            quiet_since = may_be_joined((self._runs[run_id].record for run_id in run_ids), now)
            if process is not dead and quiet_since is not None:
                since[process] = quiet_since
        return min(since, key=since.__getitem__, default=None)

    def _beside(self, run: Run) -> Supervised | None:
        """The process that has another run of the same shared source, and is not apart."""
        source = row_of(run.task).shared_source(run.task)
        if source is None:
            return None
        others = (
            other
            for run_id, other in self._runs.items()
            if other.process is not None and run_id not in self._apart
        )
        return next(
            (one.process for one in others if row_of(one.task).shared_source(one.task) == source), None
        )


def _member(run: Run) -> Member[RunId]:
    return Member(run.task.id, run.begun_at, run.record, bundle=row_of(run.task).shared_source(run.task))
