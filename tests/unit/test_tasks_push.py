"""Pushes on a node: placed beside each other, their stages durable and told, no end by age."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select

from sluice.callbacks.forms.volcengine_numbers import push_report
from sluice.core.ids import BusinessId, TaskId, UserId
from sluice.core.lifecycle import Reason
from sluice.core.push import PushStage
from sluice.core.rooms import StreamIndex
from sluice.core.tasks import LIFETIME_S, Dialect, MediaType, PushSpec, Task
from sluice.process.control import Accepted, Flowing, Lost, StageChanged
from sluice.store.schema import outbox
from sluice.tasks.port import StartRequest
from tests.testing import FakeProcess, register
from tests.unit.test_tasks_service import APP, ROOM, Node, finished, settle

pytestmark = pytest.mark.anyio

URL = "rtmp://cdn.example/live/key"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def node(anyio_backend: str) -> AsyncIterator[Node]:
    node = Node()
    await node.tasks.open()
    yield node
    await node.tasks.close()
    node.store.close()


async def push(node: Node, task_id: str = "push", user_id: str = "anna", stream: int = 0) -> Task[PushSpec]:
    spec = PushSpec(URL, StreamIndex(stream), MediaType.AUDIO, 20)
    identity = (APP, ROOM, TaskId(task_id), UserId(user_id), BusinessId(""))
    task, created = await node.tasks.start(StartRequest(Dialect.VOLCENGINE, *identity, spec))
    assert created
    return task


def place(node: Node, task: Task[PushSpec]) -> FakeProcess:
    (process,) = (p for p in node.media.processes if any(job.run_id == task.id for job in p.pushes))
    return process


async def stage(node: Node, process: FakeProcess, task: Task[PushSpec], code: str) -> tuple[int, int]:
    """Status and PushStreamState after the process told this stage."""
    process.report(StageChanged(run_id=task.id, stage=code))
    await settle()
    now = await node.tasks.latest_push(APP, ROOM, task.task_id)
    assert now is not None
    report = push_report(now.state, now.stage, now.reason)
    return report.status, report.push_stream_state


async def told(node: Node) -> list[tuple[str, str, str]]:
    rows = await node.store.run(
        lambda conn: conn.execute(select(outbox.c.event_type, outbox.c.data).order_by(outbox.c.id)).all()
    )
    return [(row.event_type, row.data["state"], row.data["stage"]) for row in rows]


async def test_a_push_is_given_all_it_needs_and_has_no_lifetime(node: Node) -> None:
    task = await push(node)
    assert task.expires_at is None
    (job,) = place(node, task).pushes
    assert (job.app_id, job.room_id, job.user_id, job.stream) == (APP, ROOM, "anna", 0)
    assert (job.url, job.media_type, job.idle_s, job.connected_before) == (URL, 1, 20, False)
    assert job.link == f"link of {APP} {ROOM}"
    node.now += LIFETIME_S * 2
    assert (await node.show(task.id))[0] == "starting"


async def test_pushes_of_one_stream_share_a_process(node: Node) -> None:
    first = await push(node, "one")
    others = [await push(node, f"other{n}", f"user{n}") for n in range(2)]
    again, screen = await push(node, "two"), await push(node, "three", stream=1)
    assert place(node, again) is place(node, first)
    assert {id(place(node, task)) for task in (*others, screen)} == {id(p) for p in node.media.processes}


async def test_stages_are_durable_and_told_once(node: Node) -> None:
    await node.store.run(lambda conn: register(conn, APP))
    task = await push(node)
    process = place(node, task)
    process.report(Accepted(run_id=task.id))
    assert await stage(node, process, task, "waiting") == (2, 1)
    assert await stage(node, process, task, "connecting") == (2, 2)
    assert await stage(node, process, task, "publishing") == (2, 4)
    assert await stage(node, process, task, "publishing") == (2, 4)
    process.report(Flowing(run_id=task.id))
    assert await stage(node, process, task, "pushing") == (2, 5)
    process.report(Lost(run_id=task.id, reason=Reason.DESTINATION_INTERRUPTED.code, text="the CDN is gone"))
    assert await stage(node, process, task, "reconnecting") == (2, 3)
    process.report(finished(task.id, Reason.DESTINATION_INTERRUPTED))
    await settle()
    assert await told(node) == [
        ("push_state", "starting", "waiting"),
        ("push_state", "starting", "connecting"),
        ("push_state", "starting", "publishing"),
        ("push_started", "running", "publishing"),
        ("push_state", "running", "pushing"),
        ("push_state", "recovering", "reconnecting"),
        ("push_stopped", "failed", "reconnecting"),
    ]
    ended = await node.tasks.latest_push(APP, ROOM, task.task_id)
    assert ended is not None
    assert push_report(ended.state, ended.stage, ended.reason).stop_reason == "UnknownStopReason"
    late = StageChanged(run_id=task.id, stage=PushStage.PUSHING.code)
    process.report(late)
    await settle()
    assert len(await told(node)) == 7


async def test_a_push_goes_on_in_another_process_and_after_a_restart(node: Node) -> None:
    task = await push(node)
    process = place(node, task)
    process.report(Accepted(run_id=task.id))
    process.report(Flowing(run_id=task.id))
    await stage(node, process, task, "pushing")
    process.die()
    await settle()
    (other,) = node.media.apart
    assert [(job.run_id, job.connected_before) for job in other.pushes] == [(task.id, True)]
    assert (await node.show(task.id))[0] == "recovering"
    await node.restart()
    await settle()
    assert [job.connected_before for p in node.media.processes for job in p.pushes] == [True]


async def test_the_document_shows_the_target_masked(node: Node) -> None:
    task = await push(node)
    document = await node.tasks.document(task.id)
    assert document["kind"] == "push"
    assert (document["target"], document["stage"]) == ("rtmp://cdn.example/live/ke***", "none")
    assert "source" not in document
