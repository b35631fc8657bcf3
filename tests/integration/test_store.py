"""The store over a real SQLite file: durability, shared commits, guards, and the queries on tasks."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import URL, Connection, Engine, create_engine, event, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from structlog.testing import capture_logs

from sluice.core.errors import Overloaded
from sluice.core.ids import AppId, BusinessId, RoomId, RunId, TaskId, UserId, new_run_id
from sluice.core.lifecycle import Event, Reason, State
from sluice.core.tasks import LIFETIME_S, LISTED_S, Dialect, Kind, MediaType, RelaySpec, StreamMode, Task
from sluice.process.owned import trouble
from sluice.store import tasks as queries
from sluice.store.errors import StoreError, StoreTrouble
from sluice.store.migrate import newest_revision
from sluice.store.schema import access_key_apps, apps, metadata, outbox, tasks
from sluice.store.thread import Store, sqlite_url, wakeup
from tests.testing import register

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000.0
APP, ROOM = AppId("661e0000000000000000543c"), RoomId("Room1")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def url(tmp_path: Path) -> URL:
    return sqlite_url(tmp_path / "data")


@pytest.fixture
async def store(url: URL) -> AsyncIterator[Store]:
    async with Store(url) as store:
        yield store


def a_task(task_id: str = "Task1", *, created_at: float = NOW, **changes: Any) -> Task[Any]:
    task = Task(
        id=new_run_id(),
        kind=Kind.RELAY,
        dialect=Dialect.VOLCENGINE,
        app_id=APP,
        room_id=ROOM,
        task_id=TaskId(task_id),
        user_id=UserId("user1"),
        business_id=BusinessId(""),
        spec=RelaySpec(
            "rtmp://example.org/live/ключ",
            media_type=MediaType.AUDIO,
            stream_mode=StreamMode.COPY,
            loop=True,
            width=640,
        ),
        state=State.STARTING,
        reason=Reason.NONE,
        reason_text="",
        created_at=created_at,
    )
    return replace(task, **changes)


def add_app(name: str) -> Callable[[Connection], None]:
    def work(conn: Connection) -> None:
        conn.execute(insert(apps).values(app_id=name, app_key="k", created_at=NOW))

    return work


def app_ids(conn: Connection) -> set[str]:
    return set(conn.scalars(select(apps.c.app_id)))


def told(conn: Connection) -> list[dict[str, Any]]:
    return list(conn.scalars(select(outbox.c.data).order_by(outbox.c.id)))


async def start(store: Store, task: Task[Any]) -> Task[Any]:
    stored, created = await store.run(lambda conn: queries.insert_task(conn, task))
    assert created
    return stored


async def step(
    store: Store, run_id: RunId, what: Event, reason: Reason = Reason.NONE, now: float = NOW
) -> Task[Any] | None:
    return await store.run(lambda conn: queries.advance_task(conn, run_id, what, reason, reason.text, now))


async def finish(store: Store, task: Task[Any], now: float) -> None:
    ended = await step(store, task.id, Event.FINISH, Reason.END_OF_STREAM, now)
    assert ended is not None


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@contextmanager
def held_up(store: Store) -> Iterator[tuple[asyncio.Task[Any], threading.Event]]:
    """A function that keeps the store's thread busy until the event is set."""
    go_on = threading.Event()
    try:
        yield asyncio.ensure_future(store.run(lambda _conn: go_on.wait(20))), go_on
    finally:
        go_on.set()


# The thread


@contextmanager
def locked(url: URL) -> Iterator[None]:
    """Another program has the database for itself."""
    other = sqlite3.connect(str(url.database), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()


async def works_again(store: Store) -> None:
    while store.trouble() is not None:
        await asyncio.sleep(0.05)


async def test_a_locked_database_is_told_as_what_it_is_and_looked_at_again(store: Store, url: URL) -> None:
    store.hurry()
    with capture_logs() as logs:
        with locked(url):
            for _ in range(2):
                with pytest.raises(
                    StoreTrouble, match=r"could not do this \(database is locked\); try again"
                ):
                    await store.run(add_app("one"))
            assert "has taken no changes for 1 s: database is locked" in (store.trouble() or "")
        await asyncio.wait_for(works_again(store), 20)
    assert [line["event"] for line in logs] == ["the store takes no changes", "the store takes changes again"]
    assert "end it, or wait" in logs[0]["advice"]
    await store.run(add_app("two"))
    assert await store.run(app_ids) == {"two"}


async def test_a_full_disk_loses_whole_transactions_and_is_told_so(store: Store) -> None:
    """SQLite's own bound of pages, which fails as a full disk does."""

    def bound(conn: Connection, more: int) -> None:
        pages = conn.exec_driver_sql("PRAGMA page_count").scalar_one()
        conn.exec_driver_sql(f"PRAGMA max_page_count = {pages + more}")

    def much(conn: Connection) -> None:
        conn.execute(insert(apps).values(app_id="much", app_key="k" * 100_000, created_at=NOW))

    await store.run(lambda conn: bound(conn, 0))
    results = await asyncio.gather(store.run(add_app("one")), store.run(much), return_exceptions=True)
    assert [str(result) for result in results] == [
        "the store could not do this (database or disk is full); try again in a few seconds"
    ] * 2
    await store.run(lambda conn: bound(conn, 1000))
    await asyncio.wait_for(works_again(store), 20)
    await store.run(much)
    assert await store.run(app_ids) == {"much"}


async def test_a_store_in_trouble_closes_soon(url: URL) -> None:
    store = await Store(url, batch=1).__aenter__()
    store.hurry()
    with locked(url):
        waiting = [asyncio.ensure_future(store.run(add_app(str(n)))) for n in range(100)]
        await asyncio.wait(waiting[:1])
        await store.__aexit__(None, None, None)
        await asyncio.wait(waiting)
    assert {type(task.exception()) for task in waiting} == {StoreTrouble}


async def test_a_disk_that_is_nearly_full_is_trouble(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store.trouble() is None
    monkeypatch.setattr("sluice.store.thread.LEAST_FREE_BYTES", 1 << 62)
    assert "MB left" in (store.trouble() or "")


async def test_what_was_committed_is_there_after_reopening(url: URL) -> None:
    async with Store(url) as store:
        task = await start(store, a_task())
        task_after = await step(store, task.id, Event.FLOWING)
    async with Store(url) as store:
        record = await store.run(lambda conn: queries.get_run(conn, task.id))
    assert record is not None
    assert record.task == task_after


async def test_a_change_is_seen_by_another_connection_when_run_returns(store: Store, url: URL) -> None:
    await store.run(add_app("one"))
    other = sqlite3.connect(str(url.database))
    try:
        assert other.execute("SELECT app_id FROM apps").fetchall() == [("one",)]
    finally:
        other.close()


async def test_sqlite_is_durable_private_and_checks_foreign_keys(store: Store, url: URL) -> None:
    def pragmas(conn: Connection) -> list[Any]:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        return [conn.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    assert await store.run(pragmas) == ["wal", 2, 1, 5000]
    path = Path(str(url.database))
    assert mode(path) == 0o600
    assert mode(path.with_name("sluice.db-wal")) == 0o600
    assert mode(path.parent) == 0o700


async def test_functions_that_wait_share_commits_in_bounded_batches(url: URL) -> None:
    commits = []

    def count(_conn: Connection) -> None:
        commits.append(1)

    async with Store(url, batch=16) as store:
        event.listen(Engine, "commit", count)
        try:
            await asyncio.gather(*(store.run(add_app(f"app{number}")) for number in range(64)))
        finally:
            event.remove(Engine, "commit", count)
        assert len(await store.run(app_ids)) == 64
    assert len(commits) == 4


async def test_a_function_that_raises_undoes_only_itself(store: Store) -> None:
    def fails(conn: Connection) -> None:
        add_app("undone")(conn)
        raise LookupError("mine")

    results = await asyncio.gather(
        store.run(add_app("before")),
        store.run(fails),
        store.run(add_app("before")),
        store.run(add_app("after")),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [type(None), LookupError, IntegrityError, type(None)]
    assert await store.run(app_ids) == {"before", "after"}


async def test_a_lost_transaction_fails_all_its_functions(store: Store) -> None:
    """As when the disk is full: SQLite then rolls the whole transaction back by itself."""

    def loses_the_transaction(conn: Connection) -> None:
        conn.exec_driver_sql("ROLLBACK")
        raise LookupError("mine")

    results = await asyncio.gather(
        store.run(add_app("before")),
        store.run(loses_the_transaction),
        store.run(add_app("after")),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [StoreError] * 3
    assert await store.run(app_ids) == set()
    await store.run(add_app("next"))
    assert await store.run(app_ids) == {"next"}


async def test_a_commit_that_fails_is_heard_by_all(store: Store) -> None:
    def breaks_at_commit(conn: Connection) -> None:
        conn.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        conn.execute(insert(access_key_apps).values(access_key="nobody's", app_id="none"))

    results = await asyncio.gather(
        store.run(add_app("one")), store.run(breaks_at_commit), return_exceptions=True
    )
    assert [type(result) for result in results] == [StoreError] * 2
    assert "FOREIGN KEY" in str(results[0])
    assert await store.run(app_ids) == set()


async def test_too_much_waiting_is_refused_and_the_rest_is_done(url: URL) -> None:
    async with Store(url, capacity=3) as store:
        with held_up(store) as (busy, go_on):
            waiting = [asyncio.ensure_future(store.run(add_app(name))) for name in ("one", "two")]
            await asyncio.sleep(0)
            with pytest.raises(Overloaded, match="3 changes wait"):
                await store.run(add_app("three"))
            go_on.set()
            await asyncio.gather(busy, *waiting)
        assert await store.run(app_ids) == {"one", "two"}


async def test_a_cancelled_caller_disturbs_nobody(store: Store) -> None:
    with held_up(store) as (busy, go_on):
        waiting = [asyncio.ensure_future(store.run(add_app(name))) for name in ("one", "two")]
        await asyncio.sleep(0)
        busy.cancel()
        waiting[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting[0]
        go_on.set()
        await waiting[1]
    assert await store.run(app_ids) == {"one", "two"}


async def test_a_hint_that_breaks_its_taker_holds_nobody_up(url: URL) -> None:
    def take(topic: str) -> None:
        raise RuntimeError(topic)

    async with Store(url, batch=1) as store:
        store.on_wakeup = take
        behind = [store.run(lambda conn: wakeup(conn, "one")), store.run(app_ids)]
        assert await asyncio.wait_for(asyncio.gather(*behind), 20) == [None, set()]
    assert trouble() is None


async def test_closing_does_what_waits_and_refuses_more(url: URL) -> None:
    async with Store(url) as store:
        waiting = [asyncio.ensure_future(store.run(add_app(f"app{number}"))) for number in range(600)]
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    with pytest.raises(StoreError, match="closed"):
        await store.run(app_ids)
    async with Store(url) as store:
        assert len(await store.run(app_ids)) == 600


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "sluice.db").write_text("no database" * 100)
    url = sqlite_url(tmp_path)
    with pytest.raises(StoreError, match=r"cannot be opened: file is not a database; put it"):
        async with Store(url):
            pass


async def test_a_database_of_a_newer_release(url: URL) -> None:
    async with Store(url) as store:
        await store.run(lambda conn: conn.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    with pytest.raises(StoreError, match=r"of a newer release .* is 9999, .*up to 0006; install"):
        async with Store(url):
            pass


async def test_a_migration_is_said(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    engine = create_engine(url)
    config = Config()
    config.set_main_option("script_location", "sluice.store:migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    with capture_logs() as logs:
        for _ in range(2):
            async with Store(url):
                pass
    (line,) = logs
    assert (line["event"], line["revision_before"]) == ("the database was migrated", "0001")
    assert line["revision"] == newest_revision() > "0001"


# The schema


async def test_migrations_and_metadata_agree(store: Store) -> None:
    def differences(conn: Connection) -> list[Any]:
        context = MigrationContext.configure(
            conn, opts={"compare_type": True, "compare_server_default": True}
        )
        return list(compare_metadata(context, metadata))

    assert await store.run(differences) == []


async def test_the_index_allows_one_live_run_per_identity(store: Store) -> None:
    task = await start(store, a_task())
    assert task.state is State.STARTING

    def second_row(conn: Connection) -> None:
        copy = dict(conn.execute(select(tasks)).mappings().one())
        conn.execute(insert(tasks).values(**(copy | {"id": "run_second"})))

    with pytest.raises(IntegrityError, match="UNIQUE"):
        await store.run(second_row)


async def test_a_task_has_an_end_exactly_when_it_is_over(store: Store) -> None:
    await start(store, a_task())
    for change in (update(tasks).values(state="ended"), update(tasks).values(ended_at=NOW)):
        with pytest.raises(IntegrityError, match="tasks_end_when_over"):
            await store.run(partial(Connection.execute, statement=change))


# The queries


async def test_a_started_task_comes_back_as_it_was_and_is_told_of(store: Store) -> None:
    await store.run(lambda conn: register(conn, APP))
    task = a_task()
    stored = await start(store, task)
    assert stored == replace(task, started_at=NOW, expires_at=NOW + LIFETIME_S)
    record = await store.run(lambda conn: queries.get_run(conn, task.id))
    assert record == queries.TaskRecord(stored, 0, 0, None)
    (row,) = await store.run(told)
    assert (row["run_id"], row["task_id"], row["state"], row["url"]) == (
        *(task.id, task.task_id, "starting", task.spec.url),
    )


async def test_a_scheduled_task_starts_its_lifetime_when_due(store: Store) -> None:
    task = await start(store, a_task(state=State.SCHEDULED))
    assert (task.started_at, task.expires_at) == (None, None)
    due = await step(store, task.id, Event.DUE, now=NOW + 60)
    assert due is not None
    assert (due.started_at, due.expires_at) == (NOW + 60, NOW + 60 + LIFETIME_S)


async def test_a_second_start_answers_with_the_live_task(store: Store) -> None:
    await store.run(lambda conn: register(conn, APP))
    first = await start(store, a_task())
    again = a_task()
    assert await store.run(lambda conn: queries.insert_task(conn, again)) == (first, False)
    assert len(await store.run(told)) == 1
    elsewhere = a_task(room_id=RoomId("Room2"))
    await start(store, elsewhere)


async def test_an_ended_task_may_be_started_again(store: Store) -> None:
    first = await start(store, a_task())
    await finish(store, first, NOW + 1)
    second = await start(store, a_task(created_at=NOW + 2))
    found = await store.run(lambda conn: queries.find_live(conn, Kind.RELAY, APP, ROOM, TaskId("Task1")))
    assert found == second
    assert (
        await store.run(lambda conn: queries.find_live(conn, Kind.RELAY, APP, ROOM, TaskId("Task2"))) is None
    )


async def test_many_starts_at_once_make_one_task(store: Store) -> None:
    results = await asyncio.gather(
        *(store.run(lambda conn: queries.insert_task(conn, a_task())) for _ in range(20))
    )
    assert [created for _, created in results].count(True) == 1
    assert len({task.id for task, _ in results}) == 1


async def test_a_run_id_that_is_taken_is_an_error(store: Store) -> None:
    task = await start(store, a_task())
    with pytest.raises(IntegrityError):
        await store.run(lambda conn: queries.insert_task(conn, a_task("Task2", id=task.id)))


async def test_each_change_grows_the_epoch_and_is_told_in_order(store: Store) -> None:
    await store.run(lambda conn: register(conn, APP))
    task = await start(store, a_task())
    events = [Event.FLOWING, Event.LOST, Event.FLOWING, Event.STOP]
    for number, what in enumerate(events, start=1):
        changed = await step(store, task.id, what, now=NOW + number)
        assert changed is not None
        assert changed.epoch == number
        assert (changed.started_at, changed.expires_at) == (task.started_at, task.expires_at)
        assert (changed.flowed_at, changed.ended_at) == (NOW + 1, None)
    ended = await step(store, task.id, Event.FINISH, Reason.STOPPED, NOW + 9)
    assert ended is not None
    assert (ended.state, ended.reason, ended.reason_text) == (State.ENDED, Reason.STOPPED, "stopped by api")
    assert ended.ended_at == NOW + 9
    rows = await store.run(told)
    told_of = [(row["state"], row["again"], row["text"], row["at"] - NOW) for row in rows]
    assert told_of == [
        ("starting", False, "", 0),
        ("running", False, "", 1),
        ("running", True, "", 3),
        ("ended", False, "stopped by api", 9),
    ]
    ids = await store.run(lambda conn: list(conn.scalars(select(outbox.c.event_id))))
    assert len(set(ids)) == 4


@pytest.mark.parametrize(
    ("before", "after"), [([], State.FAILED), ([Event.STOP], State.ENDED), ([Event.FLOWING], State.FAILED)]
)
async def test_what_a_failure_makes_of_a_task_depends_on_its_state(
    store: Store, before: list[Event], after: State
) -> None:
    task = await start(store, a_task())
    for what in before:
        await step(store, task.id, what)
    failed = await step(store, task.id, Event.FAIL, Reason.INTERNAL_ERROR)
    assert failed is not None
    assert failed.state is after


async def test_a_guarded_change_that_comes_too_late_changes_nothing(store: Store) -> None:
    await store.run(lambda conn: register(conn, APP))
    task = await start(store, a_task())
    first, second = await asyncio.gather(
        step(store, task.id, Event.FLOWING), step(store, task.id, Event.FLOWING, now=NOW + 1)
    )
    assert first is not None
    assert second is None
    assert await step(store, RunId("run_unknown"), Event.FLOWING) is None
    record = await store.run(lambda conn: queries.get_run(conn, task.id))
    assert record is not None
    assert record.task == first
    assert len(await store.run(told)) == 2


async def test_the_epoch_fences_a_late_writer(store: Store) -> None:
    task = await start(store, a_task())
    await step(store, task.id, Event.FLOWING)

    def lost(epoch: int) -> Callable[[Connection], Task[Any] | None]:
        return lambda conn: queries.advance_task(conn, task.id, Event.LOST, Reason.NONE, "", NOW, epoch=epoch)

    assert await store.run(lost(0)) is None
    assert await store.run(lost(1)) is not None


async def test_progress_is_kept_for_live_runs_and_told_to_nobody(store: Store) -> None:
    await store.run(lambda conn: register(conn, APP))
    task = await start(store, a_task())
    plan = {"video": {"action": "copy", "why": "…"}, "audio": {"action": "none", "why": "…"}}

    def save(position_us: int) -> Callable[[Connection], bool]:
        return lambda conn: queries.save_progress(conn, task.id, position_us, 3, plan)

    far = 80 * 3600 * 1_000_000
    assert await store.run(save(far))
    assert await store.run(queries.live_tasks) == [queries.TaskRecord(task, far, 3, plan)]
    await finish(store, task, NOW + 1)
    assert not await store.run(save(0))
    assert len(await store.run(told)) == 2
    assert await store.run(queries.live_tasks) == []


async def list_room(store: Store, **changes: Any) -> list[tuple[str, float]]:
    options: dict[str, Any] = {"now": NOW + 100, "offset": 0, "limit": 10, "newest_first": True} | changes
    found = await store.run(lambda conn: queries.list_latest_by_room(conn, APP, ROOM, **options))
    return [(task.task_id, task.created_at - NOW) for task in found]


async def test_a_room_lists_the_latest_run_of_each_task(store: Store) -> None:
    first = await start(store, a_task("A"))
    await finish(store, first, NOW + 1)
    await start(store, a_task("B", created_at=NOW + 2))
    second = await start(store, a_task("A", created_at=NOW + 3))
    await start(store, a_task("C", created_at=NOW + 4))
    await start(store, a_task("D", room_id=RoomId("Room2")))
    await start(store, a_task("E", app_id=AppId("other")))
    assert await list_room(store) == [("C", 4), ("A", 3), ("B", 2)]
    assert await list_room(store, newest_first=False) == [("B", 2), ("A", 3), ("C", 4)]
    assert await list_room(store, offset=1, limit=1) == [("A", 3)]
    await finish(store, second, NOW + 5)
    assert await list_room(store, now=NOW + 5 + LISTED_S - 1) == [("C", 4), ("A", 3), ("B", 2)]
    assert await list_room(store, now=NOW + 5 + LISTED_S) == [("C", 4), ("B", 2)]


async def test_a_live_run_is_the_latest_even_when_the_clock_was_set_back(store: Store) -> None:
    await finish(store, await start(store, a_task("A")), NOW + 1)
    await start(store, a_task("A", created_at=NOW - 60))
    assert await list_room(store) == [("A", -60)]


async def test_all_runs_are_listed_newest_first(store: Store) -> None:
    for number in range(3):
        task = await start(store, a_task("A", created_at=NOW + number))
        await finish(store, task, NOW + number)
    listed = await store.run(lambda conn: queries.list_all(conn, offset=1, limit=5))
    assert [record.task.created_at for record in listed] == [NOW + 1, NOW]


async def test_old_runs_are_purged_in_bounded_steps(store: Store) -> None:
    for number in range(5):
        task = await start(store, a_task("A", created_at=NOW + number))
        await finish(store, task, NOW + number)
    live = await start(store, a_task("A", created_at=NOW))

    def purge(conn: Connection) -> int:
        return queries.purge_older_than(conn, NOW + 3, limit=2)

    assert [await store.run(purge) for _ in range(3)] == [2, 1, 0]
    rest = await store.run(lambda conn: queries.list_all(conn, offset=0, limit=10))
    assert [record.task.created_at - NOW for record in rest] == [4, 3, 0]
    assert rest[-1].task == live
