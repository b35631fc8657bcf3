"""Hand-written fakes, one per port, that keep the port's promises in memory."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

from sqlalchemy import Connection, create_engine, event, insert, select
from sqlalchemy.pool import StaticPool

from sluice.core.callbacks import CallbackNotFound, EventKind, Registration, RegistrationRefused
from sluice.core.errors import TaskNotFound
from sluice.core.ids import AppId, BotId, BusinessId, PeerId, RoomId, RunId, TaskId, UserId, new_run_id
from sluice.core.lifecycle import Reason, State
from sluice.core.tasks import Kind, PlaybackChange, PushSpec, RelaySpec, S, Task
from sluice.process.channel import ChannelClosed
from sluice.process.control import Done, Message, PushJob, RelayJob, StartPush, StartSession
from sluice.process.supervisor import ChildSpec
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
from sluice.store.registrations import create as create_registration
from sluice.store.schema import apps, metadata
from sluice.store.thread import WAKEUPS
from sluice.tasks.port import StartRequest

_T = TypeVar("_T")


class FakeTasks:
    """`sluice.tasks.port.Tasks`; a task starts as `starting` and ends when it is stopped."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.runs: list[Task[Any]] = []
        #: Raised by the next start, to play a failure.
        self.start_error: Exception | None = None
        self.controlled: list[PlaybackChange] = []
        #: Raised by the next control, to play a failure.
        self.control_error: Exception | None = None
        self._clock = clock

    async def find_live(
        self, kind: Kind, app_id: AppId, room_id: RoomId, task_id: TaskId
    ) -> Task[Any] | None:
        identity = (kind, app_id, room_id, task_id)
        return next((task for task in self.runs if task.state.live and _identity(task) == identity), None)

    async def start(self, request: StartRequest[S]) -> tuple[Task[S], bool]:
        if self.start_error is not None:
            raise self.start_error
        kind = request.spec.kind
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
            bot_id=request.bot_id,
        )
        self.runs.append(task)
        return task, True

    async def find_of_bot(self, bot_id: BotId, task_id: TaskId) -> Task[RelaySpec] | None:
        return next((task for task in self.runs if (task.bot_id, task.task_id) == (bot_id, task_id)), None)

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

    async def remove(self, app_id: AppId, room_id: RoomId | None, user_id: UserId | None) -> None:
        for task in [task for task in self.runs if task.state.live and task.app_id == app_id]:
            if room_id in (None, task.room_id) and user_id in (None, task.user_id):
                removed = replace(task, state=State.ENDED, reason=Reason.REMOVED, ended_at=self._clock())
                self.runs[self.runs.index(task)] = removed

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

    async def control(self, run_id: RunId, control: PlaybackChange) -> None:
        if self.control_error is not None:
            raise self.control_error
        self._run(run_id)
        self.controlled.append(control)

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
        self.closed: list[UserId] = []  #: who has ended a peer
        self.patches: list[PeerPatch] = []
        self.patched = PatchAnswer(PatchOutcome.TAKEN)  #: what the next patches are answered
        self.sends: list[set[str]] = []  #: what peers said that they send
        self.users: tuple[RosterEntry, ...] = ()
        self.expelled: list[tuple[RoomId | None, UserId | None]] = []
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

    async def peer_sends(
        self, app_id: AppId, room_id: RoomId, user_id: UserId, peer_id: PeerId, kinds: Collection[str]
    ) -> bool:
        if self.error is not None:
            raise self.error
        self.sends.append(set(kinds))
        return peer_id in self.peers

    async def close_peer(self, app_id: AppId, room_id: RoomId, user_id: UserId, peer_id: PeerId) -> bool:
        if self.error is not None:
            raise self.error
        found = peer_id in self.peers
        self.peers.discard(peer_id)
        self.closed += [user_id] if found else []
        return found

    async def roster(self, app_id: AppId, room_id: RoomId) -> tuple[RosterEntry, ...]:
        if self.error is not None:
            raise self.error
        return self.users

    async def expel(self, app_id: AppId, room_id: RoomId | None, user_id: UserId | None) -> None:
        if self.error is not None:
            raise self.error
        self.expelled.append((room_id, user_id))

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
        yield RoomEvent(RoomEventKind.ROSTER, roster=self.users)
        while (told := await self.told.get()) is not None:
            yield told


class FakeBans:
    """`sluice.rooms.port.Bans`: `until` is what was asked last for a room and a user; in force for ever."""

    def __init__(self) -> None:
        self.until: dict[tuple[RoomId | None, UserId | None], float | None] = {}
        #: Called when somebody asks, before the answer is made.
        self.on_ask: Callable[[], None] = lambda: None

    async def ban(
        self, app_id: AppId, room_id: RoomId | None, user_id: UserId | None, until: float | None
    ) -> None:
        self.until[room_id, user_id] = until

    async def barred(self, app_id: AppId, room_id: RoomId, user_id: UserId) -> bool:
        self.on_ask()
        keys = ((room_id, user_id), (room_id, None), (None, user_id))
        return any(self.until.get(key) is not None for key in keys)


class FakeCallbacks:
    """`sluice.callbacks.port.Callbacks`; `replayed` are the events that were sent again."""

    def __init__(self) -> None:
        self.registered: dict[tuple[AppId, BusinessId], Registration] = {}
        self.documents: list[dict[str, object]] = []
        self.replayed: list[str] = []

    async def create(self, registration: Registration) -> None:
        key = registration.app_id, registration.business_id
        if key in self.registered:
            raise RegistrationRefused("callback already exists")
        self.registered[key] = registration

    async def change(self, registration: Registration) -> None:
        known = self._changeable(registration.app_id, registration.business_id)
        changed = replace(registration, created_at=known.created_at)
        self.registered[known.app_id, known.business_id] = changed

    async def remove(self, app_id: AppId, business_id: BusinessId) -> None:
        self._changeable(app_id, business_id)
        del self.registered[app_id, business_id]

    async def registrations(self, app_id: AppId) -> list[Registration]:
        return [self.registered[key] for key in sorted(self.registered) if key[0] == app_id]

    async def list_documents(self, status: str | None, *, limit: int, offset: int) -> list[dict[str, object]]:
        wanted = [document for document in self.documents if status in (None, document["state"])]
        return wanted[offset : offset + limit]

    async def replay(self, event_id: str) -> dict[str, object]:
        for document in self.documents:
            if document["event_id"] == event_id:
                self.replayed.append(event_id)
                return document
        raise CallbackNotFound(f"there is no event {event_id}")

    def _changeable(self, app_id: AppId, business_id: BusinessId) -> Registration:
        registration = self.registered.get((app_id, business_id))
        if registration is None:
            raise RegistrationRefused("callback does not exist")
        if registration.from_config:
            raise RegistrationRefused("this callback is set in sluice.toml")
        return registration


class FakeRunRooms:
    """`sluice.rooms.port.RunRooms`; `retired` are the runs whose users left."""

    def __init__(self) -> None:
        self.retired: list[RunId] = []

    def link_of(self, app_id: AppId, room_id: RoomId) -> str:
        return f"link of {app_id} {room_id}"

    def retire(self, app_id: AppId, room_id: RoomId, run_id: RunId) -> None:
        self.retired.append(run_id)


async def done(message: Message) -> Message:
    return Done(found=True)


class FakeProcess:
    """A media process (`sluice.process.supervisor.Supervised`) that does nothing by itself."""

    def __init__(self, media: "FakeMedia", name: str = "media") -> None:
        self.spec = ChildSpec(name, "")
        self.ready = True
        self.told: list[Message] = []
        self.asked: list[Message] = []
        #: What requests are answered; an exception is raised. A test may replace it.
        self.answer: Callable[[Message], Awaitable[Message]] = done
        self._media = media

    async def request(self, message: Message) -> Message:
        if not self.ready:
            raise ChannelClosed("the process is not running")
        self.asked.append(message)
        return await self.answer(message)

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
    """`sluice.tasks.media_pool.MediaPool` of `count` fake processes, all ready. Those apart are so at
    once unless they are `slow`."""

    def __init__(self, count: int, most_apart: int = 8) -> None:
        self.on_notice: Callable[[Any, Message], None] = lambda process, message: None
        self.on_ready: Callable[[Any], None] = lambda process: None
        self.on_death: Callable[[Any], None] = lambda process: None
        self.on_failure: Callable[[Any], None] = lambda process: None
        self.pool = [FakeProcess(self, f"media-{n}") for n in range(count)]
        self.apart: list[FakeProcess] = []
        self.most_apart, self.slow = most_apart, False

    @property
    def processes(self) -> list[FakeProcess]:
        return [*self.pool, *self.apart]

    def least_loaded(
        self, sessions: Mapping[FakeProcess, int], avoided: Collection[FakeProcess] = ()
    ) -> FakeProcess | None:
        living = [process for process in self.pool if process.ready]
        return min(living, key=lambda one: (one in avoided, sessions.get(one, 0)), default=None)

    @property
    def room(self) -> int:
        return self.most_apart - len(self.apart)

    def take_apart(self) -> FakeProcess | None:
        if not self.room:
            return None
        self.apart.append(FakeProcess(self, f"apart-{len(self.apart)}"))
        self.apart[-1].ready = not self.slow
        return self.apart[-1]

    def release(self, process: FakeProcess) -> bool:
        if process not in self.apart:
            return False
        self.apart.remove(process)
        return True


class MemoryStore:
    """`sluice.store.thread.Store` in memory and on the caller's thread: each `run` is one transaction."""

    def __init__(self) -> None:
        self._engine = create_engine("sqlite://", poolclass=StaticPool)
        event.listen(self._engine, "connect", _no_transactions_of_the_driver)
        event.listen(self._engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        metadata.create_all(self._engine)

        self.on_wakeup: Callable[[str], None] = lambda topic: None

    async def run(self, work: Callable[[Connection], _T]) -> _T:
        with self._engine.begin() as connection:
            result = work(connection)
            wakeups = connection.info.pop(WAKEUPS, set())
        for topic in wakeups:
            self.on_wakeup(topic)
        return result

    def close(self) -> None:
        self._engine.dispose()


def register(
    conn: Connection,
    app_id: str,
    *,
    business_id: str = "",
    url: str = "http://receiver/",
    events: Iterable[EventKind] = EventKind,
) -> Registration:
    """An app, where there is none, and who is told of its events."""
    if conn.scalar(select(apps.c.app_id).where(apps.c.app_id == app_id)) is None:
        conn.execute(insert(apps).values(app_id=app_id, app_key="key", created_at=0))
    registration = Registration(
        app_id=AppId(app_id),
        business_id=BusinessId(business_id),
        url=url,
        secret="callback-secret",
        events=tuple(kind.value for kind in events),
        created_at=0,
        updated_at=0,
    )
    create_registration(conn, registration)
    return registration


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
