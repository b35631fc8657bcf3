"""Targets with a state: a publisher's packets with what is fed back, RTMP servers, ICE and DTLS in front of a
peer, the control channel and the frame link. An input is a list of what the stranger does."""

import asyncio
import datetime
import struct
from collections.abc import Callable
from functools import cache
from typing import Any, cast

from aioice import stun
from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL
from pylibsrtp import Error as SrtpError
from pylibsrtp import Policy, Session

from sluice.core.drops import DropCounter
from sluice.core.fairness import PEER_SEATS, Holder
from sluice.core.ids import PeerId, UserId
from sluice.core.room_documents import PeerRole
from sluice.core.rooms import StreamIndex
from sluice.process.channel import Channel
from sluice.process.control import Done, Message
from sluice.process.documents import KeyFrameRequest, pack_document, read_document
from sluice.process.link import FrameParser, LinkError
from sluice.rooms.engine.dtls import DtlsIdentity
from sluice.rooms.engine.negotiation import agree_to_watch
from sluice.rooms.engine.peer import Connection
from sluice.rooms.engine.peers import Peers
from sluice.rooms.engine.room import Room
from sluice.rooms.engine.socket import Address, MediaSocket
from sluice.rooms.engine.stream import Stream
from sluice.wire import rtcp
from sluice.wire import rtmp_chunks as chunks
from sluice.wire.amf0 import encode
from sluice.wire.rtmp import Client, ClientState
from sluice.wire.rtmp_chunks import Message as RtmpMessage
from sluice.wire.rtmp_chunks import RtmpError, write_message
from sluice.wire.rtmp_play import PlayMachine
from sluice.wire.rtmp_publish import PublishMachine
from tests.fuzz.target import Choices, Target
from tests.fuzz.wire import DATA, PICTURES
from tests.unit.test_channel import Wire
from tests.unit.test_publishing import AUDIO_SSRC, OPUS, RTX, RTX_SSRC, VIDEO, VIDEO_SSRC, Sender

_MS = 1000
#: What a stranger may make us send and keep, for what he sends.
_MOST_SENT_PER_BYTE, _FREE_SENT = 64, 1 << 16


def _bounded(sent: int, data: bytes) -> None:
    assert sent <= _FREE_SENT + _MOST_SENT_PER_BYTE * len(data), f"{sent} bytes sent for {len(data)}"


# --- a publisher ------------------------------------------------------------------------------------------

_SENDERS = ((VIDEO, VIDEO_SSRC), (RTX, RTX_SSRC), (OPUS, AUDIO_SSRC), (VIDEO, 99))


def _rtp_of(choices: Choices) -> bytes:
    """A packet of one of his streams with any numbers, and perhaps a transport-wide one."""
    flags = choices.number(1)
    kind, ssrc = _SENDERS[flags & 3]
    head = struct.pack(
        *("!BBHII", 0x80 | (flags & 4) << 2, kind | (flags & 8) << 4),
        *(choices.number(2), choices.number(4), ssrc),
    )
    if flags & 4:
        head += b"\xbe\xde\0\1" + bytes((0x31,)) + choices.take(2).rjust(2, b"\0") + b"\0"
    unit = PICTURES[flags >> 4 & 3]
    return head + (unit if flags & 128 else choices.some())


def _publishing(data: bytes) -> None:
    choices, sender = Choices(data), Sender()
    sender.got.video = sender.got.audio = cast(list[int], _Void())
    while choices:
        action = choices.number(1)
        match action & 3:
            case 0 | 1:
                sender.role.on_rtp(_rtp_of(choices), sender.now_us)
            case 2:
                try:
                    feedback = rtcp.parse(choices.some())
                except rtcp.RtcpError:
                    continue
                sender.role.on_rtcp(feedback, sender.now_us)
            case _:
                sender.now_us += (action >> 2) ** 2 * _MS
                sender.role.on_timer(sender.now_us, sender.now_us / 1e6)
    _bounded(sum(map(len, sender.told)), data)


class _Void(list[Any]):
    def append(self, item: object) -> None:
        pass


def _publisher_seeds() -> list[bytes]:
    def packet(number: int, stamp: int, unit: int, wide: int) -> bytes:
        return struct.pack("!BBHIH", 0, 128 | unit << 4 | 12, number, stamp, wide)

    even = b"".join(packet(n, n * 3600, min(n, 3), n) + b"\x0f" for n in range(12))
    jumps = b"".join(packet(n, n * 3600, 3, n * 0x4000 & 0xFFFF) for n in range(8)) + b"\x3f\x3f"
    far = b"".join(packet(n * 0x3FFF & 0xFFFF, n * 3600, 3, n) for n in range(500))
    report = rtcp.sender_report(VIDEO_SSRC, unix_time=1.0, timestamp=1, packets=1, octets=1, cname="a")
    return [even, jumps, far, even + b"\2" + bytes((len(report),)) + report]


# --- RTMP -------------------------------------------------------------------------------------------------

_SHAKEN = b"\x03" + bytes(1536) + bytes(1536)
_TYPES = (
    *(chunks.COMMAND_AMF0, chunks.DATA_AMF0, chunks.VIDEO, chunks.AUDIO, chunks.AGGREGATE),
    *(chunks.USER_CONTROL, chunks.SET_CHUNK_SIZE, chunks.WINDOW_ACK_SIZE, chunks.SET_PEER_BANDWIDTH),
    *(chunks.ABORT, chunks.ACKNOWLEDGEMENT, 99),
)
_SAID = (
    encode("_result", 1.0, {}, {"code": "NetConnection.Connect.Success"}),
    *(encode("_result", float(n), None, 1.0) for n in range(2, 6)),
    encode("onStatus", 0.0, None, {"level": "status", "code": "NetStream.Play.Start"}),
    encode("onStatus", 0.0, None, {"level": "status", "code": "NetStream.Publish.Start"}),
    encode("onStatus", 0.0, None, {"level": "error", "code": "NetStream.Play.Failed"}),
)


def _rtmp(make: Callable[[], Client]) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        choices, client = Choices(data), make()
        sent = len(client.to_send())
        client.receive(_SHAKEN)
        while choices and client.state is not ClientState.OVER:
            client.receive(_rtmp_of(choices))
            while client.pending:
                client.receive(b"")
            sent += len(client.to_send())
        _bounded(sent, data)

    return run


def _rtmp_of(choices: Choices) -> bytes:
    """Any bytes, a message of any kind, or one that a server sends when all is well."""
    action = choices.number(1)
    if action < 64:
        return choices.some()
    if action < 192:
        message = RtmpMessage(_TYPES[action % len(_TYPES)], 1, choices.number(2), choices.some())
    else:
        message = RtmpMessage(chunks.COMMAND_AMF0, 0, 0, _SAID[action % len(_SAID)])
    return write_message(3 + (action & 1), message)


def _names() -> dict[str, Any]:
    return {"app": "live", "stream": "a", "tc_url": "rtmp://example.com/live", "random": bytes(1528)}


_RTMP_SEED = bytes((192, 193, 194, 195, 196, 197, 198, 66, 0, 0, 3, 1, 2, 3, 67, 0, 0, 2, 0xAF, 0))

# --- ICE, DTLS, SRTP --------------------------------------------------------------------------------------

_MOST_PATHS = 20
_ADDRESSES: list[Address] = [("127.0.0.1", 10_000 + n) for n in range(256)]


class FrontSocket:
    """What a media socket is to peers: keeps the last datagrams, and which paths are open."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.sent_bytes = 0
        self.paths: set[Address] = set()

    def send(self, datagram: bytes, address: Address) -> None:
        self.sent = [*self.sent[-15:], datagram]
        self.sent_bytes += len(datagram)

    def open_path(self, address: Address) -> None:
        self.paths.add(address)
        assert len(self.paths) <= _MOST_PATHS, "a peer opens paths without an end"

    def close_path(self, address: Address) -> None:
        self.paths.discard(address)


class _Browser:
    """The other side of a handshake, which goes as far as its owner wants."""

    def __init__(self, identity: DtlsIdentity) -> None:
        self._dtls = SSL.Connection(identity.context, None)
        self._dtls.set_connect_state()
        self._dtls.set_ciphertext_mtu(1200)
        self.session: Session | None = None

    def step(self, heard: list[bytes]) -> list[bytes]:
        for datagram in heard:
            if datagram and 20 <= datagram[0] < 64:
                self._dtls.bio_write(datagram)
        try:
            self._dtls.do_handshake()
        except SSL.WantReadError:
            pass
        except SSL.Error:
            return []
        else:
            self._take_keys()
        flight = []
        while True:
            try:
                flight.append(self._dtls.bio_read(1400))
            except SSL.WantReadError:
                return flight

    def _take_keys(self) -> None:
        if self.session is None and self._dtls.get_selected_srtp_profile() == b"SRTP_AEAD_AES_128_GCM":
            material = self._dtls.export_keying_material(b"EXTRACTOR-dtls_srtp", 56)
            gcm = Policy.SRTP_PROFILE_AEAD_AES_128_GCM
            self.session = Session(
                Policy(material[:16] + material[32:44], Policy.SSRC_ANY_OUTBOUND, srtp_profile=gcm)
            )


@cache
def _identities() -> tuple[DtlsIdentity, DtlsIdentity]:
    now = datetime.datetime.now(datetime.UTC)
    return DtlsIdentity(now), DtlsIdentity(now)


@cache
def _offer() -> str:
    """A browser's, with the fingerprint of ours."""
    certificate = SSL.Connection(_identities()[1].context, None).get_certificate(as_cryptography=True)
    assert certificate is not None
    print_of = certificate.fingerprint(hashes.SHA256()).hex(":").upper()
    lines = (DATA / "offers/chromium.sdp").read_text().splitlines()
    said = f"a=fingerprint:sha-256 {print_of}"
    return "\r\n".join(said if line.startswith("a=fingerprint:") else line for line in lines) + "\r\n"


class _Front:
    """A peer whose role is that of a publisher, and the stranger in front of it."""

    def __init__(self) -> None:
        ours, theirs = _identities()
        self.socket = FrontSocket()
        socket = cast(MediaSocket, self.socket)
        self.peers = Peers(socket, ours, [("127.0.0.1", 1)], lambda entry: None, PEER_SEATS, DropCounter())
        self.sender = Sender()
        self.browser = _Browser(theirs)
        room = cast(Room, _Entered())
        entry = self.peers.add(
            PeerId("peer"),
            agree_to_watch(_offer()),
            lambda connection, now_us: self._begin(connection),
            room=room,
            holder=Holder(("app", "room"), "user", "127.0.0.1"),
            role=PeerRole.PUBLISHER,
            key=(UserId("user"), StreamIndex.CAMERA),
            stream=Stream("name", lambda: None),
        )
        self.name = entry.peer.ufrag
        self.key = entry.peer.passwords[self.name].encode()

    def _begin(self, connection: Connection) -> Any:
        return self.sender.role

    def check(self, address: Address, more: bytes, *, use: bool) -> None:
        request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        request.attributes["USERNAME"] = f"{self.name}:x{more.hex()}"
        request.attributes["PRIORITY"] = 1
        if use:
            request.attributes["USE-CANDIDATE"] = None
        request.add_message_integrity(self.key)
        self.peers.on_datagram(bytes(request), address)

    def sealed(self, packet: bytes, address: Address, *, control: bool) -> None:
        if self.browser.session is None:
            return
        protect = self.browser.session.protect_rtcp if control else self.browser.session.protect
        try:
            datagram = protect(packet)
        except (SrtpError, ValueError, TypeError):
            return
        self.peers.on_datagram(datagram, address)


class _Entered:
    """A room as far as a entry knows it."""

    def enter(self, user_id: UserId, peer_id: PeerId) -> None:
        pass


def _front(data: bytes) -> None:
    choices, front = Choices(data), _Front()
    while choices:
        action = choices.number(1)
        address = _ADDRESSES[choices.number(1) if action & 128 else 0]
        match action & 7:
            case 0:
                front.peers.on_datagram(choices.some(), address)
            case 1 | 2:
                front.check(address, choices.take(action >> 3 & 7), use=action & 7 == 2)
            case 3:
                for datagram in front.browser.step(front.socket.sent):
                    front.peers.on_datagram(datagram, address)
            case 4:
                damage = choices.number(1)
                for datagram in front.browser.step(front.socket.sent):
                    at = damage % len(datagram)
                    front.peers.on_datagram(datagram[:at] + choices.take(4) + datagram[at + 4 :], address)
            case 5:
                front.sealed(_rtp_of(choices), address, control=False)
            case 6:
                front.sealed(choices.some(), address, control=True)
            case _:
                front.peers.on_timer(action * 1_000_000, 0.0)
    _bounded(front.socket.sent_bytes, data)
    front.peers.close()
    assert not front.socket.paths, "paths of a peer outlive it"


_FRONT_SEEDS = (
    b"\2\3\3\3\3\5\x8c\0\1\0\0\0\1\0\1\6\x08\x80\xc8\0\1\0\0\0\1",
    b"".join(bytes((0x82, n)) for n in range(64)),
    b"\2\3\4\x10aaaa\3\3\7",
)

# --- other processes --------------------------------------------------------------------------------------

_HEAD = struct.Struct("!IBI")


async def _answer(message: Message) -> Message:
    return Done(found=True)


async def _talk(data: bytes) -> None:
    """Messages of any kind and content; what is longer than an input is told by its head alone."""
    reader, far = asyncio.StreamReader(), asyncio.StreamReader()
    wire = Wire(far, reader)
    writer = cast(asyncio.StreamWriter, wire)
    channel = Channel(reader, writer, on_notice=lambda notice: None, on_request=_answer)
    choices = Choices(data)
    while choices:
        action = choices.number(1)
        body = choices.some() if action & 1 else choices.take(choices.number(2))
        length = choices.number(4) if action & 64 else len(body)
        reader.feed_data(_HEAD.pack(length, action >> 1 & 7, choices.number(1)) + body)
    reader.feed_eof()
    await channel.run()


def _channel(data: bytes) -> None:
    asyncio.run(_talk(data))


def _link(data: bytes) -> None:
    parser, choices = FrameParser(), Choices(data)
    while choices:
        for frame in parser.feed(choices.some()):
            try:
                read_document(frame.payload)
            except LinkError:
                continue


def _channel_seed() -> bytes:
    enter = b'{"type":"enter","app_id":"app","room_id":"room","user_id":"anna","presence":"p"}'
    return b"".join(bytes((action, len(enter))) + enter + b"\1" for action in (1, 3, 5, 7, 9))


TARGETS = {
    "publishing": Target(_publishing, (), _publisher_seeds, us_per_byte=150),
    "rtmp_play": Target(
        _rtmp(lambda: PlayMachine(**_names())), (RtmpError,), lambda: (_RTMP_SEED,), us_per_byte=40
    ),
    "rtmp_publish": Target(
        _rtmp(lambda: PublishMachine(**_names())), (RtmpError,), lambda: (_RTMP_SEED,), us_per_byte=40
    ),
    "front": Target(_front, (), lambda: _FRONT_SEEDS, free_s=0.5, us_per_byte=2000, longest=1024),
    "channel": Target(_channel, (), lambda: (_channel_seed(),), us_per_byte=60),
    "link": Target(_link, (LinkError,), lambda: (b"\xff" + pack_document(KeyFrameRequest(), 0) * 8,)),
}
