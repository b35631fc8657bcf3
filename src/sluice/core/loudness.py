"""The gain that brings sound to the common loudness: it follows the measured loudness.

The measure is the integrated loudness of EBU R 128 over all sound so far. It settles, and the gain with it,
so that quiet passages stay quiet. The gain moves fast only at the beginning, when little is known.
"""

#: The loudness of streaming services, in LUFS. The recommendation's −23 is for programmes of wide dynamics.
TARGET_LUFS = -16.0
#: A larger gain would raise noise, or passages that are meant to be soft.
MOST_DB, LEAST_DB = 12.0, -24.0
#: The gate of the measurement; below it nothing was heard yet.
_SILENCE_LUFS = -69.0
_FAST_S, _FAST_DB_PER_S, _DB_PER_S = 4.0, 6.0, 0.5


class LoudnessGain:
    """`db` is the gain now. When it is switched off, it returns to 0."""

    def __init__(self) -> None:
        self.db = 0.0
        self.on = True
        self._heard_s = 0.0

    def step(self, seconds: float, integrated_lufs: float) -> float:
        """The gain in dB after `seconds` more of sound; `integrated_lufs` was measured up to its end."""
        wanted = 0.0
        if self.on and integrated_lufs > _SILENCE_LUFS:
            self._heard_s += seconds
            wanted = min(MOST_DB, max(LEAST_DB, TARGET_LUFS - integrated_lufs))
        elif self.on:
            wanted = self.db
        most = seconds * (_FAST_DB_PER_S if self._heard_s < _FAST_S or not self.on else _DB_PER_S)
        self.db += min(most, max(-most, wanted - self.db))
        return self.db
