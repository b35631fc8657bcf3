"""The node's side of our own room engine: knows which process has a room, asks it, and passes on what it
tells.

Rooms are spread over the processes by their names. A process that dies loses its rooms; the next one begins
empty.
"""

import asyncio
import secrets
import zlib
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from sluice.core.errors import AccessRefused, BadInput, Overloaded, RoomError
from sluice.core.figures import Ledger
from sluice.core.ids import AppId, PeerId, RoomId, RunId, UserId
from sluice.core.limits import (
    MOST_ETAG_CHARACTERS,
    MOST_ETAGS,
    MOST_OFFER_BYTES,
    MOST_PEER_ID_CHARACTERS,
)
from sluice.core.room_documents import RoomDocument, RoomSummary, ViewersReport, Watched
from sluice.core.rooms import (
    LinkAddress,
    PatchAnswer,
    PatchOutcome,
    PeerAnswer,
    PeerPatch,
    PublishOffer,
    RoomEvent,
    RoomEventKind,
    RosterEntry,
    StreamIndex,
    StreamMedia,
    WatchOffer,
)
from sluice.process.channel import ChannelBusy, ChannelClosed, MessageRefused
from sluice.process.control import (
    Answer,
    AskRoom,
    AskRooms,
    AskRoster,
    AskViewers,
    ClosePeer,
    Done,
    Enter,
    Expel,
    HoldUser,
    Leave,
    Message,
    Patched,
    PatchPeer,
    PeerSends,
    Publish,
    Refused,
    Retire,
    RoomChanged,
    RoomList,
    RoomShown,
    Roster,
    Viewers,
    Watch,
)
from sluice.process.supervisor import ChildSpec, Supervised
from sluice.rooms.port import RoomListener

#: Events that may wait for one reader; a slower one is cut off and comes back to a fresh roster.
_MOST_WAITING = 256

#: A document of a task does not wait longer for what its viewers report.
_VIEWERS_WAIT_S = 1.0
_BEING_STARTED = "the room's process is being started again; try again in a second"

#: What waits for one reader; None is the end.
_Waiting = asyncio.Queue[RoomChanged | None]


class RoomProcesses:
    """Implements rooms.port.Rooms on supervised room processes."""

    def __init__(self, specs: list[ChildSpec], ledger: Ledger | None = None) -> None:
        """`ledger` gets the figures of the processes."""
        self.on_silence: Callable[[Callable[[AppId, RoomId], bool], bool], None] = lambda rooms, silent: None
        self._listener: RoomListener | None = None
        self._processes = [
            Supervised(
                spec,
                on_notice=self._on_notice,
                on_ready=self._on_ready,
                on_death=self._on_death,
                on_silence=self._on_silence,
                ledger=ledger,
            )
            for spec in specs
        ]
        self._links = {spec.name: LinkAddress(spec.config["link"]) for spec in specs}
        self._readers: dict[tuple[str, str], dict[_Waiting, str]] = {}  #: of a room's events, and their users
        self._held: dict[RunId, HoldUser] = {}  #: of the live runs

    async def start(self) -> None:
        await asyncio.gather(*(process.start() for process in self._processes))

    async def stop(self) -> None:
        await asyncio.gather(*(process.stop() for process in self._processes))

    def listen(self, listener: RoomListener) -> None:
        self._listener = listener

    @property
    def processes(self) -> tuple[Supervised, ...]:
        return tuple(self._processes)

    # --- sessions -----------------------------------------------------------------------------------------

    def link_of(self, app_id: AppId, room_id: RoomId) -> LinkAddress:
        return self._links[self._process_of(app_id, room_id).spec.name]

    def is_silent(self, app_id: AppId, room_id: RoomId) -> bool:
        return self._process_of(app_id, room_id).silent

    def hold(self, app_id: AppId, room_id: RoomId, user_id: UserId, run_id: RunId) -> None:
        hold = HoldUser(app_id=app_id, room_id=room_id, user_id=user_id, run_id=run_id)
        self._held[run_id] = hold
        self._process_of(app_id, room_id).notify(hold)

    def retire(self, app_id: AppId, room_id: RoomId, run_id: RunId) -> None:
        self._held.pop(run_id, None)
        # A room process that is gone has no user of this run any more.
        self._process_of(app_id, room_id).notify(Retire(app_id=app_id, room_id=room_id, run_id=run_id))

    # --- peers and events ---------------------------------------------------------------------------------

    async def watch(self, offer: WatchOffer) -> PeerAnswer:
        _check_size(offer.sdp, "offer")
        return _answer(await self._ask(self._process_of(offer.app_id, offer.room_id), Watch(offer=offer)))

    async def publish(self, offer: PublishOffer) -> PeerAnswer:
        _check_size(offer.sdp, "offer")
        return _answer(await self._ask(self._process_of(offer.app_id, offer.room_id), Publish(offer=offer)))

    async def patch_peer(self, patch: PeerPatch) -> PatchAnswer:
        if not _is_peer_id(patch.peer_id):
            return PatchAnswer(PatchOutcome.UNKNOWN)
        if len(patch.etags) > MOST_ETAGS:
            raise BadInput("If-Match", f"must name at most {MOST_ETAGS} ETags")
        _check_size(patch.fragment, "fragment")
        # Ours are shorter: the others match nothing.
        etags = tuple(etag for etag in patch.etags if len(etag) <= MOST_ETAG_CHARACTERS)
        request = PatchPeer(patch=replace(patch, etags=etags))
        reply = await self._ask(self._process_of(patch.app_id, patch.room_id), request)
        if isinstance(reply, Patched):
            return reply.answer
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
        queue: _Waiting = asyncio.Queue(_MOST_WAITING)
        # Before the roster is asked for: what it has already is left out by its number, nothing is missed.
        readers = self._readers.setdefault((app_id, room_id), {})
        readers[queue] = user_id
        try:
            reply = await self._ask(
                process, Enter(app_id=app_id, room_id=room_id, user_id=user_id, presence=presence)
            )
            if not isinstance(reply, Roster):
                raise _refused(reply)
            yield _events(reply, queue)
        finally:
            del readers[queue]
            if not readers:
                self._readers.pop((app_id, room_id), None)
            process.notify(Leave(app_id=app_id, room_id=room_id, presence=presence))

    async def roster(self, app_id: AppId, room_id: RoomId) -> tuple[RosterEntry, ...]:
        reply = await self._ask(self._process_of(app_id, room_id), AskRoster(app_id=app_id, room_id=room_id))
        assert isinstance(reply, Roster)  # noqa: S101 - the schema's answer to AskRoster
        return reply.users

    async def rooms(self, after: tuple[AppId, RoomId] | None, limit: int) -> tuple[RoomSummary, ...]:
        living = [process for process in self._processes if process.ready is not None]
        if not living:
            raise RoomError(_BEING_STARTED)
        request = AskRooms(after=after, limit=limit)
        replies = await asyncio.gather(*(self._ask(process, request) for process in living))
        found = [room for reply in replies if isinstance(reply, RoomList) for room in reply.rooms]
        return tuple(sorted(found, key=lambda room: (room.app_id, room.room_id))[:limit])

    async def room(self, app_id: AppId, room_id: RoomId, *, offset: int, limit: int) -> RoomDocument | None:
        request = AskRoom(app_id=app_id, room_id=room_id, offset=offset, limit=limit)
        reply = await self._ask(self._process_of(app_id, room_id), request)
        if not isinstance(reply, RoomShown):
            raise _refused(reply)
        return reply.room

    async def viewers(self, watched: Collection[Watched]) -> Mapping[Watched, ViewersReport]:
        asked: dict[Supervised, list[Watched]] = {}
        for key in watched:
            asked.setdefault(self._process_of(*key[:2]), []).append(key)
        answers = await asyncio.gather(*(self._viewers(*item) for item in asked.items()))
        return {key: report for answer in answers for key, report in answer.items()}

    async def _viewers(self, process: Supervised, watched: list[Watched]) -> Mapping[Watched, ViewersReport]:
        try:
            reply = await process.request(AskViewers(watched=tuple(watched)), deadline_s=_VIEWERS_WAIT_S)
        except ChannelClosed:  # whoever asks has more to tell than this
            return {}
        return dict(zip(watched, reply.reports, strict=True)) if isinstance(reply, Viewers) else {}

    async def expel(self, app_id: AppId, room_id: RoomId | None, user_id: UserId | None) -> None:
        request = Expel(app_id=app_id, room_id=room_id or "", user_id=user_id or "")
        processes = self._processes if room_id is None else [self._process_of(app_id, room_id)]
        # A process that is gone has taken its peers with it.
        living = [process for process in processes if process.ready is not None]
        await asyncio.gather(*(self._ask(process, request) for process in living))
        for (app, room), readers in self._readers.items():
            if app == app_id and room_id in (None, room):
                for queue, user in readers.items():
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
            raise RoomError(_BEING_STARTED) from error

    def _on_notice(self, process: Supervised, message: Message) -> None:
        if isinstance(message, RoomChanged):
            change = message.change
            if self._listener is not None:
                self._listener.on_change(change)
            for queue in self._readers.get((change.app_id, change.room_id), ()):
                _offer(queue, message)

    def _on_ready(self, process: Supervised) -> None:
        for hold in self._held.values():
            if self._process_of(hold.app_id, hold.room_id) is process:
                process.notify(hold)

    def _on_silence(self, process: Supervised, silent: bool) -> None:
        self.on_silence(lambda app_id, room_id: self._process_of(app_id, room_id) is process, silent)

    def _on_death(self, process: Supervised) -> None:
        def lost(app_id: str, room_id: str) -> bool:
            return self._process_of(app_id, room_id) is process

        if self._listener is not None:
            self._listener.on_loss(lost)
        for (app_id, room_id), queues in self._readers.items():
            if lost(app_id, room_id):
                for queue in queues:
                    _offer(queue, None)


def _is_peer_id(text: str) -> bool:
    """Whether a text of a caller can be the id of a peer."""
    return len(text) <= MOST_PEER_ID_CHARACTERS


def _check_size(sdp: str, what: str) -> None:
    """Raises BadInput for one that is too large."""
    if len(sdp) > MOST_OFFER_BYTES:
        raise BadInput(what, f"must have at most {MOST_OFFER_BYTES} bytes")


def _answer(reply: Message) -> PeerAnswer:
    """Raises what a refusal stands for."""
    if isinstance(reply, Answer):
        return reply.answer
    raise _refused(reply)


def _refused(reply: Message) -> Exception:
    if not isinstance(reply, Refused):
        return RoomError(f"the room's process answered {reply.type}")
    if reply.busy:
        return Overloaded(reply.why)
    if reply.forbidden:
        return AccessRefused(reply.why, known=True)
    return BadInput(reply.field, reply.why)


def _offer(queue: _Waiting, change: RoomChanged | None) -> None:
    """Puts a change. A reader that has fallen behind gets the end instead, and begins again."""
    if change is None or queue.full():
        while not queue.empty():
            queue.get_nowait()
        change = None
    queue.put_nowait(change)


async def _events(roster: Roster, queue: _Waiting) -> AsyncIterator[RoomEvent]:
    yield RoomEvent(RoomEventKind.ROSTER, roster=roster.users)
    for user in roster.users:
        for published in user.streams:
            yield _media_event(user.user_id, published.stream, published.media)
    while (message := await queue.get()) is not None:
        if message.number <= roster.number:
            continue
        change = message.change
        if change.kind is not RoomEventKind.MEDIA:
            yield RoomEvent(change.kind, user_id=change.user_id, stream=change.stream)
        if change.kind in (RoomEventKind.PUBLISHED, RoomEventKind.MEDIA):
            yield _media_event(change.user_id, change.stream, change.media)


def _media_event(user_id: UserId, stream: StreamIndex | None, media: StreamMedia) -> RoomEvent:
    return RoomEvent(RoomEventKind.MEDIA, user_id=user_id, stream=stream, media=media)
