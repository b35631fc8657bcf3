"""Many lightweight receivers in one process of their own: they take RTP, count and throw away.

A `Sink` is a UDP socket for plain RTP. An `Agent` is a sink with WebRTC before it: a full ICE agent with one
candidate, a DTLS client and an SRTP receiver. One UDP socket each, without segmentation offload on this side,
so that the sender pays for every datagram as it would for a remote one. An agent sends nothing but consent
checks. Of each SSRC's packets every `_SAMPLE`th is decrypted with libsrtp, which proves that what is counted
is genuine media for this peer.

`Receivers` is the handle in the measuring process, `_Loop` is what runs in the other one.
"""

import datetime
import multiprocessing
import re
import secrets
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, ClassVar, Self, cast

from aioice import stun
from OpenSSL import SSL
from pylibsrtp import Error as SrtpError
from pylibsrtp import Policy, Session

from sluice.rooms.engine.dtls import DtlsIdentity

VIDEO_TYPE, AUDIO_TYPE = 96, 111  #: payload types that receivers offer and count by
_MARKER = 0x80
_SAMPLE = 50
_CHECK_EVERY_S = 0.2  #: binding requests until the first answer
_CONSENT_EVERY_S = 5.0
_TICK_S = 0.1
_MOST_DATAGRAMS = 64
_BUFFER_BYTES = 1 << 20
_KEY, _SALT = 16, 12


@dataclass(frozen=True, slots=True)
class Count:
    """Totals since the start. `expected` is what the sequence numbers say was sent, up to the last packet
    that came; `pictures` are packets of video that end one, `sounds` packets of audio; `checked` packets were
    decrypted, `forged` of them could not be."""

    connected: int = 0
    packets: int = 0
    octets: int = 0
    expected: int = 0
    pictures: int = 0
    sounds: int = 0
    checked: int = 0
    forged: int = 0

    @classmethod
    def total(cls, counts: "Sequence[Count]") -> "Count":
        return cls(*(sum(values) for values in zip(*map(astuple, counts), strict=True)))


class _Source:
    """One SSRC as RFC 3550 A.1 counts it, without the start-up rules."""

    __slots__ = ("first", "highest", "packets")

    def __init__(self, sequence: int) -> None:
        self.first = self.highest = sequence
        self.packets = 0

    def take(self, sequence: int) -> None:
        self.packets += 1
        step = (sequence - self.highest) & 0xFFFF
        if step < 0x8000:
            self.highest += step


class Sink:
    """One receiver of plain RTP. `Receivers.ask_each` calls its methods by name."""

    #: Nobody sleeps on a socket: a sender on the same machine would pay for each wake-up, a remote one would
    #: not. 0 for a receiver that has to know when a packet came.
    look_every_s: ClassVar[float] = 0.02

    def __init__(self, host: str) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self.socket.bind((host, 0))
        self._octets = self._pictures = self._sounds = 0
        self._sources: dict[bytes, _Source] = {}

    @classmethod
    def several(cls, host: str, count: int) -> list[Self]:
        return [cls(host) for _ in range(count)]

    def offer(self) -> str:
        """Where to send: the port."""
        return str(self.socket.getsockname()[1])

    def connect(self, answer: str) -> None:
        """Plain RTP needs no answer."""

    def on_tick(self, now: float) -> None:
        """Nothing to repeat."""

    def count(self) -> Count:
        sources = self._sources.values()
        return Count(
            connected=bool(sources),
            packets=sum(source.packets for source in sources),
            octets=self._octets,
            expected=sum(source.highest - source.first + 1 for source in sources),
            pictures=self._pictures,
            sounds=self._sounds,
        )

    def drain(self) -> None:
        """Takes what waits in the socket, up to a bound."""
        receive = self.socket.recvfrom
        for _ in range(_MOST_DATAGRAMS):
            try:
                data, address = receive(2048)
            except BlockingIOError:
                return
            if 128 <= data[0] < 192:
                if not 64 <= data[1] & 0x7F < 96:  # RFC 5761 4: those are RTCP
                    self.take(data)
            else:
                self.take_other(data, address)

    def take(self, data: bytes) -> None:
        """One RTP packet."""
        self._octets += len(data)
        kind, sequence = data[1], data[2] << 8 | data[3]
        if kind == _MARKER | VIDEO_TYPE:
            self._pictures += 1
        elif kind & 0x7F == AUDIO_TYPE:
            self._sounds += 1
        source = self._sources.get(data[8:12])
        if source is None:
            source = self._sources[data[8:12]] = _Source(sequence)
        source.take(sequence)
        if source.packets % _SAMPLE == 1:
            self.check(data)

    def take_other(self, data: bytes, address: tuple[str, int]) -> None:
        """No RTP or RTCP: nothing that a plain receiver expects."""

    def check(self, data: bytes) -> None:
        """A sample of the packets; plain ones are as they are."""


class Agent(Sink):
    """One WebRTC receiver. `_address` is the host candidate that the answer named."""

    def __init__(self, host: str, identity: DtlsIdentity) -> None:
        super().__init__(host)
        self.session: Session | None = None
        self._checked = self._forged = 0
        self._fingerprint = identity.fingerprint
        self._ufrag, self._password = secrets.token_hex(4), secrets.token_hex(16)
        self._remote = ("", "")
        self._address = ("", 0)
        self._checked_out = False
        self._check_at = 0.0
        self._dtls = SSL.Connection(identity.context, None)
        self._dtls.set_connect_state()
        self._dtls.set_ciphertext_mtu(1200)

    @classmethod
    def several(cls, host: str, count: int) -> list[Self]:
        identity = DtlsIdentity(datetime.datetime.now(datetime.UTC))
        return [cls(host, identity) for _ in range(count)]

    def count(self) -> Count:
        return replace(
            super().count(),
            connected=self.session is not None,
            checked=self._checked,
            forged=self._forged,
        )

    def offer(self) -> str:
        host, port = self.socket.getsockname()
        transport = (
            f"a=ice-ufrag:{self._ufrag}",
            f"a=ice-pwd:{self._password}",
            f"a=fingerprint:{self._fingerprint}",
            "a=setup:active",
            "a=rtcp-mux",
            "a=recvonly",
            f"a=candidate:1 1 udp 2130706431 {host} {port} typ host",
            "a=end-of-candidates",
        )
        lines = (
            *("v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", "a=group:BUNDLE 0 1"),
            *(f"m=video 9 UDP/TLS/RTP/SAVPF {VIDEO_TYPE}", "c=IN IP4 0.0.0.0", "a=mid:0", *transport),
            f"a=rtpmap:{VIDEO_TYPE} H264/90000",
            f"a=fmtp:{VIDEO_TYPE} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
            *(f"a=rtcp-fb:{VIDEO_TYPE} nack", f"a=rtcp-fb:{VIDEO_TYPE} nack pli"),
            *(f"m=audio 9 UDP/TLS/RTP/SAVPF {AUDIO_TYPE}", "c=IN IP4 0.0.0.0", "a=mid:1", *transport),
            *(f"a=rtpmap:{AUDIO_TYPE} opus/48000/2", f"a=fmtp:{AUDIO_TYPE} stereo=1;useinbandfec=1"),
        )
        return "\r\n".join(lines) + "\r\n"

    def connect(self, answer: str) -> None:
        def value(pattern: str) -> tuple[str, ...]:
            found = re.search(pattern, answer, re.MULTILINE)
            if found is None:
                raise ValueError(f"the answer has no {pattern}")
            return found.groups()

        self._remote = (*value(r"^a=ice-ufrag:(\S+)"), *value(r"^a=ice-pwd:(\S+)"))  # type: ignore[assignment]
        host, port = value(r"^a=candidate:\S+ 1 (?:udp|UDP) \d+ (\d+\.\d+\.\d+\.\d+) (\d+) typ host")
        self._address = (host, int(port))

    def on_tick(self, now: float) -> None:
        if not self._address[1]:
            return
        if now >= self._check_at:
            self._check_at = now + (_CONSENT_EVERY_S if self._checked_out else _CHECK_EVERY_S)
            self._send_check()
        if self._checked_out and self.session is None and self._dtls.DTLSv1_get_timeout() == 0:
            self._dtls.DTLSv1_handle_timeout()
            self._flush()

    def take_other(self, data: bytes, address: tuple[str, int]) -> None:
        if data[0] < 4:
            self._on_stun(data, address)
        elif 20 <= data[0] < 64:
            self._on_dtls(data)

    def check(self, data: bytes) -> None:
        if self.session is not None:
            self.open(self.session, data)

    def open(self, session: Session, data: bytes) -> bytes | None:
        """The packet decrypted; None, and counted, when it is not genuine."""
        self._checked += 1
        try:
            return session.unprotect(data)
        except SrtpError:
            self._forged += 1
            return None

    # --- ICE and DTLS ---------------------------------------------------------------------------------------

    def _send_check(self) -> None:
        message = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        message.attributes["USERNAME"] = f"{self._remote[0]}:{self._ufrag}"
        message.attributes["PRIORITY"] = 1845501695
        message.attributes["ICE-CONTROLLING"] = 1
        message.attributes["USE-CANDIDATE"] = None
        message.add_message_integrity(self._remote[1].encode())
        self.socket.sendto(bytes(message), self._address)

    def _on_stun(self, data: bytes, address: tuple[str, int]) -> None:
        message = stun.parse_message(data)
        if message.message_class == stun.Class.REQUEST:
            response = stun.Message(
                message_method=stun.Method.BINDING,
                message_class=stun.Class.RESPONSE,
                transaction_id=message.transaction_id,
            )
            response.attributes["XOR-MAPPED-ADDRESS"] = address
            response.add_message_integrity(self._password.encode())
            self.socket.sendto(bytes(response), address)
        elif message.message_class == stun.Class.RESPONSE and not self._checked_out:
            self._checked_out = True
            self._check_at = time.monotonic() + _CONSENT_EVERY_S
            self._handshake()

    def _on_dtls(self, data: bytes) -> None:
        self._dtls.bio_write(data)
        if self.session is None:
            self._handshake()

    def _handshake(self) -> None:
        try:
            self._dtls.do_handshake()
        except SSL.WantReadError:
            self._flush()
            return
        self._flush()
        if self._dtls.get_selected_srtp_profile() != b"SRTP_AEAD_AES_128_GCM":
            raise ValueError("the sender did not agree to AEAD_AES_128_GCM, which is measured here")
        material = self._dtls.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (_KEY + _SALT))
        # RFC 5764 4.2: client key, server key, client salt, server salt; we receive what the server sends.
        key, salt = material[_KEY : 2 * _KEY], material[2 * _KEY + _SALT :]
        gcm = Policy.SRTP_PROFILE_AEAD_AES_128_GCM
        self.session = Session(Policy(key + salt, Policy.SSRC_ANY_INBOUND, srtp_profile=gcm))

    def _flush(self) -> None:
        while True:
            try:
                # One record at a time would be many datagrams; a flight of this client fits into one.
                data = self._dtls.bio_read(1400)
            except SSL.WantReadError:
                return
            self.socket.sendto(data, self._address)


class _Loop:
    """The receivers' process: sockets, the pipe to the measuring process, a timer."""

    def __init__(self, pipe: "Connection[Any, Any]", kind: type[Sink], host: str, count: int) -> None:
        self._pipe = pipe
        self._look_every_s = kind.look_every_s
        self._receivers = kind.several(host, count)

    def run(self) -> None:
        self._pipe.send([receiver.offer() for receiver in self._receivers])
        poller = select.epoll()
        poller.register(self._pipe.fileno(), select.EPOLLIN)
        receivers = {receiver.socket.fileno(): receiver for receiver in self._receivers}
        for descriptor in receivers:
            poller.register(descriptor, select.EPOLLIN)
        tick_at = 0.0
        while True:
            time.sleep(self._look_every_s)
            for descriptor, _ in poller.poll(0 if self._look_every_s else _TICK_S):
                receiver = receivers.get(descriptor)
                if receiver is not None:
                    receiver.drain()
                elif not self._answer():
                    return
            now = time.monotonic()
            if now >= tick_at:
                tick_at = now + _TICK_S
                for receiver in self._receivers:
                    receiver.on_tick(now)

    def _answer(self) -> bool:
        """One request of the measuring process: an answer for one receiver, or the name of a method to call
        on all of them. False when that process is gone."""
        try:
            request = self._pipe.recv()
        except EOFError:
            return False
        if isinstance(request, str):
            self._pipe.send([getattr(receiver, request)() for receiver in self._receivers])
        else:
            number, answer = request
            self._receivers[number].connect(answer)
        return True


def _run(pipe: "Connection[Any, Any]", kind: type[Sink], host: str, count: int) -> None:
    _Loop(pipe, kind, host, count).run()


class Receivers:
    """`count` receivers in a process of their own, for as long as the context is open."""

    def __init__(self, host: str, count: int, kind: type[Sink] = Agent) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(theirs, kind, host, count), daemon=True)
        self._process.start()
        theirs.close()
        self.pid = cast(int, self._process.pid)
        self.offers = cast(list[str], self._pipe.recv())

    def connect(self, number: int, answer: str) -> None:
        self._pipe.send((number, answer))

    def ask_each(self, name: str) -> list[Any]:
        """What that method of every receiver returns. Raises EOFError when their process is gone."""
        self._pipe.send(name)
        return cast(list[Any], self._pipe.recv())

    def counts(self) -> list[Count]:
        """Of each receiver."""
        return self.ask_each("count")

    def count(self) -> Count:
        """Of all of them together."""
        return Count.total(self.counts())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
