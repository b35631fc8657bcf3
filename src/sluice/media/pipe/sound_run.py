"""Where sound goes in a run without gaps and overlaps, which is what receivers can play.

Packets' times are rounded, drift and jump; a run counts samples instead. Browsers take a packet that begins
one sample before the end of the last for an old one and drop it (NetEq of WebRTC), so a run is left only
where it has to be: where the times differ by more than `TOLERANCE_US`, so that sound stays within 45 ms of
the picture.
"""

RATE = 48_000
TOLERANCE_US = 30_000
#: A gap longer than this is left; a shorter one is filled.
LONGEST_FILL_US = 1_000_000


class SoundRun:
    """Time of the run's beginning and the samples in it; counted, since rounded times would drift."""

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
        """Samples between the end of the run and sound of this time, negative where they overlap; 0 within
        the tolerance. What is too long to be filled moves the run."""
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
