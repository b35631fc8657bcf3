"""One WebRTC peer: ICE-lite (RFC 8445 2.5), DTLS-SRTP, and when it ends.

The engine gives it datagrams and time; it answers through the media socket. Once it is connected, its role
does the rest (`watching`, `publishing`). A peer ends when it says so, when its handshake fails or takes too
long, when its consent checks stay away (RFC 7675), and when it goes on exceeding its budgets (`conduct`).
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Protocol

import structlog
from aioice import stun
from pylibsrtp import Error as SrtpError
from pylibsrtp import Policy, Session

from sluice.core.ids import PeerId
from sluice.core.limits import (
    ANNOUNCEMENTS_AT_ONCE,
    ANNOUNCEMENTS_PER_S,
    CHECKS_AT_ONCE,
    CHECKS_PER_S,
    FALSE_CHECKS_AT_ONCE,
    FALSE_CHECKS_PER_S,
    FORGED_AT_ONCE,
    FORGED_PER_S,
    HANDSHAKE_DATAGRAMS_AT_ONCE,
    HANDSHAKE_DATAGRAMS_PER_S,
    LEAST_RTP_BYTES,
    NEW_ADDRESSES_AT_ONCE,
    NEW_ADDRESSES_PER_S,
    NEW_SSRCS_AT_ONCE,
    NEW_SSRCS_PER_S,
    RTCP_PACKETS_AT_ONCE,
    RTCP_PACKETS_PER_S,
    RTP_BYTES_AT_ONCE,
    RTP_BYTES_PER_S,
)
from sluice.rooms.engine.conduct import Conduct, TokenBucket
from sluice.rooms.engine.dtls import Dtls, DtlsError, DtlsIdentity, SrtpKeys
from sluice.rooms.engine.socket import Address, MediaSocket
from sluice.wire.rtcp import Feedback, parse
from sluice.wire.sdp_transport import Transport

log = structlog.get_logger()

CONSENT_US = 30_000_000
#: Peers check every 5 s (RFC 7675 5.1, with a fifth more or less).
_PRESENT_US = 6_500_000
_HANDSHAKE_US = 30_000_000
#: Packets that may be late without being taken for repeated ones (RFC 3711 3.3.2): a second of much video.
_REPLAY_WINDOW = 1024

_TOO_MANY_CHECKS = f"it sends more than {CHECKS_PER_S} ICE checks a second"
_TOO_MANY_ADDRESSES = f"it shows more than {NEW_ADDRESSES_PER_S} new address a second"
_TOO_MUCH_DTLS = f"it sends more than {HANDSHAKE_DATAGRAMS_PER_S} DTLS datagrams a second"
_TOO_MUCH_RTP = (
    f"it sends more than {RTP_BYTES_PER_S * 8 // 1_000_000} Mbit/s, "
    f"or {RTP_BYTES_PER_S // LEAST_RTP_BYTES} RTP packets a second"
)
_TOO_MUCH_RTCP = f"it sends more than {RTCP_PACKETS_PER_S} RTCP packets a second"
_TOO_MANY_SSRCS = f"it sends under more than {NEW_SSRCS_AT_ONCE} SSRCs and one more each minute"


class Phase(Enum):
    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSED = "closed"


class Role(Protocol):
    """What a connected peer is there for. All calls come from the engine's one thread. RTP is decrypted only
    for a role that takes it."""

    takes_rtp: ClassVar[bool]

    def on_address(self, address: Address) -> None: ...

    def on_rtp(self, packet: bytes, now_us: int) -> None: ...

    def on_rtcp(self, feedback: list[Feedback], now_us: int) -> None: ...

    def on_timer(self, now_us: int, unix_time: float) -> None: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class Connection:
    """Where a connected peer is, and the keys to it. `address` changes when the peer moves."""

    peer_id: PeerId
    address: Address
    keys: SrtpKeys
    socket: MediaSocket
    conduct: Conduct
    _rtcp: Session

    def send_rtcp(self, packet: bytes) -> None:
        self.socket.send(self._rtcp.protect_rtcp(packet), self.address)


class Peer:
    """`transport` is what its offer says of it. `begin` makes its role when it is connected."""

    def __init__(
        self,
        peer_id: PeerId,
        begin: Callable[[Connection, int], Role],
        socket: MediaSocket,
        identity: DtlsIdentity,
        transport: Transport,
        now_us: int,
    ) -> None:
        self.id = peer_id
        self.phase = Phase.CONNECTING
        self.conduct = Conduct(peer_id)
        #: From which it has shown its password, the newest check last.
        self.addresses: dict[Address, None] = {}
        self.passwords: dict[str, str] = {}  #: ours by our user names, the newest last
        self.remote_ufrag = ""  #: names the peer's side of the ICE session
        self.restart(transport.ufrag)
        self._begin = begin
        self._role: Role | None = None
        self._socket = socket
        self._dtls = Dtls(identity, transport.fingerprints, client=transport.client)
        self._receive: Session | None = None
        self._connection: Connection | None = None
        self._address: Address | None = None
        self._heard_us = now_us
        self._created_us = now_us
        #: What it asks for over HTTP.
        self.announcements = TokenBucket(ANNOUNCEMENTS_PER_S, ANNOUNCEMENTS_AT_ONCE)
        self._ssrcs: set[bytes] = set()  #: for each of which libsrtp keeps a state
        self._new_ssrcs = TokenBucket(NEW_SSRCS_PER_S, NEW_SSRCS_AT_ONCE)
        self._forged = TokenBucket(FORGED_PER_S, FORGED_AT_ONCE)
        self._checks = TokenBucket(CHECKS_PER_S, CHECKS_AT_ONCE)
        self._false_checks = TokenBucket(FALSE_CHECKS_PER_S, FALSE_CHECKS_AT_ONCE)
        self._new_addresses = TokenBucket(NEW_ADDRESSES_PER_S, NEW_ADDRESSES_AT_ONCE)
        self._dtls_datagrams = TokenBucket(HANDSHAKE_DATAGRAMS_PER_S, HANDSHAKE_DATAGRAMS_AT_ONCE)
        self._rtp_bytes = TokenBucket(RTP_BYTES_PER_S, RTP_BYTES_AT_ONCE)
        self._rtcp_packets = TokenBucket(RTCP_PACKETS_PER_S, RTCP_PACKETS_AT_ONCE)

    # --- ICE ----------------------------------------------------------------------------------------------

    @property
    def ufrag(self) -> str:
        """Our newest user name, which names our side of the ICE session."""
        return next(reversed(self.passwords))

    def restart(self, remote_ufrag: str) -> None:
        """New names for a new ICE session (RFC 8445 9). The old session serves until the new one does."""
        self.passwords = dict(list(self.passwords.items())[-1:])
        # RFC 8839 5.4: letters, digits, + and / only; at least 24 and 128 bits at random.
        self.passwords[secrets.token_hex(8)] = secrets.token_hex(16)
        self.remote_ufrag = remote_ufrag

    @property
    def address(self) -> Address | None:
        """Where it is, as its newest nomination says."""
        return self._address

    def is_at(self, address: Address, now_us: int) -> bool:
        """Whether it was heard there lately."""
        return address == self._address and now_us - self._heard_us < _PRESENT_US

    def may_check(self, address: Address, now_us: int) -> bool:
        """Whether a check in its name is looked at; most of a flood ends here. Checks from other addresses
        may be a forger's, so they have a budget of their own and do not use up the peer's."""
        if address not in self.addresses:
            return self._false_checks.take(1, now_us)
        if self._checks.take(1, now_us):
            return True
        self.conduct.exceed(_TOO_MANY_CHECKS, now_us)
        return False

    def handle_stun(self, request: stun.Message, name: str, address: Address, now_us: int) -> bool:
        """A binding request to our `name`; True when it was genuine and is answered. All else is ignored."""
        key = self.passwords.get(name, "").encode()
        if not key or request.message_class != stun.Class.REQUEST or not request.check_message_integrity(key):
            return False
        if address not in self.addresses:
            self._false_checks.earn(1)
            if not self._new_addresses.take(1, now_us):
                self.conduct.exceed(_TOO_MANY_ADDRESSES, now_us)
                return False
        response = stun.Message(
            message_method=stun.Method.BINDING,
            message_class=stun.Class.RESPONSE,
            transaction_id=request.transaction_id,
        )
        response.attributes["XOR-MAPPED-ADDRESS"] = (address[0].removeprefix("::ffff:"), address[1])
        response.add_message_integrity(key)
        self._socket.send(bytes(response), address)
        self._heard_us = now_us
        if self._address is None or "USE-CANDIDATE" in request.attributes:
            if name == self.ufrag:
                self.passwords = {name: self.passwords[name]}
            reached, self._address = self._address is not None, address
            if not reached:
                self._send(self._dtls.begin())
            if self._connection is not None and self._role is not None:
                self._socket.open_path(address)
                self._connection.address = address
                self._role.on_address(address)
        return True

    # --- datagrams ----------------------------------------------------------------------------------------

    def handle_dtls(self, data: bytes, now_us: int) -> bool:
        """False when the peer is over."""
        if self._address is None:
            return True
        if not self._dtls_datagrams.take(1, now_us):
            if self.phase is Phase.CONNECTING:  # later, whoever forges its address would end it
                self.conduct.exceed(_TOO_MUCH_DTLS, now_us)
            return True
        try:
            self._send(self._dtls.handle(data))
        except DtlsError as error:
            log.info("x peer", peer_id=self.id, why=str(error))
            return False
        if self._dtls.keys is not None and self.phase is Phase.CONNECTING:
            self._connect(self._dtls.keys, now_us)
        return not self._dtls.closed

    def handle_rtp(self, data: bytes, now_us: int) -> None:
        if self._receive is None or self._role is None or not self._role.takes_rtp:
            return
        size = max(len(data), LEAST_RTP_BYTES)
        if not self._rtp_bytes.take(size, now_us):
            self._blame(_TOO_MUCH_RTP, now_us)
            return
        known = data[8:12] in self._ssrcs
        if not known and not self._may_be_new(now_us):
            return
        try:
            packet = self._receive.unprotect(data)
        except (SrtpError, ValueError):  # forged or repeated, or longer than libsrtp's buffer: not the peer's
            if self._forged.take(1, now_us):
                self._rtp_bytes.earn(size)
                self._new_ssrcs.earn(not known)
            return
        if not known:
            self._ssrcs.add(data[8:12])
        self._role.on_rtp(packet, now_us)

    def handle_rtcp(self, data: bytes, now_us: int) -> None:
        if self._receive is None or self._role is None:
            return
        if not self._rtcp_packets.take(1, now_us):
            self._blame(_TOO_MUCH_RTCP, now_us)
            return
        known = data[4:8] in self._ssrcs
        if not known and not self._may_be_new(now_us):
            return
        try:
            packet = self._receive.unprotect_rtcp(data)
        except (SrtpError, ValueError):  # as above
            if self._forged.take(1, now_us):
                self._rtcp_packets.earn(1)
                self._new_ssrcs.earn(not known)
            return
        self._ssrcs.add(data[4:8])
        try:
            feedback = parse(packet)
        except ValueError:  # RtcpError
            return
        self._role.on_rtcp(feedback, now_us)

    def _blame(self, what: str, now_us: int) -> None:
        """Holds what was dropped against the peer, unless so much is forged that it may be another's."""
        if self._forged.take(0, now_us):
            self.conduct.exceed(what, now_us)

    def _may_be_new(self, now_us: int) -> bool:
        """Whether there may be another SSRC."""
        if self._new_ssrcs.take(1, now_us):
            return True
        self._blame(_TOO_MANY_SSRCS, now_us)
        return False

    # --- time ---------------------------------------------------------------------------------------------

    def on_timer(self, now_us: int, unix_time: float) -> None:
        """Called a few times a second."""
        if self.phase is Phase.CLOSED:
            return  # of a crowd that ends at once, some wait for their turn to be removed
        if self.conduct.why:
            log.warning("x peer", peer_id=self.id, why=self.conduct.why, dropped=self.conduct.dropped)
            self.close()
        elif self.phase is Phase.CONNECTING:
            if not self._retry_handshake() or now_us - self._created_us > _HANDSHAKE_US:
                log.info("x peer", peer_id=self.id, why="never connected")
                self.close()
        elif now_us - self._heard_us > CONSENT_US:
            log.info("x peer", peer_id=self.id, why="consent expired")
            self.close()
        elif self._role is not None:
            self._role.on_timer(now_us, unix_time)

    def close(self) -> None:
        """Tells the peer, if it can still hear, and ends its role. `peers` removes it."""
        if self.phase is Phase.CLOSED:
            return
        self.phase = Phase.CLOSED
        if self._role is not None:
            self._role.close()
        self._send(self._dtls.close())

    # --- inside -------------------------------------------------------------------------------------------

    def _retry_handshake(self) -> bool:
        try:
            self._send(self._dtls.on_timer())
        except DtlsError:
            return False
        return True

    def _send(self, datagrams: list[bytes]) -> None:
        for datagram in datagrams:
            if self._address is not None:
                self._socket.send(datagram, self._address)

    def _connect(self, keys: SrtpKeys, now_us: int) -> None:
        assert self._address is not None  # noqa: S101 - DTLS is not answered before
        profile = Policy.SRTP_PROFILE_AEAD_AES_128_GCM if keys.gcm else Policy.SRTP_PROFILE_AES128_CM_SHA1_80
        inbound = Policy(keys.receive_key + keys.receive_salt, Policy.SSRC_ANY_INBOUND, srtp_profile=profile)
        inbound.window_size = _REPLAY_WINDOW
        self._receive = Session(inbound)
        outbound = Policy(keys.send_key + keys.send_salt, Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile)
        self._socket.open_path(self._address)
        self._connection = Connection(
            self.id, self._address, keys, self._socket, self.conduct, Session(outbound)
        )
        self.phase = Phase.CONNECTED
        log.info("> peer connected", peer_id=self.id, profile="gcm" if keys.gcm else "cm")
        self._role = self._begin(self._connection, now_us)
