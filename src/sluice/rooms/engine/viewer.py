"""The sending side of one watching peer: seals the stream's packets with its own keys and sends them.

Live frames go out at once. The GOP for a late joiner and a large key frame over a real network must not: they
wait in the backlog, and later frames wait behind them. `drain` sends the backlog at a bounded rate.

A joiner's GOP lies in the past and keeps its own timestamps: browsers show what is late in haste and stay at
the live frame, whereas squeezed timestamps look like a network that grows slower (measured in Chromium,
benchmarks/join). The same GOP repairs the picture of a viewer that lost too much: under new numbers (see
numbering.py), with timestamps between the newest frame and the next.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from pylibsrtp import Error as SrtpError
from pylibsrtp import Policy, Session

from sluice.core.drops import DropCounter, DropRule
from sluice.core.limits import REPEATED_BYTES_AT_ONCE, REPEATED_SHARE, REPEATS_AT_ONCE, REPEATS_PER_S
from sluice.rooms.engine.conduct import TokenBucket
from sluice.rooms.engine.frame import Frame, runs_of
from sluice.rooms.engine.numbering import Numbering, NumberSpan
from sluice.rooms.engine.socket import Address, MediaSocket
from sluice.wire.rtp import audio_header, headers
from sluice.wire.sdp import VideoFormat
from sluice.wire.sdp_answer import Sources

_HEADER = 12
#: RTP ticks (90 kHz) between the frames of a repair, which must fit between two live ones: 10 s of frames in
#: about 5 ms.
_REPAIR_TICKS = 1
#: Packets in one go that a real network takes without being paced.
_BURST_PACKETS = 24
#: Over loopback the only limit is the receiver's socket buffer.
_LOOPBACK_PACKETS_PER_S = 30_000.0
_CATCH_UP_FACTOR = 4.0
#: Chromium holds 800 frames that are not decoded yet. Beyond, it forgets them all and stands still until the
#: next key frame. So a long group goes out so slowly that a decoder of this speed never holds that many.
_MOST_HELD_FRAMES, _DECODED_PER_S = 700, 200.0
_KEY_FRAME_SPREAD_S = 0.033
#: A group with more frames to go than this is left for a new key frame.
_WORTH_SKIPPING = 50
_MOST_BACKLOG_FRAMES = 1000
#: When a key frame comes, the rest of a longer group is left out; a shorter one is soon over.
_LONG_GROUP_FRAMES = 300

#: The kept frame, and the index in it, of the stream's packet with this (extended) number.
FindPacket = Callable[[int], tuple[Frame, int] | None]


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
        drops: DropCounter,
    ) -> None:
        self.address = address
        self.video_packets = self.video_octets = 0
        self.audio_packets = self.audio_octets = 0
        self.retransmitted = 0
        self._drops = drops
        self._socket = socket
        self._seal = sealer.seal
        self._overhead = _HEADER + tag
        self._video_type = video.payload_type if video else None
        self._rtx_type = video.rtx_type if video else None
        self._opus_type = opus
        self._on_backlog = on_backlog
        self._loopback = address[0].startswith("127.") or address[0] in ("::1", "::ffff:127.0.0.1")
        self._numbering: Numbering | None = None  #: None while it waits for its first key frame
        self._index_shift = 0  #: SRTP index of a video packet minus the stream's number of it
        self._as_stream = True  #: video is numbered as the stream is: headers are shared
        self._audio_index = 0
        self._rtx_sequence = 0
        self._paused = False
        self._skipping = False  #: until the next key frame: after a pause or too long a backlog
        self._resume_at = 0  #: number of the next packet, while skipping
        self._backlog: deque[tuple[Frame, int]] = deque()
        self._catching_up = False  #: the backlog began with a long group of the past
        self._most_backlog = _MOST_BACKLOG_FRAMES
        self._pending = 0  #: packets in the backlog
        self._rate = 0.0
        self._allowance = 0.0
        self._repeats = TokenBucket(REPEATS_PER_S, REPEATS_AT_ONCE)
        self._repeated_bytes = TokenBucket(0, REPEATED_BYTES_AT_ONCE)
        self._earned_octets = 0  #: of what was sent, those that count for `_repeated_bytes`

    # --- start --------------------------------------------------------------------------------------------

    def begin_audio(self, sequence: int) -> None:
        # Both ends count roll-overs from zero, whatever the stream has behind it (RFC 3711 3.3.1).
        self._audio_index = sequence & ~0xFFFF

    def begin_live(self, sequence: int) -> None:
        """Video begins with the key frame whose first packet has this number."""
        self._resume_at = sequence
        self._begin_span(NumberSpan(sequence, 0))

    def begin_with(self, group: list[Frame], packets_per_s: float) -> None:
        """Video begins with a GOP of the past, whose last frame is the newest of the stream."""
        if self._video_type is None:
            return
        self._begin_span(NumberSpan(group[0].sequence, 0))
        self._send_group(group, packets_per_s)

    # --- repair and pause ---------------------------------------------------------------------------------

    def repair(self, group: list[Frame], packets_per_s: float, stream_next: int) -> None:
        """Sends the current GOP once more, as new packets. `stream_next` is the number that the stream's
        next packet will have, here and below."""
        if self._numbering is None or self._paused:
            return
        now = self._numbering.span
        if self._backlog and self._backlog[0][0].number <= now.last_moved:
            return  # a GOP is still on its way
        first, last = group[0], group[-1]
        number = self._next(stream_next)
        timestamp = now.timestamp_of(last) + len(group) * _REPAIR_TICKS
        self.forget_backlog()
        self._skipping = False
        self._begin_span(NumberSpan(number, number - first.sequence, last.number, timestamp, _REPAIR_TICKS))
        self._send_group(group, packets_per_s)

    def pause(self, stream_next: int) -> None:
        """No video until `resume`, and then from the next key frame on. The numbers will have no gap."""
        self._paused = True
        if self._numbering is not None:
            self._skip(self._next(stream_next))
        self._skipping = True

    def resume(self) -> None:
        self._paused = False

    def _skip(self, number: int) -> None:
        """Forgets the backlog; the next key frame's first packet gets this number."""
        self._resume_at = number
        self.forget_backlog()
        self._skipping = True

    def _may_go_on_with(self, frame: Frame) -> bool:
        if self._paused or not frame.key:
            return False
        self._skipping = False
        self._begin_span(NumberSpan(self._resume_at, self._resume_at - frame.sequence))
        return True

    def _begin_span(self, span: NumberSpan) -> None:
        if self._numbering is None:
            self._numbering = Numbering(span)
        else:
            self._numbering.begin(span)
        self._index_shift = self._numbering.index_shift(span)
        self._as_stream = span.shift == 0

    def _next(self, stream_next: int) -> int:
        """The viewer's number of the packet that it will be sent next."""
        assert self._numbering is not None  # noqa: S101 - video has begun
        if self._skipping:
            return self._resume_at
        if self._backlog:
            frame, start = self._backlog[0]
            stream_next = frame.sequence + start
        return stream_next + self._numbering.span.shift

    def _send_group(self, group: list[Frame], packets_per_s: float) -> None:
        self._rate = _LOOPBACK_PACKETS_PER_S if self._loopback else _CATCH_UP_FACTOR * packets_per_s
        count = len(group)
        if count > _MOST_HELD_FRAMES:
            frames_per_s = _DECODED_PER_S * count / (count - _MOST_HELD_FRAMES)
            packets_per_frame = sum(len(frame.payloads) for frame in group) / count
            self._rate = min(self._rate, frames_per_s * packets_per_frame)
        self._most_backlog = _MOST_BACKLOG_FRAMES + len(group)
        self._catching_up = len(group) > _LONG_GROUP_FRAMES
        for frame in group:
            self._defer(frame)

    # --- the per-packet path ------------------------------------------------------------------------------

    def send_video(self, frame: Frame, ssrc: int) -> None:
        payload_type = self._video_type
        if payload_type is None or self._numbering is None:
            return
        if self._skipping and not self._may_go_on_with(frame):
            return
        count = len(frame.payloads)
        if self._catching_up and frame.key and len(self._backlog) > _WORTH_SKIPPING:
            # Nothing that still waits is needed any more.
            self._end_picture(ssrc)
            self._skip(self._next(frame.sequence))
            self._may_go_on_with(frame)
        if self._backlog or (count > _BURST_PACKETS and not self._loopback):
            if not self._backlog:
                self._rate = count / _KEY_FRAME_SPREAD_S
            self._defer(frame)
            return
        packed = frame.headers(payload_type, ssrc) if self._as_stream else self._headers(frame, ssrc)
        sealed = self._seal(ssrc, frame.sequence + self._index_shift, packed, frame.payloads)
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
        if len(self._backlog) >= self._most_backlog:
            # The network takes less than the stream has: begin again with the next key frame.
            self._drops.add(DropRule.VIEWER_SLOW, self._pending)
            self._skip(self._next(frame.sequence))
            if not self._may_go_on_with(frame):
                return
        if not self._backlog:
            self._allowance = 0.0
            self._on_backlog(self)
        self._backlog.append((frame, 0))
        self._pending += len(frame.payloads)

    def forget_backlog(self) -> None:
        self._backlog.clear()
        self._pending = 0
        self._catching_up, self._most_backlog = False, _MOST_BACKLOG_FRAMES

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
        if not self._backlog:
            self.forget_backlog()
        return bool(self._backlog)

    def _end_picture(self, ssrc: int) -> None:
        """Sends the rest of a picture that is sent in part: decoders must not take it for a whole one."""
        if self._backlog and self._backlog[0][1]:
            frame, start = self._backlog.popleft()
            self._send_part(frame, start, len(frame.payloads), ssrc)
            self._pending -= len(frame.payloads) - start

    def _send_part(self, frame: Frame, start: int, end: int, ssrc: int) -> None:
        lengths = frame.lengths[start:end]
        runs = runs_of(lengths)
        packet_headers = self._headers(frame, ssrc)[start:end]
        index = frame.sequence + start + self._index_shift
        sealed = self._seal(ssrc, index, packet_headers, frame.payloads[start:end])
        self._socket.send_runs(sealed, runs, self._overhead, self.address)
        self.video_packets += end - start
        self.video_octets += sum(lengths)

    def _headers(self, frame: Frame, ssrc: int, span: NumberSpan | None = None) -> list[bytes]:
        """The headers that this viewer was or will be sent, in the newest span unless told."""
        assert self._numbering is not None and self._video_type is not None  # noqa: S101, PT018 - video has begun
        span = span or self._numbering.span
        if span.shift == 0 and frame.number > span.last_moved:
            return frame.headers(self._video_type, ssrc)
        timestamp, count = span.timestamp_of(frame), len(frame.payloads)
        return headers(self._video_type, frame.sequence + span.shift, timestamp, ssrc, count)

    # --- feedback -----------------------------------------------------------------------------------------

    def retransmit(
        self, number: int, find: FindPacket, stream_next: int, sources: Sources, now_us: int
    ) -> bool:
        """Sends the packet that the viewer knows by this 16-bit number once more, as RTX (RFC 4588) where
        agreed, else as it was. Packets that it was never sent, or that are not kept any more, are not. False
        when the viewer has no more for the moment."""
        if self._numbering is None or self._video_type is None:
            return True
        place = self._numbering.find(number, self._next(stream_next))
        found = find(place[1]) if place else None
        if place is None or found is None:
            return True
        if not self._may_repeat(found[0].lengths[found[1]], now_us):
            return False
        (span, sequence), (frame, n) = place, found
        original, payload = self._headers(frame, sources.video, span)[n], frame.payloads[n]
        if self._rtx_type is None:
            index = sequence + self._numbering.index_shift(span)
            sealed = self._seal(sources.video, index, (original,), (payload,))
        else:
            again = self._rtx_sequence
            self._rtx_sequence = again + 1
            header = bytes((0x80, (original[1] & 0x80) | self._rtx_type))
            header += (again & 0xFFFF).to_bytes(2, "big") + original[4:8]
            header += sources.video_rtx.to_bytes(4, "big")
            payload = original[2:4] + payload
            sealed = self._seal(sources.video_rtx, again, (header,), (payload,))
        if sealed:
            self._socket.send_runs(sealed, ((0, 1, len(payload)),), self._overhead, self.address)
            self.retransmitted += 1
        return True

    def _may_repeat(self, size: int, now_us: int) -> bool:
        self._repeated_bytes.earn(REPEATED_SHARE * (self.video_octets - self._earned_octets))
        self._earned_octets = self.video_octets
        return self._repeats.take(1, now_us) and self._repeated_bytes.take(size, now_us)
