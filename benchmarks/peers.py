"""Many lightweight WebRTC receivers in one process of their own: they connect, count and throw away.

A receiver is a full ICE agent with one candidate, a DTLS client and an SRTP receiver: one UDP socket each,
without segmentation offload on this side, so that the sender pays for every datagram as it would for a
remote one. It sends nothing but consent checks. Of each SSRC's packets every `_SAMPLE`th is decrypted with
libsrtp, which proves that what is counted is genuine media for this peer.

`Receivers` is the handle in the measuring process, `_Agents` is what runs in the other one.
"""

import datetime
import multiprocessing
import re
import secrets
import select
import socket
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, cast

from aioice import stun
from OpenSSL import SSL
from pylibsrtp import Error as SrtpError
from pylibsrtp import Policy, Session

from sluice.rooms.engine.dtls import DtlsIdentity

_VIDEO_TYPE, _AUDIO_TYPE = 96, 111
_SAMPLE = 50
_CHECK_EVERY_S = 0.2  #: binding requests until the first answer
_CONSENT_EVERY_S = 5.0
_TICK_S = 0.1
#: Nobody sleeps on a socket: a sender on the same machine would pay for each wake-up, a remote one would not.
_LOOK_EVERY_S = 0.02
_MOST_DATAGRAMS = 64
_BUFFER_BYTES = 1 << 20
_KEY, _SALT = 16, 12


@dataclass(frozen=True, slots=True)
class Count:
    """Totals since the start. `expected` is what the sequence numbers say was sent, up to the last packet
    that came; `checked` packets were decrypted, `forged` of them could not be."""

    connected: int = 0
    packets: int = 0
    octets: int = 0
    expected: int = 0
    checked: int = 0
    forged: int = 0


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


class _Agent:
    """One receiver. `address` is the host candidate that the answer named."""

    def __init__(self, identity: DtlsIdentity, host: str) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self.socket.bind((host, 0))
        self.octets = self.checked = self.forged = 0
        self.sources: dict[bytes, _Source] = {}
        self.session: Session | None = None
        self._fingerprint = identity.fingerprint
        self._ufrag, self._password = secrets.token_hex(4), secrets.token_hex(16)
        self._remote = ("", "")
        self._address = ("", 0)
        self._checked_out = False
        self._check_at = 0.0
        self._dtls = SSL.Connection(identity.context, None)
        self._dtls.set_connect_state()
        self._dtls.set_ciphertext_mtu(1200)

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
            *(f"m=video 9 UDP/TLS/RTP/SAVPF {_VIDEO_TYPE}", "c=IN IP4 0.0.0.0", "a=mid:0", *transport),
            f"a=rtpmap:{_VIDEO_TYPE} H264/90000",
            f"a=fmtp:{_VIDEO_TYPE} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
            *(f"a=rtcp-fb:{_VIDEO_TYPE} nack", f"a=rtcp-fb:{_VIDEO_TYPE} nack pli"),
            *(f"m=audio 9 UDP/TLS/RTP/SAVPF {_AUDIO_TYPE}", "c=IN IP4 0.0.0.0", "a=mid:1", *transport),
            *(f"a=rtpmap:{_AUDIO_TYPE} opus/48000/2", f"a=fmtp:{_AUDIO_TYPE} stereo=1;useinbandfec=1"),
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

    def drain(self) -> None:
        """Takes what waits in the socket, up to a bound."""
        receive = self.socket.recvfrom
        for _ in range(_MOST_DATAGRAMS):
            try:
                data, address = receive(2048)
            except BlockingIOError:
                return
            first = data[0]
            if 128 <= first < 192:
                if not 64 <= data[1] & 0x7F < 96:  # RFC 5761 4: those are RTCP
                    self._take(data)
            elif first < 4:
                self._on_stun(data, address)
            elif 20 <= first < 64:
                self._on_dtls(data)

    def _take(self, data: bytes) -> None:
        self.octets += len(data)
        sequence = data[2] << 8 | data[3]
        source = self.sources.get(data[8:12])
        if source is None:
            source = self.sources[data[8:12]] = _Source(sequence)
        source.take(sequence)
        if source.packets % _SAMPLE == 1 and self.session is not None:
            self.checked += 1
            try:
                self.session.unprotect(data)
            except SrtpError:
                self.forged += 1

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


class _Agents:
    """The loop of the receivers' process: sockets, the pipe to the measuring process, a timer."""

    def __init__(self, pipe: "Connection[Any, Any]", host: str, count: int) -> None:
        identity = DtlsIdentity(datetime.datetime.now(datetime.UTC))
        self._pipe = pipe
        self._agents = [_Agent(identity, host) for _ in range(count)]

    def run(self) -> None:
        self._pipe.send([agent.offer() for agent in self._agents])
        poller = select.epoll()
        poller.register(self._pipe.fileno(), select.EPOLLIN)
        agents = {agent.socket.fileno(): agent for agent in self._agents}
        for descriptor in agents:
            poller.register(descriptor, select.EPOLLIN)
        tick_at = 0.0
        while True:
            time.sleep(_LOOK_EVERY_S)
            for descriptor, _ in poller.poll(0):
                agent = agents.get(descriptor)
                if agent is not None:
                    agent.drain()
                elif not self._answer():
                    return
            now = time.monotonic()
            if now >= tick_at:
                tick_at = now + _TICK_S
                for agent in self._agents:
                    agent.on_tick(now)

    def _answer(self) -> bool:
        """One request of the measuring process; False when it is gone."""
        try:
            request = self._pipe.recv()
        except EOFError:
            return False
        if request == "count":
            self._pipe.send(self._count())
        else:
            number, answer = request
            self._agents[number].connect(answer)
        return True

    def _count(self) -> Count:
        sources = [source for agent in self._agents for source in agent.sources.values()]
        return Count(
            connected=sum(agent.session is not None for agent in self._agents),
            packets=sum(source.packets for source in sources),
            octets=sum(agent.octets for agent in self._agents),
            expected=sum(source.highest - source.first + 1 for source in sources),
            checked=sum(agent.checked for agent in self._agents),
            forged=sum(agent.forged for agent in self._agents),
        )


def _run(pipe: "Connection[Any, Any]", host: str, count: int) -> None:
    _Agents(pipe, host, count).run()


class Receivers:
    """`count` receivers in a process of their own, for as long as the context is open."""

    def __init__(self, host: str, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(theirs, host, count), daemon=True)
        self._process.start()
        theirs.close()
        self.pid = cast(int, self._process.pid)
        self.offers = cast(list[str], self._pipe.recv())

    def connect(self, number: int, answer: str) -> None:
        self._pipe.send((number, answer))

    def count(self) -> Count:
        """Raises EOFError when the receivers' process is gone."""
        self._pipe.send("count")
        return cast(Count, self._pipe.recv())

    def __enter__(self) -> "Receivers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
