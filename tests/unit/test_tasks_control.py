"""Changes of running tasks: pause, position, volume; what stays true when something dies in between."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from sqlalchemy import Connection, select, update

from sluice.core.errors import BadInput, NotNow, Overloaded, TaskNotFound
from sluice.core.ids import BusinessId, RunId, TaskId, UserId
from sluice.core.lifecycle import Reason
from sluice.core.tasks import LIFETIME_S, Dialect, PlaybackChange, PushSpec, RelaySpec, Task
from sluice.process.channel import ChannelClosed, ChannelSilent
from sluice.process.control import (
    Accepted,
    ControlSession,
    Done,
    Flowing,
    Lost,
    Message,
    Refused,
    RelayJob,
    StopSession,
    UpdateSession,
)
from sluice.store.schema import outbox, tasks
from sluice.tasks import service as module
from sluice.tasks.port import StartRequest
from tests.testing import done, register
from tests.unit.test_tasks_service import APP, ROOM, SPEC, Node, finished, progress, settle

pytestmark = pytest.mark.anyio

FILE = replace(SPEC, loop=False)


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


async def shown(node: Node, task: Task[Any], *names: str) -> tuple[object, ...]:
    document = await node.tasks.document(task.id)
    return tuple(document[name] for name in names)


def latest_job(node: Node, task: Task[Any]) -> RelayJob:
    """What the process that begins last was told."""
    (job,) = (p.jobs[-1] for p in node.media.processes if p.jobs and p.jobs[-1].run_id == task.id and p.ready)
    return job


def asked(run_id: str, **values: Any) -> ControlSession:
    return ControlSession(run_id=run_id, **values)


async def test_volume_and_loudness_are_durable_and_begin_nothing_anew(node: Node) -> None:
    task, process = await node.running()
    process.report(progress(task.id, 9_000_000))
    await node.tasks.control(task.id, PlaybackChange(volume=30, normalize=True))
    assert process.asked == [asked(task.id, volume=30, normalize=True)]
    assert len(process.told) == 1, "the source goes on"
    wanted = ("running", 30, True, 9.0)
    assert await shown(node, task, "state", "volume", "normalize", "position_s") == wanted
    await node.restart()
    assert await shown(node, task, "volume", "normalize", "position_s") == wanted[1:]
    job = latest_job(node, task)
    assert (job.volume, job.normalize, job.position_us, job.paused) == (30, True, 9_000_000, False)


async def test_pause_and_resume(node: Node) -> None:
    task, process = await node.running()
    await node.tasks.control(task.id, PlaybackChange(paused=True))
    assert process.asked == [asked(task.id, paused=True)]
    assert await node.show(task.id) == ("paused", "none", "")
    process.report(Lost(run_id=task.id, reason="source_interrupted", text="no packet left for 2 s"))
    await settle()
    assert await node.show(task.id) == ("paused", "none", ""), "a pause is no loss"
    await node.tasks.control(task.id, PlaybackChange(paused=False))
    assert process.asked[1:] == [asked(task.id, paused=False)]
    assert await node.show(task.id) == ("recovering", "resumed", "resumed after a pause")
    process.report(Flowing(run_id=task.id))
    await settle()
    assert await node.show(task.id) == ("running", "none", "")


async def test_a_task_that_recovers_can_be_paused(node: Node) -> None:
    task, process = await node.running()
    process.report(Lost(run_id=task.id, reason="source_interrupted", text="gone"))
    await settle()
    await node.tasks.control(task.id, PlaybackChange(paused=True))
    assert (await node.show(task.id))[0] == "paused"


async def test_media_that_flows_before_the_resume_is_noted(node: Node) -> None:
    task, process = await node.running()
    await node.tasks.control(task.id, PlaybackChange(paused=True))

    async def flow_at_once(message: Message) -> Message:
        process.report(Flowing(run_id=task.id))
        await settle()
        return Done(found=True)

    process.answer = flow_at_once
    await node.tasks.control(task.id, PlaybackChange(paused=False))
    await settle()
    assert (await node.show(task.id))[0] == "running"


async def test_a_position(node: Node) -> None:
    task, process = await node.running()
    process.report(progress(task.id, 9_000_000, 3))
    await node.tasks.control(task.id, PlaybackChange(position_us=2_500_000))
    assert process.asked == [asked(task.id, position_us=2_500_000)]
    assert await shown(node, task, "position_s", "pass", "state") == (2.5, 3, "running")
    process.die()
    job = node.media.apart[-1].jobs[-1]
    assert (job.position_us, job.pass_number) == (2_500_000, 3)


async def test_several_things_are_one_change(node: Node) -> None:
    task, process = await node.running()
    await node.tasks.control(task.id, PlaybackChange(True, 1_000_000, 0, normalize=False))
    assert process.asked == [asked(task.id, paused=True, position_us=1_000_000, volume=0, normalize=False)]
    assert await shown(node, task, "state", "position_s", "volume") == ("paused", 1.0, 0)


async def test_what_is_so_already_asks_nobody(node: Node) -> None:
    task, process = await node.running()
    await node.tasks.control(task.id, PlaybackChange(paused=False))
    await node.tasks.control(task.id, PlaybackChange(paused=True))
    await node.tasks.control(task.id, PlaybackChange(paused=True))
    assert len(process.asked) == 1
    await node.tasks.control(task.id, PlaybackChange(paused=True, volume=5))
    assert process.asked[1:] == [asked(task.id, volume=5)]


async def test_a_paused_task_stays_paused_after_a_crash_of_its_process(node: Node) -> None:
    task, process = await node.running()
    process.report(progress(task.id, 4_000_000))
    await node.tasks.control(task.id, PlaybackChange(paused=True))
    process.die()
    await settle()
    other = node.media.apart[-1]
    job = other.jobs[-1]
    assert (job.paused, job.position_us) == (True, 4_000_000)
    assert (await node.show(task.id))[0] == "paused"
    other.report(Accepted(run_id=task.id))
    await node.tasks.control(task.id, PlaybackChange(paused=False))
    assert other.asked == [asked(task.id, paused=False)]


async def test_a_paused_task_stays_paused_after_a_restart_of_the_node(node: Node) -> None:
    task, process = await node.running()
    process.report(progress(task.id, 4_000_000, 2))
    await node.tasks.control(task.id, PlaybackChange(paused=True, volume=10))
    node.now += 500  # longer than the idle time
    await node.restart()
    assert (await node.show(task.id))[0] == "paused"
    job = latest_job(node, task)
    assert (job.paused, job.volume, job.position_us, job.pass_number) == (True, 10, 4_000_000, 2)
    assert job.idle_s == SPEC.max_idle_s


async def test_a_task_without_a_process_is_resumed_where_it_is_placed_next(node: Node) -> None:
    task, process = await node.running()
    await node.tasks.control(task.id, PlaybackChange(paused=True))
    node.media.slow = True
    process.die()
    await settle()
    with pytest.raises(NotNow, match="seek_s: the task waits for a media process"):
        await node.tasks.control(task.id, PlaybackChange(position_us=0))
    await node.tasks.control(task.id, PlaybackChange(paused=False, volume=7))
    assert await node.show(task.id) == ("recovering", "resumed", "resumed after a pause")
    with pytest.raises(NotNow, match="pause: the task waits for a media process"):
        await node.tasks.control(task.id, PlaybackChange(paused=True))
    apart = node.media.apart[-1]
    apart.live()
    assert (apart.jobs[-1].paused, apart.jobs[-1].volume) == (False, 7)


async def test_the_idle_time_stands_while_it_is_paused(node: Node) -> None:
    task, process = await node.running()
    process.report(Lost(run_id=task.id, reason="source_interrupted", text="gone"))
    await settle()
    node.now += 10
    await node.tasks.control(task.id, PlaybackChange(paused=True))
    node.now += 1000
    process.die()
    await settle()
    other = node.media.apart[-1]
    assert other.jobs[-1].idle_s == SPEC.max_idle_s - 10
    other.report(Accepted(run_id=task.id))
    await node.tasks.control(task.id, PlaybackChange(paused=False))
    node.now += 130  # far from the first crash
    other.die()
    assert node.media.apart[-1].jobs[-1].idle_s == 1.0, "it runs again"


async def test_the_lifetime_of_a_paused_task_runs_on(monkeypatch: pytest.MonkeyPatch, node: Node) -> None:
    monkeypatch.setattr(module, "_SWEEP_S", 0)
    await node.restart()
    task, process = await node.running()
    await node.tasks.control(task.id, PlaybackChange(paused=True))
    node.now += LIFETIME_S
    await settle()
    assert process.told.count(StopSession(run_id=task.id)) == 1
    process.report(finished(task.id, Reason.STOPPED))
    await settle()
    assert (await node.show(task.id))[:2] == ("ended", "lifetime_exceeded")


async def test_a_paused_task_is_stopped(node: Node) -> None:
    task, process = await node.running()
    await node.tasks.control(task.id, PlaybackChange(paused=True))
    await node.tasks.stop(task.id)
    process.report(finished(task.id, Reason.STOPPED))
    await settle()
    assert (await node.show(task.id))[:2] == ("ended", "stopped")


async def test_nobody_is_told_of_a_pause(node: Node) -> None:
    await node.store.run(lambda conn: register(conn, APP))
    task, process = await node.running()
    await node.tasks.control(task.id, PlaybackChange(paused=True))
    await node.tasks.control(task.id, PlaybackChange(paused=False))
    node.now += 1
    process.report(Flowing(run_id=task.id))
    await settle()
    states = await node.store.run(lambda conn: [d["state"] for d in conn.scalars(select(outbox.c.data))])
    assert states == ["starting", "running"]
    process.report(Lost(run_id=task.id, reason="source_interrupted", text="gone"))
    process.report(Flowing(run_id=task.id))
    await settle()
    again = await node.store.run(lambda conn: [d["again"] for d in conn.scalars(select(outbox.c.data))])
    assert again == [False, False, False, True], "of a loss they are, and of what is there again"


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "control", [PlaybackChange(paused=True), PlaybackChange(position_us=0), PlaybackChange(True, volume=1)]
)
async def test_what_does_not_run_yet(node: Node, control: PlaybackChange) -> None:
    started = await node.start("started")
    scheduled = await node.start("scheduled", replace(SPEC, start_at=int(node.now) + 60))
    for task in (started, scheduled):
        with pytest.raises(NotNow, match="try again when it is running"):
            await node.tasks.control(task.id, control)
        assert await shown(node, task, "volume") == (100,)


async def test_the_volume_of_what_does_not_run_yet(node: Node) -> None:
    started = await node.start("started")
    scheduled = await node.start("scheduled", replace(SPEC, start_at=int(node.now) + 60))
    for task in (started, scheduled):
        await node.tasks.control(task.id, PlaybackChange(paused=False, volume=20))
        assert await shown(node, task, "volume") == (20,)
    assert node.place(started.id).asked == [asked(started.id, volume=20)]


async def test_a_push_cannot_be_controlled(node: Node) -> None:
    identity = (APP, ROOM, TaskId("push"), UserId("anna"), BusinessId(""))
    request = StartRequest(Dialect.VOLCENGINE, *identity, PushSpec("rtmp://cdn/live/key"))
    task, _ = await node.tasks.start(request)
    for control in (PlaybackChange(paused=True), PlaybackChange(volume=3)):
        with pytest.raises(BadInput, match="a push, and only relays can be controlled"):
            await node.tasks.control(task.id, control)


@pytest.mark.parametrize(
    ("refusal", "kind", "text"),
    [
        (Refused(field="pause", why="a live source cannot be paused"), BadInput, "pause: a live source"),
        (Refused(field="seek_s", why="it is 9 s long"), BadInput, "seek_s: it is 9 s long"),
        (Refused(field="seek_s", why="not yet open", busy=True), NotNow, "seek_s: not yet open"),
    ],
)
async def test_what_the_session_refuses_changes_nothing(
    node: Node, refusal: Refused, kind: type[Exception], text: str
) -> None:
    task, process = await node.running()

    async def refuse(message: Message) -> Message:
        return refusal

    process.answer = refuse
    with pytest.raises(kind, match=text):
        await node.tasks.control(task.id, PlaybackChange(True, 99_000_000, 3))
    assert await shown(node, task, "state", "position_s", "volume") == ("running", 0.0, 100)


async def test_what_is_over(node: Node) -> None:
    task, process = await node.running()
    with pytest.raises(TaskNotFound, match="no task run_x is live"):
        await node.tasks.control(RunId("run_x"), PlaybackChange(volume=1))
    await node.tasks.stop(task.id)
    with pytest.raises(TaskNotFound, match="is live"):
        await node.tasks.control(task.id, PlaybackChange(volume=1))
    process.report(finished(task.id, Reason.STOPPED))
    await settle()
    with pytest.raises(TaskNotFound, match="is live"):
        await node.tasks.control(task.id, PlaybackChange(volume=1))


async def test_a_task_that_ends_meanwhile(node: Node) -> None:
    task, process = await node.running()

    async def gone(message: Message) -> Message:
        process.report(finished(task.id, Reason.END_OF_STREAM))
        return Done(found=False)

    process.answer = gone
    with pytest.raises(TaskNotFound, match="is live"):
        await node.tasks.control(task.id, PlaybackChange(volume=1))
    await settle()
    assert (await node.show(task.id))[:2] == ("ended", "end_of_stream")


# --- what dies in between -----------------------------------------------------------------------------------


async def test_a_process_that_dies_before_the_change_is_noted(node: Node) -> None:
    task, process = await node.running()

    async def die(message: Message) -> Message:
        process.die()
        await settle()
        assert node.media.apart[-1].jobs == [], "it would begin with what was before"
        return Done(found=True)

    process.answer = die
    await node.tasks.control(task.id, PlaybackChange(paused=True, volume=40, position_us=5_000_000))
    await settle()
    job = node.media.apart[-1].jobs[-1]
    assert (job.paused, job.volume, job.position_us) == (True, 40, 5_000_000)
    assert (await node.show(task.id))[0] == "paused"


async def test_a_process_that_dies_without_an_answer(node: Node) -> None:
    task, process = await node.running()

    async def die(message: Message) -> Message:
        process.die()
        raise ChannelClosed("the process is gone")

    process.answer = die
    with pytest.raises(Overloaded, match="nothing was changed, for the process is gone; try again"):
        await node.tasks.control(task.id, PlaybackChange(paused=True, volume=40))
    await settle()
    job = node.media.apart[-1].jobs[-1]
    assert (job.paused, job.volume) == (False, 100)
    assert await shown(node, task, "state", "volume") == ("recovering", 100)


async def test_a_process_that_answers_too_late_is_told_what_is_true(node: Node) -> None:
    task, process = await node.running()

    async def silent_once(message: Message) -> Message:
        process.answer = done
        raise ChannelSilent("the process did not answer in time")

    process.answer = silent_once
    with pytest.raises(Overloaded):
        await node.tasks.control(task.id, PlaybackChange(volume=40))
    assert process.asked[1:] == [asked(task.id, volume=100)]
    assert await shown(node, task, "volume") == (100,)


async def test_a_change_that_the_store_refuses_is_taken_back(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, process = await node.running()
    await node.tasks.control(task.id, PlaybackChange(volume=60))

    async def fail(work: Callable[[Connection], Any]) -> Any:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(node.store, "run", fail)
        with pytest.raises(OSError, match="no space"):
            await node.tasks.control(task.id, PlaybackChange(paused=True, volume=40))
    assert process.asked[2:] == [asked(task.id, paused=False, volume=60)]
    assert await shown(node, task, "state", "volume") == ("running", 60)


async def test_changes_are_made_one_after_the_other(node: Node) -> None:
    task, process = await node.running()
    going_on, asking = asyncio.Event(), asyncio.Event()

    async def wait(message: Message) -> Message:
        asking.set()
        await going_on.wait()
        return Done(found=True)

    process.answer = wait
    first = asyncio.create_task(node.tasks.control(task.id, PlaybackChange(volume=1)))
    await asking.wait()
    second = asyncio.create_task(node.tasks.control(task.id, PlaybackChange(volume=2)))
    update = asyncio.create_task(
        node.tasks.update_relay(APP, ROOM, TaskId("task"), lambda spec: replace(spec, url="http://host/b"))
    )
    await settle()
    assert len(process.asked) == 1
    going_on.set()
    await asyncio.gather(first, second, update)
    assert [cast(ControlSession, message).volume for message in process.asked] == [1, 2]
    assert await shown(node, task, "volume", "source") == (2, "http://host/b")
    (update_session,) = (message for message in process.told if isinstance(message, UpdateSession))
    assert (update_session.job.volume, update_session.job.url) == (2, "http://host/b")


# --- lifetimes and beginnings -------------------------------------------------------------------------------


async def test_a_relay_may_have_no_lifetime_or_another(monkeypatch: pytest.MonkeyPatch, node: Node) -> None:
    monkeypatch.setattr(module, "_SWEEP_S", 0)
    await node.restart()
    endless, _ = await node.running("endless", replace(FILE, lifetime_s=None))
    short, process = await node.running("short", replace(FILE, lifetime_s=60))
    assert (endless.expires_at, short.expires_at) == (None, node.now + 60)
    node.now += 59
    await settle()
    assert StopSession(run_id=short.id) not in process.told
    node.now += 1
    await settle()
    assert StopSession(run_id=short.id) in process.told
    process.report(finished(short.id, Reason.STOPPED))
    node.now += 100 * LIFETIME_S
    await settle()
    assert (await node.show(short.id))[:2] == ("ended", "lifetime_exceeded")
    assert (await node.show(endless.id))[0] == "running"


@pytest.mark.parametrize(
    ("lifetime_s", "expiry"), [(None, None), (60.0, 160.0), (LIFETIME_S, 100 + LIFETIME_S)]
)
async def test_the_lifetime_of_a_scheduled_task_begins_with_its_start(
    node: Node, lifetime_s: float | None, expiry: float | None
) -> None:
    begun_at = node.now
    task = await node.start(spec=replace(FILE, start_at=int(node.now) + 100, lifetime_s=lifetime_s))
    assert task.expires_at is None
    await expect_expiry(node, task, None if expiry is None else begun_at + expiry)


async def test_a_scheduled_task_of_an_older_release_lives_72_hours(node: Node) -> None:
    begun_at = node.now
    task = await node.start(spec=replace(FILE, start_at=int(node.now) + 100))
    spec = {"url": FILE.url, "media_type": 0, "stream_mode": 1, "start_at": task.spec.start_at}
    await node.store.run(lambda conn: conn.execute(update(tasks).values(spec=spec)))
    await expect_expiry(node, task, begun_at + 100 + LIFETIME_S)


async def expect_expiry(node: Node, task: Task[RelaySpec], expiry: float | None) -> None:
    node.now += 100
    await node.restart()
    process = node.place(task.id)
    process.report(Accepted(run_id=task.id))
    process.report(Flowing(run_id=task.id))
    await settle()
    assert await shown(node, task, "state", "expires_at") == ("running", expiry)


async def test_a_run_begins_at_its_position_and_goes_on_where_it_was(node: Node) -> None:
    task = await node.start(spec=replace(FILE, begin_s=90))
    process = node.place(task.id)
    assert (process.jobs[-1].position_us, process.jobs[-1].pass_number) == (90_000_000, 1)
    assert await shown(node, task, "position_s") == (90.0,)
    await node.restart()
    assert latest_job(node, task).position_us == 90_000_000, "nothing was played yet"
    process = node.place(task.id)
    process.report(progress(task.id, 3_000_000, 2))
    await node.restart()
    job = latest_job(node, task)
    assert (job.position_us, job.pass_number) == (3_000_000, 2), "the second pass begins at the beginning"
