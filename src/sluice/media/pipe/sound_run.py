"""A run of sound without gaps and overlaps, as receivers can play it.

The times of packets are rounded, drift and jump, so a run counts samples instead. It departs from that only
where the times differ by more than `TOLERANCE_US`, so that sound stays within 45 ms of the picture. Browsers
drop a packet that begins one sample before the end of the last: they take it for an old one (NetEq of
WebRTC).
"""

RATE = 48_000
TOLERANCE_US = 30_000
#: A longer gap moves the run; a shorter one is filled.
LONGEST_FILL_US = 1_000_000


class SoundRun:
    """The time at which the run begins, and the samples in it. Sums of rounded times would drift."""

    def __init__(self) -> None:
        self._origin_us: int | None = None
        self.samples = 0

    def at(self, samples: int) -> int:
        """The time of a sample of the run, by its number."""
        return (self._origin_us or 0) + samples * 1_000_000 // RATE

    @property
    def end_us(self) -> int:
        return self.at(self.samples)

    def gap(self, at_us: int, tolerance_us: int = TOLERANCE_US) -> int:
        """Samples between the end of the run and sound of this time: negative where they overlap, 0 within
        the tolerance. A gap that is too long to be filled moves the run, and is 0."""
        if self._origin_us is None:
            self._origin_us = at_us
        gap_us = at_us - self.at(self.samples)
        if gap_us > LONGEST_FILL_US:
            self._origin_us += gap_us
            return 0
        return gap_us * RATE // 1_000_000 if abs(gap_us) > tolerance_us else 0

    def add(self, samples: int) -> int:
        """The time at which these samples, the next of the run, begin."""
        begin_us = self.at(self.samples)
        self.samples += samples
        return begin_us
