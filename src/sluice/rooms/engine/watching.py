"""The role of a peer that watches: its viewer gets the stream, and its feedback says what is missing."""

from collections.abc import Callable
from typing import ClassVar

import structlog

from sluice.core.figures import (
    KEY_FRAME_REQUESTS,
    NACKS,
    REPEATED,
    SENT_BYTES,
    SENT_PACKETS,
    VIEWER_LOST,
    Figure,
)
from sluice.core.limits import KEY_FRAMES_AT_ONCE, KEY_FRAMES_PER_S, NACKED_AT_ONCE, NACKED_PER_S
from sluice.core.room_documents import MediaReport, PeerRole, PeerTraffic
from sluice.rooms.engine.conduct import TokenBucket
from sluice.rooms.engine.loss import LossWatch
from sluice.rooms.engine.meter import Meter, kbps
from sluice.rooms.engine.peer import Connection
from sluice.rooms.engine.reported import Reported, RoundTrip, share_of
from sluice.rooms.engine.socket import Address
from sluice.rooms.engine.stream import Stream
from sluice.rooms.engine.viewer import CmSender, Viewer
from sluice.wire.media_clock import AUDIO_RATE, VIDEO_RATE
from sluice.wire.rtcp import (
    Feedback,
    Goodbye,
    Nack,
    PictureLoss,
    Reception,
    middle_of,
    ntp_time,
    sender_report,
)
from sluice.wire.sdp import AudioFormat, VideoFormat
from sluice.wire.srtp import GCM_TAG, GcmSender

log = structlog.get_logger()

_REPORT_US = 1_000_000
#: The pause after a repair, which sends a whole group of pictures. It is doubled when another follows soon.
_REPAIR_PAUSE_US, _LONGEST_REPAIR_PAUSE_US = 1_000_000, 32_000_000
_TOO_MANY_NACKED = f"it asks for more than {NACKED_PER_S} packets a second again"
_TOO_MANY_REPEATS = "it asks for more packets again than half of what it is sent"


class Watching:
    """`on_backlog` is handed to its viewer (see viewer.Viewer)."""

    takes_rtp: ClassVar[bool] = False  # all that viewers send is RTCP
    kind: ClassVar[PeerRole] = PeerRole.VIEWER
    counted: ClassVar[tuple[tuple[Figure, str], ...]] = (
        *((SENT_PACKETS, "video"), (SENT_PACKETS, "audio"), (SENT_BYTES, "video"), (SENT_BYTES, "audio")),
        *((VIEWER_LOST, "video"), (VIEWER_LOST, "audio"), (REPEATED, "sent")),
        *((NACKS, "received"), (KEY_FRAME_REQUESTS, "received")),
    )

    def __init__(
        self,
        connection: Connection,
        stream: Stream,
        video: VideoFormat | None,
        opus: AudioFormat | None,
        *,
        on_backlog: Callable[[Viewer], None],
        now_us: int,
    ) -> None:
        keys = connection.keys
        self._viewer = Viewer(
            connection.socket,
            (GcmSender if keys.gcm else CmSender)(keys.send_key, keys.send_salt),
            tag=GCM_TAG if keys.gcm else CmSender.TAG,
            address=connection.address,
            video=video,
            opus=opus.payload_type if opus else None,
            on_backlog=on_backlog,
            drops=connection.conduct.drops,
        )
        self._kinds = {"video": video is not None, "audio": opus is not None}
        self._connection = connection
        self._stream = stream
        self._report_at_us = 0
        #: Pictures, sound. Players synchronise the two when they have a report of each, so each begins with
        #: one.
        self._reported = (False, False)
        self._loss = LossWatch()
        self._video, self._audio = Reported(VIDEO_RATE), Reported(AUDIO_RATE)
        self._round_trip = RoundTrip()
        self._meter = Meter((0, 0), now_us)
        self._nacks = self._key_frames_asked = 0
        self._video_paused = False
        self._picture_lost: tuple[int, int] | None = None  #: when, and the newest key frame then
        self._repair_at_us = 0  #: not before
        self._repair_pause_us = _REPAIR_PAUSE_US
        self._nacked = TokenBucket(NACKED_PER_S, NACKED_AT_ONCE)
        self._key_frames = TokenBucket(KEY_FRAMES_PER_S, KEY_FRAMES_AT_ONCE)
        stream.join(self._viewer, now_us)

    def on_address(self, address: Address) -> None:
        self._viewer.address = address

    def on_rtp(self, packet: bytes, now_us: int) -> None:
        pass  # not taken

    def on_rtcp(self, feedback: list[Feedback], now_us: int) -> None:
        for item in feedback:
            if isinstance(item, Nack):
                self._repeat(item, now_us)
            elif isinstance(item, PictureLoss):
                self._on_picture_loss(now_us)
            elif isinstance(item, Reception):
                self._on_reception(item, now_us)
            elif isinstance(item, Goodbye):
                log.debug("< goodbye", peer_id=self._connection.peer_id)

    def on_timer(self, now_us: int, unix_time: float) -> None:
        self._loss.on_timer(now_us)
        self._follow_loss(now_us)
        self._repair(now_us)
        sends = (self._viewer.video_packets > 0, self._viewer.audio_packets > 0)
        if now_us >= self._report_at_us or sends != self._reported:
            self._reported = sends
            self._report_at_us = now_us + _REPORT_US
            self._report(now_us, unix_time)
            self._meter.look((self._viewer.video_octets, self._viewer.audio_octets), now_us)

    def close(self) -> None:
        self._stream.leave(self._viewer)
        self._viewer.forget_backlog()

    # --- what it tells ------------------------------------------------------------------------------------

    def counts(self) -> tuple[int, ...]:
        viewer = self._viewer
        return (
            *(viewer.video_packets, viewer.audio_packets, viewer.video_octets, viewer.audio_octets),
            *(self._video.lost, self._audio.lost, viewer.retransmitted),
            *(self._nacks, self._key_frames_asked),
        )

    def reports(self, now_us: int) -> tuple[float | None, float | None, float | None]:
        """The share of packets lost over the last ten seconds, the larger jitter of its kinds and the round
        trip, both in seconds; None is what it has not reported lately."""
        video, audio = self._video, self._audio
        jitters = [s for s in (video.jitter_s(now_us), audio.jitter_s(now_us)) if s is not None]
        if not jitters:
            return None, None, None
        trip_us = self._round_trip.us
        return (
            share_of(video.window(now_us), audio.window(now_us)),
            max(jitters),
            trip_us / 1e6 if trip_us is not None else None,
        )

    @property
    def octets_per_s(self) -> float:
        return sum(self._meter.per_s)

    def traffic(self, now_us: int) -> PeerTraffic:
        viewer, (video_rate, audio_rate) = self._viewer, self._meter.per_s
        sent = {
            "video": ("h264", viewer.video_packets, viewer.video_octets, video_rate, self._video),
            "audio": ("opus", viewer.audio_packets, viewer.audio_octets, audio_rate, self._audio),
        }
        loss, _, trip_s = self.reports(now_us)
        return PeerTraffic(
            media={kind: _media(*sent[kind], now_us) for kind, wanted in self._kinds.items() if wanted},
            bitrate_kbps=kbps(self.octets_per_s),
            loss_percent=_percent(loss),
            round_trip_ms=round(trip_s * 1000, 1) if trip_s is not None else None,
            repeated=viewer.retransmitted,
            nacks=self._nacks,
            key_frames_asked=self._key_frames_asked,
            video_paused=self._video_paused,
        )

    # --- inside -------------------------------------------------------------------------------------------

    def _repeat(self, nack: Nack, now_us: int) -> None:
        if nack.ssrc != self._stream.sources.video:
            return
        self._nacks += 1
        conduct = self._connection.conduct
        if not self._nacked.take(len(nack.sequences), now_us):
            conduct.exceed(_TOO_MANY_NACKED, now_us)
            return
        for number in nack.sequences * self._loss.copies:
            if not self._stream.retransmit(self._viewer, number, now_us):
                conduct.exceed(_TOO_MANY_REPEATS, now_us)
                return

    def _on_picture_loss(self, now_us: int) -> None:
        self._key_frames_asked += 1
        if self._video_paused:
            return  # a key frame now would cost all viewers and help none
        if self._key_frames.take(1, now_us):
            self._stream.ask_key_frame(now_us)
        if self._picture_lost is None:
            self._picture_lost = now_us, self._stream.newest_key

    def _repair(self, now_us: int) -> None:
        """A copied source makes no key frame when asked, so the last one and all that followed is sent
        again."""
        if self._picture_lost is None or now_us < self._repair_at_us:
            return
        lost_us, newest_key = self._picture_lost
        if self._stream.newest_key == newest_key:
            if now_us - lost_us < self._stream.key_frame_us:
                return
            soon = now_us - self._repair_at_us < self._repair_pause_us
            self._repair_pause_us = (
                min(2 * self._repair_pause_us, _LONGEST_REPAIR_PAUSE_US) if soon else _REPAIR_PAUSE_US
            )
            self._repair_at_us = now_us + self._repair_pause_us
            self._stream.repair(self._viewer, now_us)
        self._picture_lost = None

    def _on_reception(self, report: Reception, now_us: int) -> None:
        sources = self._stream.sources
        if report.ssrc == sources.video:
            self._video.take(report, self._viewer.video_packets, now_us)
            self._loss.on_video_report(report, now_us)
        elif report.ssrc == sources.audio:
            self._audio.take(report, self._viewer.audio_packets, now_us)
            self._loss.on_audio_report(report, now_us)
        else:
            return
        self._round_trip.on_heard(report, now_us)

    def _follow_loss(self, now_us: int) -> None:
        if self._loss.video != self._video_paused:
            return
        self._video_paused = not self._loss.video
        if self._video_paused:
            self._picture_lost = None
            self._stream.pause(self._viewer)
        else:
            self._viewer.resume()
            self._stream.ask_key_frame(now_us)
        log.info("> video", peer_id=self._connection.peer_id, paused=self._video_paused)

    def _report(self, now_us: int, unix_time: float) -> None:
        sources, viewer = self._stream.sources, self._viewer
        video_time, audio_time = self._stream.timestamps(now_us)
        self._round_trip.on_sent(middle_of(ntp_time(unix_time)), now_us)
        for ssrc, timestamp, packets, octets in (
            (sources.video, video_time, viewer.video_packets, viewer.video_octets),
            (sources.audio, audio_time, viewer.audio_packets, viewer.audio_octets),
        ):
            if packets:
                self._connection.send_rtcp(
                    sender_report(
                        ssrc,
                        unix_time=unix_time,
                        timestamp=timestamp,
                        packets=packets,
                        octets=octets,
                        cname=sources.cname,
                    )
                )


def _media(
    codec: str, packets: int, octets: int, octets_per_s: float, reported: Reported, now_us: int
) -> MediaReport:
    jitter_s = reported.jitter_s(now_us)
    return MediaReport(
        codec=codec,
        packets=packets,
        bytes=octets,
        bitrate_kbps=kbps(octets_per_s),
        lost=reported.lost,
        loss_percent=_percent(share_of(reported.window(now_us))),
        last_loss_percent=_percent(reported.last_loss(now_us)),
        jitter_ms=round(jitter_s * 1000, 1) if jitter_s is not None else None,
    )


def _percent(share: float | None) -> float | None:
    return round(100 * share, 2) if share is not None else None
