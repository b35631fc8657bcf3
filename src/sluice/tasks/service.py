"""The life of tasks on this node: durable first, then placed, then followed by what its session reports.

The row in the store is the truth about a task; `Run` is what the node knows beyond it. Every change of
state goes through one guarded update (`store.tasks.advance_task`); one that comes too late changes nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from sluice.core.apps import Apps
from sluice.core.blame import begin_anew
from sluice.core.errors import AccessRefused, TaskNotFound
from sluice.core.ids import AppId, BotId, RoomId, RunId, TaskId, UserId, new_run_id
from sluice.core.kinds import row_of
from sluice.core.lifecycle import Event, Reason, State
from sluice.core.push import PushStage
from sluice.core.request_headers import PLAIN, RequestHeaders
from sluice.core.tasks import OPEN_AHEAD_S, Kind, PlaybackChange, PushSpec, RelaySpec, S, Task
from sluice.process.control import (
    Accepted,
    Finished,
    Flowing,
    Lost,
    Message,
    Planned,
    Progress,
    StageChanged,
    StopSession,
    UpdateSession,
)
from sluice.process.owned import own
from sluice.process.supervisor import Supervised
from sluice.rooms.port import RunRooms
from sluice.store.bans import is_barred
from sluice.store.bots import refuse_beyond
from sluice.store.tasks import (
    advance_task,
    change_spec,
    find_latest,
    find_live,
    find_of_bot,
    get_run,
    insert_task,
    list_all,
    list_latest_by_room,
    live_runs_of,
    live_tasks,
    purge_older_than,
    save_progress,
    set_stage,
)
from sluice.store.thread import Store
from sluice.tasks.controls import carry_out
from sluice.tasks.jobs import relay_job, start_message
from sluice.tasks.media_pool import MediaPool
from sluice.tasks.placement import Placement
from sluice.tasks.port import StartRequest
from sluice.tasks.runs import Run, document

log = structlog.get_logger()

_SWEEP_S = 1.0
_SAVE_EVERY = 5  #: sweeps between two notes of all positions
_PURGE_EVERY = 600
_KEEP_ENDED_S = 7 * 86400
#: A session that is told to stop and does not say so is taken as stopped.
_STOP_DEADLINE_S = 10.0


class TaskService:
    """Implements tasks.port.Tasks. `open` resumes what was live; `close` leaves it for the next start."""

    def __init__(
        self,
        store: Store,
        media: MediaPool,
        rooms: RunRooms,
        clock: Callable[[], float],
        apps: Apps | None = None,
    ) -> None:
        """`apps` say what the sources of their tasks are asked with."""
        self._store = store
        self._media = media
        self._rooms = rooms
        self._clock = clock
        self._apps = apps or Apps()
        self._runs: dict[RunId, Run] = {}
        self._placement = Placement(media, self._runs)
        self._work: set[asyncio.Task[Any]] = set()
        self._sweeper: asyncio.Task[None] | None = None
        media.on_notice = self._on_notice
        media.on_ready = lambda _: self._place_waiting()
        media.on_death = self._on_death
        media.on_failure = self._on_failure

    async def open(self) -> None:
        """Places every live task again, where it was."""
        for record in await self._store.run(live_tasks):
            run = Run(record.task, record.position_us, max(1, record.pass_number), record.plan)
            run.begun_at = record.task.created_at
            self._runs[record.task.id] = run
            if record.task.state is State.PAUSED:
                run.pause(self._clock())
            if record.task.state is State.STOPPING:
                await self._apply(run, Event.FINISH, Reason.STOPPED, Reason.STOPPED.text)
            elif record.task.state is State.RUNNING:
                await self._apply(run, Event.LOST, Reason.SERVER_SHUTDOWN, "the server was started again")
        self._place_waiting()
        self._sweeper = own(self._sweep(), "the sweeper of tasks")

    async def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        # The media processes are ended after this: their deaths are no crashes of the tasks.
        self._media.on_notice = lambda process, message: None
        self._media.on_ready = self._media.on_death = self._media.on_failure = lambda process: None
        await self._save_positions()
        if self._work:
            await asyncio.wait(self._work, timeout=5)

    # --- port ---------------------------------------------------------------------------------------------

    async def find_live(
        self, kind: Kind, app_id: AppId, room_id: RoomId, task_id: TaskId
    ) -> Task[Any] | None:
        return await self._store.run(lambda conn: find_live(conn, kind, app_id, room_id, task_id))

    async def start(self, request: StartRequest[S]) -> tuple[Task[S], bool]:
        now = self._clock()
        asked = Task(
            id=new_run_id(),
            kind=request.spec.kind,
            dialect=request.dialect,
            app_id=request.app_id,
            room_id=request.room_id,
            task_id=request.task_id,
            user_id=request.user_id,
            business_id=request.business_id,
            spec=request.spec,
            state=State.SCHEDULED if request.spec.start_at > now else State.STARTING,
            reason=Reason.NONE,
            reason_text="",
            created_at=now,
            bot_id=request.bot_id,
        )

        def insert(conn: Connection) -> tuple[Task[S], bool]:
            # In the same transaction: a ban is written before it looks for the tasks that it ends.
            barred = row_of(asked).enters_room and is_barred(
                conn, asked.app_id, asked.room_id, asked.user_id, now
            )
            if barred:
                raise AccessRefused("the user is barred from this room", known=True)
            if asked.bot_id is not None:
                refuse_beyond(conn, request.limits, asked.bot_id, asked.app_id, asked.room_id)
            return insert_task(conn, asked)

        try:
            task, created = await self._store.run(insert)
        except IntegrityError:  # another node took the same start meanwhile
            task, created = await self._store.run(insert)
        if created:
            run = self._runs[task.id] = Run(task, task.spec.begin_s * 1_000_000, begun_at=now)
            self._placement.begin(run, now)
            if self._is_waiting(run):
                self._place(run)
        return task, created

    async def find_of_bot(self, bot_id: BotId, task_id: TaskId) -> Task[RelaySpec] | None:
        return await self._store.run(lambda conn: find_of_bot(conn, bot_id, task_id))

    async def update_relay(
        self, app_id: AppId, room_id: RoomId, task_id: TaskId, change: Callable[[RelaySpec], RelaySpec]
    ) -> None:
        task = await self.find_live(Kind.RELAY, app_id, room_id, task_id)
        run = self._runs.get(task.id) if task is not None else None
        if task is None or run is None:
            raise TaskNotFound(f"no task {task_id} is live in room {room_id}")
        async with self._changing(run):
            spec = change(run.task.spec)
            updated = await self._store.run(lambda conn: change_spec(conn, run.task.id, spec, anew=True))
            if updated is None:
                raise TaskNotFound(f"no task {task_id} is live in room {room_id}")
            run.task, run.position_us, run.pass_number, run.plan = updated, 0, 1, None
            run.idle_since = None
            run.begun_at, run.record = self._clock(), begin_anew(run.record)
            if run.process is not None:
                job = relay_job(run, self._link_of(run), self._clock(), self._headers_of(run))
                run.process.notify(UpdateSession(job=job))

    async def stop_task(self, kind: Kind, app_id: AppId, room_id: RoomId, task_id: TaskId) -> None:
        task = await self.find_live(kind, app_id, room_id, task_id)
        if task is None:
            raise TaskNotFound(f"no task {task_id} is live in room {room_id}")
        await self.stop(task.id)

    async def remove(self, app_id: AppId, room_id: RoomId | None, user_id: UserId | None) -> None:
        ids = await self._store.run(lambda conn: live_runs_of(conn, app_id, room_id, user_id))
        runs = [self._runs[run_id] for run_id in ids if run_id in self._runs]
        await asyncio.gather(*(self._end(run, Reason.REMOVED, Reason.REMOVED.text) for run in runs))

    async def latest_push(self, app_id: AppId, room_id: RoomId, task_id: TaskId) -> Task[PushSpec] | None:
        now = self._clock()
        return await self._store.run(
            lambda conn: find_latest(conn, Kind.PUSH, app_id, room_id, task_id, now=now)
        )

    async def list_relays(
        self, app_id: AppId, room_id: RoomId, *, offset: int, limit: int, newest_first: bool
    ) -> list[Task[RelaySpec]]:
        now = self._clock()
        return await self._store.run(
            lambda conn: list_latest_by_room(
                conn, app_id, room_id, now=now, offset=offset, limit=limit, newest_first=newest_first
            )
        )

    async def list_documents(self, *, limit: int, offset: int) -> list[dict[str, object]]:
        records = await self._store.run(lambda conn: list_all(conn, offset=offset, limit=limit))
        return [document(record, self._runs.get(record.task.id)) for record in records]

    async def document(self, run_id: RunId) -> dict[str, object]:
        record = await self._store.run(lambda conn: get_run(conn, run_id))
        if record is None:
            raise TaskNotFound(f"there is no task {run_id}")
        return document(record, self._runs.get(run_id))

    async def stop(self, run_id: RunId) -> None:
        run = self._runs.get(run_id)
        if run is None or not await self._end(run, Reason.STOPPED, Reason.STOPPED.text):
            raise TaskNotFound(f"no task {run_id} is live")

    async def control(self, run_id: RunId, control: PlaybackChange) -> None:
        run = self._runs.get(run_id)
        if run is None:
            raise TaskNotFound(f"no task {run_id} is live")
        async with self._changing(run):
            await carry_out(run, control, self._store, self._clock)

    # --- what sessions and processes tell -------------------------------------------------------------------

    def _on_notice(self, process: Supervised, message: Message) -> None:
        run = self._runs.get(RunId(getattr(message, "run_id", "")))
        if run is None or run.process is not process:
            return
        if isinstance(message, Accepted):
            run.accepted = True
        elif isinstance(message, Progress):
            run.take(message)
        elif isinstance(message, Planned):
            run.plan = message.plan
        elif isinstance(message, Flowing):
            self._come_due(run)
            run.note, run.idle_since = "", None
            self._spawn(self._apply(run, Event.FLOWING, Reason.NONE, ""))
        elif isinstance(message, StageChanged):
            run.note = message.text
            self._spawn(self._set_stage(run, message))
        elif isinstance(message, Lost):
            run.note = message.text
            run.lose(self._clock())
            self._spawn(self._apply(run, Event.LOST, Reason.of(message.reason), message.text))
        elif isinstance(message, Finished):
            run.process = None
            self._come_due(run)
            reason, text = run.ending or (Reason.of(message.reason), message.text)
            # Noted: if the store fails now, the sweep tries again, and nobody places what has ended.
            run.ending, run.stop_by = (reason, text), self._clock()
            self._spawn(self._apply(run, reason.outcome, reason, text))

    def _on_death(self, process: Supervised) -> None:
        now = self._clock()
        lost = []
        for run in [run for run in self._runs.values() if run.process is process]:
            run.process = None
            if run.ending is not None:
                self._spawn(self._apply(run, run.ending[0].outcome, *run.ending))
            else:
                lost.append(run)
        if lost:
            self._divide(process, lost, now)
        self._place_waiting()

    def _divide(self, process: Supervised, lost: list[Run], now: float) -> None:
        blamed = self._placement.after_death(process, lost, now)
        for run in lost:
            if not run.accepted:
                continue
            run.restarts += 1
            run.lose(now)
            if run is blamed:
                run.ending, run.stop_by = (Reason.MEDIA_CRASH, Reason.MEDIA_CRASH.text), now
                self._spawn(self._apply(run, Event.FAIL, *run.ending))
            else:
                run.note = "its media process died; the task goes on in another"
                self._spawn(self._apply(run, Event.LOST, Reason.MEDIA_CRASH, run.note))

    def _on_failure(self, process: Supervised) -> None:
        self._placement.without(process)
        self._place_waiting()

    # --- inside -------------------------------------------------------------------------------------------

    def _place_waiting(self) -> None:
        """Gives a process to every run that needs one now."""
        for run in self._runs.values():
            if self._is_waiting(run):
                self._place(run)

    def _is_waiting(self, run: Run) -> bool:
        """Whether the run should have a process and has none; scheduled ones a little before their time."""
        if run.process is not None or run.ending is not None or run.changing.locked():
            return False
        if run.task.state is State.SCHEDULED:
            begins_at: int = run.task.spec.start_at
            return begins_at <= self._clock() + OPEN_AHEAD_S
        return run.task.state.live

    def _place(self, run: Run) -> None:
        """Gives the run to a media process; without one it waits for the next that is ready."""
        process = self._placement.process_for(run)
        if process is None:
            return
        start = start_message(run, self._link_of(run), self._clock(), self._headers_of(run))
        if process.notify(start):
            run.process, run.accepted = process, False

    def _headers_of(self, run: Run) -> RequestHeaders:
        app = self._apps.app(run.task.app_id)
        return app.source_headers if app is not None else PLAIN

    @asynccontextmanager
    async def _changing(self, run: Run) -> AsyncIterator[None]:
        """One change of what a run plays at a time. Nobody places it meanwhile: it would begin with what was
        before."""
        try:
            async with run.changing:
                yield
        finally:
            if self._is_waiting(run):
                self._place(run)

    def _link_of(self, run: Run) -> str:
        return self._rooms.link_of(run.task.app_id, run.task.room_id)

    def _come_due(self, run: Run) -> None:
        """The scheduled start has come."""
        if run.task.state is State.SCHEDULED and not run.due:
            run.due = True
            self._spawn(self._apply(run, Event.DUE, Reason.NONE, ""))

    async def _end(self, run: Run, reason: Reason, text: str) -> bool:
        """Stops a live run for this reason; False when it was over already."""
        if run.process is None:
            return await self._end_waiting(run, reason, text)
        if await self._apply(run, Event.STOP, reason, text) is None:
            return False
        run.ending = (reason, text)
        run.stop_by = self._clock() + _STOP_DEADLINE_S
        if run.process is None or not run.process.notify(StopSession(run_id=run.task.id)):
            await self._apply(run, reason.outcome, reason, text)
        return True

    async def _end_waiting(self, run: Run, reason: Reason, text: str) -> bool:
        """As `_end`, for one that no process has: there is nothing to wait for."""
        before, run.ending = run.ending, (reason, text)  # so that nobody places it meanwhile
        task = None
        try:
            task = await self._apply(run, Event.STOP, reason, text, then=reason.outcome)
        finally:
            if task is None:
                run.ending = before
        return task is not None

    async def _apply(
        self, run: Run, event: Event, reason: Reason, text: str, *, then: Event | None = None
    ) -> Task[Any] | None:
        """The task after `event`, and after `then` in the same transaction; None when it came too late."""
        async with run.changing:
            pass  # a change that is being made is noted before what follows from it
        now = self._clock()

        def change(conn: Connection) -> Task[Any] | None:
            if run.progress is not None or run.plan is not None:
                save_progress(conn, run.task.id, run.position_us, run.pass_number, run.plan)
            task = advance_task(conn, run.task.id, event, reason, text, now)
            if task is not None and then is not None:
                task = advance_task(conn, run.task.id, then, reason, text, now)
            return task

        task = await self._store.run(change)
        if task is None:
            return None
        run.task = task
        log.info("task", run=task.id, state=task.state.value, reason=reason.code, text=text)
        if not task.state.live:
            self._rooms.retire(task.app_id, task.room_id, task.id)
            self._runs.pop(task.id, None)
            self._placement.leave(run)
        return task

    async def _set_stage(self, run: Run, told: StageChanged) -> None:
        now, stage = self._clock(), PushStage.of(told.stage)
        reason = Reason.of(told.reason) if told.reason else None
        task = await self._store.run(
            lambda conn: set_stage(conn, run.task.id, stage, told.text, now, reason=reason)
        )
        if task is not None:
            run.task = task
            log.info("push", run=task.id, stage=stage.code, text=told.text)

    async def _save_positions(self) -> None:
        notes = [
            (run.task.id, run.position_us, run.pass_number, run.plan)
            for run in self._runs.values()
            if run.process is not None
        ]
        if notes:
            await self._store.run(lambda conn: [save_progress(conn, *note) for note in notes])

    async def _sweep(self) -> None:
        """Once a second: lifetimes, sessions that do not stop, positions, old rows."""
        sweeps = 0
        while True:
            await asyncio.sleep(_SWEEP_S)
            sweeps += 1
            now = self._clock()
            for run in list(self._runs.values()):
                if run.stop_by is not None and now > run.stop_by and run.ending is not None:
                    self._spawn(self._apply(run, run.ending[0].outcome, *run.ending))
                elif run.task.state is State.SCHEDULED and now >= run.task.spec.start_at:
                    self._come_due(run)
                elif run.ending is None and run.task.expires_at is not None and now >= run.task.expires_at:
                    self._spawn(self._end(run, Reason.LIFETIME_EXCEEDED, Reason.LIFETIME_EXCEEDED.text))
            self._place_waiting()
            if sweeps % _SAVE_EVERY == 0:
                self._spawn(self._save_positions())
            if sweeps % _PURGE_EVERY == 0:
                self._spawn(self._purge(now - _KEEP_ENDED_S))

    async def _purge(self, before: float) -> None:
        await self._store.run(lambda conn: purge_older_than(conn, before))

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Runs in the background; the store takes changes in the order in which they are spawned."""
        task = own(work, "a change of a task", vital=False)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
