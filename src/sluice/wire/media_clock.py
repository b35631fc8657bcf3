"""One media clock, in microseconds, for the sound and the pictures of a publisher.

RTP timestamps of each track count from a number of their own; they are extended beyond their 32 bits (13.25 h
at 90 kHz, 24.85 h at 48 kHz). Where each track begins is taken from arrival until its sender reports tell
how both relate (RFC 3550 6.4.1). Then the pictures are moved towards the sound, slowly, so that nothing
jumps; the sound keeps its own distances, because listeners hear any change of them. Only where they are
further apart than any network makes them (a sender that was away) the track that is behind jumps ahead.

Time never goes back, on neither track. Pure: time is an argument.
"""

from sluice.wire.rtcp import SenderReport

VIDEO_RATE, AUDIO_RATE = 90_000, 48_000

#: Pictures are moved by a twentieth of the time that passes at most.
_SLEW = 20
_JUMP_US = 1_000_000
#: Reports that put the tracks further apart than this are of no use: their sender has no clock.
_MOST_APART_US = 86_400_000_000
#: Two packets are a tick of either RTP clock apart at least: what shares a stamp is one picture to receivers.
_LEAST_US = 21
#: Timestamps and arrivals that differ by more than this from one packet to the next: another clock.
_BREAK_US = 10_000_000


class _Track:
    def __init__(self, rate: int) -> None:
        self.offset_us = 0  #: media time minus own time
        #: NTP time of the newest sender report, and the own time then.
        self.report: tuple[int, int] | None = None
        self._rate = rate
        self._ticks: int | None = None  #: the last timestamp, extended
        self._arrived_us = 0
        self._last_us = 0  #: the last media time

    def advance(self, timestamp: int, now_us: int) -> int:
        """Goes on to a packet's timestamp; the own time that passed since the last packet."""
        before, before_us = self._ticks, self._arrived_us
        self._ticks, self._arrived_us = self._extend(timestamp), now_us
        own_us = self._own_us(self._ticks)
        if before is None:
            self.offset_us, self._last_us = now_us - own_us, now_us - _LEAST_US
            return 0
        passed_us = own_us - self._own_us(before)
        if abs(passed_us - (now_us - before_us)) > _BREAK_US:
            self.offset_us, self.report = self._last_us + now_us - before_us - own_us, None
        return passed_us

    def media_us(self) -> int:
        """The media time of the packet at hand."""
        assert self._ticks is not None  # noqa: S101 - a packet was taken
        self._last_us = max(self._last_us + _LEAST_US, self._own_us(self._ticks) + self.offset_us)
        return self._last_us

    def on_report(self, report: SenderReport) -> None:
        if self._ticks is not None:
            self.report = report.ntp * 1_000_000 >> 32, self._own_us(self._extend(report.timestamp))

    def _extend(self, timestamp: int) -> int:
        if self._ticks is None:
            return timestamp
        return self._ticks + ((timestamp - self._ticks + 0x80000000) & 0xFFFFFFFF) - 0x80000000

    def _own_us(self, ticks: int) -> int:
        return ticks * 1_000_000 // self._rate


class MediaClock:
    def __init__(self) -> None:
        self._video, self._audio = _Track(VIDEO_RATE), _Track(AUDIO_RATE)

    def video_us(self, timestamp: int, now_us: int) -> int:
        """The media time of an access unit that is complete at `now_us`."""
        passed_us = self._video.advance(timestamp, now_us)
        self._follow_sound(passed_us)
        return self._video.media_us()

    def audio_us(self, timestamp: int, now_us: int) -> int:
        """The media time of a packet of sound."""
        self._audio.advance(timestamp, now_us)
        return self._audio.media_us()

    def on_video_report(self, report: SenderReport) -> None:
        self._video.on_report(report)

    def on_audio_report(self, report: SenderReport) -> None:
        self._audio.on_report(report)

    def _follow_sound(self, passed_us: int) -> None:
        video, audio = self._video, self._audio
        if video.report is None or audio.report is None:
            return
        (video_ntp, video_own), (audio_ntp, audio_own) = video.report, audio.report
        # At the sound's report the sound was at audio_own + offset; the pictures have to be there, too.
        wanted_us = audio_own + audio.offset_us - (video_own + audio_ntp - video_ntp)
        off_us = wanted_us - video.offset_us
        if abs(off_us) > _MOST_APART_US:
            video.report = audio.report = None
        elif off_us > _JUMP_US:
            video.offset_us = wanted_us
        elif off_us < -_JUMP_US:
            audio.offset_us -= off_us
        else:
            most_us = max(0, passed_us) // _SLEW
            video.offset_us += min(max(off_us, -most_us), most_us)
