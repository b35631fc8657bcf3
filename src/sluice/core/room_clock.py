"""A room's media time on the clock of this process, which goes on when the room's is silent or begins anew.

Both clocks count microseconds but at rates that differ a little, for days. So a frame keeps the room's
distances (sound and pictures never move against each other), and how far behind our clock they arrive is
followed, so that silence can be made for the time at which pictures are. Pure.
"""

#: A frame off by more than this is of a clock that began anew (a room process that started again).
_AHEAD_US, _BEHIND_US = 2_000_000, 10_000_000
_SMOOTHING = 1 / 16


class RoomClock:
    def __init__(self) -> None:
        self._offset_us: int | None = None
        self._lag_us = 0.0  #: how far behind our clock frames arrive

    def stamp(self, media_us: int, now_us: int) -> int:
        """Our time of the room's `media_us`, for a frame that arrives at `now_us`."""
        expected_us = self.now(now_us)
        if self._offset_us is None:
            self._offset_us = expected_us - media_us
        off_us = media_us + self._offset_us - expected_us
        if not -_BEHIND_US < off_us < _AHEAD_US:
            self._offset_us -= off_us
        at_us = media_us + self._offset_us
        self._lag_us += (now_us - at_us - self._lag_us) * _SMOOTHING
        return at_us

    def now(self, now_us: int) -> int:
        """Where the room's media is at `now_us`."""
        return int(now_us - self._lag_us)

    def begin_anew(self) -> None:
        """The room's next frame is of another clock."""
        self._offset_us = None
