"""What is counted of tasks (`core.node_figures`), from the changes of their rows: each is made once."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from sluice.core.lifecycle import Reason, State
from sluice.core.node_figures import (
    ENDED,
    FIRST_PACKET,
    INTERRUPTED,
    RECOVERED,
    RESTARTED,
    STARTED,
    TASKS,
    Counts,
    Readings,
)
from sluice.core.run import Run
from sluice.core.tasks import Task


class TaskFigures:
    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def started(self, task: Task[Any]) -> None:
        self._counts.add(STARTED, task.kind.value)

    def changed(self, before: Task[Any], after: Task[Any]) -> None:
        """The row has become `after`."""
        kind, counts = after.kind.value, self._counts
        if before.flowed_at is None and after.flowed_at is not None:
            begun_at = after.created_at if after.started_at is None else after.started_at
            counts.observe(FIRST_PACKET, after.flowed_at - begun_at, kind)
        if before.state is State.RUNNING and after.state is State.RECOVERING:
            counts.add(INTERRUPTED, kind, after.reason.code)
        if before.state is State.RECOVERING and after.state is State.RUNNING and not _is_resumed(before):
            counts.add(RECOVERED, kind, before.reason.code)
        if before.state.live and not after.state.live:
            counts.add(ENDED, kind, after.state.value, after.reason.code)

    def lost_process(self, runs: Iterable[Run]) -> None:
        """These were in it, and go on in another. What had not begun there is not begun again."""
        for run in runs:
            if run.accepted:
                self._counts.add(RESTARTED, run.task.kind.value)


def _is_resumed(task: Task[Any]) -> bool:
    """A pause was no interruption."""
    return task.reason is Reason.RESUMED


def census(runs: Iterable[Run]) -> Readings:
    """The live runs, as the store has them."""
    tasks: Counter[tuple[str, ...]] = Counter(
        (run.task.kind.value, run.task.state.value, run.task.reason.code) for run in runs
    )
    return {TASKS: tasks}
