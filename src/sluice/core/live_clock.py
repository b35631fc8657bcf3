"""The clock of a live source that is played as it arrives: its media time against the wall.

A stamp is media time plus an offset, the same for both tracks, so that sound stays with the picture. The
offset stays as long as it can: a network that stalls delivers later what it held. The offset moves

* when media is ahead of the wall by more than `AHEAD_US`: servers send a new player seconds of kept media,
  and some encoders' clocks run fast; viewers would stay behind for ever otherwise;
* when media is behind by more than `BEHIND_US`: such a pause is not caught up with;
* back to `LAG_US` when everything was later than that for a while: a slow clock must not reach the bound,
  where the correction would be a gap of the bound's size.

Media times have no jumps of their own here; media/source/timeline.py takes them out.
"""

#: Jitter of the network may make a frame early by this much without moving the clock.
AHEAD_US = 200_000
#: No stamp is further behind its arrival.
BEHIND_US = 2_000_000
#: A larger lag that lasts for `_WINDOW_US` is reduced to this.
LAG_US = 1_000_000
_WINDOW_US = 5_000_000
_PICTURE_US = 1_000


class LiveClock:
    """Maps media time to the session's clock, which is that of `now_us`."""

    def __init__(self) -> None:
        self._offset_us: int | None = None
        self._window_end_us = self._least_lag_us = 0
        self._last_picture_us = -(1 << 62)

    def sound_us(self, media_us: int, now_us: int) -> int:
        """The stamp of a packet of sound that arrives now. If it overlaps what was sent, its pipe leaves
        something out (media/pipe/sound_run.py)."""
        return media_us + self._offset(media_us, now_us)

    def picture_us(self, media_us: int, now_us: int) -> int:
        """The stamp of a picture: later than the last one, even if the clock went back. The pictures of a
        burst lie close together and are shown quickly."""
        stamp_us = media_us + self._offset(media_us, now_us)
        self._last_picture_us = max(stamp_us, self._last_picture_us + _PICTURE_US)
        return self._last_picture_us

    def _offset(self, media_us: int, now_us: int) -> int:
        if self._offset_us is None:
            self._offset_us = now_us - media_us
            self._watch(now_us)
        lag_us = now_us - media_us - self._offset_us
        self._least_lag_us = min(self._least_lag_us, lag_us)
        if lag_us < -AHEAD_US:
            self._move(lag_us + AHEAD_US, now_us)
        elif lag_us > BEHIND_US:
            self._move(lag_us, now_us)
        elif now_us >= self._window_end_us:
            self._move(max(0, self._least_lag_us - LAG_US), now_us)
        return self._offset_us

    def _move(self, by_us: int, now_us: int) -> None:
        assert self._offset_us is not None  # noqa: S101 - it is set by the first packet
        self._offset_us += by_us
        self._watch(now_us)

    def _watch(self, now_us: int) -> None:
        self._window_end_us, self._least_lag_us = now_us + _WINDOW_US, BEHIND_US
