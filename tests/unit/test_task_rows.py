"""Rows of tasks that a newer release wrote: read as far as they make sense, never a reason not to start."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest
import structlog
from sqlalchemy import Connection, create_engine, update

from sluice.core.ids import AppId, BusinessId, RoomId, RunId, TaskId, UserId
from sluice.core.kinds import read_spec
from sluice.core.lifecycle import Event, Reason, State
from sluice.core.push import PushStage
from sluice.core.tasks import Dialect, Kind, PushSpec, RelaySpec, Spec, Task
from sluice.store import tasks as queries
from sluice.store.schema import metadata, tasks

APP, ROOM = AppId("app"), RoomId("room")
RELAY, PUSH = RelaySpec("http://source/"), PushSpec("rtmp://cdn/live/key")


@pytest.fixture
def conn() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        metadata.create_all(connection)
        yield connection
    engine.dispose()


def insert(conn: Connection, name: str, spec: Spec) -> Task[Any]:
    task, _ = queries.insert_task(
        conn,
        Task(
            id=RunId(f"run_{name}"),
            kind=spec.kind,
            dialect=Dialect.VOLCENGINE,
            app_id=APP,
            room_id=ROOM,
            task_id=TaskId(name),
            user_id=UserId("user"),
            business_id=BusinessId(""),
            spec=spec,
            state=State.STARTING,
            reason=Reason.NONE,
            reason_text="",
            created_at=1000.0,
        ),
    )
    return task


def write(conn: Connection, task: Task[Any], **values: object) -> None:
    """As another release would."""
    conn.execute(update(tasks).where(tasks.c.id == task.id).values(**values))


def lists(conn: Connection) -> list[list[str]]:
    """The names that each list has."""
    by_room = queries.list_latest_by_room(conn, APP, ROOM, now=1000.0, offset=0, limit=10, newest_first=True)
    return [
        [record.task.task_id for record in queries.live_tasks(conn)],
        [record.task.task_id for record in queries.list_all(conn, offset=0, limit=10)],
        [task.task_id for task in by_room],
    ]


def test_lists_of_one_app_and_of_ids_that_begin_so(conn: Connection) -> None:
    for name in ("a1", "A1", "a2"):
        insert(conn, name, RELAY)

    def ids(**wanted: Any) -> set[str]:
        return {record.task.id for record in queries.list_all(conn, offset=0, limit=9, **wanted)}

    assert ids(begins="run_a") == {"run_a1", "run_a2"}, "no small letter is a capital"
    assert ids(begins="run_a1") == {"run_a1"}
    assert ids(begins="run_b") == ids(app_id=AppId("other")) == set()
    assert ids(app_id=APP) == {"run_a1", "run_A1", "run_a2"}


@pytest.mark.parametrize("spec", [RELAY, PUSH])
def test_unknown_fields_are_ignored_with_one_line(conn: Connection, spec: Spec) -> None:
    task = insert(conn, "task", spec)
    write(conn, task, spec=asdict(spec) | {f"of_a_newer_{spec.kind.value}": 1})
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            assert [record.task for record in queries.live_tasks(conn)] == [task]
    assert [line["fields"] for line in logs] == [(f"of_a_newer_{spec.kind.value}",)]


def test_fields_that_an_older_release_did_not_know_have_their_defaults() -> None:
    assert read_spec(Kind.RELAY, {"url": RELAY.url}) == (RELAY, ())


@pytest.mark.parametrize(
    ("event", "reason"), [(Event.FLOWING, Reason.NONE), (Event.FAIL, Reason.INTERNAL_ERROR)]
)
def test_an_unknown_reason_keeps_its_text(conn: Connection, event: Event, reason: Reason) -> None:
    task = insert(conn, "task", RELAY)
    queries.advance_task(conn, task.id, event, Reason.NONE, "the disk has melted", 1001.0)
    write(conn, task, reason="disk_melted")
    record = queries.get_run(conn, task.id)
    assert record is not None
    assert (record.task.reason, record.task.reason_text) == (reason, "the disk has melted")


def test_an_unknown_stage_is_none_until_the_next_is_told(conn: Connection) -> None:
    task = insert(conn, "task", PUSH)
    write(conn, task, stage="levitating")
    (record,) = queries.live_tasks(conn)
    assert record.task.stage is PushStage.NONE
    now = queries.set_stage(conn, task.id, PushStage.PUSHING, "", 1001.0, epoch=record.task.epoch)
    assert now is not None
    assert now.stage is PushStage.PUSHING


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "mixed_push"},
        {"dialect": "esperanto"},
        {"state": "levitating"},
        {"spec": {"media_type": 0}},
        {"spec": {"url": "http://source/", "media_type": 77}},
    ],
)
def test_a_row_that_makes_no_sense_is_left_out_with_an_error(
    conn: Connection, values: dict[str, object]
) -> None:
    strange = insert(conn, "strange", RELAY)
    insert(conn, "usual", RELAY)
    write(conn, strange, **values)
    with structlog.testing.capture_logs() as logs:
        assert lists(conn) == [["usual"], ["usual"], ["usual"]]
    errors = [line for line in logs if line["log_level"] == "error"]
    assert {line["run_id"] for line in errors} == {strange.id}
    assert len(errors) >= 2
    with pytest.raises(queries.UnreadableTask, match="the row of task run_strange makes no sense"):
        queries.get_run(conn, strange.id)
