"""All peers of a room process: their entries, and to which of them a datagram belongs.

A peer is found by its ICE user name at first, and then by the addresses that it has proven. Whatever goes
wrong with one peer, our own defects included, ends that peer alone.
"""

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import structlog
from aioice import stun

from sluice.core.fairness import Holder, SeatLimits, Seats
from sluice.core.ids import PeerId, UserId
from sluice.core.limits import (
    MOST_ENDED_AT_ONCE,
    MOST_PEER_ADDRESSES,
    MOST_PEERS,
    MOST_STUN_BYTES,
)
from sluice.rooms.engine.dtls import DtlsIdentity
from sluice.rooms.engine.negotiation import Agreement
from sluice.rooms.engine.peer import Connection, Peer, Phase, Role
from sluice.rooms.engine.room import Room
from sluice.rooms.engine.socket import Address, MediaSocket
from sluice.rooms.engine.stream import Stream
from sluice.wire.sdp_answer import LocalPeer

log = structlog.get_logger()

_STUN_HEAD, _BINDING_REQUEST, _USERNAME = 20, b"\0\1", b"\0\6"


def clock_us() -> int:
    """The engine's clock: monotonic, in microseconds."""
    return time.monotonic_ns() // 1000


@dataclass(slots=True)
class PeerEntry:
    """A peer with its user, the account on which it is counted (`holder`), and the stream that it watches or
    publishes. `lead` is as in Agreement; `names` are the ICE user names by which it is found."""

    peer: Peer
    room: Room
    user_id: UserId
    holder: Holder
    stream: Stream
    lead: tuple[str, ...]
    names: set[str] = field(default_factory=set)


class Peers:
    """`on_gone` is called with the entry of each peer that has ended."""

    def __init__(
        self,
        socket: MediaSocket,
        identity: DtlsIdentity,
        candidates: list[tuple[str, int]],
        on_gone: Callable[[PeerEntry], None],
        limits: SeatLimits,
    ) -> None:
        self._socket = socket
        self._identity = identity
        self._candidates = candidates
        self._on_gone = on_gone
        self._entries: dict[str, PeerEntry] = {}
        self._shares = Seats(limits, "peers")
        self._by_name: dict[str, Peer] = {}
        self._by_address: dict[Address, Peer] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def refusal(self, holder: Holder) -> str:
        """Why he cannot have another peer; empty where he can."""
        if len(self._entries) >= MOST_PEERS:
            return f"this room process serves {MOST_PEERS} peers, the most at once"
        return self._shares.refusal(holder)

    def get(self, peer_id: str) -> PeerEntry | None:
        return self._entries.get(peer_id)

    def add(
        self,
        peer_id: PeerId,
        agreed: Agreement,
        begin: Callable[[Connection, int], Role],
        *,
        room: Room,
        holder: Holder,
        stream: Stream,
    ) -> PeerEntry:
        """A new peer, which is waited for; `begin` makes its role when it is connected."""
        peer = Peer(peer_id, begin, self._socket, self._identity, agreed.transport, clock_us())
        user_id = UserId(holder.user)
        entry = self._entries[peer_id] = PeerEntry(peer, room, user_id, holder, stream, agreed.lead)
        self._shares.take(holder)
        self._name(entry)
        stream.hold()
        room.enter(user_id, peer_id)
        return entry

    def restart(self, entry: PeerEntry, remote_ufrag: str) -> None:
        """A new ICE session of the peer (see `Peer.restart`)."""
        entry.peer.restart(remote_ufrag)
        self._name(entry)

    def local(self, entry: PeerEntry) -> LocalPeer:
        """Our side of the peer's transport."""
        peer = entry.peer
        password = peer.passwords[peer.ufrag]
        return LocalPeer(peer.ufrag, password, self._identity.fingerprint, self._candidates)

    def remove(self, peer: Peer) -> None:
        entry = self._entries.pop(peer.id, None)
        if entry is None:
            return
        self._try(peer, peer.close)
        self._shares.give_back(entry.holder)
        entry.stream.release()
        for name in entry.names:
            del self._by_name[name]
        for address in peer.addresses:
            self._forget(peer, address)
        self._try(peer, partial(self._on_gone, entry))

    def _try(self, peer: Peer, work: Callable[[], None]) -> bool:
        """False when the work failed; then the peer has to go."""
        try:
            work()
        except Exception:  # root of a peer: our defect ends it, and nothing else
            log.error("x peer", peer_id=peer.id, why="a defect of ours", exc_info=True)
            return False
        return True

    def close(self) -> None:
        for entry in list(self._entries.values()):
            self.remove(entry.peer)

    def end_all(self, room: Room) -> None:
        for entry in [entry for entry in self._entries.values() if entry.room is room]:
            self.remove(entry.peer)

    def on_timer(self, now_us: int, unix_time: float) -> None:
        ended = 0
        for entry in list(self._entries.values()):
            peer = entry.peer
            well = self._try(peer, partial(peer.on_timer, now_us, unix_time))
            if (peer.phase is Phase.CLOSED or not well) and ended < MOST_ENDED_AT_ONCE:
                ended += 1
                self.remove(peer)

    # --- datagrams ----------------------------------------------------------------------------------------

    def on_datagram(self, data: bytes, address: Address) -> None:
        """RFC 7983: the first byte tells STUN, DTLS and RTP apart."""
        first = data[0] if data else 255
        if first < 4:
            self._on_stun(data, address)
            return
        peer = self._by_address.get(address)
        if peer is None:
            return
        try:
            if 128 <= first < 192 and len(data) > 1:
                if 192 <= data[1] < 224:  # RFC 5761 4
                    peer.handle_rtcp(data, clock_us())
                else:
                    peer.handle_rtp(data, clock_us())
            elif 20 <= first < 64 and not peer.handle_dtls(data, clock_us()):
                self.remove(peer)
        except Exception:  # root of a peer, as in `_try`, without a call for each packet
            log.error("x peer", peer_id=peer.id, why="a defect of ours", exc_info=True)
            self.remove(peer)

    def _on_stun(self, data: bytes, address: Address) -> None:
        if len(data) > MOST_STUN_BYTES or not data.startswith(_BINDING_REQUEST):
            return
        ufrag = _ufrag_of(data)
        peer, now_us = self._by_name.get(ufrag), clock_us()
        if peer is None or not peer.may_check(address, now_us):
            return
        holder = self._by_address.get(address)
        if holder is not None and holder is not peer and holder.is_at(address, now_us):
            return  # a source address can be forged: nobody takes that of a peer that is there
        try:
            message = stun.parse_message(data)
        except (ValueError, struct.error):
            return
        if peer.handle_stun(message, ufrag, address, now_us):
            self._find_at(peer, address)

    def _find_at(self, peer: Peer, address: Address) -> None:
        """From now on what comes from this address is the peer's."""
        self._by_address[address] = peer
        peer.addresses.pop(address, None)
        peer.addresses[address] = None
        if len(peer.addresses) > MOST_PEER_ADDRESSES:
            oldest = next(known for known in peer.addresses if known != peer.address)
            del peer.addresses[oldest]
            self._forget(peer, oldest)

    def _forget(self, peer: Peer, address: Address) -> None:
        if self._by_address.get(address) is peer:
            del self._by_address[address]
            self._socket.close_path(address)

    def _name(self, entry: PeerEntry) -> None:
        for name in entry.names:
            del self._by_name[name]
        entry.names = set(entry.peer.passwords)
        for name in entry.names:
            self._by_name[name] = entry.peer


def _ufrag_of(data: bytes) -> str:
    """Whom an ICE check names (RFC 8445 7.2.2), found without reading the rest: most of a flood ends here."""
    at = _STUN_HEAD
    while at + 4 <= len(data):
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at : at + 2] == _USERNAME:
            return data[at + 4 : at + 4 + size].partition(b":")[0].decode("latin-1")
        at += 4 + size + -size % 4
    return ""
