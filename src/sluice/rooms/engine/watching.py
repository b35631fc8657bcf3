"""The role of a peer that watches: its viewer gets the stream, and its feedback says what is missing."""

from collections.abc import Callable
from typing import ClassVar

import structlog

from sluice.core.limits import KEY_FRAMES_AT_ONCE, KEY_FRAMES_PER_S, NACKED_AT_ONCE, NACKED_PER_S
from sluice.rooms.engine.conduct import TokenBucket
from sluice.rooms.engine.loss import LossWatch
from sluice.rooms.engine.peer import Connection
from sluice.rooms.engine.socket import Address
from sluice.rooms.engine.stream import Stream
from sluice.rooms.engine.viewer import CmSender, Viewer
from sluice.wire.rtcp import Feedback, Goodbye, Nack, PictureLoss, Reception, sender_report
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
        )
        self._connection = connection
        self._stream = stream
        self._report_at_us = 0
        #: Pictures, sound. Players synchronise the two when they have a report of each, so each begins with
        #: one.
        self._reported = (False, False)
        self._loss = LossWatch()
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

    def close(self) -> None:
        self._stream.leave(self._viewer)
        self._viewer.forget_backlog()

    # --- inside -------------------------------------------------------------------------------------------

    def _repeat(self, nack: Nack, now_us: int) -> None:
        if nack.ssrc != self._stream.sources.video:
            return
        conduct = self._connection.conduct
        if not self._nacked.take(len(nack.sequences), now_us):
            conduct.exceed(_TOO_MANY_NACKED, now_us)
            return
        for number in nack.sequences * self._loss.copies:
            if not self._stream.retransmit(self._viewer, number, now_us):
                conduct.exceed(_TOO_MANY_REPEATS, now_us)
                return

    def _on_picture_loss(self, now_us: int) -> None:
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
            self._loss.on_video_report(report, now_us)
        elif report.ssrc == sources.audio:
            self._loss.on_audio_report(report, now_us)

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
