"""The sending side of one watching peer: seals the stream's packets with its own keys and sends them.

Live frames go out at once. What must not go out at once (the GOP for a late joiner, a large key frame over
a real network) waits in the backlog, and later frames behind it; `drain` sends it at a bounded rate.

A joiner's GOP lies in the past. Sent with its own timestamps it would teach the receiver a delay of the
whole GOP; so its frames get timestamps that lie `_CATCH_UP_TICKS` apart and end at the live frame.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from pylibsrtp import Error as SrtpError
from pylibsrtp import Policy, Session

from sluice.rooms.engine.frame import Frame, runs_of
from sluice.rooms.engine.socket import Address, MediaSocket
from sluice.wire.rtp import audio_header, headers
from sluice.wire.sdp import VideoFormat

_HEADER = 12
#: RTP ticks (90 kHz) between the frames of a GOP that a joiner catches up with: 1 ms.
_CATCH_UP_TICKS = 90
#: Packets in one go that a real network takes without being paced.
_BURST_PACKETS = 24
#: Over loopback the only limit is the receiver's socket buffer.
_LOOPBACK_PACKETS_PER_S = 30_000.0
_CATCH_UP_FACTOR = 4.0
_KEY_FRAME_SPREAD_S = 0.033
_MOST_BACKLOG_FRAMES = 1000
_MOST_RETRANSMISSIONS_PER_S = 1000


class Sealer(Protocol):
    def seal(
        self, ssrc: int, index: int, packet_headers: Sequence[bytes], payloads: Sequence[bytes]
    ) -> list[bytes]: ...


class CmSender:
    """Seals with AES_CM_128_HMAC_SHA1_80 through libsrtp, for peers without GCM."""

    TAG = 10

    def __init__(self, key: bytes, salt: bytes) -> None:
        policy = Policy(
            key=key + salt,
            ssrc_type=Policy.SSRC_ANY_OUTBOUND,
            srtp_profile=Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
        )
        policy.allow_repeat_tx = True
        policy.window_size = 8192
        self._session = Session(policy)

    def seal(
        self, ssrc: int, index: int, packet_headers: Sequence[bytes], payloads: Sequence[bytes]
    ) -> list[bytes]:
        """As GcmSender.seal; libsrtp keeps the index itself."""
        sealed: list[bytes] = []
        for header, payload in zip(packet_headers, payloads, strict=True):
            try:
                sealed += (self._session.protect(header + payload), b"")
            except SrtpError:
                # Asked for again after libsrtp's window has passed: the receiver will ask for a key frame.
                return []
        return sealed


class Viewer:
    """`on_backlog` is called when the backlog begins, so that someone drains it."""

    def __init__(
        self,
        socket: MediaSocket,
        sealer: Sealer,
        *,
        tag: int,
        address: Address,
        video: VideoFormat | None,
        opus: int | None,
        on_backlog: Callable[["Viewer"], None],
    ) -> None:
        self.address = address
        self.video_packets = self.video_octets = 0
        self.audio_packets = self.audio_octets = 0
        self.retransmitted = 0
        self.dropped = 0
        self._socket = socket
        self._seal = sealer.seal
        self._overhead = _HEADER + tag
        self._video_type = video.payload_type if video else None
        self._rtx_type = video.rtx_type if video else None
        self._opus_type = opus
        self._on_backlog = on_backlog
        self._loopback = address[0].startswith("127.") or address[0] in ("::1", "::ffff:127.0.0.1")
        self._from_number: int | None = None  #: first frame this viewer gets; None while it waits for one
        self._video_index = self._audio_index = 0
        self._rtx_sequence = 0
        self._skipping = False  #: after too long a backlog, until the next key frame
        self._catch_up: tuple[int, int] = (-1, 0)  #: last frame number of the GOP, its timestamp
        self._backlog: deque[tuple[Frame, int]] = deque()
        self._pending = 0  #: packets in the backlog
        self._rate = 0.0
        self._allowance = 0.0
        self._repeat_second = 0
        self._repeats = 0

    # --- start --------------------------------------------------------------------------------------------

    def begin_audio(self, sequence: int) -> None:
        # Both ends count roll-overs from zero, whatever the stream has behind it (RFC 3711 3.3.1).
        self._audio_index = sequence & ~0xFFFF

    def begin_live(self, number: int, sequence: int) -> None:
        """Video begins with the key frame `number`."""
        self._from_number = number
        self._video_index = sequence & ~0xFFFF

    def begin_with(self, group: list[Frame], packets_per_s: float, ssrc: int) -> None:
        """Video begins with a GOP of the past, whose last frame is the newest of the stream."""
        if self._video_type is None:
            return
        self.begin_live(group[0].number, group[0].sequence)
        self._catch_up = (group[-1].number, group[-1].timestamp)
        self._rate = _LOOPBACK_PACKETS_PER_S if self._loopback else _CATCH_UP_FACTOR * packets_per_s
        for frame in group:
            self._defer(frame)

    # --- the per-packet path ------------------------------------------------------------------------------

    def send_video(self, frame: Frame, ssrc: int) -> None:
        payload_type = self._video_type
        if payload_type is None or self._from_number is None or frame.number < self._from_number:
            return
        if self._skipping and not frame.key:
            return
        self._skipping = False
        count = len(frame.payloads)
        if self._backlog or (count > _BURST_PACKETS and not self._loopback):
            if not self._backlog:
                self._rate = count / _KEY_FRAME_SPREAD_S
            self._defer(frame)
            return
        sealed = self._seal(
            ssrc, frame.sequence - self._video_index, frame.headers(payload_type, ssrc), frame.payloads
        )
        self._socket.send_runs(sealed, frame.runs, self._overhead, self.address)
        self.video_packets += count
        self.video_octets += frame.size

    def send_audio(self, payload: bytes, sequence: int, timestamp: int, ssrc: int) -> None:
        if self._opus_type is None:
            return
        header = audio_header(self._opus_type, sequence, timestamp, ssrc)
        size = len(payload)
        sealed = self._seal(ssrc, sequence - self._audio_index, (header,), (payload,))
        self._socket.send_runs(sealed, ((0, 1, size),), self._overhead, self.address)
        self.audio_packets += 1
        self.audio_octets += size

    # --- backlog ------------------------------------------------------------------------------------------

    def _defer(self, frame: Frame) -> None:
        if len(self._backlog) >= _MOST_BACKLOG_FRAMES:
            # The network takes less than the stream has: begin again with the next key frame.
            self.dropped += self._pending
            self._backlog.clear()
            self._pending = 0
            self._skipping = not frame.key
            if self._skipping:
                return
        if not self._backlog:
            self._allowance = 0.0
            self._on_backlog(self)
        self._backlog.append((frame, 0))
        self._pending += len(frame.payloads)

    def drain(self, elapsed_s: float, ssrc: int) -> bool:
        """Sends what the rate allows; True while something is left."""
        self._allowance += elapsed_s * self._rate
        while self._backlog and self._allowance >= 1:
            frame, start = self._backlog.popleft()
            end = min(len(frame.payloads), start + int(self._allowance))
            if end < len(frame.payloads):
                self._backlog.appendleft((frame, end))
            self._send_part(frame, start, end, ssrc)
            self._allowance -= end - start
            self._pending -= end - start
        return bool(self._backlog)

    def _send_part(self, frame: Frame, start: int, end: int, ssrc: int) -> None:
        lengths = frame.lengths[start:end]
        runs = runs_of(lengths)
        packet_headers = self._headers(frame, ssrc)[start:end]
        index = frame.sequence + start - self._video_index
        sealed = self._seal(ssrc, index, packet_headers, frame.payloads[start:end])
        self._socket.send_runs(sealed, runs, self._overhead, self.address)
        self.video_packets += end - start
        self.video_octets += sum(lengths)

    def _headers(self, frame: Frame, ssrc: int) -> list[bytes]:
        """The headers that this viewer was or will be sent: a packet index never gets two different ones."""
        assert self._video_type is not None  # noqa: S101 - nobody sends video without it
        last, timestamp = self._catch_up
        if frame.number >= last:
            return frame.headers(self._video_type, ssrc)
        moved = (timestamp - (last - frame.number) * _CATCH_UP_TICKS) & 0xFFFFFFFF
        return headers(self._video_type, frame.sequence, moved, ssrc, len(frame.payloads))

    # --- feedback -----------------------------------------------------------------------------------------

    def retransmit(self, frame: Frame, n: int, ssrc: int, rtx_ssrc: int, now_us: int) -> None:
        """Sends packet `n` of the frame once more, as RTX (RFC 4588) where agreed, else as it was."""
        if self._video_type is None or self._from_number is None or frame.number < self._from_number:
            return
        if now_us // 1_000_000 != self._repeat_second:
            self._repeat_second, self._repeats = now_us // 1_000_000, 0
        self._repeats += 1
        if self._repeats > _MOST_RETRANSMISSIONS_PER_S:
            self.dropped += 1
            return
        original, payload = self._headers(frame, ssrc)[n], frame.payloads[n]
        if self._rtx_type is None:
            sealed = self._seal(ssrc, frame.sequence + n - self._video_index, (original,), (payload,))
        else:
            sequence = self._rtx_sequence
            self._rtx_sequence = sequence + 1
            header = bytes((0x80, (original[1] & 0x80) | self._rtx_type))
            header += (sequence & 0xFFFF).to_bytes(2, "big") + original[4:8] + rtx_ssrc.to_bytes(4, "big")
            payload = original[2:4] + payload
            sealed = self._seal(rtx_ssrc, sequence, (header,), (payload,))
        if sealed:
            self._socket.send_runs(sealed, ((0, 1, len(payload)),), self._overhead, self.address)
            self.retransmitted += 1
