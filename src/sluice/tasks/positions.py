"""Positions of live runs, noted once a second: a node that dies leaves them no older.

Sessions of all processes tell theirs at whole seconds of the machine's clock (media.session), so that one
transaction a moment later takes all of them.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress

from sluice.core.ids import RunId
from sluice.core.run import Run
from sluice.core.run_events import Progress
from sluice.process.owned import own
from sluice.store.errors import StoreTrouble
from sluice.store.tasks import save_positions
from sluice.store.thread import Store

#: So long after the first session has told its position all have.
_TOLD_S = 0.05
#: Between two notes, if some are late.
_AGAIN_S = 0.2


class Positions:
    def __init__(self, store: Store, runs: Callable[[], Iterable[Run]]) -> None:
        """`runs` returns the live ones."""
        self._store = store
        self._runs = runs
        #: What the store has, each with the epoch that it is of.
        self._noted: dict[RunId, tuple[int, Progress]] = {}
        self._told = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    def open(self) -> None:
        self._keeper = own(self._keep(), "the keeper of positions")

    def close(self) -> None:
        """To be followed by the last `note`."""
        if self._keeper is not None:
            self._keeper.cancel()

    def tell(self) -> None:
        """A run has come further."""
        self._told.set()

    async def note(self) -> None:
        """All that have changed, in one transaction. A run that has changed meanwhile is left out: it may
        play something else."""
        known = {
            run.task.id: (run.task.epoch, run.progress) for run in self._runs() if run.process is not None
        }
        news = [(run_id, *far) for run_id, far in known.items() if self._noted.get(run_id) != far]
        if not news:
            return
        with suppress(StoreTrouble):  # which the store says; the next note has all of it
            await self._store.run(lambda conn: save_positions(conn, news))
            self._noted = known

    async def _keep(self) -> None:
        while True:
            await self._told.wait()
            await asyncio.sleep(_TOLD_S)
            self._told.clear()
            await self.note()
            await asyncio.sleep(_AGAIN_S)
