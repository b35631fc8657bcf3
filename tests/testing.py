"""Hand-written fakes, one per port, that keep the port's promises in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.pool import StaticPool

from sluice.core.errors import TaskNotFound
from sluice.core.ids import AppId, PeerId, RoomId, RunId, TaskId, UserId, new_run_id
from sluice.core.lifecycle import Reason, State
from sluice.core.tasks import Kind, PushSpec, RelaySpec, S, Task, kind_of
from sluice.process.control import Message, PushJob, RelayJob, StartPush, StartSession
from sluice.rooms.port import (
    PatchAnswer,
    PatchOutcome,
    PeerAnswer,
    PeerPatch,
    PublishOffer,
    RoomEvent,
    RoomEventKind,
    RosterEntry,
    WatchOffer,
)
from sluice.store.schema import metadata
from sluice.tasks.port import StartRequest

_T = TypeVar("_T")


class FakeTasks:
    """`sluice.tasks.port.Tasks`; a task starts as `starting` and ends when it is stopped."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.runs: list[Task[Any]] = []
        #: Raised by the next start, to play a failure.
        self.start_error: Exception | None = None
        self._clock = clock

    async def find_live(
        self, kind: Kind, app_id: AppId, room_id: RoomId, task_id: TaskId
    ) -> Task[Any] | None:
        identity = (kind, app_id, room_id, task_id)
        return next((task for task in self.runs if task.state.live and _identity(task) == identity), None)

    async def start(self, request: StartRequest[S]) -> tuple[Task[S], bool]:
        if self.start_error is not None:
            raise self.start_error
        kind = kind_of(request.spec)
        live = await self.find_live(kind, request.app_id, request.room_id, request.task_id)
        if live is not None:
            return live, False
        task = Task(
            id=new_run_id(),
            kind=kind,
            dialect=request.dialect,
            app_id=request.app_id,
            room_id=request.room_id,
            task_id=request.task_id,
            user_id=request.user_id,
            business_id=request.business_id,
            spec=request.spec,
            state=State.STARTING,
            reason=Reason.NONE,
            reason_text="",
            created_at=self._clock(),
        )
        self.runs.append(task)
        return task, True

    async def update_relay(
        self, app_id: AppId, room_id: RoomId, task_id: TaskId, change: Callable[[RelaySpec], RelaySpec]
    ) -> None:
        task = await self.find_live(Kind.RELAY, app_id, room_id, task_id)
        if task is None:
            raise TaskNotFound("no live task has this identity")
        self.runs[self.runs.index(task)] = replace(task, spec=change(task.spec))

    async def stop_task(self, kind: Kind, app_id: AppId, room_id: RoomId, task_id: TaskId) -> None:
        task = await self.find_live(kind, app_id, room_id, task_id)
        if task is None:
            raise TaskNotFound("no live task has this identity")
        await self.stop(task.id)

    async def latest_push(self, app_id: AppId, room_id: RoomId, task_id: TaskId) -> Task[PushSpec] | None:
        identity = (Kind.PUSH, app_id, room_id, task_id)
        return next((task for task in reversed(self.runs) if _identity(task) == identity), None)

    async def list_relays(
        self, app_id: AppId, room_id: RoomId, *, offset: int, limit: int, newest_first: bool
    ) -> list[Task[RelaySpec]]:
        latest = {
            task.task_id: task
            for task in self.runs
            if (task.kind, task.app_id, task.room_id) == (Kind.RELAY, app_id, room_id)
        }
        ordered = sorted(latest.values(), key=self.runs.index, reverse=newest_first)
        return ordered[offset : offset + limit]

    async def list_documents(self, *, limit: int, offset: int) -> list[dict[str, object]]:
        return [_document(task) for task in reversed(self.runs)][offset : offset + limit]

    async def document(self, run_id: RunId) -> dict[str, object]:
        return _document(self._run(run_id))

    async def stop(self, run_id: RunId) -> None:
        task = self._run(run_id)
        if not task.state.live:
            raise TaskNotFound(f"the task {run_id} has ended")
        stopped = replace(task, state=State.ENDED, reason=Reason.STOPPED, ended_at=self._clock())
        self.runs[self.runs.index(task)] = stopped

    def _run(self, run_id: RunId) -> Task[Any]:
        for task in self.runs:
            if task.id == run_id:
                return task
        raise TaskNotFound(f"there is no task {run_id}")


def _identity(task: Task[Any]) -> tuple[Kind, AppId, RoomId, TaskId]:
    return task.kind, task.app_id, task.room_id, task.task_id


def _document(task: Task[Any]) -> dict[str, object]:
    return {"id": task.id, "kind": task.kind.value, "state": task.state.value, "task_id": task.task_id}


class FakeRooms:
    """`sluice.rooms.port.RoomEngine`: answers every offer, and tells what the test puts into `events_of`."""

    def __init__(self) -> None:
        self.offers: list[WatchOffer | PublishOffer] = []
        self.peers: set[PeerId] = set()
        self.patches: list[PeerPatch] = []
        self.patched = PatchAnswer(PatchOutcome.TAKEN)  #: what the next patches are answered
        self.roster: tuple[RosterEntry, ...] = ()
        self.present: list[UserId] = []  #: who holds an event stream
        self.told: asyncio.Queue[RoomEvent | None] = asyncio.Queue()  #: None ends the stream
        #: Raised by the next request, to play a failure.
        self.error: Exception | None = None

    async def watch(self, offer: WatchOffer) -> PeerAnswer:
        return self._answer(offer)

    async def publish(self, offer: PublishOffer) -> PeerAnswer:
        return self._answer(offer)

    def _answer(self, offer: WatchOffer | PublishOffer) -> PeerAnswer:
        if self.error is not None:
            raise self.error
        self.offers.append(offer)
        answer = PeerAnswer(PeerId(f"peer_{len(self.offers)}"), f"ice-{len(self.offers)}", "v=0 answer")
        self.peers.add(answer.peer_id)
        return answer

    async def patch_peer(self, patch: PeerPatch) -> PatchAnswer:
        if self.error is not None:
            raise self.error
        self.patches.append(patch)
        return self.patched

    async def close_peer(self, peer_id: PeerId) -> bool:
        if self.error is not None:
            raise self.error
        found = peer_id in self.peers
        self.peers.discard(peer_id)
        return found

    @asynccontextmanager
    async def events(
        self, app_id: AppId, room_id: RoomId, user_id: UserId
    ) -> AsyncIterator[AsyncIterator[RoomEvent]]:
        if self.error is not None:
            raise self.error
        self.present.append(user_id)
        try:
            yield self._events()
        finally:
            self.present.remove(user_id)

    async def _events(self) -> AsyncIterator[RoomEvent]:
        yield RoomEvent(RoomEventKind.ROSTER, roster=self.roster)
        while (told := await self.told.get()) is not None:
            yield told


class FakeRunRooms:
    """`sluice.rooms.port.RunRooms`; `retired` are the runs whose users left."""

    def __init__(self) -> None:
        self.retired: list[RunId] = []

    def link_of(self, app_id: AppId, room_id: RoomId) -> str:
        return f"link of {app_id} {room_id}"

    def retire(self, app_id: AppId, room_id: RoomId, run_id: RunId) -> None:
        self.retired.append(run_id)


class FakeProcess:
    """A media process (`sluice.process.supervisor.Supervised`) that does nothing by itself."""

    def __init__(self, media: "FakeMedia") -> None:
        self.ready = True
        self.told: list[Message] = []
        self._media = media

    def notify(self, message: Message) -> bool:
        if self.ready:
            self.told.append(message)
        return self.ready

    @property
    def jobs(self) -> list[RelayJob]:
        return [message.job for message in self.told if isinstance(message, StartSession)]

    @property
    def pushes(self) -> list[PushJob]:
        return [message.job for message in self.told if isinstance(message, StartPush)]

    def report(self, message: Message) -> None:
        self._media.on_notice(self, message)

    def die(self) -> None:
        self.ready = False
        self._media.on_death(self)

    def live(self) -> None:
        self.ready = True
        self._media.on_ready(self)


class FakeMedia:
    """`sluice.tasks.placement.MediaProcesses` of `count` fake processes, all ready."""

    def __init__(self, count: int) -> None:
        self.on_notice: Callable[[Any, Message], None] = lambda process, message: None
        self.on_ready: Callable[[Any], None] = lambda process: None
        self.on_death: Callable[[Any], None] = lambda process: None
        self.processes = [FakeProcess(self) for _ in range(count)]

    def least_loaded(self, sessions: dict[FakeProcess, int]) -> FakeProcess | None:
        living = [process for process in self.processes if process.ready]
        return min(living, key=lambda process: sessions.get(process, 0), default=None)


class MemoryStore:
    """`sluice.store.thread.Store` in memory and on the caller's thread: each `run` is one transaction."""

    def __init__(self) -> None:
        self._engine = create_engine("sqlite://", poolclass=StaticPool)
        event.listen(self._engine, "connect", _no_transactions_of_the_driver)
        event.listen(self._engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        metadata.create_all(self._engine)

    async def run(self, work: Callable[[Connection], _T]) -> _T:
        with self._engine.begin() as connection:
            return work(connection)

    def close(self) -> None:
        self._engine.dispose()


def _no_transactions_of_the_driver(connection: Any, record: object) -> None:
    connection.isolation_level = None


class FakeSocket:
    """The sending side of `sluice.rooms.engine.socket.MediaSocket`: keeps each packet as header and rest."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, bytes]] = []

    def send_runs(
        self, sealed: Sequence[bytes], runs: Sequence[tuple[int, int, int]], overhead: int, address: object
    ) -> None:
        for start, end, size in runs:
            for n in range(start, end):
                header, rest = sealed[2 * n], sealed[2 * n + 1]
                # What the kernel cuts out of one buffer: all of one length but the last.
                whole = len(header) + len(rest)
                assert whole == size + overhead or (n == end - 1 and whole < size + overhead)
                self.sent.append((header, rest))

    def take(self) -> list[tuple[bytes, bytes]]:
        """What was sent since the last take."""
        sent, self.sent = self.sent, []
        return sent
