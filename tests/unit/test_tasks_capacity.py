"""Admission on a node: who is refused, who waits, and what of those that run is judged."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import cast

import pytest

from sluice.core.capacity import Capacity
from sluice.core.cost import Source, estimate
from sluice.core.errors import NoCapacity
from sluice.core.figures import CAPACITY_CORES, LOOP_LAG, USED_CORES, Ledger
from sluice.core.ids import AppId, BusinessId, RoomId, TaskId, UserId
from sluice.core.lifecycle import Reason, State
from sluice.core.plan import TrackAction
from sluice.core.tasks import Dialect, RelaySpec, StreamMode, Task
from sluice.process.control import Accepted, Finished, Flowing, Planned, Relieve, StopSession
from sluice.store.thread import Store
from sluice.tasks import capacity as module
from sluice.tasks.capacity import NodeCapacity
from sluice.tasks.media_pool import MediaPool
from sluice.tasks.port import StartRequest
from sluice.tasks.service import TaskService, Terms
from tests.testing import FakeMedia, FakeProcess, FakeRunRooms, MemoryStore

pytestmark = pytest.mark.anyio

APP, ROOM = AppId("a" * 24), RoomId("room")
SPEC = RelaySpec("http://host/clip.mp4", width=1280, height=720, frame_rate=30, max_idle_s=30)
COPY = replace(SPEC, stream_mode=StreamMode.COPY)
SMALL = replace(SPEC, width=320, height=180, frame_rate=10)
ONE = estimate(SPEC).cores
NO_ROOM = rf"the task needs {ONE:.3f} cores, and \d\.\d{{3}} of \d\.\d{{3}} are free"
REORDERED = {
    "video": {"action": "transcode", "why": "source has B-frames"},
    "audio": {"action": "transcode", "why": "rooms carry Opus, source is AAC"},
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Node:
    """A service with room for `tasks` of SPEC; `restart` makes the next life of the node."""

    def __init__(self, tasks: float = 1.5) -> None:
        self.now = 1_800_000_000.0
        self.store = MemoryStore()
        self._begin(tasks)

    def _begin(self, tasks: float) -> None:
        self.media, self.ledger = FakeMedia(2), Ledger()
        self.capacity = NodeCapacity(Capacity(cores=tasks * ONE), ledger=self.ledger, clock=lambda: self.now)
        store, media = cast(Store, self.store), cast(MediaPool, self.media)
        terms = Terms(capacity=self.capacity)
        self.tasks = TaskService(store, media, FakeRunRooms(), lambda: self.now, terms=terms)

    async def restart(self, tasks: float) -> None:
        await self.tasks.close()
        self._begin(tasks)
        await self.tasks.open()

    async def ask(self, task_id: str, spec: RelaySpec = SPEC) -> tuple[Task[RelaySpec], bool]:
        identity = (APP, ROOM, TaskId(task_id), UserId("relay"), BusinessId(""))
        found = await self.tasks.start(StartRequest(Dialect.VOLCENGINE, *identity, spec))
        await settle()
        return found

    async def start(self, task_id: str, spec: RelaySpec = SPEC) -> Task[RelaySpec]:
        return (await self.ask(task_id, spec))[0]

    def process_of(self, task: Task[RelaySpec]) -> FakeProcess | None:
        return next((p for p in self.media.processes if any(j.run_id == task.id for j in p.jobs)), None)

    async def flow(self, task: Task[RelaySpec]) -> FakeProcess:
        process = self.process_of(task)
        assert process is not None
        process.report(Accepted(run_id=task.id))
        process.report(Flowing(run_id=task.id))
        await settle()
        return process

    async def end(self, task: Task[RelaySpec]) -> None:
        process = self.process_of(task)
        assert process is not None
        process.report(Finished(run_id=task.id, reason=Reason.END_OF_STREAM.code, text=""))
        await settle()

    async def wait(self, seconds: float) -> None:
        """What the sweeper does then."""
        self.now += seconds
        self.tasks._wake()
        await settle()

    async def watch(self, seconds: int) -> None:
        """What the sweeper does in this time."""
        for _ in range(seconds):
            self.now += 1
            self.capacity.watch(self.tasks._runs.values(), cast(MediaPool, self.media))
        await settle()

    def lag(self, process: str, seconds: float) -> None:
        kind = process.partition("-")[0]
        self.ledger.tell(process, kind, {}, {LOOP_LAG.name: {"p90": seconds}})

    async def show(self, task: Task[RelaySpec]) -> tuple[object, object, str]:
        document = await self.tasks.document(task.id)
        return document["state"], document["reason"], str(document["reason_text"])


async def settle() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


@pytest.fixture
async def node(anyio_backend: str) -> AsyncIterator[Node]:
    node = Node()
    await node.tasks.open()
    yield node
    await node.tasks.close()


async def test_what_does_not_fit_is_refused_until_something_ends(node: Node) -> None:
    first = await node.start("first")
    with pytest.raises(NoCapacity, match=NO_ROOM):
        await node.start("second")
    assert await node.tasks.list_documents(limit=9, offset=0) != []
    assert len(await node.tasks.list_documents(limit=9, offset=0)) == 1
    await node.flow(first)
    assert (await node.show(first))[0] == "running"
    await node.end(first)
    assert (await node.start("second")).state is State.STARTING


async def test_of_two_calls_at_once_one_takes_the_last_place(node: Node) -> None:
    answers = await asyncio.gather(node.ask("one"), node.ask("two"), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["NoCapacity", "tuple"]


async def test_a_repeated_start_is_not_judged(node: Node) -> None:
    task = await node.start("task")
    assert await node.ask("task") == (task, False)
    assert node.capacity.load.used_cores == pytest.approx(ONE)


async def test_one_that_is_refused_otherwise_books_nothing(node: Node) -> None:
    node.store.close()

    async def broken(work: object) -> None:
        raise OSError("the disk is full")

    node.store.run = broken  # type: ignore[assignment,method-assign]
    with pytest.raises(OSError, match="disk"):
        await node.start("task")
    assert node.capacity.load.used_cores == 0
    node.store.__init__()  # type: ignore[misc]
    del node.store.run


async def test_a_scheduled_one_costs_nothing_before_its_time(node: Node) -> None:
    later = replace(SPEC, start_at=int(node.now) + 100)
    tasks = [await node.start(f"task-{n}", later) for n in range(20)]
    assert node.capacity.load.used_cores == 0
    await node.wait(98)  # it is opened a little before
    assert [node.process_of(task) is not None for task in tasks] == [True] + 19 * [False]


async def test_a_scheduled_one_waits_for_room_and_goes_before_later_calls(node: Node) -> None:
    first = await node.start("first")
    await node.flow(first)
    scheduled = await node.start("scheduled", replace(SPEC, start_at=int(node.now) + 10))
    await node.wait(10)
    await node.wait(1)
    state, _, text = await node.show(scheduled)
    assert (state, text.startswith("waiting for capacity: the task needs ")) == ("starting", True)
    with pytest.raises(NoCapacity):
        await node.start("small", SMALL)
    await node.wait(28)
    await node.end(first)
    await node.wait(1)
    await node.flow(scheduled)
    assert (await node.show(scheduled))[0] == "running"


async def test_a_scheduled_one_that_finds_no_room_fails_with_the_reason(node: Node) -> None:
    first = await node.start("first")
    await node.flow(first)
    scheduled = await node.start("scheduled", replace(SPEC, start_at=int(node.now) + 10))
    await node.wait(10)
    await node.wait(29)
    assert (await node.show(scheduled))[0] == "starting"
    await node.wait(1)
    state, reason, text = await node.show(scheduled)
    assert (state, reason) == ("failed", "no_capacity")
    assert text.startswith("the task needs ")
    await node.start("small", SMALL)  # nobody waits any more
    assert (await node.show(first))[0] == "running"


async def test_an_update_to_more_is_judged_and_one_to_less_is_not(node: Node) -> None:
    first, second = await node.start("first"), await node.start("second", COPY)
    for task in (first, second):
        await node.flow(task)
    with pytest.raises(NoCapacity, match=r"the task needs 0\.\d{3} cores"):
        await node.tasks.update_relay(APP, ROOM, TaskId("second"), lambda spec: SPEC)
    assert (await node.show(second))[0] == "running"
    used = node.capacity.load.used_cores
    await node.tasks.update_relay(APP, ROOM, TaskId("first"), lambda spec: SMALL)
    assert node.capacity.load.used_cores < used
    await node.tasks.update_relay(APP, ROOM, TaskId("second"), lambda spec: SPEC)


async def test_an_update_that_is_not_made_leaves_the_booking(node: Node) -> None:
    task = await node.start("task")
    await node.flow(task)

    def broken(spec: RelaySpec) -> RelaySpec:
        raise NoCapacity("not now")

    with pytest.raises(NoCapacity, match="not now"):
        await node.tasks.update_relay(APP, ROOM, TaskId("task"), broken)
    assert node.capacity.load.used_cores == pytest.approx(ONE)


async def test_a_source_that_needs_more_than_was_thought_ends_before_it_plays(node: Node) -> None:
    first, copy = await node.start("first"), await node.start("copy", COPY)
    process = node.process_of(copy)
    assert process is not None
    process.report(Planned(run_id=copy.id, plan=REORDERED))
    assert process.told[-1] == StopSession(run_id=copy.id)
    process.report(Finished(run_id=copy.id, reason=Reason.STOPPED.code, text=""))
    await settle()
    state, reason, text = await node.show(copy)
    assert (state, reason) == ("failed", "no_capacity")
    assert text.startswith("the task needs ")
    assert (await node.show(first))[0] == "starting"


async def test_one_that_plays_already_is_booked_with_what_it_needs(node: Node) -> None:
    first, copy = await node.start("first"), await node.start("copy", COPY)
    await node.flow(first)
    process = await node.flow(copy)
    process.report(Planned(run_id=copy.id, plan=REORDERED))
    await settle()
    assert (await node.show(copy))[0] == "running"
    as_planned = estimate(COPY, Source(video=TrackAction.TRANSCODE))
    assert node.capacity.load.used_cores == pytest.approx(ONE + as_planned.cores)


async def test_what_ran_before_a_restart_runs_on_whatever_it_costs() -> None:
    node = Node(tasks=3)
    await node.tasks.open()
    tasks = [await node.start(f"task-{n}") for n in range(3)]
    await node.flow(tasks[0])
    await node.restart(tasks=1)
    assert all(node.process_of(task) for task in tasks)
    assert node.capacity.load.used_cores == pytest.approx(3 * ONE)
    with pytest.raises(NoCapacity, match=r"0\.000 of"):
        await node.start("more", SMALL)
    process = node.process_of(tasks[1])
    assert process is not None
    process.report(Planned(run_id=tasks[1].id, plan=REORDERED))
    await settle()
    assert (await node.show(tasks[1]))[0] == "starting"
    await node.tasks.close()


async def test_a_run_goes_where_most_is_free() -> None:
    node = Node(tasks=100)
    await node.tasks.open()
    heavy = await node.start("heavy")
    light = [await node.start(f"light-{n}", COPY) for n in range(3)]
    assert node.process_of(heavy) is node.media.pool[0]
    assert [node.process_of(task) for task in light] == 3 * [node.media.pool[1]]
    await node.tasks.close()


async def test_a_run_whose_process_died_is_not_judged_again(node: Node) -> None:
    task = await node.start("task")
    process = await node.flow(task)
    node.capacity._capacity.refused_for = "the machine is overloaded"
    process.die()
    await node.wait(1)
    assert [bool(p.jobs) for p in node.media.apart] == [True]


async def test_what_a_process_really_uses_corrects_its_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(tasks=10)
    await node.tasks.open()
    used_s = {1: 0.0, 2: 0.0}
    monkeypatch.setattr(module, "cpu_s", used_s.__getitem__)
    for number, process in enumerate(node.media.pool, 1):
        process.pid = number
    task, other = await node.start("task"), await node.start("other")
    for each in (task, other):
        await node.flow(each)
    media = node.capacity.cores_of(task.id)
    for _ in range(4):
        used_s[1] += 5.0  # it opens its source, and reads ahead
        await node.watch(1)
    assert node.capacity.cores_of(task.id) == media
    for _ in range(40):
        used_s[1] += 2 * media
        used_s[2] += media
        await node.watch(1)
    assert node.capacity.cores_of(task.id) == pytest.approx(2 * media, rel=0.05)
    assert node.capacity.cores_of(other.id) == pytest.approx(media, rel=0.05)
    node.lag("room-0", 0.1)
    for _ in range(40):
        await node.watch(1)  # they hardly get a core
    assert node.capacity.cores_of(task.id) == pytest.approx(2 * media, rel=0.1)
    assert node.capacity.figures()[USED_CORES.name][""] == node.capacity.load.used_cores
    assert node.capacity.figures()[CAPACITY_CORES.name] == {"": pytest.approx(10 * ONE)}
    await node.tasks.close()


async def test_when_rooms_are_late_pictures_give_way_and_then_new_tasks() -> None:
    node = Node(tasks=10)
    await node.tasks.open()
    task = await node.start("task")
    process = await node.flow(task)
    node.lag("room-0", 0.08)
    await node.watch(1)
    assert process.told[-1] == Relieve(shown=2)
    await node.start("second")
    await node.watch(4)
    assert process.told[-1] == Relieve(shown=4)
    with pytest.raises(NoCapacity, match=r"overloaded \(its event loops are up to 80 ms late\); try again"):
        await node.start("third")
    died, beside = node.media.pool
    died.die()
    died.live()  # the next life is told, too
    assert died.told[-1] == Relieve(shown=4) or beside.told[-1] == Relieve(shown=4)
    node.lag("room-0", 0.01)
    await node.watch(40)
    assert Relieve(shown=1) in beside.told
    await node.start("third")
    assert (await node.show(task))[0] in ("running", "recovering")
    await node.tasks.close()


async def test_one_media_process_that_is_late_is_not_the_machine() -> None:
    node = Node(tasks=10)
    node.lag("media-0", 0.5)
    node.lag("media-1", 0.01)
    await node.watch(10)
    assert [process.told for process in node.media.pool] == [[], []]
    node.lag("media-1", 0.5)
    await node.watch(1)
    assert [process.told for process in node.media.pool] == 2 * [[Relieve(shown=2)]]


async def test_without_a_limit_nothing_gives_way() -> None:
    node = Node()
    node.capacity = NodeCapacity(ledger=node.ledger, clock=lambda: node.now)
    node.lag("room-0", 0.5)
    await node.watch(10)
    assert [process.told for process in node.media.pool] == [[], []]
    assert node.capacity.load.refused_for == ""
