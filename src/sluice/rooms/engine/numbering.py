"""How one viewer's packets are numbered: the stream's own numbers, moved where this viewer's part differs.

What a viewer is not sent (video that it cannot take at the moment) must leave no gap, and what it is sent
again (a GOP, for want of a key frame) must have new numbers: a receiver takes each number once, and GCM
must never see two packets under one. A stretch is a row of frames that lie a fixed distance from the
stream's numbers; a new one begins where the distance changes. Only the last few are remembered, which is
longer than any receiver asks for a packet again.

All numbers here are extended: they never wrap.
"""

from collections import deque
from dataclasses import dataclass

from sluice.rooms.engine.frame import Frame

_MOST_STRETCHES = 8


@dataclass(frozen=True, slots=True)
class Stretch:
    """`first` is the viewer's number of its first packet, `shift` the viewer's number minus the stream's.
    Frames up to `last_moved` (a frame number) get timestamps `step` ticks apart that end at `timestamp`."""

    first: int
    shift: int
    last_moved: int = -1
    timestamp: int = 0
    step: int = 0

    def timestamp_of(self, frame: Frame) -> int:
        if frame.number > self.last_moved:
            return frame.timestamp
        return (self.timestamp - (self.last_moved - frame.number) * self.step) & 0xFFFFFFFF


class Numbering:
    def __init__(self, stretch: Stretch) -> None:
        # Both ends count roll-overs from zero, whatever the stream has behind it (RFC 3711 3.3.1).
        self._base = stretch.first & ~0xFFFF
        self._stretches: deque[Stretch] = deque(maxlen=_MOST_STRETCHES)
        self.begin(stretch)

    def begin(self, stretch: Stretch) -> None:
        self.stretch = stretch
        self._stretches.append(stretch)

    def index_shift(self, stretch: Stretch) -> int:
        """What the SRTP index of a packet is more than the stream's number of it."""
        return stretch.shift - self._base

    def find(self, number: int, end: int) -> tuple[Stretch, int] | None:
        """The stretch and the stream's number of the packet that the viewer knows by this 16-bit number;
        `end` is the number of the packet that the viewer will be sent next."""
        extended = end - 1 - ((end - 1 - number) & 0xFFFF)
        for stretch in reversed(self._stretches):
            if stretch.first <= extended:
                return stretch, extended - stretch.shift
        return None
