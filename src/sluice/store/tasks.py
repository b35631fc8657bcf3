"""The named queries on tasks, each one function for `Store.run`.

Every change of state is one guarded UPDATE whose ``WHERE state IN (…)`` and new state come from the
lifecycle's table, with what is told of it (`store.outbox`) in the same transaction. Progress (position,
pass, plan) is no change of state: it tells nobody and leaves the epoch alone. Page sizes are the caller's,
who bounds them. Statements are built once: building one costs several times what running it does.

A newer release may have written rows. Fields of a spec that this release does not know are ignored, an
unknown reason or stage becomes none. A row that still makes no sense is left out of lists.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any, TypeVar

import structlog
from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Integer,
    Row,
    Select,
    Update,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from sluice.core.ids import AppId, BotId, BusinessId, RoomId, RunId, TaskId, UserId
from sluice.core.kinds import read_spec, row_of
from sluice.core.lifecycle import Event, Reason, State, advance, states_before
from sluice.core.push import PushStage
from sluice.core.run_events import Advance, CameTooLate, ChangeSpec, Persist, Persisted, Progress, SetStage
from sluice.core.tasks import LISTED_S, Dialect, Kind, RelaySpec, S, Spec, Task
from sluice.store.errors import StoreError
from sluice.store.outbox import enqueue
from sluice.store.schema import begins_with, tasks

log = structlog.get_logger()

_T = TypeVar("_T")

_LIVE = tasks.c.ended_at.is_(None)


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """A run and how far it came. `plan` is `core.plan.Plan.document()`, None before the probe."""

    task: Task[Any]
    position_us: int
    pass_number: int
    plan: dict[str, Any] | None


_INSERT = insert(tasks)


def insert_task(conn: Connection, task: Task[S], refused: Exception | None = None) -> tuple[Task[S], bool]:
    """Start: the task as stored and True, or the live one of the same identity and False. Raises `refused`
    for a new one.

    `task.state` is STARTING or SCHEDULED; its start and lifetime are derived here from `created_at`. Raises
    IntegrityError when another process was faster: the same call finds its task.
    """
    live = find_live(conn, task.kind, task.app_id, task.room_id, task.task_id)
    if live is not None:
        return live, False
    if refused is not None:
        raise refused
    task = replace(task, **_times_on_entering(task.state, task.created_at, task.spec.lifetime_s))
    conn.execute(_INSERT, _row_of(task) | {"position_us": task.spec.begin_s * 1_000_000})
    _enqueue_events(conn, task, task.created_at)
    return task, True


def _times_on_entering(state: State, now: Any, lifetime_s: Any) -> dict[str, Any]:
    """`now` and `lifetime_s` are numbers or the SQL expressions of such; without a lifetime there is no
    expiry, in SQL too, where the sum with NULL is NULL."""
    if state is State.STARTING:
        return {"started_at": now, "expires_at": None if lifetime_s is None else now + lifetime_s}
    return {} if state.live else {"ended_at": now}


def _at_epoch() -> ColumnElement[bool]:
    """The fence of a late writer: without a known epoch, every one will do."""
    return tasks.c.epoch == func.coalesce(bindparam("known_epoch", type_=Integer), tasks.c.epoch)


def _advance_statement(event: Event) -> Update:
    after = {before: advance(before, event) for before in states_before(event)}
    times: dict[str, Any] = {}
    for state in after.values():  # one event never leads both to a live and to an ended state
        times |= _times_on_entering(
            state, bindparam("now", type_=Double), bindparam("lifetime_s", type_=Double)
        )
    if event is Event.FLOWING:
        times["flowed_at"] = func.coalesce(tasks.c.flowed_at, bindparam("now", type_=Double))
    new_state = case({before.value: state.value for before, state in after.items()}, value=tasks.c.state)
    return (
        update(tasks)
        # Not IN: SQLAlchemy expands its list anew each time.
        .where(tasks.c.id == bindparam("run_id"), or_(*(tasks.c.state == before.value for before in after)))
        .where(_at_epoch())
        .values(
            state=new_state,
            reason=bindparam("why"),
            reason_text=bindparam("text"),
            epoch=tasks.c.epoch + 1,
            **times,
        )
        .returning(tasks)
    )


_ADVANCE = {event: _advance_statement(event) for event in Event}
_IS_RESUMED = select(
    exists().where(
        tasks.c.id == bindparam("run_id"),
        tasks.c.state == State.RECOVERING.value,
        tasks.c.reason == Reason.RESUMED.code,
    )
)


def advance_task(
    conn: Connection,
    run_id: RunId,
    event: Event,
    reason: Reason,
    reason_text: str,
    now: float,
    *,
    epoch: int | None = None,
) -> Task[Any] | None:
    """The task after `event`, or None when it is in no state in which that may happen (or unknown).

    With `epoch`, also None when the task has changed since that epoch: the fence of a late writer.
    """
    values = {"run_id": run_id, "known_epoch": epoch, "why": reason.code, "text": reason_text, "now": now}
    resumed = False
    if event is Event.DUE:
        # Asked for apart: rows of older releases have no lifetime in their spec, which stands for 72 h.
        record = get_run(conn, run_id)
        values["lifetime_s"] = None if record is None else record.task.spec.lifetime_s
    elif event is Event.FLOWING:
        resumed = bool(conn.scalar(_IS_RESUMED, {"run_id": run_id}))
    row = conn.execute(_ADVANCE[event], values).one_or_none()
    if row is None:
        return None
    task = _task_of(row)
    _enqueue_events(conn, task, now, resumed=resumed)
    return task


def _enqueue_events(
    conn: Connection, task: Task[Any], now: float, *, staged: bool = False, resumed: bool = False
) -> None:
    """What callers are told of the change at `now`; flags as in `kinds.TaskEvents`."""
    for event in row_of(task).events(task, now, staged=staged, resumed=resumed):
        enqueue(conn, event)


_SET_STAGE = (
    update(tasks)
    .where(tasks.c.id == bindparam("run_id"), _LIVE, tasks.c.state != State.STOPPING.value)
    .where(tasks.c.stage != bindparam("new_stage"), _at_epoch())
    .values(
        stage=bindparam("new_stage"),
        reason=func.coalesce(bindparam("why"), tasks.c.reason),
        reason_text=bindparam("text"),
        epoch=tasks.c.epoch + 1,
    )
    .returning(tasks)
)


def set_stage(
    conn: Connection,
    run_id: RunId,
    stage: PushStage,
    text: str,
    now: float,
    *,
    reason: Reason | None = None,
    epoch: int | None = None,
) -> Task[Any] | None:
    """The push at its next stage, told as a change of state is; None when it is there already or is over, or
    has changed since `epoch`. Without a `reason` it keeps the one that it has."""
    why = reason.code if reason is not None else None
    values = {"run_id": run_id, "new_stage": stage.code, "why": why, "text": text, "known_epoch": epoch}
    row = conn.execute(_SET_STAGE, values).one_or_none()
    if row is None:
        return None
    task = _task_of(row)
    _enqueue_events(conn, task, now, staged=True)
    return task


_SAVE_PROGRESS = update(tasks).where(tasks.c.id == bindparam("run_id"), _LIVE, _at_epoch())


def save_progress(
    conn: Connection,
    run_id: RunId,
    position_us: int,
    pass_number: int,
    plan: dict[str, Any] | None,
    *,
    epoch: int | None = None,
) -> bool:
    """How far a live run came, for going on after a crash. False when it is no longer live, or has changed
    since `epoch`."""
    values = {"run_id": run_id, "position_us": position_us, "pass_number": pass_number, "plan": plan}
    return conn.execute(_SAVE_PROGRESS, values | {"known_epoch": epoch}).rowcount == 1


def save_positions(conn: Connection, known: Iterable[tuple[RunId, int, Progress]]) -> None:
    """How far live runs came at these epochs; of one that is over or has changed since, nothing is saved."""
    rows = [
        {
            "run_id": run_id,
            "known_epoch": epoch,
            "position_us": far.position_us,
            "pass_number": far.pass_number,
            "plan": far.plan,
        }
        for run_id, epoch, far in known
    ]
    conn.execute(_SAVE_PROGRESS, rows)


_GET_RUN = select(tasks).where(tasks.c.id == bindparam("run_id"))
_CHANGE_SPEC = (
    update(tasks)
    .where(tasks.c.id == bindparam("run_id"), _LIVE, tasks.c.state != State.STOPPING.value, _at_epoch())
    .values(spec=bindparam("new_spec"), epoch=tasks.c.epoch + 1)
    .returning(tasks)
)
_BEGIN_ANEW = _CHANGE_SPEC.values(position_us=0, pass_number=1)


def change_spec(
    conn: Connection, run_id: RunId, spec: Spec, *, anew: bool = False, epoch: int | None = None
) -> Task[Any] | None:
    """A live run that plays `spec` from now on, `anew` or from where it is; None when it is over, or has
    changed since `epoch`."""
    values = {"run_id": run_id, "new_spec": asdict(spec), "known_epoch": epoch}
    row = conn.execute(_BEGIN_ANEW if anew else _CHANGE_SPEC, values).one_or_none()
    return None if row is None else _task_of(row)


_STEPS: dict[type[Advance | SetStage | ChangeSpec], Callable[..., Task[Any] | None]] = {
    Advance: lambda conn, run_id, step, at, epoch: advance_task(
        conn, run_id, step.event, step.reason, step.text, at, epoch=epoch
    ),
    SetStage: lambda conn, run_id, step, at, epoch: set_stage(
        conn, run_id, step.stage, step.text, at, reason=step.reason, epoch=epoch
    ),
    ChangeSpec: lambda conn, run_id, step, at, epoch: change_spec(
        conn, run_id, step.spec, anew=step.anew, epoch=epoch
    ),
}


def persist(conn: Connection, run_id: RunId, change: Persist) -> Persisted | CameTooLate:
    """All steps of a change of a run, or none if its row has changed since the epoch of the change."""
    before, epoch, task = change.progress, change.epoch, None
    if before is None or save_progress(
        conn, run_id, before.position_us, before.pass_number, before.plan, epoch=epoch
    ):
        for step in change.steps:
            after = _STEPS[type(step)](conn, run_id, step, change.at, epoch)
            if after is None:
                break
            task, epoch = after, after.epoch
        else:
            if task is not None:
                return Persisted(task)
    if task is not None:  # undoes the first steps
        raise StoreError(
            f"the change of task {run_id} was not possible as a whole; try again in a few seconds"
        )
    record = get_run(conn, run_id)
    return CameTooLate(None if record is None else record.task)


def get_run(conn: Connection, run_id: RunId) -> TaskRecord | None:
    """One run, live or not."""
    row = conn.execute(_GET_RUN, {"run_id": run_id}).one_or_none()
    return None if row is None else _record_of(row)


_FIND_LIVE = select(tasks).where(
    _LIVE,
    tasks.c.kind == bindparam("kind"),
    tasks.c.app_id == bindparam("app_id"),
    tasks.c.room_id == bindparam("room_id"),
    tasks.c.task_id == bindparam("task_id"),
)


def find_live(
    conn: Connection, kind: Kind, app_id: AppId, room_id: RoomId, task_id: TaskId
) -> Task[Any] | None:
    """The live run of an identity; the index allows one (docs/contract/volcengine.md 7.1)."""
    identity = {"kind": kind.value, "app_id": app_id, "room_id": room_id, "task_id": task_id}
    row = conn.execute(_FIND_LIVE, identity).one_or_none()
    return None if row is None else _task_of(row)


_LATEST = (
    select(tasks)
    .where(
        tasks.c.kind == bindparam("kind"),
        tasks.c.app_id == bindparam("app_id"),
        tasks.c.room_id == bindparam("room_id"),
        tasks.c.task_id == bindparam("task_id"),
        or_(_LIVE, tasks.c.ended_at > bindparam("ended_after")),
    )
    .order_by(_LIVE.desc(), tasks.c.created_at.desc(), tasks.c.id)
    .limit(1)
)


def find_latest(
    conn: Connection, kind: Kind, app_id: AppId, room_id: RoomId, task_id: TaskId, *, now: float
) -> Task[Any] | None:
    """The latest run of an identity, an ended one for 72 h (docs/contract/volcengine.md 7.1)."""
    identity = {"kind": kind.value, "app_id": app_id, "room_id": room_id, "task_id": task_id}
    row = conn.execute(_LATEST, identity | {"ended_after": now - LISTED_S}).one_or_none()
    return None if row is None else _task_of(row)


_FIND_OF_BOT = (
    select(tasks)
    .where(tasks.c.bot_id == bindparam("bot_id"), tasks.c.task_id == bindparam("task_id"))
    .limit(1)
)


def find_of_bot(conn: Connection, bot_id: BotId, task_id: TaskId) -> Task[RelaySpec] | None:
    """A bot's stream, live or not; its TaskId is random, so there is one run of it."""
    row = conn.execute(_FIND_OF_BOT, {"bot_id": bot_id, "task_id": task_id}).one_or_none()
    return None if row is None else _task_of(row)


def _latest_by_room(*, newest_first: bool) -> Select[Any]:
    """Goes along an index and stops at the end of the page, however many runs the room has had."""
    other = tasks.alias("other")
    same = [other.c[name] == tasks.c[name] for name in ("app_id", "room_id", "task_id", "kind")]
    # A live run is the latest one even if the clock was set back since the run before it. Three questions,
    # each of which an index answers, are less than one with OR, which reads all runs.
    is_latest = _LIVE | (
        ~exists().where(*same, other.c.ended_at.is_(None))
        & ~exists().where(*same, other.c.created_at > tasks.c.created_at)
        & ~exists().where(*same, other.c.created_at == tasks.c.created_at, other.c.id < tasks.c.id)
    )
    order = (tasks.c.created_at, tasks.c.id)
    return (
        select(tasks)
        .where(tasks.c.app_id == bindparam("app_id"), tasks.c.room_id == bindparam("room_id"))
        .where(tasks.c.kind == Kind.RELAY.value, or_(_LIVE, tasks.c.ended_at > bindparam("ended_after")))
        .where(is_latest)
        .order_by(*(column.desc() for column in order) if newest_first else order)
        .offset(bindparam("skip", type_=Integer))
        .limit(bindparam("take", type_=Integer))
    )


_NEWEST_BY_ROOM = _latest_by_room(newest_first=True)
_OLDEST_BY_ROOM = _latest_by_room(newest_first=False)


def list_latest_by_room(
    conn: Connection,
    app_id: AppId,
    room_id: RoomId,
    *,
    now: float,
    offset: int,
    limit: int,
    newest_first: bool,
) -> list[Task[RelaySpec]]:
    """The latest run of each relay TaskId of a room, ended ones for 72 h (docs/contract/volcengine.md 7.1,
    8.4)."""
    values = {
        "app_id": app_id,
        "room_id": room_id,
        "ended_after": now - LISTED_S,
        "skip": offset,
        "take": limit,
    }
    query = _NEWEST_BY_ROOM if newest_first else _OLDEST_BY_ROOM
    return list(_readable(conn.execute(query, values), _task_of))


def list_all(
    conn: Connection, *, offset: int, limit: int, begins: str = "", app_id: AppId | None = None
) -> list[TaskRecord]:
    """The runs of every app, or of one, newest first; with `begins` those whose ids begin so."""
    newest = select(tasks).order_by(tasks.c.created_at.desc(), tasks.c.id)
    if begins:
        newest = newest.where(begins_with(tasks.c.id, begins))
    if app_id is not None:
        newest = newest.where(tasks.c.app_id == app_id)
    return list(_readable(conn.execute(newest.offset(offset).limit(limit)), _record_of))


def live_tasks(conn: Connection) -> list[TaskRecord]:
    """What is to be resumed when the node starts, oldest first."""
    oldest = select(tasks).where(_LIVE).order_by(tasks.c.created_at, tasks.c.id)
    return list(_readable(conn.execute(oldest), _record_of))


def live_runs_of(
    conn: Connection, app_id: AppId, room_id: RoomId | None, user_id: UserId | None
) -> list[RunId]:
    """The live runs of an app's users; None stands for all rooms, or for all users."""
    query = select(tasks.c.id).where(_LIVE, tasks.c.app_id == app_id)
    if room_id is not None:
        query = query.where(tasks.c.room_id == room_id)
    if user_id is not None:
        query = query.where(tasks.c.user_id == user_id)
    return [RunId(run_id) for run_id in conn.execute(query).scalars()]


def purge_older_than(conn: Connection, before: float, *, limit: int = 500) -> int:
    """Deletes at most `limit` runs that ended before `before`; returns their number."""
    old = select(tasks.c.id).where(tasks.c.ended_at < before).order_by(tasks.c.ended_at).limit(limit)
    return conn.execute(delete(tasks).where(tasks.c.id.in_(old))).rowcount


def _record_of(row: Row[Any]) -> TaskRecord:
    return TaskRecord(_task_of(row), row.position_us, row.pass_number, row.plan)


def _row_of(task: Task[Any]) -> dict[str, Any]:
    return asdict(task) | {
        "stage": task.stage.code,
        "kind": task.kind.value,
        "dialect": task.dialect.value,
        "state": task.state.value,
        "reason": task.reason.code,
    }


# --- rows that another release wrote ------------------------------------------------------------------------


class UnreadableTask(StoreError):
    """A row that this release does not understand; the text names it and says what is wrong."""


def _readable(rows: Iterable[Row[Any]], read: Callable[[Row[Any]], _T]) -> Iterator[_T]:
    """What is understood of `rows`; the log has an error for each of the others."""
    for row in rows:
        try:
            yield read(row)
        except UnreadableTask as error:
            log.error("x task", run_id=row.id, why=str(error))


@cache
def _log_unknown(kind: Kind, names: tuple[str, ...]) -> None:
    """One line for all rows with these fields, however often they are read."""
    log.warning("fields of tasks that this release does not know are ignored", kind=kind.value, fields=names)


def _spec_of(row: Row[Any]) -> Spec:
    """Raises as `read_spec`."""
    kind = Kind(row.kind)
    spec, unknown = read_spec(kind, row.spec)
    if unknown:
        _log_unknown(kind, unknown)
    return spec


def _reason_of(row: Row[Any]) -> Reason:
    """Its text stays, whoever wrote it."""
    try:
        return Reason.of(row.reason)
    except KeyError:
        return Reason.INTERNAL_ERROR if row.state == State.FAILED.value else Reason.NONE


def _stage_of(row: Row[Any]) -> PushStage:
    try:
        return PushStage.of(row.stage)
    except ValueError:
        return PushStage.NONE  # its session tells the next


def _task_of(row: Row[Any]) -> Task[Any]:
    """Raises UnreadableTask."""
    try:
        kind, dialect, state, spec = Kind(row.kind), Dialect(row.dialect), State(row.state), _spec_of(row)
    except (ValueError, TypeError) as error:
        raise UnreadableTask(
            f"the row of task {row.id} makes no sense to this release ({error}); run the one that wrote it"
        ) from error
    return Task(
        id=RunId(row.id),
        kind=kind,
        dialect=dialect,
        app_id=AppId(row.app_id),
        room_id=RoomId(row.room_id),
        task_id=TaskId(row.task_id),
        user_id=UserId(row.user_id),
        business_id=BusinessId(row.business_id),
        spec=spec,
        state=state,
        reason=_reason_of(row),
        reason_text=row.reason_text,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        expires_at=row.expires_at,
        epoch=row.epoch,
        flowed_at=row.flowed_at,
        stage=_stage_of(row),
        bot_id=None if row.bot_id is None else BotId(row.bot_id),
    )
