"""Apps and their access keys: the queries, and the node's copy of them in memory.

The database is the truth. `AppRegistry` reads it at start, after each change made here, and when the
revision there shows a change by another process. So a key that is disabled on one node works on another
for at most two more seconds.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import structlog
from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from sluice.core.apps import AccessKey, App, Apps, Feature
from sluice.core.errors import BadInput, NotFound, NotNow, SluiceError
from sluice.core.ids import AppId
from sluice.core.request_headers import RequestHeaders
from sluice.process.owned import own
from sluice.store.errors import StoreTrouble
from sluice.store.schema import access_key_apps, access_keys, apps, revisions, tasks
from sluice.store.thread import Store

_POLL_S = 2.0
_REVISION = "apps"
#: Of live tasks that keep an app from being deleted.
_NAMED_TASKS = 3
_T = TypeVar("_T")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class AppRecord:
    app: App
    created_at: float


@dataclass(frozen=True, slots=True)
class KeyRecord:
    key: AccessKey
    enabled: bool
    created_at: float


@dataclass(frozen=True, slots=True)
class RemovedApp:
    """`live`: how many tasks of it were live; `keys`: those that reached it alone, and are gone with it."""

    live: int
    keys: tuple[str, ...]


def new_app(app_id: str | None = None, app_key: str | None = None) -> App:
    """An app with the id and key that the operator brings along; what is left out is random."""
    # Only hex digits: none of them means something to a shell, a URL or a command line.
    return App(AppId(app_id or secrets.token_hex(12)), app_key or secrets.token_hex(16))


def new_key(
    app_ids: Iterable[AppId],
    access_key: str | None = None,
    secret_key: str | None = None,
    session_token: str | None = None,
) -> AccessKey:
    """An access key for these apps; what the operator does not bring along is random."""
    return AccessKey(
        access_key or f"AKLT{secrets.token_hex(16)}",
        secret_key or secrets.token_hex(32),
        frozenset(app_ids),
        session_token,
    )


# --- queries ----------------------------------------------------------------------------------------------


def insert_app(conn: Connection, app: App, now: float) -> AppRecord:
    """Raises BadInput when an app of this id exists."""
    features = {feature.value: feature in app.features for feature in Feature}
    values = {"app_id": app.app_id, "app_key": app.app_key, "created_at": now, **features}
    try:
        conn.execute(insert(apps).values(values))
    except IntegrityError as error:
        raise BadInput("app_id", f"there is an app {app.app_id} already") from error
    return AppRecord(app, now)


def insert_key(conn: Connection, key: AccessKey, now: float) -> KeyRecord:
    """Raises BadInput when a key of this name exists, NotFound when one of its apps does not."""
    unknown = sorted(key.app_ids - {record.app.app_id for record in list_apps(conn)})
    if unknown:
        raise NotFound(f"there is no app {unknown[0]}")
    values = {"access_key": key.access_key, "secret_key": key.secret_key, "created_at": now}
    try:
        conn.execute(insert(access_keys).values(values | {"session_token": key.session_token}))
    except IntegrityError as error:
        raise BadInput("access_key", f"there is an access key {key.access_key} already") from error
    pairs = [{"access_key": key.access_key, "app_id": app_id} for app_id in sorted(key.app_ids)]
    conn.execute(insert(access_key_apps), pairs)
    return KeyRecord(key, True, now)


def list_apps(conn: Connection) -> list[AppRecord]:
    """Oldest first."""
    return [_app_of(row) for row in conn.execute(select(apps).order_by(apps.c.created_at, apps.c.app_id))]


def list_keys(conn: Connection) -> list[KeyRecord]:
    """Oldest first, including disabled ones."""
    reach: dict[str, set[AppId]] = {}
    for row in conn.execute(select(access_key_apps)):
        reach.setdefault(row.access_key, set()).add(AppId(row.app_id))
    ordered = select(access_keys).order_by(access_keys.c.created_at, access_keys.c.access_key)
    return [
        KeyRecord(
            AccessKey(
                row.access_key, row.secret_key, frozenset(reach.get(row.access_key, ())), row.session_token
            ),
            row.enabled,
            row.created_at,
        )
        for row in conn.execute(ordered)
    ]


def _app_of(row: Row[Any]) -> AppRecord:
    features = frozenset(feature for feature in Feature if getattr(row, feature.value))
    headers = RequestHeaders(row.user_agent, tuple(row.headers.items()))
    return AppRecord(App(AppId(row.app_id), row.app_key, features, headers), row.created_at)


def _live_tasks(conn: Connection, app_id: AppId) -> list[str]:
    query = select(tasks.c.id).where(tasks.c.app_id == app_id, tasks.c.ended_at.is_(None))
    return list(conn.scalars(query.order_by(tasks.c.created_at)))


def _revision(conn: Connection) -> int:
    return conn.execute(select(revisions.c.number).where(revisions.c.name == _REVISION)).scalar() or 0


def _raise_revision(conn: Connection) -> None:
    here = revisions.c.name == _REVISION
    if not conn.execute(update(revisions).where(here).values(number=revisions.c.number + 1)).rowcount:
        conn.execute(insert(revisions).values(name=_REVISION, number=1))


# --- the copy in memory -----------------------------------------------------------------------------------


class AppRegistry:
    """`apps` is the copy that the rest of the node uses. Changes are in force when the call returns."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self.apps = Apps()
        self._store = store
        self._clock = clock
        self._seen = -1
        self._poller: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.refresh()
        self._poller = own(self._poll(), "the reader of apps and keys")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._poller is not None  # noqa: S101 - entered
        self._poller.cancel()
        await asyncio.wait({self._poller})

    async def list_apps(self) -> list[AppRecord]:
        return await self._store.run(list_apps)

    async def list_keys(self) -> list[KeyRecord]:
        return await self._store.run(list_keys)

    async def create_app(self, app: App, key: AccessKey) -> AppRecord:
        """Makes an app with its first access key. Raises BadInput for an id or a key that exists already."""
        now = self._clock()

        def create(conn: Connection) -> AppRecord:
            record = insert_app(conn, app, now)
            insert_key(conn, key, now)
            return record

        return await self._change(create)

    async def change_app(
        self,
        app_id: AppId,
        features: Mapping[Feature, bool],
        user_agent: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AppRecord:
        """What is None stays as it is; `headers` replace all earlier ones. Raises NotFound."""
        values: dict[str, Any] = {feature.value: on for feature, on in features.items()}
        values |= {"user_agent": user_agent} if user_agent is not None else {}
        values |= {"headers": dict(headers)} if headers is not None else {}

        def change(conn: Connection) -> AppRecord:
            here = apps.c.app_id == app_id
            if values:
                conn.execute(update(apps).where(here).values(values))
            row = conn.execute(select(apps).where(here)).one_or_none()
            if row is None:
                raise NotFound(f"there is no app {app_id}")
            return _app_of(row)

        return await self._change(change)

    async def delete_app(self, app_id: AppId, *, with_live_tasks: bool = False) -> RemovedApp:
        """Deletes it with all that is its own, but for rows of tasks. Raises NotFound, and NotNow for an app
        with live tasks, unless the caller ends them."""

        def remove(conn: Connection) -> RemovedApp:
            live = _live_tasks(conn, app_id)
            if live and not with_live_tasks:
                named = ", ".join(live[:_NAMED_TASKS]) + (", …" if len(live) > _NAMED_TASKS else "")
                raise NotNow(
                    f"tasks of app {app_id} are live: {len(live)} ({named}); stop them first, or have them "
                    "stopped (--stop, or stop=true)"
                )
            of_app = [record.key for record in list_keys(conn) if app_id in record.key.app_ids]
            own = sorted(key.access_key for key in of_app if len(key.app_ids) == 1)
            if not conn.execute(delete(apps).where(apps.c.app_id == app_id)).rowcount:
                raise NotFound(f"there is no app {app_id}")
            conn.execute(delete(access_keys).where(access_keys.c.access_key.in_(own)))
            return RemovedApp(len(live), tuple(own))

        return await self._change(remove)

    async def create_key(self, key: AccessKey) -> KeyRecord:
        """Raises NotFound for an app that does not exist, BadInput for a key that exists already."""
        now = self._clock()
        return await self._change(lambda conn: insert_key(conn, key, now))

    async def enable_key(self, access_key: str, enabled: bool) -> KeyRecord:
        """Enables or disables a key; the API does not know a disabled key. Raises NotFound."""

        def enable(conn: Connection) -> KeyRecord:
            here = access_keys.c.access_key == access_key
            conn.execute(update(access_keys).where(here).values(enabled=enabled))
            for record in list_keys(conn):
                if record.key.access_key == access_key:
                    return record
            raise NotFound(f"there is no access key {access_key}")

        return await self._change(enable)

    async def revoke_key(self, access_key: str) -> None:
        """Deletes the key for ever. Raises NotFound."""

        def revoke(conn: Connection) -> None:
            here = access_keys.c.access_key == access_key
            if not conn.execute(delete(access_keys).where(here)).rowcount:
                raise NotFound(f"there is no access key {access_key}")

        await self._change(revoke)

    async def refresh(self) -> None:
        """Reads the database again if this process or another has changed it since the last time."""
        seen = self._seen

        def read(conn: Connection) -> tuple[int, list[AppRecord], list[KeyRecord]] | None:
            revision = _revision(conn)
            return None if revision == seen else (revision, list_apps(conn), list_keys(conn))

        found = await self._store.run(read)
        if found is not None and found[0] > self._seen:
            self._seen, app_records, key_records = found
            keys = [record.key for record in key_records if record.enabled]
            self.apps.replace([record.app for record in app_records], keys)

    async def _change(self, change: Callable[[Connection], _T]) -> _T:
        def marked(conn: Connection) -> _T:
            result = change(conn)
            _raise_revision(conn)
            return result

        result = await self._store.run(marked)
        await self.refresh()
        return result

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(_POLL_S)
            try:
                await self.refresh()
            except StoreTrouble:
                pass  # the store says it; the copy stays as it is
            except SluiceError as error:
                log.warning("apps could not be read", why=str(error))
