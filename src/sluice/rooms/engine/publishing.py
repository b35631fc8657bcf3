"""The role of a peer that publishes: its packets become access units and Opus packets of a stream.

The way of a packet: header, transport-wide number, jitter buffer, depacketizer, media clock, stream. Back go
congestion feedback ten times a second (without it browsers send little and in small pictures), NACKs at once,
key frame requests where a picture is lost or somebody wants one, and a receiver report each second.

Pictures that come in decoding order (B-frames) are refused with a reason, while the sound goes on: browsers
show pictures in the order in which they come, and whoever encodes for a room can turn B-frames off.
"""

import random
from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

import structlog

from sluice.core.limits import (
    PICTURES_AT_ONCE,
    PICTURES_PER_S,
    SOUNDS_AT_ONCE,
    SOUNDS_PER_S,
    UNITS_AT_ONCE,
    UNITS_PER_S,
)
from sluice.rooms.engine.conduct import TokenBucket
from sluice.rooms.engine.peer import Connection
from sluice.rooms.engine.socket import Address
from sluice.rooms.engine.stream import Stream
from sluice.rooms.engine.supply import Listener, Supply
from sluice.wire import rtcp
from sluice.wire.h264_rtp import AccessUnit, H264Depacketizer
from sluice.wire.jitter_buffer import JitterBuffer
from sluice.wire.media_clock import AUDIO_RATE, VIDEO_RATE, MediaClock
from sluice.wire.picture_order import PictureOrder
from sluice.wire.reception import ReceptionStatistics
from sluice.wire.rtcp import Feedback, Goodbye, SenderReport
from sluice.wire.rtp import RtpError, RtpPacket, extension_element, original_of_rtx, parse_rtp
from sluice.wire.sdp import AudioFormat, VideoFormat
from sluice.wire.transport_feedback import TransportFeedback

log = structlog.get_logger()

_FEEDBACK_US = 100_000
_REPORT_US = 1_000_000
#: What waits is looked at when a packet arrives, but not more often than this.
_POLL_US = 10_000
#: A picture that only waits for the next one to begin leaves when nothing has come for so long.
_PICTURE_WAIT_US = 50_000
_B_FRAMES = (
    "its pictures are refused: they come in decoding order (B-frames), which browsers cannot show in real "
    "time; turn B-frames off in the encoder (x264: bframes=0 or tune=zerolatency), then publish again"
)
#: After too many pictures the video of a publisher is not looked at for so long.
_REST_US = 100_000
#: NAL units are counted by so many, since most packets have one or a part of one.
_UNITS_AT_ONCE = 100
_TOO_MANY_UNITS = f"it sends more than {UNITS_PER_S} NAL units a second"
_TOO_MANY_PICTURES = f"it sends more than {PICTURES_PER_S} pictures a second"
_TOO_MANY_SOUNDS = f"it sends more than {SOUNDS_PER_S} packets of sound a second"
#: For senders that know no other feedback than REMB: no limit but their own, which follows the loss.
_REMB_BPS = 20_000_000


@dataclass(frozen=True, slots=True)
class PublishTerms:
    """What offer and answer agreed on. `transport_id` is the header extension's with the transport-wide
    number, 0 where there is none; `reduced_size`: RTCP packets may come alone."""

    video: VideoFormat | None
    opus: AudioFormat | None
    transport_id: int
    reduced_size: bool


class _Source:
    """What is known of one SSRC."""

    def __init__(self, ssrc: int, rate: int, *, retransmission: bool) -> None:
        self.ssrc = ssrc
        self.statistics = ReceptionStatistics(ssrc, rate)
        self.buffer = JitterBuffer(retransmission=retransmission)


class Publishing:
    """`listener` is told what flows and what is wrong with it."""

    takes_rtp: ClassVar[bool] = True

    def __init__(
        self,
        connection: Connection,
        stream: Stream,
        terms: PublishTerms,
        *,
        listener: Listener,
        now_us: int,
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._ssrc = random.randrange(1, 1 << 32)  # of our reports
        self._video_type = terms.video.payload_type if terms.video else None
        self._rtx_type = terms.video.rtx_type if terms.video else None
        self._opus_type = terms.opus.payload_type if terms.opus else None
        self._video_feedback = terms.video.feedback if terms.video else ()
        self._transport_id = terms.transport_id
        self._reduced_size = terms.reduced_size
        self._video: _Source | None = None
        self._audio: _Source | None = None
        self._parameter_sets = terms.video.parameter_sets if terms.video else ()
        self._depacketizer = H264Depacketizer(self._parameter_sets)
        self._order = PictureOrder()
        self._refused = False  #: its pictures are, because they have B-frames
        self._clock = MediaClock()
        self._supply = Supply(listener)
        self._transport = TransportFeedback()
        self._picture_at_us = now_us  #: when the newest packet of video came
        self._intra_requests = 0
        self._units = TokenBucket(UNITS_PER_S, UNITS_AT_ONCE)
        self._rest_until_us = 0
        self._pictures = TokenBucket(PICTURES_PER_S, PICTURES_AT_ONCE)
        self._sounds = TokenBucket(SOUNDS_PER_S, SOUNDS_AT_ONCE)
        self._poll_at_us = self._feedback_at_us = 0
        self._report_at_us = now_us + _REPORT_US

    def on_address(self, address: Address) -> None:
        pass  # all that we send goes through the connection, which has the address

    # --- the per-packet path ------------------------------------------------------------------------------

    def on_rtp(self, packet: bytes, now_us: int) -> None:
        try:
            parsed = parse_rtp(packet)
        except RtpError:
            return
        if self._transport_id and parsed.extension:
            number = extension_element(parsed.extension, self._transport_id)
            if number:
                self._transport.on_packet(int.from_bytes(number[:2], "big"), now_us)
        payload_type = parsed.payload_type
        if payload_type == self._video_type:
            self._on_video(parsed, now_us)
        elif payload_type == self._opus_type:
            self._on_audio(parsed, now_us)
        elif payload_type == self._rtx_type:
            self._on_repeated(parsed, now_us)
        if now_us >= self._poll_at_us:
            self._poll(now_us)

    def _on_video(self, packet: RtpPacket, now_us: int) -> None:
        video = self._video
        if video is None or video.ssrc != packet.ssrc:
            retransmission = "nack" in self._video_feedback
            video = self._video = _Source(packet.ssrc, VIDEO_RATE, retransmission=retransmission)
            self._take_pictures(self._depacketizer.flush(), now_us)
            self._depacketizer, self._order = H264Depacketizer(self._parameter_sets), PictureOrder()
        self._picture_at_us = now_us
        if packet.payload:  # else padding, which probes the network for whatever is sent next
            self._supply.arrived("video", now_us)
        video.statistics.on_packet(packet.sequence, packet.timestamp, now_us)
        self._take_video(video.buffer.push(packet, now_us), now_us)
        self._ask_again(video, now_us)

    def _on_repeated(self, packet: RtpPacket, now_us: int) -> None:
        video = self._video
        if video is None or self._video_type is None:
            return
        original = original_of_rtx(packet, self._video_type, video.ssrc)
        if original is not None:
            self._take_video(video.buffer.push(original, now_us), now_us)

    def _on_audio(self, packet: RtpPacket, now_us: int) -> None:
        audio = self._audio
        if audio is None or audio.ssrc != packet.ssrc:
            audio = self._audio = _Source(packet.ssrc, AUDIO_RATE, retransmission=False)
        if packet.payload:
            self._supply.arrived("audio", now_us)
        audio.statistics.on_packet(packet.sequence, packet.timestamp, now_us)
        self._take_audio(audio.buffer.push(packet, now_us), now_us)

    def _take_video(self, packets: list[RtpPacket], now_us: int) -> None:
        depacketizer = self._depacketizer
        dropped = depacketizer.dropped
        if now_us < self._rest_until_us:
            return
        for packet in packets:
            self._take_pictures(depacketizer.feed(packet), now_us)
            if depacketizer.units >= _UNITS_AT_ONCE:
                taken, depacketizer.units = depacketizer.units, 0
                if not self._units.take(taken, now_us):
                    self._begin_anew(_TOO_MANY_UNITS, now_us)
                    return
        if depacketizer.dropped != dropped:
            self._stream.ask_key_frame(now_us)

    def _take_pictures(self, units: list[AccessUnit], now_us: int) -> None:
        for unit in units:
            if not self._refused and self._order.goes_back(unit.nal_units):
                self._refused = True
                log.warning("x pictures", why=_B_FRAMES, peer_id=self._connection.peer_id)
                self._supply.refuse("video", _B_FRAMES)
                self._stream.end_pictures()
            if self._refused:
                return
            if not self._pictures.take(1, now_us):
                self._begin_anew(_TOO_MANY_PICTURES, now_us)
                return
            # First, so that the user is there before his pictures are.
            self._supply.left("video", now_us)
            media_us = self._clock.video_us(unit.timestamp, now_us)
            self._stream.video(unit.nal_units, media_us, unit.key, now_us)

    def _begin_anew(self, excess: str, now_us: int) -> None:
        """Too many pictures: some are left out, and since others refer to them, a key frame must come
        first."""
        self._connection.conduct.exceed(excess, now_us)
        self._rest_until_us = now_us + _REST_US
        self._depacketizer = H264Depacketizer(self._parameter_sets)
        self._stream.end_pictures()

    def _take_audio(self, packets: list[RtpPacket], now_us: int) -> None:
        for packet in packets:
            if packet.payload and not self._sounds.take(1, now_us):
                self._connection.conduct.exceed(_TOO_MANY_SOUNDS, now_us)
            elif packet.payload:
                self._supply.left("audio", now_us)
                self._stream.audio(packet.payload, self._clock.audio_us(packet.timestamp, now_us), now_us)

    # --- feedback -----------------------------------------------------------------------------------------

    def on_rtcp(self, feedback: list[Feedback], now_us: int) -> None:
        for item in feedback:
            if isinstance(item, Goodbye):
                self._on_goodbye(item.ssrc, now_us)
            if not isinstance(item, SenderReport):
                continue
            if self._video is not None and item.ssrc == self._video.ssrc:
                self._video.statistics.on_report(item, now_us)
                self._clock.on_video_report(item)
            elif self._audio is not None and item.ssrc == self._audio.ssrc:
                self._audio.statistics.on_report(item, now_us)
                self._clock.on_audio_report(item)

    def says(self, sends: Collection[str], now_us: int) -> None:
        """The publisher says which kinds it sends from now on (see Supply)."""
        self._supply.says(sends, now_us)

    def _on_goodbye(self, ssrc: int, now_us: int) -> None:
        """RFC 3550 6.6."""
        if self._video is not None and ssrc == self._video.ssrc:
            self._supply.end("video", now_us)
        elif self._audio is not None and ssrc == self._audio.ssrc:
            self._supply.end("audio", now_us)

    def on_timer(self, now_us: int, unix_time: float) -> None:
        self._poll(now_us)
        self._supply.poll(now_us, f"its pictures cannot be decoded: {self._depacketizer.why}")
        if now_us >= self._report_at_us:
            self._report_at_us = now_us + _REPORT_US
            self._report(now_us)

    def ask_key_frame(self) -> None:
        """Whoever asks limits the rate (see stream.Stream)."""
        if self._video is None:
            return
        if "nack pli" in self._video_feedback:
            self._send(rtcp.picture_loss(self._ssrc, self._video.ssrc))
        elif "ccm fir" in self._video_feedback:
            self._intra_requests += 1
            self._send(rtcp.full_intra_request(self._ssrc, self._video.ssrc, self._intra_requests))

    def close(self) -> None:
        log.info(
            "< publisher gone",
            peer_id=self._connection.peer_id,
            lost=sum(source.buffer.lost for source in self._sources()),
            dropped=self._depacketizer.dropped,
        )

    def _poll(self, now_us: int) -> None:
        self._poll_at_us = now_us + _POLL_US
        if self._video is not None:
            self._take_video(self._video.buffer.poll(now_us), now_us)
            self._ask_again(self._video, now_us)
            if now_us - self._picture_at_us >= _PICTURE_WAIT_US:
                self._take_pictures(self._depacketizer.flush(), now_us)
        if self._audio is not None:
            self._take_audio(self._audio.buffer.poll(now_us), now_us)
        if now_us >= self._feedback_at_us:
            self._feedback_at_us = now_us + _FEEDBACK_US
            media = next((source.ssrc for source in self._sources()), 0)
            for packet in self._transport.packets(self._ssrc, media):
                self._send(packet)

    def _ask_again(self, source: _Source, now_us: int) -> None:
        numbers = source.buffer.wanted(now_us)
        if numbers:
            self._send(rtcp.nack(self._ssrc, source.ssrc, numbers))

    def _report(self, now_us: int) -> None:
        sources = self._sources()
        blocks = [block for source in sources if (block := source.statistics.block(now_us))]
        report = rtcp.receiver_report(self._ssrc, blocks, self._stream.sources.cname)
        if "goog-remb" in self._video_feedback and sources:
            ssrcs = [source.ssrc for source in sources]
            report += rtcp.bandwidth_estimate(self._ssrc, ssrcs, _REMB_BPS)
        self._connection.send_rtcp(report)

    def _sources(self) -> list[_Source]:
        return [source for source in (self._video, self._audio) if source is not None]

    def _send(self, packet: bytes) -> None:
        """Sends feedback alone where that was agreed on, otherwise behind an empty report (RFC 4585 3.1)."""
        if not self._reduced_size:
            packet = rtcp.receiver_report(self._ssrc, [], self._stream.sources.cname) + packet
        self._connection.send_rtcp(packet)
