"""The named queries on registrations of callbacks, each one function for `Store.run`."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, or_, select, update

from sluice.core.callbacks import NotRegistered, Registration, RegistrationRefused
from sluice.core.errors import BadInput
from sluice.core.ids import AppId, BusinessId
from sluice.store.schema import apps, callback_registrations

MOST_PER_APP = 100

_table = callback_registrations
_FIND_FOR = (
    select(_table)
    .where(
        _table.c.app_id == bindparam("app_id"),
        or_(_table.c.business_id == bindparam("business_id"), _table.c.business_id == ""),
    )
    .order_by(_table.c.business_id.desc())
    .limit(1)
)
_FIND = select(_table).where(
    _table.c.app_id == bindparam("app_id"), _table.c.business_id == bindparam("business_id")
)


def find_for(conn: Connection, app_id: AppId, business_id: BusinessId) -> Registration | None:
    """The one that is told: that of the business, else the app's (docs/contract/volcengine.md 10)."""
    row = conn.execute(_FIND_FOR, {"app_id": app_id, "business_id": business_id}).one_or_none()
    return None if row is None else _registration_of(row)


def find_at(conn: Connection, destination: str) -> Registration | None:
    """The registration that a `Registration.destination` names."""
    app_id, _, business_id = destination.partition("/")
    return _find(conn, AppId(app_id), BusinessId(business_id))


def list_of(conn: Connection, app_id: AppId) -> list[Registration]:
    """All registrations of an app; the one of the whole app comes first."""
    query = select(_table).where(_table.c.app_id == app_id).order_by(_table.c.business_id)
    return [_registration_of(row) for row in conn.execute(query)]


def create(conn: Connection, registration: Registration) -> None:
    """Raises RegistrationRefused if there is one already, and BadInput if the app has too many."""
    if _find(conn, registration.app_id, registration.business_id) is not None:
        raise RegistrationRefused("callback already exists")
    count = select(func.count()).select_from(_table).where(_table.c.app_id == registration.app_id)
    if (conn.scalar(count) or 0) >= MOST_PER_APP:
        raise BadInput("BusinessId", f"an app may have at most {MOST_PER_APP} callbacks; delete one first")
    conn.execute(insert(_table), _row_of(registration))


def change(conn: Connection, registration: Registration) -> None:
    """Replaces address, secret and events; waiting events go there, too. Raises RegistrationRefused."""
    known = _changeable(conn, registration.app_id, registration.business_id)
    values = _row_of(registration) | {"created_at": known.created_at}
    conn.execute(update(_table).where(_is(known)).values(**values))


def remove(conn: Connection, app_id: AppId, business_id: BusinessId) -> None:
    """Deletes it; its waiting events are given up when their turn comes. Raises RegistrationRefused."""
    conn.execute(delete(_table).where(_is(_changeable(conn, app_id, business_id))))


def take_config(conn: Connection, wanted: Iterable[Registration], now: float) -> None:
    """Stores the registrations of the configuration; they replace those that calls have made.

    Raises BadInput for an app that does not exist.
    """
    known = set(conn.scalars(select(apps.c.app_id)))
    left = {r.destination: r for r in map(_registration_of, conn.execute(select(_table)))}
    for registration in wanted:
        if registration.app_id not in known:
            raise BadInput("sluice.toml: callbacks", f"there is no app {registration.app_id}")
        old = left.pop(registration.destination, None)
        created_at = now if old is None else old.created_at
        new = replace(registration, created_at=created_at, updated_at=now, from_config=True)
        if old is None:
            conn.execute(insert(_table), _row_of(new))
        elif replace(new, updated_at=old.updated_at) != old:
            conn.execute(update(_table).where(_is(old)).values(**_row_of(new)))
    for old in left.values():
        if old.from_config:
            conn.execute(delete(_table).where(_is(old)))


def _find(conn: Connection, app_id: AppId, business_id: BusinessId) -> Registration | None:
    row = conn.execute(_FIND, {"app_id": app_id, "business_id": business_id}).one_or_none()
    return None if row is None else _registration_of(row)


def _changeable(conn: Connection, app_id: AppId, business_id: BusinessId) -> Registration:
    registration = _find(conn, app_id, business_id)
    if registration is None:
        raise NotRegistered("callback does not exist")
    if registration.from_config:
        raise RegistrationRefused("this callback is set in sluice.toml of the server; it is changed there")
    return registration


def _is(registration: Registration) -> Any:
    return (_table.c.app_id == registration.app_id) & (_table.c.business_id == registration.business_id)


def _row_of(registration: Registration) -> dict[str, Any]:
    return {
        "app_id": registration.app_id,
        "business_id": registration.business_id,
        "url": registration.url,
        "secret": registration.secret,
        "events": list(registration.events),
        "from_config": registration.from_config,
        "created_at": registration.created_at,
        "updated_at": registration.updated_at,
    }


def _registration_of(row: Row[Any]) -> Registration:
    return Registration(
        app_id=AppId(row.app_id),
        business_id=BusinessId(row.business_id),
        url=row.url,
        secret=row.secret,
        events=tuple(row.events),
        created_at=row.created_at,
        updated_at=row.updated_at,
        from_config=row.from_config,
    )
