"""The life of tasks on a node: placed, followed, stopped, placed again after a crash and after a restart."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, replace
from typing import Any, cast

import pytest
import structlog
from sqlalchemy import Connection, update
from sqlalchemy.exc import IntegrityError

from sluice.core.apps import App, Apps
from sluice.core.errors import Draining, Overloaded, TaskNotFound
from sluice.core.ids import AppId, BusinessId, RoomId, RunId, TaskId, UserId
from sluice.core.lifecycle import Event, Reason, State
from sluice.core.node_figures import Counts
from sluice.core.request_headers import RequestHeaders
from sluice.core.room_documents import Spread, ViewersReport
from sluice.core.tasks import LIFETIME_S, Dialect, Kind, MediaType, RelaySpec, StreamMode, Task
from sluice.core.vitals import Signal, Vitals
from sluice.process.control import (
    Accepted,
    Finished,
    Flowing,
    Lost,
    Planned,
    Progress,
    RelayJob,
    Sourced,
    StopSession,
    UpdateSession,
)
from sluice.process.state import NodeState
from sluice.store.schema import tasks
from sluice.store.tasks import advance_task, change_spec, get_run, insert_task, save_positions
from sluice.store.thread import Store
from sluice.tasks import positions
from sluice.tasks import service as module
from sluice.tasks.media_pool import MediaPool
from sluice.tasks.port import StartRequest
from sluice.tasks.service import TaskService, Terms
from tests.testing import FakeMedia, FakeProcess, FakeRunRooms, MemoryStore

pytestmark = pytest.mark.anyio

APP, ROOM = AppId("a" * 24), RoomId("room")
SPEC = RelaySpec("http://host/clip.mp4", MediaType.AUDIO_VIDEO, StreamMode.COPY, loop=True, max_idle_s=30)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Node:
    """A service over two media processes; `restart` makes the next life of the node."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.store = MemoryStore()
        self.apps = Apps([App(APP, "key")])
        self.state = NodeState()
        self.counts = Counts()
        self._begin()

    def _begin(self) -> None:
        self.media, self.rooms = FakeMedia(2), FakeRunRooms()
        store, media = cast(Store, self.store), cast(MediaPool, self.media)
        terms = Terms(state=self.state, counts=self.counts)
        self.tasks = TaskService(store, media, self.rooms, lambda: self.now, self.apps, terms)

    async def restart(self) -> None:
        await self.tasks.close()
        self._begin()
        await self.tasks.open()

    async def start(self, task_id: str = "task", spec: RelaySpec = SPEC) -> Task[RelaySpec]:
        identity = (APP, ROOM, TaskId(task_id), UserId("relay"), BusinessId(""))
        task, _ = await self.tasks.start(StartRequest(Dialect.VOLCENGINE, *identity, spec))
        return task

    async def running(
        self, task_id: str = "task", spec: RelaySpec = SPEC
    ) -> tuple[Task[RelaySpec], FakeProcess]:
        """A task whose media flows, and where it runs."""
        task = await self.start(task_id, spec)
        process = self.place(task.id)
        process.report(Accepted(run_id=task.id))
        process.report(Flowing(run_id=task.id))
        await settle()
        return task, process

    def place(self, run_id: RunId) -> FakeProcess:
        """The process that was told of the run last."""
        (process,) = (p for p in self.media.processes if p.jobs and p.jobs[-1].run_id == run_id)
        return process

    async def show(self, run_id: RunId) -> tuple[object, object, object]:
        document = await self.tasks.document(run_id)
        return document["state"], document["reason"], document["reason_text"]


async def settle() -> None:
    """Lets what was spawned run: the store in memory never waits."""
    for _ in range(8):
        await asyncio.sleep(0)


def finished(run_id: str, reason: Reason, text: str = "") -> Finished:
    return Finished(run_id=run_id, reason=reason.code, text=text or reason.text)


def progress(run_id: str, position_us: int, pass_number: int = 1) -> Progress:
    return Progress(
        run_id=run_id,
        position_us=position_us,
        pass_number=pass_number,
        video_frames=25,
        audio_packets=50,
        bytes_out=1000,
        dropped={"room_slow": 1},
    )


@pytest.fixture
async def node(anyio_backend: str) -> AsyncIterator[Node]:
    node = Node()
    await node.tasks.open()
    yield node
    await node.tasks.close()
    node.store.close()


async def test_sources_are_asked_with_what_the_app_has(node: Node) -> None:
    headers = RequestHeaders("Player/1", (("Referer", "https://site/"),))
    node.apps.replace([App(APP, "key", source_headers=headers)], [])
    task = await node.start()
    job = node.place(task.id).jobs[-1]
    assert isinstance(job, RelayJob)
    assert (job.user_agent, job.headers) == ("Player/1", {"Referer": "https://site/"})
    assert "https://site/" not in repr(job)


async def test_a_node_that_is_being_stopped_starts_nothing_and_leaves_the_rest(node: Node) -> None:
    task, _ = await node.running()
    node.state.drain()
    with pytest.raises(Draining, match="being stopped and takes no new work; try again"):
        await node.start("other")
    assert (await node.show(task.id))[0] == "running"
    await node.tasks.stop(task.id)


async def test_a_start_is_durable_and_placed(node: Node) -> None:
    task = await node.start()
    assert task.state is State.STARTING
    assert task.expires_at == node.now + LIFETIME_S
    (job,) = node.media.processes[0].jobs
    assert (job.run_id, job.app_id, job.room_id, job.user_id) == (task.id, APP, ROOM, "relay")
    assert (job.url, job.media_type, job.stream_mode, job.loop) == (SPEC.url, 0, 1, True)
    assert (job.idle_s, job.position_us, job.pass_number) == (30, 0, 1)
    assert job.link == f"link of {APP} {ROOM}"
    assert await node.tasks.find_live(Kind.RELAY, APP, ROOM, TaskId("task")) == task


async def test_the_same_start_again_changes_nothing(node: Node) -> None:
    task, _ = await node.running()
    again = await node.start()
    assert (again.id, again.state) == (task.id, State.RUNNING)
    assert sum(len(process.jobs) for process in node.media.processes) == 1


async def test_tasks_go_to_the_least_loaded_process(node: Node) -> None:
    for n in range(5):
        await node.start(f"task{n}")
    assert [len(process.jobs) for process in node.media.processes] == [3, 2]


async def test_states_follow_the_session(node: Node) -> None:
    task = await node.start()
    process = node.place(task.id)
    process.report(Lost(run_id=task.id, reason="source_refused", text="404"))
    await settle()
    assert await node.show(task.id) == ("starting", "none", "404"), "why it is not running yet"
    plan = {"video": {"action": "copy", "why": "w"}, "audio": {"action": "none", "why": "n"}}
    process.report(Planned(run_id=task.id, plan=plan))
    process.report(Flowing(run_id=task.id))
    await settle()
    assert await node.show(task.id) == ("running", "none", "")
    process.report(Lost(run_id=task.id, reason="source_interrupted", text="no packet"))
    await settle()
    assert await node.show(task.id) == ("recovering", "source_interrupted", "no packet")
    process.report(progress(task.id, 2_500_000, 3))
    document = await node.tasks.document(task.id)
    assert (document["position_s"], document["pass"], document["plan"]) == (2.5, 3, plan)
    stats = cast(dict[str, object], document["stats"])
    assert (stats["video_frames"], stats["dropped"]) == (25, {"room_slow": 1})
    assert (stats["level_dbfs"], stats["av_offset_ms"], stats["delay_s"]) == (None, None, None)


async def test_the_document_tells_what_is_seen_of_the_media_until_its_process_is_gone(node: Node) -> None:
    task, process = await node.running()
    nothing = dict.fromkeys(("video", "video_since", "audio", "audio_since"))
    assert (await node.tasks.document(task.id))["signal"] == nothing
    seen = Vitals(Signal("frozen", 99.5), Signal("ok", 90), -18.2, 12, 3.4)
    process.report(progress(task.id, 0).model_copy(update={"vitals": seen, "reconnects": 2}))
    document = await node.tasks.document(task.id)
    signal = {"video": "frozen", "video_since": 99.5, "audio": "ok", "audio_since": 90}
    assert document["signal"] == signal
    stats = cast(dict[str, object], document["stats"])
    shown = [stats[name] for name in ("level_dbfs", "av_offset_ms", "delay_s", "reconnects", "restarts")]
    assert shown == [-18.2, 12, 3.4, 2, 0]
    assert document["source_facts"] is None
    process.report(Sourced(run_id=task.id, facts={"container": "MP4"}))
    document = await node.tasks.document(task.id)
    assert document["source_facts"] == {"container": "MP4"}
    process.die()
    await settle()
    document = await node.tasks.document(task.id)
    assert document["signal"] == nothing
    assert cast(dict[str, object], document["stats"])["last_second"] == {}


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        (Reason.END_OF_STREAM, "ended"),
        (Reason.IDLE_TIMEOUT, "ended"),
        (Reason.SOURCE_UNSUPPORTED, "failed"),
        (Reason.REPLACED, "failed"),
    ],
)
async def test_the_end_of_the_session_is_the_end_of_the_task(node: Node, reason: Reason, state: str) -> None:
    task, process = await node.running()
    process.report(progress(task.id, 9_000_000))
    process.report(finished(task.id, reason, "the text"))
    await settle()
    assert await node.show(task.id) == (state, reason.code, "the text")
    document = await node.tasks.document(task.id)
    assert (document["position_s"], document["stats"], document["ended_at"]) == (9.0, None, node.now)
    assert node.rooms.retired == [task.id]
    assert await node.tasks.find_live(Kind.RELAY, APP, ROOM, TaskId("task")) is None
    assert (await node.start()).id != task.id, "the identity is free"


async def test_a_stop_waits_for_the_session(node: Node) -> None:
    task, process = await node.running()
    await node.tasks.stop_task(Kind.RELAY, APP, ROOM, TaskId("task"))
    assert process.told[-1] == StopSession(run_id=task.id)
    assert (await node.show(task.id))[0] == "stopping"
    assert node.rooms.retired == []
    with pytest.raises(TaskNotFound):
        await node.tasks.stop(task.id)
    process.report(finished(task.id, Reason.END_OF_STREAM))
    await settle()
    assert await node.show(task.id) == ("ended", "stopped", "stopped by api")
    assert node.rooms.retired == [task.id]


async def test_a_start_after_a_stop_waits_for_the_end_and_begins_another_run(node: Node) -> None:
    """Who was told that it is stopped and starts it again wants it to play."""
    task, process = await node.running()
    await node.tasks.stop(task.id)
    starting = asyncio.ensure_future(node.start())
    await settle()
    assert not starting.done()
    assert len(process.jobs) == 1, "never both"
    process.report(finished(task.id, Reason.STOPPED))
    again = await starting
    assert again.id != task.id
    assert again.state is State.STARTING
    assert node.place(again.id).jobs[-1].run_id == again.id


async def test_a_start_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch, node: Node) -> None:
    monkeypatch.setattr(module, "STOP_DEADLINE_S", 0)
    monkeypatch.setattr(module, "_LONGEST_END_S", 0.01)
    task, _ = await node.running()
    await node.tasks.stop(task.id)
    with pytest.raises(Overloaded, match="has not ended yet; try again"):
        await node.start()


async def test_tasks_of_a_silent_process_recover_until_it_is_heard(node: Node) -> None:
    task, process = await node.running()
    process.fall_silent()
    await settle()
    assert await node.show(task.id) == ("recovering", "process_silent", "its media process does not answer")
    other = await node.start("other")
    assert node.place(other.id) is not process
    third = await node.start("third")
    assert node.place(third.id) is not process, "it takes nobody else"
    process.fall_silent(False)
    process.report(progress(task.id, 1).model_copy(update={"flowing": True}))
    await settle()
    assert (await node.show(task.id))[0] == "running"


async def test_nobody_hears_what_goes_into_a_silent_room(node: Node) -> None:
    task, process = await node.running()
    node.rooms.fall_silent()
    await settle()
    assert (await node.show(task.id))[0] == "recovering"
    other, there = await node.running("other")
    assert (await node.show(other.id))[0] == "starting"
    node.rooms.fall_silent(False)
    for run, where in ((task, process), (other, there)):
        where.report(progress(run.id, 1).model_copy(update={"flowing": True}))
    await settle()
    assert [(await node.show(run.id))[0] for run in (task, other)] == ["running", "running"]


async def test_the_user_of_a_task_that_has_flowed_is_held_in_its_room(node: Node) -> None:
    task, _ = await node.running()
    await node.start("not yet")
    assert node.rooms.held == [task.id]
    await node.restart()
    assert node.rooms.held == [task.id], "the room begins anew"


async def test_stops_of_what_is_not_live(node: Node) -> None:
    with pytest.raises(TaskNotFound, match="no task other is live in room room"):
        await node.tasks.stop_task(Kind.RELAY, APP, ROOM, TaskId("other"))
    with pytest.raises(TaskNotFound, match="no task run_x is live"):
        await node.tasks.stop(RunId("run_x"))
    with pytest.raises(TaskNotFound, match="there is no task run_x"):
        await node.tasks.document(RunId("run_x"))
    task, process = await node.running()
    process.report(finished(task.id, Reason.END_OF_STREAM))
    await settle()
    with pytest.raises(TaskNotFound):
        await node.tasks.stop(task.id)


async def test_a_task_that_runs_nowhere_is_stopped_at_once(node: Node) -> None:
    for process in node.media.processes:
        process.die()
    task = await node.start()
    await node.tasks.stop(task.id)
    assert (await node.show(task.id))[:2] == ("ended", "stopped")


async def test_a_session_that_does_not_stop_is_given_up(monkeypatch: pytest.MonkeyPatch, node: Node) -> None:
    monkeypatch.setattr(module, "_SWEEP_S", 0)
    await node.restart()
    task, _ = await node.running()
    await node.tasks.stop(task.id)
    await settle()
    assert (await node.show(task.id))[0] == "stopping"
    node.now += 11
    await settle()
    assert (await node.show(task.id))[:2] == ("ended", "stopped")
    assert node.rooms.retired == [task.id]


async def test_the_lifetime_ends_a_task(monkeypatch: pytest.MonkeyPatch, node: Node) -> None:
    monkeypatch.setattr(module, "_SWEEP_S", 0)
    await node.restart()
    task, process = await node.running()
    node.now += LIFETIME_S - 1
    await settle()
    assert (await node.show(task.id))[0] == "running"
    node.now += 1
    await settle()
    assert process.told.count(StopSession(run_id=task.id)) == 1
    process.report(finished(task.id, Reason.STOPPED))
    await settle()
    assert (await node.show(task.id))[:2] == ("ended", "lifetime_exceeded")


async def test_positions_are_noted_as_they_are_told_and_only_those_that_changed(
    monkeypatch: pytest.MonkeyPatch, node: Node
) -> None:
    monkeypatch.setattr(positions, "_TOLD_S", 0)
    monkeypatch.setattr(positions, "_AGAIN_S", 0)
    noted: list[list[tuple[RunId, int]]] = []

    def save(conn: Connection, known: list[Any]) -> None:
        noted.append([(run_id, far.position_us) for run_id, _, far in known])
        save_positions(conn, known)

    monkeypatch.setattr(positions, "save_positions", save)
    await node.restart()
    one, process = await node.running("one")
    await node.running("other")
    noted.clear()
    process.report(progress(one.id, 4_000_000))
    await settle()
    assert noted == [[(one.id, 4_000_000)]]
    await settle()
    assert len(noted) == 1
    record = await node.store.run(lambda conn: get_run(conn, one.id))
    assert record is not None
    assert record.position_us == 4_000_000


async def test_ended_tasks_are_deleted_by_age_however_many_there_are(
    monkeypatch: pytest.MonkeyPatch, node: Node
) -> None:
    monkeypatch.setattr(module, "_SWEEP_S", 0)
    monkeypatch.setattr(module, "_PURGE_EVERY", 1)
    monkeypatch.setattr(module, "_PURGE_AT_ONCE", 2)
    for n in range(5):
        _, process = await node.running(f"old {n}")
        process.report(finished(process.jobs[-1].run_id, Reason.END_OF_STREAM))
        await settle()
    node.now += module.KEEP_ENDED_S - 1
    await node.restart()
    await settle()
    assert len(await node.tasks.list_documents(limit=10, offset=0)) == 5
    node.now += 2
    await settle()
    await settle()
    assert await node.tasks.list_documents(limit=10, offset=0) == []


async def test_after_a_crash_the_task_goes_on_elsewhere_at_its_position(node: Node) -> None:
    task, process = await node.running()
    process.report(progress(task.id, 4_000_000, 2))
    process.die()
    (apart,) = node.media.apart
    (job,) = apart.jobs
    assert (job.run_id, job.position_us, job.pass_number) == (task.id, 4_000_000, 2)
    await settle()
    assert (await node.show(task.id))[:2] == ("recovering", "media_crash")
    assert node.rooms.retired == [], "its user stays in the room"
    process.report(finished(task.id, Reason.INTERNAL_ERROR))  # of the life before
    apart.report(Flowing(run_id=task.id))
    await settle()
    assert (await node.show(task.id))[0] == "running"
    stats = cast(dict[str, object], (await node.tasks.document(task.id))["stats"])
    assert stats["restarts"] == 1


async def test_it_waits_for_the_start_of_its_process(node: Node) -> None:
    task, process = await node.running()
    node.media.slow = True
    process.die()
    process.live()
    (apart,) = node.media.apart
    assert (len(process.jobs), apart.jobs) == (1, []), "nobody else is to share its fate"
    apart.live()
    node.media.pool[1].live()
    assert [job.run_id for job in apart.jobs] == [task.id]
    assert node.media.pool[1].jobs == [], "it is placed once"


async def test_a_process_apart_that_does_not_start_leaves_its_tasks_to_the_others(node: Node) -> None:
    task, process = await node.running()
    node.media.slow = True
    process.die()
    node.media.on_failure(node.media.apart.pop())
    assert [job.run_id for job in node.media.pool[1].jobs] == [task.id]


async def crowd(node: Node, count: int) -> list[Task[RelaySpec]]:
    """Tasks in the first process of two, the second of which has nothing to do with it."""
    node.media.pool[1].ready = False
    tasks = [(await node.running(f"task-{n}"))[0] for n in range(count)]
    node.media.pool[1].ready = True
    return tasks


def take(process: FakeProcess) -> None:
    """It has begun what it was told."""
    for job in process.jobs:
        process.report(Accepted(run_id=job.run_id))


async def test_whoever_died_with_others_is_not_blamed_however_often(node: Node) -> None:
    tasks = await crowd(node, 2)
    node.media.most_apart = 0
    for _ in range(20):
        node.media.pool[0].die()
        node.media.pool[0].live()
        take(node.media.pool[0])
        await settle()
    assert [(await node.show(task.id))[0] for task in tasks] == ["recovering"] * 2


async def test_only_who_died_alone_and_twice_is_blamed(node: Node) -> None:
    tasks = await crowd(node, 9)
    hostile, deaths = tasks[3].id, 0
    dying = node.media.pool[0]
    while node.rooms.retired == []:
        dying.die()
        deaths += 1
        node.now += 1
        await settle()
        for process in node.media.apart:
            take(process)
            if any(job.run_id == hostile for job in process.jobs):
                dying = process
    assert node.rooms.retired == [hostile]
    assert await node.show(hostile) == ("failed", "media_crash", Reason.MEDIA_CRASH.text)
    assert {(await node.show(task.id))[0] for task in tasks if task.id != hostile} == {"recovering"}
    assert deaths == 6, "in groups of 9, 8, 4 and 2, and twice alone"


async def test_new_tasks_go_to_the_pool(node: Node) -> None:
    await crowd(node, 4)
    node.media.pool[0].die()
    node.media.pool[0].live()
    apart = [len(process.jobs) for process in node.media.apart]
    await node.start("new")
    assert [len(process.jobs) for process in node.media.apart] == apart
    assert sum(len(process.jobs) for process in node.media.pool) == 4 + 1


async def test_a_process_apart_ends_with_its_last_task(node: Node) -> None:
    tasks = await crowd(node, 3)
    node.media.pool[0].die()
    assert [len(process.jobs) for process in node.media.apart] == [2, 1]
    for process in list(node.media.apart):
        for job in process.jobs:
            process.report(finished(job.run_id, Reason.END_OF_STREAM))
    await settle()
    assert node.media.apart == []
    assert {(await node.show(task.id))[0] for task in tasks} == {"ended"}


@pytest.mark.parametrize(("after_s", "state"), [(60, "failed"), (130, "recovering")])
async def test_two_deaths_alone_count_when_they_are_close(node: Node, after_s: int, state: str) -> None:
    task, first = await node.running()
    first.die()
    (apart,) = node.media.apart
    take(apart)
    node.now += after_s
    apart.die()
    await settle()
    assert (await node.show(task.id))[0] == state
    assert (len(node.media.apart) == 0) is (state == "failed"), "not placed a third time"


async def test_what_was_blamed_does_not_begin_among_others_again(node: Node) -> None:
    _, first = await node.running()
    first.die()
    take(node.media.apart[-1])
    node.media.apart[-1].die()
    await settle()
    assert node.media.apart == []
    first.live()
    again = await node.start("again")
    assert [job.run_id for job in node.media.apart[-1].jobs] == [again.id]
    await node.tasks.stop(again.id)
    node.now += 601
    late = await node.start("late")
    assert node.place(late.id) in node.media.pool


async def test_who_was_given_to_a_dying_process_is_not_its_cause(node: Node) -> None:
    task, first = await node.running()
    first.die()
    for _ in range(3):
        node.media.apart[-1].die()  # never took it
    await settle()
    assert (await node.show(task.id))[0] == "recovering"
    assert [job.run_id for job in node.media.apart[-1].jobs] == [task.id]


async def test_another_source_begins_anew(node: Node) -> None:
    task, first = await node.running()
    first.die()
    take(node.media.apart[-1])
    await node.tasks.update_relay(
        APP, ROOM, TaskId("task"), lambda spec: replace(spec, url="http://host/b.mp4")
    )
    node.media.apart[-1].die()
    await settle()
    assert (await node.show(task.id))[0] == "recovering"


async def test_an_end_that_the_store_refuses_is_tried_again(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SWEEP_S", 0)
    await node.restart()
    task, process = await node.running()
    run, refused = node.store.run, asyncio.Event()

    async def fail(work: Callable[[Connection], Any]) -> Any:
        refused.set()
        raise OSError("no space left on device")

    monkeypatch.setattr(node.store, "run", fail)
    process.report(finished(task.id, Reason.END_OF_STREAM))
    await refused.wait()
    await settle()
    monkeypatch.setattr(node.store, "run", run)
    async with asyncio.timeout(10):
        while (await node.show(task.id))[0] != "ended":
            node.now += 1
            await settle()
    assert len(process.jobs) + len(node.media.processes[1].jobs) == 1, "and is not placed again"


async def test_a_crash_leaves_what_is_left_of_the_idle_time(node: Node) -> None:
    task, process = await node.running()
    process.report(Lost(run_id=task.id, reason=Reason.SOURCE_INTERRUPTED.code, text="gone"))
    node.now += 12
    process.die()
    await settle()
    (other,) = node.media.apart
    assert other.jobs[-1].idle_s == SPEC.max_idle_s - 12


async def test_a_crash_of_a_task_that_stops_is_its_end(node: Node) -> None:
    task, process = await node.running()
    await node.tasks.stop(task.id)
    process.die()
    await settle()
    assert (await node.show(task.id))[:2] == ("ended", "stopped")
    assert node.media.processes[1].jobs == []


async def test_the_next_life_of_the_node_resumes_live_tasks(node: Node) -> None:
    played, process = await node.running("played")
    process.report(progress(played.id, 7_000_000, 2))
    begun = await node.start("begun")
    over, other = await node.running("over")
    other.report(finished(over.id, Reason.END_OF_STREAM))
    stopping, _ = await node.running("stopping")
    await node.tasks.stop(stopping.id)
    await settle()
    await node.restart()
    assert await node.show(stopping.id) == ("ended", "stopped", "stopped by api")
    assert (await node.show(played.id))[:2] == ("recovering", "server_shutdown")
    assert (await node.show(begun.id))[:2] == ("starting", "none")
    jobs = {job.run_id: job for process in node.media.processes for job in process.jobs}
    assert set(jobs) == {played.id, begun.id}
    assert (jobs[played.id].position_us, jobs[played.id].pass_number) == (7_000_000, 2)
    assert (jobs[begun.id].position_us, jobs[begun.id].pass_number) == (0, 1)


async def test_the_end_of_the_node_is_no_crash_of_its_tasks(node: Node) -> None:
    task, process = await node.running()
    media = node.media
    await node.tasks.close()
    process.die()
    media.processes[1].die()
    await settle()
    assert (await node.show(task.id))[0] == "running"


async def test_reports_of_strangers_change_nothing(node: Node) -> None:
    task, process = await node.running()
    other = next(p for p in node.media.processes if p is not process)
    other.report(finished(task.id, Reason.END_OF_STREAM))
    process.report(finished("run_unknown", Reason.END_OF_STREAM))
    await settle()
    assert (await node.show(task.id))[0] == "running"


async def test_lists(node: Node) -> None:
    first, process = await node.running("first")
    process.report(finished(first.id, Reason.END_OF_STREAM))
    await settle()
    node.now += 1
    second = await node.start("second")
    listed = await node.tasks.list_relays(APP, ROOM, offset=0, limit=10, newest_first=True)
    assert [task.id for task in listed] == [second.id, first.id]
    assert replace(listed[1], reason_text="").state is State.ENDED
    documents = await node.tasks.list_documents(limit=10, offset=0)
    assert [document["id"] for document in documents] == [second.id, first.id]
    assert documents[0]["source"] == SPEC.url


async def test_a_start_that_another_node_took_meanwhile(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    insert, failures = insert_task, [IntegrityError("INSERT", {}, Exception("not unique"))]

    def insert_late(conn: Connection, task: Task[Any], refused: None) -> tuple[Task[Any], bool]:
        if failures:
            raise failures.pop()
        return insert(conn, task)

    monkeypatch.setattr(module, "insert_task", insert_late)
    assert (await node.start()).state is State.STARTING


async def test_a_stop_that_the_store_refuses_leaves_a_waiting_task_as_it_was(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    for process in node.media.processes:
        process.die()
    task = await node.start()
    run = node.store.run

    async def fail(work: Callable[[Connection], Any]) -> Any:
        raise OSError("no space left on device")

    monkeypatch.setattr(node.store, "run", fail)
    with pytest.raises(OSError, match="no space"):
        await node.tasks.stop(task.id)
    monkeypatch.setattr(node.store, "run", run)
    node.media.processes[0].live()
    assert node.place(task.id) is node.media.processes[0]
    await node.tasks.stop(task.id)
    assert (await node.show(task.id))[0] == "stopping"


async def test_a_task_that_no_process_has_ends_at_once(node: Node) -> None:
    for process in node.media.processes:
        process.die()
    task = await node.start()
    await node.tasks.stop(task.id)
    assert (await node.show(task.id))[:2] == ("ended", "stopped")
    with pytest.raises(TaskNotFound):
        await node.tasks.stop(task.id)


# --- another writer -----------------------------------------------------------------------------------------


async def meddle(node: Node, task: Task[Any], event: Event) -> None:
    """Another writer changes the row, and the node does not know."""
    changed = await node.store.run(
        lambda conn: advance_task(conn, task.id, event, Reason.STOPPED, "by another", node.now)
    )
    assert changed is not None


@pytest.mark.parametrize("event", [Event.LOST, Event.PAUSE])
async def test_a_stop_is_made_on_what_another_writer_has_left(node: Node, event: Event) -> None:
    task, process = await node.running()
    await meddle(node, task, event)
    await node.tasks.stop(task.id)
    assert process.told[-1] == StopSession(run_id=task.id)
    process.report(finished(task.id, Reason.STOPPED))
    await settle()
    assert await node.show(task.id) == ("ended", "stopped", "stopped by api")
    assert node.rooms.retired == [task.id]


async def test_what_another_writer_has_ended_is_over_here_too(node: Node) -> None:
    task, process = await node.running()
    await meddle(node, task, Event.FAIL)
    with pytest.raises(TaskNotFound, match=f"no task {task.id} is live"):
        await node.tasks.stop(task.id)
    assert process.told[-1] == StopSession(run_id=task.id)
    assert node.rooms.retired == [task.id]
    assert (await node.show(task.id))[0] == "failed"
    assert (await node.start()).id != task.id


async def test_an_update_is_made_on_what_another_writer_has_left(node: Node) -> None:
    task, process = await node.running()
    await node.store.run(lambda conn: change_spec(conn, task.id, replace(SPEC, volume=7)))
    await node.tasks.update_relay(APP, ROOM, TaskId("task"), lambda spec: replace(spec, url="http://host/b"))
    last = process.told[-1]
    assert isinstance(last, UpdateSession)
    assert (last.job.url, last.job.volume) == ("http://host/b", 7)


async def test_a_caller_who_goes_away_leaves_the_change_to_be_made(node: Node) -> None:
    task, process = await node.running()
    caller = asyncio.ensure_future(node.tasks.stop(task.id))
    await asyncio.sleep(0)
    caller.cancel()
    await settle()
    assert process.told[-1] == StopSession(run_id=task.id)
    process.report(finished(task.id, Reason.STOPPED))
    await settle()
    assert (await node.show(task.id))[:2] == ("ended", "stopped")


async def test_a_failure_of_the_store_that_nobody_waits_for_is_logged(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, process = await node.running()

    async def fail(work: Callable[[Connection], Any]) -> Any:
        raise OSError("no space left on device")

    with structlog.testing.capture_logs() as logs, monkeypatch.context() as patch:
        patch.setattr(node.store, "run", fail)
        process.report(Lost(run_id=task.id, reason="source_interrupted", text="gone"))
        await settle()
    assert [(line["log_level"], line["run_id"]) for line in logs] == [("error", task.id)]
    assert (await node.show(task.id))[0] == "running"


async def test_a_row_that_makes_no_sense_does_not_keep_the_node_from_starting(node: Node) -> None:
    strange, usual = await node.start("strange"), await node.start("usual")
    await node.store.run(
        lambda conn: conn.execute(update(tasks).where(tasks.c.id == strange.id).values(dialect="esperanto"))
    )
    await node.restart()
    assert [job.run_id for process in node.media.processes for job in process.jobs] == [usual.id]


async def test_a_live_relay_tells_what_its_viewers_report(node: Node) -> None:
    reported = ViewersReport(2, 2, Spread(2.5, 5.0), None, None, 900.0)
    node.rooms.reports[APP, ROOM, UserId("relay")] = reported
    task, process = await node.running()
    await node.running("another")
    node.rooms.asked = 0
    documents = await node.tasks.list_documents(limit=10, offset=0)
    assert [document["viewers"] for document in documents] == [asdict(reported)] * 2
    assert node.rooms.asked == 1, "of all tasks together"
    node.rooms.reports.clear()
    assert (await node.tasks.document(task.id))["viewers"] is None, "nobody knows"
    process.report(finished(task.id, Reason.STOPPED))
    await settle()
    node.rooms.asked = 0
    assert (await node.tasks.document(task.id))["viewers"] is None
    assert node.rooms.asked == 0, "it has no viewers any more"
