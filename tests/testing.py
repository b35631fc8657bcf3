"""Hand-written fakes, one per port, that keep the port's promises in memory."""

import asyncio
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from typing import Any, Literal, TypeVar

from sqlalchemy import Connection, create_engine, event, insert, select
from sqlalchemy.pool import StaticPool

from sluice.core.callbacks import (
    CallbackNotFound,
    EventKind,
    NotRegistered,
    Registration,
    RegistrationRefused,
)
from sluice.core.errors import AccessRefused, BadInput, TaskNotFound
from sluice.core.ids import AppId, BotId, BusinessId, PeerId, RoomId, RunId, TaskId, UserId, new_run_id
from sluice.core.lifecycle import Reason, State
from sluice.core.room_documents import (
    PeerReport,
    PeerRole,
    PeerTraffic,
    RoomCounts,
    RoomDocument,
    RoomSummary,
    RoomUser,
    StreamOrigin,
    StreamReport,
    ViewersReport,
    Watched,
)
from sluice.core.rooms import (
    LinkAddress,
    PatchAnswer,
    PatchOutcome,
    PeerAnswer,
    PeerPatch,
    PublishedStream,
    PublishOffer,
    RoomChange,
    RoomEvent,
    RoomEventKind,
    RosterEntry,
    StreamIndex,
    StreamMedia,
    WatchOffer,
)
from sluice.core.tasks import Kind, PlaybackChange, PushSpec, RelaySpec, S, Task
from sluice.process.channel import ChannelClosed
from sluice.process.control import Done, Message, PushJob, RelayJob, StartPush, StartSession
from sluice.process.supervisor import ChildSpec
from sluice.rooms.port import RoomListener
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

    async def list_documents(
        self, *, limit: int, offset: int, begins: str = "", app_id: AppId | None = None
    ) -> list[dict[str, object]]:
        wanted = [
            task
            for task in reversed(self.runs)
            if task.id.startswith(begins) and app_id in (None, task.app_id)
        ]
        return [_document(task) for task in wanted][offset : offset + limit]

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


_RoomKey = tuple[AppId, RoomId]
_SOUND = StreamMedia(("audio",))


class _FakeRoom:
    """Who is in a room by which holders, what is published, and who reads its events."""

    def __init__(self) -> None:
        self.holders: dict[UserId, set[str]] = {}
        self.streams: dict[tuple[UserId, StreamIndex], tuple[str, StreamMedia]] = {}  #: with the publisher
        self.readers: dict[asyncio.Queue[RoomEvent | None], UserId] = {}

    def roster(self) -> tuple[RosterEntry, ...]:
        return tuple(RosterEntry(user_id, tuple(self._streams_of(user_id))) for user_id in self.holders)

    def _streams_of(self, user_id: UserId) -> Iterator[PublishedStream]:
        for stream in StreamIndex:
            if (user_id, stream) in self.streams:
                yield PublishedStream(stream, self.streams[user_id, stream][1])


class FakeRooms:
    """`sluice.rooms.port.Rooms` in memory. An offer is one if it begins with v=0. Who has nothing left that
    holds him in a room leaves it at once. `play` is what a media session does, `lose` what a crash does."""

    def __init__(self) -> None:
        self.offers: list[WatchOffer | PublishOffer] = []
        self.peers: dict[PeerId, tuple[_RoomKey, UserId]] = {}
        self.closed: list[UserId] = []  #: who has ended a peer
        self.patches: list[PeerPatch] = []
        #: What patches are answered, instead of the truth.
        self.patched: PatchAnswer | None = None
        self.sends: list[set[str]] = []  #: what peers said that they send
        self.expelled: list[tuple[RoomId | None, UserId | None]] = []
        #: Raised by requests, to play a failure.
        self.error: Exception | None = None
        self.on_silence: Callable[[Callable[[AppId, RoomId], bool], bool], None] = lambda has, silent: None
        self._held: dict[RunId, tuple[AppId, RoomId, UserId]] = {}
        self._rooms: dict[_RoomKey, _FakeRoom] = {}
        self._publishing: set[PeerId] = set()
        self._watched_by: dict[PeerId, UserId] = {}  #: or published
        self._replaced: set[str] = set()
        self._listener: RoomListener | None = None
        self._numbers = count(1)

    @property
    def present(self) -> list[UserId]:
        """Who holds an event stream."""
        return [user for room in self._rooms.values() for user in room.readers.values()]

    # --- what sessions and crashes do ---------------------------------------------------------------------

    def enter(self, app_id: AppId, room_id: RoomId, user_id: UserId, holder: str, device: str = "") -> None:
        key = app_id, room_id
        holders = self._rooms.setdefault(key, _FakeRoom()).holders
        if user_id not in holders:
            self._tell(RoomChange(*key, RoomEventKind.JOINED, user_id, device=device))
        holders.setdefault(user_id, set()).add(holder)

    def play(
        self,
        app_id: AppId,
        room_id: RoomId,
        user_id: UserId,
        run_id: RunId,
        media: StreamMedia = _SOUND,
        stream: StreamIndex = StreamIndex.CAMERA,
    ) -> None:
        """The run's session publishes this from now on, and no other."""
        key = app_id, room_id
        before, _ = self._rooms.setdefault(key, _FakeRoom()).streams.get((user_id, stream), (run_id, media))
        if before != run_id:
            self._replaced.add(before)
            self._drop(key, before)
        self.enter(app_id, room_id, user_id, run_id, device="server")
        streams = self._rooms[app_id, room_id].streams
        kind = RoomEventKind.MEDIA if (user_id, stream) in streams else RoomEventKind.PUBLISHED
        streams[user_id, stream] = run_id, media
        self._tell(RoomChange(app_id, room_id, kind, user_id, stream, media=media))

    def lose(self) -> None:
        """All rooms are gone, as when the process that had them died."""
        lost, self._rooms = self._rooms, {}
        self.peers.clear()
        if self._listener is not None:
            self._listener.on_loss(lambda app_id, room_id: True)
        for room in lost.values():
            for reader in room.readers:
                reader.put_nowait(None)
        for run_id, who in self._held.items():
            self.enter(*who, run_id, device="server")

    # --- the port -----------------------------------------------------------------------------------------

    def listen(self, listener: RoomListener) -> None:
        self._listener = listener

    def link_of(self, app_id: AppId, room_id: RoomId) -> LinkAddress:
        return LinkAddress(f"link of {app_id} {room_id}")

    def is_silent(self, app_id: AppId, room_id: RoomId) -> bool:
        return False

    def hold(self, app_id: AppId, room_id: RoomId, user_id: UserId, run_id: RunId) -> None:
        self._held[run_id] = app_id, room_id, user_id
        if run_id not in self._replaced:
            self.enter(app_id, room_id, user_id, run_id, device="server")

    def retire(self, app_id: AppId, room_id: RoomId, run_id: RunId) -> None:
        self._held.pop(run_id, None)
        self._drop((app_id, room_id), run_id)

    async def watch(self, offer: WatchOffer) -> PeerAnswer:
        return self._answer(offer, offer.viewer)

    async def publish(self, offer: PublishOffer) -> PeerAnswer:
        for kind in ("audio", "video"):
            if f"m={kind}" in offer.sdp and kind not in offer.kinds:
                raise AccessRefused(f"the token does not allow {kind}", known=True)
        answer = self._answer(offer, offer.user_id)
        for peer_id in self._publishing & set(self.peers):
            if self.peers[peer_id] == self.peers[answer.peer_id]:
                self._replaced.add(peer_id)
                self._end(peer_id)
        self._publishing.add(answer.peer_id)
        return answer

    def _answer(self, offer: WatchOffer | PublishOffer, user_id: UserId) -> PeerAnswer:
        self._fail()
        if not offer.sdp.startswith("v=0"):
            raise BadInput("offer", "must begin with v=0")
        self.offers.append(offer)
        number = next(self._numbers)
        answer = PeerAnswer(PeerId(f"peer_{number}"), f"ice-{number}", "v=0 answer")
        self.peers[answer.peer_id] = (offer.app_id, offer.room_id), user_id
        self._watched_by[answer.peer_id] = offer.user_id
        self.enter(offer.app_id, offer.room_id, user_id, answer.peer_id)
        return answer

    async def patch_peer(self, patch: PeerPatch) -> PatchAnswer:
        self._fail()
        self.patches.append(patch)
        if self.patched is not None:
            return self.patched
        if self.peers.get(patch.peer_id) == ((patch.app_id, patch.room_id), patch.user_id):
            return PatchAnswer(PatchOutcome.TAKEN)
        replaced = patch.peer_id in self._replaced
        return PatchAnswer(PatchOutcome.REPLACED if replaced else PatchOutcome.UNKNOWN)

    async def peer_sends(
        self, app_id: AppId, room_id: RoomId, user_id: UserId, peer_id: PeerId, kinds: Collection[str]
    ) -> bool:
        self._fail()
        self.sends.append(set(kinds))
        theirs = self.peers.get(peer_id) == ((app_id, room_id), user_id)
        return theirs and peer_id in self._publishing

    async def close_peer(self, app_id: AppId, room_id: RoomId, user_id: UserId, peer_id: PeerId) -> bool:
        self._fail()
        if self.peers.get(peer_id) != ((app_id, room_id), user_id):
            return False
        self._end(peer_id)
        self.closed.append(user_id)
        return True

    async def roster(self, app_id: AppId, room_id: RoomId) -> tuple[RosterEntry, ...]:
        self._fail()
        room = self._rooms.get((app_id, room_id))
        return room.roster() if room is not None else ()

    async def rooms(self, after: _RoomKey | None, limit: int) -> tuple[RoomSummary, ...]:
        self._fail()
        there = (key for key, room in self._rooms.items() if room.holders)
        keys = sorted(key for key in there if after is None or key > after)
        return tuple(RoomSummary(*key, self._counts(key)) for key in keys[:limit])

    async def room(self, app_id: AppId, room_id: RoomId, *, offset: int, limit: int) -> RoomDocument | None:
        self._fail()
        key = app_id, room_id
        room = self._rooms.get(key)
        if room is None or not room.holders:
            return None
        page = slice(offset, offset + limit)
        users = [RoomUser(user_id, len(holders)) for user_id, holders in room.holders.items()]
        streams = [_stream_report(name, *published) for name, published in sorted(room.streams.items())]
        peers = [
            self._peer_report(peer_id, user_id)
            for peer_id, (place, user_id) in self.peers.items()
            if place == key
        ]
        parts = tuple(users[page]), tuple(streams[page]), tuple(peers[page])
        return RoomDocument(app_id, room_id, self._counts(key), *parts)

    async def viewers(self, watched: Collection[Watched]) -> Mapping[Watched, ViewersReport]:
        """No peer of a fake connects."""
        if self.error is not None:
            return {}
        return {key: ViewersReport(0) for key in watched}

    def _counts(self, key: _RoomKey) -> RoomCounts:
        room = self._rooms[key]
        connecting = sum(place == key for place, _ in self.peers.values())
        return RoomCounts(len(room.holders), len(room.streams), 0, 0, connecting)

    def _peer_report(self, peer_id: PeerId, user_id: UserId) -> PeerReport:
        publishes = peer_id in self._publishing
        return PeerReport(
            id=peer_id,
            user_id=user_id,
            role=PeerRole.PUBLISHER if publishes else PeerRole.VIEWER,
            state="connecting",
            since=0.0,
            of_user_id=self._watched_by[peer_id],
            stream=StreamIndex.CAMERA,
            network="",
            traffic=PeerTraffic(),
        )

    async def expel(self, app_id: AppId, room_id: RoomId | None, user_id: UserId | None) -> None:
        self._fail()
        self.expelled.append((room_id, user_id))
        for key, room in self._rooms.items():
            if key[0] == app_id and room_id in (None, key[1]):
                for name in [name for name in room.holders if user_id in (None, name)]:
                    self._leave(key, name, why="removed")

    @asynccontextmanager
    async def events(
        self, app_id: AppId, room_id: RoomId, user_id: UserId
    ) -> AsyncIterator[AsyncIterator[RoomEvent]]:
        self._fail()
        holder = f"events_{next(self._numbers)}"
        self.enter(app_id, room_id, user_id, holder)
        room = self._rooms[app_id, room_id]
        told: asyncio.Queue[RoomEvent | None] = asyncio.Queue()
        room.readers[told] = user_id
        told.put_nowait(RoomEvent(RoomEventKind.ROSTER, roster=room.roster()))
        for entry in room.roster():
            for published in entry.streams:
                told.put_nowait(_media_event(entry.user_id, published.stream, published.media))
        try:
            yield _until_none(told)
        finally:
            del room.readers[told]
            self._drop((app_id, room_id), holder)

    # --- inside -------------------------------------------------------------------------------------------

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error

    def _end(self, peer_id: PeerId) -> None:
        key, _ = self.peers.pop(peer_id)
        self._drop(key, peer_id)

    def _drop(self, key: _RoomKey, holder: str) -> None:
        """The holder is gone, and with the last one its user."""
        room = self._rooms.get(key)
        for user_id in [name for name, holders in room.holders.items() if holder in holders] if room else ():
            self._unpublish(key, user_id, holder)
            self._rooms[key].holders[user_id].discard(holder)
            if not self._rooms[key].holders[user_id]:
                self._leave(key, user_id)

    def _leave(self, key: _RoomKey, user_id: UserId, why: Literal["left", "removed"] = "left") -> None:
        room = self._rooms[key]
        for holder in room.holders.pop(user_id):
            self.peers.pop(PeerId(holder), None)
            self._unpublish(key, user_id, holder)
        self._tell(RoomChange(*key, RoomEventKind.LEFT, user_id, why=why))
        for reader, name in room.readers.items():
            if name == user_id:
                reader.put_nowait(None)

    def _unpublish(self, key: _RoomKey, user_id: UserId, publisher: str) -> None:
        streams = self._rooms[key].streams
        for name in [name for name, (who, _) in streams.items() if (who, name[0]) == (publisher, user_id)]:
            del streams[name]
            self._tell(RoomChange(*key, RoomEventKind.UNPUBLISHED, *name))

    def _tell(self, change: RoomChange) -> None:
        if self._listener is not None:
            self._listener.on_change(change)
        for reader in self._rooms[change.app_id, change.room_id].readers:
            if change.kind is not RoomEventKind.MEDIA:
                reader.put_nowait(RoomEvent(change.kind, change.user_id, change.stream))
            if change.stream is not None and change.kind is not RoomEventKind.UNPUBLISHED:
                reader.put_nowait(_media_event(change.user_id, change.stream, change.media))


def _stream_report(name: tuple[UserId, StreamIndex], publisher: str, media: StreamMedia) -> StreamReport:
    origin = StreamOrigin.RELAY
    return StreamReport(*name, origin, publisher, media.kinds, media.wrong, None, None, viewers=0, pushes=0)


def _media_event(user_id: UserId, stream: StreamIndex, media: StreamMedia) -> RoomEvent:
    return RoomEvent(RoomEventKind.MEDIA, user_id, stream, media=media)


async def _until_none(told: "asyncio.Queue[RoomEvent | None]") -> AsyncIterator[RoomEvent]:
    while (event := await told.get()) is not None:
        yield event


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

    async def list_documents(
        self, status: str | None, *, limit: int, offset: int, begins: str = "", app_id: AppId | None = None
    ) -> list[dict[str, object]]:
        wanted = [
            document
            for document in self.documents
            if status in (None, document["state"])
            and str(document["event_id"]).startswith(begins)
            and app_id in (None, document.get("app_id"))
        ]
        return wanted[offset : offset + limit]

    async def document(self, event_id: str) -> dict[str, object]:
        for document in self.documents:
            if document["event_id"] == event_id:
                return document
        raise CallbackNotFound(f"there is no event {event_id}")

    async def replay(self, event_id: str) -> dict[str, object]:
        document = await self.document(event_id)
        self.replayed.append(event_id)
        return document

    def _changeable(self, app_id: AppId, business_id: BusinessId) -> Registration:
        registration = self.registered.get((app_id, business_id))
        if registration is None:
            raise NotRegistered("callback does not exist")
        if registration.from_config:
            raise RegistrationRefused("this callback is set in sluice.toml")
        return registration


class FakeRunRooms:
    """`sluice.rooms.port.RunRooms`; `held` are the runs whose users are there, `retired` those whose users
    left. All rooms are in one process."""

    def __init__(self) -> None:
        self.held: list[RunId] = []
        self.retired: list[RunId] = []
        #: What viewers of users report, and how often somebody asked.
        self.reports: dict[Watched, ViewersReport] = {}
        self.asked = 0
        self.silent = False
        self.on_silence: Callable[[Callable[[AppId, RoomId], bool], bool], None] = lambda has, silent: None

    async def viewers(self, watched: Collection[Watched]) -> Mapping[Watched, ViewersReport]:
        self.asked += 1
        return {key: self.reports[key] for key in watched if key in self.reports}

    def fall_silent(self, silent: bool = True) -> None:
        self.silent = silent
        self.on_silence(lambda app_id, room_id: True, silent)

    def is_silent(self, app_id: AppId, room_id: RoomId) -> bool:
        return self.silent

    def hold(self, app_id: AppId, room_id: RoomId, user_id: UserId, run_id: RunId) -> None:
        self.held.append(run_id)

    def link_of(self, app_id: AppId, room_id: RoomId) -> LinkAddress:
        return LinkAddress(f"link of {app_id} {room_id}")

    def retire(self, app_id: AppId, room_id: RoomId, run_id: RunId) -> None:
        self.retired.append(run_id)


async def done(message: Message) -> Message:
    return Done(found=True)


class FakeProcess:
    """A media process (`sluice.process.supervisor.Supervised`) that does nothing by itself."""

    def __init__(self, media: "FakeMedia", name: str = "media") -> None:
        self.spec = ChildSpec(name, "")
        self.ready = True
        self.pid: int | None = None
        self.silent = False
        self.told: list[Message] = []
        self.asked: list[Message] = []
        #: What requests are answered; an exception is raised. A test may replace it.
        self.answer: Callable[[Message], Awaitable[Message]] = done
        self._media = media

    async def request(self, message: Message, *, deadline_s: float = 5.0) -> Message:
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

    def fall_silent(self, silent: bool = True) -> None:
        self.silent = silent
        self._media.on_silence(self, silent)

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
        self.on_silence: Callable[[Any, bool], None] = lambda process, silent: None
        self.on_failure: Callable[[Any], None] = lambda process: None
        self.pool = [FakeProcess(self, f"media-{n}") for n in range(count)]
        self.apart: list[FakeProcess] = []
        self.most_apart, self.slow = most_apart, False

    @property
    def processes(self) -> list[FakeProcess]:
        return [*self.pool, *self.apart]

    def least_loaded(
        self, cores: Mapping[FakeProcess, float], avoided: Collection[FakeProcess] = ()
    ) -> FakeProcess | None:
        living = [process for process in self.pool if process.ready]
        return min(living, key=lambda one: (one.silent, one in avoided, cores.get(one, 0.0)), default=None)

    async def speed_s(self) -> float | None:
        return None

    def for_strangers(self) -> FakeProcess | None:
        return self.least_loaded({})

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
