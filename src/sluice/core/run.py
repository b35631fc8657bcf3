"""A live run of a task as a pure machine: `step(run, event, now)` gives the run after it, and the effects.

The row in the store is the truth about a task; a `Run` is what the node knows beyond it. Rules:

* Changes of the row are made one at a time, in the order in which they became known (`Run.queue`). Each
  names the epoch of the row that it is based on. If another writer was faster, the run takes the row as it
  is, and the change is tried on it.
* A change of how a relay plays is asked of its session first, and noted when the session plays so: the
  session alone knows whether the source can be paused or sought. What the session tells meanwhile waits, and
  nobody places the run: the next process would begin with what was before. If the note fails, or the answer
  is late, the session is told what the store says.
* An end that has been decided (`Run.ending`) is never forgotten. If the store fails, it is tried again, and
  nobody places the run.
* A session tells once that its media flows, or does not. That is kept (`Run.told`), and noted as soon as it
  can be, whatever the store or another writer did with it at first.
* A run that depends on a process which is silent (`Run.silent`) is not said to be running. When the process
  is heard again, the session's next progress says whether its media flows.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, ClassVar

from sluice.core.blame import NOTHING, Record, begin_anew
from sluice.core.errors import BadInput, NotNow, Overloaded, SluiceError, TaskNotFound
from sluice.core.kinds import row_of
from sluice.core.lifecycle import TABLE, Event, Reason, State
from sluice.core.run_events import (
    Accepted,
    Advance,
    Answer,
    Answered,
    Ask,
    CameTooLate,
    ChangeSpec,
    Control,
    Counts,
    Effect,
    Finished,
    Flowing,
    Forget,
    Hold,
    Lost,
    NoRoom,
    NotAnswered,
    Opened,
    Order,
    Part,
    Persist,
    Persisted,
    Place,
    Placed,
    Planned,
    Process,
    ProcessGone,
    Progress,
    Progressed,
    Retire,
    RunEvent,
    Send,
    SetStage,
    Silence,
    Sourced,
    Staged,
    Stop,
    StoreFailed,
    Ticket,
    Time,
    Unheard,
    Update,
)
from sluice.core.tasks import OPEN_AHEAD_S, PlaybackChange, RelaySpec, Task
from sluice.core.vitals import UNKNOWN, Vitals

#: A session that is told to stop and does not say so is taken as stopped.
STOP_DEADLINE_S = 10.0
#: What is told sooner than this after the last counts gives no rates.
_LEAST_RATED_S = 0.5


@dataclass(frozen=True, slots=True)
class Move:
    """A lifecycle event that the run has come to. `due`: a scheduled start has come with it."""

    ticket: ClassVar[Ticket] = None
    event: Event
    reason: Reason = Reason.NONE
    text: str = ""
    due: bool = False


@dataclass(frozen=True, slots=True)
class Over:
    """The end that was decided on. `due` as in Move."""

    ticket: ClassVar[Ticket] = None
    due: bool = False


Change = Move | Over | Staged | Stop | Update | Control


class Phase(Enum):
    ASKING = "asking"  #: the session
    STORING = "storing"
    RESTORING = "restoring"  #: the session is asked to play as before


@dataclass(frozen=True, slots=True)
class InFlight:
    """How far the first change of the queue is. `control` is what of a control is a change, `asked` who was
    asked for it, `error` its answer once the session plays as before."""

    phase: Phase
    control: PlaybackChange | None = None
    asked: Process | None = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """Times are Unix seconds."""

    task: Task[Any]  #: as the store has it
    position_us: int = 0
    pass_number: int = 1
    plan: dict[str, Any] | None = None
    source_number: int = 1  #: one more with each update
    process: Process | None = None  #: where it runs
    accepted: bool = False  #: the process has it
    silent: frozenset[Part] = frozenset()  #: which of its processes are
    record: Record = NOTHING  #: deaths of processes that may be its fault
    begun_at: float = 0.0  #: when what it plays was asked for
    note: str = ""  #: why it is not running, while it tries
    told: Move | None = None  #: what became of its media last, while nobody has paused it since
    staged: Staged | None = None  #: what its session told of its stage last
    idle_since: float | None = None  #: when its media stopped, as far as this node saw
    paused_at: float | None = None  #: the idle time stands from then on
    ending: tuple[Reason, str] | None = None  #: the end that was decided on
    stop_by: float | None = None  #: when that end is noted, whatever the session says
    restarts: int = 0
    counts: Counts | None = None
    counted_at: float = 0.0
    rates: dict[str, float] = field(default_factory=dict)  #: counts per second
    vitals: Vitals = UNKNOWN  #: of what leaves
    facts: dict[str, Any] | None = None  #: of the source
    queue: tuple[Change, ...] = ()
    in_flight: InFlight | None = None  #: of the first in the queue

    @property
    def changing(self) -> bool:
        """What it plays is being changed."""
        return self.in_flight is not None and type(self.queue[0]) in (Update, Control)

    @property
    def progress(self) -> Progress:
        return Progress(self.position_us, self.pass_number, self.plan)

    def idle_s(self, now: float) -> float:
        """Seconds without media, of which those paused are none."""
        if self.idle_since is None:
            return 0.0
        return (now if self.paused_at is None else self.paused_at) - self.idle_since

    def waits(self, now: float) -> bool:
        """Whether it should have a process and has none; a scheduled one a little before its time."""
        if self.process is not None or self.ending is not None or self.changing:
            return False
        if any(type(change) is Stop for change in self.queue):
            return False
        if self.task.state is State.SCHEDULED:
            begins_at: int = self.task.spec.start_at
            return begins_at <= now + OPEN_AHEAD_S
        return self.task.state.live and self.task.state is not State.STOPPING


Result = tuple[Run, tuple[Effect, ...]]


def step(run: Run, event: RunEvent, now: float) -> Result:
    """The run after `event`, and what is to be done, in this order."""
    run, effects = _ON[type(event)](run, event, now)
    run, more = _go_on(run, now)
    told_so = type(event) is NoRoom  # the answer to Place: it is asked again later
    place: tuple[Effect, ...] = (Place(),) if run.waits(now) and not told_so else ()
    return run, (*effects, *more, *place)


def _go_on(run: Run, now: float) -> Result:
    """Begins the next change that waits; one that comes too late is left out."""
    effects: tuple[Effect, ...] = ()
    while run.queue and run.in_flight is None:
        run, made = _BEGIN[type(run.queue[0])](run, run.queue[0], now)
        effects += made
        if run.in_flight is None:
            run = replace(run, queue=run.queue[1:])
    return run, effects


# --- what is asked for, and what is told --------------------------------------------------------------------


def _on_asked(run: Run, event: Stop | Update | Control, now: float) -> Result:
    return _with(run, event), ()


def _on_accepted(run: Run, event: Accepted, now: float) -> Result:
    return replace(run, accepted=True), ()


def _on_planned(run: Run, event: Planned, now: float) -> Result:
    return replace(run, plan=event.plan), ()


def _on_sourced(run: Run, event: Sourced, now: float) -> Result:
    return replace(run, facts=event.facts), ()


def _on_progressed(run: Run, event: Progressed, now: float) -> Result:
    before, elapsed = run.counts, event.at - run.counted_at
    run = replace(run, position_us=event.position_us, pass_number=event.pass_number, vitals=event.vitals)
    if before is None or elapsed >= _LEAST_RATED_S:
        rates = run.rates if before is None else _rates(before, event.counts, elapsed)
        run = replace(run, counts=event.counts, counted_at=event.at, rates=rates)
    is_known = run.told is not None and run.told.event is Event.FLOWING
    return _flow(run) if event.flowing and not is_known else (run, ())


def _rates(before: Counts, now: Counts, elapsed: float) -> dict[str, float]:
    rates = {
        name: round(max(0, getattr(now, name) - getattr(before, name)) / elapsed, 1)
        for name in ("video_frames", "audio_packets", "bytes_out")
    }
    rates["kbps"] = round(rates["bytes_out"] * 8 / 1000, 1)
    return rates


def _on_flowing(run: Run, event: Flowing, now: float) -> Result:
    return _flow(run)


def _flow(run: Run) -> Result:
    """While one of its processes is silent this is not known to be so; progress will tell."""
    if run.silent:
        return run, ()
    run = replace(run, note="", idle_since=None)
    return _tell(run, Move(Event.FLOWING, due=True)), () if run.task.flowed_at is not None else _hold(run)


def _hold(run: Run) -> tuple[Effect, ...]:
    return (Hold(),) if row_of(run.task).enters_room else ()


def _on_lost(run: Run, event: Lost, now: float) -> Result:
    run = _lose(replace(run, note=event.text), now)
    return _tell(run, Move(Event.LOST, event.reason, event.text)), ()


def _on_staged(run: Run, event: Staged, now: float) -> Result:
    return _with(replace(run, note=event.text, staged=event), event), ()


def _on_finished(run: Run, event: Finished, now: float) -> Result:
    run = replace(run, process=None, rates={}, vitals=UNKNOWN)
    is_former = event.source_number is not None and event.source_number < run.source_number
    if is_former and event.reason.of_source and run.ending is None:
        return _begin_source(run, now), ()
    return _over(_decide(run, event.reason, event.text, now), due=True), ()


def _begin_source(run: Run, now: float) -> Run:
    """The source before it ended while it was asked for, and the session with it. The run is placed again."""
    run = _lose(replace(run, note="the source before has ended; the new one is begun"), now)
    return _tell(run, Move(Event.LOST, text=run.note))


def _with(run: Run, change: Change) -> Run:
    return replace(run, queue=(*run.queue, change))


def _tell(run: Run, move: Move) -> Run:
    return _with(replace(run, told=move), move)


def _over(run: Run, *, due: bool = False) -> Run:
    """Its end is noted after what is known already."""
    return run if _has(run, Over) else _with(run, Over(due))


def _has(run: Run, kind: type[Change]) -> bool:
    return any(type(change) is kind for change in run.queue)


def _decide(run: Run, reason: Reason, text: str, stop_by: float) -> Run:
    """The first end that was decided on counts."""
    return replace(run, ending=run.ending or (reason, text), stop_by=stop_by)


def _lose(run: Run, now: float) -> Run:
    """Its media has stopped; that of a paused run had."""
    if run.paused_at is None and run.idle_since is None:
        return replace(run, idle_since=now)
    return run


def _resume(run: Run, now: float) -> Run:
    """The idle time goes on where it stood at the pause, unless media flows already."""
    flows = any(type(change) is Move and change.event is Event.FLOWING for change in run.queue)
    idle_since = None if flows else now - run.idle_s(now)
    return replace(run, idle_since=idle_since, paused_at=None, told=run.told if flows else None)


def _pause(run: Run, now: float) -> Run:
    return replace(run, paused_at=now, told=None)


# --- processes and time -------------------------------------------------------------------------------------


def _on_placed(run: Run, event: Placed, now: float) -> Result:
    return replace(run, process=event.process, accepted=False, staged=None), ()


def _on_unheard(run: Run, event: Unheard, now: float) -> Result:
    return (run if run.ending is None else _over(run)), ()


def _on_process_gone(run: Run, event: ProcessGone, now: float) -> Result:
    """A process that dies before it has accepted the run says nothing about it."""
    run = replace(run, process=None, rates={}, vitals=UNKNOWN, silent=run.silent - {Part.MEDIA})
    if run.ending is not None:
        return _over(run), ()
    if not run.accepted:
        return run, ()
    run = _lose(replace(run, restarts=run.restarts + 1, record=event.record), now)
    if event.blamed:
        return _over(_decide(run, Reason.MEDIA_CRASH, Reason.MEDIA_CRASH.text, now)), ()
    run = replace(run, note="its media process died; the task goes on in another")
    return _tell(run, Move(Event.LOST, Reason.MEDIA_CRASH, run.note)), ()


def _on_no_room(run: Run, event: NoRoom, now: float) -> Result:
    """One whose time has come waits for as long as it may be without media. One that has a process began, and
    its source needs too much."""
    if run.ending is not None:
        return run, ()
    if run.process is not None:
        run = _decide(run, Reason.NO_CAPACITY, event.text, now + STOP_DEADLINE_S)
        return run, (Send(run.process, Order.STOP),)
    run = replace(run, note=f"waiting for capacity: {event.text}")
    if run.task.state is State.SCHEDULED:
        return run, ()
    run = _lose(run, now)
    if run.idle_s(now) < run.task.spec.max_idle_s:
        return run, ()
    return _over(_decide(run, Reason.NO_CAPACITY, event.text, now)), ()


def _on_silence(run: Run, event: Silence, now: float) -> Result:
    part = frozenset({event.part})
    run = replace(run, silent=run.silent | part if event.silent else run.silent - part)
    if Part.MEDIA in run.silent:  # what it told last no longer holds
        run = replace(run, rates={}, vitals=UNKNOWN)
    if not event.silent or run.told is None or run.told.event is not Event.FLOWING:
        return run, ()
    run = _lose(replace(run, note=f"its {event.part.value} process does not answer"), now)
    return _tell(run, Move(Event.LOST, Reason.PROCESS_SILENT, run.note)), ()


def _on_opened(run: Run, event: Opened, now: float) -> Result:
    state = run.task.state
    held = _hold(run) if run.task.flowed_at is not None else ()
    if state is State.PAUSED:
        run = replace(run, paused_at=now)
    elif state is State.STOPPING:  # for the reason that it has
        run = _over(_decide(run, run.task.reason, run.task.reason_text, now))
    elif state is State.RUNNING:
        run = _tell(run, Move(Event.LOST, Reason.SERVER_SHUTDOWN, "the server was started again"))
    return run, held


def _on_time(run: Run, event: Time, now: float) -> Result:
    """A session that does not stop, a scheduled start, the end of a lifetime, what is not noted yet."""
    task = run.task
    if run.ending is not None:
        overdue = run.stop_by is not None and now > run.stop_by
        return (_over(run) if overdue else run), ()
    if task.state is State.SCHEDULED and now >= task.spec.start_at:
        return (run if _has(run, Move) else _with(run, Move(Event.DUE))), ()
    if task.expires_at is not None and now >= task.expires_at and not _has(run, Stop):
        return _with(run, Stop(None, Reason.LIFETIME_EXCEEDED, Reason.LIFETIME_EXCEEDED.text)), ()
    return (run if run.queue else _catch_up(run)), ()


def _catch_up(run: Run) -> Run:
    """The store failed when it was told, or another writer has said otherwise since."""
    if run.told is not None and _path(run.task.state, run.told.event, due=run.told.due):
        run = _with(run, run.told)
    if run.staged is not None and run.task.stage is not run.staged.stage:
        run = _with(run, run.staged)
    return run


# --- how a change begins ------------------------------------------------------------------------------------


def _persist(
    run: Run, now: float, *steps: Advance | SetStage | ChangeSpec, flight: InFlight | None = None
) -> Result:
    flight = flight or InFlight(Phase.STORING)
    played = flight.control is not None or run.counts is not None or run.plan is not None
    progress = run.progress if played else None
    persist = Persist(run.task.epoch, now, steps, progress, flight.control)
    return replace(run, in_flight=flight), (persist,)


def _begin_move(run: Run, change: Move, now: float) -> Result:
    path = _path(run.task.state, change.event, due=change.due)
    return _advance(run, path, change.reason, change.text, now)


def _begin_over(run: Run, change: Over, now: float) -> Result:
    assert run.ending is not None  # noqa: S101 - decided before its change is made
    reason, text = run.ending
    return _advance(run, _path(run.task.state, reason.outcome, due=change.due), reason, text, now)


def _advance(run: Run, path: tuple[Event, ...], reason: Reason, text: str, now: float) -> Result:
    if not path:
        return run, ()
    steps = [Advance(Event.DUE, Reason.NONE, "") for _ in path[:-1]]
    return _persist(run, now, *steps, Advance(path[-1], reason, text))


def _path(state: State, event: Event, *, due: bool) -> tuple[Event, ...]:
    """The events that lead there; none when it comes too late. Without `due`, a scheduled run becomes due
    only where its end is not possible before."""
    if (state, event) in TABLE and not (due and state is State.SCHEDULED):
        return (event,)
    after = TABLE.get((state, Event.DUE))
    ends = event in (Event.FINISH, Event.FAIL)
    return (Event.DUE, event) if after and (due or ends) and (after, event) in TABLE else ()


def _begin_staged(run: Run, change: Staged, now: float) -> Result:
    if not _is_playing(run) or run.task.stage is change.stage:
        return run, ()
    return _persist(run, now, SetStage(change.stage, change.reason, change.text))


def _begin_stop(run: Run, change: Stop, now: float) -> Result:
    """One that no process has is over in the same moment: there is nothing to wait for."""
    if (run.task.state, Event.STOP) not in TABLE:
        return run, _answer(change.ticket, _not_live(run))
    events = (Event.STOP,) if run.process is not None else (Event.STOP, change.reason.outcome)
    return _persist(run, now, *(Advance(event, change.reason, change.text) for event in events))


def _begin_update(run: Run, change: Update, now: float) -> Result:
    task = run.task
    if not _is_playing(run) or run.ending is not None:
        error = TaskNotFound(f"no task {task.task_id} is live in room {task.room_id}")
        return run, _answer(change.ticket, error)
    try:
        spec = change.change(task.spec)
    except SluiceError as error:
        return run, _answer(change.ticket, error)
    return _persist(run, now, ChangeSpec(spec, anew=True))


def _begin_control(run: Run, change: Control, now: float) -> Result:
    try:
        control = _possible(run, change.change)
    except SluiceError as error:
        return run, _answer(change.ticket, error)
    if control == PlaybackChange():
        return run, _answer(change.ticket, None)
    if run.process is None:
        return _note(run, control, now)
    flight = InFlight(Phase.ASKING, control, run.process)
    return replace(run, in_flight=flight), (Ask(run.process, control),)


def _possible(run: Run, control: PlaybackChange) -> PlaybackChange:
    """What of it is a change. Raises TaskNotFound, BadInput, NotNow."""
    state = run.task.state
    if not _is_playing(run) or run.ending is not None:
        raise _not_live(run)
    if why := row_of(run.task).uncontrollable:
        raise BadInput("id", why)
    if control.paused == (state is State.PAUSED):
        control = replace(control, paused=None)  # it is so already
    field_name = "pause" if control.paused else "seek_s" if control.position_us is not None else None
    if field_name is not None and state in (State.SCHEDULED, State.STARTING):
        raise NotNow(f"{field_name}: the task is {state.value}; try again when it is running")
    if field_name is not None and run.process is None:
        raise NotNow(f"{field_name}: the task waits for a media process; try again in a few seconds")
    return control


def _note(run: Run, control: PlaybackChange, now: float) -> Result:
    """The session plays so, or will from its beginning."""
    if control.position_us is not None:
        run = replace(run, position_us=control.position_us)
    spec: RelaySpec = run.task.spec
    volume = spec.volume if control.volume is None else control.volume
    normalize = spec.normalize if control.normalize is None else control.normalize
    steps: list[Advance | ChangeSpec] = [
        ChangeSpec(replace(spec, volume=volume, normalize=normalize), anew=False)
    ]
    if control.paused is not None:
        event, reason = (Event.PAUSE, Reason.NONE) if control.paused else (Event.RESUME, Reason.RESUMED)
        steps.append(Advance(event, reason, reason.text))
    asked = run.in_flight.asked if run.in_flight is not None else None
    return _persist(run, now, *steps, flight=InFlight(Phase.STORING, control, asked))


def _is_playing(run: Run) -> bool:
    return run.task.state.live and run.task.state is not State.STOPPING


def _not_live(run: Run) -> TaskNotFound:
    return TaskNotFound(f"no task {run.task.id} is live")


def _answer(ticket: Ticket, error: Exception | None) -> tuple[Effect, ...]:
    return () if ticket is None else (Answer(ticket, error),)


# --- how a change ends --------------------------------------------------------------------------------------


def _on_persisted(run: Run, event: Persisted, now: float) -> Result:
    change, flight = run.queue[0], run.in_flight
    run = replace(run, task=event.task, queue=run.queue[1:], in_flight=None)
    over: tuple[Effect, ...] = () if run.task.state.live else (Retire(), Forget())
    after = _AFTER.get(type(change))
    run, effects = after(run, flight, now) if after is not None else (run, ())
    return run, (*over, *effects, *_answer(change.ticket, None))


def _after_stop(run: Run, flight: InFlight, now: float) -> Result:
    if not run.task.state.live:
        return run, ()
    return _end_session(run, run.task.reason, run.task.reason_text, now)


def _end_session(run: Run, reason: Reason, text: str, now: float) -> Result:
    """The row says that the run is stopping."""
    run = _decide(run, reason, text, now + STOP_DEADLINE_S)
    if run.process is not None:
        return run, (Send(run.process, Order.STOP),)
    return (run if _has(run, Over) else replace(run, queue=(Over(), *run.queue))), ()


def _after_update(run: Run, flight: InFlight, now: float) -> Result:
    run = replace(run, position_us=0, pass_number=1, plan=None, facts=None, idle_since=None)
    run = replace(run, begun_at=now, record=begin_anew(run.record), source_number=run.source_number + 1)
    if run.ending is not None and run.ending[0].of_source:
        queue = tuple(change for change in run.queue if type(change) is not Over)
        return _begin_source(replace(run, ending=None, stop_by=None, queue=queue), now), ()
    return run, () if run.process is None else (Send(run.process, Order.UPDATE),)


def _after_control(run: Run, flight: InFlight, now: float) -> Result:
    paused = flight.control.paused if flight.control is not None else None
    if paused is None:
        return run, ()
    run = replace(run, note="")
    return _pause(run, now) if paused else _resume(run, now), ()


def _on_came_too_late(run: Run, event: CameTooLate, now: float) -> Result:
    """Another writer was faster: the run is what the row says, and its change is tried on that."""
    task = event.task or replace(run.task, state=State.ENDED)
    if (task.epoch, task.state) == (run.task.epoch, run.task.state):
        return _on_store_failed(run, StoreFailed(_not_live(run)), now)  # no other writer: it is not possible
    before, run = run.task, replace(run, task=task, in_flight=None)
    stop: tuple[Effect, ...] = () if run.process is None else (Send(run.process, Order.STOP),)
    if not task.state.live:
        return run, (*stop, Retire(), Forget())
    if task.state is State.STOPPING and run.ending is None:
        return _end_session(run, task.reason, task.reason_text, now)
    if (task.state is State.PAUSED) != (run.paused_at is not None):
        run = _pause(run, now) if task.state is State.PAUSED else _resume(run, now)
    plays_so = (before.spec, before.state is State.PAUSED) == (task.spec, task.state is State.PAUSED)
    if plays_so or run.process is None or not _is_playing(run):
        return run, ()
    return run, (Send(run.process, Order.UPDATE),)


def _on_store_failed(run: Run, event: StoreFailed, now: float) -> Result:
    flight = run.in_flight
    if flight is not None and flight.asked is not None:
        return _restore(run, flight, event.error)
    return _without_first(run), (Answer(run.queue[0].ticket, event.error),)


def _on_answered(run: Run, event: Answered, now: float) -> Result:
    flight = run.in_flight
    assert flight is not None  # noqa: S101 - it was asked
    if flight.phase is Phase.RESTORING:
        return _drop(run, flight.error)
    if event.error is not None or flight.control is None:
        return _drop(run, event.error)
    return _note(run, flight.control, now)


def _on_not_answered(run: Run, event: NotAnswered, now: float) -> Result:
    flight = run.in_flight
    assert flight is not None  # noqa: S101 - it was asked
    if flight.phase is Phase.RESTORING:  # one that is gone or hangs needs no telling
        return _drop(run, flight.error)
    text = f"nothing was changed, for {event.why}; try again in a few seconds"
    return _restore(run, flight, Overloaded(text))


def _restore(run: Run, flight: InFlight, error: Exception) -> Result:
    """The session may play as it was asked to: it is told what the store says. The store has no position of
    its own: where the run is, its session tells."""
    control, spec = flight.control or PlaybackChange(), run.task.spec
    before = PlaybackChange(
        paused=None if control.paused is None else not control.paused,
        volume=None if control.volume is None else spec.volume,
        normalize=None if control.normalize is None else spec.normalize,
    )
    run = replace(run, in_flight=replace(flight, phase=Phase.RESTORING, error=error))
    return run, (Ask(flight.asked, before),)


def _drop(run: Run, error: Exception | None) -> Result:
    return _without_first(run), _answer(run.queue[0].ticket, error)


def _without_first(run: Run) -> Run:
    return replace(run, queue=run.queue[1:], in_flight=None)


# --- tables -------------------------------------------------------------------------------------------------

_ON: dict[type[RunEvent], Callable[[Run, Any, float], Result]] = {
    Stop: _on_asked,
    Update: _on_asked,
    Control: _on_asked,
    Accepted: _on_accepted,
    Planned: _on_planned,
    Sourced: _on_sourced,
    Flowing: _on_flowing,
    Lost: _on_lost,
    Staged: _on_staged,
    Progressed: _on_progressed,
    Finished: _on_finished,
    Placed: _on_placed,
    Unheard: _on_unheard,
    ProcessGone: _on_process_gone,
    Silence: _on_silence,
    Opened: _on_opened,
    Time: _on_time,
    NoRoom: _on_no_room,
    Persisted: _on_persisted,
    CameTooLate: _on_came_too_late,
    StoreFailed: _on_store_failed,
    Answered: _on_answered,
    NotAnswered: _on_not_answered,
}
_BEGIN: dict[type[Change], Callable[[Run, Any, float], Result]] = {
    Move: _begin_move,
    Over: _begin_over,
    Staged: _begin_staged,
    Stop: _begin_stop,
    Update: _begin_update,
    Control: _begin_control,
}
_AFTER: dict[type[Change], Callable[[Run, Any, float], Result]] = {
    Stop: _after_stop,
    Update: _after_update,
    Control: _after_control,
}
