"""Whether a viewer's network takes video, from its receiver reports (RFC 3550 6.4.1). Pure: time is told.

Lasting loss above 10 % stops the video: retransmissions would only add to what the network drops, and the
sound is worth more. While there is no video, the reports about the sound tell when the network has recovered.
A viewer that relapses soon waits twice as long the next time, so that video does not come and go on a network
that is too narrow for it. One bad second does not count: after a blackout all that was sent in it is lost.
"""

from sluice.wire.rtcp import Reception

_BAD, _GOOD = 0.10, 0.05
_BAD_WINDOWS = 3
#: A receiver that does not know its round-trip time (RFC 3611 would tell it) asks again only after 100 ms,
#: and people see that. Where little is lost, copies cost little and prevent it: at 3 % loss both of two
#: copies are lost for one packet in 1,100, all of three for one in 37,000.
_COPIES = 3
#: Browsers send a report with every NACK, about a few packets only, so reports are added up.
_VIDEO_WINDOW_US, _AUDIO_WINDOW_US, _LEAST_PACKETS = 1_000_000, 4_000_000, 20
#: The least pause, doubled for each relapse within `_PROOF_US`.
_PAUSE_US, _LONGEST_PAUSE_US = 4_000_000, 64_000_000
_PROOF_US = 30_000_000
#: Without any report about sound (a viewer may have none), video is tried again after so long.
_SILENCE_US = 15_000_000


class _Windows:
    """The share of one stream's packets that was lost, window by window."""

    def __init__(self, length_us: int) -> None:
        self._length_us = length_us
        self._since: tuple[int, int, int] | None = None  #: when, highest number, packets lost until then

    def add(self, report: Reception, now_us: int) -> float | None:
        """The share, when a window is full."""
        if self._since is None or report.highest < self._since[1]:
            self._since = now_us, report.highest, report.packets_lost
        since_us, highest, lost = self._since
        expected = report.highest - highest
        if now_us - since_us < self._length_us or expected < _LEAST_PACKETS:
            return None
        self._since = now_us, report.highest, report.packets_lost
        return (report.packets_lost - lost) / expected


class LossWatch:
    def __init__(self) -> None:
        self.video = True  #: whether video may be sent
        self.copies = _COPIES  #: how often a packet that was asked for again is sent
        self._video_windows, self._audio_windows = _Windows(_VIDEO_WINDOW_US), _Windows(_AUDIO_WINDOW_US)
        self._pause_us = _PAUSE_US
        self._changed_us = -_PROOF_US  #: when `video` last changed
        self._row = 0  #: bad windows of the video in a row
        self._heard_us = 0

    def on_video_report(self, report: Reception, now_us: int) -> None:
        share = self._video_windows.add(report, now_us)
        if not self.video or share is None:
            return
        self.copies = _COPIES if share < _GOOD else 2 if share <= _BAD else 1
        self._row = self._row + 1 if share > _BAD else 0
        if self._row >= _BAD_WINDOWS:
            relapsed = now_us - self._changed_us < _PROOF_US
            self._pause_us = min(2 * self._pause_us, _LONGEST_PAUSE_US) if relapsed else _PAUSE_US
            self._change(False, now_us)

    def on_audio_report(self, report: Reception, now_us: int) -> None:
        share = self._audio_windows.add(report, now_us)
        self._heard_us = now_us
        if self.video or share is None or share >= _GOOD:
            return
        if now_us - self._changed_us >= self._pause_us:
            self._change(True, now_us)

    def on_timer(self, now_us: int) -> None:
        if not self.video and now_us - self._heard_us >= max(_SILENCE_US, self._pause_us):
            self._change(True, now_us)

    def _change(self, video: bool, now_us: int) -> None:
        self.video = video
        self._changed_us = self._heard_us = now_us
        self._row = 0
