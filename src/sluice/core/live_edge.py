"""How far a live source that we pace (HLS, DASH) may be behind its edge, and how that is made up.

Time is made up in the session's clock: a frame is stamped with the time it is sent at, so the room's clock
and its sender reports stay true and receivers see an ordinary stream. Pictures lie up to 3 % closer
together; sound keeps its packets of 20 ms and its pitch, and leaves out short pieces (media/pipe/opus.py).
Stamps of media time sent early would leave the making up to each receiver, whose sound and picture follow
at paces of their own, and a CDN would be handed the delay. One map for both tracks keeps them together.
"""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

#: What the bound allows beyond the distance at which a source is joined and one segment.
SLACK_US = 2_000_000
#: More than this over the bound is left out instead of being made up.
JUMP_US = 1_000_000
#: Once begun, making up goes on until playing is this much within the bound.
_MARGIN_US = 500_000


@dataclass(frozen=True, slots=True)
class Edge:
    """What a source knows of its end: `newest_us` is the media time where what there is now ends, `target_us`
    how far behind it one who joins now begins, `segment_us` the most that comes at once."""

    newest_us: int
    target_us: int
    segment_us: int

    @property
    def bound_us(self) -> int:
        return self.target_us + self.segment_us + SLACK_US


class Pace(Enum):
    """The value is how much faster than it was recorded the media is played."""

    STEADY = 1.0
    FASTER = 1.03
    JUMP = 0.0  #: both tracks go on at a key frame at the target


class Follower:
    """Decides how to go on, from one look at the edge to the next."""

    def __init__(self) -> None:
        self._faster = False

    def step(self, edge: Edge | None, played_us: int) -> Pace:
        """`played_us`: the media time that viewers are sent now. Without an edge nothing is made up."""
        if edge is None:
            self._faster = False
            return Pace.STEADY
        excess_us = edge.newest_us - played_us - edge.bound_us
        self._faster = excess_us > (-_MARGIN_US if self._faster else 0)
        if excess_us > JUMP_US:
            return Pace.JUMP
        return Pace.FASTER if self._faster else Pace.STEADY


class SessionTime:
    """Media time to session time: the same but for the time made up, and growing whatever the pace."""

    def __init__(self) -> None:
        #: Where the last two paces begin: tracks are not read to the same point.
        self._before = self._now = _Turn(0, 0, Pace.STEADY)

    def at(self, media_us: int) -> int:
        turn = self._now if media_us >= self._now.media_us else self._before
        return turn.session_us + round((media_us - turn.media_us) / turn.pace.value)

    def turn(self, media_us: int, pace: Pace) -> None:
        """From `media_us` on media is played at this pace."""
        if pace is not self._now.pace:
            self._before, self._now = self._now, _Turn(media_us, self.at(media_us), pace)


class _Turn(NamedTuple):
    media_us: int
    session_us: int
    pace: Pace
