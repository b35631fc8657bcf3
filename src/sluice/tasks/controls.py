"""Changes of how a live relay plays: pause, position, volume, loudness (core.tasks.PlaybackChange).

The media process is asked first, and what it did is noted then. It alone knows whether the source can be
paused or sought, and what it refuses has changed nothing. Between the two nothing can be lost:

* If the node dies, its processes die with it, and its next life makes of the store what is true. The caller
  has no answer, and the store does not know of the change.
* If the process dies, nobody places the run before the change is noted (`Run.changing`), so the next process
  begins with it.
* If the store fails, or the answer is late, the process is told what the store says.
* What the session tells meanwhile waits: the media of a resumed run may flow before that is noted.
"""

import contextlib
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import structlog
from sqlalchemy import Connection

from sluice.core.errors import BadInput, NotNow, Overloaded, TaskNotFound
from sluice.core.kinds import row_of
from sluice.core.lifecycle import Event, Reason, State
from sluice.core.tasks import PlaybackChange, RelaySpec, Task
from sluice.process.channel import ChannelClosed
from sluice.process.control import ControlSession, Done, Refused
from sluice.process.supervisor import Supervised
from sluice.store.tasks import advance_task, change_spec, save_progress
from sluice.store.thread import Store
from sluice.tasks.runs import Run

log = structlog.get_logger()


async def carry_out(run: Run, control: PlaybackChange, store: Store, clock: Callable[[], float]) -> None:
    """Makes the change, or none at all; the caller holds `run.changing`. Raises as Tasks.control does."""
    control = _possible(run, control)
    if control == PlaybackChange():
        return
    process = run.process
    if process is not None:
        await _ask(process, run, control)
    if control.position_us is not None:
        run.position_us = control.position_us
    now = clock()
    try:
        run.task = await store.run(lambda conn: _note(conn, run, control, now))
    except Exception:
        if process is not None:
            await _put_back(process, run, control)
        raise
    if control.paused is not None:
        (run.pause if control.paused else run.resume)(now)
        run.note = ""
    given = {name: value for name, value in asdict(control).items() if value is not None}
    log.info("task controlled", run=run.task.id, state=run.task.state.value, **given)


def _possible(run: Run, control: PlaybackChange) -> PlaybackChange:
    """What of it is a change. Raises TaskNotFound, BadInput, NotNow."""
    state = run.task.state
    if not state.live or state is State.STOPPING or run.ending is not None:
        raise TaskNotFound(f"no task {run.task.id} is live")
    if why := row_of(run.task).uncontrollable:
        raise BadInput("id", why)
    if control.paused == (state is State.PAUSED):
        control = replace(control, paused=None)  # it is so already
    field = "pause" if control.paused else "seek_s" if control.position_us is not None else None
    if field is not None and state in (State.SCHEDULED, State.STARTING):
        raise NotNow(f"{field}: the task is {state.value}; try again when it is running")
    if field is not None and run.process is None:
        raise NotNow(f"{field}: the task waits for a media process; try again in a few seconds")
    return control


async def _ask(process: Supervised, run: Run, control: PlaybackChange) -> None:
    """Returns when the session plays so. Raises as Tasks.control does."""
    try:
        answer = await process.request(ControlSession(run_id=run.task.id, **asdict(control)))
    except ChannelClosed as error:
        await _put_back(process, run, control)
        raise Overloaded(f"nothing was changed, for {error}; try again in a few seconds") from error
    if isinstance(answer, Refused):
        text = f"{answer.field}: {answer.why}"
        raise NotNow(text) if answer.busy else BadInput(answer.field, answer.why)
    if not (isinstance(answer, Done) and answer.found):  # it has ended, and its report is on the way
        raise TaskNotFound(f"no task {run.task.id} is live")


async def _put_back(process: Supervised, run: Run, control: PlaybackChange) -> None:
    """Tells the process what the store says of what was asked: it may have done it. A position is none of
    the store's matters: where the run is, its session tells. One that is gone or hangs needs no telling."""
    spec: RelaySpec = run.task.spec
    before = PlaybackChange(
        paused=None if control.paused is None else not control.paused,
        volume=None if control.volume is None else spec.volume,
        normalize=None if control.normalize is None else spec.normalize,
    )
    with contextlib.suppress(ChannelClosed):
        await process.request(ControlSession(run_id=run.task.id, **asdict(before)))


def _note(conn: Connection, run: Run, control: PlaybackChange, now: float) -> Task[Any]:
    """The task as it is then. Raises TaskNotFound when it has ended meanwhile."""
    run_id = run.task.id
    save_progress(conn, run_id, run.position_us, run.pass_number, run.plan)

    spec: RelaySpec = run.task.spec
    changed = replace(
        spec,
        volume=spec.volume if control.volume is None else control.volume,
        normalize=spec.normalize if control.normalize is None else control.normalize,
    )
    task = change_spec(conn, run_id, changed)
    if task is not None and control.paused is not None:
        event, reason = (Event.PAUSE, Reason.NONE) if control.paused else (Event.RESUME, Reason.RESUMED)
        task = advance_task(conn, run_id, event, reason, reason.text, now)
    if task is None:
        raise TaskNotFound(f"no task {run_id} is live")
    return task
