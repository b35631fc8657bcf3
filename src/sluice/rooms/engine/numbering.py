"""How one viewer's packets are numbered: the stream's own numbers, moved where this viewer's part differs.

What a viewer is not sent (video that it cannot take at the moment) must leave no gap, and what it is sent
again (a GOP, when no key frame comes) must have new numbers: a receiver takes each number once, and GCM must
never see two packets under one number. A span is a row of frames whose numbers are a fixed distance from the
stream's; a new span begins where the distance changes. Only the last few are remembered, which covers all
that a receiver may ask for again.

All numbers here are extended: they never wrap.
"""

from collections import deque
from dataclasses import dataclass

from sluice.rooms.engine.frame import Frame

_MOST_SPANS = 8


@dataclass(frozen=True, slots=True)
class NumberSpan:
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
    def __init__(self, span: NumberSpan) -> None:
        # Both ends count roll-overs from zero, whatever the stream has behind it (RFC 3711 3.3.1).
        self._base = span.first & ~0xFFFF
        self._spans: deque[NumberSpan] = deque(maxlen=_MOST_SPANS)
        self.begin(span)

    def begin(self, span: NumberSpan) -> None:
        self.span = span
        self._spans.append(span)

    def index_shift(self, span: NumberSpan) -> int:
        """The SRTP index of a packet minus the stream's number of it."""
        return span.shift - self._base

    def find(self, number: int, end: int) -> tuple[NumberSpan, int] | None:
        """The span and the stream's number of the packet that the viewer knows by this 16-bit number;
        `end` is the number of the packet that the viewer will be sent next."""
        extended = end - 1 - ((end - 1 - number) & 0xFFFF)
        for span in reversed(self._spans):
            if span.first <= extended:
                return span, extended - span.shift
        return None
