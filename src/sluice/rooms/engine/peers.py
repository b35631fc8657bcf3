"""All peers of a room process: who sits where, and whose a datagram is.

A peer is found by its ICE user name first and by the addresses that it has proven after that. Everything that
can go wrong with one peer ends that peer.
"""

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from aioice import stun

from sluice.core.fairness import Holder, SeatLimits, Seats
from sluice.core.ids import PeerId, UserId
from sluice.rooms.engine.dtls import DtlsIdentity
from sluice.rooms.engine.negotiation import Agreement
from sluice.rooms.engine.peer import Connection, Peer, Phase, Role
from sluice.rooms.engine.room import Room
from sluice.rooms.engine.socket import Address, MediaSocket
from sluice.rooms.engine.stream import Stream
from sluice.wire.sdp_answer import LocalPeer

log = structlog.get_logger()

_MOST_PEERS = 5000
_MOST_ADDRESSES = 16  # of one peer


def clock_us() -> int:
    """The engine's clock: monotonic, in microseconds."""
    return time.monotonic_ns() // 1000


@dataclass(slots=True)
class Seat:
    """A peer's place: whose it is, on whose account it is counted, and the stream that it watches or
    publishes. `lead` is as in Agreement, `names` are the ICE user names by which it is found."""

    peer: Peer
    room: Room
    user_id: UserId
    holder: Holder
    stream: Stream
    lead: tuple[str, ...]
    names: set[str] = field(default_factory=set)


class Peers:
    """`on_gone` is called with the seat of each peer that has ended."""

    def __init__(
        self,
        socket: MediaSocket,
        identity: DtlsIdentity,
        candidates: list[tuple[str, int]],
        on_gone: Callable[[Seat], None],
        limits: SeatLimits,
    ) -> None:
        self._socket = socket
        self._identity = identity
        self._candidates = candidates
        self._on_gone = on_gone
        self._seats: dict[str, Seat] = {}
        self._shares = Seats(limits, "peers")
        self._by_name: dict[str, Peer] = {}
        self._by_address: dict[Address, Peer] = {}

    def refusal(self, holder: Holder) -> str:
        """Why there is no seat for him; empty where there is one."""
        if len(self._seats) >= _MOST_PEERS:
            return f"this room process serves {_MOST_PEERS} peers, the most at once"
        return self._shares.refusal(holder)

    def get(self, peer_id: str) -> Seat | None:
        return self._seats.get(peer_id)

    def sit_down(
        self,
        peer_id: PeerId,
        agreed: Agreement,
        begin: Callable[[Connection, int], Role],
        *,
        room: Room,
        holder: Holder,
        stream: Stream,
    ) -> Seat:
        """A new peer, which is waited for; `begin` makes its role when it is connected."""
        peer = Peer(peer_id, begin, self._socket, self._identity, agreed.transport, clock_us())
        user_id = UserId(holder.user)
        seat = self._seats[peer_id] = Seat(peer, room, user_id, holder, stream, agreed.lead)
        self._shares.take(holder)
        self._name(seat)
        stream.watched += 1
        room.enter(user_id, peer_id)
        return seat

    def restart(self, seat: Seat, remote_ufrag: str) -> None:
        """A new ICE session of the peer (see `Peer.restart`)."""
        seat.peer.restart(remote_ufrag)
        self._name(seat)

    def local(self, seat: Seat) -> LocalPeer:
        """Our side of the peer's transport."""
        peer = seat.peer
        password = peer.passwords[peer.ufrag]
        return LocalPeer(peer.ufrag, password, self._identity.fingerprint, self._candidates)

    def remove(self, peer: Peer) -> None:
        seat = self._seats.pop(peer.id, None)
        if seat is None:
            return
        peer.close()
        self._shares.give_back(seat.holder)
        seat.stream.watched -= 1
        for name in seat.names:
            del self._by_name[name]
        for address in peer.addresses:
            self._socket.close_path(address)
            if self._by_address.get(address) is peer:
                del self._by_address[address]
        self._on_gone(seat)

    def close(self) -> None:
        for seat in list(self._seats.values()):
            self.remove(seat.peer)

    def on_timer(self, now_us: int, unix_time: float) -> None:
        for seat in list(self._seats.values()):
            seat.peer.on_timer(now_us, unix_time)
            if seat.peer.phase is Phase.CLOSED:
                self.remove(seat.peer)

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
        if 128 <= first < 192 and len(data) > 1:
            if 192 <= data[1] < 224:  # RFC 5761 4
                peer.handle_rtcp(data, clock_us())
            else:
                peer.handle_rtp(data, clock_us())
        elif 20 <= first < 64 and not peer.handle_dtls(data, clock_us()):
            self.remove(peer)

    def _on_stun(self, data: bytes, address: Address) -> None:
        try:
            message = stun.parse_message(data)
        except (ValueError, struct.error):
            return
        name = message.attributes.get("USERNAME")
        ufrag = name.partition(":")[0] if isinstance(name, str) else ""
        peer = self._by_name.get(ufrag)
        if (
            peer is not None
            and peer.handle_stun(message, ufrag, address, clock_us())
            # A peer has few addresses; one that shows many is a fault or an attack.
            and (address in self._by_address or len(peer.addresses) < _MOST_ADDRESSES)
        ):
            self._by_address[address] = peer
            peer.addresses.add(address)

    def _name(self, seat: Seat) -> None:
        for name in seat.names:
            del self._by_name[name]
        seat.names = set(seat.peer.passwords)
        for name in seat.names:
            self._by_name[name] = seat.peer
