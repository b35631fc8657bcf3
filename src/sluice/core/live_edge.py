"""How far a live source that we pace (HLS, DASH) may be behind its edge, and how it catches up.

It catches up in the session's clock: a frame is stamped with the time at which it is sent. So the room's
clock and its sender reports stay true, and receivers see an ordinary stream. Pictures lie up to 3 % closer
together; sound keeps its packets of 20 ms and its pitch, and leaves out short pieces (media/pipe/opus.py).
If frames were sent early with stamps of media time, each receiver would have to catch up itself, with sound
and picture at different paces, and a CDN would keep the delay. One map for both tracks keeps them together.
"""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

#: The bound is the distance at which a source is joined, one segment, and this.
SLACK_US = 2_000_000
#: A source that is further over the bound jumps instead of catching up.
JUMP_US = 1_000_000
#: Catching up goes on until playback is this much within the bound.
_MARGIN_US = 500_000


@dataclass(frozen=True, slots=True)
class Edge:
    """What a source knows of its edge. `newest_us` is the media time at which the available media ends. A
    player that joins now begins `target_us` behind it. At most `segment_us` become available at once."""

    newest_us: int
    target_us: int
    segment_us: int

    @property
    def bound_us(self) -> int:
        return self.target_us + self.segment_us + SLACK_US


class Pace(Enum):
    """How fast media is played; the value is the part by which that exceeds the recorded speed."""

    STEADY = 1.0
    FASTER = 1.03
    JUMP = 0.0  #: both tracks go on from a key frame at the target


class Follower:
    """Decides how to go on, from one look at the edge to the next."""

    def __init__(self) -> None:
        self._faster = False

    def step(self, edge: Edge | None, played_us: int) -> Pace:
        """`played_us`: the media time that is sent to viewers now. Without an edge the pace is steady."""
        if edge is None:
            self._faster = False
            return Pace.STEADY
        excess_us = edge.newest_us - played_us - edge.bound_us
        self._faster = excess_us > (-_MARGIN_US if self._faster else 0)
        if excess_us > JUMP_US:
            return Pace.JUMP
        return Pace.FASTER if self._faster else Pace.STEADY


class SessionTime:
    """Maps media time to session time, which always grows. They differ by the time that was caught up."""

    def __init__(self) -> None:
        #: The beginnings of the last two paces; both are kept, since tracks are not read to the same point.
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
