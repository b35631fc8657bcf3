"""One WebRTC peer that watches: ICE-lite (RFC 8445 2.5), DTLS-SRTP, and its RTCP feedback.

The engine gives it datagrams and time; it answers through the media socket. A peer ends when it says so,
when its handshake fails or takes too long, and when its consent checks stay away (RFC 7675).
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import structlog
from aioice import stun
from pylibsrtp import Error as SrtpError
from pylibsrtp import Policy, Session

from sluice.core.ids import PeerId
from sluice.rooms.engine.dtls import DtlsError, DtlsIdentity, DtlsServer, SrtpKeys
from sluice.rooms.engine.loss import LossWatch
from sluice.rooms.engine.socket import Address, MediaSocket
from sluice.rooms.engine.stream import Stream
from sluice.rooms.engine.viewer import CmSender, Viewer
from sluice.wire.rtcp import Goodbye, Nack, PictureLoss, Reception, parse, sender_report
from sluice.wire.sdp import VideoFormat
from sluice.wire.srtp import GCM_TAG, GcmSender

log = structlog.get_logger()

CONSENT_US = 30_000_000
_HANDSHAKE_US = 30_000_000
_REPORT_US = 1_000_000
#: How long a publisher that can make a key frame has for it, before a lost picture is repaired without.
_KEY_FRAME_US = 100_000
_REPAIR_PAUSE_US = 1_000_000


class Phase(Enum):
    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Terms:
    """What offer and answer agreed on; `fingerprint` is that of the peer's certificate."""

    fingerprint: str
    video: VideoFormat | None
    opus: int | None


class Peer:
    """`on_backlog` is handed to its viewer (see viewer.Viewer)."""

    def __init__(
        self,
        peer_id: PeerId,
        stream: Stream,
        socket: MediaSocket,
        identity: DtlsIdentity,
        *,
        terms: Terms,
        on_backlog: Callable[[Viewer], None],
        now_us: int,
    ) -> None:
        self.id = peer_id
        self.stream = stream
        self.phase = Phase.CONNECTING
        # RFC 8839 5.4: letters, digits, + and / only; at least 24 and 128 bits at random.
        self.ufrag = secrets.token_hex(8)
        self.password = secrets.token_hex(16)
        self.addresses: set[Address] = set()  #: from which it has shown its password
        self.viewer: Viewer | None = None
        self._socket = socket
        self._dtls = DtlsServer(identity, terms.fingerprint)
        self._terms = terms
        self._on_backlog = on_backlog
        self._receive: Session | None = None
        self._send_rtcp: Session | None = None
        self._address: Address | None = None
        self._heard_us = now_us
        self._created_us = now_us
        self._report_at_us = 0
        self._loss = LossWatch()
        self._video_paused = False
        self._picture_lost: tuple[int, int] | None = None  #: when, and the newest key frame then
        self._repair_at_us = 0  #: not before

    # --- datagrams ----------------------------------------------------------------------------------------

    def handle_stun(self, request: stun.Message, address: Address, now_us: int) -> bool:
        """A binding request with our user name; True when it was genuine. Anything else is ignored."""
        key = self.password.encode()
        if request.message_class != stun.Class.REQUEST or not request.check_message_integrity(key):
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
            self._address = address
            if self.viewer is not None:
                self._socket.open_path(address)
                self.viewer.address = address
        return True

    def handle_dtls(self, data: bytes, now_us: int) -> bool:
        """False when the peer is over."""
        if self._address is None:
            return True
        try:
            for datagram in self._dtls.handle(data):
                self._socket.send(datagram, self._address)
        except DtlsError as error:
            log.info("x peer", peer=self.id, why=str(error))
            return False
        if self._dtls.keys is not None and self.phase is Phase.CONNECTING:
            self._connect(self._dtls.keys, now_us)
        return not self._dtls.closed

    def handle_rtcp(self, data: bytes, now_us: int) -> None:
        if self._receive is None or self.viewer is None:
            return
        try:
            feedback = parse(self._receive.unprotect_rtcp(data))
        except (SrtpError, ValueError):  # RtcpError, or longer than libsrtp's buffer
            return
        for item in feedback:
            if isinstance(item, Nack):
                self._repeat(item, now_us)
            elif isinstance(item, PictureLoss):
                self._on_picture_loss(now_us)
            elif isinstance(item, Reception):
                self._on_reception(item, now_us)
            elif isinstance(item, Goodbye):
                log.debug("< goodbye", peer=self.id)

    # --- time ---------------------------------------------------------------------------------------------

    def on_timer(self, now_us: int, unix_time: float) -> None:
        """Called a few times a second."""
        if self.phase is Phase.CONNECTING:
            if not self._retry_handshake() or now_us - self._created_us > _HANDSHAKE_US:
                log.info("x peer", peer=self.id, why="never connected")
                self.close()
        elif now_us - self._heard_us > CONSENT_US:
            log.info("x peer", peer=self.id, why="consent expired")
            self.close()
        elif self.viewer is not None:
            self._loss.on_timer(now_us)
            self._follow_loss(self.viewer, now_us)
            self._repair(self.viewer, now_us)
            if now_us >= self._report_at_us:
                self._report_at_us = now_us + _REPORT_US
                self._report(self.viewer, now_us, unix_time)

    def close(self) -> None:
        """Tells the peer, if it can still hear, and stops sending. The engine removes it."""
        if self.phase is Phase.CLOSED:
            return
        self.phase = Phase.CLOSED
        if self.viewer is not None:
            self.stream.leave(self.viewer)
        for datagram in self._dtls.close():
            if self._address is not None:
                self._socket.send(datagram, self._address)

    # --- inside -------------------------------------------------------------------------------------------

    def _retry_handshake(self) -> bool:
        try:
            for datagram in self._dtls.on_timer():
                if self._address is not None:
                    self._socket.send(datagram, self._address)
        except DtlsError:
            return False
        return True

    def _connect(self, keys: SrtpKeys, now_us: int) -> None:
        assert self._address is not None  # noqa: S101 - DTLS is not answered before
        profile = Policy.SRTP_PROFILE_AEAD_AES_128_GCM if keys.gcm else Policy.SRTP_PROFILE_AES128_CM_SHA1_80
        self._receive = Session(
            Policy(keys.receive_key + keys.receive_salt, Policy.SSRC_ANY_INBOUND, srtp_profile=profile)
        )
        self._send_rtcp = Session(
            Policy(keys.send_key + keys.send_salt, Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile)
        )
        sealer = (GcmSender if keys.gcm else CmSender)(keys.send_key, keys.send_salt)
        self._socket.open_path(self._address)
        self.viewer = Viewer(
            self._socket,
            sealer,
            tag=GCM_TAG if keys.gcm else CmSender.TAG,
            address=self._address,
            video=self._terms.video,
            opus=self._terms.opus,
            on_backlog=self._on_backlog,
        )
        self.phase = Phase.CONNECTED
        log.info("> peer connected", peer=self.id, profile="gcm" if keys.gcm else "cm")
        self.stream.join(self.viewer, now_us)

    def _repeat(self, nack: Nack, now_us: int) -> None:
        if nack.ssrc == self.stream.sources.video and self.viewer is not None:
            # A receiver that does not know its round-trip time (RFC 3611 would tell) asks again after 100 ms
            # only, which shows. Where little is lost, a second copy costs little and saves it from that.
            copies = 2 if self._loss.light else 1
            for number in nack.sequences * copies:
                self.stream.retransmit(self.viewer, number, now_us)

    def _on_picture_loss(self, now_us: int) -> None:
        if self._video_paused:
            return  # a key frame now would cost all viewers and help none
        self.stream.ask_key_frame(now_us)
        if self._picture_lost is None:
            self._picture_lost = now_us, self.stream.newest_key

    def _repair(self, viewer: Viewer, now_us: int) -> None:
        """A copied source makes no key frame when asked: the last one, and all since, is sent again."""
        if self._picture_lost is None or now_us < self._repair_at_us:
            return
        lost_us, newest_key = self._picture_lost
        if self.stream.newest_key == newest_key:
            if now_us - lost_us < _KEY_FRAME_US:
                return
            self._repair_at_us = now_us + _REPAIR_PAUSE_US
            self.stream.repair(viewer, now_us)
        self._picture_lost = None

    def _on_reception(self, report: Reception, now_us: int) -> None:
        sources = self.stream.sources
        if report.ssrc == sources.video:
            self._loss.on_video_report(report, now_us)
        elif report.ssrc == sources.audio:
            self._loss.on_audio_report(report, now_us)

    def _follow_loss(self, viewer: Viewer, now_us: int) -> None:
        if self._loss.video != self._video_paused:
            return
        self._video_paused = not self._loss.video
        if self._video_paused:
            self._picture_lost = None
            self.stream.pause(viewer)
        else:
            viewer.resume()
            self.stream.ask_key_frame(now_us)
        log.info("> video", peer=self.id, paused=self._video_paused)

    def _report(self, viewer: Viewer, now_us: int, unix_time: float) -> None:
        sources = self.stream.sources
        if self._send_rtcp is None or self._address is None:
            return
        video_time, audio_time = self.stream.timestamps(now_us)
        for ssrc, timestamp, packets, octets in (
            (sources.video, video_time, viewer.video_packets, viewer.video_octets),
            (sources.audio, audio_time, viewer.audio_packets, viewer.audio_octets),
        ):
            if packets:
                report = sender_report(
                    ssrc,
                    unix_time=unix_time,
                    timestamp=timestamp,
                    packets=packets,
                    octets=octets,
                    cname=sources.cname,
                )
                self._socket.send(self._send_rtcp.protect_rtcp(report), self._address)
