"""A stranger at a room engine, without a network: a WebRTC peer that says what a test wants it to say.

`Air` is the engine's media socket and keeps what is sent by address; a `Stranger` joins by ICE, DTLS and SRTP
as a browser does, and then sends packets of any content under its keys.
"""

import datetime
from collections.abc import Callable, Sequence
from functools import cache
from typing import cast

from aioice import stun
from pylibsrtp import Policy, Session

from sluice.core.drops import DropCounter
from sluice.core.fairness import PEER_SEATS, SeatLimits
from sluice.core.ids import AppId, RoomId, UserId
from sluice.core.rooms import PublishOffer, StreamIndex, WatchOffer
from sluice.process.control import Answer, ClosePeer, Message, Publish, RoomChanged, Watch
from sluice.rooms.engine.dtls import Dtls, DtlsIdentity
from sluice.rooms.engine.engine import Engine
from sluice.rooms.engine.socket import Address, MediaSocket
from sluice.wire.sdp_transport import Fingerprints

VIDEO, RTX, OPUS, TRANSPORT_ID = 96, 97, 111, 3
_OURS = ("127.0.0.1", 40000)
_GCM = Policy.SRTP_PROFILE_AEAD_AES_128_GCM


class Air:
    """What a MediaSocket is to an engine. `opened` counts the paths that were opened, ever."""

    def __init__(self) -> None:
        self.sent: dict[Address, list[bytes]] = {}
        self.paths: set[Address] = set()
        self.opened = self.packets = 0

    def send(self, data: bytes, address: Address) -> None:
        self.sent.setdefault(address, []).append(data)

    def send_runs(
        self, sealed: Sequence[bytes], runs: Sequence[tuple[int, int, int]], overhead: int, address: Address
    ) -> None:
        self.packets += len(sealed) // 2

    def open_path(self, address: Address) -> None:
        self.opened += address not in self.paths
        self.paths.add(address)

    def close_path(self, address: Address) -> None:
        self.paths.discard(address)

    def take(self, address: Address) -> list[bytes]:
        return self.sent.pop(address, [])


@cache
def _identity() -> DtlsIdentity:
    return DtlsIdentity(datetime.datetime.now(datetime.UTC))


class House:
    """An engine, its air, and the room changes that it told."""

    def __init__(self, seats: SeatLimits = PEER_SEATS) -> None:
        self.air = Air()
        self.changes: list[RoomChanged] = []
        self.drops = DropCounter()
        self.engine = Engine(
            cast(MediaSocket, self.air),
            _identity(),
            [_OURS],
            emit=self.changes.append,
            start_drain=lambda: None,
            drops=self.drops,
            most_kept_bytes=64 << 20,
            seats=seats,
        )


class Stranger:
    """Joins the house as viewer or publisher of `user`'s stream."""

    def __init__(
        self,
        house: House,
        port: int,
        *,
        publishes: bool = False,
        user: str = "anna",
        name: str = "eve",
        room: str = "room",
    ) -> None:
        self.house, self.address = house, cast(Address, ("127.0.0.1", port))
        self._dtls: Dtls | None = None
        stream = AppId("app"), RoomId(room), UserId(user), StreamIndex.CAMERA
        sdp = offer(publishes=publishes)
        reply: Message
        if publishes:
            reply = house.engine.publish(Publish(offer=PublishOffer(*stream, ("audio", "video"), sdp)))
        else:
            reply = house.engine.watch(Watch(offer=WatchOffer(*stream, UserId(name), sdp)))
        assert isinstance(reply, Answer), reply
        self.peer_id, self.answer = reply.answer.peer_id, reply.answer.sdp
        self.end = ClosePeer(
            app_id="app", room_id=room, user_id=user if publishes else name, peer_id=self.peer_id
        )
        self.ufrag, self.password = _value(self.answer, "ice-ufrag"), _value(self.answer, "ice-pwd")

    def check(self, address: Address | None = None, *, password: str = "", use: bool = True) -> None:
        """An ICE check from this address, genuine unless the password is another."""
        self.house.engine.on_datagram(
            self.checked(password or self.password, use=use), address or self.address
        )

    def checked(self, password: str, *, use: bool = True) -> bytes:
        request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        request.attributes["USERNAME"] = f"{self.ufrag}:eve1"
        request.attributes["PRIORITY"] = 1845501695
        if use:
            request.attributes["USE-CANDIDATE"] = None
        request.add_message_integrity(password.encode())
        return bytes(request)

    def connect(self) -> "Stranger":
        self.check()
        self.house.air.take(self.address)
        fingerprint = bytes.fromhex(_identity().fingerprint.split()[1].replace(":", ""))
        dtls = Dtls(_identity(), Fingerprints("sha-256", (fingerprint,)), client=True)
        flight = dtls.begin()
        while flight:
            for datagram in flight:
                self.send(datagram)
            flight = [out for data in self.house.air.take(self.address) for out in dtls.handle(data)]
        assert dtls.keys is not None
        self._dtls = dtls
        outbound = Policy(
            dtls.keys.send_key + dtls.keys.send_salt, Policy.SSRC_ANY_OUTBOUND, srtp_profile=_GCM
        )
        self._srtp = Session(outbound)
        return self

    def send(self, data: bytes) -> None:
        self.house.engine.on_datagram(data, self.address)

    def rtp(self, packet: bytes) -> bytes:
        return self._srtp.protect(packet)

    def rtcp(self, packet: bytes) -> bytes:
        return self._srtp.protect_rtcp(packet)


def _value(sdp: str, name: str) -> str:
    return next(line.split(":", 1)[1] for line in sdp.splitlines() if line.startswith(f"a={name}:"))


def offer(*, publishes: bool, edit: Callable[[list[str]], None] = lambda lines: None) -> str:
    direction = "sendonly" if publishes else "recvonly"
    transport = (
        *("a=ice-ufrag:eve1", "a=ice-pwd:0123456789012345678901", f"a=fingerprint:{_identity().fingerprint}"),
        *("a=setup:active", "a=rtcp-mux", "a=rtcp-rsize", f"a={direction}"),
        f"a=extmap:{TRANSPORT_ID} http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    )
    lines = [
        *("v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", "a=group:BUNDLE 0 1"),
        *(f"m=video 9 UDP/TLS/RTP/SAVPF {VIDEO} {RTX}", "c=IN IP4 0.0.0.0", "a=mid:0", *transport),
        *(f"a=rtpmap:{VIDEO} H264/90000", f"a=rtpmap:{RTX} rtx/90000", f"a=fmtp:{RTX} apt={VIDEO}"),
        f"a=fmtp:{VIDEO} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
        *(f"a=rtcp-fb:{VIDEO} {name}" for name in ("nack", "nack pli", "transport-cc")),
        *(f"m=audio 9 UDP/TLS/RTP/SAVPF {OPUS}", "c=IN IP4 0.0.0.0", "a=mid:1", *transport),
        f"a=rtpmap:{OPUS} opus/48000/2",
    ]
    edit(lines)
    return "\r\n".join(lines) + "\r\n"
