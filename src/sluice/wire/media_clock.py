"""One media clock, in microseconds, for the audio and the video of a publisher.

The RTP timestamps of each track begin at a random number and wrap at 32 bits (13.25 h at 90 kHz, 24.85 h at
48 kHz); they are extended here. Arrival places a track on the clock until sender reports tell how the tracks
relate (RFC 3550 6.4.1). Then video is moved towards audio, slowly, so that nothing jumps. Audio keeps its
intervals, because listeners hear any change of them. Only where the tracks are further apart than any network
makes them (a sender that was away), the track that is behind jumps ahead.

Time never goes back on either track. Pure: time is an argument.
"""

from sluice.wire.rtcp import SenderReport

VIDEO_RATE, AUDIO_RATE = 90_000, 48_000

#: Video is moved by at most a twentieth of the time that passes.
_SLEW = 20
_JUMP_US = 1_000_000
#: Sender reports that put the tracks further apart than this are of no use: their sender has no clock.
_MOST_APART_US = 86_400_000_000
#: Least distance of two packets, a tick of either RTP clock: to receivers, packets of one timestamp are one
#: picture.
_LEAST_US = 21
#: The sender has another clock when timestamp and arrival differ by more than this between two packets.
_BREAK_US = 10_000_000


class _Track:
    def __init__(self, rate: int) -> None:
        #: Media time minus track time, which is the extended RTP timestamp in microseconds.
        self.offset_us = 0
        #: NTP time of the newest sender report, and the track time then.
        self.report: tuple[int, int] | None = None
        self._rate = rate
        self._ticks: int | None = None  #: the last timestamp, extended
        self._arrived_us = 0
        self._last_us = 0  #: the last media time

    def advance(self, timestamp: int, now_us: int) -> int:
        """Takes the next packet's timestamp. Returns the track time that passed since the packet before."""
        before, before_us = self._ticks, self._arrived_us
        self._ticks, self._arrived_us = self._extend(timestamp), now_us
        track_us = self._track_us(self._ticks)
        if before is None:
            self.offset_us, self._last_us = now_us - track_us, now_us - _LEAST_US
            return 0
        passed_us = track_us - self._track_us(before)
        if abs(passed_us - (now_us - before_us)) > _BREAK_US:
            self.offset_us, self.report = self._last_us + now_us - before_us - track_us, None
        return passed_us

    def media_us(self) -> int:
        """The media time of the packet that `advance` took last."""
        assert self._ticks is not None  # noqa: S101 - a packet was taken
        self._last_us = max(self._last_us + _LEAST_US, self._track_us(self._ticks) + self.offset_us)
        return self._last_us

    def move(self, by_us: int) -> None:
        self.offset_us += by_us

    def forget_report(self) -> None:
        self.report = None

    def on_report(self, report: SenderReport) -> None:
        if self._ticks is not None:
            self.report = report.ntp * 1_000_000 >> 32, self._track_us(self._extend(report.timestamp))

    def _extend(self, timestamp: int) -> int:
        if self._ticks is None:
            return timestamp
        return self._ticks + ((timestamp - self._ticks + 0x80000000) & 0xFFFFFFFF) - 0x80000000

    def _track_us(self, ticks: int) -> int:
        return ticks * 1_000_000 // self._rate


class MediaClock:
    """The clock of one publisher; all times are microseconds."""

    def __init__(self) -> None:
        self._video, self._audio = _Track(VIDEO_RATE), _Track(AUDIO_RATE)

    def video_us(self, timestamp: int, now_us: int) -> int:
        """The media time of an access unit that is complete at `now_us`."""
        passed_us = self._video.advance(timestamp, now_us)
        self._follow_audio(passed_us)
        return self._video.media_us()

    def audio_us(self, timestamp: int, now_us: int) -> int:
        """The media time of an audio packet that arrived at `now_us`."""
        self._audio.advance(timestamp, now_us)
        return self._audio.media_us()

    def on_video_report(self, report: SenderReport) -> None:
        self._video.on_report(report)

    def on_audio_report(self, report: SenderReport) -> None:
        self._audio.on_report(report)

    def _follow_audio(self, passed_us: int) -> None:
        video, audio = self._video, self._audio
        if video.report is None or audio.report is None:
            return
        (video_ntp, video_us), (audio_ntp, audio_us) = video.report, audio.report
        # At the NTP time of its report, audio was at audio_us + offset; video has to be there then, too.
        wanted_us = audio_us + audio.offset_us - (video_us + audio_ntp - video_ntp)
        off_us = wanted_us - video.offset_us
        if abs(off_us) > _MOST_APART_US:
            video.forget_report()
            audio.forget_report()
        elif off_us > _JUMP_US:
            video.move(off_us)
        elif off_us < -_JUMP_US:
            audio.move(-off_us)
        else:
            most_us = max(0, passed_us) // _SLEW
            video.move(min(max(off_us, -most_us), most_us))
