"""The life of tasks on this node: durable first, then placed, then followed by what its session reports.

`core.run` decides what becomes of a run; this is its shell. It keeps the runs, tells each what happens to it,
carries out the effects, and tells it their outcomes. Changes of one run are made one after the other; runs do
not wait for each other, so that their changes share commits.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from sluice.core import run_events as events
from sluice.core.apps import Apps
from sluice.core.blame import Verdict
from sluice.core.bots import StreamLimits
from sluice.core.errors import AccessRefused, BadInput, NotNow, Overloaded, TaskNotFound
from sluice.core.ids import AppId, BotId, RoomId, RunId, TaskId, UserId, new_run_id
from sluice.core.kinds import row_of
from sluice.core.lifecycle import Reason, State
from sluice.core.node_figures import Counts, Readings
from sluice.core.push import PushStage
from sluice.core.request_headers import PLAIN, RequestHeaders
from sluice.core.room_documents import Watched
from sluice.core.rooms import LinkAddress
from sluice.core.run import STOP_DEADLINE_S, Run, step
from sluice.core.tasks import Kind, PlaybackChange, PushSpec, RelaySpec, S, Task
from sluice.process.channel import ChannelClosed
from sluice.process.control import (
    Accepted,
    ControlSession,
    Done,
    Finished,
    Flowing,
    Lost,
    Message,
    Planned,
    Progress,
    Refused,
    Sourced,
    StageChanged,
    StopSession,
)
from sluice.process.owned import own
from sluice.process.state import NodeState
from sluice.process.supervisor import Supervised
from sluice.rooms.port import RunRooms
from sluice.store.bans import is_barred
from sluice.store.bots import refuse_beyond
from sluice.store.errors import StoreTrouble
from sluice.store.tasks import (
    TaskRecord,
    find_latest,
    find_live,
    find_of_bot,
    get_run,
    insert_task,
    list_all,
    list_latest_by_room,
    live_runs_of,
    live_tasks,
    persist,
    purge_older_than,
)
from sluice.store.thread import Store
from sluice.tasks.capacity import NodeCapacity
from sluice.tasks.documents import document
from sluice.tasks.figures import TaskFigures, census
from sluice.tasks.jobs import start_message, update_message
from sluice.tasks.media_pool import MediaPool
from sluice.tasks.placement import Placement
from sluice.tasks.port import StartRequest
from sluice.tasks.positions import Positions

log = structlog.get_logger()

_SWEEP_S = 1.0
_PURGE_EVERY = 600
KEEP_ENDED_S = 7 * 86400
_PURGE_AT_ONCE = 500
_CLOSE_S = 5.0
#: From the deadline of a stop to its end in the store.
_LONGEST_END_S = 7.0


@dataclass(frozen=True, slots=True)
class Terms:
    """On which tasks are taken and kept: `state` says whether they may begin, `capacity` how many may play,
    `keep_s` for how long ended ones are kept. What happens to them is counted in `counts`."""

    state: NodeState = field(default_factory=NodeState)
    capacity: NodeCapacity = field(default_factory=NodeCapacity)
    keep_s: float = KEEP_ENDED_S
    counts: Counts = field(default_factory=Counts)


class TaskService:
    """Implements tasks.port.Tasks. `open` resumes what was live; `close` leaves it for the next start."""

    def __init__(
        self,
        store: Store,
        media: MediaPool,
        rooms: RunRooms,
        clock: Callable[[], float],
        apps: Apps | None = None,
        terms: Terms | None = None,
    ) -> None:
        """`apps` say what the sources of their tasks are asked with, and who may begin one; None: anybody."""
        terms = terms or Terms()
        self._store = store
        self._media = media
        self._rooms = rooms
        self._clock = clock
        self._apps = apps
        self._state, self._keep_s, self._capacity = terms.state, terms.keep_s, terms.capacity
        self._figures = TaskFigures(terms.counts)
        self._runs: dict[RunId, Run] = {}
        self._ends: dict[RunId, asyncio.Event] = {}  #: of runs whose end somebody waits for
        self._placement = Placement(media, self._runs, self._capacity.cores_of)
        self._work: set[asyncio.Task[Any]] = set()
        self._sweeper: asyncio.Task[None] | None = None
        self._positions = Positions(store, self._runs.values)
        self._effects: dict[type[events.Effect], Callable[[Run, Any], None]] = {
            events.Persist: self._persist,
            events.Place: self._place,
            events.Send: self._send,
            events.Ask: self._ask,
            events.Answer: self._answer,
            events.Hold: self._hold,
            events.Retire: self._retire,
            events.Forget: self._forget,
        }
        media.on_notice = self._on_notice
        media.on_ready = self._on_ready
        media.on_death = self._on_death
        media.on_silence = self._on_silence
        rooms.on_silence = self._on_room_silence
        media.on_failure = self._on_failure

    async def open(self) -> None:
        """Places every live task again, where it was."""
        await self._capacity.open(self._media)
        for record in await self._store.run(live_tasks):
            self._runs[record.task.id] = Run(
                record.task,
                record.position_us,
                max(1, record.pass_number),
                record.plan,
                begun_at=record.task.created_at,
                silent=self._silent_parts(record.task),
            )
            if record.task.state is not State.SCHEDULED:
                self._capacity.resume(record.task.id, record.task.spec, record.plan)
        self._step_all((run_id, events.Opened()) for run_id in list(self._runs))
        await self._finish_work()
        self._sweeper = own(self._sweep(), "the sweeper of tasks")
        self._positions.open()

    async def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._capacity.close()
        self._positions.close()
        # The media processes are ended after this: their deaths are no crashes of the tasks.
        self._media.on_notice = lambda process, message: None
        self._media.on_ready = self._media.on_death = self._media.on_failure = lambda process: None
        self._media.on_silence = lambda process, silent: None
        self._rooms.on_silence = lambda has, silent: None
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self._finish_work()
        await self._positions.note()

    async def _finish_work(self) -> None:
        """One change may bring the next."""
        while self._work:
            await asyncio.wait(self._work)

    # --- port ---------------------------------------------------------------------------------------------

    async def find_live(
        self, kind: Kind, app_id: AppId, room_id: RoomId, task_id: TaskId
    ) -> Task[Any] | None:
        return await self._store.run(lambda conn: find_live(conn, kind, app_id, room_id, task_id))

    async def start(self, request: StartRequest[S]) -> tuple[Task[S], bool]:
        self._state.admit()
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
        task, created = await self._accept(asked, request.limits)
        if created:
            silent = self._silent_parts(task)
            run = Run(task, task.spec.begin_s * 1_000_000, begun_at=now, silent=silent)
            self._runs[task.id] = run
            self._figures.started(task)
            self._placement.begin(run, now)
            self._step(task.id, events.Time())
            if self._apps is not None and self._apps.app(task.app_id) is None:
                await self._remove(task.id)
                raise AccessRefused(f"the app {task.app_id} was deleted meanwhile", known=True)
        return task, created

    async def _accept(self, asked: Task[S], limits: StreamLimits) -> tuple[Task[S], bool]:
        """As `start`. Waits for a run of the same identity that is stopping: who stopped it wants another.
        Raises Overloaded when it does not end."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + STOP_DEADLINE_S + _LONGEST_END_S
        while True:
            task, created = await self._book(asked, limits)
            if created or task.state is not State.STOPPING:
                return task, created
            if loop.time() >= deadline:
                raise Overloaded("the task before it has not ended yet; try again in a few seconds")
            await self._until_over(task.id, deadline)

    async def _book(self, asked: Task[S], limits: StreamLimits) -> tuple[Task[S], bool]:
        """It is booked before it is written, so that two calls cannot both take the last place. A scheduled
        one is judged when it begins."""
        refused = None if asked.state is State.SCHEDULED else self._capacity.admit(asked.id, asked.spec)

        def insert(conn: Connection) -> tuple[Task[S], bool]:
            # In the same transaction: a ban is written before it looks for the tasks that it ends.
            barred = row_of(asked).enters_room and is_barred(
                conn, asked.app_id, asked.room_id, asked.user_id, asked.created_at
            )
            if barred:
                raise AccessRefused("the user is barred from this room", known=True)
            if asked.bot_id is not None:
                refuse_beyond(conn, limits, asked.bot_id, asked.app_id, asked.room_id)
            return insert_task(conn, asked, refused)

        created = False
        try:
            task, created = await self._insert(insert)
        finally:
            if not created:
                self._capacity.release(asked.id)
        return task, created

    async def _insert(self, insert: Callable[[Connection], tuple[Task[S], bool]]) -> tuple[Task[S], bool]:
        try:
            return await self._store.run(insert)
        except IntegrityError:  # another node took the same start meanwhile
            return await self._store.run(insert)

    async def _until_over(self, run_id: RunId, deadline: float) -> None:
        """Or until the deadline, in seconds of the loop's clock."""
        if run_id in self._runs:
            end = self._ends.setdefault(run_id, asyncio.Event())
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await end.wait()

    def _silent_parts(self, task: Task[Any]) -> frozenset[events.Part]:
        silent = self._rooms.is_silent(task.app_id, task.room_id)
        return frozenset({events.Part.ROOM} if silent else ())

    async def find_of_bot(self, bot_id: BotId, task_id: TaskId) -> Task[RelaySpec] | None:
        return await self._store.run(lambda conn: find_of_bot(conn, bot_id, task_id))

    async def update_relay(
        self, app_id: AppId, room_id: RoomId, task_id: TaskId, change: Callable[[RelaySpec], RelaySpec]
    ) -> None:
        task = await self.find_live(Kind.RELAY, app_id, room_id, task_id)
        if task is None or task.id not in self._runs:
            raise TaskNotFound(f"no task {task_id} is live in room {room_id}")
        judged = self._capacity.judged(task.id, change)
        try:
            await self._change(task.id, lambda ticket: events.Update(ticket, judged))
        finally:
            if (run := self._runs.get(task.id)) is not None:
                self._capacity.settle(run)

    async def stop_task(self, kind: Kind, app_id: AppId, room_id: RoomId, task_id: TaskId) -> None:
        task = await self.find_live(kind, app_id, room_id, task_id)
        if task is None:
            raise TaskNotFound(f"no task {task_id} is live in room {room_id}")
        await self.stop(task.id)

    async def remove(self, app_id: AppId, room_id: RoomId | None, user_id: UserId | None) -> None:
        ids = await self._store.run(lambda conn: live_runs_of(conn, app_id, room_id, user_id))
        await asyncio.gather(*(self._remove(run_id) for run_id in ids))

    async def _remove(self, run_id: RunId) -> None:
        with suppress(TaskNotFound):  # it has ended meanwhile
            await self._end(run_id, Reason.REMOVED)

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

    async def list_documents(
        self, *, limit: int, offset: int, begins: str = "", app_id: AppId | None = None
    ) -> list[dict[str, object]]:
        records = await self._store.run(
            lambda conn: list_all(conn, offset=offset, limit=limit, begins=begins, app_id=app_id)
        )
        return await self._documents(records)

    async def document(self, run_id: RunId) -> dict[str, object]:
        record = await self._store.run(lambda conn: get_run(conn, run_id))
        if record is None:
            raise TaskNotFound(f"there is no task {run_id}")
        (found,) = await self._documents([record])
        return found

    async def _documents(self, records: list[TaskRecord]) -> list[dict[str, object]]:
        """With what the viewers of each live relay report, asked for once of each room process."""
        runs = [self._runs.get(record.task.id) for record in records]
        tasks = [run.task for run in runs if run is not None and run.task.kind is Kind.RELAY]
        seen = await self._rooms.viewers({_watched(task) for task in tasks}) if tasks else {}
        viewers = {task.id: seen.get(_watched(task)) for task in tasks}
        pairs = zip(records, runs, strict=True)
        return [document(record, run, viewers.get(record.task.id)) for record, run in pairs]

    async def stop(self, run_id: RunId) -> None:
        await self._end(run_id, Reason.STOPPED)

    async def _end(self, run_id: RunId, reason: Reason) -> None:
        await self._change(run_id, lambda ticket: events.Stop(ticket, reason, reason.text))

    async def control(self, run_id: RunId, control: PlaybackChange) -> None:
        await self._change(run_id, lambda ticket: events.Control(ticket, control))

    async def _change(self, run_id: RunId, make: Callable[[asyncio.Future[None]], events.RunEvent]) -> None:
        """Returns when the change is made; it is made even if its caller goes away. Raises why it is not."""
        if run_id not in self._runs:
            raise TaskNotFound(f"no task {run_id} is live")
        ticket = asyncio.get_running_loop().create_future()
        self._step(run_id, make(ticket))
        await ticket

    def figures(self) -> Readings:
        return census(self._runs.values())

    # --- what sessions and processes tell -------------------------------------------------------------------

    def _on_notice(self, process: Supervised, message: Message) -> None:
        told = _TOLD.get(type(message))
        run_id = RunId(getattr(message, "run_id", ""))
        run = self._runs.get(run_id)
        if told is not None and run is not None and run.process is process:
            self._step(run_id, told(message))
            self._positions.tell()
            if isinstance(message, Planned):
                self._judge_plan(run_id)

    def _judge_plan(self, run_id: RunId) -> None:
        """Its source may need more than was thought when it was taken."""
        run = self._runs.get(run_id)
        refused = self._capacity.planned(run) if run is not None else None
        if refused is not None:
            self._step(run_id, events.NoRoom(str(refused)))

    def _on_ready(self, process: Supervised) -> None:
        self._capacity.greet(process)
        self._wake()

    def _on_death(self, process: Supervised) -> None:
        here = [run for run in self._runs.values() if run.process is process]
        lost = [run for run in here if run.ending is None]
        verdict: Verdict[RunId] = Verdict({})
        if lost:
            verdict = self._placement.after_death(process, lost, self._clock())
            self._figures.lost_process(run for run in lost if run.task.id != verdict.blamed)
        self._step_all(
            (
                run.task.id,
                events.ProcessGone(
                    verdict.records.get(run.task.id, run.record), blamed=run.task.id == verdict.blamed
                ),
            )
            for run in here
        )
        self._wake()

    def _on_silence(self, process: Supervised, silent: bool) -> None:
        here = [run.task.id for run in self._runs.values() if run.process is process]
        self._step_all((run_id, events.Silence(events.Part.MEDIA, silent)) for run_id in here)

    def _on_room_silence(self, has: Callable[[AppId, RoomId], bool], silent: bool) -> None:
        here = [run.task.id for run in self._runs.values() if has(run.task.app_id, run.task.room_id)]
        self._step_all((run_id, events.Silence(events.Part.ROOM, silent)) for run_id in here)

    def _on_failure(self, process: Supervised) -> None:
        self._placement.without(process)
        self._wake()

    # --- the machine ----------------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Does what is due, and gives a process to every run that needs one now."""
        self._step_all((run_id, events.Time()) for run_id in list(self._runs))

    def _step(self, run_id: RunId, event: events.RunEvent) -> None:
        self._step_all([(run_id, event)])

    def _step_all(self, happened: Iterable[tuple[RunId, events.RunEvent]]) -> None:
        """Each run takes its event, and then what follows is done: where one is placed depends on all."""
        now = self._clock()
        due: list[tuple[Run, events.Effect]] = []
        for run_id, event in happened:
            if (run := self._runs.get(run_id)) is not None:
                run, effects = step(run, event, now)
                self._runs[run_id] = run
                due += ((run, effect) for effect in effects)
        for run, effect in due:
            self._effects[type(effect)](run, effect)

    def _persist(self, run: Run, effect: events.Persist) -> None:
        self._spawn(self._store_change(run.task.id, effect))

    async def _store_change(self, run_id: RunId, change: events.Persist) -> None:
        outcome: events.Persisted | events.CameTooLate | events.StoreFailed
        try:
            outcome = await self._store.run(lambda conn: persist(conn, run_id, change))
        except Exception as error:  # noqa: BLE001 - root of the change: the run decides what follows
            outcome = events.StoreFailed(error)
        if isinstance(outcome, events.Persisted):
            _log_change(change, outcome.task)
            if (run := self._runs.get(run_id)) is not None:
                self._figures.changed(run.task, outcome.task)
        self._step(run_id, outcome)

    def _place(self, run: Run, effect: events.Place) -> None:
        """Without a process it waits for the next that is ready, without capacity for that of another."""
        refused = self._capacity.admit(run.task.id, run.task.spec, waits=True)
        if refused is not None:
            self._step(run.task.id, events.NoRoom(str(refused)))
            return
        process = self._placement.process_for(run)
        if process is not None and process.notify(start_message(run, *self._surroundings(run))):
            self._step(run.task.id, events.Placed(process))

    def _send(self, run: Run, effect: events.Send) -> None:
        process: Supervised = effect.process
        message = (
            StopSession(run_id=run.task.id)
            if effect.order is events.Order.STOP
            else update_message(run, *self._surroundings(run))
        )
        if message is not None and not process.notify(message):
            self._step(run.task.id, events.Unheard())

    def _surroundings(self, run: Run) -> tuple[LinkAddress, float, RequestHeaders]:
        """Where its frames go, what time it is, and what its source is asked with."""
        app = self._apps.app(run.task.app_id) if self._apps is not None else None
        link = self._rooms.link_of(run.task.app_id, run.task.room_id)
        return link, self._clock(), app.source_headers if app is not None else PLAIN

    def _ask(self, run: Run, effect: events.Ask) -> None:
        self._spawn(self._ask_session(run.task.id, effect))

    async def _ask_session(self, run_id: RunId, effect: events.Ask) -> None:
        process: Supervised = effect.process
        outcome: events.Answered | events.NotAnswered
        try:
            answer = await process.request(ControlSession(run_id=run_id, **asdict(effect.change)))
            outcome = events.Answered(_error_of(answer, run_id))
        except ChannelClosed as error:
            outcome = events.NotAnswered(str(error))
        self._step(run_id, outcome)

    def _answer(self, run: Run, effect: events.Answer) -> None:
        ticket = cast("asyncio.Future[None] | None", effect.ticket)
        if ticket is None:
            if not isinstance(effect.error, StoreTrouble):  # which the store says; it is tried again
                log.error("a change of a task was not made", run_id=run.task.id, exc_info=effect.error)
        elif ticket.done():  # whoever asked has gone
            return
        elif effect.error is not None:
            ticket.set_exception(effect.error)
        else:
            ticket.set_result(None)

    def _hold(self, run: Run, effect: events.Hold) -> None:
        task = run.task
        self._rooms.hold(task.app_id, task.room_id, task.user_id, task.id)

    def _retire(self, run: Run, effect: events.Retire) -> None:
        self._rooms.retire(run.task.app_id, run.task.room_id, run.task.id)

    def _forget(self, run: Run, effect: events.Forget) -> None:
        self._runs.pop(run.task.id, None)
        self._placement.leave(run.task.id)
        self._capacity.release(run.task.id)
        if (end := self._ends.pop(run.task.id, None)) is not None:
            end.set()

    # --- time -----------------------------------------------------------------------------------------------

    async def _sweep(self) -> None:
        """Once a second: what is due, and old rows."""
        sweeps = 0
        while True:
            await asyncio.sleep(_SWEEP_S)
            sweeps += 1
            self._capacity.watch(self._runs.values(), self._media)
            self._wake()
            if sweeps % _PURGE_EVERY == 0:
                self._spawn(self._purge(self._clock() - self._keep_s))

    async def _purge(self, before: float) -> None:
        with suppress(StoreTrouble):  # which the store says
            while await self._purge_some(before) == _PURGE_AT_ONCE:
                pass

    async def _purge_some(self, before: float) -> int:
        return await self._store.run(lambda conn: purge_older_than(conn, before, limit=_PURGE_AT_ONCE))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = own(work, "a change of a task", vital=False)
        self._work.add(task)
        task.add_done_callback(self._work.discard)


#: What the messages of sessions mean for their run.
_TOLD: dict[type[Message], Callable[[Any], events.RunEvent]] = {
    Accepted: lambda message: events.Accepted(),
    Planned: lambda message: events.Planned(message.plan),
    Sourced: lambda message: events.Sourced(message.facts),
    Flowing: lambda message: events.Flowing(),
    Lost: lambda message: events.Lost(Reason.of(message.reason), message.text),
    StageChanged: lambda message: events.Staged(
        PushStage.of(message.stage), Reason.of(message.reason) if message.reason else None, message.text
    ),
    Progress: lambda message: events.Progressed(
        message.position_us,
        message.pass_number,
        events.Counts(
            message.video_frames,
            message.audio_packets,
            message.bytes_out,
            message.dropped,
            message.reconnects,
        ),
        time.monotonic(),
        message.vitals,
        message.flowing,
    ),
    Finished: lambda message: events.Finished(Reason.of(message.reason), message.text, message.source_number),
}


def _watched(task: Task[Any]) -> Watched:
    return task.app_id, task.room_id, task.user_id


def _error_of(answer: Message, run_id: RunId) -> Exception | None:
    """Why a session does not play as it was asked to; None when it does."""
    if isinstance(answer, Refused):
        if answer.busy:
            return NotNow(f"{answer.field}: {answer.why}")
        return BadInput(answer.field, answer.why)
    if isinstance(answer, Done) and answer.found:
        return None
    return TaskNotFound(f"no task {run_id} is live")  # it has ended, and its report is on the way


def _log_change(change: events.Persist, task: Task[Any]) -> None:
    last = change.steps[-1]
    if change.control is not None:
        given = {name: value for name, value in asdict(change.control).items() if value is not None}
        log.info("task controlled", run_id=task.id, state=task.state.value, **given)
    elif isinstance(last, events.Advance):
        log.info("task", run_id=task.id, state=task.state.value, reason=last.reason.code, why=last.text)
    elif isinstance(last, events.SetStage):
        log.info("push", run_id=task.id, stage=last.stage.code, why=last.text)
