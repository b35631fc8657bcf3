"""The clock of a live source: its media time against the wall, so that a burst never becomes a delay.

Servers send a new player what they have kept, seconds of it at once. Stamped with its own times that would
put viewers as far behind for ever. So a stamp never runs ahead of the wall by more than `AHEAD_US`: what
comes earlier moves the clock. Pictures of a burst then lie close together and are shown in haste; sound of a
burst that would overlap what was sent is dropped (design 5, live edge).
"""

#: What the network's jitter may make a frame early without moving the clock.
AHEAD_US = 200_000
_VIDEO_STEP_US = 1_000


class LiveClock:
    """Maps media time to the session's clock, which is that of `now_us`, for both tracks alike."""

    def __init__(self) -> None:
        self.moved = 0  #: how often a burst moved the clock
        self._offset_us: int | None = None
        self._last_video_us = self._last_audio_end_us = -(1 << 62)

    def video(self, media_us: int, now_us: int) -> int:
        """The stamp of a picture: later than the last, whatever happened to the clock."""
        stamp = max(self._map(media_us, now_us), self._last_video_us + _VIDEO_STEP_US)
        self._last_video_us = stamp
        return stamp

    def audio(self, media_us: int, duration_us: int, now_us: int) -> int | None:
        """The stamp of a sound packet, None when it would overlap the one before."""
        stamp = self._map(media_us, now_us)
        if stamp < self._last_audio_end_us - duration_us // 2:
            return None
        self._last_audio_end_us = stamp + duration_us
        return stamp

    def _map(self, media_us: int, now_us: int) -> int:
        if self._offset_us is None:
            self._offset_us = now_us - media_us
        ahead_us = media_us + self._offset_us - now_us
        if ahead_us > AHEAD_US:
            self._offset_us -= ahead_us - AHEAD_US
            self.moved += 1
        return media_us + self._offset_us
