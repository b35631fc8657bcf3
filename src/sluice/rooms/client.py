"""The node's side of our own room engine: which room process has a room, requests to it, events from it."""

import asyncio
import secrets
import zlib
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

from sluice.core.errors import AccessRefused, BadInput, Overloaded, RoomError
from sluice.core.ids import AppId, PeerId, RoomId, RunId, UserId
from sluice.core.limits import (
    MOST_ETAG_CHARACTERS,
    MOST_ETAGS,
    MOST_OFFER_BYTES,
    MOST_PEER_ID_CHARACTERS,
)
from sluice.process.channel import ChannelBusy, ChannelClosed, MessageRefused
from sluice.process.control import (
    Answer,
    AskRoster,
    ClosePeer,
    Done,
    Enter,
    Expel,
    Leave,
    Message,
    Patched,
    PatchPeer,
    PeerSends,
    Publish,
    PublishedStream,
    Refused,
    Retire,
    RoomChanged,
    Roster,
    Watch,
)
from sluice.process.supervisor import ChildSpec, Supervised
from sluice.rooms.port import (
    PatchAnswer,
    PatchOutcome,
    PeerAnswer,
    PeerPatch,
    PublishOffer,
    RoomEvent,
    RoomEventKind,
    RosterEntry,
    StreamMedia,
    WatchOffer,
)

#: Events that may wait for one reader; a slower one is cut off and comes back to a fresh roster.
_MOST_WAITING = 256

_Watcher = asyncio.Queue[RoomChanged | None]


class RoomProcesses:
    """Implements rooms.port.RoomEngine and rooms.port.RunRooms on supervised room processes.

    `on_change` gets every change of every room, `on_loss` which rooms went with their process; set them
    before `start`.
    """

    def __init__(self, specs: list[ChildSpec]) -> None:
        self.on_change: Callable[[RoomChanged], None] = lambda change: None
        self.on_loss: Callable[[Callable[[AppId, RoomId], bool]], None] = lambda lost: None
        self._processes = [
            Supervised(spec, on_notice=self._on_notice, on_ready=lambda _: None, on_death=self._on_death)
            for spec in specs
        ]
        self._links = {spec.name: str(spec.config["link"]) for spec in specs}
        self._watchers: dict[tuple[str, str], dict[_Watcher, str]] = {}

    async def start(self) -> None:
        await asyncio.gather(*(process.start() for process in self._processes))

    async def stop(self) -> None:
        await asyncio.gather(*(process.stop() for process in self._processes))

    @property
    def processes(self) -> tuple[Supervised, ...]:
        return tuple(self._processes)

    # --- sessions -----------------------------------------------------------------------------------------

    def link_of(self, app_id: AppId, room_id: RoomId) -> str:
        return self._links[self._process_of(app_id, room_id).spec.name]

    def retire(self, app_id: AppId, room_id: RoomId, run_id: RunId) -> None:
        # A room process that is gone has no user of this run any more.
        self._process_of(app_id, room_id).notify(Retire(app_id=app_id, room_id=room_id, run_id=run_id))

    # --- peers and events ---------------------------------------------------------------------------------

    async def watch(self, offer: WatchOffer) -> PeerAnswer:
        request = Watch(
            app_id=offer.app_id,
            room_id=offer.room_id,
            user_id=offer.user_id,
            stream=offer.stream,
            viewer=offer.viewer,
            sdp=_bounded(offer.sdp, "offer"),
            address=offer.address,
        )
        return _answer(await self._ask(self._process_of(offer.app_id, offer.room_id), request))

    async def publish(self, offer: PublishOffer) -> PeerAnswer:
        request = Publish(
            app_id=offer.app_id,
            room_id=offer.room_id,
            user_id=offer.user_id,
            stream=offer.stream,
            kinds=offer.kinds,
            sdp=_bounded(offer.sdp, "offer"),
            address=offer.address,
        )
        return _answer(await self._ask(self._process_of(offer.app_id, offer.room_id), request))

    async def patch_peer(self, patch: PeerPatch) -> PatchAnswer:
        if not _is_peer_id(patch.peer_id):
            return PatchAnswer(PatchOutcome.UNKNOWN)
        if len(patch.etags) > MOST_ETAGS:
            raise BadInput("If-Match", f"must name at most {MOST_ETAGS} ETags")
        request = PatchPeer(
            peer_id=patch.peer_id,
            user_id=patch.user_id,
            # Ours are shorter: the others match nothing.
            etags=tuple(etag for etag in patch.etags if len(etag) <= MOST_ETAG_CHARACTERS),
            fragment=_bounded(patch.fragment, "fragment"),
        )
        reply = await self._ask(self._process_of(patch.app_id, patch.room_id), request)
        if isinstance(reply, Patched):
            return PatchAnswer(PatchOutcome(reply.outcome), reply.etag, reply.fragment, reply.why)
        raise _refused(reply)

    async def peer_sends(
        self, app_id: AppId, room_id: RoomId, user_id: UserId, peer_id: PeerId, kinds: Collection[str]
    ) -> bool:
        if not _is_peer_id(peer_id):
            return False
        request = PeerSends(peer_id=peer_id, user_id=user_id, kinds=tuple(kinds))
        reply = await self._ask(self._process_of(app_id, room_id), request)
        if not isinstance(reply, Done):
            raise _refused(reply)
        return reply.found

    async def close_peer(self, app_id: AppId, room_id: RoomId, user_id: UserId, peer_id: PeerId) -> bool:
        if not _is_peer_id(peer_id):
            return False
        process = self._process_of(app_id, room_id)
        if process.ready is None:  # a process that is gone has taken its peers with it
            return False
        request = ClosePeer(app_id=app_id, room_id=room_id, user_id=user_id, peer_id=peer_id)
        reply = await self._ask(process, request)
        return isinstance(reply, Done) and reply.found

    @asynccontextmanager
    async def events(
        self, app_id: AppId, room_id: RoomId, user_id: UserId
    ) -> AsyncIterator[AsyncIterator[RoomEvent]]:
        process = self._process_of(app_id, room_id)
        presence = f"events_{secrets.token_hex(8)}"
        queue: _Watcher = asyncio.Queue(_MOST_WAITING)
        # Before the roster is asked for: what it has already is left out by its number, nothing is missed.
        watchers = self._watchers.setdefault((app_id, room_id), {})
        watchers[queue] = user_id
        try:
            reply = await self._ask(
                process, Enter(app_id=app_id, room_id=room_id, user_id=user_id, presence=presence)
            )
            if not isinstance(reply, Roster):
                raise _refused(reply)
            yield _events(reply, queue)
        finally:
            del watchers[queue]
            if not watchers:
                self._watchers.pop((app_id, room_id), None)
            process.notify(Leave(app_id=app_id, room_id=room_id, presence=presence))

    async def roster(self, app_id: AppId, room_id: RoomId) -> tuple[RosterEntry, ...]:
        reply = await self._ask(self._process_of(app_id, room_id), AskRoster(app_id=app_id, room_id=room_id))
        assert isinstance(reply, Roster)  # noqa: S101 - the schema's answer to AskRoster
        return _entries(reply)

    async def expel(self, app_id: AppId, room_id: RoomId | None, user_id: UserId | None) -> None:
        request = Expel(app_id=app_id, room_id=room_id or "", user_id=user_id or "")
        processes = self._processes if room_id is None else [self._process_of(app_id, room_id)]
        # A process that is gone has taken its peers with it.
        living = [process for process in processes if process.ready is not None]
        await asyncio.gather(*(self._ask(process, request) for process in living))
        for (app, room), watchers in self._watchers.items():
            if app == app_id and room_id in (None, room):
                for queue, user in watchers.items():
                    if user_id in (None, user):
                        _offer(queue, None)

    # --- inside -------------------------------------------------------------------------------------------

    def _process_of(self, app_id: str, room_id: str) -> Supervised:
        return self._processes[zlib.crc32(f"{app_id}\n{room_id}".encode()) % len(self._processes)]

    async def _ask(self, process: Supervised, message: Message) -> Message:
        try:
            return await process.request(message)
        except MessageRefused as error:
            raise BadInput("request", str(error)) from error
        except ChannelBusy as error:
            raise Overloaded(str(error)) from error
        except ChannelClosed as error:
            raise RoomError("the room's process is being started again; try again in a second") from error

    def _on_notice(self, process: Supervised, message: Message) -> None:
        if isinstance(message, RoomChanged):
            self.on_change(message)
            for queue in self._watchers.get((message.app_id, message.room_id), ()):
                _offer(queue, message)

    def _on_death(self, process: Supervised) -> None:
        self.on_loss(lambda app_id, room_id: self._process_of(app_id, room_id) is process)
        for (app_id, room_id), queues in self._watchers.items():
            if self._process_of(app_id, room_id) is process:
                for queue in queues:
                    _offer(queue, None)


def _is_peer_id(text: str) -> bool:
    """Whether it can be one: what a caller names as a peer is any text."""
    return len(text) <= MOST_PEER_ID_CHARACTERS


def _bounded(sdp: str, what: str) -> str:
    """Raises BadInput for one that is too large."""
    if len(sdp) > MOST_OFFER_BYTES:
        raise BadInput(what, f"must have at most {MOST_OFFER_BYTES} bytes")
    return sdp


def _answer(reply: Message) -> PeerAnswer:
    """Raises what a refusal means."""
    if isinstance(reply, Answer):
        return PeerAnswer(PeerId(reply.peer_id), reply.etag, reply.sdp)
    raise _refused(reply)


def _refused(reply: Message) -> Exception:
    if not isinstance(reply, Refused):
        return RoomError(f"the room's process answered {reply.type}")
    if reply.busy:
        return Overloaded(reply.why)
    if reply.forbidden:
        return AccessRefused(reply.why, known=True)
    return BadInput(reply.field, reply.why)


def _offer(queue: _Watcher, change: RoomChanged | None) -> None:
    """Puts a change, or the end where there is no more room: a reader that falls behind begins again."""
    if change is None or queue.full():
        while not queue.empty():
            queue.get_nowait()
        change = None
    queue.put_nowait(change)


async def _events(roster: Roster, queue: _Watcher) -> AsyncIterator[RoomEvent]:
    yield RoomEvent(RoomEventKind.ROSTER, roster=_entries(roster))
    for user in roster.users:
        for stream in user.streams:
            yield _media_event(UserId(user.user_id), stream.stream, stream)
    while (change := await queue.get()) is not None:
        if change.change <= roster.change:
            continue
        user_id = UserId(change.user_id)
        if change.kind != "media":
            yield RoomEvent(RoomEventKind(change.kind), user_id=user_id, stream=change.stream)
        if change.kind in ("published", "media"):
            yield _media_event(user_id, change.stream, change)


def _media_event(user_id: UserId, stream: int | None, told: PublishedStream | RoomChanged) -> RoomEvent:
    media = StreamMedia(told.media, told.trouble)
    return RoomEvent(RoomEventKind.MEDIA, user_id=user_id, stream=stream, media=media)


def _entries(roster: Roster) -> tuple[RosterEntry, ...]:
    return tuple(
        RosterEntry(UserId(user.user_id), tuple(stream.stream for stream in user.streams))
        for user in roster.users
    )
