"""Which media process serves which run: the pool by load, and apart from it the runs of a process that died.

What core.blame decides is carried out here. A run that was put apart stays so until it ends: moving it would
interrupt it once more.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

import structlog

from sluice.core.blame import FORGOTTEN_AFTER_S, Member, Verdict, judge, may_be_joined
from sluice.core.ids import RunId
from sluice.core.kinds import row_of
from sluice.process.supervisor import Supervised
from sluice.tasks.media_pool import MediaPool
from sluice.tasks.runs import Run

log = structlog.get_logger()


class Placement:
    def __init__(self, media: MediaPool, runs: Mapping[RunId, Run]) -> None:
        """`runs` are the live ones, by id."""
        self._media = media
        self._runs = runs
        self._blamed: dict[str, float] = {}  #: when, by address of the source

    def begin(self, run: Run, now: float) -> None:
        """A source that was blamed lately does not begin among others again, as far as there is room."""
        self._blamed = {url: at for url, at in self._blamed.items() if now - at <= FORGOTTEN_AFTER_S}
        if run.task.spec.url in self._blamed:
            run.apart = self._media.take_apart()

    def process_for(self, run: Run) -> Supervised | None:
        """None: it waits for one."""
        if run.apart is not None:
            return run.apart if run.apart.ready else None
        loads = Counter(other.process for other in self._runs.values() if other.process is not None)
        return self._beside(run) or self._media.least_loaded(loads, self._suspects().keys())

    def after_death(self, process: Supervised, lost: list[Run], now: float) -> Run | None:
        """Says where those who were in it go on; the one that is blamed, if it is clear."""
        accepted = [run for run in lost if run.accepted]  # the others were given to what was dying
        waiting = [run for run in self._suspects().get(process, ()) if run.ending is None]
        displaced = [run for run in waiting if run not in accepted]
        was_apart = self._media.release(process)
        crowd = self._crowd(process, now)
        verdict: Verdict[RunId] = Verdict({})
        if accepted:
            room = self._media.room - bool(displaced)
            verdict = judge([_member(run) for run in accepted], now, max(1, room), crowd=crowd is not None)
        for run_id, record in verdict.records.items():
            self._runs[run_id].record = record
        groups = [self._of(group) for group in verdict.apart] + ([displaced] if displaced else [])
        for group in sorted(groups, key=len, reverse=True):  # what is ready already is for the most
            seat = self._media.take_apart() or (crowd if was_apart else process)
            _seat(group, seat)
        _seat(self._of(verdict.rest), crowd)
        blamed = self._runs[verdict.blamed] if verdict.blamed is not None else None
        if blamed is not None:
            blamed.apart = None
            self._blamed[blamed.task.spec.url] = now
        log.warning(
            "tasks lost their process",
            child=process.spec.name,
            groups=[len(group) for group in groups],
            others=len(verdict.rest),
            blamed=verdict.blamed,
        )
        return blamed

    def leave(self, run: Run) -> None:
        """It is over, and no longer among the runs: a process apart ends with its last."""
        if run.apart is not None and run.apart not in self._suspects():
            self._media.release(run.apart)

    def without(self, process: Supervised) -> None:
        """It could not be started: those who wait for it go where all go."""
        _seat(self._suspects().get(process, ()), None)

    # --- inside -------------------------------------------------------------------------------------------

    def _suspects(self) -> dict[Supervised, list[Run]]:
        """Who was put apart, by process."""
        found: dict[Supervised, list[Run]] = {}
        for run in self._runs.values():
            if run.apart is not None:
                found.setdefault(run.apart, []).append(run)
        return found

    def _crowd(self, dead: Supervised, now: float) -> Supervised | None:
        """Where suspects go for whom there is no room: the process of others that is quiet for longest."""
        since: dict[Supervised, float] = {}
        for process, runs in self._suspects().items():
            quiet_since = may_be_joined((run.record for run in runs), now)
            if process is not dead and quiet_since is not None:
                since[process] = quiet_since
        return min(since, key=since.__getitem__, default=None)

    def _beside(self, run: Run) -> Supervised | None:
        """The process that has another run of the same shared source, and is not apart."""
        source = row_of(run.task).shared_source(run.task)
        if source is None:
            return None
        others = (other for other in self._runs.values() if other.process is not None and other.apart is None)
        return next(
            (other.process for other in others if row_of(other.task).shared_source(other.task) == source),
            None,
        )

    def _of(self, run_ids: Iterable[RunId]) -> list[Run]:
        return [self._runs[run_id] for run_id in run_ids]


def _member(run: Run) -> Member[RunId]:
    return Member(run.task.id, run.begun_at, run.record, bundle=row_of(run.task).shared_source(run.task))


def _seat(runs: Iterable[Run], process: Supervised | None) -> None:
    for run in runs:
        run.apart = process
