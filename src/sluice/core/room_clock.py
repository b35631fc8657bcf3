"""A room's media time on the clock of this process, which goes on without the room.

Both clocks count microseconds, but their rates differ a little, for days. A frame keeps its distance to the
room's other frames, so that sound and pictures never move against each other. How far frames arrive behind
our clock is tracked, so that silence can be made for the time that the pictures have reached. Pure.
"""

#: A frame that is off by more than this comes from a new clock (a room process that started again).
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
        """The time that the room's media has reached at `now_us`."""
        return int(now_us - self._lag_us)

    def begin_anew(self) -> None:
        """To be called when the room's next frame comes from another clock."""
        self._offset_us = None
