"""The named queries on the outbox, which holds events for callers. Each is one function for `Store.run`.

An event gets a row only if a registration wants it at that moment, or if it names a destination of its own.
For an app without a registration a change costs only one look at an index. Of the waiting events of one
`order_key` only the oldest has a `next_at`: no other may be tried, and its end makes the next one due.
`epoch` fences a delivery that was under way while a person sent the event again.
"""

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Connection,
    Double,
    Integer,
    Row,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    null,
    select,
    update,
)

from sluice.core.callbacks import STALE_S, CallbackEvent, EventKind
from sluice.core.ids import AppId
from sluice.core.tasks import Dialect
from sluice.store.registrations import find_for
from sluice.store.schema import begins_with, outbox
from sluice.store.thread import wakeup

PENDING, DELIVERED, DEAD = "pending", "delivered", "dead"

_PENDING = outbox.c.status == PENDING


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """A row. Times are Unix seconds; `first_at` is the beginning of the first delivery."""

    id: int
    event_id: str
    app_id: AppId
    destination: str
    order_key: str
    dialect: Dialect
    kind: EventKind
    data: dict[str, Any]
    created_at: float
    status: str
    attempts: int
    first_at: float | None
    next_at: float | None
    settled_at: float | None
    last_error: str
    epoch: int


_BEFORE = outbox.alias()
_INSERT = insert(outbox).values(
    next_at=case(
        (exists().where(_BEFORE.c.order_key == bindparam("key"), _BEFORE.c.status == PENDING), null()),
        else_=bindparam("now", type_=Double),
    )
)


def enqueue(conn: Connection, event: CallbackEvent) -> None:
    """Writes the event if somebody wants it, and wakes the courier of its destination."""
    destination = event.destination or _registered_for(conn, event)
    if destination is None:
        return
    values = {
        "event_id": str(uuid.uuid4()),
        "app_id": event.app_id,
        "destination": destination,
        "order_key": event.order_key,
        "dialect": event.dialect.value,
        "event_type": event.kind.value,
        "data": event.data,
        "created_at": event.at,
        "status": PENDING,
        "attempts": 0,
        "last_error": "",
        "epoch": 0,
    }
    conn.execute(_INSERT, values | {"key": event.order_key, "now": event.at})
    wakeup(conn, destination)


def _registered_for(conn: Connection, event: CallbackEvent) -> str | None:
    """The destination of the registration that wants the event."""
    registration = find_for(conn, event.app_id, event.business_id)
    if registration is None or event.kind.value not in registration.events:
        return None
    return registration.destination


# --- delivery -----------------------------------------------------------------------------------------------


def pending_destinations(conn: Connection) -> list[str]:
    """The destinations of waiting events. It skips from one to the next, however many wait for each."""
    waiting = outbox.c.next_at.is_not(None)
    found = select(func.min(outbox.c.destination).label("name")).where(waiting).cte(recursive=True)
    following = select(func.min(outbox.c.destination)).where(waiting, outbox.c.destination > found.c.name)
    found = found.union_all(select(following.scalar_subquery()).where(found.c.name.is_not(None)))
    return list(conn.scalars(select(found.c.name).where(found.c.name.is_not(None))))


_HEADS = (
    select(outbox)
    .where(outbox.c.destination == bindparam("to"), outbox.c.next_at.is_not(None))
    .order_by(outbox.c.next_at, outbox.c.id)
    .limit(bindparam("take", type_=Integer))
)


def heads(conn: Connection, destination: str, limit: int) -> list[OutboxEntry]:
    """The events of a destination that may be tried; the one that is due first comes first."""
    return [_entry_of(row) for row in conn.execute(_HEADS, {"to": destination, "take": limit})]


_SETTLE = (
    update(outbox)
    .where(outbox.c.id == bindparam("entry_id"), outbox.c.epoch == bindparam("known_epoch"), _PENDING)
    .values(
        status=bindparam("new_status"),
        attempts=outbox.c.attempts + 1,
        first_at=func.coalesce(outbox.c.first_at, bindparam("began_at", type_=Double)),
        next_at=bindparam("again_at", type_=Double),
        settled_at=bindparam("ended_at", type_=Double),
        last_error=bindparam("error"),
        epoch=outbox.c.epoch + 1,
    )
)
_NEXT_OF_KEY = (
    select(func.min(_BEFORE.c.id))
    .where(_BEFORE.c.order_key == bindparam("key"), _BEFORE.c.status == PENDING)
    .scalar_subquery()
)
_MAKE_DUE = (
    update(outbox)
    .where(outbox.c.id == _NEXT_OF_KEY, outbox.c.next_at.is_(None))
    .values(next_at=bindparam("now", type_=Double))
)


def note_delivered(conn: Connection, entry: OutboxEntry, began_at: float, now: float) -> None:
    if _settle(conn, entry, DELIVERED, began_at, ended_at=now):
        _make_next_due(conn, entry.order_key, now)


def note_failed(
    conn: Connection, entry: OutboxEntry, began_at: float, error: str, *, again_at: float
) -> None:
    _settle(conn, entry, PENDING, began_at, again_at=again_at, error=error)


def give_up(conn: Connection, entry: OutboxEntry, began_at: float, error: str, now: float) -> int:
    """Marks the event as dead, and the stale events that wait behind it; returns how many died."""
    if not _settle(conn, entry, DEAD, began_at, ended_at=now, error=error):
        return 0
    behind = (
        update(outbox)
        .where(outbox.c.order_key == entry.order_key, _PENDING, outbox.c.created_at < now - STALE_S)
        .values(
            status=DEAD,
            next_at=null(),
            settled_at=now,
            last_error="not tried: it waited for an event before it that was given up",
            epoch=outbox.c.epoch + 1,
        )
    )
    dead = 1 + conn.execute(behind).rowcount
    _make_next_due(conn, entry.order_key, now)
    return dead


def _settle(
    conn: Connection,
    entry: OutboxEntry,
    status: str,
    began_at: float,
    *,
    again_at: float | None = None,
    ended_at: float | None = None,
    error: str = "",
) -> bool:
    """False if the entry has changed since it was read."""
    values = {
        "entry_id": entry.id,
        "known_epoch": entry.epoch,
        "new_status": status,
        "began_at": began_at,
        "again_at": again_at,
        "ended_at": ended_at,
        "error": error,
    }
    return conn.execute(_SETTLE, values).rowcount == 1


def _make_next_due(conn: Connection, order_key: str, now: float) -> None:
    conn.execute(_MAKE_DUE, {"key": order_key, "now": now})


# --- operation ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many events wait, since when the oldest of them does (Unix seconds), and how many were given up and
    are still kept."""

    pending: int
    dead: int
    oldest_at: float | None


_COUNT = select(func.count()).where(outbox.c.status == bindparam("of"))
#: Ids are in the order of creation, so that one look at an index finds it.
_OLDEST = select(outbox.c.created_at).where(_PENDING).order_by(outbox.c.id).limit(1)


def count_waiting(conn: Connection) -> Waiting:
    pending, dead = (conn.scalar(_COUNT, {"of": status}) or 0 for status in (PENDING, DEAD))
    return Waiting(pending, dead, conn.scalar(_OLDEST))


def list_entries(
    conn: Connection,
    status: str | None,
    *,
    limit: int,
    offset: int,
    begins: str = "",
    app_id: AppId | None = None,
) -> list[OutboxEntry]:
    """Newest first. None: of any status, of any app. With `begins` those whose ids begin so."""
    query = select(outbox).order_by(outbox.c.id.desc()).limit(limit).offset(offset)
    if status is not None:
        query = query.where(outbox.c.status == status)
    if app_id is not None:
        query = query.where(outbox.c.app_id == app_id)
    if begins:
        query = query.where(begins_with(outbox.c.event_id, begins))
    return [_entry_of(row) for row in conn.execute(query)]


def find_entry(conn: Connection, event_id: str) -> OutboxEntry | None:
    row = conn.execute(select(outbox).where(outbox.c.event_id == event_id)).one_or_none()
    return None if row is None else _entry_of(row)


def replay(conn: Connection, event_id: str, now: float) -> OutboxEntry | None:
    """Makes an event due again at once, whatever its state. It gets an order key of its own, so that it waits
    for no other. None if there is no such event."""
    row = conn.execute(select(outbox).where(outbox.c.event_id == event_id)).one_or_none()
    if row is None:
        return None
    again = (
        update(outbox)
        .where(outbox.c.id == row.id)
        .values(
            order_key=f"replay/{event_id}",
            status=PENDING,
            attempts=0,
            first_at=null(),
            next_at=now,
            settled_at=null(),
            last_error="",
            epoch=outbox.c.epoch + 1,
        )
        .returning(outbox)
    )
    entry = _entry_of(conn.execute(again).one())
    _make_next_due(conn, row.order_key, now)
    wakeup(conn, row.destination)
    return entry


def purge(conn: Connection, status: str, before: float, *, limit: int = 500) -> int:
    """Deletes at most `limit` events that got this status before `before`, and returns their number."""
    old = (
        select(outbox.c.id)
        .where(outbox.c.status == status, outbox.c.settled_at < before)
        .order_by(outbox.c.settled_at)
        .limit(limit)
    )
    return conn.execute(delete(outbox).where(outbox.c.id.in_(old))).rowcount


def _entry_of(row: Row[Any]) -> OutboxEntry:
    return OutboxEntry(
        id=row.id,
        event_id=row.event_id,
        app_id=AppId(row.app_id),
        destination=row.destination,
        order_key=row.order_key,
        dialect=Dialect(row.dialect),
        kind=EventKind(row.event_type),
        data=row.data,
        created_at=row.created_at,
        status=row.status,
        attempts=row.attempts,
        first_at=row.first_at,
        next_at=row.next_at,
        settled_at=row.settled_at,
        last_error=row.last_error,
        epoch=row.epoch,
    )
