"""The engine of one room process: rooms, peers and links together, datagrams in, datagrams out.

It has no loop of its own. Datagrams (`on_datagram`) and the frames of links drive it; `on_timer` (a few times
a second) and `drain` (while there are backlogs) bring the time. The peers themselves are in `peers`.
"""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable

import structlog

from sluice.core.drops import DropCounter
from sluice.core.fairness import PEER_SEATS, Holder, SeatLimits
from sluice.core.ids import AppId, RoomId, UserId, new_peer_id
from sluice.core.limits import ANNOUNCEMENTS_PER_S
from sluice.core.room_documents import PeerRole
from sluice.core.rooms import PatchAnswer, PatchOutcome, PeerAnswer, PeerPatch, PublishOffer, WatchOffer
from sluice.process.control import (
    Answer,
    AskRoster,
    ClosePeer,
    Done,
    Enter,
    Expel,
    HoldUser,
    Leave,
    Patched,
    PatchPeer,
    PeerSends,
    Publish,
    Refused,
    Retire,
    RoomChanged,
    Roster,
    Watch,
)
from sluice.process.documents import Hello, LinkDocument, Subscribe
from sluice.process.link import LinkError
from sluice.rooms.engine.census import Census
from sluice.rooms.engine.dtls import DtlsIdentity
from sluice.rooms.engine.history import settle
from sluice.rooms.engine.link import LinkChannel, LinkEnd
from sluice.rooms.engine.negotiation import NotAllowed, agree_to_publish, agree_to_watch, publish_terms
from sluice.rooms.engine.peer import Connection, Role
from sluice.rooms.engine.peers import PeerEntry, Peers, clock_us
from sluice.rooms.engine.publisher import PublisherLink
from sluice.rooms.engine.publishing import Publishing
from sluice.rooms.engine.room import Place, Room, StreamKey
from sluice.rooms.engine.socket import Address, MediaSocket
from sluice.rooms.engine.stream import Stream, StreamCounts
from sluice.rooms.engine.subscriber import SubscriberLink
from sluice.rooms.engine.viewer import Viewer
from sluice.rooms.engine.watching import Watching
from sluice.wire.sdp import SdpError, parse_fragment
from sluice.wire.sdp_answer import make_fragment, make_publish_answer, make_watch_answer

log = structlog.get_logger()

_MOST_RETIRED = 4096
_TOO_MANY_ANNOUNCEMENTS = f"more than {ANNOUNCEMENTS_PER_S} change of this peer a second; try again later"
#: How long a browser far away has for a key frame, before a lost picture is repaired without one.
_FAR_KEY_FRAME_US = 500_000


class Engine:
    """`emit` gets the changes of all rooms. `start_drain` is called when the first backlog appears. Pictures
    are kept for viewers who come late, `most_kept_bytes` in all. `seats` are the fair shares of peers."""

    def __init__(
        self,
        socket: MediaSocket,
        identity: DtlsIdentity,
        candidates: list[tuple[str, int]],
        *,
        emit: Callable[[RoomChanged], None],
        start_drain: Callable[[], None],
        most_kept_bytes: int,
        drops: DropCounter,
        seats: SeatLimits = PEER_SEATS,
    ) -> None:
        self._drops = drops
        self._stream_counts = StreamCounts(drops)
        self._peers = Peers(socket, identity, candidates, self._on_gone, seats, drops)
        self._emit = emit
        self._start_drain = start_drain
        self._most_kept_bytes = most_kept_bytes
        self._rooms: dict[tuple[AppId, RoomId], Room] = {}
        self.census = Census(self._rooms, self._peers, self._stream_counts, clock_us)
        self._links: dict[str, PublisherLink] = {}  #: by run
        self._publishing: dict[str, Publishing] = {}  #: by peer, once it is connected
        self._retired: OrderedDict[str, None] = OrderedDict()
        #: Peers that had to go: whose they were, and why.
        self._ended: OrderedDict[str, tuple[UserId, str]] = OrderedDict()
        self._backlogs: dict[Viewer, tuple[Stream, str]] = {}  #: whose they are by stream and peer

    # --- requests of the node -----------------------------------------------------------------------------

    def watch(self, request: Watch) -> Answer | Refused:
        """Answers a WHEP offer and begins to wait for the peer."""
        asked = request.offer
        try:
            agreed = agree_to_watch(asked.sdp)
        except SdpError as error:
            return _refused(asked, error)
        holder = Holder((asked.app_id, asked.room_id), asked.viewer, asked.address)
        room = self._room(asked.app_id, asked.room_id)
        if why := self._peers.refusal(holder) or room.why_full(asked.viewer):
            return _busy(why)
        stream = self._stream(room, (asked.user_id, asked.stream))
        video, opus = agreed.video, agreed.opus  # the offer itself is large, and not needed any more

        def begin(connection: Connection, now_us: int) -> Role:
            return Watching(
                connection,
                stream,
                video,
                opus,
                on_backlog=lambda viewer: self._defer(viewer, stream, connection.peer_id),
                now_us=now_us,
            )

        key = asked.user_id, asked.stream
        entry = self._peers.add(
            *(new_peer_id(), agreed, begin),
            room=room,
            holder=holder,
            role=PeerRole.VIEWER,
            key=key,
            stream=stream,
        )
        local = self._peers.local(entry)
        if agreed.faults:
            log.info("> answer in part", peer_id=entry.peer.id, why="; ".join(agreed.faults.values()))
        sdp = make_watch_answer(
            agreed.offer, agreed.transport, local, video, opus, stream.sources, agreed.faults
        )
        return Answer(answer=PeerAnswer(entry.peer.id, local.ufrag, sdp))

    def publish(self, request: Publish) -> Answer | Refused:
        """Answers a WHIP offer. From now on the stream is this peer's; whoever published it before is
        ended."""
        asked = request.offer
        try:
            agreed = agree_to_publish(asked.sdp, asked.kinds)
        except NotAllowed as error:
            return Refused(field="token", why=str(error), forbidden=True)
        except SdpError as error:
            return _refused(asked, error)
        holder = Holder((asked.app_id, asked.room_id), asked.user_id, asked.address)
        room = self._room(asked.app_id, asked.room_id)
        if why := self._peers.refusal(holder) or room.why_full(asked.user_id):
            return _busy(why)
        key = asked.user_id, asked.stream
        stream, peer_id = self._stream(room, key), new_peer_id()
        terms = publish_terms(agreed)

        def begin(connection: Connection, now_us: int) -> Role:
            publishing = Publishing(
                connection,
                stream,
                terms,
                listener=Place(room, key, peer_id),
                now_us=now_us,
            )
            self._publishing[peer_id] = publishing
            return publishing

        entry = self._peers.add(
            *(peer_id, agreed, begin),
            room=room,
            holder=holder,
            role=PeerRole.PUBLISHER,
            key=key,
            stream=stream,
        )
        self._take_stream(room, key, peer_id)
        stream.reset(_FAR_KEY_FRAME_US)
        local = self._peers.local(entry)
        sdp = make_publish_answer(agreed.offer, agreed.transport, local, agreed.video, agreed.opus)
        return Answer(answer=PeerAnswer(peer_id, local.ufrag, sdp))

    def patch_peer(self, request: PatchPeer) -> Patched | Refused:
        """Takes trickled candidates, which need no answer since we send no checks, or restarts ICE (RFC 9725
        4.3)."""
        patch = request.patch
        entry = self._peers.get(patch.peer_id)
        if entry is None or entry.user_id != patch.user_id:
            return _patched(self._why_gone(patch))
        try:
            fragment = parse_fragment(patch.fragment)
        except SdpError as error:
            return Refused(field="fragment", why=str(error))
        peer, anyhow = entry.peer, "*" in patch.etags
        if not anyhow and peer.ufrag not in patch.etags:
            return _patched(PatchAnswer(PatchOutcome.STALE))
        if fragment.ufrag in ("", peer.remote_ufrag):
            return _patched(PatchAnswer(PatchOutcome.TAKEN))
        if not anyhow:
            return Refused(field="fragment", why="an ICE restart must come with the header If-Match: *")
        if not peer.announcements.take(1, clock_us()):
            return _busy(_TOO_MANY_ANNOUNCEMENTS)
        self._peers.restart(entry, fragment.ufrag)
        made = make_fragment(entry.lead, self._peers.local(entry))
        return _patched(PatchAnswer(PatchOutcome.RESTARTED, peer.ufrag, made))

    def _why_gone(self, patch: PeerPatch) -> PatchAnswer:
        user_id, why = self._ended.get(patch.peer_id, ("", ""))
        if why and user_id == patch.user_id:
            return PatchAnswer(PatchOutcome.ENDED, why=why)
        replaced = patch.peer_id in self._retired
        return PatchAnswer(PatchOutcome.REPLACED if replaced else PatchOutcome.UNKNOWN)

    def peer_sends(self, request: PeerSends) -> Done | Refused:
        entry, publishing = self._peers.get(request.peer_id), self._publishing.get(request.peer_id)
        if entry is None or publishing is None or entry.user_id != request.user_id:
            return Done(found=False)
        if not entry.peer.announcements.take(1, clock_us()):
            return _busy(_TOO_MANY_ANNOUNCEMENTS)
        publishing.says(request.kinds, clock_us())
        return Done(found=True)

    def close_peer(self, request: ClosePeer) -> Done:
        entry = self._peers.get(request.peer_id)
        theirs = (request.app_id, request.room_id), request.user_id
        if entry is None or (entry.holder.room, entry.holder.user) != theirs:
            return Done(found=False)
        self._peers.remove(entry.peer)
        return Done(found=True)

    def enter(self, request: Enter) -> Roster | Refused:
        room = self._room(AppId(request.app_id), RoomId(request.room_id))
        if why := room.why_full(UserId(request.user_id)):
            return _busy(why)
        room.enter(UserId(request.user_id), request.presence)
        return room.roster()

    def leave(self, request: Leave) -> None:
        room = self._rooms.get((AppId(request.app_id), RoomId(request.room_id)))
        if room is not None:
            room.leave(request.presence, clock_us())

    def roster(self, request: AskRoster) -> Roster:
        room = self._rooms.get((AppId(request.app_id), RoomId(request.room_id)))
        return room.roster() if room is not None else Roster(number=0, users=())

    def expel(self, request: Expel) -> Done:
        user_id = UserId(request.user_id) if request.user_id else None
        ended: set[str] = set()
        for (app_id, room_id), room in self._rooms.items():
            if app_id == request.app_id and request.room_id in ("", room_id):
                ended |= room.expel(user_id)
        for holder in ended:
            entry = self._peers.get(holder)
            if entry is not None:
                self._peers.remove(entry.peer)
            else:
                self._close_run(holder)
        return Done(found=bool(ended))

    def hold(self, request: HoldUser) -> None:
        if request.run_id not in self._retired:  # otherwise it was replaced or expelled meanwhile
            self._room(request.app_id, request.room_id).enter(
                request.user_id, request.run_id, device="server"
            )

    def retire(self, request: Retire) -> None:
        self._close_run(request.run_id)
        room = self._rooms.get((AppId(request.app_id), RoomId(request.room_id)))
        if room is not None:
            room.retire(request.run_id, clock_us())

    # --- links of sessions --------------------------------------------------------------------------------

    def open_end(self, link: LinkChannel, document: LinkDocument) -> LinkEnd:
        """What a new channel is for, by its first document. Raises LinkError."""
        if isinstance(document, Hello):
            return PublisherLink(link, document, self, clock_us)
        if isinstance(document, Subscribe):
            return self._subscribe(link, document)
        raise LinkError(f"the channel begins with {document.type}")

    def link_opened(self, link: PublisherLink, hello: Hello) -> tuple[Room, Stream] | None:
        """The room and stream that the link publishes into; None when its run is over already."""
        if hello.run_id in self._retired:
            return None
        room = self._room(hello.app_id, hello.room_id)
        self._take_stream(room, hello.key, hello.run_id)
        before = self._links.get(hello.run_id)
        if before is not None:
            before.close()
        self._links[hello.run_id] = link
        stream = self._stream(room, hello.key)
        stream.reset()
        log.info("< link", run_id=hello.run_id, room_id=hello.room_id, user_id=hello.user_id)
        return room, stream

    def link_lost(self, link: PublisherLink) -> None:
        """The user stays: the node says when the run is over (Retire), or its next link goes on."""
        if self._links.get(link.hello.run_id) is link:
            del self._links[link.hello.run_id]

    def _subscribe(self, link: LinkChannel, subscribe: Subscribe) -> SubscriberLink:
        room = self._room(subscribe.app_id, subscribe.room_id)
        stream = self._stream(room, subscribe.key)
        subscriber = SubscriberLink(
            *(link, subscribe, stream), on_lost=stream.unsubscribe, clock_us=clock_us, drops=self._drops
        )
        stream.subscribe(subscriber)
        subscriber.tell(room.publisher_of(subscribe.key))
        return subscriber

    # --- datagrams and time -------------------------------------------------------------------------------

    def on_datagram(self, data: bytes, address: Address) -> None:
        self._peers.on_datagram(data, address)

    def on_timer(self) -> None:
        now_us = clock_us()
        self._peers.on_timer(now_us, time.time())
        for key, room in list(self._rooms.items()):
            try:
                room.on_timer(now_us)
            except Exception:  # root of a room: our defect ends it, and no other
                log.error("x room", room_id=room.room_id, why="a defect of ours", exc_info=True)
                self._end_room(room)
            if room.empty:
                del self._rooms[key]
        self._bound_memory()

    def _bound_memory(self) -> None:
        histories = (stream.history for room in self._rooms.values() for stream in room.streams.values())
        gave_way = settle(histories, self._most_kept_bytes)
        if gave_way:
            why = "more pictures than may be kept: who comes late waits for the next key frame"
            log.warning("x kept pictures", why=why, streams=gave_way, most_bytes=self._most_kept_bytes)

    def drain(self, elapsed_s: float) -> bool:
        """Sends from the backlogs; True while there are any."""
        for viewer, (stream, peer_id) in list(self._backlogs.items()):
            try:
                more = viewer.drain(elapsed_s, stream.sources.video)
            except Exception:  # root of a peer: our defect ends it, and no other
                log.error("x peer", peer_id=peer_id, why="a defect of ours", exc_info=True)
                if (entry := self._peers.get(peer_id)) is not None:
                    self._peers.remove(entry.peer)
                more = False
            if not more:
                del self._backlogs[viewer]
        return bool(self._backlogs)

    def close(self) -> None:
        self._peers.close()

    # --- inside -------------------------------------------------------------------------------------------

    def _take_stream(self, room: Room, key: StreamKey, publisher: str) -> None:
        """The newest publisher of a stream has it. The one before is ended and must not take it back."""
        replaced = room.publish(key, publisher)
        if replaced is None:
            return
        self._note_retired(replaced)
        link, entry = self._links.pop(replaced, None), self._peers.get(replaced)
        if link is not None:
            link.replace()
        if entry is not None:
            self._peers.remove(entry.peer)
        else:
            room.leave(replaced, clock_us(), linger=False)

    def _room(self, app_id: AppId, room_id: RoomId) -> Room:
        room = self._rooms.get((app_id, room_id))
        if room is None:
            room = self._rooms[app_id, room_id] = Room(app_id, room_id, self._emit)
        return room

    def _stream(self, room: Room, key: StreamKey) -> Stream:
        stream = room.streams.get(key)
        if stream is None:

            def request_key_frame() -> None:
                publisher = room.publications[key].publisher if key in room.publications else ""
                source = self._links.get(publisher) or self._publishing.get(publisher)
                if source is not None:
                    source.ask_key_frame()

            stream = room.streams[key] = Stream(
                f"s{secrets.token_hex(8)}", request_key_frame, self._stream_counts
            )
        return stream

    def _close_run(self, run_id: str) -> None:
        """Ends its link, and remembers the run, so that frames on their way do not bring its user back."""
        self._note_retired(run_id)
        link = self._links.pop(run_id, None)
        if link is not None:
            link.close()

    def _end_room(self, room: Room) -> None:
        """Ends all that is in it; its users come back to a new room."""
        self._peers.end_all(room)
        for link in list(self._links.values()):
            if (link.hello.app_id, link.hello.room_id) == (room.app_id, room.room_id):
                link.close()
        room.clear()

    def _note_retired(self, run_id: str) -> None:
        self._retired[run_id] = None
        if len(self._retired) > _MOST_RETIRED:
            self._retired.popitem(last=False)

    def _defer(self, viewer: Viewer, stream: Stream, peer_id: str) -> None:
        if not self._backlogs:
            self._start_drain()
        self._backlogs[viewer] = stream, peer_id

    def _on_gone(self, entry: PeerEntry) -> None:
        if entry.peer.conduct.why:
            self._ended[entry.peer.id] = entry.user_id, entry.peer.conduct.why
            if len(self._ended) > _MOST_RETIRED:
                self._ended.popitem(last=False)
        self.census.end(entry)
        self._publishing.pop(entry.peer.id, None)
        entry.room.unpublish(entry.peer.id)
        entry.room.leave(entry.peer.id, clock_us())


def _patched(answer: PatchAnswer) -> Patched:
    return Patched(answer=answer)


def _refused(offer: WatchOffer | PublishOffer, error: SdpError) -> Refused:
    """Many clients show the status alone, so the text is in our log too."""
    log.info("x offer", room_id=offer.room_id, user_id=offer.user_id, why=str(error))
    return Refused(field="offer", why=str(error))


def _busy(why: str) -> Refused:
    return Refused(field="room", why=why, busy=True)
