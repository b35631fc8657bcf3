"""The engine of one room process: rooms, peers and links together, datagrams in, datagrams out.

It has no loop of its own: `on_datagram` and the links' frames drive it, `on_timer` (a few times a second)
and `drain` (while backlogs exist) bring the time. Everything that can go wrong with one peer ends that peer.
"""

import secrets
import struct
import time
from collections import OrderedDict
from collections.abc import Callable

import structlog
from aioice import stun

from sluice.core.ids import AppId, PeerId, RoomId, UserId, new_peer_id
from sluice.process.control import (
    Answer,
    AskRoster,
    ClosePeer,
    Done,
    Enter,
    Expel,
    Leave,
    Refusal,
    Retire,
    RoomChanged,
    Roster,
    Watch,
)
from sluice.rooms.engine.dtls import DtlsIdentity
from sluice.rooms.engine.peer import Peer, Phase, Terms
from sluice.rooms.engine.publisher import Hello, PublisherLink
from sluice.rooms.engine.room import Room
from sluice.rooms.engine.socket import Address, MediaSocket
from sluice.rooms.engine.stream import Stream
from sluice.rooms.engine.viewer import Viewer
from sluice.wire.sdp import LocalPeer, SdpError, choose_opus, choose_video, make_answer, parse_offer

log = structlog.get_logger()

_MOST_RETIRED = 4096
_MOST_PEERS = 5000
_MOST_ADDRESSES = 16  # of one peer


def clock_us() -> int:
    """The engine's clock: monotonic, in microseconds."""
    return time.monotonic_ns() // 1000


class Engine:
    """`emit` gets the changes of all rooms; `start_drain` is called when a first backlog appears."""

    def __init__(
        self,
        socket: MediaSocket,
        identity: DtlsIdentity,
        candidates: list[tuple[str, int]],
        *,
        emit: Callable[[RoomChanged], None],
        start_drain: Callable[[], None],
    ) -> None:
        self._socket = socket
        self._identity = identity
        self._candidates = candidates
        self._emit = emit
        self._start_drain = start_drain
        self._rooms: dict[tuple[AppId, RoomId], Room] = {}
        self._peers: dict[PeerId, Peer] = {}
        self._rooms_of_peers: dict[PeerId, Room] = {}
        self._by_name: dict[str, Peer] = {}
        self._by_address: dict[Address, Peer] = {}
        self._links: dict[str, PublisherLink] = {}
        self._retired: OrderedDict[str, None] = OrderedDict()
        self._backlogs: dict[Viewer, Stream] = {}

    # --- requests of the node -----------------------------------------------------------------------------

    def watch(self, request: Watch) -> Answer | Refusal:
        """Answers a WHEP offer and begins to wait for the peer."""
        if len(self._peers) >= _MOST_PEERS:
            return Refusal(field="room", why="this room process serves as many peers as it may", busy=True)
        try:
            offer = parse_offer(request.sdp)
        except SdpError as error:
            return Refusal(field="offer", why=str(error))
        sections = offer.first("video"), offer.first("audio")
        video = choose_video(sections[0]) if sections[0] else None
        opus = choose_opus(sections[1]) if sections[1] else None
        if video is None and opus is None:
            why = "nothing in the offer can be received: it needs H.264 (packetization-mode 1) or Opus"
            return Refusal(field="offer", why=why)
        room = self._room(AppId(request.app_id), RoomId(request.room_id))
        stream = self._stream(room, UserId(request.user_id), request.stream)
        peer = Peer(
            new_peer_id(),
            stream,
            self._socket,
            self._identity,
            terms=Terms(offer.fingerprint, video, opus),
            on_backlog=lambda viewer: self._defer(viewer, stream),
            now_us=clock_us(),
        )
        stream.watched += 1
        self._peers[peer.id] = self._by_name[peer.ufrag] = peer
        self._rooms_of_peers[peer.id] = room
        room.enter(UserId(request.viewer), peer.id)
        local = LocalPeer(peer.ufrag, peer.password, self._identity.fingerprint, self._candidates)
        return Answer(peer_id=peer.id, sdp=make_answer(offer, local, video, opus, stream.sources))

    def close_peer(self, request: ClosePeer) -> Done:
        peer = self._peers.get(PeerId(request.peer_id))
        if peer is not None:
            self._remove(peer)
        return Done(found=peer is not None)

    def enter(self, request: Enter) -> Roster:
        room = self._room(AppId(request.app_id), RoomId(request.room_id))
        room.enter(UserId(request.user_id), request.presence)
        return room.roster()

    def leave(self, request: Leave) -> None:
        room = self._rooms.get((AppId(request.app_id), RoomId(request.room_id)))
        if room is not None:
            room.leave(request.presence, clock_us())

    def roster(self, request: AskRoster) -> Roster:
        room = self._rooms.get((AppId(request.app_id), RoomId(request.room_id)))
        return room.roster() if room is not None else Roster(change=0, users=())

    def expel(self, request: Expel) -> Done:
        user_id = UserId(request.user_id) if request.user_id else None
        ended: set[str] = set()
        for (app_id, room_id), room in self._rooms.items():
            if app_id == request.app_id and request.room_id in ("", room_id):
                ended |= room.expel(user_id)
        for holder in ended:
            peer = self._peers.get(PeerId(holder))
            if peer is not None:
                self._remove(peer)
            else:
                self._close_run(holder)
        return Done(found=bool(ended))

    def retire(self, request: Retire) -> None:
        self._close_run(request.run_id)
        room = self._rooms.get((AppId(request.app_id), RoomId(request.room_id)))
        if room is not None:
            room.retire(request.run_id, clock_us())

    # --- links of sessions --------------------------------------------------------------------------------

    def link_opened(self, link: PublisherLink, hello: Hello) -> tuple[Room, Stream] | None:
        """The room and stream that the link publishes into; None when its run is over already."""
        if hello.run_id in self._retired:
            return None
        room = self._room(hello.app_id, hello.room_id)
        replaced = room.publish(hello.key, hello.run_id)
        if replaced is not None and replaced in self._links:
            self._links.pop(replaced).replace()
        if replaced is not None:
            self._note_retired(replaced)  # its session may not take the place back
        before = self._links.get(hello.run_id)
        if before is not None:
            before.close()
        self._links[hello.run_id] = link
        stream = self._stream(room, hello.user_id, hello.stream)
        stream.reset()
        log.info("< link", run=hello.run_id, room=hello.room_id, user=hello.user_id)
        return room, stream

    def link_lost(self, link: PublisherLink) -> None:
        """The user stays: the node says when the run is over (Retire), or another link goes on."""
        if link.hello is not None and self._links.get(link.hello.run_id) is link:
            del self._links[link.hello.run_id]

    # --- datagrams ----------------------------------------------------------------------------------------

    def on_datagram(self, data: bytes, address: Address) -> None:
        """RFC 7983: the first byte tells STUN, DTLS and RTCP apart."""
        first = data[0] if data else 255
        if first < 4:
            self._on_stun(data, address)
            return
        peer = self._by_address.get(address)
        if peer is None:
            return
        if 20 <= first < 64:
            if not peer.handle_dtls(data, clock_us()):
                self._remove(peer)
        elif 128 <= first < 192:
            peer.handle_rtcp(data, clock_us())

    def _on_stun(self, data: bytes, address: Address) -> None:
        try:
            message = stun.parse_message(data)
        except (ValueError, struct.error):
            return
        name = message.attributes.get("USERNAME")
        peer = self._by_name.get(name.partition(":")[0]) if isinstance(name, str) else None
        if (
            peer is not None
            and peer.handle_stun(message, address, clock_us())
            and (address in self._by_address or self._makes_room(peer))
        ):
            self._by_address[address] = peer
            peer.addresses.add(address)

    def _makes_room(self, peer: Peer) -> bool:
        """A peer has few addresses; one that shows many is a fault or an attack."""
        return len(peer.addresses) < _MOST_ADDRESSES

    # --- time ---------------------------------------------------------------------------------------------

    def on_timer(self) -> None:
        now_us, unix_time = clock_us(), time.time()
        for peer in list(self._peers.values()):
            peer.on_timer(now_us, unix_time)
            if peer.phase is Phase.CLOSED:
                self._remove(peer)
        for key, room in list(self._rooms.items()):
            room.expire(now_us)
            room.forget_idle_streams()
            if room.empty:
                del self._rooms[key]

    def drain(self, elapsed_s: float) -> bool:
        """Sends from the backlogs; True while there are any."""
        for viewer, stream in list(self._backlogs.items()):
            if not viewer.drain(elapsed_s, stream.sources.video):
                del self._backlogs[viewer]
        return bool(self._backlogs)

    def close(self) -> None:
        for peer in list(self._peers.values()):
            self._remove(peer)

    # --- inside -------------------------------------------------------------------------------------------

    def _room(self, app_id: AppId, room_id: RoomId) -> Room:
        room = self._rooms.get((app_id, room_id))
        if room is None:
            room = self._rooms[app_id, room_id] = Room(app_id, room_id, self._emit)
        return room

    def _stream(self, room: Room, user_id: UserId, number: int) -> Stream:
        key = (user_id, number)
        stream = room.streams.get(key)
        if stream is None:

            def request_key_frame() -> None:
                publication = room.publications.get(key)
                link = self._links.get(publication.run_id) if publication else None
                if link is not None:
                    link.ask_key_frame()

            stream = room.streams[key] = Stream(f"s{secrets.token_hex(8)}", request_key_frame)
        return stream

    def _close_run(self, run_id: str) -> None:
        """Remembers the run, so that frames still on their way do not bring its user back."""
        self._note_retired(run_id)
        link = self._links.pop(run_id, None)
        if link is not None:
            link.close()

    def _note_retired(self, run_id: str) -> None:
        self._retired[run_id] = None
        if len(self._retired) > _MOST_RETIRED:
            self._retired.popitem(last=False)

    def _defer(self, viewer: Viewer, stream: Stream) -> None:
        if not self._backlogs:
            self._start_drain()
        self._backlogs[viewer] = stream

    def _remove(self, peer: Peer) -> None:
        if self._peers.pop(peer.id, None) is None:
            return
        peer.close()
        peer.stream.watched -= 1
        self._by_name.pop(peer.ufrag, None)
        for address in peer.addresses:
            self._socket.close_path(address)
            if self._by_address.get(address) is peer:
                del self._by_address[address]
        if peer.viewer is not None:
            self._backlogs.pop(peer.viewer, None)
        self._rooms_of_peers.pop(peer.id).leave(peer.id, clock_us())
